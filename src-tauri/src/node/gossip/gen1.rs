//! Feeding a gen-1 node: one frame per message, three hops at most, from where the last connection
//! left off. A gen-1 node takes a hundred messages a minute on a link that we dialed and silently
//! drops the rest (gen-1 §12): there only the newest reading of each kind is sent (`newest`), at the pace
//! it takes; on a link that it dialed there is no limit and nothing is left out.

use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::Value;

use super::message::one;
use super::newest::Newest;
use super::recent::hops;
use super::{PAGE, REWIND};
use crate::adapters::store::frames::StoredFrame;
use crate::adapters::store::{Class, StoreError, frames, kv};
use crate::domain::base::limits::{
    FRAMES_READ_BYTES, GEN1_MESSAGES_PER_MINUTE, GEN1_RELAY_HOPS_MAX,
};
use crate::domain::wire::frame::shown_to_gen1;
use crate::node::links::LinkHandle;
use crate::node::shared::Shared;

/// Frames that may follow each other at once before the pace begins. The handshake and the question for
/// what we missed take as many, so a new link begins without any.
const BURST: u32 = 3;
/// The newest frames that a node gets that we never met and dial.
const FIRST_FRAMES: u64 = 16;

/// At most a few at once, then evenly: in no minute more than the limit.
struct Pace {
    left: f64,
    at: tokio::time::Instant,
}

impl Pace {
    fn new() -> Self {
        Self {
            left: 0.0,
            at: tokio::time::Instant::now(),
        }
    }

    /// So many messages went beside the frames.
    fn owe(&mut self, messages: u32) {
        self.left -= f64::from(messages);
    }

    async fn wait(&mut self) {
        let per_second = f64::from(GEN1_MESSAGES_PER_MINUTE - BURST) / 60.0;
        let now = tokio::time::Instant::now();
        let earned = (now - self.at).as_secs_f64() * per_second;
        self.left = (self.left + earned).min(f64::from(BURST));
        self.at = now;
        if self.left < 1.0 {
            let missing = (1.0 - self.left) / per_second;
            tokio::time::sleep(Duration::from_secs_f64(missing)).await;
            self.left = 1.0;
            self.at = tokio::time::Instant::now();
        }
        self.left -= 1.0;
    }
}

/// Feeds a gen-1 node until the link ends.
pub async fn feed(shared: &Shared, link: &LinkHandle) -> Result<(), StoreError> {
    let key = format!("gossip.cursor.{}", link.info.device);
    match link.info.outbound {
        true => feed_paced(shared, link, &key).await,
        false => feed_all(shared, link, &key).await,
    }
}

async fn feed_all(shared: &Shared, link: &LinkHandle, key: &str) -> Result<(), StoreError> {
    let mut head = shared.frames_head.subscribe();
    let mut cursor = start(shared, key, REWIND, REWIND).await?;
    loop {
        head.mark_unchanged();
        let page = read_on(shared, link, cursor).await?;
        let Some(last) = page.last().map(|f| f.seq) else {
            if head.changed().await.is_err() {
                return Ok(());
            }
            continue;
        };
        for stored in page {
            if stored.seq > shared.mesh_floor
                && let Some(text) = outgoing(link, &stored)
            {
                if !link.send_frames(text).await {
                    return Ok(());
                }
                shared.metrics.frames_sent.inc();
            }
        }
        cursor = last;
        remember(shared, key, cursor).await?;
    }
}

async fn feed_paced(shared: &Shared, link: &LinkHandle, key: &str) -> Result<(), StoreError> {
    let mut head = shared.frames_head.subscribe();
    // Where it was left is before everything whose arrival is not sure.
    let mut cursor = start(shared, key, FIRST_FRAMES, 0).await?;
    let (mut waiting, mut pace) = (Newest::default(), Pace::new());
    loop {
        head.mark_unchanged();
        loop {
            let page = read_on(shared, link, cursor).await?;
            let Some(last) = page.last().map(|f| f.seq) else {
                break;
            };
            cursor = last;
            for stored in page {
                if stored.seq > shared.mesh_floor && goes_out(link, &stored) {
                    waiting.add(&stored);
                }
            }
        }
        remember(shared, key, waiting.done_up_to(cursor)).await?;
        if waiting.is_empty() {
            if head.changed().await.is_err() {
                return Ok(());
            }
            continue;
        }
        pace.owe(link.asked.swap(0, Ordering::Relaxed));
        pace.wait().await;
        // While it waited a newer reading may have come.
        if head.has_changed().unwrap_or(false) {
            let page = read_on(shared, link, cursor).await?;
            for stored in page {
                cursor = stored.seq;
                if stored.seq > shared.mesh_floor && goes_out(link, &stored) {
                    waiting.add(&stored);
                }
            }
        }
        let Some(seq) = waiting.next() else { continue };
        let found = shared
            .store
            .read("gossip", move |c| frames::by_seq(c, seq))
            .await?;
        // It may have been pruned meanwhile.
        if let Some(text) = found.and_then(|stored| outgoing(link, &stored)) {
            if !link.send_frames(text).await {
                return Ok(());
            }
            shared.metrics.frames_sent.inc();
        }
    }
}

