//! Which readings of this node are private, and who may have them: `[privacy]` of the configuration, applied to its new
//! readings. How they travel is in `gossip/private.rs`; which models may see them, in `inference/`.

use std::collections::BTreeSet;

use rusqlite::Connection;
use serde_json::json;

use super::cites;
use super::context::{Context, internal, store_refusal};
use crate::adapters::store::frames::StoredFrame;
use crate::adapters::store::{Class, StoreError, kv, private};
use crate::domain::admission::Generation;
use crate::domain::base::limits::PRIVATE_LOOKED_AT_ONCE;
use crate::domain::base::{Code, DeviceId, Digest, Refusal};
use crate::domain::inference::route::Labels;
use crate::domain::plan::Draft;
use crate::domain::wire::frame::Private;
use crate::domain::wire::{Frame, FrameKind, FrameSpec};
use crate::domain::world::Fact;

/// The private labels when this node's readings were last looked through.
const LABELLED: &str = "privacy.labelled";

/// The mark of a new frame of this node: a reading that is labelled private names the devices that may have it.
///
/// # Errors
/// `INTERNAL_ERROR` without randomness.
pub(super) fn mark(
    context: &Context,
    labels: &Labels,
    spec: &FrameSpec,
) -> Result<Option<Private>, Refusal> {
    if labels.is_empty() || spec.kind != FrameKind::Observation {
        return Ok(None);
    }
    let says = |name: &str| spec.data.get(name).and_then(serde_json::Value::as_str);
    let about = labels.reading(says("zone"), says("metric").unwrap_or_default());
    if !about.is_private() {
        return Ok(None);
    }
    let salt = context
        .random
        .bytes()
        .map_err(|e| internal(&e.to_string()))?;
    let devices = named(context);
    Ok(Some(Private { devices, salt }))
}

/// The devices that the configuration names for what is private: those of our own kind that are trusted. A name stands
/// for the one device that is trusted under it.
pub(super) fn named(context: &Context) -> BTreeSet<DeviceId> {
    let wanted = &context.config.private_devices;
    if wanted.is_empty() {
        return BTreeSet::new();
    }
    let all = context.trust.all();
    let kin: Vec<_> = all
        .iter()
        .filter(|r| r.is_live() && r.generation() == Generation::Clawmesh)
        .collect();
    let one = |name: &String| {
        let is = |r: &&&_| fits(r, name);
        let mut found = kin.iter().filter(is);
        match (found.next(), found.next()) {
            (Some(only), None) => Some(only.device_id.clone()),
            _ => None,
        }
    };
    wanted.iter().filter_map(one).collect()
}

fn fits(record: &crate::domain::admission::TrustRecord, name: &str) -> bool {
    record.device_id.as_str() == name || record.name.as_deref() == Some(name)
}

/// Whether a device may have what is private here.
pub(super) fn is_named(context: &Context, device: &DeviceId) -> bool {
    !context.config.private_devices.is_empty() && named(context).contains(device)
}

/// Whether a reading is private: it is marked, or this node's own labels say so.
pub(super) fn is_private(labels: &Labels, fact: &Fact) -> bool {
    fact.private
        || labels
            .reading(fact.zone.as_deref(), &fact.metric)
            .is_private()
}

/// Whether an executor may have the frames that a draft cites: it made them itself, or their origin marked them for it.
///
/// # Errors
/// `NOT_AUTHORIZED` naming the first that it may not; `EVIDENCE_AMBIGUOUS` as [`cites::frames`].
pub(super) async fn may_be_cited(
    context: &Context,
    draft: &Draft,
    executor: &DeviceId,
) -> Result<(), Refusal> {
    if draft.cites.is_empty() {
        return Ok(());
    }
    let (asked, own) = (draft.clone(), context.own_id().clone());
    let read = move |c: &Connection| cites::frames(c, &asked, &own, &own);
    let cited = context.store.read("cites", read).await;
    let cited = cited.map_err(|e| store_refusal(&e))?;
    let mut private = cited.iter().filter(|frame| frame.private);
    match private.find(|frame| frame.origin != *executor && !is_for(frame, executor)) {
        None => Ok(()),
        Some(frame) => Err(Refusal::new(
            Code::NotAuthorized,
            format!(
                "the cited frame {} is private, and device {}, which would act, may not have it; name that device under \
                 `devices` of [privacy] at {}, which made it",
                frame.frame_id.short(),
                executor.short(),
                frame.origin.short()
            ),
        )),
    }
}

/// Whether a stored frame is marked for a device.
pub(super) fn is_for(stored: &StoredFrame, device: &DeviceId) -> bool {
    let frame = serde_json::from_str(&stored.json).ok();
    let frame = frame.and_then(|json| Frame::parse(json).ok());
    frame.is_some_and(|frame| {
        frame
            .private
            .is_some_and(|devices| devices.contains(device))
    })
}

/// Where what is labelled private has changed, looks through this node's older readings: those that are private now are
/// offered no more. What others have of them stays theirs.
///
/// # Errors
/// Whatever the store says.
pub(super) async fn settle(context: &Context, labels: &Labels) -> Result<(), StoreError> {
    let labels = labels.clone();
    let text = json!([labels.zones(), labels.metrics()]).to_string();
    let digest = Digest::of(&[text.as_bytes()]).0.to_vec();
    let known = context
        .store
        .read("privacy", |c| kv::get(c, LABELLED))
        .await?;
    if known.as_ref() == Some(&digest) || known.is_none() && labels.is_empty() {
        return Ok(());
    }
    let mut place = Some(0);
    while let Some(from) = place {
        let (own, labels) = (context.own_id().clone(), labels.clone());
        let look = move |c: &Connection| {
            let is_private =
                |zone: Option<&str>, metric: &str| labels.reading(zone, metric).is_private();
            private::withhold(c, &own, from, PRIVATE_LOOKED_AT_ONCE, &is_private)
        };
        place = context.store.write(Class::Relaxed, "privacy", look).await?;
    }
    let own = context.own_id().clone();
    let end = move |c: &Connection| {
        let is_private =
            |zone: Option<&str>, metric: &str| labels.reading(zone, metric).is_private();
        private::label_facts(c, &own, &is_private)?;
        kv::put(c, LABELLED, &digest)
    };
    context.store.write(Class::Durable, "privacy", end).await
}
