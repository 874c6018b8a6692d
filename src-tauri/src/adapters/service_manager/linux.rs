//! Words to systemd.

use sd_notify::NotifyState;

use super::Work;
use super::installed::{Manager, Registered};

/// Who runs services.
pub(super) const MANAGER: Manager = Manager::Systemd;

/// See [`super::ready`].
pub(super) fn ready(status: &str) {
    tell(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// See [`super::alive`].
pub(super) fn alive() {
    if sd_notify::watchdog_enabled().is_some() {
        tell(&[NotifyState::Watchdog]);
    }
}

/// See [`super::stopping`].
pub(super) fn stopping(status: &str) {
    tell(&[NotifyState::Stopping, NotifyState::Status(status)]);
}

/// See [`super::serve`].
pub(super) fn serve(_end: fn(), _work: Work) -> Result<(), String> {
    Err("only the service manager of Windows starts a node this way".to_owned())
}

/// What the service manager of Windows says of the service: none elsewhere.
pub(super) fn registered() -> Option<Registered> {
    None
}

fn tell(words: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(words) {
        tracing::debug!(%error, "the service manager was not told");
    }
}
