//! How much room is left, and for what. Frames, of which peers can send any number, stop at the first
//! mark, what else peers make this node keep at the second; decisions, own proposals, runs, revocations,
//! trust, audit and the latch of the emergency stop have the rest.

use std::path::Path;

use rusqlite::Connection;

use super::StoreError;
use crate::adapters::system;
use crate::domain::base::limits::STORE_RESERVE_BYTES;

/// Classes that need room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum For {
    /// Frames: readings and events of devices, this node's own too.
    Frames,
    /// Other data kept for peers: mirrors, records without effect here, commands.
    Peers,
}

/// How many bytes may still be written, by the size the store may have and by the disk.
///
/// # Errors
/// Any SQLite error.
pub fn left(conn: &Connection, asks: For) -> Result<u64, StoreError> {
    let number = |name: &str| -> Result<u64, StoreError> {
        let mut query = conn.prepare_cached(&format!("PRAGMA {name}"))?;
        Ok(query.query_row([], |r| super::row::count(r, 0))?)
    };
    let page = number("page_size")?;
    let free = number("freelist_count")? * page;
    let most = number("max_page_count")? * page;
    let allowed = (most + free).saturating_sub(number("page_count")? * page);
    let by_size = allowed.saturating_sub(reserve(most, asks));
    let disk = conn.path().and_then(|path| {
        // A database that lies nowhere, or a disk that does not say: then only the size counts.
        let disk = system::disk(Path::new(path)).ok()?;
        let (whole, free_on_disk) = (disk.whole, disk.free);
        (whole > 0).then(|| free + free_on_disk.saturating_sub(reserve(whole / 4, asks)))
    });
    Ok(by_size.min(disk.unwrap_or(u64::MAX)))
}

/// Refuses what peers make this node keep once only the room for this node's own is left.
///
/// # Errors
/// [`StoreError::Full`].
pub fn for_peers(conn: &Connection) -> Result<(), StoreError> {
    match left(conn, For::Peers)? {
        0 => Err(StoreError::Full),
        _ => Ok(()),
    }
}

/// Bytes of a store of at most `most` bytes that this class may not use.
fn reserve(most: u64, asks: For) -> u64 {
    let whole = STORE_RESERVE_BYTES.min(most / 4);
    match asks {
        For::Frames => whole,
        For::Peers => whole / 2,
    }
}

/// How many bytes of frames one device may have in a store of at most `most` bytes, beside all others.
pub(super) fn half_for_frames(most: Option<u64>) -> u64 {
    most.map_or(u64::MAX, |most| (most - reserve(most, For::Frames)) / 2)
}
