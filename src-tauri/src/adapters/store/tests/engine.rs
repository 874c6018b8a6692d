//! The engine: commits, failures, limits, damaged files, abrupt ends.

use std::convert::Infallible;
use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};
use std::sync::mpsc::sync_channel;
use std::time::Duration;

use super::*;
use crate::adapters::store::{Class, events, frames, kv};
use crate::domain::base::limits::{FRAMES_PRUNED_MAX, STORE_READERS};
use crate::domain::base::{Code, Refusal};

const CHILD_FILE: &str = "CLAWMESH_TEST_STORE_CHILD";

fn bytes(file: &std::path::Path) -> Vec<u8> {
    std::fs::read(file).unwrap()
}

#[test]
fn what_is_written_is_read_again_after_closing() {
    let (_dir, file) = place();
    let store = open(&file).unwrap();
    store
        .write_blocking(Class::Durable, "put", |c| kv::put(c, "a", b"1"))
        .unwrap();
    assert_eq!(
        store.read_blocking("get", |c| kv::get(c, "a")).unwrap(),
        Some(b"1".to_vec())
    );
    store.close_blocking();
    assert!(
        !file.with_extension("db-wal").exists(),
        "the log is written out"
    );
    assert!(matches!(
        store.read_blocking("get", |c| kv::get(c, "a")),
        Err(StoreError::Closed)
    ));
    let late = store.write_blocking(Class::Relaxed, "put", |c| kv::put(c, "a", b"2"));
    assert!(matches!(late, Err(StoreError::Closed)));
    let again = open(&file).unwrap();
    assert_eq!(
        again.read_blocking("get", |c| kv::get(c, "a")).unwrap(),
        Some(b"1".to_vec())
    );
}

#[cfg(unix)]
#[test]
fn only_the_owner_may_read_the_files() {
    use std::os::unix::fs::PermissionsExt as _;
    let (dir, file) = place();
    std::fs::write(&file, b"").unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
    let store = open(&file).unwrap();
    store
        .write_blocking(Class::Durable, "put", |c| kv::put(c, "a", b"1"))
        .unwrap();
    let mut seen = 0;
    for entry in std::fs::read_dir(dir.path()).unwrap() {
        let entry = entry.unwrap();
        assert_eq!(
            entry.metadata().unwrap().permissions().mode() & 0o777,
            0o600,
            "{:?}",
            entry.path()
        );
        seen += 1;
    }
    assert!(seen >= 2, "the database and its log");
}

/// Holds the writer until the returned sender is dropped, so that what follows is one batch.
fn hold(
    store: &Store,
) -> (
    std::sync::mpsc::SyncSender<Infallible>,
    std::thread::JoinHandle<()>,
) {
    let (release, held) = sync_channel::<Infallible>(0);
    let (started, running) = sync_channel(1);
    let store = store.clone();
    let thread = std::thread::spawn(move || {
        let done = store.write_blocking(Class::Relaxed, "hold", move |_| {
            started.send(()).unwrap();
            held.recv().unwrap_err();
            Ok(())
        });
        done.unwrap();
    });
    running.recv().unwrap();
    (release, thread)
}

#[tokio::test]
async fn a_failing_write_does_not_hurt_its_neighbours() {
    let (_dir, file) = place();
    let store = open(&file).unwrap();
    let (release, thread) = hold(&store);
    let put =
        |key: &'static str| store.write(Class::Durable, "put", move |c| kv::put(c, key, b"x"));
    let refuse = store.write(Class::Durable, "refuse", |c| {
        kv::put(c, "refused", b"x")?;
        Err::<(), _>(Refusal::new(Code::Conflict, "no").into())
    });
    let fall = store.write(Class::Relaxed, "fall", |c| {
        kv::put(c, "fallen", b"x")?;
        if kv::get(c, "fallen")?.is_some() {
            panic!("on purpose");
        }
        Ok(())
    });
    let (a, no, b, fell, c, ()) = tokio::join!(put("a"), refuse, put("b"), fall, put("c"), async {
        drop(release)
    });
    assert!(a.is_ok() && b.is_ok() && c.is_ok());
    assert_eq!(no.unwrap_err().code(), Code::Conflict);
    assert!(matches!(
        fell,
        Err(StoreError::Invalid { what: "fall", .. })
    ));
    let keys = store.read("keys", |conn| {
        let mut query = conn.prepare("SELECT key FROM kv ORDER BY key")?;
        let rows = query.query_map([], |r| r.get::<_, String>(0))?;
        Ok(rows.collect::<Result<Vec<_>, _>>()?)
    });
    assert_eq!(keys.await.unwrap(), ["a", "b", "c"]);
    thread.join().unwrap();
}

