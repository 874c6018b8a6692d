//! The paths every frame and every decision takes, one by one. `make bench` runs them.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::hint::black_box;

use clawmesh::domain::base::canonical::{parse, to_canonical};
use clawmesh::domain::base::{DeviceId, EvidenceSource, FrameId, Hlc, MeshId, Tier, TimeMs};
use clawmesh::domain::capability::{Action, Params};
use clawmesh::domain::identity::DeviceKey;
use clawmesh::domain::policy::{
    self, EvidenceView, History, Phase, Request, Requester, STARTER_POLICY,
};
use clawmesh::domain::wire::frame::{FrameSpec, Stamp};
use clawmesh::domain::wire::verify::verify_frames;
use clawmesh::domain::wire::{Frame, FrameKind};
use clawmesh::domain::world::{Fact, SignatureState};
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

fn frames(c: &mut Criterion) {
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
                |batch| verify_frames(batch, &mesh, key_of),
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
            content: clawmesh::domain::base::Digest::of(&[b"f"]),
            claimed: Tier::T2,
            effective: Tier::T2,
            signature: SignatureState::Verified,
            taint: Default::default(),
            sensed_at: now,
            received_at: now,
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
        taint: &taint,
        evidence: &evidence,
        phase: Phase::Propose,
    };
    let history = History::default();
    c.bench_function("policy: evaluate over 100 facts", |b| {
        b.iter(|| policy.evaluate(black_box(&request), &facts, &history, now, &own));
    });
    c.bench_function("policy: load and test the starter", |b| {
        b.iter(|| policy::load(black_box(STARTER_POLICY)).unwrap())
    });
}

criterion_group!(benches, frames, policies);
criterion_main!(benches);
