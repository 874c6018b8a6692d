//! Commands by which a person confirms a state or a clock that the node cannot judge.

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// `identity …`
#[derive(Debug, Subcommand)]
pub(crate) enum IdentityCommand {
    /// Make a new identity in another directory, with the configuration, policy and secrets of this one: it is another
    /// device, which others have to come to know. Run it while the node is stopped
    Rotate {
        /// The directory, new or empty
        #[arg(long, value_name = "DIR")]
        to: PathBuf,
    },
}

/// `state …`
#[derive(Debug, Subcommand)]
pub(crate) enum StateCommand {
    /// Say that this state is the one to go on with; what was open in it becomes void. Run it at the
    /// machine, while the node is stopped
    Confirm {
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
    /// Say that an actuator, which was moved and is not configured any more, is in its safe state. Run it
    /// at the machine, while the node is stopped
    Safe {
        /// The actuator, as the alarm names it
        capability: String,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
}

/// `rehearse`
#[derive(Debug, Args)]
pub(crate) struct RehearseArgs {
    /// Only this actuator
    pub actuator: Option<String>,
    /// Leave out cases that take longer than this, in seconds
    #[arg(long, value_name = "SEC", default_value_t = 120)]
    pub patience: u64,
}

/// `clock …`
#[derive(Debug, Subcommand)]
pub(crate) enum ClockCommand {
    /// Say that the clock is right now, although the node has recorded a later time. Run it at the
    /// machine, while the node is stopped
    Confirm {
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
}
