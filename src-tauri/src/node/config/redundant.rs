//! `[[redundant]]`: readings of this node that measure the same thing, and when they agree.

use serde::Deserialize;

use super::{ConfigError, value};
use crate::adapters::devices::{DeviceError, Sensor};
use crate::domain::base::limits::{
    NAME_MAX_BYTES, REDUNDANT_MAX, REDUNDANT_READINGS_MAX, REDUNDANT_WITHIN_SEC,
    SENSOR_EVERY_SEC_MAX,
};
use crate::domain::base::text::closest;
use crate::domain::inference::route::Labels;
use crate::domain::quality::Agreement;

/// `[[redundant]]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawRedundant {
    /// As what the agreed value is published.
    pub metric: String,
    /// Where.
    pub zone: Option<String>,
    /// The sensors, by name.
    pub readings: Vec<String>,
    /// How far two of them may be apart and agree, in their unit.
    pub agree_within: f64,
    /// How many have to agree; more than half of them, and at least two.
    pub of: Option<usize>,
    /// The oldest value that counts, in seconds.
    pub within_sec: Option<u64>,
}

/// Sensors of the same thing.
#[derive(Debug, Clone, PartialEq)]
pub struct Redundant {
    /// As what the agreed value is published.
    pub metric: String,
    /// Where.
    pub zone: Option<String>,
    /// The sensors, by name.
    pub readings: Vec<String>,
    /// When they agree.
    pub agreement: Agreement,
    /// The oldest value that counts, in milliseconds.
    pub within_ms: u64,
}

/// Checks the tables by themselves.
///
/// # Errors
/// [`ConfigError::Value`] naming the key.
pub(super) fn resolve(all: Vec<RawRedundant>) -> Result<Vec<Redundant>, ConfigError> {
    if all.len() > REDUNDANT_MAX {
        let why = format!("at most {REDUNDANT_MAX} tables");
        return Err(value("redundant", why));
    }
    all.into_iter().map(one).collect()
}

fn one(raw: RawRedundant) -> Result<Redundant, ConfigError> {
    let bad = |key: &str, why: String| Err(value(&format!("redundant.{key}"), why));
    for (key, name) in [("metric", Some(&raw.metric)), ("zone", raw.zone.as_ref())] {
        let Some(name) = name else { continue };
        if name.trim().is_empty()
            || name.len() > NAME_MAX_BYTES
            || name.chars().any(char::is_control)
        {
            return bad(
                key,
                format!("must be a name of at most {NAME_MAX_BYTES} bytes"),
            );
        }
    }
    let n = raw.readings.len();
    if !(2..=REDUNDANT_READINGS_MAX).contains(&n) {
        return bad(
            "readings",
            format!("must name 2 to {REDUNDANT_READINGS_MAX} sensors"),
        );
    }
    let majority = n / 2 + 1;
    let of = raw.of.unwrap_or(majority);
    if !(majority..=n).contains(&of) {
        return bad(
            "of",
            format!(
                "must be {majority} to {n}: more than half of them, so that no two sides can both be right"
            ),
        );
    }
    if !(raw.agree_within.is_finite() && raw.agree_within >= 0.0) {
        return bad("agree_within", "must be a number of at least 0".to_owned());
    }
    let within_sec = raw.within_sec.unwrap_or(REDUNDANT_WITHIN_SEC);
    if !(1..=SENSOR_EVERY_SEC_MAX).contains(&within_sec) {
        return bad("within_sec", format!("must be 1 to {SENSOR_EVERY_SEC_MAX}"));
    }
    Ok(Redundant {
        metric: raw.metric,
        zone: raw.zone,
        readings: raw.readings,
        agreement: Agreement {
            within: raw.agree_within,
            of,
        },
        within_ms: within_sec.saturating_mul(1_000),
    })
}

/// Checks the tables against the sensors that there are.
///
/// # Errors
/// [`DeviceError::Config`] naming the table and the sensor.
pub fn check(
    all: &[Redundant],
    sensors: &[Box<dyn Sensor>],
    labels: &Labels,
) -> Result<(), DeviceError> {
    let meters: Vec<_> = sensors
        .iter()
        .filter_map(|sensor| Some((sensor.name(), sensor.meter()?)))
        .collect();
    let mut taken = std::collections::BTreeMap::new();
    for (name, meter) in &meters {
        let what = (meter.metric().to_owned(), meter.zone().map(str::to_owned));
        taken.insert(what, (*name).to_owned());
    }
    let mut used = std::collections::BTreeSet::new();
    for one in all {
        let title = [one.metric.as_str(), one.zone.as_deref().unwrap_or_default()].join(" ");
        let bad = |why: String| {
            let title = title.trim_end();
            Err(DeviceError::Config(format!("redundant {title}: {why}")))
        };
        let mut unit = None;
        for name in &one.readings {
            let Some((_, meter)) = meters.iter().find(|(known, _)| known == name) else {
                let near = closest(name, meters.iter().map(|(known, _)| *known));
                let near =
                    near.map_or_else(String::new, |near| format!("; did you mean {near:?}?"));
                return bad(format!("readings: there is no sensor {name:?}{near}"));
            };
            if !used.insert(name.clone()) {
                return bad(format!("readings: {name} is named twice"));
            }
            let is_private = |zone, metric| labels.reading(zone, metric).is_private();
            if is_private(meter.zone(), meter.metric())
                && !is_private(one.zone.as_deref(), &one.metric)
            {
                return bad(format!(
                    "{name} is private and what it agrees on is not; name that zone or metric in [privacy] too"
                ));
            }
            let first = unit.get_or_insert_with(|| meter.unit().to_owned());
            if first != meter.unit() {
                return bad(format!(
                    "readings: {name} has another unit than those before it"
                ));
            }
        }
        let what = (one.metric.clone(), one.zone.clone());
        if let Some(other) = taken.insert(what, title.clone()) {
            return bad(format!(
                "{other} is published as this metric and zone already; give the readings metrics or zones of their own"
            ));
        }
    }
    Ok(())
}
