//! A model behind HTTP. One request is one connection, so that dropping the stream of pieces ends both; nothing runs
//! without a reader. Redirects are not followed: requests go only to the configured address.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::Stream;
use futures_util::StreamExt as _;
use futures_util::future::BoxFuture;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::header::{
    ACCEPT, AUTHORIZATION, CONNECTION, CONTENT_TYPE, HOST, HeaderMap, HeaderValue, LOCATION,
    RETRY_AFTER, USER_AGENT,
};
use hyper::{Request, Response, StatusCode};
use serde_json::Value;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::address::Speech;
use super::reading::{Building, Told, shown, too_large, words};
use super::saying::Mouth;
use super::secret::{Keys, Secret};
use super::sse::Events;
use super::{Model, Pieces, anthropic, openai};
use crate::adapters::http_client::{Address, Reach, begin, dial, over};
use crate::domain::base::limits::{
    MODEL_CONNECT_MS, MODEL_ERROR_MAX_BYTES, MODEL_FIRST_MS, MODEL_LINE_MAX_BYTES,
    MODEL_PIECES_WAITING_MAX, MODEL_PROBE_MS, MODEL_SILENCE_MS, MODEL_STREAM_MAX_BYTES,
    MODEL_TOTAL_MS,
};
use crate::domain::inference::{Failure, FailureKind, InferenceRequest, ModelRef, Piece};

/// How long a server may take.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// To be connected to.
    pub connect: Duration,
    /// From then until the first piece.
    pub first: Duration,
    /// Between two pieces.
    pub silence: Duration,
    /// For all of it.
    pub total: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            connect: Duration::from_millis(MODEL_CONNECT_MS),
            first: Duration::from_millis(MODEL_FIRST_MS),
            silence: Duration::from_millis(MODEL_SILENCE_MS),
            total: Duration::from_millis(MODEL_TOTAL_MS),
        }
    }
}

/// A model and the server that it is asked at.
#[derive(Clone)]
pub struct Server(Arc<Parts>);

struct Parts {
    name: ModelRef,
    address: Address,
    speech: Speech,
    keys: Keys,
    patience: Patience,
}

impl Server {
    /// The model of this name at this address.
    pub fn new(
        name: ModelRef,
        address: Address,
        speech: Speech,
        keys: Keys,
        patience: Patience,
    ) -> Self {
        Self(Arc::new(Parts {
            name,
            address,
            speech,
            keys,
            patience,
        }))
    }
}

impl Model for Server {
    fn name(&self) -> &ModelRef {
        &self.0.name
    }

    fn infer(&self, request: Arc<InferenceRequest>) -> Pieces {
        let (say, said) = mpsc::channel(MODEL_PIECES_WAITING_MAX);
        let parts = self.0.clone();
        let work = async move {
            let total = parts.patience.total;
            match timeout(total, parts.talk(&request, say)).await {
                Ok(done) => done,
                Err(_) => Err(parts.slow("has not ended its reply", total)),
            }
        };
        let talk = Talk {
            work: Some(Box::pin(work)),
            said,
            failure: None,
        };
        talk.boxed()
    }

    fn probe(&self) -> BoxFuture<'static, Result<(), Failure>> {
        let parts = self.0.clone();
        let limit = Duration::from_millis(MODEL_PROBE_MS);
        Box::pin(async move {
            match timeout(limit, parts.probed()).await {
                Ok(done) => done,
                Err(_) => Err(parts.slow("has not answered", limit)),
            }
        })
    }
}

/// A request under way: it moves while its stream is polled, and ends when the stream is dropped.
struct Talk {
    work: Option<BoxFuture<'static, Result<(), Failure>>>,
    said: mpsc::Receiver<Piece>,
    failure: Option<Failure>,
}

