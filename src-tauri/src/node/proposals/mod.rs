//! Proposals at their executor: minted, decided, executed, ended. And mirrors of others' proposals.
//!
//! Every step is one transaction on the store's single writer: it reads the stored record, checks
//! everything again and writes the next state, the audit entry and the run ahead of the act. So two
//! decisions, a retry or a crash meet a compare-and-set, not a race (invariants I5, I6, I8).

pub mod checks;
mod decide;
mod equal;
pub mod estop;
mod execute;
mod interlocks;
pub mod left;
mod mint;
pub mod mirror;
mod orphans;
mod running;
mod unrecorded;

pub use decide::{decide, decide_of, withdraw};
pub use execute::{Stopped, recover, stop, stop_of};
pub use mint::{Minted, mint};
pub use orphans::{drop_of, drop_unentitled};
pub use running::Running;
pub use unrecorded::Unrecorded;

use std::collections::BTreeMap;
use std::time::Duration;

use rusqlite::Connection;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::context::DURABLE;
use super::context::timekeeping::clock_trusted;
use super::gen1::actuators;
use super::health;
use super::shared::Shared;
use crate::adapters::store::cited::of_origin;
use crate::adapters::store::proposals::{NewProposal, ProposalRow};
use crate::adapters::store::{StoreError, facts, proposals, runs, trust};
use crate::domain::admission::budget::Cause;
use crate::domain::base::limits::QUERY_MAX;
use crate::domain::base::{Code, DeviceId, ProposalId, Refusal, TimeMs};
use crate::domain::capability::{Action, Capability};
use crate::domain::gate::{
    ActuationRuling, ExecutionRequest, Gen1Command, VerifiedApproval, actuation,
};
use crate::domain::identity::Signature;
use crate::domain::policy::{EvidenceView, History, Phase, Request, Ruling, RunView, Terms};
use crate::domain::proposal::standing::{self, Coded, Known};
use crate::domain::proposal::{Evidence, ProposalRecord, SignedProposal, Status};
use crate::node::context::{Event, Severity};

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
fn open(shared: &Shared, row: &ProposalRow) -> Result<SignedProposal, StoreError> {
    let signature = Signature::from_text(&row.signature).map_err(|e| {
        refused(
            Code::DigestMismatch,
            format!("proposal {}: {e}", row.id.short()),
        )
    })?;
    SignedProposal::open(&row.record, signature, shared.key.public()).map_err(StoreError::Refused)
}

/// What the store says of a device now; the copy in memory may lag behind a revocation.
fn known(shared: &Shared, conn: &Connection, device: &DeviceId) -> Result<Known, StoreError> {
    if device == shared.own_id() {
        return Ok(Known::Own);
    }
    Ok(match trust::get(conn, device)? {
        Some(record) if record.is_live() => Known::Trusted(record.grants),
        Some(_) => Known::Revoked,
        None => Known::Stranger,
    })
}

/// Everybody a record names, as the store knows them now.
fn known_of(
    shared: &Shared,
    conn: &Connection,
    record: &ProposalRecord,
) -> Result<BTreeMap<DeviceId, Known>, StoreError> {
    let origins = record.evidence.iter().map(|e| &e.origin);
    origins
        .chain([&record.requested_by.device_id])
        .map(|device| Ok((device.clone(), known(shared, conn, device)?)))
        .collect()
}

/// The evidence of the wish, without what only an interlock looks at.
fn cited(evidence: &[Evidence]) -> impl Iterator<Item = &Evidence> {
    evidence.iter().filter(|e| !e.interlock)
}

/// Looks again, in the deciding transaction, at what may have changed since the proposal was minted:
/// who asked, where its evidence came from, how old that is by now, and what the policy says.
fn terms_now(
    shared: &Shared,
    conn: &Connection,
    record: &ProposalRecord,
    now: TimeMs,
) -> Result<Terms, StoreError> {
    let (looked, ruling) = evaluate_now(shared, conn, record, now)?;
    if let Some((code, check)) = looked.into_iter().find(|(_, check)| !check.passed) {
        return Err(refused(code, check.detail));
    }
    match ruling {
        Ruling::Deny(denial) => Err(refused(denial.code, denial.message)),
        Ruling::Allow(terms) if terms.safe_state != record.safe_state => Err(refused(
            Code::PolicyDenied,
            format!(
                "the policy has changed since: the action would end with {}, the proposal says {}; a new proposal is needed",
                terms.safe_state, record.safe_state
            ),
        )),
        Ruling::Allow(terms) => Ok(terms),
    }
}

