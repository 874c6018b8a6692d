//! The JSON envelope of every message: request, response or event (gen-1 §5).

use std::fmt;

use serde::de::{IgnoredAny, MapAccess, Visitor};
use serde::{Deserializer as _, Serialize};
use serde_json::{Map, Value, json};

use crate::domain::base::canonical;
use crate::domain::base::limits::NAME_MAX_BYTES;
use crate::domain::base::{Code, Refusal};

/// A message as it came in, its form checked and nothing else.
#[derive(Debug, Clone, PartialEq)]
pub enum Message {
    /// A request that wants exactly one response with the same id.
    Request {
        /// Chosen by the sender, echoed in the response.
        id: String,
        /// The method's name.
        method: String,
        /// Its parameters; absent counts as empty.
        params: Map<String, Value>,
    },
    /// The answer to one of our requests.
    Response {
        /// The id of our request.
        id: String,
        /// The payload, or the refusal of the other side.
        result: Result<Value, RemoteError>,
    },
    /// Something that wants no answer.
    Event {
        /// The event's name.
        event: String,
        /// Its payload, `Null` where it was missing.
        payload: Value,
    },
}

/// A refusal by the other side, as it came.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{code}: {message}")]
pub struct RemoteError {
    /// Their code; it need not be one of ours.
    pub code: String,
    /// Their sentence.
    pub message: String,
    /// The whole error object, for members beyond these two.
    pub detail: Value,
}

/// A code that we do not know stays in the sentence.
impl From<RemoteError> for Refusal {
    fn from(error: RemoteError) -> Self {
        match Code::from_wire(&error.code) {
            Some(code) => Refusal::new(code, error.message),
            None => Refusal::new(Code::DeliveryFailed, error.to_string()),
        }
    }
}

/// Why a text is no message, with the request id to answer to where one could be read.
#[derive(Debug, Clone, PartialEq)]
pub struct BadMessage {
    /// The id of the request, if the text had one.
    pub id: Option<String>,
    /// The fault.
    pub refusal: Refusal,
}

impl Message {
    /// Reads one text message.
    ///
    /// # Errors
    /// `INVALID_JSON` for what is not strict JSON, `INVALID_TYPE` for another `type`,
    /// `INVALID_PARAMS` for members of the wrong form.
    pub fn parse(text: &str) -> Result<Message, BadMessage> {
        let value = canonical::parse(text)
            .map_err(|e| bad(id_of_refused(text), Code::InvalidJson, e.to_string()))?;
        let Value::Object(mut map) = value else {
            return Err(bad(
                None,
                Code::InvalidJson,
                "a message must be a JSON object",
            ));
        };
        let id = match map.remove("id") {
            Some(Value::String(id)) if !id.is_empty() && id.len() <= NAME_MAX_BYTES => Some(id),
            _ => None,
        };
        match map.get("type").and_then(Value::as_str) {
            Some("req") => request(id, map),
            Some("res") => response(id, map),
            Some("event") => event(id, map),
            _ => Err(bad(id, Code::InvalidType, "type must be req, res or event")),
        }
    }

    /// The text of a request.
    pub fn request(id: &str, method: &str, params: &Value) -> String {
        json!({"type": "req", "id": id, "method": method, "params": params}).to_string()
    }

    /// The text of an event.
    pub fn event(event: &str, payload: &Value) -> String {
        json!({"type": "event", "event": event, "payload": payload}).to_string()
    }
}

fn bad(id: Option<String>, code: Code, message: impl Into<String>) -> BadMessage {
    BadMessage {
        id,
        refusal: Refusal::new(code, message),
    }
}

/// The id of a request that is no strict JSON, so that its sender gets an answer: it has a key twice,
/// is nested too deep or breaks off behind its id. `None` where it may be no request, as an answer to
/// a response would be taken for one.
fn id_of_refused(text: &str) -> Option<String> {
    let (mut kind, mut id) = (None, None);
    let seen = Asking {
        kind: &mut kind,
        id: &mut id,
    };
    // How far it can be read is enough.
    let _ = serde_json::Deserializer::from_str(text).deserialize_map(seen);
    match (kind, id) {
        (Some(Value::String(kind)), Some(Value::String(id)))
            if kind == "req" && !id.is_empty() && id.len() <= NAME_MAX_BYTES =>
        {
            Some(id)
        }
        _ => None,
    }
}

