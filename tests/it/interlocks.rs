//! Interlocks while an action runs: the run ends as soon as one opens, or can no longer be looked at.

use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use clawmesh::domain::base::limits::{INTERLOCK_BLIND_MAX_MS, STORE_READERS};
use clawmesh::domain::gate::approval::Verdict;
use clawmesh::domain::proposal::Status;
use clawmesh::node::proposals;
use serde_json::{Value, json};

use crate::harness::*;
use crate::main_job::{decision, operator, status};

/// Longer than the policy believes a reading, which a busy machine may be slow to pass on.
const BELIEVED: Duration = Duration::from_secs(6);
const POLICY: &str = r#"
version = 1

[[rule]]
name = "water"
capability = "actuator:mock:valve-*"
operations = ["open"]
level = "L2"
safe_state = "close"
deadline_sec = 60
duration_param = "durationSec"
min_tier = "T1"

[rule.params.durationSec]
type = "integer"
min = 1
max = 60
required = true

[[rule.interlock]]
metric = "level"
op = ">"
value = 10.0
max_age_sec = 5
"#;

fn level(n: u32, value: f64) -> Value {
    json!({
        "gen": 1, "kind": "observation", "frameId": format!("level{n}"), "sourceDeviceId": key(5).id(),
        "sourceDisplayName": "probe",
        "timestamp": clawmesh::adapters::clock::Clock::now(&clawmesh::adapters::clock::SystemClock::default()),
        "data": {"zone": "z", "metric": "level", "value": value, "unit": "%"}, "hops": 0,
        "trust": {"evidence_sources": ["sensor"], "evidence_trust_tier": "T2_operational_observation"},
    })
}

/// Says the level again and again, as a sensor does, until told something else or to be silent.
async fn sensor(mut probe: Probe, said: tokio::sync::watch::Receiver<Option<f64>>) {
    for n in 0.. {
        let value = *said.borrow();
        if let Some(value) = value {
            probe.event("context.frame", level(n, value)).await;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// What happens to the level while the valve is open.
enum Then {
    Is(f64),
    Silent,
    /// It is said, and the node cannot read what it holds.
    Unreadable,
    /// What was said last may have been lost; what was said before is believed for a minute.
    Lost,
}

/// Keeps everybody from reading a store until the sender is dropped.
fn occupied(node: &TestNode) -> mpsc::Sender<()> {
    let (release, held) = mpsc::channel::<()>();
    let held = Arc::new(Mutex::new(held));
    for _ in 0..STORE_READERS {
        let (store, held) = (node.shared().store.clone(), held.clone());
        let wait = move |_: &rusqlite::Connection| {
            // It ends with the sender.
            let _ = held.lock().unwrap().recv();
            Ok(())
        };
        tokio::spawn(async move { store.read("t", wait).await });
    }
    release
}

async fn opens_and_ends(then: Then) -> (Vec<String>, String) {
    let mut setup = field().trusting(key(5), "observe:T2,relay,read");
    setup = setup.with_operator(operator(), "L2");
    let policy = match then {
        Then::Lost => POLICY.replace("max_age_sec = 5", "max_age_sec = 60"),
        _ => POLICY.to_owned(),
    };
    setup.policy = Some(policy);
    let node = setup.start().await;
    let probe = Probe::connect(node.address, &key(5), MESH).await;
    let (say, hears) = tokio::sync::watch::channel(Some(50.0));
    let talking = tokio::spawn(sensor(probe, hears));
    let minted = until("the level is known and the wish is taken", || async {
        let draft = crate::main_job::draft(node.shared(), 60).await;
        proposals::mint(node.shared(), draft, node.shared().own_id())
            .await
            .ok()
    })
    .await;
    let yes = decision(node.shared(), &minted.signed, &operator(), Verdict::Approve);
    proposals::decide(node.shared(), yes).await.unwrap();
    let moves = || {
        let all = journal(node.state().root());
        let last = all.iter().filter_map(|m| m["position"].as_str());
        last.map(str::to_owned).collect::<Vec<_>>()
    };
    until("the valve is open", || async {
        (moves().last().map(String::as_str) == Some("open")).then_some(())
    })
    .await;
    // While the level is good and known, it stays open for longer than a reading is believed.
    tokio::time::sleep(Duration::from_millis(INTERLOCK_BLIND_MAX_MS).max(BELIEVED)).await;
    assert_eq!(moves().last().map(String::as_str), Some("open"));
    let released = match then {
        Then::Is(value) => {
            say.send_replace(Some(value));
            None
        }
        Then::Silent => {
            say.send_replace(None);
            None
        }
        Then::Unreadable => Some(occupied(&node)),
        Then::Lost => {
            say.send_replace(None);
            crate::lost::a_commit_fails(&node).await;
            None
        }
    };
    until("the valve is closed", || async {
        (moves().last().map(String::as_str) == Some("closed")).then_some(())
    })
    .await;
    drop(released);
    until("the run has ended", || async {
        (status(node.shared(), &minted).await == Status::Failed).then_some(())
    })
    .await;
    let id = minted.signed.record().proposal_id.clone();
    let row = node.shared().store.read("t", move |c| {
        clawmesh::adapters::store::proposals::get(c, &id)
    });
    let outcome = row.await.unwrap().unwrap().outcome.unwrap();
    talking.abort();
    let moved = moves();
    node.stop().await;
    (moved, outcome)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interlock_that_opens_while_it_moves_ends_the_run() {
    let (moves, detail) = opens_and_ends(Then::Is(3.0)).await;
    assert_eq!(moves.last().map(String::as_str), Some("closed"));
    assert!(
        detail.contains("interlock") && detail.contains("level is"),
        "{detail}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sensor_that_falls_silent_while_it_moves_ends_the_run() {
    let (moves, detail) = opens_and_ends(Then::Silent).await;
    assert_eq!(moves.last().map(String::as_str), Some("closed"));
    assert!(detail.contains("younger than 5 s"), "{detail}");
}

#[tokio::test(flavor = "multi_thread")]
async fn readings_that_cannot_be_read_while_it_moves_end_the_run() {
    let (_, detail) = opens_and_ends(Then::Unreadable).await;
    assert!(detail.contains("cannot be read"), "{detail}");
}

#[tokio::test(flavor = "multi_thread")]
async fn readings_that_were_lost_while_it_moves_end_the_run() {
    let (moves, detail) = opens_and_ends(Then::Lost).await;
    assert_eq!(moves.last().map(String::as_str), Some("closed"));
    assert!(detail.contains("there is none among 0"), "{detail}");
}
