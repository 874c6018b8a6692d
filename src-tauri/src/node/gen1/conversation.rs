//! Conversation with gen-1 nodes: a question that a person asked there reaches the planner here, whoever
//! subscribes hears of our proposals, and those of their planners are shown here as theirs. None of it
//! approves or moves anything.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::Ordering;
use std::sync::{Mutex, PoisonError};

use serde_json::{Map, Value, json};

use crate::adapters::store::{Class, facts, proposals};
use crate::domain::admission::Grant;
use crate::domain::admission::budget::Cause;
use crate::domain::base::limits::{
    BUDGET_COMMANDS_PER_HOUR, GEN1_INTENT_MAX_CHARS, GEN1_PLANNERS_MAX, GEN1_PROPOSALS_MAX,
    NAME_MAX_BYTES, QUERY_DEFAULT,
};
use crate::domain::base::text::{one_line, shown};
use crate::domain::base::{Code, DeviceId, EvidenceSource, Refusal, Tier, TimeMs};
use crate::domain::gate::forward::Intent;
use crate::domain::plan::answer::{Open, answer};
use crate::domain::wire::FrameKind;
use crate::domain::wire::frame::FrameSpec;
use crate::domain::wire::handshake::Feature;
use crate::node::context::{Context, store_refusal};
use crate::node::context::{Event, Severity};
use crate::node::frame_log::Frames;
use crate::node::links::LinkHandle;
use crate::node::{frame_log, gossip, privacy};

/// A proposal of a gen-1 planner, as it says. It is executed by that planner's own node, never here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OtherProposal {
    /// The planner's id for it.
    pub id: String,
    /// The device whose link it came over.
    pub from: DeviceId,
    /// Its subject, for people.
    pub summary: String,
    /// The actuator it names.
    pub target: String,
    /// The operation it names.
    pub operation: String,
    /// The level the planner chose; it means nothing here.
    pub level: String,
    /// Where it stands, in the planner's word.
    pub status: String,
    /// When this node heard of it first.
    pub heard_at: TimeMs,
}

/// The proposals of gen-1 planners that this node has heard of since it started.
#[derive(Debug, Default)]
pub struct OtherPlanners(Mutex<BTreeMap<DeviceId, VecDeque<OtherProposal>>>);

impl OtherPlanners {
    /// All, newest first.
    pub fn all(&self) -> Vec<OtherProposal> {
        let book = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut all: Vec<OtherProposal> = book.values().flatten().cloned().collect();
        all.sort_by(|a, b| b.heard_at.cmp(&a.heard_at).then(a.id.cmp(&b.id)));
        all
    }

    /// Takes a proposal or its new state; whether it is news.
    fn take(&self, mut new: OtherProposal) -> bool {
        let mut book = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !book.contains_key(&new.from) && book.len() >= GEN1_PLANNERS_MAX {
            return false;
        }
        let list = book.entry(new.from.clone()).or_default();
        if let Some(known) = list.iter_mut().find(|p| p.id == new.id) {
            new.heard_at = known.heard_at;
            let news = *known != new;
            *known = new;
            return news;
        }
        if list.len() >= GEN1_PROPOSALS_MAX {
            list.pop_front();
        }
        list.push_back(new);
        true
    }
}

fn holds(context: &Context, link: &LinkHandle, grant: Grant) -> bool {
    let record = context.trust.live(&link.info.device);
    record.is_some_and(|r| r.grants.has(grant))
}

/// A gen-1 planner tells of a proposal of its own.
pub async fn told(context: &Context, others: &OtherPlanners, link: &LinkHandle, payload: &Value) {
    let device = &link.info.device;
    // Our own kind tells of proposals with their signed records.
    if link.info.speaks(Feature::Proposals) || !holds(context, link, Grant::Plan) {
        return;
    }
    let text = |name: &str| {
        let found = payload
            .get(name)
            .and_then(Value::as_str)
            .unwrap_or_default();
        one_line(found, NAME_MAX_BYTES)
    };
    let new = OtherProposal {
        id: text("taskId"),
        from: device.clone(),
        summary: text("summary"),
        target: text("targetRef"),
        operation: text("operation"),
        level: text("approvalLevel"),
        status: text("status"),
        heard_at: context.now(),
    };
    if new.id.is_empty() || !others.take(new.clone()) {
        return;
    }
    let message = format!(
        "The gen-1 planner {} says of a proposal of its own: {} is {}; it is not executed here",
        link.info.shown(),
        new.summary,
        new.status
    );
    let data = json!({"deviceId": device, "taskId": new.id, "status": new.status});
    let cause = Cause::Device(device.clone());
    context
        .journal
        .caused(cause, Event::PlannerOther, Severity::Info, &message, data)
        .await;
}