#[test]
fn a_durable_write_is_synced_and_a_relaxed_one_is_not_each_time() {
    let (_dir, file) = place();
    let store = open(&file).unwrap();
    for (class, level) in [
        (Class::Durable, 2),
        (Class::Relaxed, 1),
        (Class::Durable, 2),
        (Class::Relaxed, 1),
    ] {
        let now = store.write_blocking(class, "level", |c| {
            Ok(c.query_row("PRAGMA synchronous", [], |r| r.get::<_, i64>(0))?)
        });
        assert_eq!(now.unwrap(), level, "{class:?}");
    }
}

#[test]
fn a_write_that_ends_the_transaction_fails_and_the_writer_goes_on() {
    let (_dir, file) = place();
    let store = open(&file).unwrap();
    let broken = store.write_blocking(Class::Durable, "rollback", |c| {
        Ok(c.execute_batch("ROLLBACK")?)
    });
    assert!(
        matches!(broken, Err(StoreError::Invalid { .. })),
        "{broken:?}"
    );
    store
        .write_blocking(Class::Durable, "put", |c| kv::put(c, "a", b"1"))
        .unwrap();
}

#[test]
fn readers_cannot_write_and_see_one_moment() {
    let (_dir, file) = place();
    let store = open(&file).unwrap();
    let read = store.read_blocking("write", |c| kv::put(c, "a", b"1"));
    assert!(
        matches!(read, Err(StoreError::Sqlite { what: "write", .. })),
        "{read:?}"
    );
    let other = store.clone();
    let (before, after) = store
        .read_blocking("twice", move |c| {
            let before = kv::get(c, "a")?;
            other.write_blocking(Class::Durable, "put", |c| kv::put(c, "a", b"1"))?;
            Ok((before, kv::get(c, "a")?))
        })
        .unwrap();
    assert_eq!((before, after), (None, None));
    let fallen = store.read_blocking("fall", |_| {
        if file.exists() {
            panic!("on purpose")
        } else {
            Ok(())
        }
    });
    assert!(matches!(fallen, Err(StoreError::Invalid { .. })));
    assert!(
        store
            .read_blocking("get", |c| kv::get(c, "a"))
            .unwrap()
            .is_some()
    );
}

#[tokio::test(flavor = "multi_thread")]
#[expect(clippy::disallowed_methods, reason = "a test")]
async fn a_read_that_is_begun_and_then_left_alone_keeps_no_turn_from_others() {
    let (_dir, file) = place();
    let store = open(&file).unwrap();
    let (release, held) = tokio::sync::watch::channel(());
    let (begun, mut beginning) = tokio::sync::mpsc::channel(STORE_READERS);
    let mut all = tokio::task::JoinSet::new();
    for _ in 0..STORE_READERS {
        let (store, mut held, begun) = (store.clone(), held.clone(), begun.clone());
        all.spawn(async move {
            let hold = move |_: &rusqlite::Connection| {
                begun.blocking_send(()).unwrap();
                tokio::runtime::Handle::current()
                    .block_on(held.changed())
                    .unwrap_err();
                Ok(())
            };
            store.read("hold", hold).await.unwrap();
        });
    }
    for _ in 0..STORE_READERS {
        beginning.recv().await.unwrap();
    }
    // They stand first in the line, and are given turns that they do not come for.
    let mut left: Vec<_> = (0..STORE_READERS)
        .map(|_| Box::pin(store.read("left", |c| kv::get(c, "a"))))
        .collect();
    for one in &mut left {
        assert!(futures_util::poll!(one).is_pending());
    }
    drop(release);
    all.join_all().await;
    let read = store.read("get", |c| kv::get(c, "a"));
    let read = tokio::time::timeout(Duration::from_secs(30), read).await;
    assert_eq!(read.unwrap().unwrap(), None);
}

