//! What is kept when frames are pruned: other kinds longer than readings, and readings by the hour.

use proptest::prelude::*;

use super::*;
use crate::adapters::store::frames::Cutoff;
use crate::adapters::store::history::{self, HOUR_MS, Hour};
use crate::adapters::store::series::{self, SeriesFilter};
use crate::adapters::store::{frames, shares};
use crate::domain::base::limits::{
    AGED_AT_ONCE_MS, HISTORY_HOURS_PER_DEVICE, HISTORY_SERIES_PER_DEVICE,
};

/// A reading of `value`, made `at` milliseconds.
fn reading(n: u64, at: u64, value: &str) -> NewFrame {
    NewFrame {
        time: TimeMs(at),
        received_at: TimeMs(at + 1),
        json: format!(
            r#"{{"kind":"observation","data":{{"metric":"moisture","unit":"%","value":{value},"zone":"z1"}}}}"#
        )
        .into(),
        ..frame(n)
    }
}

fn event(n: u64) -> NewFrame {
    NewFrame {
        kind: FrameKind::Event,
        metric: None,
        json: r#"{"kind":"event","data":{"event":"opened"}}"#.into(),
        ..frame(n)
    }
}

fn filter() -> SeriesFilter {
    SeriesFilter {
        metric: "moisture".into(),
        zone: None,
        origin: None,
        from: TimeMs(0),
        to: TimeMs(u64::MAX >> 2),
        limit: 100_000,
    }
}

fn hours(c: &rusqlite::Connection) -> Vec<Hour> {
    history::hours(c, &filter()).unwrap()
}

fn before(at: u64) -> Cutoff {
    Cutoff {
        readings: TimeMs(at),
        others: TimeMs(at),
    }
}

#[test]
fn pruned_readings_stay_by_the_hour() {
    let (_dir, c) = conn();
    for (n, (at, value)) in [
        (1, "5.5"),
        (2, "7"),
        (3, "6"),
        (HOUR_MS + 4, "true"),
        (HOUR_MS + 5, "\"wet\""),
    ]
    .iter()
    .enumerate()
    {
        frames::insert(&c, &reading(n as u64 + 1, *at, value)).unwrap();
    }
    assert_eq!(frames::prune(&c, 3).unwrap(), 2);
    let [first] = &hours(&c)[..] else {
        panic!("{:?}", hours(&c))
    };
    assert_eq!(
        (first.start, first.since, first.until, first.count),
        (TimeMs(0), TimeMs(1), TimeMs(2), 2)
    );
    assert_eq!((first.low, first.high, first.total), (5.5, 7.0, 12.5));
    assert_eq!(
        (first.tier, first.signature),
        (Tier::T1, SignatureState::FirstHand)
    );
    assert_eq!(
        (first.zone.as_deref(), first.unit.as_deref()),
        (Some("z1"), Some("%"))
    );
    assert_eq!(frames::prune(&c, 0).unwrap(), 3, "one call takes the rest");
    let [first, second] = &hours(&c)[..] else {
        panic!("{:?}", hours(&c))
    };
    assert_eq!(
        (first.count, first.total),
        (3, 18.5),
        "added to the same hour"
    );
    assert_eq!(
        (second.start, second.count, second.total),
        (TimeMs(HOUR_MS), 1, 1.0),
        "a text is no number"
    );
}

#[test]
fn only_hours_with_readings_in_the_span_are_shown() {
    let (_dir, c) = conn();
    for (n, at) in [(1, 1_000), (2, 2_000), (3, 9_000)] {
        frames::insert(&c, &reading(n, at, "1")).unwrap();
    }
    frames::prune(&c, 0).unwrap();
    let shown = |from: u64, to: u64| {
        let (from, to) = (TimeMs(from), TimeMs(to));
        let span = SeriesFilter {
            from,
            to,
            ..filter()
        };
        history::hours(&c, &span).unwrap().len()
    };
    assert_eq!((shown(0, 999), shown(9_001, HOUR_MS)), (0, 0));
    assert_eq!((shown(0, 1_000), shown(9_000, HOUR_MS)), (1, 1));
}

#[test]
fn readings_that_nothing_proves_and_those_of_another_standing_are_not_mixed_in() {
    let (_dir, c) = conn();
    frames::insert(&c, &reading(1, 1, "5")).unwrap();
    let tainted = NewFrame {
        tainted: true,
        ..reading(2, 2, "50")
    };
    frames::insert(&c, &tainted).unwrap();
    let said = NewFrame {
        signature: SignatureState::Unverifiable,
        ..reading(3, 3, "500")
    };
    frames::insert(&c, &said).unwrap();
    frames::prune(&c, 0).unwrap();
    let mut found: Vec<_> = hours(&c).iter().map(|h| (h.tainted, h.high)).collect();
    found.sort_by(|a, b| a.1.total_cmp(&b.1));
    assert_eq!(found, [(false, 5.0), (true, 50.0)]);
}

#[test]
fn what_gives_way_for_its_devices_share_stays_by_the_hour_too() {
    let (_dir, c) = conn();
    for n in 1..=400 {
        frames::insert(&c, &reading(n, n, "1")).unwrap();
    }
    let most = shares::Most {
        frames: 100,
        bytes: u64::MAX,
    };
    let gone: usize = shares::within(&c, most)
        .unwrap()
        .iter()
        .map(|p| p.keys.len())
        .sum();
    assert!(gone >= 300, "{gone}");
    assert_eq!(hours(&c)[0].count, gone as u64);
}

