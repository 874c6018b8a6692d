//! Backups: one SQLite file that holds a consistent copy of the store and, in a table of its own, the
//! few files of the state directory that belong to it. A running node is not disturbed.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use rusqlite::{Connection, OpenFlags};

use super::{StoreError, open};
use crate::adapters::system;

/// A file of the state directory in a backup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// Its name in the directory.
    pub name: String,
    /// Its content; keys are sealed.
    pub bytes: Vec<u8>,
}

fn io(what: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> StoreError {
    let path = path.to_owned();
    move |source| StoreError::Io {
        what,
        path,
        source: Arc::new(source),
    }
}

fn damaged(why: String) -> StoreError {
    StoreError::Invalid {
        what: "check the backup",
        why,
    }
}

fn writable(path: &Path) -> Result<Connection, StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = Connection::open_with_flags(path, flags)?;
    // One file, whole after each commit.
    conn.query_row("PRAGMA journal_mode=DELETE", [], |_| Ok(()))?;
    conn.execute_batch("PRAGMA synchronous=FULL; PRAGMA fullfsync=ON;")?;
    Ok(conn)
}

/// Writes a backup of the database at `database` into `to`, an empty file that is there already, and
/// reads it back. Blocks.
///
/// # Errors
/// The fault; `to` is then unusable.
pub fn write(database: &Path, to: &Path, files: &[Kept]) -> Result<(), StoreError> {
    let source = open::look(database).map_err(|e| e.during("read the store", database))?;
    let name = to.to_str().ok_or_else(|| {
        damaged("the name of the backup is no text that SQLite takes; name another".to_owned())
    })?;
    let copying = source.connect(database)?;
    copying
        .execute("VACUUM INTO ?1", [name])
        .map_err(|e| StoreError::from(e).during("copy the store", database))?;
    drop(copying);
    let conn = writable(to)?;
    conn.execute_batch(
        "CREATE TABLE backup_files (name TEXT PRIMARY KEY, bytes BLOB NOT NULL) WITHOUT ROWID",
    )?;
    for file in files {
        conn.execute(
            "INSERT INTO backup_files (name, bytes) VALUES (?1, ?2)",
            (&file.name, &file.bytes),
        )?;
    }
    drop(conn);
    let written = fs::File::open(to).and_then(|file| file.sync_all());
    written.map_err(io("sync", to))?;
    match read(to)? == sorted(files) {
        true => Ok(()),
        false => Err(damaged("it does not hold what was written".to_owned())),
    }
}

fn sorted(files: &[Kept]) -> Vec<Kept> {
    let mut files = files.to_vec();
    files.sort_by(|a, b| a.name.cmp(&b.name));
    files
}

/// The files in a backup, once the whole of it has been checked. Blocks.
///
/// # Errors
/// [`StoreError::Corrupt`] or [`StoreError::Invalid`] if it is none or damaged.
pub fn read(backup: &Path) -> Result<Vec<Kept>, StoreError> {
    let source = open::look(backup).map_err(|e| e.during("read the backup", backup))?;
    let conn = source.connect(backup)?;
    check(&conn).map_err(|e| e.during("check the backup", backup))?;
    let there: i64 = conn.query_row(
        "SELECT count(*) FROM sqlite_schema WHERE name = 'backup_files'",
        [],
        |row| row.get(0),
    )?;
    if there == 0 {
        return Err(damaged(
            "this is the database of a state directory and no file that `backup` wrote".to_owned(),
        ));
    }
    let mut query = conn.prepare("SELECT name, bytes FROM backup_files ORDER BY name")?;
    let rows = query.query_map([], |row| {
        Ok(Kept {
            name: row.get(0)?,
            bytes: row.get(1)?,
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Looks at every page of a database.
///
/// # Errors
/// [`StoreError::Invalid`] with the first fault.
pub fn check(conn: &Connection) -> Result<(), StoreError> {
    let found: String = conn.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    match found == "ok" {
        true => Ok(()),
        false => Err(damaged(format!("the database is damaged: {found}"))),
    }
}

/// Puts the store of a backup at `database`, which must not exist. Blocks.
///
/// # Errors
/// The fault; `database` is then unusable.
pub fn unpack(backup: &Path, database: &Path) -> Result<(), StoreError> {
    let mut from = fs::File::open(backup).map_err(io("read", backup))?;
    let mut options = fs::OpenOptions::new();
    let made = system::for_owner(options.write(true).create_new(true)).open(database);
    let copied = made.and_then(|mut to| std::io::copy(&mut from, &mut to));
    copied.map_err(io("write", database))?;
    let conn = writable(database)?;
    check(&conn)?;
    conn.execute_batch("DROP TABLE backup_files")?;
    drop(conn);
    let written = fs::File::open(database).and_then(|file| file.sync_all());
    written.map_err(io("sync", database))
}
