//! A frame of a device that signs nothing: what it says over its own link stands, whoever said before
//! what it said, and what nobody can prove costs the honest device nothing.

use clawmesh::adapters::store::frames::StoredFrame;
use clawmesh::adapters::store::{facts, frames, usage};
use clawmesh::adapters::transport::PeerUrl;
use clawmesh::domain::admission::budget::Share;
use clawmesh::domain::base::limits::ADDRESS_FACTS;
use clawmesh::domain::base::{Code, DeviceId, FrameId, SignatureState, Tier};
use clawmesh::domain::gate::approval::Verdict;
use clawmesh::domain::policy::Requester;
use clawmesh::node::context::alarms::AlarmKind;
use clawmesh::node::links::target::{Source, Target};
use clawmesh::node::proposals;
use futures_util::SinkExt as _;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_tungstenite::tungstenite::Message;

use crate::bad_frames::frame_of;
use crate::bad_peers::refusals;
use crate::budgets::kin;
use crate::gen1_listener::receive;
use crate::harness::*;
use crate::main_job::{decision, draft, operator};

pub async fn stored(node: &TestNode, id: &FrameId) -> Option<StoredFrame> {
    let id = id.clone();
    let read = move |c: &rusqlite::Connection| frames::by_frame_id(c, &id);
    node.shared().store.read("t", read).await.unwrap()
}

async fn used(node: &TestNode, device: &DeviceId, share: Share) -> u64 {
    let (device, now) = (device.clone(), node.shared().now());
    let read = move |c: &rusqlite::Connection| usage::used(c, &device, share, now);
    node.shared().store.read("t", read).await.unwrap()
}

/// The values that stand of a metric.
async fn values(node: &TestNode, metric: &'static str) -> Vec<(Option<f64>, Tier)> {
    let read = move |c: &rusqlite::Connection| facts::latest(c, metric, None);
    let found = node.shared().store.read("t", read).await.unwrap();
    found.into_iter().map(|f| (f.value, f.effective)).collect()
}

