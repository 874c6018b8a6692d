//! Where a device may be reached, and the question to others about it.

use crate::adapters::transport::{Fingerprint, PeerUrl};

/// The request that asks.
pub const SEEN: &str = "peers.seen";

/// The event by which who accepted a link tells who dialed it whether it is to stay: `{"keep": bool}`.
pub const KEEP: &str = "link.keep";

/// How an address became known; better ones first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// Written in the configuration.
    Configured,
    /// Kept from a pairing.
    Learned,
    /// Seen on the LAN.
    Seen,
}

/// Where a device may be reached.
#[derive(Debug, Clone, PartialEq)]
pub struct Target {
    /// Where.
    pub url: PeerUrl,
    /// The certificate it must show.
    pub pin: Option<Fingerprint>,
    /// The transport label.
    pub label: String,
    /// How it became known.
    pub source: Source,
}
