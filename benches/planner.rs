//! What the planner and the mesh add to a model: to a turn, to a reply over one hop at the model endpoint, and how long it
//! takes until another planner leads.
//!
//! Run by `scripts/bench`; prints one line per measurement, `name value unit target`. All nodes live in this process and
//! speak identity-bound TLS over loopback; the model is a server on a socket that says at once what it is told, or a piece
//! each few milliseconds. It asserts nothing about time.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::cast_precision_loss
)]
#![allow(clippy::disallowed_methods, dead_code)]

#[path = "../tests/it/harness.rs"]
mod harness;

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::body::{Body, Bytes};
use axum::extract::{Json, State};
use axum::http::{Request, header};
use axum::response::{IntoResponse as _, Response};
use clawmesh::adapters::store::Class;
use clawmesh::domain::base::{DeviceId, EvidenceSource, Tier};
use clawmesh::domain::wire::{FrameKind, FrameSpec};
use clawmesh::node::config::models::RawModel;
use clawmesh::node::planner::{Answerer, Telling};
use clawmesh::node::{frame_log, leading};
use clawmesh::operator::Door;
use clawmesh::operator::access::Tokens;
use clawmesh::operator::dto::AskRequest;
use clawmesh::operator::model_token::ModelToken;
use futures_util::{StreamExt as _, stream};
use harness::*;
use serde_json::{Value, json};
use tower::ServiceExt as _;

fn report(name: &str, value: f64, unit: &str, target: &str) {
    println!("{name:<44} {value:>12.2} {unit:<9} {target}");
}

fn ms(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1_000.0
}

/// The value that so many of a hundred are below.
fn below(times: &mut [f64], percent: usize) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() * percent / 100]
}

/// What the model says, and when it was asked and had said it.
struct Script {
    pieces: Vec<String>,
    /// Between two pieces.
    rests: Duration,
    asked: Option<Instant>,
    said: Option<Instant>,
}

type Model = Arc<Mutex<Script>>;

async fn says(State(model): State<Model>, Json(_): Json<Value>) -> Response {
    let (pieces, rests) = {
        let mut script = model.lock().unwrap();
        script.asked = Some(Instant::now());
        (script.pieces.clone(), script.rests)
    };
    let event = |text: String| {
        let piece = json!({"choices": [{"index": 0, "delta": {"content": text}}]});
        format!("data: {piece}\n\n")
    };
    let end = json!({
        "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 7, "completion_tokens": pieces.len()},
    });
    let all = pieces.into_iter().map(event);
    let all = all.chain([format!("data: {end}\n\ndata: [DONE]\n\n")]);
    let left = all.collect::<std::collections::VecDeque<String>>();
    let mut pace = tokio::time::interval(rests.max(Duration::from_micros(1)));
    pace.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Burst);
    let pieces = stream::unfold((left, pace), move |(mut left, mut pace)| {
        let model = model.clone();
        async move {
            let piece = left.pop_front()?;
            if !rests.is_zero() {
                pace.tick().await;
            }
            if left.is_empty() {
                model.lock().unwrap().said = Some(Instant::now());
            }
            Some((Ok::<_, std::io::Error>(Bytes::from(piece)), (left, pace)))
        }
    });
    let kind = [(header::CONTENT_TYPE, "text/event-stream")];
    (kind, Body::from_stream(pieces)).into_response()
}

/// A server of a model, and its address.
async fn server() -> (Model, String) {
    let model = Arc::new(Mutex::new(Script {
        pieces: Vec::new(),
        rests: Duration::ZERO,
        asked: None,
        said: None,
    }));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/v1", listener.local_addr().unwrap());
    let app = axum::Router::new()
        .route("/v1/chat/completions", axum::routing::post(says))
        .with_state(model.clone());
    tokio::spawn(async move { axum::serve(listener, app).await });
    (model, url)
}

async fn started(setup: Setup, seed: u8) -> TestNode {
    let dir = Arc::new(tempfile::tempdir().unwrap());
    setup.start_in(dir, Some(seed)).await
}

fn with_model(setup: &mut Setup, url: &str) {
    setup.raw.model = vec![RawModel {
        name: "ollama/x".into(),
        url: Some(url.to_owned()),
        share: true,
        ..RawModel::default()
    }];
}

/// Fifty readings, each of another zone.
async fn readings(node: &TestNode) {
    let specs = (1..=50).map(|zone| {
        let data = json!({"zone": format!("zone-{zone}"), "metric": "moisture", "value": 21.8,
            "unit": "%", "threshold": 20, "status": "low"});
        FrameSpec {
            kind: FrameKind::Observation,
            data: data.as_object().unwrap().clone(),
            sources: vec![EvidenceSource::Sensor],
            tier: Tier::T2,
            taint: Default::default(),
            note: None,
        }
    });
    let published = frame_log::publish(node.shared(), specs.collect(), Class::Relaxed).await;
    published.unwrap();
}

