//! Frames: every node ends with the same ones, each once, each believed as far as it may be.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use clawmesh::adapters::store::frames::StoredFrame;
use clawmesh::adapters::store::{frame_sync, frames};
use clawmesh::domain::base::limits::FRAME_FUTURE_MAX_MS;
use clawmesh::domain::base::{DeviceId, Digest, MeshId, SignatureState, Tier};
use clawmesh::domain::identity::PublicKey;
use clawmesh::domain::sync::FrameKey;
use clawmesh::domain::wire::{Frame, FrameKind};
use clawmesh::node::Handles;
use serde_json::Value;

use super::Complaints;
use crate::network::BEGINNING_MS;
use crate::world::{MESH, UNKNOWN, World, known};

/// A frame that a node owes the gen-1 node.
struct Owed {
    /// Which node, and where in its log.
    at: usize,
    seq: u64,
    id: String,
    /// What it would be replaced for.
    key: Option<String>,
}

/// What all nodes must hold in the end.
#[derive(Default)]
pub struct Expected {
    keys: BTreeSet<FrameKey>,
    /// Frame ids that a gen-1 node must hold, beside the node that has to tell it.
    for_gen1: Vec<Owed>,
    /// Contents and signatures that have been checked already, for they are dear.
    proven: BTreeMap<(Digest, String), bool>,
}

fn rows(shared: &Handles) -> Vec<StoredFrame> {
    let all = shared.store.read_blocking("frames", |c| {
        frames::after(c, 0, 1_000_000, usize::MAX, None)
    });
    all.unwrap()
}

/// How many audit entries a device has told this node of.
pub fn told_entries(shared: &Handles, origin: &DeviceId) -> u64 {
    let signed = rows(shared)
        .into_iter()
        .filter(|row| row.origin == *origin && row.signature == SignatureState::Verified);
    let told = signed.filter_map(|row| {
        let frame: Value = serde_json::from_str(&row.json).ok()?;
        frame["data"]["auditEntries"].as_u64()
    });
    told.max().unwrap_or(0)
}

fn keys(shared: &Handles) -> BTreeSet<FrameKey> {
    let all = shared
        .store
        .read_blocking("keys", |c| frame_sync::keyed_after(c, 0, 1_000_000));
    all.unwrap()
        .into_iter()
        .filter_map(|(_, k)| Some(k?.key))
        .collect()
}

/// Which of ours a device is.
fn ours(world: &World, device_id: &DeviceId) -> Option<usize> {
    (0..world.plan.nodes).find(|n| *known(*n).0 == *device_id)
}

/// The ids of frames of the unknown device that are there with more than one content.
fn altered_of_unknown(world: &World) -> BTreeSet<String> {
    let mut contents: BTreeMap<String, BTreeSet<Digest>> = BTreeMap::new();
    for shared in (0..world.places.len()).filter_map(|at| world.shared(at)) {
        let of_unknown = rows(&shared).into_iter();
        for row in of_unknown.filter(|row| row.origin == *known(UNKNOWN).0) {
            let id = row.frame_id.to_string();
            contents.entry(id).or_default().insert(row.content);
        }
    }
    contents.retain(|_, all| all.len() > 1);
    contents.into_keys().collect()
}

impl Expected {
    /// What any node holds at this moment and no liar can have spoiled.
    pub fn now(world: &World) -> Expected {
        let mut expected = Expected::default();
        let truth = world.truth.lock().unwrap();
        let gen1: BTreeSet<String> = world.gen1.iter().flat_map(|g| g.own()).collect();
        let altered = altered_of_unknown(world);
        for at in 0..world.places.len() {
            let Some(shared) = world.shared(at) else {
                continue;
            };
            for row in rows(&shared) {
                let good = match row.signature {
                    SignatureState::Verified => !truth.twice.contains(&row.frame_id),
                    // Of a device that nobody knows a node may hold a copy without its signature; where one
                    // has it, all must. Where a liar has altered it too, nobody can tell which is right.
                    _ if row.origin == *known(UNKNOWN).0 => {
                        row.signed && !altered.contains(row.frame_id.as_str())
                    }
                    _ => {
                        row.origin == *known(world.plan.gen1_at()).0
                            && gen1.contains(row.frame_id.as_str())
                            && !truth.foretold.contains(row.frame_id.as_str())
                    }
                };
                if good {
                    let key = FrameKey::of(&row.frame_id, &row.content);
                    let key = if row.signed { key } else { key.unsigned() };
                    expected.keys.insert(key);
                }
            }
            expected.owed_to_gen1(world, at, &shared);
        }
        expected
    }

