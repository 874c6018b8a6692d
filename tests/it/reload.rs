//! Devices that change while their node runs. Real processes, a configuration file that is written meanwhile.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::crash::{Pair, audit_is_whole};
use crate::process::*;
use crate::reserve::{Bed, PUMP};

/// A device of one file.
pub fn board(name: &str, file: &Path) -> String {
    let path = file.display();
    format!(
        "[[device]]\nkind = \"file\"\nname = \"{name}\"\nevery_ms = 50\n[[device.reading]]\nmetric = \"t\"\n\
         zone = \"{name}\"\nunit = \"Cel\"\npath = \"{path}\"\ncheck = {{ range = [0, 90] }}\n"
    )
}

/// A place with files `a` and `b` to read.
pub fn shed() -> (Place, String, String) {
    let place = Place::new();
    let [a, b] = ["a", "b"].map(|name| {
        let file = place.beside(name);
        fs::write(&file, "21\n").unwrap();
        board(name, &file)
    });
    (place, a, b)
}

pub fn read_value(place: &Place, zone: &str) -> Value {
    eventually(&format!("{zone} is read"), || {
        let all = place.json(&["world", "--metric", "t", "--zone", zone]);
        all.get(0).cloned()
    })
}

pub fn names(place: &Place) -> Vec<String> {
    let list = place.json(&["device", "list"]);
    let each = list["devices"].as_array().unwrap().iter();
    each.map(|d| d["name"].as_str().unwrap().to_owned())
        .collect()
}

pub fn alarms(place: &Place) -> Vec<(String, String)> {
    let status: Value = serde_json::from_str(&place.run(&["status", "--json"]).out).unwrap();
    let all = status["alarms"].as_array().unwrap().iter();
    let text = |v: &Value| v.as_str().unwrap().to_owned();
    all.map(|a| (text(&a["kind"]), text(&a["subject"])))
        .collect()
}

pub fn events(place: &Place, kind: &str) -> Vec<Value> {
    let all = place.json(&["events", "--limit", "200"]);
    let all = all.as_array().unwrap().iter();
    all.filter(|e| e["kind"] == kind).cloned().collect()
}

/// When the node was started that runs now.
fn started(place: &Place) -> Value {
    let text = fs::read_to_string(place.state().join("run.json")).unwrap();
    let run: Value = serde_json::from_str(&text).unwrap();
    assert!(run["startedAt"].is_u64(), "{run}");
    run["startedAt"].clone()
}

#[test]
fn a_sensor_that_is_added_is_read_and_one_that_is_removed_takes_its_alarms_with_it() {
    let (place, a, b) = shed();
    place.write("config.toml", &a);
    let node = place.start(&["--role", "field"]);
    read_value(&place, "a");
    let before = started(&place);
    place.write("config.toml", &format!("{a}{b}"));
    let report = place.json(&["device", "reload"]);
    assert_eq!(report["outcome"], "applied", "{report}");
    assert_eq!(report["added"], serde_json::json!(["file b"]));
    assert_eq!(report["unchanged"], 1);
    read_value(&place, "b");
    // One that is doubted, and then gone: two alarms.
    fs::write(place.beside("b"), "700").unwrap();
    let doubted = ("reading.doubted".to_owned(), "t b (b t b)".to_owned());
    eventually("it is doubted", || {
        alarms(&place).contains(&doubted).then_some(())
    });
    fs::remove_file(place.beside("b")).unwrap();
    let failing = ("sensor.failing".to_owned(), "b t b".to_owned());
    eventually("it fails", || {
        alarms(&place).contains(&failing).then_some(())
    });
    place.write("config.toml", &a);
    let said = place.run(&["device", "reload"]);
    assert_eq!(said.code, 0, "{said:?}");
    assert!(said.out.contains("removed: file b"), "{said:?}");
    eventually("its alarm is over", || {
        alarms(&place).is_empty().then_some(())
    });
    assert_eq!(names(&place), ["a"]);
    place
        .run(&["device", "read", "b t b"])
        .fails(3, &["there is no sensor"]);
    assert_eq!(started(&place), before, "it was the same node all along");
    // The same file again changes nothing, and says so.
    let report = place.json(&["device", "reload"]);
    assert_eq!(report["outcome"], "unchanged");
    audit_is_whole(&place);
    assert_eq!(node.stop(), 0);
}

