//! A frame's text in a third of its bytes. Most of it is the same in every reading, stands in other columns of
//! its row, or is bytes written as text. So the text is stored with codes for all that, each a byte or two, and
//! comes back byte for byte, as its origin signed it: what would not is stored as it is.
//!
//! A byte from 0x20 to 0x7f stands for itself; the others are codes. Codes are never given another meaning:
//! what is stored would read as something else.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rusqlite::types::Value;

use super::frames::NewFrame;
use super::row;
use crate::domain::base::{Digest, Hlc, TimeMs};
use crate::domain::wire::FrameKind;

/// One byte of the text follows.
const BYTE: u8 = 0x00;
/// 64 bytes that stand as base64url follow.
const SIGNATURE: u8 = 0x01;
/// 32 bytes that stand as lowercase hex digits follow.
const HASH: u8 = 0x02;
/// The first of the codes for what stands in other columns.
const COLUMN: u8 = 0x10;
/// The first of the codes for [`WORDS`].
const WORD: u8 = 0x80;
/// How long a signature is as text.
const SIGNATURE_CHARS: usize = 86;
/// How long a hash is as text.
const HASH_CHARS: usize = 64;

/// The words of frames. Only ever added to at the end.
#[rustfmt::skip]
pub(super) const WORDS: &[&str] = &[
    // The members of a reading as they follow one another.
    r#"{"data":{"metric":""#, r#"{"data":{""#, r#"","status":""#, r#"","threshold":"#, r#","threshold":"#,
    r#"","unit":""#, r#","unit":""#, r#"","value":"#, r#","value":"#, r#"","zone":""#, r#","zone":""#,
    r#""},"frameId":""#, r#"},"frameId":""#, r#"","gen":1,"hlc":""#, r#"","gen":1,"kind":""#, r#"","kind":""#,
    r#"","note":""#, r#"","seq":"#, r#","seq":"#, r#","sig":""#, r#"","sourceDeviceId":""#,
    r#","sourceDeviceId":""#, r#"","sourceDisplayName":""#, r#"","timestamp":"#, r#","timestamp":"#,
    r#","trust":{"evidence_sources":["sensor"],"evidence_trust_tier":"T2_operational_observation"}}"#,
    r#","trust":{"evidence_sources":["device"],"evidence_trust_tier":"T2_operational_observation"}}"#,
    r#","trust":{"evidence_sources":["sensor"],"evidence_trust_tier":"T1_unverified_observation"}}"#,
    r#","trust":{"evidence_sources":["device"],"evidence_trust_tier":"T1_unverified_observation"}}"#,
    r#","trust":{"evidence_sources":["device"],"evidence_trust_tier":"T3_verified_action_evidence"}}"#,
    r#","trust":{"evidence_sources":["human"],"evidence_trust_tier":"T2_operational_observation"}}"#,
    r#","trust":{"evidence_sources":["llm"],"evidence_trust_tier":"T0_planning_inference"}}"#,
    r#","trust":{"evidence_sources":[""#, r#""],"evidence_trust_tier":""#, r#"T0_planning_inference"#,
    r#"T1_unverified_observation"#, r#"T2_operational_observation"#, r#"T3_verified_action_evidence"#,
    r#"","taint":[""#, r#","taint":[""#, r#""gen":1,"#, r#""kind":""#, r#""frameId":""#, r#""sourceDeviceId":""#,
    // Any JSON.
    r#"":""#, r#"",""#, r#"":{""#, r#""},""#, r#""}}"#, r#"":["#, r#""],""#, r#"":true"#, r#"":false"#, r#"":null"#,
    r#"":"#,
    // The metrics of readings.
    "moisture", "temperature", "humidity", "battery", "voltage", "pressure", "signal", "memory", "sensor",
    "actuator", "device", "status", "reason", "target", "zone-", "normal", "online", "offline", "percent",
];

/// The values of a frame that are in other columns of its row, as it is written in its text, in the order of
/// their codes.
#[derive(Debug)]
pub(super) struct Columns([String; 7]);

impl Columns {
    /// Of a frame with this origin, id, time, logical time, count and kind, and the metric that its row says.
    pub(super) fn new(
        origin: &str,
        frame_id: &str,
        claimed_at: TimeMs,
        hlc: Option<Hlc>,
        origin_seq: Option<i64>,
        kind: FrameKind,
        metric: Option<String>,
    ) -> Self {
        Self([
            origin.to_owned(),
            frame_id.to_owned(),
            claimed_at.0.to_string(),
            hlc.map(|hlc| hlc.to_string()).unwrap_or_default(),
            origin_seq.map(|n| n.to_string()).unwrap_or_default(),
            kind.as_str().to_owned(),
            metric.unwrap_or_default(),
        ])
    }

    fn of(new: &NewFrame) -> Self {
        // As the columns hold them: what does not fit into one is clamped there.
        Self::new(
            new.origin.as_str(),
            new.frame_id.as_str(),
            TimeMs::from_i64(new.claimed_at.to_i64()),
            new.hlc.map(|hlc| Hlc::from_i64(hlc.to_i64())),
            new.origin_seq.map(row::number),
            new.kind,
            metric(new).map(str::to_owned),
        )
    }

    /// The code of what the text begins with, and how long that is.
    fn code(&self, text: &str) -> Option<(u8, usize)> {
        let begins = |column: &&String| column.len() > 1 && text.starts_with(column.as_str());
        let at = self.0.iter().position(|column| begins(&column))?;
        Some((COLUMN + u8::try_from(at).ok()?, self.0.get(at)?.len()))
    }
}

