//! Decisions: a person's signed yes or no, checked against the stored record.

use rusqlite::Connection;
use serde_json::json;

use super::{Standing, execute, gate, open, refused, step};
use crate::adapters::store::operators::OperatorRow;
use crate::adapters::store::proposals::ProposalRow;
use crate::adapters::store::{StoreError, approvals, issuers, operators, proposals, records};
use crate::domain::admission::budget::Cause;
use crate::domain::base::limits::{DECISION_VALID_MS, OPERATOR_CONFIRM_MAX_AGE_MS};
use crate::domain::base::{Code, ProposalId, Refusal, TimeMs};
use crate::domain::gate::approval::{Known, Subject, Verdict, verify};
use crate::domain::gate::{ActuationRuling, OperatorRecord, SignedDecision, VerifiedApproval};
use crate::domain::proposal::{Outcome, SignedProposal, Status};
use crate::node::context::{DURABLE, store_refusal};
use crate::node::context::{Event, Severity};
use crate::node::guards::Run;
use crate::node::health;
use crate::node::proposals::mint::begin;
use crate::node::shared::Shared;

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
pub async fn decide(shared: &Shared, signed: SignedDecision) -> Result<Standing, Refusal> {
    decide_of(shared, Cause::Own, signed).await
}

/// Takes a decision that came on somebody's account; see [`decide`].
///
/// # Errors
/// As [`decide`].
pub async fn decide_of(
    shared: &Shared,
    cause: Cause,
    signed: SignedDecision,
) -> Result<Standing, Refusal> {
    // A disk that does not answer is not waited for, and does not let the decision act when it does.
    if let Err(error) = health::check_store(shared) {
        not_recorded(shared, &signed);
        return Err(store_refusal(&error));
    }
    let s = shared.clone();
    let copy = signed.clone();
    let write = move |conn: &Connection| take(&s, conn, &copy);
    let result = execute::write_and_start(shared, "decide", write).await;
    let id = signed.decision.proposal_id.clone();
    let taken = result.unwrap_or_else(|error| {
        not_recorded(shared, &signed);
        Taken::Refused(store_refusal(&error))
    });
    match taken {
        Taken::Counted(standing) => {
            // What a person signed is this node's news; the same bytes again are their bearer's.
            let cause = match standing.repeated {
                true => cause,
                false => Cause::Own,
            };
            shared.proposals_changed();
            let data = json!({"proposalId": id, "status": standing.status, "operatorId": signed.decision.operator_id});
            let message = format!("Proposal {}: {}", id.short(), standing.detail);
            shared
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
            shared
                .journal
                .refused_of(cause, Event::DecisionRefused, id.as_str(), &refusal)
                .await;
            Err(refusal)
        }
    }
}

/// Remembers a decision that is refused because nothing can be written, and writes down that it is used
/// as soon as that is possible.
fn not_recorded(shared: &Shared, signed: &SignedDecision) {
    if !shared.unrecorded.note(signed, shared.now()) {
        return;
    }
    let (s, signed) = (shared.clone(), signed.clone());
    shared
        .tasks
        .passing("refused decision's record", async move {
            let (copy, now) = (signed.clone(), s.now());
            let write = move |conn: &Connection| match authentic(conn, &copy)? {
                true => approvals::mark_used(conn, &copy, Some(Code::StorageFailed), now),
                false => Ok(()),
            };
            // Until it is on disk it stays remembered.
            if s.store.write(DURABLE, "decision used", write).await.is_ok() {
                s.unrecorded.written(&signed);
            }
        });
}

