//! The broadcast tree as this node sees it: which peers frames are pushed to, and what came of what was offered. What is
//! said of it on links is in `gossip/tree.rs`, the rules are in `domain/sync/tree`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::json;
use tokio::sync::Notify;

use super::recent::RecentFrames;
use crate::adapters::store::frames::Inserted;
use crate::domain::admission::Admitted;
use crate::domain::base::{DeviceId, TimeMs};
use crate::domain::sync::{self, FrameKey};
use crate::domain::wire::handshake::Feature;
use crate::domain::wire::{FrameKind, Message};
use crate::node::links::{LinkHandle, Links};

/// The event that asks to push no more.
pub(crate) const PRUNE: &str = "tree.prune";

/// The tree as this node sees it.
#[derive(Debug, Default)]
pub struct Tree {
    rules: Mutex<sync::Tree>,
    /// Something is missing, after nothing was.
    pub missing: Notify,
    /// The peers of whom an alarm says that they withhold frames.
    pub shown: Mutex<BTreeSet<DeviceId>>,
}

impl Tree {
    /// The rules, held for a moment.
    pub fn rules(&self) -> MutexGuard<'_, sync::Tree> {
        self.rules.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A link began. What is lost on the tree only reconciliation brings, so both are needed.
    pub fn joined(&self, link: &LinkHandle) {
        match is_in(link) {
            true => self.rules().joined(&link.info.device),
            false => self.rules().left(&link.info.device),
        }
    }

    /// A link ended, and there is no other to its device.
    pub fn left(&self, peer: &DeviceId) {
        self.rules().left(peer);
    }

    /// Whether frames are pushed to a peer.
    pub fn is_eager(&self, peer: &DeviceId) -> bool {
        self.rules().is_eager(peer)
    }

    /// A peer wants frames pushed no more.
    pub fn pruned(&self, by: &DeviceId) {
        self.rules().pruned(by);
    }

    /// Learns from frames that came, which are among the recent ones already. What is said at once by its
    /// origin to everybody comes twice by intention and tells nothing about the tree.
    pub fn came(
        &self,
        batch: &[Admitted],
        inserted: &[Inserted],
        recent: &RecentFrames,
        links: &Links,
        now: TimeMs,
    ) {
        let mut rules = self.rules();
        // Where few links stand and nothing is missing, frames cost nothing here.
        let (may_prune, waits) = (rules.may_prune(), rules.next_due().is_some());
        if !may_prune && !waits {
            return;
        }
        let mut prune = Vec::new();
        for (admitted, one) in batch.iter().zip(inserted) {
            let Some(from) = admitted.link_peer() else {
                continue;
            };
            let copy = matches!(one, Inserted::Duplicate | Inserted::Proven(_));
            if copy
                && may_prune
                && admitted.frame().kind == FrameKind::Observation
                && let Some(first) = recent.brought_by(&admitted.content())
                && rules.copy(from, &first, now)
            {
                prune.push(from.clone());
            }
            let key = waits.then(|| key_of(admitted));
            match (one, key) {
                (_, None) => {}
                // A frame over its origin's own budget is refused from every peer, so no other is asked for it.
                (Inserted::OverBudget { device, .. }, Some(key))
                    if *device != admitted.frame().origin =>
                {
                    rules.refused(&key, from, now);
                }
                (Inserted::NoRoom, Some(key)) => rules.refused(&key, from, now),
                (_, Some(key)) => rules.got(&key, Some(from)),
            }
        }
        drop(rules);
        for peer in prune {
            if let Some(link) = links.get(&peer) {
                link.tell(Message::event(PRUNE, &json!({})));
            }
        }
    }

    /// Frames that these peers sent were refused before it was known which they are, one of each name.
    pub fn refused<'a>(&self, peers: impl Iterator<Item = &'a DeviceId>, now: TimeMs) {
        let mut counts: BTreeMap<&DeviceId, usize> = BTreeMap::new();
        peers.for_each(|peer| *counts.entry(peer).or_default() += 1);
        let mut rules = self.rules();
        if counts.is_empty() || rules.next_due().is_none() {
            return;
        }
        for (peer, frames) in counts {
            rules.refused_some(peer, frames, now);
        }
        drop(rules);
        self.missing.notify_one();
    }
}

/// Whether a link is one of the tree.
pub fn is_in(link: &LinkHandle) -> bool {
    link.info.speaks(Feature::Tree) && link.info.speaks(Feature::Reconcile)
}

/// The key of a frame as others name it.
pub fn key_of(admitted: &Admitted) -> FrameKey {
    let frame = admitted.frame();
    let key = FrameKey::of(&frame.frame_id, &admitted.content());
    match frame.signature {
        Some(_) => key,
        None => key.unsigned(),
    }
}
