//! Configuration: parsed from `config.toml` and flags, then resolved into what the node runs with.
//!
//! Unknown keys are errors. `config.example.toml` documents every key; a test parses it.

pub mod alerts;
pub mod bot;
pub mod console;
pub mod coordinator;
pub mod edit;
pub mod environment;
pub mod keys;
pub mod messages;
pub mod models;
pub mod notify;
mod peer;
pub mod privacy;
pub mod questions;
mod reading;
pub mod redundant;
mod retention;
mod role;
mod rules;
pub mod shown;
pub mod updates;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;

use serde::Deserialize;
use serde::de::IgnoredAny;

use self::keys::in_words;
pub use self::peer::{StaticPeer, is_local};
pub use self::retention::{Keep, RawStore};
pub use self::role::{Fixed, Role};
pub use self::rules::RawRule;
use crate::adapters::devices::{Configured, Switches};
use crate::adapters::releases::Releases;
use crate::adapters::transport::ListenAddress;
use crate::domain::base::MeshId;
use crate::domain::base::limits::{
    CAPABILITIES_MAX, DEFAULT_PORT, NAME_MAX_BYTES, PING_EVERY_MIN_MS, PING_EVERY_MS,
    SENSOR_EVERY_MAX_MS, SENSOR_EVERY_MIN_MS,
};
use crate::domain::capability::Capability;
use crate::domain::gate::ChannelKind;
use crate::domain::plan::rules::Rule;
use crate::domain::plan::standing::Standing;

/// The name of a node that was given none.
pub const DEFAULT_NAME: &str = "clawmesh-node";

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file is not TOML or has an unknown key.
    #[error("{path}, line {line}: {}", in_words(source.message()))]
    Parse {
        /// The file.
        path: String,
        /// Which line of it, from 1.
        line: usize,
        /// The value in the file.
        text: String,
        /// The parser's error.
        source: Box<toml::de::Error>,
    },
    /// A value is out of bounds.
    #[error("{key}: {why}")]
    Value {
        /// The key or flag.
        key: String,
        /// The fault, and a value that would be right.
        why: String,
    },
}

fn value(key: &str, why: impl Into<String>) -> ConfigError {
    ConfigError::Value {
        key: key.to_owned(),
        why: why.into(),
    }
}

