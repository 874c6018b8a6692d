//! What every actor of a node shares: identity, store, clock, books, heads. No actor owns it, no
//! lock in it is ever held across an await.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError, RwLock, Weak};

use serde_json::json;
use tokio::sync::{Semaphore, watch};

use super::context::Context;
use super::continuity::Continuity;
use super::credentials::Kept;
use super::discovery::Nearby;
use super::gen1::conversation::OtherPlanners;
use super::gossip::RecentFrames;
use super::gossip::tree::Tree;
use super::guards::Guards;
use super::health::Ground;
use super::inference::Inference;
use super::leading::Leading;
use super::links::{LinkHandle, Links};
use super::mesh_models::MeshModels;
use super::pairing::Pairing;
use super::pause::PlannerState;
use super::peers::Peers;
use super::planner::Questions;
use super::planner::passed_on::Forwarded;
use super::policy_book::PolicyBook;
use super::proposals::{Running, Unrecorded};
use super::reconcile::Held;
use super::sensing::Sensors;
use super::sites::SiteBook;
use crate::adapters::store::{Class, StoreError, kv};
use crate::adapters::transport::{Dialer, Tls};
use crate::domain::base::{DeviceId, FrameId, Hlc, TimeMs};
use crate::domain::capability::Capability;
use crate::domain::identity::DeviceKey;
use crate::domain::wire::frame::Stamp;

/// Shared by every actor of one node.
#[derive(Clone)]
pub struct Shared(Arc<Inner>);

/// See [`Shared`].
pub struct Inner {
    /// What every task may use.
    pub context: Context,
    /// This device's secret key; given out by [`Shared::signer`] alone.
    pub key: OwnKey,
    /// How it speaks TLS.
    pub tls: Tls,
    /// How it reaches peers.
    pub dialer: Arc<dyn Dialer>,
    /// Decisions refused while nothing could be written.
    pub unrecorded: Arc<Unrecorded>,
    /// What its executor allows.
    pub policy: PolicyBook,
    /// Where things are.
    pub sites: SiteBook,
    /// What the planners of gen-1 nodes propose.
    pub other_planners: OtherPlanners,
    /// Whom it is connected to.
    pub links: Links,
    /// Where it stands with each.
    pub peers: Peers,
    /// Who is on the LAN.
    pub nearby: Nearby,
    /// Everything it offers.
    pub capabilities: Vec<Capability>,
    /// Its actuators: what moves them, makes them safe and knows of them.
    pub guards: Guards,
    /// What they are doing.
    pub running: Running,
    /// How its sensors are.
    pub sensors: Sensors,
    /// The language models it may ask.
    pub inference: Inference,
    /// The keys of their providers.
    pub credentials: Kept,
    /// The models that devices use of each other.
    pub mesh_models: MeshModels,
    /// Whether the planner rests.
    pub planner: PlannerState,
    /// Which planner does what.
    pub leading: Leading,
    /// What it answers for neighbours.
    pub forwarded: Forwarded,
    /// What its planner is asked.
    pub questions: Questions,
    /// What devices offered when they were last connected.
    pub last_offered: Mutex<BTreeMap<DeviceId, Vec<String>>>,
    /// Devices that sign their frames: what comes in their name unsigned is not theirs.
    pub signers: RwLock<Arc<BTreeSet<DeviceId>>>,
    /// Devices that come to know each other through persons.
    pub pairing: Pairing,
    /// What reconciliation compares.
    pub held: Held,
    /// Frames up to this place of the log belong to a mesh this node was in before.
    pub mesh_floor: u64,
    /// The stamps of its own frames.
    pub stamper: Stamper,
    /// Whether its state is the one it last ran with.
    pub continuity: Continuity,
    /// The state directory it was started on.
    pub ground: Ground,
    /// The newest stored frames, for the links.
    pub recent: RecentFrames,
    /// Which of them push them.
    pub tree: Tree,
    /// Counts up with every stored frame batch; wakes gossip and planner.
    pub frames_head: watch::Sender<u64>,
    /// Counts up with every batch with private frames; wakes the links of those that may have them.
    pub private_head: watch::Sender<u64>,
    /// Counts up with every change of a proposal; wakes links and streams.
    pub proposals_head: watch::Sender<u64>,
    /// Places for updates of others' proposals that the disk refused and that are tried again.
    pub mirrors_owed: Arc<Semaphore>,
}

/// A device's secret key on its way into [`Shared`].
pub struct OwnKey(Arc<DeviceKey>);

impl OwnKey {
    /// Wraps the key.
    pub fn new(key: Arc<DeviceKey>) -> Self {
        Self(key)
    }
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Shared({})", self.own_id().short())
    }
}

impl std::ops::Deref for Shared {
    type Target = Inner;

    fn deref(&self) -> &Inner {
        &self.0
    }
}

impl std::ops::Deref for Inner {
    type Target = Context;

    fn deref(&self) -> &Context {
        &self.context
    }
}

