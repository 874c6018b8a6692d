//! Our node dials a gen-1 node: it must prove who it is, and what we missed is asked for.

use clawmesh::adapters::clock::{Clock as _, SystemClock};
use clawmesh::adapters::store::frames;
use clawmesh::domain::base::MeshId;
use clawmesh::domain::identity::DeviceKey;
use clawmesh::domain::wire::handshake::Introduction;
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_tungstenite::tungstenite::Message;

use crate::harness::*;

/// Accepts one connection and speaks gen-1 as `key`; answers `context.sync` with `frames` and returns
/// its parameters, or `None` if the dialer hung up before it asked.
async fn gen1(listener: TcpListener, key: DeviceKey, frames: Value) -> Option<Value> {
    let (tcp, _) = listener.accept().await.unwrap();
    let mut socket = tokio_tungstenite::accept_async(tcp).await.unwrap();
    loop {
        let Some(Ok(Message::Text(text))) = socket.next().await else {
            return None;
        };
        let request: Value = serde_json::from_str(&text).unwrap();
        let payload = match request["method"].as_str() {
            Some("mesh.challenge") => json!({"nonce": "server-nonce"}),
            Some("mesh.connect") => {
                let introduction = Introduction {
                    display_name: "gen1".into(),
                    capabilities: vec!["actuator:mock".into()],
                    mesh_id: MeshId::of_name(MESH),
                    role: "field".into(),
                };
                let nonce = request["params"]["clientNonce"].as_str().unwrap();
                let mut reply =
                    introduction.sign(&key, nonce, None, SystemClock::default().now(), None);
                reply.remove("features");
                Value::Object(reply)
            }
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
    let mut setup = centre().trusting(key(5), "observe:T2,relay,read");
    setup.raw.peers = vec![format!("{}=ws://127.0.0.1:{port}||local", device.id())];
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
