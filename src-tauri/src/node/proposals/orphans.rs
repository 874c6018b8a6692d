//! What a device has asked for that is revoked, or may not ask any more: nobody waits for it any longer.

use crate::adapters::store::drafts::{self, DraftStatus};
use crate::adapters::store::proposals::{self, ProposalRow};
use crate::adapters::store::usage;
use crate::domain::base::limits::QUERY_MAX;
use crate::domain::base::{Code, DeviceId};
use crate::domain::proposal::{ProposalRecord, Status, standing};
use crate::node::context::alarms::AlarmKind;
use crate::node::context::{Context, DURABLE};
use crate::node::proposals::Executor;

use super::ground::known;
use super::withdraw;

/// The waiting proposals that a device asked for, with their records.
async fn waiting_of(context: &Context, device: &DeviceId) -> Vec<(ProposalRow, ProposalRecord)> {
    let read = |c: &rusqlite::Connection| proposals::own_open_all(c, QUERY_MAX);
    let open = context
        .store
        .read("proposals", read)
        .await
        .unwrap_or_else(|error| {
            tracing::error!(%error, "the proposals of a revoked device could not be read");
            Vec::new()
        });
    open.into_iter()
        .filter(|row| row.status == Status::AwaitingApproval)
        .filter_map(|row| {
            let record = serde_json::from_str::<ProposalRecord>(&row.record).ok()?;
            (record.requested_by.device_id == *device).then_some((row, record))
        })
        .collect()
}

/// Takes a waiting proposal back. Whoever decided it meanwhile was first.
async fn take_back(executor: &Executor, row: &ProposalRow, why: String) {
    if let Err(refusal) = withdraw(executor, row.id.clone(), why).await {
        tracing::info!(proposal = row.id.short(), "{refusal}");
    }
}

/// Withdraws the waiting proposals of a device that may not ask for them any more: a grant was taken
/// from it.
pub async fn drop_unentitled(executor: &Executor, device: &DeviceId) {
    let (s, asker) = (executor.clone(), device.clone());
    let read = move |c: &rusqlite::Connection| known(&s, c, &asker);
    let known = match executor.store.read("trust", read).await {
        Ok(known) => known,
        Err(error) => {
            tracing::error!(%error, "what a device may ask for could not be read");
            return;
        }
    };
    for (row, record) in waiting_of(executor, device).await {
        let kind = record.requested_by.kind;
        if let Err((_, why)) = standing::may_ask(device, kind, &known) {
            take_back(executor, &row, why).await;
        }
    }
}

/// Withdraws the waiting proposals that a device asked for, refuses the drafts that wait for it, and
/// removes what it made this node keep.
/// What a person approved and runs goes on, and has its own end; what nobody approved ends (`withdrawn`).
pub async fn drop_of(executor: &Executor, device: &DeviceId) {
    for (row, _) in waiting_of(executor, device).await {
        let why = format!("device {}, which asked for it, was revoked", device.short());
        take_back(executor, &row, why).await;
    }
    let gone = device.clone();
    let done = executor
        .store
        .write(DURABLE, "drafts", move |c| {
            for mut row in drafts::waiting(c)? {
                if row.executor.as_ref() == Some(&gone) {
                    row.status = DraftStatus::Refused;
                    row.code = Some(Code::UntrustedPeer.as_str().to_owned());
                    row.message = Some(format!("device {} was revoked", gone.short()));
                    drafts::put(c, &row)?;
                }
            }
            usage::forget(c, &gone)
        })
        .await;
    match done {
        Ok(()) => executor.proposals_changed(),
        Err(error) => {
            tracing::error!(%error, "what a revoked device left behind could not be removed");
        }
    }
    executor.budgets.forget(device);
    for kind in [AlarmKind::OverBudget, AlarmKind::AddressOverBudget] {
        executor.alarms.clear(kind, device.as_str());
    }
}
