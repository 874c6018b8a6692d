//! The node: composition and tasks. One actor per concern; nothing here decides what is allowed.
//!
//! [`Node::start`] opens the state directory, recovers from whatever interrupted the last run, and
//! only then listens. [`Node::stop`] ends every action in its safe state and every task in time.

pub mod alerts;
mod alike;
pub mod answering;
mod assemble;
pub mod authority;
pub mod channels;
mod cites;
pub mod config;
mod console;
pub mod context;
pub mod continuity;
pub mod coordinator;
pub mod credentials;
pub mod discovery;
pub mod ending;
pub mod frame_log;
pub mod gateways;
pub mod gen1;
mod gossip;
pub mod guards;
pub mod handles;
mod health;
pub mod hosting;
mod housekeeping;
pub mod inference;
mod ingress;
pub mod leading;
pub mod links;
mod mesh_models;
pub mod messages;
pub mod naming;
pub mod pairing;
pub mod pause;
pub mod peers;
pub mod planner;
pub mod planning;
pub mod policy_book;
pub mod presence;
mod privacy;
pub mod proposals;
mod protocol;
pub mod pulse;
pub mod push;
pub mod reconcile;
pub mod refused;
pub mod retention;
pub mod routing;
pub mod sensing;
mod sessions;
pub mod sites;
pub mod surroundings;
pub mod timetable;
pub mod updates;
pub mod wiring;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::sync::mpsc;

pub use self::assemble::{OpenError, Opened};
pub use self::config::{Config, RawConfig};
pub use self::handles::Handles;
pub use self::surroundings::Outside;
use crate::adapters::paths::{StateDir, StateLock};
use crate::adapters::transport::{
    Doorway, Incoming, ListenAddress, Listener, LocalListener, Rules, TransportError,
};
use crate::domain::base::limits::{ACCEPT_QUEUE_SOCKETS, STORE_CLOSE_MS, STORE_LAST_WORDS_MS};
use context::{Context, Event, Severity};
use guards::{Cut, Secured};
use ingress::Ingress;
use links::target::{Source, Target};

/// How long peers may take to hear a goodbye.
const GOODBYE: Duration = Duration::from_secs(1);

/// A running node.
pub struct Node {
    handles: Handles,
    address: SocketAddr,
    local: Option<PathBuf>,
    lock: StateLock,
}

impl Node {
    /// Starts a node on an opened state directory. `app` builds the HTTP surface over the node.
    ///
    /// # Errors
    /// [`OpenError`] with what to do about it; nothing is left running.
    pub async fn start(
        opened: Opened,
        app: impl FnOnce(&Handles) -> axum::Router,
    ) -> Result<Node, OpenError> {
        let listener = match prepare(&opened.handles).await {
            Ok(listener) => listener,
            Err(error) => {
                return Err(error.leaving(opened.give_up().await));
            }
        };
        let (handles, tls) = (opened.handles.clone(), opened.tls.clone());
        let (address, doorway) = (listener.local_addr(), listener.doorway());
        let (queue, sockets) = mpsc::channel(ACCEPT_QUEUE_SOCKETS);
        let app = app(&handles);
        let local = listen_locally(&handles, app.clone());
        if let Some(console) = handles.config.console.clone() {
            let away = console::run(handles.context.clone(), console, app.clone());
            handles.tasks.passing("console", away);
            let phones = push::run(handles.alerts.phones().clone());
            handles.tasks.passing("push", phones);
        }
        let served = listener.serve(
            app,
            Rules::default(),
            Some(tls),
            queue,
            handles.tasks.tracker().clone(),
            handles.tasks.stop().clone(),
        );
        handles.tasks.essential("listener", served);
        let node = Self::run(opened, address, doorway, sockets).await;
        Ok(Node { local, ..node })
    }

    /// Starts a node whose sockets come from elsewhere than a port of this machine.
    ///
    /// # Errors
    /// As [`Node::start`].
    pub async fn start_on(
        opened: Opened,
        address: SocketAddr,
        doorway: Arc<Doorway>,
        sockets: mpsc::Receiver<Incoming>,
    ) -> Result<Node, OpenError> {
        if let Err(error) = assemble::put_in_order(&opened.handles).await {
            return Err(error.leaving(opened.give_up().await));
        }
        Ok(Self::run(opened, address, doorway, sockets).await)
    }

