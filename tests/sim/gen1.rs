//! A gen-1 node as the protocol folder describes it: no features, no signatures, a hundred messages a
//! minute on links it accepted, no answers on links it dialed, gossip of three hops, one
//! `context.sync` for each link it dials. It dies of a frame that lacks what it needs.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use clawmesh::adapters::transport::{Doorway, Received};
use clawmesh::domain::wire::{Message, Reply};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::liar::fresh;
use crate::line::{Line, Speaker, say};
use crate::network::Host;
use crate::rng::Rng;
use crate::truth::Truth;
use crate::world::VALVE;

/// Messages a minute that it takes on a link it accepted (gen-1 as found §4).
const INBOUND_PER_MINUTE: usize = 100;
/// Hops after which it passes nothing on.
const HOPS_MAX: u64 = 3;
/// How often it measures.
const MEASURE_EVERY: Duration = Duration::from_secs(10);

/// See the module.
pub struct Gen1 {
    by: Speaker,
    truth: Arc<Mutex<Truth>>,
    state: Mutex<State>,
    rng: Rng,
    /// It makes nothing more of its own.
    pub quiet: AtomicBool,
    pub stop: CancellationToken,
    serial: AtomicU64,
}

/// A link of it, while it is up.
struct Session {
    peer: usize,
    /// A node dialed it.
    accepted: bool,
    since_ms: u64,
    out: mpsc::Sender<String>,
}

#[derive(Default)]
struct State {
    /// Every frame it holds, in the order they came.
    log: Vec<Value>,
    seen: BTreeSet<String>,
    /// What each node told it of a frame's tier: the node, the frame, the tier's name.
    told: BTreeMap<(usize, String), String>,
    sessions: BTreeMap<u64, Session>,
}

impl Gen1 {
    pub fn start(
        by: Speaker,
        dials: Option<usize>,
        rng: Rng,
        truth: Arc<Mutex<Truth>>,
    ) -> Arc<Self> {
        let gen1 = Arc::new(Gen1 {
            by,
            truth,
            state: Mutex::default(),
            rng,
            quiet: AtomicBool::new(false),
            stop: CancellationToken::new(),
            serial: AtomicU64::new(0),
        });
        tokio::spawn(gen1.clone().listen());
        tokio::spawn(gen1.clone().measure());
        if let Some(to) = dials {
            tokio::spawn(gen1.clone().dial(to));
        }
        gen1
    }

    async fn listen(self: Arc<Self>) {
        let (sockets, mut incoming) = mpsc::channel(64);
        let host = Host {
            device: self.by.key.id().clone(),
            plain: true,
            doorway: Doorway::new(64, Duration::from_secs(10)),
            sockets,
            stop: self.stop.clone(),
        };
        self.by.net.listen(self.by.at, host);
        while let Some(one) = incoming.recv().await {
            let gen1 = self.clone();
            tokio::spawn(async move {
                if let Some(line) = gen1.by.welcome(one).await {
                    gen1.session(line, true).await;
                }
            });
        }
    }

    async fn dial(self: Arc<Self>, to: usize) {
        while !self.stop.is_cancelled() {
            if let Some(line) = self.by.dial(to).await {
                self.session(line, false).await;
            }
            tokio::time::sleep(Duration::from_secs(2)).await;
        }
    }

    async fn session(&self, mut line: Line, accepted: bool) {
        let serial = self.serial.fetch_add(1, Ordering::Relaxed);
        let (out, mut waiting) = mpsc::channel(1_000);
        let session = Session {
            peer: line.peer,
            accepted,
            since_ms: self.by.net.trace.now_ms(),
            out,
        };
        self.state.lock().unwrap().sessions.insert(serial, session);
        if !accepted {
            let params = json!({"since": self.by.now().0 - 3_600_000, "limit": 50});
            let ask = Message::request("sync", "context.sync", &params);
            say(&mut line.writer, ask).await;
        }
        let mut minute: VecDeque<u64> = VecDeque::new();
        loop {
            let text = tokio::select! {
                biased;
                () = self.stop.cancelled() => break,
                got = line.reader.recv() => match got {
                    Ok(Received::Text(text)) => text,
                    Ok(Received::TooLarge { .. }) => continue,
                    _ => break,
                },
                out = waiting.recv() => {
                    let Some(text) = out else { break };
                    if say(&mut line.writer, text).await.is_none() { break }
                    continue;
                }
            };
            let now = self.by.net.trace.now_ms();
            minute.retain(|at| now - at < 60_000);
            if accepted && minute.len() >= INBOUND_PER_MINUTE {
                let mut truth = self.truth.lock().unwrap();
                truth.wronged.push(format!(
                    "GEN1: n{} sent more than {INBOUND_PER_MINUTE} messages a minute at {now}",
                    line.peer
                ));
                continue;
            }
            minute.push_back(now);
            if let Some(reply) = self.hear(&line, serial, accepted, &text)
                && say(&mut line.writer, reply).await.is_none()
            {
                break;
            }
        }
        self.state.lock().unwrap().sessions.remove(&serial);
    }

