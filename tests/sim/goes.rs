//! Whatever a liar does and has used up: at every node another device still asks, persons still decide,
//! and a stop still stops.

use std::time::Duration;

use clawmesh::domain::base::{Code, DraftId, Refusal};
use clawmesh::domain::capability::{Action, Params};
use clawmesh::domain::gate::approval::{Decision, Verdict};
use clawmesh::domain::plan::Draft;
use clawmesh::domain::policy::Requester;
use clawmesh::node::{Handles, proposals};

use crate::liar::fresh;
use crate::world::{VALVE, World, is_revoked, known, people};

/// How long everybody has to hear how it ended, in virtual seconds.
const HEARD_SECS: u64 = 30;
/// How long the valve is asked to be open, in seconds: nobody else asks for so long.
const SECONDS: i64 = 20;

/// Sees at every node whether wishes, decisions and stops go through.
pub async fn everywhere(world: &mut World) {
    for at in 0..world.places.len() {
        let Some(shared) = world.shared(at) else {
            continue;
        };
        if let Err(wrong) = at_node(world, at, &shared).await {
            world.wrong.push(format!("GOES: n{at}: {wrong}"));
        }
    }
    // What was stopped ends, and everybody hears of it.
    tokio::time::sleep(Duration::from_secs(HEARD_SECS)).await;
}

fn wish(world: &World, shared: &Handles) -> Draft {
    let now = shared.now();
    let params = Params::from([("durationSec".to_owned(), SECONDS.into())]);
    Draft {
        draft_id: DraftId::from(fresh(&world.rng)),
        action: Action::new(VALVE.parse().unwrap(), "open", params).unwrap(),
        reason: "dry".into(),
        requester: Requester::Person,
        requester_name: "ada".into(),
        taint: Default::default(),
        cites: Vec::new(),
        origins: Default::default(),
        slot: None,
        led_by: None,
        created_at: now,
        expires_at: now.plus(120_000),
    }
}

async fn at_node(world: &World, at: usize, shared: &Handles) -> Result<(), String> {
    let asker = known((at + 1) % world.places.len()).0;
    let minted = proposals::mint(shared, wish(world, shared), asker).await;
    if shared.continuity.doubt().is_some() {
        return match minted {
            Err(Refusal {
                code: Code::StateInDoubt,
                ..
            }) => Ok(()),
            Err(other) => Err(format!("in doubt, it refused a wish with {other}")),
            Ok(_) => Err("in doubt, it took a wish".to_owned()),
        };
    }
    let minted = minted.map_err(|r| format!("the wish of another device was refused: {r}"))?;
    let record = minted.signed.record();
    let id = record.proposal_id.clone();
    {
        let mut truth = world.truth.lock().unwrap();
        truth.minted.insert(id.clone(), (at, minted.signed.clone()));
        // A stop in time is no wrong: it is what is tried here.
        truth.stopped.insert(id.clone());
    }
    let honest = &world.operators[..people::HONEST];
    let able = honest
        .iter()
        .filter(|key| is_revoked(shared, key.id()).is_ok_and(|revoked| !revoked));
    let enough = usize::try_from(record.quorum).unwrap();
    let able: Vec<_> = able.take(enough).collect();
    if able.len() < enough {
        return Ok(());
    }
    for key in able {
        let signed = Decision {
            verdict: Verdict::Approve,
            mesh_id: record.mesh_id.clone(),
            executor: record.executor.clone(),
            proposal_id: id.clone(),
            digest: *minted.signed.digest(),
            operator_id: key.id().clone(),
            decided_at: shared.now(),
            note: None,
            channel: None,
            at_node: None,
        }
        .sign(key);
        world.truth.lock().unwrap().signed(&signed);
        proposals::decide(shared, signed)
            .await
            .map_err(|r| format!("a person's decision was refused: {r}"))?;
    }
    // Its driver may be slow or fail.
    for _ in 0..50 {
        let opened = world
            .strokes
            .lock()
            .unwrap()
            .iter()
            .any(|s| s.node == at && s.opens && s.job == id.as_str());
        if opened {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let stopped = proposals::stop(shared, id.as_str(), "ada").await;
    match stopped {
        Ok(stopped) if !stopped.recorded => Err(format!("the stop was not kept: {stopped:?}")),
        // One that failed has ended already.
        Ok(_) => Ok(()),
        Err(refusal) if refusal.code == Code::Conflict => Ok(()),
        Err(refusal) => Err(format!("a stop was refused: {refusal}")),
    }
}
