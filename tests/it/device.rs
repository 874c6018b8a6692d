//! `device …`: what a person in the field sees of sensors and actuators, with and without a running node; and sensors that
//! measure the same thing.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::process::{Place, eventually};

/// A device of files, one a zone.
fn board(name: &str, files: &[(&str, &Path)]) -> String {
    let mut text = format!("[[device]]\nkind = \"file\"\nname = \"{name}\"\nevery_ms = 50\n");
    for (zone, file) in files {
        let path = file.display();
        text += &format!(
            "[[device.reading]]\nmetric = \"t\"\nzone = \"{zone}\"\nunit = \"Cel\"\npath = \"{path}\"\nscale = 0.1\n\
             check = {{ range = [0, 90] }}\n"
        );
    }
    text
}

fn pump(place: &Place) -> String {
    let moved = place.beside("moved").display().to_string();
    format!(
        "[[device]]\nkind = \"exec\"\ncapability = \"actuator:pump:main\"\nsafe = \"stop\"\n\
         [[device.operation]]\nname = \"start\"\nargv = [\"/usr/bin/touch\", \"{moved}\"]\n\
         [[device.operation]]\nname = \"stop\"\nargv = [\"/usr/bin/touch\", \"{moved}\"]\n"
    )
}

#[test]
fn devices_are_tried_without_a_node_and_nothing_is_moved() {
    let place = Place::new();
    let (a, b) = (place.beside("a"), place.beside("b"));
    fs::write(&a, "215\n").unwrap();
    let text = board("shed", &[("a", &a), ("b", &b)]) + &pump(&place);
    place.write("config.toml", &text);

    let listed = place.json(&["device", "list"]);
    assert_eq!(listed["running"], false);
    let devices = &listed["devices"];
    assert_eq!(devices[0]["kind"], "file");
    assert_eq!(devices[0]["sensors"][1]["values"][0]["zone"], "b");
    assert_eq!(
        devices[1]["actuators"][0]["capability"],
        "actuator:pump:main"
    );

    let read = place.json(&["device", "read", "shed t a"]);
    let value = &read[0]["values"][0];
    assert_eq!(
        (&value["raw"], &value["value"]),
        (&215.0.into(), &21.5.into())
    );
    assert!(value["doubt"].is_null(), "{read}");
    fs::write(&a, "9150\n").unwrap();
    let said = place.run(&["device", "read", "shed t a"]);
    assert!(
        said.out.contains("shed t a: 915 Cel (raw 9150)"),
        "{said:?}"
    );
    assert!(
        said.out
            .contains("not believed: outside its range of 0 to 90"),
        "{said:?}"
    );

    let said = place.run(&["device", "read", "shed"]);
    said.fails(1, &["shed t b: ", "No such file"]);
    place
        .run(&["device", "read", "shde t a"])
        .fails(3, &["did you mean \"shed t a\"?"]);
    place
        .run(&["device", "test", "pump"])
        .fails(3, &["did you mean \"actuator:pump:main\"?"]);

    let said = place.run(&["device", "test"]);
    assert_eq!(said.code, 6, "{said:?}");
    assert!(said.out.contains("FAILS"), "{said:?}");
    fs::write(&b, "300").unwrap();
    let said = place.run(&["device", "test"]);
    assert_eq!(said.code, 0, "{said:?}");
    assert!(said.out.contains("actuator:pump:main"), "{said:?}");
    assert!(!place.beside("moved").exists(), "something was moved");
}

#[test]
fn every_mistake_of_the_configuration_is_told_with_file_line_and_key() {
    let place = Place::new();
    let text = "[[device]]\nkind = \"file\"\nname = \"a\"\n[[device.reading]]\nmetric = \"t\"\npath = \"temp\"\n\
                [[device]]\nkind = \"fiel\"\n\
                [[device]]\nkind = \"sim\"\npaec = 3.0\n\
                [[device]]\nkind = \"sim\"\npace = -1.0\n";
    place.write("config.toml", text);
    let said = place.run(&["device", "test"]);
    assert_eq!(said.code, 2, "{said:?}");
    for words in [
        "4 mistakes",
        "config.toml, line 1: file a: reading t: path: temp must be an absolute path",
        "config.toml, line 8: unknown kind of device \"fiel\"",
        "config.toml, line 11: unknown field `paec`",
        "config.toml, line 12: sim: pace: must be a number from 0 to 1000",
    ] {
        assert!(said.err.contains(words), "{words}: {said:?}");
    }
    let told = place.run(&["device", "test", "--json"]);
    let told: Value = serde_json::from_str(&told.out).unwrap();
    assert_eq!(told["mistakes"].as_array().unwrap().len(), 4);
}

