//! The gen-1 read methods: what existing ClawMesh nodes and their tools ask of us, in their shapes.
//!
//! Tiers in these answers are the ones *we* vouch for, with the origin's claim beside them.

pub mod actuators;
pub mod conversation;
pub mod parting;
mod trace;

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::config::{StaticPeer, is_local};
use super::context::store_refusal;
use super::context::{Context, Severity};
use super::continuity::Footing;
use super::frame_log::Frames;
use super::links::LinkHandle;
use crate::adapters::store::frames::{FrameFilter, StoredFrame};
use crate::adapters::store::{events, facts, frames, proposals};
use crate::adapters::transport::Posture;
use crate::domain::admission::Generation;
use crate::domain::base::limits::{
    GEN1_ANSWER_BYTES, GEN1_SYNC_MAX, GEN1_WORLD_QUERY_MAX, QUERY_DEFAULT,
};
use crate::domain::base::number::whole;
use crate::domain::base::{Code, DeviceId, Refusal, TimeMs};
use crate::domain::plan::election::{self, Candidate, role_for_gen1};
use crate::domain::wire::FrameKind;
use crate::domain::wire::frame::shown_to_gen1;

/// Answers one of the read methods.
///
/// # Errors
/// `INVALID_PARAMS` for a parameter of the wrong form, or the store's refusal.
pub async fn query(
    footing: &Footing,
    method: &str,
    params: &Map<String, Value>,
) -> Result<Value, Refusal> {
    match method {
        "mesh.peers" => Ok(json!({"peers": peers(footing, true)})),
        "mesh.status" => status(footing).await,
        "mesh.health" => health(footing).await,
        "mesh.world.query" => world(footing, params).await,
        "mesh.events" => mesh_events(footing, params).await,
        "mesh.trace" => trace::trace(footing, params).await,
        "context.sync" => sync(footing, params).await,
        "clawmesh.mock.actuator.state" => trace::actuators(footing, &footing.guards, params).await,
        other => Err(Refusal::new(
            Code::UnknownMethod,
            format!("unknown method: {other}"),
        )),
    }
}

fn number(params: &Map<String, Value>, name: &str) -> Result<Option<u64>, Refusal> {
    match params.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => whole(value).map(Some).ok_or_else(|| {
            Refusal::new(
                Code::InvalidParams,
                format!("{name} must be a whole number, zero or more"),
            )
        }),
    }
}

fn limit(params: &Map<String, Value>, default: usize, max: usize) -> Result<usize, Refusal> {
    let wanted = number(params, "limit")?.map_or(default, |n| usize::try_from(n).unwrap_or(max));
    // Gen-1 returns everything for 0; we return the most we ever return.
    Ok(if wanted == 0 { max } else { wanted.min(max) })
}

fn text<'a>(params: &'a Map<String, Value>, name: &str) -> Result<Option<&'a str>, Refusal> {
    match params.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(t)) => Ok(Some(t)),
        Some(_) => Err(Refusal::new(
            Code::InvalidParams,
            format!("{name} must be a text"),
        )),
    }
}

fn kind(params: &Map<String, Value>) -> Result<Option<FrameKind>, Refusal> {
    text(params, "kind")?
        .map(|k| {
            FrameKind::from_wire(k)
                .ok_or_else(|| Refusal::new(Code::InvalidParams, format!("unknown kind {k:?}")))
        })
        .transpose()
}

fn peers(frames: &Frames, capabilities: bool) -> Vec<Value> {
    let peer = |link: &LinkHandle| {
        let info = &link.info;
        let mut peer = json!({"deviceId": info.device, "outbound": info.outbound, "connectedAtMs": info.connected_at});
        for (name, value) in [
            ("displayName", &info.name),
            ("role", &info.role),
            ("transportLabel", &info.label),
        ] {
            if let Some(value) = value {
                peer[name] = value.clone().into();
            }
        }
        if capabilities {
            peer["capabilities"] = link.offered().capabilities.clone().into();
        }
        peer
    };
    frames.links.all().iter().map(peer).collect()
}

/// Who leads by the rule of gen-1, among this node and those it is linked with: who it is, and the role
/// it stands with. `None` without a planner.
pub fn leader(frames: &Frames) -> Option<(DeviceId, String)> {
    let links = frames.links.all();
    let own = Candidate {
        device: frames.own_id(),
        role: role_for_gen1(frames.config.role.as_str()),
    };
    // Our own kind tells gen-1 nodes what this node tells them.
    let mut all: Vec<Candidate<'_>> = links
        .iter()
        .filter_map(|link| {
            let role = link.info.role.as_deref()?;
            let role = match link.info.features.is_empty() {
                true => role,
                false => role_for_gen1(role),
            };
            let device = &link.info.device;
            Some(Candidate { device, role })
        })
        .collect();
    all.push(own);
    election::leader(&all).map(|c| (c.device.clone(), c.role.to_owned()))
}

