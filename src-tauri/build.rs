//! Build script: puts the built console, `frontend/dist`, into the program as a table of files.
//! Without it the table is empty and the node says how to build it. For the desktop application it
//! also writes down which commands its window may call: those of the capability file, no others.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

/// What the window's page can ask for at all; `capabilities/window.json` grants it.
#[cfg(feature = "desktop")]
const COMMANDS: &[&str] = &[
    "request",
    "follow",
    "heard",
    "listen",
    "leave",
    "desk",
    "decide",
    "choose",
    "quit",
    "try_demo",
    "stop_seen",
    "configure",
    "update",
];

#[cfg(feature = "desktop")]
fn desktop() -> io::Result<()> {
    let attributes = tauri_build::Attributes::new()
        .capabilities_path_pattern("./src-tauri/capabilities/**/*.json")
        .app_manifest(tauri_build::AppManifest::new().commands(COMMANDS));
    tauri_build::try_build(attributes).map_err(|e| io::Error::other(format!("{e:#}")))
}

fn main() -> io::Result<()> {
    println!("cargo:rerun-if-changed=src-tauri/build.rs");
    let root = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default());
    let dist = root.join("frontend/dist");
    // A watched path that does not exist would make every build run this again.
    if !dist.exists() {
        let _ = fs::create_dir_all(&dist);
    }
    println!("cargo:rerun-if-changed={}", dist.display());
    #[cfg(feature = "desktop")]
    desktop()?;
    let mut files = Vec::new();
    if dist.join("index.html").is_file() {
        collect(&dist, &mut files)?;
        files.sort();
    }
    let mut table = String::from("static FILES: &[File] = &[\n");
    for file in &files {
        entry(&mut table, &dist, file)?;
    }
    table.push_str("];\n");
    let out = PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default());
    fs::write(out.join("site.rs"), table)
}

/// Every file below a directory, compressed copies and maps left out.
fn collect(dir: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    for item in fs::read_dir(dir)? {
        let path = item?.path();
        if path.is_dir() {
            println!("cargo:rerun-if-changed={}", path.display());
            collect(&path, files)?;
        } else if !is_hidden(&path) && !matches!(extension(&path), "gz" | "br" | "map") {
            files.push(path);
        }
    }
    Ok(())
}

/// The build's own notes begin with a dot and are not served.
fn is_hidden(path: &Path) -> bool {
    path.file_name()
        .is_some_and(|name| name.to_string_lossy().starts_with('.'))
}

fn extension(path: &Path) -> &str {
    path.extension().and_then(|e| e.to_str()).unwrap_or("")
}

fn entry(table: &mut String, dist: &Path, file: &Path) -> io::Result<()> {
    println!("cargo:rerun-if-changed={}", file.display());
    let name = file.strip_prefix(dist).map_err(io::Error::other)?;
    let name = name
        .to_str()
        .ok_or_else(|| io::Error::other(format!("{}: the name is not UTF-8", file.display())))?;
    let packed = PathBuf::from(format!("{}.gz", file.display()));
    let gzip = if packed.is_file() {
        println!("cargo:rerun-if-changed={}", packed.display());
        format!("Some(include_bytes!({packed:?}))")
    } else {
        "None".to_owned()
    };
    let etag = format!("\"{:016x}\"", fnv(&fs::read(file)?));
    let path = format!("/{}", name.replace('\\', "/"));
    writeln!(
        table,
        "    File {{ path: {path:?}, kind: {:?}, etag: {etag:?}, bytes: include_bytes!({file:?}), gzip: {gzip} }},",
        kind(extension(file)),
    )
    .map_err(io::Error::other)
}

/// FNV-1a: tells one content from another, which is all an ETag is for.
fn fnv(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

fn kind(extension: &str) -> &'static str {
    match extension {
        "html" => "text/html; charset=utf-8",
        "js" | "mjs" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "json" => "application/json",
        "webmanifest" => "application/manifest+json",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "jpg" | "jpeg" => "image/jpeg",
        "webp" => "image/webp",
        "ico" => "image/x-icon",
        "woff2" => "font/woff2",
        "woff" => "font/woff",
        "wasm" => "application/wasm",
        "txt" => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}
