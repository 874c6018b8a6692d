//! Writes that gather: seen at once by who reads through the store, committed together, and lost alone.

use rusqlite::Connection;

use super::*;
use crate::adapters::store::{Class, frames, kv};
use crate::domain::base::limits::STORE_GATHERED_MAX;
use crate::domain::base::{Code, Refusal};

fn put(store: &Store, class: Class, key: &'static str) {
    store
        .write_blocking(class, "put", move |c| kv::put(c, key, b"1"))
        .unwrap();
}

/// The keys that another process sees, and that remain after this one was killed.
fn committed(file: &std::path::Path, keys: &[&str]) -> Vec<bool> {
    let other = Connection::open(file).unwrap();
    let there = |key: &&str| kv::get(&other, key).unwrap().is_some();
    keys.iter().map(there).collect()
}

#[test]
fn a_read_sees_what_has_gathered_and_commits_it() {
    let (_dir, file) = place();
    let store = open(&file).unwrap();
    put(&store, Class::Gathered, "a");
    put(&store, Class::Gathered, "b");
    assert_eq!(committed(&file, &["a", "b"]), [false, false]);
    let seen = store.read_blocking("get", |c| kv::get(c, "b")).unwrap();
    assert_eq!(seen.as_deref(), Some(b"1".as_slice()));
    assert_eq!(committed(&file, &["a", "b"]), [true, true]);
}

#[tokio::test]
async fn what_looks_often_need_not_commit_it() {
    let (_dir, file) = place();
    let store = open(&file).unwrap();
    let write =
        |key: &'static str| store.write(Class::Gathered, "put", move |c| kv::put(c, key, b"1"));
    write("a").await.unwrap();
    let get = |c: &Connection| kv::get(c, "a");
    assert_eq!(store.read_committed("get", get).await.unwrap(), None);
    let seen = store.read_gathered("get", get).await.unwrap();
    assert_eq!(seen.as_deref(), Some(b"1".as_slice()));
    assert_eq!(committed(&file, &["a"]), [false]);
    assert!(store.read("get", get).await.unwrap().is_some());
    let seen = store.read_gathered("get", get).await.unwrap();
    assert!(
        seen.is_some(),
        "nothing has gathered: it is read where others read"
    );
}

#[test]
fn every_other_write_and_the_end_commit_it_first() {
    let (_dir, file) = place();
    let store = open(&file).unwrap();
    put(&store, Class::Gathered, "a");
    put(&store, Class::Durable, "b");
    assert_eq!(committed(&file, &["a", "b"]), [true, true]);
    put(&store, Class::Gathered, "c");
    put(&store, Class::Relaxed, "d");
    assert_eq!(committed(&file, &["c", "d"]), [true, true]);
    put(&store, Class::Gathered, "e");
    store.close_blocking();
    assert_eq!(committed(&file, &["e"]), [true]);
}

#[test]
fn it_is_committed_when_enough_has_gathered() {
    let (_dir, file) = place();
    let store = open(&file).unwrap();
    for _ in 0..STORE_GATHERED_MAX {
        put(&store, Class::Gathered, "a");
    }
    put(&store, Class::Gathered, "b");
    assert_eq!(committed(&file, &["a", "b"]), [true, false]);
}

#[test]
fn one_that_fails_undoes_only_itself() {
    let (_dir, file) = place();
    let store = open(&file).unwrap();
    put(&store, Class::Gathered, "a");
    let failed = store.write_blocking(Class::Gathered, "put", |c| {
        kv::put(c, "b", b"1")?;
        Err::<(), _>(StoreError::Refused(Refusal::new(Code::InternalError, "no")))
    });
    assert!(failed.is_err());
    put(&store, Class::Gathered, "c");
    put(&store, Class::Durable, "d");
    assert_eq!(
        committed(&file, &["a", "b", "c", "d"]),
        [true, false, true, true]
    );
}

#[test]
fn one_that_ends_the_transaction_takes_it_all_and_the_writer_goes_on() {
    let (_dir, file) = place();
    let store = open(&file).unwrap();
    put(&store, Class::Gathered, "a");
    let ended = store.write_blocking(Class::Gathered, "end", |c| {
        c.execute_batch("ROLLBACK").map_err(StoreError::from)
    });
    assert!(ended.is_err());
    put(&store, Class::Gathered, "b");
    store.read_blocking("get", |c| kv::get(c, "a")).unwrap();
    assert_eq!(committed(&file, &["a", "b"]), [false, true]);
}

#[test]
fn a_place_that_was_told_of_is_never_given_again() {
    let (_dir, c) = conn();
    frames::continue_after(&c, 0).unwrap();
    frames::continue_after(&c, 7).unwrap();
    assert_eq!(
        frames::insert(&c, &frame(1)).unwrap(),
        frames::Inserted::Stored(8)
    );
    frames::continue_after(&c, 5).unwrap();
    assert_eq!(
        frames::insert(&c, &frame(2)).unwrap(),
        frames::Inserted::Stored(9)
    );
    frames::continue_after(&c, 20).unwrap();
    assert_eq!(
        frames::insert(&c, &frame(3)).unwrap(),
        frames::Inserted::Stored(21)
    );
}

#[test]
fn a_lost_frames_place_stays_empty_whatever_is_written_next() {
    for class in [Class::Gathered, Class::Relaxed, Class::Durable] {
        let (_dir, file) = place();
        let store = open(&file).unwrap();
        let insert = |class, n| {
            store
                .write_blocking(class, "frame", move |c| frames::insert(c, &frame(n)))
                .unwrap()
        };
        let lose = || {
            let ended = store.write_blocking(Class::Gathered, "end", |c| {
                c.execute_batch("ROLLBACK").map_err(StoreError::from)
            });
            assert!(ended.is_err());
        };
        insert(Class::Gathered, 1);
        assert_eq!(
            insert(Class::Gathered, 2),
            frames::Inserted::Stored(2),
            "peers may be told of it"
        );
        lose();
        assert_eq!(store.losses(), 1);
        assert_eq!(insert(class, 3), frames::Inserted::Stored(3));
        lose();
        assert_eq!(insert(class, 4), frames::Inserted::Stored(4));
    }
}

#[test]
fn a_copy_that_lies_in_its_place_for_a_while_is_never_read() {
    let (_dir, file) = place();
    let store = open(&file).unwrap();
    let put = |value: &'static [u8]| {
        store
            .write_blocking(Class::Durable, "put", move |c| kv::put(c, "a", value))
            .unwrap();
    };
    put(b"1");
    let away = file.with_extension("away");
    std::fs::rename(&file, &away).unwrap();
    std::fs::copy(&away, &file).unwrap();
    let get = || store.read_blocking("get", |c| kv::get(c, "a"));
    let refused = get().unwrap_err().to_string();
    assert!(refused.contains("another file"), "{refused}");
    std::fs::rename(&away, &file).unwrap();
    put(b"2");
    assert_eq!(get().unwrap().as_deref(), Some(b"2".as_slice()));
}
