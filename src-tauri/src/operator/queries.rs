//! Looking: everything a person or program may read of a running node. Nothing here changes a thing.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::dto::{
    AlarmView, AuditReport, AuditView, DraftView, EventView, ExplainRequest, ExplainView, FactView,
    FrameView, Health, HealthView, NodeView, PolicyState, PolicyView, StatusView,
};
use super::registry::{self, Desk, grant_names};
use super::views::{
    Names, audit_view, draft_view, event_view, fact_view, frame_view, rule_view, sensor_view,
};
use super::{Answer, Door};
use crate::adapters::store::cited::Named;
use crate::adapters::store::events::EventRow;
use crate::adapters::store::facts::FactFilter;
use crate::adapters::store::frames::FrameFilter;
use crate::adapters::store::{StoreError, audit, cited, drafts, events, facts, frames, proposals};
use crate::domain::base::limits::{FACTS_SHOWN_MAX, QUERY_DEFAULT, QUERY_MAX};
use crate::domain::base::{Code, DeviceId, FrameId, Refusal, Taint, TimeMs};
use crate::domain::capability::Action;
use crate::domain::policy::{History, Phase, Request, Requester, Ruling, TestResult};
use crate::domain::wire::FrameKind;
use crate::node::context::Severity;
use crate::node::context::alarms::{Alarm, AlarmKind};
use crate::node::context::timekeeping::clock_trusted;
use crate::node::proposals::now_set;

fn bad(message: impl Into<String>) -> Refusal {
    Refusal::new(Code::InvalidParams, message)
}

