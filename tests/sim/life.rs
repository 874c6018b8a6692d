//! What happens in a world: people ask and decide, things break, and in the end all is mended.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::time::Duration;

use clawmesh::adapters::store::{Class, proposals as rows};
use clawmesh::domain::admission::Admitted;
use clawmesh::domain::base::{DraftId, EvidenceSource, OperatorId, Taint, Tier, TimeMs};
use clawmesh::domain::capability::{Action, Params};
use clawmesh::domain::gate::SignedDecision;
use clawmesh::domain::gate::approval::{Decision, Verdict};
use clawmesh::domain::identity::{OperatorKey, Signature};
use clawmesh::domain::plan::Draft;
use clawmesh::domain::policy::Requester;
use clawmesh::domain::proposal::SignedProposal;
use clawmesh::domain::wire::FrameKind;
use clawmesh::domain::wire::frame::FrameSpec;
use clawmesh::node::{Handles, frame_log, proposals};

use crate::checks::{self, Expected};
use crate::liar::fresh;
use crate::world::{DRIP, VALVE, World, is_revoked, people, revoke};

/// How long things go wrong, and how long the world then has to come to rest, in virtual seconds.
const TROUBLE_SECS: u64 = 90;
const REST_SECS: u64 = 600;
/// The longest an action may still take when trouble ends, in virtual seconds.
const ACTIONS_END_SECS: u64 = 40;

/// What a seed showed.
pub struct Report {
    pub seed: u64,
    pub wrong: Vec<String>,
    pub faults: BTreeMap<&'static str, u64>,
    pub lies: BTreeMap<&'static str, u64>,
    pub digest: (u64, u64),
    pub virtual_ms: u64,
    pub opened: usize,
    pub minted: usize,
    pub gen1: bool,
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
    world.strangers();
    while world.trace.now_ms() < TROUBLE_SECS * 1_000 {
        pause(&mut world).await;
        match world.rng.below(10) {
            0..=2 => ask(&world),
            3..=6 => decide(&world),
            7 => misuse(&world),
            _ => trouble(&mut world).await,
        }
        notice_revocations(&world);
        world.notice_doubt();
    }
    let expected = rest(&mut world).await;
    world.notice_doubt();
    if world.plan.more {
        crate::goes::everywhere(&mut world).await;
    }
    checks::all(&mut world, expected).await;
    let (lies, minted) = {
        let mut truth = world.truth.lock().unwrap();
        (std::mem::take(&mut truth.lies), truth.minted.len())
    };
    let opened = {
        let strokes = world.strokes.lock().unwrap();
        strokes.iter().filter(|s| s.opens).count()
    };
    let report = Report {
        seed,
        faults: std::mem::take(&mut world.faults),
        lies,
        digest: world.trace.digest(),
        virtual_ms: world.trace.now_ms(),
        opened,
        minted,
        gen1: world.plan.gen1,
        wrong: std::mem::take(&mut world.wrong),
    };
    world.end().await;
    report
}

/// Lets time pass; a host whose power fails meanwhile is down at once.
async fn pause(world: &mut World) {
    let pause = Duration::from_millis(20 + world.rng.below(750));
    let over = tokio::time::Instant::now() + pause;
    let failed = world.failed.clone();
    loop {
        tokio::select! {
            biased;
            () = failed.notified() => {}
            () = tokio::time::sleep_until(over) => return,
        }
        for at in world.without_power() {
            world.fault("crash at a step");
            world.crash(at).await;
        }
    }
}

/// From when on a node knows that an operator is revoked.
fn notice_revocations(world: &World) {
    let mut truth = world.truth.lock().unwrap();
    let now = world.trace.now_ms();
    let revoking: Vec<_> = truth.revoking.iter().map(|(_, who)| who.clone()).collect();
    for who in revoking {
        for at in 0..world.places.len() {
            let known = truth.revoked.contains_key(&(at, who.clone()));
            if let Some(shared) = world.shared(at).filter(|_| !known)
                && is_revoked(&shared, &who).is_ok_and(|revoked| revoked)
            {
                truth.revoked.insert((at, who.clone()), now);
            }
        }
    }
}

