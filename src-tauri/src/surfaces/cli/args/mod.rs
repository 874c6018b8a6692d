//! The command line, as clap reads it. Unknown flags are errors; every command knows `--json`.

mod alerts;
mod approvals;
mod channels;
mod config;
mod coordinator;
mod gateways;
mod mcp;
mod messages;
mod models;
mod people;
mod recovery;
mod service;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use serde_json::Value;

pub(super) use self::alerts::*;
pub(super) use self::approvals::*;
pub(super) use self::channels::*;
pub(super) use self::config::*;
pub(super) use self::coordinator::*;
pub(super) use self::gateways::*;
pub(super) use self::mcp::*;
pub(super) use self::messages::*;
pub(super) use self::models::*;
pub(super) use self::people::*;
pub(super) use self::recovery::*;
pub(super) use self::service::*;
use super::fail::EXIT_CODES;
use super::format::{parse_pair, said};
use crate::adapters::transport::ListenAddress;
use crate::node::RawConfig;
use crate::node::config::bot::RawBot;
use crate::node::config::coordinator::RawCoordinator;
use crate::node::config::models::{RawModel, of_flags};
use crate::operator::access::Scope;

/// A node of a ClawMesh: readings in, proposals out, actions only with a person's signature.
#[derive(Debug, Parser)]
#[command(name = "clawmesh-node", version, after_long_help = EXIT_CODES, max_term_width = 100)]
#[command(disable_help_subcommand = true)]
pub(super) struct Cli {
    /// What every command takes.
    #[command(flatten)]
    pub global: Global,
    /// The command.
    #[command(subcommand)]
    pub command: Command,
}

