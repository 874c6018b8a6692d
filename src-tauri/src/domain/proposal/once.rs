//! At most once (invariant I6), as a model of the rules themselves: drafts, decisions, crashes, clocks, restores and a
//! person's word about the state, in every order up to a depth and in random longer ones. Steps are written without the
//! store's own compare-and-set, so that only the rules keep an action from happening twice.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::sync::LazyLock;

use proptest::prelude::*;

use super::case::{Case, Step, Write};
use super::decide::{Found, Given, Used, begin, decide};
use super::end::{expire, finish, interrupted, void, withdraw};
use super::equal::{Beside, Equal, Equals};
use super::ground::{Ground, rule};
use super::record::evidence_digest;
use super::{Outcome, ProposalRecord, RequestedBy, SignedProposal, Status};
use crate::domain::base::{Code, DeviceId, Digest, MeshId, ProposalId, Refusal, Tier, TimeMs};
use crate::domain::continuity::{Mark, Place, StoreState, compare};
use crate::domain::gate::approval::{Known, Subject, Verdict, verify};
use crate::domain::gate::{
    ActuationRuling, Decision, OperatorRecord, SignedDecision, SignedOperator, VerifiedApproval,
};
use crate::domain::identity::{DeviceKey, OperatorKey};
use crate::domain::policy::{Class, Level, Requester, Ruling, Terms};

/// A tick is longer than a decision is valid; a proposal waits for two.
const TICK_MS: u64 = 360_000;
const TICKS: u8 = 3;
const PROPOSALS: usize = 4;

fn at(tick: u8) -> TimeMs {
    TimeMs(1_000_000_000 + u64::from(tick) * TICK_MS)
}

/// The decisions that people sign about each proposal: who, what, when.
const VOTES: [(u8, Verdict, u8); 4] = [
    (0, Verdict::Approve, 0),
    (0, Verdict::Approve, 1),
    (1, Verdict::Approve, 0),
    (1, Verdict::Reject, 0),
];

/// Whose wish each proposal is: the first two have nothing to do with each other, the others are better entitled.
const CLASSES: [Class; PROPOSALS] = [
    Class::PeerPerson,
    Class::PeerPerson,
    Class::Person,
    Class::OwnRules,
];

/// The device that asks for a proposal.
fn asker(n: usize) -> DeviceId {
    match CLASSES[n].is_claimed() {
        true => DeviceId::of_public_key(&[u8::try_from(n).unwrap(); 32]),
        false => KEY.id().clone(),
    }
}

/// A proposal with every decision that is signed about it.
struct Paper {
    signed: SignedProposal,
    votes: Vec<(SignedDecision, VerifiedApproval)>,
}

/// The executor, its operators and what they sign, made once.
static PAPERS: LazyLock<Vec<Paper>> = LazyLock::new(|| (0..PROPOSALS).map(paper).collect());
static KEY: LazyLock<DeviceKey> = LazyLock::new(|| DeviceKey::from_seed(&[1; 32]));

fn paper(n: usize) -> Paper {
    let (own, mesh) = (KEY.id().clone(), MeshId::of_name("m"));
    let nonce = format!("n{n}");
    let (level, quorum) = match n % 2 {
        0 => (Level::L2, 1),
        _ => (Level::L3, 2),
    };
    let record = ProposalRecord {
        version: 1,
        proposal_id: ProposalRecord::id_for(&mesh, &own, &nonce),
        mesh_id: mesh.clone(),
        executor: own.clone(),
        nonce,
        draft_id: format!("draft-{n}").parse().unwrap(),
        requested_by: RequestedBy {
            device_id: own.clone(),
            kind: Requester::Person,
            name: "ana".into(),
        },
        target: "actuator:pump:main".parse().unwrap(),
        operation: "start".into(),
        params: Default::default(),
        reason: "dry".into(),
        level,
        quorum,
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
        kind: None,
        created_at: at(0),
        expires_at: at(TICKS + 1),
    };
    let signed = SignedProposal::mint(record, &KEY).unwrap();
    let votes = VOTES.map(|(who, verdict, tick)| vote(&signed, who, verdict, tick));
    Paper {
        signed,
        votes: votes.into(),
    }
}

