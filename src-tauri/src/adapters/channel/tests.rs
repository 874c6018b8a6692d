//! What a Bot API server says, and what is made of it; how a bot asks is tried with a server in `tests/it/telegram.rs`.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::time::Duration;

use serde_json::{Value, json};

use super::api::{Patience, without};
use super::telegram::{Telegram, token_of};
use super::{Chats, Fault, What, reading};

const TOKEN: &str = "123456:abcdefghijklmnopqrstuvwxyz012345";

fn fault(status: u16, body: Value) -> Fault {
    reading::result(status, body.to_string().as_bytes(), "http://s").unwrap_err()
}

#[test]
fn each_refusal_of_a_server_is_what_it_is() {
    let no = |code: u16, why: &str| json!({"ok": false, "error_code": code, "description": why});
    assert!(matches!(
        fault(401, no(401, "Unauthorized")),
        Fault::Token(_)
    ));
    assert!(matches!(fault(404, no(404, "Not Found")), Fault::Token(_)));
    assert_eq!(fault(409, no(409, "Conflict: x")), Fault::Conflict);
    assert_eq!(fault(403, no(403, "bot was blocked")), Fault::Blocked);
    assert_eq!(
        fault(400, no(400, "Bad\u{202e} Request")),
        Fault::Refused("Bad Request".into())
    );
    let mut later = no(429, "Too Many Requests");
    later["parameters"] = json!({"retry_after": 7});
    assert_eq!(
        fault(429, later.clone()),
        Fault::Later(Duration::from_secs(7))
    );
    // Nobody is waited for without an end.
    later["parameters"] = json!({"retry_after": u64::MAX});
    assert_eq!(fault(429, later), Fault::Later(Duration::from_secs(300)));
    for odd in [
        json!(null),
        json!({"ok": true}),
        json!([1]),
        json!({"ok": "yes", "result": 1}),
    ] {
        assert!(matches!(fault(200, odd), Fault::Lost(_)));
    }
    assert!(matches!(
        reading::result(502, b"<html>", "http://s").unwrap_err(),
        Fault::Lost(_)
    ));
}

#[test]
fn updates_are_read_in_their_order_and_what_is_odd_is_nothing() {
    let person = json!({"id": 7, "is_bot": false, "first_name": "A"});
    let chat = json!({"id": 7, "type": "private"});
    let said = |id: i64, more: Value| {
        let mut message = json!({"message_id": 1, "from": person, "chat": chat, "text": "hi"});
        for (name, value) in more.as_object().unwrap() {
            message[name] = value.clone();
        }
        json!({"update_id": id, "message": message})
    };
    let press = json!({"update_id": 3, "callback_query": {
        "id": "q", "from": person, "data": "d".repeat(100), "message": {"message_id": 5, "chat": chat, "date": 0},
    }});
    let list = json!([
        said(2, json!({"forward_origin": {"type": "user"}})),
        said(1, json!({"text": "x".repeat(100_000)})),
        press,
        said(4, json!({"chat": {"id": -9, "type": "group"}})),
        // Another bot, and a chat that only says that it is private.
        said(5, json!({"from": {"id": 7, "is_bot": true}})),
        said(6, json!({"chat": {"id": 8, "type": "private"}})),
        {"update_id": 7, "poll": {}},
        {"message": {}},
        {"update_id": 8, "message": {"text": "nobody"}},
        {"update_id": 9, "message": {"from": {"id": "7"}, "chat": chat, "text": "x"}},
    ]);
    let all = reading::updates(&list);
    let ids: Vec<i64> = all.iter().map(|u| u.id).collect();
    assert_eq!(ids, [1, 2, 3, 4, 5, 6, 7, 8, 9]);
    let text = |at: usize| match &all[at].what {
        What::Said { text, forwarded } => (text.chars().count(), *forwarded),
        other => panic!("{other:?}"),
    };
    assert_eq!((text(0), text(1)), ((4_096, false), (2, true)));
    match &all[2].what {
        What::Pressed {
            press,
            message,
            data,
        } => {
            assert_eq!((press.as_str(), *message, data.len()), ("q", 5, 64));
        }
        other => panic!("{other:?}"),
    }
    let private: Vec<Option<bool>> = all
        .iter()
        .map(|u| u.place.as_ref().map(|p| p.private))
        .collect();
    let (yes, no) = (Some(true), Some(false));
    assert_eq!(private, [yes, yes, yes, no, no, no, None, None, None]);
    assert!(reading::updates(&json!({"a": 1})).is_empty());
}

#[test]
fn a_token_is_one_or_is_refused_without_being_repeated() {
    assert!(token_of(TOKEN).is_ok() && token_of(&format!(" {TOKEN}\n")).is_ok());
    for bad in [
        "",
        "x",
        "98765",
        "123:short",
        "a:abcdefghijklmnopqrstuvwxyz",
        "1:abcdefghijklmnopqrst/../x",
    ] {
        let why = token_of(bad).unwrap_err();
        assert!(bad.len() < 4 || !why.contains(bad), "{why}");
    }
    let bot = |api: &str| Telegram::new(api, None, TOKEN, Patience::default());
    let shown = format!("{:?}", bot("https://api.telegram.org").unwrap());
    assert!(!shown.contains("abcdef"), "{shown}");
    assert!(bot("http://127.0.0.1:1").is_ok());
    assert!(bot("http://10.0.0.1").unwrap_err().contains("https://"));
}

#[tokio::test]
async fn no_fault_has_the_token_in_it() {
    // Nothing listens there.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = free.local_addr().unwrap().port();
    drop(free);
    let api = format!("http://127.0.0.1:{port}/x");
    let bot = Telegram::new(&api, None, TOKEN, Patience::default()).unwrap();
    let why = bot.bot().await.unwrap_err();
    assert!(matches!(why, Fault::Lost(_)));
    assert!(!format!("{why:?} {why}").contains("abcdef"), "{why}");
}

#[test]
fn what_a_server_repeats_of_the_token_is_left_out() {
    let said = |text: &str| String::from_utf8(without(text.as_bytes(), TOKEN)).unwrap();
    assert_eq!(
        said(&format!("x http://s/bot{TOKEN}/getMe {TOKEN}")),
        "x http://s/bot<token>/getMe <token>"
    );
    for same in ["", "x", &TOKEN[1..]] {
        assert_eq!(said(same), same);
    }
}
