//! Standing approvals in use: as their giver's vote on a proposal, checked anew each time.

use rusqlite::Connection;

use super::at;
use crate::adapters::store::standing_approvals::{self as store, StandingRow};
use crate::adapters::store::{StoreError, issuers, operators, trust};
use crate::domain::base::{Code, TimeMs};
use crate::domain::gate::standing_approval::{self as gate, Wish, short};
use crate::domain::gate::{ActuationRuling, VerifiedApproval};
use crate::domain::proposal::equal::Equals;
use crate::domain::proposal::{SignedProposal, ground as rules};
use crate::node::context::Context;
use crate::node::guards::Run;
use crate::node::proposals::mint::begin;
use crate::node::proposals::{Executor, ground, refused, votes};

/// Why one that was given does not count any more, whatever comes; `None` where it does.
pub(super) fn over(
    executor: &Context,
    conn: &Connection,
    row: &StandingRow,
    now: TimeMs,
) -> Result<Option<String>, StoreError> {
    let approval = &row.signed.approval;
    if row.used >= approval.uses_max {
        return Ok(Some("used up".to_owned()));
    }
    if now >= approval.valid_until {
        return Ok(Some("its time has run out".to_owned()));
    }
    match still_given(executor, conn, row, now) {
        Ok(_) => Ok(None),
        Err(StoreError::Refused(refusal)) => Ok(Some(refusal.message)),
        Err(error) => Err(error),
    }
}

/// The key of its giver, who may still give it: neither the person nor what vouches for them has ended since, not even for a
/// while.
fn still_given(
    executor: &Context,
    conn: &Connection,
    row: &StandingRow,
    now: TimeMs,
) -> Result<votes::Key, StoreError> {
    let key = votes::key(executor, conn, &row.signed.approval.operator_id, now)?;
    let record = key.record();
    gate::holds(&row.signed, &at(executor, conn)?, &key.known(), now)
        .map_err(StoreError::Refused)?;
    let ended = operators::person_ended(conn, &record.name)?;
    let accepted = issuers::get(conn, &record.issuer)?.map(|issuer| issuer.accepted_at);
    let trusted = trust::get(conn, &record.issuer)?.map(|trusted| trusted.added_at);
    let since = [ended, accepted, trusted].into_iter().flatten().max();
    if since.is_some_and(|since| since > row.received_at) {
        let why = format!("operator {} was made known here anew since", record.name);
        return Err(refused(Code::OperatorRevoked, why));
    }
    Ok(key)
}

/// The votes that standing approvals are on a proposal now; the one that runs out first comes first.
pub(in crate::node::proposals) fn votes_on(
    executor: &Executor,
    conn: &Connection,
    proposal: &SignedProposal,
    now: TimeMs,
) -> Result<Vec<VerifiedApproval>, StoreError> {
    let record = proposal.record();
    let (action, sources) = (record.action(), record.sources());
    let wish = Wish {
        digest: proposal.digest(),
        action: &action,
        run_ms: record.run_ms,
        level: record.level,
        requester: record.requested_by.kind,
        asked_by: &record.requested_by.device_id,
        led_by: record.led_by.as_ref(),
        taint: &record.taint,
        sources: &sources,
    };
    let mut rows = store::live(conn)?;
    rows.retain(|row| row.signed.approval.target == record.target);
    rows.sort_by_key(|row| (row.signed.approval.valid_until, row.id));
    let mut all = Vec::new();
    for row in rows {
        let key = match still_given(executor, conn, &row, now) {
            Ok(key) => key,
            Err(StoreError::Refused(_)) => continue,
            Err(error) => return Err(error),
        };
        let at = at(executor, conn)?;
        match gate::vote(&row.signed, row.used, &at, &key.known(), &wish, now) {
            Ok(vote) => all.push(vote),
            Err(refusal) => tracing::debug!(
                approval = short(&row.id),
                "a standing approval is no vote: {}",
                refusal.message
            ),
        }
    }
    Ok(all)
}

/// Begins a proposal that has just been minted, if a standing approval is the one vote that it needs. Where something stands
/// in the way it waits for a person, and nothing is used.
pub(in crate::node::proposals) fn start(
    executor: &Executor,
    conn: &Connection,
    signed: &SignedProposal,
    equals: &Equals,
    now: TimeMs,
) -> Result<Option<Run>, StoreError> {
    let votes = votes_on(executor, conn, signed, now)?;
    if votes.is_empty() {
        return Ok(None);
    }
    let seen = executor.guards.orders(&signed.record().actuators());
    let ground = ground::load(executor, conn, signed.record(), now)?;
    let at_steady_ms = executor.guards.steady_ms();
    match rules::rule(signed, &ground, &votes, now) {
        Ok(ActuationRuling::Allow(permit)) => begin(
            executor,
            conn,
            signed,
            (permit, at_steady_ms, seen),
            equals,
            now,
        )
        .map(Some),
        Ok(ActuationRuling::NeedsApproval { .. }) => Ok(None),
        Ok(ActuationRuling::Refuse(refusal)) | Err(refusal) => {
            tracing::info!("the proposal waits for a person: {}", refusal.message);
            Ok(None)
        }
    }
}
