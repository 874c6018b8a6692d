//! Probable mistakes in a policy: rules that are never reached, a weaker rule before a stronger one,
//! operations that no actuator knows. `policy test` fails on them; a running node keeps the policy in
//! force and raises an alarm.

use serde::{Deserialize, Serialize};

use super::rule::{ANY_OPERATION, Rule};
use super::{Kind, Level, Policy, Sequence};
use crate::domain::capability::Capability;

/// One thing that is probably not meant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
pub struct Finding {
    /// The line of the policy file where the rule begins.
    pub line: usize,
    /// The rule.
    pub rule: String,
    /// Whether it is a fault; otherwise a note.
    pub fault: bool,
    /// What is the matter and what to write instead.
    pub message: String,
}

/// An actuator that the executor has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offered {
    /// Its name.
    pub capability: Capability,
    /// The operations it knows.
    pub operations: Vec<String>,
    /// The operation by which its driver brings it to its safe state, where that is known.
    pub safe: Option<String>,
    /// Whether a gen-1 node acts on it.
    pub by_gen1: bool,
}

impl Policy {
    /// Everything that is probably not meant. `offered` are this executor's actuators; empty if they
    /// are not known.
    pub fn findings(&self, offered: &[Offered]) -> Vec<Finding> {
        let mut found = Vec::new();
        for (n, rule) in self.rules.iter().enumerate() {
            let mut say = |fault: bool, message: String| {
                found.push(Finding {
                    line: rule.line,
                    rule: rule.name.clone(),
                    fault,
                    message,
                });
            };
            let earlier = self.rules.get(..n).unwrap_or_default();
            if let Some(message) = never_reached(rule, earlier) {
                say(true, message);
            } else if let Some(weaker) = earlier.iter().find(|e| weaker_before(e, rule)) {
                say(
                    true,
                    format!(
                        "the weaker rule {:?} (line {}, {}) comes before it and covers part of the same; \
                         write the stronger rule first, or make the patterns differ",
                        weaker.name, weaker.line, weaker.level
                    ),
                );
            }
            if let Some(message) = unknown_operation(rule, offered) {
                say(true, message);
            }
            if let Some(message) = another_safe_state(rule, offered) {
                say(true, message);
            }
            if let Some(message) = beyond_gen1(rule, offered) {
                say(true, message);
            }
            if let Some(message) = never_standing(rule, offered) {
                say(true, message);
            }
            if let Some(message) = never_automatic(rule, offered) {
                say(false, message);
            }
            if let Some(former) = rule.capability.former() {
                say(
                    false,
                    format!(
                        "`*` inside {:?} covers one segment and nothing behind it; everything behind it is written {former:?}",
                        rule.capability.as_str()
                    ),
                );
            }
        }
        found.extend(
            self.sequences
                .iter()
                .filter_map(|s| foreign_step(s, offered)),
        );
        found
    }

    /// What it says of the safe states of these actuators that their devices say otherwise, in one sentence each.
    pub fn other_safe_states(&self, offered: &[Offered]) -> Vec<String> {
        let each = self.rules.iter();
        each.filter_map(|rule| Some((rule, another_safe_state(rule, offered)?)))
            .map(|(rule, why)| format!("policy line {}, rule {:?}: {why}", rule.line, rule.name))
            .collect()
    }

    /// The faults in one sentence each.
    pub fn faults(&self, offered: &[Offered]) -> Vec<String> {
        self.findings(offered)
            .into_iter()
            .filter(|f| f.fault)
            .map(|f| format!("line {}, rule {:?}: {}", f.line, f.rule, f.message))
            .collect()
    }
}

/// Whether the first rule that covers this operation of everything in `rule` is another one.
fn taken<'a>(rule: &Rule, operation: &str, earlier: &'a [Rule]) -> Option<&'a Rule> {
    earlier.iter().find(|e| {
        e.capability.contains(&rule.capability)
            && (e
                .operations
                .iter()
                .any(|o| o == operation || o == ANY_OPERATION))
    })
}

fn never_reached(rule: &Rule, earlier: &[Rule]) -> Option<String> {
    let taken: Vec<(&String, &Rule)> = rule
        .operations
        .iter()
        .filter_map(|o| taken(rule, o, earlier).map(|by| (o, by)))
        .collect();
    let (operation, by) = taken.first()?;
    let what = if taken.len() == rule.operations.len() {
        "it can never be reached".to_owned()
    } else {
        format!("it is never reached for {operation:?}")
    };
    Some(format!(
        "{what}: rule {:?} (line {}) covers the same and comes first; move this rule before it or remove it",
        by.name, by.line
    ))
}

