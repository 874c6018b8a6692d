//! Buttons under the bot's messages. What one carries is a random word, and the starts of its proposal's id and digest. What the
//! word means is kept here and in the store, for one account and one exact record, and goes with the first press of any button
//! of its message. Of a word that is not known, as after another node had the bot, the rest says which record is shown anew.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use crate::adapters::random::SharedRandom;
use crate::domain::base::TimeMs;
use crate::domain::base::limits::CHAT_BUTTONS_MAX;
use crate::node::channels::memory::Memory;

/// Before the names under which buttons are remembered.
const NAME: &str = "button ";
/// Characters of an id or digest in a button: with a word of 24 they stay below the 64 that one may carry.
const START: usize = 16;

/// What a press asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Step {
    /// To show the action and ask once more.
    Ask,
    /// To approve what was just shown.
    Approve,
    /// To reject.
    Reject,
    /// To go back.
    Back,
    /// To say that an alert was seen; its number stands in the place of the proposal.
    Acknowledge,
}

/// What a button means.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
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

/// What was pressed.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Pressed {
    /// A button that counts.
    Means(Meaning),
    /// One that is not known: the start of its proposal's id, and of the digest of what was shown.
    Unknown(String, String),
    /// One that was pressed before, is another's, or was never made.
    Nothing,
}

/// The buttons that count.
#[derive(Debug, Default)]
pub(super) struct Buttons(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    all: BTreeMap<String, Meaning>,
    groups: u64,
    /// Words that were pressed in this run.
    used: BTreeSet<String>,
    /// What the store does not know yet.
    changes: Vec<Memory>,
}

impl State {
    fn forget(&mut self, gone: impl Fn(&Meaning) -> bool) {
        let words = self.all.iter().filter(|(_, meaning)| gone(meaning));
        let words: Vec<String> = words.map(|(word, _)| word.clone()).collect();
        for word in words {
            self.all.remove(&word);
            self.changes.push(Memory {
                name: format!("{NAME}{word}"),
                json: None,
                until: TimeMs(0),
            });
        }
    }
}

fn start(text: &str) -> &str {
    text.get(..START).unwrap_or(text)
}

impl Buttons {
    /// Those that were remembered.
    pub(super) fn of(remembered: &[(String, String)]) -> Self {
        let read = |(name, json): &(String, String)| {
            let meaning = serde_json::from_str(json).ok()?;
            Some((name.strip_prefix(NAME)?.to_owned(), meaning))
        };
        let all: BTreeMap<String, Meaning> = remembered.iter().filter_map(read).collect();
        let groups = all.values().map(|m| m.group).max().unwrap_or_default();
        Self(Mutex::new(State {
            all,
            groups,
            ..State::default()
        }))
    }

