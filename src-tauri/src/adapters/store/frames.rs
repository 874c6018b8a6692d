//! The frame log: append-only, pruned at the old end, and in a share where a device has too much.

use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension as _, Row, ToSql};

pub use super::frame_insert::{Displaced, Inserted, conflict_count, insert};
pub use super::horizon::{Cutoff, Horizon, aged, horizon, prune, prune_before};
use super::packed::{self, Columns};
use super::{StoreError, named, private, row, shares};
use crate::domain::base::limits::{FRAMES_PAGE_BYTES, QUERY_DEFAULT};
use crate::domain::base::{DeviceId, Digest, FrameId, Hlc, Tier, TimeMs};
use crate::domain::wire::FrameKind;
use crate::domain::world::SignatureState;

pub(super) const FLAG_AHEAD: i64 = 1;
/// It carries no signature of its origin.
pub(super) const FLAG_UNSIGNED: i64 = 2;
/// How many of the newest frames are looked at for the newest logical time of others.
const HLC_LOOKBACK: i64 = 4_096;

/// A frame about to be stored.
#[derive(Debug, Clone)]
pub struct NewFrame {
    /// The hash of what its origin signs.
    pub content: Digest,
    /// The device it comes from.
    pub origin: DeviceId,
    /// Its id, chosen by its origin.
    pub frame_id: FrameId,
    /// Its kind.
    pub kind: FrameKind,
    /// When it was made, by its origin's clock.
    pub claimed_at: TimeMs,
    /// Its time as far as we believe it.
    pub time: TimeMs,
    /// When we got it.
    pub received_at: TimeMs,
    /// Its origin's logical time.
    pub hlc: Option<Hlc>,
    /// Its origin's count of its own frames.
    pub origin_seq: Option<u64>,
    /// The tier its origin claims.
    pub claimed_tier: Tier,
    /// The tier this node vouches for.
    pub effective_tier: Tier,
    /// Whether it carries a signature, checked or not.
    pub signed: bool,
    /// State of its signature.
    pub signature: SignatureState,
    /// Whether a model had a part in it.
    pub tainted: bool,
    /// How many links it has crossed.
    pub hops: u32,
    /// The device whose link brought it, or the account of an address of a device; `None` is this node.
    pub link_peer: Option<DeviceId>,
    /// Whether its timestamp lay too far ahead to be believed.
    pub ahead: bool,
    /// Whether its origin marked it as private.
    pub private: bool,
    /// Its metric, where its data has one.
    pub metric: Option<String>,
    /// The frame as it came, without `hops`.
    pub json: Arc<str>,
}

/// A frame of the log; see [`NewFrame`] for what the members mean.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct StoredFrame {
    /// Its place in this node's log.
    pub seq: u64,
    pub content: Digest,
    pub origin: DeviceId,
    pub frame_id: FrameId,
    pub kind: FrameKind,
    pub claimed_at: TimeMs,
    pub time: TimeMs,
    pub received_at: TimeMs,
    pub hlc: Option<Hlc>,
    pub origin_seq: Option<u64>,
    pub claimed_tier: Tier,
    pub effective_tier: Tier,
    pub signed: bool,
    pub signature: SignatureState,
    pub tainted: bool,
    pub hops: u32,
    pub link_peer: Option<DeviceId>,
    pub ahead: bool,
    /// Whether it is never offered: it is private, or a reading from before its time.
    pub private: bool,
    pub json: String,
}

/// Which frames a page shows; the default is the newest of every kind.
#[derive(Debug, Clone)]
pub struct FrameFilter {
    /// Only of this kind.
    pub kind: Option<FrameKind>,
    /// Only from this device.
    pub origin: Option<DeviceId>,
    /// Only those whose believed time is at or after this.
    pub since: Option<TimeMs>,
    /// Only those whose data names this zone.
    pub zone: Option<String>,
    /// Only those whose data names this metric.
    pub metric: Option<String>,
    /// Only those that any device may have that may read here.
    pub public: bool,
    /// Only those before this place in the log: the next page.
    pub before_seq: Option<u64>,
    /// At most this many.
    pub limit: usize,
    /// At most this much text together, in bytes; one frame in any case.
    pub bytes: usize,
}

impl Default for FrameFilter {
    fn default() -> Self {
        Self {
            kind: None,
            origin: None,
            since: None,
            zone: None,
            metric: None,
            public: false,
            before_seq: None,
            limit: QUERY_DEFAULT,
            bytes: FRAMES_PAGE_BYTES,
        }
    }
}

