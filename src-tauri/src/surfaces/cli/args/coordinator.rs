//! Arguments of `coordinator`.

use clap::Subcommand;

/// `coordinator …`
#[derive(Debug, Subcommand)]
pub(crate) enum CoordinatorCommand {
    /// Print the token with which claw-mesh agents join and clients send; it is made at first use
    Token {
        /// Make another one, which counts at once in place of the old
        #[arg(long)]
        rotate: bool,
    },
}
