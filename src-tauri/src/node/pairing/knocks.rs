//! Strangers at an open pairing window: how many tries each address has, and how many may be in front
//! of the door at once. A stranger that has not read the link off this node's screen can use up its own
//! tries and nothing else.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};

use crate::domain::base::limits::{
    PAIRING_TRIES, PAIRING_TRIES_TOTAL, PAIRING_WAITING_MAX, PAIRING_WAITING_PER_ADDRESS_MAX,
};
use crate::domain::base::{Code, Refusal};

/// Where a stranger comes from: an IPv4 address, or the /64 network of an IPv6 address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Origin(IpAddr);

impl Origin {
    pub(super) fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V6(v6) => {
                let [a, b, c, d, ..] = v6.segments();
                Self(IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0)))
            }
            v4 => Self(v4),
        }
    }
}

/// The tries of one window.
#[derive(Debug, Clone, Default)]
pub(super) struct Tries {
    used: BTreeMap<Origin, u32>,
}

impl Tries {
    fn total(&self) -> u32 {
        self.used.values().sum()
    }

    /// How many are left for all addresses together.
    pub(super) fn left(&self) -> u32 {
        PAIRING_TRIES_TOTAL.saturating_sub(self.total())
    }

    /// Takes a try; `false` where the address or the window has none left.
    pub(super) fn take(&mut self, origin: Origin) -> bool {
        let used = self.used.get(&origin).copied().unwrap_or(0);
        let free = used < PAIRING_TRIES && self.left() > 0;
        if free {
            self.used.insert(origin, used + 1);
        }
        free
    }

    /// Gives a try back: its stranger has read the link, so it guesses nothing.
    pub(super) fn give_back(&mut self, origin: Origin) {
        if let Some(used) = self.used.get_mut(&origin) {
            *used = used.saturating_sub(1);
        }
    }
}

/// Strangers that have knocked and not yet said who they are.
#[derive(Debug, Default)]
pub(super) struct Waiting(BTreeMap<Origin, usize>);

impl Waiting {
    /// # Errors
    /// `BUSY` where too many wait.
    pub(super) fn enter(&mut self, origin: Origin) -> Result<(), Refusal> {
        let here = self.0.get(&origin).copied().unwrap_or(0);
        let all: usize = self.0.values().sum();
        if here >= PAIRING_WAITING_PER_ADDRESS_MAX || all >= PAIRING_WAITING_MAX {
            return Err(Refusal::new(
                Code::Busy,
                "others are asking to pair at this moment; try again in some seconds",
            ));
        }
        self.0.insert(origin, here + 1);
        Ok(())
    }

    pub(super) fn leave(&mut self, origin: Origin) {
        let left = self.0.get(&origin).map_or(0, |n| n.saturating_sub(1));
        match left {
            0 => drop(self.0.remove(&origin)),
            left => drop(self.0.insert(origin, left)),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn at(text: &str) -> Origin {
        Origin::of(text.parse().unwrap())
    }

    #[test]
    fn an_address_uses_up_its_own_tries_and_all_together_those_of_the_window() {
        let mut tries = Tries::default();
        for _ in 0..PAIRING_TRIES {
            assert!(tries.take(at("fd00::1")));
        }
        assert!(!tries.take(at("fd00::2")), "the same network");
        assert!(tries.take(at("10.0.0.1")) && tries.take(at("::ffff:10.0.0.1")));
        let all = (2..200).filter(|n| tries.take(at(&format!("10.0.0.{n}"))));
        let left = usize::try_from(PAIRING_TRIES_TOTAL - PAIRING_TRIES - 2).unwrap();
        assert_eq!(all.count(), left);
        tries.give_back(at("10.0.0.1"));
        assert!(tries.take(at("10.9.9.9")) && tries.left() == 0);
    }

    #[test]
    fn a_crowd_at_the_door_has_an_end() {
        let mut waiting = Waiting::default();
        for _ in 0..PAIRING_WAITING_PER_ADDRESS_MAX {
            waiting.enter(at("10.0.0.1")).unwrap();
        }
        assert!(waiting.enter(at("10.0.0.1")).is_err());
        assert!(waiting.enter(at("10.0.0.2")).is_ok());
        waiting.leave(at("10.0.0.1"));
        assert!(waiting.enter(at("10.0.0.1")).is_ok());
        let more = (3..200).filter(|n| waiting.enter(at(&format!("10.0.0.{n}"))).is_ok());
        assert_eq!(
            more.count(),
            PAIRING_WAITING_MAX - PAIRING_WAITING_PER_ADDRESS_MAX - 1
        );
    }
}
