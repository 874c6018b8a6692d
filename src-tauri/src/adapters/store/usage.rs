//! How much of its shares a device uses, and what is taken away with the trust in it.

use std::collections::BTreeMap;

use rusqlite::{Connection, params};

use super::{StoreError, row};
use crate::domain::admission::budget::Share;
use crate::domain::base::ids::AT_ADDRESS;
use crate::domain::base::limits::BUDGET_WINDOW_MS;
use crate::domain::base::{DeviceId, TimeMs};

/// How much of a share a device uses now; 0 for a share that the store does not count.
///
/// # Errors
/// Any SQLite error.
pub fn used(
    conn: &Connection,
    device: &DeviceId,
    share: Share,
    now: TimeMs,
) -> Result<u64, StoreError> {
    let sql = match share {
        Share::Facts => {
            "SELECT count(*) FROM facts WHERE charged = (SELECT id FROM devices WHERE device_id = ?1)"
        }
        Share::Origins => "SELECT count(*) FROM devices WHERE via = ?1",
        Share::Conflicts => "SELECT count(*) FROM frame_conflicts WHERE link_peer = ?1",
        Share::Mirrors => "SELECT count(*) FROM proposals WHERE executor = ?1 AND own = 0",
        Share::MirrorBytes => {
            "SELECT coalesce(sum(octet_length(record)), 0) FROM proposals WHERE executor = ?1 AND own = 0"
        }
        Share::Waiting => {
            "SELECT count(*) FROM proposals WHERE requester = ?1 AND own = 1 AND status = 'awaiting_approval'"
        }
        Share::Minted => {
            let sql = "SELECT count(*) FROM proposals
                WHERE requester = ?1 AND own = 1 AND created_at > ?2 AND created_at <= ?3";
            let mut query = conn.prepare_cached(sql)?;
            let (from, to) = window(now);
            return Ok(query.query_row(params![device.as_str(), from, to], |r| row::count(r, 0))?);
        }
        Share::Records => "SELECT count(*) FROM records WHERE via = ?1 AND acted = 0",
        Share::Issued => "SELECT count(*) FROM records WHERE issuer = ?1 AND acted = 1",
        Share::KeptFrames => {
            "SELECT coalesce(sum(frames), 0) FROM frame_shares
             WHERE share <> 0 AND abs(share) = (SELECT id FROM devices WHERE device_id = ?1)"
        }
        Share::KeptBytes => {
            "SELECT coalesce(sum(bytes), 0) FROM frame_shares
             WHERE share <> 0 AND abs(share) = (SELECT id FROM devices WHERE device_id = ?1)"
        }
        Share::FrameBytes => return Ok(0),
    };
    let mut query = conn.prepare_cached(sql)?;
    Ok(query.query_row([device.as_str()], |r| row::count(r, 0))?)
}

/// The hour that counts for shares of an hour. Records made with the clock ahead are in none until their
/// time has come.
fn window(now: TimeMs) -> (i64, i64) {
    let from = TimeMs(now.0.saturating_sub(BUDGET_WINDOW_MS));
    (from.to_i64(), now.to_i64())
}

/// How much of every share a device uses now.
///
/// # Errors
/// Any SQLite error.
pub fn all(
    conn: &Connection,
    device: &DeviceId,
    now: TimeMs,
) -> Result<Vec<(Share, u64)>, StoreError> {
    let each = Share::STORED
        .into_iter()
        .map(|share| Ok((share, used(conn, device, share, now)?)));
    each.collect()
}

