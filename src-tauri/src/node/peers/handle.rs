//! The handle of the supervisors.

use std::sync::Arc;

use super::Peers;
use crate::node::sessions::Sessions;

/// The handle of all supervisors.
#[derive(Clone)]
pub(super) struct Supervising {
    /// How links are made; beneath it the links themselves.
    pub(super) sessions: Sessions,
    /// Where this node stands with each device.
    pub(super) peers: Arc<Peers>,
}

impl std::ops::Deref for Supervising {
    type Target = Sessions;

    fn deref(&self) -> &Sessions {
        &self.sessions
    }
}
