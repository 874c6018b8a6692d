//! What a node offers, and an action on it.
//!
//! A capability is `kind:name[:sub]` (gen-1 §9). Anything whose spelling folds to `actuator:` is an
//! actuator: case, white space, full-width and invisible characters make no difference (invariant I3).

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use serde_json::Value;

use super::base::limits::{NAME_MAX_BYTES, PARAMS_MAX};
use super::base::number::all_plain;

/// Why a text is no capability, pattern or action.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CapabilityError {
    /// The text is not `kind:name[:sub]`.
    #[error(
        "{0:?} is no capability; write kind:name or kind:name:sub in lower case, for example actuator:mock:valve-1"
    )]
    Form(String),
    /// The kind is none of ours.
    #[error("unknown kind in {0:?}; kinds are actuator, agent, channel, llm, sensor and skill")]
    Kind(String),
    /// An operation or its parameters are out of bounds.
    #[error("{0}")]
    Action(String),
}

const KINDS: [&str; 6] = ["actuator", "agent", "channel", "llm", "sensor", "skill"];

fn shown(text: &str) -> String {
    text.chars().take(60).collect()
}

fn is_segment(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'/'))
}

/// A capability in its one spelling: `kind:name[:sub]`, lower case.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Capability(String);

impl Capability {
    /// The text form.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The part before the first colon.
    pub fn kind(&self) -> &str {
        self.0.split(':').next().unwrap_or_default()
    }

    /// Whether this is hardware.
    pub fn is_actuator(&self) -> bool {
        self.kind() == "actuator"
    }

    /// Reads a target as a stranger may have spelled it: trimmed, lower-cased, look-alikes folded.
    pub fn fold(text: &str) -> Result<Self, CapabilityError> {
        folded(text).parse()
    }
}

/// The text in lower case, without white space and invisible characters, full-width forms narrowed.
fn folded(text: &str) -> String {
    text.chars()
        .filter_map(|c| match c {
            // Zero-width characters, direction marks, soft hyphen, byte-order mark.
            '\u{200b}'..='\u{200f}'
            | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{2069}'
            | '\u{feff}'
            | '\u{ad}' => None,
            // Full-width ASCII.
            '\u{ff01}'..='\u{ff5e}' => char::from_u32(u32::from(c) - 0xfee0),
            // Colons that are not colons.
            '\u{2236}' | '\u{a789}' | '\u{fe55}' => Some(':'),
            c if c.is_whitespace() || c.is_control() => None,
            c => Some(c),
        })
        .flat_map(char::to_lowercase)
        .collect()
}

/// Whether a target, however it is spelled, addresses hardware (invariant I3).
pub fn addresses_actuator(text: &str) -> bool {
    let text = folded(text);
    text == "actuator" || text.starts_with("actuator:")
}

/// Whether an offer reaches hardware: an actuator, however it is spelled, or a pattern that can stand for
/// one, such as `*` or `act*:pump`.
pub fn offers_actuator(text: &str) -> bool {
    let text = folded(text);
    let kind = text.split(':').next().unwrap_or_default();
    match kind.strip_suffix('*') {
        Some(prefix) => "actuator".starts_with(prefix),
        None => kind == "actuator",
    }
}

impl FromStr for Capability {
    type Err = CapabilityError;

