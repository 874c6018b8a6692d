//! The store: SQLite is the truth a node works from.
//!
//! One writer thread commits in groups, a few read-only connections serve all reads, and each family of
//! tables has its own file of plain functions over a connection. Each closure is atomic. The store has no
//! clock, checks no signature and knows no rule of the domain beyond "newer wins" and "once".

pub mod ahead;
pub mod alerts;
pub mod approvals;
pub mod audit;
pub mod backup;
pub mod cases;
pub mod channels;
pub mod chat_memory;
pub mod cited;
pub mod commands;
pub mod drafts;
mod engine;
mod error;
pub mod events;
pub mod facts;
mod frame_insert;
pub mod frame_sync;
pub mod frames;
mod gathering;
pub mod history;
mod horizon;
pub mod issuers;
pub mod kv;
pub mod messages;
mod named;
mod open;
pub mod operators;
mod packed;
pub mod private;
pub mod proposals;
mod readers;
pub mod records;
pub mod room;
mod row;
pub mod runs;
pub mod series;
pub mod shares;
pub mod standing_approvals;
pub mod steps;
pub mod trust;
pub mod usage;
mod vitals;
mod writer;

#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{JoinHandle, Thread};

use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

pub use self::engine::{Disk, Engine};
pub use self::error::StoreError;
use self::gathering::Gathering;
use self::readers::{Readers, Source};
use self::vitals::Vitals;
pub use self::writer::{Class, Urgent};
use self::writer::{Job, Message, Writer};
use crate::domain::base::limits::{BUDGET_KEPT_BYTES, STORE_QUEUE_MAX};

/// How a store is opened.
#[derive(Debug, Clone, Copy, Default)]
pub struct StoreOptions {
    /// The largest size of the database file, in bytes, without its log; `None` is as large as the disk.
    /// Writes that would grow it further fail with [`StoreError::Full`].
    pub max_bytes: Option<u64>,
    /// Whether the directory has had a store before: then a missing or empty file is a fault.
    pub expected: bool,
}

/// Who writes.
enum Work {
    /// A thread that takes from this queue.
    Thread {
        queue: mpsc::Sender<Message>,
        urgent: Urgent,
        /// Whether something has gathered that reads do not see yet.
        gathered: Arc<AtomicBool>,
        thread: Thread,
        writer: Mutex<Option<JoinHandle<Writer>>>,
    },
    /// The calling thread, one at a time; `None` after the end.
    Caller {
        disk: Arc<dyn Disk>,
        writer: Mutex<Option<Writer>>,
    },
    /// The store is only read: a write finds it closed.
    Nobody,
}

struct Inner {
    path: PathBuf,
    max_bytes: Option<u64>,
    work: Work,
    readers: Arc<Readers>,
    vitals: Arc<Vitals>,
}

/// An open store. Clones share it; when the last one is dropped the writer takes what is queued and ends.
#[derive(Clone)]
pub struct Store(Arc<Inner>);

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Store({})", self.0.path.display())
    }
}

impl Store {
    /// Opens the database at `path`, creating it for its owner alone, and brings its schema up to
    /// date. Blocks.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] and [`StoreError::Newer`] leave the file as it is;
    /// [`StoreError::Invalid`] if it is another program's database.
    pub fn open(path: &Path, options: StoreOptions) -> Result<Store, StoreError> {
        Store::open_on(path, options, Engine::Threads)
    }

