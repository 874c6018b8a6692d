//! Decisions: a person's signed yes or no, checked against the stored record.

use rusqlite::Connection;
use serde_json::json;

use super::{Standing, equal, execute, ground, open, standing_approvals, votes, write};
use crate::adapters::store::{StoreError, approvals, cases, operators, proposals};
use crate::domain::admission::budget::Cause;
use crate::domain::base::{AuditKind, Code, ProposalId, Refusal, TimeMs};
use crate::domain::gate::SignedDecision;
use crate::domain::gate::approval::Verdict;
use crate::domain::proposal::case::Case;
use crate::domain::proposal::decide::{self as rules, Answer, Found, Given, Used};
use crate::domain::proposal::equal::Equals;
use crate::domain::proposal::{SignedProposal, Status, end};
use crate::node::context::{DURABLE, store_refusal};
use crate::node::context::{Event, Severity};
use crate::node::guards::Run;
use crate::node::health;
use crate::node::proposals::Executor;

/// What became of a decision that reached its proposal.
enum Taken {
    /// It counts.
    Counted(Standing),
    /// It was refused, on record.
    Refused(Refusal),
}

/// Takes a decision. An approval that completes the quorum starts the action; the answer is given
/// once everything is on disk.
///
/// # Errors
/// One code per fault. A refused decision is used up: the same signed bytes never act later. A person
/// can decide again, for example when an interlock has closed.
pub async fn decide(executor: &Executor, signed: SignedDecision) -> Result<Standing, Refusal> {
    decide_of(executor, Cause::Own, signed).await
}

/// Takes a decision that came on somebody's account; see [`decide`].
///
/// # Errors
/// As [`decide`].
#[tracing::instrument(name = "proposal", skip_all, fields(id = %signed.decision.proposal_id.short()))]
pub async fn decide_of(
    executor: &Executor,
    cause: Cause,
    signed: SignedDecision,
) -> Result<Standing, Refusal> {
    // A disk that does not answer is not waited for, and does not let the decision act when it does.
    if let Err(error) = health::check_store(executor) {
        not_recorded(executor, &signed);
        return Err(store_refusal(&error));
    }
    let s = executor.clone();
    let copy = signed.clone();
    let work = move |conn: &Connection| take(&s, conn, &copy);
    let result = execute::write_and_start(executor, "decide", work).await;
    let id = signed.decision.proposal_id.clone();
    let taken = result.unwrap_or_else(|error| {
        not_recorded(executor, &signed);
        Taken::Refused(store_refusal(&error))
    });
    match taken {
        Taken::Counted(standing) => {
            // What a person signed is this node's news; the same bytes again are their bearer's.
            let cause = match standing.repeated {
                true => cause,
                false => Cause::Own,
            };
            executor.proposals_changed();
            let data = json!({"proposalId": id, "status": standing.status, "operatorId": signed.decision.operator_id});
            let message = format!("Proposal {}: {}", id.short(), standing.detail);
            executor
                .journal
                .caused(
                    cause,
                    Event::ProposalDecided,
                    Severity::Info,
                    &message,
                    data,
                )
                .await;
            Ok(standing)
        }
        Taken::Refused(refusal) => {
            executor.at_node.refused();
            executor
                .journal
                .refused_of(cause, Event::DecisionRefused, id.as_str(), &refusal)
                .await;
            Err(refusal)
        }
    }
}

/// Remembers a decision that is refused because nothing can be written, and writes down that it is used
/// as soon as that is possible.
fn not_recorded(executor: &Executor, signed: &SignedDecision) {
    if !executor.unrecorded.note(signed, executor.now()) {
        return;
    }
    let (s, signed) = (executor.clone(), signed.clone());
    executor
        .tasks
        .passing("refused decision's record", async move {
            let (copy, now) = (signed.clone(), s.now());
            let work = move |conn: &Connection| match authentic(conn, &copy)? {
                true => approvals::mark_used(conn, &copy, Some(Code::StorageFailed), now),
                false => Ok(()),
            };
            // Until it is on disk it stays remembered.
            if s.store.write(DURABLE, "decision used", work).await.is_ok() {
                s.unrecorded.written(&signed);
            }
        });
}

/// Tries a decision; where it is refused, takes back whatever the attempt wrote and writes down, in the
/// same transaction, that it is used up and why.
fn take(
    executor: &Executor,
    conn: &Connection,
    signed: &SignedDecision,
) -> Result<(Taken, Option<Run>), StoreError> {
    conn.execute_batch("SAVEPOINT decision")?;
    match decide_in(executor, conn, signed) {
        Ok((standing, run)) => {
            conn.execute_batch("RELEASE decision")?;
            Ok((Taken::Counted(standing), run))
        }
        Err(StoreError::Refused(refusal)) => {
            conn.execute_batch("ROLLBACK TO decision; RELEASE decision")?;
            let decision = &signed.decision;
            let news = authentic(conn, signed)? && approvals::used(conn, signed)?.is_none();
            if news {
                if decision.at_node.is_some() {
                    executor.at_node.write_tries(conn)?;
                }
                match approvals::mark_used(conn, signed, Some(refusal.code), executor.now()) {
                    // One too many is not remembered; it was refused, and its time is short.
                    Ok(()) | Err(StoreError::Refused(_)) => {}
                    Err(error) => return Err(error),
                }
            }
            // What anybody can send again and again must not fill the trail.
            let count = if news {
                Some(1)
            } else {
                executor.budgets.unproven(executor.now())
            };
            let Some(count) = count else {
                return Ok((Taken::Refused(refusal), None));
            };
            let detail = json!({"code": refusal.code, "message": refusal.message, "operatorId": decision.operator_id, "count": count});
            let subject = decision.proposal_id.as_str();
            executor
                .journal
                .audit(conn, AuditKind::DecisionRefused, subject, detail)?;
            Ok((Taken::Refused(refusal), None))
        }
        Err(error) => Err(error),
    }
}