/// Flags of every command.
#[derive(Debug, Clone, Args)]
pub(super) struct Global {
    /// The state directory [default: $CLAWMESH_STATE_DIR, else ~/.clawmesh]
    #[arg(long, global = true, value_name = "DIR")]
    pub state_dir: Option<PathBuf>,
    /// Print JSON
    #[arg(long, global = true)]
    pub json: bool,
    /// What is logged to stderr, for example `debug` or `clawmesh::node=trace`
    #[arg(long, global = true, value_name = "FILTER")]
    pub log: Option<String>,
    /// Log as JSON, one object a line
    #[arg(long, global = true)]
    pub log_json: bool,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Run the node of the state directory until it is told to stop
    Start(Box<StartArgs>),
    /// Run a command centre and a field node on this machine
    Demo(DemoArgs),
    /// Show this device: id, public key, name; makes the identity if there is none
    Identity {
        /// What to do; shows it where nothing is said
        #[command(subcommand)]
        command: Option<IdentityCommand>,
    },
    /// Show the running node at a glance
    Status,
    /// List connected peers
    Peers,
    /// List the newest value of every metric, with age, origin and tier
    World(WorldArgs),
    /// List the newest frames
    Frames(FramesArgs),
    /// List what happened on this node
    Events(EventsArgs),
    /// List proposals that wait for a decision or are under way
    Proposals {
        /// Also those that have ended
        #[arg(long)]
        all: bool,
    },
    /// Show everything a person should see before deciding
    Show(ProposalArg),
    /// Approve a proposal: your operator key signs exactly this record
    Approve(DecideArgs),
    /// Reject a proposal: your operator key signs the refusal
    Reject(DecideArgs),
    /// Standing approvals: your signature over an action that may begin several times, within bounds
    Approvals {
        /// What to do; lists them where nothing is said
        #[command(subcommand)]
        command: Option<ApprovalsCommand>,
    },
    /// Alerts: what people should know of, until they have seen it or it is over
    Alert {
        /// What to do; lists those that stand where nothing is said
        #[command(subcommand)]
        command: Option<AlertCommand>,
    },
    /// Where people are told of alerts
    Notify {
        /// What to do; lists them where nothing is said
        #[command(subcommand)]
        command: Option<NotifyCommand>,
    },
    /// A Telegram account that decides for you, up to a ceiling
    #[command(subcommand)]
    Telegram(BotCommand),
    /// A Slack account that decides for you, up to a ceiling
    #[command(subcommand)]
    Slack(BotCommand),
    /// Channels through which persons decide: a chat with its own key, up to a ceiling
    Channel {
        /// What to do; lists them where nothing is said
        #[command(subcommand)]
        command: Option<ChannelCommand>,
    },
    /// Take a proposal back without deciding it
    Withdraw(ProposalArg),
    /// Stop a running action now: its actuator goes to its safe state
    Stop(ProposalArg),
    /// Keep a held action going: it is renewed until you press Ctrl-C, which ends it at once, and ends with it. Begin before it
    /// is approved: whoever keeps it has to be heard within its first lease
    Hold(ProposalArg),
    /// The meshes on the LAN, who of them is there, and how devices of ours join
    Meshes {
        /// What to do; lists where nothing is said
        #[command(subcommand)]
        command: Option<MeshesCommand>,
    },
    /// Emergency stop: every executor that can be reached goes to its safe states and latches
    Estop(EstopArgs),
    /// The planner of this node, and whether it rests
    Planner {
        /// What to do; shows it where nothing is said
        #[command(subcommand)]
        command: Option<PlannerCommand>,
    },
    /// Ask the planner of this node a question: what it does is told, the answer is printed. What it asks for
    /// becomes a proposal that waits for a person
    Ask {
        /// The question
        question: String,
        /// Go on with the conversation of the question that you asked last
        #[arg(long = "continue")]
        goes_on: bool,
        /// Make the conversation private from here on: only models that may see private data are asked
        #[arg(long)]
        private: bool,
        /// Where no model can be asked now: have it asked again by itself, and wait for the answer; it comes also if
        /// you leave (Ctrl-C), in the console and with `planner`
        #[arg(long)]
        wait: bool,
    },
    /// Ask a language model of this node or of another device; its words are printed as they come
    Infer(InferArgs),
    /// Ask for an action; its executor decides what that takes
    Propose(ProposeArgs),
    /// Tell a proposal's story from reading to outcome
    Trace(ProposalArg),
    /// The policy of this node's executor
    #[command(subcommand)]
    Policy(PolicyCommand),
    /// Show what becomes of each run that the policy allows when processes and sensors fail: with twins of the
    /// actuators, no hardware is told anything
    Rehearse(RehearseArgs),
    /// The audit trail of this node
    #[command(subcommand)]
    Audit(AuditCommand),
    /// Write a consistent copy of this node's state into one file, also while it runs; its keys are put
    /// under a passphrase, which is asked for or read from the first line of stdin
    Backup {
        /// The file; one that is there is left as it is
        file: PathBuf,
    },
    /// Make a node's state of a backup, in an empty state directory; it does not operate until
    /// `state confirm`
    Restore {
        /// The file that `backup` wrote
        file: PathBuf,
    },
    /// Which copy of this node's state is the real one, where the node cannot know
    #[command(subcommand)]
    State(StateCommand),
    /// The clock of this machine, where the node does not believe it
    #[command(subcommand)]
    Clock(ClockCommand),
    /// Devices this node trusts
    #[command(subcommand)]
    Trust(TrustCommand),
    /// Let two nodes come to trust each other: compare, then say yes at both
    Pair(PairArgs),
    /// People whose signatures count
    #[command(subcommand)]
    Operator(OperatorCommand),
    /// Make a one-time link that opens the console in a browser of this machine
    Console(ConsoleArgs),
    /// The node in this terminal, for SSH: approvals, readings, nodes, events, planner. ? shows its keys
    #[cfg(feature = "tui")]
    Tui,
    /// The language models that questions may go to
    #[command(subcommand)]
    Model(ModelCommand),
    /// OpenClaw gateways that this node is connected to, with their agents
    #[command(subcommand)]
    Gateway(GatewayCommand),
    /// The claw-mesh coordinator that this node serves
    #[command(subcommand)]
    Coordinator(CoordinatorCommand),
    /// Send a message to an agent of the mesh and print the answer; it is text and moves nothing
    Send(SendArgs),
    /// Messages to agents: where each stands, the answers, and those that were not answered
    #[command(subcommand)]
    Message(MessageCommand),
    /// What this node and others can do for messages, and the tags of this one
    #[command(subcommand)]
    Node(NodeCommand),
    /// The rules by which messages find a node
    #[command(subcommand)]
    Route(RouteCommand),
    /// Speak the Model Context Protocol over stdin and stdout for an assistant of this machine, which starts this command
    Mcp {
        /// What to do instead
        #[command(subcommand)]
        command: Option<McpCommand>,
        /// What the assistant is called here
        #[arg(long, value_name = "NAME", default_value = "local")]
        client: String,
    },
    /// What this node measures with and what it moves: what is configured, whether it answers, what it says
    #[command(subcommand)]
    Device(DeviceCommand),
    /// Look at the node and the machine below it: what is well, what is not, and what to do
    Doctor(DoctorArgs),
    /// Whether a newer release is offered; looks, and changes nothing
    Update(UpdateArgs),
    /// The node as a service of this machine
    #[command(subcommand)]
    Service(ServiceCommand),
    /// The configuration of the state directory: write, show and change it
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Secrets of the providers of language models, of devices and of channels
    #[command(subcommand)]
    Credential(CredentialCommand),
    /// Import identity, mesh and trusted peers of a gen-1 node; its files are only read
    Migrate {
        /// The name of its mesh, where it was started with --mesh-name: it is kept nowhere
        #[arg(long, value_name = "NAME")]
        mesh_name: Option<String>,
        /// The gen-1 state directory [default: the state directory]
        #[arg(long, value_name = "DIR")]
        from: Option<PathBuf>,
    },
    /// Print shell completions
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Write man pages into a directory
    Man {
        /// Where to
        dir: PathBuf,
    },
}

