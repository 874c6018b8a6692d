//! Records of issuers on their way through the mesh (feature `revocations`).
//!
//! On a new link both sides say the digest of what they hold; where it differs each sends all of it,
//! and what is new to a node goes on over its other links. So a revocation reaches nodes that are no
//! neighbours of the issuer, also through nodes that do not know the issuer themselves: those keep
//! the record, pass it on and let it have no effect.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use rusqlite::Connection;
use serde_json::{Value, json};

use super::context::{Context, DURABLE, internal, store_refusal};
use super::gen1::parting;
use super::links::LinkHandle;
use super::proposals::{self, Executor};
use crate::adapters::store::operators::SignedRevocation;
use crate::adapters::store::{StoreError, issuers, operators, records, room, trust, usage};
use crate::domain::admission::budget::{Cause, Share};
use crate::domain::admission::{Grant, Grants, TrustRecord};
use crate::domain::base::limits::{
    CONFIRM_EVERY_MS, FRAME_FUTURE_MAX_MS, RECORD_MAX_BYTES, RECORDS_MESSAGES_PER_MINUTE,
    RECORDS_PER_MESSAGE_MAX,
};
use crate::domain::base::{AuditKind, Code, DeviceId, Digest, MeshId, Refusal, TimeMs};
use crate::domain::gate::SignedOperator;
use crate::domain::gate::records::{Carried, Confirmation, DeviceRevocation, Proven, Record};
use crate::domain::identity::DeviceKey;
use crate::domain::wire::Message;
use crate::domain::wire::handshake::Feature;
use crate::node::context::{Event, Severity};

/// The event that says what a node holds.
pub const DIGEST: &str = "records.digest";
/// The event that carries records.
pub const PAGE: &str = "records.page";

/// Records of this node's own. The key in it signs them and leaves this room in no other way.
#[derive(Clone)]
pub struct Authority {
    executor: Executor,
    key: Arc<DeviceKey>,
}

impl std::ops::Deref for Authority {
    type Target = Executor;

    fn deref(&self) -> &Executor {
        &self.executor
    }
}

impl Authority {
    /// Issues nothing yet.
    pub fn new(executor: Executor, key: Arc<DeviceKey>) -> Self {
        Self { executor, key }
    }
}

fn digest(all: &[Proven]) -> String {
    let texts: Vec<Vec<u8>> = all
        .iter()
        .map(|r| serde_json::to_vec(r).unwrap_or_default())
        .collect();
    let parts: Vec<&[u8]> = texts.iter().map(Vec::as_slice).collect();
    Digest::of(&parts).to_hex()
}

async fn held(context: &Context) -> Result<Vec<Proven>, StoreError> {
    context.store.read("records", records::all).await
}

/// Begins the exchange on a new link.
pub async fn greet(context: Context, link: LinkHandle) {
    if !link.info.speaks(Feature::Revocations) {
        return;
    }
    match held(&context).await {
        Ok(all) => {
            let about = json!({"digest": digest(&all), "count": all.len()});
            link.send(Message::event(DIGEST, &about)).await;
        }
        Err(error) => tracing::error!(%error, "the records could not be read"),
    }
}

/// Hears what the other side holds; sends ours where it differs.
///
/// # Errors
/// `INVALID_PARAMS` for what is no digest; the store's refusal.
pub async fn compare(context: &Context, link: &LinkHandle, payload: &Value) -> Result<(), Refusal> {
    let theirs = payload
        .get("digest")
        .and_then(Value::as_str)
        .ok_or_else(|| Refusal::new(Code::InvalidParams, "records.digest needs a digest"))?;
    admitted(context, link)?;
    // One sending at a time: a peer that asks again and does not read costs no more memory.
    if link.records_going.swap(true, Ordering::AcqRel) {
        return Ok(());
    }
    let all = held(context).await;
    let differs = all.as_ref().is_ok_and(|all| digest(all) != theirs);
    match all {
        Ok(all) if differs => {
            // Sending waits for the peer, and reading must not.
            let link = link.clone();
            context.tasks.passing("records", async move {
                send(&link, &all).await;
                link.records_going.store(false, Ordering::Release);
            });
            Ok(())
        }
        other => {
            link.records_going.store(false, Ordering::Release);
            other.map(drop).map_err(|e| store_refusal(&e))
        }
    }
}

