//! Taking a frame into the log. Of one origin and id one content stands: the best proven, and of those the
//! first. Signed by its origin is better than received over its origin's own link, and that is better than
//! relayed; others are kept apart, each on the account of the device that brought it.

use rusqlite::{Connection, params};

use super::frames::{self, FLAG_AHEAD, FLAG_UNSIGNED, NewFrame, StoredFrame};
use super::{StoreError, facts, named, packed, private, row, shares};
use crate::domain::admission::budget::Share;
use crate::domain::base::limits::FRAME_CONFLICTS_PER_ID_MAX;
use crate::domain::base::{DeviceId, Hlc};
use crate::domain::sync::{FrameKey, Keyed};
use crate::domain::world::SignatureState;

/// The result of storing a frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Inserted {
    /// It is in the log, at this place.
    Stored(u64),
    /// The very same frame was there already.
    Duplicate,
    /// It is older than what this node keeps; nothing was stored.
    Behind,
    /// There is no room for frames, also after others gave way; nothing was stored.
    NoRoom,
    /// A device has used up its share; nothing was stored.
    OverBudget {
        /// Whose share.
        device: DeviceId,
        /// Of what.
        share: Share,
    },
    /// The same frame was there worse proven, or without a signature that others can check; now it stands
    /// as this one.
    Proven(u64),
    /// It is in the log, at this place, and worse-proven ones with its id are no more.
    Instead {
        /// Its place.
        seq: u64,
        /// Those that it took the place of.
        of: Vec<Displaced>,
    },
    /// Another frame has its id and is as well proven or better; this one is kept apart, within limits.
    Conflict {
        /// The place of the frame that stands.
        with: u64,
    },
}

/// A frame that was in the log until a better-proven one with its id came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Displaced {
    /// Its place.
    pub seq: u64,
    /// Which, for reconciliation.
    pub keyed: Keyed,
    /// The device that had brought it.
    pub link_peer: Option<DeviceId>,
}

/// Stores a frame unless it is there already. One whose origin has used its id for other content is
/// kept apart, unless it is better proven: then the other one is.
///
/// # Errors
/// Any SQLite error.
pub fn insert(conn: &Connection, new: &NewFrame) -> Result<Inserted, StoreError> {
    let key = FrameKey::head_of(&new.frame_id);
    let origin = frames::device(conn, &new.origin)?;
    let (mut conflict, mut worse) = (None, Vec::new());
    let mut same = conn.prepare_cached(&format!(
        "SELECT seq, origin, content, signature, flags FROM frames WHERE seq IN ({})",
        named::PLACES
    ))?;
    let mut rows = same.query(named::parameters(&new.frame_id))?;
    while let Some(found) = rows.next()? {
        // Ids are each origin's own: another device using the same one takes nothing away.
        if found.get::<_, i64>(1)? != origin {
            continue;
        }
        let (seq, stored) = (row::count(found, 0)?, row::signature(found, 3)?);
        // A relayed copy never keeps out a frame that its origin signed, or sent itself.
        let better = new.signature < stored;
        if row::digest(found, 2)? == new.content {
            // Nor is a copy with a signature that others can check, by one without.
            let unsigned = found.get::<_, i64>(4)? & FLAG_UNSIGNED != 0;
            let completes = new.signed && unsigned && stored == SignatureState::Unverifiable;
            if !better && !completes {
                return Ok(Inserted::Duplicate);
            }
            drop(rows);
            prove(conn, seq, new, better)?;
            return Ok(Inserted::Proven(seq));
        }
        match better {
            true => worse.push(seq),
            false => conflict = Some(seq),
        }
    }
    if let Some(with) = conflict {
        keep_apart(conn, &Apart::of_new(key, new), with)?;
        return Ok(Inserted::Conflict { with });
    }
    let link_peer = link_number(conn, new, origin)?;
    let proven = new.signature != SignatureState::Unverifiable;
    let share = shares::number(origin, link_peer, proven);
    if shares::is_behind(conn, share, new.time, new.received_at)? {
        return Ok(Inserted::Behind);
    }
    let (lying, named) = (
        packed::lying(new),
        named::stored(&new.frame_id, new.claimed_at),
    );
    let seq = conn
        .prepare_cached(
            "INSERT INTO frames (frame_key, content, origin, frame_id, kind, claimed_at, time, received_at, hlc,
                origin_seq, claimed_tier, effective_tier, signature, tainted, hops, link_peer, flags, json, metric)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19)",
        )?
        .insert(params![
            named.unless_said(key),
            new.content.0,
            origin,
            named,
            lying.kind,
            named.unless_said(new.claimed_at.to_i64()),
            new.time.to_i64(),
            new.received_at.to_i64(),
            new.hlc.map(Hlc::to_i64),
            new.origin_seq.map(row::number),
            new.claimed_tier.rank(),
            new.effective_tier.rank(),
            row::signature_number(new.signature),
            new.tainted,
            new.hops,
            link_peer,
            flags(new),
            lying.text,
            lying.metric,
        ])?;
    let seq = u64::try_from(seq).unwrap_or(0);
    if worse.is_empty() {
        return Ok(Inserted::Stored(seq));
    }
    let of = displace(conn, key, &worse, seq)?;
    Ok(Inserted::Instead { seq, of })
}

