//! What devices at a broker offer: the messages that they keep there for Home Assistant, heard for a while and written as
//! tables of a configuration. It changes nothing at the broker and adds nothing by itself.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use serde::Serialize;
use tokio::time::{Instant, sleep_until, timeout_at};
use zeroize::Zeroizing;

use super::connection::{Client, Ear, Link, Plan};
use super::homeassistant::{Entity, OfferedActuator, OfferedReading, Unfit, entities};
use super::packet::Heard;
use super::settings::{Access, check_topic};
use crate::adapters::devices::Keeper;
use crate::domain::base::DeviceId;
use crate::domain::base::limits::{
    DISCOVER_SECONDS_MAX, DISCOVERED_BYTES_MAX, DISCOVERED_MAX, MQTT_READINGS_MAX,
};
use crate::domain::base::text::one_line;

/// Where to listen, and for how long.
#[derive(Debug, Clone)]
pub struct Listen {
    /// The broker's URL.
    pub broker: String,
    /// A PEM file of the authorities to be trusted instead of the system's.
    pub ca: Option<PathBuf>,
    /// Who we are there.
    pub user: Option<String>,
    /// The name of the credential with the password.
    pub password: Option<String>,
    /// Whether it may go over the internet in plain text.
    pub plain: bool,
    /// The first level of the topics.
    pub prefix: String,
    /// For how long, once the broker has let us in.
    pub seconds: u64,
}

/// What was heard.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Discovered {
    /// Readings that could be added.
    pub readings: Vec<OfferedReading>,
    /// What could be told something, after a person has chosen its safe state.
    pub actuators: Vec<OfferedActuator>,
    /// What cannot be said in a table.
    pub unfit: Vec<Unfit>,
    /// Messages beyond the limits, of which nothing was read.
    pub beyond: usize,
}

/// The messages as they come, the newest of each topic.
#[derive(Default)]
struct Basket {
    messages: BTreeMap<String, Bytes>,
    bytes: usize,
    beyond: usize,
    refused: bool,
}

struct Listener(Mutex<Basket>);

