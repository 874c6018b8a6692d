//! A peer that lies: a trusted device with a real handshake, which then says whatever might do harm.
//!
//! It dials nodes and is dialed by one, and each of its links has a mood: loud ones attack every
//! moment, deaf ones take a link and never read again, endless ones keep a reconciliation going for
//! ever. What it lies about is in [`lies`]; here is how it lives.

mod floods;
mod lies;

pub use lies::fresh;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use clawmesh::adapters::transport::{Doorway, Received};
use clawmesh::domain::base::{Digest, FrameId, TimeMs};
use clawmesh::domain::identity::OperatorKey;
use clawmesh::domain::sync::{self, FrameKey, Initiator, KeySet, Keyed};
use clawmesh::domain::wire::{Message, Reply};
use serde_json::{Map, Value, json};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::line::{Line, Speaker, say};
use crate::network::Host;
use crate::rng::Rng;
use crate::truth::Truth;
use crate::world::{Plan, people};

/// Frames of others that it keeps to misuse them.
const MEMORY: usize = 200;

/// See the module.
pub struct Liar {
    by: Speaker,
    plan: Plan,
    truth: Arc<Mutex<Truth>>,
    known: Mutex<Known>,
    /// Keys of persons that came into its hands.
    keys: [OperatorKey; 3],
    pub stop: CancellationToken,
    /// It says nothing more.
    pub quiet: AtomicBool,
    /// It lets nobody act any more: what persons signed and it kept would still count.
    pub idle: AtomicBool,
}

/// What it has heard and may use.
#[derive(Default)]
struct Known {
    frames: BTreeMap<String, Value>,
    updates: BTreeMap<String, Value>,
    /// The other content of frames it has sent already.
    twins: Vec<Value>,
    drafts: Vec<Value>,
    /// A frame of a device that nobody knows, told without its signature so far.
    unknown: Option<Value>,
}

#[derive(Clone, Copy, PartialEq)]
enum Mood {
    Loud,
    Deaf,
    Endless,
}

impl Liar {
    pub fn start(by: Speaker, plan: Plan, rng: Rng, truth: Arc<Mutex<Truth>>) -> Arc<Liar> {
        let key = |n: usize| OperatorKey::from_seed(&[200 + u8::try_from(n).unwrap(); 32]);
        let liar = Arc::new(Liar {
            by,
            plan,
            truth,
            known: Mutex::default(),
            keys: [people::REVOKED, people::JUNIOR, people::STRANGER].map(key),
            stop: CancellationToken::new(),
            quiet: AtomicBool::new(false),
            idle: AtomicBool::new(false),
        });
        tokio::spawn(liar.clone().listen(rng.fork()));
        tokio::spawn(liar.clone().roam(rng.fork()));
        liar
    }

    async fn listen(self: Arc<Self>, rng: Rng) {
        let (sockets, mut incoming) = mpsc::channel(64);
        let host = Host {
            device: self.by.key.id().clone(),
            plain: false,
            doorway: Doorway::new(64, Duration::from_secs(10)),
            sockets,
            stop: self.stop.clone(),
        };
        self.by.net.listen(self.by.at, host);
        while let Some(one) = incoming.recv().await {
            let (liar, rng) = (self.clone(), rng.fork());
            tokio::spawn(async move {
                // Some of the links it uses to become who dials it, at another node.
                if !liar.quiet.load(Ordering::Relaxed) && rng.chance(30) {
                    liar.truth.lock().unwrap().lie("relayed handshake");
                    let to = rng.index(liar.plan.nodes);
                    if let Some(who) = liar.by.relay(one, to, rng.chance(50)).await {
                        let what = format!("RELAY: n{to} took the liar for n{who}");
                        liar.truth.lock().unwrap().wronged.push(what);
                    }
                    return;
                }
                if let Some(line) = liar.by.welcome(one).await {
                    liar.session(line, rng).await;
                }
            });
        }
    }

    /// Dials one node after the other.
    async fn roam(self: Arc<Self>, rng: Rng) {
        while !self.stop.is_cancelled() {
            if !self.quiet.load(Ordering::Relaxed)
                && let Some(line) = self.by.dial(rng.index(self.plan.nodes)).await
            {
                tokio::spawn(self.clone().session(line, rng.fork()));
            }
            tokio::time::sleep(Duration::from_millis(4_000 + rng.below(14_000))).await;
        }
    }

    async fn session(self: Arc<Self>, mut line: Line, rng: Rng) {
        let mood = [
            Mood::Loud,
            Mood::Loud,
            Mood::Loud,
            Mood::Deaf,
            Mood::Endless,
        ][rng.index(5)];
        let until = tokio::time::Instant::now() + Duration::from_secs(10 + rng.below(60));
        if mood == Mood::Deaf {
            self.truth.lock().unwrap().lie("deaf link");
            return self.deaf(line).await;
        }
        let mut next = tokio::time::Instant::now();
        loop {
            let texts = tokio::select! {
                biased;
                () = self.stop.cancelled() => return,
                got = line.reader.recv() => match got {
                    Ok(Received::Text(text)) => self.hear(&rng, mood, &text),
                    Ok(Received::TooLarge { .. }) => Vec::new(),
                    _ => return,
                },
                () = tokio::time::sleep_until(next) => {
                    if next > until {
                        return;
                    }
                    next += Duration::from_millis(300 + rng.below(2_000));
                    match (self.quiet.load(Ordering::Relaxed), mood) {
                        (true, _) => Vec::new(),
                        (_, Mood::Endless) => self.never_ending(&rng),
                        _ => self.lie(&rng, line.peer),
                    }
                }
            };
            for text in texts {
                if say(&mut line.writer, text).await.is_none() {
                    return;
                }
            }
        }
    }

