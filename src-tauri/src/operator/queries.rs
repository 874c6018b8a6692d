//! Looking: everything a person or program may read of a running node. Nothing here changes a thing.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::dto::{
    AuditReport, AuditView, DraftView, EventView, ExplainRequest, ExplainView, FactView, FrameView,
    NodeView, OperatorView, PeerView, PolicyRuleView, PolicyState, PolicyView, ProposalRecordView,
    ProposalView, StatusView, TraceView, TrustRecordView,
};
use super::registry::{self, Desk, KeyOf, grant_names, trust_view};
use super::{Answer, Door, trace};
use crate::adapters::store::audit::AuditRow;
use crate::adapters::store::drafts::DraftRow;
use crate::adapters::store::events::EventRow;
use crate::adapters::store::facts::FactRow;
use crate::adapters::store::frames::{FrameFilter, StoredFrame};
use crate::adapters::store::proposals::{Found, ProposalRow};
use crate::adapters::store::{
    StoreError, approvals, audit, drafts, events, facts, frames, proposals,
};
use crate::domain::base::limits::{QUERY_DEFAULT, QUERY_MAX};
use crate::domain::base::{Code, DeviceId, Refusal, Taint, TimeMs};
use crate::domain::capability::Action;
use crate::domain::policy::{Condition, History, Phase, Request, Requester, Rule, Ruling};
use crate::domain::proposal::{Outcome, ProposalRecord};
use crate::domain::wire::FrameKind;
use crate::domain::wire::handshake::Feature;
use crate::node::links::LinkHandle;
use crate::node::shared::clock_trusted;

/// The shortest start of a proposal's id that is taken for it.
const PREFIX_MIN: usize = 4;
/// Most facts that one answer holds.
const FACTS_MAX: usize = 20_000;

fn bad(message: impl Into<String>) -> Refusal {
    Refusal::new(Code::InvalidParams, message)
}

/// A limit as asked for, within the bounds of every query.
fn bounded(limit: Option<usize>) -> Answer<usize> {
    match limit.unwrap_or(QUERY_DEFAULT) {
        0 => Err(bad("limit must be at least 1")),
        n if n > QUERY_MAX => Err(bad(format!("limit must be at most {QUERY_MAX}"))),
        n => Ok(n),
    }
}

fn device(text: &str) -> Answer<DeviceId> {
    text.parse().map_err(|e| bad(format!("origin: {e}")))
}

/// Which facts.
#[derive(Debug, Clone, Default)]
pub struct FactQuery {
    /// Of this metric.
    pub metric: Option<String>,
    /// In this zone.
    pub zone: Option<String>,
    /// From this device.
    pub origin: Option<String>,
}

/// Which frames, newest first.
#[derive(Debug, Clone, Default)]
pub struct FrameQuery {
    /// Of this kind.
    pub kind: Option<String>,
    /// From this device.
    pub origin: Option<String>,
    /// Not older than this moment.
    pub since: Option<u64>,
    /// Before this place in the log; for the next page.
    pub before: Option<u64>,
    /// At most so many.
    pub limit: Option<usize>,
}

/// Which events: after `since`, oldest first; without it the newest, oldest first.
#[derive(Debug, Clone, Default)]
pub struct EventQuery {
    /// After this number.
    pub since: Option<u64>,
    /// Of this kind.
    pub kind: Option<String>,
    /// At most so many.
    pub limit: Option<usize>,
}

impl Door {
    /// What the registry's functions need of a running node.
    pub fn desk(&self) -> Desk {
        Desk {
            store: self.shared.store.clone(),
            key: KeyOf::Node(self.shared.clone()),
            now: self.shared.now(),
        }
    }

