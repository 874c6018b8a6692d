//! The one writer: a thread of its own with a bounded queue and group commit.
//!
//! It takes what waits, runs it in one transaction with a savepoint for each write, commits, and
//! only then answers. It lacks any knowledge of tables.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;

use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

use super::{Disk, StoreError};
use crate::domain::base::limits::STORE_BATCH_MAX;

/// How sure a write must be before it is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// On the disk: it survives the loss of power.
    Durable,
    /// Committed: it survives the end of the process; the last moments may go with the power.
    Relaxed,
}

/// Answers the caller, once it is known how the commit went.
type Reply = Box<dyn FnOnce(Result<(), StoreError>) + Send>;

/// A write; it gets an error where no transaction could begin.
type Run = dyn FnOnce(Result<&Connection, StoreError>) -> Ran + Send;

/// What a write leaves behind until the commit.
struct Ran {
    error: Option<StoreError>,
    reply: Reply,
}

/// One waiting write.
pub(super) struct Job {
    class: Class,
    run: Box<Run>,
}

/// What the writer's queue carries.
pub(super) enum Message {
    /// Run this.
    Write(Job),
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
            let error = result.as_ref().err().cloned();
            let reply = move |commit: Result<(), StoreError>| {
                let commit = commit.map_err(|e| e.during(what, &path));
                // Nobody listens when the caller has gone away; the write counts all the same.
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
            },
            receiver,
        )
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
}

impl Writer {
    /// A writer on its connection.
    pub(super) fn new(conn: Connection) -> Self {
        Self {
            conn,
            synchronous: None,
        }
    }

    /// Serves the queue until it is closed or nobody holds its other end; then writes out the log.
    pub(super) fn run(mut self, mut queue: mpsc::Receiver<Message>) {
        while let Some(first) = queue.blocking_recv() {
            let mut batch = VecDeque::new();
            let mut next = Some(first);
            while let Some(message) = next {
                match message {
                    Message::Write(job) => batch.push_back(job),
                    Message::Close => queue.close(),
                }
                next = (batch.len() < STORE_BATCH_MAX)
                    .then(|| queue.try_recv().ok())
                    .flatten();
            }
            while !batch.is_empty() {
                self.commit(&mut batch, None);
            }
        }
        let checkpoint = self
            .conn
            .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
        if let Err(error) = checkpoint {
            tracing::warn!(%error, "the store's log could not be written out; it is kept beside the database");
        }
    }

    /// One transaction over as much of `batch` as it can hold together.
    pub(super) fn commit(&mut self, batch: &mut VecDeque<Job>, disk: Option<&dyn Disk>) {
        let class = match batch.iter().any(|job| job.class == Class::Durable) {
            true => Class::Durable,
            false => Class::Relaxed,
        };
        if let Err(error) = self.begin(class) {
            for job in batch.drain(..) {
                ((job.run)(Err(error.clone())).reply)(Err(error.clone()));
            }
            return;
        }
        let mut ran = Vec::with_capacity(batch.len());
        let mut lost = None;
        while lost.is_none() {
            let Some(job) = batch.pop_front() else { break };
            let (reply, fault) = self.in_savepoint(job);
            ran.push(reply);
            lost = fault;
        }
        let outcome = match lost {
            None => disk
                .map_or(Ok(()), |disk| disk.commit(class))
                .and_then(|()| self.sql("COMMIT")),
            Some(error) => Err(error),
        };
        if let (Some(disk), Ok(())) = (disk, &outcome) {
            disk.committed(class);
        }
        if outcome.is_err()
            && !self.conn.is_autocommit()
            && let Err(error) = self.sql("ROLLBACK")
        {
            tracing::error!(%error, "a failed transaction could not be rolled back");
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
                Class::Relaxed => "PRAGMA synchronous=NORMAL",
            })?;
            self.synchronous = Some(class);
        }
        self.sql("BEGIN IMMEDIATE")
    }

    /// Runs one write so that its failure undoes only itself. The second part is set when the whole
    /// transaction is gone, as SQLite may decide on a full disk.
    fn in_savepoint(&self, job: Job) -> (Reply, Option<StoreError>) {
        if let Err(error) = self.sql("SAVEPOINT one_write") {
            return ((job.run)(Err(error.clone())).reply, Some(error));
        }
        let ran = (job.run)(Ok(&self.conn));
        if self.conn.is_autocommit() {
            let error = ran.error.unwrap_or_else(|| StoreError::Invalid {
                what: "a write",
                why: "it ended the transaction it ran in".to_owned(),
            });
            return (ran.reply, Some(error));
        }
        let closed = match ran.error {
            None => self.sql("RELEASE one_write"),
            Some(_) => self
                .sql("ROLLBACK TO one_write")
                .and_then(|()| self.sql("RELEASE one_write")),
        };
        (ran.reply, closed.err())
    }

    fn sql(&self, sql: &'static str) -> Result<(), StoreError> {
        self.conn.prepare_cached(sql)?.execute([])?;
        Ok(())
    }
}