/// Somebody wants water somewhere: a person, a rule or a model.
fn ask(world: &World) {
    let at = world.rng.index(world.places.len());
    let Some(shared) = world.shared(at) else {
        return;
    };
    let now = shared.now();
    let seconds = 1 + i64::try_from(world.rng.below(20)).unwrap();
    let params = Params::from([("durationSec".to_owned(), seconds.into())]);
    let requester = [Requester::Person, Requester::Llm, Requester::Rules][world.rng.index(3)];
    let target = if world.rng.chance(70) { VALVE } else { DRIP };
    let mut draft = Draft {
        draft_id: DraftId::from(fresh(&world.rng)),
        action: Action::new(target.parse().unwrap(), "open", params).unwrap(),
        reason: "dry".into(),
        requester,
        requester_name: "ada".into(),
        taint: Default::default(),
        cites: Vec::new(),
        origins: Default::default(),
        slot: None,
        led_by: None,
        created_at: now,
        expires_at: now.plus(120_000),
    };
    // A model's wish in a rule's clothes: marked, or resting on what a model said.
    let mut basis = Vec::new();
    let washed = match world.rng.below(4) {
        0 if requester == Requester::Rules => {
            draft.taint.insert(Taint::Llm);
            true
        }
        1 if requester == Requester::Rules => {
            basis.push(said_by_a_model(&shared));
            draft.cites.push(basis[0].frame().frame_id.clone());
            true
        }
        _ => false,
    };
    if washed || requester == Requester::Llm {
        let mut truth = world.truth.lock().unwrap();
        truth.models.insert(draft.draft_id.clone());
    }
    arm(world, at);
    let (truth, trace, tasks) = (
        world.truth.clone(),
        world.trace.clone(),
        shared.tasks.clone(),
    );
    tasks.passing("person", async move {
        // What is not there cannot be cited.
        if frame_log::append(&shared, basis, Class::Durable)
            .await
            .is_err()
        {
            return;
        }
        match proposals::mint(&shared, draft, shared.own_id()).await {
            Ok(minted) => {
                let id = minted.signed.record().proposal_id.clone();
                trace.note(format!("n{at} minted {id}"));
                truth.lock().unwrap().minted.insert(id, (at, minted.signed));
            }
            Err(refusal) => trace.note(format!("n{at} refused a wish: {}", refusal.code)),
        }
    });
}

/// A frame with what a model concluded.
fn said_by_a_model(shared: &Handles) -> Admitted {
    let data = serde_json::json!({"text": "it is dry"});
    let spec = FrameSpec {
        kind: FrameKind::Inference,
        data: data.as_object().unwrap().clone(),
        sources: vec![EvidenceSource::Sensor],
        tier: Tier::T2,
        taint: Default::default(),
        note: None,
    };
    frame_log::compose(shared, spec).unwrap()
}

/// Now and then a host loses its power at one of its next steps.
fn arm(world: &World, at: usize) {
    if world.rng.chance(8) {
        world.places[at].power.fail_at(1 + world.rng.below(8));
    }
}

/// A proposal that somebody answered for, or one that waits at some executor, whoever asked for it.
fn choose(world: &World) -> Option<(usize, SignedProposal)> {
    let at = world.rng.index(world.places.len());
    if let Some(shared) = world.shared(at).filter(|_| world.rng.chance(60)) {
        let open = shared
            .store
            .read_blocking("open", |c| rows::own_open(c, 1_000));
        let open = open.ok()?;
        if open.is_empty() {
            return None;
        }
        let row = &open[world.rng.index(open.len())];
        let signature = Signature::from_text(&row.signature).ok()?;
        let signed = SignedProposal::open(&row.record, signature, &shared.public_key).ok()?;
        return Some((at, signed));
    }
    let truth = world.truth.lock().unwrap();
    let recent: Vec<_> = truth.minted.values().collect();
    (!recent.is_empty()).then(|| recent[world.rng.index(recent.len())].clone())
}

fn sign(world: &World, signed: &SignedProposal, key: &OperatorKey, at: TimeMs) -> SignedDecision {
    let record = signed.record();
    let verdict = if world.rng.chance(90) {
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
        channel: None,
        at_node: None,
    }
    .sign(key)
}

