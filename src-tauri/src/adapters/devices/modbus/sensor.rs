//! One reading of a device: it takes what the connection read last, and asks for more.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, json};
use tokio::sync::Notify;

use super::link::Link;
use super::poll::Slot;
use super::value::{Form, Type};
use crate::adapters::clock::SharedClock;
use crate::adapters::devices::point::Meter;
use crate::adapters::devices::{Reading, Sensor, SensorError};
use crate::domain::base::TimeMs;

/// See the module.
pub(super) struct RegisterSensor {
    /// Its name, for people.
    pub name: String,
    /// The register, as errors name it.
    pub register: String,
    /// How often it is read.
    pub every: Option<Duration>,
    /// Checks and reports each value.
    pub meter: Meter,
    /// How the value lies in its registers.
    pub form: Form,
    /// Values that mean that there is none.
    pub invalid: Vec<f64>,
    /// Which reading of the device it is.
    pub member: usize,
    /// Where its words come.
    pub slot: Arc<Slot>,
    /// The connection.
    pub link: Link,
    /// The clock.
    pub clock: SharedClock,
    /// Why it has no readings, as long as it has none.
    pub failing: Option<String>,
}

impl RegisterSensor {
    fn value(&mut self, words: &[u16]) -> Result<Vec<Reading>, String> {
        let register = &self.register;
        let raw = self.form.number(words);
        let raw = raw.ok_or_else(|| format!("{register}: the answer is too short"))?;
        if self.invalid.contains(&raw) {
            return Err(format!(
                "{register}: the device says that it has no value ({raw})"
            ));
        }
        if !raw.is_finite() {
            let others = others(self.form, words);
            return Err(format!(
                "{register}: {} is no number; {}",
                hex(words),
                in_words(&others)
            ));
        }
        let reading = self.meter.take(raw, None, self.clock.steady_ms());
        let mut reading = reading.map_err(|why| format!("{register}: {why}"))?;
        if let Some(reading) = &mut reading {
            // Bytes in another order than the configuration says are the usual cause.
            if reading.doubt.is_some() && words.len() > 1 && self.form.of != Type::Bool {
                reading.extra.insert("raw".to_owned(), hex(words).into());
                let others = others(self.form, words);
                reading
                    .extra
                    .insert("otherOrders".to_owned(), json!(others));
            }
        }
        Ok(reading.into_iter().collect())
    }
}

/// The value in the other orders, as far as that is a number.
fn others(form: Form, words: &[u16]) -> Map<String, serde_json::Value> {
    let others = form.otherwise(words).into_iter();
    let finite = others.filter(|(_, number)| number.is_finite());
    finite
        .map(|(name, number)| (name.to_owned(), json!(number)))
        .collect()
}

fn in_words(others: &Map<String, serde_json::Value>) -> String {
    let each = others
        .iter()
        .map(|(name, number)| format!("order {name:?} would be {number}"));
    each.collect::<Vec<String>>().join(", ")
}

fn hex(words: &[u16]) -> String {
    let each = words.iter().map(|word| format!("{word:04x}"));
    each.collect::<Vec<String>>().join(" ")
}

impl Sensor for RegisterSensor {
    fn name(&self) -> &str {
        &self.name
    }

    fn meter(&self) -> Option<&Meter> {
        Some(&self.meter)
    }

    fn interval(&self) -> Option<Duration> {
        self.every
    }

    fn news(&self) -> Option<Arc<Notify>> {
        Some(self.slot.news())
    }

    fn blocks(&self) -> bool {
        false
    }

    fn untold(&mut self) {
        self.meter.untold();
    }

    fn read(&mut self, _: TimeMs) -> Result<Vec<Reading>, SensorError> {
        let taken = match self.slot.take() {
            Some(taken) => Some(taken),
            None => {
                let member = self.member;
                let asked = self.link.poll(|poll| poll.take_or_want(member));
                asked.map_err(|fault| SensorError(fault.why().to_owned()))?
            }
        };
        let Some(taken) = taken else {
            return match &self.failing {
                Some(why) => Err(SensorError(why.clone())),
                None => Ok(Vec::new()),
            };
        };
        let read = taken.and_then(|words| self.value(&words));
        self.failing = read.as_ref().err().cloned();
        read.map_err(SensorError)
    }
}
