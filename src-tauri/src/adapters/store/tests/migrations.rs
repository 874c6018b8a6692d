//! Migrations of data of older versions: databases made by the SQL of their time.

use rusqlite::Connection;
use serde_json::json;

use super::*;
use crate::adapters::store::issuers::{self, Issuer};
use crate::adapters::store::{facts, frame_sync, shares, usage};
use crate::domain::admission::budget::Share;
use crate::domain::base::Hlc;

const BEFORE: [&str; 6] = [
    include_str!("../migrations/0001.sql"),
    include_str!("../migrations/0002.sql"),
    include_str!("../migrations/0003.sql"),
    include_str!("../migrations/0004.sql"),
    include_str!("../migrations/0005.sql"),
    include_str!("../migrations/0006.sql"),
];

/// A database with the sixth schema.
fn sixth(file: &std::path::Path) -> Connection {
    let c = Connection::open(file).unwrap();
    c.pragma_update(None, "foreign_keys", false).unwrap();
    for sql in BEFORE {
        c.execute_batch(sql).unwrap();
    }
    c.pragma_update(None, "user_version", 6).unwrap();
    c
}

#[test]
fn a_new_file_has_small_pages_and_an_old_one_keeps_its_own() {
    let numbers = |file: &std::path::Path| {
        let c = super::super::open::connect(file, StoreOptions::default()).unwrap();
        let of = |name: &str| c.pragma_query_value(None, name, |r| r.get::<_, i64>(0));
        (of("page_size").unwrap(), of("wal_autocheckpoint").unwrap())
    };
    let (_dir, file) = place();
    assert_eq!(numbers(&file), (1_024, 16_000));
    let (_dir, file) = place();
    drop(sixth(&file));
    assert_eq!(numbers(&file), (4_096, 4_000));
}

#[test]
fn issuers_whose_operators_had_decided_are_carried_over_and_no_others() {
    let (_dir, file) = place();
    let old = sixth(&file);
    let operators = [
        ("decided", 1, None),
        ("decided-and-revoked", 2, Some("{}")),
        ("never-decided", 3, None),
        ("decided-twice", 1, None),
    ];
    for (id, issuer, revocation) in operators {
        let json = json!({"record": {"issuer": device(issuer), "name": id}}).to_string();
        old.execute(
            "INSERT INTO operators (operator_id, json, revocation) VALUES (?1, ?2, ?3)",
            (id, json, revocation),
        )
        .unwrap();
        if id.starts_with("decided") {
            for proposal in ["p1", "p2"] {
                old.execute(
                    "INSERT INTO approvals VALUES (?1, ?2, 'approve', '{}', 'sig', 1)",
                    (proposal, id),
                )
                .unwrap();
            }
        }
    }
    drop(old);
    let c = super::super::open::connect(&file, StoreOptions::default()).unwrap();
    let carried = Issuer {
        device_id: device(1),
        accepted_at: TimeMs(0),
        carried: true,
    };
    assert_eq!(issuers::all(&c).unwrap(), [carried]);
    let kept: i64 = c
        .query_row("SELECT count(*) FROM operators", [], |r| r.get(0))
        .unwrap();
    assert_eq!(kept, 4, "no record is lost");
    let ended: i64 = c
        .query_row("SELECT count(*) FROM persons_ended", [], |r| r.get(0))
        .unwrap();
    assert_eq!(ended, 0);
}