/// Flags of `start`; they beat the environment, which beats `config.toml` in the state directory.
#[derive(Debug, Default, Args)]
pub(super) struct StartArgs {
    /// The address to listen on [default: every address, so that peers can find it; with
    /// --no-discovery 127.0.0.1]
    #[arg(long)]
    pub host: Option<ListenAddress>,
    /// The port to listen on; 0 lets the system choose [default: 18789]
    #[arg(long)]
    pub port: Option<u16>,
    /// The node's name for people
    #[arg(long)]
    pub name: Option<String>,
    /// What this node does: node, planner, standby-planner, field, sensor, actuator or viewer. What others
    /// let it do is said where it is trusted: `trust add --as`
    #[arg(long)]
    pub role: Option<String>,
    /// The mesh's name; all nodes of a mesh share it
    #[arg(long)]
    pub mesh_name: Option<String>,
    /// Do not look for peers on the LAN
    #[arg(long)]
    pub no_discovery: bool,
    /// A further capability to offer; repeatable
    #[arg(long = "capability", value_name = "CAPABILITY")]
    pub capabilities: Vec<String>,
    /// A peer to dial; repeatable
    #[arg(long = "peer", value_name = "ID=URL|FINGERPRINT|LABEL")]
    pub peers: Vec<String>,
    /// Publish readings of the simulated irrigation kit
    #[arg(long)]
    pub mock_sensor: bool,
    /// Offer the simulated kit's valve and pump
    #[arg(long)]
    pub mock_actuator: bool,
    /// Publish readings of this machine
    #[arg(long)]
    pub host_sensor: bool,
    /// How often sensors are read, in milliseconds
    #[arg(long, value_name = "MS")]
    pub sensor_interval: Option<u64>,
    /// The language model to ask first, for example ollama/qwen2.5:1.5b; its key comes from `credential set`
    #[arg(long, value_name = "PROVIDER/MODEL", alias = "pi-model")]
    pub model: Option<String>,
    /// The server of that model, where it speaks as OpenAI's does, for example http://127.0.0.1:8080/v1
    #[arg(long, value_name = "URL", requires = "model")]
    pub model_url: Option<String>,
    /// Serve the API of a claw-mesh coordinator, here or on 127.0.0.1:9180
    #[arg(long, value_name = "ADDR:PORT", num_args = 0..=1, default_missing_value = "127.0.0.1:9180")]
    pub coordinator: Option<SocketAddr>,
    /// Run the Telegram bot whose token is the credential channel/telegram
    #[arg(long)]
    pub telegram: bool,
    /// Run the Slack app whose tokens are the credentials channel/slack and channel/slack-app
    #[arg(long)]
    pub slack: bool,
    /// Stop gracefully when stdin closes
    #[arg(long, hide = true)]
    pub end_with_stdin: bool,
    /// The service manager of Windows has started this process
    #[arg(long, hide = true, conflicts_with = "end_with_stdin")]
    pub as_service: bool,
}

impl StartArgs {
    fn model(&self) -> Option<RawModel> {
        // clap has seen to it that there is no URL without a model.
        of_flags(self.model.as_deref(), self.model_url.as_deref()).unwrap_or_default()
    }

