//! Between our own kind a frame crosses each node's links about once, and where the tree breaks its frames come
//! another way.

use clawmesh::adapters::store::{Class, frames};
use clawmesh::domain::base::{EvidenceSource, Tier};
use clawmesh::domain::wire::{FrameKind, FrameSpec};
use clawmesh::node::ledger;
use serde_json::json;

use crate::converge::{dialing, place, quiet};
use crate::harness::{TestNode, until};

const NODES: u8 = 6;

async fn read(node: &TestNode, n: usize) {
    let data = json!({"metric": "moisture", "zone": "zone-1", "value": n, "unit": "%"});
    let spec = FrameSpec {
        kind: FrameKind::Observation,
        data: data.as_object().unwrap().clone(),
        sources: vec![EvidenceSource::Sensor],
        tier: Tier::T2,
        taint: Default::default(),
        note: None,
    };
    ledger::publish(node.shared(), vec![spec], Class::Relaxed)
        .await
        .unwrap();
}

async fn readings(node: &TestNode) -> usize {
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
