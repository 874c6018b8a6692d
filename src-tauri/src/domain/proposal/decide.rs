//! A decision on a proposal: whether it counts, and whether the action begins with it. This is where a proposal comes to
//! act, and where it is kept from acting a second time (invariant I6).

use serde_json::json;

use super::case::{Case, Step, Write, nothing};
use super::equal::{Equal, Equals, supersede};
use super::ground::{Ground, rule};
use super::record::{ProposalRecord, SignedProposal};
use super::status::Status;
use crate::domain::base::limits::DECISION_VALID_MS;
use crate::domain::base::{AuditKind, Code, Refusal, TimeMs};
use crate::domain::gate::approval::Verdict;
use crate::domain::gate::{ActuationRuling, Permit, SignedDecision, VerifiedApproval};

/// Whether this very decision was here before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Used {
    /// It was not.
    Never,
    /// It was taken.
    Taken,
    /// It was refused with this code.
    Refused(String),
    /// It may have been refused while the node could write nothing.
    Unrecorded,
}

/// A decision that was checked against the record, and whether it was here before.
#[derive(Debug, Clone, PartialEq)]
pub struct Given<'a> {
    /// As it was signed.
    pub signed: &'a SignedDecision,
    /// As it was checked.
    pub vote: VerifiedApproval,
    /// Whether it was here before.
    pub used: Used,
}

/// What a decision finds.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    /// The proposal.
    pub case: Case,
    /// Its record.
    pub proposal: SignedProposal,
    /// Every decision that stands about it.
    pub stored: Vec<SignedDecision>,
    /// Those of them that hold now, checked: revocations and expiries count.
    pub votes: Vec<VerifiedApproval>,
    /// Standing approvals that are votes too, of which one at most counts, and only where the quorum is short of it.
    pub standing: Vec<VerifiedApproval>,
    /// What stands for and against acting; not looked at where it no longer waits.
    pub ground: Option<Ground>,
    /// The other open proposals for the same action.
    pub equals: Equals,
}

/// Where a proposal stands after a decision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Its status now.
    pub status: Status,
    /// Distinct operators who approved.
    pub approvals: u32,
    /// Distinct operators needed.
    pub required: u32,
    /// Whether this very decision had been taken before, so that nothing changed now.
    pub repeated: bool,
    /// What that means, in a sentence.
    pub detail: String,
}

/// What a decision came to.
#[derive(Debug, PartialEq)]
pub struct Decided {
    /// What is written.
    pub step: Step,
    /// What the person is told.
    pub answer: Answer,
    /// Leave to act, if the action begins once the step is on disk.
    pub permit: Option<Permit>,
}

/// Rules on a decision. An approval that completes the quorum begins the action.
///
/// # Errors
/// One code per fault. The caller writes down that the decision is used up, and nothing else.
pub fn decide(found: &Found, given: &Given<'_>, now: TimeMs) -> Result<Decided, Refusal> {
    let (case, vote) = (&found.case, &given.vote);
    if case.status != Status::AwaitingApproval {
        return repeated(found, vote);
    }
    let used = |why: String| Err(Refusal::new(Code::DecisionUsed, why));
    match &given.used {
        Used::Never => {}
        Used::Taken => return Ok(taken_before(found)),
        Used::Unrecorded => {
            return used("this decision was refused while this node could write nothing, and a decision is used once; decide again".to_owned());
        }
        Used::Refused(code) => {
            return used(format!(
                "this very decision was refused before ({code}), and a decision is used once; decide again"
            ));
        }
    }
    fresh(given, now)?;
    let detail = json!({
        "operator": vote.name(), "operatorId": vote.operator_id(), "person": vote.person(), "digest": vote.digest(),
        "signature": given.signed.signature, "note": given.signed.decision.note, "through": vote.through(), "channel": given.signed.decision.channel.as_ref().map(|given| given.channel.id()), "atNode": vote.is_at_node(),
    });
    let kind = match vote.verdict() {
        Verdict::Approve => AuditKind::DecisionApproved,
        Verdict::Reject => AuditKind::DecisionRejected,
    };
    let mut step = Step::from(Write::Decision { kind, detail });
    if vote.verdict() == Verdict::Reject {
        let why = format!("rejected by {}", vote.with_key());
        step.0
            .push(case.to(Status::Rejected, Some(&why), nothing())?);
        let required = found.proposal.record().quorum;
        return Ok(decided(step, Status::Rejected, (0, required), why, None));
    }
    let ground = found.ground.as_ref().ok_or_else(|| {
        Refusal::new(
            Code::InternalError,
            "what the proposal stands on was not looked at",
        )
    })?;
    let mut votes = votes(found, vote);
    let mut ruling = rule(&found.proposal, ground, &votes, now)?;
    if matches!(ruling, ActuationRuling::NeedsApproval { .. }) && !found.standing.is_empty() {
        votes.extend(found.standing.iter().cloned());
        let with = rule(&found.proposal, ground, &votes, now)?;
        if let ActuationRuling::Allow(_) = with {
            ruling = with;
        }
    }
    match ruling {
        ActuationRuling::Allow(permit) => {
            let have = u32::try_from(permit.approved_by().len()).unwrap_or(u32::MAX);
            let detail = format!(
                "{}; {} starts now",
                approved(&permit),
                permit.action().summary()
            );
            let record = found.proposal.record();
            step.0
                .extend(begin(case, record, &permit, &found.equals, now)?.0);
            let status = Status::Executing;
            Ok(decided(step, status, (have, have), detail, Some(permit)))
        }
        ActuationRuling::NeedsApproval { required, have } => {
            step.0.push(Write::Noticed(case.id.clone()));
            let detail = format!(
                "approved by {}; {have} of {required} persons have agreed, and several keys of one person count once",
                vote.with_key()
            );
            let status = Status::AwaitingApproval;
            Ok(decided(step, status, (have, required), detail, None))
        }
        ActuationRuling::Refuse(refusal) => Err(refusal),
    }
}

