//! Messages to agents, and runs of the agents of this node. It must not know where a message goes or what an agent is.

use std::fmt::Display;

use rusqlite::types::Type;
use rusqlite::{Connection, OptionalExtension as _, Row, named_params, params};

use super::{StoreError, row};
use crate::domain::base::limits::{MESSAGES_KEPT_MAX, RUNS_KEPT_MAX};
use crate::domain::base::{DeviceId, TimeMs};
use crate::domain::coordination::message::{Message, MessageState};

const COLUMNS: &str = "id, state, priority, created_at, expires_at, next_at, ended_at, source, sender, key, place, rule, \
                       retry, attempts, text, answer, why";

fn wrong(column: usize, why: impl Display) -> rusqlite::Error {
    let why = why.to_string();
    rusqlite::Error::FromSqlConversionFailure(column, Type::Text, why.into())
}

fn from_json<T: serde::de::DeserializeOwned>(row: &Row<'_>, column: usize) -> rusqlite::Result<T> {
    let text: String = row.get(column)?;
    serde_json::from_str(&text).map_err(|e| wrong(column, e))
}

fn moment(row: &Row<'_>, column: usize) -> rusqlite::Result<TimeMs> {
    row.get(column).map(TimeMs::from_i64)
}

fn read(row: &Row<'_>) -> rusqlite::Result<Message> {
    let state: String = row.get(1)?;
    let ended: Option<i64> = row.get(6)?;
    Ok(Message {
        id: row.get(0)?,
        state: MessageState::named(&state).ok_or_else(|| wrong(1, "no state"))?,
        priority: row.get(2)?,
        created_at: moment(row, 3)?,
        expires_at: moment(row, 4)?,
        next_at: moment(row, 5)?,
        ended_at: ended.map(TimeMs::from_i64),
        source: row.get(7)?,
        sender: row.get(8)?,
        key: row.get(9)?,
        place: from_json(row, 10)?,
        rule: row.get(11)?,
        retry: from_json(row, 12)?,
        attempts: from_json(row, 13)?,
        text: row.get(14)?,
        answer: row.get(15)?,
        why: row.get(16)?,
    })
}

