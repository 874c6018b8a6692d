//! Arguments of `alert` and `notify`.

use clap::{Args, Subcommand};

use crate::domain::base::duration::duration_ms;

/// `alert …`
#[derive(Debug, Subcommand)]
pub(crate) enum AlertCommand {
    /// List the alerts that stand, the worst first
    List,
    /// Show one: what is the matter, what to do, who answered, who was told
    Show(AlertArg),
    /// Say that you have seen one: nobody else is told of it. It goes on standing until it is over
    Ack(AlertAckArgs),
    /// Have nobody told of one for a while
    Mute(AlertMuteArgs),
    /// End the mute of one
    Unmute(AlertArg),
    /// List alerts, newest first, those that are over too
    History {
        /// How many
        #[arg(long, default_value_t = 30)]
        limit: usize,
    },
}

/// An alert.
#[derive(Debug, Args)]
pub(crate) struct AlertArg {
    /// Its number, as `alert list` shows it
    pub alert: u64,
}

/// An acknowledgement.
#[derive(Debug, Args)]
pub(crate) struct AlertAckArgs {
    /// Its number, as `alert list` shows it
    pub alert: u64,
    /// What you want to say about it
    #[arg(long)]
    pub note: Option<String>,
}

/// A mute.
#[derive(Debug, Args)]
pub(crate) struct AlertMuteArgs {
    /// Its number, as `alert list` shows it
    pub alert: u64,
    /// For how long: 7d at most, 15m for what is about an actuator that may move or an emergency
    #[arg(long = "for", value_name = "SPAN", default_value = "1h", value_parser = duration_ms)]
    pub for_ms: u64,
}

/// `notify …`
#[derive(Debug, Subcommand)]
pub(crate) enum NotifyCommand {
    /// List the places of `[[notify]]`, and whether people can be told there
    List,
    /// Tell one of them, or all, a test
    Test {
        /// Its name; all where nothing is said
        target: Option<String>,
    },
}
