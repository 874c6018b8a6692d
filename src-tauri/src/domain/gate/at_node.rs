//! Presence at the node: a code that the executor shows at its own console and nowhere else. A person who approves with it
//! has been there, or has somebody there who read it to them; where the rule says so that stands for the second person of L3.
//!
//! A code is for one proposal and its content, is good for a few minutes, and is used up by the first decision that has it,
//! whatever becomes of that decision. After a few wrong ones none is taken for that proposal any more, and after some more
//! within an hour for none at all. How many were wrong is for the caller to keep over a restart ([`Tries`]).

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::domain::base::limits::{
    AT_NODE_CODES_MAX, AT_NODE_TRIES, AT_NODE_VALID_MS, AT_NODE_WRONG_PER_HOUR,
};
use crate::domain::base::{Code, Digest, ProposalId, Refusal, TimeMs};

/// An hour, in milliseconds.
const HOUR_MS: u64 = 3_600_000;
/// Digits of a code.
const DIGITS: usize = 8;

/// A code: eight digits.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct NodeCode(String);

impl NodeCode {
    /// A code of random bytes, each of 100,000,000 as likely as the next, but for less than one in 10¹¹.
    pub fn of_random(bytes: [u8; 8]) -> Self {
        Self(format!("{:08}", u64::from_be_bytes(bytes) % 100_000_000))
    }

    /// As it is shown: in two groups.
    pub fn shown(&self) -> String {
        let (first, second) = self.0.split_at_checked(DIGITS / 2).unwrap_or_default();
        format!("{first} {second}")
    }
}

impl fmt::Debug for NodeCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NodeCode(…)")
    }
}

impl From<NodeCode> for String {
    fn from(code: NodeCode) -> Self {
        code.0
    }
}

impl TryFrom<String> for NodeCode {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl std::str::FromStr for NodeCode {
    type Err = String;

    /// Reads a code, with or without spaces and hyphens between its digits.
    fn from_str(text: &str) -> Result<Self, String> {
        let between = |c: &char| !matches!(c, ' ' | '-');
        let digits: String = text.chars().filter(between).take(DIGITS + 1).collect();
        match digits.len() == DIGITS && digits.bytes().all(|b| b.is_ascii_digit()) {
            true => Ok(Self(digits)),
            false => Err(format!("the code at the node has {DIGITS} digits")),
        }
    }
}

/// Proof that a decision came with the code of its proposal. Only [`Codes::take`] makes one.
#[derive(Debug)]
pub struct AtNode {
    digest: Digest,
}

impl AtNode {
    /// The content of the proposal that it is about.
    pub fn digest(&self) -> &Digest {
        &self.digest
    }
}

#[derive(Debug)]
struct Shown {
    digest: Digest,
    code: NodeCode,
    until: TimeMs,
}

/// The wrong codes that were given.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Tries {
    /// How many for each proposal that waits.
    wrong: BTreeMap<ProposalId, u32>,
    /// When the last ones were given, for whatever proposal.
    lately: VecDeque<TimeMs>,
}

impl Tries {
    fn used_up(&self, id: &ProposalId) -> bool {
        self.wrong.get(id).is_some_and(|n| *n >= AT_NODE_TRIES)
    }

    /// Whether so many were wrong within the last hour that none is taken now. A time ahead of now counts: the clock was set back.
    pub fn too_many(&self, now: TimeMs) -> bool {
        let lately = |at: &&TimeMs| now.since(**at) < HOUR_MS;
        self.lately.iter().filter(lately).count() >= AT_NODE_WRONG_PER_HOUR
    }

    fn note(&mut self, id: &ProposalId, now: TimeMs) -> u32 {
        self.lately.push_back(now);
        let surplus = self.lately.len().saturating_sub(AT_NODE_WRONG_PER_HOUR);
        self.lately.drain(..surplus);
        let wrong = self.wrong.entry(id.clone()).or_default();
        *wrong += 1;
        *wrong
    }
}

/// The codes that are shown now.
#[derive(Debug, Default)]
pub struct Codes {
    shown: BTreeMap<ProposalId, Shown>,
    tries: Tries,
}

impl Codes {
    /// Takes up the wrong codes that were given before.
    pub fn tried(&mut self, before: Tries) {
        self.tries = before;
    }

    /// The wrong codes that were given.
    pub fn tries(&self) -> &Tries {
        &self.tries
    }

    /// Forgets the code of every proposal that is not among these.
    pub fn keep(&mut self, with_code: &[(ProposalId, Digest)]) {
        self.shown
            .retain(|id, shown| with_code.contains(&(id.clone(), shown.digest)));
    }

    /// Forgets the tries of every proposal that does not wait any more.
    pub fn forget_but(&mut self, waiting: &BTreeSet<ProposalId>) {
        self.tries.wrong.retain(|id, _| waiting.contains(id));
    }

