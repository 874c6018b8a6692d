//! Starts that are refused, with the real program: what an earlier run left on is made safe first, and
//! nothing is touched where another node runs.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use clawmesh::domain::base::limits::RESCUE_FILE_MAX_BYTES;

use crate::process::*;
#[cfg(target_os = "linux")]
use crate::reserve::{Bed, PUMP};

/// A state directory with a pump that is a shell script, as an earlier run left it: on.
struct Pump {
    place: Place,
    log: PathBuf,
}

impl Pump {
    fn left_on() -> Self {
        let place = Place::new();
        let (script, log) = (place.beside("pump.sh"), place.beside("pump.log"));
        let text = format!("#!/bin/sh\necho \"$1\" >> {}\n", log.display());
        std::fs::write(&script, text).unwrap();
        std::fs::set_permissions(&script, PermissionsExt::from_mode(0o700)).unwrap();
        place.write("config.toml", &actuator(&script.display().to_string()));
        let pump = Self { place, log };
        pump.turn_on();
        pump
    }

    fn turn_on(&self) {
        std::fs::write(&self.log, "on\n").unwrap();
    }

    fn said(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }

    /// Starts a node that must be refused with these words.
    fn refused(&self, code: i32, word: &str) {
        let said = self.place.run(&["start", "--port", "0"]);
        assert_eq!(said.code, code, "{said:?}");
        assert!(said.err.contains(word), "{word:?}: {said:?}");
    }

    fn config(&self) -> String {
        std::fs::read_to_string(self.place.state().join("config.toml")).unwrap()
    }
}

fn actuator(script: &str) -> String {
    format!(
        "[[actuator]]\ncapability = \"actuator:pump:main\"\nsafe = \"stop\"\n\
         [[actuator.operation]]\nname = \"start\"\nargv = [\"{script}\", \"on\"]\n\
         [[actuator.operation]]\nname = \"stop\"\nargv = [\"{script}\", \"off\"]\n"
    )
}

