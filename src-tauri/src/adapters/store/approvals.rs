//! Decisions: the standing word of each operator about each proposal, as they signed it.

use rusqlite::{Connection, OptionalExtension as _, Row, params};

use super::{StoreError, row};
use crate::domain::base::limits::{DECISIONS_USED_KEPT_MS, DECISIONS_USED_MAX};
use crate::domain::base::{Code, Digest, ProposalId, Refusal, TimeMs};
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

/// Deletes the decisions about a proposal.
///
/// # Errors
/// Any SQLite error.
pub fn forget(conn: &Connection, proposal: &ProposalId) -> Result<(), StoreError> {
    conn.prepare_cached("DELETE FROM approvals WHERE proposal_id = ?1")?
        .execute([proposal.as_str()])?;
    Ok(())
}

/// The decisions about a proposal, in the order they came.
///
/// # Errors
/// Any SQLite error.
pub fn of(conn: &Connection, id: &ProposalId) -> Result<Vec<SignedDecision>, StoreError> {
    let mut query = conn.prepare_cached(
        "SELECT record, signature FROM approvals WHERE proposal_id = ?1 ORDER BY received_at, operator_id",
    )?;
    let rows = query.query_map([id.as_str()], read)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// The hash of a decision: of the bytes that the person signed.
pub fn hash(signed: &SignedDecision) -> Digest {
    Digest::of(&[&signed.decision.signing_bytes()])
}

/// The result of this very decision when it came before: `None` if it was not, `Some(None)` if it was
/// taken, else the code with which it was refused.
///
/// # Errors
/// Any SQLite error.
pub fn used(
    conn: &Connection,
    signed: &SignedDecision,
) -> Result<Option<Option<String>>, StoreError> {
    let mut query = conn.prepare_cached("SELECT code FROM decisions_used WHERE hash = ?1")?;
    Ok(query.query_row([hash(signed).0], |r| r.get(0)).optional()?)
}

/// Writes down that a decision was used, and with what it was refused if it was. The first word stays.
///
/// # Errors
/// `BUSY` for an operator who had very many decisions about this proposal refused.
pub fn mark_used(
    conn: &Connection,
    signed: &SignedDecision,
    refused: Option<Code>,
    now: TimeMs,
) -> Result<(), StoreError> {
    let decision = &signed.decision;
    // A channel's decisions use up none of the person's own.
    let counted = decision.counted_as();
    let about = (decision.proposal_id.as_str(), counted.as_str());
    // A decision is valid for minutes, by the time in its signed bytes.
    let old = now.0.saturating_sub(DECISIONS_USED_KEPT_MS);
    conn.prepare_cached("DELETE FROM decisions_used WHERE at < ?1")?
        .execute([TimeMs(old).to_i64()])?;
    let had = conn
        .prepare_cached(
            "SELECT count(*) FROM decisions_used WHERE proposal_id = ?1 AND operator_id = ?2",
        )?
        .query_row(about, |r| row::count(r, 0))?;
    if had >= DECISIONS_USED_MAX {
        let why = format!(
            "{had} decisions of this operator about the proposal have been here; withdraw it and ask anew"
        );
        return Err(Refusal::new(Code::Busy, why).into());
    }
    conn.prepare_cached(
        "INSERT INTO decisions_used (hash, proposal_id, operator_id, code, at) VALUES (?1, ?2, ?3, ?4, ?5)
         ON CONFLICT (hash) DO NOTHING",
    )?
    .execute(params![hash(signed).0, about.0, about.1, refused.map(Code::as_str), now.to_i64()])?;
    Ok(())
}
