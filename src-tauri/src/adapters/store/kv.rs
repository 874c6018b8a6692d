//! Single values by name: cursors, high-water marks, the last good policy.

use rusqlite::{Connection, OptionalExtension as _};

use super::StoreError;

/// The value of `key`, if it has one.
///
/// # Errors
/// Any SQLite error.
pub fn get(conn: &Connection, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
    let mut query = conn.prepare_cached("SELECT value FROM kv WHERE key = ?1")?;
    Ok(query.query_row([key], |row| row.get(0)).optional()?)
}

/// Sets the value of `key`.
///
/// # Errors
/// Any SQLite error.
pub fn put(conn: &Connection, key: &str, value: &[u8]) -> Result<(), StoreError> {
    conn.prepare_cached(
        "INSERT INTO kv (key, value) VALUES (?1, ?2) ON CONFLICT (key) DO UPDATE SET value = excluded.value",
    )?
    .execute((key, value))?;
    Ok(())
}

/// Forgets `key`; whether it had a value.
///
/// # Errors
/// Any SQLite error.
pub fn delete(conn: &Connection, key: &str) -> Result<bool, StoreError> {
    let mut delete = conn.prepare_cached("DELETE FROM kv WHERE key = ?1")?;
    Ok(delete.execute([key])? > 0)
}
