//! Where the store's work is done: on threads of its own, or, for the simulator, inside the task that
//! asks, on a disk that may be slow, refuse to commit, or lose what it only promised.

use std::sync::Arc;
use std::time::Duration;

use super::{Class, StoreError};

/// A disk as the simulator sees it.
pub trait Disk: Send + Sync {
    /// How long the next write waits before it begins.
    fn delay(&self, class: Class) -> Duration;
    /// Asked before each commit.
    ///
    /// # Errors
    /// The error for the commit; the write is rolled back.
    fn commit(&self, class: Class) -> Result<(), StoreError>;
    /// Told after each commit.
    fn committed(&self, class: Class);
}

/// Where the store's work is done.
#[derive(Clone, Default)]
pub enum Engine {
    /// On a writer thread with group commit, and on a pool of reading threads.
    #[default]
    Threads,
    /// In the task that asks, one write at a time, on this disk. Nothing runs beside the caller, so
    /// the same seed gives the same order.
    Inline(Arc<dyn Disk>),
}
