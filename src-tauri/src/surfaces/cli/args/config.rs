//! `config`, as the command line names it.

use clap::Subcommand;

use super::StartArgs;

/// `config …`
#[derive(Debug, Subcommand)]
pub(in crate::surfaces::cli) enum ConfigCommand {
    /// Write the documented file, every key of it as a comment; one that is there is left as it is
    Init,
    /// Show every value that `start` would use and where it comes from: flag, environment, file, console or default
    Show(Box<StartArgs>),
    /// Set one value in the file; comments, order and everything else in it stay
    Set {
        /// The key, as in port or store.keep_readings_days
        key: String,
        /// The value, as TOML or in plain words
        #[arg(allow_hyphen_values = true)]
        value: String,
    },
    /// Print where the file is
    Path,
}
