//! What every request meets first: it comes from no web page and names this machine by its address, and it has a token.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};

use super::Api;
use super::answers::{error, refused};
use crate::adapters::transport::{Slot, host_allowed};
use crate::operator::coordinator::Caller;

/// The caller of a request without a token, where reading is open.
#[derive(Clone)]
pub(super) struct Who(pub(super) Option<Caller>);

/// Refuses what a page of a browser may have sent, also by a name that was pointed at this machine.
pub(super) async fn from_programs(request: Request, next: Next) -> Response {
    let headers = request.headers();
    let host = headers
        .get(header::HOST)
        .and_then(|host| host.to_str().ok());
    if !host.is_some_and(host_allowed) {
        let why = "use the IP address of this node, or localhost";
        return error(StatusCode::FORBIDDEN, why);
    }
    if headers.contains_key(header::ORIGIN) {
        return error(StatusCode::FORBIDDEN, "no web page may ask this");
    }
    if request.method() == Method::POST && !is_json(headers) {
        let why = "the content type must be application/json";
        return error(StatusCode::UNSUPPORTED_MEDIA_TYPE, why);
    }
    next.run(request).await
}

fn is_json(headers: &HeaderMap) -> bool {
    let said = headers.get(header::CONTENT_TYPE);
    let said = said.and_then(|said| said.to_str().ok()).unwrap_or_default();
    let kind = said.split(';').next().unwrap_or_default();
    kind.trim().eq_ignore_ascii_case("application/json")
}

/// Lets through who has a token.
pub(super) async fn authorized(
    State(api): State<Arc<Api>>,
    mut request: Request,
    next: Next,
) -> Response {
    let said = request.headers().get(header::AUTHORIZATION);
    let token = said
        .and_then(|said| said.to_str().ok())
        .and_then(|said| said.strip_prefix("Bearer "));
    let reads = request.method() == Method::GET && api.open_reading;
    let caller = match token {
        None if reads => None,
        None => {
            let why = "missing or invalid authorization header";
            return error(StatusCode::UNAUTHORIZED, why);
        }
        Some(token) => match api.door.coordinator().caller(token).await {
            Ok(Some(caller)) => Some(caller),
            Ok(None) => return error(StatusCode::UNAUTHORIZED, "invalid token"),
            Err(refusal) => return refused(&refusal).into_response(),
        },
    };
    if let Some(slot) = request.extensions().get::<Slot>()
        && caller.is_some()
    {
        slot.promote();
    }
    request.extensions_mut().insert(Who(caller));
    next.run(request).await
}
