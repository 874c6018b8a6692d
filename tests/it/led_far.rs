//! What a planner that leads wants of an executor that is yet another device, and answers of one that comes too late or with
//! a wish that takes its time.

use clawmesh::node::planner::{Answerer, Telling};
use clawmesh::operator::access::Scope;
use clawmesh::operator::dto::AskRequest;
use serde_json::{Value, json};

use crate::harness::{MESH, Probe, TestNode, field, key, until};
use crate::leading::{GRANTS, all, answered, asking, begin, model, says, seeds, started};
use crate::questions_of_devices::{answers, leads};

const FAR: &str = "actuator:far:valve";

/// A node that trusts a planner and an executor.
async fn node() -> TestNode {
    let [first, second] = seeds();
    let setup = field()
        .trusting(key(first), GRANTS)
        .trusting(key(second), GRANTS);
    started(setup, 1).await
}

/// An executor that speaks these features and offers a valve.
async fn executor(node: &TestNode, features: &[&str]) -> Probe {
    let [_, second] = seeds();
    let mut executor = Probe::open(node.address).await;
    let reply = executor
        .handshake(&key(second), MESH, |hello| {
            hello.insert("features".into(), json!(features));
            hello.insert("capabilities".into(), json!([FAR]));
        })
        .await;
    assert_eq!(reply["ok"], true, "{reply}");
    executor
}

/// The next request of the node by this method; what comes before it is refused.
async fn request(probe: &mut Probe, method: &str) -> Value {
    loop {
        let heard = probe.receive().await.unwrap();
        if heard["type"] == "req" {
            if heard["method"] == method {
                return heard;
            }
            refuse(probe, &heard, "UNKNOWN_METHOD").await;
        }
    }
}

async fn refuse(probe: &mut Probe, request: &Value, code: &str) {
    let error = json!({"code": code, "message": "no"});
    let no = json!({"type": "res", "id": request["id"], "ok": false, "error": error});
    probe.send(no.to_string()).await;
}

fn wish(seconds: u64) -> Value {
    json!({"actuator": FAR, "operation": "open", "params": {"durationSec": seconds},
        "reason": "dry", "cites": []})
}

