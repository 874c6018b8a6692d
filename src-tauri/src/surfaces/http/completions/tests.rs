//! The model endpoint without a network: its token, its refusals, and its answers whole and in parts.

use std::sync::Arc;

use axum::body::Body;
use axum::http::{Request, Response, StatusCode, header};
use serde_json::{Value, json};
use tower::ServiceExt as _;

use super::super::app;
use super::super::tests::read;
use super::*;
use crate::adapters::clock::SystemClock;
use crate::adapters::llm::{Reply, Scripted, Step};
use crate::adapters::paths::StateDir;
use crate::node::{Opened, Outside, RawConfig};
use crate::operator::Door;
use crate::operator::access::{Scope, Tokens};
use crate::operator::model_token::ModelToken;

struct House {
    app: Router,
    opened: Opened,
    tokens: Tokens,
    token: String,
    _dir: tempfile::TempDir,
}

async fn house(models: &[&Scripted]) -> House {
    let dir = tempfile::tempdir().unwrap();
    let raw = RawConfig::parse(
        "mesh_name = \"test\"\n[inference]\nprivate_zones = [\"bedroom\"]",
        "t",
    )
    .unwrap();
    let config = raw.resolve(dir.path().join("state")).unwrap();
    let mut outside = Outside::real(Arc::new(SystemClock::default()));
    outside.models = models.iter().map(|m| Arc::new((*m).clone()) as _).collect();
    let opened = Opened::open_in(config, outside).await.unwrap();
    let tokens = Tokens::generate().unwrap();
    let state = StateDir::at(&dir.path().join("state"));
    House {
        app: app(Door::new(opened.handles.clone()), tokens.clone()),
        token: ModelToken::make(&state).unwrap().reveal().to_owned(),
        opened,
        tokens,
        _dir: dir,
    }
}

fn model(name: &str, replies: impl IntoIterator<Item = Reply>) -> Scripted {
    Scripted::new(name.parse().unwrap(), replies)
}

impl House {
    async fn ask(&self, path: &str, token: &str, body: Option<Value>) -> Response<Body> {
        let mut request = match body {
            Some(body) => Request::post(path).body(Body::from(body.to_string())),
            None => Request::get(path).body(Body::empty()),
        }
        .unwrap();
        let bearer = format!("Bearer {token}").parse().unwrap();
        request.headers_mut().insert(header::AUTHORIZATION, bearer);
        self.app.clone().oneshot(request).await.unwrap()
    }

    async fn complete(&self, body: Value) -> Response<Body> {
        self.ask("/v1/chat/completions", &self.token, Some(body))
            .await
    }
}

fn chat(model: &str, text: &str) -> Value {
    json!({"model": model, "messages": [{"role": "user", "content": text}]})
}

/// The data of a stream's events.
async fn events(response: Response<Body>) -> Vec<String> {
    let bytes = axum::body::to_bytes(response.into_body(), 1_000_000)
        .await
        .unwrap();
    let text = String::from_utf8(bytes.to_vec()).unwrap();
    let data = text.lines().filter_map(|line| line.strip_prefix("data: "));
    data.map(str::to_owned).collect()
}

#[tokio::test]
async fn only_its_own_token_opens_the_endpoint_and_that_opens_nothing_else() {
    let house = house(&[]).await;
    for token in ["", "x", house.tokens.of(Scope::Admin)] {
        for body in [None, Some(chat("a/b", "hi"))] {
            let path = if body.is_none() {
                "/v1/models"
            } else {
                "/v1/chat/completions"
            };
            let response = house.ask(path, token, body).await;
            assert_eq!(response.headers()[header::WWW_AUTHENTICATE], "Bearer");
            let (status, body) = read(response).await;
            assert_eq!(status, StatusCode::UNAUTHORIZED);
            assert_eq!(body["error"]["code"], "invalid_api_key", "{body}");
        }
    }
    let response = house
        .ask("/api/operator/v1/status", &house.token, None)
        .await;
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    let mut request = Request::get("/v1/models").body(Body::empty()).unwrap();
    let headers = request.headers_mut();
    headers.insert(
        header::AUTHORIZATION,
        format!("Bearer {}", house.token).parse().unwrap(),
    );
    headers.insert(header::HOST, "evil.example.org".parse().unwrap());
    let response = house.app.clone().oneshot(request).await.unwrap();
    assert_eq!(response.status(), StatusCode::FORBIDDEN);
    drop(house.opened);
}

#[tokio::test]
async fn a_whole_answer_falls_back_while_nothing_was_shown() {
    let broken = Reply::of(vec![
        Step::Say(Piece::Text("It ".into())),
        Step::Fail(Failure::new(FailureKind::Unreachable, "gone")),
    ]);
    let (one, two) = (
        model("a/one", [broken]),
        model("b/two", [Reply::text("dry")]),
    );
    let house = house(&[&one, &two]).await;
    let (status, answer) = read(house.complete(chat("auto", "hi")).await).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    assert_eq!(answer["choices"][0]["message"]["content"], "dry");
    assert_eq!(answer["choices"][0]["finish_reason"], "stop");
    assert_eq!(
        (&answer["model"], &answer["usage"]["total_tokens"]),
        (&json!("b/two"), &json!(15))
    );
    let (_, list) = read(house.ask("/v1/models", &house.token, None).await).await;
    let ids: Vec<&str> = list["data"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|m| m["id"].as_str())
        .collect();
    assert_eq!(ids, ["auto", "a/one", "b/two"]);
}

