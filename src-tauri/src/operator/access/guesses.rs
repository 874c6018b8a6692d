//! Wrong one-time codes from other machines, by address: whoever sends too many is not heard for a minute, and keeps nobody
//! else out.

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::domain::base::TimeMs;
use crate::domain::base::limits::{AWAY_GUESSERS_MAX, AWAY_GUESSES_MAX, BROWSER_FAILURE_WINDOW_MS};

/// The wrong codes of the last minute.
#[derive(Debug, Default)]
pub struct Guesses(Mutex<BTreeMap<IpAddr, VecDeque<TimeMs>>>);

impl Guesses {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<IpAddr, VecDeque<TimeMs>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a code of this address is looked at now.
    pub fn may_try(&self, from: IpAddr, now: TimeMs) -> bool {
        let mut all = self.lock();
        let Some(failed) = all.get_mut(&from) else {
            return true;
        };
        failed.retain(|at| now.distance(*at) < BROWSER_FAILURE_WINDOW_MS);
        failed.len() < AWAY_GUESSES_MAX
    }

    /// A code of this address was wrong.
    pub fn failed(&self, from: IpAddr, now: TimeMs) {
        let mut all = self.lock();
        if all.len() >= AWAY_GUESSERS_MAX && !all.contains_key(&from) {
            let oldest = all.iter().min_by_key(|(_, failed)| failed.back().copied());
            let oldest = oldest.map(|(address, _)| *address);
            oldest.and_then(|address| all.remove(&address));
        }
        let failed = all.entry(from).or_default();
        if failed.len() >= AWAY_GUESSES_MAX {
            failed.pop_front();
        }
        failed.push_back(now);
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    const T: TimeMs = TimeMs(1_000_000);

    #[test]
    fn an_address_that_guesses_waits_and_others_do_not() {
        let guesses = Guesses::default();
        let (one, other) = (Ipv4Addr::from(1).into(), Ipv4Addr::from(2).into());
        for _ in 0..AWAY_GUESSES_MAX {
            assert!(guesses.may_try(one, T));
            guesses.failed(one, T);
        }
        assert!(!guesses.may_try(one, T) && guesses.may_try(other, T));
        assert!(guesses.may_try(one, T.plus(BROWSER_FAILURE_WINDOW_MS)));
    }

    #[test]
    fn the_list_is_bounded() {
        let guesses = Guesses::default();
        for n in 0..2 * u32::try_from(AWAY_GUESSERS_MAX).unwrap_or(0) {
            guesses.failed(Ipv4Addr::from(n).into(), T.plus(u64::from(n)));
        }
        assert_eq!(guesses.lock().len(), AWAY_GUESSERS_MAX);
    }
}
