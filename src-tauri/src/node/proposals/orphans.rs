//! What a revoked device has asked for, or was to do: nobody waits for it any longer.

use crate::adapters::store::drafts::{self, DraftStatus};
use crate::adapters::store::proposals;
use crate::domain::base::limits::QUERY_MAX;
use crate::domain::base::{Code, DeviceId};
use crate::domain::proposal::{ProposalRecord, Status};
use crate::node::shared::{DURABLE, Shared};

use super::withdraw;

/// Withdraws the waiting proposals that a device asked for, and refuses the drafts that wait for it.
/// What is running goes on: a person has approved it, and every action has its own end.
pub async fn drop_of(shared: &Shared, device: &DeviceId) {
    let open = shared
        .store
        .read("proposals", |c| proposals::own_open(c, QUERY_MAX))
        .await;
    let open = open.unwrap_or_else(|error| {
        tracing::error!(%error, "the proposals of a revoked device could not be read");
        Vec::new()
    });
    for row in open {
        let asked_by = serde_json::from_str::<ProposalRecord>(&row.record)
            .map(|r| r.requested_by.device_id)
            .ok();
        if row.status != Status::AwaitingApproval || asked_by.as_ref() != Some(device) {
            continue;
        }
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
            Ok(())
        })
        .await;
    if let Err(error) = done {
        tracing::error!(%error, "the drafts for a revoked device could not be refused; they will expire");
    }
}
