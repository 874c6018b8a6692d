//! What every task of a node may use, and nothing that acts: identity, configuration, clock, store,
//! journal, alarms, numbers, trust and tasks. No key, no actuators, no links: a room that has only a
//! [`Context`] can neither sign nor move anything.
//!
//! The rooms of `node/` stand above it; nothing here names one of them but the configuration.

pub mod alarms;
pub mod budgets;
pub mod event;
pub mod journal;
pub mod metrics;
pub mod rate;
pub mod tasks;
pub mod timekeeping;
pub mod trust;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use self::alarms::Alarms;
use self::budgets::Budgets;
pub use self::event::{Event, Severity};
pub use self::journal::{Journal, audit_entry, void_standing_approvals, write_step};
use self::metrics::Metrics;
use self::tasks::Tasks;
use self::timekeeping::{LostReadings, Steady};
use self::trust::TrustBook;
use super::config::Config;
use crate::adapters::clock::SharedClock;
use crate::adapters::random::SharedRandom;
use crate::adapters::store::{Class, Store, StoreError};
use crate::domain::admission::{Grant, TrustView as _};
use crate::domain::base::{Code, DeviceId, FrameId, MeshId, Refusal, TimeMs};
use crate::domain::capability::offers_actuator;
use crate::domain::identity::PublicKey;

/// See the module.
#[derive(Clone)]
pub struct Context(Arc<Parts>);

/// What a [`Context`] gives access to.
pub struct Parts {
    /// This device.
    pub own: DeviceId,
    /// Its public key.
    pub public_key: PublicKey,
    /// The mesh this node belongs to.
    pub mesh: MeshId,
    /// The configuration it was started with.
    pub config: Config,
    /// The node's SQLite store.
    pub store: Store,
    /// The clock.
    pub clock: SharedClock,
    /// The source of ids and nonces.
    pub random: SharedRandom,
    /// Whether work that takes the processor long leaves the network's threads.
    pub threads: bool,
    /// When the node started.
    pub started_at: TimeMs,
    /// Events, refusals and the audit chain.
    pub journal: Journal,
    /// Conditions that stand until they are mended.
    pub alarms: Arc<Alarms>,
    /// How much other devices have used of their shares.
    pub budgets: Arc<Budgets>,
    /// The node's metrics.
    pub metrics: Arc<Metrics>,
    /// The trust records.
    pub trust: TrustBook,
    /// The node's tasks.
    pub tasks: Tasks,
    /// Steady time, from which ages count.
    pub steady: Steady,
    /// Up to when newer readings may have been lost.
    pub lost: LostReadings,
}

impl std::ops::Deref for Context {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}

impl Context {
    /// Wraps the parts.
    pub fn new(parts: Parts) -> Self {
        Self(Arc::new(parts))
    }

    /// This device.
    pub fn own_id(&self) -> &DeviceId {
        &self.own
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

    /// A fresh id for a frame of this moment. It begins with the time, so that a store adds it at the end of
    /// its index.
    ///
    /// # Errors
    /// `INTERNAL_ERROR` if the system gave no random bytes.
    pub fn fresh_frame_id(&self, now: TimeMs) -> Result<FrameId, Refusal> {
        self.random
            .uuid_at(now)
            .map(FrameId::from)
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
            return Some(self.public_key);
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
}

/// The refusal for a store that failed.
pub fn store_refusal(error: &StoreError) -> Refusal {
    match error {
        StoreError::Refused(refusal) => refusal.clone(),
        other => Refusal::new(other.code(), other.to_string()),
    }
}

/// The class of a write whose caller waits for it.
pub const DURABLE: Class = Class::Durable;

/// The refusal for an internal fault that has been logged.
pub fn internal(what: &str) -> Refusal {
    Refusal::new(
        Code::InternalError,
        format!("{what}; the node's log has the details"),
    )
}
