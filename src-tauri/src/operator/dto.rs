//! What the door answers with. Every value that comes from the mesh carries its age, origin, tier
//! and verification state (DESIGN §7). Names are camelCase in JSON; times are milliseconds since
//! 1970; ids are full.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::planner::PlannerView;

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
    /// The policy in force here.
    pub policy: PolicyState,
    /// Whether its clock may be believed.
    pub clock_trusted: bool,
    /// Whether everything shown is a demonstration.
    pub demo: bool,
    /// What is wrong, in sentences, standing alarms included; empty when all is well.
    pub problems: Vec<String>,
    /// Conditions that stand until they are mended, the worst first.
    #[serde(default)]
    pub alarms: Vec<AlarmView>,
}

/// A condition that stands until it is mended.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct AlarmView {
    /// What it is about: a stable code such as `actuator.unsafe`.
    pub kind: String,
    /// `warning` or `critical`.
    pub severity: String,
    /// Which device, actuator or file; empty where there is only one.
    pub subject: String,
    /// Since when.
    pub since: u64,
    /// What is the matter.
    pub message: String,
    /// What to do.
    pub advice: String,
}

/// Whether a node works, for monitors; told without a token.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct HealthView {
    /// `ok`, `degraded` (a warning stands) or `failing` (a critical alarm stands; HTTP status 503).
    pub status: String,
    /// The version of the program.
    pub version: String,
    /// The kinds of the alarms that stand.
    pub alarms: Vec<String>,
}

/// The policy in force.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct PolicyState {
    /// The digest of its text.
    pub digest: String,
    /// How many rules it has; none means that everything is denied.
    pub rules: usize,
    /// Why the policy file is not the policy in force, if it is not.
    pub problem: Option<String>,
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
    pub posture: Option<String>,
    /// `clawmesh` for our kind, `gen1` for an existing gen-1 node; absent without a link, except for
    /// a device of our kind that came as a gen-1 node and was turned away.
    pub generation: Option<String>,
    /// When it connected; absent without a link.
    pub connected_at: Option<u64>,
    /// What it may do here.
    pub grants: Vec<String>,
    /// Where this node stands with it: `connected`, `suspect`, `waiting`, `dialing`, `unreachable`,
    /// `down`, `left` or `refused`.
    pub state: String,
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
    pub claimed_tier: String,
    /// The tier this node vouches for.
    pub effective_tier: String,
    /// `verified`, `first-hand` or `unverifiable`.
    pub signature: String,
    /// Whether a model had a part in it.
    pub tainted: bool,
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
    pub kind: String,
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
    pub claimed_tier: String,
    /// The tier this node vouches for.
    pub effective_tier: String,
    /// `verified`, `first-hand` or `unverifiable`.
    pub signature: String,
    /// Whether a model had a part in it.
    pub tainted: bool,
    /// Whether its timestamp lay too far ahead to be believed.
    pub ahead: bool,
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
    /// `info`, `warning` or `critical`.
    pub severity: String,
    /// What happened, in a sentence.
    pub message: String,
    /// The details.
    pub data: Value,
}

/// A proposal with its state. `id` to `evidence` are a contract with other programs.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct ProposalView {
    /// Its id.
    pub id: String,
    /// Where it stands, for example `awaiting_approval`.
    pub status: String,
    /// Who must agree: `L1`, `L2`, `L3`.
    pub level: String,
    /// The actuator.
    pub target: String,
    /// What it does.
    pub operation: String,
    /// With which parameters.
    pub params: Value,
    /// The device that minted it and alone acts on it.
    pub executor: String,
    /// That device's name, where known.
    #[serde(default)]
    pub executor_name: Option<String>,
    /// When it was minted.
    pub created_at: u64,
    /// When it stops waiting.
    pub expires_at: u64,
    /// The frames it rests on.
    pub evidence: Vec<crate::domain::proposal::Evidence>,
    /// Why it was asked for.
    pub reason: String,
    /// Who asked.
    pub requested_by: crate::domain::proposal::RequestedBy,
    /// The policy rule that applies.
    pub rule: String,
    /// How many distinct operators must agree.
    pub quorum: u32,
    /// Whether a model had a part in it.
    pub tainted: bool,
    /// How long the action lasts, in milliseconds.
    pub run_ms: u64,
    /// The operation that ends it.
    pub safe_state: String,
    /// What a gen-1 node is told that acts on it; absent where the executor does so itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gen1: Option<crate::domain::gate::Gen1Command>,
    /// What people sign.
    pub digest: String,
    /// Whether this node is the executor.
    pub own: bool,
    /// Counts up with every change.
    pub revision: u64,
    /// When it last changed.
    pub updated_at: u64,
    /// Why it stands where it stands.
    pub detail: Option<String>,
    /// How the action ended.
    pub outcome: Option<crate::domain::proposal::Outcome>,
}

