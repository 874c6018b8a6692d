//! Signed records of issuers, as they travel; which of them count is not decided here.

use rusqlite::{Connection, OptionalExtension as _, params};

use super::{StoreError, row};
use crate::domain::base::{DeviceId, TimeMs};
use crate::domain::gate::records::Record;

/// Stores a record in place of the one with its id.
///
/// # Errors
/// Whatever SQLite says.
pub fn put(conn: &Connection, record: &Record, acted: bool, now: TimeMs) -> Result<(), StoreError> {
    let json = row::to_json("store a record", record)?;
    conn.prepare_cached(
        "INSERT INTO records (id, json, issuer, at, received_at, acted) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
         ON CONFLICT (id) DO UPDATE SET json = excluded.json, at = excluded.at,
            received_at = excluded.received_at, acted = excluded.acted",
    )?
    .execute(params![
        record.id(),
        json,
        record.issuer().as_str(),
        record.at().to_i64(),
        now.to_i64(),
        acted,
    ])?;
    Ok(())
}

/// The record with this id.
///
/// # Errors
/// Whatever SQLite says.
pub fn get(conn: &Connection, id: &str) -> Result<Option<Record>, StoreError> {
    let mut query = conn.prepare_cached("SELECT json FROM records WHERE id = ?1")?;
    Ok(query.query_row([id], |r| row::json(r, 0)).optional()?)
}

/// Every record, by id.
///
/// # Errors
/// Whatever SQLite says.
pub fn all(conn: &Connection) -> Result<Vec<Record>, StoreError> {
    let mut query = conn.prepare_cached("SELECT json FROM records ORDER BY id")?;
    let rows = query.query_map([], |r| row::json(r, 0))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Every record that has not taken effect here.
///
/// # Errors
/// Whatever SQLite says.
pub fn waiting(conn: &Connection) -> Result<Vec<Record>, StoreError> {
    let mut query = conn.prepare_cached("SELECT json FROM records WHERE acted = 0 ORDER BY id")?;
    let rows = query.query_map([], |r| row::json(r, 0))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// How many there are, and how many of them have not taken effect here.
///
/// # Errors
/// Whatever SQLite says.
pub fn counts(conn: &Connection) -> Result<(u64, u64), StoreError> {
    let sql = "SELECT count(*), coalesce(sum(acted = 0), 0) FROM records";
    Ok(conn
        .prepare_cached(sql)?
        .query_row([], |r| Ok((row::count(r, 0)?, row::count(r, 1)?)))?)
}

/// Whether a believed issuer has ended the trust in a device, whatever the trust list says now.
///
/// # Errors
/// Whatever SQLite says.
pub fn device_revoked(conn: &Connection, device: &DeviceId) -> Result<bool, StoreError> {
    let sql = "SELECT count(*) FROM records WHERE id >= ?1 || ':' AND id < ?1 || ';' AND acted = 1";
    let id = format!("device-revocation:{device}");
    let mut query = conn.prepare_cached(sql)?;
    Ok(query.query_row([id], |r| row::count(r, 0))? > 0)
}

/// When an issuer last confirmed what it said.
///
/// # Errors
/// Whatever SQLite says.
pub fn confirmed(conn: &Connection, issuer: &DeviceId) -> Result<Option<TimeMs>, StoreError> {
    let sql = "SELECT at FROM records WHERE id = ?1 AND acted = 1";
    let mut query = conn.prepare_cached(sql)?;
    Ok(query
        .query_row([format!("confirmation:{issuer}")], |r| row::time(r, 0))
        .optional()?)
}
