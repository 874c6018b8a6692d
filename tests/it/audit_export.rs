//! The audit trail as a file: complete, checkable without the node, and any change to it shows.

use std::path::Path;

use serde_json::Value;

use crate::process::Place;

fn lines(file: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(file).unwrap();
    text.lines().map(str::to_owned).collect()
}

#[test]
fn an_exported_trail_is_checked_anywhere_and_every_change_to_it_shows() {
    let place = Place::new();
    place.enrolled();
    let node = place.field(&[]);
    let id = place.propose(3);
    place.json(&["withdraw", &id]);
    let file = place.beside("trail.jsonl");
    let path = file.to_str().unwrap();
    let said = place.run(&["audit", "export", "--out", path]);
    assert_eq!(said.code, 0, "{}", said.err);
    // What is there is never written over.
    place
        .run(&["audit", "export", "--out", path])
        .fails(1, &["trail.jsonl"]);
    let device = place.device();
    node.kill();

    // Checking takes no node and no state directory.
    let nowhere = place.beside("nowhere");
    let verify = |args: &[&str]| {
        let all = [&["audit", "verify", "--file"], args].concat();
        place.run_at(&nowhere, &all)
    };
    let fine = verify(&[path, "--device", &device, "--json"]).json();
    assert_eq!(
        (&fine["ok"], &fine["deviceId"]),
        (&true.into(), &Value::from(device))
    );
    let written = lines(&file);
    assert_eq!(fine["entries"].as_u64().unwrap() + 1, written.len() as u64);
    assert!(
        written
            .iter()
            .any(|l| l.contains("withdrawn") && l.contains(&id))
    );
    assert!(!nowhere.exists(), "checking makes nothing");

    // The stopped node writes the same entries, now to the standard output.
    let again = place.run(&["audit", "export"]);
    assert_eq!(again.code, 0, "{}", again.err);
    let again: Vec<String> = again.out.lines().map(str::to_owned).collect();
    assert_eq!(again[1..written.len()], written[1..]);

    let bad = place.beside("bad.jsonl");
    let told = |changed: &[String]| {
        std::fs::write(&bad, changed.join("\n")).unwrap();
        verify(&[bad.to_str().unwrap()])
    };
    let mut altered = written.clone();
    let last = altered.len() - 1;
    altered[last] = altered[last].replacen("withdrawn", "completed", 1);
    told(&altered).fails(6, &["has been altered"]);
    let mut missing = written.clone();
    missing.remove(2);
    told(&missing).fails(6, &["entry 2 is missing", "export the trail again"]);
    let mut twice = written.clone();
    twice.push(written[2].clone());
    let said = told(&twice);
    said.fails(6, &["a fault: entry 2 stands after entry 3"]);
    assert!(
        !said.err.contains("to 2") && !said.err.contains("state directory"),
        "{said:?}"
    );
    for line in said.out.lines() {
        let fault = line.strip_prefix("another fault: ").unwrap();
        assert!(!said.err.contains(fault), "told twice: {said:?}");
    }
    let gone = place.beside("gone.jsonl");
    verify(&[gone.to_str().unwrap()]).fails(3, &["gone.jsonl"]);
    place
        .run(&["audit", "export", "--out", bad.to_str().unwrap()])
        .fails(1, &["bad.jsonl", "is left as it is", "another file"]);
    told(&written[..last]).fails(6, &["the chain ends at entry"]);
    // Nor can the end be moved: the first line is signed.
    let mut shorter = written[..last].to_vec();
    let mut opening: Value = serde_json::from_str(&shorter[0]).unwrap();
    opening["entries"] = (last - 1).into();
    let end: Value = serde_json::from_str(&shorter[last - 1]).unwrap();
    opening["head"] = end["hash"].clone();
    shorter[0] = opening.to_string();
    told(&shorter).fails(6, &["line 1 is not signed"]);
    told(&["{}".to_owned()]).fails(6, &["line 1"]);
    told(&[]).fails(6, &["empty"]);
    std::fs::write(&bad, [0xff, 0xfe, b'\n']).unwrap();
    verify(&[bad.to_str().unwrap()]).fails(6, &["line 1", "UTF-8"]);
    std::fs::write(&bad, vec![b'x'; 3_000_000]).unwrap();
    verify(&[bad.to_str().unwrap()]).fails(6, &["line 1", "longer"]);

    // A whole and sound trail of somebody else is not this device's.
    let other = Place::new();
    other.enrolled();
    let theirs = other.beside("theirs.jsonl");
    let theirs = theirs.to_str().unwrap();
    other.run(&["audit", "export", "--out", theirs]);
    assert_eq!(verify(&[theirs]).code, 0);
    let device = place.device();
    verify(&[theirs, "--device", &device]).fails(6, &["not of", &device]);
}
