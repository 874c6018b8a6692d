//! Proposals: our own, which we alone move on, and mirrors of what other executors tell us.

use rusqlite::{Connection, OptionalExtension as _, Params, Row, params};

use super::{StoreError, row};
use crate::domain::base::limits::{LIST_PAGE_BYTES, QUERY_MAX};
use crate::domain::base::{DeviceId, Digest, DraftId, FrameId, ProposalId, TimeMs};
use crate::domain::policy::{Level, Requester};
use crate::domain::proposal::{Outcome, Status};

/// Most proposals shown as resting on one frame.
const CITING_MAX: i64 = 100;

/// A proposal about to be stored, with its signed record.
#[derive(Debug, Clone, PartialEq)]
pub struct NewProposal {
    /// Its id.
    pub id: ProposalId,
    /// The device that minted it and alone acts on it.
    pub executor: DeviceId,
    /// Equal for equal wishes.
    pub intent_key: String,
    /// Where it stands.
    pub status: Status,
    /// Who must agree.
    pub level: Level,
    /// The actuator.
    pub target: String,
    /// Its operation.
    pub operation: String,
    /// The record as its executor signed it: canonical JSON.
    pub record: String,
    /// The record's digest, which people sign.
    pub digest: Digest,
    /// The executor's signature.
    pub signature: String,
    /// Whether this node is the executor.
    pub own: bool,
    /// When it was minted.
    pub created_at: TimeMs,
    /// When it stops waiting.
    pub expires_at: TimeMs,
    /// When it last changed, by the executor's clock.
    pub updated_at: TimeMs,
    /// The draft it was minted from.
    pub draft_id: DraftId,
}

/// A stored proposal; see [`NewProposal`] for what the first members mean.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)]
pub struct ProposalRow {
    pub id: ProposalId,
    pub executor: DeviceId,
    pub intent_key: String,
    pub status: Status,
    pub level: Level,
    pub target: String,
    pub operation: String,
    pub record: String,
    pub digest: Digest,
    pub signature: String,
    pub own: bool,
    pub created_at: TimeMs,
    pub expires_at: TimeMs,
    pub updated_at: TimeMs,
    pub draft_id: DraftId,
    /// How the action ended: an [`Outcome`] as JSON.
    pub outcome: Option<String>,
    /// Why it stands where it stands.
    pub reason: Option<String>,
    /// Counts up with every change.
    pub revision: u64,
}

/// The proposals that a shortened id matches.
#[derive(Debug, Clone, PartialEq)]
pub enum Found {
    /// Nothing.
    None,
    /// Exactly one proposal.
    One(Box<ProposalRow>),
    /// Several; the first few ids.
    Ambiguous(Vec<ProposalId>),
}

const OPEN: &str = "status IN ('awaiting_approval', 'approved', 'executing')";

const SELECT: &str = "SELECT id, executor, intent_key, status, level, target, operation, record, digest, signature, own,
    created_at, expires_at, updated_at, draft_id, outcome, reason, revision FROM proposals";

fn read(found: &Row<'_>) -> rusqlite::Result<ProposalRow> {
    Ok(ProposalRow {
        id: row::parsed(found, 0)?,
        executor: row::parsed(found, 1)?,
        intent_key: found.get(2)?,
        status: row::named(found, 3)?,
        level: row::named(found, 4)?,
        target: found.get(5)?,
        operation: found.get(6)?,
        record: found.get(7)?,
        digest: row::digest(found, 8)?,
        signature: found.get(9)?,
        own: found.get(10)?,
        created_at: row::time(found, 11)?,
        expires_at: row::time(found, 12)?,
        updated_at: row::time(found, 13)?,
        draft_id: row::parsed(found, 14)?,
        outcome: found.get(15)?,
        reason: found.get(16)?,
        revision: row::count(found, 17)?,
    })
}

fn one(
    conn: &Connection,
    rest: &str,
    params: impl Params,
) -> Result<Option<ProposalRow>, StoreError> {
    let mut query = conn.prepare_cached(&format!("{SELECT} {rest}"))?;
    Ok(query.query_row(params, read).optional()?)
}

