//! What must be true at the end of every world.

use std::collections::{BTreeMap, BTreeSet};

use clawmesh::adapters::store::{approvals, audit, frames, proposals};
use clawmesh::domain::base::{DeviceId, OperatorId, ProposalId};
use clawmesh::domain::gate::approval::Verdict;
use clawmesh::domain::identity::Signature;
use clawmesh::domain::proposal::Status;
use clawmesh::node::Shared;

use crate::world::World;

/// Longest a valve may be open, with the driver's own slowness and the tries to close it, in ms.
const OPEN_MAX_MS: u64 = 20_000 + 10_000;

fn held(shared: &Shared) -> BTreeSet<(DeviceId, [u8; 32])> {
    let all = shared
        .store
        .read_blocking("held", |c| frames::after(c, 0, 1_000_000, None));
    all.unwrap()
        .into_iter()
        .map(|f| (f.origin, f.content.0))
        .collect()
}

/// Every frame that any node holds at this moment.
pub fn union(world: &World) -> BTreeSet<(DeviceId, [u8; 32])> {
    let nodes = (0..world.places.len()).filter_map(|n| world.shared(n));
    nodes.flat_map(|n| held(&n)).collect()
}

/// Per node, how many of `frames` it lacks.
pub fn lacking(world: &World, frames: &BTreeSet<(DeviceId, [u8; 32])>) -> Vec<usize> {
    let nodes = (0..world.places.len()).filter_map(|n| world.shared(n));
    nodes
        .map(|n| frames.difference(&held(&n)).count())
        .collect()
}

pub async fn all(world: &mut World) {
    let mut wrong = Vec::new();
    for at in 0..world.places.len() {
        match world.shared(at) {
            None => wrong.push(format!("ALIVE: n{at} is not up")),
            Some(shared) => {
                if shared.tasks.stop().is_cancelled() {
                    wrong.push(format!("ALIVE: an essential task of n{at} ended"));
                }
                chain(at, &shared, &mut wrong);
                acts(world, at, &shared, &mut wrong);
                promises(world, at, &shared, &mut wrong);
            }
        }
    }
    valves(world, &mut wrong);
    let panics = crate::PANICS.with(|p| p.replace(0));
    if panics > 0 {
        wrong.push(format!("PANIC: {panics} panics"));
    }
    world.wrong.extend(wrong);
}

fn chain(at: usize, shared: &Shared, wrong: &mut Vec<String>) {
    let key = *shared.key.public();
    let checked = shared.store.read_blocking("audit", |c| {
        audit::check(c, |message, text| {
            Signature::from_text(text).is_ok_and(|s| key.verify_strict(message, &s))
        })
    });
    match checked {
        Ok(checked) if checked.faults.is_empty() => {}
        other => wrong.push(format!("AUDIT: n{at}: {other:?}")),
    }
}

/// Every movement was allowed by a person whom the executor knew then, and happened once.
fn acts(world: &World, at: usize, shared: &Shared, wrong: &mut Vec<String>) {
    let mut times: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    for stroke in world
        .strokes
        .lock()
        .unwrap()
        .iter()
        .filter(|s| s.node == at && s.opens)
    {
        times
            .entry(stroke.job.clone())
            .or_default()
            .push(stroke.at_ms);
    }
    let promised = world.promised.lock().unwrap();
    for (job, moments) in times {
        if moments.len() > 1 {
            wrong.push(format!("ONCE: n{at} opened for {job} at {moments:?}"));
        }
        let id: ProposalId = job.parse().unwrap();
        let (about, query) = (id.clone(), id.clone());
        let row = shared
            .store
            .read_blocking("row", move |c| proposals::get(c, &query))
            .unwrap();
        match &row {
            Some(row)
                if row.own
                    && !matches!(
                        row.status,
                        Status::AwaitingApproval
                            | Status::Approved
                            | Status::Rejected
                            | Status::Expired
                    ) => {}
            other => wrong.push(format!(
                "PATH: n{at} opened for {job}, which is {:?}",
                other.as_ref().map(|r| r.status)
            )),
        }
        let said = shared
            .store
            .read_blocking("said", move |c| approvals::of(c, &about))
            .unwrap();
        let yes: Vec<OperatorId> = said
            .into_iter()
            .filter(|s| s.decision.verdict == Verdict::Approve)
            .map(|s| s.decision.operator_id)
            .collect();
        let known = |who: &OperatorId| {
            let ended = promised.revoked.get(&(at, who.clone())).copied();
            // Between the permit and the movement lies at most a moment of the node's own work.
            world.operators.iter().any(|o| o.id() == who)
                && ended.is_none_or(|ended| moments[0] <= ended + 6_000)
        };
        if !yes.iter().any(known) {
            wrong.push(format!(
                "PERSON: n{at} opened for {job} at {moments:?}, approved by {yes:?}"
            ));
        }
    }
}

/// What was answered is still there.
fn promises(world: &World, at: usize, shared: &Shared, wrong: &mut Vec<String>) {
    let promised = world.promised.lock().unwrap();
    for (id, (executor, signed)) in promised
        .minted
        .iter()
        .filter(|(_, (executor, _))| *executor == at)
    {
        let query = id.clone();
        let row = shared
            .store
            .read_blocking("row", move |c| proposals::get(c, &query))
            .unwrap();
        match row {
            None => wrong.push(format!("DURABLE: n{executor} forgot proposal {id}")),
            Some(row) if row.digest != *signed.digest() => {
                wrong.push(format!("DURABLE: n{executor} changed proposal {id}"))
            }
            Some(row)
                if promised.decided.contains(id) && row.status == Status::AwaitingApproval =>
            {
                wrong.push(format!("DURABLE: n{executor} forgot the decision on {id}"));
            }
            Some(row) if row.status == Status::Executing => {
                wrong.push(format!("ENDS: n{executor} still executes {id}"))
            }
            Some(_) => {}
        }
    }
}

/// No valve stays open; only a node without power leaves one open for longer.
fn valves(world: &World, wrong: &mut Vec<String>) {
    let strokes = world.strokes.lock().unwrap();
    for at in 0..world.places.len() {
        let mut own = strokes.iter().filter(|s| s.node == at).peekable();
        while let Some(stroke) = own.next() {
            let next = own.peek();
            if !stroke.opens {
                continue;
            }
            match next {
                None => wrong.push(format!(
                    "SAFE: n{at} ends with an open valve ({})",
                    stroke.job
                )),
                Some(next) if next.opens => wrong.push(format!(
                    "SAFE: n{at} opened twice without closing: {} and {}",
                    stroke.job, next.job
                )),
                Some(next) => {
                    let open_ms = next.at_ms - stroke.at_ms;
                    let limit = stroke.seconds * 1_000 + (OPEN_MAX_MS - 20_000);
                    if open_ms > limit && next.job != "start" {
                        wrong.push(format!(
                            "SAFE: n{at} was open {open_ms} ms for {}",
                            stroke.job
                        ));
                    }
                }
            }
        }
    }
}
