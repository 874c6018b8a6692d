//! Processes: groups, signals, users.

use std::io;
use std::os::unix::process::ExitStatusExt as _;
use std::process::ExitStatus;

use rustix::process::{Pid, Signal, geteuid, getpid, getuid, kill_process};
use tokio::process::{Child, Command};

/// Puts what a command starts out of reach of a Ctrl-C at this process's terminal.
pub fn in_own_group(command: &mut Command) -> &mut Command {
    command.process_group(0)
}

/// Gives a command none of this process's environment, but for what no program of the system runs without.
pub fn bare(command: &mut Command) -> &mut Command {
    command.env_clear()
}

/// Asks a child to end in order.
///
/// # Errors
/// The OS error.
pub fn ask_to_end(child: &mut Child) -> io::Result<()> {
    let id = child.id().and_then(|id| i32::try_from(id).ok());
    match id.and_then(Pid::from_raw) {
        Some(id) => Ok(kill_process(id, Signal::TERM)?),
        None => Ok(()),
    }
}

/// Ends this process at once, as a loss of power would. It may return.
pub fn kill_self() {
    // The caller aborts where it fails.
    let _ = kill_process(getpid(), Signal::KILL);
}

/// The signal that killed a process, if one did.
pub fn signal_of(status: ExitStatus) -> Option<i32> {
    status.signal()
}

/// Whether this process may do what the administrator of the machine may.
pub fn is_administrator() -> bool {
    geteuid().is_root()
}

/// The number of the user, where users have one.
pub fn user_number() -> Option<u32> {
    Some(getuid().as_raw())
}
