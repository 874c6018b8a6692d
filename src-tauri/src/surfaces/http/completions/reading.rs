//! Requests of OpenAI-compatible clients. Unsupported members are refused by name and never ignored: a client
//! that asked for it would believe that it was done.

use serde_json::{Map, Value, json};

use crate::domain::base::limits::{
    COMPLETIONS_MESSAGES_MAX, COMPLETIONS_OUTPUT_TOKENS, COMPLETIONS_OUTPUT_TOKENS_MAX,
};
use crate::domain::base::number::whole;
use crate::domain::inference::exchange::temperature;
use crate::domain::inference::{InferenceRequest, Message};

/// A request.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Asked {
    /// The model, as the client names it.
    pub model: String,
    /// The request to it.
    pub request: InferenceRequest,
    /// Whether the reply is told while it comes.
    pub stream: bool,
    /// Whether a stream ends with what the reply took.
    pub usage: bool,
}

/// A fault: a sentence and the member it is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wrong {
    pub why: String,
    pub param: String,
}

fn wrong<T>(param: &str, why: impl Into<String>) -> Result<T, Wrong> {
    Err(Wrong {
        why: why.into(),
        param: param.to_owned(),
    })
}

/// Members that are no request of anything: they say who asks, or what the client keeps.
const PASSED_OVER: [&str; 4] = ["user", "metadata", "safety_identifier", "prompt_cache_key"];

/// Whether an unsupported member has its default value, with which it is accepted.
fn is_neutral(name: &str, value: &Value) -> bool {
    match (name, value) {
        (_, Value::Null) => true,
        ("tools" | "functions" | "stop", Value::Array(list)) => list.is_empty(),
        ("logit_bias", Value::Object(map)) => map.is_empty(),
        ("tool_choice" | "function_call", Value::String(text)) => text == "none" || text == "auto",
        ("parallel_tool_calls", Value::Bool(_)) => true,
        ("logprobs" | "store", Value::Bool(on)) => !on,
        ("n" | "top_p", value) => value.as_f64() == Some(1.0),
        ("presence_penalty" | "frequency_penalty" | "top_logprobs", value) => {
            value.as_f64() == Some(0.0)
        }
        ("service_tier", Value::String(text)) => text == "auto" || text == "default",
        ("modalities", value) => *value == json!(["text"]),
        ("response_format", value) => value.get("type").and_then(Value::as_str) == Some("text"),
        _ => false,
    }
}

/// Reads a request.
pub(super) fn read(body: &Map<String, Value>) -> Result<Asked, Wrong> {
    let mut asked = Asked {
        model: String::new(),
        request: InferenceRequest {
            max_output_tokens: COMPLETIONS_OUTPUT_TOKENS,
            ..InferenceRequest::default()
        },
        stream: false,
        usage: false,
    };
    for (name, value) in body {
        match (name.as_str(), value) {
            ("model", Value::String(model)) => asked.model.clone_from(model),
            ("messages", Value::Array(list)) => asked.request.messages = messages(list)?,
            ("stream", Value::Bool(stream)) => asked.stream = *stream,
            ("stream_options", Value::Object(options)) => asked.usage = usage(options)?,
            ("max_tokens" | "max_completion_tokens", value) if !value.is_null() => {
                asked.request.max_output_tokens = most(name, value)?;
            }
            ("temperature", value) => match temperature(Some(value)) {
                Ok(temperature) => asked.request.temperature = temperature,
                Err(refusal) => return wrong(name, refusal.message),
            },
            ("response_format", value) if value["type"] == "json_schema" => {
                match &value["json_schema"]["schema"] {
                    schema @ Value::Object(_) => asked.request.schema = Some(schema.clone()),
                    _ => return wrong(name, "json_schema.schema must be an object"),
                }
            }
            ("model" | "messages" | "stream", _) => {
                return wrong(name, format!("{name} is of the wrong type"));
            }
            (name, _) if PASSED_OVER.contains(&name) => {}
            (name, value) if is_neutral(name, value) => {}
            ("n", _) => return wrong("n", "only one choice is made: n must be 1"),
            ("tools" | "tool_choice" | "functions" | "function_call", _) => {
                return wrong(name, "tools are not supported here");
            }
            (other, _) => {
                let shown: String = other.chars().take(60).collect();
                return wrong(&shown, format!("{shown} is not supported here"));
            }
        }
    }
    if asked.model.is_empty() {
        return wrong("model", "model is missing; GET /v1/models lists them");
    }
    if asked.request.messages.is_empty() {
        return wrong("messages", "messages must not be empty");
    }
    if asked.usage && !asked.stream {
        return wrong("stream_options", "stream_options needs stream: true");
    }
    Ok(asked)
}

fn most(name: &str, value: &Value) -> Result<u32, Wrong> {
    match whole(value).filter(|n| *n > 0) {
        Some(n) => Ok(u32::try_from(n)
            .unwrap_or(u32::MAX)
            .min(COMPLETIONS_OUTPUT_TOKENS_MAX)),
        None => wrong(name, format!("{name} must be a whole number above 0")),
    }
}

