//! The router without a network: who gets in, how it refuses, and that a stream resumes. Real nodes
//! over TCP are tested in `tests/it`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::{Request, Response, StatusCode};
use futures_util::StreamExt as _;
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tempfile::TempDir;
use tower::ServiceExt as _;

use super::{app, openapi};
use crate::adapters::clock::SystemClock;
use crate::adapters::store::operators;
use crate::domain::base::limits::HTTP_BODY_MAX_BYTES;
use crate::domain::identity::{DeviceKey, OperatorKey};
use crate::node::context::{Event, Severity};
use crate::node::{Opened, Outside, RawConfig};
use crate::operator::Door;
use crate::operator::access::{API_ROOT, Scope, Tokens};
use crate::operator::routes;

pub(super) struct House {
    pub(super) opened: Opened,
    pub(super) tokens: Tokens,
    router: Router,
    dir: TempDir,
}

pub(super) async fn house() -> House {
    house_of(RawConfig::default(), None).await
}

/// A node that is open but does not run, with a policy if one is given.
pub(super) async fn house_of(raw: RawConfig, policy: Option<&str>) -> House {
    let dir = tempfile::tempdir().unwrap();
    let raw = RawConfig {
        mesh_name: Some("test".into()),
        ..raw
    };
    let config = raw.resolve(dir.path().join("state")).unwrap();
    let opened = Opened::open(config, Arc::new(SystemClock::default()))
        .await
        .unwrap();
    if let Some(policy) = policy {
        std::fs::write(dir.path().join("state/policy.toml"), policy).unwrap();
        Door::new(opened.handles.clone())
            .policy_reload()
            .await
            .unwrap();
    }
    House::of(opened, dir)
}

/// A node that is open but does not run, in this world. Its router is made once, as a running node's is.
pub(super) async fn house_with(raw: RawConfig, outside: Outside) -> House {
    let dir = tempfile::tempdir().unwrap();
    let raw = RawConfig {
        mesh_name: Some("test".into()),
        ..raw
    };
    let config = raw.resolve(dir.path().join("state")).unwrap();
    let opened = Opened::open_in(config, outside).await.unwrap();
    House::of(opened, dir)
}

impl House {
    fn of(opened: Opened, dir: TempDir) -> Self {
        let tokens = Tokens::generate().unwrap();
        let router = app(Door::new(opened.handles.clone()), tokens.clone());
        Self {
            opened,
            tokens,
            router,
            dir,
        }
    }

    /// What answers its requests.
    pub(super) fn app(&self) -> Router {
        self.router.clone()
    }

    /// A file of its state directory.
    pub(super) fn file(&self, name: &str) -> String {
        std::fs::read_to_string(self.dir.path().join("state").join(name)).unwrap()
    }

    /// The text of an answer that is no JSON document.
    pub(super) async fn text(&self, scope: Scope, path: &str, body: String) -> String {
        let request = Request::builder()
            .method("POST")
            .uri(path)
            .header("host", "127.0.0.1:1")
            .header("authorization", format!("Bearer {}", self.tokens.of(scope)));
        let answer = self.send(request.body(Body::from(body)).unwrap()).await;
        let bytes = answer.into_body().collect().await.unwrap().to_bytes();
        String::from_utf8(bytes.to_vec()).unwrap()
    }

    async fn send(&self, request: Request<Body>) -> Response<Body> {
        self.app().oneshot(request).await.unwrap()
    }

    pub(super) async fn ask(
        &self,
        scope: Option<Scope>,
        method: &str,
        path: &str,
        body: impl Into<Body>,
    ) -> (StatusCode, Value) {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", "127.0.0.1:1");
        if let Some(scope) = scope {
            request = request.header("authorization", format!("Bearer {}", self.tokens.of(scope)));
        }
        read(self.send(request.body(body.into()).unwrap()).await).await
    }
}

pub(super) async fn read(response: Response<Body>) -> (StatusCode, Value) {
    let status = response.status();
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    (
        status,
        serde_json::from_slice(&bytes).unwrap_or(Value::Null),
    )
}

pub(super) fn code(body: &Value) -> &str {
    body.pointer("/error/code")
        .and_then(Value::as_str)
        .unwrap_or_default()
}

