//! What a revoked device has asked for, or was to do: nobody waits for it any longer.

use crate::adapters::store::drafts::{self, DraftStatus};
use crate::adapters::store::proposals::{self, ProposalRow};
use crate::adapters::store::usage;
use crate::domain::base::limits::QUERY_MAX;
use crate::domain::base::{Code, DeviceId};
use crate::domain::proposal::{ProposalRecord, Status};
use crate::node::alarms::AlarmKind;
use crate::node::shared::{DURABLE, Shared};

use super::withdraw;

/// The waiting proposals that a device asked for.
async fn waiting_of(shared: &Shared, device: &DeviceId) -> Vec<ProposalRow> {
    let read = |c: &rusqlite::Connection| proposals::own_open_all(c, QUERY_MAX);
    let mut open = shared
        .store
        .read("proposals", read)
        .await
        .unwrap_or_else(|error| {
            tracing::error!(%error, "the proposals of a revoked device could not be read");
            Vec::new()
        });
    open.retain(|row| {
        let record = serde_json::from_str::<ProposalRecord>(&row.record);
        row.status == Status::AwaitingApproval
            && record.is_ok_and(|r| r.requested_by.device_id == *device)
    });
    open
}

/// Withdraws the waiting proposals that a device asked for, refuses the drafts that wait for it, and
/// removes what it made this node keep.
/// What is running goes on: a person has approved it, and every action has its own end.
pub async fn drop_of(shared: &Shared, device: &DeviceId) {
    for row in waiting_of(shared, device).await {
        let why = format!("device {}, which asked for it, was revoked", device.short());
        // Whoever decided it meanwhile was first.
        if let Err(refusal) = withdraw(shared, row.id.clone(), why).await {
            tracing::info!(proposal = row.id.short(), "{refusal}");
        }
    }
    let gone = device.clone();
    let done = shared
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
        Ok(()) => shared.proposals_changed(),
        Err(error) => {
            tracing::error!(%error, "what a revoked device left behind could not be removed");
        }
    }
    shared.budgets.forget(device);
    shared.alarms.clear(AlarmKind::OverBudget, device.as_str());
}
