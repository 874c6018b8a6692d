//! Proposals on their way to peers that show them: each change of one of ours, the open ones first. A
//! gen-1 node hears of them as of its own planners', without record and signature.

use serde_json::{Value, json};
use tokio::time::Instant;

use crate::adapters::store::proposals::ProposalRow;
use crate::adapters::store::{StoreError, approvals, proposals};
use crate::domain::base::TimeMs;
use crate::domain::wire::Message;
use crate::domain::wire::handshake::Feature;
use crate::node::context::Context;
use crate::node::frame_log::Frames;
use crate::node::links::LinkHandle;

/// Proposals sent again after a reconnection.
const REWIND_MS: u64 = 3_600_000;

/// Tells the peer of every change of our own proposals until the link ends.
pub(super) async fn feed(log: &Frames, link: &LinkHandle) -> Result<(), StoreError> {
    let mut head = log.proposals_head.subscribe();
    let mut since = TimeMs(log.now().0.saturating_sub(REWIND_MS));
    let mut all_open = true;
    let mut before = (log.now(), Instant::now());
    loop {
        head.mark_unchanged();
        // A clock that was set back gives later changes earlier times than those told already: go
        // back as far as it did.
        let read = (log.now(), Instant::now());
        let passed = u64::try_from((read.1 - before.1).as_millis()).unwrap_or(u64::MAX);
        let set_back_ms = before.0.plus(passed).since(read.0);
        before = read;
        since = TimeMs(since.0.saturating_sub(set_back_ms));
        since = send(log, link, since, all_open).await?;
        all_open = false;
        if head.changed().await.is_err() {
            return Ok(());
        }
    }
}

/// Sends our own proposals that changed since `since`; returns where to go on.
async fn send(
    context: &Context,
    link: &LinkHandle,
    since: TimeMs,
    all_open: bool,
) -> Result<TimeMs, StoreError> {
    let now = context.now();
    let rows = context
        .store
        .read("proposals", move |c| {
            let rows = proposals::own_changed_since(c, since, all_open)?;
            let with = |row: ProposalRow| Ok((approvals::of(c, &row.id)?, row));
            rows.into_iter()
                .map(with)
                .collect::<Result<Vec<_>, StoreError>>()
        })
        .await?;
    let kin = link.info.speaks(Feature::Proposals);
    let mut newest = since;
    for (decisions, row) in rows {
        newest = newest.max(row.updated_at);
        let record: Value = serde_json::from_str(&row.record).unwrap_or(Value::Null);
        if !kin {
            let (event, payload) = for_gen1(&row, &record);
            if !link.send(Message::event(event, &payload)).await {
                break;
            }
            continue;
        }
        let payload = json!({
            "record": record,
            "signature": row.signature,
            "status": row.status,
            "revision": row.revision,
            "updatedAt": row.updated_at,
            "outcome": row.outcome.as_deref().and_then(|t| serde_json::from_str::<Value>(t).ok()),
            "reason": row.reason,
            "decisions": decisions,
        });
        if !link.send(Message::event("proposal.update", &payload)).await {
            break;
        }
    }
    // Changes in the same millisecond as the newest may still come: read that millisecond again.
    Ok(newest.min(now))
}

/// The event of a gen-1 planner that says the same, and its payload.
fn for_gen1(row: &ProposalRow, record: &Value) -> (&'static str, Value) {
    let event = match row.status.is_open() {
        true => "planner.proposal",
        false => "planner.proposal.resolved",
    };
    let evidence = record["evidence"].as_array();
    let frames: Vec<&Value> = evidence
        .into_iter()
        .flatten()
        .map(|e| &e["frameId"])
        .collect();
    let mut payload = json!({
        "taskId": row.id, "summary": format!("{} {}", row.operation, row.target),
        "reasoning": record["reason"], "targetRef": row.target, "operation": row.operation,
        "operationParams": record["params"], "peerDeviceId": row.executor,
        "plannerDeviceId": record["requestedBy"]["deviceId"], "approvalLevel": row.level,
        "status": row.status, "createdBy": record["requestedBy"]["kind"], "triggerFrameIds": frames,
        "createdAt": row.created_at, "expiresAtMs": row.expires_at,
    });
    if !row.status.is_open() {
        payload["resolvedAt"] = json!(row.updated_at);
        payload["result"] = row
            .outcome
            .as_deref()
            .and_then(|text| serde_json::from_str(text).ok())
            .unwrap_or_default();
    }
    (event, payload)
}
