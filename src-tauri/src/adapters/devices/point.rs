//! A reading of a device as the configuration has it: the keys that all kinds share (what is measured, where, in which
//! unit, what is believed, what is told) beside those of the kind, and what becomes of each value.

use std::fmt;

use serde::de::{DeserializeOwned, Error};
use serde::{Deserialize, Deserializer};
use toml::{Table, Value};

use super::registry::DeviceError;
use super::value::scaled;
use super::{Reading, SensorError};
use crate::domain::base::limits::{NAME_MAX_BYTES, SENSOR_EVERY_SEC_MAX, UNIT_MAX_BYTES};
use crate::domain::quality::{Bounds, Doubt, History};

/// A table of a reading: what all kinds have, and the keys of the kind.
#[derive(Debug, Clone)]
pub(super) struct Point<S> {
    /// The quantity.
    pub measured: Measured,
    /// Where the kind finds it.
    pub source: S,
}

impl<'de, S: DeserializeOwned> Deserialize<'de> for Point<S> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (shared, own): (Table, Table) = Table::deserialize(deserializer)?
            .into_iter()
            .partition(|(key, _)| Measured::KEYS.contains(&key.as_str()));
        let name = shared.get("metric").and_then(Value::as_str);
        let of = name.map_or_else(|| "reading".to_owned(), |name| format!("reading {name}"));
        let bad = |why: &dyn fmt::Display| D::Error::custom(format!("{of}: {why}"));
        let measured = Measured::deserialize(shared).map_err(|e| bad(&e.message()))?;
        measured.check().map_err(|why| bad(&why))?;
        Ok(Self {
            source: S::deserialize(own).map_err(|e| bad(&e.message()))?,
            measured,
        })
    }
}

/// Keys common to all readings.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Measured {
    /// The quantity, for example `moisture`.
    pub metric: String,
    /// Where.
    pub zone: Option<String>,
    /// The unit, as UCUM writes it where it has one.
    #[serde(default)]
    pub unit: String,
    /// Factor for the raw value.
    #[serde(default = "one")]
    scale: f64,
    /// Added after that.
    #[serde(default)]
    offset: f64,
    /// Limits of plausible values.
    #[serde(default)]
    check: Check,
    /// The rule for reporting.
    #[serde(default)]
    report: Report,
}

fn one() -> f64 {
    1.0
}

/// Plausible values: the bounds of a value, and how old it may be.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Check {
    range: Option<[f64; 2]>,
    per_second: Option<f64>,
    stuck_sec: Option<u64>,
    /// The oldest that a value may be, in seconds: where the device sends by itself, the longest that nothing may come.
    late_sec: Option<u64>,
}

impl Check {
    fn bounds(&self) -> Bounds {
        Bounds {
            range: self.range,
            per_second: self.per_second,
            stuck_sec: self.stuck_sec,
        }
    }
}

/// The rule for reporting: every value, or only changes.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Report {
    /// A value closer than this to the last one that was told is left out.
    deadband: Option<f64>,
    /// Told at least so often all the same, in seconds.
    every_sec: Option<u64>,
}

/// How often a value within its deadband is told where nothing else is said, in seconds.
const REPORT_EVERY_SEC: u64 = 60;

impl Measured {
    const KEYS: [&str; 7] = [
        "metric", "zone", "unit", "scale", "offset", "check", "report",
    ];