    /// What the store does not know yet.
    pub(super) fn changes(&self) -> Vec<Memory> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut state.changes)
    }

    /// Buttons of one message about a record: what they carry, in order. None where there is no randomness.
    pub(super) fn make(
        &self,
        random: &SharedRandom,
        (account, proposal, digest): (&str, &str, &str),
        steps: &[Step],
        (now, until): (TimeMs, TimeMs),
    ) -> Vec<String> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.forget(|meaning| meaning.until <= now);
        state.groups += 1;
        let group = state.groups;
        let mut made = Vec::new();
        for step in steps {
            let Ok(word) = random.bytes::<18>() else {
                return Vec::new();
            };
            if state.all.len() >= CHAT_BUTTONS_MAX {
                let oldest = state.all.values().map(|m| m.group).min();
                state.forget(|meaning| Some(meaning.group) == oldest);
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
            state.changes.push(Memory {
                name: format!("{NAME}{word}"),
                json: serde_json::to_string(&meaning).ok(),
                until,
            });
            state.all.insert(word.clone(), meaning);
            made.push(format!("{word}.{}.{}", start(proposal), start(digest)));
        }
        made
    }

    /// What a press means.
    pub(super) fn press(&self, account: &str, data: &str, now: TimeMs) -> Pressed {
        let mut parts = data.split('.');
        let (Some(word), Some(proposal), Some(digest), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Pressed::Nothing;
        };
        let hex = |b: u8| b.is_ascii_hexdigit() || b == b'-';
        let plain = |text: &str| text.len() == START && text.bytes().all(hex);
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.forget(|meaning| meaning.until <= now);
        match state.all.get(word) {
            Some(found) if found.account != account => Pressed::Nothing,
            Some(found) => {
                let found = found.clone();
                let group = found.group;
                let beside = state.all.iter().filter(|(_, m)| m.group == group);
                let beside: Vec<String> = beside.map(|(word, _)| word.clone()).collect();
                if state.used.len() >= CHAT_BUTTONS_MAX {
                    state.used.clear();
                }
                state.used.extend(beside);
                state.forget(|meaning| meaning.group == group);
                Pressed::Means(found)
            }
            None if state.used.contains(word) || !plain(proposal) || !plain(digest) => {
                Pressed::Nothing
            }
            None => Pressed::Unknown(proposal.to_owned(), digest.to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;

    const T: TimeMs = TimeMs(1_000_000);

    fn ids() -> (String, String) {
        ("a1".repeat(16), "d2".repeat(32))
    }

    fn two(buttons: &Buttons) -> Vec<String> {
        let (proposal, digest) = ids();
        let about = ("1", proposal.as_str(), digest.as_str());
        let steps = [Step::Ask, Step::Reject];
        let random = SharedRandom::system();
        buttons.make(&random, about, &steps, (T, T.plus(1_000)))
    }

    fn means(buttons: &Buttons, data: &str) -> Meaning {
        match buttons.press("1", data, T) {
            Pressed::Means(meaning) => meaning,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_button_counts_once_for_its_account_and_ends_those_beside_it() {
        let buttons = Buttons::default();
        let made = two(&buttons);
        assert!(made.iter().all(|data| data.len() <= 64));
        assert_eq!(
            buttons.press("2", &made[0], T),
            Pressed::Nothing,
            "another account"
        );
        for odd in ["made up", "a.b.c", "a.b", "....", ""] {
            assert_eq!(buttons.press("1", odd, T), Pressed::Nothing);
        }
        let pressed = means(&buttons, &made[0]);
        assert_eq!((pressed.step, pressed.digest), (Step::Ask, ids().1));
        for old in &made {
            assert_eq!(
                buttons.press("1", old, T),
                Pressed::Nothing,
                "again, beside it"
            );
        }
        let made = two(&buttons);
        let shown = ("a1".repeat(8), "d2".repeat(8));
        let late = buttons.press("1", &made[1], T.plus(1_000));
        assert_eq!(
            late,
            Pressed::Unknown(shown.0, shown.1),
            "old: it is shown anew"
        );
    }

    #[test]
    fn there_are_so_many_and_the_oldest_go() {
        let buttons = Buttons::default();
        let first = two(&buttons);
        for _ in 0..CHAT_BUTTONS_MAX {
            two(&buttons);
        }
        let pressed = buttons.press("1", &first[0], T);
        assert!(matches!(pressed, Pressed::Unknown(..)), "{pressed:?}");
        assert!(buttons.0.lock().unwrap().all.len() <= CHAT_BUTTONS_MAX);
    }

    #[test]
    fn what_is_remembered_counts_after_a_restart_and_what_was_pressed_does_not() {
        let buttons = Buttons::default();
        let (first, second) = (two(&buttons), two(&buttons));
        means(&buttons, &first[0]);
        let mut kept = BTreeMap::new();
        for memory in buttons.changes() {
            match memory.json {
                Some(json) => kept.insert(memory.name, json),
                None => kept.remove(&memory.name),
            };
        }
        assert!(buttons.changes().is_empty());
        let again = Buttons::of(&kept.into_iter().collect::<Vec<_>>());
        assert!(matches!(
            again.press("1", &first[0], T),
            Pressed::Unknown(..)
        ));
        assert_eq!(means(&again, &second[1]).step, Step::Reject);
        let third = two(&again);
        assert!(matches!(again.press("1", &second[0], T), Pressed::Nothing));
        assert_eq!(means(&again, &third[0]).step, Step::Ask);
    }
}
