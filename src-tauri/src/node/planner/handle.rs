//! The handle of the planner's room.

use std::sync::Arc;

use super::Questions;
use super::passed_on::Forwarded;
use crate::node::mesh_models::MeshModels;
use crate::node::planning::Drafts;

/// The planner: questions to it and what answers them. It asks for actions as [`Drafts`] does, and can decide nothing.
#[derive(Clone)]
pub struct Planner(Arc<Parts>);

/// What [`Planner`] gives access to.
pub struct Parts {
    /// How it asks for actions.
    pub drafts: Drafts,
    /// The models it asks.
    pub models: MeshModels,
    /// The queue of questions.
    pub questions: Questions,
    /// Questions of neighbours that are answered here.
    pub(super) forwarded: Forwarded,
}

impl std::ops::Deref for Planner {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}

impl std::ops::Deref for Parts {
    type Target = Drafts;

    fn deref(&self) -> &Drafts {
        &self.drafts
    }
}

impl Planner {
    /// Nothing is asked yet.
    pub fn new(drafts: Drafts, models: MeshModels) -> Self {
        Self(Arc::new(Parts {
            drafts,
            models,
            questions: Questions::default(),
            forwarded: Forwarded::default(),
        }))
    }
}
