//! Requests and events of authenticated peers: the gen-1 methods and our own additions.
//!
//! Each method names the grant it needs; anything unnamed is refused, `__proto__` and `toString` too.

mod agents;
mod handle;
pub(super) mod offered;
mod standing;

use serde_json::{Map, Value, json};

pub(super) use self::handle::Protocol;
use self::handle::need;
use super::context::{Context, DURABLE, store_refusal};
use super::frame_log::tree::{PRUNE, is_in};
use super::gen1::{self, conversation};
use super::gossip::tree;
use super::ingress::Ingress;
use super::links::LinkHandle;
use super::links::credit::{self, Taken};
use super::links::offers::OFFERS;
use super::links::target::{KEEP, SEEN};
use super::planner::passed_on;
use super::proposals::estop::Told;
use super::proposals::{self, checks, hold, mirror};
use super::{answering, authority, leading, mesh_models, messages, reconcile};
use crate::adapters::store::{commands, room};
use crate::domain::admission::Grant;
use crate::domain::admission::budget::Cause;
use crate::domain::base::limits::{
    ASKED_BY_MAX_CHARS, BUDGET_COMMANDS_PER_HOUR, DRAFT_TTL_MS, FRAMES_PER_MESSAGE_MAX,
};
use crate::domain::base::number::all_plain;
use crate::domain::base::text::{one_line, type_in_words};
use crate::domain::base::{Code, DeviceId, DraftId, ProposalId, Refusal, TimeMs};
use crate::domain::gate::SignedDecision;
use crate::domain::gate::forward::{self, AskedActuation, Forwarded};
use crate::domain::inference::exchange;
use crate::domain::plan::Draft;
use crate::domain::policy::Requester;
use crate::domain::wire::handshake::Feature;
use crate::domain::wire::{Frame, Reply};
use crate::node::context::Event;

/// Answers a request of an authenticated peer.
pub(super) async fn answer(
    protocol: &Protocol,
    link: &LinkHandle,
    method: &str,
    params: Map<String, Value>,
) -> Reply {
    if ["proposals.", "approvals.", "estop."]
        .iter()
        .any(|part| method.starts_with(part))
    {
        protocol.reach.used(&link.info.device);
    }
    let result = match method {
        "mesh.ping" => Ok(Reply::Ok(
            json!({"pong": true, "timestamp": protocol.now()}),
        )),
        "mesh.challenge" | "mesh.connect" => Err(Refusal::new(
            Code::InvalidParams,
            "this link is authenticated already",
        )),
        "mesh.peers"
        | "mesh.status"
        | "mesh.health"
        | "mesh.world.query"
        | "mesh.events"
        | "mesh.trace"
        | "context.sync"
        | "clawmesh.mock.actuator.state" => match need(protocol, link, Grant::Read) {
            Ok(()) => gen1::query(protocol, method, &params).await.map(Reply::Ok),
            Err(refusal) => Err(refusal),
        },
        "mesh.message.forward" => match need(protocol, link, Grant::Plan) {
            Ok(()) => return forwarded(protocol, link, &params).await,
            Err(refusal) => Err(refusal),
        },
        passed_on::ASK if link.info.speaks(Feature::Lease) => {
            let asked = passed_on::asked(&protocol.asking, link, &params).await;
            asked.map(Reply::Ok)
        }
        passed_on::TOLD if link.info.speaks(Feature::Lease) => {
            passed_on::told(&protocol.asking, link, &params).map(Reply::Ok)
        }
        method if agents::is_one(method, link) => agents::answer(protocol, link, method, params)
            .await
            .map(Reply::Ok),
        "chat.subscribe" => need(protocol, link, Grant::Read)
            .map(|()| Reply::Ok(conversation::subscribe(protocol, link))),
        "chat.proposal.approve" | "chat.proposal.reject" => Err(conversation::decision(&params)),
        SEEN => {
            need(protocol, link, Grant::Read).and_then(|()| seen(protocol, &params).map(Reply::Ok))
        }
        reconcile::ROUND => match need(protocol, link, Grant::Read) {
            Ok(()) => reconcile::answer_round(protocol, link, &params)
                .await
                .map(Reply::Ok),
            Err(refusal) => Err(refusal),
        },
        reconcile::FETCH => need(protocol, link, Grant::Read)
            .and_then(|()| reconcile::answer_fetch(link, &params).map(Reply::Ok)),
        exchange::CANCEL => need(protocol, link, Grant::Llm).and_then(|()| {
            mesh_models::cancel(&protocol.mesh_models, link, &params).map(Reply::Ok)
        }),
        "proposals.draft" => match need(protocol, link, Grant::Plan) {
            Ok(()) => draft(protocol, link, params).await.map(Reply::Ok),
            Err(refusal) => Err(refusal),
        },
        "proposals.decide" => match need(protocol, link, Grant::Human) {
            Ok(()) => decide(protocol, link, params).await.map(Reply::Ok),
            Err(refusal) => Err(refusal),
        },
        method if standing::is_one(method) => standing::answer(protocol, link, method, params)
            .await
            .map(Reply::Ok),
        checks::CHECKS => match need(protocol, link, Grant::Read) {
            Ok(()) => checks::asked(protocol, &link.info, params)
                .await
                .map(Reply::Ok),
            Err(refusal) => Err(refusal),
        },
        hold::HOLD if link.info.speaks(Feature::Hold) => need(protocol, link, Grant::Plan)
            .and_then(|()| hold::asked(protocol, &link.info, params).map(Reply::Ok)),
        hold::HELD => need(protocol, link, Grant::Read)
            .and_then(|()| hold::told(protocol, params).map(Reply::Ok)),
        "proposals.stop" => match need(protocol, link, Grant::Estop) {
            Ok(()) => stop(protocol, link, params).await.map(Reply::Ok),
            Err(refusal) => Err(refusal),
        },
        // There is no release for peers: that is done at this node itself.
        "estop.engage" => match need(protocol, link, Grant::Estop) {
            Ok(()) => engage(protocol, link, &params).await.map(Reply::Ok),
            Err(refusal) => Err(refusal),
        },
        other => Err(Refusal::new(
            Code::UnknownMethod,
            format!("unknown method: {}", other.get(..64).unwrap_or(other)),
        )),
    };
    match result {
        Ok(reply) => reply,
        Err(refusal) => {
            refused(protocol, link, Event::RequestRefused, &refusal).await;
            refusal.into()
        }
    }
}

