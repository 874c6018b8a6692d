//! A stored frame as links send it.

use std::sync::Arc;

use crate::adapters::store::frames::StoredFrame;
use crate::domain::admission::Admitted;
use crate::domain::base::{DeviceId, Digest, SignatureState};
use crate::domain::sync::FrameKey;
use crate::domain::wire::FrameKind;

/// A stored frame as links send it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Encoded {
    pub(super) origin: DeviceId,
    /// Whose link or address it came over; `None` for this node's own frames.
    pub(super) link_peer: Option<DeviceId>,
    /// How many links it has crossed when it arrives at a peer.
    pub(super) hops: u32,
    /// Its JSON without `hops`.
    pub(super) text: Arc<str>,
    /// Its content, where it stands with a good signature of its origin.
    pub(super) signed: Option<Digest>,
    /// Its key between nodes.
    pub(super) key: FrameKey,
    /// Whether it is a reading.
    pub(super) reading: bool,
}

impl Encoded {
    /// A frame just stored; its text is shared, not copied.
    pub fn of(admitted: &Admitted) -> Self {
        let link_peer = admitted.link_peer().cloned();
        Self {
            key: super::tree::key_of(admitted),
            reading: admitted.frame().kind == FrameKind::Observation,
            origin: admitted.frame().origin.clone(),
            hops: hops(link_peer.is_some(), admitted.frame().hops),
            link_peer,
            text: admitted.text().clone(),
            signed: (admitted.signature() == SignatureState::Verified
                && admitted.frame().signature.is_some())
            .then(|| admitted.content()),
        }
    }

    /// Whether it goes to a peer that is told what is new: not what it made or brought itself.
    pub fn is_new_to(&self, peer: &DeviceId) -> bool {
        self.origin != *peer && self.link_peer.as_ref() != Some(peer)
    }

    /// How many links it has crossed when it arrives at a peer.
    pub fn hops(&self) -> u32 {
        self.hops
    }

    /// Its key between nodes.
    pub fn key(&self) -> FrameKey {
        self.key
    }

    /// The keys under which it may be offered and is not to be asked for: a frame with a good signature also
    /// stands for the copy without.
    pub fn known_as(&self) -> impl Iterator<Item = FrameKey> + use<> {
        let copy = self.signed.map(|_| self.key.unsigned());
        std::iter::once(self.key).chain(copy)
    }

    /// Whether it is a reading.
    pub fn is_reading(&self) -> bool {
        self.reading
    }

    /// Whether it goes to every peer at once, whatever the tree: what a node says of itself that is no reading.
    pub fn is_urgent(&self) -> bool {
        self.link_peer.is_none() && !self.reading
    }

    /// The device that made it.
    pub fn origin(&self) -> &DeviceId {
        &self.origin
    }

    /// The peer whose link brought it; `None` for this node's own frames.
    pub fn link_peer(&self) -> Option<&DeviceId> {
        self.link_peer.as_ref()
    }

    /// Its JSON without `hops`.
    pub fn text(&self) -> &str {
        &self.text
    }
}

impl From<StoredFrame> for Encoded {
    fn from(stored: StoredFrame) -> Self {
        let key = FrameKey::of(&stored.frame_id, &stored.content);
        Self {
            key: if stored.signed { key } else { key.unsigned() },
            reading: stored.kind == FrameKind::Observation,
            hops: hops(stored.link_peer.is_some(), stored.hops),
            origin: stored.origin,
            link_peer: stored.link_peer,
            text: stored.json.into(),
            signed: None,
        }
    }
}

/// How many links a frame has crossed when it arrives at a peer.
pub fn hops(brought: bool, crossed: u32) -> u32 {
    match brought {
        false => 0,
        // Far beyond any real path; the number only has to stay readable.
        true => crossed.saturating_add(1).min(255),
    }
}
