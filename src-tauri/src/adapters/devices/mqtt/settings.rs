//! The `mqtt` kind in the configuration: a broker, the readings that come from it, the actuators that it reaches.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use toml::{Table, Value};

use super::actuator::{Command, Feedback, MqttDriver, Settled};
use super::broker::Broker;
use super::connection::{Client, Plan};
use super::packet::Message;
use super::readings::{MqttSensor, Slot, Switchboard};
use crate::adapters::devices::config::{
    KindKey, actuator, check_credential, offered, settings, timeout_ms,
};
use crate::adapters::devices::orders::Order;
use crate::adapters::devices::point::{Meter, Point, distinct};
use crate::adapters::devices::registry::{Around, Kind, Made, Places, Settings};
use crate::adapters::devices::rescue::Ground;
use crate::adapters::devices::template::placeholder;
use crate::adapters::devices::value::check_pointer;
use crate::adapters::devices::{DeviceError, Keeper, Sensor, SharedActuator};
use crate::domain::base::limits::{
    MQTT_ACTUATORS_MAX, MQTT_READINGS_MAX, MQTT_SENT_MAX_BYTES, MQTT_TOPIC_MAX_BYTES,
    NAME_MAX_BYTES,
};
use crate::domain::policy::Offered;

/// Devices behind a broker.
pub(crate) const KIND: Kind = Kind {
    name: "mqtt",
    once: false,
    read: settings::<Mqtt>,
    rescue,
};

/// A broker as the configuration has it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Mqtt {
    #[serde(rename = "kind", alias = "driver", default)]
    _kind: KindKey,
    /// Its name, for people.
    name: String,
    /// Its URL.
    broker: String,
    /// See [`Access`].
    ca: Option<PathBuf>,
    /// See [`Access`].
    user: Option<String>,
    /// See [`Access`].
    password: Option<String>,
    /// See [`Access`].
    #[serde(default)]
    plain: bool,
    /// See [`Access`].
    timeout_sec: Option<u64>,
    /// Its readings.
    #[serde(default)]
    reading: Vec<Point<Source>>,
    /// Its actuators.
    #[serde(default)]
    actuator: Vec<Moved>,
}

/// How the broker is reached.
#[derive(Debug)]
pub(super) struct Access {
    /// Its URL.
    pub broker: String,
    /// A PEM file of the authorities to be trusted instead of the system's.
    pub ca: Option<PathBuf>,
    pub user: Option<String>,
    /// The name of the credential with the password.
    pub password: Option<String>,
    /// Whether the password may go over the internet in plain text.
    pub plain: bool,
    /// The longest that an acknowledgement or a state may take, in seconds.
    pub timeout_sec: Option<u64>,
}

/// Where a reading comes from.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Source {
    topic: String,
    /// A JSON pointer, where the message is a JSON document.
    json: Option<String>,
    /// Whether messages count that the broker kept from some earlier time; they are marked.
    #[serde(default)]
    retained: bool,
}

/// An actuator.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Moved {
    /// Its name, for example `actuator:pump:p1`.
    capability: String,
    /// The operation that is its safe state.
    safe: String,
    /// Where it says its state.
    state: Option<State>,
    /// Its operations.
    operation: Vec<Operation>,
}

/// Where an actuator says its state, and what it says in its safe state.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct State {
    topic: String,
    json: Option<String>,
    safe: String,
}

/// One operation as a message.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Operation {
    name: String,
    topic: String,
    payload: String,
}

/// A topic to which is published or subscribed: one, not a pattern.
pub(super) fn check_topic(topic: &str) -> Result<(), String> {
    if topic.is_empty() || topic.len() > MQTT_TOPIC_MAX_BYTES || topic.contains('\0') {
        return Err(format!(
            "topic: must have 1 to {MQTT_TOPIC_MAX_BYTES} bytes"
        ));
    }
    match topic.contains(['+', '#']) {
        true => Err(format!(
            "topic: {topic:?} must be one topic, without + and #"
        )),
        false => Ok(()),
    }
}

