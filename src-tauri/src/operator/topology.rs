//! The mesh as far as anybody has told: every node and link, from this node's own links and the
//! newest presence of each other node. Reports of others are shown with their age, and nothing acts on them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Answer, Door};
use crate::adapters::store::frames::StoredFrame;
use crate::adapters::store::series;
use crate::domain::base::limits::{
    CAPABILITIES_MAX, NAME_MAX_BYTES, PRESENCE_EVERY_MS, TOPOLOGY_NODES_MAX,
};
use crate::domain::base::{DeviceId, SignatureState, TierName, TimeMs};
use crate::domain::capability::offers_actuator;
use crate::domain::world::Moment;
use crate::node::continuity::PRESENCE;
use crate::node::peers::PeerState;
use crate::node::presence::{Presence, PresentLink, present};

/// How old a presence may be before its node counts as not heard from, in milliseconds.
const FRESH_MS: u64 = 3 * PRESENCE_EVERY_MS;

/// Everything known of the mesh.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct TopologyView {
    /// The nodes; this one first.
    pub nodes: Vec<TopologyNode>,
    /// The links between them, each once.
    pub links: Vec<TopologyLink>,
    /// When this was put together, in milliseconds since 1970.
    pub at: u64,
}

/// A node of the mesh.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct TopologyNode {
    /// The device.
    pub device_id: String,
    /// Its name: ours for it, else its own.
    pub name: Option<String>,
    /// Its role, as it says.
    pub role: Option<String>,
    /// Its version, as it says.
    pub version: Option<String>,
    /// What it offers, as it says.
    pub capabilities: Vec<String>,
    /// Whether it is the node that answers.
    pub own: bool,
    /// Whether it has a link with this node now.
    pub connected: bool,
    /// Whether this node trusts it.
    pub trusted: bool,
    /// Whether no link with it is needed: it is dialed when something is to be sent to it.
    #[serde(default)]
    pub on_demand: bool,
    /// Whether it was heard from lately, by a link or a presence.
    pub fresh: bool,
    /// Whether its emergency stop is latched, as it says.
    pub estop: bool,
    /// Since when it runs, as it says.
    pub started_at: Option<u64>,
    /// When it last told of itself; absent if it never did.
    pub reported_at: Option<u64>,
    /// How old that is, in milliseconds.
    pub age_ms: Option<u64>,
    /// What is known of the signature.
    pub signature: Option<SignatureState>,
    /// The tier this node vouches for.
    pub effective_tier: Option<TierName>,
    /// Whether it left something out to keep its report small.
    pub truncated: bool,
    /// The name of the site it is placed in, as this node's `site.toml` says.
    pub site: Option<String>,
}

/// A link between two nodes.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct TopologyLink {
    /// One end; the lower id.
    pub a: String,
    /// The other end.
    pub b: String,
    /// How it is protected.
    pub posture: Option<String>,
    /// The transport label.
    pub label: Option<String>,
    /// How long a message takes there and back, in milliseconds.
    pub rtt_ms: Option<f64>,
    /// How far the clock of `b` is ahead of that of `a`, in milliseconds.
    pub skew_ms: Option<i64>,
    /// Bytes that came in over it at this node; for own links.
    pub bytes_in: Option<u64>,
    /// Whether one end is this node.
    pub own: bool,
    /// Whether it was reported lately.
    pub fresh: bool,
    /// Which end it was reported by.
    pub reported_by: String,
    /// When, in milliseconds since 1970.
    pub reported_at: u64,
}

/// A presence and where it comes from.
struct Report {
    frame: Option<StoredFrame>,
    at: TimeMs,
    said: Presence,
}

impl Report {
    fn age_ms(&self, now: TimeMs) -> u64 {
        let received = self.frame.as_ref().map_or(now, |f| f.received_at);
        Moment::unset(now).age_by_wall_ms(self.at, received)
    }
}

fn short(text: Option<String>) -> Option<String> {
    text.map(|t| t.chars().take(NAME_MAX_BYTES).collect())
}

