//! Two servers of models, one of them a process of its own that is killed: before it has said anything the other one
//! answers, afterwards the reply ends clearly and the other one adds nothing to it. For the planner, the model endpoint and
//! a model of another node.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, ChildStdin, Command, Stdio};

use axum::body::{Body, Bytes};
use axum::http::{Request, header};
use clawmesh::node::config::models::RawModel;
use clawmesh::node::planner::{Answered, Answerer, Telling};
use clawmesh::operator::Door;
use clawmesh::operator::access::Tokens;
use clawmesh::operator::model_token::ModelToken;
use futures_util::StreamExt as _;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tower::ServiceExt as _;

use crate::harness::{Setup, TestNode, centre, key, until};
use crate::leading::begin;
use crate::model_server::{Server, Step, say};

/// What the process says before it says nothing more; empty for nothing at all.
const SAYS: &str = "CLAWMESH_TEST_MODEL_SAYS";

/// Is the other process where it is told what to say, and nothing otherwise. It ends with its standard input.
#[test]
fn a_model_in_a_process_of_its_own() {
    let Ok(says) = std::env::var(SAYS) else {
        return;
    };
    std::thread::spawn(|| {
        let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
        std::process::exit(0);
    });
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let mut steps = vec![Step::Say(says.clone()), Step::Wait];
        if says.is_empty() {
            steps.remove(0);
        }
        let server = Server::start([steps]).await;
        println!("\nurl {}", server.url);
        until("it is asked", || async {
            (!server.asked().is_empty()).then_some(())
        })
        .await;
        println!("\nasked");
        std::future::pending::<()>().await;
    });
}

/// That process.
struct Process {
    child: Child,
    _stdin: ChildStdin,
    lines: std::io::Lines<BufReader<std::process::ChildStdout>>,
    url: String,
}

