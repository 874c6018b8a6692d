//! Words to the service manager that started the process (systemd's `sd_notify`): that the node is ready, that it is
//! alive, that it ends. Without a manager that listens nothing is said. Windows' service manager starts the process and calls it
//! back ([`serve`]).

pub mod installed;
pub mod units;

#[cfg(target_os = "linux")]
mod linux;
#[cfg(target_os = "linux")]
use linux as here;

#[cfg(windows)]
mod windows;
#[cfg(windows)]
use windows as here;

#[cfg(not(any(target_os = "linux", windows)))]
mod elsewhere;
#[cfg(not(any(target_os = "linux", windows)))]
use elsewhere as here;

/// What a service does from its start to its end; its exit code.
pub type Work = Box<dyn FnOnce() -> u8 + Send>;

/// Says that the node serves, and where.
pub fn ready(status: &str) {
    here::ready(status);
}

/// Says that the node is alive, where the manager ends services that do not.
pub fn alive() {
    here::alive();
}

/// Says that the node ends, and why.
pub fn stopping(status: &str) {
    here::stopping(status);
}

/// Does `work` as the service that Windows' service manager has started this process for, and calls `end` when that asks for
/// the end. The service runs from the first [`ready`] on. Work that fails without having been asked to end takes the process
/// with it, so that the manager starts it again.
///
/// # Errors
/// If the service manager of Windows has not started this process.
pub fn serve(end: fn(), work: Work) -> Result<(), String> {
    here::serve(end, work)
}