/// The small number of a device, given on first sight.
pub(super) fn device(conn: &Connection, id: &DeviceId) -> Result<i64, StoreError> {
    if let Some(known) = known_device(conn, id)? {
        return Ok(known);
    }
    let mut insert = conn.prepare_cached("INSERT INTO devices (device_id) VALUES (?1)")?;
    Ok(insert.insert([id.as_str()])?)
}

/// Whether a device has been heard of.
///
/// # Errors
/// Any SQLite error.
pub fn knows(conn: &Connection, id: &DeviceId) -> Result<bool, StoreError> {
    Ok(known_device(conn, id)?.is_some())
}

/// Notes that a device told of another one that is unknown here and that nothing proves. Undoing this would mean
/// a scan of all frames, so the limit is checked before.
///
/// # Errors
/// Any SQLite error.
pub fn introduce(conn: &Connection, id: &DeviceId, via: &DeviceId) -> Result<(), StoreError> {
    let mut insert = conn.prepare_cached("INSERT INTO devices (device_id, via) VALUES (?1, ?2)")?;
    insert.execute([id.as_str(), via.as_str()])?;
    Ok(())
}

pub(super) fn known_device(conn: &Connection, id: &DeviceId) -> Result<Option<i64>, StoreError> {
    let mut query = conn.prepare_cached("SELECT id FROM devices WHERE device_id = ?1")?;
    Ok(query
        .query_row([id.as_str()], |row| row.get(0))
        .optional()?)
}

pub(super) const SELECT: &str = "SELECT f.seq, f.content, o.device_id, f.frame_id, f.kind, f.claimed_at, f.time, f.received_at,
    f.hlc, f.origin_seq, f.claimed_tier, f.effective_tier, f.signature, f.tainted, f.hops, p.device_id, f.flags, f.json, f.metric
    FROM frames f JOIN devices o ON o.id = f.origin LEFT JOIN devices p ON p.id = f.link_peer";

pub(super) fn read(found: &Row<'_>) -> rusqlite::Result<StoredFrame> {
    let kind = found.get_ref(4)?.as_str().unwrap_or_default();
    let kind = packed::kind(kind).ok_or_else(|| row::unreadable(4, "unknown frame kind"))?;
    let (origin, frame_id): (DeviceId, _) = (row::parsed(found, 2)?, named::read(found, 3)?);
    let claimed_at = named::claimed_at(found, 5, 3)?;
    let hlc = found.get::<_, Option<i64>>(8)?.map(Hlc::from_i64);
    let origin_seq: Option<i64> = found.get(9)?;
    let json = match found.get_ref(17)?.as_blob() {
        Ok(bytes) => {
            let (origin, id) = (origin.as_str(), frame_id.as_str());
            let metric = found.get(18)?;
            let columns = Columns::new(origin, id, claimed_at, hlc, origin_seq, kind, metric);
            packed::unpack(bytes, &columns)
                .ok_or_else(|| row::unreadable(17, "a packed text that does not unpack"))?
        }
        Err(_) => found.get(17)?,
    };
    Ok(StoredFrame {
        seq: row::count(found, 0)?,
        content: row::digest(found, 1)?,
        origin,
        frame_id,
        kind,
        claimed_at,
        time: row::time(found, 6)?,
        received_at: row::time(found, 7)?,
        hlc,
        origin_seq: origin_seq.and_then(|n| u64::try_from(n).ok()),
        claimed_tier: Tier::from_rank(found.get(10)?),
        effective_tier: Tier::from_rank(found.get(11)?),
        signed: found.get::<_, i64>(16)? & FLAG_UNSIGNED == 0,
        signature: row::signature(found, 12)?,
        tainted: found.get(13)?,
        hops: found.get(14)?,
        link_peer: row::parsed_opt(found, 15)?,
        ahead: found.get::<_, i64>(16)? & FLAG_AHEAD != 0,
        private: found.get::<_, i64>(16)? & private::UNOFFERED != 0,
        json,
    })
}

/// The frame with this id; where several origins use it, the best proven and then the oldest.
///
/// # Errors
/// Any SQLite error.
pub fn by_frame_id(conn: &Connection, id: &FrameId) -> Result<Option<StoredFrame>, StoreError> {
    let sql = format!(
        "{SELECT} WHERE f.seq IN ({}) ORDER BY f.signature, f.seq LIMIT 1",
        named::PLACES
    );
    let mut query = conn.prepare_cached(&sql)?;
    Ok(query.query_row(named::parameters(id), read).optional()?)
}

