//! A byte stream that reads along in WebSocket frames and stops a stranger's large message at its
//! header, before room is made for it. Once the other side is trusted it only passes bytes on; the
//! limit of trusted links is the WebSocket layer's. It never looks into a payload.
//!
//! A peer may send a large message right behind the one that proves who it is, and both may come with
//! one read. So the message is cut only when more is read before trust was given.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::socket::ByteStream;
use crate::domain::base::limits::STRANGER_MESSAGE_MAX_BYTES;

/// Longest head of a WebSocket frame, in bytes (RFC 6455 §5.2).
const HEAD_MAX_BYTES: usize = 14;
/// The end of the head of an HTTP message.
const HEAD_END: &[u8] = b"\r\n\r\n";

/// A stranger announced a message above the limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a message of {bytes} bytes before authentication; the limit is {STRANGER_MESSAGE_MAX_BYTES}"
)]
pub(super) struct TooMuch {
    /// The size announced so far.
    pub bytes: u64,
}

/// Follows the frames of one direction.
#[derive(Debug, Default)]
struct Frames {
    head: [u8; HEAD_MAX_BYTES],
    head_len: usize,
    /// Bytes left of the payload under way.
    payload: u64,
    /// The payloads of the message under way so far.
    message: u64,
}

impl Frames {
    /// Reads along in `bytes`. On a message that grows too large: where its frame's head ends, and
    /// the message's size.
    fn follow(&mut self, bytes: &[u8]) -> Result<(), (usize, TooMuch)> {
        let mut at = 0;
        while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
            if self.payload > 0 {
                let here = u64::try_from(rest.len()).unwrap_or(u64::MAX);
                let skipped = self.payload.min(here);
                self.payload -= skipped;
                at += usize::try_from(skipped).unwrap_or(rest.len());
                continue;
            }
            if let (Some(slot), Some(byte)) = (self.head.get_mut(self.head_len), rest.first()) {
                *slot = *byte;
            }
            self.head_len += 1;
            at += 1;
            if let Some(length) = head(self.head.get(..self.head_len).unwrap_or_default()) {
                self.head_len = 0;
                self.begin(length).map_err(|much| (at, much))?;
            }
        }
        Ok(())
    }

    fn begin(&mut self, length: u64) -> Result<(), TooMuch> {
        let [first, ..] = self.head;
        let (last, control) = (first & 0x80 != 0, first & 0x08 != 0);
        self.payload = length;
        // Control frames stand between the frames of a message and are short by themselves.
        let bytes = match control {
            true => length,
            false => self.message.saturating_add(length),
        };
        if bytes > u64::try_from(STRANGER_MESSAGE_MAX_BYTES).unwrap_or(u64::MAX) {
            return Err(TooMuch { bytes });
        }
        if !control {
            self.message = if last { 0 } else { bytes };
        }
        Ok(())
    }
}

/// The payload length a frame's head announces, once the head is whole.
fn head(bytes: &[u8]) -> Option<u64> {
    let (&second, rest) = bytes.get(1).zip(bytes.get(2..))?;
    let wide = match second & 0x7f {
        126 => 2,
        127 => 8,
        _ => 0,
    };
    let mask = if second & 0x80 != 0 { 4 } else { 0 };
    if rest.len() < wide + mask {
        return None;
    }
    let long = rest.get(..wide)?;
    let length = long
        .iter()
        .fold(0, |length, byte| length << 8 | u64::from(*byte));
    Some(if wide == 0 {
        u64::from(second & 0x7f)
    } else {
        length
    })
}

/// Where the reading stands.
enum State {
    /// In the head of the HTTP answer; so many bytes of the empty line that ends it were seen.
    Head(usize),
    Watching(Frames),
    /// The next read reports it, unless the other side is trusted by then.
    Caught(TooMuch, Vec<u8>),
    /// Trusted, or caught and only being drained. Held-back bytes come first.
    Open(Vec<u8>),
}

/// See the module.
pub(super) struct Metered {
    stream: Box<dyn ByteStream>,
    state: State,
}

impl Metered {
    /// Watches `stream`, which stands at the start of a frame.
    pub(super) fn new(stream: Box<dyn ByteStream>) -> Metered {
        Metered {
            stream,
            state: State::Watching(Frames::default()),
        }
    }

    /// As [`Metered::new`], for a stream that still has the head of an HTTP answer before it.
    pub(super) fn after_head(stream: Box<dyn ByteStream>) -> Metered {
        Metered {
            stream,
            state: State::Head(0),
        }
    }

