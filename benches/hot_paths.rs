//! The paths every frame and every decision takes, one by one. `make bench` runs them.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::hint::black_box;

use clawmesh::adapters::store::{Class, Store, StoreOptions, facts, frames};
use clawmesh::domain::admission::{TrustRecord, TrustView, admit};
use clawmesh::domain::base::canonical::{parse, to_canonical};
use clawmesh::domain::base::{
    DeviceId, Digest, EvidenceSource, FrameId, Hlc, MeshId, Tier, TimeMs,
};
use clawmesh::domain::capability::{Action, Params};
use clawmesh::domain::gate::actuation::{ExecutionRequest, rule};
use clawmesh::domain::gate::forward;
use clawmesh::domain::identity::DeviceKey;
use clawmesh::domain::policy::{
    self, EvidenceView, History, Level, Phase, Request, Requester, STARTER_POLICY, Terms,
};
use clawmesh::domain::proposal::{
    Evidence, ProposalRecord, RequestedBy, SignedProposal, record::evidence_digest,
};
use clawmesh::domain::wire::frame::{FrameSpec, Stamp};
use clawmesh::domain::wire::verify::{GoodSignatures, verify_frames};
use clawmesh::domain::wire::{Frame, FrameKind};
use clawmesh::domain::world::{Fact, Moment, SignatureState};
use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

fn frame(key: &DeviceKey, n: u64) -> Frame {
    let data =
        serde_json::json!({"zone": "zone-1", "metric": "moisture", "value": 21.8, "unit": "%"});
    let stamp = Stamp {
        frame_id: format!("f-{n}").parse::<FrameId>().unwrap(),
        now: TimeMs(1_795_000_000_000 + n),
        hlc: Hlc::new(TimeMs(1_795_000_000_000 + n), 0),
        seq: n,
    };
    FrameSpec {
        kind: FrameKind::Observation,
        data: data.as_object().unwrap().clone(),
        sources: vec![EvidenceSource::Sensor],
        tier: Tier::T2,
        taint: Default::default(),
        note: None,
    }
    .sign(key, "field-1", &MeshId::of_name("bench"), stamp)
    .unwrap()
}

fn frames_in(c: &mut Criterion) {
    let key = DeviceKey::from_seed(&[1; 32]);
    let mesh = MeshId::of_name("bench");
    let text = frame(&key, 1).to_wire(0).to_string();
    let value = parse(&text).unwrap();
    c.bench_function("frame: strict parse", |b| {
        b.iter(|| parse(black_box(&text)).unwrap())
    });
    c.bench_function("frame: canonical JSON", |b| {
        b.iter(|| to_canonical(black_box(&value)).unwrap())
    });
    let one = frame(&key, 1);
    c.bench_function("frame: canonical JSON and content hash", |b| {
        b.iter(|| black_box(&one).content(&mesh))
    });
    c.bench_function("frame: read and check", |b| {
        b.iter_batched(
            || value.clone(),
            |v| Frame::parse(v).unwrap(),
            BatchSize::SmallInput,
        );
    });
    c.bench_function("frame: compose and sign", |b| {
        b.iter(|| frame(black_box(&key), 1))
    });
    let mut group = c.benchmark_group("frame: verify a batch");
    for size in [1u64, 8, 64, 256, 512] {
        let batch: Vec<Frame> = (0..size).map(|n| frame(&key, n)).collect();
        group.throughput(Throughput::Elements(size));
        group.bench_with_input(BenchmarkId::from_parameter(size), &batch, |b, batch| {
            let key_of = |_: &DeviceId| Some(*key.public());
            b.iter_batched(
                || batch.clone(),
                |batch| verify_frames(batch, &mesh, key_of, &mut GoodSignatures::default()),
                BatchSize::LargeInput,
            );
        });
    }
    group.finish();
}

fn policies(c: &mut Criterion) {
    let own = DeviceId::of_public_key(&[1; 32]);
    let policy = policy::load(STARTER_POLICY).unwrap();
    let params = Params::from([("durationSec".to_owned(), 10.into())]);
    let action = Action::new("actuator:mock:valve-1".parse().unwrap(), "open", params).unwrap();
    let now = TimeMs(1_795_000_000_000);
    let facts: Vec<Fact> = (0..100)
        .map(|n| Fact {
            metric: if n == 0 {
                "tank.level".into()
            } else {
                format!("metric-{n}")
            },
            zone: None,
            origin: own.clone(),
            value: 50.0,
            unit: None,
            frame_id: format!("f-{n}").parse().unwrap(),
            content: Digest::of(&[b"f"]),
            claimed: Tier::T2,
            effective: Tier::T2,
            signature: SignatureState::Verified,
            taint: Default::default(),
            sensed_at: now,
            received_at: now,
            private: false,
        })
        .collect();
    let evidence = [EvidenceView {
        origin: own.clone(),
        effective: Tier::T2,
        age_ms: 5,
        signature: SignatureState::Verified,
    }];
    let taint = Default::default();
    let request = Request {
        action: &action,
        requester: Requester::Rules,
        from: &own,
        taint: &taint,
        evidence: &evidence,
        phase: Phase::Propose,
        by_gen1: false,
        now_set: None,
    };
    let history = History::default();
    c.bench_function("policy: evaluate over 100 facts", |b| {
        b.iter(|| policy.evaluate(black_box(&request), &facts, &history, now, &own));
    });
    c.bench_function("policy: load and test the starter", |b| {
        b.iter(|| policy::load(black_box(STARTER_POLICY)).unwrap())
    });
}