/// The frame at this place of the log.
///
/// # Errors
/// Any SQLite error.
pub fn by_seq(conn: &Connection, seq: u64) -> Result<Option<StoredFrame>, StoreError> {
    let mut query = conn.prepare_cached(&format!("{SELECT} WHERE f.seq = ?1"))?;
    Ok(query.query_row([row::number(seq)], read).optional()?)
}

/// Up to `limit` frames after a place of the log, oldest first, leaving out those from the link of `except`,
/// which that peer has, and those that are never offered.
///
/// # Errors
/// Any SQLite error.
pub fn after(
    conn: &Connection,
    seq: u64,
    limit: usize,
    bytes: usize,
    except: Option<&DeviceId>,
) -> Result<Vec<StoredFrame>, StoreError> {
    let except = match except {
        Some(id) => known_device(conn, id)?,
        None => None,
    };
    let of = match except {
        Some(_) => "f.link_peer IS NOT ?2",
        None => "?2 IS NULL",
    };
    let offered = private::OFFERED;
    let sql = format!("{SELECT} WHERE f.seq > ?1 AND {of} AND {offered} ORDER BY f.seq LIMIT ?3");
    let mut query = conn.prepare_cached(&sql)?;
    let rows = query.query_map((row::number(seq), except, row::limit(limit)), read)?;
    within(rows, bytes)
}

/// The lowest place with a believed time at or after the parameter. Left alone, SQLite would look
/// for it by walking the whole log from its old end.
pub(super) const FIRST_SINCE: &str =
    "SELECT min(+seq) FROM frames INDEXED BY frames_time WHERE time >= ?";
/// The highest own count of a device's frames that were made here.
pub(super) const MAX_ORIGIN_SEQ: &str =
    "SELECT coalesce(max(origin_seq), 0) FROM frames WHERE origin = ?1 AND link_peer IS NULL";
/// The newest logical time of our own frames.
pub(super) const MAX_OWN_HLC: &str = "SELECT max(hlc) FROM frames WHERE link_peer IS NULL";

/// The frames that fit the filter, newest in the log first.
///
/// # Errors
/// Any SQLite error.
pub fn page(conn: &Connection, filter: &FrameFilter) -> Result<Vec<StoredFrame>, StoreError> {
    let mut sql = format!("{SELECT} WHERE TRUE");
    let mut values: Vec<Box<dyn ToSql>> = Vec::new();
    if let Some(origin) = &filter.origin {
        let Some(known) = known_device(conn, origin)? else {
            return Ok(Vec::new());
        };
        sql.push_str(" AND f.origin = ?");
        values.push(Box::new(known));
    }
    if let Some(kind) = filter.kind {
        sql.push_str(" AND f.kind IN (?, ?)");
        values.push(Box::new(kind.as_str()));
        let packed = match kind {
            FrameKind::Observation => packed::OBSERVATION,
            other => other.as_str(),
        };
        values.push(Box::new(packed));
    }
    if let Some(since) = filter.since {
        // The index on time gives the lowest place worth looking at, so that the walk back from the
        // new end stops there; `+` keeps SQLite from sorting by time instead of walking.
        sql.push_str(&format!(" AND +f.time >= ? AND f.seq >= ({FIRST_SINCE})"));
        values.push(Box::new(since.to_i64()));
        values.push(Box::new(since.to_i64()));
    }
    if let Some(metric) = &filter.metric {
        // Where the row does not say it, its text does.
        sql.push_str(" AND (f.metric = ? OR f.metric IS NULL)");
        values.push(Box::new(metric.clone()));
    }
    if filter.public {
        sql.push_str(&format!(" AND {}", private::OFFERED));
    }
    if let Some(before) = filter.before_seq {
        sql.push_str(" AND f.seq < ?");
        values.push(Box::new(row::number(before)));
    }
    sql.push_str(" ORDER BY f.seq DESC");
    let mut query = conn.prepare_cached(&sql)?;
    let rows = query.query_map(rusqlite::params_from_iter(values), read)?;
    let wanted = |stored: &StoredFrame| {
        says(stored, "zone", filter.zone.as_deref())
            && says(stored, "metric", filter.metric.as_deref())
    };
    let rows = rows.filter(|stored| stored.as_ref().map_or(true, wanted));
    within(rows.take(filter.limit), filter.bytes)
}

