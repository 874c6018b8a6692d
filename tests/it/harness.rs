//! Nodes in this process on free loopback ports, and a probe that speaks the gen-1 protocol by hand.

use std::collections::BTreeMap;
use std::future::Future;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use clawmesh::adapters::clock::{SharedClock, SystemClock};
use clawmesh::adapters::keystore;
use clawmesh::adapters::llm::Scripted;
use clawmesh::adapters::marks::MarkPlaces;
use clawmesh::adapters::paths::{PathError, StateDir};
use clawmesh::adapters::transport::Channel;
use clawmesh::domain::admission::{Generation, Grants, TrustRecord};
use clawmesh::domain::base::{DeviceId, MeshId, TimeMs};
use clawmesh::domain::identity::{DeviceKey, OperatorKey};
use clawmesh::domain::policy::STARTER_POLICY;
use clawmesh::domain::wire::handshake::{End, Hello, Introduction, ProofFor, prove};
use clawmesh::node::{Handles, Node, Opened, Outside, RawConfig};
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Map, Value, json};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

pub const MESH: &str = "test";
/// Which node listens where, for probes that prove themselves to it.
static NODES: Mutex<BTreeMap<SocketAddr, DeviceId>> = Mutex::new(BTreeMap::new());
/// How long a condition may take before a test gives up.
pub const PATIENCE: Duration = Duration::from_secs(100);

/// A running node with its own state directory.
pub struct TestNode {
    pub node: Option<Node>,
    pub address: SocketAddr,
    pub dir: Arc<TempDir>,
}