fn many(
    conn: &Connection,
    rest: &str,
    params: impl Params,
) -> Result<Vec<ProposalRow>, StoreError> {
    let mut query = conn.prepare_cached(&format!("{SELECT} {rest}"))?;
    let rows = query.query_map(params, read)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

fn write(
    conn: &Connection,
    new: &NewProposal,
    on_conflict: &str,
    revision: u64,
    outcome: Option<&str>,
    reason: Option<&str>,
) -> Result<usize, StoreError> {
    // Who asked stands beside the record too, so that it can be queried; the record is what counts.
    let sql = format!(
        "INSERT INTO proposals (id, executor, intent_key, status, level, target, operation, record, digest, signature,
            own, created_at, expires_at, updated_at, draft_id, outcome, reason, revision, requester)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18,
            json_extract(?8, '$.requestedBy.deviceId')) {on_conflict}"
    );
    Ok(conn.prepare_cached(&sql)?.execute(params![
        new.id.as_str(),
        new.executor.as_str(),
        new.intent_key,
        new.status.as_str(),
        row::name_of("store a proposal", &new.level)?,
        new.target,
        new.operation,
        new.record,
        new.digest.0,
        new.signature,
        new.own,
        new.created_at.to_i64(),
        new.expires_at.to_i64(),
        new.updated_at.to_i64(),
        new.draft_id.as_str(),
        outcome,
        reason,
        row::number(revision),
    ])?)
}

/// Stores a proposal at revision 1.
///
/// # Errors
/// A constraint error if its id is known, or if an own one with the same intent is open.
pub fn insert(conn: &Connection, new: &NewProposal) -> Result<(), StoreError> {
    write(conn, new, "", 1, None, None).map(drop)
}

/// Stores another executor's update of its own proposal if it is newer; whether it was. A proposal of ours, another
/// executor's proposal and another record under a known id are never overwritten.
///
/// # Errors
/// Any SQLite error.
pub fn upsert_mirror(
    conn: &Connection,
    new: &NewProposal,
    revision: u64,
    outcome: Option<&Outcome>,
    reason: Option<&str>,
) -> Result<bool, StoreError> {
    let mirror = NewProposal {
        own: false,
        ..new.clone()
    };
    let outcome = outcome
        .map(|o| row::to_json("store an outcome", o))
        .transpose()?;
    let news = "ON CONFLICT (id) DO UPDATE SET status = excluded.status, updated_at = excluded.updated_at,
            outcome = excluded.outcome, reason = excluded.reason, revision = excluded.revision
        WHERE own = 0 AND excluded.revision > revision AND executor = excluded.executor AND digest = excluded.digest";
    Ok(write(conn, &mirror, news, revision, outcome.as_deref(), reason)? > 0)
}

/// Removes the oldest mirror of an executor that has ended; `false` if there is none.
///
/// # Errors
/// Any SQLite error.
pub fn drop_ended_mirror(conn: &Connection, executor: &DeviceId) -> Result<bool, StoreError> {
    let sql = format!(
        "SELECT id FROM proposals WHERE executor = ?1 AND own = 0 AND NOT ({OPEN})
         ORDER BY updated_at, id LIMIT 1"
    );
    let oldest: Option<String> = conn
        .prepare_cached(&sql)?
        .query_row([executor.as_str()], |r| r.get(0))
        .optional()?;
    let Some(id) = oldest else {
        return Ok(false);
    };
    for sql in [
        "DELETE FROM approvals WHERE proposal_id = ?1",
        "DELETE FROM proposals WHERE id = ?1",
    ] {
        conn.prepare_cached(sql)?.execute([&id])?;
    }
    Ok(true)
}

/// The proposal with this id.
///
/// # Errors
/// Any SQLite error.
pub fn get(conn: &Connection, id: &ProposalId) -> Result<Option<ProposalRow>, StoreError> {
    one(conn, "WHERE id = ?1", [id.as_str()])
}

