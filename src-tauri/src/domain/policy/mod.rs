//! The executor's policy: plain data from `policy.toml`, evaluated without IO, clock or randomness.
//!
//! Deny by default: what no rule names is refused. The level comes from here and from nowhere else
//! (invariant I4); a model's wish never gets less than L2 (invariant I1). A policy carries its own
//! tests and is refused when they fail.

mod evaluate;
mod level;
mod lint;
mod parse;
mod rule;
mod scope;
mod selftest;
mod starter;

pub use evaluate::{Check, Denial, EvidenceView, History, Phase, Request, Ruling, RunView, Terms};
pub use level::{Class, Level, Requester};
pub use lint::{Finding, Offered};
pub use parse::PolicyError;
pub use rule::{Compare, Condition, Hours, Origin, ParamRule, Rule};
pub use selftest::TestResult;
pub use starter::STARTER_POLICY;

use std::collections::BTreeMap;

use super::base::Digest;
use super::capability::Action;

/// A validated policy.
#[derive(Debug, Clone, PartialEq)]
pub struct Policy {
    digest: Digest,
    rules: Vec<Rule>,
    tests: Vec<selftest::Test>,
}

/// Reads, validates and tests a policy.
///
/// # Errors
/// [`PolicyError`] naming the rule and field, or every test that fails and why.
pub fn load(text: &str) -> Result<Policy, PolicyError> {
    let policy = Policy::parse(text)?;
    let failed: Vec<String> = policy
        .run_tests()
        .into_iter()
        .filter(|t| !t.passed)
        .map(|t| format!("test {:?}: {}", t.name, t.detail))
        .collect();
    if failed.is_empty() {
        Ok(policy)
    } else {
        Err(PolicyError::Tests(failed.join("; ")))
    }
}

impl Policy {
    /// The policy that allows nothing.
    pub fn deny_all() -> Self {
        Self {
            digest: Digest::of(&[b""]),
            rules: Vec::new(),
            tests: Vec::new(),
        }
    }

    /// The digest of the exact text it was read from.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// Its rules, in the order they are asked.
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// The metrics that the first rule for an action looks at, each with whether it is an L1
    /// condition: a reason to act. What only an interlock looks at is none.
    pub fn metrics_for(&self, action: &Action) -> BTreeMap<String, bool> {
        let rule = self.rules.iter().find(|r| r.covers(action));
        let mut metrics = BTreeMap::new();
        if let Some(rule) = rule {
            metrics.extend(rule.interlocks.iter().map(|c| (c.metric.clone(), false)));
            metrics.extend(rule.conditions.iter().map(|c| (c.metric.clone(), true)));
        }
        metrics
    }
}

#[cfg(test)]
mod tests;
