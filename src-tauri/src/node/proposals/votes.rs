//! Votes: a decision that was signed somewhere, checked by what this executor knows of its operators, their issuers and
//! the persons behind the keys, inside the transaction that rules on it.

use rusqlite::Connection;

use super::refused;
use crate::adapters::store::operators::OperatorRow;
use crate::adapters::store::{StoreError, approvals, channels, issuers, operators, records, trust};
use crate::domain::admission::{Grant, TrustRecord};
use crate::domain::base::limits::OPERATOR_CONFIRM_MAX_AGE_MS;
use crate::domain::base::{Code, DeviceId, OperatorId, ProposalId, TimeMs};
use crate::domain::gate::approval::{Known, Subject, Verdict, verify_through};
use crate::domain::gate::channel::{self, Through};
use crate::domain::gate::{Channel, OperatorRecord, SignedDecision, VerifiedApproval};
use crate::domain::identity::PublicKey;
use crate::domain::proposal::SignedProposal;
use crate::node::context::Context;

/// A key that is known here, with what this executor knows of it now.
pub(super) struct Key {
    row: OperatorRow,
    person: OperatorId,
    issuer_key: Option<PublicKey>,
    revoked: bool,
}

impl Key {
    /// As the gate takes it.
    pub(super) fn known(&self) -> Known<'_> {
        Known {
            operator: &self.row.signed,
            person: &self.person,
            issuer_key: self.issuer_key.as_ref(),
            revoked: self.revoked,
        }
    }

    /// What vouches for the person.
    pub(super) fn record(&self) -> &OperatorRecord {
        &self.row.signed.record
    }

    /// The person it belongs to.
    pub(super) fn person(&self) -> &OperatorId {
        &self.person
    }
}

/// What this executor knows of a key, and that it counts for somebody: its issuer is accepted and was heard of lately, and
/// one person has it. Whether it was revoked, and what its record says, is for the gate.
pub(super) fn key(
    context: &Context,
    conn: &Connection,
    id: &OperatorId,
    now: TimeMs,
) -> Result<Key, StoreError> {
    let Some(row) = operators::get(conn, id)? else {
        if let Some(named) = records::operator_named(conn, id)? {
            return Err(not_accepted(&named.record));
        }
        return Err(refused(
            Code::OperatorUnknown,
            format!(
                "operator key {} is not enrolled at this executor; use `operator enroll` there",
                id.short()
            ),
        ));
    };
    let record = &row.signed.record;
    let issuer = &record.issuer;
    let issuer_key = context.issuer_key(issuer);
    if issuer != context.own_id() {
        if issuers::get(conn, issuer)?.is_none() {
            return Err(not_accepted(record));
        }
        let confirmed = records::confirmed(conn, issuer)?.unwrap_or_default();
        let heard = confirmed.max(record.issued_at);
        if now.since(heard) > OPERATOR_CONFIRM_MAX_AGE_MS {
            return Err(refused(
                Code::OperatorExpired,
                format!(
                    "operator {}: nothing has been heard of {}, which vouches for them, for {} days; a revocation \
                     may have been missed",
                    record.name,
                    issuer.short(),
                    now.since(heard) / 86_400_000
                ),
            ));
        }
    }
    let persons = operators::persons(conn, context.own_id())?;
    if persons.is_unclear(id) {
        let why = format!(
            "operator {}: device {} says that this key belongs to several persons whom others vouch for, so it counts for nobody",
            record.name,
            issuer.short()
        );
        return Err(refused(Code::OperatorUnknown, why));
    }
    Ok(Key {
        person: persons.of_key(id),
        issuer_key,
        revoked: row.revocation.is_some() || person_ended(conn, context, &row)?,
        row,
    })
}

/// What is known here of a channel now. `used` of what counted already is not asked.
fn through(
    context: &Context,
    conn: &Connection,
    channel: &Channel,
    (new, now): (bool, TimeMs),
) -> Result<Through, StoreError> {
    let own = channel.node == *context.own_id();
    // By whatever way its decision comes: from that node it needs the same grant.
    let may = |r: &TrustRecord| r.is_live() && r.grants.has(Grant::Human);
    let trusted = trust::get(conn, &channel.node)?.filter(may);
    Ok(Through {
        ended: records::channel_ended(conn, &channel.id(), &channel.operator_id)?,
        node_trusted: own || trusted.is_some(),
        used: match new {
            true => channels::used(conn, &channel.operator_id, now)?,
            false => 0,
        },
    })
}

