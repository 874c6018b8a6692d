//! The readings of a broker: the newest message of each topic, until it is read.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::Notify;

use super::connection::{Client, Ear, Link};
use super::packet::Heard;
use crate::adapters::clock::SharedClock;
use crate::adapters::devices::point::Meter;
use crate::adapters::devices::value::number;
use crate::adapters::devices::{Reading, Sensor, SensorError};
use crate::domain::base::TimeMs;
use crate::domain::base::limits::MQTT_PAYLOAD_MAX_BYTES;
use crate::domain::base::quantity::span;
use crate::domain::quality::Doubt;

/// The newest message of a topic that was not read yet.
struct Newest {
    payload: Result<Bytes, usize>,
    retained: bool,
    at_ms: u64,
}

/// The state of a reading's topic.
struct Known {
    link: Link,
    refused: bool,
    newest: Option<Newest>,
}

/// Where the messages of one reading come in.
pub(super) struct Slot {
    pub topic: String,
    /// Whether messages count that the broker kept from some earlier time.
    pub retained: bool,
    news: Arc<Notify>,
    known: Mutex<Known>,
}

impl Slot {
    pub(super) fn new(topic: String, retained: bool) -> Self {
        let known = Known {
            link: Link::Trying,
            refused: false,
            newest: None,
        };
        Self {
            topic,
            retained,
            news: Arc::default(),
            known: Mutex::new(known),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut Known)) {
        change(&mut self.lock());
        self.news.notify_one();
    }
}

/// Hands each message to the readings that it is for.
pub(super) struct Switchboard {
    by_topic: BTreeMap<String, Vec<Arc<Slot>>>,
    clock: SharedClock,
}

impl Switchboard {
    pub(super) fn new(slots: &[Arc<Slot>], clock: SharedClock) -> Self {
        let mut by_topic: BTreeMap<String, Vec<Arc<Slot>>> = BTreeMap::new();
        for slot in slots {
            let same = by_topic.entry(slot.topic.clone()).or_default();
            same.push(slot.clone());
        }
        Self { by_topic, clock }
    }

    pub(super) fn topics(&self) -> Vec<String> {
        self.by_topic.keys().cloned().collect()
    }
}

impl Ear for Switchboard {
    fn heard(&self, message: Heard) {
        let Some(slots) = self.by_topic.get(&message.topic) else {
            return;
        };
        // A copy: the payload shares its buffer with other packets.
        let payload = message
            .payload
            .map(|payload| Bytes::copy_from_slice(&payload));
        for slot in slots {
            if message.retained && !slot.retained {
                continue;
            }
            let newest = Newest {
                payload: payload.clone(),
                retained: message.retained,
                at_ms: self.clock.steady_ms(),
            };
            slot.change(|known| known.newest = Some(newest));
        }
    }

    fn refused(&self, topic: &str) {
        for slot in self.by_topic.get(topic).into_iter().flatten() {
            slot.change(|known| known.refused = true);
        }
    }

    fn turned(&self, link: &Link) {
        for slot in self.by_topic.values().flatten() {
            slot.change(|known| {
                known.link = link.clone();
                if !matches!(link, Link::Up(_)) {
                    (known.newest, known.refused) = (None, false);
                }
            });
        }
    }
}

/// One reading.
pub(super) struct MqttSensor {
    pub name: String,
    pub slot: Arc<Slot>,
    /// Where in the JSON document that the message is.
    pub json: Option<String>,
    pub meter: Meter,
    pub client: Arc<Client>,
    pub clock: SharedClock,
    /// The fault of the last message; told until a good one comes.
    pub failing: Option<String>,
}

impl MqttSensor {
    /// The reading of a message.
    fn value(&mut self, newest: Newest, now_ms: u64) -> Result<Vec<Reading>, String> {
        let bad = |why: String| format!("{}: {why}", self.slot.topic);
        let payload = newest.payload.map_err(|bytes| {
            bad(format!(
                "it has {bytes} bytes, at most {MQTT_PAYLOAD_MAX_BYTES} are read"
            ))
        })?;
        let raw = number(&payload, self.json.as_deref(), MQTT_PAYLOAD_MAX_BYTES).map_err(bad)?;
        let late = self.meter.late(now_ms.saturating_sub(newest.at_ms));
        let doubt = newest.retained.then_some(Doubt::AgeUnknown).or(late);
        let reading = self.meter.take(raw, doubt, now_ms).map_err(bad)?;
        Ok(reading.into_iter().collect())
    }
}

impl Sensor for MqttSensor {
    fn name(&self) -> &str {
        &self.name
    }

    fn meter(&self) -> Option<&Meter> {
        Some(&self.meter)
    }

    fn news(&self) -> Option<Arc<Notify>> {
        Some(self.slot.news.clone())
    }

    fn blocks(&self) -> bool {
        false
    }

    fn untold(&mut self) {
        self.meter.untold();
    }

    fn read(&mut self, _: TimeMs) -> Result<Vec<Reading>, SensorError> {
        self.client.start();
        let (topic, now_ms) = (&self.slot.topic, self.clock.steady_ms());
        let newest = {
            let mut known = self.slot.lock();
            match &known.link {
                Link::Trying => return Ok(Vec::new()),
                Link::Down(why) => return Err(SensorError(why.clone())),
                Link::Up(_) if known.refused => {
                    let why = format!("the broker does not let this user hear {topic}");
                    return Err(SensorError(why));
                }
                Link::Up(_) => known.newest.take(),
            }
        };
        let Some(newest) = newest else {
            if let Some(why) = &self.failing {
                return Err(SensorError(why.clone()));
            }
            return match self.meter.silent_ms(now_ms) {
                Some(silent) => {
                    let why = format!("nothing has come on {topic} for {}", span(silent));
                    Err(SensorError(why))
                }
                None => Ok(Vec::new()),
            };
        };
        let read = self.value(newest, now_ms);
        self.failing = read.as_ref().err().cloned();
        read.map_err(SensorError)
    }
}
