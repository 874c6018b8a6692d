//! Held actions that are renewed, let go and forgotten. What is over is never taken up again.

use std::sync::LazyLock;

use proptest::prelude::*;

use super::{PROPOSALS, Paper, Stored, paper};
use crate::domain::gate::lease::{Entitled, Keeper, Lease, Source, Wish};
use crate::domain::policy::{Class, Kind, Level, Ruling};
use crate::domain::proposal::model::{KEY, World, every_order, one_order, record, terms};

static HELD: LazyLock<Vec<Paper>> = LazyLock::new(|| {
    let kind = Kind::Held { lease_ms: LEASE_MS };
    let held = |n| paper(record(&format!("h{n}"), Level::L2, Some(kind.clone())));
    (0..PROPOSALS).map(held).collect()
});

/// A step of the boot clock.
const PASS_MS: u64 = 1_000;
const LEASE_MS: u64 = 2 * PASS_MS;
const RUN_MS: u64 = 5 * PASS_MS;
const PASSES: u64 = 8;

#[derive(Debug, Clone, Copy)]
enum HeldDeed {
    Begin(usize),
    Takes,
    /// A renewal with this counter; one that comes late or again has one that was there before.
    Keep(usize, u64),
    Release(usize),
    /// The boot clock goes on.
    Pass,
    /// The guard looks at the lease and the clock, and ends what is over.
    Looks,
    Writes(usize),
    Crash,
    Start,
}

/// What runs, since when, and what its keeper said since, with when.
type Running = (usize, u64, Vec<(u64, Option<u64>)>);

/// Held actions between the store, the guard of their actuator and who keeps them.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Holding {
    up: bool,
    stored: Stored,
    handed: Option<usize>,
    /// What runs, since when, and what its keeper said since, with when.
    on: Option<Running>,
    now: u64,
    /// When the last renewal counted, or it began.
    heard: u64,
    owed: Vec<usize>,
    moved: [u8; PROPOSALS],
    wrong: Option<&'static str>,
}

impl Holding {
    fn new() -> Self {
        Self {
            up: true,
            stored: Stored::new(),
            handed: None,
            on: None,
            now: 0,
            heard: 0,
            owed: Vec::new(),
            moved: [0; PROPOSALS],
            wrong: None,
        }
    }

    /// The lease of what runs, after all that was said.
    fn lease(&self) -> Option<(usize, Lease)> {
        let (n, since, said) = self.on.as_ref()?;
        let id = HELD[*n].signed.record().proposal_id.clone();
        let entitled = Entitled::of(Class::Person, false, KEY.id());
        let mut lease = Lease::begin(id, entitled, LEASE_MS, since + RUN_MS, *since);
        for (at, counter) in said {
            let wish = counter.map_or(Wish::Release, Wish::Keep);
            lease.take(&keeper(), wish, *at).unwrap();
        }
        Some((*n, lease))
    }

    fn says(&mut self, n: usize, counter: Option<u64>) -> Option<()> {
        let (on, mut lease) = self.lease()?;
        let id = &HELD[n].signed.record().proposal_id;
        lease.is_of(id).then_some(())?;
        let before = lease.until();
        let wish = counter.map_or(Wish::Release, Wish::Keep);
        lease.take(&keeper(), wish, self.now).ok()?;
        let (_, since, said) = self.on.as_mut()?;
        let released = said.iter().any(|(_, counter)| counter.is_none());
        if on != n || released || self.now >= self.heard + LEASE_MS || self.now >= *since + RUN_MS {
            self.wrong = Some("a renewal took up what was over");
        }
        if lease.until() > before {
            self.heard = self.now;
        }
        said.push((self.now, counter));
        Some(())
    }
}

fn keeper() -> Keeper {
    Keeper::new(Source::Session, "t", "ana")
}

impl World for Holding {
    type Deed = HeldDeed;

    fn deeds(&self) -> Vec<HeldDeed> {
        use HeldDeed::{Begin, Crash, Keep, Looks, Pass, Release, Start, Takes, Writes};
        let each = (0..2).flat_map(|n| [Begin(n), Writes(n), Keep(n, 1), Keep(n, 2), Release(n)]);
        [Takes, Pass, Looks, Crash, Start]
            .into_iter()
            .chain(each)
            .collect()
    }

    fn tried(&mut self, deed: HeldDeed) -> Option<()> {
        let either = matches!(deed, HeldDeed::Pass);
        (either || self.up != matches!(deed, HeldDeed::Start)).then_some(())?;
        match deed {
            HeldDeed::Begin(n) => {
                let ruling = |record: &_, _: Option<&_>| {
                    Ruling::Allow(terms(Class::Person, record, Err("no".into())))
                };
                self.stored.begin(&HELD, n, ruling)?;
                assert!(self.handed.replace(n).is_none(), "two were handed over");
            }
            HeldDeed::Takes => {
                self.on.is_none().then_some(())?;
                let n = self.handed.take()?;
                self.on = Some((n, self.now, Vec::new()));
                self.heard = self.now;
                self.moved[n] += 1;
            }
            HeldDeed::Keep(n, counter) => self.says(n, Some(counter))?,
            HeldDeed::Release(n) => self.says(n, None)?,
            HeldDeed::Pass => {
                (self.now < PASSES * PASS_MS).then_some(())?;
                self.now += PASS_MS;
            }
            HeldDeed::Looks => {
                let (n, mut lease) = self.lease()?;
                let (_, since, said) = self.on.as_ref()?;
                let over = lease.over(self.now).is_some() || self.now >= *since + RUN_MS;
                let due =
                    self.now >= self.heard + LEASE_MS || said.iter().any(|(_, c)| c.is_none());
                if due && !over {
                    self.wrong = Some("nobody keeps it, and it goes on");
                }
                over.then_some(())?;
                self.on = None;
                self.owed.push(n);
            }
            HeldDeed::Writes(n) => {
                let at = self.owed.iter().position(|owed| *owed == n)?;
                self.owed.remove(at);
                self.stored.finish(&HELD, n)?;
            }
            HeldDeed::Crash => {
                self.up = false;
                (self.handed, self.on, self.owed) = (None, None, Vec::new());
            }
            HeldDeed::Start => {
                self.up = true;
                self.stored.start(&HELD);
            }
        }
        Some(())
    }

    fn fault(&self) -> Option<String> {
        if let Some(n) = (0..PROPOSALS).find(|n| self.moved[*n] > 1) {
            return Some(format!("proposal {n} moved its actuator twice"));
        }
        self.wrong.map(str::to_owned)
    }
}

#[test]
fn no_order_of_deeds_up_to_a_depth_holds_what_is_over() {
    use HeldDeed::{Begin, Keep, Takes};
    let kept = [Begin(0), Takes, Keep(0, 1)];
    for (before, depth) in [(&[][..], 7), (&kept[..], 7)] {
        let states = every_order(Holding::new(), before, depth).unwrap();
        assert!(states > 100, "{before:?}: {states} states");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn no_long_random_order_of_deeds_holds_what_is_over(choices in prop::collection::vec(any::<u16>(), 1..120)) {
        let fault = one_order(Holding::new(), &choices);
        prop_assert!(fault.is_ok(), "{fault:?}");
    }
}