/// Writes down what was refused to a peer, on its account.
async fn refused(context: &Context, link: &LinkHandle, event: Event, refusal: &Refusal) {
    let device = &link.info.device;
    let cause = Cause::Device(device.clone());
    context
        .journal
        .refused_of(cause, event, device.as_str(), refusal)
        .await;
}

/// Takes an event from an authenticated peer.
pub(super) async fn event(
    protocol: &Protocol,
    ingress: &Ingress,
    link: &LinkHandle,
    event: &str,
    payload: Value,
    bytes: usize,
) {
    let result = match event {
        "context.frame" => match Frame::parse(payload) {
            Ok(frame) => {
                ingress.offer(link, vec![frame], bytes).await;
                Ok(())
            }
            Err(refusal) => {
                // Its credit is returned to the sender also where nothing was stored.
                drop(Taken::new(link, bytes));
                Err(refusal)
            }
        },
        "context.frames" if link.info.speaks(Feature::Batch) => {
            frames(protocol, ingress, link, payload, bytes).await
        }
        authority::DIGEST if link.info.speaks(Feature::Revocations) => {
            authority::compare(protocol, link, &payload).await
        }
        authority::PAGE if link.info.speaks(Feature::Revocations) => {
            authority::take(protocol, link, payload).await
        }
        credit::EVENT => link.credit.take(&payload),
        KEEP if link.info.outbound && link.info.speaks(Feature::View) => {
            protocol.reach.asked_to_keep(&link.info.device, &payload)
        }
        leading::LEASE if link.info.speaks(Feature::Lease) => {
            leading::heard(&protocol.leading, link, payload)
        }
        answering::CLAIM => answering::heard(&protocol.answering, link, payload),
        messages::OFFER if link.info.speaks(Feature::Messages) => {
            messages::heard(&protocol.messages, link, payload)
        }
        OFFERS if link.info.speaks(Feature::Offers) => {
            offered::changed(protocol, link, &payload).await
        }
        tree::OFFER if is_in(link) => tree::offered(protocol, link, &payload, bytes),
        tree::ASK if is_in(link) => {
            need(protocol, link, Grant::Read).and_then(|()| tree::asked(protocol, link, &payload))
        }
        PRUNE if is_in(link) => {
            protocol.tree.pruned(&link.info.device);
            Ok(())
        }
        "proposal.update" if link.info.speaks(Feature::Proposals) => {
            mirror::told(protocol, link, payload).await
        }
        // Events of gen-1 nodes that add nothing to the end of the link itself.
        "peer.leaving" => {
            // A gen-1 node also passes on that others leave.
            let about = payload.get("deviceId").and_then(Value::as_str);
            if about.is_none_or(|id| id == link.info.device.as_str()) {
                link.mark_leaving();
            }
            Ok(())
        }
        "planner.proposal" | "planner.proposal.resolved" => {
            conversation::told(protocol, &protocol.other_planners, link, &payload).await;
            Ok(())
        }
        exchange::CHUNK => {
            mesh_models::chunk(&protocol.mesh_models, link, &payload);
            Ok(())
        }
        exchange::TAKEN if link.info.speaks(Feature::Infer) => {
            mesh_models::taken(&protocol.mesh_models, link, &payload)
        }
        other => {
            tracing::debug!(
                peer = link.info.device.short(),
                event = other.get(..64).unwrap_or(other),
                "unknown event"
            );
            Ok(())
        }
    };
    if let Err(refusal) = result {
        refused(protocol, link, Event::EventRefused, &refusal).await;
    }
}