#[test]
fn a_running_node_is_asked_and_keeps_its_devices() {
    let place = Place::new();
    let a = place.beside("a");
    fs::write(&a, "215\n").unwrap();
    // So rarely that a look is what reads it again.
    let text = board("shed", &[("a", &a)]).replace("every_ms = 50", "every_ms = 3000000");
    place.write("config.toml", &(text + &pump(&place)));
    let node = place.start(&["--role", "field"]);
    let of = |list: &Value| list["devices"][0]["sensors"][0].clone();
    let first = eventually("it is read and the pump is safe", || {
        let list = place.json(&["device", "list"]);
        assert_eq!(list["running"], true);
        let safe = list["devices"][1]["actuators"][0]["safe"] == true;
        (safe && of(&list)["values"][0]["value"] == 21.5).then_some(list)
    });
    assert!(of(&first)["lastReadingAt"].is_u64());
    fs::write(&a, "220\n").unwrap();
    let read = place.json(&["device", "read", "shed"]);
    assert_eq!(read[0]["values"][0]["value"], 22.0);
    let tested = place.json(&["device", "test"]);
    assert_eq!(tested["running"], true);
    place
        .run(&["device", "read", "shad"])
        .fails(3, &["did you mean \"shed\"?"]);
    fs::remove_file(&a).unwrap();
    place
        .run(&["device", "test"])
        .fails(6, &["does not answer as it should"]);
    assert_eq!(node.stop(), 0);
}

/// The newest value of a zone, once it fits.
fn world(place: &Place, zone: &str, fits: impl Fn(&Value) -> bool) -> Value {
    eventually(&format!("{zone} is like that"), || {
        let all = place.json(&["world", "--metric", "t", "--zone", zone]);
        all.get(0).filter(|fact| fits(fact)).cloned()
    })
}

#[test]
fn one_sensor_of_three_that_lies_moves_nothing_and_two_that_disagree_are_both_doubted() {
    let place = Place::new();
    let zones = ["a", "b", "c"];
    let files = zones.map(|zone| place.beside(zone));
    let say = |which: usize, text: &str| fs::write(&files[which], text).unwrap();
    (0..3).for_each(|which| say(which, ["200", "203", "201"][which]));
    let each: Vec<(&str, &Path)> = zones
        .into_iter()
        .zip(files.iter().map(|f| f.as_path()))
        .collect();
    let group = "[[redundant]]\nmetric = \"t\"\nzone = \"boiler\"\nreadings = [\"shed t a\", \"shed t b\", \"shed t c\"]\n\
                 agree_within = 0.5\n";
    place.write("config.toml", &(board("shed", &each) + group));
    let node = place.start(&["--role", "field"]);
    let tier = |fact: &Value, tier: &str| fact["effectiveTier"] == tier;
    world(&place, "boiler", |fact| {
        fact["value"] == 20.1 && tier(fact, "T2")
    });
    for zone in zones {
        world(&place, zone, |fact| tier(fact, "T2"));
    }
    // One lies.
    say(2, "850");
    world(&place, "c", |fact| {
        fact["value"] == 85.0 && tier(fact, "T1")
    });
    world(&place, "boiler", |fact| {
        fact["value"] == 20.3 && tier(fact, "T2")
    });
    world(&place, "a", |fact| tier(fact, "T2"));
    let frames = place.json(&["frames", "--limit", "40"]).to_string();
    assert!(frames.contains("\"contradicted\""), "{frames}");
    assert!(
        !frames.contains("\"value\":85.0,\"zone\":\"boiler\""),
        "{frames}"
    );
    // It is gone, and the two that are left disagree.
    fs::remove_file(&files[2]).unwrap();
    say(1, "300");
    world(&place, "b", |fact| {
        fact["value"] == 30.0 && tier(fact, "T1")
    });
    world(&place, "a", |fact| tier(fact, "T1"));
    world(&place, "boiler", |fact| tier(fact, "T1"));
    // They agree again.
    say(1, "202");
    world(&place, "boiler", |fact| {
        fact["value"] == 20.1 && tier(fact, "T2")
    });
    assert_eq!(node.stop(), 0);
}

