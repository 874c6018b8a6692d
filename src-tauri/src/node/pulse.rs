//! Whether the node's runtime still runs its tasks: one of them beats every second, and the signals' thread looks on.
//! Guards act on threads of their own, so a runtime that stands still can end with its actuators made safe.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::context::tasks::Tasks;
use crate::adapters::crash;
use crate::domain::base::limits::{PULSE_EVERY_MS, PULSE_MISSED_MAX};

/// The number of beats of a node whose tasks have been told to end.
const ENDED: u64 = u64::MAX;

/// The beats of a node so far: none before its tasks run, and no more once they are told to end. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct Pulse(Arc<AtomicU64>);

impl Pulse {
    /// Beats until the node ends.
    pub async fn run(self, tasks: Tasks) {
        let mut tick = tokio::time::interval(Duration::from_millis(PULSE_EVERY_MS));
        loop {
            tokio::select! {
                biased;
                () = tasks.stop().cancelled() => return self.0.store(ENDED, Ordering::Relaxed),
                _ = tick.tick() => {}
            }
            if crash::stalls() {
                stall(&tasks);
            }
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn beats(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Keeps every thread of the runtime for ever; see [`crash::stalls`].
fn stall(tasks: &Tasks) {
    for _ in 0..256 {
        tasks.passing("stall", async {
            loop {
                std::thread::park();
            }
        });
    }
    loop {
        std::thread::park();
    }
}

/// The result of a look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look {
    /// It has beaten since the look before, or does not have to: the node begins or ends, which may take its time.
    Beats,
    /// It has not, and may yet.
    Quiet,
    /// It has not for as many looks as it may.
    Stands,
}

/// Looks at a pulse. Looks are counted and no clock is read: where the whole process was suspended, nobody looked.
#[derive(Debug)]
pub struct Watch {
    pulse: Pulse,
    seen: u64,
    missed: u32,
}

impl Watch {
    /// Begins to watch.
    pub fn new(pulse: Pulse) -> Self {
        Self {
            seen: pulse.beats(),
            pulse,
            missed: 0,
        }
    }

    /// One look; made every [`PULSE_EVERY_MS`].
    pub fn look(&mut self) -> Look {
        let beats = self.pulse.beats();
        if beats != self.seen || beats == 0 || beats == ENDED {
            (self.seen, self.missed) = (beats, 0);
            return Look::Beats;
        }
        self.missed = self.missed.saturating_add(1);
        match self.missed > PULSE_MISSED_MAX {
            true => Look::Stands,
            false => Look::Quiet,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_that_begins_or_ends_may_take_its_time() {
        let pulse = Pulse::default();
        let mut watch = Watch::new(pulse.clone());
        for beats in [0, ENDED] {
            pulse.0.store(beats, Ordering::Relaxed);
            for _ in 0..10 * PULSE_MISSED_MAX {
                assert_eq!(watch.look(), Look::Beats, "{beats}");
            }
        }
    }

    #[test]
    fn a_pulse_stands_after_so_many_looks_without_a_beat_and_not_before() {
        let pulse = Pulse::default();
        pulse.0.store(1, Ordering::Relaxed);
        let mut watch = Watch::new(pulse.clone());
        for _ in 0..3 {
            for _ in 0..PULSE_MISSED_MAX {
                assert_eq!(watch.look(), Look::Quiet);
            }
            pulse.0.fetch_add(1, Ordering::Relaxed);
            assert_eq!(watch.look(), Look::Beats);
        }
        for _ in 0..PULSE_MISSED_MAX {
            assert_eq!(watch.look(), Look::Quiet);
        }
        assert_eq!(watch.look(), Look::Stands);
    }
}
