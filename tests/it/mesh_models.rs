//! Models that devices use of each other: who may, in which form, how much, and what becomes of a reply whose reader is
//! slow, goes away or takes it back.

use clawmesh::domain::base::limits::{
    MESH_MODEL_CHUNK_MAX_BYTES, MESH_MODEL_PIECE_MIN_BYTES, MESH_MODEL_WINDOW_BYTES,
};
use clawmesh::domain::inference::route::{About, Route};
use clawmesh::domain::inference::{Failure, FailureKind, InferenceRequest, Message, Piece};
use clawmesh::node::inference::{Wanted, Whole};
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message as Frame;

use crate::gen1_listener::{receive, welcome_with};
use crate::harness::*;
use crate::model_server::{Server, Step, say};

/// A node that shares the model of this server.
async fn hub(server: &Server, setup: Setup) -> TestNode {
    let mut setup = setup;
    setup.raw.name = Some("hub".into());
    setup.raw.model = vec![server.model(true)];
    setup.start().await
}

fn ask(id: &str, model: &str) -> Value {
    json!({"requestId": id, "model": model, "messages": [{"role": "user", "content": "hi"}]})
}

/// Sends `llm.infer` under this id of the envelope, and does not wait.
async fn begin(probe: &mut Probe, id: &str) {
    let request =
        json!({"type": "req", "id": id, "method": "llm.infer", "params": ask(id, "ollama/x")});
    probe.send(request.to_string()).await;
}

