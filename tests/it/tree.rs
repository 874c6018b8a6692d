//! Between our own kind a frame crosses each node's links about once, and where the tree breaks its frames come
//! another way.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use clawmesh::adapters::store::{Class, frames};
use clawmesh::domain::base::{EvidenceSource, Tier};
use clawmesh::domain::wire::{FrameKind, FrameSpec};
use clawmesh::node::context::alarms::AlarmKind;
use clawmesh::node::frame_log;
use serde_json::json;

use crate::bad_peers::kin;
use crate::converge::{dialing, place, quiet};
use crate::copies::{message, text};
use crate::harness::{Probe, TestNode, centre, key, until};

const NODES: u8 = 6;

pub async fn read(node: &TestNode, n: usize) {
    let data = json!({"metric": "moisture", "zone": "zone-1", "value": n, "unit": "%"});
    let spec = FrameSpec {
        kind: FrameKind::Observation,
        data: data.as_object().unwrap().clone(),
        sources: vec![EvidenceSource::Sensor],
        tier: Tier::T2,
        taint: Default::default(),
        note: None,
    };
    frame_log::publish(node.shared(), vec![spec], Class::Relaxed)
        .await
        .unwrap();
}

pub async fn readings(node: &TestNode) -> usize {
    let all = node
        .shared()
        .store
        .read("test", |c| frames::after(c, 0, 100_000, usize::MAX, None))
        .await
        .unwrap();
    all.iter()
        .filter(|f| f.kind == FrameKind::Observation)
        .count()
}

/// Makes readings one after the other, at one node after the other, each once the last is everywhere; returns
/// how many copies too many came.
async fn one_by_one(nodes: &[TestNode], made: &mut usize, count: usize) -> u64 {
    let copies = || -> u64 {
        let of = |node: &TestNode| node.shared().metrics.frames_duplicate.get();
        nodes.iter().map(of).sum()
    };
    let before = copies();
    for n in 0..count {
        read(&nodes[n % nodes.len()], n).await;
        *made += 1;
        until("the reading is everywhere", || async {
            for node in nodes {
                if readings(node).await < *made {
                    return None;
                }
            }
            Some(())
        })
        .await;
    }
    copies() - before
}

#[tokio::test(flavor = "multi_thread")]
async fn in_a_full_mesh_a_reading_comes_about_once_and_still_comes_when_a_node_goes() {
    let mut nodes: Vec<TestNode> = Vec::new();
    for n in 1..=NODES {
        let others: Vec<&TestNode> = nodes.iter().collect();
        let setup = dialing(quiet(n, NODES), &others);
        nodes.push(setup.start_in(place(), Some(n)).await);
    }
    until("all are connected", || async {
        let linked = |node: &TestNode| node.shared().links.all().len() + 1 == nodes.len();
        nodes.iter().all(linked).then_some(())
    })
    .await;
    let mut made = 0;
    one_by_one(&nodes, &mut made, 36).await;
    let copies = one_by_one(&nodes, &mut made, 60).await;
    let came = 60 * (u64::from(NODES) - 1);
    assert!(
        copies * 2 <= came,
        "{copies} copies too many of {came} frames"
    );
    // Whichever node goes, what the others make reaches all of them. With few links left, they push everything.
    while nodes.len() > 3 {
        nodes.remove(0).stop().await;
        one_by_one(&nodes, &mut made, 6).await;
    }
}

/// A node linked with five probes of our own kind, of which the second has brought a copy of a reading that the
/// first had brought.
async fn pruned() -> (TestNode, Vec<Probe>) {
    let mut setup = centre();
    for n in 2..=8 {
        setup = setup.trusting(key(n), "observe:T2,relay,read");
    }
    let node = setup.start().await;
    let mut probes = Vec::new();
    for n in 4..=8 {
        probes.push(kin(&node, n).await);
    }
    until("all links are in the tree", || async {
        (node.shared().links.all().len() == probes.len()).then_some(())
    })
    .await;
    let reading = text(1);
    let stored = node.shared().metrics.frames_stored.get();
    probes[0].send(message(&[&reading])).await;
    until("it is stored", || async {
        (node.shared().metrics.frames_stored.get() > stored).then_some(())
    })
    .await;
    probes[1].send(message(&[&reading])).await;
    (node, probes)
}

#[tokio::test(flavor = "multi_thread")]
async fn who_brings_a_copy_that_is_left_out_unread_is_told_to_push_no_more_and_is_offered_frames() {
    let (node, mut probes) = pruned().await;
    probes[1].hear("tree.prune").await;
    read(&node, 1).await;
    let offer = probes[1].hear("tree.offer").await;
    probes[1]
        .event(
            "tree.ask",
            json!({"keys": offer["payload"]["keys"], "push": true}),
        )
        .await;
    let frames = probes[1].hear("context.frames").await;
    assert_eq!(frames["payload"]["frames"][0]["data"]["value"], 1);
    // It has asked to be pushed to again.
    read(&node, 2).await;
    let frames = probes[1].hear("context.frames").await;
    assert_eq!(frames["payload"]["frames"][0]["data"]["value"], 2);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_offers_and_does_not_send_is_shown_while_it_is_linked() {
    let (node, mut probes) = pruned().await;
    let mut liar = probes.remove(1);
    liar.hear("tree.prune").await;
    let keys: Vec<u8> = (0..64).flat_map(|n| [n; 32]).collect();
    let offer = json!({"keys": URL_SAFE_NO_PAD.encode(keys)});
    liar.event("tree.offer", offer).await;
    let asked = liar.hear("tree.ask").await;
    assert!(asked["payload"]["keys"].is_string());
    let kind = AlarmKind::PeerWithholds;
    let alarms = || node.shared().alarms.count(kind) == 1;
    until("it is shown", || async { alarms().then_some(()) }).await;
    drop(liar);
    until("it is gone", || async { (!alarms()).then_some(()) }).await;
    node.stop().await;
}
