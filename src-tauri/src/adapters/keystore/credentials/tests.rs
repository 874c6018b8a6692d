//! Credentials: sealed, taken over, never overwritten by a wrong key.

use std::os::unix::fs::PermissionsExt as _;

use super::*;

fn secret(text: &str) -> Zeroizing<String> {
    Zeroizing::new(text.to_owned())
}

fn opened(dir: &StateDir, device: u8) -> Credentials {
    Credentials::new(dir, &DeviceKey::from_seed(&[device; 32]), None).unwrap()
}

fn with_service(dir: &StateDir, service: &Path) -> Credentials {
    Credentials::new(dir, &DeviceKey::from_seed(&[1; 32]), Some(service)).unwrap()
}

/// A file of version 1 under the device key [1; 32]: `provider/openai` is `sk-1`. Made with another implementation.
const VERSION_1: &str = r#"{"version": 1, "credentials": {"provider/openai": {"nonce": "AAECAwQFBgcICQoL",
    "text": "rYameAev2luFoGWUkLjCgxP0oXE", "setAtMs": 5}}}"#;

/// A directory of the service manager with a key of these bytes.
fn service(key: &[u8]) -> tempfile::TempDir {
    let temp = tempfile::tempdir().unwrap();
    std::fs::write(temp.path().join(SERVICE_KEY), key).unwrap();
    temp
}

fn old(dir: &StateDir) {
    write_private(&dir.credentials_file(), VERSION_1.as_bytes()).unwrap();
}

#[test]
fn a_credential_is_sealed_and_opens_with_the_devices_key_alone() {
    let temp = tempfile::tempdir().unwrap();
    let dir = StateDir::at(temp.path());
    let own = opened(&dir, 1);
    assert_eq!(own.get("provider/openai").unwrap(), None);
    own.set("provider/openai", &secret("sk-1"), TimeMs(5))
        .unwrap();
    own.set("provider/other", &secret("sk-2"), TimeMs(6))
        .unwrap();
    assert_eq!(own.get("provider/openai").unwrap(), Some(secret("sk-1")));
    let text = std::fs::read_to_string(dir.credentials_file()).unwrap();
    assert!(!text.contains("sk-1"), "{text}");
    let mode = std::fs::metadata(dir.credentials_file())
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    let other = opened(&dir, 2);
    let refused = other.get("provider/openai").unwrap_err().to_string();
    assert!(refused.contains("another device's key"), "{refused}");
    let names: Vec<_> = Credentials::list(&dir)
        .unwrap()
        .into_iter()
        .map(|c| c.name)
        .collect();
    assert_eq!(names, ["provider/openai", "provider/other"]);
    assert!(Credentials::remove(&dir, "provider/openai").unwrap());
    assert!(!Credentials::remove(&dir, "provider/openai").unwrap());
    assert_eq!(own.get("provider/openai").unwrap(), None);
}

#[test]
fn one_credential_cannot_stand_in_for_another() {
    let temp = tempfile::tempdir().unwrap();
    let dir = StateDir::at(temp.path());
    let own = opened(&dir, 1);
    own.set("provider/cheap", &secret("sk-1"), TimeMs(5))
        .unwrap();
    let text = std::fs::read_to_string(dir.credentials_file()).unwrap();
    std::fs::write(
        dir.credentials_file(),
        text.replace("provider/cheap", "provider/dear"),
    )
    .unwrap();
    assert!(own.get("provider/dear").is_err());
    std::fs::write(dir.credentials_file(), "{").unwrap();
    assert!(own.get("provider/dear").is_err() && Credentials::list(&dir).is_err());
}

#[test]
fn names_and_secrets_are_checked() {
    for bad in [
        "",
        "openai",
        "provider/",
        "provider/A",
        "provider/a b",
        "other/a",
    ] {
        assert!(credential_name(bad).is_err(), "{bad}");
    }
    let temp = tempfile::tempdir().unwrap();
    let dir = StateDir::at(temp.path());
    let own = opened(&dir, 1);
    let long = "x".repeat(CREDENTIAL_MAX_BYTES + 1);
    for bad in [
        "",
        &long,
        "sk-1 sk-2",
        "sk-1\n",
        "sk-\u{1}",
        "sk-\u{7f}",
        "sk-ä",
        "\u{feff}sk-1",
        "sk\u{200b}1",
    ] {
        let refused = own.set("provider/a", &secret(bad), TimeMs(1)).unwrap_err();
        let refused = refused.to_string();
        assert!(bad.is_empty() || !refused.contains(bad), "{refused}");
        assert_eq!(own.get("provider/a").unwrap(), None);
    }
}

#[test]
fn a_file_that_others_may_read_or_that_is_none_is_refused_as_a_key_file_is() {
    let temp = tempfile::tempdir().unwrap();
    let dir = StateDir::at(temp.path());
    let own = opened(&dir, 1);
    own.set("provider/a", &secret("sk-1"), TimeMs(5)).unwrap();
    let path = dir.credentials_file();
    let mode = |mode| std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode));
    let all = || {
        [
            own.get("provider/a").map(drop).unwrap_err(),
            own.set("provider/b", &secret("sk-2"), TimeMs(6))
                .unwrap_err(),
            Credentials::list(&dir).map(drop).unwrap_err(),
            Credentials::remove(&dir, "provider/a")
                .map(drop)
                .unwrap_err(),
        ]
        .map(|refused| refused.to_string())
    };
    for wide in [0o640, 0o604, 0o622] {
        mode(wide).unwrap();
        assert!(
            all().iter().all(|why| why.contains("chmod 600")),
            "{:?}",
            all()
        );
    }
    mode(0o600).unwrap();
    assert_eq!(own.get("provider/a").unwrap(), Some(secret("sk-1")));
    // A link to a file of others is no better than the file, and one to nothing is no empty file.
    let elsewhere = temp.path().join("elsewhere");
    std::fs::rename(&path, &elsewhere).unwrap();
    std::os::unix::fs::symlink(&elsewhere, &path).unwrap();
    mode(0o644).unwrap();
    assert!(
        all().iter().all(|why| why.contains("chmod 600")),
        "{:?}",
        all()
    );
    std::fs::remove_file(&elsewhere).unwrap();
    assert!(
        all().iter().all(|why| why.contains("a link to a file")),
        "{:?}",
        all()
    );
}

