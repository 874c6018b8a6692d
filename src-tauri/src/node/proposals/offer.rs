//! What this node offers others: what its configuration adds, its actuators, the sequences of the policy in force whose
//! actuators it has, and its shared models. It changes with the devices and with the policy.

use super::Executor;
use crate::domain::policy::Policy;
use crate::node::config::Config;
use crate::node::guards::Guards;
use crate::node::links::offers::Offer;

/// What a node with this configuration offers by these guards and this policy.
pub fn offer(config: &Config, guards: &Guards, policy: &Policy) -> Offer {
    let mut actuators = guards.capabilities();
    let mut all = config.capabilities.clone();
    all.extend(actuators.iter().cloned());
    for sequence in policy.sequences() {
        let whole = sequence.steps.iter().all(|step| guards.has(&step.actuator));
        if whole && !actuators.contains(&sequence.capability) {
            all.push(sequence.capability.clone());
            actuators.push(sequence.capability.clone());
        }
    }
    all.extend(config.models.all.iter().filter_map(|m| m.offered()));
    Offer { all, actuators }
}

impl Executor {
    /// The devices or the policy have changed: others are told if what this node offers is another now.
    pub fn offer_again(&self) {
        let offer = offer(&self.config, &self.guards, &self.policy.current());
        if self.known.own.becomes(offer) {
            let frames = self.frames.clone();
            self.tasks.passing("offers", async move {
                frames.known.own.tell_all(&frames.links).await;
            });
        }
    }
}