/// `config.toml` as written.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawConfig {
    /// The node's name for people.
    pub name: Option<String>,
    /// The node's role.
    pub role: Option<String>,
    /// The mesh's name; all nodes of a mesh share it.
    pub mesh_name: Option<String>,
    /// The address to listen on.
    pub host: Option<ListenAddress>,
    /// The port to listen on.
    pub port: Option<u16>,
    /// Whether to look for peers on the LAN.
    pub discovery: Option<bool>,
    /// Peers to dial.
    pub peers: Vec<String>,
    /// Further capabilities to offer.
    pub capabilities: Vec<String>,
    /// How often sensors are read, in milliseconds.
    pub sensor_interval_ms: Option<u64>,
    /// How often a peer is asked whether it is there, in milliseconds.
    pub ping_interval_ms: Option<u64>,
    /// Whether to publish readings of the machine itself.
    pub host_sensor: Option<bool>,
    /// Whether to publish readings of the simulated irrigation kit.
    pub mock_sensor: Option<bool>,
    /// Whether to offer the simulated kit's valve and pump.
    pub mock_actuator: Option<bool>,
    /// How fast the simulated kit runs; 1 is demo pace.
    pub mock_pace: Option<f64>,
    /// Marks everything this node shows as a demonstration.
    pub demo: Option<bool>,
    /// The terminal that shows the codes at the node.
    pub code_display: Option<PathBuf>,
    /// Store limits.
    pub store: RawStore,
    /// `[[device]]`; [`RawConfig::parse`] reads them into `devices`.
    pub device: Vec<IgnoredAny>,
    /// `[[actuator]]`, an older spelling of a `[[device]]` that moves something.
    pub actuator: Vec<IgnoredAny>,
    /// What it measures with and what it moves, besides what the switches above say.
    #[serde(skip)]
    pub devices: Vec<Configured>,
    /// Rules of the embedded planner.
    pub rule: Vec<RawRule>,
    /// What the planner's model is asked without a person.
    pub question: Vec<questions::RawQuestion>,
    /// Whether the planner leaves to another what that does as well; it does where nothing is said.
    pub stand_by: Option<bool>,
    /// Language models, in the order in which they are asked.
    pub model: Vec<models::RawModel>,
    /// Which of them is asked.
    pub inference: models::RawInference,
    /// `[[redundant]]`: readings that measure the same thing.
    pub redundant: Vec<redundant::RawRedundant>,
    /// What is private, and which devices may have it.
    pub privacy: privacy::RawPrivacy,
    /// The Telegram bot through which persons see and decide.
    pub telegram: Option<bot::RawBot>,
    /// The Slack app through which persons see and decide.
    pub slack: Option<bot::RawBot>,
    /// The console for browsers of other machines.
    pub console: Option<console::RawConsole>,
    /// `[messages]`: which agents answer other devices.
    pub messages: Option<messages::RawMessages>,
    /// `[coordinator]`: whether it serves the API of a claw-mesh coordinator.
    pub coordinator: Option<coordinator::RawCoordinator>,
    /// `[updates]`: where newer releases are looked for.
    pub updates: Option<updates::RawUpdates>,
    /// `[[alert]]`: readings that become an alert.
    pub alert: Vec<alerts::RawAlert>,
    /// `[alerts]`: conditions that become one without a rule.
    pub alerts: alerts::RawAlerts,
    /// `[[notify]]`: where people are told of alerts.
    pub notify: Vec<notify::RawNotify>,
    /// Which names stand in the file or a flag.
    #[serde(skip)]
    pub fixed: Fixed,
}

impl RawConfig {
    /// Flags override the file; lists are joined.
    #[must_use]
    pub fn overlay(mut self, flags: RawConfig) -> RawConfig {
        macro_rules! take {
            ($($field:ident),*) => { $( if flags.$field.is_some() { self.$field = flags.$field; } )* };
        }
        take!(name, role, mesh_name, host, port, discovery);
        take!(sensor_interval_ms, ping_interval_ms, host_sensor);
        take!(mock_sensor, mock_actuator, mock_pace, demo);
        self.peers.extend(flags.peers);
        self.capabilities.extend(flags.capabilities);
        models::overlay(&mut self.model, flags.model);
        bot::RawBot::overlay(&mut self.telegram, flags.telegram);
        bot::RawBot::overlay(&mut self.slack, flags.slack);
        coordinator::RawCoordinator::overlay(&mut self.coordinator, flags.coordinator);
        self
    }

