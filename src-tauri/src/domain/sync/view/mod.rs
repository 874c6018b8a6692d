//! Which devices a node keeps links with, of those it trusts (a partial view).
//!
//! Up to [`VIEW_ALL_MAX`] devices of our own kind: all. Above that: those that are always needed, a number of
//! neighbours that grows with the logarithm of their count, and those that are not heard through others. Frames
//! travel over the links there are (`tree`), and what is lost all the same reconciliation brings; a device that is
//! left out here is dialed when something is to be sent to it.
//!
//! The first neighbour is the next device by id, so that all of them together are connected as a ring. The others
//! are drawn by a number that only this node knows: no device can choose an id that makes it a neighbour of many.
//!
//! Pure: nothing is dialed here.

mod missed;

use std::collections::BTreeMap;

pub use self::missed::Missed;
use crate::domain::base::limits::{
    VIEW_ALL_MAX, VIEW_ALONE_AT_ONCE, VIEW_NEIGHBOURS_MIN, VIEW_OTHERS_MIN,
};
use crate::domain::base::{DeviceId, Digest};

/// Whether a device can be linked with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// There is a link.
    Linked,
    /// There is an address, and nothing says that it does not answer there.
    Dialable,
    /// There is none, or it did not answer lately.
    Away,
}

/// Others' news of a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heard {
    /// It told of itself lately, and has so many other links that both ends tell of.
    Lately {
        /// With devices that are trusted here and pass frames on.
        links: usize,
    },
    /// It told of itself long ago; what its links were then.
    LongAgo {
        /// As in [`Heard::Lately`].
        links: usize,
    },
    /// It was never heard.
    Never,
}

/// A trusted device of our own kind, as far as the choice depends on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    /// Whether a link with it is always needed: one of the two decides, plans or stops what the other moves.
    pub always: bool,
    /// Whether it passes on frames of others and is told ours.
    pub carries: bool,
    /// Whether it can be linked with.
    pub reach: Reach,
    /// Others' news of it.
    pub heard: Heard,
}

/// Why a link with a device is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// There are few.
    Few,
    /// It is always needed.
    Always,
    /// It is a neighbour.
    Neighbour,
    /// It is not heard through others, or may not be for long.
    Alone,
}

/// How many neighbours a node chooses among so many devices.
pub fn neighbours(devices: usize) -> usize {
    let log2 = usize::BITS - devices.leading_zeros();
    usize::try_from(log2)
        .unwrap_or(usize::MAX)
        .max(VIEW_NEIGHBOURS_MIN)
}

/// The devices to keep links with. `secret` is a number of this node's own; `settling` says that it has just
/// begun, and will hear of most devices in a moment.
pub fn choose(
    own: &DeviceId,
    secret: &[u8],
    known: &BTreeMap<DeviceId, Known>,
    settling: bool,
) -> BTreeMap<DeviceId, Why> {
    if known.len() <= VIEW_ALL_MAX {
        return known.keys().map(|d| (d.clone(), Why::Few)).collect();
    }
    let always = known.iter().filter(|(_, k)| k.always);
    let mut chosen: BTreeMap<DeviceId, Why> =
        always.map(|(d, _)| (d.clone(), Why::Always)).collect();
    for device in near(own, secret, known) {
        chosen.entry(device.clone()).or_insert(Why::Neighbour);
    }
    let mut dialed = 0;
    for (device, one) in known {
        if chosen.contains_key(device) || !is_alone(&one.heard, settling) {
            continue;
        }
        // Those that answer are dialed a few at a time: most are heard once the first of them are linked.
        if one.reach == Reach::Dialable {
            dialed += 1;
            if dialed > VIEW_ALONE_AT_ONCE {
                continue;
            }
        }
        chosen.insert(device.clone(), Why::Alone);
    }
    chosen
}

fn is_alone(heard: &Heard, settling: bool) -> bool {
    match *heard {
        Heard::Lately { links } => links < VIEW_OTHERS_MIN,
        Heard::LongAgo { links } => links < VIEW_OTHERS_MIN || !settling,
        Heard::Never => !settling,
    }
}

/// The neighbours: the next device by id, and some that are drawn.
fn near<'a>(
    own: &DeviceId,
    secret: &[u8],
    known: &'a BTreeMap<DeviceId, Known>,
) -> Vec<&'a DeviceId> {
    let fit = |(device, one): (&'a DeviceId, &Known)| {
        (one.carries && one.reach != Reach::Away).then_some(device)
    };
    let mut there: Vec<&DeviceId> = known.iter().filter_map(fit).collect();
    if there.is_empty() {
        return there;
    }
    let next = there.partition_point(|d| *d < own) % there.len();
    let first = there.remove(next);
    there.sort_by_cached_key(|d| Digest::of(&[secret, d.as_str().as_bytes()]).0);
    there.truncate(neighbours(known.len()) - 1);
    there.push(first);
    there
}

#[cfg(test)]
mod tests;
