//! Events: what happened on this node, numbered without gaps, the newest [`EVENTS_KEPT`] kept.

use rusqlite::{Connection, Row};
use serde_json::Value;

use super::{StoreError, row};
use crate::domain::base::TimeMs;
use crate::domain::base::limits::EVENTS_KEPT;

/// Something that happened.
#[derive(Debug, Clone, PartialEq)]
pub struct EventRow {
    /// Its number.
    pub seq: u64,
    /// When.
    pub time: TimeMs,
    /// What kind, for example `proposal.created`.
    pub kind: String,
    /// `info`, `warning` or `critical`.
    pub severity: String,
    /// What happened, in a sentence.
    pub message: String,
    /// The details.
    pub data: Value,
}

/// Adds an event, drops the one that is now too old, and returns the new one's number.
///
/// # Errors
/// Whatever SQLite says.
pub fn append(
    conn: &Connection,
    time: TimeMs,
    kind: &str,
    severity: &str,
    message: &str,
    data: &Value,
) -> Result<u64, StoreError> {
    let data = row::to_json("store an event", data)?;
    let seq = conn
        .prepare_cached(
            "INSERT INTO events (time, kind, severity, message, data) VALUES (?1, ?2, ?3, ?4, ?5)",
        )?
        .insert((time.to_i64(), kind, severity, message, data))?;
    conn.prepare_cached("DELETE FROM events WHERE seq <= ?1")?
        .execute([seq.saturating_sub(row::number(EVENTS_KEPT))])?;
    Ok(u64::try_from(seq).unwrap_or(0))
}

const SELECT: &str = "SELECT seq, time, kind, severity, message, data FROM events";

fn read(found: &Row<'_>) -> rusqlite::Result<EventRow> {
    Ok(EventRow {
        seq: row::count(found, 0)?,
        time: row::time(found, 1)?,
        kind: found.get(2)?,
        severity: found.get(3)?,
        message: found.get(4)?,
        data: row::json(found, 5)?,
    })
}

/// Up to `limit` events after a number, oldest first.
///
/// # Errors
/// Whatever SQLite says.
pub fn since(conn: &Connection, seq: u64, limit: usize) -> Result<Vec<EventRow>, StoreError> {
    let mut query =
        conn.prepare_cached(&format!("{SELECT} WHERE seq > ?1 ORDER BY seq LIMIT ?2"))?;
    let rows = query.query_map((row::number(seq), row::limit(limit)), read)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// The newest events, of one kind if named, newest first.
///
/// # Errors
/// Whatever SQLite says.
pub fn latest(
    conn: &Connection,
    limit: usize,
    kind: Option<&str>,
) -> Result<Vec<EventRow>, StoreError> {
    let sql = format!("{SELECT} WHERE (?1 IS NULL OR kind = ?1) ORDER BY seq DESC LIMIT ?2");
    let mut query = conn.prepare_cached(&sql)?;
    let rows = query.query_map((kind, row::limit(limit)), read)?;
    Ok(rows.collect::<Result<_, _>>()?)
}
