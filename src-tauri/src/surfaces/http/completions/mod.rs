//! The model endpoint: `POST /v1/chat/completions` and `GET /v1/models` as OpenAI's clients know them, in front of every
//! model of this node and of the mesh. It has a token of its own, which opens nothing else, and shapes of its own, so it
//! stands beside the table of routes of the operator API. What every request meets first (this machine alone, `Host`,
//! `Origin`) holds here too, and no page of another site is let in.

mod reading;
#[cfg(test)]
mod tests;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use futures_util::{StreamExt as _, stream};
use serde_json::{Map, Value, json};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::timeout;

use self::reading::{Asked, Wrong};
use super::{Api, auth};
use crate::adapters::llm::Pieces;
use crate::adapters::transport::{Slot, Visit};
use crate::domain::base::limits::{
    API_REQUEST_MS, COMPLETIONS_AT_ONCE_MAX, COMPLETIONS_BODY_MAX_BYTES,
    COMPLETIONS_PER_MINUTE_MAX, MESH_MODEL_STALL_MS, MODEL_PIECES_WAITING_MAX,
};
use crate::domain::inference::route::Route;
use crate::domain::inference::{Failure, FailureKind, Piece, Usage};
use crate::node::context::rate::PerMinute;
use crate::operator::inference::AUTO;

/// The prefix of this endpoint's paths.
pub(super) const ROOT: &str = "/v1/";

/// How often a stream says that it lives.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// The limits of the endpoint.
#[derive(Debug)]
pub(super) struct Completions {
    places: Arc<Semaphore>,
    rate: PerMinute,
}

impl Default for Completions {
    fn default() -> Self {
        Self {
            places: Arc::new(Semaphore::new(COMPLETIONS_AT_ONCE_MAX)),
            rate: PerMinute::default(),
        }
    }
}

/// Its routes.
pub(super) fn routes() -> Router<Arc<Api>> {
    Router::new()
        .route("/v1/models", get(models))
        .route("/v1/chat/completions", post(complete))
}

/// A refusal as OpenAI's clients read it.
#[derive(Debug)]
struct Failed {
    status: StatusCode,
    kind: &'static str,
    code: &'static str,
    why: String,
    param: Option<String>,
    /// After how many seconds to try again.
    again: Option<u64>,
}

impl Failed {
    fn new(status: StatusCode, kind: &'static str, code: &'static str, why: String) -> Self {
        Self {
            status,
            kind,
            code,
            why,
            param: None,
            again: None,
        }
    }

    fn asked(status: StatusCode, code: &'static str, why: impl Into<String>) -> Self {
        Self::new(status, "invalid_request_error", code, why.into())
    }

    fn busy(code: &'static str, why: String, again: u64) -> Self {
        let status = StatusCode::TOO_MANY_REQUESTS;
        Self {
            again: Some(again),
            ..Self::new(status, "rate_limit_error", code, why)
        }
    }

    fn body(&self) -> Value {
        json!({"error": {
            "message": self.why, "type": self.kind, "param": self.param, "code": self.code,
        }})
    }
}

impl From<Wrong> for Failed {
    fn from(wrong: Wrong) -> Self {
        Self {
            param: Some(wrong.param),
            ..Self::asked(StatusCode::BAD_REQUEST, "invalid_value", wrong.why)
        }
    }
}

impl IntoResponse for Failed {
    fn into_response(self) -> Response {
        let mut response = as_json(self.status, &self.body());
        let headers = response.headers_mut();
        if let Some(seconds) = self.again {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            let how = HeaderValue::from_static("Bearer");
            headers.insert(header::WWW_AUTHENTICATE, how);
        }
        response
    }
}

fn as_json(status: StatusCode, body: &Value) -> Response {
    let head = [
        (header::CONTENT_TYPE, "application/json"),
        (header::CACHE_CONTROL, "no-store"),
    ];
    (status, head, body.to_string()).into_response()
}

/// Why no model answers.
fn failed(route: &Route, failure: &Failure) -> Failed {
    let why = failure.why.clone();
    let upstream = |status, code| Failed::new(status, "api_error", code, why.clone());
    match failure.kind {
        FailureKind::NoModel if !route.private.is_empty() => {
            Failed::asked(StatusCode::FORBIDDEN, "private_data", why)
        }
        FailureKind::NoModel => Failed::asked(StatusCode::NOT_FOUND, "model_not_found", why),
        FailureKind::Refused => Failed::asked(StatusCode::BAD_REQUEST, "model_refused", why),
        FailureKind::RateLimited => {
            let again = failure.retry_after_ms.unwrap_or(5_000).div_ceil(1_000);
            Failed::busy("rate_limit_exceeded", why, again.clamp(1, 3_600))
        }
        FailureKind::Budget => Failed::busy("insufficient_quota", why, 3_600),
        FailureKind::Timeout => upstream(StatusCode::GATEWAY_TIMEOUT, "model_timeout"),
        FailureKind::Unreachable
        | FailureKind::Unauthorized
        | FailureKind::Server
        | FailureKind::BadReply
        | FailureKind::Cancelled => upstream(StatusCode::BAD_GATEWAY, "model_failed"),
    }
}

