//! One seed, one world: nodes, people, strangers, faults, and what is true in it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use clawmesh::adapters::keystore::{self, FileKeys};
use clawmesh::adapters::paths::StateDir;
use clawmesh::adapters::random::SharedRandom;
use clawmesh::adapters::store::operators::SignedRevocation;
use clawmesh::adapters::store::{Class, Engine, StoreError, operators, trust};
use clawmesh::adapters::transport::Doorway;
use clawmesh::domain::admission::{Generation, Grants, Preset, TrustRecord};
use clawmesh::domain::base::{DeviceId, OperatorId, TimeMs};
use clawmesh::domain::gate::operators::{OperatorRecord, OperatorRevocation, SignedOperator};
use clawmesh::domain::identity::{DeviceKey, OperatorKey, PublicKey};
use clawmesh::node::{Handles, Node, Opened, Outside, RawConfig};
use clawmesh::operator::Door;
use tempfile::TempDir;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::disk::{Power, SimDisk, log_of};
use crate::gen1::Gen1;
use crate::host::{SimClock, Soil, Strokes, Valve};
use crate::liar::Liar;
use crate::line::Speaker;
use crate::network::{self, Host, Net, SimDialer};
use crate::rng::{Rng, Trace};
use crate::rollback::PutBack;
use crate::truth::Truth;

pub const MESH: &str = "sim";
/// What the nodes trust each other with.
const GRANTS: &str = "observe:T2,relay,read,plan,human,estop,actuate";
/// Opens on one or two persons' word.
pub const VALVE: &str = "actuator:sim:valve";
/// Opens by itself where the soil is dry.
pub const DRIP: &str = "actuator:sim:drip";

/// The people of a world, by their place in the list of keys.
pub mod people {
    /// Those who decide; the last of them may lose their key on the way.
    pub const HONEST: usize = 3;
    /// Revoked before the world began; the liar has the key.
    pub const REVOKED: usize = 3;
    /// Enrolled below what the valve asks for; the liar has the key.
    pub const JUNIOR: usize = 4;
    /// Never enrolled; the liar's own key.
    pub const STRANGER: usize = 5;
    pub const ALL: u8 = 6;
}

/// How a world is made.
#[derive(Clone)]
pub struct Plan {
    /// Nodes of ours.
    pub nodes: usize,
    /// Persons the valve asks for.
    pub quorum: u32,
    /// Whether the soil is dry everywhere, or wet everywhere.
    pub dry: bool,
    /// Whose readings the drip believes; `None`: the executor's own.
    pub gauge: Option<usize>,
    /// What the liar is trusted with, where there is one.
    pub liar: Option<Grants>,
    /// Whether the liar goes on while the others come to rest.
    pub restless: bool,
    /// Whether there is a gen-1 node.
    pub gen1: bool,
    /// Whose disk is put back to an older one, and whether marks are kept outside in this world.
    pub put_back: Option<(usize, bool)>,
    /// Whether the liar floods.
    pub floods: bool,
    /// Whether there is more than in the worlds of `make test` (`SIM_MORE`): the two above, and a trial at
    /// the end whether wishes, decisions and stops go through everywhere.
    pub more: bool,
}

impl Plan {
    fn new(rng: &Rng) -> Self {
        // Mostly small: what goes wrong among eight nodes mostly goes wrong among four.
        let nodes = [3, 3, 3, 4, 4, 4, 5, 5, 6, 8][rng.index(10)];
        let grants = [
            "observe:T1,relay,read,plan,human",
            "observe:T1,relay,read,plan",
            "observe:T2,relay,read",
            "observe:T1,relay,human",
            "observe:T1,plan,human,read",
        ][rng.index(5)];
        let more = std::env::var_os("SIM_MORE").is_some();
        Self {
            nodes,
            quorum: 1 + u32::from(rng.chance(30)),
            dry: rng.chance(50),
            gauge: rng.chance(60).then(|| rng.index(nodes)),
            liar: rng.chance(60).then(|| grants.parse().unwrap()),
            restless: rng.chance(50),
            gen1: rng.chance(40),
            // Not the administrator's: what it revoked alone would be lost for all.
            put_back: (more && rng.chance(25)).then(|| (1 + rng.index(nodes - 1), rng.chance(60))),
            floods: more && rng.chance(40),
            more,
        }
    }

