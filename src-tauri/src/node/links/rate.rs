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
