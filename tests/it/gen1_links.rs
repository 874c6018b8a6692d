//! The link over which a gen-1 node is told to act: only one that we dialed, which no link of its own
//! replaces, and which does not end before what is open is closed.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use clawmesh::adapters::store::frames;
use clawmesh::domain::admission::Generation;
use clawmesh::domain::policy::Requester;
use clawmesh::domain::proposal::Status;
use clawmesh::node::context::alarms::AlarmKind;
use clawmesh::node::proposals::Minted;
use clawmesh::operator::Door;
use clawmesh::operator::queries::EventQuery;
use serde_json::{Value, json};

use crate::bad_frames::frame_of;
use crate::gen1_actuators::{
    Executor, FAR, Says, approve, executor_node, minted_by, outcome, safe, trust_again,
};
use crate::harness::*;

/// Has the gen-1 node open its valve for so long.
async fn opened(node: &TestNode, gen1: &Executor, seconds: i64) -> Minted {
    safe(node).await;
    let minted = minted_by(node, Requester::Person, seconds).await;
    approve(node, &minted).await.unwrap();
    until("the start was said", || async {
        (!gen1.told("open").is_empty()).then_some(())
    })
    .await;
    minted
}

/// The gen-1 node dials our node, or somebody passes its words on.
async fn dials_us(node: &TestNode) -> (Probe, Value) {
    let mut dialer = Probe::open(node.address).await;
    let welcome = dialer
        .handshake(&key(5), MESH, |params| drop(params.remove("features")))
        .await;
    (dialer, welcome)
}

async fn unlinked(node: &TestNode) {
    until("the link has ended", || async {
        node.shared().links.get(key(5).id()).is_none().then_some(())
    })
    .await;
}

fn alarming(node: &TestNode) -> bool {
    let alarms = node.shared().alarms.list();
    let about = |kind, subject: &str| kind == AlarmKind::ActuatorUnsafe && subject == FAR;
    alarms.iter().any(|a| about(a.kind, &a.subject))
}

