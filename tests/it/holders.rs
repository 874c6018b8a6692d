//! Who keeps a held action is still entitled to, with each renewal, and so is who approved it; and what ends with the rule
//! by which it began.

use clawmesh::adapters::store::proposals as proposals_stored;
use clawmesh::domain::base::Code;
use clawmesh::domain::policy::Requester;
use clawmesh::domain::proposal::{ProposalRecord, RequestedBy, SignedProposal, Status};
use clawmesh::node::RawConfig;
use clawmesh::node::proposals;
use clawmesh::node::proposals::hold::{self, HoldRequest};
use clawmesh::operator::Door;
use clawmesh::operator::dto::GrantChange;
use serde_json::{Value, json};

use crate::harness::*;
use crate::kinds::{POLICY, begun, ended, node, renewal, speaks, wish};
use crate::main_job::operator;
use crate::process::VALVE;

#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_may_not_speak_for_persons_any_more_keeps_nothing() {
    let node = node().await;
    let minted = begun(&node, Requester::Person).await;
    let mut asker = speaks(&node, 5).await;
    let kept = asker.ask(hold::HOLD, renewal(&minted, 1)).await;
    assert_eq!(kept["ok"], true, "{kept}");
    let door = Door::new(node.shared().clone());
    let grants = GrantChange {
        grants: "human".into(),
    };
    door.trust_ungrant(key(5).id().as_str(), &grants)
        .await
        .unwrap();
    let refused = asker.ask(hold::HOLD, renewal(&minted, 2)).await;
    assert_eq!(refused["error"]["code"], "NOT_AUTHORIZED", "{refused}");
    let why = refused["error"]["message"].as_str().unwrap();
    assert!(why.contains("does not hold human"), "{why}");
    let detail = ended(&node, &minted, Status::Failed).await;
    assert!(
        detail.contains("its lease lapsed: probe held it"),
        "{detail}"
    );
    node.stop().await;
}

