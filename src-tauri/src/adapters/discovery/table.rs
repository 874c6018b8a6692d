//! Which services are on the LAN, within bounds that no number of invented ones can exhaust: a device
//! that the caller wants to keep always finds a place, and the service that bears a device's own name
//! counts before others that claim to be it.

use std::collections::{BTreeMap, BTreeSet};

use super::{Sight, Sighting, instance};
use crate::domain::base::DeviceId;
use crate::domain::base::limits::{NEARBY_MAX, NEARBY_SERVICES_PER_DEVICE_MAX};

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Table {
    /// The announcement of each service, by its full name.
    services: BTreeMap<String, Sighting>,
    /// The service names of each device.
    names: BTreeMap<DeviceId, BTreeSet<String>>,
    /// Devices about which there is something new.
    news: BTreeSet<DeviceId>,
    /// Devices that have been reported and not yet as gone.
    told: BTreeSet<DeviceId>,
    passed_over: u64,
}

impl Table {
    /// A service was resolved. Where the table is full it takes the place of a service whose device
    /// `keep` does not name, if `keep` names its own; otherwise it is passed over.
    pub(super) fn resolved(
        &mut self,
        name: &str,
        sighting: Sighting,
        keep: &dyn Fn(&DeviceId) -> bool,
    ) {
        let device = sighting.device.clone();
        let renamed = self
            .services
            .get(name)
            .is_some_and(|known| known.device != device);
        if renamed {
            self.removed(name);
        }
        if !self.services.contains_key(name) && !self.has_room(name, &device, keep) {
            self.passed_over = self.passed_over.saturating_add(1);
            return;
        }
        self.services.insert(name.to_owned(), sighting);
        self.names
            .entry(device.clone())
            .or_default()
            .insert(name.to_owned());
        self.news.insert(device);
    }

    fn has_room(
        &mut self,
        name: &str,
        device: &DeviceId,
        keep: &dyn Fn(&DeviceId) -> bool,
    ) -> bool {
        let others = self.names.get(device);
        if others.is_some_and(|names| names.len() >= NEARBY_SERVICES_PER_DEVICE_MAX) {
            let other = others.and_then(|names| names.iter().find(|n| !is_own(n, device)));
            let Some(other) = other.filter(|_| is_own(name, device)).cloned() else {
                return false;
            };
            self.removed(&other);
            return true;
        }
        if self.services.len() < NEARBY_MAX {
            return true;
        }
        if !keep(device) {
            return false;
        }
        let stranger = self.services.iter().find(|(_, s)| !keep(&s.device));
        let Some(stranger) = stranger.map(|(name, _)| name.clone()) else {
            return false;
        };
        self.removed(&stranger);
        true
    }

    /// A service is there no more.
    pub(super) fn removed(&mut self, name: &str) {
        let Some(gone) = self.services.remove(name) else {
            return;
        };
        if let Some(names) = self.names.get_mut(&gone.device) {
            names.remove(name);
            if names.is_empty() {
                self.names.remove(&gone.device);
            }
        }
        self.news.insert(gone.device);
    }

    /// The service names of a device.
    pub(super) fn names(&self, device: &DeviceId) -> Vec<String> {
        let names = self.names.get(device);
        names.map_or_else(Vec::new, |names| names.iter().cloned().collect())
    }

    /// Changes since the last call: one entry a device.
    pub(super) fn take(&mut self) -> Vec<Sight> {
        let mut sights = Vec::with_capacity(self.news.len());
        for device in std::mem::take(&mut self.news) {
            let names = self.names.get(&device);
            let best = names.and_then(|names| {
                let own = names.iter().find(|n| is_own(n, &device));
                self.services.get(own.or(names.first())?)
            });
            match best {
                Some(sighting) => {
                    sights.push(Sight::Seen(sighting.clone()));
                    self.told.insert(device);
                }
                None if self.told.remove(&device) => sights.push(Sight::Gone(device)),
                // It came and went between two calls.
                None => {}
            }
        }
        sights
    }

    /// How many services found no place since this was last asked.
    pub(super) fn take_passed_over(&mut self) -> u64 {
        std::mem::take(&mut self.passed_over)
    }
}

/// Whether a service bears the name that nodes of our kind give theirs.
fn is_own(name: &str, device: &DeviceId) -> bool {
    name.split('.').next() == Some(instance(device).as_str())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn id(n: u16) -> DeviceId {
        let [a, b] = n.to_be_bytes();
        let mut key = [0; 32];
        (key[0], key[1]) = (a, b);
        DeviceId::of_public_key(&key)
    }

    fn sighting(device: &DeviceId, port: u16) -> Sighting {
        Sighting {
            device: device.clone(),
            name: None,
            version: None,
            role: None,
            mesh: None,
            mesh_name: None,
            pairing: false,
            addresses: vec![([10, 0, 0, 1], port).into()],
        }
    }

    fn port(sight: &Sight) -> Option<u16> {
        match sight {
            Sight::Seen(s) => s.addresses.first().map(std::net::SocketAddr::port),
            Sight::Gone(_) => None,
        }
    }

    #[test]
    fn five_thousand_invented_neighbours_keep_no_trusted_one_out() {
        let (mut table, friend) = (Table::default(), id(9_999));
        let keep = |device: &DeviceId| *device == friend;
        for n in 0..5_000 {
            table.resolved(&format!("invented-{n}.x"), sighting(&id(n), 1), &keep);
        }
        assert_eq!(table.services.len(), NEARBY_MAX);
        assert_eq!(table.take().len(), NEARBY_MAX);
        assert_eq!(table.take_passed_over(), 5_000 - NEARBY_MAX as u64);
        table.resolved(
            &format!("{}.x", instance(&friend)),
            sighting(&friend, 7),
            &keep,
        );
        let sights = table.take();
        assert_eq!(sights.len(), 2, "it is seen, and one invented one gave way");
        assert!(sights.iter().any(|s| port(s) == Some(7)));
        assert_eq!(table.services.len(), NEARBY_MAX);
    }

    #[test]
    fn the_service_with_a_devices_own_name_counts_before_others_that_claim_to_be_it() {
        let (mut table, friend) = (Table::default(), id(1));
        let keep = |_: &DeviceId| true;
        for n in 0..100 {
            table.resolved(&format!("a{n}.x"), sighting(&friend, n), &keep);
        }
        let own = format!("{}.x", instance(&friend));
        table.resolved(&own, sighting(&friend, 7_777), &keep);
        table.resolved("zz.x", sighting(&friend, 8_888), &keep);
        let sights = table.take();
        assert_eq!(sights.iter().map(port).collect::<Vec<_>>(), [Some(7_777)]);
        assert!(table.names(&friend).len() <= NEARBY_SERVICES_PER_DEVICE_MAX);
        for name in table.names(&friend) {
            table.removed(&name);
        }
        assert_eq!(table.take(), [Sight::Gone(friend)]);
        assert_eq!(table.take(), []);
    }
}
