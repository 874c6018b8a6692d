//! The old end of the frame log: what is pruned there, and how far.

use rusqlite::{Connection, OptionalExtension as _};

use super::frames::count;
use super::{StoreError, history, kv, row};
use crate::domain::base::TimeMs;
use crate::domain::base::limits::{AGED_AT_ONCE_MS, FRAMES_PRUNED_MAX};

const HORIZON: &str = "frames.horizon";

/// How far the log has been pruned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Horizon {
    /// The highest pruned place of a reading or presence.
    pub seq: u64,
    /// The newest believed time of a pruned frame.
    pub time: TimeMs,
}

/// Which frames go first: readings and presences, which come by the clock. What readings measured stays by the hour;
/// see [`history`].
const BY_THE_CLOCK: &str = "kind IN ('o', 'observation', 'capability_update')";
/// The others: events, answers, and what people and models said. The index frames_lasting is of these.
const LASTING: &str = "kind IN ('event', 'human_input', 'inference', 'agent_response')";

/// How many frames of other kinds than readings and presences are kept of a log of `keep` frames.
fn lasting_share(keep: u64) -> u64 {
    keep / 8
}

/// Removes old frames until the newest `keep` are left, at most [`FRAMES_PRUNED_MAX`] in one call, and records how
/// far. Readings and presences go first; an eighth of the log is for the other kinds. Returns how many went.
///
/// # Errors
/// Any SQLite error.
pub fn prune(conn: &Connection, keep: u64) -> Result<u64, StoreError> {
    let surplus = count(conn)?.saturating_sub(keep).min(FRAMES_PRUNED_MAX);
    if surplus == 0 {
        return Ok(0);
    }
    let lasting = lasting(conn, lasting_share(keep).saturating_add(FRAMES_PRUNED_MAX))?;
    let over = lasting.saturating_sub(lasting_share(keep)).min(surplus);
    let mut gone = oldest(conn, LASTING, None, over)?;
    gone.extend(oldest(conn, BY_THE_CLOCK, None, surplus - over)?);
    let missing = surplus.saturating_sub(u64::try_from(gone.len()).unwrap_or(u64::MAX));
    if over == 0 {
        gone.extend(oldest(conn, LASTING, None, missing)?);
    }
    remove(conn, &gone)
}

/// Which frames are too old.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cutoff {
    /// Readings and presences received before this.
    pub readings: TimeMs,
    /// Other frames received before this.
    pub others: TimeMs,
}

/// How far one look at the ages may go: at most [`AGED_AT_ONCE_MS`] beyond the oldest frame of each kind, so that a
/// clock that is years ahead does not empty the log.
///
/// # Errors
/// Any SQLite error.
pub fn aged(conn: &Connection, wanted: Cutoff) -> Result<Cutoff, StoreError> {
    let oldest = |kinds: &str| -> Result<TimeMs, StoreError> {
        let sql = format!(
            "SELECT received_at FROM frames WHERE seq > ?1 AND {kinds} ORDER BY seq LIMIT 1"
        );
        let mut query = conn.prepare_cached(&sql)?;
        let found = query.query_row([floor(conn, kinds)?], |r| row::time(r, 0));
        Ok(found.optional()?.unwrap_or_default())
    };
    Ok(Cutoff {
        readings: wanted
            .readings
            .min(oldest(BY_THE_CLOCK)?.plus(AGED_AT_ONCE_MS)),
        others: wanted.others.min(oldest(LASTING)?.plus(AGED_AT_ONCE_MS)),
    })
}

/// Removes the frames that are too old, at most [`FRAMES_PRUNED_MAX`] in one call, and records how far. Returns how
/// many went.
///
/// # Errors
/// Any SQLite error.
pub fn prune_before(conn: &Connection, cutoff: Cutoff) -> Result<u64, StoreError> {
    let mut gone = oldest(conn, BY_THE_CLOCK, Some(cutoff.readings), FRAMES_PRUNED_MAX)?;
    let left = FRAMES_PRUNED_MAX.saturating_sub(u64::try_from(gone.len()).unwrap_or(0));
    gone.extend(oldest(conn, LASTING, Some(cutoff.others), left)?);
    remove(conn, &gone)
}

/// How many frames of the lasting kinds there are, counted up to `most`.
fn lasting(conn: &Connection, most: u64) -> Result<u64, StoreError> {
    let sql = format!("SELECT count(*) FROM (SELECT 1 FROM frames WHERE {LASTING} LIMIT ?1)");
    let mut query = conn.prepare_cached(&sql)?;
    Ok(query.query_row([row::number(most)], |r| row::count(r, 0))?)
}

/// The place above which the oldest frame of these kinds is looked for: below the horizon no reading is left, and
/// what is there of other kinds need not be walked over again.
fn floor(conn: &Connection, kinds: &str) -> Result<i64, StoreError> {
    let seq = match kinds {
        BY_THE_CLOCK => horizon(conn)?.map_or(0, |h| h.seq),
        _ => 0,
    };
    Ok(row::number(seq))
}

/// The places of the oldest frames of these kinds, oldest first: a whole stretch at the old end, up to the first that
/// was received at or after `before`.
fn oldest(
    conn: &Connection,
    kinds: &str,
    before: Option<TimeMs>,
    most: u64,
) -> Result<Vec<i64>, StoreError> {
    if most == 0 {
        return Ok(Vec::new());
    }
    let from = floor(conn, kinds)?;
    let sql = format!(
        "SELECT seq, received_at FROM frames WHERE seq > ?1 AND {kinds} ORDER BY seq LIMIT ?2"
    );
    let mut query = conn.prepare_cached(&sql)?;
    let rows = query.query_map((from, row::number(most)), |r| {
        Ok((r.get::<_, i64>(0)?, row::time(r, 1)?))
    })?;
    let young = |at: TimeMs| before.is_some_and(|before| at >= before);
    let mut places = Vec::new();
    for found in rows {
        let (place, received_at) = found?;
        if young(received_at) {
            break;
        }
        places.push(place);
    }
    Ok(places)
}

/// Removes the frames at these places, adds up their readings, and records how far the log is pruned.
fn remove(conn: &Connection, places: &[i64]) -> Result<u64, StoreError> {
    if places.is_empty() {
        return Ok(0);
    }
    history::absorb(conn, places)?;
    let known = horizon(conn)?;
    let mut time = known.map_or(TimeMs(0), |h| h.time);
    let mut seq = known.map_or(0, |h| h.seq);
    // By our own clock: a frame from ahead takes no frame of others with it.
    let sql = format!(
        "DELETE FROM frames WHERE seq = ?1 RETURNING min(time, received_at), {BY_THE_CLOCK}"
    );
    let mut delete = conn.prepare_cached(&sql)?;
    let mut gone = 0;
    for place in places {
        let removed = delete
            .query_row([place], |r| Ok((row::time(r, 0)?, r.get::<_, bool>(1)?)))
            .optional()?;
        let Some((at, by_the_clock)) = removed else {
            continue;
        };
        gone += 1;
        time = time.max(at);
        if by_the_clock {
            seq = seq.max(u64::try_from(*place).unwrap_or(0));
        }
    }
    let value = [seq.to_be_bytes(), time.0.to_be_bytes()].concat();
    kv::put(conn, HORIZON, &value)?;
    Ok(gone)
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