    fn hear(&self, line: &Line, serial: u64, accepted: bool, text: &str) -> Option<String> {
        match Message::parse(text) {
            Ok(Message::Event { event, payload }) if event == "context.frame" => {
                self.take(line, Some(serial), payload);
                None
            }
            Ok(Message::Event { event, .. }) => {
                if [
                    "context.frames",
                    "proposal.update",
                    "records.page",
                    "link.credit",
                ]
                .contains(&event.as_str())
                {
                    let mut truth = self.truth.lock().unwrap();
                    truth.wronged.push(format!("GEN1: was told {event}"));
                }
                None
            }
            // On a link it dialed it answers nobody.
            Ok(Message::Request { id, method, params }) => {
                accepted.then(|| self.answer(&method, &params).to_text(&id))
            }
            Ok(Message::Response { id, result }) => {
                if id == "sync"
                    && let Ok(answer) = &result
                    && let Some(list) = answer["frames"].as_array()
                {
                    for frame in list {
                        // What is synced is not passed on.
                        self.take(line, None, frame.clone());
                    }
                }
                if id == "act" && result.is_ok() {
                    let mut truth = self.truth.lock().unwrap();
                    truth
                        .wronged
                        .push(format!("GEN1: n{} obeyed a command", line.peer));
                }
                None
            }
            Err(_) => None,
        }
    }

    fn answer(&self, method: &str, params: &serde_json::Map<String, Value>) -> Reply {
        match method {
            "mesh.health" | "mesh.status" => Reply::Ok(json!({"status": "healthy"})),
            "context.sync" => {
                let since = params.get("since").and_then(Value::as_u64).unwrap_or(0);
                let limit = params.get("limit").and_then(Value::as_u64).unwrap_or(100);
                let state = self.state.lock().unwrap();
                let newest = state.log.iter().rev().take(500);
                let fitting = newest.filter(|f| f["timestamp"].as_u64().unwrap_or(0) > since);
                let limit = usize::try_from(limit).unwrap();
                let frames: Vec<Value> = fitting.take(limit).cloned().collect();
                Reply::Ok(
                    json!({"totalAvailable": frames.len(), "frames": frames, "peerTimestamp": self.by.now()}),
                )
            }
            _ => {
                let why = format!("Unknown method: {method}");
                let code = clawmesh::domain::base::Code::UnknownMethod;
                clawmesh::domain::base::Refusal::new(code, why).into()
            }
        }
    }

    /// Takes a frame in and passes it on.
    fn take(&self, line: &Line, from: Option<u64>, frame: Value) {
        let id = frame["frameId"].as_str().unwrap_or_default().to_owned();
        if !frame["data"].is_object() || !frame["trust"].is_object() || id.is_empty() {
            let mut truth = self.truth.lock().unwrap();
            truth.wronged.push(format!(
                "GEN1: n{} sent a frame to die of: {frame}",
                line.peer
            ));
            return;
        }
        let mut state = self.state.lock().unwrap();
        let tier = frame["trust"]["evidence_trust_tier"]
            .as_str()
            .unwrap_or_default();
        state.told.insert((line.peer, id.clone()), tier.to_owned());
        if frame["sourceDeviceId"] == json!(self.by.key.id()) || !state.seen.insert(id) {
            return;
        }
        state.log.push(frame.clone());
        let hops = frame["hops"].as_u64().unwrap_or(0);
        if let Some(from) = from.filter(|_| hops < HOPS_MAX) {
            let mut on = frame;
            on["hops"] = json!(hops + 1);
            self.tell(&state, &Message::event("context.frame", &on), Some(from));
        }
    }

