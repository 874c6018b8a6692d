//! Build script. Only the desktop build has something to generate.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
}
