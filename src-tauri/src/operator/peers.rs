//! Peers as operators see them: every device this node wants a link with, and how it stands.

use std::collections::BTreeSet;

use super::dto::PeerView;
use super::registry::grant_names;
use super::shares::Usage;
use super::{Answer, Door};
use crate::domain::admission::Generation;
use crate::domain::admission::budget::Share;
use crate::domain::base::DeviceId;
use crate::domain::wire::handshake::Feature;
use crate::node::context::alarms::AlarmKind;
use crate::node::context::metrics::{KindLabel, PostureLabel};
use crate::node::links::LinkHandle;
use crate::node::peers::{PeerState, Standing};

impl Door {
    /// As [`Door::peers`], with what the store holds of each.
    ///
    /// # Errors
    /// Whatever the store says.
    pub async fn peers_kept(&self) -> Answer<Vec<PeerView>> {
        let usage = Usage::read(&self.desk()).await?;
        let mut peers = self.peers();
        for peer in &mut peers {
            if let Ok(device) = peer.device_id.parse::<DeviceId>() {
                peer.kept_bytes = Some(usage.one(&device, Share::KeptBytes));
            }
        }
        Ok(peers)
    }

    /// Every peer: those with a link, and those that have one no more or not yet, with the reason. A
    /// trusted device whose address is not known here is one of them: it comes by itself, or not.
    pub fn peers(&self) -> Vec<PeerView> {
        let handles = &self.handles;
        let mut peers: Vec<PeerView> = handles
            .peers
            .all()
            .iter()
            .map(|s| self.peer(&s.device, Some(s)))
            .collect();
        // A link may be a moment ahead of its supervisor.
        for link in handles.links.all() {
            if handles.peers.get(&link.info.device).is_none() {
                peers.push(self.peer(&link.info.device, None));
            }
        }
        let known: BTreeSet<String> = peers.iter().map(|p| p.device_id.clone()).collect();
        let trusted = handles.trust.all();
        let unseen = trusted.iter().filter(|r| {
            r.is_live() && r.device_id != *handles.own_id() && !known.contains(r.device_id.as_str())
        });
        peers.extend(unseen.map(|r| self.peer(&r.device_id, None)));
        peers
    }

    /// The peers with a link.
    pub(super) fn linked_peers(&self) -> Vec<PeerView> {
        let links = self.handles.links.all();
        let view = |link: &LinkHandle| {
            let device = &link.info.device;
            self.peer(device, self.handles.peers.get(device).as_ref())
        };
        links.iter().map(view).collect()
    }

    /// Updates the gauges that are computed on request.
    pub fn look_at_links(&self) {
        let metrics = &self.handles.metrics;
        let links = self.handles.links.all();
        let queued: usize = links.iter().map(|l| l.room.taken()).sum();
        metrics
            .links_queued_bytes
            .set(i64::try_from(queued).unwrap_or(i64::MAX));
        let count = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
        let is_pushed = |link: &&LinkHandle| self.handles.tree.is_eager(&link.info.device);
        let pushing = links.iter().filter(is_pushed).count();
        metrics.links_pushing.set(count(pushing));
        metrics.links_offering.set(count(links.len() - pushing));
        // A posture that no link has any more must not stay at its last number.
        metrics.links.clear();
        for link in links {
            let posture = link.info.posture.to_string();
            metrics.links.get_or_create(&PostureLabel { posture }).inc();
        }
        for kind in AlarmKind::ALL {
            let label = KindLabel {
                kind: kind.as_str(),
            };
            let standing = self.handles.alarms.count(*kind);
            metrics
                .alarms
                .get_or_create(&label)
                .set(i64::try_from(standing).unwrap_or(i64::MAX));
        }
    }

    fn peer(&self, device: &DeviceId, standing: Option<&Standing>) -> PeerView {
        let link = self.handles.links.get(device);
        let info = link.as_ref().map(|l| &l.info);
        let vitals = link.as_ref().map(|l| l.vitals.reading());
        let record = self.handles.trust.live(device);
        let kept = record.as_ref().and_then(|r| r.name.clone());
        let state = match standing {
            // The link is the truth; its supervisor follows.
            Some(s) if link.is_none() || s.state.plain() == PeerState::Suspect => s.state.plain(),
            _ if link.is_some() => PeerState::Connected,
            _ => PeerState::Waiting,
        };
        let returned = standing
            .and_then(|s| s.came_as_gen1)
            .filter(|_| link.is_none());
        let state = match returned {
            Some(_) => PeerState::Refused,
            None => state,
        };
        // Of a link that is up its supervisor may not know yet: what it says is of the time before.
        let follows = link.is_some() && standing.is_some_and(|s| s.state.plain() != state);
        PeerView {
            device_id: device.as_str().to_owned(),
            // A name that a person gave comes before the one it gives itself.
            display_name: kept
                .or_else(|| info.and_then(|i| i.name.clone()))
                .or_else(|| standing.and_then(|s| s.name.clone())),
            role: info.and_then(|i| i.role.clone()),
            capabilities: link
                .as_ref()
                .map(|l| l.offered().capabilities.clone())
                .unwrap_or_default(),
            outbound: info.is_some_and(|i| i.outbound),
            transport_label: info.and_then(|i| i.label.clone()),
            posture: info.map(|i| i.posture),
            pushed: info.map(|_| self.handles.tree.is_eager(device)),
            generation: match info {
                Some(i) if i.speaks(Feature::Proposals) => Some(Generation::Clawmesh),
                None if returned.is_none() => None,
                _ => Some(Generation::Gen1),
            },
            connected_at: info.map(|i| i.connected_at.0),
            grants: record.map(|r| grant_names(&r.grants)).unwrap_or_default(),
            state,
            reason: match (follows, standing) {
                _ if returned.is_some() => format!(
                    "it came as a gen-1 node and is trusted as one of our own kind; if it went back to gen-1, let \
                     it in as that: clawmesh-node trust add {device} --as gen1"
                ),
                (false, Some(s)) => s.why.clone(),
                _ if link.is_some() => "a link is up".to_owned(),
                _ => "it is trusted, but where to reach it is not known here; it has not connected since \
                      this node started"
                    .to_owned(),
            },
            since: returned
                .or(standing.filter(|_| !follows).map(|s| s.since))
                .map(|t| t.0)
                .or(info.map(|i| i.connected_at.0))
                .unwrap_or(self.handles.started_at.0),
            next_attempt_at: standing
                .filter(|_| link.is_none())
                .and_then(|s| s.next_attempt_at)
                .map(|t| t.0),
            addresses: standing
                .map(|s| s.targets.iter().map(|t| t.url.to_string()).collect())
                .unwrap_or_default(),
            heard_at: vitals.map(|v| v.heard_at.0),
            rtt_ms: vitals.and_then(|v| v.rtt_ms),
            skew_ms: vitals.and_then(|v| v.skew_ms),
            bytes_in: vitals.map(|v| v.bytes_in),
            bytes_out: vitals.map(|v| v.bytes_out),
            queued_bytes: link
                .as_ref()
                .map(|l| u64::try_from(l.room.taken()).unwrap_or(u64::MAX)),
            kept_bytes: None,
        }
    }
}
