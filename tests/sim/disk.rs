//! The simulated disk: slow, refusing to sync, and after a crash without what was only promised.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use clawmesh::adapters::store::{Class, Disk, StoreError};

use crate::rng::Rng;

/// The power of a host. It may be told to fail after so many more steps of disk and valve: between
/// a commit and what follows it, between a movement and its outcome, anywhere.
#[derive(Default)]
pub struct Power {
    steps: AtomicI64,
    gone: AtomicBool,
    /// Woken when some host's power fails.
    failed: Arc<tokio::sync::Notify>,
}

impl Power {
    pub fn new(failed: Arc<tokio::sync::Notify>) -> Arc<Self> {
        Arc::new(Self {
            failed,
            ..Self::default()
        })
    }

    /// Fails at this step from now, beginning with 1.
    pub fn fail_at(&self, step: u64) {
        self.steps
            .store(i64::try_from(step).unwrap(), Ordering::Relaxed);
    }

    /// Whether it has failed.
    pub fn is_gone(&self) -> bool {
        self.gone.load(Ordering::Relaxed)
    }

    /// One step of the host; whether it still has power after it.
    pub fn step(&self) -> bool {
        if self.steps.load(Ordering::Relaxed) > 0 && self.steps.fetch_sub(1, Ordering::Relaxed) == 1
        {
            self.gone.store(true, Ordering::Relaxed);
            self.failed.notify_one();
        }
        !self.is_gone()
    }
}

pub struct SimDisk {
    pub database: PathBuf,
    pub rng: Rng,
    /// Length of the log at the last commit that was synced.
    synced: AtomicU64,
    /// How many of a hundred commits fail.
    failing: AtomicU64,
    pub failures: AtomicU64,
    pub slow: AtomicBool,
    pub power: Arc<Power>,
}

pub fn log_of(database: &Path) -> PathBuf {
    let mut name = database.as_os_str().to_owned();
    name.push("-wal");
    name.into()
}

impl SimDisk {
    pub fn new(database: PathBuf, rng: Rng, power: Arc<Power>) -> Arc<Self> {
        let synced = std::fs::metadata(log_of(&database)).map_or(0, |m| m.len());
        Arc::new(Self {
            database,
            rng,
            synced: AtomicU64::new(synced),
            failing: AtomicU64::new(0),
            failures: AtomicU64::new(0),
            slow: AtomicBool::new(false),
            power,
        })
    }

    pub fn fail(&self, percent: u64) {
        self.failing.store(percent, Ordering::Relaxed);
    }

    /// What the disk holds after the power went, as the files of `to`. Everything up to the last
    /// sync is there; of what came later a part, perhaps with a torn end.
    pub fn after_crash(&self, to: &Path) -> u64 {
        std::fs::copy(&self.database, to).unwrap();
        let Ok(mut log) = std::fs::read(log_of(&self.database)) else {
            return 0;
        };
        let whole = u64::try_from(log.len()).unwrap();
        let synced = self.synced.load(Ordering::Relaxed).min(whole);
        let kept = synced + self.rng.below(whole - synced + 1);
        log.truncate(usize::try_from(kept).unwrap());
        if kept < whole && self.rng.chance(50) {
            log.extend((0..self.rng.below(6_000)).map(|_| self.rng.next().to_le_bytes()[0]));
        }
        std::fs::write(log_of(to), log).unwrap();
        whole - kept
    }
}

impl Disk for SimDisk {
    fn delay(&self, class: Class) -> Duration {
        if self.power.is_gone() {
            return Duration::from_secs(1_000_000);
        }
        let base = match class {
            Class::Durable => 2 + self.rng.below(10),
            Class::Relaxed | Class::Gathered => self.rng.below(3),
        };
        let slow = self.slow.load(Ordering::Relaxed);
        Duration::from_millis(base + if slow { self.rng.below(1_500) } else { 0 })
    }

    fn commit(&self, class: Class) -> Result<(), StoreError> {
        let on = class == Class::Relaxed || self.power.step();
        if on && !self.rng.chance(self.failing.load(Ordering::Relaxed)) {
            return Ok(());
        }
        self.failures.fetch_add(1, Ordering::Relaxed);
        Err(StoreError::Io {
            what: "sync",
            path: self.database.clone(),
            source: Arc::new(std::io::Error::other("simulated")),
        })
    }

    fn committed(&self, class: Class) {
        if class == Class::Durable && !self.power.is_gone() {
            let length = std::fs::metadata(log_of(&self.database)).map_or(0, |m| m.len());
            self.synced.store(length, Ordering::Relaxed);
            self.power.step();
        }
    }
}
