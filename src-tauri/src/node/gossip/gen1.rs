//! Feeding a gen-1 node: one frame per message, three hops at most, from where the last connection
//! left off. A gen-1 node takes a hundred messages a minute on a link that we dialed and silently
//! drops the rest (gen-1 §12): there only the newest reading of each kind is sent (`newest`), at the pace
//! it takes; on a link that it dialed there is no limit and nothing is left out.

use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::Value;
use tokio::sync::watch;
use tokio::time::Instant;

use super::message::one;
use super::newest::Newest;
use super::{PAGE, REWIND};
use crate::adapters::store::frames::StoredFrame;
use crate::adapters::store::{Class, StoreError, frames, kv};
use crate::domain::base::limits::{
    FRAMES_READ_BYTES, GEN1_MESSAGES_PER_MINUTE, GEN1_RELAY_HOPS_MAX,
};
use crate::domain::wire::frame::shown_to_gen1;
use crate::node::context::Context;
use crate::node::frame_log::Frames;
use crate::node::frame_log::hops;
use crate::node::links::LinkHandle;

/// Frames that may follow each other at once before the pace begins. The handshake and the question for
/// what we missed take as many, so a new link begins without any.
const BURST: u32 = 3;
/// How often it is written down how far a peer has been fed.
const CURSOR_EVERY: Duration = Duration::from_secs(1);
/// The newest frames that a node gets that we never met and dial.
const FIRST_FRAMES: u64 = 16;

/// At most a few at once, then evenly: in no minute more than the limit.
struct Pace {
    left: f64,
    at: Instant,
}

impl Pace {
    fn new() -> Self {
        Self {
            left: 0.0,
            at: Instant::now(),
        }
    }

    /// So many messages went beside the frames.
    fn owe(&mut self, messages: u32) {
        self.left -= f64::from(messages);
    }

    async fn wait(&mut self) {
        let per_second = f64::from(GEN1_MESSAGES_PER_MINUTE - BURST) / 60.0;
        let now = Instant::now();
        let earned = (now - self.at).as_secs_f64() * per_second;
        self.left = (self.left + earned).min(f64::from(BURST));
        self.at = now;
        if self.left < 1.0 {
            let missing = (1.0 - self.left) / per_second;
            tokio::time::sleep(Duration::from_secs_f64(missing)).await;
            self.left = 1.0;
            self.at = Instant::now();
        }
        self.left -= 1.0;
    }
}

/// How far a peer has been fed, kept in the store so that the next link goes on there. It is written at
/// most once a second: what is sent again after a crash the peer knows already.
struct Place {
    key: String,
    at: u64,
    written: u64,
    written_when: Instant,
}

impl Place {
    /// Where to begin. A peer we never met gets the newest frames only, older ones it asks for; where that
    /// was is remembered at once, so that what comes while it is away is not lost.
    async fn of(
        context: &Context,
        link: &LinkHandle,
        first: u64,
        rewind: u64,
    ) -> Result<Self, StoreError> {
        let key = format!("gossip.cursor.{}", link.info.device);
        let read = key.clone();
        let (known, newest) = context
            .store
            .read("cursor", move |c| {
                let known = kv::get(c, &read)?
                    .and_then(|b| b.try_into().ok())
                    .map(u64::from_be_bytes);
                Ok((known, frames::max_seq(c)?))
            })
            .await?;
        let at = match known {
            Some(known) => known.min(newest).saturating_sub(rewind),
            None => newest.saturating_sub(first),
        };
        let mut place = Self {
            key,
            at,
            written: known.unwrap_or(0),
            written_when: Instant::now(),
        };
        if known.is_none() {
            place.write(context, Class::Relaxed).await?;
        }
        Ok(place)
    }

    async fn write(&mut self, context: &Context, class: Class) -> Result<(), StoreError> {
        let (key, at) = (self.key.clone(), self.at);
        let put = move |c: &rusqlite::Connection| kv::put(c, &key, &at.to_be_bytes());
        context.store.write(class, "cursor", put).await?;
        (self.written, self.written_when) = (at, Instant::now());
        Ok(())
    }

    /// It has been fed up to there.
    async fn reached(&mut self, context: &Context, at: u64) -> Result<(), StoreError> {
        self.at = at;
        match at != self.written && self.written_when.elapsed() >= CURSOR_EVERY {
            true => self.write(context, Class::Gathered).await,
            false => Ok(()),
        }
    }

