//! A quorum counts persons, and no device's word counts twice: keys of one person, issuers that are
//! accepted at the executor or not, and a device that invents the people who approve its own wish.

use clawmesh::adapters::store::{Class, operators, records};
use clawmesh::domain::base::Code;
use clawmesh::domain::gate::approval::Verdict;
use clawmesh::domain::gate::records::Record;
use clawmesh::domain::gate::{OperatorRecord, SignedOperator};
use clawmesh::domain::identity::OperatorKey;
use clawmesh::domain::policy::{Requester, STARTER_POLICY};
use clawmesh::domain::proposal::{SignedProposal, Status};
use clawmesh::node::proposals::{self, Minted, Standing};
use clawmesh::operator::Door;
use clawmesh::operator::dto::OperatorEnroll;
use serde_json::{Value, json};

use crate::harness::{TestNode, field, key};
use crate::main_job::{decision, draft, mint};
use crate::records::{bearer, bring};

const OWNER: &str = "observe:T2,relay,read,plan,human,admin";

fn hand(n: u8) -> OperatorKey {
    OperatorKey::from_seed(&[n; 32])
}

async fn strict_field() -> TestNode {
    let setup = field().trusting(key(1), OWNER).trusting(key(2), OWNER);
    let mut setup = setup.trusting(key(3), "observe:T2,relay,read");
    let policy = STARTER_POLICY.replace("level = \"L2\"", "level = \"L3\"");
    setup.policy = Some(policy.replace("expect = \"L2\"", "expect = \"L3\""));
    setup.start().await
}

fn enrolling(n: u8, name: &str, person: Option<&str>) -> OperatorEnroll {
    let key = hand(n).public().to_text();
    let enroll = json!({"publicKey": key, "name": name, "level": "L3", "person": person});
    serde_json::from_value(enroll).unwrap()
}

async fn yes(node: &TestNode, minted: &Minted, n: u8) -> Result<Standing, Code> {
    let signed = decision(node.shared(), &minted.signed, &hand(n), Verdict::Approve);
    let done = proposals::decide(node.shared(), signed).await;
    done.map_err(|refusal| refusal.code)
}

/// A person that a device vouches for, as the record travels.
fn vouched(node: &TestNode, by: u8, n: u8, name: &str) -> Value {
    let record = OperatorRecord {
        operator_id: hand(n).id().clone(),
        public_key: *hand(n).public(),
        name: name.into(),
        person: None,
        max_level: "L3".parse().unwrap(),
        issuer: key(by).id().clone(),
        issued_at: node.shared().now(),
        expires_at: None,
    };
    let signed = Box::new(SignedOperator::issue(record, &key(by)));
    json!({"key": key(by).public(), "record": Record::Operator { signed }})
}

