//! Every value of a configuration as it would be used, and where each comes from.

use serde::Serialize;
use serde_json::{Value, json};
use toml::Table;

use super::keys::{all, lists};
use super::{Config, RawConfig};
use crate::domain::gate::ChannelKind;

/// Where a value comes from; the strongest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Origin {
    /// A flag of `start`.
    Flag,
    /// A variable of the environment.
    Environment,
    /// `config.toml`.
    File,
    /// A name that a person gave in the console.
    Console,
    /// Nothing was said.
    Default,
}

/// A value and where it comes from.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Shown {
    /// The key, as in `store.max_bytes`.
    pub key: String,
    /// The value; of a list of tables, how many there are. Null where there is none.
    pub value: Value,
    /// Where it comes from; lists are added up, so that theirs may come from several places.
    pub from: Vec<Origin>,
}

/// What the values are laid together of.
#[derive(Debug, Clone, Default)]
pub struct Layers {
    /// The file as it is written.
    pub file: Table,
    /// What the environment says.
    pub environment: Table,
    /// The flags.
    pub flags: RawConfig,
}

impl Layers {
    /// Every value of `config`, which these layers resolved to.
    pub fn shown(&self, config: &Config) -> Vec<Shown> {
        let plain = all().into_iter().map(|key| self.one(key, config));
        let tables = lists().into_iter().filter_map(|list| {
            let in_file = self.file.get(list).and_then(|v| v.as_array()).map(Vec::len);
            let flag = list == "model" && !self.flags.model.is_empty();
            let count = in_file.unwrap_or_default() + usize::from(flag);
            let from = [(flag, Origin::Flag), (in_file.is_some(), Origin::File)];
            (count > 0).then(|| Shown {
                key: list.to_owned(),
                value: json!(count),
                from: from
                    .into_iter()
                    .filter(|(is, _)| *is)
                    .map(|(_, o)| o)
                    .collect(),
            })
        });
        plain.chain(tables).collect()
    }

    fn one(&self, key: String, config: &Config) -> Shown {
        let said = [
            (flag(&key, &self.flags), Origin::Flag),
            (found(&self.environment, &key), Origin::Environment),
            (found(&self.file, &key), Origin::File),
            (given(&key, config), Origin::Console),
        ];
        let mut said = said
            .into_iter()
            .filter_map(|(value, from)| Some((value?, from)));
        let (value, from) = match said.next() {
            // Lists are added up, the file's first.
            Some((Value::Array(items), from)) => {
                let rest: Vec<_> = said.collect();
                let more = rest.iter().rev().filter_map(|(value, _)| value.as_array());
                let all: Vec<Value> = more.flatten().cloned().chain(items).collect();
                let others = rest.iter().map(|(_, from)| *from);
                (
                    Value::Array(all),
                    [from].into_iter().chain(others).collect(),
                )
            }
            Some((value, from)) => (value, vec![from]),
            None => (usual(&key, config), vec![Origin::Default]),
        };
        Shown { key, value, from }
    }
}

fn found(table: &Table, key: &str) -> Option<Value> {
    let value = match key.split_once('.') {
        Some((section, name)) => table.get(section)?.get(name)?,
        None => table.get(key)?,
    };
    serde_json::to_value(value).ok()
}

fn flag(key: &str, flags: &RawConfig) -> Option<Value> {
    let list = |all: &[String]| (!all.is_empty()).then(|| json!(all));
    match key {
        "name" => flags.name.as_ref().map(|v| json!(v)),
        "coordinator.listen" => {
            let listen = flags.coordinator.as_ref()?.listen;
            listen.map(|v| json!(v))
        }
        "role" => flags.role.as_ref().map(|v| json!(v)),
        "mesh_name" => flags.mesh_name.as_ref().map(|v| json!(v)),
        "host" => flags.host.map(|v| json!(v.to_string())),
        "port" => flags.port.map(|v| json!(v)),
        "discovery" => flags.discovery.map(|v| json!(v)),
        "peers" => list(&flags.peers),
        "capabilities" => list(&flags.capabilities),
        "sensor_interval_ms" => flags.sensor_interval_ms.map(|v| json!(v)),
        "host_sensor" => flags.host_sensor.map(|v| json!(v)),
        "mock_sensor" => flags.mock_sensor.map(|v| json!(v)),
        "mock_actuator" => flags.mock_actuator.map(|v| json!(v)),
        "telegram.enabled" => flags.telegram.as_ref().map(|t| json!(t.enabled)),
        "slack.enabled" => flags.slack.as_ref().map(|t| json!(t.enabled)),
        _ => None,
    }
}

/// The name that a person gave in the console, where nothing else says one.
fn given(key: &str, config: &Config) -> Option<Value> {
    match key {
        "name" if !config.fixed.name && config.name != super::DEFAULT_NAME => {
            Some(json!(config.name))
        }
        "mesh_name" if !config.fixed.mesh_name => config.mesh_name.as_ref().map(|v| json!(v)),
        _ => None,
    }
}

