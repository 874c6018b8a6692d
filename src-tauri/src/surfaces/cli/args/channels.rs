//! Arguments of `telegram`, `slack` and `channel`.

use clap::{Args, Subcommand};

/// `telegram …` and `slack …`
#[derive(Debug, Subcommand)]
pub(crate) enum BotCommand {
    /// Let an account decide for you, up to a ceiling: your operator key signs exactly what is printed, then you send the
    /// code to the bot in a private chat
    Enroll(EnrollArgs),
}

/// What a channel may do.
#[derive(Debug, Args)]
pub(crate) struct EnrollArgs {
    /// The highest level that may be approved through it: L2 at most. With L1 it only shows and rejects
    #[arg(long, default_value = "L2")]
    pub level: String,
    /// How many approvals count in an hour, at each executor
    #[arg(long, value_name = "N", default_value_t = 6)]
    pub rate: u32,
    /// For how many days, 90 at most
    #[arg(long, default_value_t = 30)]
    pub days: u32,
    /// Let approvals count at other executors also for what this node asks for, leads to or measures. Then whoever takes
    /// over this node can ask for actions and approve them, up to the level and rate
    #[arg(long)]
    pub own_wishes: bool,
    /// Sign what this command prints without being asked
    #[arg(long)]
    pub yes: bool,
    /// Read the passphrase of your key from the first line of stdin
    #[arg(long)]
    pub passphrase_stdin: bool,
}

/// `channel …`
#[derive(Debug, Subcommand)]
pub(crate) enum ChannelCommand {
    /// List the channels of this node and its bots
    List,
    /// End one, for ever, at every executor that hears of it
    Revoke(ChannelRevokeArgs),
}

/// Which channel ends.
#[derive(Debug, Args)]
pub(crate) struct ChannelRevokeArgs {
    /// Its id, or a start of it that fits only one
    pub channel: String,
    /// What you want to say about it
    #[arg(long)]
    pub note: Option<String>,
    /// End it as the administrator of this node, without an operator's key
    #[arg(long)]
    pub here: bool,
    /// Read the passphrase of your key from the first line of stdin
    #[arg(long, conflicts_with = "here")]
    pub passphrase_stdin: bool,
}
