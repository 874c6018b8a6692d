//! Devices that were left out and are not heard all the same: others that are linked with them do not pass on what
//! they tell, because they trust them less. For a while they have a link in any case.

use std::collections::{BTreeMap, BTreeSet};

use super::{Heard, Known};
use crate::domain::base::limits::VIEW_MISSED_MS;
use crate::domain::base::{DeviceId, TimeMs};

/// The devices that were missed, with when that was found: by a clock that is never set, and by the wall clock.
#[derive(Debug, Default)]
pub struct Missed(BTreeMap<DeviceId, (TimeMs, TimeMs)>);

impl Missed {
    /// Looks who of those that were left out is not heard. While most devices are not heard, this node itself is
    /// cut off, and that tells nothing of any of them.
    pub fn look(
        &mut self,
        known: &BTreeMap<DeviceId, Known>,
        left_out: &BTreeSet<DeviceId>,
        steady: TimeMs,
        wall: TimeMs,
    ) {
        self.0
            .retain(|_, (at, _)| steady.since(*at) < VIEW_MISSED_MS);
        let is_heard = |one: &&Known| matches!(one.heard, Heard::Lately { .. });
        if known.values().filter(is_heard).count() * 2 < known.len() {
            return;
        }
        for (device, one) in known {
            if matches!(one.heard, Heard::LongAgo { .. }) && left_out.contains(device) {
                self.0.insert(device.clone(), (steady, wall));
            }
        }
    }

    /// Whether a device was missed. One that has started since was merely off.
    pub fn is_missed(&self, device: &DeviceId, started_at: Option<TimeMs>) -> bool {
        let missed = self.0.get(device);
        missed.is_some_and(|(_, wall)| started_at.is_none_or(|at| at <= *wall))
    }
}

#[cfg(test)]
mod tests {
    use super::super::Reach;
    use super::*;

    fn id(n: u8) -> DeviceId {
        DeviceId::of_public_key(&[n; 32])
    }

    /// Twenty devices, of which so many are not heard.
    fn known(silent: u8) -> BTreeMap<DeviceId, Known> {
        let one = |n: u8| Known {
            always: false,
            carries: true,
            reach: Reach::Dialable,
            heard: match n < silent {
                true => Heard::LongAgo { links: 5 },
                false => Heard::Lately { links: 5 },
            },
        };
        (0..20).map(|n| (id(n), one(n))).collect()
    }

    #[test]
    fn who_was_left_out_and_is_not_heard_is_missed_for_a_while_unless_it_was_off() {
        let mut missed = Missed::default();
        let (then, wall) = (TimeMs(1_000), TimeMs(1_000_000));
        missed.look(&known(2), &[id(0), id(5)].into(), then, wall);
        assert!(missed.is_missed(&id(0), Some(TimeMs(900_000))));
        assert!(missed.is_missed(&id(0), None));
        // It was off.
        assert!(!missed.is_missed(&id(0), Some(TimeMs(1_000_001))));
        // One had a link, the other is heard.
        assert!(!missed.is_missed(&id(1), None) && !missed.is_missed(&id(5), None));
        let later = then.plus(VIEW_MISSED_MS);
        missed.look(&known(0), &BTreeSet::new(), later, wall);
        assert!(!missed.is_missed(&id(0), None));
    }

    #[test]
    fn a_node_that_is_cut_off_misses_nobody() {
        let mut missed = Missed::default();
        let all = (0..20).map(id).collect();
        missed.look(&known(15), &all, TimeMs(1), TimeMs(1));
        assert!((0..20).all(|n| !missed.is_missed(&id(n), None)));
    }
}