#[tokio::test]
async fn a_stream_tells_its_parts_its_use_and_its_end() {
    let two = model("b/two", [Reply::text("dry"), Reply::text("again")]);
    let house = house(&[&two]).await;
    let mut asked = chat("b/two", "hi");
    asked["stream"] = json!(true);
    asked["stream_options"] = json!({"include_usage": true});
    let response = house.complete(asked.clone()).await;
    assert_eq!(
        response.headers()[header::CONTENT_TYPE],
        "text/event-stream"
    );
    assert!(
        !response
            .headers()
            .contains_key(header::ACCESS_CONTROL_ALLOW_ORIGIN)
    );
    let all = events(response).await;
    let parts: Vec<Value> = all
        .iter()
        .filter_map(|text| serde_json::from_str(text).ok())
        .collect();
    assert_eq!(parts[0]["choices"][0]["delta"]["role"], "assistant");
    assert_eq!(parts[1]["choices"][0]["delta"]["content"], "dry");
    assert_eq!(parts[2]["choices"][0]["finish_reason"], "stop");
    assert_eq!(
        (
            &parts[3]["choices"],
            &parts[3]["usage"]["completion_tokens"]
        ),
        (&json!([]), &json!(5))
    );
    assert_eq!(all.last().unwrap(), "[DONE]");
    asked.as_object_mut().unwrap().remove("stream_options");
    assert_eq!(events(house.complete(asked).await).await.len(), 4);
}

#[tokio::test]
async fn a_stream_that_breaks_says_so_and_is_not_begun_anew() {
    let broken = Reply::of(vec![
        Step::Say(Piece::Text("It ".into())),
        Step::Fail(Failure::new(FailureKind::Unreachable, "gone")),
    ]);
    let (one, two) = (model("a/one", [broken]), model("b/two", []));
    let house = house(&[&one, &two]).await;
    let mut asked = chat("auto", "hi");
    asked["stream"] = json!(true);
    let all = events(house.complete(asked).await).await;
    let last: Value = serde_json::from_str(all.last().unwrap()).unwrap();
    assert_eq!(last["error"]["code"], "model_failed", "{all:?}");
    assert!(two.asked().is_empty());
}

#[tokio::test]
async fn refusals_have_the_form_that_clients_read() {
    let one = model("a/one", [Reply::fail(FailureKind::Timeout, "slow")]);
    let house = house(&[&one]).await;
    let mut many = chat("a/one", "hi");
    many["n"] = json!(2);
    let mut streamed = chat("a/one", "hi");
    streamed["stream"] = json!(true);
    let large = chat("a/one", &"x".repeat(COMPLETIONS_BODY_MAX_BYTES));
    for (body, status, code) in [
        (many, 400, "invalid_value"),
        (chat("c/three", "hi"), 404, "model_not_found"),
        (chat("nothing", "hi"), 404, "model_not_found"),
        // It did not begin: a refusal and no stream.
        (streamed, 504, "model_timeout"),
        (large, 413, "request_too_large"),
    ] {
        let (got, body) = read(house.complete(body).await).await;
        assert_eq!(
            (got.as_u16(), &body["error"]["code"]),
            (status, &json!(code)),
            "{body}"
        );
        assert!(body["error"]["message"].is_string() && body["error"]["type"].is_string());
    }
    let (got, body) = read(house.complete(json!([])).await).await;
    assert_eq!(
        (got.as_u16(), &body["error"]["code"]),
        (400, &json!("invalid_json"))
    );
}

#[tokio::test]
async fn one_client_has_few_places_and_a_client_that_leaves_gives_its_own_back() {
    let hangs = || Reply::of(vec![Step::Say(Piece::Text("a".into())), Step::Hang]);
    let one = model("a/one", []).then_always(hangs());
    let two = model("b/two", []).then_always(hangs());
    let three = model("c/three", []).then_always(hangs());
    let house = house(&[&one, &two, &three]).await;
    let mut open = Vec::new();
    for n in 0..COMPLETIONS_AT_ONCE_MAX {
        let mut asked = chat(["a/one", "b/two", "c/three"][n % 3], "hi");
        asked["stream"] = json!(true);
        let response = house.complete(asked).await;
        assert_eq!(response.status(), StatusCode::OK);
        open.push(response);
    }
    let refused = house.complete(chat("a/one", "hi")).await;
    assert!(refused.headers().contains_key(header::RETRY_AFTER));
    assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
    drop(open);
    while one.open() + two.open() + three.open() > 0 {
        tokio::task::yield_now().await;
    }
}
