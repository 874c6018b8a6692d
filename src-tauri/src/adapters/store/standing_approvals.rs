//! Standing approvals as their givers signed them, how often each was used, and how it ended. A use is never given back and an
//! end never taken back.

use rusqlite::{Connection, OptionalExtension as _, Row, params};

use super::{StoreError, kv, row};
use crate::domain::base::{Code, Digest, OperatorId, ProposalId, Refusal, TimeMs};
use crate::domain::gate::standing_approval::short;
use crate::domain::gate::{SignedStanding, SignedStandingEnd, StandingUse};

/// When a person last said which state or time is the right one; see [`void_all`].
const VOID_BEFORE: &str = "standing.void-before";

/// A standing approval that was given here.
#[derive(Debug, Clone, PartialEq)]
pub struct StandingRow {
    /// Its id.
    pub id: Digest,
    /// As its giver signed it.
    pub signed: SignedStanding,
    /// When it came, by this node's clock.
    pub received_at: TimeMs,
    /// How often it was used.
    pub used: u32,
    /// When and why it ended, where it did.
    pub ended: Option<(TimeMs, String)>,
}

/// The store's entry under an id.
#[derive(Debug, Clone, PartialEq)]
pub enum Held {
    /// Nothing.
    Nothing,
    /// One that was given.
    Given(Box<StandingRow>),
    /// One that was ended before it came.
    EndedBefore,
}

const COLUMNS: &str = "id, json, received_at, ended_at, ended_why,
    (SELECT count(*) FROM standing_uses u WHERE u.approval_id = s.id)";

fn read(found: &Row<'_>) -> rusqlite::Result<StandingRow> {
    let ended_at: Option<i64> = found.get(3)?;
    let ended = match ended_at {
        None => None,
        Some(_) => Some((row::time(found, 3)?, found.get(4)?)),
    };
    Ok(StandingRow {
        id: Digest(found.get(0)?),
        signed: row::json(found, 1)?,
        received_at: row::time(found, 2)?,
        used: found.get(5)?,
        ended,
    })
}

/// Stores one that was given.
///
/// # Errors
/// A constraint error if there is one with its id.
pub fn put(conn: &Connection, signed: &SignedStanding, now: TimeMs) -> Result<(), StoreError> {
    let json = row::to_json("store a standing approval", signed)?;
    conn.prepare_cached(
        "INSERT INTO standing_approvals (id, json, operator_id, received_at) VALUES (?1, ?2, ?3, ?4)",
    )?
    .execute(params![
        signed.approval.id().0,
        json,
        signed.approval.operator_id.as_str(),
        now.to_i64(),
    ])?;
    Ok(())
}

/// The entry under an id.
///
/// # Errors
/// Any SQLite error.
pub fn get(conn: &Connection, id: &Digest) -> Result<Held, StoreError> {
    let sql = format!("SELECT {COLUMNS}, json IS NULL FROM standing_approvals s WHERE id = ?1");
    let found = conn
        .prepare_cached(&sql)?
        .query_row([id.0], |found| match found.get(6)? {
            true => Ok(Held::EndedBefore),
            false => Ok(Held::Given(Box::new(read(found)?))),
        })
        .optional()?;
    Ok(found.unwrap_or(Held::Nothing))
}

