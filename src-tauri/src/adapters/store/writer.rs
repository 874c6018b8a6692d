//! The one writer: a thread of its own with a bounded queue and group commit.
//!
//! It takes the durable writes that wait, runs them in one transaction with a savepoint for each, commits,
//! and only then answers; then one that is not durable, by itself. So a decision does not wait for the
//! frames that were queued before it. Readings gather in a transaction of their own (`gathering`). It lacks
//! any knowledge of tables.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

use super::gathering::Gathering;
use super::readers::turn;
use super::{Disk, StoreError};
use crate::adapters::crash;
use crate::domain::base::limits::{STORE_BATCH_MAX, STORE_QUEUE_MAX};

/// How sure a write must be before it is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// On the disk: it survives the loss of power.
    Durable,
    /// Committed: it survives the end of the process; the last moments may go with the power.
    Relaxed,
    /// Run: reads see it. It is committed together with others, at the latest after
    /// [`STORE_GATHER_MS`](crate::domain::base::limits::STORE_GATHER_MS); until then a crash may take it.
    Gathered,
}

/// Answers the caller, once it is known how the commit went.
type Reply = Box<dyn FnOnce(Result<(), StoreError>) + Send>;

/// Told once what had gathered is committed.
pub(super) type Committed = Box<dyn FnOnce() + Send>;

/// Told what came of writing the log into the database.
pub(super) type WrittenOut = oneshot::Sender<Result<bool, StoreError>>;

/// A write; it gets an error where no transaction could begin.
type Run = dyn FnOnce(Result<&Connection, StoreError>) -> Ran + Send;

/// The state of a write until the commit.
struct Ran {
    error: Option<StoreError>,
    reply: Reply,
}

/// One waiting write.
pub(super) struct Job {
    class: Class,
    run: Box<Run>,
    /// Held while a durable write waits to be run.
    _waits: Option<Waits>,
}

/// How many durable writes wait to be run.
#[derive(Debug, Clone, Default)]
pub struct Urgent(Arc<AtomicUsize>);

impl Urgent {
    /// Whether one waits: a long write that is not durable should come to an end and ask again.
    pub fn waits(&self) -> bool {
        self.0.load(Ordering::Relaxed) > 0
    }
}

/// One durable write that waits.
struct Waits(Urgent);

impl Waits {
    fn of(urgent: &Urgent) -> Self {
        urgent.0.fetch_add(1, Ordering::Relaxed);
        Waits(urgent.clone())
    }
}

impl Drop for Waits {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A message in the writer's queue.
pub(super) enum Message {
    /// Run this.
    Write(Job),
    /// Commit the gathered writes, then answer: a read is about to begin.
    Commit(Committed),
    /// Write the log into the database as far as no reader needs it, then answer whether that is all of it.
    WriteOut(WrittenOut),
    /// Take what is queued, then end.
    Close,
}

impl Job {
    /// A write and where its answer will come.
    pub(super) fn new<T, F>(
        class: Class,
        what: &'static str,
        path: PathBuf,
        f: F,
    ) -> (Self, oneshot::Receiver<Result<T, StoreError>>)
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    {
        let (answer, receiver) = oneshot::channel();
        let run = move |conn: Result<&Connection, StoreError>| {
            let result = conn
                .and_then(|conn| guarded(what, || f(conn)))
                .map_err(|e| e.during(what, &path));
            crash::point(what, "before");
            let error = result.as_ref().err().cloned();
            let reply = move |commit: Result<(), StoreError>| {
                if commit.is_ok() {
                    crash::point(what, "after");
                }
                let commit = commit.map_err(|e| e.during(what, &path));
                // The caller may be gone; the write counts all the same.
                drop(answer.send(result.and_then(|value| commit.map(|()| value))));
            };
            Ran {
                error,
                reply: Box::new(reply),
            }
        };
        (
            Self {
                class,
                run: Box::new(run),
                _waits: None,
            },
            receiver,
        )
    }

    /// How sure it must be.
    pub(super) fn class(&self) -> Class {
        self.class
    }

    /// The same write, seen by longer ones while it waits if it is durable.
    pub(super) fn seen_by(self, urgent: &Urgent) -> Self {
        let waits = (self.class == Class::Durable).then(|| Waits::of(urgent));
        Self {
            _waits: waits,
            ..self
        }
    }
}

/// Writes that are taken from the queue and not run yet.
#[derive(Default)]
struct Waiting {
    durable: VecDeque<Job>,
    /// Those that gather too, so that writes that are not durable keep their order.
    relaxed: VecDeque<Job>,
    /// Who waits for what has gathered to be committed.
    readers: Vec<Committed>,
    /// Who waits for the log to be written into the database.
    written_out: Vec<WrittenOut>,
}

impl Waiting {
    fn is_empty(&self) -> bool {
        let writes = self.durable.len() + self.relaxed.len();
        writes == 0 && self.readers.is_empty() && self.written_out.is_empty()
    }

