//! Entry point of the headless node: the command line, with the HTTP surface put in.

use std::process::ExitCode;

fn main() -> ExitCode {
    clawmesh::surfaces::cli::main(clawmesh::surfaces::http::app)
}