async fn asked_by(node: &TestNode, device: u8) -> Minted {
    let wish = draft(node.shared(), 1).await;
    let from = key(device).id().clone();
    proposals::mint(node.shared(), wish, &from).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn several_keys_of_one_person_count_once() {
    let node = strict_field().await;
    let door = Door::new(node.shared().clone());
    door.operator_enroll(&enrolling(50, "Ana", None))
        .await
        .unwrap();
    // A known name, in whatever spelling, is nobody new.
    for name in ["ana", "Ana ", "A\u{301}na", "Аnа"] {
        let refused = door.operator_enroll(&enrolling(51, name, None)).await;
        assert_eq!(refused.unwrap_err().code, Code::Conflict, "{name:?}");
    }
    let hidden = door
        .operator_enroll(&enrolling(51, "A\u{200b}na", None))
        .await;
    assert_eq!(hidden.unwrap_err().code, Code::InvalidParams);
    let nobody = door.operator_enroll(&enrolling(51, "", Some("Ben"))).await;
    assert_eq!(nobody.unwrap_err().code, Code::NotFound);
    let further = door
        .operator_enroll(&enrolling(51, "", Some("ana")))
        .await
        .unwrap();
    assert_eq!(
        (further.name.as_str(), further.person.as_str()),
        ("Ana", hand(50).id().as_str())
    );
    // A key that is renewed under its name stays its person's.
    let renewed = door.operator_enroll(&enrolling(51, "Ana", None)).await;
    assert_eq!(renewed.unwrap().person, hand(50).id().as_str());
    door.operator_enroll(&enrolling(52, "Ben", None))
        .await
        .unwrap();

    let minted = mint(&node, 1).await;
    for n in [50, 51, 50] {
        let standing = yes(&node, &minted, n).await.unwrap();
        assert_eq!((standing.approvals, standing.required), (1, 2), "key {n}");
        assert_eq!(standing.status, Status::AwaitingApproval);
    }
    let standing = yes(&node, &minted, 52).await.unwrap();
    assert_eq!(standing.status, Status::Executing);
    assert!(standing.detail.contains("Ana (key "), "{}", standing.detail);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_person_ends_with_every_key_and_a_revoked_key_alone() {
    let node = strict_field().await;
    let door = Door::new(node.shared().clone());
    door.issuer_accept(key(2).id().as_str()).await.unwrap();
    door.operator_enroll(&enrolling(50, "Ana", None))
        .await
        .unwrap();
    door.operator_enroll(&enrolling(51, "", Some("Ana")))
        .await
        .unwrap();
    let mut issuer = bearer(&node, 2).await;
    // Another issuer knows her by a third key.
    bring(&mut issuer, vec![vouched(&node, 2, 53, "ana")]).await;
    let minted = mint(&node, 1).await;
    door.operator_revoke(hand(51).id().as_str(), Some("lost"))
        .await
        .unwrap();
    assert_eq!(
        yes(&node, &minted, 51).await.unwrap_err(),
        Code::OperatorRevoked
    );
    assert_eq!(yes(&node, &minted, 50).await.unwrap().approvals, 1);
    assert_eq!(
        yes(&node, &minted, 53).await.unwrap().approvals,
        1,
        "the same person"
    );

    let ended = door
        .person_revoke(hand(50).id().as_str(), None)
        .await
        .unwrap();
    assert_eq!(ended.len(), 2);
    // Nor does a key go on that the issuer names only now.
    bring(&mut issuer, vec![vouched(&node, 2, 54, "ANA")]).await;
    for n in [50, 53, 54] {
        assert_eq!(
            yes(&node, &minted, n).await.unwrap_err(),
            Code::OperatorRevoked,
            "key {n}"
        );
    }
    assert!(
        door.operator_enroll(&enrolling(50, "Ana", None))
            .await
            .is_err(),
        "for good"
    );
    // The owner may take her back with a new key, and has to say that it is her.
    let refused = door.operator_enroll(&enrolling(55, "Ana", None)).await;
    assert_eq!(refused.unwrap_err().code, Code::Conflict);
    door.operator_enroll(&enrolling(55, "", Some("Ana")))
        .await
        .unwrap();
    assert_eq!(yes(&node, &minted, 55).await.unwrap().approvals, 1);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn operators_of_another_device_count_once_it_is_accepted_here_and_no_longer() {
    let node = strict_field().await;
    let door = Door::new(node.shared().clone());
    let mut issuer = bearer(&node, 2).await;
    bring(&mut issuer, vec![vouched(&node, 2, 60, "eve")]).await;
    let minted = mint(&node, 1).await;
    assert_eq!(
        yes(&node, &minted, 60).await.unwrap_err(),
        Code::IssuerNotAccepted
    );
    let seen = door.operators().await.unwrap();
    assert!(
        seen.iter().any(|o| o.name == "eve" && !o.counts),
        "{seen:?}"
    );
    // Accepting is about one device, and about one that may issue.
    door.issuer_accept(key(1).id().as_str()).await.unwrap();
    assert_eq!(
        yes(&node, &minted, 60).await.unwrap_err(),
        Code::IssuerNotAccepted
    );
    assert!(door.issuer_accept(key(9).id().as_str()).await.is_err());
    let refused = door.issuer_accept(key(3).id().as_str()).await.unwrap_err();
    assert_eq!(refused.code, Code::NotAuthorized);

    door.issuer_accept(key(2).id().as_str()).await.unwrap();
    assert_eq!(yes(&node, &minted, 60).await.unwrap().approvals, 1);
    door.issuer_remove(key(2).id().as_str()).await.unwrap();
    let minted = mint(&node, 2).await;
    assert_eq!(
        yes(&node, &minted, 60).await.unwrap_err(),
        Code::IssuerNotAccepted
    );
    // Another accepted issuer's word about the same key takes its place.
    let mut other = bearer(&node, 1).await;
    bring(&mut other, vec![vouched(&node, 1, 60, "eve")]).await;
    assert_eq!(yes(&node, &minted, 60).await.unwrap().approvals, 1);
    // A device that is not accepted does not replace it, and ends a key all the same.
    bring(&mut issuer, vec![vouched(&node, 2, 60, "mallory")]).await;
    assert_eq!(yes(&node, &minted, 60).await.unwrap().approvals, 1);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_cannot_approve_its_own_wish_through_people_it_invents() {
    let node = strict_field().await;
    let door = Door::new(node.shared().clone());
    for issuer in [1, 2] {
        door.issuer_accept(key(issuer).id().as_str()).await.unwrap();
    }
    let mut center = bearer(&node, 1).await;
    let invented = vec![
        vouched(&node, 1, 61, "max"),
        vouched(&node, 1, 62, "moritz"),
    ];
    bring(&mut center, invented).await;
    let minted = asked_by(&node, 1).await;
    for n in [61, 62] {
        assert_eq!(yes(&node, &minted, n).await.unwrap_err(), Code::SelfVouched);
    }
    // One person enrolled here is not two, whatever the device says beside them.
    door.operator_enroll(&enrolling(50, "Ana", None))
        .await
        .unwrap();
    assert_eq!(yes(&node, &minted, 50).await.unwrap().approvals, 1);
    assert_eq!(
        yes(&node, &minted, 61).await.unwrap_err(),
        Code::SelfVouched
    );
    // They may still say no.
    let no = decision(node.shared(), &minted.signed, &hand(61), Verdict::Reject);
    let standing = proposals::decide(node.shared(), no).await.unwrap();
    assert_eq!(standing.status, Status::Rejected);
    // What another device asks for they may approve: that device vouches for nobody.
    let minted = asked_by(&node, 2).await;
    assert_eq!(yes(&node, &minted, 61).await.unwrap().approvals, 1);
    assert_eq!(
        yes(&node, &minted, 62).await.unwrap().status,
        Status::Executing
    );
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_planner_that_led_to_a_wish_of_another_device_approves_it_through_nobody() {
    let node = strict_field().await;
    let door = Door::new(node.shared().clone());
    door.issuer_accept(key(1).id().as_str()).await.unwrap();
    let mut center = bearer(&node, 1).await;
    bring(&mut center, vec![vouched(&node, 1, 61, "max")]).await;
    let mut wish = draft(node.shared(), 1).await;
    (wish.requester, wish.led_by) = (Requester::Llm, Some(key(1).id().clone()));
    let mut probe = crate::harness::Probe::open(node.address).await;
    let hello = probe
        .handshake(&key(2), crate::harness::MESH, |params| {
            params.insert("features".into(), json!(["sig", "proposals", "wishes"]));
        })
        .await;
    assert_eq!(hello["ok"], true);
    // Who led to it stays beside the draft, where earlier versions do not look, and stands in the record.
    assert!(wish.to_wire()["draft"].get("ledBy").is_none());
    let answer = probe.ask("proposals.draft", wish.to_wire()).await;
    let record = &answer["payload"]["record"];
    assert_eq!(record["ledBy"], json!(key(1).id()), "{answer}");
    let own = &node.shared().public_key;
    let signed = SignedProposal::from_wire(&answer["payload"], own).unwrap();
    let vote = decision(node.shared(), &signed, &hand(61), Verdict::Approve);
    let refused = proposals::decide(node.shared(), vote).await.unwrap_err();
    assert_eq!(refused.code, Code::SelfVouched);
    // Whom another device enrolled may.
    door.operator_enroll(&enrolling(50, "Ana", None))
        .await
        .unwrap();
    let vote = decision(node.shared(), &signed, &hand(50), Verdict::Approve);
    let standing = proposals::decide(node.shared(), vote).await.unwrap();
    assert_eq!(standing.approvals, 1);
    // What a device led to ends with the trust in it.
    door.operator_enroll(&enrolling(51, "Bea", None))
        .await
        .unwrap();
    door.trust_revoke(key(1).id().as_str()).await.unwrap();
    let vote = decision(node.shared(), &signed, &hand(51), Verdict::Approve);
    let refused = proposals::decide(node.shared(), vote).await.unwrap_err();
    assert_eq!(refused.code, Code::UntrustedPeer);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn records_of_before_count_no_more_than_they_did() {
    let node = strict_field().await;
    // As an earlier version stored it: a record of another device that has taken effect.
    let carried = vouched(&node, 2, 60, "eve");
    let carried: clawmesh::domain::gate::records::Carried =
        serde_json::from_value(carried).unwrap();
    let proven = carried.prove().unwrap();
    let now = node.shared().now();
    let write = move |c: &rusqlite::Connection| {
        if let Record::Operator { signed } = proven.record() {
            operators::put(c, signed)?;
        }
        records::put(c, &proven, true, now)
    };
    let done = node.shared().store.write(Class::Durable, "t", write).await;
    done.unwrap();
    let minted = mint(&node, 1).await;
    assert_eq!(
        yes(&node, &minted, 60).await.unwrap_err(),
        Code::IssuerNotAccepted
    );
    let door = Door::new(node.shared().clone());
    door.issuer_accept(key(2).id().as_str()).await.unwrap();
    assert_eq!(yes(&node, &minted, 60).await.unwrap().approvals, 1);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_equal_wish_that_somebody_else_led_to_is_none_of_the_one_that_stands() {
    let node = strict_field().await;
    let led_by = async |leader: Option<u8>| {
        let mut wish = draft(node.shared(), 1).await;
        (wish.requester, wish.led_by) = (Requester::Llm, leader.map(|n| key(n).id().clone()));
        proposals::mint(node.shared(), wish, key(2).id()).await
    };
    let first = led_by(Some(1)).await.unwrap();
    assert!(!first.repeated);
    // One that nobody led to, or the same device, adds nothing to it: it names more than they need.
    assert!(led_by(Some(1)).await.unwrap().repeated);
    assert!(led_by(None).await.unwrap().repeated);
    let refused = led_by(Some(3)).await.unwrap_err();
    assert_eq!(refused.code, Code::Conflict);
    let id = first.signed.record().proposal_id.short().to_owned();
    assert!(refused.message.contains(&id), "{refused}");
    node.stop().await;
}
