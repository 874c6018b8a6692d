//! `[[notify]]`: where people are told of alerts, and when.

use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

use super::alerts::{check_name, severity, span};
use super::{ConfigError, bot, value};
use crate::adapters::http_client::{Address, Reach};
use crate::adapters::keystore::credential_name;
use crate::adapters::notify::check_topic;
use crate::domain::alerts::escalation::Step;
use crate::domain::base::limits::{
    NAME_MAX_BYTES, NOTIFY_REPEAT_MIN_MS, NOTIFY_TARGETS_MAX, NOTIFY_TIMES_MAX,
};
use crate::domain::base::zone::{ZONE_HELP, minute_of_day, zone_minutes};
use crate::domain::base::{Digest, Severity};
use crate::domain::gate::ChannelKind;
use crate::domain::policy::Hours;

/// How often a place is told that is told again, where nothing is said.
const TIMES: u32 = 3;
/// The place where phones hear by push, where the configuration names none.
const PHONES: &str = "phones";

/// `[[notify]]`: a place where people are told of alerts.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawNotify {
    /// Its name.
    pub name: String,
    /// `ntfy`, `push`, `telegram` or `slack`.
    pub kind: String,
    /// The server of `ntfy`.
    #[serde(default)]
    pub url: Option<String>,
    /// The topic of `ntfy`.
    #[serde(default, deserialize_with = "topic_text")]
    pub topic: Option<String>,
    /// The name of the credential with the token of `ntfy`.
    #[serde(default)]
    pub token: Option<String>,
    /// A file with the authorities that prove a server of one's own.
    #[serde(default)]
    pub ca: Option<PathBuf>,
    /// The person, of `push`, `telegram` and `slack`.
    #[serde(default)]
    pub person: Option<String>,
    /// How long an alert stands without an answer first; at once where absent.
    #[serde(default)]
    pub after: Option<String>,
    /// The least that an alert must matter; warning where absent.
    #[serde(default)]
    pub severity: Option<String>,
    /// After how long it is told again; once where absent.
    #[serde(default)]
    pub repeat: Option<String>,
    /// How often at most.
    #[serde(default)]
    pub times: Option<u32>,
    /// When it is left alone.
    #[serde(default)]
    pub quiet: Option<RawQuiet>,
    /// Whether it is left alone then with what is critical too.
    #[serde(default)]
    pub quiet_all: bool,
}

/// Reads a topic; what is none is not repeated.
fn topic_text<'de, D: Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    match toml::Value::deserialize(from)? {
        toml::Value::String(topic) => Ok(Some(topic)),
        _ => Err(D::Error::custom("topic: must be a text in quotes")),
    }
}

/// Quiet hours.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawQuiet {
    /// From when, as `HH:MM`.
    pub from: String,
    /// Until when.
    pub to: String,
    /// In which zone: UTC or an offset.
    #[serde(default)]
    pub zone: Option<String>,
}

/// A topic, which on a public server is as good as a password: no text shows it.
#[derive(Clone, PartialEq, Eq)]
pub struct Topic(String);

impl Topic {
    /// The topic itself, for the server.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Enough to see that it has changed.
        let digest = Digest::of(&[b"topic", self.0.as_bytes()]).to_hex();
        write!(f, "Topic(#{})", digest.get(..6).unwrap_or_default())
    }
}

impl fmt::Debug for RawNotify {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RawNotify({:?}, {:?})", self.name, self.kind)
    }
}

/// How people are reached.
#[derive(Debug, Clone, PartialEq)]
pub enum Way {
    /// By a topic of an ntfy server.
    Ntfy {
        /// The server.
        address: Address,
        /// The topic.
        topic: Topic,
        /// The name of the credential with the token.
        token: Option<String>,
        /// A file with the authorities that prove the server.
        ca: Option<PathBuf>,
    },
    /// In the chats that a person has enrolled with the bot of this node.
    Chat {
        /// What the bot is.
        kind: ChannelKind,
        /// The person's name, as their operator key is enrolled.
        person: String,
    },
    /// By push, at the phones that have turned it on.
    Push {
        /// The person for whom the phone's link was made; every phone where absent.
        person: Option<String>,
        /// Whether the configuration names the place, so that there should be a phone.
        named: bool,
    },
}