    /// The host of the liar.
    pub fn liar_at(&self) -> usize {
        self.nodes
    }

    /// The host of the gen-1 node.
    pub fn gen1_at(&self) -> usize {
        self.nodes + 1
    }

    fn policy(&self) -> String {
        let origin = self
            .gauge
            .map_or("self".to_owned(), |n| known(n).0.to_string());
        let bounds =
            "safe_state = \"close\"\ndeadline_sec = 20\nduration_param = \"durationSec\"\n";
        let param =
            "[rule.params.durationSec]\ntype = \"integer\"\nmin = 1\nmax = 20\nrequired = true\n";
        format!(
            "version = 1\n\
             [[rule]]\nname = \"water\"\ncapability = \"{VALVE}\"\noperations = [\"open\"]\nlevel = \"L2\"\nquorum = {}\n\
             requesters = [\"rules\", \"person\", \"llm\"]\n{bounds}{param}\
             [[rule]]\nname = \"drip\"\ncapability = \"{DRIP}\"\noperations = [\"open\"]\nlevel = \"L1\"\n\
             requesters = [\"rules\", \"llm\"]\n{bounds}{param}\
             [[rule.condition]]\nmetric = \"moisture\"\norigin = \"{origin}\"\nop = \"<\"\nvalue = {:.1}\n\
             max_age_sec = 120\nmin_tier = \"T2\"\n",
            self.quorum,
            crate::host::DRY,
        )
    }
}

/// A host of the world, with its node while it is up.
pub struct Place {
    pub key: DeviceKey,
    pub peers: Vec<usize>,
    pub clock: Arc<SimClock>,
    pub rng: Rng,
    pub node: Option<Node>,
    pub disk: Option<Arc<SimDisk>>,
    pub power: Arc<Power>,
    pub state: PathBuf,
    pub lives: u32,
    down: CancellationToken,
}

pub struct World {
    pub plan: Plan,
    pub rng: Rng,
    pub trace: Trace,
    pub net: Net,
    pub places: Vec<Place>,
    pub operators: Vec<OperatorKey>,
    pub strokes: Strokes,
    pub truth: Arc<Mutex<Truth>>,
    pub faults: BTreeMap<&'static str, u64>,
    pub wrong: Vec<String>,
    /// The furthest that any clock was ever ahead, in milliseconds.
    pub error_max_ms: u64,
    pub liar: Option<Arc<Liar>>,
    pub gen1: Option<Arc<Gen1>>,
    /// Woken when the power of some host fails.
    pub failed: Arc<tokio::sync::Notify>,
    /// What became of the disk that is put back.
    pub put_back: PutBack,
    pub root: TempDir,
}

/// A device that nobody in the world knows.
pub const UNKNOWN: usize = 15;

pub fn device(n: usize) -> DeviceKey {
    DeviceKey::from_seed(&[u8::try_from(n + 1).unwrap(); 32])
}

/// What everybody knows of every device: made once, for keys are dear.
pub fn known(n: usize) -> (&'static DeviceId, &'static PublicKey) {
    static ALL: LazyLock<Vec<DeviceKey>> = LazyLock::new(|| (0..16).map(device).collect());
    (ALL[n].id(), ALL[n].public())
}

fn root() -> TempDir {
    tempfile::tempdir_in("/dev/shm").unwrap_or_else(|_| tempfile::tempdir().unwrap())
}

impl World {
    pub fn new(seed: u64) -> Self {
        Self::planned(seed, |_| {})
    }

