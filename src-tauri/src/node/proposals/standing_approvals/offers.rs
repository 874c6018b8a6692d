//! For which actions of this executor standing approvals count, as its policy in force has it: what a person's client needs
//! to say what can be approved ahead of time. It decides nothing; each one is checked anew when it is given and used.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::domain::base::limits::{QUERY_MAX, STANDING_OFFERS_MAX_BYTES};
use crate::domain::capability::{Action, Capability};
use crate::domain::policy::{Bounds, ParamRule, Rule};
use crate::node::proposals::Executor;

/// What a parameter is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum ParamKind {
    /// A whole number.
    Integer,
    /// A number.
    Number,
    /// A text.
    Text,
    /// True or false.
    Boolean,
}

/// What the policy allows of a parameter.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct ParamView {
    /// What it is.
    pub is: ParamKind,
    /// Whether an action must have it.
    pub required: bool,
    /// The least, of a number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min: Option<f64>,
    /// The most, of a number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<f64>,
    /// The texts, of a text.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub values: Vec<String>,
}

impl From<&ParamRule> for ParamView {
    fn from(rule: &ParamRule) -> Self {
        let view = |is, min, max, values| Self {
            is,
            required: rule.required,
            min,
            max,
            values,
        };
        match &rule.bounds {
            // Far beyond what any device takes, numbers are shown rounded; the policy judges the exact ones.
            Bounds::Integer(min, max) => view(
                ParamKind::Integer,
                Some(*min as f64),
                Some(*max as f64),
                Vec::new(),
            ),
            Bounds::Number(min, max) => view(ParamKind::Number, Some(*min), Some(*max), Vec::new()),
            Bounds::Text(values) => view(ParamKind::Text, None, None, values.clone()),
            Bounds::Boolean => view(ParamKind::Boolean, None, None, Vec::new()),
        }
    }
}

/// An action for which standing approvals count at an executor.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct StandingOffer {
    /// The executor, a device id.
    pub executor: String,
    /// That device's name, where known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub executor_name: Option<String>,
    /// The actuator.
    pub target: String,
    /// What it does.
    pub operation: String,
    /// The rule of the policy.
    pub rule: String,
    /// The longest that one may run, in milliseconds.
    pub deadline_ms: u64,
    /// The parameter that says how long it runs, in seconds; absent where the rule alone does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration_param: Option<String>,
    /// Its parameters by name.
    pub params: BTreeMap<String, ParamView>,
}

/// Every action of this executor for which standing approvals count, as many as fit beside the list of them in one message.
pub fn offers(executor: &Executor) -> Vec<StandingOffer> {
    let policy = executor.policy.current();
    let mut all = Vec::new();
    for target in executor.guards.capabilities() {
        // A gen-1 node takes none.
        if executor.guards.gen1(&target).is_some() {
            continue;
        }
        for operation in executor.guards.operations(&target) {
            let action = Action {
                target: target.clone(),
                operation,
                params: Default::default(),
            };
            if let Some(rule) = policy.rule_for(&action).filter(|r| r.standing_approvals) {
                all.push(offer(executor, target.clone(), action.operation, rule));
            }
        }
    }
    all.truncate(QUERY_MAX);
    let mut bytes = 0_usize;
    all.retain(|offer| {
        bytes = bytes.saturating_add(json!(offer).to_string().len());
        bytes <= STANDING_OFFERS_MAX_BYTES
    });
    all
}

fn offer(executor: &Executor, target: Capability, operation: String, rule: &Rule) -> StandingOffer {
    StandingOffer {
        executor: executor.own_id().as_str().to_owned(),
        executor_name: None,
        target: target.as_str().to_owned(),
        operation,
        rule: rule.name.clone(),
        deadline_ms: rule.deadline_ms,
        duration_param: rule.duration_param.clone(),
        params: rule
            .params
            .iter()
            .map(|(n, p)| (n.clone(), p.into()))
            .collect(),
    }
}
