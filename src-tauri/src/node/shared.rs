//! What every actor of a node shares: identity, store, clock, books, heads. No actor owns it, no
//! lock in it is ever held across an await.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, RwLock, Weak};

use serde_json::json;
use tokio::sync::{Semaphore, watch};

use super::alarms::{AlarmKind, Alarms};
use super::budgets::Budgets;
use super::config::Config;
use super::continuity::Continuity;
use super::discovery::Nearby;
use super::drivers::Drivers;
use super::events::EventLog;
use super::gen1::conversation::OtherPlanners;
use super::guards::Guards;
use super::health::Ground;
use super::links::Links;
use super::metrics::Metrics;
use super::pairing::Pairing;
use super::pause::PlannerState;
use super::peers::Peers;
use super::policy_book::PolicyBook;
use super::proposals::{Running, Unrecorded};
use super::reconcile::Held;
use super::runtime::Tasks;
use super::timekeeping::Steady;
pub use super::timekeeping::{clock_trusted, high_water, note_time};
use super::twin::SiteBook;
use crate::adapters::clock::SharedClock;
use crate::adapters::random::SharedRandom;
use crate::adapters::store::{Class, Store, StoreError, audit, kv, trust};
use crate::adapters::transport::{Dialer, Tls};
use crate::domain::admission::budget::Cause;
use crate::domain::admission::{Grant, TrustRecord, TrustView};
use crate::domain::base::limits::AUDIT_TEXT_MAX_CHARS;
use crate::domain::base::text::{bounded, shown};
use crate::domain::base::{Code, DeviceId, FrameId, Hlc, MeshId, Refusal, TimeMs};
use crate::domain::capability::{Capability, offers_actuator};
use crate::domain::identity::{DeviceKey, PublicKey};
use crate::domain::wire::frame::Stamp;

/// Shared by every actor of one node.
#[derive(Clone)]
pub struct Shared(Arc<Inner>);

/// See [`Shared`].
pub struct Inner {
    /// This device's secret key.
    pub key: DeviceKey,
    /// The mesh this node belongs to.
    pub mesh: MeshId,
    /// What it runs with.
    pub config: Config,
    /// What it remembers.
    pub store: Store,
    /// What time it is.
    pub clock: SharedClock,
    /// Where its ids and nonces come from.
    pub random: SharedRandom,
    /// How it speaks TLS.
    pub tls: Tls,
    /// How it reaches peers.
    pub dialer: Arc<dyn Dialer>,
    /// Whether work that takes the processor long leaves the network's threads.
    pub threads: bool,
    /// When it started.
    pub started_at: TimeMs,
    /// What happened.
    pub events: EventLog,
    /// What is wrong with it now.
    pub alarms: Arc<Alarms>,
    /// Decisions refused while nothing could be written.
    pub unrecorded: Arc<Unrecorded>,
    /// What other devices have used of their shares.
    pub budgets: Budgets,
    /// What it counts.
    pub metrics: Metrics,
    /// Whom it trusts.
    pub trust: TrustBook,
    /// What its executor allows.
    pub policy: PolicyBook,
    /// Where things are.
    pub sites: SiteBook,
    /// What the planners of gen-1 nodes propose.
    pub other_planners: OtherPlanners,
    /// Whom it is connected to.
    pub links: Links,
    /// Where it stands with each.
    pub peers: Peers,
    /// Who is on the LAN.
    pub nearby: Nearby,
    /// Everything it offers.
    pub capabilities: Vec<Capability>,
    /// Its actuators: names, operations, positions.
    pub drivers: Drivers,
    /// What moves them and makes them safe.
    pub guards: Guards,
    /// What they are doing.
    pub running: Running,
    /// Whether the planner rests.
    pub planner: PlannerState,
    /// What devices offered when they were last connected.
    pub last_offered: Mutex<BTreeMap<DeviceId, Vec<String>>>,
    /// Devices that sign their frames: what comes in their name unsigned is not theirs.
    pub signers: RwLock<Arc<BTreeSet<DeviceId>>>,
    /// Devices that come to know each other through persons.
    pub pairing: Pairing,
    /// What reconciliation compares.
    pub held: Held,
    /// Frames up to this place of the log belong to a mesh this node was in before.
    pub mesh_floor: u64,
    /// Its tasks.
    pub tasks: Tasks,
    /// The stamps of its own frames.
    pub stamper: Stamper,
    /// Its steady time.
    pub steady: Steady,
    /// Whether its state is the one it last ran with.
    pub continuity: Continuity,
    /// The state directory it was started on.
    pub ground: Ground,
    /// Counts up with every stored frame batch; wakes gossip and planner.
    pub frames_head: watch::Sender<u64>,
    /// Counts up with every change of a proposal; wakes links and streams.
    pub proposals_head: watch::Sender<u64>,
    /// Places for updates of others' proposals that the disk refused and that are tried again.
    pub mirrors_owed: Arc<Semaphore>,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Shared({})", self.own_id().short())
    }
}

