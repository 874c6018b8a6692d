//! One-time codes of enrolments: they count for ten minutes, once, and few may be guessed. In memory only.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use subtle::ConstantTimeEq as _;

use crate::domain::base::limits::{
    CHANNEL_ACCOUNT_TRIES_MAX, CHANNEL_ACCOUNTS_WATCHED_MAX, CHANNEL_CODE_TRIES_MAX,
    CHANNEL_CODE_TTL_MS, CHANNEL_CODES_MAX, CHANNEL_WINDOW_MS,
};
use crate::domain::base::{Code, Digest, Refusal, TimeMs};

/// Letters and digits that are not mistaken for each other.
const ALPHABET: &[u8; 32] = b"ABCDEFGHJKLMNPQRSTUVWXYZ23456789";
const CODE_CHARS: usize = 10;

/// The codes that wait, and who guessed wrong.
#[derive(Debug, Default)]
pub(super) struct Codes(Mutex<State>);

#[derive(Default)]
struct State {
    waiting: VecDeque<Waiting>,
    wrong: u32,
    tries: BTreeMap<String, (u32, TimeMs)>,
}

struct Waiting {
    code: String,
    channel: Digest,
    since: TimeMs,
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} codes", self.waiting.len())
    }
}

impl Codes {
    fn state(&self, now: TimeMs) -> MutexGuard<'_, State> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // The distance, so that a clock set back does not make one last longer.
        state
            .waiting
            .retain(|w| now.distance(w.since) < CHANNEL_CODE_TTL_MS);
        if state.waiting.is_empty() {
            state.wrong = 0;
        }
        state
            .tries
            .retain(|_, (_, since)| now.distance(*since) < CHANNEL_WINDOW_MS);
        state
    }

    /// A new code for a channel, as people read it; the oldest one goes where there are too many.
    pub(super) fn make(&self, channel: Digest, random: [u8; CODE_CHARS], now: TimeMs) -> String {
        let letter = |byte: u8| {
            let at = usize::from(byte) % ALPHABET.len();
            char::from(ALPHABET.get(at).copied().unwrap_or(b'A'))
        };
        let code: String = random.into_iter().map(letter).collect();
        let mut state = self.state(now);
        state.waiting.retain(|w| w.channel != channel);
        if state.waiting.len() >= CHANNEL_CODES_MAX {
            state.waiting.pop_front();
        }
        state.waiting.push_back(Waiting {
            code: code.clone(),
            channel,
            since: now,
        });
        let (first, last) = code.split_at(CODE_CHARS / 2);
        format!("{first}-{last}")
    }

    /// The channel of a code that was entered in a chat. It counts no second time.
    ///
    /// # Errors
    /// `NOT_FOUND` for a wrong or old one, `RATE_EXCEEDED` for who guesses.
    pub(super) fn take(
        &self,
        account: &str,
        entered: &str,
        now: TimeMs,
    ) -> Result<Digest, Refusal> {
        let mut state = self.state(now);
        let (had, _) = state.tries.get(account).copied().unwrap_or((0, now));
        let full = state.tries.len() >= CHANNEL_ACCOUNTS_WATCHED_MAX;
        if had >= CHANNEL_ACCOUNT_TRIES_MAX || had == 0 && full {
            let why = "too many wrong codes were entered; try again in an hour";
            return Err(Refusal::new(Code::RateExceeded, why));
        }
        let plain = |c: &char| c.is_ascii_alphanumeric();
        let entered: String = entered.chars().filter(plain).take(64).collect();
        let entered = entered.to_ascii_uppercase();
        let same = |w: &Waiting| bool::from(w.code.as_bytes().ct_eq(entered.as_bytes()));
        if let Some(at) = state.waiting.iter().position(same) {
            let found = state.waiting.remove(at);
            state.tries.remove(account);
            if let Some(found) = found {
                return Ok(found.channel);
            }
        }
        let since = state.tries.get(account).map_or(now, |(_, since)| *since);
        state.tries.insert(account.to_owned(), (had + 1, since));
        state.wrong = state.wrong.saturating_add(1);
        if state.wrong >= CHANNEL_CODE_TRIES_MAX {
            state.waiting.clear();
        }
        Err(Refusal::new(
            Code::NotFound,
            "this code is wrong, was used or has run out; make a new one with `clawmesh-node telegram enroll`, or `slack enroll`",
        ))
    }

    /// Forgets the code of a channel.
    pub(super) fn forget(&self, channel: &Digest, now: TimeMs) {
        self.state(now).waiting.retain(|w| w.channel != *channel);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const T: TimeMs = TimeMs(1_000_000_000);

    #[test]
    fn a_code_counts_once_for_ten_minutes_however_it_is_typed() {
        let codes = Codes::default();
        let channel = Digest([7; 32]);
        let code = codes.make(channel, [1; 10], T);
        assert_eq!(code, "BBBBB-BBBBB");
        assert_eq!(codes.take("1", " bbbbb bbbbb ", T).unwrap(), channel);
        assert_eq!(codes.take("1", &code, T).unwrap_err().code, Code::NotFound);
        let late = codes.make(channel, [2; 10], T);
        let after = T.plus(CHANNEL_CODE_TTL_MS);
        assert_eq!(
            codes.take("2", &late, after).unwrap_err().code,
            Code::NotFound
        );
        let ended = codes.make(channel, [3; 10], T);
        codes.forget(&channel, T);
        assert_eq!(codes.take("3", &ended, T).unwrap_err().code, Code::NotFound);
    }

    #[test]
    fn who_guesses_is_stopped_and_many_who_guess_end_every_code() {
        let codes = Codes::default();
        let code = codes.make(Digest([7; 32]), [1; 10], T);
        for _ in 0..CHANNEL_ACCOUNT_TRIES_MAX {
            assert_eq!(
                codes.take("1", "AAAAAAAAAA", T).unwrap_err().code,
                Code::NotFound
            );
        }
        assert_eq!(
            codes.take("1", &code, T).unwrap_err().code,
            Code::RateExceeded
        );
        assert!(
            codes.take("2", &code, T).is_ok(),
            "another chat may still enter it"
        );
        let code = codes.make(Digest([7; 32]), [1; 10], T.plus(1));
        for n in 0..CHANNEL_CODE_TRIES_MAX {
            let _ = codes.take(&format!("guess {n}"), "AAAAAAAAAA", T.plus(1));
        }
        assert_eq!(
            codes.take("3", &code, T.plus(1)).unwrap_err().code,
            Code::NotFound
        );
    }
}
