//! The actuators of this node and the drivers that move them, from the configuration.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::adapters::executor::Driver;
use crate::domain::capability::Capability;

/// A driver as the node holds it.
pub type SharedDriver = Arc<dyn Driver>;

/// Every actuator of this node.
#[derive(Default, Clone)]
pub struct Drivers(BTreeMap<Capability, SharedDriver>);

impl Drivers {
    /// The drivers, one per capability.
    pub fn new(drivers: Vec<SharedDriver>) -> Self {
        Self(
            drivers
                .into_iter()
                .map(|d| (d.capability().clone(), d))
                .collect(),
        )
    }

    /// The driver of an actuator.
    pub fn get(&self, target: &Capability) -> Option<SharedDriver> {
        self.0.get(target).cloned()
    }

    /// All drivers.
    pub fn all(&self) -> Vec<SharedDriver> {
        self.0.values().cloned().collect()
    }

    /// What they are called.
    pub fn capabilities(&self) -> Vec<Capability> {
        self.0.keys().cloned().collect()
    }
}
