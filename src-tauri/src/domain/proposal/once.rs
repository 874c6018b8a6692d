//! At most once (invariant I6), as a model of the rules themselves: drafts, decisions, crashes, clocks, restores and a
//! person's word about the state, in every order up to a depth and in random longer ones.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::BTreeMap;
use std::sync::LazyLock;

use proptest::prelude::*;

use super::case::{Case, Step, Write};
use super::decide::{Found, Given, Used, begin, decide};
use super::end::{expire, finish, interrupted, void, withdraw};
use super::equal::{Beside, Equal, Equals};
use super::ground::{Ground, rule};
use super::model::{
    FATES, Fate, KEY, Machine, at, every_order, one_order, operator, record, terms,
};
use super::{Outcome, ProposalRecord, SignedProposal, Status, model};
use crate::domain::base::{DeviceId, ProposalId};
use crate::domain::gate::approval::{Known, Subject, Verdict, verify};
use crate::domain::gate::{
    ActuationRuling, Decision, SignedDecision, SignedOperator, VerifiedApproval,
};
use crate::domain::identity::OperatorKey;
use crate::domain::policy::{Class, Level, Ruling};

/// The executor mints so many.
const PROPOSALS: usize = 4;

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

fn paper(n: usize) -> Paper {
    let (level, quorum) = match n % 2 {
        0 => (Level::L2, 1),
        _ => (Level::L3, 2),
    };
    let record = ProposalRecord {
        quorum,
        at_node: false,
        ..record(&format!("n{n}"), level, None)
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
    let operator = operator(&person, &format!("person {who}"), Level::L3);
    let decision = Decision {
        verdict,
        mesh_id: record.mesh_id.clone(),
        executor: record.executor.clone(),
        proposal_id: record.proposal_id.clone(),
        digest: *signed.digest(),
        operator_id: person.id().clone(),
        decided_at: at(tick),
        note: None,
        channel: None,
        at_node: None,
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
        origins: &[],
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

type Disk = BTreeMap<usize, Stored>;

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
    node: Machine<Disk>,
    minted: usize,
    /// How often the actuator has moved for each proposal.
    moved: [u8; PROPOSALS],
}

impl World {
    fn new(marked: bool, most: usize) -> Self {
        Self {
            most,
            node: Machine::new(marked),
            minted: 0,
            moved: [0; PROPOSALS],
        }
    }

    fn case(&self, n: usize) -> Option<Case> {
        let stored = self.node.disk.holds.get(&n)?;
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
            match case.has_run_out(at(self.node.now)) {
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
        let busy = self.node.disk.holds.iter().find(acting);
        Ground {
            own: KEY.id().clone(),
            stop_stored: None,
            stop_held: None,
            in_place: self.node.in_place(),
            busy: busy.map(|(n, _)| PAPERS[*n].signed.record().proposal_id.clone()),
            replaces: None,
            by_gen1: false,
            told: Ok(()),
            safe: Ok(()),
            clock_trusted: self.node.clock_trusted(),
            looked: Vec::new(),
            ruling: Ruling::Allow(terms(CLASSES[n], record, Err("no".into()))),
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
                    self.node.disk.holds.get_mut(&n).unwrap().status = *to;
                }
                Write::Decision { .. } => {
                    let (n, v) = decided.unwrap();
                    let stored = self.node.disk.holds.get_mut(&n).unwrap();
                    stored.used[v] = Some(true);
                    stored.words[usize::from(VOTES[v].0)] = u8::try_from(v).ok();
                }
                Write::Run { id, .. } => {
                    let n = Self::number(id);
                    self.node.disk.holds.get_mut(&n).unwrap().ran = true;
                    self.node.disk.newest = self.node.disk.newest.max(self.node.now);
                }
                Write::Steps { .. }
                | Write::StandingUse { .. }
                | Write::Noticed(_)
                | Write::Ended(..) => {}
            }
        }
        self.node.entry();
    }

    /// A step that begins an action, as far as it gets.
    fn act(&mut self, n: usize, step: &Step, decided: Option<(usize, usize)>, fate: Fate) {
        if fate != Fate::Lost {
            self.write(step, decided);
        }
        if matches!(fate, Fate::Marked | Fate::Moved) {
            self.node.note();
        }
        match fate {
            Fate::Moved => self.moved[n] += 1,
            Fate::Lost | Fate::Written | Fate::Marked => self.node.up = false,
        }
    }

    fn draft(&mut self) -> Option<()> {
        (self.minted < self.most && !self.node.disk.doubt).then_some(())?;
        let n = self.minted;
        let equals = self.equals(n);
        let tidied = equals.tidy(at(self.node.now)).ok()?;
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
            until: self.node.now + 2,
            used: [None; VOTES.len()],
            words: [None; 2],
        };
        self.node.disk.holds.insert(n, stored);
        self.node.entry();
        Some(())
    }

    fn decides(&mut self, n: usize, v: usize, fate: Fate) -> Option<()> {
        let paper = &PAPERS[n];
        let stored = self.node.disk.holds.get(&n)?;
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
        match decide(&found, &given, at(self.node.now)) {
            Ok(decided) if decided.permit.is_some() => {
                self.act(n, &decided.step, Some((n, v)), fate);
            }
            // Nothing moves: it is written, or it is lost.
            _ if fate == Fate::Lost => self.node.up = false,
            _ if fate != Fate::Written => return None,
            Ok(decided) => self.write(&decided.step, Some((n, v))),
            Err(_) => {
                let stored = self.node.disk.holds.get_mut(&n)?;
                stored.used[v].is_none().then_some(())?;
                stored.used[v] = Some(false);
                self.node.entry();
            }
        }
        Some(())
    }

    /// The marks are compared, and what was interrupted is reported.
    fn start(&mut self) {
        self.node.start();
        for n in 0..self.minted {
            let case = self.case(n);
            let outcome = case
                .as_ref()
                .and_then(|c| interrupted(c, "", None, at(self.node.now)));
            if let (Some(case), Some(outcome)) = (case, outcome) {
                self.write(&finish(&case, &outcome).unwrap(), None);
            }
        }
    }

    /// A person at the node says that this state is the one to go on with: what was open in it is void.
    fn confirm(&mut self) -> Option<()> {
        self.node.disk.doubt.then_some(())?;
        for n in 0..self.minted {
            if let Some(case) = self.case(n).filter(|case| case.status.is_open()) {
                self.write(&void(&case, "restored").unwrap(), None);
            }
        }
        self.node.believe();
        self.node.entry();
        self.node.note();
        Some(())
    }
}

