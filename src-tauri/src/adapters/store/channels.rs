//! Channels whose keys this node holds, whose chats they are, and at an executor how many approvals through channels counted
//! lately. Ends of channels are among the records of issuers.

use rusqlite::{Connection, OptionalExtension as _, Row, params};

use super::{StoreError, kv, row};
use crate::domain::base::limits::{CHANNEL_WINDOW_MS, CHAT_STOPS_KEPT, CHAT_TAKEN_KEPT};
use crate::domain::base::{Digest, OperatorId, ProposalId, TimeMs};
use crate::domain::gate::{Channel, ChannelKind, SignedChannel};

/// A channel whose key this node holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChannelRow {
    /// As the person signed it.
    pub signed: SignedChannel,
    /// When it came.
    pub given_at: TimeMs,
    /// Whose chat it is, once the code was entered there.
    pub account: Option<String>,
    /// Whether new proposals are told there.
    pub alerts: bool,
}

const COLUMNS: &str = "json, given_at, account, alerts";

fn read(found: &Row<'_>) -> rusqlite::Result<ChannelRow> {
    Ok(ChannelRow {
        signed: row::json(found, 0)?,
        given_at: row::time(found, 1)?,
        account: found.get(2)?,
        alerts: found.get(3)?,
    })
}

/// Stores a channel; one that is there stays as it is.
///
/// # Errors
/// Any SQLite error.
pub fn put(conn: &Connection, signed: &SignedChannel, now: TimeMs) -> Result<(), StoreError> {
    let json = row::to_json("store a channel", signed)?;
    conn.prepare_cached(
        "INSERT INTO channels (id, json, kind, given_at) VALUES (?1, ?2, ?3, ?4) ON CONFLICT (id) DO NOTHING",
    )?
    .execute(params![
        signed.channel.id().0,
        json,
        signed.channel.kind.to_string(),
        now.to_i64(),
    ])?;
    Ok(())
}

/// Every channel, as they came.
///
/// # Errors
/// Any SQLite error.
pub fn all(conn: &Connection) -> Result<Vec<ChannelRow>, StoreError> {
    let sql = format!("SELECT {COLUMNS} FROM channels ORDER BY given_at, id");
    let mut query = conn.prepare_cached(&sql)?;
    row::readable(query.query_map([], read)?)
}

/// The channel with this id.
///
/// # Errors
/// Any SQLite error.
pub fn get(conn: &Connection, id: &Digest) -> Result<Option<ChannelRow>, StoreError> {
    let sql = format!("SELECT {COLUMNS} FROM channels WHERE id = ?1");
    let mut query = conn.prepare_cached(&sql)?;
    Ok(query.query_row([id.0], read).optional()?)
}

/// The channel of a chat.
///
/// # Errors
/// Any SQLite error.
pub fn of_account(
    conn: &Connection,
    kind: ChannelKind,
    account: &str,
) -> Result<Option<ChannelRow>, StoreError> {
    let sql = format!("SELECT {COLUMNS} FROM channels WHERE kind = ?1 AND account = ?2");
    let mut query = conn.prepare_cached(&sql)?;
    let found = query.query_row(params![kind.to_string(), account], read);
    Ok(found.optional()?)
}

/// Gives a channel to a chat; an earlier one of that chat is forgotten. Whether the channel is there and was nobody's.
///
/// # Errors
/// Any SQLite error.
pub fn enter(
    conn: &Connection,
    channel: &Channel,
    account: &str,
    now: TimeMs,
) -> Result<bool, StoreError> {
    conn.prepare_cached("DELETE FROM channels WHERE kind = ?1 AND account = ?2")?
        .execute(params![channel.kind.to_string(), account])?;
    let changed = conn
        .prepare_cached(
            "UPDATE channels SET account = ?2, entered_at = ?3 WHERE id = ?1 AND account IS NULL",
        )?
        .execute(params![channel.id().0, account, now.to_i64()])?;
    Ok(changed > 0)
}

/// Sets whether new proposals are told in a chat.
///
/// # Errors
/// Any SQLite error.
pub fn set_alerts(conn: &Connection, id: &Digest, on: bool) -> Result<(), StoreError> {
    conn.prepare_cached("UPDATE channels SET alerts = ?2 WHERE id = ?1")?
        .execute(params![id.0, on])?;
    Ok(())
}

/// Forgets a channel.
///
/// # Errors
/// Any SQLite error.
pub fn forget(conn: &Connection, id: &Digest) -> Result<(), StoreError> {
    conn.prepare_cached("DELETE FROM channels WHERE id = ?1")?
        .execute([id.0])?;
    Ok(())
}

/// Counts an approval that came through a channel, in the transaction in which it counts.
///
/// # Errors
/// Any SQLite error.
pub fn count_use(
    conn: &Connection,
    channel: &Channel,
    proposal: &ProposalId,
    now: TimeMs,
) -> Result<(), StoreError> {
    let old = TimeMs(now.0.saturating_sub(2 * CHANNEL_WINDOW_MS));
    conn.prepare_cached("DELETE FROM channel_uses WHERE at < ?1")?
        .execute([old.to_i64()])?;
    conn.prepare_cached(
        "INSERT INTO channel_uses (channel, proposal_id, operator_id, at) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT (channel, proposal_id) DO NOTHING",
    )?
    .execute(params![
        channel.id().0,
        proposal.as_str(),
        channel.operator_id.as_str(),
        now.to_i64(),
    ])?;
    Ok(())
}

