//! Discovery messages as devices publish them for Home Assistant: what each offers, as far as it can be said in a table of ours.
//! Everything in them is the word of whoever may publish at the broker: it is bounded, and nothing of it moves anything.

use serde::Serialize;
use serde_json::{Map, Value};

use super::settings::check_topic;
use crate::adapters::devices::template::placeholder;
use crate::domain::base::limits::{
    DISCOVERED_PARTS_MAX, DISCOVERED_TEXT_MAX_BYTES, SENSOR_EVERY_SEC_MAX, UNIT_MAX_BYTES,
};
use crate::domain::base::text::one_line;

/// A number that a device publishes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct OfferedReading {
    /// What people call it.
    pub label: String,
    /// What is measured.
    pub metric: String,
    /// Where.
    pub zone: String,
    /// The unit, as UCUM writes it where it is known.
    pub unit: String,
    /// The topic.
    pub topic: String,
    /// Where in the JSON document that a message is.
    pub json: Option<String>,
    /// After how many seconds a value does not count any more.
    pub late_sec: Option<u64>,
    /// Its name at its device, where two would be the same otherwise.
    #[serde(skip)]
    pub(super) object: String,
}

/// What a device can be told, which is nothing before a person has chosen its safe state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct OfferedActuator {
    /// What people call it.
    pub label: String,
    /// A name for it.
    pub capability: String,
    /// Where it is told.
    pub topic: String,
    /// Its operations, each with its message.
    pub operations: [(String, String); 2],
    /// Where it says its state, the place in the JSON document, and what it says after the second operation.
    pub state: Option<(String, Option<String>, String)>,
}

/// What cannot be said in a table, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Unfit {
    /// Which.
    pub what: String,
    /// Why not.
    pub why: String,
}

/// One thing of a discovery message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Entity {
    Reading(OfferedReading),
    Actuator(OfferedActuator),
    Unfit(Unfit),
}

/// Short keys, and what they stand for.
const SHORT: [(&str, &str); 26] = [
    ("stat_t", "state_topic"),
    ("cmd_t", "command_topic"),
    ("cmd_tpl", "command_template"),
    ("val_tpl", "value_template"),
    ("unit_of_meas", "unit_of_measurement"),
    ("dev_cla", "device_class"),
    ("stat_cla", "state_class"),
    ("exp_aft", "expire_after"),
    ("pl_on", "payload_on"),
    ("pl_off", "payload_off"),
    ("pl_open", "payload_open"),
    ("pl_cls", "payload_close"),
    ("stat_on", "state_on"),
    ("stat_off", "state_off"),
    ("stat_open", "state_open"),
    ("stat_clsd", "state_closed"),
    ("stat_val_tpl", "state_value_template"),
    ("dev", "device"),
    ("cmps", "components"),
    ("cmp", "components"),
    ("p", "platform"),
    ("uniq_id", "unique_id"),
    ("obj_id", "object_id"),
    ("ids", "identifiers"),
    ("e", "encoding"),
    ("ops", "options"),
];

/// Units as UCUM writes them.
const UNITS: [(&str, &str); 9] = [
    ("°C", "Cel"),
    ("°F", "[degF]"),
    ("µg/m³", "ug/m3"),
    ("μg/m³", "ug/m3"),
    ("m³", "m3"),
    ("m³/h", "m3/h"),
    ("ppm", "[ppm]"),
    ("lx", "lx"),
    ("°", "deg"),
];

fn long(doc: &Map<String, Value>) -> Map<String, Value> {
    let each = doc.iter().map(|(key, value)| {
        let full = SHORT.iter().find(|(short, _)| short == key);
        let key = full.map_or(key.as_str(), |(_, full)| full);
        (key.to_owned(), value.clone())
    });
    each.collect()
}