    /// A world of a seed, with something of its plan decided otherwise.
    pub fn planned(seed: u64, decide: impl FnOnce(&mut Plan)) -> Self {
        let (rng, trace) = (Rng::new(seed), Trace::new());
        let mut plan = Plan::new(&rng);
        decide(&mut plan);
        let net = Net::new(rng.fork(), trace.clone());
        let root = root();
        // Who dials the strangers: the others hear of them.
        let (to_liar, to_gen1) = (rng.index(plan.nodes), rng.index(plan.nodes));
        let places = (0..plan.nodes)
            .map(|n| {
                // Connected: everybody dials one that came before, some dial one more.
                let mut peers: BTreeSet<usize> =
                    (0..n.min(1 + rng.index(2))).map(|_| rng.index(n)).collect();
                if plan.liar.is_some() && n == to_liar {
                    peers.insert(plan.liar_at());
                }
                if plan.gen1 && n == to_gen1 {
                    peers.insert(plan.gen1_at());
                }
                Place {
                    key: device(n),
                    peers: peers.into_iter().collect(),
                    clock: Arc::new(SimClock {
                        trace: trace.clone(),
                        error_ms: i64::try_from(rng.below(4_000)).unwrap().into(),
                    }),
                    rng: rng.fork(),
                    node: None,
                    disk: None,
                    power: Arc::default(),
                    state: root.path().join(format!("n{n}-0")),
                    lives: 0,
                    down: CancellationToken::new(),
                }
            })
            .collect();
        Self {
            plan,
            rng,
            trace,
            net,
            places,
            operators: (0..people::ALL)
                .map(|n| OperatorKey::from_seed(&[200 + n; 32]))
                .collect(),
            strokes: Strokes::default(),
            truth: Arc::default(),
            faults: BTreeMap::new(),
            wrong: Vec::new(),
            error_max_ms: 4_000,
            liar: None,
            gen1: None,
            failed: Arc::default(),
            put_back: PutBack::default(),
            root,
        }
    }

    /// Lets the strangers in: they speak for themselves from now on.
    pub fn strangers(&mut self) {
        let speaker = |at: usize, gen1: bool| Speaker {
            key: device(at),
            at,
            gen1,
            net: self.net.clone(),
        };
        if self.plan.liar.is_some() {
            let by = speaker(self.plan.liar_at(), false);
            let (rng, truth) = (self.rng.fork(), self.truth.clone());
            self.liar = Some(Liar::start(by, self.plan.clone(), rng, truth));
        }
        if self.plan.gen1 {
            let by = speaker(self.plan.gen1_at(), true);
            let dials = self.rng.chance(50).then(|| self.rng.index(self.plan.nodes));
            let (rng, truth) = (self.rng.fork(), self.truth.clone());
            self.gen1 = Some(Gen1::start(by, dials, rng, truth));
        }
    }

    pub fn fault(&mut self, kind: &'static str) {
        *self.faults.entry(kind).or_default() += 1;
        self.trace.note(format!("fault {kind}"));
    }

    /// A clock goes wrong by so much more.
    pub fn jump(&mut self, at: usize, by_ms: i64) {
        let error = &self.places[at].clock.error_ms;
        let now = error.fetch_add(by_ms, Ordering::Relaxed) + by_ms;
        self.error_max_ms = self.error_max_ms.max(now.max(0).unsigned_abs());
    }

    pub fn shared(&self, at: usize) -> Option<Handles> {
        self.places[at].node.as_ref().map(|n| n.shared().clone())
    }

