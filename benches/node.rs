//! What a node costs and how fast it is: start, memory, handshake, ingest, approval, queries.
//!
//! Run by `scripts/bench`; prints one line per measurement, `name value unit target`. It asserts
//! nothing: a slow machine is not a wrong program.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout
)]
#![allow(clippy::disallowed_methods, dead_code)]

#[path = "../tests/it/harness.rs"]
mod harness;

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use clawmesh::adapters::store::frames::Inserted;
use clawmesh::adapters::store::{Class, facts, frames, proposals as stored, shares};
use clawmesh::domain::base::limits::{BUDGET_FACTS, BUDGET_MIRRORS};
use clawmesh::domain::base::{EvidenceSource, FrameId, Hlc, MeshId, Tier, TimeMs};
use clawmesh::domain::capability::{Action, Capability, Params};
use clawmesh::domain::gate::Decision;
use clawmesh::domain::gate::approval::Verdict;
use clawmesh::domain::identity::{DeviceKey, OperatorKey};
use clawmesh::domain::plan::Draft;
use clawmesh::domain::policy::{Requester, STARTER_POLICY};
use clawmesh::domain::proposal::Status;
use clawmesh::domain::wire::frame::{FrameSpec, Stamp};
use clawmesh::domain::wire::{Frame, FrameKind};
use clawmesh::node::{Handles, frame_log, proposals};
use futures_util::SinkExt as _;
use harness::*;
use serde_json::json;
use tokio_tungstenite::tungstenite::Message;

/// The store of the crowded node, and the flood that uses up a share of it several times.
const CROWD_STORE_BYTES: u64 = 64 << 20;
const CROWD_FRAME_BYTES: usize = 2_000;
const CROWD_FRAMES: u64 = 16_384;
const FLOOD_FRAMES: u64 = 500_000;

fn report(name: &str, value: f64, unit: &str, target: &str) {
    println!("{name:<34} {value:>12.2} {unit:<9} {target}");
}

fn quantile(times: &mut [f64], q: f64) -> f64 {
    times.sort_by(f64::total_cmp);
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss
    )]
    let at = ((times.len() - 1) as f64 * q).round() as usize;
    times[at]
}

fn ms(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1_000.0
}

fn resident_mib(pid: u32) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status
        .lines()
        .find(|l| l.starts_with("VmRSS:"))
        .unwrap_or_default();
    line.split_whitespace()
        .nth(1)
        .and_then(|k| k.parse::<f64>().ok())
        .unwrap_or(0.0)
        / 1_024.0
}

/// The time from the start of the real binary to its line that says where it listens, of eleven starts after a first one,
/// and the memory that the last one took after three seconds.
fn starts(state: &std::path::Path, mesh: &str) -> (Vec<f64>, f64) {
    let mut times = Vec::new();
    let mut memory = 0.0;
    for round in 0..12 {
        let started = Instant::now();
        let mut child = Command::new(env!("CARGO_BIN_EXE_clawmesh-node"))
            .args(["start", "--port", "0", "--mesh-name", mesh])
            .args(["--no-discovery", "--state-dir"])
            .arg(state)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        assert!(line.contains("listens"), "{line}");
        if round > 0 {
            times.push(ms(started));
        }
        if round == 11 {
            std::thread::park_timeout(Duration::from_secs(3));
            memory = resident_mib(child.id());
        }
        child.kill().unwrap();
        child.wait().unwrap();
    }
    (times, memory)
}

/// A state directory that has run before.
fn start_and_memory() {
    let dir = tempfile::tempdir().unwrap();
    let (mut times, memory) = starts(&dir.path().join("state"), "bench");
    report(
        "cold start to listening, p50",
        quantile(&mut times, 0.5),
        "ms",
        "<= 50",
    );
    report("idle resident memory", memory, "MiB", "<= 25");
}

