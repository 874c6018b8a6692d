//! The mesh as one node sees it: also nodes and links it has no part in.

use serde_json::json;

use crate::harness::*;

/// A line of three: left and right have no link with each other.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_sees_nodes_and_links_beyond_its_own() {
    let dir = || std::sync::Arc::new(tempfile::tempdir().unwrap());
    let grants = "observe:T2,relay,read";
    let middle = centre().trusting(key(1), grants).trusting(key(3), grants);
    let middle = middle.start_in(dir(), Some(2)).await;
    let mut ends = Vec::new();
    for (own, other) in [(1, 3), (3, 1)] {
        let mut setup = centre()
            .trusting(key(2), grants)
            .trusting(key(other), grants);
        setup.raw.peers = vec![format!("{}=ws://{}||local", middle.id(), middle.address)];
        ends.push(setup.start_in(dir(), Some(own)).await);
    }
    let door = clawmesh::operator::Door::new(ends[0].shared().clone());
    let far = ends[1].id();
    let seen = until("the far link is known at the other end", || async {
        let view = json!(door.topology().await.unwrap());
        let links = view["links"].as_array().unwrap().clone();
        let found = links.iter().any(|l| {
            let pair = [l["a"].as_str().unwrap(), l["b"].as_str().unwrap()];
            pair.contains(&far.as_str()) && pair.contains(&middle.id().as_str())
        });
        let reported = view["nodes"]
            .as_array()
            .unwrap()
            .iter()
            .any(|n| n["deviceId"] == far.as_str() && n["signature"] == "verified");
        (found && reported).then_some(view)
    })
    .await;
    assert_eq!(seen["links"].as_array().unwrap().len(), 2, "{seen}");
    let of = |id: &str| {
        let nodes = seen["nodes"].as_array().unwrap();
        nodes.iter().find(|n| n["deviceId"] == id).cloned().unwrap()
    };
    let node = of(far.as_str());
    assert_eq!(
        (&node["connected"], &node["fresh"]),
        (&json!(false), &json!(true)),
        "{node}"
    );
    assert_eq!(of(middle.id().as_str())["connected"], true);
    assert_eq!(seen["nodes"][0]["own"], true);
    // An emergency stop is known at the far end at once, and so is its release.
    let latched = |wanted: bool| {
        let (door, far) = (door.clone(), far.clone());
        async move {
            until("the far end knows of the latch", || async {
                let view = json!(door.topology().await.unwrap());
                let nodes = view["nodes"].as_array().unwrap().clone();
                let node = nodes.iter().find(|n| n["deviceId"] == far.as_str());
                (node.unwrap()["estop"] == wanted).then_some(())
            })
            .await;
        }
    };
    let stop = clawmesh::node::proposals::estop::engage(
        ends[1].shared(),
        "ada",
        "steam",
        clawmesh::node::proposals::estop::Told::Always,
    );
    stop.await.unwrap();
    latched(true).await;
    let on = clawmesh::node::proposals::estop::release(ends[1].shared(), None, "ada", "mended");
    on.await.unwrap();
    latched(false).await;
    // A direct neighbour that has gone is not called fresh for what it said before.
    let neighbour = middle.id();
    middle.stop().await;
    until("the neighbour is known to be gone", || async {
        let view = json!(door.topology().await.unwrap());
        let nodes = view["nodes"].as_array().unwrap().clone();
        let gone = nodes.iter().find(|n| n["deviceId"] == neighbour.as_str());
        (gone.unwrap()["fresh"] == false).then_some(())
    })
    .await;
    for node in ends {
        node.stop().await;
    }
}
