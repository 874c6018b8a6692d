//! The handle of the frames: the log in memory and on disk, the links they travel on, and the signature under own frames.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::watch;

use super::Held;
use super::recent::RecentFrames;
use super::tree::Tree;
use crate::domain::base::limits::FRAME_FUTURE_MAX_MS;
use crate::domain::base::{DeviceId, FrameId, Hlc, TimeMs};
use crate::domain::identity::DeviceKey;
use crate::domain::wire::frame::Stamp;
use crate::node::context::Context;
use crate::node::links::Links;
use crate::node::links::known::Known;

/// Frames: who has it stores them, signs its own as this device, and reaches the links they travel on. The key leaves this
/// room only as a signature under a frame.
#[derive(Clone)]
pub struct Frames(Arc<Parts>);

/// What [`Frames`] gives access to.
pub struct Parts {
    /// Clock, configuration, store, journal and the rest that every task may use.
    pub context: Context,
    /// Signs this node's own frames.
    pub key: Signer,
    /// Whom it is connected to.
    pub links: Links,
    /// The last known offers and signers among other devices.
    pub known: Known,
    /// The keys of held frames, for reconciliation.
    pub held: Held,
    /// The newest stored frames, for the links.
    pub recent: RecentFrames,
    /// Which of them push them.
    pub tree: Tree,
    /// The stamps of its own frames.
    pub stamper: Stamper,
    /// Counts up with every stored frame batch; wakes gossip and planner.
    pub frames_head: watch::Sender<u64>,
    /// Counts up with every batch with private frames; wakes the links of those that may have them.
    pub private_head: watch::Sender<u64>,
    /// Counts up with every change of a proposal; wakes links and streams.
    pub proposals_head: watch::Sender<u64>,
}

/// This device's secret key, for frames alone.
pub struct Signer(Arc<DeviceKey>);

impl Signer {
    /// Wraps the key.
    pub fn new(key: Arc<DeviceKey>) -> Self {
        Self(key)
    }

    /// The key.
    pub(super) fn key(&self) -> &DeviceKey {
        &self.0
    }
}

impl std::ops::Deref for Frames {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}

impl std::ops::Deref for Parts {
    type Target = Context;

    fn deref(&self) -> &Context {
        &self.context
    }
}

/// [`Frames`] for what is made before the node and must not keep it alive.
#[derive(Clone)]
pub struct WeakFrames(Weak<Parts>);

impl WeakFrames {
    /// The frames, if their node is still there.
    pub fn get(&self) -> Option<Frames> {
        self.0.upgrade().map(Frames)
    }
}

impl Frames {
    /// For what is made before the node and must not keep it alive.
    pub fn weak(&self) -> WeakFrames {
        WeakFrames(Arc::downgrade(&self.0))
    }

    /// Wraps the parts.
    pub fn new(parts: Parts) -> Self {
        Self(Arc::new(parts))
    }

    /// The capabilities that devices offered when they were last connected, limited to their present grants.
    pub fn known_capabilities(&self) -> BTreeMap<DeviceId, Vec<String>> {
        self.known.capabilities(self)
    }

    /// Remembers what a device says it offers, so that a draft for it waits while it is away.
    pub async fn remember_offer(&self, device: &DeviceId, capabilities: &[String]) {
        self.known.remember_offer(self, device, capabilities).await;
    }

    /// Devices that are known to sign their frames.
    pub fn known_signers(&self) -> Arc<BTreeSet<DeviceId>> {
        self.known.signers()
    }

    /// Remembers that a device signs its frames.
    pub async fn remember_signer(&self, device: &DeviceId) {
        self.known.remember_signer(self, device).await;
    }

    /// Tells everyone who waits that proposals changed.
    pub fn proposals_changed(&self) {
        self.proposals_head.send_modify(|n| *n += 1);
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

    /// The newest count that was given.
    pub fn newest(&self) -> u64 {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).1
    }

    /// Hears the logical time of another node.
    pub fn observe(&self, heard: Hlc, now: TimeMs) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.0 = state.0.observe(heard, now, FRAME_FUTURE_MAX_MS);
    }
}
