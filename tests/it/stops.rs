//! Stops at another executor: whose they are, as it records them.

use std::sync::Arc;

use clawmesh::domain::gate::approval::Verdict;
use clawmesh::node::proposals;

use crate::harness::*;
use crate::main_job::{decision, mint, operator};

#[tokio::test(flavor = "multi_thread")]
async fn what_a_phone_stops_at_another_executor_is_recorded_there_as_the_persons() {
    let dir = || Arc::new(tempfile::tempdir().unwrap());
    let setup = centre().trusting(key(1), "observe:T2,relay,read,actuate");
    let centre = setup.start_in(dir(), Some(2)).await;
    let mut setup = field()
        .trusting(key(2), "read,estop")
        .with_operator(operator(), "L2");
    setup.raw.peers = vec![format!("{}=ws://{}||local", centre.id(), centre.address)];
    let field = setup.start_in(dir(), Some(1)).await;
    let minted = mint(&field, 20).await;
    let yes = decision(
        field.shared(),
        &minted.signed,
        &operator(),
        Verdict::Approve,
    );
    proposals::decide(field.shared(), yes).await.unwrap();
    let door = clawmesh::operator::Door::new(centre.shared().clone());
    let id = minted.signed.record().proposal_id.clone();
    // A name of the greatest length is told whole, with its session.
    let who = format!("{} (phone 5f3a7bc01234)", "ä".repeat(64));
    until("the centre has its executor stop it", || async {
        door.stop(id.as_str(), &who).await.ok()
    })
    .await;
    let by = format!("{who} at centre");
    let told = |kind: &'static str| {
        let store = field.shared().store.clone();
        async move {
            let read = move |c: &rusqlite::Connection| {
                let found = clawmesh::adapters::store::events::latest(c, 1, Some(kind))?;
                Ok(found.into_iter().next().map(|event| event.message))
            };
            store.read("t", read).await.unwrap()
        }
    };
    let message = until("it is recorded", || told("action.stopped")).await;
    assert!(message.ends_with(&by), "{message}");
    let report = door.estop(&Default::default(), &who).await;
    assert!(report.complete, "{report:?}");
    let message = until("the stop of everything too", || told("estop.engaged")).await;
    assert!(message.contains(&by), "{message}");
    field.stop().await;
    centre.stop().await;
}
