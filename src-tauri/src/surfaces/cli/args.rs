//! The command line, as clap reads it. Unknown flags are errors; every command knows `--json`.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use serde_json::Value;

use super::fail::EXIT_CODES;
use super::format::{parse_pair, said};
use crate::adapters::transport::ListenAddress;
use crate::node::RawConfig;
use crate::operator::access::Scope;

/// A node of a ClawMesh: readings in, proposals out, actions only with a person's signature.
#[derive(Debug, Parser)]
#[command(name = "clawmesh-node", version, after_long_help = EXIT_CODES, max_term_width = 100)]
#[command(disable_help_subcommand = true)]
pub struct Cli {
    /// What every command takes.
    #[command(flatten)]
    pub global: Global,
    /// The command.
    #[command(subcommand)]
    pub command: Command,
}

/// Flags of every command.
#[derive(Debug, Clone, Args)]
pub struct Global {
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
pub enum Command {
    /// Run the node of the state directory until it is told to stop
    Start(Box<StartArgs>),
    /// Run a command centre and a field node on this machine
    Demo(DemoArgs),
    /// Show this device: id, public key, name; makes the identity if there is none
    Identity,
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
    /// Take a proposal back without deciding it
    Withdraw(ProposalArg),
    /// Stop a running action now: its actuator goes to its safe state
    Stop(ProposalArg),
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
    /// Ask for an action; its executor decides what that takes
    Propose(ProposeArgs),
    /// Tell a proposal's story from reading to outcome
    Trace(ProposalArg),
    /// The policy of this node's executor
    #[command(subcommand)]
    Policy(PolicyCommand),
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

/// `state …`
#[derive(Debug, Subcommand)]
pub enum StateCommand {
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

/// `clock …`
#[derive(Debug, Subcommand)]
pub enum ClockCommand {
    /// Say that the clock is right now, although the node has recorded a later time. Run it at the
    /// machine, while the node is stopped
    Confirm {
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
}

/// Flags of `start`; they beat `config.toml` in the state directory.
#[derive(Debug, Default, Args)]
pub struct StartArgs {
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
    /// Stop gracefully when stdin closes
    #[arg(long, hide = true)]
    pub end_with_stdin: bool,
}

impl StartArgs {
    /// The flags as a configuration that overlays the file's.
    pub fn to_raw(&self) -> RawConfig {
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
            ..RawConfig::default()
        }
    }
}

/// How to pair.
#[derive(Debug, Args)]
pub struct PairArgs {
    /// The text of the other node's link (clawmesh://pair?…), quoted
    #[arg(value_name = "LINK", conflicts_with_all = ["accept", "url", "cancel"])]
    pub target: Option<String>,
    /// Let another node ask this one, for 5 minutes and 3 tries
    #[arg(long, conflicts_with_all = ["url", "cancel"])]
    pub accept: bool,
    /// Ask the node at this address, for example ws://192.168.1.7:18789
    #[arg(long, value_name = "URL", conflicts_with = "cancel")]
    pub url: Option<String>,
    /// What the other node may do here, which is not its role: field, command-center (for a planner),
    /// owner, viewer or gen1; see `trust presets` [default: asked]
    #[arg(long = "as", value_name = "PRESET")]
    pub preset: Option<String>,
    /// You know what `owner` means: do not ask
    #[arg(long)]
    pub yes: bool,
    /// Close the window and end the pairing under way
    #[arg(long)]
    pub cancel: bool,
}

/// Which facts.
#[derive(Debug, Args)]
pub struct WorldArgs {
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
pub struct FramesArgs {
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
pub struct EventsArgs {
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
pub struct ProposalArg {
    /// Its id, or a start of it that fits only one
    pub proposal: String,
}

/// The start of a digest, long enough that nobody makes another record with it by trying.
fn digest_start(text: &str) -> Result<String, String> {
    let hex = !text.is_empty() && text.bytes().all(|b| b.is_ascii_hexdigit());
    match (8..=64).contains(&text.len()) && hex {
        true => Ok(text.to_ascii_lowercase()),
        false => Err("give 8 to 64 hex digits of the digest that `show` prints".to_owned()),
    }
}

/// A decision.
#[derive(Debug, Args)]
pub struct DecideArgs {
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
}

/// `meshes …`
#[derive(Debug, Subcommand)]
pub enum MeshesCommand {
    /// List them
    List,
    /// Say what happens when a trusted device of a mesh is seen
    Set {
        /// The mesh: its name or its id
        mesh: String,
        /// What happens
        #[arg(value_enum)]
        policy: MeshPolicy,
    },
    /// Let a device in that the join policy asks about
    Admit {
        /// The device
        device: String,
    },
}

/// What happens when a trusted device is seen.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum MeshPolicy {
    /// It is connected
    Auto,
    /// You are asked, once for each device
    Ask,
    /// Nothing
    Never,
}

impl From<MeshPolicy> for crate::node::discovery::JoinPolicy {
    fn from(policy: MeshPolicy) -> Self {
        match policy {
            MeshPolicy::Auto => Self::Auto,
            MeshPolicy::Ask => Self::Ask,
            MeshPolicy::Never => Self::Never,
        }
    }
}

/// `estop`, `estop status`, `estop release`
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct EstopArgs {
    /// Why
    #[arg(long, value_parser = said)]
    pub reason: Option<String>,
    /// What else than stopping
    #[command(subcommand)]
    pub command: Option<EstopCommand>,
}

/// `estop …`
#[derive(Debug, Subcommand)]
pub enum EstopCommand {
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
pub struct DemoArgs {
    /// Run the command centre in the desktop window, `clawmesh`, which lies beside this program
    #[arg(long)]
    pub window: bool,
}

/// `planner …`
#[derive(Debug, Subcommand)]
pub enum PlannerCommand {
    /// Make it rest: it asks for nothing more until it is let go on, also over a restart
    Pause {
        /// Why
        #[arg(long, value_parser = said)]
        reason: Option<String>,
    },
    /// Let it go on
    Resume,
}

/// A browser session.
#[derive(Debug, Args)]
pub struct ConsoleArgs {
    /// What the browser may do; decisions need your passphrase besides
    #[arg(long, value_enum, default_value = "operate")]
    pub scope: Scope,
    /// Print the link and nothing else
    #[arg(long)]
    pub print: bool,
}

/// A wish for an action.
#[derive(Debug, Args)]
pub struct ProposeArgs {
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
pub struct ActionArgs {
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
pub enum Asker {
    /// The embedded planner's rules.
    Rules,
    /// A person.
    Person,
    /// A model.
    Llm,
}

/// `policy …`
#[derive(Debug, Subcommand)]
pub enum PolicyCommand {
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
pub enum AuditCommand {
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

/// `trust …`
#[derive(Debug, Subcommand)]
pub enum TrustCommand {
    /// Trust a device
    Add {
        /// Its device id
        device: String,
        /// A name for people
        #[arg(long)]
        name: Option<String>,
        /// Its public key, to pin it before it first connects
        #[arg(long, allow_hyphen_values = true)]
        public_key: Option<String>,
        /// What it may do here, which is not its role: field, command-center (for a planner), owner, viewer
        /// or gen1; see `trust presets` [default: gen1, unless --grant says otherwise]
        #[arg(long = "as", value_name = "PRESET")]
        preset: Option<String>,
        /// Further grants, for example `observe:T2,relay`
        #[arg(long = "grant", value_name = "LIST")]
        grants: Option<String>,
        /// You know what the grant `admin` means: do not ask
        #[arg(long)]
        yes: bool,
    },
    /// Show what each preset and grant lets a device do at worst
    Presets,
    /// List trusted devices
    List,
    /// Show one device
    Show {
        /// Its id, or a start of it that fits only one
        device: String,
    },
    /// Trust a device no longer
    Remove {
        /// Its id, or a start of it that fits only one
        device: String,
    },
    /// Allow a trusted device more
    Grant {
        /// Its id, or a start of it that fits only one
        device: String,
        /// The grants, for example `observe:T2,relay`
        grants: String,
        /// You know what the grant `admin` means: do not ask
        #[arg(long)]
        yes: bool,
    },
    /// Allow a trusted device less, or end the trust in it for good
    Revoke {
        /// Its id, or a start of it that fits only one
        device: String,
        /// The grants to take away
        #[arg(required_unless_present = "for_good")]
        grants: Option<String>,
        /// End the trust in the device, here and wherever this one is trusted with admin; never taken back
        #[arg(long, conflicts_with = "grants")]
        for_good: bool,
    },
}

/// `operator …`
#[derive(Debug, Subcommand)]
pub enum OperatorCommand {
    /// Make your operator key in this state directory
    Init {
        /// Your name [default: $USER]
        #[arg(long)]
        name: Option<String>,
    },
    /// Show your operator key's public half
    Show,
    /// Put your operator key under a passphrase, or take it off; read from the terminal or stdin
    #[command(subcommand)]
    Key(KeyCommand),
    /// Let a person's key approve on this executor
    Enroll {
        /// The person's public key, as `operator show` prints it; it may begin with a dash
        #[arg(allow_hyphen_values = true)]
        key: String,
        /// The highest level they may approve
        #[arg(long)]
        level: String,
        /// The person's name [default: operator]
        #[arg(long)]
        name: Option<String>,
        /// The person who is known here and whose further key this is, by name or id: their keys count once
        #[arg(long, value_name = "NAME|ID")]
        person: Option<String>,
        /// For how many days [default: 365]
        #[arg(long)]
        days: Option<u32>,
    },
    /// List the people this executor knows
    List,
    /// Revoke a key for ever, or every key of a person
    Revoke {
        /// The operator id, or a start of it that fits only one
        #[arg(required_unless_present = "person")]
        operator: Option<String>,
        /// Every key of this person, by name or id
        #[arg(long, value_name = "NAME|ID", conflicts_with = "operator")]
        person: Option<String>,
    },
    /// Whose operators count at this executor besides its own
    #[command(subcommand)]
    Issuer(IssuerCommand),
}

/// `operator issuer …`
#[derive(Debug, Subcommand)]
pub enum IssuerCommand {
    /// Let the operators that another device vouches for count here
    Accept {
        /// Its device id, or a start of it that fits only one
        device: String,
        /// You have seen whom it vouches for: do not ask
        #[arg(long)]
        yes: bool,
    },
    /// List the devices that are accepted, and those that could be
    List,
    /// Let its operators count here no more
    Remove {
        /// Its device id, or a start of it that fits only one
        device: String,
    },
}

/// `operator key …`
#[derive(Debug, Subcommand)]
pub enum KeyCommand {
    /// Put the key under a passphrase; a browser can then decide with it
    Protect,
    /// Take the passphrase off
    Unprotect,
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use clap::CommandFactory as _;

