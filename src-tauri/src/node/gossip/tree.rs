//! The broadcast tree on the links (feature `tree`; the rules are in `domain/sync/tree`): which peers frames
//! are pushed to, what the others are offered, and asking for what was offered and does not come.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rusqlite::Connection;
use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::encoded::Encoded;
use super::recent::RecentFrames;
use crate::adapters::store::frame_sync;
use crate::adapters::store::frames::Inserted;
use crate::domain::admission::Admitted;
use crate::domain::base::limits::{
    FRAMES_READ_BYTES, TREE_ASKED_PER_MINUTE, TREE_OFFER_MS, TREE_OFFERS_PER_MESSAGE,
};
use crate::domain::base::{Code, DeviceId, Refusal, TimeMs};
use crate::domain::sync::{self, FrameKey};
use crate::domain::wire::handshake::Feature;
use crate::domain::wire::{FrameKind, Message};
use crate::node::context::alarms::AlarmKind;
use crate::node::ingress::Ingress;
use crate::node::links::credit::Taken;
use crate::node::links::{LinkHandle, Links};
use crate::node::shared::Shared;

/// The event that offers frames: `keys` are their keys, one behind the other.
pub(crate) const OFFER: &str = "tree.offer";
/// The event that asks for offered frames; with `push` also for those that follow.
pub(crate) const ASK: &str = "tree.ask";
/// The event that asks to push no more.
pub(crate) const PRUNE: &str = "tree.prune";

/// How long asking rests at least, so that it stays within what a peer answers in a minute.
const REST: Duration = Duration::from_millis(100);

/// The tree as this node sees it.
#[derive(Debug, Default)]
pub struct Tree {
    rules: Mutex<sync::Tree>,
    /// Something is missing, after nothing was.
    missing: Notify,
    /// The peers of whom an alarm says that they withhold frames.
    shown: Mutex<BTreeSet<DeviceId>>,
}