#[tokio::test]
async fn every_refusal_is_json_with_a_code_whatever_cannot_be_read() {
    let house = house().await;
    for route in routes::ALL {
        let method = openapi::method(route.verb).to_uppercase();
        let path = |id: &str| format!("{API_ROOT}{}", route.path.replace("{id}", id));
        if route.path.contains("{id}") {
            let asked = house
                .ask(Some(Scope::Admin), &method, &path("%ff"), "")
                .await;
            let (status, body) = asked;
            assert_eq!(
                (status.as_u16(), code(&body)),
                (400, "INVALID_PARAMS"),
                "{method} {}",
                route.path
            );
        }
        let odd = format!("{}?since=%ff&limit=-1&before=%00&=%", path("%20"));
        let (status, body) = house
            .ask(Some(Scope::Admin), &method, &odd, "{\"a\":")
            .await;
        assert!(
            status.is_success() || !code(&body).is_empty(),
            "{method} {}: {status} {body}",
            route.path
        );
    }
}

#[tokio::test]
async fn every_described_route_exists_and_needs_exactly_its_scope() {
    let house = house().await;
    for route in routes::ALL {
        let path = format!(
            "{API_ROOT}{}",
            route.path.replace("{id}", "nothing-like-this")
        );
        let method = openapi::method(route.verb).to_uppercase();
        let (status, body) = house.ask(None, &method, &path, "").await;
        assert_eq!(
            (status.as_u16(), code(&body)),
            (401, "UNAUTHENTICATED"),
            "{method} {path}"
        );
        let below = match route.scope {
            Scope::Read => None,
            Scope::Operate => Some(Scope::Read),
            Scope::Admin => Some(Scope::Operate),
        };
        if let Some(below) = below {
            let (status, body) = house.ask(Some(below), &method, &path, "").await;
            assert_eq!(
                (status.as_u16(), code(&body)),
                (403, "NOT_AUTHORIZED"),
                "{method} {path}"
            );
        }
        if route.path == "/stream" {
            continue;
        }
        for scope in [Scope::Read, Scope::Operate, Scope::Admin]
            .into_iter()
            .filter(|s| *s >= route.scope)
        {
            let (status, body) = house.ask(Some(scope), &method, &path, "").await;
            assert!(
                ![401, 405, 500].contains(&status.as_u16()),
                "{method} {path}: {status} {body}"
            );
            assert!(
                code(&body) != "NOT_AUTHORIZED"
                    && (!body.is_null() || route.path == "/audit/export"),
                "{method} {path}: {body}"
            );
        }
    }
}

#[tokio::test]
async fn metrics_need_a_token_and_health_does_not() {
    let house = house().await;
    let (status, body) = house.ask(None, "GET", "/healthz", "").await;
    assert_eq!(
        (status, body.as_object().unwrap().len()),
        (StatusCode::OK, 3)
    );
    assert_eq!(
        house.ask(None, "GET", "/metrics", "").await.0,
        StatusCode::UNAUTHORIZED
    );
    let request = Request::get("/metrics").header(
        "authorization",
        format!("Bearer {}", house.tokens.of(Scope::Read)),
    );
    let response = house.send(request.body(Body::empty()).unwrap()).await;
    let text = response.into_body().collect().await.unwrap().to_bytes();
    assert!(
        std::str::from_utf8(&text)
            .unwrap()
            .contains("clawmesh_frames_stored")
    );
}

#[tokio::test]
async fn web_pages_other_names_and_other_machines_get_nothing() {
    let house = house().await;
    let good = format!("Bearer {}", house.tokens.of(Scope::Admin));
    let cases = [
        ("origin", "http://evil.example", "127.0.0.1"),
        ("origin", "null", "127.0.0.1"),
        ("x-nothing", "", "evil.example"),
    ];
    for (name, value, host) in cases {
        for path in ["/healthz", "/api/operator/v1/status", "/nowhere"] {
            let request = Request::get(path)
                .header("host", host)
                .header("authorization", &good)
                .header(name, value);
            let (status, body) = read(house.send(request.body(Body::empty()).unwrap()).await).await;
            assert_eq!(
                (status.as_u16(), code(&body)),
                (403, "NOT_AUTHORIZED"),
                "{name} {host} {path}"
            );
        }
    }
    for (remote, wanted) in [
        ("192.168.1.9:5", 403),
        ("127.0.0.1:5", 200),
        ("[::ffff:127.0.0.1]:5", 200),
    ] {
        let mut request = Request::get("/api/operator/v1/status")
            .header("host", "localhost")
            .header("authorization", &good);
        request = request.extension(ConnectInfo(remote.parse::<SocketAddr>().unwrap()));
        let status = house
            .send(request.body(Body::empty()).unwrap())
            .await
            .status();
        assert_eq!(status.as_u16(), wanted, "{remote}");
    }
    // A hook has a token of its own and says itself who may send; a web page never may.
    for (origin, wanted) in [(None, 401), (Some("http://field.lan"), 403)] {
        let request = Request::post("/hooks/shed").header("host", "field.lan");
        let request = match origin {
            Some(origin) => request.header("origin", origin),
            None => request,
        };
        let remote = "192.168.1.9:5".parse::<SocketAddr>().unwrap();
        let request = request.extension(ConnectInfo(remote));
        let status = house
            .send(request.body(Body::empty()).unwrap())
            .await
            .status();
        assert_eq!(status.as_u16(), wanted, "{origin:?}");
    }
}

