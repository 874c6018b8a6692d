//! Standing approvals are used at most as often as they say, as a model of the rules themselves: gives and replays of them,
//! wishes, a model's wishes, ends, crashes, clocks, restores and a person's word about state and clock, in every order up to
//! a depth and in random longer ones. Uses are counted without the store's own compare-and-set, so that only the rules keep
//! one from being used once too often.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::{HashSet, VecDeque};
use std::sync::LazyLock;

use proptest::prelude::*;

use super::case::{Case, Write};
use super::decide::begin;
use super::equal::Equals;
use super::ground::{Ground, rule};
use super::record::evidence_digest;
use super::{ProposalRecord, RequestedBy, SignedProposal, Status};
use crate::domain::base::{Code, Digest, MeshId, Refusal, Taint, Tier, TimeMs};
use crate::domain::continuity::{Mark, Place, StoreState, compare};
use crate::domain::gate::approval::Known;
use crate::domain::gate::standing_approval::{Executor, Wish, admit, vote};
use crate::domain::gate::{
    ActuationRuling, OperatorRecord, SignedOperator, SignedStanding, StandingApproval,
};
use crate::domain::identity::{DeviceKey, OperatorKey};
use crate::domain::policy::{Class, Level, Requester, Ruling, Terms};

/// A tick is longer than a signature is fresh.
const TICK_MS: u64 = 360_000;
const TICKS: u8 = 3;
/// It counts before this tick.
const UNTIL: u8 = 3;
const USES: u32 = 2;

fn at(tick: u8) -> TimeMs {
    TimeMs(1_000_000_000 + u64::from(tick) * TICK_MS)
}

static KEY: LazyLock<DeviceKey> = LazyLock::new(|| DeviceKey::from_seed(&[1; 32]));
static ANA: LazyLock<OperatorKey> = LazyLock::new(|| OperatorKey::from_seed(&[50; 32]));
static MESH: LazyLock<MeshId> = LazyLock::new(|| MeshId::of_name("m"));
static OPERATOR: LazyLock<SignedOperator> = LazyLock::new(|| {
    let record = OperatorRecord {
        operator_id: ANA.id().clone(),
        public_key: *ANA.public(),
        name: "ana".into(),
        person: None,
        max_level: Level::L2,
        issuer: KEY.id().clone(),
        issued_at: at(0),
        expires_at: None,
    };
    SignedOperator::issue(record, &KEY)
});

/// The one that was signed at the first tick; whoever saw it can bring it again.
static GIVEN: LazyLock<SignedStanding> = LazyLock::new(|| {
    let approval = StandingApproval {
        version: 1,
        mesh_id: MESH.clone(),
        executor: KEY.id().clone(),
        operator_id: ANA.id().clone(),
        target: "actuator:pump:main".parse().unwrap(),
        operation: "start".into(),
        params: Default::default(),
        askers: [Requester::Rules].into(),
        run_max_ms: 1_000,
        uses_max: USES,
        valid_from: at(0),
        valid_until: at(UNTIL),
        given_at: at(0),
        nonce: "0123456789abcdef".into(),
        note: None,
    };
    approval.sign(&ANA)
});

/// What a rule wishes for, and the same of a model that proposes exactly what was approved.
static WISHES: LazyLock<[SignedProposal; 2]> = LazyLock::new(|| [wish(false), wish(true)]);

fn wish(model: bool) -> SignedProposal {
    let (own, nonce) = (KEY.id().clone(), format!("n{model}"));
    let record = ProposalRecord {
        version: 1,
        proposal_id: ProposalRecord::id_for(&MESH, &own, &nonce),
        mesh_id: MESH.clone(),
        executor: own.clone(),
        nonce,
        draft_id: "draft".parse().unwrap(),
        requested_by: RequestedBy {
            device_id: own,
            kind: Requester::Rules,
            name: "rules".into(),
        },
        target: "actuator:pump:main".parse().unwrap(),
        operation: "start".into(),
        params: Default::default(),
        reason: "dry".into(),
        level: Level::L2,
        quorum: 1,
        rule: "pump".into(),
        taint: model.then_some(Taint::Llm).into_iter().collect(),
        policy_digest: Digest([0; 32]),
        evidence_digest: evidence_digest(&[]),
        evidence: Vec::new(),
        kind: None,
        run_ms: 1_000,
        safe_state: "stop".into(),
        gen1: None,
        slot: None,
        led_by: None,
        created_at: at(0),
        expires_at: at(TICKS + 1),
    };
    SignedProposal::mint(record, &KEY).unwrap()
}

/// What a backup copies.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
struct Disk {
    run: u8,
    /// The audit trail: each entry says after which restore it was written.
    trail: Vec<u8>,
    doubt: bool,
    newest: u8,
    given: bool,
    used: u32,
    ended: bool,
    void_before: Option<u8>,
}

/// How far a use gets before the power fails; at the end of it the actuator has moved and the node goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Lost,
    Written,
    Marked,
    Moved,
}

