//! Windows. What has no safe function here is done by a program of the system, named by its whole path and given fixed
//! words.

pub(super) mod files;
pub(super) mod machine;
pub(super) mod process;
mod rights;
pub(super) mod serial;
pub(super) mod terminal;

use std::path::PathBuf;

/// A program of the system, by its whole path.
pub fn system_program(name: &str) -> PathBuf {
    let root = std::env::var_os("SystemRoot").filter(|root| !root.is_empty());
    PathBuf::from(root.unwrap_or_else(|| r"C:\Windows".into()))
        .join("System32")
        .join(name)
}