fn evaluate_now(
    shared: &Shared,
    conn: &Connection,
    record: &ProposalRecord,
    now: TimeMs,
) -> Result<(Vec<Coded>, Ruling), StoreError> {
    let devices = known_of(shared, conn, record)?;
    let known = |d: &DeviceId| devices.get(d).cloned().unwrap_or(Known::Stranger);
    let evidence: Vec<EvidenceView> = cited(&record.evidence)
        .map(|e| standing::weigh(e, record.created_at, &known, now))
        .collect();
    let action = record.action();
    let request = Request {
        action: &action,
        requester: record.requested_by.kind,
        from: &record.requested_by.device_id,
        taint: &record.taint,
        evidence: &evidence,
        phase: Phase::Execute,
        by_gen1: by_gen1(shared, &action.target),
    };
    let metrics = shared.policy.current().metrics();
    let facts = facts::numeric_of(conn, &metrics, shared.moment_at(now))?;
    let ruling = shared.policy.current().evaluate(
        &request,
        &facts,
        &history(conn, now)?,
        now,
        shared.own_id(),
    );
    let mut looked = standing::look_again(record, &known);
    looked.push(standing::unchanged(replaced(conn, record)?));
    Ok((looked, ruling))
}

/// The first cited frame in whose place another content of its origin stands now: one that is better
/// proven. One that was pruned is not replaced.
fn replaced<'a>(
    conn: &Connection,
    record: &'a ProposalRecord,
) -> Result<Option<&'a Evidence>, StoreError> {
    for evidence in cited(&record.evidence) {
        let stands = of_origin(conn, &evidence.frame_id, &evidence.origin)?;
        if stands.is_some_and(|frame| frame.content != evidence.content) {
            return Ok(Some(evidence));
        }
    }
    Ok(None)
}

/// The executor's runs of the last day, as the policy counts them.
fn history(conn: &Connection, now: TimeMs) -> Result<History, StoreError> {
    let since = TimeMs(now.0.saturating_sub(24 * 3_600_000));
    let runs = runs::since(conn, since)?
        .into_iter()
        .map(|r| RunView {
            rule: r.rule,
            target: r.target,
            operation: r.operation,
            started_at: r.started_at,
            duration_ms: r
                .ended_at
                .map_or(r.planned_ms, |end| end.since(r.started_at)),
        })
        .collect();
    Ok(History { runs })
}

/// Whether a gen-1 node acts on an actuator: never without a person.
fn by_gen1(shared: &Shared, target: &Capability) -> bool {
    shared.drivers.gen1(target).is_some()
}

/// What a gen-1 node would be told for an action; `None` where this node acts itself.
fn gen1_command(shared: &Shared, action: &Action) -> Result<Option<Gen1Command>, StoreError> {
    let command = shared
        .drivers
        .gen1(&action.target)
        .map(|d| d.command(action));
    let command = command.transpose();
    command.map_err(|e| refused(Code::InvalidParams, e.to_string()))
}

/// Whether the gen-1 node that would act can be told, and would be told what the record says. Nothing is
/// sent to one that cannot.
fn can_be_told(shared: &Shared, record: &ProposalRecord) -> Result<(), StoreError> {
    if gen1_command(shared, &record.action())? != record.gen1 {
        let why = "which gen-1 node acts, or what it is told, has changed in the configuration since; a new proposal is needed";
        return Err(refused(Code::PolicyDenied, why));
    }
    let Some(command) = &record.gen1 else {
        return Ok(());
    };
    let link = actuators::link(shared, &command.device_id);
    link.map(drop).map_err(StoreError::Refused)
}