impl State {
    /// Checks it against operations that are published on these topics.
    fn check<'a>(&self, mut operations: impl Iterator<Item = &'a str>) -> Result<(), String> {
        check_topic(&self.topic)?;
        if operations.any(|topic| topic == self.topic) {
            return Err(format!(
                "topic: {:?} is the topic of an operation: what this node publishes would prove the safe state",
                self.topic
            ));
        }
        check_pointer(self.json.as_deref().unwrap_or_default())
    }
}

impl Access {
    /// The way to the broker, from a damaged table. The way to the safe state needs its address and its authority;
    /// without the rest it is tried all the same.
    fn rescued(table: &Table) -> Result<Self, String> {
        let text = |key: &str| {
            let found = table.get(key).and_then(Value::as_str);
            let found = found.filter(|text| !text.contains('\u{fffd}'));
            found.map(str::to_owned)
        };
        let broker = text("broker").ok_or("there is no broker that reads")?;
        // Counts for TLS alone, where no other authority is trusted instead.
        let ca = match table.contains_key("ca") && !broker.starts_with("mqtt:") {
            true => Some(text("ca").ok_or("there is no ca that reads")?.into()),
            false => None,
        };
        let timeout_sec = table.get("timeout_sec").and_then(Value::as_integer);
        let mut access = Self {
            broker,
            ca,
            user: text("user"),
            password: text("password"),
            plain: table.get("plain").and_then(Value::as_bool) == Some(true),
            timeout_sec: timeout_sec.and_then(|sec| sec.try_into().ok()),
        };
        // Without a login it may still be made safe; one in plain text may be read by others.
        let broker = Broker::read(&access.broker, access.ca.clone());
        let open = broker.is_ok_and(|broker| broker.is_plain_and_far()) && !access.plain;
        if open || access.check_login().is_err() {
            (access.user, access.password) = (None, None);
        }
        Ok(access)
    }

    pub(super) fn broker(&self) -> Result<Broker, String> {
        self.check_login()?;
        let broker = Broker::read(&self.broker, self.ca.clone())?;
        if self.password.is_some() && !self.plain && broker.is_plain_and_far() {
            return Err(format!(
                "broker: the password would go to {broker} in plain text, and anybody on the way could read it; use \
                 mqtts://, or write plain = true where nobody can listen"
            ));
        }
        Ok(broker)
    }

    fn check_login(&self) -> Result<(), String> {
        if self
            .user
            .as_ref()
            .is_some_and(|user| user.len() > NAME_MAX_BYTES)
        {
            return Err(format!("user: must have at most {NAME_MAX_BYTES} bytes"));
        }
        if self.password.is_some() && self.user.is_none() {
            return Err("password: needs a user".to_owned());
        }
        match &self.password {
            Some(name) => check_credential("password", name),
            None => Ok(()),
        }
    }

    fn settle(&self, moved: &Moved, keeper: &Arc<dyn Keeper>) -> Result<Settled, String> {
        let names = moved.operation.iter().map(|o| &o.name);
        let capability = actuator(&moved.capability, names).map_err(|e| e.to_string())?;
        let mut operations = BTreeMap::new();
        for operation in &moved.operation {
            let name = &operation.name;
            let bad = |why: String| format!("operation {name}: {why}");
            check_topic(&operation.topic).map_err(bad)?;
            if operation.payload.len() > MQTT_SENT_MAX_BYTES {
                return Err(bad(format!("payload: at most {MQTT_SENT_MAX_BYTES} bytes")));
            }
            let command = Command {
                topic: operation.topic.clone(),
                payload: operation.payload.clone(),
            };
            if operations.insert(name.clone(), command).is_some() {
                return Err(bad("listed twice".to_owned()));
            }
        }
        let Some(safe) = operations.get(&moved.safe) else {
            return Err(format!(
                "safe = {:?} must be one of its operations",
                moved.safe
            ));
        };
        if let Some((_, name, _)) = placeholder(&safe.payload) {
            return Err(format!(
                "operation {}: payload: the way to the safe state has no parameters, and here is {{{name}}}",
                moved.safe
            ));
        }
        let safe_message = Message {
            topic: safe.topic.clone(),
            payload: safe.payload.clone().into_bytes(),
        };
        let feedback = match &moved.state {
            None => None,
            Some(state) => {
                let bad = |why: String| format!("state.{why}");
                let topics = operations.values().map(|told| told.topic.as_str());
                state.check(topics).map_err(bad)?;
                Some(Feedback {
                    topic: state.topic.clone(),
                    json: state.json.clone(),
                    safe: state.safe.trim().to_owned(),
                })
            }
        };
        Ok(Settled {
            capability,
            operations,
            safe: moved.safe.clone(),
            safe_message,
            feedback,
            limit: Duration::from_millis(timeout_ms(self.timeout_sec)),
            broker: self.broker()?,
            user: self.user.clone(),
            password: self.password.clone(),
            keeper: keeper.clone(),
        })
    }
}