const FATES: [Fate; 4] = [Fate::Lost, Fate::Written, Fate::Marked, Fate::Moved];

#[derive(Debug, Clone, Copy)]
enum Deed {
    Give,
    Use(Fate),
    Model,
    End,
    Crash,
    Start,
    Later,
    Earlier,
    Backup,
    Restore,
    Confirm,
    ConfirmClock,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct World {
    /// Whether the marks outside the state directory are looked at when the node starts.
    marked: bool,
    up: bool,
    now: u8,
    disk: Disk,
    backup: Option<Disk>,
    mark: (u8, usize, u8),
    runs: u8,
    restores: u8,
    /// How often the actuator has moved by it.
    moved: u32,
    /// Whether a person was told that it has ended, and whether it moved after that, or for a model.
    told_ended: bool,
    wrong: bool,
}

impl World {
    fn new(marked: bool) -> Self {
        Self {
            marked,
            up: true,
            now: 0,
            disk: Disk::default(),
            backup: None,
            mark: (0, 0, 0),
            runs: 0,
            restores: 0,
            moved: 0,
            told_ended: false,
            wrong: false,
        }
    }

    fn deeds() -> Vec<Deed> {
        use Deed::{
            Backup, Confirm, ConfirmClock, Crash, Earlier, End, Give, Later, Model, Restore, Start,
        };
        let mut all = vec![
            Give,
            Model,
            End,
            Crash,
            Start,
            Later,
            Earlier,
            Backup,
            Restore,
            Confirm,
            ConfirmClock,
        ];
        all.extend(FATES.map(Deed::Use));
        all
    }

    fn place(&self) -> Executor<'static> {
        Executor {
            mesh_id: &MESH,
            own: KEY.id(),
            void_before: self.disk.void_before.map_or(TimeMs(0), at),
        }
    }

    fn known() -> Known<'static> {
        Known {
            operator: &OPERATOR,
            person: ANA.id(),
            issuer_key: Some(KEY.public()),
            revoked: false,
        }
    }

    fn clock_trusted(&self) -> bool {
        self.now >= self.disk.newest
    }

    fn entry(&mut self) {
        self.disk.trail.push(self.restores);
    }

    fn note(&mut self) {
        let last = self.disk.trail.last().copied().unwrap_or_default();
        self.mark = (self.disk.run, self.disk.trail.len(), last);
    }

    fn does(&mut self, deed: Deed) -> bool {
        self.tried(deed).is_some()
    }

    fn tried(&mut self, deed: Deed) -> Option<()> {
        let down = matches!(
            deed,
            Deed::Start | Deed::Restore | Deed::Confirm | Deed::ConfirmClock
        );
        let either = matches!(deed, Deed::Later | Deed::Earlier | Deed::Backup);
        (either || self.up != down).then_some(())?;
        match deed {
            Deed::Give => {
                let fresh = !self.disk.given && !self.disk.ended && self.clock_trusted();
                (fresh && !self.disk.doubt).then_some(())?;
                admit(&GIVEN, &self.place(), &Self::known(), at(self.now)).ok()?;
                self.disk.given = true;
                self.entry();
                self.note();
            }
            Deed::Use(fate) => self.uses(&WISHES[0], fate)?,
            Deed::Model => {
                self.uses(&WISHES[1], Fate::Moved)?;
                self.wrong = true;
            }
            Deed::End => {
                (!self.disk.ended).then_some(())?;
                self.disk.ended = true;
                self.entry();
                self.note();
                self.told_ended = true;
            }
            Deed::Crash => self.up = false,
            Deed::Start => self.start(),
            Deed::Later => self.now = (self.now < TICKS).then_some(self.now + 1)?,
            Deed::Earlier => self.now = self.now.checked_sub(1)?,
            Deed::Backup => {
                let changed = self.backup.as_ref() != Some(&self.disk);
                changed.then(|| self.backup = Some(self.disk.clone()))?;
            }
            Deed::Restore => {
                self.disk = self.backup.clone().filter(|b| *b != self.disk)?;
                self.restores += 1;
            }
            Deed::Confirm => {
                self.disk.doubt.then_some(())?;
                self.disk.doubt = false;
                self.runs += 1;
                self.disk.run = self.runs;
                self.void();
            }
            Deed::ConfirmClock => {
                (!self.clock_trusted()).then_some(())?;
                self.disk.newest = self.now;
                self.void();
            }
        }
        Some(())
    }

    /// As the store does it when a person says which state or clock is the right one.
    fn void(&mut self) {
        self.disk.ended |= self.disk.given;
        self.disk.void_before = Some(self.now);
        self.entry();
        self.note();
    }

    fn uses(&mut self, signed: &SignedProposal, fate: Fate) -> Option<()> {
        (self.disk.given && !self.disk.ended).then_some(())?;
        let record = signed.record();
        let (action, sources) = (record.action(), record.sources());
        let wish = Wish {
            digest: signed.digest(),
            action: &action,
            run_ms: record.run_ms,
            level: record.level,
            requester: record.requested_by.kind,
            asked_by: &record.requested_by.device_id,
            led_by: None,
            taint: &record.taint,
            sources: &sources,
        };
        let (place, now) = (self.place(), at(self.now));
        let vote = vote(&GIVEN, self.disk.used, &place, &Self::known(), &wish, now).ok()?;
        let ruling = rule(signed, &self.ground(), &[vote], now).ok()?;
        let ActuationRuling::Allow(permit) = ruling else {
            return None;
        };
        // A wish that comes is a new proposal each time.
        let case = Case {
            id: record.proposal_id.clone(),
            status: Status::AwaitingApproval,
            expires_at: record.expires_at,
            updated_at: now,
            ran: false,
            how: None,
        };
        let step = begin(&case, record, &permit, &Equals::default(), now).ok()?;
        let counted = step.0.iter();
        let counted = counted.filter(|w| matches!(w, Write::StandingUse { .. }));
        assert_eq!(counted.count(), 1, "one use is counted with the act");
        if fate != Fate::Lost {
            self.disk.used += 1;
            self.disk.newest = self.disk.newest.max(self.now);
            self.entry();
        }
        if matches!(fate, Fate::Marked | Fate::Moved) {
            self.note();
        }
        match fate {
            Fate::Moved => {
                self.moved += 1;
                self.wrong |= self.told_ended;
            }
            Fate::Lost | Fate::Written | Fate::Marked => self.up = false,
        }
        Some(())
    }

    fn ground(&self) -> Ground {
        let doubted = Refusal::new(Code::StateInDoubt, "in doubt");
        Ground {
            own: KEY.id().clone(),
            stop_stored: None,
            stop_held: None,
            in_place: match self.disk.doubt {
                true => Err(doubted),
                false => Ok(()),
            },
            busy: None,
            by_gen1: false,
            told: Ok(()),
            safe: Ok(()),
            clock_trusted: self.clock_trusted(),
            looked: Vec::new(),
            ruling: Ruling::Allow(Terms {
                rule: "pump".into(),
                class: Class::OwnRules,
                level: Level::L2,
                quorum: 1,
                kind: Default::default(),
                deadline_ms: 1_000,
                run_ms: 1_000,
                safe_state: "stop".into(),
                fresh_for_ms: None,
                tier: Some(Tier::T2),
                min_tier: Tier::T2,
                standing: Ok(()),
                checks: Vec::new(),
            }),
        }
    }

    /// The marks are compared.
    fn start(&mut self) {
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
            self.runs += 1;
            self.disk.run = self.runs;
            self.note();
        }
    }

    fn fault(&self) -> Option<String> {
        if self.moved > USES {
            return Some(format!("used {} times of {USES}", self.moved));
        }
        self.wrong
            .then(|| "it moved after its end, or for a model".to_owned())
    }
}