impl Shared {
    /// Wraps the parts.
    pub fn new(inner: Inner) -> Self {
        Self(Arc::new(inner))
    }

    /// For what is made before the node and must not keep it alive.
    pub fn weak(&self) -> Weak<Inner> {
        Arc::downgrade(&self.0)
    }

    /// The node, if it is still there.
    pub fn of(weak: &Weak<Inner>) -> Option<Self> {
        weak.upgrade().map(Self)
    }

    /// This device's secret key. A test names the rooms that may sign.
    pub fn signer(&self) -> &Arc<DeviceKey> {
        &self.0.key.0
    }

    /// The link to a device, dialed now where none is needed otherwise; see [`peers::reach`](super::peers::reach).
    pub async fn reach(&self, device: &DeviceId) -> Option<LinkHandle> {
        super::peers::reach(self, device).await
    }

    /// Whether a device has no link because none is needed, and is dialed when something is to be sent to it.
    pub fn is_on_demand(&self, device: &DeviceId) -> bool {
        self.peers.is_on_demand(device)
    }

    /// What devices offered when they were last connected, as far as they may now.
    pub fn known_capabilities(&self) -> BTreeMap<DeviceId, Vec<String>> {
        let mut known = self
            .last_offered
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        self.keep_entitled(&mut known);
        known
    }

    /// Remembers what a device says it offers, so that a draft for it waits while it is away.
    pub async fn remember_offer(&self, device: &DeviceId, capabilities: &[String]) {
        let known = {
            let mut offered = self
                .last_offered
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            offered.insert(device.clone(), capabilities.to_vec());
            json!(*offered).to_string()
        };
        let stored = self
            .store
            .write(Class::Relaxed, "offers", move |c| {
                kv::put(c, OFFERS, known.as_bytes())
            })
            .await;
        if let Err(error) = stored {
            tracing::warn!(%error, "what a peer offers could not be stored");
        }
    }

    /// Devices that are known to sign their frames.
    pub fn known_signers(&self) -> Arc<BTreeSet<DeviceId>> {
        self.signers
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Remembers that a device signs its frames.
    pub async fn remember_signer(&self, device: &DeviceId) {
        if self.known_signers().contains(device) {
            return;
        }
        let text = {
            let mut signers = self.signers.write().unwrap_or_else(PoisonError::into_inner);
            Arc::make_mut(&mut signers).insert(device.clone());
            json!(**signers).to_string()
        };
        let stored = self
            .store
            .write(Class::Relaxed, "signers", move |c| {
                kv::put(c, SIGNERS, text.as_bytes())
            })
            .await;
        if let Err(error) = stored {
            tracing::warn!(%error, "which peers sign could not be stored");
        }
    }

    /// Tells everyone who waits that proposals changed.
    pub fn proposals_changed(&self) {
        self.proposals_head.send_modify(|n| *n += 1);
    }
}

/// Gives our own frames their ids, logical times and counts; none is ever given twice, also not
/// after a crash: counts are reserved in blocks before they are used.
#[derive(Debug)]
pub struct Stamper {
    state: Mutex<(Hlc, u64)>,
}

impl Stamper {
    /// Continues after what earlier runs may have used.
    pub fn resume(hlc: Hlc, next_seq: u64) -> Self {
        Self {
            state: Mutex::new((hlc, next_seq)),
        }
    }

    /// The stamp of the next own frame.
    pub fn stamp(&self, frame_id: FrameId, now: TimeMs) -> Stamp {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.0 = state.0.tick(now);
        state.1 += 1;
        Stamp {
            frame_id,
            now,
            hlc: state.0,
            seq: state.1,
        }
    }

    /// The newest count that was given.
    pub fn newest(&self) -> u64 {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).1
    }

    /// Hears the logical time of another node.
    pub fn observe(&self, heard: Hlc, now: TimeMs) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.0 = state
            .0
            .observe(heard, now, crate::domain::base::limits::FRAME_FUTURE_MAX_MS);
    }
}

const OFFERS: &str = "peers.offers";

/// What devices offered when they were last connected, from earlier runs.
///
/// # Errors
/// Whatever the store says.
pub fn offers(conn: &rusqlite::Connection) -> Result<BTreeMap<DeviceId, Vec<String>>, StoreError> {
    let stored = kv::get(conn, OFFERS)?;
    Ok(stored
        .and_then(|bytes| serde_json::from_slice(&bytes).ok())
        .unwrap_or_default())
}

const SIGNERS: &str = "peers.signers";

/// Devices that signed their frames in earlier runs.
///
/// # Errors
/// Whatever the store says.
pub fn signers(conn: &rusqlite::Connection) -> Result<BTreeSet<DeviceId>, StoreError> {
    let stored = kv::get(conn, SIGNERS)?;
    Ok(stored
        .and_then(|bytes| serde_json::from_slice(&bytes).ok())
        .unwrap_or_default())
}
