//! Programs that speak MCP with the node, as the command line names them.

use clap::Subcommand;

/// `mcp …`
#[derive(Debug, Subcommand)]
pub(crate) enum McpCommand {
    /// List the programs, what each did since the node began, and whether it has a token
    List,
    /// Let a program speak MCP over HTTP at /mcp; prints its token, this once
    Add {
        /// Its name: small letters, digits and -
        name: String,
    },
    /// End the token of a program
    Remove {
        /// Its name
        name: String,
    },
}
