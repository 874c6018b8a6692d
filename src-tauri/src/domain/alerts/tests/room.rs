//! Too many alerts, ones that come and go, restarts and clocks.

use super::super::room::is_more;
use super::*;
use crate::domain::base::limits::{
    ALARM_SUBJECTS_MAX, ALERT_BEGINS_MAX, ALERT_DOUBTED_BEGINS_MAX, ALERT_KEYS_MAX, ALERT_QUIET_MS,
    ALERT_SHARE_MAX,
};

/// A rule of another name, about every zone.
fn anywhere(name: &str) -> AlertRule {
    AlertRule {
        name: name.to_owned(),
        zone: None,
        ..warm(0)
    }
}

fn of(origin: u8, zone: &str, value: f64, effective: Tier, at: u64) -> Fact {
    Fact {
        zone: Some(zone.to_owned()),
        origin: device(origin),
        ..fact(value, effective, at)
    }
}

fn more(look: &Look) -> Vec<&str> {
    let more = look.standing.iter().filter(|s| is_more(&s.subject));
    more.map(|s| s.message.as_str()).collect()
}

fn has(look: &Look, text: &str) -> bool {
    look.standing.iter().any(|s| s.subject.contains(text))
}

#[test]
fn readings_of_one_device_that_are_not_believed_take_nobodys_place_and_those_left_out_are_counted()
{
    let mut bench = Bench::of(vec![anywhere("any"), warm(0)]);
    let flood = |tier| (0..70).map(move |n| of(1, &format!("zone-{n:02}"), 9.0, tier, 0));
    let mut facts: Vec<Fact> = flood(Tier::T1).collect();
    let look = bench.look(&facts, 0);
    assert_eq!(look.standing.len(), ALERT_SHARE_MAX + 1);
    let left = format!("and {} more", 70 - ALERT_SHARE_MAX);
    assert!(more(&look)[0].starts_with(&left), "{:?}", more(&look));
    facts.push(of(9, "store", 9.0, Tier::T2, 1));
    facts.push(of(2, "far", 9.0, Tier::T1, 1));
    let look = bench.look(&facts, 1);
    assert!(has(&look, "cold store: temperature in store"), "{look:?}");
    assert!(has(&look, "in far of"), "another device has its own share");
    // The same number of believed ones fills every place, and still leaves the node's own theirs.
    let believed: Vec<Fact> = flood(Tier::T2).collect();
    let look = bench.look(&believed, 2);
    assert_eq!(look.standing.len(), ALARM_SUBJECTS_MAX);
    let room = |look: &Look| {
        look.ended
            .iter()
            .filter(|e| e.why.contains("made room"))
            .count()
    };
    assert_eq!(room(&look), 1, "the one in far: {:?}", look.ended);
    assert!(!has(&look, "in far of"), "{look:?}");
    let mut all = believed;
    all.push(of(9, "store", 9.0, Tier::T2, 3));
    all.push(of(9, "barn", 9.0, Tier::T2, 3));
    let look = bench.look(&all, 3);
    assert_eq!(look.standing.len(), ALARM_SUBJECTS_MAX);
    assert!(has(&look, "any: temperature in barn"), "{look:?}");
    assert!(has(&look, "cold store: temperature in store"), "{look:?}");
    assert_eq!(room(&look), 1, "{:?}", look.ended);
    let again = bench.look(&all, 4);
    assert!(
        again.ended.is_empty(),
        "nobody takes turns: {:?}",
        again.ended
    );
}

#[test]
fn what_did_not_fit_is_told_of_until_all_has_fitted_for_a_while() {
    let mut bench = Bench::of(vec![anywhere("any")]);
    let flood: Vec<Fact> = (0..20)
        .map(|n| of(1, &format!("{n}"), 9.0, Tier::T1, 0))
        .collect();
    assert_eq!(more(&bench.look(&flood, 0)).len(), 1);
    assert_eq!(more(&bench.look(&[], 1_000)).len(), 1);
    let look = bench.look(&[], ALERT_QUIET_MS);
    assert_eq!(
        more(&look).len(),
        1,
        "the readings are gone, and their alerts still do not fit"
    );
    bench.trusted = false;
    bench.look(&[], ALERT_QUIET_MS + 1);
    let look = bench.look(&[], 2 * ALERT_QUIET_MS + 1);
    assert!(look.standing.is_empty(), "{look:?}");
    assert!(look.ended.iter().any(|e| is_more(&e.subject)));
}

#[test]
fn a_book_that_is_full_of_what_is_not_believed_takes_what_is() {
    let mut bench = Bench::of(vec![anywhere("any"), warm(0)]);
    let many = u8::try_from(ALERT_KEYS_MAX / 100 + 20).unwrap();
    let others = (10..10 + many).flat_map(|d| (0..120).map(move |z| (d, z)));
    let mut facts: Vec<Fact> = others
        .map(|(d, z)| of(d, &format!("{z}"), 5.0, Tier::T1, 0))
        .collect();
    assert_eq!(bench.counts(&facts, 0), (0, 0));
    facts.push(of(1, "store", 9.0, Tier::T2, 1));
    let look = bench.look(&facts, 1);
    assert!(has(&look, "cold store"), "{look:?}");
}

