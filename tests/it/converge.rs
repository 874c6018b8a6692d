//! Every node ends with the same frames, whatever was down in between.

use std::collections::BTreeSet;

use clawmesh::adapters::store::{Class, frames};
use clawmesh::domain::base::limits::RECENT_FRAMES_MAX;
use clawmesh::domain::base::{DeviceId, EvidenceSource, Tier};
use clawmesh::domain::wire::{FrameKind, FrameSpec};
use clawmesh::node::{Handles, frame_log};
use serde_json::json;

use crate::harness::{Setup, TestNode, centre, key, until};

/// A node without sensors that trusts the first `all` keys as its own kind.
pub fn quiet(me: u8, all: u8) -> Setup {
    let mut setup = centre();
    setup.raw.name = Some(format!("node-{me}"));
    for other in (1..=all).filter(|n| *n != me) {
        setup = setup.trusting(key(other), "observe:T2,relay,read,plan,actuate");
    }
    setup
}

pub fn dialing(mut setup: Setup, peers: &[&TestNode]) -> Setup {
    for peer in peers {
        setup
            .raw
            .peers
            .push(format!("{}=ws://{}||local", peer.id(), peer.address));
    }
    setup
}

pub async fn write(node: &TestNode, count: usize, mark: &str) {
    let specs = (0..count)
        .map(|n| FrameSpec {
            kind: FrameKind::Event,
            data: json!({"mark": mark, "n": n}).as_object().unwrap().clone(),
            sources: vec![EvidenceSource::Device],
            tier: Tier::T1,
            taint: Default::default(),
            note: None,
        })
        .collect();
    frame_log::publish(node.shared(), specs, Class::Durable)
        .await
        .unwrap();
}

/// What names every frame a node holds.
async fn held(shared: &Handles) -> BTreeSet<(DeviceId, [u8; 32])> {
    let all = shared
        .store
        .read("test", |c| frames::after(c, 0, 100_000, usize::MAX, None))
        .await
        .unwrap();
    all.into_iter().map(|f| (f.origin, f.content.0)).collect()
}

