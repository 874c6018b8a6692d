//! Entry point of the headless node: the command line, with the HTTP surface put in.

use std::process::ExitCode;

use clawmesh::operator::access::Tokens;
use clawmesh::surfaces::{cli, coordinator, http};

fn main() -> ExitCode {
    cli::main(|state_dir| {
        let tokens = Tokens::renew(state_dir).map_err(|e| e.to_string())?;
        Ok(Box::new(|door| {
            #[cfg(feature = "chat")]
            clawmesh::surfaces::chat::attach(&door);
            coordinator::attach(&door);
            http::app(door, tokens)
        }))
    })
}