    /// The node at a glance. `port` is where it was reached or listens.
    ///
    /// # Errors
    /// Whatever the store says.
    pub async fn status(&self, port: Option<u16>) -> Answer<StatusView> {
        let s = &self.shared;
        let now = s.now();
        let (frames, facts, proposals_waiting, drafts_waiting, trusted_clock) = self
            .read("status", move |c| {
                let waiting = proposals::open_list(c, QUERY_MAX)?;
                let waiting = waiting
                    .iter()
                    .filter(|r| r.status == crate::domain::proposal::Status::AwaitingApproval);
                Ok((
                    frames::count(c)?,
                    facts::count(c)?,
                    waiting.count(),
                    drafts::waiting_count(c)?,
                    clock_trusted(c, now)?,
                ))
            })
            .await?;
        let policy = self.policy_state();
        let mut problems: Vec<String> = policy
            .problem
            .iter()
            .map(|p| format!("policy: {p}"))
            .collect();
        if !trusted_clock {
            problems.push("the clock is behind what this node has already recorded; it does not operate until it is set".into());
        }
        if s.store.is_full() {
            problems.push(format!("{}; reads go on", StoreError::Full));
        }
        Ok(StatusView {
            device_id: s.own_id().as_str().to_owned(),
            display_name: s.config.name.clone(),
            role: s.config.role.as_str().to_owned(),
            mesh_id: s.mesh.as_str().to_owned(),
            mesh_name: s.config.mesh_name.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            port: port.unwrap_or(s.config.port),
            uptime_ms: now.since(s.started_at),
            frames,
            facts,
            peers: self.peers(),
            proposals_waiting: wide(proposals_waiting),
            drafts_waiting: wide(drafts_waiting),
            capabilities: s
                .capabilities
                .iter()
                .map(|c| c.as_str().to_owned())
                .collect(),
            policy,
            clock_trusted: trusted_clock,
            demo: s.config.demo,
            problems,
        })
    }

    /// The connected peers.
    pub fn peers(&self) -> Vec<PeerView> {
        self.shared
            .links
            .all()
            .iter()
            .map(|l| self.peer(l))
            .collect()
    }

    fn peer(&self, link: &LinkHandle) -> PeerView {
        let info = &link.info;
        let record = self.shared.trust.live(&info.device);
        PeerView {
            device_id: info.device.as_str().to_owned(),
            display_name: info.name.clone(),
            role: info.role.clone(),
            capabilities: info.capabilities.clone(),
            outbound: info.outbound,
            transport_label: info.label.clone(),
            posture: info.posture.to_string(),
            generation: if info.speaks(Feature::Proposals) {
                "clawmesh"
            } else {
                "gen1"
            }
            .to_owned(),
            connected_at: info.connected_at.0,
            grants: record.map(|r| grant_names(&r.grants)).unwrap_or_default(),
        }
    }

    /// Every device of the mesh that this node knows: itself, those it trusts, those connected.
    pub fn nodes(&self) -> Vec<NodeView> {
        let s = &self.shared;
        let offered = s.known_capabilities();
        let mut nodes = vec![NodeView {
            device_id: s.own_id().as_str().to_owned(),
            display_name: Some(s.config.name.clone()),
            own: true,
            connected: true,
            role: Some(s.config.role.as_str().to_owned()),
            capabilities: s
                .capabilities
                .iter()
                .map(|c| c.as_str().to_owned())
                .collect(),
            grants: Vec::new(),
        }];
        for record in s
            .trust
            .all()
            .into_iter()
            .filter(|r| r.is_live() && r.device_id != *s.own_id())
        {
            let link = s.links.get(&record.device_id);
            let info = link.as_ref().map(|l| &l.info);
            let last = || offered.get(&record.device_id).cloned().unwrap_or_default();
            nodes.push(NodeView {
                device_id: record.device_id.as_str().to_owned(),
                display_name: record
                    .name
                    .clone()
                    .or_else(|| info.and_then(|i| i.name.clone())),
                own: false,
                connected: link.is_some(),
                role: info.and_then(|i| i.role.clone()),
                capabilities: info.map_or_else(last, |i| i.capabilities.clone()),
                grants: grant_names(&record.grants),
            });
        }
        nodes
    }