impl Mqtt {
    fn access(&self) -> Access {
        Access {
            broker: self.broker.clone(),
            ca: self.ca.clone(),
            user: self.user.clone(),
            password: self.password.clone(),
            plain: self.plain,
            timeout_sec: self.timeout_sec,
        }
    }

    fn sensors(
        &self,
        access: &Access,
        around: &Around<'_>,
    ) -> Result<Vec<Box<dyn Sensor>>, DeviceError> {
        if self.reading.is_empty() {
            return Ok(Vec::new());
        }
        distinct(self.reading.iter().map(|point| &point.measured))?;
        let mut slots = Vec::new();
        for point in &self.reading {
            let bad = |why: String| {
                DeviceError::Config(format!("reading {}: {why}", point.measured.name()))
            };
            let source = &point.source;
            check_topic(&source.topic).map_err(bad)?;
            check_pointer(source.json.as_deref().unwrap_or_default()).map_err(bad)?;
            slots.push(Arc::new(Slot::new(source.topic.clone(), source.retained)));
        }
        // A broker throws out the earlier of two clients of one name, and two tables may have one name.
        let heard = self.reading.iter().flat_map(|point| {
            let json = point.source.json.clone().unwrap_or_default();
            [point.measured.name(), point.source.topic.clone(), json]
        });
        let heard: Vec<String> = heard.collect();
        let ear = Switchboard::new(&slots, around.clock.clone());
        let client = Arc::new(Client::new(Plan {
            broker: access.broker().map_err(DeviceError::Config)?,
            user: access.user.clone(),
            password: access.password.clone(),
            purpose: format!("readings of {}: {heard:?}", self.name),
            will: None,
            topics: ear.topics(),
            keeper: around.keeper.clone(),
            ear: Arc::new(ear),
        }));
        let sensors = self.reading.iter().zip(slots).map(|(point, slot)| {
            let sensor = MqttSensor {
                name: format!("{} {}", self.name, point.measured.name()),
                slot,
                json: point.source.json.clone(),
                failing: None,
                meter: Meter::new(&self.name, point.measured.clone(), around.clock.steady_ms()),
                client: client.clone(),
                clock: around.clock.clone(),
            };
            Box::new(sensor) as Box<dyn Sensor>
        });
        Ok(sensors.collect())
    }
}

impl Settings for Mqtt {
    fn subject(&self) -> &str {
        &self.name
    }

    fn offers(&self) -> Vec<Offered> {
        let each = self.actuator.iter().flat_map(|moved| {
            let names = moved.operation.iter().map(|o| &o.name);
            offered(&moved.capability, names, &moved.safe, false)
        });
        each.collect()
    }

    fn orders(&self) -> Vec<Order> {
        // One that does not read is told of when it is made.
        let Ok(broker) = self.access().broker() else {
            return Vec::new();
        };
        let each = self.actuator.iter().flat_map(|moved| {
            let broker = &broker;
            moved.operation.iter().map(move |o| Order {
                actuator: moved.capability.clone(),
                operation: o.name.clone(),
                is_safe: o.name == moved.safe,
                place: format!("{:?} at {}", o.topic, broker.key()),
                key: format!("{:?} on {:?} at {}", o.payload, o.topic, broker.key()),
                shown: format!("{:?} on {:?} at {broker}", o.payload, o.topic),
            })
        });
        each.collect()
    }

    fn tells_and_hears(&self) -> (Places, Places) {
        let Ok(broker) = self.access().broker() else {
            return (Vec::new(), Vec::new());
        };
        let at = |topic: &String| format!("{topic:?} at {}", broker.key());
        let tells = self.actuator.iter().flat_map(|moved| {
            let each = moved.operation.iter();
            each.map(|o| (at(&o.topic), moved.capability.clone()))
        });
        let hears = self.actuator.iter().filter_map(|moved| {
            let state = moved.state.as_ref()?;
            Some((at(&state.topic), moved.capability.clone()))
        });
        (tells.collect(), hears.collect())
    }

