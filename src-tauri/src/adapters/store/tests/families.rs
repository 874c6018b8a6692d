//! The families that hold what the mesh says: frames, facts, events.

use std::collections::BTreeSet;

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::adapters::store::facts::{FactRow, NewFact};
use crate::adapters::store::frames::{Cutoff, FrameFilter, Horizon, Inserted};
use crate::adapters::store::{events, facts, frame_sync, frames, named, series};
use crate::domain::admission::budget::Cause;
use crate::domain::base::Hlc;
use crate::domain::base::limits::{EVENTS_KEPT, EVENTS_KEPT_OF_OTHERS, FRAME_CONFLICTS_PER_ID_MAX};
use crate::domain::sync::{FrameKey, Times};
use crate::domain::world::{Moment, SignatureState};

fn seqs(page: &[frames::StoredFrame]) -> Vec<u64> {
    page.iter().map(|f| f.seq).collect()
}

#[test]
fn a_frame_comes_back_as_it_went_in() {
    let (_dir, c) = conn();
    let mut new = frame(7);
    new.hlc = Some(Hlc::new(TimeMs(7), 3));
    (new.tainted, new.ahead, new.hops) = (true, true, 2);
    new.signature = SignatureState::Verified;
    assert_eq!(frames::insert(&c, &new).unwrap(), Inserted::Stored(1));
    let got = frames::by_frame_id(&c, &new.frame_id).unwrap().unwrap();
    assert_eq!(Some(&got), frames::by_seq(&c, 1).unwrap().as_ref());
    assert_eq!(
        (got.content, &got.origin, got.kind),
        (new.content, &new.origin, new.kind)
    );
    assert_eq!(
        (got.claimed_at, got.time, got.received_at),
        (new.claimed_at, new.time, new.received_at)
    );
    assert_eq!(
        (got.hlc, got.origin_seq, got.hops),
        (new.hlc, new.origin_seq, 2)
    );
    assert_eq!(
        (got.claimed_tier, got.effective_tier, got.signature),
        (Tier::T2, Tier::T1, SignatureState::Verified)
    );
    assert!(got.tainted && got.ahead);
    assert_eq!((got.link_peer, &*got.json), (new.link_peer, &*new.json));
    assert_eq!(frames::by_frame_id(&c, &frame_id(8)).unwrap(), None);
}

#[test]
fn nobody_keeps_a_signed_frame_out_by_saying_it_first() {
    let (_dir, c) = conn();
    let said = NewFrame {
        content: frame(50).content,
        signature: SignatureState::Unverifiable,
        ..frame(1)
    };
    frames::insert(&c, &said).unwrap();
    let signed = NewFrame {
        signature: SignatureState::Verified,
        ..frame(1)
    };
    let Inserted::Instead { seq: 2, of } = frames::insert(&c, &signed).unwrap() else {
        panic!("the signed one does not stand");
    };
    assert_eq!(
        (of.len(), of[0].link_peer.clone()),
        (1, said.link_peer.clone())
    );
    assert_eq!(frames::count(&c).unwrap(), 1);
    let found = frames::by_frame_id(&c, &frame_id(1)).unwrap().unwrap();
    assert_eq!(found.content, signed.content);
    let late = NewFrame {
        content: frame(51).content,
        ..said
    };
    assert!(matches!(
        frames::insert(&c, &late).unwrap(),
        Inserted::Conflict { .. }
    ));
}

