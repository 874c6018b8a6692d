//! Trusted peers that misbehave: slowed or refused with a code, counted, and nobody else notices.

use clawmesh::domain::wire::handshake::Feature;
use futures_util::SinkExt as _;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use crate::harness::{MESH, PATIENCE, Probe, TestNode, centre, hello, key, until};

async fn node() -> TestNode {
    let mut setup = centre();
    for other in [2, 3, 4] {
        setup = setup.trusting(key(other), "observe:T2,relay,read,plan,actuate");
    }
    setup.start().await
}

/// A probe that speaks all our features.
pub async fn kin(node: &TestNode, me: u8) -> Probe {
    let mut probe = Probe::open(node.address).await;
    let all: Vec<Value> = Feature::OURS.iter().map(|f| json!(f)).collect();
    let reply = probe
        .handshake(&key(me), MESH, |params| {
            params.insert("features".into(), Value::Array(all));
        })
        .await;
    assert_eq!(reply["ok"], true, "{reply}");
    probe
}

pub fn refusals(node: &TestNode, code: &str) -> u64 {
    let text = node.metrics();
    let mark = format!("clawmesh_refusals_total{{code=\"{code}\"}} ");
    let line = text.lines().find_map(|l| l.strip_prefix(&mark));
    line.map_or(0, |n| n.parse().unwrap())
}

async fn counted(node: &TestNode, code: &str, at_least: u64) {
    until(&format!("{code} is counted"), || async {
        (refusals(node, code) >= at_least).then_some(())
    })
    .await;
}

