//! Records made while this machine's clock was ahead of the time that a person then set: unchanged, they
//! would count until time catches up with them.

use rusqlite::{Connection, params};

use super::StoreError;
use crate::domain::base::TimeMs;

/// The newest time at which this node wrote that something of its own happened; 0 if nothing did.
///
/// # Errors
/// Any SQLite error.
pub fn newest(conn: &Connection) -> Result<TimeMs, StoreError> {
    let sql = "SELECT max(
        coalesce((SELECT max(max(started_at, coalesce(ended_at, 0))) FROM runs), 0),
        coalesce((SELECT max(max(started_at, coalesce(ended_at, 0))) FROM steps WHERE started_at IS NOT NULL), 0),
        coalesce((SELECT max(updated_at) FROM proposals WHERE own = 1), 0),
        coalesce((SELECT max(created_at) FROM proposals WHERE own = 1
            AND status IN ('awaiting_approval', 'approved', 'executing')), 0),
        coalesce((SELECT max(created_at) FROM drafts WHERE status = 'waiting'), 0))";
    Ok(conn.query_row(sql, [], |row| row.get(0).map(TimeMs::from_i64))?)
}

/// Counts runs that are ahead of `now` as having ended now; how many there were. Durations stay, as far
/// as planned.
///
/// # Errors
/// Any SQLite error.
pub fn runs_end_at(conn: &Connection, now: TimeMs) -> Result<usize, StoreError> {
    let mut ended = 0;
    for table in ["runs", "steps"] {
        let sql = format!(
            "UPDATE {table} SET
        started_at = CASE WHEN started_at > ?1
            THEN ?1 - max(0, min(coalesce(ended_at, started_at) - started_at, planned_ms)) ELSE started_at END,
        ended_at = CASE WHEN ended_at IS NULL THEN NULL WHEN started_at > ?1 THEN ?1
            ELSE min(?1, started_at + planned_ms) END
        WHERE started_at > ?1 OR ended_at > ?1"
        );
        ended += conn.execute(&sql, [now.to_i64()])?;
    }
    Ok(ended)
}

/// Ends the waiting drafts that were made ahead of `now`; how many there were.
///
/// # Errors
/// Any SQLite error.
pub fn drafts_expire(conn: &Connection, now: TimeMs, why: &str) -> Result<usize, StoreError> {
    let sql = "UPDATE drafts SET status = 'expired', message = ?2
        WHERE status = 'waiting' AND created_at > ?1";
    Ok(conn.execute(sql, params![now.to_i64(), why])?)
}

/// Moves the times at which own proposals changed back by as much as the newest of all is ahead, so that
/// their order stays, and later changes are newer.
///
/// # Errors
/// Any SQLite error.
pub fn changes_before(conn: &Connection, now: TimeMs, newest: TimeMs) -> Result<(), StoreError> {
    let back = TimeMs(newest.since(now)).to_i64();
    let sql = "UPDATE proposals SET updated_at = min(?1, max(0, updated_at - ?2))
        WHERE own = 1 AND updated_at > ?1";
    conn.execute(sql, [now.to_i64(), back])?;
    let sql = "UPDATE commands SET received_at = ?1 WHERE received_at > ?1";
    conn.execute(sql, [now.to_i64()])?;
    Ok(())
}
