//! What a program reads, as JSON, and what it asks for. What is private is left out and counted.

use serde::Deserialize;
use serde_json::{Value, json};

use super::{Client, Clients};
use crate::domain::base::limits::{
    MCP_ALL_WAITING_MAX, MCP_LIST_DEFAULT, MCP_LIST_MAX, MCP_WAITING_MAX, NAME_MAX_BYTES,
};
use crate::domain::base::text::shown;
use crate::domain::base::{Code, Refusal};
use crate::domain::capability::Params;
use crate::domain::policy::{PRIVATE_VALUE, Requester};
use crate::domain::proposal::Status;
use crate::operator::commands::Asker;
use crate::operator::dto::{DraftRequest, EventView, ExplainRequest, FactView, ProposalView};
use crate::operator::queries::{EventQuery, FactQuery, ProposalQuery};
use crate::operator::{Answer, Door};

/// The families of events that a program may read: what became of actions. The others are about people, devices and readings.
const FAMILIES: [&str; 9] = [
    "action.",
    "actuator.",
    "draft.",
    "estop.",
    "planner.",
    "proposal.",
    "rule.",
    "shutdown",
    "startup",
];

/// An action that a program asks for.
#[derive(Debug, Clone, Deserialize)]
pub struct McpPropose {
    /// The actuator.
    pub target: String,
    /// What it is to do.
    pub operation: String,
    /// With which parameters.
    pub params: Params,
    /// Why.
    pub reason: String,
    /// The frames it rests on.
    pub cites: Vec<String>,
    /// The executor that is meant.
    pub executor: Option<String>,
}

fn bad(why: impl Into<String>) -> Refusal {
    Refusal::new(Code::InvalidParams, why)
}

fn bounded(limit: Option<usize>) -> Answer<usize> {
    match limit.unwrap_or(MCP_LIST_DEFAULT) {
        limit @ 1..=MCP_LIST_MAX => Ok(limit),
        _ => Err(bad(format!("limit: 1 to {MCP_LIST_MAX}"))),
    }
}

/// The first entries of a list, how many more there are, and how many are left out for being private.
fn listed(name: &str, mut list: Vec<Value>, limit: usize, private: usize) -> Value {
    let more = list.len().saturating_sub(limit);
    list.truncate(limit);
    let mut said = json!({ name: list });
    if more > 0 {
        said["more"] = more.into();
    }
    if private > 0 {
        said["withheldAsPrivate"] = private.into();
    }
    said
}

fn fact(fact: FactView) -> Value {
    json!({
        "metric": fact.metric, "zone": fact.zone, "value": fact.value, "unit": fact.unit,
        "node": fact.origin_name.unwrap_or_else(|| fact.origin.clone()),
        "frame": format!("{}@{}", fact.frame_id, fact.origin),
        "ageMs": fact.age_ms, "tier": fact.effective_tier, "signature": fact.signature,
        "modelHadAPart": fact.tainted,
    })
}

fn proposal(p: ProposalView) -> Value {
    json!({
        "id": p.id, "status": p.status, "level": p.level, "target": p.target, "operation": p.operation,
        "params": p.params, "executor": p.executor_name.unwrap_or(p.executor), "reason": p.reason,
        "askedBy": p.requested_by.name, "modelHadAPart": p.tainted, "createdAt": p.created_at,
        "expiresAt": p.expires_at, "runMs": p.run_ms, "safeState": p.safe_state, "detail": p.detail,
        "outcome": p.outcome,
    })
}

/// What ends the names of programs as proposals have them.
const ASKER: &str = " (MCP)";

impl Client {
    /// Its name as proposals have it.
    fn asker(&self) -> String {
        format!("{}{ASKER}", self.name)
    }
}

/// The answer about an action whose policy looks at what is private: whether it would be allowed is not told either.
fn looks_at_private() -> Refusal {
    let why = "the policy looks at what is private for this action, so no program may ask for it; a person may";
    Refusal::new(Code::NotAuthorized, why)
}

/// Whether a sentence tells of a private reading without its value: already that it does may say on which side of a threshold that is.
fn is_of_private(text: &str) -> bool {
    let told = |before: &str| text.contains(&format!("{before}{PRIVATE_VALUE}"));
    told(" is ") || told(", ")
}

impl Door {
    /// Whether the words of an entry name nothing that is labelled private here.
    fn is_public(&self, shown: &Value) -> bool {
        let (labels, text) = (self.handles.inference.labels(), shown.to_string());
        !is_of_private(&text) && !labels.text(&text).is_private()
    }

