//! Commands on Windows: those that print a reading.
//!
//! None that move. A command may leave a process behind that outlives it and moves the actuator after the safe command; on
//! Unix its process group finds that, and a standby ends it where this process was killed. Here it takes a job object, for
//! which there are no safe functions: `taskkill /T` finds the children of a process that still runs and no others.

pub(super) mod printed;

use futures_util::future::BoxFuture;

use super::ExecConfig;
use crate::adapters::devices::{Actuator, DriverError, Position};
use crate::domain::capability::Capability;
use crate::domain::gate::Act;

/// An actuator of commands, of which there are none.
pub(crate) enum ExecDriver {}

impl ExecDriver {
    /// Refuses.
    ///
    /// # Errors
    /// Always: [`DriverError::Config`] with what to use instead.
    pub(crate) fn new(config: ExecConfig) -> Result<Self, DriverError> {
        Err(DriverError::Config(format!(
            "{}: on Windows no command may move anything, for what it leaves running could not be found and ended; use the kinds \
             mqtt, modbus, http or file, or run this actuator from a node on Linux",
            config.capability
        )))
    }
}

impl Actuator for ExecDriver {
    fn capability(&self) -> &Capability {
        match *self {}
    }

    fn operations(&self) -> Vec<String> {
        match *self {}
    }

    fn act(&self, _: Act) -> BoxFuture<'_, Result<(), DriverError>> {
        match *self {}
    }

    fn make_safe<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<(), DriverError>> {
        match *self {}
    }

    fn state(&self) -> BoxFuture<'_, Result<Position, DriverError>> {
        match *self {}
    }
}
