//! Who gets in, who does not, and what an unauthenticated socket may do: nothing.

use clawmesh::domain::identity::DeviceKey;
use serde_json::{Value, json};

use crate::harness::*;

fn code(reply: &Value) -> &str {
    reply["error"]["code"].as_str().unwrap_or("ok")
}

#[tokio::test(flavor = "multi_thread")]
async fn every_gen1_refusal_has_its_code() {
    let node = field().trusting(key(5), "read").start().await;
    let mut probe = Probe::open(node.address).await;
    let refused = async |probe: &mut Probe,
                         key: &DeviceKey,
                         mesh: &str,
                         change: fn(&mut serde_json::Map<String, Value>)| {
        let reply = probe.handshake(key, mesh, change).await;
        code(&reply).to_owned()
    };
    assert_eq!(
        refused(&mut probe, &key(6), MESH, |_| {}).await,
        "UNTRUSTED_PEER"
    );
    assert_eq!(
        refused(&mut probe, &key(5), "other", |_| {}).await,
        "MESH_ID_MISMATCH"
    );
    type Change = fn(&mut serde_json::Map<String, Value>);
    let params: [(Change, &str); 8] = [
        (|m| drop(m.remove("clientNonce")), "INVALID_PARAMS"),
        (|m| drop(m.remove("deviceId")), "INVALID_PARAMS"),
        (|m| drop(m.remove("nonce")), "AUTH_NONCE_REQUIRED"),
        (
            |m| drop(m.insert("nonce".into(), "wrong".into())),
            "AUTH_NONCE_INVALID",
        ),
        (
            |m| drop(m.insert("role".into(), "planner".into())),
            "AUTH_FAILED",
        ),
        (
            |m| drop(m.insert("signedAtMs".into(), 1.into())),
            "AUTH_FAILED",
        ),
        (
            |m| drop(m.insert("publicKey".into(), key(9).public().to_text().into())),
            "PUBLIC_KEY_MISMATCH",
        ),
        (
            |m| drop(m.insert("capabilities".into(), 5.into())),
            "INVALID_PARAMS",
        ),
    ];
    for (change, expected) in params {
        assert_eq!(refused(&mut probe, &key(5), MESH, change).await, expected);
    }
    assert!(node.shared().links.all().is_empty());
    // The same socket may still come in properly.
    assert_eq!(refused(&mut probe, &key(5), MESH, |_| {}).await, "ok");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_known_id_with_another_key_never_comes_in_and_displaces_nobody() {
    // Trusted by id alone, as gen-1 does it: the key is learned, and only the one that fits the id.
    let mut setup = field();
    setup.trusted_ids = vec![(key(5).id().clone(), "read")];
    let node = setup.start().await;
    let id = key(5).id().clone();
    let record = clawmesh::domain::admission::TrustRecord::new(
        id.clone(),
        None,
        None,
        "read".parse().unwrap(),
        clawmesh::domain::base::TimeMs(1),
    );
    let store = &node.shared().store;
    let class = clawmesh::adapters::store::Class::Durable;
    store
        .write(class, "t", move |c| {
            clawmesh::adapters::store::trust::put(c, &record)
        })
        .await
        .unwrap();
    node.shared().trust.reload(store).await.unwrap();

    let mut genuine = Probe::connect(node.address, &key(5), MESH).await;
    assert_eq!(
        node.shared().trust.live(&id).unwrap().public_key,
        Some(*key(5).public()),
        "the key was learned"
    );
    let mut impostor = Probe::open(node.address).await;
    let challenge = impostor.ask("mesh.challenge", json!({})).await;
    let nonce = challenge["payload"]["nonce"].as_str().unwrap();
    let mut params = hello(&key(66), MESH, nonce);
    params.insert("deviceId".into(), id.as_str().into());
    let reply = impostor.ask("mesh.connect", Value::Object(params)).await;
    assert_eq!(code(&reply), "PUBLIC_KEY_MISMATCH");
    assert_eq!(
        genuine.ask("mesh.ping", json!({})).await["ok"],
        true,
        "the genuine peer is still there"
    );
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_nonce_counts_once() {
    let node = field().trusting(key(5), "read").start().await;
    let mut first = Probe::open(node.address).await;
    let challenge = first.ask("mesh.challenge", json!({})).await;
    let params = hello(
        &key(5),
        MESH,
        challenge["payload"]["nonce"].as_str().unwrap(),
    );
    assert_eq!(
        first
            .ask("mesh.connect", Value::Object(params.clone()))
            .await["ok"],
        true
    );
    let mut second = Probe::open(node.address).await;
    second.ask("mesh.challenge", json!({})).await;
    assert_eq!(
        code(&second.ask("mesh.connect", Value::Object(params)).await),
        "AUTH_NONCE_INVALID"
    );
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_can_do_nothing() {
    let node = field().trusting(key(5), COMMAND_CENTRE).start().await;
    let mut stranger = Probe::open(node.address).await;
    for method in [
        "mesh.peers",
        "mesh.status",
        "mesh.health",
        "mesh.world.query",
        "mesh.events",
        "mesh.trace",
        "context.sync",
        "mesh.message.forward",
        "llm.infer",
        "chat.subscribe",
        "chat.proposal.approve",
        "proposals.draft",
        "proposals.decide",
        "clawmesh.mock.actuator.state",
        "__proto__",
        "toString",
    ] {
        let reply = stranger.ask(method, json!({})).await;
        assert_eq!(code(&reply), "NOT_AUTHORIZED", "{method}");
    }
    assert_eq!(stranger.ask("mesh.ping", json!({})).await["ok"], true);
    // A frame from a stranger goes nowhere: the next answer comes, the frame does not.
    let frame = json!({
        "gen": 1, "kind": "human_input", "frameId": "evil", "sourceDeviceId": key(5).id(), "timestamp": 1,
        "data": {"intent": "open"}, "hops": 0,
        "trust": {"evidence_sources": ["human"], "evidence_trust_tier": "T3_verified_action_evidence"},
    });
    stranger.event("context.frame", frame).await;
    stranger.ask("mesh.ping", json!({})).await;
    let id = "evil".parse().unwrap();
    let found = node
        .shared()
        .store
        .read("t", move |c| {
            clawmesh::adapters::store::frames::by_frame_id(c, &id)
        })
        .await;
    assert!(found.unwrap().is_none());
    node.stop().await;
}

const COMMAND_CENTRE: &str = crate::main_job::COMMAND_CENTRE;

#[tokio::test(flavor = "multi_thread")]
async fn a_newer_session_of_the_same_device_wins() {
    let node = field().trusting(key(5), "read").start().await;
    let mut old = Probe::connect(node.address, &key(5), MESH).await;
    let mut new = Probe::connect(node.address, &key(5), MESH).await;
    while old.receive().await.is_some() {}
    assert_eq!(new.ask("mesh.ping", json!({})).await["ok"], true);
    assert_eq!(node.shared().links.all().len(), 1);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn six_hundred_idle_sockets_keep_no_trusted_peer_out() {
    let node = field().trusting(key(5), "read").start().await;
    let mut crowd = Vec::new();
    for n in 0..600 {
        let tcp = tokio::net::TcpStream::connect(node.address).await.unwrap();
        if n % 2 == 0 {
            crowd.push(Ok(tcp));
        } else if let Ok((socket, _)) =
            tokio_tungstenite::client_async(format!("ws://{}/", node.address), tcp).await
        {
            crowd.push(Err(socket));
        }
    }
    let mut peer = Probe::connect(node.address, &key(5), MESH).await;
    assert_eq!(peer.ask("mesh.ping", json!({})).await["ok"], true);
    drop(crowd);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_is_off_by_an_hour_is_told_so() {
    let mut setup = field().trusting(key(5), "read");
    setup.clock = std::sync::Arc::new(clawmesh::adapters::clock::SystemClock::with_offset(
        3_600_000,
    ));
    let node = setup.start().await;
    let mut probe = Probe::open(node.address).await;
    let reply = probe.handshake(&key(5), MESH, |_| {}).await;
    assert_eq!(code(&reply), "AUTH_FAILED");
    assert!(
        reply["error"]["message"]
            .as_str()
            .unwrap()
            .contains("clock"),
        "{reply}"
    );
    node.stop().await;
}

/// Passes everything that is said between a dialer and a node on, as somebody in between does, and
/// may alter what the dialer says. Stays when the dialer goes.
async fn relay(to: std::net::SocketAddr, alter: fn(&mut Value)) -> std::net::SocketAddr {
    use futures_util::{SinkExt as _, StreamExt as _};
    use tokio_tungstenite::tungstenite::Message;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            tokio::spawn(async move {
                let Ok(mut victim) = tokio_tungstenite::accept_async(tcp).await else {
                    return;
                };
                let far = tokio::net::TcpStream::connect(to).await.unwrap();
                let url = format!("ws://{to}/");
                let (mut node, _) = tokio_tungstenite::client_async(url, far).await.unwrap();
                loop {
                    tokio::select! {
                        said = victim.next() => match said {
                            Some(Ok(Message::Text(text))) => {
                                let mut value: Value = serde_json::from_str(&text).unwrap();
                                alter(&mut value);
                                if node.send(Message::text(value.to_string())).await.is_err() { return; }
                            }
                            Some(Ok(_)) => {}
                            // Its part is done; whoever is in between stays.
                            _ => while let Some(Ok(_)) = node.next().await {},
                        },
                        said = node.next() => match said {
                            Some(Ok(message @ Message::Text(_))) => {
                                if victim.send(message).await.is_err() { return; }
                            }
                            Some(Ok(_)) => {}
                            _ => return,
                        },
                    }
                }
            });
        }
    });
    address
}

/// A centre that dials a field node by way of somebody in between, who alters what it says. Both know
/// each other as their own kind if `kin`. Neither may end with a link.
async fn relayed(kin: bool, alter: fn(&mut Value)) {
    let mut first = field().trusting(key(2), COMMAND_CENTRE);
    first.kin = kin;
    let dir = || std::sync::Arc::new(tempfile::tempdir().unwrap());
    let first = first.start_in(dir(), Some(1)).await;
    let between = relay(first.address, alter).await;
    let mut second = centre().trusting(key(1), COMMAND_CENTRE);
    second.kin = kin;
    second.raw.peers = vec![format!("{}=ws://{between}||local", key(1).id())];
    let second = second.start_in(dir(), Some(2)).await;
    until("the attempt by way of the relay failed", || async {
        let standing = second.shared().peers.get(key(1).id())?;
        let over = matches!(
            standing.state.name(),
            "refused" | "waiting" | "unreachable" | "down"
        );
        (over && standing.why != "not tried yet").then_some(())
    })
    .await;
    assert!(first.shared().links.all().is_empty(), "the relay got in");
    assert!(
        second.shared().links.all().is_empty(),
        "the dialer took the relay for its peer"
    );
    second.stop().await;
    first.stop().await;
}

fn connect_params(message: &mut Value, change: fn(&mut serde_json::Map<String, Value>)) {
    if message["method"] == "mesh.connect" {
        change(message["params"].as_object_mut().unwrap());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn somebody_in_between_never_becomes_the_device_whose_words_it_passes_on() {
    // As they were said, at the first contact and later.
    relayed(false, |_| {}).await;
    relayed(true, |_| {}).await;
    // Without the proof, as if both were gen-1 nodes.
    relayed(true, |m| connect_params(m, |p| drop(p.remove("proof")))).await;
    relayed(true, |m| {
        connect_params(m, |p| {
            p.remove("proof");
            p.remove("features");
        });
    })
    .await;
    // Other features than were said.
    relayed(false, |m| {
        connect_params(m, |p| drop(p.insert("features".into(), json!(["sig"]))));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn features_that_nobody_vouches_for_change_nothing() {
    let node = field().trusting(key(5), "read").start().await;
    // A gen-1 device whose hello was given features on its way is served as what it is …
    for features in [json!(["sig", "batch", "proposals"]), json!([])] {
        let mut probe = Probe::open(node.address).await;
        let challenge = probe.ask("mesh.challenge", json!({})).await;
        let nonce = challenge["payload"]["nonce"].as_str().unwrap();
        let mut params = hello(&key(5), MESH, nonce);
        params.insert("features".into(), features);
        let reply = probe.ask("mesh.connect", Value::Object(params)).await;
        assert_eq!(code(&reply), "ok", "{reply}");
        let link = until("the link is up", || async {
            node.shared().links.get(key(5).id())
        })
        .await;
        assert!(link.info.features.is_empty());
    }
    // … and is no signer from then on.
    assert!(node.shared().known_signers().is_empty());
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_of_our_own_kind_does_not_come_in_as_gen1() {
    let mut setup = field().trusting(key(5), "read");
    setup.kin = true;
    let node = setup.start().await;
    let mut probe = Probe::open(node.address).await;
    let reply = probe.handshake(&key(5), MESH, |_| {}).await;
    assert_eq!(code(&reply), "AUTH_FAILED");
    let said = reply["error"]["message"].as_str().unwrap();
    assert!(said.contains("--as gen1"), "{said}");
    node.stop().await;
}