/// Checks a new decision against the record, by what this executor knows of who signed it.
pub(super) fn check(
    context: &Context,
    conn: &Connection,
    proposal: &SignedProposal,
    signed: &SignedDecision,
    now: TimeMs,
) -> Result<VerifiedApproval, StoreError> {
    checked(context, conn, proposal, signed, (true, now))
}

fn checked(
    context: &Context,
    conn: &Connection,
    proposal: &SignedProposal,
    signed: &SignedDecision,
    (new, now): (bool, TimeMs),
) -> Result<VerifiedApproval, StoreError> {
    let key = key(context, conn, &signed.decision.operator_id, now)?;
    let record = proposal.record();
    let origins: Vec<&DeviceId> = record.evidence.iter().map(|e| &e.origin).collect();
    let subject = Subject {
        mesh_id: &context.mesh,
        executor: context.own_id(),
        proposal_id: &record.proposal_id,
        digest: proposal.digest(),
        level: record.level,
        asked_by: &record.requested_by.device_id,
        led_by: record.led_by.as_ref(),
        origins: &origins,
        created_at: record.created_at,
        expires_at: record.expires_at,
    };
    let given = signed.decision.channel.as_ref();
    let through = given.map(|given| through(context, conn, &given.channel, (new, now)));
    let through = through.transpose()?;
    verify_through(signed, &subject, &key.known(), through.as_ref(), now)
        .map_err(StoreError::Refused)
}

/// Whether everybody who approved what is held still may: their keys hold, and those who vouch for them are believed. What
/// was approved is not looked at again.
///
/// # Errors
/// The first who may not, as a refusal; whatever the store says.
pub(super) fn still_stand(
    context: &Context,
    conn: &Connection,
    id: &ProposalId,
    now: TimeMs,
) -> Result<(), StoreError> {
    let stored = approvals::of(conn, id)?;
    let approved = stored.iter().map(|signed| &signed.decision);
    let approved = approved.filter(|decision| decision.verdict == Verdict::Approve);
    for decision in approved {
        let key = key(context, conn, &decision.operator_id, now)?;
        let held = key.known().holds(now);
        held.map_err(StoreError::Refused)?;
        if let Some(given) = &decision.channel {
            let known = through(context, conn, &given.channel, (false, now))?;
            channel::holds(&given.channel, &context.mesh, &known, now)
                .map_err(StoreError::Refused)?;
        }
    }
    Ok(())
}

fn not_accepted(record: &OperatorRecord) -> StoreError {
    let issuer = &record.issuer;
    let why = format!(
        "operator {} is vouched for by device {} alone, and nobody at this executor has accepted that device's \
         operators; a person here can: clawmesh-node operator issuer accept {}",
        record.name,
        issuer.short(),
        issuer
    );
    refused(Code::IssuerNotAccepted, why)
}

/// Whether the person was revoked here with every key. Only a record that was issued here afterwards
/// lets them decide again.
fn person_ended(
    conn: &Connection,
    context: &Context,
    known: &OperatorRow,
) -> Result<bool, StoreError> {
    let record = &known.signed.record;
    let ended = operators::person_ended(conn, &record.name)?;
    Ok(ended.is_some_and(|at| record.issuer != *context.own_id() || record.issued_at < at))
}

/// Those of the stored decisions about the proposal that still hold: revocations and expiries count now.
pub(super) fn of(
    context: &Context,
    conn: &Connection,
    proposal: &SignedProposal,
    stored: &[SignedDecision],
    now: TimeMs,
) -> Vec<VerifiedApproval> {
    let checked = stored
        .iter()
        .map(|signed| checked(context, conn, proposal, signed, (false, now)));
    checked.filter_map(Result::ok).collect()
}