#[test]
fn every_refused_start_makes_safe_what_it_can_find_first() {
    let pump = Pump::left_on();
    let good = pump.config();
    for (wrong, word) in [
        (format!("nmae = 'x'\n{good}"), "nmae"),
        (format!("port = = 1\n{good}"), "port = = 1"),
        (format!("role = 'boss'\n{good}"), "boss"),
        (format!("{good}[[rule]]\nname = 'x'\n"), "rule"),
        (good.replace("safe =", "saef = 1\nsafe ="), "saef"),
        (
            format!("{good}[[actuator]]\ncapability = 'pump'\nsafe = 'x'\noperation = []\n"),
            "pump",
        ),
    ] {
        pump.turn_on();
        pump.place.write("config.toml", &wrong);
        pump.refused(2, word);
        assert_eq!(pump.said(), "on\noff\n", "{wrong}");
    }
    // As a device, with its kind right and wrong.
    let device = good.replace("[[actuator", "[[device");
    for (keys, word) in [
        ("kind = 'exec'\nsaef = 1", "saef"),
        ("kind = 'exce'", "exce"),
        ("kind = 'host'", "unknown field"),
        ("kind = 'sim'", "unknown field"),
        ("kind = 'gen1'", "unknown field"),
        (
            "kind = 'exec'\ntimeout_sec = 99999999999999999999",
            "timeout_sec",
        ),
    ] {
        let wrong = device.replace("safe =", &format!("{keys}\nsafe ="));
        pump.turn_on();
        pump.place.write("config.toml", &wrong);
        pump.refused(2, word);
        assert_eq!(pump.said(), "on\noff\n", "{wrong}");
    }
    for (wrong, code) in [
        (good.replace("[[actuator]]", "[actuator]").into_bytes(), 2),
        (good.replace('\n', "\r").into_bytes(), 2),
        ([good.as_bytes(), b"# f\xfcr\n"].concat(), 5),
        ([good.as_bytes(), b"\0"].concat(), 5),
    ] {
        pump.turn_on();
        std::fs::write(pump.place.state().join("config.toml"), &wrong).unwrap();
        pump.refused(code, "config.toml");
        assert_eq!(pump.said(), "on\noff\n", "{wrong:?}");
    }
    // One that is too large for a start; what lies too deep in it is said.
    let much = "# a log was sent here\n".repeat(100_000);
    let pads = usize::try_from(RESCUE_FILE_MAX_BYTES).unwrap() / much.len() + 1;
    for (wrong, off) in [
        (format!("{good}{much}"), true),
        (format!("{much}{good}"), true),
        (format!("{good}{}", much.repeat(pads)), true),
        (format!("{}{good}", much.repeat(pads)), false),
    ] {
        pump.turn_on();
        pump.place.write("config.toml", &wrong);
        pump.refused(2, "1048576 bytes");
        let (rest, said) = (
            wrong.len() / much.len() >= pads,
            pump.place.run(&["start"]).err,
        );
        assert_eq!(said.contains("those behind them stay"), rest, "{said}");
        assert_eq!(pump.said().starts_with("on\noff\n"), off, "{said}");
    }
    let config = pump.place.state().join("config.toml");
    std::fs::remove_file(&config).unwrap();
    std::fs::create_dir(&config).unwrap();
    pump.refused(5, "it alone names stay as they are");
    std::fs::remove_dir(&config).unwrap();
    pump.place.write("config.toml", &good);
    // A command line that is none.
    for words in [
        &["start", "--prot", "0"][..],
        &["--log", "info", "start", "--port", "x"],
    ] {
        pump.turn_on();
        let said = pump.place.run(words);
        assert_eq!(said.code, 2, "{said:?}");
        assert_eq!(pump.said(), "on\noff\n", "{words:?}");
    }
    pump.turn_on();
    pump.place
        .run(&["propose", "actuator:pump:main", "start", "--prot"]);
    assert_eq!(pump.said(), "on\n", "another command touches nothing");
    // A lock that cannot be opened, as on a disk that takes no writes.
    pump.turn_on();
    let lock = pump.place.state().join("lock");
    std::fs::remove_file(&lock).unwrap();
    std::fs::create_dir(&lock).unwrap();
    pump.refused(5, "lock");
    assert_eq!(pump.said(), "on\noff\n");
    std::fs::remove_dir(&lock).unwrap();
    // Where others could have written the command, none is run.
    pump.turn_on();
    let mode = |mode| PermissionsExt::from_mode(mode);
    std::fs::set_permissions(pump.place.state(), mode(0o777)).unwrap();
    pump.refused(5, "chmod 700");
    assert_eq!(pump.said(), "on\n");
    std::fs::set_permissions(pump.place.state(), mode(0o700)).unwrap();
}

#[test]
fn a_refused_start_touches_no_actuator_of_a_running_node() {
    let pump = Pump::left_on();
    let good = pump.config();
    let node = pump.place.start(&[]);
    eventually("the node has made it safe", || {
        (pump.said() == "on\noff\n").then_some(())
    });
    pump.turn_on();
    pump.refused(5, "is in use");
    pump.place
        .write("config.toml", &format!("nmae = 'x'\n{good}"));
    pump.refused(2, "nmae");
    // Somebody deleted the lock file: the directory itself is held as well.
    std::fs::remove_file(pump.place.state().join("lock")).unwrap();
    pump.refused(2, "nmae");
    pump.place.write("config.toml", &good);
    pump.refused(5, "is in use");
    assert_eq!(pump.said(), "on\n");
    node.stop();
}

#[test]
fn an_identity_that_vanished_is_not_made_anew() {
    let pump = Pump::left_on();
    let device = pump.place.device();
    pump.place.start(&[]).stop();
    let file = pump.place.state().join("identity.json");
    let kept = pump.place.beside("kept.json");
    std::fs::rename(&file, &kept).unwrap();
    pump.turn_on();
    pump.refused(5, "clawmesh-node restore");
    assert_eq!(pump.said(), "on\noff\n");
    pump.place
        .run(&["identity"])
        .fails(5, &["identity.json is missing"]);
    assert!(!file.exists());
    std::fs::rename(&kept, &file).unwrap();
    assert_eq!(pump.place.device(), device);
    pump.place.start(&[]).stop();
}