/// Keeps the `type` and the `id` of an object and passes over all else.
struct Asking<'a> {
    kind: &'a mut Option<Value>,
    id: &'a mut Option<Value>,
}

impl<'de> Visitor<'de> for Asking<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<(), A::Error> {
        while let Some(key) = access.next_key::<String>()? {
            let slot = match key.as_str() {
                "type" => &mut *self.kind,
                "id" => &mut *self.id,
                _ => {
                    access.next_value::<IgnoredAny>()?;
                    continue;
                }
            };
            let value: Value = access.next_value()?;
            *slot = match slot.take() {
                // Which of two is meant cannot be known.
                Some(first) if first != value => Some(Value::Null),
                _ => Some(value),
            };
        }
        Ok(())
    }
}

fn name(map: &mut Map<String, Value>, member: &str) -> Option<String> {
    match map.remove(member) {
        Some(Value::String(text)) if !text.is_empty() && text.len() <= NAME_MAX_BYTES => Some(text),
        _ => None,
    }
}

fn request(id: Option<String>, mut map: Map<String, Value>) -> Result<Message, BadMessage> {
    let Some(id) = id else {
        return Err(bad(
            None,
            Code::InvalidParams,
            "a request needs an id of 1 to 128 bytes",
        ));
    };
    let Some(method) = name(&mut map, "method") else {
        return Err(bad(
            Some(id),
            Code::InvalidParams,
            "a request needs a method of 1 to 128 bytes",
        ));
    };
    let params = match map.remove("params") {
        None | Some(Value::Null) => Map::new(),
        Some(Value::Object(params)) => params,
        Some(_) => {
            return Err(bad(
                Some(id),
                Code::InvalidParams,
                "params must be an object",
            ));
        }
    };
    Ok(Message::Request { id, method, params })
}

fn response(id: Option<String>, mut map: Map<String, Value>) -> Result<Message, BadMessage> {
    let Some(id) = id else {
        return Err(bad(
            None,
            Code::InvalidParams,
            "a response needs the id of its request",
        ));
    };
    let result = match map.get("ok") {
        Some(Value::Bool(true)) => Ok(map.remove("payload").unwrap_or(Value::Null)),
        Some(Value::Bool(false)) => {
            let detail = map.remove("error").unwrap_or(Value::Null);
            let text = |member: &str| {
                detail
                    .get(member)
                    .and_then(Value::as_str)
                    .unwrap_or_default()
                    .to_owned()
            };
            Err(RemoteError {
                code: text("code"),
                message: text("message"),
                detail,
            })
        }
        _ => {
            return Err(bad(
                None,
                Code::InvalidParams,
                "a response needs ok: true or false",
            ));
        }
    };
    Ok(Message::Response { id, result })
}

fn event(id: Option<String>, mut map: Map<String, Value>) -> Result<Message, BadMessage> {
    let Some(event) = name(&mut map, "event") else {
        return Err(bad(
            id,
            Code::InvalidParams,
            "an event needs a name of 1 to 128 bytes",
        ));
    };
    Ok(Message::Event {
        event,
        payload: map.remove("payload").unwrap_or(Value::Null),
    })
}

/// The answer to a request: a payload, or a refusal with members that explain it.
#[derive(Debug, Clone, PartialEq)]
pub enum Reply {
    /// It was done; here is the result.
    Ok(Value),
    /// It was not done.
    Refused {
        /// Why.
        refusal: Refusal,
        /// Further members of the error object, for example `proposalId`.
        extra: Map<String, Value>,
    },
}

impl From<Refusal> for Reply {
    fn from(refusal: Refusal) -> Self {
        Reply::Refused {
            refusal,
            extra: Map::new(),
        }
    }
}

/// A response with a result; the members in the order in which all our texts have them.
#[derive(Serialize)]
struct Done<'a> {
    id: &'a str,
    ok: bool,
    payload: &'a Value,
    r#type: &'static str,
}

