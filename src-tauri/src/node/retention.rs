//! What the node keeps of its frame log: readings for some weeks one by one and after that by the hour, other frames
//! for longer. Pruned in small steps, so that no decision waits long behind one; how far is recorded.

use serde_json::json;

use super::context::{Event, Severity, timekeeping};
use super::frame_log::Frames;
use crate::adapters::store::frames::{self, Cutoff};
use crate::adapters::store::{Class, StoreError, history};
use crate::domain::base::TimeMs;
use crate::domain::base::limits::{
    FRAMES_PRUNED_MAX, PRUNE_EASE_FRAMES, PRUNE_EVERY_MS, PRUNE_STEPS_MAX,
};

/// A day, in milliseconds.
const DAY_MS: u64 = 24 * history::HOUR_MS;

/// When the ages of what is kept were looked at last.
#[derive(Debug, Default)]
pub(super) struct Retention {
    looked_at: Option<TimeMs>,
    aging: Option<Cutoff>,
}

impl Retention {
    /// Removes what is over the number of frames, and once an hour what is too old.
    pub(super) async fn keep(&mut self, log: &Frames) {
        let pruned = match self.pruned(log).await {
            Ok(pruned) => pruned,
            Err(error) => return tracing::error!(%error, "old frames could not be pruned"),
        };
        if pruned == 0 {
            return;
        }
        let message = format!(
            "{pruned} old frames pruned; the newest {} are kept, and old readings by the hour",
            log.config.keep.frames
        );
        log.journal
            .record(
                Event::StorePruned,
                Severity::Info,
                &message,
                json!({"pruned": pruned}),
            )
            .await;
    }

    async fn pruned(&mut self, log: &Frames) -> Result<u64, StoreError> {
        let keep = log.config.keep.frames;
        // A little more than is needed and seldom: each pruning writes a row of every series.
        let ease = PRUNE_EASE_FRAMES.min(keep / 64);
        let over = log.store.read("frames kept", frames::count).await? > keep.saturating_add(ease);
        let mut pruned = 0;
        if over {
            pruned += steps(log, move |c| frames::prune(c, keep)).await?;
        }
        self.look_at_ages(log).await?;
        if let Some(cutoff) = self.aging {
            let gone = steps(log, move |c| frames::prune_before(c, cutoff)).await?;
            if gone < FRAMES_PRUNED_MAX * PRUNE_STEPS_MAX {
                self.aging = None;
            }
            pruned += gone;
        }
        Ok(pruned)
    }

    /// Once an hour, and only by a clock that can be believed: notes which frames are too old, and removes old readings
    /// by the hour that are.
    async fn look_at_ages(&mut self, log: &Frames) -> Result<(), StoreError> {
        let at = log.moment();
        if self
            .looked_at
            .is_some_and(|last| at.steady.since(last) < PRUNE_EVERY_MS)
        {
            return Ok(());
        }
        let keep = log.config.keep;
        let ago = move |days: u64| TimeMs(at.wall.0.saturating_sub(days.saturating_mul(DAY_MS)));
        let look = move |c: &rusqlite::Connection| {
            if !timekeeping::clock_trusted(c, at.wall)? {
                return Ok(None);
            }
            history::prune(c, ago(keep.history_days))?;
            let wanted = Cutoff {
                readings: ago(keep.readings_days),
                others: ago(keep.other_days),
            };
            frames::aged(c, wanted).map(Some)
        };
        self.aging = log
            .store
            .write(Class::Relaxed, "ages of frames", look)
            .await?;
        self.looked_at = Some(at.steady);
        Ok(())
    }
}

/// Prunes in steps until nothing is left to prune, or as much as one look may; how many frames went.
async fn steps(
    log: &Frames,
    step: impl Fn(&rusqlite::Connection) -> Result<u64, StoreError> + Copy + Send + 'static,
) -> Result<u64, StoreError> {
    let mut pruned = 0;
    for _ in 0..PRUNE_STEPS_MAX {
        let work = move |c: &rusqlite::Connection| Ok((step(c)?, frames::horizon(c)?));
        let (gone, horizon) = log.store.write(Class::Relaxed, "old frames", work).await?;
        pruned += gone;
        if gone > 0 {
            log.held.pruned(horizon.map_or(TimeMs(0), |h| h.time));
        }
        if gone < FRAMES_PRUNED_MAX {
            break;
        }
    }
    Ok(pruned)
}
