//! Gossip: what a link is told without asking.
//!
//! The frame log is the queue: a feeder holds a place in it and goes on whenever it grows, so a slow
//! peer delays itself only. The newest frames are kept in memory, encoded once for all links
//! (`recent`); a feeder that fell behind them reads the log. Towards our own kind the feeder begins
//! at the log's end, since reconciliation brings what was missed; a gen-1 node is fed from where it
//! was left. A peer that already has a frame drops it by its content. Between our own kind most links only
//! offer what is new, and a tree of links carries it (`tree`).

pub(super) mod catch_up;
mod gen1;
mod message;
mod newest;
pub(super) mod private;
mod proposals;
pub(super) mod tree;

use std::sync::Arc;

use tokio::sync::mpsc;

use self::message::Batch;
use super::context::Context;
use super::frame_log::{Encoded, Frames, Next};
use super::links::LinkHandle;
use crate::adapters::store::frames::StoredFrame;
use crate::adapters::store::{StoreError, frame_sync, frames};
use crate::domain::admission::{Grant, TrustView as _, may_bring};
use crate::domain::base::DeviceId;
use crate::domain::base::limits::FRAMES_READ_BYTES;
use crate::domain::sync::{FrameKey, Times};
use crate::domain::wire::handshake::Feature;

/// Frames read from the log at a time.
const PAGE: usize = 256;
/// Frames sent again to a peer that cannot reconcile, because their arrival was never confirmed.
const REWIND: u64 = 512;

/// Where a new link's feeder begins: the log's end before the other side can have begun to compare,
/// so that each frame is either compared or fed.
pub(super) async fn begin(context: &Context) -> u64 {
    let end = context.store.read("gossip", frames::max_seq).await;
    end.unwrap_or_else(|error| {
        tracing::error!(%error, "the end of the log is unknown; only what is compared will travel");
        u64::MAX
    })
}

/// Feeds a link with frames, from a place of the log, until it ends.
pub(super) async fn feed(
    log: Frames,
    link: LinkHandle,
    from: u64,
    wanted: mpsc::Receiver<Vec<FrameKey>>,
) {
    if !may_read(&log, &link) {
        return;
    }
    let feeding = async {
        match link.info.speaks(Feature::Reconcile) {
            true => feed_kin(&log, &link, from, wanted).await,
            false => gen1::feed(&log, &link).await,
        }
    };
    let result = tokio::select! {
        biased;
        () = link.stop.cancelled() => return,
        result = feeding => result,
    };
    ended(&link, result);
}

/// Tells a link of our proposals until it ends.
pub(super) async fn feed_proposals(log: Frames, link: LinkHandle) {
    if !may_read(&log, &link) || !link.info.speaks(Feature::Proposals) {
        return;
    }
    let result = tokio::select! {
        biased;
        () = link.stop.cancelled() => return,
        result = proposals::feed(&log, &link) => result,
    };
    ended(&link, result);
}

/// Tells a gen-1 node of our proposals, as its own planners do, until the link ends.
pub(super) async fn feed_gen1_proposals(log: Frames, link: LinkHandle) {
    let result = tokio::select! {
        biased;
        () = link.stop.cancelled() => return,
        result = proposals::feed(&log, &link) => result,
    };
    ended(&link, result);
}

fn may_read(context: &Context, link: &LinkHandle) -> bool {
    context
        .trust
        .live(&link.info.device)
        .is_some_and(|r| r.grants.has(Grant::Read))
}

fn ended(link: &LinkHandle, result: Result<(), StoreError>) {
    if let Err(error) = result {
        tracing::error!(peer = link.info.device.short(), %error, "the link's feeder stopped");
        link.close(1011, "store failed");
    }
}

/// Feeds one of our own kind: what is new, and what reconciliation showed it to lack.
async fn feed_kin(
    log: &Frames,
    link: &LinkHandle,
    from: u64,
    mut wanted: mpsc::Receiver<Vec<FrameKey>>,
) -> Result<(), StoreError> {
    let mut head = log.frames_head.subscribe();
    let (mut cursor, mut offers) = (from, tree::Offers::default());
    loop {
        head.mark_unchanged();
        let peer = &link.info.device;
        let next = log.recent.after(cursor, peer, PAGE, FRAMES_READ_BYTES);
        let next = match next {
            Next::Frames(page, upto) => Some((page, upto)),
            Next::Log(stored) => Some(read_on(log, peer, cursor, stored).await?),
            Next::Nothing => None,
        };
        if let Some((mut page, upto)) = next {
            cursor = upto;
            offers.sift(log, link, &mut page);
            if !send(log, link, &page).await || !offers.send(link).await {
                return Ok(());
            }
            // Requested and new frames take turns, so that neither starves.
            if let Ok(keys) = wanted.try_recv()
                && !send_wanted(log, link, keys).await?
            {
                return Ok(());
            }
            continue;
        }
        tokio::select! {
            biased;
            done = head.changed() => if done.is_err() { return Ok(()) },
            keys = wanted.recv() => match keys {
                None => return Ok(()),
                Some(keys) => if !send_wanted(log, link, keys).await? { return Ok(()) },
            },
            () = offers.ripe() => if !offers.send(link).await { return Ok(()) },
        }
    }
}