/// Whether an earlier, weaker rule takes part of what a stronger one says. An earlier rule for a
/// narrower pattern is an exception and meant.
fn weaker_before(earlier: &Rule, rule: &Rule) -> bool {
    let weaker = (earlier.level, earlier.quorum) < (rule.level, rule.quorum);
    let any = |r: &Rule| r.operations.iter().any(|o| o == ANY_OPERATION);
    let shared = any(earlier)
        || any(rule)
        || earlier
            .operations
            .iter()
            .any(|o| rule.operations.contains(o));
    let exception = rule.capability.contains(&earlier.capability);
    weaker && shared && !exception && earlier.capability.meets(&rule.capability)
}

fn covered<'a>(rule: &Rule, offered: &'a [Offered]) -> impl Iterator<Item = &'a Offered> {
    let matches = |o: &&Offered| rule.capability.matches(&o.capability);
    offered.iter().filter(matches)
}

/// A step of a sequence that this node cannot do.
fn foreign_step(sequence: &Sequence, offered: &[Offered]) -> Option<Finding> {
    let fault = |message: String| {
        Some(Finding {
            line: sequence.line,
            rule: sequence.capability.to_string(),
            fault: true,
            message,
        })
    };
    if offered.iter().any(|o| o.capability == sequence.capability) {
        return fault(
            "an actuator has the name of this sequence; call one of them otherwise".to_owned(),
        );
    }
    for (n, step) in sequence
        .steps
        .iter()
        .enumerate()
        .filter(|_| !offered.is_empty())
    {
        let (n, actuator) = (n + 1, &step.actuator);
        match offered.iter().find(|o| o.capability == *actuator) {
            None => {
                return fault(format!(
                    "step {n} moves {actuator}, which is no actuator of this node; a sequence moves its own alone, so it is refused"
                ));
            }
            Some(here) if here.by_gen1 => {
                return fault(format!(
                    "step {n} moves {actuator}, on which a gen-1 node acts; a sequence moves only what this node moves itself, so it is refused"
                ));
            }
            Some(here) if !here.operations.contains(&step.operation) => {
                return fault(format!(
                    "step {n}: {actuator} has no operation {:?}; it has {}",
                    step.operation,
                    here.operations.join(", ")
                ));
            }
            Some(_) => {}
        }
    }
    None
}

/// Features beyond gen-1 nodes.
fn beyond_gen1(rule: &Rule, offered: &[Offered]) -> Option<String> {
    let far = covered(rule, offered).find(|o| o.by_gen1);
    let first = far.filter(|_| !matches!(rule.kind, Kind::Timed | Kind::Pulse))?;
    Some(format!(
        "a gen-1 node acts on {}, which can do no {} action, so it is refused there; write timed or pulse for it",
        first.capability, rule.kind
    ))
}

/// Standing approvals that never count.
fn never_standing(rule: &Rule, offered: &[Offered]) -> Option<String> {
    let far = covered(rule, offered).find(|o| o.by_gen1);
    let first = far.filter(|_| rule.standing_approvals)?;
    Some(format!(
        "a gen-1 node acts on {}, so no standing approval counts there; leave standing_approvals out for it",
        first.capability
    ))
}

/// The part of an L1 rule that is L2 all the same.
fn never_automatic(rule: &Rule, offered: &[Offered]) -> Option<String> {
    let mut there = covered(rule, offered).filter(|o| o.by_gen1);
    let first = there.next().filter(|_| rule.level == Level::L1)?;
    Some(format!(
        "a gen-1 node acts on {}, so a person must approve there although the rule says L1; write L2 for it",
        first.capability
    ))
}

/// A safe state that is not the one the driver brings about: the actuator would not end where the rule says.
fn another_safe_state(rule: &Rule, offered: &[Offered]) -> Option<String> {
    let differs = |o: &&Offered| {
        let Some(safe) = &o.safe else { return false };
        // A rule for the safe operations of several actuators moves none of them away, unless the device has both.
        let moves = |operation: &String| {
            let both = o.operations.contains(&rule.safe_state);
            operation == ANY_OPERATION
                || (o.operations.contains(operation) && (operation != safe || both))
        };
        *safe != rule.safe_state && rule.operations.iter().any(moves)
    };
    let first = covered(rule, offered).find(differs)?;
    let safe = first.safe.as_deref().unwrap_or_default();
    Some(format!(
        "its safe state is {:?}, and {} is brought to {safe:?}, as its device says; make them the same, here or at the device",
        rule.safe_state, first.capability
    ))
}

fn unknown_operation(rule: &Rule, offered: &[Offered]) -> Option<String> {
    let covered: Vec<&Offered> = covered(rule, offered).collect();
    if covered.is_empty() {
        return None;
    }
    let knows = |operation: &String| {
        operation == ANY_OPERATION || covered.iter().any(|o| o.operations.contains(operation))
    };
    let unknown = rule
        .operations
        .iter()
        .chain([&rule.safe_state])
        .find(|o| !knows(o))?;
    let has: Vec<String> = covered
        .iter()
        .map(|o| format!("{} has {}", o.capability, o.operations.join(", ")))
        .collect();
    Some(format!(
        "no actuator that it covers knows the operation {unknown:?}: {}",
        has.join("; ")
    ))
}
