//! Private frames in the log: this node's own, for the links of the devices that may have them, and which of its older
//! ones are offered no more.

use rusqlite::{Connection, OptionalExtension as _};
use serde_json::Value;

use super::facts::{self, FactFilter};
use super::frames::{self, SELECT, StoredFrame};
use super::{StoreError, row};
use crate::domain::base::DeviceId;
use crate::domain::base::limits::FACTS_SHOWN_MAX;

/// Its origin marked it as private.
pub(super) const PRIVATE: i64 = 4;
/// This node's own, of before what it tells of was private. Others may have it, so its key is named to them still, and
/// no longer what it says.
const WITHHELD: i64 = 8;
/// Flags of frames that are never offered.
pub(super) const UNOFFERED: i64 = PRIVATE | WITHHELD;
/// The condition for the others.
pub(super) const OFFERED: &str = "f.flags & 12 = 0";
const OWN_PRIVATE: &str = "f.flags & 4 AND f.link_peer IS NULL";

/// Up to `limit` of this node's own private frames after a place of the log, oldest first.
///
/// # Errors
/// Any SQLite error.
pub fn own_after(
    conn: &Connection,
    seq: u64,
    limit: usize,
    bytes: usize,
) -> Result<Vec<StoredFrame>, StoreError> {
    let mut query = conn.prepare_cached(&own_after_sql())?;
    let rows = query.query_map((row::number(seq), row::limit(limit)), frames::read)?;
    frames::within(rows, bytes)
}

pub(super) fn own_after_sql() -> String {
    format!("{SELECT} WHERE {OWN_PRIVATE} AND f.seq > ?1 ORDER BY f.seq LIMIT ?2")
}

/// The place after which the last `count` of this node's own private frames stand that are not behind `seq`.
///
/// # Errors
/// Any SQLite error.
pub fn own_before(conn: &Connection, seq: u64, count: u64) -> Result<u64, StoreError> {
    let sql = format!(
        "SELECT f.seq FROM frames f WHERE {OWN_PRIVATE} AND f.seq <= ?1 ORDER BY f.seq DESC LIMIT 1 OFFSET ?2"
    );
    let mut query = conn.prepare_cached(&sql)?;
    let place = query.query_row((row::number(seq), row::number(count)), |r| row::count(r, 0));
    Ok(place.optional()?.unwrap_or(0))
}

/// Looks through up to `limit` of a device's readings after a place of the log and has those offered no more for which
/// `is_private` says so of zone and metric; the others are again. The last place that was looked at, if any was.
///
/// # Errors
/// Any SQLite error.
pub fn withhold(
    conn: &Connection,
    own: &DeviceId,
    seq: u64,
    limit: usize,
    is_private: &dyn Fn(Option<&str>, &str) -> bool,
) -> Result<Option<u64>, StoreError> {
    let Some(number) = frames::known_device(conn, own)? else {
        return Ok(None);
    };
    let sql = format!(
        "{SELECT} WHERE f.origin = ?1 AND f.seq > ?2 AND f.kind IN ('observation', 'o') AND NOT (f.flags & {PRIVATE})
         ORDER BY f.seq LIMIT ?3"
    );
    let mut query = conn.prepare_cached(&sql)?;
    let rows = query.query_map((number, row::number(seq), row::limit(limit)), frames::read)?;
    let rows = rows.collect::<Result<Vec<_>, _>>()?;
    let mut set = conn.prepare_cached(
        "UPDATE frames SET flags = CASE WHEN ?2 THEN flags | 8 ELSE flags & ~8 END WHERE seq = ?1",
    )?;
    for stored in &rows {
        let frame: Value = serde_json::from_str(&stored.json).unwrap_or_default();
        let says = |name: &str| frame["data"][name].as_str();
        let private = is_private(says("zone"), says("metric").unwrap_or_default());
        if private != stored.private {
            set.execute((row::number(stored.seq), private))?;
        }
    }
    Ok(rows.last().map(|last| last.seq))
}

/// The same for a device's newest readings.
///
/// # Errors
/// Any SQLite error.
pub fn label_facts(
    conn: &Connection,
    own: &DeviceId,
    is_private: &dyn Fn(Option<&str>, &str) -> bool,
) -> Result<(), StoreError> {
    let filter = FactFilter {
        origin: Some(own.clone()),
        ..FactFilter::default()
    };
    let mut set = conn.prepare_cached(
        "UPDATE facts SET private = ?4 WHERE metric = ?1 AND zone = ?2
         AND origin = (SELECT id FROM devices WHERE device_id = ?3)",
    )?;
    for fact in facts::all(conn, &filter, own, FACTS_SHOWN_MAX)? {
        let frame = frames::by_seq(conn, fact.frame_seq)?;
        let private = is_private(fact.zone.as_deref(), &fact.metric)
            || frame.is_some_and(|frame| frame.private);
        if private != fact.private {
            let zone = fact.zone.as_deref().unwrap_or("");
            set.execute((fact.metric.as_str(), zone, own.as_str(), private))?;
        }
    }
    Ok(())
}
