//! The one place that mints a [`Permit`], and an [`Act`] of it: the executor's last word before hardware moves.
//!
//! Planner, Telegram, desktop, a remote peer: every path to an actuator meets [`rule`], on the node
//! that owns the actuator, with policy evaluated afresh.

mod steps;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use crate::domain::base::limits::PERMIT_TTL_MS;
use crate::domain::base::{
    Code, DeviceId, Digest, EvidenceSource, OperatorId, ProposalId, Refusal, Taint, Tier, TimeMs,
};
use crate::domain::capability::Action;
use crate::domain::policy::{Kind, Level, Terms};

use super::approval::{Verdict, VerifiedApproval};
use super::lease::Entitled;
use super::standing_approval::StandingUse;
pub use steps::Steps;

/// The action to execute, as the executor stored it.
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
    /// The device that asked for it.
    pub asked_by: &'a DeviceId,
    /// The action.
    pub action: &'a Action,
    /// The level fixed in the record.
    pub level: Level,
    /// How many people the record asks for.
    pub quorum: u32,
    /// Whether the record says that the code shown at this node stands for one of two.
    pub at_node: bool,
    /// How long the record says that it runs, in milliseconds.
    pub run_ms: u64,
    /// Marks fixed in the record.
    pub taint: &'a BTreeSet<Taint>,
    /// Where the evidence in the record comes from.
    pub sources: &'a BTreeSet<EvidenceSource>,
    /// Whether a gen-1 node would act on it: never without a person.
    pub by_gen1: bool,
    /// The setting in force, against which the policy judged it, where it takes the place of one.
    pub replaces: Option<&'a ProposalId>,
    /// When the proposal expires.
    pub expires_at: TimeMs,
}

/// The grounds of a permit, as the executor has weighed them.
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
    kind: Kind,
    kept_from: Entitled,
    replaces: Option<ProposalId>,
    run_ms: u64,
    valid_until: TimeMs,
    by: Box<By>,
    grounds: Grounds,
}

/// Who approved.
#[derive(Debug, PartialEq)]
struct By {
    names: Vec<String>,
    standing: Option<StandingUse>,
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

    /// How the action lasts and what ends it.
    pub fn kind(&self) -> &Kind {
        &self.kind
    }

    /// From where a held action may be kept.
    pub fn kept_from(&self) -> &Entitled {
        &self.kept_from
    }

    /// The setting that it takes the place of; without one it begins from the safe state alone.
    pub fn replaces(&self) -> Option<&ProposalId> {
        self.replaces.as_ref()
    }

    /// How long the action may last, in milliseconds.
    pub fn run_ms(&self) -> u64 {
        self.run_ms
    }

    /// Whether the action is the way to the safe state itself.
    pub fn ends_safe(&self) -> bool {
        self.action.operation == self.safe_state
    }

    /// The people who approved, for the audit trail; empty at L1.
    pub fn approved_by(&self) -> &[String] {
        &self.by.names
    }

    /// The use of a standing approval that it rests on, where it does.
    pub fn standing(&self) -> Option<&StandingUse> {
        self.by.standing.as_ref()
    }

    /// Uses the permit: the act by which the actuator's driver is moved, or `None` where the permit has lapsed.
    /// It is valid for [`PERMIT_TTL_MS`], and no longer than the action may last, both by the node's clock
    /// (`now`) and by the boot clock (`waited_ms` since it was given). The safe operation, which lasts no time, and a
    /// pulse, whose time counts from when its driver is told, are only bounded by the former.
    pub fn consume(self, now: TimeMs, waited_ms: u64) -> Option<Act> {
        let most = match self.ends_safe() || self.kind == Kind::Pulse {
            true => PERMIT_TTL_MS,
            false => PERMIT_TTL_MS.min(self.run_ms),
        };
        let lapsed = now > self.valid_until || waited_ms > most;
        // That of a sequence moves nothing: its steps have their own.
        let is_sequence = matches!(self.kind, Kind::Sequence { .. });
        (!lapsed && !is_sequence).then_some(Act { permit: self })
    }
}

/// A permit in use, which a driver takes to move its actuator. Only [`Permit::consume`] makes one, and it is
/// neither copied nor read from anywhere, so one permit moves an actuator once. The way back to the safe state
/// needs none.
///
/// ```
/// # use clawmesh::domain::{base::TimeMs, gate::{Act, Permit}};
/// fn operate(permit: Permit, moves: impl Fn(Act)) {
///     if let Some(act) = permit.consume(TimeMs(0), 0) {
///         moves(act);
///     }
/// }
/// ```
///
/// It moves an actuator once:
///
/// ```compile_fail,E0382
/// # use clawmesh::domain::{base::TimeMs, gate::{Act, Permit}};
/// fn operate(permit: Permit, moves: impl Fn(Act)) {
///     if let Some(act) = permit.consume(TimeMs(0), 0) {
///         moves(act);
///         moves(act);
///     }
/// }
/// ```
///
/// A permit is used once:
///
/// ```compile_fail,E0382
/// # use clawmesh::domain::{base::TimeMs, gate::{Act, Permit}};
/// fn operate(permit: Permit, moves: impl Fn(Act)) {
///     permit.consume(TimeMs(0), 0).map(&moves);
///     permit.consume(TimeMs(0), 0).map(&moves);
/// }
/// ```
///
/// No other code makes one:
///
/// ```compile_fail,E0451
/// # use clawmesh::domain::{base::TimeMs, gate::{Act, Permit}};
/// fn operate(permit: Permit, moves: impl Fn(Act)) {
///     moves(Act { permit });
/// }
/// ```
#[derive(Debug)]
pub struct Act {
    permit: Permit,
}

