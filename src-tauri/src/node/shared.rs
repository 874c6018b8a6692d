//! What every actor of a node shares: identity, store, clock, books, heads. No actor owns it, no
//! lock in it is ever held across an await.

use std::sync::{Arc, Weak};

use super::credentials::Kept;
use super::discovery::Nearby;
use super::gen1::conversation::OtherPlanners;
use super::inference::Inference;
use super::leading::Leading;
use super::links::LinkHandle;
use super::mesh_models::MeshModels;
use super::pairing::Pairing;
use super::pause::PlannerState;
use super::peers::Peers;
use super::planner::Questions;
use super::planner::passed_on::Forwarded;
use super::proposals::Executor;
use super::sensing::Sensors;
use super::sites::SiteBook;
use crate::adapters::transport::{Dialer, Tls};
use crate::domain::base::DeviceId;
use crate::domain::capability::Capability;
use crate::domain::identity::DeviceKey;

/// Shared by every actor of one node.
#[derive(Clone)]
pub struct Shared(Arc<Inner>);

/// See [`Shared`].
pub struct Inner {
    /// What it carries out; beneath it what it stands on, its frames, and what every task may use.
    pub executor: Executor,
    /// This device's secret key; given out by [`Shared::signer`] alone.
    pub key: OwnKey,
    /// How it speaks TLS.
    pub tls: Tls,
    /// How it reaches peers.
    pub dialer: Arc<dyn Dialer>,
    /// Where things are.
    pub sites: SiteBook,
    /// What the planners of gen-1 nodes propose.
    pub other_planners: OtherPlanners,
    /// Where it stands with each.
    pub peers: Peers,
    /// Who is on the LAN.
    pub nearby: Nearby,
    /// Everything it offers.
    pub capabilities: Vec<Capability>,
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
    /// Devices that come to know each other through persons.
    pub pairing: Pairing,
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
    type Target = Executor;

    fn deref(&self) -> &Executor {
        &self.executor
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
}