    /// The flags as a configuration that overlays the file's.
    pub(super) fn to_raw(&self) -> RawConfig {
        RawConfig {
            host: self.host,
            port: self.port,
            name: self.name.clone(),
            role: self.role.clone(),
            mesh_name: self.mesh_name.clone(),
            discovery: self.no_discovery.then_some(false),
            capabilities: self.capabilities.clone(),
            peers: self.peers.clone(),
            mock_sensor: self.mock_sensor.then_some(true),
            mock_actuator: self.mock_actuator.then_some(true),
            host_sensor: self.host_sensor.then_some(true),
            sensor_interval_ms: self.sensor_interval,
            model: self.model().into_iter().collect(),
            telegram: RawBot::of_flag(self.telegram),
            slack: RawBot::of_flag(self.slack),
            coordinator: RawCoordinator::of_flag(self.coordinator),
            ..RawConfig::default()
        }
    }
}

/// Which facts.
#[derive(Debug, Args)]
pub(super) struct WorldArgs {
    /// Only this metric
    #[arg(long)]
    pub metric: Option<String>,
    /// Only this zone
    #[arg(long)]
    pub zone: Option<String>,
    /// Only from this device: its id, the start of its id, or its name
    #[arg(long)]
    pub origin: Option<String>,
}

/// Which frames.
#[derive(Debug, Args)]
pub(super) struct FramesArgs {
    /// Only this kind, for example `observation`
    #[arg(long)]
    pub kind: Option<String>,
    /// Only from this device: its full id
    #[arg(long)]
    pub origin: Option<String>,
    /// How many, newest first
    #[arg(long, default_value_t = 20)]
    pub limit: usize,
}

/// Which events.
#[derive(Debug, Args)]
pub(super) struct EventsArgs {
    /// Stay and print new ones as they happen
    #[arg(long)]
    pub follow: bool,
    /// Only this kind, for example `proposal.created`
    #[arg(long)]
    pub kind: Option<String>,
    /// How many of the newest
    #[arg(long, default_value_t = 30)]
    pub limit: usize,
}

/// One proposal.
#[derive(Debug, Args)]
pub(super) struct ProposalArg {
    /// Its id, or a start of it that fits only one
    pub proposal: String,
}

/// The start of a digest, long enough that a second record with it cannot be found by trying.
fn digest_start(text: &str) -> Result<String, String> {
    let hex = !text.is_empty() && text.bytes().all(|b| b.is_ascii_hexdigit());
    match (8..=64).contains(&text.len()) && hex {
        true => Ok(text.to_ascii_lowercase()),
        false => Err("give 8 to 64 hex digits of the digest that `show` prints".to_owned()),
    }
}

/// A decision.
#[derive(Debug, Args)]
pub(super) struct DecideArgs {
    /// The proposal's id, or a start of it that fits only one
    pub proposal: String,
    /// What you want to say about it
    #[arg(long)]
    pub note: Option<String>,
    /// The actuator in full; an L3 proposal is approved only by who names it
    #[arg(long, value_name = "ACTUATOR")]
    pub target: Option<String>,
    /// Sign without being asked, if the digest of the record starts like this: 8 or more hex digits of
    /// what `show` printed
    #[arg(long, value_name = "START", value_parser = digest_start)]
    pub digest: Option<String>,
    /// Sign what this command prints without being asked
    #[arg(long)]
    pub yes: bool,
    /// Wait until the proposal has ended and print how
    #[arg(long)]
    pub wait: bool,
    /// Read the passphrase of your key from the first line of stdin
    #[arg(long)]
    pub passphrase_stdin: bool,
    /// Give the code that the executor shows at its own console, which stands for the second person of L3 where its policy
    /// says so; it is asked for, or read from the next line of stdin
    #[arg(long)]
    pub at_node: bool,
}

/// `estop`, `estop status`, `estop release`
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct EstopArgs {
    /// Why
    #[arg(long, value_parser = said)]
    pub reason: Option<String>,
    /// What else than stopping
    #[command(subcommand)]
    pub command: Option<EstopCommand>,
}

/// `estop …`
#[derive(Debug, Subcommand)]
pub(super) enum EstopCommand {
    /// Say whether the stop is latched at this node
    Status,
    /// Release the stop at this node; others are released at themselves
    Release {
        /// Why it may move again
        #[arg(long, value_parser = said)]
        reason: String,
    },
}

/// The demonstration.
#[derive(Debug, Args)]
pub(super) struct DemoArgs {
    /// Run the command centre in the desktop window, `clawmesh`, which lies beside this program
    #[arg(long)]
    pub window: bool,
}