fn vote(
    signed: &SignedProposal,
    who: u8,
    verdict: Verdict,
    tick: u8,
) -> (SignedDecision, VerifiedApproval) {
    let person = OperatorKey::from_seed(&[50 + who; 32]);
    let record = signed.record();
    let operator = OperatorRecord {
        operator_id: person.id().clone(),
        public_key: *person.public(),
        name: format!("person {who}"),
        person: None,
        max_level: Level::L3,
        issuer: KEY.id().clone(),
        issued_at: at(0),
        expires_at: None,
    };
    let decision = Decision {
        verdict,
        mesh_id: record.mesh_id.clone(),
        executor: record.executor.clone(),
        proposal_id: record.proposal_id.clone(),
        digest: *signed.digest(),
        operator_id: person.id().clone(),
        decided_at: at(tick),
        note: None,
    };
    let decision = decision.sign(&person);
    let subject = Subject {
        mesh_id: &record.mesh_id,
        executor: &record.executor,
        proposal_id: &record.proposal_id,
        digest: signed.digest(),
        level: record.level,
        asked_by: &record.requested_by.device_id,
        led_by: record.led_by.as_ref(),
        created_at: record.created_at,
        expires_at: record.expires_at,
    };
    let known = Known {
        operator: &SignedOperator::issue(operator, &KEY),
        person: person.id(),
        issuer_key: Some(KEY.public()),
        revoked: false,
    };
    let verified = verify(&decision, &subject, &known, at(tick)).unwrap();
    (decision, verified)
}

/// A stored proposal.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Stored {
    status: Status,
    ran: bool,
    /// When it stops waiting.
    until: u8,
    /// What became of each decision: `None` if it was not here, else whether it was taken.
    used: [Option<bool>; VOTES.len()],
    /// The standing word of each operator.
    words: [Option<u8>; 2],
}

/// What a backup copies.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
struct Disk {
    run: u8,
    /// The audit trail: each entry says after which restore it was written.
    trail: Vec<u8>,
    doubt: bool,
    newest: u8,
    proposals: BTreeMap<usize, Stored>,
}

/// How far a step gets before the power fails; at the end of it the actuator has moved and the node goes on.
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
    Draft,
    Decide(usize, usize, Fate),
    /// Whatever else may hold a permit for it: the automatic start of a level that needs nobody.
    Begin(usize, Fate),
    Finish(usize),
    Expire(usize),
    Withdraw(usize),
    Crash,
    Start,
    Later,
    Earlier,
    Backup,
    Restore,
    Confirm,
}

/// The node, its disk, what stands outside of it, and the real world.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct World {
    most: usize,
    /// Whether the marks outside the state directory are looked at when the node starts.
    marked: bool,
    up: bool,
    now: u8,
    disk: Disk,
    backup: Option<Disk>,
    /// The mark outside the state directory: run, entries, the last of them.
    mark: (u8, usize, u8),
    runs: u8,
    restores: u8,
    minted: usize,
    /// How often the actuator has moved for each proposal.
    moved: [u8; PROPOSALS],
}

impl World {
    fn new(most: usize) -> Self {
        Self {
            most,
            marked: true,
            up: true,
            now: 0,
            disk: Disk::default(),
            backup: None,
            mark: (0, 0, 0),
            runs: 0,
            restores: 0,
            minted: 0,
            moved: [0; PROPOSALS],
        }
    }

    /// Every deed there is, possible or not.
    fn deeds(&self) -> Vec<Deed> {
        use Deed::{Backup, Confirm, Crash, Draft, Earlier, Later, Restore, Start};
        let mut all = vec![
            Draft, Crash, Start, Later, Earlier, Backup, Restore, Confirm,
        ];
        for n in 0..self.minted {
            all.extend([Deed::Finish(n), Deed::Expire(n), Deed::Withdraw(n)]);
            all.extend(FATES.map(|fate| Deed::Begin(n, fate)));
            for v in 0..VOTES.len() {
                all.extend(FATES.map(|fate| Deed::Decide(n, v, fate)));
            }
        }
        all
    }