/// A question to the planner: what the runtime adds before the model hears of it, and after it has said its last piece.
async fn turn() {
    let (model, url) = server().await;
    let mut setup = centre();
    with_model(&mut setup, &url);
    let node = started(setup, 1).await;
    readings(&node).await;
    let answer = json!({"step": "answer", "text": "It is dry.", "cites": ["r1"]}).to_string();
    model.lock().unwrap().pieces = vec![answer];
    let (mut before, mut after, mut both) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..200 {
        let asked = AskRequest {
            question: "How is zone-1?".to_owned(),
            ..AskRequest::default()
        };
        let begun = Instant::now();
        let told = node.node().door().ask_planner(&asked, "ana", "ana");
        let mut told = told.unwrap();
        let seen = loop {
            if let Telling::Answered(answered) = told.recv().await.unwrap() {
                assert_eq!(answered.answerer, Answerer::Model, "{answered:?}");
                break Instant::now();
            }
        };
        let (heard, said) = {
            let script = model.lock().unwrap();
            (script.asked.unwrap(), script.said.unwrap())
        };
        let times = [heard - begun, seen - said];
        let [first, last] = times.map(|t| t.as_secs_f64() * 1_000.0);
        before.push(first);
        after.push(last);
        both.push(first + last);
    }
    let p50 = |times: &mut [f64]| below(times, 50);
    report(
        "turn: asked to request heard, p50",
        p50(&mut before),
        "ms",
        "",
    );
    report(
        "turn: last piece to answer told, p50",
        p50(&mut after),
        "ms",
        "",
    );
    report("turn: the runtime adds, p50", p50(&mut both), "ms", "<= 10");
    report(
        "turn: the runtime adds, p99",
        below(&mut both, 99),
        "ms",
        "",
    );
    node.stop().await;
}

/// One answer of the model endpoint: until its first word, and until its end, in milliseconds.
async fn completed(node: &TestNode, token: &str) -> (f64, f64) {
    let body = json!({"model": "ollama/x", "stream": true,
        "messages": [{"role": "user", "content": "how is zone 1?"}]});
    let door = Door::new(node.shared().clone());
    let app = clawmesh::surfaces::http::app(door, Tokens::generate().unwrap());
    let request = Request::post("/v1/chat/completions")
        .header(header::AUTHORIZATION, format!("Bearer {token}"))
        .body(Body::from(body.to_string()));
    let begun = Instant::now();
    let response = app.oneshot(request.unwrap()).await.unwrap();
    assert_eq!(response.status(), 200);
    let mut pieces = response.into_body().into_data_stream();
    let (mut first, mut whole) = (None, Vec::new());
    while let Some(piece) = pieces.next().await {
        let piece = piece.unwrap();
        if first.is_none() && String::from_utf8_lossy(&piece).contains("word") {
            first = Some(ms(begun));
        }
        whole.extend(piece);
    }
    let whole = String::from_utf8(whole).unwrap();
    assert!(whole.trim_end().ends_with("[DONE]"), "{whole}");
    (first.unwrap(), ms(begun))
}

