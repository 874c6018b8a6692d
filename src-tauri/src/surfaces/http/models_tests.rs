//! The language models over HTTP: a key goes in and never comes out, tries are told and few, and who may do what.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::sync::Arc;

use axum::http::StatusCode;
use serde_json::{Value, json};

use super::tests::{House, code, house, house_with};
use crate::adapters::clock::SystemClock;
use crate::adapters::llm::{Reply, Scripted};
use crate::domain::base::limits::{CREDENTIAL_MAX_BYTES, MODEL_TRIES_MAX};
use crate::domain::inference::FailureKind;
use crate::node::config::models::{RawInference, RawModel};
use crate::node::{Outside, RawConfig};
use crate::operator::access::{API_ROOT, Scope};

const KEY: &str = "sk-very-secret-4711";

async fn get(house: &House, path: &str) -> Value {
    let (status, body) = house
        .ask(Some(Scope::Read), "GET", &format!("{API_ROOT}{path}"), "")
        .await;
    assert_eq!(status, StatusCode::OK, "{path}: {body}");
    body
}

async fn post(house: &House, scope: Scope, path: &str, body: &Value) -> (StatusCode, Value) {
    let path = format!("{API_ROOT}{path}");
    house
        .ask(Some(scope), "POST", &path, body.to_string())
        .await
}

/// A node with a model that may not see private data and whose server is not there, and this one behind it.
async fn with_models(scripted: &Scripted) -> House {
    let raw = RawConfig {
        model: vec![RawModel {
            name: "openai/away".to_owned(),
            url: Some("http://127.0.0.1:1/v1".to_owned()),
            private: Some(false),
            tokens_per_day: Some(1_000),
            ..RawModel::default()
        }],
        inference: RawInference {
            private_zones: vec!["bedroom".to_owned()],
            ..RawInference::default()
        },
        ..RawConfig::default()
    };
    let mut outside = Outside::real(Arc::new(SystemClock::default()));
    outside.models = vec![Arc::new(scripted.clone())];
    house_with(raw, outside).await
}

fn scripted(replies: impl IntoIterator<Item = Reply>) -> Scripted {
    Scripted::new("test/model".parse().unwrap(), replies)
}

#[tokio::test]
async fn a_key_goes_in_and_never_comes_out() {
    let house = house().await;
    let wish = json!({"name": "provider/openai", "secret": KEY, "by": "ana"});
    for scope in [Scope::Read, Scope::Operate] {
        let (status, body) = post(&house, scope, "/credentials", &wish).await;
        assert_eq!(
            (status, code(&body)),
            (StatusCode::FORBIDDEN, "NOT_AUTHORIZED")
        );
    }
    assert_eq!(get(&house, "/credentials").await, json!([]));
    let (status, body) = post(&house, Scope::Admin, "/credentials", &wish).await;
    assert_eq!(status, StatusCode::OK, "{body}");
    assert_eq!(body[0]["name"], "provider/openai");
    assert!(!house.file("credentials.json").contains(KEY));

    let told = [
        body,
        get(&house, "/credentials").await,
        get(&house, "/models").await,
        get(&house, "/events").await,
        get(&house, "/audit").await,
    ];
    for told in &told {
        assert!(!told.to_string().contains(KEY), "{told}");
    }
    let kinds = |list: &Value| -> Vec<String> {
        let all = list.as_array().unwrap().iter();
        all.map(|e| e["kind"].as_str().unwrap_or_default().to_owned())
            .collect()
    };
    assert!(kinds(&told[3]).contains(&"credential.set".to_owned()));
    let entries = told[4].as_array().unwrap();
    let entry = entries.iter().find(|e| e["kind"] == "credential.set");
    let said = entry.unwrap().to_string();
    assert!(
        said.contains("provider/openai") && said.contains("ana"),
        "{said}"
    );

    let gone = format!("{API_ROOT}/credentials/provider%2Fopenai");
    for scope in [Scope::Read, Scope::Operate] {
        let (status, _) = house.ask(Some(scope), "DELETE", &gone, "").await;
        assert_eq!(status, StatusCode::FORBIDDEN);
    }
    let (status, body) = house.ask(Some(Scope::Admin), "DELETE", &gone, "").await;
    assert_eq!((status, &body), (StatusCode::OK, &json!([])));
    let (status, body) = house.ask(Some(Scope::Admin), "DELETE", &gone, "").await;
    assert_eq!((status, code(&body)), (StatusCode::NOT_FOUND, "NOT_FOUND"));
    let audit = get(&house, "/audit").await;
    assert!(kinds(&audit).contains(&"credential.removed".to_owned()));
}

#[tokio::test]
async fn what_is_no_key_is_refused_without_a_word_of_it() {
    let house = house().await;
    for (name, secret) in [
        ("openai", json!(KEY)),
        ("provider/", json!(KEY)),
        ("provider/OpenAI", json!(KEY)),
        ("other/openai", json!(KEY)),
        ("provider/openai", json!("")),
        ("provider/openai", json!("  ")),
        ("provider/openai", json!(format!("{KEY}\r\nX-Other: 1"))),
        ("provider/openai", json!(KEY.repeat(CREDENTIAL_MAX_BYTES))),
        ("provider/openai", json!([KEY])),
        ("provider/openai", json!({KEY: 1})),
        ("provider/openai", json!(null)),
    ] {
        let wish = json!({"name": name, "secret": secret});
        let (status, body) = post(&house, Scope::Admin, "/credentials", &wish).await;
        assert_eq!(
            (status, code(&body)),
            (StatusCode::BAD_REQUEST, "INVALID_PARAMS"),
            "{name}"
        );
        assert!(!body.to_string().contains(KEY), "{body}");
    }
    // A key in the wrong place.
    for wish in [
        json!({"name": KEY, "secret": "a"}),
        json!({"name": {KEY: 1}, "secret": "a"}),
        json!({"name": "provider/openai", "secret": "a", "by": [KEY]}),
        json!({"name": "provider/openai", "secret": "a", KEY: 1}),
        json!({ KEY: 1 }),
        json!(KEY),
    ] {
        let (status, body) = post(&house, Scope::Admin, "/credentials", &wish).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{wish}");
        assert!(!body.to_string().contains(KEY), "{body}");
    }
    assert_eq!(get(&house, "/credentials").await, json!([]));
}

