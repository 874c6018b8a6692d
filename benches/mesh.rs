//! What a mesh costs and how fast it is: one hop, one link, chains, full meshes, reconciliation.
//!
//! Run by `scripts/bench`; prints one line per measurement, `name value unit target`. All nodes live in
//! this process and speak identity-bound TLS over loopback. It asserts nothing about time.
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
#[path = "mesh/stop.rs"]
mod stop;

use std::sync::Arc;
use std::time::{Duration, Instant};

use clawmesh::adapters::store::Class;
use clawmesh::domain::base::{Digest, EvidenceSource, Tier, TimeMs};
use clawmesh::domain::sync::{FrameKey, Initiator, KeySet, Keyed, answer};
use clawmesh::domain::wire::{FrameKind, FrameSpec};
use clawmesh::node::frame_log;
use harness::*;
use negentropy::{Id, Negentropy, NegentropyStorageVector};
use serde_json::json;

/// How long anything may take before the benchmark gives up.
const LIMIT: Duration = Duration::from_secs(120);

fn report(name: &str, value: f64, unit: &str, target: &str) {
    println!("{name:<44} {value:>12.2} {unit:<9} {target}");
}

fn ms(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1_000.0
}

fn resident_mib() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|l| l.starts_with("VmRSS:"));
    let kib = line.and_then(|l| l.split_whitespace().nth(1)?.parse::<f64>().ok());
    kib.unwrap_or(0.0) / 1_024.0
}

/// Node `me` of `all`, dialing those given.
async fn node(me: u8, all: u8, peers: &[&TestNode]) -> TestNode {
    let mut setup = centre();
    setup.raw.name = Some(format!("node-{me}"));
    setup.kin = true;
    for other in (1..=all).filter(|n| *n != me) {
        setup = setup.trusting(key(other), "observe:T2,relay,read,plan,actuate");
    }
    for peer in peers {
        let address = format!("{}=wss://{}||local", peer.id(), peer.address);
        setup.raw.peers.push(address);
    }
    let dir = Arc::new(tempfile::tempdir().unwrap());
    setup.start_in(dir, Some(me)).await
}

fn specs(count: usize) -> Vec<FrameSpec> {
    let data = json!({
        "zone": "zone-1", "metric": "moisture", "value": 21.8, "unit": "%", "threshold": 20, "status": "low",
    });
    (0..count)
        .map(|_| FrameSpec {
            kind: FrameKind::Observation,
            data: data.as_object().unwrap().clone(),
            sources: vec![EvidenceSource::Sensor],
            tier: Tier::T2,
            taint: Default::default(),
            note: None,
        })
        .collect()
}

async fn write(node: &TestNode, count: usize, class: Class) {
    let published = frame_log::publish(node.shared(), specs(count), class).await;
    published.unwrap();
}

fn stored(node: &TestNode) -> u64 {
    node.shared().metrics.frames_stored.get()
}

/// Waits, without a pause to speak of, until a node has stored so many frames.
async fn reaches(node: &TestNode, count: u64) {
    let deadline = Instant::now() + LIMIT;
    while stored(node) < count {
        assert!(Instant::now() < deadline, "{} of {count}", stored(node));
        tokio::time::sleep(Duration::from_micros(200)).await;
    }
}

async fn linked(nodes: &[TestNode], links: usize) {
    until("all are connected", || async {
        let all: usize = nodes.iter().map(|n| n.shared().links.all().len()).sum();
        (all == links * 2).then_some(())
    })
    .await;
}

async fn end(nodes: Vec<TestNode>) {
    for node in nodes {
        node.stop().await;
    }
}

async fn one_hop() {
    let a = node(1, 2, &[]).await;
    let nodes = vec![node(2, 2, &[&a]).await, a];
    linked(&nodes, 1).await;
    let mut times = Vec::new();
    for n in 1..=500 {
        let started = Instant::now();
        write(&nodes[1], 1, Class::Relaxed).await;
        while stored(&nodes[0]) < n {
            tokio::task::yield_now().await;
        }
        times.push(ms(started));
    }
    times.sort_by(f64::total_cmp);
    report(
        "one hop: signed, sent over TLS, stored, p50",
        times[250],
        "ms",
        "<= 0.3",
    );
    report("one hop, p99", times[495], "ms", "");
    end(nodes).await;
}

/// What this process has used of the processor, in milliseconds. Linux only.
fn processor_ms() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after_name = stat.rsplit(')').next().unwrap_or_default();
    let ticks = |n: usize| -> f64 {
        let field = after_name.split_whitespace().nth(n);
        field.and_then(|t| t.parse().ok()).unwrap_or(0.0)
    };
    // A tick is a hundredth of a second on every Linux there is.
    (ticks(11) + ticks(12)) * 10.0
}