impl Stream for Talk {
    type Item = Result<Piece, Failure>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            match self.said.poll_recv(cx) {
                Poll::Ready(Some(piece)) => return Poll::Ready(Some(Ok(piece))),
                Poll::Ready(None) if self.work.is_none() => {
                    return Poll::Ready(self.failure.take().map(Err));
                }
                _ => {}
            }
            let Some(work) = self.work.as_mut() else {
                return Poll::Pending;
            };
            match work.as_mut().poll(cx) {
                Poll::Ready(done) => {
                    self.work = None;
                    self.failure = done.err();
                }
                // It may have said something meanwhile, which the channel wakes us for.
                Poll::Pending => match self.said.poll_recv(cx) {
                    Poll::Ready(Some(piece)) => return Poll::Ready(Some(Ok(piece))),
                    _ => return Poll::Pending,
                },
            }
        }
    }
}

impl Parts {
    /// One request and its reply.
    async fn talk(
        &self,
        request: &InferenceRequest,
        say: mpsc::Sender<Piece>,
    ) -> Result<(), Failure> {
        let key = (self.keys)().map_err(|why| Failure::new(FailureKind::Unauthorized, why))?;
        let question = self.question(request, key.as_ref())?;
        let done = self
            .exchange(question, Some(&Mouth::of(&say, key.as_ref())))
            .await;
        done.map_err(|mut failure| {
            if let Some(key) = &key {
                failure.why = key.hide_in(&failure.why);
            }
            failure
        })
    }

    /// Asks for the list of models, which costs nothing. A server that has none answers all the same.
    async fn probed(&self) -> Result<(), Failure> {
        let key = (self.keys)().map_err(|why| Failure::new(FailureKind::Unauthorized, why))?;
        let request = self.request("GET", "/models", key.as_ref(), Bytes::new())?;
        match self.exchange(request, None).await {
            Err(mut failure)
                if failure.kind.may_pass() || failure.kind == FailureKind::Unauthorized =>
            {
                if let Some(key) = &key {
                    failure.why = key.hide_in(&failure.why);
                }
                Err(failure)
            }
            _ => Ok(()),
        }
    }

    /// Sends a request; says the pieces of its reply, or leaves that unread.
    async fn exchange(
        &self,
        request: Request<Full<Bytes>>,
        say: Option<&Mouth<'_>>,
    ) -> Result<(), Failure> {
        let wire = match timeout(self.patience.connect, dial(&self.address, None)).await {
            Ok(Ok(wire)) => wire,
            Ok(Err(error)) => {
                return Err(self.lost(&format!("cannot be reached: {error}")));
            }
            Err(_) => {
                return Err(self.slow("does not take a connection", self.patience.connect));
            }
        };
        let ready = begin(wire).await;
        let (mut sender, connection) = ready.map_err(|e| self.lost(&e.to_string()))?;
        let exchange = async {
            let first = self.patience.first;
            let response = match timeout(first, sender.send_request(request)).await {
                Ok(Ok(response)) => response,
                Ok(Err(error)) => {
                    return Err(self.lost(&format!("broke the connection off: {error}")));
                }
                Err(_) => return Err(self.slow("has not begun to answer", first)),
            };
            match (response.status().is_success(), say) {
                (true, Some(say)) => self.read(response, say).await,
                (true, None) => Ok(()),
                (false, _) => Err(self.refused(response).await),
            }
        };
        over(connection, exchange).await
    }

    fn question(
        &self,
        request: &InferenceRequest,
        key: Option<&Secret>,
    ) -> Result<Request<Full<Bytes>>, Failure> {
        let model = self.name.model();
        let (path, body) = match self.speech {
            Speech::OpenAi => {
                let newer = self.name.provider() == "openai";
                ("/chat/completions", openai::body(model, request, newer))
            }
            Speech::Anthropic => ("/messages", anthropic::body(model, request)),
        };
        self.request("POST", path, key, Bytes::from(body.to_string()))
    }

