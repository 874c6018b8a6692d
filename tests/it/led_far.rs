//! What a planner that leads wants of an executor that is yet another device, and answers of one that comes too late or with
//! a wish that takes its time.

use clawmesh::node::planner::{Answerer, Telling};
use clawmesh::operator::access::Scope;
use serde_json::{Value, json};

use crate::harness::{MESH, Probe, TestNode, field, key};
use crate::leading::{GRANTS, answered, begin, seeds, started};
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