    fn check(&self) -> Result<(), String> {
        let words = [
            ("metric", Some(&self.metric), NAME_MAX_BYTES),
            ("zone", self.zone.as_ref(), NAME_MAX_BYTES),
        ];
        for (key, text, most) in words {
            let Some(text) = text else { continue };
            if text.trim().is_empty() || text.chars().any(char::is_control) || text.len() > most {
                return Err(format!("{key}: must be a name of at most {most} bytes"));
            }
        }
        if self.unit.chars().any(char::is_control) || self.unit.len() > UNIT_MAX_BYTES {
            return Err(format!("unit: must be at most {UNIT_MAX_BYTES} bytes"));
        }
        if !(self.scale.is_finite() && self.scale != 0.0) {
            return Err("scale: must be a number other than 0".to_owned());
        }
        if !self.offset.is_finite() {
            return Err("offset: must be a number".to_owned());
        }
        self.check
            .bounds()
            .check()
            .map_err(|why| format!("check.{why}"))?;
        let deadband = self.report.deadband;
        if deadband.is_some_and(|band| !(band.is_finite() && band > 0.0)) {
            return Err("report.deadband: must be a number greater than 0".to_owned());
        }
        if deadband.is_none() && self.report.every_sec.is_some() {
            return Err("report.every_sec: says nothing without a deadband".to_owned());
        }
        let spans = [
            ("check.stuck_sec", self.check.stuck_sec),
            ("check.late_sec", self.check.late_sec),
            ("report.every_sec", self.report.every_sec),
        ];
        for (key, span) in spans {
            if span.is_some_and(|sec| !(1..=SENSOR_EVERY_SEC_MAX).contains(&sec)) {
                return Err(format!("{key}: must be 1 to {SENSOR_EVERY_SEC_MAX}"));
            }
        }
        Ok(())
    }

    /// Its name among the readings of a device: `moisture zone-1`.
    pub(super) fn name(&self) -> String {
        match &self.zone {
            Some(zone) => format!("{} {zone}", self.metric),
            None => self.metric.clone(),
        }
    }
}

/// No two readings of a device may be the same, or their names would be ambiguous.
///
/// # Errors
/// [`DeviceError::Config`] naming the second.
pub(super) fn distinct<'a>(
    points: impl IntoIterator<Item = &'a Measured>,
) -> Result<(), DeviceError> {
    let mut seen = std::collections::BTreeSet::new();
    for point in points {
        if !seen.insert(point.name()) {
            let why = format!("reading {}: configured twice", point.name());
            return Err(DeviceError::Config(why));
        }
    }
    Ok(())
}

/// The values of one reading as they come.
#[derive(Debug)]
pub struct Meter {
    device: String,
    measured: Measured,
    bounds: Bounds,
    history: History,
    told: Option<Told>,
    last: Option<Taken>,
    /// When the device last said something, or the meter began.
    heard_ms: u64,
}

/// A device's last value, reported or not.
#[derive(Debug, Clone, PartialEq)]
pub struct Taken {
    /// As the device said it.
    pub raw: f64,
    /// Times scale, plus offset.
    pub value: f64,
    /// Why it is not believed, if it is not.
    pub doubt: Option<Doubt>,
    /// When, on a clock that never steps.
    pub at_ms: u64,
}

/// The last value reported.
#[derive(Debug)]
struct Told {
    value: f64,
    at_ms: u64,
    doubted: bool,
}

impl Meter {
    /// One of a device; begins at `now_ms` of a clock that never steps.
    pub(super) fn new(device: &str, measured: Measured, now_ms: u64) -> Self {
        Self {
            device: device.to_owned(),
            bounds: measured.check.bounds(),
            measured,
            history: History::default(),
            told: None,
            last: None,
            heard_ms: now_ms,
        }
    }

    /// The device that it is a reading of.
    pub fn device(&self) -> &str {
        &self.device
    }

    /// Its name among the readings of its device.
    pub fn name(&self) -> String {
        self.measured.name()
    }

    /// The metric.
    pub fn metric(&self) -> &str {
        &self.measured.metric
    }

    /// Where.
    pub fn zone(&self) -> Option<&str> {
        self.measured.zone.as_deref()
    }

    /// In which unit.
    pub fn unit(&self) -> &str {
        &self.measured.unit
    }

    /// The device's last value.
    pub fn last(&self) -> Option<&Taken> {
        self.last.as_ref()
    }

    /// As [`Meter::take`], as a sensor gives it.
    ///
    /// # Errors
    /// If it is no finite number.
    pub(super) fn read(
        &mut self,
        raw: f64,
        doubt: Option<Doubt>,
        now_ms: u64,
    ) -> Result<Vec<Reading>, SensorError> {
        let reading = self.take(raw, doubt, now_ms).map_err(SensorError)?;
        Ok(reading.into_iter().collect())
    }

