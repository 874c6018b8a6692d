//! Proposals at their executor: minted, decided, executed, ended. And mirrors of others' proposals.
//!
//! Every step is one transaction on the store's single writer: it loads the stored record and all it is judged by, asks
//! the pure rule (`domain/proposal`), and writes the step that the rule gives: the next state, the audit entry and the run
//! ahead of the act. So two decisions, a retry or a crash meet a compare-and-set, not a race (invariants I5, I6, I8).

mod at_node;
pub mod checks;
mod decide;
mod entitled;
mod equal;
pub mod estop;
mod execute;
mod executor;
mod ground;
pub mod hold;
mod interlocks;
pub mod left;
mod mint;
pub mod mirror;
mod offer;
mod orphans;
mod recover;
pub mod rewired;
mod running;
mod sequence;
pub mod standing_approvals;
mod unrecorded;
mod votes;
mod withdrawn;

pub use at_node::run as show_codes;
pub use decide::{decide, decide_of, withdraw};
pub use execute::{Stopped, stop, stop_of};
pub use executor::Executor;
pub use ground::now_set;
pub use mint::{Minted, mint};
pub use offer::offer;
pub use orphans::{drop_of, drop_unentitled};
pub use recover::recover;
pub use running::Running;
pub use unrecorded::Unrecorded;

use std::time::Duration;

use rusqlite::Connection;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::context::timekeeping::note_time;
use super::context::{Context, DURABLE};
use crate::adapters::store::proposals::{NewProposal, ProposalRow};
use crate::adapters::store::{StoreError, cases, proposals};
use crate::domain::admission::budget::Cause;
use crate::domain::base::limits::QUERY_MAX;
use crate::domain::base::{Code, ProposalId, Refusal, TimeMs};
use crate::domain::gate::SignedDecision;
use crate::domain::identity::Signature;
use crate::domain::policy::sequence::is_sequence;
use crate::domain::proposal::case::{Step, Write};
use crate::domain::proposal::{SignedProposal, Status, end};
use crate::node::context::{Event, Severity};
use crate::node::guards::moved::{self, Moved};

/// What the frame says it is in which an executor tells how an action ended.
pub const OUTCOME: &str = "proposal.outcome";

/// Where a proposal stands after a decision.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Standing {
    /// The proposal.
    #[cfg_attr(test, schema(value_type = String))]
    pub id: ProposalId,
    /// Its status now.
    pub status: Status,
    /// Distinct operators who approved.
    pub approvals: u32,
    /// Distinct operators needed.
    pub required: u32,
    /// Whether this very decision had been taken before, so that nothing changed now.
    #[serde(default)]
    pub repeated: bool,
    /// What that means, in a sentence.
    pub detail: String,
}

fn refused(code: Code, message: impl Into<String>) -> StoreError {
    StoreError::Refused(Refusal::new(code, message))
}

/// A record as the store keeps it; `own` says that this node is its executor.
fn row_of(signed: &SignedProposal, status: Status, own: bool, updated_at: TimeMs) -> NewProposal {
    let record = signed.record();
    NewProposal {
        id: record.proposal_id.clone(),
        executor: record.executor.clone(),
        intent_key: record.intent_key(),
        status,
        level: record.level,
        target: record.target.as_str().to_owned(),
        operation: record.operation.clone(),
        record: signed.text().to_owned(),
        digest: *signed.digest(),
        signature: signed.signature().to_text(),
        own,
        created_at: record.created_at,
        expires_at: record.expires_at,
        updated_at,
        draft_id: record.draft_id.clone(),
    }
}

/// Opens a stored record of our own and checks that nobody has altered it.
fn open(context: &Context, row: &ProposalRow) -> Result<SignedProposal, StoreError> {
    let signature = Signature::from_text(&row.signature).map_err(|e| {
        refused(
            Code::DigestMismatch,
            format!("proposal {}: {e}", row.id.short()),
        )
    })?;
    SignedProposal::open(&row.record, signature, &context.public_key).map_err(StoreError::Refused)
}

/// Writes a step inside a transaction, with its audit entries.
fn write(
    executor: &Executor,
    conn: &Connection,
    step: &Step,
    decision: Option<&SignedDecision>,
) -> Result<(), StoreError> {
    let now = executor.now();
    executor.journal.step(conn, step, decision)?;
    for write in &step.0 {
        if let Write::Run { id, target, .. } = write {
            note_time(conn, now)?;
            if is_sequence(target) {
                // Each of its steps is noted when it begins.
                continue;
            }
            let moved = Moved::new(&executor.guards, target.clone(), id.clone(), now);
            moved::begins(conn, moved)?;
            executor.guards.moved_changes();
        }
    }
    Ok(())
}

/// Expires what nobody decided in time; looks every second.
pub async fn expire(executor: Executor) {
    let mut tick = tokio::time::interval(Duration::from_secs(1));
    loop {
        tokio::select! {
            biased;
            () = executor.tasks.stop().cancelled() => return,
            _ = tick.tick() => {}
        }
        let now = executor.now();
        let waiting = executor
            .store
            .read_committed("expiry", |c| proposals::own_open_all(c, QUERY_MAX))
            .await;
        let waiting = waiting.unwrap_or_default();
        let count = waiting
            .iter()
            .filter(|r| r.status == Status::AwaitingApproval)
            .count();
        executor
            .metrics
            .proposals_waiting
            .set(i64::try_from(count).unwrap_or(i64::MAX));
        for row in waiting
            .into_iter()
            .filter(|r| r.status == Status::AwaitingApproval && r.expires_at <= now)
        {
            let (s, id) = (executor.clone(), row.id.clone());
            let done = executor
                .store
                .write(DURABLE, "expire", move |c| {
                    let (case, _) = cases::load(c, &id)?;
                    let step = end::expire(&case, now).map_err(StoreError::Refused)?;
                    write(&s, c, &step, None)
                })
                .await;
            match done {
                Ok(()) => {
                    executor.proposals_changed();
                    let message = format!(
                        "Proposal {} expired: nobody decided in time",
                        row.id.short()
                    );
                    let data = json!({"proposalId": row.id});
                    let by =
                        open(&executor, &row).map(|p| p.record().requested_by.device_id.clone());
                    let cause = by.map_or(Cause::Own, |by| Cause::of(&by, executor.own_id()));
                    executor
                        .journal
                        .caused(
                            cause,
                            Event::ProposalExpired,
                            Severity::Warning,
                            &message,
                            data,
                        )
                        .await;
                }
                Err(error) => tracing::warn!(%error, "a proposal could not be expired"),
            }
        }
    }
}
