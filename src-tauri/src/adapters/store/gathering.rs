//! Writes that gather: each is run and answered at once, in a transaction that stays open; they are
//! committed together when that is due, before the next read and before any other write.
//!
//! A transaction writes every page it touched, whole: the place in each index costs one frame as much as
//! many. Readings come singly and no caller waits for their commit, so gathering them saves most of what a
//! node writes to its disk. Where the commit fails, the readings are lost and their places in the frame log
//! stay empty.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rusqlite::Connection;
use tokio::time::Instant;

use super::vitals::Vitals;
use super::{StoreError, frames};
use crate::domain::base::limits::{STORE_GATHER_MS, STORE_GATHERED_MAX};

/// The transaction that is open.
#[derive(Debug)]
struct Open {
    due: Instant,
    writes: usize,
}

/// The writer's part.
#[derive(Debug, Default)]
pub(super) struct Gathering {
    open: Option<Open>,
    /// The newest place of the frame log that a write of the open transaction saw.
    reached: u64,
    /// The newest place that was given to a frame which was lost with a commit that failed.
    lost: u64,
    seen: Arc<AtomicBool>,
    vitals: Arc<Vitals>,
}

impl Gathering {
    /// Nothing gathered yet; `seen` tells others whether something is, `vitals` what became of it.
    pub(super) fn new(seen: Arc<AtomicBool>, vitals: Arc<Vitals>) -> Self {
        Self {
            seen,
            vitals,
            ..Self::default()
        }
    }

    /// Whether a transaction is open.
    pub(super) fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// How long it may stay open; `None` where none is.
    pub(super) fn left(&self) -> Option<Duration> {
        let open = self.open.as_ref()?;
        match open.writes >= STORE_GATHERED_MAX {
            true => Some(Duration::ZERO),
            false => Some(open.due.saturating_duration_since(Instant::now())),
        }
    }

    /// A transaction has begun.
    pub(super) fn begun(&mut self) {
        self.open = Some(Open {
            due: Instant::now() + Duration::from_millis(STORE_GATHER_MS),
            writes: 0,
        });
        self.seen.store(true, Ordering::Release);
    }

    /// One more write is in it.
    pub(super) fn grown(&mut self, conn: &Connection) {
        if let Some(open) = &mut self.open {
            open.writes += 1;
        }
        match frames::max_seq(conn) {
            Ok(place) => self.reached = place,
            Err(error) => tracing::warn!(%error, "the newest place of the log does not read"),
        }
    }

    /// A transaction of any class has begun: it gives no place again that a lost frame had. Peers were told
    /// of that frame, and would take another in its place for one that they have.
    ///
    /// # Errors
    /// Any SQLite error.
    pub(super) fn resume(&mut self, conn: &Connection) -> Result<(), StoreError> {
        if self.lost == 0 {
            return Ok(());
        }
        match frames::max_seq(conn)? >= self.lost {
            true => self.lost = 0,
            // It is forgotten once this is committed.
            false => frames::continue_after(conn, self.lost)?,
        }
        Ok(())
    }

    /// It has ended. Where it failed, what it held was answered and is lost; until a write works again
    /// nothing gathers.
    pub(super) fn ended(&mut self, outcome: Result<(), StoreError>) {
        let writes = self.open.take().map_or(0, |open| open.writes);
        self.seen.store(false, Ordering::Release);
        if let Err(error) = &outcome {
            self.lost = self.lost.max(self.reached);
            tracing::error!(writes, %error, "gathered readings could not be stored");
            self.vitals.note(&outcome);
            self.vitals.lost();
        }
    }
}
