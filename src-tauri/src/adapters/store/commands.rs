//! Commands that have been here: what makes a repeated one do nothing.

use rusqlite::{Connection, OptionalExtension as _, params};

use super::{StoreError, row};
use crate::domain::base::{DeviceId, ProposalId, TimeMs};

/// A command that was received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandRow {
    /// Who sent it.
    pub requester: DeviceId,
    /// Its id, chosen by who sent it.
    pub command_id: String,
    /// The key under which the sender would repeat it.
    pub idempotency_key: Option<String>,
    /// When it came.
    pub received_at: TimeMs,
    /// The proposal that came of it.
    pub proposal_id: Option<ProposalId>,
}

/// Remembers a command; `false` if the same sender has sent one with this id before.
///
/// # Errors
/// Any SQLite error.
pub fn remember(
    conn: &Connection,
    requester: &DeviceId,
    command_id: &str,
    idempotency_key: Option<&str>,
    now: TimeMs,
) -> Result<bool, StoreError> {
    let fresh = conn
        .prepare_cached(
            "INSERT INTO commands (requester, command_id, idempotency_key, received_at) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT DO NOTHING",
        )?
        .execute(params![requester.as_str(), command_id, idempotency_key, now.to_i64()])?;
    Ok(fresh > 0)
}

/// Notes the proposal that came of a remembered command.
///
/// # Errors
/// Any SQLite error.
pub fn set_proposal(
    conn: &Connection,
    requester: &DeviceId,
    command_id: &str,
    proposal: &ProposalId,
) -> Result<(), StoreError> {
    conn.prepare_cached(
        "UPDATE commands SET proposal_id = ?3 WHERE requester = ?1 AND command_id = ?2",
    )?
    .execute((requester.as_str(), command_id, proposal.as_str()))?;
    Ok(())
}

/// The command with this id from this sender, if it was ever received.
///
/// # Errors
/// Any SQLite error.
pub fn get(
    conn: &Connection,
    requester: &DeviceId,
    command_id: &str,
) -> Result<Option<CommandRow>, StoreError> {
    let mut query = conn.prepare_cached(
        "SELECT requester, command_id, idempotency_key, received_at, proposal_id FROM commands
         WHERE requester = ?1 AND command_id = ?2",
    )?;
    let found = query.query_row((requester.as_str(), command_id), |found| {
        Ok(CommandRow {
            requester: row::parsed(found, 0)?,
            command_id: found.get(1)?,
            idempotency_key: found.get(2)?,
            received_at: row::time(found, 3)?,
            proposal_id: row::parsed_opt(found, 4)?,
        })
    });
    Ok(found.optional()?)
}

/// Forgets commands received before `cutoff`, which must be older than any command that would still
/// be accepted. Returns how many.
///
/// # Errors
/// Any SQLite error.
pub fn prune(conn: &Connection, cutoff: TimeMs) -> Result<u64, StoreError> {
    let gone = conn.execute(
        "DELETE FROM commands WHERE received_at < ?1",
        [cutoff.to_i64()],
    )?;
    Ok(u64::try_from(gone).unwrap_or(u64::MAX))
}