/// A place where people are told of alerts.
#[derive(Debug, Clone, PartialEq)]
pub struct Target {
    /// Its name.
    pub name: String,
    /// How people are reached there.
    pub way: Way,
    /// When.
    pub step: Step,
}

impl Target {
    /// Where phones hear by push if the configuration names no such place: at once, of what matters.
    fn phones() -> Self {
        Self {
            name: PHONES.to_owned(),
            way: Way::Push {
                person: None,
                named: false,
            },
            step: Step {
                after_ms: 0,
                floor: Severity::Warning,
                quiet: None,
                quiet_all: false,
                repeat_ms: None,
                times: TIMES,
            },
        }
    }
}

impl RawQuiet {
    fn resolve(&self) -> Result<Hours, String> {
        let zone = self.zone.as_deref().unwrap_or("UTC");
        let zone_min = zone_minutes(zone).ok_or_else(|| format!("quiet: {ZONE_HELP}"))?;
        match (minute_of_day(&self.from), minute_of_day(&self.to)) {
            (Some(from_min), Some(to_min)) if from_min != to_min => Ok(Hours { from_min, to_min, zone_min }),
            _ => Err("quiet: needs from and to as HH:MM, and they must differ; zone says in which time zone, UTC without it".to_owned()),
        }
    }
}

impl RawNotify {
    fn way(&self) -> Result<Way, String> {
        let ntfy = [
            ("url", self.url.is_some()),
            ("topic", self.topic.is_some()),
            ("token", self.token.is_some()),
            ("ca", self.ca.is_some()),
        ];
        match self.kind.as_str() {
            "ntfy" => {
                if self.person.is_some() {
                    return Err("person: belongs to the kinds push, telegram and slack".to_owned());
                }
                let url = self
                    .url
                    .as_deref()
                    .ok_or("url: needs the server, such as https://ntfy.sh")?;
                let address = Address::parse(url).map_err(|why| format!("url: {why}"))?;
                if !address.tls && address.reach() != Reach::Loopback {
                    return Err("url: topic and token would be readable on their way; use https://, or a server on this machine".to_owned());
                }
                let topic = self.topic.clone().ok_or("topic: needs one")?;
                check_topic(&topic)?;
                if let Some(token) = &self.token {
                    check_token(token)?;
                }
                Ok(Way::Ntfy {
                    address,
                    topic: Topic(topic),
                    token: self.token.clone(),
                    ca: self.ca.clone(),
                })
            }
            "telegram" => self.chat(ChannelKind::Telegram, &ntfy),
            "slack" => self.chat(ChannelKind::Slack, &ntfy),
            "push" => self.push(&ntfy),
            other => Err(format!(
                "kind: {other:?} must be ntfy, push, telegram or slack"
            )),
        }
    }

    fn push(&self, ntfy: &[(&str, bool)]) -> Result<Way, String> {
        if let Some((key, _)) = ntfy.iter().find(|(_, there)| *there) {
            return Err(format!("{key}: belongs to the kind ntfy"));
        }
        let person = self.person.clone();
        let odd = |name: &String| name.trim().is_empty() || name.len() > NAME_MAX_BYTES;
        match person.as_ref().is_some_and(odd) {
            false => Ok(Way::Push { person, named: true }),
            true => Err(
                "person: needs the name for which the phone's link was made (clawmesh-node console --phone --name)"
                    .to_owned(),
            ),
        }
    }

    fn chat(&self, kind: ChannelKind, ntfy: &[(&str, bool)]) -> Result<Way, String> {
        if let Some((key, _)) = ntfy.iter().find(|(_, there)| *there) {
            return Err(format!("{key}: belongs to the kind ntfy"));
        }
        if !bot::is_built(kind) {
            return Err(format!(
                "kind: this program was built without {}; build it with the feature {kind}",
                kind.title()
            ));
        }
        let person = self.person.clone().unwrap_or_default();
        match !person.trim().is_empty() && person.len() <= NAME_MAX_BYTES {
            true => Ok(Way::Chat { kind, person }),
            false => {
                Err("person: needs the name under which an operator's key is enrolled".to_owned())
            }
        }
    }

