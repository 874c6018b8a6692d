//! Our node dials a gen-1 node: it must prove who it is, and what we missed is asked for.

use clawmesh::adapters::clock::{Clock as _, SystemClock};
use clawmesh::adapters::store::{Class, frames};
use clawmesh::adapters::transport::PeerUrl;
use clawmesh::domain::base::{EvidenceSource, FrameId, MeshId, SignatureState, Tier};
use clawmesh::domain::identity::DeviceKey;
use clawmesh::domain::wire::FrameKind;
use clawmesh::domain::wire::frame::FrameSpec;
use clawmesh::domain::wire::handshake::Introduction;
use clawmesh::node::frame_log;
use clawmesh::node::links::target::{Source, Target};
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

use crate::harness::*;

/// Accepts one connection and says hello as the gen-1 node `key`.
async fn welcome(listener: &TcpListener, key: &DeviceKey) -> WebSocketStream<TcpStream> {
    welcome_with(listener, key, &["actuator:mock"]).await
}

/// As [`welcome`], with what it offers.
pub async fn welcome_with(
    listener: &TcpListener,
    key: &DeviceKey,
    offers: &[&str],
) -> WebSocketStream<TcpStream> {
    let (tcp, _) = listener.accept().await.unwrap();
    let mut socket = tokio_tungstenite::accept_async(tcp).await.unwrap();
    loop {
        let request = receive(&mut socket).await.unwrap();
        let payload = match request["method"].as_str() {
            Some("mesh.challenge") => json!({"nonce": "server-nonce"}),
            Some("mesh.connect") => hello_back(key, &request, offers),
            Some("context.sync") => {
                json!({"frames": [], "peerTimestamp": 1, "totalAvailable": 0})
            }
            _ => continue,
        };
        let answer = json!({"type": "res", "id": request["id"], "ok": true, "payload": payload});
        socket
            .send(Message::text(answer.to_string()))
            .await
            .unwrap();
        if request["method"] == "context.sync" {
            return socket;
        }
    }
}

fn hello_back(key: &DeviceKey, request: &Value, offers: &[&str]) -> Value {
    let introduction = Introduction {
        display_name: "gen1".into(),
        capabilities: offers.iter().map(|c| (*c).to_owned()).collect(),
        mesh_id: MeshId::of_name(MESH),
        role: "field".into(),
    };
    let nonce = request["params"]["clientNonce"].as_str().unwrap();
    let mut reply = introduction.sign(key, nonce, None, SystemClock::default().now(), None);
    reply.remove("features");
    Value::Object(reply)
}

/// The next message; `None` at the end of the connection.
pub async fn receive(socket: &mut WebSocketStream<TcpStream>) -> Option<Value> {
    loop {
        match socket.next().await? {
            Ok(Message::Text(text)) => return Some(serde_json::from_str(&text).unwrap()),
            Ok(Message::Close(_)) | Err(_) => return None,
            Ok(_) => {}
        }
    }
}

/// Accepts one connection and speaks gen-1 as `key`; answers `context.sync` with `frames` and returns
/// its parameters, or `None` if the dialer hung up before it asked.
async fn gen1(listener: TcpListener, key: DeviceKey, frames: Value) -> Option<Value> {
    let (tcp, _) = listener.accept().await.unwrap();
    let mut socket = tokio_tungstenite::accept_async(tcp).await.unwrap();
    loop {
        let request = receive(&mut socket).await?;
        let payload = match request["method"].as_str() {
            Some("mesh.challenge") => json!({"nonce": "server-nonce"}),
            Some("mesh.connect") => hello_back(&key, &request, &["actuator:mock"]),
            Some("context.sync") => {
                json!({"frames": frames, "peerTimestamp": 1, "totalAvailable": 1})
            }
            _ => continue,
        };
        let answer = json!({"type": "res", "id": request["id"], "ok": true, "payload": payload});
        if socket
            .send(Message::text(answer.to_string()))
            .await
            .is_err()
        {
            return None;
        }
        if request["method"] == "context.sync" {
            // Stay until the dialer goes, as a node would.
            let params = request["params"].clone();
            while let Some(Ok(_)) = socket.next().await {}
            return Some(params);
        }
    }
}

async fn dialing(device: &DeviceKey, port: u16) -> TestNode {
    dialing_with(device, port, None).await
}

