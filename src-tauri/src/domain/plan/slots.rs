//! Which times of schedules have been asked for. Each is asked for once: also where the clock steps back over it, and where
//! the node starts anew within it. One that was missed is not made up for.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::cron::Cron;
use crate::domain::base::TimeMs;
use crate::domain::base::limits::SLOTS_KEPT_MAX;

/// The newest times that were asked for, by the name of what asks.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Slots(BTreeMap<String, BTreeSet<TimeMs>>);

impl Slots {
    /// The time of a schedule that has come and was not asked for; it counts as asked for from now on. A time before all
    /// that are remembered may have been asked for.
    pub fn take(&mut self, name: &str, cron: &Cron, now: TimeMs) -> Option<TimeMs> {
        let slot = cron.slot(now)?;
        let asked = self.0.entry(name.to_owned()).or_default();
        let forgotten = asked.len() >= SLOTS_KEPT_MAX && asked.first().is_some_and(|f| slot < *f);
        if forgotten || !asked.insert(slot) {
            return None;
        }
        if asked.len() > SLOTS_KEPT_MAX {
            asked.pop_first();
        }
        Some(slot)
    }

    /// Forgets times ahead of this one: a person says that the clock which brought them was wrong.
    pub fn forget_after(&mut self, now: TimeMs) {
        for asked in self.0.values_mut() {
            asked.retain(|slot| *slot <= now);
        }
    }

    /// Forgets what is not asked any more.
    pub fn keep(&mut self, names: &BTreeSet<&str>) {
        self.0.retain(|name, _| names.contains(name.as_str()));
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use proptest::prelude::*;

    use super::*;
    use crate::domain::base::limits::SLOT_MS;

    const DAY: u64 = 86_400_000;

    #[test]
    fn times_of_a_clock_that_was_wrong_stop_no_schedule() {
        let every: Cron = "* * * * *".parse().unwrap();
        let (mut slots, now) = (Slots::default(), TimeMs(SLOT_MS * 1_000));
        assert_eq!(slots.take("water", &every, now), Some(now));
        for ahead in 1..=u64::try_from(SLOTS_KEPT_MAX).unwrap() {
            slots.take("water", &every, now.plus(ahead * SLOT_MS));
        }
        let next = now.plus(SLOT_MS / 2);
        assert_eq!(slots.take("water", &every, next), None);
        slots.forget_after(next);
        let next = now.plus(SLOT_MS);
        assert_eq!(slots.take("water", &every, next), Some(next));
    }

    #[test]
    fn a_time_is_asked_for_once_whatever_the_clock_does() {
        let six: Cron = "0 6 * * *".parse().unwrap();
        let first = TimeMs(1_000 * DAY + 6 * 3_600_000);
        let mut slots = Slots::default();
        let mut take = |at: TimeMs| slots.take("water", &six, at);
        assert_eq!(take(TimeMs(first.0 - 1)), None);
        assert_eq!(take(first.plus(5)), Some(first));
        assert_eq!(take(first.plus(6)), None);
        // The clock steps back over it, and forward again.
        assert_eq!(take(TimeMs(first.0 - 5)), None);
        assert_eq!(take(first), None);
        // One that was stepped over is not made up for.
        assert_eq!(take(first.plus(DAY + SLOT_MS)), None);
        // A clock that was a year ahead takes nothing from the days until then.
        let later = first.plus(365 * DAY);
        assert_eq!(take(later), Some(later));
        assert_eq!(take(first.plus(DAY)), Some(first.plus(DAY)));
        assert_eq!(take(later), None);
        // And what is stored says the same.
        let mut stored: Slots =
            serde_json::from_str(&serde_json::to_string(&slots).unwrap()).unwrap();
        assert_eq!(stored.take("water", &six, first), None);
        stored.keep(&["air"].into());
        assert_eq!(stored, Slots::default());
    }

    proptest! {
        #[test]
        fn no_time_twice_and_no_more_than_are_kept(steps in prop::collection::vec(-400i64..500, 1..600)) {
            let every: Cron = "* * * * *".parse().unwrap();
            let (mut slots, mut now, mut asked) = (Slots::default(), 100_000u64, BTreeSet::new());
            for step in steps {
                now = now.saturating_add_signed(step);
                if let Some(slot) = slots.take("x", &every, TimeMs(now * SLOT_MS / 4)) {
                    prop_assert!(asked.insert(slot), "{:?} twice", slot);
                }
                prop_assert!(slots.0["x"].len() <= SLOTS_KEPT_MAX);
            }
        }
    }
}