    fn step(&self) -> Result<Step, String> {
        let after = self
            .after
            .as_deref()
            .map(|text| span("after", text))
            .transpose()?;
        let repeat = self
            .repeat
            .as_deref()
            .map(|text| span("repeat", text))
            .transpose()?;
        if repeat.is_some_and(|ms| ms < NOTIFY_REPEAT_MIN_MS) {
            return Err("repeat: at least 1m".to_owned());
        }
        if self.times.is_some() && repeat.is_none() {
            return Err("times: belongs to repeat".to_owned());
        }
        let times = self.times.unwrap_or(TIMES);
        if !(1..=NOTIFY_TIMES_MAX).contains(&times) {
            return Err(format!("times: from 1 to {NOTIFY_TIMES_MAX}"));
        }
        if self.quiet_all && self.quiet.is_none() {
            return Err("quiet_all: belongs to quiet".to_owned());
        }
        Ok(Step {
            after_ms: after.unwrap_or_default(),
            floor: severity(self.severity.as_deref())?,
            quiet: self.quiet.as_ref().map(RawQuiet::resolve).transpose()?,
            quiet_all: self.quiet_all,
            repeat_ms: repeat,
            times,
        })
    }
}

/// Checks the name of a credential: no other channel's token goes to such a server. The text may be the token itself, so it is
/// not repeated.
fn check_token(name: &str) -> Result<(), String> {
    match name.starts_with("channel/ntfy") && credential_name(name).is_ok() {
        true => Ok(()),
        false => Err(
            "token: must name a credential that begins with channel/ntfy; set it with `clawmesh-node credential set channel/ntfy`"
                .to_owned(),
        ),
    }
}