    /// Those entries that are public, and how many are not.
    fn public(&self, all: impl Iterator<Item = Value>) -> (Vec<Value>, usize) {
        let (public, private): (Vec<_>, Vec<_>) = all.partition(|one| self.is_public(one));
        (public, private.len())
    }

    /// The node and the mesh at a glance.
    ///
    /// # Errors
    /// What the store says.
    pub async fn mcp_status(&self) -> Answer<Value> {
        let status = self.status().await?;
        let nodes = self.nodes().into_iter().map(|node| {
            json!({
                "name": node.display_name, "deviceId": node.device_id, "own": node.own,
                "connected": node.connected, "role": node.role, "capabilities": node.capabilities,
            })
        });
        let (nodes, withheld) = self.public(nodes);
        let mut said = listed("nodes", nodes, MCP_LIST_MAX, withheld);
        said["node"] = json!({
            "name": status.display_name, "mesh": status.mesh_name, "version": status.version,
            "health": self.health().status, "uptimeMs": status.uptime_ms,
            "clockTrusted": status.clock_trusted, "demo": status.demo,
        });
        said["proposalsWaiting"] = status.proposals_waiting.into();
        said["plannerPaused"] = self.handles.planner.pause().is_some().into();
        said["emergencyStop"] = self.estop_state().latch.is_some().into();
        Ok(said)
    }

    /// The newest readings, each with where it comes from.
    ///
    /// # Errors
    /// `INVALID_PARAMS` for a limit out of bounds, or what the store says.
    pub async fn mcp_world(&self, query: FactQuery, limit: Option<usize>) -> Answer<Value> {
        let limit = bounded(limit)?;
        // All are looked at, so that how many are left out does not depend on what is asked for.
        let facts = self.facts(FactQuery::default()).await?;
        let fits = |asked: &Option<String>, is: Option<&str>| {
            asked.as_deref().is_none_or(|asked| is == Some(asked))
        };
        let (mut fitting, mut private) = (Vec::new(), 0);
        for one in facts {
            let wanted = fits(&query.metric, Some(&one.metric))
                && fits(&query.zone, one.zone.as_deref())
                && fits(&query.origin, Some(&one.origin));
            let hidden = one.private;
            let shown = fact(one);
            match hidden || !self.is_public(&shown) {
                true => private += 1,
                false if wanted => fitting.push(shown),
                false => {}
            }
        }
        Ok(listed("readings", fitting, limit, private))
    }

    /// Every actuator that is known here.
    ///
    /// # Errors
    /// As [`Door::actuators`].
    pub async fn mcp_actuators(&self) -> Answer<Value> {
        let all = self.actuators().await?.into_iter().map(|a| {
            json!({
                "target": a.target, "executor": a.device_name.unwrap_or(a.device_id),
                "reachable": a.reachable, "operations": a.operations, "position": a.position,
                "problem": a.problem, "movedBy": a.running, "alsoOfferedBy": a.also_offered_by,
            })
        });
        let (public, withheld) = self.public(all);
        Ok(listed("actuators", public, MCP_LIST_MAX, withheld))
    }

    /// The alerts that stand.
    ///
    /// # Errors
    /// As [`Door::alerts`].
    pub async fn mcp_alerts(&self) -> Answer<Value> {
        let (private, public): (Vec<_>, Vec<_>) =
            self.alerts().await?.into_iter().partition(|a| a.private);
        let all = public.into_iter().map(|a| {
            json!({
                "kind": a.kind, "severity": a.severity, "subject": a.subject, "message": a.message,
                "advice": a.advice, "since": a.since, "acknowledged": a.acknowledged.is_some(),
            })
        });
        let (public, labelled) = self.public(all);
        Ok(listed(
            "alerts",
            public,
            MCP_LIST_MAX,
            private.len() + labelled,
        ))
    }

    /// What became of actions, oldest first.
    ///
    /// # Errors
    /// As [`Door::events`].
    pub async fn mcp_events(&self, since: Option<u64>, limit: Option<usize>) -> Answer<Value> {
        let limit = bounded(limit)?;
        let query = EventQuery {
            since,
            kind: None,
            limit: Some(limit),
        };
        let events = self.events(query).await?;
        let last = events.last().map(|event| event.seq);
        let proposals = self.proposals(true).await?;
        let hidden = proposals.into_iter().map(proposal);
        let hidden = hidden.filter(|p| !self.is_public(p));
        let hidden: Vec<String> = hidden
            .filter_map(|p| Some(p["id"].as_str()?.to_owned()))
            .collect();
        let of_hidden = |event: &EventView| {
            let data = event.data.to_string();
            hidden.iter().any(|id| data.contains(id.as_str()))
        };
        let all = events
            .into_iter()
            .filter(|event| FAMILIES.iter().any(|family| event.kind.starts_with(family)))
            .filter(|event| !of_hidden(event))
            .map(|e| {
                json!({
                    "seq": e.seq, "time": e.time, "kind": e.kind, "severity": e.severity,
                    "message": e.message,
                })
            });
        let (public, withheld) = self.public(all);
        let mut said = listed("events", public, limit, withheld);
        said["next"] = last.into();
        Ok(said)
    }

