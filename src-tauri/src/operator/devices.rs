//! The devices of this node's configuration: what each measures and moves, and how that is now. A look at a sensor is an
//! extra reading and moves nothing.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::timeout;

use super::{Answer, Door};
use crate::adapters::devices::Configured;
use crate::domain::base::limits::DEVICE_LOOK_MS;
use crate::domain::base::text::closest;
use crate::domain::base::{Code, Refusal};
use crate::node::sensing::{Said, SensorHealth};

/// One device of the configuration.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct DeviceView {
    /// Its kind, for example `modbus`.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// Its sensors.
    pub sensors: Vec<DeviceSensorView>,
    /// Its actuators.
    pub actuators: Vec<DeviceActuatorView>,
}

/// A sensor of a device.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct DeviceSensorView {
    /// Its name.
    pub name: String,
    /// What it said last, published or not.
    pub values: Vec<DeviceValueView>,
    /// When it last gave a reading that was published.
    pub last_reading_at: Option<u64>,
    /// Since when it fails; absent while it works.
    pub failing_since: Option<u64>,
    /// Why it fails.
    pub problem: Option<String>,
}

/// What a sensor said last of one thing.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct DeviceValueView {
    /// What is measured.
    pub metric: String,
    /// Where.
    pub zone: Option<String>,
    /// In which unit.
    pub unit: String,
    /// As the device said it, where that is known.
    pub raw: Option<f64>,
    /// The value, in the unit; absent where nothing was said yet.
    pub value: Option<f64>,
    /// Why it is not believed, in words; absent where it is.
    pub doubt: Option<String>,
    /// When, in milliseconds since 1970.
    pub at: Option<u64>,
}

/// An actuator of a device.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct DeviceActuatorView {
    /// What it is called.
    pub capability: String,
    /// What it can do.
    pub operations: Vec<String>,
    /// Whether its driver has confirmed the safe state since it was last told to move; absent where no node runs.
    pub safe: Option<bool>,
    /// Whether a run is on.
    pub running: bool,
    /// Where it stands, read back now.
    pub position: Option<String>,
    /// Why that is not known, or why it is not safe.
    pub problem: Option<String>,
}

/// Which sensor is to be looked at.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct DeviceLook {
    /// Its name.
    pub sensor: String,
}

impl From<Said> for DeviceValueView {
    fn from(said: Said) -> Self {
        Self {
            metric: said.metric,
            zone: said.zone,
            unit: said.unit,
            raw: said.raw,
            value: said.value,
            doubt: said.doubt.map(|doubt| doubt.to_string()),
            at: said.at.map(|at| at.0),
        }
    }
}

impl From<SensorHealth> for DeviceSensorView {
    fn from(health: SensorHealth) -> Self {
        let (since, problem) = health.failing.map(|(at, why)| (at.0, why)).unzip();
        Self {
            name: health.name,
            values: health.values.into_iter().map(Into::into).collect(),
            last_reading_at: health.last_reading_at.map(|at| at.0),
            failing_since: since,
            problem,
        }
    }
}

/// The devices of a configuration without their sensors, each with its actuators as they are configured.
pub fn configured(devices: &[Configured]) -> Vec<DeviceView> {
    let view = |device: &Configured| DeviceView {
        kind: device.kind_name().to_owned(),
        name: device.name().to_owned(),
        sensors: Vec::new(),
        actuators: device
            .offers()
            .into_iter()
            .map(|offered| DeviceActuatorView {
                capability: offered.capability.to_string(),
                operations: offered.operations.into_iter().collect(),
                safe: None,
                running: false,
                position: None,
                problem: None,
            })
            .collect(),
    };
    devices.iter().map(view).collect()
}

/// Gives each sensor to its device; one that belongs to none stands for itself.
pub fn place(devices: &mut Vec<DeviceView>, sensors: Vec<SensorHealth>) {
    for health in sensors {
        let of = devices.iter_mut().find(|view| view.name == health.device);
        match of {
            Some(view) => view.sensors.push(health.into()),
            None => devices.push(DeviceView {
                kind: String::new(),
                name: health.device.clone(),
                sensors: vec![health.into()],
                actuators: Vec::new(),
            }),
        }
    }
}

impl Door {
    /// The devices of this node's configuration, as they are now.
    ///
    /// # Errors
    /// Whatever the store says.
    pub async fn devices(&self) -> Answer<Vec<DeviceView>> {
        let mut all = configured(&self.context().config.devices);
        place(&mut all, self.handles.sensors.list());
        let own = self.actuators().await?;
        for view in all.iter_mut().flat_map(|device| &mut device.actuators) {
            let Some(known) = own.iter().find(|a| a.own && a.target == view.capability) else {
                continue;
            };
            view.position.clone_from(&known.position);
            view.problem.clone_from(&known.problem);
            if let Ok(target) = view.capability.parse()
                && let Some(guard) = self.handles.guards.view(&target)
            {
                view.safe = Some(guard.safe);
                view.running = guard.running;
                view.problem = guard.problem.or(view.problem.take());
            }
        }
        Ok(all)
    }

    /// Has a sensor looked at now, and says how it is then.
    ///
    /// # Errors
    /// If there is no such sensor.
    pub async fn look_at_device(&self, look: &DeviceLook) -> Answer<DeviceSensorView> {
        let sensors = &self.handles.sensors;
        let Some(mut looks) = sensors.look(&look.sensor) else {
            let names = sensors.list().into_iter().map(|health| health.name);
            return Err(Refusal::new(
                Code::NotFound,
                unknown(&look.sensor, names.collect::<Vec<_>>().iter()),
            ));
        };
        let before = sensors.list();
        let is = |health: &&SensorHealth| health.name == look.sensor;
        let before = before.iter().find(is).map(newest);
        // A device that is asked on a thread of its own has its answer one look later.
        let said = async {
            while looks.changed().await.is_ok() {
                let now = sensors.list();
                let now = now.iter().find(is);
                if now.is_none_or(|now| now.failing.is_some() || Some(newest(now)) != before) {
                    break;
                }
            }
        };
        // Without an answer in time it is told how it was before, with its age.
        let _ = timeout(Duration::from_millis(DEVICE_LOOK_MS), said).await;
        let now = sensors.list().into_iter().find(|health| is(&health));
        now.map(Into::into)
            .ok_or_else(|| Refusal::new(Code::NotFound, "the sensor is gone"))
    }
}

/// When a sensor said something last.
fn newest(health: &SensorHealth) -> u64 {
    let all = health.values.iter().filter_map(|said| said.at);
    all.map(|at| at.0).max().unwrap_or_default()
}

/// Says that there is no such sensor, and which one may be meant.
pub fn unknown<'a>(name: &str, known: impl Iterator<Item = &'a String>) -> String {
    let near = closest(name, known.map(String::as_str));
    let near = near.map_or_else(String::new, |near| format!("; did you mean {near:?}?"));
    format!("there is no sensor {name:?} in the configuration{near}")
}
