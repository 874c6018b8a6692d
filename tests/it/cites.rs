//! Whose frame a cited id means, and whose wish an equal one is.

use clawmesh::adapters::store::{frames, proposals as rows, trust as trusted};
use clawmesh::domain::base::{Code, FrameId};
use clawmesh::domain::plan::Draft;
use clawmesh::domain::policy::Requester;
use clawmesh::domain::proposal::{Evidence, Status};
use clawmesh::node::proposals::{self, Minted};
use clawmesh::operator::Door;
use clawmesh::operator::dto::GrantChange;
use serde_json::json;

use crate::bad_frames::frame_of;
use crate::harness::*;
use crate::levels::AUTOMATIC;
use crate::main_job::{draft, operator};

async fn node() -> TestNode {
    let mut setup = field().with_operator(operator(), "L2");
    for n in [5, 6, 7] {
        setup = setup.trusting(key(n), "observe:T2,relay,read,plan,human");
    }
    setup = setup.trusting(key(8), "read,actuate");
    setup.policy = Some(AUTOMATIC.to_owned());
    setup.start().await
}

/// A device tells of a reading under this id, and it is stored.
async fn tells(node: &TestNode, device: u8, id: &FrameId) {
    let mut probe = Probe::connect(node.address, &key(device), MESH).await;
    probe
        .event("context.frame", frame_of(device, id.as_str()))
        .await;
    until("the frame is stored", || async {
        let filter = frames::FrameFilter::default();
        let read = move |c: &rusqlite::Connection| frames::page(c, &filter);
        let all = node.shared().store.read("t", read).await.unwrap();
        let stored = |f: &frames::StoredFrame| f.frame_id == *id && f.origin == *key(device).id();
        all.iter().any(stored).then_some(())
    })
    .await;
}

/// Another wish of a model each time, resting on these frames.
async fn about(node: &TestNode, cites: &[&FrameId], seconds: i64) -> Draft {
    Draft {
        requester: Requester::Llm,
        cites: cites.iter().map(|id| (*id).clone()).collect(),
        ..draft(node.shared(), seconds).await
    }
}

async fn from(node: &TestNode, device: u8, draft: Draft) -> Result<Minted, Code> {
    let minted = proposals::mint(node.shared(), draft, key(device).id()).await;
    minted.map_err(|refusal| refusal.code)
}