#[test]
fn a_full_store_says_so_keeps_nothing_by_halves_and_reads_on() {
    let (_dir, file) = place();
    let store = Store::open(
        &file,
        StoreOptions {
            max_bytes: Some(512 * 1024),
            ..StoreOptions::default()
        },
    )
    .unwrap();
    let mut kept = 0;
    let error = loop {
        let from = kept;
        let batch = store.write_blocking(Class::Durable, "frames", move |c| {
            (from..from + 50).try_for_each(|n| frames::insert(c, &frame(n)).map(drop))
        });
        match batch {
            Ok(()) => kept += 50,
            Err(error) => break error,
        }
        assert!(kept < 100_000, "the limit does not hold");
    };
    assert!(matches!(error, StoreError::Full), "{error:?}");
    assert_eq!(error.code(), Code::StorageFull);
    assert!(kept > 0);
    assert_eq!(store.read_blocking("count", frames::count).unwrap(), kept);
    let last = store
        .read_blocking("last", move |c| frames::by_frame_id(c, &frame_id(kept - 1)))
        .unwrap();
    assert!(last.is_some());
    // Pruning makes room again, without a restart.
    let pruned = store
        .write_blocking(Class::Durable, "prune", |c| frames::prune(c, 10))
        .unwrap();
    assert_eq!(pruned, FRAMES_PRUNED_MAX.min(kept - 10));
    let room = store.write_blocking(Class::Durable, "frames", |c| {
        frames::insert(c, &frame(1_000_000))
    });
    assert!(room.is_ok(), "{room:?}");
    store.close_blocking();
    let whole: String = rusqlite::Connection::open(&file)
        .unwrap()
        .query_row("PRAGMA integrity_check", [], |r| r.get(0))
        .unwrap();
    assert_eq!(whole, "ok");
}

#[test]
fn a_damaged_file_is_an_error_and_stays_as_it_is() {
    let (_dir, file) = place();
    let store = open(&file).unwrap();
    store
        .write_blocking(Class::Durable, "fill", |c| {
            (0..500).try_for_each(|n| frames::insert(c, &frame(n)).map(drop))
        })
        .unwrap();
    store.close_blocking();
    let good = bytes(&file);
    let half = good[..good.len() / 2].to_vec();
    let mut headless = good.clone();
    headless[..16].fill(0);
    let mut schemaless = good.clone();
    schemaless[100..4096].fill(0xA5);
    let cases = [
        (
            "garbage",
            b"this is no database, whatever its name says. ".repeat(200),
        ),
        ("a few bytes", b"SQLite format 3\0".to_vec()),
        ("zeros", vec![0; 8192]),
        ("cut in half", half),
        ("header overwritten", headless),
        ("schema overwritten", schemaless),
    ];
    for (name, content) in cases {
        std::fs::write(&file, &content).unwrap();
        let error = open(&file).expect_err(name);
        assert!(
            matches!(&error, StoreError::Corrupt { path } if *path == file),
            "{name}: {error:?}"
        );
        let sentence = error.to_string();
        assert!(
            sentence.contains("clawmesh.db") && sentence.contains("nothing was overwritten"),
            "{sentence}"
        );
        assert!(bytes(&file) == content, "{name}: the file was changed");
    }
    std::fs::write(&file, &good).unwrap();
    assert_eq!(
        open(&file)
            .unwrap()
            .read_blocking("count", frames::count)
            .unwrap(),
        500
    );
}

#[test]
fn damage_found_later_names_the_file() {
    let (_dir, file) = place();
    let store = open(&file).unwrap();
    store
        .write_blocking(Class::Durable, "fill", |c| {
            (0..500).try_for_each(|n| frames::insert(c, &frame(n)).map(drop))
        })
        .unwrap();
    store.close_blocking();
    let mut content = bytes(&file);
    let middle = content.len() / 4096 / 2 * 4096;
    content[middle..].fill(0xA5);
    std::fs::write(&file, &content).unwrap();
    let read = open(&file).and_then(|store| {
        store.read_blocking("page", |c| {
            frames::page(
                c,
                &frames::FrameFilter {
                    limit: 1_000,
                    ..Default::default()
                },
            )
        })
    });
    assert!(
        matches!(&read, Err(StoreError::Corrupt { path }) if *path == file),
        "{read:?}"
    );
}