fn json(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

/// Writes a message, over what is there of this id.
///
/// # Errors
/// Any SQLite error; a second message of one sender and key.
pub fn put(conn: &Connection, message: &Message) -> Result<(), StoreError> {
    let sql = "INSERT INTO messages (id, state, priority, created_at, expires_at, next_at, ended_at, source, sender, key, \
               place, rule, retry, attempts, text, answer, why) VALUES (:id, :state, :priority, :created, :expires, :next, \
               :ended, :source, :sender, :key, :place, :rule, :retry, :attempts, :text, :answer, :why) \
               ON CONFLICT (id) DO UPDATE SET state = :state, priority = :priority, expires_at = :expires, \
               next_at = :next, ended_at = :ended, rule = :rule, retry = :retry, attempts = :attempts, answer = :answer, \
               why = :why";
    conn.prepare_cached(sql)?.execute(named_params! {
        ":id": message.id,
        ":state": message.state.as_str(),
        ":priority": message.priority,
        ":created": message.created_at.to_i64(),
        ":expires": message.expires_at.to_i64(),
        ":next": message.next_at.to_i64(),
        ":ended": message.ended_at.map(TimeMs::to_i64),
        ":source": message.source,
        ":sender": message.sender,
        ":key": message.key,
        ":place": json(&message.place),
        ":rule": message.rule,
        ":retry": json(&message.retry),
        ":attempts": json(&message.attempts),
        ":text": message.text,
        ":answer": message.answer,
        ":why": message.why,
    })?;
    Ok(())
}

/// Changes a message that is not over; `None` if there is none, or it is over: then nothing is changed.
///
/// # Errors
/// Any SQLite error.
pub fn change(
    conn: &Connection,
    id: &str,
    change: impl FnOnce(&mut Message),
) -> Result<Option<Message>, StoreError> {
    let Some(mut message) = get(conn, id)?.filter(|m| !m.state.is_over()) else {
        return Ok(None);
    };
    change(&mut message);
    put(conn, &message)?;
    Ok(Some(message))
}

/// One message.
///
/// # Errors
/// Any SQLite error.
pub fn get(conn: &Connection, id: &str) -> Result<Option<Message>, StoreError> {
    let sql = format!("SELECT {COLUMNS} FROM messages WHERE id = ?1");
    Ok(conn
        .prepare_cached(&sql)?
        .query_row([id], read)
        .optional()?)
}

/// The message that this sender gave this key.
///
/// # Errors
/// Any SQLite error.
pub fn by_key(
    conn: &Connection,
    source: &str,
    sender: &str,
    key: &str,
) -> Result<Option<Message>, StoreError> {
    let sql =
        format!("SELECT {COLUMNS} FROM messages WHERE source = ?1 AND sender = ?2 AND key = ?3");
    let mut query = conn.prepare_cached(&sql)?;
    Ok(query.query_row([source, sender, key], read).optional()?)
}

/// How many messages are not over.
///
/// # Errors
/// Any SQLite error.
pub fn open(conn: &Connection) -> Result<usize, StoreError> {
    let sql = "SELECT count(*) FROM messages WHERE ended_at IS NULL";
    let count: i64 = conn.prepare_cached(sql)?.query_row([], |row| row.get(0))?;
    Ok(usize::try_from(count).unwrap_or_default())
}

fn list(
    conn: &Connection,
    rest: &str,
    with: impl rusqlite::Params,
) -> Result<Vec<Message>, StoreError> {
    let sql = format!("SELECT {COLUMNS} FROM messages {rest}");
    let mut query = conn.prepare_cached(&sql)?;
    let rows = query.query_map(with, read)?;
    row::readable(rows)
}

/// Queued messages that look for a node now, those of the greatest priority first, then the oldest.
///
/// # Errors
/// Any SQLite error.
pub fn due(conn: &Connection, now: TimeMs, most: usize) -> Result<Vec<Message>, StoreError> {
    let most = i64::try_from(most).unwrap_or(i64::MAX);
    let rest =
        "WHERE state = 'queued' AND next_at <= ?1 ORDER BY priority DESC, created_at LIMIT ?2";
    list(conn, rest, params![now.to_i64(), most])
}

/// Messages that were under way.
///
/// # Errors
/// Any SQLite error.
pub fn under_way(conn: &Connection) -> Result<Vec<Message>, StoreError> {
    list(
        conn,
        "WHERE ended_at IS NULL AND state <> 'queued' ORDER BY created_at",
        [],
    )
}

/// Queued messages whose time is over.
///
/// # Errors
/// Any SQLite error.
pub fn overdue(conn: &Connection, now: TimeMs, most: usize) -> Result<Vec<Message>, StoreError> {
    let most = i64::try_from(most).unwrap_or(i64::MAX);
    let rest = "WHERE ended_at IS NULL AND state = 'queued' AND expires_at <= ?1 ORDER BY expires_at LIMIT ?2";
    list(conn, rest, params![now.to_i64(), most])
}

/// Has every queued message look for a node now.
///
/// # Errors
/// Any SQLite error.
pub fn wake(conn: &Connection) -> Result<(), StoreError> {
    let sql = "UPDATE messages SET next_at = 0 WHERE state = 'queued' AND next_at > 0";
    conn.prepare_cached(sql)?.execute([])?;
    Ok(())
}

/// Which messages are listed.
#[derive(Debug, Clone, Default)]
pub struct Page {
    /// In one of these states; any where empty.
    pub states: Vec<MessageState>,
    /// With this text in the message or its answer.
    pub text: Option<String>,
    /// That came before this moment.
    pub before: Option<TimeMs>,
    /// Of those of that moment, that stand after this id.
    pub before_id: Option<String>,
    /// At most so many.
    pub limit: usize,
}

/// Messages, newest first.
///
/// # Errors
/// Any SQLite error.
pub fn page(conn: &Connection, page: &Page) -> Result<Vec<Message>, StoreError> {
    let states: Vec<&str> = page.states.iter().map(|s| s.as_str()).collect();
    let limit = i64::try_from(page.limit).unwrap_or(i64::MAX);
    let rest = "WHERE (created_at < ?1 OR created_at = ?1 AND id < ?5) AND (?2 = '[]' OR state IN (SELECT value FROM json_each(?2))) \
                AND (?3 IS NULL OR instr(lower(text), lower(?3)) > 0 OR instr(lower(answer), lower(?3)) > 0) \
                ORDER BY created_at DESC, id DESC LIMIT ?4";
    let before = page.before.map_or(i64::MAX, TimeMs::to_i64);
    list(
        conn,
        rest,
        params![before, json(&states), page.text, limit, page.before_id],
    )
}

/// How many messages stand in each state.
///
/// # Errors
/// Any SQLite error.
pub fn counts(conn: &Connection) -> Result<Vec<(MessageState, u64)>, StoreError> {
    let mut query = conn.prepare_cached("SELECT state, count(*) FROM messages GROUP BY state")?;
    let rows = query.query_map([], |row| {
        let state: String = row.get(0)?;
        let state = MessageState::named(&state).ok_or_else(|| wrong(0, "no state"))?;
        let count: i64 = row.get(1)?;
        Ok((state, u64::try_from(count).unwrap_or_default()))
    })?;
    row::readable(rows)
}

fn excess(conn: &Connection, table: &str, most: usize) -> Result<i64, StoreError> {
    let sql = format!("SELECT count(*) FROM {table} WHERE ended_at IS NOT NULL");
    let count: i64 = conn.prepare_cached(&sql)?.query_row([], |row| row.get(0))?;
    Ok(count
        .saturating_sub(i64::try_from(most).unwrap_or(i64::MAX))
        .max(0))
}

/// Deletes messages that have been over for long, and outcomes of runs from before `runs_before`.
///
/// # Errors
/// Any SQLite error.
pub fn prune(conn: &Connection, runs_before: TimeMs) -> Result<(), StoreError> {
    let over = excess(conn, "messages", MESSAGES_KEPT_MAX)?;
    let sql = "DELETE FROM messages WHERE id IN \
               (SELECT id FROM messages WHERE ended_at IS NOT NULL ORDER BY ended_at LIMIT ?1)";
    conn.prepare_cached(sql)?.execute([over])?;
    let sql = "DELETE FROM message_runs WHERE ended_at < ?1";
    conn.prepare_cached(sql)?.execute([runs_before.to_i64()])?;
    let over = excess(conn, "message_runs", RUNS_KEPT_MAX)?;
    let sql = "DELETE FROM message_runs WHERE (device, id) IN \
               (SELECT device, id FROM message_runs WHERE ended_at IS NOT NULL ORDER BY ended_at LIMIT ?1)";
    conn.prepare_cached(sql)?.execute([over])?;
    Ok(())
}

/// How a run of an agent stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RunState {
    /// The agent was asked, or is about to be.
    Running,
    /// It answered.
    Answered(String),
    /// It ended with an error.
    Failed(String),
    /// Nothing was run.
    NotRun(String),
    /// Whether the agent acted is not known, and will not be.
    Interrupted(String),
    /// The node ended meanwhile, and may learn from the gateway what became of it.
    Left(String),
}

