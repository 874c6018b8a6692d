//! The `gen1` driver: an actuator of a gen-1 node, which acts when it is told over the mesh. It says at
//! most that it accepted; whether it moved is never known here.
//!
//! How it is told is the node's business ([`Carrier`]). A start is sent once, whatever its result; only
//! the way back to the safe state is repeated.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;

use serde::Deserialize;
use toml::Table;

use super::config::{KindKey, actuator, offered, settings, timeout_ms};
use super::registry::{Around, Kind, Made, Settings};
use super::rescue::Ground;
use super::{
    Actuator, Carrier, DeviceError, DriverError, Gen1Place, Position, SharedActuator, unknown,
};
use crate::domain::base::{DeviceId, Digest};
use crate::domain::capability::{Action, Capability, Params, read_params};
use crate::domain::gate::command::Behind;
use crate::domain::gate::{Act, Gen1Command};
use crate::domain::policy::Offered;

/// Actuators of gen-1 nodes.
pub(crate) const KIND: Kind = Kind {
    name: "gen1",
    once: false,
    read: settings::<Gen1>,
    rescue,
};

/// An actuator of a gen-1 node, as the configuration has it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Gen1 {
    #[serde(rename = "kind", alias = "driver", default)]
    _kind: KindKey,
    /// Its name here.
    capability: String,
    /// The device id of the gen-1 node.
    device: String,
    /// The actuator's name at the gen-1 node.
    target: String,
    /// The operation that is its safe state.
    safe: String,
    /// The longest an answer of the gen-1 node may take, in seconds.
    timeout_sec: Option<u64>,
    /// Its operations.
    operation: Vec<Operation>,
}

/// One operation, as the configuration has it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Operation {
    /// Its name here.
    name: String,
    /// Its name at the gen-1 node; the same where absent.
    send: Option<String>,
    /// Parameters that always go along.
    #[serde(default, deserialize_with = "read_params")]
    params: Params,
}

impl Settings for Gen1 {
    fn subject(&self) -> &str {
        &self.capability
    }

    fn offers(&self) -> Vec<Offered> {
        let names = self.operation.iter().map(|o| &o.name);
        offered(&self.capability, names, &self.safe, true)
    }

    fn make(&self, around: &Around<'_>) -> Result<Made, DeviceError> {
        let bad = |key: &str, why: String| DeviceError::Config(format!("{key}: {why}"));
        let capability = actuator(&self.capability, self.operation.iter().map(|o| &o.name))?;
        let operations = self.operation.iter().map(|o| Gen1Operation {
            name: o.name.clone(),
            send: o.send.clone().unwrap_or_else(|| o.name.clone()),
            params: o.params.clone(),
        });
        let (device, target) = (self.device.parse(), self.target.parse());
        let config = Gen1Config {
            capability,
            device: device.map_err(|e| bad("device", format!("{e}")))?,
            target: target.map_err(|e| bad("target", format!("{e}")))?,
            safe: self.safe.clone(),
            timeout_ms: timeout_ms(self.timeout_sec),
            operations: operations.collect(),
        };
        let driver = Gen1Driver::new(config, around.carrier.clone());
        let driver = driver.map_err(|e| DeviceError::Config(e.to_string()))?;
        Ok(Made {
            actuators: vec![Arc::new(driver)],
            sensors: Vec::new(),
        })
    }
}

fn rescue(_: &Table, _: &Ground<'_>) -> Result<Vec<SharedActuator>, String> {
    Err("it is at a gen-1 node, and a node that does not start reaches nobody".to_owned())
}

/// One operation, as the gen-1 node knows it.
#[derive(Debug, Clone)]
pub(crate) struct Gen1Operation {
    /// Its name here.
    pub name: String,
    /// Its name there.
    pub send: String,
    /// Parameters that always go along.
    pub params: Params,
}

/// An actuator of a gen-1 node.
#[derive(Debug, Clone)]
pub(crate) struct Gen1Config {
    /// Its name here.
    pub capability: Capability,
    /// The gen-1 node.
    pub device: DeviceId,
    /// Its name there.
    pub target: Capability,
    /// The operation that is its safe state.
    pub safe: String,
    /// The longest it may take to answer, in milliseconds.
    pub timeout_ms: u64,
    /// Its operations.
    pub operations: Vec<Gen1Operation>,
}

/// See [`Gen1Config`].
pub(crate) struct Gen1Driver {
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
    pub(crate) fn new(config: Gen1Config, carrier: Arc<dyn Carrier>) -> Result<Self, DriverError> {
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
                return bad(format!("operation.send of {}: {error}", operation.name));
            }
            let name = operation.name.clone();
            if operations.insert(name, operation.clone()).is_some() {
                return bad(format!(
                    "operation.name: {} is listed twice",
                    operation.name
                ));
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

    fn command(&self, action: &Action) -> Result<Gen1Command, DriverError> {
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

    fn safe_operation(&self) -> Option<String> {
        Some(self.config.safe.clone())
    }

    fn operations(&self) -> Vec<String> {
        self.operations.keys().cloned().collect()
    }

    fn gen1(&self) -> Option<Gen1Place<'_>> {
        Some(Gen1Place {
            device: &self.config.device,
            target: &self.config.target,
        })
    }

    fn gen1_command(&self, action: &Action) -> Result<Option<Gen1Command>, DriverError> {
        self.command(action).map(Some)
    }

    fn act(&self, act: Act) -> BoxFuture<'_, Result<(), DriverError>> {
        async move { self.say(act.action(), Behind::Act(&act)).await }.boxed()
    }

    fn safe_way(&self) -> Option<Digest> {
        // The command as the gen-1 node gets it, independent of names here.
        let safe = self.operations.get(&self.config.safe)?;
        let told = serde_json::to_vec(&(&safe.send, &safe.params)).ok()?;
        Some(Digest::of(&[&told]))
    }

    fn make_safe<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<(), DriverError>> {
        self.secure().boxed()
    }

    fn back(&self) -> BoxFuture<'_, ()> {
        self.carrier.back(&self.config.device)
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
