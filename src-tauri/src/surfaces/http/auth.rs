//! The checks that every request meets before any of it is read: loopback, `Host`, `Origin`, time,
//! and the token or browser session of its scope. A token beats a cookie; a change that comes with
//! a cookie must prove by a second token that it comes from our own page.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, HttpBody as _};
use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use http_body_util::BodyExt as _;

use super::answer::{Failed, received};
use super::console::cookie;
use super::{Api, away, changes, completions, hooks};
use crate::adapters::transport::{Away, FromOwner, Slot, Visit, host_allowed};
use crate::domain::admission::budget::Cause;
use crate::domain::base::limits::{API_REQUEST_MS, MODEL_TOTAL_MS};
use crate::domain::base::{Code, Refusal};
use crate::operator::access::sessions::{Place, Session};
use crate::operator::access::{AtTheWindow, Scope};
use crate::operator::routes::{self, Route, Verb};

/// How long a request may take until its answer begins.
const REQUEST_TIMEOUT: Duration = Duration::from_millis(API_REQUEST_MS);

/// The header that carries a session's second token.
const CSRF: &str = "x-clawmesh-csrf";

/// The routes that find a place where other requests have taken all of theirs: stops, renewals, decisions, ends of trust,
/// what they need to name what they mean, and how the node is.
const URGENT: [(Verb, &str); 22] = [
    route(&routes::ESTOP),
    route(&routes::ESTOP_ENGAGE),
    route(&routes::ESTOP_RELEASE),
    route(&routes::PROPOSAL_STOP),
    route(&routes::PROPOSAL_HOLD),
    route(&routes::PROPOSAL_DECIDE),
    route(&routes::PROPOSAL_WITHDRAW),
    route(&routes::CONSOLE_DECIDE),
    route(&routes::SESSION_END_ONE),
    route(&routes::CHANNEL_END),
    route(&routes::CHANNEL_VOID),
    route(&routes::STANDING_END),
    route(&routes::ALERT_ACKNOWLEDGE),
    route(&routes::STANDING_VOID),
    route(&routes::CONSOLE_STANDING_END),
    route(&routes::PLANNER_PAUSE),
    route(&routes::TRUST_REVOKE),
    route(&routes::OPERATOR_REVOKE),
    route(&routes::PERSON_REVOKE),
    route(&routes::PROPOSAL),
    route(&routes::PROPOSAL_RECORD),
    route(&routes::STATUS),
];

/// The routes whose answers may be large or take long to make; they wait for a turn, and none of them is urgent.
const LARGE: [(Verb, &str); 15] = [
    route(&routes::FRAMES),
    route(&routes::SERIES),
    route(&routes::WORLD),
    route(&routes::NODES),
    route(&routes::TOPOLOGY),
    route(&routes::EVENTS),
    route(&routes::PROPOSALS),
    route(&routes::PROPOSAL_TRACE),
    route(&routes::DRAFTS),
    route(&routes::AUDIT),
    route(&routes::AUDIT_VERIFY),
    route(&routes::AUDIT_EXPORT),
    route(&routes::TWIN),
    route(&routes::TWIN_PLAN),
    route(&routes::OPENAPI),
];

pub(super) const fn route<B, A>(route: &Route<B, A>) -> (Verb, &'static str) {
    (route.verb, route.path)
}

/// The kind of a request, for the check before its handler.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked {
    scope: Scope,
    urgent: bool,
    /// Its answer waits for a turn.
    large: bool,
    /// It takes a place of its own for as long as it is read.
    events: bool,
    /// It is done on the machine of the node alone.
    here_alone: bool,
    /// It leaves something behind each time, and comes out of the share of the session.
    changes: bool,
}

impl Asked {
    /// Something beside the table of routes.
    pub(super) const fn by(scope: Scope) -> Self {
        Self {
            scope,
            urgent: false,
            large: false,
            events: false,
            here_alone: true,
            changes: false,
        }
    }

