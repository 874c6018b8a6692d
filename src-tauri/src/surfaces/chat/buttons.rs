//! Buttons under the bot's messages. What one carries is a random word and nothing else; what it means is kept here, for one
//! account and one exact record, and goes with the first press of any button of its message.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::adapters::random::SharedRandom;
use crate::domain::base::TimeMs;
use crate::domain::base::limits::CHAT_BUTTONS_MAX;

/// What a press asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// To show the action and ask once more.
    Ask,
    /// To approve what was just shown.
    Approve,
    /// To reject.
    Reject,
    /// To go back.
    Back,
}

/// What a button means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Meaning {
    /// Whose it is.
    pub account: String,
    /// The proposal.
    pub proposal: String,
    /// The digest of the record that was shown.
    pub digest: String,
    /// What it asks for.
    pub step: Step,
    /// Until when it counts.
    pub until: TimeMs,
    group: u64,
}

/// The buttons that count.
#[derive(Debug, Default)]
pub(super) struct Buttons(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    all: BTreeMap<String, Meaning>,
    groups: u64,
}

impl Buttons {
    /// Buttons of one message about a record: what they carry, in order. None where there is no randomness.
    pub(super) fn make(
        &self,
        random: &SharedRandom,
        (account, proposal, digest): (&str, &str, &str),
        steps: &[Step],
        (now, until): (TimeMs, TimeMs),
    ) -> Vec<String> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.all.retain(|_, meaning| meaning.until > now);
        state.groups += 1;
        let group = state.groups;
        let mut made = Vec::new();
        for step in steps {
            let Ok(word) = random.bytes::<18>() else {
                return Vec::new();
            };
            if state.all.len() >= CHAT_BUTTONS_MAX {
                let oldest = state.all.iter().min_by_key(|(_, m)| m.group);
                let oldest = oldest.map(|(word, _)| word.clone());
                oldest.and_then(|word| state.all.remove(&word));
            }
            let word = URL_SAFE_NO_PAD.encode(word);
            let meaning = Meaning {
                account: account.to_owned(),
                proposal: proposal.to_owned(),
                digest: digest.to_owned(),
                step: *step,
                until,
                group,
            };
            state.all.insert(word.clone(), meaning);
            made.push(word);
        }
        made
    }

    /// What a press means; nothing for a word that was pressed before, is old, was never made or is another's.
    pub(super) fn press(&self, account: &str, word: &str, now: TimeMs) -> Option<Meaning> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.all.retain(|_, meaning| meaning.until > now);
        let found = state.all.get(word)?;
        if found.account != account {
            return None;
        }
        let found = found.clone();
        state.all.retain(|_, meaning| meaning.group != found.group);
        Some(found)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const T: TimeMs = TimeMs(1_000_000);

    fn two(buttons: &Buttons) -> Vec<String> {
        let about = ("1", "p1", "d1");
        let steps = [Step::Ask, Step::Reject];
        let random = SharedRandom::system();
        buttons.make(&random, about, &steps, (T, T.plus(1_000)))
    }

    #[test]
    fn a_button_counts_once_for_its_account_and_ends_those_beside_it() {
        let buttons = Buttons::default();
        let made = two(&buttons);
        assert!(made.iter().all(|word| word.len() <= 64));
        assert!(buttons.press("2", &made[0], T).is_none(), "another account");
        assert!(buttons.press("1", "made up", T).is_none());
        let pressed = buttons.press("1", &made[0], T).unwrap();
        assert_eq!((pressed.step, pressed.digest.as_str()), (Step::Ask, "d1"));
        assert!(buttons.press("1", &made[0], T).is_none(), "again");
        assert!(buttons.press("1", &made[1], T).is_none(), "beside it");
        let made = two(&buttons);
        assert!(buttons.press("1", &made[1], T.plus(1_000)).is_none(), "old");
    }

    #[test]
    fn there_are_so_many_and_the_oldest_go() {
        let buttons = Buttons::default();
        let first = two(&buttons);
        for _ in 0..CHAT_BUTTONS_MAX {
            two(&buttons);
        }
        assert!(buttons.press("1", &first[0], T).is_none());
        assert!(buttons.0.lock().unwrap().all.len() <= CHAT_BUTTONS_MAX);
    }
}