/// Lets a request pass that has the token of this endpoint.
fn admit(api: &Api, parts: &Parts) -> Result<(), Failed> {
    let presented = auth::bearer(&parts.headers);
    let known = presented.is_some_and(|token| {
        api.door.is_model_token(token).unwrap_or_else(|error| {
            tracing::warn!("the token of the model endpoint cannot be used: {error}");
            false
        })
    });
    if !known {
        let why = "a valid token is needed, as the API key of the client: `clawmesh-node model token` prints it";
        return Err(Failed::asked(
            StatusCode::UNAUTHORIZED,
            "invalid_api_key",
            why,
        ));
    }
    if let Some(slot) = parts.extensions.get::<Slot>() {
        slot.promote();
    }
    let now = api.door.context().now();
    match api.completions.rate.admits(COMPLETIONS_PER_MINUTE_MAX, now) {
        true => Ok(()),
        false => {
            let why = format!("more than {COMPLETIONS_PER_MINUTE_MAX} requests in a minute");
            Err(Failed::busy("rate_limit_exceeded", why, 60))
        }
    }
}

async fn models(State(api): State<Arc<Api>>, request: Request) -> Response {
    let (parts, _) = request.into_parts();
    if let Err(failed) = admit(&api, &parts) {
        return failed.into_response();
    }
    let names = api.door.model_names();
    let created = api.door.context().started_at.0 / 1_000;
    // `mesh/DEVICE/…` is of that device.
    let owner = |name: &str| match name.strip_prefix("mesh/") {
        Some(rest) => format!("device {}", rest.split('/').next().unwrap_or_default()),
        None => "this node".to_owned(),
    };
    let first = (!names.is_empty()).then(|| AUTO.to_owned());
    let all = first.into_iter().chain(names).map(
        |name| json!({"id": name, "object": "model", "created": created, "owned_by": owner(&name)}),
    );
    let all: Vec<Value> = all.collect();
    as_json(StatusCode::OK, &json!({"object": "list", "data": all}))
}

async fn complete(State(api): State<Arc<Api>>, request: Request) -> Response {
    let stop = api.door.context().tasks.stop().clone();
    let answered = tokio::select! {
        biased;
        () = stop.cancelled() => {
            let why = "the node is ending".to_owned();
            Err(Failed::new(StatusCode::SERVICE_UNAVAILABLE, "api_error", "node_ending", why))
        }
        answered = answer(&api, request) => answered,
    };
    answered.unwrap_or_else(IntoResponse::into_response)
}

async fn answer(api: &Arc<Api>, request: Request) -> Result<Response, Failed> {
    let (parts, body) = request.into_parts();
    admit(api, &parts)?;
    let asked = reading::read(&received(body).await?)?;
    if let Some(visit) = parts.extensions.get::<Visit>() {
        visit.is_worked_for();
    }
    let place = api.completions.places.clone().try_acquire_owned();
    let place = place.map_err(|_| {
        let why = format!("{COMPLETIONS_AT_ONCE_MAX} requests are answered already");
        Failed::busy("rate_limit_exceeded", why, 5)
    })?;
    let wanted = api.door.models_named(Some(&asked.model), None);
    let wanted = wanted.map_err(|refusal| {
        let why = refusal.message;
        Failed::asked(StatusCode::NOT_FOUND, "model_not_found", why)
    })?;
    let Asked {
        request,
        stream,
        usage,
        ..
    } = asked;
    if !stream {
        let (route, whole) = api.door.infer_whole(&wanted, request).await;
        let whole = whole.map_err(|failure| failed(&route, &failure))?;
        let reply = Said::new(api, &route);
        return Ok(as_json(
            StatusCode::OK,
            &reply.whole(&whole.text, &whole.usage),
        ));
    }
    let (route, mut pieces) = api.door.infer(&wanted, request).await;
    // A model that does not begin is told as a refusal, not in a stream.
    let first = match pieces.next().await {
        Some(Ok(first)) => first,
        Some(Err(failure)) => return Err(failed(&route, &failure)),
        None => {
            let why = "the reply has no beginning";
            return Err(failed(&route, &Failure::new(FailureKind::BadReply, why)));
        }
    };
    let (tell, told) = mpsc::channel(MODEL_PIECES_WAITING_MAX);
    let pieces = stream::iter([Ok(first)]).chain(pieces).boxed();
    let pump = Pump {
        said: Said::new(api, &route),
        usage,
        tell,
        _place: place,
    };
    let context = api.door.context();
    context
        .tasks
        .passing("completion", pump.run(pieces, context.tasks.stop().clone()));
    let events = stream::unfold(told, |mut told| async move {
        let event = told.recv().await?;
        Some((Ok::<_, Infallible>(event), told))
    });
    let alive = KeepAlive::new().interval(KEEP_ALIVE);
    Ok(Sse::new(events).keep_alive(alive).into_response())
}

