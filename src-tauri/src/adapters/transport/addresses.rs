//! Who knocks at a port that is open to strangers: how many connections an address has and how fast it makes new ones.
//! An IPv6 address counts as its /64, which one household or machine has whole. It must not know what a connection says.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::domain::base::limits::{
    AWAY_ADDRESSES_MAX, AWAY_CONNECTIONS_MAX, AWAY_CONNECTIONS_OF_ADDRESS_MAX,
    AWAY_CONNECTS_AT_ONCE, AWAY_CONNECTS_EVERY_MS,
};

/// The address as it is counted.
pub(super) fn counted(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
        v4 => v4,
    }
}

#[derive(Debug)]
struct Seen {
    open: usize,
    /// How many more connections it may make at once.
    left: u64,
    /// Up to when `left` has been counted, in milliseconds of a steady clock.
    counted_to: u64,
}

impl Seen {
    fn refill(&mut self, now_ms: u64) {
        let more = now_ms.saturating_sub(self.counted_to) / AWAY_CONNECTS_EVERY_MS;
        self.left = self.left.saturating_add(more).min(AWAY_CONNECTS_AT_ONCE);
        self.counted_to += more * AWAY_CONNECTS_EVERY_MS;
    }
}

/// The addresses of one port.
#[derive(Debug, Clone, Default)]
pub(super) struct Addresses(Arc<Mutex<BTreeMap<IpAddr, Seen>>>);

/// One connection of an address, until this is dropped.
#[derive(Debug)]
pub(super) struct Knock {
    addresses: Addresses,
    of: IpAddr,
}

impl Addresses {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<IpAddr, Seen>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a connection of `from` in; `None` where it has too many, makes them too fast, or all have too many.
    pub(super) fn knock(&self, from: IpAddr, now_ms: u64) -> Option<Knock> {
        let of = counted(from);
        let mut all = self.lock();
        if all.len() >= AWAY_ADDRESSES_MAX && !all.contains_key(&of) {
            for seen in all.values_mut() {
                seen.refill(now_ms);
            }
            all.retain(|_, seen| seen.open > 0 || seen.left < AWAY_CONNECTS_AT_ONCE);
            if all.len() >= AWAY_ADDRESSES_MAX {
                // So many at once are no phones: the one that has waited longest is counted anew.
                let idle = all.iter().filter(|(_, seen)| seen.open == 0);
                let oldest = idle.min_by_key(|(_, seen)| seen.counted_to);
                let oldest = oldest.map(|(address, _)| *address)?;
                all.remove(&oldest);
            }
        }
        if all.values().map(|seen| seen.open).sum::<usize>() >= AWAY_CONNECTIONS_MAX {
            return None;
        }
        let seen = all.entry(of).or_insert(Seen {
            open: 0,
            left: AWAY_CONNECTS_AT_ONCE,
            counted_to: now_ms,
        });
        seen.refill(now_ms);
        if seen.open >= AWAY_CONNECTIONS_OF_ADDRESS_MAX || seen.left == 0 {
            return None;
        }
        seen.left -= 1;
        seen.open += 1;
        Some(Knock {
            addresses: self.clone(),
            of,
        })
    }
}

impl Drop for Knock {
    fn drop(&mut self) {
        if let Some(seen) = self.addresses.lock().get_mut(&self.of) {
            seen.open = seen.open.saturating_sub(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));
    const B: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 2));

    #[test]
    fn an_address_has_so_many_connections_and_leaves_others_theirs() {
        let addresses = Addresses::default();
        let mut open: Vec<Knock> = Vec::new();
        while let Some(knock) = addresses.knock(A, 0) {
            open.push(knock);
        }
        assert_eq!(open.len(), AWAY_CONNECTIONS_OF_ADDRESS_MAX);
        assert!(addresses.knock(B, 0).is_some());
        open.pop();
        assert!(addresses.knock(A, 0).is_some());
    }

    #[test]
    fn an_address_that_comes_and_goes_too_fast_waits() {
        let addresses = Addresses::default();
        let made = std::iter::from_fn(|| addresses.knock(A, 5)).count();
        assert_eq!(u64::try_from(made), Ok(AWAY_CONNECTS_AT_ONCE));
        assert!(addresses.knock(A, 4 + AWAY_CONNECTS_EVERY_MS).is_none());
        assert!(addresses.knock(A, 5 + AWAY_CONNECTS_EVERY_MS).is_some());
        assert!(addresses.knock(B, 5).is_some());
    }

    #[test]
    fn the_list_is_bounded_and_a_network_of_ipv6_counts_as_one() {
        let addresses = Addresses::default();
        for n in 0..2 * u32::try_from(AWAY_ADDRESSES_MAX).unwrap_or_default() {
            let from = IpAddr::V4(std::net::Ipv4Addr::from(n));
            assert!(addresses.knock(from, 0).is_some());
        }
        assert_eq!(addresses.lock().len(), AWAY_ADDRESSES_MAX);
        let [one, other] = ["2001:db8::1", "2001:db8::2:3"].map(|t| t.parse::<IpAddr>().ok());
        assert_eq!(one.map(counted), other.map(counted));
        let mapped = "::ffff:192.0.2.1".parse::<IpAddr>().ok();
        assert_eq!(mapped.map(counted), Some(A));
    }
}
