//! Server-sent events as models stream them: lines, of which `data:` lines make an event.

use crate::domain::base::limits::MODEL_LINE_MAX_BYTES;

/// A line was longer than the limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TooLong;

/// Puts bytes together to events.
#[derive(Debug, Default)]
pub(super) struct Events {
    line: Vec<u8>,
    data: Vec<u8>,
    has_data: bool,
}

impl Events {
    /// Takes more bytes and gives the data of every event that is complete by then.
    ///
    /// # Errors
    /// [`TooLong`].
    pub(super) fn take(&mut self, bytes: &[u8]) -> Result<Vec<String>, TooLong> {
        let mut complete = Vec::new();
        for piece in bytes.split_inclusive(|b| *b == b'\n') {
            if self.line.len() + piece.len() > MODEL_LINE_MAX_BYTES {
                return Err(TooLong);
            }
            self.line.extend_from_slice(piece);
            if piece.ends_with(b"\n") {
                let line = std::mem::take(&mut self.line);
                complete.extend(self.line(&line)?);
            }
        }
        Ok(complete)
    }

    /// The last event, when the stream has ended.
    ///
    /// # Errors
    /// [`TooLong`].
    pub(super) fn end(&mut self) -> Result<Option<String>, TooLong> {
        let line = std::mem::take(&mut self.line);
        self.line(&line)?;
        Ok(self.event())
    }

    fn line(&mut self, line: &[u8]) -> Result<Option<String>, TooLong> {
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.is_empty() {
            return Ok(self.event());
        }
        if let Some(data) = line.strip_prefix(b"data:") {
            if self.has_data {
                self.data.push(b'\n');
            }
            self.has_data = true;
            self.data
                .extend_from_slice(data.strip_prefix(b" ").unwrap_or(data));
            if self.data.len() > MODEL_LINE_MAX_BYTES {
                return Err(TooLong);
            }
        }
        Ok(None)
    }

    fn event(&mut self) -> Option<String> {
        let data = std::mem::take(&mut self.data);
        std::mem::take(&mut self.has_data).then(|| String::from_utf8_lossy(&data).into_owned())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn events_are_the_same_however_their_bytes_are_cut() {
        let text = ": hello\r\ndata: {\"a\":\r\ndata: \"\u{e4}\"}\r\n\r\nevent: x\ndata:two\n\n\ndata: three";
        for size in 1..text.len() {
            let mut events = Events::default();
            let mut got = Vec::new();
            for bytes in text.as_bytes().chunks(size) {
                got.extend(events.take(bytes).unwrap());
            }
            got.extend(events.end().unwrap());
            assert_eq!(got, ["{\"a\":\n\"\u{e4}\"}", "two", "three"]);
        }
    }

    #[test]
    fn a_line_without_end_is_refused() {
        let mut events = Events::default();
        let many = vec![b'x'; 65_536];
        let refused =
            (0..=MODEL_LINE_MAX_BYTES / many.len()).find_map(|_| events.take(&many).err());
        assert_eq!(refused, Some(TooLong));
        let mut events = Events::default();
        let lines = format!("data: {}\n", "x".repeat(60_000)).repeat(9);
        assert_eq!(events.take(lines.as_bytes()), Err(TooLong));
    }
}