impl Process {
    fn saying(says: &str) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command
            .args(["--exact", "--nocapture"])
            .arg("fallback::a_model_in_a_process_of_its_own");
        command.env(SAYS, says).stdin(Stdio::piped());
        command.stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        let mut process = Self {
            _stdin: child.stdin.take().unwrap(),
            child,
            lines: out.lines(),
            url: String::new(),
        };
        process.url = process.line("url ");
        process
    }

    /// The rest of its next line that begins so.
    fn line(&mut self, start: &str) -> String {
        loop {
            let line = self.lines.next().expect("it ended").unwrap();
            if let Some(rest) = line.strip_prefix(start) {
                return rest.to_owned();
            }
        }
    }

    fn until_asked(&mut self) {
        tokio::task::block_in_place(|| self.line("asked"));
    }

    /// SIGKILL.
    fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    fn model(&self) -> RawModel {
        RawModel {
            name: "first/x".into(),
            url: Some(self.url.clone()),
            share: true,
            ..RawModel::default()
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A node that asks a first model and then a second one.
struct House {
    node: TestNode,
    /// The other node, where that has the first model.
    hub: Option<TestNode>,
    first: Process,
    second: Server,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum First {
    Here,
    OfTheHub,
}

async fn started(setup: Setup, seed: u8) -> TestNode {
    let dir = std::sync::Arc::new(tempfile::tempdir().unwrap());
    setup.start_in(dir, Some(seed)).await
}

async fn house(place: First, says: &str, second: Vec<Step>) -> House {
    let first = tokio::task::block_in_place(|| Process::saying(says));
    let second = Server::start([second]).await;
    let mut setup = centre().trusting(key(6), "read, relay");
    setup.kin = true;
    setup.raw.name = Some("laptop".into());
    let (mut hub, mut chain) = (None, first.model());
    if place == First::OfTheHub {
        let mut there = centre().trusting(key(7), "llm, read, relay");
        there.kin = true;
        there.raw.name = Some("hub".into());
        there.raw.model = vec![chain];
        let there = started(there, 6).await;
        let peer = format!("{}=ws://{}||local", there.id(), there.address);
        setup.raw.peers.push(peer);
        chain = RawModel {
            name: "mesh/hub/first/x".into(),
            ..RawModel::default()
        };
        hub = Some(there);
    }
    setup.raw.model = vec![chain, second.model(false)];
    let node = started(setup, 7).await;
    if hub.is_some() {
        until("the model of the hub is known", || async {
            (!node.shared().inference.elsewhere().is_empty()).then_some(())
        })
        .await;
    }
    House {
        node,
        hub,
        first,
        second,
    }
}

impl House {
    async fn end(self) {
        self.node.stop().await;
        if let Some(hub) = self.hub {
            hub.stop().await;
        }
    }

    /// Asks any model over the model endpoint, in parts: what comes, piece by piece.
    fn complete(&self) -> mpsc::UnboundedReceiver<Bytes> {
        let state = self.node.state();
        let token = match ModelToken::load(&state).unwrap() {
            Some(token) => token,
            None => ModelToken::make(&state).unwrap(),
        };
        let body = json!({"model": "auto", "stream": true,
            "messages": [{"role": "user", "content": "How is zone 1?"}]});
        let door = Door::new(self.node.shared().clone());
        let app = clawmesh::surfaces::http::app(door, Tokens::generate().unwrap());
        let bearer = format!("Bearer {}", token.reveal());
        let request = Request::post("/v1/chat/completions")
            .header(header::AUTHORIZATION, bearer)
            .body(Body::from(body.to_string()));
        let (tell, told) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            let response = app.oneshot(request.unwrap()).await.unwrap();
            let mut pieces = response.into_body().into_data_stream();
            while let Some(piece) = pieces.next().await {
                let _ = tell.send(piece.unwrap());
            }
        });
        told
    }
}

/// Everything that the rest of a stream says, and its last data.
async fn rest(mut told: mpsc::UnboundedReceiver<Bytes>) -> (String, String) {
    let mut bytes = Vec::new();
    while let Some(piece) = told.recv().await {
        bytes.extend(piece);
    }
    let text = String::from_utf8(bytes).unwrap();
    let data = text.lines().filter_map(|line| line.strip_prefix("data: "));
    let (mut said, mut last) = (String::new(), String::new());
    for data in data {
        let piece: Value = serde_json::from_str(data).unwrap_or_default();
        let content = &piece["choices"][0]["delta"]["content"];
        said.push_str(content.as_str().unwrap_or_default());
        data.clone_into(&mut last);
    }
    (said, last)
}

/// What is told of a question after it began, and its answer.
async fn to_the_end(mut told: mpsc::Receiver<Telling>, mut seen: impl FnMut(&Telling)) -> Answered {
    while let Some(telling) = told.recv().await {
        seen(&telling);
        if let Telling::Answered(answered) = telling {
            return *answered;
        }
    }
    panic!("no answer");
}

fn dry() -> Vec<Step> {
    say(&[&json!({"step": "answer", "text": "It is dry.", "cites": []}).to_string()])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn where_the_first_server_is_killed_before_it_spoke_the_second_answers_a_question() {
    for place in [First::Here, First::OfTheHub] {
        let mut house = Box::pin(house(place, "", dry())).await;
        let told = begin(&house.node, "How is zone 1?");
        house.first.until_asked();
        house.first.kill();
        let answered = to_the_end(told, |_| {}).await;
        assert_eq!(
            (answered.answerer, answered.answer.as_str()),
            (Answerer::Model, "It is dry."),
            "{place:?}: {answered:?}"
        );
        assert_eq!(answered.model.as_deref(), Some("ollama/x"));
        house.end().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn where_it_is_killed_in_the_middle_no_other_model_adds_to_the_answer() {
    for place in [First::Here, First::OfTheHub] {
        let begins = r#"{"step": "answer", "text": "It is as wet as "#;
        let mut house = Box::pin(house(place, begins, dry())).await;
        let (mut told, first) = (begin(&house.node, "How is zone 1?"), &mut house.first);
        loop {
            match told.recv().await.expect("an answer that begins") {
                Telling::Text { text } if text.contains("wet") => break,
                Telling::Answered(answered) => panic!("{answered:?}"),
                _ => {}
            }
        }
        first.kill();
        let answered = to_the_end(told, |telling| {
            assert!(!format!("{telling:?}").contains("dry"), "{telling:?}");
        })
        .await;
        assert_eq!(answered.answerer, Answerer::Rules, "{place:?}");
        assert!(!answered.answer.contains("wet"), "{answered:?}");
        assert!(answered.why.is_some(), "{answered:?}");
        assert!(house.second.asked().is_empty(), "{place:?}");
        // The next question is answered by the second.
        let answered = to_the_end(begin(&house.node, "How is zone 1?"), |_| {}).await;
        assert_eq!(answered.answer, "It is dry.", "{place:?}: {answered:?}");
        house.end().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn the_model_endpoint_falls_back_where_nothing_was_shown() {
    for place in [First::Here, First::OfTheHub] {
        let mut house = Box::pin(house(place, "", say(&["It is ", "dry."]))).await;
        let told = house.complete();
        house.first.until_asked();
        house.first.kill();
        let told = rest(told).await;
        assert_eq!(told, ("It is dry.".into(), "[DONE]".into()), "{place:?}");
        house.end().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn the_model_endpoint_ends_clearly_what_breaks_off_in_the_middle() {
    for place in [First::Here, First::OfTheHub] {
        let mut house = Box::pin(house(place, "It is as wet as ", say(&["It is dry."]))).await;
        let mut told = house.complete();
        loop {
            let piece = told.recv().await.expect("an answer that begins");
            if String::from_utf8_lossy(&piece).contains("wet") {
                break;
            }
        }
        house.first.kill();
        let (said, last) = rest(told).await;
        let last: Value = serde_json::from_str(&last).unwrap();
        assert_eq!(
            (said.as_str(), last["error"].is_object()),
            ("", true),
            "{last}"
        );
        assert!(house.second.asked().is_empty(), "{place:?}");
        let (said, _) = rest(house.complete()).await;
        assert_eq!(said, "It is dry.", "{place:?}");
        house.end().await;
    }
}
