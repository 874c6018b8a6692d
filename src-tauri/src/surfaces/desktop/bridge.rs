//! How the page reaches the node: one command carries an HTTP-shaped request to the very router that
//! sockets reach, and one channel carries the event stream. No port and no token is in the webview;
//! the mark [`AtTheWindow`] that authorises the request exists in this process only.
//!
//! A page that takes nothing is not sent more: the stream then waits at the node, which holds its
//! place, and ends after a while with the word that everything has to be read again. A new page ends
//! the stream of the old one.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderName, Method, Request, StatusCode, header};
use bytes::Bytes;
use http_body_util::BodyExt as _;
use serde::{Deserialize, Serialize};
use tauri::ipc::{Channel, Response};
use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

use super::gesture::Gestures;
use super::host::Host;
use super::lines::{self, Lines, Piece};
use super::stop::{Stopped, Unstopped};
use super::system;
use crate::domain::base::limits::{
    HTTP_BODY_MAX_BYTES, WINDOW_ANSWER_MAX_BYTES, WINDOW_BATCH_BYTES, WINDOW_BATCH_MS,
    WINDOW_BATCHES_WAITING_MAX, WINDOW_BLOCKED_MS, WINDOW_PRESS_MS, WINDOW_REQUEST_MS,
};
use crate::domain::base::{Code, Refusal};
use crate::node::context::tasks::Tasks;
use crate::operator::access::{API_ROOT, AtTheWindow};
use crate::operator::dto::{ErrorBody, ErrorView};
use crate::operator::http_status;

/// The headers a page may send.
const HEADERS: [&str; 3] = ["accept", "content-type", "last-event-id"];

/// Posted routes that only read; and the stop, which is never delayed.
const NO_PRESS_NEEDED: [&str; 4] = [
    "/policy/explain",
    "/session/end",
    "/estop",
    "/models/explain",
];

/// Routes that change trust, operators or permissions: each such change uses up one press.
const RESERVED: [&str; 8] = [
    "/operators",
    "/trust",
    "/policy/reload",
    "/devices/reload",
    "/pairing",
    "/estop/release",
    "/names",
    "/credentials",
];

/// A request of the page.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Asked {
    method: String,
    path: String,
    #[serde(default)]
    headers: Vec<(String, String)>,
    #[serde(default)]
    body: Option<String>,
}

/// An answer as bytes: the status in three digits, a line break, the body.
fn shaped(status: StatusCode, body: &[u8]) -> Response {
    let mut bytes = format!("{}\n", status.as_u16()).into_bytes();
    bytes.extend_from_slice(body);
    Response::new(bytes)
}

fn body_of(refusal: &Refusal) -> ErrorBody {
    ErrorBody {
        error: ErrorView {
            code: refusal.code.as_str().to_owned(),
            message: refusal.message.clone(),
        },
    }
}

/// A refusal in the shape the API has.
pub(super) fn refused(refusal: &Refusal) -> Response {
    let status = StatusCode::from_u16(http_status(refusal.code));
    let body = serde_json::to_vec(&body_of(refusal)).unwrap_or_default();
    shaped(status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR), &body)
}

/// A good answer.
pub(super) fn answered(value: &impl Serialize) -> Response {
    match serde_json::to_vec(value) {
        Ok(body) => shaped(StatusCode::OK, &body),
        Err(error) => refused(&Refusal::new(Code::InternalError, error.to_string())),
    }
}

fn bad(why: impl Into<String>) -> Refusal {
    Refusal::new(Code::InvalidParams, why)
}

/// The request as the router takes it.
fn to_http(asked: Asked) -> Result<Request<Body>, Refusal> {
    let inside = asked.path.strip_prefix(API_ROOT);
    if !inside.is_some_and(|rest| rest.starts_with('/')) || asked.path.contains("..") {
        return Err(bad(format!(
            "the window asks for paths below {API_ROOT}/ only"
        )));
    }
    let method = Method::from_bytes(asked.method.as_bytes()).map_err(|e| bad(e.to_string()))?;
    let body = asked.body.unwrap_or_default();
    if body.len() > HTTP_BODY_MAX_BYTES {
        return Err(Refusal::new(Code::TooLarge, "the request is too large"));
    }
    let mut builder = Request::builder().method(method).uri(asked.path);
    for (name, value) in asked.headers {
        let name = HeaderName::try_from(name).map_err(|e| bad(e.to_string()))?;
        if !HEADERS.contains(&name.as_str()) {
            return Err(bad(format!("the window sends no header {name}")));
        }
        builder = builder.header(name, value);
    }
    builder
        .extension(AtTheWindow)
        .body(Body::from(body))
        .map_err(|e| bad(e.to_string()))
}

