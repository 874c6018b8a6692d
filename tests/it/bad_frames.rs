//! Malformed and lying frames over a real link: refused, counted, and the link goes on.

use clawmesh::adapters::store::frames;
use clawmesh::domain::base::Tier;
use clawmesh::domain::base::limits::FRAMES_READ_BYTES;
use serde_json::{Value, json};

use crate::harness::*;

fn frame(id: &str) -> Value {
    frame_of(5, id)
}

/// A reading of a gen-1 device.
pub fn frame_of(device: u8, id: &str) -> Value {
    json!({
        "gen": 1, "kind": "observation", "frameId": id, "sourceDeviceId": key(device).id(), "sourceDisplayName": "probe",
        "timestamp": clawmesh::adapters::clock::Clock::now(&clawmesh::adapters::clock::SystemClock::default()),
        "data": {"zone": "z", "metric": "m", "value": 1.5, "unit": "u"}, "hops": 0,
        "trust": {"evidence_sources": ["sensor"], "evidence_trust_tier": "T3_verified_action_evidence"},
    })
}

async fn stored(node: &TestNode, id: &str) -> Option<frames::StoredFrame> {
    let id = id.parse().unwrap();
    node.shared()
        .store
        .read("t", move |c| frames::by_frame_id(c, &id))
        .await
        .unwrap()
}

