//! Stored frames as messages: their text goes out as it was stored.

use std::fmt::Write as _;

use crate::domain::base::limits::{FRAMES_MESSAGE_BYTES, FRAMES_PER_MESSAGE_MAX};
use crate::node::frame_log::Encoded;

const HEAD: &str = "{\"type\":\"event\",\"event\":\"context.frames\",\"payload\":{\"frames\":[";
const TAIL: &str = "]}}";

/// Frames that will travel together, in one message where the peer takes that.
#[derive(Debug)]
pub(super) struct Batch {
    together: bool,
    /// Whole messages, each of one frame; or the one message being written.
    texts: Vec<String>,
    bytes: usize,
    count: usize,
}

impl Batch {
    /// An empty one; `together` for a peer that takes many frames in one message.
    pub(super) fn new(together: bool) -> Self {
        Self {
            together,
            texts: Vec::new(),
            bytes: 0,
            count: 0,
        }
    }

    /// Adds a frame.
    pub(super) fn add(&mut self, frame: &Encoded) {
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
    pub(super) fn is_full(&self) -> bool {
        self.count >= FRAMES_PER_MESSAGE_MAX || self.bytes >= FRAMES_MESSAGE_BYTES
    }

    /// The messages for what was added, and how many frames that was; empties the batch.
    pub(super) fn take(&mut self) -> Option<(Vec<String>, u64)> {
        let full = std::mem::replace(self, Self::new(self.together));
        let mut texts = full.texts;
        if full.together {
            texts.last_mut()?.push_str(TAIL);
        }
        let count = u64::try_from(full.count).unwrap_or(u64::MAX);
        (count > 0).then_some((texts, count))
    }
}

/// What is left of a message of frames without those that are known: `None` if it is written in another
/// way than [`Batch`] writes it, or holds none that is known; an empty text if it holds no other. `known` is
/// asked with the text of a frame without its brace and hop count. Also how many were left out.
pub(super) fn without(text: &str, mut known: impl FnMut(&str) -> bool) -> Option<(String, u64)> {
    let frames = frames_in(text)?;
    let all = frames.len();
    let is_new = |frame: &&str| !members(frame).is_some_and(&mut known);
    let rest: Vec<&str> = frames.into_iter().filter(is_new).collect();
    let gone = u64::try_from(all - rest.len()).unwrap_or(u64::MAX);
    match (gone, rest.is_empty()) {
        (0, _) => None,
        (_, true) => Some((String::new(), gone)),
        (_, false) => Some(([HEAD, &rest.join(","), TAIL].concat(), gone)),
    }
}

/// The frames of a message as it is written by [`Batch`], each an object with nothing but commas between
/// them; whether they are strict JSON inside is not looked at.
fn frames_in(text: &str) -> Option<Vec<&str>> {
    let list = text.strip_prefix(HEAD)?.strip_suffix(TAIL)?;
    let (mut found, mut begin, mut depth) = (Vec::new(), 0, 0_usize);
    let (mut quoted, mut escaped) = (false, false);
    for (at, byte) in list.bytes().enumerate() {
        if quoted {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => quoted = false,
                _ => {}
            }
            continue;
        }
        match byte {
            // The first byte of a frame, or a comma before one.
            b'{' if depth == 0 && at == begin => depth = 1,
            b',' if depth == 0 && at + 1 == begin => {}
            _ if depth == 0 => return None,
            b'{' | b'[' => depth += 1,
            b'}' | b']' => {
                depth -= 1;
                if depth == 0 {
                    found.push(list.get(begin..=at)?);
                    begin = at + 2;
                }
            }
            b'"' => quoted = true,
            _ => {}
        }
    }
    let whole = depth == 0 && list.len() + 1 == begin;
    (whole && found.len() <= FRAMES_PER_MESSAGE_MAX).then_some(found)
}

/// The text of a frame behind its hop count.
fn members(frame: &str) -> Option<&str> {
    let (hops, members) = frame.strip_prefix("{\"hops\":")?.split_once(',')?;
    let number = !hops.is_empty() && hops.len() <= 3 && hops.bytes().all(|b| b.is_ascii_digit());
    number.then_some(members)
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
pub(super) fn one(frame: &str) -> String {
    format!("{{\"type\":\"event\",\"event\":\"context.frame\",\"payload\":{frame}}}")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::{Value, json};

    use super::*;
    use crate::domain::wire::Message;
    use crate::node::frame_log::recent::tests::encoded;

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
    #[test]
    fn known_frames_are_left_out_and_the_rest_reads_as_before() {
        let texts = [r#"{"a":"}],{\\\"x"}"#, r#"{"b":[{"c":1}]}"#, r#"{"d":{}}"#];
        let message = |texts: &[&str]| {
            let mut batch = Batch::new(true);
            for text in texts {
                batch.add(&encoded(3, text));
            }
            batch.take().unwrap().0.remove(0)
        };
        let whole = message(&texts);
        let leaves = |text: &str, known: &[usize]| {
            without(text, |m| {
                known.iter().any(|n| texts[*n].get(1..) == Some(m))
            })
        };
        assert_eq!(leaves(&whole, &[]), None);
        assert_eq!(leaves(&whole, &[0, 1, 2]), Some((String::new(), 3)));
        for known in 0..3 {
            let rest: Vec<&str> = (0..3).filter(|n| *n != known).map(|n| texts[n]).collect();
            assert_eq!(leaves(&whole, &[known]), Some((message(&rest), 1)));
        }
        // Any other encoding is parsed in the usual way.
        for other in [
            whole.replace("},{", "}, {"),
            whole.replace("},{", "}{"),
            whole.replace("},{", "},,{"),
            whole.replace("{\"frames\":[", "{\"frames\":[,"),
            whole.replace("]}}", ",]}}"),
            whole.replace("]}}", "}]}}"),
            whole.replace("]}}", "]}} "),
            whole.replace("context.frames", "context.frame"),
            format!("{HEAD}{TAIL}"),
        ] {
            assert_eq!(leaves(&other, &[2]), None, "{other}");
        }
        for hops in ["-1", "01234", "", "1e3", "\"1\""] {
            let other = whole.replace("\"hops\":3", &format!("\"hops\":{hops}"));
            assert_eq!(leaves(&other, &[0, 1, 2]), None, "{other}");
        }
        let many = message(&vec![texts[2]; FRAMES_PER_MESSAGE_MAX + 1]);
        assert_eq!(leaves(&many, &[2]), None, "too many are refused together");
    }
}