/// As in `once`: every order up to a depth after those of `before`.
fn every_order(marked: bool, before: &[Deed], depth: usize) -> Result<usize, String> {
    let mut begin = World::new(marked);
    for deed in before {
        assert!(begin.does(*deed), "{deed:?} is not possible");
    }
    let mut seen = HashSet::from([begin.clone()]);
    let mut next = VecDeque::from([(begin, Vec::new())]);
    while let Some((world, path)) = next.pop_front() {
        for deed in World::deeds().into_iter().filter(|_| path.len() < depth) {
            let mut after = world.clone();
            if !after.does(deed) {
                continue;
            }
            let path: Vec<Deed> = path.iter().copied().chain([deed]).collect();
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

/// It was used once, and a backup from before that is in place.
const RESTORED: [Deed; 5] = [
    Deed::Give,
    Deed::Backup,
    Deed::Use(Fate::Moved),
    Deed::Crash,
    Deed::Restore,
];

#[test]
fn no_order_of_deeds_up_to_a_depth_uses_a_standing_approval_too_often() {
    let used = [Deed::Give, Deed::Use(Fate::Moved), Deed::Use(Fate::Written)];
    for (before, depth) in [(&[][..], 6), (&used[..], 6), (&RESTORED[..], 6)] {
        let states = every_order(true, before, depth).unwrap();
        assert!(states > 100, "{before:?}: {states} states");
    }
}

#[test]
fn a_restored_state_would_give_uses_back_without_the_marks_outside_it() {
    let fault = every_order(false, &RESTORED, 4).unwrap_err();
    assert!(fault.contains("used 3 times"), "{fault}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]

    #[test]
    fn no_long_random_order_of_deeds_uses_one_too_often(choices in prop::collection::vec(any::<u16>(), 1..160)) {
        let mut world = World::new(true);
        let mut path = Vec::new();
        for choice in choices {
            let deeds = World::deeds();
            let deed = deeds[usize::from(choice) % deeds.len()];
            let mut after = world.clone();
            if after.does(deed) {
                path.push(deed);
                world = after;
            }
            let fault = world.fault();
            prop_assert!(fault.is_none(), "{fault:?}: {path:?}");
        }
    }
}