#[tokio::test]
#[allow(clippy::too_many_lines, reason = "one table of cases")]
async fn every_refusal_is_json_and_says_where() {
    let house = house().await;
    let admin = Some(Scope::Admin);
    let cases = [
        (
            "GET",
            "/api/nowhere",
            "".to_owned(),
            404,
            "NOT_FOUND",
            "/api/nowhere",
        ),
        (
            "PUT",
            "/api/operator/v1/status",
            "".into(),
            405,
            "UNKNOWN_METHOD",
            "PUT",
        ),
        (
            "POST",
            "/api/operator/v1/trust",
            "{\"deviceId\":\n }".into(),
            400,
            "INVALID_JSON",
            "line 2",
        ),
        (
            "POST",
            "/api/operator/v1/trust",
            "{\"nmae\":1}".into(),
            400,
            "INVALID_PARAMS",
            "nmae",
        ),
        (
            "POST",
            "/api/operator/v1/policy/explain",
            format!("{{\"params\":{{\"a\":{}", "[".repeat(5_000)),
            400,
            "INVALID_JSON",
            "recursion",
        ),
        (
            "POST",
            "/api/operator/v1/trust",
            " ".repeat(HTTP_BODY_MAX_BYTES + 1),
            413,
            "TOO_LARGE",
            "bytes at most",
        ),
        (
            "GET",
            "/api/operator/v1/frames?limit=0",
            "".into(),
            400,
            "INVALID_PARAMS",
            "limit",
        ),
        (
            "GET",
            "/api/operator/v1/frames?kind=x",
            "".into(),
            400,
            "INVALID_PARAMS",
            "kind",
        ),
        (
            "GET",
            "/api/operator/v1/events?sicne=1",
            "".into(),
            400,
            "INVALID_PARAMS",
            "sicne",
        ),
        (
            "GET",
            "/api/operator/v1/proposals/abcdef",
            "".into(),
            404,
            "PROPOSAL_NOT_FOUND",
            "abcdef",
        ),
        (
            "GET",
            "/api/operator/v1/proposals/abc",
            "".into(),
            404,
            "PROPOSAL_NOT_FOUND",
            "abc",
        ),
    ];
    for (method, path, body, wanted, wanted_code, says) in cases {
        let (status, body) = house.ask(admin, method, path, body).await;
        assert_eq!(
            (status.as_u16(), code(&body)),
            (wanted, wanted_code),
            "{method} {path}: {body}"
        );
        assert!(body.to_string().contains(says), "{method} {path}: {body}");
    }
}