/// A proposal's signed record, for the client that is about to sign its digest.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct ProposalRecordView {
    /// The proposal.
    pub proposal: ProposalView,
    /// The record exactly as its executor signed it, canonical JSON as text.
    pub record: String,
    /// The executor's signature.
    pub signature: String,
    /// The executor's public key as this node knows it.
    pub executor_key: String,
    /// The decisions this node knows of; complete only at the executor.
    pub decisions: Vec<Value>,
}

/// One step of a proposal's story.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct TraceStep {
    /// When.
    pub time: u64,
    /// Which step: `reading`, `minted`, `decision`, `executing`, `ended`, `outcome`.
    pub stage: String,
    /// Who or what did it.
    pub actor: String,
    /// What happened, in a sentence.
    pub message: String,
    /// The details.
    pub data: Value,
}

/// A proposal from reading to outcome.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct TraceView {
    /// The proposal.
    pub proposal: ProposalView,
    /// Its steps, oldest first.
    pub steps: Vec<TraceStep>,
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

/// A trust record.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct TrustRecordView {
    /// The device.
    pub device_id: String,
    /// Its pinned key; learned at its first handshake where none was given.
    pub public_key: Option<String>,
    /// Its name for people.
    pub name: Option<String>,
    /// What it may do.
    pub grants: Vec<String>,
    /// When it was added.
    pub added_at: u64,
    /// When it was revoked.
    pub revoked_at: Option<u64>,
    /// Whether it is connected now; unknown while the node is stopped.
    pub connected: Option<bool>,
    /// What it has made this node keep, each against its share.
    #[serde(default)]
    pub usage: Vec<ShareView>,
}

/// What a device uses of one of its shares.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct ShareView {
    /// `records`, `issued`, `mirrors`, `mirror-bytes`, `waiting`, `minted`, `facts`, `origins`, `conflicts`,
    /// `kept-frames`, `kept-bytes` or `frame-bytes`.
    pub kind: String,
    /// How much it uses now.
    pub used: u64,
    /// The most it may use.
    pub limit: u64,
    /// How often something was refused because of it, since the node started.
    pub refused: u64,
}

/// What `trust add` was told.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TrustAdd {
    /// The device.
    pub device_id: String,
    /// Its key, to pin it before it first connects.
    #[serde(default)]
    pub public_key: Option<String>,
    /// A name for people.
    #[serde(default)]
    pub name: Option<String>,
    /// A preset: `field`, `command-center`, `owner`, `viewer`, `gen1`.
    #[serde(default)]
    pub preset: Option<String>,
    /// Further grants, for example `observe:T2,relay`.
    #[serde(default)]
    pub grants: Option<String>,
}

/// An operator an executor knows.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct OperatorView {
    /// The hash of the key.
    pub operator_id: String,
    /// The person's public key.
    pub public_key: String,
    /// The person's name.
    pub name: String,
    /// The person: the same for all their keys, which count once.
    pub person: String,
    /// The highest level they may approve.
    pub max_level: String,
    /// The device that vouches for them.
    pub issuer: String,
    /// That device's name, where another device than this one and known.
    #[serde(default)]
    pub issuer_name: Option<String>,
    /// Whether that device's word on persons counts here: this node's own, or an accepted issuer's.
    pub counts: bool,
    /// When it was issued.
    pub issued_at: u64,
    /// When it ends.
    pub expires_at: Option<u64>,
    /// When the key was revoked.
    pub revoked_at: Option<u64>,
}

/// What `operator enroll` was told.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct OperatorEnroll {
    /// The person's public key.
    pub public_key: String,
    /// The person's name; may be left out where `person` is given.
    #[serde(default)]
    pub name: String,
    /// The person whose further key this is: the id or the name of somebody who is known here.
    #[serde(default)]
    pub person: Option<String>,
    /// The highest level they may approve.
    pub level: String,
    /// For how many days; a year where absent.
    #[serde(default)]
    pub days: Option<u32>,
}

/// A device whose operators are accepted here, or could be.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct IssuerView {
    /// The device.
    pub device_id: String,
    /// Its name for people.
    pub name: Option<String>,
    /// When a person here accepted its operators; absent: they count for nothing here.
    pub accepted_at: Option<u64>,
    /// No person has accepted it: its operators had decided here before acceptance was asked for.
    pub carried: bool,
    /// Whether it is trusted with `admin` now; without, its operators do not count either.
    pub issues: bool,
    /// The persons it vouches for, each with the highest level.
    pub names: Vec<String>,
}

/// A text in the languages of the console.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
pub struct WordsView {
    /// English.
    pub en: String,
    /// German.
    pub de: String,
}

/// One grant and what it lets a device do at worst.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
pub struct GrantWorstView {
    /// The grant.
    pub grant: String,
    /// What a device that holds it can do here at worst.
    pub worst: WordsView,
}

