//! Browsers: the one-time link, its opening, the session and its end; decisions and the emergency
//! stop, which name the person who asks. The cookie is HttpOnly and of
//! this site only; it is named after the port, because cookies do not tell ports apart. One that was made
//! over TLS is never sent without it, and has a name that nothing without TLS can set.

use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::body::Body;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::{StreamExt as _, stream};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::sync::mpsc;

use super::Api;
use super::answer::{Answered, Failed, Id, body, body_or_default, ok};
use super::assets::{self, Page};
use super::auth::{Caller, host};
use crate::adapters::transport::{Away, Secure};
use crate::domain::base::limits::{AWAY_SESSION_TTL_MS, BROWSER_SESSION_TTL_MS};
use crate::domain::base::{Code, Refusal};
use crate::node::context::Event;
use crate::operator::access::Scope;
use crate::operator::access::deciding::{DecideRequest, DecisionMeans, EndedView, SessionView};
use crate::operator::access::sessions::{LinkRequest, LinkView, Maker, NotOpened, Place, Session};
use crate::operator::dto::{AskRequest, LaterRequest, PauseRequest};
use crate::operator::enrolling::EnrolAsk;
use crate::operator::estop::EstopRequest;
use crate::operator::inference::InferRequest;

type Door = State<Arc<Api>>;
type Sent = Result<axum::body::Bytes, axum::extract::rejection::BytesRejection>;

/// The name of the session cookie of the node at this `Host`, made over TLS or not.
fn cookie_name(host: &str, secure: bool) -> String {
    let port = host.rsplit_once(':').map(|(_, p)| p);
    let port = port.filter(|p| p.bytes().all(|b| b.is_ascii_digit()));
    let prefix = if secure { "__Host-" } else { "" };
    format!("{prefix}clawmesh_{}", port.unwrap_or("80"))
}

/// The session cookie of a request: the one made over TLS, where the browser sends that. One that anything without TLS
/// could have set counts here alone, and never at another machine.
pub(super) fn cookie(headers: &HeaderMap, place: Place) -> Option<String> {
    let host = host(headers)?;
    let names = [true, false].map(|secure| cookie_name(host, secure));
    let counting = match place {
        Place::Here => names.len(),
        Place::Away(_) => 1,
    };
    let name = names
        .iter()
        .take(counting)
        .find(|name| named(headers, name).next().is_some())?;
    let mut found = named(headers, name);
    let value = found.next()?;
    // Two cookies of the same name: one is foreign, and which is ours cannot be told.
    found.next().is_none().then_some(value)
}

/// The values of every cookie of this name.
fn named<'a>(headers: &'a HeaderMap, name: &'a str) -> impl Iterator<Item = String> + 'a {
    headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|v| v.to_str().ok())
        .flat_map(|v| v.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .filter(move |(n, _)| *n == name)
        .map(|(_, value)| value.to_owned())
}

fn set_cookie(
    headers: &HeaderMap,
    secure: bool,
    value: &str,
    max_age_ms: u64,
) -> Option<HeaderValue> {
    let name = cookie_name(host(headers)?, secure);
    let age = max_age_ms / 1_000;
    let only = if secure { "; Secure" } else { "" };
    let text = format!("{name}={value}; Path=/; Max-Age={age}; HttpOnly; SameSite=Strict{only}");
    HeaderValue::from_str(&text).ok()
}

/// Whether a request came over TLS; what no socket brought did not.
fn over_tls(secure: Option<Extension<Secure>>) -> bool {
    secure.is_some_and(|Extension(Secure(secure))| secure)
}

