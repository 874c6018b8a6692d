//! The speech of OpenAI's `/chat/completions`, which Ollama, LM Studio, llama-server, LiteLLM, Google and most others
//! offer too: the request as JSON, and a streamed reply event by event.

use serde::Deserialize;
use serde_json::{Value, json};

use super::reading::{Building, Told};
use crate::domain::inference::{Failure, InferenceRequest, Message, ToolSpec};

/// The body of a request; `newer` is OpenAI itself, which calls the limit otherwise.
pub(super) fn body(model: &str, request: &InferenceRequest, newer: bool) -> Value {
    let mut body = json!({
        "model": model,
        "messages": request.messages.iter().map(message).collect::<Vec<_>>(),
        "stream": true,
        "stream_options": {"include_usage": true},
    });
    let limit = match newer {
        true => "max_completion_tokens",
        false => "max_tokens",
    };
    body[limit] = json!(request.max_output_tokens);
    if let Some(temperature) = request.temperature.filter(|_| !reasons(model)) {
        body["temperature"] = json!(temperature);
    }
    if !request.tools.is_empty() {
        body["tools"] = request.tools.iter().map(tool).collect();
    }
    if let Some(schema) = &request.schema {
        body["response_format"] = json!({
            "type": "json_schema",
            "json_schema": {"name": "reply", "strict": true, "schema": schema},
        });
    }
    body
}

/// Whether a model is one of OpenAI's that reason; those refuse a request with a temperature, behind a proxy too.
fn reasons(model: &str) -> bool {
    let name = model.rsplit('/').next().unwrap_or(model);
    ["o1", "o3", "o4", "gpt-5"]
        .iter()
        .any(|family| name.starts_with(family))
}

fn message(message: &Message) -> Value {
    match message {
        Message::System(text) => json!({"role": "system", "content": text}),
        Message::User(text) => json!({"role": "user", "content": text}),
        Message::Tool { call_id, text } => {
            json!({"role": "tool", "tool_call_id": call_id, "content": text})
        }
        Message::Assistant { text, calls } => {
            let mut said = json!({"role": "assistant", "content": text});
            if !calls.is_empty() {
                let call = |call: &crate::domain::inference::ToolCall| {
                    json!({
                        "id": call.id,
                        "type": "function",
                        "function": {"name": call.name, "arguments": call.arguments},
                    })
                };
                said["tool_calls"] = calls.iter().map(call).collect();
            }
            said
        }
    }
}

fn tool(tool: &ToolSpec) -> Value {
    json!({
        "type": "function",
        "function": {
            "name": tool.name,
            "description": tool.description,
            "parameters": tool.parameters,
        },
    })
}

#[derive(Deserialize)]
struct Event {
    #[serde(default)]
    choices: Vec<Choice>,
    #[serde(default)]
    usage: Option<Tokens>,
    #[serde(default)]
    error: Option<Value>,
}

#[derive(Deserialize)]
struct Choice {
    #[serde(default, alias = "message")]
    delta: Option<Delta>,
    #[serde(default)]
    finish_reason: Option<String>,
}

#[derive(Deserialize)]
struct Delta {
    #[serde(default)]
    content: Option<String>,
    #[serde(default)]
    refusal: Option<String>,
    #[serde(default)]
    tool_calls: Option<Vec<CallPart>>,
}

#[derive(Deserialize)]
struct CallPart {
    #[serde(default)]
    index: Option<u32>,
    #[serde(default)]
    id: Option<String>,
    #[serde(default)]
    function: Option<FunctionPart>,
}

#[derive(Deserialize)]
struct FunctionPart {
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    arguments: Option<Value>,
}

#[derive(Deserialize)]
struct Tokens {
    #[serde(default)]
    prompt_tokens: Option<u64>,
    #[serde(default)]
    completion_tokens: Option<u64>,
}

/// Reads one event.
///
/// # Errors
/// The fault in it, or the error that the server reports.
pub(super) fn read(data: &str, reply: &mut Building) -> Result<Told, Failure> {
    if data.trim() == "[DONE]" {
        return Ok(reply.ended());
    }
    let event: Event = super::reading::parse(data)?;
    if let Some(error) = event.error {
        return Err(super::reading::said_failed(&error));
    }
    if let Some(tokens) = event.usage {
        reply.usage.input_tokens = tokens.prompt_tokens.unwrap_or(0);
        reply.usage.output_tokens = tokens.completion_tokens.unwrap_or(0);
    }
    let mut told = Told::default();
    let Some(choice) = event.choices.into_iter().next() else {
        return Ok(told);
    };
    if let Some(delta) = choice.delta {
        for text in [delta.content, delta.refusal].into_iter().flatten() {
            told.say(reply.text(text)?);
        }
        for (place, part) in delta.tool_calls.into_iter().flatten().enumerate() {
            let index = part
                .index
                .unwrap_or(u32::try_from(place).unwrap_or(u32::MAX));
            let function = part.function;
            let (name, arguments) = function.map_or((None, None), |f| (f.name, f.arguments));
            // Some servers write the arguments as an object instead of as text.
            let arguments = arguments.map(|value| match value {
                Value::String(text) => text,
                Value::Null => String::new(),
                other => other.to_string(),
            });
            reply.call(index, part.id, name, arguments)?;
        }
    }
    if let Some(reason) = choice.finish_reason {
        reply.usage.cut = reason == "length";
        reply.finished = true;
    }
    Ok(told)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_that_reasons_is_not_told_a_temperature() {
        let request = InferenceRequest {
            messages: vec![Message::User("how is zone 1?".into())],
            tools: Vec::new(),
            max_output_tokens: 100,
            schema: None,
            temperature: Some(0.0),
        };
        for (model, told) in [
            ("qwen2.5:1.5b", true),
            ("gpt-4o", true),
            ("o3-mini", false),
            ("openai/gpt-5", false),
        ] {
            let body = body(model, &request, false);
            assert_eq!(body.get("temperature").is_some(), told, "{model}");
        }
    }
}