#[test]
fn a_copy_without_signature_does_not_stand_for_the_frame_that_has_one() {
    let (_dir, c) = conn();
    let named = |seq| {
        frame_sync::keyed_after(&c, seq, 1).unwrap()[0]
            .1
            .unwrap()
            .key
    };
    let key = FrameKey::of(&frame_id(1), &frame(1).content);
    let copy = NewFrame {
        signed: false,
        signature: SignatureState::Unverifiable,
        ..frame(1)
    };
    frames::insert(&c, &copy).unwrap();
    assert_eq!(named(0), key.unsigned(), "it is not what others hold");
    let found = |key: FrameKey| {
        frame_sync::by_keys(&c, &[key], &Times::default(), 1_000)
            .unwrap()
            .0
    };
    assert!(found(key).is_empty());
    // The signature cannot be checked here; others can, so it is kept.
    let whole = NewFrame {
        signed: true,
        json: r#"{"sig":"x"}"#.into(),
        ..copy.clone()
    };
    assert_eq!(frames::insert(&c, &whole).unwrap(), Inserted::Proven(1));
    assert_eq!(frames::insert(&c, &copy).unwrap(), Inserted::Duplicate);
    assert_eq!(named(0), key);
    assert_eq!(*found(key)[0].json, *whole.json);
    assert_eq!(found(key.unsigned()).len(), 1);
    // A frame from a gen-1 node over its own link stays first-hand.
    let said = NewFrame {
        signed: false,
        signature: SignatureState::FirstHand,
        ..frame(2)
    };
    frames::insert(&c, &said).unwrap();
    let forged = NewFrame {
        signed: true,
        signature: SignatureState::Unverifiable,
        ..frame(2)
    };
    assert_eq!(frames::insert(&c, &forged).unwrap(), Inserted::Duplicate);
}

#[test]
fn the_same_frame_is_stored_once_and_another_with_its_id_is_kept_apart() {
    let (_dir, c) = conn();
    frames::insert(&c, &frame(1)).unwrap();
    assert_eq!(frames::insert(&c, &frame(1)).unwrap(), Inserted::Duplicate);
    let again = NewFrame {
        hops: 3,
        link_peer: None,
        ..frame(1)
    };
    assert_eq!(frames::insert(&c, &again).unwrap(), Inserted::Duplicate);
    // Another origin may use the same id; it takes nothing away.
    let stranger = NewFrame {
        origin: device(9),
        signature: SignatureState::Unverifiable,
        ..frame(1)
    };
    assert_eq!(frames::insert(&c, &stranger).unwrap(), Inserted::Stored(2));
    assert_eq!(frames::insert(&c, &stranger).unwrap(), Inserted::Duplicate);
    for n in 100..150 {
        let forged = NewFrame {
            content: frame(n).content,
            ..frame(1)
        };
        assert_eq!(
            frames::insert(&c, &forged).unwrap(),
            Inserted::Conflict { with: 1 }
        );
    }
    assert_eq!(
        frames::conflict_count(&c).unwrap(),
        FRAME_CONFLICTS_PER_ID_MAX
    );
    assert_eq!(frames::count(&c).unwrap(), 2);
    assert_eq!(
        frames::by_frame_id(&c, &frame_id(1))
            .unwrap()
            .unwrap()
            .origin,
        device(1)
    );
}

