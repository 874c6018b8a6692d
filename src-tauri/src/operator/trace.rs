//! A proposal's story from what is stored of it: readings, minting, decisions, the act, its outcome.
//! Pure assembly; reading the store is the business of `queries`.

use serde_json::{Value, json};

use super::dto::{FrameView, ProposalView, TraceStep, TraceView};
use super::views::{Names, json_name};
use crate::adapters::store::audit::AuditRow;
use crate::domain::base::DeviceId;
use crate::domain::gate::SignedDecision;
use crate::domain::gate::approval::Verdict;
use crate::domain::proposal::ProposalRecord;

fn named(id: &DeviceId, names: &Names) -> String {
    names.get(id).map_or_else(
        || id.short().to_owned(),
        |n| format!("{n} ({})", id.short()),
    )
}

fn step(time: u64, stage: &str, actor: String, message: String, data: Value) -> TraceStep {
    TraceStep {
        time,
        stage: stage.to_owned(),
        actor,
        message,
        data,
    }
}

/// Puts the story together, oldest step first; steps of one moment stay in the order of the story.
pub(super) fn assemble(
    proposal: ProposalView,
    record: &ProposalRecord,
    decisions: &[SignedDecision],
    audit: &[AuditRow],
    outcomes: &[FrameView],
    names: &Names,
) -> TraceView {
    let mut steps = readings(record, names);
    steps.push(step(
        record.created_at.0,
        "minted",
        named(&record.executor, names),
        format!("{} asked: {}; {} at {}", record.requested_by.name, record.reason, record.action().summary(), record.level),
        json!({"rule": record.rule, "digest": proposal.digest, "policyDigest": record.policy_digest, "draftId": record.draft_id}),
    ));
    let trail = audit.iter().rev().filter_map(|row| audited(row, names));
    let audited_decisions = audit.iter().any(|row| row.json.contains("\"decision."));
    steps.extend(trail);
    // A mirror has no audit trail of its own: then the decisions it knows of tell the story.
    if !audited_decisions {
        steps.extend(decisions.iter().map(decided));
    }
    if let Some(outcome) = &proposal.outcome {
        let who = named(&record.executor, names);
        if audit.is_empty() {
            let message = format!("{} started", record.action().summary());
            steps.push(step(
                outcome.started_at.0,
                "executing",
                who.clone(),
                message,
                Value::Null,
            ));
        }
        let data =
            json!({"actuatorState": outcome.actuator_state, "startedAt": outcome.started_at});
        steps.push(step(
            outcome.ended_at.0,
            "ended",
            who,
            format!("{}: {}", outcome.status, outcome.detail),
            data,
        ));
    } else if !proposal.status.is_open() {
        let message = proposal
            .detail
            .clone()
            .unwrap_or_else(|| proposal.status.to_string());
        steps.push(step(
            proposal.updated_at,
            "ended",
            named(&record.executor, names),
            message,
            json!({"status": proposal.status}),
        ));
    }
    steps.extend(outcomes.iter().map(|f| {
        let message = format!(
            "the outcome came back as frame {}, signature {}",
            f.frame_id,
            json_name(f.signature)
        );
        step(
            f.received_at,
            "outcome",
            f.origin.clone(),
            message,
            f.frame.get("data").cloned().unwrap_or_default(),
        )
    }));
    steps.sort_by_key(|s| s.time);
    TraceView { proposal, steps }
}

fn readings(record: &ProposalRecord, names: &Names) -> Vec<TraceStep> {
    let reading = |e: &crate::domain::proposal::Evidence| {
        let message = format!(
            "{}: claimed {}, vouched for as {}, {} ms old when the proposal was minted",
            e.summary, e.claimed_tier, e.effective_tier, e.age_ms
        );
        step(
            e.sensed_at.0,
            "reading",
            named(&e.origin, names),
            message,
            json!(e),
        )
    };
    record.evidence.iter().map(reading).collect()
}

fn decided(signed: &SignedDecision) -> TraceStep {
    let d = &signed.decision;
    let verdict = if d.verdict == Verdict::Approve {
        "approved"
    } else {
        "rejected"
    };
    let note = d
        .note
        .as_deref()
        .map(|n| format!(": {n}"))
        .unwrap_or_default();
    let through = d.channel.as_ref().map(|given| given.channel.shown());
    let data = json!({"operatorId": d.operator_id, "digest": d.digest, "through": through});
    step(
        d.decided_at.0,
        "decision",
        match &d.channel {
            None => format!("operator {}", d.operator_id.short()),
            Some(given) => format!(
                "operator {} through {}",
                d.operator_id.short(),
                given.channel.shown()
            ),
        },
        format!("{verdict}{note}"),
        data,
    )
}

/// The person of a decision with the key they used, or the channel.
fn by(text: &impl Fn(&str) -> String) -> String {
    let through = text("through");
    if !through.is_empty() {
        return format!("{} through {through}", text("operator"));
    }
    let key: String = text("operatorId").chars().take(8).collect();
    format!("{} (key {key})", text("operator"))
}

/// Which use of which standing approval it was.
fn ahead_of_time(detail: &Value) -> String {
    let number = |name: &str| detail.get(name).and_then(Value::as_u64);
    let id = detail.get("approval").and_then(Value::as_str);
    match (number("use"), number("of"), id.and_then(|id| id.get(..8))) {
        (Some(used), Some(of), Some(id)) => {
            format!("approved ahead of time: use {used} of {of} of standing approval {id}")
        }
        _ => "approved ahead of time".to_owned(),
    }
}

/// The step an audit entry stands for; `None` for those that other parts of the story tell.
fn audited(row: &AuditRow, names: &Names) -> Option<TraceStep> {
    let entry: Value = serde_json::from_str(&row.json).ok()?;
    let kind = entry.get("kind")?.as_str()?;
    let mut detail = entry.get("detail").cloned().unwrap_or_default();
    if let Some(map) = detail.as_object_mut() {
        map.insert("auditSeq".into(), row.seq.into());
    }
    let text = |name: &str| {
        detail
            .get(name)
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    let (stage, actor, message) = match kind {
        "decision.approve" if detail.get("atNode") == Some(&Value::Bool(true)) => {
            let how = "approved with the code shown at the node";
            ("decision", by(&text), how.to_owned())
        }
        "decision.approve" => ("decision", by(&text), "approved".to_owned()),
        "decision.reject" => ("decision", by(&text), "rejected".to_owned()),
        "decision.refused" => (
            "decision",
            text("operatorId"),
            format!("refused, {}: {}", text("code"), text("message")),
        ),
        "standing.used" => ("decision", text("by"), ahead_of_time(&detail)),
        "proposal.step" => {
            let n = detail.get("step").and_then(Value::as_u64);
            let n = n.map_or_else(String::new, |n| n.to_string());
            let message = format!("step {n} begins: {}", text("action"));
            ("executing", String::new(), message)
        }
        "proposal.executing" => {
            let device = entry
                .get("device")
                .and_then(Value::as_str)
                .and_then(|d| d.parse::<DeviceId>().ok());
            let message = format!(
                "{} starts; it ends with {}",
                text("action"),
                text("safeState")
            );
            (
                "executing",
                device.map(|d| named(&d, names)).unwrap_or_default(),
                message,
            )
        }
        _ => return None,
    };
    let note = text("note");
    let message = if note.is_empty() {
        message
    } else {
        format!("{message}: {note}")
    };
    Some(step(row.time.0, stage, actor, message, detail))
}