    /// The other side is trusted from now on, also with what it sent together with its proof.
    pub(super) fn trust(&mut self) {
        let held = match &mut self.state {
            State::Caught(_, held) | State::Open(held) => std::mem::take(held),
            State::Head(_) | State::Watching(_) => Vec::new(),
        };
        self.state = State::Open(held);
    }

    /// Looks at what was just read; says how much of it may be passed on.
    fn inspect(&mut self, new: &[u8]) -> usize {
        let mut start = 0;
        if let State::Head(seen) = &mut self.state {
            for byte in new {
                start += 1;
                *seen = match HEAD_END.get(*seen) {
                    Some(next) if next == byte => *seen + 1,
                    _ => usize::from(*byte == b'\r'),
                };
                if *seen == HEAD_END.len() {
                    self.state = State::Watching(Frames::default());
                    break;
                }
            }
        }
        if let State::Watching(frames) = &mut self.state {
            let rest = new.get(start..).unwrap_or_default();
            if let Err((head_end, much)) = frames.follow(rest) {
                // All but the last byte of that frame's head, so that nothing reserves room for it.
                let kept = (start + head_end).saturating_sub(1);
                let held = new.get(kept..).unwrap_or_default().to_vec();
                self.state = State::Caught(much, held);
                return kept;
            }
        }
        new.len()
    }
}

impl AsyncRead for Metered {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        match &mut this.state {
            State::Caught(much, _) => {
                let much = *much;
                this.state = State::Open(Vec::new());
                return Poll::Ready(Err(io::Error::other(much)));
            }
            State::Open(held) if !held.is_empty() => {
                let rest = held.split_off(held.len().min(buffer.remaining()));
                buffer.put_slice(held);
                *held = rest;
                return Poll::Ready(Ok(()));
            }
            State::Open(_) => return Pin::new(&mut this.stream).poll_read(cx, buffer),
            State::Head(_) | State::Watching(_) => {}
        }
        let before = buffer.filled().len();
        std::task::ready!(Pin::new(&mut this.stream).poll_read(cx, buffer))?;
        let kept = this.inspect(buffer.filled().get(before..).unwrap_or_default());
        buffer.set_filled(before + kept);
        match this.state {
            // An empty read would mean the end of the stream.
            State::Caught(much, _) if kept == 0 => {
                this.state = State::Open(Vec::new());
                Poll::Ready(Err(io::Error::other(much)))
            }
            _ => Poll::Ready(Ok(())),
        }
    }
}

impl AsyncWrite for Metered {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use proptest::prelude::*;

    use super::*;

    fn frame(last: bool, opcode: u8, masked: bool, length: usize) -> Vec<u8> {
        let mut bytes = vec![u8::from(last) << 7 | opcode];
        let mask = u8::from(masked) << 7;
        match length {
            0..=125 => bytes.push(mask | u8::try_from(length).unwrap()),
            126..=65_535 => {
                bytes.push(mask | 126);
                bytes.extend(u16::try_from(length).unwrap().to_be_bytes());
            }
            _ => {
                bytes.push(mask | 127);
                bytes.extend(u64::try_from(length).unwrap().to_be_bytes());
            }
        }
        bytes.extend(std::iter::repeat_n(0xff, if masked { 4 } else { 0 }));
        bytes
    }

    proptest! {
        /// However the bytes are cut into reads, the first message above the limit is found at the
        /// end of the head that makes it so.
        #[test]
        fn reads_may_be_cut_anywhere(
            messages in prop::collection::vec((any::<bool>(), prop::collection::vec(0usize..40_000, 1..4)), 1..8),
            reads in prop::collection::vec(1usize..9_000, 1..20),
        ) {
            let limit = STRANGER_MESSAGE_MAX_BYTES;
            let (mut stream, mut expected) = (Vec::new(), None);
            for (masked, parts) in &messages {
                let mut sum = 0;
                for (number, length) in parts.iter().enumerate() {
                    let last = number + 1 == parts.len();
                    stream.extend(frame(last, u8::from(number == 0), *masked, *length));
                    sum += length;
                    if sum > limit && expected.is_none() {
                        expected = Some((stream.len(), sum));
                    }
                    stream.extend(std::iter::repeat_n(0xaa, *length));
                    stream.extend(frame(true, 9, *masked, 2));
                    stream.extend([0xff; 2]);
                }
            }
            let (mut frames, mut at, mut found) = (Frames::default(), 0, None);
            for size in reads.iter().cycle() {
                if at == stream.len() || found.is_some() {
                    break;
                }
                let end = (at + size).min(stream.len());
                if let Err((head_end, much)) = frames.follow(&stream[at..end]) {
                    found = Some((at + head_end, usize::try_from(much.bytes).unwrap()));
                }
                at = end;
            }
            prop_assert_eq!(found, expected);
        }
    }
}