    /// Checks every value and fills in what was left out.
    ///
    /// # Errors
    /// [`ConfigError::Value`] naming the key.
    pub fn resolve(mut self, state_dir: PathBuf) -> Result<Config, ConfigError> {
        let name = self.name.unwrap_or_else(|| DEFAULT_NAME.to_owned());
        if name.is_empty() || name.len() > NAME_MAX_BYTES || name.chars().any(char::is_control) {
            return Err(value(
                "name",
                "must be 1 to 128 bytes without control characters",
            ));
        }
        let role: Role = self
            .role
            .as_deref()
            .unwrap_or("node")
            .parse()
            .map_err(|e: String| value("role", e))?;
        if self.capabilities.len() > CAPABILITIES_MAX {
            return Err(value(
                "capabilities",
                format!("at most {CAPABILITIES_MAX} are allowed"),
            ));
        }
        let capabilities = self
            .capabilities
            .iter()
            .map(|c| {
                c.parse::<Capability>()
                    .map_err(|e| value("capabilities", e.to_string()))
            })
            .collect::<Result<Vec<_>, _>>()?;
        let switches = Switches {
            host_sensor: self.host_sensor.unwrap_or(false),
            mock_sensor: self.mock_sensor.unwrap_or(false),
            mock_actuator: self.mock_actuator.unwrap_or(false),
            mock_pace: self.mock_pace,
        };
        let mut devices = switches.devices().map_err(|(key, why)| value(key, why))?;
        devices.extend(self.devices);
        let interval = self.sensor_interval_ms.unwrap_or(2_000);
        if !(SENSOR_EVERY_MIN_MS..=SENSOR_EVERY_MAX_MS).contains(&interval) {
            let why = format!("must be from {SENSOR_EVERY_MIN_MS} to {SENSOR_EVERY_MAX_MS}");
            return Err(value("sensor_interval_ms", why));
        }
        let ping = self.ping_interval_ms.unwrap_or(PING_EVERY_MS);
        if !(PING_EVERY_MIN_MS..=PING_EVERY_MS).contains(&ping) {
            let why = format!("must be from {PING_EVERY_MIN_MS} to {PING_EVERY_MS}");
            return Err(value("ping_interval_ms", why));
        }
        let mut rules = rules::resolve(self.rule)?;
        if rules.is_empty() && role.plans() {
            rules.push(rules::default_rule()?);
        }
        let (labels, private_devices) = self.privacy.resolve(&mut self.inference)?;
        let discovery = self.discovery.unwrap_or(true);
        // Who is to be found by others must also be reachable for them.
        let host = self.host.unwrap_or_else(|| match discovery {
            true => IpAddr::V6(Ipv6Addr::UNSPECIFIED).into(),
            false => IpAddr::V4(Ipv4Addr::LOCALHOST).into(),
        });
        let peers = self.peers.iter().map(|p| p.parse());
        Ok(Config {
            state_dir,
            name,
            role,
            mesh: self.mesh_name.as_deref().map(MeshId::of_name),
            mesh_name: self.mesh_name,
            host,
            port: self.port.unwrap_or(DEFAULT_PORT),
            discovery,
            peers: peers.collect::<Result<_, _>>()?,
            capabilities,
            sensor_interval_ms: interval,
            ping_interval_ms: ping,
            devices,
            redundant: redundant::resolve(self.redundant)?,
            demo: self.demo.unwrap_or(false),
            code_display: self.code_display,
            store_max_bytes: self.store.max_bytes,
            keep: retention::resolve(&self.store)?,
            rules,
            questions: questions::resolve(self.question)?,
            stand_by: self.stand_by.unwrap_or(true),
            models: models::resolve(self.model, self.inference, labels)?,
            private_devices,
            telegram: bot::RawBot::resolve(self.telegram, ChannelKind::Telegram)?,
            slack: bot::RawBot::resolve(self.slack, ChannelKind::Slack)?,
            notify: notify::resolve(self.notify, self.console.is_some())?,
            console: console::resolve(self.console)?,
            shared_agents: messages::resolve(self.messages)?,
            coordinator: coordinator::resolve(self.coordinator),
            updates: updates::resolve(self.updates)?,
            alerts: alerts::resolve(self.alert, &self.alerts)?,
            fixed: self.fixed,
            flags: None,
        })
    }
}