    fn tell(&self, state: &State, text: &str, except: Option<u64>) {
        for (serial, session) in &state.sessions {
            if Some(*serial) != except {
                drop(session.out.try_send(text.to_owned()));
            }
        }
    }

    /// Says something of its own now and then: readings, persons, models, and commands.
    async fn measure(self: Arc<Self>) {
        while !self.stop.is_cancelled() {
            let (kind, source, tier) = [
                ("observation", "sensor", "T2_operational_observation"),
                ("observation", "sensor", "T2_operational_observation"),
                ("observation", "sensor", "T3_verified_action_evidence"),
                ("human_input", "human", "T3_verified_action_evidence"),
                ("inference", "llm", "T0_planning_inference"),
                ("inference", "sensor", "T2_operational_observation"),
            ][self.rng.index(6)];
            let frame = json!({
                "gen": 1, "kind": kind, "frameId": fresh(&self.rng).to_string(),
                "sourceDeviceId": self.by.key.id(), "timestamp": self.by.now(), "hops": 0,
                "data": {"metric": "moisture", "zone": "zone-9", "value": self.rng.below(100), "unit": "%"},
                "trust": {"evidence_sources": [source], "evidence_trust_tier": tier},
            });
            // Somebody sees it on its way before it arrives.
            self.truth.lock().unwrap().upcoming = Some(frame.clone());
            tokio::time::sleep(MEASURE_EVERY).await;
            if self.quiet.load(Ordering::Relaxed) {
                continue;
            }
            let mut state = self.state.lock().unwrap();
            state
                .seen
                .insert(frame["frameId"].as_str().unwrap().to_owned());
            state.log.push(frame.clone());
            self.tell(&state, &Message::event("context.frame", &frame), None);
            if self.rng.chance(40) {
                let text = self.command();
                for session in state.sessions.values().filter(|s| !s.accepted) {
                    drop(session.out.try_send(text.clone()));
                }
            }
        }
    }

    /// What a gen-1 planner sends after it has approved its own wish.
    fn command(&self) -> String {
        let own = self.by.key.id();
        let trust = json!({
            "action_type": "actuation", "evidence_sources": ["sensor", "human"],
            "evidence_trust_tier": "T3_verified_action_evidence",
            "minimum_trust_tier": "T2_operational_observation",
            "verification_required": "human", "verification_satisfied": true, "approved_by": ["operator"],
        });
        let command = json!({
            "version": 1, "kind": "clawmesh.command", "commandId": fresh(&self.rng).to_string(),
            "createdAtMs": self.by.now(), "source": {"nodeId": own, "role": "planner"},
            "target": {"kind": "capability", "ref": VALVE},
            "operation": {"name": "open", "params": {"durationSec": 1 + self.rng.below(20)}}, "trust": trust,
        });
        let params = json!({
            "channel": "clawmesh", "to": VALVE, "originGatewayId": own, "command": command,
        });
        Message::request("act", "mesh.message.forward", &params)
    }

    /// Whether it holds a frame.
    pub fn holds(&self, id: &str) -> bool {
        self.state.lock().unwrap().seen.contains(id)
    }

    /// What nodes told it of the tiers of frames.
    pub fn told(&self) -> BTreeMap<(usize, String), String> {
        self.state.lock().unwrap().told.clone()
    }

    /// The ids of the frames it made itself.
    pub fn own(&self) -> Vec<String> {
        let state = self.state.lock().unwrap();
        let own = json!(self.by.key.id());
        let mine = state.log.iter().filter(|f| f["sourceDeviceId"] == own);
        mine.filter_map(|f| f["frameId"].as_str().map(str::to_owned))
            .collect()
    }

    /// Its links: the node, since when, and whether that node dialed.
    pub fn links(&self) -> Vec<(usize, u64, bool)> {
        let state = self.state.lock().unwrap();
        state
            .sessions
            .values()
            .map(|s| (s.peer, s.since_ms, s.accepted))
            .collect()
    }
}
