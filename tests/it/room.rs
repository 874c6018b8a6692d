//! A trusted device sends more than there is room for: its own oldest frames go, and everybody else's
//! readings, decisions, stops and the emergency stop go on, over a restart too.

use clawmesh::adapters::store::{facts, frames, shares};
use clawmesh::domain::gate::approval::Verdict;
use clawmesh::domain::proposal::Status;
use clawmesh::node::Handles;
use clawmesh::node::context::alarms::AlarmKind;
use clawmesh::node::proposals::{self, estop};
use clawmesh::operator::Door;
use serde_json::json;

use crate::bad_frames::frame_of;
use crate::harness::*;
use crate::main_job::{decision, mint, operator, status};

const PEER: &str = "observe:T2,relay,read,plan";
const STORE_BYTES: u64 = 6 << 20;

fn small() -> Setup {
    let mut setup = field()
        .trusting(key(2), PEER)
        .trusting(key(3), "observe:T2,read,estop")
        .with_operator(operator(), "L2");
    setup.raw.store.max_bytes = Some(STORE_BYTES);
    setup
}

/// Sends frames of 100 kB until the store has taken the last of them.
async fn flood(node: &TestNode, probe: &mut Probe, from: usize, count: usize) {
    for n in from..from + count {
        let mut frame = frame_of(2, &format!("flood-{n}"));
        frame["data"]["metric"] = json!("flood");
        frame["data"]["pad"] = json!("x".repeat(100_000));
        probe.event("context.frame", frame).await;
    }
    let last = format!("flood-{}", from + count - 1);
    arrives(node, &last).await;
}

async fn arrives(node: &TestNode, id: &str) {
    until(&format!("{id} is stored"), || async {
        let id = id.parse().unwrap();
        let read = move |c: &rusqlite::Connection| frames::by_frame_id(c, &id);
        node.shared().store.read("t", read).await.unwrap().map(drop)
    })
    .await;
}

async fn kept(shared: &Handles, device: u8) -> u64 {
    let all = shared.store.read("t", shares::all).await.unwrap();
    let of = all
        .iter()
        .filter(|k| k.device.as_ref() == Some(key(device).id()));
    of.map(|k| k.bytes).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_fills_the_store_takes_no_room_from_anybody() {
    let node = small().start().await;
    let shared = node.shared();
    let mut liar = Probe::connect(node.address, &key(2), MESH).await;
    let mut honest = Probe::connect(node.address, &key(3), MESH).await;
    honest.event("context.frame", frame_of(3, "early")).await;
    arrives(&node, "early").await;
    // Several times what the store may hold.
    for round in 0..4 {
        flood(&node, &mut liar, round * 50, 50).await;
        let reading = format!("honest-{round}");
        honest.event("context.frame", frame_of(3, &reading)).await;
        arrives(&node, &reading).await;
    }
    arrives(&node, "early").await;
    let share = kept(shared, 2).await;
    assert!(
        share > 0 && share <= shared.store.bytes_of_one_device(),
        "{share}"
    );
    until("a person sees who it is", || async {
        let stands = shared
            .alarms
            .stands(AlarmKind::OverBudget, key(2).id().as_str());
        stands.then_some(())
    })
    .await;
    let view = Door::new(shared.clone())
        .trust_one(key(2).id().as_str())
        .await
        .unwrap();
    let usage = view.usage.iter().find(|u| u.kind == "kept-bytes").unwrap();
    assert_eq!(
        (usage.used, usage.limit),
        (share, shared.store.bytes_of_one_device())
    );
    let peers = Door::new(shared.clone()).peers_kept().await.unwrap();
    let peer = peers
        .iter()
        .find(|p| p.device_id == key(2).id().as_str())
        .unwrap();
    assert_eq!(peer.kept_bytes, Some(share));

    // The node's own readings, a decision, a stop and the emergency stop.
    let before = shared.now();
    until("this node's own reading is newer", || async {
        let at = shared.moment();
        let read = shared.store.read("t", move |c| facts::numeric(c, at)).await;
        let moist =
            |f: &clawmesh::domain::world::Fact| f.metric == "moisture" && f.sensed_at >= before;
        read.unwrap().into_iter().find(moist).map(drop)
    })
    .await;
    let minted = mint(&node, 20).await;
    let approve = decision(shared, &minted.signed, &operator(), Verdict::Approve);
    proposals::decide(shared, approve).await.unwrap();
    let id = minted.signed.record().proposal_id.clone();
    until("it takes the stop", || async {
        proposals::stop(shared, id.as_str(), "ada").await.ok()
    })
    .await;
    until("it ended", || async {
        (!status(shared, &minted).await.is_open()).then_some(())
    })
    .await;
    assert_ne!(status(shared, &minted).await, Status::Executing);
    let halted = honest.ask("estop.engage", json!({"reason": "x"})).await;
    assert_eq!(halted["ok"], true, "{halted}");
    assert!(
        shared
            .store
            .read("t", estop::stored)
            .await
            .unwrap()
            .is_some()
    );
    assert!(!shared.store.is_full());

    let dir = node.stop().await;
    let node = small().start_in(dir, None).await;
    assert_eq!(
        kept(node.shared(), 2).await,
        share,
        "a restart renews nothing"
    );
    assert!(node.shared().running.latched().is_some());
    let mut liar = Probe::connect(node.address, &key(2), MESH).await;
    flood(&node, &mut liar, 500, 20).await;
    assert!(kept(node.shared(), 2).await <= node.shared().store.bytes_of_one_device());
    arrives(&node, "early").await;
    node.stop().await;
}
