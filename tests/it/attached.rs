//! Surfaces inside the process: what one that runs, panics or never returns costs the node.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use clawmesh::node::context::alarms::AlarmKind;
use clawmesh::operator::queries::EventQuery;
use tokio::sync::mpsc;

use crate::harness::{field, until};

#[tokio::test]
async fn a_surface_is_given_the_door_and_dropped_at_the_stop() {
    let node = field().start().await;
    let (told, mut heard) = mpsc::channel(1);
    node.node().attach("pretend chat", move |door| {
        let told = told.clone();
        async move {
            let status = door.status().await.unwrap();
            told.send(status.device_id).await.unwrap();
            std::future::pending::<()>().await;
        }
    });
    assert_eq!(heard.recv().await.unwrap(), node.id().to_string());
    node.stop().await;
    assert!(
        heard.recv().await.is_none(),
        "the surface is still there after the stop"
    );
}

#[tokio::test]
async fn a_surface_that_panics_is_started_again_and_told_of() {
    let node = field().start().await;
    let runs = Arc::new(AtomicUsize::new(0));
    let (told, mut heard) = mpsc::channel(4);
    let counted = runs.clone();
    node.node().attach("pretend chat", move |door| {
        let (told, run) = (told.clone(), counted.fetch_add(1, Ordering::SeqCst));
        async move {
            assert!(run > 0, "a fault of the surface");
            let alarms = door.status().await.unwrap().alarms;
            told.send(alarms).await.unwrap();
        }
    });
    let alarms = heard.recv().await.unwrap();
    let said = alarms
        .iter()
        .find(|a| a.kind == AlarmKind::SurfaceFailing.as_str())
        .unwrap();
    assert_eq!(said.subject, "pretend chat");
    until("the alarm ends with the surface", || async {
        node.shared().alarms.list().is_empty().then_some(())
    })
    .await;
    assert_eq!(runs.load(Ordering::SeqCst), 2);
    let events = node
        .node()
        .door()
        .events(EventQuery::default())
        .await
        .unwrap();
    let of_surface = events.iter().filter(|e| e.kind == "surface.failed");
    assert_eq!(of_surface.count(), 1, "{events:?}");
    node.stop().await;
}
