//! A Bot API server for tests, as strict as the real one where a bot could go wrong: one poller at a time (409 for the
//! earlier), limits of texts and buttons, chats that have written first, presses that are answered once, updates that are
//! sent until a later offset confirms them. It fails when a test says so.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use clawmesh::node::config::bot::RawBot;
use futures_util::stream;
use serde_json::{Value, json};
use tokio::sync::Notify;

use crate::harness::until;

pub const TOKEN: &str = "123456:SECRETSECRETSECRETSECRETsecret-_0";

/// What goes wrong once.
#[derive(Debug, Clone)]
pub enum Trouble {
    /// 429 with this many seconds.
    Later(u64),
    /// Another status.
    Status(u16),
    /// The connection breaks before the answer, and what was asked is not done.
    Break,
}

#[derive(Debug, Clone)]
pub struct Sent {
    pub chat: i64,
    pub id: i64,
    pub text: String,
    /// What each button shows and carries.
    pub buttons: Vec<(String, String)>,
    pub edited: usize,
}

#[derive(Debug, Default)]
struct Inside {
    updates: VecDeque<Value>,
    last_update: i64,
    last_message: i64,
    polls: u64,
    chats: BTreeSet<i64>,
    sent: BTreeMap<i64, Sent>,
    presses: BTreeSet<String>,
    heard: Vec<(String, String)>,
    trouble: BTreeMap<String, VecDeque<Trouble>>,
    asked: BTreeMap<String, usize>,
    wrong: Vec<String>,
}

#[derive(Debug, Default)]
struct Shared {
    inside: Mutex<Inside>,
    news: Notify,
}

/// A running server. A clone is the same one.
#[derive(Debug, Clone)]
pub struct BotApi {
    shared: Arc<Shared>,
    pub url: String,
}

impl BotApi {
    pub async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let shared = Arc::new(Shared::default());
        let app = axum::Router::new()
            .route("/{bot}/{method}", post(called))
            .with_state(shared.clone());
        tokio::spawn(async move { axum::serve(listener, app).await });
        Self { shared, url }
    }

    /// The configuration of a node whose bot asks this server.
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

    /// How often a method was called.
    pub fn asked(&self, method: &str) -> usize {
        self.with(|i| i.asked.get(method).copied().unwrap_or_default())
    }

    /// What a real server would have refused.
    pub fn wrong(&self) -> Vec<String> {
        self.with(|i| i.wrong.clone())
    }

    fn update(&self, body: Value) -> i64 {
        let id = self.with(|i| {
            i.last_update += 1;
            let mut update = body;
            update["update_id"] = json!(i.last_update);
            i.updates.push_back(update);
            i.last_update
        });
        self.shared.news.notify_waiters();
        id
    }

    /// The next update has the number after this one, as a server may number after a quiet week.
    pub fn numbers_from(&self, number: i64) {
        self.with(|i| i.last_update = number);
    }

    /// Sends an update once more, with its number.
    pub fn again(&self, update: i64, body: Value) {
        self.with(|i| {
            let mut copy = body;
            copy["update_id"] = json!(update);
            i.updates.push_back(copy);
        });
        self.shared.news.notify_waiters();
    }

    pub fn message(&self, user: i64, chat: i64, text: &str, more: &Value) -> Value {
        let id = self.with(|i| {
            i.chats.insert(chat);
            i.last_message += 1;
            i.last_message
        });
        let kind = if chat > 0 { "private" } else { "group" };
        let mut message = json!({
            "message_id": id, "date": 0, "text": text, "chat": {"id": chat, "type": kind},
            "from": {"id": user, "is_bot": false, "first_name": "A"},
        });
        for (name, value) in more.as_object().into_iter().flatten() {
            message[name] = value.clone();
        }
        json!({"message": message})
    }

    /// A person writes in a private chat.
    pub fn says(&self, user: i64, text: &str) -> i64 {
        let message = self.message(user, user, text, &json!({}));
        self.update(message)
    }

    pub fn sends(&self, message: Value) -> i64 {
        self.update(message)
    }

    /// A person presses a button that carries this, under a message.
    pub fn presses(&self, user: i64, message: i64, data: &str) -> String {
        let press = self.with(|i| {
            i.last_message += 1;
            let press = format!("press-{}", i.last_message);
            i.presses.insert(press.clone());
            press
        });
        self.update(json!({"callback_query": {
            "id": press, "from": {"id": user, "is_bot": false}, "data": data, "chat_instance": "1",
            "message": {"message_id": message, "date": 0, "chat": {"id": user, "type": "private"}},
        }}));
        press
    }

    /// What the bot said in a chat, in order.
    pub fn sent(&self, chat: i64) -> Vec<Sent> {
        self.with(|i| {
            i.sent
                .values()
                .filter(|m| m.chat == chat)
                .cloned()
                .collect()
        })
    }

    /// What a press was answered with, once it was.
    pub async fn heard(&self, press: &str) -> String {
        until("the press is answered", || async {
            self.with(|i| i.heard.iter().find(|(id, _)| id == press).cloned())
        })
        .await
        .1
    }

    /// The first message of the bot in a chat that says this.
    pub async fn hears(&self, chat: i64, what: &str) -> Sent {
        until(what, || async {
            let sent = self.sent(chat).into_iter();
            sent.rev().find(|m| m.text.contains(what))
        })
        .await
    }
}

