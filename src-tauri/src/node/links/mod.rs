//! Links: the authenticated connections of this node, one per device.

pub mod credit;
pub mod known;
mod link;
pub mod offers;
mod reach;
pub mod room;
pub mod target;
mod vitals;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

pub use self::link::{Lanes, Link, LinkHandle, PeerInfo};
pub use self::reach::Reach;
pub use self::vitals::Reading;
use crate::domain::base::limits::SESSIONS_MAX;
use crate::domain::base::{Code, DeviceId, Refusal};

/// How a link ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended {
    /// This node closed it.
    Here(&'static str),
    /// The peer closed it.
    Peer {
        /// Its WebSocket close code.
        code: Option<u16>,
        /// Its reason; may be empty.
        reason: String,
    },
    /// The peer said that it was going, then went.
    Left,
    /// The connection broke.
    Broke,
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Ended::Here(why) => f.write_str(why),
            Ended::Peer { reason, .. } if !reason.is_empty() => {
                write!(f, "the peer closed it: {reason}")
            }
            Ended::Peer { .. } => f.write_str("the peer closed it"),
            Ended::Left => f.write_str("the peer is leaving"),
            Ended::Broke => f.write_str("the connection broke"),
        }
    }
}

/// Every link, one per device.
#[derive(Debug)]
pub struct Links {
    links: Mutex<BTreeMap<DeviceId, LinkHandle>>,
    /// How the last link of each device ended.
    ends: Mutex<BTreeMap<DeviceId, Ended>>,
    serial: AtomicU64,
    changed: watch::Sender<u64>,
}

impl Default for Links {
    fn default() -> Self {
        Self {
            links: Mutex::default(),
            ends: Mutex::default(),
            serial: AtomicU64::new(0),
            changed: watch::channel(0).0,
        }
    }
}

/// Refuses a link of a gen-1 node that acts for us where we have dialed it.
fn stands(old: &Link) -> Result<(), Refusal> {
    if old.info.cannot_be_told() || !old.info.acts || old.stop.is_cancelled() {
        return Ok(());
    }
    Err(Refusal::new(
        Code::Conflict,
        format!(
            "gen-1 node {} acts for this node, which has dialed it and keeps that link; take this node out of its peers",
            old.info.device.short()
        ),
    ))
}

/// How long the link that the lower device id dialed is protected from its twin, in milliseconds.
const TWIN_GUARD_MS: u64 = 5_000;

impl Links {
    /// Registers a link. The newest one of a device wins, except against the twin that two nodes
    /// make when they dial each other at once: there the one dialed by the lower id stays. Of a gen-1
    /// node that acts for us, a link that it dialed never replaces one that we dialed.
    ///
    /// # Errors
    /// `BUSY` if there are too many sessions, `CONFLICT` for the losing twin and as
    /// [`Links::may_come_in`].
    pub fn register(
        &self,
        own: &DeviceId,
        info: PeerInfo,
        stop: CancellationToken,
    ) -> Result<(LinkHandle, Lanes), Refusal> {
        let device = info.device.clone();
        let mut links = self.links.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(old) = links.get(&device) {
            if info.cannot_be_told() {
                stands(old)?;
            }
            let preferred_outbound = *own < device;
            let twin = !info.acts
                && old.info.outbound != info.outbound
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
        let serial = self.serial.fetch_add(1, Ordering::Relaxed);
        let (link, lanes) = Link::new(info, stop, serial);
        if let Some(old) = links.insert(device, link.clone()) {
            old.close(1000, "superseded by newer connection from same device");
        }
        drop(links);
        self.changed.send_modify(|n| *n += 1);
        Ok((link, lanes))
    }

    /// Whether a link that this device dialed may be registered beside the one that stands.
    ///
    /// # Errors
    /// `CONFLICT` if the device acts for this node, which has dialed it: that link stands until it ends or
    /// leaves pings unanswered.
    pub fn may_come_in(&self, device: &DeviceId, acts: bool) -> Result<(), Refusal> {
        let links = self.links.lock().unwrap_or_else(PoisonError::into_inner);
        match links.get(device) {
            Some(old) if acts => stands(old),
            _ => Ok(()),
        }
    }

    /// Trust in the other end of a link is over: from now on nothing goes over it but the way of its
    /// actuators to their safe state. `false` if that was so before.
    pub fn part(&self, link: &Link) -> bool {
        let first = link.part();
        if first {
            // Who waits for a link to say the safe state over looks again.
            self.changed.send_modify(|n| *n += 1);
        }
        first
    }

    /// Forgets a link that has ended, unless a newer one has taken its place.
    pub fn forget(&self, link: &Link, why: &Ended) {
        let mut links = self.links.lock().unwrap_or_else(PoisonError::into_inner);
        if links
            .get(&link.info.device)
            .is_some_and(|l| l.serial == link.serial)
        {
            links.remove(&link.info.device);
            let mut ends = self.ends.lock().unwrap_or_else(PoisonError::into_inner);
            ends.insert(link.info.device.clone(), why.clone());
        }
        drop(links);
        self.changed.send_modify(|n| *n += 1);
    }

    /// How the last link of a device ended, if it had one.
    pub fn ended(&self, device: &DeviceId) -> Option<Ended> {
        self.ends
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(device)
            .cloned()
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