/// The proposal whose id is or begins with `prefix`.
///
/// # Errors
/// Any SQLite error.
pub fn by_prefix(conn: &Connection, prefix: &str) -> Result<Found, StoreError> {
    // A range over the primary key; U+10FFFF sorts after anything an id may contain.
    let end = format!("{prefix}\u{10ffff}");
    let mut found = many(
        conn,
        "WHERE id >= ?1 AND id < ?2 ORDER BY id LIMIT 6",
        (prefix, end),
    )?;
    if let Some(exact) = found.iter().position(|r| r.id.as_str() == prefix) {
        return Ok(Found::One(Box::new(found.swap_remove(exact))));
    }
    Ok(match (found.pop(), found.is_empty()) {
        (None, _) => Found::None,
        (Some(_), _) if prefix.is_empty() => Found::None,
        (Some(only), true) => Found::One(Box::new(only)),
        (Some(last), false) => {
            found.push(last);
            Found::Ambiguous(found.into_iter().map(|r| r.id).collect())
        }
    })
}

/// Our own proposal that was minted from a draft of a device. Another device may have used the same id.
///
/// # Errors
/// Any SQLite error.
pub fn by_draft(
    conn: &Connection,
    id: &DraftId,
    from: &DeviceId,
) -> Result<Option<ProposalRow>, StoreError> {
    one(
        conn,
        "WHERE draft_id = ?1 AND own = 1 AND requester = ?2 ORDER BY created_at DESC LIMIT 1",
        (id.as_str(), from.as_str()),
    )
}

/// Proposals for an actuator that are open or were minted since a moment, newest first.
///
/// # Errors
/// Any SQLite error.
pub fn like(
    conn: &Connection,
    target: &str,
    since: TimeMs,
    limit: usize,
) -> Result<Vec<ProposalRow>, StoreError> {
    let rest = format!(
        "WHERE target = ?1 AND ({OPEN} OR created_at >= ?2) ORDER BY created_at DESC LIMIT ?3"
    );
    many(conn, &rest, (target, since.to_i64(), row::limit(limit)))
}

/// Our own open proposals for an actuator.
///
/// # Errors
/// Any SQLite error.
pub fn open_on(
    conn: &Connection,
    own: &DeviceId,
    target: &str,
) -> Result<Vec<ProposalRow>, StoreError> {
    let rest = format!("WHERE {OPEN} AND own = 1 AND executor = ?1 AND target = ?2");
    many(conn, &rest, (own.as_str(), target))
}

/// Proposals, newest first: all of them, or those that are still open. A page holds no more than
/// [`LIST_PAGE_BYTES`] of records, and at least one.
///
/// # Errors
/// Any SQLite error.
pub fn list(
    conn: &Connection,
    open_only: bool,
    limit: usize,
) -> Result<Vec<ProposalRow>, StoreError> {
    let rest = format!(
        "WHERE {} ORDER BY created_at DESC, id LIMIT ?1",
        of(open_only)
    );
    page(conn, &rest, [row::limit(limit)])
}

/// The proposals that [`list`] gives after this one.
///
/// # Errors
/// Any SQLite error.
pub fn list_after(
    conn: &Connection,
    open_only: bool,
    (created_at, id): (TimeMs, &ProposalId),
    limit: usize,
) -> Result<Vec<ProposalRow>, StoreError> {
    let rest = format!(
        "WHERE {} AND (created_at < ?1 OR (created_at = ?1 AND id > ?2))
         ORDER BY created_at DESC, id LIMIT ?3",
        of(open_only)
    );
    let after = (created_at.to_i64(), id.as_str(), row::limit(limit));
    page(conn, &rest, after)
}

fn of(open_only: bool) -> &'static str {
    if open_only { OPEN } else { "TRUE" }
}

fn page(
    conn: &Connection,
    rest: &str,
    params: impl Params,
) -> Result<Vec<ProposalRow>, StoreError> {
    let mut query = conn.prepare_cached(&format!("{SELECT} {rest}"))?;
    let (mut rows, mut bytes) = (Vec::new(), 0_u64);
    let mut all = query.query_map(params, read)?;
    while let Some(found) = row::next_readable(&mut all)? {
        bytes += u64::try_from(found.record.len()).unwrap_or(u64::MAX);
        if bytes > LIST_PAGE_BYTES && !rows.is_empty() {
            break;
        }
        rows.push(found);
    }
    Ok(rows)
}

