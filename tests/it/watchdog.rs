//! The watchdog: a node whose tasks stand still makes its actuators safe and ends, and the service manager hears that
//! a node is ready, alive and ending.

use std::os::unix::net::UnixDatagram;

use crate::harness::PATIENCE;
use crate::process::*;

#[test]
fn a_runtime_that_stands_still_ends_with_the_valve_closed() {
    let place = Place::new();
    place.enrolled();
    // Once the valve has been opened, no task of the node runs any more.
    let node = place
        .start_with(&place.state(), &FIELD, &[("CLAWMESH_STALL", "act.after")])
        .unwrap();
    let id = place.try_propose(20).unwrap();
    // Whether the answer to the approval still comes is open: it ends at the latest with the node.
    place.run(&["approve", &id]);
    assert_eq!(node.ended(), Some(1));
    assert_eq!(
        place.moves(&id),
        ["open", "closed"],
        "made safe before the process ended"
    );
    let node = place.field(&[]);
    let shown = place.json(&["show", &id]);
    let status = shown["proposal"]["status"]
        .as_str()
        .or(shown["status"].as_str());
    assert!(matches!(status, Some("unknown" | "failed")), "{shown}");
    assert_eq!(node.stop(), 0);
}

#[test]
fn the_service_manager_hears_that_the_node_is_ready_alive_and_ends() {
    let place = Place::new();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let heard = || {
        let mut words = [0; 512];
        let length = socket.recv(&mut words).unwrap();
        String::from_utf8_lossy(&words[..length]).into_owned()
    };
    let variables = [
        ("NOTIFY_SOCKET", path.to_str().unwrap()),
        ("WATCHDOG_USEC", "3000000"),
    ];
    let node = place
        .start_with(&place.state(), &FIELD, &variables)
        .unwrap();
    let (mut ready, mut alive) = (false, 0);
    while !ready || alive < 2 {
        let words = heard();
        ready |= words.contains("READY=1") && words.contains("listens on");
        alive += usize::from(words.contains("WATCHDOG=1"));
    }
    assert_eq!(node.stop(), 0);
    while !heard().contains("STOPPING=1") {}
}
