//! What a node stands on gives way while it runs: its state directory, its disk, its identity. What moves
//! goes to its safe state, nothing new starts, and nobody waits for a disk to stop something.

use std::sync::{Arc, mpsc};

use clawmesh::adapters::store::{Class, approvals, proposals as rows};
use clawmesh::domain::base::Code;
use clawmesh::domain::gate::approval::Verdict;
use clawmesh::domain::proposal::Status;
use clawmesh::node::context::alarms::AlarmKind;
use clawmesh::node::proposals::{self, Minted, estop};

use crate::harness::*;
use crate::main_job::{decision, mint, operator, status};
use crate::process::eventually;
use crate::reserve::{Bed, PUMP};
use crate::restored::{copy, field_of};

fn last_position(node: &TestNode) -> Option<String> {
    let last = journal(node.state().root()).pop()?;
    Some(last["position"].as_str()?.to_owned())
}

/// Opens the valve for longer than the test lasts.
async fn opened(node: &TestNode) -> Minted {
    let minted = mint(node, 20).await;
    let yes = decision(node.shared(), &minted.signed, &operator(), Verdict::Approve);
    proposals::decide(node.shared(), yes).await.unwrap();
    until("the valve is open", || async {
        (last_position(node)? == "open").then_some(())
    })
    .await;
    minted
}

#[test]
fn a_node_whose_state_directory_is_another_one_stops_what_runs_and_starts_nothing() {
    let bed = Bed::new(600);
    let (node, _) = bed.on();
    let (state, away) = (bed.place.state(), bed.place.beside("away"));
    std::fs::rename(&state, &away).unwrap();
    copy(&away, &state);
    // So that the commands find the node all the same.
    for name in ["lock", "node.sock"] {
        let _ = std::fs::remove_file(state.join(name));
        std::fs::hard_link(away.join(name), state.join(name)).unwrap();
    }
    // The gate looks for itself; the rest follows with the next look at the directory.
    let wish = ["propose", PUMP, "start", "--reason", "dry"];
    bed.place
        .run(&wish)
        .fails(1, &["STATE_IN_DOUBT", "another one"]);
    bed.last("off");
    let said = bed.place.run(&["status"]);
    assert!(
        said.code == 7 && said.out.contains("another one"),
        "{said:?}"
    );
    // The real one is back: no need for a word of a person, as nothing was lost.
    std::fs::rename(&state, bed.place.beside("copy")).unwrap();
    std::fs::rename(&away, &state).unwrap();
    eventually("the alarm is over", || {
        (bed.place.run(&["status"]).code == 0).then_some(())
    });
    bed.place.json(&["approve", &bed.propose()]);
    bed.last("on");
    assert_eq!(node.stop(), 0);
    assert_eq!(bed.moves().last().unwrap(), "off");
}

/// What the database file of a place says of a proposal, without the log beside it.
fn status_in_the_file(bed: &Bed, id: &str) -> Option<String> {
    let alone = bed.place.beside("alone.db");
    std::fs::copy(bed.place.state().join("clawmesh.db"), &alone).unwrap();
    let conn = rusqlite::Connection::open(&alone).ok()?;
    let sql = "SELECT status FROM proposals WHERE id = ?1";
    conn.query_row(sql, [id], |row| row.get(0)).ok()
}

#[test]
fn a_log_of_the_store_that_is_removed_stops_what_runs_and_costs_nothing_that_was_answered() {
    for gone in [
        &["clawmesh.db-wal", "clawmesh.db-shm"][..],
        &["clawmesh.db-wal"],
        &["clawmesh.db-shm"],
    ] {
        let bed = Bed::new(600);
        let (node, id) = bed.on();
        assert_eq!(
            status_in_the_file(&bed, &id),
            None,
            "it is in the log alone"
        );
        for name in gone {
            std::fs::remove_file(bed.place.state().join(name)).unwrap();
        }
        let wish = ["propose", PUMP, "start", "--reason", "dry"];
        bed.place
            .run(&wish)
            .fails(1, &["STATE_IN_DOUBT", gone[0], "start it again"]);
        bed.last("off");
        let said = bed.place.run(&["status"]);
        assert!(said.code == 7 && said.out.contains(gone[0]), "{said:?}");
        eventually("the database has it all", || {
            (status_in_the_file(&bed, &id)? == "failed").then_some(())
        });
        node.kill();
        let node = bed.place.start(&[]);
        assert_eq!(bed.place.status_of(&id), "failed");
        assert_eq!(bed.place.run(&["status"]).code, 0);
        assert_eq!(node.stop(), 0);
    }
}