/// The bed's pump by another script, which notes other words.
pub fn other_pump(bed: &Bed) -> String {
    let script = bed.place.beside("other");
    let moves = bed.place.beside("moves").display().to_string();
    let text = format!("#!/bin/sh\necho \"new $1\" >> {moves}\n");
    fs::write(&script, text).unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    let was = fs::read_to_string(bed.place.state().join("config.toml")).unwrap();
    let pump = bed.place.beside("pump").display().to_string();
    was.replace(&pump, &script.display().to_string())
}

#[test]
fn a_pump_that_runs_is_left_alone_and_named_and_an_idle_one_gets_its_new_driver() {
    let bed = Bed::new(600);
    let (node, id) = bed.on();
    let place = &bed.place;
    let was = bed.moves();
    let other = other_pump(&bed);
    let extra = place.beside("a");
    fs::write(&extra, "21").unwrap();
    place.write("config.toml", &format!("{other}{}", board("a", &extra)));
    let said = place.run(&["device", "reload"]);
    let short: String = id.chars().take(8).collect();
    assert_eq!(said.code, 1, "{said:?}");
    for word in ["nothing was changed", PUMP, &short] {
        assert!(said.err.contains(word), "{word}: {said:?}");
    }
    // Neither was the sensor taken that stands beside it, and the pump goes on.
    assert_eq!(names(place), [PUMP]);
    assert_eq!(place.status_of(&id), "executing");
    assert_eq!(bed.moves(), was);
    place.json(&["stop", &id]);
    place.await_status(&id, &["failed"]);
    assert_eq!(bed.moves().last().unwrap(), "off");
    let report = eventually("the end of the run is written down", || {
        let said = place.run(&["device", "reload", "--json"]);
        (said.code == 0).then(|| said.json())
    });
    // It may have been taken by itself meanwhile, since the file is watched.
    assert_ne!(report["outcome"], "refused", "{report}");
    eventually("the new driver has made it safe", || {
        (bed.moves().last()? == "new off").then_some(())
    });
    assert_eq!(names(place), ["a", PUMP]);
    let moved = bed.moves().len();
    let id = bed.propose();
    place.json(&["approve", &id]);
    bed.last("new on");
    place.json(&["stop", &id]);
    place.await_status(&id, &["failed"]);
    assert_eq!(bed.moves()[moved..], ["new on", "new off"]);
    eventually("no alarm stands", || alarms(place).is_empty().then_some(()));
    assert_eq!(node.stop(), 0);
}

#[test]
fn what_was_asked_for_of_the_old_device_does_not_move_the_new_one() {
    let bed = Bed::new(600);
    let (node, id) = bed.on();
    let place = &bed.place;
    place.json(&["stop", &id]);
    place.await_status(&id, &["failed"]);
    let old = bed.propose();
    place.write("config.toml", &other_pump(&bed));
    place.await_status(&old, &["superseded"]);
    let said = place.run(&["approve", &old]);
    assert_ne!(said.code, 0, "{said:?}");
    let shown = place.json(&["show", &old]).to_string();
    assert!(shown.contains("its device was changed"), "{shown}");
    bed.last("new off");
    audit_is_whole(place);
    assert_eq!(node.stop(), 0);
}

