//! An actuator of a gen-1 node: told once after a person's approval, never without one, and believed no
//! further than that it accepted.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use clawmesh::adapters::clock::{Clock as _, SystemClock};
use clawmesh::adapters::store::proposals as rows;
use clawmesh::domain::base::{Code, MeshId};
use clawmesh::domain::gate::approval::Verdict;
use clawmesh::domain::identity::DeviceKey;
use clawmesh::domain::plan::Draft;
use clawmesh::domain::policy::Requester;
use clawmesh::domain::proposal::{Outcome, Status};
use clawmesh::domain::wire::handshake::Introduction;
use clawmesh::node::RawConfig;
use clawmesh::node::context::alarms::AlarmKind;
use clawmesh::node::proposals::{self, Minted, Standing};
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_tungstenite::tungstenite::Message;

use crate::harness::*;
use crate::levels::AUTOMATIC;
use crate::main_job::{decision, draft, operator, status};
use crate::process::{Place, eventually};

pub const FAR: &str = "actuator:gen1:valve-1";
const GRANTS: &str = "observe:T2,relay,read";

/// What a gen-1 executor does with a command.
#[derive(Clone)]
pub enum Says {
    Accepts,
    Refuses(&'static str),
    Nothing,
    HangsUp,
}

/// A gen-1 executor that listens, as the device `key(5)`.
#[derive(Clone)]
pub struct Executor {
    pub port: u16,
    told: Arc<Mutex<Vec<Value>>>,
    says: Arc<Mutex<(Says, Says)>>,
    ends: watch::Sender<()>,
    pub away: Arc<AtomicBool>,
    /// What it sends before it answers the way back.
    talk: Arc<Mutex<Vec<Value>>>,
    /// What it was answered.
    answers: Arc<Mutex<Vec<Value>>>,
}

impl Executor {
    pub async fn listen() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let executor = Self {
            port: listener.local_addr().unwrap().port(),
            told: Arc::default(),
            says: Arc::new(Mutex::new((Says::Accepts, Says::Accepts))),
            ends: watch::channel(()).0,
            away: Arc::default(),
            talk: Arc::default(),
            answers: Arc::default(),
        };
        let each = executor.clone();
        tokio::spawn(async move {
            while let Ok((tcp, _)) = listener.accept().await {
                if !each.away.load(Ordering::Relaxed) {
                    tokio::spawn(each.clone().serve(tcp));
                }
            }
        });
        executor
    }

    /// What it says to the start and to the way back.
    pub fn says(&self, open: Says, close: Says) {
        *self.says.lock().unwrap() = (open, close);
    }

    /// Ends every connection.
    pub fn hang_up(&self) {
        self.ends.send_replace(());
    }

    /// What it sends on the link, once, before it answers the next way back.
    pub fn talks(&self, talk: Vec<Value>) {
        *self.talk.lock().unwrap() = talk;
    }

    /// The answers of the node to what it asked.
    pub fn answers(&self) -> Vec<Value> {
        self.answers.lock().unwrap().clone()
    }

    /// The parameters of every command it was told with this operation.
    pub fn told(&self, operation: &str) -> Vec<Value> {
        let told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let named = |p: &&Value| p["command"]["operation"]["name"] == operation;
        told.iter().filter(named).cloned().collect()
    }

    async fn serve(self, tcp: TcpStream) {
        let mut ends = self.ends.subscribe();
        let Ok(mut socket) = tokio_tungstenite::accept_async(tcp).await else {
            return;
        };
        loop {
            let next = tokio::select! {
                next = socket.next() => next,
                _ = ends.changed() => return,
            };
            let request: Value = match next {
                Some(Ok(Message::Text(text))) => serde_json::from_str(&text).unwrap(),
                Some(Ok(_)) => continue,
                _ => return,
            };
            if request["type"] == "res" {
                self.answers.lock().unwrap().push(request);
                continue;
            }
            let params = &request["params"];
            let result = match request["method"].as_str() {
                Some("mesh.challenge") => Ok(json!({"nonce": "server-nonce"})),
                Some("mesh.connect") => Ok(hello_back(&key(5), params)),
                Some("context.sync") => {
                    Ok(json!({"frames": [], "peerTimestamp": 1, "totalAvailable": 0}))
                }
                Some("mesh.message.forward") => {
                    self.told.lock().unwrap().push(params.clone());
                    let (open, close) = self.says.lock().unwrap().clone();
                    let start = params["command"]["operation"]["name"] == "open";
                    let talk = match start {
                        true => Vec::new(),
                        false => std::mem::take(&mut *self.talk.lock().unwrap()),
                    };
                    for said in talk {
                        drop(socket.send(Message::text(said.to_string())).await);
                    }
                    match if start { open } else { close } {
                        Says::Accepts => Ok(json!({"messageId": "m", "channel": "clawmesh"})),
                        Says::Refuses(code) => {
                            Err(json!({"code": code, "message": "no \u{1b}[1m"}))
                        }
                        Says::Nothing => continue,
                        Says::HangsUp => return,
                    }
                }
                _ => continue,
            };
            let answer = match result {
                Ok(payload) => {
                    json!({"type": "res", "id": request["id"], "ok": true, "payload": payload})
                }
                Err(error) => {
                    json!({"type": "res", "id": request["id"], "ok": false, "error": error})
                }
            };
            if socket
                .send(Message::text(answer.to_string()))
                .await
                .is_err()
            {
                return;
            }
        }
    }
}