    fn from_str(text: &str) -> Result<Self, CapabilityError> {
        let segments: Vec<&str> = text.split(':').collect();
        if text.len() > NAME_MAX_BYTES
            || !(2..=4).contains(&segments.len())
            || !segments.iter().all(|s| is_segment(s))
        {
            return Err(CapabilityError::Form(shown(text)));
        }
        if !KINDS.contains(&segments[0]) {
            return Err(CapabilityError::Kind(shown(text)));
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for Capability {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Capability {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        String::deserialize(d)?.parse().map_err(de::Error::custom)
    }
}

/// A pattern over capabilities: `*` as a whole segment matches it and everything after it, and a
/// trailing `*` matches the rest of its segment; otherwise segment counts must match (gen-1 §9).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern(String);

impl Pattern {
    /// The text form.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the pattern names exactly one capability.
    pub fn is_exact(&self) -> bool {
        !self.0.contains('*')
    }

    /// Whether `capability` falls under the pattern.
    pub fn matches(&self, capability: &Capability) -> bool {
        let mut have = capability.0.split(':');
        for want in self.0.split(':') {
            if want == "*" {
                return have.next().is_some();
            }
            let Some(segment) = have.next() else {
                return false;
            };
            let hit = match want.strip_suffix('*') {
                Some(prefix) => segment.starts_with(prefix),
                None => segment == want,
            };
            if !hit {
                return false;
            }
        }
        have.next().is_none()
    }
}

impl FromStr for Pattern {
    type Err = CapabilityError;

    fn from_str(text: &str) -> Result<Self, CapabilityError> {
        let segments: Vec<&str> = text.split(':').collect();
        let fine = |s: &str| s == "*" || is_segment(s.strip_suffix('*').unwrap_or(s));
        if text.len() > NAME_MAX_BYTES
            || !(1..=4).contains(&segments.len())
            || !segments.iter().all(|s| fine(s))
        {
            return Err(CapabilityError::Form(shown(text)));
        }
        Ok(Self(text.to_owned()))
    }
}

impl Serialize for Pattern {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Pattern {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        String::deserialize(d)?.parse().map_err(de::Error::custom)
    }
}

/// Parameters of an operation: names to numbers, texts or booleans.
pub type Params = BTreeMap<String, Value>;

/// Reads parameters: a name that is given twice is an error, and a whole number is one however it is
/// written. For `#[serde(deserialize_with)]`.
///
/// # Errors
/// That of the reader, or which name is given twice.
pub fn read_params<'de, D: Deserializer<'de>>(reader: D) -> Result<Params, D::Error> {
    struct Read;

    impl<'de> de::Visitor<'de> for Read {
        type Value = Params;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("parameters by name")
        }

        fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<Params, A::Error> {
            let mut params = Params::new();
            while let Some((name, value)) = map.next_entry::<String, Value>()? {
                if params.contains_key(&name) {
                    let twice = format!("parameter {:?} is given twice", shown(&name));
                    return Err(de::Error::custom(twice));
                }
                params.insert(name, all_plain(value));
            }
            Ok(params)
        }
    }

    reader.deserialize_map(Read)
}

/// The same for parameters that were given one by one.
///
/// # Errors
/// Which name is given twice.
pub fn params_of(
    given: impl IntoIterator<Item = (String, Value)>,
) -> Result<Params, CapabilityError> {
    let mut params = Params::new();
    for (name, value) in given {
        let twice = format!("parameter {:?} is given twice", shown(&name));
        if params.insert(name, all_plain(value)).is_some() {
            return Err(CapabilityError::Action(twice));
        }
    }
    Ok(params)
}

/// What would physically happen: an operation with its parameters on one target.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct Action {
    /// The capability that acts.
    #[cfg_attr(test, schema(value_type = String))]
    pub target: Capability,
    /// What it does, for example `open`.
    pub operation: String,
    /// With which parameters.
    #[serde(default, deserialize_with = "read_params")]
    #[cfg_attr(test, schema(value_type = Object))]
    pub params: Params,
}

impl Action {
    /// An action whose operation and parameters are within their bounds.
    pub fn new(
        target: Capability,
        operation: &str,
        params: Params,
    ) -> Result<Self, CapabilityError> {
        let bad = |what: String| Err(CapabilityError::Action(what));
        if operation.len() > 64 || !is_segment(operation) {
            return bad(format!(
                "operation {:?} must be 1 to 64 of a-z, 0-9, '-', '_', '.', '/'",
                shown(operation)
            ));
        }
        if params.len() > PARAMS_MAX {
            return bad(format!(
                "{} parameters given, at most {PARAMS_MAX} are allowed",
                params.len()
            ));
        }
        for (name, value) in &params {
            let named = !name.is_empty()
                && name.len() <= 64
                && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
            if !named {
                return bad(format!(
                    "parameter name {:?} must be 1 to 64 letters, digits or '_'",
                    shown(name)
                ));
            }
            let fine = match value {
                Value::Bool(_) | Value::Number(_) => true,
                Value::String(text) => text.len() <= 256,
                _ => false,
            };
            if !fine {
                return bad(format!(
                    "parameter {name} must be a number, a boolean or a text of at most 256 bytes"
                ));
            }
        }
        Ok(Self {
            target,
            operation: operation.to_owned(),
            params: params
                .into_iter()
                .map(|(name, value)| (name, all_plain(value)))
                .collect(),
        })
    }

