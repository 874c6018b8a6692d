//! A pretend kind, for tests: that a kind needs this folder and a line of the registry, and nothing else. It measures one
//! number and has one actuator, both named by its configuration.

use std::sync::Arc;

use serde::Deserialize;
use toml::Table;

use super::config::{KindKey, actuator, settings};
use super::recorder::Recorder;
use super::registry::{Around, Kind, Made, Settings};
use super::rescue::Ground;
use super::{DeviceError, Reading, Sensor, SensorError, SharedActuator};
use crate::domain::base::TimeMs;

/// A pretend device.
pub(crate) const KIND: Kind = Kind {
    name: "pretend",
    once: false,
    read: settings::<Pretend>,
    rescue,
};

/// The device as the configuration has it.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Pretend {
    #[serde(rename = "kind", alias = "driver", default)]
    _kind: KindKey,
    /// Its name.
    capability: String,
    /// Its metric.
    metric: String,
    /// In which unit.
    unit: String,
    /// Its value.
    value: f64,
}

impl Settings for Pretend {
    fn subject(&self) -> &str {
        &self.capability
    }

    fn make(&self, _: &Around<'_>) -> Result<Made, DeviceError> {
        let capability = actuator(&self.capability, [])?;
        if !self.value.is_finite() {
            return Err(DeviceError::Config("value: must be a number".to_owned()));
        }
        Ok(Made {
            actuators: vec![Arc::new(Recorder::new(capability))],
            sensors: vec![Box::new(self.clone())],
        })
    }
}

impl Sensor for Pretend {
    fn name(&self) -> &str {
        &self.capability
    }

    fn read(&mut self, _: TimeMs) -> Result<Vec<Reading>, SensorError> {
        let reading = Reading::new(&self.metric, "bench", self.value, self.unit.clone());
        Ok(vec![reading])
    }
}

fn rescue(_: &Table, _: &Ground<'_>) -> Result<Vec<SharedActuator>, String> {
    Ok(Vec::new())
}
