//! Actuators. A driver knows nothing of proposals, people or policy; it moves, reads back and makes safe.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;

use crate::domain::base::limits::SAFE_ATTEMPT_MAX_MS;
use crate::domain::base::{DeviceId, Digest};
use crate::domain::capability::{Action, Capability};
use crate::domain::gate::command::Behind;
use crate::domain::gate::{Act, Gen1Command};

/// Why an actuator did not do what it was told.
#[derive(Debug, thiserror::Error)]
pub enum DriverError {
    /// It has no such operation.
    #[error("{target} has no operation {operation:?}; it has {has}")]
    UnknownOperation {
        /// The actuator.
        target: String,
        /// The operation asked for.
        operation: String,
        /// Its operations.
        has: String,
    },
    /// Its command could not be run or said no.
    #[error("{0}")]
    Failed(String),
    /// Its command took too long and was ended.
    #[error("{what} did not end within {limit_ms} ms and was killed")]
    TooSlow {
        /// The command.
        what: String,
        /// The limit.
        limit_ms: u64,
    },
    /// It was told and did not say what came of it: it may have acted.
    #[error("{0}")]
    Unanswered(String),
    /// Its configuration is not usable.
    #[error("{0}")]
    Config(String),
    /// It was to be started from its safe state, and its device says that it is elsewhere.
    #[error("its device says {0:?}: it is not in its safe state, and nothing here has moved it")]
    Astray(String),
}

/// Where an actuator is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Position {
    /// In a word, for example `open`.
    pub position: String,
}

/// What a device says of an actuator that nothing moves from here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stands {
    /// It is in its safe state.
    Safe,
    /// It is not, and where it is instead.
    Away(String),
    /// It does not tell, or cannot be asked now.
    Untold,
}

/// The gen-1 node that acts, and what that node calls the actuator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gen1Place<'a> {
    /// The node.
    pub device: &'a DeviceId,
    /// The actuator's name there.
    pub target: &'a Capability,
}

/// An actuator as a node holds it.
pub type SharedActuator = Arc<dyn Actuator>;

/// One actuator. One caller at a time uses it to move: its guard (`node/guards`). A driver never
/// blocks the thread that polls it; what may take long runs elsewhere.
pub trait Actuator: Send + Sync {
    /// Its capability.
    fn capability(&self) -> &Capability;

    /// Its operations.
    fn operations(&self) -> Vec<String>;

    /// Where it is, if a gen-1 node acts: that needs a person, and tells no more than that it accepted.
    fn gen1(&self) -> Option<Gen1Place<'_>> {
        None
    }

    /// The gen-1 command for an action; `None` where this node acts itself.
    ///
    /// # Errors
    /// If there is no such operation, or a parameter is fixed by the configuration.
    fn gen1_command(&self, action: &Action) -> Result<Option<Gen1Command>, DriverError> {
        let _ = action;
        Ok(None)
    }

    /// The operation that is its safe state; `None` where it does not say.
    fn safe_operation(&self) -> Option<String> {
        None
    }

    /// Digest of its way to make safe: another one under the same name is another actuator, and to make that one
    /// safe does nothing to this one. `None` where the name alone tells.
    fn safe_way(&self) -> Option<Digest> {
        None
    }

    /// Reserves what [`Actuator::make_safe`] will need, before anything moves: a process, memory,
    /// descriptors. An actuator whose way back cannot be reserved is not started.
    fn arm<'a>(&'a self, job: &'a str) -> BoxFuture<'a, Result<(), DriverError>> {
        let _ = job;
        Box::pin(std::future::ready(Ok(())))
    }

    /// Moves the actuator: does what the act says, once. Dropping the future calls it off.
    fn act(&self, act: Act) -> BoxFuture<'_, Result<(), DriverError>>;

    /// Brings the actuator to its safe state; doing it again changes nothing. It needs no act: making safe needs no
    /// approval. `job` names what it is for, for the driver's own records. It succeeds only when nothing that an
    /// earlier, called-off [`Actuator::act`] began can still move it.
    fn make_safe<'a>(&'a self, job: &'a str) -> BoxFuture<'a, Result<(), DriverError>>;

    /// The longest one call of [`Actuator::make_safe`] may take before it counts as failed.
    fn safe_limit(&self) -> Duration {
        Duration::from_millis(SAFE_ATTEMPT_MAX_MS)
    }

    /// Resolves when it can be reached again that could not be, for a driver that knows; then a pause between
    /// attempts to make it safe is over.
    fn back(&self) -> BoxFuture<'_, ()> {
        Box::pin(std::future::pending())
    }

    /// Resolves, with why, when what was started can no longer be told to stop, or may have been stopped by others:
    /// the run is over then and it is made safe. For a driver that knows; asked after [`Actuator::act`] succeeded.
    fn lost(&self) -> BoxFuture<'_, String> {
        Box::pin(std::future::pending())
    }

    /// What its device says of itself, asked while nothing moves it from here.
    fn stands(&self) -> BoxFuture<'_, Stands> {
        Box::pin(std::future::ready(Stands::Untold))
    }

    /// Reads back where it is.
    fn state(&self) -> BoxFuture<'_, Result<Position, DriverError>>;
}

/// Tells a gen-1 node what to do.
pub trait Carrier: Send + Sync {
    /// Says it once and waits for the answer, in all no longer than `limit`. A start is refused at once where the
    /// node cannot be told; for the way back to the safe state it is waited for.
    ///
    /// # Errors
    /// [`DriverError::Failed`] if it was not said or the node refused; [`DriverError::Unanswered`] if it may
    /// have acted.
    fn say<'a>(
        &'a self,
        command: &'a Gen1Command,
        behind: Behind<'a>,
        limit: Duration,
    ) -> BoxFuture<'a, Result<(), DriverError>>;

    /// Resolves when a gen-1 node can be told again that could not be, or over another link.
    fn back<'a>(&'a self, device: &'a DeviceId) -> BoxFuture<'a, ()>;
}

/// The refusal of an operation that an actuator has not.
pub(super) fn unknown(driver: &dyn Actuator, operation: &str) -> DriverError {
    DriverError::UnknownOperation {
        target: driver.capability().to_string(),
        operation: operation.to_owned(),
        has: driver.operations().join(", "),
    }
}