#[test]
#[allow(clippy::too_many_lines, reason = "one table of cases")]
fn frames_are_found_by_place_filter_and_peer() {
    let (_dir, c) = conn();
    for n in 1..=10 {
        let mut new = frame(n);
        new.link_peer = match n % 3 {
            0 => None,
            1 => Some(device(1)),
            _ => Some(device(2)),
        };
        if n == 4 {
            (new.kind, new.origin) = (FrameKind::Event, device(5));
        }
        frames::insert(&c, &new).unwrap();
    }
    assert_eq!(
        seqs(&frames::after(&c, 0, 4, usize::MAX, None).unwrap()),
        [1, 2, 3, 4]
    );
    assert_eq!(
        seqs(&frames::after(&c, 2, 4, usize::MAX, Some(&device(1))).unwrap()),
        [3, 5, 6, 8]
    );
    assert_eq!(
        seqs(&frames::after(&c, 8, 4, usize::MAX, Some(&device(77))).unwrap()),
        [9, 10]
    );
    let page = |filter: FrameFilter| seqs(&frames::page(&c, &filter).unwrap());
    assert_eq!(
        page(FrameFilter {
            limit: 3,
            ..Default::default()
        }),
        [10, 9, 8]
    );
    assert_eq!(
        page(FrameFilter {
            before_seq: Some(3),
            ..Default::default()
        }),
        [2, 1]
    );
    assert_eq!(
        page(FrameFilter {
            kind: Some(FrameKind::Event),
            ..Default::default()
        }),
        [4]
    );
    assert_eq!(
        page(FrameFilter {
            origin: Some(device(5)),
            ..Default::default()
        }),
        [4]
    );
    assert_eq!(
        page(FrameFilter {
            origin: Some(device(77)),
            ..Default::default()
        }),
        [0u64; 0]
    );
    assert_eq!(
        page(FrameFilter {
            since: Some(TimeMs(9)),
            ..Default::default()
        }),
        [10, 9]
    );
    assert_eq!(
        page(FrameFilter {
            since: Some(TimeMs(99)),
            ..Default::default()
        }),
        [0u64; 0]
    );
    let zone = FrameFilter {
        zone: Some("z1".into()),
        since: Some(TimeMs(6)),
        ..Default::default()
    };
    assert_eq!(page(zone), [9, 7]);
    let metric = FrameFilter {
        metric: Some("moisture".into()),
        limit: 1,
        ..Default::default()
    };
    assert_eq!(page(metric), [10]);
    // An old frame that arrives late stands at the new end of the log but keeps its time.
    frames::insert(
        &c,
        &NewFrame {
            time: TimeMs(2),
            ..frame(11)
        },
    )
    .unwrap();
    assert_eq!(
        page(FrameFilter {
            since: Some(TimeMs(9)),
            ..Default::default()
        }),
        [10, 9]
    );
}

#[test]
fn pruning_takes_the_old_end_counts_right_and_remembers_how_far() {
    let (_dir, c) = conn();
    assert_eq!(
        (frames::count(&c).unwrap(), frames::max_seq(&c).unwrap()),
        (0, 0)
    );
    for n in 1..=10 {
        frames::insert(&c, &frame(n)).unwrap();
    }
    assert_eq!(frames::horizon(&c).unwrap(), None);
    assert_eq!(frames::prune(&c, 10).unwrap(), 0);
    assert_eq!(frames::prune(&c, 6).unwrap(), 4);
    assert_eq!(
        (frames::count(&c).unwrap(), frames::max_seq(&c).unwrap()),
        (6, 10)
    );
    assert_eq!(
        frames::horizon(&c).unwrap(),
        Some(Horizon {
            seq: 4,
            time: TimeMs(4)
        })
    );
    let before = |at: u64| Cutoff {
        readings: TimeMs(at),
        others: TimeMs(at),
    };
    assert_eq!(
        frames::prune_before(&c, before(7)).unwrap(),
        1,
        "frame 5 came at 6, frame 6 at 7"
    );
    assert_eq!(frames::prune_before(&c, before(999)).unwrap(), 5);
    assert_eq!(
        (frames::count(&c).unwrap(), frames::max_seq(&c).unwrap()),
        (0, 10)
    );
    assert_eq!(
        frames::horizon(&c).unwrap(),
        Some(Horizon {
            seq: 10,
            time: TimeMs(10)
        })
    );
    assert_eq!(
        frames::insert(&c, &frame(11)).unwrap(),
        Inserted::Stored(11),
        "no place is given twice"
    );
}