/// A limit as asked for, within the bounds of every query.
pub(super) fn bounded(limit: Option<usize>) -> Answer<usize> {
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

/// Which proposals; newest first, a page at a time.
#[derive(Debug, Clone, Default)]
pub struct ProposalQuery {
    /// Those that have ended too.
    pub all: bool,
    /// Those that follow this one in the list: the id of the last of the page before.
    pub before: Option<String>,
    /// How many; at most and by default [`QUERY_MAX`].
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
    /// The store and the issuer of a running node, for the functions of the registry.
    pub fn desk(&self) -> Desk {
        Desk {
            store: self.handles.store.clone(),
            issuer: self.handles.authority.issuer().clone(),
            now: self.handles.now(),
        }
    }

    /// The node at a glance.
    ///
    /// # Errors
    /// Whatever the store says.
    pub async fn status(&self) -> Answer<StatusView> {
        let s = &self.handles;
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
        if let Some(latch) = s.running.latched() {
            problems.push(format!(
                "the emergency stop is latched by {}: {}; nothing moves here until it is released",
                latch.by, latch.reason
            ));
        }
        if s.store.is_full() && !s.alarms.stands(AlarmKind::StoreFull, "") {
            problems.push(format!("{}; reads go on", StoreError::Full));
        }
        let alarms = self.alarms();
        problems.extend(alarms.iter().map(|a| match a.advice.is_empty() {
            true => a.message.clone(),
            false => format!("{}: {}", a.message, a.advice),
        }));
        Ok(StatusView {
            device_id: s.own_id().as_str().to_owned(),
            display_name: s.config.name.clone(),
            role: s.config.role.as_str().to_owned(),
            mesh_id: s.mesh.as_str().to_owned(),
            mesh_name: s.config.mesh_name.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            port: s.pairing.listens_at().map_or(s.config.port, |a| a.port()),
            uptime_ms: now.since(s.started_at),
            frames,
            frames_per_sec: s.metrics.frames_rate.per_sec(),
            store_bytes: s.store.bytes_on_disk(),
            facts,
            planner: self.planner(),
            peers: self.linked_peers(),
            proposals_waiting: wide(proposals_waiting),
            drafts_waiting: wide(drafts_waiting),
            capabilities: s.known.own.now().texts(),
            sensors: s.sensors.list().into_iter().map(sensor_view).collect(),
            policy,
            clock_trusted: trusted_clock,
            demo: s.config.demo,
            bots: self.bots(),
            places: self.notify_places(),
            problems,
            alarms,
        })
    }

    /// The alarms that stand, the worst first; read from memory alone.
    pub fn alarms(&self) -> Vec<AlarmView> {
        let view = |a: Alarm| AlarmView {
            kind: a.kind.as_str().to_owned(),
            severity: a.kind.severity(),
            subject: a.subject,
            since: a.since.0,
            message: a.message,
            advice: a.advice,
        };
        // The emergency stop is told of by itself.
        let others = self.handles.alarms.list().into_iter();
        let others = others.filter(|a| a.kind != AlarmKind::EstopLatched);
        others.map(view).collect()
    }

    /// Whether the node works; touches neither disk nor network.
    pub fn health(&self) -> HealthView {
        let alarms = self.handles.alarms.list();
        let of_node = alarms.iter().filter(|a| a.kind.is_of_node());
        let mut kinds: Vec<String> = of_node.map(|a| a.kind.as_str().to_owned()).collect();
        kinds.dedup();
        let status = match self.handles.alarms.worst() {
            None => Health::Ok,
            Some(Severity::Warning | Severity::Info) => Health::Degraded,
            Some(Severity::Critical) => Health::Failing,
        };
        HealthView {
            status,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            alarms: kinds,
        }
    }

    /// Every device of the mesh that this node knows: itself, those it trusts, those connected.
    pub fn nodes(&self) -> Vec<NodeView> {
        let s = &self.handles;
        let offered = s.known_capabilities();
        let mut nodes = vec![NodeView {
            device_id: s.own_id().as_str().to_owned(),
            display_name: Some(s.config.name.clone()),
            own: true,
            connected: true,
            role: Some(s.config.role.as_str().to_owned()),
            capabilities: s.known.own.now().texts(),
            withheld: Vec::new(),
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
            let offers = link.as_ref().map(|l| l.offered());
            let offers = offers.as_deref();
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
                capabilities: offers.map_or_else(last, |o| o.capabilities.clone()),
                withheld: offers.map(|o| o.withheld.clone()).unwrap_or_default(),
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
        let filter = FactFilter {
            origin: query.origin.as_deref().map(device).transpose()?,
            metric: query.metric,
            zone: query.zone,
        };
        let own = self.handles.own_id().clone();
        let rows = self
            .read("facts", move |c| {
                facts::all(c, &filter, &own, FACTS_SHOWN_MAX)
            })
            .await?;
        let (names, at) = (self.names(), self.handles.moment());
        Ok(rows.into_iter().map(|f| fact_view(f, &names, at)).collect())
    }

    pub(super) fn names(&self) -> Names {
        let s = &self.handles;
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
        let (names, now) = (self.names(), self.handles.now());
        let view = |f| frame_view(f, &names, now);
        Ok(rows.into_iter().map(view).collect())
    }

    /// The stored frame with this id, written as `ID` or `ID@DEVICE`.
    ///
    /// # Errors
    /// `NOT_FOUND` if there is none, or none any more; `EVIDENCE_AMBIGUOUS` if several devices use the
    /// id and none is named.
    pub async fn frame(&self, id: &str) -> Answer<FrameView> {
        let (text, origin) = match id.split_once('@') {
            Some((text, device)) => {
                let device: DeviceId = device.parse().map_err(|e| bad(format!("device: {e}")))?;
                (text, Some(device))
            }
            None => (id, None),
        };
        let wanted: FrameId = text.parse().map_err(|e| bad(format!("frame id: {e}")))?;
        let read = move |c: &rusqlite::Connection| cited::named(c, &wanted, origin.as_ref());
        match self.read("frame", read).await? {
            Named::One(frame) => Ok(frame_view(*frame, &self.names(), self.handles.now())),
            Named::None => Err(Refusal::new(
                Code::NotFound,
                "there is no such frame here; it may be older than what this node keeps",
            )),
            Named::Several(devices) => {
                let devices: Vec<&str> = devices.iter().map(DeviceId::as_str).collect();
                Err(Refusal::new(
                    Code::EvidenceAmbiguous,
                    format!(
                        "several devices use the frame id {text}; say whose is meant as {text}@DEVICE, with one of {}",
                        devices.join(", ")
                    ),
                ))
            }
        }
    }

    /// How the tests in the policy in force come out, run now.
    pub fn policy_tests(&self) -> Vec<TestResult> {
        self.handles.policy.current().run_tests()
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
        let policy = self.handles.policy.current();
        PolicyState {
            digest: policy.digest().to_string(),
            rules: policy.rules().len(),
            problem: self.handles.policy.problem(),
        }
    }

    /// The policy in force with its rules.
    pub fn policy(&self) -> PolicyView {
        let list = self
            .handles
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

    /// The ruling of this executor's policy on an action now.
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
        let at = self.handles.moment();
        let metrics = self.handles.policy.current().metrics();
        let of = action.target.clone();
        let read = move |c: &rusqlite::Connection| {
            Ok((facts::numeric_of(c, &metrics, at)?, now_set(c, &of)?))
        };
        let (facts, now_set) = self.read("facts", read).await?;
        let taint: BTreeSet<Taint> = (asked.requester == Requester::Llm)
            .then_some(Taint::Llm)
            .into_iter()
            .collect();
        let request = Request {
            now_set: now_set.as_ref(),
            action: &action,
            requester: asked.requester,
            from: self.handles.own_id(),
            taint: &taint,
            evidence: &[],
            phase: Phase::Propose,
            by_gen1: {
                let policy = self.handles.policy.current();
                let moves = policy.moves(&action);
                let mut moved = moves.iter().map(|(_, action)| &action.target);
                moved.any(|target| self.handles.guards.gen1(target).is_some())
            },
        };
        let s = &self.handles;
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
                    level: Some(t.level),
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
                Some(since) => audit::shown_after(c, since, limit),
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
