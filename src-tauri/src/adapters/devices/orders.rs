//! Orders: what each operation of an actuator says to its device, in a form in which the orders of all actuators of a node
//! compare. What makes one actuator safe must not be what moves one.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::config::Configured;

/// One operation as its device gets it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Order {
    /// The actuator.
    pub actuator: String,
    /// The operation.
    pub operation: String,
    /// Whether it is the safe one.
    pub is_safe: bool,
    /// Where it is said, such as a topic or a file.
    pub place: String,
    /// What is said and where; two orders with the same key are one and the same to the device.
    pub key: String,
    /// The same for people.
    pub shown: String,
}

/// The orders of the actuators so far, by their keys.
#[derive(Debug, Default)]
pub(super) struct Orders(BTreeMap<String, Order>);

impl Orders {
    /// Takes one more.
    ///
    /// # Errors
    /// If it is also the order of another actuator, or both moves its actuator and makes it safe. One order may make several
    /// actuators safe.
    pub(super) fn take(&mut self, order: Order) -> Result<(), String> {
        let Some(first) = self.0.get(&order.key) else {
            self.0.insert(order.key.clone(), order);
            return Ok(());
        };
        let (name, shown) = (&order.actuator, &order.shown);
        let one = first.actuator == *name;
        let (safe, moving) = match order.is_safe {
            true => (&order, first),
            false => (first, &order),
        };
        match (first.is_safe, order.is_safe) {
            (true, true) => Ok(()),
            (false, false) if one => Ok(()),
            (false, false) => Err(format!(
                "capability {name}: {shown} moves {} already",
                first.actuator
            )),
            _ if one => Err(format!(
                "capability {name}: operation {} and the safe operation {} are the same, {shown}: it would be called safe while it \
                 moves; write what really stops it",
                moving.operation, safe.operation
            )),
            _ => Err(format!(
                "capability {name}: {shown} is the safe operation {} of {} and operation {} of {}: making the one safe would move \
                 the other; a node does that whenever it starts",
                safe.operation, safe.actuator, moving.operation, moving.actuator
            )),
        }
    }
}

/// The actuators whose safe operation is also what moves one: what is said to make them safe may start something.
pub(super) fn uncertain(orders: &[Order]) -> BTreeMap<String, String> {
    let safe = orders.iter().filter(|order| order.is_safe);
    let found = safe.filter_map(|safe| {
        let is = |other: &&Order| !other.is_safe && other.key == safe.key;
        let moving = orders.iter().find(is)?;
        let why = format!(
            "its safe operation {} is also operation {} of {}",
            safe.operation, moving.operation, moving.actuator
        );
        Some((safe.actuator.clone(), why))
    });
    found.collect()
}

/// An actuator that comes in and is made safe where one that stays is told something too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SharedWay {
    /// The one that comes in.
    pub coming: String,
    /// The one that stays.
    pub staying: String,
    /// What makes the first safe, for people.
    pub shown: String,
}

/// The actuators of `coming` that are made safe at a place where one of `staying` is told something: the one may end what the
/// other does.
pub fn shared_ways<'a>(
    coming: impl Iterator<Item = &'a Configured>,
    staying: impl Iterator<Item = &'a Configured>,
) -> Vec<SharedWay> {
    let stay: Vec<Order> = staying.flat_map(Configured::orders).collect();
    let mut found = Vec::new();
    for safe in coming.flat_map(Configured::orders).filter(|o| o.is_safe) {
        for other in stay.iter().filter(|o| o.place == safe.place) {
            let shared = SharedWay {
                coming: safe.actuator.clone(),
                staying: other.actuator.clone(),
                shown: safe.shown.clone(),
            };
            if !found.contains(&shared) {
                found.push(shared);
            }
        }
    }
    found
}

/// A host in one spelling: the names of this machine's own address are one, and capital letters count for nothing.
pub(super) fn host_key(host: &str) -> String {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let host = host.trim_end_matches('.').to_ascii_lowercase();
    match host.parse::<IpAddr>().map(|ip| ip.to_canonical()) {
        // The unspecified address leads to this machine too.
        Ok(ip) if ip == Ipv4Addr::LOCALHOST || ip == Ipv6Addr::LOCALHOST || ip.is_unspecified() => {
            "localhost".to_owned()
        }
        Ok(ip) => ip.to_string(),
        Err(_) => host,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn order(actuator: &str, operation: &str, key: &str) -> Order {
        Order {
            actuator: actuator.to_owned(),
            operation: operation.to_owned(),
            is_safe: operation == "stop",
            place: key.to_owned(),
            key: key.to_owned(),
            shown: key.to_owned(),
        }
    }

    fn problem(all: &[(&str, &str, &str)]) -> Option<String> {
        let mut orders = Orders::default();
        let mut each = all.iter().map(|(a, o, key)| order(a, o, key));
        each.find_map(|order| orders.take(order).err())
    }

    #[test]
    fn what_makes_one_safe_moves_none() {
        for (all, why) in [
            (
                &[
                    ("a", "start", "/on"),
                    ("a", "stop", "/off"),
                    ("b", "start", "/off"),
                ][..],
                "capability b: /off is the safe operation stop of a and operation start of b",
            ),
            (
                &[("a", "start", "/on"), ("b", "stop", "/on")],
                "capability b: /on is the safe operation stop of b and operation start of a",
            ),
            (
                &[("a", "start", "/on"), ("a", "stop", "/on")],
                "capability a: operation start and the safe operation stop are the same, /on",
            ),
            (
                &[("a", "stop", "/on"), ("a", "start", "/on")],
                "capability a: operation start and the safe operation stop are the same, /on",
            ),
            (
                &[("a", "start", "/on"), ("b", "start", "/on")],
                "capability b: /on moves a already",
            ),
        ] {
            let found = problem(all).unwrap();
            assert!(found.starts_with(why), "{found}");
        }
    }

    #[test]
    fn one_order_may_stop_several_and_go_by_several_names() {
        let all = [
            ("a", "start", "/a"),
            ("a", "run", "/a"),
            ("a", "stop", "/all-off"),
            ("b", "start", "/b"),
            ("b", "stop", "/all-off"),
        ];
        assert_eq!(problem(&all), None);
    }

    #[test]
    fn what_may_start_something_makes_nothing_safe() {
        let all = [
            order("a", "start", "/on"),
            order("a", "stop", "/off"),
            order("b", "start", "/b"),
            order("b", "stop", "/on"),
        ];
        let found = uncertain(&all);
        assert_eq!(found.keys().collect::<Vec<_>>(), ["b"]);
        assert_eq!(
            found["b"],
            "its safe operation stop is also operation start of a"
        );
        assert!(uncertain(&all[..3]).is_empty());
    }

    #[test]
    fn this_machine_is_one_host() {
        for host in [
            "localhost",
            "LocalHost.",
            "127.0.0.1",
            "::1",
            "[::1]",
            "::ffff:127.0.0.1",
            "0.0.0.0",
            "::",
        ] {
            assert_eq!(host_key(host), "localhost", "{host}");
        }
        assert_eq!(host_key("PLC.farm"), host_key("plc.farm."));
        assert_ne!(host_key("127.0.0.2"), host_key("127.0.0.1"));
    }
}
