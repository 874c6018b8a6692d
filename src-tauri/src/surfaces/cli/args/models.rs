//! Language models and the keys of their providers, as the command line names them.

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// `infer …`
#[derive(Debug, Args)]
pub(crate) struct InferArgs {
    /// What is asked
    pub(crate) prompt: String,
    /// PROVIDER/MODEL, of this node or of a device that shares it; those of the configuration in their order without it
    #[arg(long, value_name = "PROVIDER/MODEL")]
    pub(crate) model: Option<String>,
    /// The device whose model it is, by its id or name
    #[arg(long, value_name = "DEVICE", requires = "model")]
    pub(crate) peer: Option<String>,
    /// How much it may write, in tokens
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) max_tokens: Option<u32>,
}

/// `model …`
#[derive(Debug, Subcommand)]
pub(crate) enum ModelCommand {
    /// List the configured models in the order in which they are asked, and whether each has its key
    List,
    /// Say which model a question would go to, and why not to the others; nobody is asked
    Explain {
        /// The question
        question: String,
    },
    /// Print the token of the model endpoint, which other programs take as their API key; makes it where there is none
    Token {
        /// Make a new one; the old one opens nothing any more
        #[arg(long)]
        new: bool,
    },
    /// Ask a model for one sentence and say how long it takes; counts in no budget of the node
    Test {
        /// PROVIDER/MODEL; of the configuration, or of a provider that is known by name
        model: String,
        /// Its server, where that is another one
        #[arg(long, value_name = "URL")]
        model_url: Option<String>,
    },
}

/// `credential …`
#[derive(Debug, Subcommand)]
pub(crate) enum CredentialCommand {
    /// Set a secret: typed without echo, or the first line of stdin. A running node uses it at once
    Set {
        /// As in provider/openai, device/shed, channel/telegram or custom/anything
        name: String,
    },
    /// List the names that are set, since when and where each is kept; never a value
    List,
    /// Show since when one is set and where it is kept
    Get {
        /// As in provider/openai
        name: String,
        /// Print its value and nothing else
        #[arg(long)]
        reveal: bool,
    },
    /// Forget one
    #[command(alias = "remove")]
    Delete {
        /// As in provider/openai
        name: String,
    },
}

/// `device …`
#[derive(Debug, Subcommand)]
pub(crate) enum DeviceCommand {
    /// List every device with what it measures and moves, its last readings and their age; of a running node, else of
    /// the configuration alone
    List,
    /// Read the configuration and tell every mistake in it, then look at each sensor once and read back where each
    /// actuator is. Nothing is moved
    Test {
        /// Only this device, sensor or actuator
        name: Option<String>,
    },
    /// Take one reading now: as the device says it, scaled, and what is not believed of it
    Read {
        /// The sensor, or the device
        name: String,
    },
    /// Print readings as they come, until Ctrl-C
    Watch {
        /// The sensor, or the device
        name: String,
    },
    /// Have the running node take the devices of its configuration file as they stand there now, all of them or none;
    /// it does so by itself a few seconds after the file has changed. Nothing that moves is touched
    Reload,
    /// List the pictures that this node keeps of its cameras, newest first
    Pictures {
        /// Only those of this camera
        camera: Option<String>,
    },
    /// Write a picture that this node keeps into a file, as the camera gave it
    Picture {
        /// What it is called: its SHA-256, or the first 8 characters or more, as `pictures` and the frames show it
        id: String,
        /// The file, which must not be there yet
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
    /// Hear what devices at an MQTT broker offer (the messages that they keep there for Home Assistant) and print it as tables of
    /// a configuration: readings ready to use, what can be moved in comments for you to decide
    Discover(DiscoverArgs),
}

/// `device discover`.
#[derive(Debug, Args)]
pub(crate) struct DiscoverArgs {
    /// The broker: mqtt://HOST[:1883], or mqtts://HOST[:8883] for TLS
    #[arg(long, value_name = "URL")]
    pub broker: String,
    /// The user there
    #[arg(long)]
    pub user: Option<String>,
    /// The name of the credential with the password, as in device/shed
    #[arg(long, value_name = "CREDENTIAL", requires = "user")]
    pub password: Option<String>,
    /// A PEM file of the authorities that prove the broker [default: those of the system]
    #[arg(long, value_name = "FILE")]
    pub ca: Option<PathBuf>,
    /// Send the password in plain text over the internet, where the broker is there
    #[arg(long)]
    pub plain: bool,
    /// The first level of the discovery topics
    #[arg(long, default_value = "homeassistant")]
    pub prefix: String,
    /// For how long to listen
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=300))]
    pub seconds: u64,
    /// What the table is called
    #[arg(long, default_value = "homeassistant")]
    pub name: String,
    /// Write the readings behind everything else into config.toml, if they fit to what it has; an actuator is never written
    #[arg(long)]
    pub write: bool,
}