    /// The newest value of each metric, zone and origin.
    ///
    /// # Errors
    /// `INVALID_PARAMS` for an origin that is no device id.
    pub async fn facts(&self, query: FactQuery) -> Answer<Vec<FactView>> {
        let origin = query.origin.as_deref().map(device).transpose()?;
        let rows = self.read("facts", |c| facts::all(c, FACTS_MAX)).await?;
        let (names, now) = (self.names(), self.shared.now());
        let wanted = |f: &FactRow| {
            query.metric.as_ref().is_none_or(|m| *m == f.metric)
                && query
                    .zone
                    .as_ref()
                    .is_none_or(|z| f.zone.as_ref() == Some(z))
                && origin.as_ref().is_none_or(|o| *o == f.origin)
        };
        Ok(rows
            .into_iter()
            .filter(wanted)
            .map(|f| fact_view(f, &names, now))
            .collect())
    }

    fn names(&self) -> BTreeMap<DeviceId, String> {
        let s = &self.shared;
        let links = s.links.all();
        let mut names: BTreeMap<_, _> = links
            .iter()
            .filter_map(|l| Some((l.info.device.clone(), l.info.name.clone()?)))
            .collect();
        names.extend(
            s.trust
                .all()
                .into_iter()
                .filter_map(|r| Some((r.device_id, r.name?))),
        );
        names.insert(s.own_id().clone(), s.config.name.clone());
        names
    }

    /// Stored frames, newest first.
    ///
    /// # Errors
    /// `INVALID_PARAMS` for an unknown kind, origin or limit.
    pub async fn frames(&self, query: FrameQuery) -> Answer<Vec<FrameView>> {
        let kind = query
            .kind
            .as_deref()
            .map(|k| serde_json::from_value::<FrameKind>(Value::from(k)))
            .transpose();
        let filter = FrameFilter {
            kind: kind.map_err(|e| bad(format!("kind: {e}")))?,
            origin: query.origin.as_deref().map(device).transpose()?,
            since: query.since.map(TimeMs),
            before_seq: query.before,
            limit: bounded(query.limit)?,
            ..FrameFilter::default()
        };
        let rows = self
            .read("frames", move |c| frames::page(c, &filter))
            .await?;
        let now = self.shared.now();
        Ok(rows.into_iter().map(|f| frame_view(f, now)).collect())
    }

    /// Events, oldest first.
    ///
    /// # Errors
    /// `INVALID_PARAMS` for a limit out of bounds.
    pub async fn events(&self, query: EventQuery) -> Answer<Vec<EventView>> {
        let limit = bounded(query.limit)?;
        let rows = self
            .read("events", move |c| match query.since {
                Some(since) => events_after(c, since, limit, query.kind.as_deref()),
                None => {
                    let mut rows = events::latest(c, limit, query.kind.as_deref())?;
                    rows.sort_by_key(|e| e.seq);
                    Ok(rows)
                }
            })
            .await?;
        Ok(rows.into_iter().map(event_view).collect())
    }

    /// Proposals, newest first: those that are open, or all.
    ///
    /// # Errors
    /// Whatever the store says.
    pub async fn proposals(&self, all: bool) -> Answer<Vec<ProposalView>> {
        let rows = self
            .read("proposals", move |c| proposals::list(c, !all, QUERY_MAX))
            .await?;
        rows.iter().map(proposal_view).collect()
    }

    /// The stored proposal with this id or unique start of one.
    pub(super) async fn proposal_row(&self, wanted: &str) -> Answer<ProposalRow> {
        let start = wanted.to_owned();
        match self
            .read("proposal", move |c| proposals::by_prefix(c, &start))
            .await?
        {
            Found::One(row) if row.id.as_str() == wanted || wanted.len() >= PREFIX_MIN => Ok(*row),
            _ if wanted.len() < PREFIX_MIN => Err(Refusal::new(
                Code::ProposalNotFound,
                format!(
                    "{wanted:?} is too short: give at least the first {PREFIX_MIN} characters of the id"
                ),
            )),
            Found::Ambiguous(ids) => {
                let ids: Vec<&str> = ids.iter().map(|id| id.as_str()).collect();
                Err(Refusal::new(
                    Code::ProposalAmbiguous,
                    format!(
                        "{:?} fits several proposals: {}; give more of the id",
                        shown(wanted),
                        ids.join(", ")
                    ),
                ))
            }
            _ => Err(Refusal::new(
                Code::ProposalNotFound,
                format!("there is no proposal {:?}", shown(wanted)),
            )),
        }
    }

