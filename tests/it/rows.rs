//! Rows of the store that do not read: lists leave them out and say so, checks do not pass over them.

use clawmesh::adapters::store::Class;
use clawmesh::node::context::alarms::AlarmKind;
use clawmesh::operator::Door;
use clawmesh::operator::queries::{EventQuery, ProposalQuery};

use crate::harness::*;
use crate::main_job::mint;

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_does_not_read_hides_no_other_and_is_told() {
    let node = field().start().await;
    let (first, _second) = (mint(&node, 10).await, mint(&node, 20).await);
    let door = Door::new(node.shared().clone());
    let events = door.events(EventQuery::default()).await.unwrap().len();
    let audit = door.audit(None, None).await.unwrap().len();
    assert!(events > 1 && audit > 1, "{events} {audit}");
    let id = first.signed.record().proposal_id.to_string();
    let spoil = move |c: &rusqlite::Connection| {
        c.execute("UPDATE proposals SET record = '{' WHERE id = ?1", [&id])?;
        c.execute("UPDATE events SET time = 'x' WHERE seq = 1", [])?;
        c.execute("UPDATE audit SET hash = 'x' WHERE seq = 1", [])?;
        Ok(())
    };
    let store = &node.shared().store;
    store.write(Class::Durable, "t", spoil).await.unwrap();
    assert_eq!(door.proposals(true).await.unwrap().len(), 1);
    let page = ProposalQuery {
        all: true,
        ..ProposalQuery::default()
    };
    assert_eq!(door.proposals_page(page).await.unwrap().len(), 1);
    let listed = door.events(EventQuery::default()).await.unwrap();
    assert!(listed.len() >= events - 1 && listed.iter().all(|e| e.seq != 1));
    let listed = door.audit(None, None).await.unwrap();
    assert!(listed.len() >= audit - 1 && listed.iter().all(|e| e.seq != 1));
    // The check of the trail is no list.
    assert!(!door.audit_verify().await.is_ok_and(|report| report.ok));
    let alarm = until("it is told", || async {
        let mut alarms = node.shared().alarms.list().into_iter();
        alarms.find(|a| a.kind == AlarmKind::RowsUnreadable)
    })
    .await;
    for what in ["proposals 1", "events 1", "audit 1"] {
        assert!(alarm.message.contains(what), "{}", alarm.message);
    }
    node.stop().await;
}
