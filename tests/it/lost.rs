//! Readings that were answered, sent on, and lost with a commit that failed: a peer that brings one back finds it
//! taken, and one of our own proves nothing about who else has this identity.

use std::collections::BTreeSet;

use clawmesh::adapters::store::{Class, StoreError, facts, frames};
use clawmesh::domain::base::{EvidenceSource, Tier};
use clawmesh::domain::wire::FrameKind;
use clawmesh::domain::wire::frame::FrameSpec;
use clawmesh::node::frame_log;
use serde_json::json;

use crate::bad_peers::kin;
use crate::harness::*;

/// Loses what has gathered, as a full disk does.
pub async fn a_commit_fails(node: &TestNode) {
    let store = &node.shared().store;
    let before = store.losses();
    let lost = store.write(Class::Gathered, "t", |c| {
        c.execute_batch("ROLLBACK").map_err(StoreError::from)
    });
    assert!(lost.await.is_err());
    assert!(store.losses() > before);
}

fn reading() -> FrameSpec {
    let data = json!({"metric": "level", "value": 7.5, "zone": "z"});
    FrameSpec {
        kind: FrameKind::Observation,
        data: data.as_object().cloned().unwrap(),
        sources: vec![EvidenceSource::Sensor],
        tier: Tier::T2,
        taint: Default::default(),
        note: None,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_back_is_taken_and_proves_nothing() {
    let mut setup = field().trusting(key(2), "observe:T2,relay,read");
    setup.raw.mock_sensor = Some(false);
    let node = setup.start().await;
    let shared = node.shared();
    let newest = || async {
        let read = |c: &rusqlite::Connection| {
            let seq = frames::max_seq(c)?;
            Ok((seq, frames::by_seq(c, seq)?.map(|frame| frame.json)))
        };
        shared.store.read_gathered("t", read).await.unwrap()
    };
    let told = until("a reading gathers and is lost", || async {
        frame_log::publish(shared, vec![reading()], Class::Gathered)
            .await
            .unwrap();
        let (seq, text) = newest().await;
        a_commit_fails(&node).await;
        // Any other write commits it.
        let stands = shared.store.read("t", move |c| frames::by_seq(c, seq));
        let lost = stands.await.unwrap().is_none();
        (lost && text.as_ref()?.contains("7.5")).then_some((seq, text?))
    })
    .await;
    let mut peer = kin(&node, 2).await;
    let frame = format!("{{\"hops\":1,{}", &told.1[1..]);
    peer.send(format!(
        "{{\"type\":\"event\",\"event\":\"context.frames\",\"payload\":{{\"frames\":[{frame}]}}}}"
    ))
    .await;
    until("it is taken, at another place", || async {
        let (seq, text) = newest().await;
        (seq > told.0 && text.is_some_and(|t| t.contains("7.5"))).then_some(())
    })
    .await;
    // Whatever it proves is found before the next message of that peer is answered.
    peer.event("context.frame", json!({})).await;
    until("the next message is heard", || async {
        (crate::bad_peers::refusals(&node, "INVALID_FRAME") > 0).then_some(())
    })
    .await;
    assert_eq!(shared.continuity.doubt(), None);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_reading_from_before_a_run_that_lost_some_counts_for_a_condition() {
    let setup = || {
        let mut setup = field();
        setup.raw.mock_sensor = Some(false);
        setup
    };
    let counting = |node: &TestNode| {
        let shared = node.shared().clone();
        async move {
            let (at, level) = (shared.moment(), BTreeSet::from(["level".to_owned()]));
            let read = shared
                .store
                .read("t", move |c| facts::numeric_of(c, &level, at));
            read.await.unwrap().len()
        }
    };
    let node = setup().start().await;
    let stored = frame_log::publish(node.shared(), vec![reading()], Class::Durable);
    stored.await.unwrap();
    assert_eq!(counting(&node).await, 1);
    let dir = node.stop().await;
    let node = setup().start_in(dir, Some(1)).await;
    assert_eq!(counting(&node).await, 1, "the run before ended well");
    a_commit_fails(&node).await;
    let dir = node.stop().await;
    let node = setup().start_in(dir, Some(1)).await;
    assert_eq!(counting(&node).await, 0);
    let stored = frame_log::publish(node.shared(), vec![reading()], Class::Durable);
    stored.await.unwrap();
    assert_eq!(counting(&node).await, 1);
    node.stop().await;
}
