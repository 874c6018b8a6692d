//! The `mqtt` kind against a real mosquitto, and against a broker that misbehaves as a test says.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod acting;
mod mosquitto;
mod reading;
mod scripted;

use std::sync::Arc;

use super::super::Made;
pub(super) use super::super::tests::Passwords;
use super::super::tests::{made_with, problem};

/// The devices of a table for this broker.
fn devices(broker: &str, more: &str) -> Made {
    let table = format!("kind = \"mqtt\"\nname = \"shed\"\nbroker = \"{broker}\"\n{more}");
    made_with(Arc::new(Passwords), &[&table]).unwrap()
}

const PUMP: &str = "timeout_sec = 2\nactuator = [{ capability = \"actuator:pump:p1\", safe = \"close\", operation = [\
                    { name = \"open\", topic = \"farm/pump/set\", payload = \"ON {durationSec}\" }, \
                    { name = \"close\", topic = \"farm/pump/set\", payload = \"OFF\" }] }]";

/// As [`PUMP`], and it says its state.
fn pump_that_tells() -> String {
    let state = "safe = \"close\", state = { topic = \"farm/pump/state\", safe = \"OFF\" }";
    PUMP.replace("safe = \"close\"", state)
}

#[test]
fn a_mistake_is_told_with_its_place_and_key() {
    let good = format!("kind = \"mqtt\"\nname = \"shed\"\nbroker = \"mqtt://hub\"\n{PUMP}");
    assert_eq!(problem(&good), "fine");
    for (before, after, why) in [
        (
            "mqtt://hub",
            "hub",
            "mqtt shed: broker: it is no URL of a broker",
        ),
        (
            "timeout_sec",
            "user = \"a\"\npassword = \"hunter2\"\ntimeout_sec",
            "password: must name a credential",
        ),
        (
            "timeout_sec",
            "password = \"device/a\"\ntimeout_sec",
            "password: needs a user",
        ),
        (
            "timeout_sec",
            "ca = \"/x\"\ntimeout_sec",
            "ca: counts for mqtts:// alone",
        ),
        (
            "mqtt://hub\"",
            "mqtt://hub.example\"\nuser = \"a\"\npassword = \"device/a\"",
            "broker: the password would go to mqtt://hub.example:1883 in plain text",
        ),
        ("timeout_sec", "tiemout_sec", "unknown field `tiemout_sec`"),
        (
            "safe = \"close\"",
            "safe = \"halt\"",
            "actuator actuator:pump:p1: safe = \"halt\" must be one of",
        ),
        (
            "\"actuator:pump:p1\"",
            "\"sensor:pump:p1\"",
            "must begin with actuator:",
        ),
        (
            "payload = \"OFF\"",
            "payload = \"OFF {sec}\"",
            "the way to the safe state has no parameters",
        ),
        (
            "topic = \"farm/pump/set\", payload = \"OFF\"",
            "topic = \"farm/+/set\", payload = \"OFF\"",
            "without + and #",
        ),
        (
            "safe = \"close\"",
            "safe = \"close\", state = { topic = \"farm/pump/set\", safe = \"OFF\" }",
            "state.topic: \"farm/pump/set\" is the topic of an operation",
        ),
        (
            "name = \"open\"",
            "name = \"close\"",
            "operation close: listed twice",
        ),
        (PUMP, "", "neither a reading nor an actuator"),
        (
            PUMP,
            "reading = [{ metric = \"m\", topic = \"a/#\" }]",
            "reading m: topic: \"a/#\" must be one topic",
        ),
        (
            PUMP,
            "reading = [{ metric = \"m\", topic = \"a\", json = \"b\" }]",
            "json: must be a JSON pointer",
        ),
    ] {
        let bad = good.replacen(before, after, 1);
        assert_ne!(bad, good);
        let told = problem(&bad);
        assert!(
            told.contains(why) && !told.contains("hunter2"),
            "{bad}: {told}"
        );
    }
}

#[test]
fn what_this_node_tells_one_actuator_does_not_prove_that_another_is_safe() {
    let table = |pump: &str, state: &str| {
        format!(
            "kind = \"mqtt\"\nname = \"{pump}\"\nbroker = \"mqtt://127.0.0.1\"\nactuator = [{{ capability = \
             \"actuator:pump:{pump}\", safe = \"off\", state = {{ topic = \"{state}\", safe = \"0\" }}, operation = [\
             {{ name = \"on\", topic = \"{pump}/set\", payload = \"1\" }}, {{ name = \"off\", topic = \"{pump}/set\", \
             payload = \"0\" }}] }}]"
        )
    };
    let made = |state: &str| {
        let tables = [table("a", "a/state"), table("b", state)];
        made_with(Arc::new(Passwords), &[&tables[0], &tables[1]]).err()
    };
    assert_eq!(made("b/state"), None);
    let why = made("a/set").unwrap();
    assert!(
        why.contains("actuator actuator:pump:b: state.topic: \"a/set\"")
            && why.contains("tells actuator:pump:a"),
        "{why}"
    );
}

#[test]
fn two_actuators_are_not_told_the_same() {
    let head = "kind = \"mqtt\"\nname = \"shed\"\nbroker = \"mqtt://hub\"\n";
    let first = format!("{head}{PUMP}");
    let second = first.replace("pump:p1", "pump:p2");
    let made = |second: &str| {
        let made = made_with(Arc::new(Passwords), &[&first, second]);
        made.err()
    };
    let why = made(&second).unwrap();
    assert!(
        why.contains(
            "actuator:pump:p2: \"ON {durationSec}\" on \"farm/pump/set\" at mqtt://hub:1883 moves actuator:pump:p1 already"
        ),
        "{why}"
    );
    // One message may be the safe one of several.
    assert_eq!(made(&second.replace("\"ON {", "\"ON 2 {")), None);
    assert_eq!(made(&second.replace("mqtt://hub", "mqtt://barn")), None);
}