struct Trusting(TrustRecord);

impl TrustView for Trusting {
    fn record(&self, device: &DeviceId) -> Option<&TrustRecord> {
        (self.0.device_id == *device).then_some(&self.0)
    }
}

fn admission(c: &mut Criterion) {
    let key = DeviceKey::from_seed(&[1; 32]);
    let mesh = MeshId::of_name("bench");
    let now = TimeMs(1_795_000_000_000);
    let record = TrustRecord::new(
        key.id().clone(),
        Some(*key.public()),
        None,
        "observe:T2".parse().unwrap(),
        now,
    );
    let trust = Trusting(record);
    let verified = verify_frames(
        vec![frame(&key, 1)],
        &mesh,
        |_| Some(*key.public()),
        &mut GoodSignatures::default(),
    )
    .remove(0)
    .unwrap();
    c.bench_function("frame: admit", |b| {
        b.iter_batched(
            || verified.clone(),
            |v| admit(v, key.id(), &trust, now).unwrap(),
            BatchSize::SmallInput,
        );
    });
}

fn row(frame: &Frame, json: &str, n: u64) -> frames::NewFrame {
    frames::NewFrame {
        content: Digest::of(&[&n.to_be_bytes()]),
        origin: frame.origin.clone(),
        frame_id: format!("f-{n}").parse().unwrap(),
        kind: frame.kind,
        claimed_at: frame.timestamp,
        time: frame.timestamp,
        received_at: frame.timestamp,
        hlc: frame.hlc,
        origin_seq: Some(n),
        claimed_tier: Tier::T2,
        effective_tier: Tier::T2,
        signed: true,
        signature: SignatureState::Verified,
        tainted: false,
        hops: 0,
        link_peer: Some(frame.origin.clone()),
        ahead: false,
        private: false,
        metric: frame
            .data()
            .get("metric")
            .and_then(|m| m.as_str())
            .map(str::to_owned),
        json: json.into(),
    }
}

const AT: Moment = Moment {
    lost: TimeMs(0),
    wall: TimeMs(1 << 41),
    steady: TimeMs(1 << 41),
};

fn fact(origin: &DeviceId, n: u64) -> facts::NewFact {
    facts::NewFact {
        metric: format!("metric-{n}"),
        zone: Some("zone-1".into()),
        origin: origin.clone(),
        value: Some(50.0),
        text: None,
        unit: Some("%".into()),
        frame_seq: n,
        frame_id: format!("f-{n}").parse().unwrap(),
        content: Digest::of(&[b"f"]),
        claimed: Tier::T2,
        effective: Tier::T2,
        signature: SignatureState::Verified,
        tainted: false,
        time: TimeMs(1_795_000_000_000),
        hlc: None,
        received_at: TimeMs(1_795_000_000_000),
        private: false,
    }
}

fn store(c: &mut Criterion) {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&dir.path().join("bench.db"), StoreOptions::default()).unwrap();
    let sample = frame(&DeviceKey::from_seed(&[1; 32]), 1);
    let json = sample.to_stored_text();
    let mut next = 0;
    for (name, class) in [("relaxed", Class::Relaxed), ("durable", Class::Durable)] {
        let mut group = c.benchmark_group(format!("store: insert frames, {name}"));
        for size in [1u64, 100, 512] {
            group.throughput(Throughput::Elements(size));
            group.bench_function(BenchmarkId::from_parameter(size), |b| {
                b.iter_batched(
                    || {
                        next += size;
                        (next - size..next)
                            .map(|n| row(&sample, &json, n))
                            .collect::<Vec<_>>()
                    },
                    |rows| {
                        let insert = move |conn: &rusqlite::Connection| {
                            rows.iter()
                                .try_for_each(|r| frames::insert(conn, r).map(drop))
                        };
                        store.write_blocking(class, "bench", insert).unwrap();
                    },
                    BatchSize::LargeInput,
                );
            });
        }
        group.finish();
    }
    let origin = sample.origin.clone();
    let fill = move |conn: &rusqlite::Connection| {
        (0..100).try_for_each(|n| facts::upsert(conn, &fact(&origin, n), AT.wall).map(drop))
    };
    store.write_blocking(Class::Relaxed, "bench", fill).unwrap();
    c.bench_function("store: read 100 numeric facts", |b| {
        b.iter(|| {
            store
                .read_blocking("bench", |c| facts::numeric(c, AT))
                .unwrap()
        })
    });
    c.bench_function("store: newest 50 frames", |b| {
        let filter = frames::FrameFilter::default();
        b.iter(|| {
            store
                .read_blocking("bench", |conn| frames::page(conn, &filter))
                .unwrap()
        })
    });
}

