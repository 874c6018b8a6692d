//! The lease of a held run, between its guard, which ends it, and whoever keeps it. In memory alone: nothing here waits
//! for a disk, a log or the network.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use super::Guards;
use crate::adapters::clock::SharedClock;
use crate::domain::base::limits::DEADLINE_LOOK_MS;
use crate::domain::base::{DeviceId, ProposalId, Refusal};
use crate::domain::capability::Capability;
use crate::domain::gate::lease::{Entitled, Keeper, Kept, Lease, Over, Shown, Wish, ended};
use crate::domain::policy::{Class, Kind};

/// The lease of the run that is on, if that is held.
#[derive(Debug, Default)]
pub(super) struct Leased {
    lease: Mutex<Option<Lease>>,
    released: Notify,
}

impl Leased {
    /// Whether a held run is on.
    pub(super) fn is_on(&self) -> bool {
        self.lock().is_some()
    }

    fn lock(&self) -> MutexGuard<'_, Option<Lease>> {
        self.lease.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A run begins; one that is not held has no lease.
    pub(super) fn begin(
        &self,
        id: &ProposalId,
        kind: &Kind,
        kept_from: Entitled,
        deadline: u64,
        now: u64,
    ) {
        *self.lock() = match kind {
            Kind::Held { lease_ms } => Some(Lease::begin(
                id.clone(),
                kept_from,
                *lease_ms,
                deadline,
                now,
            )),
            _ => None,
        };
    }

    /// The run has ended.
    pub(super) fn end(&self) {
        *self.lock() = None;
    }

    /// Resolves when the lease is over; never without one. Looks at the clock often, as deadlines do.
    pub(super) async fn over(&self, clock: &SharedClock) -> Over {
        loop {
            let released = self.released.notified();
            let left = {
                let mut lease = self.lock();
                let now = clock.steady_ms();
                match lease.as_mut() {
                    None => u64::MAX,
                    Some(lease) => match lease.over(now) {
                        Some(over) => return over.clone(),
                        None => lease.until().saturating_sub(now).max(1),
                    },
                }
            };
            tokio::select! {
                biased;
                () = released => {}
                () = tokio::time::sleep(Duration::from_millis(left.min(DEADLINE_LOOK_MS))) => {}
            }
        }
    }
}

impl Guards {
    /// Takes what a keeper asks of the held run of a proposal, and returns at once.
    ///
    /// # Errors
    /// `CONFLICT` if none runs here, `ACTUATOR_BUSY` while somebody else holds it, `NOT_AUTHORIZED` for who may not keep it.
    pub fn keep(&self, id: &ProposalId, keeper: &Keeper, wish: Wish) -> Result<Kept, Refusal> {
        for (_, handle) in self.handles() {
            let mut lease = handle.lease.lock();
            let Some(lease) = lease.as_mut().filter(|lease| lease.is_of(id)) else {
                continue;
            };
            let kept = lease.take(keeper, wish, self.steady_ms());
            if wish == Wish::Release && kept.is_ok() {
                handle.lease.released.notify_one();
            }
            return kept;
        }
        Err(ended(id))
    }

    /// As what a device may keep the held run of a proposal; `None` where it may not, or none is on.
    pub fn kept_as(&self, id: &ProposalId, device: &DeviceId) -> Option<Class> {
        self.handles().into_iter().find_map(|(_, handle)| {
            let lease = handle.lease.lock();
            lease
                .as_ref()
                .filter(|lease| lease.is_of(id))?
                .class_of(device)
        })
    }

    /// How the held run on an actuator stands; `None` where none is on.
    pub fn lease(&self, target: &Capability) -> Option<Shown> {
        let handle = self.handle(target)?;
        let lease = handle.lease.lock();
        lease.as_ref().map(|lease| lease.shown(self.steady_ms()))
    }

    /// How the held run of a proposal stands; `None` where none is on.
    pub fn held(&self, id: &ProposalId) -> Option<Shown> {
        let of = |lease: &&Lease| lease.is_of(id);
        let now = self.steady_ms();
        self.handles().into_iter().find_map(|(_, handle)| {
            let lease = handle.lease.lock();
            lease.as_ref().filter(of).map(|lease| lease.shown(now))
        })
    }
}
