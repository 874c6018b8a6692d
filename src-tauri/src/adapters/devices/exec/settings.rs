//! The `exec` kind in the configuration: an actuator's name, its safe state and its command lines.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use serde::Deserialize;
use toml::{Table, Value};

use super::reading::{ExecSensor, Printed};
use super::{ExecConfig, ExecDriver, ExecOperation};
use crate::adapters::devices::config::{
    KindKey, actuator, interval, offered, settings, timeout_ms,
};
use crate::adapters::devices::point::{Point, distinct};
use crate::adapters::devices::registry::{Around, Kind, Made, Settings};
use crate::adapters::devices::rescue::Ground;
use crate::adapters::devices::{DeviceError, SharedActuator};
use crate::domain::policy::Offered;

/// Commands of this machine.
pub(crate) const KIND: Kind = Kind {
    name: "exec",
    once: false,
    read: settings::<Exec>,
    rescue,
};

/// Commands of this machine: an actuator that they drive, readings that they print, or both.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Exec {
    #[serde(rename = "kind", alias = "driver", default)]
    _kind: KindKey,
    /// The actuator's name, for example `actuator:pump:main`.
    #[serde(default)]
    capability: String,
    /// The operation that is its safe state.
    #[serde(default)]
    safe: String,
    /// The longest a command that moves may take, in seconds.
    timeout_sec: Option<u64>,
    /// Its operations.
    #[serde(default)]
    operation: Vec<Operation>,
    /// How often readings are taken, in milliseconds.
    every_ms: Option<u64>,
    /// Its readings.
    #[serde(default)]
    reading: Vec<Point<Printed>>,
}

/// One operation as a fixed command line.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Operation {
    /// The operation's name.
    name: String,
    /// The program, absolute, and its arguments. No shell is involved.
    #[serde(default)]
    argv: Vec<String>,
}

impl Exec {
    /// Whether its table is of an actuator; else it only reads.
    fn moves(&self) -> bool {
        !(self.capability.is_empty() && self.safe.is_empty() && self.operation.is_empty())
    }

    fn driver(&self, dir: &Path) -> Result<ExecDriver, DeviceError> {
        let capability = actuator(&self.capability, self.operation.iter().map(|o| &o.name))?;
        let operations = self.operation.iter().map(|o| ExecOperation {
            name: o.name.clone(),
            argv: o.argv.clone(),
        });
        let config = ExecConfig {
            node: fs::canonicalize(dir).unwrap_or_else(|_| dir.to_owned()),
            capability,
            safe: self.safe.clone(),
            timeout_ms: timeout_ms(self.timeout_sec),
            operations: operations.collect(),
        };
        ExecDriver::new(config).map_err(|e| DeviceError::Config(e.to_string()))
    }
}

impl Settings for Exec {
    fn subject(&self) -> &str {
        &self.capability
    }

    fn offers(&self) -> Vec<Offered> {
        if !self.moves() {
            return Vec::new();
        }
        let names = self.operation.iter().map(|o| &o.name);
        offered(&self.capability, names, &self.safe, false)
    }

    fn make(&self, around: &Around<'_>) -> Result<Made, DeviceError> {
        let mut made = Made::default();
        if self.moves() {
            made.actuators
                .push(Arc::new(self.driver(around.dir.root())?));
        } else if self.reading.is_empty() {
            let why = "capability, safe and operation, or reading: there is neither";
            return Err(DeviceError::Config(why.to_owned()));
        }
        distinct(self.reading.iter().map(|point| &point.measured))?;
        let every = interval(self.every_ms)?;
        let device = if self.moves() {
            &self.capability
        } else {
            KIND.name
        };
        for point in &self.reading {
            let sensor = ExecSensor::new(device, point, every, around.clock)?;
            made.sensors.push(Box::new(sensor));
        }
        Ok(made)
    }
}

/// An actuator with its safe operation alone.
fn rescue(table: &Table, ground: &Ground<'_>) -> Result<Vec<SharedActuator>, String> {
    let moving = ["capability", "safe", "operation"];
    if table.contains_key("reading") && !moving.iter().any(|key| table.contains_key(*key)) {
        return Ok(Vec::new());
    }
    let driver = safe_half(table)?.driver(ground.dir);
    let driver = driver.map_err(|e| e.to_string())?;
    Ok(vec![Arc::new(driver)])
}

/// An actuator's way to its safe state, from a table of which other parts may be wrong.
fn safe_half(table: &Table) -> Result<Exec, String> {
    let text = |table: &Table, key: &str| {
        let found = table.get(key).and_then(Value::as_str);
        found
            .map(str::to_owned)
            .ok_or_else(|| format!("there is no {key}"))
    };
    let (capability, safe) = (text(table, "capability")?, text(table, "safe")?);
    let all = table.get("operation");
    let many = all.and_then(Value::as_array).into_iter().flatten();
    let one = all.filter(|value| value.is_table());
    let named = |v: &&Value| v.get("name").and_then(Value::as_str) == Some(&safe);
    let mut fit = many.chain(one).filter(named);
    let (Some(operation), None) = (fit.next(), fit.next()) else {
        return Err(format!("there is not one operation {safe:?}"));
    };
    let words = operation.get("argv").and_then(Value::as_array);
    let words = words.map(|all| {
        let each = all.iter().map(|word| word.as_str().map(str::to_owned));
        each.collect::<Option<Vec<String>>>()
    });
    let Some(Some(argv)) = words else {
        return Err(format!("operation {safe:?} has no argv"));
    };
    if argv.iter().any(|word| word.contains('\u{fffd}')) {
        return Err(format!(
            "the command of operation {safe:?} holds bytes that are no text"
        ));
    }
    let seconds = table.get("timeout_sec").and_then(Value::as_integer);
    Ok(Exec {
        _kind: None,
        every_ms: None,
        reading: Vec::new(),
        capability,
        timeout_sec: seconds.and_then(|s| u64::try_from(s).ok()),
        operation: vec![Operation {
            name: safe.clone(),
            argv,
        }],
        safe,
    })
}

/// The certain part of a table, for tests of reading damaged files.
#[cfg(test)]
pub(crate) fn certain(table: &Table) -> String {
    match safe_half(table) {
        Ok(exec) => format!("{} {}", exec.capability, exec.operation[0].argv.join(" ")),
        Err(why) => why,
    }
}
