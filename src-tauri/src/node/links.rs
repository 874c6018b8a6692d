//! Links: the authenticated connections of this node, one per device, and requests over them.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::Value;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use crate::adapters::transport::Posture;
use crate::domain::base::limits::{
    LINK_OUTBOX_MAX, PEER_REQUEST_TIMEOUT_MS, PEER_REQUESTS_MAX, SESSIONS_MAX,
};
use crate::domain::base::{Code, DeviceId, Refusal, TimeMs};
use crate::domain::wire::Message;
use crate::domain::wire::envelope::RemoteError;
use crate::domain::wire::handshake::{Feature, Hello};

/// What a link's writer is told.
#[derive(Debug)]
pub enum Outgoing {
    /// A message to send.
    Text(String),
    /// Say goodbye and close.
    Close(u16, &'static str),
}

/// What is known of a link's other end.
#[derive(Debug, Clone)]
pub struct PeerInfo {
    /// The device, proven by the handshake.
    pub device: DeviceId,
    /// Its name, as it says.
    pub name: Option<String>,
    /// Its role, as it says.
    pub role: Option<String>,
    /// What it offers, as it says.
    pub capabilities: Vec<String>,
    /// The additions both sides speak; empty towards a gen-1 node.
    pub features: BTreeSet<Feature>,
    /// Whether we dialed it.
    pub outbound: bool,
    /// The transport label.
    pub label: Option<String>,
    /// How the link is protected.
    pub posture: Posture,
    /// When it was connected.
    pub connected_at: TimeMs,
}

impl PeerInfo {
    /// What a checked [`Hello`] says of the other end.
    pub fn new(
        hello: &Hello,
        outbound: bool,
        label: Option<String>,
        posture: Posture,
        now: TimeMs,
    ) -> Self {
        Self {
            device: hello.device_id.clone(),
            name: hello.display_name.clone(),
            role: hello.role.clone(),
            capabilities: hello.capabilities.clone(),
            features: hello.features.clone(),
            outbound,
            label,
            posture,
            connected_at: now,
        }
    }

    /// Whether the other end is one of our own kind rather than a gen-1 node.
    pub fn speaks(&self, feature: Feature) -> bool {
        self.features.contains(&feature)
    }
}

type Waiting = HashMap<String, oneshot::Sender<Result<Value, RemoteError>>>;

/// One link.
#[derive(Debug)]
pub struct Link {
    /// The other end.
    pub info: PeerInfo,
    /// Ends the link.
    pub stop: CancellationToken,
    outbox: mpsc::Sender<Outgoing>,
    waiting: Mutex<Waiting>,
    next_id: AtomicU64,
    serial: u64,
}

/// Shared handle to a link.
pub type LinkHandle = Arc<Link>;

impl Link {
    /// Sends a message, waiting while the link's queue is full. `false` if the link has ended.
    pub async fn send(&self, text: String) -> bool {
        self.outbox.send(Outgoing::Text(text)).await.is_ok()
    }

    /// Sends a request and waits for its answer.
    ///
    /// # Errors
    /// The other side's refusal, or `BUSY`, `TIMEOUT` and `EXECUTOR_UNREACHABLE` of our own.
    pub async fn request(&self, method: &str, params: &Value) -> Result<Value, RemoteError> {
        let own = |code: Code, message: String| RemoteError {
            code: code.as_str().to_owned(),
            message,
            detail: Value::Null,
        };
        let gone = || {
            own(
                Code::ExecutorUnreachable,
                format!("the link to {} ended", self.info.device.short()),
            )
        };
        let id = self.next_id.fetch_add(1, Ordering::Relaxed).to_string();
        let (answer, waits) = oneshot::channel();
        {
            let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            if waiting.len() >= PEER_REQUESTS_MAX {
                return Err(own(
                    Code::Busy,
                    format!("{PEER_REQUESTS_MAX} requests to this peer are waiting already"),
                ));
            }
            waiting.insert(id.clone(), answer);
        }
        let deadline = Duration::from_millis(PEER_REQUEST_TIMEOUT_MS);
        let result = tokio::time::timeout(deadline, async {
            if !self.send(Message::request(&id, method, params)).await {
                return Err(gone());
            }
            tokio::select! {
                biased;
                answer = waits => answer.unwrap_or_else(|_| Err(gone())),
                () = self.stop.cancelled() => Err(gone()),
            }
        })
        .await;
        self.waiting
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&id);
        result.unwrap_or_else(|_| {
            let sec = PEER_REQUEST_TIMEOUT_MS / 1_000;
            Err(own(
                Code::Timeout,
                format!(
                    "device {} did not answer within {sec} s",
                    self.info.device.short()
                ),
            ))
        })
    }

