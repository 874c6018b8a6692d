//! Records that are stored: whether their issuer is believed here, whose share they use, and what they do to trust and
//! operators, in one transaction.

use rusqlite::Connection;
use serde_json::json;

use super::{Context, DURABLE, store_refusal};
use crate::adapters::store::operators::SignedRevocation;
use crate::adapters::store::{
    StoreError, channels, issuers, operators, records, room, trust, usage,
};
use crate::domain::admission::budget::{Cause, Share};
use crate::domain::admission::{Grant, Grants, TrustRecord};
use crate::domain::base::{AuditKind, DeviceId, OperatorId, Refusal};
use crate::domain::gate::records::{Proven, Record};
use crate::domain::gate::{ChannelEnd, SignedOperator};
use crate::node::context::{Event, Severity};
use crate::node::gen1::parting;
use crate::node::proposals::{self, Executor};

/// Whether the issuer of a record may issue here now: this node itself, or a trusted device with
/// `admin`; for an operator's record, one that a person here has accepted for that; for the end of a channel, an operator
/// that is known here too. Its key need not have been seen: the record carries it, and its hash is the issuer's id.
pub(super) fn believed(
    context: &Context,
    conn: &Connection,
    record: &Record,
) -> Result<bool, StoreError> {
    let issuer = record.issuer();
    if issuer == context.own_id() {
        return Ok(true);
    }
    if let Record::ChannelEnd { end, .. } = record
        && ends_channel(conn, end)?
    {
        return Ok(true);
    }
    let trusted = trust::get(conn, issuer)?.filter(TrustRecord::is_live);
    if !trusted.is_some_and(|r| r.grants.has(Grant::Admin)) {
        return Ok(false);
    }
    let enrols = matches!(record, Record::Operator { .. });
    Ok(!enrols || issuers::get(conn, issuer)?.is_some())
}

/// Whether an operator who is known here ends a channel, or whoever gave one whose key this node holds.
fn ends_channel(conn: &Connection, end: &ChannelEnd) -> Result<bool, StoreError> {
    let Ok(issuer) = end.issuer.as_str().parse::<OperatorId>() else {
        return Ok(false);
    };
    if operators::get(conn, &issuer)?.is_some_and(|known| known.revocation.is_none()) {
        return Ok(true);
    }
    let held = channels::get(conn, &end.channel)?;
    Ok(held.is_some_and(|row| row.signed.channel.operator_id == issuer))
}

/// Whose share a new record uses, and which; `None` for what always has room: what this node says
/// itself, and what a believed issuer says about devices and operators that are known here.
fn paid_by(
    context: &Context,
    conn: &Connection,
    record: &Record,
    acts: bool,
    via: Option<&DeviceId>,
) -> Result<Option<(DeviceId, Share)>, StoreError> {
    let issuer = record.issuer();
    if issuer == context.own_id() || acts && records::is_about_known(conn, record)? {
        return Ok(None);
    }
    if acts {
        return Ok(Some((issuer.clone(), Share::Issued)));
    }
    // Issuers can be invented at will; the device that brings what they say cannot.
    let known = trust::get(conn, issuer)?.is_some_and(|r| r.is_live());
    let payer = if known { Some(issuer) } else { via };
    Ok(payer.map(|device| (device.clone(), Share::Records)))
}