    async fn run(
        opened: Opened,
        address: SocketAddr,
        doorway: Arc<Doorway>,
        sockets: mpsc::Receiver<Incoming>,
    ) -> Node {
        let Opened {
            handles,
            sensors,
            lock,
            tls: _,
        } = opened;
        let recorder = guards::record(handles.context.clone(), handles.guards.clone());
        handles.tasks.passing("guards' reports", recorder);
        let ingress = Ingress::start(&handles.footing);
        let tree = gossip::tree::run(handles.frames.clone(), ingress.clone());
        handles.tasks.essential("broadcast tree", tree);
        let doorman = doorman(handles.sessions.clone(), ingress.clone(), sockets);
        handles.tasks.essential("doorman", doorman);
        for peer in &handles.config.peers {
            let target = Target {
                url: peer.url.clone(),
                pin: peer.pin,
                label: peer.label.clone(),
                source: Source::Configured,
            };
            handles.peers.add(&peer.device, target, handles.now());
        }
        let (sessions, table) = (handles.sessions.clone(), handles.peers.clone());
        let supervisors = peers::run(sessions, table, ingress.clone());
        handles.tasks.essential("peers", supervisors);
        if handles.config.discovery {
            let lan = discovery::Lan {
                frames: handles.frames.clone(),
                nearby: handles.nearby.clone(),
                peers: handles.peers.clone(),
                pairing: handles.pairing.clone(),
            };
            let discovery = discovery::run(lan, address);
            handles.tasks.passing("discovery", discovery);
        }
        handles.pairing.listens_on(address);
        let learned = peers::learned::run(handles.pairing.clone(), handles.peers.clone());
        handles.tasks.passing("learned peers", learned);
        let records = authority::confirm(handles.authority.clone());
        handles.tasks.essential("records", records);
        handles.wiring.begin(sensors).await;
        if handles.config.role.plans() && !handles.config.rules.is_empty() {
            let rules = planning::run(handles.drafts.clone());
            handles.tasks.essential("planner", rules);
        }
        let leadership = leading::run(handles.leading.clone());
        handles.tasks.essential("leadership", leadership);
        let answering = answering::run(handles.answering.clone());
        handles.tasks.essential("answering", answering);
        planner::start(&handles.asking);
        let messages = messages::run(handles.messages.clone());
        handles.tasks.essential("messages", messages);
        let drafts = planning::retry_waiting(handles.drafts.clone());
        handles.tasks.essential("drafts", drafts);
        let expiry = proposals::expire(handles.executor.clone());
        handles.tasks.essential("expiry", expiry);
        let codes = proposals::show_codes(handles.executor.clone());
        handles.tasks.essential("codes at the node", codes);
        let standing = proposals::standing_approvals::tidy(handles.executor.clone());
        handles.tasks.essential("standing approvals", standing);
        let latching = (handles.peers.watch_unreached(), handles.running.latching());
        let executor = handles.executor.clone();
        let latched = move || executor.running.latched().is_some();
        let frames = handles.frames.clone();
        let presence = presence::run(frames, latching.0, latching.1, latched);
        handles.tasks.essential("presence", presence);
        let (executor, file) = (handles.executor.clone(), assemble::policy_file(&handles));
        let policy = executor.watch_policy(file);
        handles.tasks.essential("policy watch", policy);
        if handles.threads {
            let copy = guards::moved::keep_copy(handles.context.clone(), handles.guards.clone());
            handles.tasks.essential("copy of moved", copy);
            let watch = wiring::watch(handles.wiring.clone());
            handles.tasks.essential("configuration watch", watch);
            let health = health::run(handles.footing.clone());
            handles.tasks.essential("health", health);
            let pulse = handles.pulse.clone().run(handles.tasks.clone());
            handles.tasks.essential("pulse", pulse);
        }
        handles.gateways.begin().await;
        updates::begin(&handles.context);
        let alerts = alerts::run(handles.alerts.clone());
        handles.tasks.essential("alerts", alerts);
        let housekeeping =
            housekeeping::run(handles.footing.clone(), handles.peers.clone(), doorway);
        handles.tasks.essential("housekeeping", housekeeping);
        let data = json!({"address": address.to_string(), "role": handles.config.role.as_str()});
        let message = format!("{} started on {address}", handles.config.name);
        handles
            .journal
            .record(Event::Startup, Severity::Info, &message, data)
            .await;
        Node {
            handles,
            address,
            local: None,
            lock,
        }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The socket on which it answers programs of its own user, where the system gave it one.
    pub fn local_socket(&self) -> Option<&Path> {
        self.local.as_deref()
    }

    /// The context of its tasks; it can neither sign nor move anything.
    pub fn context(&self) -> &context::Context {
        &self.handles.context
    }

    /// The handles of its rooms; the operator door is built on them.
    pub fn shared(&self) -> &Handles {
        &self.handles
    }

    /// Waits until the node is told to stop or an essential task ends.
    pub async fn stopped(&self) {
        self.handles.tasks.stop().cancelled().await;
    }

    /// Why the node wants to be started again, if that is why it stopped.
    pub fn restart_reason(&self) -> Option<String> {
        self.handles.tasks.restart_reason()
    }

    /// Orders moving actuators to their safe state and returns at once, for hosts that have work to do
    /// before [`Node::stop`].
    pub fn make_safe(&self) {
        self.handles.guards.secure_each(&Cut::Shutdown);
    }

    /// Ends the node: actions to their safe state, links with a goodbye, the store written out. What a
    /// disk that does not answer would keep is left behind after a while. Returns what is not as it should be.
    pub async fn stop(self) -> Stopped {
        // Before anything else, and without the store: what moves goes to its safe state.
        let mut secured = self.handles.guards.end().await;
        secured.extend(proposals::left::standing(&self.handles));
        for left in &secured {
            let why = left.problem.as_deref().unwrap_or_default();
            tracing::error!(actuator = %left.target, "ends without being confirmed safe: {why}");
        }
        let message = format!("{} is stopping", self.handles.config.name);
        let journal = &self.handles.journal;
        let told = journal.record(Event::Shutdown, Severity::Info, &message, json!({}));
        let told = in_time("that the node ends", STORE_LAST_WORDS_MS, told).await;
        self.take_leave().await;
        self.handles.tasks.shut_down().await;
        let outcomes = self.handles.running.outcomes_stored();
        let latch = proposals::estop::keep_at_end(&self.handles);
        let latch = in_time("the emergency stop", STORE_LAST_WORDS_MS, latch).await;
        let noted = continuity::note(&self.handles);
        let noted = in_time("how far the store has come", STORE_LAST_WORDS_MS, noted).await;
        let ends = continuity::ends(&self.handles);
        let ends = in_time("that all is stored", STORE_LAST_WORDS_MS, ends).await;
        if self.handles.threads {
            let copied = guards::moved::copy(&self.handles);
            drop(in_time("the copy of what was moved", STORE_LAST_WORDS_MS, copied).await);
        }
        let store = self.handles.store.clone();
        self.handles.continuity.release();
        drop(self.handles);
        let closed = in_time("what the store still has", STORE_CLOSE_MS, store.close()).await;
        // Only now may another node open the state directory.
        drop(self.lock);
        let unwritten = told
            .and(outcomes)
            .and(latch.flatten())
            .and(noted)
            .and(ends.flatten())
            .and(closed)
            .err();
        Stopped { secured, unwritten }
    }
}

/// How a node has ended.
#[derive(Debug)]
pub struct Stopped {
    /// The actuators that are not confirmed to be in their safe state.
    pub secured: Vec<Secured>,
    /// The writes that failed at the end, and why.
    pub unwritten: Option<String>,
}

impl Node {
    /// Says goodbye to every peer and waits a moment for it to be heard.
    async fn take_leave(&self) {
        let handles = &self.handles;
        handles.peers.retire();
        let links = handles.links.all();
        for link in &links {
            link.take_leave(handles.own_id(), handles.now());
        }
        let gone = async {
            for link in &links {
                link.silent.cancelled().await;
            }
        };
        drop(tokio::time::timeout(GOODBYE, gone).await);
    }
}

/// Puts everything in order, before anybody can ask for more, and listens.
async fn prepare(handles: &Handles) -> Result<Listener, OpenError> {
    assemble::put_in_order(handles).await?;
    Ok(listen(handles.config.host, handles.config.port).await?)
}

/// Writes at the end of the node, no longer than a disk that answers takes.
async fn in_time<T>(
    what: &str,
    limit_ms: u64,
    write: impl Future<Output = T>,
) -> Result<T, String> {
    let limit = Duration::from_millis(limit_ms);
    let done = tokio::time::timeout(limit, write).await;
    done.map_err(|_| {
        let why = format!("the disk does not answer: {what} is not written");
        tracing::error!("{why}; the next start puts it in order");
        why
    })
}

/// Listens; on all addresses of both protocols where the system has both.
async fn listen(host: ListenAddress, port: u16) -> Result<Listener, TransportError> {
    let bound = Listener::bind(host.socket(port)).await;
    match bound {
        Err(TransportError::Bind { .. }) if host == IpAddr::V6(Ipv6Addr::UNSPECIFIED).into() => {
            let v4 = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
            Listener::bind(SocketAddr::new(v4, port)).await
        }
        bound => bound,
    }
}

/// Answers programs of the node's own user on a socket in the state directory. Where there can be none
/// (a path that is too long, a file system without sockets) they come by the port, and have the node
/// prove itself first.
fn listen_locally(context: &Context, app: axum::Router) -> Option<PathBuf> {
    let file = StateDir::at(&context.state_dir()).socket_file();
    let bound = std::path::absolute(&file).and_then(|path| LocalListener::bind(&path));
    match bound {
        Ok(listener) => {
            let path = listener.path().to_owned();
            let tasks = &context.tasks;
            let (tracker, stop) = (tasks.tracker().clone(), tasks.stop().clone());
            let served = listener.serve(app, tracker, stop);
            tasks.essential("local socket", served);
            Some(path)
        }
        Err(error) => {
            tracing::info!(%error, file = %file.display(), "no local socket; commands come by the port");
            None
        }
    }
}

/// Starts a session for every accepted socket.
async fn doorman(
    sessions: sessions::Sessions,
    ingress: Ingress,
    mut sockets: mpsc::Receiver<Incoming>,
) {
    loop {
        let incoming = tokio::select! {
            biased;
            () = sessions.tasks.stop().cancelled() => return,
            incoming = sockets.recv() => incoming,
        };
        let Some(incoming) = incoming else { return };
        let session = sessions::accepted(sessions.clone(), ingress.clone(), incoming);
        sessions.tasks.passing("session", session);
    }
}
