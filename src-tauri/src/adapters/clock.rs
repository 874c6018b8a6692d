//! The only place that reads the wall clock and the boot clock.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::domain::base::TimeMs;

/// A source of wall-clock time.
pub trait Clock: Send + Sync {
    /// The current moment.
    fn now(&self) -> TimeMs;

    /// Milliseconds since some fixed moment of the past. It never steps, unaffected by changes to the
    /// wall clock, and counts the time the machine was suspended; only differences mean something.
    fn steady_ms(&self) -> u64;
}

/// Shared handle to a clock.
pub type SharedClock = Arc<dyn Clock>;

/// The machine's clock, moved by an offset in milliseconds (zero outside tests).
#[derive(Debug, Default)]
pub struct SystemClock {
    offset_ms: AtomicI64,
}

impl SystemClock {
    /// A clock that is wrong by `offset_ms`: what a node with a dead RTC battery has.
    pub fn with_offset(offset_ms: i64) -> Self {
        Self {
            offset_ms: AtomicI64::new(offset_ms),
        }
    }
}

impl SystemClock {
    /// Makes the clock wrong by `offset_ms` from now on, for tests.
    pub fn shift(&self, offset_ms: i64) {
        self.offset_ms.store(offset_ms, Ordering::Relaxed);
    }
}

impl Clock for SystemClock {
    #[allow(clippy::disallowed_methods)]
    fn now(&self) -> TimeMs {
        let since = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let ms = u64::try_from(since.as_millis()).unwrap_or(u64::MAX);
        TimeMs(ms.saturating_add_signed(self.offset_ms.load(Ordering::Relaxed)))
    }

    fn steady_ms(&self) -> u64 {
        super::system::steady_ms()
    }
}

/// A clock that stands still until it is told otherwise.
#[derive(Debug, Default)]
pub struct ManualClock {
    now_ms: AtomicU64,
}

impl ManualClock {
    /// A clock standing at `now`.
    pub fn at(now: TimeMs) -> Self {
        Self {
            now_ms: AtomicU64::new(now.0),
        }
    }

    /// Moves the clock to `now`.
    pub fn set(&self, now: TimeMs) {
        self.now_ms.store(now.0, Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> TimeMs {
        TimeMs(self.now_ms.load(Ordering::SeqCst))
    }

    fn steady_ms(&self) -> u64 {
        self.now_ms.load(Ordering::SeqCst)
    }
}
