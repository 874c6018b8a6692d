//! What a simulated host has besides network and disk: a clock that is wrong, a valve, a sensor.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use clawmesh::adapters::clock::Clock;
use clawmesh::adapters::devices::{Actuator, DriverError, Position};
use clawmesh::adapters::devices::{Reading, Sensor, SensorError};
use clawmesh::domain::base::TimeMs;
use clawmesh::domain::capability::Capability;
use clawmesh::domain::gate::Act;
use futures_util::future::BoxFuture;

use crate::disk::Power;
use crate::network::BEGINNING_MS;
use crate::rng::{Rng, Trace};

/// Virtual time plus an error of its own.
pub struct SimClock {
    pub trace: Trace,
    pub error_ms: AtomicI64,
}

impl Clock for SimClock {
    fn now(&self) -> TimeMs {
        let now = BEGINNING_MS + self.trace.now_ms();
        TimeMs(now.saturating_add_signed(self.error_ms.load(Ordering::Relaxed)))
    }

    fn steady_ms(&self) -> u64 {
        self.trace.now_ms()
    }
}

/// One physical event.
#[derive(Debug, Clone, PartialEq)]
pub struct Stroke {
    pub at_ms: u64,
    pub node: usize,
    /// Which actuator.
    pub target: String,
    pub job: String,
    pub opens: bool,
    pub seconds: u64,
}

/// The real world: what crashes of nodes do not erase.
pub type Strokes = Arc<Mutex<Vec<Stroke>>>;

#[derive(Clone)]
pub struct Valve {
    pub capability: Capability,
    pub node: usize,
    pub strokes: Strokes,
    pub rng: Rng,
    pub trace: Trace,
    pub power: Arc<Power>,
}

impl Valve {
    /// One step of the host; never returns where its power has failed.
    async fn step(&self) {
        if !self.power.step() {
            std::future::pending::<()>().await;
        }
    }

    fn stroke(&self, job: &str, opens: bool, seconds: u64) {
        let what = if opens { "opens" } else { "closes" };
        let target = self.capability.as_str();
        self.trace
            .note(format!("{target} of n{} {what} {job}", self.node));
        self.strokes.lock().unwrap().push(Stroke {
            at_ms: self.trace.now_ms(),
            node: self.node,
            target: self.capability.as_str().to_owned(),
            job: job.to_owned(),
            opens,
            seconds,
        });
    }
}

impl Actuator for Valve {
    fn capability(&self) -> &Capability {
        &self.capability
    }

    fn operations(&self) -> Vec<String> {
        vec!["open".into(), "close".into()]
    }

    fn act(&self, act: Act) -> BoxFuture<'_, Result<(), DriverError>> {
        Box::pin(async move {
            let (action, job) = (act.action(), act.proposal_id().as_str());
            if self.rng.chance(10) {
                tokio::time::sleep(Duration::from_millis(self.rng.below(3_000))).await;
            }
            self.step().await;
            let seconds = serde_json::to_value(action.params.get("durationSec"));
            let seconds = seconds.ok().and_then(|v| v.as_u64()).unwrap_or(0);
            self.stroke(job, action.operation == "open", seconds);
            self.step().await;
            match self.rng.chance(5) {
                true => Err(DriverError::Failed("simulated".into())),
                false => Ok(()),
            }
        })
    }

    fn make_safe<'a>(&'a self, job: &'a str) -> BoxFuture<'a, Result<(), DriverError>> {
        Box::pin(async move {
            if self.rng.chance(5) {
                return Err(DriverError::Failed("simulated".into()));
            }
            self.step().await;
            self.stroke(job, false, 0);
            self.step().await;
            Ok(())
        })
    }

    fn state(&self) -> BoxFuture<'_, Result<Position, DriverError>> {
        let last = self
            .strokes
            .lock()
            .unwrap()
            .iter()
            .rev()
            .find(|s| s.node == self.node && s.target == self.capability.as_str())
            .cloned();
        let position = if last.is_some_and(|s| s.opens) {
            "open"
        } else {
            "closed"
        };
        Box::pin(async move {
            Ok(Position {
                position: position.to_owned(),
            })
        })
    }
}

/// A reading that wanders within a wet or a dry world.
pub struct Soil {
    pub rng: Rng,
    pub dry: bool,
}

/// Below this the soil counts as dry.
pub const DRY: f64 = 30.0;

impl Sensor for Soil {
    fn name(&self) -> &'static str {
        "soil"
    }

    fn read(&mut self, _now: TimeMs) -> Result<Vec<Reading>, SensorError> {
        let value = f64::from(u32::try_from(self.rng.below(25)).unwrap());
        let value = if self.dry { value } else { value + 50.0 };
        Ok(vec![Reading::new("moisture", "zone-1", value, "%")])
    }
}