/// What came of beginning a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Begun {
    /// It is new.
    Anew,
    /// The node ended while it was run: the process of the gateway that was asked, and when.
    TakenUp {
        /// The process of the gateway.
        process: String,
        /// When the run began.
        began_at: TimeMs,
    },
    /// It was begun before, and stands as it stood.
    Known,
}

impl RunState {
    fn parts(&self) -> (&'static str, Option<&str>, Option<&str>) {
        match self {
            Self::Running => ("running", None, None),
            Self::Answered(answer) => ("answered", Some(answer), None),
            Self::Failed(why) => ("failed", None, Some(why)),
            Self::NotRun(why) => ("not-run", None, Some(why)),
            Self::Interrupted(why) => ("interrupted", None, Some(why)),
            Self::Left(why) => ("left", None, Some(why)),
        }
    }
}

/// Begins a run, asked of this process of a gateway, unless this device has begun it before. One that the node left is taken up.
///
/// # Errors
/// Any SQLite error.
pub fn begin_run(
    conn: &Connection,
    device: &DeviceId,
    id: &str,
    (agent, process): (&str, Option<&str>),
    now: TimeMs,
) -> Result<Begun, StoreError> {
    let sql = "INSERT INTO message_runs (device, id, agent, process, state, began_at) VALUES (?1, ?2, ?3, ?4, 'running', ?5) \
               ON CONFLICT (device, id) DO NOTHING";
    let new = params![device.as_str(), id, agent, process, now.to_i64()];
    if conn.prepare_cached(sql)?.execute(new)? > 0 {
        return Ok(Begun::Anew);
    }
    let sql = "UPDATE message_runs SET state = 'running', why = NULL, ended_at = NULL \
               WHERE device = ?1 AND id = ?2 AND agent = ?3 AND state = 'left' RETURNING process, began_at";
    let read = |row: &Row<'_>| {
        Ok(Begun::TakenUp {
            process: row.get(0)?,
            began_at: moment(row, 1)?,
        })
    };
    let mut query = conn.prepare_cached(sql)?;
    let taken_up = query.query_row(params![device.as_str(), id, agent], read);
    Ok(taken_up.optional()?.unwrap_or(Begun::Known))
}

