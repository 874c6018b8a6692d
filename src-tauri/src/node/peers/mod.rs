//! Peers: every device this node wants a link with, and where it stands with each.
//!
//! One supervisor per device moves it from state to state; each state is a file, enters with a
//! reason that people can read, and says what comes next. A device with no address is only waited
//! for. How a link is made is the business of `sessions`, who may be a peer that of trust.

mod connected;
mod dialing;
mod down;
mod handle;
pub mod learned;
mod left;
mod on_demand;
mod reach;
mod refused;
mod state;
mod suspect;
mod unreachable;
mod view;
mod waiting;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::json;
use tokio::sync::watch;
use tokio::time::Instant;

use self::handle::Supervising;
pub use self::reach::Dialed;
pub use self::state::{PeerState, State};
use super::ingress::Ingress;
use super::links::target::{Source, Target};
use super::links::{Ended, LinkHandle};
use super::sessions::Sessions;
use crate::adapters::transport::PeerUrl;
use crate::domain::admission::budget::Cause;
use crate::domain::base::limits::{PEER_SEEN_MAX, PEER_TARGETS_MAX, PEERS_MAX};
use crate::domain::base::{DeviceId, TimeMs};
use crate::node::context::{Event, Severity};

/// How often the devices to keep links with are chosen anew, at least.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The next state and why.
struct Next(State, String);

fn next(state: State, why: impl Into<String>) -> Next {
    Next(state, why.into())
}

/// The state of a peer at a moment.
#[derive(Debug, Clone)]
pub struct Standing {
    /// The device.
    pub device: DeviceId,
    /// Where we stand.
    pub state: State,
    /// Why.
    pub why: String,
    /// Since when.
    pub since: TimeMs,
    /// When the next attempt is due, where one is.
    pub next_attempt_at: Option<TimeMs>,
    /// Where it may be reached.
    pub targets: Vec<Target>,
    /// The name that it last gave itself.
    pub name: Option<String>,
    /// The address at which it has last proven itself.
    pub proven: Option<PeerUrl>,
    /// When it last came as a gen-1 node although it is trusted as one of our own kind, since its last link.
    pub came_as_gen1: Option<TimeMs>,
    /// When the first attempt to reach it failed, or it said goodbye, since it was last linked or heard.
    lost_at: Option<TimeMs>,
    /// When the last such attempt failed.
    failed: Option<Instant>,
    /// When something was last sent to it or asked by it.
    used: Option<Instant>,
    /// When it was last asked for while no link with it was needed.
    called: Option<Instant>,
    /// Whether it wants a link that this node dialed to stay.
    asked_to_keep: bool,
}

/// Every peer and where we stand with it.
#[derive(Debug)]
pub struct Peers {
    table: Mutex<BTreeMap<DeviceId, Standing>>,
    /// Devices with which no link is needed.
    spare: Mutex<BTreeSet<DeviceId>>,
    /// Devices that are heard, with which one is needed, and that are not reached.
    unreached: watch::Sender<Vec<String>>,
    changed: watch::Sender<u64>,
    /// Counts up when this node stands otherwise with one of them.
    moved: watch::Sender<u64>,
    /// Whether dialing has ended for good.
    retired: AtomicBool,
}

impl Default for Peers {
    fn default() -> Self {
        Self {
            table: Mutex::default(),
            spare: Mutex::default(),
            unreached: watch::channel(Vec::new()).0,
            changed: watch::channel(0).0,
            moved: watch::channel(0).0,
            retired: AtomicBool::new(false),
        }
    }
}

impl Peers {
    /// Ends dialing for good: the node is stopping.
    pub fn retire(&self) {
        self.retired.store(true, Ordering::Release);
    }