/// How much of every share each device uses that uses any: one pass over each table, so that a list of a
/// thousand devices costs no more than one of them.
///
/// # Errors
/// Any SQLite error.
pub fn of_everybody(
    conn: &Connection,
    now: TimeMs,
) -> Result<BTreeMap<(String, Share), u64>, StoreError> {
    let (from, to) = window(now);
    let mut found = BTreeMap::new();
    for share in Share::STORED {
        let sql = match share {
            Share::Facts => {
                "SELECT d.device_id, count(*) FROM facts f JOIN devices d ON d.id = f.charged GROUP BY f.charged"
            }
            Share::Origins => "SELECT via, count(*) FROM devices WHERE via NOT NULL GROUP BY via",
            Share::Conflicts => {
                "SELECT link_peer, count(*) FROM frame_conflicts WHERE link_peer NOT NULL GROUP BY link_peer"
            }
            Share::Mirrors => {
                "SELECT executor, count(*) FROM proposals WHERE own = 0 GROUP BY executor"
            }
            Share::MirrorBytes => {
                "SELECT executor, sum(octet_length(record)) FROM proposals WHERE own = 0 GROUP BY executor"
            }
            Share::Waiting => {
                "SELECT requester, count(*) FROM proposals WHERE own = 1 AND status = 'awaiting_approval' GROUP BY requester"
            }
            Share::Minted => {
                "SELECT requester, count(*) FROM proposals
                 WHERE own = 1 AND created_at > ?1 AND created_at <= ?2 GROUP BY requester"
            }
            Share::Records => {
                "SELECT via, count(*) FROM records WHERE via NOT NULL AND acted = 0 GROUP BY via"
            }
            Share::Issued => "SELECT issuer, count(*) FROM records WHERE acted = 1 GROUP BY issuer",
            Share::KeptFrames => {
                "SELECT d.device_id, sum(s.frames) FROM frame_shares s JOIN devices d ON d.id = abs(s.share)
                 GROUP BY d.id"
            }
            Share::KeptBytes => {
                "SELECT d.device_id, sum(s.bytes) FROM frame_shares s JOIN devices d ON d.id = abs(s.share)
                 GROUP BY d.id"
            }
            Share::FrameBytes => continue,
        };
        let mut query = conn.prepare_cached(sql)?;
        let mut rows = match share {
            Share::Minted => query.query([from, to])?,
            _ => query.query([])?,
        };
        while let Some(r) = rows.next()? {
            found.insert((r.get::<_, String>(0)?, share), row::count(r, 1)?);
        }
    }
    Ok(found)
}

/// Deletes old entries on accounts of addresses (see [`DeviceId::at_address`]), to make room for later
/// ones: readings that came before `steady`, conflicts that came before `wall`.
///
/// # Errors
/// Any SQLite error.
pub fn lapse(conn: &Connection, steady: TimeMs, wall: TimeMs) -> Result<(), StoreError> {
    for (sql, before) in [
        (
            "DELETE FROM facts WHERE received_at < ?2 AND charged IN
                (SELECT id FROM devices WHERE device_id >= ?1 AND device_id < ?1 || 'g')",
            steady,
        ),
        (
            "DELETE FROM frame_conflicts WHERE link_peer >= ?1 AND link_peer < ?1 || 'g' AND received_at < ?2",
            wall,
        ),
    ] {
        conn.prepare_cached(sql)?
            .execute((AT_ADDRESS, before.to_i64()))?;
    }
    Ok(())
}

/// Deletes the data kept for a device that is not trusted any more, and for its address: its readings,
/// mirrors of its proposals, conflicts, and records that count for nothing. Its frames stay until room is
/// needed, and go first then (see `shares`); the audit chain and this node's own decisions stay.
///
/// # Errors
/// Any SQLite error.
pub fn forget(conn: &Connection, device: &DeviceId) -> Result<(), StoreError> {
    for sql in [
        "DELETE FROM facts WHERE charged = (SELECT id FROM devices WHERE device_id = ?1)
            OR origin = (SELECT id FROM devices WHERE device_id = ?1)",
        "DELETE FROM frame_conflicts WHERE link_peer = ?1",
        "UPDATE devices SET via = NULL WHERE via = ?1",
        "DELETE FROM approvals WHERE proposal_id IN (SELECT id FROM proposals WHERE executor = ?1 AND own = 0)",
        "DELETE FROM proposals WHERE executor = ?1 AND own = 0",
        "DELETE FROM records WHERE acted = 0 AND (via = ?1 OR issuer = ?1)",
    ] {
        let mut forget = conn.prepare_cached(sql)?;
        forget.execute([device.as_str()])?;
        forget.execute([device.at_address().as_str()])?;
    }
    Ok(())
}
