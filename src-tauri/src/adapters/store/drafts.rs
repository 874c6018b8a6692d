//! Drafts on the asker's node, while their executor cannot be reached, and their results.

use rusqlite::{Connection, OptionalExtension as _, Row, params};
use serde::{Deserialize, Serialize};

use super::{StoreError, row};
use crate::domain::base::limits::DRAFTS_WAITING_MAX;
use crate::domain::base::{DeviceId, DraftId, ProposalId, TimeMs};

/// Where a draft stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DraftStatus {
    /// Its executor cannot be reached.
    Waiting,
    /// Its executor has it.
    Delivered,
    /// Its executor said no.
    Refused,
    /// Its executor did not come back in time.
    Expired,
}

impl DraftStatus {
    /// The name as stored and shown.
    pub fn as_str(self) -> &'static str {
        match self {
            DraftStatus::Waiting => "waiting",
            DraftStatus::Delivered => "delivered",
            DraftStatus::Refused => "refused",
            DraftStatus::Expired => "expired",
        }
    }
}

/// A draft and what came of it so far.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DraftRow {
    /// Its id.
    pub id: DraftId,
    /// The executor it is for, where that is known.
    pub executor: Option<DeviceId>,
    /// The actuator.
    pub target: String,
    /// The draft as JSON.
    pub json: String,
    /// Where it stands.
    pub status: DraftStatus,
    /// The code of the refusal, if it was refused or waits because of one.
    pub code: Option<String>,
    /// Why, in a sentence.
    pub message: Option<String>,
    /// When it was made.
    pub created_at: TimeMs,
    /// When it stops waiting.
    pub expires_at: TimeMs,
    /// The proposal its executor minted from it.
    pub proposal_id: Option<ProposalId>,
}

/// Stores a draft, or its new state.
///
/// # Errors
/// Any SQLite error.
pub fn put(conn: &Connection, draft: &DraftRow) -> Result<(), StoreError> {
    conn.prepare_cached(
        "INSERT INTO drafts (id, executor, target, json, status, code, message, created_at, expires_at, proposal_id)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)
         ON CONFLICT (id) DO UPDATE SET executor = excluded.executor, status = excluded.status, code = excluded.code,
            message = excluded.message, proposal_id = excluded.proposal_id",
    )?
    .execute(params![
        draft.id.as_str(),
        draft.executor.as_ref().map(DeviceId::as_str),
        draft.target,
        draft.json,
        draft.status.as_str(),
        draft.code,
        draft.message,
        draft.created_at.to_i64(),
        draft.expires_at.to_i64(),
        draft.proposal_id.as_ref().map(ProposalId::as_str),
    ])?;
    Ok(())
}

const SELECT: &str = "SELECT id, executor, target, json, status, code, message, created_at, expires_at, proposal_id FROM drafts";

fn read(found: &Row<'_>) -> rusqlite::Result<DraftRow> {
    Ok(DraftRow {
        id: row::parsed(found, 0)?,
        executor: row::parsed_opt(found, 1)?,
        target: found.get(2)?,
        json: found.get(3)?,
        status: row::named(found, 4)?,
        code: found.get(5)?,
        message: found.get(6)?,
        created_at: row::time(found, 7)?,
        expires_at: row::time(found, 8)?,
        proposal_id: row::parsed_opt(found, 9)?,
    })
}

/// The draft with this id.
///
/// # Errors
/// Any SQLite error.
pub fn get(conn: &Connection, id: &DraftId) -> Result<Option<DraftRow>, StoreError> {
    let mut query = conn.prepare_cached(&format!("{SELECT} WHERE id = ?1"))?;
    Ok(query.query_row([id.as_str()], read).optional()?)
}

/// The drafts that wait, oldest first.
///
/// # Errors
/// Any SQLite error.
pub fn waiting(conn: &Connection) -> Result<Vec<DraftRow>, StoreError> {
    let mut query = conn.prepare_cached(&format!(
        "{SELECT} WHERE status = 'waiting' ORDER BY created_at, id LIMIT ?1"
    ))?;
    let rows = query.query_map([row::limit(DRAFTS_WAITING_MAX)], read)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// The newest drafts, in any state, newest first.
///
/// # Errors
/// Any SQLite error.
pub fn list(conn: &Connection, limit: usize) -> Result<Vec<DraftRow>, StoreError> {
    let mut query =
        conn.prepare_cached(&format!("{SELECT} ORDER BY created_at DESC, id LIMIT ?1"))?;
    let rows = query.query_map([row::limit(limit)], read)?;
    row::readable(rows)
}

/// How many drafts wait.
///
/// # Errors
/// Any SQLite error.
pub fn waiting_count(conn: &Connection) -> Result<usize, StoreError> {
    let mut query = conn.prepare_cached("SELECT count(*) FROM drafts WHERE status = 'waiting'")?;
    Ok(usize::try_from(query.query_row([], |r| row::count(r, 0))?).unwrap_or(usize::MAX))
}
