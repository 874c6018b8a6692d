//! The ruling on a sequence: its own rule, and the rule of each step's actuator as if that step were asked for alone, at
//! the moment at which it would begin. The strictest of all of them counts.

use super::lasting::duration;
use super::{Check, Denial, History, Request, Rule, Ruling, RunView, Sheet, Terms, When};
use crate::domain::base::limits::SEQUENCE_STEP_SLACK_MS;
use crate::domain::base::{Code, DeviceId};
use crate::domain::capability::Action;
use crate::domain::policy::sequence::{SAFE, Sequence, Step};
use crate::domain::policy::{Kind, Policy};
use crate::domain::world::Facts;

/// A step on its way into a record.
struct Planned<'a> {
    rule: &'a Rule,
    action: Action,
    wait_ms: u64,
    stays: bool,
    /// How long it lasts at most, in milliseconds.
    run_ms: u64,
    /// When it begins at the earliest, after the sequence does, in milliseconds.
    begins_ms: u64,
}

impl Policy {
    /// Rules on a sequence. `rule` is the rule that covers it.
    pub(super) fn sequence_ruling(
        &self,
        rule: &Rule,
        request: &Request<'_>,
        (facts, history): (&dyn Facts, &History),
        when: When,
        own: &DeviceId,
    ) -> Ruling {
        let deny = |message: String| {
            let name = &rule.name;
            Ruling::Deny(Denial {
                code: Code::PolicyDenied,
                message: format!(
                    "rule {name:?} refuses {}: {message}",
                    request.action.summary()
                ),
                rule: Some(name.clone()),
                checks: vec![Check {
                    name: "sequence".to_owned(),
                    passed: false,
                    detail: message,
                }],
            })
        };
        let Some(sequence) = self.sequence(request.action) else {
            return deny("the policy has no such sequence".to_owned());
        };
        let planned = match self.planned(sequence, request) {
            Ok(planned) => planned,
            Err(why) => return deny(why),
        };
        let total = total(&planned);
        let whole = When {
            lasts: Some(total),
            ..when
        };
        let mut terms = match self.judge(rule, request, (facts, history), whole, own) {
            Ruling::Allow(terms) => terms,
            denied @ Ruling::Deny(_) => return denied,
        };
        let mut before = history.clone();
        for (n, step) in planned.iter().enumerate() {
            let asked = Request {
                action: &step.action,
                now_set: None,
                ..*request
            };
            let then = When {
                begins: when.now.plus(step.begins_ms),
                lasts: step.stays.then_some(step.run_ms),
                ..when
            };
            let name = format!("step {}", n + 1);
            match self.judge(step.rule, &asked, (facts, &before), then, own) {
                Ruling::Allow(one) => terms = strictest(terms, one, &name),
                Ruling::Deny(denial) => {
                    let mut checks = terms.checks;
                    checks.extend(denial.checks.into_iter().map(|check| of(&name, check)));
                    return Ruling::Deny(Denial {
                        message: format!("{name}: {}", denial.message),
                        checks,
                        ..denial
                    });
                }
            }
            before.runs.push(RunView {
                rule: step.rule.name.clone(),
                target: step.action.target.as_str().to_owned(),
                operation: step.action.operation.clone(),
                started_at: when.now.plus(step.begins_ms),
                duration_ms: step.run_ms,
            });
        }
        terms.kind = Kind::Sequence {
            steps: planned.into_iter().map(Step::from).collect(),
        };
        terms.run_ms = total;
        terms.safe_state = SAFE.to_owned();
        terms.standing = Err("it is a sequence, which a person approves each time".to_owned());
        Ruling::Allow(terms)
    }

    /// The steps with the parameters that were asked for, and their times.
    fn planned(
        &self,
        sequence: &Sequence,
        request: &Request<'_>,
    ) -> Result<Vec<Planned<'_>>, String> {
        let actions = sequence.actions(&request.action.params)?;
        let mut all = Vec::new();
        for (written, action) in sequence.steps.iter().zip(actions) {
            let rule = self
                .rule_for(&action)
                .ok_or_else(|| format!("no rule of the policy covers {}", action.summary()))?;
            // What its checks find is told by the ruling on the step.
            let run_ms = duration(&mut Sheet::default(), rule, &action, false);
            all.push(Planned {
                rule,
                action,
                wait_ms: written.wait_ms,
                stays: written.stays,
                run_ms,
                begins_ms: 0,
            });
        }
        let mut at = 0_u64;
        for step in &mut all {
            at = at.saturating_add(step.wait_ms);
            step.begins_ms = at;
            if !step.stays {
                at = at.saturating_add(step.run_ms);
            }
        }
        for n in 0..all.len() {
            let later = all.get(n + 1..).map(total);
            if let (Some(step), Some(later)) = (all.get_mut(n), later)
                && step.stays
            {
                step.run_ms = later;
            }
        }
        Ok(all)
    }
}

/// How long these steps take at most. Beside their own times each has some for its driver, its write ahead and its way
/// back to the safe state.
fn total(steps: &[Planned<'_>]) -> u64 {
    let of = |step: &Planned<'_>| {
        let own = if step.stays { 0 } else { step.run_ms };
        own.saturating_add(step.wait_ms)
            .saturating_add(SEQUENCE_STEP_SLACK_MS)
    };
    steps.iter().map(of).fold(0, u64::saturating_add)
}

impl From<Planned<'_>> for Step {
    fn from(planned: Planned<'_>) -> Self {
        Self {
            pulse: planned.rule.kind == Kind::Pulse,
            safe_state: planned.rule.safe_state.clone(),
            rule: planned.rule.name.clone(),
            action: planned.action,
            wait_ms: planned.wait_ms,
            stays: planned.stays,
            run_ms: planned.run_ms,
        }
    }
}

fn of(step: &str, check: Check) -> Check {
    Check {
        name: format!("{step}, {}", check.name),
        ..check
    }
}

/// The stricter of the terms so far and those of a step.
fn strictest(mut so_far: Terms, step: Terms, name: &str) -> Terms {
    so_far.class = so_far.class.min(step.class);
    so_far.level = so_far.level.max(step.level);
    so_far.quorum = so_far.quorum.max(step.quorum);
    so_far.at_node = false;
    so_far.fresh_for_ms = so_far
        .fresh_for_ms
        .into_iter()
        .chain(step.fresh_for_ms)
        .min();
    so_far.tier = so_far.tier.into_iter().chain(step.tier).min();
    so_far.min_tier = so_far.min_tier.max(step.min_tier);
    so_far
        .checks
        .extend(step.checks.into_iter().map(|check| of(name, check)));
    so_far
}
