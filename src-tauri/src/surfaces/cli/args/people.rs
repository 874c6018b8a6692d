//! Arguments of the commands about devices, people and meshes.

use clap::{Args, Subcommand, ValueEnum};

/// How to pair.
#[derive(Debug, Args)]
pub(crate) struct PairArgs {
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

/// `meshes …`
#[derive(Debug, Subcommand)]
pub(crate) enum MeshesCommand {
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

/// `trust …`
#[derive(Debug, Subcommand)]
pub(crate) enum TrustCommand {
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
pub(crate) enum OperatorCommand {
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
pub(crate) enum IssuerCommand {
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
pub(crate) enum KeyCommand {
    /// Put the key under a passphrase; a browser can then decide with it
    Protect,
    /// Take the passphrase off
    Unprotect,
}