/// Tries the models; everything that is told.
async fn tried(house: &House, prompt: &str, private: bool) -> Vec<Value> {
    let wish = json!({"prompt": prompt, "private": private});
    let text = house
        .text(
            Scope::Admin,
            &format!("{API_ROOT}/models/try"),
            wish.to_string(),
        )
        .await;
    let lines = text.lines().filter(|l| !l.is_empty());
    lines.map(|l| serde_json::from_str(l).unwrap()).collect()
}

#[tokio::test]
async fn a_try_tells_the_way_and_the_answer_and_what_the_models_are_shows_it() {
    let model = scripted([
        Reply::text("Ready."),
        Reply::text("Still ready."),
        Reply::fail(FailureKind::Unauthorized, "the key is wrong; set it"),
    ]);
    let house = with_models(&model).await;
    let before = get(&house, "/models").await;
    assert_eq!(before["privateZones"], json!(["bedroom"]));
    let names: Vec<&str> = before["models"]
        .as_array()
        .unwrap()
        .iter()
        .map(|m| m["model"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["openai/away", "test/model"]);
    assert_eq!(before["models"][0]["seesPrivate"], false);
    assert_eq!(before["models"][1]["seen"]["answeredAt"], Value::Null);

    let told = tried(&house, "Are you ready?", false).await;
    assert_eq!(told[0]["event"], "route", "{told:?}");
    assert_eq!(told[0]["route"]["chosen"], "test/model");
    assert_eq!(told[0]["route"]["skipped"][0]["model"], "openai/away");
    let last = told.last().unwrap();
    assert_eq!(
        (&last["event"], &last["text"]),
        (&json!("done"), &json!("Ready."))
    );

    // Private: the one that may not see it is not even asked.
    let told = tried(&house, "Is anybody in the bedroom?", false).await;
    assert_eq!(
        told[0]["route"]["skipped"][0]["kind"], "private",
        "{told:?}"
    );
    let told = tried(&house, "Is anybody there?", true).await;
    assert_eq!(
        told[0]["route"]["skipped"][0]["kind"], "private",
        "{told:?}"
    );
    let last = told.last().unwrap();
    assert_eq!(last["event"], "failed");
    assert!(
        last["message"]
            .as_str()
            .unwrap()
            .contains("the key is wrong")
    );

    let after = get(&house, "/models").await;
    let (away, model) = (&after["models"][0]["seen"], &after["models"][1]["seen"]);
    assert!(
        away["error"].is_string() && away["answeredAt"].is_null(),
        "{away}"
    );
    assert!(
        model["answeredAt"].is_u64() && model["tookMs"].is_u64(),
        "{model}"
    );
    assert!(
        model["error"]
            .as_str()
            .unwrap()
            .contains("the key is wrong")
    );
    assert_eq!(after["models"][1]["spent"]["requests"], 3);
}

#[tokio::test]
async fn which_way_a_question_would_go_is_explained_and_nobody_is_asked() {
    let model = scripted([]);
    let house = with_models(&model).await;
    let ask = async |question: Value| {
        let (status, body) = post(&house, Scope::Read, "/models/explain", &question).await;
        assert_eq!(status, StatusCode::OK, "{body}");
        body
    };
    let public = ask(json!({"question": "How is the field?"})).await;
    assert_eq!(public["route"]["chosen"], "openai/away");
    assert_eq!(public["after"], json!(["test/model"]));
    for private in [
        json!({"question": "Who is in the bedroom?"}),
        json!({"question": "How is the field?", "private": true}),
    ] {
        let said = ask(private).await;
        assert_eq!(said["route"]["chosen"], "test/model", "{said}");
        assert_eq!(said["route"]["skipped"][0]["kind"], "private");
        assert!(
            said["why"]
                .as_str()
                .unwrap()
                .contains("may not see private")
        );
    }
    for bad in [
        json!({"question": " "}),
        json!({"question": "x".repeat(3_000)}),
    ] {
        let (status, body) = post(&house, Scope::Read, "/models/explain", &bad).await;
        assert_eq!(
            (status, code(&body)),
            (StatusCode::BAD_REQUEST, "INVALID_PARAMS")
        );
    }
    assert!(model.asked().is_empty());
}

#[tokio::test]
async fn tries_are_an_administrators_and_few() {
    let model = scripted([]).then_always(Reply::text("Yes."));
    let house = with_models(&model).await;
    let wish = json!({"prompt": "Are you there?"});
    for scope in [Scope::Read, Scope::Operate] {
        let (status, _) = post(&house, scope, "/models/try", &wish).await;
        assert_eq!(status, StatusCode::FORBIDDEN);
    }
    assert!(model.asked().is_empty());
    for _ in 0..MODEL_TRIES_MAX {
        let told = tried(&house, "Are you there?", true).await;
        assert_eq!(told.last().unwrap()["event"], "done");
    }
    let (status, body) = post(&house, Scope::Admin, "/models/try", &wish).await;
    assert_eq!(
        (status, code(&body)),
        (StatusCode::TOO_MANY_REQUESTS, "RATE_EXCEEDED")
    );
}
