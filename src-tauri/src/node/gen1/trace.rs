//! Traces of frames and of actuators' actions in the formats of gen-1.

use serde_json::{Map, Value, json};

use super::text;
use crate::adapters::store::cited::Named;
use crate::adapters::store::frames::StoredFrame;
use crate::adapters::store::proposals::ProposalRow;
use crate::adapters::store::{StoreError, cited, events, frames, proposals};
use crate::domain::base::limits::{GEN1_TRACES_MAX, QUERY_MAX};
use crate::domain::base::{FrameId, Refusal};
use crate::domain::proposal::{Outcome, ProposalRecord};
use crate::node::context::{Context, store_refusal};
use crate::node::guards::Guards;

/// The steps of a frame, oldest first: when it came in, and each proposal that rests on it.
fn steps(frame: &StoredFrame, citing: &[ProposalRow]) -> Vec<Value> {
    let mut steps = vec![json!({
        "stage": "sensor.ingest", "timestamp": frame.received_at, "deviceId": frame.origin,
    })];
    for p in citing {
        steps.push(json!({
            "stage": "proposal.created", "timestamp": p.created_at, "proposalId": p.id, "status": p.status,
        }));
        if !p.status.is_open() {
            steps.push(json!({
                "stage": "proposal.resolved", "timestamp": p.updated_at, "proposalId": p.id, "status": p.status,
            }));
        }
    }
    steps.sort_by_key(|step| step["timestamp"].as_u64());
    steps
}

/// A frame and its steps.
type Chain = (FrameId, Vec<Value>);

fn chain(conn: &rusqlite::Connection, frame: &StoredFrame) -> Result<Chain, StoreError> {
    let citing = proposals::citing(conn, &frame.frame_id, &frame.origin)?;
    Ok((frame.frame_id.clone(), steps(frame, &citing)))
}

/// The chains of the frames on which the newest proposals rest.
fn newest(conn: &rusqlite::Connection, stage: &str) -> Result<Vec<Chain>, StoreError> {
    let (mut chains, mut seen) = (Vec::new(), std::collections::BTreeSet::new());
    for row in proposals::newest(conn, false, GEN1_TRACES_MAX)? {
        let record = serde_json::from_str::<ProposalRecord>(&row.record);
        let evidence = record.map(|r| r.evidence).unwrap_or_default();
        for evidence in evidence {
            let place = (evidence.frame_id, evidence.origin);
            if chains.len() >= GEN1_TRACES_MAX || !seen.insert(place.clone()) {
                continue;
            }
            if let Named::One(frame) = cited::named(conn, &place.0, Some(&place.1))? {
                chains.push(chain(conn, &frame)?);
            }
        }
    }
    chains.retain(|(_, steps)| steps.iter().any(|step| step["stage"] == stage));
    Ok(chains)
}

/// `mesh.trace`: the chain of one frame; those of the newest proposals that reached a stage; how many
/// frames can be traced.
pub(super) async fn trace(
    context: &Context,
    params: &Map<String, Value>,
) -> Result<Value, Refusal> {
    let shown = |(id, steps): &Chain| json!({"frameId": id, "steps": steps});
    let Some(id) = text(params, "frameId")? else {
        let stage = text(params, "stage")?.map(str::to_owned);
        let read = move |c: &rusqlite::Connection| match &stage {
            Some(stage) => newest(c, stage).map(Ok),
            None => frames::count(c).map(Err),
        };
        let found = context.store.read("traces", read).await;
        return Ok(match found.map_err(|e| store_refusal(&e))? {
            Ok(chains) => {
                let chains: Vec<Value> = chains.iter().map(shown).collect();
                json!({"total": chains.len(), "chains": chains})
            }
            Err(tracked) => json!({"trackedChains": tracked}),
        });
    };
    let none = json!({"chain": null, "message": "No chain found for this frame ID"});
    let Ok(id) = id.parse() else { return Ok(none) };
    let origin = text(params, "sourceDeviceId")?.map(str::parse);
    let Ok(origin) = origin.transpose() else {
        return Ok(none);
    };
    let read = move |c: &rusqlite::Connection| match cited::named(c, &id, origin.as_ref())? {
        Named::None => Ok(Err(Vec::new())),
        Named::Several(devices) => Ok(Err(devices)),
        Named::One(frame) => chain(c, &frame).map(Ok),
    };
    let found = context.store.read("trace", read).await;
    Ok(match found.map_err(|e| store_refusal(&e))? {
        Err(devices) if devices.is_empty() => none,
        // A gen-1 answer has no other way to say it; another version of ours asks again.
        Err(devices) => {
            let message = "Several devices use this frame ID; name one as sourceDeviceId";
            json!({"chain": null, "message": message, "sourceDeviceIds": devices})
        }
        Ok(chain) => {
            let formatted: Vec<String> = chain
                .1
                .iter()
                .map(|step| format!("{} at {}", step["stage"], step["timestamp"]))
                .collect();
            json!({"chain": shown(&chain), "formatted": formatted.join("\n")})
        }
    })
}

/// `clawmesh.mock.actuator.state`: where each actuator is, what was done with it, and what was refused.
pub(super) async fn actuators(
    context: &Context,
    guards: &Guards,
    params: &Map<String, Value>,
) -> Result<Value, Refusal> {
    let wanted = text(params, "targetRef")?;
    let fits = |name: &str| wanted.is_none_or(|w| w == name);
    let mut records = Vec::new();
    for target in guards.capabilities() {
        if fits(target.as_str())
            && let Some(Ok(position)) = guards.position(&target).await
        {
            records.push(json!({"targetRef": target, "status": position}));
        }
    }
    let read = |c: &rusqlite::Connection| {
        let refused = events::latest(c, QUERY_MAX, Some("command.refused"))?;
        Ok((proposals::newest(c, false, QUERY_MAX)?, refused))
    };
    let found = context.store.read("actions", read).await;
    let (rows, refused) = found.map_err(|e| store_refusal(&e))?;
    let history: Vec<Value> = rows
        .iter()
        .filter(|row| row.own && fits(&row.target))
        .filter_map(|row| {
            let outcome: Outcome = serde_json::from_str(row.outcome.as_deref()?).ok()?;
            Some(json!({
                "targetRef": row.target, "operation": row.operation, "status": outcome.status,
                "timestamp": outcome.ended_at, "proposalId": row.id,
            }))
        })
        .collect();
    let mut answer = json!({"records": records, "history": history, "refusedCount": refused.len()});
    if let Some(last) = refused.first() {
        answer["lastRefusal"] = json!({"message": last.message, "timestamp": last.time});
    }
    Ok(answer)
}