    /// One proposal.
    ///
    /// # Errors
    /// `PROPOSAL_NOT_FOUND`, `PROPOSAL_AMBIGUOUS`.
    pub async fn proposal(&self, wanted: &str) -> Answer<ProposalView> {
        proposal_view(&self.proposal_row(wanted).await?)
    }

    /// A proposal's signed record.
    ///
    /// # Errors
    /// As [`Door::proposal`]; `UNTRUSTED_PEER` if the executor's key is not known any more.
    pub async fn proposal_record(&self, wanted: &str) -> Answer<ProposalRecordView> {
        let row = self.proposal_row(wanted).await?;
        let proposal = proposal_view(&row)?;
        let key = if row.own {
            Some(*self.shared.key.public())
        } else {
            let executor = proposal.executor.parse().ok();
            executor
                .and_then(|id: DeviceId| self.shared.trust.live(&id))
                .and_then(|r| r.public_key)
        };
        let key = key.ok_or_else(|| {
            Refusal::new(Code::UntrustedPeer, "the executor of this proposal is not trusted here, so its record cannot be checked")
        })?;
        let id = row.id.clone();
        let decisions = self
            .read("decisions", move |c| approvals::of(c, &id))
            .await?;
        Ok(ProposalRecordView {
            proposal,
            record: row.record,
            signature: row.signature,
            executor_key: key.to_text(),
            decisions: decisions
                .iter()
                .filter_map(|d| serde_json::to_value(d).ok())
                .collect(),
        })
    }

    /// A proposal's story, from reading to outcome.
    ///
    /// # Errors
    /// As [`Door::proposal`].
    pub async fn trace(&self, wanted: &str) -> Answer<TraceView> {
        let row = self.proposal_row(wanted).await?;
        let proposal = proposal_view(&row)?;
        let id = row.id.clone();
        let (decisions, audit) = self
            .read("trace", move |c| {
                Ok((
                    approvals::of(c, &id)?,
                    audit::about(c, id.as_str(), QUERY_MAX)?,
                ))
            })
            .await?;
        let outcomes = self.outcome_frames(&proposal).await?;
        Ok(trace::assemble(
            proposal,
            &record_of(&row)?,
            &decisions,
            &audit,
            &outcomes,
            &self.names(),
        ))
    }

    async fn outcome_frames(&self, proposal: &ProposalView) -> Answer<Vec<FrameView>> {
        let query = FrameQuery {
            kind: Some(FrameKind::Event.as_str().to_owned()),
            origin: Some(proposal.executor.clone()),
            since: Some(proposal.created_at),
            limit: Some(QUERY_MAX),
            before: None,
        };
        let mut frames = self.frames(query).await?;
        frames.retain(|f| {
            f.frame.pointer("/data/proposalId").and_then(Value::as_str)
                == Some(proposal.id.as_str())
        });
        Ok(frames)
    }

    /// Drafts of this node, waiting and settled.
    ///
    /// # Errors
    /// Whatever the store says.
    pub async fn drafts(&self) -> Answer<Vec<DraftView>> {
        let rows = self.read("drafts", |c| drafts::list(c, QUERY_MAX)).await?;
        Ok(rows.into_iter().map(draft_view).collect())
    }

    /// Digest, count and problem of the policy in force.
    pub fn policy_state(&self) -> PolicyState {
        let policy = self.shared.policy.current();
        PolicyState {
            digest: policy.digest().to_string(),
            rules: policy.rules().len(),
            problem: self.shared.policy.problem(),
        }
    }

    /// The policy in force with its rules.
    pub fn policy(&self) -> PolicyView {
        let list = self
            .shared
            .policy
            .current()
            .rules()
            .iter()
            .map(rule_view)
            .collect();
        PolicyView {
            state: self.policy_state(),
            list,
        }
    }

