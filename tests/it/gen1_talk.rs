//! Conversation with gen-1 nodes: who leads, questions to the planner, proposals shown to each other.

use clawmesh::adapters::clock::{Clock as _, SystemClock};
use clawmesh::domain::base::MeshId;
use clawmesh::domain::identity::DeviceKey;
use clawmesh::domain::wire::handshake::Introduction;
use clawmesh::operator::Door;
use serde_json::{Value, json};

use crate::harness::*;

const GEN1: &str = "observe:T2,relay,read,plan";

/// A gen-1 node of a role that dials; with the node's reply.
async fn gen1_node(node: &TestNode, key: &DeviceKey, role: &str) -> (Probe, Value) {
    let mut probe = Probe::open(node.address).await;
    let reply = probe
        .handshake(key, MESH, |params| {
            let nonce = params["nonce"].as_str().unwrap().to_owned();
            let introduction = Introduction {
                display_name: "gen1".into(),
                capabilities: Vec::new(),
                mesh_id: MeshId::of_name(MESH),
                role: role.into(),
            };
            let now = SystemClock::default().now();
            *params = introduction.sign(key, &nonce, Some("probe-nonce"), now, None);
            params.remove("features");
        })
        .await;
    assert_eq!(reply["ok"], true, "{reply}");
    (probe, reply["payload"].clone())
}

fn planner() -> Setup {
    let mut setup = centre().trusting(key(5), GEN1).trusting(key(6), GEN1);
    setup.raw.role = Some("planner".into());
    setup
}

