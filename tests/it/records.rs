//! Operator records and revocations on their way: A — B — C, where C trusts A and knows it only
//! through B.

use clawmesh::adapters::store::{Class, operators, records};
use clawmesh::domain::base::{Code, TimeMs};
use clawmesh::domain::gate::records::{DeviceRevocation, Record};
use clawmesh::node::Shared;
use clawmesh::node::proposals;
use clawmesh::operator::Door;
use clawmesh::operator::dto::{GrantChange, OperatorEnroll, TrustAdd};
use serde_json::json;

use crate::harness::{MESH, Probe, Setup, TestNode, centre, field, key, until};
use crate::main_job::{decision, mint, operator};
use clawmesh::domain::gate::approval::Verdict;

const PEER: &str = "observe:T2,relay,read,plan,human";

fn place() -> std::sync::Arc<tempfile::TempDir> {
    std::sync::Arc::new(tempfile::tempdir().unwrap())
}

fn dialing(mut setup: Setup, peer: u8, node: &TestNode) -> Setup {
    let address = node.address;
    setup
        .raw
        .peers
        .push(format!("{}=ws://{address}||local", key(peer).id()));
    setup
}

struct Line {
    a: TestNode,
    b: TestNode,
    c: TestNode,
}

/// A and C are not connected; B does not believe A, C does.
async fn line() -> Line {
    let b = centre()
        .trusting(key(1), PEER)
        .trusting(key(3), PEER)
        .start_in(place(), Some(2))
        .await;
    let a = dialing(centre().trusting(key(2), PEER), 2, &b)
        .start_in(place(), Some(1))
        .await;
    let c = field()
        .trusting(key(1), "observe:T2,relay,read,admin")
        .trusting(key(2), PEER)
        .trusting(key(4), PEER);
    let c = dialing(c, 2, &b).start_in(place(), Some(3)).await;
    Line { a, b, c }
}

fn enroll() -> OperatorEnroll {
    serde_json::from_value(json!({
        "publicKey": operator().public().to_text(), "name": "ada", "level": "L2",
    }))
    .unwrap()
}