/// The planner that leads answers what it was asked, and wants these.
async fn wants(leader: &mut Probe, wishes: Value) {
    let asked = answers(leader, "planner.ask", json!({"id": "q"})).await;
    assert_eq!(asked["wishes"], true, "{asked}");
    let answer = json!({"event": "answered", "id": "q", "question": "", "askedBy": "",
        "answer": "Done.", "citations": [], "citationsDropped": 0, "proposals": [],
        "answerer": "model", "model": "x/y", "tier": "T0", "why": null, "askedAt": 1,
        "tookMs": 1, "tokens": 1});
    let reply = json!({"told": [answer], "ended": true, "wishes": wishes});
    answers(leader, "planner.told", reply).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_whose_wish_is_being_asked_for_is_kept_and_leads_to_no_more() {
    let node = node().await;
    let mut executor = executor(&node, &["sig", "proposals", "wishes"]).await;
    let mut leader = leads(&node, &["sig", "lease", "wishes"]).await;
    let told = begin(&node, "Open the valve.");
    wants(&mut leader, json!([wish(5), wish(4)])).await;
    let first = request(&mut executor, "proposals.draft").await;
    // Whoever asked has gone, while the executor has not answered yet.
    drop(told);
    let kept = node.node().door().answered(Scope::Operate).await.unwrap();
    assert_eq!(kept.len(), 1, "{kept:?}");
    assert_eq!(kept[0].answer, "Done.");
    refuse(&mut executor, &first, "BUSY").await;
    // The second wish is none of anybody any more: what comes next is a wish of a question that is asked.
    let told = begin(&node, "Open it a little.");
    wants(&mut leader, json!([wish(1)])).await;
    let next = request(&mut executor, "proposals.draft").await;
    let draft = &next["params"]["draft"];
    assert_eq!(draft["action"]["params"]["durationSec"], 1, "{draft}");
    refuse(&mut executor, &next, "BUSY").await;
    answered(told).await;
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_planner_that_gave_no_answer_in_time_is_asked_nothing_for_a_while() {
    let node = node().await;
    let mut leader = leads(&node, &["sig", "lease", "wishes"]).await;
    let told = begin(&node, "How is the moisture?");
    let asked = request(&mut leader, "planner.ask").await;
    refuse(&mut leader, &asked, "TIMEOUT").await;
    let said = answered(told).await;
    assert_eq!(said.answerer, Answerer::Rules);
    let said = answered(begin(&node, "And the temperature?")).await;
    let why = said.why.unwrap();
    assert!(why.contains("gave no answer in time a moment ago"), "{why}");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_executor_hears_who_led_to_a_wish() {
    let [first, _] = seeds();
    let node = node().await;
    let mut executor = executor(&node, &["sig", "proposals", "wishes"]).await;
    let mut leader = leads(&node, &["sig", "lease", "wishes"]).await;
    let told = begin(&node, "Open the valve.");
    wants(&mut leader, json!([wish(5)])).await;
    let asked = request(&mut executor, "proposals.draft").await;
    assert_eq!(asked["params"]["ledBy"], json!(key(first).id()), "{asked}");
    refuse(&mut executor, &asked, "BUSY").await;
    assert!(answered(told).await.proposals.is_empty());
    node.stop().await;
}

/// An earlier version would count the people whom the planner that led to it alone vouches for.
#[tokio::test(flavor = "multi_thread")]
async fn an_executor_of_an_earlier_version_is_sent_no_wish_that_another_planner_led_to() {
    let node = node().await;
    let mut executor = executor(&node, &["sig", "proposals"]).await;
    let mut leader = leads(&node, &["sig", "lease", "wishes"]).await;
    let mut told = begin(&node, "Open the valve.");
    wants(&mut leader, json!([wish(5)])).await;
    let mut results = Vec::new();
    while let Some(telling) = told.recv().await {
        match telling {
            Telling::Tool { result, .. } => results.push(result),
            Telling::Answered(answered) => assert!(answered.proposals.is_empty()),
            _ => {}
        }
    }
    let refused = |r: &String| r.starts_with("Refused: DELIVERY_FAILED") && r.contains("earlier");
    assert!(results.iter().any(refused), "{results:?}");
    // A wish of a person here reaches it all the same, and is the first that does.
    let door = node.node().door();
    let wish = json!({"target": FAR, "operation": "open", "reason": "dry", "params": {"durationSec": 2},
        "name": "ada", "cites": [], "executor": key(seeds()[1]).id()});
    let wish = door.propose(serde_json::from_value(wish).unwrap());
    let asked = async {
        let asked = request(&mut executor, "proposals.draft").await;
        refuse(&mut executor, &asked, "BUSY").await;
        asked
    };
    let (_, asked) = tokio::join!(wish, asked);
    let draft = &asked["params"]["draft"];
    assert_eq!(draft["action"]["params"]["durationSec"], 2, "{draft}");
    node.stop().await;
}

fn own_wish() -> Value {
    json!({
        "step": "propose", "target": "actuator:mock:valve-1", "operation": "open",
        "params": ["durationSec=5"], "reason": "dry", "cites": [],
    })
}

fn end() -> Value {
    json!({"step": "answer", "text": "I have asked.", "cites": []})
}

/// Whether one of these says that the planner is paused.
fn says_paused(told: &[Telling]) -> bool {
    told.iter().any(|telling| match telling {
        Telling::Tool { result, .. } => result.starts_with("Refused: PLANNER_PAUSED"),
        _ => false,
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_planner_that_a_person_paused_takes_no_wish_for_others() {
    let model = model([says(&own_wish()), says(&end())]);
    let (leader, asker) = asking(&model, GRANTS).await;
    let door = leader.node().door();
    door.planner_pause(&Default::default(), "ana")
        .await
        .unwrap();
    let mut told = begin(&asker, "Open the valve.");
    let mut heard = Vec::new();
    while let Some(telling) = told.recv().await {
        heard.push(telling);
    }
    assert!(says_paused(&heard), "{heard:?}");
    let said = format!("{:?}", model.asked()[1].messages);
    assert!(said.contains("PLANNER_PAUSED"), "{said}");
    assert!(all(&asker).await.is_empty());
    leader.stop().await;
    asker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wish_that_was_noted_before_the_pause_goes_nowhere() {
    let model = model([says(&own_wish()), says(&end())]);
    let (leader, asker) = asking(&model, GRANTS).await;
    asker.stop().await;
    let mut probe = Probe::open(leader.address).await;
    let hello = probe
        .handshake(&key(1), MESH, |hello| {
            hello.insert("features".into(), json!(["sig", "lease", "wishes"]));
        })
        .await;
    assert_eq!(hello["ok"], true);
    let question = json!({"question": "Open it.", "by": "ana", "wishes": true});
    let asked = probe.ask("planner.ask", question).await;
    until("the wish is noted", || async {
        (model.asked().len() == 2).then_some(())
    })
    .await;
    let door = leader.node().door();
    door.planner_pause(&Default::default(), "ana")
        .await
        .unwrap();
    let id = json!({"id": asked["payload"]["id"]});
    let mut told = Vec::new();
    loop {
        let answer = probe.ask("planner.told", id.clone()).await;
        let payload = &answer["payload"];
        assert!(payload["wishes"].is_null(), "{answer}");
        let more: Vec<Telling> = serde_json::from_value(payload["told"].clone()).unwrap();
        told.extend(more);
        if payload["ended"] == true {
            break;
        }
    }
    assert!(says_paused(&told), "{told:?}");
    assert!(matches!(told.last(), Some(Telling::Answered(_))));
    leader.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wish_of_the_leader_that_is_refused_here_has_its_event() {
    let [first, _] = seeds();
    let node = node().await;
    let mut leader = leads(&node, &["sig", "lease", "wishes"]).await;
    let told = begin(&node, "Open the valve.");
    wants(&mut leader, json!([{"level": "L1"}])).await;
    assert!(answered(told).await.proposals.is_empty());
    let event = until("it is written down", || async {
        let events = node.node().door().events(Default::default()).await.unwrap();
        events.into_iter().find(|e| e.kind == "wish.refused")
    })
    .await;
    let data = json!(event.data);
    assert_eq!(data["subject"], json!(key(first).id()), "{data}");
    assert_eq!(data["code"], "INVALID_PARAMS", "{data}");
    node.stop().await;
}

/// What was said before in a conversation is read by the model as said before: whoever said it led to what comes of it.
#[tokio::test(flavor = "multi_thread")]
async fn a_wish_later_in_a_conversation_names_who_answered_before() {
    let [first, _] = seeds();
    let mut setup = field().trusting(key(first), GRANTS);
    setup.model = Some(model([says(&own_wish()), says(&end())]));
    let node = started(setup, 1).await;
    let mut leader = leads(&node, &["sig", "lease", "wishes"]).await;
    let told = begin(&node, "Is it dry?");
    wants(&mut leader, json!([])).await;
    let said = answered(told).await;
    let question = AskRequest {
        question: "Then open the valve.".to_owned(),
        conversation: Some(said.conversation.clone()),
        ..AskRequest::default()
    };
    let told = node.node().door().ask_planner(&question, "ana", "ana");
    let then = answered(told.unwrap()).await;
    assert_eq!(then.answered_by, None, "{then:?}");
    let [id] = &then.proposals[..] else {
        panic!("{then:?}")
    };
    let proposal = node.node().door().proposal(id).await.unwrap();
    assert_eq!(proposal.led_by.as_ref(), Some(key(first).id()));
    node.stop().await;
}