/// The kind of an observation whose text is packed: indexes that look into the text of observations leave it out.
pub(super) const OBSERVATION: &str = "o";

/// The kind, text and metric of a frame as they lie in its row. The metric stands only beside a packed text of
/// an observation.
pub(super) struct Lying<'a> {
    pub(super) kind: &'static str,
    pub(super) text: Value,
    pub(super) metric: Option<&'a str>,
}

/// The metric that a row with a packed text says.
fn metric(new: &NewFrame) -> Option<&str> {
    match new.kind {
        FrameKind::Observation => new.metric.as_deref(),
        _ => None,
    }
}

/// How a frame is stored.
pub(super) fn lying(new: &NewFrame) -> Lying<'_> {
    let kind = new.kind.as_str();
    match (pack(&new.json, &Columns::of(new)), new.kind) {
        (None, _) => Lying {
            kind,
            text: Value::Text(new.json.as_ref().to_owned()),
            metric: None,
        },
        (Some(packed), FrameKind::Observation) => Lying {
            kind: OBSERVATION,
            text: Value::Blob(packed),
            metric: metric(new),
        },
        (Some(packed), _) => Lying {
            kind,
            text: Value::Blob(packed),
            metric: None,
        },
    }
}

/// The kind that a row says.
pub(super) fn kind(stored: &str) -> Option<FrameKind> {
    match stored {
        OBSERVATION => Some(FrameKind::Observation),
        name => FrameKind::from_wire(name),
    }
}

/// The codes of the words that begin with each byte, the longest word first.
static BY_FIRST: LazyLock<BTreeMap<u8, Vec<(u8, &str)>>> = LazyLock::new(|| {
    let mut by_first: BTreeMap<u8, Vec<(u8, &str)>> = BTreeMap::new();
    for (code, word) in (WORD..).zip(WORDS) {
        for first in word.bytes().take(1) {
            by_first.entry(first).or_default().push((code, word));
        }
    }
    for words in by_first.values_mut() {
        words.sort_by_key(|(_, word)| std::cmp::Reverse(word.len()));
    }
    by_first
});

/// The code of the longest word that the text begins with, and how long that is.
fn word(text: &str) -> Option<(u8, usize)> {
    let words = BY_FIRST.get(text.as_bytes().first()?)?;
    let (code, word) = words.iter().find(|(_, word)| text.starts_with(word))?;
    Some((*code, word.len()))
}

/// The bytes of a signature or hash that the text begins with, their code, and how long the text of them is.
fn bytes(text: &str) -> Option<(u8, Vec<u8>, usize)> {
    if let Some(written) = text.get(..SIGNATURE_CHARS)
        && let Ok(bytes) = URL_SAFE_NO_PAD.decode(written)
    {
        return Some((SIGNATURE, bytes, SIGNATURE_CHARS));
    }
    let hash = Digest::from_hex(text.get(..HASH_CHARS)?)?;
    let comes_back = text.starts_with(&hash.to_hex());
    comes_back.then(|| (HASH, hash.0.to_vec(), HASH_CHARS))
}

/// The text in codes; `None` where it does not come back as it was, or not shorter.
pub(super) fn pack(text: &str, columns: &Columns) -> Option<Vec<u8>> {
    let mut packed = Vec::with_capacity(text.len() / 2);
    let mut left = text;
    // A column's value stands only where a text or number of JSON begins.
    let mut begun = false;
    while let Some(first) = left.chars().next() {
        let taken = if let Some((code, length)) = begun.then(|| columns.code(left)).flatten() {
            packed.push(code);
            length
        } else if let Some((code, bytes, length)) = begun.then(|| bytes(left)).flatten() {
            packed.push(code);
            packed.extend(bytes);
            length
        } else if let Some((code, length)) = word(left) {
            packed.push(code);
            length
        } else {
            for byte in left.bytes().take(first.len_utf8()) {
                match byte {
                    0x20..0x80 => packed.push(byte),
                    other => packed.extend([BYTE, other]),
                }
            }
            first.len_utf8()
        };
        let (before, after) = left.split_at(taken);
        begun = before.ends_with(['"', ':']);
        left = after;
    }
    let whole = packed.len() < text.len() && unpack(&packed, columns).as_deref() == Some(text);
    whole.then_some(packed)
}

/// The text of [`pack`]; `None` if it is none.
pub(super) fn unpack(packed: &[u8], columns: &Columns) -> Option<String> {
    let mut text = Vec::with_capacity(packed.len() * 4);
    let mut left = packed;
    while let Some((code, rest)) = left.split_first() {
        left = rest;
        let mut take = |count: usize| {
            let (taken, rest) = left.split_at_checked(count)?;
            left = rest;
            Some(taken)
        };
        match *code {
            BYTE => text.extend(take(1)?),
            SIGNATURE => text.extend(URL_SAFE_NO_PAD.encode(take(64)?).bytes()),
            HASH => text.extend(Digest(take(32)?.try_into().ok()?).to_hex().bytes()),
            0x20..0x80 => text.push(*code),
            code if code >= WORD => {
                text.extend(WORDS.get(usize::from(code - WORD))?.bytes());
            }
            code => {
                let column = columns.0.get(usize::from(code.checked_sub(COLUMN)?))?;
                text.extend(column.bytes());
            }
        }
    }
    String::from_utf8(text).ok()
}
