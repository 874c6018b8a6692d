//! Opening the database file: look before touching, then pragmas, then migrations.
//!
//! The look is cheap on purpose (a header and the schema, never the rows), so that a node with a
//! million frames starts as fast as an empty one.

use std::fs::{self, OpenOptions};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};
use rusqlite_migration::{M, Migrations};

use super::readers::Source;
use super::{StoreError, StoreOptions};
use crate::adapters::files;
use crate::adapters::system;
use crate::domain::base::limits::STORE_BUSY_MS;

/// `CLMS`: marks the file as ours.
const APPLICATION_ID: i64 = 0x434C_4D53;
/// The size of a new file's pages.
const PAGE_BYTES: i64 = 1_024;
/// How long the log beside the file may become before it is written into it, in bytes.
const CHECKPOINT_BYTES: i64 = 16_384_000;
/// The newest schema this program knows.
const SCHEMA: i64 = 27;
const MIGRATION_1: &str = include_str!("migrations/0001.sql");
const MIGRATION_2: &str = include_str!("migrations/0002.sql");
const MIGRATION_3: &str = include_str!("migrations/0003.sql");
const MIGRATION_4: &str = include_str!("migrations/0004.sql");
const MIGRATION_5: &str = include_str!("migrations/0005.sql");
const MIGRATION_6: &str = include_str!("migrations/0006.sql");
const MIGRATION_7: &str = include_str!("migrations/0007.sql");
const MIGRATION_8: &str = include_str!("migrations/0008.sql");
const MIGRATION_9: &str = include_str!("migrations/0009.sql");
const MIGRATION_10: &str = include_str!("migrations/0010.sql");
const MIGRATION_11: &str = include_str!("migrations/0011.sql");
const MIGRATION_12: &str = include_str!("migrations/0012.sql");
const MIGRATION_13: &str = include_str!("migrations/0013.sql");
const MIGRATION_14: &str = include_str!("migrations/0014.sql");
const MIGRATION_15: &str = include_str!("migrations/0015.sql");
const MIGRATION_16: &str = include_str!("migrations/0016.sql");
const MIGRATION_17: &str = include_str!("migrations/0017.sql");
const MIGRATION_18: &str = include_str!("migrations/0018.sql");
const MIGRATION_19: &str = include_str!("migrations/0019.sql");
const MIGRATION_20: &str = include_str!("migrations/0020.sql");
const MIGRATION_21: &str = include_str!("migrations/0021.sql");
const MIGRATION_22: &str = include_str!("migrations/0022.sql");
const MIGRATION_23: &str = include_str!("migrations/0023.sql");
const MIGRATION_24: &str = include_str!("migrations/0024.sql");
const MIGRATION_25: &str = include_str!("migrations/0025.sql");
const MIGRATION_26: &str = include_str!("migrations/0026.sql");
const MIGRATION_27: &str = include_str!("migrations/0027.sql");
const HEADER_BYTES: usize = 100;
const MAGIC: &[u8; 16] = b"SQLite format 3\0";

/// The writer's connection to a database that is there, ours and up to date.
pub(super) fn connect(path: &Path, options: StoreOptions) -> Result<Connection, StoreError> {
    if !check_header(path)? && options.expected {
        return Err(StoreError::Vanished {
            path: path.to_owned(),
        });
    }
    make_private(path).map_err(|source| StoreError::Io {
        what: "create or protect the database",
        path: path.to_owned(),
        source: Arc::new(source),
    })?;
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut conn = Connection::open_with_flags(path, flags)?;
    conn.busy_timeout(Duration::from_millis(STORE_BUSY_MS))?;
    // Until the file has proven to be ours, closing it must not write into it.
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    let found = check_schema(&conn)?;
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, false)?;
    configure(&conn, options)?;
    if found < SCHEMA {
        migrate(&mut conn)?;
    }
    Ok(conn)
}

/// Whether a database can be read by this program, and how; nothing is written.
pub(super) fn look(path: &Path) -> Result<Source, StoreError> {
    if !check_header(path)? {
        return Err(StoreError::Vanished {
            path: path.to_owned(),
        });
    }
    let source = match has_log(path) {
        true => Source::Live,
        false => Source::Still,
    };
    check_schema(&source.connect(path)?)?;
    Ok(source)
}

/// Looks at the first bytes, before SQLite may touch anything; `false` for an absent or empty file.
fn check_header(path: &Path) -> Result<bool, StoreError> {
    let corrupt = || StoreError::Corrupt {
        path: path.to_owned(),
    };
    let failed = |source: io::Error| StoreError::Io {
        what: "read the database",
        path: path.to_owned(),
        source: Arc::new(source),
    };
    let file = match files::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(failed(error)),
    };
    let length = file.metadata().map_err(failed)?.len();
    if length == 0 {
        return Ok(false);
    }
    let mut header = Vec::with_capacity(HEADER_BYTES);
    let wanted = u64::try_from(HEADER_BYTES).unwrap_or(u64::MAX);
    file.take(wanted).read_to_end(&mut header).map_err(failed)?;
    if header.len() < HEADER_BYTES || !header.starts_with(MAGIC) {
        return Err(corrupt());
    }
    let number = |at: usize| {
        header
            .get(at..at + 4)
            .and_then(|b| b.try_into().ok())
            .map_or(0, u32::from_be_bytes)
    };
    let page_bytes = match number(16) >> 16 {
        1 => 65_536,
        bytes => u64::from(bytes),
    };
    // With a log beside it the file may lag behind its header; without one it must be whole. The
    // page count counts only if the last writer kept it (bytes 24 and 92 agree).
    let whole = length >= page_bytes * u64::from(number(28)) || number(24) != number(92);
    match whole || has_log(path) {
        true => Ok(true),
        false => Err(corrupt()),
    }
}