/// How a test node differs from a plain one.
pub struct Setup {
    pub raw: RawConfig,
    pub trusts: Vec<(DeviceKey, &'static str)>,
    pub trusted_ids: Vec<(DeviceId, &'static str)>,
    pub operator: Option<(OperatorKey, &'static str)>,
    pub policy: Option<String>,
    pub clock: SharedClock,
    /// Whether the devices it trusts are known to be of our own kind.
    pub kin: bool,
    /// The model that answers its questions.
    pub model: Option<Scripted>,
    /// Whether it notes outside its state directory how far it has come.
    pub marked: bool,
}

pub fn key(n: u8) -> DeviceKey {
    DeviceKey::from_seed(&[n; 32])
}

pub fn field() -> Setup {
    Setup {
        raw: RawConfig {
            name: Some("field".into()),
            role: Some("field".into()),
            mesh_name: Some(MESH.into()),
            port: Some(0),
            discovery: Some(false),
            mock_sensor: Some(true),
            mock_actuator: Some(true),
            sensor_interval_ms: Some(100),
            ..RawConfig::default()
        },
        trusts: Vec::new(),
        trusted_ids: Vec::new(),
        operator: None,
        policy: Some(STARTER_POLICY.to_owned()),
        clock: Arc::new(SystemClock::default()),
        kin: false,
        model: None,
        marked: false,
    }
}

pub fn centre() -> Setup {
    let mut setup = field();
    setup.raw.name = Some("centre".into());
    setup.raw.role = Some("node".into());
    setup.raw.mock_actuator = None;
    setup.raw.mock_sensor = None;
    setup.policy = None;
    setup
}

impl Setup {
    pub fn trusting(mut self, key: DeviceKey, grants: &'static str) -> Self {
        self.trusts.push((key, grants));
        self
    }

    pub fn with_operator(mut self, key: OperatorKey, level: &'static str) -> Self {
        self.operator = Some((key, level));
        self
    }

    pub fn marked(mut self) -> Self {
        self.marked = true;
        self
    }

    pub async fn start(self) -> TestNode {
        self.start_in(Arc::new(tempfile::tempdir().unwrap()), None)
            .await
    }

    /// Starts in a directory, with a fixed identity where `seed` is given.
    pub async fn start_in(self, dir: Arc<TempDir>, seed: Option<u8>) -> TestNode {
        let state = StateDir::at(&dir.path().join("state"));
        state.prepare().unwrap();
        if let Some(n) = seed.filter(|_| !state.identity_file().exists()) {
            keystore::create_device_key(&state, &[n; 32], TimeMs(1)).unwrap();
        }
        if let Some(policy) = &self.policy {
            std::fs::write(state.policy_file(), policy).unwrap();
        }
        let config = self.raw.resolve(state.root().to_path_buf()).unwrap();
        // A process that another test is just starting may hold a copy of the lock for a moment.
        let opened = until("the state directory is free", || async {
            let mut outside = Outside::real(self.clock.clone());
            let models = self.model.iter();
            if self.marked {
                outside.marks = MarkPlaces {
                    inside: true,
                    outside: vec![dir.path().join("marks")],
                };
            }
            outside.models = models.map(|m| Arc::new(m.clone()) as _).collect();
            match Box::pin(Opened::open_in(config.clone(), outside)).await {
                Err(clawmesh::node::OpenError::Path(PathError::InUse { .. })) => None,
                opened => Some(opened.unwrap()),
            }
        })
        .await;
        for (key, grants) in &self.trusts {
            // Probes speak gen-1; a node proves that it is of our own kind.
            let generation = match self.kin {
                true => Generation::Clawmesh,
                false => Generation::Gen1,
            };
            trust_as(&opened.handles, key, grants, generation).await;
        }
        if let Some((key, level)) = &self.operator {
            enroll(&opened.handles, key, level).await;
        }
        let start = Node::start(opened, |_| axum::Router::new());
        let node = Box::pin(start).await.unwrap();
        let id = node.shared().own_id().clone();
        NODES.lock().unwrap().insert(node.address(), id);
        TestNode {
            address: node.address(),
            node: Some(node),
            dir,
        }
    }
}

/// Trusts a device with its key pinned, as one that speaks gen-1 until it proves more.
pub async fn trust(shared: &Handles, key: &DeviceKey, grants: &str) {
    trust_as(shared, key, grants, Generation::Gen1).await;
}

async fn trust_as(shared: &Handles, key: &DeviceKey, grants: &str, generation: Generation) {
    let grants: Grants = grants.parse().unwrap();
    let record = TrustRecord::new(
        key.id().clone(),
        Some(*key.public()),
        None,
        grants,
        TimeMs(1),
    )
    .of(generation);
    shared
        .store
        .write(
            clawmesh::adapters::store::Class::Durable,
            "test",
            move |c| clawmesh::adapters::store::trust::put(c, &record),
        )
        .await
        .unwrap();
    shared.trust.reload(&shared.store).await.unwrap();
}

/// Gives a trusted device a name, as a person does, or takes it away.
pub async fn name_device(node: &TestNode, key: &DeviceKey, name: Option<&str>) {
    let shared = node.shared();
    let mut record = shared.trust.live(key.id()).unwrap();
    record.name = name.map(str::to_owned);
    shared
        .store
        .write(
            clawmesh::adapters::store::Class::Durable,
            "test",
            move |c| clawmesh::adapters::store::trust::put(c, &record),
        )
        .await
        .unwrap();
    shared.trust.reload(&shared.store).await.unwrap();
}

/// A name for each key: the first operator is ada, every other key is another person's.
pub fn name_of(key: &OperatorKey) -> String {
    match *key.id() == *OperatorKey::from_seed(&[77; 32]).id() {
        true => "ada".into(),
        false => format!("person {}", key.id().short()),
    }
}

/// Enrolls an operator, vouched for by the node itself.
pub async fn enroll(shared: &Handles, key: &OperatorKey, level: &str) {
    use clawmesh::domain::gate::OperatorRecord;
    let record = OperatorRecord {
        operator_id: key.id().clone(),
        public_key: *key.public(),
        name: name_of(key),
        person: None,
        max_level: level.parse().unwrap(),
        issuer: shared.own_id().clone(),
        issued_at: shared.now(),
        expires_at: None,
    };
    let signed = shared.authority.issuer().operator(record);
    shared
        .store
        .write(
            clawmesh::adapters::store::Class::Durable,
            "test",
            move |c| clawmesh::adapters::store::operators::put(c, &signed),
        )
        .await
        .unwrap();
}

impl TestNode {
    pub fn node(&self) -> &Node {
        self.node.as_ref().unwrap()
    }

    pub fn shared(&self) -> &Handles {
        self.node().shared()
    }

    pub fn id(&self) -> DeviceId {
        self.shared().own_id().clone()
    }

    /// What `/metrics` would show.
    pub fn metrics(&self) -> String {
        let mut text = String::new();
        let registry = self.shared().metrics.registry();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        text
    }

    pub fn state(&self) -> StateDir {
        StateDir::at(&self.dir.path().join("state"))
    }

    pub async fn stop(mut self) -> Arc<TempDir> {
        self.node.take().unwrap().stop().await;
        self.dir.clone()
    }
}

/// Waits until a condition holds.
pub async fn until<T, F: Future<Output = Option<T>>>(
    what: &str,
    mut check: impl FnMut() -> F,
) -> T {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        if let Some(value) = check().await {
            return value;
        }
        assert!(
            tokio::time::Instant::now() < deadline,
            "waited too long until {what}"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A hand-driven peer.
pub struct Probe {
    pub socket: WebSocketStream<TcpStream>,
    next: u64,
    pub events: Vec<Value>,
}

impl Probe {
    pub async fn open(address: SocketAddr) -> Probe {
        let tcp = TcpStream::connect(address).await.unwrap();
        let url = format!("ws://{address}/");
        let (socket, _) = tokio_tungstenite::client_async(url, tcp).await.unwrap();
        Probe {
            socket,
            next: 1,
            events: Vec::new(),
        }
    }

    /// Connects and authenticates; `features` as given, none makes it a gen-1 node.
    pub async fn connect(address: SocketAddr, key: &DeviceKey, mesh: &str) -> Probe {
        let mut probe = Probe::open(address).await;
        let reply = probe.handshake(key, mesh, |_| {}).await;
        assert_eq!(reply["ok"], true, "{reply}");
        probe
    }

    /// The addresses of its own end and of the node's.
    pub fn ends(&self) -> (SocketAddr, SocketAddr) {
        let tcp = self.socket.get_ref();
        (tcp.local_addr().unwrap(), tcp.peer_addr().unwrap())
    }

    /// The handshake with parameters changed by `mutate` after signing. Who names features is of our own
    /// kind, and proves it.
    pub async fn handshake(
        &mut self,
        key: &DeviceKey,
        mesh: &str,
        mutate: impl FnOnce(&mut Map<String, Value>),
    ) -> Value {
        let challenge = self.ask("mesh.challenge", json!({})).await;
        let nonce = challenge["payload"]["nonce"].as_str().unwrap().to_owned();
        let mut params = hello(key, mesh, &nonce);
        mutate(&mut params);
        if params.contains_key("features") {
            let (own, node) = self.ends();
            let verifier = NODES.lock().unwrap().get(&node).cloned().unwrap();
            let channel = Channel::tcp(own, node);
            let made = ProofFor {
                verifier: &verifier,
                signer: End::Dialer,
                channel: channel.as_str(),
                heard: None,
            };
            prove(&mut params, key, made);
        }
        let kin = params.contains_key("proof");
        let reply = self.ask("mesh.connect", Value::Object(params)).await;
        if reply["ok"] == true {
            let server = Hello::parse(reply["payload"].as_object().unwrap(), false).unwrap();
            let now = TimeMs(server.signed_at.0);
            assert!(kin || server.check_signature("probe-nonce", now).is_ok());
        }
        reply
    }

    pub async fn send(&mut self, text: impl Into<String>) {
        self.socket.send(Message::text(text.into())).await.unwrap();
    }

    pub async fn event(&mut self, event: &str, payload: Value) {
        self.send(json!({"type": "event", "event": event, "payload": payload}).to_string())
            .await;
    }

    /// Sends a request and returns its whole response; events that come first are kept.
    pub async fn ask(&mut self, method: &str, params: Value) -> Value {
        let id = format!("p{}", self.next);
        self.next += 1;
        self.send(json!({"type": "req", "id": id, "method": method, "params": params}).to_string())
            .await;
        self.answer(&id).await
    }

    /// The response with an id.
    pub async fn answer(&mut self, id: &str) -> Value {
        loop {
            let message = self
                .receive()
                .await
                .unwrap_or_else(|| panic!("closed while waiting for {id}"));
            if message["type"] == "res" && message["id"] == id {
                return message;
            }
            self.events.push(message);
        }
    }

    /// The next event of this name.
    pub async fn hear(&mut self, event: &str) -> Value {
        loop {
            let message = self.receive().await;
            let message = message.unwrap_or_else(|| panic!("closed while waiting for {event}"));
            if message["type"] == "event" && message["event"] == event {
                return message;
            }
        }
    }

    /// The next message; `None` once the node has closed the socket.
    pub async fn receive(&mut self) -> Option<Value> {
        loop {
            let next = tokio::time::timeout(PATIENCE, self.socket.next())
                .await
                .expect("waited too long for a message");
            match next {
                Some(Ok(Message::Text(text))) => return Some(serde_json::from_str(&text).unwrap()),
                Some(Ok(Message::Close(_))) | None | Some(Err(_)) => return None,
                Some(Ok(_)) => {}
            }
        }
    }
}

/// Signed handshake parameters of a probe without our features: a gen-1 node.
pub fn hello(key: &DeviceKey, mesh: &str, nonce: &str) -> Map<String, Value> {
    let introduction = Introduction {
        display_name: "probe".into(),
        capabilities: vec!["channel:probe".into()],
        mesh_id: MeshId::of_name(mesh),
        role: "viewer".into(),
    };
    let now = clawmesh::adapters::clock::Clock::now(&SystemClock::default());
    let mut params = introduction.sign(key, nonce, Some("probe-nonce"), now, None);
    params.remove("features");
    params
}

/// A command that passes all seven gen-1 checks.
pub fn command(id: &str, target: &str, now: u64) -> Value {
    json!({
        "channel": "clawmesh", "to": target, "originGatewayId": "somebody", "idempotencyKey": "k",
        "command": {
            "version": 1, "kind": "clawmesh.command", "commandId": id, "createdAtMs": now,
            "source": {"nodeId": "somebody", "role": "operator"},
            "target": {"kind": "capability", "ref": target},
            "operation": {"name": "open", "params": {"durationSec": 5}},
            "trust": {
                "action_type": "actuation", "evidence_sources": ["sensor", "human"],
                "evidence_trust_tier": "T3_verified_action_evidence",
                "minimum_trust_tier": "T2_operational_observation", "verification_required": "human",
                "verification_satisfied": true, "approved_by": ["operator:probe"],
            },
        },
    })
}

/// The movements the simulated kit made, oldest first.
pub fn journal(state: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(state.join("sim/journal.jsonl")).unwrap_or_default();
    text.lines()
        .map(|l| serde_json::from_str(l).unwrap())
        .collect()
}
