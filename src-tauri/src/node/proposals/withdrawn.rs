//! Who stands behind an action while it runs: of one that nobody approved the device whose rule asked for it, and of one that
//! is held the persons who approved it. Looked at several times a second; what cannot be looked at does not stand.

use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval, timeout_at};

use super::{Executor, entitled, votes};
use crate::adapters::store::StoreError;
use crate::domain::base::limits::{INTERLOCK_BLIND_MAX_MS, INTERLOCK_EVERY_MS};
use crate::domain::base::{DeviceId, ProposalId};
use crate::domain::capability::Action;
use crate::domain::gate::Permit;
use crate::domain::policy::{Class, Kind};

/// What is looked at of an action.
pub(super) struct Behind {
    /// The proposal.
    pub id: ProposalId,
    action: Action,
    /// Whether it goes on only while somebody keeps it.
    held: bool,
    /// The device that asked for it and as what, where nobody approved it.
    asker: Option<(DeviceId, Class)>,
}

impl Behind {
    /// Of a permit.
    pub(super) fn of(permit: &Permit) -> Self {
        let asker = permit.kept_from().asker();
        Self {
            id: permit.proposal_id().clone(),
            action: permit.action().clone(),
            held: matches!(permit.kind(), Kind::Held { .. }),
            asker: asker.filter(|_| permit.approved_by().is_empty()).cloned(),
        }
    }
}

/// Watches until it is dropped; resolves with why it does not stand any more.
pub(super) async fn watch(executor: &Executor, behind: &Behind) -> String {
    if !behind.held && behind.asker.is_none() {
        return std::future::pending().await;
    }
    let mut tick = interval(Duration::from_millis(INTERLOCK_EVERY_MS));
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let blind = Duration::from_millis(INTERLOCK_BLIND_MAX_MS);
    let mut seen = Instant::now();
    loop {
        tick.tick().await;
        match timeout_at(seen + blind, look(executor, behind)).await {
            Ok(Some(Ok(()))) => seen = Instant::now(),
            Ok(Some(Err(why))) => return why,
            Ok(None) if seen.elapsed() < blind => {}
            Ok(None) | Err(_) => return "its approvals cannot be read".to_owned(),
        }
    }
}

/// Whether it may go on, or why not; `None` if that cannot be read.
async fn look(executor: &Executor, behind: &Behind) -> Option<Result<(), String>> {
    if let Some((device, class)) = &behind.asker
        && let Err(refusal) = entitled::still(executor, &behind.action, *class, device)
    {
        return Some(Err(refusal.message));
    }
    if !behind.held {
        return Some(Ok(()));
    }
    let (s, id, now) = (executor.clone(), behind.id.clone(), executor.now());
    let stand = executor
        .store
        .read_committed("approvals", move |c| votes::still_stand(&s, c, &id, now));
    match stand.await {
        Ok(()) => Some(Ok(())),
        Err(StoreError::Refused(refusal)) => Some(Err(refusal.message)),
        Err(_) => None,
    }
}
