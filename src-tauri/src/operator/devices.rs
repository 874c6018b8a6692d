//! The devices of this node's configuration: what each measures and moves, and how that is now. A look at a sensor is an
//! extra reading and moves nothing.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::timeout;

use super::actuators::ActuatorLast;
use super::{Answer, Door};
use crate::adapters::devices::Configured;
use crate::domain::base::limits::{DEVICE_LOOK_MS, DEVICE_LOOKS_MAX};
use crate::domain::base::text::closest;
use crate::domain::base::{Code, Refusal};
use crate::domain::capability::{Action, Capability};
use crate::domain::policy::{Kind, Level};
use crate::node::sensing::{Said, SensorHealth};
use crate::node::wiring::Reloaded;

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
    /// What the policy in force says of each operation; empty where no node runs.
    pub actions: Vec<DeviceActionView>,
    /// The proposal that moves it now.
    pub moving: Option<String>,
    /// The newest proposal about it.
    pub last: Option<ActuatorLast>,
}

/// An operation of an actuator.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct DeviceActionView {
    /// What it does.
    pub operation: String,
    /// The rule of the policy that covers it; absent where none does, and it is denied.
    pub rule: Option<DeviceRuleView>,
}

/// What a rule of the policy says of an operation.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct DeviceRuleView {
    /// Its name.
    pub name: String,
    /// Who must agree.
    pub level: Level,
    /// How it lasts and what ends it; absent where it is timed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<Kind>,
    /// The longest it may last, in milliseconds.
    pub longest_ms: u64,
    /// The operation that ends it.
    pub safe_state: String,
    /// Whether a person's standing approval may count as their vote.
    pub standing_approvals: bool,
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
                actions: Vec::new(),
                moving: None,
                last: None,
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
        let mut all = configured(&self.handles.wiring.devices());
        place(&mut all, self.handles.sensors.list());
        let own = self.actuators().await?;
        for view in all.iter_mut().flat_map(|device| &mut device.actuators) {
            let Some(known) = own.iter().find(|a| a.own && a.target == view.capability) else {
                continue;
            };
            view.position.clone_from(&known.position);
            view.problem.clone_from(&known.problem);
            view.moving.clone_from(&known.running);
            view.last.clone_from(&known.last);
            view.actions = self.actions_of(view);
            if let Ok(target) = view.capability.parse()
                && let Some(guard) = self.handles.guards.view(&target)
            {
                view.safe = Some(guard.safe);
                view.running = guard.running;
                let astray = guard
                    .astray
                    .map(|said| format!("not moved from here, and its device says {said:?}"));
                view.problem = guard.problem.or(astray).or(view.problem.take());
            }
        }
        Ok(all)
    }

    /// What the policy in force says of each operation of an actuator.
    fn actions_of(&self, view: &DeviceActuatorView) -> Vec<DeviceActionView> {
        let Ok(target) = view.capability.parse::<Capability>() else {
            return Vec::new();
        };
        let policy = self.handles.policy.current();
        let action = |operation: &String| {
            let action = Action {
                target: target.clone(),
                operation: operation.clone(),
                params: Default::default(),
            };
            let rule = policy.rule_for(&action).map(|rule| DeviceRuleView {
                name: rule.name.clone(),
                level: rule.level,
                kind: rule.kind.recorded(),
                longest_ms: rule.deadline_ms,
                safe_state: rule.safe_state.clone(),
                standing_approvals: rule.standing_approvals,
            });
            DeviceActionView {
                operation: action.operation,
                rule,
            }
        };
        view.operations.iter().map(action).collect()
    }

    /// Reads the configuration file again and makes its devices the node's, all of them or none.
    ///
    /// # Errors
    /// `CONFLICT` for a node that was not started from a file, and whatever the store says. What is wrong with the file, or in
    /// the way, is in the answer.
    pub async fn reload_devices(&self, by: &str) -> Answer<Reloaded> {
        self.handles.wiring.reload(by).await
    }

    /// Has a sensor looked at now, and says how it is then.
    ///
    /// # Errors
    /// If there is no such sensor; `RATE_EXCEEDED` while too many are looked at.
    pub async fn look_at_device(&self, look: &DeviceLook) -> Answer<DeviceSensorView> {
        let sensors = &self.handles.sensors;
        let limit = Duration::from_millis(DEVICE_LOOK_MS);
        // Sensors may share a bus, whoever asks for how many of them.
        let Some(_turn) = sensors.turn(limit).await else {
            let why = format!(
                "{DEVICE_LOOKS_MAX} looks at sensors are under way and more wait; try again in a moment"
            );
            return Err(Refusal::new(Code::RateExceeded, why));
        };
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
        let _ = timeout(limit, said).await;
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
