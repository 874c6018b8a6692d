//! Messages to agents and their rules, as the command line names them.

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// `send`
#[derive(Debug, Args)]
pub(crate) struct SendArgs {
    /// The text; - reads it from stdin
    pub text: String,
    /// The node it goes to, by name or device id
    #[arg(long, value_name = "NODE", conflicts_with = "group")]
    pub node: Option<String>,
    /// The group of nodes it goes to
    #[arg(long, value_name = "GROUP")]
    pub group: Option<String>,
    /// The agent it goes to: model, or GATEWAY/AGENT
    #[arg(long, value_name = "AGENT")]
    pub agent: Option<String>,
    /// The greater, the sooner, from -9 to 9
    #[arg(long, default_value_t = 0, allow_hyphen_values = true)]
    pub priority: i64,
    /// How long it may take, in seconds
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub timeout: Option<u64>,
    /// A name for it: sent a second time it is the same message
    #[arg(long)]
    pub key: Option<String>,
    /// Do not wait for the answer
    #[arg(long)]
    pub no_wait: bool,
}

/// `message …`
#[derive(Debug, Subcommand)]
pub(crate) enum MessageCommand {
    /// List messages, newest first
    List {
        /// In these states, with commas between: queued, sent, accepted, running, answered, failed, unclear, expired, cancelled
        #[arg(long)]
        state: Option<String>,
        /// With this text in the message or its answer
        #[arg(long, value_name = "TEXT")]
        find: Option<String>,
        /// At most so many
        #[arg(long, default_value_t = 50)]
        limit: usize,
    },
    /// Show a message, whom it was sent to and the answer
    Show {
        /// Its id
        id: String,
    },
    /// Take a message back; what an agent has done by then stays done
    Cancel {
        /// Its id
        id: String,
    },
    /// Send a message once more that was not answered
    Retry {
        /// Its id
        id: String,
    },
}

/// `node …`
#[derive(Debug, Subcommand)]
pub(crate) enum NodeCommand {
    /// List this node and the devices it trusts, with the agents and abilities that each tells of
    List,
    /// Give this node a tag, which rules of messages can ask for
    Tag {
        /// The tags: small letters, digits, - _ . and :
        #[arg(required = true)]
        tags: Vec<String>,
    },
    /// Take a tag from this node
    Untag {
        /// The tags
        #[arg(required = true)]
        tags: Vec<String>,
    },
}

/// Where a message comes from and goes to, for `route explain`.
#[derive(Debug, Args)]
pub(crate) struct RouteExplainArgs {
    /// The text
    pub text: String,
    /// The surface it comes from: cli, console, http, telegram, mcp
    #[arg(long, default_value = "cli")]
    pub source: String,
    /// Who sends it
    #[arg(long, default_value = "")]
    pub sender: String,
    /// The node it is to go to
    #[arg(long, value_name = "NODE")]
    pub node: Option<String>,
    /// The group it is to go to
    #[arg(long, value_name = "GROUP")]
    pub group: Option<String>,
    /// The agent it is to go to
    #[arg(long, value_name = "AGENT")]
    pub agent: Option<String>,
}

/// `route …`
#[derive(Debug, Subcommand)]
pub(crate) enum RouteCommand {
    /// List the rules, in the order in which they are asked
    List,
    /// Print the text of the rules
    Show,
    /// Put the rules of a file in force; they are refused where one of their tests fails
    Set {
        /// The file; - reads stdin
        file: PathBuf,
    },
    /// Try the rules of a file and their tests, and change nothing
    Test {
        /// The file; - reads stdin
        file: PathBuf,
    },
    /// Say which rule would take a message, which nodes were looked at, and why not the others
    Explain(RouteExplainArgs),
}
