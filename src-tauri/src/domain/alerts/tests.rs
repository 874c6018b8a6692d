//! What becomes an alert, what ends one, and who is told.
#![allow(clippy::unwrap_used, clippy::float_cmp)]

mod room;

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::escalation::{Case, Due, Pace, Step, Told};
use super::rule::{AlertRule, What};
use super::watch::{Around, Before, Book, Look};
use crate::domain::base::limits::NOTIFY_PER_HOUR_MAX;
use crate::domain::base::{DeviceId, Digest, Severity, SignatureState, Taint, Tier, TimeMs};
use crate::domain::plan::rules::Comparison;
use crate::domain::policy::Hours;
use crate::domain::world::{Fact, Moment};

const T: u64 = 1_000_000_000;

fn device(n: u8) -> DeviceId {
    DeviceId::of_public_key(&[n; 32])
}

fn warm(for_ms: u64) -> AlertRule {
    AlertRule {
        name: "cold store".into(),
        metric: "temperature".into(),
        zone: Some("store".into()),
        source: None,
        what: What::Beyond {
            comparison: Comparison::Above,
            threshold: 8.0,
            clear: 7.0,
            max_age_ms: 60_000,
        },
        for_ms,
        min_tier: Tier::T2,
        severity: Severity::Critical,
        words: Some("close the door".into()),
    }
}

fn silent() -> AlertRule {
    AlertRule {
        name: "silent".into(),
        zone: None,
        what: What::Silent {
            older_than_ms: 60_000,
        },
        severity: Severity::Warning,
        ..warm(0)
    }
}

fn fact(value: f64, effective: Tier, at: u64) -> Fact {
    Fact {
        metric: "temperature".into(),
        zone: Some("store".into()),
        origin: device(1),
        value,
        unit: Some("C".into()),
        frame_id: "f".parse().unwrap(),
        content: Digest::of(&[b"x"]),
        claimed: Tier::T2,
        effective,
        signature: SignatureState::Verified,
        taint: BTreeSet::new(),
        sensed_at: TimeMs(T + at),
        received_at: TimeMs(T + at),
        private: false,
    }
}

/// One node's looks.
struct Bench {
    rules: Vec<AlertRule>,
    book: Book,
    trusted: bool,
}

impl Bench {
    fn of(rules: Vec<AlertRule>) -> Self {
        Self {
            rules,
            book: Book::default(),
            trusted: true,
        }
    }

    fn look(&mut self, facts: &[Fact], at: u64) -> Look {
        self.look_at(facts, Moment::unset(TimeMs(T + at)))
    }

    fn look_at(&mut self, facts: &[Fact], at: Moment) -> Look {
        let trusted = self.trusted;
        let around = Around {
            own: &device(9),
            trusts: &|_| trusted,
            trusts_short: &|_| trusted,
            name: &|_| "field-1".to_owned(),
            at,
        };
        self.book.look(&self.rules, facts, &around)
    }

    /// How many stand and how many ended.
    fn counts(&mut self, facts: &[Fact], at: u64) -> (usize, usize) {
        let look = self.look(facts, at);
        (look.standing.len(), look.ended.len())
    }
}

#[test]
fn a_threshold_stands_after_its_time_and_ends_only_well_inside() {
    let mut bench = Bench::of(vec![warm(5_000)]);
    let at = |value, ms| [fact(value, Tier::T2, ms)];
    assert_eq!(bench.counts(&at(9.0, 0), 0), (0, 0), "it has to hold first");
    assert_eq!(bench.counts(&at(9.0, 4_000), 4_000), (0, 0));
    assert_eq!(bench.counts(&at(7.9, 4_500), 4_500), (0, 0), "it did not");
    assert_eq!(bench.counts(&at(9.0, 5_000), 5_000), (0, 0));
    let look = bench.look(&at(9.5, 10_000), 10_000);
    let alert = &look.standing[0];
    assert_eq!(
        alert.subject,
        format!("cold store: temperature in store of {}", device(1).short())
    );
    assert_eq!(
        (alert.severity, alert.advice.as_str()),
        (Severity::Critical, "close the door")
    );
    assert!(
        alert.message.contains("9.5 °C") && alert.message.contains("field-1"),
        "{}",
        alert.message
    );
    assert_eq!(
        bench.counts(&at(7.5, 11_000), 11_000),
        (1, 0),
        "between the two it stands"
    );
    assert_eq!(bench.counts(&at(7.0, 12_000), 12_000), (0, 1));
    assert_eq!(
        bench.counts(&at(7.5, 13_000), 13_000),
        (0, 0),
        "and does not begin there"
    );
}

