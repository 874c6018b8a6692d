//! The `webhook` kind in the configuration: a hook and its readings.

use std::sync::Arc;

use serde::Deserialize;
use tokio::sync::Notify;
use toml::Table;

use super::hook::{Hook, Inlet, Plan};
use super::sensor::HookSensor;
use crate::adapters::devices::config::{KindKey, check_credential, settings};
use crate::adapters::devices::point::{Meter, Point, distinct};
use crate::adapters::devices::registry::{Around, Kind, Made, Settings};
use crate::adapters::devices::rescue::Ground;
use crate::adapters::devices::value::check_pointer;
use crate::adapters::devices::{DeviceError, Sensor, SharedActuator};
use crate::domain::base::limits::{HOOK_NAME_MAX_BYTES, HOOK_READINGS_MAX};

/// Readings that others send.
pub(crate) const KIND: Kind = Kind {
    name: "webhook",
    once: false,
    read: settings::<Webhook>,
    rescue,
};

/// A hook as the configuration has it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Webhook {
    #[serde(rename = "kind", alias = "driver", default)]
    _kind: KindKey,
    /// Its name, which is the end of its path too.
    name: String,
    /// The name of the credential with the token.
    token: String,
    /// Whether other machines may send.
    #[serde(default)]
    remote: bool,
    /// Whether they may without TLS.
    #[serde(default)]
    plain: bool,
    /// Where a document says when it was measured.
    time: Option<String>,
    /// Whether every value is sent when it is measured.
    #[serde(default)]
    live: bool,
    /// Its readings.
    #[serde(default)]
    reading: Vec<Point<Source>>,
}

/// Where a reading is in what is sent.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Source {
    /// A JSON pointer, where it is a JSON document.
    json: Option<String>,
}

impl Webhook {
    fn check(&self) -> Result<(), String> {
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-_".contains(&b);
        let name = self.name.as_bytes();
        if name.is_empty() || name.len() > HOOK_NAME_MAX_BYTES || !name.iter().all(|b| plain(*b)) {
            return Err(format!(
                "name: must have 1 to {HOOK_NAME_MAX_BYTES} small letters, digits, '-' and '_': it is the end of the path \
                 /hooks/NAME"
            ));
        }
        check_credential("token", &self.token)?;
        if self.plain && !self.remote {
            return Err("plain: says nothing without remote = true".to_owned());
        }
        if let Some(time) = &self.time {
            check_pointer(time).map_err(|why| why.replacen("json", "time", 1))?;
        }
        if self.time.is_some() && self.live {
            return Err("live: says nothing where time says when a value was measured".to_owned());
        }
        if !(1..=HOOK_READINGS_MAX).contains(&self.reading.len()) {
            return Err(format!("reading: must be 1 to {HOOK_READINGS_MAX} of them"));
        }
        let whole = self.reading.iter().filter(|r| r.source.json.is_none());
        if whole.count() > 0 && (self.reading.len() > 1 || self.time.is_some()) {
            return Err(
                "json: is needed in each reading where there are several, or a time".to_owned(),
            );
        }
        Ok(())
    }
}

impl Settings for Webhook {
    fn subject(&self) -> &str {
        &self.name
    }

    fn alone_at(&self) -> Option<String> {
        Some(format!("/hooks/{}", self.name))
    }

    fn make(&self, around: &Around<'_>) -> Result<Made, DeviceError> {
        self.check().map_err(DeviceError::Config)?;
        distinct(self.reading.iter().map(|point| &point.measured))?;
        let inlets = self.reading.iter().map(|point| {
            let json = point.source.json.clone();
            let bad =
                |why| DeviceError::Config(format!("reading {}: {why}", point.measured.name()));
            check_pointer(json.as_deref().unwrap_or_default()).map_err(bad)?;
            Ok(Inlet {
                reading: point.measured.name(),
                json,
                news: Arc::new(Notify::new()),
            })
        });
        let hook = Arc::new(Hook::new(Plan {
            name: self.name.clone(),
            token: self.token.clone(),
            remote: self.remote,
            plain: self.plain,
            time: self.time.clone(),
            live: self.live,
            keeper: around.keeper.clone(),
            clock: around.clock.clone(),
            inlets: inlets.collect::<Result<_, DeviceError>>()?,
        }));
        let sensors = self.reading.iter().enumerate().map(|(at, point)| {
            let meter = Meter::new(&self.name, point.measured.clone(), around.clock.steady_ms());
            Box::new(HookSensor {
                name: format!("{} {}", self.name, point.measured.name()),
                hooks: around.hooks.clone(),
                news: hook.news(at),
                hook: hook.clone(),
                at,
                meter,
                clock: around.clock.clone(),
                measured_ms: None,
                owed: None,
            }) as Box<dyn Sensor>
        });
        Ok(Made {
            actuators: Vec::new(),
            sensors: sensors.collect(),
        })
    }
}

/// It moves nothing.
#[allow(clippy::unnecessary_wraps)]
fn rescue(_: &Table, _: &Ground<'_>) -> Result<Vec<SharedActuator>, String> {
    Ok(Vec::new())
}