impl Tree {
    fn rules(&self) -> MutexGuard<'_, sync::Tree> {
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
    fn left(&self, peer: &DeviceId) {
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
                // What its origin has used up is refused whoever brings it.
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

/// A link ended, and there is no other to its device.
pub(crate) fn left(shared: &Shared, peer: &DeviceId) {
    shared.tree.left(peer);
    show(shared);
}

/// Raises and clears the alarms of peers that offer frames and do not send them.
fn show(shared: &Shared) {
    let kind = AlarmKind::PeerWithholds;
    let withholding = shared.tree.rules().withholding();
    let mut shown = shared
        .tree
        .shown
        .lock()
        .unwrap_or_else(PoisonError::into_inner);
    if *shown == withholding {
        return;
    }
    for peer in &withholding {
        let message = format!(
            "{} offers frames and does not send them in time when asked; they are asked of others first",
            peer.who()
        );
        let advice = "Look at its load and its link (peers). Revoke its trust if it is not what you think it is.";
        shared
            .alarms
            .raise(kind, peer.as_str(), &message, advice, shared.now());
    }
    for peer in shown.difference(&withholding) {
        shared.alarms.clear(kind, peer.as_str());
    }
    *shown = withholding;
}

/// Whether a link is one of the tree.
pub(crate) fn is_in(link: &LinkHandle) -> bool {
    link.info.speaks(Feature::Tree) && link.info.speaks(Feature::Reconcile)
}

/// Learns from copies that a peer sent and that were left out before they were read.
pub(super) fn copies(shared: &Shared, link: &LinkHandle, copies: &[std::sync::Arc<Encoded>]) {
    if !is_in(link) {
        return;
    }
    let mut rules = shared.tree.rules();
    if !rules.may_prune() {
        return;
    }
    let (now, from) = (shared.moment().steady, &link.info.device);
    let mut readings = copies.iter().filter(|copy| copy.is_reading());
    let prune = readings.any(|copy| {
        copy.link_peer()
            .is_some_and(|first| rules.copy(from, first, now))
    });
    drop(rules);
    if prune {
        link.tell(Message::event(PRUNE, &json!({})));
    }
}

/// The key of a frame as others name it.
pub(super) fn key_of(admitted: &Admitted) -> FrameKey {
    let frame = admitted.frame();
    let key = FrameKey::of(&frame.frame_id, &admitted.content());
    match frame.signature {
        Some(_) => key,
        None => key.unsigned(),
    }
}

/// Offers for one peer that are being gathered.
#[derive(Debug, Default)]
pub(super) struct Offers {
    keys: Vec<FrameKey>,
    since: Option<Instant>,
}

impl Offers {
    /// Takes what is only offered to a peer out of a page; the rest is pushed.
    pub(super) fn sift(
        &mut self,
        shared: &Shared,
        link: &LinkHandle,
        page: &mut Vec<std::sync::Arc<Encoded>>,
    ) {
        if !is_in(link) || shared.tree.is_eager(&link.info.device) {
            return;
        }
        page.retain(|frame| {
            if !frame.is_urgent() {
                self.keys.push(frame.key());
            }
            frame.is_urgent()
        });
        if !self.keys.is_empty() {
            self.since.get_or_insert_with(Instant::now);
        }
    }

    /// Waits until it is time to send what was gathered; for ever where that is nothing.
    pub(super) async fn ripe(&self) {
        match self.since {
            Some(since) => {
                tokio::time::sleep_until(since + Duration::from_millis(TREE_OFFER_MS)).await;
            }
            None => std::future::pending().await,
        }
    }

    /// Sends what is ready. `false` if the link has ended.
    pub(super) async fn send(&mut self, link: &LinkHandle) -> bool {
        let old = |since: Instant| since.elapsed() >= Duration::from_millis(TREE_OFFER_MS);
        if self.keys.len() < TREE_OFFERS_PER_MESSAGE && !self.since.is_some_and(old) {
            return true;
        }
        self.since = None;
        for keys in std::mem::take(&mut self.keys).chunks(TREE_OFFERS_PER_MESSAGE) {
            let text = Message::event(OFFER, &json!({"keys": to_text(keys)}));
            if !link.send_frames(text).await {
                return false;
            }
        }
        true
    }
}

fn to_text(keys: &[FrameKey]) -> String {
    let bytes: Vec<u8> = keys.iter().flat_map(|key| key.0).collect();
    URL_SAFE_NO_PAD.encode(bytes)
}

fn from_payload(payload: &Value) -> Result<Vec<FrameKey>, Refusal> {
    let wrong = || {
        let why = format!(
            "keys must be at most {TREE_OFFERS_PER_MESSAGE} keys of 32 bytes, together as base64url"
        );
        Refusal::new(Code::InvalidParams, why)
    };
    let text = payload.get("keys").and_then(Value::as_str);
    let most = TREE_OFFERS_PER_MESSAGE * 32;
    let text = text.filter(|text| text.len() <= most.div_ceil(3) * 4);
    let bytes = text.and_then(|text| URL_SAFE_NO_PAD.decode(text).ok());
    let bytes = bytes
        .filter(|bytes| bytes.len() <= most)
        .ok_or_else(wrong)?;
    let (keys, rest) = bytes.as_chunks::<32>();
    match rest.is_empty() {
        true => Ok(keys.iter().map(|key| FrameKey(*key)).collect()),
        false => Err(wrong()),
    }
}

/// Takes offers of a peer. What the message cost comes back to it.
///
/// # Errors
/// `INVALID_PARAMS` for what is no list of keys.
pub(crate) fn offered(
    shared: &Shared,
    link: &LinkHandle,
    payload: &Value,
    bytes: usize,
) -> Result<(), Refusal> {
    drop(Taken::new(link, bytes));
    let mut keys = from_payload(payload)?;
    shared.recent.after_losses(shared.store.losses());
    shared.recent.leave_unknown(&mut keys);
    let now = shared.moment().steady;
    let mut rules = shared.tree.rules();
    let nothing = rules.next_due().is_none();
    for key in keys {
        rules.offered(&link.info.device, key, now);
    }
    if nothing && rules.next_due().is_some() {
        shared.tree.missing.notify_one();
    }
    Ok(())
}

/// Takes a peer's wish for frames that it was offered. They travel as any frames that are wanted.
///
/// # Errors
/// `INVALID_PARAMS` for what is no list of keys, `RATE_EXCEEDED` for too many wishes, `BUSY` while earlier
/// ones are being sent.
pub(crate) fn asked(shared: &Shared, link: &LinkHandle, payload: &Value) -> Result<(), Refusal> {
    if !link.asks.admits(TREE_ASKED_PER_MINUTE, shared.now()) {
        let why = format!("more than {TREE_ASKED_PER_MINUTE} wishes in a minute");
        return Err(Refusal::new(Code::RateExceeded, why));
    }
    let keys = from_payload(payload)?;
    if payload.get("push").and_then(Value::as_bool) == Some(true) {
        shared.tree.rules().grafted(&link.info.device);
    }
    match keys.is_empty() || link.want(keys) {
        true => Ok(()),
        false => Err(Refusal::new(
            Code::Busy,
            "earlier wishes are still being sent",
        )),
    }
}

/// Asks for what was offered and does not come, until the node stops.
pub(crate) async fn run(shared: Shared, ingress: Ingress) {
    loop {
        let due = shared.tree.rules().next_due();
        let wait = async {
            match due {
                Some(at) => {
                    let ms = at.since(shared.moment().steady);
                    tokio::time::sleep(REST.max(Duration::from_millis(ms))).await;
                }
                None => shared.tree.missing.notified().await,
            }
        };
        tokio::select! {
            biased;
            () = shared.tasks.stop().cancelled() => return,
            () = wait => {}
        }
        if due.is_some() {
            ask(&shared, ingress.is_busy()).await;
        }
    }
}

async fn ask(shared: &Shared, busy: bool) {
    let now = shared.moment().steady;
    let overdue = shared.tree.rules().overdue(now, TREE_OFFERS_PER_MESSAGE);
    // What is kept in memory no longer may be here all the same.
    let here = async {
        let times = super::times(shared, &overdue).await?;
        let look =
            move |c: &Connection| frame_sync::by_keys(c, &overdue, &times, FRAMES_READ_BYTES);
        shared.store.read("offered frames", look).await
    };
    let here = here.await;
    let here = match here {
        Ok((here, _)) => here,
        Err(error) => {
            tracing::warn!(%error, "whether offered frames are here is unknown; they are asked for");
            Vec::new()
        }
    };
    let asked = {
        let mut rules = shared.tree.rules();
        for link in shared.links.all() {
            let round_trip = link.vitals.reading().rtt_ms.unwrap_or(0.0);
            let round_trip = Duration::try_from_secs_f64(round_trip / 1_000.0);
            let ms = round_trip.map_or(u64::MAX, |d| {
                u64::try_from(d.as_millis()).unwrap_or(u64::MAX)
            });
            rules.paced(&link.info.device, ms);
        }
        for stored in here {
            let key = FrameKey::of(&stored.frame_id, &stored.content);
            rules.got(&key.unsigned(), None);
            if stored.signed {
                rules.got(&key, None);
            }
        }
        rules.ask(now, busy)
    };
    show(shared);
    for (peer, asked) in asked {
        if let Some(link) = shared.links.get(&peer) {
            let count = u64::try_from(asked.keys.len()).unwrap_or(u64::MAX);
            shared.metrics.frames_asked.inc_by(count);
            let params = json!({"keys": to_text(&asked.keys), "push": asked.graft});
            link.tell(Message::event(ASK, &params));
        }
    }
}
