//! Standing approvals are used at most as often as they say, as a model of the rules themselves: gives and replays of them,
//! wishes, a model's wishes, ends, crashes, clocks, restores and a person's word about state and clock, in every order up to
//! a depth and in random longer ones.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::sync::LazyLock;

use proptest::prelude::*;

use super::case::{Case, Write};
use super::decide::begin;
use super::equal::Equals;
use super::ground::{Ground, rule};
use super::model::{
    FATES, Fate, KEY, MESH, Machine, TICKS, at, every_order, one_order, operator, record, terms,
};
use super::{ProposalRecord, RequestedBy, SignedProposal, Status, model};
use crate::domain::base::{Taint, TimeMs};
use crate::domain::gate::approval::Known;
use crate::domain::gate::standing_approval::{Executor, Wish, admit, vote};
use crate::domain::gate::{ActuationRuling, SignedOperator, SignedStanding, StandingApproval};
use crate::domain::identity::OperatorKey;
use crate::domain::policy::{Class, Level, Requester, Ruling};

/// It counts before this tick.
const UNTIL: u8 = TICKS;
const USES: u32 = 2;

static ANA: LazyLock<OperatorKey> = LazyLock::new(|| OperatorKey::from_seed(&[50; 32]));
static OPERATOR: LazyLock<SignedOperator> = LazyLock::new(|| {
    let record = operator(&ANA, "ana", Level::L2);
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
    let record = record(&format!("n{model}"), Level::L2, None);
    let record = ProposalRecord {
        requested_by: RequestedBy {
            kind: Requester::Rules,
            name: "rules".into(),
            ..record.requested_by.clone()
        },
        taint: model.then_some(Taint::Llm).into_iter().collect(),
        ..record
    };
    SignedProposal::mint(record, &KEY).unwrap()
}

/// The standing approval, as it is stored.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
struct Disk {
    given: bool,
    used: u32,
    ended: bool,
    void_before: Option<u8>,
}

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
    node: Machine<Disk>,
    /// How often the actuator has moved by it.
    moved: u32,
    /// Whether a person was told that it has ended, and whether it moved after that, or for a model.
    told_ended: bool,
    wrong: bool,
}

impl World {
    fn new(marked: bool) -> Self {
        Self {
            node: Machine::new(marked),
            moved: 0,
            told_ended: false,
            wrong: false,
        }
    }

    fn place(&self) -> Executor<'static> {
        Executor {
            mesh_id: &MESH,
            own: KEY.id(),
            void_before: self.node.disk.holds.void_before.map_or(TimeMs(0), at),
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

    /// As the store does it when a person says which state or clock is the right one.
    fn void(&mut self) {
        self.node.disk.holds.ended |= self.node.disk.holds.given;
        self.node.disk.holds.void_before = Some(self.node.now);
        self.node.entry();
        self.node.note();
    }

    fn uses(&mut self, signed: &SignedProposal, fate: Fate) -> Option<()> {
        (self.node.disk.holds.given && !self.node.disk.holds.ended).then_some(())?;
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
        let (place, now) = (self.place(), at(self.node.now));
        let vote = vote(
            &GIVEN,
            self.node.disk.holds.used,
            &place,
            &Self::known(),
            &wish,
            now,
        )
        .ok()?;
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
            self.node.disk.holds.used += 1;
            self.node.disk.newest = self.node.disk.newest.max(self.node.now);
            self.node.entry();
        }
        if matches!(fate, Fate::Marked | Fate::Moved) {
            self.node.note();
        }
        match fate {
            Fate::Moved => {
                self.moved += 1;
                self.wrong |= self.told_ended;
            }
            Fate::Lost | Fate::Written | Fate::Marked => self.node.up = false,
        }
        Some(())
    }

    fn ground(&self) -> Ground {
        let record = WISHES[0].record();
        Ground {
            own: KEY.id().clone(),
            stop_stored: None,
            stop_held: None,
            in_place: self.node.in_place(),
            busy: None,
            replaces: None,
            by_gen1: false,
            told: Ok(()),
            safe: Ok(()),
            clock_trusted: self.node.clock_trusted(),
            looked: Vec::new(),
            ruling: Ruling::Allow(terms(Class::OwnRules, record, Ok(()))),
        }
    }
}

impl model::World for World {
    type Deed = Deed;

    fn deeds(&self) -> Vec<Deed> {
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

    fn tried(&mut self, deed: Deed) -> Option<()> {
        let down = matches!(
            deed,
            Deed::Start | Deed::Restore | Deed::Confirm | Deed::ConfirmClock
        );
        let either = matches!(deed, Deed::Later | Deed::Earlier | Deed::Backup);
        (either || self.node.up != down).then_some(())?;
        match deed {
            Deed::Give => {
                let fresh = !self.node.disk.holds.given
                    && !self.node.disk.holds.ended
                    && self.node.clock_trusted();
                (fresh && !self.node.disk.doubt).then_some(())?;
                admit(&GIVEN, &self.place(), &Self::known(), at(self.node.now)).ok()?;
                self.node.disk.holds.given = true;
                self.node.entry();
                self.node.note();
            }
            Deed::Use(fate) => self.uses(&WISHES[0], fate)?,
            Deed::Model => {
                self.uses(&WISHES[1], Fate::Moved)?;
                self.wrong = true;
            }
            Deed::End => {
                (!self.node.disk.holds.ended).then_some(())?;
                self.node.disk.holds.ended = true;
                self.node.entry();
                self.node.note();
                self.told_ended = true;
            }
            Deed::Crash => self.node.up = false,
            Deed::Start => self.node.start(),
            Deed::Later => self.node.later()?,
            Deed::Earlier => self.node.earlier()?,
            Deed::Backup => self.node.back_up()?,
            Deed::Restore => self.node.restore()?,
            Deed::Confirm => {
                self.node.disk.doubt.then_some(())?;
                self.node.believe();
                self.void();
            }
            Deed::ConfirmClock => {
                (!self.node.clock_trusted()).then_some(())?;
                self.node.disk.newest = self.node.now;
                self.void();
            }
        }
        Some(())
    }

    fn fault(&self) -> Option<String> {
        if self.moved > USES {
            return Some(format!("used {} times of {USES}", self.moved));
        }
        self.wrong
            .then(|| "it moved after its end, or for a model".to_owned())
    }
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
        let states = every_order(World::new(true), before, depth).unwrap();
        assert!(states > 100, "{before:?}: {states} states");
    }
}

#[test]
fn a_restored_state_would_give_uses_back_without_the_marks_outside_it() {
    let fault = every_order(World::new(false), &RESTORED, 4).unwrap_err();
    assert!(fault.contains("used 3 times"), "{fault}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]

    #[test]
    fn no_long_random_order_of_deeds_uses_one_too_often(choices in prop::collection::vec(any::<u16>(), 1..160)) {
        let fault = one_order(World::new(true), &choices);
        prop_assert!(fault.is_ok(), "{fault:?}");
    }
}