#[tokio::test]
async fn trust_is_given_changed_and_ended_with_an_audit_trail() {
    let house = house().await;
    let admin = Some(Scope::Admin);
    let key = DeviceKey::from_seed(&[3; 32]);
    let (id, other) = (key.id().as_str(), DeviceKey::from_seed(&[4; 32]));
    let post = |path: String, body: Value| {
        house.ask(
            admin,
            "POST",
            Box::leak(path.into_boxed_str()),
            body.to_string(),
        )
    };
    let root = format!("{API_ROOT}/trust");

    let (_, refused) = post(root.clone(), json!({"deviceId": "abc"})).await;
    assert_eq!(code(&refused), "INVALID_PARAMS");
    let (_, refused) = post(
        root.clone(),
        json!({"deviceId": id, "publicKey": other.public().to_text()}),
    )
    .await;
    assert_eq!(code(&refused), "PUBLIC_KEY_MISMATCH");

    let (_, added) = post(root.clone(), json!({"deviceId": id})).await;
    assert_eq!(
        added["grants"],
        json!(["observe:T2", "plan", "relay", "read"])
    );
    let (_, added) = post(
        root.clone(),
        json!({"deviceId": id, "preset": "viewer", "grants": "estop"}),
    )
    .await;
    assert_eq!(added["grants"], json!(["read", "estop"]));
    assert!(house.opened.handles.trust.live(key.id()).is_some());

    let (_, granted) = post(format!("{root}/{id}/grant"), json!({"grants": "plan"})).await;
    assert_eq!(granted["grants"], json!(["plan", "read", "estop"]));
    let (status, _) = post(format!("{root}/{id}/revoke"), json!({})).await;
    assert_eq!(status, StatusCode::OK);
    assert!(house.opened.handles.trust.live(key.id()).is_none());
    let (_, refused) = post(root.clone(), json!({"deviceId": id})).await;
    assert_eq!(code(&refused), "CONFLICT");
    assert_eq!(
        house
            .ask(admin, "DELETE", &format!("{root}/{id}"), "")
            .await
            .0,
        StatusCode::OK
    );
    // Forgetting the record does not bring a revoked device back.
    let (_, refused) = post(root.clone(), json!({"deviceId": id})).await;
    assert_eq!(code(&refused), "CONFLICT");

    let (_, report) = house
        .ask(admin, "GET", "/api/operator/v1/audit/verify", "")
        .await;
    assert_eq!(
        (&report["ok"], &report["entries"]),
        (&json!(true), &json!(5)),
        "{report}"
    );
}

#[tokio::test]
async fn a_revoked_operator_never_comes_back() {
    let house = house().await;
    let admin = Some(Scope::Admin);
    let person = OperatorKey::from_seed(&[5; 32]);
    let enroll =
        json!({"publicKey": person.public().to_text(), "name": "Ada", "level": "L2"}).to_string();
    let root = "/api/operator/v1/operators";
    let (status, view) = house.ask(admin, "POST", root, enroll.clone()).await;
    assert_eq!(
        (status, &view["maxLevel"]),
        (StatusCode::OK, &json!("L2")),
        "{view}"
    );
    let revoke = format!("{root}/{}/revoke", person.id());
    assert_eq!(
        house.ask(admin, "POST", &revoke, "").await.0,
        StatusCode::OK
    );
    let (_, refused) = house.ask(admin, "POST", root, enroll).await;
    assert_eq!(code(&refused), "OPERATOR_REVOKED");
    let id = person.id().clone();
    let known = house
        .opened
        .handles
        .store
        .read("operators", move |c| operators::get(c, &id))
        .await
        .unwrap();
    assert!(known.unwrap().revocation.is_some());
}

#[tokio::test]
async fn a_stream_resumes_after_the_last_event_seen_and_ends_with_the_node() {
    let house = house().await;
    let shared = &house.opened.handles;
    for n in 0..3 {
        shared
            .journal
            .record(
                Event::PeerSeen,
                Severity::Info,
                &format!("event {n}"),
                json!({}),
            )
            .await;
    }
    let request = Request::get("/api/operator/v1/stream")
        .header(
            "authorization",
            format!("Bearer {}", house.tokens.of(Scope::Read)),
        )
        .header("last-event-id", "1");
    let response = house.send(request.body(Body::empty()).unwrap()).await;
    assert_eq!(response.status(), StatusCode::OK);
    let mut frames = response.into_body().into_data_stream();
    let mut seen = String::new();
    while !seen.contains("event 2") {
        seen.push_str(std::str::from_utf8(&frames.next().await.unwrap().unwrap()).unwrap());
    }
    assert!(!seen.contains("event 0"), "{seen}");
    assert!(
        seen.contains("id: 2") && seen.contains("id: 3") && seen.contains("event: event"),
        "{seen}"
    );
    shared
        .journal
        .record(Event::PeerSeen, Severity::Info, "event live", json!({}))
        .await;
    while !seen.contains("event live") {
        seen.push_str(std::str::from_utf8(&frames.next().await.unwrap().unwrap()).unwrap());
    }
    shared.tasks.stop().cancel();
    while frames.next().await.is_some() {}
}
