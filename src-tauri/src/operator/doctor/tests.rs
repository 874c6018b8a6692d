//! What `doctor` finds, and that its bundle holds no secret, wherever one was written.

use serde_json::json;

use super::bundle::{Secrets, Told, made};
use super::local::{Machine, look};
use super::{Finding, Grade, running, worst};
use crate::adapters::clock::ManualClock;
use crate::adapters::keystore::{Credentials, create_device_key, load_device_key};
use crate::adapters::paths::StateDir;
use crate::domain::base::TimeMs;
use crate::node::{RawConfig, hosting};
use crate::operator::dto::{PeerView, TrustRecordView};

const NOW: TimeMs = TimeMs(1_790_000_000_000);

struct Place {
    _temp: tempfile::TempDir,
    dir: StateDir,
}

fn place() -> Place {
    let temp = tempfile::tempdir().unwrap();
    let dir = StateDir::at(&temp.path().join("state"));
    dir.prepare().unwrap();
    create_device_key(&dir, &[7; 32], NOW).unwrap();
    Place { _temp: temp, dir }
}

impl Place {
    fn write(&self, name: &str, text: &str) {
        let path = self.dir.root().join(name);
        self.dir.write_private(&path, text.as_bytes()).unwrap();
    }

    fn look(&self) -> Vec<Finding> {
        look(&Machine {
            dir: &self.dir,
            clock: &ManualClock::at(NOW),
            variables: |_| None,
            running: true,
        })
    }

    fn of(&self, check: &str) -> Vec<Finding> {
        let all = self.look().into_iter();
        all.filter(|finding| finding.check == check).collect()
    }

    #[track_caller]
    fn finds(&self, check: &str, grade: Grade, words: &[&str]) {
        let all = self.of(check);
        let told = |f: &Finding| {
            let text = format!("{} {}", f.message, f.advice);
            f.grade == grade && words.iter().all(|word| text.contains(word))
        };
        assert!(all.iter().any(told), "{check}: {all:?}");
    }

    fn set(&self, name: &str, secret: &str) {
        let key = load_device_key(&self.dir).unwrap().unwrap();
        let kept = Credentials::new(&self.dir, &key, None).unwrap();
        kept.set(name, &secret.to_owned().into(), NOW).unwrap();
    }
}

#[test]
fn each_fault_is_found_and_says_what_to_do() {
    let place = place();
    place.finds("config", Grade::Ok, &["config init"]);
    place.finds("policy", Grade::Ok, &[]);
    place.finds("disk", Grade::Ok, &["MiB free"]);
    place.finds("credentials", Grade::Ok, &["0 set"]);
    place.write("config.toml", "nmae = 'x'\n");
    place.finds("config", Grade::Fault, &["`name`", "does not start"]);
    place.write("config.toml", "mock_actuator = true\ndiscovery = false\n");
    place.finds("policy", Grade::Warning, &["refused", "policy test"]);
    place.write("policy.toml", "version = 'x'\n");
    place.finds("policy", Grade::Fault, &["last good"]);
    place.finds("mdns", Grade::Ok, &["off"]);
    place.write(
        "config.toml",
        "[[model]]\nname = 'anthropic/x'\n[[device]]\nkind = 'mqtt'\nname = 'b'\nbroker = 'mqtts://b'\nuser = 'u'\npassword = 'device/shed'\n",
    );
    for name in ["provider/anthropic", "device/shed"] {
        let set = format!("credential set {name}");
        place.finds("credentials", Grade::Warning, &[name, &set]);
    }
    place.set("provider/anthropic", "sk-1234");
    place.set("device/shed", "pw-1234");
    place.finds("credentials", Grade::Ok, &["2 set"]);
    // Another device's key opens none of them.
    std::fs::remove_file(place.dir.identity_file()).unwrap();
    create_device_key(&place.dir, &[8; 32], NOW).unwrap();
    place.finds(
        "credentials",
        Grade::Warning,
        &["device/shed", "put that identity.json back"],
    );
    std::fs::set_permissions(
        place.dir.root(),
        std::os::unix::fs::PermissionsExt::from_mode(0o777),
    )
    .unwrap();
    place.finds("directory", Grade::Fault, &["chmod 700"]);
    assert_eq!(worst(&place.look()), Grade::Fault);
    assert_eq!(worst(&[]), Grade::Ok);
}

