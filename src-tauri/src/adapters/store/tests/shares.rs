//! Who gives way in the frame log, and what has room of its own.

use super::*;
use crate::adapters::store::frames::{self, Inserted};
use crate::adapters::store::room::{self, For};
use crate::adapters::store::shares::{self, Batch, Kept, Most};
use crate::adapters::store::{Class, kv, trust, usage};
use crate::domain::admission::TrustRecord;
use crate::domain::admission::budget::Share;
use crate::domain::base::limits::{ADDRESS_CONFLICTS, ADDRESS_KEPT_FRAMES};

const PLENTY: Most = Most {
    frames: 1_000,
    bytes: 1 << 30,
};

/// A frame that its device is proven to have made.
fn made_by(n: u8, id: u64) -> NewFrame {
    NewFrame {
        origin: device(n),
        link_peer: Some(device(n)),
        signature: SignatureState::Verified,
        ..frame(id)
    }
}

/// A frame of this node.
fn own(id: u64) -> NewFrame {
    NewFrame {
        link_peer: None,
        ..made_by(1, id)
    }
}

fn large(of: NewFrame) -> NewFrame {
    NewFrame {
        json: format!("{{\"pad\":\"{}\"}}", "x".repeat(20_000)).into(),
        ..of
    }
}

fn kept(c: &rusqlite::Connection, n: u8) -> u64 {
    let of = |k: &&Kept| k.device == Some(device(n));
    let all = shares::all(c).unwrap();
    all.iter().filter(of).map(|k| k.frames).sum()
}

fn own_kept(c: &rusqlite::Connection) -> u64 {
    let all = shares::all(c).unwrap();
    all.iter()
        .find(|k| k.device.is_none())
        .map_or(0, |k| k.frames)
}

/// Stores as ingress does; how many found room.
fn store(c: &rusqlite::Connection, batch: impl IntoIterator<Item = NewFrame>, most: Most) -> u64 {
    c.execute_batch("SAVEPOINT batch").unwrap();
    let (mut room, mut stored) = (Batch::begin(c).unwrap(), 0);
    for new in batch {
        if room.admits(c, new.json.len()).unwrap() {
            stored += u64::from(matches!(
                frames::insert(c, &new).unwrap(),
                Inserted::Stored(_)
            ));
        }
    }
    room.end(c, most).unwrap();
    c.execute_batch("RELEASE batch").unwrap();
    stored
}

#[test]
fn a_device_over_its_share_loses_its_own_oldest_frames_over_a_restart_too() {
    let (_dir, file) = place();
    let most = Most {
        frames: 64,
        ..PLENTY
    };
    let c = super::super::open::connect(&file, StoreOptions::default()).unwrap();
    store(&c, (1..=10).map(|n| made_by(4, n)), most);
    store(&c, (11..=20).map(own), most);
    store(&c, (21..=100).map(|n| made_by(3, n)), most);
    assert_eq!((kept(&c, 3), kept(&c, 4), own_kept(&c)), (63, 10, 10));
    assert_eq!(frames::count(&c).unwrap(), 83);
    let has = |c: &rusqlite::Connection, n| frames::by_frame_id(c, &frame_id(n)).unwrap().is_some();
    assert!(
        !has(&c, 37) && has(&c, 38) && has(&c, 100) && has(&c, 1),
        "its own oldest"
    );
    drop(c);

    let c = super::super::open::connect(&file, StoreOptions::default()).unwrap();
    assert_eq!((kept(&c, 3), kept(&c, 4), own_kept(&c)), (63, 10, 10));
    assert_eq!(
        usage::used(&c, &device(3), Share::KeptFrames, TimeMs(0)).unwrap(),
        63
    );
    let again = NewFrame {
        received_at: TimeMs(500),
        ..made_by(3, 30)
    };
    assert_eq!(
        frames::insert(&c, &again).unwrap(),
        Inserted::Behind,
        "it does not come back"
    );
    // Another device's frame of that time is no older than anything of its own that was pruned.
    let other = NewFrame {
        frame_id: frame_id(1_000),
        ..made_by(4, 30)
    };
    assert!(matches!(
        frames::insert(&c, &other).unwrap(),
        Inserted::Stored(_)
    ));
    // Pruning at the old end counts right beside the gaps.
    assert_eq!(frames::prune(&c, 50).unwrap(), 34);
    assert_eq!(frames::count(&c).unwrap(), 50);
}

