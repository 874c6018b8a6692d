//! How frame ids lie in the log. One that begins with its frame's own time (UUID version 7), as those of our
//! nodes do, is 16 bytes in an index by id, which so grows at its end: each commit writes a page or two of it.
//! Any other is text, in an index by its hash. That a time in an id is true is never relied on: it tells only
//! where a frame lies.

use std::collections::BTreeMap;

use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Connection, Row, ToSql, params_from_iter};
use uuid::Uuid;

use super::{StoreError, row};
use crate::domain::base::{FrameId, TimeMs};
use crate::domain::sync::{FrameKey, Times};

/// The places of the frames with an id. Its parameters are those of [`parameters`].
pub(super) const PLACES: &str = "SELECT seq FROM frames WHERE typeof(frame_id) = 'blob' AND frame_id = ?1
    UNION ALL SELECT seq FROM frames WHERE typeof(frame_id) = 'text' AND frame_key = ?2 AND frame_id = ?3";
/// The places of the frames whose ids are text and may have this key.
pub(super) const PLACES_OF_TEXT: &str =
    "SELECT seq FROM frames WHERE typeof(frame_id) = 'text' AND frame_key = ?1";
/// The places of the frames whose ids are bytes in this range, and those ids.
pub(super) const PLACES_OF_TIME: &str = "SELECT seq, frame_id FROM frames WHERE typeof(frame_id) = 'blob' AND frame_id >= ?1 AND frame_id < ?2";

/// Bits of a UUID of version 7 behind its time.
const BEHIND_TIME: u32 = 80;

/// A frame's id as it is stored.
pub(super) enum Stored<'a> {
    Bytes([u8; 16]),
    Text(&'a str),
}

impl ToSql for Stored<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self {
            Stored::Bytes(bytes) => ValueRef::Blob(bytes),
            Stored::Text(text) => ValueRef::Text(text.as_bytes()),
        }))
    }
}

/// The UUID of version 7 that an id is, written as our nodes write it.
fn timed(id: &FrameId) -> Option<Uuid> {
    let uuid = Uuid::try_parse(id.as_str()).ok()?;
    (uuid.get_version_num() == 7 && uuid.to_string() == id.as_str()).then_some(uuid)
}

/// How the id of a frame that claims this time is stored.
pub(super) fn stored(id: &FrameId, claimed_at: TimeMs) -> Stored<'_> {
    let own_time = |uuid: &Uuid| uuid.as_u128() >> BEHIND_TIME == u128::from(claimed_at.0);
    match timed(id).filter(own_time) {
        Some(uuid) => Stored::Bytes(uuid.into_bytes()),
        None => Stored::Text(id.as_str()),
    }
}

impl Stored<'_> {
    /// A number that the id implies, so that the row need not hold it: 0 in its columns `frame_key` and
    /// `claimed_at`.
    pub(super) fn unless_said(&self, number: i64) -> i64 {
        match self {
            Stored::Bytes(_) => 0,
            Stored::Text(_) => number,
        }
    }
}

/// An id where nothing is looked for by it: the bytes of any UUID that is written as our nodes write it.
pub(super) fn short(id: &FrameId) -> Stored<'_> {
    let uuid = Uuid::try_parse(id.as_str()).ok();
    match uuid.filter(|uuid| uuid.to_string() == id.as_str()) {
        Some(uuid) => Stored::Bytes(uuid.into_bytes()),
        None => Stored::Text(id.as_str()),
    }
}

/// The parameters of [`PLACES`]: the id in each of its stored forms.
pub(super) fn parameters(id: &FrameId) -> (Option<[u8; 16]>, i64, &str) {
    (
        timed(id).map(Uuid::into_bytes),
        FrameKey::head_of(id),
        id.as_str(),
    )
}

/// A frame's id.
pub(super) fn read(found: &Row<'_>, column: usize) -> rusqlite::Result<FrameId> {
    match found.get_ref(column)? {
        ValueRef::Blob(bytes) => {
            let uuid = Uuid::from_slice(bytes).map_err(|e| row::unreadable(column, e))?;
            Ok(uuid.into())
        }
        _ => row::parsed(found, column),
    }
}

/// When a frame was made, from its `claimed_at` and `frame_id`: the bytes of an id say it.
pub(super) fn claimed_at(found: &Row<'_>, at: usize, id: usize) -> rusqlite::Result<TimeMs> {
    match found.get_ref(id)? {
        ValueRef::Blob(bytes) => {
            let uuid = Uuid::from_slice(bytes).map_err(|e| row::unreadable(id, e))?;
            let time = u64::try_from(uuid.as_u128() >> BEHIND_TIME);
            time.map(TimeMs).map_err(|e| row::unreadable(id, e))
        }
        _ => row::time(found, at),
    }
}

/// The number of a frame's key, from its `frame_key` and `frame_id`: the bytes of an id say it.
pub(super) fn head(found: &Row<'_>, key: usize, id: usize) -> rusqlite::Result<i64> {
    match found.get_ref(id)? {
        ValueRef::Blob(_) => Ok(FrameKey::head_of(&read(found, id)?)),
        _ => found.get(key),
    }
}

/// The places of frames that may have these keys, by the number of the key; `times` says when the frames
/// were made that this node holds.
///
/// # Errors
/// Any SQLite error.
pub(super) fn places(
    conn: &Connection,
    keys: &[FrameKey],
    times: &Times,
) -> Result<BTreeMap<i64, Vec<u64>>, StoreError> {
    let mut places: BTreeMap<i64, Vec<u64>> = keys.iter().map(|k| (k.head(), Vec::new())).collect();
    let mut query = conn.prepare_cached(PLACES_OF_TEXT)?;
    for (head, places) in &mut places {
        let found = query.query_map([head], |r| row::count(r, 0))?;
        *places = found.collect::<Result<_, _>>()?;
    }
    // Each time is looked through once: many frames at one moment make it no slower.
    let mut moments: Vec<TimeMs> = places
        .keys()
        .flat_map(|head| times.of(*head))
        .copied()
        .collect();
    moments.sort_unstable();
    moments.dedup();
    let mut query = conn.prepare_cached(PLACES_OF_TIME)?;
    for at in moments {
        let edge = |at: u64| (u128::from(at) << BEHIND_TIME).to_be_bytes();
        let mut rows = query.query(params_from_iter([edge(at.0), edge(at.0.saturating_add(1))]))?;
        while let Some(found) = rows.next()? {
            if let Some(places) = places.get_mut(&FrameKey::head_of(&read(found, 1)?)) {
                places.push(row::count(found, 0)?);
            }
        }
    }
    Ok(places)
}
