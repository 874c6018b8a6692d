//! Trust records, whole, by device.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, OptionalExtension as _};

use super::{StoreError, row};
use crate::domain::admission::TrustRecord;
use crate::domain::base::DeviceId;
use crate::domain::base::limits::STORE_BUSY_MS;

/// Stores a device's record in place of the one there was.
///
/// # Errors
/// Any SQLite error.
pub fn put(conn: &Connection, record: &TrustRecord) -> Result<(), StoreError> {
    let json = row::to_json("store a trust record", record)?;
    conn.prepare_cached(
        "INSERT INTO trust (device_id, json) VALUES (?1, ?2) ON CONFLICT (device_id) DO UPDATE SET json = excluded.json",
    )?
    .execute((record.device_id.as_str(), json))?;
    Ok(())
}

/// A device's record, revoked or not.
///
/// # Errors
/// Any SQLite error.
pub fn get(conn: &Connection, device: &DeviceId) -> Result<Option<TrustRecord>, StoreError> {
    let mut query = conn.prepare_cached("SELECT json FROM trust WHERE device_id = ?1")?;
    Ok(query
        .query_row([device.as_str()], |r| row::json(r, 0))
        .optional()?)
}

/// A device's record in a database that a running node may have open; nothing is made or written.
///
/// # Errors
/// Any SQLite error, also if there is no such file.
pub fn peek(file: &Path, device: &DeviceId) -> Result<Option<TrustRecord>, StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = Connection::open_with_flags(file, flags)?;
    conn.busy_timeout(Duration::from_millis(STORE_BUSY_MS))?;
    get(&conn, device)
}

/// Every record, revoked ones too, by device id.
///
/// # Errors
/// Any SQLite error.
pub fn all(conn: &Connection) -> Result<Vec<TrustRecord>, StoreError> {
    let mut query = conn.prepare_cached("SELECT json FROM trust ORDER BY device_id")?;
    let rows = query.query_map([], |r| row::json(r, 0))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Forgets a device; whether there was a record.
///
/// # Errors
/// Any SQLite error.
pub fn remove(conn: &Connection, device: &DeviceId) -> Result<bool, StoreError> {
    Ok(conn
        .prepare_cached("DELETE FROM trust WHERE device_id = ?1")?
        .execute([device.as_str()])?
        > 0)
}
