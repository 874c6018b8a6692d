//! What the door answers with. Every value that comes from the mesh carries its age, origin, tier
//! and verification state (DESIGN §7). Names are camelCase in JSON; times are milliseconds since
//! 1970; ids are full.

mod people;
mod planner;
mod policy;
mod proposals;

use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use self::people::*;
pub use self::planner::*;
pub use self::policy::*;
pub use self::proposals::*;
use crate::adapters::transport::Posture;
use crate::domain::admission::Generation;
use crate::domain::base::{SignatureState, TierName};
use crate::domain::wire::FrameKind;
use crate::node::context::Severity;
use crate::node::peers::PeerState;

/// A node at a glance.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct StatusView {
    /// This device.
    pub device_id: String,
    /// Its name for people.
    pub display_name: String,
    /// Its role.
    pub role: String,
    /// The id of its mesh.
    pub mesh_id: String,
    /// The mesh's name, where it has one.
    pub mesh_name: Option<String>,
    /// The version of the program.
    pub version: String,
    /// The port it listens on.
    pub port: u16,
    /// How long it has been up.
    pub uptime_ms: u64,
    /// Frames stored.
    pub frames: u64,
    /// Frames stored each second, over the last ten seconds.
    pub frames_per_sec: f64,
    /// What the store takes on disk, in bytes.
    pub store_bytes: u64,
    /// Current facts.
    pub facts: u64,
    /// The planner of this node.
    pub planner: PlannerView,
    /// Peers with a link.
    pub peers: Vec<PeerView>,
    /// Proposals waiting for people, own and mirrored.
    pub proposals_waiting: u64,
    /// Drafts waiting for an unreachable executor.
    pub drafts_waiting: u64,
    /// What it offers.
    pub capabilities: Vec<String>,
    /// How its sensors are.
    #[serde(default)]
    pub sensors: Vec<SensorView>,
    /// The policy in force here.
    pub policy: PolicyState,
    /// Whether its clock may be believed.
    pub clock_trusted: bool,
    /// Whether everything shown is a demonstration.
    pub demo: bool,
    /// The bots of this node: which node answers each, and how its server was reached last.
    #[serde(default)]
    pub bots: Vec<crate::operator::channels::BotView>,
    /// The places where people are told of alerts.
    #[serde(default)]
    pub places: Vec<crate::operator::alerts::NotifyView>,
    /// What is wrong, in sentences, standing alarms included; empty when all is well.
    pub problems: Vec<String>,
    /// Conditions that stand until they are mended, the worst first.
    #[serde(default)]
    pub alarms: Vec<AlarmView>,
}

/// How a sensor of this node is.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct SensorView {
    /// Its name.
    pub name: String,
    /// When it last gave a reading.
    pub last_reading_at: Option<u64>,
    /// Since when it fails; absent while it works.
    pub failing_since: Option<u64>,
    /// Why it fails.
    pub problem: Option<String>,
}

/// A condition that stands until it is mended.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct AlarmView {
    /// What it is about: a stable code such as `actuator.unsafe`.
    pub kind: String,
    /// How much it matters.
    pub severity: Severity,
    /// Which device, actuator or file; empty where there is only one.
    pub subject: String,
    /// Since when.
    pub since: u64,
    /// What is the matter.
    pub message: String,
    /// What to do.
    pub advice: String,
}

/// How a node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum Health {
    /// No alarm stands.
    Ok,
    /// A warning stands.
    Degraded,
    /// A critical alarm stands; HTTP status 503.
    Failing,
}

/// Whether a node works, for monitors; told without a token.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct HealthView {
    /// How it is.
    pub status: Health,
    /// The version of the program.
    pub version: String,
    /// The kinds of the alarms that stand.
    pub alarms: Vec<String>,
}

/// A connected peer.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct PeerView {
    /// The device, proven.
    pub device_id: String,
    /// Its name, as it says.
    pub display_name: Option<String>,
    /// Its role, as it says.
    pub role: Option<String>,
    /// What it offers, as it says.
    pub capabilities: Vec<String>,
    /// Whether we dialed it.
    pub outbound: bool,
    /// The transport label.
    pub transport_label: Option<String>,
    /// How the link is protected; absent without a link.
    pub posture: Option<Posture>,
    /// Whether frames are pushed over the link, rather than offered and sent when asked for; absent without a
    /// link.
    #[serde(default)]
    pub pushed: Option<bool>,
    /// `clawmesh` for our kind, `gen1` for an existing gen-1 node; absent without a link, except for
    /// a device of our kind that came as a gen-1 node and was turned away.
    pub generation: Option<Generation>,
    /// When it connected; absent without a link.
    pub connected_at: Option<u64>,
    /// What it may do here.
    pub grants: Vec<String>,
    /// Where this node stands with it.
    pub state: PeerState,
    /// Why.
    pub reason: String,
    /// Since when.
    pub since: u64,
    /// When the next attempt to reach it is due.
    pub next_attempt_at: Option<u64>,
    /// Where it may be reached.
    pub addresses: Vec<String>,
    /// When anything last came from it.
    pub heard_at: Option<u64>,
    /// How long a message takes there and back, in milliseconds.
    pub rtt_ms: Option<f64>,
    /// How far its clock is ahead of ours, in milliseconds; negative is behind.
    pub skew_ms: Option<i64>,
    /// Bytes of messages that came in over this link.
    pub bytes_in: Option<u64>,
    /// Bytes of messages that went out over it.
    pub bytes_out: Option<u64>,
    /// Bytes that wait until it reads.
    pub queued_bytes: Option<u64>,
    /// Bytes of its frames in the store of this node; absent where nobody counted.
    #[serde(default)]
    pub kept_bytes: Option<u64>,
}

