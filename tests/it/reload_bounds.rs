//! Changes of the devices that are not taken yet, and what they may not do to what runs. Real processes.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use crate::crash::audit_is_whole;
use crate::process::*;
use crate::reload::{alarms, names, other_pump, shed};
use crate::reserve::{Bed, PUMP};

/// Writes an executable script.
fn script(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn a_table_whose_safe_operation_is_none_for_the_policy_is_not_taken_and_nothing_is_told() {
    let bed = Bed::new(600);
    let was = fs::read_to_string(bed.place.state().join("config.toml")).unwrap();
    let node = bed.place.start(&[]);
    let place = &bed.place;
    let moved = bed.moves();
    let starts = was.replace("safe = \"stop\"", "safe = \"start\"");
    place.write("config.toml", &starts);
    let said = place.run(&["device", "reload"]);
    assert_eq!(said.code, 1, "{said:?}");
    for word in [
        "nothing was changed",
        "safe state is \"stop\"",
        PUMP,
        "\"start\"",
    ] {
        assert!(said.err.contains(word), "{word}: {said:?}");
    }
    assert_eq!(bed.moves(), moved, "it was told nothing");
    // Once the policy says the same it is taken.
    let policy = fs::read_to_string(place.state().join("policy.toml")).unwrap();
    let policy = policy.replace("safe_state = \"stop\"", "safe_state = \"start\"");
    place.write("policy.toml", &policy.replace("[\"start\"]", "[\"stop\"]"));
    eventually("both say the same", || {
        (place.run(&["device", "reload"]).code == 0).then_some(())
    });
    bed.last("on");
    assert_eq!(node.stop(), 0);
}

#[test]
fn a_table_that_is_made_safe_by_what_ends_a_run_waits_for_its_end() {
    let bed = Bed::new(600);
    let (node, id) = bed.on();
    let place = &bed.place;
    let was = fs::read_to_string(place.state().join("config.toml")).unwrap();
    let moved = bed.moves();
    // The same command under another name, and a file that one table writes into beside another.
    let twin = was
        .replace(PUMP, "actuator:pump:twin")
        .replace("\"on\"", "\"twin\"");
    place.write("config.toml", &format!("{was}{twin}"));
    let said = place.run(&["device", "reload"]);
    assert_eq!(said.code, 1, "{said:?}");
    for word in [
        "nothing was changed",
        "actuator:pump:twin",
        PUMP,
        "is moved by proposal",
    ] {
        assert!(said.err.contains(word), "{word}: {said:?}");
    }
    assert_eq!(place.status_of(&id), "executing");
    assert_eq!(bed.moves(), moved);
    place.json(&["stop", &id]);
    place.await_status(&id, &["failed"]);
    eventually("it is taken", || {
        names(place)
            .contains(&"actuator:pump:twin".to_owned())
            .then_some(())
    });
    assert_eq!(node.stop(), 0);
}

#[test]
fn a_wrong_safe_command_is_corrected_without_a_restart_and_not_taken_away() {
    let bed = Bed::new(600);
    let was = fs::read_to_string(bed.place.state().join("config.toml")).unwrap();
    let node = bed.place.start(&[]);
    let place = &bed.place;
    bed.last("off");
    let bad = place.beside("bad");
    script(&bad, "#!/bin/sh\nexit 7\n");
    let off = format!("{}\", \"off", place.beside("pump").display());
    place.write(
        "config.toml",
        &was.replace(&off, &bad.display().to_string()),
    );
    place.json(&["device", "reload"]);
    let wrong = ("actuator.unsafe".to_owned(), PUMP.to_owned());
    eventually("it is not safe", || {
        alarms(place).contains(&wrong).then_some(())
    });
    // Without a table nothing would make it safe.
    place.write("config.toml", "# nothing\n");
    let said = place.run(&["device", "reload"]);
    assert_eq!(said.code, 1, "{said:?}");
    assert!(
        said.err.contains("not confirmed to be in its safe state"),
        "{said:?}"
    );
    assert!(alarms(place).contains(&wrong));
    let moved = bed.moves().len();
    place.write("config.toml", &was);
    eventually("it is taken", || {
        (place.run(&["device", "reload"]).code == 0).then_some(())
    });
    eventually("it is safe by the right command", || {
        (bed.moves().len() > moved && alarms(place).is_empty()).then_some(())
    });
    assert_eq!(bed.moves().last().unwrap(), "off");
    assert_eq!(node.stop(), 0);
}

#[test]
fn an_empty_file_takes_no_device_away() {
    let (place, a, _) = shed();
    place.write("config.toml", &a);
    let node = place.start(&["--role", "field"]);
    for empty in ["", " \n\n"] {
        place.write("config.toml", empty);
        let said = place.run(&["device", "reload"]);
        assert_eq!(said.code, 2, "{said:?}");
        assert!(said.err.contains("it is empty"), "{said:?}");
        assert_eq!(names(&place), ["a"]);
    }
    place.write("config.toml", "# no devices\n");
    let report = place.json(&["device", "reload"]);
    assert_eq!(report["removed"], serde_json::json!(["file a"]), "{report}");
    assert_eq!(node.stop(), 0);
}

#[test]
fn what_was_asked_for_before_a_restart_with_another_device_does_not_move_that_one() {
    let bed = Bed::new(600);
    let (node, id) = bed.on();
    let place = &bed.place;
    place.json(&["stop", &id]);
    place.await_status(&id, &["failed"]);
    let kept = bed.propose();
    assert_eq!(node.stop(), 0);
    // The same table, wherever it stands: it still waits.
    let was = fs::read_to_string(place.state().join("config.toml")).unwrap();
    place.write("config.toml", &format!("# words\n\n{was}"));
    let node = place.start(&[]);
    assert_eq!(place.status_of(&kept), "awaiting_approval");
    node.kill();
    place.write("config.toml", &other_pump(&bed));
    let node = place.start(&[]);
    assert_eq!(place.status_of(&kept), "superseded");
    let said = place.run(&["approve", &kept]);
    assert_ne!(said.code, 0, "{said:?}");
    let shown = place.json(&["show", &kept]).to_string();
    assert!(shown.contains("its device was changed"), "{shown}");
    // What is asked of the new one is asked of the new one.
    let id = bed.propose();
    place.json(&["approve", &id]);
    bed.last("new on");
    audit_is_whole(place);
    assert_eq!(node.stop(), 0);
}