/// The places of a configuration; one for phones that hear by push is among them wherever the console is open for phones.
///
/// # Errors
/// [`ConfigError::Value`] naming the place.
pub(super) fn resolve(raw: Vec<RawNotify>, has_console: bool) -> Result<Vec<Target>, ConfigError> {
    if raw.len() > NOTIFY_TARGETS_MAX {
        return Err(value(
            "notify",
            format!("at most {NOTIFY_TARGETS_MAX} are allowed"),
        ));
    }
    let (mut targets, mut names) = (Vec::new(), BTreeSet::new());
    for one in raw {
        let key = format!("notify {:?}", one.name);
        let bad = |why: String| value(&key, why);
        check_name(&one.name).map_err(bad)?;
        if !names.insert(one.name.clone()) {
            return Err(value(&key, "another one has this name"));
        }
        targets.push(Target {
            way: one.way().map_err(bad)?,
            step: one.step().map_err(bad)?,
            name: one.name,
        });
    }
    let by_push = |target: &&Target| matches!(target.way, Way::Push { .. });
    match targets.iter().find(by_push) {
        Some(push) if !has_console => {
            let why = "kind: push goes to phones that have opened the console, which needs [console] (docs/phone.md)";
            return Err(value(&format!("notify {:?}", push.name), why));
        }
        None if has_console => {
            let mut phones = Target::phones();
            while names.contains(&phones.name) {
                phones.name.push('+');
            }
            targets.push(phones);
        }
        _ => {}
    }
    Ok(targets)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::node::RawConfig;

    fn one(rest: &str) -> Result<Target, String> {
        let text = format!("[[notify]]\nname = 'phone'\n{rest}");
        let raw = RawConfig::parse(&text, "config.toml").map_err(|e| e.to_string())?;
        let config = raw.resolve(PathBuf::new()).map_err(|e| e.to_string())?;
        Ok(config.notify[0].clone())
    }

    #[test]
    fn a_topic_that_does_not_read_is_not_repeated() {
        let head = "[[notify]]\nname = 'phone'\nkind = 'ntfy'\nurl = 'https://ntfy.sh'\n";
        for wrong in [
            "topic = farm-7431",
            "topic = 7431",
            "topic=['7431']",
            "'topic' = '7431",
        ] {
            let error = RawConfig::parse(&format!("{head}{wrong}\n"), "config.toml").unwrap_err();
            let shown = format!("{error} {error:#?}");
            let ConfigError::Parse {
                line, text, source, ..
            } = error
            else {
                panic!("{shown}");
            };
            assert_eq!(line, 5, "{wrong}");
            let said = format!("{text} {}", source.message());
            assert!(
                !said.contains("7431") && text.contains("topic"),
                "{wrong}: {said}"
            );
        }
    }

    #[test]
    fn a_place_says_how_it_is_reached_and_when() {
        let ntfy = "kind = 'ntfy'\nurl = 'https://ntfy.sh'\ntopic = 'farm-7Qx'\n";
        let all = "token = 'channel/ntfy'\nafter = '5m'\nseverity = 'critical'\nrepeat = '15m'\ntimes = 4\n\
            quiet = { from = '22:00', to = '06:00', zone = '+01:00' }\nquiet_all = true";
        let phone = one(&format!("{ntfy}{all}")).unwrap();
        let step = phone.step.clone();
        assert_eq!(
            (step.after_ms, step.floor, step.times),
            (300_000, Severity::Critical, 4)
        );
        assert_eq!(step.quiet.unwrap().to_string(), "22:00 to 06:00 UTC+01:00");
        let shown = format!("{phone:?}");
        assert!(
            !shown.contains("farm-7Qx") && shown.contains("ntfy.sh"),
            "{shown}"
        );
        let console = "[console]\ncert = '/c.pem'\nkey = '/k.pem'\nhosts = ['field.example']\n";
        let push = one(&format!(
            "kind = 'push'\nperson = 'ada'\nafter = '5m'\n{console}"
        ))
        .unwrap();
        assert_eq!(push.step.after_ms, 300_000);
        assert!(matches!(
            push.way,
            Way::Push {
                person: Some(_),
                named: true
            }
        ));
        let raw = RawConfig::parse(console, "config.toml").unwrap();
        let all = raw.resolve(PathBuf::new()).unwrap().notify;
        assert_eq!((all.len(), all[0].name.as_str()), (1, "phones"));
        let ada = one("kind = 'telegram'\nperson = 'ada'").unwrap();
        assert_eq!((ada.step.after_ms, ada.step.floor), (0, Severity::Warning));
        assert!(one("kind = 'ntfy'\nurl = 'http://127.0.0.1:8080'\ntopic = 't'").is_ok());
        for (wrong, says) in [
            ("kind = 'mail'", "ntfy, push, telegram or slack"),
            ("kind = 'push'", "needs [console]"),
            ("kind = 'push'\ntopic = 't'", "belongs to the kind ntfy"),
            ("kind = 'ntfy'\ntopic = 't'", "needs the server"),
            (
                "kind = 'ntfy'\nurl = 'http://192.168.1.4'\ntopic = 't'",
                "use https",
            ),
            (
                "kind = 'ntfy'\nurl = 'https://ntfy.sh'\ntopic = 'a b'",
                "letters, digits",
            ),
            (
                "kind = 'ntfy'\nurl = 'https://ntfy.sh'\ntopic = 't'\nperson = 'ada'",
                "belongs to the kinds push, telegram and slack",
            ),
            (
                "kind = 'ntfy'\nurl = 'https://ntfy.sh'\ntopic = 't'\ntoken = 'tk_secret'",
                "token",
            ),
            ("kind = 'telegram'", "person"),
            (
                "kind = 'telegram'\nperson = 'ada'\ntopic = 't'",
                "belongs to the kind ntfy",
            ),
            (
                "kind = 'telegram'\nperson = 'ada'\nrepeat = '5s'",
                "at least 1m",
            ),
            (
                "kind = 'telegram'\nperson = 'ada'\ntimes = 3",
                "belongs to repeat",
            ),
            (
                "kind = 'telegram'\nperson = 'ada'\nrepeat = '5m'\ntimes = 99",
                "from 1 to",
            ),
            (
                "kind = 'telegram'\nperson = 'ada'\nquiet_all = true",
                "belongs to quiet",
            ),
            (
                "kind = 'telegram'\nperson = 'ada'\nquiet = { from = '6', to = '7' }",
                "HH:MM",
            ),
            (
                "kind = 'telegram'\nperson = 'ada'\nquiet = { from = '06:00', to = '07:00', zone = 'CET' }",
                "summer time",
            ),
        ] {
            let error = one(wrong).unwrap_err();
            assert!(error.contains(says), "{wrong:?}: {error}");
            assert!(!error.contains("tk_secret"), "{error}");
        }
    }
}
