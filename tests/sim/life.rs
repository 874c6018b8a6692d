//! What happens in a world: people ask and decide, things break, and in the end all is mended.

use std::time::Duration;

use clawmesh::domain::base::{DraftId, TimeMs};
use clawmesh::domain::capability::{Action, Params};
use clawmesh::domain::gate::approval::{Decision, Verdict};
use clawmesh::domain::identity::OperatorKey;
use clawmesh::domain::plan::Draft;
use clawmesh::domain::policy::Requester;
use clawmesh::node::proposals;

use crate::checks;
use crate::world::{World, jump, revoke};

/// How long things go wrong, and how long the world then has to come to rest, in virtual seconds.
const TROUBLE_SECS: u64 = 90;
const REST_SECS: u64 = 600;
/// The longest an action may still take when trouble ends, in virtual seconds.
const ACTIONS_END_SECS: u64 = 40;

/// What a seed showed.
pub struct Report {
    pub seed: u64,
    pub wrong: Vec<String>,
    pub faults: std::collections::BTreeMap<&'static str, u64>,
    pub digest: (u64, u64),
    pub virtual_ms: u64,
    pub opened: usize,
    pub minted: usize,
}

pub fn run(seed: u64) -> Report {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    runtime.block_on(live(seed))
}

async fn live(seed: u64) -> Report {
    let mut world = World::new(seed);
    for at in 0..world.places.len() {
        assert!(world.start(at).await, "{:?}", world.wrong);
    }
    while world.trace.now_ms() < TROUBLE_SECS * 1_000 {
        let pause = 20 + world.rng.below(750);
        tokio::time::sleep(Duration::from_millis(pause)).await;
        match world.rng.below(10) {
            0..=2 => ask(&world),
            3..=6 => decide(&world),
            7 => misuse(&world),
            _ => trouble(&mut world).await,
        }
    }
    rest(&mut world).await;
    checks::all(&mut world).await;
    let report = Report {
        seed,
        faults: std::mem::take(&mut world.faults),
        digest: world.trace.digest(),
        virtual_ms: world.trace.now_ms(),
        opened: world
            .strokes
            .lock()
            .unwrap()
            .iter()
            .filter(|s| s.opens)
            .count(),
        minted: world.promised.lock().unwrap().minted.len(),
        wrong: std::mem::take(&mut world.wrong),
    };
    world.end().await;
    report
}

/// Somebody wants water somewhere.
fn ask(world: &World) {
    let at = world.rng.index(world.places.len());
    let Some(shared) = world.shared(at) else {
        return;
    };
    let now = shared.now();
    let seconds = 1 + i64::try_from(world.rng.below(20)).unwrap();
    let params = Params::from([("durationSec".to_owned(), seconds.into())]);
    let requester = [Requester::Person, Requester::Llm, Requester::Rules][world.rng.index(3)];
    let mut id = [0_u8; 16];
    id[..8].copy_from_slice(&world.rng.next().to_le_bytes());
    id[8..].copy_from_slice(&world.rng.next().to_le_bytes());
    let draft = Draft {
        draft_id: DraftId::from(uuid::Builder::from_random_bytes(id).into_uuid()),
        action: Action::new("actuator:sim:valve".parse().unwrap(), "open", params).unwrap(),
        reason: "dry".into(),
        requester,
        requester_name: "ada".into(),
        taint: Default::default(),
        cites: Vec::new(),
        created_at: now,
        expires_at: now.plus(120_000),
    };
    let (promised, trace, tasks) = (
        world.promised.clone(),
        world.trace.clone(),
        shared.tasks.clone(),
    );
    tasks.passing("person", async move {
        match proposals::mint(&shared, draft, shared.own_id()).await {
            Ok(minted) => {
                let id = minted.signed.record().proposal_id.clone();
                trace.note(format!("n{at} minted {id}"));
                promised
                    .lock()
                    .unwrap()
                    .minted
                    .insert(id, (at, minted.signed));
            }
            Err(refusal) => trace.note(format!("n{at} refused a wish: {}", refusal.code)),
        }
    });
}

fn choose(world: &World) -> Option<(usize, clawmesh::domain::proposal::SignedProposal)> {
    let promised = world.promised.lock().unwrap();
    let recent: Vec<_> = promised.minted.values().collect();
    (!recent.is_empty()).then(|| recent[world.rng.index(recent.len())].clone())
}

fn sign(
    world: &World,
    signed: &clawmesh::domain::proposal::SignedProposal,
    key: &OperatorKey,
    at: TimeMs,
) -> clawmesh::domain::gate::approval::SignedDecision {
    let record = signed.record();
    let verdict = if world.rng.chance(85) {
        Verdict::Approve
    } else {
        Verdict::Reject
    };
    Decision {
        verdict,
        mesh_id: record.mesh_id.clone(),
        executor: record.executor.clone(),
        proposal_id: record.proposal_id.clone(),
        digest: *signed.digest(),
        operator_id: key.id().clone(),
        decided_at: at,
        note: None,
    }
    .sign(key)
}

