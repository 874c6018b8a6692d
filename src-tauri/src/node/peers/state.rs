//! Where a node stands with a device: with what it counts for itself, and in a word for others.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Where this node stands with a device.
#[derive(Debug, Clone, PartialEq)]
pub enum State {
    /// Not connected; the next attempt comes when the wait is over.
    Waiting {
        /// Failed attempts in a row.
        failures: u32,
    },
    /// An attempt is under way.
    Dialing {
        /// Failed attempts before this one.
        failures: u32,
    },
    /// A link is up and answers.
    Connected,
    /// A link is up and has been silent for too long; it is being asked.
    Suspect,
    /// We cannot reach it, but others can: the way between us is broken.
    Unreachable {
        /// Failed attempts in a row.
        failures: u32,
    },
    /// No peer we asked can reach it; it is tried again about once a minute.
    Down {
        /// Failed attempts in a row.
        failures: u32,
    },
    /// It said goodbye.
    Left,
    /// It answered and will not have us, or it is not who it should be.
    Refused,
    /// It is heard through others; it is dialed when something is to be sent to it.
    OnDemand,
}

/// Where a node stands with a peer, in a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum PeerState {
    /// Not connected; the next attempt comes when the wait is over.
    Waiting,
    /// An attempt is under way.
    Dialing,
    /// A link is up and answers.
    Connected,
    /// A link is up and has been silent for too long.
    Suspect,
    /// Others reach it and this node does not.
    Unreachable,
    /// No peer that was asked reaches it.
    Down,
    /// It said goodbye.
    Left,
    /// It refuses this node, or it is not the device it should be.
    Refused,
    /// It is heard through others; it is dialed when something is to be sent to it.
    #[serde(rename = "on-demand")]
    OnDemand,
}

impl fmt::Display for PeerState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            PeerState::Waiting => "waiting",
            PeerState::Dialing => "dialing",
            PeerState::Connected => "connected",
            PeerState::Suspect => "suspect",
            PeerState::Unreachable => "unreachable",
            PeerState::Down => "down",
            PeerState::Left => "left",
            PeerState::Refused => "refused",
            PeerState::OnDemand => "on demand",
        })
    }
}

impl State {
    /// Without its counts.
    pub fn plain(&self) -> PeerState {
        match self {
            State::Waiting { .. } => PeerState::Waiting,
            State::Dialing { .. } => PeerState::Dialing,
            State::Connected => PeerState::Connected,
            State::Suspect => PeerState::Suspect,
            State::Unreachable { .. } => PeerState::Unreachable,
            State::Down { .. } => PeerState::Down,
            State::Left => PeerState::Left,
            State::Refused => PeerState::Refused,
            State::OnDemand => PeerState::OnDemand,
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.plain().fmt(f)
    }
}
