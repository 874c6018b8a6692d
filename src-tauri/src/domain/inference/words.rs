//! The words of a question to a model, which decide whether it touches something private.

use serde_json::Value;

use super::exchange::text_of;
use super::{InferenceRequest, Message};

/// Every word that goes to a model, for what may be private in it: of messages, calls, tools and the schema.
pub fn text_of_all(request: &InferenceRequest) -> String {
    let mut all = Vec::new();
    for message in &request.messages {
        all.push(text_of(message).to_owned());
        if let Message::Assistant { calls, .. } = message {
            for call in calls {
                all.push(call.name.clone());
                match serde_json::from_str::<Value>(&call.arguments) {
                    Ok(read) => words_of(&read, &mut all),
                    Err(_) => all.push(call.arguments.clone()),
                }
            }
        }
    }
    for tool in &request.tools {
        all.extend([tool.name.to_owned(), tool.description.to_owned()]);
        words_of(&tool.parameters, &mut all);
    }
    if let Some(schema) = &request.schema {
        words_of(schema, &mut all);
    }
    all.join("\n")
}

/// The names and texts in a JSON value.
fn words_of(value: &Value, all: &mut Vec<String>) {
    match value {
        Value::String(text) => all.push(text.clone()),
        Value::Array(list) => list.iter().for_each(|value| words_of(value, all)),
        Value::Object(map) => {
            for (name, value) in map {
                all.push(name.clone());
                words_of(value, all);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::{ToolCall, ToolSpec};
    use super::*;

    #[test]
    fn every_word_that_goes_to_a_model_is_looked_at() {
        let asked = InferenceRequest {
            messages: vec![
                Message::System("one".into()),
                Message::Assistant {
                    text: "two".into(),
                    calls: vec![ToolCall {
                        id: "c".into(),
                        name: "three".into(),
                        arguments: r#"{"f\u006fur": ["five"]}"#.into(),
                    }],
                },
            ],
            tools: vec![ToolSpec {
                name: "six",
                description: "seven",
                parameters: json!({"eight": {"description": "nine"}}),
            }],
            schema: Some(json!({"properties": {"ten": {"enum": ["eleven\nand", 12]}}})),
            ..InferenceRequest::default()
        };
        let text = text_of_all(&asked);
        let words: Vec<&str> = text.split_whitespace().collect();
        for word in [
            "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven",
        ] {
            assert!(words.contains(&word), "{word}: {text}");
        }
    }
}
