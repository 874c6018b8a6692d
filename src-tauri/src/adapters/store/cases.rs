//! Own proposals as the rules of `domain/proposal` take them, and the steps that those rules give: loaded and
//! written here, inside one transaction of the caller's. Nothing else lets one of ours begin.

use rusqlite::Connection;
use serde_json::{Value, json};

use super::proposals::{self, ProposalRow};
use super::{StoreError, approvals, channels, runs, standing_approvals, steps};
use crate::domain::base::{AuditKind, Code, ProposalId, Refusal, TimeMs};
use crate::domain::gate::SignedDecision;
use crate::domain::gate::approval::Verdict;
use crate::domain::proposal::Outcome;
use crate::domain::proposal::case::{Case, Step, Write};

/// One of our own proposals, with the row that its record is read from.
///
/// # Errors
/// `PROPOSAL_NOT_FOUND` or `WRONG_EXECUTOR`.
pub fn load(conn: &Connection, id: &ProposalId) -> Result<(Case, ProposalRow), StoreError> {
    let refused = |code: Code, why: String| Err(Refusal::new(code, why).into());
    match proposals::get(conn, id)? {
        Some(row) if row.own => Ok((case_of(conn, &row)?, row)),
        Some(_) => refused(
            Code::WrongExecutor,
            format!("proposal {} belongs to another executor", id.short()),
        ),
        None => refused(
            Code::ProposalNotFound,
            format!("no proposal {id} was minted here"),
        ),
    }
}

/// The case of a row that was read in this transaction.
///
/// # Errors
/// Any SQLite error.
pub fn case_of(conn: &Connection, row: &ProposalRow) -> Result<Case, StoreError> {
    let outcome = row.outcome.as_deref();
    let outcome = outcome.and_then(|text| serde_json::from_str::<Outcome>(text).ok());
    Ok(Case {
        id: row.id.clone(),
        status: row.status,
        expires_at: row.expires_at,
        updated_at: row.updated_at,
        ran: runs::has_run(conn, &row.id)?,
        how: outcome.map(|o| o.detail).or_else(|| row.reason.clone()),
    })
}

/// The context in which a step is written.
pub struct Writing<'a> {
    /// The current moment.
    pub now: TimeMs,
    /// The decision that the step is about, if it is about one.
    pub decision: Option<&'a SignedDecision>,
    /// Appends an entry to the audit trail: kind, subject, detail.
    pub audit: &'a dyn Fn(AuditKind, &ProposalId, Value) -> Result<(), StoreError>,
}

/// Writes a step. The caller's transaction fails as a whole if any of it is refused.
///
/// # Errors
/// `PROPOSAL_NOT_WAITING` if a proposal does not stand any more where the step starts, a constraint error for a
/// second run of one proposal, or any SQLite error.
pub fn apply(conn: &Connection, step: &Step, with: &Writing<'_>) -> Result<(), StoreError> {
    step.0.iter().try_for_each(|write| one(conn, write, with))
}

fn one(conn: &Connection, write: &Write, with: &Writing<'_>) -> Result<(), StoreError> {
    match write {
        Write::Move {
            id,
            from,
            to,
            reason,
            detail,
        } => {
            if !proposals::transition(conn, id, *from, *to, with.now, reason.as_deref())? {
                let why = format!("proposal {} is no longer {from}", id.short());
                return Err(Refusal::new(Code::ProposalNotWaiting, why).into());
            }
            (with.audit)(to.audited(), id, detail.clone())
        }
        Write::Decision { kind, detail } => {
            let Some(signed) = with.decision else {
                let why = "the step is about a decision, and there is none".to_owned();
                return Err(StoreError::Invalid {
                    what: "store a decision",
                    why,
                });
            };
            approvals::mark_used(conn, signed, None, with.now)?;
            approvals::put(conn, signed, with.now)?;
            let decision = &signed.decision;
            if let (Some(given), Verdict::Approve) = (&decision.channel, decision.verdict) {
                channels::count_use(conn, &given.channel, &decision.proposal_id, with.now)?;
            }
            (with.audit)(*kind, &signed.decision.proposal_id, detail.clone())
        }
        Write::StandingUse { id, used, by } => {
            standing_approvals::count_use(conn, used, id, with.now)?;
            let detail = json!({"approval": used.id, "use": used.number, "of": used.of, "by": by});
            (with.audit)(AuditKind::StandingUsed, id, detail)
        }
        Write::Noticed(id) => proposals::decided_about(conn, id, with.now),
        Write::Run {
            id,
            rule,
            target,
            operation,
            planned_ms,
        } => runs::start(
            conn,
            id,
            rule,
            target.as_str(),
            operation,
            with.now,
            *planned_ms,
        ),
        Write::Steps { id, steps } => steps::plan(conn, id, steps),
        Write::Ended(id, outcome) => {
            proposals::set_outcome(conn, id, outcome)?;
            steps::end_all(conn, id, outcome.ended_at, outcome.status)?;
            runs::end(conn, id, outcome.ended_at, outcome.status)
        }
    }
}
