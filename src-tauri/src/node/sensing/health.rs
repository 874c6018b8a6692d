//! How the node's sensors are: what each gave last, which fail and why, and who waits for the next look at one.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, watch};

use crate::adapters::devices::{Reading, Sensor};
use crate::domain::base::TimeMs;
use crate::domain::base::limits::{DEVICE_LOOKS_MAX, SENSOR_READINGS_MAX};
use crate::domain::quality::Doubt;

/// How a sensor is.
#[derive(Debug, Clone, PartialEq)]
pub struct SensorHealth {
    /// Its name; the second of one name has a number behind it.
    pub name: String,
    /// The device that it belongs to; its own name where it stands for itself.
    pub device: String,
    /// When it last gave a reading.
    pub last_reading_at: Option<TimeMs>,
    /// Since when it fails, if it does, and why.
    pub failing: Option<(TimeMs, String)>,
    /// What it said last, published or not; what it measures without a value where it has said nothing.
    pub values: Vec<Said>,
}

/// What a sensor said last of one thing.
#[derive(Debug, Clone, PartialEq)]
pub struct Said {
    /// What is measured.
    pub metric: String,
    /// Where.
    pub zone: Option<String>,
    /// In which unit.
    pub unit: String,
    /// As the device said it, where that is known.
    pub raw: Option<f64>,
    /// The value, in the unit.
    pub value: Option<f64>,
    /// Why it is not believed, if it is not.
    pub doubt: Option<Doubt>,
    /// When.
    pub at: Option<TimeMs>,
}

impl Said {
    /// What a sensor measures, as far as its configuration says, without a value.
    pub fn nothing_of(sensor: &dyn Sensor) -> Vec<Self> {
        let of = sensor.meter().map(|meter| Self {
            metric: meter.metric().to_owned(),
            zone: meter.zone().map(str::to_owned),
            unit: meter.unit().to_owned(),
            raw: None,
            value: None,
            doubt: None,
            at: None,
        });
        of.into_iter().collect()
    }

    /// What a sensor has said now, at `now` and `now_ms` of a clock that never steps.
    pub fn of(sensor: &dyn Sensor, readings: &[Reading], now: TimeMs, now_ms: u64) -> Vec<Self> {
        if let Some(meter) = sensor.meter() {
            let last = meter.last().cloned();
            let mut all = Self::nothing_of(sensor);
            for one in &mut all {
                let Some(last) = &last else { continue };
                one.raw = Some(last.raw);
                one.value = Some(last.value);
                one.doubt = last.doubt.clone();
                one.at = Some(TimeMs(
                    now.0.saturating_sub(now_ms.saturating_sub(last.at_ms)),
                ));
            }
            return all;
        }
        let each = readings
            .iter()
            .take(SENSOR_READINGS_MAX)
            .map(|reading| Self {
                metric: reading.metric.clone(),
                zone: reading.zone.clone(),
                unit: reading.unit.to_string(),
                raw: None,
                value: Some(reading.value),
                doubt: reading.doubt.clone(),
                at: Some(now),
            });
        each.collect()
    }
}

/// A sensor's health, and who asks for a look at it.
#[derive(Debug)]
struct Place {
    health: SensorHealth,
    wanted: Arc<Notify>,
    /// How many times it was looked at.
    looks: watch::Sender<u64>,
}

/// The node's sensors, in the order in which they were added.
#[derive(Debug, Clone)]
pub struct Sensors {
    places: Arc<Mutex<Vec<Place>>>,
    /// Turns of those who want a look at one of them.
    turns: Arc<Semaphore>,
}

impl Default for Sensors {
    fn default() -> Self {
        Self {
            places: Arc::default(),
            turns: Arc::new(Semaphore::new(DEVICE_LOOKS_MAX)),
        }
    }
}

impl Sensors {
    fn lock(&self) -> MutexGuard<'_, Vec<Place>> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The turn of who wants a look, for as long as it is held; `None` if there is none within `wait`.
    pub async fn turn(&self, wait: Duration) -> Option<OwnedSemaphorePermit> {
        let turn = self.turns.clone().acquire_owned();
        tokio::time::timeout(wait, turn).await.ok()?.ok()
    }

    /// How each is now.
    pub fn list(&self) -> Vec<SensorHealth> {
        self.lock()
            .iter()
            .map(|place| place.health.clone())
            .collect()
    }

    /// Adds one; tells when a look at it is wanted.
    pub(super) fn add(&self, health: SensorHealth) -> Arc<Notify> {
        let wanted = Arc::new(Notify::new());
        self.lock().push(Place {
            health,
            wanted: wanted.clone(),
            looks: watch::Sender::new(0),
        });
        wanted
    }

    /// A name that no other sensor has: its own, or that with a number.
    pub(super) fn free_name(&self, name: &str) -> String {
        let all = self.lock();
        let is_free = |name: &String| all.iter().all(|place| place.health.name != *name);
        let numbered = (2_u64..).map(|n| format!("{name} {n}"));
        let mut names = std::iter::once(name.to_owned()).chain(numbered);
        names.find(is_free).unwrap_or_else(|| name.to_owned())
    }

    /// Takes these out.
    pub(super) fn remove(&self, names: &[String]) {
        self.lock()
            .retain(|place| !names.contains(&place.health.name));
    }

    pub(super) fn change(&self, name: &str, change: impl FnOnce(&mut SensorHealth)) {
        let mut all = self.lock();
        if let Some(place) = all.iter_mut().find(|place| place.health.name == name) {
            change(&mut place.health);
        }
    }

    /// It was looked at.
    pub(super) fn looked(&self, name: &str) {
        let all = self.lock();
        if let Some(place) = all.iter().find(|place| place.health.name == name) {
            place.looks.send_modify(|looks| *looks += 1);
        }
    }

    /// Has a sensor looked at soon; counts up with each look. `None` where there is none of this name.
    pub fn look(&self, name: &str) -> Option<watch::Receiver<u64>> {
        let all = self.lock();
        let place = all.iter().find(|place| place.health.name == name)?;
        let looks = place.looks.subscribe();
        place.wanted.notify_one();
        Some(looks)
    }
}

/// How the sensors of a device are.
pub(super) struct Standing {
    /// What the device's alarm is about: the device, or its only sensor.
    pub subject: String,
    all: usize,
    /// Those that fail, and why.
    pub failing: Vec<(String, String)>,
}

impl Standing {
    /// That of a sensor's device.
    pub(super) fn of(sensors: &Sensors, name: &str) -> Self {
        let places = sensors.lock();
        let own = places.iter().find(|place| place.health.name == name);
        let device = own.map_or(name, |own| own.health.device.as_str());
        let all = places.iter().map(|place| &place.health);
        let all: Vec<&SensorHealth> = all.filter(|health| health.device == device).collect();
        let failing = all.iter().filter_map(|health| {
            let (_, why) = health.failing.as_ref()?;
            Some((health.name.clone(), why.clone()))
        });
        Self {
            subject: if all.len() > 1 { device } else { name }.to_owned(),
            all: all.len(),
            failing: failing.collect(),
        }
    }

    /// What its alarm says, in which this sensor stands for all that fail.
    pub(super) fn message(&self, name: &str, why: &str) -> String {
        let (failing, all, device) = (self.failing.len(), self.all, &self.subject);
        match all {
            0 | 1 => format!("the sensor {name} gives no readings: {why}"),
            _ if failing == all => {
                format!("the device {device} gives none of its {all} readings: {why}")
            }
            _ => format!(
                "{failing} of {all} readings of the device {device} are missing; {name}: {why}"
            ),
        }
    }
}