/// A person decides, at whichever node they stand.
fn decide(world: &World) {
    let Some((executor, proposal)) = choose(world) else {
        return;
    };
    let at = if world.rng.chance(70) {
        executor
    } else {
        world.rng.index(world.places.len())
    };
    let key = &world.operators[world.rng.index(people::HONEST)];
    let Some(shared) = world.shared(at) else {
        return;
    };
    let decision = sign(world, &proposal, key, shared.now());
    world.truth.lock().unwrap().signed(&decision);
    arm(world, at);
    let (truth, trace, tasks) = (
        world.truth.clone(),
        world.trace.clone(),
        shared.tasks.clone(),
    );
    tasks.passing("person", async move {
        let id = decision.decision.proposal_id.clone();
        match proposals::decide(&shared, decision).await {
            Ok(standing) => {
                trace.note(format!("n{at} decided {id}: {}", standing.status));
                if standing.approvals >= standing.required {
                    truth.lock().unwrap().decided.insert(id);
                }
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
    let stranger = &world.operators[people::REVOKED + world.rng.index(3)];
    let mut decision = sign(world, &proposal, stranger, shared.now());
    match world.rng.below(4) {
        0 => {}
        1 => decision.decision.operator_id = world.operators[0].id().clone(),
        kind => {
            let truth = world.truth.lock().unwrap();
            if truth.decisions.is_empty() {
                return;
            }
            decision = truth.decisions[world.rng.index(truth.decisions.len())].clone();
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
    if world.plan.put_back.is_some() && world.rng.chance(15) {
        return world.put_back().await;
    }
    match world.rng.below(11) {
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
                disk.slow.store(slow, Ordering::Relaxed);
            }
            world.fault("bad disk");
        }
        8 => {
            let by = i64::try_from(world.rng.below(60_000)).unwrap() - 30_000;
            world.jump(at, by);
            world.fault("clock jump");
        }
        9 if world.rng.chance(40) => {
            let who = world.operators[people::HONEST - 1].id().clone();
            lose_key(world, at, who);
        }
        _ => {}
    }
}

/// A person's key is revoked at a node; at the administrator's, for all.
fn lose_key(world: &mut World, at: usize, who: OperatorId) {
    let Some(shared) = world.shared(at) else {
        return;
    };
    world.fault("revocation");
    arm(world, at);
    let (truth, trace, tasks) = (
        world.truth.clone(),
        world.trace.clone(),
        shared.tasks.clone(),
    );
    truth.lock().unwrap().revoking.insert((at, who.clone()));
    tasks.passing("administrator", async move {
        if revoke(&shared, &who).await {
            let now = trace.now_ms();
            let mut truth = truth.lock().unwrap();
            truth.revoked.entry((at, who.clone())).or_insert(now);
            if at == 0 {
                truth.revoked_for_all.insert(who);
            }
        }
    });
}

/// Everything is mended, and the world may come to rest; what all must hold then.
async fn rest(world: &mut World) -> Expected {
    world.net.calm();
    world.trace.note("rest");
    if let Some(liar) = &world.liar {
        liar.quiet.store(!world.plan.restless, Ordering::Relaxed);
        liar.idle.store(true, Ordering::Relaxed);
    }
    for at in 0..world.places.len() {
        world.places[at].power.fail_at(0);
        if world.places[at].power.is_gone() {
            world.crash(at).await;
        }
        if let Some(disk) = &world.places[at].disk {
            disk.fail(0);
            disk.slow.store(false, Ordering::Relaxed);
        }
        if world.places[at].node.is_none() {
            world.start(at).await;
        }
    }
    tokio::time::sleep(Duration::from_secs(ACTIONS_END_SECS)).await;
    if let Some(gen1) = &world.gen1 {
        gen1.quiet.store(true, Ordering::Relaxed);
    }
    notice_revocations(world);
    world.notice_doubt();
    if world.plan.put_back.is_some() && world.rng.chance(60) {
        world.confirm().await;
    }
    // Sensors keep speaking, so what is there by now is what all must hold in the end.
    let expected = Expected::now(world);
    let end = world.trace.now_ms() + crate::wanted("SIM_REST_SECS").unwrap_or(REST_SECS) * 1_000;
    loop {
        let lacking = checks::lacking(world, &expected);
        if lacking.iter().all(|n| *n == 0) {
            return expected;
        }
        if world.trace.now_ms() >= end {
            let all = expected.len();
            let what = format!("CONVERGE: of {all} frames the nodes lack {lacking:?}");
            world.wrong.push(what);
            return expected;
        }
        tokio::time::sleep(Duration::from_secs(3)).await;
    }
}
