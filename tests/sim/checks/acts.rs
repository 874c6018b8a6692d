//! Movements: each allowed by persons whom the executor knew then, or by a rule that held; once; and
//! none that stays.

use std::collections::{BTreeMap, BTreeSet};

use clawmesh::adapters::store::proposals::ProposalRow;
use clawmesh::adapters::store::{audit, proposals};
use clawmesh::domain::base::ProposalId;
use clawmesh::domain::identity::Signature;
use clawmesh::domain::policy::Level;
use clawmesh::domain::proposal::{SignedProposal, Status};
use clawmesh::node::Handles;

use super::Complaints;
use crate::world::{DRIP, VALVE, World, people};

/// Beyond the time it was asked for, a valve may be open for the driver's own slowness and the tries
/// to close it, in ms.
const SLACK_MS: u64 = 10_000;
/// Between a permit and its movement lies at most this much of the node's own work, in ms.
const PERMIT_MS: u64 = 6_000;

pub fn at(world: &World, at: usize, shared: &Handles, wrong: &mut Complaints) {
    let mut times: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    for stroke in world.strokes.lock().unwrap().iter() {
        if stroke.node == at && stroke.opens {
            let moments = times.entry(stroke.job.clone()).or_default();
            moments.push(stroke.at_ms);
        }
    }
    for (job, moments) in times {
        let known: Vec<u64> = moments
            .iter()
            .copied()
            .filter(|moment| !world.unaware(at, *moment))
            .collect();
        if known.len() > 1 {
            wrong.add(format!("ONCE: n{at} opened for {job} at {moments:?}"));
        }
        for moment in &moments {
            let told = &world.put_back;
            if world.was_put_back(at)
                && told.noticed.is_some_and(|since| *moment > since)
                && told.confirmed.is_none_or(|until| *moment < until)
            {
                wrong.add(format!(
                    "DOUBT: n{at} opened for {job} while it doubted its state"
                ));
            }
        }
        if moments.iter().any(|moment| world.is_lost(at, *moment)) {
            continue;
        }
        let id: ProposalId = job.parse().unwrap();
        let query = id.clone();
        let read = shared.store.read_blocking("row", move |c| {
            let told = audit::about(c, query.as_str(), 100)?;
            Ok((proposals::get(c, &query)?, told))
        });
        let (row, told) = read.unwrap();
        let Some(row) = row.filter(|row| row.own && was_carried_out(row.status)) else {
            wrong.add(format!(
                "PATH: n{at} opened for {job}, of which it knows nothing or no act"
            ));
            continue;
        };
        for step in ["proposal.minted", "proposal.approved", "proposal.executing"] {
            if !told.iter().any(|t| t.json.contains(step)) {
                wrong.add(format!(
                    "TOLD: n{at} has no {step} of {job} in its audit trail"
                ));
            }
        }
        may_act(world, at, shared, &row, moments[0], wrong);
    }
}

fn was_carried_out(status: Status) -> bool {
    matches!(
        status,
        Status::Executing | Status::Completed | Status::Failed | Status::Unknown
    )
}

/// Whether enough persons had agreed to this very record, or no person was needed.
fn may_act(
    world: &World,
    at: usize,
    shared: &Handles,
    row: &ProposalRow,
    moment: u64,
    wrong: &mut Complaints,
) {
    let signature = Signature::from_text(&row.signature).unwrap();
    let signed = match SignedProposal::open(&row.record, signature, &shared.public_key) {
        Ok(signed) => signed,
        Err(refusal) => return wrong.add(format!("RECORD: n{at}: {refusal}")),
    };
    let (record, truth) = (signed.record(), world.truth.lock().unwrap());
    let model = truth.models.contains(&record.draft_id) || !record.taint.is_empty();
    let needed = match record.target.as_str() {
        // L1 is for the executor's own planner: what a peer says of itself proves nothing.
        DRIP if world.plan.dry && !model && record.requested_by.device_id == record.executor => 0,
        VALVE => world.plan.quorum,
        _ => 1,
    };
    if record.level == Level::L1 && record.target.as_str() != DRIP {
        wrong.add(format!("LEVEL: n{at} let {} happen at L1", row.id));
    }
    let honest = &world.operators[..people::HONEST];
    let agreed = truth.agreed.get(&row.id).map_or(&[][..], Vec::as_slice);
    let counts = |who: &clawmesh::domain::base::OperatorId| {
        let ended = truth.revoked.get(&(at, who.clone())).copied();
        honest.iter().any(|o| o.id() == who)
            && ended.is_none_or(|ended| moment <= ended + PERMIT_MS)
    };
    let valid: BTreeSet<_> = agreed
        .iter()
        .filter(|(digest, who)| digest == signed.digest() && counts(who))
        .map(|(_, who)| who)
        .collect();
    if valid.len() < usize::try_from(needed).unwrap() {
        let kind = if model { "MODEL" } else { "PERSON" };
        wrong.add(format!(
            "{kind}: n{at} opened {} for {} at {moment} with the word of {} of {needed} persons",
            record.target,
            row.id,
            valid.len()
        ));
    }
}

/// No valve stays open; only a node without power leaves one open for longer.
pub fn valves(world: &World, wrong: &mut Complaints) {
    let strokes = world.strokes.lock().unwrap();
    for (at, target) in (0..world.places.len()).flat_map(|at| [(at, VALVE), (at, DRIP)]) {
        let own = strokes
            .iter()
            .filter(|s| s.node == at && s.target == target);
        let mut own = own.peekable();
        while let Some(stroke) = own.next() {
            if !stroke.opens {
                continue;
            }
            match own.peek() {
                None => wrong.add(format!(
                    "SAFE: n{at} ends with {target} open ({})",
                    stroke.job
                )),
                Some(next) if next.opens => wrong.add(format!(
                    "SAFE: n{at} opened {target} twice without closing: {} and {}",
                    stroke.job, next.job
                )),
                Some(next) => {
                    let open_ms = next.at_ms - stroke.at_ms;
                    if open_ms > stroke.seconds * 1_000 + SLACK_MS && next.job != "start" {
                        wrong.add(format!(
                            "SAFE: n{at} had {target} open {open_ms} ms for {}",
                            stroke.job
                        ));
                    }
                }
            }
        }
    }
}
