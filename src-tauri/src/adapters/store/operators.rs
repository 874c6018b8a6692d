//! Operators as their issuers signed them, and their revocations, which are never taken back.

use rusqlite::{Connection, OptionalExtension as _, Row};
use serde::{Deserialize, Serialize};

use super::{StoreError, issuers, row};
use crate::domain::base::{DeviceId, OperatorId, TimeMs};
use crate::domain::gate::operators::{OperatorRevocation, SignedOperator};
use crate::domain::gate::persons::{Persons, folded};
use crate::domain::identity::Signature;

/// The end of an operator key, with its issuer's signature.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedRevocation {
    /// Whose key ends, when and why.
    pub revocation: OperatorRevocation,
    /// By whom, proven.
    pub signature: Signature,
}

/// An operator known here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OperatorRow {
    /// The record with its issuer's signature.
    pub signed: SignedOperator,
    /// Its end, if it was revoked.
    pub revocation: Option<SignedRevocation>,
}

/// Stores an operator's record in place of the one there was; a revocation stays.
///
/// # Errors
/// Any SQLite error.
pub fn put(conn: &Connection, signed: &SignedOperator) -> Result<(), StoreError> {
    let json = row::to_json("store an operator", signed)?;
    conn.prepare_cached(
        "INSERT INTO operators (operator_id, json) VALUES (?1, ?2)
         ON CONFLICT (operator_id) DO UPDATE SET json = excluded.json",
    )?
    .execute((signed.record.operator_id.as_str(), json))?;
    Ok(())
}

/// Stores a revocation, also of an operator not known yet; the first one stands. Whether it is new.
///
/// # Errors
/// Any SQLite error.
pub fn revoke(conn: &Connection, signed: &SignedRevocation) -> Result<bool, StoreError> {
    let json = row::to_json("store a revocation", signed)?;
    let changed = conn
        .prepare_cached(
            "INSERT INTO operators (operator_id, revocation) VALUES (?1, ?2)
             ON CONFLICT (operator_id) DO UPDATE SET revocation = excluded.revocation WHERE revocation IS NULL",
        )?
        .execute((signed.revocation.operator_id.as_str(), json))?;
    Ok(changed > 0)
}

fn read(found: &Row<'_>) -> rusqlite::Result<OperatorRow> {
    Ok(OperatorRow {
        signed: row::json(found, 0)?,
        revocation: row::json_opt(found, 1)?,
    })
}

/// The operator with this id, revoked or not.
///
/// # Errors
/// Any SQLite error.
pub fn get(conn: &Connection, id: &OperatorId) -> Result<Option<OperatorRow>, StoreError> {
    let sql = "SELECT json, revocation FROM operators WHERE operator_id = ?1 AND json IS NOT NULL";
    Ok(conn
        .prepare_cached(sql)?
        .query_row([id.as_str()], read)
        .optional()?)
}

/// Every operator, revoked ones too, by id.
///
/// # Errors
/// Any SQLite error.
pub fn all(conn: &Connection) -> Result<Vec<OperatorRow>, StoreError> {
    let sql = "SELECT json, revocation FROM operators WHERE json IS NOT NULL ORDER BY operator_id";
    let mut query = conn.prepare_cached(sql)?;
    let rows = query.query_map([], read)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// The operators whose issuer counts at this node: itself, or one that a person here has accepted.
/// Revoked ones too, so that a person stays one when a key of theirs ends.
///
/// # Errors
/// Any SQLite error.
pub fn counting(conn: &Connection, own: &DeviceId) -> Result<Vec<OperatorRow>, StoreError> {
    let accepted = issuers::all(conn)?;
    let mut rows = all(conn)?;
    rows.retain(|known| {
        let issuer = &known.signed.record.issuer;
        issuer == own || accepted.iter().any(|a| a.device_id == *issuer)
    });
    Ok(rows)
}

/// The persons among the operators that count here.
///
/// # Errors
/// Any SQLite error.
pub fn persons(conn: &Connection, own: &DeviceId) -> Result<Persons, StoreError> {
    let rows = counting(conn, own)?;
    Ok(Persons::of(
        rows.iter().map(|known| &known.signed.record),
        own,
    ))
}

/// Notes that a person of this name has ended here, with every key, known or yet to come.
///
/// # Errors
/// Any SQLite error.
pub fn end_person(conn: &Connection, name: &str, now: TimeMs) -> Result<(), StoreError> {
    conn.prepare_cached(
        "INSERT INTO persons_ended (name, ended_at) VALUES (?1, ?2)
         ON CONFLICT (name) DO UPDATE SET ended_at = excluded.ended_at",
    )?
    .execute((folded(name), now.to_i64()))?;
    Ok(())
}

/// When the person of this name ended here, if they did.
///
/// # Errors
/// Any SQLite error.
pub fn person_ended(conn: &Connection, name: &str) -> Result<Option<TimeMs>, StoreError> {
    let mut query = conn.prepare_cached("SELECT ended_at FROM persons_ended WHERE name = ?1")?;
    Ok(query
        .query_row([folded(name)], |r| row::time(r, 0))
        .optional()?)
}
