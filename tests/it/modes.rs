//! What the models can do for a planner: it rests while all are out, says why and until when, and goes on by itself or when
//! a person has mended what was wrong.

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;

use clawmesh::domain::base::Code;
use clawmesh::domain::inference::mode::{Mode, OutFor};
use clawmesh::node::config::models::RawModel;
use clawmesh::node::planner::{Answered, Answerer, Telling};
use clawmesh::operator::access::Scope;
use clawmesh::operator::dto::{AskRequest, LaterRequest, ModeView};
use clawmesh::operator::queries::EventQuery;
use serde_json::json;

use crate::harness::{TestNode, field, until};
use crate::model_server::{Server, Step, say};
use crate::process::*;

const ANSWER: &str = r#"{"step": "answer", "text": "It is dry.", "cites": []}"#;

async fn node(server: &Server) -> TestNode {
    let mut setup = field();
    setup.raw.model = vec![server.model(false)];
    setup.start().await
}

async fn ask(node: &TestNode) -> Answered {
    ask_as(node, false).await
}

async fn ask_as(node: &TestNode, wait: bool) -> Answered {
    let asked = AskRequest {
        question: "How is the soil?".to_owned(),
        wait,
        ..AskRequest::default()
    };
    answer_to(node, &asked).await
}

async fn answer_to(node: &TestNode, asked: &AskRequest) -> Answered {
    let mut told = node.node().door().ask_planner(asked, "ana", "ana").unwrap();
    loop {
        match told.recv().await.unwrap() {
            Telling::Answered(answered) => return *answered,
            Telling::Failed { message, .. } => panic!("{message}"),
            _ => {}
        }
    }
}

fn mode(node: &TestNode) -> ModeView {
    node.node().door().planner().mode.unwrap()
}

async fn becomes(node: &TestNode, wanted: Mode) {
    let what = format!("the mode is {wanted}");
    until(&what, || async {
        (mode(node).mode == wanted).then_some(())
    })
    .await;
}