#[test]
fn redundant_readings_are_those_of_the_node_under_names_of_their_own() {
    let place = Place::new();
    let a = place.beside("a");
    let devices = board("shed", &[("a", &a), ("b", &a)]);
    for (table, words) in [
        (
            "zone = \"boiler\"\nreadings = [\"shed t a\", \"shed t x\"]",
            "redundant t boiler: readings: there is no sensor \"shed t x\"; did you mean",
        ),
        (
            "zone = \"a\"\nreadings = [\"shed t a\", \"shed t b\"]",
            "redundant t a: shed t a is published as this metric and zone already",
        ),
        (
            "zone = \"boiler\"\nreadings = [\"shed t a\", \"shed t a\"]",
            "shed t a is named twice",
        ),
        (
            "zone = \"boiler\"\nreadings = [\"shed t a\"]",
            "redundant.readings: must name 2 to 16 sensors",
        ),
        (
            "zone = \"boiler\"\nreadings = [\"shed t a\", \"shed t b\"]\nof = 1",
            "redundant.of: must be 2 to 2",
        ),
        (
            "zone = \"boiler\"\nreadings = [\"shed t a\", \"shed t b\"]\n[privacy]\nzones = [\"b\"]",
            "shed t b is private and what it agrees on is not",
        ),
    ] {
        let table = format!("[[redundant]]\nmetric = \"t\"\nagree_within = 1\n{table}\n");
        place.write("config.toml", &(devices.clone() + &table));
        let said = place.run(&["start", "--port", "0"]);
        assert_eq!(said.code, 2, "{said:?}");
        assert!(said.err.contains(words), "{said:?}");
    }
}

#[test]
fn a_doubt_of_a_reading_itself_is_told_while_its_group_has_just_begun() {
    let place = Place::new();
    let (a, b) = (place.beside("a"), place.beside("b"));
    // Out of its range; the other one is not there yet, so that nothing is known of the group.
    fs::write(&a, "9150").unwrap();
    let group = "[[redundant]]\nmetric = \"t\"\nzone = \"boiler\"\nreadings = [\"shed t a\", \"shed t b\"]\n\
                 agree_within = 1\nwithin_sec = 3600\n";
    place.write(
        "config.toml",
        &(board("shed", &[("a", &a), ("b", &b)]) + group),
    );
    let node = place.start(&["--role", "field"]);
    eventually("the alarm stands", || {
        let status = place.json(&["status"]);
        let alarms = status["alarms"].as_array().unwrap();
        let doubted = alarms
            .iter()
            .find(|alarm| alarm["kind"] == "reading.doubted")?;
        doubted["message"]
            .as_str()?
            .contains("outside its range")
            .then_some(())
    });
    assert_eq!(node.stop(), 0);
}

#[test]
fn a_command_that_hangs_in_a_reading_ends_with_a_killed_node() {
    let place = Place::new();
    let (script, note) = (place.beside("hangs"), place.beside("pid"));
    fs::write(
        &script,
        format!("echo $$ > {}\nexec sleep 600\n", note.display()),
    )
    .unwrap();
    let text = format!(
        "[[device]]\nkind = \"exec\"\n[[device.reading]]\nmetric = \"t\"\nargv = [\"/bin/sh\", \"{}\"]\n",
        script.display()
    );
    place.write("config.toml", &text);
    let node = place.start(&["--role", "field"]);
    let pid: u32 = eventually("the command runs", || {
        fs::read_to_string(&note).ok()?.trim().parse().ok()
    });
    let runs = || {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        stat.rsplit_once(") ")
            .is_some_and(|(_, rest)| !rest.starts_with('Z'))
    };
    assert!(runs());
    node.kill();
    eventually("it has ended", || (!runs()).then_some(()));
}
