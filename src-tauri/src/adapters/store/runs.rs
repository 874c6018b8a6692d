//! Runs: what this executor did and does, as the policy's caps count it.

use rusqlite::{Connection, OptionalExtension as _, params};

use super::{StoreError, row};
use crate::domain::base::limits::SET_MAX_MS;
use crate::domain::base::{ProposalId, TimeMs};
use crate::domain::proposal::Status;

/// One action.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunRow {
    /// The proposal that allowed it.
    pub proposal_id: ProposalId,
    /// The policy rule that applied.
    pub rule: String,
    /// The actuator.
    pub target: String,
    /// Its operation.
    pub operation: String,
    /// When it started.
    pub started_at: TimeMs,
    /// When it ended; `None` while it acts.
    pub ended_at: Option<TimeMs>,
    /// How long it was to last, in milliseconds.
    pub planned_ms: u64,
    /// How it ended.
    pub outcome: Option<String>,
}

/// How often and how long something ran.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Total {
    /// How often.
    pub runs: u64,
    /// How long together, in milliseconds; a run that has not ended counts as planned.
    pub ms: u64,
}

/// Writes down that an action starts.
///
/// # Errors
/// A constraint error if the proposal has run before: that is what makes it run once.
pub fn start(
    conn: &Connection,
    id: &ProposalId,
    rule: &str,
    target: &str,
    operation: &str,
    now: TimeMs,
    planned_ms: u64,
) -> Result<(), StoreError> {
    conn.prepare_cached(
        "INSERT INTO runs (proposal_id, rule, target, operation, started_at, planned_ms) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )?
    .execute(params![id.as_str(), rule, target, operation, now.to_i64(), row::number(planned_ms)])?;
    Ok(())
}

/// Whether a run of a proposal is on record.
///
/// # Errors
/// Any SQLite error.
pub fn has_run(conn: &Connection, id: &ProposalId) -> Result<bool, StoreError> {
    let mut query =
        conn.prepare_cached("SELECT EXISTS (SELECT 1 FROM runs WHERE proposal_id = ?1)")?;
    Ok(query.query_row([id.as_str()], |r| r.get(0))?)
}

/// Writes down that an action has ended; the first end stands.
///
/// # Errors
/// Any SQLite error.
pub fn end(
    conn: &Connection,
    id: &ProposalId,
    ended_at: TimeMs,
    outcome: Status,
) -> Result<(), StoreError> {
    conn.prepare_cached(
        "UPDATE runs SET ended_at = ?2, outcome = ?3 WHERE proposal_id = ?1 AND ended_at IS NULL",
    )?
    .execute((id.as_str(), ended_at.to_i64(), outcome.as_str()))?;
    Ok(())
}

/// The actions, and the steps of sequences that began, that were under way at or after `since`, oldest first.
///
/// # Errors
/// Any SQLite error.
pub fn since(conn: &Connection, since: TimeMs) -> Result<Vec<RunRow>, StoreError> {
    // No action lasts longer than this, so the index on the start bounds the search.
    let earliest = TimeMs(since.0.saturating_sub(SET_MAX_MS));
    let mut query = conn.prepare_cached(
        "SELECT proposal_id, rule, target, operation, started_at, ended_at, planned_ms, outcome FROM runs
         WHERE started_at >= ?2 AND coalesce(ended_at >= ?1, 1)
         UNION ALL SELECT proposal_id, rule, target, operation, started_at, ended_at, planned_ms, outcome FROM steps
         WHERE started_at >= ?2 AND coalesce(ended_at >= ?1, 1)
         ORDER BY started_at, proposal_id",
    )?;
    let rows = query.query_map([since.to_i64(), earliest.to_i64()], |found| {
        Ok(RunRow {
            proposal_id: row::parsed(found, 0)?,
            rule: found.get(1)?,
            target: found.get(2)?,
            operation: found.get(3)?,
            started_at: row::time(found, 4)?,
            ended_at: found.get::<_, Option<i64>>(5)?.map(TimeMs::from_i64),
            planned_ms: row::count(found, 6)?,
            outcome: found.get(7)?,
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// How often and how long a rule's actions on a target ran since a moment.
///
/// # Errors
/// Any SQLite error.
pub fn total(
    conn: &Connection,
    rule: &str,
    target: &str,
    since: TimeMs,
) -> Result<Total, StoreError> {
    let sql = "SELECT count(*), coalesce(sum(max(coalesce(ended_at - started_at, planned_ms), 0)), 0) FROM (
            SELECT rule, target, started_at, ended_at, planned_ms FROM runs
            UNION ALL SELECT rule, target, started_at, ended_at, planned_ms FROM steps)
        WHERE rule = ?1 AND target = ?2 AND started_at >= ?3";
    let total = conn
        .prepare_cached(sql)?
        .query_row((rule, target, since.to_i64()), |found| {
            Ok(Total {
                runs: row::count(found, 0)?,
                ms: row::count(found, 1)?,
            })
        });
    Ok(total.optional()?.unwrap_or_default())
}
