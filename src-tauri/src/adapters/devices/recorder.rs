//! The twin of a driver: records what it is told, and fails or hangs when asked to.

use std::sync::{Arc, Mutex, PoisonError};

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;

use super::{Actuator, DriverError, Position, unknown};
use crate::domain::capability::Capability;
use crate::domain::gate::Act;

/// How the recorder behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mood {
    /// Does what it is told.
    Works,
    /// Refuses to move, but can be made safe.
    FailsToMove,
    /// Can neither move nor be made safe.
    Dead,
}

/// A driver that only writes down.
#[derive(Debug, Clone)]
pub struct Recorder {
    capability: Capability,
    calls: Arc<Mutex<Vec<String>>>,
    mood: Mood,
}

impl Recorder {
    /// An actuator with the operations `open` and `close`.
    pub fn new(capability: Capability, mood: Mood) -> Self {
        Self {
            capability,
            calls: Arc::default(),
            mood,
        }
    }

    /// Everything it was told, in order.
    pub fn calls(&self) -> Vec<String> {
        self.calls
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn note(&self, what: String) {
        self.calls
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(what);
    }
}

impl Actuator for Recorder {
    fn capability(&self) -> &Capability {
        &self.capability
    }

    fn operations(&self) -> Vec<String> {
        vec!["open".to_owned(), "close".to_owned()]
    }

    fn act(&self, act: Act) -> BoxFuture<'_, Result<(), DriverError>> {
        async move {
            let (action, job) = (act.action(), act.proposal_id().as_str());
            if !self.operations().contains(&action.operation) {
                return Err(unknown(self, &action.operation));
            }
            self.note(format!("{} {job}", action.operation));
            match self.mood {
                Mood::Works => Ok(()),
                Mood::FailsToMove | Mood::Dead => {
                    Err(DriverError::Failed("the motor does not answer".to_owned()))
                }
            }
        }
        .boxed()
    }

    fn make_safe<'a>(&'a self, job: &'a str) -> BoxFuture<'a, Result<(), DriverError>> {
        async move {
            self.note(format!("safe {job}"));
            match self.mood {
                Mood::Dead => Err(DriverError::Failed("the motor does not answer".to_owned())),
                Mood::Works | Mood::FailsToMove => Ok(()),
            }
        }
        .boxed()
    }

    fn state(&self) -> BoxFuture<'_, Result<Position, DriverError>> {
        let open = self.calls().last().is_some_and(|c| c.starts_with("open"));
        let position = if open { "open" } else { "closed" };
        async move {
            Ok(Position {
                position: position.to_owned(),
            })
        }
        .boxed()
    }
}
