//! The gen-1 command gate over a real link: the gen-1 codes, then the eighth answer.

use clawmesh::adapters::clock::{Clock as _, SystemClock};
use clawmesh::adapters::store::proposals as rows;
use serde_json::{Value, json};

use crate::harness::*;

const PLANNER: &str = "observe:T2,relay,read,plan";
const VALVE: &str = "actuator:mock:valve-1";

fn now() -> u64 {
    SystemClock::default().now().0
}

async fn forward(probe: &mut Probe, params: Value) -> Value {
    let reply = probe.ask("mesh.message.forward", params).await;
    assert_eq!(
        reply["ok"], false,
        "nothing forwarded is ever simply done: {reply}"
    );
    reply["error"].clone()
}

/// A node with a planner peer, once its tank sensor has spoken.
async fn ready(grants: &'static str) -> (TestNode, Probe) {
    let node = field().trusting(key(5), grants).start().await;
    crate::main_job::draft(node.shared(), 1).await;
    let probe = Probe::connect(node.address, &key(5), MESH).await;
    (node, probe)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_passes_all_seven_checks_needs_a_person() {
    let (node, mut probe) = ready(PLANNER).await;
    let error = forward(&mut probe, command("c1", VALVE, now())).await;
    assert_eq!(error["code"], "APPROVAL_REQUIRED", "{error}");
    let id = error["proposalId"].as_str().unwrap();
    assert!(
        error["message"].as_str().unwrap().contains(id),
        "gen-1 nodes show only the message"
    );
    let rows = node
        .shared()
        .store
        .read("t", |c| rows::open_list(c, 10))
        .await
        .unwrap();
    assert_eq!(rows[0].id.as_str(), id);
    let record: Value = serde_json::from_str(&rows[0].record).unwrap();
    assert_eq!(
        record["requestedBy"]["deviceId"],
        key(5).id().as_str(),
        "bound to the link, not to what it says"
    );
    assert_eq!(record["level"], "L2");
    assert!(journal(node.state().root()).is_empty());
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_gen1_node_let_pass_is_refused() {
    let (node, mut probe) = ready(PLANNER).await;
    forward(&mut probe, command("dup", VALVE, now())).await;
    let changed = |change: fn(&mut Value)| {
        let mut params = command(&uuid::Uuid::new_v4().to_string(), VALVE, now());
        change(&mut params);
        params
    };
    let cases: Vec<(Value, &str)> = vec![
        (command("dup", VALVE, now()), "COMMAND_REPLAYED"),
        (command("old", VALVE, 1), "COMMAND_EXPIRED"),
        (
            command("ahead", VALVE, now() + 3_600_000),
            "COMMAND_EXPIRED",
        ),
        (
            command("nope", "actuator:pump:nope", now()),
            "UNKNOWN_TARGET",
        ),
        (
            changed(|p| p["command"]["trust"]["evidence_sources"] = json!([])),
            "TRUST_METADATA_REQUIRED",
        ),
        (
            changed(|p| {
                drop(
                    p["command"]["trust"]
                        .as_object_mut()
                        .unwrap()
                        .remove("evidence_sources"),
                )
            }),
            "TRUST_METADATA_REQUIRED",
        ),
        (
            changed(|p| p["command"]["trust"]["evidence_sources"] = json!(["llm", "llm"])),
            "LLM_ONLY_ACTUATION_BLOCKED",
        ),
        (
            json!({"channel": "c", "to": "Actuator:mock:valve-1", "originGatewayId": "x"}),
            "ACTUATION_DECLARATION_REQUIRED",
        ),
        (
            changed(|p| {
                p["to"] = json!(" actuator:mock:valve-1");
                p["command"]["target"]["ref"] = json!(" actuator:mock:valve-1");
                p["command"]["trust"]["action_type"] = json!("communication");
            }),
            "ACTUATION_DECLARATION_REQUIRED",
        ),
        (
            changed(|p| p["to"] = json!("actuator:mock:pump-1")),
            "INVALID_COMMAND_ENVELOPE",
        ),
        (
            changed(|p| p["command"]["operation"]["params"] = json!({"durationSec": 99_999})),
            "POLICY_DENIED",
        ),
        (
            changed(|p| p["command"]["operation"]["params"] = json!({"durationSec": {"$gt": 0}})),
            "INVALID_COMMAND_ENVELOPE",
        ),
        (
            changed(|p| p["command"]["operation"]["name"] = json!("explode")),
            "POLICY_DENIED",
        ),
        (
            json!({"channel": "telegram", "to": "user-1", "message": "hi", "originGatewayId": "x"}),
            "DELIVERY_FAILED",
        ),
        (json!({"channel": "c", "to": "agent:pi"}), "INVALID_PARAMS"),
    ];
    for (params, expected) in cases {
        // The first wish stands; withdraw nothing, so that equal intents would be recognised.
        let error = forward(&mut probe, params.clone()).await;
        assert_eq!(error["code"], expected, "{params}: {error}");
    }
    // An odd spelling that declares itself means the same valve, and so the same open wish.
    let mut odd = command("odd", " ACTUATOR:mock:valve-1", now());
    odd["to"] = json!("Actuator:Mock:Valve-1");
    assert_eq!(forward(&mut probe, odd).await["code"], "APPROVAL_REQUIRED");
    let open = node
        .shared()
        .store
        .read("t", |c| rows::open_list(c, 10))
        .await
        .unwrap();
    assert_eq!(open.len(), 1);
    assert!(journal(node.state().root()).is_empty());
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_plan_nothing_is_even_looked_at() {
    let (node, mut probe) = ready("observe:T2,relay,read").await;
    assert_eq!(
        forward(&mut probe, command("c", VALVE, now())).await["code"],
        "NOT_AUTHORIZED"
    );
    for method in ["proposals.draft", "proposals.decide"] {
        assert_eq!(
            probe.ask(method, json!({})).await["error"]["code"],
            "NOT_AUTHORIZED",
            "{method}"
        );
    }
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gen1_peer_can_read_what_it_may_and_nothing_else() {
    let (node, mut probe) = ready("read").await;
    for method in [
        "mesh.peers",
        "mesh.status",
        "mesh.health",
        "mesh.events",
        "mesh.trace",
        "context.sync",
        "mesh.ping",
    ] {
        assert_eq!(probe.ask(method, json!({})).await["ok"], true, "{method}");
    }
    let world = probe
        .ask(
            "mesh.world.query",
            json!({"limit": 3, "kind": "observation"}),
        )
        .await;
    assert_eq!(world["payload"]["count"], 3);
    let frame = &world["payload"]["frames"][0];
    assert_eq!(
        frame["trust"]["evidence_trust_tier"],
        "T2_operational_observation"
    );
    assert_eq!(frame["trust"]["claimedTier"], "T2_operational_observation");
    for (method, params) in [
        ("mesh.world.query", json!({"limit": -1})),
        ("mesh.world.query", json!({"kind": "banana"})),
        ("mesh.world.query", json!({"sourceDeviceId": 5})),
        ("context.sync", json!({"since": "yesterday"})),
    ] {
        assert_eq!(
            probe.ask(method, params.clone()).await["error"]["code"],
            "INVALID_PARAMS",
            "{method} {params}"
        );
    }
    for method in ["__proto__", "toString", "constructor", "llm.infer"] {
        assert_eq!(
            probe.ask(method, json!({})).await["error"]["code"],
            "UNKNOWN_METHOD",
            "{method}"
        );
    }
    node.stop().await;
}
