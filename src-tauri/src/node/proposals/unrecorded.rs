//! Decisions that were refused while nothing could be written: remembered here until they are written
//! down as used, so that the same signed bytes do not act once the disk answers again.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use crate::adapters::store::approvals;
use crate::domain::base::limits::{DECISIONS_UNRECORDED_MAX, SIGNER_AHEAD_MAX_MS};
use crate::domain::base::{Digest, TimeMs};
use crate::domain::gate::SignedDecision;

/// See the module.
#[derive(Debug, Default)]
pub struct Unrecorded(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    refused: BTreeSet<Digest>,
    /// Decisions signed up to here count as refused: there were more than are remembered one by one.
    before: TimeMs,
}

impl Unrecorded {
    /// Remembers a refused decision; whether it is new here and shall be written down.
    pub fn note(&self, signed: &SignedDecision, now: TimeMs) -> bool {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if state.refused.len() >= DECISIONS_UNRECORDED_MAX {
            state.before = now.plus(SIGNER_AHEAD_MAX_MS);
            return false;
        }
        state.refused.insert(approvals::hash(signed))
    }

    /// Whether this very decision may have been refused before.
    pub fn knows(&self, signed: &SignedDecision) -> bool {
        let state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        signed.decision.decided_at <= state.before
            || state.refused.contains(&approvals::hash(signed))
    }

    /// Forgets a decision that is written down now.
    pub fn written(&self, signed: &SignedDecision) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.refused.remove(&approvals::hash(signed));
    }
}