/// Makes a one-time link. Only a program makes one: a session cannot breed another.
pub(super) async fn link(
    State(api): Door,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    sent: Sent,
) -> Answered {
    let (by, has) = match caller {
        Caller::Token(scope) => (Maker::Token(scope), scope),
        Caller::Owner => (Maker::Owner, Scope::Admin),
        Caller::Session(_) | Caller::Window => {
            return Err(Failed::from(Refusal::new(
                Code::NotAuthorized,
                "a browser session makes no links; run `clawmesh-node console` on this machine",
            )));
        }
    };
    let asked: LinkRequest = body_or_default(sent)?;
    let scope = asked.scope.unwrap_or(has.min(Scope::Operate));
    if scope > has {
        return Err(Failed::from(Refusal::new(
            Code::NotAuthorized,
            format!(
                "a session for {scope} needs the {scope} token; the one presented is for {has}"
            ),
        )));
    }
    let s = api.door.context();
    let name = asked.name.as_deref().unwrap_or("operator");
    let at = match (asked.away, &asked.host) {
        (true, name) => api.door.address_away(name.as_deref(), scope)?,
        (false, None) => format!("http://{}", host(&headers).unwrap_or("127.0.0.1")),
        (false, Some(_)) => {
            let why = "host: only a link for another machine (away) names one";
            return Err(Refusal::new(Code::InvalidParams, why).into());
        }
    };
    let (code, expires_at) = api.browsers.link(by, scope, name, asked.away, s.now())?;
    Ok(ok(&LinkView {
        url: format!("{at}{}?code={code}", super::away::OPEN),
        scope,
        expires_at: expires_at.0,
    }))
}

#[derive(Deserialize)]
pub(super) struct OpenAsked {
    #[serde(default)]
    code: String,
}

/// Whether a browser looks ahead, for a preview or to have the page at hand, and nobody has followed the link.
fn only_looks(headers: &HeaderMap) -> bool {
    let said = ["sec-purpose", "purpose", "x-purpose", "x-moz"].into_iter();
    let mut said = said.flat_map(|name| headers.get_all(name));
    said.any(|value| {
        let value = value.as_bytes().to_ascii_lowercase();
        let has = |word: &[u8]| value.windows(word.len()).any(|part| part == word);
        has(b"prefetch") || has(b"prerender") || has(b"preview")
    })
}

