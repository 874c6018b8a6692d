//! A field node with a sensor and a pump behind a real MQTT broker.

use serde_json::Value;

use crate::mosquitto::{Mosquitto, Probe, is_here};
use crate::process::{Place, Running, eventually};

const PUMP: &str = "actuator:pump:p1";

const POLICY: &str = "version = 1\n[[rule]]\nname = \"pump\"\ncapability = \"actuator:pump:*\"\noperations = [\"open\"]\n\
                      level = \"L2\"\nsafe_state = \"close\"\ndeadline_sec = 600\nduration_param = \"durationSec\"\n\
                      [rule.params.durationSec]\ntype = \"integer\"\nmin = 1\nmax = 600\nrequired = true\n";

/// A place whose node has a sensor and a pump at this broker.
fn place(broker: &Mosquitto, access: &str) -> Place {
    let place = Place::new();
    let url = broker.url();
    place.write(
        "config.toml",
        &format!(
            "[[device]]\nkind = \"mqtt\"\nname = \"shed\"\nbroker = \"{url}\"\ntimeout_sec = 2\n{access}\
             [[device.reading]]\nmetric = \"moisture\"\nzone = \"z1\"\nunit = \"%\"\ntopic = \"farm/z1/soil\"\n\
             json = \"/soil/moisture\"\n\
             [[device.actuator]]\ncapability = \"{PUMP}\"\nsafe = \"close\"\n\
             [[device.actuator.operation]]\nname = \"open\"\ntopic = \"farm/pump/set\"\npayload = \"ON {{durationSec}}\"\n\
             [[device.actuator.operation]]\nname = \"close\"\ntopic = \"farm/pump/set\"\npayload = \"OFF\"\n"
        ),
    );
    place.write("policy.toml", POLICY);
    place
}

fn start(place: &Place) -> Running {
    place.start(&[
        "--name",
        "field-1",
        "--role",
        "field",
        "--sensor-interval",
        "100",
    ])
}

/// The status, whatever alarms stand.
fn status(place: &Place) -> Value {
    let said = place.run(&["status", "--json"]);
    assert!(matches!(said.code, 0 | 7), "{said:?}");
    serde_json::from_str(&said.out).unwrap()
}

/// Publishes a moisture until the node has it as a frame.
fn measured(place: &Place, probe: &mut Probe, value: f64) -> Value {
    eventually("the reading is a frame", || {
        probe.publish(
            "farm/z1/soil",
            format!("{{\"soil\":{{\"moisture\":{value}}}}}"),
        );
        let all = place.json(&["world", "--metric", "moisture"]);
        let found = all.get(0).filter(|reading| reading["value"] == value);
        found.cloned()
    })
}

/// Asks for the pump and lets a person approve; returns the proposal.
fn approved(place: &Place, seconds: u32) -> String {
    let duration = format!("durationSec={seconds}");
    let draft = place.json(&["propose", PUMP, "open", &duration, "--reason", "dry"]);
    let id = draft["proposalId"].as_str();
    let id = id
        .unwrap_or_else(|| panic!("no proposal: {draft}"))
        .to_owned();
    let standing = place.json(&["approve", &id]);
    assert_eq!(standing["status"], "executing", "{standing}");
    id
}

fn said(all: &[&str]) -> Vec<String> {
    all.iter()
        .map(|what| format!("farm/pump/set {what}"))
        .collect()
}

#[test]
fn a_reading_becomes_a_frame_and_what_a_person_approved_is_published_once() {
    if !is_here("a node with an MQTT broker") {
        return;
    }
    let broker = Mosquitto::with(|dir| {
        let file = dir.join("passwords");
        let mut command = std::process::Command::new("mosquitto_passwd");
        command.args(["-c", "-b"]).arg(&file);
        assert!(command.args(["field", "green"]).status().unwrap().success());
        // The probe comes without a name.
        format!("allow_anonymous true\npassword_file {}\n", file.display())
    });
    let mut probe = Probe::new(&broker, &["farm/pump/#"]);
    let place = place(&broker, "user = \"field\"\npassword = \"device/shed\"\n");
    place.enrolled();
    let node = start(&place);
    let failing = eventually("the sensor says what is missing", || {
        let now = status(&place);
        let sensor = now["sensors"][0].clone();
        (!sensor["problem"].is_null()).then_some(sensor)
    });
    let words = "there is no credential device/shed";
    assert!(failing.to_string().contains(words), "{failing}");
    let set = place.typing(
        &place.state(),
        &["credential", "set", "device/shed"],
        "green\n",
    );
    assert_eq!(set.code, 0, "{set:?}");
    let reading = measured(&place, &mut probe, 21.5);
    assert_eq!(
        (&reading["effectiveTier"], &reading["unit"]),
        (&"T2".into(), &"%".into())
    );
    eventually("the pump is safe", || {
        let now = status(&place);
        now["alarms"].as_array().unwrap().is_empty().then_some(())
    });
    assert_eq!(probe.all(), said(&["OFF"]));
    let id = approved(&place, 1);
    place.await_status(&id, &["completed"]);
    assert_eq!(probe.all(), said(&["ON 1", "OFF"]));
    drop(node);
}

#[test]
fn a_broker_that_dies_in_the_middle_ends_the_run_and_both_come_back() {
    if !is_here("a node whose MQTT broker dies") {
        return;
    }
    let mut broker = Mosquitto::start();
    let mut probe = Probe::new(&broker, &["farm/pump/#"]);
    let place = place(&broker, "");
    place.enrolled();
    let _node = start(&place);
    measured(&place, &mut probe, 20.0);
    let id = approved(&place, 600);
    assert_eq!(probe.next().payload, b"OFF");
    assert_eq!(probe.next().payload, b"ON 600");
    broker.kill();
    eventually("both are told", || {
        let alarms = status(&place)["alarms"].to_string();
        let both = alarms.contains("sensor.failing") && alarms.contains("actuator.unsafe");
        both.then_some(())
    });
    broker.restart();
    let mut probe = Probe::new(&broker, &[]);
    measured(&place, &mut probe, 30.0);
    place.await_status(&id, &["failed"]);
    let ended = place.proposal(&id).unwrap();
    let detail = ended["detail"].as_str().unwrap();
    assert!(
        detail.contains("the connection to the broker was lost"),
        "{ended}"
    );
    eventually("all is told to be well", || {
        let now = status(&place);
        now["alarms"].as_array().unwrap().is_empty().then_some(())
    });
    // It can be moved again.
    let again = approved(&place, 1);
    place.await_status(&again, &["completed"]);
}

#[test]
fn a_node_that_is_killed_leaves_its_will_with_the_broker() {
    if !is_here("a node that dies at an MQTT broker") {
        return;
    }
    let broker = Mosquitto::start();
    let mut probe = Probe::new(&broker, &["farm/pump/#"]);
    let place = place(&broker, "");
    place.enrolled();
    let node = start(&place);
    measured(&place, &mut probe, 20.0);
    let id = approved(&place, 600);
    assert_eq!(probe.next().payload, b"OFF");
    assert_eq!(probe.next().payload, b"ON 600");
    node.kill();
    assert_eq!(probe.next().payload, b"OFF", "the will");
    let _node = start(&place);
    assert_eq!(place.status_of(&id), "unknown");
    assert_eq!(
        probe.all(),
        said(&["OFF"]),
        "safe again, and nothing repeated"
    );
}
