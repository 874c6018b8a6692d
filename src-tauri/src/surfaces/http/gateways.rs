//! Gateways of agents over HTTP; their tokens go in and never come out.

use std::sync::Arc;

use axum::Extension;
use axum::extract::State;

use super::Api;
use super::answer::{Answered, Id, body, ok, secret_body};
use super::auth::Caller;
use super::console::by;
use crate::operator::gateways::{GatewayAdd, GatewayChange};

type Door = State<Arc<Api>>;
type Sent = Result<axum::body::Bytes, axum::extract::rejection::BytesRejection>;

pub(super) async fn list(State(api): Door) -> Answered {
    Ok(ok(&api.door.gateways()))
}

pub(super) async fn found(State(api): Door) -> Answered {
    Ok(ok(&api.door.gateways_found().await))
}

pub(super) async fn add(
    State(api): Door,
    Extension(caller): Extension<Caller>,
    sent: Sent,
) -> Answered {
    let form = r#"{"url": "ws://127.0.0.1:18789", "name": "NAME", "token": "THE TOKEN"}, each of them optional, with "insecure" and "by" where needed"#;
    let asked: GatewayAdd = secret_body(sent, form)?;
    let by = by(&caller, asked.by.as_deref());
    Ok(ok(&api.door.gateway_add(asked, &by).await?))
}

pub(super) async fn change(
    State(api): Door,
    Extension(caller): Extension<Caller>,
    Id(id): Id,
    sent: Sent,
) -> Answered {
    let asked: GatewayChange = body(sent)?;
    let by = by(&caller, asked.by.as_deref());
    Ok(ok(&api.door.gateway_change(&id, asked, &by).await?))
}

pub(super) async fn remove(
    State(api): Door,
    Extension(caller): Extension<Caller>,
    Id(id): Id,
) -> Answered {
    let by = by(&caller, None);
    Ok(ok(&api.door.gateway_remove(&id, &by).await?))
}