    /// Gives credit as if it read, and never reads.
    async fn deaf(&self, mut line: Line) {
        let text = Message::event("link.credit", &json!({"kib": 1}));
        while !self.stop.is_cancelled() && say(&mut line.writer, text.clone()).await.is_some() {
            tokio::time::sleep(Duration::from_secs(7)).await;
        }
    }

    /// Remembers what it hears, and answers what it is asked.
    fn hear(&self, rng: &Rng, mood: Mood, text: &str) -> Vec<String> {
        match Message::parse(text) {
            Ok(Message::Request { id, method, params }) => {
                let answer = self.answer(rng, mood, &method, &params);
                answer.map(|a| a.to_text(&id)).into_iter().collect()
            }
            Ok(Message::Event { event, payload }) => {
                let mut known = self.known.lock().unwrap();
                if event == "context.frames"
                    && let Some(list) = payload["frames"].as_array()
                {
                    for frame in list {
                        if let Some(id) = frame["frameId"].as_str() {
                            known.frames.insert(id.to_owned(), frame.clone());
                        }
                    }
                    while known.frames.len() > MEMORY {
                        known.frames.pop_first();
                    }
                } else if event == "proposal.update"
                    && let Some(id) = payload["record"]["proposalId"].as_str()
                {
                    known.updates.insert(id.to_owned(), payload.clone());
                }
                Vec::new()
            }
            _ => Vec::new(),
        }
    }

    fn answer(
        &self,
        rng: &Rng,
        mood: Mood,
        method: &str,
        params: &Map<String, Value>,
    ) -> Option<Reply> {
        let payload = match method {
            "mesh.ping" => match rng.below(10) {
                0 => return None,
                1 => json!({"pong": true, "timestamp": u64::MAX}),
                _ => json!({"pong": true, "timestamp": self.by.now()}),
            },
            "reconcile.round" => {
                self.truth.lock().unwrap().lie("false round");
                match if mood == Mood::Endless {
                    0
                } else {
                    rng.below(6)
                } {
                    0 | 1 => {
                        let since = TimeMs(params.get("since")?.as_u64()?);
                        let message = params.get("message")?.as_str()?;
                        let set = made_up(rng, self.by.now());
                        json!({"message": sync::answer(&set, since, message).ok()?})
                    }
                    2 => json!({"message": "AAAA"}),
                    3 => json!({"since": u64::MAX}),
                    4 => json!({"since": self.by.now()}),
                    _ => return None,
                }
            }
            "reconcile.fetch" => match rng.below(3) {
                0 => json!({"sending": 1_000_000}),
                1 => Value::Null,
                _ => return None,
            },
            "proposals.draft" => {
                // It claims a valve that it has no grant to offer.
                let what = "CLAIM: a node sent a wish to the liar";
                self.truth.lock().unwrap().wronged.push(what.to_owned());
                return None;
            }
            "peers.seen" => json!({"connected": true}),
            _ => json!({}),
        };
        Some(Reply::Ok(payload))
    }

    /// Rounds and wishes without end.
    fn never_ending(&self, rng: &Rng) -> Vec<String> {
        self.truth.lock().unwrap().lie("endless rounds");
        let set = made_up(rng, self.by.now());
        let mut texts = Vec::new();
        for n in 0..20 {
            let (_, message) = Initiator::begin(&set, TimeMs(0)).unwrap();
            let params = json!({"since": rng.below(2) * 1_000, "message": message});
            texts.push(Message::request(
                &format!("r{n}"),
                "reconcile.round",
                &params,
            ));
        }
        let keys: Vec<String> = {
            let known = self.known.lock().unwrap();
            let key = |f: &Value| {
                let frame = clawmesh::domain::wire::Frame::parse(f.clone()).ok()?;
                let mesh = clawmesh::domain::base::MeshId::of_name(crate::world::MESH);
                Some(FrameKey::of(&frame.frame_id, &frame.content(&mesh)).to_text())
            };
            known.frames.values().take(20).filter_map(key).collect()
        };
        let many: Vec<&String> = keys.iter().cycle().take(200).collect();
        let wish = json!({"keys": many});
        texts.push(Message::request("f", "reconcile.fetch", &wish));
        texts
    }
}

/// Frames that do not exist.
fn made_up(rng: &Rng, now: TimeMs) -> KeySet {
    let mut set = KeySet::default();
    set.extend((0..60).map(|_| {
        let id: FrameId = format!("none-{}", rng.next()).parse().unwrap();
        let content = Digest::of(&[&rng.next().to_be_bytes()]);
        Keyed {
            at: TimeMs(now.0.saturating_sub(rng.below(60_000))),
            key: FrameKey::of(&id, &content),
        }
    }));
    set
}