async fn arrives(node: &TestNode, id: &str) -> frames::StoredFrame {
    until("the frame is stored", || stored(node, id)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_killed_the_gen1_node_is_refused_and_the_link_goes_on() {
    let node = centre()
        .trusting(key(5), "observe:T2,relay,read")
        .start()
        .await;
    let mut probe = Probe::connect(node.address, &key(5), MESH).await;
    probe
        .send(r#"{"type":"event","event":"context.frame"}"#)
        .await;
    for (member, value) in [
        ("data", Value::Null),
        ("trust", Value::Null),
        ("kind", json!("banana")),
        ("hops", json!(-1)),
        ("timestamp", json!("now")),
        ("gen", json!(7)),
        ("frameId", json!("with space")),
        ("sourceDeviceId", json!("deadbeef")),
    ] {
        let mut bad = frame("bad");
        bad[member] = value;
        if bad[member].is_null() {
            bad.as_object_mut().unwrap().remove(member);
        }
        probe.event("context.frame", bad).await;
    }
    let mut big = frame("big");
    big["data"]["blob"] = json!("x".repeat(600_000));
    probe.event("context.frame", big).await;
    let deep = format!("{}{}", "[".repeat(5_000), "]".repeat(5_000));
    probe
        .send(format!(
            r#"{{"type":"event","event":"context.frame","payload":{deep}}}"#
        ))
        .await;
    probe.send("not json").await;
    probe.send(r#"{"type":"banana"}"#).await;
    probe
        .send(r#"{"type":"res","id":"nobody","ok":true}"#)
        .await;
    probe.send(r#"{"a":1,"a":2}"#).await;
    probe
        .send(format!(
            r#"{{"type":"event","event":"x","payload":"{}"}}"#,
            "y".repeat(1_100_000)
        ))
        .await;
    // Whoever asks badly waits for no answer in vain.
    probe
        .send(r#"{"type":"req","id":"twice","method":"mesh.ping","params":{"a":1,"a":2}}"#)
        .await;
    let refused = probe.answer("twice").await;
    assert_eq!(refused["ok"], false);
    assert_eq!(refused["error"]["code"], "INVALID_JSON");
    assert_eq!(probe.ask("mesh.ping", json!({})).await["ok"], true);
    let codes: Vec<&str> = probe
        .events
        .iter()
        .filter_map(|e| e["error"]["code"].as_str())
        .collect();
    assert!(
        codes.contains(&"TOO_LARGE")
            && codes.contains(&"INVALID_JSON")
            && codes.contains(&"INVALID_TYPE"),
        "{codes:?}"
    );
    // A good one still gets through, and none of the bad ones did.
    probe.event("context.frame", frame("good")).await;
    arrives(&node, "good").await;
    assert!(stored(&node, "bad").await.is_none() && stored(&node, "big").await.is_none());
    let kinds = node
        .shared()
        .store
        .read("t", |c| {
            clawmesh::adapters::store::events::latest(c, 100, Some("event.refused"))
        })
        .await
        .unwrap();
    assert!(
        kinds.len() >= 10,
        "each refusal is an event with its reason: {}",
        kinds.len()
    );
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tiers_are_what_we_vouch_for_and_the_claim_survives() {
    let node = centre()
        .trusting(key(5), "observe:T2,relay,read")
        .start()
        .await;
    let mut probe = Probe::connect(node.address, &key(5), MESH).await;
    probe.event("context.frame", frame("first-hand")).await;
    let first_hand = arrives(&node, "first-hand").await;
    assert_eq!(
        (first_hand.claimed_tier, first_hand.effective_tier),
        (Tier::T3, Tier::T2)
    );
    let mut relayed = frame("relayed");
    relayed["sourceDeviceId"] = json!(key(9).id());
    probe.event("context.frame", relayed).await;
    let relayed = arrives(&node, "relayed").await;
    assert_eq!(
        (relayed.claimed_tier, relayed.effective_tier),
        (Tier::T3, Tier::T0)
    );
    let mut model = frame("model");
    model["trust"]["evidence_sources"] = json!(["sensor", "llm"]);
    probe.event("context.frame", model).await;
    let model = arrives(&node, "model").await;
    assert_eq!(model.effective_tier, Tier::T0);
    assert!(model.tainted);
    let mut ahead = frame("ahead");
    ahead["timestamp"] = json!(4_000_000_000_000u64);
    probe.event("context.frame", ahead).await;
    let ahead = arrives(&node, "ahead").await;
    assert!(
        ahead.ahead && ahead.time == ahead.received_at && ahead.claimed_at.0 == 4_000_000_000_000
    );
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_can_squat_or_alter_anothers_frame() {
    let node = centre()
        .trusting(key(5), "observe:T2,relay,read")
        .start()
        .await;
    let mut probe = Probe::connect(node.address, &key(5), MESH).await;
    probe.event("context.frame", frame("f")).await;
    arrives(&node, "f").await;
    let mut other = frame("f");
    other["data"]["value"] = json!(99);
    probe.event("context.frame", other).await;
    until("the conflict is reported", || async {
        let events = node
            .shared()
            .store
            .read("t", |c| {
                clawmesh::adapters::store::events::latest(c, 10, Some("frame.conflict"))
            })
            .await;
        (!events.unwrap().is_empty()).then_some(())
    })
    .await;
    let kept = stored(&node, "f").await.unwrap();
    assert!(kept.json.contains("1.5"), "the first one stands");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn large_frames_are_read_and_passed_on_a_little_at_a_time() {
    let node = centre()
        .trusting(key(5), "observe:T2,relay,read")
        .trusting(key(6), "read")
        .start()
        .await;
    let mut source = Probe::connect(node.address, &key(5), MESH).await;
    for n in 0..12 {
        let mut one = frame(&format!("large{n}"));
        one["data"]["note"] = "x".repeat(200_000).into();
        source.event("context.frame", one).await;
        arrives(&node, &format!("large{n}")).await;
    }
    // Each answer fits into a message, holds the newest, and a device is told its own frames too.
    for (asker, method) in [
        (6, "mesh.world.query"),
        (6, "context.sync"),
        (5, "context.sync"),
    ] {
        let mut asking = Probe::connect(node.address, &key(asker), MESH).await;
        let answer = asking.ask(method, json!({"limit": 200})).await;
        let size = answer.to_string().len();
        assert!((400_000..1_048_576).contains(&size), "{method}: {size}");
        let frames = answer["payload"]["frames"].as_array().unwrap();
        assert_eq!(frames.last().unwrap()["frameId"], "large11");
    }
    // The log is read in small pages, and to its end.
    let pages = node.shared().store.read("t", |c| {
        let (mut seen, mut from) = (Vec::new(), 0);
        loop {
            let page = frames::after(c, from, 256, FRAMES_READ_BYTES, None)?;
            let Some(last) = page.last() else {
                return Ok(seen);
            };
            from = last.seq;
            let bytes: usize = page.iter().map(|f| f.json.len()).sum();
            seen.push((bytes, page.len()));
        }
    });
    let pages = pages.await.unwrap();
    let most = pages.iter().map(|(bytes, _)| *bytes).max().unwrap();
    assert!(most <= FRAMES_READ_BYTES, "{most}");
    assert!(pages.iter().map(|(_, n)| n).sum::<usize>() >= 12);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn frames_pass_on_with_one_more_hop_until_the_third() {
    let node = centre()
        .trusting(key(5), "observe:T2,relay,read")
        .trusting(key(6), "read")
        .start()
        .await;
    let mut source = Probe::connect(node.address, &key(5), MESH).await;
    let mut sink = Probe::connect(node.address, &key(6), MESH).await;
    for hops in [0, 2, 3] {
        let mut one = frame(&format!("h{hops}"));
        one["hops"] = json!(hops);
        source.event("context.frame", one).await;
        arrives(&node, &format!("h{hops}")).await;
    }
    source.event("context.frame", frame("last")).await;
    let mut seen = Vec::new();
    while !seen.iter().any(|(id, _)| id == "last") {
        let message = sink.receive().await.unwrap();
        if message["event"] == "context.frame" {
            let payload = &message["payload"];
            seen.push((
                payload["frameId"].as_str().unwrap().to_owned(),
                payload["hops"].as_u64().unwrap(),
            ));
        }
    }
    assert_eq!(
        seen,
        [("h0".into(), 1), ("h2".into(), 3), ("last".into(), 1)]
    );
    node.stop().await;
}
