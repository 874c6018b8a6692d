//! Operator records and revocations on their way: A — B — C, where C trusts A and knows it only
//! through B.

use clawmesh::adapters::store::{Class, operators, records};
use clawmesh::domain::base::{Code, TimeMs};
use clawmesh::domain::gate::records::{DeviceRevocation, Proven, Record};
use clawmesh::node::Handles;
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
    accept(&c, 1).await;
    Line { a, b, c }
}

/// A person at the node lets the operators of a device count there.
async fn accept(node: &TestNode, issuer: u8) {
    let door = Door::new(node.shared().clone());
    door.issuer_accept(key(issuer).id().as_str()).await.unwrap();
}

fn enroll() -> OperatorEnroll {
    serde_json::from_value(json!({
        "publicKey": operator().public().to_text(), "name": "ada", "level": "L2",
    }))
    .unwrap()
}

async fn knows(shared: &Handles, revoked: bool) {
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
    let said = |record: Record, by: u8| json!({"key": key(by).public(), "record": record});
    let record = said(Record::revoke_device(end(MESH), &key(2)), 2);
    liar.event("records.page", json!({"records": [record]}))
        .await;
    // One in A's name, signed by another; one of another mesh; and garbage.
    let mut forged = end(MESH);
    forged.issuer = key(1).id().clone();
    forged.device_id = key(2).id().clone();
    let record = said(Record::revoke_device(forged, &key(2)), 1);
    liar.event("records.page", json!({"records": [record]}))
        .await;
    let record = said(Record::revoke_device(end("elsewhere"), &key(2)), 2);
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
    accept(&c, 1).await;
    let record = clawmesh::domain::gate::OperatorRecord {
        operator_id: operator().id().clone(),
        public_key: *operator().public(),
        name: "ada".into(),
        person: None,
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

/// A peer that speaks of records alone.
pub async fn bearer(node: &TestNode, me: u8) -> Probe {
    let mut probe = Probe::open(node.address).await;
    let reply = probe
        .handshake(&key(me), MESH, |params| {
            params.insert("features".into(), json!(["revocations"]));
        })
        .await;
    assert_eq!(reply["ok"], true, "{reply}");
    probe
}

/// The end of device 4, said in the name of one device and signed by another.
fn end_of_four(issuer: u8, signer: u8, at: u64) -> serde_json::Value {
    let revocation = DeviceRevocation {
        mesh_id: clawmesh::domain::base::MeshId::of_name(MESH),
        device_id: key(4).id().clone(),
        issuer: key(issuer).id().clone(),
        revoked_at: TimeMs(at),
    };
    let record = Record::revoke_device(revocation, &key(signer));
    json!({"key": key(issuer).public(), "record": record})
}

pub async fn bring(probe: &mut Probe, records: Vec<serde_json::Value>) {
    probe
        .event("records.page", json!({"records": records}))
        .await;
    // What comes before an answer has been taken.
    assert_eq!(probe.ask("mesh.ping", json!({})).await["ok"], true);
}

fn trust_in(device: u8) -> TrustAdd {
    let add = json!({"deviceId": key(device).id(), "preset": "owner"});
    serde_json::from_value(add).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forged_record_keeps_no_place_where_its_issuer_is_unknown() {
    let c = field().trusting(key(2), PEER).trusting(key(4), PEER);
    let c = c.start_in(place(), Some(3)).await;
    let mut peer = bearer(&c, 2).await;
    // Older than the genuine one, so it would stand in its way.
    bring(&mut peer, vec![end_of_four(1, 2, 1)]).await;
    assert_eq!(crate::bad_peers::refusals(&c, "AUTH_FAILED"), 1);
    let mut with_its_own_key = end_of_four(1, 2, 1);
    with_its_own_key["key"] = json!(key(2).public());
    bring(&mut peer, vec![with_its_own_key]).await;
    assert_eq!(crate::bad_peers::refusals(&c, "AUTH_FAILED"), 2);
    let held = c.shared().store.read("t", records::all).await.unwrap();
    assert!(held.is_empty(), "{held:?}");
    bring(&mut peer, vec![end_of_four(1, 1, c.shared().now().0)]).await;
    assert!(
        c.shared().trust.trusts(key(4).id()),
        "nobody knows device 1"
    );
    // It becomes an administrator, by its id alone: its key has never been seen on a link.
    let door = Door::new(c.shared().clone());
    door.trust_add(&trust_in(1)).await.unwrap();
    assert!(!c.shared().trust.trusts(key(4).id()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_record_does_not_take_the_good_ones_beside_it_down() {
    let c = field().trusting(key(2), PEER).trusting(key(4), PEER);
    let c = c.start_in(place(), Some(3)).await;
    let door = Door::new(c.shared().clone());
    door.trust_add(&trust_in(1)).await.unwrap();
    let mut peer = bearer(&c, 2).await;
    let ahead = c.shared().now().0 + 86_400_000;
    let page = vec![
        end_of_four(1, 2, 5),
        json!(7),
        end_of_four(1, 1, ahead),
        end_of_four(1, 1, 6),
    ];
    bring(&mut peer, page).await;
    assert!(!c.shared().trust.trusts(key(4).id()));
    let count = |code| crate::bad_peers::refusals(&c, code);
    assert_eq!((count("AUTH_FAILED"), count("INVALID_PARAMS")), (1, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_device_cannot_be_forgotten_before_anybody_was_told() {
    use clawmesh::adapters::store::Store;
    use clawmesh::node::authority::Issuer;
    use clawmesh::operator::registry::{self, Desk};
    let c = field().trusting(key(4), PEER);
    let dir = c.start_in(place(), Some(3)).await.stop().await;
    let state = clawmesh::adapters::paths::StateDir::at(&dir.path().join("state"));
    let desk = Desk {
        store: Store::open(&state.database(), Default::default()).unwrap(),
        issuer: Issuer::new(std::sync::Arc::new(key(3))),
        now: TimeMs(9),
    };
    let id = key(4).id().as_str().to_owned();
    registry::trust_revoke(&desk, &id).await.unwrap();
    let refused = registry::trust_remove(&desk, &id).await.unwrap_err();
    assert_eq!(refused.code, Code::Conflict, "{refused}");
    assert!(registry::trust_add(&desk, &trust_in(4)).await.is_err());
    desk.store.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_asks_and_does_not_read_costs_one_answer() {
    let c = field().trusting(key(2), PEER);
    let c = c.start_in(place(), Some(3)).await;
    let mine = key(3);
    let fill = move |conn: &rusqlite::Connection| {
        for n in 0u32..2_000 {
            let revocation = DeviceRevocation {
                mesh_id: clawmesh::domain::base::MeshId::of_name(MESH),
                device_id: format!("{n:064x}").parse().unwrap(),
                issuer: mine.id().clone(),
                revoked_at: TimeMs(5),
            };
            let record = Record::revoke_device(revocation, &mine);
            let proven = Proven::own(record, &mine).unwrap();
            records::put(conn, &proven, true, TimeMs(1))?;
        }
        Ok(())
    };
    let filled = c.shared().store.write(Class::Durable, "t", fill).await;
    filled.unwrap();
    let mut peer = bearer(&c, 2).await;
    let tasks = c.shared().tasks.tracker().len();
    let asked = 300;
    for _ in 0..asked {
        peer.event("records.digest", json!({"digest": "x"})).await;
    }
    assert_eq!(peer.ask("mesh.ping", json!({})).await["ok"], true);
    let more = c.shared().tasks.tracker().len().saturating_sub(tasks);
    assert!(more < 20, "{more} tasks");
    // Beyond any honest number the questions are refused and counted.
    for _ in 0..asked + 1 {
        peer.event("records.digest", json!({"digest": "x"})).await;
    }
    until("the flood is counted", || async {
        (crate::bad_peers::refusals(&c, "RATE_EXCEEDED") >= 1).then_some(())
    })
    .await;
    assert_eq!(peer.ask("mesh.ping", json!({})).await["ok"], true);
}
