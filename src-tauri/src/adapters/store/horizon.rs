//! The old end of the frame log: what is pruned there, and how far.

use rusqlite::{Connection, OptionalExtension as _};

use super::frames::count;
use super::{StoreError, kv, row};
use crate::domain::base::TimeMs;
use crate::domain::base::limits::FRAMES_PRUNED_MAX;

const HORIZON: &str = "frames.horizon";

/// How far the log has been pruned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Horizon {
    /// The highest pruned place.
    pub seq: u64,
    /// The newest believed time of a pruned frame.
    pub time: TimeMs,
}

/// Removes old frames until the newest `keep` are left, at most [`FRAMES_PRUNED_MAX`] in one call,
/// and records how far. Returns how many went.
///
/// # Errors
/// Any SQLite error.
pub fn prune(conn: &Connection, keep: u64) -> Result<u64, StoreError> {
    let surplus = count(conn)?.saturating_sub(keep);
    prune_oldest(conn, surplus)
}

/// Removes the frames at the old end that were received before `cutoff`, at most
/// [`FRAMES_PRUNED_MAX`] in one call, and records how far. Returns how many went.
///
/// # Errors
/// Any SQLite error.
pub fn prune_before(conn: &Connection, cutoff: TimeMs) -> Result<u64, StoreError> {
    // Only a whole stretch at the old end goes.
    let sql = "SELECT count(*) FROM (SELECT 1 FROM frames WHERE seq < coalesce(
        (SELECT seq FROM frames WHERE received_at >= ?1 ORDER BY seq LIMIT 1), 9223372036854775807) LIMIT ?2)";
    let limits = (cutoff.to_i64(), row::number(FRAMES_PRUNED_MAX));
    let surplus = conn.query_row(sql, limits, |r| row::count(r, 0))?;
    prune_oldest(conn, surplus)
}

fn prune_oldest(conn: &Connection, surplus: u64) -> Result<u64, StoreError> {
    let surplus = surplus.min(FRAMES_PRUNED_MAX);
    // The numbers have gaps where a device gave way.
    let sql = "SELECT seq FROM frames ORDER BY seq LIMIT 1 OFFSET ?1";
    let upto = match surplus {
        0 => None,
        surplus => conn
            .query_row(sql, [row::number(surplus - 1)], |r| row::count(r, 0))
            .optional()?,
    };
    let Some(upto) = upto else { return Ok(0) };
    let newest: i64 = conn.query_row(
        // By our own clock: a frame from ahead takes no frame of others with it.
        "SELECT max(min(time, received_at)) FROM frames WHERE seq <= ?1",
        [row::number(upto)],
        |r| r.get(0),
    )?;
    let gone = conn.execute("DELETE FROM frames WHERE seq <= ?1", [row::number(upto)])?;
    let before = horizon(conn)?.map_or(TimeMs(0), |h| h.time);
    let time = TimeMs::from_i64(newest).max(before);
    let value = [upto.to_be_bytes(), time.0.to_be_bytes()].concat();
    kv::put(conn, HORIZON, &value)?;
    Ok(u64::try_from(gone).unwrap_or(surplus))
}

/// How far the log has been pruned, if it ever was. Frames at or before it must not be taken from
/// peers again.
///
/// # Errors
/// Any SQLite error.
pub fn horizon(conn: &Connection) -> Result<Option<Horizon>, StoreError> {
    let value = kv::get(conn, HORIZON)?.and_then(|bytes| <[u8; 16]>::try_from(bytes).ok());
    Ok(value.map(|bytes| {
        let both = u128::from_be_bytes(bytes);
        let half = |n: u128| u64::try_from(n & u128::from(u64::MAX)).unwrap_or(0);
        Horizon {
            seq: half(both >> 64),
            time: TimeMs(half(both)),
        }
    }))
}