    fn with<T>(&self, f: impl FnOnce(&mut BTreeMap<DeviceId, Standing>) -> T) -> T {
        f(&mut self.table.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn spare(&self) -> MutexGuard<'_, BTreeSet<DeviceId>> {
        self.spare.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A device may be reached here. Of what was seen on the LAN only the newest is kept, and the
    /// address at which the device has proven itself. `false` if there are too many peers already.
    pub fn add(&self, device: &DeviceId, target: Target, now: TimeMs) -> bool {
        let added = self.with(|table| {
            if !table.contains_key(device) && table.len() >= PEERS_MAX {
                return None;
            }
            let standing = entry(table, device, now);
            if standing.targets.iter().any(|t| t.url == target.url) {
                return Some(false);
            }
            let seen = standing.targets.iter().filter(|t| t.source == Source::Seen);
            let full = standing.targets.len() >= PEER_TARGETS_MAX;
            if full || (target.source == Source::Seen && seen.count() >= PEER_SEEN_MAX) {
                let proven = standing.proven.as_ref();
                let oldest = standing
                    .targets
                    .iter()
                    .position(|t| t.source == Source::Seen && proven != Some(&t.url));
                match oldest {
                    Some(oldest) => drop(standing.targets.remove(oldest)),
                    None => return Some(false),
                }
            }
            standing.targets.push(target);
            standing.targets.sort_by_key(|t| t.source);
            Some(true)
        });
        if added == Some(true) {
            self.changed.send_modify(|n| *n += 1);
        }
        added.is_some()
    }

    /// A device is gone from the LAN: what was seen there is forgotten. Whoever rests hears of it, for
    /// only then is the same address, seen again, a new one.
    pub fn unseen(&self, device: &DeviceId) {
        let forgot = self.with(|table| {
            let standing = table.get_mut(device)?;
            let before = standing.targets.len();
            standing.targets.retain(|t| t.source != Source::Seen);
            (standing.targets.len() < before).then_some(())
        });
        if forgot.is_some() {
            self.changed.send_modify(|n| *n += 1);
        }
    }

    /// A device has proven itself at this address.
    fn proven(&self, device: &DeviceId, url: &PeerUrl) {
        self.with(|table| {
            if let Some(standing) = table.get_mut(device) {
                standing.proven = Some(url.clone());
            }
        });
    }

    /// A device that is trusted as one of our own kind has proven its key as gen-1 nodes do, and was turned
    /// away.
    pub fn came_as_gen1(&self, device: &DeviceId, now: TimeMs) {
        self.with(|table| {
            if table.contains_key(device) || table.len() < PEERS_MAX {
                entry(table, device, now).came_as_gen1 = Some(now);
            }
        });
    }

    /// A device has a link.
    fn arrived(&self, device: &DeviceId) {
        self.with(|table| {
            if let Some(standing) = table.get_mut(device) {
                standing.came_as_gen1 = None;
                (standing.lost_at, standing.failed) = (None, None);
            }
        });
    }

    /// Keeps the name that a known device gives itself, for while it is away.
    pub fn named(&self, device: &DeviceId, name: Option<&str>) {
        self.with(|table| {
            if let (Some(standing), Some(name)) = (table.get_mut(device), name) {
                standing.name = Some(name.to_owned());
            }
        });
    }

    /// Where we stand with a device.
    pub fn get(&self, device: &DeviceId) -> Option<Standing> {
        self.with(|table| table.get(device).cloned())
    }

    /// Where we stand with each.
    pub fn all(&self) -> Vec<Standing> {
        self.with(|table| table.values().cloned().collect())
    }

    fn targets(&self, device: &DeviceId) -> Vec<Target> {
        self.with(|table| table.get(device).map(|s| s.targets.clone()))
            .unwrap_or_default()
    }

    fn enter(&self, device: &DeviceId, state: State, why: String, now: TimeMs) {
        self.with(|table| {
            let standing = entry(table, device, now);
            standing.state = state;
            standing.why = why;
            standing.since = now;
            standing.next_attempt_at = None;
        });
        self.moved.send_modify(|n| *n += 1);
    }

    fn due(&self, device: &DeviceId, at: TimeMs) {
        self.with(|table| {
            if let Some(standing) = table.get_mut(device) {
                standing.next_attempt_at = Some(at);
            }
        });
    }
}

fn entry<'a>(
    table: &'a mut BTreeMap<DeviceId, Standing>,
    device: &DeviceId,
    now: TimeMs,
) -> &'a mut Standing {
    table.entry(device.clone()).or_insert_with(|| Standing {
        device: device.clone(),
        state: State::Waiting { failures: 0 },
        why: "not tried yet".to_owned(),
        since: now,
        next_attempt_at: None,
        targets: Vec::new(),
        name: None,
        proven: None,
        came_as_gen1: None,
        lost_at: None,
        failed: None,
        used: None,
        called: None,
        asked_to_keep: false,
    })
}