    /// The code of this proposal is not shown after all.
    pub fn hide(&mut self, id: &ProposalId) {
        self.shown.remove(id);
    }

    /// Those of these proposals that need a new code: they have none, it was used, or it is old. The first
    /// [`AT_NODE_CODES_MAX`] have one, without those for which too many were wrong.
    pub fn due(&self, waiting: &[(ProposalId, Digest)], now: TimeMs) -> Vec<(ProposalId, Digest)> {
        let due = |(id, _): &&(ProposalId, Digest)| {
            self.shown.get(id).is_none_or(|shown| now >= shown.until)
        };
        let open = waiting.iter().filter(|(id, _)| !self.tries.used_up(id));
        let first = open.take(AT_NODE_CODES_MAX);
        first.filter(due).cloned().collect()
    }

    /// Takes a code that is going to be shown.
    pub fn show(&mut self, id: ProposalId, digest: Digest, code: NodeCode, now: TimeMs) {
        let until = now.plus(AT_NODE_VALID_MS);
        self.shown.insert(
            id,
            Shown {
                digest,
                code,
                until,
            },
        );
    }

    /// The proof that this is the code of the proposal, which is used up by it.
    ///
    /// # Errors
    /// `APPROVAL_INVALID` if none is shown, it is not the one, or too many were wrong.
    pub fn take(
        &mut self,
        id: &ProposalId,
        digest: &Digest,
        code: &NodeCode,
        now: TimeMs,
    ) -> Result<AtNode, Refusal> {
        let no = |why: String| Err(Refusal::new(Code::ApprovalInvalid, why));
        if self.tries.used_up(id) {
            return no(format!(
                "{AT_NODE_TRIES} wrong codes were given for this proposal, so no code is taken for it any more; two persons decide about it"
            ));
        }
        if self.tries.too_many(now) {
            return no(format!(
                "{AT_NODE_WRONG_PER_HOUR} wrong codes were given at this node within an hour, so none is taken now; two persons decide"
            ));
        }
        let shown = self.shown.get(id).filter(|shown| shown.digest == *digest);
        let Some(shown) = shown.filter(|shown| now < shown.until) else {
            return no("no code is shown at the executor for this proposal now: look there for the present one. There is none where the \
                 rule does not say `at_node = true`, the executor has no `code_display`, or other proposals have the places for codes; then \
                 decide without one, and another person after you"
                .to_owned());
        };
        if shown.code != *code {
            let wrong = self.tries.note(id, now);
            let left = AT_NODE_TRIES.saturating_sub(wrong);
            return no(format!(
                "this is not the code that the node shows for this proposal; {left} more tries"
            ));
        }
        self.shown.remove(id);
        Ok(AtNode { digest: *digest })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn proposal(n: u8) -> (ProposalId, Digest) {
        (format!("{n:032x}").parse().unwrap(), Digest([n; 32]))
    }

    fn code(n: u64) -> NodeCode {
        NodeCode::of_random(n.to_be_bytes())
    }

    #[test]
    fn a_code_is_for_one_proposal_once_and_for_a_while() {
        let ((id, digest), (other, _)) = (proposal(1), proposal(2));
        let mut codes = Codes::default();
        let now = TimeMs(1_000);
        let refused = |codes: &mut Codes, id: &ProposalId, digest: &Digest, n: u64, at: TimeMs| {
            let refusal = codes.take(id, digest, &code(n), at).unwrap_err();
            assert_eq!(refusal.code, Code::ApprovalInvalid);
            refusal.message
        };
        assert!(refused(&mut codes, &id, &digest, 7, now).contains("no code is shown"));
        codes.show(id.clone(), digest, code(7), now);
        codes.show(other.clone(), Digest([2; 32]), code(8), now);
        assert!(refused(&mut codes, &id, &Digest([2; 32]), 7, now).contains("no code is shown"));
        assert!(refused(&mut codes, &other, &Digest([2; 32]), 7, now).contains("not the code"));
        let late = now.plus(AT_NODE_VALID_MS);
        assert!(refused(&mut codes, &id, &digest, 7, late).contains("no code is shown"));
        let last = TimeMs(late.0 - 1);
        assert_eq!(
            codes.take(&id, &digest, &code(7), last).unwrap().digest(),
            &digest
        );
        assert!(refused(&mut codes, &id, &digest, 7, last).contains("no code is shown"));
    }

    #[test]
    fn one_that_could_not_be_shown_is_not_taken_and_is_due_again() {
        let ((id, digest), (other, others)) = (proposal(1), proposal(2));
        let (mut codes, now) = (Codes::default(), TimeMs(1_000));
        codes.show(id.clone(), digest, code(7), now);
        codes.show(other.clone(), others, code(8), now);
        codes.hide(&id);
        let waiting = [(id.clone(), digest), (other.clone(), others)];
        assert_eq!(codes.due(&waiting, now), waiting[..1]);
        assert!(codes.take(&id, &digest, &code(7), now).is_err());
        assert!(codes.take(&other, &others, &code(8), now).is_ok());
    }

    #[test]
    fn after_a_few_wrong_ones_no_code_is_taken_not_even_a_new_one() {
        let (id, digest) = proposal(1);
        let mut codes = Codes::default();
        let now = TimeMs(1_000);
        codes.show(id.clone(), digest, code(7), now);
        for left in (0..AT_NODE_TRIES).rev() {
            let refusal = codes.take(&id, &digest, &code(8), now).unwrap_err();
            assert!(
                refusal.message.contains(&format!("{left} more tries")),
                "{refusal}"
            );
        }
        assert!(codes.take(&id, &digest, &code(7), now).is_err());
        codes.show(id.clone(), digest, code(9), now);
        assert!(codes.take(&id, &digest, &code(9), now).is_err());
        let mut waiting = vec![(id.clone(), digest)];
        assert!(codes.due(&waiting, now.plus(AT_NODE_VALID_MS)).is_empty());
        // It takes no place from the others, and a restart forgets nothing.
        waiting.extend(
            (2..2 + AT_NODE_CODES_MAX)
                .filter_map(|n| u8::try_from(n).ok())
                .map(proposal),
        );
        assert_eq!(codes.due(&waiting, now), waiting[1..]);
        let kept = serde_json::to_string(codes.tries()).unwrap();
        let mut later = Codes::default();
        later.tried(serde_json::from_str(&kept).unwrap());
        later.forget_but(&[id.clone()].into());
        later.show(id.clone(), digest, code(9), now);
        assert!(later.take(&id, &digest, &code(9), now).is_err());
        later.forget_but(&BTreeSet::new());
        assert!(
            later.take(&id, &digest, &code(9), now).is_ok(),
            "it is another one"
        );
    }

    #[test]
    fn after_many_wrong_ones_none_is_taken_for_an_hour_whatever_the_proposal() {
        let mut codes = Codes::default();
        let now = TimeMs(HOUR_MS);
        let mut wrong = 0;
        for n in 1.. {
            let (id, digest) = proposal(n);
            codes.show(id.clone(), digest, code(7), now);
            // One less than what uses up a proposal.
            for _ in 1..AT_NODE_TRIES {
                if wrong == AT_NODE_WRONG_PER_HOUR {
                    break;
                }
                assert!(codes.take(&id, &digest, &code(8), now).is_err());
                wrong += 1;
            }
            if wrong == AT_NODE_WRONG_PER_HOUR {
                break;
            }
        }
        let (id, digest) = proposal(200);
        codes.show(id.clone(), digest, code(7), now);
        assert!(codes.tries().too_many(now));
        let refused = codes.take(&id, &digest, &code(7), now).unwrap_err();
        assert!(refused.message.contains("within an hour"), "{refused}");
        // A clock that is set back ends it no sooner.
        let back = TimeMs(1);
        assert!(codes.take(&id, &digest, &code(7), back).is_err());
        let later = now.plus(HOUR_MS);
        codes.show(id.clone(), digest, code(7), later);
        assert!(codes.take(&id, &digest, &code(7), later).is_ok());
    }

    #[test]
    fn a_new_code_is_due_where_there_is_none_or_it_was_used_or_is_old() {
        let mut codes = Codes::default();
        let now = TimeMs(1_000);
        let waiting: Vec<_> = (0..=AT_NODE_CODES_MAX)
            .filter_map(|n| u8::try_from(n).ok())
            .map(proposal)
            .collect();
        let due = codes.due(&waiting, now);
        assert_eq!(due, waiting[..AT_NODE_CODES_MAX], "the last finds no room");
        for (id, digest) in due {
            codes.show(id, digest, code(7), now);
        }
        assert!(codes.due(&waiting, now).is_empty());
        let (id, digest) = &waiting[3];
        codes.take(id, digest, &code(7), now).unwrap();
        assert_eq!(codes.due(&waiting, now), waiting[3..4]);
        assert_eq!(
            codes.due(&waiting, now.plus(AT_NODE_VALID_MS)).len(),
            AT_NODE_CODES_MAX
        );
        codes.keep(&waiting[5..]);
        assert_eq!(codes.due(&waiting[..5], now), waiting[..5]);
    }

    #[test]
    fn a_code_reads_as_people_write_it_and_is_in_no_log() {
        let read = |text: &str| text.parse::<NodeCode>();
        let shown = code(12_345_678);
        assert_eq!(shown.shown(), "1234 5678");
        for text in ["12345678", "1234 5678", " 1234-5678 "] {
            assert_eq!(read(text).unwrap(), shown);
        }
        for text in ["", "1234567", "123456789", "1234567a", "１２３４５６７８"] {
            assert!(read(text).is_err(), "{text}");
        }
        assert_eq!(code(5).shown(), "0000 0005");
        assert!(!format!("{shown:?}").contains("1234"));
    }
}
