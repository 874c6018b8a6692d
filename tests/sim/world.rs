//! One seed, one world: nodes, people, faults, and what is true in it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use clawmesh::adapters::keystore::{self, FileKeys};
use clawmesh::adapters::paths::StateDir;
use clawmesh::adapters::random::SharedRandom;
use clawmesh::adapters::store::operators::SignedRevocation;
use clawmesh::adapters::store::{Class, Engine, operators, trust};
use clawmesh::adapters::transport::Doorway;
use clawmesh::domain::admission::TrustRecord;
use clawmesh::domain::base::{OperatorId, ProposalId, TimeMs};
use clawmesh::domain::gate::approval::SignedDecision;
use clawmesh::domain::gate::operators::{OperatorRecord, OperatorRevocation, SignedOperator};
use clawmesh::domain::identity::{DeviceKey, OperatorKey};
use clawmesh::domain::proposal::SignedProposal;
use clawmesh::node::{Node, Opened, Outside, RawConfig, Shared};
use tempfile::TempDir;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::disk::{SimDisk, log_of};
use crate::host::{SimClock, Soil, Strokes, Valve};
use crate::network::{self, Host, Net, SimDialer};
use crate::rng::{Rng, Trace};

const GRANTS: &str = "observe:T2,relay,read,plan,human,estop";

pub const POLICY: &str = r#"
version = 1
[[rule]]
name = "water"
capability = "actuator:sim:valve"
operations = ["open"]
level = "L2"
safe_state = "close"
deadline_sec = 20
duration_param = "durationSec"
requesters = ["rules", "person", "llm"]
[rule.params.durationSec]
type = "integer"
min = 1
max = 20
required = true
"#;

/// A host of the world, with its node while it is up.
pub struct Place {
    pub key: DeviceKey,
    pub peers: Vec<usize>,
    pub clock: Arc<SimClock>,
    pub rng: Rng,
    pub node: Option<Node>,
    pub disk: Option<Arc<SimDisk>>,
    pub state: PathBuf,
    pub lives: u32,
    down: CancellationToken,
}

/// What was answered to somebody and must therefore stay true.
#[derive(Default)]
pub struct Promised {
    pub minted: BTreeMap<ProposalId, (usize, SignedProposal)>,
    /// Approvals that an executor itself accepted.
    pub decided: BTreeSet<ProposalId>,
    pub decisions: Vec<SignedDecision>,
    /// When a revocation was durable at a node.
    pub revoked: BTreeMap<(usize, OperatorId), u64>,
}

pub struct World {
    pub rng: Rng,
    pub trace: Trace,
    pub net: Net,
    pub places: Vec<Place>,
    pub operators: Vec<OperatorKey>,
    pub strokes: Strokes,
    pub promised: Arc<Mutex<Promised>>,
    pub faults: BTreeMap<&'static str, u64>,
    pub wrong: Vec<String>,
    root: TempDir,
}

fn device(n: usize) -> DeviceKey {
    DeviceKey::from_seed(&[u8::try_from(n + 1).unwrap(); 32])
}

fn root() -> TempDir {
    tempfile::tempdir_in("/dev/shm").unwrap_or_else(|_| tempfile::tempdir().unwrap())
}

impl World {
    pub fn new(seed: u64) -> Self {
        let (rng, trace) = (Rng::new(seed), Trace::new());
        let net = Net::new(rng.fork(), trace.clone());
        let count = 3 + rng.index(6);
        let root = root();
        let places = (0..count)
            .map(|n| Place {
                key: device(n),
                // Connected: everybody dials one that came before, some dial one more.
                peers: (0..n.min(1 + rng.index(2)))
                    .map(|_| rng.index(n))
                    .collect::<BTreeSet<_>>()
                    .into_iter()
                    .collect(),
                clock: Arc::new(SimClock {
                    trace: trace.clone(),
                    error_ms: i64::try_from(rng.below(4_000)).unwrap().into(),
                }),
                rng: rng.fork(),
                node: None,
                disk: None,
                state: root.path().join(format!("n{n}-0")),
                lives: 0,
                down: CancellationToken::new(),
            })
            .collect();
        let operators = (0..3)
            .map(|n| OperatorKey::from_seed(&[200 + n; 32]))
            .collect();
        Self {
            rng,
            trace,
            net,
            places,
            operators,
            strokes: Strokes::default(),
            promised: Arc::default(),
            faults: BTreeMap::new(),
            wrong: Vec::new(),
            root,
        }
    }

