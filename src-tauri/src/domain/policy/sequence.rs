//! Sequences: what several actuators of this executor do one after the other, as one action. They stand in its policy, so
//! that nobody who asks for one composes it; a draft names the sequence and gives its bounded parameters.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Kind;
use super::rule::Rule;
use crate::domain::base::limits::{SEQUENCE_STEPS_MAX, SEQUENCE_WAIT_MAX_MS, SEQUENCES_MAX};
use crate::domain::base::quantity::span;
use crate::domain::capability::{Action, Capability, Params, read_params};

/// How the name of every sequence begins.
pub const PREFIX: &str = "actuator:sequence:";

/// What a record says as the safe state of a sequence: each actuator goes to its own, the last one first.
pub const SAFE: &str = "safe";

/// Whether this names a sequence, and no actuator of its own.
pub fn is_sequence(target: &Capability) -> bool {
    target.as_str().starts_with(PREFIX)
}

#[allow(clippy::trivially_copy_pass_by_ref)] // serde asks for a reference
fn is_false(value: &bool) -> bool {
    !value
}

/// One step as it stands in a record: who does what, after which pause, and how long.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Step {
    /// What its actuator does.
    pub action: Action,
    /// The pause before it, in milliseconds.
    pub wait_ms: u64,
    /// Whether it stays until every later step has ended. Otherwise its own end comes before the next step.
    pub stays: bool,
    /// The longest that it lasts, in milliseconds.
    pub run_ms: u64,
    /// Whether it is a pulse, whose time counts from when its driver is told.
    #[serde(default, skip_serializing_if = "is_false")]
    pub pulse: bool,
    /// The operation that ends it.
    pub safe_state: String,
    /// The policy rule of its actuator that allows it.
    pub rule: String,
}

impl Step {
    /// What it does and for how long, in a sentence without its number.
    pub fn in_words(&self) -> String {
        let after = match self.wait_ms {
            0 => String::new(),
            ms => format!("after {}: ", span(ms)),
        };
        let (action, safe) = (self.action.summary(), &self.safe_state);
        match (self.stays, self.pulse) {
            (true, _) => format!(
                "{after}{action}, until the later steps have ended ({} at most), then {safe}",
                span(self.run_ms)
            ),
            (false, true) => {
                format!(
                    "{after}{action} for a pulse of {} ms, then {safe}",
                    self.run_ms
                )
            }
            (false, false) => format!("{after}{action} for {}, then {safe}", span(self.run_ms)),
        }
    }
}

/// A sequence of the policy.
#[derive(Debug, Clone, PartialEq)]
pub struct Sequence {
    /// The line of the policy file where it begins.
    pub line: usize,
    /// Its name, by which it is asked for.
    pub capability: Capability,
    /// The operation that begins it.
    pub operation: String,
    /// Its steps, in order.
    pub steps: Vec<Written>,
}

/// One step as the policy says it.
#[derive(Debug, Clone, PartialEq)]
pub struct Written {
    /// The actuator.
    pub actuator: Capability,
    /// What it does.
    pub operation: String,
    /// With which parameters: values, or the names of parameters of the sequence.
    pub params: BTreeMap<String, Given>,
    /// The pause before it, in milliseconds.
    pub wait_ms: u64,
    /// See [`Step::stays`].
    pub stays: bool,
}

/// The value of a parameter of a step.
#[derive(Debug, Clone, PartialEq)]
pub enum Given {
    /// This one.
    Value(Value),
    /// That of a parameter of the sequence.
    Of(String),
}

impl fmt::Display for Given {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Given::Value(Value::String(text)) => f.write_str(text),
            Given::Value(value) => write!(f, "{value}"),
            Given::Of(name) => write!(f, "${name}"),
        }
    }
}

impl Written {
    /// The action of this step, with the parameters that were asked for.
    ///
    /// # Errors
    /// Why it is no action.
    pub(super) fn action(&self, asked: &Params) -> Result<Action, String> {
        let params = self.params.iter().filter_map(|(name, given)| {
            let value = match given {
                Given::Value(value) => value.clone(),
                Given::Of(of) => asked.get(of)?.clone(),
            };
            Some((name.clone(), value))
        });
        Action::new(self.actuator.clone(), &self.operation, params.collect())
            .map_err(|e| e.to_string())
    }
}

impl Sequence {
    /// Whether it is what an action asks for.
    pub fn is(&self, action: &Action) -> bool {
        self.capability == action.target && self.operation == action.operation
    }