/// Opens a session with a one-time code and goes on to the console.
pub(super) async fn open(
    State(api): Door,
    method: Method,
    secure: Option<Extension<Secure>>,
    away: Option<Extension<Away>>,
    headers: HeaderMap,
    asked: Result<Query<OpenAsked>, axum::extract::rejection::QueryRejection>,
) -> Response {
    let place = away.map_or(Place::Here, |Extension(away)| Place::Away(away.from()));
    // HEAD requests and prefetching browsers must not use the code up.
    if method == Method::HEAD {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    if only_looks(&headers) {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    let context = api.door.context();
    let now = context.now();
    let code = asked.map(|Query(q)| q.code).unwrap_or_default();
    let opened = match place {
        Place::Away(from) if !api.guesses.may_try(from, now) => Err(NotOpened::TooMany),
        _ => api.browsers.open(&code, place, now),
    };
    match opened {
        Ok((value, session)) => {
            let ttl_ms = match place {
                Place::Here => BROWSER_SESSION_TTL_MS,
                Place::Away(_) => AWAY_SESSION_TTL_MS,
            };
            let made = set_cookie(&headers, over_tls(secure), &value, ttl_ms);
            let Some(cookie) = made else {
                return assets::page(StatusCode::BAD_REQUEST, &Page::BadHost);
            };
            api.door.session_opened(&session).await;
            // What is not on the disk ends with the node, which is no reason to keep the person out.
            drop(kept(&api, &session).await);
            go_home(Some(cookie))
        }
        // Opened twice by the same browser, as some do: it has its session already.
        Err(_)
            if cookie(&headers, place)
                .is_some_and(|c| api.browsers.session(&c, place, now).is_some()) =>
        {
            go_home(None)
        }
        Err(why) => {
            if let (Place::Away(from), NotOpened::Unknown) = (place, why) {
                api.guesses.failed(from, now);
            }
            let (code, status) = match why {
                NotOpened::Unknown => (Code::Unauthenticated, StatusCode::FORBIDDEN),
                NotOpened::TooMany | NotOpened::Full => {
                    (Code::RateExceeded, StatusCode::TOO_MANY_REQUESTS)
                }
                NotOpened::Random => (Code::InternalError, StatusCode::INTERNAL_SERVER_ERROR),
            };
            let refusal = Refusal::new(code, format!("the console was not opened: {why}"));
            context
                .journal
                .refused(Event::ConsoleRefused, "console", &refusal)
                .await;
            let page = match place {
                Place::Here => Page::NotOpened(why),
                Place::Away(_) => Page::NotOpenedAway(why),
            };
            assets::page(status, &page)
        }
    }
}

/// Has a session of another machine on the disk, as it is or as it ended.
async fn kept(api: &Api, session: &Session) -> Result<(), Refusal> {
    match session.away {
        true => api.door.keep_sessions(&api.browsers).await,
        false => Ok(()),
    }
}

fn go_home(cookie: Option<HeaderValue>) -> Response {
    let mut response = (
        StatusCode::SEE_OTHER,
        [
            (header::LOCATION, "/"),
            (header::CACHE_CONTROL, "no-store"),
            (header::REFERRER_POLICY, "no-referrer"),
        ],
    )
        .into_response();
    if let Some(cookie) = cookie {
        response.headers_mut().insert(header::SET_COOKIE, cookie);
    }
    response
}

/// Who asks, what they may do, and whether they can decide here.
pub(super) async fn session(State(api): Door, Extension(caller): Extension<Caller>) -> Answered {
    let decision = match &caller {
        Caller::Session(session) if session.away => DecisionMeans::own_key(),
        Caller::Window => api.door.decision_means(true).await,
        _ => api.door.decision_means(false).await,
    };
    Ok(ok(&match caller {
        Caller::Window => SessionView {
            scope: Scope::Admin,
            name: decision.operator.as_ref().map(|o| o.name.clone()),
            csrf: None,
            expires_at: None,
            away: false,
            decision,
        },
        Caller::Token(_) | Caller::Owner => SessionView {
            scope: caller.scope(),
            name: None,
            csrf: None,
            expires_at: None,
            away: false,
            decision,
        },
        Caller::Session(session) => SessionView {
            scope: session.scope,
            name: Some(session.name),
            csrf: Some(session.csrf),
            expires_at: Some(session.expires_at.0),
            away: session.away,
            decision,
        },
    }))
}

/// Ends the session that asks.
pub(super) async fn end(
    State(api): Door,
    Extension(caller): Extension<Caller>,
    secure: Option<Extension<Secure>>,
    headers: HeaderMap,
) -> Answered {
    let Caller::Session(session) = caller else {
        return Ok(ok(&EndedView { ended: false }));
    };
    let ended = api.browsers.end(&session.id);
    if ended {
        api.door.session_ended(&session).await;
        kept(&api, &session).await?;
    }
    let mut response = ok(&EndedView { ended });
    if let Some(cookie) = set_cookie(&headers, over_tls(secure), "", 0) {
        response.headers_mut().insert(header::SET_COOKIE, cookie);
    }
    Ok(response)
}

/// Decides a proposal with the passphrase of the person's key at this node.
pub(super) async fn decide(State(api): Door, sent: Sent) -> Answered {
    let asked: DecideRequest = body(sent)?;
    Ok(ok(&api
        .door
        .console_decide(&api.passphrases, asked)
        .await?))
}

/// Who asks, as it is written down.
pub(super) fn by(caller: &Caller, name: Option<&str>) -> String {
    match (caller, name.map(str::trim)) {
        (Caller::Session(session), _) => session.who(),
        (Caller::Token(_) | Caller::Owner, Some(name)) if !name.is_empty() => name.to_owned(),
        (Caller::Token(scope), _) => format!("the {scope} token"),
        (Caller::Owner, _) => "the command line".to_owned(),
        (Caller::Window, Some(name)) if !name.is_empty() => name.to_owned(),
        (Caller::Window, _) => "the desktop".to_owned(),
    }
}

/// The keys made in browsers that wait for an administrator.
pub(super) async fn enrol_requests(State(api): Door) -> Answered {
    Ok(ok(&api.enrolling.all(api.door.context().now())))
}

/// A browser asks that its key be enrolled.
pub(super) async fn enrol_ask(
    State(api): Door,
    Extension(caller): Extension<Caller>,
    sent: Sent,
) -> Answered {
    let asked: EnrolAsk = body(sent)?;
    let from = (by(&caller, None), caller.seat());
    Ok(ok(&api
        .door
        .enrol_ask(&api.enrolling, &asked, (&from.0, &from.1), caller.cause())
        .await?))
}

/// An administrator does not want a key that waits.
pub(super) async fn enrol_refuse(State(api): Door, Id(id): Id) -> Answered {
    Ok(ok(&api.door.enrol_refuse(&api.enrolling, &id).await?))
}

/// Whether this node is stopped.
pub(super) async fn estop_state(State(api): Door) -> Answered {
    Ok(ok(&api.door.estop_state()))
}

/// Stops every executor that can be reached. A body that does not read stops all the same.
pub(super) async fn estop(
    State(api): Door,
    Extension(caller): Extension<Caller>,
    sent: Sent,
) -> Answered {
    let asked: EstopRequest = body_or_default(sent).unwrap_or_default();
    Ok(ok(&api
        .door
        .estop_of(&caller.cause(), &asked, &by(&caller, asked.name.as_deref()))
        .await))
}

/// Releases the stop at this node.
pub(super) async fn estop_release(
    State(api): Door,
    Extension(caller): Extension<Caller>,
    sent: Sent,
) -> Answered {
    let asked: EstopRequest = body(sent)?;
    let by = by(&caller, asked.name.as_deref());
    Ok(ok(&api.door.estop_release(&asked, &by).await?))
}

/// Makes the planner rest.
pub(super) async fn planner_pause(
    State(api): Door,
    Extension(caller): Extension<Caller>,
    sent: Sent,
) -> Answered {
    let asked: PauseRequest = body_or_default(sent)?;
    let by = by(&caller, asked.name.as_deref());
    Ok(ok(&api.door.planner_pause(&asked, &by).await?))
}

/// Lets the planner go on.
pub(super) async fn planner_resume(
    State(api): Door,
    Extension(caller): Extension<Caller>,
    sent: Sent,
) -> Answered {
    let asked: PauseRequest = body_or_default(sent)?;
    let by = by(&caller, asked.name.as_deref());
    Ok(ok(&api.door.planner_resume(&by).await?))
}

/// How long nothing is sent while a question is answered: then an empty line says that it still is.
const STILL_ASKED: Duration = Duration::from_secs(5);

/// Asks a model as JSON lines; the request ends when the client disconnects.
pub(super) async fn infer(State(api): Door, sent: Sent) -> Answered {
    let asked: InferRequest = body(sent)?;
    let told = Box::pin(api.door.infer_told(&asked).await?);
    let lines = stream::unfold(told, |mut told| async move {
        let line = match tokio::time::timeout(STILL_ASKED, told.next()).await {
            Ok(Some(told)) => format!("{}\n", json!(told)),
            Ok(None) => return None,
            Err(_) => "\n".to_owned(),
        };
        Some((Ok::<_, std::io::Error>(line), told))
    });
    let head = [
        (header::CONTENT_TYPE, "application/x-ndjson"),
        (header::CACHE_CONTROL, "no-store"),
    ];
    Ok((head, Body::from_stream(lines)).into_response())
}

/// Answers a question as JSON lines, until the answer or until the other side has gone.
pub(super) async fn ask(
    State(api): Door,
    Extension(caller): Extension<Caller>,
    sent: Sent,
) -> Answered {
    let asked: AskRequest = body(sent)?;
    let name = by(&caller, asked.name.as_deref());
    let told = api.door.ask_planner(&asked, &name, &by(&caller, None))?;
    Ok(lines(told))
}

/// Has an answered question asked again when a model can be asked.
pub(super) async fn ask_later(
    State(api): Door,
    Extension(caller): Extension<Caller>,
    sent: Sent,
) -> Answered {
    let asked: LaterRequest = body(sent)?;
    let account = by(&caller, None);
    Ok(ok(&api.door.ask_later(&asked, &account).await?))
}

/// Takes such a question back.
pub(super) async fn ask_later_cancel(State(api): Door, Id(id): Id) -> Answered {
    Ok(ok(&api.door.ask_later_cancel(&id).await?))
}

/// A stream of JSON lines until it ends or the client has disconnected.
pub(super) fn lines<T: Serialize + Send + 'static>(told: mpsc::Receiver<T>) -> Response {
    let lines = stream::unfold(told, |mut told| async move {
        let line = match tokio::time::timeout(STILL_ASKED, told.recv()).await {
            Ok(Some(telling)) => format!("{}\n", json!(telling)),
            Ok(None) => return None,
            Err(_) => "\n".to_owned(),
        };
        Some((Ok::<_, std::io::Error>(line), told))
    });
    let head = [
        (header::CONTENT_TYPE, "application/x-ndjson"),
        (header::CACHE_CONTROL, "no-store"),
    ];
    (head, Body::from_stream(lines)).into_response()
}
