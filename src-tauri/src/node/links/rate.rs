//! How often something may happen on a link.

use std::sync::{Mutex, PoisonError};

use crate::domain::base::TimeMs;

/// Counts within the running minute.
#[derive(Debug, Default)]
pub struct PerMinute {
    window: Mutex<(TimeMs, u32)>,
}

impl PerMinute {
    /// Whether it may happen once more; counts it if so.
    pub fn admits(&self, most: u32, now: TimeMs) -> bool {
        let mut window = self.window.lock().unwrap_or_else(PoisonError::into_inner);
        if now.distance(window.0) >= 60_000 {
            *window = (now, 0);
        }
        window.1 = window.1.saturating_add(1);
        window.1 <= most
    }
}

/// Seconds that [`Recent`] looks back over.
const RECENT_SECS: usize = 10;

/// How many in each of the last seconds.
#[derive(Debug, Default)]
pub struct Recent {
    /// The second that the newest count belongs to, since 1970, and the counts, newest first.
    counts: Mutex<(u64, [u64; RECENT_SECS + 1])>,
}

impl Recent {
    fn at(&self, now: TimeMs, add: u64) -> u64 {
        let mut held = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let second = now.0 / 1_000;
        let gone = usize::try_from(second.saturating_sub(held.0)).unwrap_or(usize::MAX);
        let counts = &mut held.1;
        let (all, kept) = (counts.len(), counts.len().saturating_sub(gone));
        counts.copy_within(..kept, all - kept);
        counts.iter_mut().take(gone).for_each(|count| *count = 0);
        if let Some(newest) = counts.first_mut() {
            *newest += add;
        }
        let whole: u64 = counts.iter().skip(1).sum();
        held.0 = held.0.max(second);
        whole
    }

    /// Counts more.
    pub fn add(&self, more: u64, now: TimeMs) {
        self.at(now, more);
    }

    /// The mean over the last ten whole seconds, for each second.
    #[allow(clippy::cast_precision_loss)]
    pub fn per_sec(&self, now: TimeMs) -> f64 {
        self.at(now, 0) as f64 / RECENT_SECS as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[allow(clippy::float_cmp)]
    fn what_was_counted_is_seen_for_ten_seconds_and_then_forgotten() {
        let recent = Recent::default();
        recent.add(50, TimeMs(100_000));
        recent.add(50, TimeMs(100_999));
        assert_eq!(
            recent.per_sec(TimeMs(100_999)),
            0.0,
            "the second is not over"
        );
        assert_eq!(recent.per_sec(TimeMs(101_000)), 10.0);
        recent.add(100, TimeMs(105_000));
        assert_eq!(recent.per_sec(TimeMs(106_000)), 20.0);
        assert_eq!(recent.per_sec(TimeMs(110_500)), 20.0);
        assert_eq!(recent.per_sec(TimeMs(111_500)), 10.0);
        assert_eq!(recent.per_sec(TimeMs(900_000)), 0.0);
        // A clock that jumps back counts on where it was.
        recent.add(10, TimeMs(800_000));
        assert_eq!(recent.per_sec(TimeMs(901_000)), 1.0);
    }
}