    /// As [`Meter::read`], of a value that was measured at `at_ms`, which its reading says too.
    ///
    /// # Errors
    /// If it is no finite number.
    pub(super) fn read_of(
        &mut self,
        raw: f64,
        doubt: Option<Doubt>,
        at_ms: u64,
        now_ms: u64,
    ) -> Result<Vec<Reading>, SensorError> {
        let reading = self.take(raw, doubt, at_ms).map_err(SensorError)?;
        self.heard_ms = now_ms;
        Ok(Vec::from_iter(reading.map(|reading| Reading {
            measured_ms: Some(at_ms),
            ..reading
        })))
    }

    /// The reading of what the device said at `now_ms` of a clock that never steps; `None` where it is within the
    /// deadband. `doubt` is a doubt that the kind has itself.
    ///
    /// # Errors
    /// If it is no finite number.
    pub(super) fn take(
        &mut self,
        raw: f64,
        doubt: Option<Doubt>,
        now_ms: u64,
    ) -> Result<Option<Reading>, String> {
        let value = scaled(raw, self.measured.scale, self.measured.offset);
        if !value.is_finite() {
            return Err(format!(
                "{}: {raw} is no usable number",
                self.measured.name()
            ));
        }
        self.heard_ms = now_ms;
        let doubt = doubt.or_else(|| self.history.judge(&self.bounds, value, now_ms));
        self.last = Some(Taken {
            raw,
            value,
            doubt: doubt.clone(),
            at_ms: now_ms,
        });
        if !self.is_news(value, doubt.is_some(), now_ms) {
            return Ok(None);
        }
        let doubted = doubt.is_some();
        self.told = Some(Told {
            value,
            at_ms: now_ms,
            doubted,
        });
        let mut reading = Reading::new(
            self.measured.metric.clone(),
            "",
            value,
            self.measured.unit.clone(),
        );
        (reading.zone, reading.doubt) = (self.measured.zone.clone(), doubt);
        Ok(Some(reading))
    }

    /// The last value was not published: the next one is reported, changed or not.
    pub(super) fn untold(&mut self) {
        self.told = None;
    }

    fn is_news(&self, value: f64, doubted: bool, now_ms: u64) -> bool {
        let Report {
            deadband: Some(band),
            every_sec,
        } = self.measured.report
        else {
            return true;
        };
        let every_ms = every_sec.unwrap_or(REPORT_EVERY_SEC).saturating_mul(1_000);
        self.told.as_ref().is_none_or(|told| {
            (value - told.value).abs() >= band
                || told.doubted != doubted
                || now_ms.saturating_sub(told.at_ms) >= every_ms
        })
    }

    /// The doubt of a value that was measured so long ago.
    pub(super) fn late(&self, age_ms: u64) -> Option<Doubt> {
        let most = self.measured.check.late_sec?.saturating_mul(1_000);
        (age_ms > most).then_some(Doubt::Late { since_ms: age_ms })
    }

    /// For how long the device has said nothing, in milliseconds, if that is too long.
    pub(super) fn silent_ms(&self, now_ms: u64) -> Option<u64> {
        let silent = now_ms.saturating_sub(self.heard_ms);
        self.late(silent).map(|_| silent)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// The source keys of a pretend kind.
    #[derive(Debug, Clone, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Path {
        path: String,
    }

    fn point(text: &str) -> Result<Point<Path>, String> {
        toml::from_str(text).map_err(|e| e.message().to_owned())
    }

    fn meter(text: &str) -> Meter {
        let text = format!("metric = \"m\"\npath = \"/x\"\n{text}");
        Meter::new("d", point(&text).unwrap().measured, 0)
    }

    fn value(reading: Option<Reading>) -> Option<f64> {
        reading.map(|reading| reading.value)
    }

