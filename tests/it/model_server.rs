//! A server of an OpenAI-compatible model that says what a test tells it to, piece by piece.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU16, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use axum::body::{Body, Bytes};
use axum::extract::{Json, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use clawmesh::node::config::models::RawModel;
use futures_util::stream;
use serde_json::{Value, json};

/// One step of a reply.
#[derive(Debug, Clone)]
pub enum Step {
    /// A piece of text.
    Say(String),
    /// Nothing more comes.
    Wait,
    /// The connection breaks.
    Break,
    /// This text for ever.
    Endless(String),
    /// The end.
    End,
    /// No reply but this status.
    Status(u16),
}

pub fn say(texts: &[&str]) -> Vec<Step> {
    let says = texts.iter().map(|text| Step::Say((*text).to_owned()));
    says.chain([Step::End]).collect()
}

#[derive(Debug, Default)]
struct Inside {
    replies: Mutex<VecDeque<Vec<Step>>>,
    asked: Mutex<Vec<Value>>,
    open: AtomicUsize,
    /// What the list of models is answered with; 0 is 404, as of a server that has none.
    listing: AtomicU16,
    /// The key that came with the last request, whichever it was.
    key: Mutex<String>,
}

/// A running server. A clone is the same one.
#[derive(Debug, Clone)]
pub struct Server {
    inside: Arc<Inside>,
    pub url: String,
}

impl Server {
    pub async fn start(replies: impl IntoIterator<Item = Vec<Step>>) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/v1", listener.local_addr().unwrap());
        let inside = Arc::new(Inside::default());
        inside.replies.lock().unwrap().extend(replies);
        let app = axum::Router::new()
            .route("/v1/chat/completions", post(answer))
            .route("/v1/models", get(list))
            .with_state(inside.clone());
        tokio::spawn(async move { axum::serve(listener, app).await });
        Self { inside, url }
    }

    /// It as the model `ollama/x` of a configuration.
    pub fn model(&self, share: bool) -> RawModel {
        RawModel {
            name: "ollama/x".into(),
            url: Some(self.url.clone()),
            share,
            ..RawModel::default()
        }
    }

    pub fn push(&self, reply: Vec<Step>) {
        self.inside.replies.lock().unwrap().push_back(reply);
    }

    /// Has the list of models answered with this status.
    pub fn listing(&self, status: u16) {
        self.inside.listing.store(status, Ordering::SeqCst);
    }

    /// The key that came with the last request.
    pub fn key(&self) -> String {
        self.inside.key.lock().unwrap().clone()
    }

    /// The bodies of all requests.
    pub fn asked(&self) -> Vec<Value> {
        self.inside.asked.lock().unwrap().clone()
    }

    /// Replies that are read now.
    pub fn open(&self) -> usize {
        self.inside.open.load(Ordering::SeqCst)
    }
}

struct Reply {
    inside: Arc<Inside>,
    steps: VecDeque<Step>,
}

impl Drop for Reply {
    fn drop(&mut self) {
        self.inside.open.fetch_sub(1, Ordering::SeqCst);
    }
}

fn event(text: &str) -> Bytes {
    let piece = json!({"choices": [{"index": 0, "delta": {"content": text}}]});
    Bytes::from(format!("data: {piece}\n\n"))
}

fn note_key(inside: &Inside, headers: &HeaderMap) {
    let key = headers.get(header::AUTHORIZATION);
    let key = key.and_then(|key| key.to_str().ok()).unwrap_or_default();
    key.trim_start_matches("Bearer ")
        .clone_into(&mut inside.key.lock().unwrap());
}

async fn list(State(inside): State<Arc<Inside>>, headers: HeaderMap) -> Response {
    note_key(&inside, &headers);
    let status = StatusCode::from_u16(inside.listing.load(Ordering::SeqCst));
    let status = status.unwrap_or(StatusCode::NOT_FOUND);
    (status, r#"{"error":{"message":"scripted"}}"#).into_response()
}

async fn answer(
    State(inside): State<Arc<Inside>>,
    headers: HeaderMap,
    Json(body): Json<Value>,
) -> Response {
    note_key(&inside, &headers);
    inside.asked.lock().unwrap().push(body);
    let steps = inside.replies.lock().unwrap().pop_front();
    let steps: VecDeque<Step> = steps.unwrap_or_else(|| vec![Step::Status(500)]).into();
    if let Some(Step::Status(code)) = steps.front() {
        let status = StatusCode::from_u16(*code).unwrap();
        return (status, r#"{"error":{"message":"scripted"}}"#).into_response();
    }
    inside.open.fetch_add(1, Ordering::SeqCst);
    let reply = Reply { inside, steps };
    let pieces = stream::unfold(reply, |mut reply| async move {
        let piece = match reply.steps.pop_front()? {
            Step::Say(text) => Ok(event(&text)),
            Step::Endless(text) => {
                let piece = event(&text);
                reply.steps.push_front(Step::Endless(text));
                Ok(piece)
            }
            Step::Wait => std::future::pending().await,
            Step::Break | Step::Status(_) => Err(std::io::Error::other("broken")),
            Step::End => {
                let end = json!({
                    "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}],
                    "usage": {"prompt_tokens": 7, "completion_tokens": 3},
                });
                Ok(Bytes::from(format!("data: {end}\n\ndata: [DONE]\n\n")))
            }
        };
        Some((piece, reply))
    });
    let kind = [(header::CONTENT_TYPE, "text/event-stream")];
    (kind, Body::from_stream(pieces)).into_response()
}
