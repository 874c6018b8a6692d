//! Devices that are heard only through a gen-1 node: their keys come with their presence.

use std::sync::atomic::{AtomicU64, Ordering};

use clawmesh::adapters::clock::{Clock as _, SystemClock};
use clawmesh::adapters::store::frames::StoredFrame;
use clawmesh::adapters::store::{Class, frames, trust as trusted};
use clawmesh::domain::admission::{Generation, TrustRecord};
use clawmesh::domain::base::{
    DeviceId, EvidenceSource, FrameId, Hlc, MeshId, SignatureState, Tier, TimeMs,
};
use clawmesh::domain::identity::DeviceKey;
use clawmesh::domain::wire::FrameKind;
use clawmesh::domain::wire::frame::{FrameSpec, Stamp};
use clawmesh::node::peers::PeerState;
use serde_json::{Value, json};

use crate::harness::*;

static SEQ: AtomicU64 = AtomicU64::new(1);

/// A frame of a device of our own kind, as a gen-1 node passes it on.
fn relayed(key: &DeviceKey, id: &str, kind: FrameKind, data: Value) -> Value {
    let now = SystemClock::default().now();
    let stamp = Stamp {
        frame_id: id.parse().unwrap(),
        now,
        hlc: Hlc::new(now, 0),
        seq: SEQ.fetch_add(1, Ordering::Relaxed),
    };
    let spec = FrameSpec {
        kind,
        data: data.as_object().cloned().unwrap(),
        sources: vec![EvidenceSource::Sensor],
        tier: Tier::T2,
        taint: Default::default(),
        note: None,
    };
    let frame = spec.sign(key, "far", &MeshId::of_name(MESH), stamp);
    frame.unwrap().to_wire(1)
}

fn reading() -> Value {
    json!({"metric": "moisture", "value": 20.5, "zone": "far"})
}

/// Trusts a device by its id alone.
async fn trust_id(node: &TestNode, device: &DeviceId) {
    let grants = "observe:T2,relay,read".parse().unwrap();
    let record = TrustRecord::new(device.clone(), None, None, grants, TimeMs(1));
    let record = record.of(Generation::Clawmesh);
    let shared = node.shared();
    let put = move |c: &rusqlite::Connection| trusted::put(c, &record);
    shared.store.write(Class::Durable, "t", put).await.unwrap();
    shared.trust.reload(&shared.store).await.unwrap();
}

