//! A Slack server for tests, as strict as the real one where an app could go wrong: each method with its own token, tickets
//! that open one connection, envelopes that come again until they are acknowledged over the connection that brought them,
//! blocks within their limits, markup that is escaped. It gives each envelope to one connection, and fails when a test says so.

mod sockets;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex};

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use clawmesh::node::config::bot::RawBot;
use futures_util::stream;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::mpsc::UnboundedSender;
use tokio_tungstenite::tungstenite::Message as Frame;

use self::sockets::{connected, deliver};
use crate::bot_api::{Sent, Trouble};
use crate::harness::until;
use crate::slack_blocks::{checked, is_escaped};

pub const APP_TOKEN: &str = "xapp-1-A0SECRET-1234-SECRETSECRETSECRETsecret0";
pub const BOT_TOKEN: &str = "xoxb-1234-5678-HIDDENHIDDENHIDDENhidden0";
pub const TEAM: &str = "T0TEAM";
const APP_USER: &str = "U0APP";

/// The user of a number.
pub fn user_of(number: i64) -> String {
    format!("U{number:06}")
}

/// The account of a number, as the node names it.
pub fn account_of(number: i64) -> String {
    format!("{TEAM}:{}", user_of(number))
}

fn room_of(user: &str) -> String {
    format!("D{}", user.trim_start_matches('U'))
}

#[derive(Debug, Clone)]
struct Envelope {
    body: Value,
    /// The connection that brought it last, and in which envelope.
    on: Option<(u64, String)>,
    tries: u64,
}

#[derive(Debug, Default)]
struct Inside {
    tickets: BTreeSet<String>,
    sockets: BTreeMap<u64, UnboundedSender<Frame>>,
    opened: u64,
    waiting: VecDeque<Envelope>,
    acknowledged: Vec<Value>,
    names: u64,
    last: i64,
    persons: BTreeSet<String>,
    sent: BTreeMap<i64, Sent>,
    presses: BTreeMap<String, String>,
    whispered: Vec<(String, String)>,
    trouble: BTreeMap<String, VecDeque<Trouble>>,
    wrong: Vec<String>,
    /// Connections of other programs, which take nothing.
    others: u64,
}

#[derive(Debug)]
struct Shared {
    inside: Mutex<Inside>,
    sockets: String,
}

/// A running server. A clone is the same one.
#[derive(Debug, Clone)]
pub struct SlackApi {
    shared: Arc<Shared>,
    pub url: String,
}

