//! A key made in a browser: it waits, is enrolled or declined, and then votes like any other.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use axum::http::StatusCode;
use serde_json::{Value, json};

use super::browser_tests::{Browser, browser, executor};
use super::tests::code;
use crate::domain::base::TimeMs;
use crate::domain::gate::approval::{Decision, Verdict};
use crate::domain::identity::OperatorKey;

fn key() -> OperatorKey {
    OperatorKey::from_seed(&[77; 32])
}

async fn ask(b: &Browser) -> (StatusCode, Value) {
    let asked = json!({"name": "ben", "publicKey": key().public().to_text()});
    b.change("/operators/requests", &asked.to_string()).await
}

async fn waiting(b: &Browser) -> Value {
    b.ask("GET", "/operators/requests", &[], "").await.1
}

#[tokio::test]
async fn a_key_made_in_a_browser_waits_is_enrolled_and_votes() {
    let (b, _) = executor("admin").await;
    let (status, asked) = ask(&b).await;
    assert_eq!(status, StatusCode::OK, "{asked}");
    assert_eq!(waiting(&b).await, json!([asked]));
    assert_eq!(asked["operatorId"], json!(key().id()));

    let (id, digest) = b.proposed().await;
    let (_, view) = b.ask("GET", &format!("/proposals/{id}"), &[], "").await;
    let text = |name: &str| view[name].as_str().unwrap().parse().unwrap();
    let vote = |verdict| {
        let signed = Decision {
            verdict,
            mesh_id: b.house.opened.handles.mesh.clone(),
            executor: view["executor"].as_str().unwrap().parse().unwrap(),
            proposal_id: text("id"),
            digest: serde_json::from_value(json!(digest)).unwrap(),
            operator_id: key().id().clone(),
            decided_at: TimeMs(view["createdAt"].as_u64().unwrap() + 1),
            note: None,
            channel: None,
            at_node: None,
        }
        .sign(&key());
        serde_json::to_string(&signed).unwrap()
    };
    let path = format!("/proposals/{id}/decision");
    // Waiting is nothing yet.
    let (status, refused) = b.change(&path, &vote(Verdict::Reject)).await;
    assert_eq!(
        (status, code(&refused)),
        (StatusCode::FORBIDDEN, "OPERATOR_UNKNOWN")
    );

    let enroll = json!({"publicKey": asked["publicKey"], "name": "ben", "level": "L2"});
    let (status, body) = b.change("/operators", &enroll.to_string()).await;
    assert_eq!(status, StatusCode::OK, "{body}");
    assert_eq!(waiting(&b).await, json!([]));
    let (status, again) = ask(&b).await;
    assert_eq!((status, code(&again)), (StatusCode::CONFLICT, "CONFLICT"));

    let (status, standing) = b.change(&path, &vote(Verdict::Reject)).await;
    assert_eq!(status, StatusCode::OK, "{standing}");
    assert_eq!(standing["status"], "rejected");
}

#[tokio::test]
async fn a_key_that_is_declined_waits_no_more_and_looking_asks_for_nothing() {
    let b = browser("admin").await;
    let (_, asked) = ask(&b).await;
    let one = format!(
        "/operators/requests/{}",
        asked["operatorId"].as_str().unwrap()
    );
    let csrf = [("x-clawmesh-csrf", b.csrf.as_str())];
    let (status, _) = b.ask("DELETE", &one, &csrf, "").await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(waiting(&b).await, json!([]));
    let (status, body) = b.ask("DELETE", &one, &csrf, "").await;
    assert_eq!((status, code(&body)), (StatusCode::NOT_FOUND, "NOT_FOUND"));

    let looks = browser("read").await;
    let (status, _) = ask(&looks).await;
    assert_eq!(status, StatusCode::FORBIDDEN);
    let decides = browser("operate").await;
    let (status, _) = ask(&decides).await;
    assert_eq!(status, StatusCode::OK);
    let csrf = [("x-clawmesh-csrf", decides.csrf.as_str())];
    let (status, _) = decides.ask("DELETE", &one, &csrf, "").await;
    assert_eq!(status, StatusCode::FORBIDDEN);
}