#[test]
fn an_alert_that_comes_and_goes_stands_until_it_has_been_quiet() {
    let mut bench = Bench::of(vec![warm(0)]);
    let (mut began, mut stood) = (0, false);
    for n in 0..600_u64 {
        let at = n * 1_000;
        let value = if n % 2 == 0 { 9.0 } else { 5.0 };
        let stands = has(&bench.look(&[fact(value, Tier::T2, at)], at), "cold store");
        began += usize::from(stands && !stood);
        stood = stands;
    }
    assert_eq!(began, ALERT_BEGINS_MAX);
    let last = 599_000;
    let look = bench.look(&[fact(5.0, Tier::T2, last + 1_000)], last + 1_000);
    assert!(
        look.standing[0].message.contains("comes and goes"),
        "{look:?}"
    );
    let at = last + ALERT_QUIET_MS;
    assert_eq!(bench.counts(&[fact(5.0, Tier::T2, at)], at), (0, 1));
}

#[test]
fn many_readings_that_are_not_believed_begin_so_many_alerts_in_an_hour() {
    let mut bench = Bench::of(vec![anywhere("any")]);
    let mut began = 0;
    for n in 0..300_u64 {
        let (zone, at) = (format!("{n}"), n * 2_000);
        let look = bench.look(&[of(1, &zone, 9.0, Tier::T1, at)], at);
        began += usize::from(has(&look, &format!("in {zone} of")));
        bench.look(&[of(1, &zone, 5.0, Tier::T1, at + 1_000)], at + 1_000);
    }
    assert_eq!(began, ALERT_DOUBTED_BEGINS_MAX);
}

#[test]
fn a_restart_ends_no_alert_of_a_reading_that_is_gone_but_its_rule_trust_and_a_believed_one_do() {
    let subject = format!("cold store: temperature in store of {}", device(1).short());
    let hours = 10 * 3_600_000;
    let started = || {
        let mut bench = Bench::of(vec![warm(0)]);
        bench.book = before(&[&subject]);
        let look = bench.look(&[], 0);
        assert!(
            look.standing[0]
                .message
                .contains("no reading has come since"),
            "{look:?}"
        );
        assert_eq!(bench.counts(&[], hours), (1, 0));
        bench
    };
    let mut bench = started();
    let doubted = fact(5.0, Tier::T1, hours);
    assert_eq!(bench.counts(&[doubted], hours), (1, 0));
    assert_eq!(bench.counts(&[fact(5.0, Tier::T2, hours)], hours), (0, 1));
    let mut bench = started();
    bench.trusted = false;
    assert!(bench.look(&[], hours).ended[0].why.contains("not trusted"));
    for other in ["temp", "humidity"] {
        let mut bench = started();
        bench.rules[0].metric = other.to_owned();
        assert!(
            bench.look(&[], hours).ended[0]
                .why
                .contains("configuration")
        );
    }
    let mut bench = started();
    bench.rules[0].zone = Some("barn".to_owned());
    assert!(
        bench.look(&[], hours).ended[0]
            .why
            .contains("configuration")
    );
}

#[test]
fn a_wall_clock_that_is_set_back_hides_no_silence() {
    let mut bench = Bench::of(vec![silent()]);
    let at = |wall, steady| Moment {
        wall: TimeMs(wall),
        steady: TimeMs(steady),
        lost: TimeMs(0),
    };
    // As the store gives it: never younger than since it was received.
    let heard = |wall: u64, age: u64| Fact {
        sensed_at: TimeMs(wall - age),
        received_at: TimeMs(T),
        ..fact(5.0, Tier::T2, 0)
    };
    assert!(bench.look_at(&[heard(T, 0)], at(T, T)).standing.is_empty());
    let back = T - 7_200_000;
    let now = at(back, T + 61_000);
    let look = bench.look_at(&[heard(back, 61_000)], now);
    assert_eq!(look.standing.len(), 1, "{look:?}");
}

#[test]
fn a_reading_that_is_not_believed_does_not_end_that_none_is_known() {
    let mut bench = Bench::of(vec![silent()]);
    assert_eq!(
        bench.counts(&[], 60_001),
        (0, 0),
        "it begins to count with the first look"
    );
    assert_eq!(bench.counts(&[], 120_002), (1, 0));
    let look = bench.look(&[fact(5.0, Tier::T1, 120_003)], 120_003);
    assert!(look.ended.is_empty(), "{look:?}");
    assert!(
        look.standing[0]
            .message
            .contains("no reading of temperature that is believed"),
        "{look:?}"
    );
    let look = bench.look(&[fact(5.0, Tier::T2, 120_004)], 120_004);
    let ended = |e: &super::super::watch::Ended| e.why == "there are readings now";
    assert!(look.ended.iter().any(ended), "{look:?}");
}
