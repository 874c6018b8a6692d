//! Words to the service manager that started the process (systemd's `sd_notify`): that the node is ready, that it is
//! alive, that it ends. Without a manager that listens nothing is said.

pub mod installed;
pub mod units;

use sd_notify::NotifyState;

/// Says that the node serves, and where.
pub fn ready(status: &str) {
    tell(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// Says that the node is alive, where the manager ends services that do not.
pub fn alive() {
    if sd_notify::watchdog_enabled().is_some() {
        tell(&[NotifyState::Watchdog]);
    }
}

/// Says that the node ends, and why.
pub fn stopping(status: &str) {
    tell(&[NotifyState::Stopping, NotifyState::Status(status)]);
}

fn tell(words: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(words) {
        tracing::debug!(%error, "the service manager was not told");
    }
}