/// Those that have not ended, as they came. Whether one counts now is not decided here.
///
/// # Errors
/// Any SQLite error.
pub fn live(conn: &Connection) -> Result<Vec<StandingRow>, StoreError> {
    let sql = format!(
        "SELECT {COLUMNS} FROM standing_approvals s WHERE ended_at IS NULL AND json IS NOT NULL ORDER BY received_at, id"
    );
    let mut query = conn.prepare_cached(&sql)?;
    let rows = query.query_map([], read)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Those that have ended last, the latest first.
///
/// # Errors
/// Any SQLite error.
pub fn ended(conn: &Connection, most: usize) -> Result<Vec<StandingRow>, StoreError> {
    let sql = format!(
        "SELECT {COLUMNS} FROM standing_approvals s WHERE json IS NOT NULL AND ended_at IS NOT NULL
         ORDER BY ended_at DESC, id LIMIT ?1"
    );
    let mut query = conn.prepare_cached(&sql)?;
    row::readable(query.query_map([row::limit(most)], read)?)
}

/// How many were given here, ended ones too.
///
/// # Errors
/// Any SQLite error.
pub fn count(conn: &Connection) -> Result<u64, StoreError> {
    let sql = "SELECT count(*) FROM standing_approvals WHERE json IS NOT NULL";
    Ok(conn.query_row(sql, [], |found| row::count(found, 0))?)
}

/// Ends one; `by` is the signed word of a person, where one said so. Whether it had not ended yet.
///
/// # Errors
/// Any SQLite error.
pub fn end(
    conn: &Connection,
    id: &Digest,
    now: TimeMs,
    why: &str,
    by: Option<&SignedStandingEnd>,
) -> Result<bool, StoreError> {
    let by = by
        .map(|by| row::to_json("store the end of a standing approval", by))
        .transpose()?;
    let changed = conn
        .prepare_cached(
            "UPDATE standing_approvals SET ended_at = ?2, ended_why = ?3, ended_by = ?4 WHERE id = ?1 AND ended_at IS NULL",
        )?
        .execute(params![id.0, now.to_i64(), why, by])?;
    Ok(changed > 0)
}

/// Notes that one ends which has not come: it is not taken when it does.
///
/// # Errors
/// `BUSY` where there are many of the same operator already.
pub fn end_before(
    conn: &Connection,
    signed: &SignedStandingEnd,
    most: u64,
    now: TimeMs,
) -> Result<(), StoreError> {
    let by = row::to_json("store the end of a standing approval", signed)?;
    let operator: &OperatorId = &signed.end.operator_id;
    let had = conn
        .prepare_cached(
            "SELECT count(*) FROM standing_approvals WHERE operator_id = ?1 AND json IS NULL AND received_at > ?2",
        )?
        .query_row(
            params![operator.as_str(), TimeMs(now.0.saturating_sub(86_400_000)).to_i64()],
            |found| row::count(found, 0),
        )?;
    if had >= most {
        let why = "you have ended many standing approvals today that are not known here";
        return Err(Refusal::new(Code::Busy, why).into());
    }
    conn.prepare_cached(
        "INSERT INTO standing_approvals (id, operator_id, received_at, ended_at, ended_why, ended_by)
         VALUES (?1, ?2, ?3, ?3, 'revoked before it came', ?4) ON CONFLICT (id) DO NOTHING",
    )?
    .execute(params![
        signed.end.approval.0,
        operator.as_str(),
        now.to_i64(),
        by
    ])?;
    Ok(())
}

/// Ends all of them, and takes none that was signed before now: how often they were used is not known any more. Returns their
/// ids.
///
/// # Errors
/// Any SQLite error.
pub fn void_all(conn: &Connection, now: TimeMs, why: &str) -> Result<Vec<Digest>, StoreError> {
    let ended: Vec<Digest> = {
        let mut query = conn.prepare_cached(
            "UPDATE standing_approvals SET ended_at = ?1, ended_why = ?2 WHERE ended_at IS NULL RETURNING id",
        )?;
        let rows = query.query_map(params![now.to_i64(), why], |found| {
            Ok(Digest(found.get(0)?))
        })?;
        rows.collect::<Result<_, _>>()?
    };
    kv::put(conn, VOID_BEFORE, &now.0.to_be_bytes())?;
    Ok(ended)
}

/// The moment before which none counts that was signed.
///
/// # Errors
/// Any SQLite error.
pub fn void_before(conn: &Connection) -> Result<TimeMs, StoreError> {
    let bytes = kv::get(conn, VOID_BEFORE)?;
    let number = bytes.and_then(|b| b.try_into().ok());
    Ok(TimeMs(number.map_or(0, u64::from_be_bytes)))
}

/// Counts a use, in the transaction in which the act is written ahead.
///
/// # Errors
/// `CONFLICT` if it has ended, was used up, or this is not its next use; a constraint error for a second use by one
/// proposal.
pub fn count_use(
    conn: &Connection,
    used: &StandingUse,
    proposal: &ProposalId,
    now: TimeMs,
) -> Result<(), StoreError> {
    let counted = conn
        .prepare_cached(
            "INSERT INTO standing_uses (approval_id, number, proposal_id, used_at)
             SELECT id, ?2, ?3, ?4 FROM standing_approvals s
             WHERE id = ?1 AND ended_at IS NULL AND json IS NOT NULL
               AND ?2 <= json_extract(json, '$.approval.usesMax')
               AND ?2 = 1 + (SELECT count(*) FROM standing_uses u WHERE u.approval_id = s.id)",
        )?
        .execute(params![
            used.id.0,
            used.number,
            proposal.as_str(),
            now.to_i64()
        ])?;
    if counted == 0 {
        let why = format!("standing approval {} cannot be used now", short(&used.id));
        return Err(Refusal::new(Code::Conflict, why).into());
    }
    Ok(())
}

/// The use by which a proposal began, with who gave the standing approval.
///
/// # Errors
/// Any SQLite error.
pub fn used_by(
    conn: &Connection,
    proposal: &ProposalId,
) -> Result<Option<(StandingUse, OperatorId)>, StoreError> {
    let sql = "SELECT s.id, u.number, json_extract(s.json, '$.approval.usesMax'), s.operator_id
         FROM standing_uses u JOIN standing_approvals s ON s.id = u.approval_id WHERE u.proposal_id = ?1";
    let mut query = conn.prepare_cached(sql)?;
    let found = query.query_row([proposal.as_str()], |found| {
        let used = StandingUse {
            id: Digest(found.get(0)?),
            number: found.get(1)?,
            of: found.get(2)?,
        };
        Ok((used, row::parsed(found, 3)?))
    });
    Ok(found.optional()?)
}

/// The proposals that began by one, its last uses, in their order.
///
/// # Errors
/// Any SQLite error.
pub fn uses(
    conn: &Connection,
    id: &Digest,
    most: usize,
) -> Result<Vec<(ProposalId, TimeMs)>, StoreError> {
    let sql = "SELECT proposal_id, used_at FROM standing_uses WHERE approval_id = ?1 ORDER BY number DESC LIMIT ?2";
    let mut query = conn.prepare_cached(sql)?;
    let rows = query.query_map(params![id.0, row::limit(most)], |found| {
        Ok((row::parsed(found, 0)?, row::time(found, 1)?))
    })?;
    let mut uses: Vec<_> = rows.collect::<Result<_, _>>()?;
    uses.reverse();
    Ok(uses)
}