/// Whether this node has a link to a device, for a peer that has none.
fn seen(protocol: &Protocol, params: &Map<String, Value>) -> Result<Value, Refusal> {
    let device: DeviceId = params
        .get("deviceId")
        .and_then(Value::as_str)
        .and_then(|id| id.parse().ok())
        .ok_or_else(|| Refusal::new(Code::InvalidParams, "deviceId must be a device id"))?;
    Ok(json!({"connected": protocol.links.get(&device).is_some()}))
}

/// Takes many frames at once; each bad one is refused by itself.
async fn frames(
    context: &Context,
    ingress: &Ingress,
    link: &LinkHandle,
    payload: Value,
    bytes: usize,
) -> Result<(), Refusal> {
    let list = match payload {
        Value::Object(mut map) => map.remove("frames"),
        _ => None,
    };
    let list = match list {
        Some(Value::Array(list)) if list.len() <= FRAMES_PER_MESSAGE_MAX => list,
        _ => {
            drop(Taken::new(link, bytes));
            let why =
                format!("context.frames needs a list of at most {FRAMES_PER_MESSAGE_MAX} frames");
            return Err(Refusal::new(Code::InvalidParams, why));
        }
    };
    let mut good = Vec::with_capacity(list.len());
    for value in list {
        match Frame::parse(value) {
            Ok(frame) => good.push(frame),
            Err(refusal) => refused(context, link, Event::EventRefused, &refusal).await,
        }
    }
    ingress.offer(link, good, bytes).await;
    Ok(())
}

fn parse<T: serde::de::DeserializeOwned>(
    params: &mut Map<String, Value>,
    name: &str,
) -> Result<T, Refusal> {
    let value = params
        .remove(name)
        .ok_or_else(|| Refusal::new(Code::InvalidParams, format!("{name} is missing")))?;
    serde_json::from_value(all_plain(value)).map_err(|e| {
        Refusal::new(
            Code::InvalidParams,
            format!("{name}: {}", type_in_words(&e.to_string())),
        )
    })
}

async fn draft(
    protocol: &Protocol,
    link: &LinkHandle,
    mut params: Map<String, Value>,
) -> Result<Value, Refusal> {
    let mut draft: Draft = parse(&mut params, "draft")?;
    // Beside the draft, where an earlier version of ours does not look.
    params.entry("origins").or_insert_with(|| json!({}));
    draft.origins = parse(&mut params, "origins")?;
    params.entry("slot").or_insert(Value::Null);
    draft.slot = parse(&mut params, "slot")?;
    params.entry("ledBy").or_insert(Value::Null);
    draft.led_by = parse(&mut params, "ledBy")?;
    if !link.info.speaks(Feature::Proposals) {
        // A gen-1 node proves neither a person nor a rule, whichever method it uses.
        draft.requester = Requester::Llm;
    }
    let minted = proposals::mint(protocol, draft, &link.info.device).await?;
    Ok(minted.to_wire())
}

async fn stop(
    protocol: &Protocol,
    link: &LinkHandle,
    mut params: Map<String, Value>,
) -> Result<Value, Refusal> {
    let id: ProposalId = parse(&mut params, "proposalId")?;
    let by = asked_by(link, params.get("by").and_then(Value::as_str));
    let cause = Cause::Device(link.info.device.clone());
    let stopped = proposals::stop_of(protocol, cause, id.as_str(), &by).await?;
    Ok(json!({"stopped": id, "result": stopped}))
}

/// Who asks for a stop over this link: the person that its device names, as that device says, and the device.
fn asked_by(link: &LinkHandle, person: Option<&str>) -> String {
    let device = link.info.shown();
    match person.map(|person| one_line(person.trim(), ASKED_BY_MAX_CHARS)) {
        Some(person) if !person.is_empty() => format!("{person} at {device}"),
        _ => device.to_owned(),
    }
}

