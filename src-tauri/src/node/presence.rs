//! Presence: what this node tells the whole mesh about itself and its links, as one small signed
//! frame at the start, when links come or go, and every minute. Frames spread by themselves, so
//! everybody sees nodes they have no link with. It says nothing that anybody acts on.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::sync::watch::error::RecvError;
use tokio::time::{Instant, MissedTickBehavior};

use super::context::{Context, DURABLE};
use super::continuity::{self, PRESENCE};
use super::frame_log::{self, Frames};
use crate::adapters::store::{Class, trust};
use crate::domain::admission::TrustRecord;
use crate::domain::base::limits::{PRESENCE_EVERY_MS, PRESENCE_MAX_BYTES};
use crate::domain::base::{DeviceId, EvidenceSource, TimeMs};
use crate::domain::identity::PublicKey;
use crate::domain::wire::frame::FrameSpec;
use crate::domain::wire::{Frame, FrameKind};

/// How long links must be quiet before their change is told: a flapping one must not flood.
const SETTLE: Duration = Duration::from_secs(3);

/// What a node says of itself. Everything but the sender's id is only its word.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Presence {
    /// Its name.
    pub name: Option<String>,
    /// Its role.
    pub role: Option<String>,
    /// Its version.
    pub version: Option<String>,
    /// Its public key: whoever trusts the device by its id alone, which is the key's hash, can check its
    /// signatures from here on, also where it is heard only through others.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub public_key: Option<String>,
    /// What it offers.
    pub capabilities: Vec<String>,
    /// Its links.
    pub links: Vec<PresentLink>,
    /// Devices that it hears, needs a link with and does not reach: they dial it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub wants: Vec<String>,
    /// Whether its emergency stop is latched.
    pub estop: bool,
    /// Since when it runs, by its clock, in milliseconds since 1970.
    pub started_at: Option<TimeMs>,
    /// How many entries its audit trail has: what peers remember tells the node if its state goes
    /// backwards.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub audit_entries: Option<u64>,
    /// Whether something was left out to keep the frame small.
    pub truncated: bool,
}

/// A link as one of its ends sees it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PresentLink {
    /// The other end.
    pub peer: String,
    /// The other end's name, as this end knows it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// How it is protected.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub posture: Option<String>,
    /// The transport label.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// How long a message takes there and back, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rtt_ms: Option<f64>,
    /// How far the other clock is ahead, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub skew_ms: Option<i64>,
}

/// What this node would say now: beside what its handle tells the devices that it does not reach, and whether its emergency
/// stop is latched.
pub fn present(frames: &Frames, wants: Vec<String>, estop: bool) -> Presence {
    let links = frames.links.all();
    let seen = |link: &super::links::LinkHandle| {
        let (info, vitals) = (&link.info, link.vitals.reading());
        PresentLink {
            peer: info.device.as_str().to_owned(),
            name: info.name.clone(),
            posture: Some(info.posture.to_string()),
            label: info.label.clone(),
            rtt_ms: vitals.rtt_ms.map(|ms| (ms * 10.0).round() / 10.0),
            skew_ms: vitals.skew_ms,
        }
    };
    Presence {
        name: Some(frames.config.name.clone()),
        role: Some(frames.config.role.as_str().to_owned()),
        version: Some(env!("CARGO_PKG_VERSION").to_owned()),
        public_key: Some(frames.public_key.to_text()),
        capabilities: frames.known.own.now().texts(),
        links: links.iter().map(seen).collect(),
        wants,
        estop,
        started_at: Some(frames.started_at),
        audit_entries: None,
        truncated: false,
    }
}

/// The key that a presence frame brings of the device that made it, if it is that device's: an id is the
/// hash of its key, so no other key can pass.
pub fn key_in(frame: &Frame) -> Option<PublicKey> {
    let data = frame.data();
    let text = |name: &str| data.get(name).and_then(Value::as_str);
    if frame.kind != FrameKind::CapabilityUpdate || text("type") != Some(PRESENCE) {
        return None;
    }
    let key = PublicKey::from_text(text("publicKey")?).ok()?;
    (key.device_id() == frame.origin).then_some(key)
}