#[test]
fn a_reading_that_is_not_believed_raises_an_alert_and_ends_none_about_one_that_was() {
    let mut bench = Bench::of(vec![warm(0)]);
    let look = bench.look(&[fact(9.0, Tier::T1, 0)], 0);
    assert!(look.standing[0].message.ends_with("(not verified)"));
    assert_eq!(
        bench.counts(&[fact(5.0, Tier::T1, 1)], 1),
        (0, 1),
        "it ends what it raised"
    );
    assert_eq!(bench.counts(&[fact(9.0, Tier::T2, 2)], 2), (1, 0));
    let look = bench.look(&[fact(5.0, Tier::T1, 3)], 3);
    assert!(look.ended.is_empty());
    assert!(
        look.standing[0].message.contains("not believed"),
        "{:?}",
        look.standing
    );
    let model = Fact {
        taint: BTreeSet::from([Taint::Llm]),
        ..fact(5.0, Tier::T3, 4)
    };
    assert_eq!(
        bench.counts(&[model], 4),
        (1, 0),
        "what a model said neither"
    );
    assert_eq!(bench.counts(&[fact(f64::NAN, Tier::T2, 5)], 5), (1, 0));
    assert_eq!(bench.counts(&[fact(5.0, Tier::T2, 6)], 6), (0, 1));
}

#[test]
fn neither_age_nor_a_reading_that_is_gone_ends_an_alert_but_the_end_of_trust_does() {
    let mut bench = Bench::of(vec![warm(0)]);
    assert_eq!(bench.counts(&[fact(9.0, Tier::T2, 0)], 0), (1, 0));
    let look = bench.look(&[fact(5.0, Tier::T2, 1)], 120_000);
    assert_eq!(
        (look.standing.len(), look.ended.len()),
        (1, 0),
        "inside, but old"
    );
    assert!(
        look.standing[0].message.contains("nothing newer"),
        "{:?}",
        look.standing
    );
    assert_eq!(bench.counts(&[], 120_001), (1, 0));
    bench.trusted = false;
    let look = bench.look(&[], 120_002);
    assert!(
        look.ended[0].why.contains("not trusted"),
        "{:?}",
        look.ended
    );
    assert!(look.standing.is_empty());
}

#[test]
fn silence_is_of_readings_that_are_believed_and_of_none_at_all() {
    let mut bench = Bench::of(vec![silent()]);
    assert_eq!(bench.counts(&[], 0), (0, 0));
    assert_eq!(bench.counts(&[], 60_001), (1, 0), "none was ever heard");
    assert_eq!(bench.counts(&[fact(5.0, Tier::T2, 60_500)], 61_000), (0, 1));
    // One that is not believed goes on and on.
    let look = bench.look(&[fact(5.0, Tier::T1, 121_000)], 121_000);
    assert_eq!(look.standing.len(), 1, "{look:?}");
    assert!(look.standing[0].message.contains("not believed"));
    assert_eq!(
        bench.counts(&[fact(5.0, Tier::T1, 122_000)], 122_000),
        (1, 0)
    );
    assert_eq!(
        bench.counts(&[fact(5.0, Tier::T2, 123_000)], 123_000),
        (0, 1)
    );
}

fn before(subjects: &[&str]) -> Book {
    let said = |subject: &&str| {
        let was = Before {
            message: format!("{subject} was warm"),
            private: false,
        };
        ((*subject).to_owned(), was)
    };
    Book::resumed(subjects.iter().map(said).collect())
}

#[test]
fn what_stood_before_the_start_stands_at_once_and_a_rule_that_is_gone_ends_its_alert() {
    let subject = format!("cold store: temperature in store of {}", device(1).short());
    let mut bench = Bench::of(vec![warm(3_600_000)]);
    bench.book = before(&[&subject]);
    assert_eq!(bench.counts(&[fact(7.5, Tier::T2, 0)], 0), (1, 0));
    bench.rules.clear();
    let look = bench.look(&[fact(9.0, Tier::T2, 1)], 1);
    assert!(look.ended[0].why.contains("configuration"), "{look:?}");
}

#[test]
fn a_private_reading_makes_a_private_alert() {
    let mut bench = Bench::of(vec![warm(0)]);
    let private = Fact {
        private: true,
        ..fact(9.0, Tier::T2, 0)
    };
    assert!(bench.look(&[private], 0).standing[0].private);
}

fn phone() -> Step {
    Step {
        after_ms: 60_000,
        floor: Severity::Warning,
        quiet: None,
        quiet_all: false,
        repeat_ms: Some(120_000),
        times: 3,
    }
}

fn case() -> Case {
    Case {
        severity: Severity::Warning,
        since: TimeMs(T),
        ended: None,
        acknowledged: false,
        muted_until: None,
    }
}

/// Tells as a node does that looks every second, and forgets all but what was told: when, and what.
fn told_until(
    step: &Step,
    case: &Case,
    changes: impl Fn(u64, &mut Case),
    seconds: u64,
) -> Vec<(u64, Due)> {
    let (mut told, mut case, mut all) = (None::<Told>, *case, Vec::new());
    for second in 0..seconds {
        changes(second, &mut case);
        let now = TimeMs(T + second * 1_000);
        if let Some(due) = step.due(&case, told, now) {
            all.push((second, due));
            let times = told.map_or(0, |t| t.times);
            told = Some(Told {
                times: times + u32::from(due != Due::Over),
                last: now,
                over: due == Due::Over,
            });
        }
    }
    all
}

