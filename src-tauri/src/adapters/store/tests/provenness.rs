//! Of one origin and id the best proven content stands; the others cost who brought them.

use super::*;
use crate::adapters::store::facts::{self, NewFact};
use crate::adapters::store::frames::{self, Displaced, Inserted};
use crate::adapters::store::{frame_sync, series, usage};
use crate::domain::admission::budget::Share;
use crate::domain::base::limits::FRAME_CONFLICTS_PER_ID_MAX;
use crate::domain::sync::{FrameKey, Keyed};

const LATE: TimeMs = TimeMs(1 << 40);

/// The first device's frame, relayed by the second.
fn relayed(n: u64, content: u64) -> NewFrame {
    NewFrame {
        content: frame(content).content,
        signed: false,
        signature: SignatureState::Unverifiable,
        effective_tier: Tier::T0,
        ..frame(n)
    }
}

/// The first device's frame over its own link.
fn first_hand(n: u64) -> NewFrame {
    NewFrame {
        signed: false,
        signature: SignatureState::FirstHand,
        link_peer: Some(device(1)),
        ..frame(n)
    }
}

fn fact_of(new: &NewFrame, zone: &str) -> NewFact {
    NewFact {
        metric: "moisture".into(),
        zone: Some(zone.into()),
        origin: new.origin.clone(),
        value: Some(1.0),
        text: None,
        unit: None,
        frame_seq: 1,
        frame_id: new.frame_id.clone(),
        content: new.content,
        claimed: new.claimed_tier,
        effective: new.effective_tier,
        signature: new.signature,
        tainted: false,
        time: new.time,
        hlc: None,
        received_at: new.received_at,
        private: false,
    }
}

fn used(c: &rusqlite::Connection, n: u8, share: Share) -> u64 {
    usage::used(c, &device(n), share, LATE).unwrap()
}

#[test]
fn first_hand_takes_the_place_of_an_unproven_copy_and_signed_of_both() {
    let (_dir, c) = conn();
    let lie = relayed(1, 50);
    frames::insert(&c, &lie).unwrap();
    facts::upsert_for(&c, &fact_of(&lie, "made up"), &device(2), LATE).unwrap();
    let real = first_hand(1);
    let old = |seq, content: u64, peer| Displaced {
        seq,
        keyed: Keyed {
            at: TimeMs(1),
            key: FrameKey::of(&frame_id(1), &frame(content).content).unsigned(),
        },
        link_peer: Some(device(peer)),
    };
    let instead = |seq, old| Inserted::Instead { seq, of: vec![old] };
    assert_eq!(
        frames::insert(&c, &real).unwrap(),
        instead(2, old(1, 50, 2))
    );
    assert_eq!(facts::count(&c).unwrap(), 0, "its reading went with it");
    assert_eq!(used(&c, 2, Share::Conflicts), 1);
    assert_eq!(used(&c, 2, Share::KeptFrames), 0);
    assert_eq!(used(&c, 1, Share::KeptFrames), 1);
    // Neither it nor another one comes back.
    let conflict = Inserted::Conflict { with: 2 };
    assert_eq!(frames::insert(&c, &lie).unwrap(), conflict);
    assert_eq!(frames::insert(&c, &relayed(1, 51)).unwrap(), conflict);
    assert_eq!(used(&c, 2, Share::Conflicts), 2);

    let signed = NewFrame {
        content: frame(60).content,
        signature: SignatureState::Verified,
        ..frame(1)
    };
    assert_eq!(
        frames::insert(&c, &signed).unwrap(),
        instead(3, old(2, 1, 1))
    );
    assert_eq!(
        frames::insert(&c, &real).unwrap(),
        Inserted::Conflict { with: 3 }
    );
    let found = frames::by_frame_id(&c, &frame_id(1)).unwrap().unwrap();
    assert_eq!((found.seq, found.content), (3, signed.content));
    assert_eq!(frames::count(&c).unwrap(), 1);
}

#[test]
fn the_same_content_first_hand_counts_as_such_and_on_its_origins_account() {
    let (_dir, c) = conn();
    // A relay added a signature that could not be checked then.
    let copy = NewFrame {
        signed: true,
        json: r#"{"sig":"x"}"#.into(),
        ..relayed(1, 1)
    };
    frames::insert(&c, &copy).unwrap();
    facts::upsert_for(&c, &fact_of(&copy, "z"), &device(2), LATE).unwrap();
    let real = first_hand(1);
    assert_eq!(frames::insert(&c, &real).unwrap(), Inserted::Proven(1));
    facts::upsert_for(&c, &fact_of(&real, "z"), &device(1), LATE).unwrap();
    let found = frames::by_seq(&c, 1).unwrap().unwrap();
    assert_eq!(
        (found.signature, found.effective_tier, found.link_peer),
        (
            SignatureState::FirstHand,
            real.effective_tier,
            Some(device(1))
        )
    );
    assert!(!found.signed && *found.json == *real.json);
    let named = frame_sync::keyed_after(&c, 0, 1).unwrap()[0].1.unwrap().key;
    assert_eq!(
        named,
        FrameKey::of(&real.frame_id, &real.content).unsigned()
    );
    for share in [Share::Facts, Share::KeptFrames] {
        assert_eq!((used(&c, 1, share), used(&c, 2, share)), (1, 0));
    }
    assert_eq!(frames::insert(&c, &copy).unwrap(), Inserted::Duplicate);
}

#[test]
fn conflicts_of_one_device_leave_room_for_anothers_under_the_same_id() {
    let (_dir, c) = conn();
    frames::insert(&c, &first_hand(1)).unwrap();
    for n in 0..2 * FRAME_CONFLICTS_PER_ID_MAX {
        frames::insert(&c, &relayed(1, 100 + n)).unwrap();
    }
    let itself = NewFrame {
        content: frame(9).content,
        ..first_hand(1)
    };
    frames::insert(&c, &itself).unwrap();
    assert_eq!(used(&c, 2, Share::Conflicts), FRAME_CONFLICTS_PER_ID_MAX);
    assert_eq!(used(&c, 1, Share::Conflicts), 1);
}

#[test]
fn what_others_say_it_said_hides_no_proven_presence_and_no_gap() {
    let (_dir, c) = conn();
    let presence = |of: NewFrame| NewFrame {
        kind: FrameKind::CapabilityUpdate,
        ..of
    };
    frames::insert(&c, &presence(first_hand(5))).unwrap();
    let lie = NewFrame {
        time: TimeMs(1_000),
        ..presence(relayed(6, 6))
    };
    frames::insert(&c, &lie).unwrap();
    let of_another = NewFrame {
        origin: device(9),
        ..presence(relayed(7, 7))
    };
    frames::insert(&c, &of_another).unwrap();
    let newest = series::newest_presence(&c, 9).unwrap();
    let mut places: Vec<u64> = newest.iter().map(|f| f.seq).collect();
    places.sort_unstable();
    assert_eq!(places, [1, 3]);
    let newest = |n| frames::newest_proven(&c, &device(n)).unwrap();
    assert_eq!((newest(1), newest(9)), (Some(TimeMs(5)), None));
}