async fn stored(node: &TestNode, frame: &str) -> bool {
    let id = frame.parse().unwrap();
    let read = move |c: &rusqlite::Connection| frames::by_frame_id(c, &id);
    node.shared().store.read("t", read).await.unwrap().is_some()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_that_came_in_never_replaces_the_one_over_which_a_gen1_node_is_told() {
    let gen1 = Executor::listen().await;
    let node = executor_node("\"L2\"", gen1.port).start().await;
    let minted = opened(&node, &gen1, 2).await;
    let before = gen1.told("close").len();
    // Held by whoever came, as long as it likes.
    let mut held = Vec::new();
    for _ in 0..3 {
        let (dialer, answer) = dials_us(&node).await;
        assert_eq!(answer["error"]["code"], "CONFLICT", "{answer}");
        held.push(dialer);
    }
    let outcome = outcome(&node, &minted).await;
    assert_eq!(outcome.status, Status::Completed, "{outcome:?}");
    assert_eq!(gen1.told("close").len(), before + 1);
    let door = Door::new(node.shared().clone());
    let mut refused = door.events(EventQuery::default()).await.unwrap();
    refused.retain(|e| e.kind == "peer.refused");
    assert_eq!(refused.len(), 1, "{refused:?}");
    assert!(refused[0].message.contains("has dialed it"), "{refused:?}");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gen1_node_whose_own_link_came_first_is_dialed_and_told_all_the_same() {
    let gen1 = Executor::listen().await;
    gen1.away.store(true, Ordering::Relaxed);
    let node = executor_node("\"L2\"", gen1.port).start().await;
    let (mut dialer, welcome) = dials_us(&node).await;
    assert_eq!(welcome["ok"], true, "{welcome}");
    assert_eq!(gen1.told("close"), [json!(null); 0]);
    // It answers pings, so its link stands as long as nothing takes its place.
    let held = tokio::spawn(async move { while dialer.receive().await.is_some() {} });
    gen1.away.store(false, Ordering::Relaxed);
    safe(&node).await;
    assert!(!gen1.told("close").is_empty());
    let link = node.shared().links.get(key(5).id()).unwrap();
    assert!(link.info.outbound);
    held.await.unwrap();
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_gen1_node_holds_open_is_closed_before_its_link_ends_with_the_trust() {
    let gen1 = Executor::listen().await;
    let asks = |id: &str| json!({"type": "req", "id": id, "method": "mesh.status", "params": {}});
    let says =
        |id: &str| json!({"type": "event", "event": "context.frame", "payload": frame_of(5, id)});
    gen1.talks(vec![says("before"), asks("q-before")]);
    let node = executor_node("\"L2\"", gen1.port).start().await;
    let minted = opened(&node, &gen1, 5).await;
    until("the frame is stored and the question answered", || async {
        (stored(&node, "before").await && !gen1.answers().is_empty()).then_some(())
    })
    .await;
    let before = gen1.told("close").len();
    gen1.talks(vec![says("after"), asks("q-after")]);
    let door = Door::new(node.shared().clone());
    door.trust_remove(key(5).id().as_str()).await.unwrap();
    let outcome = outcome(&node, &minted).await;
    assert_eq!(outcome.status, Status::Failed, "{outcome:?}");
    assert!(
        outcome.detail.contains("is trusted no longer")
            && outcome.detail.contains("accepted close"),
        "{outcome:?}"
    );
    unlinked(&node).await;
    safe(&node).await;
    assert_eq!(gen1.told("close").len(), before + 1);
    assert!(!alarming(&node));
    // Over for everything else at once.
    assert!(!stored(&node, "after").await);
    assert!(gen1.answers().iter().all(|a| a["id"] == "q-before"));
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_closed_when_trust_ends_stays_not_safe_with_its_alarm() {
    let gen1 = Executor::listen().await;
    let node = executor_node("\"L2\"", gen1.port).start().await;
    opened(&node, &gen1, 5).await;
    gen1.says(Says::Accepts, Says::Nothing);
    let before = gen1.told("close").len();
    let door = Door::new(node.shared().clone());
    door.trust_remove(key(5).id().as_str()).await.unwrap();
    unlinked(&node).await;
    assert!(gen1.told("close").len() > before);
    until("it is alarming", || async { alarming(&node).then_some(()) }).await;
    let view = node.shared().guards.view(&FAR.parse().unwrap()).unwrap();
    assert!(!view.safe);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revocation_by_another_issuer_lets_what_is_open_be_closed_first() {
    let place = || Arc::new(tempfile::tempdir().unwrap());
    let gen1 = Executor::listen().await;
    let owner = centre().trusting(key(3), "observe:T2,relay,read,plan,human");
    let owner = owner.start_in(place(), Some(1)).await;
    let mut setup =
        executor_node("\"L2\"", gen1.port).trusting(key(1), "observe:T2,relay,read,admin");
    let peer = format!("{}=ws://{}||local", key(1).id(), owner.address);
    setup.raw.peers.push(peer);
    let node = setup.start_in(place(), Some(3)).await;
    let minted = opened(&node, &gen1, 5).await;
    let door = Door::new(owner.shared().clone());
    let add = json!({"deviceId": key(5).id(), "preset": "gen1"});
    door.trust_add(&serde_json::from_value(add).unwrap())
        .await
        .unwrap();
    door.trust_revoke(key(5).id().as_str()).await.unwrap();
    let outcome = outcome(&node, &minted).await;
    assert!(outcome.detail.contains("accepted close"), "{outcome:?}");
    unlinked(&node).await;
    assert!(!alarming(&node));
    node.stop().await;
    owner.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_open_is_closed_where_the_node_is_trusted_as_another_kind_meanwhile() {
    let gen1 = Executor::listen().await;
    let node = executor_node("\"L2\"", gen1.port).start().await;
    let minted = opened(&node, &gen1, 2).await;
    let before = gen1.told("close").len();
    trust_again(&node, Generation::Clawmesh).await;
    assert_eq!(outcome(&node, &minted).await.status, Status::Completed);
    assert!(gen1.told("close").len() > before);
    assert!(!alarming(&node));
    // A start is still refused.
    let wish = minted_by(&node, Requester::Person, 1).await;
    assert!(approve(&node, &wish).await.is_err());
    node.stop().await;
}