fn gates(c: &mut Criterion) {
    let own = DeviceId::of_public_key(&[2; 32]);
    let now = TimeMs(1_795_000_000_000);
    let trust = serde_json::json!({
        "action_type": "actuation", "evidence_sources": ["sensor", "human"],
        "evidence_trust_tier": "T3_verified_action_evidence",
        "minimum_trust_tier": "T2_operational_observation",
        "verification_required": "human", "verification_satisfied": true,
    });
    let params = serde_json::json!({
        "channel": "clawmesh", "to": "actuator:mock:valve-1", "originGatewayId": "bench",
        "idempotencyKey": "k-1", "trust": trust,
        "command": {
            "version": 1, "kind": "clawmesh.command", "commandId": "c-1", "createdAtMs": now,
            "source": {"nodeId": "bench", "role": "operator"},
            "target": {"kind": "capability", "ref": "actuator:mock:valve-1"},
            "operation": {"name": "open", "params": {"durationSec": 10}}, "trust": trust,
        },
    });
    let params = params.as_object().unwrap();
    forward::check(params, &own, now).unwrap();
    c.bench_function("gate: a forwarded command, steps 1 to 7", |b| {
        b.iter(|| forward::check(black_box(params), &own, now).unwrap())
    });

    let record = proposal(&own, now);
    let action = record.action();
    let terms = Terms {
        rule: "valves".into(),
        class: clawmesh::domain::policy::Class::OwnRules,
        level: Level::L1,
        quorum: 1,
        at_node: false,
        kind: Default::default(),
        deadline_ms: 20_000,
        run_ms: 10_000,
        safe_state: "close".into(),
        fresh_for_ms: None,
        tier: Some(Tier::T2),
        min_tier: Tier::T2,
        standing: Err(String::new()),
        checks: Vec::new(),
    };
    let (digest, taint) = (Digest::of(&[b"p"]), Default::default());
    let sources = [EvidenceSource::Sensor].into();
    let request = ExecutionRequest {
        proposal_id: &record.proposal_id,
        digest: &digest,
        executor: &own,
        own: &own,
        asked_by: &own,
        action: &action,
        level: Level::L1,
        quorum: 1,
        at_node: false,
        run_ms: 1_000,
        taint: &taint,
        sources: &sources,
        by_gen1: false,
        replaces: None,
        expires_at: now.plus(1_000),
    };
    c.bench_function("gate: the executor's ruling", |b| {
        b.iter(|| rule(black_box(&request), &terms, &[], true, now))
    });
    let key = DeviceKey::from_seed(&[1; 32]);
    c.bench_function("proposal: mint and sign", |b| {
        b.iter_batched(
            || record.clone(),
            |record| SignedProposal::mint(record, &key).unwrap(),
            BatchSize::SmallInput,
        );
    });
}

fn proposal(own: &DeviceId, now: TimeMs) -> ProposalRecord {
    let evidence: Vec<Evidence> = (0..3)
        .map(|n| Evidence {
            frame_id: format!("f-{n}").parse().unwrap(),
            content: Digest::of(&[b"f"]),
            origin: own.clone(),
            kind: FrameKind::Observation,
            summary: "moisture in zone-1 = 17.9%".into(),
            claimed_tier: Tier::T2,
            effective_tier: Tier::T2,
            signature: SignatureState::Verified,
            taint: Default::default(),
            sensed_at: now,
            age_ms: 5,
            interlock: false,
        })
        .collect();
    ProposalRecord {
        version: 1,
        mesh_id: MeshId::of_name("bench"),
        executor: own.clone(),
        proposal_id: "p-1".parse().unwrap(),
        nonce: "AAAAAAAAAAAAAAAAAAAAAA".into(),
        draft_id: "d-1".parse().unwrap(),
        requested_by: RequestedBy {
            device_id: own.clone(),
            kind: Requester::Rules,
            name: "dry-soil".into(),
        },
        target: "actuator:mock:valve-1".parse().unwrap(),
        operation: "open".into(),
        params: Params::from([("durationSec".to_owned(), 10.into())]),
        reason: "moisture in zone-1 is 17.9%, below 20%".into(),
        level: Level::L2,
        quorum: 1,
        at_node: false,
        rule: "valves".into(),
        taint: Default::default(),
        policy_digest: Digest::of(&[b"policy"]),
        evidence_digest: evidence_digest(&evidence),
        evidence,
        run_ms: 10_000,
        safe_state: "close".into(),
        gen1: None,
        slot: None,
        led_by: None,
        kind: None,
        created_at: now,
        expires_at: now.plus(1_800_000),
    }
}

criterion_group!(benches, frames_in, admission, policies, gates, store);
criterion_main!(benches);