#[test]
fn of_two_contents_under_one_id_the_best_proven_is_carried_over() {
    let (_dir, file) = place();
    let old = sixth(&file);
    for n in [1, 2] {
        let id = device(n);
        old.execute("INSERT INTO devices VALUES (?1, ?2)", (n, id.as_str()))
            .unwrap();
    }
    // Two contents under one id of the first device, and the same id of the second.
    for (seq, origin, signature) in [(1_u64, 1, 2), (2, 1, 1), (3, 2, 2)] {
        old.execute(
            "INSERT INTO frames VALUES (?1, 7, ?2, ?3, 'f', 'observation', 1, 1, 1, NULL, NULL, 1, 1, ?4, 0, 0, 2, 1, '{}')",
            (i64::try_from(seq).unwrap(), frame(seq).content.0, origin, signature),
        )
        .unwrap();
        old.execute(
            "INSERT INTO facts VALUES (?1, 'm', ?2, 1, NULL, NULL, ?3, 'f', ?4, 1, 1, ?5, 0, 1, NULL, 1, 1)",
            (
                device(origin).as_str(),
                format!("z{seq}"),
                i64::try_from(seq).unwrap(),
                frame(seq).content.0,
                signature,
            ),
        )
        .unwrap();
    }
    drop(old);
    let c = super::super::open::connect(&file, StoreOptions::default()).unwrap();
    let all = crate::adapters::store::frames::after(&c, 0, 9, 10_000, None).unwrap();
    let left: Vec<u64> = all.iter().map(|f| f.seq).collect();
    assert_eq!(left, [2, 3]);
    let facts: Vec<String> = c
        .prepare(
            "SELECT zone || ' ' || device_id FROM facts JOIN devices ON id = charged ORDER BY zone",
        )
        .unwrap()
        .query_map([], |r| r.get(0))
        .unwrap()
        .collect::<Result<_, _>>()
        .unwrap();
    let charged = [device(1), device(2).at_address()];
    let expected = [format!("z2 {}", charged[0]), format!("z3 {}", charged[1])];
    assert_eq!(facts, expected);
}

#[test]
fn the_newest_readings_are_carried_over_also_of_devices_that_have_no_frame() {
    let (_dir, file) = place();
    let old = sixth(&file);
    let id = uuid::Uuid::from_u128(7).to_string();
    for (zone, value, text, id) in [
        ("z1", Some(1.5), None, &*id),
        ("z2", None, Some("low"), "frame-2"),
    ] {
        old.execute(
            "INSERT INTO facts VALUES (?1, 'm', ?2, ?3, ?4, '%', 9, ?5, ?6, 2, 1, 0, 1, 11, 12, 13, 14)",
            (device(3).as_str(), zone, value, text, id, frame(1).content.0),
        )
        .unwrap();
    }
    drop(old);
    let c = super::super::open::connect(&file, StoreOptions::default()).unwrap();
    let carried = |zone: &str, value, text: Option<&str>, id: &str| facts::FactRow {
        metric: "m".into(),
        zone: Some(zone.to_owned()),
        origin: device(3),
        value,
        text: text.map(str::to_owned),
        unit: Some("%".into()),
        frame_seq: 9,
        frame_id: id.parse().unwrap(),
        content: frame(1).content,
        claimed: Tier::T2,
        effective: Tier::T1,
        signature: SignatureState::Verified,
        tainted: true,
        time: TimeMs(11),
        hlc: Some(Hlc::from_i64(12)),
        received_at: TimeMs(13),
        private: false,
    };
    let all = facts::all(&c, &Default::default(), &device(1), 9).unwrap();
    let expected = [
        carried("z1", Some(1.5), None, &id),
        carried("z2", None, Some("low"), "frame-2"),
    ];
    assert_eq!(all, expected);
    let used = usage::used(&c, &device(3), Share::Facts, TimeMs(0)).unwrap();
    assert_eq!(used, 2);
}

