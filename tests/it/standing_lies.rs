//! Standing approvals that are forged, replayed, for another executor or brought by a device that lies, how they end, and what
//! a killed, restored and commanded process makes of them.

use clawmesh::domain::admission::budget::Cause;
use clawmesh::domain::base::limits::STANDING_PER_PERSON_MAX;
use clawmesh::domain::base::{Code, MeshId};
use clawmesh::domain::gate::StandingApproval;
use clawmesh::domain::identity::OperatorKey;
use clawmesh::domain::policy::Requester;
use clawmesh::domain::proposal::Status;
use clawmesh::node::proposals::standing_approvals::{StandingState, end, list};
use clawmesh::operator::Door;
use clawmesh::operator::dto::OperatorEnroll;
use serde_json::{Value, json};

use crate::harness::*;
use crate::levels::opened;
use crate::main_job::{draft, operator};
use crate::process::{Place, VALVE, eventually};
use crate::standing_approvals::{approval, asked, ending, gave, given, one, policy, setup, wish};

/// A change of what is signed, and with what it is refused.
type Change = (fn(&mut StandingApproval), Code);

#[tokio::test(flavor = "multi_thread")]
async fn what_is_forged_stale_for_another_executor_or_too_much_is_not_taken() {
    let node = setup().start().await;
    let shared = node.shared();
    let mallory = OperatorKey::from_seed(&[66; 32]);
    let fresh = || approval(shared, &operator(), 0);
    let forged = fresh().sign(&mallory);
    assert_eq!(given(&node, forged).await, Err(Code::ApprovalInvalid));
    let unknown = approval(shared, &mallory, 0).sign(&mallory);
    assert_eq!(given(&node, unknown).await, Err(Code::OperatorUnknown));
    let low = OperatorKey::from_seed(&[67; 32]);
    enroll(shared, &low, "L1").await;
    let of_low = approval(shared, &low, 0).sign(&low);
    assert_eq!(given(&node, of_low).await, Err(Code::OperatorLevelTooLow));
    let changes: [Change; 5] = [
        (|a| a.executor = key(5).id().clone(), Code::WrongExecutor),
        (|a| a.mesh_id = MeshId::of_name("other"), Code::WrongMesh),
        (|a| a.given_at.0 -= 400_000, Code::ApprovalInvalid),
        (|a| a.uses_max = 101, Code::InvalidParams),
        (
            |a| a.target = "actuator:mock:none".parse().unwrap(),
            Code::UnknownTarget,
        ),
    ];
    for (change, code) in changes {
        let mut changed = fresh();
        change(&mut changed);
        assert_eq!(given(&node, changed.sign(&operator())).await, Err(code));
    }
    let mut altered = fresh().sign(&operator());
    altered.approval.uses_max = 3;
    assert_eq!(given(&node, altered).await, Err(Code::ApprovalInvalid));
    assert_eq!(list(shared).await.unwrap().list, []);
    // The same one again is the same one; too many are refused.
    let first = fresh().sign(&operator());
    for _ in 0..2 {
        given(&node, first.clone()).await.unwrap();
    }
    assert_eq!(list(shared).await.unwrap().list.len(), 1);
    for n in 1..u8::try_from(STANDING_PER_PERSON_MAX).unwrap() {
        let more = approval(shared, &operator(), n).sign(&operator());
        given(&node, more).await.unwrap();
    }
    let more = approval(shared, &operator(), 200).sign(&operator());
    assert_eq!(given(&node, more).await, Err(Code::Busy));
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_end_is_for_ever_and_a_replay_brings_nothing_back() {
    let node = setup().start().await;
    let shared = node.shared();
    let (ben, mallory) = (
        OperatorKey::from_seed(&[78; 32]),
        OperatorKey::from_seed(&[66; 32]),
    );
    enroll(shared, &ben, "L1").await;
    let of = approval(shared, &operator(), 0);
    let signed = of.clone().sign(&operator());
    given(&node, signed.clone()).await.unwrap();
    let forged = ending(shared, &of, &operator()).sign(&mallory);
    let refused = end(shared, Cause::Own, forged).await.unwrap_err();
    assert_eq!(refused.code, Code::ApprovalInvalid);
    // Any operator of this executor may end it, whatever their level.
    let by_ben = ending(shared, &of, &ben).sign(&ben);
    let view = end(shared, Cause::Own, by_ben.clone()).await.unwrap();
    assert_eq!(view.state, StandingState::Ended);
    end(shared, Cause::Own, by_ben).await.unwrap();
    assert_eq!(given(&node, signed).await, Err(Code::Conflict));
    let minted = asked(&node, wish(&node, Requester::Rules, 1).await)
        .await
        .unwrap();
    assert_eq!(minted.status, Status::AwaitingApproval);
    // One that was ended before it came is not taken when it does.
    let held_back = approval(shared, &operator(), 1);
    let early = ending(shared, &held_back, &operator()).sign(&operator());
    let refused = end(shared, Cause::Own, early).await.unwrap_err();
    assert_eq!(refused.code, Code::NotFound);
    let late = held_back.sign(&operator());
    assert_eq!(given(&node, late).await, Err(Code::Conflict));
    assert_eq!(opened(&node), 0);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_who_ends_takes_theirs_along_also_when_they_come_back() {
    let node = setup().start().await;
    let door = Door::new(node.shared().clone());
    gave(&node).await;
    let person = operator().id().as_str().to_owned();
    door.person_revoke(&person, Some("left")).await.unwrap();
    let minted = asked(&node, wish(&node, Requester::Rules, 1).await)
        .await
        .unwrap();
    assert_eq!(minted.status, Status::AwaitingApproval);
    assert_eq!(one(&node).await.state, StandingState::Ended);
    // A new key of the same name.
    let back = OperatorKey::from_seed(&[79; 32]);
    let enroll = OperatorEnroll {
        public_key: back.public().to_text(),
        level: "L2".parse().unwrap(),
        name: String::new(),
        person: Some("ada".into()),
        days: None,
    };
    door.operator_enroll(&enroll).await.unwrap();
    assert_eq!(one(&node).await.state, StandingState::Ended);
    assert_eq!(opened(&node), 0);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_brings_a_persons_word_with_the_grant_human_and_can_invent_none() {
    let node = setup().start().await;
    let shared = node.shared();
    let mut without = Probe::connect(node.address, &key(5), MESH).await;
    let mut with = Probe::connect(node.address, &key(7), MESH).await;
    let good = approval(shared, &operator(), 0);
    let signed = json!({"standing": good.clone().sign(&operator())});
    let refused = without.ask("approvals.give", signed.clone()).await;
    assert_eq!(refused["error"]["code"], "NOT_AUTHORIZED", "{refused}");
    let mallory = OperatorKey::from_seed(&[66; 32]);
    for made_up in [
        good.clone().sign(&mallory),
        approval(shared, &mallory, 0).sign(&mallory),
    ] {
        let refused = with
            .ask("approvals.give", json!({"standing": made_up}))
            .await;
        assert_eq!(refused["ok"], false, "{refused}");
    }
    let mut changed = signed.clone();
    changed["standing"]["approval"]["usesMax"] = 100.into();
    let refused = with.ask("approvals.give", changed).await;
    assert_eq!(refused["error"]["code"], "APPROVAL_INVALID", "{refused}");
    assert_eq!(list(shared).await.unwrap().list, []);

    let taken = with.ask("approvals.give", signed.clone()).await;
    assert_eq!(taken["ok"], true, "{taken}");
    let listed = without.ask("approvals.list", json!({})).await;
    assert_eq!(listed["payload"]["standing"][0]["usesMax"], 2, "{listed}");
    // Whoever may ask for anything asks for exactly that, in every name it can.
    let minted = draft(shared, 1).await;
    for requester in ["rules", "person", "llm"] {
        let mut wish = json!(minted);
        wish["draftId"] = uuid::Uuid::new_v4().to_string().into();
        wish["requester"] = requester.into();
        let answer = with.ask("proposals.draft", json!({"draft": wish})).await;
        assert_ne!(answer["payload"]["status"], "executing", "{answer}");
    }
    let made_up = ending(shared, &good, &operator()).sign(&mallory);
    let refused = with.ask("approvals.end", json!({"end": made_up})).await;
    assert_eq!(refused["error"]["code"], "APPROVAL_INVALID", "{refused}");
    let right = ending(shared, &good, &operator()).sign(&operator());
    let over = with.ask("approvals.end", json!({"end": right})).await;
    assert_eq!(over["payload"]["state"], "ended", "{over}");
    let again = with.ask("approvals.give", signed).await;
    assert_eq!(again["error"]["code"], "CONFLICT", "{again}");
    assert_eq!(opened(&node), 0);
    node.stop().await;
}

/// A person at the node gives one by the command line; its id.
fn typed(place: &Place, uses: &str) -> String {
    let line = [
        "approvals",
        "give",
        VALVE,
        "open",
        "durationSec=1..2",
        "--uses",
        uses,
        "--until",
        "2h",
        "--for",
        "2s",
        "--asked-by",
        "person",
        "--yes",
    ];
    let given = place.json(&line);
    given["id"].as_str().unwrap().to_owned()
}

fn listed(place: &Place) -> Vec<Value> {
    let view = place.json(&["approvals", "list", "--all"]);
    view["list"].as_array().unwrap().clone()
}

#[test]
fn kill_and_restore_give_no_use_back_and_a_revoked_one_stays_revoked() {
    let place = Place::new();
    place.write("policy.toml", &policy());
    place.enrolled();
    let node = place.field(&[]);
    let id = typed(&place, "2");
    let said = place.run(&["approvals"]);
    assert!(
        said.out.contains("ada") && said.out.contains("0 of 2"),
        "{said:?}"
    );
    let first = place.propose(1);
    place.await_status(&first, &["completed"]);
    let shown = place.run(&["show", &first]);
    let words = format!("standing approval {}", id.get(..8).unwrap());
    assert!(shown.out.contains(&words), "{shown:?}");
    assert!(shown.out.contains("use 1 of 2"), "{shown:?}");
    node.stop();
    crate::restored::copy(&place.state(), &place.beside("backup"));

    // Killed while it acts by the second use: that is used, and unknown.
    let node = place.field(&[]);
    let second = place.propose(2);
    eventually("the valve is open", || {
        (place.moves(&second) == ["open"]).then_some(())
    });
    node.kill();
    let node = place.field(&[]);
    assert_eq!(place.status_of(&second), "unknown");
    assert_eq!(listed(&place)[0]["used"], 2);
    let third = place.propose(1);
    assert_eq!(place.status_of(&third), "awaiting_approval");
    node.kill();

    // A backup in which it was used once: nothing acts, and after a person's word none of before counts.
    crate::restored::copy(&place.beside("backup"), &place.state());
    let node = place.field(&[]);
    let wish = ["propose", VALVE, "open", "durationSec=1", "--reason", "x"];
    place.run(&wish).fails(1, &["STATE_IN_DOUBT"]);
    node.stop();
    place.json(&["state", "confirm", "--yes"]);
    let node = place.field(&[]);
    let one = &listed(&place)[0];
    assert_eq!(
        (&one["state"], &one["used"]),
        (&"ended".into(), &1.into()),
        "{one}"
    );
    let fourth = place.propose(1);
    assert_eq!(place.status_of(&fourth), "awaiting_approval");
    // A new one must be signed later than that word, by whatever clock.
    let line = [
        "approvals",
        "give",
        VALVE,
        "open",
        "durationSec=1",
        "--uses",
        "1",
        "--until",
        "2h",
        "--for",
        "2s",
        "--yes",
    ];
    place
        .run(&line)
        .fails(1, &["APPROVAL_INVALID", "in a minute"]);
    assert_eq!(place.json(&["audit", "verify"])["ok"], true);
    node.stop();
}

#[test]
fn a_person_gives_lists_and_revokes_at_the_command_line() {
    let place = Place::new();
    place.write("policy.toml", &policy());
    place.enrolled();
    let node = place.field(&[]);
    let line = [
        "approvals",
        "give",
        VALVE,
        "open",
        "durationSec=1",
        "--uses",
        "1",
        "--until",
        "18:00",
        "--for",
        "2s",
    ];
    place.run(&line).fails(2, &["nothing was signed", "--yes"]);
    place
        .run(&[
            "approvals",
            "give",
            VALVE,
            "open",
            "--uses",
            "1",
            "--until",
            "soon",
            "--for",
            "2s",
        ])
        .fails(2, &["is no time"]);
    // Unless a person is named, it is for what rules ask for.
    let for_rules = place.json(&[&line[..], &["--yes"]].concat());
    let waits = place.propose(1);
    assert_eq!(place.status_of(&waits), "awaiting_approval");
    place.json(&["withdraw", &waits]);
    place.json(&["approvals", "revoke", for_rules["id"].as_str().unwrap()]);
    let id = typed(&place, "3");
    let started = place.propose(1);
    place.await_status(&started, &["completed"]);
    let short = id.get(..8).unwrap();
    let revoked = place.json(&["approvals", "revoke", short, "--note", "enough"]);
    assert_eq!(
        (&revoked["state"], &revoked["used"]),
        (&"ended".into(), &1.into())
    );
    assert_eq!(revoked["why"], "revoked by ada: enough");
    assert_eq!(place.json(&["approvals"])["list"], json!([]));
    let next = place.propose(1);
    assert_eq!(place.status_of(&next), "awaiting_approval");
    // Without a key, whoever administers the node.
    let other = typed(&place, "1");
    let ended = place.json(&["approvals", "revoke", &other, "--here"]);
    assert_eq!(ended["state"], "ended");
    let trail = place.json(&["audit", "show", "--limit", "1000"]);
    let kinds = |kind: &str| {
        let all = trail.as_array().unwrap().iter();
        all.filter(|e| e["kind"] == kind).count()
    };
    let counted = ["standing.given", "standing.used", "standing.ended"].map(kinds);
    assert_eq!(counted, [3, 1, 3]);
    node.stop();
}