    /// What a node that is linked to the gen-1 node has learned since: it must have been told.
    fn owed_to_gen1(&mut self, world: &World, at: usize, shared: &Handles) {
        let Some(gen1) = &world.gen1 else { return };
        let own = known(world.plan.gen1_at()).0;
        let error = world.places[at]
            .clock
            .error_ms
            .load(std::sync::atomic::Ordering::Relaxed);
        for (_, since, dialed) in gen1.links().into_iter().filter(|(peer, ..)| *peer == at) {
            let linked_at = (BEGINNING_MS + since + 1_000).saturating_add_signed(error);
            let told = rows(shared).into_iter().filter(|row| {
                row.received_at.0 > linked_at
                    && row.origin != *own
                    && row.link_peer.as_ref() != Some(own)
                    && (row.link_peer.is_none() || row.hops < 3)
            });
            self.for_gen1.extend(told.map(|row| Owed {
                at,
                seq: row.seq,
                id: row.frame_id.to_string(),
                key: replaced_for(&row).filter(|_| dialed),
            }));
        }
    }

    pub fn len(&self) -> usize {
        self.keys.len()
    }
}

/// What a newer reading, or a newer word of a node about itself, replaces.
fn replaced_for(row: &StoredFrame) -> Option<String> {
    let frame: Value = serde_json::from_str(&row.json).ok()?;
    let data = &frame["data"];
    let part = match row.kind {
        FrameKind::Observation => format!("{} {}", data["zone"], data["metric"]),
        FrameKind::CapabilityUpdate => data["type"].to_string(),
        _ => return None,
    };
    Some(format!("{} {} {part}", row.origin, row.kind.as_str()))
}

/// Per node how many of the frames it lacks; the gen-1 node last.
pub fn lacking(world: &World, expected: &Expected) -> Vec<usize> {
    let nodes = (0..world.places.len()).filter_map(|n| world.shared(n));
    let mut all: Vec<usize> = nodes
        .map(|n| expected.keys.difference(&keys(&n)).count())
        .collect();
    if let Some(gen1) = &world.gen1 {
        let held = |owed: &Owed| gen1.holds(&owed.id);
        // On a link that the node dialed a newer frame of the same key stands for an older one.
        let mut newest: BTreeMap<(usize, String), u64> = BTreeMap::new();
        for at in 0..world.places.len() {
            let rows = world.shared(at).map(|shared| rows(&shared));
            for row in rows.into_iter().flatten() {
                if let Some(key) = replaced_for(&row).filter(|_| gen1.holds(row.frame_id.as_str()))
                {
                    newest.insert((at, key), row.seq);
                }
            }
        }
        let replaced = |owed: &Owed| {
            let newer = owed
                .key
                .as_ref()
                .and_then(|key| newest.get(&(owed.at, key.clone())));
            newer.is_some_and(|seq| *seq > owed.seq)
        };
        let missing = expected
            .for_gen1
            .iter()
            .filter(|o| !held(o) && !replaced(o));
        all.push(missing.count());
    }
    all
}

/// What one node holds.
pub fn at(
    world: &World,
    at: usize,
    shared: &Handles,
    expected: &mut Expected,
    wrong: &mut Complaints,
) {
    if expected.len() == 0 {
        wrong.add("CONVERGE: there is nothing to converge on".to_owned());
    }
    let mut seen = HashSet::new();
    for row in rows(shared) {
        let name = (row.origin.clone(), row.frame_id.clone());
        if !seen.insert(name) {
            wrong.add(format!("TWICE: n{at} holds {} twice", row.frame_id));
        }
        one(world, at, &row, &mut expected.proven, wrong);
    }
    first_hand(world, at, shared, wrong);
}

/// What the gen-1 node said over its own link stands; nothing that others said it said kept it out.
fn first_hand(world: &World, at: usize, shared: &Handles, wrong: &mut Complaints) {
    let gen1 = known(world.plan.gen1_at()).0;
    let sql = "SELECT count(*) FROM frame_conflicts WHERE origin = ?1 AND link_peer = ?1";
    let hidden = shared.store.read_blocking("conflicts", move |c| {
        Ok(c.query_row(sql, [gen1.as_str()], |r| r.get::<_, i64>(0))?)
    });
    let hidden = hidden.unwrap();
    if hidden > 0 {
        wrong.add(format!(
            "HIDDEN: at n{at} others' words stand for {hidden} frames of the gen-1 node"
        ));
    }
}

