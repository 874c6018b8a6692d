//! `identity rotate`: another device in another directory, with what a person wrote and the secrets; the old one untouched.

use std::collections::BTreeMap;
use std::path::Path;

use crate::process::*;

const SECRET: &str = "planted-90d2c1";

/// Every file of a directory and its content.
fn content(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let files = std::fs::read_dir(dir).unwrap().map(Result::unwrap);
    let plain = files.filter(|entry| entry.file_type().unwrap().is_file());
    let read = plain.map(|entry| {
        let name = entry.file_name().into_string().unwrap();
        (name, std::fs::read(entry.path()).unwrap())
    });
    read.collect()
}

#[test]
fn another_device_takes_along_what_a_person_wrote_and_the_secrets() {
    let place = Place::new();
    place.write("config.toml", "name = 'barn'\n");
    let person = place.enrolled();
    let set = ["credential", "set", "custom/x"];
    let said = place.typing(&place.state(), &set, &format!("{SECRET}\n"));
    assert_eq!(said.code, 0, "{said:?}");
    let node = place.field(&[]);
    let to = place.beside("new");
    let named = to.to_str().unwrap();
    place
        .run(&["identity", "rotate", "--to", named])
        .fails(5, &["in use"]);
    assert!(!to.exists());
    assert_eq!(place.run(&["estop", "--reason", "a test"]).code, 0);
    assert_eq!(node.stop(), 0);
    // A stop is not got rid of by another identity.
    place
        .run(&["identity", "rotate", "--to", named])
        .fails(1, &["estop release"]);
    let node = place.field(&[]);
    assert_eq!(place.run(&["estop", "release", "--reason", "over"]).code, 0);
    assert_eq!(node.stop(), 0);

    let old = place.device();
    let kept = [
        "identity.json",
        "config.toml",
        "credentials.json",
        "operator-key.json",
    ];
    let before = content(&place.state());
    let said = place.json(&["identity", "rotate", "--to", named]);
    assert_eq!(said["oldDeviceId"], old.as_str());
    let new = said["deviceId"].as_str().unwrap().to_owned();
    assert_ne!(new, old);
    let after = content(&place.state());
    for name in kept {
        assert_eq!(before[name], after[name], "{name}");
    }
    place
        .run(&["identity", "rotate", "--to", named])
        .fails(5, &["not empty"]);

    let other = Place::at(to, &place);
    assert_eq!(other.device(), new);
    let reveal = ["credential", "get", "custom/x", "--reveal"];
    for place in [&place, &other] {
        assert_eq!(place.run(&reveal).out, format!("{SECRET}\n"));
    }
    assert_ne!(
        after["credentials.json"],
        content(&other.state())["credentials.json"]
    );
    assert_eq!(
        other.json(&["operator", "show"])["publicKey"],
        person.as_str()
    );
    // It starts as another device, of the same name, that knows nobody yet.
    let node = other.start(&["--role", "field"]);
    let status = other.json(&["status"]);
    assert_eq!(
        (status["deviceId"].as_str(), status["displayName"].as_str()),
        (Some(new.as_str()), Some("barn"))
    );
    assert_eq!(
        other.json(&["operator", "list"]).as_array().unwrap().len(),
        0
    );
    assert_eq!(node.stop(), 0);
}
