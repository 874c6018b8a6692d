//! The executor's policy: plain data from `policy.toml`, evaluated without IO, clock or randomness.
//!
//! Deny by default: what no rule names is refused. The level comes from here and from nowhere else
//! (invariant I4); a model's wish never gets less than L2 (invariant I1). A policy carries its own
//! tests and is refused when they fail.

mod evaluate;
mod kind;
mod level;
mod lint;
mod parse;
mod rule;
mod scope;
mod selftest;
pub mod sequence;
mod starter;

pub use evaluate::{
    Check, Denial, EvidenceView, History, PRIVATE_VALUE, Phase, Request, Ruling, RunView, Terms,
};
pub use kind::Kind;
pub use level::{Class, Level, Requester};
pub use lint::{Finding, Offered};
pub use parse::PolicyError;
pub use rule::{Bounds, Compare, Condition, Hours, Origin, ParamRule, Rule};
pub use selftest::TestResult;
pub use sequence::{Sequence, Step};
pub use starter::STARTER_POLICY;

use std::collections::BTreeSet;

use super::base::{DeviceId, Digest};
use super::capability::Action;
use super::world::Fact;

/// A validated policy.
#[derive(Debug, Clone, PartialEq)]
pub struct Policy {
    digest: Digest,
    rules: Vec<Rule>,
    sequences: Vec<Sequence>,
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
            sequences: Vec::new(),
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

    /// The rule that decides about an action.
    pub fn rule_for(&self, action: &Action) -> Option<&Rule> {
        self.rules.iter().find(|r| r.covers(action))
    }

    /// Its sequences.
    pub fn sequences(&self) -> &[Sequence] {
        &self.sequences
    }

    /// The sequence that an action asks for.
    pub fn sequence(&self, action: &Action) -> Option<&Sequence> {
        self.sequences.iter().find(|s| s.is(action))
    }

    /// What an action moves, each with the rule that decides about it: itself, and the steps of a sequence. What no rule
    /// covers, and a step that is no action with these parameters, is left out.
    pub fn moves(&self, action: &Action) -> Vec<(&Rule, Action)> {
        let steps = self.sequence(action);
        let steps = steps
            .map(|sequence| &sequence.steps[..])
            .unwrap_or_default();
        let steps = steps.iter().filter_map(|s| s.action(&action.params).ok());
        let all = std::iter::once(action.clone()).chain(steps);
        all.filter_map(|action| Some((self.rule_for(&action)?, action)))
            .collect()
    }

    /// Every metric that any rule looks at: all that a decision needs to read.
    pub fn metrics(&self) -> BTreeSet<String> {
        let of = |r: &Rule| -> Vec<String> {
            let all = r.interlocks.iter().chain(&r.conditions);
            all.map(|c| c.metric.clone()).collect()
        };
        self.rules.iter().flat_map(of).collect()
    }

    /// Whether the first rule for an action, or for a step of it, looks at a reading: `Some(true)` if it is for an L1
    /// condition, a reason to act; `Some(false)` if only for an interlock, which is none.
    pub fn looks_at(&self, action: &Action, fact: &Fact, own: &DeviceId) -> Option<bool> {
        let moves = self.moves(action);
        let one = |list: &[Condition]| list.iter().any(|c| c.is_about(fact, own));
        if moves.iter().any(|(rule, _)| one(&rule.conditions)) {
            return Some(true);
        }
        let interlock = moves.iter().any(|(rule, _)| one(&rule.interlocks));
        interlock.then_some(false)
    }
}

#[cfg(test)]
mod tests;
