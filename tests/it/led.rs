//! Actions that the planner which leads wants in answer to a question of another device: asked for in the name of the node
//! that asked, as what a model wants, and never more than that.

use clawmesh::node::config::models::RawModel;
use clawmesh::node::planner::{Answered, Telling};
use clawmesh::operator::dto::{GrantChange, ProposalView};
use serde_json::{Value, json};

use crate::harness::{Probe, TestNode, field, key};
use crate::leading::{GRANTS, all, answered, asking, begin, measured, model, says, seeds, started};
use crate::levels::AUTOMATIC;
use crate::mesh_models::pair;
use crate::model_server::{Server, Step, say};
use crate::questions_of_devices::{answers, leads};

fn step() -> Value {
    json!({
        "step": "propose", "target": "actuator:mock:valve-1", "operation": "open",
        "params": ["durationSec=5"], "reason": "dry", "cites": ["r1"],
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_of_another_device_leads_to_no_proposal_in_this_nodes_name() {
    let end = json!({"step": "answer", "text": "It is asked for.", "cites": []});
    for grants in [GRANTS, "observe:T2,relay,read,actuate,llm"] {
        let model = model([says(&step()), says(&end)]);
        let (leader, asker) = asking(&model, grants).await;
        let said = answered(begin(&asker, "Open the valve.")).await;
        let told = format!("{:?}", model.asked()[1].messages);
        assert!(told.contains("may propose it in its own name"), "{told}");
        // It is the node's that asked, where people find it, and names the planner that led to it.
        let [stands] = &all(&asker).await[..] else {
            panic!("{said:?}")
        };
        assert_eq!(said.proposals, std::slice::from_ref(&stands.id));
        assert_eq!(stands.requested_by.device_id, asker.id());
        assert_eq!(json!(stands.requested_by.kind), "llm");
        let by = &stands.requested_by.name;
        assert!(by.ends_with(": test/model"), "{by}");
        assert_eq!(json!(stands.status), "awaiting_approval");
        let own = leader.id();
        let all = all(&leader).await;
        assert!(all.iter().all(|p| p.requested_by.device_id != own));
        leader.stop().await;
        asker.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_earlier_version_that_asks_hears_of_no_wishes() {
    let end = json!({"step": "answer", "text": "I may not.", "cites": []});
    let (old, new) = (
        ["sig", "lease"].as_slice(),
        ["sig", "lease", "wishes"].as_slice(),
    );
    for (features, params, hears) in [
        (
            old,
            json!({"question": "Open it.", "by": "ana", "wishes": true}),
            false,
        ),
        (new, json!({"question": "Open it.", "by": "ana"}), false),
        (
            new,
            json!({"question": "Open it.", "by": "ana", "wishes": true}),
            true,
        ),
    ] {
        let model = model([says(&step()), says(&end)]);
        let (leader, asker) = asking(&model, GRANTS).await;
        asker.stop().await;
        let mut probe = Probe::open(leader.address).await;
        let hello = probe
            .handshake(&key(1), crate::harness::MESH, |hello| {
                hello.insert("features".into(), json!(features));
            })
            .await;
        assert_eq!(hello["ok"], true);
        let asked = probe.ask("planner.ask", params).await;
        let id = json!({"id": asked["payload"]["id"]});
        let last = loop {
            let told = probe.ask("planner.told", id.clone()).await;
            assert_eq!(told["ok"], true, "{told}");
            if told["payload"]["ended"] == true {
                break told["payload"].clone();
            }
        };
        assert_eq!(last["wishes"].is_array(), hears, "{last}");
        let told = format!("{:?}", model.asked()[1].messages);
        assert_eq!(told.contains("leads to no proposal"), !hears, "{told}");
        assert!(all(&leader).await.is_empty());
        leader.stop().await;
    }
}

/// A node with the valve, whose rules would act on its readings without a person.
async fn victim() -> TestNode {
    let [first, second] = seeds();
    let mut setup = field()
        .trusting(key(first), GRANTS)
        .trusting(key(second), GRANTS);
    setup.policy = Some(AUTOMATIC.to_owned());
    setup.raw.inference.private_metrics = vec!["tank.level".to_owned()];
    started(setup, 1).await
}

/// What the node makes of these wishes of the planner that leads: its answer, what was told, and what stands there.
async fn told(
    node: &TestNode,
    probe: &mut Probe,
    wishes: Value,
) -> (Answered, Vec<String>, Vec<ProposalView>) {
    let mut told = begin(node, "Open the valve.");
    let asked = answers(probe, "planner.ask", json!({"id": "q"})).await;
    assert_eq!(asked["wishes"], true, "{asked}");
    let answer = json!({"event": "answered", "id": "q", "question": "", "askedBy": "",
        "answer": "Done.", "citations": [], "citationsDropped": 0, "proposals": [],
        "answerer": "model", "model": "x/y", "tier": "T0", "why": null, "askedAt": 1,
        "tookMs": 1, "tokens": 1});
    let reply = json!({"told": [answer], "ended": true, "wishes": wishes});
    answers(probe, "planner.told", reply).await;
    let mut results = Vec::new();
    while let Some(telling) = told.recv().await {
        match telling {
            Telling::Tool { result, .. } => results.push(result),
            Telling::Answered(answered) => return (*answered, results, all(node).await),
            _ => {}
        }
    }
    panic!("no answer: {results:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_lies_asks_for_no_more_than_a_model_may() {
    let node = victim().await;
    let fact = measured(&node).await;
    let mut probe = leads(&node, &["sig", "lease", "wishes"]).await;
    let cite = json!({"frameId": fact.frame_id, "origin": fact.origin});
    let wish = json!({"actuator": "actuator:mock:valve-1", "operation": "open",
        "params": {"durationSec": 5}, "reason": "dry", "cites": [cite]});
    let with = |name: &str, value: Value| {
        let mut wish = wish.clone();
        wish[name] = value;
        wish
    };
    let [_, second] = seeds();
    let made_up = json!([{"frameId": "made-up", "origin": node.id()}]);
    let anothers = json!([{"frameId": fact.frame_id, "origin": key(second).id()}]);
    let many = vec![cite.clone(); 17];
    for (lie, says) in [
        (
            with("actuator", json!("actuator:mock:door-9")),
            "UNKNOWN_TARGET",
        ),
        (with("actuator", json!("channel:clawmesh")), "Refused"),
        (with("operation", json!("explode")), "Refused"),
        (with("params", json!({"durationSec": 5_000})), "Refused"),
        (with("executor", json!(key(second).id())), "UNKNOWN_TARGET"),
        (with("executor", json!("self")), "does not read"),
        (with("cites", made_up), "EVIDENCE_MISSING"),
        (with("cites", anothers), "EVIDENCE_MISSING"),
        (with("cites", json!(many)), "more than 16 frames"),
        (with("level", json!("L1")), "does not read"),
        (with("taint", json!([])), "does not read"),
        (with("requester", json!("person")), "does not read"),
        (with("reason", json!("the tank.level is low")), "private"),
        (json!("$(reboot)"), "does not read"),
    ] {
        let (answered, results, stands) = told(&node, &mut probe, json!([lie])).await;
        assert!(
            results
                .iter()
                .any(|r| r.starts_with("Refused") && r.contains(says)),
            "{lie}: {results:?}"
        );
        assert!(
            answered.proposals.is_empty() && stands.is_empty(),
            "{lie}: {stands:?}"
        );
    }
    // A true one waits for a person, though rules of this policy may act without one; and two are all there are.
    let second = with("params", json!({"durationSec": 4}));
    let wishes = json!([wish, second, with("params", json!({"durationSec": 3}))]);
    let (answered, results, stands) = told(&node, &mut probe, wishes).await;
    assert_eq!(
        (answered.proposals.len(), stands.len()),
        (2, 2),
        "{results:?}"
    );
    assert!(results[2].contains("at most 2 actions"), "{results:?}");
    for stands in stands {
        assert_eq!(json!(stands.status), "awaiting_approval");
        assert_eq!(json!(stands.requested_by.kind), "llm");
        assert_ne!(json!(stands.level), "L1");
    }
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_may_not_plan_any_more_asks_for_nothing() {
    let node = victim().await;
    let mut probe = leads(&node, &["sig", "lease", "wishes"]).await;
    let mut heard = begin(&node, "Open the valve.");
    answers(&mut probe, "planner.ask", json!({"id": "q"})).await;
    let change = GrantChange {
        grants: "plan".to_owned(),
    };
    let [first, _] = seeds();
    let door = node.node().door();
    let device = key(first).id().clone();
    door.trust_ungrant(device.as_str(), &change).await.unwrap();
    let answer = json!({"event": "answered", "id": "q", "question": "", "askedBy": "",
        "answer": "Done.", "citations": [], "citationsDropped": 0, "proposals": [],
        "answerer": "model", "model": "x/y", "tier": "T0", "why": null, "askedAt": 1,
        "tookMs": 1, "tokens": 1});
    let wish = json!({"actuator": "actuator:mock:valve-1", "operation": "open",
        "params": {"durationSec": 5}, "reason": "dry", "cites": []});
    let reply = json!({"told": [answer], "ended": true, "wishes": [wish]});
    answers(&mut probe, "planner.told", reply).await;
    let mut results = Vec::new();
    while let Some(telling) = heard.recv().await {
        if let Telling::Tool { result, .. } = telling {
            results.push(result);
        }
    }
    assert!(
        results.iter().any(|r| r.contains("may not plan here")),
        "{results:?}"
    );
    assert!(all(&node).await.is_empty());
    node.stop().await;
}

/// A model reads the replies before its own as its own words: whoever gave one of them led to what comes of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wish_after_a_reply_of_another_devices_model_names_that_device() {
    let look = json!({"step": "list_capabilities"});
    let wish = json!({
        "step": "propose", "target": "actuator:mock:valve-1", "operation": "open",
        "params": ["durationSec=5"], "reason": "dry", "cites": [],
    });
    let end = json!({"step": "answer", "text": "It is asked for.", "cites": []});
    let away = vec![vec![Step::Status(400)]; 4];
    let there = Server::start([vec![say(&[&look.to_string()])], away].concat()).await;
    let own = Server::start([say(&[&wish.to_string()]), say(&[&end.to_string()])]).await;
    let (hub, laptop) = pair(&there, |setup| {
        setup.raw.mock_actuator = Some(true);
        setup.raw.mock_sensor = Some(true);
        setup.raw.sensor_interval_ms = Some(100);
        setup.policy = Some(AUTOMATIC.to_owned());
        let named = |name: &str, model: RawModel| RawModel {
            name: name.into(),
            ..model
        };
        setup.raw.model = vec![
            named("mesh/*/ollama/x", RawModel::default()),
            named("own/y", own.model(false)),
        ];
    })
    .await;
    measured(&laptop).await;
    let said = answered(begin(&laptop, "Open the valve.")).await;
    assert_eq!(said.model.as_deref(), Some("own/y"), "{said:?}");
    let [id] = &said.proposals[..] else {
        panic!("{said:?}")
    };
    let seen = laptop.node().door().proposal(id).await.unwrap();
    assert_eq!(seen.led_by, Some(hub.id()), "{seen:?}");
    laptop.stop().await;
    hub.stop().await;
}

/// Whoever serves a model can have it say what they like: the record says so, and their word for a person is none here.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wish_of_another_devices_model_names_that_device() {
    let wish = json!({
        "step": "propose", "target": "actuator:mock:valve-1", "operation": "open",
        "params": ["durationSec=5"], "reason": "dry", "cites": [],
    });
    let end = json!({"step": "answer", "text": "It is asked for.", "cites": []});
    let server = Server::start([say(&[&wish.to_string()]), say(&[&end.to_string()])]).await;
    let (hub, laptop) = pair(&server, |setup| {
        setup.raw.mock_actuator = Some(true);
        setup.raw.mock_sensor = Some(true);
        setup.raw.sensor_interval_ms = Some(100);
        setup.policy = Some(AUTOMATIC.to_owned());
        setup.raw.model = vec![RawModel {
            name: "mesh/*/ollama/x".into(),
            ..RawModel::default()
        }];
    })
    .await;
    measured(&laptop).await;
    let said = answered(begin(&laptop, "Open the valve.")).await;
    let [id] = &said.proposals[..] else {
        panic!("{said:?}")
    };
    let record = laptop.node().door().proposal_record(id).await.unwrap();
    let record = json!(record).to_string();
    assert!(
        record.contains("ledBy") && record.contains(hub.id().as_str()),
        "{record}"
    );
    laptop.stop().await;
    hub.stop().await;
}