    fn take(&mut self, message: Message, queue: &mut mpsc::Receiver<Message>) {
        match message {
            Message::Write(job) if job.class == Class::Durable => self.durable.push_back(job),
            Message::Write(job) => self.relaxed.push_back(job),
            Message::Commit(reader) => self.readers.push(reader),
            Message::WriteOut(answer) => self.written_out.push(answer),
            Message::Close => queue.close(),
        }
    }

    /// Takes what is queued, as long as little enough is held here.
    fn drain(&mut self, queue: &mut mpsc::Receiver<Message>) {
        while self.durable.len().max(self.relaxed.len()) < STORE_QUEUE_MAX {
            let Ok(message) = queue.try_recv() else { break };
            self.take(message, queue);
        }
    }

    /// The next write for a transaction of this class.
    fn next(&mut self, class: Class) -> Option<Job> {
        match class {
            Class::Durable => self.durable.pop_front(),
            Class::Relaxed | Class::Gathered => self.relaxed.pop_front(),
        }
    }

    /// The next write that is not durable, if it gathers.
    fn next_gathered(&mut self) -> Option<Job> {
        let next = self.relaxed.front()?;
        (next.class == Class::Gathered).then(|| self.relaxed.pop_front())?
    }
}

fn ended_itself() -> StoreError {
    StoreError::Invalid {
        what: "a write",
        why: "it ended the transaction it ran in".to_owned(),
    }
}

/// Runs `f`; a panic in it becomes an error.
pub(super) fn guarded<T>(
    what: &'static str,
    f: impl FnOnce() -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    catch_unwind(AssertUnwindSafe(f)).unwrap_or_else(|_| {
        tracing::error!(what, "a store access panicked; it was rolled back");
        Err(StoreError::Invalid {
            what,
            why: "the access panicked and was rolled back; this is a fault in the program"
                .to_owned(),
        })
    })
}

/// The writer's state.
pub(super) struct Writer {
    conn: Connection,
    synchronous: Option<Class>,
    gathering: Gathering,
}

impl Writer {
    /// A writer on its connection.
    pub(super) fn new(conn: Connection, gathering: Gathering) -> Self {
        Self {
            conn,
            synchronous: None,
            gathering,
        }
    }

    /// Serves the queue until it is closed or all senders are gone; then writes out the log. Its connection is
    /// given back, so that it can be the last one.
    pub(super) fn run(mut self, mut queue: mpsc::Receiver<Message>) -> Self {
        let mut waiting = Waiting::default();
        loop {
            if waiting.is_empty() {
                let Some(message) = self.next_message(&mut queue) else {
                    break;
                };
                waiting.take(message, &mut queue);
            }
            // In turns, so that neither kind waits for more than one transaction of the other.
            for class in [Class::Durable, Class::Relaxed] {
                waiting.drain(&mut queue);
                if !waiting.readers.is_empty() || self.gathering.left() == Some(Duration::ZERO) {
                    self.commit_gathered();
                }
                waiting.readers.drain(..).for_each(|reader| reader());
                for answer in waiting.written_out.drain(..) {
                    // The caller may be gone.
                    let _ = answer.send(self.write_out());
                }
                if class == Class::Relaxed
                    && let Some(job) = waiting.next_gathered()
                {
                    self.gather(job);
                    continue;
                }
                let mut left = STORE_BATCH_MAX;
                self.commit(class, None, || {
                    left = left.checked_sub(1)?;
                    waiting.next(class)
                });
            }
        }
        self.commit_gathered();
        let checkpoint = self
            .conn
            .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
        if let Err(error) = checkpoint {
            tracing::warn!(%error, "the store's log could not be written out; it is kept beside the database");
        }
        self
    }

    /// Writes the log into the database; whether all of it could be.
    fn write_out(&mut self) -> Result<bool, StoreError> {
        self.commit_gathered();
        let all = |row: &rusqlite::Row<'_>| Ok(row.get::<_, i64>(1)? == row.get::<_, i64>(2)?);
        Ok(self
            .conn
            .query_row("PRAGMA wal_checkpoint(PASSIVE)", [], all)?)
    }

    /// The next message; what has gathered is committed when it is due. `None` after the end.
    fn next_message(&mut self, queue: &mut mpsc::Receiver<Message>) -> Option<Message> {
        while let Some(left) = self.gathering.left() {
            match queue.try_recv() {
                Ok(message) => return Some(message),
                Err(mpsc::error::TryRecvError::Disconnected) => return None,
                Err(mpsc::error::TryRecvError::Empty) => {}
            }
            match left.is_zero() {
                true => self.commit_gathered(),
                // A sender wakes this thread.
                false => std::thread::park_timeout(left),
            }
        }
        queue.blocking_recv()
    }

