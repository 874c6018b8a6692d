//! Proposals, their stories and drafts, as the door answers with them.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::domain::policy::Level;
use crate::domain::proposal::Status;

/// A proposal with its state. `id` to `evidence` are a contract with other programs.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct ProposalView {
    /// Its id.
    pub id: String,
    /// Where it stands.
    pub status: Status,
    /// Who must agree.
    pub level: Level,
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
    /// The device whose planner or model led to it, where another one's did; whom it alone vouches for does not count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schema(value_type = Option<String>))]
    pub led_by: Option<crate::domain::base::DeviceId>,
    /// That device's name, if one is known here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub led_by_name: Option<String>,
    /// The policy rule that applies.
    pub rule: String,
    /// How many distinct operators must agree.
    pub quorum: u32,
    /// Whether one of two is enough who gives the code that the executor shows at its own console.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub at_node: bool,
    /// Whether a model had a part in it.
    pub tainted: bool,
    /// How long the action lasts, in milliseconds.
    pub run_ms: u64,
    /// The operation that ends it.
    pub safe_state: String,
    /// What a gen-1 node is told that acts on it; absent where the executor does so itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gen1: Option<crate::domain::gate::Gen1Command>,
    /// How the action lasts and what ends it; absent where it is timed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<crate::domain::policy::Kind>,
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
    /// The standing approval by which it began; known at the executor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub standing: Option<StandingUseView>,
}

/// A use of a standing approval.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct StandingUseView {
    /// The standing approval.
    pub id: String,
    /// The key of whoever gave it.
    pub operator_id: String,
    /// That person's name, where known.
    #[serde(default)]
    pub name: Option<String>,
    /// Which use it was, from 1.
    #[serde(rename = "use")]
    pub number: u32,
    /// How many there may be.
    pub of: u32,
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

/// Where a draft stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum DraftState {
    /// It became a proposal.
    Proposed,
    /// It waits for an executor that cannot be reached.
    Waiting,
    /// The executor refused it.
    Refused,
    /// It waited too long.
    Expired,
}

/// What became of a draft.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct DraftView {
    /// Its id.
    pub draft_id: String,
    /// Where it stands.
    pub status: DraftState,
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