/// Another peer is served at once, whatever the bad one does.
async fn others_are_served(node: &TestNode) {
    let mut good = Probe::connect(node.address, &key(4), MESH).await;
    let asked = tokio::time::timeout(PATIENCE, async {
        for _ in 0..50 {
            assert_eq!(good.ask("mesh.ping", json!({})).await["ok"], true);
        }
    });
    asked.await.expect("others wait for nobody");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_bomb_is_refused_as_a_whole_and_bad_frames_one_by_one() {
    let node = node().await;
    let mut liar = kin(&node, 2).await;
    let bomb: Vec<Value> = (0..10_000).map(|_| json!({})).collect();
    liar.event("context.frames", json!({"frames": bomb})).await;
    counted(&node, "INVALID_PARAMS", 1).await;
    liar.event("context.frames", json!({"frames": [{}, 1, null, "x"]}))
        .await;
    counted(&node, "INVALID_FRAME", 4).await;
    liar.event("context.frames", json!([])).await;
    counted(&node, "INVALID_PARAMS", 2).await;
    assert_eq!(liar.ask("mesh.ping", json!({})).await["ok"], true);
    others_are_served(&node).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reconciliation_that_never_ends_is_slowed() {
    let node = node().await;
    let mut liar = kin(&node, 2).await;
    for bad in [
        json!({}),
        json!({"since": 0, "message": "!!"}),
        json!({"since": 0, "message": ""}),
        json!({"since": -1, "message": "YQ"}),
        json!({"since": 0, "message": "A".repeat(700_001)}),
    ] {
        let reply = liar.ask("reconcile.round", bad).await;
        assert_eq!(reply["error"]["code"], "INVALID_PARAMS", "{reply}");
    }
    for bad in [
        json!({}),
        json!({"keys": "x"}),
        json!({"keys": ["x"]}),
        json!({"keys": vec!["A".repeat(43); 2_000]}),
    ] {
        let reply = liar.ask("reconcile.fetch", bad).await;
        assert_eq!(reply["error"]["code"], "INVALID_PARAMS", "{reply}");
    }
    let mut last = Value::Null;
    for _ in 0..700 {
        // "a" is the version alone: an empty question.
        last = liar
            .ask("reconcile.round", json!({"since": 0, "message": "YQ"}))
            .await;
    }
    assert_eq!(last["error"]["code"], "RATE_EXCEEDED", "{last}");
    others_are_served(&node).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn credit_nobody_paid_for_is_refused() {
    let node = node().await;
    let mut liar = kin(&node, 2).await;
    for bad in [
        json!({"kib": 1_000_000_000u64}),
        json!({"kib": -4}),
        json!({}),
    ] {
        liar.event("link.credit", bad).await;
    }
    counted(&node, "INVALID_PARAMS", 3).await;
    assert_eq!(liar.ask("mesh.ping", json!({})).await["ok"], true);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_never_reads_delays_itself_only() {
    let node = node().await;
    // It asks for frames and reads none of them; the node must not pile them up.
    let mut deaf = kin(&node, 2).await;
    crate::converge::write(&node, 20_000, "flood").await;
    let mut good = kin(&node, 3).await;
    crate::converge::write(&node, 1, "last").await;
    let seen = async {
        loop {
            let message = good.receive().await.expect("the link stays");
            if message.to_string().contains("\"last\"") {
                break;
            }
        }
    };
    tokio::time::timeout(PATIENCE, seen)
        .await
        .expect("others get their frames");
    let link = node.shared().links.get(key(2).id());
    let link = link.expect("a slow peer is kept");
    until("what it may get is used up", || async {
        link.credit.left_kib().filter(|left| *left < 256)
    })
    .await;
    deaf.send(json!({"type": "req", "id": "x", "method": "mesh.ping", "params": {}}).to_string())
        .await;
    // It is answered all the same, behind the frames that were on their way.
    assert_eq!(deaf.answer("x").await["ok"], true);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_known_id_with_another_key_and_an_id_that_is_no_hash_are_refused() {
    let node = node().await;
    let mut honest = Probe::connect(node.address, &key(2), MESH).await;
    // The id of device 2, the key of device 9.
    let mut impostor = Probe::open(node.address).await;
    let reply = impostor
        .handshake(&key(9), MESH, |params| {
            params.insert("deviceId".into(), key(2).id().as_str().into());
        })
        .await;
    assert_eq!(reply["error"]["code"], "PUBLIC_KEY_MISMATCH", "{reply}");
    let mut stranger = Probe::open(node.address).await;
    let reply = stranger
        .handshake(&key(9), MESH, |params| {
            params.insert("deviceId".into(), "ab".repeat(32).into());
        })
        .await;
    assert_eq!(reply["ok"], false, "{reply}");
    // A recorded hello is worth nothing on another connection.
    let mut replay = Probe::open(node.address).await;
    replay.ask("mesh.challenge", json!({})).await;
    let old = hello(&key(2), MESH, "some-other-nonce");
    let reply = replay.ask("mesh.connect", Value::Object(old)).await;
    assert_eq!(reply["error"]["code"], "AUTH_NONCE_INVALID", "{reply}");
    // None of it displaced the honest session.
    assert_eq!(honest.ask("mesh.ping", json!({})).await["ok"], true);
    // The device itself may come again: the newest session counts, the old one is told.
    let mut again = Probe::connect(node.address, &key(2), MESH).await;
    assert!(honest.receive().await.is_none());
    assert_eq!(again.ask("mesh.ping", json!({})).await["ok"], true);
}

#[tokio::test(flavor = "multi_thread")]
async fn fifteen_hundred_idle_sockets_and_a_foreign_page_keep_nobody_out() {
    let node = node().await;
    let mut crowd = Vec::new();
    for n in 0..1_500 {
        let tcp = tokio::net::TcpStream::connect(node.address).await.unwrap();
        if n % 3 == 0 {
            let url = format!("ws://{}/", node.address);
            // The oldest are closed meanwhile, so this may fail.
            if let Ok((mut socket, _)) = tokio_tungstenite::client_async(url, tcp).await {
                socket.send(Message::text("{")).await.ok();
                crowd.push(Some(socket));
            }
        } else {
            crowd.push(None);
            std::mem::forget(tcp.into_std().unwrap());
        }
    }
    others_are_served(&node).await;
    let tcp = tokio::net::TcpStream::connect(node.address).await.unwrap();
    let request = axum::http::Request::builder()
        .uri(format!("ws://{}/", node.address))
        .header("host", node.address.to_string())
        .header("origin", "https://evil.example")
        .header("connection", "Upgrade")
        .header("upgrade", "websocket")
        .header("sec-websocket-version", "13")
        .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")
        .body(())
        .unwrap();
    let refused = tokio_tungstenite::client_async(request, tcp).await;
    assert!(refused.err().unwrap().to_string().contains("403"));
    others_are_served(&node).await;
}
