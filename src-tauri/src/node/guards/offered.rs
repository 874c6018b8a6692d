//! What others may know of the actuators: names, operations, positions, where they are. Nothing here moves one.

use super::Guards;
use super::moved::Far;
use crate::adapters::devices::{Actuator, DriverError, SharedActuator};
use crate::domain::base::{DeviceId, Digest};
use crate::domain::capability::{Action, Capability};
use crate::domain::gate::Gen1Command;
use crate::domain::policy::Offered;

impl Guards {
    fn actuator(&self, target: &Capability) -> Option<SharedActuator> {
        self.handle(target).map(|handle| handle.actuator.clone())
    }

    fn actuators(&self) -> Vec<(Capability, SharedActuator)> {
        let all = self.handles().into_iter();
        all.map(|(target, handle)| (target, handle.actuator.clone()))
            .collect()
    }

    /// What the actuators are called.
    pub fn capabilities(&self) -> Vec<Capability> {
        self.each().handles.keys().cloned().collect()
    }

    /// Whether the node has an actuator.
    pub fn has(&self, target: &Capability) -> bool {
        self.each().handles.contains_key(target)
    }

    /// What an actuator can do; nothing if the node does not have it.
    pub fn operations(&self, target: &Capability) -> Vec<String> {
        let actuator = self.actuator(target);
        actuator.map_or_else(Vec::new, |actuator| actuator.operations())
    }

    /// The actuators as a policy is compared with them.
    pub fn offered(&self) -> Vec<Offered> {
        let offered = |(target, actuator): (Capability, SharedActuator)| Offered {
            capability: target,
            operations: actuator.operations(),
            safe: actuator.safe_operation(),
            by_gen1: actuator.gen1().is_some(),
        };
        self.actuators().into_iter().map(offered).collect()
    }

    /// Whether an action is what its driver does to make its actuator safe.
    pub fn makes_safe(&self, action: &Action) -> bool {
        let actuator = self.actuator(&action.target);
        let safe = actuator.and_then(|actuator| actuator.safe_operation());
        safe.is_some_and(|safe| safe == action.operation)
    }

    /// Asks an actuator's driver where it is, in a word. `None` if the node does not have it.
    pub async fn position(&self, target: &Capability) -> Option<Result<String, DriverError>> {
        let actuator = self.actuator(target)?;
        let state = actuator.state().await;
        Some(state.map(|state| state.position))
    }

    /// Where an actuator is on which a gen-1 node acts; `None` for every other.
    pub fn gen1(&self, target: &Capability) -> Option<Far> {
        let actuator = self.actuator(target)?;
        actuator.gen1().map(|far| Far {
            device: far.device.clone(),
            target: far.target.clone(),
        })
    }

    /// What a gen-1 node would be told for an action; `None` where this node acts itself.
    ///
    /// # Errors
    /// If it would not be told.
    pub fn gen1_command(&self, action: &Action) -> Result<Option<Gen1Command>, DriverError> {
        let actuator = self.actuator(&action.target);
        actuator.map_or(Ok(None), |actuator| actuator.gen1_command(action))
    }

    /// The actuators on which this gen-1 node acts.
    pub fn behind(&self, device: &DeviceId) -> Vec<Capability> {
        let acts =
            |actuator: &dyn Actuator| actuator.gen1().is_some_and(|far| far.device == device);
        let all = self.actuators().into_iter();
        let fit = all.filter(|(_, actuator)| acts(actuator.as_ref()));
        fit.map(|(target, _)| target).collect()
    }

    /// What it means that an actuator is confirmed safe, in a sentence: a gen-1 node confirms less.
    pub fn safe_in_words(&self, target: &Capability) -> String {
        match self.gen1(target) {
            None => format!("{target} is in its safe state"),
            Some(far) => format!(
                "the gen-1 node {} has accepted the way of {target} to its safe state, and does not say whether \
                 it is there",
                far.device.short()
            ),
        }
    }

    /// What an actuator does to make safe; see [`Actuator::safe_way`].
    pub(super) fn safe_way(&self, target: &Capability) -> Option<Digest> {
        self.actuator(target)?.safe_way()
    }
}
