//! The choice of links: how many there are, whether all are connected, and what liars change.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

const SIZES: [usize; 3] = [VIEW_ALL_MAX + 2, 50, 200];

fn id(n: u64) -> DeviceId {
    DeviceId::of_public_key(&Digest::of(&[&n.to_be_bytes()]).0)
}

fn there() -> Known {
    Known {
        always: false,
        carries: true,
        reach: Reach::Dialable,
        heard: Heard::Lately {
            links: VIEW_OTHERS_MIN,
        },
    }
}

/// A node's view of all others, of which some are away.
fn others(
    own: &DeviceId,
    all: &[DeviceId],
    away: &BTreeSet<DeviceId>,
) -> BTreeMap<DeviceId, Known> {
    let known = |d: &DeviceId| {
        let reach = match away.contains(d) {
            true => Reach::Away,
            false => Reach::Dialable,
        };
        (d.clone(), Known { reach, ..there() })
    };
    all.iter().filter(|d| *d != own).map(known).collect()
}

type Links = BTreeSet<(DeviceId, DeviceId)>;

/// The links of nodes that each choose for themselves, with a secret of their own.
fn meshed(all: &[DeviceId], away: &BTreeSet<DeviceId>, seed: u64) -> Links {
    let mut links = Links::new();
    for own in all.iter().filter(|d| !away.contains(d)) {
        let secret = Digest::of(&[&seed.to_be_bytes(), own.as_str().as_bytes()]).0;
        for (other, _) in choose(own, &secret, &others(own, all, away), false) {
            links.insert((own.clone().min(other.clone()), own.clone().max(other)));
        }
    }
    links
}

fn degree(links: &Links, of: &DeviceId) -> usize {
    links.iter().filter(|(a, b)| a == of || b == of).count()
}

/// How many links the farthest of these is away from the first, over these alone; `None` if one is cut off.
fn depth(links: &Links, among: &BTreeSet<DeviceId>) -> Option<usize> {
    let first = among.first()?.clone();
    let (mut reached, mut edge, mut steps) = (BTreeSet::from([first.clone()]), vec![first], 0);
    while reached.len() < among.len() {
        let mut next = Vec::new();
        for (a, b) in links {
            for (from, to) in [(a, b), (b, a)] {
                if edge.contains(from) && among.contains(to) && reached.insert(to.clone()) {
                    next.push(to.clone());
                }
            }
        }
        if next.is_empty() {
            return None;
        }
        (edge, steps) = (next, steps + 1);
    }
    Some(steps)
}

fn ids(size: usize, seed: u64) -> Vec<DeviceId> {
    (0..size as u64)
        .map(|n| id(seed.wrapping_mul(1_000) + n))
        .collect()
}

