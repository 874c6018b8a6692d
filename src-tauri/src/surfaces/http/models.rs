//! The configuration of a running node over HTTP: language models, one short try of them, keys, which go in and never come
//! out, and devices that are read again.

use std::sync::Arc;

use axum::Extension;
use axum::extract::State;

use super::Api;
use super::answer::{Answered, Id, body, ok, secret_body};
use super::auth::Caller;
use super::console::{by, lines};
use crate::operator::models::{CredentialSet, RouteRequest, TryRequest};

type Door = State<Arc<Api>>;
type Sent = Result<axum::body::Bytes, axum::extract::rejection::BytesRejection>;

pub(super) async fn models(State(api): Door) -> Answered {
    Ok(ok(&api.door.models()))
}

pub(super) async fn explain(State(api): Door, sent: Sent) -> Answered {
    let asked: RouteRequest = body(sent)?;
    Ok(ok(&api.door.explain_route(&asked)?))
}

/// Tries the models, as JSON lines until the end or until the other side has gone.
pub(super) async fn try_models(
    State(api): Door,
    Extension(caller): Extension<Caller>,
    sent: Sent,
) -> Answered {
    let asked: TryRequest = body(sent)?;
    let name = by(&caller, asked.name.as_deref());
    let told = api.door.try_models(&api.trials, &asked, &name).await?;
    Ok(lines(told))
}

/// The devices of the configuration, read again.
pub(super) async fn devices_reload(
    State(api): Door,
    Extension(caller): Extension<Caller>,
) -> Answered {
    let by = by(&caller, None);
    Ok(ok(&api.door.reload_devices(&by).await?))
}

pub(super) async fn credentials(State(api): Door) -> Answered {
    Ok(ok(&api.door.credentials().await?))
}

pub(super) async fn credential_set(
    State(api): Door,
    Extension(caller): Extension<Caller>,
    sent: Sent,
) -> Answered {
    let form =
        r#"{"name": "provider/NAME", "secret": "THE KEY"}, with "by" where nobody is signed in"#;
    let asked: CredentialSet = secret_body(sent, form)?;
    let by = by(&caller, asked.by.as_deref());
    Ok(ok(&api.door.credential_set(asked, &by).await?))
}

pub(super) async fn credential_remove(
    State(api): Door,
    Extension(caller): Extension<Caller>,
    Id(id): Id,
) -> Answered {
    let by = by(&caller, None);
    Ok(ok(&api.door.credential_remove(&id, &by).await?))
}
