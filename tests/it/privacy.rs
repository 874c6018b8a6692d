//! Private readings: the devices that their origin names have them, from it alone, and nobody else learns what they say.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use clawmesh::adapters::llm::{Reply, Scripted};
use clawmesh::adapters::store::{Class, cited, frames};
use clawmesh::domain::base::{Code, DeviceId, EvidenceSource, FrameId, Tier, TimeMs};
use clawmesh::domain::sync::{FrameKey, Initiator, KeySet};
use clawmesh::domain::wire::handshake::Feature;
use clawmesh::domain::wire::{FrameKind, FrameSpec};
use clawmesh::node::config::privacy::RawPrivacy;
use clawmesh::node::frame_log;
use clawmesh::operator::Door;
use clawmesh::operator::dto::AskRequest;
use clawmesh::operator::dto::FactView;
use clawmesh::operator::queries::FactQuery;
use serde_json::{Value, json};

use crate::bad_peers::{kin, refusals};
use crate::converge::{dialing, place};
use crate::harness::*;

/// What a private reading says, in digits and in words.
const SECRET: [&str; 2] = ["73158462", "sleepless"];
const GRANTS: &str = "observe:T2,relay,read,plan,human,actuate,llm";
const ORIGIN: u8 = 1;
const HUB: u8 = 2;
const OTHER: u8 = 3;
/// A gen-1 node that the configuration names by mistake.
const GEN1: u8 = 4;
/// A device that is named and of an earlier version.
const EARLIER: u8 = 5;
/// A device that speaks everything and is not named.
const UNNAMED: u8 = 6;

fn id(n: u8) -> DeviceId {
    key(n).id().clone()
}

/// A planner of this number that trusts the others.
fn node(me: u8) -> Setup {
    let mut setup = field();
    setup.raw.name = Some(format!("node-{me}"));
    setup.raw.role = Some("planner".into());
    setup.raw.mock_sensor = Some(me == ORIGIN);
    setup.raw.rule = vec![quiet()];
    setup.raw.sensor_interval_ms = Some(1_000);
    setup.kin = true;
    for other in [ORIGIN, HUB, OTHER, EARLIER, UNNAMED] {
        if other != me {
            setup = setup.trusting(key(other), GRANTS);
        }
    }
    setup
}

/// A rule that never fires; a planner without any has one of its own.
fn quiet() -> clawmesh::node::config::RawRule {
    rule("never", "nothing", None)
}

fn rule(name: &str, metric: &str, zone: Option<&str>) -> clawmesh::node::config::RawRule {
    let of = json!({
        "name": name, "metric": metric, "zone": zone, "above": 100.0, "cooldown_sec": 3600,
        "executor": id(ORIGIN), "target": "actuator:mock:valve-1", "operation": "open",
        "params": {"durationSec": 3},
    });
    serde_json::from_value(of).unwrap()
}

fn origin() -> Setup {
    let mut setup = node(ORIGIN);
    setup.raw.privacy = RawPrivacy {
        zones: vec!["Bedroom".into()],
        metrics: vec!["presence".into()],
        devices: [HUB, GEN1, EARLIER]
            .iter()
            .map(|n| id(*n).to_string())
            .collect(),
    };
    setup
}

async fn read(node: &TestNode, zone: &str, value: f64, note: &str) -> FrameId {
    let data = json!({"metric": "temperature", "zone": zone, "value": value, "unit": "C"});
    let spec = FrameSpec {
        kind: FrameKind::Observation,
        data: data.as_object().unwrap().clone(),
        sources: vec![EvidenceSource::Sensor],
        tier: Tier::T2,
        taint: Default::default(),
        note: Some(note.to_owned()),
    };
    let publish = frame_log::publish(node.shared(), vec![spec], Class::Relaxed);
    publish.await.unwrap();
    let door = Door::new(node.shared().clone());
    let query = FactQuery {
        zone: Some(zone.to_owned()),
        origin: Some(node.id().to_string()),
        ..FactQuery::default()
    };
    let fact = door.facts(query).await.unwrap().pop().unwrap();
    fact.frame_id.parse().unwrap()
}

async fn secret(node: &TestNode, n: u8) -> FrameId {
    read(
        node,
        "bedroom",
        73_158_462.0 + f64::from(n) / 8.0,
        "sleepless",
    )
    .await
}

