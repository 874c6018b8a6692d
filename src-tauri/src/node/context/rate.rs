//! How often something may happen on a link.

use std::sync::{Mutex, PoisonError};

use tokio::time::Instant;

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

/// How many in each of the last seconds. The seconds are those of the machine's uptime, which no
/// correction of its clock moves: a rate must not stand still, or be forgotten, because somebody set it.
#[derive(Debug)]
pub struct Recent {
    begun: Instant,
    /// The second since then that the newest count belongs to, and the counts, newest first.
    counts: Mutex<(u64, [u64; RECENT_SECS + 1])>,
}

impl Default for Recent {
    fn default() -> Self {
        Self {
            begun: Instant::now(),
            counts: Mutex::default(),
        }
    }
}

impl Recent {
    fn at(&self, now: Instant, add: u64) -> u64 {
        let mut held = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let second = now.saturating_duration_since(self.begun).as_secs();
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
    pub fn add(&self, more: u64) {
        self.at(Instant::now(), more);
    }

    /// The mean over the last ten whole seconds, for each second.
    pub fn per_sec(&self) -> f64 {
        self.per_sec_at(Instant::now())
    }

    #[allow(clippy::cast_precision_loss)]
    fn per_sec_at(&self, now: Instant) -> f64 {
        self.at(now, 0) as f64 / RECENT_SECS as f64
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    #[allow(clippy::float_cmp)]
    fn what_was_counted_is_seen_for_ten_seconds_and_then_forgotten() {
        let recent = Recent::default();
        let at = |ms: u64| recent.begun + Duration::from_millis(ms);
        recent.at(at(100_000), 50);
        recent.at(at(100_999), 50);
        assert_eq!(
            recent.per_sec_at(at(100_999)),
            0.0,
            "the second is not over"
        );
        assert_eq!(recent.per_sec_at(at(101_000)), 10.0);
        recent.at(at(105_000), 100);
        assert_eq!(recent.per_sec_at(at(106_000)), 20.0);
        assert_eq!(recent.per_sec_at(at(110_500)), 20.0);
        assert_eq!(recent.per_sec_at(at(111_500)), 10.0);
        assert_eq!(recent.per_sec_at(at(900_000)), 0.0);
    }
}
