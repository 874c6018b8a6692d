//! What a node stands on: whether it may operate, and what makes its actuators safe where it may not.

use std::sync::Arc;

use super::{Continuity, Ground};
use crate::node::frame_log::Frames;
use crate::node::guards::Guards;

/// The state of this node and its guards. Who has it can end what moves and ask what the actuators are; a run is begun by the
/// executor alone, which has the guards' `RunStarter`.
#[derive(Clone)]
pub struct Footing(Arc<Parts>);

/// What [`Footing`] gives access to.
pub struct Parts {
    /// The frames, with which it is told.
    pub frames: Frames,
    /// The actuators: where they are, what they can do, and the order to their safe state.
    pub guards: Guards,
    /// Whether the state is the one it last ran with.
    pub continuity: Continuity,
    /// The state directory it was started on.
    pub ground: Ground,
}

impl std::ops::Deref for Footing {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}

impl std::ops::Deref for Parts {
    type Target = Frames;

    fn deref(&self) -> &Frames {
        &self.frames
    }
}

impl Footing {
    /// Wraps the parts.
    pub fn new(parts: Parts) -> Self {
        Self(Arc::new(parts))
    }
}
