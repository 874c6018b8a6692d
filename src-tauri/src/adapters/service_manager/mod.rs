//! Words to the service manager that started the process (systemd's `sd_notify`): that the node is ready, that it is
//! alive, that it ends. Without a manager that listens nothing is said.

pub mod installed;
pub mod units;

#[cfg(target_os = "linux")]
mod linux;
#[cfg(target_os = "linux")]
use linux as here;

#[cfg(not(target_os = "linux"))]
mod elsewhere;
#[cfg(not(target_os = "linux"))]
use elsewhere as here;

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
