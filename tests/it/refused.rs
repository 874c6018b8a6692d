//! Starts that are refused, with the real program: what an earlier run left on is made safe first, and
//! nothing is touched where another node runs.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use crate::process::*;

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
    ] {
        let wrong = device.replace("safe =", &format!("{keys}\nsafe ="));
        pump.turn_on();
        pump.place.write("config.toml", &wrong);
        pump.refused(2, word);
        assert_eq!(pump.said(), "on\noff\n", "{wrong}");
    }
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
