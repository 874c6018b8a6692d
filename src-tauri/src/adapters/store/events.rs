//! Events on this node, numbered in one sequence. Those of this node and its persons have a quota of
//! their own, as have each device that causes events and the sessions of browsers: none displaces another's.

use rusqlite::{Connection, Row};
use serde_json::Value;

use super::{StoreError, row};
use crate::domain::admission::budget::Cause;
use crate::domain::base::TimeMs;
use crate::domain::base::limits::{EVENTS_KEPT, EVENTS_KEPT_OF_OTHERS};

/// Something that happened.
#[derive(Debug, Clone, PartialEq)]
pub struct EventRow {
    /// Its number.
    pub seq: u64,
    /// When.
    pub time: TimeMs,
    /// The kind, for example `proposal.created`.
    pub kind: String,
    /// `info`, `warning` or `critical`.
    pub severity: String,
    /// The event, in a sentence.
    pub message: String,
    /// The details.
    pub data: Value,
}

/// The room that an event is kept in, and how many it holds: within what others cause, news push out
/// no warnings.
fn room(cause: &Cause, severity: &str) -> (String, u64) {
    let whose = match cause {
        Cause::Own => return ("own".to_owned(), EVENTS_KEPT),
        Cause::Device(device) => device.as_str(),
        // Sessions come and go: those of all of them are kept together.
        Cause::Session(_) => "sessions",
        Cause::Strangers => "strangers",
    };
    let mark = if severity == "info" { "" } else { "!" };
    (format!("{whose}{mark}"), EVENTS_KEPT_OF_OTHERS)
}

/// Adds an event, drops the one of its room that is now too old, and returns the new one's number.
///
/// # Errors
/// Any SQLite error.
pub fn append(
    conn: &Connection,
    time: TimeMs,
    cause: &Cause,
    kind: &str,
    severity: &str,
    message: &str,
    data: &Value,
) -> Result<u64, StoreError> {
    let data = row::to_json("store an event", data)?;
    let (room, kept) = room(cause, severity);
    let newest = conn
        .prepare_cached("SELECT coalesce(max(nth), 0) FROM events WHERE room = ?1")?
        .query_row([&room], |r| row::count(r, 0))?;
    let nth = newest.saturating_add(1);
    let seq = conn
        .prepare_cached(
            "INSERT INTO events (time, kind, severity, message, data, room, nth)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        )?
        .insert((
            time.to_i64(),
            kind,
            severity,
            message,
            data,
            &room,
            row::number(nth),
        ))?;
    conn.prepare_cached("DELETE FROM events WHERE room = ?1 AND nth <= ?2")?
        .execute((&room, row::number(nth.saturating_sub(kept))))?;
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
/// Any SQLite error.
pub fn since(conn: &Connection, seq: u64, limit: usize) -> Result<Vec<EventRow>, StoreError> {
    let mut query =
        conn.prepare_cached(&format!("{SELECT} WHERE seq > ?1 ORDER BY seq LIMIT ?2"))?;
    let rows = query.query_map((row::number(seq), row::limit(limit)), read)?;
    row::readable(rows)
}

/// The newest events, of one kind if named, newest first.
///
/// # Errors
/// Any SQLite error.
pub fn latest(
    conn: &Connection,
    limit: usize,
    kind: Option<&str>,
) -> Result<Vec<EventRow>, StoreError> {
    let sql = format!("{SELECT} WHERE (?1 IS NULL OR kind = ?1) ORDER BY seq DESC LIMIT ?2");
    let mut query = conn.prepare_cached(&sql)?;
    let rows = query.query_map((kind, row::limit(limit)), read)?;
    row::readable(rows)
}
