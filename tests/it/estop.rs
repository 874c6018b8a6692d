//! The emergency stop: everything ends safe, nothing moves again until it is released at the node
//! itself, also after a crash; and who may do what.

use std::collections::BTreeSet;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::Poll;

use clawmesh::adapters::store::{Class, audit};
use clawmesh::domain::base::Code;
use clawmesh::domain::base::limits::{
    BUDGET_COMMANDS_PER_HOUR, BUDGET_STOPS_PER_HOUR, STORE_READERS,
};
use clawmesh::domain::gate::approval::Verdict;
use clawmesh::domain::proposal::Status;
use clawmesh::node::proposals::{self, estop};
use clawmesh::operator::estop::StopKnown;
use serde_json::json;

use crate::crash::Pair;
use crate::harness::*;
use crate::levels;
use crate::main_job::{decision, mint, operator, status};
use crate::process::{Place, eventually};

fn last_position(node: &TestNode) -> Option<String> {
    let last = journal(node.state().root()).pop()?;
    Some(last["position"].as_str().unwrap().to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_between_the_decision_and_the_movement_is_not_lost() {
    let node = field()
        .with_operator(operator(), "L2")
        .marked()
        .start()
        .await;
    let minted = mint(&node, 1).await;
    let id = minted.signed.record().proposal_id.clone();
    let approval = decision(node.shared(), &minted.signed, &operator(), Verdict::Approve);
    // With every reader of the store held, the mark that is written ahead of an action waits.
    let (release, held) = std::sync::mpsc::channel::<()>();
    let held = Arc::new(Mutex::new(held));
    let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
    for _ in 0..STORE_READERS {
        let (store, held, tell) = (node.shared().store.clone(), held.clone(), tell.clone());
        tokio::spawn(async move {
            let hold = move |_: &_| {
                tell.send(()).unwrap();
                // It ends when the other end is dropped.
                Ok(held.lock().unwrap().recv().is_err())
            };
            store.read_committed("held", hold).await
        });
        told.recv().await.unwrap();
    }
    let stop = async {
        let stopped = until("the stop finds the run", || async {
            proposals::stop(node.shared(), id.as_str(), "ada")
                .await
                .ok()
        });
        let stopped = stopped.await;
        drop(release);
        stopped
    };
    let (decided, stopped) = tokio::join!(proposals::decide(node.shared(), approval), stop);
    assert_eq!(decided.unwrap().status, Status::Executing);
    assert!(stopped.safe, "{stopped:?}");
    until("the run has ended", || async {
        (status(node.shared(), &minted).await == Status::Failed).then_some(())
    })
    .await;
    assert_eq!(levels::opened(&node), 0, "it never moved");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_stops_again_and_again_stops_each_time_and_fills_no_trail() {
    let node = field().trusting(key(5), "read,estop").start().await;
    let trail = || async {
        let read = node.shared().store.read("t", audit::head).await;
        read.unwrap().seq
    };
    let before = trail().await;
    let mut stopper = Probe::connect(node.address, &key(5), MESH).await;
    let mut latches = BTreeSet::new();
    for _ in 0..40 {
        let halted = stopper.ask("estop.engage", json!({"reason": "x"})).await;
        let id = halted["payload"]["latch"]["id"].as_str().unwrap();
        latches.insert(id.to_owned());
        assert_eq!(node.shared().running.latched().unwrap().id, id);
        // It is on disk by the answer, each time.
        let stored = node.shared().store.read("t", estop::stored).await.unwrap();
        assert_eq!(stored.unwrap().id, id);
    }
    assert_eq!(latches.len(), 40, "each stop has a name of its own");
    let written = trail().await - before;
    assert!(
        (1..=BUDGET_STOPS_PER_HOUR + 2).contains(&written),
        "{written}"
    );
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_has_only_so_many_commands_remembered() {
    let node = field()
        .trusting(key(6), "observe:T2,relay,read,plan")
        .start()
        .await;
    let mut asker = Probe::connect(node.address, &key(6), MESH).await;
    let mut over = 0;
    for n in 0..BUDGET_COMMANDS_PER_HOUR + 20 {
        let now = node.shared().now().0;
        let id = format!("command {n}");
        let answer = asker
            .ask("mesh.message.forward", command(&id, "actuator:none", now))
            .await;
        over += u64::from(answer["error"]["code"] == "OVER_BUDGET");
    }
    // A few come free again while the others are sent.
    assert!((10..=20).contains(&over), "{over}");
    node.stop().await;
}

#[test]
fn killed_right_after_the_answer_it_is_still_latched() {
    let place = Place::new();
    place.enrolled();
    let node = place.field(&[]);
    let id = place.propose(5);
    let report = place.json(&["estop", "--reason", "smoke"]);
    assert_eq!(report["complete"], true, "{report}");
    assert_eq!(report["executors"][0]["latched"], true, "{report}");
    assert_eq!(
        report["executors"][0]["actuators"][0]["safe"], true,
        "{report}"
    );
    node.kill();

    let node = place.field(&[]);
    let state = place.json(&["estop", "status"]);
    assert_eq!(
        (&state["latched"], &state["latch"]["reason"]),
        (&json!(true), &json!("smoke"))
    );
    place
        .run(&["approve", &id])
        .fails(1, &["ESTOP", "smoke", "estop release"]);
    assert_eq!(place.status_of(&id), "awaiting_approval");
    assert!(place.moves(&id).is_empty(), "nothing has moved");
    place
        .run(&["estop", "release", "--reason", " "])
        .fails(2, &["say why"]);
    let state = place.json(&["estop", "release", "--reason", "it was steam"]);
    assert_eq!(state["latched"], false, "{state}");
    node.kill();

    let node = place.field(&[]);
    assert_eq!(place.json(&["estop", "status"])["latched"], false);
    place
        .run(&["estop", "release", "--reason", "again"])
        .fails(1, &["CONFLICT"]);
    assert_eq!(place.json(&["approve", &id])["status"], "executing");
    place.await_status(&id, &["completed"]);
    let trail = place.json(&["audit", "show"]).to_string();
    assert!(
        trail.contains("estop.engaged") && trail.contains("estop.released"),
        "{trail}"
    );
    node.kill();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_with_the_grant_stops_a_running_action_and_no_peer_releases() {
    let node = field()
        .with_operator(operator(), "L2")
        .trusting(key(5), "read,estop")
        .trusting(key(6), "observe:T2,relay,read,plan")
        .start()
        .await;
    let minted = mint(&node, 20).await;
    let waiting = mint(&node, 19).await;
    let yes =
        |m: &proposals::Minted| decision(node.shared(), &m.signed, &operator(), Verdict::Approve);
    proposals::decide(node.shared(), yes(&minted))
        .await
        .unwrap();
    until("the valve is open", || async {
        (last_position(&node).as_deref() == Some("open")).then_some(())
    })
    .await;

    let mut gen1 = Probe::connect(node.address, &key(6), MESH).await;
    let asked = json!({"reason": "smoke", "by": "ada"});
    let refused = gen1.ask("estop.engage", asked.clone()).await;
    assert_eq!(refused["error"]["code"], "NOT_AUTHORIZED");
    assert!(node.shared().running.latched().is_none());

    let mut stopper = Probe::connect(node.address, &key(5), MESH).await;
    let halted = stopper.ask("estop.engage", asked).await;
    assert_eq!(halted["payload"]["latch"]["reason"], "smoke", "{halted}");
    // By the time of the answer the valve is closed, not only told to close.
    assert_eq!(last_position(&node).as_deref(), Some("closed"));
    for actuator in halted["payload"]["actuators"].as_array().unwrap() {
        assert_eq!(actuator["safe"], true, "{halted}");
    }
    until("the action ended", || async {
        (status(node.shared(), &minted).await == Status::Failed).then_some(())
    })
    .await;
    let refused = proposals::decide(node.shared(), yes(&waiting))
        .await
        .unwrap_err();
    assert_eq!(refused.code, Code::Estop);
    assert_eq!(
        status(node.shared(), &waiting).await,
        Status::AwaitingApproval
    );
    for method in ["estop.release", "estop.unlatch"] {
        for peer in [&mut gen1, &mut stopper] {
            let answer = peer.ask(method, json!({"reason": "x"})).await;
            assert_eq!(answer["error"]["code"], "UNKNOWN_METHOD");
        }
    }
    assert!(node.shared().running.latched().is_some());

    estop::release(node.shared(), None, "ada", "all clear")
        .await
        .unwrap();
    proposals::decide(node.shared(), yes(&waiting))
        .await
        .unwrap();
    until("the valve is open again", || async {
        (last_position(&node).as_deref() == Some("open")).then_some(())
    })
    .await;
    node.stop().await;
}

/// Polls once: whether it goes on.
async fn begun<F: Future>(mut work: Pin<&mut F>) -> bool {
    std::future::poll_fn(|cx| Poll::Ready(work.as_mut().poll(cx).is_pending())).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_that_comes_while_another_is_released_holds() {
    let node = field().start().await;
    let engage = |why: &'static str| estop::engage(node.shared(), "ada", why, estop::Told::Always);
    let first = engage("smoke").await.unwrap().latch;
    // While the writer of the store is held, a release waits that has begun already.
    let (let_go, held) = std::sync::mpsc::channel::<()>();
    let (tell, holds) = tokio::sync::oneshot::channel();
    let store = node.shared().store.clone();
    let holding = tokio::spawn(async move {
        let hold = move |_: &_| {
            tell.send(()).unwrap();
            // It ends when the other end is dropped.
            Ok(held.recv().is_err())
        };
        store.write(Class::Durable, "held", hold).await
    });
    holds.await.unwrap();
    let mut releasing = Box::pin(estop::release(node.shared(), None, "ada", "it was steam"));
    assert!(begun(releasing.as_mut()).await);
    let second = async {
        let mut second = Box::pin(engage("fire"));
        assert!(begun(second.as_mut()).await);
        drop(let_go);
        second.await.unwrap().latch
    };
    let (released, second) = tokio::join!(releasing, second);
    let refused = released.unwrap_err();
    assert_eq!(refused.code, Code::Conflict);
    assert!(refused.message.contains("fire"), "{refused}");
    holding.await.unwrap().unwrap();
    let on_disk = || async { node.shared().store.read("t", estop::stored).await.unwrap() };
    assert_eq!(node.shared().running.latched().unwrap().id, second.id);
    assert_eq!(on_disk().await.unwrap().id, second.id);
    // One that was seen earlier is not the one that holds now.
    let shared = node.shared();
    let old = estop::release(shared, Some(&first.id), "ada", "it was steam").await;
    assert_eq!(old.unwrap_err().code, Code::Conflict);
    assert_eq!(on_disk().await.unwrap().id, second.id);
    let released = estop::release(shared, Some(&second.id), "ada", "looked").await;
    assert_eq!(released.unwrap().id, second.id);
    assert!(node.shared().running.latched().is_none());
    assert!(on_disk().await.is_none());
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_that_was_released_is_over_however_often_its_node_asks_for_it() {
    let setup = || {
        field()
            .trusting(key(5), "read,estop")
            .trusting(key(7), "read,estop")
    };
    let node = setup().start().await;
    let asked = |id: &str| json!({"id": id, "reason": "smoke", "by": "ada"});
    let mut stopper = Probe::connect(node.address, &key(5), MESH).await;
    let mut other = Probe::connect(node.address, &key(7), MESH).await;
    let is_latched = |node: &TestNode| node.shared().running.latched().is_some();
    for _ in 0..2 {
        // A node that had no answer asks again, and is answered.
        let halted = stopper.ask("estop.engage", asked("one")).await;
        assert_eq!(halted["payload"]["latch"]["reason"], "smoke", "{halted}");
    }
    estop::release(node.shared(), None, "ada", "looked")
        .await
        .unwrap();
    let over = stopper.ask("estop.engage", asked("one")).await;
    assert_eq!(over["error"]["code"], "CONFLICT", "{over}");
    assert!(!is_latched(&node));
    // The same id of another device is another stop, and so is one without any.
    for (own, stop) in [
        (false, asked("one")),
        (true, asked("two")),
        (false, json!({"reason": "smoke"})),
        (false, asked("")),
    ] {
        let probe = if own { &mut stopper } else { &mut other };
        let halted = probe.ask("estop.engage", stop).await;
        assert!(is_latched(&node), "{halted}");
        estop::release(node.shared(), None, "ada", "looked")
            .await
            .unwrap();
    }
    let dir = node.stop().await;
    let node = setup().start_in(dir, None).await;
    let mut stopper = Probe::connect(node.address, &key(5), MESH).await;
    let over = stopper.ask("estop.engage", asked("two")).await;
    assert_eq!(over["error"]["code"], "CONFLICT", "{over}");
    stopper.ask("estop.engage", asked("three")).await;
    assert!(is_latched(&node));
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_stop_of_a_centre_reaches_its_executor_and_names_who_did_not_answer() {
    let centre_key = key(2);
    let dir = || std::sync::Arc::new(tempfile::tempdir().unwrap());
    let grants = "observe:T2,relay,read,actuate";
    let setup = centre().trusting(key(1), grants).trusting(key(8), grants);
    let centre = setup.start_in(dir(), Some(2)).await;
    let mut setup = field().trusting(key(2), "read");
    setup.raw.peers = vec![format!("{}=ws://{}||local", centre.id(), centre.address)];
    let field = setup.start_in(dir(), Some(1)).await;
    until("they are connected", || async {
        centre.shared().links.get(&field.id()).map(|_| ())
    })
    .await;
    // A device that was there once and is not now.
    centre
        .shared()
        .remember_offer(key(8).id(), &["actuator:mock:pump-1".to_owned()])
        .await;
    let door = clawmesh::operator::Door::new(centre.shared().clone());
    let asked = clawmesh::operator::estop::EstopRequest {
        reason: Some("smoke".into()),
        ..Default::default()
    };
    let of = |report: &clawmesh::operator::estop::EstopReport, id: &str| {
        report
            .executors
            .iter()
            .find(|e| e.device_id == id)
            .cloned()
            .unwrap()
    };
    let report = door.estop(&asked, "ada").await;
    assert!(!report.complete);
    let refused = of(&report, field.id().as_str());
    assert!(!refused.latched && refused.problem.clone().unwrap().contains("NOT_AUTHORIZED"));
    let away = of(&report, key(8).id().as_str());
    assert!(away.problem.clone().unwrap().contains("not connected"));
    assert_eq!(
        (refused.known, away.known),
        (StopKnown::Refused, StopKnown::NotTold)
    );
    let own = of(&report, centre.id().as_str());
    assert!(own.latched && own.known == StopKnown::Latched);
    let events = centre
        .shared()
        .store
        .read("t", |c| {
            clawmesh::adapters::store::events::latest(c, 1, Some("estop.engaged"))
        })
        .await
        .unwrap();
    assert!(
        events[0].message.contains("no actuators"),
        "{}",
        events[0].message
    );
    assert!(field.shared().running.latched().is_none());

    trust(field.shared(), &centre_key, "read,estop").await;
    let report = door.estop(&asked, "ada").await;
    let stopped = of(&report, field.id().as_str());
    assert!(
        stopped.latched && !stopped.actuators.is_empty(),
        "{stopped:?}"
    );
    let latch = field.shared().running.latched().unwrap();
    assert!(
        latch.by.starts_with("ada at ") && latch.reason == "smoke",
        "{latch:?}"
    );
    // A release at the centre releases the centre.
    let asked = clawmesh::operator::estop::EstopRequest {
        reason: Some("clear".into()),
        ..Default::default()
    };
    door.estop_release(&asked, "ada").await.unwrap();
    assert!(centre.shared().running.latched().is_none());
    assert!(field.shared().running.latched().is_some());
    centre.stop().await;
    field.stop().await;
}

#[test]
fn an_executor_that_comes_after_the_stop_is_stopped_as_long_as_the_stop_stands() {
    let pair = Pair::new();
    pair.field
        .json(&["trust", "grant", &pair.centre.device(), "estop"]);
    let centre = pair.start_centre(0);
    let field = pair.start_field(&centre);
    pair.connected();
    field.kill();
    eventually("the centre knows that it is gone", || {
        let peers = pair.centre.json(&["peers"]);
        let all = peers.as_array().unwrap().iter();
        all.clone().all(|p| p["state"] != "connected").then_some(())
    });
    let said = pair.centre.run(&["estop", "--reason", "late", "--json"]);
    assert_eq!(said.code, 1, "{said:?}");
    let report: serde_json::Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!(report["complete"], false, "{report}");
    assert_eq!(report["executors"][1]["known"], "not_told", "{report}");
    // Another stop that comes meanwhile, here or from elsewhere, is no release; and each is asked for once.
    let again = pair.centre.run(&["estop", "--reason", "late", "--json"]);
    assert_eq!(again.code, 1, "{again:?}");
    // What is left to ask is on disk before the answer: a restart goes on.
    let port = centre.address.port();
    centre.kill();
    let centre = pair.start_centre(port);
    let field = pair.start_field(&centre);
    eventually("it is stopped as soon as it is there", || {
        let state = pair.field.json(&["estop", "status"]);
        (state["latched"] == true && state["latch"]["reason"] == "late").then_some(())
    });
    eventually("that is told", || {
        let events = pair.centre.json(&["events", "--limit", "200"]);
        let mut all = events.as_array().unwrap().iter();
        all.find(|e| e["kind"] == "estop.late").cloned()
    });
    let told = pair.centre.json(&["events", "--limit", "200"]);
    let told = told
        .as_array()
        .unwrap()
        .iter()
        .filter(|e| e["kind"] == "estop.late")
        .count();
    assert_eq!(told, 1);
    // It is asked once: released there, it stays so.
    pair.field.json(&["estop", "release", "--reason", "looked"]);
    field.kill();
    let field = pair.start_field(&centre);
    pair.connected();
    assert_eq!(pair.field.json(&["estop", "status"])["latched"], false);
    assert_eq!(field.stop(), 0);
    assert_eq!(centre.stop(), 0);
}