/// What a gen-1 node sends for a person who asks its planner something.
fn intent(text: &str) -> Value {
    json!({
        "channel": "clawmesh", "to": "agent:pi", "originGatewayId": "gen1", "idempotencyKey": "k",
        "commandDraft": {
            "source": {"nodeId": "gen1", "role": "operator"},
            "target": {"kind": "capability", "ref": "agent:pi"},
            "operation": {
                "name": "intent:parse",
                "params": {"text": text, "conversationId": "conv-1", "requestId": "r-1"},
            },
        },
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn our_planner_gives_way_to_a_gen1_planner_and_both_report_the_same_leader() {
    let node = planner().start().await;
    let (mut field, reply) = gen1_node(&node, &key(6), "field").await;
    assert_eq!(reply["role"], "standby-planner");
    let activity = |status: Value| status["payload"]["plannerActivity"].clone();
    let alone = activity(field.ask("mesh.status", json!({})).await);
    let own = json!({"kind": "local", "deviceId": node.id(), "role": "standby-planner"});
    assert_eq!(
        (&alone["leader"], &alone["state"]),
        (&own, &json!("active"))
    );
    let (mut theirs, _) = gen1_node(&node, &key(5), "planner").await;
    let leader = json!({"kind": "peer", "deviceId": key(5).id(), "role": "planner"});
    for probe in [&mut field, &mut theirs] {
        let seen = activity(probe.ask("mesh.status", json!({})).await);
        assert_eq!(seen["leader"], leader, "{seen}");
        assert_eq!(seen["state"], "standby");
        assert_eq!(seen["shouldHandleAutonomous"], false);
        let health = probe.ask("mesh.health", json!({})).await;
        assert_eq!(health["payload"]["plannerLeader"], leader);
    }
    let shown = Door::new(node.shared().clone()).planner().leader.unwrap();
    assert_eq!(
        (shown.device_id.as_str(), shown.own),
        (key(5).id().as_str(), false)
    );
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_from_a_gen1_node_is_answered_from_what_is_known() {
    let node = planner().start().await;
    let (mut probe, _) = gen1_node(&node, &key(5), "field").await;
    probe
        .event(
            "context.frame",
            json!({
                "gen": 1, "kind": "observation", "frameId": "reading", "sourceDeviceId": key(5).id(),
                "timestamp": SystemClock::default().now(), "hops": 0,
                "data": {"metric": "moisture", "value": 12.5, "zone": "zone-1", "unit": "%"},
                "trust": {"evidence_sources": ["sensor"], "evidence_trust_tier": "T2_operational_observation"},
            }),
        )
        .await;
    let door = Door::new(node.shared().clone());
    until("the reading is known", || async {
        let facts = door.status().await.unwrap().facts;
        (facts > 0).then_some(())
    })
    .await;
    let asked = intent("What is the moisture in zone-1?");
    let reply = probe.ask("mesh.message.forward", asked).await;
    assert_eq!(reply["payload"], json!({"accepted": true}), "{reply}");
    let answer = loop {
        let kept = probe.events.pop();
        let message = match kept {
            Some(message) => message,
            None => probe.hear("context.frame").await,
        };
        if message["payload"]["kind"] == "agent_response" {
            break message["payload"].clone();
        }
    };
    let data = &answer["data"];
    assert_eq!(
        (&data["conversationId"], &data["status"]),
        (&json!("conv-1"), &json!("complete"))
    );
    assert!(
        data["message"].as_str().unwrap().contains("12.5%"),
        "{data}"
    );
    assert_eq!(data["citations"][0]["metric"], "moisture");
    // Whoever receives it counts it as a model's word.
    assert_eq!(
        answer["trust"]["evidence_trust_tier"],
        "T0_planning_inference"
    );
    assert_eq!(answer["taint"], json!(["llm"]));

    // Words beside a command are a command, and judged as one.
    let mut hidden = intent("open it");
    hidden["command"] = command("c", "actuator:mock:valve-1", 1)["command"].clone();
    hidden["command"]["trust"]["evidence_sources"] = json!(["llm"]);
    let refused = probe.ask("mesh.message.forward", hidden).await;
    assert_eq!(refused["error"]["code"], "LLM_ONLY_ACTUATION_BLOCKED");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_without_planner_says_so_and_a_viewer_is_not_answered() {
    let plain = centre().trusting(key(5), GEN1).start().await;
    let (mut probe, reply) = gen1_node(&plain, &key(5), "field").await;
    assert_eq!(reply["role"], "node");
    let refused = probe.ask("mesh.message.forward", intent("hello")).await;
    assert_eq!(refused["error"]["code"], "DELIVERY_FAILED");
    plain.stop().await;

    let mut setup = centre().trusting(key(5), "observe:T2,plan");
    setup.raw.role = Some("planner".into());
    let node = setup.start().await;
    let (mut probe, _) = gen1_node(&node, &key(5), "field").await;
    let refused = probe.ask("mesh.message.forward", intent("hello")).await;
    assert_eq!(refused["error"]["code"], "NOT_AUTHORIZED");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn proposals_are_shown_to_each_other_and_decided_only_where_they_were_made() {
    let node = field().trusting(key(5), GEN1).start().await;
    let (mut probe, _) = gen1_node(&node, &key(5), "planner").await;
    let subscribed = probe.ask("chat.subscribe", json!({})).await;
    assert_eq!(subscribed["payload"], json!({"subscribed": true}));
    let mut tries = 0;
    // The valve's interlock waits for the first readings.
    let id = loop {
        tries += 1;
        let now = SystemClock::default().now().0;
        let mut wish = command(&format!("c-{tries}"), "actuator:mock:valve-1", now);
        wish["idempotencyKey"] = format!("k-{tries}").into();
        let answer = probe.ask("mesh.message.forward", wish).await;
        match answer["error"]["code"].as_str() {
            Some("APPROVAL_REQUIRED") => break answer["error"]["proposalId"].clone(),
            Some("INTERLOCK_OPEN") => drop(probe.hear("context.frame").await),
            _ => panic!("{answer}"),
        }
    };
    // It may have come before the answer.
    let told = |m: &Value| m["event"] == "planner.proposal";
    let heard = match probe.events.iter().find(|m| told(m)) {
        Some(message) => message.clone(),
        None => probe.hear("planner.proposal").await,
    };
    let heard = heard["payload"].clone();
    assert_eq!(
        (&heard["taskId"], &heard["status"], &heard["peerDeviceId"]),
        (&id, &json!("awaiting_approval"), &json!(node.id()))
    );
    for method in ["chat.proposal.approve", "chat.proposal.reject"] {
        let refused = probe.ask(method, json!({"taskId": id})).await;
        assert_eq!(refused["error"]["code"], "APPROVAL_REQUIRED", "{method}");
    }

    let theirs = json!({
        "taskId": "t-1", "summary": "open \u{202e}valve", "targetRef": "actuator:mock:valve-1",
        "operation": "open", "approvalLevel": "L1", "status": "approved", "plannerDeviceId": key(5).id(),
    });
    probe.event("planner.proposal", theirs.clone()).await;
    let mut resolved = theirs;
    resolved["status"] = "completed".into();
    probe.event("planner.proposal.resolved", resolved).await;
    let door = Door::new(node.shared().clone());
    let shown = until("the other planner's proposal is shown", || async {
        let others = door.planner().others;
        others.into_iter().find(|p| p.status == "completed")
    })
    .await;
    assert_eq!(
        (shown.id.as_str(), shown.from.as_str()),
        ("t-1", key(5).id().as_str())
    );
    assert_eq!(
        (shown.summary.as_str(), shown.executable_here),
        ("open valve", false)
    );
    assert_eq!(door.planner().others.len(), 1);
    // It is no proposal of this node: nothing that it says can be decided here.
    assert!(
        door.proposals(true)
            .await
            .unwrap()
            .iter()
            .all(|p| p.id != "t-1")
    );
    node.stop().await;
}