impl std::ops::Deref for Shared {
    type Target = Inner;

    fn deref(&self) -> &Inner {
        &self.0
    }
}

impl Shared {
    /// Wraps the parts.
    pub fn new(inner: Inner) -> Self {
        Self(Arc::new(inner))
    }

    /// For what is made before the node and must not keep it alive.
    pub fn weak(&self) -> Weak<Inner> {
        Arc::downgrade(&self.0)
    }

    /// The node, if it is still there.
    pub fn of(weak: &Weak<Inner>) -> Option<Self> {
        weak.upgrade().map(Self)
    }

    /// This device.
    pub fn own_id(&self) -> &DeviceId {
        self.key.id()
    }

    /// The current moment.
    pub fn now(&self) -> TimeMs {
        self.clock.now()
    }

    /// A fresh id.
    ///
    /// # Errors
    /// `INTERNAL_ERROR` if the system gave no random bytes.
    pub fn fresh_id(&self) -> Result<uuid::Uuid, Refusal> {
        self.random
            .uuid()
            .map_err(|e| Refusal::new(Code::InternalError, e.to_string()))
    }

    /// Runs work that takes the processor long, off the network's threads where there are others;
    /// `None` if it panicked.
    pub async fn work<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        match self.threads {
            true => tokio::task::spawn_blocking(work).await.ok(),
            false => Some(work()),
        }
    }

    /// The state directory.
    pub fn state_dir(&self) -> PathBuf {
        self.config.state_dir.clone()
    }

    /// The key with which a device may issue operator records here: our own, or that of a trusted
    /// device with `admin`.
    pub fn issuer_key(&self, issuer: &DeviceId) -> Option<PublicKey> {
        if issuer == self.own_id() {
            return Some(*self.key.public());
        }
        self.trust
            .live(issuer)
            .filter(|r| r.grants.has(Grant::Admin))
            .and_then(|r| r.public_key)
    }

    /// Whether a device may offer actuators here.
    pub fn may_actuate(&self, device: &DeviceId) -> bool {
        let trust = self.trust.snapshot();
        let record = trust.record(device);
        record.is_some_and(|r| r.grants.has(Grant::Actuate))
    }

    /// What devices offered when they were last connected, as far as they may now.
    pub fn known_capabilities(&self) -> BTreeMap<DeviceId, Vec<String>> {
        let mut known = self
            .last_offered
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        self.keep_entitled(&mut known);
        known
    }

    /// Leaves of what devices offer what they may offer now: nothing of one whose trust has ended, and
    /// actuators only with the grant.
    pub fn keep_entitled(&self, offers: &mut BTreeMap<DeviceId, Vec<String>>) {
        offers.retain(|device, _| self.trust.trusts(device));
        for (device, offered) in offers {
            if !self.may_actuate(device) {
                offered.retain(|c| !offers_actuator(c));
            }
        }
    }

    /// Remembers what a device says it offers, so that a draft for it waits while it is away.
    pub async fn remember_offer(&self, device: &DeviceId, capabilities: &[String]) {
        let known = {
            let mut offered = self
                .last_offered
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            offered.insert(device.clone(), capabilities.to_vec());
            json!(*offered).to_string()
        };
        let stored = self
            .store
            .write(Class::Relaxed, "offers", move |c| {
                kv::put(c, OFFERS, known.as_bytes())
            })
            .await;
        if let Err(error) = stored {
            tracing::warn!(%error, "what a peer offers could not be stored");
        }
    }

    /// Devices that are known to sign their frames.
    pub fn known_signers(&self) -> Arc<BTreeSet<DeviceId>> {
        self.signers
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Remembers that a device signs its frames.
    pub async fn remember_signer(&self, device: &DeviceId) {
        if self.known_signers().contains(device) {
            return;
        }
        let text = {
            let mut signers = self.signers.write().unwrap_or_else(PoisonError::into_inner);
            Arc::make_mut(&mut signers).insert(device.clone());
            json!(**signers).to_string()
        };
        let stored = self
            .store
            .write(Class::Relaxed, "signers", move |c| {
                kv::put(c, SIGNERS, text.as_bytes())
            })
            .await;
        if let Err(error) = stored {
            tracing::warn!(%error, "which peers sign could not be stored");
        }
    }

    /// Tells everyone who waits that proposals changed.
    pub fn proposals_changed(&self) {
        self.proposals_head.send_modify(|n| *n += 1);
    }

    /// Records a refusal: counter, log, event (invariant I10). In a flood of them only the counter goes on.
    pub async fn refused(&self, kind: &'static str, subject: &str, refusal: &Refusal) {
        self.refused_of(Cause::Own, kind, subject, refusal).await;
    }

    /// Records what was refused to a device or a stranger, on their account; see [`Shared::refused`].
    pub async fn refused_of(
        &self,
        cause: Cause,
        kind: &'static str,
        subject: &str,
        refusal: &Refusal,
    ) {
        self.metrics.refused(refusal.code);
        if !self
            .events
            .admits_refusal(&cause, kind, subject, refusal, self.now())
        {
            tracing::debug!(kind, subject, code = %refusal.code, "{}", refusal.message);
            return;
        }
        tracing::warn!(kind, subject, code = %refusal.code, "{}", refusal.message);
        let data = json!({"code": refusal.code, "subject": subject});
        let (shared, message) = (self.clone(), refusal.message.clone());
        let record = async move {
            let events = &shared.events;
            events
                .keep(&shared, cause, kind, "warning", &message, data)
                .await;
        };
        match self.alarms.stands(AlarmKind::StoreUnwritable, "") {
            // Whoever is refused does not wait for a disk that does not answer.
            true => self.tasks.passing("refusal's record", record),
            false => record.await,
        }
    }

    /// An audit entry about `subject`, appended inside the caller's transaction.
    ///
    /// # Errors
    /// Whatever the store says; the caller's transaction then fails as a whole.
    pub fn audit_in(
        &self,
        conn: &rusqlite::Connection,
        kind: &str,
        subject: &str,
        detail: serde_json::Value,
    ) -> Result<(), StoreError> {
        audit_entry(conn, &self.key, self.now(), kind, subject, detail)
    }
}