#[test]
fn own_counts_and_logical_times_are_found_again() {
    let (_dir, c) = conn();
    let believed = |n: u64| Hlc::new(TimeMs(n), u16::MAX);
    assert_eq!(
        (
            frames::max_origin_seq(&c, &device(1)).unwrap(),
            frames::max_hlc(&c, believed(9)).unwrap()
        ),
        (0, None)
    );
    let hlc = |n: u64| Some(Hlc::new(TimeMs(n), 0));
    frames::insert(
        &c,
        &NewFrame {
            link_peer: None,
            hlc: hlc(5),
            ..frame(3)
        },
    )
    .unwrap();
    frames::insert(
        &c,
        &NewFrame {
            origin: device(3),
            hlc: hlc(9),
            ..frame(8)
        },
    )
    .unwrap();
    assert_eq!(frames::max_origin_seq(&c, &device(1)).unwrap(), 3);
    assert_eq!(frames::max_hlc(&c, believed(9)).unwrap(), hlc(9));
    // A logical time beyond belief does not lead, also not after a restart.
    assert_eq!(frames::max_hlc(&c, believed(8)).unwrap(), hlc(5));
}

#[test]
fn what_a_large_log_is_asked_often_uses_an_index() {
    let (_dir, c) = conn();
    let plan = |sql: &str| -> String {
        let mut plan = c.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
        let values = vec![1; plan.parameter_count()];
        let rows = plan
            .query_map(rusqlite::params_from_iter(values), |r| {
                r.get::<_, String>(3)
            })
            .unwrap();
        rows.map(Result::unwrap).collect::<Vec<_>>().join("; ")
    };
    for (sql, index) in [
        (named::PLACES, "COVERING INDEX frames_id (frame_id=?)"),
        (named::PLACES, "INDEX frames_key (frame_key=?)"),
        (named::PLACES_OF_TEXT, "INDEX frames_key (frame_key=?)"),
        (
            named::PLACES_OF_TIME,
            "COVERING INDEX frames_id (frame_id>? AND frame_id<?)",
        ),
        (frames::FIRST_SINCE, "COVERING INDEX frames_time"),
        (
            &series::of_packed(),
            "INDEX frames_time (time>? AND time<?)",
        ),
        (
            &series::of_text(),
            "INDEX frames_series (<expr>=? AND time>? AND time<?)",
        ),
        (frames::MAX_ORIGIN_SEQ, "INDEX frames_own"),
        (frames::MAX_OWN_HLC, "INDEX frames_own_hlc"),
        (frames::NEWEST_PROVEN, "INDEX frames_share (share=?)"),
        (
            series::NEWEST_PRESENCE,
            "INDEX frames_presence_proven (origin=?)",
        ),
    ] {
        let plan = plan(sql);
        assert!(plan.contains(index), "{sql}: {plan}");
    }
}

/// A wall clock after every reading here.
const LATE: TimeMs = TimeMs(1 << 41);

fn fact(n: u64) -> NewFact {
    FactRow {
        metric: "moisture".into(),
        zone: None,
        origin: device(1),
        value: Some(20.5),
        text: None,
        unit: Some("%".into()),
        frame_seq: n,
        frame_id: frame_id(n),
        content: frame(n).content,
        claimed: Tier::T3,
        effective: Tier::T2,
        signature: SignatureState::Verified,
        tainted: true,
        time: TimeMs(1_000 + n),
        hlc: None,
        received_at: TimeMs(2_000),
        private: false,
    }
}

#[test]
fn facts_keep_the_newest_per_origin_metric_and_zone() {
    let (_dir, c) = conn();
    assert!(facts::upsert(&c, &fact(2), LATE).unwrap());
    assert!(!facts::upsert(&c, &fact(1), LATE).unwrap(), "older");
    assert!(!facts::upsert(&c, &fact(2), LATE).unwrap(), "the same");
    assert!(facts::upsert(&c, &fact(3), LATE).unwrap());
    let zone = NewFact {
        zone: Some("north".into()),
        ..fact(1)
    };
    let text = NewFact {
        metric: "door".into(),
        value: None,
        text: Some("open".into()),
        ..fact(1)
    };
    let other = NewFact {
        origin: device(2),
        ..fact(1)
    };
    for new in [&zone, &text, &other] {
        assert!(facts::upsert(&c, new, LATE).unwrap());
    }
    assert_eq!(facts::count(&c).unwrap(), 4);
    assert_eq!(facts::latest(&c, "moisture", None).unwrap().len(), 3);
    assert_eq!(
        facts::latest(&c, "moisture", Some("north")).unwrap(),
        [zone]
    );
    assert!(
        facts::all(&c, &Default::default(), &device(1), 100)
            .unwrap()
            .contains(&text)
    );
    assert!(
        facts::all(&c, &Default::default(), &device(1), 100)
            .unwrap()
            .contains(&fact(3))
    );
    let numeric = facts::numeric(&c, Moment::unset(LATE)).unwrap();
    assert_eq!(numeric.len(), 3);
    assert!(
        numeric
            .iter()
            .all(|f| f.taint == BTreeSet::from([crate::domain::base::Taint::Llm]))
    );
}

