//! The actuators of this node and the drivers that move them, from the configuration.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::sync::Arc;

use serde::Deserialize;

use crate::adapters::devices::exec::{ExecConfig, ExecDriver, ExecOperation};
use crate::adapters::devices::gen1::{Carrier, Gen1Config, Gen1Driver, Gen1Operation};
use crate::adapters::devices::{Actuator, DriverError};
use crate::domain::base::DeviceId;
use crate::domain::capability::{Action, Capability, Params, read_params};
use crate::domain::policy::Offered;

/// A driver as the node holds it.
pub type SharedDriver = Arc<dyn Actuator>;

/// Every actuator of this node.
#[derive(Default, Clone)]
pub struct Drivers(BTreeMap<Capability, SharedDriver>);

impl Drivers {
    /// The drivers, one per capability.
    pub fn new(drivers: Vec<SharedDriver>) -> Self {
        Self(
            drivers
                .into_iter()
                .map(|d| (d.capability().clone(), d))
                .collect(),
        )
    }

    /// The driver of an actuator.
    pub fn get(&self, target: &Capability) -> Option<SharedDriver> {
        self.0.get(target).cloned()
    }

    /// The driver of an actuator on which a gen-1 node acts; `None` for every other.
    pub fn gen1(&self, target: &Capability) -> Option<&Gen1Driver> {
        self.0.get(target)?.gen1()
    }

    /// The actuators on which this gen-1 node acts.
    pub fn behind(&self, device: &DeviceId) -> Vec<Capability> {
        let acts = |d: &&SharedDriver| d.gen1().is_some_and(|far| far.device() == device);
        let each = self.0.values().filter(acts);
        each.map(|d| d.capability().clone()).collect()
    }

    /// What it means that an actuator is confirmed safe, in a sentence: a gen-1 node confirms less.
    pub fn safe_in_words(&self, target: &Capability) -> String {
        match self.gen1(target) {
            None => format!("{target} is in its safe state"),
            Some(driver) => format!(
                "the gen-1 node {} has accepted the way of {target} to its safe state, and does not say whether \
                 it is there",
                driver.device().short()
            ),
        }
    }

    /// All drivers.
    pub fn all(&self) -> Vec<SharedDriver> {
        self.0.values().cloned().collect()
    }

    /// What they are called.
    pub fn capabilities(&self) -> Vec<Capability> {
        self.0.keys().cloned().collect()
    }

    /// The actuators as a policy is compared with them.
    pub fn offered(&self) -> Vec<Offered> {
        let offered = |(target, driver): (&Capability, &SharedDriver)| Offered {
            capability: target.clone(),
            operations: driver.operations(),
            by_gen1: driver.gen1().is_some(),
        };
        self.0.iter().map(offered).collect()
    }
}

/// An actuator's configuration is wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("actuator {capability}: {why}")]
pub struct BadActuator {
    /// Which one.
    pub capability: String,
    /// What is wrong.
    pub why: String,
}

/// No two drivers may move the same thing: one would undo what the other does.
///
/// # Errors
/// [`BadActuator`] naming one of them.
pub fn not_twice(drivers: &[SharedDriver]) -> Result<(), BadActuator> {
    let (mut names, mut far) = (BTreeSet::new(), BTreeSet::new());
    for driver in drivers {
        let name = driver.capability();
        let why = match driver.gen1() {
            _ if !names.insert(name) => "configured twice".to_owned(),
            Some(gen1) if !far.insert((gen1.device(), gen1.target())) => format!(
                "{} of the gen-1 node {} is configured under another name already",
                gen1.target(),
                gen1.device().short()
            ),
            _ => continue,
        };
        return Err(BadActuator {
            capability: name.to_string(),
            why,
        });
    }
    Ok(())
}

/// `[[actuator]]`: a command of this machine as an actuator, or one of a gen-1 node.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawActuator {
    /// What it is called, for example `actuator:pump:main`.
    pub capability: String,
    /// What moves it: `exec` (where absent) or `gen1`.
    #[serde(default)]
    pub driver: Option<String>,
    /// `gen1`: the device id of the gen-1 node.
    #[serde(default)]
    pub device: Option<String>,
    /// `gen1`: what the gen-1 node calls the actuator.
    #[serde(default)]
    pub target: Option<String>,
    /// The operation that is its safe state.
    pub safe: String,
    /// The longest a command may take, or an answer of the gen-1 node, in seconds.
    #[serde(default)]
    pub timeout_sec: Option<u64>,
    /// What it can do.
    pub operation: Vec<RawOperation>,
}

