//! An actuator that somebody else moves while this node leaves it alone. Real processes; the actuator is a file.

use std::fs;

use serde_json::Value;

use crate::process::*;

const FAN: &str = "actuator:relay:fan";

fn alarm(place: &Place) -> Option<Value> {
    let status: Value = serde_json::from_str(&place.run(&["status", "--json"]).out).unwrap();
    let all = status["alarms"].as_array().unwrap().clone();
    all.into_iter().find(|a| a["kind"] == "actuator.astray")
}

fn propose(place: &Place, operation: &str) -> String {
    let draft = place.json(&["propose", FAN, operation, "--reason", "hot"]);
    draft["proposalId"].as_str().unwrap().to_owned()
}

#[test]
fn an_idle_actuator_that_another_hand_moves_is_told_and_left_alone_and_nothing_begins_there() {
    let place = Place::new();
    let relay = place.beside("relay");
    fs::write(&relay, "1\n").unwrap();
    let path = relay.display();
    place.write(
        "config.toml",
        &format!(
            "[[device]]\nkind = \"file\"\nname = \"board\"\n[[device.actuator]]\ncapability = \"{FAN}\"\nsafe = \"off\"\n\
             [[device.actuator.operation]]\nname = \"on\"\npath = \"{path}\"\ntext = \"1\"\n\
             [[device.actuator.operation]]\nname = \"off\"\npath = \"{path}\"\ntext = \"0\"\n"
        ),
    );
    let rule = |name: &str, operation: &str| {
        format!(
            "[[rule]]\nname = \"{name}\"\ncapability = \"{FAN}\"\noperations = [\"{operation}\"]\nlevel = \"L2\"\n\
             safe_state = \"off\"\ndeadline_sec = 600\n"
        )
    };
    let policy = format!("version = 1\n{}{}", rule("fan", "on"), rule("end", "off"));
    place.write("policy.toml", &policy);
    let node = place.start(&[]);
    place.enrolled();
    let said = || fs::read_to_string(&relay).unwrap().trim().to_owned();
    assert_eq!(said(), "0", "it was made safe at the start");
    // A run of this node is none of that.
    let run = propose(&place, "on");
    place.json(&["approve", &run]);
    eventually("it runs", || (said() == "1").then_some(()));
    assert!(alarm(&place).is_none());
    place.json(&["stop", &run]);
    place.await_status(&run, &["failed"]);
    assert_eq!(said(), "0");

    fs::write(&relay, "1").unwrap();
    let told = eventually("it is told", || alarm(&place));
    assert_eq!(told["subject"], FAN);
    let message = told["message"].as_str().unwrap();
    assert!(message.contains("its device says \"1\""), "{message}");
    assert_eq!(said(), "1", "whoever did it is not worked against");
    let id = propose(&place, "on");
    place
        .run(&["approve", &id])
        .fails(1, &["ACTUATOR_UNSAFE", "nothing here has moved it"]);
    assert_eq!(place.status_of(&id), "awaiting_approval");
    // It can be brought to its safe state from here.
    let safe = propose(&place, "off");
    place.json(&["approve", &safe]);
    place.await_status(&safe, &["completed"]);
    assert_eq!(said(), "0");
    eventually("the alarm is over", || {
        alarm(&place).is_none().then_some(())
    });

    // Moved a moment before it would be started, it is not started; it is made safe, as after any start that failed.
    let late = propose(&place, "on");
    fs::write(&relay, "7").unwrap();
    place.run(&["approve", &late]);
    place.await_status(&late, &["failed"]);
    let shown = place.json(&["show", &late]).to_string();
    assert!(
        shown.contains("it was not started: its device says"),
        "{shown}"
    );
    assert_eq!(said(), "0");

    // Whoever did it puts it back, and it is over by itself; silence says nothing, and its table stays.
    fs::write(&relay, "1").unwrap();
    eventually("it is told again", || alarm(&place));
    let config = fs::read_to_string(place.state().join("config.toml")).unwrap();
    place.write("config.toml", "# nothing\n");
    let refused = place.run(&["device", "reload"]);
    assert_eq!(refused.code, 1, "{refused:?}");
    let why = "is not in its safe state, as its device says";
    assert!(refused.err.contains(why), "{refused:?}");
    assert!(alarm(&place).is_some());
    place.write("config.toml", &config);
    fs::write(&relay, "0").unwrap();
    eventually("it is over", || alarm(&place).is_none().then_some(()));
    assert_eq!(node.stop(), 0);
}
