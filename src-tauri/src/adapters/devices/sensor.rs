//! What measures. A sensor that has no reading gives none; it never invents a number.

use std::borrow::Cow;

use serde_json::{Map, Value};

use crate::domain::base::TimeMs;

/// One reading.
#[derive(Debug, Clone, PartialEq)]
pub struct Reading {
    /// What was measured, for example `moisture`.
    pub metric: String,
    /// Where.
    pub zone: Option<String>,
    /// The value, in `unit`.
    pub value: f64,
    /// The unit.
    pub unit: Cow<'static, str>,
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
            note: None,
            extra: Map::new(),
        }
    }
}

/// Why a sensor has no readings, in a sentence without a full stop.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SensorError(pub String);

/// A source of readings. Reading may block: each sensor is read on a thread of its own.
pub trait Sensor: Send {
    /// Its name, for people.
    fn name(&self) -> &str;

    /// What it measures now; nothing where there is nothing new.
    ///
    /// # Errors
    /// If it cannot measure.
    fn read(&mut self, now: TimeMs) -> Result<Vec<Reading>, SensorError>;
}