async fn knows(shared: &Shared, revoked: bool) {
    until("the operator's record has arrived", || async {
        let known = shared
            .store
            .read("t", |c| operators::get(c, operator().id()));
        let known = known.await.unwrap();
        known.filter(|k| k.revocation.is_some() == revoked)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_issued_at_one_node_approves_at_another_until_revoked() {
    let Line { a, b, c } = line().await;
    let door = Door::new(a.shared().clone());
    door.operator_enroll(&enroll()).await.unwrap();
    knows(c.shared(), false).await;
    // B passes the record on and believes nothing of it.
    let at_b = b
        .shared()
        .store
        .read("t", |c| operators::get(c, operator().id()));
    assert!(at_b.await.unwrap().is_none());
    let minted = mint(&c, 1).await;
    let approval = decision(c.shared(), &minted.signed, &operator(), Verdict::Approve);
    proposals::decide(c.shared(), approval).await.unwrap();

    door.operator_revoke(operator().id().as_str(), Some("left"))
        .await
        .unwrap();
    knows(c.shared(), true).await;
    until("the first action has ended", || async {
        let row = crate::main_job::status(c.shared(), &minted).await;
        (row == clawmesh::domain::proposal::Status::Completed).then_some(())
    })
    .await;
    let minted = mint(&c, 2).await;
    let approval = decision(c.shared(), &minted.signed, &operator(), Verdict::Approve);
    let refused = proposals::decide(c.shared(), approval).await.unwrap_err();
    assert_eq!(refused.code, Code::OperatorRevoked);
    // Not even enrolling the key anew at C helps, nor does the old record coming again.
    let again = Door::new(c.shared().clone())
        .operator_enroll(&enroll())
        .await;
    assert_eq!(again.unwrap_err().code, Code::OperatorRevoked);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_revoked_by_an_administrator_loses_its_link_elsewhere_and_never_returns() {
    let Line { a, b: _b, c } = line().await;
    let mut condemned = Probe::connect(c.address, &key(4), MESH).await;
    let door = Door::new(a.shared().clone());
    let add: TrustAdd =
        serde_json::from_value(json!({"deviceId": key(4).id(), "preset": "field"})).unwrap();
    door.trust_add(&add).await.unwrap();
    door.trust_revoke(key(4).id().as_str()).await.unwrap();
    // Frames it was being sent come first; then its link is closed.
    while condemned.receive().await.is_some() {}
    let mut back = Probe::open(c.address).await;
    let reply = back.handshake(&key(4), MESH, |_| {}).await;
    assert_eq!(reply["error"]["code"], "UNTRUSTED_PEER", "{reply}");
    let there = Door::new(c.shared().clone());
    for forget_first in [false, true] {
        if forget_first {
            there.trust_remove(key(4).id().as_str()).await.unwrap();
        }
        let refused = there.trust_add(&add).await.unwrap_err();
        assert_eq!(refused.code, Code::Conflict, "{refused}");
    }
    let change: GrantChange = serde_json::from_value(json!({"grants": "read"})).unwrap();
    assert!(
        there
            .trust_grant(key(4).id().as_str(), &change)
            .await
            .is_err()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn who_was_away_hears_of_it_later_and_what_is_no_issuers_word_counts_for_nothing() {
    let Line { a, b, c } = line().await;
    let dir = c.stop().await;
    Door::new(a.shared().clone())
        .operator_enroll(&enroll())
        .await
        .unwrap();
    until("B keeps the record", || async {
        let all = b.shared().store.read("t", records::all).await.unwrap();
        (!all.is_empty()).then_some(())
    })
    .await;
    a.stop().await;
    let c = field()
        .trusting(key(1), "observe:T2,relay,read,admin")
        .trusting(key(2), PEER);
    let c = dialing(c, 2, &b).start_in(dir, Some(3)).await;
    knows(c.shared(), false).await;

    // A peer without admin says that A's operator, and A itself, are no more.
    let mut liar = Probe::open(c.address).await;
    let reply = liar
        .handshake(&key(2), MESH, |params| {
            params.insert("features".into(), json!(["revocations"]));
        })
        .await;
    assert_eq!(reply["ok"], true, "{reply}");
    let end = |mesh: &str| DeviceRevocation {
        mesh_id: clawmesh::domain::base::MeshId::of_name(mesh),
        device_id: key(1).id().clone(),
        issuer: key(2).id().clone(),
        revoked_at: TimeMs(5),
    };
    let record = Record::revoke_device(end(MESH), &key(2));
    liar.event("records.page", json!({"records": [record]}))
        .await;
    // One in A's name, signed by another; one of another mesh; and garbage.
    let mut forged = end(MESH);
    forged.issuer = key(1).id().clone();
    forged.device_id = key(2).id().clone();
    let record = Record::revoke_device(forged, &key(2));
    liar.event("records.page", json!({"records": [record]}))
        .await;
    let record = Record::revoke_device(end("elsewhere"), &key(2));
    liar.event("records.page", json!({"records": [record]}))
        .await;
    for garbage in [
        json!({}),
        json!({"records": [1]}),
        json!({"records": vec![1; 5_000]}),
    ] {
        liar.event("records.page", garbage).await;
    }
    liar.event("records.digest", json!({})).await;
    until("all of it is refused", || async {
        let count = |code| crate::bad_peers::refusals(&c, code);
        let all = count("AUTH_FAILED") == 1 && count("WRONG_MESH") == 1;
        (all && count("INVALID_PARAMS") == 4).then_some(())
    })
    .await;
    assert!(c.shared().trust.trusts(key(1).id()) && c.shared().trust.trusts(key(2).id()));
    knows(c.shared(), false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_of_an_issuer_that_went_silent_may_not_approve_any_more() {
    let setup = field().trusting(key(1), "observe:T2,relay,read,admin");
    let c = setup.start_in(place(), Some(3)).await;
    let record = clawmesh::domain::gate::OperatorRecord {
        operator_id: operator().id().clone(),
        public_key: *operator().public(),
        name: "ada".into(),
        max_level: "L2".parse().unwrap(),
        issuer: key(1).id().clone(),
        issued_at: TimeMs(c.shared().now().0 - 31 * 86_400_000),
        expires_at: None,
    };
    let signed = clawmesh::domain::gate::SignedOperator::issue(record, &key(1));
    let put = c
        .shared()
        .store
        .write(Class::Durable, "t", move |c| operators::put(c, &signed));
    put.await.unwrap();
    let minted = mint(&c, 1).await;
    let approval = decision(c.shared(), &minted.signed, &operator(), Verdict::Approve);
    let refused = proposals::decide(c.shared(), approval).await.unwrap_err();
    assert_eq!(refused.code, Code::OperatorExpired);
    assert!(
        refused.message.contains("nothing has been heard"),
        "{refused}"
    );
}
