//! The text of a `config.toml` becomes a [`RawConfig`]: with its devices, each with its place, and with what does not read.

use std::borrow::Cow;
use std::path::PathBuf;

use serde::Deserialize as _;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::{Config, ConfigError, RawConfig};
use crate::adapters::devices::Configured;
use crate::domain::base::limits::CONFIG_LINE_SHOWN_CHARS;

impl RawConfig {
    /// Reads the text of a `config.toml`; `path` is named in errors.
    ///
    /// # Errors
    /// [`ConfigError::Parse`] with line and key.
    pub fn parse(text: &str, path: &str) -> Result<RawConfig, ConfigError> {
        let (raw, devices, mut errors) = Self::read(text, path);
        match errors.is_empty() {
            true => Ok(RawConfig { devices, ..raw }),
            false => Err(errors.swap_remove(0)),
        }
    }

    /// The devices of a text that read, the whole configuration if all of it does, and what in it does not, in its order.
    pub fn devices_of(
        text: &str,
        path: &str,
    ) -> (Vec<Configured>, Option<Config>, Vec<ConfigError>) {
        let (raw, devices, mut errors) = Self::read(text, path);
        let resolved = errors.is_empty().then(|| raw.resolve(PathBuf::new()));
        let config = match resolved {
            Some(Ok(config)) => Some(config),
            Some(Err(error)) => {
                errors.push(error);
                None
            }
            None => None,
        };
        (devices, config, errors)
    }

    fn read(text: &str, path: &str) -> (RawConfig, Vec<Configured>, Vec<ConfigError>) {
        let bad = |e: toml::de::Error, at: usize| {
            let line = line_of(text, e.span().map_or(at, |span| span.start));
            let there = text.lines().nth(line - 1).unwrap_or_default().trim_end();
            ConfigError::Parse {
                path: path.to_owned(),
                line,
                text: without_topic(there)
                    .chars()
                    .take(CONFIG_LINE_SHOWN_CHARS)
                    .collect(),
                source: Box::new(e),
            }
        };
        let (mut devices, mut errors) = (Vec::new(), Vec::new());
        let file = match DeTable::parse(text) {
            Ok(file) => file,
            Err(error) => return (RawConfig::default(), devices, vec![bad(error, 0)]),
        };
        let tables = |key: &str| match file.get_ref().get(key).map(Spanned::get_ref) {
            Some(DeValue::Array(all)) => all.iter().cloned().collect(),
            _ => Vec::new(),
        };
        let of = [(tables("device"), false), (tables("actuator"), true)];
        let raw = RawConfig::deserialize(toml::Deserializer::from(file));
        let raw = raw.unwrap_or_else(|error| {
            errors.push(bad(error, 0));
            RawConfig::default()
        });
        for (tables, are_actuators) in of {
            for table in tables {
                let at = table.span().start;
                match Configured::read(table, are_actuators) {
                    Ok(device) => {
                        let place = format!("{path}, line {}", line_of(text, at));
                        devices.push(device.at(place));
                    }
                    Err(error) => errors.push(bad(error, at)),
                }
            }
        }
        (raw, devices, errors)
    }
}

/// The line without the value of a `topic`, which may be as good as a password.
fn without_topic(line: &str) -> Cow<'_, str> {
    let value = line.find("topic").and_then(|at| {
        let equals = line.get(at..)?.find('=')?;
        line.get(..=at + equals)
    });
    value.map_or(Cow::Borrowed(line), |kept| format!("{kept} …").into())
}

/// The line of a text that a byte is in, from 1.
fn line_of(text: &str, at: usize) -> usize {
    let before = text
        .as_bytes()
        .get(..at.min(text.len()))
        .unwrap_or_default();
    before.iter().filter(|byte| **byte == b'\n').count() + 1
}
