//! What a session of a browser can make the node keep: it stops without end, everything else comes out of its share, and what
//! became of it is written as soon as the disk takes it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use axum::http::StatusCode;

use super::away_tests::{FROM, Phone, away, phone};
use super::browser_tests::send;
use super::tests::code;
use crate::adapters::store::{audit, events};
use crate::adapters::transport::{Doorway, Slot};
use crate::domain::admission::budget::Cause;
use crate::domain::base::limits::{
    AWAY_CONNECTIONS_OF_SESSION_MAX, BUDGET_STOPS_PER_HOUR, SESSION_CHANGES_PER_HOUR,
};

#[tokio::test]
async fn a_phone_that_stops_without_end_stops_each_time_and_fills_neither_the_events_nor_the_audit_trail()
 {
    let phone = phone().await;
    let handles = &phone.house.opened.handles;
    let most = BUDGET_STOPS_PER_HOUR + 1;
    for _ in 0..most + 10 {
        let (status, _, said) = phone.ask("POST", "/estop", &[]).await;
        assert_eq!(status, StatusCode::OK);
        assert_eq!(said["executors"][0]["known"], "latched", "{said}");
    }
    let kept = |c: &rusqlite::Connection| {
        let told = events::latest(c, 100, Some("estop.engaged"))?.len();
        let audited = audit::after(c, 0, 1_000)?;
        let audited = audited
            .iter()
            .filter(|row| row.json.contains("\"estop.engaged\""));
        Ok((told as u64, audited.count() as u64))
    };
    let (told, audited) = handles.store.read("t", kept).await.unwrap();
    assert!(
        (2..=most).contains(&told) && audited <= most,
        "{told} {audited}"
    );
    // What was left out is told with its number, and on whose account.
    let later = handles.now().plus(3_600_000);
    let left = handles.budgets.left_out(later);
    let [(Cause::Session(_), count)] = left.as_slice() else {
        panic!("{left:?}");
    };
    assert!(*count >= 10, "{count}");

    // What it changes comes out of a share; a stop never does, and another phone has a share of its own.
    let resume = || phone.ask("POST", "/planner/resume", &[]);
    for _ in 0..SESSION_CHANGES_PER_HOUR {
        assert_eq!(resume().await.0, StatusCode::CONFLICT);
    }
    let (status, _, refused) = resume().await;
    assert_eq!(
        (status, code(&refused)),
        (StatusCode::TOO_MANY_REQUESTS, "RATE_EXCEEDED")
    );
    let (status, _, _) = phone.ask("POST", "/estop", &[]).await;
    assert_eq!(status, StatusCode::OK);
    let other = phone.another().await;
    let (status, _, _) = other.ask("POST", "/planner/resume", &[]).await;
    assert_eq!(status, StatusCode::CONFLICT);
}

#[tokio::test]
async fn an_end_that_the_disk_does_not_take_is_told_and_written_as_soon_as_it_does() {
    let phone = phone().await;
    let config = &phone.house.opened.handles.config;
    let file = config.state_dir.join("away-sessions.json");
    std::fs::remove_file(&file).unwrap();
    std::fs::create_dir_all(file.join("in the way")).unwrap();
    let (status, _, said) = phone.ask("POST", "/session/end", &[]).await;
    assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR, "{said}");
    assert!(said.to_string().contains("not on the disk"), "{said}");
    std::fs::remove_dir_all(&file).unwrap();
    let none = |text: String| text.contains("\"sessions\":[]");
    while !std::fs::read_to_string(&file).is_ok_and(none) {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_session_that_takes_many_connections_loses_its_own_and_leaves_others_theirs() {
    let doorway = Doorway::new(1_000, std::time::Duration::from_secs(60));
    let stop = tokio_util::sync::CancellationToken::new();
    let asks = async |phone: &Phone| -> Slot {
        let headers = [("cookie", phone.cookie.as_str())];
        let mut request = away("GET", "/api/operator/v1/session", &headers, FROM);
        let slot = doorway.enter(&stop);
        request.extensions_mut().insert(slot.clone());
        assert_eq!(send(&phone.app, request).await.0, StatusCode::OK);
        slot
    };
    let greedy = phone().await;
    let first = asks(&greedy).await;
    let mut more = Vec::new();
    for _ in 1..AWAY_CONNECTIONS_OF_SESSION_MAX {
        more.push(asks(&greedy).await);
    }
    assert!(!first.cut().is_cancelled());
    more.push(asks(&greedy).await);
    assert!(first.cut().is_cancelled());
    let other = greedy.another().await;
    let others = asks(&other).await;
    assert!(!others.cut().is_cancelled() && !more.iter().any(|slot| slot.cut().is_cancelled()));
}
