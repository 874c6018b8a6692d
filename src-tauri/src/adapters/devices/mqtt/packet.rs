//! The part of MQTT 3.1.1 that a client needs which publishes and subscribes at QoS 1: packets to bytes, and bytes to
//! packets as they come. No socket, no clock: `connection.rs` has them.
//!
//! A message that is larger than is read is told of and skipped; it costs no memory and no connection.

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};

use crate::domain::base::limits::{
    MQTT_HEAD_MAX_BYTES, MQTT_PAYLOAD_MAX_BYTES, MQTT_TOPIC_MAX_BYTES,
};

/// A packet from the broker that is no valid MQTT 3.1.1.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the broker sent what is no MQTT 3.1.1: {0}")]
pub(super) struct Odd(&'static str);

/// A message to be published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Message {
    /// Where.
    pub topic: String,
    /// The message.
    pub payload: Vec<u8>,
}

/// A message of the broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Heard {
    /// Where it was published.
    pub topic: String,
    /// Its content, or the number of bytes where they are too many.
    pub payload: Result<Bytes, usize>,
    /// Whether the broker kept it from some earlier time.
    pub retained: bool,
    /// Whether it may have been sent before, by its number.
    pub again: bool,
    /// Its number, where it wants to be acknowledged.
    pub id: Option<u16>,
}

/// A packet of the broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Incoming {
    /// The connection is accepted, or refused with a number.
    Connected(u8),
    /// A message.
    Message(Heard),
    /// A message of ours has arrived.
    Arrived(u16),
    /// Subscriptions are accepted, or not: 128.
    Subscribed(u16, Bytes),
    /// It is still there.
    Pong,
}

/// How a client introduces itself.
pub(super) struct Hello<'a> {
    pub client: &'a str,
    pub user: Option<&'a str>,
    pub password: Option<&'a str>,
    /// Published by the broker when the client is gone.
    pub will: Option<&'a Message>,
    pub keep_alive_sec: u16,
}

/// Writes the first packet. The session is a clean one: the broker keeps nothing for us, and we send nothing again.
pub(super) fn hello(hello: &Hello<'_>, out: &mut BytesMut) {
    let flag = |is: bool, bits: u8| if is { bits } else { 0 };
    // A will at QoS 1, not retained.
    let flags = 0b10
        | flag(hello.will.is_some(), 0b1100)
        | flag(hello.password.is_some(), 0b0100_0000)
        | flag(hello.user.is_some(), 0b1000_0000);
    let mut body = BytesMut::new();
    text(b"MQTT", &mut body);
    body.put_u8(4);
    body.put_u8(flags);
    body.put_u16(hello.keep_alive_sec);
    text(hello.client.as_bytes(), &mut body);
    if let Some(will) = hello.will {
        text(will.topic.as_bytes(), &mut body);
        text(&will.payload, &mut body);
    }
    for word in [hello.user, hello.password].into_iter().flatten() {
        text(word.as_bytes(), &mut body);
    }
    packet(0x10, &body, out);
}

/// Writes a message at QoS 1, not retained.
pub(super) fn publish(message: &Message, id: u16, out: &mut BytesMut) {
    let mut body = BytesMut::new();
    text(message.topic.as_bytes(), &mut body);
    body.put_u16(id);
    body.put_slice(&message.payload);
    packet(0x32, &body, out);
}

/// Writes a subscription to topics, at QoS 1.
pub(super) fn subscribe(topics: &[String], id: u16, out: &mut BytesMut) {
    let mut body = BytesMut::new();
    body.put_u16(id);
    for topic in topics {
        text(topic.as_bytes(), &mut body);
        body.put_u8(1);
    }
    packet(0x82, &body, out);
}

/// Writes that a message has come.
pub(super) fn acknowledge(id: u16, out: &mut BytesMut) {
    packet(0x40, &id.to_be_bytes(), out);
}

/// Writes the question whether the broker is there.
pub(super) fn ping(out: &mut BytesMut) {
    packet(0xc0, &[], out);
}

/// Writes the goodbye: the broker publishes no will then.
pub(super) fn goodbye(out: &mut BytesMut) {
    packet(0xe0, &[], out);
}

/// A text with its length. Longer ones than MQTT can have are refused with the configuration.
fn text(bytes: &[u8], out: &mut BytesMut) {
    let length = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
    out.put_u16(length);
    out.put_slice(bytes.get(..usize::from(length)).unwrap_or(bytes));
}

fn packet(head: u8, body: &[u8], out: &mut BytesMut) {
    out.put_u8(head);
    let mut left = body.len();
    loop {
        let seven = u8::try_from(left % 128).unwrap_or_default();
        left /= 128;
        out.put_u8(if left > 0 { seven | 0x80 } else { seven });
        if left == 0 {
            break;
        }
    }
    out.put_slice(body);
}

