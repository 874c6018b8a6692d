//! Reaching one device: over the link that stands, or one that is dialed for it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::Instant;

use super::{PeerState, Peers};
use crate::domain::base::limits::REACH_MS;
use crate::domain::base::{Code, DeviceId, Refusal, TimeMs};
use crate::domain::wire::Message;
use crate::domain::wire::handshake::Feature;
use crate::node::frame_log::Frames;
use crate::node::links::target::{KEEP, Target};
use crate::node::links::{LinkHandle, Reach};

/// How long after it was asked for a device is dialed because of it.
const CALLED: Duration = Duration::from_millis(2 * REACH_MS);

/// Has devices dialed by their supervisors.
pub struct Dialed {
    /// The links there are, and whom this node trusts.
    pub frames: Frames,
    /// Where it stands with each device.
    pub peers: Arc<Peers>,
}

impl Reach for Dialed {
    fn reach<'a>(&'a self, device: &'a DeviceId) -> BoxFuture<'a, Option<LinkHandle>> {
        self.dialed(device).boxed()
    }

    fn is_on_demand(&self, device: &DeviceId) -> bool {
        self.peers.is_on_demand(device)
    }

    fn used(&self, device: &DeviceId) {
        self.peers.used(device);
    }

    fn asked_to_keep(&self, device: &DeviceId, payload: &Value) -> Result<(), Refusal> {
        self.peers.asked_to_keep(device, payload)
    }

    fn came_as_gen1(&self, device: &DeviceId, now: TimeMs) {
        self.peers.came_as_gen1(device, now);
    }

    fn targets(&self, device: &DeviceId) -> Vec<Target> {
        self.peers.targets(device)
    }
}

impl Dialed {
    async fn dialed(&self, device: &DeviceId) -> Option<LinkHandle> {
        let (frames, peers) = (&self.frames, &self.peers);
        let (mut links, mut moved) = (frames.links.watch(), peers.moved.subscribe());
        peers.used(device);
        let waiting = async {
            loop {
                links.mark_unchanged();
                moved.mark_unchanged();
                if let Some(link) = frames.links.get(device) {
                    return Some(link);
                }
                if !frames.trust.trusts(device) || !peers.call(device) {
                    return None;
                }
                tokio::select! {
                    biased;
                    changed = links.changed() => changed.ok()?,
                    changed = moved.changed() => changed.ok()?,
                }
            }
        };
        let limit = Duration::from_millis(REACH_MS);
        tokio::time::timeout(limit, waiting).await.ok().flatten()
    }
}

/// Tells who dialed a link whether this node needs it, at first and where that has changed; `told` is what it was
/// told last. That the other side asked for a link is no need of this one: both would keep it for ever.
pub(super) fn tell_keep(peers: &Peers, link: &LinkHandle, told: &mut Option<bool>) {
    let device = &link.info.device;
    if link.info.outbound {
        return;
    }
    peers.keep(device, false);
    let keep = peers.needs(device);
    if link.info.speaks(Feature::View)
        && *told != Some(keep)
        && link.tell(Message::event(KEEP, &json!({"keep": keep})))
    {
        *told = Some(keep);
    }
}

impl Peers {
    /// An attempt to reach a device has failed, or it said goodbye.
    pub(super) fn lost(&self, device: &DeviceId, now: TimeMs) {
        self.with(|table| {
            if let Some(standing) = table.get_mut(device) {
                standing.lost_at.get_or_insert(now);
                standing.failed = Some(Instant::now());
            }
        });
        // Another neighbour takes its place.
        self.changed.send_modify(|n| *n += 1);
    }

    /// A device is heard through others.
    pub(super) fn found(&self, device: &DeviceId) {
        self.with(|table| {
            if let Some(standing) = table.get_mut(device) {
                standing.lost_at = None;
            }
        });
    }

    /// Something is sent to a device, or it asked for something: a link with it stays for a while.
    pub fn used(&self, device: &DeviceId) {
        self.with(|table| {
            if let Some(standing) = table.get_mut(device) {
                standing.used = Some(Instant::now());
            }
        });
    }

