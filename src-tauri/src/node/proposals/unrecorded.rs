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
    /// What was signed, and the signature: a copy with another signature is another decision, and takes
    /// the place of no authentic one.
    refused: BTreeSet<(Digest, Digest)>,
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
        state.refused.insert(key(signed))
    }

    /// Whether this very decision may have been refused before.
    pub fn knows(&self, signed: &SignedDecision) -> bool {
        let state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (bytes, _) = key(signed);
        let same = (bytes, Digest([0; 32]))..=(bytes, Digest([u8::MAX; 32]));
        signed.decision.decided_at <= state.before || state.refused.range(same).next().is_some()
    }

    /// Forgets a decision that is written down now.
    pub fn written(&self, signed: &SignedDecision) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.refused.remove(&key(signed));
    }
}

fn key(signed: &SignedDecision) -> (Digest, Digest) {
    let signature = signed.signature.to_text();
    (approvals::hash(signed), Digest::of(&[signature.as_bytes()]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::base::DeviceId;
    use crate::domain::gate::Decision;
    use crate::domain::gate::approval::Verdict;
    use crate::domain::identity::OperatorKey;

    #[test]
    fn a_copy_with_another_signature_takes_the_place_of_no_authentic_one() {
        let person = OperatorKey::from_seed(&[1; 32]);
        let decision = Decision {
            verdict: Verdict::Approve,
            mesh_id: crate::domain::base::MeshId::of_name("m"),
            executor: DeviceId::of_public_key(&[2; 32]),
            proposal_id: "p".parse().unwrap(),
            digest: Digest([3; 32]),
            operator_id: person.id().clone(),
            decided_at: TimeMs(5),
            note: None,
            channel: None,
            at_node: None,
        };
        let genuine = decision.clone().sign(&person);
        let junk = SignedDecision {
            signature: decision.sign(&OperatorKey::from_seed(&[9; 32])).signature,
            ..genuine.clone()
        };
        let unrecorded = Unrecorded::default();
        assert!(unrecorded.note(&junk, TimeMs(6)));
        assert!(
            unrecorded.note(&genuine, TimeMs(6)),
            "it gets a record of its own"
        );
        assert!(!unrecorded.note(&genuine, TimeMs(6)));
        unrecorded.written(&junk);
        assert!(unrecorded.knows(&genuine));
        unrecorded.written(&genuine);
        assert!(!unrecorded.knows(&genuine));
    }
}
