//! The models of the rules share this: the executor and its papers, a machine whose disk is lost, copied and restored, and
//! the search through every order of deeds. Steps are written without the store's own compare-and-set, so that only the
//! rules keep an action from happening twice.

use std::collections::{HashSet, VecDeque};
use std::fmt::Debug;
use std::hash::Hash;
use std::sync::LazyLock;

use super::record::evidence_digest;
use super::{ProposalRecord, RequestedBy};
use crate::domain::base::{Code, Digest, MeshId, Refusal, Tier, TimeMs};
use crate::domain::continuity::{Mark, Place, StoreState, compare};
use crate::domain::gate::OperatorRecord;
use crate::domain::identity::{DeviceKey, OperatorKey};
use crate::domain::policy::{Class, Kind, Level, Requester, Terms};

/// A tick is longer than a decision or a signature is valid.
const TICK_MS: u64 = 360_000;
/// The last tick.
pub(super) const TICKS: u8 = 3;

/// The moment of a tick.
pub(super) fn at(tick: u8) -> TimeMs {
    TimeMs(1_000_000_000 + u64::from(tick) * TICK_MS)
}

/// The executor's key.
pub(super) static KEY: LazyLock<DeviceKey> = LazyLock::new(|| DeviceKey::from_seed(&[1; 32]));
/// Its mesh.
pub(super) static MESH: LazyLock<MeshId> = LazyLock::new(|| MeshId::of_name("m"));

/// The record of an operator's key.
pub(super) fn operator(key: &OperatorKey, name: &str, max_level: Level) -> OperatorRecord {
    OperatorRecord {
        operator_id: key.id().clone(),
        public_key: *key.public(),
        name: name.to_owned(),
        person: None,
        max_level,
        issuer: KEY.id().clone(),
        issued_at: at(0),
        expires_at: None,
    }
}

/// A proposal to start the pump, under a nonce of its own.
pub(super) fn record(nonce: &str, level: Level, kind: Option<Kind>) -> ProposalRecord {
    let own = KEY.id().clone();
    ProposalRecord {
        version: 1,
        proposal_id: ProposalRecord::id_for(&MESH, &own, nonce),
        mesh_id: MESH.clone(),
        executor: own.clone(),
        nonce: nonce.to_owned(),
        draft_id: format!("draft-{nonce}").parse().unwrap(),
        requested_by: RequestedBy {
            device_id: own,
            kind: Requester::Person,
            name: "ana".into(),
        },
        target: "actuator:pump:main".parse().unwrap(),
        operation: "start".into(),
        params: Default::default(),
        reason: "dry".into(),
        level,
        quorum: 1,
        at_node: false,
        rule: "pump".into(),
        taint: Default::default(),
        policy_digest: Digest([0; 32]),
        evidence_digest: evidence_digest(&[]),
        evidence: Vec::new(),
        run_ms: 1_000,
        safe_state: "stop".into(),
        gen1: None,
        slot: None,
        led_by: None,
        kind,
        created_at: at(0),
        expires_at: at(TICKS + 1),
    }
}

/// The policy's terms for a record.
pub(super) fn terms(class: Class, record: &ProposalRecord, standing: Result<(), String>) -> Terms {
    Terms {
        rule: record.rule.clone(),
        class,
        level: record.level,
        quorum: record.quorum,
        at_node: record.at_node,
        kind: record.kind(),
        deadline_ms: record.run_ms,
        run_ms: record.run_ms,
        safe_state: record.safe_state.clone(),
        fresh_for_ms: None,
        tier: Some(Tier::T2),
        min_tier: Tier::T2,
        standing,
        checks: Vec::new(),
    }
}

/// How far a step gets before the power fails; at the end of it the actuator has moved and the node goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    Lost,
    Written,
    Marked,
    Moved,
}

/// Every fate.
pub(super) const FATES: [Fate; 4] = [Fate::Lost, Fate::Written, Fate::Marked, Fate::Moved];

/// What a backup copies.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(super) struct Disk<T> {
    run: u8,
    /// The audit trail: each entry says after which restore it was written.
    trail: Vec<u8>,
    pub doubt: bool,
    pub newest: u8,
    pub holds: T,
}

/// A node with its disk, its clock, and what stands outside of it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Machine<T> {
    /// Whether the marks outside the state directory are looked at when the node starts.
    marked: bool,
    pub up: bool,
    pub now: u8,
    pub disk: Disk<T>,
    backup: Option<Disk<T>>,
    /// The mark outside the state directory: run, entries, the last of them.
    mark: (u8, usize, u8),
    runs: u8,
    restores: u8,
}

impl<T: Clone + Default + PartialEq> Machine<T> {
    pub(super) fn new(marked: bool) -> Self {
        Self {
            marked,
            up: true,
            now: 0,
            disk: Disk::default(),
            backup: None,
            mark: (0, 0, 0),
            runs: 0,
            restores: 0,
        }
    }

