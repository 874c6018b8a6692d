//! An actuator that is idle and safe as far as this node knows is looked at now and then: where its device says something
//! else, somebody else has moved it, at the machine or by another program. That is told and not undone, for whoever did it may
//! stand there; nothing begins on it from here meanwhile.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::time::sleep;

use super::guard::Guard;
use crate::adapters::devices::Actuator;
use crate::domain::base::limits::{ASTRAY_LOOK_EVERY_MS, ASTRAY_LOOK_TWICE_MS};
use crate::node::context::alarms::AlarmKind;

/// What the device of an idle actuator says, a while from now, where that is not its safe state twice in a row.
pub(super) async fn look(driver: &dyn Actuator) -> Option<String> {
    sleep(Duration::from_millis(ASTRAY_LOOK_EVERY_MS)).await;
    ask(driver).await?;
    sleep(Duration::from_millis(ASTRAY_LOOK_TWICE_MS)).await;
    ask(driver).await
}

/// A driver that panics tells nothing.
async fn ask(driver: &dyn Actuator) -> Option<String> {
    let said = AssertUnwindSafe(async { driver.astray().await }).catch_unwind();
    said.await.ok()?
}

impl Guard {
    /// Notes what the device of an idle actuator says, or that it is where it should be or moved from here.
    pub(super) fn is_astray(&self, said: Option<String>) {
        if said.is_none() && self.view.borrow().astray.is_none() {
            return;
        }
        let (kind, target) = (AlarmKind::ActuatorAstray, self.driver.capability());
        match &said {
            None => drop(self.alarms.clear(kind, target.as_str())),
            Some(said) => {
                let message = format!(
                    "{target} was in its safe state, nothing here has moved it since, and its device says {said:?} now"
                );
                let advice = "find out who moved it; nothing begins on it from here until its device says that it is back, or \
                              its safe operation is approved";
                let now = self.clock.now();
                self.alarms
                    .raise(kind, target.as_str(), &message, advice, now);
            }
        }
        self.view.send_modify(|view| view.astray = said);
    }
}
