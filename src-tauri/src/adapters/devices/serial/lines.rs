//! Lines out of the bytes of a serial port. Pure.
//!
//! Only a whole line counts: what comes first after the port was opened may be the end of one, and what stops in the middle is
//! none. A line without an end costs no more than the longest that there may be.

use crate::domain::base::limits::{SERIAL_LINE_MAX_BYTES, SERIAL_LINE_PAUSE_MS};

/// One line, or what came in its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Line {
    /// A whole line of text, without its end.
    Whole(String),
    /// Something else, and what is wrong with it.
    Bad(String),
}

/// Puts lines together.
#[derive(Debug, Default)]
pub(super) struct Lines {
    kept: Vec<u8>,
    /// Whether a line has begun at its beginning.
    begun: bool,
    at_ms: u64,
}

impl Lines {
    /// The lines that end with these bytes, which came at this time of a clock that never steps.
    pub(super) fn take(&mut self, bytes: &[u8], now_ms: u64) -> Vec<Line> {
        if !self.kept.is_empty() && now_ms.saturating_sub(self.at_ms) > SERIAL_LINE_PAUSE_MS {
            // What follows belongs to something else.
            self.kept.clear();
            self.begun = false;
        }
        self.at_ms = now_ms;
        let mut lines = Vec::new();
        for byte in bytes {
            if matches!(byte, b'\n' | b'\r') {
                let line = std::mem::take(&mut self.kept);
                if std::mem::replace(&mut self.begun, true) && !line.is_empty() {
                    let text = String::from_utf8(line);
                    let bad = || Line::Bad("what comes is no text".to_owned());
                    lines.push(text.map_or_else(|_| bad(), Line::Whole));
                }
                continue;
            }
            if self.kept.len() >= SERIAL_LINE_MAX_BYTES {
                let why = format!("a line has no end within {SERIAL_LINE_MAX_BYTES} bytes");
                if std::mem::replace(&mut self.begun, false) {
                    lines.push(Line::Bad(why));
                }
                self.kept.clear();
            }
            self.kept.push(*byte);
        }
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole(text: &str) -> Line {
        Line::Whole(text.to_owned())
    }

    #[test]
    fn only_what_is_whole_is_a_line() {
        let mut lines = Lines::default();
        assert_eq!(lines.take(b"1.5\r\n", 0), [], "the end of a line");
        assert_eq!(lines.take(b"21.5\r\n22", 1), [whole("21.5")]);
        assert_eq!(lines.take(b".0\n\n\r", 2), [whole("22.0")]);
        // It stops in the middle, and something else follows.
        assert_eq!(lines.take(b"23", 3), []);
        assert_eq!(
            lines.take(b"4.0\n25\n", 3 + SERIAL_LINE_PAUSE_MS),
            [whole("234.0"), whole("25")]
        );
        assert_eq!(lines.take(b"26", 10_000), []);
        assert_eq!(lines.take(b"7\n28\n", 20_000), [whole("28")]);
        assert!(matches!(
            lines.take(b"\xff\xfe\n", 20_001)[..],
            [Line::Bad(_)]
        ));
    }

    #[test]
    fn a_line_without_an_end_is_told_once_and_kept_short() {
        let mut lines = Lines::default();
        lines.take(b"\n", 0);
        let mut bad = 0;
        for _ in 0..1_024 {
            bad += lines.take(&[b'x'; 1_024], 0).len();
            assert!(lines.kept.len() <= SERIAL_LINE_MAX_BYTES);
        }
        assert_eq!(bad, 1);
        // Its end is the end of no line.
        assert_eq!(lines.take(b"7\n8\n", 0), [whole("8")]);
    }
}