fn planner(frames: &Frames) -> Value {
    let leader = leader(frames);
    let leads = leader.as_ref().is_some_and(|(d, _)| d == frames.own_id());
    let role = role_for_gen1(frames.config.role.as_str());
    let state = match (election::is_eligible(role), leads) {
        (false, _) => "ineligible",
        (true, true) => "active",
        (true, false) => "standby",
    };
    let leader = match leader {
        None => json!({"kind": "none"}),
        Some((device, role)) => {
            let kind = if leads { "local" } else { "peer" };
            json!({"kind": kind, "deviceId": device, "role": role})
        }
    };
    json!({
        "state": state, "role": role, "leader": leader, "shouldHandleAutonomous": leads,
    })
}

fn static_peers(frames: &Frames) -> Vec<Value> {
    frames
        .config
        .peers
        .iter()
        .map(|p| {
            json!({
                "deviceId": p.device, "url": p.url.to_string(), "transportLabel": p.label,
                "securityPosture": posture(frames, p),
            })
        })
        .collect()
}

/// How the link to a configured peer is protected; without one, how it would be.
fn posture(frames: &Frames, peer: &StaticPeer) -> String {
    if let Some(link) = frames.links.get(&peer.device) {
        return link.info.posture.to_string();
    }
    let record = frames.trust.live(&peer.device);
    let gen1 = record.is_some_and(|r| r.generation() == Generation::Gen1);
    let url = &peer.url;
    let would_be = match (peer.pin, url.tls()) {
        (Some(_), _) => Posture::TlsPinned,
        (None, false) if url.is_loopback() => Posture::Insecure,
        (None, false) if gen1 && is_local(&peer.label) => Posture::Insecure,
        _ => Posture::IdentityBound,
    };
    would_be.to_string()
}

async fn status(frames: &Frames) -> Result<Value, Refusal> {
    let open = frames
        .store
        .read("proposals", |c| proposals::open_list(c, QUERY_DEFAULT))
        .await;
    let pending: Vec<Value> = open
        .map_err(|e| store_refusal(&e))?
        .iter()
        .map(|row| {
            json!({
                "taskId": row.id, "summary": format!("{} {}", row.operation, row.target),
                "approvalLevel": row.level, "status": row.status, "plannerDeviceId": row.executor,
            })
        })
        .collect();
    let peers = peers(frames, false);
    Ok(json!({
        "localDeviceId": frames.own_id(),
        "connectedPeers": peers.len(),
        "peers": peers,
        "plannerActivity": planner(frames),
        "discoveryEnabled": frames.config.discovery,
        "configuredStaticPeers": static_peers(frames),
        "pendingProposals": pending,
    }))
}

fn short(id: &DeviceId) -> String {
    format!("{}...", id.as_str().get(..16).unwrap_or_default())
}

async fn health(frames: &Frames) -> Result<Value, Refusal> {
    let (entries, stored) = frames
        .store
        .read("health", |c| Ok((facts::count(c)?, frames::count(c)?)))
        .await
        .map_err(|e| store_refusal(&e))?;
    let now = frames.now();
    let links = frames.links.all();
    let details: Vec<Value> = links
        .iter()
        .map(|l| {
            json!({
                "deviceId": short(&l.info.device), "displayName": l.info.name, "capabilities": l.offered().capabilities,
                "role": l.info.role, "connectedMs": now.since(l.info.connected_at), "outbound": l.info.outbound,
                "securityPosture": l.info.posture.to_string(),
            })
        })
        .collect();
    let capabilities = frames.known.own.now().texts();
    let alone = links.is_empty() && capabilities.is_empty();
    let status = match frames.alarms.worst() {
        Some(Severity::Critical) => "unhealthy",
        Some(Severity::Warning | Severity::Info) => "degraded",
        None if alone => "degraded",
        None => "healthy",
    };
    let alarms: Vec<&str> = frames
        .alarms
        .list()
        .iter()
        .filter(|a| a.kind.is_of_node())
        .map(|a| a.kind.as_str())
        .collect();
    let counter = |name: &str, value: u64| json!({"name": name, "type": "counter", "value": value});
    let metrics = &frames.metrics;
    Ok(json!({
        "status": status,
        "alarms": alarms,
        "metrics": [
            counter("mesh.inbound.messages", metrics.messages_received.get()),
            counter("mesh.frames.stored", metrics.frames_stored.get()),
            counter("mesh.frames.sent", metrics.frames_sent.get()),
        ],
        "nodeId": short(frames.own_id()),
        "displayName": frames.config.name,
        "uptimeMs": now.since(frames.started_at),
        "startedAt": iso(frames.started_at),
        "peers": {"connected": details.len(), "details": details},
        "worldModel": {"entries": entries, "frameLogSize": stored},
        "capabilities": {
            "local": capabilities,
            "meshTotal": links.iter().map(|l| l.offered().capabilities.len()).sum::<usize>(),
        },
        "plannerLeader": planner(frames)["leader"],
        "discoveryEnabled": frames.config.discovery,
        "configuredStaticPeers": static_peers(frames),
        "version": env!("CARGO_PKG_VERSION"),
        "timestamp": iso(now),
    }))
}

