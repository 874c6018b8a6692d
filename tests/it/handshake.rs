//! Who gets in, who does not, and what an unauthenticated socket may do: nothing.

use clawmesh::domain::identity::DeviceKey;
use clawmesh::node::peers::PeerState;
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
            standing.state.plain(),
            PeerState::Refused | PeerState::Waiting | PeerState::Unreachable | PeerState::Down
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

/// What a device says whose clock is `ahead_ms` ahead.
fn ahead(key: &DeviceKey, nonce: &str, ahead_ms: u64) -> serde_json::Map<String, Value> {
    use clawmesh::adapters::clock::{Clock as _, SystemClock};
    let introduction = clawmesh::domain::wire::handshake::Introduction {
        display_name: "ahead".into(),
        capabilities: Vec::new(),
        mesh_id: clawmesh::domain::base::MeshId::of_name(MESH),
        role: "viewer".into(),
    };
    let now = SystemClock::default().now().plus(ahead_ms);
    let mut params = introduction.sign(key, nonce, Some("probe-nonce"), now, None);
    params.remove("features");
    params
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_refused_for_its_clock_is_an_alarm_and_a_made_up_time_is_none() {
    use clawmesh::node::context::alarms::AlarmKind;
    let node = field().trusting(key(5), "read").start().await;
    let alarms = || node.shared().alarms.count(AlarmKind::PeerClock);
    let say = async |params: fn(&str) -> serde_json::Map<String, Value>| {
        let mut probe = Probe::open(node.address).await;
        let challenge = probe.ask("mesh.challenge", json!({})).await;
        let nonce = challenge["payload"]["nonce"].as_str().unwrap();
        let reply = probe
            .ask("mesh.connect", Value::Object(params(nonce)))
            .await;
        code(&reply).to_owned()
    };
    // Somebody who does not hold the key says a time in its name, and so does a stranger.
    let forged = |nonce: &str| {
        let mut params = hello(&key(5), MESH, nonce);
        params.insert("signedAtMs".into(), 1.into());
        params
    };
    assert_eq!(say(forged).await, "AUTH_FAILED");
    assert_eq!(
        say(|n| ahead(&key(6), n, 3_600_000)).await,
        "UNTRUSTED_PEER"
    );
    assert_eq!(alarms(), 0);
    assert_eq!(say(|n| ahead(&key(5), n, 3_600_000)).await, "AUTH_FAILED");
    let alarm = node.shared().alarms.list().remove(0);
    assert_eq!(alarm.kind, AlarmKind::PeerClock);
    assert_eq!(alarm.subject, key(5).id().as_str());
    assert!(alarm.message.contains("ahead of ours"), "{}", alarm.message);
    // It ends as soon as the clocks agree.
    assert_eq!(say(|n| ahead(&key(5), n, 0)).await, "ok");
    assert_eq!(alarms(), 0);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_announced_by_somebody_else_costs_one_attempt() {
    use clawmesh::node::links::target::{Source, Target};
    let start = async |seed: u8, trusts: u8| {
        let mut setup = field().trusting(key(trusts), COMMAND_CENTRE);
        setup.kin = true;
        let dir = std::sync::Arc::new(tempfile::tempdir().unwrap());
        setup.start_in(dir, Some(seed)).await
    };
    let (honest, impostor) = (start(1, 2).await, start(7, 2).await);
    let dialer = start(2, 1).await;
    let add = |address: std::net::SocketAddr| {
        let target = Target {
            url: format!("ws://{address}").parse().unwrap(),
            pin: None,
            label: "mdns".into(),
            source: Source::Seen,
        };
        let shared = dialer.shared();
        assert!(shared.peers.add(key(1).id(), target, shared.now()));
    };
    add(impostor.address);
    until("the impostor's address was refused", || async {
        let standing = dialer.shared().peers.get(key(1).id())?;
        (standing.state.plain() == PeerState::Refused).then_some(())
    })
    .await;
    assert!(dialer.shared().links.all().is_empty());
    add(honest.address);
    until("the honest address was tried", || async {
        dialer.shared().links.get(key(1).id())
    })
    .await;
    // More addresses than are kept push out each other, and not the one that has proven itself.
    for port in 1..=20 {
        add(std::net::SocketAddr::from(([127, 0, 0, 9], port)));
    }
    let kept = dialer.shared().peers.get(key(1).id()).unwrap().targets;
    let honest_url = format!("ws://{}", honest.address).parse().unwrap();
    assert!(kept.iter().any(|t| t.url == honest_url), "{kept:?}");
    dialer.stop().await;
    honest.stop().await;
    impostor.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proof_made_for_another_device_connection_or_direction_opens_nothing() {
    use clawmesh::adapters::transport::Channel;
    use clawmesh::domain::wire::handshake::{End, ProofFor, prove};
    let mut setup = field().trusting(key(5), "read");
    setup.kin = true;
    let node = setup.start().await;
    let (own, key_of_another) = (node.id(), key(6));
    for case in [
        "good",
        "verifier",
        "direction",
        "connection",
        "altered",
        "replayed",
    ] {
        let mut probe = Probe::open(node.address).await;
        let challenge = probe.ask("mesh.challenge", json!({})).await;
        let nonce = challenge["payload"]["nonce"].as_str().unwrap();
        let mut params = hello(&key(5), MESH, nonce);
        params.insert("features".into(), json!(["sig"]));
        let (from, to) = probe.ends();
        let channel = match case {
            "connection" => Channel::tcp(to, from),
            _ => Channel::tcp(from, to),
        };
        let made = ProofFor {
            verifier: if case == "verifier" {
                key_of_another.id()
            } else {
                &own
            },
            signer: if case == "direction" {
                End::Acceptor
            } else {
                End::Dialer
            },
            channel: channel.as_str(),
            heard: None,
        };
        let key = key(5);
        prove(&mut params, &key, made);
        if case == "altered" {
            params.insert("features".into(), json!(["sig", "approvals"]));
        }
        if case == "replayed" {
            // Said on one connection, heard by somebody, and said again on another.
            let mut other = Probe::open(node.address).await;
            other.ask("mesh.challenge", json!({})).await;
            let reply = other.ask("mesh.connect", Value::Object(params)).await;
            assert_eq!(code(&reply), "AUTH_NONCE_INVALID");
            continue;
        }
        let reply = probe.ask("mesh.connect", Value::Object(params)).await;
        let wanted = if case == "good" { "ok" } else { "AUTH_FAILED" };
        assert_eq!(code(&reply), wanted, "{case}: {reply}");
    }
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn somebody_in_between_who_ends_the_tls_himself_gets_nowhere() {
    use clawmesh::adapters::transport::{BrowserCertificate, Received, Security, Tls, dial};
    for kin in [false, true] {
        let mut first = field().trusting(key(2), COMMAND_CENTRE);
        first.kin = kin;
        let dir = std::sync::Arc::new(tempfile::tempdir().unwrap());
        let first = first.start_in(dir, Some(1)).await;
        // He dials as himself: TLS proves his own key and no other.
        let tls = Tls::new(&key(9), &BrowserCertificate::generate().unwrap()).unwrap();
        let security = Security::Tls {
            tls,
            pin: None,
            expect: None,
        };
        let url = format!("wss://{}", first.address).parse().unwrap();
        let stop = tokio_util::sync::CancellationToken::new();
        let socket = dial(&url, &security, PATIENCE, &stop).await.unwrap();
        let (mut reader, mut writer) = socket.split();
        let mut ask = async |method: &str, params: Value| {
            let text = json!({"type": "req", "id": "1", "method": method, "params": params});
            writer.feed(text.to_string()).await.unwrap();
            writer.flush().await.unwrap();
            let Ok(Received::Text(text)) = reader.recv().await else {
                panic!("no answer");
            };
            serde_json::from_str::<Value>(&text).unwrap()
        };
        let challenge = ask("mesh.challenge", json!({})).await;
        let nonce = challenge["payload"]["nonce"].as_str().unwrap();
        // What the victim signed for him over a plain link, with a gen-1 signature.
        let params = hello(&key(2), MESH, nonce);
        let reply = ask("mesh.connect", Value::Object(params)).await;
        assert_eq!(code(&reply), "AUTH_FAILED", "{reply}");
        assert!(first.shared().links.all().is_empty());
        first.stop().await;
    }
}