/// One device as its supervisor sees it.
struct Peer {
    supervising: Supervising,
    ingress: Ingress,
    device: DeviceId,
    links: watch::Receiver<u64>,
    targets: watch::Receiver<u64>,
    /// Links in a row that ended at once.
    flaps: u32,
    /// Which of its addresses is tried next; it moves on with every attempt that fails.
    turn: usize,
    /// Addresses in a row that refused.
    refusals: usize,
    /// Failed attempts in a row beside a link over which the device cannot be told, and when the next is due.
    redial: Option<(u32, Instant)>,
}

/// Why a rest ended.
#[derive(PartialEq)]
enum Woke {
    /// A link is up.
    Linked,
    /// A new address is known.
    Told,
    /// The time is over.
    Due,
}

impl Peer {
    fn link(&self) -> Option<LinkHandle> {
        self.supervising.links.get(&self.device)
    }

    fn may_dial(&self) -> bool {
        !self.supervising.peers.retired.load(Ordering::Acquire)
            && self.supervising.trust.trusts(&self.device)
            && !self.supervising.peers.targets(&self.device).is_empty()
    }

    /// Whether it is to be dialed at all.
    fn is_wanted(&self) -> bool {
        self.supervising.peers.wants(&self.device)
    }

    /// A pause of about this length, at another moment than everybody else's.
    fn jittered(&self, ms: u64) -> u64 {
        ms / 2 + self.supervising.random.below(ms / 2 + 1)
    }

    /// Waits: for a link, for a new address, or until the time is over.
    async fn rest(&mut self, ms: u64) -> Woke {
        let jittered = self.jittered(ms);
        let due = Instant::now() + Duration::from_millis(jittered);
        if self.may_dial() {
            let at = self.supervising.now().plus(jittered);
            self.supervising.peers.due(&self.device, at);
        }
        self.targets.mark_unchanged();
        let known = self.supervising.peers.targets(&self.device);
        let wanted = self.is_wanted();
        loop {
            self.links.mark_unchanged();
            if self.link().is_some() {
                return Woke::Linked;
            }
            if self.supervising.peers.targets(&self.device) != known {
                return Woke::Told;
            }
            // It is heard again, through others.
            if wanted && !self.is_wanted() {
                return Woke::Due;
            }
            tokio::select! {
                biased;
                () = tokio::time::sleep_until(due) => return Woke::Due,
                _ = self.links.changed() => {}
                _ = self.targets.changed() => {}
            }
        }
    }

    /// The state after a rest.
    fn after(&self, woke: &Woke, failures: u32, stay: State, why: &str) -> Next {
        match woke {
            Woke::Linked => next(State::Connected, "a link is up"),
            _ if !self.is_wanted() => next(State::OnDemand, on_demand::WHY),
            Woke::Told if self.may_dial() => {
                next(State::Dialing { failures: 0 }, "a new address is known")
            }
            Woke::Due if self.may_dial() => next(State::Dialing { failures }, "the wait is over"),
            Woke::Told | Woke::Due => next(stay, why),
        }
    }

    /// The state after the end of a link.
    fn after_link(&self, failures: u32) -> Next {
        match self.supervising.links.ended(&self.device) {
            Some(Ended::Here(on_demand::NOT_NEEDED)) => next(State::OnDemand, on_demand::WHY),
            Some(Ended::Left) => next(State::Left, "it said goodbye"),
            Some(why) => next(State::Waiting { failures }, why.to_string()),
            None => next(State::Waiting { failures }, "the link ended"),
        }
    }
}