    fn make(&self, around: &Around<'_>) -> Result<Made, DeviceError> {
        let bad = |why: String| Err(DeviceError::Config(why));
        if self.name.trim().is_empty() || self.name.len() > NAME_MAX_BYTES {
            return bad(format!("name: must have 1 to {NAME_MAX_BYTES} bytes"));
        }
        if self.reading.is_empty() && self.actuator.is_empty() {
            return bad("it has neither a reading nor an actuator".to_owned());
        }
        if self.reading.len() > MQTT_READINGS_MAX || self.actuator.len() > MQTT_ACTUATORS_MAX {
            return bad(format!(
                "at most {MQTT_READINGS_MAX} readings and {MQTT_ACTUATORS_MAX} actuators"
            ));
        }
        let access = self.access();
        access.broker().map_err(DeviceError::Config)?;
        let actuators = self.actuator.iter().map(|moved| {
            let settled = access.settle(moved, around.keeper);
            let bad = |why| DeviceError::Config(format!("actuator {}: {why}", moved.capability));
            Ok(Arc::new(MqttDriver::new(settled.map_err(bad)?)) as SharedActuator)
        });
        Ok(Made {
            actuators: actuators.collect::<Result<_, DeviceError>>()?,
            sensors: self.sensors(&access, around)?,
        })
    }
}

/// The actuators with their safe operations alone, those of which that is certain.
fn rescue(table: &Table, ground: &Ground<'_>) -> Result<Vec<SharedActuator>, String> {
    let all = table.get("actuator");
    let many = all.and_then(Value::as_array).into_iter().flatten();
    let one = all.filter(|value| value.is_table());
    let found: Vec<&Table> = many.chain(one).filter_map(Value::as_table).collect();
    if found.is_empty() {
        return Ok(Vec::new());
    }
    let access = Access::rescued(table)?;
    let certain = found.into_iter().filter_map(|table| {
        let settled = safe_half(table).and_then(|moved| access.settle(&moved, ground.keeper));
        match settled {
            Ok(settled) => Some(Arc::new(MqttDriver::new(settled)) as SharedActuator),
            Err(why) => {
                let name = table.get("capability").map(ToString::to_string);
                let name = name.unwrap_or_else(|| "an actuator of a broker".to_owned());
                tracing::error!(
                    "{name} stays as it is: its way to the safe state is not known: {why}"
                );
                None
            }
        }
    });
    Ok(certain.collect())
}

/// An actuator's way to its safe state, from a table of which other parts may be wrong.
fn safe_half(table: &Table) -> Result<Moved, String> {
    let text = |table: &Table, key: &str| {
        let found = table.get(key).and_then(Value::as_str);
        let found = found.filter(|text| !text.contains('\u{fffd}'));
        found
            .map(str::to_owned)
            .ok_or_else(|| format!("there is no {key} that reads"))
    };
    let safe = text(table, "safe")?;
    let all = table.get("operation");
    let many = all.and_then(Value::as_array).into_iter().flatten();
    let one = all.filter(|value| value.is_table());
    let all: Vec<&Table> = many.chain(one).filter_map(Value::as_table).collect();
    let named = |table: &&&Table| table.get("name").and_then(Value::as_str) == Some(&safe);
    let mut fit = all.iter().filter(named);
    let (Some(operation), None) = (fit.next(), fit.next()) else {
        return Err(format!("there is not one operation {safe:?}"));
    };
    let state = table.get("state").cloned();
    let state: Option<State> = state.and_then(|state| state.try_into().ok());
    let topics = all.iter().filter_map(|table| table.get("topic")?.as_str());
    let state = state.filter(|state| state.check(topics).is_ok());
    Ok(Moved {
        capability: text(table, "capability")?,
        // Without one that is of use the broker's acknowledgement has to do.
        state,
        operation: vec![Operation {
            name: safe.clone(),
            topic: text(operation, "topic")?,
            payload: text(operation, "payload")?,
        }],
        safe,
    })
}

#[cfg(test)]
mod tests;