/// Appends a signed entry to the audit chain inside a transaction.
///
/// # Errors
/// Whatever the store says.
pub fn audit_entry(
    conn: &rusqlite::Connection,
    key: &DeviceKey,
    now: TimeMs,
    kind: &str,
    subject: &str,
    detail: serde_json::Value,
) -> Result<(), StoreError> {
    let detail = bounded(detail, AUDIT_TEXT_MAX_CHARS);
    let subject = shown(subject, AUDIT_TEXT_MAX_CHARS);
    let entry = json!({"device": key.id(), "time": now, "kind": kind, "subject": subject, "detail": detail});
    audit::append(conn, now, &entry, |message| key.sign(message).to_text())
}

/// Trust records in memory, written through to the store.
#[derive(Debug, Default)]
pub struct TrustBook {
    records: RwLock<Arc<BTreeMap<DeviceId, TrustRecord>>>,
}

/// A moment's view of the trust records, revoked ones left out.
#[derive(Debug, Clone)]
pub struct TrustSnapshot(Arc<BTreeMap<DeviceId, TrustRecord>>);

impl TrustView for TrustSnapshot {
    fn record(&self, device: &DeviceId) -> Option<&TrustRecord> {
        self.0.get(device).filter(|r| r.is_live())
    }
}

impl TrustBook {
    /// The records as of now.
    pub fn snapshot(&self) -> TrustSnapshot {
        TrustSnapshot(
            self.records
                .read()
                .unwrap_or_else(PoisonError::into_inner)
                .clone(),
        )
    }

