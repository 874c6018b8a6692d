//! Mirrors: what other executors tell us of their proposals, so that people see them here.
//!
//! A mirror is taken only from the executor's own link and only with the executor's signature; it
//! decides nothing.

use std::time::Duration;

use rusqlite::Connection;
use serde_json::Value;
use tokio::sync::OwnedSemaphorePermit;

use super::row_of;
use crate::adapters::store::proposals::NewProposal;
use crate::adapters::store::{Class, StoreError, approvals, proposals, room, usage};
use crate::domain::admission::budget::{Cause, Share};
use crate::domain::base::limits::{
    MIRROR_RETRY_FIRST_MS, MIRROR_RETRY_MAX_MS, PROPOSAL_RECORD_MAX_BYTES, TEXT_MAX_CHARS,
    TRUST_LIST_MAX,
};
use crate::domain::base::text::cut;
use crate::domain::base::{Code, ProposalId, Refusal, TimeMs};
use crate::domain::gate::SignedDecision;
use crate::domain::proposal::{Outcome, SignedProposal, Status};
use crate::node::context::{Context, store_refusal};
use crate::node::context::{Event, Severity};
use crate::node::links::LinkHandle;
use crate::node::proposals::Executor;

/// The WebSocket close code for a fault of this side (RFC 6455).
const CLOSE_STORE_FAILED: u16 = 1011;

/// Takes a `proposal.update` event. One that the disk refuses would not be told again before the next
/// link: it is tried until it is kept or the link ends. Of more than a node holds on to, the link is
/// given up instead, and all of it is told anew on the next.
///
/// # Errors
/// As [`take`].
pub async fn told(executor: &Executor, link: &LinkHandle, payload: Value) -> Result<(), Refusal> {
    match take(executor, link, &payload).await {
        Err(refusal) if of_the_disk(&refusal) => {
            match executor.mirrors_owed.clone().try_acquire_owned() {
                Ok(place) => {
                    let owed = owe(executor.clone(), link.clone(), payload, place);
                    executor.tasks.passing("owed mirror", owed);
                }
                Err(_) => link.close(CLOSE_STORE_FAILED, "store failed"),
            }
            Err(refusal)
        }
        taken => taken.map(drop),
    }
}

fn of_the_disk(refusal: &Refusal) -> bool {
    matches!(
        refusal.code,
        Code::StorageFailed | Code::StorageFull | Code::Busy
    )
}

/// Tries to keep an update until it is kept, or the link over which it came has ended. A newer one that
/// came meanwhile stays: what is older than what is known is no news.
async fn owe(executor: Executor, link: LinkHandle, payload: Value, place: OwnedSemaphorePermit) {
    let mut rest = MIRROR_RETRY_FIRST_MS;
    let trying = async {
        loop {
            tokio::time::sleep(Duration::from_millis(rest)).await;
            rest = rest.saturating_mul(2).min(MIRROR_RETRY_MAX_MS);
            match take(&executor, &link, &payload).await {
                Err(refusal) if of_the_disk(&refusal) => {}
                _ => return,
            }
        }
    };
    tokio::select! {
        biased;
        () = executor.tasks.stop().cancelled() => {}
        () = link.stop.cancelled() => {}
        () = trying => {}
    }
    drop(place);
}