    /// When something was last sent to a device or asked by it.
    pub(super) fn last_used(&self, device: &DeviceId) -> Option<Instant> {
        self.with(|table| table.get(device).and_then(|s| s.used))
    }

    /// Has a device dialed with which no link is needed. `false` if waiting for it makes no sense.
    fn call(&self, device: &DeviceId) -> bool {
        let fresh = self.with(|table| {
            let standing = table.get_mut(device)?;
            let called = standing.called.is_some_and(|at| at.elapsed() < CALLED);
            match standing.state.plain() {
                PeerState::OnDemand if standing.targets.is_empty() => None,
                PeerState::OnDemand if !called => {
                    standing.called = Some(Instant::now());
                    Some(true)
                }
                PeerState::OnDemand | PeerState::Dialing | PeerState::Waiting if called => {
                    Some(false)
                }
                PeerState::Connected => Some(false),
                _ => None,
            }
        });
        if fresh == Some(true) {
            self.changed.send_modify(|n| *n += 1);
        }
        fresh.is_some()
    }

    /// Whether a device is to be dialed: a link is needed, or something is to be sent to it.
    pub(super) fn wants(&self, device: &DeviceId) -> bool {
        let called = |standing: &super::Standing| {
            let at = standing.called;
            at.is_some_and(|at| at.elapsed() < CALLED)
        };
        self.keeps(device) || self.with(|table| table.get(device).is_some_and(called))
    }

    /// Whether a link with a device is to stay: one of the two needs it.
    pub(super) fn keeps(&self, device: &DeviceId) -> bool {
        let asked = |table: &mut BTreeMap<DeviceId, super::Standing>| {
            table.get(device).is_some_and(|s| s.asked_to_keep)
        };
        self.needs(device) || self.with(asked)
    }

    /// Whether this node needs a link with a device.
    pub fn needs(&self, device: &DeviceId) -> bool {
        !self.spare().contains(device)
    }

    /// The devices that are heard, with which a link is needed, and that are not reached.
    pub fn unreached(&self) -> Vec<String> {
        self.unreached.borrow().clone()
    }

    /// Wakes when they change.
    pub fn watch_unreached(&self) -> watch::Receiver<Vec<String>> {
        self.unreached.subscribe()
    }

    /// The devices with which no link is needed.
    pub(super) fn left_out(&self) -> BTreeSet<DeviceId> {
        self.spare().clone()
    }

    /// Whether a device has no link because none is needed.
    pub fn is_left_out(&self, device: &DeviceId) -> bool {
        let state = self.with(|table| table.get(device).map(|s| s.state.plain()));
        state == Some(PeerState::OnDemand)
    }

    /// Whether a device has no link because none is needed, and can be dialed when one is.
    pub fn is_on_demand(&self, device: &DeviceId) -> bool {
        self.is_left_out(device) && !self.targets(device).is_empty()
    }

    /// With these devices no link is needed from now on, with all others one is.
    pub(super) fn spare_these(&self, spare: BTreeSet<DeviceId>) {
        let mut known = self.spare();
        if *known != spare {
            *known = spare;
            drop(known);
            self.changed.send_modify(|n| *n += 1);
        }
    }

    /// The device at the other end of a link that this node dialed wants it to stay, or does not.
    ///
    /// # Errors
    /// `INVALID_PARAMS` for anything else.
    pub fn asked_to_keep(&self, device: &DeviceId, payload: &Value) -> Result<(), Refusal> {
        let keep = payload.get("keep").and_then(Value::as_bool);
        let keep = keep.ok_or_else(|| {
            Refusal::new(
                Code::InvalidParams,
                format!("{KEEP}: keep must be true or false"),
            )
        })?;
        self.keep(device, keep);
        Ok(())
    }

    fn keep(&self, device: &DeviceId, keep: bool) {
        self.with(|table| {
            if let Some(standing) = table.get_mut(device) {
                standing.asked_to_keep = keep;
            }
        });
    }
}
