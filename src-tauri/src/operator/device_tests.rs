//! That a kind of device needs its folder alone: a pretend kind measures and, after a person's approval, moves, on a node
//! that knows of it by its configuration only.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use super::Door;
use super::dto::{DraftRequest, OperatorEnroll};
use super::queries::EventQuery;
use crate::adapters::clock::SystemClock;
use crate::domain::gate::approval::{Decision, Verdict};
use crate::domain::identity::OperatorKey;
use crate::domain::proposal::{ProposalRecord, Status};
use crate::node::{Node, Opened, RawConfig};

const TARGET: &str = "actuator:pretend:lamp";

const CONFIG: &str = r#"
mesh_name = "test"
port = 0
discovery = false
sensor_interval_ms = 50

[[device]]
kind = "pretend"
capability = "actuator:pretend:lamp"
metric = "light"
unit = "lx"
value = 12.5
"#;

const POLICY: &str = r#"
version = 1
[[rule]]
name = "lamp"
capability = "actuator:pretend:lamp"
operations = ["open"]
level = "L2"
deadline_sec = 1
safe_state = "close"
may_cite_nothing = ["person"]
"#;

async fn until<T, F: Future<Output = Option<T>>>(what: &str, mut look: impl FnMut() -> F) -> T {
    let found = async {
        loop {
            match look().await {
                Some(found) => return found,
                None => tokio::time::sleep(Duration::from_millis(10)).await,
            }
        }
    };
    let patience = Duration::from_secs(60);
    let found = tokio::time::timeout(patience, found).await;
    found.unwrap_or_else(|_| panic!("waited too long: {what}"))
}

async fn position(door: &Door) -> Option<String> {
    let all = door.actuators().await.unwrap();
    let lamp = all.into_iter().find(|a| a.target == TARGET).unwrap();
    lamp.position
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pretend_kind_measures_and_moves_by_its_configuration_alone() {
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path().join("state");
    let raw = RawConfig::parse(CONFIG, "config.toml").unwrap();
    let config = raw.resolve(state.clone()).unwrap();
    let opened = Opened::open(config, Arc::new(SystemClock::default()));
    let node = Node::serve(opened.await.unwrap(), |_| axum::Router::new());
    let node = node.await.unwrap();
    let door = node.door();
    std::fs::write(state.join("policy.toml"), POLICY).unwrap();
    door.policy_reload().await.unwrap();
    let key = OperatorKey::from_seed(&[3; 32]);
    let ada = OperatorEnroll {
        public_key: key.public().to_text(),
        name: "ada".into(),
        person: None,
        level: "L2".into(),
        days: None,
    };
    door.operator_enroll(&ada).await.unwrap();

    until("its reading is known", || async {
        let status = door.status().await.unwrap();
        let health = status.sensors.iter().find(|s| s.name == TARGET).unwrap();
        (health.last_reading_at.is_some() && status.facts > 0).then_some(())
    })
    .await;
    until("it is safe", || async {
        (position(&door).await.as_deref() == Some("closed")).then_some(())
    })
    .await;

    let wish = DraftRequest {
        target: TARGET.into(),
        operation: "open".into(),
        params: Default::default(),
        reason: "it is dark".into(),
        name: "ada".into(),
        cites: Vec::new(),
        executor: None,
        zone: None,
    };
    let id = door.propose(wish).await.unwrap().proposal_id.unwrap();
    assert_eq!(
        position(&door).await.as_deref(),
        Some("closed"),
        "nobody approved"
    );
    let row = door.proposal_row(&id).await.unwrap();
    let record: ProposalRecord = serde_json::from_str(&row.record).unwrap();
    let approval = Decision {
        verdict: Verdict::Approve,
        mesh_id: record.mesh_id,
        executor: record.executor,
        proposal_id: record.proposal_id,
        digest: row.digest,
        operator_id: key.id().clone(),
        decided_at: node.context().now(),
        note: None,
        channel: None,
        at_node: None,
    };
    door.decide(&id, approval.sign(&key)).await.unwrap();
    until("it is back in its safe state", || async {
        let status = door.proposal(&id).await.unwrap().status;
        (status == Status::Completed).then_some(())
    })
    .await;
    assert_eq!(position(&door).await.as_deref(), Some("closed"));
    until("its movement is told", || async {
        let events = door.events(EventQuery::default()).await.unwrap();
        events
            .iter()
            .any(|e| e.kind == "action.started")
            .then_some(())
    })
    .await;
    node.stop().await;
}