/// Writes the act ahead: approved, executing, and the run that policy counts. A proposal that has acted never acts
/// again, wherever it stands; whoever else asks for the same has it now.
///
/// # Errors
/// `PROPOSAL_NOT_WAITING`.
pub fn begin(
    case: &Case,
    record: &ProposalRecord,
    permit: &Permit,
    equals: &Equals,
    now: TimeMs,
) -> Result<Step, Refusal> {
    let (waits, agreed, acts) = (
        Status::AwaitingApproval,
        Status::Approved,
        Status::Executing,
    );
    if case.ran || case.status != waits {
        return Err(case.no_longer(waits));
    }
    let by = json!({"approvedBy": permit.approved_by(), "digest": permit.digest()});
    let detail = json!({"action": permit.action().summary(), "runMs": permit.run_ms(), "safeState": permit.safe_state()});
    // Whoever reads of it while it acts reads that nobody decided about this very action.
    let standing = permit.standing().map(|_| approved(permit));
    let mut writes = vec![
        case.step(waits, agreed, standing.as_deref(), by)?,
        case.step(agreed, acts, None, detail)?,
    ];
    writes.extend(equals.tidy(now)?);
    // What no person agreed to may be stopped at once by its asker, so it ends no wish of a better class.
    let ends = |e: &Equal| !permit.approved_by().is_empty() || Some(e.class) <= equals.class;
    let others = equals.standing.iter();
    let others = others.filter(|e| e.case.id != case.id && ends(e));
    let why = |_| format!("proposal {} does the same now", case.id.short());
    writes.extend(supersede(others, &case.id, why)?);
    writes.extend(permit.standing().map(|used| Write::StandingUse {
        id: case.id.clone(),
        used: used.clone(),
        by: permit.approved_by().join(" and "),
    }));
    writes.push(Write::run(record, permit.run_ms()));
    let steps = permit.kind().steps();
    if !steps.is_empty() {
        writes.push(Write::Steps {
            id: case.id.clone(),
            steps: steps.to_vec(),
        });
    }
    Ok(Step(writes))
}

/// Who approved, in words.
pub fn approved(permit: &Permit) -> String {
    format!("approved by {}", permit.approved_by().join(" and "))
}

/// The votes that hold, with this one in the place of an earlier one of the same operator.
fn votes(found: &Found, vote: &VerifiedApproval) -> Vec<VerifiedApproval> {
    let others = found.votes.iter();
    let others = others.filter(|v| v.operator_id() != vote.operator_id());
    others.chain([vote]).cloned().collect()
}

fn decided(
    step: Step,
    status: Status,
    (approvals, required): (u32, u32),
    detail: String,
    permit: Option<Permit>,
) -> Decided {
    let answer = Answer {
        status,
        approvals,
        required,
        repeated: false,
        detail,
    };
    Decided {
        step,
        answer,
        permit,
    }
}

/// An approval is for now: one that was signed a while ago, and was lost or held back then, must not
/// start anything because somebody delivers it late. This executor's clock counts; one that signs with
/// a clock further ahead than the small allowance is refused before (`gate::approval::verify`).
fn fresh(given: &Given<'_>, now: TimeMs) -> Result<(), Refusal> {
    let age = now.since(given.signed.decision.decided_at);
    match given.vote.verdict() {
        Verdict::Approve if age > DECISION_VALID_MS => Err(Refusal::new(
            Code::ApprovalInvalid,
            format!(
                "the approval was signed {} s ago by the clock of the machine it was signed on; nothing was decided. \
                 Decide again, or set that clock if it is wrong",
                age / 1_000
            ),
        )),
        _ => Ok(()),
    }
}

/// The same decision again: it counts already, and nothing changes.
fn taken_before(found: &Found) -> Decided {
    let approves = |d: &&SignedDecision| d.decision.verdict == Verdict::Approve;
    let have = found.stored.iter().filter(approves).count();
    let have = u32::try_from(have).unwrap_or(u32::MAX);
    let detail = format!(
        "you decided so before; nothing has changed now, {}",
        found.case.how_it_stands()
    );
    let counts = (have, found.proposal.record().quorum);
    let mut decided = decided(Step::default(), found.case.status, counts, detail, None);
    decided.answer.repeated = true;
    decided
}

/// The same decision again is answered with what came of it; another one comes too late.
fn repeated(found: &Found, vote: &VerifiedApproval) -> Result<Decided, Refusal> {
    let same = found.stored.iter().any(|d| {
        d.decision.operator_id == *vote.operator_id() && d.decision.verdict == vote.verdict()
    });
    if same {
        return Ok(taken_before(found));
    }
    Err(Refusal::new(
        Code::ProposalNotWaiting,
        format!(
            "proposal {} can no longer be decided; nothing has changed, {}",
            found.case.id.short(),
            found.case.how_it_stands()
        ),
    ))
}
