//! The frame log as reconciliation sees it: which frames there are, and frames by their keys.

use rusqlite::{Connection, Row};

use super::frames::{self, FLAG_UNSIGNED, StoredFrame};
use super::{StoreError, named, private, row};
use crate::domain::base::Digest;
use crate::domain::sync::{FrameKey, Keyed, Times};

/// Up to `limit` frames after a place of the log, oldest place first: the place and their keys, where they may be
/// named to others.
///
/// # Errors
/// Any SQLite error.
pub fn keyed_after(
    conn: &Connection,
    seq: u64,
    limit: usize,
) -> Result<Vec<(u64, Option<Keyed>)>, StoreError> {
    let mut query = conn.prepare_cached(
        "SELECT seq, claimed_at, frame_key, content, flags, frame_id FROM frames WHERE seq > ?1 ORDER BY seq LIMIT ?2",
    )?;
    let rows = query.query_map((row::number(seq), row::limit(limit)), |found| {
        let named = found.get::<_, i64>(4)? & private::PRIVATE == 0;
        let keyed = named.then(|| keyed(found, 1)).transpose()?;
        Ok((row::count(found, 0)?, keyed))
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// The key of a frame, from its `claimed_at`, `frame_key`, `content`, `flags` and `frame_id` in five columns.
pub(super) fn keyed(found: &Row<'_>, from: usize) -> rusqlite::Result<Keyed> {
    let content: Digest = row::digest(found, from + 2)?;
    let key = FrameKey::from_parts(named::head(found, from + 1, from + 4)?, &content);
    let unsigned = found.get::<_, i64>(from + 3)? & FLAG_UNSIGNED != 0;
    Ok(Keyed {
        at: named::claimed_at(found, from, from + 4)?,
        key: if unsigned { key.unsigned() } else { key },
    })
}

/// The frames with these keys, as far as they are there, are offered at all and fit into `bytes` of text (one in any
/// case), and how many of the keys were looked up. `times` says when those were made that this node holds.
///
/// # Errors
/// Any SQLite error.
pub fn by_keys(
    conn: &Connection,
    keys: &[FrameKey],
    times: &Times,
    bytes: usize,
) -> Result<(Vec<StoredFrame>, usize), StoreError> {
    let places = named::places(conn, keys, times)?;
    let mut found: Vec<StoredFrame> = Vec::new();
    let mut used = 0;
    for (at, key) in keys.iter().enumerate() {
        if used >= bytes {
            return Ok((found, at));
        }
        for place in places.get(&key.head()).into_iter().flatten() {
            let Some(stored) = frames::by_seq(conn, *place)? else {
                continue;
            };
            if !stored.private && key.fits(&stored.content, stored.signed) {
                used += stored.json.len();
                found.push(stored);
            }
        }
    }
    Ok((found, keys.len()))
}

/// The highest place of the log, 0 where it is empty, and the lowest.
///
/// # Errors
/// Any SQLite error.
pub fn ends(conn: &Connection) -> Result<(u64, u64), StoreError> {
    let sql = "SELECT coalesce((SELECT max(seq) FROM frames), 0), coalesce((SELECT min(seq) FROM frames), 0)";
    Ok(conn.prepare_cached(sql)?.query_row([], |found| {
        Ok((row::count(found, 0)?, row::count(found, 1)?))
    })?)
}
