//! The policy in force and what it says, as the door answers with it.

use serde::{Deserialize, Serialize};

use crate::domain::base::TierName;
use crate::domain::policy::Level;

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
    pub level: Level,
    /// How many distinct operators must agree.
    pub quorum: u32,
    /// Whether one of two is enough who gives the code that the executor shows at its own console.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub at_node: bool,
    /// How its actions last and what ends them; absent where they are timed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<crate::domain::policy::Kind>,
    /// The longest an action may last, in milliseconds.
    pub deadline_ms: u64,
    /// The operation that ends an action.
    pub safe_state: String,
    /// The weakest effective tier it takes as evidence.
    pub min_tier: TierName,
    /// How old evidence may be, in milliseconds.
    pub max_evidence_age_ms: u64,
    /// What must hold before and while acting.
    pub interlocks: Vec<String>,
    /// What the executor itself must see.
    pub conditions: Vec<String>,
    /// The hours in which it applies, with their time zone; absent where always.
    #[serde(default)]
    pub hours: Option<String>,
    /// Devices whose rules count like this executor's own, at L1 and for standing approvals.
    #[serde(default)]
    pub from: Vec<String>,
    /// Whether a person's standing approval may count as their vote.
    #[serde(default)]
    pub standing_approvals: bool,
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
    pub level: Option<Level>,
    /// Every check, passed and failed.
    pub checks: Vec<crate::domain::policy::Check>,
}
