//! What every actor of a node shares: identity, store, clock, books, heads. No actor owns it, no
//! lock in it is ever held across an await.

use std::sync::Arc;

use super::authority::Authority;
use super::credentials::Kept;
use super::discovery::Nearby;
use super::inference::Inference;
use super::leading::Leading;
use super::links::{LinkHandle, Reach};
use super::mesh_models::MeshModels;
use super::pairing::Pairing;
use super::pause::PlannerState;
use super::peers::Peers;
use super::planner::Planner;
use super::planning::Drafts;
use super::proposals::Executor;
use super::sensing::Sensors;
use super::sessions::Sessions;
use super::sites::SiteBook;
use crate::adapters::transport::{Dialer, Tls};
use crate::domain::base::DeviceId;
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
    /// Records that it issues.
    pub authority: Authority,
    /// How links are made, and what peers may ask.
    pub sessions: Sessions,
    /// Where it stands with each.
    pub peers: Arc<Peers>,
    /// Dials those with which no link is needed otherwise.
    pub reach: Arc<dyn Reach>,
    /// Who is on the LAN.
    pub nearby: Arc<Nearby>,
    /// How its sensors are.
    pub sensors: Sensors,
    /// The language models it may ask.
    pub inference: Inference,
    /// The keys of their providers.
    pub credentials: Kept,
    /// The models that devices use of each other.
    pub mesh_models: MeshModels,
    /// Whether the planner rests.
    pub planner: Arc<PlannerState>,
    /// Which planner does what.
    pub leading: Leading,
    /// How actions are asked for.
    pub drafts: Drafts,
    /// The planner and what it is asked.
    pub asking: Planner,
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

    /// This device's secret key. A test names the rooms that may sign.
    pub fn signer(&self) -> &Arc<DeviceKey> {
        &self.0.key.0
    }

    /// The link to a device, dialed now where none is needed otherwise; see [`Reach::reach`].
    pub async fn reach(&self, device: &DeviceId) -> Option<LinkHandle> {
        self.0.reach.reach(device).await
    }

    /// Whether a device has no link because none is needed, and is dialed when something is to be sent to it.
    pub fn is_on_demand(&self, device: &DeviceId) -> bool {
        self.peers.is_on_demand(device)
    }
}