fn refusal(code: u16, why: &str, more: &Value) -> Response {
    let mut body = json!({"ok": false, "error_code": code, "description": why});
    if !more.is_null() {
        body["parameters"] = more.clone();
    }
    let status = StatusCode::from_u16(code).unwrap();
    (status, axum::Json(body)).into_response()
}

fn done(result: &Value) -> Response {
    axum::Json(json!({"ok": true, "result": result})).into_response()
}

async fn called(
    State(shared): State<Arc<Shared>>,
    Path((bot, method)): Path<(String, String)>,
    headers: HeaderMap,
    body: String,
) -> Response {
    if bot != format!("bot{TOKEN}") {
        return refusal(401, "Unauthorized", &Value::Null);
    }
    let trouble = {
        let mut inside = shared.inside.lock().unwrap();
        *inside.asked.entry(method.clone()).or_default() += 1;
        inside
            .trouble
            .get_mut(&method)
            .and_then(VecDeque::pop_front)
    };
    match trouble {
        Some(Trouble::Later(seconds)) => {
            let more = json!({"retry_after": seconds});
            return refusal(429, "Too Many Requests: retry later", &more);
        }
        Some(Trouble::Status(code)) => return refusal(code, "as the test wants it", &Value::Null),
        Some(Trouble::Break) => {
            let broken = stream::once(async { Err::<&str, _>(std::io::Error::other("broken")) });
            return Body::from_stream(broken).into_response();
        }
        None => {}
    }
    let json_body = headers
        .get("content-type")
        .is_some_and(|v| v == "application/json");
    let Some(asked) = serde_json::from_str::<Value>(&body)
        .ok()
        .filter(|_| json_body)
    else {
        return wrong(&shared, "the body is no JSON");
    };
    match method.as_str() {
        "getMe" => done(
            &json!({"id": 123_456, "is_bot": true, "first_name": "B", "username": "mesh_test_bot"}),
        ),
        "getUpdates" => updates(&shared, &asked).await,
        "sendMessage" => send(&shared, &asked),
        "editMessageText" => edit(&shared, &asked),
        "answerCallbackQuery" => heard(&shared, &asked),
        other => wrong(&shared, &format!("no such method: {other}")),
    }
}

fn wrong(shared: &Shared, why: &str) -> Response {
    shared.inside.lock().unwrap().wrong.push(why.to_owned());
    refusal(400, &format!("Bad Request: {why}"), &Value::Null)
}

async fn updates(shared: &Shared, asked: &Value) -> Response {
    let offset = asked["offset"].as_i64().unwrap();
    let limit = usize::try_from(asked["limit"].as_u64().unwrap()).unwrap();
    let wait = Duration::from_secs(asked["timeout"].as_u64().unwrap());
    let mine = {
        let mut inside = shared.inside.lock().unwrap();
        inside.polls += 1;
        // A number far beyond the last update is one of before the numbers began anew, and confirms nothing.
        if offset <= inside.last_update.saturating_add(10) {
            inside
                .updates
                .retain(|u| u["update_id"].as_i64().unwrap() >= offset);
        }
        inside.polls
    };
    // Whoever polled before is told that it is not alone.
    shared.news.notify_waiters();
    let end = tokio::time::Instant::now() + wait;
    loop {
        let news = shared.news.notified();
        tokio::pin!(news);
        news.as_mut().enable();
        {
            let inside = shared.inside.lock().unwrap();
            if inside.polls != mine {
                return refusal(
                    409,
                    "Conflict: terminated by other getUpdates request",
                    &Value::Null,
                );
            }
            if !inside.updates.is_empty() {
                let list: Vec<&Value> = inside.updates.iter().take(limit).collect();
                return done(&json!(list));
            }
        }
        if tokio::time::timeout_at(end, news).await.is_err() {
            return done(&json!([]));
        }
    }
}

