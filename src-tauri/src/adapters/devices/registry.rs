//! The registry: every kind of device, and how a device of the configuration is made.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::timeout;
use toml::Table;
use toml::de::ValueDeserializer;

use super::config::Configured;
use super::orders::{Order, Orders};
use super::rescue::Ground;
use super::{
    Carrier, Hooks, Keeper, Sensor, SharedActuator, camera, exec, file, gen1, gpio, host, http,
    modbus, mqtt, serial, sim, twin, webhook,
};
use crate::adapters::clock::SharedClock;
use crate::adapters::paths::StateDir;
use crate::domain::capability::Capability;
use crate::domain::policy::Offered;

/// Every kind. A new one is a file or folder beside this one, a line here and its keys in
/// `config.example.toml`.
const KINDS: &[&Kind] = &[
    &camera::KIND,
    &exec::KIND,
    &file::KIND,
    &gen1::KIND,
    &gpio::KIND,
    &host::KIND,
    &http::KIND,
    &modbus::KIND,
    &mqtt::KIND,
    &serial::KIND,
    &sim::KIND,
    &twin::KIND,
    &webhook::KIND,
    #[cfg(test)]
    &super::pretend::KIND,
];

/// A kind of device.
pub(crate) struct Kind {
    /// Its name in the configuration.
    pub name: &'static str,
    /// Whether a node has at most one of it.
    pub once: bool,
    /// Reads its table; see [`settings`](super::config::settings).
    pub read: fn(ValueDeserializer<'_>) -> Result<Arc<dyn Settings>, toml::de::Error>,
    /// Finds the way to the safe state in a table of which anything else may be wrong; none where nothing moves that could be left on. Only what is certain may be
    /// given: what it returns is made safe.
    pub rescue: fn(&Table, &Ground<'_>) -> Result<Vec<SharedActuator>, String>,
}

impl fmt::Debug for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Kind({})", self.name)
    }
}

impl Kind {
    /// The kind of this name.
    ///
    /// # Errors
    /// Which there are.
    pub(super) fn of(name: &str) -> Result<&'static Kind, String> {
        let known = KINDS.iter().find(|kind| kind.name == name);
        known.copied().ok_or_else(|| {
            let names: Vec<&str> = KINDS.iter().map(|kind| kind.name).collect();
            format!(
                "unknown kind of device {name:?}; the kinds are {}",
                names.join(", ")
            )
        })
    }

    /// Every kind.
    pub(super) fn all() -> impl Iterator<Item = &'static Kind> {
        KINDS.iter().copied()
    }

    /// The name of every kind.
    #[cfg(test)]
    pub(crate) fn names() -> impl Iterator<Item = &'static str> {
        KINDS.iter().map(|kind| kind.name)
    }
}

/// Places outside, such as topics, each with the actuator that is told or heard there.
pub(super) type Places = Vec<(String, String)>;

/// The configuration of one device.
pub(crate) trait Settings: fmt::Debug + Send + Sync {
    /// Tells the device from others of its kind, in errors.
    fn subject(&self) -> &str {
        ""
    }

    /// The actuators that it will have, as far as its settings tell.
    fn offers(&self) -> Vec<Offered> {
        Vec::new()
    }

    /// What its actuators are told, operation by operation, as far as its settings tell; those with parameters as they are
    /// written.
    fn orders(&self) -> Vec<Order> {
        Vec::new()
    }

    /// The place that one table alone may have, where two connections to it would throw each other out.
    fn alone_at(&self) -> Option<String> {
        None
    }

    /// A place that several tables may have, and how each of them has to use it, in words: all in the same way.
    fn shares(&self) -> Option<(String, String)> {
        None
    }

    /// Where its actuators are told, each with the actuator, and where each of them says its state. What this node tells one
    /// must not be what proves that another is safe.
    fn tells_and_hears(&self) -> (Places, Places) {
        (Vec::new(), Vec::new())
    }

    /// Whether it moves, and moves simulated things only: a node without a policy gets the starter policy then.
    fn is_practice(&self) -> bool {
        false
    }

    /// Checks the settings and makes the device. It never waits for hardware: a sensor connects when it is
    /// read, an actuator when it is made safe.
    ///
    /// # Errors
    /// [`DeviceError`] naming the key.
    fn make(&self, around: &Around<'_>) -> Result<Made, DeviceError>;
}

/// The context in which devices are made.
pub struct Around<'a> {
    /// The node's state directory.
    pub dir: &'a StateDir,
    /// The clock.
    pub clock: &'a SharedClock,
    /// Tells gen-1 nodes what to do.
    pub carrier: &'a Arc<dyn Carrier>,
    /// Tells who the node is, and the passwords of its devices.
    pub keeper: &'a Arc<dyn Keeper>,
    /// Where readings come in that others send.
    pub hooks: &'a Hooks,
}

/// The two sides of a device.
#[derive(Default)]
pub struct Made {
    /// Its actuators.
    pub actuators: Vec<SharedActuator>,
    /// Its sensors.
    pub sensors: Vec<Box<dyn Sensor>>,
}

