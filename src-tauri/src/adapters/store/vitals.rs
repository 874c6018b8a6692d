//! How the store fares, from the outcome of its writes: kept in memory, read without waiting.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use rusqlite::ErrorCode;

use super::StoreError;

/// Writes that must work in a row after a refused one before the store counts as having room.
const ROOM_AFTER_WRITES: u32 = 50;

/// The health of a store's writes.
#[derive(Debug, Default)]
pub(super) struct Vitals {
    /// How many writes must still work before the store is believed to have room again.
    doubt: AtomicU32,
    /// Why the newest write failed, if the disk or the file is the reason.
    failure: Mutex<Option<String>>,
    begun: AtomicU64,
    ended: AtomicU64,
    losses: AtomicU64,
}

/// A write under way; its end counts also when its caller goes away.
pub(super) struct Begun<'a>(&'a Vitals);

impl Drop for Begun<'_> {
    fn drop(&mut self) {
        self.0.ended.fetch_add(1, Ordering::Relaxed);
    }
}

impl Vitals {
    pub(super) fn begin(&self) -> Begun<'_> {
        self.begun.fetch_add(1, Ordering::Relaxed);
        Begun(self)
    }

    pub(super) fn note<T>(&self, result: &Result<T, StoreError>) {
        match result.as_ref().err() {
            Some(StoreError::Full) => self.doubt.store(ROOM_AFTER_WRITES, Ordering::Relaxed),
            Some(error) if is_of_the_disk(error) => self.fail(Some(error.to_string())),
            // The write's own logic said no, on a store that works.
            Some(_) => {}
            None => {
                let left = self.doubt.load(Ordering::Relaxed).saturating_sub(1);
                self.doubt.store(left, Ordering::Relaxed);
                self.fail(None);
            }
        }
    }

    /// Writes that were answered are lost.
    pub(super) fn lost(&self) {
        self.losses.fetch_add(1, Ordering::Release);
    }

    pub(super) fn losses(&self) -> u64 {
        self.losses.load(Ordering::Acquire)
    }

    fn fail(&self, why: Option<String>) {
        *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = why;
    }

    pub(super) fn is_full(&self) -> bool {
        self.doubt.load(Ordering::Relaxed) > 0
    }

    pub(super) fn has_room(&self) {
        self.doubt.store(0, Ordering::Relaxed);
    }

    pub(super) fn failure(&self) -> Option<String> {
        let failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
        failure.clone()
    }

    pub(super) fn writes(&self) -> (u64, u64) {
        let ended = self.ended.load(Ordering::Relaxed);
        let begun = self.begun.load(Ordering::Relaxed);
        (begun.saturating_sub(ended), ended)
    }
}

/// Whether the disk, its permissions or the file are the reason, and not what was asked.
fn is_of_the_disk(error: &StoreError) -> bool {
    match error {
        StoreError::Io { .. } | StoreError::Corrupt { .. } => true,
        StoreError::Sqlite { source, .. } => matches!(
            source.sqlite_error_code(),
            Some(
                ErrorCode::ReadOnly
                    | ErrorCode::SystemIoFailure
                    | ErrorCode::CannotOpen
                    | ErrorCode::PermissionDenied
                    | ErrorCode::FileLockingProtocolFailed
                    | ErrorCode::NoLargeFileSupport
            )
        ),
        _ => false,
    }
}