#[test]
fn a_device_that_new_labels_make_private_does_not_begin_under_the_old_ones() {
    let (place, a, b) = shed();
    place.write("config.toml", &a);
    let node = place.start(&["--role", "field"]);
    read_value(&place, "a");
    let private = "[privacy]\nzones = [\"b\"]\n";
    place.write("config.toml", &format!("{a}{b}{private}"));
    let said = place.run(&["device", "reload"]);
    assert_eq!(said.code, 2, "{said:?}");
    assert!(said.err.contains("[privacy]"), "{said:?}");
    assert_eq!(names(&place), ["a"]);
    // Labels alone wait for the restart, and are named.
    place.write("config.toml", &format!("{a}{private}"));
    let report = place.json(&["device", "reload"]);
    assert_eq!(report["outcome"], "unchanged", "{report}");
    assert!(
        report["restart"].to_string().contains("privacy"),
        "{report}"
    );
    assert_eq!(node.stop(), 0);
}

#[test]
fn a_wrong_file_changes_nothing_and_every_mistake_is_told() {
    let (place, a, b) = shed();
    place.write("config.toml", &a);
    let node = place.start(&["--role", "field"]);
    read_value(&place, "a");
    let wrong = format!(
        "{b}[[device]]\nkind = \"fiel\"\nname = \"x\"\n[[device]]\nkind = \"sim\"\npace = -3.0\n"
    );
    place.write("config.toml", &wrong);
    let said = place.run(&["device", "reload"]);
    assert_eq!(said.code, 2, "{said:?}");
    for words in [
        "2 mistakes in the configuration, nothing was changed",
        "unknown kind of device \"fiel\"",
        "pace: must be a number from 0 to 1000",
    ] {
        assert!(said.err.contains(words), "{words}: {said:?}");
    }
    let told = place.run(&["device", "reload", "--json"]);
    let report: Value = serde_json::from_str(&told.out).unwrap();
    assert_eq!(report["outcome"], "refused");
    assert_eq!(report["mistakes"].as_array().unwrap().len(), 2);
    assert_eq!(names(&place), ["a"]);
    // What is wrong only where it stands beside another.
    let twice = a.replace("name = \"a\"", "name = \"c\"");
    place.write("config.toml", &format!("{a}{twice}"));
    let said = place.run(&["device", "reload"]);
    assert_eq!(said.code, 2, "{said:?}");
    assert!(said.err.contains("metric and zone already"), "{said:?}");
    // Keys that count after a restart only are named, and the rest is taken.
    place.write("config.toml", &format!("ping_interval_ms = 14000\n{a}{b}"));
    let report = place.json(&["device", "reload"]);
    assert_eq!(report["outcome"], "applied", "{report}");
    assert_eq!(report["restart"], serde_json::json!(["ping_interval_ms"]));
    assert_eq!(names(&place), ["a", "b"]);
    // A file that is gone is no wish to have no devices.
    fs::remove_file(place.state().join("config.toml")).unwrap();
    let said = place.run(&["device", "reload"]);
    assert_eq!(said.code, 2, "{said:?}");
    assert!(
        said.err.contains("there is no such file any more"),
        "{said:?}"
    );
    assert_eq!(names(&place), ["a", "b"]);
    assert_eq!(node.stop(), 0);
}

#[test]
fn the_file_is_watched_and_a_wrong_content_is_told_of_once() {
    let (place, a, b) = shed();
    place.write("config.toml", &a);
    let node = place.start(&["--role", "field"]);
    read_value(&place, "a");
    place.write("config.toml", &format!("{a}[[devi"));
    eventually("it is told of", || events(&place, "devices.refused").pop());
    place.write("config.toml", &format!("{a}{b}"));
    read_value(&place, "b");
    let told = events(&place, "devices.refused");
    assert_eq!(told.len(), 1, "{told:?}");
    let taken = events(&place, "devices.reloaded");
    assert_eq!(taken.len(), 1, "{taken:?}");
    assert!(
        taken[0]["message"]
            .as_str()
            .unwrap()
            .contains("added: file b")
    );
    assert_eq!(node.stop(), 0);
}