#[test]
fn events_outlast_readings_until_they_are_an_eighth() {
    let (_dir, c) = conn();
    for n in 1..=40 {
        let new = if n % 4 == 0 {
            event(n)
        } else {
            reading(n, n, "1")
        };
        frames::insert(&c, &new).unwrap();
    }
    let kinds = |c: &rusqlite::Connection| -> (usize, usize) {
        let all = frames::after(c, 0, 100, usize::MAX, None).unwrap();
        let events = all.iter().filter(|f| f.kind == FrameKind::Event).count();
        (events, all.len() - events)
    };
    // An eighth of 24 is 3: of 10 events 7 are over.
    assert_eq!(frames::prune(&c, 24).unwrap(), 16);
    assert_eq!(kinds(&c), (3, 21));
    let readings = Cutoff {
        readings: TimeMs(999),
        others: TimeMs(0),
    };
    assert_eq!(frames::prune_before(&c, readings).unwrap(), 21);
    assert_eq!(kinds(&c), (3, 0));
    assert_eq!(frames::horizon(&c).unwrap().unwrap().time, TimeMs(39));
    assert_eq!(frames::prune_before(&c, before(999)).unwrap(), 3);
    assert_eq!(kinds(&c), (0, 0));
}

#[test]
fn a_clock_that_is_years_ahead_takes_one_day_with_it() {
    let (_dir, c) = conn();
    for day in 0..5 {
        frames::insert(&c, &reading(day + 1, day * AGED_AT_ONCE_MS, "1")).unwrap();
    }
    let wanted = before(u64::MAX >> 2);
    let allowed = frames::aged(&c, wanted).unwrap();
    assert_eq!(allowed.readings, TimeMs(1 + AGED_AT_ONCE_MS));
    assert_eq!(frames::prune_before(&c, allowed).unwrap(), 1);
    assert_eq!(frames::aged(&c, before(7)).unwrap().readings, TimeMs(7));
    frames::prune(&c, 0).unwrap();
    assert_eq!(history::prune(&c, TimeMs(u64::MAX >> 2)).unwrap(), 1);
    assert_eq!(hours(&c).len(), 4);
}

#[test]
fn a_device_has_so_many_series_and_hours_and_no_more() {
    let (_dir, c) = conn();
    for n in 0..HISTORY_SERIES_PER_DEVICE + 5 {
        let named = NewFrame {
            json: format!(r#"{{"data":{{"metric":"m{n}","value":1}}}}"#).into(),
            ..frame(n)
        };
        frames::insert(&c, &named).unwrap();
    }
    frames::prune(&c, 0).unwrap();
    let count = |sql: &str| -> u64 {
        c.query_row(sql, [], |r| crate::adapters::store::row::count(r, 0))
            .unwrap()
    };
    assert_eq!(
        count("SELECT count(*) FROM history_series"),
        HISTORY_SERIES_PER_DEVICE
    );
    // One series has all the hours that its device may have; one more hour costs its oldest.
    let sql = format!(
        "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {HISTORY_HOURS_PER_DEVICE})
         INSERT INTO history SELECT (SELECT id FROM history_series WHERE metric = 'm3'), i, 1, 1, 1, 1, 0, 0 FROM n"
    );
    let added = c.execute(&sql, []).unwrap();
    c.execute(
        "UPDATE history_series SET hours = hours + ?1 WHERE metric = 'm3'",
        [added as i64],
    )
    .unwrap();
    frames::insert(
        &c,
        &NewFrame {
            json: r#"{"data":{"metric":"m4","value":1}}"#.into(),
            time: TimeMs(9 * HOUR_MS),
            ..frame(9_999_999)
        },
    )
    .unwrap();
    frames::prune(&c, 0).unwrap();
    assert_eq!(
        count("SELECT count(*) FROM history"),
        HISTORY_HOURS_PER_DEVICE
    );
    assert_eq!(
        count("SELECT sum(hours) FROM history_series"),
        HISTORY_HOURS_PER_DEVICE
    );
    let oldest =
        "SELECT min(hour) FROM history JOIN history_series ON id = series WHERE metric = 'm3'";
    assert!(count(oldest) > 0, "the series with most gave way");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    /// However a log is pruned, the hours and the samples that are left are all that was measured.
    #[test]
    fn nothing_measured_is_lost_or_counted_twice(
        values in prop::collection::vec((0..5 * HOUR_MS, -1_000i32..1_000), 1..80),
        keeps in prop::collection::vec(0u64..80, 0..6),
    ) {
        let (_dir, c) = conn();
        let mut keeps = keeps.into_iter();
        for (n, (at, value)) in values.iter().enumerate() {
            frames::insert(&c, &reading(n as u64 + 1, *at, &value.to_string())).unwrap();
            if n % 13 == 12 && let Some(keep) = keeps.next() {
                frames::prune(&c, keep).unwrap();
            }
        }
        let left = series::samples(&c, &filter()).unwrap();
        let hours = hours(&c);
        let count = left.len() as u64 + hours.iter().map(|h| h.count).sum::<u64>();
        let total: f64 = left.iter().map(|s| s.value).chain(hours.iter().map(|h| h.total)).sum();
        let high = left.iter().map(|s| s.value).chain(hours.iter().map(|h| h.high)).fold(f64::MIN, f64::max);
        prop_assert_eq!(count, values.len() as u64);
        prop_assert!((total - values.iter().map(|(_, v)| f64::from(*v)).sum::<f64>()).abs() < 1e-6);
        prop_assert_eq!(high, values.iter().map(|(_, v)| f64::from(*v)).fold(f64::MIN, f64::max));
        for hour in &hours {
            prop_assert!(hour.start <= hour.since && hour.since <= hour.until);
            prop_assert!(hour.until.since(hour.start) < HOUR_MS);
        }
    }
}
