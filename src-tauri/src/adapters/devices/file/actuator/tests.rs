//! Tests of an actuator that is a file.

#![allow(clippy::unwrap_used)]
use std::fs;

use super::*;
use crate::adapters::devices::exec::tests::act;

fn relay(dir: &Path, more: &str) -> FileDriver {
    let path = dir.join("value");
    let path = path.display();
    let text = format!(
        "capability = \"actuator:relay:1\"\nsafe = \"close\"\n{more}\n\
         [[operation]]\nname = \"open\"\npath = \"{path}\"\ntext = \"1\"\n\
         [[operation]]\nname = \"close\"\npath = \"{path}\"\ntext = \"0\"\n"
    );
    toml::from_str::<Moved>(&text)
        .unwrap()
        .checked(Path::new("/no/such/node"))
        .unwrap()
}

#[tokio::test]
async fn a_text_is_written_once_and_read_back() {
    let dir = tempfile::tempdir().unwrap();
    let value = dir.path().join("value");
    fs::write(&value, "something long\n").unwrap();
    let relay = relay(dir.path(), "");
    relay.make_safe("job").await.unwrap();
    relay.arm("job").await.unwrap();
    relay.act(act(&relay, "open", "job")).await.unwrap();
    assert_eq!(fs::read_to_string(&value).unwrap(), "1");
    assert_eq!(relay.state().await.unwrap().position, "1");
    relay.make_safe("job").await.unwrap();
    relay.make_safe("job").await.unwrap();
    assert_eq!(fs::read_to_string(&value).unwrap(), "0");
    let unknown = relay.act(act(&relay, "explode", "job")).await.unwrap_err();
    assert!(
        unknown.to_string().contains("it has close, open"),
        "{unknown}"
    );
}

#[tokio::test]
async fn no_link_pipe_or_new_file_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let value = dir.path().join("value");
    let relay = relay(dir.path(), "");
    let other = dir.path().join("other");
    fs::write(&other, "keep").unwrap();
    let refused = async |why: &str| {
        for told in [
            relay.make_safe("job").await,
            relay.arm("job").await,
            relay.act(act(&relay, "open", "job")).await,
        ] {
            let told = told.unwrap_err();
            assert!(matches!(told, DriverError::Failed(_)), "{told}");
            assert!(told.to_string().contains(why), "{told}");
        }
    };
    refused("No such file").await;
    assert!(!value.exists());
    std::os::unix::fs::symlink(&other, &value).unwrap();
    refused("it is a link").await;
    assert_eq!(fs::read_to_string(&other).unwrap(), "keep");
    fs::remove_file(&value).unwrap();
    fs::create_dir(&value).unwrap();
    refused("it is no regular file").await;
}

#[tokio::test]
async fn a_relay_that_does_not_say_that_it_is_safe_is_not() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("value"), "0").unwrap();
    let state = dir.path().join("state");
    fs::write(&state, "{\"on\":true}").unwrap();
    let state = format!(
        "state = {{ path = \"{}\", json = \"/on\", safe = \"false\" }}",
        state.display()
    );
    let relay = relay(dir.path(), &state);
    let why = relay.make_safe("job").await.unwrap_err().to_string();
    assert!(why.ends_with("/state did not say \"false\""), "{why}");
    fs::write(dir.path().join("state"), "{\"on\":false}").unwrap();
    relay.make_safe("job").await.unwrap();
}

#[test]
fn a_damaged_table_gives_the_way_to_the_safe_state_or_none() {
    let good = "[[actuator]]\ncapability = \"actuator:relay:1\"\nsafe = \"close\"\n\
                [[actuator.operation]]\nname = \"close\"\npath = \"/x\"\ntext = \"0\"\n";
    let found =
        |text: &str| rescue(&toml::from_str(text).unwrap(), Path::new("/no/such/node")).len();
    assert_eq!(found(good), 1);
    assert_eq!(found(&good.replace("safe", "every = 3\nsafe")), 1);
    for (before, after) in [
        ("path = \"/x\"", "path = 3"),
        ("text = \"0\"", "text = \"\u{fffd}\""),
        ("safe = \"close\"", "safe = \"stop\""),
        ("safe = \"close\"", "safe = \"close\"\nstate = { path = 3 }"),
    ] {
        assert_eq!(found(&good.replacen(before, after, 1)), 0, "{after}");
    }
}

#[test]
fn a_text_of_which_a_part_was_written_may_have_been_obeyed() {
    for (room, whole) in [(3, true), (1, false), (0, false)] {
        let mut room = vec![0_u8; room];
        match put(&mut &mut room[..], "255", Path::new("/sys/x")) {
            Ok(()) => assert!(whole),
            Err(why) => assert!(!whole && matches!(why, DriverError::Unanswered(_)), "{why}"),
        }
    }
}

#[tokio::test]
async fn a_folder_that_became_a_link_to_the_files_of_the_node_is_not_written() {
    let dir = tempfile::tempdir().unwrap();
    let (node, gpio) = (dir.path().join("node"), dir.path().join("gpio"));
    fs::create_dir(&node).unwrap();
    fs::create_dir(&gpio).unwrap();
    fs::write(node.join("value"), "keep").unwrap();
    let moved = |folder: &Path| {
        let path = folder.join("value");
        let path = path.display();
        let text = format!(
            "capability = \"actuator:relay:1\"\nsafe = \"close\"\n\
             [[operation]]\nname = \"open\"\npath = \"{path}\"\ntext = \"1\"\n\
             [[operation]]\nname = \"close\"\npath = \"{path}\"\ntext = \"0\"\n"
        );
        toml::from_str::<Moved>(&text).unwrap().checked(&node)
    };
    let why = moved(&node).unwrap_err();
    assert!(
        why.contains("leads into the state directory of this node"),
        "{why}"
    );
    let relay = moved(&gpio).unwrap();
    fs::remove_dir(&gpio).unwrap();
    std::os::unix::fs::symlink(&node, &gpio).unwrap();
    for told in [
        relay.make_safe("job").await,
        relay.arm("job").await,
        relay.act(act(&relay, "open", "job")).await,
    ] {
        let why = told.unwrap_err().to_string();
        assert!(why.contains("leads into the state directory"), "{why}");
    }
    assert_eq!(fs::read_to_string(node.join("value")).unwrap(), "keep");
}