/// The presence in a frame; `None` for another kind of capability update.
fn read(frame: StoredFrame) -> Option<(DeviceId, Report)> {
    let mut value: Value = serde_json::from_str(&frame.json).ok()?;
    let data = value.get_mut("data")?.take();
    if data.get("type")?.as_str()? != PRESENCE {
        return None;
    }
    let mut said: Presence = serde_json::from_value(data).ok()?;
    said.name = short(said.name);
    said.role = short(said.role);
    said.version = short(said.version);
    said.capabilities.truncate(CAPABILITIES_MAX);
    said.links.truncate(CAPABILITIES_MAX);
    let report = Report {
        at: frame.time,
        said,
        frame: None,
    };
    let origin = frame.origin.clone();
    Some((
        origin,
        Report {
            frame: Some(frame),
            ..report
        },
    ))
}

impl Door {
    /// The present state of this node itself.
    pub fn presence(&self) -> Presence {
        let estop = self.handles.running.latched().is_some();
        present(&self.handles, self.handles.peers.unreached(), estop)
    }

    /// Everything known of the mesh.
    ///
    /// # Errors
    /// Whatever the store says.
    pub async fn topology(&self) -> Answer<TopologyView> {
        let now = self.handles.now();
        let frames = self
            .read("topology", |c| {
                series::newest_presence(c, TOPOLOGY_NODES_MAX)
            })
            .await?;
        let mut reports: BTreeMap<DeviceId, Report> = frames.into_iter().filter_map(read).collect();
        // Of itself a node knows more than it last told.
        let own = Report {
            frame: None,
            at: now,
            said: self.presence(),
        };
        reports.insert(self.handles.own_id().clone(), own);
        let mut nodes = self.topology_nodes(&reports, now);
        let mut placed = self.placed(&self.names()).await?;
        for node in &mut nodes {
            let id = node.device_id.parse::<DeviceId>().ok();
            node.site = id.and_then(|id| placed.remove(&id));
        }
        Ok(TopologyView {
            nodes,
            links: self.topology_links(&reports, now),
            at: now.0,
        })
    }

    fn topology_nodes(
        &self,
        reports: &BTreeMap<DeviceId, Report>,
        now: TimeMs,
    ) -> Vec<TopologyNode> {
        let s = &self.handles;
        let names = self.names();
        let mut nodes: BTreeMap<DeviceId, TopologyNode> = BTreeMap::new();
        for known in self.nodes() {
            let Ok(id) = known.device_id.parse::<DeviceId>() else {
                continue;
            };
            let mut node = blank(&id);
            node.own = known.own;
            node.connected = known.connected;
            node.fresh = known.connected;
            node.role = known.role;
            node.capabilities = known.capabilities;
            nodes.insert(id, node);
        }
        for (id, report) in reports {
            let node = nodes.entry(id.clone()).or_insert_with(|| blank(id));
            node.take(report, now);
            if s.trust.trusts(id) && !s.may_actuate(id) {
                node.capabilities.retain(|c| !offers_actuator(c));
            }
            node.on_demand = !node.connected && s.peers.is_left_out(id);
            node.fresh &= !self.gone_since(id, report.at);
            for link in &report.said.links {
                let Ok(peer) = link.peer.parse::<DeviceId>() else {
                    continue;
                };
                let node = nodes.entry(peer.clone()).or_insert_with(|| blank(&peer));
                node.name = node.name.take().or_else(|| short(link.name.clone()));
            }
        }
        for (id, node) in &mut nodes {
            node.name = names.get(id).cloned().or_else(|| node.name.take());
            node.trusted = node.own || s.trust.trusts(id);
        }
        let mut list: Vec<TopologyNode> = nodes.into_values().take(TOPOLOGY_NODES_MAX).collect();
        list.sort_by_key(|n| !n.own);
        list
    }

    /// Whether this node has seen itself, after `at`, that a peer is there no more. What others heard of
    /// it later counts again.
    fn gone_since(&self, id: &DeviceId, at: TimeMs) -> bool {
        let gone = [PeerState::Unreachable, PeerState::Down, PeerState::Left];
        self.handles.links.get(id).is_none()
            && self
                .handles
                .peers
                .get(id)
                .is_some_and(|s| gone.contains(&s.state.plain()) && s.since > at)
    }

