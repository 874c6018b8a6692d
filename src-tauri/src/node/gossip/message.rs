//! Stored frames as messages: their text goes out as it was stored.

use std::fmt::Write as _;

use super::recent::Encoded;
use crate::domain::base::limits::{FRAMES_MESSAGE_BYTES, FRAMES_PER_MESSAGE_MAX};

const HEAD: &str = "{\"type\":\"event\",\"event\":\"context.frames\",\"payload\":{\"frames\":[";
const TAIL: &str = "]}}";

/// Frames that will travel together, in one message where the peer takes that.
#[derive(Debug)]
pub struct Batch {
    together: bool,
    /// Whole messages, each of one frame; or the one message being written.
    texts: Vec<String>,
    bytes: usize,
    count: usize,
}

impl Batch {
    /// An empty one; `together` for a peer that takes many frames in one message.
    pub fn new(together: bool) -> Self {
        Self {
            together,
            texts: Vec::new(),
            bytes: 0,
            count: 0,
        }
    }

    /// Adds a frame.
    pub fn add(&mut self, frame: &Encoded) {
        self.count += 1;
        self.bytes += frame.text().len();
        match self.texts.last_mut().filter(|_| self.together) {
            Some(text) => {
                text.push(',');
                put(text, frame.hops(), frame.text());
            }
            None if self.together => {
                let mut text = String::with_capacity(2 * HEAD.len() + frame.text().len());
                text.push_str(HEAD);
                put(&mut text, frame.hops(), frame.text());
                self.texts.push(text);
            }
            None => {
                let mut text = String::with_capacity(frame.text().len() + 16);
                put(&mut text, frame.hops(), frame.text());
                self.texts.push(one(&text));
            }
        }
    }

    /// Whether it is time to send.
    pub fn is_full(&self) -> bool {
        self.count >= FRAMES_PER_MESSAGE_MAX || self.bytes >= FRAMES_MESSAGE_BYTES
    }

    /// The messages for what was added, and how many frames that was; empties the batch.
    pub fn take(&mut self) -> Option<(Vec<String>, u64)> {
        let full = std::mem::replace(self, Self::new(self.together));
        let mut texts = full.texts;
        if full.together {
            texts.last_mut()?.push_str(TAIL);
        }
        let count = u64::try_from(full.count).unwrap_or(u64::MAX);
        (count > 0).then_some((texts, count))
    }
}

/// Writes the text of a frame with its hop count put in front.
fn put(text: &mut String, hops: u32, frame: &str) {
    let members = frame.strip_prefix('{').unwrap_or(frame);
    let comma = if members == "}" { "" } else { "," };
    // Writing to a string cannot fail.
    let _ = write!(text, "{{\"hops\":{hops}{comma}");
    text.push_str(members);
}

/// One frame as a gen-1 `context.frame` event.
pub fn one(frame: &str) -> String {
    format!("{{\"type\":\"event\",\"event\":\"context.frame\",\"payload\":{frame}}}")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::{Value, json};

    use super::super::recent::tests::encoded;
    use super::*;
    use crate::domain::wire::Message;

    #[test]
    fn messages_are_what_the_parser_reads() {
        let frames = [encoded(2, r#"{"a":1,"b":"x"}"#), encoded(0, "{}")];
        let mut together = Batch::new(true);
        assert!(together.take().is_none());
        frames.iter().for_each(|frame| together.add(frame));
        let (texts, count) = together.take().unwrap();
        assert_eq!((texts.len(), count), (1, 2));
        let Ok(Message::Event { event, payload }) = Message::parse(&texts[0]) else {
            panic!("{texts:?}")
        };
        assert_eq!(event, "context.frames");
        let expected = json!({"frames": [{"hops": 2, "a": 1, "b": "x"}, {"hops": 0}]});
        assert_eq!(payload, expected);
        assert!(together.take().is_none());

        let mut singly = Batch::new(false);
        frames.iter().for_each(|frame| singly.add(frame));
        let (texts, count) = singly.take().unwrap();
        assert_eq!((texts.len(), count), (2, 2));
        let single: Value = serde_json::from_str(&texts[0]).unwrap();
        assert_eq!(single["event"], "context.frame");
        assert_eq!(single["payload"], json!({"hops": 2, "a": 1, "b": "x"}));
    }
}
