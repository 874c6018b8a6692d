//! The `gen1` driver: an actuator of a gen-1 node, which acts when it is told over the mesh. It says at
//! most that it accepted; whether it moved is never known here.
//!
//! How it is told is the node's business ([`Carrier`]). A start is said once, whatever becomes of it;
//! only the way back to the safe state is said again.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;

use super::{Actuator, DriverError, Position, unknown};
use crate::domain::base::DeviceId;
use crate::domain::capability::{Action, Capability, Params};
use crate::domain::gate::command::Behind;
use crate::domain::gate::{Act, Gen1Command};

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

/// One operation, as the gen-1 node knows it.
#[derive(Debug, Clone)]
pub struct Gen1Operation {
    /// Its name here.
    pub name: String,
    /// Its name there.
    pub send: String,
    /// Parameters that always go along.
    pub params: Params,
}

/// An actuator of a gen-1 node.
#[derive(Debug, Clone)]
pub struct Gen1Config {
    /// What it is called here.
    pub capability: Capability,
    /// The gen-1 node.
    pub device: DeviceId,
    /// What it is called there.
    pub target: Capability,
    /// The operation that is its safe state.
    pub safe: String,
    /// The longest it may take to answer, in milliseconds.
    pub timeout_ms: u64,
    /// What it can do.
    pub operations: Vec<Gen1Operation>,
}

/// See [`Gen1Config`].
pub struct Gen1Driver {
    config: Gen1Config,
    operations: BTreeMap<String, Gen1Operation>,
    carrier: Arc<dyn Carrier>,
    last: Mutex<Option<String>>,
}

impl fmt::Debug for Gen1Driver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Gen1Driver").field(&self.config).finish()
    }
}

impl Gen1Driver {
    /// A driver, its configuration checked.
    ///
    /// # Errors
    /// [`DriverError::Config`] naming what is wrong.
    pub fn new(config: Gen1Config, carrier: Arc<dyn Carrier>) -> Result<Self, DriverError> {
        let bad = |why: String| Err(DriverError::Config(why));
        if !config.target.is_actuator() {
            return bad(format!(
                "target {:?} must begin with actuator:, as the gen-1 node calls it",
                config.target.as_str()
            ));
        }
        let mut operations = BTreeMap::new();
        for operation in &config.operations {
            let sent = Action::new(
                config.target.clone(),
                &operation.send,
                operation.params.clone(),
            );
            if let Err(error) = sent {
                return bad(format!("operation {}: {error}", operation.name));
            }
            let name = operation.name.clone();
            if operations.insert(name, operation.clone()).is_some() {
                return bad(format!("operation {} is listed twice", operation.name));
            }
        }
        if !operations.contains_key(&config.safe) {
            return bad(format!(
                "safe = {:?} must be one of its operations",
                config.safe
            ));
        }
        Ok(Self {
            config,
            operations,
            carrier,
            last: Mutex::default(),
        })
    }

    /// The gen-1 node.
    pub fn device(&self) -> &DeviceId {
        &self.config.device
    }

    /// What the gen-1 node calls it.
    pub fn target(&self) -> &Capability {
        &self.config.target
    }

    /// What the gen-1 node is told for an action.
    ///
    /// # Errors
    /// If there is no such operation, or a parameter is fixed by the configuration.
    pub fn command(&self, action: &Action) -> Result<Gen1Command, DriverError> {
        let operation = self
            .operations
            .get(&action.operation)
            .ok_or_else(|| unknown(self, &action.operation))?;
        let mut params = action.params.clone();
        for (name, value) in &operation.params {
            if params.insert(name.clone(), value.clone()).is_some() {
                return Err(DriverError::Failed(format!(
                    "parameter {name} of {} is fixed by the configuration; leave it out",
                    operation.name
                )));
            }
        }
        let action = Action::new(self.config.target.clone(), &operation.send, params);
        Ok(Gen1Command {
            device_id: self.config.device.clone(),
            action: action.map_err(|e| DriverError::Failed(e.to_string()))?,
        })
    }

    async fn say(&self, action: &Action, behind: Behind<'_>) -> Result<(), DriverError> {
        let command = self.command(action)?;
        self.is_after(format!("{} not answered yet", action.operation));
        let said = self.carrier.say(&command, behind, self.limit()).await;
        self.is_after(match &said {
            Ok(()) => format!("{} accepted", action.operation),
            Err(DriverError::Unanswered(_)) => format!("{} not answered", action.operation),
            Err(_) => "not known".to_owned(),
        });
        said
    }

    fn is_after(&self, what: String) {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(what);
    }

    fn limit(&self) -> Duration {
        Duration::from_millis(self.config.timeout_ms)
    }

    async fn secure(&self) -> Result<(), DriverError> {
        let target = self.config.capability.clone();
        let safe = Action::new(target, &self.config.safe, Params::new());
        let safe = safe.map_err(|e| DriverError::Failed(e.to_string()))?;
        self.say(&safe, Behind::Safety).await
    }
}

impl Actuator for Gen1Driver {
    fn capability(&self) -> &Capability {
        &self.config.capability
    }

    fn operations(&self) -> Vec<String> {
        self.operations.keys().cloned().collect()
    }

    fn gen1(&self) -> Option<&Gen1Driver> {
        Some(self)
    }

    fn act(&self, act: Act) -> BoxFuture<'_, Result<(), DriverError>> {
        async move { self.say(act.action(), Behind::Act(&act)).await }.boxed()
    }

    fn make_safe<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<(), DriverError>> {
        self.secure().boxed()
    }

    fn back(&self) -> BoxFuture<'_, ()> {
        self.carrier.back(self.device())
    }

    fn safe_limit(&self) -> Duration {
        self.limit() + Duration::from_millis(500)
    }

    fn state(&self) -> BoxFuture<'_, Result<Position, DriverError>> {
        let last = self
            .last
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let position = last.unwrap_or_else(|| "not known".to_owned());
        async move { Ok(Position { position }) }.boxed()
    }
}
