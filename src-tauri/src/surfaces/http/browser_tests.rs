//! Browsers at the router: the link, the cookie, the second token, and who gets nothing.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::net::SocketAddr;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::{HeaderMap, Request, StatusCode};
use futures_util::StreamExt as _;
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tower::ServiceExt as _;

use super::app;
use super::tests::{House, code, house, house_of, read};
use crate::adapters::keystore::{self, Passphrase};
use crate::adapters::paths::StateDir;
use crate::domain::base::TimeMs;
use crate::node::RawConfig;
use crate::operator::Door;
use crate::operator::access::{API_ROOT, AtTheWindow, Scope};
use zeroize::Zeroizing;

/// One router, so that sessions outlive a request.
pub(super) struct Browser {
    pub(super) house: House,
    app: Router,
    pub(super) cookie: String,
    pub(super) csrf: String,
}

pub(super) async fn send(app: &Router, request: Request<Body>) -> (StatusCode, HeaderMap, Value) {
    let response = app.clone().oneshot(request).await.unwrap();
    let headers = response.headers().clone();
    let (status, body) = read(response).await;
    (status, headers, body)
}

fn request(method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Request<Body> {
    let mut request = Request::builder()
        .method(method)
        .uri(path)
        .header("host", "127.0.0.1:1");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(Body::from(body.to_owned())).unwrap()
}

async fn link(house: &House, app: &Router, scope: &str) -> String {
    let token = format!("Bearer {}", house.tokens.of(Scope::Admin));
    let asked = json!({"scope": scope, "name": "ada"}).to_string();
    let made = request(
        "POST",
        "/api/operator/v1/console/link",
        &[("authorization", &token)],
        &asked,
    );
    let (status, _, body) = send(app, made).await;
    assert_eq!(status, StatusCode::OK, "{body}");
    let url = body["url"].as_str().unwrap().to_owned();
    url.strip_prefix("http://127.0.0.1:1").unwrap().to_owned()
}

pub(super) async fn browser(scope: &str) -> Browser {
    browser_of(house().await, scope).await
}

pub(super) async fn browser_of(house: House, scope: &str) -> Browser {
    let app = app(
        Door::new(house.opened.handles.clone()),
        house.tokens.clone(),
    );
    let path = link(&house, &app, scope).await;
    let (status, headers, _) = send(&app, request("GET", &path, &[], "")).await;
    assert_eq!(status, StatusCode::SEE_OTHER);
    assert_eq!(headers["location"], "/");
    let set = headers["set-cookie"].to_str().unwrap();
    for part in ["clawmesh_1=", "HttpOnly", "SameSite=Strict", "Path=/;"] {
        assert!(set.contains(part), "{set}");
    }
    assert!(!set.contains("Secure"), "no browser takes it without TLS");
    let cookie = set.split(';').next().unwrap().to_owned();
    let mut browser = Browser {
        house,
        app,
        cookie,
        csrf: String::new(),
    };
    let (status, session) = browser.ask("GET", "/session", &[], "").await;
    assert_eq!(status, StatusCode::OK, "{session}");
    assert_eq!(
        (&session["scope"], &session["name"]),
        (&json!(scope), &json!("ada"))
    );
    browser.csrf = session["csrf"].as_str().unwrap().to_owned();
    browser
}

impl Browser {
    pub(super) async fn ask(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> (StatusCode, Value) {
        let mut all = vec![("cookie", self.cookie.as_str())];
        all.extend_from_slice(headers);
        let path = format!("{API_ROOT}{path}");
        let (status, _, body) = send(&self.app, request(method, &path, &all, body)).await;
        (status, body)
    }

    pub(super) async fn change(&self, path: &str, body: &str) -> (StatusCode, Value) {
        let csrf = [("x-clawmesh-csrf", self.csrf.as_str())];
        self.ask("POST", path, &csrf, body).await
    }
}

#[tokio::test]
async fn a_link_opens_once_and_the_session_has_its_scope() {
    let b = browser("operate").await;
    assert_eq!(b.ask("GET", "/status", &[], "").await.0, StatusCode::OK);
    let (status, body) = b.change("/policy/reload", "").await;
    assert_eq!((status.as_u16(), code(&body)), (403, "NOT_AUTHORIZED"));
    assert!(body.to_string().contains("browser session"), "{body}");

    let path = link(&b.house, &b.app, "read").await;
    assert_eq!(
        send(&b.app, request("GET", &path, &[], ""))
            .await
            .0
            .as_u16(),
        303
    );
    let used = b.app.clone().oneshot(request("GET", &path, &[], "")).await;
    let used = used.unwrap();
    assert_eq!(used.status(), StatusCode::FORBIDDEN);
    assert!(used.headers().get("set-cookie").is_none());
    let page = used.into_body().collect().await.unwrap().to_bytes();
    assert!(
        std::str::from_utf8(&page)
            .unwrap()
            .contains("clawmesh-node console")
    );
    // The same browser again has a session already and goes on to the console.
    let again = request("GET", &path, &[("cookie", &b.cookie)], "");
    assert_eq!(send(&b.app, again).await.0, StatusCode::SEE_OTHER);
    // A browser that only looks ahead does not use a link up.
    let path = link(&b.house, &b.app, "read").await;
    for (name, value) in [
        ("sec-purpose", "prefetch;prerender"),
        ("purpose", "prefetch"),
        ("x-purpose", "preview"),
        ("x-moz", "Prefetch"),
    ] {
        let ahead = request("GET", &path, &[(name, value)], "");
        let answer = send(&b.app, ahead).await.0;
        assert_eq!(answer, StatusCode::SERVICE_UNAVAILABLE, "{name}");
    }
    let head = request("HEAD", &path, &[], "");
    let head = b.app.clone().oneshot(head).await.unwrap();
    assert_eq!(head.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(
        send(&b.app, request("GET", &path, &[], ""))
            .await
            .0
            .as_u16(),
        303
    );
}

#[tokio::test]
async fn a_change_needs_the_second_token_and_our_own_page() {
    let b = browser("operate").await;
    let csrf = b.csrf.clone();
    let other = browser("operate").await.csrf;
    let own = [
        ("x-clawmesh-csrf", csrf.as_str()),
        ("origin", "http://127.0.0.1:1"),
    ];
    let cases: [(&[(&str, &str)], u16); 9] = [
        (&[], 403),
        (&[("x-clawmesh-csrf", "")], 403),
        (&[("x-clawmesh-csrf", &other)], 403),
        (
            &[
                ("x-clawmesh-csrf", &csrf),
                ("origin", "http://evil.example"),
            ],
            403,
        ),
        (
            &[("x-clawmesh-csrf", &csrf), ("origin", "http://127.0.0.1:2")],
            403,
        ),
        (&[("x-clawmesh-csrf", &csrf), ("origin", "null")], 403),
        (
            &[("x-clawmesh-csrf", &csrf), ("sec-fetch-site", "same-site")],
            403,
        ),
        (
            &[
                ("x-clawmesh-csrf", &csrf),
                ("sec-fetch-site", "same-origin"),
            ],
            404,
        ),
        (&own, 404),
    ];
    for (headers, wanted) in cases {
        let (status, body) = b.ask("POST", "/proposals/abcdefgh/stop", headers, "").await;
        assert_eq!(status.as_u16(), wanted, "{headers:?}: {body}");
    }
    let (status, _) = b
        .ask("GET", "/status", &[("sec-fetch-site", "cross-site")], "")
        .await;
    assert_eq!(status.as_u16(), 403);
    let (status, _) = b
        .ask("GET", "/status", &[("host", "evil.example")], "")
        .await;
    assert_eq!(status.as_u16(), 403, "two hosts are no host");
}

#[tokio::test]
async fn a_token_beats_a_cookie_and_a_session_makes_no_links() {
    let b = browser("admin").await;
    let read = format!("Bearer {}", b.house.tokens.of(Scope::Read));
    let (_, session) = b
        .ask("GET", "/session", &[("authorization", &read)], "")
        .await;
    assert_eq!(
        (&session["scope"], &session["csrf"]),
        (&json!("read"), &Value::Null)
    );
    let (status, _) = b
        .ask("GET", "/status", &[("authorization", "Bearer x")], "")
        .await;
    assert_eq!(status.as_u16(), 401);
    let (status, _) = b
        .ask("GET", "/status", &[("authorization", "Basic x")], "")
        .await;
    assert_eq!(status.as_u16(), 401);
    assert_eq!(b.change("/console/link", "").await.0.as_u16(), 403);
    for (scope, wanted) in [("read", 200), ("operate", 403), ("admin", 403)] {
        let (status, _) = b
            .ask(
                "POST",
                "/console/link",
                &[("authorization", &read)],
                &json!({"scope": scope}).to_string(),
            )
            .await;
        assert_eq!(status.as_u16(), wanted, "{scope}");
    }
}

#[tokio::test]
async fn a_session_ends_by_hand_and_takes_its_stream_along() {
    let b = browser("read").await;
    let stream = request(
        "GET",
        "/api/operator/v1/stream",
        &[("cookie", &b.cookie)],
        "",
    );
    let stream = b.app.clone().oneshot(stream).await.unwrap();
    assert_eq!(stream.status(), StatusCode::OK);
    let mut stream = stream.into_body().into_data_stream();
    let (_, ended) = b.change("/session/end", "").await;
    assert_eq!(ended, json!({"ended": true}));
    while stream.next().await.is_some() {}
    let (status, body) = b.ask("GET", "/status", &[], "").await;
    assert_eq!((status.as_u16(), code(&body)), (401, "UNAUTHENTICATED"));
    let both = format!("{}; clawmesh_1=x", b.cookie);
    assert!(
        super::console::cookie(
            &HeaderMap::from_iter([
                ("host".parse().unwrap(), "127.0.0.1:1".parse().unwrap()),
                ("cookie".parse().unwrap(), both.parse().unwrap()),
            ]),
            crate::operator::access::sessions::Place::Here
        )
        .is_none()
    );
    let events = b
        .house
        .opened
        .handles
        .store
        .read("audit", |c| crate::adapters::store::audit::page(c, None, 9));
    let kinds = format!("{:?}", events.await.unwrap());
    assert!(kinds.contains("console.opened") && kinds.contains("console.closed"));
}

#[tokio::test]
async fn a_session_that_has_ended_keeps_no_action() {
    let b = browser("operate").await;
    let renewal = json!({"holder": "page"}).to_string();
    let (_, body) = b.change("/proposals/none/hold", &renewal).await;
    assert_eq!(code(&body), "PROPOSAL_NOT_FOUND", "{body}");
    b.change("/session/end", "").await;
    let (_, body) = b.change("/proposals/none/hold", &renewal).await;
    assert_eq!(code(&body), "UNAUTHENTICATED");
}

#[tokio::test]
async fn the_shell_is_served_to_this_machine_only_and_never_in_place_of_an_error() {
    let house = house().await;
    let app = app(
        Door::new(house.opened.handles.clone()),
        house.tokens.clone(),
    );
    let page = app
        .clone()
        .oneshot(request("GET", "/approvals", &[], ""))
        .await
        .unwrap();
    assert_eq!(page.status(), StatusCode::OK);
    assert!(
        page.headers()["content-security-policy"]
            .to_str()
            .unwrap()
            .contains("default-src 'none'")
    );
    assert_eq!(page.headers()["content-type"], "text/html; charset=utf-8");
    assert_eq!(page.headers()["x-content-type-options"], "nosniff");
    for (path, headers, wanted) in [
        ("/approvals", ("host", "evil.example"), 403),
        ("/api/operator/v1/nope", ("accept", "text/html"), 404),
        ("/metrics", ("accept", "text/html"), 401),
    ] {
        let (status, _, _) = send(&app, request("GET", path, &[headers], "")).await;
        assert_eq!(status.as_u16(), wanted, "{path}");
    }
    let mut far = request("GET", "/", &[], "");
    far.extensions_mut()
        .insert(ConnectInfo("192.168.1.9:5".parse::<SocketAddr>().unwrap()));
    assert_eq!(send(&app, far).await.0.as_u16(), 403);
}

/// The window's mark counts in this process only: what comes by a socket cannot use it.
#[tokio::test]
async fn the_window_needs_no_token_and_lends_its_mark_to_no_socket() {
    let b = browser("read").await;
    let at = |path: &str| {
        let mut asked = request("GET", &format!("{API_ROOT}{path}"), &[], "");
        asked.extensions_mut().insert(AtTheWindow);
        asked
    };
    let (status, _, session) = send(&b.app, at("/session")).await;
    assert_eq!((status.as_u16(), &session["scope"]), (200, &json!("admin")));
    let mut by_socket = at("/session");
    by_socket
        .extensions_mut()
        .insert(ConnectInfo("127.0.0.1:5".parse::<SocketAddr>().unwrap()));
    assert_eq!(send(&b.app, by_socket).await.0.as_u16(), 401);
}

const POLICY: &str = r#"
version = 1
[[rule]]
name = "water"
capability = "actuator:mock:valve-*"
operations = ["open"]
level = "L2"
safe_state = "close"
deadline_sec = 20
duration_param = "durationSec"
[rule.params.durationSec]
type = "integer"
min = 1
max = 20
required = true
[rule.caps]
runs_per_hour = 60
"#;

const PHRASE: &str = "correct horse";

fn phrase() -> Passphrase {
    Passphrase::new(Zeroizing::new(PHRASE.to_owned()))
}

/// A browser at a node with an actuator, whose person's key lies there and is enrolled.
pub(super) async fn executor(scope: &str) -> (Browser, StateDir) {
    let raw = RawConfig {
        mock_actuator: Some(true),
        ..RawConfig::default()
    };
    let b = browser_of(house_of(raw, Some(POLICY)).await, scope).await;
    let dir = StateDir::at(&b.house.opened.handles.config.state_dir);
    let key = keystore::create_operator_key(&dir, "ada", [5; 32], TimeMs(1)).unwrap();
    let enroll = json!({"publicKey": key.key.public().to_text(), "name": "ada", "level": "L2"});
    let (status, body) = b
        .house
        .ask(
            Some(Scope::Admin),
            "POST",
            &format!("{API_ROOT}/operators"),
            enroll.to_string(),
        )
        .await;
    assert_eq!(status, StatusCode::OK, "{body}");
    (b, dir)
}

impl Browser {
    /// A waiting proposal: its id and digest.
    pub(super) async fn proposed(&self) -> (String, String) {
        let wish = json!({"target": "actuator:mock:valve-1", "operation": "open",
            "params": {"durationSec": 5}, "reason": "dry", "name": "mallory"});
        let (status, draft) = self.change("/drafts", &wish.to_string()).await;
        assert_eq!(status, StatusCode::OK, "{draft}");
        let id = draft["proposalId"].as_str().unwrap().to_owned();
        let (_, view) = self.ask("GET", &format!("/proposals/{id}"), &[], "").await;
        // Who asks is what the node knows of the session.
        assert_eq!(view["requestedBy"]["name"], "ada");
        (id, view["digest"].as_str().unwrap().to_owned())
    }

    async fn decide(
        &self,
        id: &str,
        digest: &str,
        wish: &str,
        phrase: Option<&str>,
    ) -> (u16, Value) {
        let asked =
            json!({"proposalId": id, "digest": digest, "decision": wish, "passphrase": phrase});
        let (status, body) = self.change("/console/decide", &asked.to_string()).await;
        (status.as_u16(), body)
    }
}

#[tokio::test]
async fn a_decision_takes_the_passphrase_and_signs_what_was_shown() {
    let (b, dir) = executor("operate").await;
    let (id, digest) = b.proposed().await;
    let (_, session) = b.ask("GET", "/session", &[], "").await;
    assert_eq!(session["decision"]["mode"], "none");
    assert!(
        session["decision"]["hint"]
            .as_str()
            .unwrap()
            .contains("operator key protect")
    );
    let (status, body) = b.decide(&id, &digest, "approve", Some(PHRASE)).await;
    assert_eq!((status, code(&body)), (403, "KEY_UNPROTECTED"));

    keystore::protect_operator_key(&dir, &phrase()).unwrap();
    let (_, session) = b.ask("GET", "/session", &[], "").await;
    assert_eq!(session["decision"]["mode"], "passphrase", "{session}");
    assert_eq!(session["decision"]["operator"]["name"], "ada");

    let (status, body) = b.decide(&id, &digest, "approve", None).await;
    assert_eq!((status, code(&body)), (400, "INVALID_PARAMS"));
    let other = digest.replace(|c: char| c.is_ascii_digit(), "a");
    let (_, body) = b.decide(&id, &other, "approve", Some(PHRASE)).await;
    assert_eq!(code(&body), "DIGEST_MISMATCH");
    let (status, body) = b.decide(&id, &digest, "approve", Some("wrong horse")).await;
    assert_eq!((status, code(&body)), (403, "PASSPHRASE_WRONG"));
    let (_, view) = b.ask("GET", &format!("/proposals/{id}"), &[], "").await;
    assert_eq!(view["status"], "awaiting_approval", "{view}");

    let (status, body) = b.decide(&id, &digest, "reject", Some(PHRASE)).await;
    assert_eq!(
        (status, &body["status"]),
        (200, &json!("rejected")),
        "{body}"
    );
    let (_, trail) = b.ask("GET", "/audit", &[], "").await;
    assert!(trail.to_string().contains("decision.reject"), "{trail}");

    let (id, digest) = b.proposed().await;
    let (status, body) = b.decide(&id, &digest, "withdraw", None).await;
    assert_eq!(
        (status, &body["status"]),
        (200, &json!("withdrawn")),
        "{body}"
    );
}

#[tokio::test]
async fn five_wrong_passphrases_make_even_the_right_one_wait() {
    let (b, dir) = executor("operate").await;
    keystore::protect_operator_key(&dir, &phrase()).unwrap();
    let (id, digest) = b.proposed().await;
    for _ in 0..5 {
        let (_, body) = b.decide(&id, &digest, "approve", Some("wrong horse")).await;
        assert_eq!(code(&body), "PASSPHRASE_WRONG");
    }
    let (status, body) = b.decide(&id, &digest, "approve", Some(PHRASE)).await;
    assert_eq!((status, code(&body)), (429, "RATE_EXCEEDED"));
    let (_, events) = b.ask("GET", "/events?kind=passphrase.wrong", &[], "").await;
    assert!(events.as_array().is_some_and(|e| !e.is_empty()), "{events}");
    assert!(!events.to_string().contains("horse"));
}

#[tokio::test]
async fn a_session_that_may_only_look_decides_nothing() {
    let (b, dir) = executor("read").await;
    keystore::protect_operator_key(&dir, &phrase()).unwrap();
    let (status, body) = b.decide("abcdefgh", "x", "approve", Some(PHRASE)).await;
    assert_eq!((status, code(&body)), (403, "NOT_AUTHORIZED"));
}

#[tokio::test]
async fn a_metric_over_time_comes_from_the_log_with_its_tier() {
    use crate::adapters::store::Class;
    use crate::domain::base::{EvidenceSource, Tier};
    use crate::domain::wire::FrameKind;
    use crate::domain::wire::frame::FrameSpec;
    let b = browser("read").await;
    let shared = &b.house.opened.handles;
    let spec = |metric: &str, value: f64| FrameSpec {
        kind: FrameKind::Observation,
        data: json!({"metric": metric, "zone": "a", "value": value, "unit": "%"})
            .as_object()
            .cloned()
            .unwrap(),
        sources: vec![EvidenceSource::Sensor],
        tier: Tier::T2,
        taint: Default::default(),
        note: None,
    };
    let specs = vec![
        spec("moisture", 40.5),
        spec("other", 1.0),
        spec("moisture", 39.5),
    ];
    crate::node::frame_log::publish(shared, specs, Class::Durable)
        .await
        .unwrap();
    let (status, series) = b.ask("GET", "/series?metric=moisture", &[], "").await;
    assert_eq!(status, StatusCode::OK, "{series}");
    let line = &series["lines"][0];
    assert_eq!(
        (&line["samples"], &line["unit"], &line["zone"]),
        (&json!(2), &json!("%"), &json!("a"))
    );
    let points = line["points"].as_array().unwrap();
    assert_eq!(
        (&points[0]["tier"], &points[0]["signature"]),
        (&json!("T2"), &json!("verified")),
        "{series}"
    );
    let (_, none) = b
        .ask("GET", "/series?metric=moisture&zone=b", &[], "")
        .await;
    assert_eq!(none["lines"], json!([]));
    for bad in [
        "",
        "?metric=",
        "?metric=x&from=5&to=4",
        "?metric=x&points=1",
        "?metric=x&points=2001",
        "?metric=x&origin=zz",
    ] {
        let (status, body) = b.ask("GET", &format!("/series{bad}"), &[], "").await;
        assert_eq!(
            (status.as_u16(), code(&body)),
            (400, "INVALID_PARAMS"),
            "{bad}"
        );
    }
    let (_, topology) = b.ask("GET", "/topology", &[], "").await;
    let own = &topology["nodes"][0];
    assert_eq!(
        (&own["own"], &own["fresh"], &own["estop"]),
        (&json!(true), &json!(true), &json!(false))
    );
}

#[tokio::test]
async fn a_session_made_over_tls_is_never_sent_without_it() {
    use crate::adapters::transport::Secure;
    let house = house().await;
    let app = app(
        Door::new(house.opened.handles.clone()),
        house.tokens.clone(),
    );
    let path = link(&house, &app, "read").await;
    let mut open = request("GET", &path, &[], "");
    open.extensions_mut().insert(Secure(true));
    let (status, headers, _) = send(&app, open).await;
    assert_eq!(status, StatusCode::SEE_OTHER);
    let set = headers["set-cookie"].to_str().unwrap();
    for part in ["__Host-clawmesh_1=", "; Secure", "HttpOnly", "Path=/;"] {
        assert!(set.contains(part), "{part} is missing: {set}");
    }
    let cookie = set.split(';').next().unwrap();
    // Whatever else of our name a page without TLS has put beside it.
    let beside = format!("clawmesh_1=planted; {cookie}");
    for sent in [cookie, &beside] {
        let path = format!("{API_ROOT}/session");
        let asked = request("GET", &path, &[("cookie", sent)], "");
        assert_eq!(send(&app, asked).await.0, StatusCode::OK, "{sent}");
    }
}