    /// Proposals, newest first.
    ///
    /// # Errors
    /// As [`Door::proposals_page`].
    pub async fn mcp_proposals(&self, all: bool, limit: Option<usize>) -> Answer<Value> {
        let limit = bounded(limit)?;
        let query = ProposalQuery {
            all,
            before: None,
            limit: Some(limit),
        };
        let found = self.proposals_page(query).await?;
        let (public, withheld) = self.public(found.into_iter().map(proposal));
        Ok(listed("proposals", public, limit, withheld))
    }

    /// One proposal.
    ///
    /// # Errors
    /// As [`Door::proposal`]; one that names what is private is as one that is not there.
    pub async fn mcp_proposal(&self, id: &str) -> Answer<Value> {
        let found = proposal(self.proposal(id).await?);
        match self.is_public(&found) {
            true => Ok(found),
            false => Err(Refusal::new(
                Code::ProposalNotFound,
                format!("there is no proposal {:?}", shown(id, NAME_MAX_BYTES)),
            )),
        }
    }

    /// What the policy of this node would say of a model's wish now.
    ///
    /// # Errors
    /// As [`Door::explain`].
    pub async fn mcp_explain(
        &self,
        target: String,
        operation: String,
        params: Params,
    ) -> Answer<Value> {
        let asked = ExplainRequest {
            target,
            operation,
            params,
            requester: Requester::Llm,
        };
        let said = serde_json::to_value(self.explain(asked).await?);
        let said = said.map_err(|error| Refusal::new(Code::InternalError, error.to_string()))?;
        match self.is_public(&said) {
            true => Ok(said),
            false => Err(looks_at_private()),
        }
    }

    /// Asks for an action as a model: it becomes a proposal that waits for a person, or nothing.
    ///
    /// # Errors
    /// `PLANNER_PAUSED`, `RATE_EXCEEDED`, or as [`Door::propose`].
    pub async fn mcp_propose(
        &self,
        clients: &Clients,
        client: &Client,
        wish: McpPropose,
    ) -> Answer<Value> {
        if let Some(pause) = self.handles.planner.pause() {
            return Err(pause.refusal());
        }
        if wish.reason.trim().is_empty() {
            return Err(bad("reason: say why, for the person who decides"));
        }
        let name = client.asker();
        let own = self.handles.own_id().as_str();
        let waiting = self.proposals(false).await?.into_iter().filter(|p| {
            p.status == Status::AwaitingApproval
                && p.requested_by.kind == Requester::Llm
                && p.requested_by.name.ends_with(ASKER)
                && p.requested_by.device_id.as_str() == own
        });
        let waiting: Vec<String> = waiting.map(|p| p.requested_by.name).collect();
        let mine = waiting.iter().filter(|asker| **asker == name).count();
        let too_many = match mine >= MCP_WAITING_MAX {
            true => Some(format!("{mine} proposals of this program")),
            false if waiting.len() >= MCP_ALL_WAITING_MAX => {
                Some(format!("{} proposals of programs", waiting.len()))
            }
            false => None,
        };
        if let Some(which) = too_many {
            let why = format!("{which} wait for people; ask again when some are decided");
            return Err(Refusal::new(Code::RateExceeded, why));
        }
        let (target, params) = (wish.target.clone(), wish.params.clone());
        let explained = self.mcp_explain(target, wish.operation.clone(), params);
        if let Err(refusal) = explained.await
            && refusal.code == Code::NotAuthorized
        {
            return Err(refusal);
        }
        let context = self.context();
        clients.may_wish(client, context.now(), context.clock.steady_ms())?;
        let draft = DraftRequest {
            target: wish.target,
            operation: wish.operation,
            params: wish.params,
            reason: wish.reason,
            name,
            cites: wish.cites,
            executor: wish.executor,
            zone: None,
        };
        let view = self.propose_as(draft, Asker::Model).await;
        let view = view.map_err(|refusal| match is_of_private(&refusal.message) {
            true => looks_at_private(),
            false => refusal,
        })?;
        Ok(json!({
            "status": view.status, "proposalId": view.proposal_id, "detail": view.detail,
            "stoodAlready": view.standing, "expiresAt": view.expires_at,
            "next": "A person decides; nothing has moved. show_proposal tells what became of it.",
        }))
    }
}