async fn told_of(node: &TestNode, wanted: &str) {
    let what = format!("an event says {wanted}");
    until(&what, || async {
        let query = EventQuery {
            kind: Some("planner.mode".to_owned()),
            ..EventQuery::default()
        };
        let events = node.node().door().events(query).await.unwrap();
        events
            .iter()
            .any(|e| e.message.contains(wanted))
            .then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_that_is_refused_suspends_the_planner_until_a_person_mends_it() {
    let server = Server::start([vec![Step::Status(401)]]).await;
    server.listing(401);
    let node = node(&server).await;
    assert_eq!(mode(&node).mode, Mode::Active);
    let answered = ask(&node).await;
    assert_eq!(answered.answerer, Answerer::Rules);
    assert!(answered.why.unwrap().contains("does not take the key"));
    let now = mode(&node);
    assert_eq!((now.mode, now.until), (Mode::Suspended, None), "{now:?}");
    assert_eq!(now.out[0].reason, OutFor::Key);
    assert!(now.why.contains("does not take the key"), "{now:?}");
    assert!(now.advice.contains("credential set"), "{now:?}");
    told_of(&node, "suspended").await;
    let alarms = node.node().door().status().await.unwrap().alarms;
    assert!(alarms.iter().any(|a| a.kind == "planner.suspended"));

    // It rests: the rules answer, nobody is asked, and a person who resumes it is not believed but tries it.
    let answered = ask(&node).await;
    assert_eq!(answered.answerer, Answerer::Rules);
    assert!(answered.why.unwrap().contains("planner resume"));
    assert_eq!(server.asked().len(), 1);
    let view = node.node().door().planner_resume("ana").await.unwrap();
    assert_eq!(view.mode.unwrap().mode, Mode::Suspended);

    server.listing(200);
    server.push(say(&[ANSWER]));
    let set = json!({"name": "provider/ollama", "secret": "new-key"});
    let set = serde_json::from_value(set).unwrap();
    node.node().door().credential_set(set, "ana").await.unwrap();
    becomes(&node, Mode::Active).await;
    assert_eq!(server.key(), "new-key");
    told_of(&node, "can be asked again").await;
    let alarms = node.node().door().status().await.unwrap().alarms;
    assert!(alarms.iter().all(|a| a.kind != "planner.suspended"));
    assert_eq!(ask(&node).await.answerer, Answerer::Model);
    let refusal = node.node().door().planner_resume("ana").await.unwrap_err();
    assert_eq!(refusal.code, Code::Conflict, "there is nothing to resume");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_no_model_answers_it_observes_and_tries_them_by_itself() {
    let server = Server::start(vec![vec![Step::Status(503)]; 3]).await;
    server.listing(503);
    let node = node(&server).await;
    assert_eq!(ask(&node).await.answerer, Answerer::Rules);
    let now = mode(&node);
    assert_eq!(now.mode, Mode::Observing, "{now:?}");
    assert!(now.until.is_some(), "{now:?}");
    assert!(now.advice.contains("by themselves"), "{now:?}");
    told_of(&node, "the rules answer").await;
    assert_eq!(ask(&node).await.answerer, Answerer::Rules);
    assert_eq!(server.asked().len(), 3, "it is left alone");
    server.push(say(&[ANSWER]));
    server.listing(200);
    becomes(&node, Mode::Active).await;
    assert_eq!(server.asked().len(), 3, "no question was spent on it");
    assert_eq!(ask(&node).await.answerer, Answerer::Model);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_budget_that_is_used_up_suspends_it_until_the_day_ends() {
    let server = Server::start([]).await;
    let mut setup = field();
    let mut model = server.model(false);
    model.tokens_per_day = Some(10);
    setup.raw.model = vec![model];
    let node = setup.start().await;
    let now = mode(&node);
    assert_eq!(now.mode, Mode::Suspended, "{now:?}");
    assert_eq!(now.out[0].reason, OutFor::Budget);
    assert!(
        now.until.is_some() && now.why.contains("midnight UTC"),
        "{now:?}"
    );
    assert_eq!(ask(&node).await.answerer, Answerer::Rules);
    assert!(server.asked().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_is_not_allowed_takes_the_model_from_nobody() {
    let server = Server::start([vec![Step::Status(403)], say(&[ANSWER])]).await;
    let node = node(&server).await;
    let first = ask(&node).await;
    assert_eq!(first.answerer, Answerer::Rules);
    let why = first.why.unwrap();
    assert!(why.contains("does not let this key use"), "{why}");
    assert_eq!(mode(&node).mode, Mode::Active);
    assert_eq!(ask(&node).await.answerer, Answerer::Model);
}

/// Nothing that devices may read says what was asked in private, whatever becomes of the question; nor does what a person
/// who may only look is shown. And it keeps no other question waiting.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_private_question_that_waits_is_told_to_nobody_and_holds_none_back() {
    let [public, private] = [
        Server::start(vec![vec![Step::Status(503)]]).await,
        Server::start(vec![vec![Step::Status(503)]; 2]).await,
    ];
    public.listing(503);
    private.listing(503);
    let mut setup = field();
    setup.raw.model = vec![
        RawModel {
            private: Some(true),
            ..private.model(false)
        },
        RawModel {
            private: Some(false),
            ..public.model(false)
        },
    ];
    setup.raw.model[1].name = "other/small".to_owned();
    let node = setup.start().await;
    let door = node.node().door();
    let secret = AskRequest {
        question: "Is the xylophone warm?".to_owned(),
        private: true,
        wait: true,
        ..AskRequest::default()
    };
    let first = answer_to(&node, &secret).await;
    assert!(first.queued, "{first:?}");
    let second = ask_as(&node, true).await;
    assert!(second.queued, "{second:?}");
    assert_eq!(door.planner_for(Scope::Operate).later.len(), 2);
    let look = json!([
        door.planner_for(Scope::Read),
        door.answered(Scope::Read).await.unwrap()
    ]);
    assert!(!look.to_string().contains("xylophone"), "{look}");
    assert!(look.to_string().contains("How is the soil?"), "{look}");
    public.push(say(&[ANSWER]));
    public.listing(200);
    wait_for(&node, &second.id).await;
    private.push(say(&[ANSWER]));
    private.listing(200);
    wait_for(&node, &first.id).await;
    let all = json!(door.events(EventQuery::default()).await.unwrap()).to_string();
    assert!(all.contains("planner.queued") && all.contains("planner.answered"));
    assert!(
        all.contains("something private") && !all.contains("xylophone"),
        "{all}"
    );
}

async fn wait_for(node: &TestNode, id: &str) -> Answered {
    until("a model has answered", || async {
        let answered = node.node().door().answered(Scope::Operate).await.unwrap();
        let mut same = answered.into_iter().filter(|a| a.id == id);
        same.find(|a| a.answerer == Answerer::Model)
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_question_that_waits_is_asked_by_itself_when_a_model_answers_again() {
    let server = Server::start(vec![vec![Step::Status(503)]; 3]).await;
    server.listing(503);
    let node = node(&server).await;
    let first = ask(&node).await;
    assert!(!first.queued, "nobody asked for that");
    let asked = LaterRequest {
        id: first.id.clone(),
    };
    node.node().door().ask_later(&asked, "ana").await.unwrap();
    let view = node.node().door().planner();
    assert_eq!(view.later[0].id, first.id);
    assert!(view.later[0].why.contains("503"), "{:?}", view.later);
    assert!(node.node().door().answered(Scope::Operate).await.unwrap()[0].queued);
    let view = node
        .node()
        .door()
        .ask_later_cancel(&first.id)
        .await
        .unwrap();
    assert!(view.later.is_empty());
    assert!(!node.node().door().answered(Scope::Operate).await.unwrap()[0].queued);

    let second = ask_as(&node, true).await;
    assert_eq!((second.answerer, second.queued), (Answerer::Rules, true));
    server.push(say(&[ANSWER]));
    server.listing(200);
    let came = wait_for(&node, &second.id).await;
    assert_eq!(came.answer, "It is dry.");
    assert_eq!(came.conversation, second.conversation);
    assert!(!came.queued);
    let all = node.node().door().answered(Scope::Operate).await.unwrap();
    assert_eq!(
        all.len(),
        2,
        "it takes the place of the answer of the rules"
    );
    until("it waits no more", || async {
        node.node().door().planner().later.is_empty().then_some(())
    })
    .await;
    let query = EventQuery {
        kind: Some("planner.answered".to_owned()),
        ..EventQuery::default()
    };
    until("an event says it", || async {
        let events = node.node().door().events(query.clone()).await.unwrap();
        (events.len() == 1).then_some(())
    })
    .await;
    assert_eq!(server.asked().len(), 4);
    let refusal = node.node().door().ask_later(&asked, "ana").await;
    assert!(refusal.is_ok(), "the first one may wait again");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_no_model_may_ever_see_waits_for_none() {
    let server = Server::start([]).await;
    let mut setup = field();
    let mut model = server.model(false);
    model.private = Some(false);
    setup.raw.model = vec![model];
    let node = setup.start().await;
    let asked = AskRequest {
        question: "Is anybody at home?".to_owned(),
        private: true,
        wait: true,
        ..AskRequest::default()
    };
    let answered = answer_to(&node, &asked).await;
    assert_eq!(
        (answered.answerer, answered.queued),
        (Answerer::Rules, false)
    );
    let why = answered.why.unwrap();
    assert!(why.contains("no model here may see that"), "{why}");
    let asked = LaterRequest { id: answered.id };
    let refusal = node.node().door().ask_later(&asked, "ana").await;
    let refusal = refusal.unwrap_err();
    assert_eq!(refusal.code, Code::Conflict);
    assert!(refusal.message.contains("private = true"), "{refusal}");
    assert!(node.node().door().planner().later.is_empty());
    assert!(server.asked().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_question_that_waits_outlives_who_asked_and_a_node_that_is_killed() {
    let server = Server::start(vec![vec![Step::Status(401)]]).await;
    server.listing(401);
    tokio::task::block_in_place(|| {
        let place = Place::new();
        let config = format!("[[model]]\nname = \"ollama/x\"\nurl = \"{}\"\n", server.url);
        place.write("config.toml", &config);
        let start = || place.start(&["--name", "hub", "--mesh-name", "test"]);
        let node = start();
        let mut command = place.command();
        command.args(["ask", "--wait", "How is the soil?", "--state-dir"]);
        let mut asks = command
            .arg(place.state())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let told = BufReader::new(asks.stderr.take().unwrap());
        let mut told = told.lines().map(Result::unwrap);
        let queued = told.find(|line| line.contains("queued until ollama/x answers"));
        assert!(queued.is_some());
        node.kill();
        asks.kill().unwrap();
        asks.wait().unwrap();

        let again = vec![Step::Status(401)];
        server.push(again);
        let node = start();
        let later = place.json(&["planner"])["later"].clone();
        assert_eq!(later[0]["question"], "How is the soil?");
        eventually("the key is refused again", || {
            (place.json(&["planner"])["mode"]["mode"] == "suspended").then_some(())
        });
        server.push(say(&[ANSWER]));
        server.listing(200);
        let set = ["credential", "set", "provider/ollama"];
        assert_eq!(place.typing(&place.state(), &set, "new-key\n").code, 0);
        eventually("it is answered", || {
            let events = place.json(&["events", "--kind", "planner.answered"]);
            (events.as_array().unwrap().len() == 1).then_some(())
        });
        assert_eq!(place.json(&["planner"])["later"], json!([]));
        assert_eq!(server.key(), "new-key");
        assert_eq!(node.stop(), 0);
    });
}
