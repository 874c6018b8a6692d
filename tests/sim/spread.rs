//! The broadcast tree on the wire: eight nodes in a full mesh with three liars that are linked with all of them,
//! while pipes break. Each reading reaches all nodes within seconds, long before the next reconciliation.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use clawmesh::adapters::store::{Class, frame_sync};
use clawmesh::adapters::transport::Received;
use clawmesh::domain::base::{EvidenceSource, MeshId, Tier};
use clawmesh::domain::sync::FrameKey;
use clawmesh::domain::wire::frame::FrameSpec;
use clawmesh::domain::wire::{Frame, FrameKind, Message, Reply};
use clawmesh::node::context::alarms::AlarmKind;
use clawmesh::node::{Handles, frame_log};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::line::{Line, Speaker, say};
use crate::world::{MESH, World, device};

const OFFER: &str = "tree.offer";
const ASK: &str = "tree.ask";
const PRUNE: &str = "tree.prune";

const NODES: usize = 8;
/// How long a reading may take to each node, in virtual milliseconds. Reconciliation comes once in 30 to 90 s.
const WITHIN_MS: u64 = 5_000;

#[derive(Clone, Copy, PartialEq)]
enum Lie {
    /// It sends everything on faster than anybody, so that others are told to push no more; then it only offers.
    OffersAndNeverSends,
    /// It tells all to push no more, and asks for everything and reads little of it.
    AsksAndNeverTakes,
    /// It offers frames that do not exist.
    Invents,
}

struct Liar {
    by: Speaker,
    lie: Lie,
    /// From now on it lies.
    begun: AtomicBool,
    stop: CancellationToken,
    lines: Mutex<BTreeMap<usize, mpsc::UnboundedSender<String>>>,
}

fn joined(keys: impl IntoIterator<Item = FrameKey>) -> String {
    let bytes: Vec<u8> = keys.into_iter().flat_map(|key| key.0).collect();
    URL_SAFE_NO_PAD.encode(bytes)
}

impl Liar {
    fn start(world: &World, at: usize, lie: Lie) -> Arc<Liar> {
        let by = Speaker {
            key: device(at),
            at,
            gen1: false,
            net: world.net.clone(),
        };
        let liar = Arc::new(Liar {
            by,
            lie,
            begun: AtomicBool::new(false),
            stop: CancellationToken::new(),
            lines: Mutex::default(),
        });
        for peer in 0..NODES {
            tokio::spawn(liar.clone().keep(peer));
        }
        liar
    }