#[test]
fn a_logical_time_from_the_future_does_not_lead() {
    let (_dir, c) = conn();
    let liar = NewFact {
        hlc: Some(Hlc::new(TimeMs(1 << 40), 0)),
        ..fact(1)
    };
    facts::upsert(&c, &liar, LATE).unwrap();
    assert!(
        facts::upsert(&c, &fact(2), LATE).unwrap(),
        "the later reading takes its place"
    );
}

#[test]
fn a_reading_from_a_time_when_the_clock_was_ahead_gives_way() {
    let (_dir, c) = conn();
    let (year, now) = (31_536_000_000, TimeMs(5_000));
    let frozen = NewFact {
        time: now.plus(year),
        hlc: Some(Hlc::new(now.plus(year), 0)),
        received_at: now,
        ..fact(1)
    };
    assert!(facts::upsert(&c, &frozen, now.plus(year)).unwrap());
    // Its age counts from its receipt.
    let at = Moment::unset(now.plus(9_000));
    let aged = facts::numeric(&c, at).unwrap();
    assert_eq!(aged[0].sensed_at, now);
    assert!(
        facts::upsert(&c, &fact(2), now).unwrap(),
        "the clock is right again"
    );
    assert!(!facts::upsert(&c, &frozen, now).unwrap());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn the_order_in_which_facts_come_does_not_matter(
        readings in prop::collection::vec((0u64..6, prop::option::of(0u64..6), 0u16..3, 0u64..8), 1..8),
        shuffle in any::<prop::sample::Index>(),
    ) {
        let (_dir, c) = conn();
        let all: Vec<NewFact> = readings
            .iter()
            .map(|(time, hlc, counter, n)| NewFact {
                time: TimeMs(*time),
                hlc: hlc.map(|wall| Hlc::new(TimeMs(wall), *counter)),
                // One content has one time: it is the hash of it.
                content: Digest::of(&[format!("{time} {hlc:?} {counter} {n}").as_bytes()]),
                ..fact(*n)
            })
            .collect();
        let mut ends = Vec::new();
        let mut order = all.clone();
        for turn in 0..3 {
            match turn {
                0 => {}
                1 => order.reverse(),
                _ => order.rotate_left(shuffle.index(all.len())),
            }
            c.execute("DELETE FROM facts", []).unwrap();
            for new in &order {
                facts::upsert(&c, new, LATE).unwrap();
            }
            ends.push(facts::all(&c, &Default::default(), &device(1), 10).unwrap());
        }
        prop_assert_eq!(&ends[0], &ends[1]);
        prop_assert_eq!(&ends[0], &ends[2]);
    }
}

#[test]
fn the_newest_reading_has_no_page_of_its_own() {
    let (_dir, c) = conn();
    let pages = || -> i64 {
        c.pragma_query_value(None, "page_count", |r| r.get(0))
            .unwrap()
    };
    let before = pages();
    for n in 0..100_u64 {
        let new = NewFact {
            metric: "temperature.outside".into(),
            zone: Some(format!("greenhouse-{n}")),
            frame_id: uuid::Uuid::from_u128(u128::MAX - u128::from(n)).into(),
            ..fact(n)
        };
        assert!(facts::upsert(&c, &new, LATE).unwrap());
    }
    assert!(pages() - before < 40, "{} pages", pages() - before);
}