fn link_number(conn: &Connection, new: &NewFrame, origin: i64) -> Result<Option<i64>, StoreError> {
    match &new.link_peer {
        Some(peer) if *peer == new.origin => Ok(Some(origin)),
        Some(peer) => frames::device(conn, peer).map(Some),
        None => Ok(None),
    }
}

fn flags(new: &NewFrame) -> i64 {
    let ahead = if new.ahead { FLAG_AHEAD } else { 0 };
    let unsigned = if new.signed { 0 } else { FLAG_UNSIGNED };
    let private = if new.private { private::PRIVATE } else { 0 };
    ahead | unsigned | private
}

/// Gives a stored frame the signature that a relay had left out, or, where it is now `better` proven, all
/// that tells how far it is.
fn prove(conn: &Connection, seq: u64, new: &NewFrame, better: bool) -> Result<(), StoreError> {
    let unsigned = if new.signed { 0 } else { FLAG_UNSIGNED };
    let lying = packed::lying(new);
    conn.prepare_cached(
        "UPDATE frames SET json = ?2, signature = ?3, effective_tier = ?4, flags = (flags & ~?5) | ?6, kind = ?7,
            metric = ?8 WHERE seq = ?1",
    )?
    .execute(params![
        row::number(seq),
        lying.text,
        row::signature_number(new.signature),
        new.effective_tier.rank(),
        FLAG_UNSIGNED,
        unsigned,
        lying.kind,
        lying.metric,
    ])?;
    if better {
        let link_peer = link_number(conn, new, frames::device(conn, &new.origin)?)?;
        let sql = "UPDATE frames SET link_peer = ?2, hops = ?3 WHERE seq = ?1";
        conn.prepare_cached(sql)?
            .execute((row::number(seq), link_peer, new.hops))?;
    }
    Ok(())
}

/// Takes frames out of the log for the better-proven one at a place, with the readings that stand on them,
/// and keeps them apart.
fn displace(
    conn: &Connection,
    key: i64,
    worse: &[u64],
    by: u64,
) -> Result<Vec<Displaced>, StoreError> {
    let mut gone = Vec::new();
    for seq in worse {
        let Some(old) = frames::by_seq(conn, *seq)? else {
            continue;
        };
        keep_apart(conn, &Apart::of_stored(key, &old), by)?;
        facts::drop_of_frame(conn, &old)?;
        conn.prepare_cached("DELETE FROM frames WHERE seq = ?1")?
            .execute([row::number(*seq)])?;
        let named = FrameKey::from_parts(key, &old.content);
        gone.push(Displaced {
            seq: *seq,
            keyed: Keyed {
                at: old.claimed_at,
                key: if old.signed { named } else { named.unsigned() },
            },
            link_peer: old.link_peer,
        });
    }
    Ok(gone)
}

/// A frame that is to be kept apart.
struct Apart<'a> {
    key: i64,
    frame_id: &'a str,
    origin: &'a DeviceId,
    content: &'a [u8],
    link_peer: Option<&'a DeviceId>,
    received_at: i64,
    json: &'a str,
}

impl<'a> Apart<'a> {
    fn of_new(key: i64, new: &'a NewFrame) -> Self {
        Self {
            key,
            frame_id: new.frame_id.as_str(),
            origin: &new.origin,
            content: &new.content.0,
            link_peer: new.link_peer.as_ref(),
            received_at: new.received_at.to_i64(),
            json: &new.json,
        }
    }

    fn of_stored(key: i64, old: &'a StoredFrame) -> Self {
        Self {
            key,
            frame_id: old.frame_id.as_str(),
            origin: &old.origin,
            content: &old.content.0,
            link_peer: old.link_peer.as_ref(),
            received_at: old.received_at.to_i64(),
            json: &old.json,
        }
    }
}

/// Keeps a conflicting frame, once, unless the device that brought it has brought too many already, of
/// this id or of all: its first ones stay, and it takes no room from what others bring.
fn keep_apart(conn: &Connection, apart: &Apart<'_>, with: u64) -> Result<(), StoreError> {
    let most = apart.link_peer.map_or(Share::Conflicts.most(), |peer| {
        Share::Conflicts.most_of(peer)
    });
    conn.prepare_cached(
        "INSERT INTO frame_conflicts (frame_key, frame_id, origin, content, with_seq, link_peer, received_at, json)
         SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8
         WHERE (SELECT count(*) FROM frame_conflicts WHERE link_peer IS ?6) < ?9
           AND (SELECT count(*) FROM frame_conflicts WHERE frame_key = ?1 AND frame_id = ?2 AND link_peer IS ?6) < ?10
           AND NOT EXISTS (SELECT 1 FROM frame_conflicts
                           WHERE frame_key = ?1 AND frame_id = ?2 AND origin = ?3 AND content = ?4)",
    )?
    .execute(params![
        apart.key,
        apart.frame_id,
        apart.origin.as_str(),
        apart.content,
        row::number(with),
        apart.link_peer.map(DeviceId::as_str),
        apart.received_at,
        apart.json,
        row::number(most),
        row::number(FRAME_CONFLICTS_PER_ID_MAX),
    ])?;
    Ok(())
}

/// How many conflicting frames are kept apart.
///
/// # Errors
/// Any SQLite error.
pub fn conflict_count(conn: &Connection) -> Result<u64, StoreError> {
    let sql = "SELECT count(*) FROM frame_conflicts";
    Ok(conn
        .prepare_cached(sql)?
        .query_row([], |r| row::count(r, 0))?)
}
