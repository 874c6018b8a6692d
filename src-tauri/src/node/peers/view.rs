//! Which devices this node keeps links with: what the rules in `domain/sync/view` are told, and what becomes of
//! their choice.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

use super::{Standing, State, Supervising};
use crate::adapters::store::frames::StoredFrame;
use crate::adapters::store::series;
use crate::domain::admission::{Generation, Grant, Grants, TrustRecord};
use crate::domain::base::limits::{
    CAPABILITIES_MAX, PRESENCE_EVERY_MS, TOPOLOGY_NODES_MAX, VIEW_ALL_MAX, VIEW_AWAY_PINGS,
    VIEW_READ_MS, VIEW_SETTLE_MS, VIEW_WANTS_MAX,
};
use crate::domain::base::{DeviceId, SignatureState, TimeMs};
use crate::domain::capability::offers_actuator;
use crate::domain::sync::view::{Heard, Known, Missed, Reach, choose};
use crate::domain::world::Moment;
use crate::node::context::Context;
use crate::node::continuity::PRESENCE;
use crate::node::presence::Presence;
use crate::node::privacy;

/// How old what a device tells of itself may be to count as told lately, in milliseconds.
const LATELY_MS: u64 = 3 * PRESENCE_EVERY_MS;

/// The newest presence of a device.
struct Told {
    at: TimeMs,
    received_at: TimeMs,
    links: BTreeSet<DeviceId>,
    said: Presence,
}

/// The state that the choice keeps from one time to the next.
pub(super) struct View {
    begun: Instant,
    /// A number of this node's own.
    secret: Vec<u8>,
    told: BTreeMap<DeviceId, Told>,
    read_at: Option<Instant>,
    missed: Missed,
}

impl View {
    pub(super) fn new(context: &Context) -> Self {
        let secret = context.random.bytes::<16>();
        Self {
            begun: Instant::now(),
            // Without randomness links could not be made either.
            secret: secret.map_or_else(|_| Vec::new(), Vec::from),
            told: BTreeMap::new(),
            read_at: None,
            missed: Missed::default(),
        }
    }

    /// Chooses anew.
    pub(super) async fn look(&mut self, supervising: &Supervising) {
        let all = supervising.trust.all();
        let is_kin = |r: &&TrustRecord| {
            r.is_live()
                && r.generation() == Generation::Clawmesh
                && r.device_id != *supervising.own_id()
        };
        let kin: Vec<&TrustRecord> = all.iter().filter(is_kin).collect();
        if kin.len() <= VIEW_ALL_MAX {
            self.missed = Missed::default();
            supervising.peers.unreached.send_if_modified(|said| {
                let some = !said.is_empty();
                said.clear();
                some
            });
            return supervising.peers.spare_these(BTreeSet::new());
        }
        self.hear(supervising).await;
        let settling = self.begun.elapsed() < Duration::from_millis(VIEW_SETTLE_MS);
        let offers = supervising.known_capabilities();
        let named = privacy::named(supervising);
        let carriers = kin.iter().filter(|r| r.grants.has(Grant::Relay));
        let carriers: BTreeSet<&DeviceId> = carriers.map(|r| &r.device_id).collect();
        let mut known: BTreeMap<DeviceId, Known> = kin
            .iter()
            .map(|record| {
                let device = &record.device_id;
                let standing = supervising.peers.get(device);
                let standing = standing.as_ref();
                let offered = offers.get(device).map(Vec::as_slice);
                let known = Known {
                    // That one refuses a link, a person should see.
                    always: standing.is_some_and(|s| s.state == State::Refused)
                        || has_to_do_with(supervising, &record.grants, offered)
                        // Private readings go over a direct link.
                        || named.contains(device),
                    carries: record.grants.has(Grant::Relay) && record.grants.has(Grant::Read),
                    reach: reach(supervising, device, standing),
                    heard: self.heard(supervising, device, standing, &carriers),
                };
                (device.clone(), known)
            })
            .collect();
        if !settling {
            let (at, left_out) = (supervising.moment(), supervising.peers.left_out());
            self.missed.look(&known, &left_out, at.steady, at.wall);
        }
        say_unreached(supervising, &known);
        for (device, one) in &mut known {
            let started = self.told.get(device).and_then(|t| t.said.started_at);
            one.always |=
                self.missed.is_missed(device, started) || self.is_wanted_by(supervising, device);
        }
        let chosen = choose(supervising.own_id(), &self.secret, &known, settling);
        let spare = known.into_keys().filter(|d| !chosen.contains_key(d));
        supervising.peers.spare_these(spare.collect());
    }