#[test]
fn invented_origins_use_the_share_of_who_brought_them_and_not_of_what_it_made() {
    let (_dir, c) = conn();
    let most = Most {
        frames: 64,
        ..PLENTY
    };
    store(&c, (1..=20).map(|n| made_by(5, n)), most);
    let invented = |n: u64| NewFrame {
        origin: device(100 + u8::try_from(n % 100).unwrap()),
        link_peer: Some(device(5)),
        signature: SignatureState::Unverifiable,
        ..frame(n)
    };
    store(&c, (101..=200).map(invented), most);
    let of: Vec<(bool, u64)> = shares::all(&c)
        .unwrap()
        .iter()
        .map(|k| (k.carried, k.frames))
        .collect();
    assert_eq!(of, [(true, 43), (false, 20)]);
    // Once a frame is proven, its origin has it.
    let proven = NewFrame {
        signature: SignatureState::Verified,
        ..invented(200)
    };
    assert!(matches!(
        frames::insert(&c, &proven).unwrap(),
        Inserted::Proven(_)
    ));
    assert_eq!((kept(&c, 5), kept(&c, 100)), (62, 1));
}

#[test]
fn what_an_address_answers_has_a_small_account_of_its_own_that_lapses_and_goes_with_the_trust() {
    let (_dir, c) = conn();
    let answered = |n: u64| NewFrame {
        origin: device(5),
        link_peer: Some(device(5).at_address()),
        signature: SignatureState::Unverifiable,
        ..frame(n)
    };
    let more = ADDRESS_KEPT_FRAMES + 100;
    let plenty = Most {
        frames: 100_000,
        bytes: 1 << 30,
    };
    store(&c, (1..=more).map(answered), plenty);
    store(&c, (10_001..=16_000).map(|n| made_by(5, n)), plenty);
    let account = device(5).at_address();
    let frames_of = |id: &DeviceId| usage::used(&c, id, Share::KeptFrames, TimeMs(0)).unwrap();
    assert!(frames_of(&account) <= ADDRESS_KEPT_FRAMES);
    assert_eq!(frames_of(&device(5)), 6_000, "its own has another limit");

    // Conflicts and readings too.
    let conflict = |n: u64| NewFrame {
        content: frame(n).content,
        received_at: TimeMs(n),
        ..answered(10_001 + n)
    };
    for n in 0..2 * ADDRESS_CONFLICTS {
        frames::insert(&c, &conflict(n)).unwrap();
    }
    let used = |share| usage::used(&c, &account, share, TimeMs(0)).unwrap();
    assert_eq!(used(Share::Conflicts), ADDRESS_CONFLICTS);
    c.execute(
        "INSERT INTO facts SELECT 'm', '', 1, 1, NULL, NULL, 1, 'f', content, 1, 1, 2, 0, 1, NULL, 40, 1, d.id, 0
         FROM frames CROSS JOIN devices d ON d.device_id = ?1 LIMIT 1",
        [account.as_str()],
    )
    .unwrap();
    usage::lapse(&c, TimeMs(40), TimeMs(ADDRESS_CONFLICTS / 2)).unwrap();
    assert_eq!(used(Share::Conflicts), ADDRESS_CONFLICTS / 2);
    assert_eq!(used(Share::Facts), 1);
    usage::lapse(&c, TimeMs(41), TimeMs(0)).unwrap();
    assert_eq!(used(Share::Facts), 0);
    usage::forget(&c, &device(5)).unwrap();
    assert_eq!(used(Share::Conflicts), 0);
}

fn small_store(bytes: u64) -> (TempDir, rusqlite::Connection) {
    let (dir, file) = place();
    let options = StoreOptions {
        max_bytes: Some(bytes),
        ..StoreOptions::default()
    };
    let conn = super::super::open::connect(&file, options).unwrap();
    (dir, conn)
}

#[test]
fn where_there_is_no_room_the_device_that_has_most_gives_way() {
    let (_dir, c) = small_store(4 << 20);
    store(&c, (1..=20).map(|n| made_by(4, n)), PLENTY);
    store(&c, (21..=40).map(own), PLENTY);
    for round in 0..40 {
        let from = 100 + round * 10;
        let flood = (from..from + 10).map(|n| large(made_by(3, n)));
        assert_eq!(store(&c, flood, PLENTY), 10, "its newest have room");
    }
    let flooded = kept(&c, 3);
    assert!((50..200).contains(&flooded), "{flooded}");
    assert_eq!((kept(&c, 4), own_kept(&c)), (20, 20));
    assert_eq!(
        store(&c, [large(made_by(4, 900)), large(own(901))], PLENTY),
        2
    );

    // Mandatory writes have room, a lot of it, and beside it other data kept for peers.
    room::for_peers(&c).unwrap();
    let (mut audit, mut peers_stopped) = (0, 0);
    while peers_stopped < 30 {
        audit += 1;
        kv::put(&c, &format!("audit-{audit}"), &[7; 10_000]).unwrap();
        peers_stopped += u32::from(room::for_peers(&c).is_err());
    }
    assert!((50..100).contains(&audit), "{audit}");
    kv::put(&c, "estop", &[1; 1_000]).unwrap();
    // Frames leave what they must leave again.
    assert_eq!(store(&c, [large(made_by(4, 902))], PLENTY), 1);
    assert!(room::left(&c, For::Peers).unwrap() > 0);
    assert_eq!((kept(&c, 4), own_kept(&c)), (22, 21));
}

