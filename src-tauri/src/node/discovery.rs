//! Devices seen on the LAN: they are remembered, and those of our mesh that we trust
//! are dialed, as far as the join policy allows it.
//!
//! Of two nodes that see each other the one with the lower id dials (gen-1 §4); the other waits a
//! moment, since it may be the only one that can. A device of another mesh is shown and never dialed.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::context::{Context, DURABLE};
use super::frame_log::Frames;
use super::links::target::{Source, Target};
use super::pairing::{self, Pairing};
use super::peers::Peers;
use crate::adapters::discovery::{Announcement, Mdns, Sight, Sighting};
use crate::adapters::store::{StoreError, kv};
use crate::domain::admission::budget::Cause;
use crate::domain::base::limits::{NEARBY_DIALED_MAX, NEARBY_MAX, PAIRING_NAME_CHARS};
use crate::domain::base::text::one_line;
use crate::domain::base::{AuditKind, DeviceId, MeshId, TimeMs};
use crate::node::context::{Event, Severity};

/// How long the higher id waits for the lower one to dial, in milliseconds.
const PATIENCE_MS: u64 = 3_000;
/// How often what is nearby is looked at again: trust may have come meanwhile.
const LOOK_EVERY: Duration = Duration::from_secs(1);
const POLICIES: &str = "meshes.policies";

/// What happens when a trusted device of a mesh is seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum JoinPolicy {
    /// It is connected.
    Auto,
    /// An operator is asked, once for each device.
    Ask,
    /// Nothing.
    Never,
}

/// A node on the LAN and since when.
#[derive(Debug, Clone)]
pub struct Near {
    /// What it says of itself.
    pub sighting: Sighting,
    /// When it was first seen.
    pub since: TimeMs,
    /// Whether an operator let it in.
    pub admitted: bool,
}

/// The devices on the LAN, and the join policies.
#[derive(Debug, Default)]
pub struct Nearby {
    near: Mutex<BTreeMap<DeviceId, Near>>,
    policies: Mutex<BTreeMap<String, JoinPolicy>>,
}