async fn handshakes() {
    let node = centre().trusting(key(5), "read").start().await;
    let mut times = Vec::new();
    for _ in 0..400 {
        let mut probe = Probe::open(node.address).await;
        let started = Instant::now();
        let reply = probe.handshake(&key(5), MESH, |_| {}).await;
        times.push(ms(started));
        assert_eq!(reply["ok"], true);
    }
    report("handshake, p50", quantile(&mut times, 0.5), "ms", "<= 1");
    report("handshake, p99", quantile(&mut times, 0.99), "ms", "");
    node.stop().await;
}

fn signed(key: &DeviceKey, n: u64, now: TimeMs) -> Frame {
    let data = json!({
        "zone": "zone-1", "metric": "moisture", "value": 21.8, "unit": "%", "threshold": 20, "status": "low",
    });
    let stamp = Stamp {
        frame_id: FrameId::from(uuid::Uuid::new_v4()),
        now,
        hlc: Hlc::new(now, 0),
        seq: n,
    };
    FrameSpec {
        kind: FrameKind::Observation,
        data: data.as_object().unwrap().clone(),
        sources: vec![EvidenceSource::Sensor],
        tier: Tier::T2,
        taint: Default::default(),
        note: Some("Soil moisture in zone-1: 21.8% (low)".into()),
    }
    .sign(key, "field-1", &MeshId::of_name(MESH), stamp)
    .unwrap()
}