async fn received(body: Body) -> Result<Map<String, Value>, Failed> {
    let reading = axum::body::to_bytes(body, COMPLETIONS_BODY_MAX_BYTES);
    let bytes: Bytes = match timeout(Duration::from_millis(API_REQUEST_MS), reading).await {
        Ok(Ok(bytes)) => bytes,
        Ok(Err(_)) => {
            let why = format!("a body may have {COMPLETIONS_BODY_MAX_BYTES} bytes at most");
            let status = StatusCode::PAYLOAD_TOO_LARGE;
            return Err(Failed::asked(status, "request_too_large", why));
        }
        Err(_) => {
            let why = "the body did not come in time";
            return Err(Failed::asked(StatusCode::REQUEST_TIMEOUT, "timeout", why));
        }
    };
    serde_json::from_slice(&bytes).map_err(|error| {
        let why = format!("the body is no JSON object: {error}");
        Failed::asked(StatusCode::BAD_REQUEST, "invalid_json", why)
    })
}

/// The members that every part of one answer repeats.
struct Said {
    id: String,
    created: u64,
    model: String,
}

impl Said {
    fn new(api: &Api, route: &Route) -> Self {
        let context = api.door.context();
        let id = context
            .fresh_id()
            .map_or_else(|_| String::new(), |id| id.simple().to_string());
        Self {
            id: format!("chatcmpl-{id}"),
            created: context.now().0 / 1_000,
            model: route
                .chosen
                .as_ref()
                .map_or_else(String::new, ToString::to_string),
        }
    }

    fn whole(&self, text: &str, usage: &Usage) -> Value {
        json!({
            "id": self.id, "object": "chat.completion", "created": self.created, "model": self.model,
            "choices": [{
                "index": 0, "message": {"role": "assistant", "content": text, "refusal": null},
                "logprobs": null, "finish_reason": finish(usage),
            }],
            "usage": used(usage),
        })
    }

    fn part(&self, choices: Value) -> Value {
        json!({
            "id": self.id, "object": "chat.completion.chunk", "created": self.created, "model": self.model,
            "choices": choices,
        })
    }

    fn delta(&self, delta: &Value, finish: Option<&str>) -> Value {
        self.part(json!([{"index": 0, "delta": delta, "logprobs": null, "finish_reason": finish}]))
    }
}

fn finish(usage: &Usage) -> &'static str {
    match usage.cut {
        true => "length",
        false => "stop",
    }
}

fn used(usage: &Usage) -> Value {
    json!({
        "prompt_tokens": usage.input_tokens, "completion_tokens": usage.output_tokens,
        "total_tokens": usage.input_tokens.saturating_add(usage.output_tokens),
    })
}

/// Passes a reply on to a client, until its end or until the client has gone or takes nothing for a while.
struct Pump {
    said: Said,
    usage: bool,
    tell: mpsc::Sender<Event>,
    _place: OwnedSemaphorePermit,
}

impl Pump {
    async fn run(self, pieces: Pieces, stop: tokio_util::sync::CancellationToken) {
        tokio::select! {
            biased;
            () = stop.cancelled() => {}
            () = self.tell.closed() => {}
            _ = self.pass(pieces) => {}
        }
    }

    async fn pass(&self, mut pieces: Pieces) -> Option<()> {
        let begin = json!({"role": "assistant", "content": ""});
        self.say(&self.said.delta(&begin, None)).await?;
        while let Some(piece) = pieces.next().await {
            match piece {
                Ok(Piece::Text(text)) => {
                    let delta = json!({"content": text});
                    self.say(&self.said.delta(&delta, None)).await?;
                }
                Ok(Piece::Call(_)) => {}
                Ok(Piece::End(usage)) => {
                    self.say(&self.said.delta(&json!({}), Some(finish(&usage))))
                        .await?;
                    if self.usage {
                        let mut last = self.said.part(json!([]));
                        last["usage"] = used(&usage);
                        self.say(&last).await?;
                    }
                    return self.send(Event::default().data("[DONE]")).await;
                }
                Err(failure) => {
                    // The text so far was sent already and is not repeated.
                    let told = failed(&Route::default(), &failure).body();
                    return self.say(&told).await;
                }
            }
        }
        Some(())
    }

    async fn say(&self, value: &Value) -> Option<()> {
        self.send(Event::default().data(value.to_string())).await
    }

    async fn send(&self, event: Event) -> Option<()> {
        let stall = Duration::from_millis(MESH_MODEL_STALL_MS);
        timeout(stall, self.tell.send(event)).await.ok()?.ok()
    }
}