fn hello_back(key: &DeviceKey, params: &Value) -> Value {
    let introduction = Introduction {
        display_name: "gen1".into(),
        capabilities: vec!["actuator:mock".into()],
        mesh_id: MeshId::of_name(MESH),
        role: "field".into(),
    };
    let nonce = params["clientNonce"].as_str().unwrap();
    let mut reply = introduction.sign(key, nonce, None, SystemClock::default().now(), None);
    reply.remove("features");
    Value::Object(reply)
}

/// The executor's valve as an actuator of this node.
fn far_valve(target: &str, timeout_sec: u64) -> String {
    format!(
        "[[actuator]]\ncapability = \"{FAR}\"\ndriver = \"gen1\"\ndevice = \"{}\"\ntarget = \"{target}\"\n\
         safe = \"close\"\ntimeout_sec = {timeout_sec}\n\
         [[actuator.operation]]\nname = \"open\"\n[[actuator.operation]]\nname = \"close\"\n",
        key(5).id()
    )
}

/// Gives the node that actuator, which the gen-1 node calls `target`.
fn with_valve(setup: &mut Setup, target: &str, timeout_sec: u64) {
    let text = far_valve(target, timeout_sec);
    setup.raw.devices = RawConfig::parse(&text, "test").unwrap().devices;
}

fn policy(level: &str) -> String {
    AUTOMATIC
        .replace("actuator:mock:valve-1", FAR)
        .replace("\"L1\"", level)
}

pub fn executor_node(level: &str, port: u16) -> Setup {
    let mut setup = field()
        .with_operator(operator(), "L2")
        .trusting(key(5), GRANTS);
    setup.policy = Some(policy(level));
    with_valve(&mut setup, "actuator:mock:valve-1", 10);
    setup.raw.peers = vec![format!("{}=ws://127.0.0.1:{port}||local", key(5).id())];
    setup
}

/// Waits until the gen-1 node has accepted the way to the safe state.
pub async fn safe(node: &TestNode) {
    let target = FAR.parse().unwrap();
    until("the gen-1 node has accepted the safe state", || async {
        let view = node.shared().guards.view(&target).unwrap();
        (view.safe && !view.running).then_some(())
    })
    .await;
}

pub async fn minted_by(node: &TestNode, requester: Requester, seconds: i64) -> Minted {
    let mut wish = draft(node.shared(), seconds).await;
    wish.action.target = FAR.parse().unwrap();
    let wish = Draft { requester, ..wish };
    proposals::mint(node.shared(), wish, node.shared().own_id())
        .await
        .unwrap()
}

pub async fn approve(node: &TestNode, minted: &Minted) -> Result<Standing, Code> {
    let signed = decision(node.shared(), &minted.signed, &operator(), Verdict::Approve);
    let done = proposals::decide(node.shared(), signed).await;
    done.map_err(|refusal| refusal.code)
}

