//! Which runs are rehearsed: each operation that the policy lets an actuator of this node do and that moves it away from
//! its safe state, with parameters that the policy takes and readings by which its interlocks hold.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use toml::Table;

use crate::domain::capability::{Action, Capability, Params};
use crate::domain::policy::{Bounds, Compare, Condition, Kind, Offered, Policy, Rule};

/// A run that is rehearsed.
#[derive(Debug, Clone)]
pub(super) struct Piece {
    pub target: Capability,
    /// Everything that the actuator can do.
    pub operations: Vec<String>,
    pub operation: String,
    pub safe_state: String,
    /// The rule, by its name.
    pub rule: String,
    /// The parameters of a run as long as the policy allows, as the command line takes them.
    pub long: Vec<String>,
    /// Those of one as short as it allows, but for a second.
    pub short: Vec<String>,
    /// How long the short one lasts, in milliseconds.
    pub short_ms: u64,
    /// What its interlocks look at.
    pub readings: Vec<Watched>,
}

/// A reading that the interlocks of a rule look at.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Watched {
    pub metric: String,
    pub zone: Option<String>,
    /// A value by which all of them hold.
    pub good: f64,
    /// One by which one does not, where there is one.
    pub bad: Option<f64>,
    /// After how long without a reading it counts as silent, in milliseconds.
    pub silent_ms: u64,
}

/// An operation, or why there is nothing to rehearse.
#[derive(Debug, Clone)]
pub(super) enum Planned {
    Run(Box<Piece>),
    Not {
        target: String,
        operation: String,
        why: String,
    },
}

/// Everything that the actuators of a configuration can do under a policy.
pub(super) fn plan(offered: &[Offered], policy: &Policy) -> Vec<Planned> {
    let mut all = Vec::new();
    for actuator in offered {
        let safe: BTreeSet<&str> = policy
            .rules()
            .iter()
            .filter(|rule| rule.capability.matches(&actuator.capability))
            .map(|rule| rule.safe_state.as_str())
            .collect();
        let moves = |operation: &&String| !safe.contains(operation.as_str());
        for operation in actuator.operations.iter().filter(moves) {
            let action = Action::new(actuator.capability.clone(), operation, Params::new());
            let rule = action.ok().and_then(|action| policy.rule_for(&action));
            let planned = match rule {
                Some(_) if actuator.by_gen1 => {
                    Err("a gen-1 node acts on it, and how that ends is not this node's".to_owned())
                }
                Some(rule) if matches!(rule.kind, Kind::Held { .. }) => {
                    Err("it is held, and nobody holds anything in a rehearsal".to_owned())
                }
                Some(rule) if matches!(rule.kind, Kind::Sequence { .. }) => {
                    Err("a sequence has its name, which an actuator must not have".to_owned())
                }
                Some(rule) => piece(actuator, operation, rule),
                None => Err("no rule of the policy covers it, so it never starts".to_owned()),
            };
            all.push(match planned {
                Ok(piece) => Planned::Run(Box::new(piece)),
                Err(why) => Planned::Not {
                    target: actuator.capability.to_string(),
                    operation: operation.clone(),
                    why,
                },
            });
        }
    }
    all.extend(policy.sequences().iter().map(|sequence| Planned::Not {
        target: sequence.capability.to_string(),
        operation: sequence.operation.clone(),
        why: "each of its actuators is rehearsed alone, and not one after the other".to_owned(),
    }));
    all
}

fn piece(actuator: &Offered, operation: &str, rule: &Rule) -> Result<Piece, String> {
    if !actuator.operations.contains(&rule.safe_state) {
        return Err(format!(
            "its safe state {:?} is no operation of it",
            rule.safe_state
        ));
    }
    if let Some(safe) = actuator.safe.as_ref().filter(|s| **s != rule.safe_state) {
        return Err(format!(
            "the policy says that {:?} is its safe state, and its device is brought to {safe:?}; make them the same",
            rule.safe_state
        ));
    }
    let fixed: Params = rule
        .params
        .iter()
        .filter(|(_, param)| param.required)
        .map(|(name, param)| (name.clone(), lowest(&param.bounds)))
        .collect();
    let (mut long, mut short) = (fixed.clone(), fixed);
    let mut short_ms = rule.deadline_ms;
    if let Some(name) = &rule.duration_param
        && let Some(param) = rule.params.get(name)
        && let Some((least, most)) = seconds(&param.bounds)
    {
        let most = most.min((rule.deadline_ms / 1_000).try_into().unwrap_or(i64::MAX));
        let least = least.max(1);
        if least > most {
            return Err(format!("no value of {name} is within the deadline"));
        }
        long.insert(name.clone(), most.into());
        short.insert(name.clone(), least.into());
        short_ms = u64::try_from(least).unwrap_or_default() * 1_000;
    }
    Ok(Piece {
        target: actuator.capability.clone(),
        operations: actuator.operations.clone(),
        operation: operation.to_owned(),
        safe_state: rule.safe_state.clone(),
        rule: rule.name.clone(),
        long: words(&long),
        short: words(&short),
        short_ms,
        readings: watched(&rule.interlocks)?,
    })
}

