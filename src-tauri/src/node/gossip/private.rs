//! Private frames on their way to the devices that may have them: from their origin alone, in requests over a link of their
//! own kind (`context.private` `{"frames"}` → `{"taken"}`, feature `private`), each answered when they are stored. They
//! are no part of what else travels: neither pushed, offered, compared nor passed on. How far a device has taken them is
//! kept, so that one that was away gets the rest.

use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::adapters::store::frames::StoredFrame;
use crate::adapters::store::{Class, StoreError, kv, private};
use crate::domain::base::limits::{
    PRIVATE_AGAIN, PRIVATE_FRAMES_MAX, PRIVATE_MESSAGE_BYTES, PRIVATE_RETRY_MS,
};
use crate::domain::base::{Code, DeviceId, Refusal};
use crate::domain::wire::handshake::Feature;
use crate::domain::wire::{Frame, Reply};
use crate::node::context::Context;
use crate::node::frame_log::Frames;
use crate::node::ingress::Ingress;
use crate::node::links::LinkHandle;
use crate::node::privacy;

/// The request that carries private frames.
pub(crate) const FRAMES: &str = "context.private";

/// Sends a device this node's private frames that are for it, until the link ends.
pub(crate) async fn feed(log: Frames, link: LinkHandle) {
    if !link.info.speaks(Feature::Private) || log.config.private_devices.is_empty() {
        return;
    }
    let result = tokio::select! {
        biased;
        () = link.stop.cancelled() => return,
        result = send(&log, &link) => result,
    };
    super::ended(&link, result);
}

async fn send(log: &Frames, link: &LinkHandle) -> Result<(), StoreError> {
    let (peer, key) = (&link.info.device, cursor_key(&link.info.device));
    let mut head = log.private_head.subscribe();
    let known = key.clone();
    let begin = move |c: &rusqlite::Connection| {
        let known = kv::get(c, &known)?.and_then(|bytes| bytes.try_into().ok());
        private::own_before(c, known.map_or(0, u64::from_be_bytes), PRIVATE_AGAIN)
    };
    let mut cursor = log.store.read("private frames", begin).await?;
    loop {
        head.mark_unchanged();
        let read = move |c: &rusqlite::Connection| {
            private::own_after(c, cursor, PRIVATE_FRAMES_MAX, PRIVATE_MESSAGE_BYTES)
        };
        let page = log.store.read_gathered("private frames", read).await?;
        let Some(last) = page.last().map(|stored| stored.seq) else {
            if head.changed().await.is_err() {
                return Ok(());
            }
            continue;
        };
        // Both change while the link is up.
        let may = super::may_read(log, link) && privacy::is_named(log, peer);
        let frames: Vec<Value> = match may {
            true => page
                .iter()
                .filter_map(|one| outgoing(log, peer, one))
                .collect(),
            false => Vec::new(),
        };
        let (count, params) = (frames.len(), json!({"frames": frames}));
        if count > 0
            && let Err(error) = link.request(FRAMES, &params).await
        {
            tracing::info!(peer = peer.short(), "private frames not taken: {error}");
            tokio::time::sleep(Duration::from_millis(PRIVATE_RETRY_MS)).await;
            continue;
        }
        log.metrics
            .frames_sent
            .inc_by(u64::try_from(count).unwrap_or(u64::MAX));
        cursor = last;
        let key = key.clone();
        let put = move |c: &rusqlite::Connection| kv::put(c, &key, &cursor.to_be_bytes());
        log.store.write(Class::Gathered, "cursor", put).await?;
    }
}

fn cursor_key(peer: &DeviceId) -> String {
    format!("private.cursor.{peer}")
}

/// The JSON of a private frame for a device that its origin marked it for.
fn outgoing(log: &Frames, peer: &DeviceId, stored: &StoredFrame) -> Option<Value> {
    let frame = Frame::parse(serde_json::from_str(&stored.json).ok()?).ok()?;
    let is_for = frame
        .private
        .as_ref()
        .is_some_and(|devices| devices.contains(peer));
    (is_for && stored.seq > log.held.floor()).then(|| frame.to_wire(0))
}

/// Takes private frames of a peer, which made them itself; it is told when they are stored.
///
/// # Errors
/// `NOT_AUTHORIZED` for one that may not report readings, `BUSY` while others of it are being stored, `INVALID_PARAMS` for
/// what is no list of its private frames for this node.
pub(crate) async fn take(
    context: &Context,
    ingress: &Ingress,
    link: &LinkHandle,
    id: &str,
    mut params: Map<String, Value>,
    bytes: usize,
) -> Result<(), Refusal> {
    let bad = |why: String| Refusal::new(Code::InvalidParams, why);
    let trusted = context.trust.live(&link.info.device);
    if trusted.is_none_or(|record| record.grants.observe().is_none()) {
        let why = "it holds no grant observe here, so it may not send readings";
        return Err(Refusal::new(Code::NotAuthorized, why));
    }
    let list = match params.remove("frames") {
        Some(Value::Array(list)) if list.len() <= PRIVATE_FRAMES_MAX => list,
        _ => {
            return Err(bad(format!(
                "frames must be a list of at most {PRIVATE_FRAMES_MAX}"
            )));
        }
    };
    let frames = list
        .into_iter()
        .map(Frame::parse)
        .collect::<Result<Vec<_>, _>>()?;
    let for_us = |frame: &Frame| {
        let devices = frame.private.as_ref();
        devices.is_some_and(|d| d.contains(context.own_id())) && frame.origin == link.info.device
    };
    if !frames.iter().all(for_us) {
        return Err(bad(
            "only private frames that the sender made for this node travel in this way".to_owned(),
        ));
    }
    // They are not paid for with credit: one message at a time.
    if link.private_going.swap(true, Ordering::AcqRel) {
        let why = "private frames of this device are being stored; send more when they are";
        return Err(Refusal::new(Code::Busy, why));
    }
    let reply = Reply::Ok(json!({"taken": frames.len()})).to_text(id);
    let stored = ingress.offer_free(link, frames, bytes).await;
    let link = link.clone();
    context.tasks.passing("private frames", async move {
        tokio::select! {
            biased;
            () = link.stop.cancelled() => {}
            // The other end is dropped when all of them have been stored or refused.
            _ = stored => {
                link.private_going.store(false, Ordering::Release);
                let _ = link.tell(reply);
            }
        }
    });
    Ok(())
}
