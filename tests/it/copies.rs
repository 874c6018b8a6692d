//! Copies of frames that stand already: left out before their JSON is read, and never where that would hide
//! that their bringer may not send them.

use clawmesh::adapters::clock::{Clock as _, SystemClock};
use clawmesh::domain::base::{EvidenceSource, FrameId, Hlc, MeshId, Tier};
use clawmesh::domain::wire::FrameKind;
use clawmesh::domain::wire::frame::{FrameSpec, Stamp};
use serde_json::json;

use crate::bad_peers::{kin, refusals};
use crate::harness::*;

/// A reading of device 3, as our own kind stores it and sends it on.
pub fn text(seq: u64) -> String {
    let now = SystemClock::default().now();
    let stamp = Stamp {
        frame_id: FrameId::from(uuid::Uuid::new_v4()),
        now,
        hlc: Hlc::new(now, 0),
        seq,
    };
    let data = json!({"metric": "moisture", "value": 20.5, "zone": "far, {\"]}}"});
    let spec = FrameSpec {
        kind: FrameKind::Observation,
        data: data.as_object().cloned().unwrap(),
        sources: vec![EvidenceSource::Sensor],
        tier: Tier::T2,
        taint: Default::default(),
        note: None,
    };
    let frame = spec.sign(&key(3), "far", &MeshId::of_name(MESH), stamp);
    frame.unwrap().to_stored_text()
}

pub fn message(texts: &[&String]) -> String {
    let with_hops = |text: &&String| format!("{{\"hops\":1,{}", &text[1..]);
    let frames: Vec<String> = texts.iter().map(with_hops).collect();
    let frames = frames.join(",");
    format!(
        "{{\"type\":\"event\",\"event\":\"context.frames\",\"payload\":{{\"frames\":[{frames}]}}}}"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn copies_are_left_out_and_what_came_with_them_is_taken() {
    let node = centre()
        .trusting(key(2), "observe:T2,relay,read")
        .trusting(key(3), "observe:T2,relay,read")
        .trusting(key(4), "observe:T2,read")
        .start()
        .await;
    let mut first = kin(&node, 2).await;
    let all: Vec<String> = (1..=4).map(text).collect();
    let metrics = &node.shared().metrics;
    let counted = |stored: u64, copies: u64| {
        until("they are counted", move || async move {
            let now = (metrics.frames_stored.get(), metrics.frames_duplicate.get());
            (now == (stored, copies)).then_some(())
        })
    };
    let before = metrics.frames_stored.get();
    first.send(message(&[&all[0], &all[1]])).await;
    counted(before + 2, 0).await;
    first.send(message(&[&all[0], &all[2], &all[1]])).await;
    counted(before + 3, 2).await;
    // Many of nothing but copies cost the link no credit for good.
    for _ in 0..200 {
        first.send(message(&[&all[0], &all[1], &all[2]])).await;
    }
    first.send(message(&[&all[3], &all[0]])).await;
    counted(before + 4, 603).await;

    // Who may not pass on frames of others is told so, also where they stand already.
    let mut bare = kin(&node, 4).await;
    let refused = refusals(&node, "NOT_AUTHORIZED");
    bare.send(message(&[&all[0]])).await;
    until("it is refused", || async {
        (refusals(&node, "NOT_AUTHORIZED") > refused).then_some(())
    })
    .await;
    assert_eq!(metrics.frames_duplicate.get(), 603);
    node.stop().await;
}