/// A name in small letters, digits and `-`.
fn slug(text: &str) -> String {
    let mut all = String::new();
    for c in text.chars().take(DISCOVERED_TEXT_MAX_BYTES) {
        match c.to_ascii_lowercase() {
            c if c.is_ascii_alphanumeric() => all.push(c),
            _ if all.ends_with('-') || all.is_empty() => {}
            _ => all.push('-'),
        }
    }
    all.truncate(48);
    all.trim_end_matches('-').to_owned()
}

/// One entity of a message.
struct Read<'a> {
    doc: &'a Map<String, Value>,
    component: &'a str,
    object: &'a str,
    /// How it is called where it does not fit.
    what: String,
}

impl Read<'_> {
    /// A text of the message.
    fn text(&self, key: &str) -> Result<Option<&str>, String> {
        match self.doc.get(key) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text))
                if text.len() <= DISCOVERED_TEXT_MAX_BYTES
                    && !text.chars().any(char::is_control) =>
            {
                Ok(Some(text))
            }
            Some(Value::String(_)) => Err(format!(
                "{key} has more than {DISCOVERED_TEXT_MAX_BYTES} bytes, or control characters"
            )),
            Some(_) => Err(format!("{key} is no text")),
        }
    }

    fn or<'b>(&'b self, key: &str, usual: &'b str) -> Result<String, String> {
        Ok(self.text(key)?.unwrap_or(usual).to_owned())
    }

    /// A topic, with the base in the place of `~`.
    fn topic(&self, key: &str) -> Result<Option<String>, String> {
        let Some(text) = self.text(key)? else {
            return Ok(None);
        };
        let base = self.text("~")?.unwrap_or("~");
        let topic = match (text.strip_prefix('~'), text.strip_suffix('~')) {
            (Some(rest), _) => format!("{base}{rest}"),
            (None, Some(rest)) => format!("{rest}{base}"),
            (None, None) => text.to_owned(),
        };
        check_topic(&topic).map_err(|why| format!("{key}: {why}"))?;
        Ok(Some(topic))
    }

    /// The name of its device, or its own.
    fn place(&self) -> String {
        let device = self.doc.get("device").and_then(Value::as_object).map(long);
        let device = device.unwrap_or_default();
        let identifiers = device.get("identifiers");
        let first = identifiers.and_then(|ids| ids.get(0).or(Some(ids)));
        let named = [device.get("name"), first];
        let named = named.into_iter().flatten().filter_map(Value::as_str);
        let named = named.map(slug).find(|slug| !slug.is_empty());
        named.unwrap_or_else(|| slug(self.object))
    }

    fn label(&self) -> String {
        let name = self.doc.get("name").and_then(Value::as_str);
        let device = self.doc.get("device").and_then(|device| device.get("name"));
        let device = device.and_then(Value::as_str);
        let both: Vec<&str> = device.into_iter().chain(name).collect();
        match both.is_empty() {
            true => one_line(self.object, 80),
            false => one_line(&both.join(", "), 80),
        }
    }

    fn entity(&self) -> Result<Entity, String> {
        match self.component {
            "sensor" | "binary_sensor" => self.reading().map(Entity::Reading),
            "switch" | "valve" | "fan" | "siren" | "light" => self.actuator().map(Entity::Actuator),
            other => Err(format!(
                "a {} is no number and nothing with two states",
                one_line(other, 40)
            )),
        }
    }

    fn reading(&self) -> Result<OfferedReading, String> {
        let topic = self.topic("state_topic")?.ok_or("it has no state_topic")?;
        let class = self.text("device_class")?;
        let unit = self.text("unit_of_measurement")?.unwrap_or_default();
        let is_binary = self.component == "binary_sensor";
        if is_binary {
            for (key, usual, word) in [("payload_on", "ON", true), ("payload_off", "OFF", false)] {
                let said = self.or(key, usual)?;
                let fits: [&str; 3] = if word {
                    ["on", "true", "1"]
                } else {
                    ["off", "false", "0"]
                };
                if !fits.contains(&said.to_ascii_lowercase().as_str()) {
                    return Err(format!("it says {said:?}, which is no number: {key}"));
                }
            }
        } else {
            let words = matches!(class, Some("timestamp" | "date" | "enum"));
            if words || self.doc.contains_key("options") {
                return Err("it says words or times, not numbers".to_owned());
            }
            if unit.is_empty() && class.is_none() && self.text("state_class")?.is_none() {
                return Err(
                    "it has no unit, device_class or state_class, so it may say words; add it by hand if it says numbers"
                        .to_owned(),
                );
            }
        }
        let unit = UNITS
            .iter()
            .find(|(theirs, _)| *theirs == unit)
            .map_or(unit, |(_, ours)| ours);
        if unit.len() > UNIT_MAX_BYTES {
            return Err(format!("its unit has more than {UNIT_MAX_BYTES} bytes"));
        }
        let json = match self.text("value_template")? {
            Some(template) => pointer(template)?,
            None => None,
        };
        let late = self.doc.get("expire_after").and_then(Value::as_u64);
        let metric = class.map(slug).filter(|class| !class.is_empty());
        Ok(OfferedReading {
            label: self.label(),
            metric: metric
                .unwrap_or_else(|| slug(self.object))
                .replace('-', "_"),
            zone: self.place(),
            unit: unit.to_owned(),
            topic,
            json,
            late_sec: late.filter(|sec| (1..=SENSOR_EVERY_SEC_MAX).contains(sec)),
            object: slug(self.object),
        })
    }

    fn actuator(&self) -> Result<OfferedActuator, String> {
        let topic = self
            .topic("command_topic")?
            .ok_or("it has no command_topic")?;
        for key in ["command_template", "schema"] {
            if self.doc.contains_key(key) {
                return Err(format!("its messages are made with a {key}"));
            }
        }
        let is_valve = self.component == "valve";
        if self.doc.get("reports_position").and_then(Value::as_bool) == Some(true) {
            return Err("it is told a position".to_owned());
        }
        let operations = match is_valve {
            true => [
                ("open", "payload_open", "OPEN"),
                ("close", "payload_close", "CLOSE"),
            ],
            false => [("on", "payload_on", "ON"), ("off", "payload_off", "OFF")],
        };
        let [first, second] = operations;
        let message = |(name, key, usual): (&str, &str, &str)| -> Result<(String, String), String> {
            let payload = self.or(key, usual)?;
            match placeholder(&payload) {
                Some(_) => Err(format!("{key} has a place for a parameter: {payload:?}")),
                None => Ok((name.to_owned(), payload)),
            }
        };
        let operations = [message(first)?, message(second)?];
        let template = match is_valve || self.component == "switch" {
            true => self.text("value_template")?,
            false => self.text("state_value_template")?,
        };
        let after = match is_valve {
            true => self.or("state_closed", "closed")?,
            false => self.or("state_off", &operations[1].1)?,
        };
        let state = match self.topic("state_topic")? {
            Some(state) if state != topic => match template.map_or(Ok(None), pointer) {
                Ok(json) => Some((state, json, after)),
                // It can be told; a person has to say how its state is read.
                Err(_) => None,
            },
            _ => None,
        };
        let (component, place, object) = (self.component, self.place(), slug(self.object));
        Ok(OfferedActuator {
            label: self.label(),
            capability: match object.is_empty() || object == place {
                true => format!("actuator:{component}:{place}"),
                false => format!("actuator:{component}:{place}-{object}"),
            },
            topic,
            operations,
            state,
        })
    }
}

