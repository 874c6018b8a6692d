//! What an OpenClaw gateway says, read defensively: nothing has to be there, and everything is cut.

use serde_json::Value;

use super::super::Agent;
use crate::adapters::gateway::is_name;
use crate::domain::base::limits::{GATEWAY_AGENTS_MAX, GATEWAY_WORDS_MAX_CHARS};
use crate::domain::base::text::seen;

/// Words of the gateway, in a line.
pub(super) fn said(text: &str) -> String {
    seen(text, GATEWAY_WORDS_MAX_CHARS)
}

/// The agents that are listed.
pub(super) fn agents(payload: &Value) -> Vec<Agent> {
    let listed = payload["agents"].as_array().map_or(&[][..], Vec::as_slice);
    let read = listed.iter().filter_map(|agent| {
        let id = agent["id"].as_str().filter(|id| is_name(id))?;
        let name = agent["name"]
            .as_str()
            .or(agent["identity"]["name"].as_str());
        let name = seen(name.unwrap_or(id), 64);
        Some(Agent {
            id: id.to_owned(),
            name: if name.is_empty() { id.to_owned() } else { name },
            model: agent["model"]["primary"]
                .as_str()
                .map(|model| seen(model, 100))
                .filter(|model| !model.is_empty()),
        })
    });
    read.take(GATEWAY_AGENTS_MAX).collect()
}

/// How many sessions there are.
pub(super) fn sessions(payload: &Value) -> Option<u64> {
    payload["totalCount"]
        .as_u64()
        .or_else(|| payload["count"].as_u64())
}

/// The text of a message, if it has one.
pub(super) fn text_of(message: &Value) -> Option<String> {
    if let Some(text) = message.as_str().or_else(|| message["content"].as_str()) {
        return Some(text.to_owned());
    }
    let parts = message["content"].as_array()?;
    let texts = parts
        .iter()
        .filter(|part| part["type"] == "text")
        .filter_map(|part| part["text"].as_str());
    Some(texts.collect())
}

/// The answer of a run among the messages of its conversation.
pub(super) fn answer_of(history: &Value, run: &str) -> Option<String> {
    let messages = history["messages"].as_array()?;
    let found = messages
        .iter()
        .rev()
        .filter(|m| m["role"] == "assistant" && m["__openclaw"]["runId"] == run);
    found
        .filter_map(text_of)
        .map(|text| text.trim_end().to_owned())
        .find(|text| !text.is_empty())
}