/// `at_once` readings at a time from the first node, for twenty seconds; what all nodes together use.
async fn used(nodes: &[TestNode], every: Duration, at_once: usize) -> (f64, f64) {
    let (before, started) = (processor_ms(), Instant::now());
    let mut tick = tokio::time::interval(every);
    let mut made = 0;
    while started.elapsed() < Duration::from_secs(20) {
        tick.tick().await;
        write(&nodes[0], at_once, Class::Gathered).await;
        made += at_once;
    }
    let used = processor_ms() - before;
    let per_frame = used / made as f64;
    (per_frame, used / ms(started) * 100.0)
}

/// A hundred readings a second, one by one, over one link.
async fn steady() {
    let a = node(1, 2, &[]).await;
    let nodes = vec![node(2, 2, &[&a]).await, a];
    linked(&nodes, 1).await;
    let (per_frame, _) = used(&nodes, Duration::from_millis(10), 1).await;
    let what = "100/s one by one: processor time a frame, both ends";
    report(what, per_frame, "ms", "<= 0.4");
    end(nodes).await;
}

/// Six nodes, each linked with each, one of which makes 13 readings a second.
async fn idle() {
    let mut nodes: Vec<TestNode> = Vec::new();
    for n in 1..=6 {
        let peers: Vec<&TestNode> = nodes.iter().collect();
        let next = node(n, 6, &peers).await;
        nodes.push(next);
    }
    linked(&nodes, 15).await;
    settled(&nodes).await;
    let (_, percent) = used(&nodes, Duration::from_secs(1), 13).await;
    let what = "5 peers, 13 readings/s: of one core, each node";
    report(what, percent / 6.0, "%", "<= 1");
    end(nodes).await;
}

/// One link at full speed; `up` says whether the sender dialed.
async fn sustained(up: bool) {
    const FRAMES: usize = 100_000;
    let listener = node(1, 2, &[]).await;
    let dialer = node(2, 2, &[&listener]).await;
    let mut nodes = vec![listener, dialer];
    linked(&nodes, 1).await;
    if up {
        nodes.reverse();
    }
    let already = stored(&nodes[1]);
    let started = Instant::now();
    for _ in 0..FRAMES / 1_000 {
        write(&nodes[0], 1_000, Class::Relaxed).await;
    }
    reaches(&nodes[1], already + FRAMES as u64).await;
    let rate = FRAMES as f64 / started.elapsed().as_secs_f64();
    let way = if up {
        "dialer to listener"
    } else {
        "listener to dialer"
    };
    report(
        &format!("made, sent and stored, {way}"),
        rate,
        "frames/s",
        ">= 30000",
    );
    end(nodes).await;
}

async fn chain(length: u8) {
    let mut nodes: Vec<TestNode> = Vec::new();
    for n in 1..=length {
        let last: Vec<&TestNode> = nodes.last().into_iter().collect();
        let next = node(n, length, &last).await;
        nodes.push(next);
    }
    linked(&nodes, usize::from(length) - 1).await;
    for (name, from) in [("head", 0), ("tail", nodes.len() - 1)] {
        let before: Vec<u64> = nodes.iter().map(stored).collect();
        let started = Instant::now();
        write(&nodes[from], 1_000, Class::Relaxed).await;
        for (n, before) in nodes.iter().zip(before) {
            reaches(n, before + 1_000).await;
        }
        let what = format!("chain of {length}, 1000 frames from the {name}");
        report(&what, ms(started), "ms", "<= 1000");
    }
    end(nodes).await;
}

/// Waits until every node has links, and no more come: where more than a dozen trust each other, each keeps few.
async fn settled(nodes: &[TestNode]) -> usize {
    let count = || -> usize { nodes.iter().map(|n| n.shared().links.all().len()).sum() };
    let (mut last, mut since) = (count(), Instant::now());
    let begun = Instant::now();
    while since.elapsed() < Duration::from_secs(5) {
        assert!(begun.elapsed() < LIMIT, "{last} ends of links");
        tokio::time::sleep(Duration::from_millis(50)).await;
        if count() != last {
            (last, since) = (count(), Instant::now());
        }
    }
    last / 2
}

async fn mesh(size: u8) {
    let memory = resident_mib();
    let mut nodes: Vec<TestNode> = Vec::new();
    for n in 1..=size {
        let others: Vec<&TestNode> = nodes.iter().collect();
        let next = node(n, size, &others).await;
        nodes.push(next);
    }
    let size = usize::from(size);
    let links = settled(&nodes).await;
    report(&format!("mesh of {size}, links"), links as f64, "", "");
    let started = Instant::now();
    write(&nodes[0], 1_000, Class::Relaxed).await;
    for n in &nodes {
        reaches(n, 1_000).await;
    }
    let target = if size == 10 { "<= 1000" } else { "" };
    report(
        &format!("mesh of {size}, 1000 frames everywhere"),
        ms(started),
        "ms",
        target,
    );
    let each = (resident_mib() - memory) / size as f64;
    let target = if size == 10 { "<= 20" } else { "" };
    report(
        &format!("mesh of {size}, memory added by each node"),
        each,
        "MiB",
        target,
    );
    end(nodes).await;
}