    fn case(&self, n: usize) -> Option<Case> {
        let stored = self.disk.proposals.get(&n)?;
        Some(Case {
            id: PAPERS[n].signed.record().proposal_id.clone(),
            status: stored.status,
            expires_at: at(stored.until),
            updated_at: at(0),
            ran: stored.ran,
            how: None,
        })
    }

    fn equals(&self, but: usize) -> Equals {
        let mut equals = Equals::default();
        for n in (0..self.minted).filter(|n| *n != but) {
            let Some(case) = self.case(n).filter(|case| case.status.is_open()) else {
                continue;
            };
            match case.has_run_out(at(self.now)) {
                true => equals.over.push(case),
                false => equals.standing.push(Equal {
                    case,
                    class: CLASSES[n],
                    asker: asker(n),
                    level: PAPERS[n].signed.record().level,
                }),
            }
        }
        equals
    }

    fn ground(&self, n: usize) -> Ground {
        let record = PAPERS[n].signed.record();
        let acting = |(_, p): &(&usize, &Stored)| p.status == Status::Executing;
        let busy = self.disk.proposals.iter().find(acting);
        let doubted = Refusal::new(Code::StateInDoubt, "in doubt");
        Ground {
            own: KEY.id().clone(),
            stop_stored: None,
            stop_held: None,
            in_place: if self.disk.doubt {
                Err(doubted)
            } else {
                Ok(())
            },
            busy: busy.map(|(n, _)| PAPERS[*n].signed.record().proposal_id.clone()),
            by_gen1: false,
            told: Ok(()),
            safe: Ok(()),
            clock_trusted: self.now >= self.disk.newest,
            looked: Vec::new(),
            ruling: Ruling::Allow(Terms {
                rule: "pump".into(),
                class: CLASSES[n],
                level: record.level,
                quorum: record.quorum,
                kind: Default::default(),
                deadline_ms: 1_000,
                run_ms: 1_000,
                safe_state: "stop".into(),
                fresh_for_ms: None,
                tier: Some(Tier::T2),
                min_tier: Tier::T2,
                standing: Err("no".into()),
                checks: Vec::new(),
            }),
        }
    }

    fn number(id: &ProposalId) -> usize {
        let is = |p: &Paper| p.signed.record().proposal_id == *id;
        PAPERS.iter().position(is).unwrap()
    }

    /// Writes a step as it stands. `decided` is the decision that it is about.
    fn write(&mut self, step: &Step, decided: Option<(usize, usize)>) {
        for write in &step.0 {
            match write {
                Write::Move { id, to, .. } => {
                    let n = Self::number(id);
                    self.disk.proposals.get_mut(&n).unwrap().status = *to;
                }
                Write::Decision { .. } => {
                    let (n, v) = decided.unwrap();
                    let stored = self.disk.proposals.get_mut(&n).unwrap();
                    stored.used[v] = Some(true);
                    stored.words[usize::from(VOTES[v].0)] = u8::try_from(v).ok();
                }
                Write::Run { id, .. } => {
                    let n = Self::number(id);
                    self.disk.proposals.get_mut(&n).unwrap().ran = true;
                    self.disk.newest = self.disk.newest.max(self.now);
                }
                Write::Steps { .. }
                | Write::StandingUse { .. }
                | Write::Noticed(_)
                | Write::Ended(..) => {}
            }
        }
        self.entry();
    }

    fn entry(&mut self) {
        self.disk.trail.push(self.restores);
    }

    fn note(&mut self) {
        let last = self.disk.trail.last().copied().unwrap_or_default();
        self.mark = (self.disk.run, self.disk.trail.len(), last);
    }

    /// A step that begins an action, as far as it gets.
    fn act(&mut self, n: usize, step: &Step, decided: Option<(usize, usize)>, fate: Fate) {
        if fate != Fate::Lost {
            self.write(step, decided);
        }
        if matches!(fate, Fate::Marked | Fate::Moved) {
            self.note();
        }
        match fate {
            Fate::Moved => self.moved[n] += 1,
            Fate::Lost | Fate::Written | Fate::Marked => self.up = false,
        }
    }

