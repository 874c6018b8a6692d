//! Browsers of other machines at the router: by which name, page, cookie and link they come, and everything that is refused
//! there. The port itself is tested in `tests/it/phone.rs`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::net::{IpAddr, SocketAddr};

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::{HeaderMap, Request, StatusCode};
use serde_json::{Value, json};

use super::app;
use super::browser_tests::send;
use super::tests::{House, code, house, house_of};
use crate::adapters::transport::{Away, FromOwner, Secure};
use crate::domain::base::limits::AWAY_GUESSES_MAX;
use crate::node::RawConfig;
use crate::node::config::console::RawConsole;
use crate::operator::Door;
use crate::operator::access::{API_ROOT, AtTheWindow, Scope};
use crate::operator::routes;

const HOST: &str = "field.example:18443";
const ORIGIN: &str = "https://field.example:18443";
pub(super) const FROM: [u8; 4] = [203, 0, 113, 9];

pub(super) struct Phone {
    pub(super) house: House,
    pub(super) app: Router,
    pub(super) cookie: String,
    csrf: String,
}

async fn house_with(scope: Option<&str>) -> House {
    let console = RawConsole {
        cert: Some("/none.pem".into()),
        key: Some("/none.pem".into()),
        hosts: vec!["field.example".to_owned(), "other.example:443".to_owned()],
        scope: scope.map(str::to_owned),
        ..RawConsole::default()
    };
    let raw = RawConfig {
        console: Some(console),
        ..RawConfig::default()
    };
    let house = house_of(raw, None).await;
    let console = house.opened.handles.config.console.as_ref().unwrap();
    console.port.set(18_443).unwrap();
    house
}

fn app_of(house: &House) -> Router {
    app(
        Door::new(house.opened.handles.clone()),
        house.tokens.clone(),
    )
}

/// A request as the port for other machines hands it over.
pub(super) fn away(
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    from: impl Into<IpAddr>,
) -> Request<Body> {
    let mut request = Request::builder().method(method).uri(path);
    let named = headers.iter().any(|(name, _)| *name == "host");
    if !named {
        request = request.header("host", HOST);
    }
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let mut request = request.body(Body::from("{}")).unwrap();
    let from = from.into();
    request.extensions_mut().insert(Away::of(from));
    let socket = ConnectInfo(SocketAddr::new(from, 5));
    request.extensions_mut().insert(socket);
    request.extensions_mut().insert(Secure(true));
    request
}

/// A request of a program of this machine.
fn near(method: &str, path: &str, headers: &[(&str, &str)], body: &Value) -> Request<Body> {
    let mut request = Request::builder()
        .method(method)
        .uri(path)
        .header("host", "127.0.0.1:1");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let mut request = request.body(Body::from(body.to_string())).unwrap();
    let socket = ConnectInfo(SocketAddr::from(([127, 0, 0, 1], 5)));
    request.extensions_mut().insert(socket);
    request
}

async fn link(house: &House, app: &Router, asked: Value) -> (StatusCode, Value) {
    let token = format!("Bearer {}", house.tokens.of(Scope::Admin));
    let path = format!("{API_ROOT}/console/link");
    let (status, _, body) = send(
        app,
        near("POST", &path, &[("authorization", &token)], &asked),
    )
    .await;
    (status, body)
}

async fn code_of(house: &House, app: &Router, scope: &str) -> String {
    let asked = json!({"away": true, "scope": scope, "name": "ada"});
    let (status, body) = link(house, app, asked).await;
    assert_eq!(status, StatusCode::OK, "{body}");
    let url = body["url"].as_str().unwrap();
    url.strip_prefix(ORIGIN).unwrap().to_owned()
}

async fn phone_of(house: House, scope: &str) -> Phone {
    let app = app_of(&house);
    phone_at(house, app, scope).await
}