    /// The live record of a device.
    pub fn live(&self, device: &DeviceId) -> Option<TrustRecord> {
        self.snapshot().record(device).cloned()
    }

    /// Whether a device has a live record.
    pub fn trusts(&self, device: &DeviceId) -> bool {
        self.snapshot().record(device).is_some()
    }

    /// The live record of the device at whose address this account is.
    pub fn at_address(&self, account: &DeviceId) -> Option<TrustRecord> {
        let all = self.snapshot();
        let mut live = all.0.values().filter(|r| r.is_live());
        live.find(|r| account.is_address_of(&r.device_id)).cloned()
    }

    /// Every record, revoked ones too.
    pub fn all(&self) -> Vec<TrustRecord> {
        self.snapshot().0.values().cloned().collect()
    }

    /// Reads the records from the store again; called after every change.
    ///
    /// # Errors
    /// Whatever the store says.
    pub async fn reload(&self, store: &Store) -> Result<(), StoreError> {
        let records = store.read("trust", trust::all).await?;
        let map = records
            .into_iter()
            .map(|r| (r.device_id.clone(), r))
            .collect();
        *self.records.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(map);
        Ok(())
    }
}

/// Gives our own frames their ids, logical times and counts; none is ever given twice, also not
/// after a crash: counts are reserved in blocks before they are used.
#[derive(Debug)]
pub struct Stamper {
    state: Mutex<(Hlc, u64)>,
}

impl Stamper {
    /// Continues after what earlier runs may have used.
    pub fn resume(hlc: Hlc, next_seq: u64) -> Self {
        Self {
            state: Mutex::new((hlc, next_seq)),
        }
    }

    /// The stamp of the next own frame.
    pub fn stamp(&self, frame_id: FrameId, now: TimeMs) -> Stamp {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.0 = state.0.tick(now);
        state.1 += 1;
        Stamp {
            frame_id,
            now,
            hlc: state.0,
            seq: state.1,
        }
    }

    /// Hears the logical time of another node.
    pub fn observe(&self, heard: Hlc, now: TimeMs) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.0 = state
            .0
            .observe(heard, now, crate::domain::base::limits::FRAME_FUTURE_MAX_MS);
    }
}

const OFFERS: &str = "peers.offers";

/// What devices offered when they were last connected, from earlier runs.
///
/// # Errors
/// Whatever the store says.
pub fn offers(conn: &rusqlite::Connection) -> Result<BTreeMap<DeviceId, Vec<String>>, StoreError> {
    let stored = kv::get(conn, OFFERS)?;
    Ok(stored
        .and_then(|bytes| serde_json::from_slice(&bytes).ok())
        .unwrap_or_default())
}

const SIGNERS: &str = "peers.signers";

/// Devices that signed their frames in earlier runs.
///
/// # Errors
/// Whatever the store says.
pub fn signers(conn: &rusqlite::Connection) -> Result<BTreeSet<DeviceId>, StoreError> {
    let stored = kv::get(conn, SIGNERS)?;
    Ok(stored
        .and_then(|bytes| serde_json::from_slice(&bytes).ok())
        .unwrap_or_default())
}

/// The key under which the end of an earlier mesh's frames is written down.
pub const MESH_FLOOR: &str = "mesh.floor";

/// Where the frames of this mesh begin.
///
/// # Errors
/// Whatever the store says.
pub fn mesh_floor(conn: &rusqlite::Connection) -> Result<u64, StoreError> {
    Ok(kv::get(conn, MESH_FLOOR)?
        .and_then(|b| b.try_into().ok())
        .map_or(0, u64::from_be_bytes))
}

/// The refusal for a store that failed.
pub fn store_refusal(error: &StoreError) -> Refusal {
    match error {
        StoreError::Refused(refusal) => refusal.clone(),
        other => Refusal::new(other.code(), other.to_string()),
    }
}

/// The class of a write that somebody is waiting for.
pub const DURABLE: Class = Class::Durable;

/// The refusal for an internal fault that has been logged.
pub fn internal(what: &str) -> Refusal {
    Refusal::new(
        Code::InternalError,
        format!("{what}; the node's log has the details"),
    )
}