fn has_log(path: &Path) -> bool {
    fs::metadata(log_of(path)).is_ok_and(|meta| meta.len() > 0)
}

/// Where the log of writes of a database is.
pub(super) fn log_of(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push("-wal");
    PathBuf::from(name)
}

/// Creates the file for its owner alone, or takes others' rights away. The log inherits the mode.
fn make_private(path: &Path) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.create(true).truncate(false).write(true);
    let file = system::for_owner(&mut options).open(path)?;
    system::restrict(&file, path)
}

/// Whose schema the file has; reads only. Returns its version.
fn check_schema(conn: &Connection) -> Result<i64, StoreError> {
    let found: i64 = conn.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    let application: i64 = conn.query_row("PRAGMA application_id", [], |row| row.get(0))?;
    let tables: i64 = conn.query_row(
        "SELECT count(*) FROM sqlite_schema WHERE type = 'table'",
        [],
        |row| row.get(0),
    )?;
    let empty = found == 0 && application == 0 && tables == 0;
    if application != APPLICATION_ID && !empty {
        return Err(StoreError::Invalid {
            what: "open the store",
            why: "the file is a database of another program; name another state directory"
                .to_owned(),
        });
    }
    if found > SCHEMA {
        return Err(StoreError::Newer {
            found,
            known: SCHEMA,
        });
    }
    Ok(found)
}

fn configure(conn: &Connection, options: StoreOptions) -> Result<(), StoreError> {
    // It counts for a new file only. Each transaction writes whole pages, most of them for a few bytes
    // of an index, so small ones wear the disk less; in smaller ones still a frame would not fit.
    conn.execute_batch(&format!("PRAGMA page_size={PAGE_BYTES}"))?;
    let mode: String = conn.query_row("PRAGMA journal_mode=WAL", [], |row| row.get(0))?;
    if mode != "wal" {
        return Err(StoreError::Invalid {
            what: "open the store",
            why: format!(
                "the file system gives journal mode {mode} where the store needs wal; use a local disk"
            ),
        });
    }
    conn.execute_batch(
        "PRAGMA foreign_keys=ON; PRAGMA fullfsync=ON; PRAGMA temp_store=MEMORY;
         PRAGMA cache_size=-32768; PRAGMA journal_size_limit=67108864;",
    )?;
    let page: i64 = conn.query_row("PRAGMA page_size", [], |row| row.get(0))?;
    let pages = CHECKPOINT_BYTES / page.max(1);
    conn.query_row(
        &format!("PRAGMA wal_autocheckpoint={pages}"),
        [],
        |_| Ok(()),
    )?;
    stable_plans(conn)?;
    conn.set_prepared_statement_cache_capacity(128);
    if let Some(bytes) = options.max_bytes {
        let pages = i64::try_from(bytes).unwrap_or(i64::MAX) / page.max(1);
        // SQLite counts in 32 bits and never goes below what the file already has.
        let pages = pages.clamp(1, 0xffff_fffe);
        conn.query_row(&format!("PRAGMA max_page_count={pages}"), [], |_| Ok(()))?;
    }
    Ok(())
}

/// One plan for each statement. Otherwise SQLite compiles a cached statement again whenever a bound
/// value such as a limit changes, which costs more than most of our queries.
pub(super) fn stable_plans(conn: &Connection) -> rusqlite::Result<()> {
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    Ok(())
}

fn migrate(conn: &mut Connection) -> Result<(), StoreError> {
    let steps = [
        M::up(MIGRATION_1),
        M::up(MIGRATION_2),
        M::up(MIGRATION_3),
        M::up(MIGRATION_4),
        M::up(MIGRATION_5),
        M::up(MIGRATION_6),
        M::up(MIGRATION_7),
        M::up(MIGRATION_8),
        M::up(MIGRATION_9),
        M::up(MIGRATION_10),
        M::up(MIGRATION_11),
        M::up(MIGRATION_12),
        M::up(MIGRATION_13),
        M::up(MIGRATION_14),
        M::up(MIGRATION_15),
        M::up(MIGRATION_16),
        M::up(MIGRATION_17),
        M::up(MIGRATION_18),
        M::up(MIGRATION_19),
        M::up(MIGRATION_20),
        M::up(MIGRATION_21),
        M::up(MIGRATION_22),
        M::up(MIGRATION_23),
        M::up(MIGRATION_24),
        M::up(MIGRATION_25),
        M::up(MIGRATION_26),
        M::up(MIGRATION_27),
    ];
    Migrations::from_slice(&steps)
        .to_latest(conn)
        .map_err(|error| match error {
            rusqlite_migration::Error::RusqliteError { err, .. } => err.into(),
            other => StoreError::Invalid {
                what: "bring the store's schema up to date",
                why: other.to_string(),
            },
        })
}