#[test]
fn a_dozen_are_all_kept_and_more_are_not() {
    let all = ids(VIEW_ALL_MAX + 2, 1);
    let few = all.get(..VIEW_ALL_MAX + 1).unwrap();
    let none = BTreeSet::new();
    let chosen = choose(&few[0], b"s", &others(&few[0], few, &none), false);
    assert_eq!(chosen.len(), VIEW_ALL_MAX);
    assert!(chosen.values().all(|why| *why == Why::Few));
    let chosen = choose(&all[0], b"s", &others(&all[0], &all, &none), false);
    assert_eq!(chosen.len(), VIEW_NEIGHBOURS_MIN);
    assert!(chosen.values().all(|why| *why == Why::Neighbour));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn whoever_chooses_for_itself_all_are_connected_by_few_links(size in prop::sample::select(&SIZES[..]), seed in 0u64..1_000) {
        let all = ids(size, seed);
        let links = meshed(&all, &BTreeSet::new(), seed);
        let most = neighbours(size - 1);
        // Each chooses so many and is chosen by as many on average.
        prop_assert!(links.len() <= size * most);
        let high = all.iter().map(|d| degree(&links, d)).max().unwrap();
        prop_assert!(high <= 4 * most, "{high} links of one of {size}");
        let deep = depth(&links, &all.iter().cloned().collect());
        prop_assert!(deep.is_some_and(|d| d <= most), "{deep:?} of {size}");
    }

    #[test]
    fn when_a_tenth_are_gone_the_rest_are_connected_by_those_that_take_their_places(
        size in prop::sample::select(&SIZES[..]), seed in 0u64..1_000, gone in 0usize..200,
    ) {
        let all = ids(size, seed);
        let count = size.div_ceil(10);
        let away: BTreeSet<DeviceId> = (0..count).map(|n| all[(gone + n * 7) % size].clone()).collect();
        let links = meshed(&all, &away, seed);
        let rest: BTreeSet<DeviceId> = all.iter().filter(|d| !away.contains(d)).cloned().collect();
        let most = neighbours(size - 1);
        for own in &rest {
            prop_assert!(degree(&links, own) >= VIEW_NEIGHBOURS_MIN.min(most));
        }
        prop_assert!(depth(&links, &rest).is_some());
    }

    #[test]
    fn liars_that_carry_nothing_and_choose_their_ids_cut_nobody_off(
        size in prop::sample::select(&[50usize, 200][..]), seed in 0u64..1_000, victim in 0usize..50,
    ) {
        let honest = ids(size - size / 10, seed);
        let victim = &honest[victim % honest.len()];
        // Of many ids those that come next after the victim's.
        let mut made: Vec<DeviceId> = (0..2_000).map(|n| id(1_000_000_000 + n)).filter(|d| d > victim).collect();
        made.sort();
        made.truncate(size / 10);
        let all: Vec<DeviceId> = honest.iter().chain(&made).cloned().collect();
        let links = meshed(&all, &BTreeSet::new(), seed);
        let honest: BTreeSet<DeviceId> = honest.into_iter().collect();
        prop_assert!(depth(&links, &honest).is_some());
    }

    #[test]
    fn what_a_device_says_of_itself_takes_no_place_from_one_that_is_needed(
        always in prop::collection::btree_set(0usize..50, 0..20), lies in prop::collection::btree_set(0usize..50, 0..50), seed in 0u64..1_000,
    ) {
        let all = ids(50, seed);
        let mut known = others(&all[0], &all, &BTreeSet::new());
        for n in always.iter().filter(|n| **n > 0) {
            known.get_mut(&all[*n]).unwrap().always = true;
        }
        let before = choose(&all[0], b"s", &known, false);
        for n in lies.iter().filter(|n| **n > 0) {
            known.get_mut(&all[*n]).unwrap().heard = Heard::Lately { links: 200 };
        }
        prop_assert_eq!(&choose(&all[0], b"s", &known, false), &before);
        for n in lies.iter().filter(|n| **n > 0) {
            known.get_mut(&all[*n]).unwrap().heard = Heard::Never;
        }
        let after = choose(&all[0], b"s", &known, false);
        prop_assert!(before.keys().all(|d| after.contains_key(d)));
        prop_assert!(after.len() <= before.len() + VIEW_ALONE_AT_ONCE);
    }
}

#[test]
fn one_that_others_do_not_tell_of_is_kept_a_few_being_dialed_at_a_time() {
    let all = ids(50, 3);
    let mut known = others(&all[0], &all, &BTreeSet::new());
    let heard = [
        Heard::Never,
        Heard::LongAgo { links: 40 },
        Heard::Lately {
            links: VIEW_OTHERS_MIN - 1,
        },
        Heard::LongAgo { links: 0 },
    ];
    for (one, heard) in known.values_mut().zip(heard.into_iter().cycle()) {
        one.heard = heard;
    }
    let alone = |known: &BTreeMap<DeviceId, Known>, settling: bool| {
        let chosen = choose(&all[0], b"s", known, settling);
        let alone = chosen.into_iter().filter(|(_, why)| *why == Why::Alone);
        alone.map(|(d, _)| known[&d].heard).collect::<Vec<Heard>>()
    };
    assert_eq!(alone(&known, false).len(), VIEW_ALONE_AT_ONCE);
    // Just begun, it waits for those that are probably heard in a moment.
    let first = alone(&known, true);
    assert!(
        first
            .iter()
            .all(|h| *h != Heard::Never && *h != Heard::LongAgo { links: 40 })
    );
    // One that has a link already keeps it, and one that does not answer takes no place.
    for one in known.values_mut() {
        one.reach = Reach::Linked;
    }
    let near = neighbours(known.len());
    assert_eq!(alone(&known, false).len(), known.len() - near);
    for one in known.values_mut() {
        one.reach = Reach::Away;
    }
    assert_eq!(alone(&known, false).len(), known.len());
}
