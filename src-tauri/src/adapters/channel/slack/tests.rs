//! What Slack says, and what is made of it; how an app talks with it is tried with a server in `tests/it/`.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::time::Duration;

use serde_json::{Value, json};

use super::super::api::Patience;
use super::reading::{
    Own, Read, app_of, envelope, escaped, moment, moment_text, result, socket_of,
};
use super::{APP, BOT, Slack, filled};
use crate::adapters::channel::{Fault, Message, What};
use crate::adapters::http_client::Address;
use crate::domain::base::TimeMs;

const APP_TOKEN: &str = "xapp-1-A0123-456-abcdefabcdefabcdef";
const BOT_TOKEN: &str = "xoxb-123-456-ABCDEFabcdefABCDEF";

fn own() -> Own {
    Own {
        team: "T01".into(),
        user: "U00".into(),
        name: "clawmesh".into(),
        app: Some("A0123".into()),
    }
}

fn message(change: impl FnOnce(&mut Value)) -> Value {
    let mut all = json!({
        "type": "events_api", "envelope_id": "e-1", "accepts_response_payload": false,
        "payload": {
            "team_id": "T01", "type": "event_callback", "event_id": "Ev1",
            "event": {"type": "message", "channel_type": "im", "channel": "D01", "user": "U07", "team": "T01",
                "text": "hi", "ts": "1712345678.000100"},
        },
    });
    change(&mut all);
    all
}

fn press(change: impl FnOnce(&mut Value)) -> Value {
    let mut all = json!({
        "type": "interactive", "envelope_id": "e-2", "accepts_response_payload": true,
        "payload": {
            "type": "block_actions", "user": {"id": "U07", "team_id": "T01"}, "team": {"id": "T01"},
            "container": {"type": "message", "message_ts": "1712345678.000100", "channel_id": "D01"},
            "actions": [{"type": "button", "action_id": "b0.0", "value": "word", "action_ts": "1712345680.5"}],
        },
    });
    change(&mut all);
    all
}

fn read(said: &Value) -> Read {
    envelope(&said.to_string(), &own())
}

