//! Frame ids that begin with their frame's time, and those that do not.

use super::*;
use crate::adapters::store::frames::Inserted;
use crate::adapters::store::{cited, frame_sync, frames};
use crate::domain::sync::{FrameKey, KeySet, Keyed};

/// A frame of a moment, under the id that our nodes give such a frame.
fn timed(n: u64, at: u64) -> NewFrame {
    let mut random = [0; 10];
    random[2..].copy_from_slice(&n.to_be_bytes());
    let id = uuid::Builder::from_unix_timestamp_millis(at, &random).into_uuid();
    NewFrame {
        frame_id: id.into(),
        claimed_at: TimeMs(at),
        ..frame(n)
    }
}

fn form(c: &rusqlite::Connection, seq: u64) -> (String, u64) {
    let sql = "SELECT typeof(frame_id), octet_length(frame_id) FROM frames WHERE seq = ?1";
    let found = c.query_row(sql, [seq.to_string()], |r| {
        Ok((r.get(0)?, r.get::<_, u32>(1)?.into()))
    });
    found.unwrap()
}

fn set(c: &rusqlite::Connection) -> KeySet {
    let mut set = KeySet::default();
    let held = frame_sync::keyed_after(c, 0, 100).unwrap();
    set.extend(held.into_iter().filter_map(|(_, keyed)| keyed));
    set
}

#[test]
fn an_id_is_found_in_whichever_way_it_lies() {
    let (_dir, c) = conn();
    let at = 1_700_000_000_000;
    let frames = [
        (timed(1, at), ("blob", 16)),
        (timed(2, at), ("blob", 16)),
        (timed(3, at + 1), ("blob", 16)),
        // It tells of another time than its frame.
        (
            NewFrame {
                claimed_at: TimeMs(at),
                ..timed(4, at + 7)
            },
            ("text", 36),
        ),
        // A random one, one that is written otherwise, and one that is no UUID.
        (
            NewFrame {
                frame_id: uuid::Uuid::from_u128(7 << 100 | 5).into(),
                ..timed(5, at)
            },
            ("text", 36),
        ),
        (
            NewFrame {
                frame_id: timed(6, at)
                    .frame_id
                    .as_str()
                    .to_uppercase()
                    .parse()
                    .unwrap(),
                ..timed(6, at)
            },
            ("text", 36),
        ),
        (frame(7), ("text", 7)),
    ];
    for (n, (new, (kind, bytes))) in (1..).zip(&frames) {
        assert_eq!(frames::insert(&c, new).unwrap(), Inserted::Stored(n));
        assert_eq!(form(&c, n), ((*kind).to_owned(), *bytes), "{n}");
    }
    let said = |c: &rusqlite::Connection| -> Vec<(TimeMs, Keyed)> {
        let log = frames::after(c, 0, 9, 10_000, None).unwrap();
        let held = frame_sync::keyed_after(c, 0, 9).unwrap();
        let both = log.iter().zip(held);
        both.map(|(stored, (_, keyed))| (stored.claimed_at, keyed.unwrap()))
            .collect()
    };
    let of = |(new, _): &(NewFrame, _)| {
        let key = FrameKey::of(&new.frame_id, &new.content);
        let at = new.claimed_at;
        (at, Keyed { at, key })
    };
    let expected: Vec<_> = frames.iter().map(of).collect();
    assert_eq!(said(&c), expected);
    let zeros = "SELECT count(*) FROM frames WHERE frame_key = 0 AND claimed_at = 0";
    let zeros = c.query_row(zeros, [], |r| r.get::<_, u32>(0)).unwrap();
    assert_eq!(zeros, 3, "an id of bytes says both");
    // Older versions said both beside it.
    let older = "UPDATE frames SET frame_key = 77, claimed_at = ?1 WHERE typeof(frame_id) = 'blob'";
    c.execute(older, [at.to_string()]).unwrap();
    assert_eq!(said(&c), expected);
    let held = set(&c);
    for (n, (new, _)) in (1..).zip(&frames) {
        assert_eq!(frames::insert(&c, new).unwrap(), Inserted::Duplicate, "{n}");
        let found = frames::by_frame_id(&c, &new.frame_id).unwrap().unwrap();
        assert_eq!((found.seq, &found.frame_id), (n, &new.frame_id));
        let found = cited::of_origin(&c, &new.frame_id, &new.origin).unwrap();
        assert_eq!(found.unwrap().seq, n);
        let origins = cited::origins(&c, &new.frame_id, 9).unwrap();
        assert_eq!(origins, std::slice::from_ref(&new.origin));
        let keys = [FrameKey::of(&new.frame_id, &new.content)];
        let (found, looked_up) =
            frame_sync::by_keys(&c, &keys, &held.times(&keys), 10_000).unwrap();
        let places: Vec<u64> = found.iter().map(|f| f.seq).collect();
        assert_eq!((places, looked_up), (vec![n], 1));
    }
    let keys: Vec<FrameKey> = frames
        .iter()
        .map(|(f, _)| FrameKey::of(&f.frame_id, &f.content))
        .collect();
    let (found, _) = frame_sync::by_keys(&c, &keys, &held.times(&keys), 100_000).unwrap();
    let places: Vec<u64> = found.iter().map(|f| f.seq).collect();
    assert_eq!(places, [1, 2, 3, 4, 5, 6, 7], "in the order asked for");
}

#[test]
fn one_id_has_one_content_also_where_it_lies_in_two_ways() {
    let (_dir, c) = conn();
    let at = 1_700_000_000_000;
    frames::insert(&c, &timed(1, at)).unwrap();
    let other = NewFrame {
        claimed_at: TimeMs(at + 1),
        content: frame(2).content,
        ..timed(1, at)
    };
    let with = Inserted::Conflict { with: 1 };
    assert_eq!(frames::insert(&c, &other).unwrap(), with);
    // And the other way round.
    let first = NewFrame {
        claimed_at: TimeMs(at + 1),
        ..timed(3, at)
    };
    frames::insert(&c, &first).unwrap();
    let other = NewFrame {
        content: frame(4).content,
        ..timed(3, at)
    };
    let with = Inserted::Conflict { with: 2 };
    assert_eq!(frames::insert(&c, &other).unwrap(), with);
}

#[test]
fn many_frames_of_one_moment_are_told_apart() {
    let (_dir, c) = conn();
    let at = 1_700_000_000_000;
    for n in 1..=60 {
        frames::insert(&c, &timed(n, at)).unwrap();
    }
    let held = set(&c);
    for n in 1..=60 {
        let keyed = Keyed {
            at: TimeMs(at),
            key: FrameKey::of(&timed(n, at).frame_id, &timed(n, at).content),
        };
        let keys = [keyed.key];
        let (found, _) = frame_sync::by_keys(&c, &keys, &held.times(&keys), 10_000).unwrap();
        assert_eq!(found.iter().map(|f| f.seq).collect::<Vec<_>>(), [n]);
    }
}