impl SlackApi {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/api", listener.local_addr().unwrap());
        let sockets = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let shared = Arc::new(Shared {
            inside: Mutex::default(),
            sockets: format!("ws://{}", sockets.local_addr().unwrap()),
        });
        let app = axum::Router::new()
            .route("/api/{method}", post(called))
            .with_state(shared.clone());
        tokio::spawn(async move { axum::serve(listener, app).await });
        let accepting = shared.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = sockets.accept().await {
                tokio::spawn(connected(accepting.clone(), stream));
            }
        });
        Self { shared, url }
    }

    /// The configuration of a node whose app asks this server.
    pub fn config(&self) -> RawBot {
        RawBot {
            enabled: None,
            api: Some(self.url.clone()),
            ca: None,
        }
    }

    fn with<T>(&self, work: impl FnOnce(&mut Inside) -> T) -> T {
        work(&mut self.shared.inside.lock().unwrap())
    }

    /// The next call of a method fails.
    pub fn fails(&self, method: &str, trouble: Trouble) {
        self.with(|i| {
            let all = i.trouble.entry(method.to_owned()).or_default();
            all.push_back(trouble);
        });
    }

    /// What a real server would have refused.
    pub fn wrong(&self) -> Vec<String> {
        self.with(|i| i.wrong.clone())
    }

    /// How many connections there are, and how many there ever were.
    pub fn connections(&self) -> (usize, u64) {
        self.with(|i| (i.sockets.len(), i.opened))
    }

    /// So many connections of other programs count from now on.
    pub fn counts_others(&self, others: u64) {
        self.with(|i| i.others = others);
    }

    /// Sends a frame as it is over every connection.
    pub fn frames(&self, frame: &Frame) {
        self.with(|i| {
            for socket in i.sockets.values() {
                let _ = socket.send(frame.clone());
            }
        });
    }

    /// Says over every connection that it ends, and why.
    pub fn ends(&self, reason: &str) {
        let word = json!({"type": "disconnect", "reason": reason, "debug_info": {"host": "x"}});
        self.frames(&Frame::text(word.to_string()));
    }

    /// Gives a payload out in an envelope of this type.
    pub fn gives(&self, kind: &str, payload: Value) {
        self.with(|i| {
            i.waiting.push_back(Envelope {
                body: json!({"type": kind, "payload": payload, "accepts_response_payload": kind == "interactive"}),
                on: None,
                tries: 0,
            });
            deliver(i);
        });
    }

    /// Gives out once more what was not acknowledged.
    pub fn comes_again(&self) {
        self.with(|i| {
            for envelope in &mut i.waiting {
                envelope.on = None;
            }
            deliver(i);
        });
    }

    /// How many envelopes are not acknowledged.
    pub fn unacknowledged(&self) -> usize {
        self.with(|i| i.waiting.len())
    }

    /// The payload of a message that a person types.
    pub fn message(&self, user: &str, text: &str, more: &Value) -> Value {
        let escaped = text
            .replace('&', "&amp;")
            .replace('<', "&lt;")
            .replace('>', "&gt;");
        let at = self.with(|i| {
            i.persons.insert(user.to_owned());
            i.last += 1;
            i.last
        });
        let mut event = json!({
            "type": "message", "channel_type": "im", "channel": room_of(user), "user": user, "team": TEAM,
            "text": escaped, "ts": ts(at), "client_msg_id": format!("c-{at}"), "event_ts": ts(at),
        });
        for (name, value) in more.as_object().into_iter().flatten() {
            event[name] = value.clone();
        }
        json!({"token": "old", "team_id": TEAM, "api_app_id": "A0SECRET", "event": event, "type": "event_callback",
            "event_id": format!("Ev{at}"), "event_time": 0})
    }

    /// A person writes in a direct message.
    pub fn says(&self, user: i64, text: &str) -> Value {
        let payload = self.message(&user_of(user), text, &json!({}));
        self.gives("events_api", payload.clone());
        payload
    }

    /// A person presses a button that carries this, under a message.
    pub fn presses(&self, user: i64, message: i64, data: &str) -> String {
        let user = user_of(user);
        let at = self.with(|i| {
            i.last += 1;
            i.last
        });
        let press = ts(at);
        self.gives("interactive", json!({
            "type": "block_actions", "user": {"id": user, "username": "a", "team_id": TEAM}, "api_app_id": "A0SECRET",
            "token": "old", "team": {"id": TEAM, "domain": "x"}, "enterprise": null, "trigger_id": format!("t-{at}"),
            "container": {"type": "message", "message_ts": ts(message), "channel_id": room_of(&user), "is_ephemeral": false},
            "channel": {"id": room_of(&user), "name": "directmessage"},
            "actions": [{"action_id": "b0.0", "block_id": "x", "type": "button", "value": data, "action_ts": press}],
        }));
        press
    }

    /// Waits until a press is acknowledged.
    pub async fn is_heard(&self, press: &str) {
        until("the press is acknowledged", || async {
            self.with(|i| i.presses.contains_key(press).then_some(()))
        })
        .await;
    }

    /// What the app said to a person alone, beside its messages.
    pub async fn whispers(&self, user: i64, what: &str) {
        until(what, || async {
            self.with(|i| {
                let mut all = i.whispered.iter();
                all.any(|(to, text)| *to == user_of(user) && text.contains(what))
                    .then_some(())
            })
        })
        .await;
    }

    /// What the app said to a person, in order.
    pub fn sent(&self, user: i64) -> Vec<Sent> {
        self.with(|i| {
            let all = i.sent.values().filter(|m| m.chat == user);
            all.cloned().collect()
        })
    }

    /// The last message of the app to a person that says this.
    pub async fn hears(&self, user: i64, what: &str) -> Sent {
        until(what, || async {
            let sent = self.sent(user).into_iter();
            sent.rev().find(|m| m.text.contains(what))
        })
        .await
    }
}

/// A message's time, whose number is all of its digits.
fn ts(number: i64) -> String {
    format!("{}.{:06}", number / 1_000_000, number % 1_000_000)
}

fn number_of(ts: &str) -> Option<i64> {
    let (seconds, micros) = ts.split_once('.')?;
    let micros = (micros.len() == 6).then_some(micros)?;
    Some(seconds.parse::<i64>().ok()? * 1_000_000 + micros.parse::<i64>().ok()?)
}

fn no(why: &str) -> Response {
    axum::Json(json!({"ok": false, "error": why})).into_response()
}

fn wrong(shared: &Shared, error: &str, why: &str) -> Response {
    shared
        .inside
        .lock()
        .unwrap()
        .wrong
        .push(format!("{error}: {why}"));
    no(error)
}