async fn missed() {
    const FRAMES: usize = 2_000;
    let a = node(1, 2, &[]).await;
    write(&a, FRAMES, Class::Relaxed).await;
    let started = Instant::now();
    let b = node(2, 2, &[&a]).await;
    reaches(&b, FRAMES as u64).await;
    report(
        "2000 missed frames: start to all recovered",
        ms(started),
        "ms",
        "all",
    );
    end(vec![a, b]).await;
}

fn keyed(n: u64) -> Keyed {
    Keyed {
        at: TimeMs(1_700_000_000_000 + n * 10),
        key: FrameKey(Digest::of(&[&n.to_be_bytes()]).0),
    }
}

fn library(items: impl Iterator<Item = u64>) -> NegentropyStorageVector {
    let mut all = NegentropyStorageVector::new();
    for n in items {
        let k = keyed(n);
        all.insert(k.at.0, Id::from_byte_array(k.key.0)).unwrap();
    }
    all.seal().unwrap();
    all
}

/// Rounds and bytes of the library alone, without our base64 and without a limit of its own.
fn alone(left: impl Iterator<Item = u64>, right: impl Iterator<Item = u64>) -> (u32, usize) {
    let (left, right) = (library(left), library(right));
    let mut client = Negentropy::owned(left, 0).unwrap();
    let mut server = Negentropy::owned(right, 0).unwrap();
    let (mut have, mut need) = (Vec::new(), Vec::new());
    let (mut rounds, mut bytes) = (0, 0);
    let mut message = Some(client.initiate().unwrap());
    while let Some(sent) = message {
        let reply = server.reconcile(&sent).unwrap();
        rounds += 1;
        bytes += sent.len() + reply.len();
        message = client
            .reconcile_with_ids(&reply, &mut have, &mut need)
            .unwrap();
    }
    (rounds, bytes)
}

fn reconcile(name: &str, size: u64, missing: impl Fn(u64) -> bool + Copy, bytes_target: &str) {
    let mut left = KeySet::default();
    left.extend((0..size).map(keyed));
    let mut right = KeySet::default();
    right.extend((0..size).filter(|n| !missing(*n)).map(keyed));
    let started = Instant::now();
    let (mut begun, mut message) = Initiator::begin(&left, TimeMs(0)).unwrap();
    let mut bytes = 0;
    loop {
        let reply = answer(&right, TimeMs(0), &message).unwrap();
        bytes += message.len() + reply.len();
        let Some(next) = begun.hear(&left, &reply).unwrap() else {
            break;
        };
        message = next;
    }
    let (took, rounds) = (ms(started), begun.rounds());
    let found = begun.end().have.len() as u64;
    assert_eq!(found, (0..size).filter(|n| missing(*n)).count() as u64);
    report(
        &format!("{name}: round trips"),
        f64::from(rounds),
        "",
        "<= 4",
    );
    report(
        &format!("{name}: bytes both ways"),
        bytes as f64,
        "B",
        bytes_target,
    );
    report(&format!("{name}: both sides' time"), took, "ms", "");
    let (rounds, bytes) = alone(0..size, (0..size).filter(|n| !missing(*n)));
    report(&format!("{name}: the library alone"), bytes as f64, "B", "");
    report(
        &format!("{name}: the library's trips"),
        f64::from(rounds),
        "",
        "",
    );
}

fn main() {
    let only = std::env::args().skip(1).find(|a| !a.starts_with('-'));
    let wanted = |name: &str| only.as_ref().is_none_or(|o| name.contains(o.as_str()));
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    if wanted("hop") {
        runtime.block_on(one_hop());
    }
    if wanted("stop") {
        runtime.block_on(stop::stops(0));
        runtime.block_on(stop::stops(9));
    }
    if wanted("link") {
        runtime.block_on(sustained(true));
        runtime.block_on(sustained(false));
    }
    if wanted("steady") {
        runtime.block_on(steady());
    }
    if wanted("idle") {
        runtime.block_on(idle());
    }
    if wanted("chain") {
        runtime.block_on(chain(10));
    }
    if wanted("missed") {
        runtime.block_on(missed());
    }
    if wanted("reconcile") {
        let one = |n: u64| n == 777_777;
        reconcile("1M frames, one missing", 1_000_000, one, "<= 4096");
        let scattered = |n: u64| n.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32 < (1 << 32) / 100;
        reconcile("100k, 1 % scattered", 100_000, scattered, "<= 2x alone");
    }
    if wanted("mesh") {
        for size in [5, 10, 20, 50] {
            runtime.block_on(mesh(size));
        }
    }
}