async fn read_on(
    shared: &Shared,
    link: &LinkHandle,
    cursor: u64,
) -> Result<Vec<StoredFrame>, StoreError> {
    let peer = link.info.device.clone();
    let read = move |c: &rusqlite::Connection| {
        frames::after(c, cursor, PAGE, FRAMES_READ_BYTES, Some(&peer))
    };
    shared.store.read("gossip", read).await
}

async fn remember(shared: &Shared, key: &str, cursor: u64) -> Result<(), StoreError> {
    let key = key.to_owned();
    shared
        .store
        .write(Class::Relaxed, "cursor", move |c| {
            kv::put(c, &key, &cursor.to_be_bytes())
        })
        .await
}

/// Where to begin. A peer we never met gets the newest frames only, older ones it asks for; where that
/// was is remembered at once, so that what comes while it is away is not lost.
async fn start(shared: &Shared, key: &str, first: u64, rewind: u64) -> Result<u64, StoreError> {
    let read = key.to_owned();
    let (known, newest) = shared
        .store
        .read("cursor", move |c| {
            let known = kv::get(c, &read)?
                .and_then(|b| b.try_into().ok())
                .map(u64::from_be_bytes);
            Ok((known, frames::max_seq(c)?))
        })
        .await?;
    let begin = match known {
        Some(known) => known.min(newest).saturating_sub(rewind),
        None => newest.saturating_sub(first),
    };
    if known.is_none() {
        remember(shared, key, begin).await?;
    }
    Ok(begin)
}

/// Whether a stored frame is for this peer and has not gone far enough.
fn goes_out(link: &LinkHandle, stored: &StoredFrame) -> bool {
    let (own, peer) = (stored.link_peer.is_none(), &link.info.device);
    // What was answered at its address it has, if it was the peer.
    let at_address = stored.link_peer.as_ref();
    let at_address = at_address.is_some_and(|account| account.is_address_of(peer));
    stored.origin != *peer && !at_address && (own || stored.hops < GEN1_RELAY_HOPS_MAX)
}

/// The message for a stored frame, or nothing if it has gone far enough.
fn outgoing(link: &LinkHandle, stored: &StoredFrame) -> Option<String> {
    if !goes_out(link, stored) {
        return None;
    }
    let mut value: Value = serde_json::from_str(&stored.json).ok()?;
    value.as_object_mut()?.insert(
        "hops".into(),
        hops(stored.link_peer.is_some(), stored.hops).into(),
    );
    // What we vouch for as claimed stays as it is: its signature then still holds at our own nodes
    // beyond this peer.
    let shown = match stored.effective_tier >= stored.claimed_tier {
        true => value,
        false => shown_to_gen1(value, stored.claimed_tier, stored.effective_tier),
    };
    Some(one(&shown.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn nearly_all_of_what_a_gen1_node_takes_is_used_and_never_more() {
        let mut pace = Pace::new();
        let begun = tokio::time::Instant::now();
        let mut sent = Vec::new();
        while begun.elapsed() < Duration::from_secs(300) {
            pace.wait().await;
            sent.push(begun.elapsed());
        }
        let minute = Duration::from_secs(60);
        let within = |from: Duration| {
            let fits = sent.iter().filter(|t| **t >= from && **t < from + minute);
            fits.count()
        };
        for from in (0..240).map(Duration::from_secs) {
            assert!((90..=95).contains(&within(from)), "{from:?}");
        }
        // After a pause a few go at once, and the minute's limit still holds.
        tokio::time::sleep(minute).await;
        let again = tokio::time::Instant::now();
        let mut count = 0;
        while again.elapsed() < minute {
            pace.wait().await;
            count += 1;
        }
        assert!(count <= 96, "{count}");
        // What went beside the frames is taken off.
        pace.owe(20);
        let after = tokio::time::Instant::now();
        let mut fewer = 0;
        while after.elapsed() < minute {
            pace.wait().await;
            fewer += 1;
        }
        assert!((70..=75).contains(&fewer), "{fewer}");
    }
}
