//! Writes that gather: each is run and answered at once, in a transaction that stays open; they are
//! committed together when that is due, before the next read and before any other write.
//!
//! A transaction writes every page it touched, whole: the place in each index costs one frame as much as
//! many. Readings come singly and nobody waits for their commit, so gathering them saves most of what a
//! node writes to its disk.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use super::StoreError;
use super::vitals::Vitals;
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
    seen: Arc<AtomicBool>,
    vitals: Arc<Vitals>,
}

impl Gathering {
    /// Nothing gathered yet; `seen` tells others whether something is, `vitals` what became of it.
    pub(super) fn new(seen: Arc<AtomicBool>, vitals: Arc<Vitals>) -> Self {
        Self {
            open: None,
            seen,
            vitals,
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
    pub(super) fn grown(&mut self) {
        if let Some(open) = &mut self.open {
            open.writes += 1;
        }
    }

    /// It has ended. Where it failed, what it held was answered and is lost; until a write works again
    /// nothing gathers.
    pub(super) fn ended(&mut self, outcome: Result<(), StoreError>) {
        let writes = self.open.take().map_or(0, |open| open.writes);
        self.seen.store(false, Ordering::Release);
        if let Err(error) = &outcome {
            tracing::error!(writes, %error, "gathered readings could not be stored");
            self.vitals.note(&outcome);
        }
    }
}