/// Takes a `proposal.update` event or a mint's answer from the executor's link; the record that was
/// signed and where the executor says it stands.
///
/// # Errors
/// `WRONG_EXECUTOR`, `DIGEST_MISMATCH` or `INVALID_PARAMS`.
#[allow(
    clippy::too_many_lines,
    reason = "the checks of one answer, in their order"
)]
pub async fn take(
    executor: &Executor,
    link: &LinkHandle,
    payload: &Value,
) -> Result<(SignedProposal, Status), Refusal> {
    let bad = |what: &str| Refusal::new(Code::InvalidParams, format!("proposal.update: {what}"));
    let device = &link.info.device;
    let key = executor
        .trust
        .live(device)
        .and_then(|r| r.public_key)
        .ok_or_else(|| bad("the sender's key is unknown"))?;
    let signed = SignedProposal::from_wire(payload, &key)?;
    if signed.text().len() > PROPOSAL_RECORD_MAX_BYTES {
        let why = format!("a proposal's record has at most {PROPOSAL_RECORD_MAX_BYTES} bytes");
        return Err(Refusal::new(Code::TooLarge, why));
    }
    let record = signed.record();
    record.check_texts()?;
    if record.executor != *device {
        return Err(Refusal::new(
            Code::WrongExecutor,
            "a proposal is only taken from the executor that minted it",
        ));
    }
    if !record.has_own_id() {
        return Err(Refusal::new(
            Code::DigestMismatch,
            "the proposal's id does not follow from its executor and nonce",
        ));
    }
    if record.mesh_id != executor.mesh {
        return Err(Refusal::new(
            Code::WrongMesh,
            "the proposal belongs to another mesh",
        ));
    }
    if !executor.may_actuate(device) && !is_known(executor, &record.proposal_id).await? {
        return Err(Refusal::new(
            Code::NotAuthorized,
            format!(
                "device {} is not trusted with `actuate`, so it has no proposals to show here",
                device.short()
            ),
        ));
    }
    let status: Status = payload
        .get("status")
        .and_then(Value::as_str)
        .ok_or_else(|| bad("status is missing"))?
        .parse()
        .map_err(|e: String| bad(&e))?;
    let revision = payload.get("revision").and_then(Value::as_u64).unwrap_or(0);
    let outcome: Option<Outcome> = match payload.get("outcome") {
        None | Some(Value::Null) => None,
        Some(value) => {
            let told: Outcome =
                serde_json::from_value(value.clone()).map_err(|e| bad(&e.to_string()))?;
            Some(Outcome {
                detail: cut(&told.detail, TEXT_MAX_CHARS),
                actuator_state: told.actuator_state.map(|s| cut(&s, TEXT_MAX_CHARS)),
                ..told
            })
        }
    };
    let reason = payload
        .get("reason")
        .and_then(Value::as_str)
        .map(|r| r.chars().take(500).collect::<String>());
    let updated_at = payload
        .get("updatedAt")
        .and_then(Value::as_u64)
        .map_or_else(|| executor.now(), TimeMs);
    let now = executor.now();
    let mut new = row_of(&signed, status, false, updated_at.min(now));
    // A time ahead of ours would lead every list.
    new.created_at = new.created_at.min(now);
    let decisions = decisions(payload, &signed);
    let changed = executor
        .store
        .write(Class::Durable, "mirror", move |c| {
            room::for_peers(c)?;
            if let Err(over) = make_room(c, &new, now)? {
                return Ok(Err(over));
            }
            let changed =
                proposals::upsert_mirror(c, &new, revision, outcome.as_ref(), reason.as_deref())?;
            if changed {
                approvals::forget(c, &new.id)?;
                decisions
                    .iter()
                    .try_for_each(|d| approvals::put(c, d, new.updated_at))?;
            }
            Ok(Ok(changed))
        })
        .await
        .map_err(|e| store_refusal(&e))?;
    let changed = match changed {
        Ok(changed) => changed,
        Err((share, refusal)) => {
            executor.over_budget(device, share, &refusal).await;
            return Err(refusal);
        }
    };
    if changed {
        let message = format!(
            "Proposal {} of {}: {status}",
            record.proposal_id.short(),
            device.short()
        );
        let data = serde_json::json!({"proposalId": record.proposal_id, "status": status, "executor": device});
        let cause = Cause::Device(device.clone());
        executor
            .journal
            .caused(
                cause,
                Event::ProposalUpdated,
                Severity::Info,
                &message,
                data,
            )
            .await;
        executor.proposals_changed();
    }
    Ok((signed, status))
}

/// Whether a proposal was taken before: what became of it is heard also when its executor may offer
/// nothing more.
async fn is_known(context: &Context, id: &ProposalId) -> Result<bool, Refusal> {
    let id = id.clone();
    let known = context
        .store
        .read("mirror", move |c| proposals::get(c, &id))
        .await;
    known
        .map(|row| row.is_some())
        .map_err(|e| store_refusal(&e))
}

/// Makes room for a mirror within its executor's share: the oldest of its ended ones go first. What
/// still does not fit is refused.
fn make_room(
    conn: &Connection,
    new: &NewProposal,
    now: TimeMs,
) -> Result<Result<(), (Share, Refusal)>, StoreError> {
    if proposals::get(conn, &new.id)?.is_some() {
        return Ok(Ok(()));
    }
    let bytes = u64::try_from(new.record.len()).unwrap_or(u64::MAX);
    for (share, more) in [(Share::Mirrors, 1), (Share::MirrorBytes, bytes)] {
        let device = &new.executor;
        while let Err(refusal) = share.admit(device, usage::used(conn, device, share, now)?, more) {
            if !proposals::drop_ended_mirror(conn, device)? {
                return Ok(Err((share, refusal)));
            }
        }
    }
    Ok(Ok(()))
}

/// The decisions the executor says it took about this very record. They tell the story here; only the
/// executor judges them.
fn decisions(payload: &Value, signed: &SignedProposal) -> Vec<SignedDecision> {
    let list = payload
        .get("decisions")
        .and_then(Value::as_array)
        .map(Vec::as_slice)
        .unwrap_or_default();
    list.iter()
        .take(TRUST_LIST_MAX)
        .filter_map(|d| serde_json::from_value::<SignedDecision>(d.clone()).ok())
        .filter(|d| {
            let note = d.decision.note.as_deref().unwrap_or_default();
            note.chars().count() <= TEXT_MAX_CHARS
                && d.decision.proposal_id == signed.record().proposal_id
                && d.decision.digest == *signed.digest()
        })
        .collect()
}