/// Two nodes: the second one asks for the model of the first.
async fn hop() {
    let (model, url) = server().await;
    let mut setup = centre().trusting(key(2), "llm,read,relay");
    (setup.kin, setup.raw.name) = (true, Some("hub".into()));
    with_model(&mut setup, &url);
    setup.raw.inference.peer_requests_per_day = Some(u64::MAX);
    setup.raw.inference.peer_tokens_per_day = Some(u64::MAX);
    let hub = started(setup, 1).await;
    let mut setup = centre().trusting(key(1), "read,relay");
    (setup.kin, setup.raw.name) = (true, Some("laptop".into()));
    let peer = format!("{}=wss://{}||local", hub.id(), hub.address);
    setup.raw.peers.push(peer);
    let laptop = started(setup, 2).await;
    until("the model is known", || async {
        (!laptop.shared().inference.elsewhere().is_empty()).then_some(())
    })
    .await;
    let token = |node: &TestNode| ModelToken::make(&node.state()).unwrap();
    let tokens = [token(&hub), token(&laptop)];
    model.lock().unwrap().pieces = vec!["word ".into()];
    let mut times = [Vec::new(), Vec::new()];
    for _ in 0..200 {
        for (n, node) in [&hub, &laptop].into_iter().enumerate() {
            let (first, _) = completed(node, tokens[n].reveal()).await;
            times[n].push(first);
        }
    }
    let [here, there] = &mut times;
    report(
        "endpoint: first word, at its node, p50",
        below(here, 50),
        "ms",
        "",
    );
    report(
        "endpoint: first word, one hop, p50",
        below(there, 50),
        "ms",
        "",
    );
    let added = below(there, 50) - below(here, 50);
    report("endpoint: the hop adds, p50", added, "ms", "<= 5");
    let added = below(there, 99) - below(here, 99);
    report("endpoint: the hop adds, p99", added, "ms", "");
    // A thousand words a second are more than a model of today says; and what the way itself can carry.
    for (what, rests, count, target) in [
        ("1000 words/s", Duration::from_millis(1), 2_000, "<= 5"),
        ("no rests", Duration::ZERO, 5_000, ""),
    ] {
        {
            let mut script = model.lock().unwrap();
            (script.pieces, script.rests) = (vec!["word ".to_owned(); count], rests);
        }
        let mut speeds = [Vec::new(), Vec::new()];
        for _ in 0..5 {
            for (n, node) in [&hub, &laptop].into_iter().enumerate() {
                let (_, whole) = completed(node, tokens[n].reveal()).await;
                speeds[n].push(count as f64 / (whole / 1_000.0));
            }
        }
        let [here, there] = speeds.each_mut().map(|speeds| below(speeds, 50));
        report(
            &format!("endpoint, {what}: at its node"),
            here,
            "words/s",
            "",
        );
        report(&format!("endpoint, {what}: one hop"), there, "words/s", "");
        let lost = (here - there) / here * 100.0;
        report(
            &format!("endpoint, {what}: the hop costs"),
            lost,
            "%",
            target,
        );
    }
    laptop.stop().await;
    hub.stop().await;
}

/// How a planner goes away.
#[derive(Debug, Clone, Copy, PartialEq)]
enum End {
    /// Its process is killed: its sockets close.
    Killed,
    /// It says nothing more, and its sockets stay.
    Silent,
}

/// A planner on a thread of its own that ends as told; where it listens.
fn leader(seed: u8, other: u8) -> (std::sync::mpsc::Sender<End>, DeviceId, std::net::SocketAddr) {
    let (tell, told) = std::sync::mpsc::channel();
    let (ready, begun) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.enable_all().build().unwrap();
        let node = runtime.block_on(started(planner(seed, other, None), seed));
        ready.send((node.id(), node.address)).unwrap();
        let end = runtime.block_on(async {
            loop {
                if let Ok(end) = told.try_recv() {
                    break end;
                }
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        });
        match end {
            End::Killed => {
                runtime.shutdown_background();
                std::mem::forget(node);
            }
            End::Silent => std::mem::forget((node, runtime)),
        }
    });
    let (id, address) = begun.recv().unwrap();
    (tell, id, address)
}

fn planner(seed: u8, other: u8, peer: Option<String>) -> Setup {
    let mut setup = centre().trusting(key(other), "observe:T2,relay,read,plan,actuate,llm");
    setup.kin = true;
    setup.raw.name = Some(format!("planner-{seed}"));
    setup.raw.role = Some("planner".into());
    setup.raw.peers.extend(peer);
    setup
}

/// From the end of the planner that leads until the other one does.
async fn failover(end: End) {
    let mut times = Vec::new();
    let mut seeds = [2, 3];
    seeds.sort_by_key(|n| key(*n).public().device_id());
    let [first, second] = seeds;
    for _ in 0..5 {
        let (stop, id, address) = leader(first, second);
        let peer = format!("{id}=wss://{address}||local");
        let node = started(planner(second, first, Some(peer)), second).await;
        until("it stands by", || async {
            let before = leading::before(&node.shared().leading);
            before.is_some_and(|l| l.device == id).then_some(())
        })
        .await;
        let begun = Instant::now();
        stop.send(end).unwrap();
        while leading::before(&node.shared().leading).is_some()
            || node.shared().leading.epoch().is_none()
        {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        times.push(ms(begun));
        node.stop().await;
    }
    let how = match end {
        End::Killed => "leader killed",
        End::Silent => "leader silent",
    };
    report(
        &format!("{how}: the other leads, p50 of 5"),
        below(&mut times, 50),
        "ms",
        "",
    );
    let most = times.last().copied().unwrap_or_default();
    report(
        &format!("{how}: the other leads, most"),
        most,
        "ms",
        "<= 5000",
    );
}

fn main() {
    let only = std::env::args().skip(1).find(|a| !a.starts_with('-'));
    let wanted = |name: &str| only.as_ref().is_none_or(|o| name.contains(o.as_str()));
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    if wanted("turn") {
        runtime.block_on(turn());
    }
    if wanted("infer") {
        runtime.block_on(hop());
    }
    if wanted("failover") {
        runtime.block_on(failover(End::Killed));
        runtime.block_on(failover(End::Silent));
    }
}