    /// As [`Store::open`], with the work done where `engine` says.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub fn open_on(
        path: &Path,
        options: StoreOptions,
        engine: Engine,
    ) -> Result<Store, StoreError> {
        let conn = open::connect(path, options).map_err(|e| e.during("open the store", path))?;
        let vitals = Arc::new(Vitals::default());
        let work = match engine {
            Engine::Threads => Self::on_a_thread(path, conn, &vitals)?,
            Engine::Inline(disk) => Work::Caller {
                disk,
                writer: Mutex::new(Some(Writer::new(conn, Gathering::default()))),
            },
        };
        Ok(Store(Arc::new(Inner {
            path: path.to_owned(),
            max_bytes: options.max_bytes,
            work,
            readers: Arc::new(Readers::new(path, Source::Live, true)),
            vitals,
        })))
    }

    /// Opens a database only to read it; the directory may be read-only, and nothing in it is made or
    /// changed where there is no log of writes. Blocks.
    ///
    /// # Errors
    /// As [`Store::open`]; [`StoreError::Vanished`] if the file is missing or empty.
    pub fn open_to_read(path: &Path) -> Result<Store, StoreError> {
        let source = open::look(path).map_err(|e| e.during("read the store", path))?;
        Ok(Store(Arc::new(Inner {
            path: path.to_owned(),
            max_bytes: None,
            work: Work::Nobody,
            readers: Arc::new(Readers::new(path, source, false)),
            vitals: Arc::default(),
        })))
    }

    fn on_a_thread(
        path: &Path,
        conn: Connection,
        vitals: &Arc<Vitals>,
    ) -> Result<Work, StoreError> {
        let (queue, waiting) = mpsc::channel(STORE_QUEUE_MAX);
        let gathered = Arc::new(AtomicBool::new(false));
        let gathering = Gathering::new(gathered.clone(), vitals.clone());
        let writer = std::thread::Builder::new()
            .name("store-writer".to_owned())
            .spawn(move || Writer::new(conn, gathering).run(waiting))
            .map_err(|source| StoreError::Io {
                what: "start the writer of",
                path: path.to_owned(),
                source: Arc::new(source),
            })?;
        Ok(Work::Thread {
            queue,
            urgent: Urgent::default(),
            gathered,
            thread: writer.thread().clone(),
            writer: Mutex::new(Some(writer)),
        })
    }

    /// Gathering is for a store that works: what it answered is lost where its commit fails.
    fn class(&self, wanted: Class) -> Class {
        let gathers = matches!(self.0.work, Work::Thread { .. })
            && !self.is_full()
            && self.0.vitals.failure().is_none();
        match wanted {
            Class::Gathered if !gathers => Class::Relaxed,
            wanted => wanted,
        }
    }

    /// Whether reads do not see all yet that was written.
    fn has_gathered(&self) -> bool {
        match &self.0.work {
            Work::Thread { gathered, .. } => gathered.load(Ordering::Acquire),
            Work::Caller { .. } | Work::Nobody => false,
        }
    }

    /// Runs `f` in a transaction and answers after its commit. `what` names it in errors.
    ///
    /// # Errors
    /// The error of `f`, with nothing written; [`StoreError`] if the commit failed, likewise.
    pub async fn write<T, F>(&self, class: Class, what: &'static str, f: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    {
        let class = self.class(class);
        let (job, answer) = Job::new(class, what, self.0.path.clone(), f);
        let _begun = self.0.vitals.begin();
        match &self.0.work {
            Work::Thread { urgent, .. } => self.send(Message::Write(job.seen_by(urgent))).await?,
            Work::Caller { disk, .. } => {
                tokio::time::sleep(disk.delay(class)).await;
                self.write_here(job);
            }
            Work::Nobody => drop(job),
        }
        self.noted(answer.await.unwrap_or(Err(StoreError::Closed)))
    }

    /// Hands a message to the writer's thread and wakes it.
    async fn send(&self, message: Message) -> Result<(), StoreError> {
        let Work::Thread { queue, thread, .. } = &self.0.work else {
            return Err(StoreError::Closed);
        };
        let sent = queue.send(message).await;
        thread.unpark();
        sent.map_err(|_| StoreError::Closed)
    }

    /// As [`Store::send`], without waiting: gives the message back where the queue is full.
    fn try_send(&self, message: Message) -> Result<Result<(), Message>, StoreError> {
        let Work::Thread { queue, thread, .. } = &self.0.work else {
            return Err(StoreError::Closed);
        };
        let sent = queue.try_send(message);
        thread.unpark();
        match sent {
            Ok(()) => Ok(Ok(())),
            Err(mpsc::error::TrySendError::Full(message)) => Ok(Err(message)),
            Err(mpsc::error::TrySendError::Closed(_)) => Err(StoreError::Closed),
        }
    }

    /// As [`Store::send`], for a caller without a runtime.
    fn send_blocking(&self, message: Message) -> Result<(), StoreError> {
        let Work::Thread { queue, thread, .. } = &self.0.work else {
            return Err(StoreError::Closed);
        };
        let sent = queue.blocking_send(message);
        thread.unpark();
        sent.map_err(|_| StoreError::Closed)
    }

    /// Runs a write on this thread. Without a writer any more the job is dropped, which its caller
    /// sees as a closed store.
    fn write_here(&self, job: Job) {
        if let Work::Caller { disk, writer } = &self.0.work
            && let Some(writer) = &mut *writer.lock().unwrap_or_else(PoisonError::into_inner)
        {
            let (class, mut job) = (job.class(), Some(job));
            writer.commit(class, Some(disk.as_ref()), || job.take());
        }
    }

    /// Tells a long write that durable ones wait.
    pub fn urgent(&self) -> Urgent {
        match &self.0.work {
            Work::Thread { urgent, .. } => urgent.clone(),
            Work::Caller { .. } | Work::Nobody => Urgent::default(),
        }
    }

    /// Whether a write was refused for want of room lately. A small write may still find a place in
    /// a full store, so some writes in a row must work before this is false again.
    pub fn is_full(&self) -> bool {
        self.0.vitals.is_full()
    }

    /// Writes that must work in a row are taken as done: a large write has found room.
    pub fn has_room(&self) {
        self.0.vitals.has_room();
    }

    /// Why the newest write failed, if the disk or the file was the reason.
    pub fn failure(&self) -> Option<String> {
        self.0.vitals.failure()
    }

    /// How often gathered writes that had been answered were lost with their commit.
    pub fn losses(&self) -> u64 {
        self.0.vitals.losses()
    }

    /// How many writes are under way, and how many have ended since the start.
    pub fn writes(&self) -> (u64, u64) {
        self.0.vitals.writes()
    }

    fn noted<T>(&self, result: Result<T, StoreError>) -> Result<T, StoreError> {
        self.0.vitals.note(&result);
        result
    }

    /// Runs `f` on a read-only connection, in one transaction.
    ///
    /// # Errors
    /// The error of `f`; [`StoreError::Busy`] if too many reads wait.
    pub async fn read<T, F>(&self, what: &'static str, f: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    {
        if self.has_gathered() {
            let (answer, committed) = oneshot::channel();
            let answer = Box::new(move || {
                let _ = answer.send(());
            });
            self.send(Message::Commit(answer)).await?;
            committed.await.map_err(|_| StoreError::Closed)?;
        }
        self.read_committed(what, f).await
    }

    /// As [`Store::read`], without what has gathered and is not committed yet: for tables that no gathered
    /// write touches, so that looking at them often does not end the gathering.
    ///
    /// # Errors
    /// As [`Store::read`].
    pub async fn read_committed<T, F>(&self, what: &'static str, f: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    {
        match &self.0.work {
            Work::Thread { .. } | Work::Nobody => self.0.readers.read(what, f).await,
            Work::Caller { .. } => {
                tokio::task::yield_now().await;
                self.0.readers.read_here(what, f)
            }
        }
    }

    /// As [`Store::read`], of what has gathered too and without committing it. The writer runs it, so it has
    /// to be short.
    ///
    /// # Errors
    /// As [`Store::read`].
    pub async fn read_gathered<T, F>(&self, what: &'static str, f: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    {
        if !self.has_gathered() {
            return self.read_committed(what, f).await;
        }
        let (job, answer) = Job::new(Class::Gathered, what, self.0.path.clone(), f);
        self.send(Message::Write(job)).await?;
        answer.await.unwrap_or(Err(StoreError::Closed))
    }

    /// As [`Store::write`], for a caller without a runtime. Must not be called from async code.
    ///
    /// # Errors
    /// As [`Store::write`].
    pub fn write_blocking<T, F>(
        &self,
        class: Class,
        what: &'static str,
        f: F,
    ) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    {
        let class = self.class(class);
        let (job, answer) = Job::new(class, what, self.0.path.clone(), f);
        match &self.0.work {
            Work::Thread { urgent, .. } => {
                self.send_blocking(Message::Write(job.seen_by(urgent)))?;
            }
            Work::Caller { .. } => self.write_here(job),
            Work::Nobody => drop(job),
        }
        self.noted(answer.blocking_recv().unwrap_or(Err(StoreError::Closed)))
    }

    /// As [`Store::read`], on this thread, for a caller without a runtime.
    ///
    /// # Errors
    /// As [`Store::read`].
    pub fn read_blocking<T>(
        &self,
        what: &'static str,
        f: impl FnOnce(&Connection) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        if self.has_gathered() {
            let (answer, committed) = std::sync::mpsc::sync_channel(1);
            let mut message = Message::Commit(Box::new(move || {
                let _ = answer.send(());
            }));
            // Unlike a write this may run where a runtime is, which tokio's blocking calls refuse.
            while let Err(full) = self.try_send(message)? {
                message = full;
                std::thread::yield_now();
            }
            committed.recv().map_err(|_| StoreError::Closed)?;
        }
        self.0.readers.read_here(what, f)
    }

    /// Writes the log into the database as far as no reader needs it; whether that is all of it.
    ///
    /// # Errors
    /// Any [`StoreError`].
    pub async fn write_out(&self) -> Result<bool, StoreError> {
        let (answer, written) = oneshot::channel();
        self.send(Message::WriteOut(answer)).await?;
        let written = written.await.unwrap_or(Err(StoreError::Closed));
        written.map_err(|e| e.during("write the log out", &self.0.path))
    }

    /// Takes what is queued, writes the log into the database and closes it. Later accesses get
    /// [`StoreError::Closed`].
    pub async fn close(&self) {
        let Work::Thread { .. } = &self.0.work else {
            return self.finish();
        };
        // If the writer has ended already the message has no receiver.
        drop(self.send(Message::Close).await);
        let store = self.clone();
        drop(tokio::task::spawn_blocking(move || store.finish()).await);
    }

    /// As [`Store::close`], for a caller without a runtime. Must not be called from async code.
    pub fn close_blocking(&self) {
        if let Work::Thread { .. } = &self.0.work {
            drop(self.send_blocking(Message::Close));
        }
        self.finish();
    }

    fn finish(&self) {
        self.0.readers.close();
        match &self.0.work {
            Work::Thread { writer, .. } => {
                let writer = writer.lock().unwrap_or_else(PoisonError::into_inner).take();
                // Its connection ends last, after those of the readers: only then SQLite takes the log away.
                if writer.is_some_and(|thread| thread.join().is_err()) {
                    tracing::error!("the store's writer ended with a panic");
                }
            }
            Work::Caller { writer, .. } => {
                drop(writer.lock().unwrap_or_else(PoisonError::into_inner).take());
            }
            Work::Nobody => {}
        }
    }

    /// The size of the database on disk with its log of writes, in bytes; 0 for one in memory.
    pub fn bytes_on_disk(&self) -> u64 {
        ["", "-wal"]
            .iter()
            .map(|end| {
                let mut file = self.0.path.clone().into_os_string();
                file.push(end);
                std::fs::metadata(file).map_or(0, |meta| meta.len())
            })
            .sum()
    }

    /// How many bytes of frames one device may have: its share, or half of what this store may hold.
    pub fn bytes_of_one_device(&self) -> u64 {
        BUDGET_KEPT_BYTES.min(room::half_for_frames(self.0.max_bytes))
    }

    /// The database file.
    pub fn path(&self) -> &Path {
        &self.0.path
    }
}