/// Whether a change comes with a press of the person.
fn pressed(request: &Request<Body>, gestures: &Gestures) -> Result<(), Refusal> {
    let path = request.uri().path();
    let free = path.strip_prefix(API_ROOT).unwrap_or(path);
    let reads = request.method() == Method::GET || request.method() == Method::HEAD;
    if !reads && free.starts_with("/proposals/") && free.ends_with("/decision") {
        return Err(Refusal::new(
            Code::NotAuthorized,
            "the window takes no signed decisions; it signs itself, at a press",
        ));
    }
    let within = Duration::from_millis(WINDOW_PRESS_MS);
    if reads
        || NO_PRESS_NEEDED.contains(&free)
        || match RESERVED.iter().any(|part| free.starts_with(part)) {
            // One press, one change of who counts here.
            true => gestures.take(within, Instant::now()),
            // Where no press is seen, what changes who counts here is refused, and other changes need none: they
            // sign nothing.
            false => !system::SEEN || gestures.seen(within, Instant::now()),
        }
    {
        return Ok(());
    }
    Err(Refusal::new(
        Code::NotAuthorized,
        match system::SEEN {
            true => {
                "a change in the window needs a press by the person at it; press the button again"
            }
            false => {
                "on this system the window cannot tell a person's press from a script's; do this with clawmesh-node on the command line"
            }
        },
    ))
}

/// Whether it asks for the emergency stop.
fn is_stop(request: &Request<Body>) -> bool {
    let path = request.uri().path();
    request.method() == Method::POST && path.strip_prefix(API_ROOT) == Some("/estop")
}

async fn asked_of(router: Router, request: Request<Body>, stops: Unstopped) -> Response {
    let stop = is_stop(&request);
    let Ok(answer) = router.oneshot(request).await;
    let (parts, body) = answer.into_parts();
    let kind = parts.headers.get(header::CONTENT_TYPE);
    if kind.is_some_and(|k| k.as_bytes().starts_with(b"text/event-stream")) {
        return refused(&bad("a stream is followed, not asked for"));
    }
    match axum::body::to_bytes(body, WINDOW_ANSWER_MAX_BYTES).await {
        Ok(bytes) => {
            if stop && let Ok(report) = serde_json::from_slice(&bytes) {
                // The page shows it itself; the tray keeps it after the page has gone on.
                stops.take(&Stopped::reported(report));
            }
            shaped(parts.status, &bytes)
        }
        Err(error) => refused(&Refusal::new(
            Code::TooLarge,
            format!("the answer did not come whole: {error}"),
        )),
    }
}

/// The carrier of requests and the stream.
pub(super) struct Bridge {
    host: Arc<Host>,
    tasks: Tasks,
    gestures: Gestures,
    stops: Unstopped,
    stream: Mutex<Stream>,
    lines: Lines,
}

/// The stream of the page that is loaded now.
#[derive(Default)]
struct Stream {
    number: u64,
    stop: CancellationToken,
    taken: Arc<Taken>,
}

/// How many batches the page has taken.
#[derive(Debug, Default)]
struct Taken {
    count: AtomicU64,
    more: Notify,
}

/// A message of the stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub(super) enum Told {
    /// The stream is open.
    Open,
    /// Events as the API streams them, as text.
    Events {
        /// The text of whole events.
        text: String,
    },
    /// The page was too slow: everything has to be read again.
    Resync,
    /// The stream has ended.
    End {
        /// Why.
        why: String,
    },
}

impl Bridge {
    /// A bridge to the node of `host`.
    pub(super) fn new(host: Arc<Host>, tasks: Tasks, gestures: Gestures, stops: Unstopped) -> Self {
        Self {
            host,
            tasks,
            gestures,
            stops,
            stream: Mutex::default(),
            lines: Lines::default(),
        }
    }

