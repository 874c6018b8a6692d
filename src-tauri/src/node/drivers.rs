//! The actuators of this node and the drivers that move them.

use std::collections::BTreeMap;

use crate::adapters::devices::{DriverError, Gen1Place, SharedActuator};
use crate::domain::base::DeviceId;
use crate::domain::capability::{Action, Capability};
use crate::domain::gate::Gen1Command;
use crate::domain::policy::Offered;

/// Every actuator of this node.
#[derive(Default, Clone)]
pub struct Drivers(BTreeMap<Capability, SharedActuator>);

impl Drivers {
    /// The drivers, one per capability.
    pub fn new(drivers: Vec<SharedActuator>) -> Self {
        Self(
            drivers
                .into_iter()
                .map(|d| (d.capability().clone(), d))
                .collect(),
        )
    }

    /// The driver of an actuator.
    pub fn get(&self, target: &Capability) -> Option<SharedActuator> {
        self.0.get(target).cloned()
    }

    /// The driver of an actuator on which a gen-1 node acts; `None` for every other.
    pub fn gen1(&self, target: &Capability) -> Option<Gen1Place<'_>> {
        self.0.get(target)?.gen1()
    }

    /// What a gen-1 node would be told for an action; `None` where this node acts itself.
    ///
    /// # Errors
    /// If it would not be told.
    pub fn gen1_command(&self, action: &Action) -> Result<Option<Gen1Command>, DriverError> {
        let driver = self.0.get(&action.target);
        driver.map_or(Ok(None), |driver| driver.gen1_command(action))
    }

    /// The actuators on which this gen-1 node acts.
    pub fn behind(&self, device: &DeviceId) -> Vec<Capability> {
        let acts = |d: &&SharedActuator| d.gen1().is_some_and(|far| far.device == device);
        let each = self.0.values().filter(acts);
        each.map(|d| d.capability().clone()).collect()
    }

    /// What it means that an actuator is confirmed safe, in a sentence: a gen-1 node confirms less.
    pub fn safe_in_words(&self, target: &Capability) -> String {
        match self.gen1(target) {
            None => format!("{target} is in its safe state"),
            Some(driver) => format!(
                "the gen-1 node {} has accepted the way of {target} to its safe state, and does not say whether \
                 it is there",
                driver.device.short()
            ),
        }
    }

    /// All drivers.
    pub fn all(&self) -> Vec<SharedActuator> {
        self.0.values().cloned().collect()
    }

    /// What they are called.
    pub fn capabilities(&self) -> Vec<Capability> {
        self.0.keys().cloned().collect()
    }

    /// The actuators as a policy is compared with them.
    pub fn offered(&self) -> Vec<Offered> {
        let offered = |(target, driver): (&Capability, &SharedActuator)| Offered {
            capability: target.clone(),
            operations: driver.operations(),
            by_gen1: driver.gen1().is_some(),
        };
        self.0.iter().map(offered).collect()
    }
}