#[cfg(target_os = "linux")]
/// A pump that is on after its node was killed, and that can be turned off again.
fn left_on_by_a_killed_node() -> (Bed, String) {
    let bed = Bed::new(600);
    let (node, id) = bed.on();
    let broken = bed.place.beside("broken");
    std::fs::write(&broken, "").unwrap();
    bed.ends_with_its_standby(node);
    std::fs::remove_file(&broken).unwrap();
    assert_eq!(bed.moves(), ["off", "on"]);
    (bed, id)
}

#[cfg(target_os = "linux")]
fn config_of(bed: &Bed) -> String {
    std::fs::read_to_string(bed.place.state().join("config.toml")).unwrap()
}

#[cfg(target_os = "linux")]
#[test]
fn a_refused_start_names_what_was_moved_and_is_not_safe() {
    let (bed, id) = left_on_by_a_killed_node();
    let good = config_of(&bed);
    let short = id.get(..8).unwrap();
    let start = ["start", "--port", "0"];
    let names = |what: &str, code: i32| {
        let said = bed.place.run(&start);
        assert_eq!(said.code, code, "{what}: {said:?}");
        let (log, error): (Vec<&str>, Vec<&str>) =
            said.err.lines().partition(|line| line.contains("ERROR"));
        for lines in [log, error] {
            let names = |line: &&str| line.contains(PUMP) && line.contains(short);
            let line = lines.iter().find(|line| names(line));
            assert!(
                line.is_some_and(|line| line.contains("by hand")),
                "{what}: {said:?}"
            );
        }
        assert_eq!(bed.moves(), ["off", "on"], "{what}");
    };
    let torn = good.replace("safe = \"stop\"", "safe = \"sto");
    for (what, config) in [
        ("no block of it", "port = = 1\n".to_owned()),
        ("a block that does not read", torn),
    ] {
        bed.place.write("config.toml", &config);
        names(what, 2);
    }
    // A command line that is none, and a start that comes further.
    bed.place.write("config.toml", "");
    let said = bed.place.run(&["start", "--prot", "0"]);
    assert!(said.code == 2 && said.err.contains(PUMP), "{said:?}");
    let identity = bed.place.state().join("identity.json");
    let kept = bed.place.beside("kept.json");
    std::fs::rename(&identity, &kept).unwrap();
    names("without an identity", 5);
    std::fs::rename(&kept, &identity).unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let said = bed.place.run(&["start", "--port", &port]);
    assert!(said.code == 1 && said.err.contains(PUMP), "{said:?}");
    // Its own block back, with a fault elsewhere.
    bed.place
        .write("config.toml", &format!("port = = 1\n{good}"));
    let said = bed.place.run(&start);
    assert!(said.code == 2 && !said.err.contains("by hand"), "{said:?}");
    assert_eq!(bed.moves(), ["off", "on", "off"]);
    // Where the list itself does not read, that is said.
    std::fs::write(bed.place.state().join("clawmesh.db"), "damaged").unwrap();
    for words in ["known from moved.json alone", "look at every actuator"] {
        let said = bed.place.run(&start);
        assert!(said.code == 2 && said.err.contains(words), "{said:?}");
        let _ = std::fs::remove_file(bed.place.state().join("moved.json"));
    }
    // Also where the configuration is whole and knows of no actuator.
    bed.place.write("config.toml", "");
    let said = bed.place.run(&start);
    let words = "look at every actuator";
    assert!(said.code == 5 && said.err.contains(words), "{said:?}");
}

#[cfg(target_os = "linux")]
#[test]
fn what_was_moved_is_known_where_the_store_is_damaged() {
    let bed = Bed::new(600);
    let (node, id) = bed.on();
    let copy = bed.place.state().join("moved.json");
    let copied = || std::fs::read_to_string(&copy).unwrap_or_default();
    eventually("the movement is in the copy", || {
        copied().contains(&id).then_some(())
    });
    let broken = bed.place.beside("broken");
    std::fs::write(&broken, "").unwrap();
    bed.ends_with_its_standby(node);
    std::fs::remove_file(&broken).unwrap();
    std::fs::write(bed.place.state().join("clawmesh.db"), "damaged").unwrap();
    let good = config_of(&bed);
    // Its block is gone, and there are two of it of which one is certain.
    bed.place.write("config.toml", "port = = 1\n");
    let said = bed.place.run(&["start", "--port", "0"]);
    let short = id.get(..8).unwrap();
    assert!(
        said.err.contains(PUMP) && said.err.contains(short),
        "{said:?}"
    );
    let other = good.replace("\"off\"", "\"on\"");
    bed.place.write("config.toml", &format!("{good}{other}"));
    bed.place.run(&["start", "--port", "0"]);
    assert_eq!(bed.moves(), ["off", "on", "off"]);
}