    /// A route.
    pub(super) fn of<B, A>(route: &Route<B, A>) -> Self {
        Self {
            scope: route.scope,
            urgent: URGENT.contains(&self::route(route)),
            large: LARGE.contains(&self::route(route)),
            events: route.path == routes::STREAM.path,
            here_alone: away::is_here_alone(route.verb, route.path),
            changes: changes::are_counted(route.verb, route.path),
        }
    }
}

/// Who asks: put into every scoped request.
#[derive(Debug, Clone)]
pub(super) enum Caller {
    /// A program with a token.
    Token(Scope),
    /// A person's browser.
    Session(Session),
    /// The person at the desktop window of this process.
    Window,
    /// A program of the node's own user, on the socket of the state directory.
    Owner,
}

impl Caller {
    pub(super) fn scope(&self) -> Scope {
        match self {
            Caller::Token(scope) => *scope,
            Caller::Session(session) => session.scope,
            Caller::Window | Caller::Owner => Scope::Admin,
        }
    }

    /// The person's browser, where it is one.
    pub(super) fn session(&self) -> Option<&Session> {
        match self {
            Caller::Session(session) => Some(session),
            _ => None,
        }
    }

    /// Who asks as the node knows the session of a browser, whatever its page says.
    pub(super) fn who(&self) -> Option<String> {
        self.session().map(Session::who)
    }

    /// On whose account what it asks for happens: that of its session, or the node's own.
    pub(super) fn cause(&self) -> Cause {
        match self.session() {
            Some(session) => Cause::Session(format!("browser session {}", session.id.shown())),
            None => Cause::Own,
        }
    }

    /// A text that tells it from every other caller; no secret, and shown to nobody.
    pub(super) fn seat(&self) -> String {
        match self {
            Caller::Token(scope) => format!("token {scope}"),
            Caller::Session(session) => format!("session {:?}", session.id),
            Caller::Window => "window".to_owned(),
            Caller::Owner => "owner".to_owned(),
        }
    }
}

fn forbidden(message: &str) -> Response {
    Failed::from(Refusal::new(Code::NotAuthorized, message)).into_response()
}

/// The first check of every request. A request without `ConnectInfo` comes from this very process or
/// over the local socket.
pub(super) async fn guard(State(api): State<Arc<Api>>, request: Request, next: Next) -> Response {
    let checked = match request.extensions().get::<Away>() {
        Some(_) => away::admit(&api.door, &request).map_err(|r| Failed::from(r).into_response()),
        None => near(&request),
    };
    if let Err(refused) = checked {
        return guarded(refused);
    }
    // A model takes its time until it begins, and the whole of a reply until it ends.
    let limit = match request.uri().path().starts_with(completions::ROOT) {
        true => Duration::from_millis(MODEL_TOTAL_MS),
        false => REQUEST_TIMEOUT,
    };
    match tokio::time::timeout(limit, next.run(request)).await {
        Ok(response) => guarded(response),
        Err(_) => Failed::from(Refusal::new(
            Code::Timeout,
            "the request took too long and was given up",
        ))
        .into_response(),
    }
}

/// The first check of a request that does not come by the port for other machines.
// The refusal is the answer itself and is sent right away.
#[allow(clippy::result_large_err)]
fn near(request: &Request) -> Result<(), Response> {
    let remote = request
        .extensions()
        .get::<ConnectInfo<SocketAddr>>()
        .map(|c| c.0);
    // A hook says itself who may send; it needs a token, which no page of another site has.
    let to_hook = request.uri().path().starts_with(hooks::ROOT);
    if !to_hook && remote.is_some_and(|r| !r.ip().to_canonical().is_loopback()) {
        let why = "the operator API answers this machine only; use an SSH tunnel, or [console] for a phone";
        return Err(forbidden(why));
    }
    let headers = request.headers();
    let named = host(headers).is_some_and(host_allowed);
    if !named && !to_hook && (headers.contains_key(header::HOST) || remote.is_some()) {
        return Err(forbidden("use localhost or an IP address as the host name"));
    }
    if headers.contains_key(header::ORIGIN) && (to_hook || !of_our_page(headers)) {
        return Err(forbidden(
            "requests of other web pages are not answered here",
        ));
    }
    Ok(())
}