    /// Whether the deed was possible; where it was not, nothing has changed that counts.
    fn does(&mut self, deed: Deed) -> bool {
        self.tried(deed).is_some()
    }

    fn tried(&mut self, deed: Deed) -> Option<()> {
        let down = matches!(deed, Deed::Start | Deed::Restore | Deed::Confirm);
        let either = matches!(deed, Deed::Later | Deed::Earlier | Deed::Backup);
        (either || self.up != down).then_some(())?;
        match deed {
            Deed::Draft => self.draft()?,
            Deed::Decide(n, v, fate) => self.decides(n, v, fate)?,
            Deed::Begin(n, fate) => {
                let (case, ground) = (self.case(n)?, self.ground(n));
                let votes: Vec<VerifiedApproval> =
                    [0, 2].map(|v: usize| PAPERS[n].votes[v].1.clone()).into();
                let (signed, now) = (&PAPERS[n].signed, at(self.now));
                let ActuationRuling::Allow(permit) = rule(signed, &ground, &votes, now).ok()?
                else {
                    return None;
                };
                let equals = self.equals(n);
                let step = begin(&case, signed.record(), &permit, &equals, now).ok()?;
                self.act(n, &step, None, fate);
            }
            Deed::Finish(n) => {
                let outcome = Outcome {
                    status: Status::Completed,
                    detail: String::new(),
                    started_at: at(0),
                    ended_at: at(self.now),
                    actuator_state: None,
                };
                let step = finish(&self.case(n)?, &outcome).ok()?;
                self.write(&step, None);
            }
            Deed::Expire(n) => {
                let step = expire(&self.case(n)?, at(self.now)).ok()?;
                self.write(&step, None);
            }
            Deed::Withdraw(n) => {
                let step = withdraw(&self.case(n)?, "no need").ok()?;
                self.write(&step, None);
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
                let older = self.backup.clone().filter(|b| *b != self.disk)?;
                self.disk = older;
                self.restores += 1;
            }
            Deed::Confirm => self.confirm()?,
        }
        Some(())
    }

    fn draft(&mut self) -> Option<()> {
        (self.minted < self.most && !self.disk.doubt).then_some(())?;
        let n = self.minted;
        let equals = self.equals(n);
        let tidied = equals.tidy(at(self.now)).ok()?;
        let (class, from) = (CLASSES[n], asker(n));
        let record = PAPERS[n].signed.record();
        equals.same(class, &from).is_none().then_some(())?;
        let beside = equals.beside(class, record.level, &from, &record.proposal_id);
        let Beside::Ends(less) = beside.ok()? else {
            return None;
        };
        self.write(&Step(tidied), None);
        self.write(&less, None);
        self.minted += 1;
        let stored = Stored {
            status: Status::AwaitingApproval,
            ran: false,
            until: self.now + 2,
            used: [None; VOTES.len()],
            words: [None; 2],
        };
        self.disk.proposals.insert(n, stored);
        self.entry();
        Some(())
    }

    fn decides(&mut self, n: usize, v: usize, fate: Fate) -> Option<()> {
        let paper = &PAPERS[n];
        let stored = self.disk.proposals.get(&n)?;
        let words = stored.words.iter().flatten();
        let words: Vec<_> = words.map(|w| &paper.votes[usize::from(*w)]).collect();
        let (signed, vote) = &paper.votes[v];
        let found = Found {
            case: self.case(n)?,
            proposal: paper.signed.clone(),
            stored: words.iter().map(|(signed, _)| signed.clone()).collect(),
            votes: words.iter().map(|(_, vote)| vote.clone()).collect(),
            standing: Vec::new(),
            ground: Some(self.ground(n)),
            equals: self.equals(n),
        };
        let given = Given {
            signed,
            vote: vote.clone(),
            used: match stored.used[v] {
                None => Used::Never,
                Some(true) => Used::Taken,
                Some(false) => Used::Refused("ACTUATOR_BUSY".to_owned()),
            },
        };
        match decide(&found, &given, at(self.now)) {
            Ok(decided) if decided.permit.is_some() => {
                self.act(n, &decided.step, Some((n, v)), fate);
            }
            // Nothing moves: it is written, or it is lost.
            _ if fate == Fate::Lost => self.up = false,
            _ if fate != Fate::Written => return None,
            Ok(decided) => self.write(&decided.step, Some((n, v))),
            Err(_) => {
                let stored = self.disk.proposals.get_mut(&n)?;
                stored.used[v].is_none().then_some(())?;
                stored.used[v] = Some(false);
                self.entry();
            }
        }
        Some(())
    }

