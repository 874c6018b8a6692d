//! The one place that mints a [`Permit`]: the executor's last word before hardware moves.
//!
//! Planner, Telegram, desktop, a remote peer: every path to an actuator meets [`rule`], on the node
//! that owns the actuator, with policy evaluated afresh.

use std::collections::BTreeSet;

use crate::domain::base::limits::{ACTUATION_MAX_MS, PERMIT_TTL_MS};
use crate::domain::base::{
    Code, DeviceId, Digest, EvidenceSource, OperatorId, ProposalId, Refusal, Taint, Tier, TimeMs,
};
use crate::domain::capability::Action;
use crate::domain::policy::{Level, Terms};

use super::approval::{Verdict, VerifiedApproval};

/// What is about to be done, as the executor stored it.
#[derive(Debug, Clone, Copy)]
pub struct ExecutionRequest<'a> {
    /// The proposal.
    pub proposal_id: &'a ProposalId,
    /// The digest of its record, computed again from the stored record.
    pub digest: &'a Digest,
    /// The executor named in the record.
    pub executor: &'a DeviceId,
    /// This node.
    pub own: &'a DeviceId,
    /// What would happen.
    pub action: &'a Action,
    /// The level fixed in the record.
    pub level: Level,
    /// How many people the record asks for.
    pub quorum: u32,
    /// How long the record says that it runs, in milliseconds.
    pub run_ms: u64,
    /// Marks fixed in the record.
    pub taint: &'a BTreeSet<Taint>,
    /// Where the evidence in the record comes from.
    pub sources: &'a BTreeSet<EvidenceSource>,
    /// Whether a gen-1 node would act on it: never without a person.
    pub by_gen1: bool,
    /// When the proposal expires.
    pub expires_at: TimeMs,
}

/// What a permit rests on, as the executor has weighed it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grounds {
    /// The weakest tier of the evidence that counted; T3 where a person's word alone stands behind it.
    pub tier: Tier,
    /// The weakest tier that would have counted.
    pub minimum: Tier,
    /// Where it comes from; a person who approved is a source.
    pub sources: BTreeSet<EvidenceSource>,
}

/// Leave to act once: names the action and its limits, expires, and is consumed by use.
#[derive(Debug, PartialEq)]
pub struct Permit {
    proposal_id: ProposalId,
    digest: Digest,
    action: Action,
    safe_state: String,
    run_ms: u64,
    valid_until: TimeMs,
    approved_by: Vec<String>,
    grounds: Grounds,
}

impl Permit {
    /// The proposal it belongs to.
    pub fn proposal_id(&self) -> &ProposalId {
        &self.proposal_id
    }

    /// The digest of that proposal's record.
    pub fn digest(&self) -> &Digest {
        &self.digest
    }

    /// Exactly what may be done.
    pub fn action(&self) -> &Action {
        &self.action
    }

    /// The operation that returns the actuator to its safe state.
    pub fn safe_state(&self) -> &str {
        &self.safe_state
    }

    /// How long the action may last, in milliseconds.
    pub fn run_ms(&self) -> u64 {
        self.run_ms
    }

    /// When the permit lapses unused.
    pub fn valid_until(&self) -> TimeMs {
        self.valid_until
    }

    /// The people who approved, for the audit trail; empty at L1.
    pub fn approved_by(&self) -> &[String] {
        &self.approved_by
    }

    /// What it rests on.
    pub fn grounds(&self) -> &Grounds {
        &self.grounds
    }
}

/// The three answers of the gate.
#[derive(Debug, PartialEq)]
pub enum ActuationRuling {
    /// Act now, once.
    Allow(Permit),
    /// People must approve first.
    NeedsApproval {
        /// How many distinct people.
        required: u32,
        /// How many have.
        have: u32,
    },
    /// Not at all.
    Refuse(Refusal),
}

/// Rules on an execution. `terms` is the policy's answer *now*; `votes` are checked decisions;
/// `clock_trusted` says whether the node's clock is at or after the newest time it has persisted.
pub fn rule(
    request: &ExecutionRequest<'_>,
    terms: &Terms,
    votes: &[VerifiedApproval],
    clock_trusted: bool,
    now: TimeMs,
) -> ActuationRuling {
    let refuse = |code: Code, why: &str| ActuationRuling::Refuse(Refusal::new(code, why));
    if request.executor != request.own {
        return refuse(
            Code::WrongExecutor,
            "the proposal was minted by another executor",
        );
    }
    if !clock_trusted {
        return refuse(
            Code::ClockUntrusted,
            "this node's clock is behind the newest time it has recorded; set it, or stop the node and run `clawmesh-node clock confirm` there if the clock is right",
        );
    }
    if now >= request.expires_at {
        return refuse(Code::ProposalExpired, "the proposal has expired");
    }
    // The stricter of what the record fixed and what the policy says now; taint never below L2, and
    // nothing that a gen-1 node would do.
    let mut level = request.level.max(terms.level);
    if !request.taint.is_empty() || request.by_gen1 {
        level = level.max(Level::L2);
    }
    let required = match level {
        Level::L0 => {
            return refuse(
                Code::PolicyDenied,
                "L0 is read-only and never moves an actuator",
            );
        }
        Level::L1 => 0,
        Level::L2 => terms.quorum.max(request.quorum).max(1),
        // Two people at least, whatever else is written.
        Level::L3 => terms.quorum.max(request.quorum).max(2),
    };
    // A person whose word does not reach this level, for the policy has become stricter since, may
    // still say no.
    let counts = |v: &VerifiedApproval| v.verdict() == Verdict::Reject || v.max_level() >= level;
    let about_this = votes
        .iter()
        .filter(|v| v.digest() == request.digest && counts(v));
    let mut people: BTreeSet<&OperatorId> = BTreeSet::new();
    let mut names = Vec::new();
    for vote in about_this {
        match vote.verdict() {
            Verdict::Reject => {
                return refuse(
                    Code::ProposalNotWaiting,
                    "an operator rejected the proposal",
                );
            }
            Verdict::Approve if people.insert(vote.person()) => names.push(vote.with_key()),
            Verdict::Approve => {}
        }
    }
    let have = u32::try_from(people.len()).unwrap_or(u32::MAX);
    if have < required {
        return ActuationRuling::NeedsApproval { required, have };
    }
    let human = (!names.is_empty()).then_some(EvidenceSource::Human);
    let word = if human.is_some() { Tier::T3 } else { Tier::T0 };
    ActuationRuling::Allow(Permit {
        grounds: Grounds {
            tier: terms.tier.unwrap_or(word),
            minimum: terms.min_tier,
            sources: request.sources.iter().copied().chain(human).collect(),
        },
        proposal_id: request.proposal_id.clone(),
        digest: *request.digest,
        action: request.action.clone(),
        safe_state: terms.safe_state.clone(),
        run_ms: terms
            .run_ms
            .min(request.run_ms)
            .min(terms.deadline_ms)
            .min(ACTUATION_MAX_MS),
        valid_until: now.plus(PERMIT_TTL_MS),
        approved_by: names,
    })
}