async fn dialing_with(device: &DeviceKey, port: u16, ping_ms: Option<u64>) -> TestNode {
    let mut setup = centre().trusting(key(5), "observe:T2,relay,read");
    setup.raw.peers = vec![format!("{}=ws://127.0.0.1:{port}||local", device.id())];
    setup.raw.ping_interval_ms = ping_ms;
    setup.start().await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_we_missed_of_a_gen1_node_is_asked_for() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let missed = json!([
        {
            "gen": 1, "kind": "observation", "frameId": "missed", "sourceDeviceId": key(5).id(),
            "timestamp": SystemClock::default().now(), "data": {"metric": "moisture", "value": 12.5, "zone": "z"},
            "trust": {"evidence_sources": ["sensor"], "evidence_trust_tier": "T2_operational_observation"},
        },
        {"kind": "broken"},
    ]);
    let gen1 = tokio::spawn(gen1(listener, key(5), missed));
    let node = dialing(&key(5), port).await;
    let id = "missed".parse().unwrap();
    until("the missed frame is stored", || async {
        let id = clawmesh::domain::base::FrameId::clone(&id);
        node.shared()
            .store
            .read("t", move |c| frames::by_frame_id(c, &id))
            .await
            .unwrap()
    })
    .await;
    node.stop().await;
    let params = gen1.await.unwrap().unwrap();
    assert!(
        params["since"].as_u64().unwrap() > 0 && params["limit"].as_u64().unwrap() <= 500,
        "{params}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listener_that_is_somebody_else_gets_no_link() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    // It has a valid key, only not the one of the device we meant to reach.
    let impostor = tokio::spawn(gen1(listener, key(66), json!([])));
    let node = dialing(&key(5), port).await;
    assert_eq!(impostor.await.unwrap(), None, "the dialer hangs up");
    assert!(node.shared().links.all().is_empty());
    node.stop().await;
}

/// Says something as the node itself.
async fn publish(node: &TestNode, kind: FrameKind, data: Value) {
    let spec = FrameSpec {
        kind,
        data: data.as_object().cloned().unwrap(),
        sources: vec![EvidenceSource::Sensor],
        tier: Tier::T2,
        taint: Default::default(),
        note: None,
    };
    frame_log::publish(node.shared(), vec![spec], Class::Durable)
        .await
        .unwrap();
}

/// The data of the next frame that is none of the node's presence.
async fn frame(socket: &mut WebSocketStream<TcpStream>) -> Value {
    loop {
        let message = receive(socket).await.expect("the link stands");
        if message["event"] == "context.frame" && message["payload"]["kind"] != "capability_update"
        {
            return message["payload"]["data"].clone();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gen1_node_that_was_away_gets_outcomes_first_and_then_the_newest_of_each_reading() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let node = dialing(&key(5), port).await;
    // The first contact; nothing has been said yet, and where it was is remembered.
    let first = welcome(&listener, &key(5)).await;
    let id = key(5).id().clone();
    let cursor = format!("gossip.cursor.{id}");
    until("the first contact is remembered", || async {
        let cursor = cursor.clone();
        let kept = node
            .shared()
            .store
            .read("t", move |c| clawmesh::adapters::store::kv::get(c, &cursor));
        kept.await.unwrap()
    })
    .await;
    drop(first);
    until("the link is gone", || async {
        node.shared().links.get(&id).is_none().then_some(())
    })
    .await;
    for value in 0..300 {
        let zone = ["north", "south"][value % 2];
        let data = json!({"metric": "moisture", "zone": zone, "value": value, "unit": "%"});
        publish(&node, FrameKind::Observation, data).await;
    }
    publish(
        &node,
        FrameKind::Event,
        json!({"type": "proposal.outcome", "n": 1}),
    )
    .await;
    let mut again = welcome(&listener, &key(5)).await;
    assert_eq!(frame(&mut again).await["n"], 1);
    let mut values = [frame(&mut again).await, frame(&mut again).await].map(|d| d["value"].clone());
    values.sort_by_key(|v| v.as_u64());
    assert_eq!(values, [json!(298), json!(299)], "only the newest of each");
    publish(&node, FrameKind::Event, json!({"n": 2})).await;
    assert_eq!(frame(&mut again).await["n"], 2, "and then what is new");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gen1_listener_that_answers_nothing_any_more_is_noticed() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let node = dialing_with(&key(5), port, Some(6_000)).await;
    // It stays connected and reads no more, as behind a way that broke without a word.
    let dead = welcome(&listener, &key(5)).await;
    let five = key(5);
    let again = tokio::time::timeout(PATIENCE, welcome(&listener, &five));
    let mut alive = again.await.expect("it is dialed again");
    drop(dead);
    // One that reads answers the pings by itself, and stays.
    let id = key(5).id().clone();
    let measured = async {
        until("a ping was answered", || async {
            let link = node.shared().links.get(&id)?;
            link.vitals.reading().rtt_ms
        })
        .await
    };
    let reading = async { while receive(&mut alive).await.is_some() {} };
    tokio::select! {
        _ = measured => {}
        () = reading => panic!("the link has ended"),
    }
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_gen1_dialer_holds_is_fetched_on_a_second_socket_and_proves_nothing() {
    let node = centre()
        .trusting(key(5), "observe:T2,relay,read,plan")
        .start()
        .await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let target = Target {
        url: format!("ws://127.0.0.1:{port}").parse::<PeerUrl>().unwrap(),
        pin: None,
        label: "local".into(),
        source: Source::Seen,
    };
    // The node dials it too; that socket is turned away without a word.
    assert!(
        node.shared()
            .peers
            .add(key(5).id(), target, node.shared().now())
    );
    drop(listener.accept().await.unwrap());
    let mut probe = Probe::connect(node.address, &key(5), MESH).await;
    let held = json!({"gen": 1, "kind": "observation", "frameId": "held", "sourceDeviceId": key(5).id(),
        "timestamp": SystemClock::default().now(), "hops": 0,
        "data": {"metric": "moisture", "value": 3.5, "zone": "z"},
        "trust": {"evidence_sources": ["sensor"], "evidence_trust_tier": "T2_operational_observation"}});
    let asked = loop {
        let (tcp, _) = listener.accept().await.unwrap();
        let Ok(mut socket) = tokio_tungstenite::accept_async(tcp).await else {
            continue;
        };
        let Some(request) = receive(&mut socket).await else {
            continue;
        };
        if request["method"] != "context.sync" {
            continue;
        }
        let payload = json!({"frames": [held, {"kind": "broken"}], "peerTimestamp": 1});
        let answer = json!({"type": "res", "id": request["id"], "ok": true, "payload": payload});
        socket
            .send(Message::text(answer.to_string()))
            .await
            .unwrap();
        break request;
    };
    assert!(asked["params"]["since"].as_u64().unwrap() > 0);
    let stored = until("what it held is stored", || async {
        let id: FrameId = "held".parse().unwrap();
        let found = node
            .shared()
            .store
            .read("t", move |c| frames::by_frame_id(c, &id));
        found.await.unwrap()
    })
    .await;
    assert_eq!(
        (stored.effective_tier, stored.signature, stored.claimed_tier),
        (Tier::T0, SignatureState::Unverifiable, Tier::T2),
        "whoever answered there has proven nothing"
    );
    // The link itself still stands, and what comes over it counts as before.
    let mut first_hand = held;
    first_hand["frameId"] = "live".into();
    probe.event("context.frame", first_hand).await;
    let live = until("what it says on its link is stored", || async {
        let id: FrameId = "live".parse().unwrap();
        let found = node
            .shared()
            .store
            .read("t", move |c| frames::by_frame_id(c, &id));
        found.await.unwrap()
    })
    .await;
    assert_eq!(live.effective_tier, Tier::T2);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listener_that_talks_and_does_not_answer_is_left() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let talker = tokio::spawn(async move {
        let (tcp, _) = listener.accept().await.unwrap();
        let mut socket = tokio_tungstenite::accept_async(tcp).await.unwrap();
        socket.next().await.unwrap().unwrap();
        let words =
            json!({"type": "event", "event": "x", "payload": "y".repeat(1_000)}).to_string();
        while socket.send(Message::text(words.clone())).await.is_ok() {}
    });
    let node = dialing(&key(5), port).await;
    talker.await.unwrap();
    let said = until("the dialer says why", || async {
        let peer = node.shared().peers.get(key(5).id())?;
        peer.why
            .contains("no answer to mesh.challenge")
            .then_some(peer.why)
    })
    .await;
    assert!(said.contains("32 messages"), "{said}");
    node.stop().await;
}
