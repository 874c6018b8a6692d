//! Feeding a gen-1 node: one frame per message, three hops at most, from where the last connection
//! left off. A gen-1 node takes a hundred messages a minute on a link that we dialed and silently
//! drops the rest (gen-1 §12), so there we send fewer; on a link that it dialed there is no limit.

use std::time::Duration;

use serde_json::Value;

use super::message::one;
use super::{PAGE, REWIND, hops};
use crate::adapters::store::frames::StoredFrame;
use crate::adapters::store::{Class, StoreError, frames, kv};
use crate::domain::base::limits::{
    FRAMES_READ_BYTES, GEN1_MESSAGES_PER_MINUTE, GEN1_RELAY_HOPS_MAX,
};
use crate::domain::wire::frame::shown_to_gen1;
use crate::node::links::LinkHandle;
use crate::node::shared::Shared;

/// Frames that may follow each other at once before the pace begins.
const BURST: u32 = 30;

/// At most a few at once, then evenly.
struct Pace {
    left: f64,
    at: tokio::time::Instant,
}

impl Pace {
    fn new() -> Self {
        Self {
            left: f64::from(BURST),
            at: tokio::time::Instant::now(),
        }
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
    let mut head = shared.frames_head.subscribe();
    let paced = link.info.outbound;
    // A paced link remembers every frame, so little has to be said twice.
    let rewind = if paced { u64::from(BURST) } else { REWIND };
    let mut cursor = start(shared, &key, rewind).await?;
    let mut pace = paced.then(Pace::new);
    loop {
        head.mark_unchanged();
        let peer = link.info.device.clone();
        let page = shared
            .store
            .read("gossip", move |c| {
                frames::after(c, cursor, PAGE, FRAMES_READ_BYTES, Some(&peer))
            })
            .await?;
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
                if let Some(pace) = &mut pace {
                    pace.wait().await;
                }
                if !link.send_frames(text).await {
                    return Ok(());
                }
                shared.metrics.frames_sent.inc();
            }
            cursor = stored.seq;
            if pace.is_some() {
                remember(shared, &key, cursor).await?;
            }
        }
        cursor = last;
        remember(shared, &key, cursor).await?;
    }
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

async fn start(shared: &Shared, key: &str, rewind: u64) -> Result<u64, StoreError> {
    let key = key.to_owned();
    shared
        .store
        .read("cursor", move |c| {
            let newest = frames::max_seq(c)?;
            let known = kv::get(c, &key)?
                .and_then(|b| b.try_into().ok())
                .map(u64::from_be_bytes);
            // A peer we never met gets the newest frames only; older ones it asks for.
            Ok(known.unwrap_or(newest).min(newest).saturating_sub(rewind))
        })
        .await
}

/// The message for a stored frame, or nothing if it has gone far enough.
fn outgoing(link: &LinkHandle, stored: &StoredFrame) -> Option<String> {
    let own = stored.link_peer.is_none();
    if stored.origin == link.info.device || (!own && stored.hops >= GEN1_RELAY_HOPS_MAX) {
        return None;
    }
    let mut value: Value = serde_json::from_str(&stored.json).ok()?;
    value
        .as_object_mut()?
        .insert("hops".into(), hops(stored).into());
    // What we vouch for as claimed stays as it is: its signature then still holds at our own nodes
    // beyond this peer.
    let shown = match stored.effective_tier >= stored.claimed_tier {
        true => value,
        false => shown_to_gen1(value, stored.claimed_tier, stored.effective_tier),
    };
    Some(one(&shown.to_string()))
}