/// Answers a question with what this node's planner knows. The answer is a frame of this node that
/// spreads like any other, as gen-1 nodes expect; the person who asked proves nothing by asking.
///
/// # Errors
/// `DELIVERY_FAILED` where no planner runs, `NOT_AUTHORIZED` without the grant `read`, `OVER_BUDGET`.
pub async fn intent(frames: &Frames, link: &LinkHandle, asked: Intent) -> Result<Value, Refusal> {
    let device = &link.info.device;
    if !frames.config.role.plans() {
        let why = "this node has no planner; ask one that has the role planner";
        return Err(Refusal::new(Code::DeliveryFailed, why));
    }
    if !holds(frames, link, Grant::Read) {
        let why = format!(
            "device {} may not read here, so its questions are not answered",
            device.short()
        );
        return Err(Refusal::new(Code::NotAuthorized, why));
    }
    if !frames.budgets.command(device, frames.now()) {
        return Err(Refusal::new(
            Code::OverBudget,
            format!(
                "device {} has sent more than {BUDGET_COMMANDS_PER_HOUR} commands and questions in an hour",
                device.short()
            ),
        ));
    }
    let at = frames.moment();
    let read = move |c: &rusqlite::Connection| {
        Ok((
            facts::numeric(c, at)?,
            proposals::open_list(c, QUERY_DEFAULT)?,
        ))
    };
    let (mut facts, open) = frames
        .store
        .read("question", read)
        .await
        .map_err(|e| store_refusal(&e))?;
    // The answer is for everybody.
    let labels = &frames.config.models.labels;
    facts.retain(|fact| !privacy::is_private(labels, fact));
    let open: Vec<Open> = open
        .iter()
        .map(|p| Open {
            id: p.id.as_str().to_owned(),
            summary: format!("{} {}", p.operation, p.target),
        })
        .collect();
    let question = shown(&asked.text, GEN1_INTENT_MAX_CHARS);
    let said = answer(&question, &facts, &open, frames.now());
    let cites: Vec<Value> = said
        .cites
        .iter()
        .map(|f| {
            json!({
                "metric": f.metric, "zone": f.zone, "value": f.value, "unit": f.unit,
                "timestamp": f.sensed_at, "frameId": f.frame_id, "sourceDeviceId": f.origin,
                "tier": f.effective,
            })
        })
        .collect();
    let ids: Vec<&str> = open.iter().map(|p| p.id.as_str()).collect();
    let request = match asked.request_id {
        Some(id) => id,
        None => frames.fresh_id()?.to_string(),
    };
    let conversation = match asked.conversation_id {
        Some(id) => id,
        None => frames.fresh_id()?.to_string(),
    };
    let data = json!({
        "conversationId": conversation, "requestId": request, "status": "complete",
        "message": said.message, "citations": cites, "proposals": ids, "planner": "rules",
        "question": question, "askedBy": device,
    });
    // Gen-1 counts every answer as a model's, and so does its receiver.
    let spec = FrameSpec {
        kind: FrameKind::AgentResponse,
        data: data.as_object().cloned().unwrap_or_default(),
        sources: vec![EvidenceSource::Llm],
        tier: Tier::T0,
        taint: [crate::domain::base::Taint::Llm].into(),
        note: None,
    };
    frame_log::publish(frames, vec![spec], Class::Relaxed).await?;
    let message = format!(
        "{} asked the planner: {}",
        link.info.shown(),
        one_line(&question, 200)
    );
    let data = json!({"deviceId": device, "conversationId": conversation});
    let cause = Cause::Device(device.clone());
    frames
        .journal
        .caused(cause, Event::PlannerAsked, Severity::Info, &message, data)
        .await;
    Ok(json!({"accepted": true}))
}

/// `chat.subscribe`: from now on this link hears of our proposals, as gen-1 shows them. Frames it
/// gets in any case.
pub fn subscribe(frames: &Frames, link: &LinkHandle) -> Value {
    let kin = link.info.speaks(Feature::Proposals);
    // A gen-1 node that we dialed ignores such events, and each uses up its hundred messages.
    if !kin && !link.info.outbound && !link.subscribed.swap(true, Ordering::AcqRel) {
        let feeding = gossip::feed_gen1_proposals(frames.clone(), link.clone());
        frames.tasks.passing("proposals for gen-1", feeding);
    }
    json!({"subscribed": true})
}

/// `chat.proposal.approve` and `chat.proposal.reject`: a gen-1 message proves no person.
///
/// # Errors
/// Always.
pub fn decision(params: &Map<String, Value>) -> Refusal {
    let id = params.get("taskId").and_then(Value::as_str);
    let id = one_line(id.unwrap_or("<id>"), NAME_MAX_BYTES);
    Refusal::new(
        Code::ApprovalRequired,
        format!(
            "a decision needs a person's signature, which gen-1 messages do not carry; decide at a node of \
             clawmesh-node: approve {id} or reject {id}"
        ),
    )
}