async fn phone_at(house: House, app: Router, scope: &str) -> Phone {
    let path = code_of(&house, &app, scope).await;
    let (status, headers, _) = send(&app, away("GET", &path, &[], FROM)).await;
    assert_eq!(status, StatusCode::SEE_OTHER);
    let set = headers["set-cookie"].to_str().unwrap();
    assert!(set.starts_with("__Host-clawmesh_18443="), "{set}");
    for part in ["; Secure", "; HttpOnly", "; SameSite=Strict", "; Path=/;"] {
        assert!(set.contains(part), "{set}");
    }
    assert_eq!(headers["location"], "/");
    assert_eq!(headers["referrer-policy"], "no-referrer");
    assert_eq!(headers["cache-control"], "no-store");
    let cookie = set.split(';').next().unwrap().to_owned();
    let mut phone = Phone {
        house,
        app,
        cookie,
        csrf: String::new(),
    };
    let (status, _, session) = phone.ask("GET", "/session", &[]).await;
    assert_eq!(status, StatusCode::OK, "{session}");
    assert_eq!(session["away"], true);
    phone.csrf = session["csrf"].as_str().unwrap().to_owned();
    phone
}

pub(super) async fn phone() -> Phone {
    phone_of(house_with(None).await, "operate").await
}

impl Phone {
    /// Another phone at the same node.
    pub(super) async fn another(self) -> Self {
        phone_at(self.house, self.app, "operate").await
    }

    /// Asks the API as the console does on the phone.
    pub(super) async fn ask(
        &self,
        method: &str,
        path: &str,
        more: &[(&str, &str)],
    ) -> (StatusCode, HeaderMap, Value) {
        let mut headers = vec![("cookie", self.cookie.as_str())];
        if method != "GET" {
            headers.push(("x-clawmesh-csrf", &self.csrf));
            headers.push(("sec-fetch-site", "same-origin"));
            if !more.iter().any(|(name, _)| *name == "origin") {
                headers.push(("origin", ORIGIN));
            }
        }
        headers.extend(more);
        headers.retain(|(_, value)| !value.is_empty());
        let path = format!("{API_ROOT}{path}");
        send(&self.app, away(method, &path, &headers, FROM)).await
    }
}

#[tokio::test]
async fn a_phone_that_came_by_its_link_reads_stops_and_sees_its_session() {
    let phone = phone().await;
    let (status, _, _) = phone.ask("GET", "/status", &[]).await;
    assert_eq!(status, StatusCode::OK);
    let (status, _, said) = phone.ask("POST", "/estop", &[]).await;
    assert_eq!(status, StatusCode::OK, "{said}");
    let (_, _, stopped) = phone.ask("GET", "/estop", &[]).await;
    let by = stopped["latch"]["by"].as_str().unwrap();
    assert!(
        by.starts_with("ada (phone "),
        "who stopped it is named by session: {by}"
    );
    let (_, _, all) = phone.ask("GET", "/sessions", &[]).await;
    assert_eq!(all[0]["away"], true);
    assert_eq!(all[0]["own"], true);
    assert_eq!(all[0]["from"], "203.0.113.9");
    let (status, _, _) = send(&phone.app, away("GET", "/approvals", &[], FROM)).await;
    assert_eq!(status, StatusCode::OK);
}

