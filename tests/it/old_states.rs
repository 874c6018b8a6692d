//! State directories of earlier releases (`tests/fixtures/state`, made by `scripts/fixture`): each is opened by this program, has
//! in it what its own version said, and goes on.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::process::*;

/// How `scripts/main-job.sh` starts the node.
const AS_THEN: [&str; 10] = [
    "--name",
    "field-1",
    "--role",
    "field",
    "--mesh-name",
    "demo",
    "--no-discovery",
    "--mock-sensor",
    "--mock-actuator",
    "--sensor-interval=100",
];

/// A directory as it was left, and what its own version said of it, as pairs of words.
fn fixtures() -> Vec<(PathBuf, Vec<(String, String)>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/state");
    let files = std::fs::read_dir(folder).unwrap();
    let files = files.map(|file| file.unwrap().path());
    let mut all: Vec<PathBuf> = files
        .filter(|f| f.extension().is_some_and(|e| e == "gz"))
        .collect();
    all.sort();
    let facts = |archive: &PathBuf| {
        let text = archive.with_extension("").with_extension("txt");
        let text = std::fs::read_to_string(text).unwrap();
        let pair = |line: &str| {
            line.split_once(' ')
                .map(|(a, b)| (a.to_owned(), b.to_owned()))
        };
        text.lines().filter_map(pair).collect()
    };
    all.into_iter()
        .map(|archive| (archive.clone(), facts(&archive)))
        .collect()
}

#[test]
fn a_directory_of_every_release_is_opened_with_all_that_is_in_it_and_goes_on() {
    let all = fixtures();
    assert!(!all.is_empty(), "there is a fixture");
    for (archive, facts) in all {
        let place = Place::new();
        place.write("config.toml", "");
        let mut tar = Command::new("tar");
        tar.arg("-xzf").arg(&archive).arg("-C").arg(place.state());
        assert!(tar.status().unwrap().success(), "{}", archive.display());
        let of = |name: &str| -> Vec<String> {
            let mut found: Vec<String> = facts
                .iter()
                .filter(|(key, _)| key == name)
                .map(|(_, v)| v.clone())
                .collect();
            found.sort();
            found
        };
        assert_eq!([place.device()], of("device")[..]);

        let node = place.start(&AS_THEN);
        let texts = |args: &[&str], words: &[&str]| -> Vec<String> {
            let said = place.json(args);
            let one = |entry: &serde_json::Value| {
                let words = words
                    .iter()
                    .map(|word| entry[*word].as_str().unwrap().to_owned());
                words.collect::<Vec<_>>().join(" ")
            };
            let mut found: Vec<String> = said.as_array().unwrap().iter().map(one).collect();
            found.sort();
            found
        };
        assert_eq!(
            texts(&["proposals", "--all"], &["id", "status"]),
            of("proposal")
        );
        assert_eq!(texts(&["trust", "list"], &["deviceId"]), of("trusted"));
        assert_eq!(
            texts(&["operator", "list"], &["operatorId"]),
            of("operator")
        );
        // Its exit code is that of an alarm: the directory is in doubt, as every copy is.
        let status: serde_json::Value =
            serde_json::from_str(&place.run(&["status", "--json"]).out).unwrap();
        let mesh = status["meshId"].as_str().unwrap().to_owned();
        assert_eq!([mesh], of("mesh")[..]);
        let entries: u64 = of("audit")[0].parse().unwrap();
        let audit = place.json(&["audit", "verify"]);
        assert!(
            audit["ok"] == true && audit["entries"].as_u64() >= Some(entries),
            "{audit}"
        );
        node.stop();

        // It is a copy of another machine's directory, which a person has to call the real one; then it acts.
        place.run(&["state", "confirm", "--yes"]);
        let key = place.operator();
        place.json(&[
            "operator", "enroll", &key, "--level", "L2", "--name", "grace",
        ]);
        let _node = place.start(&AS_THEN);
        let id = place.propose(1);
        place.run(&["approve", &id, "--wait"]);
        assert_eq!(
            place.await_status(&id, &["completed", "failed", "unknown"]),
            "completed"
        );
        place.json(&["audit", "verify"]);
    }
}
