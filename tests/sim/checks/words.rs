//! Words: what was answered is still there, what was revoked stays revoked, and nobody's word counts
//! for more than the world gave it.

use clawmesh::adapters::store::{operators, proposals, trust};
use clawmesh::domain::base::DeviceId;
use clawmesh::domain::proposal::Status;
use clawmesh::node::Handles;

use super::Complaints;
use crate::world::{World, known, people};

pub fn at(world: &World, at: usize, shared: &Handles, wrong: &mut Complaints) {
    promises(world, at, shared, wrong);
    persons(world, at, shared, wrong);
    devices(world, at, shared, wrong);
    mirrors(world, at, shared, wrong);
}

/// What was answered is still there.
fn promises(world: &World, at: usize, shared: &Handles, wrong: &mut Complaints) {
    let truth = world.truth.lock().unwrap();
    for (id, (_, signed)) in truth.minted.iter().filter(|(_, (n, _))| *n == at) {
        let query = id.clone();
        let row = shared
            .store
            .read_blocking("row", move |c| proposals::get(c, &query));
        match row.unwrap() {
            // What came after the copy went with the disk, and what was open in it is void.
            _ if world.was_put_back(at) => {}
            None => wrong.add(format!("DURABLE: n{at} forgot proposal {id}")),
            Some(row) if row.digest != *signed.digest() || !row.own => {
                wrong.add(format!("DURABLE: n{at} changed proposal {id}"));
            }
            Some(row) if truth.decided.contains(id) && row.status == Status::AwaitingApproval => {
                wrong.add(format!("DURABLE: n{at} forgot the decision on {id}"));
            }
            Some(_) => {}
        }
    }
    let open = shared
        .store
        .read_blocking("open", |c| proposals::own_open(c, 1_000));
    for row in open.unwrap() {
        if row.status != Status::AwaitingApproval {
            wrong.add(format!("ENDS: n{at} has {} still {}", row.id, row.status));
        }
    }
}

/// Operators are those the world enrolled, revoked where they were revoked and nowhere else.
fn persons(world: &World, at: usize, shared: &Handles, wrong: &mut Complaints) {
    let known = shared.store.read_blocking("operators", operators::all);
    let known = known.unwrap();
    let truth = world.truth.lock().unwrap();
    for one in &known {
        let id = &one.signed.record.operator_id;
        if !world.operators[..people::STRANGER]
            .iter()
            .any(|o| o.id() == id)
        {
            wrong.add(format!(
                "ENROLLED: n{at} knows operator {id}, whom nobody enrolled"
            ));
        }
    }
    for (n, key) in world.operators[..people::HONEST].iter().enumerate() {
        let row = known
            .iter()
            .find(|k| k.signed.record.operator_id == *key.id());
        let revoked = row.is_some_and(|k| k.revocation.is_some());
        let here = truth.revoked.contains_key(&(at, key.id().clone()));
        let everywhere = truth.revoked_for_all.contains(key.id());
        let asked = |n: usize| truth.revoking.contains(&(n, key.id().clone()));
        if row.is_none() || revoked && !asked(at) && !asked(0) {
            wrong.add(format!(
                "REVOKED: n{at} has lost person {n}, whom nobody revoked"
            ));
        }
        if !revoked && (here || everywhere) {
            wrong.add(format!("REVOKED: n{at} still believes person {n}"));
        }
    }
}

/// No device of ours is revoked; nothing was stopped by somebody without leave.
fn devices(world: &World, at: usize, shared: &Handles, wrong: &mut Complaints) {
    let records = shared.store.read_blocking("trust", trust::all).unwrap();
    for n in (0..world.plan.nodes).filter(|n| *n != at) {
        let id = known(n).0.clone();
        if !records.iter().any(|r| r.device_id == id && r.is_live()) {
            wrong.add(format!(
                "TRUST: n{at} no longer trusts n{n}, whom nobody revoked"
            ));
        }
    }
    if shared.running.latched().is_some() {
        wrong.add(format!(
            "STOPPED: n{at} was stopped by somebody without leave"
        ));
    }
    let all = shared
        .store
        .read_blocking("proposals", |c| proposals::list(c, false, 100_000));
    for row in all.unwrap().iter().filter(|r| r.own) {
        if world.truth.lock().unwrap().stopped.contains(&row.id) {
            continue;
        }
        if row
            .outcome
            .as_ref()
            .is_some_and(|o| o.contains("an operator stopped it"))
        {
            wrong.add(format!(
                "STOPPED: {} was stopped by somebody without leave",
                row.id
            ));
        }
    }
}

/// How long news of a proposal may take to a peer, in simulated milliseconds.
const ON_ITS_WAY_MS: u64 = 3_000;

/// What a node shows of another's proposals is what that node says of them.
fn mirrors(world: &World, at: usize, shared: &Handles, wrong: &mut Complaints) {
    let here = shared
        .store
        .read_blocking("proposals", |c| proposals::list(c, false, 100_000));
    let here = here.unwrap();
    let linked: Vec<DeviceId> = shared
        .links
        .all()
        .iter()
        .map(|l| l.info.device.clone())
        .collect();
    // Of a node whose disk was put back others know more than it does.
    for n in (0..world.plan.nodes).filter(|n| *n != at && !world.was_put_back(*n)) {
        let Some(other) = world.shared(n) else {
            continue;
        };
        let theirs = other
            .store
            .read_blocking("proposals", |c| proposals::list(c, false, 100_000));
        for row in theirs.unwrap().iter().filter(|r| r.own) {
            let shown = here.iter().find(|m| m.id == row.id);
            // What changed this moment is still on its way.
            let age_ms = other.now().since(row.updated_at);
            let told = linked.contains(&row.executor) && age_ms >= ON_ITS_WAY_MS;
            match shown {
                Some(m) if m.own || m.digest != row.digest || m.executor != row.executor => {
                    wrong.add(format!(
                        "MIRROR: n{at} shows {} of n{n} as another's",
                        row.id
                    ));
                }
                Some(m) if told && m.status != row.status => {
                    wrong.add(format!(
                        "MIRROR: n{at} shows {} of n{n} as {}, it is {}",
                        row.id, m.status, row.status
                    ));
                }
                None if told => {
                    wrong.add(format!(
                        "MIRROR: n{at} does not show {} of n{n}, {} since {age_ms} ms",
                        row.id, row.status
                    ));
                }
                _ => {}
            }
        }
    }
}
