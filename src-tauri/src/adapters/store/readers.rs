//! The readers: a small pool of read-only connections, opened when first needed, to the very files that the
//! writer has: others may lie in their place meanwhile, and would be read for ever.
//!
//! Every read runs in one transaction, so that it sees one state of the world, and on a thread that may block.
//! Waiting reads stand in a line that those threads work off, so that a caller that is not polled keeps its turn from
//! nobody; too many are refused.

use std::collections::{BTreeMap, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, Transaction};
use tokio::sync::oneshot;

use super::writer::guarded;
use super::{Store, StoreError, row};
use crate::adapters::system::{self, FileId};
use crate::domain::base::limits::{STORE_BUSY_MS, STORE_READERS, STORE_READS_WAITING_MAX};

#[derive(Default)]
struct Pool {
    idle: Vec<Connection>,
    open: usize,
    closed: bool,
}

/// How the file is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    /// Beside a writer, with the log of writes.
    Live,
    /// As it lies there: it has no writer and no log, so that not even a lock is taken.
    Still,
}

impl Source {
    /// A connection that cannot write.
    pub(super) fn connect(self, path: &Path) -> rusqlite::Result<Connection> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        match self {
            Source::Live => Connection::open_with_flags(path, flags),
            Source::Still => {
                let uri = format!("file:{}?immutable=1", escaped(path));
                Connection::open_with_flags(uri, flags | OpenFlags::SQLITE_OPEN_URI)
            }
        }
    }
}

/// A path as it stands in a URI.
fn escaped(path: &Path) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"/._-~".contains(&b);
    let bytes = path.as_os_str().as_encoded_bytes().iter();
    bytes
        .map(|b| match plain(*b) {
            true => char::from(*b).to_string(),
            false => format!("%{b:02X}"),
        })
        .collect()
}

/// The turn to take locks of a database or to give them back; nobody waits for one but at a path that begins with `\\`, which
/// is one of Windows. There the connections of a process share one handle, and SQLite 3.53 first asks whether another of them has a lock
/// and then takes it from the system: two at once take it twice and give it back once. The log could then never be
/// written out whole.
pub(super) fn turn(path: &Path) -> Option<MutexGuard<'static, ()>> {
    static TURN: Mutex<()> = Mutex::new(());
    let shares = path.as_os_str().as_encoded_bytes().starts_with(br"\\");
    shares.then(|| TURN.lock().unwrap_or_else(PoisonError::into_inner))
}

/// A transaction that reads, and has its lock from the start.
struct Reading<'a> {
    transaction: Option<Transaction<'a>>,
    path: &'a Path,
}

impl<'a> Reading<'a> {
    fn begin(conn: &'a Connection, path: &'a Path) -> rusqlite::Result<Self> {
        let turn = turn(path);
        let transaction = conn.unchecked_transaction()?;
        if turn.is_some() {
            transaction.query_row("PRAGMA schema_version", [], |_| Ok(()))?;
        }
        let transaction = Some(transaction);
        Ok(Self { transaction, path })
    }
}

impl Drop for Reading<'_> {
    fn drop(&mut self) {
        let _turn = turn(self.path);
        self.transaction = None;
    }
}

/// The pool of read-only connections.
pub(super) struct Readers {
    path: PathBuf,
    /// Which files they were when the pool was made.
    files: Files,
    /// Whether this program writes the database, so that its log stays where it is.
    beside_writer: bool,
    source: Source,
    pool: Mutex<Pool>,
    free: Condvar,
    line: Mutex<Line>,
    /// Rows that do not read, by what was read: the most that one list had.
    left_out: Mutex<BTreeMap<&'static str, usize>>,
}

/// A read that waits: runs and is answered.
type Waiting = Box<dyn FnOnce(&Readers) + Send>;

/// Reads that wait, and how many threads work them off.
#[derive(Default)]
struct Line {
    waiting: VecDeque<Waiting>,
    threads: usize,
}

