//! What can go wrong in the store. Every SQLite error passes through [`From`] here, so that a full
//! disk and a damaged file are told apart from other errors everywhere.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rusqlite::ErrorCode;
use rusqlite::ffi::SQLITE_IOERR_SHMSIZE;

use crate::domain::base::{Code, Refusal};

/// Advice where a store is lost.
const ANEW: &str = "Restore a backup into an empty directory (`clawmesh-node restore FILE --state-dir DIR`). Without \
                    one, move clawmesh.db, clawmesh.db-wal, clawmesh.db-shm, store.mark and tokens.json out of the \
                    directory: the node then starts as the same device and knows no device, person, proposal or latched \
                    emergency stop; it operates again after `clawmesh-node state confirm`";

/// Why the store did not do what it was asked. Cheap to clone: every write of a failed batch gets
/// the same error.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// The disk, or the size that `store.max_bytes` allows, is used up. Reads go on.
    #[error(
        "the store is full: nothing of this write was kept; free disk space, raise store.max_bytes or keep fewer frames"
    )]
    Full,
    /// The file is no SQLite database or a damaged one.
    #[error(
        "the database {} is damaged or is no SQLite database: nothing was overwritten. {ANEW}",
        path.display()
    )]
    Corrupt {
        /// The file.
        path: PathBuf,
    },
    /// A store that was there is gone.
    #[error(
        "the database {} is missing or empty, and this directory has had one: nothing was begun anew. Put the \
         database back with its -wal file. If it is lost: {ANEW}",
        path.display()
    )]
    Vanished {
        /// The file.
        path: PathBuf,
    },
    /// A newer ClawMesh wrote the database.
    #[error(
        "the database has schema {found}, this program knows up to {known}: it was written by a newer ClawMesh; nothing was changed, start that version again"
    )]
    Newer {
        /// The schema in the file.
        found: i64,
        /// The newest schema this program knows.
        known: i64,
    },
    /// The store has been closed, or its writer has ended.
    #[error("the store is closed")]
    Closed,
    /// Too many reads wait, or another process holds the database.
    #[error(
        "the store is busy: too many reads wait or another process holds the database; try again"
    )]
    Busy,
    /// SQLite refused.
    #[error("{what}: {source}")]
    Sqlite {
        /// The operation attempted.
        what: &'static str,
        /// SQLite's error.
        #[source]
        source: Arc<rusqlite::Error>,
    },
    /// The file system refused.
    #[error("{what} {}: {source}", path.display())]
    Io {
        /// The operation attempted.
        what: &'static str,
        /// With which file.
        path: PathBuf,
        /// The system's error.
        #[source]
        source: Arc<std::io::Error>,
    },
    /// Something stored, or to be stored, is not what it must be.
    #[error("{what}: {why}")]
    Invalid {
        /// The operation attempted.
        what: &'static str,
        /// The fault.
        why: String,
    },
    /// The write's own logic said no; nothing of it was kept.
    #[error(transparent)]
    Refused(#[from] Refusal),
}

impl StoreError {
    /// The code that programs act on.
    pub fn code(&self) -> Code {
        match self {
            StoreError::Full => Code::StorageFull,
            StoreError::Busy => Code::Busy,
            StoreError::Refused(refusal) => refusal.code,
            _ => Code::StorageFailed,
        }
    }

    /// The error with the file and the attempt filled in where SQLite did not name them.
    #[must_use]
    pub(super) fn during(self, attempt: &'static str, file: &Path) -> Self {
        match self {
            StoreError::Corrupt { path } if path.as_os_str().is_empty() => StoreError::Corrupt {
                path: file.to_owned(),
            },
            StoreError::Sqlite { what: "", source } => StoreError::Sqlite {
                what: attempt,
                source,
            },
            StoreError::Invalid { what: "", why } => StoreError::Invalid { what: attempt, why },
            other => other,
        }
    }
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        match (error.sqlite_error_code(), &error) {
            (Some(ErrorCode::DiskFull), _) => StoreError::Full,
            // The file that the processes share could not be made larger.
            (_, rusqlite::Error::SqliteFailure(cause, _))
                if cause.extended_code == SQLITE_IOERR_SHMSIZE =>
            {
                StoreError::Full
            }
            (Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase), _) => {
                StoreError::Corrupt {
                    path: PathBuf::new(),
                }
            }
            (Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked), _) => StoreError::Busy,
            (_, rusqlite::Error::FromSqlConversionFailure(..)) => StoreError::Invalid {
                what: "",
                why: format!("a stored row does not read: {error}"),
            },
            _ => StoreError::Sqlite {
                what: "",
                source: Arc::new(error),
            },
        }
    }
}
