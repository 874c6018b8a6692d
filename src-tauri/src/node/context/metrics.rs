//! Counters and gauges of one node, in a registry of its own so that many nodes fit in one process.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::rate::Recent;
use crate::domain::base::Code;

/// A refusal's code as a label.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct CodeLabel {
    /// The stable code.
    pub code: &'static str,
}

/// How a link is protected, as a label.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct PostureLabel {
    /// The posture.
    pub posture: String,
}

/// Everything a node counts.
#[derive(Debug, Default)]
pub struct Metrics {
    /// Frames stored, own and others'.
    pub frames_stored: Counter,
    /// How many of them lately.
    pub frames_rate: Recent,
    /// Frames that were here already.
    pub frames_duplicate: Counter,
    /// Frames whose id came with other content.
    pub frames_conflict: Counter,
    /// Frames sent to peers.
    pub frames_sent: Counter,
    /// Messages read from peers.
    pub messages_received: Counter,
    /// Responses that answer nothing we asked.
    pub answers_unasked: Counter,
    /// Reconciliations that ended.
    pub reconciliations: Counter,
    /// Frames that a reconciliation showed to be missing, here or there.
    pub reconcile_differences: Counter,
    /// Frames older than what this node keeps, which it did not take again.
    pub frames_behind: Counter,
    /// Frames pruned because their device had too much or room was needed.
    pub frames_pruned: Counter,
    /// Refusals, by code.
    pub refusals: Family<CodeLabel, Counter>,
    /// Authenticated peers connected now.
    pub peers_connected: Gauge,
    /// Connections that have not authenticated, now.
    pub sockets_unauthenticated: Gauge,
    /// Links by how they are protected; brought up to date when somebody asks.
    pub links: Family<PostureLabel, Gauge>,
    /// Bytes that wait to be written to peers; brought up to date when somebody asks.
    pub links_queued_bytes: Gauge,
    /// Links over which frames are pushed; brought up to date when somebody asks.
    pub links_pushing: Gauge,
    /// Links over which frames are only offered; brought up to date when somebody asks.
    pub links_offering: Gauge,
    /// Frames asked for because they were offered and did not come.
    pub frames_asked: Counter,
    /// Unauthenticated connections closed to make room.
    pub sockets_evicted: Gauge,
    /// Proposals waiting for people here.
    pub proposals_waiting: Gauge,
    /// Actions started.
    pub actions_started: Counter,
    /// Actions that ended in another way than completed.
    pub actions_not_completed: Counter,
    /// Emergency stops at this executor.
    pub estops: Counter,
    /// Whether the emergency stop is latched here.
    pub estop_latched: Gauge,
    /// Log lines that could not be written; brought up to date every few seconds.
    pub log_lines_lost: Gauge,
    /// Standing alarms by kind; brought up to date when somebody asks.
    pub alarms: Family<KindLabel, Gauge>,
}

/// An alarm's kind as a label.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct KindLabel {
    /// The stable code.
    pub kind: &'static str,
}

impl Metrics {
    /// Counts a refusal.
    pub fn refused(&self, code: Code) {
        self.refusals
            .get_or_create(&CodeLabel {
                code: code.as_str(),
            })
            .inc();
    }

    /// How many refusals there were of any code.
    pub fn refusals_total(&self) -> u64 {
        let of = |code: &Code| CodeLabel {
            code: code.as_str(),
        };
        let count = |code| self.refusals.get(&of(code)).map_or(0, |c| c.get());
        Code::ALL.iter().map(count).sum()
    }

    /// The registry that shows these metrics; they share their numbers with it.
    #[allow(clippy::too_many_lines, reason = "one line a metric")]
    pub fn registry(&self) -> Registry {
        let mut r = Registry::with_prefix("clawmesh");
        r.register("frames_stored", "Frames stored", self.frames_stored.clone());
        r.register(
            "frames_duplicate",
            "Frames that were stored already",
            self.frames_duplicate.clone(),
        );
        r.register(
            "frames_conflict",
            "Frames whose id came with other content",
            self.frames_conflict.clone(),
        );
        r.register(
            "frames_sent",
            "Frames sent to peers",
            self.frames_sent.clone(),
        );
        r.register(
            "messages_received",
            "Messages read from peers",
            self.messages_received.clone(),
        );
        r.register(
            "answers_unasked",
            "Responses that answer nothing we asked",
            self.answers_unasked.clone(),
        );
        r.register(
            "reconciliations",
            "Reconciliations that ended",
            self.reconciliations.clone(),
        );
        r.register(
            "reconcile_differences",
            "Frames that reconciliations showed to be missing here or there",
            self.reconcile_differences.clone(),
        );
        r.register(
            "frames_pruned",
            "Frames pruned because their device had too much or room was needed",
            self.frames_pruned.clone(),
        );
        r.register(
            "frames_behind",
            "Frames older than what is kept, not taken again",
            self.frames_behind.clone(),
        );
        r.register("refusals", "Refusals by code", self.refusals.clone());
        r.register(
            "peers_connected",
            "Authenticated peers connected",
            self.peers_connected.clone(),
        );
        r.register(
            "links",
            "Links by how they are protected",
            self.links.clone(),
        );
        r.register(
            "links_queued_bytes",
            "Bytes that wait until peers read",
            self.links_queued_bytes.clone(),
        );
        r.register(
            "links_pushing",
            "Links over which frames are pushed",
            self.links_pushing.clone(),
        );
        r.register(
            "links_offering",
            "Links over which frames are only offered",
            self.links_offering.clone(),
        );
        r.register(
            "frames_asked",
            "Frames asked for because they were offered and did not come",
            self.frames_asked.clone(),
        );
        r.register(
            "sockets_unauthenticated",
            "Connections that have not authenticated",
            self.sockets_unauthenticated.clone(),
        );
        r.register(
            "sockets_evicted",
            "Unauthenticated connections closed to make room",
            self.sockets_evicted.clone(),
        );
        r.register(
            "proposals_waiting",
            "Proposals waiting for approval",
            self.proposals_waiting.clone(),
        );
        r.register(
            "actions_started",
            "Actions started",
            self.actions_started.clone(),
        );
        r.register(
            "actions_not_completed",
            "Actions that failed or are unknown",
            self.actions_not_completed.clone(),
        );
        r.register("estops", "Emergency stops here", self.estops.clone());
        r.register(
            "estop_latched",
            "Whether the emergency stop is latched here",
            self.estop_latched.clone(),
        );
        r.register(
            "log_lines_lost",
            "Log lines that could not be written",
            self.log_lines_lost.clone(),
        );
        r.register("alarms", "Standing alarms by kind", self.alarms.clone());
        r
    }
}