    /// Runs a write in the transaction that gathers, and answers it.
    fn gather(&mut self, job: Job) {
        if !self.gathering.is_open() {
            if let Err(error) = self.begin(Class::Relaxed) {
                ((job.run)(Err(error.clone())).reply)(Err(error));
                return;
            }
            self.gathering.begun();
        }
        let (reply, lost) = self.in_savepoint(job);
        match lost {
            None => self.gathering.grown(&self.conn),
            Some(ref error) => {
                self.roll_back();
                self.gathering.ended(Err(error.clone()));
            }
        }
        reply(lost.map_or(Ok(()), Err));
    }

    /// Commits what has gathered.
    fn commit_gathered(&mut self) {
        if !self.gathering.is_open() {
            return;
        }
        let outcome = self.sql_in_turn("COMMIT");
        if outcome.is_err() {
            self.roll_back();
        }
        self.gathering.ended(outcome);
    }

    fn roll_back(&self) {
        if !self.conn.is_autocommit()
            && let Err(error) = self.sql_in_turn("ROLLBACK")
        {
            tracing::error!(%error, "a failed transaction could not be rolled back");
        }
    }

    /// One transaction over the writes that `next` gives: durable ones share a sync, as many as it can hold
    /// together; one that is not durable has nothing to share and is alone.
    pub(super) fn commit(
        &mut self,
        class: Class,
        disk: Option<&dyn Disk>,
        mut next: impl FnMut() -> Option<Job>,
    ) {
        let Some(first) = next() else { return };
        self.commit_gathered();
        if let Err(error) = self.begin(class) {
            let failed = |job: Job| ((job.run)(Err(error.clone())).reply)(Err(error.clone()));
            std::iter::once(first)
                .chain(std::iter::from_fn(next))
                .for_each(failed);
            return;
        }
        let mut ran = Vec::new();
        let mut lost = None;
        let mut job = Some(first);
        while let Some(one) = job {
            let (reply, fault) = match class {
                Class::Durable => self.in_savepoint(one),
                Class::Relaxed | Class::Gathered => self.alone(one),
            };
            ran.push(reply);
            lost = fault;
            let more = lost.is_none() && class == Class::Durable;
            job = if more { next() } else { None };
        }
        let outcome = match lost {
            None => disk
                .map_or(Ok(()), |disk| disk.commit(class))
                .and_then(|()| self.sql_in_turn("COMMIT")),
            Some(error) => Err(error),
        };
        if let (Some(disk), Ok(())) = (disk, &outcome) {
            disk.committed(class);
        }
        if outcome.is_err() {
            self.roll_back();
        }
        for reply in ran {
            reply(outcome.clone());
        }
    }

    fn begin(&mut self, class: Class) -> Result<(), StoreError> {
        if self.synchronous != Some(class) {
            // SQLite may obey a pragma when it compiles it, so this is compiled afresh each time.
            self.conn.execute_batch(match class {
                Class::Durable => "PRAGMA synchronous=FULL",
                Class::Relaxed | Class::Gathered => "PRAGMA synchronous=NORMAL",
            })?;
            self.synchronous = Some(class);
        }
        self.sql_in_turn("BEGIN IMMEDIATE")?;
        let resumed = self.gathering.resume(&self.conn);
        if resumed.is_err() {
            self.roll_back();
        }
        resumed
    }

    /// Runs the only write of a transaction, which its failure undoes. Inside a savepoint each statement with
    /// triggers would walk all that was set aside for it (`memjrnlTruncate`): many frames take many times longer.
    fn alone(&self, job: Job) -> (Reply, Option<StoreError>) {
        let ran = (job.run)(Ok(&self.conn));
        let ended = || self.conn.is_autocommit().then(ended_itself);
        (ran.reply, ran.error.or_else(ended))
    }

    /// Runs one write so that its failure undoes only itself. The second part is set when the whole
    /// transaction is gone, as SQLite may decide on a full disk.
    fn in_savepoint(&self, job: Job) -> (Reply, Option<StoreError>) {
        if let Err(error) = self.sql("SAVEPOINT one_write") {
            return ((job.run)(Err(error.clone())).reply, Some(error));
        }
        let ran = (job.run)(Ok(&self.conn));
        if self.conn.is_autocommit() {
            return (ran.reply, Some(ran.error.unwrap_or_else(ended_itself)));
        }
        let closed = match ran.error {
            None => self.sql("RELEASE one_write"),
            Some(_) => self
                .sql("ROLLBACK TO one_write")
                .and_then(|()| self.sql("RELEASE one_write")),
        };
        (ran.reply, closed.err())
    }

    /// As [`Writer::sql`], for what takes locks or gives them back.
    fn sql_in_turn(&self, sql: &'static str) -> Result<(), StoreError> {
        let _turn = self.conn.path().and_then(|path| turn(Path::new(path)));
        self.sql(sql)
    }

    fn sql(&self, sql: &'static str) -> Result<(), StoreError> {
        self.conn.prepare_cached(sql)?.execute([])?;
        Ok(())
    }
}