    use super::*;

    fn parse(line: &[&str]) -> Result<Cli, clap::Error> {
        Cli::try_parse_from(std::iter::once("clawmesh-node").chain(line.iter().copied()))
    }

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_key_that_begins_with_a_dash_is_a_key() {
        for key in ["-r6Kw_x", "-hello", "--x", "-V"] {
            let cli = parse(&["operator", "enroll", key, "--level", "L2", "--json"]).unwrap();
            let shown = format!("{:?}", cli.command);
            assert!(
                shown.contains(&format!("key: {key:?}")) && shown.contains("\"L2\""),
                "{shown}"
            );
            assert!(parse(&["trust", "add", "ab", "--public-key", key, "--as", "field"]).is_ok());
        }
        assert!(parse(&["operator", "enroll", "key", "--levle", "L2"]).is_err());
    }

    #[test]
    fn the_contract_of_start_parses_word_by_word() {
        let id = "a".repeat(64);
        let peer = format!("{id}=ws://127.0.0.1:18789||local");
        let cli = parse(&[
            "start",
            "--name",
            "field-1",
            "--role",
            "field",
            "--mesh-name",
            "demo",
            "--port",
            "18790",
            "--no-discovery",
            "--mock-sensor",
            "--mock-actuator",
            "--peer",
            &peer,
        ])
        .unwrap();
        let Command::Start(start) = cli.command else {
            panic!("not start")
        };
        let config = start.to_raw().resolve(PathBuf::new()).unwrap();
        assert_eq!((config.port, config.peers.len()), (18_790, 1));
        assert!(config.mock_sensor && config.mock_actuator && !config.discovery);
        assert_eq!(config.mesh_name.as_deref(), Some("demo"));
    }

    #[test]
    fn unknown_flags_and_commands_are_errors() {
        for line in [
            &["status", "--colour"][..],
            &["strat"],
            &["start", "--prot", "1"],
            &["approve"],
        ] {
            assert!(parse(line).is_err(), "{line:?}");
        }
    }

    #[test]
    fn json_and_state_dir_stand_anywhere() {
        let cli = parse(&[
            "policy",
            "explain",
            "actuator:mock:valve-1",
            "open",
            "durationSec=10",
            "--json",
            "--state-dir",
            "/x",
            "--requester",
            "llm",
        ])
        .unwrap();
        assert!(cli.global.json);
        assert_eq!(cli.global.state_dir, Some(PathBuf::from("/x")));
        let Command::Policy(PolicyCommand::Explain { action, requester }) = cli.command else {
            panic!("not explain")
        };
        assert_eq!(requester, Asker::Llm);
        assert_eq!(
            action.params,
            vec![("durationSec".to_owned(), Value::from(10))]
        );
    }

    #[test]
    fn the_long_help_lists_the_exit_codes() {
        assert!(
            Cli::command()
                .render_long_help()
                .to_string()
                .contains(EXIT_CODES)
        );
    }
}
