//! Decisions: the standing word of each operator about each proposal, as they signed it.

use rusqlite::{Connection, Row, params};

use super::{StoreError, row};
use crate::domain::base::{ProposalId, TimeMs};
use crate::domain::gate::SignedDecision;
use crate::domain::identity::Signature;

/// Stores a decision; a later one of the same operator takes its place.
///
/// # Errors
/// A constraint error if the proposal is not known here.
pub fn put(conn: &Connection, signed: &SignedDecision, now: TimeMs) -> Result<(), StoreError> {
    let decision = &signed.decision;
    conn.prepare_cached(
        "INSERT INTO approvals (proposal_id, operator_id, decision, record, signature, received_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6)
         ON CONFLICT (proposal_id, operator_id) DO UPDATE SET decision = excluded.decision, record = excluded.record,
            signature = excluded.signature, received_at = excluded.received_at",
    )?
    .execute(params![
        decision.proposal_id.as_str(),
        decision.operator_id.as_str(),
        row::name_of("store a decision", &decision.verdict)?,
        row::to_json("store a decision", decision)?,
        signed.signature.to_text(),
        now.to_i64(),
    ])?;
    Ok(())
}

fn read(found: &Row<'_>) -> rusqlite::Result<SignedDecision> {
    let signature = found
        .get_ref(1)?
        .as_str()
        .map_err(|e| row::unreadable(1, e))?;
    Ok(SignedDecision {
        decision: row::json(found, 0)?,
        signature: Signature::from_text(signature).map_err(|e| row::unreadable(1, e))?,
    })
}

/// The decisions about a proposal, in the order they came.
///
/// # Errors
/// Whatever SQLite says.
pub fn of(conn: &Connection, id: &ProposalId) -> Result<Vec<SignedDecision>, StoreError> {
    let mut query = conn.prepare_cached(
        "SELECT record, signature FROM approvals WHERE proposal_id = ?1 ORDER BY received_at, operator_id",
    )?;
    let rows = query.query_map([id.as_str()], read)?;
    Ok(rows.collect::<Result<_, _>>()?)
}