/// An unsigned reading in the name of the fifth device.
fn said(id: &FrameId, metric: &str, value: u64) -> Value {
    let mut frame = frame_of(5, id.as_str());
    frame["data"] = json!({"metric": metric, "zone": "tank", "value": value, "unit": "%"});
    frame
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_device_says_itself_takes_the_place_of_what_others_said_before() {
    let setup = field().trusting(key(5), "observe:T2,relay,read");
    let setup = setup.trusting(key(6), "observe:T2,relay,read");
    let node = setup.with_operator(operator(), "L2").start().await;
    let (altered, copied) = ("altered".parse().unwrap(), "copied".parse().unwrap());
    let mut device = Probe::connect(node.address, &key(5), MESH).await;
    let mut relay = kin(&node, 6).await;
    relay
        .event("context.frame", said(&altered, "lie", 99))
        .await;
    let twice = said(&copied, "level", 4);
    relay.event("context.frame", twice.clone()).await;
    let is = async |id: &FrameId, signature| {
        let found = stored(&node, id).await?;
        (found.signature == signature).then_some(found)
    };
    until("the relay's copies are stored", || {
        is(&copied, SignatureState::Unverifiable)
    })
    .await;
    assert_eq!(values(&node, "lie").await, [(Some(99.0), Tier::T0)]);
    // Somebody makes a wish that cites it.
    let mut wish = draft(node.shared(), 1).await;
    wish.cites.push(altered.clone());
    wish.requester = Requester::Llm;
    let own = node.shared().own_id().clone();
    let minted = proposals::mint(node.shared(), wish, &own).await.unwrap();

    device
        .event("context.frame", said(&altered, "level", 3))
        .await;
    let found = until("the device's own word stands", || {
        is(&altered, SignatureState::FirstHand)
    })
    .await;
    assert_eq!(found.effective_tier, Tier::T2);
    assert_eq!(found.link_peer.as_ref(), Some(key(5).id()));
    assert!(found.json.contains(":3"), "{}", found.json);
    assert_eq!(values(&node, "lie").await, [], "nor does its reading stand");
    assert_eq!(values(&node, "level").await, [(Some(3.0), Tier::T2)]);
    until(
        "the conflict is on the relay's account, and told",
        || async {
            let used = used(&node, key(6).id(), Share::Conflicts).await;
            (used == 1 && refusals(&node, "FRAME_CONFLICT") == 1).then_some(())
        },
    )
    .await;

    // The wish does not act on what the device never said.
    let yes = decision(node.shared(), &minted.signed, &operator(), Verdict::Approve);
    let refusal = proposals::decide(node.shared(), yes).await.unwrap_err();
    assert_eq!(refusal.code, Code::EvidenceMissing, "{refusal}");

    // The same content counts as the device's own from now on, and on its account.
    device.event("context.frame", twice).await;
    let found = until("it is proven", || is(&copied, SignatureState::FirstHand)).await;
    assert_eq!(found.effective_tier, Tier::T2);
    for share in [Share::Facts, Share::KeptFrames] {
        assert_eq!(used(&node, key(6).id(), share).await, 0, "{share:?}");
    }

    // And nothing takes its place again.
    relay
        .event("context.frame", said(&altered, "lie", 98))
        .await;
    until("it is kept apart", || async {
        (used(&node, key(6).id(), Share::Conflicts).await == 2).then_some(())
    })
    .await;
    assert!(is(&altered, SignatureState::FirstHand).await.is_some());
    assert_eq!(values(&node, "lie").await, []);
    node.stop().await;
}

/// Answers every `context.sync` at a listener with ever new readings in the name of the fifth device.
async fn answer_junk(listener: TcpListener) {
    let mut serial = 0_u64;
    loop {
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
        let frames = (0..ADDRESS_FACTS).map(|_| {
            serial += 1;
            let id = format!("junk-{serial}").parse().unwrap();
            said(&id, &format!("junk-{serial}"), 1)
        });
        let payload = json!({"frames": frames.collect::<Vec<_>>(), "peerTimestamp": 1});
        let answer = json!({"type": "res", "id": request["id"], "ok": true, "payload": payload});
        let _ = socket.send(Message::text(answer.to_string())).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_answers_at_the_address_of_a_device_uses_nothing_of_that_device_up() {
    let (device, account) = (key(5).id().clone(), key(5).id().at_address());
    let node = centre()
        .trusting(key(5), "observe:T2,relay,read")
        .start()
        .await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let stranger = tokio::spawn(answer_junk(listener));
    let target = Target {
        url: format!("ws://127.0.0.1:{port}").parse::<PeerUrl>().unwrap(),
        pin: None,
        label: "local".into(),
        source: Source::Seen,
    };
    let shared = node.shared();
    assert!(shared.peers.add(&device, target, shared.now()));
    let first = Probe::connect(node.address, &key(5), MESH).await;
    until("the account of its address is full", || async {
        (used(&node, &account, Share::Facts).await == ADDRESS_FACTS).then_some(())
    })
    .await;
    drop(first);
    until("the link is gone", || async {
        shared.links.get(&device).is_none().then_some(())
    })
    .await;
    let mut probe = Probe::connect(node.address, &key(5), MESH).await;
    let stands = |kind| shared.alarms.stands(kind, device.as_str());
    until("somebody is told", || async {
        stands(AlarmKind::AddressOverBudget).then_some(())
    })
    .await;
    assert!(!stands(AlarmKind::OverBudget), "it is not the device");
    let alarms = shared.alarms.list();
    let alarm = alarms
        .iter()
        .find(|a| a.subject == device.as_str())
        .unwrap();
    assert!(alarm.message.contains("address"), "{}", alarm.message);
    assert!(
        alarm.advice.contains("no reason to revoke"),
        "{}",
        alarm.advice
    );
    for share in Share::STORED {
        assert_eq!(used(&node, &device, share).await, 0, "{share:?}");
    }

    // What it says over its own link counts at once.
    let live = "live".parse().unwrap();
    probe.event("context.frame", said(&live, "own", 7)).await;
    until("its reading is stored", || stored(&node, &live)).await;
    assert_eq!(values(&node, "own").await, [(Some(7.0), Tier::T2)]);
    assert_eq!(used(&node, &device, Share::Facts).await, 1);

    // Trust that ends takes along what was left there.
    proposals::drop_of(shared, &device).await;
    assert_eq!(used(&node, &account, Share::Facts).await, 0);
    assert!(!stands(AlarmKind::AddressOverBudget));
    stranger.abort();
    node.stop().await;
}