impl Act {
    /// The proposal it belongs to.
    pub fn proposal_id(&self) -> &ProposalId {
        &self.permit.proposal_id
    }

    /// Exactly what is done.
    pub fn action(&self) -> &Action {
        &self.permit.action
    }

    /// The people who approved; empty at L1.
    pub fn approved_by(&self) -> &[String] {
        self.permit.approved_by()
    }

    /// The longest that it may last, in milliseconds.
    pub fn run_ms(&self) -> u64 {
        self.permit.run_ms
    }

    /// Its grounds.
    pub fn grounds(&self) -> &Grounds {
        &self.permit.grounds
    }
}

/// An act for the tests of drivers, by the gate and a rule that needs no approval.
#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
pub(crate) fn act_of(action: Action, proposal: &str) -> Act {
    use crate::domain::policy::Class;
    let own = DeviceId::of_public_key(&[1; 32]);
    let request = ExecutionRequest {
        proposal_id: &proposal.parse().unwrap(),
        digest: &Digest([0; 32]),
        executor: &own,
        own: &own,
        asked_by: &own,
        action: &action,
        level: Level::L1,
        quorum: 0,
        at_node: false,
        run_ms: 1_000,
        taint: &BTreeSet::new(),
        sources: &BTreeSet::from([EvidenceSource::Sensor]),
        by_gen1: false,
        replaces: None,
        expires_at: TimeMs(1_000),
    };
    let terms = Terms {
        rule: "test".into(),
        class: Class::OwnRules,
        level: Level::L1,
        quorum: 0,
        at_node: false,
        kind: Kind::Timed,
        deadline_ms: 1_000,
        run_ms: 1_000,
        safe_state: "close".into(),
        fresh_for_ms: None,
        tier: Some(Tier::T2),
        min_tier: Tier::T2,
        standing: Err("no".into()),
        checks: Vec::new(),
    };
    match rule(&request, &terms, &[], true, TimeMs(5)) {
        ActuationRuling::Allow(permit) => permit.consume(TimeMs(5), 0).unwrap(),
        other => panic!("it is automatic: {other:?}"),
    }
}

/// Whether an action may begin that takes the place of a setting, or of none, while another one, or none, is in force: the
/// policy judged the step from that very setting, and from no other.
///
/// # Errors
/// Why not, in a sentence.
pub fn takes_place(
    replaces: Option<&ProposalId>,
    in_force: Option<&ProposalId>,
) -> Result<(), String> {
    match (replaces, in_force) {
        (Some(before), now) if now != Some(before) => Err(format!(
            "it was to take the place of the setting of proposal {}, which is not in force; it was not told",
            before.short()
        )),
        (None, Some(_)) => Err("it was to begin from the safe state; it was not told".to_owned()),
        _ => Ok(()),
    }
}

/// The three answers of the gate.
#[derive(Debug, PartialEq)]
#[allow(
    clippy::large_enum_variant,
    reason = "one is made for an action, and moved on at once"
)]
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
        // At least two people, whatever the terms.
        Level::L3 => terms.quorum.max(request.quorum).max(2),
    };
    // A standing approval counts only as the policy allows, at L2, and for nothing that a model or a gen-1 node has a part
    // in.
    let no_models = request.taint.is_empty() && !request.sources.contains(&EvidenceSource::Llm);
    let stands = level == Level::L2 && no_models && !request.by_gen1 && terms.standing.is_ok();
    // A person whose word does not reach this level, for the policy has become stricter since, may
    // still say no.
    let counts = |v: &VerifiedApproval| match (v.verdict(), v.by_standing()) {
        (Verdict::Reject, _) => true,
        (Verdict::Approve, None) => v.max_level() >= level,
        (Verdict::Approve, Some(_)) => stands,
    };
    let about_this = votes
        .iter()
        .filter(|v| v.digest() == request.digest && counts(v));
    let mut people: BTreeSet<&OperatorId> = BTreeSet::new();
    let mut names = Vec::new();
    let mut standing: Option<StandingUse> = None;
    let mut at_node = false;
    for vote in about_this {
        match vote.verdict() {
            Verdict::Reject => {
                return refuse(
                    Code::ProposalNotWaiting,
                    "an operator rejected the proposal",
                );
            }
            // One at most: where several persons must agree, the others decide about this very action.
            Verdict::Approve if vote.by_standing().is_some() && standing.is_some() => {}
            Verdict::Approve if people.insert(vote.person()) => {
                names.push(vote.with_key());
                at_node |= vote.is_at_node();
                standing = standing.or(vote.by_standing().cloned());
            }
            Verdict::Approve => {}
        }
    }
    let have = u32::try_from(people.len()).unwrap_or(u32::MAX);
    // A person at the node stands for the second of two at L3, where the record and the policy of now say so.
    let one_may_do = level == Level::L3 && required == 2 && request.at_node && terms.at_node;
    if have < required && !(one_may_do && have == 1 && at_node) {
        return ActuationRuling::NeedsApproval { required, have };
    }
    let marked = !request.taint.is_empty() || request.sources.contains(&EvidenceSource::Llm);
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
        kind: terms.kind.clone(),
        kept_from: Entitled::of(terms.class, marked, request.asked_by),
        replaces: request.replaces.cloned(),
        run_ms: terms
            .run_ms
            .min(request.run_ms)
            .min(terms.deadline_ms)
            .min(terms.kind.most_ms()),
        valid_until: now.plus(PERMIT_TTL_MS),
        by: Box::new(By { names, standing }),
    })
}
