//! The handles of a node's rooms in one list, for what puts the node together and for the door to it. It holds neither
//! the device's key nor a driver: those are in the rooms that use them.

use std::sync::Arc;

use super::alerts::Alerts;
use super::answering::Answering;
use super::authority::Authority;
use super::channels::Channels;
use super::coordinator::Coordinator;
use super::credentials::Kept;
use super::discovery::Nearby;
use super::gateways::Gateways;
use super::inference::Inference;
use super::leading::Leading;
use super::links::Reach;
use super::mesh_models::MeshModels;
use super::messages::Messages;
use super::pairing::Pairing;
use super::pause::PlannerState;
use super::peers::Peers;
use super::planner::Planner;
use super::planning::Drafts;
use super::proposals::Executor;
use super::pulse::Pulse;
use super::sensing::Sensors;
use super::sessions::Sessions;
use super::sites::SiteBook;
use super::wiring::Wiring;

/// The handles of one node's rooms.
#[derive(Clone)]
pub struct Handles(Arc<Inner>);

/// See [`Handles`].
pub struct Inner {
    /// What it carries out; beneath it what it stands on, its frames, and what every task may use.
    pub executor: Executor,
    /// Where things are.
    pub sites: SiteBook,
    /// Records that it issues.
    pub authority: Authority,
    /// Channels whose keys it holds.
    pub channels: Channels,
    /// How links are made, and what peers may ask.
    pub sessions: Sessions,
    /// Where it stands with each.
    pub peers: Arc<Peers>,
    /// Dials those with which no link is needed otherwise.
    pub reach: Arc<dyn Reach>,
    /// The gateways of agents.
    pub gateways: Gateways,
    /// The agents of claw-mesh that have joined.
    pub coordinator: Coordinator,
    /// Who is on the LAN.
    pub nearby: Arc<Nearby>,
    /// How its sensors are.
    pub sensors: Sensors,
    /// The devices of its configuration.
    pub wiring: Wiring,
    /// What people should know of.
    pub alerts: Alerts,
    /// The language models it may ask.
    pub inference: Inference,
    /// The keys of their providers.
    pub credentials: Kept,
    /// The models that devices use of each other.
    pub mesh_models: MeshModels,
    /// Messages to agents.
    pub messages: Messages,
    /// Whether its tasks run.
    pub pulse: Pulse,
    /// Whether the planner rests.
    pub planner: Arc<PlannerState>,
    /// Which planner does what.
    pub leading: Leading,
    /// Which node answers the bot.
    pub answering: Answering,
    /// How actions are asked for.
    pub drafts: Drafts,
    /// The planner and what it is asked.
    pub asking: Planner,
    /// Devices that come to know each other through persons.
    pub pairing: Pairing,
}

impl std::fmt::Debug for Handles {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Handles({})", self.own_id().short())
    }
}

impl std::ops::Deref for Handles {
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

impl Handles {
    /// Wraps the parts.
    pub fn new(inner: Inner) -> Self {
        Self(Arc::new(inner))
    }
}
