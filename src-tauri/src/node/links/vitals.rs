//! How a link does: when it was last heard, how long an answer takes, how far the clocks differ.

use std::sync::{Mutex, PoisonError};

use crate::domain::base::TimeMs;

/// The health of a link.
#[derive(Debug)]
pub struct Vitals {
    state: Mutex<Reading>,
}

/// A moment's view of [`Vitals`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Reading {
    /// When anything last came in.
    pub heard_at: TimeMs,
    /// How long the last ping took there and back, in milliseconds.
    pub rtt_ms: Option<f64>,
    /// How far the peer's clock is ahead of ours (negative: behind), in milliseconds; right to within
    /// half the round trip.
    pub skew_ms: Option<i64>,
    /// Bytes of messages that came in.
    pub bytes_in: u64,
    /// Bytes of messages that went out.
    pub bytes_out: u64,
}

impl Vitals {
    pub(super) fn new(now: TimeMs) -> Self {
        Self {
            state: Mutex::new(Reading {
                heard_at: now,
                rtt_ms: None,
                skew_ms: None,
                bytes_in: 0,
                bytes_out: 0,
            }),
        }
    }

    fn with<T>(&self, f: impl FnOnce(&mut Reading) -> T) -> T {
        f(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Something came in.
    pub fn heard(&self, now: TimeMs, bytes: usize) {
        self.with(|r| {
            r.heard_at = now;
            r.bytes_in = r
                .bytes_in
                .saturating_add(u64::try_from(bytes).unwrap_or(u64::MAX));
        });
    }

    /// Messages were written.
    pub fn said(&self, bytes: usize) {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        self.with(|r| r.bytes_out = r.bytes_out.saturating_add(bytes));
    }

    /// A ping was answered after `rtt_ms`; the peer's clock then showed `theirs`, ours `now`. The
    /// answer is taken to have been written half-way (RFC 5905 §8, with one clock reading).
    pub fn pinged(&self, rtt_ms: f64, theirs: Option<TimeMs>, now: TimeMs) {
        #[allow(clippy::cast_possible_truncation)]
        let half = (rtt_ms / 2.0).round() as i64;
        let skew = theirs.map(|t| t.to_i64().saturating_sub(now.to_i64()).saturating_add(half));
        self.with(|r| {
            r.rtt_ms = Some(rtt_ms);
            r.skew_ms = skew.or(r.skew_ms);
        });
    }

    /// The state now.
    pub fn reading(&self) -> Reading {
        self.with(|r| *r)
    }
}
