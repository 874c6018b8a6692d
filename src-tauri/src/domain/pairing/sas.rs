//! The short string that two persons compare: seven pictures out of 64 with their names, and seven
//! digits for a screen or a telephone that knows no pictures. Both come from one digest.

use super::hash;
use crate::domain::base::Digest;
use crate::domain::identity::PublicKey;

/// The pictures and what they are called. The order is part of the protocol.
pub const EMOJI: [(&str, &str); 64] = [
    ("🐝", "bee"),
    ("🦆", "duck"),
    ("🐢", "turtle"),
    ("🦉", "owl"),
    ("🐙", "octopus"),
    ("🦀", "crab"),
    ("🐘", "elephant"),
    ("🐎", "horse"),
    ("🐓", "rooster"),
    ("🦊", "fox"),
    ("🐸", "frog"),
    ("🐌", "snail"),
    ("🦋", "butterfly"),
    ("🐬", "dolphin"),
    ("🐧", "penguin"),
    ("🦔", "hedgehog"),
    ("🌵", "cactus"),
    ("🌻", "sunflower"),
    ("🌲", "fir"),
    ("🍄", "mushroom"),
    ("🍀", "clover"),
    ("🍁", "maple leaf"),
    ("🌹", "rose"),
    ("🌽", "maize"),
    ("🍓", "strawberry"),
    ("🍌", "banana"),
    ("🍋", "lemon"),
    ("🥕", "carrot"),
    ("🧅", "onion"),
    ("🥚", "egg"),
    ("🧀", "cheese"),
    ("🥨", "pretzel"),
    ("🚜", "tractor"),
    ("🚲", "bicycle"),
    ("🚂", "locomotive"),
    ("🚁", "helicopter"),
    ("🚀", "rocket"),
    ("⛵", "sailing boat"),
    ("⚓", "anchor"),
    ("🎈", "balloon"),
    ("🔔", "bell"),
    ("🔑", "key"),
    ("🔨", "hammer"),
    ("🪜", "ladder"),
    ("🧲", "magnet"),
    ("🔦", "torch"),
    ("🕯", "candle"),
    ("📎", "paper clip"),
    ("✂", "scissors"),
    ("🎩", "top hat"),
    ("👓", "glasses"),
    ("👑", "crown"),
    ("🥁", "drum"),
    ("🎺", "trumpet"),
    ("🎸", "guitar"),
    ("🎲", "die"),
    ("🧩", "jigsaw piece"),
    ("🏠", "house"),
    ("🌋", "volcano"),
    ("🌈", "rainbow"),
    ("⚡", "lightning"),
    ("⛄", "snowman"),
    ("🌙", "moon"),
    ("⭐", "star"),
];

/// What both persons must see alike.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShortString {
    /// Places of the pictures in [`EMOJI`].
    pub places: [usize; 7],
    /// The number, below ten million.
    pub number: u32,
}

impl ShortString {
    /// The string of a transcript.
    pub(super) fn of(transcript: &Digest) -> Self {
        let digest = hash("clawmesh/pair/v1/sas", &[&transcript.0]).0;
        let [a, b, c, d, e, f, ..] = digest;
        let bits = u64::from_be_bytes([0, 0, a, b, c, d, e, f]);
        let mut places = [0; 7];
        for (place, shift) in places.iter_mut().zip((0..7).rev()) {
            // Forty-two of the forty-eight bits, six at a time from the top.
            *place = usize::try_from(bits >> (6 + 6 * shift) & 63).unwrap_or(0);
        }
        let mut tail = [0; 8];
        tail.copy_from_slice(&digest[8..16]);
        let number = u32::try_from(u64::from_be_bytes(tail) % 10_000_000).unwrap_or(0);
        Self { places, number }
    }

    /// The string by which two persons know a public key as the same: of the key, and of a number that
    /// was picked after the key was known.
    pub fn of_key(key: &PublicKey, nonce: &[u8]) -> Self {
        Self::of(&hash("clawmesh/enrol/v1", &[key.as_bytes(), nonce]))
    }

    /// The pictures with their names, in order.
    pub fn emoji(&self) -> Vec<(&'static str, &'static str)> {
        self.places
            .iter()
            .filter_map(|&place| EMOJI.get(place).copied())
            .collect()
    }

    /// The number as people read it out, for example `012 3456`.
    pub fn digits(&self) -> String {
        let digits = format!("{:07}", self.number);
        let (head, tail) = digits.split_at(3);
        format!("{head} {tail}")
    }
}