/// The newest value of one metric from one origin.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct FactView {
    /// What was measured.
    pub metric: String,
    /// Where.
    pub zone: Option<String>,
    /// The value: a number or a text.
    pub value: Value,
    /// Its unit.
    pub unit: Option<String>,
    /// The device it came from.
    pub origin: String,
    /// That device's name, where known.
    pub origin_name: Option<String>,
    /// The frame that carried it.
    pub frame_id: String,
    /// When it was sensed, as far as we believe it.
    pub sensed_at: u64,
    /// How old it is now, in milliseconds.
    pub age_ms: u64,
    /// The tier its origin claims, for example `T2`.
    pub claimed_tier: TierName,
    /// The tier this node vouches for.
    pub effective_tier: TierName,
    /// What is known of its origin's signature.
    pub signature: SignatureState,
    /// Whether a model had a part in it.
    pub tainted: bool,
    /// Whether it is private: only devices that its origin names have it, and only models that may see what is private.
    #[serde(default)]
    pub private: bool,
}

/// A stored frame.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct FrameView {
    /// Its place in this node's log.
    pub seq: u64,
    /// Its id.
    pub frame_id: String,
    /// The hash of its content.
    pub content: String,
    /// What it is about.
    pub kind: FrameKind,
    /// The device it came from.
    pub origin: String,
    /// That device's name, where known.
    #[serde(default)]
    pub origin_name: Option<String>,
    /// Its time, as far as we believe it.
    pub time: u64,
    /// When we got it.
    pub received_at: u64,
    /// How old it is now, in milliseconds.
    pub age_ms: u64,
    /// The tier its origin claims.
    pub claimed_tier: TierName,
    /// The tier this node vouches for.
    pub effective_tier: TierName,
    /// What is known of its origin's signature.
    pub signature: SignatureState,
    /// Whether a model had a part in it.
    pub tainted: bool,
    /// Whether its timestamp lay too far ahead to be believed.
    pub ahead: bool,
    /// Whether it is offered to no device but those that it names.
    #[serde(default)]
    pub private: bool,
    /// The frame as it came.
    pub frame: Value,
}

/// Something that happened on this node.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct EventView {
    /// Its number; numbers grow, and older ones are missing where their room in the log was full.
    pub seq: u64,
    /// When.
    pub time: u64,
    /// What kind, for example `proposal.created`.
    pub kind: String,
    /// How much it matters.
    pub severity: Severity,
    /// What happened, in a sentence.
    pub message: String,
    /// The details.
    pub data: Value,
}

/// What checking the audit chain showed.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct AuditReport {
    /// Whether every entry is in place, unaltered and signed by this device.
    pub ok: bool,
    /// How many entries were checked.
    pub entries: u64,
    /// The hash of the newest entry.
    pub head: Option<String>,
    /// What is wrong, each with its entry's number.
    pub faults: Vec<String>,
}

/// One audit entry.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct AuditView {
    /// Its number.
    pub seq: u64,
    /// When.
    pub time: u64,
    /// What was done, for example `proposal.approved`.
    pub kind: String,
    /// To what.
    pub subject: String,
    /// The details.
    pub detail: Value,
    /// The hash of this entry, which the next one contains.
    pub hash: String,
}

/// What every refused request is answered with.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
pub struct ErrorBody {
    /// What went wrong.
    pub error: ErrorView,
}

/// An error: a stable code and a sentence.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
pub struct ErrorView {
    /// What programs act on.
    pub code: String,
    /// What people read.
    pub message: String,
}

/// A device of the mesh: this one, a trusted one, or a connected one.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct NodeView {
    /// The device.
    pub device_id: String,
    /// Its name, where known.
    pub display_name: Option<String>,
    /// Whether it is the node that answers.
    pub own: bool,
    /// Whether it is connected now.
    pub connected: bool,
    /// Its role, where known.
    pub role: Option<String>,
    /// What it offers, or offered when it was last connected, as far as it may.
    pub capabilities: Vec<String>,
    /// Actuators that it says it has without the grant `actuate`; nothing is sent to it for them.
    pub withheld: Vec<String>,
    /// What it may do here.
    pub grants: Vec<String>,
}