impl Listener {
    fn with<T>(&self, look: impl FnOnce(&mut Basket) -> T) -> T {
        look(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Ear for Listener {
    fn heard(&self, message: Heard) {
        self.with(|basket| {
            let Ok(payload) = message.payload else {
                basket.beyond += 1;
                return;
            };
            let before = basket.messages.get(&message.topic).map_or(0, Bytes::len);
            let bytes = basket.bytes - before + payload.len();
            let is_new = !basket.messages.contains_key(&message.topic);
            if bytes > DISCOVERED_BYTES_MAX || is_new && basket.messages.len() >= DISCOVERED_MAX {
                basket.beyond += 1;
                return;
            }
            basket.bytes = bytes;
            // A copy: the payload shares its buffer with other packets.
            let payload = Bytes::copy_from_slice(&payload);
            basket.messages.insert(message.topic, payload);
        });
    }

    fn refused(&self, _: &str) {
        self.with(|basket| basket.refused = true);
    }

    fn turned(&self, _: &Link) {}
}

/// The node's keeper; where the node has no identity yet, a broker is told none.
struct Anyone(Arc<dyn Keeper>);

impl Keeper for Anyone {
    fn device(&self) -> Result<DeviceId, String> {
        let nobody = || "0".repeat(64).parse().map_err(|_| "no id".to_owned());
        self.0.device().or_else(|_| nobody())
    }

    fn password(&self, name: &str) -> Result<Zeroizing<String>, String> {
        self.0.password(name)
    }
}

/// Listens for what devices offer.
///
/// # Errors
/// What is wrong with the address, or why the broker does not let us hear.
pub async fn discover(listen: &Listen, keeper: Arc<dyn Keeper>) -> Result<Discovered, String> {
    if !(1..=DISCOVER_SECONDS_MAX).contains(&listen.seconds) {
        return Err(format!("seconds: must be 1 to {DISCOVER_SECONDS_MAX}"));
    }
    check_topic(&listen.prefix).map_err(|why| why.replacen("topic", "prefix", 1))?;
    let access = Access {
        broker: listen.broker.clone(),
        ca: listen.ca.clone(),
        user: listen.user.clone(),
        password: listen.password.clone(),
        plain: listen.plain,
        timeout_sec: None,
    };
    let heard = Arc::new(Listener(Mutex::default()));
    let levels = ["+/+", "+/+/+"];
    let client = Client::new(Plan {
        broker: access.broker()?,
        user: listen.user.clone(),
        password: listen.password.clone(),
        purpose: "discovery".to_owned(),
        will: None,
        topics: levels
            .map(|level| format!("{}/{level}/config", listen.prefix))
            .to_vec(),
        keeper: Arc::new(Anyone(keeper)),
        ear: heard.clone(),
    });
    let mut link = client.link();
    client.start();
    let time = Duration::from_secs(listen.seconds);
    let up = async {
        // An error says that its thread has ended.
        let _ = link.wait_for(|link| !matches!(link, Link::Trying)).await;
    };
    let is_known = timeout_at(Instant::now() + time, up).await.is_ok();
    if let Link::Down(why) = &*link.borrow() {
        return Err(why.clone());
    }
    if !is_known {
        let seconds = listen.seconds;
        return Err(format!("the broker has not answered within {seconds} s"));
    }
    sleep_until(Instant::now() + time).await;
    drop(client);
    let basket = heard.with(std::mem::take);
    if basket.refused {
        let why = format!("the broker does not let this user hear {}/#", listen.prefix);
        return Err(why);
    }
    let mut found = Discovered {
        beyond: basket.beyond,
        ..Discovered::default()
    };
    for (topic, payload) in &basket.messages {
        for entity in entities(&listen.prefix, topic, payload) {
            found.take(entity);
        }
    }
    Ok(found)
}

impl Discovered {
    pub(super) fn take(&mut self, entity: Entity) {
        match entity {
            Entity::Reading(reading) => self.reading(reading),
            Entity::Actuator(actuator) => {
                let capability = &actuator.capability;
                let mut all = self.actuators.iter();
                match all.any(|other| other.capability == *capability) {
                    true => self.twice(&actuator.label, capability),
                    false => self.actuators.push(actuator),
                }
            }
            Entity::Unfit(unfit) => self.unfit.push(unfit),
        }
    }

    /// A metric of a zone is one reading; a second one is told apart by its name.
    fn reading(&mut self, mut reading: OfferedReading) {
        let taken = |reading: &OfferedReading| {
            let mut all = self.readings.iter();
            all.any(|r| (&r.metric, &r.zone) == (&reading.metric, &reading.zone))
        };
        if taken(&reading) {
            reading.zone = format!("{}-{}", reading.zone, reading.object);
        }
        if taken(&reading) || self.readings.len() >= MQTT_READINGS_MAX {
            let name = format!("{} {}", reading.metric, reading.zone);
            return self.twice(&reading.label, &name);
        }
        self.readings.push(reading);
    }

    fn twice(&mut self, label: &str, name: &str) {
        self.unfit.push(Unfit {
            what: label.to_owned(),
            why: format!("{name} is taken by another one, or there are too many"),
        });
    }

    /// The readings as a table of a configuration; nothing where there are none.
    pub fn reading_tables(&self, name: &str, listen: &Listen) -> String {
        let mut text = String::new();
        if self.readings.is_empty() {
            return text;
        }
        head(&mut text, "", name, listen);
        for reading in &self.readings {
            line(&mut text, "\n[[device.reading]]");
            line(&mut text, &format!("# {}", one_line(&reading.label, 80)));
            key(&mut text, "", "metric", &reading.metric);
            key(&mut text, "", "zone", &reading.zone);
            if !reading.unit.is_empty() {
                key(&mut text, "", "unit", &reading.unit);
            }
            key(&mut text, "", "topic", &reading.topic);
            if let Some(json) = &reading.json {
                key(&mut text, "", "json", json);
            }
            if let Some(sec) = reading.late_sec {
                line(&mut text, &format!("check = {{ late_sec = {sec} }}"));
            }
        }
        text
    }

    /// The actuators as tables in comments, each without a safe state; nothing where there are none.
    pub fn actuator_tables(&self, name: &str, listen: &Listen) -> String {
        let mut text = String::new();
        if self.actuators.is_empty() {
            return text;
        }
        let what = "# These are no actuators of the node. For one that shall be: choose which operation is its safe state, look with your \
                    own eyes\n# what each message does, take the # away, and write a rule into policy.toml.";
        line(&mut text, what);
        if self.readings.is_empty() {
            head(&mut text, "#", name, listen);
        }
        for actuator in &self.actuators {
            line(&mut text, "\n#[[device.actuator]]");
            line(&mut text, &format!("# {}", one_line(&actuator.label, 80)));
            key(&mut text, "#", "capability", &actuator.capability);
            let [on, off] = &actuator.operations;
            line(&mut text, &format!("#safe = # {:?} or {:?}", on.0, off.0));
            if let Some((topic, json, safe)) = &actuator.state {
                let json = json
                    .as_ref()
                    .map(|json| format!(", json = {}", quoted(json)));
                let (topic, safe) = (quoted(topic), quoted(safe));
                let json = json.unwrap_or_default();
                line(&mut text, &format!("# what it says after {:?}:", off.0));
                line(
                    &mut text,
                    &format!("#state = {{ topic = {topic}{json}, safe = {safe} }}"),
                );
            }
            for (operation, payload) in &actuator.operations {
                line(&mut text, "#[[device.actuator.operation]]");
                key(&mut text, "#", "name", operation);
                key(&mut text, "#", "topic", &actuator.topic);
                key(&mut text, "#", "payload", payload);
            }
        }
        text
    }
}

/// The table of the broker.
fn head(text: &mut String, mark: &str, name: &str, listen: &Listen) {
    line(text, &format!("{mark}[[device]]"));
    key(text, mark, "kind", "mqtt");
    key(text, mark, "name", name);
    key(text, mark, "broker", &listen.broker);
    if let Some(ca) = &listen.ca {
        key(text, mark, "ca", &ca.display().to_string());
    }
    for (name, value) in [("user", &listen.user), ("password", &listen.password)] {
        if let Some(value) = value {
            key(text, mark, name, value);
        }
    }
    if listen.plain {
        line(text, &format!("{mark}plain = true"));
    }
}

/// A text as TOML has it, on one line.
fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if c.is_control() => drop(write!(out, "\\u{:04X}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

fn key(text: &mut String, mark: &str, name: &str, value: &str) {
    line(text, &format!("{mark}{name} = {}", quoted(value)));
}

fn line(text: &mut String, line: &str) {
    text.push_str(line);
    text.push('\n');
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn texts_of_a_broker_stay_in_their_line() {
        assert_eq!(quoted("a\"\\\n\u{7f}é"), "\"a\\\"\\\\\\u000A\\u007Fé\"");
        let again: toml::Table = format!("v = {}", quoted("a\"\\\n\u{7f}é")).parse().unwrap();
        assert_eq!(again["v"].as_str(), Some("a\"\\\n\u{7f}é"));
    }
}