/// Received bytes that are not read yet.
#[derive(Debug, Default)]
pub(super) struct Reader {
    /// Bytes as they came; the reader of the socket adds to them.
    pub bytes: BytesMut,
    /// How many bytes of a message that is too large are still to come.
    skip: usize,
}

impl Reader {
    /// The next packet, as soon as it has come as a whole.
    ///
    /// # Errors
    /// [`Odd`]; nothing that follows can be read then.
    pub(super) fn next(&mut self) -> Result<Option<Incoming>, Odd> {
        let over = self.skip.min(self.bytes.len());
        self.bytes.advance(over);
        self.skip -= over;
        if self.skip > 0 {
            return Ok(None);
        }
        let Some((head, start, length)) = head(&self.bytes)? else {
            return Ok(None);
        };
        let kind = head >> 4;
        if kind == 3 && length > MQTT_PAYLOAD_MAX_BYTES {
            return self.large(head, start, length);
        }
        let fits = match kind {
            2 | 4 => length == 2,
            3 => true,
            9 => (3..=MQTT_HEAD_MAX_BYTES).contains(&length),
            13 => length == 0,
            _ => false,
        };
        if !fits {
            return Err(Odd("a packet that no client is sent"));
        }
        if self.bytes.len() < start + length {
            return Ok(None);
        }
        self.bytes.advance(start);
        let mut body = self.bytes.split_to(length).freeze();
        match kind {
            2 => Ok(Some(Incoming::Connected(body[1]))),
            3 => {
                let (topic, id) = topic(head, &mut body)?.ok_or(Odd("a message without an end"))?;
                Ok(Some(heard(head, topic, id, Ok(body))))
            }
            4 => Ok(Some(Incoming::Arrived(body.get_u16()))),
            9 => Ok(Some(Incoming::Subscribed(body.get_u16(), body))),
            _ => Ok(Some(Incoming::Pong)),
        }
    }

    /// A message that is larger than is read, as soon as its topic is known. The rest of it is skipped.
    fn large(&mut self, head: u8, start: usize, length: usize) -> Result<Option<Incoming>, Odd> {
        let whole = self.bytes.get(start..).unwrap_or_default();
        let mut body = Bytes::copy_from_slice(
            whole
                .get(..MQTT_HEAD_MAX_BYTES.min(whole.len()))
                .unwrap_or_default(),
        );
        let before = body.len();
        let Some((topic, id)) = topic(head, &mut body)? else {
            return Ok(None);
        };
        let read = before - body.len();
        self.bytes.advance(start + read);
        self.skip = length - read;
        Ok(Some(heard(head, topic, id, Err(self.skip))))
    }
}

/// The first byte of a packet, where its body begins and how long that is; `None` before that has come.
fn head(bytes: &[u8]) -> Result<Option<(u8, usize, usize)>, Odd> {
    let Some(first) = bytes.first() else {
        return Ok(None);
    };
    let mut length = 0_usize;
    for at in 0..4 {
        let Some(byte) = bytes.get(at + 1) else {
            return Ok(None);
        };
        length |= usize::from(byte & 0x7f) << (7 * at);
        if byte & 0x80 == 0 {
            return Ok(Some((*first, at + 2, length)));
        }
    }
    Err(Odd("a length of more than four bytes"))
}

/// The topic and number of a message; `None` where they have not come as a whole.
fn topic(head: u8, body: &mut Bytes) -> Result<Option<(String, Option<u16>)>, Odd> {
    let numbered = match (head >> 1) & 3 {
        0 => 0,
        1 => 2,
        _ => return Err(Odd("a message at a QoS that was not asked for")),
    };
    let Some(length) = body.first_chunk::<2>() else {
        return Ok(None);
    };
    let length = usize::from(u16::from_be_bytes(*length));
    if length > MQTT_TOPIC_MAX_BYTES {
        return Err(Odd("a topic that was not asked for"));
    }
    if body.len() < 2 + length + numbered {
        return Ok(None);
    }
    body.advance(2);
    let topic = String::from_utf8(body.split_to(length).to_vec());
    let topic = topic.map_err(|_| Odd("a topic that is no UTF-8"))?;
    let id = (numbered > 0).then(|| body.get_u16());
    Ok(Some((topic, id)))
}