/// Counts a message about records; refuses a flood of them.
fn admitted(context: &Context, link: &LinkHandle) -> Result<(), Refusal> {
    let most = RECORDS_MESSAGES_PER_MINUTE;
    match link.records.admits(most, context.now()) {
        true => Ok(()),
        false => Err(Refusal::new(
            Code::RateExceeded,
            format!("more than {most} messages about records in a minute"),
        )),
    }
}

async fn send(link: &LinkHandle, all: &[Proven]) {
    for part in all.chunks(RECORDS_PER_MESSAGE_MAX) {
        if !link
            .send(Message::event(PAGE, &json!({"records": part})))
            .await
        {
            return;
        }
    }
}

/// Takes records from a peer: stores what is new, lets it take effect, passes it on. A bad record is
/// refused by itself, so that it cannot take the good ones beside it down.
///
/// # Errors
/// `INVALID_PARAMS` for what is no list of records, `RATE_EXCEEDED` where there are too many.
pub async fn take(executor: &Executor, link: &LinkHandle, payload: Value) -> Result<(), Refusal> {
    admitted(executor, link)?;
    let list = match payload {
        Value::Object(mut map) => map.remove("records"),
        _ => None,
    };
    let list = match list {
        Some(Value::Array(list)) if list.len() <= RECORDS_PER_MESSAGE_MAX => list,
        _ => {
            let why =
                format!("records.page needs a list of at most {RECORDS_PER_MESSAGE_MAX} records");
            return Err(Refusal::new(Code::InvalidParams, why));
        }
    };
    let (mesh, now) = (executor.mesh.clone(), executor.now());
    let read = executor.work(move || {
        let each = list.into_iter().map(|value| proven(value, &mesh, now));
        each.collect::<Vec<_>>()
    });
    let read = read
        .await
        .ok_or_else(|| internal("the records could not be checked"))?;
    let mut good = Vec::new();
    for record in read {
        match record {
            Ok(record) => good.push(record),
            Err(refusal) => {
                executor
                    .journal
                    .refused_of(
                        Cause::Device(link.info.device.clone()),
                        Event::RecordRefused,
                        link.info.device.as_str(),
                        &refusal,
                    )
                    .await;
            }
        }
    }
    let new = store(executor, good, Some(&link.info.device)).await?;
    if !new.is_empty() {
        spread(executor, new, Some(link)).await;
    }
    Ok(())
}

/// Reads and proves one record.
fn proven(value: Value, mesh: &MeshId, now: TimeMs) -> Result<Proven, Refusal> {
    let bytes = serde_json::to_vec(&value).map_or(usize::MAX, |v| v.len());
    if bytes > RECORD_MAX_BYTES {
        let why = format!("a record has at most {RECORD_MAX_BYTES} bytes");
        return Err(Refusal::new(Code::TooLarge, why));
    }
    let carried: Carried = serde_json::from_value(value)
        .map_err(|e| Refusal::new(Code::InvalidParams, format!("a record: {e}")))?;
    let issuer = carried.record.issuer().clone();
    if !carried.record.is_of(mesh) {
        return Err(Refusal::new(
            Code::WrongMesh,
            "a record of another mesh was sent",
        ));
    }
    if carried.record.at().since(now) > FRAME_FUTURE_MAX_MS {
        let why = format!(
            "a record of issuer {} is dated ahead; set the clock of one side",
            issuer.short()
        );
        return Err(Refusal::new(Code::InvalidParams, why));
    }
    carried.prove().ok_or_else(|| {
        let why = format!("a record is not signed by its issuer {}", issuer.short());
        Refusal::new(Code::AuthFailed, why)
    })
}