fn iso(time: TimeMs) -> String {
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(time.0) * 1_000_000)
        .ok()
        .and_then(|t| t.format(&Rfc3339).ok())
        .unwrap_or_default()
}

/// A stored frame as a gen-1 node may see it. It was read and checked before it was stored.
fn shown(stored: &StoredFrame) -> Option<Value> {
    let mut value: Value = serde_json::from_str(&stored.json).ok()?;
    value
        .as_object_mut()?
        .insert("hops".into(), stored.hops.into());
    Some(shown_to_gen1(
        value,
        stored.claimed_tier,
        stored.effective_tier,
    ))
}

/// An answer with its frames, which `json!` would copy.
fn with_frames(mut answer: Value, frames: Vec<Value>) -> Value {
    if let Some(members) = answer.as_object_mut() {
        members.insert("frames".to_owned(), Value::Array(frames));
    }
    answer
}

async fn world(context: &Context, params: &Map<String, Value>) -> Result<Value, Refusal> {
    let filter = FrameFilter {
        kind: kind(params)?,
        origin: text(params, "sourceDeviceId")?
            .map(|id| {
                id.parse()
                    .map_err(|e| Refusal::new(Code::InvalidParams, format!("sourceDeviceId: {e}")))
            })
            .transpose()?,
        limit: limit(params, QUERY_DEFAULT, GEN1_WORLD_QUERY_MAX)?,
        bytes: GEN1_ANSWER_BYTES,
        public: true,
        ..FrameFilter::default()
    };
    let (mut page, entries) = context
        .store
        .read("world", move |c| {
            Ok((frames::page(c, &filter)?, facts::count(c)?))
        })
        .await
        .map_err(|e| store_refusal(&e))?;
    page.reverse();
    let (mut by_source, mut by_kind, mut by_tier) =
        (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
    for stored in &page {
        *by_source
            .entry(stored.origin.as_str().to_owned())
            .or_insert(0u64) += 1;
        *by_kind.entry(stored.kind.as_str()).or_insert(0u64) += 1;
        *by_tier
            .entry(stored.effective_tier.wire_name())
            .or_insert(0u64) += 1;
    }
    let frames: Vec<Value> = page.iter().filter_map(shown).collect();
    let answer = json!({
        "count": frames.len(), "entries": entries, "bySourceDeviceId": by_source, "byKind": by_kind,
        "byTrustTier": by_tier, "peerTimestamp": context.now(),
    });
    Ok(with_frames(answer, frames))
}

async fn sync(context: &Context, params: &Map<String, Value>) -> Result<Value, Refusal> {
    let since = TimeMs(number(params, "since")?.unwrap_or(0));
    let zone = text(params, "zone")?.map(str::to_owned);
    let filter = FrameFilter {
        kind: kind(params)?,
        since: Some(since),
        zone,
        limit: GEN1_SYNC_MAX,
        bytes: GEN1_ANSWER_BYTES,
        public: true,
        ..FrameFilter::default()
    };
    let take = limit(params, 100, GEN1_SYNC_MAX)?;
    let mut page = context
        .store
        .read("sync", move |c| frames::page(c, &filter))
        .await
        .map_err(|e| store_refusal(&e))?;
    let total = page.len();
    page.truncate(take);
    page.reverse();
    let frames: Vec<Value> = page.iter().filter_map(shown).collect();
    let answer = json!({"peerTimestamp": context.now(), "totalAvailable": total});
    Ok(with_frames(answer, frames))
}

async fn mesh_events(context: &Context, params: &Map<String, Value>) -> Result<Value, Refusal> {
    let take = limit(params, QUERY_DEFAULT, GEN1_WORLD_QUERY_MAX)?;
    let wanted = text(params, "type")?.map(str::to_owned);
    let since = number(params, "sinceMs")?;
    let mut rows = context
        .store
        .read("events", move |c| {
            events::latest(c, take, wanted.as_deref())
        })
        .await
        .map_err(|e| store_refusal(&e))?;
    if let Some(since) = since {
        rows.retain(|e| e.time.0 >= since);
        rows.reverse();
    }
    let mut by_type: BTreeMap<&str, u64> = BTreeMap::new();
    for row in &rows {
        *by_type.entry(row.kind.as_str()).or_default() += 1;
    }
    let shown: Vec<Value> = rows
        .iter()
        .map(|e| json!({"type": e.kind, "timestamp": e.time, "message": e.message, "data": e.data}))
        .collect();
    Ok(
        json!({"total": shown.len(), "summary": {"total": shown.len(), "byType": by_type}, "events": shown}),
    )
}
