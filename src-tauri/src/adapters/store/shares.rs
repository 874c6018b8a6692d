//! Each device's share of the frame log, and the order of pruning. A device that is over its share loses
//! its own oldest frames; where there is no room for frames, those go first of devices that are trusted no
//! more, then those of the device that has most. Frames cited by open proposals stay.

use std::collections::BTreeSet;

use rusqlite::Connection;

use super::room::{self, For};
use super::{StoreError, frame_sync, history, named, row};
use crate::domain::base::ids::AT_ADDRESS;
use crate::domain::base::limits::{
    ADDRESS_KEPT_BYTES, ADDRESS_KEPT_FRAMES, FRAME_ROW_BYTES, SHARE_PRUNED_AT_ONCE,
    SHARE_PRUNED_BYTES, SHARE_PRUNED_EASE, SHARE_PRUNED_MAX,
};
use crate::domain::base::{DeviceId, TimeMs};
use crate::domain::sync::Keyed;

/// The share of this node itself.
const OWN: i64 = 0;

/// The most that one other device may have in the frame log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Most {
    /// So many frames.
    pub frames: u64,
    /// So many bytes.
    pub bytes: u64,
}

/// A device's share of the frame log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// The device that is proven to have made them, or that brought them; `None` is this node.
    pub device: Option<DeviceId>,
    /// Whether it brought them and their origin is unproven.
    pub carried: bool,
    /// How many.
    pub frames: u64,
    /// How much they take, in bytes.
    pub bytes: u64,
    /// The newest time of those that were pruned to make room.
    pub horizon: Option<TimeMs>,
}

/// Frames that were pruned from one share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pruned {
    /// Whose; `None` is this node.
    pub device: Option<DeviceId>,
    /// Which, for reconciliation.
    pub keys: Vec<Keyed>,
    /// The newest time among them.
    pub newest: TimeMs,
    /// Whether there was no room for frames; else the device was over its share.
    pub for_room: bool,
}

/// The number under which a frame's share stands; see migration 14.
pub(super) fn number(origin: i64, link_peer: Option<i64>, proven: bool) -> i64 {
    match (link_peer, proven) {
        (None, _) => OWN,
        (Some(_), true) => origin,
        (Some(peer), false) => -peer,
    }
}

/// Whether frames as old as this were pruned from a share and are not taken again. A time that was
/// written down while this node's clock was ahead hides nothing.
pub(super) fn is_behind(
    conn: &Connection,
    share: i64,
    time: TimeMs,
    now: TimeMs,
) -> Result<bool, StoreError> {
    let sql = "SELECT EXISTS (SELECT 1 FROM frame_shares WHERE share = ?1 AND horizon >= ?2 AND horizon <= ?3)";
    let mut query = conn.prepare_cached(sql)?;
    Ok(query.query_row((share, time.to_i64(), now.to_i64()), |r| r.get(0))?)
}

/// How many frames the log holds.
///
/// # Errors
/// Any SQLite error.
pub fn count(conn: &Connection) -> Result<u64, StoreError> {
    let sql = "SELECT coalesce(sum(frames), 0) FROM frame_shares";
    Ok(conn
        .prepare_cached(sql)?
        .query_row([], |r| row::count(r, 0))?)
}

/// Each device's share of the frame log, in order of pruning: devices that are trusted no more and unproven
/// answers first, then those that have most.
///
/// # Errors
/// Any SQLite error.
pub fn all(conn: &Connection) -> Result<Vec<Kept>, StoreError> {
    Ok(ordered(conn)?.into_iter().map(|(_, kept)| kept).collect())
}