/// The `Host` of a request that has exactly one.
pub(super) fn host(headers: &HeaderMap) -> Option<&str> {
    let mut hosts = headers.get_all(header::HOST).iter();
    let host = hosts.next()?.to_str().ok()?;
    hosts.next().is_none().then_some(host)
}

/// Whether `Origin` names the very address that the request came to.
fn of_our_page(headers: &HeaderMap) -> bool {
    let mut origins = headers.get_all(header::ORIGIN).iter();
    let origin = origins.next().and_then(|o| o.to_str().ok());
    let authority = origin.and_then(|o| {
        o.strip_prefix("http://")
            .or_else(|| o.strip_prefix("https://"))
    });
    match (authority, host(headers), origins.next()) {
        (Some(origin), Some(host), None) => origin.eq_ignore_ascii_case(host),
        _ => false,
    }
}

/// Sets the headers of every answer: its type is not guessed, and pages of other origins cannot use it.
fn guarded(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    headers.insert(
        HeaderName::from_static("cross-origin-resource-policy"),
        HeaderValue::from_static("same-origin"),
    );
    response
}

pub(super) fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme
        .eq_ignore_ascii_case("bearer")
        .then_some(token.trim())
}

/// Who asks with this request.
///
/// # Errors
/// `UNAUTHENTICATED` without valid credentials, `NOT_AUTHORIZED` for a request that is not our own page's.
fn caller(api: &Api, request: &Request) -> Result<Caller, Refusal> {
    let (headers, place) = (request.headers(), away::place(request));
    let of_a_socket = request.extensions().get::<ConnectInfo<SocketAddr>>();
    if of_a_socket.is_none() && request.extensions().get::<AtTheWindow>().is_some() {
        return Ok(Caller::Window);
    }
    if headers.contains_key(header::AUTHORIZATION) && place == Place::Here {
        return bearer(headers)
            .and_then(|token| api.tokens.scope_of(token))
            .map(Caller::Token)
            .ok_or_else(|| unknown("the token is not one of tokens.json in the state directory"));
    }
    // The kernel has identified the caller; a user that may open the socket may read the tokens as well.
    if of_a_socket.is_none() && request.extensions().get::<FromOwner>().is_some() {
        return Ok(Caller::Owner);
    }
    let link = match place {
        Place::Here => "clawmesh-node console",
        Place::Away(_) => "clawmesh-node console --phone",
    };
    let Some(cookie) = cookie(headers, place) else {
        if place != Place::Here {
            return Err(unknown(&format!(
                "this browser has no session here; run `{link}` on the machine of the node"
            )));
        }
        return Err(unknown(
            "a valid token is needed: Authorization: Bearer <token from tokens.json in the state directory>; for a browser run `clawmesh-node console`",
        ));
    };
    // Where the browser says which page asks, it must be ours: other ports of this machine share
    // our cookies.
    let site = headers.get("sec-fetch-site").map(HeaderValue::as_bytes);
    if site.is_some_and(|s| s != b"same-origin" && s != b"none") {
        return Err(strange("requests of other web pages are not answered here"));
    }
    let now = api.door.context().now();
    let Some(mut session) = api.browsers.session(&cookie, place, now) else {
        return Err(unknown(&format!(
            "this browser session has ended; run `{link}` for a new link"
        )));
    };
    if place != Place::Here {
        // The configuration may say less now than when the session began.
        let most = api.door.most_away().unwrap_or(Scope::Read);
        session.scope = session.scope.min(most);
    }
    let changes = request.method() != Method::GET && request.method() != Method::HEAD;
    let token = headers.get(CSRF).and_then(|v| v.to_str().ok());
    if changes && !token.is_some_and(|t| session.csrf_matches(t)) {
        return Err(strange(
            "a change from a browser needs the session's own token: X-ClawMesh-Csrf, from GET /session",
        ));
    }
    Ok(Caller::Session(session))
}