    fn request(
        &self,
        method: &str,
        path: &str,
        key: Option<&Secret>,
        body: Bytes,
    ) -> Result<Request<Full<Bytes>>, Failure> {
        let mut built = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.address.path))
            .header(HOST, self.address.authority())
            .header(
                USER_AGENT,
                concat!("clawmesh-node/", env!("CARGO_PKG_VERSION")),
            )
            .header(ACCEPT, "text/event-stream, application/json")
            .header(CONTENT_TYPE, "application/json")
            .header(CONNECTION, "close");
        if self.speech == Speech::Anthropic {
            built = built.header("anthropic-version", "2023-06-01");
        }
        if let Some(key) = key {
            if !self.address.tls && self.address.reach() == Reach::Public {
                let why = format!(
                    "the key of {} is not sent to {}, where anybody on the way could read it; use https:// in its url",
                    self.name, self.address
                );
                return Err(Failure::new(FailureKind::Unauthorized, why));
            }
            let (name, value) = match self.speech {
                Speech::OpenAi => (AUTHORIZATION.as_str(), format!("Bearer {}", key.reveal())),
                Speech::Anthropic => ("x-api-key", key.reveal().to_owned()),
            };
            let value = HeaderValue::from_str(&zeroize::Zeroizing::new(value)).map(|mut value| {
                value.set_sensitive(true);
                value
            });
            let value = value.map_err(|_| {
                let why = format!("the key of {} cannot stand in a request", self.name);
                Failure::new(FailureKind::Unauthorized, why)
            })?;
            built = built.header(name, value);
        }
        built.body(Full::new(body)).map_err(|e| {
            let why = format!("no request can be made for {}: {e}", self.address);
            Failure::new(FailureKind::Refused, why)
        })
    }

    /// Reads a reply and says its pieces.
    async fn read(&self, response: Response<Incoming>, say: &Mouth<'_>) -> Result<(), Failure> {
        let kind = response.headers().get(CONTENT_TYPE);
        let kind = kind.and_then(|v| v.to_str().ok()).unwrap_or_default();
        let streamed = !kind.starts_with("application/json");
        if kind.starts_with("text/html") {
            let why = format!(
                "{} answers with a web page; its url is not that of a model's server, which mostly ends in /v1",
                self.address
            );
            return Err(Failure::new(FailureKind::BadReply, why));
        }
        let (mut events, mut reply) = (Events::default(), Building::default());
        let (mut body, mut bytes, mut spoke) = (response.into_body(), 0_usize, false);
        let mut whole = Vec::new();
        let begun = tokio::time::Instant::now();
        loop {
            let patience = match spoke {
                true => self.patience.silence,
                false => self.patience.first.saturating_sub(begun.elapsed()),
            };
            let frame = match timeout(patience, body.frame()).await {
                Ok(Some(Ok(frame))) => frame,
                Ok(None) => break,
                Ok(Some(Err(error))) => {
                    return Err(self.lost(&format!("broke off in its reply: {error}")));
                }
                Err(_) if spoke => {
                    return Err(self.slow("fell silent in its reply", self.patience.silence));
                }
                Err(_) => return Err(self.slow("has not begun to answer", self.patience.first)),
            };
            let Ok(data) = frame.into_data() else {
                continue;
            };
            bytes += data.len();
            let most = match streamed {
                true => MODEL_STREAM_MAX_BYTES,
                false => MODEL_LINE_MAX_BYTES,
            };
            if bytes > most {
                return Err(too_large());
            }
            if !streamed {
                whole.extend_from_slice(&data);
                continue;
            }
            for event in events.take(&data).map_err(|_| too_large())? {
                let told = self.event(&event, &mut reply)?;
                spoke = spoke || !told.pieces.is_empty();
                let ended = told.ended;
                say.tell(told).await?;
                if ended {
                    return Ok(());
                }
            }
        }
        let last = match streamed {
            true => events.end().map_err(|_| too_large())?,
            false => Some(String::from_utf8_lossy(&whole).into_owned()),
        };
        if let Some(event) = last {
            let told = self.event(&event, &mut reply)?;
            let ended = told.ended;
            say.tell(told).await?;
            if ended {
                return Ok(());
            }
        }
        match reply.finished {
            true => say.tell(reply.ended()).await,
            false if bytes == 0 || (!streamed && !spoke) => {
                let why = format!("{} sent no reply of a model", self.address);
                Err(Failure::new(FailureKind::BadReply, why))
            }
            false => Err(self.lost("broke off in its reply")),
        }
    }

    fn event(&self, data: &str, reply: &mut Building) -> Result<Told, Failure> {
        match self.speech {
            Speech::OpenAi => openai::read(data, reply),
            Speech::Anthropic => anthropic::read(data, reply),
        }
    }

    /// The failure for a server's error response, with advice.
    async fn refused(&self, response: Response<Incoming>) -> Failure {
        let (head, body) = response.into_parts();
        let limited = Limited::new(body, MODEL_ERROR_MAX_BYTES).collect();
        let said = match timeout(self.patience.silence, limited).await {
            Ok(Ok(body)) => said_in(&body.to_bytes()),
            _ => String::new(),
        };
        let said = match said.is_empty() {
            true => String::new(),
            false => format!(": {said}"),
        };
        let (provider, model, at) = (self.name.provider(), self.name.model(), &self.address);
        let status = head.status;
        let (kind, why) = match status.as_u16() {
            401 => (
                FailureKind::Unauthorized,
                format!(
                    "{at} does not take the key, or wants one{said}; set it with `clawmesh-node credential set \
                     provider/{provider}`"
                ),
            ),
            402 => (
                FailureKind::Refused,
                format!("{at} wants to be paid{said}; look at the account at {provider}"),
            ),
            // The content of a request may be the reason, so that the key is not taken for a wrong one.
            403 => (
                FailureKind::Refused,
                format!(
                    "{at} does not let this key use {model}{said}; look at its rights at {provider}"
                ),
            ),
            404 => (
                FailureKind::Refused,
                format!(
                    "{at} knows no model {model}, or is no model's server{said}; look at its name and its url"
                ),
            ),
            429 => (
                FailureKind::RateLimited,
                format!("{at} takes no more requests for now{said}; wait, or add another model"),
            ),
            300..=399 => {
                let to = head.headers.get(LOCATION).and_then(|v| v.to_str().ok());
                let to = shown(to.unwrap_or("another place"));
                (
                    FailureKind::Refused,
                    format!(
                        "{at} sends on to {to}, which is not followed; write that place as its url"
                    ),
                )
            }
            408 | 425 | 500..=599 => (
                FailureKind::Server,
                format!("{at} failed with status {status}{said}; try again, or look at its log"),
            ),
            _ => (
                FailureKind::Refused,
                format!("{at} refuses the request with status {status}{said}"),
            ),
        };
        Failure {
            kind,
            why,
            retry_after_ms: retry_after(status, &head.headers),
        }
    }

    fn lost(&self, what: &str) -> Failure {
        let hint = match self.address.reach() {
            Reach::Loopback => "is it running? Start it, or write its url in config.toml",
            _ => "look at the network, and at its url in config.toml",
        };
        let why = format!("{} {what}; {hint}", self.address);
        Failure::new(FailureKind::Unreachable, why)
    }

    fn slow(&self, what: &str, after: Duration) -> Failure {
        let why = format!(
            "{} {what} within {} s; try again, or use a smaller or another model",
            self.address,
            after.as_secs_f64()
        );
        Failure::new(FailureKind::Timeout, why)
    }
}

/// Says pieces to whoever reads them; fails where nobody does any more.
/// What the body of an error says, in words.
fn said_in(body: &[u8]) -> String {
    match serde_json::from_slice::<Value>(body) {
        Ok(value) => {
            // Google's comes in a list.
            let value = value.get(0).cloned().unwrap_or(value);
            words(value.get("error").unwrap_or(&value))
        }
        Err(_) => shown(&String::from_utf8_lossy(body)),
    }
}

/// After how long the server wants to be asked again. Only seconds are read; a date is left out.
fn retry_after(status: StatusCode, headers: &HeaderMap) -> Option<u64> {
    let waits = status == StatusCode::TOO_MANY_REQUESTS || status.is_server_error();
    let text = headers.get(RETRY_AFTER).filter(|_| waits)?.to_str().ok()?;
    let seconds: f64 = text.trim().parse().ok()?;
    let ms = Duration::try_from_secs_f64(seconds).ok()?.as_millis();
    u64::try_from(ms).ok()
}
