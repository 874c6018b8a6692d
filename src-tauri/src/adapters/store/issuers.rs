//! Which devices' operator records count at this executor, as persons here have accepted them.

use rusqlite::{Connection, OptionalExtension as _, Row};

use super::{StoreError, row};
use crate::domain::base::{DeviceId, TimeMs};

/// A device whose operator records count here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issuer {
    /// The device.
    pub device_id: DeviceId,
    /// When a person accepted it.
    pub accepted_at: TimeMs,
    /// No person has: its operators had decided here before acceptance was asked for.
    pub carried: bool,
}

/// Accepts a device; a carried one is now a person's choice.
///
/// # Errors
/// Any SQLite error.
pub fn accept(conn: &Connection, device: &DeviceId, now: TimeMs) -> Result<(), StoreError> {
    conn.prepare_cached(
        "INSERT INTO operator_issuers (device_id, accepted_at, carried) VALUES (?1, ?2, 0)
         ON CONFLICT (device_id) DO UPDATE SET accepted_at = excluded.accepted_at, carried = 0",
    )?
    .execute((device.as_str(), now.to_i64()))?;
    Ok(())
}

/// Takes the acceptance back; whether there was one. Records of other issuers about the same keys are
/// looked at again, for one of them may count now.
///
/// # Errors
/// Any SQLite error.
pub fn remove(conn: &Connection, device: &DeviceId) -> Result<bool, StoreError> {
    let removed = conn
        .prepare_cached("DELETE FROM operator_issuers WHERE device_id = ?1")?
        .execute([device.as_str()])?;
    conn.execute(
        "UPDATE records SET acted = 0 WHERE json_extract(json, '$.kind') = 'operator' AND issuer <> ?1",
        [device.as_str()],
    )?;
    Ok(removed > 0)
}

fn read(found: &Row<'_>) -> rusqlite::Result<Issuer> {
    let id: String = found.get(0)?;
    Ok(Issuer {
        device_id: id.parse().map_err(|e| row::unreadable(0, e))?,
        accepted_at: row::time(found, 1)?,
        carried: found.get(2)?,
    })
}

/// The acceptance of a device, where there is one.
///
/// # Errors
/// Any SQLite error.
pub fn get(conn: &Connection, device: &DeviceId) -> Result<Option<Issuer>, StoreError> {
    let sql = "SELECT device_id, accepted_at, carried FROM operator_issuers WHERE device_id = ?1";
    let mut query = conn.prepare_cached(sql)?;
    Ok(query.query_row([device.as_str()], read).optional()?)
}

/// Every accepted device, by id.
///
/// # Errors
/// Any SQLite error.
pub fn all(conn: &Connection) -> Result<Vec<Issuer>, StoreError> {
    let sql = "SELECT device_id, accepted_at, carried FROM operator_issuers ORDER BY device_id";
    let mut query = conn.prepare_cached(sql)?;
    let rows = query.query_map([], read)?;
    Ok(rows.collect::<Result<_, _>>()?)
}