    /// What this executor's policy says of an action now.
    ///
    /// # Errors
    /// `INVALID_PARAMS` for what is no action.
    pub async fn explain(&self, asked: ExplainRequest) -> Answer<ExplainView> {
        let target = asked
            .target
            .parse()
            .map_err(|e| bad(format!("target: {e}")))?;
        let action =
            Action::new(target, &asked.operation, asked.params).map_err(|e| bad(e.to_string()))?;
        let facts = self.read("facts", facts::numeric).await?;
        let taint: BTreeSet<Taint> = (asked.requester == Requester::Llm)
            .then_some(Taint::Llm)
            .into_iter()
            .collect();
        let request = Request {
            action: &action,
            requester: asked.requester,
            taint: &taint,
            evidence: &[],
            phase: Phase::Propose,
        };
        let s = &self.shared;
        Ok(
            match s.policy.current().evaluate(
                &request,
                &facts,
                &History::default(),
                s.now(),
                s.own_id(),
            ) {
                Ruling::Allow(t) => ExplainView {
                    allowed: true,
                    code: None,
                    message: format!(
                        "{}: allowed at {} by rule {:?}",
                        action.summary(),
                        t.level,
                        t.rule
                    ),
                    rule: Some(t.rule),
                    level: Some(t.level.to_string()),
                    checks: t.checks,
                },
                Ruling::Deny(d) => ExplainView {
                    allowed: false,
                    code: Some(d.code.as_str().to_owned()),
                    message: d.message,
                    rule: d.rule,
                    level: None,
                    checks: d.checks,
                },
            },
        )
    }

    /// Audit entries after a number, oldest first.
    ///
    /// # Errors
    /// `INVALID_PARAMS` for a limit out of bounds.
    pub async fn audit(&self, since: Option<u64>, limit: Option<usize>) -> Answer<Vec<AuditView>> {
        let limit = bounded(limit)?;
        let mut rows = self
            .read("audit", move |c| match since {
                Some(since) => audit::after(c, since, limit),
                None => audit::page(c, None, limit),
            })
            .await?;
        rows.sort_by_key(|a| a.seq);
        Ok(rows.into_iter().map(audit_view).collect())
    }

    /// Checks the audit chain from its first entry.
    ///
    /// # Errors
    /// Whatever the store says.
    pub async fn audit_verify(&self) -> Answer<AuditReport> {
        registry::audit_verify(&self.desk()).await
    }

    /// Every trust record, with who is connected.
    ///
    /// # Errors
    /// Whatever the store says.
    pub async fn trust(&self) -> Answer<Vec<TrustRecordView>> {
        let records = registry::trust_list(&self.desk()).await?;
        Ok(records.iter().map(|r| self.trust_seen(r)).collect())
    }

    /// One trust record.
    ///
    /// # Errors
    /// `NOT_FOUND`.
    pub async fn trust_one(&self, id: &str) -> Answer<TrustRecordView> {
        Ok(self.trust_seen(&registry::trust_show(&self.desk(), id).await?))
    }

    pub(super) fn trust_seen(
        &self,
        record: &crate::domain::admission::TrustRecord,
    ) -> TrustRecordView {
        trust_view(
            record,
            Some(self.shared.links.get(&record.device_id).is_some()),
        )
    }

    /// Every operator known here.
    ///
    /// # Errors
    /// Whatever the store says.
    pub async fn operators(&self) -> Answer<Vec<OperatorView>> {
        registry::operator_list(&self.desk()).await
    }
}

fn shown(text: &str) -> String {
    text.chars().take(64).collect()
}

fn wide(n: usize) -> u64 {
    u64::try_from(n).unwrap_or(u64::MAX)
}

/// Events after a number, of one kind if named, oldest first.
fn events_after(
    conn: &rusqlite::Connection,
    mut since: u64,
    limit: usize,
    kind: Option<&str>,
) -> Result<Vec<EventRow>, StoreError> {
    let mut found = Vec::new();
    loop {
        let page = events::since(conn, since, QUERY_MAX)?;
        let Some(last) = page.last().map(|e| e.seq) else {
            break;
        };
        since = last;
        found.extend(
            page.into_iter()
                .filter(|e| kind.is_none_or(|k| k == e.kind)),
        );
        if found.len() >= limit {
            break;
        }
    }
    found.truncate(limit);
    Ok(found)
}