async fn fact(node: &TestNode, zone: &str) -> Option<FactView> {
    let query = FactQuery {
        zone: Some(zone.to_owned()),
        ..FactQuery::default()
    };
    let door = Door::new(node.shared().clone());
    door.facts(query).await.unwrap().pop()
}

/// Waits until a node has exactly this reading of a zone.
async fn has(node: &TestNode, zone: &str, frame: &FrameId) -> FactView {
    until(&format!("the reading of {zone} is there"), || async {
        fact(node, zone)
            .await
            .filter(|fact| fact.frame_id == frame.as_str())
    })
    .await
}

async fn stored(
    node: &TestNode,
    frame: &FrameId,
    origin: &DeviceId,
) -> Option<frames::StoredFrame> {
    let (frame, origin) = (frame.clone(), origin.clone());
    let read = move |c: &rusqlite::Connection| cited::of_origin(c, &frame, &origin);
    node.shared().store.read("test", read).await.unwrap()
}

fn tells(text: &str) -> bool {
    SECRET.iter().any(|secret| text.contains(secret))
}

/// Whether any file below a folder holds the secret as text.
fn is_in(folder: &Path) -> bool {
    std::fs::read_dir(folder).unwrap().any(|entry| {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => is_in(&path),
            false => {
                std::fs::read(&path).is_ok_and(|bytes| tells(&String::from_utf8_lossy(&bytes)))
            }
        }
    })
}

/// Everything that a probe is told until a text of these comes, and what it was told before.
async fn heard(probe: &mut Probe, until: &str) -> String {
    let mut all: String = probe.events.iter().map(Value::to_string).collect();
    while !all.contains(until) {
        let message = probe.receive().await.expect("the link stays");
        all.push_str(&message.to_string());
    }
    all
}

/// A probe of a device, with the features that this version has but these.
async fn without(node: &TestNode, me: u8, but: &[Feature]) -> Probe {
    let mut probe = Probe::open(node.address).await;
    let spoken = Feature::OURS.iter().filter(|f| !but.contains(f));
    let spoken: Vec<Value> = spoken.map(|f| json!(f)).collect();
    let reply = probe
        .handshake(&key(me), MESH, |params| {
            params.insert("features".into(), Value::Array(spoken));
        })
        .await;
    assert_eq!(reply["ok"], true, "{reply}");
    probe
}