impl model::World for World {
    type Deed = Deed;

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

    fn tried(&mut self, deed: Deed) -> Option<()> {
        let down = matches!(deed, Deed::Start | Deed::Restore | Deed::Confirm);
        let either = matches!(deed, Deed::Later | Deed::Earlier | Deed::Backup);
        (either || self.node.up != down).then_some(())?;
        match deed {
            Deed::Draft => self.draft()?,
            Deed::Decide(n, v, fate) => self.decides(n, v, fate)?,
            Deed::Begin(n, fate) => {
                let (case, ground) = (self.case(n)?, self.ground(n));
                let votes: Vec<VerifiedApproval> =
                    [0, 2].map(|v: usize| PAPERS[n].votes[v].1.clone()).into();
                let (signed, now) = (&PAPERS[n].signed, at(self.node.now));
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
                    ended_at: at(self.node.now),
                    actuator_state: None,
                };
                let step = finish(&self.case(n)?, &outcome).ok()?;
                self.write(&step, None);
            }
            Deed::Expire(n) => {
                let step = expire(&self.case(n)?, at(self.node.now)).ok()?;
                self.write(&step, None);
            }
            Deed::Withdraw(n) => {
                let step = withdraw(&self.case(n)?, "no need").ok()?;
                self.write(&step, None);
            }
            Deed::Crash => self.node.up = false,
            Deed::Start => self.start(),
            Deed::Later => self.node.later()?,
            Deed::Earlier => self.node.earlier()?,
            Deed::Backup => self.node.back_up()?,
            Deed::Restore => self.node.restore()?,
            Deed::Confirm => self.confirm()?,
        }
        Some(())
    }

    fn fault(&self) -> Option<String> {
        let twice = (0..PROPOSALS).find(|n| self.moved[*n] > 1);
        let acting = self.node.disk.holds.values();
        let acting = acting.filter(|p| p.status == Status::Executing).count();
        match twice {
            Some(n) => Some(format!("proposal {n} moved its actuator twice")),
            None => (acting > 1).then(|| format!("{acting} proposals act on one actuator")),
        }
    }
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
        let states = every_order(World::new(true, 2), before, depth).unwrap();
        assert!(states > 100, "{before:?}: {states} states");
    }
}

#[test]
fn a_restored_state_would_act_again_without_the_marks_outside_it() {
    let fault = every_order(World::new(false, 2), &RESTORED, 3).unwrap_err();
    assert!(fault.contains("moved its actuator twice"), "{fault}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]

    #[test]
    fn no_long_random_order_of_deeds_acts_twice(choices in prop::collection::vec(any::<u16>(), 1..120)) {
        let fault = one_order(World::new(true, PROPOSALS), &choices);
        prop_assert!(fault.is_ok(), "{fault:?}");
    }
}