/// Tries a decision; where it is refused, takes back whatever the attempt wrote and writes down, in the
/// same transaction, that it is used up and why.
fn take(
    shared: &Shared,
    conn: &Connection,
    signed: &SignedDecision,
) -> Result<(Taken, Option<Run>), StoreError> {
    conn.execute_batch("SAVEPOINT decision")?;
    match decide_in(shared, conn, signed) {
        Ok((standing, run)) => {
            conn.execute_batch("RELEASE decision")?;
            Ok((Taken::Counted(standing), run))
        }
        Err(StoreError::Refused(refusal)) => {
            conn.execute_batch("ROLLBACK TO decision; RELEASE decision")?;
            let decision = &signed.decision;
            let news = authentic(conn, signed)? && approvals::used(conn, signed)?.is_none();
            if news {
                match approvals::mark_used(conn, signed, Some(refusal.code), shared.now()) {
                    // One too many is not remembered; it was refused, and its time is short.
                    Ok(()) | Err(StoreError::Refused(_)) => {}
                    Err(error) => return Err(error),
                }
            }
            // What anybody can send again and again must not fill the trail.
            let count = if news {
                Some(1)
            } else {
                shared.budgets.unproven(shared.now())
            };
            let Some(count) = count else {
                return Ok((Taken::Refused(refusal), None));
            };
            let detail = json!({"code": refusal.code, "message": refusal.message, "operatorId": decision.operator_id, "count": count});
            let subject = decision.proposal_id.as_str();
            shared
                .journal
                .audit(conn, "decision.refused", subject, detail)?;
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

/// An approval is for now: one that was signed a while ago, and was lost or held back then, must not
/// start anything because somebody delivers it late. This executor's clock counts; one that signs with
/// a clock further ahead than the small allowance is refused before (`verify`).
fn fresh(vote: &VerifiedApproval, decided_at: TimeMs, now: TimeMs) -> Result<(), StoreError> {
    let old = now.since(decided_at) > DECISION_VALID_MS;
    match vote.verdict() {
        Verdict::Approve if old => Err(StoreError::Refused(Refusal::new(
            Code::ApprovalInvalid,
            format!(
                "the approval was signed {} s ago by the clock of the machine it was signed on; nothing was decided. \
                 Decide again, or set that clock if it is wrong",
                now.since(decided_at) / 1_000
            ),
        ))),
        _ => Ok(()),
    }
}

fn decide_in(
    shared: &Shared,
    conn: &Connection,
    signed: &SignedDecision,
) -> Result<(Standing, Option<Run>), StoreError> {
    let decision = &signed.decision;
    let now = shared.now();
    let row = own_row(conn, &decision.proposal_id)?;
    let proposal = open(shared, &row)?;
    let vote = check(shared, conn, &proposal, signed, now)?;
    if row.status != Status::AwaitingApproval {
        return repeated(conn, &row, &proposal, &vote).map(|standing| (standing, None));
    }
    match approvals::used(conn, signed)? {
        None if shared.unrecorded.knows(signed) => {
            let why = "this decision was refused while this node could write nothing, and a decision is used once; decide again";
            return Err(refused(Code::DecisionUsed, why));
        }
        None => {}
        Some(None) => return taken_before(conn, &row, &proposal).map(|standing| (standing, None)),
        Some(Some(code)) => {
            let why = format!(
                "this very decision was refused before ({code}), and a decision is used once; decide again"
            );
            return Err(refused(Code::DecisionUsed, why));
        }
    }
    fresh(&vote, decision.decided_at, now)?;
    approvals::mark_used(conn, signed, None, now)?;
    approvals::put(conn, signed, now)?;
    let detail = json!({
        "operator": vote.name(), "operatorId": vote.operator_id(), "person": vote.person(), "digest": vote.digest(),
        "signature": signed.signature, "note": decision.note,
    });
    shared
        .journal
        .audit(conn, decision_kind(vote.verdict()), row.id.as_str(), detail)?;
    if vote.verdict() == Verdict::Reject {
        let why = format!("rejected by {}", vote.with_key());
        step(
            shared,
            conn,
            &row.id,
            Status::AwaitingApproval,
            Status::Rejected,
            Some(&why),
            json!({}),
        )?;
        return Ok((
            standing(&row.id, Status::Rejected, 0, proposal.record().quorum, why),
            None,
        ));
    }
    let votes = votes(shared, conn, &proposal, now)?;
    match gate(shared, conn, &proposal, &votes, now)? {
        ActuationRuling::Allow(permit) => {
            let have = u32::try_from(permit.approved_by().len()).unwrap_or(u32::MAX);
            let detail = format!(
                "approved by {}; {} starts now",
                permit.approved_by().join(" and "),
                permit.action().summary()
            );
            let run = begin(shared, conn, &proposal, permit)?;
            Ok((
                standing(&row.id, Status::Executing, have, have, detail),
                Some(run),
            ))
        }
        ActuationRuling::NeedsApproval { required, have } => {
            proposals::decided_about(conn, &row.id, now)?;
            let detail = format!(
                "approved by {}; {have} of {required} persons have agreed, and several keys of one person count once",
                vote.with_key()
            );
            Ok((
                standing(&row.id, Status::AwaitingApproval, have, required, detail),
                None,
            ))
        }
        ActuationRuling::Refuse(refusal) => Err(StoreError::Refused(refusal)),
    }
}

fn decision_kind(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Approve => "decision.approve",
        Verdict::Reject => "decision.reject",
    }
}

fn standing(
    id: &ProposalId,
    status: Status,
    approvals: u32,
    required: u32,
    detail: String,
) -> Standing {
    Standing {
        id: id.clone(),
        status,
        approvals,
        required,
        repeated: false,
        detail,
    }
}

fn own_row(conn: &Connection, id: &ProposalId) -> Result<ProposalRow, StoreError> {
    match proposals::get(conn, id)? {
        Some(row) if row.own => Ok(row),
        Some(_) => Err(refused(
            Code::WrongExecutor,
            format!("proposal {} belongs to another executor", id.short()),
        )),
        None => Err(refused(
            Code::ProposalNotFound,
            format!("no proposal {id} was minted here"),
        )),
    }
}

fn check(
    shared: &Shared,
    conn: &Connection,
    proposal: &SignedProposal,
    signed: &SignedDecision,
    now: TimeMs,
) -> Result<VerifiedApproval, StoreError> {
    let id = &signed.decision.operator_id;
    let Some(known) = operators::get(conn, id)? else {
        if let Some(named) = records::operator_named(conn, id)? {
            return Err(not_accepted(&named.record));
        }
        return Err(refused(
            Code::OperatorUnknown,
            format!(
                "operator key {} is not enrolled at this executor; use `operator enroll` there",
                id.short()
            ),
        ));
    };
    let record = proposal.record();
    let subject = Subject {
        mesh_id: &shared.mesh,
        executor: shared.own_id(),
        proposal_id: &record.proposal_id,
        digest: proposal.digest(),
        level: record.level,
        asked_by: &record.requested_by.device_id,
        created_at: record.created_at,
        expires_at: record.expires_at,
    };
    let issuer = &known.signed.record.issuer;
    let issuer_key = shared.issuer_key(issuer);
    if issuer != shared.own_id() {
        if issuers::get(conn, issuer)?.is_none() {
            return Err(not_accepted(&known.signed.record));
        }
        let confirmed = records::confirmed(conn, issuer)?.unwrap_or_default();
        let heard = confirmed.max(known.signed.record.issued_at);
        if now.since(heard) > OPERATOR_CONFIRM_MAX_AGE_MS {
            return Err(refused(
                Code::OperatorExpired,
                format!(
                    "operator {}: nothing has been heard of {}, which vouches for them, for {} days; a revocation \
                     may have been missed",
                    known.signed.record.name,
                    issuer.short(),
                    now.since(heard) / 86_400_000
                ),
            ));
        }
    }
    let persons = operators::persons(conn, shared.own_id())?;
    if persons.is_unclear(id) {
        let why = format!(
            "operator {}: device {} says that this key belongs to several persons whom others vouch for, so it counts for nobody",
            known.signed.record.name,
            issuer.short()
        );
        return Err(refused(Code::OperatorUnknown, why));
    }
    let person = persons.of_key(id);
    let known = Known {
        operator: &known.signed,
        person: &person,
        issuer_key: issuer_key.as_ref(),
        revoked: known.revocation.is_some() || person_ended(conn, shared, &known)?,
    };
    verify(signed, &subject, &known, now).map_err(StoreError::Refused)
}

fn not_accepted(record: &OperatorRecord) -> StoreError {
    let issuer = &record.issuer;
    let why = format!(
        "operator {} is vouched for by device {} alone, and nobody at this executor has accepted that device's \
         operators; a person here can: clawmesh-node operator issuer accept {}",
        record.name,
        issuer.short(),
        issuer
    );
    refused(Code::IssuerNotAccepted, why)
}

/// Whether the person was revoked here with every key. Only a record that was issued here afterwards
/// lets them decide again.
fn person_ended(
    conn: &Connection,
    shared: &Shared,
    known: &OperatorRow,
) -> Result<bool, StoreError> {
    let record = &known.signed.record;
    let ended = operators::person_ended(conn, &record.name)?;
    Ok(ended.is_some_and(|at| record.issuer != *shared.own_id() || record.issued_at < at))
}

/// Every stored decision about the proposal that still holds: revocations and expiries count now.
fn votes(
    shared: &Shared,
    conn: &Connection,
    proposal: &SignedProposal,
    now: TimeMs,
) -> Result<Vec<VerifiedApproval>, StoreError> {
    let stored = approvals::of(conn, &proposal.record().proposal_id)?;
    Ok(stored
        .iter()
        .filter_map(|signed| check(shared, conn, proposal, signed, now).ok())
        .collect())
}

/// The same decision again: it counts already, and nothing changes.
fn taken_before(
    conn: &Connection,
    row: &ProposalRow,
    proposal: &SignedProposal,
) -> Result<Standing, StoreError> {
    let known = approvals::of(conn, &row.id)?;
    let yes = known
        .iter()
        .filter(|d| d.decision.verdict == Verdict::Approve);
    let have = u32::try_from(yes.count()).unwrap_or(u32::MAX);
    let detail = format!(
        "you decided so before; nothing has changed now, {}",
        how_it_stands(row)
    );
    let quorum = proposal.record().quorum;
    Ok(Standing {
        repeated: true,
        ..standing(&row.id, row.status, have, quorum, detail)
    })
}

/// The same decision again is answered with what came of it; another one comes too late.
fn repeated(
    conn: &Connection,
    row: &ProposalRow,
    proposal: &SignedProposal,
    vote: &VerifiedApproval,
) -> Result<Standing, StoreError> {
    let known = approvals::of(conn, &row.id)?;
    let same = known.iter().any(|d| {
        d.decision.operator_id == *vote.operator_id() && d.decision.verdict == vote.verdict()
    });
    if same {
        return taken_before(conn, row, proposal);
    }
    Err(refused(
        Code::ProposalNotWaiting,
        format!(
            "proposal {} can no longer be decided; nothing has changed, {}",
            row.id.short(),
            how_it_stands(row)
        ),
    ))
}

/// Where a proposal stands that is no longer decided, and how it ended, as people read it.
fn how_it_stands(row: &ProposalRow) -> String {
    let outcome = row
        .outcome
        .as_deref()
        .and_then(|text| serde_json::from_str::<Outcome>(text).ok())
        .map(|outcome| outcome.detail);
    let how = outcome
        .or_else(|| row.reason.clone())
        .filter(|how| !how.is_empty())
        .map(|how| format!(" ({how})"))
        .unwrap_or_default();
    if row.status.is_open() {
        format!("it is {}{how}", row.status)
    } else {
        format!("it has ended: {}{how}", row.status)
    }
}

/// Takes a waiting proposal back on behalf of whoever asked for it.
///
/// # Errors
/// `PROPOSAL_NOT_FOUND` or `PROPOSAL_NOT_WAITING`.
pub async fn withdraw(shared: &Shared, id: ProposalId, why: String) -> Result<Standing, Refusal> {
    let s = shared.clone();
    let standing = shared
        .store
        .write(DURABLE, "withdraw", move |conn| {
            let row = own_row(conn, &id)?;
            step(
                &s,
                conn,
                &row.id,
                Status::AwaitingApproval,
                Status::Withdrawn,
                Some(&why),
                json!({"why": why}),
            )?;
            Ok(standing(&row.id, Status::Withdrawn, 0, 0, why))
        })
        .await
        .map_err(|e| store_refusal(&e))?;
    shared.proposals_changed();
    Ok(standing)
}