/// The newest proposals, newest first: as many of our own as a page holds, and as many of others', so
/// that no number of those takes ours away.
///
/// # Errors
/// Any SQLite error.
pub fn newest(
    conn: &Connection,
    open_only: bool,
    limit: usize,
) -> Result<Vec<ProposalRow>, StoreError> {
    let mut rows = Vec::new();
    for own in [1, 0] {
        let rest = format!(
            "WHERE {} AND own = ?1 ORDER BY created_at DESC, id LIMIT ?2",
            of(open_only)
        );
        rows.extend(page(conn, &rest, (own, row::limit(limit)))?);
    }
    rows.sort_by(|a, b| (b.created_at, &a.id).cmp(&(a.created_at, &b.id)));
    Ok(rows)
}

/// Open proposals, own and mirrored, as [`newest`].
///
/// # Errors
/// Any SQLite error.
pub fn open_list(conn: &Connection, limit: usize) -> Result<Vec<ProposalRow>, StoreError> {
    newest(conn, true, limit)
}

/// Our own open proposals, oldest first.
///
/// # Errors
/// Any SQLite error.
pub fn own_open(conn: &Connection, limit: usize) -> Result<Vec<ProposalRow>, StoreError> {
    let rest = format!("WHERE {OPEN} AND own = 1 ORDER BY created_at, id LIMIT ?1");
    many(conn, &rest, [row::limit(limit)])
}

/// All our own open proposals, oldest first, read `page` at a time: however many there are.
///
/// # Errors
/// Any SQLite error.
pub fn own_open_all(conn: &Connection, page: usize) -> Result<Vec<ProposalRow>, StoreError> {
    let rest = format!(
        "WHERE {OPEN} AND own = 1 AND (created_at, id) > (?1, ?2) ORDER BY created_at, id LIMIT ?3"
    );
    let mut all: Vec<ProposalRow> = Vec::new();
    loop {
        let after = all
            .last()
            .map_or((i64::MIN, ""), |r| (r.created_at.to_i64(), r.id.as_str()));
        let more = many(conn, &rest, (after.0, after.1, row::limit(page)))?;
        if more.is_empty() {
            return Ok(all);
        }
        all.extend(more);
    }
}

/// Our own proposals that changed at or after `since`, and where `all_open` every open one too,
/// oldest change first.
///
/// # Errors
/// Any SQLite error.
pub fn own_changed_since(
    conn: &Connection,
    since: TimeMs,
    all_open: bool,
) -> Result<Vec<ProposalRow>, StoreError> {
    let open = if all_open {
        format!("OR {OPEN}")
    } else {
        String::new()
    };
    let rest = format!("WHERE own = 1 AND (updated_at >= ?1 {open}) ORDER BY updated_at, id");
    many(conn, &rest, [since.to_i64()])
}

/// The proposals whose evidence names this frame of this device, newest first.
///
/// # Errors
/// Any SQLite error.
pub fn citing(
    conn: &Connection,
    frame: &FrameId,
    origin: &DeviceId,
) -> Result<Vec<ProposalRow>, StoreError> {
    // The plain text search is only there to spare most records the JSON walk.
    let rest =
        "WHERE instr(record, ?1) > 0 AND EXISTS (SELECT 1 FROM json_each(record, '$.evidence') AS e
        WHERE json_extract(e.value, '$.frameId') = ?1 AND json_extract(e.value, '$.origin') = ?2)
        ORDER BY created_at DESC, id LIMIT ?3";
    many(conn, rest, (frame.as_str(), origin.as_str(), CITING_MAX))
}

/// The newest proposal about each target of each executor.
///
/// # Errors
/// Any SQLite error.
pub fn newest_by_target(conn: &Connection) -> Result<Vec<ProposalRow>, StoreError> {
    // With max() the other columns are those of the row that has it (SQLite, "bare columns").
    let newest = "WHERE (executor, target, updated_at) IN
        (SELECT executor, target, max(updated_at) FROM proposals GROUP BY executor, target)
        ORDER BY updated_at, id LIMIT ?1";
    many(conn, newest, [row::limit(QUERY_MAX)])
}

