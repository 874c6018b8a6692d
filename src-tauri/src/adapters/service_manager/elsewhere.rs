//! Systems whose service managers are told nothing.

use super::Work;
use super::installed::{Manager, Registered};

/// Who runs services. Where there is neither, it is said that this one does not run.
#[cfg(target_os = "macos")]
pub(super) const MANAGER: Manager = Manager::Launchd;
#[cfg(not(target_os = "macos"))]
pub(super) const MANAGER: Manager = Manager::Systemd;

/// See [`super::ready`].
pub(super) fn ready(_status: &str) {}

/// See [`super::alive`].
pub(super) fn alive() {}

/// See [`super::stopping`].
pub(super) fn stopping(_status: &str) {}

/// See [`super::serve`].
pub(super) fn serve(_end: fn(), _work: Work) -> Result<(), String> {
    Err("only the service manager of Windows starts a node this way".to_owned())
}

/// What the service manager of Windows says of the service: none elsewhere.
pub(super) fn registered() -> Option<Registered> {
    None
}