async fn engage(
    protocol: &Protocol,
    link: &LinkHandle,
    params: &Map<String, Value>,
) -> Result<Value, Refusal> {
    let text = |name: &str| params.get(name).and_then(Value::as_str);
    let stop = text("id").map(|id| (&link.info.device, id));
    let by = asked_by(link, text("by"));
    let told = Told::of(protocol, &Cause::Device(link.info.device.clone()));
    let why = text("reason").unwrap_or_default();
    let halted = proposals::estop::engage_of(protocol, stop, (&by, why), told).await?;
    Ok(json!(halted))
}

async fn decide(
    protocol: &Protocol,
    link: &LinkHandle,
    mut params: Map<String, Value>,
) -> Result<Value, Refusal> {
    let signed: SignedDecision = parse(&mut params, "decision")?;
    let cause = Cause::Device(link.info.device.clone());
    let standing = proposals::decide_of(protocol, cause, signed).await?;
    Ok(json!(standing))
}

/// `mesh.message.forward`: the seven gen-1 checks, then the eighth: people must approve.
async fn forwarded(protocol: &Protocol, link: &LinkHandle, params: &Map<String, Value>) -> Reply {
    let refusal = match forward::check(params, protocol.own_id(), protocol.now()) {
        Ok(Forwarded::Message { channel, to }) => {
            let shown: String = format!("{channel} {to}").chars().take(80).collect();
            Refusal::new(
                Code::DeliveryFailed,
                format!("nothing on this node delivers to {shown}"),
            )
        }
        Ok(Forwarded::Intent(asked)) => match conversation::intent(protocol, link, asked).await {
            Ok(payload) => return Reply::Ok(payload),
            Err(refusal) => refusal,
        },
        Ok(Forwarded::Actuation(asked)) => match asked_actuation(protocol, link, *asked).await {
            Ok(reply) => return reply,
            Err(refusal) => refusal,
        },
        Err(refusal) => refusal,
    };
    protocol
        .journal
        .refused_of(
            Cause::Device(link.info.device.clone()),
            Event::CommandRefused,
            link.info.device.as_str(),
            &refusal,
        )
        .await;
    refusal.into()
}

async fn asked_actuation(
    protocol: &Protocol,
    link: &LinkHandle,
    asked: AskedActuation,
) -> Result<Reply, Refusal> {
    let now = protocol.now();
    remember(protocol, link, &asked, now).await?;
    let (note, name) = (asked.note, link.info.name.clone());
    let draft = Draft {
        draft_id: DraftId::from(protocol.fresh_id()?),
        action: asked.action,
        reason: note.unwrap_or_else(|| "asked by a gen-1 command".to_owned()),
        // A gen-1 command proves neither a person nor a rule: treat it as a model's wish.
        requester: Requester::Llm,
        requester_name: name.unwrap_or_else(|| link.info.device.short().to_owned()),
        taint: asked.taint,
        cites: Vec::new(),
        origins: Default::default(),
        slot: None,
        led_by: None,
        created_at: now,
        expires_at: now.plus(DRAFT_TTL_MS),
    };
    let minted = proposals::mint(protocol, draft, &link.info.device).await?;
    let record = minted.signed.record();
    let refusal = Refusal::new(
        Code::ApprovalRequired,
        format!(
            "proposal {} waits for an operator: {} ({})",
            record.proposal_id,
            record.action().summary(),
            record.level
        ),
    );
    protocol.metrics.refused(refusal.code);
    let mut extra = Map::new();
    extra.insert("proposalId".into(), record.proposal_id.as_str().into());
    extra.insert("level".into(), json!(record.level));
    extra.insert("expiresAtMs".into(), json!(record.expires_at));
    Ok(Reply::Refused { refusal, extra })
}

/// Remembers a command durably and refuses one that has been here before.
async fn remember(
    context: &Context,
    link: &LinkHandle,
    asked: &AskedActuation,
    now: TimeMs,
) -> Result<(), Refusal> {
    let (peer, id, key) = (
        link.info.device.clone(),
        asked.command_id.clone(),
        asked.idempotency_key.clone(),
    );
    if !context.budgets.command(&peer, now) {
        return Err(Refusal::new(
            Code::OverBudget,
            format!(
                "device {} has sent more than {BUDGET_COMMANDS_PER_HOUR} commands in an hour; nothing was done",
                peer.short()
            ),
        ));
    }
    let fresh = context
        .store
        .write(DURABLE, "command", move |c| {
            room::for_peers(c)?;
            commands::remember(c, &peer, &id, key.as_deref(), now)
        })
        .await
        .map_err(|e| store_refusal(&e))?;
    if fresh {
        return Ok(());
    }
    Err(Refusal::new(
        Code::CommandReplayed,
        format!(
            "command {} has been received before; nothing was done",
            asked.command_id
        ),
    ))
}