async fn let_go(server: &Server, node: &TestNode) {
    until("the model is let go", || async {
        (server.open() == 0 && node.shared().mesh_models.serving() == 0).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gen1_node_is_answered_as_gen1_nodes_answer() {
    let server = Server::start([say(&["mesh", "-ok"])]).await;
    let hub = hub(&server, centre().trusting(key(2), "llm")).await;
    let mut probe = Probe::connect(hub.address, &key(2), MESH).await;
    let answer = probe.ask("llm.infer", ask("r1", "ollama/x")).await;
    let usage = json!({"inputTokens": 7, "outputTokens": 3});
    assert_eq!(
        answer["payload"],
        json!({"requestId": "r1", "finishReason": "stop", "usage": usage})
    );
    let chunks = probe.events.iter().filter(|e| e["event"] == "llm.chunk");
    let chunks: Vec<&Value> = chunks.map(|e| &e["payload"]).collect();
    assert_eq!(
        chunks,
        [
            &json!({"requestId": "r1", "seq": 0, "delta": "mesh"}),
            &json!({"requestId": "r1", "seq": 1, "delta": "-ok"}),
        ]
    );
    for (params, code, says) in [
        (
            ask("r2", "nope/x"),
            "LLM_MODEL_UNAVAILABLE",
            "is not served by this node: nope/x",
        ),
        (
            json!({"requestId": "r3", "model": "ollama/x", "messages": []}),
            "INVALID_PARAMS",
            "non-empty messages[]",
        ),
        (json!({"model": "ollama/x"}), "INVALID_PARAMS", "requestId"),
    ] {
        let answer = probe.ask("llm.infer", params).await;
        assert_eq!(answer["error"]["code"], code, "{answer}");
        assert!(
            answer["error"]["message"].as_str().unwrap().contains(says),
            "{answer}"
        );
    }
    // A long text is cut at 8 KiB, between characters.
    server.push(say(&[&"é".repeat(10_000)]));
    probe.events.clear();
    probe.ask("llm.infer", ask("r6", "ollama/x")).await;
    let lengths: Vec<usize> = probe
        .events
        .iter()
        .filter(|e| e["event"] == "llm.chunk")
        .map(|e| e["payload"]["delta"].as_str().unwrap().len())
        .collect();
    assert_eq!(
        lengths,
        [
            MESH_MODEL_CHUNK_MAX_BYTES,
            MESH_MODEL_CHUNK_MAX_BYTES,
            3_616
        ]
    );
    // Last, for a model whose key is refused is asked no more. What the provider says of a failure may name accounts, and stays here.
    server.push(vec![Step::Status(401)]);
    let answer = probe.ask("llm.infer", ask("r5", "ollama/x")).await;
    assert_eq!(answer["error"]["code"], "LLM_MODEL_UNAVAILABLE");
    assert!(!answer.to_string().contains("scripted"), "{answer}");
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_grant_or_the_share_there_is_no_model() {
    let server = Server::start([]).await;
    let grants = "observe:T3, human, plan, relay, read, estop, actuate, admin";
    let hub = hub(&server, centre().trusting(key(2), grants)).await;
    let mut probe = Probe::connect(hub.address, &key(2), MESH).await;
    for method in ["llm.infer", "llm.cancel"] {
        let answer = probe.ask(method, ask("r1", "ollama/x")).await;
        assert_eq!(answer["error"]["code"], "NOT_AUTHORIZED", "{answer}");
    }
    hub.stop().await;

    let mut setup = centre().trusting(key(2), "llm");
    setup.raw.model = vec![server.model(false)];
    let private = setup.start().await;
    let mut probe = Probe::connect(private.address, &key(2), MESH).await;
    let answer = probe.ask("llm.infer", ask("r1", "ollama/x")).await;
    assert_eq!(answer["error"]["code"], "LLM_MODEL_UNAVAILABLE", "{answer}");
    let offered = private.shared().known.own.now();
    assert!(offered.all.iter().all(|c| c.kind() != "llm"), "{offered:?}");
    private.stop().await;
    assert!(server.asked().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_request_at_a_time_which_is_taken_back_with_its_link() {
    let waits = || vec![Step::Say("tok0".into()), Step::Wait, Step::End];
    let server = Server::start([waits(), waits()]).await;
    let hub = hub(&server, centre().trusting(key(2), "llm")).await;
    let mut probe = Probe::connect(hub.address, &key(2), MESH).await;
    begin(&mut probe, "r6").await;
    probe.hear("llm.chunk").await;
    let busy = probe.ask("llm.infer", ask("r7", "ollama/x")).await;
    assert_eq!(busy["error"]["code"], "LLM_BUSY", "{busy}");
    let cancelled = probe.ask("llm.cancel", json!({"requestId": "r6"})).await;
    assert_eq!(
        cancelled["payload"],
        json!({"requestId": "r6", "cancelled": true})
    );
    let ended = probe.answer("r6").await;
    assert_eq!(
        ended["payload"],
        json!({"requestId": "r6", "finishReason": "cancelled"})
    );
    let again = probe.ask("llm.cancel", json!({"requestId": "r6"})).await;
    assert_eq!(again["error"]["code"], "LLM_CANCELLED", "{again}");
    let_go(&server, &hub).await;

    begin(&mut probe, "r8").await;
    probe.hear("llm.chunk").await;
    assert_eq!(server.open(), 1);
    drop(probe);
    let_go(&server, &hub).await;
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_device_has_a_share_of_the_day_that_outlives_a_restart() {
    let server = Server::start([say(&["a"]), say(&["b"])]).await;
    let setup = || {
        let mut setup = centre().trusting(key(2), "llm").trusting(key(3), "llm");
        setup.raw.model = vec![server.model(true)];
        setup.raw.inference.peer_requests_per_day = Some(1);
        setup
    };
    let node = setup().start().await;
    let mut probe = Probe::connect(node.address, &key(2), MESH).await;
    let answer = probe.ask("llm.infer", ask("r1", "ollama/x")).await;
    assert_eq!(answer["ok"], true, "{answer}");
    let dir = node.stop().await;
    let node = setup().start_in(dir, None).await;
    let mut probe = Probe::connect(node.address, &key(2), MESH).await;
    let answer = probe.ask("llm.infer", ask("r2", "ollama/x")).await;
    assert_eq!(answer["error"]["code"], "OVER_BUDGET", "{answer}");
    let mut other = Probe::connect(node.address, &key(3), MESH).await;
    let answer = other.ask("llm.infer", ask("r1", "ollama/x")).await;
    assert_eq!(answer["ok"], true, "the share of another device: {answer}");
    node.stop().await;
}

/// A probe of our own kind, which says how much it has taken.
async fn kin(node: &TestNode) -> Probe {
    let mut probe = Probe::open(node.address).await;
    let hello = probe
        .handshake(&key(2), MESH, |params| {
            params.insert("features".into(), json!(["sig", "infer"]));
        })
        .await;
    assert_eq!(hello["ok"], true, "{hello}");
    probe
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_reader_gets_no_more_than_it_takes() {
    let endless = vec![Step::Endless("x".repeat(1_000))];
    let server = Server::start([endless]).await;
    let hub = hub(&server, centre().trusting(key(2), "llm, read")).await;
    let mut probe = kin(&hub).await;
    begin(&mut probe, "r1").await;
    let cost = |chunk: &Value| chunk["payload"]["delta"].as_str().unwrap().len();
    // It takes a window full, and then no more comes, whatever the model could say. Pieces that wait may come as one.
    let mut taken = 0;
    while taken + MESH_MODEL_CHUNK_MAX_BYTES <= MESH_MODEL_WINDOW_BYTES {
        taken += cost(&probe.hear("llm.chunk").await);
    }
    probe.events.clear();
    for _ in 0..3 {
        let answer = probe.ask("mesh.ping", json!({})).await;
        assert_eq!(answer["ok"], true);
    }
    let rest = probe.events.iter().filter(|e| e["event"] == "llm.chunk");
    taken += rest.map(cost).sum::<usize>();
    assert!(taken <= MESH_MODEL_WINDOW_BYTES, "{taken}");
    // As much as was taken comes more.
    let more = 2 * MESH_MODEL_CHUNK_MAX_BYTES;
    probe
        .event("llm.taken", json!({"requestId": "r1", "bytes": more}))
        .await;
    let before = taken;
    while taken + MESH_MODEL_CHUNK_MAX_BYTES <= before + more {
        taken += cost(&probe.hear("llm.chunk").await);
    }
    // Who claims to have taken more than was sent is refused, and gets no more for it.
    let lie = json!({"requestId": "r1", "bytes": MESH_MODEL_WINDOW_BYTES});
    probe.event("llm.taken", lie).await;
    probe.events.clear();
    assert_eq!(probe.ask("mesh.ping", json!({})).await["ok"], true);
    let rest = probe.events.iter().filter(|e| e["event"] == "llm.chunk");
    taken += rest.map(cost).sum::<usize>();
    assert!(taken <= MESH_MODEL_WINDOW_BYTES + more, "{taken}");
    drop(probe);
    let_go(&server, &hub).await;
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn small_pieces_count_as_more_so_that_their_number_is_bounded() {
    let server = Server::start([vec![Step::Endless("x".into())]]).await;
    let hub = hub(&server, centre().trusting(key(2), "llm, read")).await;
    let mut probe = kin(&hub).await;
    begin(&mut probe, "r1").await;
    let cost = |chunk: &Value| {
        let delta = chunk["payload"]["delta"].as_str().unwrap();
        delta.len().max(MESH_MODEL_PIECE_MIN_BYTES)
    };
    // Small pieces that wait may come as one, of a chunk's size at most.
    let mut heard = 0;
    while heard + MESH_MODEL_CHUNK_MAX_BYTES <= MESH_MODEL_WINDOW_BYTES {
        heard += cost(&probe.hear("llm.chunk").await);
    }
    // The model is let go though nothing was taken, and what it said waits. Meanwhile the link is kept alive.
    probe.events.clear();
    let limit = tokio::time::Instant::now() + PATIENCE;
    while server.open() > 0 {
        assert!(tokio::time::Instant::now() < limit, "the model is kept");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        assert_eq!(probe.ask("mesh.ping", json!({})).await["ok"], true);
    }
    for _ in 0..3 {
        assert_eq!(probe.ask("mesh.ping", json!({})).await["ok"], true);
    }
    let chunks = probe.events.iter().filter(|e| e["event"] == "llm.chunk");
    heard += chunks.map(cost).sum::<usize>();
    assert!(heard <= MESH_MODEL_WINDOW_BYTES, "{heard}");
    assert_eq!(hub.shared().mesh_models.serving(), 1);
    hub.stop().await;
}

/// A hub that shares this server's model, and a laptop that is as told, linked.
pub(crate) async fn pair(server: &Server, laptop: impl FnOnce(&mut Setup)) -> (TestNode, TestNode) {
    let mut setup = centre().trusting(key(7), "llm, read, relay");
    setup.kin = true;
    setup.raw.name = Some("hub".into());
    setup.raw.model = vec![server.model(true)];
    let fresh = || std::sync::Arc::new(tempfile::tempdir().unwrap());
    let hub = setup.start_in(fresh(), Some(6)).await;
    let mut setup = centre().trusting(key(6), "read, relay");
    setup.kin = true;
    setup.raw.name = Some("laptop".into());
    setup.raw.peers = vec![format!("{}=ws://{}||local", hub.id(), hub.address)];
    laptop(&mut setup);
    let laptop = setup.start_in(fresh(), Some(7)).await;
    until("they are linked", || async {
        let there = laptop.shared().links.get(&hub.id());
        (there.is_some() && !laptop.shared().inference.elsewhere().is_empty()).then_some(())
    })
    .await;
    (hub, laptop)
}

fn named(model: &str) -> Wanted {
    Wanted::Named(model.parse().unwrap())
}

fn question() -> InferenceRequest {
    InferenceRequest {
        messages: vec![Message::User("how is zone 1?".into())],
        max_output_tokens: 100,
        ..InferenceRequest::default()
    }
}

async fn whole(node: &TestNode, wanted: &Wanted) -> (Route, Result<Whole, Failure>) {
    let (inference, about) = (&node.shared().inference, About::public());
    inference.ask_whole(wanted, question(), &about).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_model_of_another_node_is_used_by_its_name_and_by_its_device() {
    let server = Server::start([say(&["It ", "is dry."]), say(&["Still."])]).await;
    let (hub, laptop) = pair(&server, |_| {}).await;
    let (route, told) = whole(&laptop, &named("ollama/x")).await;
    let told = told.unwrap();
    assert_eq!(told.text, "It is dry.");
    assert_eq!((told.usage.input_tokens, told.usage.output_tokens), (7, 3));
    assert_eq!(route.chosen.unwrap().to_string(), "mesh/hub/ollama/x");
    assert!(!route.local);
    let by_id = named(&format!("mesh/{}/ollama/x", hub.id()));
    let (_, told) = whole(&laptop, &by_id).await;
    assert_eq!(told.unwrap().text, "Still.");
    assert_eq!(server.asked()[0]["max_tokens"], 100);
    // Private data goes to no device that the configuration does not name for it.
    let about = About::private("zone bedroom");
    let asked = laptop
        .shared()
        .inference
        .ask_whole(&by_id, question(), &about);
    assert_eq!(asked.await.1.unwrap_err().kind, FailureKind::NoModel);
    assert_eq!(server.asked().len(), 2);
    laptop.stop().await;
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_the_other_nodes_server_dies_before_it_spoke_the_next_model_answers() {
    let dies = vec![Step::Break];
    let there = Server::start([dies.clone(), dies.clone(), dies]).await;
    let here = Server::start([say(&["here"])]).await;
    let own = here.model(false);
    let (hub, laptop) = pair(&there, |setup| {
        let far = clawmesh::node::config::models::RawModel {
            name: "mesh/hub/ollama/x".into(),
            ..Default::default()
        };
        setup.raw.model = vec![far, own];
    })
    .await;
    let (route, told) = whole(&laptop, &Wanted::Chain).await;
    assert_eq!(told.unwrap().text, "here");
    assert_eq!(route.skipped[0].model.to_string(), "mesh/hub/ollama/x");
    assert!(!there.asked().is_empty());
    // It is gone altogether: the next model answers just so.
    hub.stop().await;
    here.push(say(&["alone"]));
    let (_, told) = whole(&laptop, &Wanted::Chain).await;
    assert_eq!(told.unwrap().text, "alone");
    laptop.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_dies_in_a_reply_ends_it_clearly_and_nothing_is_said_twice() {
    let server = Server::start([vec![Step::Say("It ".into()), Step::Wait]]).await;
    let here = Server::start([say(&["never"])]).await;
    let own = here.model(false);
    let (hub, laptop) = pair(&server, |setup| setup.raw.model = vec![own]).await;
    let wanted = named("mesh/hub/ollama/x");
    let (inference, about) = (&laptop.shared().inference, About::public());
    let (_, mut pieces) = inference.ask_of(&wanted, question(), &about).await;
    assert_eq!(pieces.next().await, Some(Ok(Piece::Text("It ".into()))));
    hub.stop().await;
    let failure = pieces.next().await.unwrap().unwrap_err();
    assert!(
        matches!(
            failure.kind,
            FailureKind::Unreachable | FailureKind::Refused
        ),
        "{failure}"
    );
    assert_eq!(pieces.next().await, None);
    assert!(here.asked().is_empty());
    laptop.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_goes_away_takes_the_request_back_at_the_other_node() {
    let bytes = 2 * MESH_MODEL_WINDOW_BYTES;
    let long = vec![Step::Say("x".repeat(bytes)), Step::Wait];
    let server = Server::start([long]).await;
    let (hub, laptop) = pair(&server, |_| {}).await;
    let (inference, about) = (&laptop.shared().inference, About::public());
    let wanted = named("ollama/x");
    let (_, mut pieces) = inference.ask_of(&wanted, question(), &about).await;
    // More than a window passes where it is read.
    let mut heard = 0;
    while heard < bytes {
        let Some(Ok(Piece::Text(text))) = pieces.next().await else {
            panic!("{heard} of {bytes} bytes came");
        };
        heard += text.len();
    }
    assert_eq!(server.open(), 1);
    drop(pieces);
    let_go(&server, &hub).await;
    assert!(laptop.shared().links.get(&hub.id()).is_some());
    laptop.stop().await;
    hub.stop().await;
}

/// Asks a gen-1 node that this node has dialed, which answers with these events and this payload.
async fn of_gen1(events: Vec<Value>, payload: Value) -> Result<Whole, Failure> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let device = key(9);
    let mut setup = centre().trusting(key(9), "read, relay");
    setup.raw.peers = vec![format!("{}=ws://127.0.0.1:{port}||local", device.id())];
    // What is asked before the link is whole the listener does not answer.
    let (tell, welcomed) = tokio::sync::oneshot::channel();
    let there = tokio::spawn(async move {
        let mut socket = welcome_with(&listener, &device, &["llm:fake/model"]).await;
        tell.send(()).unwrap();
        while let Some(request) = receive(&mut socket).await {
            if request["method"] != "llm.infer" {
                continue;
            }
            assert_eq!(request["params"]["model"], "fake/model");
            assert!(request["params"].get("schema").is_none());
            let id = request["params"]["requestId"].clone();
            let events = events.iter().map(|event| {
                let mut event = event.clone();
                event["requestId"] = id.clone();
                json!({"type": "event", "event": "llm.chunk", "payload": event})
            });
            let mut payload = payload.clone();
            payload["requestId"] = id.clone();
            let answer =
                json!({"type": "res", "id": request["id"], "ok": true, "payload": payload});
            for message in events.chain([answer]).collect::<Vec<_>>() {
                socket.send(Frame::text(message.to_string())).await.unwrap();
            }
        }
    });
    let node = setup.start().await;
    until("the gen-1 node offers its model", || async {
        (!node.shared().inference.elsewhere().is_empty()).then_some(())
    })
    .await;
    welcomed.await.unwrap();
    let (_, told) = whole(&node, &named("fake/model")).await;
    node.stop().await;
    there.await.unwrap();
    told
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gen1_node_that_was_dialed_serves_its_model() {
    let chunks = vec![
        json!({"seq": 0, "delta": "mesh"}),
        json!({"seq": 1, "delta": "-ok"}),
    ];
    let usage = json!({"inputTokens": 1, "outputTokens": 2});
    let told = of_gen1(chunks, json!({"finishReason": "stop", "usage": usage})).await;
    assert_eq!(told.unwrap().text, "mesh-ok");
    let gap = vec![
        json!({"seq": 0, "delta": "a"}),
        json!({"seq": 2, "delta": "c"}),
    ];
    let told = of_gen1(gap, json!({"finishReason": "stop"})).await;
    assert_eq!(told.unwrap_err().kind, FailureKind::BadReply);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gen1_node_that_dialed_this_one_is_not_asked() {
    let node = centre().trusting(key(2), "read").start().await;
    let mut probe = Probe::open(node.address).await;
    let hello = probe
        .handshake(&key(2), MESH, |params| {
            params.insert("capabilities".into(), json!(["llm:fake/model"]));
        })
        .await;
    assert_eq!(hello["ok"], true, "{hello}");
    until("it is linked", || async {
        node.shared().links.get(key(2).id())
    })
    .await;
    assert!(node.shared().inference.elsewhere().is_empty());
    let (_, told) = whole(&node, &named("fake/model")).await;
    assert_eq!(told.unwrap_err().kind, FailureKind::NoModel);
    node.stop().await;
}