/// A kebab-case name of an enum as its JSON form has it.
fn json_name(value: impl serde::Serialize) -> String {
    serde_json::to_value(value)
        .ok()
        .and_then(|v| v.as_str().map(str::to_owned))
        .unwrap_or_default()
}

fn fact_view(f: FactRow, names: &BTreeMap<DeviceId, String>, now: TimeMs) -> FactView {
    FactView {
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
        age_ms: now.since(f.time),
        claimed_tier: f.claimed.to_string(),
        effective_tier: f.effective.to_string(),
        signature: json_name(f.signature),
        tainted: f.tainted,
    }
}

fn frame_view(f: StoredFrame, now: TimeMs) -> FrameView {
    FrameView {
        seq: f.seq,
        frame_id: f.frame_id.as_str().to_owned(),
        content: f.content.to_string(),
        kind: f.kind.as_str().to_owned(),
        origin: f.origin.as_str().to_owned(),
        time: f.time.0,
        received_at: f.received_at.0,
        age_ms: now.since(f.time),
        claimed_tier: f.claimed_tier.to_string(),
        effective_tier: f.effective_tier.to_string(),
        signature: json_name(f.signature),
        tainted: f.tainted,
        ahead: f.ahead,
        frame: serde_json::from_str(&f.json).unwrap_or_default(),
    }
}

fn event_view(e: EventRow) -> EventView {
    EventView {
        seq: e.seq,
        time: e.time.0,
        kind: e.kind,
        severity: e.severity,
        message: e.message,
        data: e.data,
    }
}

fn audit_view(a: AuditRow) -> AuditView {
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

fn draft_view(d: DraftRow) -> DraftView {
    use crate::adapters::store::drafts::DraftStatus;
    let status = match d.status {
        DraftStatus::Waiting => "waiting",
        DraftStatus::Delivered => "proposed",
        DraftStatus::Refused => "refused",
        DraftStatus::Expired => "expired",
    };
    DraftView {
        draft_id: d.id.as_str().to_owned(),
        status: status.to_owned(),
        proposal_id: d.proposal_id.map(|p| p.as_str().to_owned()),
        target: d.target,
        detail: d.message,
        created_at: d.created_at.0,
        expires_at: d.expires_at.0,
    }
}

fn rule_view(r: &Rule) -> PolicyRuleView {
    PolicyRuleView {
        name: r.name.clone(),
        capability: r.capability.as_str().to_owned(),
        operations: r.operations.clone(),
        level: r.level.to_string(),
        quorum: r.quorum,
        deadline_ms: r.deadline_ms,
        safe_state: r.safe_state.clone(),
        min_tier: r.min_tier.to_string(),
        max_evidence_age_ms: r.max_evidence_age_ms,
        interlocks: r.interlocks.iter().map(Condition::text).collect(),
        conditions: r.conditions.iter().map(Condition::text).collect(),
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
pub fn proposal_view(row: &ProposalRow) -> Answer<ProposalView> {
    let record = record_of(row)?;
    let outcome: Option<Outcome> = row
        .outcome
        .as_deref()
        .and_then(|t| serde_json::from_str(t).ok());
    Ok(ProposalView {
        id: row.id.as_str().to_owned(),
        status: row.status.to_string(),
        level: record.level.to_string(),
        target: record.target.as_str().to_owned(),
        operation: record.operation,
        params: serde_json::to_value(&record.params).unwrap_or_default(),
        executor: record.executor.as_str().to_owned(),
        created_at: record.created_at.0,
        expires_at: record.expires_at.0,
        evidence: record.evidence,
        reason: record.reason,
        requested_by: record.requested_by,
        rule: record.rule,
        quorum: record.quorum,
        tainted: !record.taint.is_empty(),
        run_ms: record.run_ms,
        safe_state: record.safe_state,
        digest: row.digest.to_string(),
        own: row.own,
        revision: row.revision,
        updated_at: row.updated_at.0,
        detail: row.reason.clone(),
        outcome,
    })
}
