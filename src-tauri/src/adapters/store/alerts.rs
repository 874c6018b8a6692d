//! Alerts: those that stand, those that have ended, who answered, and who was told of which.

use std::collections::BTreeMap;

use rusqlite::{Connection, OptionalExtension as _, Row, params};

use super::{StoreError, kv, row};
use crate::domain::alerts::escalation::Told;
use crate::domain::base::limits::ALERTS_KEPT_MAX;
use crate::domain::base::{Severity, TimeMs};

/// When alerts were last seen to stand.
const SEEN: &str = "alerts.seen";

/// An alert about to begin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewAlert {
    /// What it is about: the code of an alarm.
    pub kind: String,
    /// Which device, actuator or reading; empty where there is only one.
    pub subject: String,
    /// How much it matters.
    pub severity: Severity,
    /// What is the matter.
    pub message: String,
    /// What to do.
    pub advice: String,
    /// Whether its words stay on this machine.
    pub private: bool,
    /// Since when.
    pub since: TimeMs,
}

/// Who acknowledged an alert.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Acknowledged {
    /// When.
    pub at: TimeMs,
    /// Who.
    pub by: String,
    /// What they said.
    pub note: Option<String>,
}

/// Until when an alert is muted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Muted {
    /// Until when.
    pub until: TimeMs,
    /// By whom.
    pub by: String,
}

/// An alert as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AlertRow {
    /// Its number.
    pub id: u64,
    /// What it is about and since when, as when it began.
    pub new: NewAlert,
    /// When it ended, and why.
    pub ended: Option<(TimeMs, String)>,
    /// Who acknowledged it.
    pub acknowledged: Option<Acknowledged>,
    /// Until when it is muted.
    pub muted: Option<Muted>,
}

const COLUMNS: &str = "id, kind, subject, severity, message, advice, private, since, ended_at, ended_why, acked_at, acked_by, \
    ack_note, muted_until, muted_by";

fn time(found: &Row<'_>, column: usize) -> rusqlite::Result<Option<TimeMs>> {
    Ok(found.get::<_, Option<i64>>(column)?.map(TimeMs::from_i64))
}

fn read(found: &Row<'_>) -> rusqlite::Result<AlertRow> {
    let text = |column| {
        Ok::<_, rusqlite::Error>(found.get::<_, Option<String>>(column)?.unwrap_or_default())
    };
    let (ended, acked, muted) = (time(found, 8)?, time(found, 10)?, time(found, 13)?);
    let (why, acked_by, note, muted_by) = (text(9)?, text(11)?, found.get(12)?, text(14)?);
    Ok(AlertRow {
        id: row::count(found, 0)?,
        new: NewAlert {
            kind: found.get(1)?,
            subject: found.get(2)?,
            severity: Severity::of_stored(&found.get::<_, String>(3)?),
            message: found.get(4)?,
            advice: found.get(5)?,
            private: found.get(6)?,
            since: row::time(found, 7)?,
        },
        ended: ended.map(|at| (at, why)),
        acknowledged: acked.map(|at| Acknowledged {
            at,
            by: acked_by,
            note,
        }),
        muted: muted.map(|until| Muted {
            until,
            by: muted_by,
        }),
    })
}