/// The text and buttons of a message, as far as a real server takes them.
fn checked(asked: &Value, known: &[&str]) -> Result<(String, Vec<(String, String)>), String> {
    let fields = asked.as_object().unwrap();
    if let Some(name) = fields.keys().find(|name| !known.contains(&name.as_str())) {
        return Err(format!("unknown field {name}"));
    }
    let text = asked["text"].as_str().unwrap_or_default();
    if text.trim().is_empty() {
        return Err("message text is empty".into());
    }
    if text.encode_utf16().count() > 4_096 {
        return Err("message is too long".into());
    }
    let rows = asked["reply_markup"]["inline_keyboard"].as_array();
    let mut buttons = Vec::new();
    for button in rows
        .into_iter()
        .flatten()
        .flat_map(|row| row.as_array().unwrap())
    {
        let (shown, data) = (button["text"].as_str(), button["callback_data"].as_str());
        let (Some(shown), Some(data)) = (shown, data) else {
            return Err("a button without text or data".into());
        };
        if !(1..=64).contains(&data.len()) {
            return Err("BUTTON_DATA_INVALID".into());
        }
        buttons.push((shown.to_owned(), data.to_owned()));
    }
    Ok((text.to_owned(), buttons))
}

fn send(shared: &Shared, asked: &Value) -> Response {
    let known = ["chat_id", "text", "reply_markup", "link_preview_options"];
    let (text, buttons) = match checked(asked, &known) {
        Ok(checked) => checked,
        Err(why) => return wrong(shared, &why),
    };
    let chat = asked["chat_id"].as_i64().unwrap();
    let mut inside = shared.inside.lock().unwrap();
    if !inside.chats.contains(&chat) {
        return refusal(
            403,
            "Forbidden: bot can't initiate conversation with a user",
            &Value::Null,
        );
    }
    inside.last_message += 1;
    let id = inside.last_message;
    let sent = Sent {
        chat,
        id,
        text,
        buttons,
        edited: 0,
    };
    inside.sent.insert(id, sent);
    done(&json!({"message_id": id, "date": 0, "chat": {"id": chat, "type": "private"}}))
}

fn edit(shared: &Shared, asked: &Value) -> Response {
    let known = [
        "chat_id",
        "message_id",
        "text",
        "reply_markup",
        "link_preview_options",
    ];
    let (text, buttons) = match checked(asked, &known) {
        Ok(checked) => checked,
        Err(why) => return wrong(shared, &why),
    };
    let (chat, id) = (asked["chat_id"].as_i64(), asked["message_id"].as_i64());
    let mut inside = shared.inside.lock().unwrap();
    let found = inside.sent.get_mut(&id.unwrap());
    let Some(message) = found.filter(|m| Some(m.chat) == chat) else {
        drop(inside);
        return wrong(shared, "message to edit not found");
    };
    if message.text == text && message.buttons == buttons {
        let why = "Bad Request: message is not modified";
        return refusal(400, why, &Value::Null);
    }
    message.text = text;
    message.buttons = buttons;
    message.edited += 1;
    done(&json!({"message_id": id}))
}

fn heard(shared: &Shared, asked: &Value) -> Response {
    let press = asked["callback_query_id"].as_str().unwrap().to_owned();
    let text = asked["text"].as_str().unwrap_or_default().to_owned();
    if text.chars().count() > 200 {
        return wrong(shared, "MESSAGE_TOO_LONG");
    }
    let mut inside = shared.inside.lock().unwrap();
    if !inside.presses.remove(&press) {
        drop(inside);
        return wrong(shared, "query is too old or was answered");
    }
    inside.heard.push((press, text));
    done(&json!(true))
}