    /// The marks are compared, and what was interrupted is reported.
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
        for n in 0..self.minted {
            let case = self.case(n);
            let outcome = case
                .as_ref()
                .and_then(|c| interrupted(c, "", None, at(self.now)));
            if let (Some(case), Some(outcome)) = (case, outcome) {
                self.write(&finish(&case, &outcome).unwrap(), None);
            }
        }
    }

    /// A person at the node says that this state is the one to go on with: what was open in it is void.
    fn confirm(&mut self) -> Option<()> {
        self.disk.doubt.then_some(())?;
        for n in 0..self.minted {
            if let Some(case) = self.case(n).filter(|case| case.status.is_open()) {
                self.write(&void(&case, "restored").unwrap(), None);
            }
        }
        self.disk.doubt = false;
        self.runs += 1;
        self.disk.run = self.runs;
        self.entry();
        self.note();
        Some(())
    }

    /// What never is, whatever was done.
    fn fault(&self) -> Option<String> {
        let twice = (0..PROPOSALS).find(|n| self.moved[*n] > 1);
        let acting = self.disk.proposals.values();
        let acting = acting.filter(|p| p.status == Status::Executing).count();
        match twice {
            Some(n) => Some(format!("proposal {n} moved its actuator twice")),
            None => (acting > 1).then(|| format!("{acting} proposals act on one actuator")),
        }
    }
}

/// Tries every order of deeds up to a depth after those of `before`; states that were reached already are not looked at
/// again. It gives how many states there are, or the first order that leads to a fault.
fn every_order(marked: bool, before: &[Deed], depth: usize) -> Result<usize, String> {
    let mut begin = World {
        marked,
        ..World::new(2)
    };
    for deed in before {
        assert!(begin.does(*deed), "{deed:?} is not possible");
    }
    let mut seen = HashSet::from([begin.clone()]);
    let mut next = VecDeque::from([(begin, Vec::new())]);
    while let Some((world, path)) = next.pop_front() {
        for deed in world.deeds().into_iter().filter(|_| path.len() < depth) {
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

/// The actuator has moved for the first of two proposals, and a backup from before is in place.
const RESTORED: [Deed; 6] = [
    Deed::Draft,
    Deed::Draft,
    Deed::Backup,
    Deed::Decide(0, 0, Fate::Moved),
    Deed::Crash,
    Deed::Restore,
];

#[test]
fn no_order_of_deeds_up_to_a_depth_acts_twice() {
    let drafted = [Deed::Draft, Deed::Draft];
    let moved = [Deed::Draft, Deed::Draft, Deed::Decide(0, 0, Fate::Moved)];
    for (before, depth) in [(&drafted[..], 4), (&moved[..], 4), (&RESTORED[..], 5)] {
        let states = every_order(true, before, depth).unwrap();
        assert!(states > 100, "{before:?}: {states} states");
    }
}

#[test]
fn a_restored_state_would_act_again_without_the_marks_outside_it() {
    let fault = every_order(false, &RESTORED, 3).unwrap_err();
    assert!(fault.contains("moved its actuator twice"), "{fault}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]

    #[test]
    fn no_long_random_order_of_deeds_acts_twice(choices in prop::collection::vec(any::<u16>(), 1..120)) {
        let mut world = World::new(PROPOSALS);
        let mut path = Vec::new();
        for choice in choices {
            let deeds = world.deeds();
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
