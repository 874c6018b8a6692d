//! Where a node stands with its peers, and why.

use clawmesh::node::peers::{Standing, State};
use serde_json::json;

use crate::harness::{Probe, Setup, TestNode, centre, key, until};

fn kin(me: u8, others: &[u8]) -> Setup {
    let mut setup = centre();
    setup.raw.name = Some(format!("node-{me}"));
    for other in others {
        setup = setup.trusting(key(*other), "observe:T2,relay,read,plan,actuate");
    }
    setup
}

fn place() -> std::sync::Arc<tempfile::TempDir> {
    std::sync::Arc::new(tempfile::tempdir().unwrap())
}

async fn stands(node: &TestNode, with: u8, wanted: impl Fn(&Standing) -> bool) -> Standing {
    let device = key(with).id().clone();
    until("the peer is in the expected state", || async {
        let standing = node.shared().peers.get(&device);
        standing.filter(|s| wanted(s))
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_says_goodbye_has_left_and_is_found_again() {
    let field = kin(2, &[1]).start_in(place(), Some(2)).await;
    let (address, dir) = (field.address, field.dir.clone());
    let mut setup = kin(1, &[2]);
    setup.raw.peers = vec![format!("{}=ws://{address}||local", key(2).id())];
    let centre = setup.start_in(place(), Some(1)).await;
    stands(&centre, 2, |s| s.state == State::Connected).await;
    field.stop().await;
    let left = stands(&centre, 2, |s| s.state == State::Left).await;
    assert!(left.why.contains("goodbye"), "{}", left.why);
    assert_eq!(
        left.name.as_deref(),
        Some("node-2"),
        "its name outlives the link"
    );
    let mut again = kin(2, &[1]);
    again.raw.port = Some(address.port());
    let field = again.start_in(dir, Some(2)).await;
    stands(&centre, 2, |s| s.state == State::Connected).await;
    // From the other side the peer has no address, and is a peer all the same.
    let seen = stands(&field, 1, |s| s.state == State::Connected).await;
    assert!(seen.targets.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn others_tell_a_broken_way_from_a_dead_peer() {
    let c = kin(3, &[1, 2]).start_in(place(), Some(3)).await;
    let mut setup = kin(2, &[1, 3]);
    setup.raw.peers = vec![format!("{}=ws://{}||local", key(3).id(), c.address)];
    let b = setup.start_in(place(), Some(2)).await;
    stands(&b, 3, |s| s.state == State::Connected).await;
    // A reaches B, but has a port for C where nothing listens.
    let dead = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = dead.local_addr().unwrap().port();
    drop(dead);
    let mut setup = kin(1, &[2, 3]);
    setup.raw.peers = vec![
        format!("{}=ws://{}||local", key(2).id(), b.address),
        format!("{}=ws://127.0.0.1:{port}||local", key(3).id()),
    ];
    let a = setup.start_in(place(), Some(1)).await;
    let standing = stands(&a, 3, |s| {
        matches!(s.state, State::Unreachable { .. }) && s.why.contains("connected to it")
    })
    .await;
    assert!(standing.why.contains("node-2"), "{}", standing.why);
    c.stop().await;
    let standing = stands(&a, 3, |s| matches!(s.state, State::Down { .. })).await;
    assert!(
        standing.why.contains("does not see it either"),
        "{}",
        standing.why
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_will_not_have_us_is_shown_as_such() {
    let stranger = kin(2, &[]).start_in(place(), Some(2)).await;
    let mut setup = kin(1, &[2]);
    setup.raw.peers = vec![format!("{}=ws://{}||local", key(2).id(), stranger.address)];
    let node = setup.start_in(place(), Some(1)).await;
    let refused = stands(&node, 2, |s| s.state == State::Refused).await;
    assert!(refused.why.contains("UNTRUSTED_PEER"), "{}", refused.why);
    // Another mesh is refused on both sides, by name.
    let mut setup = kin(3, &[1]);
    setup.raw.mesh_name = Some("elsewhere".into());
    let other = setup.start_in(place(), Some(3)).await;
    let mut setup = kin(1, &[3]);
    setup.raw.peers = vec![format!("{}=ws://{}||local", key(3).id(), other.address)];
    node.stop().await;
    let node = setup.start_in(place(), Some(1)).await;
    let refused = stands(&node, 3, |s| s.state == State::Refused).await;
    assert!(refused.why.contains("mesh"), "{}", refused.why);
    until("the other side counted it too", || async {
        (other.shared().metrics.refusals_total() > 0).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_nobody_asked_for_and_unread_answers_do_no_harm() {
    let node = kin(1, &[2, 3]).start_in(place(), Some(1)).await;
    let mut liar = Probe::connect(node.address, &key(2), crate::harness::MESH).await;
    for n in 0..100 {
        liar.send(
            json!({"type": "res", "id": n.to_string(), "ok": true, "payload": {}}).to_string(),
        )
        .await;
    }
    until("they are counted", || async {
        (node.shared().metrics.answers_unasked.get() == 100).then_some(())
    })
    .await;
    // It asks without end and reads nothing: it loses its link, others go on at once.
    let ask = json!({"type": "req", "id": "x", "method": "mesh.status", "params": {}}).to_string();
    use futures_util::SinkExt as _;
    let flood = async {
        while liar
            .socket
            .send(tokio_tungstenite::tungstenite::Message::text(ask.clone()))
            .await
            .is_ok()
        {}
    };
    let others = async {
        let mut good = Probe::connect(node.address, &key(3), crate::harness::MESH).await;
        for _ in 0..20 {
            assert_eq!(good.ask("mesh.ping", json!({})).await["ok"], true);
        }
        until("the liar has lost its link", || async {
            node.shared().links.get(key(2).id()).is_none().then_some(())
        })
        .await;
        assert_eq!(good.ask("mesh.ping", json!({})).await["ok"], true);
    };
    tokio::select! {
        () = others => {}
        () = async { flood.await; std::future::pending::<()>().await } => {}
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wss_link_is_bound_to_both_devices_and_a_wrong_pin_never_connects() {
    let field = kin(2, &[1]).start_in(place(), Some(2)).await;
    let mut setup = kin(1, &[2]);
    setup.raw.peers = vec![format!("{}=wss://{}||vpn", key(2).id(), field.address)];
    let centre = setup.start_in(place(), Some(1)).await;
    stands(&centre, 2, |s| s.state == State::Connected).await;
    for (node, peer) in [(&centre, 2), (&field, 1)] {
        let link = until("the link is up", || async {
            node.shared().links.get(key(peer).id())
        })
        .await;
        assert_eq!(link.info.posture.to_string(), "identity-bound");
    }
    centre.stop().await;
    let pin = "00".repeat(32);
    let mut setup = kin(1, &[2]);
    setup.raw.peers = vec![format!("{}=wss://{}|{pin}|vpn", key(2).id(), field.address)];
    let centre = setup.start_in(place(), Some(1)).await;
    let refused = stands(&centre, 2, |s| s.state == State::Refused).await;
    assert!(refused.why.contains("is pinned"), "{}", refused.why);
    centre.stop().await;
    // The right address, but not the device that was meant.
    let mut setup = kin(1, &[3]);
    setup.raw.peers = vec![format!("{}=wss://{}||vpn", key(3).id(), field.address)];
    let centre = setup.start_in(place(), Some(1)).await;
    let refused = stands(&centre, 3, |s| s.state == State::Refused).await;
    assert!(refused.why.contains("was expected"), "{}", refused.why);
}

/// A link-local address of this machine with the name of its interface, if it has one.
fn link_local() -> Option<String> {
    let all = std::fs::read_to_string("/proc/net/if_inet6").ok()?;
    let mut words = all
        .lines()
        .map(|l| l.split_whitespace().collect::<Vec<_>>());
    // The fourth column is the scope, 20 for one link; the fifth says what may not be used yet.
    let found = words.find(|w| w.len() == 6 && w[3] == "20" && w[4] == "80")?;
    let groups: Vec<&str> = (0..8).map(|n| &found[0][n * 4..n * 4 + 4]).collect();
    Some(format!("{}%{}", groups.join(":"), found[5]))
}

#[test]
fn two_nodes_meet_on_a_network_that_has_link_local_addresses_only() {
    use crate::process::{Place, eventually, skipped};

    let Some(address) = link_local() else {
        return skipped(
            "nodes on a link-local network",
            "this machine has no such address",
        );
    };
    let (field, center) = (Place::new(), Place::new());
    let (f, c) = (field.device(), center.device());
    for (place, other, preset) in [(&field, &c, "command-center"), (&center, &f, "field")] {
        assert_eq!(place.run(&["trust", "add", other, "--as", preset]).code, 0);
    }
    let listening = field.start(&["--mesh-name", "m", "--host", &address]);
    // Ids and labels are taken in capitals too.
    let peer = format!(
        "{}=ws://[{address}]:{}||LOCAL",
        f.to_uppercase(),
        listening.port()
    );
    let _dialing = center.start(&["--mesh-name", "m", "--peer", &peer]);
    eventually("the link", || {
        let peers = center.json(&["peers"]);
        let all = peers.as_array()?;
        all.iter().any(|p| p["state"] == "connected").then_some(())
    });
}
