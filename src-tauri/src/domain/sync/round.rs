//! One side's next word in a reconciliation.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use negentropy::{Id, Negentropy};

use super::{FrameKey, KeySet};
use crate::domain::base::TimeMs;
use crate::domain::base::limits::{RECONCILE_MESSAGE_BYTES, RECONCILE_ROUNDS_MAX};

/// Why a reconciliation cannot go on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SyncError {
    /// A message that is none.
    #[error("a reconciliation message cannot be read: {0}")]
    Unreadable(String),
    /// More rounds than any honest difference needs.
    #[error("the reconciliation did not end after {RECONCILE_ROUNDS_MAX} rounds")]
    Endless,
}

fn unreadable(error: impl std::fmt::Display) -> SyncError {
    SyncError::Unreadable(error.to_string())
}

fn limit() -> u64 {
    u64::try_from(RECONCILE_MESSAGE_BYTES).unwrap_or(u64::MAX)
}

/// The result of a reconciliation so far.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Differences {
    /// Ours that the other side lacks.
    pub have: Vec<FrameKey>,
    /// The other side's that we lack.
    pub need: Vec<FrameKey>,
}

impl Differences {
    /// Whether both sides hold the same.
    pub fn is_empty(&self) -> bool {
        self.have.is_empty() && self.need.is_empty()
    }
}

/// The side that began. It learns both differences; the other side only answers.
#[derive(Debug)]
pub struct Initiator {
    since: TimeMs,
    rounds: u32,
    found: Differences,
}

impl Initiator {
    /// Begins over what is newer than `since`; returns the first message.
    ///
    /// # Errors
    /// [`SyncError`] if the set cannot be walked, which is a fault in the program.
    pub fn begin(set: &KeySet, since: TimeMs) -> Result<(Self, String), SyncError> {
        let mut side = Negentropy::owned(set.newer_than(since), limit()).map_err(unreadable)?;
        let first = side.initiate().map_err(unreadable)?;
        let initiator = Self {
            since,
            rounds: 0,
            found: Differences::default(),
        };
        Ok((initiator, URL_SAFE_NO_PAD.encode(first)))
    }

    /// Takes an answer; returns the next message, or `None` at the end.
    ///
    /// # Errors
    /// [`SyncError`]; the reconciliation is then over.
    pub fn hear(&mut self, set: &KeySet, answer: &str) -> Result<Option<String>, SyncError> {
        self.rounds += 1;
        if self.rounds > RECONCILE_ROUNDS_MAX {
            return Err(SyncError::Endless);
        }
        let answer = URL_SAFE_NO_PAD.decode(answer).map_err(unreadable)?;
        let mut side =
            Negentropy::owned(set.newer_than(self.since), limit()).map_err(unreadable)?;
        side.set_initiator();
        let (mut have, mut need) = (Vec::new(), Vec::new());
        let next = side
            .reconcile_with_ids(&answer, &mut have, &mut need)
            .map_err(unreadable)?;
        self.found.have.extend(have.into_iter().map(key));
        self.found.need.extend(need.into_iter().map(key));
        Ok(next.map(|message| URL_SAFE_NO_PAD.encode(message)))
    }

    /// Rounds so far.
    pub fn rounds(&self) -> u32 {
        self.rounds
    }

    /// How many differences are known so far that count.
    pub fn found(&self, counts: impl Fn(&FrameKey) -> bool) -> usize {
        let both = self.found.have.iter().chain(&self.found.need);
        both.filter(|key| counts(key)).count()
    }

    /// The differences, in a fixed order and each once.
    pub fn end(mut self) -> Differences {
        for list in [&mut self.found.have, &mut self.found.need] {
            list.sort_unstable();
            list.dedup();
        }
        self.found
    }
}

fn key(id: Id) -> FrameKey {
    FrameKey(id.to_bytes())
}

