//! The answers: shapes, codes and words as those of claw-mesh expect them.

use std::sync::Arc;

use axum::Extension;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::Api;
use super::guard::Who;
use crate::domain::base::limits::COORDINATOR_BODY_MAX_BYTES;
use crate::domain::base::{Code, Refusal};
use crate::operator::coordinator::{Caller, Joining, Status, View, moment};

fn json(status: StatusCode, value: &Value) -> Response {
    let kind = [(header::CONTENT_TYPE, "application/json")];
    (status, kind, format!("{value}\n")).into_response()
}

/// An error as they tell one.
pub(super) fn error(status: StatusCode, why: &str) -> Response {
    json(status, &json!({"error": why}))
}

/// What the node refused.
pub(super) fn refused(refusal: &Refusal) -> Response {
    let status = match refusal.code {
        Code::DeliveryFailed => StatusCode::BAD_GATEWAY,
        code => StatusCode::from_u16(crate::operator::http_status(code))
            .unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
    };
    error(status, &refusal.message)
}

fn only_its_own() -> Response {
    let why = "the token of a node is good for that node alone";
    error(StatusCode::FORBIDDEN, why)
}

impl Who {
    fn is_admin(&self) -> bool {
        self.0 == Some(Caller::Admin)
    }

    fn may(&self, id: &str) -> bool {
        self.is_admin() || self.0.as_ref() == Some(&Caller::Agent(id.to_owned()))
    }
}

async fn read<T: DeserializeOwned>(body: Body) -> Result<T, Response> {
    let invalid = || error(StatusCode::BAD_REQUEST, "invalid request body");
    let bytes = axum::body::to_bytes(body, COORDINATOR_BODY_MAX_BYTES).await;
    let bytes = bytes.map_err(|_| invalid())?;
    serde_json::from_slice(&bytes).map_err(|_| invalid())
}

fn shown(view: &View) -> Value {
    json!({
        "id": view.id, "name": view.name, "endpoint": view.endpoint,
        "capabilities": view.capabilities, "status": view.status,
        "last_heartbeat": moment(view.heard_at),
    })
}

/// `POST /api/v1/nodes/register`
pub(super) async fn register(
    State(api): State<Arc<Api>>,
    Extension(who): Extension<Who>,
    body: Body,
) -> Response {
    let new = match read::<Joining>(body).await {
        Ok(new) => new,
        Err(answer) => return answer,
    };
    let Some(caller) = who.0 else {
        return only_its_own();
    };
    match api.door.coordinator().register(&caller, new).await {
        Ok((id, token)) => {
            let answer = json!({"node_id": id, "token": *token});
            json(StatusCode::CREATED, &answer)
        }
        Err(refusal) => refused(&refusal),
    }
}

/// `GET /api/v1/nodes`
pub(super) async fn nodes(State(api): State<Arc<Api>>) -> Response {
    let all = api.door.coordinator().all();
    json(StatusCode::OK, &all.iter().map(shown).collect())
}

/// `GET /api/v1/nodes/{id}`
pub(super) async fn node(State(api): State<Arc<Api>>, Path(id): Path<String>) -> Response {
    let all = api.door.coordinator().all();
    match all.iter().find(|one| one.id == id) {
        Some(one) => json(StatusCode::OK, &shown(one)),
        None => error(StatusCode::NOT_FOUND, "node not found"),
    }
}

/// `DELETE /api/v1/nodes/{id}`
pub(super) async fn remove(
    State(api): State<Arc<Api>>,
    Extension(who): Extension<Who>,
    Path(id): Path<String>,
) -> Response {
    if !who.may(&id) {
        return only_its_own();
    }
    match api.door.coordinator().remove(&id).await {
        Ok(()) => StatusCode::NO_CONTENT.into_response(),
        Err(refusal) => refused(&refusal),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Heartbeat {
    #[serde(default)]
    status: String,
}

/// `POST /api/v1/nodes/{id}/heartbeat`
pub(super) async fn heartbeat(
    State(api): State<Arc<Api>>,
    Extension(who): Extension<Who>,
    Path(id): Path<String>,
    body: Body,
) -> Response {
    if !who.may(&id) {
        return only_its_own();
    }
    let said = match read::<Heartbeat>(body).await {
        Ok(said) => said,
        Err(answer) => return answer,
    };
    let Ok(status) = serde_json::from_value::<Status>(said.status.into()) else {
        return error(StatusCode::BAD_REQUEST, "invalid status value");
    };
    match api.door.coordinator().heard(&id, status) {
        Ok(()) => StatusCode::NO_CONTENT.into_response(),
        Err(refusal) => refused(&refusal),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
#[derive(Default)]
struct Routing {
    content: String,
    source: String,
}

/// `POST /api/v1/route`
pub(super) async fn route(
    State(api): State<Arc<Api>>,
    Extension(who): Extension<Who>,
    body: Body,
) -> Response {
    send(&api, &who, None, body).await
}

/// `POST /api/v1/route/{id}`
pub(super) async fn route_to(
    State(api): State<Arc<Api>>,
    Extension(who): Extension<Who>,
    Path(id): Path<String>,
    body: Body,
) -> Response {
    send(&api, &who, Some(&id), body).await
}

async fn send(api: &Api, who: &Who, to: Option<&str>, body: Body) -> Response {
    if !who.is_admin() {
        return only_its_own();
    }
    let Ok(_place) = api.waiting.try_acquire() else {
        let why = "too many messages wait for their answers";
        return error(StatusCode::SERVICE_UNAVAILABLE, why);
    };
    let asked = match read::<Routing>(body).await {
        Ok(asked) => asked,
        Err(answer) => return answer,
    };
    if asked.content.is_empty() {
        return error(StatusCode::BAD_REQUEST, "content is required");
    }
    let routed = api
        .door
        .coordinator_route(asked.content, &asked.source, to)
        .await;
    match routed {
        Ok(done) => {
            let answer = json!({
                "message_id": done.message, "node_id": done.node, "response": done.response,
            });
            json(StatusCode::OK, &answer)
        }
        Err(refusal) => refused(&refusal),
    }
}

/// `GET /healthz`
pub(super) async fn healthz() -> Response {
    json(StatusCode::OK, &json!({"status": "ok"}))
}

/// Whatever else is asked for.
pub(super) async fn nothing_here() -> Response {
    (StatusCode::NOT_FOUND, "404 page not found\n").into_response()
}
