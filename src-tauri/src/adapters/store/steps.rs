//! The steps of sequences: which actuators one keeps to itself while it acts, how far it came, and what it moved, as the
//! policy's caps count it.

use rusqlite::{Connection, params};

use super::{StoreError, row};
use crate::domain::base::{Code, ProposalId, Refusal, TimeMs};
use crate::domain::policy::Step;
use crate::domain::proposal::Status;

/// One step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StepRow {
    /// Which one, from zero.
    pub step: usize,
    /// The actuator.
    pub target: String,
    /// Its operation.
    pub operation: String,
    /// When it was written ahead; `None` where it did not begin.
    pub started_at: Option<TimeMs>,
    /// When it ended; `None` while it acts.
    pub ended_at: Option<TimeMs>,
}

/// Writes the steps of a sequence that begins; none of them has.
///
/// # Errors
/// A constraint error if the sequence has begun before.
pub fn plan(conn: &Connection, id: &ProposalId, steps: &[Step]) -> Result<(), StoreError> {
    let mut insert = conn.prepare_cached(
        "INSERT INTO steps (proposal_id, step, rule, target, operation, planned_ms) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )?;
    for (n, step) in steps.iter().enumerate() {
        insert.execute(params![
            id.as_str(),
            number(n),
            step.rule,
            step.action.target.as_str(),
            step.action.operation,
            row::number(step.run_ms),
        ])?;
    }
    Ok(())
}

fn number(n: usize) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

/// Writes down that a step begins, of a sequence that acts.
///
/// # Errors
/// `PROPOSAL_NOT_WAITING` if it has begun before, or its sequence does not act: that is what makes it move once.
pub fn begin(
    conn: &Connection,
    id: &ProposalId,
    step: usize,
    now: TimeMs,
) -> Result<(), StoreError> {
    let sql = "UPDATE steps SET started_at = ?3 WHERE proposal_id = ?1 AND step = ?2 AND started_at IS NULL
        AND EXISTS (SELECT 1 FROM proposals WHERE id = ?1 AND own = 1 AND status = 'executing')";
    let begun = conn
        .prepare_cached(sql)?
        .execute((id.as_str(), number(step), now.to_i64()))?;
    match begun {
        1 => Ok(()),
        _ => {
            let why = format!(
                "step {} of proposal {} cannot begin now, or has begun before",
                step + 1,
                id.short()
            );
            Err(Refusal::new(Code::ProposalNotWaiting, why).into())
        }
    }
}

/// Writes down that a step has ended; the first end stands.
///
/// # Errors
/// Any SQLite error.
pub fn end(
    conn: &Connection,
    id: &ProposalId,
    step: usize,
    ended_at: TimeMs,
    outcome: Status,
) -> Result<(), StoreError> {
    let sql = "UPDATE steps SET ended_at = ?3, outcome = ?4
        WHERE proposal_id = ?1 AND step = ?2 AND started_at IS NOT NULL AND ended_at IS NULL";
    let step = number(step);
    let ended_at = ended_at.to_i64();
    conn.prepare_cached(sql)?
        .execute((id.as_str(), step, ended_at, outcome.as_str()))?;
    Ok(())
}

/// Ends every step of a sequence that has begun and not ended.
///
/// # Errors
/// Any SQLite error.
pub fn end_all(
    conn: &Connection,
    id: &ProposalId,
    ended_at: TimeMs,
    outcome: Status,
) -> Result<(), StoreError> {
    let sql = "UPDATE steps SET ended_at = ?2, outcome = ?3
        WHERE proposal_id = ?1 AND started_at IS NOT NULL AND ended_at IS NULL";
    conn.prepare_cached(sql)?
        .execute((id.as_str(), ended_at.to_i64(), outcome.as_str()))?;
    Ok(())
}

/// The steps of a sequence, in order; none where the proposal is no sequence, or never began.
///
/// # Errors
/// Any SQLite error.
pub fn of(conn: &Connection, id: &ProposalId) -> Result<Vec<StepRow>, StoreError> {
    let mut query = conn.prepare_cached(
        "SELECT step, target, operation, started_at, ended_at FROM steps WHERE proposal_id = ?1 ORDER BY step",
    )?;
    let rows = query.query_map([id.as_str()], |found| {
        Ok(StepRow {
            step: usize::try_from(row::count(found, 0)?).unwrap_or(usize::MAX),
            target: found.get(1)?,
            operation: found.get(2)?,
            started_at: found.get::<_, Option<i64>>(3)?.map(TimeMs::from_i64),
            ended_at: found.get::<_, Option<i64>>(4)?.map(TimeMs::from_i64),
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}