/// What a message at `PREFIX/…/config` offers; nothing where it is empty, which takes back what was offered before.
pub(super) fn entities(prefix: &str, topic: &str, payload: &[u8]) -> Vec<Entity> {
    let place = topic
        .strip_prefix(prefix)
        .and_then(|rest| rest.strip_prefix('/'));
    let Some(place) = place.and_then(|rest| rest.strip_suffix("/config")) else {
        return Vec::new();
    };
    let what = one_line(place, 100);
    let unfit = |why: &str| {
        let (what, why) = (what.clone(), why.to_owned());
        vec![Entity::Unfit(Unfit { what, why })]
    };
    if payload.is_empty() {
        return Vec::new();
    }
    let Some((component, rest)) = place.split_once('/') else {
        return Vec::new();
    };
    let object = rest.rsplit('/').next().unwrap_or(rest);
    let Ok(doc) = serde_json::from_slice::<Map<String, Value>>(payload) else {
        return unfit("it is no JSON object");
    };
    let doc = long(&doc);
    let one = |doc: &Map<String, Value>, component: &str, object: &str, what: String| {
        let read = Read {
            doc,
            component,
            object,
            what,
        };
        read.entity().unwrap_or_else(|why| {
            let what = read.what.clone();
            Entity::Unfit(Unfit { what, why })
        })
    };
    if component != "device" {
        return vec![one(&doc, component, object, what)];
    }
    let Some(Value::Object(parts)) = doc.get("components") else {
        return unfit("it has no components");
    };
    if parts.len() > DISCOVERED_PARTS_MAX {
        return unfit(&format!(
            "it has more than {DISCOVERED_PARTS_MAX} components"
        ));
    }
    let each = parts.iter().filter_map(|(id, part)| {
        let mut part = long(part.as_object()?);
        for key in ["~", "device", "state_topic", "command_topic"] {
            if let Some(shared) = doc.get(key) {
                part.entry(key).or_insert_with(|| shared.clone());
            }
        }
        let platform = part.get("platform").and_then(Value::as_str)?.to_owned();
        let what = one_line(&format!("{place} {id}"), 100);
        Some(one(&part, &platform, id, what))
    });
    each.collect()
}

