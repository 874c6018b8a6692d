//! The handle of the protocol's room.

use std::sync::Arc;

use crate::node::answering::Answering;
use crate::node::gen1::conversation::OtherPlanners;
use crate::node::leading::Leading;
use crate::node::links::Reach;
use crate::node::mesh_models::MeshModels;
use crate::node::messages::Messages;
use crate::node::planner::Planner;
use crate::node::proposals::Executor;

/// The rooms to which a peer's message can go, one handle each, and so the widest of the handles. It holds no
/// key and does not dial.
#[derive(Clone)]
pub struct Protocol {
    /// Proposals, stops, records; beneath it the frames.
    pub executor: Executor,
    /// Which planner does what.
    pub leading: Leading,
    /// Which node answers the bot.
    pub answering: Answering,
    /// The planner and what it is asked.
    pub asking: Planner,
    /// The models that devices use of each other.
    pub mesh_models: MeshModels,
    /// Messages to agents.
    pub messages: Messages,
    /// Proposals of the planners of gen-1 nodes.
    pub other_planners: Arc<OtherPlanners>,
    /// Who makes links.
    pub reach: Arc<dyn Reach>,
}

impl std::ops::Deref for Protocol {
    type Target = Executor;

    fn deref(&self) -> &Executor {
        &self.executor
    }
}