async fn called(
    State(shared): State<Arc<Shared>>,
    Path(method): Path<String>,
    headers: HeaderMap,
    body: String,
) -> Response {
    let trouble = {
        let mut inside = shared.inside.lock().unwrap();
        let trouble = inside.trouble.get_mut(&method);
        trouble.and_then(VecDeque::pop_front)
    };
    match trouble {
        Some(Trouble::Later(seconds)) => {
            let head = [("retry-after", seconds.to_string())];
            let body = axum::Json(json!({"ok": false, "error": "ratelimited"}));
            return (StatusCode::TOO_MANY_REQUESTS, head, body).into_response();
        }
        Some(Trouble::Status(code)) => return StatusCode::from_u16(code).unwrap().into_response(),
        Some(Trouble::Break) => {
            let broken = stream::once(async { Err::<&str, _>(std::io::Error::other("broken")) });
            return Body::from_stream(broken).into_response();
        }
        None => {}
    }
    let head = |name: &str| {
        headers
            .get(name)
            .and_then(|v| v.to_str().ok())
            .unwrap_or_default()
            .to_owned()
    };
    let token = if method == "apps.connections.open" {
        APP_TOKEN
    } else {
        BOT_TOKEN
    };
    if head("authorization") != format!("Bearer {token}") {
        return no("invalid_auth");
    }
    let asked = serde_json::from_str::<Value>(&body).ok();
    let is_json = head("content-type").starts_with("application/json");
    let Some(asked) = asked.filter(|a| is_json && a.is_object()) else {
        return wrong(&shared, "invalid_json", &body);
    };
    match method.as_str() {
        "auth.test" => axum::Json(json!({"ok": true, "url": "https://x.slack.com/", "team": "X", "user": "mesh_test_bot",
            "team_id": TEAM, "user_id": APP_USER, "bot_id": "B0BOT", "is_enterprise_install": false}))
        .into_response(),
        "apps.connections.open" => {
            let mut inside = shared.inside.lock().unwrap();
            inside.names += 1;
            let ticket = format!("ticket-{}", inside.names);
            inside.tickets.insert(ticket.clone());
            axum::Json(json!({"ok": true, "url": format!("{}/link/?ticket={ticket}", shared.sockets)})).into_response()
        }
        "conversations.open" => opened(&shared, &asked),
        "chat.postMessage" => send(&shared, &asked),
        "chat.update" => edit(&shared, &asked),
        "chat.postEphemeral" => whisper(&shared, &asked),
        other => wrong(&shared, "unknown_method", other),
    }
}

fn opened(shared: &Shared, asked: &Value) -> Response {
    let user = asked["users"].as_str().unwrap_or_default();
    match shared.inside.lock().unwrap().persons.contains(user) {
        true => axum::Json(json!({"ok": true, "channel": {"id": room_of(user)}})).into_response(),
        false => no("user_not_found"),
    }
}

fn send(shared: &Shared, asked: &Value) -> Response {
    let known = [
        "channel",
        "text",
        "blocks",
        "parse",
        "unfurl_links",
        "unfurl_media",
    ];
    let (text, buttons) = match checked(asked, &known) {
        Ok(checked) => checked,
        Err(why) => return wrong(shared, "invalid_arguments", &why),
    };
    let room = asked["channel"].as_str().unwrap_or_default().to_owned();
    let mut inside = shared.inside.lock().unwrap();
    let Some(user) = inside.persons.iter().find(|user| room_of(user) == room) else {
        return no("channel_not_found");
    };
    let chat = user.trim_start_matches('U').parse().unwrap();
    inside.last += 1;
    let id = inside.last;
    inside.sent.insert(
        id,
        Sent {
            chat,
            id,
            text,
            buttons,
            edited: 0,
        },
    );
    axum::Json(json!({"ok": true, "channel": room, "ts": ts(id), "message": {}})).into_response()
}

fn edit(shared: &Shared, asked: &Value) -> Response {
    let (text, buttons) = match checked(asked, &["channel", "ts", "text", "blocks", "parse"]) {
        Ok(checked) => checked,
        Err(why) => return wrong(shared, "invalid_arguments", &why),
    };
    let id = asked["ts"].as_str().and_then(number_of);
    let mut inside = shared.inside.lock().unwrap();
    let found = id.and_then(|id| inside.sent.get_mut(&id));
    let room = asked["channel"].as_str();
    let Some(message) = found.filter(|m| room == Some(&room_of(&user_of(m.chat)))) else {
        drop(inside);
        return wrong(shared, "message_not_found", &asked.to_string());
    };
    (message.text, message.buttons) = (text, buttons);
    message.edited += 1;
    axum::Json(json!({"ok": true, "channel": room, "ts": asked["ts"]})).into_response()
}

fn whisper(shared: &Shared, asked: &Value) -> Response {
    let user = asked["user"].as_str().unwrap_or_default().to_owned();
    let text = asked["text"].as_str().unwrap_or_default().to_owned();
    if asked["channel"] != room_of(&user) || text.is_empty() || !is_escaped(&text) {
        return wrong(shared, "invalid_arguments", &asked.to_string());
    }
    shared.inside.lock().unwrap().whispered.push((user, text));
    axum::Json(json!({"ok": true, "message_ts": "1.000001"})).into_response()
}
