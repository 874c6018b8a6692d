//! Entry point of the desktop application: the window, with the HTTP surface put in, and the bots of the configuration.

use std::process::ExitCode;

use clawmesh::operator::access::Tokens;
use clawmesh::surfaces::{coordinator, desktop, http};

fn main() -> ExitCode {
    desktop::main(|state_dir| {
        let tokens = Tokens::renew(state_dir).map_err(|e| e.to_string())?;
        Ok(Box::new(|door| {
            #[cfg(feature = "chat")]
            clawmesh::surfaces::chat::attach(&door);
            coordinator::attach(&door);
            http::app(door, tokens)
        }))
    })
}
