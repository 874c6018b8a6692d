//! The broadcast tree on the links (feature `tree`; the rules are in `domain/sync/tree`): which peers frames
//! are pushed to, what the others are offered, and asking for what was offered and does not come.

use std::sync::PoisonError;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rusqlite::Connection;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::adapters::store::frame_sync;
use crate::domain::base::limits::{
    FRAMES_READ_BYTES, TREE_ASKED_PER_MINUTE, TREE_OFFER_MS, TREE_OFFERS_PER_MESSAGE,
};
use crate::domain::base::{Code, DeviceId, Refusal};
use crate::domain::sync::FrameKey;
use crate::domain::wire::Message;
use crate::node::context::alarms::AlarmKind;
use crate::node::frame_log::tree::{PRUNE, is_in};
use crate::node::frame_log::{Encoded, Frames};
use crate::node::ingress::Ingress;
use crate::node::links::LinkHandle;
use crate::node::links::credit::Taken;

/// The event that offers frames: `keys` are their keys, one behind the other.
pub(crate) const OFFER: &str = "tree.offer";
/// The event that asks for offered frames; with `push` also for those that follow.
pub(crate) const ASK: &str = "tree.ask";

/// How long asking rests at least, so that it stays within what a peer answers in a minute.
const REST: Duration = Duration::from_millis(100);

/// A link ended, and there is no other to its device.
pub(crate) fn left(log: &Frames, peer: &DeviceId) {
    log.tree.left(peer);
    show(log);
}

/// Raises and clears the alarms of peers that offer frames and do not send them.
fn show(log: &Frames) {
    let kind = AlarmKind::PeerWithholds;
    let withholding = log.tree.rules().withholding();
    let mut shown = log
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
        log.alarms
            .raise(kind, peer.as_str(), &message, advice, log.now());
    }
    for peer in shown.difference(&withholding) {
        log.alarms.clear(kind, peer.as_str());
    }
    *shown = withholding;
}

/// Learns from copies that a peer sent and that were left out before they were read.
pub(super) fn copies(log: &Frames, link: &LinkHandle, copies: &[std::sync::Arc<Encoded>]) {
    if !is_in(link) {
        return;
    }
    let mut rules = log.tree.rules();
    if !rules.may_prune() {
        return;
    }
    let (now, from) = (log.moment().steady, &link.info.device);
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
        log: &Frames,
        link: &LinkHandle,
        page: &mut Vec<std::sync::Arc<Encoded>>,
    ) {
        if !is_in(link) || log.tree.is_eager(&link.info.device) {
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
    log: &Frames,
    link: &LinkHandle,
    payload: &Value,
    bytes: usize,
) -> Result<(), Refusal> {
    drop(Taken::new(link, bytes));
    let mut keys = from_payload(payload)?;
    log.recent.after_losses(log.store.losses());
    log.recent.leave_unknown(&mut keys);
    let now = log.moment().steady;
    let mut rules = log.tree.rules();
    let nothing = rules.next_due().is_none();
    for key in keys {
        rules.offered(&link.info.device, key, now);
    }
    if nothing && rules.next_due().is_some() {
        log.tree.missing.notify_one();
    }
    Ok(())
}

/// Takes a peer's wish for frames that it was offered. They travel as any frames that are wanted.
///
/// # Errors
/// `INVALID_PARAMS` for what is no list of keys, `RATE_EXCEEDED` for too many wishes, `BUSY` while earlier
/// ones are being sent.
pub(crate) fn asked(log: &Frames, link: &LinkHandle, payload: &Value) -> Result<(), Refusal> {
    if !link.asks.admits(TREE_ASKED_PER_MINUTE, log.now()) {
        let why = format!("more than {TREE_ASKED_PER_MINUTE} wishes in a minute");
        return Err(Refusal::new(Code::RateExceeded, why));
    }
    let keys = from_payload(payload)?;
    if payload.get("push").and_then(Value::as_bool) == Some(true) {
        log.tree.rules().grafted(&link.info.device);
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
pub(crate) async fn run(log: Frames, ingress: Ingress) {
    loop {
        let due = log.tree.rules().next_due();
        let wait = async {
            match due {
                Some(at) => {
                    let ms = at.since(log.moment().steady);
                    tokio::time::sleep(REST.max(Duration::from_millis(ms))).await;
                }
                None => log.tree.missing.notified().await,
            }
        };
        tokio::select! {
            biased;
            () = log.tasks.stop().cancelled() => return,
            () = wait => {}
        }
        if due.is_some() {
            ask(&log, ingress.is_busy()).await;
        }
    }
}

async fn ask(log: &Frames, busy: bool) {
    let now = log.moment().steady;
    let overdue = log.tree.rules().overdue(now, TREE_OFFERS_PER_MESSAGE);
    // Frames that memory no longer keeps may still be in the store.
    let here = async {
        let times = super::times(log, &overdue).await?;
        let look =
            move |c: &Connection| frame_sync::by_keys(c, &overdue, &times, FRAMES_READ_BYTES);
        log.store.read("offered frames", look).await
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
        let mut rules = log.tree.rules();
        for link in log.links.all() {
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
    show(log);
    for (peer, asked) in asked {
        if let Some(link) = log.links.get(&peer) {
            let count = u64::try_from(asked.keys.len()).unwrap_or(u64::MAX);
            log.metrics.frames_asked.inc_by(count);
            let params = json!({"keys": to_text(&asked.keys), "push": asked.graft});
            link.tell(Message::event(ASK, &params));
        }
    }
}
