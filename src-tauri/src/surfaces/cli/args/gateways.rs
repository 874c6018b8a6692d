//! Arguments of `gateway`.

use clap::Subcommand;

/// `gateway …`
#[derive(Debug, Subcommand)]
pub(crate) enum GatewayCommand {
    /// Add an OpenClaw gateway and connect it; its token is typed without echo, or the first line of stdin
    Add {
        /// Its address, as in ws://127.0.0.1:18789; without one, the gateway of your OpenClaw on this machine, with its token
        url: Option<String>,
        /// What it is called here; its host where this is left out
        #[arg(long)]
        name: Option<String>,
        /// Ask for no token and read none
        #[arg(long)]
        no_token: bool,
        /// Allow ws:// to another machine, where the network itself is encrypted
        #[arg(long)]
        insecure: bool,
    },
    /// List the gateways and how each stands
    List,
    /// Show a gateway: state, what to do, agents
    Show {
        /// Its name or id
        gateway: String,
    },
    /// Give a gateway another name
    Rename {
        /// Its name or id
        gateway: String,
        /// The new name
        name: String,
    },
    /// Connect a gateway that was disabled
    Enable {
        /// Its name or id
        gateway: String,
    },
    /// End the connection to a gateway until it is enabled
    Disable {
        /// Its name or id
        gateway: String,
    },
    /// Remove a gateway and forget its tokens
    Remove {
        /// Its name or id
        gateway: String,
    },
    /// Look for gateways on this machine and on the LAN; none is trusted or added
    Discover,
}
