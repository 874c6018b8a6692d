//! Arguments of `approvals`.

use clap::{Args, Subcommand, ValueEnum};
use serde_json::Value;

use super::super::format::parse_pair;

/// `approvals …`
#[derive(Debug, Subcommand)]
pub(crate) enum ApprovalsCommand {
    /// List them, also those of the executors that this node is linked with
    List {
        /// Also those that have ended
        #[arg(long)]
        all: bool,
    },
    /// Give one: your operator key signs exactly what is printed. It counts at one executor, for what persons there or
    /// rules ask for, at L2, and never for what a model had a part in
    Give(GiveArgs),
    /// Revoke one, at once and for ever
    Revoke(RevokeArgs),
}

/// Whose wishes begin by a standing approval.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum AskedBy {
    /// A rule of the executor's planner, or of a device that the policy names
    Rules,
    /// A person at the executor
    Person,
}

/// A standing approval.
#[derive(Debug, Args)]
pub(crate) struct GiveArgs {
    /// The actuator, for example `actuator:mock:pump`
    pub target: String,
    /// The operation, for example `start`
    pub operation: String,
    /// Its parameters: `durationSec=600` for one value, `durationSec=60..600` for a number within bounds. An action has each
    /// of these and no other
    #[arg(value_name = "KEY=VALUE", value_parser = parse_pair)]
    pub params: Vec<(String, Value)>,
    /// How often it may be used
    #[arg(long)]
    pub uses: u32,
    /// Until when: `18:00` in the time zone of this machine, `18:00+02:00`, or from now on: `90m`, `8h`, `2d`
    #[arg(long, value_name = "TIME")]
    pub until: String,
    /// From when, written in the same way [default: now]
    #[arg(long, value_name = "TIME")]
    pub from: Option<String>,
    /// The longest that one use may run, for example `10m`
    #[arg(long = "for", value_name = "TIME")]
    pub run: String,
    /// Whose wishes begin by it; repeatable [default: rules]. `person` is whoever has a session of a person at the executor, a program
    /// that was given one too
    #[arg(long = "asked-by", value_enum)]
    pub askers: Vec<AskedBy>,
    /// The executor: its name, its device id, or `self` [default: the only one that offers the actuator]
    #[arg(long, value_name = "DEVICE")]
    pub executor: Option<String>,
    /// What you want to say about it
    #[arg(long)]
    pub note: Option<String>,
    /// Sign what this command prints without being asked
    #[arg(long)]
    pub yes: bool,
    /// Read the passphrase of your key from the first line of stdin
    #[arg(long)]
    pub passphrase_stdin: bool,
}

/// Which standing approval ends.
#[derive(Debug, Args)]
pub(crate) struct RevokeArgs {
    /// Its id, or a start of it that fits only one
    pub approval: String,
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
