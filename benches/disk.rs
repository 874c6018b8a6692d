//! What a stored reading costs the disk: bytes that the process has written for each one, the log of
//! writes and its transfer into the database included.
//!
//! `cargo bench --profile dev --bench disk -- [WORD]`; bytes do not depend on the profile. Two linked nodes
//! in this process keep every reading. Linux only: it reads `/proc/self/io`. `FRAMES` is how many frames
//! both hold before, `SECONDS` how long each measurement takes.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::cast_precision_loss
)]
#![allow(clippy::disallowed_methods, dead_code)]

#[path = "../tests/it/harness.rs"]
mod harness;

use std::sync::Arc;
use std::time::Duration;

use clawmesh::adapters::store::{Class, frames};
use clawmesh::domain::base::{EvidenceSource, Tier};
use clawmesh::domain::wire::{FrameKind, FrameSpec};
use clawmesh::node::frame_log;
use harness::*;
use serde_json::json;

/// How sensing stores its readings.
const CLASS: Class = Class::Gathered;
const METRICS: usize = 13;

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name)
        .ok()
        .and_then(|n| n.parse().ok())
        .unwrap_or(default)
}

fn written() -> u64 {
    let io = std::fs::read_to_string("/proc/self/io").unwrap();
    let line = io.lines().find_map(|l| l.strip_prefix("write_bytes: "));
    line.unwrap().parse().unwrap()
}

fn spec(n: usize) -> FrameSpec {
    let data = json!({
        "zone": format!("zone-{}", n % 3 + 1), "metric": format!("metric-{}", n % METRICS), "value": 20.0 + n as f64 / 10.0,
        "unit": "%", "threshold": 20, "status": "low",
    });
    FrameSpec {
        kind: FrameKind::Observation,
        data: data.as_object().unwrap().clone(),
        sources: vec![EvidenceSource::Sensor],
        tier: Tier::T2,
        taint: Default::default(),
        note: Some("Soil moisture in zone-1: 21.8% (low)".into()),
    }
}

async fn node(me: u8, peer: Option<&TestNode>) -> TestNode {
    let mut setup = centre().trusting(key(3 - me), "observe:T2,relay,read,plan,actuate");
    setup.raw.name = Some(format!("node-{me}"));
    if let Some(peer) = peer {
        let address = format!("{}=wss://{}||local", peer.id(), peer.address);
        setup.raw.peers.push(address);
    }
    let dir = Arc::new(tempfile::tempdir_in("target").unwrap());
    setup.start_in(dir, Some(me)).await
}

fn stored(nodes: &[TestNode]) -> u64 {
    nodes
        .iter()
        .map(|n| n.shared().metrics.frames_stored.get())
        .sum()
}

/// Brings everything into the database files.
async fn settled(nodes: &[TestNode]) {
    for node in nodes {
        let store = &node.shared().store;
        store.read("bench", frames::count).await.unwrap();
        let conn = rusqlite::Connection::open(store.path()).unwrap();
        let sql = "PRAGMA wal_checkpoint(TRUNCATE)";
        conn.query_row(sql, [], |r| r.get::<_, i64>(0)).unwrap();
    }
}

async fn measure(name: &str, nodes: &[TestNode], every: Duration, at_once: usize) {
    settled(nodes).await;
    let (bytes, count) = (written(), stored(nodes));
    let mut tick = tokio::time::interval(every);
    let until = tokio::time::Instant::now() + Duration::from_secs(number("SECONDS", 60));
    let mut n = 0;
    while tokio::time::Instant::now() < until {
        tick.tick().await;
        let specs = (n..n + at_once).map(spec).collect();
        n += at_once;
        let published = frame_log::publish(nodes[0].shared(), specs, CLASS).await;
        published.unwrap();
    }
    tokio::time::sleep(Duration::from_millis(200)).await;
    let in_log = written() - bytes;
    settled(nodes).await;
    let (all, count) = (written() - bytes, stored(nodes) - count);
    println!(
        "{name:<44} {:>8.0} bytes a stored reading, of which {:>6.0} in the log of writes ({count} readings)",
        all as f64 / count as f64,
        in_log as f64 / count as f64,
    );
}

#[tokio::main]
async fn main() {
    let word = std::env::args().skip(1).find(|a| !a.starts_with('-'));
    let wanted = |name: &str| word.as_deref().is_none_or(|w| name.contains(w));
    let a = node(1, None).await;
    let nodes = vec![node(2, Some(&a)).await, a];
    until("they are connected", || async {
        (!nodes[0].shared().links.all().is_empty()).then_some(())
    })
    .await;
    let before = number("FRAMES", 100_000);
    for from in (0..usize::try_from(before).unwrap()).step_by(500) {
        let specs = (from..from + 500).map(spec).collect();
        let published = frame_log::publish(nodes[0].shared(), specs, Class::Relaxed).await;
        published.unwrap();
    }
    while stored(&nodes) < 2 * before {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let second = Duration::from_secs(1);
    for (name, every, at_once) in [
        ("default: 13 a second, together", second, METRICS),
        ("fast: 100 a second, one by one", second / 100, 1),
    ] {
        if wanted(name) {
            measure(name, &nodes, every, at_once).await;
        }
    }
    for node in nodes {
        node.stop().await;
    }
}