fn heard(said: &Value) -> super::Heard {
    match read(said) {
        Read::Update(_, heard) => *heard,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_direct_message_is_its_persons_of_the_apps_own_workspace() {
    let all = heard(&message(|_| ()));
    let place = all.update.place.clone().unwrap();
    assert_eq!((place.account.as_str(), place.private), ("T01:U07", true));
    assert_eq!((all.user.as_str(), all.room.as_str()), ("U07", "D01"));
    assert_eq!(all.update.sent_at, Some(TimeMs(1_712_345_678_000)));
    let named = heard(&message(|m| m["payload"]["api_app_id"] = json!("A0123")));
    assert_eq!(named.update.id, all.update.id);
    assert_eq!(app_of(APP_TOKEN).as_deref(), Some("A0123"));
    for odd in [
        "xapp-1",
        "xapp-1-A0123",
        "xapp-1-B0123-4-ab",
        "xapp-1--4-ab",
        "",
    ] {
        assert_eq!(app_of(odd), None, "{odd}");
    }
    // The same one in another envelope has the same number, another one another.
    let again = heard(&message(|m| m["envelope_id"] = json!("e-9")));
    assert_eq!(all.update.id, again.update.id);
    assert!(all.update.id > 0);
    let next = heard(&message(|m| {
        m["payload"]["event"]["ts"] = json!("1712345678.000101");
    }));
    assert_ne!(all.update.id, next.update.id);
    let event =
        |name: &'static str, value: Value| message(move |m| m["payload"]["event"][name] = value);
    for odd in [
        event("type", json!("app_mention")),
        event("channel_type", json!("channel")),
        event("channel", json!("C01")),
        event("subtype", json!("message_changed")),
        event("bot_id", json!("B01")),
        event("app_id", json!("A01")),
        event("user", json!("U00")),
        event("user", json!(["U07"])),
        event("user", json!("U07 x")),
        event("team", json!("T02")),
        event("user_team", json!("T02")),
        event("ts", json!("now")),
        event("text", json!(null)),
        message(|m| m["payload"]["team_id"] = json!("T02")),
        message(|m| m["payload"]["api_app_id"] = json!("A9999")),
        press(|p| p["payload"]["api_app_id"] = json!("A9999")),
        message(|m| m["payload"] = json!([])),
        message(|m| m["type"] = json!("slash_commands")),
        message(|m| m["type"] = json!("something_new")),
        press(|p| p["payload"]["type"] = json!("view_submission")),
        press(|p| p["payload"]["user"]["team_id"] = json!("T02")),
        press(|p| p["payload"]["team"]["id"] = json!("T02")),
        press(|p| p["payload"]["container"]["channel_id"] = json!("C01")),
        press(|p| p["payload"]["actions"] = json!([])),
        press(|p| p["payload"]["actions"][0]["value"] = json!(7)),
    ] {
        assert!(matches!(read(&odd), Read::Other(_)), "{odd}");
    }
    for nothing in ["", "{", "[]", "7", "{\"type\":\"events_api\"}"] {
        assert_eq!(envelope(nothing, &own()), Read::Nothing);
    }
    let deep = "[".repeat(100_000);
    assert_eq!(envelope(&deep, &own()), Read::Nothing);
    let long = message(|m| m["envelope_id"] = json!("e".repeat(1_000)));
    assert_eq!(read(&long), Read::Nothing);
}

#[test]
fn a_text_is_what_the_person_typed_and_no_more_than_is_read() {
    let said = |text: &str| match heard(&message(|m| m["payload"]["event"]["text"] = json!(text)))
        .update
        .what
    {
        What::Said { text, forwarded } => (text, forwarded),
        other => panic!("{other:?}"),
    };
    for (sent, typed) in [
        ("a &lt; b &amp;&amp; c &gt; d", "a < b && c > d"),
        ("&amp;lt;", "&lt;"),
        ("reject <http://ab.cd|ab.cd> no", "reject ab.cd no"),
        ("<@U01> <https://x.y> <!here>", "@U01 https://x.y !here"),
        ("a <b", "a b"),
    ] {
        assert_eq!(said(sent).0, typed);
    }
    assert_eq!(said(&"y".repeat(1_000_000)).0.len(), 4_096);
    let shared = json!([{"is_share": true, "text": "stop"}]);
    let shared = heard(&message(|m| m["payload"]["event"]["attachments"] = shared));
    assert!(matches!(
        shared.update.what,
        What::Said {
            forwarded: true,
            ..
        }
    ));
}

#[test]
fn a_press_names_its_message_and_carries_its_word() {
    let all = heard(&press(|_| ()));
    let What::Pressed {
        press: id,
        message,
        data,
    } = all.update.what
    else {
        panic!("no press");
    };
    assert_eq!((id.as_str(), data.as_str()), ("D01 U07", "word"));
    assert_eq!(moment_text(message), "1712345678.000100");
    for odd in [
        "",
        "1",
        "1.1",
        "1.0000001",
        "-1.000000",
        "a.000000",
        "9999999999999.000000",
    ] {
        assert_eq!(moment(odd), None, "{odd}");
    }
    // The same button again is another press.
    let again = heard(&press(|p| {
        p["payload"]["actions"][0]["action_ts"] = json!("1712345681.5")
    }));
    assert_ne!(all.update.id, again.update.id);
}

#[test]
fn a_connection_begins_and_ends_with_a_word() {
    assert_eq!(
        read(&json!({"type": "hello", "num_connections": 2})),
        Read::Hello(Some(2))
    );
    assert_eq!(read(&json!({"type": "hello"})), Read::Hello(None));
    let end = json!({"type": "disconnect", "reason": "refresh_requested"});
    assert_eq!(read(&end), Read::Ends("refresh_requested".into()));
    assert_eq!(
        read(&json!({"type": "disconnect"})),
        Read::Ends(String::new())
    );
}

#[test]
fn each_refusal_of_slack_is_what_it_is() {
    let fault = |status: u16, after: Option<u64>, body: Value| {
        let body = body.to_string();
        result((status, after), body.as_bytes(), "https://s", APP).unwrap_err()
    };
    let no = |why: &str| fault(200, None, json!({"ok": false, "error": why}));
    assert!(matches!(no("invalid_auth"), Fault::Token(why) if why.contains(APP)));
    let scope = json!({"ok": false, "error": "missing_scope", "needed": "im:write"});
    assert!(matches!(fault(200, None, scope), Fault::Token(why) if why.contains("im:write")));
    assert_eq!(no("user_not_found"), Fault::Blocked);
    assert_eq!(no("msg_too_long"), Fault::Refused("msg_too_long".into()));
    assert!(matches!(no("internal_error"), Fault::Lost(_)));
    let seconds = |s| Fault::Later(Duration::from_secs(s));
    assert_eq!(fault(429, Some(7), json!({})), seconds(7));
    assert_eq!(fault(429, None, json!({})), seconds(1));
    assert_eq!(fault(429, Some(u64::MAX), json!({})), seconds(300));
    assert_eq!(no("ratelimited"), seconds(1));
    for odd in [json!(null), json!({}), json!([1]), json!({"ok": "yes"})] {
        assert!(matches!(fault(200, None, odd), Fault::Lost(_)));
    }
    assert!(matches!(
        fault(502, None, json!({"ok": true})),
        Fault::Lost(_)
    ));
}

#[test]
fn a_connection_goes_to_slack_or_to_the_named_server_and_nowhere_else() {
    let api = |url: &str| Address::parse(url).unwrap();
    let slack = api("https://slack.com/api");
    let (address, path) = socket_of(
        "wss://wss-primary.slack.com/link/?ticket=a&app_id=b",
        &slack,
    )
    .unwrap();
    assert_eq!(
        (address.host.as_str(), address.port),
        ("wss-primary.slack.com", 443)
    );
    assert_eq!(path, "/link/?ticket=a&app_id=b");
    for bad in [
        "ws://wss-primary.slack.com/link",
        "wss://slack.com.evil.example/link",
        "wss://evilslack.com/link",
        "wss://slack.com@evil.example/",
        "wss://127.0.0.1/link",
        "wss://wss.slack.com:8443/link",
        "wss://wss.slack.com/a b",
        "wss://wss.slack.com/a\r\nHost: x",
        "https://wss.slack.com/",
        "wss://",
        "",
    ] {
        let why = socket_of(bad, &slack).unwrap_err().to_string();
        assert!(!why.contains("evil") && !why.contains("link"), "{why}");
    }
    assert!(socket_of("wss://wss.slack-gov.com/x", &slack).is_err());
    assert!(
        socket_of(
            "wss://wss.slack-gov.com/x",
            &api("https://slack-gov.com/api")
        )
        .is_ok()
    );
    let here = api("http://127.0.0.1:8080/api");
    assert!(socket_of("ws://127.0.0.1:9/link?ticket=a", &here).is_ok());
    for away in ["wss://wss-primary.slack.com/link", "ws://10.0.0.1/link"] {
        assert!(
            socket_of(away, &here).is_err(),
            "a server on this machine leads to this machine"
        );
    }
}

#[test]
fn tokens_are_ones_or_are_refused_without_being_repeated_and_are_in_no_debug_text() {
    let slack = |app: &str, bot: &str| {
        Slack::new(
            "https://slack.com/api",
            None,
            (app, bot),
            Patience::default(),
        )
    };
    let shown = format!(
        "{:?}",
        slack(&format!(" {APP_TOKEN}\n"), BOT_TOKEN).unwrap()
    );
    assert!(
        !shown.contains("abcdef") && !shown.contains("ABCDEF"),
        "{shown}"
    );
    for (app, bot, credential) in [
        (BOT_TOKEN, BOT_TOKEN, APP),
        (APP_TOKEN, APP_TOKEN, BOT),
        ("xapp-short", BOT_TOKEN, APP),
        (APP_TOKEN, "xoxp-123-456-abcdefabcdef", BOT),
        (APP_TOKEN, "", BOT),
        (APP_TOKEN, "xoxb-123\r\nX: abcdefabcdefabcdef", BOT),
    ] {
        let why = slack(app, bot).unwrap_err();
        assert!(
            why.contains(credential) && !why.contains("abcdef") && !why.contains("123"),
            "{why}"
        );
    }
    let away = Slack::new(
        "http://10.0.0.1",
        None,
        (APP_TOKEN, BOT_TOKEN),
        Patience::default(),
    );
    assert!(away.unwrap_err().contains("https://"));
}

#[test]
fn a_text_stands_where_no_markup_is_read_and_is_escaped_where_it_is() {
    let text = "open *now* if a < b & <!channel> :fire: _x_";
    let row = vec![("Approve…".to_owned(), "w".to_owned())];
    let message = Message {
        text: text.to_owned(),
        buttons: vec![row, Vec::new()],
    };
    let body = filled(json!({"channel": "D01"}), &message);
    assert_eq!(
        body["text"],
        "open *now* if a &lt; b &amp; &lt;!channel&gt; :fire: _x_"
    );
    assert_eq!(body["blocks"][0]["type"], "rich_text");
    assert_eq!(
        body["blocks"][0]["elements"][0]["elements"][0]["text"],
        text
    );
    let actions = &body["blocks"][1];
    assert_eq!(
        (&actions["type"], &actions["elements"][0]["value"]),
        (&json!("actions"), &json!("w"))
    );
    assert_eq!(actions["elements"][0]["text"]["type"], "plain_text");
    assert_eq!(
        body["blocks"].as_array().unwrap().len(),
        2,
        "no row without buttons"
    );
    assert_eq!(escaped("&lt;"), "&amp;lt;");
}