/// As [`POLICY`], and the valve needs nobody where a rule of this node, or of a device of `from`, asks.
fn automatic(from: &str) -> String {
    let condition = "[[rule.condition]]\nmetric = \"moisture\"\norigin = \"self\"\nop = \"<\"\nvalue = 99.0\nmax_age_sec = 60\n";
    let (pulse, held) = POLICY.split_at(POLICY.rfind("[[rule]]").unwrap());
    format!("{pulse}{}{from}\n{condition}", held.replace("L2", "L1"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_the_policy_does_not_name_any_more_keeps_nothing() {
    let from = format!("from = [\"{}\"]", key(5).id());
    let mut setup = field().trusting(key(5), "observe:T2,relay,read,plan");
    setup.policy = Some(automatic(&from));
    let node = setup.start().await;
    let wish = wish(&node, (VALVE, "open"), Requester::Rules).await;
    let minted = proposals::mint(node.shared(), wish, key(5).id()).await;
    let minted = minted.unwrap();
    assert_eq!(minted.status, Status::Executing);
    let mut asker = speaks(&node, 5).await;
    until("it runs", || async {
        node.shared().guards.lease(&VALVE.parse().unwrap())
    })
    .await;
    let kept = asker.ask(hold::HOLD, renewal(&minted, 1)).await;
    assert_eq!(kept["ok"], true, "{kept}");
    let file = node.state().policy_file();
    std::fs::write(&file, automatic("")).unwrap();
    node.shared().reload_policy(&file).await.unwrap();
    let detail = ended(&node, &minted, Status::Failed).await;
    assert!(detail.contains("does not name device"), "{detail}");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_approved_ends_with_the_trust_in_the_device_whose_rule_asked_for_it() {
    let from = format!("from = [\"{}\"]", key(5).id());
    let mut setup = field().trusting(key(5), "observe:T2,relay,read,plan");
    setup.policy = Some(automatic(&from));
    let node = setup.start().await;
    let wish = wish(&node, (VALVE, "open"), Requester::Rules).await;
    let minted = proposals::mint(node.shared(), wish, key(5).id()).await;
    let minted = minted.unwrap();
    assert_eq!(minted.status, Status::Executing);
    let door = Door::new(node.shared().clone());
    door.trust_revoke(key(5).id().as_str()).await.unwrap();
    let detail = ended(&node, &minted, Status::Failed).await;
    let how = "what it stood on was withdrawn: the trust in device";
    assert!(detail.contains(how), "{detail}");
    node.stop().await;
}

fn asked(counter: u64) -> HoldRequest {
    HoldRequest {
        holder: "console".into(),
        by: "ada".into(),
        counter,
        release: false,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_held_action_ends_with_the_key_of_who_approved_it() {
    let node = node().await;
    let minted = begun(&node, Requester::Person).await;
    let id = minted.signed.record().proposal_id.clone();
    hold::by_session(node.shared(), &id, &asked(1)).unwrap();
    let door = Door::new(node.shared().clone());
    let key = operator().id().as_str().to_owned();
    door.operator_revoke(&key, Some("stolen")).await.unwrap();
    let detail = ended(&node, &minted, Status::Failed).await;
    let how = "what it stood on was withdrawn: the key of operator ada has been revoked";
    assert!(detail.contains(how), "{detail}");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_action_ends_when_no_rule_of_the_policy_covers_it_any_more() {
    let node = node().await;
    let minted = begun(&node, Requester::Person).await;
    let file = node.state().policy_file();
    let pulse = POLICY.split_at(POLICY.rfind("[[rule]]").unwrap()).0;
    std::fs::write(&file, pulse).unwrap();
    node.shared().reload_policy(&file).await.unwrap();
    let detail = ended(&node, &minted, Status::Failed).await;
    let how = "an interlock opened: no rule of the policy covers it any more";
    assert!(detail.contains(how), "{detail}");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_asks_at_the_door_renews_so_often_in_a_second_and_lets_go_in_any_case() {
    let node = node().await;
    let minted = begun(&node, Requester::Person).await;
    let id = minted.signed.record().proposal_id.clone();
    let door = Door::new(node.shared().clone());
    let mut over = 0;
    for counter in 1..500 {
        match door.hold("a", id.as_str(), asked(counter)).await {
            Ok(_) => {}
            Err(refusal) if refusal.code == Code::RateExceeded => over += 1,
            Err(refusal) => panic!("{refusal}"),
        }
    }
    assert!(over > 0);
    // Another one has renewals of its own, and what runs elsewhere counts as well.
    door.hold("b", id.as_str(), asked(3_000)).await.unwrap();
    let mut codes = Vec::new();
    for _ in 0..500 {
        let asked = door.hold("c", "elsewhere", asked(1)).await;
        codes.push(asked.unwrap_err().code);
    }
    assert!(codes.contains(&Code::RateExceeded), "{codes:?}");
    let release = HoldRequest {
        release: true,
        ..asked(0)
    };
    let released = door.hold("a", id.as_str(), release).await.unwrap();
    assert!(released.released);
    node.stop().await;
}

/// What this node's rules ask for: the valve here, and one of the device 9.
fn rules() -> String {
    let rule = |name: &str, target: &str, more: &str| {
        format!(
            "[[rule]]\nname = \"{name}\"\nmetric = \"moisture\"\nbelow = 99.0\ncooldown_sec = 600\n\
             target = \"{target}\"\noperation = \"open\"\n{more}"
        )
    };
    let far = format!("executor = \"{}\"\n", key(9).id());
    format!("{}{}", rule("here", VALVE, ""), rule("far", FAR, &far))
}

const FAR: &str = "actuator:far:valve-1";

/// A held action that the device 9 says a rule of `node` asked it for.
fn said_to_act(node: &TestNode, like: &ProposalRecord) -> Value {
    let own = key(9).id().clone();
    let record = ProposalRecord {
        proposal_id: ProposalRecord::id_for(&like.mesh_id, &own, "n"),
        executor: own,
        nonce: "n".into(),
        requested_by: RequestedBy {
            device_id: node.id(),
            kind: Requester::Rules,
            name: "far".into(),
        },
        target: FAR.parse().unwrap(),
        ..like.clone()
    };
    let signed = SignedProposal::mint(record, &key(9)).unwrap();
    let mut told = signed.to_wire();
    told["status"] = json!("executing");
    told["revision"] = json!(3);
    told
}

#[tokio::test(flavor = "multi_thread")]
async fn an_executor_that_lies_about_renewals_lets_nothing_lapse_elsewhere() {
    let mut setup = field().trusting(key(9), "observe:T2,relay,read,actuate");
    setup.raw.role = Some("planner".into());
    setup.raw.rule = RawConfig::parse(&rules(), "test").unwrap().rule;
    setup.policy = Some(automatic(""));
    let node = setup.start().await;
    let lease = || node.shared().guards.lease(&VALVE.parse().unwrap());
    let begun = until("the rule here holds it", || async {
        lease().filter(|lease| lease.holder.is_some())
    })
    .await;
    let like = begun.proposal.clone();
    let read = move |c: &rusqlite::Connection| proposals_stored::get(c, &like);
    let like = node.shared().store.read("t", read).await.unwrap().unwrap();
    let like: ProposalRecord = serde_json::from_str(&like.record).unwrap();
    let mut liar = speaks(&node, 9).await;
    liar.event("proposal.update", said_to_act(&node, &like))
        .await;
    let mut last = 0;
    let mut renewals = 0;
    // Longer than two leases of the valve here.
    while lease().expect("it is kept").ends_in_ms + 5_000 > begun.ends_in_ms || renewals < 3 {
        let asked = liar.receive().await.expect("the link stands");
        if asked["type"] != "req" {
            continue;
        }
        let mut answer = json!({"type": "res", "id": asked["id"], "ok": false,
            "error": {"code": "POLICY_DENIED", "message": "no"}});
        if asked["method"] == hold::HOLD {
            let counter = asked["params"]["asked"]["counter"].as_u64().unwrap();
            assert!(counter > last, "{asked}");
            (last, renewals) = (counter, renewals + 1);
            let lie =
                json!({"lapsesInMs": 1, "endsInMs": 1, "counter": u64::MAX, "released": false});
            answer = json!({"type": "res", "id": asked["id"], "ok": true, "payload": lie});
        }
        liar.send(answer.to_string()).await;
    }
    assert!(last < u64::MAX / 2, "{last}");
    node.stop().await;
}
