//! Standing approvals within bounds: lists that fit one message, a share of each device, nothing written for a repeat, and
//! none that could never count.

use clawmesh::adapters::store::standing_approvals as store;
use clawmesh::domain::base::Code;
use clawmesh::domain::base::limits::{
    BUDGET_CHECKS_PER_MINUTE, BUDGET_LISTS_PER_MINUTE, BUDGET_STANDING_PER_HOUR, MESSAGE_MAX_BYTES,
    STANDING_ENDED_SHOWN, STANDING_PER_EXECUTOR_MAX,
};
use clawmesh::domain::gate::SignedStanding;
use clawmesh::node::Handles;
use clawmesh::node::context::DURABLE;
use clawmesh::operator::Door;
use serde_json::json;

use crate::gen1_actuators::{Executor, FAR, executor_node, safe};
use crate::harness::*;
use crate::main_job::operator;
use crate::standing_approvals::{approval, ending, given, setup};

/// Puts so many into the store, as earlier weeks have left them; the first `live` of them count.
async fn stored(shared: &Handles, all: u64, live: u64, note: usize) {
    let signed = |n: u64| -> SignedStanding {
        let mut one = approval(shared, &operator(), 0);
        one.nonce = format!("0123456789abcdef-{n}");
        one.note = Some("x".repeat(note));
        one.sign(&operator())
    };
    let signed: Vec<SignedStanding> = (0..all).map(signed).collect();
    let now = shared.now();
    let put = move |conn: &rusqlite::Connection| {
        for (n, one) in (0..).zip(&signed) {
            store::put(conn, one, now)?;
            if n >= live {
                store::end(conn, &one.approval.id(), now.plus(n), "used up", None)?;
            }
        }
        Ok(())
    };
    shared.store.write(DURABLE, "t", put).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_has_all_that_count_and_the_last_that_ended_and_fits_in_one_message() {
    for (note, whole) in [(100, true), (9_000, false)] {
        let node = setup().start().await;
        let live = STANDING_PER_EXECUTOR_MAX;
        stored(node.shared(), live + 400, live, note).await;
        let mut probe = Probe::connect(node.address, &key(5), MESH).await;
        let answer = probe.ask("approvals.list", json!({})).await;
        assert_eq!(answer["ok"], true, "{answer}");
        assert!(answer.to_string().len() < MESSAGE_MAX_BYTES);
        let listed = answer["payload"]["standing"].as_array().unwrap();
        let left_out = answer["payload"]["leftOut"].as_u64().unwrap();
        let shown = u64::try_from(listed.len()).unwrap();
        assert_eq!(shown + left_out, live + 400);
        let ended = u64::try_from(STANDING_ENDED_SHOWN).unwrap();
        assert_eq!(shown == live + ended, whole, "{shown}");
        if whole {
            assert_eq!(listed[0]["state"], "counts");
            // Of those that have ended the last ones.
            let ids: Vec<&str> = listed.iter().filter_map(|one| one["id"].as_str()).collect();
            let last = node.shared().store.read("t", |c| store::ended(c, 1));
            let last = last.await.unwrap().remove(0).id.to_hex();
            assert!(ids.contains(&last.as_str()));
        }
        let view = Door::new(node.shared().clone()).standing().await.unwrap();
        assert_eq!(view.left_out, left_out);
        node.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_device_has_a_share_of_its_own_and_who_gives_too_often_still_ends() {
    let node = setup()
        .trusting(key(8), "observe:T2,relay,read,plan,human")
        .start()
        .await;
    let shared = node.shared();
    let mut flood = Probe::connect(node.address, &key(7), MESH).await;
    let one = approval(shared, &operator(), 0);
    let signed = json!({"standing": one.clone().sign(&operator())});
    let mut codes = Vec::new();
    for _ in 0..=BUDGET_STANDING_PER_HOUR {
        let answer = flood.ask("approvals.give", signed.clone()).await;
        codes.push(answer["error"]["code"].as_str().map(str::to_owned));
    }
    assert_eq!(codes[0], None);
    assert_eq!(codes.last().unwrap().as_deref(), Some("OVER_BUDGET"));
    let mut last = json!(null);
    for _ in 0..=BUDGET_LISTS_PER_MINUTE * 2 {
        last = flood.ask("approvals.list", json!({})).await;
        if last["ok"] == false {
            break;
        }
    }
    assert_eq!(last["error"]["code"], "OVER_BUDGET", "{last}");
    // The checks of a proposal have a share as well.
    for _ in 0..=BUDGET_CHECKS_PER_MINUTE * 2 {
        last = flood
            .ask("proposals.checks", json!({"proposalId": "none"}))
            .await;
        if last["error"]["code"] == "OVER_BUDGET" {
            break;
        }
    }
    assert_eq!(last["error"]["code"], "OVER_BUDGET", "{last}");
    let mut other = Probe::connect(node.address, &key(8), MESH).await;
    let given = other.ask("approvals.give", signed).await;
    assert_eq!(given["ok"], true, "{given}");
    let listed = other.ask("approvals.list", json!({})).await;
    assert_eq!(listed["ok"], true, "{listed}");
    let end = ending(shared, &one, &operator()).sign(&operator());
    let ended = flood.ask("approvals.end", json!({"end": end})).await;
    assert_eq!(ended["payload"]["state"], "ended", "{ended}");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_given_or_ended_before_is_answered_while_nothing_can_be_written() {
    let node = setup().start().await;
    let shared = node.shared();
    let (one, other) = (
        approval(shared, &operator(), 0),
        approval(shared, &operator(), 1),
    );
    for approval in [&one, &other] {
        given(&node, approval.clone().sign(&operator()))
            .await
            .unwrap();
    }
    let door = Door::new(shared.clone());
    let end = ending(shared, &other, &operator()).sign(&operator());
    let id = other.id().to_hex();
    door.standing_end(&id, end.clone()).await.unwrap();
    // The writer has its hands full.
    let (go_on, waits) = std::sync::mpsc::channel::<()>();
    let busy = shared.store.write(DURABLE, "t", move |_| {
        let _ = waits.recv();
        Ok(())
    });
    let again = async {
        let given = given(&node, one.clone().sign(&operator())).await.unwrap();
        let ended = door.standing_end(&id, end).await.unwrap();
        (given.used, ended.state)
    };
    let again = tokio::time::timeout(PATIENCE, again);
    let answered = tokio::select! {
        _ = busy => panic!("it was to wait"),
        answered = again => answered.expect("a repeat waits for the disk"),
    };
    drop(go_on);
    assert_eq!(answered.0, 0);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn where_a_gen1_node_acts_none_is_taken() {
    let gen1 = Executor::listen().await;
    let level = "\"L2\"\nstanding_approvals = true";
    let node = executor_node(level, gen1.port).start().await;
    safe(&node).await;
    let mut far = approval(node.shared(), &operator(), 0);
    far.target = FAR.parse().unwrap();
    let refused = given(&node, far.sign(&operator())).await;
    assert_eq!(refused, Err(Code::PolicyDenied));
    node.stop().await;
}