/// The value where nothing is said.
fn usual(key: &str, config: &Config) -> Value {
    let lending = &config.models.lending;
    match key {
        "name" => json!(config.name),
        "role" => json!(config.role.as_str()),
        "host" => json!(config.host.to_string()),
        "port" => json!(config.port),
        "discovery" => json!(config.discovery),
        "stand_by" => json!(config.stand_by),
        "telegram.enabled" => json!(config.telegram.is_some()),
        "telegram.api" => json!(super::bot::api(ChannelKind::Telegram)),
        "slack.enabled" => json!(config.slack.is_some()),
        "slack.api" => json!(super::bot::api(ChannelKind::Slack)),
        "console.listen" => json!(super::console::LISTEN),
        "console.scope" => json!("operate"),
        "coordinator.allow_private" | "coordinator.open_reading" => json!(false),
        "alerts.peer_lost" | "alerts.proposal_waits" => json!("5m"),
        "sensor_interval_ms" => json!(config.sensor_interval_ms),
        "ping_interval_ms" => json!(config.ping_interval_ms),
        "host_sensor" | "mock_sensor" | "mock_actuator" | "demo" | "inference.edge_first" => {
            json!(false)
        }
        "mock_pace" => json!(1.0),
        "store.keep_frames" => json!(config.keep.frames),
        "store.keep_readings_days" => json!(config.keep.readings_days),
        "store.keep_other_days" => json!(config.keep.other_days),
        "store.keep_history_days" => json!(config.keep.history_days),
        "inference.use_mesh" => json!(config.models.use_mesh),
        "inference.peer_requests_per_day" => json!(lending.requests_per_day),
        "inference.peer_tokens_per_day" => json!(lending.tokens_per_day),
        "inference.peer_requests_at_once" => json!(lending.at_once),
        "peers"
        | "capabilities"
        | "privacy.zones"
        | "privacy.metrics"
        | "privacy.devices"
        | "console.hosts"
        | "inference.private_zones"
        | "inference.private_metrics" => json!([]),
        // A random mesh, and no limit.
        _ => Value::Null,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::collections::BTreeSet;
    use std::path::PathBuf;

    use super::*;

    fn shown(layers: &Layers) -> impl Fn(&str) -> (Value, Vec<Origin>) {
        let file = RawConfig::parse(&layers.file.to_string(), "x").unwrap();
        let environment = RawConfig::parse(&layers.environment.to_string(), "x").unwrap();
        let raw = file.overlay(environment).overlay(layers.flags.clone());
        let config = raw.resolve(PathBuf::new()).unwrap();
        let all = layers.shown(&config);
        move |key| {
            let one = all.iter().find(|one| one.key == key).unwrap();
            (one.value.clone(), one.from.clone())
        }
    }

    #[test]
    fn each_value_comes_from_the_strongest_that_says_it_and_lists_from_all() {
        let layers = Layers {
            file: "port = 1\nrole = 'field'\ncapabilities = ['sensor:a:b']\n[store]\nkeep_frames = 300000\n[[device]]\nkind = 'host'\n"
                .parse()
                .unwrap(),
            environment: "port = 2\nname = 'barn'\n".parse().unwrap(),
            flags: RawConfig {
                port: Some(3),
                capabilities: vec!["sensor:c:d".to_owned()],
                ..RawConfig::default()
            },
        };
        let of = shown(&layers);
        assert_eq!(of("port"), (json!(3), vec![Origin::Flag]));
        assert_eq!(of("name"), (json!("barn"), vec![Origin::Environment]));
        assert_eq!(of("role"), (json!("field"), vec![Origin::File]));
        let both = json!(["sensor:a:b", "sensor:c:d"]);
        assert_eq!(of("capabilities"), (both, vec![Origin::Flag, Origin::File]));
        assert_eq!(
            of("store.keep_frames"),
            (json!(300_000), vec![Origin::File])
        );
        assert_eq!(of("discovery"), (json!(true), vec![Origin::Default]));
        assert_eq!(of("device"), (json!(1), vec![Origin::File]));
    }

    #[test]
    fn every_key_has_a_default_or_is_known_to_have_none() {
        let config = RawConfig::default().resolve(PathBuf::new()).unwrap();
        let nothing: Vec<String> = Layers::default()
            .shown(&config)
            .into_iter()
            .filter(|one| one.value.is_null())
            .map(|one| one.key)
            .collect();
        let none = [
            "code_display",
            "console.cert",
            "console.key",
            "console.push_ca",
            "console.push_services",
            "mesh_name",
            "store.max_bytes",
            "slack.ca",
            "telegram.ca",
            "messages.share_agents",
            "coordinator.listen",
            "updates.ca",
            "updates.from",
            "updates.key",
        ];
        assert_eq!(
            BTreeSet::from_iter(nothing.iter().map(String::as_str)),
            BTreeSet::from(none)
        );
    }
}
