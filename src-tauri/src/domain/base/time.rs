//! Time as data: milliseconds since the Unix epoch, and hybrid logical clocks.
//!
//! Nothing here reads a clock. HLC follows Kulkarni et al., "Logical Physical Clocks" (2014):
//! 48 bits of wall time in milliseconds and 16 bits of counter in one sortable integer.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A moment, in milliseconds since the Unix epoch.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(transparent)]
pub struct TimeMs(pub u64);

impl TimeMs {
    /// Milliseconds since `earlier`, zero if that lies ahead.
    pub fn since(self, earlier: TimeMs) -> u64 {
        self.0.saturating_sub(earlier.0)
    }

    /// This moment plus `ms`.
    pub fn plus(self, ms: u64) -> TimeMs {
        TimeMs(self.0.saturating_add(ms))
    }

    /// The distance between two moments, whichever is first.
    pub fn distance(self, other: TimeMs) -> u64 {
        self.0.abs_diff(other.0)
    }

    /// The moment as a signed number, for SQLite.
    pub fn to_i64(self) -> i64 {
        i64::try_from(self.0).unwrap_or(i64::MAX)
    }

    /// A moment read from SQLite; negative numbers count as zero.
    pub fn from_i64(ms: i64) -> TimeMs {
        TimeMs(u64::try_from(ms).unwrap_or(0))
    }
}

/// A hybrid logical timestamp; on the wire 16 lowercase hex digits, so that text order is time order.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hlc(u64);

impl Hlc {
    const COUNTER_BITS: u32 = 16;
    const WALL_MAX: u64 = (1 << 47) - 1;

    /// A timestamp from its parts; wall time beyond the year 6429 is clamped.
    pub fn new(wall: TimeMs, counter: u16) -> Self {
        Self((wall.0.min(Self::WALL_MAX) << Self::COUNTER_BITS) | u64::from(counter))
    }

    /// The wall-clock part.
    pub fn wall(self) -> TimeMs {
        TimeMs(self.0 >> Self::COUNTER_BITS)
    }

    /// The next timestamp after `self` at wall time `now`: never smaller, never equal.
    #[must_use]
    pub fn tick(self, now: TimeMs) -> Self {
        let fresh = Self::new(now, 0);
        if fresh > self {
            fresh
        } else {
            Self(self.0.saturating_add(1))
        }
    }

    /// The clock after hearing `heard`, which is ignored if it claims to be more than
    /// `ahead_max_ms` ahead of `now`, so that a liar cannot drag the mesh's clock forward.
    #[must_use]
    pub fn observe(self, heard: Hlc, now: TimeMs, ahead_max_ms: u64) -> Self {
        if heard.wall() > now.plus(ahead_max_ms) {
            self
        } else {
            self.max(heard)
        }
    }

    /// The timestamp as stored in SQLite.
    pub fn to_i64(self) -> i64 {
        i64::try_from(self.0).unwrap_or(i64::MAX)
    }

    /// A timestamp read from SQLite.
    pub fn from_i64(value: i64) -> Self {
        Self(u64::try_from(value).unwrap_or(0))
    }
}

impl fmt::Display for Hlc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl FromStr for Hlc {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let hex = text.len() == 16 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        match u64::from_str_radix(text, 16) {
            Ok(value) if hex && value >> 63 == 0 => Ok(Self(value)),
            _ => Err("hlc must be 16 lowercase hex digits, the first below 8".to_owned()),
        }
    }
}

impl Serialize for Hlc {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Hlc {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        String::deserialize(d)?.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn tick_always_moves_forward(start in 0u64..(1 << 62), now in 0u64..(1 << 47)) {
            let before = Hlc(start);
            prop_assert!(before.tick(TimeMs(now)) > before);
        }

        #[test]
        fn text_form_round_trips_and_sorts(a in 0u64..(1 << 63), b in 0u64..(1 << 63)) {
            let (a, b) = (Hlc(a), Hlc(b));
            prop_assert_eq!(a.to_string().parse::<Hlc>(), Ok(a));
            prop_assert_eq!(a.cmp(&b), a.to_string().cmp(&b.to_string()));
        }

        #[test]
        fn a_liar_cannot_drag_the_clock(now in 1_000_000u64..(1 << 46), lie in 300_001u64..1_000_000_000) {
            let own = Hlc::new(TimeMs(now), 0);
            let heard = Hlc::new(TimeMs(now + lie), 0);
            prop_assert_eq!(own.observe(heard, TimeMs(now), 300_000), own);
        }
    }
}
