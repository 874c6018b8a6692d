//! An ntfy server for tests, as strict as the real one where a client could go wrong: JSON to the root alone, known members,
//! topics that read, priorities from 1 to 5, messages that fit, tokens of topics that need one. It fails when a test says so.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use serde_json::{Value, json};

use crate::harness::until;

pub const TOKEN: &str = "tk_SECRETsecretSECRETsecret";

/// What goes wrong once.
#[derive(Debug, Clone)]
pub enum Trouble {
    /// 429 with this many seconds.
    Later(u64),
    /// Another status.
    Status(u16),
    /// A redirect to another place.
    Redirect,
    /// Something that is no ntfy server answers 200.
    Other,
}

#[derive(Debug, Default)]
struct Inside {
    published: Vec<Value>,
    trouble: VecDeque<Trouble>,
    asked: usize,
    wrong: Vec<String>,
    token: Option<&'static str>,
}

/// A running server. A clone is the same one.
#[derive(Debug, Clone)]
pub struct NtfyServer {
    inside: Arc<Mutex<Inside>>,
    pub url: String,
}

impl NtfyServer {
    pub async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let inside = Arc::new(Mutex::new(Inside::default()));
        let app = axum::Router::new()
            .route("/", post(published))
            .with_state(inside.clone());
        tokio::spawn(async move { axum::serve(listener, app).await });
        Self { inside, url }
    }

    fn with<T>(&self, work: impl FnOnce(&mut Inside) -> T) -> T {
        work(&mut self.inside.lock().unwrap())
    }

    /// Its topics need this token from now on.
    pub fn needs_token(&self) {
        self.with(|i| i.token = Some(TOKEN));
    }

    /// The next message fails.
    pub fn fails(&self, trouble: Trouble) {
        self.with(|i| i.trouble.push_back(trouble));
    }

    /// What was published, oldest first.
    pub fn published(&self) -> Vec<Value> {
        self.with(|i| i.published.clone())
    }

    /// How often it was asked.
    pub fn asked(&self) -> usize {
        self.with(|i| i.asked)
    }

    /// What a real server would have refused.
    pub fn wrong(&self) -> Vec<String> {
        self.with(|i| i.wrong.clone())
    }

    /// Waits for a message with this text.
    pub async fn hears(&self, text: &str) -> Value {
        until(&format!("ntfy hears {text:?}"), || async {
            let all = self.published().into_iter();
            all.into_iter().find(|m| m.to_string().contains(text))
        })
        .await
    }
}

fn refused(status: u16, code: u64) -> Response {
    let status = StatusCode::from_u16(status).unwrap();
    (
        status,
        Json(json!({"code": code, "http": status.as_u16(), "error": "no"})),
    )
        .into_response()
}

/// What is wrong with a message.
fn fault(headers: &HeaderMap, body: &[u8]) -> Result<Value, String> {
    if headers
        .get("content-type")
        .is_none_or(|t| t != "application/json")
    {
        return Err("the content type is not application/json".to_owned());
    }
    let message: Value = serde_json::from_slice(body).map_err(|e| e.to_string())?;
    let known = ["topic", "message", "title", "tags", "priority"];
    let members = message.as_object().ok_or("no object")?;
    if let Some(odd) = members.keys().find(|k| !known.contains(&k.as_str())) {
        return Err(format!("an unknown member {odd}"));
    }
    let topic = message["topic"].as_str().unwrap_or_default();
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_".contains(c);
    if topic.is_empty() || topic.len() > 64 || !topic.chars().all(plain) {
        return Err(format!("the topic {topic:?}"));
    }
    let text = message["message"].as_str().unwrap_or_default();
    if text.is_empty() || text.len() > 4_096 {
        return Err(format!("a message of {} bytes", text.len()));
    }
    if message["title"].as_str().is_some_and(|t| t.contains('\n')) {
        return Err("a title of several lines".to_owned());
    }
    match message["priority"].as_u64() {
        Some(1..=5) => Ok(message),
        _ => Err("a priority that is none".to_owned()),
    }
}

async fn published(
    State(inside): State<Arc<Mutex<Inside>>>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let mut inside = inside.lock().unwrap();
    inside.asked += 1;
    let message = match fault(&headers, &body) {
        Ok(message) => message,
        Err(why) => {
            inside.wrong.push(why);
            return refused(400, 40_001);
        }
    };
    if let Some(token) = inside.token {
        let shown = headers.get("authorization").and_then(|v| v.to_str().ok());
        if shown != Some(&format!("Bearer {token}")) {
            return refused(403, 40_301);
        }
    }
    match inside.trouble.pop_front() {
        Some(Trouble::Later(seconds)) => {
            let mut answer = refused(429, 42_901);
            answer.headers_mut().insert("retry-after", seconds.into());
            return answer;
        }
        Some(Trouble::Status(status)) => return refused(status, 0),
        Some(Trouble::Redirect) => {
            return (StatusCode::FOUND, [("location", "/elsewhere")]).into_response();
        }
        Some(Trouble::Other) => return "<html>It works!</html>".into_response(),
        None => {}
    }
    let id = format!("m{}", inside.published.len());
    let answer = json!({"id": id, "time": 1, "expires": 2, "event": "message", "topic": message["topic"], "message": message["message"]});
    inside.published.push(message);
    Json(answer).into_response()
}