impl Made {
    /// Where each actuator says that it is, all asked at the same time. Nothing is moved.
    pub async fn positions(&self, limit: Duration) -> Vec<(Capability, Result<String, String>)> {
        let each = self.actuators.iter().map(|actuator| async move {
            let said = match timeout(limit, actuator.state()).await {
                Ok(Ok(state)) => Ok(state.position),
                Ok(Err(error)) => Err(error.to_string()),
                Err(_) => Err("its driver did not say where it stands".to_owned()),
            };
            (actuator.capability().clone(), said)
        });
        join_all(each).await
    }
}

/// Why a device cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DeviceError {
    /// Its configuration is wrong.
    #[error("{0}")]
    Config(String),
    /// Its data in the state directory cannot be used.
    #[error("{0}")]
    State(String),
}

/// Makes the devices of a configuration.
///
/// # Errors
/// [`DeviceError`] naming the file, the device and the key.
pub fn make(devices: &[Configured], around: &Around<'_>) -> Result<Made, DeviceError> {
    let mut all = Made::default();
    for made in make_each(devices, around)? {
        all.actuators.extend(made.actuators);
        all.sensors.extend(made.sensors);
    }
    Ok(all)
}

/// As [`make`], each by itself, in their order.
///
/// # Errors
/// As [`make`].
pub fn make_each(devices: &[Configured], around: &Around<'_>) -> Result<Vec<Made>, DeviceError> {
    let (mut all, mut seen) = (Vec::new(), BTreeSet::new());
    let mut actuators: Vec<SharedActuator> = Vec::new();
    let (mut orders, mut measured) = (Orders::default(), BTreeMap::new());
    let mut places = BTreeMap::new();
    apart(devices)?;
    in_one_way(devices)?;
    for device in devices {
        if !seen.insert(device.kind().name) && device.kind().once {
            let why = "a node has one of this kind, and it is configured twice";
            return Err(device.bad(why));
        }
        if let Some(place) = device.alone_at() {
            let title = device.title();
            if let Some(first) = places.insert(place.clone(), title) {
                return Err(device.bad(&format!(
                    "{place} has a table already, {first}: write its readings and actuators into that one, so that they share \
                     its connection"
                )));
            }
        }
        let made = device.make(around)?;
        actuators.extend(made.actuators.iter().cloned());
        not_twice(&actuators).map_err(|error| device.bad(&error.to_string()))?;
        let mut each = device.orders().into_iter();
        each.try_for_each(|order| orders.take(order))
            .map_err(|why| device.bad(&why))?;
        for meter in made.sensors.iter().filter_map(|sensor| sensor.meter()) {
            let what = (meter.metric().to_owned(), meter.zone().map(str::to_owned));
            let name = meter.name();
            if let Some(first) = measured.insert(what, meter.device().to_owned()) {
                return Err(device.bad(&format!(
                    "reading {name}: {first} has a reading of this metric and zone already, and one would take the \
                     place of the other; give one of them another zone"
                )));
            }
        }
        all.push(made);
    }
    Ok(all)
}

/// What several tables have a part of is used by all of them in the same way.
fn in_one_way(devices: &[Configured]) -> Result<(), DeviceError> {
    let mut ways: BTreeMap<String, (String, String)> = BTreeMap::new();
    for device in devices {
        let Some((place, how)) = device.shares() else {
            continue;
        };
        let first = ways.entry(place.clone());
        let (first, title) = first.or_insert_with(|| (how.clone(), device.title()));
        if *first != how {
            return Err(device.bad(&format!(
                "serial: {place} is {how} here and {first} in {title}; all tables of one port say the same of it"
            )));
        }
    }
    Ok(())
}

/// What proves that an actuator is safe must not be what this node tells another.
fn apart(devices: &[Configured]) -> Result<(), DeviceError> {
    let mut told = BTreeMap::new();
    for device in devices {
        told.extend(device.tells_and_hears().0);
    }
    for device in devices {
        for (place, capability) in device.tells_and_hears().1 {
            if let Some(other) = told.get(&place).filter(|other| **other != capability) {
                return Err(device.bad(&format!(
                    "actuator {capability}: state.topic: {place} is where this node tells {other} what to do, which would \
                     prove that this one is safe"
                )));
            }
        }
    }
    Ok(())
}

/// No two drivers may move the same thing: one would undo what the other does. [`make`] has checked its own.
///
/// # Errors
/// [`DeviceError::Config`] naming one of them.
pub fn not_twice(actuators: &[SharedActuator]) -> Result<(), DeviceError> {
    let (mut names, mut far) = (BTreeSet::new(), BTreeSet::new());
    for actuator in actuators {
        let name = actuator.capability();
        let why = match actuator.gen1() {
            _ if !names.insert(name) => "configured twice".to_owned(),
            Some(gen1) if !far.insert((gen1.device, gen1.target)) => format!(
                "{} of the gen-1 node {} is configured under another name already",
                gen1.target,
                gen1.device.short()
            ),
            _ => continue,
        };
        return Err(DeviceError::Config(format!("capability {name}: {why}")));
    }
    Ok(())
}