fn ordered(conn: &Connection) -> Result<Vec<(i64, Kept)>, StoreError> {
    let sql = "SELECT s.share, s.frames, s.bytes, s.horizon, d.device_id,
            s.share <> 0 AND NOT EXISTS (SELECT 1 FROM trust t WHERE t.device_id = d.device_id
                AND json_extract(t.json, '$.revokedAt') IS NULL) AS ended
        FROM frame_shares s LEFT JOIN devices d ON d.id = abs(s.share)
        WHERE s.frames > 0 ORDER BY ended DESC, s.bytes DESC";
    let mut query = conn.prepare_cached(sql)?;
    let rows = query.query_map([], |found| {
        let share: i64 = found.get(0)?;
        let kept = Kept {
            device: row::parsed_opt(found, 4)?,
            carried: share < OWN,
            frames: row::count(found, 1)?,
            bytes: row::count(found, 2)?,
            horizon: found.get::<_, Option<i64>>(3)?.map(TimeMs::from_i64),
        };
        Ok((share, kept))
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Brings every device that is over its share back within it, by its own oldest frames: of what it
/// made or of what it brought, whichever is more.
///
/// # Errors
/// Any SQLite error.
pub fn within(conn: &Connection, most: Most) -> Result<Vec<Pruned>, StoreError> {
    let at_address = Most {
        frames: most.frames.min(ADDRESS_KEPT_FRAMES),
        bytes: most.bytes.min(ADDRESS_KEPT_BYTES),
    };
    // With max() the share is that of the row that has it (SQLite, "bare columns"). Whose it is needs to be
    // looked up only for those that have more than an address may have.
    let sql =
        "SELECT share, max(bytes), sum(frames), sum(bytes), sum(frames) <= ?1 AND sum(bytes) <= ?2
        FROM frame_shares WHERE share <> 0 GROUP BY abs(share)
        HAVING sum(frames) > ?1 OR sum(bytes) > ?2 OR ((sum(frames) > ?3 OR sum(bytes) > ?4)
            AND (SELECT substr(device_id, 1, 16) FROM devices WHERE id = abs(share)) = ?5)";
    let mut query = conn.prepare_cached(sql)?;
    let limits = (
        row::number(most.frames),
        row::number(most.bytes),
        row::number(at_address.frames),
        row::number(at_address.bytes),
        AT_ADDRESS,
    );
    let over = query.query_map(limits, |r| {
        let most = if r.get(4)? { at_address } else { most };
        Ok((
            r.get::<_, i64>(0)?,
            row::count(r, 2)?,
            row::count(r, 3)?,
            most,
        ))
    })?;
    let over: Vec<_> = over.collect::<Result<_, _>>()?;
    let mut pruned = Vec::new();
    for (share, frames, bytes, most) in over {
        // A little more than is needed, so that not every batch prunes, and not so much that a decision
        // waits for it.
        let over = |used: u64, most: u64, ease: u64| match used > most {
            true => used - (most - ease.min(most / 64)),
            false => 0,
        };
        let surplus = Surplus {
            frames: over(frames, most.frames, SHARE_PRUNED_EASE),
            bytes: over(bytes, most.bytes, SHARE_PRUNED_BYTES),
        };
        pruned.extend(prune(conn, share, surplus, false)?);
    }
    Ok(pruned)
}

/// Brings every device back within its share, and takes frames away where other data has begun to use the
/// room that frames must leave.
///
/// # Errors
/// Any SQLite error.
pub fn make_room_for_others(conn: &Connection, most: Most) -> Result<Vec<Pruned>, StoreError> {
    let mut pruned = within(conn, most)?;
    pruned.extend(make_room(conn, 1)?.1);
    Ok(pruned)
}

/// Makes room for `need` bytes of frames; whether there is some now, and what was pruned for it.
///
/// # Errors
/// Any SQLite error.
pub fn make_room(conn: &Connection, need: u64) -> Result<(bool, Vec<Pruned>), StoreError> {
    let mut pruned: Vec<Pruned> = Vec::new();
    let mut gone = 0;
    loop {
        let left = room::left(conn, For::Frames)?;
        if left >= need {
            return Ok((true, pruned));
        }
        let want = need.max(SHARE_PRUNED_BYTES);
        let found = match gone < SHARE_PRUNED_AT_ONCE {
            true => prune_first(conn, want)?,
            false => None,
        };
        let Some(more) = found else {
            return Ok((false, pruned));
        };
        gone += more.keys.len();
        pruned.push(more);
    }
}

/// The room for the frames of one batch.
#[derive(Debug)]
pub struct Batch {
    left: u64,
    pruned: Vec<Pruned>,
    refused: bool,
}

impl Batch {
    /// Looks how much there is.
    ///
    /// # Errors
    /// Any SQLite error.
    pub fn begin(conn: &Connection) -> Result<Self, StoreError> {
        Ok(Self {
            left: room::left(conn, For::Frames)?,
            pruned: Vec::new(),
            refused: false,
        })
    }

    /// Whether a frame of so many bytes of text may be stored; others give way for it.
    ///
    /// # Errors
    /// Any SQLite error.
    pub fn admits(&mut self, conn: &Connection, text: usize) -> Result<bool, StoreError> {
        // Its row, its places in the indexes, and its share of pages that are begun.
        let text = u64::try_from(text).unwrap_or(u64::MAX);
        let need = text.saturating_add(text / 4 + 8 * FRAME_ROW_BYTES);
        if self.left < need && !self.refused {
            let (made, pruned) = make_room(conn, need)?;
            self.pruned.extend(pruned);
            self.left = room::left(conn, For::Frames)?;
            self.refused = !made;
        }
        let fits = self.left >= need;
        if fits {
            self.left -= need;
        }
        Ok(fits)
    }

    /// Brings who is over their share back within it; returns all that was pruned, and, where there was
    /// no room or others had to give way, who has how much.
    ///
    /// # Errors
    /// Any SQLite error.
    pub fn end(
        mut self,
        conn: &Connection,
        most: Most,
    ) -> Result<(Vec<Pruned>, Option<Vec<Kept>>), StoreError> {
        let pressed = self.refused || !self.pruned.is_empty();
        self.pruned.extend(within(conn, most)?);
        let who = match pressed {
            true => Some(all(conn)?),
            false => None,
        };
        Ok((self.pruned, who))
    }
}

/// Prunes the oldest frames of the first that gives way. This node's own frames do only where they
/// are more than half of all.
fn prune_first(conn: &Connection, bytes: u64) -> Result<Option<Pruned>, StoreError> {
    let all = ordered(conn)?;
    let whole: u64 = all.iter().map(|(_, kept)| kept.bytes).sum();
    for (share, kept) in all {
        if share == OWN && kept.bytes <= whole / 2 {
            continue;
        }
        let surplus = Surplus { frames: 0, bytes };
        if let Some(pruned) = prune(conn, share, surplus, true)? {
            return Ok(Some(pruned));
        }
    }
    Ok(None)
}

/// The frames that open proposals of this node stand on.
fn cited(conn: &Connection) -> Result<BTreeSet<String>, StoreError> {
    let sql = "SELECT DISTINCT json_extract(e.value, '$.frameId') FROM proposals p, json_each(p.record, '$.evidence') e
        WHERE p.own = 1 AND p.status IN ('awaiting_approval', 'approved', 'executing')";
    let mut query = conn.prepare_cached(sql)?;
    let rows = query.query_map([], |r| r.get::<_, Option<String>>(0))?;
    let found: Vec<Option<String>> = rows.collect::<Result<_, _>>()?;
    Ok(found.into_iter().flatten().collect())
}

/// How much of a share has to go.
#[derive(Clone, Copy)]
struct Surplus {
    frames: u64,
    bytes: u64,
}

/// Removes the oldest frames of a share until so many frames and bytes are gone, at most
/// [`SHARE_PRUNED_MAX`] in one call, and records how far. `None` where there are none to remove.
fn prune(
    conn: &Connection,
    share: i64,
    surplus: Surplus,
    for_room: bool,
) -> Result<Option<Pruned>, StoreError> {
    let stay = cited(conn)?;
    let sql = "SELECT seq, claimed_at, frame_key, content, flags, frame_id, octet_length(json), min(time, received_at)
        FROM frames WHERE share = ?1 ORDER BY time";
    let mut query = conn.prepare_cached(sql)?;
    let mut rows = query.query([share])?;
    let (mut seqs, mut keys, mut freed, mut newest) = (Vec::new(), Vec::new(), 0_u64, TimeMs(0));
    while let Some(found) = rows.next()? {
        let gone = u64::try_from(seqs.len()).unwrap_or(u64::MAX);
        let enough = freed >= surplus.bytes && gone >= surplus.frames;
        if enough || seqs.len() >= SHARE_PRUNED_MAX {
            break;
        }
        if stay.contains(named::read(found, 5)?.as_str()) {
            continue;
        }
        seqs.push(found.get::<_, i64>(0)?);
        keys.push(frame_sync::keyed(found, 1)?);
        freed = freed.saturating_add(row::count(found, 6)?.saturating_add(FRAME_ROW_BYTES));
        newest = newest.max(row::time(found, 7)?);
    }
    drop(rows);
    if seqs.is_empty() {
        return Ok(None);
    }
    history::absorb(conn, &seqs)?;
    let mut delete = conn.prepare_cached("DELETE FROM frames WHERE seq = ?1")?;
    for seq in seqs {
        delete.execute([seq])?;
    }
    conn.prepare_cached(
        "UPDATE frame_shares SET horizon = max(coalesce(horizon, 0), ?2) WHERE share = ?1",
    )?
    .execute((share, newest.to_i64()))?;
    let sql = "SELECT device_id FROM devices WHERE id = abs(?1)";
    let mut device = conn.prepare_cached(sql)?;
    let mut device = device.query_map([share], |r| row::parsed(r, 0))?;
    Ok(Some(Pruned {
        device: device.next().transpose()?,
        keys,
        newest,
        for_room,
    }))
}