async fn stored(node: &TestNode, id: &str) -> StoredFrame {
    until("the frame is stored", || async {
        let id: FrameId = id.parse().unwrap();
        let found = node
            .shared()
            .store
            .read("t", move |c| frames::by_frame_id(c, &id));
        found.await.unwrap()
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_behind_a_gen1_node_is_verified_by_the_key_in_its_presence() {
    let node = centre()
        .trusting(key(5), "observe:T2,relay,read,plan")
        .start()
        .await;
    let far = key(9);
    trust_id(&node, far.id()).await;
    let mut gen1 = Probe::connect(node.address, &key(5), MESH).await;
    let pass = |gen1: Probe, frame: Value| async move {
        let mut gen1 = gen1;
        gen1.event("context.frame", frame).await;
        gen1
    };
    gen1 = pass(
        gen1,
        relayed(&far, "before", FrameKind::Observation, reading()),
    )
    .await;
    let before = stored(&node, "before").await;
    assert_eq!(
        (before.signature, before.effective_tier),
        (SignatureState::Unverifiable, Tier::T0)
    );
    // Another key is not the one whose hash the id is.
    let forged = json!({"type": "presence", "publicKey": key(8).public().to_text()});
    gen1 = pass(
        gen1,
        relayed(&far, "forged", FrameKind::CapabilityUpdate, forged),
    )
    .await;
    stored(&node, "forged").await;
    let known = |device: &DeviceId| {
        let record = node.shared().trust.live(device);
        record.and_then(|r| r.public_key)
    };
    assert_eq!(known(far.id()), None);
    let presence = json!({"type": "presence", "publicKey": far.public().to_text()});
    gen1 = pass(
        gen1,
        relayed(&far, "said", FrameKind::CapabilityUpdate, presence.clone()),
    )
    .await;
    assert_eq!(
        stored(&node, "said").await.signature,
        SignatureState::Verified
    );
    until("the key is known", || async { known(far.id()) }).await;
    gen1 = pass(
        gen1,
        relayed(&far, "after", FrameKind::Observation, reading()),
    )
    .await;
    let after = stored(&node, "after").await;
    assert_eq!(
        (after.signature, after.effective_tier),
        (SignatureState::Verified, Tier::T2)
    );
    // Somebody whom nobody here trusts gains nothing by showing a key.
    let stranger = key(10);
    let shows = json!({"type": "presence", "publicKey": stranger.public().to_text()});
    gen1 = pass(
        gen1,
        relayed(&stranger, "stranger", FrameKind::CapabilityUpdate, shows),
    )
    .await;
    assert_eq!(stored(&node, "stranger").await.effective_tier, Tier::T0);
    assert!(!node.shared().trust.trusts(stranger.id()));
    // And the node shows its own.
    let own = clawmesh::node::presence::present(node.shared(), Vec::new(), false);
    assert_eq!(own.public_key, Some(node.shared().public_key.to_text()));
    drop(gen1);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_gen1_nodes_are_told_of_health_traces_and_links_is_so() {
    use clawmesh::node::context::alarms::AlarmKind;
    let mut setup = field().trusting(key(5), "observe:T2,relay,read,plan");
    let other = key(6).id().clone();
    setup.raw.peers = vec![
        format!("{other}=wss://127.0.0.1:1||local"),
        format!("{}=ws://127.0.0.1:1||local", key(5).id()),
    ];
    let node = setup.start().await;
    let mut probe = Probe::connect(node.address, &key(5), MESH).await;
    let health = probe.ask("mesh.health", json!({})).await["payload"].clone();
    assert_eq!(health["status"], "healthy", "{health}");
    assert!(
        health["metrics"][0]["value"].as_u64().unwrap() > 0,
        "{health}"
    );
    let postures: Vec<&Value> = health["configuredStaticPeers"]
        .as_array()
        .unwrap()
        .iter()
        .map(|p| &p["securityPosture"])
        .collect();
    assert_eq!(postures, ["identity-bound", "insecure"]);
    let alarms = &node.shared().alarms;
    let now = node.shared().now();
    alarms.raise(AlarmKind::ActuatorUnsafe, "x", "not safe", "look", now);
    let health = probe.ask("mesh.health", json!({})).await;
    assert_eq!(health["payload"]["status"], "unhealthy");
    alarms.clear(AlarmKind::ActuatorUnsafe, "x");

    let mut tries = 0;
    let minted = loop {
        tries += 1;
        let mut wish = command(&format!("c-{tries}"), "actuator:mock:valve-1", now.0);
        wish["idempotencyKey"] = format!("k-{tries}").into();
        let answer = probe.ask("mesh.message.forward", wish).await;
        match answer["error"]["code"].as_str() {
            Some("APPROVAL_REQUIRED") => break answer["error"]["proposalId"].clone(),
            Some("INTERLOCK_OPEN") => drop(probe.hear("context.frame").await),
            _ => panic!("{answer}"),
        }
    };
    let traced = probe.ask("mesh.trace", json!({})).await;
    assert!(traced["payload"]["trackedChains"].as_u64().unwrap() > 0);
    let created = json!({"stage": "proposal.created"});
    let chains = probe.ask("mesh.trace", created).await["payload"].clone();
    assert!(chains["total"].as_u64().unwrap() > 0, "{chains}");
    let chain = &chains["chains"][0];
    let id = chain["frameId"].clone();
    let one = probe.ask("mesh.trace", json!({"frameId": id})).await;
    assert_eq!(one["payload"]["chain"], *chain);
    let steps = chain["steps"].as_array().unwrap();
    assert!(steps.iter().any(|s| s["proposalId"] == minted), "{chain}");
    // A refused command is counted, and said.
    let mut bad = command("c-bad", "actuator:mock:valve-1", now.0);
    bad["command"]["trust"]["evidence_sources"] = json!(["llm"]);
    probe.ask("mesh.message.forward", bad).await;
    let state = probe.ask("clawmesh.mock.actuator.state", json!({})).await["payload"].clone();
    assert!(state["refusedCount"].as_u64().unwrap() > 0, "{state}");
    assert!(!state["records"].as_array().unwrap().is_empty());
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_went_back_to_gen1_is_shown_and_let_in_by_a_person() {
    use clawmesh::operator::Door;
    use clawmesh::operator::dto::TrustAdd;
    let mut setup = centre().trusting(key(5), "observe:T2,relay,read,estop");
    setup.kin = true;
    let node = setup.start().await;
    let door = Door::new(node.shared().clone());
    let shown = || {
        let peers = door.peers();
        let id = key(5).id().as_str().to_owned();
        peers.into_iter().find(|p| p.device_id == id).unwrap()
    };
    assert_eq!(shown().generation, None);
    let mut probe = Probe::open(node.address).await;
    let refused = probe.handshake(&key(5), MESH, |_| {}).await;
    assert_eq!(refused["error"]["code"], "AUTH_FAILED");
    let peer = shown();
    assert_eq!(
        (peer.state, peer.generation),
        (PeerState::Refused, Some(Generation::Gen1))
    );
    assert!(peer.reason.contains("trust add") && peer.reason.contains("--as gen1"));
    let add = TrustAdd {
        device_id: key(5).id().as_str().to_owned(),
        public_key: None,
        name: None,
        preset: Some("gen1".to_owned()),
        grants: None,
    };
    door.trust_add(&add).await.unwrap();
    let again = Probe::connect(node.address, &key(5), MESH).await;
    until("it is shown as connected", || async {
        let peer = shown();
        (peer.state == PeerState::Connected && peer.generation == Some(Generation::Gen1))
            .then_some(())
    })
    .await;
    drop(again);
    until("its link is gone", || async {
        node.shared().links.get(key(5).id()).is_none().then_some(())
    })
    .await;
    assert_ne!(
        shown().state,
        PeerState::Refused,
        "that it was refused before is over"
    );
    node.stop().await;
}
