//! Processes: groups and how they are ended.

use std::io;
use std::process::ExitStatus;

use tokio::process::{Child, Command};
use windows_service::service_manager::{ServiceManager, ServiceManagerAccess};

/// A process that no Ctrl-C of this console reaches (`CREATE_NEW_PROCESS_GROUP`).
const OWN_GROUP: u32 = 0x200;
/// What programs of the system do not run without: sockets need the first.
const NEEDED: [&str; 3] = ["SystemRoot", "SystemDrive", "TEMP"];

/// Puts what a command starts out of reach of a Ctrl-C at this process's terminal.
pub fn in_own_group(command: &mut Command) -> &mut Command {
    command.creation_flags(OWN_GROUP)
}

/// Gives a command none of this process's environment, but for what no program of the system runs without.
pub fn bare(command: &mut Command) -> &mut Command {
    let kept = NEEDED
        .iter()
        .filter_map(|name| Some((name, std::env::var_os(name)?)));
    command.env_clear().envs(kept)
}

/// Asks a child to end in order. There is no such signal here: its stdin is closed, by which a node that was started with
/// `--end-with-stdin` ends.
///
/// # Errors
/// None.
pub fn ask_to_end(child: &mut Child) -> io::Result<()> {
    drop(child.stdin.take());
    Ok(())
}

/// Ends this process at once, as a loss of power would. It may return.
pub fn kill_self() {
    std::process::abort()
}

/// The signal that killed a process, if one did: none does here.
pub fn signal_of(_status: ExitStatus) -> Option<i32> {
    None
}

/// Whether this process may do what the administrator of the machine may: make services.
pub fn is_administrator() -> bool {
    ServiceManager::local_computer(None::<&str>, ServiceManagerAccess::CREATE_SERVICE).is_ok()
}

/// The number of the user, where users have one.
pub fn user_number() -> Option<u32> {
    None
}