/// `planner …`
#[derive(Debug, Subcommand)]
pub(super) enum PlannerCommand {
    /// Make it rest: it asks for nothing more until it is let go on, also over a restart
    Pause {
        /// Why
        #[arg(long, value_parser = said)]
        reason: Option<String>,
    },
    /// Let it go on, and try the language models that are out
    Resume,
    /// Take a question back that waits until a model can be asked
    Cancel {
        /// Its id, or the beginning of it
        id: String,
    },
}

/// A browser session.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct ConsoleArgs {
    /// What to do with the sessions that are open
    #[command(subcommand)]
    pub what: Option<ConsoleCommand>,
    /// What the browser may do; decisions need your passphrase besides
    #[arg(long, value_enum, default_value = "operate")]
    pub scope: Scope,
    /// For a phone or another machine: a link over https, also as a QR code; the node needs [console] in its configuration
    #[arg(long)]
    pub phone: bool,
    /// Of console.hosts the one in the link; the first if left out
    #[arg(long, value_name = "NAME", requires = "phone")]
    pub host: Option<String>,
    /// Whose browser it is, as the sessions and [[notify]] of push name it; your user's name if left out
    #[arg(long, value_name = "PERSON")]
    pub name: Option<String>,
    /// Print the link and nothing else
    #[arg(long)]
    pub print: bool,
}

/// What is done with the sessions of browsers.
#[derive(Debug, Subcommand)]
pub(super) enum ConsoleCommand {
    /// List the sessions that are open, of this machine and of others
    Sessions,
    /// End one, for example that of a phone that is lost
    End {
        /// Its id, or the beginning of it
        id: String,
    },
}

/// A wish for an action.
#[derive(Debug, Args)]
pub(super) struct ProposeArgs {
    /// What is to be done
    #[command(flatten)]
    pub action: ActionArgs,
    /// Why
    #[arg(long, value_parser = said)]
    pub reason: String,
    /// A frame it rests on, as its id, or ID@DEVICE where several devices use the id; repeatable
    #[arg(long = "cite", value_name = "FRAME")]
    pub cites: Vec<String>,
    /// The executor that is meant: its name, its device id, or `self`
    #[arg(long, value_name = "DEVICE")]
    pub executor: Option<String>,
    /// A zone that the executor has readings of, instead of its name
    #[arg(long, value_name = "ZONE")]
    pub zone: Option<String>,
}

/// An action.
#[derive(Debug, Args)]
pub(super) struct ActionArgs {
    /// The actuator, for example `actuator:mock:valve-1`
    pub target: String,
    /// The operation, for example `open`
    pub operation: String,
    /// Parameters; values are JSON scalars, anything else is text
    #[arg(value_name = "KEY=VALUE", value_parser = parse_pair)]
    pub params: Vec<(String, Value)>,
}

/// Who asks, for `policy explain`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Asker {
    /// The embedded planner's rules.
    Rules,
    /// A person.
    Person,
    /// A model.
    Llm,
}

/// `policy …`
#[derive(Debug, Subcommand)]
pub(super) enum PolicyCommand {
    /// Show the policy file: digest, rules, test cases
    Show,
    /// Run a policy file's own tests
    Test {
        /// The file [default: policy.toml of the state directory]
        file: Option<PathBuf>,
    },
    /// Say what the policy answers to an action, and why
    Explain {
        /// The action
        #[command(flatten)]
        action: ActionArgs,
        /// Who asks
        #[arg(long, value_enum, default_value = "rules")]
        requester: Asker,
    },
    /// Take the policy file again now
    Reload,
    /// Print a policy to start from
    Starter,
}

/// `audit …`
#[derive(Debug, Subcommand)]
pub(super) enum AuditCommand {
    /// Check that no entry is missing, altered or unsigned
    Verify {
        /// Check an exported file instead; needs no node
        #[arg(long, value_name = "FILE")]
        file: Option<PathBuf>,
        /// The device whose trail the file must be, in full
        #[arg(long, value_name = "ID", requires = "file")]
        device: Option<String>,
    },
    /// Write the whole trail as JSON lines that anybody can check
    Export {
        /// Where to; a file that must not exist yet [default: standard output]
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// List entries
    Show {
        /// How many of the newest
        #[arg(long, default_value_t = 30)]
        limit: usize,
    },
}