/// Begins an alert; its number. One of this kind and subject that stands stays as it is. The oldest that have ended go where
/// there are too many.
///
/// # Errors
/// Any SQLite error.
pub fn begin(conn: &Connection, new: &NewAlert) -> Result<u64, StoreError> {
    let mut query = conn.prepare_cached(
        "SELECT id FROM alerts WHERE kind = ?1 AND subject = ?2 AND ended_at IS NULL",
    )?;
    let stands = query
        .query_row((&new.kind, &new.subject), |r| row::count(r, 0))
        .optional()?;
    if let Some(id) = stands {
        return Ok(id);
    }
    conn.prepare_cached(
        "INSERT INTO alerts (kind, subject, severity, message, advice, private, since) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    )?
    .execute(params![
        new.kind,
        new.subject,
        new.severity.as_str(),
        new.message,
        new.advice,
        new.private,
        new.since.to_i64(),
    ])?;
    let id = conn.last_insert_rowid();
    conn.prepare_cached(
        "DELETE FROM alerts WHERE ended_at IS NOT NULL AND id NOT IN
            (SELECT id FROM alerts WHERE ended_at IS NOT NULL ORDER BY ended_at DESC, id DESC LIMIT ?1)",
    )?
    .execute([row::limit(ALERTS_KEPT_MAX)])?;
    Ok(u64::try_from(id).unwrap_or_default())
}

/// Ends an alert; whether it stood.
///
/// # Errors
/// Any SQLite error.
pub fn end(conn: &Connection, id: u64, at: TimeMs, why: &str) -> Result<bool, StoreError> {
    let mut end = conn.prepare_cached(
        "UPDATE alerts SET ended_at = ?2, ended_why = ?3 WHERE id = ?1 AND ended_at IS NULL",
    )?;
    Ok(end.execute(params![row::number(id), at.to_i64(), why])? > 0)
}

/// Notes that a person has acknowledged an alert.
///
/// # Errors
/// Any SQLite error.
pub fn acknowledge(conn: &Connection, id: u64, by: &Acknowledged) -> Result<(), StoreError> {
    conn.prepare_cached(
        "UPDATE alerts SET acked_at = ?2, acked_by = ?3, ack_note = ?4 WHERE id = ?1",
    )?
    .execute(params![row::number(id), by.at.to_i64(), by.by, by.note])?;
    Ok(())
}

/// Mutes an alert, or unmutes it.
///
/// # Errors
/// Any SQLite error.
pub fn mute(conn: &Connection, id: u64, muted: Option<&Muted>) -> Result<(), StoreError> {
    conn.prepare_cached("UPDATE alerts SET muted_until = ?2, muted_by = ?3 WHERE id = ?1")?
        .execute(params![
            row::number(id),
            muted.map(|m| m.until.to_i64()),
            muted.map(|m| m.by.as_str()),
        ])?;
    Ok(())
}

/// One alert.
///
/// # Errors
/// Any SQLite error.
pub fn get(conn: &Connection, id: u64) -> Result<Option<AlertRow>, StoreError> {
    let sql = format!("SELECT {COLUMNS} FROM alerts WHERE id = ?1");
    let mut query = conn.prepare_cached(&sql)?;
    Ok(query.query_row([row::number(id)], read).optional()?)
}

/// Those that stand, oldest first.
///
/// # Errors
/// Any SQLite error.
pub fn open(conn: &Connection) -> Result<Vec<AlertRow>, StoreError> {
    let sql = format!("SELECT {COLUMNS} FROM alerts WHERE ended_at IS NULL ORDER BY since, id");
    let mut query = conn.prepare_cached(&sql)?;
    row::readable(query.query_map([], read)?)
}

/// Alerts, newest first: those that follow the number `before`, or the newest.
///
/// # Errors
/// Any SQLite error.
pub fn history(
    conn: &Connection,
    before: Option<u64>,
    limit: usize,
) -> Result<Vec<AlertRow>, StoreError> {
    let sql = format!("SELECT {COLUMNS} FROM alerts WHERE id < ?1 ORDER BY id DESC LIMIT ?2");
    let before = before.map_or(i64::MAX, row::number);
    let mut query = conn.prepare_cached(&sql)?;
    row::readable(query.query_map((before, row::limit(limit)), read)?)
}

/// Those of which somebody was told and that have ended, without anybody being told of that.
///
/// # Errors
/// Any SQLite error.
pub fn untold_ends(conn: &Connection, since: TimeMs) -> Result<Vec<AlertRow>, StoreError> {
    let sql = format!(
        "SELECT {COLUMNS} FROM alerts WHERE ended_at >= ?1
            AND id IN (SELECT alert FROM alert_told WHERE over = 0) ORDER BY id"
    );
    let mut query = conn.prepare_cached(&sql)?;
    row::readable(query.query_map([since.to_i64()], read)?)
}

/// What each place was told of an alert.
///
/// # Errors
/// Any SQLite error.
pub fn told_of(conn: &Connection, id: u64) -> Result<BTreeMap<String, Told>, StoreError> {
    let mut query =
        conn.prepare_cached("SELECT target, times, last, over FROM alert_told WHERE alert = ?1")?;
    let one = |found: &Row<'_>| {
        let told = Told {
            times: found.get(1)?,
            last: row::time(found, 2)?,
            over: found.get(3)?,
        };
        Ok((found.get::<_, String>(0)?, told))
    };
    let rows = query.query_map([row::number(id)], one)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Notes what a place was told of an alert. One that is gone meanwhile is none.
///
/// # Errors
/// Any SQLite error.
pub fn note_told(
    conn: &Connection,
    id: u64,
    target: &str,
    at: TimeMs,
    over: bool,
) -> Result<(), StoreError> {
    conn.prepare_cached(
        "INSERT INTO alert_told (alert, target, times, last, over) SELECT id, ?2, 1, ?3, ?4 FROM alerts WHERE id = ?1
         ON CONFLICT (alert, target) DO UPDATE SET times = times + (excluded.over = 0), last = excluded.last,
            over = max(over, excluded.over)",
    )?
    .execute(params![row::number(id), target, at.to_i64(), over])?;
    Ok(())
}

/// When alerts were last seen to stand.
///
/// # Errors
/// Any SQLite error.
pub fn seen(conn: &Connection) -> Result<Option<TimeMs>, StoreError> {
    let kept = kv::get(conn, SEEN)?;
    Ok(kept.and_then(|bytes| serde_json::from_slice(&bytes).ok()))
}

/// Notes that those that stand were seen to.
///
/// # Errors
/// Any SQLite error.
pub fn note_seen(conn: &Connection, now: TimeMs) -> Result<(), StoreError> {
    kv::put(conn, SEEN, now.0.to_string().as_bytes())
}
