//! Sensors. One that has no reading gives none; it never invents a number.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};
use tokio::sync::Notify;

use super::Meter;
use crate::domain::base::TimeMs;
use crate::domain::quality::Doubt;

/// One reading.
#[derive(Debug, Clone, PartialEq)]
pub struct Reading {
    /// The metric, for example `moisture`.
    pub metric: String,
    /// Where.
    pub zone: Option<String>,
    /// The value, in `unit`.
    pub value: f64,
    /// The unit.
    pub unit: Cow<'static, str>,
    /// Why it is not believed, if it is not; it is told all the same, as an unverified observation.
    pub doubt: Option<Doubt>,
    /// When it was measured, on a clock that never steps, where that may be long before it is told.
    pub measured_ms: Option<u64>,
    /// A sentence for people.
    pub note: Option<String>,
    /// Further members of the frame's data.
    pub extra: Map<String, Value>,
}

impl Reading {
    /// A plain reading.
    pub fn new(
        metric: impl Into<String>,
        zone: &str,
        value: f64,
        unit: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self {
            metric: metric.into(),
            zone: Some(zone.to_owned()),
            value,
            unit: unit.into(),
            doubt: None,
            measured_ms: None,
            note: None,
            extra: Map::new(),
        }
    }
}

/// Why a sensor has no readings, in a sentence without a full stop.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SensorError(pub String);

/// A source of readings: one that is asked, or one that sends by itself and wakes its reader.
pub trait Sensor: Send {
    /// Its name, for people.
    fn name(&self) -> &str;

    /// The values of its one reading, where the configuration says what it measures; none where it finds that out itself.
    fn meter(&self) -> Option<&Meter> {
        None
    }

    /// How often it is read, where its configuration says; else as often as the node reads its sensors.
    fn interval(&self) -> Option<Duration> {
        None
    }

    /// Tells when there is something to read before the interval is over, for a device that sends by itself.
    fn news(&self) -> Option<Arc<Notify>> {
        None
    }

    /// Whether reading may block, on a bus or a file; then it is read on a thread of its own.
    fn blocks(&self) -> bool {
        true
    }

    /// Its readings now; none where there is nothing new.
    ///
    /// # Errors
    /// If it cannot measure.
    fn read(&mut self, now: TimeMs) -> Result<Vec<Reading>, SensorError>;

    /// The last reading was not published: report it again, also within a deadband.
    fn untold(&mut self) {}

    /// Whether others send it to the running node and wait until it is kept: then a reading is on the disk before
    /// [`Sensor::told`], and where no node runs nothing can come.
    fn is_sent(&self) -> bool {
        false
    }

    /// The last reading was published.
    fn told(&mut self) {}
}
