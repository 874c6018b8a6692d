//! What becomes an alert without a rule: a trusted device that is missed, a proposal that waits for long, an emergency stop.

use std::collections::{BTreeMap, BTreeSet};

use super::Alerts;
use crate::adapters::store::frames::StoredFrame;
use crate::adapters::store::proposals::{self, ProposalRow};
use crate::adapters::store::{StoreError, series};
use crate::domain::admission::{Generation, TrustRecord};
use crate::domain::base::limits::{PRESENCE_EVERY_MS, QUERY_MAX, TOPOLOGY_NODES_MAX};
use crate::domain::base::quantity::span;
use crate::domain::base::{DeviceId, SignatureState, TimeMs};
use crate::domain::proposal::Status;
use crate::domain::world::Moment;
use crate::node::context::alarms::{AND_MORE, AlarmKind};

/// How old what a device tells of itself may be before it counts as silent: a device with which no link is kept is heard through
/// others, once a minute.
const LATELY_MS: u64 = 3 * PRESENCE_EVERY_MS;

/// What is remembered of devices between two looks.
#[derive(Debug, Default)]
pub(super) struct Heard {
    begun: Option<TimeMs>,
    /// When each last had a link, by the steady clock.
    linked: BTreeMap<DeviceId, TimeMs>,
}

/// How long ago a device told of itself, in milliseconds; only what it has signed counts.
fn told_ms(frame: &StoredFrame, now: TimeMs) -> Option<(DeviceId, u64)> {
    let age = Moment::unset(now).age_by_wall_ms(frame.time, frame.received_at);
    (frame.signature != SignatureState::Unverifiable).then(|| (frame.origin.clone(), age))
}

impl Heard {
    /// Looks who is missed. A device that was never there is not.
    pub(super) async fn look(&mut self, alerts: &Alerts, after_ms: u64) {
        let at = alerts.moment();
        let begun = *self.begun.get_or_insert(at.steady);
        let all = alerts.trust.all();
        let is_kin = |r: &&TrustRecord| {
            r.is_live() && r.generation() == Generation::Clawmesh && r.device_id != *alerts.own_id()
        };
        let kin: Vec<&TrustRecord> = all.iter().filter(is_kin).collect();
        let mut away = Vec::new();
        for record in &kin {
            match alerts.links.get(&record.device_id) {
                Some(_) => {
                    self.linked.insert(record.device_id.clone(), at.steady);
                    self.found(alerts, &record.device_id);
                }
                None => away.push(*record),
            }
        }
        self.linked
            .retain(|device, _| kin.iter().any(|r| r.device_id == *device));
        for alarm in alerts.alarms.list() {
            let trusted = |device: &DeviceId| kin.iter().any(|r| r.device_id == *device);
            if alarm.kind == AlarmKind::PeerLost
                && alarm.subject != AND_MORE
                && !alarm.subject.parse().is_ok_and(|d| trusted(&d))
            {
                alerts.alarms.clear(alarm.kind, &alarm.subject);
            }
        }
        // What happened while this node was off says nothing yet.
        if away.is_empty() || at.steady.since(begun) < after_ms {
            return;
        }
        let read = |c: &rusqlite::Connection| series::newest_presence(c, TOPOLOGY_NODES_MAX);
        let frames = match alerts.store.read_committed("presence", read).await {
            Ok(frames) => frames,
            Err(error) => return tracing::warn!(%error, "who is missed cannot be read"),
        };
        let told: BTreeMap<DeviceId, u64> =
            frames.iter().filter_map(|f| told_ms(f, at.wall)).collect();
        for record in away {
            let device = &record.device_id;
            let linked = self.linked.get(device).map(|since| at.steady.since(*since));
            let told = told.get(device).copied();
            let Some(silent) = linked.into_iter().chain(told).min() else {
                continue;
            };
            let lost = linked.is_none_or(|ms| ms >= after_ms)
                && told.is_none_or(|ms| ms >= after_ms.max(LATELY_MS));
            match lost {
                true => miss(alerts, record, silent),
                false => self.found(alerts, device),
            }
        }
    }

    fn found(&self, alerts: &Alerts, device: &DeviceId) {
        alerts.alarms.clear(AlarmKind::PeerLost, device.as_str());
    }
}

fn miss(alerts: &Alerts, record: &TrustRecord, silent_ms: u64) {
    let device = &record.device_id;
    let standing = alerts.0.peers.get(device);
    let name = record
        .name
        .clone()
        .or_else(|| standing.as_ref()?.name.clone());
    let who = name.map_or_else(
        || device.who(),
        |name| format!("{name} ({})", device.short()),
    );
    let why = standing
        .map(|s| format!(" ({})", s.why))
        .unwrap_or_default();
    let message = format!(
        "{who} is missed: for {} there has been no link with it{why}, and nothing is heard of it through others",
        span(silent_ms)
    );
    let advice = format!(
        "look at the device and its network; if it was taken out of service, end the trust in it: clawmesh-node trust remove {}",
        device.short()
    );
    alerts.alarms.raise(
        AlarmKind::PeerLost,
        device.as_str(),
        &message,
        &advice,
        alerts.now(),
    );
}

/// Looks which proposals have waited for long.
pub(super) async fn look_at_proposals(alerts: &Alerts, after_ms: u64) {
    let now = alerts.now();
    let read = |c: &rusqlite::Connection| proposals::open_list(c, QUERY_MAX);
    let open: Result<Vec<ProposalRow>, StoreError> =
        alerts.store.read_committed("waiting", read).await;
    let open = match open {
        Ok(open) => open,
        Err(error) => return tracing::warn!(%error, "what waits cannot be read"),
    };
    let waits = |p: &&ProposalRow| {
        p.status == Status::AwaitingApproval
            && now.since(p.created_at) >= after_ms
            && p.expires_at > now
    };
    let mut waiting = BTreeSet::new();
    for p in open.iter().filter(waits) {
        let message = format!(
            "proposal {} ({} on {}) has waited for a person for {}; it expires in {}",
            p.id.short(),
            p.operation,
            p.target,
            span(now.since(p.created_at)),
            span(p.expires_at.since(now))
        );
        let advice = "decide about it: approve or reject it";
        alerts.alarms.raise(
            AlarmKind::ProposalWaits,
            p.id.as_str(),
            &message,
            advice,
            now,
        );
        waiting.insert(p.id.as_str().to_owned());
    }
    for alarm in alerts.alarms.list() {
        let over = alarm.subject != AND_MORE && !waiting.contains(&alarm.subject);
        if alarm.kind == AlarmKind::ProposalWaits && over {
            alerts.alarms.clear(alarm.kind, &alarm.subject);
        }
    }
}

/// Looks whether the emergency stop is latched.
pub(super) fn look_at_estop(alerts: &Alerts) {
    let (kind, alarms) = (AlarmKind::EstopLatched, &alerts.alarms);
    match alerts.running.latched() {
        Some(latch) => {
            let message = format!(
                "the emergency stop is latched by {}: {}; nothing moves here",
                latch.by, latch.reason
            );
            let advice =
                "find out why; it is released at the node itself: clawmesh-node estop release";
            alarms.raise(kind, "", &message, advice, alerts.now());
        }
        None => {
            alarms.clear(kind, "");
        }
    }
}