/// How many of our own proposals wait for people.
///
/// # Errors
/// Any SQLite error.
pub fn waiting_count(conn: &Connection) -> Result<usize, StoreError> {
    let sql = format!(
        "SELECT count(*) FROM proposals WHERE {OPEN} AND status = 'awaiting_approval' AND own = 1"
    );
    let count = conn
        .prepare_cached(&sql)?
        .query_row([], |r| row::count(r, 0))?;
    Ok(usize::try_from(count).unwrap_or(usize::MAX))
}

/// The proposals that a device asked for, as this kind of asker, and that wait for people: those of this node, and those
/// that others tell of.
///
/// # Errors
/// Any SQLite error.
pub fn waiting_of(
    conn: &Connection,
    device: &DeviceId,
    kind: Requester,
) -> Result<(usize, Vec<String>), StoreError> {
    let sql = format!(
        "SELECT id, own FROM proposals WHERE {OPEN} AND status = 'awaiting_approval'
         AND json_extract(record, '$.requestedBy.deviceId') = ?1
         AND json_extract(record, '$.requestedBy.kind') = ?2"
    );
    let mut query = conn.prepare_cached(&sql)?;
    let rows = query.query_map((device.as_str(), kind.to_string()), |r| {
        Ok((r.get::<_, String>(0)?, r.get::<_, bool>(1)?))
    })?;
    let (mut own, mut told) = (0, Vec::new());
    for row in rows {
        match row? {
            (_, true) => own += 1,
            (id, false) => told.push(id),
        }
    }
    Ok((own, told))
}

/// Our own proposals that act on a target now, the one that began last first; more than one only while a setting
/// takes the place of another.
///
/// # Errors
/// Any SQLite error.
pub fn executing_on(conn: &Connection, target: &str) -> Result<Vec<ProposalId>, StoreError> {
    // Those of a sequence are its own for as long as it acts, also before a step and after it.
    let sql = format!(
        "SELECT id FROM proposals WHERE {OPEN} AND status = 'executing' AND own = 1
             AND (target = ?1 OR id IN (SELECT proposal_id FROM steps WHERE target = ?1))
         ORDER BY updated_at DESC, revision DESC"
    );
    let mut query = conn.prepare_cached(&sql)?;
    let found = query.query_map([target], |r| row::parsed(r, 0))?;
    Ok(found.collect::<Result<_, _>>()?)
}

/// Moves our own proposal from one state to another; whether it stood where `from` says. An absent
/// reason leaves the one that stands.
///
/// # Errors
/// Any SQLite error.
pub fn transition(
    conn: &Connection,
    id: &ProposalId,
    from: Status,
    to: Status,
    now: TimeMs,
    reason: Option<&str>,
) -> Result<bool, StoreError> {
    let changed = conn
        .prepare_cached(
            "UPDATE proposals SET status = ?3, updated_at = ?4, reason = coalesce(?5, reason), revision = revision + 1
             WHERE id = ?1 AND own = 1 AND status = ?2",
        )?
        .execute(params![id.as_str(), from.as_str(), to.as_str(), now.to_i64(), reason])?;
    Ok(changed > 0)
}

/// Marks a waiting proposal of ours as changed by a decision that did not move it, so that those who
/// show it hear of the decision.
///
/// # Errors
/// Any SQLite error.
pub fn decided_about(conn: &Connection, id: &ProposalId, now: TimeMs) -> Result<(), StoreError> {
    conn.prepare_cached(
        "UPDATE proposals SET updated_at = ?2, revision = revision + 1 WHERE id = ?1 AND own = 1",
    )?
    .execute(params![id.as_str(), now.to_i64()])?;
    Ok(())
}

/// Writes down how our own action ended, beside the transition to that end.
///
/// # Errors
/// [`StoreError::Invalid`] if there is no such own proposal.
pub fn set_outcome(
    conn: &Connection,
    id: &ProposalId,
    outcome: &Outcome,
) -> Result<(), StoreError> {
    let json = row::to_json("store an outcome", outcome)?;
    let changed = conn
        .prepare_cached("UPDATE proposals SET outcome = ?2 WHERE id = ?1 AND own = 1")?
        .execute((id.as_str(), json))?;
    if changed == 0 {
        let why = format!("there is no own proposal {id}");
        return Err(StoreError::Invalid {
            what: "store an outcome",
            why,
        });
    }
    Ok(())
}
