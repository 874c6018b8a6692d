//! State that goes backwards, is copied or vanishes: the node notices, observes and does not operate
//! until a person at it says which state is the real one. Real processes and real directories.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use clawmesh::adapters::store::proposals as rows;
use clawmesh::domain::base::Code;
use clawmesh::domain::continuity::Fault;
use clawmesh::domain::gate::approval::Verdict;
use clawmesh::domain::proposal::Status;
use clawmesh::node::context::alarms::AlarmKind;
use clawmesh::node::proposals;
use serde_json::Value;
use tempfile::TempDir;

use crate::harness::*;
use crate::main_job::{COMMAND_CENTRE, decision, draft, mint, operator, status};
use crate::process::{Place, VALVE, eventually};

/// Puts a copy of a directory in the place of another, as a backup program would.
pub fn copy(from: &Path, to: &Path) {
    if to.exists() {
        std::fs::remove_dir_all(to).unwrap();
    }
    // A running node replaces small files while they are copied, and cp complains of those that are gone.
    let done = Command::new("cp").arg("-a").arg(from).arg(to).output();
    let said = String::from_utf8(done.unwrap().stderr).unwrap();
    let other = said
        .lines()
        .find(|l| !l.ends_with("No such file or directory"));
    assert!(
        other.is_none() && to.join("identity.json").exists(),
        "{said}"
    );
}

/// The newest count of a frame that a node made, once there is one after `known`.
fn newest_count(place: &Place, known: u64) -> u64 {
    let file = place.state().join("clawmesh.db");
    eventually("it measures", || {
        let conn = rusqlite::Connection::open(&file).ok()?;
        let sql = "SELECT coalesce(max(origin_seq), 0) FROM frames";
        let newest: i64 = conn.query_row(sql, [], |r| r.get(0)).ok()?;
        u64::try_from(newest).ok().filter(|n| *n > known)
    })
}

