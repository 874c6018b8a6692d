//! An actuator that is idle and safe as far as this node knows is looked at now and then: where its device says something
//! else, somebody else has moved it, at the machine or by another program. That is told and not undone, for whoever did it may
//! stand there; nothing begins on it from here meanwhile.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::time::sleep;

use super::guard::Guard;
use crate::adapters::devices::{Actuator, Stands};
use crate::domain::base::limits::{ASTRAY_LOOK_EVERY_MS, ASTRAY_LOOK_TWICE_MS};
use crate::node::context::alarms::AlarmKind;

/// What the device of an idle actuator says, a while from now: that it is not in its safe state only where it says so twice
/// in a row.
pub(super) async fn look(driver: &dyn Actuator) -> Stands {
    sleep(Duration::from_millis(ASTRAY_LOOK_EVERY_MS)).await;
    match ask(driver).await {
        Stands::Away(_) => {}
        said => return said,
    }
    sleep(Duration::from_millis(ASTRAY_LOOK_TWICE_MS)).await;
    ask(driver).await
}

/// A driver that panics tells nothing.
async fn ask(driver: &dyn Actuator) -> Stands {
    let said = AssertUnwindSafe(async { driver.stands().await }).catch_unwind();
    said.await.unwrap_or(Stands::Untold)
}

impl Guard {
    /// Notes what the device of an idle actuator says. One that says nothing now is where it was.
    pub(super) fn found(&self, said: Stands) {
        match said {
            Stands::Safe => self.is_astray(None),
            Stands::Away(said) => self.is_astray(Some(said)),
            Stands::Untold => {}
        }
    }

    /// Notes where it is instead of its safe state; `None` where it is there again, or is moved from here.
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