    fn topology_links(
        &self,
        reports: &BTreeMap<DeviceId, Report>,
        now: TimeMs,
    ) -> Vec<TopologyLink> {
        let own = self.handles.own_id();
        let traffic: BTreeMap<String, u64> = self
            .handles
            .links
            .all()
            .iter()
            .map(|l| {
                (
                    l.info.device.as_str().to_owned(),
                    l.vitals.reading().bytes_in,
                )
            })
            .collect();
        let mut links: BTreeMap<(String, String), TopologyLink> = BTreeMap::new();
        for (id, report) in reports {
            for link in &report.said.links {
                let Ok(peer) = link.peer.parse::<DeviceId>() else {
                    continue;
                };
                if peer == *id || contradicted(reports, id, report, &peer) {
                    continue;
                }
                let mut seen = link_seen(id, &peer, link, report, now);
                seen.own = id == own || peer == *own;
                seen.bytes_in = (id == own)
                    .then(|| traffic.get(peer.as_str()).copied())
                    .flatten();
                let pair = (seen.a.clone(), seen.b.clone());
                match links.get(&pair) {
                    // This node's own word on its own link, else the newer report.
                    Some(other)
                        if other.reported_by == own.as_str()
                            || (id != own && other.reported_at >= seen.reported_at) => {}
                    _ => {
                        links.insert(pair, seen);
                    }
                }
            }
        }
        links.into_values().collect()
    }
}

/// Whether the other end has told since that it has no such link.
fn contradicted(
    reports: &BTreeMap<DeviceId, Report>,
    id: &DeviceId,
    report: &Report,
    peer: &DeviceId,
) -> bool {
    reports.get(peer).is_some_and(|other| {
        other.at > report.at
            && !other.said.truncated
            && !other.said.links.iter().any(|l| l.peer == id.as_str())
    })
}

fn blank(id: &DeviceId) -> TopologyNode {
    TopologyNode {
        device_id: id.as_str().to_owned(),
        name: None,
        role: None,
        version: None,
        capabilities: Vec::new(),
        own: false,
        connected: false,
        on_demand: false,
        trusted: false,
        fresh: false,
        estop: false,
        started_at: None,
        reported_at: None,
        age_ms: None,
        signature: None,
        effective_tier: None,
        truncated: false,
        site: None,
    }
}

impl TopologyNode {
    fn take(&mut self, report: &Report, now: TimeMs) {
        let said = &report.said;
        let set = |to: &mut Option<String>, from: &Option<String>| {
            if let Some(text) = from {
                *to = Some(text.clone());
            }
        };
        set(&mut self.name, &said.name);
        set(&mut self.role, &said.role);
        set(&mut self.version, &said.version);
        if !said.capabilities.is_empty() {
            self.capabilities.clone_from(&said.capabilities);
        }
        self.fresh |= report.age_ms(now) < FRESH_MS;
        self.estop = said.estop;
        self.started_at = said.started_at.map(|t| t.0);
        self.reported_at = Some(report.at.0);
        self.age_ms = Some(report.age_ms(now));
        self.truncated = said.truncated;
        self.signature = report.frame.as_ref().map(|f| f.signature);
        self.effective_tier = report.frame.as_ref().map(|f| f.effective_tier.into());
    }
}

fn link_seen(
    id: &DeviceId,
    peer: &DeviceId,
    link: &PresentLink,
    report: &Report,
    now: TimeMs,
) -> TopologyLink {
    let turned = peer < id;
    let (a, b) = if turned { (peer, id) } else { (id, peer) };
    TopologyLink {
        a: a.as_str().to_owned(),
        b: b.as_str().to_owned(),
        posture: short(link.posture.clone()),
        label: short(link.label.clone()),
        rtt_ms: link.rtt_ms.filter(|ms| ms.is_finite()),
        skew_ms: link
            .skew_ms
            .map(|ms| if turned { ms.saturating_neg() } else { ms }),
        bytes_in: None,
        own: false,
        fresh: report.age_ms(now) < FRESH_MS,
        reported_by: id.as_str().to_owned(),
        reported_at: report.at.0,
    }
}
