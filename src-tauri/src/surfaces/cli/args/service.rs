//! `service` and `doctor`, as the command line names them.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use crate::adapters::service_manager::installed::Manager;

/// Whose service is meant.
#[derive(Debug, Clone, Args)]
pub(crate) struct ServiceArgs {
    /// Of the system's manager; goes without saying for root
    #[arg(long, conflicts_with = "user")]
    pub(crate) system: bool,
    /// Of your own manager, while you are logged in; goes without saying for others
    #[arg(long)]
    pub(crate) user: bool,
    /// The service manager [default: that of this machine]
    #[arg(long, value_enum)]
    pub(crate) manager: Option<ManagerName>,
}

/// A service manager by its name.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum ManagerName {
    /// systemd
    Systemd,
    /// launchd
    Launchd,
    /// The service manager of Windows
    Windows,
}

impl From<ManagerName> for Manager {
    fn from(name: ManagerName) -> Self {
        match name {
            ManagerName::Systemd => Self::Systemd,
            ManagerName::Launchd => Self::Launchd,
            ManagerName::Windows => Self::Windows,
        }
    }
}

/// `service install`
#[derive(Debug, Args)]
pub(crate) struct ServiceInstall {
    #[command(flatten)]
    pub(crate) of: ServiceArgs,
    /// The user that a service of the system runs as; made where there is none [default: clawmesh]
    #[arg(long, value_name = "USER")]
    pub(crate) run_as: Option<String>,
    /// The program [default: this one]
    #[arg(long, value_name = "FILE")]
    pub(crate) program: Option<PathBuf>,
    /// Write the file and start nothing
    #[arg(long)]
    pub(crate) no_start: bool,
    /// Print what would be written and run, and do nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
}

/// `service …`
#[derive(Debug, Subcommand)]
pub(crate) enum ServiceCommand {
    /// Have the service manager of this machine start the node, now and with the machine, and again when it ends
    Install(ServiceInstall),
    /// End the node and remove the service; the state directory is left as it is
    Uninstall {
        #[command(flatten)]
        of: ServiceArgs,
        /// Print what would be removed and run, and do nothing
        #[arg(long)]
        dry_run: bool,
    },
    /// Show whether the service is installed, runs, and starts by itself
    Status(ServiceArgs),
}

/// `doctor`
#[derive(Debug, Args)]
pub(crate) struct DoctorArgs {
    /// Also write what was found, without secrets, into this file, which must not exist yet
    #[arg(long, value_name = "FILE")]
    pub(crate) bundle: Option<PathBuf>,
}

/// Where a release is looked for.
#[derive(Debug, Args)]
pub(crate) struct UpdateArgs {
    /// Where releases are: an https:// address, or the whole path of a folder [default: [updates] of config.toml]
    #[arg(long, value_name = "SOURCE")]
    pub(crate) from: Option<String>,
    /// The public key that they are signed with, a line of minisign's .pub file
    #[arg(long, value_name = "KEY")]
    pub(crate) key: Option<String>,
}
