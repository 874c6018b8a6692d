//! Systems whose service managers are told nothing.

use super::installed::Manager;

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