/// A thread that works off the line, counted until it finds nothing there; where it ends otherwise, or never gets to run,
/// until then.
struct Worker {
    readers: Arc<Readers>,
    counted: bool,
}

impl Worker {
    fn work(mut self) {
        while let Some(read) = self.next() {
            read(&self.readers);
        }
    }

    fn next(&mut self) -> Option<Waiting> {
        let mut line = self.readers.line();
        let next = line.waiting.pop_front();
        // In one step: a read that comes now begins a thread.
        if next.is_none() {
            line.threads -= 1;
            self.counted = false;
        }
        next
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        if self.counted {
            self.readers.line().threads -= 1;
        }
    }
}

impl Store {
    /// Rows that were left out of lists because they do not read, by what was read.
    pub fn left_out(&self) -> BTreeMap<&'static str, usize> {
        self.0.readers.left_out()
    }

    /// Counts rows that are left out of a list because what is in them does not read.
    pub fn leave_out(&self, what: &'static str, rows: usize) {
        self.0.readers.leave_out(what, rows);
    }
}

impl Readers {
    /// A pool that has opened nothing yet.
    pub(super) fn new(path: &Path, source: Source, beside_writer: bool) -> Self {
        Self {
            path: path.to_owned(),
            files: Files::of(path, beside_writer),
            beside_writer,
            source,
            pool: Mutex::default(),
            free: Condvar::new(),
            line: Mutex::default(),
            left_out: Mutex::default(),
        }
    }

    /// Rows that were left out of lists because they do not read, by what was read: the most that one list had.
    pub(super) fn left_out(&self) -> BTreeMap<&'static str, usize> {
        let left_out = self.left_out.lock();
        left_out.unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn leave_out(&self, what: &'static str, rows: usize) {
        if rows > 0 {
            let mut all = self.left_out.lock().unwrap_or_else(PoisonError::into_inner);
            let most = all.entry(what).or_default();
            *most = rows.max(*most);
        }
    }

    /// Runs `f` on a thread that may block, once a connection is free.
    pub(super) async fn read<T, F>(
        self: &Arc<Self>,
        what: &'static str,
        f: F,
    ) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    {
        let (answer, read) = oneshot::channel();
        let waiting: Waiting = Box::new(move |readers| {
            // Nobody waits for it any more: it is not run.
            if !answer.is_closed() {
                drop(answer.send(guarded(what, || readers.read_here(what, f))));
            }
        });
        let begins = {
            let mut line = self.line();
            let begins = line.threads < STORE_READERS;
            if !begins && line.waiting.len() >= STORE_READS_WAITING_MAX {
                return Err(StoreError::Busy);
            }
            line.waiting.push_back(waiting);
            line.threads += usize::from(begins);
            begins
        };
        if begins {
            let worker = Worker {
                readers: Arc::clone(self),
                counted: true,
            };
            tokio::task::spawn_blocking(move || worker.work());
        }
        read.await.unwrap_or(Err(StoreError::Closed))
    }

    /// Runs `f` on this thread, which may block until a connection is free.
    pub(super) fn read_here<T>(
        &self,
        what: &'static str,
        f: impl FnOnce(&Connection) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let conn = self.take().map_err(|e| e.during(what, &self.path))?;
        let result = guarded(what, || {
            let _reading = Reading::begin(&conn, &self.path)?;
            f(&conn)
        });
        self.give_back(conn);
        self.leave_out(what, row::left_out());
        result.map_err(|e| e.during(what, &self.path))
    }