    /// What makes two wishes the same: target, operation and every parameter. An executor keeps one
    /// open proposal per intent; a wish with other parameters is another decision for a person.
    pub fn intent_key(&self) -> String {
        let params: Vec<String> = self
            .params
            .iter()
            .map(|(k, v)| format!("{k}={v}"))
            .collect();
        format!("{}|{}|{}", self.target, self.operation, params.join("&"))
    }

    /// The action in words, for people: `open actuator:mock:valve-1 (durationSec 10)`.
    pub fn summary(&self) -> String {
        let params: Vec<String> = self
            .params
            .iter()
            .map(|(k, v)| format!("{k} {v}"))
            .collect();
        match params.is_empty() {
            true => format!("{} {}", self.operation, self.target),
            false => format!("{} {} ({})", self.operation, self.target, params.join(", ")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_of_an_actuator_folds() {
        for odd in [
            "actuator:mock:valve-1",
            "Actuator:mock:valve-1",
            " actuator:mock:valve-1",
            "act\u{200b}uator:mock:valve-1",
            "ＡＣＴＵＡＴＯＲ：mock:valve-1",
            "\tACTUATOR : mock : valve-1",
        ] {
            assert!(addresses_actuator(odd), "{odd:?}");
            assert_eq!(
                Capability::fold(odd).unwrap().as_str(),
                "actuator:mock:valve-1",
                "{odd:?}"
            );
        }
        assert!(!addresses_actuator("channel:actuator"));
    }

    #[test]
    fn a_parameter_is_given_once_and_ten_is_ten() {
        let read = |json: &str| serde_json::from_str::<Action>(json);
        let twice = r#"{"target":"actuator:a","operation":"open","params":{"x":1,"x":2}}"#;
        assert!(
            read(twice)
                .unwrap_err()
                .to_string()
                .contains("\"x\" is given twice")
        );
        assert!(params_of([("x".to_owned(), 1.into()), ("x".to_owned(), 1.into())]).is_err());
        let with = |number: &str| {
            read(&format!(
                r#"{{"target":"actuator:a","operation":"open","params":{{"x":{number}}}}}"#
            ))
            .unwrap()
            .intent_key()
        };
        assert_eq!(with("10"), with("10.0"));
        assert_ne!(with("10"), with("10.5"));
    }

    #[test]
    fn patterns_match_like_gen1() {
        let valve: Capability = "actuator:mock:valve-1".parse().unwrap();
        for (pattern, hit) in [
            ("actuator:mock:valve-1", true),
            ("actuator:mock:valve-*", true),
            ("actuator:*", true),
            ("*", true),
            ("actuator:mock", false),
            ("actuator:mock:valve-2", false),
            ("sensor:*", false),
        ] {
            assert_eq!(
                pattern.parse::<Pattern>().unwrap().matches(&valve),
                hit,
                "{pattern}"
            );
        }
    }

    #[test]
    fn actions_are_bounded() {
        let valve: Capability = "actuator:mock:valve-1".parse().unwrap();
        let nested = Params::from([("a".to_owned(), serde_json::json!([1]))]);
        assert!(Action::new(valve.clone(), "open", nested).is_err());
        assert!(Action::new(valve.clone(), "rm -rf", Params::new()).is_err());
        assert!(Action::new(valve, "open", Params::new()).is_ok());
    }
}
