//! `device discover` at a real broker: what devices keep there for Home Assistant becomes tables, and nothing more.

use serde_json::json;

use crate::mosquitto::{Mosquitto, Probe, is_here};
use crate::process::*;

#[test]
fn what_devices_offer_becomes_tables_and_nothing_is_moved_or_added_by_itself() {
    if !is_here("device discover") {
        return;
    }
    let broker = Mosquitto::start();
    let mut probe = Probe::new(&broker, &["shed/#"]);
    probe.retain(
        "homeassistant/sensor/shed/t/config",
        r#"{"name":"Soil \u001b[31m\"x\"","~":"shed","stat_t":"~/state","unit_of_meas":"°C","dev_cla":"temperature","val_tpl":"{{ value_json.t | float }}","dev":{"name":"Shed"}}"#,
    );
    probe.retain(
        "homeassistant/switch/pump/config",
        r#"{"cmd_t":"shed/pump/set","stat_t":"shed/pump/state","dev":{"name":"Pump"}}"#,
    );
    probe.retain("homeassistant/climate/x/config", "{}");
    probe.all();
    let place = Place::new();
    let url = broker.url();
    let listen = ["device", "discover", "--broker", &url, "--seconds", "1"];
    let said = place.run(&listen);
    assert_eq!(said.code, 0, "{said:?}");
    assert!(!said.out.contains('\u{1b}'), "{said:?}");
    assert!(
        said.out
            .contains("not taken: climate/x: a climate is no number"),
        "{said:?}"
    );
    assert!(said.out.contains("\n#[[device.actuator]]\n"), "{said:?}");
    assert!(
        said.out
            .contains("\n#capability = \"actuator:switch:pump\"\n"),
        "{said:?}"
    );
    // As it is printed it reads, and it has no actuator.
    place.write("config.toml", &said.out);
    let listed = place.json(&["device", "list"]);
    assert_eq!(listed["devices"][0]["actuators"], json!([]), "{listed}");
    assert_eq!(
        listed["devices"][0]["sensors"][0]["values"][0]["unit"],
        "Cel"
    );

    // Written behind what there is; the same again is refused, and nothing is changed then.
    place.write("config.toml", "# mine\nport = 0\n");
    let found = place.json(&[&listen[..], &["--write"]].concat());
    assert_eq!(
        found["found"]["actuators"].as_array().unwrap().len(),
        1,
        "{found}"
    );
    let text = std::fs::read_to_string(place.state().join("config.toml")).unwrap();
    assert!(
        text.starts_with("# mine\nport = 0\n\n[[device]]\n"),
        "{text}"
    );
    assert!(!text.contains("shed/pump"), "{text}");
    place
        .run(&[&listen[..], &["--write", "--name", "again"]].concat())
        .fails_on_lines(2, &["listening", "nothing was written", "temperature shed"]);
    assert_eq!(
        text,
        std::fs::read_to_string(place.state().join("config.toml")).unwrap()
    );
    let _node = place.start(&["--role", "field"]);
    eventually("it is measured", || {
        probe.publish("shed/state", "{\"t\":17.5}");
        let all = place.json(&["world", "--metric", "temperature"]);
        (all.get(0)?["value"] == 17.5).then_some(())
    });
    // Nobody was told anything but what this test published.
    let told = probe.all();
    assert!(
        told.iter().all(|note| note.starts_with("shed/state ")),
        "{told:?}"
    );
}

#[test]
fn a_broker_that_cannot_be_heard_is_told() {
    let place = Place::new();
    for (url, why) in [
        ("mqtt://127.0.0.1:1", "cannot be reached"),
        ("http://x", "no URL of a broker"),
    ] {
        let said = place.run(&["device", "discover", "--broker", url, "--seconds", "2"]);
        said.fails_on_lines(1, &["listening", why]);
    }
}
