//! What bots remember of their messages over a restart. It must not know what the records say.

use rusqlite::{Connection, params};

use super::StoreError;
use crate::domain::base::TimeMs;
use crate::domain::base::limits::CHAT_MEMORY_MAX;

/// Something that a bot remembers under a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Memory {
    /// The name.
    pub name: String,
    /// What is remembered; `None` forgets it.
    pub json: Option<String>,
    /// Until when.
    pub until: TimeMs,
}

/// Remembers and forgets; what is over goes, and what ends first where there is too much.
///
/// # Errors
/// Any SQLite error.
pub fn remember(
    conn: &Connection,
    bot: &str,
    all: &[Memory],
    now: TimeMs,
) -> Result<(), StoreError> {
    for memory in all {
        match &memory.json {
            None => conn
                .prepare_cached("DELETE FROM chat_memory WHERE bot = ?1 AND name = ?2")?
                .execute(params![bot, memory.name])?,
            Some(json) => conn
                .prepare_cached(
                    "INSERT OR REPLACE INTO chat_memory (bot, name, json, until) VALUES (?1, ?2, ?3, ?4)",
                )?
                .execute(params![bot, memory.name, json, memory.until.to_i64()])?,
        };
    }
    conn.prepare_cached("DELETE FROM chat_memory WHERE until <= ?1")?
        .execute([now.to_i64()])?;
    let count: i64 = conn
        .prepare_cached("SELECT count(*) FROM chat_memory")?
        .query_row([], |row| row.get(0))?;
    let over = count.saturating_sub(i64::try_from(CHAT_MEMORY_MAX).unwrap_or(i64::MAX));
    if over > 0 {
        let sql = "DELETE FROM chat_memory WHERE (bot, name) IN \
                   (SELECT bot, name FROM chat_memory ORDER BY until LIMIT ?1)";
        conn.prepare_cached(sql)?.execute([over])?;
    }
    Ok(())
}

/// Names and records of a bot that are not over.
///
/// # Errors
/// Any SQLite error.
pub fn recall(
    conn: &Connection,
    bot: &str,
    now: TimeMs,
) -> Result<Vec<(String, String)>, StoreError> {
    let sql = "SELECT name, json FROM chat_memory WHERE bot = ?1 AND until > ?2 ORDER BY name";
    let mut query = conn.prepare_cached(sql)?;
    let rows = query.query_map(params![bot, now.to_i64()], |row| {
        Ok((row.get(0)?, row.get(1)?))
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn memory(name: &str, json: Option<&str>, until: u64) -> Memory {
        Memory {
            name: name.to_owned(),
            json: json.map(str::to_owned),
            until: TimeMs(until),
        }
    }

    #[test]
    fn what_is_remembered_ends_is_forgotten_and_is_bounded() {
        let conn = Connection::open_in_memory().unwrap();
        conn.execute_batch(include_str!("migrations/0024.sql"))
            .unwrap();
        let names = |bot: &str, now: u64| -> Vec<String> {
            let all = recall(&conn, bot, TimeMs(now)).unwrap();
            all.into_iter().map(|(name, _)| name).collect()
        };
        let some = [memory("a", Some("1"), 10), memory("b", Some("2"), 20)];
        remember(&conn, "x", &some, TimeMs(1)).unwrap();
        assert_eq!(names("x", 5), ["a", "b"]);
        assert_eq!(names("y", 5), Vec::<String>::new());
        assert_eq!(names("x", 10), ["b"]);
        remember(&conn, "x", &[memory("b", None, 0)], TimeMs(1)).unwrap();
        assert_eq!(names("x", 5), ["a"]);
        let many = (0..CHAT_MEMORY_MAX + 5).map(|n| memory(&n.to_string(), Some("1"), 100));
        remember(&conn, "x", &many.collect::<Vec<_>>(), TimeMs(1)).unwrap();
        assert_eq!(names("x", 5).len(), CHAT_MEMORY_MAX);
        assert!(!names("x", 5).contains(&"a".to_owned()), "it ends first");
    }
}