#[test]
fn without_anything_to_prune_frames_are_refused_and_the_rest_is_written() {
    let (_dir, c) = small_store(2 << 20);
    for n in 0.. {
        if room::left(&c, For::Frames).unwrap() == 0 {
            break;
        }
        kv::put(&c, &format!("audit-{n}"), &[7; 10_000]).unwrap();
    }
    assert_eq!(store(&c, [large(made_by(3, 1)), large(own(2))], PLENTY), 0);
    kv::put(&c, "estop", &[1; 10_000]).unwrap();
    assert_eq!(frames::count(&c).unwrap(), 0);
}

#[test]
fn a_revoked_device_gives_way_first_and_frames_of_open_proposals_stay() {
    let (_dir, c) = small_store(4 << 20);
    let trusted = |n: u8| {
        let grants = "observe:T2".parse().unwrap();
        TrustRecord::new(device(n), None, None, grants, TimeMs(1))
    };
    let mut revoked = trusted(3);
    revoked.revoked_at = Some(TimeMs(2));
    for record in [revoked, trusted(4)] {
        trust::put(&c, &record).unwrap();
    }
    store(&c, (1..=20).map(|n| large(made_by(3, n))), PLENTY);
    c.execute(
        "INSERT INTO proposals (id, executor, intent_key, status, level, target, operation, record, digest, signature,
            own, created_at, expires_at, updated_at, draft_id, revision)
         VALUES ('p', 'e', 'i', 'awaiting_approval', 'L2', 't', 'o', ?1, x'00', 's', 1, 1, 9, 1, 'd', 1)",
        [r#"{"evidence":[{"frameId":"frame-2"}]}"#],
    )
    .unwrap();
    for round in 0..20 {
        let from = 100 + round * 10;
        store(&c, (from..from + 10).map(|n| large(made_by(4, n))), PLENTY);
    }
    let has = |n| frames::by_frame_id(&c, &frame_id(n)).unwrap().is_some();
    assert!(has(2), "a person has to judge by it");
    assert_eq!(
        kept(&c, 3),
        1,
        "its others went before any of the larger device did"
    );
}

#[test]
fn two_that_share_the_pages_of_the_log_find_room_in_turn() {
    let (_dir, c) = small_store(3 << 20);
    let most = Most {
        frames: 1 << 40,
        bytes: 1 << 40,
    };
    // Small frames of both lie on the same pages; taking one's away frees no page by itself.
    let mut refused = 0;
    for round in 0..60_u64 {
        let from = 1 + round * 200;
        let both = (from..from + 200).map(|n| made_by(if n % 2 == 0 { 3 } else { 4 }, n));
        refused += 200 - store(&c, both, most);
    }
    assert_eq!(refused, 0);
    let (one, other) = (kept(&c, 3), kept(&c, 4));
    assert!(one > 200 && other > 200, "{one} {other}");
}

#[test]
fn a_durable_write_has_room_beside_a_flood_through_the_writer() {
    let (_dir, file) = place();
    let options = StoreOptions {
        max_bytes: Some(4 << 20),
        ..StoreOptions::default()
    };
    let opened = Store::open(&file, options).unwrap();
    assert!(opened.bytes_of_one_device() < 2 << 20);
    for round in 0..60 {
        let flood = move |c: &rusqlite::Connection| {
            store(
                c,
                (round * 10..round * 10 + 10).map(|n| large(made_by(3, n))),
                PLENTY,
            );
            Ok(())
        };
        opened
            .write_blocking(Class::Relaxed, "frames", flood)
            .unwrap();
        let latch = |c: &rusqlite::Connection| kv::put(c, "latch", &[1; 4_000]);
        opened
            .write_blocking(Class::Durable, "latch", latch)
            .unwrap();
    }
    assert!(!opened.is_full());
    opened.close_blocking();
    assert!(std::fs::metadata(&file).unwrap().len() <= 4 << 20);
}