/// A person decides, at whichever node they stand.
fn decide(world: &World) {
    let Some((executor, proposal)) = choose(world) else {
        return;
    };
    let at = if world.rng.chance(50) {
        executor
    } else {
        world.rng.index(world.places.len())
    };
    let key = &world.operators[world.rng.index(world.operators.len())];
    let Some(shared) = world.shared(at) else {
        return;
    };
    let decision = sign(world, &proposal, key, shared.now());
    let (promised, trace, tasks) = (
        world.promised.clone(),
        world.trace.clone(),
        shared.tasks.clone(),
    );
    promised.lock().unwrap().decisions.push(decision.clone());
    tasks.passing("person", async move {
        let id = decision.decision.proposal_id.clone();
        match proposals::decide(&shared, decision).await {
            Ok(_) => {
                trace.note(format!("n{at} decided {id}"));
                promised.lock().unwrap().decided.insert(id);
            }
            Err(refusal) => trace.note(format!(
                "n{at} refused a decision on {id}: {}",
                refusal.code
            )),
        }
    });
}

/// Somebody tries what must never work: a foreign key, another digest, an old approval elsewhere.
fn misuse(world: &World) {
    let Some((executor, proposal)) = choose(world) else {
        return;
    };
    let Some(shared) = world.shared(executor) else {
        return;
    };
    let stranger = OperatorKey::from_seed(&[250; 32]);
    let mut decision = sign(world, &proposal, &stranger, shared.now());
    match world.rng.below(4) {
        0 => {}
        1 => decision.decision.operator_id = world.operators[0].id().clone(),
        kind => {
            let promised = world.promised.lock().unwrap();
            if promised.decisions.is_empty() {
                return;
            }
            decision = promised.decisions[world.rng.index(promised.decisions.len())].clone();
            if kind == 3 {
                decision.decision.proposal_id = proposal.record().proposal_id.clone();
                decision.decision.digest = *proposal.digest();
            }
        }
    }
    let (trace, tasks) = (world.trace.clone(), shared.tasks.clone());
    tasks.passing("liar", async move {
        let answer = proposals::decide(&shared, decision).await;
        trace.note(format!(
            "misuse at n{executor}: {:?}",
            answer.map(|_| ()).map_err(|r| r.code)
        ));
    });
}

/// Something breaks.
async fn trouble(world: &mut World) {
    let count = world.places.len();
    let at = world.rng.index(count);
    match world.rng.below(10) {
        0 | 1 => match world.places[at].node.is_some() {
            true => {
                world.fault("crash");
                world.crash(at).await;
            }
            false => drop(world.start(at).await),
        },
        2 => {
            world.fault("restart");
            world.crash(at).await;
            world.start(at).await;
        }
        3 if world.net.break_one() => world.fault("broken pipe"),
        4 => {
            let other = world.rng.index(count);
            world.net.block(at, other);
            world.fault("one-way partition");
        }
        5 => {
            let side = world.rng.next();
            for a in 0..count {
                for b in 0..count {
                    if (side >> a) & 1 != (side >> b) & 1 {
                        world.net.block(a, b);
                    }
                }
            }
            world.fault("partition");
        }
        6 => world.net.heal(),
        7 if std::env::var_os("SIM_GOOD_DISKS").is_none() => {
            let percent = [0, 5, 40][world.rng.index(3)];
            let slow = world.rng.chance(30);
            if let Some(disk) = &world.places[at].disk {
                disk.fail(percent);
                disk.slow.store(slow, std::sync::atomic::Ordering::Relaxed);
            }
            world.fault("bad disk");
        }
        8 => {
            let by = i64::try_from(world.rng.below(60_000)).unwrap() - 30_000;
            jump(&world.places[at], by);
            world.fault("clock jump");
        }
        _ if world.rng.chance(25) => {
            let who = world.operators[world.rng.index(2)].id().clone();
            if let Some(shared) = world.shared(at)
                && revoke(&shared, &who).await
            {
                let now = world.trace.now_ms();
                world
                    .promised
                    .lock()
                    .unwrap()
                    .revoked
                    .entry((at, who))
                    .or_insert(now);
                world.fault("revocation");
            }
        }
        _ => {}
    }
}

/// Everything is mended, and the world may come to rest.
async fn rest(world: &mut World) {
    world.net.calm();
    world.trace.note("rest");
    for at in 0..world.places.len() {
        if let Some(disk) = &world.places[at].disk {
            disk.fail(0);
            disk.slow.store(false, std::sync::atomic::Ordering::Relaxed);
        }
        if world.places[at].node.is_none() {
            world.start(at).await;
        }
    }
    tokio::time::sleep(Duration::from_secs(ACTIONS_END_SECS)).await;
    // Sensors keep speaking, so what is there by now is what all must hold in the end.
    let frames = checks::union(world);
    let end = world.trace.now_ms() + REST_SECS * 1_000;
    loop {
        let lacking = checks::lacking(world, &frames);
        if lacking.iter().all(|n| *n == 0) {
            return;
        }
        if world.trace.now_ms() >= end {
            let all = frames.len();
            let what = format!("CONVERGE: of {all} frames the nodes lack {lacking:?}");
            world.wrong.push(what);
            return;
        }
        tokio::time::sleep(Duration::from_secs(3)).await;
    }
}
