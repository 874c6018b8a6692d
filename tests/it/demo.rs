//! The demonstration as a real process with its two nodes.

use clawmesh::adapters::keystore::{self, Passphrase};
use clawmesh::adapters::paths::StateDir;

use crate::process::{Demo, Place, skipped};

#[test]
fn a_headless_demo_prints_the_passphrase_of_its_browser_and_says_how_its_nodes_ended() {
    // One demo at a time: two would want the same usual port.
    let place = Place::new();
    // What an earlier demo used is held by another program now.
    let holder = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let held = holder.local_addr().unwrap().port();
    place.write("config.toml", &format!("demo = true\nport = {held}\n"));
    let mut demo = Demo::start(&place);
    demo.says(&[&format!(
        "Port {held} is in use by another program; the command centre takes "
    )]);
    let pids = demo.pids();
    demo.says(&["Console, once within two minutes: http://127.0.0.1:"]);
    let line = demo.says(&["passphrase; this demo's is "]);
    let (_, printed) = line.rsplit_once(' ').unwrap();
    let card = keystore::operator_card(&StateDir::at(&place.state())).unwrap();
    assert!(card.unwrap().protected);
    let typed = Passphrase::new(printed.to_owned().into());
    keystore::unlock_operator_key(&StateDir::at(&place.state()), &typed).unwrap();
    // The command line of this directory needs not ask for it.
    let id = place.propose(1);
    let approved = place.run(&["approve", &id, "--wait"]);
    assert_eq!(approved.code, 0, "{approved:?}");
    and_its_end_is_told(demo, pids);
}

/// Kills both nodes: the demo says how each ended, and then ends itself.
fn and_its_end_is_told(mut demo: Demo, [center, field]: [u32; 2]) {
    Demo::kill(field);
    demo.says(&["field", "SIGKILL", "Start it again"]);
    Demo::kill(center);
    let (code, err) = demo.end();
    assert_eq!(code, 1, "{err}");
    for word in ["no node of the demo is left", "center", "field", "SIGKILL"] {
        assert!(err.contains(word), "{word:?} is missing: {err}");
    }
}

#[test]
fn needs_root_a_machine_that_cannot_reach_itself_starts_no_demo_and_says_why() {
    let place = Place::new();
    let mut command = std::process::Command::new("unshare");
    command.arg("--net").arg(place.command().get_program());
    command.arg("demo").arg("--state-dir").arg(place.state());
    command.stdin(std::process::Stdio::null());
    let said = command.output().unwrap();
    let err = String::from_utf8_lossy(&said.stderr);
    if err.contains("unshare failed") {
        return skipped("a demo without a loopback interface", &err);
    }
    assert_eq!(said.status.code(), Some(1), "{err}");
    for word in [
        "could not reach each other",
        "ip link set lo up",
        "Nothing was started",
    ] {
        assert!(err.contains(word), "{word:?} is missing: {err}");
    }
    assert!(!place.state().exists());
}