/// One peer sends signed frames as fast as the node reads; all of them must be stored.
async fn ingest() {
    const FRAMES: u64 = 150_000;
    let node = centre().trusting(key(5), "observe:T2").start().await;
    let now = node.shared().now();
    let source = key(5);
    let texts: Vec<String> = (0..FRAMES)
        .map(|n| json!({"type": "event", "event": "context.frame", "payload": signed(&source, n, now).to_wire(0)}).to_string())
        .collect();
    let bytes: usize = texts.iter().map(String::len).sum();
    let mut probe = Probe::connect(node.address, &source, MESH).await;
    let before = resident_mib(std::process::id());
    let mut most = before;
    let started = Instant::now();
    for chunk in texts.chunks(512) {
        for text in chunk {
            probe
                .socket
                .feed(Message::text(text.clone()))
                .await
                .unwrap();
        }
        probe.socket.flush().await.unwrap();
        most = most.max(resident_mib(std::process::id()));
    }
    let sent = started.elapsed();
    while node.shared().metrics.frames_stored.get() < FRAMES {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let seconds = started.elapsed().as_secs_f64();
    let stored = node
        .shared()
        .store
        .read("bench", frames::count)
        .await
        .unwrap();
    #[allow(clippy::cast_precision_loss)]
    let (frames, size) = (FRAMES as f64, bytes as f64 / FRAMES as f64);
    report("frame size on the wire", size, "bytes", "");
    report(
        "verified, admitted, stored",
        frames / seconds,
        "frames/s",
        ">= 40000",
    );
    report(
        "sender slowed: sending took",
        100.0 * sent.as_secs_f64() / seconds,
        "% of it",
        "",
    );
    #[allow(clippy::cast_precision_loss)]
    report(
        "flood: sent and not stored",
        frames - stored as f64,
        "frames",
        "0",
    );
    report("flood: memory grew by", most - before, "MiB", "");
    node.stop().await;
}

/// One device uses up what it can make a node keep.
async fn crowd(shared: &Handles) {
    let own = until("a reading", || async {
        let at = shared.moment();
        let read = shared.store.read("bench", move |c| facts::numeric(c, at));
        let facts = read.await.unwrap();
        facts.into_iter().find(|f| f.metric == "moisture")
    })
    .await;
    let draft = Draft {
        draft_id: uuid::Uuid::new_v4().into(),
        action: Action::new(
            "actuator:mock:valve-1".parse().unwrap(),
            "open",
            Params::from([("durationSec".to_owned(), 5.into())]),
        )
        .unwrap(),
        reason: "crowd".into(),
        requester: Requester::Person,
        requester_name: "bench".into(),
        taint: Default::default(),
        cites: vec![own.frame_id.clone()],
        origins: Default::default(),
        slot: None,
        led_by: None,
        created_at: shared.now(),
        expires_at: shared.now().plus(60_000),
    };
    let minted = proposals::mint(shared, draft, shared.own_id()).await;
    let record = minted.unwrap().signed.record().proposal_id.clone();
    proposals::withdraw(shared, record.clone(), "bench".into())
        .await
        .unwrap();
    let (id, now) = (key(9).id().clone(), shared.now());
    let write = move |c: &rusqlite::Connection| {
        for n in 0..BUDGET_FACTS {
            let frame = row("{}", &id, n, now);
            let Inserted::Stored(frame_seq) = frames::insert(c, &frame)? else {
                continue;
            };
            let fact = facts::NewFact {
                metric: "moisture".into(),
                zone: Some(format!("zone-{n}")),
                origin: id.clone(),
                value: Some(1.0),
                text: None,
                unit: None,
                frame_seq,
                frame_id: frame.frame_id,
                content: frame.content,
                claimed: frame.claimed_tier,
                effective: frame.effective_tier,
                signature: frame.signature,
                tainted: false,
                time: now,
                hlc: None,
                received_at: now,
                private: false,
            };
            facts::upsert_for(c, &fact, &id, now)?;
        }
        let known = stored::get(c, &record)?.unwrap();
        for n in 0..BUDGET_MIRRORS {
            let mirror = stored::NewProposal {
                id: format!("mirror-{n}").parse().unwrap(),
                executor: id.clone(),
                intent_key: format!("mirror-{n}"),
                status: Status::AwaitingApproval,
                level: known.level,
                target: known.target.clone(),
                operation: known.operation.clone(),
                record: known.record.clone(),
                digest: known.digest,
                signature: known.signature.clone(),
                own: false,
                created_at: now,
                expires_at: now.plus(3_600_000),
                updated_at: now,
                draft_id: format!("mirror-{n}").parse().unwrap(),
            };
            stored::insert(c, &mirror)?;
        }
        Ok(())
    };
    let written = shared.store.write(Class::Relaxed, "crowd", write).await;
    written.unwrap();
}

/// What another device does while decisions are measured.
#[derive(Clone, Copy, PartialEq)]
enum Beside {
    Nothing,
    /// It has used up each of its shares.
    UsedUp,
    /// It has, and sends as fast as the node reads.
    Flood,
}

/// From the decision to the valve being open, fsyncs included.
#[allow(clippy::too_many_lines, reason = "one measurement with its set-up")]
async fn approvals(beside: Beside) {
    let crowded = beside != Beside::Nothing;
    const ROUNDS: usize = 120;
    let operator = OperatorKey::from_seed(&[77; 32]);
    let mut setup = field().with_operator(OperatorKey::from_seed(&[77; 32]), "L2");
    let policy = STARTER_POLICY.replace("runs_per_hour = 60", "runs_per_hour = 100000");
    setup.policy = Some(policy.replace("minutes_per_day = 120", "minutes_per_day = 100000"));
    if crowded {
        setup.raw.store.max_bytes = Some(CROWD_STORE_BYTES);
        setup = setup.trusting(key(9), "observe:T2");
    }
    let node = setup.start().await;
    let shared = node.shared();
    if crowded {
        crowd(shared).await;
        fill(shared, BUDGET_FACTS).await;
    }
    let flooding = match beside == Beside::Flood {
        true => Some(flood(&node).await),
        false => None,
    };
    let valve: Capability = "actuator:mock:valve-1".parse().unwrap();
    let mut times = Vec::new();
    for _ in 0..ROUNDS {
        let cites = until("readings", || async {
            let at = shared.moment();
            let read = shared.store.read("bench", move |c| facts::numeric(c, at));
            let facts = read.await.unwrap();
            let tank = facts.iter().any(|f| f.metric == "tank.level");
            facts
                .into_iter()
                .find(|f| tank && f.metric == "moisture")
                .map(|f| vec![f.frame_id])
        })
        .await;
        let now = shared.now();
        let params = Params::from([("durationSec".to_owned(), 20.into())]);
        let draft = Draft {
            draft_id: uuid::Uuid::new_v4().into(),
            action: Action::new(valve.clone(), "open", params).unwrap(),
            reason: "bench".into(),
            requester: Requester::Person,
            requester_name: "bench".into(),
            taint: Default::default(),
            cites,
            origins: Default::default(),
            slot: None,
            led_by: None,
            created_at: now,
            expires_at: now.plus(60_000),
        };
        let minted = proposals::mint(shared, draft, shared.own_id())
            .await
            .unwrap();
        let record = minted.signed.record();
        let id = record.proposal_id.clone();
        let started = Instant::now();
        let decision = Decision {
            verdict: Verdict::Approve,
            mesh_id: record.mesh_id.clone(),
            executor: record.executor.clone(),
            proposal_id: id.clone(),
            digest: *minted.signed.digest(),
            operator_id: operator.id().clone(),
            decided_at: shared.now(),
            note: None,
            channel: None,
            at_node: None,
        };
        proposals::decide(shared, decision.sign(&operator))
            .await
            .unwrap();
        while shared.guards.position(&valve).await.unwrap().unwrap() != "open" {
            tokio::task::yield_now().await;
        }
        times.push(ms(started));
        until("it takes the stop", || async {
            proposals::stop(shared, id.as_str(), "bench").await.ok()
        })
        .await;
        until("it ended", || async {
            let id = id.clone();
            let row = shared
                .store
                .read("bench", move |c| {
                    clawmesh::adapters::store::proposals::get(c, &id)
                })
                .await;
            (!row.unwrap().unwrap().status.is_open()).then_some(())
        })
        .await;
    }
    if let Some(flooding) = flooding {
        assert!(
            !flooding.is_finished(),
            "the flood ended before the measurement"
        );
        flooding.abort();
    }
    let (beside, target) = match beside {
        Beside::Nothing => ("", "<= 30"),
        Beside::UsedUp => (", a device's shares used up", "<= 30"),
        Beside::Flood => (", and it floods", ""),
    };
    report(
        &format!("approve to valve open{beside}, p50"),
        quantile(&mut times, 0.5),
        "ms",
        "",
    );
    report(
        &format!("approve to valve open{beside}, p99"),
        quantile(&mut times, 0.99),
        "ms",
        target,
    );
    node.stop().await;
}

/// Queries over a link with a million frames stored.
async fn queries() {
    const FRAMES: u64 = 1_000_000;
    let node = centre().trusting(key(5), "observe:T2,read").start().await;
    let shared = node.shared();
    let now = shared.now();
    let json = signed(&key(5), 0, now).to_stored_text();
    let started = Instant::now();
    for batch in 0..FRAMES / 5_000 {
        let (json, origin) = (json.clone(), key(5).id().clone());
        let fill = move |c: &rusqlite::Connection| {
            for n in 0..5_000u64 {
                let n = batch * 5_000 + n;
                frames::insert(c, &row(&json, &origin, n, now))?;
            }
            Ok(())
        };
        shared
            .store
            .write(Class::Relaxed, "bench", fill)
            .await
            .unwrap();
    }
    #[allow(clippy::cast_precision_loss)]
    report(
        "store inserts, batches of 5000",
        FRAMES as f64 / started.elapsed().as_secs_f64(),
        "rows/s",
        "",
    );
    let mut probe = Probe::connect(node.address, &key(5), MESH).await;
    for (name, method, params, target) in [
        (
            "world query of 50, p50",
            "mesh.world.query",
            json!({}),
            "<= 1",
        ),
        (
            "world query of one kind, p50",
            "mesh.world.query",
            json!({"kind": "observation", "limit": 50}),
            "",
        ),
        ("ping over the link, p50", "mesh.ping", json!({}), ""),
    ] {
        let mut times = Vec::new();
        for _ in 0..500 {
            let started = Instant::now();
            let reply = probe.ask(method, params.clone()).await;
            times.push(ms(started));
            assert_eq!(reply["ok"], true, "{reply}");
        }
        report(name, quantile(&mut times, 0.5), "ms", target);
    }
    let dir = node.stop().await;
    let (mut times, memory) = starts(dir.path(), MESH);
    let p50 = quantile(&mut times, 0.5);
    report(
        "start with 1,000,000 frames stored, p50",
        p50,
        "ms",
        "<= 50",
    );
    report("resident memory with them", memory, "MiB", "");
}

fn row(
    json: &str,
    origin: &clawmesh::domain::base::DeviceId,
    n: u64,
    now: TimeMs,
) -> frames::NewFrame {
    use clawmesh::domain::base::{Digest, SignatureState};
    frames::NewFrame {
        content: Digest::of(&[&n.to_be_bytes()]),
        origin: origin.clone(),
        frame_id: format!("bench-{n}").parse().unwrap(),
        kind: FrameKind::Observation,
        claimed_at: TimeMs(now.0.saturating_sub(1_000_000) + n / 1_000),
        time: TimeMs(now.0.saturating_sub(1_000_000) + n / 1_000),
        received_at: now,
        hlc: None,
        origin_seq: Some(n),
        claimed_tier: Tier::T2,
        effective_tier: Tier::T2,
        signed: true,
        signature: SignatureState::Verified,
        tainted: false,
        hops: 0,
        link_peer: Some(origin.clone()),
        ahead: false,
        private: false,
        metric: serde_json::from_str::<serde_json::Value>(json).unwrap()["data"]["metric"]
            .as_str()
            .map(str::to_owned),
        json: json.into(),
    }
}

/// The crowding device sends as fast as the node reads, until it is aborted.
async fn flood(node: &TestNode) -> tokio::task::JoinHandle<()> {
    let source = key(9);
    let now = node.shared().now();
    // Signed before anything is measured; more than the link takes meanwhile.
    let texts: Vec<String> = (0..FLOOD_FRAMES)
        .map(|n| json!({"type": "event", "event": "context.frame", "payload": signed(&source, n, now).to_wire(0)}).to_string())
        .collect();
    let mut probe = Probe::connect(node.address, &source, MESH).await;
    tokio::spawn(async move {
        for text in texts {
            probe.socket.send(Message::text(text)).await.unwrap();
        }
    })
}

/// Frames of the crowding device, in the room for frames, until its share of them is used up.
async fn fill(shared: &Handles, from: u64) {
    let (id, now) = (key(9).id().clone(), shared.now());
    let most = frame_log::most(shared);
    let text = format!("{{\"pad\":\"{}\"}}", "x".repeat(CROWD_FRAME_BYTES));
    for batch in 0..CROWD_FRAMES / 256 {
        let (id, text) = (id.clone(), text.clone());
        let write = move |c: &rusqlite::Connection| {
            let mut room = shares::Batch::begin(c)?;
            for n in 0..256 {
                if room.admits(c, text.len())? {
                    frames::insert(c, &row(&text, &id, from + batch * 256 + n, now))?;
                }
            }
            room.end(c, most).map(drop)
        };
        shared
            .store
            .write(Class::Relaxed, "crowd", write)
            .await
            .unwrap();
    }
}

/// With an argument only the measurements whose name holds it: `cargo bench --bench node -- approvals`.
fn main() {
    let only = std::env::args().skip(1).find(|arg| !arg.starts_with('-'));
    let runs = |name: &str| only.as_ref().is_none_or(|only| name.contains(only));
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    if runs("start") {
        start_and_memory();
    }
    if runs("handshakes") {
        runtime.block_on(handshakes());
    }
    if runs("ingest") {
        runtime.block_on(ingest());
    }
    if runs("approvals") {
        for beside in [Beside::Nothing, Beside::UsedUp, Beside::Flood] {
            runtime.block_on(approvals(beside));
        }
    }
    if runs("queries") {
        runtime.block_on(queries());
    }
}