    /// Closes every connection; reads under way end first.
    pub(super) fn close(&self) {
        let mut pool = self.lock();
        pool.closed = true;
        pool.open -= pool.idle.len();
        pool.idle.clear();
        self.free.notify_all();
        while pool.open > 0 {
            pool = self.free.wait(pool).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn line(&self) -> MutexGuard<'_, Line> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self) -> MutexGuard<'_, Pool> {
        self.pool.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self) -> Result<Connection, StoreError> {
        let mut pool = self.lock();
        let mut may_open = true;
        loop {
            if pool.closed {
                return Err(StoreError::Closed);
            }
            if let Some(conn) = pool.idle.pop() {
                return Ok(conn);
            }
            if pool.open < STORE_READERS && may_open {
                pool.open += 1;
                drop(pool);
                let connected = self.connect();
                if let Ok(Some(conn)) = connected {
                    return Ok(conn);
                }
                pool = self.lock();
                pool.open -= 1;
                self.free.notify_all();
                connected?;
                may_open = false;
                continue;
            }
            if pool.open == 0 {
                return Err(another(&self.path));
            }
            pool = self.free.wait(pool).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn give_back(&self, conn: Connection) {
        let mut pool = self.lock();
        if pool.closed {
            drop(conn);
            pool.open -= 1;
        } else {
            pool.idle.push(conn);
        }
        // `close` waits on the same condition as readers do, so all are woken.
        self.free.notify_all();
    }

    /// A connection; `None` where another file lies in the place of one that the writer has.
    fn connect(&self) -> Result<Option<Connection>, StoreError> {
        let are_the_same = || Files::of(&self.path, self.beside_writer) == self.files;
        if !are_the_same() {
            return Ok(None);
        }
        let connected = self.open();
        // An error counts only where the files are still the ones that were meant.
        match are_the_same() {
            true => Ok(Some(connected?)),
            false => Ok(None),
        }
    }

    fn open(&self) -> rusqlite::Result<Connection> {
        let _turn = turn(&self.path);
        let conn = self.source.connect(&self.path)?;
        conn.busy_timeout(Duration::from_millis(STORE_BUSY_MS))?;
        super::open::stable_plans(&conn)?;
        conn.set_prepared_statement_cache_capacity(64);
        conn.pragma_update(None, "query_only", true)?;
        // The log of writes beside it is opened with the first read.
        conn.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))?;
        Ok(conn)
    }
}

/// The files that are read: the database, and beside the writer its log, without which a new connection would
/// read what the database was before.
#[derive(Debug, PartialEq, Eq)]
struct Files {
    database: Option<FileId>,
    log: Option<FileId>,
}

impl Files {
    fn of(path: &Path, beside_writer: bool) -> Self {
        let log = || system::file_id(&super::open::log_of(path)).ok();
        Self {
            database: system::file_id(path).ok(),
            log: beside_writer.then(log).flatten(),
        }
    }
}

fn another(path: &Path) -> StoreError {
    StoreError::Io {
        what: "read",
        path: path.to_owned(),
        source: Arc::new(std::io::Error::other(
            "another file lies in its place or in that of its log; put the state directory back and start again",
        )),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::adapters::store::{Class, StoreOptions, kv};

    #[cfg(unix)]
    #[test]
    fn no_connection_is_opened_to_a_database_whose_log_was_removed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("store.db");
        let store = Store::open(&path, StoreOptions::default()).unwrap();
        let put = store.write_blocking(Class::Durable, "put", |c| kv::put(c, "a", b"1"));
        put.unwrap();
        let readers = &store.0.readers;
        let get = || store.read_blocking("get", |c| kv::get(c, "a"));
        assert_eq!(get().unwrap().as_deref(), Some(&b"1"[..]));
        assert!(readers.connect().unwrap().is_some());
        std::fs::remove_file(super::super::open::log_of(&path)).unwrap();
        assert!(readers.connect().unwrap().is_none());
        // The connections that are open read what was written.
        assert_eq!(get().unwrap().as_deref(), Some(&b"1"[..]));
    }

    #[test]
    fn turns_are_taken_where_sqlite_shares_a_handle() {
        assert!(turn(Path::new("/var/lib/clawmesh/clawmesh.db")).is_none());
        assert!(turn(Path::new(r"C:\ProgramData\ClawMesh\clawmesh.db")).is_none());
        assert!(turn(Path::new(r"\\?\C:\long\clawmesh.db")).is_some());
    }
}