/// The configuration of a running node.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where its state lives.
    pub state_dir: PathBuf,
    /// Its name for people.
    pub name: String,
    /// Its role.
    pub role: Role,
    /// The id of its named mesh; without a name a random one is kept in the state directory.
    pub mesh: Option<MeshId>,
    /// The mesh's name.
    pub mesh_name: Option<String>,
    /// The address it listens on.
    pub host: ListenAddress,
    /// The port it listens on; 0 lets the system choose.
    pub port: u16,
    /// Whether it looks for peers on the LAN.
    pub discovery: bool,
    /// Peers it dials.
    pub peers: Vec<StaticPeer>,
    /// Further capabilities it offers.
    pub capabilities: Vec<Capability>,
    /// How often sensors are read, in milliseconds.
    pub sensor_interval_ms: u64,
    /// How often a peer is asked whether it is there, in milliseconds.
    pub ping_interval_ms: u64,
    /// Its sensors and actuators.
    pub devices: Vec<Configured>,
    /// Which of its readings measure the same thing.
    pub redundant: Vec<redundant::Redundant>,
    /// Everything shown is a demonstration.
    pub demo: bool,
    /// The largest size of the database, in bytes.
    pub store_max_bytes: Option<u64>,
    /// What is kept of the frame log.
    pub keep: Keep,
    /// Rules of the embedded planner.
    pub rules: Vec<Rule>,
    /// What the planner's model is asked without a person.
    pub questions: Vec<Standing>,
    /// Whether the planner leaves to another what that does as well.
    pub stand_by: bool,
    /// Language models and how one is chosen.
    pub models: models::Models,
    /// The devices that may have what is private here, by id or name; what is private stands with the models.
    pub private_devices: Vec<String>,
    /// The Telegram bot, if it runs one.
    pub telegram: Option<bot::BotConfig>,
    /// The Slack app, if it runs one.
    pub slack: Option<bot::BotConfig>,
    /// The console for browsers of other machines, if there is one.
    pub console: Option<console::ConsoleConfig>,
    /// The terminal that shows the codes at the node, if one does.
    pub code_display: Option<PathBuf>,
    /// Where newer releases are looked for, if anywhere.
    pub updates: Option<Releases>,
    /// The claw-mesh coordinator that it serves, if it does.
    pub coordinator: Option<coordinator::CoordinatorConfig>,
    /// The agents that other devices may ask.
    pub shared_agents: messages::SharedAgents,
    /// What becomes an alert.
    pub alerts: alerts::Alerts,
    /// Where people are told of alerts.
    pub notify: Vec<notify::Target>,
    /// Which names no console can change.
    pub fixed: Fixed,
    /// The flags under which its file was read; none where it came from no file, which is then never read again.
    pub flags: Option<Box<RawConfig>>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_keys_and_roles_are_errors() {
        assert!(
            RawConfig::parse("nmae = 'x'", "config.toml")
                .unwrap_err()
                .to_string()
                .contains("nmae")
        );
        let raw = RawConfig {
            role: Some("boss".into()),
            ..Default::default()
        };
        assert!(
            raw.resolve(PathBuf::new())
                .unwrap_err()
                .to_string()
                .contains("boss")
        );
    }

    #[test]
    fn an_error_of_the_file_names_its_line_and_what_stands_there() {
        for (file, at, there) in [
            ("name = 'x'\n\nnmae = 'y'\n", 3, "nmae = 'y'"),
            ("port = = 1", 1, "port = = 1"),
            ("[store]\nmax_bytes = 'ü'", 2, "max_bytes = 'ü'"),
            ("port = 1\n[[device]]\nkind = 'hosd'\n", 3, "kind = 'hosd'"),
            ("port = 1\n[[device]]\nname = 'x'\n", 2, "[[device]]"),
            ("[[device]]\nkind = 'sim'\n\npaec = 1.0\n", 4, "paec = 1.0"),
            (
                "[[actuator]]\ncapability = 'actuator:a'\nsafe = 'b'\n[[actuator.operation]]\nnmae = 'b'\n",
                5,
                "nmae = 'b'",
            ),
            ("device = 3\n", 1, "device = 3"),
            ("[[rule]]\nname = 'a'\n", 1, "[[rule]]"),
        ] {
            match RawConfig::parse(file, "config.toml") {
                Err(ConfigError::Parse { line, text, .. }) => {
                    assert_eq!((line, text.as_str()), (at, there), "{file:?}");
                }
                other => assert!(other.is_err(), "{file:?} was taken"),
            }
        }
    }

    /// The devices of a file, as a node in `dir` has them.
    fn devices_of(text: &str, dir: &std::path::Path) -> Vec<String> {
        use std::sync::Arc;

        use crate::adapters::clock::{SharedClock, SystemClock};
        use crate::adapters::devices::{Around, Carrier, Hooks, Keeper, make};
        use crate::adapters::paths::StateDir;

        let raw = RawConfig::parse(text, "config.toml").unwrap();
        let config = raw.resolve(dir.to_path_buf()).unwrap();
        let clock: SharedClock = Arc::new(SystemClock::default());
        let carrier: Arc<dyn Carrier> = Arc::new(crate::node::gen1::actuators::Wire::default());
        let keeper: Arc<dyn Keeper> =
            Arc::new(crate::node::credentials::Own::of(StateDir::at(dir), |_| {
                None
            }));
        let around = Around {
            dir: &StateDir::at(dir),
            clock: &clock,
            carrier: &carrier,
            keeper: &keeper,
            hooks: &Hooks::default(),
        };
        let made = make(&config.devices, &around).unwrap();
        let sensors = made.sensors.iter().map(|s| s.name().to_owned());
        let actuators = made.actuators.iter().map(|a| {
            let limit = a.safe_limit();
            let (can, far, way) = (a.operations(), a.gen1(), a.safe_way());
            format!("{} {can:?} {far:?} {way:?} {limit:?}", a.capability())
        });
        let mut all: Vec<String> = sensors.chain(actuators).collect();
        all.sort_unstable();
        all
    }

    #[test]
    fn a_file_with_the_older_keys_gives_the_devices_that_the_newer_ones_give() {
        let temp = tempfile::tempdir().unwrap();
        let tables = |table: &str, gen1: &str| {
            format!(
                "[[{table}]]\n{exec}capability = 'actuator:pump:main'\nsafe = 'stop'\ntimeout_sec = 20\n\
                 [[{table}.operation]]\nname = 'start'\nargv = ['/bin/sh', 'on']\n\
                 [[{table}.operation]]\nname = 'stop'\nargv = ['/bin/sh', 'off']\n\
                 [[{table}]]\n{gen1} = 'gen1'\ncapability = 'actuator:gen1:valve-1'\ndevice = '{id}'\n\
                 target = 'actuator:mock:valve-1'\nsafe = 'close'\n\
                 [[{table}.operation]]\nname = 'close'\nsend = 'set'\nparams = {{ state = 'inactive' }}\n",
                exec = if table == "device" {
                    "kind = 'exec'\n"
                } else {
                    ""
                },
                id = "a".repeat(64),
            )
        };
        let older = format!(
            "host_sensor = true\nmock_sensor = true\nmock_actuator = true\nmock_pace = 2.0\n{}",
            tables("actuator", "driver")
        );
        let newer = format!(
            "[[device]]\nkind = 'host'\n[[device]]\nkind = 'sim'\npace = 2.0\n{}",
            tables("device", "kind")
        );
        let has = devices_of(&older, temp.path());
        assert_eq!(has, devices_of(&newer, temp.path()));
        let names: Vec<&str> = has.iter().filter_map(|d| d.split(' ').next()).collect();
        let expected = [
            "actuator:gen1:valve-1",
            "actuator:mock:pump-1",
            "actuator:mock:valve-1",
            "actuator:pump:main",
            "host",
            "sim",
        ];
        assert_eq!(names, expected);
        assert_eq!(devices_of("", temp.path()), [""; 0]);
    }

    #[test]
    fn a_planner_without_rules_gets_the_default_one() {
        let raw = RawConfig {
            role: Some("planner".into()),
            ..Default::default()
        };
        let rules = |raw: RawConfig| raw.resolve(PathBuf::new()).unwrap().rules.len();
        assert_eq!((rules(raw), rules(RawConfig::default())), (1, 0));
    }
}