    /// Waits until the log grows, and writes meanwhile what is not written yet. `false` when the node ends.
    async fn wait(
        &mut self,
        context: &Context,
        head: &mut watch::Receiver<u64>,
    ) -> Result<bool, StoreError> {
        if self.at != self.written {
            tokio::select! {
                biased;
                done = head.changed() => return Ok(done.is_ok()),
                () = tokio::time::sleep_until(self.written_when + CURSOR_EVERY) => {}
            }
            self.write(context, Class::Gathered).await?;
        }
        Ok(head.changed().await.is_ok())
    }
}

/// Feeds a gen-1 node until the link ends.
pub(super) async fn feed(log: &Frames, link: &LinkHandle) -> Result<(), StoreError> {
    match link.info.outbound {
        true => feed_paced(log, link).await,
        false => feed_all(log, link).await,
    }
}

async fn feed_all(log: &Frames, link: &LinkHandle) -> Result<(), StoreError> {
    let mut head = log.frames_head.subscribe();
    let mut place = Place::of(log, link, REWIND, REWIND).await?;
    let mut cursor = place.at;
    loop {
        head.mark_unchanged();
        let page = read_on(log, link, cursor).await?;
        let Some(last) = page.last().map(|f| f.seq) else {
            if !place.wait(log, &mut head).await? {
                return Ok(());
            }
            continue;
        };
        for stored in page {
            if stored.seq > log.held.floor()
                && let Some(text) = outgoing(link, &stored)
            {
                if !link.send_frames(text).await {
                    return Ok(());
                }
                log.metrics.frames_sent.inc();
            }
        }
        cursor = last;
        place.reached(log, cursor).await?;
    }
}

async fn feed_paced(log: &Frames, link: &LinkHandle) -> Result<(), StoreError> {
    let mut head = log.frames_head.subscribe();
    // Where it was left is before everything whose arrival is not sure.
    let mut place = Place::of(log, link, FIRST_FRAMES, 0).await?;
    let mut cursor = place.at;
    let (mut waiting, mut pace) = (Newest::default(), Pace::new());
    loop {
        head.mark_unchanged();
        loop {
            let page = read_on(log, link, cursor).await?;
            let Some(last) = page.last().map(|f| f.seq) else {
                break;
            };
            cursor = last;
            for stored in page {
                if stored.seq > log.held.floor() && goes_out(link, &stored) {
                    waiting.add(&stored);
                }
            }
        }
        place.reached(log, waiting.done_up_to(cursor)).await?;
        if waiting.is_empty() {
            if !place.wait(log, &mut head).await? {
                return Ok(());
            }
            continue;
        }
        pace.owe(link.asked.swap(0, Ordering::Relaxed));
        pace.wait().await;
        // While it waited a newer reading may have come.
        if head.has_changed().unwrap_or(false) {
            let page = read_on(log, link, cursor).await?;
            for stored in page {
                cursor = stored.seq;
                if stored.seq > log.held.floor() && goes_out(link, &stored) {
                    waiting.add(&stored);
                }
            }
        }
        let Some(seq) = waiting.next() else { continue };
        let found = log
            .store
            .read_gathered("gossip", move |c| frames::by_seq(c, seq))
            .await?;
        // It may have been pruned meanwhile.
        if let Some(text) = found.and_then(|stored| outgoing(link, &stored)) {
            if !link.send_frames(text).await {
                return Ok(());
            }
            log.metrics.frames_sent.inc();
        }
    }
}

async fn read_on(
    context: &Context,
    link: &LinkHandle,
    cursor: u64,
) -> Result<Vec<StoredFrame>, StoreError> {
    let peer = link.info.device.clone();
    let read = move |c: &rusqlite::Connection| {
        frames::after(c, cursor, PAGE, FRAMES_READ_BYTES, Some(&peer))
    };
    context.store.read_gathered("gossip", read).await
}

/// Whether a stored frame is for this peer and has not gone far enough.
fn goes_out(link: &LinkHandle, stored: &StoredFrame) -> bool {
    let (own, peer) = (stored.link_peer.is_none(), &link.info.device);
    // Frames that came from the address of the peer are not sent back to it.
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
        let begun = Instant::now();
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
        let again = Instant::now();
        let mut count = 0;
        while again.elapsed() < minute {
            pace.wait().await;
            count += 1;
        }
        assert!(count <= 96, "{count}");
        // Other messages are deducted from the pace.
        pace.owe(20);
        let after = Instant::now();
        let mut fewer = 0;
        while after.elapsed() < minute {
            pace.wait().await;
            fewer += 1;
        }
        assert!((70..=75).contains(&fewer), "{fewer}");
    }
}