#[test]
fn frames_without_a_signature_are_marked_as_such() {
    let (_dir, file) = place();
    let old = sixth(&file);
    old.execute("INSERT INTO devices VALUES (1, ?1)", [device(1).as_str()])
        .unwrap();
    for (n, signature, json) in [
        (1_u64, 0, r#"{"sig":"s"}"#),
        (2, 1, "{}"),
        (3, 2, r#"{"sig":"s"}"#),
        (4, 2, "{}"),
    ] {
        let f = frame(n);
        old.execute(
            "INSERT INTO frames VALUES (?1, ?1, ?2, 1, ?3, 'observation', 1, 1, 1, NULL, NULL, 1, 1, ?4, 0, 0, 1, 1, ?5)",
            (i64::try_from(n).unwrap(), f.content.0, f.frame_id.as_str(), signature, json),
        )
        .unwrap();
    }
    drop(old);
    let c = super::super::open::connect(&file, StoreOptions::default()).unwrap();
    let all = crate::adapters::store::frames::after(&c, 0, 9, 10_000, None).unwrap();
    let signed: Vec<bool> = all.iter().map(|f| f.signed).collect();
    assert_eq!(signed, [true, false, true, false]);
    assert!(all.iter().all(|f| f.ahead), "other marks stay");
    assert_eq!(frame_sync::keyed_after(&c, 0, 9).unwrap().len(), 4);
    // Each is counted for who is proven to have made it, or brought it.
    let shares = shares::all(&c).unwrap();
    let of: Vec<_> = shares
        .iter()
        .map(|k| (k.carried, k.frames, k.bytes))
        .collect();
    assert_eq!(of, [(true, 2, 813), (false, 2, 813)]);
    // Unproven answers at its address are not on its account any more.
    let whose: Vec<_> = shares.iter().map(|k| k.device.clone()).collect();
    assert_eq!(whose, [Some(device(1).at_address()), Some(device(1))]);
}

#[test]
fn power_lost_at_any_moment_of_a_migration_leaves_all_that_was_there() {
    const ROWS: i64 = 200;
    let (_dir, file) = place();
    let old = sixth(&file);
    for n in 0..ROWS {
        let json = json!({"record": {"issuer": device(1), "name": "x".repeat(500)}}).to_string();
        let row = (format!("operator-{n}"), json);
        old.execute(
            "INSERT INTO operators (operator_id, json, revocation) VALUES (?1, ?2, NULL)",
            row,
        )
        .unwrap();
    }
    drop(old);
    // While the connection is open, what the migration wrote lies in the log beside the file.
    let open = super::super::open::connect(&file, StoreOptions::default()).unwrap();
    let log = |file: &std::path::Path| file.with_extension("db-wal");
    let (before, written) = (
        std::fs::read(&file).unwrap(),
        std::fs::read(log(&file)).unwrap(),
    );
    let newest: i64 = open
        .pragma_query_value(None, "user_version", |r| r.get(0))
        .unwrap();
    drop(open);
    let look = |c: &Connection| {
        let version: i64 = c
            .pragma_query_value(None, "user_version", |r| r.get(0))
            .unwrap();
        let rows: i64 = c
            .query_row("SELECT count(*) FROM operators", [], |r| r.get(0))
            .unwrap();
        let sound: String = c
            .pragma_query_value(None, "integrity_check", |r| r.get(0))
            .unwrap();
        (version, rows, sound)
    };
    let mut seen = std::collections::BTreeSet::new();
    let parts = 24;
    for part in 0..=parts {
        // As much of the log as was on the disk when the power went, the last page of it torn.
        let (_dir, file) = place();
        let cut = written.len() * part / parts;
        std::fs::write(&file, &before).unwrap();
        std::fs::write(log(&file), written.get(..cut).unwrap()).unwrap();
        let c = Connection::open(&file).unwrap();
        let (version, rows, sound) = look(&c);
        assert_eq!((rows, sound.as_str()), (ROWS, "ok"), "{part}: {version}");
        seen.insert(version);
        drop(c);
        // The next start finishes it.
        let c = super::super::open::connect(&file, StoreOptions::default()).unwrap();
        let (version, rows, sound) = look(&c);
        let now = (version, rows, sound.as_str());
        assert_eq!(now, (newest, ROWS, "ok"), "{part}");
    }
    assert!(seen.len() > 1, "the log was never cut within: {seen:?}");
}