/// Remembers the keys of trusted devices that were trusted by their ids alone; each is its id's own.
pub async fn learn(context: &Context, keys: BTreeMap<DeviceId, PublicKey>) {
    if keys.is_empty() {
        return;
    }
    let write = move |c: &rusqlite::Connection| {
        for (device, key) in &keys {
            // Read again: the device may have been revoked, or its key learned, a moment ago.
            let known = trust::get(c, device)?.filter(TrustRecord::is_live);
            if let Some(mut known) = known.filter(|r| r.public_key.is_none()) {
                known.public_key = Some(*key);
                trust::put(c, &known)?;
            }
        }
        Ok(())
    };
    let learned = async {
        context.store.write(DURABLE, "learn keys", write).await?;
        context.trust.reload(&context.store).await
    };
    if let Err(error) = learned.await {
        tracing::warn!(%error, "keys that came with presence were not stored; they come again");
    }
}

/// Leaves out what does not fit: links beyond the first ones, then capabilities.
fn fitted(mut presence: Presence) -> Presence {
    let size = |p: &Presence| serde_json::to_vec(p).map_or(0, |v| v.len());
    while size(&presence) > PRESENCE_MAX_BYTES {
        presence.truncated = true;
        let (links, offers) = (presence.links.len(), presence.capabilities.len());
        if links > 0 && links >= offers / 4 {
            presence.links.truncate(links * 3 / 4);
        } else if offers > 0 {
            presence.capabilities.truncate(offers * 3 / 4);
        } else {
            break;
        }
    }
    presence
}

fn spec(presence: Presence) -> FrameSpec {
    let mut data = json!(fitted(presence));
    data["type"] = PRESENCE.into();
    FrameSpec {
        kind: FrameKind::CapabilityUpdate,
        data: data.as_object().cloned().unwrap_or_default(),
        sources: vec![EvidenceSource::Device],
        tier: crate::domain::base::Tier::T1,
        taint: Default::default(),
        note: None,
    }
}

/// Waits until a link comes or goes, or a device is needed that is not reached.
async fn changed(
    links: &mut watch::Receiver<u64>,
    unreached: &mut watch::Receiver<Vec<String>>,
) -> Result<(), RecvError> {
    tokio::select! {
        biased;
        changed = links.changed() => changed,
        changed = unreached.changed() => changed,
    }
}

/// Tells the mesh, until the node ends. `latching` wakes when the emergency stop is latched or released, which `latched` tells.
pub async fn run(
    frames: Frames,
    mut unreached: watch::Receiver<Vec<String>>,
    mut latching: watch::Receiver<u64>,
    latched: impl Fn() -> bool,
) {
    let every = Duration::from_millis(PRESENCE_EVERY_MS);
    let (mut changes, mut offers) = (frames.links.watch(), frames.known.own.changes());
    // The first one waits a moment: links that come up at once are told with it.
    let mut tick = tokio::time::interval_at(Instant::now() + SETTLE, every);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut settling = false;
    loop {
        tokio::select! {
            biased;
            () = frames.tasks.stop().cancelled() => return,
            // That everything stands still, or may move again, others must know at once.
            changed = latching.changed() => if changed.is_err() { return },
            changed = offers.changed() => if changed.is_err() { return },
            _ = tick.tick() => {}
            changed = changed(&mut changes, &mut unreached) => {
                if changed.is_err() {
                    return;
                }
                // Only the first change moves the moment: a link that flaps must not put it off for ever.
                if !settling {
                    settling = true;
                    tick.reset_after(SETTLE);
                }
                continue;
            }
        }
        settling = false;
        let wants = unreached.borrow().clone();
        let mut said = present(&frames, wants, latched());
        said.audit_entries = continuity::entries(&frames).await;
        if let Err(refusal) = frame_log::publish(&frames, vec![spec(said)], Class::Gathered).await {
            tracing::warn!("the presence of this node was not stored: {refusal}");
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn a_presence_stays_small_and_says_what_it_left_out() {
        let link = PresentLink {
            peer: "a".repeat(64),
            ..PresentLink::default()
        };
        let few = Presence {
            links: vec![link.clone(); 3],
            ..Presence::default()
        };
        assert_eq!(fitted(few.clone()), few);
        let many = Presence {
            links: vec![link; 500],
            capabilities: vec!["actuator:mock:valve-1".to_owned(); 250],
            ..Presence::default()
        };
        let fitted = fitted(many);
        assert!(fitted.truncated && !fitted.links.is_empty());
        assert!(serde_json::to_vec(&fitted).unwrap().len() <= PRESENCE_MAX_BYTES);
    }
}
