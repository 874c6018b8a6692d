//! `doctor` of the real program, without a node, with one, and with faults; and its bundle, searched for planted secrets.

use serde_json::Value;

use crate::process::*;

const PLANTED: &str = "planted-4be1d7";

fn grade<'a>(said: &'a Value, check: &str) -> Vec<&'a str> {
    let findings = said["findings"].as_array().unwrap().iter();
    let of = findings.filter(|finding| finding["check"] == check);
    of.map(|finding| finding["grade"].as_str().unwrap())
        .collect()
}

#[test]
fn a_node_and_its_machine_are_looked_at_and_faults_end_the_command() {
    let place = Place::new();
    place.write("config.toml", "port = 0\ndiscovery = false\n");
    let said = place.json(&["doctor"]);
    for (check, wanted) in [
        ("config", "ok"),
        ("disk", "ok"),
        ("port", "ok"),
        ("node", "warning"),
        ("credentials", "ok"),
    ] {
        assert_eq!(grade(&said, check), [wanted], "{check}: {said}");
    }
    let node = place.field(&[]);
    let said = place.json(&["doctor"]);
    assert_eq!(grade(&said, "node"), ["ok"], "{said}");
    assert_eq!(grade(&said, "peers"), ["ok"], "{said}");
    assert_eq!(grade(&said, "port"), Vec::<&str>::new());
    assert_eq!(node.stop(), 0);

    // A port that another program has.
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    place.write(
        "config.toml",
        &format!("port = {port}\ndiscovery = false\n"),
    );
    let said = place.run(&["doctor"]);
    assert!(
        said.code == 6 && said.out.contains("config set port"),
        "{said:?}"
    );
    drop(taken);
    place.write("config.toml", "prot = 1\n");
    let said = place.run(&["doctor"]);
    assert!(
        said.code == 6 && said.out.contains("did you mean `port`?"),
        "{said:?}"
    );
}

#[test]
fn a_bundle_of_a_running_node_holds_no_planted_secret() {
    let place = Place::new();
    place.write(
        "config.toml",
        &format!("port = 0\nname = '{PLANTED}-key'\n[[device]]\nkind = 'exec'\ncapability = 'actuator:a:b'\nsafe = 'off'\n[[device.operation]]\nname = 'off'\nargv = ['/bin/true', '{PLANTED}-argv']\n"),
    );
    let set = ["credential", "set", "provider/openai"];
    place.typing(&place.state(), &set, &format!("{PLANTED}-key\n"));
    assert_eq!(place.run(&["model", "token"]).code, 0);
    let node = place.start(&[]);
    let file = place.beside("bundle.json");
    let mut command = place.command();
    command
        .args(["doctor", "--bundle"])
        .arg(&file)
        .arg("--state-dir")
        .arg(place.state());
    command.env("SOME_API_KEY", format!("{PLANTED}-variable"));
    let said = command.output().unwrap();
    assert!(matches!(said.status.code(), Some(0 | 6)), "{said:?}");
    let text = std::fs::read_to_string(&file).unwrap();
    let mut secrets = vec![PLANTED.to_owned()];
    for name in ["tokens.json", "identity.json", "model-token"] {
        let text = std::fs::read_to_string(place.state().join(name)).unwrap();
        let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '-' || c == '_'));
        secrets.extend(
            words
                .filter(|word| word.len() == 43 || word.starts_with("cmk_"))
                .map(str::to_owned),
        );
    }
    let public: Value =
        serde_json::from_slice(&std::fs::read(place.state().join("identity.json")).unwrap())
            .unwrap();
    secrets.retain(|secret| *secret != public["publicKey"]);
    assert!(secrets.len() >= 5, "{}", secrets.len());
    for secret in secrets {
        assert!(!text.contains(&secret), "{text}");
    }
    let bundle: Value = serde_json::from_str(&text).unwrap();
    assert!(
        bundle["node"]["uptimeMs"].is_u64() && !bundle["events"].as_array().unwrap().is_empty()
    );
    // It is written once.
    let again = place.run(&["doctor", "--bundle", file.to_str().unwrap()]);
    assert!(
        again.code == 1 && again.err.contains("left as it is"),
        "{again:?}"
    );
    assert_eq!(node.stop(), 0);
}