impl Reply {
    /// The text of the response to request `id`.
    pub fn to_text(&self, id: &str) -> String {
        match self {
            // Written as it is: a result may be long.
            Reply::Ok(payload) => serde_json::to_string(&Done {
                id,
                ok: true,
                payload,
                r#type: "res",
            })
            .unwrap_or_default(),
            Reply::Refused { refusal, extra } => {
                let mut error = extra.clone();
                error.insert("code".into(), refusal.code.as_str().into());
                error.insert("message".into(), refusal.message.clone().into());
                json!({"type": "res", "id": id, "ok": false, "error": error}).to_string()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_result_is_written_like_any_of_our_texts() {
        let payload = json!({"z": [1.5, null], "a": {"q": "\"\u{1}"}});
        let built = json!({"type": "res", "id": "7", "ok": true, "payload": payload});
        assert_eq!(Reply::Ok(payload).to_text("7"), built.to_string());
    }

    #[test]
    fn reads_the_three_forms() {
        let request = Message::parse(r#"{"type":"req","id":"1","method":"mesh.ping"}"#).unwrap();
        assert!(matches!(request, Message::Request { ref method, .. } if method == "mesh.ping"));
        let event = Message::parse(r#"{"type":"event","event":"context.frame"}"#).unwrap();
        assert_eq!(
            event,
            Message::Event {
                event: "context.frame".into(),
                payload: Value::Null
            }
        );
        let reply = Reply::from(Refusal::new(Code::Busy, "later")).to_text("7");
        match Message::parse(&reply).unwrap() {
            Message::Response {
                id,
                result: Err(error),
            } => assert_eq!((id.as_str(), error.code.as_str()), ("7", "BUSY")),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn says_what_is_wrong_and_to_whom() {
        let bad = Message::parse(r#"{"type":"req","id":"9","params":[]}"#).unwrap_err();
        assert_eq!(
            (bad.id.as_deref(), bad.refusal.code),
            (Some("9"), Code::InvalidParams)
        );
        assert_eq!(
            Message::parse("[]").unwrap_err().refusal.code,
            Code::InvalidJson
        );
        assert_eq!(
            Message::parse(r#"{"type":"x"}"#).unwrap_err().refusal.code,
            Code::InvalidType
        );
    }

    #[test]
    fn a_request_that_is_no_strict_json_is_refused_by_its_id() {
        let id = |text: &str| {
            let bad = Message::parse(text).unwrap_err();
            assert_eq!(bad.refusal.code, Code::InvalidJson);
            bad.id
        };
        let deep = "[".repeat(100_000);
        for text in [
            r#"{"type":"req","id":"7","method":"m","params":{"a":1,"a":2}}"#,
            r#"{"method":"m","params":{"a":{"b":1,"b":2}},"id":"7","type":"req"}"#,
            r#"{"type":"req","type":"req","id":"7","id":"7"}"#,
            r#"{"type":"req","id":"7","params":{"a":"#,
            r#"{"type":"req","id":"7"} and more"#,
            &format!(r#"{{"type":"req","id":"7","params":{deep}"#),
        ] {
            assert_eq!(id(text).as_deref(), Some("7"), "{text:.80}");
        }
        let long = "i".repeat(NAME_MAX_BYTES + 1);
        for text in [
            // Ours is the request that this would seem to answer.
            r#"{"type":"res","id":"7","ok":true,"ok":true}"#,
            r#"{"type":"req","type":"res","id":"7"}"#,
            r#"{"type":"req","id":"7","id":"8"}"#,
            r#"{"type":"req","params":{"id":"7","id":"7"}}"#,
            r#"{"type":"req","id":7,"id":7}"#,
            r#"{"type":"req","id":""  "#,
            &format!(r#"{{"type":"req","id":"{long}","a":1,"a":1}}"#),
            r#"{"id":"7"#,
            "",
        ] {
            assert_eq!(id(text), None, "{text:.80}");
        }
    }

    proptest! {
        #[test]
        fn never_panics(text in ".{0,300}") {
            let _ = Message::parse(&text);
            let _ = Message::parse(&format!("{{\"type\":\"req\",\"id\":{text}"));
        }
    }
}