fn strange(message: &str) -> Refusal {
    Refusal::new(Code::NotAuthorized, message)
}

fn unknown(message: &str) -> Refusal {
    Refusal::new(Code::Unauthenticated, message)
}

/// A refusal, with what is needed where nobody is known.
pub(super) fn turned_away(refusal: Refusal) -> Response {
    let nobody = refusal.code == Code::Unauthenticated;
    let mut response = Failed::from(refusal).into_response();
    if nobody {
        let how = HeaderValue::from_static("Bearer");
        response.headers_mut().insert(header::WWW_AUTHENTICATE, how);
    }
    response
}

/// Lets a request pass whose token or session has at least the scope. It takes the connection out of
/// the pool of strangers, so that no crowd of idle sockets can push an operator out. A request that has come
/// whole takes a place until its answer begins; an answer that is still made then, one of another kind.
pub(super) async fn scoped(
    State((api, asked)): State<(Arc<Api>, Asked)>,
    request: Request,
    next: Next,
) -> Response {
    let caller = caller(&api, &request);
    if api.browsers.is_to_write() {
        // When a session was used last, or that one has run out; what else changes is written where it does.
        drop(api.door.keep_sessions(&api.browsers).await);
    }
    let caller = match caller {
        Ok(caller) => caller,
        Err(refusal) => return turned_away(refusal),
    };
    if let Some(slot) = request.extensions().get::<Slot>() {
        slot.promote();
        if let Caller::Session(session) = &caller
            && session.away
        {
            api.connections.asks(session.id, slot);
        }
    }
    if asked.here_alone && away::place(&request) != Place::Here {
        return forbidden("this is done on the machine of the node, not from another one");
    }
    let (scope, needed) = (caller.scope(), asked.scope);
    if scope < needed {
        let what = match caller {
            Caller::Token(_) => "token; the one presented is",
            Caller::Session(_) => "scope; this browser session is",
            Caller::Window => "scope; the window is",
            Caller::Owner => "scope; the local socket is",
        };
        return forbidden(&format!("this needs the {needed} {what} for {scope}"));
    }
    if asked.changes
        && let Caller::Session(session) = &caller
        && let Err(refusal) = api.browsers.may_change(session, api.door.context().now())
    {
        return Failed::from(refusal).into_response();
    }
    let mut request = match whole(request).await {
        Ok(request) => request,
        Err(failed) => return failed.into_response(),
    };
    if let Some(visit) = request.extensions().get::<Visit>() {
        visit.is_worked_for();
    }
    let place = match api.room.request(&caller, asked.urgent) {
        Ok(place) => place,
        Err(refusal) => return Failed::from(refusal).into_response(),
    };
    let turn = match asked.large {
        true => api.room.turns.wait(&caller).await,
        false => None,
    };
    request.extensions_mut().insert(caller.clone());
    let response = next.run(request).await;
    drop((place, turn));
    if asked.events || response.body().size_hint().exact().is_some() {
        return response;
    }
    match api.room.long.take(&caller) {
        Ok(place) => response.map(|body| {
            Body::new(body.map_frame(move |frame| {
                let _until_it_ends = &place;
                frame
            }))
        }),
        Err(refusal) => Failed::from(refusal).into_response(),
    }
}

/// The request once its body has come, so that a client that dawdles takes no place meanwhile.
async fn whole(request: Request) -> Result<Request, Failed> {
    let (parts, body) = request.into_parts();
    let body = match body.is_end_stream() {
        true => body,
        false => Body::from(received(body).await?),
    };
    Ok(Request::from_parts(parts, body))
}
