//! Signed records of issuers, as they travel; which of them count is not decided here.

use rusqlite::{Connection, OptionalExtension as _, Row, params};

use super::{StoreError, row};
use crate::domain::base::{DeviceId, Digest, OperatorId, TimeMs};
use crate::domain::gate::SignedOperator;
use crate::domain::gate::records::{Carried, Proven, Record};
use crate::domain::identity::PublicKey;

/// Stores a record in place of the one with its id.
///
/// # Errors
/// Any SQLite error.
pub fn put(conn: &Connection, proven: &Proven, acted: bool, now: TimeMs) -> Result<(), StoreError> {
    put_via(conn, proven, acted, None, now)
}

/// As [`put`], of a record that a device brought; who brought it first keeps paying for it.
///
/// # Errors
/// Any SQLite error.
pub fn put_via(
    conn: &Connection,
    proven: &Proven,
    acted: bool,
    via: Option<&DeviceId>,
    now: TimeMs,
) -> Result<(), StoreError> {
    let record = proven.record();
    let json = row::to_json("store a record", record)?;
    conn.prepare_cached(
        "INSERT INTO records (id, json, issuer, at, received_at, acted, issuer_key, via)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
         ON CONFLICT (id) DO UPDATE SET json = excluded.json, at = excluded.at,
            received_at = excluded.received_at, acted = excluded.acted, issuer_key = excluded.issuer_key",
    )?
    .execute(params![
        record.id(),
        json,
        record.issuer().as_str(),
        record.at().to_i64(),
        now.to_i64(),
        acted,
        proven.key().to_text(),
        via.map(DeviceId::as_str),
    ])?;
    Ok(())
}

/// The record with this id.
///
/// # Errors
/// Any SQLite error.
pub fn get(conn: &Connection, id: &str) -> Result<Option<Proven>, StoreError> {
    let sql = "SELECT json, issuer_key FROM records WHERE id = ?1 AND issuer_key IS NOT NULL";
    let found = conn.prepare_cached(sql)?.query_row([id], read).optional()?;
    Ok(found.flatten())
}

/// A row as the record that it is; `None` where the file was tampered with.
fn read(found: &Row<'_>) -> rusqlite::Result<Option<Proven>> {
    let text: String = found.get(1)?;
    let key = PublicKey::from_text(&text).map_err(|e| row::unreadable(1, e))?;
    let record = row::json(found, 0)?;
    Ok(Carried { key, record }.prove())
}

fn many(conn: &Connection, rest: &str) -> Result<Vec<Proven>, StoreError> {
    let sql = format!("SELECT json, issuer_key FROM records WHERE issuer_key IS NOT NULL {rest}");
    let mut query = conn.prepare_cached(&sql)?;
    let rows = query.query_map([], read)?;
    let rows: Vec<Option<Proven>> = rows.collect::<Result<_, _>>()?;
    Ok(rows.into_iter().flatten().collect())
}

/// Adds this device's key to the records of its own that were stored before records carried keys.
///
/// # Errors
/// Any SQLite error.
pub fn sign_for(conn: &Connection, own: &DeviceId, key: &PublicKey) -> Result<(), StoreError> {
    conn.prepare_cached(
        "UPDATE records SET issuer_key = ?2 WHERE issuer = ?1 AND issuer_key IS NULL",
    )?
    .execute((own.as_str(), key.to_text()))?;
    Ok(())
}

/// Every record, by id.
///
/// # Errors
/// Any SQLite error.
pub fn all(conn: &Connection) -> Result<Vec<Proven>, StoreError> {
    many(conn, "ORDER BY id")
}

/// Every record that has not taken effect here.
///
/// # Errors
/// Any SQLite error.
pub fn waiting(conn: &Connection) -> Result<Vec<Proven>, StoreError> {
    many(conn, "AND acted = 0 ORDER BY id")
}

/// A record of an operator that has not taken effect here, from any issuer.
///
/// # Errors
/// Any SQLite error.
pub fn operator_named(
    conn: &Connection,
    id: &OperatorId,
) -> Result<Option<SignedOperator>, StoreError> {
    let sql = "SELECT json, issuer_key FROM records
        WHERE issuer_key IS NOT NULL AND acted = 0 AND id >= ?1 || ':' AND id < ?1 || ';' ORDER BY id LIMIT 1";
    let mut query = conn.prepare_cached(sql)?;
    let found = query
        .query_row([format!("operator:{id}")], read)
        .optional()?;
    Ok(found.flatten().and_then(|proven| match proven.record() {
        Record::Operator { signed } => Some(signed.as_ref().clone()),
        _ => None,
    }))
}

/// Whether a record is about a device or operator that is known here: there are only so many of those.
///
/// # Errors
/// Any SQLite error.
pub fn is_about_known(conn: &Connection, record: &Record) -> Result<bool, StoreError> {
    let (sql, subject) = match record {
        Record::Operator { signed } => (
            "SELECT EXISTS (SELECT 1 FROM operators WHERE operator_id = ?1)",
            signed.record.operator_id.as_str(),
        ),
        Record::OperatorRevocation { revocation, .. } => (
            "SELECT EXISTS (SELECT 1 FROM operators WHERE operator_id = ?1)",
            revocation.operator_id.as_str(),
        ),
        Record::DeviceRevocation { revocation, .. } => (
            "SELECT EXISTS (SELECT 1 FROM trust WHERE device_id = ?1)",
            revocation.device_id.as_str(),
        ),
        // One for each issuer.
        Record::Confirmation { .. } => return Ok(true),
        // Anybody could invent channels of an operator that is known.
        Record::ChannelEnd { .. } => return Ok(false),
    };
    let mut query = conn.prepare_cached(sql)?;
    Ok(query.query_row([subject], |r| r.get(0))?)
}

/// Whether a believed issuer has ended the trust in a device, independent of the trust list.
///
/// # Errors
/// Any SQLite error.
pub fn device_revoked(conn: &Connection, device: &DeviceId) -> Result<bool, StoreError> {
    let sql = "SELECT count(*) FROM records WHERE id >= ?1 || ':' AND id < ?1 || ';' AND acted = 1";
    let id = format!("device-revocation:{device}");
    let mut query = conn.prepare_cached(sql)?;
    Ok(query.query_row([id], |r| row::count(r, 0))? > 0)
}

/// Whether a channel has ended: its own operator says so, or whoever was believed when it came.
///
/// # Errors
/// Any SQLite error.
pub fn channel_ended(
    conn: &Connection,
    channel: &Digest,
    operator: &OperatorId,
) -> Result<bool, StoreError> {
    let sql = "SELECT EXISTS (SELECT 1 FROM records
        WHERE id >= ?1 || ':' AND id < ?1 || ';' AND (acted = 1 OR issuer = ?2))";
    let id = format!("channel-end:{}", channel.to_hex());
    let mut query = conn.prepare_cached(sql)?;
    Ok(query.query_row([id.as_str(), operator.as_str()], |r| r.get(0))?)
}

/// When an issuer last confirmed what it said.
///
/// # Errors
/// Any SQLite error.
pub fn confirmed(conn: &Connection, issuer: &DeviceId) -> Result<Option<TimeMs>, StoreError> {
    let sql = "SELECT at FROM records WHERE id = ?1 AND acted = 1";
    let mut query = conn.prepare_cached(sql)?;
    Ok(query
        .query_row([format!("confirmation:{issuer}")], |r| row::time(r, 0))
        .optional()?)
}