/// Stores what is new, in one transaction with its effects; returns it. `via` is the device that
/// brought it.
pub(super) async fn store(
    executor: &Executor,
    list: Vec<Proven>,
    via: Option<&DeviceId>,
) -> Result<Vec<Proven>, Refusal> {
    if list.is_empty() {
        return Ok(list);
    }
    let (inner, via) = (executor.clone(), via.cloned());
    let write = move |conn: &Connection| {
        let (mut new, mut acted, mut over) = (Vec::new(), Vec::new(), Vec::new());
        for proven in list {
            let record = proven.record();
            let old = records::get(conn, &record.id())?;
            if old.as_ref().is_some_and(|o| !record.replaces(o.record())) {
                continue;
            }
            let acts = believed(&inner, conn, record)?;
            let old_stands = old.is_some();
            let paid = match old {
                None => paid_by(&inner, conn, record, acts, via.as_ref())?,
                Some(_) => None,
            };
            if let Some((device, share)) = &paid
                && let Err(refusal) =
                    share.admit(device, usage::used(conn, device, *share, inner.now())?, 1)
            {
                over.push((device.clone(), *share, refusal));
                continue;
            }
            let again = acts && old_stands && matches!(record, Record::Operator { .. });
            if again
                && record.issuer() != inner.own_id()
                && let Err(refusal) = inner.budgets.enrolment(record.issuer(), inner.now())
            {
                over.push((record.issuer().clone(), Share::Issued, refusal));
                continue;
            }
            if !acts {
                room::for_peers(conn)?;
            }
            let acts = acts && apply(&inner, conn, &proven)?;
            let payer = paid.as_ref().map(|(device, _)| device);
            records::put_via(conn, &proven, acts, payer, inner.now())?;
            if acts {
                acted.push(proven.clone());
            }
            new.push(proven);
        }
        Ok((new, acted, over))
    };
    let stored = executor.store.write(DURABLE, "records", write).await;
    let (new, acted, over) = stored.map_err(|e| store_refusal(&e))?;
    if !acted.is_empty() {
        took_effect(executor, &acted).await?;
    }
    say_waiting(executor, &new).await;
    for (device, share, refusal) in over {
        executor.over_budget(&device, share, &refusal).await;
    }
    Ok(new)
}

/// Whether the record of an operator that is known here stays when another issuer sends one about the
/// same key: one of this node always, another's while it still counts.
fn stands(
    context: &Context,
    conn: &Connection,
    known: &SignedOperator,
) -> Result<bool, StoreError> {
    let record = &known.record;
    if record.issuer == *context.own_id() {
        return Ok(true);
    }
    let trusted = trust::get(conn, &record.issuer)?.filter(TrustRecord::is_live);
    let issues = trusted.is_some_and(|r| r.grants.has(Grant::Admin));
    let ended = record.expires_at.is_some_and(|end| context.now() >= end);
    Ok(issues && !ended && issuers::get(conn, &record.issuer)?.is_some())
}

/// Applies a record of a believed issuer, inside the transaction that stores it;
/// whether it did, or is to be looked at again later.
pub(super) fn apply(
    context: &Context,
    conn: &Connection,
    proven: &Proven,
) -> Result<bool, StoreError> {
    let record = proven.record();
    let detail = json!({"issuer": record.issuer()});
    // The id is the key's hash, so the key that fits the id is the right one to remember.
    if let Some(mut issuer) = trust::get(conn, record.issuer())?
        && issuer.public_key.is_none()
    {
        issuer.public_key = Some(*proven.key());
        trust::put(conn, &issuer)?;
    }
    match record {
        Record::Operator { signed } => {
            let id = &signed.record.operator_id;
            let known = operators::get(conn, id)?;
            if record.issuer() == context.own_id() {
                return Ok(true);
            }
            if let Some(known) = known.map(|k| k.signed) {
                let same = known.record.issuer == *record.issuer();
                if same && known.record.issued_at >= signed.record.issued_at {
                    return Ok(true);
                }
                if !same && stands(context, conn, &known)? {
                    return Ok(false);
                }
            }
            operators::put(conn, signed)?;
            context
                .journal
                .audit(conn, AuditKind::OperatorEnrolled, id.as_str(), detail)?;
        }
        Record::OperatorRevocation {
            revocation,
            signature,
        } => {
            let ended = SignedRevocation {
                revocation: revocation.clone(),
                signature: *signature,
            };
            if operators::revoke(conn, &ended)? {
                let id = revocation.operator_id.as_str();
                context
                    .journal
                    .audit(conn, AuditKind::OperatorRevoked, id, detail)?;
            }
        }
        Record::DeviceRevocation { revocation, .. } => {
            let device = &revocation.device_id;
            if device == context.own_id() {
                // Others end their trust in us; what we hold of ourselves is not theirs to end.
                return Ok(true);
            }
            let known = trust::get(conn, device)?;
            let mut ended = known.unwrap_or_else(|| {
                TrustRecord::new(device.clone(), None, None, Grants::default(), context.now())
            });
            if !ended.is_live() {
                return Ok(true);
            }
            ended.revoked_at = Some(revocation.revoked_at);
            trust::put(conn, &ended)?;
            context
                .journal
                .audit(conn, AuditKind::TrustRevoked, device.as_str(), detail)?;
        }
        Record::ChannelEnd { end, .. } => {
            let id = end.channel.to_hex();
            let detail = json!({
                "issuer": record.issuer(), "operatorId": end.operator_id, "endedAt": end.ended_at, "note": end.note,
            });
            let kind = AuditKind::ChannelEnded;
            context.journal.audit(conn, kind, &id, detail)?;
        }
        Record::Confirmation { .. } => {}
    }
    Ok(true)
}