fn usage(options: &Map<String, Value>) -> Result<bool, Wrong> {
    for (name, value) in options {
        match (name.as_str(), value) {
            ("include_usage", Value::Bool(_)) | (_, Value::Null) => {}
            (_, Value::Bool(false)) => {}
            _ => return wrong("stream_options", "only include_usage is supported"),
        }
    }
    Ok(options.get("include_usage") == Some(&Value::Bool(true)))
}

fn messages(list: &[Value]) -> Result<Vec<Message>, Wrong> {
    if list.len() > COMPLETIONS_MESSAGES_MAX {
        let why = format!("at most {COMPLETIONS_MESSAGES_MAX} messages are read");
        return wrong("messages", why);
    }
    let one = |(n, value): (usize, &Value)| message(&format!("messages[{n}]"), value);
    list.iter().enumerate().map(one).collect()
}

fn message(place: &str, value: &Value) -> Result<Message, Wrong> {
    let Value::Object(members) = value else {
        return wrong(place, "a message must be an object");
    };
    for (name, value) in members {
        let known = matches!(name.as_str(), "role" | "content");
        let empty = value.is_null() || value.as_array().is_some_and(Vec::is_empty);
        if !known && !empty {
            let shown: String = name.chars().take(60).collect();
            return wrong(
                &format!("{place}.{shown}"),
                format!("{shown} of a message is not supported here"),
            );
        }
    }
    let at = format!("{place}.content");
    let role = members.get("role").and_then(Value::as_str);
    let text = match members.get("content") {
        None | Some(Value::Null) if role == Some("assistant") => String::new(),
        content => text(&at, content)?,
    };
    match role {
        Some("system" | "developer") => Ok(Message::System(text)),
        Some("user") => Ok(Message::User(text)),
        Some("assistant") => Ok(Message::Assistant {
            text,
            calls: Vec::new(),
        }),
        _ => wrong(
            &format!("{place}.role"),
            "role must be system, developer, user or assistant; tools are not supported here",
        ),
    }
}

fn text(at: &str, content: Option<&Value>) -> Result<String, Wrong> {
    match content {
        Some(Value::String(text)) => Ok(text.clone()),
        Some(Value::Array(parts)) => {
            let mut all = String::new();
            for part in parts {
                match (part["type"].as_str(), part["text"].as_str()) {
                    (Some("text"), Some(text)) => all.push_str(text),
                    _ => {
                        return wrong(at, "only text is supported here: no images, audio or files");
                    }
                }
            }
            Ok(all)
        }
        _ => wrong(at, "content must be text"),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn of(more: Value) -> Result<Asked, Wrong> {
        let mut body = json!({"model": "a/b", "messages": [{"role": "user", "content": "hi"}]});
        let members = more.as_object().unwrap().clone();
        body.as_object_mut().unwrap().extend(members);
        read(body.as_object().unwrap())
    }

    #[test]
    fn what_clients_send_without_asking_for_anything_is_read() {
        let asked = of(json!({
            "n": 1, "top_p": 1.0, "presence_penalty": 0, "stop": null, "tools": [], "tool_choice": "auto",
            "user": "ana", "logprobs": false, "response_format": {"type": "text"}, "seed": null,
            "stream": true, "stream_options": {"include_usage": true}, "max_tokens": 5.0, "temperature": 0.2,
            "messages": [
                {"role": "developer", "content": "brief"},
                {"role": "assistant", "content": null, "tool_calls": []},
                {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
            ],
        }));
        let asked = asked.unwrap();
        assert!(asked.stream && asked.usage);
        assert_eq!(asked.request.max_output_tokens, 5);
        assert_eq!(asked.request.messages[0], Message::System("brief".into()));
        assert_eq!(asked.request.messages[2], Message::User("ab".into()));
        let schema = json!({"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "object"}}});
        assert!(
            of(json!({"response_format": schema}))
                .unwrap()
                .request
                .schema
                .is_some()
        );
        let most = of(json!({"max_completion_tokens": 1e9})).unwrap().request;
        assert_eq!(most.max_output_tokens, COMPLETIONS_OUTPUT_TOKENS_MAX);
    }

    #[test]
    fn what_cannot_be_done_is_refused_by_name() {
        let image = json!([{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]);
        for (more, param) in [
            (json!({"n": 2}), "n"),
            (json!({"tools": [{"type": "function"}]}), "tools"),
            (json!({"tool_choice": "required"}), "tool_choice"),
            (json!({"messages": image}), "messages[0].content"),
            (
                json!({"messages": [{"role": "tool", "content": "x"}]}),
                "messages[0].role",
            ),
            (
                json!({"messages": [{"role": "user", "content": "x", "name": "y"}]}),
                "messages[0].name",
            ),
            (json!({"messages": []}), "messages"),
            (json!({"messages": "x"}), "messages"),
            (json!({"model": 7}), "model"),
            (json!({"model": ""}), "model"),
            (json!({"stop": ["x"]}), "stop"),
            (json!({"logprobs": true}), "logprobs"),
            (
                json!({"response_format": {"type": "json_object"}}),
                "response_format",
            ),
            (json!({"max_tokens": 0}), "max_tokens"),
            (json!({"temperature": 9}), "temperature"),
            (
                json!({"stream_options": {"include_usage": true}}),
                "stream_options",
            ),
            (json!({"anything": 1}), "anything"),
        ] {
            assert_eq!(of(more.clone()).unwrap_err().param, param, "{more}");
        }
    }
}