    fn stream(&self) -> MutexGuard<'_, Stream> {
        self.stream.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Carries one request; every failure is an answer too.
    pub(super) async fn ask(&self, asked: Asked) -> Response {
        let prepared = to_http(asked).and_then(|r| pressed(&r, &self.gestures).map(|()| r));
        let (request, running) = match prepared.and_then(|r| Ok((r, self.host.now()?))) {
            Ok(ready) => ready,
            Err(refusal) => return refused(&refusal),
        };
        let (sender, answer) = oneshot::channel();
        let work = asked_of(running.router, request, self.stops.clone());
        // In a task: a handler that panics must not leave the page waiting.
        self.tasks.passing("window request", async move {
            let limit = Duration::from_millis(WINDOW_REQUEST_MS);
            let answer = tokio::time::timeout(limit, work).await;
            let late = Refusal::new(Code::Timeout, "the request took too long and was given up");
            let _ = sender.send(answer.unwrap_or_else(|_| refused(&late)));
        });
        answer.await.unwrap_or_else(|_| {
            refused(&Refusal::new(
                Code::InternalError,
                "the request ended without an answer; the log says why",
            ))
        })
    }

    /// Begins a request whose answer comes piece by piece; its number. A refusal is an answer too.
    pub(super) fn listen(&self, asked: Asked, page: Channel<Piece>) -> u64 {
        let prepared = to_http(asked).and_then(|r| pressed(&r, &self.gestures).map(|()| r));
        let ready = prepared.and_then(|r| Ok((r, self.host.now()?, self.lines.begin()?)));
        let (request, running, line) = match ready {
            Ok(ready) => ready,
            Err(refusal) => {
                let body = serde_json::to_vec(&body_of(&refusal)).unwrap_or_default();
                for piece in lines::refused(&refusal, &body) {
                    let _ = page.send(piece);
                }
                return 0;
            }
        };
        let number = line.number;
        let told = move |piece| page.send(piece).is_ok();
        let carried = line.carry(running.router, request, running.over, told);
        self.tasks.passing("window answer", carried);
        number
    }

    /// The page does not want an answer any more.
    pub(super) fn leave(&self, number: u64) {
        self.lines.leave(number);
    }

    /// Ends the stream of the page that was loaded before, and the answers it waited for.
    pub(super) fn page_gone(&self) {
        self.stream().stop.cancel();
        self.lines.leave_all();
    }

    /// The page has taken batches of a stream.
    pub(super) fn heard(&self, number: u64, count: u64) {
        let stream = self.stream();
        if stream.number == number {
            stream.taken.count.fetch_max(count, Ordering::AcqRel);
            stream.taken.more.notify_one();
        }
    }

    /// Begins a stream and ends the one before; its number.
    ///
    /// # Errors
    /// If no node runs, or it gives no stream.
    pub(super) async fn follow(
        &self,
        since: Option<u64>,
        page: Channel<Told>,
    ) -> Result<u64, Refusal> {
        let running = self.host.now()?;
        let query = since.map(|n| format!("?since={n}")).unwrap_or_default();
        let request = to_http(Asked {
            method: "GET".to_owned(),
            path: format!("{API_ROOT}/stream{query}"),
            headers: Vec::new(),
            body: None,
        })?;
        let Ok(answer) = running.router.oneshot(request).await;
        if answer.status() != StatusCode::OK {
            let why = format!("the node gave no event stream ({})", answer.status());
            return Err(Refusal::new(Code::Busy, why));
        }
        let (number, stop, taken) = {
            let mut stream = self.stream();
            stream.stop.cancel();
            let number = stream.number + 1;
            *stream = Stream {
                number,
                ..Stream::default()
            };
            (number, stream.stop.clone(), stream.taken.clone())
        };
        let over = running.over;
        self.tasks.passing("window stream", async move {
            let told = |message: Told| page.send(message).is_ok();
            if !told(Told::Open) {
                return;
            }
            let pump = pump(answer.into_body(), &taken, &told);
            let why = tokio::select! {
                () = stop.cancelled() => return,
                () = over.cancelled() => "the node has ended",
                why = pump => why,
            };
            told(Told::End {
                why: why.to_owned(),
            });
        });
        Ok(number)
    }
}