/// `[[actuator.operation]]`: one operation as a fixed command line, or as a gen-1 node knows it.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawOperation {
    /// The operation's name.
    pub name: String,
    /// `exec`: the program, absolute, and its arguments. No shell is involved.
    #[serde(default)]
    pub argv: Vec<String>,
    /// `gen1`: the operation's name at the gen-1 node; the same where absent.
    #[serde(default)]
    pub send: Option<String>,
    /// `gen1`: parameters that always go along.
    #[serde(default, deserialize_with = "read_params")]
    pub params: Params,
}

impl RawActuator {
    /// Whether a gen-1 node acts on it.
    pub fn is_gen1(&self) -> bool {
        self.driver.as_deref() == Some("gen1")
    }

    /// Its driver at the node of this state directory.
    ///
    /// # Errors
    /// [`BadActuator`] naming what is wrong.
    pub fn driver(
        &self,
        node: &Path,
        carrier: &Arc<dyn Carrier>,
    ) -> Result<SharedDriver, BadActuator> {
        match self.driver.as_deref() {
            None | Some("exec") => Ok(Arc::new(self.exec(node)?)),
            Some("gen1") => Ok(Arc::new(self.gen1(carrier)?)),
            Some(other) => Err(self.bad(format!("unknown driver {other:?}; use exec or gen1"))),
        }
    }

    fn bad(&self, why: impl ToString) -> BadActuator {
        BadActuator {
            capability: self.capability.clone(),
            why: why.to_string(),
        }
    }

    fn checked(&self) -> Result<Capability, BadActuator> {
        let capability: Capability = self.capability.parse().map_err(|e| self.bad(e))?;
        if !capability.is_actuator() {
            return Err(self.bad("must begin with actuator:"));
        }
        for operation in &self.operation {
            Action::new(capability.clone(), &operation.name, Params::new())
                .map_err(|e| self.bad(e))?;
        }
        Ok(capability)
    }

    fn timeout_ms(&self) -> u64 {
        self.timeout_sec.unwrap_or(10).clamp(1, 300) * 1_000
    }

    /// The driver of a command of this machine.
    ///
    /// # Errors
    /// As [`RawActuator::driver`].
    pub fn exec(&self, node: &Path) -> Result<ExecDriver, BadActuator> {
        let capability = self.checked()?;
        let odd = |o: &&RawOperation| o.send.is_some() || !o.params.is_empty();
        if self.device.is_some() || self.target.is_some() || self.operation.iter().any(|o| odd(&o))
        {
            return Err(self.bad(
                "device, target, send and params are for actuators of gen-1 nodes: write driver = \"gen1\"",
            ));
        }
        let operations = self.operation.iter().map(|o| ExecOperation {
            name: o.name.clone(),
            argv: o.argv.clone(),
        });
        let config = ExecConfig {
            node: fs::canonicalize(node).unwrap_or_else(|_| node.to_owned()),
            capability,
            safe: self.safe.clone(),
            timeout_ms: self.timeout_ms(),
            operations: operations.collect(),
        };
        ExecDriver::new(config).map_err(|e: DriverError| self.bad(e))
    }