    /// Keeps a link with a node.
    async fn keep(self: Arc<Self>, peer: usize) {
        while !self.stop.is_cancelled() {
            if let Some(line) = self.by.dial(peer).await {
                let (texts, queue) = mpsc::unbounded_channel();
                self.lines.lock().unwrap().insert(peer, texts);
                self.session(line, queue).await;
                self.lines.lock().unwrap().remove(&peer);
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }

    async fn session(&self, line: Line, mut queue: mpsc::UnboundedReceiver<String>) {
        let Line {
            peer,
            mut reader,
            mut writer,
        } = line;
        let mut tick = tokio::time::interval(Duration::from_millis(1_000));
        loop {
            let lies = self.begun.load(Ordering::Relaxed);
            let text = tokio::select! {
                biased;
                () = self.stop.cancelled() => return,
                Some(text) = queue.recv() => Some(text),
                got = reader.recv() => match got {
                    Ok(Received::Text(text)) => {
                        if lies && self.lie == Lie::AsksAndNeverTakes {
                            tokio::time::sleep(Duration::from_millis(400)).await;
                        }
                        self.hear(peer, &text)
                    }
                    Ok(_) => None,
                    Err(_) => return,
                },
                _ = tick.tick() => (lies && self.lie == Lie::AsksAndNeverTakes)
                    .then(|| Message::event(PRUNE, &json!({}))),
            };
            if let Some(text) = text
                && say(&mut writer, text).await.is_none()
            {
                return;
            }
        }
    }

    fn to_others(&self, than: usize, text: &str) {
        for (peer, line) in self.lines.lock().unwrap().iter() {
            if *peer != than {
                line.send(text.to_owned()).ok();
            }
        }
    }

    fn hear(&self, peer: usize, text: &str) -> Option<String> {
        match Message::parse(text).ok()? {
            Message::Request { id, method, .. } => {
                let answer = match method.as_str() {
                    "mesh.ping" => json!({"pong": true, "timestamp": self.by.now()}),
                    _ => json!({}),
                };
                Some(Reply::Ok(answer).to_text(&id))
            }
            Message::Event { event, payload } if event == "context.frames" => {
                self.pass_on(peer, text, &payload);
                None
            }
            Message::Event { event, payload } if event == OFFER => match self.lie {
                // As eager as it can be.
                Lie::AsksAndNeverTakes => {
                    let wish = json!({"keys": payload["keys"], "push": true});
                    Some(Message::event(ASK, &wish))
                }
                _ => None,
            },
            _ => None,
        }
    }

    fn pass_on(&self, from: usize, text: &str, payload: &Value) {
        let keys = payload["frames"].as_array().into_iter().flatten();
        let key = |frame: &Value| {
            let frame = Frame::parse(frame.clone()).ok()?;
            let content = frame.content(&MeshId::of_name(MESH));
            Some(FrameKey::of(&frame.frame_id, &content))
        };
        let keys: Vec<FrameKey> = keys.filter_map(key).collect();
        if !self.begun.load(Ordering::Relaxed) {
            return self.to_others(from, text);
        }
        let offered: Vec<FrameKey> = match self.lie {
            Lie::OffersAndNeverSends => keys,
            Lie::Invents => (0..256_u64)
                .map(|n| {
                    let mut made_up = keys.first().map_or([3; 32], |key| key.0);
                    made_up[..8].copy_from_slice(&n.to_be_bytes());
                    FrameKey(made_up)
                })
                .collect(),
            Lie::AsksAndNeverTakes => return,
        };
        let offer = Message::event(OFFER, &json!({"keys": joined(offered)}));
        self.to_others(from, &offer);
    }
}

fn holds(shared: &Handles) -> Vec<FrameKey> {
    let all = shared
        .store
        .read_blocking("keys", |c| frame_sync::keyed_after(c, 0, 1_000_000));
    all.unwrap()
        .into_iter()
        .filter_map(|(_, k)| Some(k?.key))
        .collect()
}

struct Trial {
    world: World,
    liars: Vec<Arc<Liar>>,
}

impl Trial {
    async fn begin(seed: u64) -> Trial {
        // The liars count as nodes of the plan, so that all trust them.
        let lies = [
            Lie::OffersAndNeverSends,
            Lie::AsksAndNeverTakes,
            Lie::Invents,
        ];
        let mut world = World::planned(seed, |plan| {
            plan.nodes = NODES + lies.len();
            plan.gauge = None;
            plan.liar = None;
            plan.gen1 = false;
            plan.put_back = None;
        });
        for at in 0..NODES {
            world.places[at].peers = (0..at).collect();
            assert!(world.start(at).await, "{:?}", world.wrong);
        }
        let start = |(n, lie)| Liar::start(&world, NODES + n, lie);
        let liars: Vec<Arc<Liar>> = lies.into_iter().enumerate().map(start).collect();
        let trial = Trial { world, liars };
        let all = NODES - 1 + trial.liars.len();
        for _ in 0..600 {
            if trial.nodes().all(|node| node.links.all().len() == all) {
                return trial;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("seed {seed}: not all links stand");
    }

    fn nodes(&self) -> impl Iterator<Item = Handles> {
        (0..NODES).filter_map(|at| self.world.shared(at))
    }

    /// Makes a reading at a node; how many milliseconds later all have it.
    async fn reading(&self) -> u64 {
        let at = self.world.rng.index(NODES);
        let node = self.world.shared(at).unwrap();
        let data = json!({"metric": "moisture", "value": self.world.rng.below(100)});
        let spec = FrameSpec {
            kind: FrameKind::Observation,
            data: data.as_object().unwrap().clone(),
            sources: vec![EvidenceSource::Sensor],
            tier: Tier::T2,
            taint: Default::default(),
            note: None,
        };
        let admitted = frame_log::compose(&node, spec).unwrap();
        let key = FrameKey::of(&admitted.frame().frame_id, &admitted.content());
        let stored = frame_log::append(&node, vec![admitted], Class::Relaxed).await;
        stored.unwrap();
        let begun = self.world.trace.now_ms();
        while !self.nodes().all(|node| holds(&node).contains(&key)) {
            let passed = self.world.trace.now_ms() - begun;
            assert!(passed < 120_000, "a reading was lost");
            tokio::time::sleep(Duration::from_millis(40)).await;
        }
        self.world.trace.now_ms() - begun
    }

    fn sum(&self, of: impl Fn(&Handles) -> u64) -> u64 {
        self.nodes().map(|node| of(&node)).sum()
    }
}

async fn spread(seed: u64) {
    let mut trial = Trial::begin(seed).await;
    for _ in 0..40 {
        trial.reading().await;
    }
    let lazy = |node: &Handles| {
        let links = node.links.all();
        let offered = links.iter().filter(|l| !node.tree.is_eager(&l.info.device));
        offered.count() as u64
    };
    let offered = trial.sum(lazy);
    assert!(offered > 0, "seed {seed}: there is no tree");
    for liar in &trial.liars {
        liar.begun.store(true, Ordering::Relaxed);
    }
    let mut longest = 0;
    for n in 0..40 {
        if n % 2 == 0 {
            trial.world.net.break_one();
        }
        longest = longest.max(trial.reading().await);
    }
    let asked = trial.sum(|node| node.metrics.frames_asked.get());
    println!(
        "seed {seed}: {offered} links only offer, {asked} frames asked for, longest {longest} ms"
    );
    assert!(asked > 0, "seed {seed}: nothing had to be asked for");
    assert!(longest <= WITHIN_MS, "seed {seed}: {longest} ms");
    let shown = trial.sum(|node| node.alarms.count(AlarmKind::PeerWithholds) as u64);
    assert!(shown > 0, "seed {seed}: nobody is told of the liars");
    for liar in &trial.liars {
        liar.stop.cancel();
    }
    trial.world.end().await;
}

#[test]
fn with_liars_and_broken_links_each_reading_is_everywhere_within_seconds() {
    for seed in 1..3 {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(spread(seed));
    }
}