/// The JSON pointer that a template stands for; `None` where the message is the value itself.
///
/// # Errors
/// That it is more than a place in the message.
pub(super) fn pointer(template: &str) -> Result<Option<String>, String> {
    let more = || {
        let shown = one_line(template, 80);
        format!("value_template {shown:?} is more than a place in the message")
    };
    let inner = template
        .trim()
        .strip_prefix("{{")
        .and_then(|rest| rest.strip_suffix("}}"));
    let mut parts = inner.ok_or_else(more)?.split('|').map(str::trim);
    let path = parts.next().unwrap_or_default();
    let is_plain = |filter: &str| {
        let (name, given) = filter.split_once('(').unwrap_or((filter, ")"));
        let given = given.strip_suffix(')').map(str::trim);
        matches!(name.trim(), "float" | "round")
            && given.is_some_and(|given| given.is_empty() || given.parse::<f64>().is_ok())
    };
    if !parts.all(is_plain) {
        return Err(more());
    }
    if path == "value" {
        return Ok(None);
    }
    let mut rest = path.strip_prefix("value_json").ok_or_else(more)?;
    let mut pointer = String::new();
    while !rest.is_empty() {
        let (name, after) = step(rest).ok_or_else(more)?;
        pointer.push('/');
        pointer.push_str(&name.replace('~', "~0").replace('/', "~1"));
        rest = after;
    }
    Ok(Some(pointer))
}

/// One step of a path: `.name`, `['name']`, `["name"]` or `[0]`, and what follows.
fn step(rest: &str) -> Option<(&str, &str)> {
    if let Some(rest) = rest.strip_prefix('.') {
        let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let end = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
        let first = rest.chars().next()?;
        return (!first.is_ascii_digit() && end > 0).then(|| rest.split_at(end));
    }
    let (inner, after) = rest.strip_prefix('[')?.split_once(']')?;
    let quoted = ['\'', '"'].into_iter().find_map(|quote| {
        inner
            .strip_prefix(quote)
            .and_then(|inner| inner.strip_suffix(quote))
    });
    let name = match quoted {
        Some(name) => Some(name).filter(|name| !name.contains(['\'', '"', '\\'])),
        None => Some(inner).filter(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit())),
    };
    Some((name?, after))
}

#[cfg(test)]
mod tests;