    #[test]
    fn a_table_has_the_shared_keys_and_those_of_its_kind() {
        let good =
            "metric = \"t\"\nzone = \"z\"\nunit = \"Cel\"\nscale = 0.001\npath = \"/sys/temp\"";
        let read = point(good).unwrap();
        assert_eq!(read.source.path, "/sys/temp");
        assert_eq!(read.measured.name(), "t z");
        for (line, why) in [
            (
                "topic = \"x\"",
                "reading t: unknown field `topic`, expected `path`",
            ),
            (
                "scale = 0",
                "reading t: scale: must be a number other than 0",
            ),
            (
                "scale = nan",
                "reading t: scale: must be a number other than 0",
            ),
            ("offset = inf", "reading t: offset: must be a number"),
            (
                "zone = \"\"",
                "reading t: zone: must be a name of at most 128 bytes",
            ),
            (
                "check = { range = [3, 1] }",
                "reading t: check.range: the first number must be less than the second",
            ),
            (
                "check = { late_sec = 0 }",
                "reading t: check.late_sec: must be 1 to 31622400",
            ),
            (
                "report = { deadband = 0 }",
                "reading t: report.deadband: must be a number greater than 0",
            ),
            (
                "report = { every_sec = 5 }",
                "reading t: report.every_sec: says nothing without a deadband",
            ),
        ] {
            let text = format!("metric = \"t\"\npath = \"/x\"\n{line}");
            assert_eq!(point(&text).unwrap_err(), why);
        }
        assert!(
            point("path = \"/x\"")
                .unwrap_err()
                .contains("reading: missing field `metric`")
        );
    }

    #[test]
    fn values_are_scaled_without_the_noise_of_the_scale() {
        let mut meter = meter("scale = 0.1\noffset = -40");
        assert_eq!(value(meter.take(703.0, None, 0).unwrap()), Some(30.3));
        let error = meter.take(f64::NAN, None, 1).unwrap_err();
        assert_eq!(error, "m: NaN is no usable number");
        assert!(meter.take(f64::MAX, None, 1).is_ok());
    }

    #[test]
    fn a_value_within_the_deadband_is_told_only_so_often() {
        let mut meter = meter("report = { deadband = 0.5, every_sec = 10 }");
        let mut told = |raw, at| value(meter.take(raw, None, at).unwrap());
        assert_eq!(told(20.0, 0), Some(20.0));
        assert_eq!(told(20.4, 1_000), None);
        assert_eq!(told(20.5, 2_000), Some(20.5));
        assert_eq!(told(20.5, 11_999), None);
        assert_eq!(told(20.5, 12_000), Some(20.5));
    }

    #[test]
    fn a_doubt_is_told_within_the_deadband_and_so_is_its_end() {
        let mut meter = meter("report = { deadband = 50 }\ncheck = { range = [0, 30] }");
        let mut doubted = |raw, at| {
            let reading = meter.take(raw, None, at).unwrap();
            reading.map(|reading| reading.doubt.is_some())
        };
        assert_eq!(doubted(20.0, 0), Some(false));
        assert_eq!(doubted(31.0, 1_000), Some(true));
        assert_eq!(doubted(31.0, 2_000), None);
        assert_eq!(doubted(29.0, 3_000), Some(false));
    }

    #[test]
    fn a_value_that_was_not_published_is_news_still() {
        let mut meter = meter("report = { deadband = 5 }");
        assert!(meter.take(20.0, None, 0).unwrap().is_some());
        assert!(meter.take(20.0, None, 1_000).unwrap().is_none());
        meter.untold();
        assert!(meter.take(20.0, None, 2_000).unwrap().is_some());
    }

    #[test]
    fn a_device_that_is_silent_is_late_and_one_that_speaks_is_not() {
        let mut meter = meter("check = { late_sec = 60 }");
        assert_eq!(meter.silent_ms(60_000), None);
        assert_eq!(meter.silent_ms(60_001), Some(60_001));
        meter.take(1.0, None, 61_000).unwrap();
        assert_eq!(meter.silent_ms(121_000), None);
        assert_eq!(meter.silent_ms(121_001), Some(60_001));
    }
}
