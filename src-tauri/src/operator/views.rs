//! From rows of the store to what the door answers with. Pure.

use std::collections::BTreeMap;

use serde_json::Value;

use super::Answer;
use super::dto::{
    AuditView, DraftState, DraftView, EventView, FactView, FrameView, PolicyRuleView, ProposalView,
    SensorView,
};
use crate::adapters::store::audit::AuditRow;
use crate::adapters::store::drafts::DraftRow;
use crate::adapters::store::events::EventRow;
use crate::adapters::store::facts::FactRow;
use crate::adapters::store::frames::StoredFrame;
use crate::adapters::store::proposals::ProposalRow;
use crate::domain::base::{Code, DeviceId, Refusal, TimeMs};
use crate::domain::policy::{Condition, Rule};
use crate::domain::proposal::{Outcome, ProposalRecord};
use crate::domain::world::Moment;
use crate::node::context::Severity;
use crate::node::sensing::SensorHealth;

/// A kebab-case name of an enum as its JSON form has it.
pub(super) fn json_name(value: impl serde::Serialize) -> String {
    serde_json::to_value(value)
        .ok()
        .and_then(|v| v.as_str().map(str::to_owned))
        .unwrap_or_default()
}

/// The names of devices.
pub(super) type Names = BTreeMap<DeviceId, String>;

pub(super) fn fact_view(f: FactRow, names: &Names, at: Moment) -> FactView {
    FactView {
        age_ms: f.age_ms(at),
        value: f
            .value
            .map(Value::from)
            .or_else(|| f.text.map(Value::from))
            .unwrap_or_default(),
        metric: f.metric,
        zone: f.zone,
        unit: f.unit,
        origin_name: names.get(&f.origin).cloned(),
        origin: f.origin.as_str().to_owned(),
        frame_id: f.frame_id.as_str().to_owned(),
        sensed_at: f.time.0,
        claimed_tier: f.claimed.into(),
        effective_tier: f.effective.into(),
        signature: f.signature,
        tainted: f.tainted,
        private: f.private,
    }
}

pub(super) fn frame_view(f: StoredFrame, names: &Names, now: TimeMs) -> FrameView {
    FrameView {
        seq: f.seq,
        frame_id: f.frame_id.as_str().to_owned(),
        content: f.content.to_string(),
        kind: f.kind,
        origin_name: names.get(&f.origin).cloned(),
        origin: f.origin.as_str().to_owned(),
        time: f.time.0,
        received_at: f.received_at.0,
        age_ms: Moment::unset(now).age_by_wall_ms(f.time, f.received_at),
        claimed_tier: f.claimed_tier.into(),
        effective_tier: f.effective_tier.into(),
        signature: f.signature,
        tainted: f.tainted,
        ahead: f.ahead,
        private: f.private,
        frame: serde_json::from_str(&f.json).unwrap_or_default(),
    }
}

pub(super) fn sensor_view(s: SensorHealth) -> SensorView {
    let (failing_since, problem) = s.failing.map(|(since, why)| (since.0, why)).unzip();
    SensorView {
        name: s.name,
        last_reading_at: s.last_reading_at.map(|t| t.0),
        failing_since,
        problem,
    }
}

pub(super) fn event_view(e: EventRow) -> EventView {
    EventView {
        seq: e.seq,
        time: e.time.0,
        kind: e.kind,
        severity: Severity::of_stored(&e.severity),
        message: e.message,
        data: e.data,
    }
}

pub(super) fn audit_view(a: AuditRow) -> AuditView {
    let entry: Value = serde_json::from_str(&a.json).unwrap_or_default();
    let text = |name: &str| {
        entry
            .get(name)
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    AuditView {
        seq: a.seq,
        time: a.time.0,
        kind: text("kind"),
        subject: text("subject"),
        detail: entry.get("detail").cloned().unwrap_or_default(),
        hash: a.hash.to_string(),
    }
}

pub(super) fn draft_view(d: DraftRow) -> DraftView {
    use crate::adapters::store::drafts::DraftStatus;
    let status = match d.status {
        DraftStatus::Waiting => DraftState::Waiting,
        DraftStatus::Delivered => DraftState::Proposed,
        DraftStatus::Refused => DraftState::Refused,
        DraftStatus::Expired => DraftState::Expired,
    };
    DraftView {
        standing: false,
        standing_since: None,
        draft_id: d.id.as_str().to_owned(),
        status,
        proposal_id: d.proposal_id.map(|p| p.as_str().to_owned()),
        target: d.target,
        detail: d.message,
        created_at: d.created_at.0,
        expires_at: d.expires_at.0,
    }
}

pub(super) fn rule_view(r: &Rule) -> PolicyRuleView {
    PolicyRuleView {
        name: r.name.clone(),
        capability: r.capability.as_str().to_owned(),
        operations: r.operations.clone(),
        level: r.level,
        quorum: r.quorum,
        at_node: r.at_node,
        kind: r.kind.recorded(),
        deadline_ms: r.deadline_ms,
        safe_state: r.safe_state.clone(),
        min_tier: r.min_tier.into(),
        max_evidence_age_ms: r.max_evidence_age_ms,
        interlocks: r.interlocks.iter().map(Condition::text).collect(),
        conditions: r.conditions.iter().map(Condition::text).collect(),
        hours: r.hours.map(|h| h.to_string()),
        from: r.from.iter().map(|d| d.as_str().to_owned()).collect(),
        standing_approvals: r.standing_approvals,
    }
}

pub(super) fn record_of(row: &ProposalRow) -> Answer<ProposalRecord> {
    serde_json::from_str(&row.record).map_err(|e| {
        Refusal::new(
            Code::DigestMismatch,
            format!("proposal {} does not read: {e}", row.id.short()),
        )
    })
}

/// A stored proposal as people see it.
///
/// # Errors
/// `DIGEST_MISMATCH` if the stored record does not read.
pub(super) fn proposal_view(row: &ProposalRow, names: &Names) -> Answer<ProposalView> {
    let record = record_of(row)?;
    let outcome: Option<Outcome> = row
        .outcome
        .as_deref()
        .and_then(|t| serde_json::from_str(t).ok());
    Ok(ProposalView {
        id: row.id.as_str().to_owned(),
        status: row.status,
        level: record.level,
        target: record.target.as_str().to_owned(),
        operation: record.operation,
        params: serde_json::to_value(&record.params).unwrap_or_default(),
        executor_name: names.get(&record.executor).cloned(),
        executor: record.executor.as_str().to_owned(),
        created_at: record.created_at.0,
        expires_at: record.expires_at.0,
        evidence: record.evidence,
        reason: record.reason,
        requested_by: record.requested_by,
        led_by_name: record.led_by.as_ref().and_then(|id| names.get(id).cloned()),
        led_by: record.led_by,
        rule: record.rule,
        quorum: record.quorum,
        at_node: record.at_node,
        tainted: !record.taint.is_empty(),
        run_ms: record.run_ms,
        safe_state: record.safe_state,
        gen1: record.gen1,
        kind: record.kind,
        digest: row.digest.to_string(),
        own: row.own,
        revision: row.revision,
        updated_at: row.updated_at.0,
        detail: row.reason.clone(),
        outcome,
    })
}