fn cited<'a>(minted: &'a Minted, id: &FrameId) -> Vec<&'a Evidence> {
    let evidence = &minted.signed.record().evidence;
    evidence.iter().filter(|e| e.frame_id == *id).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn nobodys_frame_becomes_anothers_evidence_under_its_id() {
    let node = node().await;
    let id = FrameId::from(uuid::Uuid::new_v4());
    // The fifth device saw the frame of the sixth on its way, and was first with one of its own.
    tells(&node, 5, &id).await;
    tells(&node, 6, &id).await;
    let minted = from(&node, 6, about(&node, &[&id], 1).await).await.unwrap();
    assert_eq!(cited(&minted, &id)[0].origin, *key(6).id());

    // A third asker has to say whose it means.
    let unnamed = about(&node, &[&id], 2).await;
    let refused = from(&node, 7, unnamed.clone()).await.unwrap_err();
    assert_eq!(refused, Code::EvidenceAmbiguous);
    let named = Draft {
        origins: [(id.clone(), key(6).id().clone())].into(),
        ..unnamed
    };
    let mut probe = Probe::connect(node.address, &key(7), MESH).await;
    let answer = probe.ask("proposals.draft", named.to_wire()).await;
    let evidence = &answer["payload"]["record"]["evidence"];
    let evidence = evidence.as_array().unwrap();
    let found = evidence.iter().find(|e| e["frameId"] == id.as_str());
    assert_eq!(found.unwrap()["origin"], key(6).id().as_str(), "{answer}");

    // A frame that has not come yet is no evidence, whoever uses its id meanwhile.
    let later = FrameId::from(uuid::Uuid::new_v4());
    tells(&node, 5, &later).await;
    let early = Draft {
        origins: [(later.clone(), key(6).id().clone())].into(),
        ..about(&node, &[&later], 3).await
    };
    let minted = from(&node, 6, early).await.unwrap();
    assert_eq!(cited(&minted, &later).len(), 0);

    // A person here says it in the wish.
    let door = Door::new(node.shared().clone());
    let wish = |cite: String| {
        let wish = json!({"target": "actuator:mock:valve-1", "operation": "open", "reason": "dry",
            "params": {"durationSec": 4}, "name": "ada", "cites": [cite], "executor": "self"});
        door.propose(serde_json::from_value(wish).unwrap())
    };
    let refusal = wish(id.to_string()).await.unwrap_err();
    assert_eq!(refusal.code, Code::EvidenceAmbiguous);
    let cite = format!("{id}@{}", key(6).id());
    assert!(refusal.message.contains(key(6).id().as_str()), "{refusal}");
    let view = wish(cite).await.unwrap();
    let minted = door.proposal(&view.proposal_id.unwrap()).await.unwrap();
    let evidence = minted.evidence.iter().find(|e| e.frame_id == id).unwrap();
    assert_eq!(evidence.origin, *key(6).id());
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wish_for_another_executor_says_whose_frames_it_cites() {
    const FAR: &str = "actuator:far:valve";
    let node = node().await;
    let id = FrameId::from(uuid::Uuid::new_v4());
    tells(&node, 6, &id).await;
    let mut executor = Probe::open(node.address).await;
    let reply = executor
        .handshake(&key(8), MESH, |hello| {
            hello.insert("features".into(), json!(["sig", "proposals"]));
            hello.insert("capabilities".into(), json!([FAR]));
        })
        .await;
    assert_eq!(reply["ok"], true, "{reply}");
    let door = Door::new(node.shared().clone());
    let wish = json!({"target": FAR, "operation": "open", "reason": "dry", "params": {}, "name": "ada",
        "cites": [id], "executor": key(8).id()});
    let wish = door.propose(serde_json::from_value(wish).unwrap());
    let asked = async {
        loop {
            let message = executor.receive().await.unwrap();
            let Some(of) = message["id"].as_str().filter(|_| message["type"] == "req") else {
                continue;
            };
            let wanted = message["method"] == "proposals.draft";
            let error = json!({"code": "BUSY", "message": "no"});
            let no = json!({"type": "res", "id": of, "ok": false, "error": error});
            executor.send(no.to_string()).await;
            if wanted {
                return message["params"].clone();
            }
        }
    };
    let (refused, asked) = tokio::join!(wish, asked);
    assert_eq!(refused.unwrap_err().code, Code::Busy);
    let origins = &asked["origins"];
    assert_eq!(origins[id.as_str()], key(6).id().as_str(), "{asked}");
    node.stop().await;
}

async fn stands(node: &TestNode, minted: &Minted) -> Status {
    let id = minted.signed.record().proposal_id.clone();
    let read = move |c: &rusqlite::Connection| rows::get(c, &id);
    let row = node.shared().store.read("t", read).await.unwrap();
    row.unwrap().status
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_device_calls_its_persons_wish_swallows_no_other_persons() {
    let node = node().await;
    let person = async |seconds| Draft {
        requester: Requester::Person,
        ..about(&node, &[], seconds).await
    };
    let liar = from(&node, 5, person(1).await).await.unwrap();
    let again = from(&node, 5, person(1).await).await.unwrap();
    assert!(again.repeated, "the same device asks again");
    // An honest person at another device gets a proposal of its own, and so does one who is here.
    let honest = from(&node, 6, person(1).await).await.unwrap();
    assert!(!honest.repeated && honest.superseded.is_empty());
    let own = node.shared().own_id();
    let here = proposals::mint(node.shared(), person(1).await, own).await;
    let here = here.unwrap();
    assert!(!here.repeated);
    assert_eq!(here.signed.record().requested_by.device_id, *own);
    for other in [&liar, &honest] {
        assert_eq!(stands(&node, other).await, Status::Superseded);
    }
    let after = from(&node, 5, person(1).await).await.unwrap();
    assert_eq!(after.signed.digest(), here.signed.digest());
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wish_whose_asker_may_not_ask_any_more_ends_and_swallows_nothing() {
    let node = node().await;
    let rules = async |seconds| Draft {
        requester: Requester::Rules,
        ..about(&node, &[], seconds).await
    };
    let first = from(&node, 5, rules(1).await).await.unwrap();
    let door = Door::new(node.shared().clone());
    let plan = GrantChange {
        grants: "plan".into(),
    };
    door.trust_ungrant(key(5).id().as_str(), &plan)
        .await
        .unwrap();
    assert_eq!(stands(&node, &first).await, Status::Withdrawn);

    // Taken from the store directly, as a command on a stopped node does.
    let second = from(&node, 6, rules(2).await).await.unwrap();
    let device = key(6).id().clone();
    let take = move |c: &rusqlite::Connection| {
        let mut record = trusted::get(c, &device)?.unwrap();
        record.grants = "read".parse().unwrap();
        trusted::put(c, &record)
    };
    let class = clawmesh::adapters::store::Class::Durable;
    node.shared().store.write(class, "t", take).await.unwrap();
    let third = from(&node, 7, rules(2).await).await.unwrap();
    assert!(!third.repeated);
    assert_eq!(stands(&node, &second).await, Status::Withdrawn);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frame_id_that_several_devices_use_is_told_with_the_choice() {
    let node = node().await;
    let id = FrameId::from(uuid::Uuid::new_v4());
    tells(&node, 5, &id).await;
    tells(&node, 6, &id).await;
    let door = Door::new(node.shared().clone());
    let refusal = door.frame(id.as_str()).await.unwrap_err();
    assert_eq!(refusal.code, Code::EvidenceAmbiguous);
    let mut probe = Probe::connect(node.address, &key(7), MESH).await;
    let both = probe.ask("mesh.trace", json!({"frameId": id})).await;
    assert_eq!(both["payload"]["chain"], json!(null), "{both}");
    for n in [5, 6] {
        let device = key(n).id().clone();
        assert!(refusal.message.contains(device.as_str()), "{refusal}");
        let view = door.frame(&format!("{id}@{device}")).await.unwrap();
        assert_eq!(view.origin, device.as_str());
        let named = json!({"frameId": id, "sourceDeviceId": device});
        let chain = probe.ask("mesh.trace", named).await["payload"]["chain"].clone();
        assert_eq!(chain["steps"][0]["deviceId"], device.as_str(), "{chain}");
    }
    let refusal = door.frame(&format!("{id}@{}", key(7).id())).await;
    assert_eq!(refusal.unwrap_err().code, Code::NotFound);
}