/// Whether an enrolled operator signed it about a proposal of ours, so that it could ever act.
fn authentic(conn: &Connection, signed: &SignedDecision) -> Result<bool, StoreError> {
    let decision = &signed.decision;
    let about_ours = proposals::get(conn, &decision.proposal_id)?
        .is_some_and(|row| row.own && row.digest == decision.digest);
    let known = operators::get(conn, &decision.operator_id)?.filter(|_| about_ours);
    Ok(known.is_some_and(|known| signed.is_signed_by(&known.signed.record.public_key)))
}

/// Loads, rules, writes.
fn decide_in(
    executor: &Executor,
    conn: &Connection,
    signed: &SignedDecision,
) -> Result<(Standing, Option<Run>), StoreError> {
    let (id, now) = (&signed.decision.proposal_id, executor.now());
    let (case, row) = cases::load(conn, id)?;
    let proposal = open(executor, &row)?;
    let mut given = Given {
        vote: votes::check(executor, conn, &proposal, signed, now)?,
        used: used(executor, conn, signed)?,
        signed,
    };
    let verdict = signed.decision.verdict;
    let acts = verdict == Verdict::Approve && case.status == Status::AwaitingApproval;
    let code = signed.decision.at_node.as_ref();
    if let Some(code) = code.filter(|_| acts && given.used == Used::Never) {
        let digest = proposal.digest();
        let proof = executor.at_node.take(proposal.record(), digest, code, now);
        given.vote = given.vote.at_the_node(&proof.map_err(StoreError::Refused)?);
    }
    let actuators = proposal.record().actuators();
    let seen = executor.guards.orders(&actuators);
    let found = find(executor, conn, case, proposal, verdict, now)?;
    let at_steady_ms = executor.guards.steady_ms();
    let decided = rules::decide(&found, &given, now).map_err(StoreError::Refused)?;
    let gone = actuators.iter().find(|a| executor.guards.view(a).is_none());
    if let Some(gone) = gone.filter(|_| decided.permit.is_some()) {
        let why =
            format!("{gone} is not among the devices of this node any more: nothing was begun");
        return Err(StoreError::Refused(Refusal::new(Code::UnknownTarget, why)));
    }
    write(executor, conn, &decided.step, Some(signed))?;
    let run = decided.permit.map(|permit| Run {
        permit,
        at_steady_ms,
        seen,
        place: None,
    });
    Ok((standing(id, decided.answer), run))
}

/// What a decision finds. What it would act on is looked at where the proposal waits for a yes.
fn find(
    executor: &Executor,
    conn: &Connection,
    case: Case,
    proposal: SignedProposal,
    verdict: Verdict,
    now: TimeMs,
) -> Result<Found, StoreError> {
    let record = proposal.record();
    let stored = approvals::of(conn, &case.id)?;
    let acts = verdict == Verdict::Approve && case.status == Status::AwaitingApproval;
    let (votes, standing, ground, equals) = match acts {
        true => (
            votes::of(executor, conn, &proposal, &stored, now),
            standing_approvals::votes_on(executor, conn, &proposal, now)?,
            Some(ground::load(executor, conn, record, now)?),
            equal::load(executor, conn, &record.action(), Some(&case.id), now)?,
        ),
        false => (Vec::new(), Vec::new(), None, Equals::default()),
    };
    Ok(Found {
        case,
        proposal,
        stored,
        votes,
        standing,
        ground,
        equals,
    })
}

/// Whether this very decision was here before.
fn used(
    executor: &Executor,
    conn: &Connection,
    signed: &SignedDecision,
) -> Result<Used, StoreError> {
    Ok(match approvals::used(conn, signed)? {
        None if executor.unrecorded.knows(signed) => Used::Unrecorded,
        None => Used::Never,
        Some(None) => Used::Taken,
        Some(Some(code)) => Used::Refused(code),
    })
}

fn standing(id: &ProposalId, answer: Answer) -> Standing {
    Standing {
        id: id.clone(),
        status: answer.status,
        approvals: answer.approvals,
        required: answer.required,
        repeated: answer.repeated,
        detail: answer.detail,
    }
}

/// Takes a waiting proposal back on behalf of whoever asked for it.
///
/// # Errors
/// `PROPOSAL_NOT_FOUND` or `PROPOSAL_NOT_WAITING`.
pub async fn withdraw(
    executor: &Executor,
    id: ProposalId,
    why: String,
) -> Result<Standing, Refusal> {
    let s = executor.clone();
    let standing = executor
        .store
        .write(DURABLE, "withdraw", move |conn| {
            let (case, _) = cases::load(conn, &id)?;
            let step = end::withdraw(&case, &why).map_err(StoreError::Refused)?;
            write(&s, conn, &step, None)?;
            Ok(Standing {
                id,
                status: Status::Withdrawn,
                approvals: 0,
                required: 0,
                repeated: false,
                detail: why,
            })
        })
        .await
        .map_err(|e| store_refusal(&e))?;
    executor.proposals_changed();
    Ok(standing)
}
