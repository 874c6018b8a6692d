//! A reading of a hook, as the node reads it: one value at a time, in the order in which they came.

use std::sync::Arc;

use tokio::sync::{Notify, oneshot};

use super::Hooks;
use super::hook::{Hook, Sent};
use crate::adapters::clock::SharedClock;
use crate::adapters::devices::point::Meter;
use crate::adapters::devices::{Reading, Sensor, SensorError};
use crate::domain::base::TimeMs;
use crate::domain::base::limits::HOOK_FRESH_MS;
use crate::domain::base::quantity::span;
use crate::domain::quality::Doubt;

/// One reading of a hook.
pub(super) struct HookSensor {
    pub name: String,
    pub hooks: Hooks,
    pub hook: Arc<Hook>,
    /// Its place among the readings of the hook.
    pub at: usize,
    pub news: Arc<Notify>,
    pub meter: Meter,
    pub clock: SharedClock,
    /// Who waits until the last value is kept.
    pub owed: Option<oneshot::Sender<Result<(), String>>>,
}

impl HookSensor {
    /// Why a value of this age is not believed.
    fn doubt(&self, sent: &Sent, now_ms: u64) -> Option<Doubt> {
        let Some(age_ms) = sent.age_ms else {
            return Some(Doubt::AgeUnknown);
        };
        let age_ms = age_ms.saturating_add(now_ms.saturating_sub(sent.at_ms));
        match self.meter.late(u64::MAX) {
            Some(_) => self.meter.late(age_ms),
            None => (age_ms > HOOK_FRESH_MS).then_some(Doubt::Late { since_ms: age_ms }),
        }
    }

    fn answer(&mut self, kept: Result<(), String>) {
        if let Some(owed) = self.owed.take() {
            // The sender may have left.
            let _ = owed.send(kept);
        }
    }
}

impl Sensor for HookSensor {
    fn name(&self) -> &str {
        &self.name
    }

    fn meter(&self) -> Option<&Meter> {
        Some(&self.meter)
    }

    fn news(&self) -> Option<Arc<Notify>> {
        Some(self.news.clone())
    }

    fn is_sent(&self) -> bool {
        true
    }

    fn untold(&mut self) {
        self.meter.untold();
        self.answer(Err(
            "the node could not keep it; its log says why".to_owned()
        ));
    }

    fn told(&mut self) {
        self.answer(Ok(()));
    }

    fn read(&mut self, _: TimeMs) -> Result<Vec<Reading>, SensorError> {
        self.hooks.open(&self.hook);
        let now_ms = self.clock.steady_ms();
        let Some(sent) = self.hook.next(self.at).map_err(SensorError)? else {
            // Without a token nothing can come.
            self.hook.token().map_err(SensorError)?;
            return match self.meter.silent_ms(now_ms) {
                Some(silent) => {
                    let (path, silent) = (self.hook.path(), span(silent));
                    Err(SensorError(format!(
                        "nothing was sent to {path} for {silent}"
                    )))
                }
                None => Ok(Vec::new()),
            };
        };
        let doubt = self.doubt(&sent, now_ms);
        self.owed = Some(sent.done);
        let read = self.meter.read(sent.raw, doubt, now_ms);
        if let Err(why) = &read {
            self.answer(Err(why.to_string()));
        }
        read
    }
}
