//! A reply that is being read: fragments of tool calls put together, sizes kept within the limits.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::domain::base::limits::{
    MODEL_CALLS_MAX, MODEL_ERROR_SHOWN_CHARS, MODEL_REPLY_MAX_BYTES,
};
use crate::domain::inference::{Failure, FailureKind, Piece, ToolCall, Usage};

/// A reply so far.
#[derive(Debug, Default)]
pub(super) struct Building {
    calls: BTreeMap<u32, ToolCall>,
    bytes: usize,
    /// Tokens used, as far as the server has said.
    pub usage: Usage,
    /// Whether the model has said that it is done; the server may still count.
    pub finished: bool,
}

/// The content of one event of a reply.
#[derive(Debug, Default)]
pub(super) struct Told {
    /// The pieces in it.
    pub pieces: Vec<Piece>,
    /// Whether the reply has ended.
    pub ended: bool,
}

impl Told {
    /// Adds text, unless it is empty.
    pub(super) fn say(&mut self, text: String) {
        if !text.is_empty() {
            self.pieces.push(Piece::Text(text));
        }
    }
}

impl Building {
    fn grow(&mut self, bytes: usize) -> Result<(), Failure> {
        self.bytes = self.bytes.saturating_add(bytes);
        match self.bytes > MODEL_REPLY_MAX_BYTES {
            true => Err(too_large()),
            false => Ok(()),
        }
    }

    /// Counts a text and gives it back.
    ///
    /// # Errors
    /// If the reply is larger than the limit with it.
    pub(super) fn text(&mut self, text: String) -> Result<String, Failure> {
        self.grow(text.len()).map(|()| text)
    }

    /// Adds a fragment of a tool call.
    ///
    /// # Errors
    /// If there are too many calls, or the reply is larger than the limit.
    pub(super) fn call(
        &mut self,
        index: u32,
        id: Option<String>,
        name: Option<String>,
        arguments: Option<String>,
    ) -> Result<(), Failure> {
        let parts = [&id, &name, &arguments].into_iter().flatten();
        self.grow(parts.map(String::len).sum())?;
        if self.calls.len() >= MODEL_CALLS_MAX && !self.calls.contains_key(&index) {
            let why = format!("the model called more than {MODEL_CALLS_MAX} tools at once");
            return Err(Failure::new(FailureKind::BadReply, why));
        }
        let call = self.calls.entry(index).or_insert_with(|| ToolCall {
            id: String::new(),
            name: String::new(),
            arguments: String::new(),
        });
        if let Some(id) = id.filter(|id| !id.is_empty()) {
            call.id = id;
        }
        // A name comes whole; some servers repeat it with every fragment.
        if let Some(name) = name.filter(|name| !name.is_empty()) {
            call.name = name;
        }
        call.arguments
            .push_str(arguments.as_deref().unwrap_or_default());
        Ok(())
    }

    /// The end of the reply: its calls, and what it took.
    pub(super) fn ended(&mut self) -> Told {
        let calls = std::mem::take(&mut self.calls).into_values().enumerate();
        let calls = calls.map(|(place, mut call)| {
            if call.id.is_empty() {
                call.id = format!("call-{}", place + 1);
            }
            if call.arguments.is_empty() {
                call.arguments = "{}".to_owned();
            }
            Piece::Call(call)
        });
        let mut pieces: Vec<Piece> = calls.collect();
        pieces.push(Piece::End(self.usage));
        Told {
            pieces,
            ended: true,
        }
    }
}

/// The failure of a reply that is larger than the limit.
pub(super) fn too_large() -> Failure {
    let why = format!(
        "the reply is larger than {MODEL_REPLY_MAX_BYTES} bytes; ask for less, or use another model"
    );
    Failure::new(FailureKind::BadReply, why)
}

/// Reads the JSON of one event.
///
/// # Errors
/// That it is none.
pub(super) fn parse<T: DeserializeOwned>(data: &str) -> Result<T, Failure> {
    serde_json::from_str(data).map_err(|error| {
        let why = format!(
            "the server sent something that is no reply ({error}): {:?}; look whether the URL is that of a model's server",
            shown(data)
        );
        Failure::new(FailureKind::BadReply, why)
    })
}

/// The failure that a server tells within a reply that had begun.
pub(super) fn said_failed(error: &Value) -> Failure {
    let kind = match error.get("type").and_then(Value::as_str) {
        Some("rate_limit_error" | "rate_limit_exceeded" | "overloaded_error") => {
            FailureKind::RateLimited
        }
        Some("invalid_request_error" | "not_found_error" | "permission_error") => {
            FailureKind::Refused
        }
        Some("authentication_error") => FailureKind::Unauthorized,
        _ => FailureKind::Server,
    };
    let why = format!("the server failed while it answered: {}", words(error));
    Failure::new(kind, why)
}

/// The message of a server's error.
pub(super) fn words(error: &Value) -> String {
    let message = error.get("message").or_else(|| error.get("detail"));
    match message.unwrap_or(error) {
        Value::String(text) => shown(text),
        other => shown(&other.to_string()),
    }
}

/// The beginning of a text of others, on one line.
pub(super) fn shown(text: &str) -> String {
    let kept = text.chars().take(MODEL_ERROR_SHOWN_CHARS);
    let plain = kept.map(|c| if c.is_control() { ' ' } else { c });
    plain.collect::<String>().trim().to_owned()
}