/// One preset.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
pub struct PresetView {
    /// The preset.
    pub preset: String,
    /// Its grants.
    pub grants: Vec<String>,
    /// Whom it is for.
    #[serde(rename = "for")]
    pub for_whom: WordsView,
}

/// What presets and grants can do at worst.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct GrantTableView {
    /// Every preset, the least first.
    pub presets: Vec<PresetView>,
    /// Every grant.
    pub grants: Vec<GrantWorstView>,
    /// What is said wherever `admin` is given or held.
    pub admin_warning: WordsView,
}

/// A wish for an action, by a person.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DraftRequest {
    /// The actuator.
    pub target: String,
    /// What it is to do.
    pub operation: String,
    /// With which parameters.
    #[serde(default, deserialize_with = "crate::domain::capability::read_params")]
    #[cfg_attr(test, schema(value_type = Object))]
    pub params: crate::domain::capability::Params,
    /// Why.
    pub reason: String,
    /// The person's name.
    pub name: String,
    /// The frames it rests on: their ids, or `ID@DEVICE` where several devices use an id.
    #[serde(default)]
    pub cites: Vec<String>,
    /// The executor that is meant: a name, a device id, or `self` for the node that answers. Needed
    /// where several offer the target and no cited frame comes from one of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub executor: Option<String>,
    /// A zone that the executor has readings of, instead of its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
}

/// What became of a draft.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct DraftView {
    /// Its id.
    pub draft_id: String,
    /// `proposed` or `waiting`; stored drafts also `refused` or `expired`.
    pub status: String,
    /// The proposal, where there is one.
    pub proposal_id: Option<String>,
    /// Whether that proposal stood before this draft: the same wish, made earlier. Nothing was added.
    #[serde(default)]
    pub standing: bool,
    /// Since when it stands, where it did, in milliseconds since 1970.
    #[serde(default)]
    pub standing_since: Option<u64>,
    /// The actuator.
    pub target: String,
    /// Why it stands there.
    pub detail: Option<String>,
    /// When it was made.
    pub created_at: u64,
    /// When it stops being wanted.
    pub expires_at: u64,
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

/// A rule of the policy in force.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct PolicyRuleView {
    /// Its name.
    pub name: String,
    /// The capabilities it covers, a pattern.
    pub capability: String,
    /// The operations it covers.
    pub operations: Vec<String>,
    /// Who must agree.
    pub level: String,
    /// How many distinct operators must agree.
    pub quorum: u32,
    /// The longest an action may last, in milliseconds.
    pub deadline_ms: u64,
    /// The operation that ends an action.
    pub safe_state: String,
    /// The weakest effective tier it takes as evidence.
    pub min_tier: String,
    /// How old evidence may be, in milliseconds.
    pub max_evidence_age_ms: u64,
    /// What must hold before and while acting.
    pub interlocks: Vec<String>,
    /// What the executor itself must see.
    pub conditions: Vec<String>,
    /// The hours in which it applies, with their time zone; absent where always.
    #[serde(default)]
    pub hours: Option<String>,
    /// Devices whose rules may act at L1 like this executor's own.
    #[serde(default)]
    pub from: Vec<String>,
}

/// The policy in force with its rules.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct PolicyView {
    /// Digest, count and problem.
    #[serde(flatten)]
    pub state: PolicyState,
    /// Its rules, in the order they are tried.
    pub list: Vec<PolicyRuleView>,
}

/// An action to explain: what would this executor say to it now?
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ExplainRequest {
    /// The actuator.
    pub target: String,
    /// What it would do.
    pub operation: String,
    /// With which parameters.
    #[serde(default, deserialize_with = "crate::domain::capability::read_params")]
    #[cfg_attr(test, schema(value_type = Object))]
    pub params: crate::domain::capability::Params,
    /// Who would ask: `rules`, `person` or `llm`.
    #[serde(default = "person")]
    pub requester: crate::domain::policy::Requester,
}

fn person() -> crate::domain::policy::Requester {
    crate::domain::policy::Requester::Person
}

/// What the policy says of an action, given what this node knows now and no cited evidence.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct ExplainView {
    /// Whether it could become a proposal.
    pub allowed: bool,
    /// The code of the denial.
    pub code: Option<String>,
    /// What it comes to, in a sentence.
    pub message: String,
    /// The rule that decided.
    pub rule: Option<String>,
    /// Who would have to agree.
    pub level: Option<String>,
    /// Every check, passed and failed.
    pub checks: Vec<crate::domain::policy::Check>,
}

/// Grants to add or to take away, for example `relay,read`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GrantChange {
    /// The grants.
    pub grants: String,
}

/// Why something is taken back.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Why {
    /// The reason, for people.
    #[serde(default)]
    pub reason: Option<String>,
}
