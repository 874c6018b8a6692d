//! Entry point of the desktop application: still an empty shell that says what to run instead.

use std::process::ExitCode;

fn main() -> ExitCode {
    clawmesh::surfaces::cli::desktop_shell()
}
