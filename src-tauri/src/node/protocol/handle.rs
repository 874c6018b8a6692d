//! The handle of the protocol's room.

use std::sync::Arc;

use crate::domain::admission::Grant;
use crate::domain::base::{Code, Refusal};
use crate::node::answering::Answering;
use crate::node::context::Context;
use crate::node::gen1::conversation::OtherPlanners;
use crate::node::leading::Leading;
use crate::node::links::LinkHandle;
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

/// Whether the device of a link holds a grant here.
///
/// # Errors
/// `NOT_AUTHORIZED`.
pub(super) fn need(context: &Context, link: &LinkHandle, grant: Grant) -> Result<(), Refusal> {
    let held = context
        .trust
        .live(&link.info.device)
        .is_some_and(|r| r.grants.has(grant));
    if held {
        return Ok(());
    }
    Err(Refusal::new(
        Code::NotAuthorized,
        format!(
            "device {} does not hold the grant {grant} here; an operator can give it with `trust grant`",
            link.info.device.short()
        ),
    ))
}