#[test]
fn events_are_numbered_filtered_and_trimmed() {
    let (_dir, mut c) = conn();
    let tx = c.transaction().unwrap();
    for n in 1..=EVENTS_KEPT + 5 {
        let kind = if n % 2 == 0 { "even" } else { "odd" };
        assert_eq!(
            events::append(
                &tx,
                TimeMs(n),
                &Cause::Own,
                kind,
                "info",
                "hello",
                &json!({"n": n})
            )
            .unwrap(),
            n
        );
    }
    tx.commit().unwrap();
    let first = events::since(&c, 0, 2).unwrap();
    assert_eq!(
        (first[0].seq, first[1].seq),
        (6, 7),
        "the five oldest are gone"
    );
    assert_eq!(first[0].data, json!({"n": 6}));
    let newest = events::latest(&c, 2, Some("even")).unwrap();
    assert_eq!(
        (newest[0].seq, newest[1].seq),
        (EVENTS_KEPT + 4, EVENTS_KEPT + 2)
    );
    assert_eq!(events::latest(&c, 1, None).unwrap()[0].seq, EVENTS_KEPT + 5);
}

#[test]
fn nobodys_events_push_out_anothers_and_no_news_a_warning() {
    let (_dir, mut c) = conn();
    let (loud, quiet) = (Cause::Device(device(1)), Cause::Device(device(2)));
    let tx = c.transaction().unwrap();
    let add = |cause: &Cause, severity: &str, n: u64| {
        events::append(&tx, TimeMs(n), cause, "k", severity, "m", &json!({})).unwrap()
    };
    let others = [Cause::Own, quiet.clone(), Cause::Strangers, loud.clone()];
    let kept: Vec<u64> = others
        .iter()
        .map(|cause| add(cause, "warning", 1))
        .collect();
    for n in 0..EVENTS_KEPT_OF_OTHERS + 7 {
        add(&loud, "info", n);
    }
    tx.commit().unwrap();
    let all = events::since(&c, 0, 100_000).unwrap();
    let numbers: Vec<u64> = all.iter().map(|e| e.seq).collect();
    assert_eq!(numbers[..4], kept);
    let most = usize::try_from(EVENTS_KEPT_OF_OTHERS).unwrap();
    assert_eq!(numbers.len(), 4 + most);
    assert_eq!(numbers[4], 12, "the loud one has lost its own oldest");
}

#[test]
fn a_device_that_was_trusted_as_field_keeps_its_actuators_and_no_other_gets_any() {
    let conn = rusqlite::Connection::open_in_memory().unwrap();
    conn.execute_batch("CREATE TABLE trust (device_id TEXT PRIMARY KEY, json TEXT NOT NULL)")
        .unwrap();
    let earlier = [
        ("field", "observe:T2,relay,read,estop", true),
        ("field and more", "observe:T3,relay,read,estop,llm", true),
        (
            "centre",
            "observe:T2,human,plan,relay,read,llm,estop,admin",
            false,
        ),
        ("viewer", "read", false),
        ("gen1", "observe:T2,plan,relay,read", false),
    ];
    for (name, grants, _) in earlier {
        let grants: Vec<&str> = grants.split(',').collect();
        let json = serde_json::json!({"grants": grants}).to_string();
        conn.execute("INSERT INTO trust VALUES (?1, ?2)", (name, json))
            .unwrap();
    }
    conn.execute_batch(include_str!("../migrations/0005.sql"))
        .unwrap();
    for (name, grants, actuates) in earlier {
        let json: String = conn
            .query_row("SELECT json FROM trust WHERE device_id = ?1", [name], |r| {
                r.get(0)
            })
            .unwrap();
        let now: serde_json::Value = serde_json::from_str(&json).unwrap();
        let now: crate::domain::admission::Grants =
            serde_json::from_value(now["grants"].clone()).unwrap();
        let mut wanted: crate::domain::admission::Grants = grants.parse().unwrap();
        if actuates {
            wanted.add(&"actuate".parse().unwrap());
        }
        assert_eq!(now, wanted, "{name}");
    }
}

