//! What devices are made with while a node runs.

use std::sync::Arc;

use crate::adapters::clock::SharedClock;
use crate::adapters::devices::{Around, Carrier, Hooks, Keeper};
use crate::adapters::paths::StateDir;

/// What devices are made with.
#[derive(Clone)]
pub struct Tools {
    /// The node's state directory.
    pub dir: StateDir,
    /// Tells gen-1 nodes what to do.
    pub carrier: Arc<dyn Carrier>,
    /// Tells who the node is, and the passwords of its devices.
    pub keeper: Arc<dyn Keeper>,
    /// Where readings come in that others send.
    pub hooks: Hooks,
}

impl Tools {
    /// The context in which a device is made.
    pub(super) fn around<'a>(&'a self, clock: &'a SharedClock) -> Around<'a> {
        Around {
            dir: &self.dir,
            clock,
            carrier: &self.carrier,
            keeper: &self.keeper,
            hooks: &self.hooks,
        }
    }
}