/// Nothing starts on an actuator that is not confirmed to be in its safe state.
fn safe_before(shared: &Shared, target: &Capability) -> Result<(), StoreError> {
    match shared.guards.view(target) {
        Some(view) if !view.safe && !view.running => Err(refused(
            Code::ActuatorUnsafe,
            format!(
                "{target} is not confirmed to be in its safe state ({}); it is being tried, and nothing starts on it until then",
                view.problem
                    .as_deref()
                    .unwrap_or("no answer of its driver yet")
            ),
        )),
        _ => Ok(()),
    }
}

/// Asks the gate about a record with the votes it has, inside a transaction.
fn gate(
    shared: &Shared,
    conn: &Connection,
    signed: &SignedProposal,
    votes: &[VerifiedApproval],
    now: TimeMs,
) -> Result<ActuationRuling, StoreError> {
    let record = signed.record();
    estop::check(shared, conn)?;
    health::check_in_place(shared)?;
    let busy = proposals::executing_on(conn, record.target.as_str())?;
    if let Some(other) = busy {
        return Err(refused(
            Code::ActuatorBusy,
            format!(
                "{} is busy with proposal {}; decide again when it has ended",
                record.target,
                other.short()
            ),
        ));
    }
    can_be_told(shared, record)?;
    safe_before(shared, &record.target)?;
    let terms = terms_now(shared, conn, record, now)?;
    let action = record.action();
    let request = ExecutionRequest {
        proposal_id: &record.proposal_id,
        digest: signed.digest(),
        executor: &record.executor,
        own: shared.own_id(),
        action: &action,
        level: record.level,
        quorum: record.quorum,
        run_ms: record.run_ms,
        taint: &record.taint,
        sources: &record.sources(),
        by_gen1: by_gen1(shared, &record.target) || record.gen1.is_some(),
        expires_at: record.expires_at,
    };
    Ok(actuation::rule(
        &request,
        &terms,
        votes,
        clock_trusted(conn, now)?,
        now,
    ))
}

/// Moves a proposal on inside a transaction, with its audit entry.
fn step(
    shared: &Shared,
    conn: &Connection,
    id: &ProposalId,
    from: Status,
    to: Status,
    reason: Option<&str>,
    detail: serde_json::Value,
) -> Result<(), StoreError> {
    debug_assert!(from.can_become(to));
    let now = shared.now();
    if !proposals::transition(conn, id, from, to, now, reason)? {
        return Err(refused(
            Code::ProposalNotWaiting,
            format!("proposal {} is no longer {from}", id.short()),
        ));
    }
    shared
        .journal
        .audit(conn, &format!("proposal.{to}"), id.as_str(), detail)
}

/// Expires what nobody decided in time; looks every second.
pub async fn expire(shared: Shared) {
    let mut tick = tokio::time::interval(Duration::from_secs(1));
    loop {
        tokio::select! {
            biased;
            () = shared.tasks.stop().cancelled() => return,
            _ = tick.tick() => {}
        }
        let now = shared.now();
        let waiting = shared
            .store
            .read("expiry", |c| proposals::own_open_all(c, QUERY_MAX))
            .await;
        let waiting = waiting.unwrap_or_default();
        let count = waiting
            .iter()
            .filter(|r| r.status == Status::AwaitingApproval)
            .count();
        shared
            .metrics
            .proposals_waiting
            .set(i64::try_from(count).unwrap_or(i64::MAX));
        for row in waiting
            .into_iter()
            .filter(|r| r.status == Status::AwaitingApproval && r.expires_at <= now)
        {
            let (s, id) = (shared.clone(), row.id.clone());
            let done = shared
                .store
                .write(DURABLE, "expire", move |c| {
                    let why = "nobody decided in time";
                    step(
                        &s,
                        c,
                        &id,
                        Status::AwaitingApproval,
                        Status::Expired,
                        Some(why),
                        json!({}),
                    )
                })
                .await;
            match done {
                Ok(()) => {
                    shared.proposals_changed();
                    let message = format!(
                        "Proposal {} expired: nobody decided in time",
                        row.id.short()
                    );
                    let data = json!({"proposalId": row.id});
                    let by = open(&shared, &row).map(|p| p.record().requested_by.device_id.clone());
                    let cause = by.map_or(Cause::Own, |by| Cause::of(&by, shared.own_id()));
                    shared
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