#[test]
fn a_place_is_told_after_its_time_again_so_often_and_of_the_end() {
    let end = |second: u64, case: &mut Case| {
        if second == 600 {
            case.ended = Some(TimeMs(T + 600_000));
        }
    };
    let all = told_until(&phone(), &case(), end, 900);
    let expected = [
        (60, Due::First),
        (180, Due::Again),
        (300, Due::Again),
        (600, Due::Over),
    ];
    assert_eq!(all, expected);
    let acknowledge = |second: u64, case: &mut Case| {
        case.acknowledged |= second == 100;
        end(second, case);
    };
    let all = told_until(&phone(), &case(), acknowledge, 900);
    assert_eq!(
        all,
        [(60, Due::First), (600, Due::Over)],
        "nobody more, but the end"
    );
    let early = |_: u64, case: &mut Case| case.acknowledged = true;
    assert_eq!(told_until(&phone(), &case(), early, 900), []);
    let mute = |_: u64, case: &mut Case| case.muted_until = Some(TimeMs(T + 200_000));
    assert_eq!(
        told_until(&phone(), &case(), mute, 210),
        [(200, Due::First)]
    );
    let info = Case {
        severity: Severity::Info,
        ..case()
    };
    assert_eq!(told_until(&phone(), &info, end, 900), [], "below the floor");
}

#[test]
fn quiet_hours_hold_back_what_is_not_critical_and_forget_nothing() {
    let now = u32::try_from(T / 60_000 % 1_440).unwrap();
    let quiet = Hours {
        from_min: now,
        to_min: (now + 10) % 1_440,
        zone_min: 0,
    };
    let step = Step {
        quiet: Some(quiet),
        ..phone()
    };
    let none = |_: u64, _: &mut Case| {};
    let all = told_until(&step, &case(), none, 620);
    assert_eq!(all.len(), 1);
    assert!((540..=600).contains(&all[0].0), "{all:?}");
    let critical = Case {
        severity: Severity::Critical,
        ..case()
    };
    assert_eq!(told_until(&step, &critical, none, 700)[0].0, 60);
    let all_of_it = Step {
        quiet_all: true,
        ..step
    };
    assert_eq!(told_until(&all_of_it, &critical, none, 500), []);
}

#[test]
fn a_place_has_so_many_messages_an_hour() {
    let mut pace = Pace::default();
    let at = |ms| TimeMs(T + ms);
    assert!((0..NOTIFY_PER_HOUR_MAX).all(|_| pace.admits(at(0), NOTIFY_PER_HOUR_MAX)));
    assert!(!pace.admits(at(3_599_000), NOTIFY_PER_HOUR_MAX));
    assert!(pace.admits(at(3_600_000), NOTIFY_PER_HOUR_MAX));
}

proptest! {
    #[test]
    fn nobody_is_told_too_often_or_after_an_answer(
        after in 0_u64..300_000,
        repeat in prop::option::of(60_000_u64..300_000),
        times in 1_u32..6,
        floor in prop::sample::select(vec![Severity::Info, Severity::Warning, Severity::Critical]),
        severity in prop::sample::select(vec![Severity::Info, Severity::Warning, Severity::Critical]),
        answered in prop::option::of(0_u64..1_800),
        ended in prop::option::of(0_u64..1_800),
        back in 0_u64..1_000,
    ) {
        let step = Step { after_ms: after, floor, quiet: None, quiet_all: false, repeat_ms: repeat, times };
        let base = Case { severity, ..case() };
        let change = |second: u64, case: &mut Case| {
            case.acknowledged |= answered.is_some_and(|a| second >= a);
            if let Some(at) = ended.filter(|e| second >= *e) {
                case.ended = Some(TimeMs(T + at * 1_000));
            }
            // A clock that was set back once tells neither more often nor never.
            case.since = TimeMs(T + back * 1_000 * u64::from(second > 900));
        };
        let all = told_until(&step, &base, change, 2_000);
        let mut by: BTreeMap<&str, u64> = BTreeMap::new();
        for (second, due) in &all {
            *by.entry(match due { Due::First => "first", Due::Again => "again", Due::Over => "over" }).or_default() += 1;
            if *due != Due::Over {
                prop_assert!(severity >= floor);
                prop_assert!(answered.is_none_or(|a| *second < a));
                prop_assert!(ended.is_none_or(|e| *second < e));
            }
        }
        let count = |what: &str| by.get(what).copied().unwrap_or_default();
        prop_assert!(count("first") <= 1);
        prop_assert!(count("again") < u64::from(times).max(1));
        let is_told = count("first") == 1;
        prop_assert_eq!(count("over"), u64::from(is_told && ended.is_some()));
    }
}