    pub(super) fn clock_trusted(&self) -> bool {
        self.now >= self.disk.newest
    }

    pub(super) fn in_place(&self) -> Result<(), Refusal> {
        match self.disk.doubt {
            true => Err(Refusal::new(Code::StateInDoubt, "in doubt")),
            false => Ok(()),
        }
    }

    /// Writes an entry of the audit trail.
    pub(super) fn entry(&mut self) {
        self.disk.trail.push(self.restores);
    }

    /// Writes the mark.
    pub(super) fn note(&mut self) {
        let last = self.disk.trail.last().copied().unwrap_or_default();
        self.mark = (self.disk.run, self.disk.trail.len(), last);
    }

    pub(super) fn later(&mut self) -> Option<()> {
        self.now = (self.now < TICKS).then_some(self.now + 1)?;
        Some(())
    }

    pub(super) fn earlier(&mut self) -> Option<()> {
        self.now = self.now.checked_sub(1)?;
        Some(())
    }

    pub(super) fn back_up(&mut self) -> Option<()> {
        let changed = self.backup.as_ref() != Some(&self.disk);
        changed.then(|| self.backup = Some(self.disk.clone()))
    }

    pub(super) fn restore(&mut self) -> Option<()> {
        self.disk = self.backup.clone().filter(|b| *b != self.disk)?;
        self.restores += 1;
        Some(())
    }

    /// The marks are compared.
    pub(super) fn start(&mut self) {
        let place = Place::default();
        let hash = |label: u8| Digest([label; 32]);
        let (run, entries, head) = self.mark;
        let mark = Mark {
            device: KEY.id().clone(),
            run: Some(run.to_string()),
            next: None,
            entries: u64::try_from(entries).unwrap(),
            head: hash(head),
            place: place.clone(),
            at: at(0),
            seq: None,
        };
        let store = StoreState {
            run: Some(self.disk.run.to_string()),
            marked_outside: true,
            entries: u64::try_from(self.disk.trail.len()).unwrap(),
        };
        let trail = self.disk.trail.clone();
        let hash_at = |n: u64| {
            let index = usize::try_from(n).unwrap().checked_sub(1)?;
            trail.get(index).map(|label| hash(*label))
        };
        let fault = compare(KEY.id(), None, Some(&mark), &store, &place, hash_at);
        self.disk.doubt |= self.marked && fault.is_some();
        self.up = true;
        if !self.disk.doubt {
            self.begin_run();
            self.note();
        }
    }

    /// A person says that this state is the one to go on with.
    pub(super) fn believe(&mut self) {
        self.disk.doubt = false;
        self.begin_run();
    }

    fn begin_run(&mut self) {
        self.runs += 1;
        self.disk.run = self.runs;
    }
}

/// A world in which deeds are done.
pub(super) trait World: Clone + Eq + Hash {
    /// One thing that may happen.
    type Deed: Copy + Debug;

    /// Every deed there is, possible or not.
    fn deeds(&self) -> Vec<Self::Deed>;

    /// Does one; `None` where it is not possible, and then nothing has changed that counts.
    fn tried(&mut self, deed: Self::Deed) -> Option<()>;

    /// What never is, whatever was done, where it is all the same.
    fn fault(&self) -> Option<String>;
}

/// Tries every order of deeds up to a depth after those of `before`; states that were reached already are not looked at
/// again. It gives how many states there are, or the first order that leads to a fault.
pub(super) fn every_order<W: World>(
    mut begin: W,
    before: &[W::Deed],
    depth: usize,
) -> Result<usize, String> {
    for deed in before {
        assert!(begin.tried(*deed).is_some(), "{deed:?} is not possible");
    }
    let mut seen = HashSet::from([begin.clone()]);
    let mut next = VecDeque::from([(begin, Vec::new())]);
    while let Some((world, path)) = next.pop_front() {
        for deed in world.deeds().into_iter().filter(|_| path.len() < depth) {
            let mut after = world.clone();
            if after.tried(deed).is_none() {
                continue;
            }
            let path: Vec<W::Deed> = path.iter().copied().chain([deed]).collect();
            if let Some(fault) = after.fault() {
                return Err(format!("{fault}: {before:?} {path:?}"));
            }
            if seen.insert(after.clone()) {
                next.push_back((after, path));
            }
        }
    }
    Ok(seen.len())
}

/// Does one deed for each choice, of those that there are then.
pub(super) fn one_order<W: World>(mut world: W, choices: &[u16]) -> Result<(), String> {
    let mut path = Vec::new();
    for choice in choices {
        let deeds = world.deeds();
        let deed = deeds[usize::from(*choice) % deeds.len()];
        let mut after = world.clone();
        if after.tried(deed).is_some() {
            path.push(deed);
            world = after;
        }
        if let Some(fault) = world.fault() {
            return Err(format!("{fault}: {path:?}"));
        }
    }
    Ok(())
}