    /// Starts the node of a host on what its disk holds; false if it could not start this time.
    pub async fn start(&mut self, at: usize) -> bool {
        let first = self.places[at].lives == 0;
        let marks = self.marks();
        let place = &mut self.places[at];
        let state = StateDir::at(&place.state);
        if first {
            state.prepare().unwrap();
            keystore::create_device_key(&state, &place.key.seed(), TimeMs(1)).unwrap();
            std::fs::write(state.policy_file(), self.plan.policy()).unwrap();
        }
        place.lives += 1;
        let power = Power::new(self.failed.clone());
        place.power = power.clone();
        let disk = SimDisk::new(state.database(), place.rng.fork(), power.clone());
        let raw = RawConfig {
            name: Some(format!("n{at}")),
            role: Some("field".into()),
            mesh_name: Some(MESH.into()),
            sensor_interval_ms: Some(10_000),
            discovery: Some(false),
            peers: place
                .peers
                .iter()
                .map(|p| format!("{}=ws://{}||lan", known(*p).0, network::address(*p)))
                .collect(),
            ..RawConfig::default()
        };
        let config = raw.resolve(place.state.clone()).unwrap();
        let valve = |target: &str| -> clawmesh::adapters::devices::SharedActuator {
            Arc::new(Valve {
                capability: target.parse().unwrap(),
                node: at,
                strokes: self.strokes.clone(),
                rng: place.rng.fork(),
                trace: self.trace.clone(),
                power: power.clone(),
            })
        };
        let outside = Outside {
            clock: place.clock.clone(),
            random: SharedRandom::new(place.rng.fork()),
            keys: Arc::new(FileKeys),
            dialer: Arc::new(SimDialer {
                net: self.net.clone(),
                from: at,
                device: place.key.id().clone(),
            }),
            engine: Engine::Inline(disk.clone()),
            threads: false,
            marks,
            drivers: vec![valve(VALVE), valve(DRIP)],
            sensors: vec![Box::new(Soil {
                rng: place.rng.fork(),
                dry: self.plan.dry,
            })],
            models: Vec::new(),
            variables: |_| None,
        };
        let opened = match Opened::open_in(config, outside).await {
            Ok(opened) => opened,
            Err(error) => {
                self.wrong
                    .push(format!("n{at} cannot open its state: {error}"));
                return false;
            }
        };
        if first {
            furnish(&opened.handles, &self.plan, &self.operators).await;
        }
        let stop = CancellationToken::new();
        let doorway = Doorway::new(64, Duration::from_secs(10));
        let (queue, sockets) = mpsc::channel(64);
        let started = Node::start_on(opened, network::address(at), doorway.clone(), sockets).await;
        let node = match started {
            Ok(node) => node,
            Err(error) => {
                self.wrong.push(format!("n{at} cannot start: {error}"));
                return false;
            }
        };
        let host = Host {
            device: place.key.id().clone(),
            plain: false,
            doorway,
            sockets: queue,
            stop: stop.clone(),
        };
        self.net.listen(at, host);
        place.node = Some(node);
        place.disk = Some(disk);
        place.down = stop;
        self.trace.note(format!("n{at} up, life {}", place.lives));
        true
    }

    /// The power of a host goes: its tasks end where they stand, its disk keeps what was synced.
    pub async fn crash(&mut self, at: usize) {
        let place = &mut self.places[at];
        let (Some(node), Some(disk)) = (place.node.take(), place.disk.take()) else {
            return;
        };
        if node.shared().tasks.stop().is_cancelled() {
            self.wrong
                .push(format!("n{at}: an essential task had ended"));
        }
        let next = self.root.path().join(format!("n{at}-{}", place.lives));
        let dir = StateDir::at(&next);
        dir.prepare().unwrap();
        let old = StateDir::at(&place.state);
        for file in [
            (old.identity_file(), dir.identity_file()),
            (old.policy_file(), dir.policy_file()),
            (
                old.browser_certificate_file(),
                dir.browser_certificate_file(),
            ),
        ] {
            std::fs::copy(file.0, file.1).unwrap();
        }
        let lost = disk.after_crash(&dir.database());
        self.net.silence(at);
        place.down.cancel();
        node.shared().tasks.kill().await;
        drop(node);
        self.trace
            .note(format!("n{at} crashed, {lost} bytes of log lost"));
        std::fs::remove_dir_all(&place.state).ok();
        std::fs::remove_file(log_of(&old.database())).ok();
        place.state = next;
        self.renamed(at);
    }