/// Sends what comes, gathered for a moment, and never more than the page takes.
async fn pump(mut body: Body, taken: &Taken, told: &impl Fn(Told) -> bool) -> &'static str {
    let mut sent = 0u64;
    let mut gathered = String::new();
    let mut due: Option<Instant> = None;
    loop {
        let blocked = || sent.saturating_sub(taken.count.load(Ordering::Acquire));
        if blocked() >= WINDOW_BATCHES_WAITING_MAX {
            let patience = Duration::from_millis(WINDOW_BLOCKED_MS);
            if tokio::time::timeout(patience, taken.more.notified())
                .await
                .is_err()
            {
                told(Told::Resync);
                return "the window took nothing for too long";
            }
            continue;
        }
        let flush = async {
            match due {
                Some(at) => tokio::time::sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        let ended = tokio::select! {
            biased;
            () = flush => false,
            frame = body.frame() => match frame {
                Some(Ok(frame)) => {
                    gathered.push_str(&text(frame.into_data().unwrap_or_default()));
                    due.get_or_insert(Instant::now() + Duration::from_millis(WINDOW_BATCH_MS));
                    if gathered.len() < WINDOW_BATCH_BYTES {
                        continue;
                    }
                    false
                }
                _ => true,
            },
        };
        if !gathered.is_empty() {
            let text = std::mem::take(&mut gathered);
            sent += 1;
            if !told(Told::Events { text }) {
                return "the window is gone";
            }
        }
        due = None;
        if ended {
            return "the node ended the stream";
        }
    }
}

/// The events are JSON in UTF-8, each piece a whole one.
fn text(bytes: Bytes) -> String {
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use futures_util::stream;

    use super::*;

    fn asked(method: &str, path: &str) -> Asked {
        Asked {
            method: method.to_owned(),
            path: path.to_owned(),
            headers: Vec::new(),
            body: None,
        }
    }

    #[test]
    fn only_the_api_is_reached_and_only_with_harmless_headers() {
        assert!(to_http(asked("GET", "/api/operator/v1/status?x=1")).is_ok());
        for path in [
            "/metrics",
            "http://x/api/operator/v1/status",
            "/api/operator/v1",
            "/api/operator/v1/../../metrics",
            "/api/operator/v1x/status",
        ] {
            assert!(to_http(asked("GET", path)).is_err(), "{path}");
        }
        let mut bearer = asked("GET", "/api/operator/v1/status");
        bearer.headers = vec![("Authorization".to_owned(), "Bearer x".to_owned())];
        assert!(to_http(bearer).is_err());
        let mut large = asked("POST", "/api/operator/v1/drafts");
        large.body = Some("x".repeat(HTTP_BODY_MAX_BYTES + 1));
        assert_eq!(to_http(large).unwrap_err().code, Code::TooLarge);
    }

    #[test]
    fn a_change_needs_a_press_and_the_stop_none() {
        let gestures = Gestures::default();
        let ask = |method: &str, path: &str| {
            let request = to_http(asked(method, &format!("{API_ROOT}{path}"))).unwrap();
            pressed(&request, &gestures)
        };
        ask("GET", "/status").unwrap();
        ask("POST", "/estop").unwrap();
        ask("POST", "/operators").unwrap_err();
        gestures.down(
            crate::surfaces::desktop::gesture::Code::Button(1),
            true,
            Instant::now(),
        );
        ask("POST", "/drafts").unwrap();
        ask("POST", "/operators").unwrap();
        ask("POST", "/operators").unwrap_err();
        ask("POST", "/proposals/x/decision").unwrap_err();
    }

    #[tokio::test(start_paused = true)]
    async fn a_page_that_takes_nothing_is_sent_no_more_and_told_to_read_again() {
        let endless = stream::unfold(0u64, |n| async move {
            tokio::time::sleep(Duration::from_millis(WINDOW_BATCH_MS * 2)).await;
            Some((Ok::<_, std::io::Error>(format!("data: {n}\n\n")), n + 1))
        });
        let heard = Mutex::new(Vec::new());
        let told = |message: Told| {
            heard.lock().unwrap().push(message);
            true
        };
        let why = pump(Body::from_stream(endless), &Taken::default(), &told).await;
        assert!(why.contains("too long"));
        let heard = heard.into_inner().unwrap();
        assert_eq!(heard.last(), Some(&Told::Resync));
        let batches = u64::try_from(heard.len()).unwrap() - 1;
        assert_eq!(batches, WINDOW_BATCHES_WAITING_MAX);
    }

    #[tokio::test(start_paused = true)]
    async fn what_comes_together_is_sent_together_and_whole() {
        let many = (0..1_000).map(|n| Ok::<_, std::io::Error>(format!("data: {n}\n\n")));
        let heard = Mutex::new(Vec::new());
        let told = |message: Told| {
            heard.lock().unwrap().push(message);
            true
        };
        pump(
            Body::from_stream(stream::iter(many)),
            &Taken::default(),
            &told,
        )
        .await;
        let heard = heard.into_inner().unwrap();
        assert!(heard.len() < 4, "{}", heard.len());
        let all: String = heard
            .iter()
            .map(|m| match m {
                Told::Events { text } => text.as_str(),
                _ => "",
            })
            .collect();
        assert_eq!(all.matches("data: ").count(), 1_000);
    }
}
