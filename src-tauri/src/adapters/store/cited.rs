//! Frames by a cited id. An id is each origin's own: several devices may use one.

use rusqlite::{Connection, OptionalExtension as _};

use super::frames::{SELECT, StoredFrame, read};
use super::{StoreError, named, row};
use crate::domain::base::limits::CITED_ORIGINS_SHOWN;
use crate::domain::base::{DeviceId, FrameId};

/// The frame that a device made under this id, the best proven.
///
/// # Errors
/// Any SQLite error.
pub fn of_origin(
    conn: &Connection,
    id: &FrameId,
    origin: &DeviceId,
) -> Result<Option<StoredFrame>, StoreError> {
    let sql = format!(
        "{SELECT} WHERE f.seq IN ({}) AND o.device_id = ?4 ORDER BY f.signature, f.seq LIMIT 1",
        named::PLACES
    );
    let mut query = conn.prepare_cached(&sql)?;
    let (bytes, key, text) = named::parameters(id);
    let wanted = (bytes, key, text, origin.as_str());
    Ok(query.query_row(wanted, read).optional()?)
}

/// Up to `limit` devices that have used this id for a frame, the best proven and then the oldest first.
///
/// # Errors
/// Any SQLite error.
pub fn origins(conn: &Connection, id: &FrameId, limit: usize) -> Result<Vec<DeviceId>, StoreError> {
    let sql = format!(
        "SELECT o.device_id FROM frames f JOIN devices o ON o.id = f.origin WHERE f.seq IN ({})
         GROUP BY f.origin ORDER BY min(f.signature), min(f.seq) LIMIT ?4",
        named::PLACES
    );
    let mut query = conn.prepare_cached(&sql)?;
    let (bytes, key, text) = named::parameters(id);
    let wanted = (bytes, key, text, row::limit(limit));
    let found = query.query_map(wanted, |found| row::parsed(found, 0))?;
    Ok(found.collect::<Result<_, _>>()?)
}

/// The frames under an id.
#[derive(Debug, Clone, PartialEq)]
pub enum Named {
    /// Nothing.
    None,
    /// Exactly one frame.
    One(Box<StoredFrame>),
    /// Frames of several devices; the first few of them.
    Several(Vec<DeviceId>),
}

/// The frame with this id, of the device that is named or else of the only one that uses it.
///
/// # Errors
/// Any SQLite error.
pub fn named(
    conn: &Connection,
    id: &FrameId,
    origin: Option<&DeviceId>,
) -> Result<Named, StoreError> {
    let origin = match origin {
        Some(origin) => origin.clone(),
        None => match origins(conn, id, CITED_ORIGINS_SHOWN)?.as_slice() {
            [] => return Ok(Named::None),
            [only] => only.clone(),
            several => return Ok(Named::Several(several.to_vec())),
        },
    };
    let found = of_origin(conn, id, &origin)?;
    Ok(found.map_or(Named::None, |frame| Named::One(Box::new(frame))))
}
