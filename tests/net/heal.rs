//! A network that breaks, loses and delays: in the end every node has the same frames.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::lab::*;

const SENSES: [&str; 3] = ["--mock-sensor", "--sensor-interval", "2000"];

/// Waits until every host has these frames and says how long that took.
fn everywhere(lab: &Lab, wanted: &BTreeSet<String>) -> Duration {
    let ((), took) = until("every node has every frame", || {
        let complete = lab.hosts.iter().all(|h| wanted.is_subset(&h.frames()));
        complete.then_some(())
    });
    took
}

fn all_connected(lab: &Lab, wanted: usize) -> Option<()> {
    lab.hosts
        .iter()
        .all(|h| h.connected().len() >= wanted)
        .then_some(())
}

#[test]
fn needs_root_and_iproute2_two_halves_that_were_apart_end_with_the_same_frames() {
    let Some(mut lab) = Lab::new("partition and heal", 4) else {
        return;
    };
    lab.befriend_all();
    let ids: Vec<String> = lab.hosts.iter_mut().map(Host::device).collect();
    for host in &mut lab.hosts {
        host.start(&SENSES);
    }
    let ((), took) = until("everybody is connected", || all_connected(&lab, 3));
    eprintln!("MEASURED: full mesh of 4 after {} ms", took.as_millis());
    // Cable by cable: 0 alone, 1 alone, while 2 and 3 keep each other.
    lab.link_down(0);
    lab.link_down(1);
    let before: Vec<BTreeSet<String>> = lab.hosts.iter().map(Host::frames).collect();
    // Links that merely stall would be filled up again by TCP, and reconcile nothing: wait until both
    // ends have given them up.
    let ((), took) = until("nobody has a link with 0 or 1", || {
        let ids = [&ids[0], &ids[1]];
        let apart = |i: usize, h: &Host| match i {
            0 | 1 => h.linked().is_empty(),
            _ => ids.iter().all(|id| !h.linked().contains(*id)),
        };
        lab.hosts
            .iter()
            .enumerate()
            .all(|(i, h)| apart(i, h))
            .then_some(())
    });
    eprintln!(
        "MEASURED: the links were given up after {} ms",
        took.as_millis()
    );
    until("every side has written", || {
        let more = |(h, b): (&Host, &BTreeSet<String>)| h.frames().difference(b).count() >= 10;
        lab.hosts.iter().zip(&before).all(more).then_some(())
    });
    let wanted: BTreeSet<String> = lab.hosts.iter().flat_map(Host::frames).collect();
    assert!(
        lab.hosts.iter().any(|h| !wanted.is_subset(&h.frames())),
        "the cables were never out"
    );
    lab.link_up(0);
    lab.link_up(1);
    let took = everywhere(&lab, &wanted);
    eprintln!(
        "MEASURED: {} frames everywhere {} ms after the cables were put back",
        wanted.len(),
        took.as_millis()
    );
}

#[test]
fn needs_root_and_iproute2_a_slow_and_lossy_network_still_converges() {
    let what = "delay and loss";
    let Some(mut lab) = Lab::new(what, 2) else {
        return;
    };
    for i in 0..2 {
        if let Err(why) = lab.netem(i, 100, 5) {
            return skipped(what, &format!("tc netem does not work here ({why})"));
        }
    }
    lab.befriend_all();
    for host in &mut lab.hosts {
        host.start(&SENSES);
    }
    let ((), took) = until("they are connected", || all_connected(&lab, 1));
    eprintln!(
        "MEASURED: connected after {} ms at 100 ms and 5 % loss each way",
        took.as_millis()
    );
    until("both have written", || {
        lab.hosts
            .iter()
            .all(|h| h.frames().len() >= 10)
            .then_some(())
    });
    let wanted: BTreeSet<String> = lab.hosts.iter().flat_map(Host::frames).collect();
    everywhere(&lab, &wanted);
}

#[test]
fn needs_root_and_iproute2_a_chain_of_ten_carries_frames_from_end_to_end() {
    let Some(mut lab) = Lab::chain("a chain of ten", 10) else {
        return;
    };
    for i in 1..10 {
        lab.befriend(i - 1, i);
    }
    for (i, host) in lab.hosts.iter_mut().enumerate() {
        let ends = i == 0 || i == 9;
        host.start(if ends { &SENSES } else { &[] });
    }
    until("the chain is closed", || all_connected(&lab, 1));
    until("both ends have written", || {
        [0, 9]
            .iter()
            .all(|i: &usize| lab.hosts[*i].frames().len() >= 5)
            .then_some(())
    });
    let wanted: BTreeSet<String> = [0, 9]
        .iter()
        .flat_map(|i: &usize| lab.hosts[*i].frames())
        .collect();
    let took = everywhere(&lab, &wanted);
    eprintln!(
        "MEASURED: {} frames at all ten after {} ms",
        wanted.len(),
        took.as_millis()
    );
    assert!(
        lab.hosts[0].connected().len() == 1 && lab.hosts[5].connected().len() == 2,
        "it is a chain"
    );
}
