//! The simulated disk: slow, refusing to sync, and after a crash without what was only promised.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use clawmesh::adapters::store::{Class, Disk, StoreError};

use crate::rng::Rng;

pub struct SimDisk {
    pub database: PathBuf,
    pub rng: Rng,
    /// Length of the log at the last commit that was synced.
    synced: AtomicU64,
    /// How many of a hundred commits fail.
    failing: AtomicU64,
    pub failures: AtomicU64,
    pub slow: AtomicBool,
}

pub fn log_of(database: &Path) -> PathBuf {
    let mut name = database.as_os_str().to_owned();
    name.push("-wal");
    name.into()
}

impl SimDisk {
    pub fn new(database: PathBuf, rng: Rng) -> Arc<Self> {
        let synced = std::fs::metadata(log_of(&database)).map_or(0, |m| m.len());
        Arc::new(Self {
            database,
            rng,
            synced: AtomicU64::new(synced),
            failing: AtomicU64::new(0),
            failures: AtomicU64::new(0),
            slow: AtomicBool::new(false),
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
        let base = match class {
            Class::Durable => 2 + self.rng.below(10),
            Class::Relaxed => self.rng.below(3),
        };
        let slow = self.slow.load(Ordering::Relaxed);
        Duration::from_millis(base + if slow { self.rng.below(1_500) } else { 0 })
    }

    fn commit(&self, _class: Class) -> Result<(), StoreError> {
        if !self.rng.chance(self.failing.load(Ordering::Relaxed)) {
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
        if class == Class::Durable {
            let length = std::fs::metadata(log_of(&self.database)).map_or(0, |m| m.len());
            self.synced.store(length, Ordering::Relaxed);
        }
    }
}
