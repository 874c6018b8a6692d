//! How long an emergency stop takes until every executor is safe and latched.

use std::sync::Arc;
use std::time::Instant;

use clawmesh::adapters::store::facts;
use clawmesh::domain::capability::{Action, Capability, Params};
use clawmesh::domain::plan::Draft;
use clawmesh::domain::policy::Requester;
use clawmesh::node::proposals;
use clawmesh::operator::Door;
use clawmesh::operator::estop::EstopRequest;

use super::harness::*;
use super::{end, linked, ms, report};

/// A rule of the node itself opens its valve for a minute.
const OPENS: &str = r#"
version = 1
[[rule]]
name = "open"
capability = "actuator:mock:valve-1"
operations = ["open"]
level = "L1"
safe_state = "close"
deadline_sec = 60
duration_param = "durationSec"
requesters = ["rules"]
[rule.params.durationSec]
type = "integer"
min = 1
max = 60
[[rule.condition]]
metric = "tank.level"
origin = "self"
op = ">"
value = 0.0
max_age_sec = 60
"#;

/// Opens a node's valve.
async fn open(node: &TestNode) {
    let shared = node.shared();
    let valve: Capability = "actuator:mock:valve-1".parse().unwrap();
    // A reading older than what the valve did last says nothing of what that has changed.
    let begun = shared.now();
    let cites = until("the level of the tank is known", || async {
        let at = shared.moment();
        let read = shared.store.read("bench", move |c| facts::numeric(c, at));
        let tank = read.await.unwrap().into_iter().find(|f| {
            f.metric == "tank.level" && f.origin == *shared.own_id() && f.sensed_at > begun
        });
        tank.map(|fact| vec![fact.frame_id])
    })
    .await;
    let now = shared.now();
    let params = Params::from([("durationSec".to_owned(), 60.into())]);
    let draft = Draft {
        draft_id: uuid::Uuid::new_v4().into(),
        action: Action::new(valve.clone(), "open", params).unwrap(),
        reason: "bench".into(),
        requester: Requester::Rules,
        requester_name: "bench".into(),
        taint: Default::default(),
        cites,
        origins: Default::default(),
        slot: None,
        led_by: None,
        created_at: now,
        expires_at: now.plus(60_000),
    };
    proposals::mint(shared, draft, shared.own_id())
        .await
        .unwrap();
    until("the valve is open", || async {
        let position = shared.guards.position(&valve).await?.ok()?;
        (position == "open").then_some(())
    })
    .await;
}

/// From the press at one node to the answers of executors whose valves were open, that these are closed and the latch is on
/// disk: at that node itself, and at as many others.
pub async fn stops(others: u8) {
    const ROUNDS: usize = 20;
    let all = others + 1;
    let executor = |me: u8| {
        let mut setup = field();
        setup.raw.name = Some(format!("node-{me}"));
        (setup.kin, setup.policy) = (true, Some(OPENS.to_owned()));
        for other in (1..=all).filter(|n| *n != me) {
            setup = setup.trusting(key(other), "observe:T2,relay,read,plan,actuate,estop");
        }
        setup
    };
    let dir = || Arc::new(tempfile::tempdir().unwrap());
    let first = executor(1).start_in(dir(), Some(1)).await;
    let mut nodes = Vec::new();
    for me in 2..=all {
        let mut setup = executor(me);
        let address = format!("{}=wss://{}||local", first.id(), first.address);
        setup.raw.peers.push(address);
        nodes.push(setup.start_in(dir(), Some(me)).await);
    }
    nodes.push(first);
    linked(&nodes, usize::from(others)).await;
    let pressed = nodes.last().unwrap().shared();
    let mut times = Vec::new();
    for _ in 0..ROUNDS {
        for node in &nodes {
            open(node).await;
        }
        let started = Instant::now();
        let stopped = Door::new(pressed.clone())
            .estop(&EstopRequest::default(), "bench")
            .await;
        times.push(ms(started));
        let safe = stopped
            .executors
            .iter()
            .filter(|e| e.latched && e.actuators.iter().all(|a| a.safe));
        assert_eq!(safe.count(), usize::from(all), "{stopped:?}");
        for node in &nodes {
            proposals::estop::release(node.shared(), None, "bench", "next")
                .await
                .unwrap();
        }
    }
    times.sort_by(f64::total_cmp);
    let target = if others == 0 { "<= 50" } else { "<= 500" };
    report(
        &format!("emergency stop, {all} executors, p50"),
        times[ROUNDS / 2],
        "ms",
        "",
    );
    report(
        &format!("emergency stop, {all} executors, most"),
        times[ROUNDS - 1],
        "ms",
        target,
    );
    end(nodes).await;
}