impl Nearby {
    fn with<T>(&self, f: impl FnOnce(&mut BTreeMap<DeviceId, Near>) -> T) -> T {
        f(&mut self.near.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The nodes on the LAN of devices that `wanted` names.
    fn some(&self, wanted: impl Fn(&DeviceId) -> bool) -> Vec<Near> {
        let wanted = |(id, _): &(&DeviceId, &Near)| wanted(id);
        self.with(|near| near.iter().filter(wanted).map(|(_, n)| n.clone()).collect())
    }

    /// Every node on the LAN.
    pub fn all(&self) -> Vec<Near> {
        self.with(|near| near.values().cloned().collect())
    }

    /// The policies that were set, by mesh id.
    pub fn policies(&self) -> BTreeMap<String, JoinPolicy> {
        self.policies
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// The policy for our own mesh: connect, unless something else was set. Devices of other meshes
    /// are never connected, whatever is set.
    pub fn own_policy(&self, own: &MeshId) -> JoinPolicy {
        let policies = self.policies();
        policies
            .get(own.as_str())
            .copied()
            .unwrap_or(JoinPolicy::Auto)
    }

    /// An operator lets a device of our mesh in; `false` if it is not there.
    pub fn admit(&self, device: &DeviceId) -> bool {
        self.with(|near| {
            let found = near.get_mut(device);
            found.map(|near| near.admitted = true).is_some()
        })
    }

    /// The devices among them that are not trusted and could be paired with, as they say of themselves.
    pub fn strangers(&self, context: &Context) -> Vec<pairing::Nearby> {
        let all = self.some(|device| !context.trust.trusts(device));
        let shown = |text: Option<&str>| one_line(text.unwrap_or("-"), PAIRING_NAME_CHARS);
        let one = |Near { sighting, .. }: Near| {
            let url = format!("ws://{}", sighting.addresses.first()?);
            let mesh = sighting.mesh_name.as_deref();
            let mesh = mesh.or(sighting.mesh.as_ref().map(|m| m.as_str()));
            Some(pairing::Nearby {
                device: sighting.device.as_str().to_owned(),
                name: shown(sighting.name.as_deref()),
                mesh: shown(mesh),
                url,
                pairing: sighting.pairing,
            })
        };
        all.into_iter().filter_map(one).collect()
    }

    /// Reads the policies set in earlier runs.
    ///
    /// # Errors
    /// Whatever the store says.
    pub async fn load(&self, context: &Context) -> Result<(), StoreError> {
        let stored = context
            .store
            .read("policies", |c| kv::get(c, POLICIES))
            .await?;
        let policies = stored.and_then(|bytes| serde_json::from_slice(&bytes).ok());
        *self.policies.lock().unwrap_or_else(PoisonError::into_inner) =
            policies.unwrap_or_default();
        Ok(())
    }

    /// Sets a mesh's policy, durably.
    ///
    /// # Errors
    /// Whatever the store says; then nothing has changed.
    pub async fn set_policy(
        &self,
        context: &Context,
        mesh: &MeshId,
        policy: JoinPolicy,
    ) -> Result<(), StoreError> {
        let mut policies = self.policies();
        policies.insert(mesh.as_str().to_owned(), policy);
        let (text, entry) = (json!(policies).to_string(), context.clone());
        let subject = mesh.as_str().to_owned();
        context
            .store
            .write(DURABLE, "join policy", move |c| {
                kv::put(c, POLICIES, text.as_bytes())?;
                entry.journal.audit(
                    c,
                    AuditKind::MeshPolicy,
                    &subject,
                    json!({"policy": policy}),
                )
            })
            .await?;
        *self.policies.lock().unwrap_or_else(PoisonError::into_inner) = policies;
        Ok(())
    }
}

/// The handles that seeing, showing and dialing devices on the LAN takes.
pub struct Lan {
    /// The links there are, and whom this node trusts.
    pub frames: Frames,
    /// The devices there.
    pub nearby: Arc<Nearby>,
    /// Dials them.
    pub peers: Arc<Peers>,
    /// Says whether this node can be paired with.
    pub pairing: Pairing,
}

impl std::ops::Deref for Lan {
    type Target = Frames;

    fn deref(&self) -> &Frames {
        &self.frames
    }
}

/// Looks around until the node stops.
pub async fn run(lan: Lan, listens: SocketAddr) {
    let announcement = Announcement {
        device: lan.own_id().clone(),
        name: lan.config.name.clone(),
        role: lan.config.role.as_str().to_owned(),
        mesh: lan.mesh.clone(),
        mesh_name: lan.config.mesh_name.clone(),
        listens,
    };
    let mdns = match Mdns::start(announcement) {
        Ok(mdns) => mdns,
        Err(error) => {
            let message = error.to_string();
            tracing::warn!("{message}");
            return lan
                .journal
                .record(
                    Event::DiscoveryFailed,
                    Severity::Warning,
                    &message,
                    json!({}),
                )
                .await;
        }
    };
    let trusted = |device: &DeviceId| lan.trust.trusts(device);
    tokio::select! {
        biased;
        () = lan.tasks.stop().cancelled() => {}
        () = mdns.gather(trusted) => tracing::warn!("discovery ended"),
        () = look_around(&lan, &mdns) => {}
    }
    mdns.stop().await;
}

/// Follows what is seen, forever.
async fn look_around(lan: &Lan, mdns: &Mdns) {
    let mut memory = Memory::default();
    let mut tick = tokio::time::interval(LOOK_EVERY);
    let mut links = lan.links.watch();
    loop {
        tokio::select! {
            biased;
            (sights, passed_over) = mdns.next() => {
                memory.passed_over = memory.passed_over.saturating_add(passed_over);
                for sight in sights {
                    match sight {
                        Sight::Seen(sighting) => memory.seen(lan, sighting).await,
                        Sight::Gone(device) => memory.gone(lan, &device).await,
                    }
                }
            }
            // At once: a link that lasts no longer than a tick must be missed too.
            _ = links.changed() => {}
            _ = tick.tick() => {}
        }
        memory.announce(lan, mdns);
        memory.look(lan, mdns).await;
        memory.tell_rest(lan).await;
    }
}

/// The events that were told and the links that were there at the last look.
#[derive(Default)]
struct Memory {
    linked: BTreeSet<DeviceId>,
    told: BTreeSet<DeviceId>,
    pairing: bool,
    /// Services that found no place.
    passed_over: u64,
    rest_told_at: TimeMs,
}

impl Memory {
    async fn seen(&mut self, lan: &Lan, sighting: Sighting) {
        let (now, device) = (lan.now(), sighting.device.clone());
        let trusts = |id: &DeviceId| lan.trust.trusts(id);
        let new = lan.nearby.with(|near| {
            if let Some(known) = near.get_mut(&device) {
                known.sighting = sighting.clone();
                return false;
            }
            if near.len() >= NEARBY_MAX {
                // As in the table of services: strangers give way.
                let stranger = near.keys().find(|id| !trusts(id)).cloned();
                let Some(stranger) = stranger.filter(|_| trusts(&device)) else {
                    return false;
                };
                near.remove(&stranger);
            }
            let fresh = Near {
                sighting: sighting.clone(),
                since: now,
                admitted: false,
            };
            near.insert(device.clone(), fresh);
            true
        });
        if new {
            let name = sighting.name.as_deref().unwrap_or("a node");
            let message = format!("Seen on the LAN: {name} ({})", device.short());
            let data = json!({"deviceId": device, "meshId": sighting.mesh});
            lan.journal
                .caused(
                    Cause::Strangers,
                    Event::PeerSeen,
                    Severity::Info,
                    &message,
                    data,
                )
                .await;
        }
    }

    async fn gone(&mut self, lan: &Lan, device: &DeviceId) {
        lan.peers.unseen(device);
        let was_near = lan.nearby.with(|near| near.remove(device)).is_some();
        if was_near {
            let message = format!("Gone from the LAN: {}", device.short());
            let data = json!({"deviceId": device});
            lan.journal
                .caused(
                    Cause::Strangers,
                    Event::PeerGone,
                    Severity::Info,
                    &message,
                    data,
                )
                .await;
        }
    }

    /// Tells once a minute how many strangers found no place.
    async fn tell_rest(&mut self, context: &Context) {
        let now = context.now();
        if self.passed_over == 0 || now.distance(self.rest_told_at) < 60_000 {
            return;
        }
        self.rest_told_at = now;
        let passed_over = std::mem::take(&mut self.passed_over);
        let message = format!(
            "Many strangers announce themselves on the LAN: {passed_over} found no place in the list"
        );
        let data = json!({"passedOver": passed_over});
        context
            .journal
            .caused(
                Cause::Strangers,
                Event::DiscoveryCrowded,
                Severity::Warning,
                &message,
                data,
            )
            .await;
    }

    /// Says on the LAN whether this node's pairing window is open.
    fn announce(&mut self, lan: &Lan, mdns: &Mdns) {
        let open = pairing::is_open(&lan.pairing);
        if open == self.pairing {
            return;
        }
        match mdns.announce(open) {
            Ok(()) => self.pairing = open,
            Err(error) => tracing::warn!("{error}"),
        }
    }

    /// Decides about each node that is nearby.
    async fn look(&mut self, lan: &Lan, mdns: &Mdns) {
        let links: BTreeSet<DeviceId> = lan
            .links
            .all()
            .iter()
            .map(|l| l.info.device.clone())
            .collect();
        for lost in self.linked.difference(&links) {
            mdns.verify(lost);
        }
        self.linked = links;
        let now = lan.now();
        let policy = lan.nearby.own_policy(&lan.mesh);
        // One that acts for us has to be dialed, whether it has dialed us or not.
        let enough = |id: &DeviceId| {
            let link = lan.links.get(id);
            link.is_some_and(|link| !link.info.cannot_be_told())
        };
        let wanted = |id: &DeviceId| !enough(id) && lan.trust.trusts(id);
        for near in lan.nearby.some(wanted) {
            let device = &near.sighting.device;
            if let Some(theirs) = near.sighting.mesh.as_ref().filter(|m| **m != lan.mesh) {
                if self.told.insert(device.clone()) {
                    let theirs = near
                        .sighting
                        .mesh_name
                        .as_deref()
                        .unwrap_or(theirs.as_str());
                    let why = format!("it is in another mesh ({theirs}) and is not dialed");
                    tell(lan, &near, &why).await;
                }
                continue;
            }
            match policy {
                JoinPolicy::Never => continue,
                JoinPolicy::Ask if !near.admitted => {
                    if self.told.insert(device.clone()) {
                        let why =
                            "the join policy asks: let it in with `clawmesh-node meshes admit`";
                        tell(lan, &near, why).await;
                    }
                    continue;
                }
                JoinPolicy::Auto | JoinPolicy::Ask => {}
            }
            let ours_to_dial = lan.own_id() < device;
            if ours_to_dial || now.since(near.since) >= PATIENCE_MS {
                dial(lan, &near, now);
            }
        }
    }
}

fn dial(lan: &Lan, near: &Near, now: TimeMs) {
    for address in near.sighting.addresses.iter().take(NEARBY_DIALED_MAX) {
        let Ok(url) = format!("ws://{address}").parse() else {
            continue;
        };
        let target = Target {
            url,
            pin: None,
            label: "mdns".to_owned(),
            source: Source::Seen,
        };
        lan.peers.add(&near.sighting.device, target, now);
    }
}

async fn tell(context: &Context, near: &Near, why: &str) {
    let device = &near.sighting.device;
    let name = near.sighting.name.as_deref().unwrap_or("a node");
    let message = format!("{name} ({}) is on the LAN: {why}", device.short());
    let data = json!({"deviceId": device, "meshId": near.sighting.mesh, "reason": why});
    context
        .journal
        .caused(
            Cause::Strangers,
            Event::MeshSeen,
            Severity::Warning,
            &message,
            data,
        )
        .await;
}
