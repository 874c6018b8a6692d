//! What a question of another device may do at the planner that leads, and what is believed of its answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use clawmesh::adapters::clock::{Clock, SystemClock};
use clawmesh::adapters::llm::{Reply, Scripted, Step};
use clawmesh::domain::base::TimeMs;
use clawmesh::domain::inference::{Piece, Usage};
use clawmesh::node::leading;
use clawmesh::node::planner::{Answerer, Telling};
use clawmesh::operator::access::Scope;
use clawmesh::operator::dto::AskRequest;
use clawmesh::operator::dto::GrantChange;
use serde_json::{Value, json};

use crate::harness::{MESH, Probe, TestNode, field, key, until};
use crate::leading::{
    GRANTS, all, answered, asking, asking_as, begin, measured, model, says, seeds, started,
};
use crate::model_server::{Server, say};

fn end() -> Value {
    json!({"step": "answer", "text": "It is dry.", "cites": []})
}

/// Returns when this many requests of the model are open.
async fn opened(model: &Scripted, open: usize) {
    until("the model is asked", || async {
        (model.open() == open).then_some(())
    })
    .await;
}

async fn waits(node: &TestNode, waiting: usize) {
    until("questions wait", || async {
        (node.shared().asking.questions.doing().waiting == waiting).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rights_that_were_taken_back_count_for_no_question_that_waits() {
    let model = model([Reply::hang(), says(&end())]);
    let (leader, asker) = asking(&model, GRANTS).await;
    // A person there holds the model, so that the device's question waits.
    let person = begin(&leader, "Are you there?");
    opened(&model, 1).await;
    let told = begin(&asker, "How is the moisture?");
    waits(&leader, 1).await;
    let change = GrantChange {
        grants: "read,llm,plan".to_owned(),
    };
    let id = asker.id();
    leader
        .node()
        .door()
        .trust_ungrant(id.as_str(), &change)
        .await
        .unwrap();
    drop(person);
    let said = answered(told).await;
    assert_eq!((said.answerer, said.answered_by), (Answerer::Rules, None));
    let why = said.why.unwrap();
    assert!(why.contains("may not read here"), "{why}");
    assert_eq!(model.asked().len(), 1);
    leader.stop().await;
    asker.stop().await;
}

/// The clock of the system, until its steady time is held.
#[derive(Debug, Default)]
struct Held(AtomicBool, SystemClock, AtomicU64);

impl Clock for Held {
    fn now(&self) -> TimeMs {
        self.1.now()
    }

    fn steady_ms(&self) -> u64 {
        if !self.0.load(Ordering::SeqCst) {
            self.2.store(self.1.steady_ms(), Ordering::SeqCst);
        }
        self.2.load(Ordering::SeqCst)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_goes_with_the_trust_in_who_asked_it() {
    let model = model([Reply::hang()]);
    let clock = Arc::new(Held::default());
    let (leader, asker) = asking_as(GRANTS, |setup| {
        setup.model = Some(model.clone());
        setup.clock = clock.clone();
    })
    .await;
    let told = begin(&asker, "How is the moisture?");
    opened(&model, 1).await;
    // Nothing is taken back because its asker is silent.
    clock.0.store(true, Ordering::SeqCst);
    let id = asker.id();
    leader
        .node()
        .door()
        .trust_remove(id.as_str())
        .await
        .unwrap();
    opened(&model, 0).await;
    drop(told);
    leader.stop().await;
    asker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_here_does_not_wait_for_other_devices() {
    let model = model([Reply::hang(), says(&end()), says(&end())]);
    let (leader, asker) = asking(&model, GRANTS).await;
    let told = begin(&asker, "How is the moisture?");
    opened(&model, 1).await;
    let person = answered(begin(&leader, "Is it dry?")).await;
    assert_eq!(person.answerer, Answerer::Model);
    // The device's is asked again afterwards.
    let said = answered(told).await;
    assert_eq!(said.answerer, Answerer::Model);
    assert!(said.answered_by.is_some());
    leader.stop().await;
    asker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_other_devices_ask_pushes_out_nothing_that_was_asked_here() {
    let model = model([says(&end()), says(&end())]);
    let (leader, asker) = asking(&model, GRANTS).await;
    let person = answered(begin(&leader, "Is it dry?")).await;
    let said = answered(begin(&asker, "How is the moisture?")).await;
    assert!(said.answered_by.is_some());
    assert_eq!(
        leader.node().door().answered(Scope::Operate).await.unwrap(),
        [person]
    );
    assert_eq!(
        asker.node().door().answered(Scope::Operate).await.unwrap(),
        [said]
    );
    leader.stop().await;
    asker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_that_is_not_shared_answers_no_other_device() {
    let server = Server::start([say(&[&end().to_string()])]).await;
    let (leader, asker) = asking_as(GRANTS, |leader| {
        leader.raw.model = vec![server.model(false)];
    })
    .await;
    let said = answered(begin(&asker, "How is the moisture?")).await;
    assert!(said.answered_by.is_some());
    assert_eq!(said.answerer, Answerer::Rules);
    let why = said.why.unwrap();
    assert!(why.contains("shared with other devices"), "{why}");
    assert!(server.asked().is_empty());
    leader.stop().await;
    asker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_of_a_device_counts_in_its_share_of_the_day() {
    let most = Usage {
        input_tokens: 4_000,
        output_tokens: 3_000,
        ..Usage::default()
    };
    let reply = || {
        Reply::of(vec![
            Step::Say(Piece::Text(end().to_string())),
            Step::Say(Piece::End(most)),
        ])
    };
    let model = model([reply(), reply(), says(&end())]);
    let (leader, asker) = asking_as(GRANTS, |leader| {
        leader.model = Some(model.clone());
        leader.raw.inference.peer_tokens_per_day = Some(13_000);
    })
    .await;
    for answerer in [Answerer::Model, Answerer::Model, Answerer::Rules] {
        let said = answered(begin(&asker, "How is the moisture?")).await;
        assert_eq!(said.answerer, answerer, "{said:?}");
        if answerer == Answerer::Rules {
            let why = said.why.unwrap();
            assert!(why.contains("2 requests and 14000 tokens"), "{why}");
        }
    }
    // The share of a device is none of this node's persons.
    let person = answered(begin(&leader, "Is it dry?")).await;
    assert_eq!(person.answerer, Answerer::Model);
    leader.stop().await;
    asker.stop().await;
}

/// A device that speaks these features and leads the planner of the node.
pub async fn leads(node: &TestNode, features: &[&str]) -> Probe {
    let [first, _] = seeds();
    let mut probe = Probe::open(node.address).await;
    let hello = probe
        .handshake(&key(first), MESH, |params| {
            params.insert("features".into(), json!(features));
        })
        .await;
    assert_eq!(hello["ok"], true, "{hello}");
    let lease =
        json!({"epoch": 1, "role": "planner", "tasks": [], "answers": true, "paused": false});
    probe.event("planner.lease", lease).await;
    until("it leads", || async {
        leading::before(&node.shared().leading).filter(|l| l.lease.answers)
    })
    .await;
    probe
}

/// The next request of the node by this method, which is answered; what it asked with.
pub async fn answers(probe: &mut Probe, method: &str, payload: Value) -> Value {
    loop {
        let heard = probe.receive().await.unwrap();
        if heard["type"] == "req" {
            let reply = json!({"type": "res", "id": heard["id"], "ok": true, "payload": payload});
            let method_of = heard["method"].clone();
            probe.send(reply.to_string()).await;
            if method_of == method {
                return heard["params"].clone();
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_citation_says_what_the_frame_says_here_whatever_the_leader_tells() {
    let [first, _] = seeds();
    let node = started(field().trusting(key(first), GRANTS), 1).await;
    let fact = measured(&node).await;
    let mut probe = leads(&node, &["sig", "lease"]).await;
    let told = begin(&node, "How is the moisture?");
    answers(&mut probe, "planner.ask", json!({"id": "q"})).await;
    let (frame, origin) = (json!(fact.frame_id), json!(fact.origin));
    let lie = json!({"event": "answered", "id": "q", "question": "", "askedBy": "", "answer": "Fine.",
        "citations": [{"frameId": frame, "origin": origin, "summary": "pump on fire"}],
        "citationsDropped": 0, "proposals": ["$(reboot)", "0".repeat(32)], "answerer": "model",
        "model": "x/y", "tier": "T3", "why": null, "askedAt": 1, "tookMs": 1, "tokens": 1});
    let answer = json!({"told": [lie], "ended": true});
    answers(&mut probe, "planner.told", answer).await;
    let said = answered(told).await;
    assert_eq!((said.answer.as_str(), said.citations.len()), ("Fine.", 1));
    let summary = &said.citations[0].summary;
    assert!(summary.starts_with("moisture | zone "), "{summary}");
    assert!(!summary.contains("fire"), "{summary}");
    assert!(said.proposals.is_empty(), "{:?}", said.proposals);
    node.stop().await;
}

/// Asks at this node, to the end: what was told.
async fn whole(node: &TestNode, question: &str, private: bool) -> Vec<Telling> {
    let asked = AskRequest {
        question: question.to_owned(),
        private,
        ..AskRequest::default()
    };
    let door = node.node().door();
    let mut told = door.ask_planner(&asked, "ana", "ana").unwrap();
    let mut all = Vec::new();
    while let Some(telling) = told.recv().await {
        all.push(telling);
    }
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_asked_in_private_is_found_by_no_other_question_and_told_in_no_event() {
    let wish = |reason: &str, seconds: u32| {
        json!({"step": "propose", "target": "actuator:mock:valve-1", "operation": "open",
            "params": [format!("durationSec={seconds}")], "reason": reason, "cites": ["r1"]})
    };
    let find = |text: &str| says(&json!({"step": "search_memory", "text": text}));
    let model = model([
        says(&wish("code 4711", 5)),
        says(&end()),
        says(&wish("the soil is dry", 7)),
        says(&end()),
        find("4711"),
        find("private"),
        find("durationSec"),
        says(&json!({"step": "list_proposals"})),
        find("open"),
        says(&end()),
    ]);
    let mut setup = field();
    setup.model = Some(model);
    let node = setup.start().await;
    measured(&node).await;
    whole(&node, "The code is 4711. Water zone 1.", true).await;
    assert_eq!(all(&node).await.len(), 1);
    assert!(!format!("{:?}", all(&node).await).contains("4711"));
    whole(&node, "Water zone 1.", false).await;
    assert_eq!(all(&node).await.len(), 2);
    let told = whole(&node, "Is all well?", false).await;
    let found: Vec<&str> = told
        .iter()
        .filter_map(|t| match t {
            Telling::Tool { result, .. } => Some(result.as_str()),
            _ => None,
        })
        .collect();
    for nothing in 0..3 {
        assert_eq!(found[nothing], "Nothing was found.", "{found:?}");
    }
    for one in 3..5 {
        let lines = found[one].lines().count();
        assert!(
            found[one].contains("open actuator") && lines == 1,
            "{found:?}"
        );
    }
    let events = node.node().door().events(Default::default()).await.unwrap();
    let told = format!("{events:?}");
    assert!(
        !told.contains("4711") && told.contains("something private"),
        "{told}"
    );
    node.stop().await;
}