#[test]
fn a_node_that_is_killed_while_its_devices_change_starts_with_those_of_the_file() {
    for point in ["refit.before", "refit.after"] {
        let (place, a, b) = shed();
        place.write("config.toml", &a);
        let node = place.start_to_crash(point, &["--role", "field"]);
        read_value(&place, "a");
        place.write("config.toml", &b);
        assert_ne!(place.run(&["device", "reload"]).code, 0, "{point}");
        node.was_killed(point);
        let node = place.start(&["--role", "field"]);
        read_value(&place, "b");
        assert_eq!(names(&place), ["b"], "{point}");
        audit_is_whole(&place);
        assert_eq!(node.stop(), 0);
    }
}

#[test]
fn a_hangup_where_no_terminal_is_reads_the_devices_again() {
    let (place, a, b) = shed();
    place.write("config.toml", &a);
    // A session of its own has no terminal.
    let mut command = Command::new("setsid");
    let plain = place.command();
    command.arg(plain.get_program()).env_clear();
    command.envs(plain.get_envs().filter_map(|(k, v)| Some((k, v?))));
    let flags = ["start", "--json", "--no-discovery", "--port", "0"];
    command.args(flags).arg("--state-dir").arg(place.state());
    command.stdout(std::process::Stdio::piped());
    command.stderr(std::process::Stdio::null());
    let node = Running::of(command.spawn().unwrap());
    read_value(&place, "a");
    place.write("config.toml", &b);
    node.signal("HUP");
    eventually("the devices are those of the file", || {
        (names(&place) == ["b"]).then_some(())
    });
    let taken = events(&place, "devices.reloaded");
    assert!(
        taken[0]["message"].as_str().unwrap().contains("a signal"),
        "{taken:?}"
    );
    assert_eq!(node.stop(), 0);
}

#[test]
fn linked_peers_hear_at_once_what_a_node_offers_now() {
    let pair = Pair::new();
    let centre = pair.start_centre(0);
    let field = pair.start_field(&centre);
    pair.connected();
    let offers = |what: &str| {
        let peers = pair.centre.json(&["peers"]);
        let offers = peers[0]["capabilities"].as_array().unwrap().clone();
        offers.iter().any(|c| c == what)
    };
    assert!(offers(VALVE) && !offers(PUMP));
    let board = pair.field.beside("relay");
    fs::write(&board, "0").unwrap();
    let path = board.display();
    pair.field.write(
        "config.toml",
        &format!(
            "[[device]]\nkind = \"file\"\nname = \"relays\"\n[[device.actuator]]\ncapability = \"{PUMP}\"\nsafe = \"stop\"\n\
             [[device.actuator.operation]]\nname = \"start\"\npath = \"{path}\"\ntext = \"1\"\n\
             [[device.actuator.operation]]\nname = \"stop\"\npath = \"{path}\"\ntext = \"0\"\n"
        ),
    );
    pair.field.json(&["device", "reload"]);
    eventually("the centre knows of it", || offers(PUMP).then_some(()));
    assert_eq!(events(&pair.centre, "peer.connect").len(), 1);
    // The kit that a flag brings is no part of the file, and stays.
    assert!(offers(VALVE));
    pair.field.write("config.toml", "# no devices\n");
    pair.field.json(&["device", "reload"]);
    eventually("the centre knows that it is gone", || {
        (!offers(PUMP)).then_some(())
    });
    assert!(offers(VALVE));
    assert_eq!(field.stop(), 0);
    assert_eq!(centre.stop(), 0);
}

#[test]
fn an_actuator_that_was_left_is_found_again_without_a_restart() {
    let bed = Bed::new(600);
    let (node, _) = bed.on();
    node.kill();
    let was = fs::read_to_string(bed.place.state().join("config.toml")).unwrap();
    bed.place.write("config.toml", "");
    let node = bed.place.start(&[]);
    let left = ("actuator.left".to_owned(), PUMP.to_owned());
    eventually("it is told as left", || {
        (alarms(&bed.place) == [left.clone()]).then_some(())
    });
    bed.place.write("config.toml", &was);
    bed.place.json(&["device", "reload"]);
    eventually("its alarm is over", || {
        alarms(&bed.place).is_empty().then_some(())
    });
    assert_eq!(bed.moves().last().unwrap(), "off");
    assert_eq!(node.stop(), 0);
}