    /// Takes an answer from the other side; `false` if nobody waits for it.
    pub fn answer(&self, id: &str, result: Result<Value, RemoteError>) -> bool {
        let waiting = self
            .waiting
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(id);
        waiting.is_some_and(|w| w.send(result).is_ok())
    }

    /// Asks the writer to say goodbye, then ends the link.
    pub fn close(&self, code: u16, reason: &'static str) {
        // A full queue means nobody reads: then the goodbye is not worth waiting for.
        let _ = self.outbox.try_send(Outgoing::Close(code, reason));
        self.stop.cancel();
    }
}

/// Every link, one per device.
#[derive(Debug)]
pub struct Links {
    links: Mutex<BTreeMap<DeviceId, LinkHandle>>,
    serial: AtomicU64,
    changed: watch::Sender<u64>,
}

impl Default for Links {
    fn default() -> Self {
        Self {
            links: Mutex::default(),
            serial: AtomicU64::new(0),
            changed: watch::channel(0).0,
        }
    }
}

/// How long the link that the lower device id dialed is protected from its twin, in milliseconds.
const TWIN_GUARD_MS: u64 = 5_000;

impl Links {
    /// Registers a link. The newest one of a device wins, except against the twin that two nodes
    /// make when they dial each other at once: there the one dialed by the lower id stays.
    ///
    /// # Errors
    /// `BUSY` if there are too many sessions, `CONFLICT` for the losing twin.
    pub fn register(
        &self,
        own: &DeviceId,
        info: PeerInfo,
        stop: CancellationToken,
    ) -> Result<(LinkHandle, mpsc::Receiver<Outgoing>), Refusal> {
        let (outbox, inbox) = mpsc::channel(LINK_OUTBOX_MAX);
        let device = info.device.clone();
        let mut links = self.links.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(old) = links.get(&device) {
            let preferred_outbound = *own < device;
            let twin = old.info.outbound != info.outbound
                && old.info.outbound == preferred_outbound
                && info.connected_at.since(old.info.connected_at) < TWIN_GUARD_MS
                && !old.stop.is_cancelled();
            if twin {
                return Err(Refusal::new(
                    Code::Conflict,
                    "the other direction of this link is already up",
                ));
            }
        } else if links.len() >= SESSIONS_MAX {
            return Err(Refusal::new(
                Code::Busy,
                format!("{SESSIONS_MAX} peers are connected already"),
            ));
        }
        let link = Arc::new(Link {
            info,
            stop,
            outbox,
            waiting: Mutex::default(),
            next_id: AtomicU64::new(1),
            serial: self.serial.fetch_add(1, Ordering::Relaxed),
        });
        if let Some(old) = links.insert(device, link.clone()) {
            old.close(1000, "superseded by newer connection from same device");
        }
        drop(links);
        self.changed.send_modify(|n| *n += 1);
        Ok((link, inbox))
    }

    /// Forgets a link that has ended, unless a newer one has taken its place.
    pub fn forget(&self, link: &Link) {
        let mut links = self.links.lock().unwrap_or_else(PoisonError::into_inner);
        if links
            .get(&link.info.device)
            .is_some_and(|l| l.serial == link.serial)
        {
            links.remove(&link.info.device);
        }
        drop(links);
        self.changed.send_modify(|n| *n += 1);
    }

    /// The link to a device.
    pub fn get(&self, device: &DeviceId) -> Option<LinkHandle> {
        self.links
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(device)
            .cloned()
    }

    /// All links, by device id.
    pub fn all(&self) -> Vec<LinkHandle> {
        self.links
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .values()
            .cloned()
            .collect()
    }

    /// Wakes when a link comes or goes.
    pub fn watch(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }
}