#[test]
fn a_newer_or_foreign_database_is_refused_unchanged() {
    let (_dir, file) = place();
    open(&file).unwrap().close_blocking();
    let raw = rusqlite::Connection::open(&file).unwrap();
    raw.pragma_update(None, "user_version", 99).unwrap();
    drop(raw);
    let before = bytes(&file);
    assert!(matches!(
        open(&file),
        Err(StoreError::Newer {
            found: 99,
            known: 27
        })
    ));
    assert!(bytes(&file) == before);

    std::fs::remove_file(&file).unwrap();
    let raw = rusqlite::Connection::open(&file).unwrap();
    raw.execute_batch("CREATE TABLE recipes (name TEXT); INSERT INTO recipes VALUES ('soup')")
        .unwrap();
    drop(raw);
    let before = bytes(&file);
    assert!(matches!(open(&file), Err(StoreError::Invalid { .. })));
    assert!(bytes(&file) == before);
}

#[tokio::test]
async fn closing_takes_what_is_queued() {
    let (_dir, file) = place();
    let store = open(&file).unwrap();
    let (release, thread) = hold(&store);
    let writes = (0..21u8).map(|n| {
        store.write(Class::Relaxed, "put", move |c| {
            kv::put(c, &format!("key-{n}"), &[n])
        })
    });
    let writes = futures_util::future::join_all(writes);
    // The writes are polled first, so they stand before the end in the queue.
    let (done, (), ()) = tokio::join!(biased; writes, store.close(), async { drop(release) });
    assert!(done.iter().all(Result::is_ok), "{done:?}");
    thread.join().unwrap();
    let count = |c: &rusqlite::Connection| {
        Ok(c.query_row("SELECT count(*) FROM kv", [], |r| r.get::<_, i64>(0))?)
    };
    assert_eq!(open(&file).unwrap().read("count", count).await.unwrap(), 21);
}

/// Not a test of its own: the process that the next test kills.
#[test]
fn child_that_writes_until_killed() {
    let Ok(file) = std::env::var(CHILD_FILE) else {
        return;
    };
    let store = open(file.as_ref()).unwrap();
    for n in 0..u64::MAX {
        let data = serde_json::json!({"n": n});
        let write = move |c: &rusqlite::Connection| {
            events::append(
                c,
                TimeMs(n),
                &crate::domain::admission::budget::Cause::Own,
                "test",
                "info",
                "written",
                &data,
            )
        };
        let seq = store
            .write_blocking(Class::Durable, "event", write)
            .unwrap();
        println!("acknowledged {seq}");
    }
}

#[test]
fn what_was_acknowledged_survives_an_abrupt_end() {
    let (_dir, file) = place();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args([
            "adapters::store::tests::engine::child_that_writes_until_killed",
            "--exact",
            "--nocapture",
        ])
        .env(CHILD_FILE, &file)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut acknowledged = 0;
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let number = |line: &str| {
        line.split("acknowledged ")
            .nth(1)
            .and_then(|n| n.trim().parse::<u64>().ok())
    };
    while acknowledged < 50 {
        let line = lines
            .next()
            .expect("the child ended before it was killed")
            .unwrap();
        acknowledged = number(&line).unwrap_or(acknowledged);
    }
    child.kill().unwrap();
    child.wait().unwrap();
    // Lines it still printed before it died count too.
    for line in lines.map_while(Result::ok) {
        acknowledged = number(&line).unwrap_or(acknowledged);
    }
    let store = open(&file).unwrap();
    let kept = store
        .read_blocking("events", |c| events::since(c, 0, 1_000_000))
        .unwrap();
    let last = kept.last().unwrap().seq;
    assert!(
        last >= acknowledged,
        "{acknowledged} were acknowledged, {last} are there"
    );
    assert!(
        last <= acknowledged + 1,
        "at most the one under way may be there unacknowledged"
    );
    let numbers: Vec<u64> = kept.iter().map(|e| e.seq).collect();
    assert_eq!(numbers, (1..=last).collect::<Vec<_>>());
}
