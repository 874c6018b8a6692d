//! Settings that take each other's place at a guard whose driver is slow. None goes further than a step from the one before.

use std::sync::LazyLock;

use proptest::prelude::*;

use super::{PROPOSALS, Paper, Stored, paper};
use crate::domain::gate::actuation;
use crate::domain::policy::{History, Kind, Level, Phase, Policy, Request, Requester, Ruling};
use crate::domain::proposal::model::{KEY, World, at, every_order, one_order, record};
use crate::domain::proposal::{ProposalRecord, Status};

/// What each setting sets; one may be this far from the one before it.
const VALUES: [i64; PROPOSALS] = [30, 40, 50, 20];
const STEP: i64 = 10;

/// The policy of the settings.
static POLICY: LazyLock<Policy> = LazyLock::new(|| {
    let text = format!(
        "version = 1\n[[rule]]\nname = \"pump\"\ncapability = \"actuator:pump:main\"\noperations = [\"start\"]\n\
         level = \"L2\"\nkind = \"set\"\nsafe_state = \"stop\"\ndeadline_sec = 1\n[rule.params.percent]\n\
         type = \"integer\"\nmin = 0\nmax = 100\nmax_step = {STEP}\nrequired = true\n"
    );
    Policy::parse(&text).unwrap()
});

static SETTINGS: LazyLock<Vec<Paper>> = LazyLock::new(|| {
    let set = |n: usize| {
        let kind = Kind::Set {
            max_step: [("percent".to_owned(), STEP as f64)].into(),
            min_interval_ms: 0,
        };
        let mut record = record(&format!("s{n}"), Level::L2, Some(kind));
        record.params.insert("percent".into(), VALUES[n].into());
        paper(record)
    };
    (0..PROPOSALS).map(set).collect()
});

/// What the policy says of a setting beside the one that acts by the store.
fn evaluated(record: &ProposalRecord, acts: Option<&ProposalRecord>) -> Ruling {
    let action = record.action();
    let request = Request {
        action: &action,
        requester: Requester::Person,
        from: KEY.id(),
        taint: &record.taint,
        evidence: &[],
        phase: Phase::Execute,
        by_gen1: false,
        now_set: acts.map(|acts| &acts.params),
    };
    POLICY.evaluate(&request, &Vec::new(), &History::default(), at(0), KEY.id())
}

#[derive(Debug, Clone, Copy)]
enum SetDeed {
    Begin(usize),
    /// The guard takes what was handed over first, and tells its driver.
    Takes,
    /// The permit of what was handed over first lapses meanwhile.
    Lapses,
    /// The deadline of the setting in force, or a driver that fails: the actuator is made safe.
    Ends,
    /// What is in force and all that was handed over ends.
    Stop,
    /// An outcome is written.
    Writes(usize),
    Crash,
    Start,
}

/// Settings between the store and the guard of their actuator.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Settings {
    up: bool,
    stored: Stored,
    /// What was handed over, and what each was to replace.
    handed: Vec<(usize, Option<usize>)>,
    in_force: Option<usize>,
    /// Outcomes that are not written yet.
    owed: Vec<usize>,
    moved: [u8; PROPOSALS],
    jumped: Option<(i64, i64)>,
}

impl Settings {
    fn new() -> Self {
        Self {
            up: true,
            stored: Stored::new(),
            handed: Vec::new(),
            in_force: None,
            owed: Vec::new(),
            moved: [0; PROPOSALS],
            jumped: None,
        }
    }

    /// Away from the safe state by the next one, if it may take that place.
    fn takes(&mut self) -> Option<()> {
        let (n, replaces) = *self.handed.first()?;
        self.handed.remove(0);
        let id = |n: usize| &SETTINGS[n].signed.record().proposal_id;
        if actuation::takes_place(replaces.map(id), self.in_force.map(id)).is_err() {
            self.owed.push(n);
            return Some(());
        }
        if let Some(before) = self.in_force.replace(n) {
            self.owed.push(before);
            let (was, is) = (VALUES[before], VALUES[n]);
            if (was - is).abs() > STEP {
                self.jumped = Some((was, is));
            }
        }
        self.moved[n] += 1;
        Some(())
    }
}

impl World for Settings {
    type Deed = SetDeed;

    fn deeds(&self) -> Vec<SetDeed> {
        use SetDeed::{Begin, Crash, Ends, Lapses, Start, Stop, Takes, Writes};
        let each = (0..PROPOSALS).flat_map(|n| [Begin(n), Writes(n)]);
        [Takes, Lapses, Ends, Stop, Crash, Start]
            .into_iter()
            .chain(each)
            .collect()
    }

    fn tried(&mut self, deed: SetDeed) -> Option<()> {
        (self.up != matches!(deed, SetDeed::Start)).then_some(())?;
        match deed {
            SetDeed::Begin(n) => {
                let replaces = self.stored.begin(&SETTINGS, n, evaluated)?;
                self.handed.push((n, replaces));
            }
            SetDeed::Takes => self.takes()?,
            SetDeed::Lapses => {
                let (n, _) = *self.handed.first()?;
                self.handed.remove(0);
                self.owed.push(n);
            }
            SetDeed::Ends => self.owed.push(self.in_force.take()?),
            SetDeed::Stop => {
                self.owed.extend(self.in_force.take());
                self.owed.extend(self.handed.drain(..).map(|(n, _)| n));
            }
            SetDeed::Writes(n) => {
                let at = self.owed.iter().position(|owed| *owed == n)?;
                self.owed.remove(at);
                self.stored.finish(&SETTINGS, n)?;
            }
            SetDeed::Crash => {
                self.up = false;
                (self.handed, self.in_force, self.owed) = (Vec::new(), None, Vec::new());
            }
            SetDeed::Start => {
                self.up = true;
                self.stored.start(&SETTINGS);
            }
        }
        Some(())
    }

    fn fault(&self) -> Option<String> {
        if let Some(n) = (0..PROPOSALS).find(|n| self.moved[*n] > 1) {
            return Some(format!("proposal {n} moved its actuator twice"));
        }
        if let Some((was, is)) = self.jumped {
            return Some(format!("it went from {was} to {is} at once"));
        }
        let ended = |n: &usize| self.stored.status[*n] != Status::Executing;
        let ended = self.in_force.filter(ended);
        ended.map(|n| format!("proposal {n} is in force and has ended by its record"))
    }
}

#[test]
fn no_order_of_deeds_up_to_a_depth_sets_twice_or_jumps() {
    use SetDeed::{Begin, Takes};
    // One is in force, and two more have been handed over behind it.
    let behind = [Begin(0), Takes, Begin(1), Begin(2)];
    for (before, depth) in [(&[][..], 6), (&behind[..], 6)] {
        let states = every_order(Settings::new(), before, depth).unwrap();
        assert!(states > 100, "{before:?}: {states} states");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn no_long_random_order_of_deeds_sets_twice_or_jumps(choices in prop::collection::vec(any::<u16>(), 1..120)) {
        let fault = one_order(Settings::new(), &choices);
        prop_assert!(fault.is_ok(), "{fault:?}");
    }
}