#[test]
fn a_file_of_version_1_opens_and_stays_one_until_it_is_changed() {
    let temp = tempfile::tempdir().unwrap();
    let dir = StateDir::at(temp.path());
    old(&dir);
    let own = opened(&dir, 1);
    assert_eq!(own.get("provider/openai").unwrap(), Some(secret("sk-1")));
    assert_eq!(
        std::fs::read_to_string(dir.credentials_file()).unwrap(),
        VERSION_1
    );
    assert_eq!(own.take_over().unwrap(), 1);
    let text = std::fs::read_to_string(dir.credentials_file()).unwrap();
    assert!(text.contains("\"version\": 2"), "{text}");
    assert_eq!(own.get("provider/openai").unwrap(), Some(secret("sk-1")));
    assert_eq!(own.take_over().unwrap(), 0);
    // Taking over sets nothing anew.
    assert_eq!(Credentials::list(&dir).unwrap()[0].set_at_ms, TimeMs(5));
}

#[test]
fn a_key_of_the_service_manager_takes_over_what_the_devices_sealed() {
    let temp = tempfile::tempdir().unwrap();
    let dir = StateDir::at(temp.path());
    old(&dir);
    let given = service(&[7; 32]);
    let node = with_service(&dir, given.path());
    assert_eq!(node.get("provider/openai").unwrap(), Some(secret("sk-1")));
    assert_eq!(node.take_over().unwrap(), 1);
    assert_eq!(node.get("provider/openai").unwrap(), Some(secret("sk-1")));
    let by = |dir: &StateDir| Credentials::list(dir).unwrap()[0].sealed_by;
    assert_eq!(by(&dir), SealedBy::Service);
    // A program without that key neither opens nor replaces it, and says so.
    let outside = opened(&dir, 1);
    let before = std::fs::read(dir.credentials_file()).unwrap();
    let replaced = outside.set("provider/openai", &secret("sk-9"), TimeMs(9));
    for refused in [
        outside.get("provider/openai").map(drop).unwrap_err(),
        replaced.unwrap_err(),
    ] {
        let refused = refused.to_string();
        assert!(
            refused.contains(SERVICE_KEY) && refused.contains("left as it is"),
            "{refused}"
        );
    }
    assert_eq!(std::fs::read(dir.credentials_file()).unwrap(), before);
    // What it adds is the node's at its next start.
    outside
        .set("custom/x", &secret("sk-3"), TimeMs(10))
        .unwrap();
    assert_eq!(node.get("custom/x").unwrap(), Some(secret("sk-3")));
    assert_eq!(node.take_over().unwrap(), 1);
    // Without the service manager's key nothing is taken back.
    assert_eq!(outside.take_over().unwrap(), 0);
    assert_eq!(outside.closed().unwrap().len(), 2);
    assert!(node.closed().unwrap().is_empty());
}

#[test]
fn a_wrong_or_lost_key_is_told_and_overwrites_nothing() {
    let temp = tempfile::tempdir().unwrap();
    let dir = StateDir::at(temp.path());
    let given = service(&[7; 32]);
    let node = with_service(&dir, given.path());
    node.set("channel/telegram", &secret("t-1"), TimeMs(1))
        .unwrap();
    let before = std::fs::read(dir.credentials_file()).unwrap();
    let other = service(&[8; 32]);
    let wrong = with_service(&dir, other.path());
    for refused in [
        wrong.get("channel/telegram").map(drop).unwrap_err(),
        wrong
            .set("channel/telegram", &secret("t-2"), TimeMs(2))
            .unwrap_err(),
    ] {
        let refused = refused.to_string();
        assert!(
            refused.contains("put that one back") && !refused.contains("t-"),
            "{refused}"
        );
    }
    assert_eq!(wrong.take_over().unwrap(), 0);
    assert_eq!(std::fs::read(dir.credentials_file()).unwrap(), before);
    // It can be forgotten without a key, and set anew then.
    assert!(Credentials::remove(&dir, "channel/telegram").unwrap());
    wrong
        .set("channel/telegram", &secret("t-2"), TimeMs(2))
        .unwrap();
    // A key that is hardly one is no key.
    let short = service(b"hunter2");
    let device = DeviceKey::from_seed(&[1; 32]);
    let refused = Credentials::new(&dir, &device, Some(short.path())).unwrap_err();
    let refused = refused.to_string();
    assert!(
        refused.contains("too short") && !refused.contains("hunter2"),
        "{refused}"
    );
    // A service without this credential has the device's key alone.
    let none = tempfile::tempdir().unwrap();
    assert_eq!(with_service(&dir, none.path()).keys.len(), 1);
}

#[test]
fn processes_that_set_at_once_lose_nothing_of_each_other() {
    let temp = tempfile::tempdir().unwrap();
    let dir = StateDir::at(temp.path());
    std::thread::scope(|scope| {
        for n in 0..8 {
            let own = opened(&dir, 1);
            scope.spawn(move || own.set(&format!("custom/{n}"), &secret("x"), TimeMs(n)));
        }
    });
    assert_eq!(Credentials::list(&dir).unwrap().len(), 8);
}