/// Starts a supervisor for every device that has an address or a link, until the node stops.
pub async fn run(sessions: Sessions, peers: Arc<Peers>, ingress: Ingress) {
    let supervising = Supervising { sessions, peers };
    let mut links = supervising.links.watch();
    let mut targets = supervising.peers.changed.subscribe();
    let mut supervised = BTreeSet::new();
    let mut view = view::View::new(&supervising);
    let mut tick = tokio::time::interval(LOOK_EVERY);
    loop {
        links.mark_unchanged();
        targets.mark_unchanged();
        let now = supervising.now();
        for link in supervising.links.all() {
            let device = &link.info.device;
            supervising.peers.with(|table| {
                if table.contains_key(device) || table.len() < PEERS_MAX {
                    entry(table, device, now);
                }
            });
        }
        // Before they are dialed.
        view.look(&supervising).await;
        for standing in supervising.peers.all() {
            if supervised.insert(standing.device.clone()) {
                let peer = Peer {
                    supervising: supervising.clone(),
                    ingress: ingress.clone(),
                    links: supervising.links.watch(),
                    targets: supervising.peers.changed.subscribe(),
                    device: standing.device,
                    flaps: 0,
                    turn: 0,
                    refusals: 0,
                    redial: None,
                };
                supervising.tasks.passing("peer", supervise(peer));
            }
        }
        tokio::select! {
            biased;
            () = supervising.tasks.stop().cancelled() => return,
            _ = links.changed() => {}
            _ = targets.changed() => {}
            _ = tick.tick() => {}
        }
    }
}

async fn supervise(mut peer: Peer) {
    let stop = peer.supervising.tasks.stop().clone();
    let mut state = match peer.link() {
        Some(_) => State::Connected,
        None if peer.is_wanted() => State::Dialing { failures: 0 },
        None => State::OnDemand,
    };
    let mut why = match state {
        State::OnDemand => on_demand::WHY,
        _ => "just begun",
    }
    .to_owned();
    loop {
        enter(&peer, &state, &why).await;
        let acting = async {
            match state {
                State::Waiting { failures } => waiting::run(&mut peer, failures, &why).await,
                State::Dialing { failures } => dialing::run(&mut peer, failures).await,
                State::Connected => connected::run(&mut peer).await,
                State::Suspect => suspect::run(&mut peer).await,
                State::Unreachable { failures } => {
                    unreachable::run(&mut peer, failures, &why).await
                }
                State::Down { failures } => down::run(&mut peer, failures, &why).await,
                State::Left => left::run(&mut peer).await,
                State::Refused => refused::run(&mut peer, &why).await,
                State::OnDemand => on_demand::run(&mut peer).await,
            }
        };
        let next = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            next = acting => next,
        };
        Next(state, why) = next;
    }
}

/// Shows the new state; what a person would want to know of becomes an event.
async fn enter(peer: &Peer, state: &State, why: &str) {
    let supervising = &peer.supervising;
    let before = supervising.peers.get(&peer.device);
    supervising.peers.enter(
        &peer.device,
        state.clone(),
        why.to_owned(),
        supervising.now(),
    );
    tracing::debug!(peer = peer.device.short(), state = %state.plain(), "{why}");
    let news = matches!(
        state,
        State::Suspect
            | State::Unreachable { .. }
            | State::Down { .. }
            | State::Left
            | State::Refused
    );
    // Said once, not with every attempt that changes nothing.
    if !news || before.is_some_and(|b| b.state.plain() == state.plain() && b.why == why) {
        return;
    }
    let message = format!("Peer {} is {state}: {why}", peer.device.short());
    let data = json!({"deviceId": peer.device, "state": state.plain(), "reason": why});
    supervising
        .journal
        .caused(
            Cause::Device(peer.device.clone()),
            Event::PeerState,
            Severity::Warning,
            &message,
            data,
        )
        .await;
}