/// Whether the data of a frame has this text under a name; also where none is wanted.
pub(super) fn says(stored: &StoredFrame, name: &str, wanted: Option<&str>) -> bool {
    let Some(wanted) = wanted else { return true };
    // Texts are stored as they are written here, so most that say something else need not be read.
    let written = format!("{name:?}:{}", serde_json::Value::from(wanted));
    stored.json.contains(&written)
        && serde_json::from_str::<serde_json::Value>(&stored.json)
            .is_ok_and(|frame| frame["data"][name] == *wanted)
}

/// The first of these frames, as many as fit; one in any case. The rest is not read.
pub(super) fn within(
    rows: impl Iterator<Item = rusqlite::Result<StoredFrame>>,
    bytes: usize,
) -> Result<Vec<StoredFrame>, StoreError> {
    let (mut page, mut used) = (Vec::new(), 0_usize);
    for stored in rows {
        let stored = stored?;
        used = used.saturating_add(stored.json.len());
        if used > bytes && !page.is_empty() {
            break;
        }
        page.push(stored);
    }
    Ok(page)
}

/// The newest time on a share; what is proven is on its origin's own.
pub(super) const NEWEST_PROVEN: &str = "SELECT max(time) FROM frames WHERE share = ?1";

/// The newest time of the frames that a device is proven to have made; `None` where there is none.
///
/// # Errors
/// Any SQLite error.
pub fn newest_proven(conn: &Connection, origin: &DeviceId) -> Result<Option<TimeMs>, StoreError> {
    let Some(origin) = known_device(conn, origin)? else {
        return Ok(None);
    };
    let newest: Option<i64> = conn
        .prepare_cached(NEWEST_PROVEN)?
        .query_row([origin], |r| r.get(0))?;
    Ok(newest.map(TimeMs::from_i64))
}

/// How many frames the log holds.
///
/// # Errors
/// Any SQLite error.
pub fn count(conn: &Connection) -> Result<u64, StoreError> {
    shares::count(conn)
}

/// The newest place ever given, 0 if none was; pruning does not lower it.
///
/// # Errors
/// Any SQLite error.
pub fn max_seq(conn: &Connection) -> Result<u64, StoreError> {
    let sql = "SELECT coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'frames'), 0)";
    Ok(conn
        .prepare_cached(sql)?
        .query_row([], |r| row::count(r, 0))?)
}

/// Gives no place up to this one any more: frames that stood there were told of, and lost with a commit that
/// failed.
///
/// # Errors
/// Any SQLite error.
pub(super) fn continue_after(conn: &Connection, place: u64) -> Result<(), StoreError> {
    if max_seq(conn)? >= place {
        return Ok(());
    }
    let set = "UPDATE sqlite_sequence SET seq = ?1 WHERE name = 'frames'";
    if conn.execute(set, [row::number(place)])? == 0 {
        let begin = "INSERT INTO sqlite_sequence (name, seq) VALUES ('frames', ?1)";
        conn.execute(begin, [row::number(place)])?;
    }
    Ok(())
}

/// The highest own count among the frames this node made as `own`, 0 if there is none.
///
/// # Errors
/// Any SQLite error.
pub fn max_origin_seq(conn: &Connection, own: &DeviceId) -> Result<u64, StoreError> {
    let Some(own) = known_device(conn, own)? else {
        return Ok(0);
    };
    Ok(conn
        .prepare_cached(MAX_ORIGIN_SEQ)?
        .query_row([own], |r| row::count(r, 0))?)
}

/// The newest logical time among our own frames and the newest of all, the latter no further than `believed`: a
/// liar must not drag our clock forward by having us restart.
///
/// # Errors
/// Any SQLite error.
pub fn max_hlc(conn: &Connection, believed: Hlc) -> Result<Option<Hlc>, StoreError> {
    let own: Option<i64> = conn.query_row(MAX_OWN_HLC, [], |r| r.get(0))?;
    let recent =
        "SELECT max(hlc) FROM frames WHERE seq > (SELECT max(seq) FROM frames) - ?1 AND hlc <= ?2";
    let recent: Option<i64> =
        conn.query_row(recent, (HLC_LOOKBACK, believed.to_i64()), |r| r.get(0))?;
    Ok(own.max(recent).map(Hlc::from_i64))
}
