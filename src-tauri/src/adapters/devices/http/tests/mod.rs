//! The `http` kind against a server that does what a test says.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod acting;
mod reading;
mod server;

use std::sync::Arc;

use super::super::Made;
use super::super::tests::{Passwords, made_with, problem};

/// The devices of a table for this server.
fn devices(url: &str, more: &str) -> Made {
    let table = format!("kind = \"http\"\nname = \"shed\"\nurl = \"{url}\"\n{more}");
    made_with(Arc::new(Passwords), &[&table]).unwrap()
}

const PUMP: &str = "timeout_sec = 1\nactuator = [{ capability = \"actuator:pump:p1\", safe = \"close\", operation = [\
                    { name = \"open\", path = \"/relay/0\", body = \"{\\\"on\\\":true,\\\"sec\\\":{durationSec}}\" }, \
                    { name = \"close\", method = \"GET\", path = \"/relay/0?turn=off\" }] }]";

/// As [`PUMP`], and it says its state.
fn pump_that_tells() -> String {
    let state =
        "safe = \"close\", state = { path = \"/relay/0\", json = \"/on\", safe = \"false\" }";
    PUMP.replacen("safe = \"close\"", state, 1)
}

#[test]
fn a_mistake_is_told_with_its_place_and_key() {
    let good = format!("kind = \"http\"\nname = \"shed\"\nurl = \"http://hub\"\n{PUMP}");
    assert_eq!(problem(&good), "fine");
    let out = "url = \"http://hub\"";
    for (before, after, why) in [
        (
            out,
            "url = \"hub\"",
            "http shed: url: a URL begins with http://",
        ),
        (out, "url = \"http://hub/api\"", "url: it has no path"),
        (
            out,
            "url = \"http://me:hunter2@hub\"",
            "url: the URL has no user",
        ),
        (
            out,
            "url = \"http://hub\"\nca = \"/x\"",
            "ca: counts for https:// alone",
        ),
        (
            out,
            "url = \"http://hub\"\nuser = \"a\"",
            "user: needs a password",
        ),
        (
            out,
            "url = \"http://hub\"\npassword = \"device/a\"",
            "password: needs a user",
        ),
        (
            out,
            "url = \"http://hub\"\ntoken = \"hunter2\"",
            "token: must name a credential",
        ),
        (
            out,
            "url = \"http://hub\"\ntoken = \"device/a\"\nuser = \"a\"",
            "token: either a token, or a user and a password",
        ),
        (
            out,
            "url = \"http://hub.example\"\ntoken = \"device/a\"",
            "url: the password or token would go to http://hub.example in plain text",
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
            "?turn=off",
            "?turn={way}",
            "the way to the safe state has no parameters",
        ),
        (
            "/relay/0?turn=off",
            "relay/0",
            "operation close: path: \"relay/0\" must begin with one /",
        ),
        ("?turn=off", "?turn= off", "a space as %20"),
        (
            "\"GET\"",
            "\"FETCH\"",
            "operation close: method: must be GET,",
        ),
        (
            "name = \"open\"",
            "name = \"close\"",
            "operation close: listed twice",
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
fn a_mistake_in_a_reading_is_told_and_a_secret_in_plain_text_is_asked_for() {
    let out = "url = \"http://hub\"";
    let good = format!("kind = \"http\"\nname = \"shed\"\n{out}\n{PUMP}");
    for (before, after, why) in [
        (PUMP, "", "neither a reading nor an actuator"),
        (
            PUMP,
            "reading = [{ metric = \"m\", path = \"x\" }]",
            "reading m: path: \"x\" must begin with one /",
        ),
        (
            PUMP,
            "reading = [{ metric = \"m\", path = \"/x\", json = \"b\" }]",
            "json: must be a JSON pointer",
        ),
        (
            PUMP,
            "reading = [{ metric = \"m\", path = \"/x\", check = { late_sec = 5 } }]",
            "reading m: check.late_sec: says nothing here",
        ),
    ] {
        let told = problem(&good.replacen(before, after, 1));
        assert!(told.contains(why), "{told}");
    }
    let plain = "url = \"http://hub.example\"\ntoken = \"device/a\"\nplain = true";
    assert_eq!(problem(&good.replacen(out, plain, 1)), "fine");
    let near = "url = \"http://192.168.1.9:8080\"\ntoken = \"device/a\"";
    assert_eq!(problem(&good.replacen(out, near, 1)), "fine");
}

#[test]
fn two_actuators_do_not_make_the_same_request() {
    let first = format!("kind = \"http\"\nname = \"shed\"\nurl = \"http://hub\"\n{PUMP}");
    let second = first.replace("pump:p1", "pump:p2");
    let made = |second: &str| made_with(Arc::new(Passwords), &[&first, second]).err();
    let why = made(&second).unwrap();
    assert!(why.contains("moves actuator:pump:p1 already"), "{why}");
    assert_eq!(made(&second.replace("\"/relay/0\"", "\"/relay/1\"")), None);
}
