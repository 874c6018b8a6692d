//! The `sim` driver: the valve and the pump of the simulated kit.

use std::sync::Arc;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;

use super::kit::{Part, SimKit};
use crate::adapters::devices::{Actuator, DriverError, Position, unknown};
use crate::domain::capability::Capability;
use crate::domain::gate::Act;
use crate::domain::policy::Offered;

/// The parameter the node itself acts on; the kit has no others.
const DURATION: &str = "durationSec";

/// One part of the kit as an actuator.
pub(crate) struct SimDriver {
    kit: Arc<SimKit>,
    part: Part,
    capability: Capability,
}

fn parts() -> impl Iterator<Item = (Part, Capability)> {
    let named = |part: Part| {
        let capability = format!("actuator:mock:{}", part.name()).parse().ok()?;
        Some((part, capability))
    };
    [Part::Valve, Part::Pump].into_iter().filter_map(named)
}

/// The operations that move a part away from its safe state and back.
fn names(part: Part) -> (&'static str, &'static str) {
    match part {
        Part::Valve => ("open", "close"),
        Part::Pump => ("start", "stop"),
    }
}

fn operations(part: Part) -> Vec<String> {
    let (on, off) = names(part);
    vec![on.to_owned(), off.to_owned()]
}

impl SimDriver {
    /// The kit's actuators: `actuator:mock:valve-1` and `actuator:mock:pump-1`.
    pub(crate) fn all(kit: &Arc<SimKit>) -> Vec<SimDriver> {
        let driver = |(part, capability)| SimDriver {
            kit: kit.clone(),
            part,
            capability,
        };
        parts().map(driver).collect()
    }

    /// Their names and operations.
    pub(crate) fn offers() -> Vec<Offered> {
        let offered = |(part, capability)| Offered {
            capability,
            operations: operations(part),
            safe: Some(names(part).1.to_owned()),
            by_gen1: false,
        };
        parts().map(offered).collect()
    }

    async fn set(&self, on: bool, job: &str) -> Result<(), DriverError> {
        let (kit, part, job) = (self.kit.clone(), self.part, job.to_owned());
        tokio::task::spawn_blocking(move || kit.set(part, on, &job))
            .await
            .map_err(|e| DriverError::Failed(e.to_string()))?
            .map(drop)
            .map_err(|e| DriverError::Failed(e.to_string()))
    }
}

impl Actuator for SimDriver {
    fn capability(&self) -> &Capability {
        &self.capability
    }

    fn safe_operation(&self) -> Option<String> {
        Some(names(self.part).1.to_owned())
    }

    fn operations(&self) -> Vec<String> {
        operations(self.part)
    }

    fn act(&self, act: Act) -> BoxFuture<'_, Result<(), DriverError>> {
        let (on, off) = names(self.part);
        async move {
            let (action, job) = (act.action(), act.proposal_id().as_str());
            let strange = action.params.keys().find(|name| *name != DURATION);
            if let Some(name) = strange {
                return Err(DriverError::Failed(format!(
                    "{} has no parameter {name:?}; leave it out, or use {DURATION}",
                    self.capability
                )));
            }
            match action.operation.as_str() {
                op if op == on => self.set(true, job).await,
                op if op == off => self.set(false, job).await,
                op => Err(unknown(self, op)),
            }
        }
        .boxed()
    }

    fn make_safe<'a>(&'a self, job: &'a str) -> BoxFuture<'a, Result<(), DriverError>> {
        self.set(false, job).boxed()
    }

    fn state(&self) -> BoxFuture<'_, Result<Position, DriverError>> {
        let (kit, part) = (self.kit.clone(), self.part);
        // The kit's lock is held while it writes to disk, which is no wait for an async thread.
        async move {
            let plant = tokio::task::spawn_blocking(move || kit.look())
                .await
                .map_err(|e| DriverError::Failed(e.to_string()))?;
            let position = match part {
                Part::Valve if plant.valve_open => "open",
                Part::Valve => "closed",
                Part::Pump if plant.pump_running => "running",
                Part::Pump => "stopped",
            };
            Ok(Position {
                position: position.to_owned(),
            })
        }
        .boxed()
    }
}