async fn all_hold(nodes: &[&TestNode], count: usize) {
    until(&format!("all hold {count} frames"), || async {
        let mut sets = Vec::new();
        for node in nodes {
            sets.push(held(node.shared()).await);
        }
        // Some seconds after their start they also tell of themselves.
        let same = sets.iter().all(|s| s.len() >= count && *s == sets[0]);
        same.then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_written_apart_is_held_by_both_after_the_reunion() {
    let a = quiet(1, 2).start_in(place(), Some(1)).await;
    write(&a, 3_000, "a").await;
    let b = dialing(quiet(2, 2), &[&a]);
    let alone = quiet(2, 2).start_in(place(), Some(2)).await;
    write(&alone, 2_000, "b").await;
    let dir = alone.stop().await;
    let b = b.start_in(dir, Some(2)).await;
    all_hold(&[&a, &b], 5_000).await;
    // And what is new afterwards comes by itself, in both directions.
    write(&a, 5, "later a").await;
    write(&b, 5, "later b").await;
    all_hold(&[&a, &b], 5_010).await;
    assert_eq!(b.shared().metrics.refusals_total(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn frames_reach_the_end_of_a_long_chain_from_either_end() {
    const LENGTH: u8 = 7;
    let mut chain: Vec<TestNode> = Vec::new();
    for n in 1..=LENGTH {
        let mut setup = quiet(n, LENGTH);
        if let Some(last) = chain.last() {
            setup = dialing(setup, &[last]);
        }
        chain.push(setup.start_in(place(), Some(n)).await);
    }
    write(&chain[0], 50, "head").await;
    write(&chain[usize::from(LENGTH) - 1], 50, "tail").await;
    all_hold(&chain.iter().collect::<Vec<_>>(), 100).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_that_fell_behind_the_frames_in_memory_gets_every_one_from_the_log() {
    const COUNT: usize = 2 * RECENT_FRAMES_MAX + 500;
    let a = quiet(1, 3).start_in(place(), Some(1)).await;
    let b = dialing(quiet(2, 3), &[&a]);
    let b = b.start_in(place(), Some(2)).await;
    let c = dialing(quiet(3, 3), &[&b]);
    let c = c.start_in(place(), Some(3)).await;
    for node in [&b, &c] {
        until("they have compared and need not again", || async {
            (node.shared().metrics.reconciliations.get() > 0).then_some(())
        })
        .await;
    }
    // One transaction: when the link is told of it, half of it is in memory no more.
    write(&a, COUNT, "many").await;
    all_hold(&[&a, &b, &c], COUNT).await;
    for node in [&a, &b, &c] {
        let metrics = &node.shared().metrics;
        assert_eq!(metrics.reconcile_differences.get(), 0);
        assert_eq!(metrics.frames_duplicate.get(), 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_passed_on_is_what_came_byte_for_byte() {
    let a = quiet(1, 3).start_in(place(), Some(1)).await;
    let b = dialing(quiet(2, 3), &[&a]);
    let b = b.start_in(place(), Some(2)).await;
    let c = dialing(quiet(3, 3), &[&b]);
    let c = c.start_in(place(), Some(3)).await;
    let data = json!({
        "text": "a \u{1f331} \u{0} \"quoted\"\n", "numbers": [1, -0.0, 1e300, 0.1, 9_007_199_254_740_993_u64],
        "nested": {"z": null, "a": {"": true}},
    });
    let spec = FrameSpec {
        kind: FrameKind::Event,
        data: data.as_object().unwrap().clone(),
        sources: vec![EvidenceSource::Device],
        tier: Tier::T1,
        taint: Default::default(),
        note: Some("as it was said".into()),
    };
    frame_log::publish(a.shared(), vec![spec], Class::Durable)
        .await
        .unwrap();
    all_hold(&[&a, &b, &c], 1).await;
    let mut texts = Vec::new();
    for (node, hops) in [(&a, 0), (&b, 0), (&c, 1)] {
        let read = |c: &rusqlite::Connection| frames::after(c, 0, 10, usize::MAX, None);
        let found = node.shared().store.read("test", read).await.unwrap();
        assert_eq!(found[0].hops, hops);
        texts.push(found[0].json.clone());
    }
    assert_eq!(texts[0], texts[1]);
    assert_eq!(texts[0], texts[2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_pruned_does_not_come_back() {
    let a = quiet(1, 2).start_in(place(), Some(1)).await;
    write(&a, 400, "old").await;
    let mut setup = dialing(quiet(2, 2), &[&a]);
    let dir = place();
    let b = setup.start_in(dir.clone(), Some(2)).await;
    all_hold(&[&a, &b], 400).await;
    // B forgets all but the newest hundred, and a new life begins.
    let pruned = b
        .shared()
        .store
        .write(Class::Durable, "test", |c| frames::prune(c, 100))
        .await
        .unwrap();
    assert_eq!(pruned, 300);
    b.stop().await;
    setup = dialing(quiet(2, 2), &[&a]);
    let b = setup.start_in(dir, Some(2)).await;
    until("they have compared", || async {
        (b.shared().metrics.reconciliations.get() > 0).then_some(())
    })
    .await;
    write(&a, 1, "new").await;
    until("the new one came", || async {
        let all = held(b.shared()).await;
        assert!(all.len() <= 101, "{} frames came back", all.len());
        let newest = held(a.shared()).await.len() == 401 && all.len() >= 2;
        (newest && b.shared().metrics.frames_stored.get() >= 1).then_some(())
    })
    .await;
}

pub fn place() -> std::sync::Arc<tempfile::TempDir> {
    std::sync::Arc::new(tempfile::tempdir().unwrap())
}