fn words(params: &Params) -> Vec<String> {
    let word = |(name, value): (&String, &Value)| match value {
        Value::String(text) => format!("{name}={text}"),
        other => format!("{name}={other}"),
    };
    params.iter().map(word).collect()
}

fn lowest(bounds: &Bounds) -> Value {
    match bounds {
        Bounds::Integer(least, _) => (*least).into(),
        Bounds::Number(least, _) => (*least).into(),
        Bounds::Text(texts) => texts.first().cloned().unwrap_or_default().into(),
        Bounds::Boolean => false.into(),
    }
}

/// The whole seconds that a duration may have.
#[allow(clippy::cast_possible_truncation)] // a float that does not fit saturates, and the deadline bounds it
fn seconds(bounds: &Bounds) -> Option<(i64, i64)> {
    match bounds {
        Bounds::Integer(least, most) => Some((*least, *most)),
        Bounds::Number(least, most) => Some((least.ceil() as i64, most.floor() as i64)),
        Bounds::Text(_) | Bounds::Boolean => None,
    }
}

/// One reading for each metric and zone, by which all conditions on it hold.
fn watched(interlocks: &[Condition]) -> Result<Vec<Watched>, String> {
    let mut by_place: BTreeMap<(&str, Option<&str>), Vec<&Condition>> = BTreeMap::new();
    for condition in interlocks {
        let place = (condition.metric.as_str(), condition.zone.as_deref());
        by_place.entry(place).or_default().push(condition);
    }
    by_place
        .into_iter()
        .map(|((metric, zone), all)| {
            let holds = |value: &f64| all.iter().all(|c| c.compare.holds(*value, c.value));
            let near: Vec<f64> = all.iter().flat_map(|c| around(c)).collect();
            let good = near.iter().copied().find(holds).ok_or_else(|| {
                let texts: Vec<String> = all.iter().map(|c| c.text()).collect();
                format!("its interlocks exclude each other: {}", texts.join(", "))
            })?;
            Ok(Watched {
                metric: metric.to_owned(),
                zone: zone.map(str::to_owned),
                good,
                bad: near.iter().copied().find(|value| !holds(value)),
                silent_ms: all.iter().map(|c| c.max_age_ms).min().unwrap_or_default(),
            })
        })
        .collect()
}

/// Values at a limit and on both sides of it.
fn around(condition: &Condition) -> [f64; 5] {
    let limit = condition.value;
    let step = (limit.abs() / 100.0).max(0.001);
    match condition.compare {
        Compare::Gt | Compare::Ge => [limit + 1.0, limit + step, limit, limit - step, limit - 1.0],
        _ => [limit - 1.0, limit - step, limit, limit + step, limit + 1.0],
    }
}