    fn gen1(&self, carrier: &Arc<dyn Carrier>) -> Result<Gen1Driver, BadActuator> {
        let capability = self.checked()?;
        if self.operation.iter().any(|o| !o.argv.is_empty()) {
            return Err(self.bad("argv is a command of this machine; a gen-1 node has none"));
        }
        let named = |what: &str, given: &Option<String>| {
            let missing = || self.bad(format!("{what} is missing, which the driver gen1 needs"));
            given.clone().ok_or_else(missing)
        };
        let device = named("device", &self.device)?.parse();
        let target = named("target", &self.target)?.parse();
        let operations = self.operation.iter().map(|o| Gen1Operation {
            name: o.name.clone(),
            send: o.send.clone().unwrap_or_else(|| o.name.clone()),
            params: o.params.clone(),
        });
        let config = Gen1Config {
            capability,
            device: device.map_err(|e| self.bad(format!("device: {e}")))?,
            target: target.map_err(|e| self.bad(format!("target: {e}")))?,
            safe: self.safe.clone(),
            timeout_ms: self.timeout_ms(),
            operations: operations.collect(),
        };
        Gen1Driver::new(config, carrier.clone()).map_err(|e| self.bad(e))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::gen1::actuators::Wire;

    fn problem(change: (&str, &str)) -> String {
        let good = format!(
            "capability = \"actuator:gen1:valve-1\"\ndriver = \"gen1\"\ndevice = \"{}\"\n\
             target = \"actuator:mock:valve-1\"\nsafe = \"close\"\n\
             [[operation]]\nname = \"open\"\nsend = \"set\"\nparams = {{ state = \"active\" }}\n\
             [[operation]]\nname = \"close\"\n",
            "a".repeat(64)
        );
        let text = good.replacen(change.0, change.1, 1);
        let raw: RawActuator = toml::from_str(&text).unwrap();
        let carrier: Arc<dyn Carrier> = Arc::new(Wire::default());
        match raw.driver(Path::new("/a/node"), &carrier) {
            Ok(driver) => format!("fine, by gen-1: {}", driver.gen1().is_some()),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn a_bad_gen1_actuator_is_refused_with_what_is_wrong() {
        assert_eq!(problem(("", "")), "fine, by gen-1: true");
        let id = format!("device = \"{}\"\n", "a".repeat(64));
        for (change, word) in [
            ((id.as_str(), "device = \"valve-host\"\n"), "device: "),
            ((id.as_str(), ""), "device is missing"),
            (
                ("target = \"actuator:mock:valve-1\"\n", ""),
                "target is missing",
            ),
            (
                ("\"actuator:mock", "\"sensor:mock"),
                "must begin with actuator:",
            ),
            (
                ("safe = \"close\"", "safe = \"halt\""),
                "must be one of its operations",
            ),
            (("\"gen1\"\n", "\"gen2\"\n"), "unknown driver"),
            (("driver = \"gen1\"\n", ""), "write driver = \"gen1\""),
            (
                ("send = \"set\"", "argv = [\"/bin/true\"]"),
                "argv is a command",
            ),
            (("send = \"set\"", "send = \"Set It\""), "operation open: "),
            (
                ("\"actuator:gen1", "\"sensor:gen1"),
                "must begin with actuator:",
            ),
        ] {
            let problem = problem(change);
            assert!(problem.contains(word), "{change:?}: {problem}");
            assert!(!problem.contains("fine"), "{change:?}: {problem}");
        }
    }

    #[test]
    fn what_the_configuration_fixes_goes_along_and_one_valve_has_one_driver() {
        let fixed = Params::from([("state".to_owned(), "active".into())]);
        let config = Gen1Config {
            capability: "actuator:gen1:valve-1".parse().unwrap(),
            device: "b".repeat(64).parse().unwrap(),
            target: "actuator:mock:valve-1".parse().unwrap(),
            safe: "open".into(),
            timeout_ms: 1_000,
            operations: vec![Gen1Operation {
                name: "open".into(),
                send: "set".into(),
                params: fixed,
            }],
        };
        let other = Gen1Config {
            capability: "actuator:gen1:valve-2".parse().unwrap(),
            ..config.clone()
        };
        let driver_of = |config| Gen1Driver::new(config, Arc::new(Wire::default())).unwrap();
        let both: [SharedDriver; 2] = [
            Arc::new(driver_of(config.clone())),
            Arc::new(driver_of(other)),
        ];
        assert!(not_twice(&both[..1]).is_ok());
        let twice = not_twice(&both).unwrap_err().to_string();
        assert!(twice.contains("under another name"), "{twice}");
        let driver = driver_of(config);
        let action = |params| Action::new(driver.capability().clone(), "open", params).unwrap();
        let told = driver
            .command(&action(Params::from([(
                "durationSec".to_owned(),
                5.into(),
            )])))
            .unwrap();
        assert_eq!(
            told.action.summary(),
            "set actuator:mock:valve-1 (durationSec 5, state \"active\")"
        );
        let given = action(Params::from([("state".to_owned(), "inactive".into())]));
        assert!(driver.command(&given).is_err());
    }
}
