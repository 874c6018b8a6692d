//! Where a node trusts many, it keeps links with few: what one tells still reaches all, what is meant for one
//! device still reaches that one, and who goes is replaced.

use std::sync::Arc;

use clawmesh::domain::gate::approval::Verdict;
use clawmesh::domain::proposal::{SignedProposal, Status};
use clawmesh::node::peers::PeerState;
use clawmesh::node::planning::{self, Sent};
use clawmesh::operator::Door;
use clawmesh::operator::estop::{EstopRequest, StopKnown};
use tempfile::TempDir;

use crate::converge::place;
use crate::harness::*;
use crate::main_job::{decision, draft, operator};
use crate::tree::{read, readings};

const NODES: u8 = 16;
/// What each may do at the executor, which is the first.
const AT_EXECUTOR: &str = "observe:T2,relay,read,plan,human,estop";

/// Node `me`, which trusts all others as of its own kind and knows where those before it are.
async fn start(me: u8, before: &[TestNode], dir: Arc<TempDir>) -> TestNode {
    let mut setup = if me == 1 { field() } else { centre() };
    setup.raw.name = Some(format!("node-{me}"));
    setup.raw.ping_interval_ms = Some(1_500);
    setup.raw.sensor_interval_ms = Some(1_000);
    setup.kin = true;
    for other in (1..=NODES).filter(|n| *n != me) {
        let grants = match (me, other) {
            (1, _) => AT_EXECUTOR,
            (_, 1) => "observe:T2,relay,read,actuate",
            _ => "observe:T2,relay,read",
        };
        setup = setup.trusting(key(other), grants);
    }
    for peer in before {
        let address = format!("{}=ws://{}||local", peer.id(), peer.address);
        setup.raw.peers.push(address);
    }
    if me == 1 {
        setup = setup.with_operator(operator(), "L2");
    }
    setup.start_in(dir, Some(me)).await
}

fn links(node: &TestNode) -> usize {
    node.shared().links.all().len()
}

fn has_link(node: &TestNode, other: &TestNode) -> bool {
    node.shared().links.get(&other.id()).is_some()
}

/// Makes a reading at each node; it reaches every other.
async fn each_is_heard(nodes: &[TestNode], n: usize) {
    let mut before = Vec::new();
    for node in nodes {
        before.push(readings(node).await);
    }
    for node in nodes {
        read(node, n).await;
    }
    until("all readings are everywhere", || async {
        for (node, before) in nodes.iter().zip(&before) {
            if readings(node).await < before + nodes.len() {
                return None;
            }
        }
        Some(())
    })
    .await;
}

/// A node that has no link with the first.
async fn without_link(nodes: &[TestNode]) -> &TestNode {
    until("one has no link with the executor and knows it", || async {
        let mut others = nodes.iter().skip(1);
        others.find(|n| {
            let state = n
                .shared()
                .peers
                .get(&nodes[0].id())
                .map(|s| s.state.plain());
            let offers = n.shared().known_capabilities();
            state == Some(PeerState::OnDemand) && offers.contains_key(&nodes[0].id())
        })
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn among_sixteen_each_has_few_links_and_reaches_the_one_it_means() {
    let mut nodes: Vec<TestNode> = Vec::new();
    for n in 1..=NODES {
        let next = start(n, &nodes, place()).await;
        nodes.push(next);
    }
    each_is_heard(&nodes, 1).await;
    let all: usize = nodes.iter().map(links).sum();
    let size = usize::from(NODES);
    let few = size * (size - 1) * 3 / 4;
    assert!(all < few, "{all} ends of links");

    // A wish and a decision find the executor without a link, and the executor then keeps it.
    let (executor, asker) = (&nodes[0], without_link(&nodes).await);
    let wish = draft(asker.shared(), 1).await;
    let sent = planning::submit(&asker.shared().drafts, wish)
        .await
        .unwrap();
    let Sent::Proposed(id) = sent else {
        panic!("{sent:?}")
    };
    assert!(has_link(asker, executor));
    let door = Door::new(asker.shared().clone());
    let seen = door.proposal_record(id.as_str()).await.unwrap();
    let wire = serde_json::json!({"record": serde_json::from_str::<serde_json::Value>(&seen.record).unwrap(), "signature": seen.signature});
    let signed = SignedProposal::from_wire(&wire, &executor.shared().public_key).unwrap();
    let yes = decision(asker.shared(), &signed, &operator(), Verdict::Approve);
    let standing = door.decide(id.as_str(), yes).await.unwrap();
    assert!(matches!(
        standing.status,
        Status::Executing | Status::Completed
    ));

    // So does an emergency stop.
    let stopper = without_link(&nodes).await;
    let report = Door::new(stopper.shared().clone())
        .estop(&EstopRequest::default(), "ada")
        .await;
    let at = report
        .executors
        .iter()
        .find(|e| e.device_id == executor.id().as_str());
    assert_eq!(at.unwrap().known, StopKnown::Latched, "{report:?}");

    // Links that were only made to send something end when nothing more is sent.
    let reach = nodes.iter().flat_map(|a| {
        let others = nodes.iter().filter(move |b| a.id() != b.id());
        others.map(async |b| a.shared().reach.reach(&b.id()).await)
    });
    futures_util::future::join_all(reach).await;
    let all: usize = nodes.iter().map(links).sum();
    assert!(all > few, "{all} ends of links");
    until("most have ended again", || async {
        let all: usize = nodes.iter().map(links).sum();
        (all < few).then_some(())
    })
    .await;

    // Whoever goes, what the others make reaches all of them.
    let middle = nodes.len() / 2;
    let id = nodes[middle].id();
    let dir = nodes.remove(middle).stop().await;
    each_is_heard(&nodes, 2).await;
    nodes.remove(middle).stop().await;
    each_is_heard(&nodes, 3).await;

    // One that comes back is known to be there also by those that have no link with it and cannot dial it; the
    // executor, which needs one, says so.
    let back = start(NODES / 2 + 1, &nodes, dir).await;
    assert_eq!(back.id(), id);
    until("it is there for all", || async {
        let state = |n: &TestNode| n.shared().peers.get(&id).map(|s| s.state.plain());
        let well = [Some(PeerState::Connected), Some(PeerState::OnDemand)];
        let all = nodes[..middle].iter().all(|n| well.contains(&state(n)));
        all.then_some(())
    })
    .await;
    until("the executor has a link with it", || async {
        has_link(&nodes[0], &back).then_some(())
    })
    .await;
    nodes.push(back);
    each_is_heard(&nodes, 4).await;
    for node in nodes {
        node.stop().await;
    }
}