fn alarms(place: &Place) -> Vec<String> {
    let said = place.run(&["status", "--json"]);
    let status: Value = serde_json::from_str(&said.out).unwrap();
    let alarms = status["alarms"].as_array().unwrap().clone();
    let kinds: Vec<String> = alarms
        .iter()
        .map(|a| a["kind"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(said.code, if kinds.is_empty() { 0 } else { 7 }, "{said:?}");
    kinds
}

#[test]
fn a_restored_directory_runs_nothing_again_until_a_person_confirms_it() {
    let place = Place::new();
    place.enrolled();
    let node = place.field(&[]);
    assert_eq!(alarms(&place), [""; 0]);
    let id = place.propose(1);
    let other = place.propose(2);
    node.stop();
    copy(&place.state(), &place.beside("backup"));

    let node = place.field(&[]);
    assert_eq!(alarms(&place), [""; 0], "an ordinary start");
    place.json(&["approve", &id]);
    place.await_status(&id, &["completed"]);
    let used = newest_count(&place, 0);
    node.kill();
    let journal = harness_journal(&place);
    copy(&place.beside("backup"), &place.state());
    let known = newest_count(&place, 0);
    std::fs::write(place.state().join("sim/journal.jsonl"), journal).unwrap();

    let node = place.field(&[]);
    assert_eq!(alarms(&place), ["state.rolled-back"]);
    // It observes on, and no count of a frame is given twice.
    let first = newest_count(&place, known);
    assert!(first > used, "{first} after {used}");
    place
        .run(&["approve", &id])
        .fails(1, &["STATE_IN_DOUBT", "clawmesh-node state confirm"]);
    let wish = ["propose", VALVE, "open", "durationSec=1", "--reason", "x"];
    place.run(&wish).fails(1, &["STATE_IN_DOUBT"]);
    // A running node is told to be stopped first; the doubt outlives a restart.
    place
        .run(&["state", "confirm", "--yes"])
        .fails(5, &["stop it"]);
    node.stop();
    let node = place.field(&[]);
    assert_eq!(alarms(&place), ["state.rolled-back"]);
    node.stop();
    place.run(&["state", "confirm"]).fails(2, &["--yes"]);
    let said = place.json(&["state", "confirm", "--yes"]);
    assert_eq!(
        (&said["confirmed"], &said["superseded"]),
        (&true.into(), &2.into())
    );

    let node = place.field(&[]);
    assert_eq!(alarms(&place), [""; 0]);
    for old in [&id, &other] {
        place.run(&["approve", old]).fails(1, &["superseded"]);
    }
    assert_eq!(place.moves(&id), ["open", "closed"], "once");
    let new = place.propose(3);
    place.json(&["approve", &new]);
    place.await_status(&new, &["completed"]);
    let trail = place.json(&["audit", "show", "--limit", "1000"]);
    let kinds: Vec<&str> = trail
        .as_array()
        .unwrap()
        .iter()
        .map(|e| e["kind"].as_str().unwrap())
        .collect();
    assert!(kinds.contains(&"state.doubted") && kinds.contains(&"state.confirmed"));
    assert_eq!(place.json(&["audit", "verify"])["ok"], true);
    node.stop();
    let again = place.json(&["state", "confirm", "--yes"]);
    assert_eq!(again["confirmed"], false, "nothing is in doubt");
}

fn harness_journal(place: &Place) -> String {
    std::fs::read_to_string(place.state().join("sim/journal.jsonl")).unwrap()
}

#[test]
fn a_node_that_cannot_note_outside_how_far_it_has_come_operates_nothing() {
    let place = Place::new();
    place.enrolled();
    // It never could.
    place.marks_fail(true);
    let node = place.field(&[]);
    assert_eq!(alarms(&place), ["marks.unwritable"]);
    let words = ["STATE_IN_DOUBT", "does not operate", "CLAWMESH_MARKS_DIR"];
    let wish = ["propose", VALVE, "open", "durationSec=1", "--reason", "x"];
    place.run(&wish).fails(1, &words);
    let (code, health) = node.http("GET", "/healthz", &[]);
    assert!(
        code == 503 && health.contains("marks.unwritable"),
        "{health}"
    );
    node.stop();

    // It can, and raises no doubt about the run before.
    place.marks_fail(false);
    let node = place.field(&[]);
    assert_eq!(alarms(&place), [""; 0]);
    let id = place.propose(1);
    node.stop();
    copy(&place.state(), &place.beside("backup"));

    // It cannot any more: what people approve is not begun, so a copy can begin nothing twice.
    let node = place.field(&[]);
    let mark = place.beside(&format!("marks/clawmesh/{}.json", place.device()));
    eventually("its mark is that of this run", || {
        let mark: Value = serde_json::from_slice(&std::fs::read(&mark).ok()?).ok()?;
        mark["next"].is_null().then_some(())
    });
    place.marks_fail(true);
    let said = place.run(&["approve", &id]);
    if said.code == 0 {
        place.await_status(&id, &["failed"]);
        let ended = place.proposal(&id).unwrap().to_string();
        assert!(ended.contains("outside its state directory"), "{ended}");
    } else {
        // The node has noticed before.
        said.fails(1, &words);
    }
    assert_eq!(place.moves(&id), [""; 0]);
    assert_eq!(alarms(&place), ["marks.unwritable"]);
    place.run(&wish).fails(1, &words);
    node.stop();
    place.marks_fail(false);
    copy(&place.beside("backup"), &place.state());
    let node = place.field(&[]);
    assert_eq!(alarms(&place), ["state.rolled-back"]);
    node.stop();
}

#[test]
fn a_directory_copied_while_its_node_runs_operates_in_one_place_only() {
    let place = Place::new();
    place.enrolled();
    let node = place.field(&[]);
    let id = place.propose(1);
    copy(&place.state(), &place.beside("copy"));
    let twin = Place::at(place.beside("copy"), &place);
    let second = twin.field(&[]);
    assert_eq!(alarms(&twin), ["identity.runs-twice"]);
    twin.run(&["approve", &id]).fails(1, &["STATE_IN_DOUBT"]);
    assert_eq!(alarms(&place), [""; 0]);
    place.json(&["approve", &id]);
    place.await_status(&id, &["completed"]);
    assert!(twin.moves(&id).is_empty());
    second.stop();
    node.stop();
}

#[test]
fn a_store_that_vanished_is_not_begun_anew() {
    let place = Place::new();
    // An identity alone is no store, nor is one that commands began.
    place.device();
    place.enrolled();
    let database = place.state().join("clawmesh.db");
    let held = place.beside("held.db");
    let words = ["clawmesh.db", "missing or empty", "clawmesh-node restore"];
    for empty in [false, true] {
        std::fs::rename(&database, &held).unwrap();
        if empty {
            std::fs::write(&database, "").unwrap();
        }
        for command in [
            &["start", "--port", "0"][..],
            &["trust", "list"],
            &["operator", "list"],
            &["audit", "verify"],
            &["state", "confirm", "--yes"],
        ] {
            let said = place.run(command);
            match command[0] {
                // It also says that what was moved is not known.
                "start" => said.fails_on_lines(5, &["look at every", words[1], "look at every"]),
                _ => said.fails(5, &words),
            };
        }
        let length = std::fs::metadata(&database).map(|m| m.len());
        assert_eq!(length.ok(), empty.then_some(0), "nothing was begun");
        std::fs::rename(&held, &database).unwrap();
    }
    // What only looks makes nothing where nothing is.
    let nothing = place.beside("nothing");
    for (command, code) in [
        (&["trust", "list"][..], 0),
        (&["operator", "list"], 0),
        (&["audit", "verify"], 3),
        (&["state", "confirm"], 3),
    ] {
        assert_eq!(place.run_at(&nothing, command).code, code, "{command:?}");
        assert!(!nothing.exists(), "{command:?}");
    }
    place.field(&[]).stop();
    assert_eq!(place.json(&["audit", "verify"])["ok"], true);
}

pub fn field_of(centre: &TestNode) -> Setup {
    let mut setup = field()
        .trusting(key(2), COMMAND_CENTRE)
        .with_operator(operator(), "L2");
    setup.raw.peers = vec![format!("{}=ws://{}||local", centre.id(), centre.address)];
    setup
}

async fn doubted(node: &TestNode) -> Fault {
    until("the node is in doubt", || async {
        node.shared().continuity.doubt()
    })
    .await
    .fault
}

/// Without any mark: only what a peer remembers tells the node.
#[tokio::test(flavor = "multi_thread")]
async fn peers_bring_an_outcome_back_and_the_proposal_is_not_executed_again() {
    let fresh = || Arc::new(tempfile::tempdir().unwrap());
    let centre = centre()
        .trusting(key(1), "observe:T2,relay,read,actuate")
        .start_in(fresh(), Some(2))
        .await;
    let node = field_of(&centre).start_in(fresh(), Some(1)).await;
    let minted = mint(&node, 1).await;
    let id = minted.signed.record().proposal_id.clone();
    let dir = node.stop().await;
    let backup = fresh();
    copy(&dir.path().join("state"), &backup.path().join("state"));

    let node = field_of(&centre).start_in(dir, Some(1)).await;
    let yes = decision(node.shared(), &minted.signed, &operator(), Verdict::Approve);
    proposals::decide(node.shared(), yes).await.unwrap();
    until("the centre has heard of the end", || async {
        let wanted = id.clone();
        let row = centre
            .shared()
            .store
            .read("t", move |c| rows::get(c, &wanted));
        row.await.unwrap().filter(|r| r.status == Status::Completed)
    })
    .await;
    node.stop().await;

    let node = field_of(&centre).start_in(backup, Some(1)).await;
    assert_eq!(doubted(&node).await, Fault::RolledBack);
    until("the proposal counts as executed", || async {
        (status(node.shared(), &minted).await == Status::Superseded).then_some(())
    })
    .await;
    let yes = decision(node.shared(), &minted.signed, &operator(), Verdict::Approve);
    let refusal = proposals::decide(node.shared(), yes).await.unwrap_err();
    assert_eq!(refusal.code, Code::ProposalNotWaiting);
    let wish = draft(node.shared(), 2).await;
    let refusal = proposals::mint(node.shared(), wish, node.shared().own_id()).await;
    assert_eq!(refusal.unwrap_err().code, Code::StateInDoubt);
    assert!(node.shared().alarms.stands(AlarmKind::StateRolledBack, ""));
    assert!(
        !journal(node.state().root())
            .iter()
            .any(|m| m["job"] == id.as_str())
    );
    node.stop().await;
    centre.stop().await;
}

/// Without any mark, on two machines as it were: each hears the frames of the other.
#[tokio::test(flavor = "multi_thread")]
async fn two_nodes_with_one_identity_both_stop_operating() {
    let fresh = || Arc::new(tempfile::tempdir().unwrap());
    let centre = centre()
        .trusting(key(1), "observe:T2,relay,read,actuate")
        .start_in(fresh(), Some(2))
        .await;
    let node = field_of(&centre).start_in(fresh(), Some(1)).await;
    mint(&node, 1).await;
    let dir: Arc<TempDir> = node.stop().await;
    let image = fresh();
    copy(&dir.path().join("state"), &image.path().join("state"));
    let first = field_of(&centre).start_in(dir, Some(1)).await;
    let second = field_of(&centre).start_in(image, Some(1)).await;
    for node in [&first, &second] {
        doubted(node).await;
        let wish = draft(node.shared(), 2).await;
        let refusal = proposals::mint(node.shared(), wish, node.shared().own_id()).await;
        assert_eq!(refusal.unwrap_err().code, Code::StateInDoubt);
    }
    for node in [first, second, centre] {
        node.stop().await;
    }
}

#[test]
fn a_wrong_clock_is_put_right_by_a_person_on_record() {
    let place = Place::new();
    place.enrolled();
    place.field(&[]).stop();
    let said = place.json(&["clock", "confirm", "--yes"]);
    assert_eq!(said["confirmed"], false, "the clock is not behind");
    // As a node leaves it that operated with its clock a year ahead.
    let ahead = said["now"].as_u64().unwrap() + 31_536_000_000;
    let store = rusqlite::Connection::open(place.state().join("clawmesh.db")).unwrap();
    let put = "INSERT OR REPLACE INTO kv (key, value) VALUES ('clock.high-water', ?1)";
    store.execute(put, [ahead.to_be_bytes()]).unwrap();
    drop(store);
    let node = place.field(&[]);
    eventually("the alarm stands", || {
        (alarms(&place) == ["clock.untrusted"]).then_some(())
    });
    node.stop();
    place.run(&["clock", "confirm"]).fails(2, &["--yes"]);
    let said = place.json(&["clock", "confirm", "--yes"]);
    assert_eq!(
        (&said["confirmed"], &said["recorded"]),
        (&true.into(), &ahead.into())
    );
    let node = place.field(&[]);
    assert_eq!(alarms(&place), [""; 0]);
    let id = place.propose(1);
    place.json(&["approve", &id]);
    place.await_status(&id, &["completed"]);
    node.stop();
}

#[test]
fn what_was_recorded_with_the_clock_ahead_ends_when_a_person_puts_the_clock_right() {
    let place = Place::new();
    place.enrolled();
    let node = place.field(&[]);
    let done = place.propose(1);
    place.json(&["approve", &done]);
    place.await_status(&done, &["completed"]);
    let open = place.propose(1);
    node.stop();
    // As a node leaves it that did this with its clock a hundred days ahead.
    let store = rusqlite::Connection::open(place.state().join("clawmesh.db")).unwrap();
    let ahead = 100 * 86_400_000_i64;
    for sql in [
        "UPDATE runs SET started_at = started_at + ?1, ended_at = ended_at + ?1",
        "UPDATE proposals SET created_at = created_at + ?1, expires_at = expires_at + ?1, updated_at = updated_at + ?1",
    ] {
        assert!(store.execute(sql, [ahead]).unwrap() > 0);
    }
    let said = place.json(&["clock", "confirm", "--yes"]);
    assert_eq!(said["confirmed"], true, "{said}");
    assert_eq!(
        (&said["ahead"]["runs"], &said["ahead"]["proposalsExpired"]),
        (&1.into(), &1.into())
    );
    let newest = "SELECT max(max(started_at), max(ended_at), (SELECT max(updated_at) FROM proposals)) FROM runs";
    let newest: i64 = store.query_row(newest, [], |r| r.get(0)).unwrap();
    assert!(newest <= said["now"].as_i64().unwrap());
    drop(store);
    let again = place.json(&["clock", "confirm", "--yes"]);
    assert_eq!(again["confirmed"], false);

    let node = place.field(&[]);
    assert_eq!(place.status_of(&open), "expired");
    let new = place.propose(1);
    assert_ne!(new, open, "the wish is not swallowed by the one that ended");
    place.json(&["approve", &new]);
    place.await_status(&new, &["completed"]);
    let trail = place.json(&["audit", "show", "--limit", "1000"]);
    let of = |kind: &str| {
        let all = trail.as_array().unwrap().iter();
        all.filter(|e| e["kind"] == kind).count()
    };
    assert_eq!((of("proposal.expired"), of("clock.confirmed")), (1, 1));
    node.stop();
}

#[test]
fn a_backup_of_a_running_node_is_restored_observes_and_operates_once_confirmed() {
    let place = Place::new();
    place.enrolled();
    place.write("config.toml", "name = \"kept-name\"\n");
    let node = place.field(&[]);
    let id = place.propose(1);
    let file = place.beside("node.backup");
    let file = file.to_str().unwrap();
    let words = "correct horse battery staple\n";
    let made = place.typing(&place.state(), &["backup", file, "--json"], words);
    assert!(made.json()["bytes"].as_u64().unwrap() > 4_096);
    let mode =
        std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(file).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
    let secret = std::fs::read_to_string(place.state().join("identity.json")).unwrap();
    let secret: Value = serde_json::from_str(&secret).unwrap();
    let secret = secret["secretKey"].as_str().unwrap();
    let held = std::fs::read(file).unwrap();
    assert!(
        !held.windows(secret.len()).any(|w| w == secret.as_bytes()),
        "no key in the clear"
    );
    place
        .typing(&place.state(), &["backup", file], words)
        .fails(1, &["is there already"]);
    // Done after the backup.
    place.json(&["approve", &id]);
    place.await_status(&id, &["completed"]);
    node.stop();

    let other = Place::at(place.beside("restored"), &place);
    let restore = ["restore", file, "--json"];
    place
        .typing(&place.state(), &restore, words)
        .fails(5, &["is not empty"]);
    other
        .typing(&other.state(), &restore, "another passphrase\n")
        .fails(1, &["passphrase"]);
    let said = other.typing(&other.state(), &restore, words).json();
    assert_eq!(said["deviceId"].as_str().unwrap(), place.device());
    let node = other.field(&[]);
    assert_eq!(alarms(&other), ["state.rolled-back"]);
    other.run(&["approve", &id]).fails(1, &["STATE_IN_DOUBT"]);
    node.stop();
    assert_eq!(other.json(&["state", "confirm", "--yes"])["superseded"], 1);
    let config = std::fs::read_to_string(other.state().join("config.toml")).unwrap();
    assert_eq!(config, "name = \"kept-name\"\n");
    let node = other.field(&[]);
    assert_eq!(alarms(&other), [""; 0]);
    other.run(&["approve", &id]).fails(1, &["superseded"]);
    let new = other.propose(2);
    other.json(&["approve", &new]);
    other.await_status(&new, &["completed"]);
    node.stop();
    // A damaged file restores nothing.
    let mut bytes = held;
    let middle = bytes.len() / 2;
    bytes[middle..middle + 4_096].fill(0xff);
    std::fs::write(place.beside("bad.backup"), &bytes).unwrap();
    let third = Place::at(place.beside("third"), &place);
    let bad = place.beside("bad.backup");
    let said = third.typing(&third.state(), &["restore", bad.to_str().unwrap()], words);
    assert!(
        said.code != 0 && !third.state().join("identity.json").exists(),
        "{said:?}"
    );
}

#[test]
fn a_copy_is_verified_where_it_lies_and_a_torn_one_is_told() {
    use std::os::unix::fs::PermissionsExt as _;
    let place = Place::new();
    place.enrolled();
    let node = place.field(&[]);
    let id = place.propose(1);
    place.json(&["approve", &id]);
    place.await_status(&id, &["completed"]);
    node.stop();
    let copied = place.beside("copy");
    copy(&place.state(), &copied);
    let listed = || {
        let entries = std::fs::read_dir(&copied).unwrap().map(|e| e.unwrap());
        let seen = entries.map(|e| (e.file_name(), e.metadata().unwrap().modified().unwrap()));
        seen.collect::<std::collections::BTreeMap<_, _>>()
    };
    let before = listed();
    std::fs::set_permissions(&copied, std::fs::Permissions::from_mode(0o500)).unwrap();
    let said = place.run_at(&copied, &["audit", "verify", "--json"]);
    assert_eq!(said.json()["ok"], true);
    std::fs::set_permissions(&copied, std::fs::Permissions::from_mode(0o700)).unwrap();
    assert_eq!(listed(), before, "nothing was made or changed");
    // The database of an earlier moment under the note of a later one.
    let node = place.field(&[]);
    copy(&place.state(), &place.beside("old"));
    let id = place.propose(2);
    place.json(&["approve", &id]);
    place.await_status(&id, &["completed"]);
    node.stop();
    std::fs::copy(
        place.state().join("store.mark"),
        place.beside("old/store.mark"),
    )
    .unwrap();
    let _ = std::fs::remove_file(place.beside("old/clawmesh.db-wal"));
    let said = place.run_at(&place.beside("old"), &["audit", "verify"]);
    said.fails(6, &["the note beside the database"]);
    // The first page of the audit trail; those that say which tables there are stay whole, or nothing opens.
    let conn = rusqlite::Connection::open(copied.join("clawmesh.db")).unwrap();
    let root = "SELECT rootpage FROM sqlite_schema WHERE type = 'table' AND name = 'audit'";
    let root: u32 = conn.query_row(root, [], |row| row.get(0)).unwrap();
    let size: u32 = conn
        .query_row("PRAGMA page_size", [], |row| row.get(0))
        .unwrap();
    drop(conn);
    let mut bytes = std::fs::read(copied.join("clawmesh.db")).unwrap();
    let (page, size) = ((root - 1) as usize * size as usize, size as usize);
    bytes[page..page + size].fill(0xff);
    std::fs::write(copied.join("clawmesh.db"), &bytes).unwrap();
    place
        .run_at(&copied, &["audit", "verify"])
        .fails(6, &["damaged"]);
    let torn = Place::at(copied, &place);
    torn.run(&["start", "--port", "0"]).fails(5, &["damaged"]);
}