    /// The actions of its steps, with the parameters that were asked for.
    ///
    /// # Errors
    /// Why one is no action.
    pub(super) fn actions(&self, asked: &Params) -> Result<Vec<Action>, String> {
        self.steps.iter().map(|step| step.action(asked)).collect()
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawSequence {
    pub(super) capability: toml::Spanned<String>,
    operation: String,
    #[serde(default)]
    step: Vec<RawStep>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawStep {
    actuator: String,
    operation: String,
    #[serde(default, deserialize_with = "read_params")]
    params: Params,
    #[serde(default)]
    wait_ms: u64,
    until: String,
}

/// Reads the sequences of a policy against its rules.
///
/// # Errors
/// The place, the fault and the valid form.
pub(super) fn read(
    raw: Vec<RawSequence>,
    rules: &[Rule],
    text: &str,
) -> Result<Vec<Sequence>, (String, String)> {
    if raw.len() > SEQUENCES_MAX {
        let why = format!("at most {SEQUENCES_MAX} sequences are allowed");
        return Err(("policy".to_owned(), why));
    }
    let mut all: Vec<Sequence> = Vec::new();
    for raw in raw {
        let place = format!("sequence {:?}", raw.capability.get_ref());
        let sequence = one(raw, rules, text).map_err(|why| (place.clone(), why))?;
        let twice =
            |s: &Sequence| s.capability == sequence.capability && s.operation == sequence.operation;
        if let Some(other) = all.iter().find(|s| twice(s)) {
            let why = format!("line {} has one of the same name already", other.line);
            return Err((place, why));
        }
        all.push(sequence);
    }
    Ok(all)
}

fn one(raw: RawSequence, rules: &[Rule], text: &str) -> Result<Sequence, String> {
    let before = text.get(..raw.capability.span().start).unwrap_or_default();
    let line = before.lines().count().max(1);
    let capability: Capability = raw
        .capability
        .get_ref()
        .parse()
        .map_err(|e| format!("capability: {e}"))?;
    if !is_sequence(&capability) {
        return Err(format!("capability must begin with {PREFIX}"));
    }
    let action = Action::new(capability.clone(), &raw.operation, Params::new())
        .map_err(|e| e.to_string())?;
    let rule = rules.iter().find(|r| r.covers(&action)).ok_or_else(|| {
        format!("no rule covers it; write one with kind = \"sequence\" for {capability}")
    })?;
    if !matches!(rule.kind, Kind::Sequence { .. }) {
        return Err(format!(
            "the first rule that covers it, {:?}, is {}; write one with kind = \"sequence\" before it",
            rule.name, rule.kind
        ));
    }
    if raw.operation == SAFE {
        return Err(format!("operation {SAFE:?} is the word for its end"));
    }
    if !(1..=SEQUENCE_STEPS_MAX).contains(&raw.step.len()) {
        return Err(format!("it must have 1 to {SEQUENCE_STEPS_MAX} steps"));
    }
    let steps = raw.step.into_iter().enumerate();
    let steps = steps
        .map(|(n, raw)| step(raw, rule, rules).map_err(|why| format!("step {}: {why}", n + 1)));
    let steps = steps.collect::<Result<Vec<Written>, _>>()?;
    if steps.last().is_some_and(|last| last.stays) {
        return Err(
            "nothing comes after the last step, so write until = \"done\" for it".to_owned(),
        );
    }
    for (n, step) in steps.iter().enumerate().filter(|(_, s)| s.stays) {
        let later = steps
            .iter()
            .skip(n + 1)
            .position(|s| s.actuator == step.actuator);
        if let Some(later) = later {
            return Err(format!(
                "step {} moves {}, which step {} leaves where it is until the end",
                n + later + 2,
                step.actuator,
                n + 1
            ));
        }
    }
    Ok(Sequence {
        line,
        capability,
        operation: raw.operation,
        steps,
    })
}

fn step(raw: RawStep, whole: &Rule, rules: &[Rule]) -> Result<Written, String> {
    let actuator: Capability = raw.actuator.parse().map_err(|e| format!("actuator: {e}"))?;
    if is_sequence(&actuator) {
        return Err("a sequence is no step of another; write its steps here".to_owned());
    }
    if !actuator.is_actuator() {
        return Err("actuator must begin with actuator:".to_owned());
    }
    let action = Action::new(actuator.clone(), &raw.operation, raw.params.clone())
        .map_err(|e| e.to_string())?;
    let Some(rule) = rules.iter().find(|r| r.covers(&action)) else {
        return Err(format!(
            "no rule covers {:?} on {actuator}; a step is allowed by the rule of its own actuator",
            raw.operation
        ));
    };
    match &rule.kind {
        Kind::Timed | Kind::Pulse | Kind::Set { .. } => {}
        kind @ (Kind::Held { .. } | Kind::Sequence { .. }) => {
            return Err(format!(
                "rule {:?} says that it is {kind}; a step is timed, pulse or set",
                rule.name
            ));
        }
    }
    if rule.safe_state == raw.operation {
        return Err(format!(
            "{:?} is the safe state of {actuator}, in which it is when the sequence begins and to which it goes by itself",
            raw.operation
        ));
    }
    let stays = match raw.until.as_str() {
        "done" => false,
        "end" => true,
        other => {
            return Err(format!(
                "until {other:?} must be \"done\" (its own end comes before the next step) or \"end\" (it stays until the later steps have ended)"
            ));
        }
    };
    if stays && rule.kind == Kind::Pulse {
        return Err("a pulse ends by itself; write until = \"done\"".to_owned());
    }
    if raw.wait_ms > SEQUENCE_WAIT_MAX_MS {
        return Err(format!("wait_ms must be at most {SEQUENCE_WAIT_MAX_MS}"));
    }
    Ok(Written {
        params: params(raw.params, whole)?,
        actuator,
        operation: raw.operation,
        wait_ms: raw.wait_ms,
        stays,
    })
}

fn params(raw: Params, whole: &Rule) -> Result<BTreeMap<String, Given>, String> {
    let given = |value: Value| match value.as_str().and_then(|text| text.strip_prefix('$')) {
        None => Ok(Given::Value(value)),
        Some(name) if whole.params.contains_key(name) => Ok(Given::Of(name.to_owned())),
        Some(name) => Err(format!(
            "${name} is no parameter of the sequence; name it in [rule.params.{name}] of rule {:?}",
            whole.name
        )),
    };
    raw.into_iter()
        .map(|(name, value)| Ok((name, given(value)?)))
        .collect()
}

#[cfg(test)]
mod tests;
