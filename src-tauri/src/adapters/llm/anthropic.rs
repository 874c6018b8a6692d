//! The speech of Anthropic's `/v1/messages`: the request as JSON, and a streamed reply event by event. It has no schema
//! for text; the caller reads what it gets.

use serde::Deserialize;
use serde_json::{Value, json};

use super::reading::{Building, Told};
use crate::domain::inference::{Failure, InferenceRequest, Message, ToolCall};

/// The body of a request.
pub(super) fn body(model: &str, request: &InferenceRequest) -> Value {
    let mut system: Vec<&str> = Vec::new();
    let mut messages: Vec<(&str, Vec<Value>)> = Vec::new();
    for message in &request.messages {
        let (role, parts) = match message {
            Message::System(text) => {
                system.push(text);
                continue;
            }
            Message::User(text) => ("user", vec![json!({"type": "text", "text": text})]),
            Message::Tool { call_id, text } => {
                let result =
                    json!({"type": "tool_result", "tool_use_id": call_id, "content": text});
                ("user", vec![result])
            }
            Message::Assistant { text, calls } => ("assistant", said(text, calls)),
        };
        match messages.last_mut() {
            // Roles have to take turns: what follows in the same role is one message.
            Some((last, before)) if *last == role => before.extend(parts),
            _ if parts.is_empty() => {}
            _ => messages.push((role, parts)),
        }
    }
    let messages = messages.into_iter();
    let messages: Vec<Value> = messages
        .map(|(role, content)| json!({"role": role, "content": content}))
        .collect();
    let mut body = json!({
        "model": model,
        "messages": messages,
        "max_tokens": request.max_output_tokens,
        "stream": true,
    });
    if let Some(temperature) = request.temperature {
        // Its scale ends at 1.
        body["temperature"] = json!(temperature.min(1.0));
    }
    if !system.is_empty() {
        body["system"] = json!(system.join("\n\n"));
    }
    if !request.tools.is_empty() {
        let tools = request.tools.iter().map(|tool| {
            json!({
                "name": tool.name,
                "description": tool.description,
                "input_schema": tool.parameters,
            })
        });
        body["tools"] = tools.collect();
    }
    body
}

fn said(text: &str, calls: &[ToolCall]) -> Vec<Value> {
    let mut parts = Vec::new();
    if !text.is_empty() {
        parts.push(json!({"type": "text", "text": text}));
    }
    parts.extend(calls.iter().map(|call| {
        let input = serde_json::from_str::<Value>(&call.arguments).ok();
        let input = input.filter(Value::is_object).unwrap_or_else(|| json!({}));
        json!({"type": "tool_use", "id": call.id, "name": call.name, "input": input})
    }));
    parts
}

#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Event {
    MessageStart {
        message: Start,
    },
    ContentBlockStart {
        index: u32,
        content_block: Block,
    },
    ContentBlockDelta {
        index: u32,
        delta: Delta,
    },
    MessageDelta {
        delta: Stop,
        #[serde(default)]
        usage: Option<Tokens>,
    },
    MessageStop,
    Error {
        error: Value,
    },
    #[serde(other)]
    Other,
}

#[derive(Deserialize)]
struct Start {
    #[serde(default)]
    usage: Option<Tokens>,
}

#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Block {
    Text {
        #[serde(default)]
        text: String,
    },
    ToolUse {
        id: String,
        name: String,
    },
    #[serde(other)]
    Other,
}

#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Delta {
    #[serde(rename = "text_delta")]
    Text { text: String },
    #[serde(rename = "input_json_delta")]
    InputJson { partial_json: String },
    #[serde(other)]
    Other,
}

#[derive(Deserialize)]
struct Stop {
    #[serde(default)]
    stop_reason: Option<String>,
}

#[derive(Deserialize)]
struct Tokens {
    #[serde(default)]
    input_tokens: Option<u64>,
    #[serde(default)]
    output_tokens: Option<u64>,
}

/// Reads one event.
///
/// # Errors
/// The fault in it, or the error that the server reports.
pub(super) fn read(data: &str, reply: &mut Building) -> Result<Told, Failure> {
    let mut told = Told::default();
    let count = |tokens: Option<Tokens>, reply: &mut Building| {
        let (read, written) = tokens.map_or((None, None), |t| (t.input_tokens, t.output_tokens));
        reply.usage.input_tokens = read.unwrap_or(reply.usage.input_tokens);
        reply.usage.output_tokens = written.unwrap_or(reply.usage.output_tokens);
    };
    match super::reading::parse(data)? {
        Event::MessageStart { message } => count(message.usage, reply),
        Event::ContentBlockStart {
            index,
            content_block,
        } => match content_block {
            Block::Text { text } => told.say(reply.text(text)?),
            Block::ToolUse { id, name } => reply.call(index, Some(id), Some(name), None)?,
            Block::Other => {}
        },
        Event::ContentBlockDelta { index, delta } => match delta {
            Delta::Text { text } => told.say(reply.text(text)?),
            Delta::InputJson { partial_json } => {
                reply.call(index, None, None, Some(partial_json))?;
            }
            Delta::Other => {}
        },
        Event::MessageDelta { delta, usage } => {
            count(usage, reply);
            if let Some(reason) = delta.stop_reason {
                reply.usage.cut = reason == "max_tokens";
                reply.finished = true;
            }
        }
        Event::MessageStop => return Ok(reply.ended()),
        Event::Error { error } => return Err(super::reading::said_failed(&error)),
        Event::Other => {}
    }
    Ok(told)
}
