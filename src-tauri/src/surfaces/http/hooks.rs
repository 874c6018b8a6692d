//! `POST /hooks/NAME`: readings that others send. Each hook has a token of its own, which opens nothing else; other machines
//! may send where the hook's table says so. It stands beside the table of routes of the operator API.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use http_body_util::{BodyExt as _, Limited};

use super::answer::{Failed, json};
use super::{Api, auth};
use crate::adapters::devices::Knock;
use crate::adapters::transport::{Secure, Slot, Visit};
use crate::domain::base::limits::HOOK_BODY_MAX_BYTES;
use crate::domain::base::{Code, Refusal};
use crate::operator::Answer;
use crate::operator::hooks::HookView;

/// The prefix of the paths of hooks.
pub(super) const ROOT: &str = "/hooks/";

/// Its route.
pub(super) fn routes() -> Router<Arc<Api>> {
    Router::new().route("/hooks/{name}", post(take))
}

async fn take(State(api): State<Arc<Api>>, request: Request) -> Response {
    match answer(&api, request).await {
        Ok(kept) => json(StatusCode::ACCEPTED, &kept),
        Err(refusal) => turned_away(refusal),
    }
}

fn turned_away(refusal: Refusal) -> Response {
    let again = matches!(refusal.code, Code::RateExceeded | Code::Busy);
    let mut response = match refusal.code {
        Code::Unauthenticated => auth::turned_away(refusal),
        _ => Failed::from(refusal).into_response(),
    };
    if again {
        let head = response.headers_mut();
        head.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    }
    response
}

async fn answer(api: &Api, request: Request) -> Answer<HookView> {
    let (parts, body) = request.into_parts();
    let remote = parts.extensions.get::<ConnectInfo<SocketAddr>>();
    let secure = parts.extensions.get::<Secure>();
    let name = parts.uri.path().strip_prefix(ROOT).unwrap_or_default();
    let knock = Knock {
        name: name.to_owned(),
        token: auth::bearer(&parts.headers).map(str::to_owned),
        near: remote.is_none_or(|remote| remote.0.ip().to_canonical().is_loopback()),
        secure: secure.is_some_and(|secure| secure.0),
    };
    let hook = api.door.hook(knock).await?;
    if let Some(slot) = parts.extensions.get::<Slot>() {
        slot.promote();
    }
    // Nothing of the content is read before the sender has shown the token.
    let body = Limited::new(body, HOOK_BODY_MAX_BYTES).collect().await;
    let body = body.map_err(
        |error| match error.is::<http_body_util::LengthLimitError>() {
            true => {
                let why = format!("a hook takes {HOOK_BODY_MAX_BYTES} bytes at most");
                Refusal::new(Code::TooLarge, why)
            }
            false => Refusal::new(
                Code::InvalidParams,
                format!("the body could not be read: {error}"),
            ),
        },
    )?;
    if let Some(visit) = parts.extensions.get::<Visit>() {
        visit.is_worked_for();
    }
    api.door.take(hook, &body.to_bytes()).await
}