    /// Reads what devices have told of themselves, now and then. What those offer that have no link is
    /// remembered, so that a wish finds its executor.
    async fn hear(&mut self, supervising: &Supervising) {
        let fresh = Duration::from_millis(VIEW_READ_MS);
        if self.read_at.is_some_and(|at| at.elapsed() < fresh) {
            return;
        }
        self.read_at = Some(Instant::now());
        let read = supervising
            .store
            .read_committed("view", |c| series::newest_presence(c, TOPOLOGY_NODES_MAX))
            .await;
        let frames = match read {
            Ok(frames) => frames,
            Err(error) => {
                return tracing::warn!(%error, "what devices tell of themselves cannot be read");
            }
        };
        let frames = frames
            .into_iter()
            .filter(|f| supervising.trust.trusts(&f.origin));
        self.told = frames.filter_map(told).collect();
        let offers = supervising.known_capabilities();
        for (device, told) in &self.told {
            let said = &told.said;
            if said.truncated
                || supervising.links.get(device).is_some()
                || device == supervising.own_id()
            {
                continue;
            }
            supervising.peers.named(device, said.name.as_deref());
            if offers.get(device) != Some(&said.capabilities) && supervising.may_actuate(device) {
                supervising.remember_offer(device, &said.capabilities).await;
            }
        }
    }

    /// Whether a device says that it needs a link and does not reach this node.
    fn is_wanted_by(&self, context: &Context, device: &DeviceId) -> bool {
        let own = context.own_id().as_str();
        let told = self.told.get(device);
        told.is_some_and(|told| told.said.wants.iter().any(|id| id == own))
    }

    /// The state of a device as other nodes report it.
    fn heard(
        &self,
        context: &Context,
        device: &DeviceId,
        standing: Option<&Standing>,
        carriers: &BTreeSet<&DeviceId>,
    ) -> Heard {
        let Some(told) = self.told.get(device) else {
            return Heard::Never;
        };
        let both = |other: &&DeviceId| {
            let back = self.told.get(*other);
            back.is_some_and(|back| back.said.truncated || back.links.contains(device))
                && carriers.contains(*other)
        };
        let links = told.links.iter().filter(both).count();
        let age = Moment::unset(context.now()).age_by_wall_ms(told.at, told.received_at);
        // A later observation of this node itself takes precedence.
        let lost = standing.and_then(|s| s.lost_at);
        let lost = lost.is_some_and(|at| at >= told.received_at);
        match age < LATELY_MS && !lost {
            true => Heard::Lately { links },
            false => Heard::LongAgo { links },
        }
    }
}

/// Has this node's presence say whom it needs and does not reach.
fn say_unreached(supervising: &Supervising, known: &BTreeMap<DeviceId, Known>) {
    let unreached = known.iter().filter(|(_, one)| {
        one.always && one.reach == Reach::Away && matches!(one.heard, Heard::Lately { .. })
    });
    let unreached = unreached.map(|(device, _)| device.as_str().to_owned());
    let unreached: Vec<String> = unreached.take(VIEW_WANTS_MAX).collect();
    supervising.peers.unreached.send_if_modified(|said| {
        let new = *said != unreached;
        *said = unreached;
        new
    });
}

/// Whether one of the two decides, plans or stops what the other moves. A node that may stop because it moves
/// something itself, as field nodes may, is none that this is its work: it is reached when it comes to that.
fn has_to_do_with(supervising: &Supervising, grants: &Grants, offered: Option<&[String]>) -> bool {
    let commands = [Grant::Plan, Grant::Human, Grant::Admin]
        .iter()
        .any(|g| grants.has(*g))
        || grants.has(Grant::Estop) && !grants.has(Grant::Actuate);
    let moves = grants.has(Grant::Actuate)
        && offered.is_none_or(|all| all.iter().any(|c| offers_actuator(c)));
    // Planners hear from each other who leads.
    let plans = grants.has(Grant::Plan);
    // Nodes that run the same bot hear from each other who answers.
    let bot = grants.has(Grant::Human)
        && offered.is_some_and(|all| supervising.known.own.shares_bot(all));
    bot || commands && !supervising.known.own.now().actuators.is_empty()
        || (moves || plans) && supervising.config.role.plans()
}

fn reach(supervising: &Supervising, device: &DeviceId, standing: Option<&Standing>) -> Reach {
    if supervising.links.get(device).is_some() {
        return Reach::Linked;
    }
    let rest =
        Duration::from_millis(VIEW_AWAY_PINGS.saturating_mul(supervising.config.ping_interval_ms));
    let dialable = standing.is_some_and(|s| {
        let failed = s.failed.is_some_and(|at| at.elapsed() < rest);
        !s.targets.is_empty() && !failed
    });
    match dialable {
        true => Reach::Dialable,
        false => Reach::Away,
    }
}

/// The presence in a frame, if the device itself has signed it.
fn told(frame: StoredFrame) -> Option<(DeviceId, Told)> {
    if frame.signature == SignatureState::Unverifiable {
        return None;
    }
    let mut value: Value = serde_json::from_str(&frame.json).ok()?;
    let data = value.get_mut("data")?.take();
    if data.get("type")?.as_str()? != PRESENCE {
        return None;
    }
    let mut said: Presence = serde_json::from_value(data).ok()?;
    said.capabilities.truncate(CAPABILITIES_MAX);
    let links = std::mem::take(&mut said.links);
    let links = links.iter().filter_map(|link| link.peer.parse().ok());
    let told = Told {
        at: frame.time,
        received_at: frame.received_at,
        links: links.collect(),
        said,
    };
    Some((frame.origin, told))
}