/// Whether the issuer of a record may issue here now: this node itself, or a trusted device with
/// `admin`; for an operator's record, one that a person here has accepted for that. Its key need not
/// have been seen: the record carries it, and its hash is the issuer's id.
fn believed(context: &Context, conn: &Connection, record: &Record) -> Result<bool, StoreError> {
    let issuer = record.issuer();
    if issuer == context.own_id() {
        return Ok(true);
    }
    let trusted = trust::get(conn, issuer)?.filter(TrustRecord::is_live);
    if !trusted.is_some_and(|r| r.grants.has(Grant::Admin)) {
        return Ok(false);
    }
    let enrols = matches!(record, Record::Operator { .. });
    Ok(!enrols || issuers::get(conn, issuer)?.is_some())
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
async fn store(
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

/// What a record of an issuer that is believed here does, inside the transaction that stores it;
/// whether it did, or is to be looked at again later.
fn apply(context: &Context, conn: &Connection, proven: &Proven) -> Result<bool, StoreError> {
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
async fn took_effect(executor: &Executor, new: &[Proven]) -> Result<(), Refusal> {
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

/// Tells every link that speaks of records, except the one they came from.
pub async fn spread(executor: &Executor, new: Vec<Proven>, from: Option<&LinkHandle>) {
    for link in executor.links.all() {
        let source = from.is_some_and(|f| f.info.device == link.info.device);
        if source || !link.info.speaks(Feature::Revocations) {
            continue;
        }
        let new = new.clone();
        // A slow link delays nobody else.
        executor
            .tasks
            .passing("records", async move { send(&link, &new).await });
    }
}

/// Spreads what this node's own operator commands have put into the store since it last looked, and
/// lets records take effect whose issuer has become trusted. Called after every such change.
pub async fn look_again(authority: &Authority) {
    if let Err(refusal) = say_revoked(authority).await {
        tracing::error!(%refusal, "a revocation could not be signed for others");
    }
    let waiting = authority.store.read("records", records::waiting).await;
    let waiting = match waiting {
        Ok(waiting) => waiting,
        Err(error) => return tracing::error!(%error, "the records could not be read"),
    };
    if waiting.is_empty() {
        return;
    }
    let inner = authority.clone();
    let write = move |conn: &Connection| {
        let mut ready = Vec::new();
        for proven in waiting {
            if believed(&inner, conn, proven.record())? && apply(&inner, conn, &proven)? {
                records::put(conn, &proven, true, inner.now())?;
                ready.push(proven);
            }
        }
        Ok(ready)
    };
    let ready = match authority.store.write(DURABLE, "records", write).await {
        Ok(ready) => ready,
        Err(error) => return tracing::error!(%error, "waiting records could not take effect"),
    };
    if ready.is_empty() {
        return;
    }
    if let Err(refusal) = took_effect(authority, &ready).await {
        tracing::error!(%refusal, "waiting records took effect only in part");
    }
    spread(authority, ready, None).await;
}

/// Signs a revocation for every device whose trust was ended here and of which nobody has said so yet.
async fn say_revoked(authority: &Authority) -> Result<(), Refusal> {
    let inner = authority.clone();
    let write = move |conn: &Connection| {
        records::sign_for(conn, inner.own_id(), &inner.public_key)?;
        for ended in trust::all(conn)? {
            let Some(revoked_at) = ended.revoked_at else {
                continue;
            };
            if records::device_revoked(conn, &ended.device_id)? {
                continue;
            }
            let revocation = DeviceRevocation {
                mesh_id: inner.mesh.clone(),
                device_id: ended.device_id,
                issuer: inner.own_id().clone(),
                revoked_at,
            };
            let record = Record::revoke_device(revocation, &inner.key);
            if let Some(proven) = Proven::own(record, &inner.key) {
                records::put(conn, &proven, false, inner.now())?;
            }
        }
        Ok(())
    };
    let done = authority.store.write(DURABLE, "revocations", write).await;
    done.map_err(|e| store_refusal(&e))
}

/// Confirms now and then what this node has issued, until it stops.
pub async fn confirm(authority: Authority) {
    loop {
        look_again(&authority).await;
        if let Err(refusal) = confirm_once(&authority).await {
            tracing::error!(%refusal, "what this node issued could not be confirmed");
        }
        tokio::select! {
            biased;
            () = authority.tasks.stop().cancelled() => return,
            () = tokio::time::sleep(std::time::Duration::from_millis(CONFIRM_EVERY_MS)) => {}
        }
    }
}

async fn confirm_once(authority: &Authority) -> Result<(), Refusal> {
    let own = authority.own_id().clone();
    let all = held(authority).await.map_err(|e| store_refusal(&e))?;
    let issued = |r: &Record| matches!(r, Record::Operator { .. }) && *r.issuer() == own;
    if !all.iter().map(Proven::record).any(issued) {
        return Ok(());
    }
    let confirmation = Confirmation {
        mesh_id: authority.mesh.clone(),
        issuer: own.clone(),
        confirmed_at: authority.now(),
    };
    let record = Record::confirm(confirmation, &authority.key);
    let own = Proven::own(record, &authority.key).into_iter().collect();
    let new = store(authority, own, None).await?;
    spread(authority, new, None).await;
    Ok(())
}
