//! Gossip: one feeder per link sends what the peer has not had from us yet.
//!
//! The frame log is the queue: a feeder holds a cursor into it and reads on whenever it grows, so a
//! slow peer delays itself only and nothing waits in memory. The cursor is kept across connections,
//! less a margin, so that what was written while the link was down follows when it is up; a peer
//! that already has a frame drops it by its content.

use serde_json::{Value, json};
use tokio::sync::watch;

use super::links::LinkHandle;
use super::shared::Shared;
use crate::adapters::store::frames::StoredFrame;
use crate::adapters::store::proposals::ProposalRow;
use crate::adapters::store::{Class, StoreError, approvals, frames, kv, proposals};
use crate::domain::admission::Grant;
use crate::domain::base::TimeMs;
use crate::domain::base::limits::GEN1_RELAY_HOPS_MAX;
use crate::domain::wire::Message;
use crate::domain::wire::frame::shown_to_gen1;
use crate::domain::wire::handshake::Feature;

/// Frames read from the log at a time.
const PAGE: usize = 256;
/// Frames sent again after a reconnection, because their arrival was never confirmed.
const REWIND: u64 = 512;
/// Proposals sent again after a reconnection.
const PROPOSALS_REWIND_MS: u64 = 3_600_000;

/// Feeds a link until it ends.
pub async fn feed(shared: Shared, link: LinkHandle) {
    if !shared
        .trust
        .live(&link.info.device)
        .is_some_and(|r| r.grants.has(Grant::Read))
    {
        return;
    }
    tokio::select! {
        biased;
        () = link.stop.cancelled() => {}
        result = feed_loop(&shared, &link) => if let Err(error) = result {
            tracing::error!(peer = link.info.device.short(), %error, "the link's feeder stopped");
            link.close(1011, "store failed");
        },
    }
}

async fn feed_loop(shared: &Shared, link: &LinkHandle) -> Result<(), StoreError> {
    let key = format!("gossip.cursor.{}", link.info.device);
    let mut frames_head = shared.frames_head.subscribe();
    let mut proposals_head = shared.proposals_head.subscribe();
    let mut cursor = start(shared, &key).await?;
    let mut proposals_since = TimeMs(shared.now().0.saturating_sub(PROPOSALS_REWIND_MS));
    let mut first = true;
    loop {
        if first || changed(&mut proposals_head) {
            proposals_since = send_proposals(shared, link, proposals_since, first).await?;
        }
        first = false;
        frames_head.mark_unchanged();
        let peer = link.info.device.clone();
        let page = shared
            .store
            .read("gossip", move |c| {
                frames::after(c, cursor, PAGE, Some(&peer))
            })
            .await?;
        let Some(last) = page.last().map(|f| f.seq) else {
            tokio::select! {
                biased;
                done = frames_head.changed() => if done.is_err() { return Ok(()) },
                done = proposals_head.changed() => {
                    if done.is_err() { return Ok(()) }
                    proposals_head.mark_changed();
                }
            }
            continue;
        };
        for stored in page {
            if let Some(text) = outgoing(link, &stored) {
                if !link.send(text).await {
                    return Ok(());
                }
                shared.metrics.frames_sent.inc();
            }
        }
        cursor = last;
        let key = key.clone();
        shared
            .store
            .write(Class::Relaxed, "cursor", move |c| {
                kv::put(c, &key, &last.to_be_bytes())
            })
            .await?;
    }
}

fn changed(head: &mut watch::Receiver<u64>) -> bool {
    let changed = head.has_changed().unwrap_or(false);
    head.mark_unchanged();
    changed
}

async fn start(shared: &Shared, key: &str) -> Result<u64, StoreError> {
    let key = key.to_owned();
    shared
        .store
        .read("cursor", move |c| {
            let newest = frames::max_seq(c)?;
            let known = kv::get(c, &key)?
                .and_then(|b| b.try_into().ok())
                .map(u64::from_be_bytes);
            // A peer we never met gets the newest frames only; older ones it asks for.
            Ok(known.unwrap_or(newest).min(newest).saturating_sub(REWIND))
        })
        .await
}

/// The message for a stored frame, or nothing if it has gone far enough.
fn outgoing(link: &LinkHandle, stored: &StoredFrame) -> Option<String> {
    let own = stored.link_peer.is_none();
    if stored.origin == link.info.device || (!own && stored.hops >= GEN1_RELAY_HOPS_MAX) {
        return None;
    }
    let hops = if own { 0 } else { stored.hops + 1 };
    let mut value: Value = serde_json::from_str(&stored.json).ok()?;
    value.as_object_mut()?.insert("hops".into(), hops.into());
    let payload = if link.info.speaks(Feature::Sig) {
        value
    } else {
        shown_to_gen1(value, stored.claimed_tier, stored.effective_tier)
    };
    Some(Message::event("context.frame", &payload))
}

/// Sends our own proposals that changed since `since`; returns where to go on.
async fn send_proposals(
    shared: &Shared,
    link: &LinkHandle,
    since: TimeMs,
    all_open: bool,
) -> Result<TimeMs, StoreError> {
    if !link.info.speaks(Feature::Proposals) {
        return Ok(since);
    }
    let now = shared.now();
    let rows = shared
        .store
        .read("proposals", move |c| {
            let rows = proposals::own_changed_since(c, since, all_open)?;
            let with = |row: ProposalRow| Ok((approvals::of(c, &row.id)?, row));
            rows.into_iter()
                .map(with)
                .collect::<Result<Vec<_>, StoreError>>()
        })
        .await?;
    let mut newest = since;
    for (decisions, row) in rows {
        newest = newest.max(row.updated_at);
        let record: Value = serde_json::from_str(&row.record).unwrap_or(Value::Null);
        let payload = json!({
            "record": record,
            "signature": row.signature,
            "status": row.status,
            "revision": row.revision,
            "updatedAt": row.updated_at,
            "outcome": row.outcome.as_deref().and_then(|t| serde_json::from_str::<Value>(t).ok()),
            "reason": row.reason,
            "decisions": decisions,
        });
        if !link.send(Message::event("proposal.update", &payload)).await {
            break;
        }
    }
    // Changes in the same millisecond as the newest may still come: read that millisecond again.
    Ok(newest.min(now))
}
