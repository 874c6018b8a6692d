//! How often an account is read and a stranger answered, and how long is paused after failures.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::adapters::channel::Fault;
use crate::domain::base::TimeMs;
use crate::domain::base::limits::{
    CHAT_ACCOUNTS_MAX, CHAT_PAUSE_MAX_MS, CHAT_PAUSE_MIN_MS, CHAT_PER_MINUTE,
    CHAT_STRANGER_EVERY_MS, CHAT_STRANGERS_PER_HOUR,
};

/// Messages of each account in its minute.
type Heard = BTreeMap<String, (TimeMs, u32)>;

/// Counts a message; whether it is read.
fn counted(heard: &mut Heard, account: &str, now: TimeMs) -> bool {
    heard.retain(|_, (since, _)| now.distance(*since) < 60_000);
    if heard.len() >= CHAT_ACCOUNTS_MAX && !heard.contains_key(account) {
        return false;
    }
    let (_, count) = heard.entry(account.to_owned()).or_insert((now, 0));
    *count = count.saturating_add(1);
    *count <= CHAT_PER_MINUTE
}

/// Counts by account.
#[derive(Debug, Default)]
pub(super) struct Pace(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    members: Heard,
    heard: Heard,
    strangers: BTreeMap<String, TimeMs>,
    answered: (TimeMs, u32),
}

impl Pace {
    /// Whether a message of a member is read now. Members are few, and strangers take no place of theirs.
    pub(super) fn reads(&self, account: &str, now: TimeMs) -> bool {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        counted(&mut state.members, account, now)
    }

    /// Whether a message of a stranger is read now.
    pub(super) fn reads_stranger(&self, account: &str, now: TimeMs) -> bool {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        counted(&mut state.heard, account, now)
    }

    /// Whether a stranger is answered now.
    pub(super) fn answers_stranger(&self, account: &str, now: TimeMs) -> bool {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let old = |at: &TimeMs| now.distance(*at) < CHAT_STRANGER_EVERY_MS;
        state.strangers.retain(|_, at| old(at));
        if now.distance(state.answered.0) >= 3_600_000 {
            state.answered = (now, 0);
        }
        let full = state.strangers.len() >= CHAT_ACCOUNTS_MAX;
        if full
            || state.strangers.contains_key(account)
            || state.answered.1 >= CHAT_STRANGERS_PER_HOUR
        {
            return false;
        }
        state.answered.1 += 1;
        state.strangers.insert(account.to_owned(), now);
        true
    }
}

/// A pause that grows with each failure.
#[derive(Debug)]
pub(super) struct Pause(u64);

impl Default for Pause {
    fn default() -> Self {
        Self(CHAT_PAUSE_MIN_MS)
    }
}

impl Pause {
    /// How long to wait after a failure: as the server says, or longer each time.
    pub(super) fn after(&mut self, fault: &Fault) -> Duration {
        if let Fault::Later(wait) = fault {
            return *wait;
        }
        let now = self.0;
        self.0 = self.0.saturating_mul(2).min(CHAT_PAUSE_MAX_MS);
        Duration::from_millis(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_not_read_and_a_stranger_is_answered_once_in_a_while() {
        let (pace, now) = (Pace::default(), TimeMs(10_000_000));
        let read = (0..100).filter(|_| pace.reads("1", now)).count();
        assert_eq!(u32::try_from(read), Ok(CHAT_PER_MINUTE));
        assert!(pace.reads("2", now) && pace.reads("1", now.plus(60_000)));
        assert!(pace.answers_stranger("1", now) && !pace.answers_stranger("1", now));
        let many = (0..1_000).filter(|n| pace.answers_stranger(&format!("s{n}"), now));
        assert_eq!(u32::try_from(many.count()), Ok(CHAT_STRANGERS_PER_HOUR - 1));
        assert!(pace.answers_stranger("1", now.plus(3_600_000)));
        let strangers = (0..2_000).filter(|n| pace.reads_stranger(&format!("s{n}"), now));
        assert_eq!(strangers.count(), CHAT_ACCOUNTS_MAX);
        assert!(
            pace.reads("3", now),
            "a crowd of strangers takes no member's place"
        );
    }

    #[test]
    fn pauses_grow_to_a_limit_and_a_server_is_obeyed() {
        let mut pause = Pause::default();
        let lost = Fault::Lost("x".into());
        let each: Vec<u64> = (0..10)
            .map(|_| u64::try_from(pause.after(&lost).as_millis()).unwrap_or_default())
            .collect();
        assert_eq!(
            (each[0], each[1]),
            (CHAT_PAUSE_MIN_MS, 2 * CHAT_PAUSE_MIN_MS)
        );
        assert_eq!(each[9], CHAT_PAUSE_MAX_MS);
        let wait = Duration::from_secs(7);
        assert_eq!(pause.after(&Fault::Later(wait)), wait);
    }
}