/// The frames for a peer that follow a place of the log, from the log itself, and how far that is. All up
/// to `stored` has been stored.
async fn read_on(
    log: &Frames,
    peer: &DeviceId,
    cursor: u64,
    stored: u64,
) -> Result<(Vec<Arc<Encoded>>, u64), StoreError> {
    let device = peer.clone();
    let page = log
        .store
        .read("gossip", move |c| {
            frames::after(c, cursor, PAGE, FRAMES_READ_BYTES, Some(&device))
        })
        .await?;
    // Nothing in the log is for the peer up to there.
    let upto = page.last().map_or(stored, |last| last.seq);
    let mut page = encoded(log, page);
    page.retain(|frame| frame.is_new_to(peer));
    Ok((page, upto))
}

/// Frames of this mesh as links send them.
fn encoded(log: &Frames, page: Vec<StoredFrame>) -> Vec<Arc<Encoded>> {
    let of_this_mesh = |stored: &StoredFrame| stored.seq > log.held.floor();
    let page = page.into_iter().filter(of_this_mesh);
    page.map(|stored| Arc::new(stored.into())).collect()
}

/// When the frames were made that have these keys and are held here: by that the store finds them.
async fn times(log: &Frames, keys: &[FrameKey]) -> Result<Arc<Times>, StoreError> {
    let (held, keys) = (log.held.now(log).await?, keys.to_vec());
    let times = log.work(move || Arc::new(held.times(&keys)));
    times.await.ok_or(StoreError::Closed)
}

async fn send_wanted(
    log: &Frames,
    link: &LinkHandle,
    keys: Vec<FrameKey>,
) -> Result<bool, StoreError> {
    let times = times(log, &keys).await?;
    let mut left = keys;
    while !left.is_empty() {
        let part: Vec<FrameKey> = left.iter().take(PAGE).cloned().collect();
        let times = times.clone();
        let (page, looked_up) = log
            .store
            .read("wanted frames", move |c| {
                frame_sync::by_keys(c, &part, &times, FRAMES_READ_BYTES)
            })
            .await?;
        left.drain(..looked_up);
        if !send(log, link, &encoded(log, page)).await {
            return Ok(false);
        }
    }
    Ok(true)
}

/// A message of a peer of our own kind without the frames that stand here already, byte for byte and with a
/// good signature of their origin: the rest, empty if there is none; `None` where nothing is left out. Most
/// copies in a mesh are told so before their JSON is read. What the peer may not send is left in, to be refused.
/// The tree is told of each copy that is left out.
pub(super) fn without_copies(log: &Frames, link: &LinkHandle, text: &str) -> Option<String> {
    if !link.info.speaks(Feature::Batch) {
        return None;
    }
    let trust = log.trust.snapshot();
    let record = trust.record(&link.info.device)?;
    log.recent.after_losses(log.store.losses());
    let mut copies = Vec::new();
    let known = |members: &str| {
        let frame = log.recent.find(members);
        let frame = frame.filter(|frame| may_bring(record, frame.origin()).is_ok());
        copies.extend(frame.clone());
        frame.is_some()
    };
    let (rest, count) = message::without(text, known)?;
    log.metrics.frames_duplicate.inc_by(count);
    tree::copies(log, link, &copies);
    Some(rest)
}

/// Sends frames in as few messages as their size allows. `false` if the link has ended.
async fn send(context: &Context, link: &LinkHandle, page: &[Arc<Encoded>]) -> bool {
    let mut batch = Batch::new(link.info.speaks(Feature::Batch));
    for frame in page {
        batch.add(frame);
        if batch.is_full() && !flush(context, link, &mut batch).await {
            return false;
        }
    }
    flush(context, link, &mut batch).await
}

async fn flush(context: &Context, link: &LinkHandle, batch: &mut Batch) -> bool {
    let Some((text, count)) = batch.take() else {
        return true;
    };
    for text in text {
        if !link.send_frames(text).await {
            return false;
        }
    }
    context.metrics.frames_sent.inc_by(count);
    true
}