#[tokio::test]
async fn nothing_but_pages_links_and_the_api_of_a_session_is_answered() {
    let phone = phone().await;
    let bearer = format!("Bearer {}", phone.house.tokens.of(Scope::Admin));
    for path in [
        "/metrics",
        "/healthz",
        "/v1/models",
        "/mcp",
        "/hooks/weather",
        "/console/x",
        "/api",
    ] {
        for headers in [vec![], vec![("cookie", phone.cookie.as_str())]] {
            let (status, _, said) = send(&phone.app, away("GET", path, &headers, FROM)).await;
            assert_eq!(status, StatusCode::FORBIDDEN, "{path}: {said}");
        }
    }
    // The administrator's token counts for nothing, with and without a session beside it.
    let status = format!("{API_ROOT}/status");
    for more in [vec![], vec![("cookie", phone.cookie.as_str())]] {
        let headers = [vec![("authorization", bearer.as_str())], more].concat();
        let (status, _, said) = send(&phone.app, away("GET", &status, &headers, FROM)).await;
        assert_eq!(status, StatusCode::FORBIDDEN, "{said}");
    }
    let (status, _, said) = send(&phone.app, away("GET", &status, &[], FROM)).await;
    assert_eq!(
        (status, code(&said)),
        (StatusCode::UNAUTHORIZED, "UNAUTHENTICATED")
    );
    // Nor does what stands for a program or a window of this machine.
    let path = format!("{API_ROOT}/trust");
    let mut owner = away("GET", &path, &[], FROM);
    owner.extensions_mut().insert(FromOwner);
    owner.extensions_mut().insert(AtTheWindow);
    let (status, _, _) = send(&phone.app, owner).await;
    assert_eq!(status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn every_route_of_this_machine_and_of_administrators_is_refused() {
    let phone = phone().await;
    for route in routes::ALL {
        let path = route.path.replace("{id}", "0");
        let verb = format!("{:?}", route.verb).to_uppercase();
        let here_alone = super::away::is_here_alone(route.verb, route.path);
        if here_alone || route.scope == Scope::Admin {
            let (status, _, said) = phone.ask(&verb, &path, &[]).await;
            assert_eq!(status, StatusCode::FORBIDDEN, "{verb} {path}: {said}");
            assert_eq!(code(&said), "NOT_AUTHORIZED");
        }
    }
    // Also to an administrator, where the configuration lets one in.
    let admin = phone_of(house_with(Some("admin")).await, "admin").await;
    for route in routes::ALL {
        if super::away::is_here_alone(route.verb, route.path) {
            let path = route.path.replace("{id}", "0");
            let verb = format!("{:?}", route.verb).to_uppercase();
            let (status, _, said) = admin.ask(&verb, &path, &[]).await;
            assert_eq!(status, StatusCode::FORBIDDEN, "{verb} {path}: {said}");
        }
    }
}

#[tokio::test]
async fn another_name_page_or_second_token_is_refused() {
    let phone = phone().await;
    for host in [
        "evil.example:18443",
        "field.example",
        "field.example:80",
        "203.0.113.1:18443",
        "localhost",
    ] {
        let headers = [("host", host), ("cookie", phone.cookie.as_str())];
        let (status, _, _) = send(&phone.app, away("GET", "/", &headers, FROM)).await;
        assert_eq!(status, StatusCode::FORBIDDEN, "{host}");
    }
    for (headers, what) in [
        (
            [("origin", "https://evil.example"), ("x", "y")],
            "another page",
        ),
        (
            [("origin", "http://field.example:18443"), ("x", "y")],
            "without TLS",
        ),
        (
            [("origin", "https://field.example"), ("x", "y")],
            "another port",
        ),
        ([("origin", ""), ("x", "y")], "no origin"),
        (
            [("x-clawmesh-csrf", "wrong"), ("origin", ORIGIN)],
            "another token",
        ),
        (
            [("sec-fetch-site", "same-site"), ("origin", ORIGIN)],
            "a sister's page",
        ),
    ] {
        let mut sent = vec![("cookie", phone.cookie.as_str())];
        if !headers.iter().any(|(name, _)| *name == "x-clawmesh-csrf") {
            sent.push(("x-clawmesh-csrf", &phone.csrf));
        }
        sent.extend(headers.iter().filter(|(_, value)| !value.is_empty()));
        let path = format!("{API_ROOT}/estop");
        let (status, _, said) = send(&phone.app, away("POST", &path, &sent, FROM)).await;
        assert_eq!(status, StatusCode::FORBIDDEN, "{what}: {said}");
    }
    let stopped = phone.house.opened.handles.running.latched();
    assert!(stopped.is_none());
}

#[tokio::test]
async fn a_session_and_a_link_count_only_where_they_were_made_for() {
    let phone = phone().await;
    // The phone's cookie is nothing on this machine, whatever it is called there.
    let value = phone.cookie.split_once('=').unwrap().1;
    for name in ["clawmesh_1", "__Host-clawmesh_1"] {
        let cookie = format!("{name}={value}");
        let path = format!("{API_ROOT}/status");
        let (status, _, _) = send(
            &phone.app,
            near("GET", &path, &[("cookie", &cookie)], &json!({})),
        )
        .await;
        assert_eq!(status, StatusCode::UNAUTHORIZED, "{name}");
    }
    // One that something without TLS has set is none at the phone.
    let tossed = format!("clawmesh_18443={value}");
    let path = format!("{API_ROOT}/status");
    let (status, _, _) = send(&phone.app, away("GET", &path, &[("cookie", &tossed)], FROM)).await;
    assert_eq!(status, StatusCode::UNAUTHORIZED);
    // A link opens nothing at the other place, and is not used up there.
    let away_path = code_of(&phone.house, &phone.app, "read").await;
    let (status, _, _) = send(&phone.app, near("GET", &away_path, &[], &json!({}))).await;
    assert_eq!(status, StatusCode::FORBIDDEN);
    let (status, _, _) = send(&phone.app, away("GET", &away_path, &[], FROM)).await;
    assert_eq!(status, StatusCode::SEE_OTHER);
    let (_, made) = link(&phone.house, &phone.app, json!({"name": "ada"})).await;
    let here = made["url"].as_str().unwrap().to_owned();
    let here = here.strip_prefix("http://127.0.0.1:1").unwrap();
    let (status, _, _) = send(&phone.app, away("GET", here, &[], FROM)).await;
    assert_eq!(status, StatusCode::FORBIDDEN);
    let (status, _, _) = send(&phone.app, near("GET", here, &[], &json!({}))).await;
    assert_eq!(status, StatusCode::SEE_OTHER);
}

#[tokio::test]
async fn a_session_that_is_ended_asks_no_more_and_its_file_has_it_no_more() {
    let phone = phone().await;
    let file = phone
        .house
        .opened
        .handles
        .config
        .state_dir
        .join("away-sessions.json");
    let (_, _, all) = phone.ask("GET", "/sessions", &[]).await;
    let id = all[0]["id"].as_str().unwrap().to_owned();
    assert!(std::fs::read_to_string(&file).unwrap().contains("ada"));
    // Over a restart it stands.
    let again = app_of(&phone.house);
    let path = format!("{API_ROOT}/session");
    let own = [("cookie", phone.cookie.as_str())];
    let (status, _, session) = send(&again, away("GET", &path, &own, FROM)).await;
    assert_eq!(
        (status, session["csrf"].as_str()),
        (StatusCode::OK, Some(phone.csrf.as_str()))
    );
    let (status, _, left) = phone.ask("POST", &format!("/sessions/{id}/end"), &[]).await;
    assert_eq!((status, left), (StatusCode::OK, json!([])));
    let (status, _, _) = phone.ask("GET", "/status", &[]).await;
    assert_eq!(status, StatusCode::UNAUTHORIZED);
    assert!(!std::fs::read_to_string(&file).unwrap().contains("ada"));
    let (status, _, _) = send(&app_of(&phone.house), away("GET", &path, &own, FROM)).await;
    assert_eq!(status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn a_phone_ends_no_session_but_its_own_and_hears_by_push_at_public_services_alone() {
    let phone = phone().await;
    let path = code_of(&phone.house, &phone.app, "read").await;
    let (status, _, _) = send(&phone.app, away("GET", &path, &[], FROM)).await;
    assert_eq!(status, StatusCode::SEE_OTHER);
    let (_, _, all) = phone.ask("GET", "/sessions", &[]).await;
    let other = all.as_array().unwrap().iter().find(|s| s["own"] == false);
    let other = other.unwrap()["id"].as_str().unwrap();
    let (status, _, said) = phone
        .ask("POST", &format!("/sessions/{other}/end"), &[])
        .await;
    assert_eq!(status, StatusCode::FORBIDDEN, "{said}");
    assert!(said.to_string().contains("its own session alone"), "{said}");
    let (_, _, left) = phone.ask("GET", "/sessions", &[]).await;
    assert_eq!(left.as_array().unwrap().len(), 2);

    let (status, _, push) = phone.ask("GET", "/push", &[]).await;
    assert_eq!(
        (status, &push["on"]),
        (StatusCode::OK, &json!(false)),
        "{push}"
    );
    assert_eq!(push["key"].as_str().unwrap().len(), 87);
    let key = phone
        .house
        .opened
        .handles
        .config
        .state_dir
        .join("push-key.json");
    assert!(key.exists());
    let (status, _, _) = phone.ask("POST", "/push/test", &[]).await;
    assert_eq!(status, StatusCode::CONFLICT);
    // A session of this machine hears by none.
    let token = format!("Bearer {}", phone.house.tokens.of(Scope::Admin));
    let path = format!("{API_ROOT}/push");
    let asked = near("GET", &path, &[("authorization", &token)], &json!({}));
    let (_, _, here) = send(&phone.app, asked).await;
    assert!(here["key"].is_null() && here["why"].is_string(), "{here}");
}

#[tokio::test]
async fn who_guesses_waits_and_keeps_nobody_else_out() {
    let house = house_with(None).await;
    let app = app_of(&house);
    let good = code_of(&house, &app, "read").await;
    for _ in 0..AWAY_GUESSES_MAX {
        let (status, _, _) = send(&app, away("GET", "/console/open?code=x", &[], FROM)).await;
        assert_eq!(status, StatusCode::FORBIDDEN);
    }
    let (status, _, _) = send(&app, away("GET", &good, &[], FROM)).await;
    assert_eq!(status, StatusCode::TOO_MANY_REQUESTS);
    let (status, _, _) = send(&app, away("GET", &good, &[], [203, 0, 113, 10])).await;
    assert_eq!(status, StatusCode::SEE_OTHER);
}

#[tokio::test]
async fn a_link_says_no_more_than_the_configuration_does() {
    let house = house_with(None).await;
    let app = app_of(&house);
    let (status, said) = link(&house, &app, json!({"away": true, "scope": "admin"})).await;
    assert_eq!(status, StatusCode::FORBIDDEN, "{said}");
    let (status, said) = link(&house, &app, json!({"away": true, "host": "evil.example"})).await;
    assert_eq!(status, StatusCode::BAD_REQUEST, "{said}");
    let (_, said) = link(&house, &app, json!({"away": true, "host": "other.example"})).await;
    let url = said["url"].as_str().unwrap();
    assert!(
        url.starts_with("https://other.example/console/open?code="),
        "{url}"
    );
    // A session that was given more before is given less by the configuration of now.
    let admin = phone_of(house_with(Some("admin")).await, "admin").await;
    let (status, _, _) = admin.ask("POST", "/policy/reload", &[]).await;
    // There is no policy to read, which an administrator alone is told.
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    let less = house_with(Some("read")).await;
    let kept = "away-sessions.json";
    let from = admin.house.opened.handles.config.state_dir.join(kept);
    let to = less.opened.handles.config.state_dir.join(kept);
    std::fs::copy(from, to).unwrap();
    let looking = Phone {
        app: app_of(&less),
        house: less,
        ..admin
    };
    let (status, _, _) = looking.ask("GET", "/status", &[]).await;
    assert_eq!(status, StatusCode::OK);
    let (status, _, _) = looking.ask("POST", "/estop", &[]).await;
    assert_eq!(status, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn without_the_table_there_is_no_link_and_no_answer() {
    let house = house().await;
    let app = app_of(&house);
    let (status, said) = link(&house, &app, json!({"away": true})).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    assert!(
        said["error"]["message"]
            .as_str()
            .unwrap()
            .contains("[console]")
    );
    let (status, _, _) = send(&app, away("GET", "/", &[], FROM)).await;
    assert_eq!(status, StatusCode::FORBIDDEN);
}
