//! The checks that every request meets before any of it is read: loopback, `Host`, `Origin`, time,
//! and the token of its scope. There are no sessions and no cookies.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderMap, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::Api;
use super::answer::Failed;
use crate::adapters::transport::{Slot, host_allowed};
use crate::domain::base::{Code, Refusal};
use crate::operator::access::Scope;

/// How long a request may take until its answer begins.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(20);

fn forbidden(message: &str) -> Response {
    Failed::from(Refusal::new(Code::NotAuthorized, message)).into_response()
}

/// What every request meets first. A request without `ConnectInfo` comes from this very process.
pub(super) async fn guard(request: Request, next: Next) -> Response {
    let remote = request
        .extensions()
        .get::<ConnectInfo<SocketAddr>>()
        .map(|c| c.0);
    if remote.is_some_and(|r| !r.ip().to_canonical().is_loopback()) {
        return forbidden("the operator API answers this machine only; use an SSH tunnel");
    }
    let headers = request.headers();
    if headers.contains_key(header::ORIGIN) {
        return forbidden("requests of web pages are not answered here");
    }
    let mut hosts = headers.get_all(header::HOST).iter();
    let (host, more) = (hosts.next(), hosts.next());
    let named = host.is_some_and(|h| h.to_str().is_ok_and(host_allowed)) && more.is_none();
    if !named && (host.is_some() || remote.is_some()) {
        return forbidden("use localhost or an IP address as the host name");
    }
    match tokio::time::timeout(REQUEST_TIMEOUT, next.run(request)).await {
        Ok(response) => response,
        Err(_) => Failed::from(Refusal::new(
            Code::Timeout,
            "the request took too long and was given up",
        ))
        .into_response(),
    }
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme
        .eq_ignore_ascii_case("bearer")
        .then_some(token.trim())
}

/// Lets a request pass whose token has at least the scope. A valid token takes the connection out of
/// the pool of strangers, so that no crowd of idle sockets can push an operator out.
pub(super) async fn scoped(
    State((api, needed)): State<(Arc<Api>, Scope)>,
    request: Request,
    next: Next,
) -> Response {
    let Some(scope) = bearer(request.headers()).and_then(|t| api.tokens.scope_of(t)) else {
        let refusal = Refusal::new(
            Code::Unauthenticated,
            "a valid token is needed: Authorization: Bearer <token from tokens.json in the state directory>",
        );
        let mut response = Failed::from(refusal).into_response();
        response.headers_mut().insert(
            header::WWW_AUTHENTICATE,
            header::HeaderValue::from_static("Bearer"),
        );
        return response;
    };
    if let Some(slot) = request.extensions().get::<Slot>() {
        slot.promote();
    }
    if scope < needed {
        return forbidden(&format!(
            "this needs the {needed} token; the one presented is for {scope}"
        ));
    }
    next.run(request).await
}
