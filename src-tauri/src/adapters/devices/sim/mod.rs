//! The simulated irrigation kit, as a sensor and as two actuators over one state.

mod actuator;
mod kit;
mod sensor;

#[cfg(test)]
use std::path::Path;
use std::sync::Arc;

use serde::Deserialize;
use toml::Table;

use self::actuator::SimDriver;
use self::kit::{KitError, SimKit};
use self::sensor::SimSensor;
use super::config::{KindKey, settings};
use super::registry::{Around, Kind, Made, Settings};
use super::rescue::Ground;
use super::{DeviceError, SharedActuator};
use crate::adapters::clock::SharedClock;
use crate::adapters::paths::StateDir;
use crate::domain::policy::Offered;

/// The simulated kit.
pub(crate) const KIND: Kind = Kind {
    name: "sim",
    once: true,
    read: settings::<Kit>,
    rescue,
};

/// The kit as the configuration has it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Kit {
    /// Its kind.
    #[serde(rename = "kind", alias = "driver")]
    _kind: KindKey,
    /// Whether its readings are published.
    pub senses: bool,
    /// Whether its valve and its pump are offered as actuators.
    pub acts: bool,
    /// How fast it runs; 1 is demo pace.
    pub pace: Option<f64>,
}

impl Default for Kit {
    fn default() -> Self {
        Self {
            _kind: None,
            senses: true,
            acts: true,
            pace: None,
        }
    }
}

impl Kit {
    /// How fast it runs.
    ///
    /// # Errors
    /// The valid values.
    pub(crate) fn pace(&self) -> Result<f64, String> {
        let pace = self.pace.unwrap_or(1.0);
        match pace.is_finite() && (0.0..=1_000.0).contains(&pace) {
            true => Ok(pace),
            false => Err("must be a number from 0 to 1000".to_owned()),
        }
    }
}

impl Settings for Kit {
    fn offers(&self) -> Vec<Offered> {
        let offered = self.acts.then(SimDriver::offers);
        offered.unwrap_or_default()
    }

    fn is_practice(&self) -> bool {
        self.acts
    }

    fn make(&self, around: &Around<'_>) -> Result<Made, DeviceError> {
        let pace = self.pace();
        let pace = pace.map_err(|why| DeviceError::Config(format!("pace: {why}")))?;
        let kit = open(around.dir, pace, around.clock)?;
        let mut made = Made::default();
        if self.acts {
            let each = SimDriver::all(&kit).into_iter();
            made.actuators = each.map(|d| Arc::new(d) as SharedActuator).collect();
        }
        if self.senses {
            made.sensors.push(Box::new(SimSensor::new(kit)));
        }
        Ok(made)
    }
}

/// Nothing real moves.
fn rescue(_: &Table, _: &Ground<'_>) -> Result<Vec<SharedActuator>, String> {
    Ok(Vec::new())
}

fn open(dir: &StateDir, pace: f64, clock: &SharedClock) -> Result<Arc<SimKit>, DeviceError> {
    let kit = SimKit::open(&dir.sim_dir(), pace, clock.clone());
    let kit = kit.map_err(|e: KitError| DeviceError::State(e.to_string()))?;
    Ok(Arc::new(kit))
}

/// The soil moisture of the simulated kit in a state directory now, in percent.
///
/// # Errors
/// If the kit's files cannot be read or written.
pub fn moisture(dir: &StateDir, clock: &SharedClock) -> Result<f64, DeviceError> {
    Ok(open(dir, 1.0, clock)?.look().moisture)
}

/// The valve of a new kit, and the kit, for the tests of all drivers.
#[cfg(test)]
pub(crate) fn valve(dir: &Path) -> Result<(SimDriver, Arc<SimKit>), KitError> {
    let kit = Arc::new(SimKit::real(dir)?);
    Ok((SimDriver::all(&kit).swap_remove(0), kit))
}