    pub fn fault(&mut self, kind: &'static str) {
        *self.faults.entry(kind).or_default() += 1;
        self.trace.note(format!("fault {kind}"));
    }

    pub fn shared(&self, at: usize) -> Option<Shared> {
        self.places[at].node.as_ref().map(|n| n.shared().clone())
    }

    /// Starts the node of a host on what its disk holds; false if it could not start this time.
    pub async fn start(&mut self, at: usize) -> bool {
        let first = self.places[at].lives == 0;
        let count = self.places.len();
        let place = &mut self.places[at];
        let state = StateDir::at(&place.state);
        if first {
            state.prepare().unwrap();
            keystore::create_device_key(&state, &place.key.seed(), TimeMs(1)).unwrap();
            std::fs::write(state.policy_file(), POLICY).unwrap();
        }
        place.lives += 1;
        let disk = SimDisk::new(state.database(), place.rng.fork());
        let raw = RawConfig {
            name: Some(format!("n{at}")),
            role: Some("field".into()),
            mesh_name: Some("sim".into()),
            sensor_interval_ms: Some(5_000),
            discovery: Some(false),
            peers: place
                .peers
                .iter()
                .map(|p| format!("{}=ws://{}||lan", device(*p).id(), network::address(*p)))
                .collect(),
            ..RawConfig::default()
        };
        let config = raw.resolve(place.state.clone()).unwrap();
        let valve = Valve {
            capability: "actuator:sim:valve".parse().unwrap(),
            node: at,
            strokes: self.strokes.clone(),
            rng: place.rng.fork(),
            trace: self.trace.clone(),
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
            drivers: vec![Arc::new(valve)],
            sensors: vec![Box::new(Soil(place.rng.fork()))],
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
            furnish(&opened.shared, count, &self.operators).await;
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
        std::fs::copy(old.identity_file(), dir.identity_file()).unwrap();
        std::fs::copy(old.policy_file(), dir.policy_file()).unwrap();
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
    }

    /// Ends everything that runs, so that the next seed begins with nothing.
    pub async fn end(&mut self) {
        for place in &mut self.places {
            place.down.cancel();
            if let Some(node) = place.node.take() {
                node.shared().tasks.kill().await;
            }
        }
    }
}

/// Trust among all devices, and the people each executor knows.
async fn furnish(shared: &Shared, count: usize, people: &[OperatorKey]) {
    let own = shared.own_id().clone();
    let mut records = Vec::new();
    for n in 0..=count {
        let key = device(n);
        if *key.id() != own {
            let grants = GRANTS.parse().unwrap();
            records.push(TrustRecord::new(
                key.id().clone(),
                Some(*key.public()),
                None,
                grants,
                TimeMs(1),
            ));
        }
    }
    let people: Vec<SignedOperator> = people
        .iter()
        .enumerate()
        .map(|(n, key)| {
            let record = OperatorRecord {
                operator_id: key.id().clone(),
                public_key: *key.public(),
                name: format!("person {n}"),
                max_level: "L3".parse().unwrap(),
                issuer: own.clone(),
                issued_at: shared.now(),
                expires_at: None,
            };
            SignedOperator::issue(record, &shared.key)
        })
        .collect();
    let done = shared.store.write(Class::Durable, "furnish", move |c| {
        for record in &records {
            trust::put(c, record)?;
        }
        for person in &people {
            operators::put(c, person)?;
        }
        Ok(())
    });
    done.await.unwrap();
    shared.trust.reload(&shared.store).await.unwrap();
}

/// Revokes an operator at a node, durably.
pub async fn revoke(shared: &Shared, who: &OperatorId) -> bool {
    let revocation = OperatorRevocation {
        operator_id: who.clone(),
        issuer: shared.own_id().clone(),
        revoked_at: shared.now(),
        reason: "lost".into(),
    };
    let signature = revocation.sign(&shared.key);
    let signed = SignedRevocation {
        revocation,
        signature,
    };
    let done = shared.store.write(Class::Durable, "revoke", move |c| {
        operators::revoke(c, &signed)
    });
    done.await.is_ok()
}

/// The error of a clock from now on.
pub fn jump(place: &Place, by_ms: i64) {
    place.clock.error_ms.fetch_add(by_ms, Ordering::Relaxed);
}