fn one(
    world: &World,
    at: usize,
    row: &StoredFrame,
    known_proofs: &mut BTreeMap<(Digest, String), bool>,
    wrong: &mut Complaints,
) {
    let id = &row.frame_id;
    let value: Value = serde_json::from_str(&row.json).unwrap();
    let frame = match Frame::parse(value) {
        Ok(frame) => frame,
        Err(refusal) => return wrong.add(format!("READABLE: n{at} holds {id}: {refusal}")),
    };
    let mesh = MeshId::of_name(MESH);
    if frame.content(&mesh) != row.content || frame.origin != row.origin {
        wrong.add(format!(
            "ALTERED: n{at} holds {id} under another content's name"
        ));
    }
    let key = key_of(world, &row.origin);
    let proven = frame.signature.zip(key).is_some_and(|(signature, key)| {
        let what = (row.content, signature.to_text());
        let check = || key.verify_strict(&frame.signing_bytes(&mesh), &signature);
        *known_proofs.entry(what).or_insert_with(check)
    });
    if row.signature == SignatureState::Verified && !proven {
        wrong.add(format!(
            "FORGED: n{at} holds {id} as signed by {}",
            row.origin.short()
        ));
    }
    if ours(world, &row.origin).is_some() && row.signature != SignatureState::Verified {
        let first_hand = row.signature == SignatureState::FirstHand;
        if first_hand || ours(world, &row.origin) == Some(at) {
            wrong.add(format!(
                "FORGED: n{at} believes {id} to be n{}'s",
                row.origin.short()
            ));
        }
    }
    let cap = cap(world, at, row, &frame, proven);
    if row.effective_tier > cap || row.effective_tier > row.claimed_tier {
        wrong.add(format!(
            "TIER: n{at} takes {id} of {} for {}, it is {cap} at most",
            row.origin.short(),
            row.effective_tier
        ));
    }
    times(world, at, row, wrong);
}

fn key_of(world: &World, origin: &DeviceId) -> Option<PublicKey> {
    (0..world.plan.nodes + 2)
        .map(known)
        .find(|(id, _)| *id == origin)
        .map(|(_, key)| *key)
}

/// As far as anybody may believe a frame, by what the world knows.
fn cap(world: &World, at: usize, row: &StoredFrame, frame: &Frame, proven: bool) -> Tier {
    let model = matches!(row.kind, FrameKind::Inference | FrameKind::AgentResponse)
        || row.json.contains("\"llm\"");
    if model {
        return Tier::T0;
    }
    let person = row.kind == FrameKind::HumanInput;
    if let Some(n) = ours(world, &row.origin) {
        return match (proven, person) {
            (false, _) => Tier::T0,
            (true, true) => Tier::T3,
            (true, false) if n == at => Tier::T3,
            (true, false) => Tier::T2,
        };
    }
    if row.origin == *known(world.plan.gen1_at()).0 {
        let first_hand = row.link_peer.as_ref() == Some(&frame.origin);
        return match (first_hand, person) {
            (true, false) => Tier::T2,
            (true, true) => Tier::T1,
            (false, _) => Tier::T0,
        };
    }
    let grants = world.plan.liar.clone().unwrap_or_default();
    if person {
        let may = grants.has(clawmesh::domain::admission::Grant::Human);
        return match (proven, may) {
            (true, true) => Tier::T3,
            (true, false) => Tier::T1,
            (false, _) => Tier::T0,
        };
    }
    match proven {
        true => grants.observe().unwrap_or(Tier::T0),
        false => Tier::T0,
    }
}

/// No liar drags a clock: not that of a frame, not that of a node.
fn times(world: &World, at: usize, row: &StoredFrame, wrong: &mut Complaints) {
    if row.time.0 > row.received_at.0 + FRAME_FUTURE_MAX_MS && row.link_peer.is_some() {
        wrong.add(format!(
            "AHEAD: n{at} orders {} by a time to come",
            row.frame_id
        ));
    }
    let latest = BEGINNING_MS + world.trace.now_ms() + world.error_max_ms + FRAME_FUTURE_MAX_MS;
    let honest = ours(world, &row.origin).is_some() && row.signature == SignatureState::Verified;
    if honest && row.hlc.is_some_and(|hlc| hlc.wall().0 > latest + 1_000) {
        wrong.add(format!(
            "AHEAD: n{at} holds {} with a logical time to come",
            row.frame_id
        ));
    }
}

/// What the gen-1 node was told is never more than the teller believes.
pub fn gen1(world: &World, wrong: &mut Complaints) {
    let Some(gen1) = &world.gen1 else { return };
    let told = gen1.told();
    for at in 0..world.places.len() {
        let Some(shared) = world.shared(at) else {
            continue;
        };
        for row in rows(&shared) {
            let key = (at, row.frame_id.to_string());
            let Some(tier) = told.get(&key) else { continue };
            let of_liar = row.origin == *known(world.plan.liar_at()).0;
            if of_liar && tier.as_str() > row.effective_tier.wire_name() {
                wrong.add(format!(
                    "GEN1: n{at} vouched with {tier} for {}, which it takes for {}",
                    row.frame_id, row.effective_tier
                ));
            }
        }
    }
}
