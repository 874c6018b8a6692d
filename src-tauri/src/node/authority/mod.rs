//! Records of issuers on their way through the mesh (feature `revocations`).
//!
//! On a new link both sides say the digest of what they hold; where it differs each sends all of it,
//! and what is new to a node goes on over its other links. So a revocation reaches nodes that are no
//! neighbours of the issuer, also through nodes that do not know the issuer themselves: those keep
//! the record, pass it on and let it have no effect.

mod effect;
mod own;

use std::sync::Arc;
use std::sync::atomic::Ordering;

use serde_json::{Value, json};

use self::effect::store;
pub use self::own::{Issuer, confirm, export_message, look_again};
use super::context::{Context, DURABLE, internal, store_refusal};
use super::links::LinkHandle;
use super::proposals::Executor;
use crate::adapters::store::{StoreError, records};
use crate::domain::admission::budget::Cause;
use crate::domain::base::limits::{
    FRAME_FUTURE_MAX_MS, RECORD_MAX_BYTES, RECORDS_MESSAGES_PER_MINUTE, RECORDS_PER_MESSAGE_MAX,
};
use crate::domain::base::{Code, Digest, MeshId, Refusal, TimeMs};
use crate::domain::gate::records::{Carried, Proven};
use crate::domain::identity::DeviceKey;
use crate::domain::wire::Message;
use crate::domain::wire::handshake::Feature;
use crate::node::context::Event;

/// The event that says what a node holds.
pub const DIGEST: &str = "records.digest";
/// The event that carries records.
pub const PAGE: &str = "records.page";

/// Records of this node's own. The key in it signs them and leaves this room in no other way.
#[derive(Clone)]
pub struct Authority {
    executor: Executor,
    issuer: Issuer,
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
        let issuer = Issuer::new(key);
        Self { executor, issuer }
    }

    /// This device as an issuer, for what persons change here.
    pub fn issuer(&self) -> &Issuer {
        &self.issuer
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

/// Takes the end of a channel, which a person or this device said here: it is stored, takes effect and goes on to others.
/// Whether it was new.
///
/// # Errors
/// The store's refusal.
pub async fn end_channel(authority: &Authority, proven: Proven) -> Result<bool, Refusal> {
    let new = store(authority, vec![proven], None).await?;
    let said = !new.is_empty();
    if said {
        spread(authority, new, None).await;
    }
    Ok(said)
}

/// Tells every link that speaks of records, except the one they came from.
pub async fn spread(executor: &Executor, new: Vec<Proven>, from: Option<&LinkHandle>) {
    for link in executor.links.all() {
        let source = from.is_some_and(|f| f.info.device == link.info.device);
        if source || !link.info.speaks(Feature::Revocations) {
            continue;
        }
        let new = new.clone();
        // A task for each, so that a slow link does not delay the others.
        executor
            .tasks
            .passing("records", async move { send(&link, &new).await });
    }
}
