//! Who led to what a model says: the other devices whose planner or model said it, or something before it in the same
//! conversation, which it reads as its own. A wish names one device that led to it, and whom that alone vouches for does not
//! approve it; what more of them led to asks for nothing.

use std::collections::BTreeSet;

use super::Answered;
use crate::domain::base::{Code, DeviceId, Refusal};

/// The other devices that led to something.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Led {
    devices: BTreeSet<DeviceId>,
    /// Whether one did of which an earlier version did not write down who it is.
    unknown: bool,
}

impl Led {
    /// One more, where it was another device.
    pub(super) fn add(&mut self, device: Option<&DeviceId>) {
        self.devices.extend(device.cloned());
    }

    /// Those of an answer.
    pub(super) fn add_answer(&mut self, answered: &Answered) {
        let model = answered.model.as_deref().unwrap_or_default();
        let others = answered.answered_by.is_some() || model.starts_with("mesh/");
        self.unknown |= others && answered.led_by.is_empty();
        self.devices.extend(answered.led_by.iter().cloned());
    }

    /// All that are known.
    pub(super) fn devices(&self) -> BTreeSet<DeviceId> {
        self.devices.clone()
    }

    /// The one that a wish names, if one led to it.
    ///
    /// # Errors
    /// `CONFLICT` where a wish could not name who led to it.
    pub(super) fn one(&self) -> Result<Option<&DeviceId>, Refusal> {
        let why = match (self.devices.len(), self.unknown) {
            (0 | 1, false) => return Ok(self.devices.first()),
            (0, true) => "another device, of which nothing is known any more,",
            _ => "the planners or models of several other devices",
        };
        Err(Refusal::new(
            Code::Conflict,
            format!("{why} led to this, and a wish names one; ask for it in a new conversation"),
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::identity::DeviceKey;

    #[test]
    fn a_wish_names_the_one_device_that_led_to_it_or_is_none() {
        let [first, second] = [1, 2].map(|n| DeviceKey::from_seed(&[n; 32]).id().clone());
        let mut led = Led::default();
        assert_eq!(led.one(), Ok(None));
        led.add(None);
        led.add(Some(&first));
        led.add(Some(&first));
        assert_eq!(led.one(), Ok(Some(&first)));
        led.add(Some(&second));
        assert_eq!(led.one().unwrap_err().code, Code::Conflict);
        assert_eq!(led.devices().len(), 2);
        let unknown = Led {
            unknown: true,
            ..Led::default()
        };
        assert_eq!(unknown.one().unwrap_err().code, Code::Conflict);
    }
}