/// How a run stands.
///
/// # Errors
/// Any SQLite error.
pub fn run(conn: &Connection, device: &DeviceId, id: &str) -> Result<Option<RunState>, StoreError> {
    let sql = "SELECT state, answer, why FROM message_runs WHERE device = ?1 AND id = ?2";
    let read = |row: &Row<'_>| {
        let (state, answer, why): (String, Option<String>, Option<String>) =
            (row.get(0)?, row.get(1)?, row.get(2)?);
        let why = why.unwrap_or_default();
        Ok(match state.as_str() {
            "running" => RunState::Running,
            "answered" => RunState::Answered(answer.unwrap_or_default()),
            "failed" => RunState::Failed(why),
            "not-run" => RunState::NotRun(why),
            "interrupted" => RunState::Interrupted(why),
            "left" => RunState::Left(why),
            _ => return Err(wrong(0, "no state")),
        })
    };
    let mut query = conn.prepare_cached(sql)?;
    Ok(query
        .query_row(params![device.as_str(), id], read)
        .optional()?)
}

/// Ends a run that is under way; one that is over stays as it is.
///
/// # Errors
/// Any SQLite error.
pub fn end_run(
    conn: &Connection,
    device: &DeviceId,
    id: &str,
    state: &RunState,
    now: TimeMs,
) -> Result<(), StoreError> {
    let (name, answer, why) = state.parts();
    let sql = "UPDATE message_runs SET state = ?3, answer = ?4, why = ?5, ended_at = ?6 \
               WHERE device = ?1 AND id = ?2 AND ended_at IS NULL";
    conn.prepare_cached(sql)?.execute(params![
        device.as_str(),
        id,
        name,
        answer,
        why,
        now.to_i64()
    ])?;
    Ok(())
}

/// Ends the runs that were under way when the node ended before. A run of its model had no effects and counts as not run; what became
/// of one at a gateway the gateway may know.
///
/// # Errors
/// Any SQLite error.
pub fn interrupt_runs(
    conn: &Connection,
    model: &str,
    why: &str,
    now: TimeMs,
) -> Result<usize, StoreError> {
    let sql = "UPDATE message_runs SET state = CASE WHEN agent = ?1 THEN 'not-run' WHEN process IS NULL THEN 'interrupted' ELSE 'left' END, \
               why = ?2, ended_at = ?3 WHERE ended_at IS NULL";
    Ok(conn
        .prepare_cached(sql)?
        .execute(params![model, why, now.to_i64()])?)
}