/// Tells the persons here of operators whose issuer nobody here has accepted yet.
async fn say_waiting(context: &Context, new: &[Proven]) {
    for record in new.iter().map(Proven::record) {
        let Record::Operator { signed } = record else {
            continue;
        };
        let issuer = record.issuer();
        let trusted = context.trust.live(issuer);
        if !trusted.is_some_and(|r| r.grants.has(Grant::Admin)) {
            continue;
        }
        let device = issuer.clone();
        let accepted = context
            .store
            .read("issuers", move |c| issuers::get(c, &device));
        if !matches!(accepted.await, Ok(None)) {
            continue;
        }
        let message = format!(
            "Device {} vouches for operator {}; it counts for nothing here until a person here accepts that device's operators",
            issuer.short(),
            signed.record.name
        );
        let data = json!({"issuer": issuer, "record": record.id()});
        context
            .journal
            .caused(
                Cause::Device(issuer.clone()),
                Event::OperatorNotAccepted,
                Severity::Info,
                &message,
                data,
            )
            .await;
    }
}

/// Takes up what the store now says: trust, links, what people see.
pub(super) async fn took_effect(executor: &Executor, new: &[Proven]) -> Result<(), Refusal> {
    let reloaded = executor.trust.reload(&executor.store).await;
    reloaded.map_err(|e| store_refusal(&e))?;
    parting::part_untrusted(executor);
    for record in new.iter().map(Proven::record) {
        if let Record::DeviceRevocation { revocation, .. } = record
            && !executor.trust.trusts(&revocation.device_id)
            && revocation.device_id != *executor.own_id()
        {
            proposals::drop_of(executor, &revocation.device_id).await;
        }
        let cause = Cause::of(record.issuer(), executor.own_id());
        let (kind, severity, message) = match record {
            Record::Operator { signed } => (
                Event::OperatorEnrolled,
                Severity::Info,
                format!(
                    "Operator {} may approve up to {}, says {}",
                    signed.record.name,
                    signed.record.max_level,
                    record.issuer().short()
                ),
            ),
            Record::OperatorRevocation { revocation, .. } => (
                Event::OperatorRevoked,
                Severity::Warning,
                format!(
                    "The key of operator {} is revoked, says {}: {}",
                    revocation.operator_id.short(),
                    record.issuer().short(),
                    revocation.reason
                ),
            ),
            Record::DeviceRevocation { revocation, .. } => (
                Event::TrustRevoked,
                Severity::Warning,
                format!(
                    "Device {} is revoked, says {}",
                    revocation.device_id.short(),
                    record.issuer().short()
                ),
            ),
            Record::ChannelEnd { end, .. } => (
                Event::ChannelEnded,
                Severity::Warning,
                format!(
                    "Channel {} of operator key {} is revoked, says {}",
                    end.channel.to_hex().get(..8).unwrap_or_default(),
                    end.operator_id.short(),
                    record.issuer().short()
                ),
            ),
            Record::Confirmation { .. } => continue,
        };
        let data = json!({"issuer": record.issuer(), "record": record.id()});
        executor
            .journal
            .caused(cause, kind, severity, &message, data)
            .await;
    }
    Ok(())
}