#[test]
fn only_a_verified_signature_makes_a_device_of_an_old_record_one_of_our_own_kind() {
    let conn = rusqlite::Connection::open_in_memory().unwrap();
    conn.execute_batch(
        "CREATE TABLE trust (device_id TEXT PRIMARY KEY, json TEXT NOT NULL);
         CREATE TABLE devices (id INTEGER PRIMARY KEY, device_id TEXT NOT NULL UNIQUE);
         CREATE TABLE frames (origin INTEGER NOT NULL, signature INTEGER NOT NULL);
         INSERT INTO trust VALUES ('signs', '{}'), ('first hand', '{}'), ('silent', '{}'),
             ('said gen1', '{\"generation\": \"gen1\"}');
         INSERT INTO devices VALUES (1, 'signs'), (2, 'first hand'), (3, 'said gen1'), (4, 'stranger');
         INSERT INTO frames VALUES (1, 0), (1, 1), (2, 1), (2, 2), (3, 0), (4, 0);",
    )
    .unwrap();
    conn.execute_batch(include_str!("../migrations/0008.sql"))
        .unwrap();
    let wanted = [
        ("signs", Some("clawmesh")),
        ("first hand", None),
        ("silent", None),
        ("said gen1", Some("gen1")),
    ];
    for (name, generation) in wanted {
        let found: Option<String> = conn
            .query_row(
                "SELECT json_extract(json, '$.generation') FROM trust WHERE device_id = ?1",
                [name],
                |r| r.get(0),
            )
            .unwrap();
        assert_eq!(found.as_deref(), generation, "{name}");
    }
}

#[test]
fn a_worse_proven_reading_never_takes_the_place_of_a_better_one() {
    let (_dir, c) = conn();
    let unsigned = |n: u64| NewFact {
        signature: SignatureState::Unverifiable,
        ..fact(n)
    };
    assert!(
        facts::upsert(&c, &unsigned(9), LATE).unwrap(),
        "it came first"
    );
    assert!(
        facts::upsert(&c, &fact(1), LATE).unwrap(),
        "older, but signed by its origin"
    );
    assert!(!facts::upsert(&c, &unsigned(10), LATE).unwrap());
    let first_hand = NewFact {
        signature: SignatureState::FirstHand,
        ..fact(11)
    };
    assert!(!facts::upsert(&c, &first_hand, LATE).unwrap());
}

#[test]
fn a_reading_from_far_ahead_never_leads() {
    let (_dir, c) = conn();
    // Its effective time is the receipt, which is later than the other's.
    let ahead = NewFact {
        time: TimeMs(9_000_000_000_000),
        ..fact(8)
    };
    assert!(facts::upsert_ahead(&c, &ahead, &device(1), LATE).unwrap());
    let honest = NewFact {
        time: TimeMs(8_999_999_000_000),
        ..fact(1)
    };
    let now = TimeMs(9_000_000_000_000);
    assert!(
        facts::upsert(&c, &honest, now).unwrap(),
        "the one ahead gives way"
    );
    assert!(!facts::upsert_ahead(&c, &ahead, &device(1), now).unwrap());
}

#[test]
fn the_horizon_follows_our_own_clock() {
    let (_dir, c) = conn();
    let ahead = NewFrame {
        time: TimeMs(4_000_000),
        received_at: TimeMs(2_000),
        ..frame(1)
    };
    frames::insert(&c, &ahead).unwrap();
    frames::insert(&c, &frame(2)).unwrap();
    frames::prune(&c, 1).unwrap();
    let time = frames::horizon(&c).unwrap().unwrap().time;
    assert!(time <= TimeMs(2_000), "{time:?}");
}