#[test]
fn nothing_is_left_behind_by_the_look() {
    let place = place();
    let listed = || {
        let names = std::fs::read_dir(place.dir.root()).unwrap();
        names
            .map(|entry| entry.unwrap().file_name())
            .collect::<Vec<_>>()
    };
    let before = listed();
    place.look();
    assert_eq!(listed(), before);
}

#[test]
fn a_bundle_holds_no_secret_wherever_one_was_planted() {
    let place = place();
    place.set("provider/openai", "planted-provider-1");
    place.set("custom/x", "planted-custom-2");
    place.write("model-token", "planted-model-3\n");
    place.write(
        "tokens.json",
        r#"{"read": "planted-read-4", "admin": "planted-admin-5"}"#,
    );
    place.write("demo-passphrase", "planted-demo-6");
    place.write(
        "config.toml",
        "name = 'planted-provider-1'\npeers = []\n[[device]]\nkind = 'exec'\ncapability = 'actuator:a:b'\nsafe = 'off'\n\
         [[device.operation]]\nname = 'off'\nargv = ['/bin/x', '--password=planted-argv-7']\n\
         [[question]]\nname = 'q'\ntext = 'planted-question-8'\nevery_min = 60\n",
    );
    let key = std::fs::read_to_string(place.dir.identity_file()).unwrap();
    let key: serde_json::Value = serde_json::from_str(&key).unwrap();
    let key = key["secretKey"].as_str().unwrap().to_owned();
    let variables = [("OPENAI_API_KEY".to_owned(), "planted-variable-9".to_owned())];
    let secrets = Secrets::of(&place.dir, &variables);
    let mut findings = place.look();
    findings.push(running::none());
    findings.push(super::fault(
        "alarm",
        format!("a server said planted-custom-2, planted-model-3, planted-read-4, planted-demo-6 and {key}"),
        "ask https://ada:planted-user-10@host/x again with planted-variable-9",
    ));
    findings.push(super::fault(
        "config",
        "invalid type: string \"planted-typo-11\"",
        "",
    ));
    let config = hosting::shown(&place.dir, RawConfig::default()).unwrap_or_default();
    let about = (&place.dir, "1", NOW);
    let bundle = made(about, &findings, &config, &Told::default(), &secrets);
    let text = serde_json::to_string_pretty(&bundle).unwrap();
    assert!(!text.contains("planted") && !text.contains(&key), "{text}");
    // What helps is there.
    for there in [
        "\"kind\": \"exec\"",
        "identity.json",
        "[redacted]@host/x",
        "\"mode\": \"600\"",
    ] {
        assert!(text.contains(there), "{there}: {text}");
    }
}

#[test]
fn peers_are_told_by_when_they_were_heard() {
    let record: TrustRecordView = serde_json::from_value(json!({
        "deviceId": "ab".repeat(32), "publicKey": null, "name": "field", "grants": [], "addedAt": 1,
        "revokedAt": null, "connected": null,
    }))
    .unwrap();
    let mut peer: PeerView = serde_json::from_value(json!({
        "deviceId": "ab".repeat(32), "displayName": null, "role": null, "capabilities": [], "outbound": true,
        "transportLabel": null, "posture": null, "generation": null, "connectedAt": 5, "grants": [],
        "state": "connected", "reason": "", "since": 5, "nextAttemptAt": null, "addresses": [], "heardAt": 8_000,
        "rttMs": null, "skewMs": 10, "bytesIn": null, "bytesOut": null, "queuedBytes": null,
    }))
    .unwrap();
    let told = |peer: Option<&PeerView>| {
        let peers: Vec<PeerView> = peer.into_iter().cloned().collect();
        running::peers(std::slice::from_ref(&record), &peers, 10_000).remove(0)
    };
    assert_eq!(told(Some(&peer)).grade, Grade::Ok);
    assert!(
        told(Some(&peer))
            .message
            .contains("field (ababab), heard 2 s ago")
    );
    peer.skew_ms = Some(-400_000);
    let behind = told(Some(&peer));
    assert!(
        behind.grade == Grade::Fault && behind.message.contains("400 s behind ours"),
        "{behind:?}"
    );
    peer.connected_at = None;
    peer.reason = "refused".to_owned();
    let gone = told(Some(&peer));
    assert!(
        gone.grade == Grade::Warning && gone.message.contains("not connected: refused"),
        "{gone:?}"
    );
    assert_eq!(told(None).grade, Grade::Warning);
    assert_eq!(running::peers(&[], &[], 1)[0].grade, Grade::Ok);
}