pub async fn outcome(node: &TestNode, minted: &Minted) -> Outcome {
    let id = minted.signed.record().proposal_id.clone();
    until("there is an outcome", || async {
        let id = id.clone();
        let row = node.shared().store.read("t", move |c| rows::get(c, &id));
        let row = row.await.unwrap().unwrap();
        row.outcome.map(|text| serde_json::from_str(&text).unwrap())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_person_approved_is_said_once_with_what_stands_behind_it() {
    let gen1 = Executor::listen().await;
    let node = executor_node("\"L2\"", gen1.port).start().await;
    safe(&node).await;
    assert_eq!(gen1.told("open"), [json!(null); 0]);
    let minted = minted_by(&node, Requester::Person, 1).await;
    let record = minted.signed.record();
    let told = record.gen1.as_ref().unwrap();
    assert_eq!(told.device_id, *key(5).id());
    assert_eq!(
        told.action.summary(),
        "open actuator:mock:valve-1 (durationSec 1)"
    );
    let before = gen1.told("close").len();
    approve(&node, &minted).await.unwrap();
    let outcome = outcome(&node, &minted).await;
    assert_eq!(outcome.status, Status::Completed, "{outcome:?}");
    assert!(
        outcome.detail.contains("accepted open") && outcome.detail.contains("it does not say"),
        "{outcome:?}"
    );
    assert_eq!(outcome.actuator_state.as_deref(), Some("close accepted"));
    // Its deadline closed it.
    assert_eq!(gen1.told("close").len(), before + 1);
    let opens = gen1.told("open");
    assert_eq!(opens.len(), 1, "{opens:?}");
    let id = json!(record.proposal_id);
    let trust = &opens[0]["command"]["trust"];
    assert_eq!(
        *trust,
        json!({
            "action_type": "actuation", "evidence_sources": ["sensor", "human"],
            "evidence_trust_tier": "T2_operational_observation",
            "minimum_trust_tier": "T2_operational_observation",
            "verification_required": "human", "verification_satisfied": true,
            "approved_by": trust["approved_by"],
        })
    );
    assert!(
        trust["approved_by"][0].as_str().unwrap().starts_with("ada"),
        "{trust}"
    );
    let said = &opens[0];
    assert_eq!(said["trust"], *trust);
    assert_eq!(
        (
            &said["to"],
            &said["idempotencyKey"],
            &said["originGatewayId"]
        ),
        (&json!("actuator:mock:valve-1"), &id, &json!(node.id()))
    );
    let command = &said["command"];
    assert_eq!(
        (
            &command["commandId"],
            &command["target"],
            &command["operation"]
        ),
        (
            &id,
            &json!({"kind": "capability", "ref": "actuator:mock:valve-1"}),
            &json!({"name": "open", "params": {"durationSec": 1}})
        )
    );
    // Nobody is said to have approved the way back.
    for close in gen1.told("close") {
        assert_eq!(close["trust"]["verification_required"], "none", "{close}");
        assert_eq!(close["trust"].get("approved_by"), None, "{close}");
        assert_ne!(close["command"]["commandId"], id);
    }
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_rule_makes_a_gen1_node_act_without_a_person() {
    let gen1 = Executor::listen().await;
    let node = executor_node("\"L1\"", gen1.port).start().await;
    safe(&node).await;
    for (requester, seconds) in [(Requester::Rules, 1), (Requester::Llm, 2)] {
        let minted = minted_by(&node, requester, seconds).await;
        assert_eq!(minted.status, Status::AwaitingApproval, "{requester}");
        assert_eq!(minted.signed.record().level.to_string(), "L2");
        assert_eq!(
            status(node.shared(), &minted).await,
            Status::AwaitingApproval
        );
    }
    assert_eq!(gen1.told("open"), [json!(null); 0]);
    let found = node.shared().policy.current();
    let found = found.findings(&node.shared().guards.offered());
    assert!(
        found
            .iter()
            .any(|f| f.message.contains("a person must approve")),
        "{found:?}"
    );
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_is_told_with_its_code_and_the_way_back_is_taken_all_the_same() {
    let gen1 = Executor::listen().await;
    let node = executor_node("\"L2\"", gen1.port).start().await;
    safe(&node).await;
    gen1.says(Says::Refuses("INSUFFICIENT_TRUST_TIER"), Says::Accepts);
    let before = gen1.told("close").len();
    let minted = minted_by(&node, Requester::Person, 5).await;
    approve(&node, &minted).await.unwrap();
    let outcome = outcome(&node, &minted).await;
    assert_eq!(outcome.status, Status::Failed, "{outcome:?}");
    assert!(
        outcome
            .detail
            .contains("refused: INSUFFICIENT_TRUST_TIER: no [1m"),
        "{outcome:?}"
    );
    assert_eq!(gen1.told("open").len(), 1);
    assert_eq!(gen1.told("close").len(), before + 1);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_an_answer_the_outcome_is_unknown_and_the_way_back_is_pursued() {
    for start in [Says::Nothing, Says::HangsUp] {
        let gen1 = Executor::listen().await;
        let mut setup = executor_node("\"L2\"", gen1.port);
        with_valve(&mut setup, "actuator:mock:valve-1", 1);
        let node = setup.start().await;
        safe(&node).await;
        gen1.says(start, Says::Nothing);
        let before = gen1.told("close").len();
        let minted = minted_by(&node, Requester::Person, 5).await;
        approve(&node, &minted).await.unwrap();
        until("it is alarming that it is not safe", || async {
            let alarms = node.shared().alarms.list();
            let about = |k| alarms.iter().any(|a| a.kind == k && a.subject == FAR);
            about(AlarmKind::ActuatorUnsafe).then_some(())
        })
        .await;
        gen1.says(Says::Accepts, Says::Accepts);
        let outcome = outcome(&node, &minted).await;
        assert_eq!(outcome.status, Status::Unknown, "{outcome:?}");
        assert!(
            outcome.detail.contains("may or may not have acted"),
            "{outcome:?}"
        );
        safe(&node).await;
        let about =
            |a: &clawmesh::node::context::alarms::Alarm| a.kind == AlarmKind::ActuatorUnsafe;
        assert!(!node.shared().alarms.list().iter().any(about));
        assert!(gen1.told("close").len() > before + 1, "it was said again");
        assert_eq!(gen1.told("open").len(), 1, "it was not");
        node.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_before_the_answer_takes_the_way_back_and_leaves_the_start_unknown() {
    let gen1 = Executor::listen().await;
    let mut setup = executor_node("\"L2\"", gen1.port);
    with_valve(&mut setup, "actuator:mock:valve-1", 60);
    let node = setup.start().await;
    safe(&node).await;
    gen1.says(Says::Nothing, Says::Accepts);
    let minted = minted_by(&node, Requester::Person, 5).await;
    approve(&node, &minted).await.unwrap();
    until("the start was said", || async {
        (!gen1.told("open").is_empty()).then_some(())
    })
    .await;
    let id = minted.signed.record().proposal_id.as_str().to_owned();
    let stopped = proposals::stop(node.shared(), &id, "ada").await.unwrap();
    assert!(
        stopped.safe && stopped.detail.contains("has accepted the way"),
        "{stopped:?}"
    );
    let outcome = outcome(&node, &minted).await;
    assert_eq!(outcome.status, Status::Unknown, "{outcome:?}");
    assert!(
        outcome.detail.contains("ada stopped it") && outcome.detail.contains("accepted close"),
        "{outcome:?}"
    );
    assert_eq!(gen1.told("open").len(), 1);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_said_where_the_gen1_node_cannot_be_told_for_certain() {
    let gen1 = Executor::listen().await;
    let node = executor_node("\"L2\"", gen1.port).start().await;
    safe(&node).await;
    let minted = minted_by(&node, Requester::Person, 1).await;
    let waits = async || {
        assert_eq!(
            approve(&node, &minted).await,
            Err(Code::ExecutorUnreachable)
        );
        let still = status(node.shared(), &minted).await;
        assert_eq!(still, Status::AwaitingApproval);
        assert_eq!(gen1.told("open"), [json!(null); 0]);
    };
    gen1.away.store(true, Ordering::Relaxed);
    gen1.hang_up();
    until("it is gone", || async {
        node.shared().links.get(key(5).id()).is_none().then_some(())
    })
    .await;
    waits().await;
    // It dials us: proven as well, but it would answer nothing.
    let mut dialer = Probe::open(node.address).await;
    let welcome = dialer
        .handshake(&key(5), MESH, |params| drop(params.remove("features")))
        .await;
    assert_eq!(welcome["ok"], true, "{welcome}");
    waits().await;
    let checks = proposals::checks::own(node.shared(), minted.signed.record().proposal_id.clone());
    let checks = checks.await.unwrap();
    assert!(!checks.allowed && checks.message.unwrap().contains("dialed this node"));
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_our_own_kind_or_another_device_than_agreed_is_not_told() {
    let gen1 = Executor::listen().await;
    let dir = Arc::new(tempfile::tempdir().unwrap());
    let node = executor_node("\"L2\"", gen1.port)
        .start_in(dir, Some(9))
        .await;
    safe(&node).await;
    let minted = minted_by(&node, Requester::Person, 1).await;
    // The device turns out to be of our own kind.
    trust_again(&node, clawmesh::domain::admission::Generation::Clawmesh).await;
    assert_eq!(approve(&node, &minted).await, Err(Code::WrongExecutor));
    trust_again(&node, clawmesh::domain::admission::Generation::Gen1).await;
    // The configuration names another target after a restart than the person agrees to: what waited has ended.
    let dir = node.stop().await;
    let mut setup = executor_node("\"L2\"", gen1.port);
    with_valve(&mut setup, "actuator:mock:valve-2", 10);
    setup.trusts.clear();
    setup.operator = None;
    let node = setup.start_in(dir, Some(9)).await;
    safe(&node).await;
    assert_eq!(approve(&node, &minted).await, Err(Code::ProposalNotWaiting));
    assert_eq!(gen1.told("open"), [json!(null); 0]);
    node.stop().await;
}

pub async fn trust_again(node: &TestNode, generation: clawmesh::domain::admission::Generation) {
    let shared = node.shared();
    let mut record = shared.trust.live(key(5).id()).unwrap();
    record.generation = Some(generation);
    let write = move |c: &rusqlite::Connection| clawmesh::adapters::store::trust::put(c, &record);
    let class = clawmesh::adapters::store::Class::Durable;
    shared.store.write(class, "test", write).await.unwrap();
    shared.trust.reload(&shared.store).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_is_never_said_twice_and_the_way_back_outlives_a_crash() {
    let gen1 = Executor::listen().await;
    let place = Place::new();
    let device = key(5);
    let config = format!(
        "peers = [\"{}=ws://127.0.0.1:{}||local\"]\n{}",
        device.id(),
        gen1.port,
        far_valve("actuator:mock:valve-1", 10),
    );
    place.write("config.toml", &config);
    place.write("policy.toml", &policy("\"L2\""));
    let (saw, what) = (gen1.clone(), place);
    // The commands of the program wait; they do so off the runtime.
    tokio::task::spawn_blocking(move || crashes(&saw, &what))
        .await
        .unwrap();
}

fn crashes(gen1: &Executor, place: &Place) {
    place.json(&["trust", "add", key(5).id().as_str(), "--as", "gen1"]);
    let run = place.field(&[]);
    place.enrolled();
    eventually("the gen-1 node was told the safe state", || {
        (!gen1.told("close").is_empty()).then_some(())
    });
    gen1.says(Says::Nothing, Says::Nothing);
    let cite = eventually("there is a moisture reading", || {
        let world = place.json(&["world"]);
        let facts = world.as_array().unwrap().clone();
        let moist = facts.into_iter().find(|f| f["metric"] == "moisture")?;
        Some(moist["frameId"].as_str().unwrap().to_owned())
    });
    let asked = [
        "propose",
        FAR,
        "open",
        "durationSec=5",
        "--reason",
        "dry",
        "--cite",
        &cite,
    ];
    let draft = place.json(&asked);
    let id = draft["proposalId"].as_str().unwrap().to_owned();
    let shown = place.run(&["show", &id]);
    assert!(
        shown.out.contains("does not check who approved")
            && shown.out.contains(key(5).id().as_str()),
        "{shown:?}"
    );
    let approved = place.run(&["approve", &id]);
    assert_eq!(approved.code, 0, "{approved:?}");
    eventually("the start was said", || {
        (!gen1.told("open").is_empty()).then_some(())
    });
    let before = gen1.told("close").len();
    run.kill();
    let run = place.field(&[]);
    // What is known to be open needs no failed attempt to be told.
    let alarms = crate::crash::critical_alarms(place);
    let open = |a: &Value| a["kind"] == "actuator.unsafe" && a["subject"] == FAR;
    assert!(alarms.iter().any(open), "{alarms:?}");
    place.await_status(&id, &["unknown"]);
    eventually("the way back is said after the crash", || {
        (gen1.told("close").len() > before).then_some(())
    });
    gen1.says(Says::Accepts, Says::Accepts);
    let before = gen1.told("close").len();
    gen1.hang_up();
    eventually("it is said again over the next link", || {
        (gen1.told("close").len() > before).then_some(())
    });
    assert_eq!(gen1.told("open").len(), 1);
    assert_eq!(run.stop(), 0);
}