    /// Hosts whose power has failed and which still stand.
    pub fn without_power(&self) -> Vec<usize> {
        let gone = |place: &Place| place.node.is_some() && place.power.is_gone();
        (0..self.places.len())
            .filter(|at| gone(&self.places[*at]))
            .collect()
    }

    /// Ends everything that runs, so that the next seed begins with nothing.
    pub async fn end(&mut self) {
        if let Some(liar) = &self.liar {
            liar.stop.cancel();
        }
        if let Some(gen1) = &self.gen1 {
            gen1.stop.cancel();
        }
        for place in &mut self.places {
            place.down.cancel();
            if let Some(node) = place.node.take() {
                node.shared().tasks.kill().await;
            }
        }
    }
}

/// Trust among all devices, and the people each executor knows.
async fn furnish(shared: &Handles, plan: &Plan, keys: &[OperatorKey]) {
    let own = shared.own_id().clone();
    let trusted = |n: usize, grants: Grants| {
        let (id, key) = known(n);
        let generation = match plan.gen1 && n == plan.gen1_at() {
            true => Generation::Gen1,
            false => Generation::Clawmesh,
        };
        TrustRecord::new(id.clone(), Some(*key), None, grants, TimeMs(1)).of(generation)
    };
    let mut records: Vec<TrustRecord> = (0..plan.nodes)
        .map(|n| {
            let admin = if n == 0 { ",admin" } else { "" };
            trusted(n, format!("{GRANTS}{admin}").parse().unwrap())
        })
        .filter(|record| record.device_id != own)
        .collect();
    records.extend(plan.liar.clone().map(|g| trusted(plan.liar_at(), g)));
    if plan.gen1 {
        records.push(trusted(plan.gen1_at(), Preset::Gen1.grants()));
    }
    let enrolled: Vec<SignedOperator> = keys[..people::STRANGER]
        .iter()
        .enumerate()
        .map(|(n, key)| {
            let record = OperatorRecord {
                operator_id: key.id().clone(),
                public_key: *key.public(),
                name: format!("person {n}"),
                person: None,
                max_level: if n == people::JUNIOR { "L1" } else { "L2" }
                    .parse()
                    .unwrap(),
                issuer: own.clone(),
                issued_at: shared.now(),
                expires_at: None,
            };
            shared.authority.issuer().operator(record)
        })
        .collect();
    let revocation = OperatorRevocation {
        operator_id: keys[people::REVOKED].id().clone(),
        issuer: own,
        revoked_at: shared.now(),
        reason: "lost".into(),
    };
    let signature = shared.authority.issuer().end_of_operator(&revocation);
    let lost = SignedRevocation {
        revocation,
        signature,
    };
    let done = shared.store.write(Class::Durable, "furnish", move |c| {
        for record in &records {
            trust::put(c, record)?;
        }
        for person in &enrolled {
            operators::put(c, person)?;
        }
        operators::revoke(c, &lost).map(drop)
    });
    done.await.unwrap();
    shared.trust.reload(&shared.store).await.unwrap();
}

/// Revokes an operator at a node, as its administrator does; false if the disk would not have it.
pub async fn revoke(shared: &Handles, who: &OperatorId) -> bool {
    let door = Door::new(shared.clone());
    let done = door.operator_revoke(who.as_str(), Some("lost")).await;
    done.is_ok()
}

/// Whether a node holds an operator as revoked.
pub fn is_revoked(shared: &Handles, who: &OperatorId) -> Result<bool, StoreError> {
    let known = shared
        .store
        .read_blocking("operator", |c| operators::get(c, who))?;
    Ok(known.is_some_and(|k| k.revocation.is_some()))
}
