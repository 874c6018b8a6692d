//! The doorway: every accepted connection waits here until it has authenticated.
//!
//! The pool of strangers is bounded. When it is full the one that has waited longest is cut to make
//! room, so that a crowd of idle sockets can never keep a trusted peer out, not even from the same
//! address. Each stranger also has a deadline. Who is trusted is decided elsewhere, by `promote`.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Counts of the doorway, for the metrics and the status page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DoorwayNumbers {
    /// Connections that are open and have not authenticated.
    pub open_unauthenticated: usize,
    /// Connections cut to make room for a newer one, since the start.
    pub evicted_total: u64,
    /// Connections that did not authenticate in time, since the start.
    pub expired_total: u64,
    /// Upgrades refused because of their `Origin`, since the start.
    pub refused_origins_total: u64,
    /// Upgrades refused because of their `Host`, since the start.
    pub refused_hosts_total: u64,
}

/// The pool of connections that have not authenticated.
#[derive(Debug)]
pub struct Doorway {
    waiting: Mutex<Waiting>,
    capacity: usize,
    deadline: Duration,
    evicted: AtomicU64,
    expired: AtomicU64,
    pub(super) refused_origins: AtomicU64,
    pub(super) refused_hosts: AtomicU64,
}

#[derive(Debug, Default)]
struct Waiting {
    /// Keyed by arrival, so that the first is the oldest and the next to expire.
    strangers: BTreeMap<u64, Stranger>,
    arrivals: u64,
}

#[derive(Debug)]
struct Stranger {
    deadline: Instant,
    ends: Arc<Ends>,
}

#[derive(Debug)]
struct Ends {
    /// Ends the connection at once.
    cut: CancellationToken,
    /// The deadline passed; a request under way may finish.
    expired: CancellationToken,
    upgraded: AtomicBool,
}

impl Doorway {
    /// A pool of at most `capacity` strangers that have `deadline` each to authenticate.
    pub fn new(capacity: usize, deadline: Duration) -> Arc<Doorway> {
        Arc::new(Doorway {
            waiting: Mutex::default(),
            capacity: capacity.max(1),
            deadline,
            evicted: AtomicU64::new(0),
            expired: AtomicU64::new(0),
            refused_origins: AtomicU64::new(0),
            refused_hosts: AtomicU64::new(0),
        })
    }

    /// The counts at this moment.
    pub fn numbers(&self) -> DoorwayNumbers {
        DoorwayNumbers {
            open_unauthenticated: self.lock().strangers.len(),
            evicted_total: self.evicted.load(Ordering::Relaxed),
            expired_total: self.expired.load(Ordering::Relaxed),
            refused_origins_total: self.refused_origins.load(Ordering::Relaxed),
            refused_hosts_total: self.refused_hosts.load(Ordering::Relaxed),
        }
    }

    /// Gives a new connection its place; the oldest stranger leaves if there is none. The connection
    /// also ends with `stop`.
    pub fn enter(self: &Arc<Self>, stop: &CancellationToken) -> Slot {
        let ends = Arc::new(Ends {
            cut: stop.child_token(),
            expired: CancellationToken::new(),
            upgraded: AtomicBool::new(false),
        });
        let mut waiting = self.lock();
        let mut leaving = Vec::new();
        while waiting.strangers.len() >= self.capacity {
            let Some((_, oldest)) = waiting.strangers.pop_first() else {
                break;
            };
            leaving.push(oldest);
        }
        let arrival = waiting.arrivals;
        waiting.arrivals += 1;
        let stranger = Stranger {
            deadline: Instant::now() + self.deadline,
            ends: Arc::clone(&ends),
        };
        waiting.strangers.insert(arrival, stranger);
        drop(waiting);
        for stranger in leaving {
            self.evicted.fetch_add(1, Ordering::Relaxed);
            stranger.ends.cut.cancel();
        }
        Slot(Arc::new(Place {
            doorway: Arc::clone(self),
            arrival,
            ends,
        }))
    }

    /// Cuts the stranger that has waited longest, if any (the system ran out of descriptors).
    pub(super) fn evict_oldest(&self) {
        let oldest = self.lock().strangers.pop_first();
        if let Some((_, stranger)) = oldest {
            self.evicted.fetch_add(1, Ordering::Relaxed);
            stranger.ends.cut.cancel();
        }
    }

    /// Ends every stranger whose deadline has passed, and says when to come back.
    pub(super) fn sweep(&self, now: Instant) -> Instant {
        let mut late = Vec::new();
        let mut waiting = self.lock();
        let next = loop {
            match waiting.strangers.first_key_value() {
                Some((_, stranger)) if stranger.deadline > now => break stranger.deadline,
                Some(_) => late.extend(waiting.strangers.pop_first()),
                None => break now + self.deadline,
            }
        };
        drop(waiting);
        for (_, stranger) in late {
            self.expired.fetch_add(1, Ordering::Relaxed);
            stranger.ends.expired.cancel();
            if stranger.ends.upgraded.load(Ordering::SeqCst) {
                stranger.ends.cut.cancel();
            }
        }
        next
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection's place at the door. Clones share it; the last one dropped gives it back.
#[derive(Debug, Clone)]
pub struct Slot(Arc<Place>);

/// A connection that may have ended meanwhile.
#[derive(Debug, Clone)]
pub struct Connection(Weak<Place>);

impl Connection {
    /// Whether it stands.
    pub fn is_open(&self) -> bool {
        self.0.strong_count() > 0
    }

    /// Whether this is its place.
    pub fn is_of(&self, slot: &Slot) -> bool {
        std::ptr::eq(self.0.as_ptr(), Arc::as_ptr(&slot.0))
    }

    /// Ends it at once.
    pub fn cut(&self) {
        if let Some(place) = self.0.upgrade() {
            place.ends.cut.cancel();
        }
    }
}

#[derive(Debug)]
struct Place {
    doorway: Arc<Doorway>,
    arrival: u64,
    ends: Arc<Ends>,
}

impl Slot {
    /// The connection, without keeping its place.
    pub fn connection(&self) -> Connection {
        Connection(Arc::downgrade(&self.0))
    }

    /// Takes the connection out of the pool: it has authenticated and is never evicted again.
    /// Answers `false` if it was too late, because the connection is already being closed.
    pub fn promote(&self) -> bool {
        self.0.doorway.lock().strangers.remove(&self.0.arrival);
        !self.0.ends.cut.is_cancelled() && !self.0.ends.expired.is_cancelled()
    }

    /// Resolves when the connection has to end: evicted, expired after its upgrade, or the listener
    /// was stopped.
    pub fn evicted(&self) -> impl Future<Output = ()> + Send + 'static {
        self.0.ends.cut.clone().cancelled_owned()
    }

    /// Ends the connection when it is cancelled.
    pub fn cut(&self) -> &CancellationToken {
        &self.0.ends.cut
    }

    pub(super) fn expired(&self) -> &CancellationToken {
        &self.0.ends.expired
    }

    /// From now on the deadline ends the connection without waiting for a request.
    pub(super) fn mark_upgraded(&self) {
        self.0.ends.upgraded.store(true, Ordering::SeqCst);
        if self.0.ends.expired.is_cancelled() {
            self.0.ends.cut.cancel();
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.doorway.lock().strangers.remove(&self.arrival);
    }
}
