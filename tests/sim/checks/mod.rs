//! What must be true at the end of every world. Each complaint begins with the word for what it is
//! about; docs/simulator.md says which invariant that is.

mod acts;
mod frames;
mod words;

pub use frames::{Expected, lacking, told_entries};

use std::collections::BTreeMap;

use clawmesh::adapters::store::{audit, usage};
use clawmesh::domain::identity::Signature;
use clawmesh::node::Handles;

use crate::world::{World, known};

/// Complaints, few of each kind: a liar that gets through does so a hundred times.
#[derive(Default)]
pub struct Complaints {
    all: Vec<String>,
    counts: BTreeMap<String, usize>,
}

/// Complaints of one kind that are shown.
const SHOWN: usize = 3;

impl Complaints {
    pub fn add(&mut self, complaint: String) {
        let kind = complaint.split(':').next().unwrap_or_default().to_owned();
        let count = self.counts.entry(kind).or_default();
        *count += 1;
        if *count <= SHOWN {
            self.all.push(complaint);
        }
    }
}

pub async fn all(world: &mut World, mut expected: Expected) {
    let mut wrong = Complaints::default();
    for at in 0..world.places.len() {
        match world.shared(at) {
            None => wrong.add(format!("ALIVE: n{at} is not up")),
            Some(shared) => {
                if shared.tasks.stop().is_cancelled() {
                    wrong.add(format!("ALIVE: an essential task of n{at} ended"));
                }
                chain(at, &shared, &mut wrong);
                shares(world, at, &shared, &mut wrong);
                acts::at(world, at, &shared, &mut wrong);
                words::at(world, at, &shared, &mut wrong);
                frames::at(world, at, &shared, &mut expected, &mut wrong);
            }
        }
    }
    acts::valves(world, &mut wrong);
    let put_back = &world.put_back;
    if put_back.known_to_peers && put_back.noticed.is_none() {
        wrong.add("NOTICED: peers know more of a node than its disk that was put back, and it does not doubt it".to_owned());
    }
    frames::gen1(world, &mut wrong);
    for wronged in &world.truth.lock().unwrap().wronged {
        wrong.add(wronged.clone());
    }
    let panics = crate::PANICS.with(|p| p.replace(0));
    if panics > 0 {
        wrong.add(format!("PANIC: {panics} panics"));
    }
    world.wrong.extend(wrong.all);
}

/// The liar, and whoever answers at the gen-1 node's address, has made no node keep more than its share
/// of anything.
fn shares(world: &World, at: usize, shared: &Handles, wrong: &mut Complaints) {
    let now = shared.now();
    let liar = known(world.plan.liar_at()).0.clone();
    for account in [liar, known(world.plan.gen1_at()).0.at_address()] {
        let of = account.clone();
        let used = shared
            .store
            .read_blocking("usage", move |c| usage::all(c, &of, now));
        for (share, used) in used.unwrap() {
            if used > share.most_of(&account) {
                let (what, who) = (share.as_str(), account.who());
                wrong.add(format!("SHARE: n{at} keeps {used} {what} of {who}"));
            }
        }
    }
}

/// The audit trail is whole and the node's own.
fn chain(at: usize, shared: &Handles, wrong: &mut Complaints) {
    let key = shared.public_key;
    let checked = shared.store.read_blocking("audit", |c| {
        audit::check(c, |message, text| {
            Signature::from_text(text).is_ok_and(|s| key.verify_strict(message, &s))
        })
    });
    match checked {
        Ok(checked) if checked.faults.is_empty() => {}
        other => wrong.add(format!("AUDIT: n{at}: {other:?}")),
    }
}