#[test]
fn a_database_that_is_cut_short_stops_what_runs_and_starts_nothing() {
    let bed = Bed::new(600);
    let node = bed.place.start(&[]);
    assert_eq!(node.stop(), 0);
    let (_node, _) = bed.on();
    let database = bed.place.state().join("clawmesh.db");
    let database = std::fs::File::options().write(true).open(database).unwrap();
    database.set_len(4_096).unwrap();
    bed.last("off");
    eventually("the log says so", || {
        bed.place.log().contains("cut short").then_some(())
    });
    let wish = ["propose", PUMP, "start", "--reason", "dry"];
    let said = bed.place.run(&wish);
    assert_eq!(said.code, 1, "{said:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_stalls_holds_up_neither_stop_nor_emergency_stop_nor_the_end() {
    let node = field().with_operator(operator(), "L2").start().await;
    let shared = node.shared().clone();
    let minted = opened(&node).await;
    let id = minted.signed.record().proposal_id.clone();
    let other = mint(&node, 3).await;
    // The store's one writer stands still from here on, as on a disk that does not answer.
    let (go_on, stalled) = mpsc::channel::<()>();
    let (entered, has_entered) = tokio::sync::oneshot::channel();
    let stalling = shared.clone();
    let stall = tokio::spawn(async move {
        let write = stalling.store.write(Class::Durable, "stall", move |_| {
            entered.send(()).unwrap();
            let _ = stalled.recv();
            Ok(())
        });
        drop(write.await);
    });
    has_entered.await.unwrap();
    let stopped = proposals::stop(&shared, id.as_str(), "ada").await.unwrap();
    assert!(stopped.safe && !stopped.recorded, "{stopped:?}");
    assert_eq!(last_position(&node).as_deref(), Some("closed"));
    let unkept = estop::engage(&shared, "ada", "x", estop::Told::Always)
        .await
        .unwrap_err();
    assert!(unkept.actuators.iter().all(|a| a.safe), "{unkept:?}");
    // Once that is known, nobody who decides waits for it, and no decision is kept for later.
    let yes = decision(&shared, &other.signed, &operator(), Verdict::Approve);
    let kind = AlarmKind::StoreUnwritable;
    shared
        .alarms
        .raise(kind, "", "stalled", "wait", shared.now());
    let refusal = proposals::decide(&shared, yes).await.unwrap_err();
    assert_eq!(refusal.code, Code::StorageFailed);
    drop(shared);
    let ended = tokio::time::timeout(PATIENCE, node.stop()).await;
    assert!(ended.is_ok(), "the end waits for the disk");
    drop(go_on);
    stall.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_decision_that_was_refused_while_nothing_could_be_written_never_acts_later() {
    let node = field().with_operator(operator(), "L2").start().await;
    let shared = node.shared();
    let minted = mint(&node, 3).await;
    let (go_on, stalled) = mpsc::channel::<()>();
    let (entered, has_entered) = tokio::sync::oneshot::channel();
    let stalling = shared.clone();
    let stall = tokio::spawn(async move {
        let write = stalling.store.write(Class::Durable, "stall", move |_| {
            entered.send(()).unwrap();
            let _ = stalled.recv();
            Ok(())
        });
        drop(write.await);
    });
    has_entered.await.unwrap();
    let yes = decision(shared, &minted.signed, &operator(), Verdict::Approve);
    let kind = AlarmKind::StoreUnwritable;
    shared
        .alarms
        .raise(kind, "", "stalled", "wait", shared.now());
    let refusal = proposals::decide(shared, yes.clone()).await.unwrap_err();
    assert_eq!(refusal.code, Code::StorageFailed);
    // The disk answers again, and somebody has kept the signed bytes.
    drop(go_on);
    stall.await.unwrap();
    shared.alarms.clear(kind, "");
    let refusal = proposals::decide(shared, yes.clone()).await.unwrap_err();
    assert_eq!(refusal.code, Code::DecisionUsed);
    let copy = yes.clone();
    until("it is on disk that it was used", || async {
        let copy = copy.clone();
        let used = move |c: &rusqlite::Connection| approvals::used(c, &copy);
        shared.store.read("t", used).await.unwrap()
    })
    .await;
    assert_eq!(status(shared, &minted).await, Status::AwaitingApproval);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_identity_that_turns_out_to_run_twice_stops_what_runs() {
    let fresh = || Arc::new(tempfile::tempdir().unwrap());
    let centre = centre()
        .trusting(key(1), "observe:T2,relay,read,actuate")
        .start_in(fresh(), Some(2))
        .await;
    let node = field_of(&centre).start_in(fresh(), Some(1)).await;
    let dir = node.stop().await;
    let image = fresh();
    copy(&dir.path().join("state"), &image.path().join("state"));
    let first = field_of(&centre).start_in(dir, Some(1)).await;
    let minted = opened(&first).await;
    let second = field_of(&centre).start_in(image, Some(1)).await;
    until("the action has ended", || async {
        (status(first.shared(), &minted).await == Status::Failed).then_some(())
    })
    .await;
    assert_eq!(last_position(&first).as_deref(), Some("closed"));
    let id = minted.signed.record().proposal_id.clone();
    let row = first.shared().store.read("t", move |c| rows::get(c, &id));
    let outcome = row.await.unwrap().unwrap().outcome.unwrap();
    assert!(outcome.contains("may not operate"), "{outcome:?}");
    for node in [first, second, centre] {
        node.stop().await;
    }
}
