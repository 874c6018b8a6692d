//! Secrets of providers, devices and channels: kept sealed, shown when asked alone, found nowhere else, and not lost when
//! the key that seals them changes or the process dies in between.

use std::path::Path;

use serde_json::Value;

use crate::process::*;

const SECRET: &str = "planted-7c1f0b9d2e";
const OTHER: &str = "planted-55aa91e3f4";

fn set(place: &Place, name: &str, secret: &str) -> Said {
    let args = ["credential", "set", name];
    place.typing(&place.state(), &args, &format!("{secret}\n"))
}

/// Every file below a directory that holds these bytes.
fn holders(dir: &Path, what: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let kind = std::fs::symlink_metadata(&path).unwrap().file_type();
        if kind.is_dir() {
            found.extend(holders(&path, what));
        } else if kind.is_file() {
            let bytes = std::fs::read(&path).unwrap();
            let holds = bytes
                .windows(what.len())
                .any(|part| part == what.as_bytes());
            found.extend(holds.then(|| path.display().to_string()));
        }
    }
    found
}

#[test]
fn a_secret_is_printed_when_asked_for_alone_and_stands_nowhere_in_the_open() {
    let place = Place::new();
    let said = set(&place, "provider/openai", SECRET);
    assert_eq!(said.code, 0, "{said:?}");
    let node = place.field(&["--log", "trace"]);
    // A running node is told, and its audit trail has it.
    let said = set(&place, "channel/telegram", OTHER);
    assert!(
        said.code == 0 && said.out.contains("running node"),
        "{said:?}"
    );
    let trail = place
        .run(&["audit", "show", "--limit", "200", "--json"])
        .out;
    assert!(trail.contains("channel/telegram"), "{trail}");

    let listed = place.json(&["credential", "list"]);
    let names: Vec<&str> = listed
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["channel/telegram", "provider/openai"]);
    for one in listed.as_array().unwrap() {
        assert!(one["setAtMs"].is_u64(), "{one}");
        assert!(
            one["keptIn"]
                .as_str()
                .unwrap()
                .ends_with("credentials.json")
        );
        assert_eq!(one["openedBy"], "the device's key, identity.json");
    }
    let quiet = place.run(&["credential", "get", "provider/openai"]);
    assert!(
        quiet.code == 0 && quiet.out.contains("--reveal"),
        "{quiet:?}"
    );
    let shown = place.run(&["credential", "get", "provider/openai", "--reveal"]);
    assert_eq!((shown.code, shown.out), (0, format!("{SECRET}\n")));

    let mut told = vec![listed.to_string(), quiet.out, trail];
    for args in [
        &["status", "--json"][..],
        &["events", "--json", "--limit", "200"],
        &["world", "--json"],
        &["model", "list", "--json"],
    ] {
        told.push(place.run(args).out);
    }
    let proc = format!("/proc/{}", node.id());
    for file in ["environ", "cmdline"] {
        let bytes = std::fs::read(format!("{proc}/{file}")).unwrap_or_default();
        told.push(String::from_utf8_lossy(&bytes).into_owned());
    }
    assert_eq!(node.stop(), 0);
    told.push(place.log());
    for secret in [SECRET, OTHER] {
        assert!(!told.iter().any(|text| text.contains(secret)));
        // The database, its log and every other file.
        assert_eq!(holders(&place.beside("."), secret), Vec::<String>::new());
    }

    let gone = place.run(&["credential", "delete", "provider/openai"]);
    assert_eq!(gone.code, 0, "{gone:?}");
    let reveal = ["credential", "get", "provider/openai", "--reveal"];
    place.run(&reveal).fails(3, &["is not set"]);
    place
        .run(&["credential", "delete", "provider/openai"])
        .fails(3, &["is not set"]);
}

#[test]
fn a_key_of_systemd_takes_over_and_a_death_in_the_middle_loses_nothing() {
    let place = Place::new();
    assert_eq!(set(&place, "provider/openai", SECRET).code, 0);
    let given = place.beside("given");
    std::fs::create_dir(&given).unwrap();
    std::fs::write(given.join("clawmesh-credentials-key"), [7; 32]).unwrap();
    let given = ("CREDENTIALS_DIRECTORY", given.to_str().unwrap().to_owned());
    let reveal = |with: Option<(&str, &str)>| {
        let mut command = place.command();
        command.envs(with).args(["--state-dir"]).arg(place.state());
        command.args(["credential", "get", "provider/openai", "--reveal"]);
        let said = command.output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        (text(said.stdout), text(said.stderr))
    };
    let key = (given.0, given.1.as_str());
    let with = Some(key);
    let sealed_by = || {
        let listed: Value = place.json(&["credential", "list"]);
        listed[0]["sealedBy"].as_str().unwrap().to_owned()
    };
    for (at, by) in [
        ("credentials.before", "device"),
        ("credentials.after", "service"),
    ] {
        let variables = [key, ("CLAWMESH_CRASH", at)];
        let died = place.start_with(&place.state(), &FIELD, &variables);
        assert!(died.is_err(), "{at} is not reached");
        assert_eq!(reveal(with).0, format!("{SECRET}\n"), "{at}");
        assert_eq!(sealed_by(), by, "{at}");
    }
    let node = place.start_with(&place.state(), &FIELD, &[key]).unwrap();
    assert_eq!(node.stop(), 0);
    assert_eq!(reveal(with).0, format!("{SECRET}\n"));

    // Without the key it is told why, and a node runs on without the credential.
    let (shown, why) = reveal(None);
    assert!(
        shown.is_empty() && why.contains("clawmesh-credentials-key"),
        "{why}"
    );
    let replaced = set(&place, "provider/openai", OTHER);
    replaced.fails(5, &["left as it is"]);
    let node = place.field(&[]);
    eventually("the log says so", || {
        let log = place.log();
        log.contains("a credential does not open").then_some(())
    });
    assert_eq!(node.stop(), 0);
    assert_eq!(reveal(with).0, format!("{SECRET}\n"));
}

#[test]
fn a_backup_brings_the_credentials_along_and_only_the_restored_device_opens_them() {
    let place = Place::new();
    assert_eq!(set(&place, "custom/x", SECRET).code, 0);
    let node = place.field(&[]);
    assert_eq!(node.stop(), 0);
    let (file, other) = (place.beside("node.backup"), place.beside("other"));
    let named = file.to_str().unwrap();
    let phrase = "correct horse battery\n";
    let said = place.typing(&place.state(), &["backup", named], phrase);
    assert_eq!(said.code, 0, "{said:?}");
    let bytes = std::fs::read(&file).unwrap();
    let holds = |what: &str| {
        bytes
            .windows(what.len())
            .any(|part| part == what.as_bytes())
    };
    assert!(!holds(SECRET));
    let said = place.typing(&other, &["restore", named], phrase);
    assert_eq!(said.code, 0, "{said:?}");
    let shown = place.run_at(&other, &["credential", "get", "custom/x", "--reveal"]);
    assert_eq!((shown.code, shown.out), (0, format!("{SECRET}\n")));
}