/// How many approvals through channels of an operator key have counted in the last hour. One that was counted with the clock
/// ahead counts.
///
/// # Errors
/// Any SQLite error.
pub fn used(conn: &Connection, operator: &OperatorId, now: TimeMs) -> Result<u32, StoreError> {
    let since = TimeMs(now.0.saturating_sub(CHANNEL_WINDOW_MS));
    let sql = "SELECT count(*) FROM channel_uses WHERE operator_id = ?1 AND at > ?2";
    let mut query = conn.prepare_cached(sql)?;
    Ok(query.query_row(params![operator.as_str(), since.to_i64()], |r| r.get(0))?)
}

fn place(kind: ChannelKind, bot: &str) -> String {
    format!("channel.{kind}.{bot}")
}

/// The number from which updates of a bot are asked for: the one after the last that was taken.
///
/// # Errors
/// Any SQLite error.
pub fn next_update(conn: &Connection, kind: ChannelKind, bot: &str) -> Result<i64, StoreError> {
    let taken = taken(conn, kind, bot)?;
    Ok(taken.last().map_or(0, |last| last.saturating_add(1)))
}

/// Takes an update of a bot, unless it is one of those that were taken last. Numbers of a quiet bot may begin anew below
/// the earlier ones, so the largest says nothing.
///
/// # Errors
/// Any SQLite error.
pub fn take_update(
    conn: &Connection,
    kind: ChannelKind,
    bot: &str,
    update: i64,
) -> Result<bool, StoreError> {
    let mut taken = taken(conn, kind, bot)?;
    if taken.contains(&update) {
        return Ok(false);
    }
    taken.push(update);
    let over = taken.len().saturating_sub(CHAT_TAKEN_KEPT);
    let kept: Vec<u8> = taken[over..].iter().flat_map(|n| n.to_be_bytes()).collect();
    kv::put(conn, &place(kind, bot), &kept)?;
    Ok(true)
}

/// The numbers of the updates that were taken last, in their order.
fn taken(conn: &Connection, kind: ChannelKind, bot: &str) -> Result<Vec<i64>, StoreError> {
    let bytes = kv::get(conn, &place(kind, bot))?.unwrap_or_default();
    let numbers = bytes.as_chunks::<8>().0.iter();
    Ok(numbers.map(|number| i64::from_be_bytes(*number)).collect())
}

fn place_of_stops(kind: ChannelKind, bot: &str) -> String {
    format!("channel.{kind}.{bot}.stops")
}

/// Notes that the emergency stop of an update was carried out.
///
/// # Errors
/// Any SQLite error.
pub fn note_stop(
    conn: &Connection,
    kind: ChannelKind,
    bot: &str,
    update: i64,
    now: TimeMs,
) -> Result<(), StoreError> {
    let mut all = stops(conn, kind, bot)?;
    all.retain(|(known, _)| *known != update);
    all.push((update, now));
    let over = all.len().saturating_sub(CHAT_STOPS_KEPT);
    let each = all[over..].iter();
    let kept: Vec<u8> = each
        .flat_map(|(update, at)| [update.to_be_bytes(), at.to_i64().to_be_bytes()].concat())
        .collect();
    kv::put(conn, &place_of_stops(kind, bot), &kept)
}

/// The updates whose emergency stops were carried out last, and when.
///
/// # Errors
/// Any SQLite error.
pub fn stops(
    conn: &Connection,
    kind: ChannelKind,
    bot: &str,
) -> Result<Vec<(i64, TimeMs)>, StoreError> {
    let bytes = kv::get(conn, &place_of_stops(kind, bot))?.unwrap_or_default();
    let numbers = bytes.as_chunks::<8>().0.iter();
    let numbers: Vec<i64> = numbers.map(|n| i64::from_be_bytes(*n)).collect();
    let each = numbers.as_chunks::<2>().0.iter();
    Ok(each
        .map(|[update, at]| (*update, TimeMs::from_i64(*at)))
        .collect())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_stops_that_were_carried_out_are_known_for_each_bot_and_bounded() {
        let conn = Connection::open_in_memory().unwrap();
        let table = "CREATE TABLE kv (key TEXT PRIMARY KEY, value BLOB NOT NULL)";
        conn.execute_batch(table).unwrap();
        let kind = ChannelKind::Telegram;
        for update in 0..100 {
            note_stop(&conn, kind, "7", update, TimeMs(5)).unwrap();
        }
        note_stop(&conn, kind, "7", 99, TimeMs(6)).unwrap();
        let all = stops(&conn, kind, "7").unwrap();
        assert_eq!(all.len(), CHAT_STOPS_KEPT);
        assert_eq!(all.last(), Some(&(99, TimeMs(6))));
        assert_eq!(stops(&conn, kind, "8").unwrap(), []);
    }
}