#[cfg(target_os = "linux")]
#[test]
fn the_copy_of_what_was_moved_follows_the_store() {
    let bed = Bed::new(600);
    let (node, id) = bed.on();
    let copy = bed.place.state().join("moved.json");
    let says = |text: &str| {
        eventually("the copy follows", || {
            let copied = std::fs::read_to_string(&copy).unwrap_or_default();
            copied.contains(text).then_some(copied)
        })
    };
    says(&id);
    bed.place.json(&["stop", &id]);
    says("[]");
    assert_eq!(node.stop(), 0);
}

#[cfg(target_os = "linux")]
#[test]
fn of_two_safe_commands_the_one_of_the_last_movement_is_run_or_none() {
    let (bed, _) = left_on_by_a_killed_node();
    let good = config_of(&bed);
    let other = good.replace("\"off\"", "\"on\"");
    for both in [format!("{good}{other}"), format!("{other}{good}")] {
        bed.place.write("config.toml", &both);
        let before = bed.moves();
        let said = bed.place.run(&["start", "--port", "0"]);
        assert_eq!(said.code, 2, "{said:?}");
        assert!(!said.err.contains("essential"), "{said:?}");
        assert_eq!(bed.moves(), [&before[..], &["off".to_owned()]].concat());
    }
    let third = good.replace("\"off\"", "\"slow\"");
    bed.place.write("config.toml", &format!("{other}{third}"));
    let before = bed.moves();
    let said = bed.place.run(&["start", "--port", "0"]);
    assert!(said.err.contains("none is certain"), "{said:?}");
    assert!(
        said.code == 2 && !said.err.contains("essential"),
        "{said:?}"
    );
    assert_eq!(bed.moves(), before);
    // The same one twice is certain.
    bed.place.write("config.toml", &format!("{good}{good}"));
    let said = bed.place.run(&["start", "--port", "0"]);
    assert!(
        said.code == 2 && !said.err.contains("essential"),
        "{said:?}"
    );
    assert_eq!(bed.moves(), [&before[..], &["off".to_owned()]].concat());
}

/// What the words say for a damaged store is done, and the node operates again.
#[test]
fn what_is_advised_for_a_damaged_database_works() {
    let place = Place::new();
    place.field(&[]).stop();
    let device = place.device();
    std::fs::write(place.state().join("clawmesh.db"), [0xff_u8; 8_192]).unwrap();
    let said = place.run(&["start", "--port", "0"]);
    // Also that what was moved is not known for certain.
    said.fails_on_lines(5, &["look at", "clawmesh-node restore", "look at"]);
    let (_, advised) = said.err.split_once("move clawmesh.db").unwrap();
    let (advised, _) = advised.split_once("out of the directory").unwrap();
    for file in std::fs::read_dir(place.state()).unwrap() {
        let file = file.unwrap();
        let name = file.file_name().into_string().unwrap();
        if name == "clawmesh.db" || advised.contains(&name) {
            std::fs::rename(file.path(), place.beside(&format!("away-{name}"))).unwrap();
        }
    }
    let node = place.field(&[]);
    assert_eq!(place.device(), device);
    let status = place.run(&["status"]);
    assert!(status.out.contains("does not operate"), "{status:?}");
    node.stop();
    place.json(&["state", "confirm", "--yes"]);
    let node = place.field(&[]);
    let status = place.json(&["status"]);
    assert_eq!(status["alarms"], serde_json::json!([]));
    let id = place.propose(1);
    assert_eq!(place.status_of(&id), "awaiting_approval");
    node.stop();
}