fn heard(head: u8, topic: String, id: Option<u16>, payload: Result<Bytes, usize>) -> Incoming {
    Incoming::Message(Heard {
        topic,
        payload,
        retained: head & 1 != 0,
        again: head & 8 != 0,
        id,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use proptest::prelude::*;

    use super::*;

    /// A message as a broker sends it.
    fn sent(topic: &str, payload: &[u8], flags: u8, id: Option<u16>) -> BytesMut {
        let (mut body, mut out) = (BytesMut::new(), BytesMut::new());
        text(topic.as_bytes(), &mut body);
        if let Some(id) = id {
            body.put_u16(id);
        }
        body.put_slice(payload);
        packet(0x30 | flags, &body, &mut out);
        out
    }

    fn read(bytes: &[u8], piece: usize) -> Result<Vec<Incoming>, Odd> {
        let (mut reader, mut all) = (Reader::default(), Vec::new());
        for piece in bytes.chunks(piece) {
            reader.bytes.put_slice(piece);
            while let Some(packet) = reader.next()? {
                all.push(packet);
            }
            assert!(
                reader.bytes.len() <= MQTT_PAYLOAD_MAX_BYTES + MQTT_HEAD_MAX_BYTES + piece.len()
            );
        }
        Ok(all)
    }

    #[test]
    fn packets_are_read_in_pieces_of_any_size() {
        let mut bytes = sent("farm/z1", b"41", 0b1011, Some(7));
        bytes.put_slice(&sent("a", b"", 0, None));
        bytes.put_slice(&[0x20, 2, 0, 4, 0x40, 2, 1, 2, 0x90, 3, 0, 9, 0x80, 0xd0, 0]);
        for piece in [1, 2, 3, 7, 1_000] {
            let all = read(&bytes, piece).unwrap();
            let Incoming::Message(first) = &all[0] else {
                panic!("{all:?}");
            };
            assert_eq!((first.topic.as_str(), first.id), ("farm/z1", Some(7)));
            assert_eq!(first.payload.as_deref(), Ok(&b"41"[..]));
            assert!(first.retained && first.again);
            assert_eq!(
                all[2..],
                [
                    Incoming::Connected(4),
                    Incoming::Arrived(258),
                    Incoming::Subscribed(9, Bytes::from_static(&[0x80])),
                    Incoming::Pong
                ]
            );
        }
    }

    #[test]
    fn a_message_that_is_too_large_is_told_of_and_skipped() {
        let mut bytes = sent("farm/z1", &vec![b'9'; 1 << 20], 0b10, Some(7));
        bytes.put_slice(&sent("farm/z1", b"41", 0, None));
        for piece in [5, 4_096, 3 << 20] {
            let all = read(&bytes, piece).unwrap();
            let [Incoming::Message(large), Incoming::Message(good)] = &all[..] else {
                panic!("{all:?}");
            };
            assert_eq!((large.payload.clone(), large.id), (Err(1 << 20), Some(7)));
            assert_eq!(good.payload.as_deref(), Ok(&b"41"[..]));
        }
    }

    #[test]
    fn what_is_no_mqtt_is_an_error() {
        for odd in [
            &[0x30, 0xff, 0xff, 0xff, 0xff, 1][..],
            &[0x34, 5, 0, 1, b'a', 0, 1],
            &[0x30, 3, 0, 9, b'a'],
            &[0x30, 3, 0, 1, 0xff],
            &[0x20, 3, 0, 0, 0],
            &[0x40, 1, 0],
            &[0x90, 2, 0, 1],
            &[0x10, 0],
            &[0xd0, 0xff, 0xff, 3],
            b"HTTP/1.1 400 Bad Request\r\n",
        ] {
            assert!(read(odd, 1).is_err(), "{odd:?}");
        }
    }

    #[test]
    fn what_is_written_reads_as_it_should() {
        let will = Message {
            topic: "p".into(),
            payload: b"off".to_vec(),
        };
        let (client, user) = ("me", Some("u"));
        let mut out = BytesMut::new();
        let first = Hello {
            client,
            user,
            password: Some("s"),
            will: Some(&will),
            keep_alive_sec: 10,
        };
        hello(&first, &mut out);
        let body = b"\x00\x04MQTT\x04\xce\x00\x0a\x00\x02me\x00\x01p\x00\x03off\x00\x01u\x00\x01s";
        let length = u8::try_from(body.len()).unwrap();
        assert_eq!(out[..], [&[0x10, length], &body[..]].concat());
        let mut out = BytesMut::new();
        publish(&will, 258, &mut out);
        assert_eq!(out[..], b"\x32\x08\x00\x01p\x01\x02off"[..]);
        let long = Message {
            payload: vec![0; 200],
            ..will
        };
        let mut out = BytesMut::new();
        publish(&long, 1, &mut out);
        assert_eq!(out[..3], [0x32, 0xcd, 0x01]);
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_reader_panic_or_hoard(
            bytes in proptest::collection::vec(any::<u8>(), 0..2_000),
            piece in 1_usize..64,
        ) {
            // Whether it reads is the bytes' business.
            let _ = read(&bytes, piece);
        }
    }
}
