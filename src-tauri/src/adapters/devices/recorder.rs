//! The twin of a driver: records what it is told.

use std::sync::{Arc, Mutex, PoisonError};

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;

use super::{Actuator, DriverError, Position, unknown};
use crate::domain::capability::Capability;
use crate::domain::gate::Act;

/// A driver that only writes down.
#[derive(Debug, Clone)]
pub(crate) struct Recorder {
    capability: Capability,
    calls: Arc<Mutex<Vec<String>>>,
}

impl Recorder {
    /// An actuator with the operations `open` and `close`.
    pub(crate) fn new(capability: Capability) -> Self {
        Self {
            capability,
            calls: Arc::default(),
        }
    }

    /// Everything it was told, in order.
    pub(crate) fn calls(&self) -> Vec<String> {
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
            Ok(())
        }
        .boxed()
    }

    fn make_safe<'a>(&'a self, job: &'a str) -> BoxFuture<'a, Result<(), DriverError>> {
        async move {
            self.note(format!("safe {job}"));
            Ok(())
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