/// The answer to a message of the side that began, over what is newer than `since`.
///
/// # Errors
/// [`SyncError::Unreadable`].
pub fn answer(set: &KeySet, since: TimeMs, message: &str) -> Result<String, SyncError> {
    let message = URL_SAFE_NO_PAD.decode(message).map_err(unreadable)?;
    let mut side = Negentropy::owned(set.newer_than(since), limit()).map_err(unreadable)?;
    let answer = side.reconcile(&message).map_err(unreadable)?;
    Ok(URL_SAFE_NO_PAD.encode(answer))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::base::Digest;
    use crate::domain::sync::Keyed;

    fn keyed(n: u64) -> Keyed {
        Keyed {
            at: TimeMs(n / 3),
            key: FrameKey(Digest::of(&[&n.to_be_bytes()]).0),
        }
    }

    fn set(of: impl IntoIterator<Item = u64>) -> KeySet {
        let mut set = KeySet::default();
        set.extend(of.into_iter().map(keyed));
        set
    }

    fn run(ours: &KeySet, theirs: &KeySet, since: TimeMs) -> (Differences, u32, usize) {
        let (mut side, mut message) = Initiator::begin(ours, since).unwrap();
        let mut bytes = 0;
        loop {
            bytes += message.len();
            let reply = answer(theirs, since, &message).unwrap();
            bytes += reply.len();
            match side.hear(ours, &reply).unwrap() {
                Some(next) => message = next,
                None => {
                    let rounds = side.rounds();
                    return (side.end(), rounds, bytes);
                }
            }
        }
    }

    fn keys(of: impl IntoIterator<Item = u64>) -> Vec<FrameKey> {
        let mut keys: Vec<_> = of.into_iter().map(|n| keyed(n).key).collect();
        keys.sort_unstable();
        keys
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn both_sides_learn_exactly_what_differs(
            ours in proptest::collection::btree_set(0u64..2_000, 0..400),
            theirs in proptest::collection::btree_set(0u64..2_000, 0..400),
            since in 0u64..700,
        ) {
            let newer = |n: &&u64| since == 0 || *n / 3 > since;
            let (found, _, _) = run(&set(ours.clone()), &set(theirs.clone()), TimeMs(since));
            prop_assert_eq!(found.have, keys(ours.difference(&theirs).filter(newer).copied()));
            prop_assert_eq!(found.need, keys(theirs.difference(&ours).filter(newer).copied()));
        }

        #[test]
        fn no_message_makes_an_answer_panic(message in "[A-Za-z0-9_-]{0,300}", known in 0u64..100) {
            let held = set(0..known);
            let _ = answer(&held, TimeMs(0), &message);
            let (mut side, _) = Initiator::begin(&held, TimeMs(0)).unwrap();
            let _ = side.hear(&held, &message);
        }
    }

    #[test]
    fn one_missing_among_many_costs_little() {
        let (all, but_one) = (set(0..20_000), set((0..20_000).filter(|n| *n != 7_000)));
        let (found, rounds, bytes) = run(&but_one, &all, TimeMs(0));
        assert_eq!(found.need, keys([7_000]));
        assert!(
            found.have.is_empty() && rounds <= 4 && bytes < 6_000,
            "{rounds} {bytes}"
        );
    }

    #[test]
    fn an_answer_that_never_ends_is_given_up() {
        let held = set(0..1_000);
        let (mut side, first) = Initiator::begin(&held, TimeMs(0)).unwrap();
        // A liar whose every range differs: it answers as if it held something else each time.
        let mut message = first;
        for n in 0.. {
            let lie = set((0..500).map(|k| 10_000 + k + n * 1_000));
            let reply = answer(&lie, TimeMs(0), &message).unwrap();
            match side.hear(&held, &reply) {
                Ok(Some(next)) => message = next,
                Ok(None) => break,
                Err(error) => {
                    assert_eq!(error, SyncError::Endless);
                    break;
                }
            }
            assert!(n < 200, "neither an end nor a refusal");
        }
    }
}