/// The policy of a rehearsal: only this rule, with its deadline, safe state, parameters and interlocks as they are. What
/// concerns who may start it and when is left out, for a made-up operator asks and approves: level, quorum, hours, caps,
/// evidence, origins. So is what other tests of the file expect.
///
/// # Errors
/// If the text is no policy.
pub(super) fn policy_of(text: &str, rule: &str) -> Result<String, String> {
    let mut policy: Table = toml::from_str(text).map_err(|e| e.message().to_owned())?;
    policy.remove("test");
    policy.remove("sequence");
    let rules = policy.get_mut("rule").and_then(toml::Value::as_array_mut);
    let rules = rules.ok_or("the policy has no rules")?;
    rules.retain(|r| r.get("name").and_then(toml::Value::as_str) == Some(rule));
    let only = rules.first_mut().and_then(toml::Value::as_table_mut);
    let only = only.ok_or_else(|| format!("the policy has no rule {rule:?}"))?;
    for key in [
        "quorum",
        "hours",
        "caps",
        "min_evidence",
        "min_tier",
        "may_cite_nothing",
        "max_evidence_age_sec",
        "origins",
        "from",
        "condition",
    ] {
        only.remove(key);
    }
    only.insert("level".to_owned(), "L2".into());
    only.insert("min_evidence".to_owned(), 0.into());
    let person = toml::Value::Array(vec!["person".into()]);
    only.insert("requesters".to_owned(), person);
    let interlocks = only
        .get_mut("interlock")
        .and_then(toml::Value::as_array_mut);
    for interlock in interlocks.into_iter().flatten() {
        if let Some(table) = interlock.as_table_mut() {
            table.remove("origin");
        }
    }
    toml::to_string(&policy).map_err(|e| e.to_string())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;

    const POLICY: &str = r#"
version = 1
[[rule]]
name = "pump"
capability = "actuator:pump:*"
operations = ["start"]
level = "L3"
quorum = 2
requesters = ["rules"]
hours = { from = "06:00", to = "06:01" }
safe_state = "stop"
deadline_sec = 600
duration_param = "durationSec"
[rule.params.durationSec]
type = "integer"
min = 5
max = 900
required = true
[rule.params.speed]
type = "number"
min = 0.5
max = 2
required = true
[[rule.interlock]]
metric = "tank.level"
origin = "self"
op = ">"
value = 10
max_age_sec = 60
[[rule.interlock]]
metric = "tank.level"
op = "<"
value = 10.5
max_age_sec = 30
[[test]]
name = "t"
requester = "rules"
target = "actuator:pump:p"
operation = "start"
expect = "deny"
"#;

    fn offered(by_gen1: bool) -> Vec<Offered> {
        vec![Offered {
            capability: "actuator:pump:p".parse().unwrap(),
            operations: ["start", "stop", "prime"].map(str::to_owned).to_vec(),
            safe: Some("stop".to_owned()),
            by_gen1,
        }]
    }

    #[test]
    fn a_run_has_the_parameters_and_readings_that_the_policy_asks_for() {
        let policy = Policy::parse(POLICY).unwrap();
        let planned = plan(&offered(false), &policy);
        let [Planned::Run(piece), Planned::Not { operation, why, .. }] = &planned[..] else {
            panic!("{planned:?}");
        };
        assert_eq!(
            (operation.as_str(), why.contains("no rule")),
            ("prime", true)
        );
        assert_eq!(piece.long, ["durationSec=600", "speed=0.5"]);
        assert_eq!(piece.short, ["durationSec=5", "speed=0.5"]);
        assert_eq!(piece.short_ms, 5_000);
        let [tank] = &piece.readings[..] else {
            panic!("{:?}", piece.readings);
        };
        assert!(tank.good > 10.0 && tank.good < 10.5, "{tank:?}");
        assert!(
            tank.bad.is_some_and(|bad| bad <= 10.0 || bad >= 10.5),
            "{tank:?}"
        );
        assert_eq!(tank.silent_ms, 30_000);
    }

    #[test]
    fn what_cannot_start_is_said_with_the_reason() {
        let never = POLICY.replace("value = 10.5", "value = 9");
        let policy = Policy::parse(&never).unwrap();
        let planned = plan(&offered(false), &policy);
        let Some(Planned::Not { why, .. }) = planned.first() else {
            panic!("{planned:?}");
        };
        assert!(why.contains("exclude each other"), "{why}");
        let policy = Policy::parse(POLICY).unwrap();
        let planned = plan(&offered(true), &policy);
        assert!(planned.iter().all(|p| matches!(p, Planned::Not { .. })));
    }

    #[test]
    fn a_rehearsal_keeps_how_a_run_ends_and_leaves_out_who_may_start_it() {
        let kept = Policy::parse(&policy_of(POLICY, "pump").unwrap()).unwrap();
        let [rule] = kept.rules() else {
            panic!("{kept:?}");
        };
        let before = Policy::parse(POLICY).unwrap();
        let [was] = before.rules() else {
            panic!("{before:?}");
        };
        assert_eq!(
            (
                &rule.safe_state,
                rule.deadline_ms,
                &rule.params,
                &rule.operations
            ),
            (
                &was.safe_state,
                was.deadline_ms,
                &was.params,
                &was.operations
            )
        );
        assert_eq!(rule.interlocks.len(), 2);
        assert_eq!((rule.quorum, rule.hours), (1, None));
        assert!(policy_of(POLICY, "valve").is_err());
    }
}
