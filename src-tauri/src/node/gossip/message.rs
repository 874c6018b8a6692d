//! Stored frames as messages: their text goes out as it came in, without being read again.

use crate::adapters::store::frames::StoredFrame;
use crate::domain::base::limits::{FRAMES_MESSAGE_BYTES, FRAMES_PER_MESSAGE_MAX};

/// Frames that will travel together.
#[derive(Debug, Default)]
pub struct Batch {
    frames: Vec<String>,
    bytes: usize,
}

impl Batch {
    /// Adds a frame that has crossed this many links on arrival.
    pub fn add(&mut self, stored: &StoredFrame, hops: u32) {
        let text = with_hops(&stored.json, hops);
        self.bytes += text.len();
        self.frames.push(text);
    }

    /// Whether it is time to send.
    pub fn is_full(&self) -> bool {
        self.frames.len() >= FRAMES_PER_MESSAGE_MAX || self.bytes >= FRAMES_MESSAGE_BYTES
    }

    /// The messages for what was added, and how many frames that was; empties the batch.
    pub fn take(&mut self, together: bool) -> Option<(Vec<String>, u64)> {
        let frames = std::mem::take(&mut self.frames);
        let bytes = std::mem::take(&mut self.bytes);
        if frames.is_empty() {
            return None;
        }
        let count = u64::try_from(frames.len()).unwrap_or(u64::MAX);
        let texts = match together {
            true => vec![all_in_one(&frames, bytes)],
            false => frames.iter().map(|frame| one(frame)).collect(),
        };
        Some((texts, count))
    }
}

/// The text of a stored frame with its hop count put in front.
fn with_hops(json: &str, hops: u32) -> String {
    let members = json.strip_prefix('{').unwrap_or(json);
    let comma = if members == "}" { "" } else { "," };
    format!("{{\"hops\":{hops}{comma}{members}")
}

/// One frame as a gen-1 `context.frame` event.
pub fn one(frame: &str) -> String {
    format!("{{\"type\":\"event\",\"event\":\"context.frame\",\"payload\":{frame}}}")
}

fn all_in_one(frames: &[String], bytes: usize) -> String {
    let head = "{\"type\":\"event\",\"event\":\"context.frames\",\"payload\":{\"frames\":[";
    let mut text = String::with_capacity(bytes + frames.len() + head.len() + 4);
    text.push_str(head);
    for (n, frame) in frames.iter().enumerate() {
        if n > 0 {
            text.push(',');
        }
        text.push_str(frame);
    }
    text.push_str("]}}");
    text
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::domain::wire::Message;

    #[test]
    fn messages_are_what_the_parser_reads() {
        let frames = vec![with_hops(r#"{"a":1,"b":"x"}"#, 2), with_hops("{}", 0)];
        let text = all_in_one(&frames, 10);
        let Ok(Message::Event { event, payload }) = Message::parse(&text) else {
            panic!("{text}")
        };
        assert_eq!(event, "context.frames");
        let expected = json!({"frames": [{"hops": 2, "a": 1, "b": "x"}, {"hops": 0}]});
        assert_eq!(payload, expected);
        let single: Value = serde_json::from_str(&one(&frames[0])).unwrap();
        assert_eq!(single["payload"]["hops"], 2);
    }
}
