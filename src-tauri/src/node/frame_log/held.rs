//! The keys of the frames that this node holds, as an ordered set in memory: read from the log when first needed, then
//! kept up to date from its new end.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError};

use std::sync::Mutex;

use crate::adapters::store::{StoreError, frame_sync};
use crate::domain::base::TimeMs;
use crate::domain::sync::{KeySet, Keyed};
use crate::node::context::Context;

/// Rows read from the log at a time.
const PAGE: usize = 20_000;
/// Pruned frames that are remembered until the set is next asked for.
const GONE_MAX: usize = 100_000;

/// See the module.
#[derive(Debug)]
pub struct Held {
    horizon: AtomicU64,
    floor: u64,
    cached: Mutex<Cached>,
}

#[derive(Debug, Clone, Default)]
struct Cached {
    upto: u64,
    set: Arc<KeySet>,
    /// Frames below `upto` that have got their signature since, or lost one that proved nothing; and how many have before those.
    completed: Vec<Keyed>,
    completed_before: u64,
    /// Frames below `upto` that have been pruned or have given way since; and how many have before those.
    gone: Vec<Keyed>,
    gone_before: u64,
}

impl Held {
    /// Nothing read yet. `horizon` is the newest time of a pruned frame; places of the log up to
    /// `floor` belong to another mesh.
    pub fn new(horizon: Option<TimeMs>, floor: u64) -> Self {
        Self {
            horizon: AtomicU64::new(horizon.map_or(0, |t| t.0)),
            floor,
            cached: Mutex::new(Cached {
                upto: floor,
                ..Cached::default()
            }),
        }
    }

    /// Frames of this time or older have been pruned and are not taken again.
    pub fn horizon(&self) -> TimeMs {
        TimeMs(self.horizon.load(Ordering::Acquire))
    }

    /// The log was pruned up to this time.
    pub fn pruned(&self, horizon: TimeMs) {
        self.horizon.fetch_max(horizon.0, Ordering::AcqRel);
        let mut cached = self.cached.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::make_mut(&mut cached.set).forget_until(horizon);
    }

    /// A frame that was here as a copy without signature has got it, or the other way round; its key now.
    pub fn completed(&self, keyed: Keyed) {
        let mut cached = self.cached.lock().unwrap_or_else(PoisonError::into_inner);
        cached.completed.push(keyed);
    }

    /// Frames were pruned to make room, or gave way to better-proven ones.
    pub fn dropped(&self, keys: &[Keyed]) {
        let mut cached = self.cached.lock().unwrap_or_else(PoisonError::into_inner);
        if cached.gone.len() + keys.len() > GONE_MAX {
            // The set was not read for long: it is built anew from the log, which no longer has these.
            *cached = Cached {
                upto: self.floor,
                completed_before: cached.completed_before + 1,
                gone_before: cached.gone_before + 1,
                ..Cached::default()
            };
            return;
        }
        cached.gone.extend_from_slice(keys);
    }

    /// The set as of now.
    ///
    /// # Errors
    /// Whatever the store says.
    pub async fn now(&self, context: &Context) -> Result<Arc<KeySet>, StoreError> {
        let Cached {
            mut upto,
            set,
            completed,
            completed_before,
            gone,
            gone_before,
        } = self.snapshot();
        let mut fresh: Vec<Keyed> = Vec::new();
        let horizon = self.horizon();
        loop {
            let from = upto;
            let page = context
                .store
                .read("held frames", move |c| {
                    frame_sync::keyed_after(c, from, PAGE)
                })
                .await?;
            let Some((last, _)) = page.last() else { break };
            upto = *last;
            let whole = page.len() < PAGE;
            fresh.extend(
                page.into_iter()
                    .filter_map(|(_, keyed)| keyed)
                    .filter(|k| k.at > horizon),
            );
            if whole {
                break;
            }
        }
        if fresh.is_empty() && completed.is_empty() && gone.is_empty() {
            return Ok(set);
        }
        let (count, gone_count) = (completed.len(), gone.len());
        let grown = context.work(move || {
            let mut set = set;
            let grown = Arc::make_mut(&mut set);
            grown.extend(fresh);
            for keyed in &completed {
                let key = keyed.key.unsigned();
                grown.remove(Keyed { key, ..*keyed });
            }
            grown.extend(completed.into_iter().filter(|k| k.at > horizon));
            if !gone.is_empty() {
                grown.remove_all(&gone);
            }
            set
        });
        let set = grown.await.ok_or(StoreError::Closed)?;
        let mut cached = self.cached.lock().unwrap_or_else(PoisonError::into_inner);
        let newest = cached.upto <= upto
            && cached.completed_before == completed_before
            && cached.gone_before == gone_before;
        if newest && self.horizon() == horizon {
            cached.upto = upto;
            cached.set = set.clone();
            cached.completed.drain(..count);
            cached.completed_before += u64::try_from(count).unwrap_or(0);
            cached.gone.drain(..gone_count);
            cached.gone_before += u64::try_from(gone_count).unwrap_or(0);
        }
        Ok(set)
    }

    /// Takes the set out of the cache for a moment, so that growing it need not copy it.
    fn snapshot(&self) -> Cached {
        self.cached
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Where the frames of this mesh begin in the log.
    pub fn floor(&self) -> u64 {
        self.floor
    }
}
