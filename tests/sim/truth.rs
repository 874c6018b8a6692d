//! What really happened in a world, as nobody in it can know: who signed what, who lied, what was
//! promised. The checks measure the nodes by it.

use std::collections::{BTreeMap, BTreeSet};

use clawmesh::domain::base::{Digest, DraftId, FrameId, OperatorId, ProposalId};
use clawmesh::domain::gate::SignedDecision;
use clawmesh::domain::gate::approval::Verdict;
use clawmesh::domain::proposal::SignedProposal;
use serde_json::Value;

/// See the module.
#[derive(Default)]
pub struct Truth {
    /// Proposals that an executor answered with, and where.
    pub minted: BTreeMap<ProposalId, (usize, SignedProposal)>,
    /// Decisions that the executor itself accepted.
    pub decided: BTreeSet<ProposalId>,
    /// Every decision a person ever signed.
    pub decisions: Vec<SignedDecision>,
    /// Who agreed to what: proposal, its digest, the person.
    pub agreed: BTreeMap<ProposalId, Vec<(Digest, OperatorId)>>,
    /// When a revocation was durable at a node, in virtual milliseconds.
    pub revoked: BTreeMap<(usize, OperatorId), u64>,
    /// Where somebody asked for a revocation; it may or may not have come about.
    pub revoking: BTreeSet<(usize, OperatorId)>,
    /// Revoked at the administrator's node, so that all must hear of it.
    pub revoked_for_all: BTreeSet<OperatorId>,
    /// Wishes that come from a model, whatever they say of themselves.
    pub models: BTreeSet<DraftId>,
    /// Frame ids for which a liar has several contents.
    pub twice: BTreeSet<FrameId>,
    /// What the gen-1 node says next.
    pub upcoming: Option<Value>,
    /// Ids of its frames of which a liar told other contents first.
    pub foretold: BTreeSet<String>,
    /// Proposals whose run was stopped by whoever may.
    pub stopped: BTreeSet<ProposalId>,
    /// What liars did, by kind.
    pub lies: BTreeMap<&'static str, u64>,
    /// What a gen-1 node saw that no node of ours may do to it.
    pub wronged: Vec<String>,
}

impl Truth {
    /// A person has signed.
    pub fn signed(&mut self, signed: &SignedDecision) {
        let decision = &signed.decision;
        if decision.verdict == Verdict::Approve {
            self.agreed
                .entry(decision.proposal_id.clone())
                .or_default()
                .push((decision.digest, decision.operator_id.clone()));
        }
        self.decisions.push(signed.clone());
    }

    /// A liar has done it again.
    pub fn lie(&mut self, kind: &'static str) {
        *self.lies.entry(kind).or_default() += 1;
    }
}