/// Asks a node in every way that a device has; everything that it answers.
async fn asked_everything(probe: &mut Probe, frame: &FrameId) -> String {
    let mut all = String::new();
    for (method, params) in [
        ("mesh.world.query", json!({"limit": 500})),
        ("mesh.world.query", json!({"kind": "observation"})),
        ("context.sync", json!({"since": 0, "limit": 500})),
        ("context.sync", json!({"since": 0, "zone": "bedroom"})),
        ("mesh.events", json!({"limit": 500})),
        ("mesh.trace", json!({"frameId": frame})),
        ("mesh.trace", json!({"stage": "proposal.created"})),
        ("mesh.status", json!({})),
        ("mesh.health", json!({})),
        ("mesh.peers", json!({})),
    ] {
        all.push_str(&probe.ask(method, params).await.to_string());
    }
    for question in [
        "What is the temperature?",
        "How is the bedroom?",
        "temperature in bedroom",
    ] {
        let params = json!({"question": question, "by": "eve"});
        let taken = probe.ask("planner.ask", params).await;
        let id = taken["payload"]["id"].clone();
        loop {
            let told = probe.ask("planner.told", json!({"id": id})).await;
            all.push_str(&told.to_string());
            if told["ok"] == false || told["payload"]["ended"] == true {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    all
}

/// The keys that a node names to a device that has nothing.
async fn compared(probe: &mut Probe) -> BTreeSet<FrameKey> {
    let mut since = TimeMs(0);
    'start: loop {
        let set = KeySet::default();
        let (mut side, mut message) = Initiator::begin(&set, since).unwrap();
        loop {
            let params = json!({"since": since, "message": message});
            let answer = probe.ask("reconcile.round", params).await;
            if let Some(theirs) = answer["payload"]["since"].as_u64() {
                since = TimeMs(theirs);
                continue 'start;
            }
            let answer = answer["payload"]["message"].as_str().unwrap();
            match side.hear(&set, answer).unwrap() {
                Some(next) => message = next,
                None => return side.end().need.into_iter().collect(),
            }
        }
    }
}

/// The key of a private frame, as nobody but its holders could know it.
async fn key_of(node: &TestNode, frame: &FrameId) -> FrameKey {
    let stored = stored(node, frame, &id(ORIGIN)).await.unwrap();
    FrameKey::of(frame, &stored.content)
}

/// Nothing that a node says to a device, asked or not, tells of the secret. The device learns of `mark`, a public reading
/// that was made after it.
async fn learns_nothing(node: &TestNode, probe: &mut Probe, frame: &FrameId, mark: &str) {
    let pushed = heard(probe, mark).await;
    assert!(!tells(&pushed), "{pushed}");
    let answered = asked_everything(probe, frame).await;
    assert!(!tells(&answered), "{answered}");
    let private = key_of(node, frame).await;
    let text = private.to_text();
    assert!(!pushed.contains(&text));
    probe.events.clear();
}

/// The same of a device of our own kind that compares, and knows the key.
async fn gets_nothing(node: &TestNode, probe: &mut Probe, frame: &FrameId) {
    let private = key_of(node, frame).await;
    let named = compared(probe).await;
    assert!(!named.is_empty() && !named.contains(&private));
    let fetched = probe
        .ask("reconcile.fetch", json!({"keys": [private.to_text()]}))
        .await;
    assert_eq!(fetched["ok"], true, "{fetched}");
    let wanted = json!({"keys": private.to_text(), "push": true});
    probe.event("tree.ask", wanted).await;
    let after = read(node, "hall", 1.0, "after-the-wish").await;
    let all = heard(probe, after.as_str()).await;
    assert!(!tells(&all), "{all}");
    probe.events.clear();
}

struct Three {
    origin: TestNode,
    hub: TestNode,
    other: TestNode,
}

/// The origin, the hub that it names and the other one that it does not, each linked with each.
async fn three(model: Option<Scripted>) -> Three {
    let origin = origin().start_in(place(), Some(ORIGIN)).await;
    trust(origin.shared(), &key(GEN1), GRANTS).await;
    let other = dialing(node(OTHER), &[&origin]);
    let other = other.start_in(place(), Some(OTHER)).await;
    let mut setup = dialing(node(HUB), &[&origin, &other]);
    setup.model = model;
    let hub = setup.start_in(place(), Some(HUB)).await;
    trust(hub.shared(), &key(GEN1), GRANTS).await;
    linked(&hub, &[&origin, &other]).await;
    linked(&origin, &[&hub, &other]).await;
    Three { origin, hub, other }
}

async fn linked(node: &TestNode, with: &[&TestNode]) {
    until("all are linked", || async {
        let up = |other: &&TestNode| node.shared().links.get(&other.id()).is_some();
        with.iter().all(up).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_private_reading_reaches_the_named_device_alone_by_whatever_way() {
    let Three { origin, hub, other } = three(None).await;
    let mut probes = Vec::new();
    for node in [&origin, &hub] {
        probes.push((node, kin(node, UNNAMED).await));
        probes.push((node, without(node, EARLIER, &[Feature::Private]).await));
        probes.push((node, Probe::connect(node.address, &key(GEN1), MESH).await));
    }
    let frame = secret(&origin, 1).await;
    let at_hub = has(&hub, "bedroom", &frame).await;
    assert_eq!(
        (at_hub.value, at_hub.private),
        (json!(73_158_462.125), true)
    );
    assert!(fact(&origin, "bedroom").await.unwrap().private);
    let mark = read(&origin, "garden", 5.0, "mark").await;
    has(&hub, "garden", &mark).await;
    has(&other, "garden", &mark).await;
    for (node, probe) in &mut probes {
        learns_nothing(node, probe, &frame, mark.as_str()).await;
    }
    for at in [0, 1, 3, 4] {
        let (node, probe) = &mut probes[at];
        gets_nothing(node, probe, &frame).await;
    }
    assert!(stored(&other, &frame, &id(ORIGIN)).await.is_none());
    drop(probes);

    // What is made while the hub is away it gets when it is back, also after the origin was started anew.
    let hub_dir = hub.stop().await;
    let missed = secret(&origin, 2).await;
    let dir = origin.stop().await;
    let origin = self::origin().start_in(dir, Some(ORIGIN)).await;
    let mut setup = dialing(node(HUB), &[&origin, &other]);
    setup.raw.rule = vec![quiet()];
    let hub = setup.start_in(hub_dir, Some(HUB)).await;
    has(&hub, "bedroom", &missed).await;
    let mut unnamed = kin(&origin, UNNAMED).await;
    gets_nothing(&origin, &mut unnamed, &missed).await;
    let mut unnamed = kin(&hub, UNNAMED).await;
    gets_nothing(&hub, &mut unnamed, &missed).await;
    let mark = read(&hub, "attic", 5.0, "mark").await;
    has(&other, "attic", &mark).await;
    assert!(stored(&hub, &frame, &id(ORIGIN)).await.unwrap().private);
    assert!(stored(&other, &missed, &id(ORIGIN)).await.is_none());
    hub.stop().await;
    origin.stop().await;
    let dir = other.stop().await;
    assert!(!is_in(dir.path()), "the other node's files tell of it");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_rests_on_a_private_reading_says_that_it_is_private_and_no_more() {
    let answer = json!({"step": "answer", "text": "Fine."}).to_string();
    let replies = (0..9).map(|_| Reply::text(&answer));
    let model = Scripted::new("test/model".parse().unwrap(), replies);
    let Three { origin, hub, other } = three(Some(model.clone())).await;
    let mut probe = kin(&hub, UNNAMED).await;
    let frame = secret(&origin, 1).await;
    has(&hub, "bedroom", &frame).await;

    // The hub, which has it, rests a wish on it that its origin carries out.
    let door = Door::new(hub.shared().clone());
    let wish = |executor: u8| {
        let wish = json!({"target": "actuator:mock:valve-1", "operation": "open", "reason": "warm",
            "params": {"durationSec": 3}, "name": "ada", "cites": [frame], "executor": id(executor)});
        door.propose(serde_json::from_value(wish).unwrap())
    };
    let view = wish(ORIGIN).await.unwrap();
    let proposal = view.proposal_id.unwrap();
    let centre = Door::new(other.shared().clone());
    let mirror = until("the other node shows the proposal", || async {
        centre.proposal(&proposal).await.ok()
    })
    .await;
    let evidence = mirror
        .evidence
        .iter()
        .find(|e| e.frame_id == frame)
        .unwrap();
    assert_eq!(evidence.summary, "private");
    let text = serde_json::to_string(&mirror).unwrap();
    assert!(!tells(&text), "{text}");
    // An executor that has it not is not asked, and the wish says why.
    let refused = wish(OTHER).await.unwrap_err();
    assert_eq!(refused.code, Code::NotAuthorized);
    assert!(refused.message.contains("private"), "{refused}");

    // A model is told of it only where the question is private.
    let asked = AskRequest {
        question: "Is everything fine?".to_owned(),
        ..AskRequest::default()
    };
    let mut told = door.ask_planner(&asked, "ada", "ada").unwrap();
    while told.recv().await.is_some() {}
    let shown = format!("{:?}", model.asked());
    // Nor do events say what a private conversation is about.
    let asked = AskRequest {
        question: "Why is the child sleepless?".to_owned(),
        private: true,
        ..AskRequest::default()
    };
    let mut told = door.ask_planner(&asked, "ada", "ada").unwrap();
    while told.recv().await.is_some() {}
    assert!(shown.contains("withheld") && !tells(&shown), "{shown}");

    let mark = read(&origin, "garden", 5.0, "mark").await;
    learns_nothing(&hub, &mut probe, &frame, mark.as_str()).await;
    drop(probe);
    hub.stop().await;
    origin.stop().await;
    let dir = other.stop().await;
    assert!(!is_in(dir.path()), "the other node's files tell of it");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rule_on_a_private_reading_asks_without_its_value() {
    let origin = origin().start_in(place(), Some(ORIGIN)).await;
    let mut setup = dialing(node(HUB), &[&origin]);
    setup.raw.rule = vec![rule("warm", "temperature", Some("bedroom"))];
    let hub = setup.start_in(place(), Some(HUB)).await;
    linked(&hub, &[&origin]).await;
    let mut probes = [kin(&origin, UNNAMED).await, kin(&hub, UNNAMED).await];
    let frame = secret(&origin, 1).await;
    has(&hub, "bedroom", &frame).await;
    let door = Door::new(origin.shared().clone());
    let proposal = until("the rule has asked", || async {
        let all = door.proposals(true).await.unwrap();
        all.into_iter()
            .find(|p| p.evidence.iter().any(|e| e.frame_id == frame))
    })
    .await;
    let text = serde_json::to_string(&proposal).unwrap();
    assert!(!tells(&text), "{text}");
    assert!(
        text.contains("temperature in bedroom is private, above 100"),
        "{text}"
    );
    let mark = read(&origin, "garden", 5.0, "mark").await;
    for (node, probe) in [&origin, &hub].into_iter().zip(&mut probes) {
        learns_nothing(node, probe, &frame, mark.as_str()).await;
    }
    hub.stop().await;
    origin.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_private_frame_is_taken_from_its_origin_alone_and_only_where_it_names_this_node() {
    let origin = origin().start_in(place(), Some(ORIGIN)).await;
    let other = node(OTHER).start_in(place(), Some(OTHER)).await;
    let hub = dialing(node(HUB), &[&origin])
        .start_in(place(), Some(HUB))
        .await;
    let frame = secret(&origin, 1).await;
    has(&hub, "bedroom", &frame).await;
    let json = stored(&hub, &frame, &id(ORIGIN)).await.unwrap().json;
    let json: Value = serde_json::from_str(&json).unwrap();
    // Whoever passes one on is refused: by one that is not named, by its origin, and by one that is.
    let hub_dir = hub.stop().await;
    let fresh = node(HUB).start_in(place(), Some(HUB)).await;
    for node in [&other, &origin, &fresh] {
        let before = refusals(node, "NOT_AUTHORIZED");
        let mut probe = kin(node, UNNAMED).await;
        probe
            .event("context.frames", json!({"frames": [json]}))
            .await;
        let params = json!({"frames": [json]});
        let answer = probe.ask("context.private", params).await;
        assert_eq!(answer["error"]["code"], "INVALID_PARAMS", "{answer}");
        until("the other is refused", || async {
            (refusals(node, "NOT_AUTHORIZED") == before + 1).then_some(())
        })
        .await;
    }
    assert!(stored(&other, &frame, &id(ORIGIN)).await.is_none());
    assert!(stored(&fresh, &frame, &id(ORIGIN)).await.is_none());
    // What is public does not travel in this way, and what is no list is refused.
    let mut probe = kin(&other, UNNAMED).await;
    let mut public = json.clone();
    public.as_object_mut().unwrap().remove("private");
    for params in [json!({"frames": [public]}), json!({"frames": 1}), json!({})] {
        let answer = probe.ask("context.private", params).await;
        assert_eq!(answer["error"]["code"], "INVALID_PARAMS", "{answer}");
    }
    origin.stop().await;
    fresh.stop().await;
    drop(hub_dir);
    other.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_public_before_stays_where_it_is_and_is_offered_no_more() {
    let open = node(ORIGIN).start_in(place(), Some(ORIGIN)).await;
    let hub = dialing(node(HUB), &[&open])
        .start_in(place(), Some(HUB))
        .await;
    let frame = secret(&open, 1).await;
    has(&hub, "bedroom", &frame).await;
    let hub_dir = hub.stop().await;
    let dir = open.stop().await;
    let origin = origin().start_in(dir, Some(ORIGIN)).await;
    let kept = stored(&origin, &frame, &id(ORIGIN)).await.unwrap();
    assert!(kept.private && fact(&origin, "bedroom").await.unwrap().private);
    let mut unnamed = kin(&origin, UNNAMED).await;
    let answered = asked_everything(&mut unnamed, &frame).await;
    assert!(!tells(&answered), "{answered}");
    // Its key is no secret any more, so that whoever has it need not send it again.
    let named = compared(&mut unnamed).await;
    let key = key_of(&origin, &frame).await;
    assert!(named.contains(&key));
    let keys = json!({"keys": [key.to_text()]});
    assert_eq!(unnamed.ask("reconcile.fetch", keys).await["ok"], true);
    let mark = read(&origin, "garden", 5.0, "mark").await;
    let all = heard(&mut unnamed, mark.as_str()).await;
    assert!(!tells(&all), "{all}");
    drop(unnamed);
    let dir = origin.stop().await;
    // Where nothing is private any more it is offered again.
    let open = node(ORIGIN).start_in(dir, Some(ORIGIN)).await;
    assert!(!stored(&open, &frame, &id(ORIGIN)).await.unwrap().private);
    open.stop().await;
    drop(hub_dir);
}
