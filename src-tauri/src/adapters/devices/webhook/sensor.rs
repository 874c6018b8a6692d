//! A reading of a hook, as the node reads it: one value at a time, in the order in which they came.

use std::sync::Arc;

use tokio::sync::{Notify, oneshot};

use super::Hooks;
use super::hook::Hook;
use crate::adapters::clock::SharedClock;
use crate::adapters::devices::point::Meter;
use crate::adapters::devices::{Reading, Sensor, SensorError};
use crate::domain::base::TimeMs;
use crate::domain::base::limits::{HOOK_APART_MS, HOOK_FRESH_MS, HOOK_SAME_MS};
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
    /// When the last value was measured whose time was said, on a clock that never steps.
    pub measured_ms: Option<u64>,
    /// Who waits until the last value is kept.
    pub owed: Option<oneshot::Sender<Result<(), String>>>,
}

impl HookSensor {
    /// Why a value of this age is not believed.
    fn doubt(&self, age_ms: Option<u64>) -> Option<Doubt> {
        let Some(age_ms) = age_ms else {
            return Some(Doubt::AgeUnknown);
        };
        match self.meter.late(u64::MAX) {
            Some(_) => self.meter.late(age_ms),
            None => (age_ms > HOOK_FRESH_MS).then_some(Doubt::Late { since_ms: age_ms }),
        }
    }

    /// When a value of this age was measured. Several of the same second come in the order in which they were sent.
    fn measured(&mut self, age_ms: u64, now_ms: u64) -> u64 {
        let said_ms = now_ms.saturating_sub(age_ms);
        let after_ms = self.measured_ms.map_or(0, |last| last + HOOK_APART_MS);
        let same = said_ms < after_ms && after_ms - said_ms <= HOOK_SAME_MS;
        let at_ms = match same {
            true => after_ms.min(now_ms),
            false => said_ms,
        };
        self.measured_ms = Some(at_ms);
        at_ms
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
        let waited_ms = now_ms.saturating_sub(sent.at_ms);
        let age_ms = sent.age_ms.map(|age| age.saturating_add(waited_ms));
        let doubt = self.doubt(age_ms);
        self.owed = Some(sent.done);
        let read = match age_ms.filter(|_| sent.timed) {
            Some(age_ms) => {
                let at_ms = self.measured(age_ms, now_ms);
                self.meter.read_of(sent.raw, doubt, at_ms, now_ms)
            }
            None => self.meter.read(sent.raw, doubt, now_ms),
        };
        if let Err(why) = &read {
            self.answer(Err(why.to_string()));
        }
        read
    }
}
