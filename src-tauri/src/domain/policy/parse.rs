//! From the text of `policy.toml` to a validated [`Policy`]. Unknown fields are errors.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use super::kind::{RawKind, step};
use super::rule::{
    ANY_OPERATION, Bounds, Caps, Compare, Condition, Hours, Origin, ParamRule, Rule,
};
use super::scope::Scope;
use super::selftest::{RawTest, Test};
use super::sequence::{self, PREFIX, RawSequence, SAFE};
use super::{Kind, Level, Policy, Requester};
use crate::domain::base::limits::{NAME_MAX_BYTES, PARAMS_MAX, POLICY_ENTRIES_MAX, TRUST_LIST_MAX};
use crate::domain::base::text::type_in_words;
use crate::domain::base::zone::{ZONE_HELP, minute_of_day, zone_minutes};
use crate::domain::base::{DeviceId, Digest, Tier};

/// Why a text is no policy.
#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    /// It is not TOML, or has an unknown field; the message names the line.
    #[error("not a policy: {}", type_in_words(&.0.to_string()))]
    Toml(#[from] Box<toml::de::Error>),
    /// A value is out of bounds.
    #[error("{place}: {why}")]
    Value {
        /// The rule or test.
        place: String,
        /// The fault and the valid form.
        why: String,
    },
    /// Its own tests fail.
    #[error("the policy's own tests fail: {0}")]
    Tests(String),
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawPolicy {
    version: u32,
    #[serde(default)]
    rule: Vec<RawRule>,
    #[serde(default)]
    sequence: Vec<RawSequence>,
    #[serde(default)]
    test: Vec<RawTest>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRule {
    name: toml::Spanned<String>,
    capability: String,
    operations: Vec<String>,
    level: String,
    #[serde(default)]
    quorum: Option<u32>,
    #[serde(default)]
    at_node: bool,
    #[serde(default)]
    kind: Option<String>,
    #[serde(default)]
    pulse_ms: Option<u64>,
    #[serde(default)]
    lease_sec: Option<u64>,
    #[serde(default)]
    min_interval_sec: Option<u64>,
    #[serde(default)]
    deadline_sec: Option<u64>,
    #[serde(default)]
    safe_state: Option<String>,
    #[serde(default)]
    duration_param: Option<String>,
    #[serde(default)]
    min_evidence: Option<usize>,
    #[serde(default)]
    may_cite_nothing: Vec<String>,
    #[serde(default)]
    min_tier: Option<String>,
    #[serde(default)]
    max_evidence_age_sec: Option<u64>,
    #[serde(default)]
    origins: Option<Vec<String>>,
    #[serde(default)]
    requesters: Option<Vec<String>>,
    #[serde(default)]
    from: Vec<String>,
    #[serde(default)]
    params: BTreeMap<String, RawParam>,
    #[serde(default)]
    hours: Option<RawHours>,
    #[serde(default)]
    caps: RawCaps,
    #[serde(default)]
    interlock: Vec<RawCondition>,
    #[serde(default)]
    condition: Vec<RawCondition>,
    #[serde(default)]
    standing_approvals: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawParam {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    min: Option<f64>,
    #[serde(default)]
    max: Option<f64>,
    #[serde(default)]
    one_of: Option<Vec<String>>,
    #[serde(default)]
    required: bool,
    #[serde(default)]
    max_step: Option<f64>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawHours {
    from: String,
    to: String,
    #[serde(default)]
    zone: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawCaps {
    runs_per_hour: Option<u32>,
    runs_per_day: Option<u32>,
    minutes_per_day: Option<u32>,
    cooldown_sec: Option<u64>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawCondition {
    metric: String,
    #[serde(default)]
    zone: Option<String>,
    #[serde(default)]
    origin: Option<String>,
    op: String,
    value: f64,
    max_age_sec: u64,
    #[serde(default)]
    min_tier: Option<String>,
}

struct Place<'a>(&'a str);

impl Place<'_> {
    fn bad(&self, why: impl Into<String>) -> PolicyError {
        PolicyError::Value {
            place: self.0.to_owned(),
            why: why.into(),
        }
    }

    fn name(&self, field: &str, text: &str) -> Result<String, PolicyError> {
        if text.is_empty() || text.len() > NAME_MAX_BYTES || text.chars().any(char::is_control) {
            return Err(self.bad(format!(
                "{field} must be 1 to {NAME_MAX_BYTES} bytes without control characters"
            )));
        }
        Ok(text.to_owned())
    }
}

impl Policy {
    /// Reads and validates a policy without running its tests.
    ///
    /// # Errors
    /// [`PolicyError`] naming the rule and field.
    pub fn parse(text: &str) -> Result<Policy, PolicyError> {
        let raw: RawPolicy = toml::from_str(text).map_err(Box::new)?;
        let top = Place("policy");
        if raw.version != 1 {
            return Err(top.bad(format!(
                "version {} is not known; write version = 1",
                raw.version
            )));
        }
        if raw.rule.len() > POLICY_ENTRIES_MAX || raw.test.len() > POLICY_ENTRIES_MAX {
            return Err(top.bad(format!(
                "at most {POLICY_ENTRIES_MAX} rules and tests are allowed"
            )));
        }
        let rules = raw
            .rule
            .into_iter()
            .map(|raw| rule(raw, text))
            .collect::<Result<Vec<_>, _>>()?;
        let mut names = BTreeSet::new();
        if let Some(twice) = rules.iter().find(|r| !names.insert(r.name.as_str())) {
            return Err(top.bad(format!("two rules are called {:?}", twice.name)));
        }
        let sequences = sequence::read(raw.sequence, &rules, text)
            .map_err(|(place, why)| Place(&place).bad(why))?;
        let tests = raw
            .test
            .into_iter()
            .map(|t| {
                let place = format!("test {:?}", t.name);
                Test::resolve(t).map_err(|why| Place(&place).bad(why))
            })
            .collect::<Result<Vec<_>, _>>()?;
        Ok(Policy {
            digest: Digest::of(&[text.as_bytes()]),
            rules,
            sequences,
            tests,
        })
    }
}

fn rule(raw: RawRule, text: &str) -> Result<Rule, PolicyError> {
    let before = text.get(..raw.name.span().start).unwrap_or_default();
    let line = before.lines().count().max(1);
    let place = format!("rule {:?}", raw.name.get_ref());
    let at = Place(&place);
    let capability: Scope = raw
        .capability
        .parse()
        .map_err(|e| at.bad(format!("capability: {e}")))?;
    if !raw.capability.starts_with("actuator:") {
        return Err(at.bad("capability must begin with actuator:"));
    }
    let level: Level = raw.level.parse().map_err(|e: String| at.bad(e))?;
    if level == Level::L0 {
        return Err(at.bad("L0 is read-only and never moves an actuator; use L1, L2 or L3"));
    }
    let quorum = raw.quorum.unwrap_or(if level == Level::L3 { 2 } else { 1 });
    if quorum == 0 || quorum > 16 || (level == Level::L3 && quorum < 2) {
        return Err(at.bad("quorum must be from 1 to 16, and at least 2 at L3"));
    }
    if raw.at_node && (level != Level::L3 || quorum != 2) {
        return Err(at.bad("at_node goes with L3 and a quorum of 2, where the code that is shown at the node stands for one of two persons"));
    }
    let (kind, deadline_ms) = kind_of(&at, &raw)?;
    let safe_state = safe_state(&at, &raw, &kind)?;
    if raw.operations.is_empty() || raw.operations.len() > 32 {
        return Err(at.bad("operations must name 1 to 32 operations"));
    }
    if raw.params.len() > PARAMS_MAX {
        return Err(at.bad(format!("at most {PARAMS_MAX} parameters are allowed")));
    }
    let params = raw
        .params
        .into_iter()
        .map(|(name, raw)| param(&at, &name, raw).map(|p| (name, p)))
        .collect::<Result<BTreeMap<_, _>, _>>()?;
    if let Some(name) = &raw.duration_param {
        let numeric = matches!(
            params.get(name).map(|p| &p.bounds),
            Some(Bounds::Integer(..) | Bounds::Number(..))
        );
        if !numeric {
            return Err(at.bad(format!(
                "duration_param {name:?} must be a number among the rule's params"
            )));
        }
    }
    let conditions = conditions(&at, "condition", raw.condition)?;
    without_a_person(&at, level, &conditions, raw.standing_approvals, &kind)?;
    Ok(Rule {
        name: at.name("name", raw.name.get_ref())?,
        line,
        capability,
        operations: raw
            .operations
            .iter()
            .map(|o| operation(&at, o))
            .collect::<Result<_, _>>()?,
        level,
        quorum,
        at_node: raw.at_node,
        kind,
        deadline_ms,
        safe_state,
        duration_param: raw.duration_param,
        min_evidence: raw.min_evidence.unwrap_or(0).min(16),
        may_cite_nothing: may_cite_nothing(&at, &raw.may_cite_nothing)?,
        min_tier: tier(&at, raw.min_tier)?,
        max_evidence_age_ms: raw
            .max_evidence_age_sec
            .unwrap_or(300)
            .saturating_mul(1_000),
        origins: raw
            .origins
            .map(|list| {
                list.iter()
                    .map(|o| origin(&at, o))
                    .collect::<Result<Vec<_>, _>>()
            })
            .transpose()?,
        requesters: requesters(&at, raw.requesters, level)?,
        from: from(&at, &raw.from, level == Level::L1 || raw.standing_approvals)?,
        params,
        hours: raw.hours.map(|h| hours(&at, &h)).transpose()?,
        caps: Caps {
            runs_per_hour: raw.caps.runs_per_hour,
            runs_per_day: raw.caps.runs_per_day,
            minutes_per_day: raw.caps.minutes_per_day,
            cooldown_ms: raw.caps.cooldown_sec.map(|s| s.saturating_mul(1_000)),
        },
        interlocks: self::conditions(&at, "interlock", raw.interlock)?,
        conditions,
        standing_approvals: raw.standing_approvals,
    })
}

/// The operation that ends an action safely; a sequence has one for each of its actuators, in their rules.
fn safe_state(at: &Place<'_>, raw: &RawRule, kind: &Kind) -> Result<String, PolicyError> {
    let is_sequence = matches!(kind, Kind::Sequence { .. });
    match (&raw.safe_state, is_sequence) {
        (Some(_), true) => Err(at.bad(
            "a sequence ends with the safe state of each of its actuators; leave safe_state out",
        )),
        (None, true) if raw.standing_approvals => {
            Err(at.bad("a person approves a sequence each time; leave standing_approvals out"))
        }
        (None, true) if !raw.capability.starts_with(PREFIX) => Err(at.bad(format!(
            "kind = \"sequence\" goes with a capability that begins with {PREFIX}"
        ))),
        (None, true) => Ok(SAFE.to_owned()),
        (None, false) => Err(at.bad("safe_state is missing: the operation that ends it safely")),
        (Some(text), false) => at.name("safe_state", text),
    }
}

/// Requirements of a rule by which something begins without a person.
fn without_a_person(
    at: &Place<'_>,
    level: Level,
    conditions: &[Condition],
    standing_approvals: bool,
    kind: &Kind,
) -> Result<(), PolicyError> {
    let named = !conditions.is_empty() && conditions.iter().all(|c| c.origin.is_some());
    if level == Level::L1 && !named {
        return Err(at.bad(
            "L1 acts without a person: it needs at least one condition, each with its origin",
        ));
    }
    if standing_approvals && level != Level::L2 {
        return Err(at.bad(
            "standing_approvals goes with L2: L1 needs no person, and L3 needs each person's word about the very action",
        ));
    }
    if standing_approvals && !kind.may_stand() {
        return Err(at.bad(format!(
            "standing_approvals goes with kind = \"timed\" or \"pulse\"; this is {kind}, which a person approves each time"
        )));
    }
    Ok(())
}

fn kind_of(at: &Place<'_>, raw: &RawRule) -> Result<(Kind, u64), PolicyError> {
    let keys = RawKind {
        kind: raw.kind.clone(),
        pulse_ms: raw.pulse_ms,
        lease_sec: raw.lease_sec,
        min_interval_sec: raw.min_interval_sec,
        max_step: steps(at, &raw.params)?,
        deadline_sec: raw.deadline_sec,
        has_duration: raw.duration_param.is_some(),
    };
    keys.resolve().map_err(|why| at.bad(why))
}

fn may_cite_nothing(at: &Place<'_>, list: &[String]) -> Result<BTreeSet<Requester>, PolicyError> {
    list.iter()
        .map(|text| match text.parse().map_err(|e: String| at.bad(e))? {
            Requester::Rules => Err(at.bad(
                "may_cite_nothing may hold person and llm; a rule rests on the reading that made it fire",
            )),
            asker => Ok(asker),
        })
        .collect()
}

/// An operation's name, or `*` for every one; a pattern would match nothing.
fn operation(at: &Place<'_>, text: &str) -> Result<String, PolicyError> {
    if text != ANY_OPERATION && text.contains('*') {
        return Err(at.bad(format!(
            "operations: {text:?} names no operation; write each one, or \"*\" for all"
        )));
    }
    at.name("operations", text)
}

fn from(at: &Place<'_>, list: &[String], counts: bool) -> Result<BTreeSet<DeviceId>, PolicyError> {
    if !list.is_empty() && !counts {
        return Err(at.bad("from names devices whose rules may act at L1, or by standing_approvals; otherwise a person approves anyway, so leave it out"));
    }
    if list.len() > TRUST_LIST_MAX {
        return Err(at.bad(format!("from may name at most {TRUST_LIST_MAX} devices")));
    }
    list.iter()
        .map(|id| {
            id.parse()
                .map_err(|e| at.bad(format!("from must hold device ids: {e}")))
        })
        .collect()
}

fn requesters(
    at: &Place<'_>,
    raw: Option<Vec<String>>,
    level: Level,
) -> Result<BTreeSet<Requester>, PolicyError> {
    let Some(list) = raw else {
        // Without a word, L1 is for rules alone; people and models are never automatic.
        let all: &[Requester] = match level {
            Level::L1 => &[Requester::Rules],
            _ => &[Requester::Rules, Requester::Person, Requester::Llm],
        };
        return Ok(all.iter().copied().collect());
    };
    list.iter()
        .map(|r| r.parse().map_err(|e: String| at.bad(e)))
        .collect()
}

fn tier(at: &Place<'_>, raw: Option<String>) -> Result<Tier, PolicyError> {
    raw.as_deref()
        .unwrap_or("T2")
        .parse()
        .map_err(|e: String| at.bad(format!("min_tier: {e}")))
}

fn origin(at: &Place<'_>, text: &str) -> Result<Origin, PolicyError> {
    match text {
        "self" => Ok(Origin::Own),
        id => id
            .parse()
            .map(Origin::Device)
            .map_err(|e| at.bad(format!("origin must be self or a device id: {e}"))),
    }
}

/// How far parameters may go at once from the value now set.
fn steps(
    at: &Place<'_>,
    params: &BTreeMap<String, RawParam>,
) -> Result<BTreeMap<String, f64>, PolicyError> {
    let stepped = params.iter().filter_map(|(n, p)| Some((n, p, p.max_step?)));
    let stepped = stepped.map(|(name, p, by)| step(name, (&p.kind, p.required), by));
    stepped.collect::<Result<_, _>>().map_err(|why| at.bad(why))
}

fn param(at: &Place<'_>, name: &str, raw: RawParam) -> Result<ParamRule, PolicyError> {
    let bad = |why: &str| at.bad(format!("params.{name}: {why}"));
    let bounds = match (raw.kind.as_str(), raw.min, raw.max, raw.one_of) {
        ("integer" | "number", Some(min), Some(max), None)
            if min.is_finite() && max.is_finite() && min <= max =>
        {
            if raw.kind == "number" {
                Bounds::Number(min, max)
            } else {
                let whole = |n: f64| {
                    (n.fract() == 0.0 && n.abs() < 9e15)
                        .then(|| format!("{n:.0}").parse::<i64>().ok())
                };
                match (whole(min).flatten(), whole(max).flatten()) {
                    (Some(min), Some(max)) => Bounds::Integer(min, max),
                    _ => return Err(bad("min and max of an integer must be whole numbers")),
                }
            }
        }
        ("integer" | "number", ..) => {
            return Err(bad("needs min and max, min not above max, and no one_of"));
        }
        ("text", None, None, Some(list)) if !list.is_empty() && list.len() <= 64 => {
            Bounds::Text(list)
        }
        ("text", ..) => {
            return Err(bad(
                "a text needs one_of with 1 to 64 choices, and no min or max",
            ));
        }
        ("boolean", None, None, None) => Bounds::Boolean,
        _ => {
            return Err(bad(
                "type must be integer, number, text or boolean, with fitting bounds",
            ));
        }
    };
    Ok(ParamRule {
        required: raw.required,
        bounds,
    })
}

fn hours(at: &Place<'_>, raw: &RawHours) -> Result<Hours, PolicyError> {
    let zone = raw.zone.as_deref().unwrap_or("UTC");
    let Some(zone_min) = zone_minutes(zone) else {
        return Err(at.bad(format!("hours: {ZONE_HELP}")));
    };
    match (minute_of_day(&raw.from), minute_of_day(&raw.to)) {
        (Some(from_min), Some(to_min)) if from_min != to_min => Ok(Hours {
            from_min,
            to_min,
            zone_min,
        }),
        _ => Err(at.bad(
            "hours need from and to as HH:MM, and they must differ; zone says in which time zone, UTC without it",
        )),
    }
}

fn conditions(
    at: &Place<'_>,
    what: &str,
    raw: Vec<RawCondition>,
) -> Result<Vec<Condition>, PolicyError> {
    if raw.len() > 32 {
        return Err(at.bad(format!("at most 32 {what} entries are allowed")));
    }
    let one = |raw: RawCondition| {
        let compare = match raw.op.as_str() {
            "<" => Compare::Lt,
            "<=" => Compare::Le,
            ">" => Compare::Gt,
            ">=" => Compare::Ge,
            "==" => Compare::Eq,
            "!=" => Compare::Ne,
            other => {
                return Err(at.bad(format!(
                    "{what}: op {other:?} must be <, <=, >, >=, == or !="
                )));
            }
        };
        if !raw.value.is_finite() || raw.max_age_sec == 0 {
            return Err(at.bad(format!(
                "{what}: value must be finite and max_age_sec at least 1"
            )));
        }
        Ok(Condition {
            metric: at.name("metric", &raw.metric)?,
            zone: raw.zone,
            origin: raw.origin.as_deref().map(|o| origin(at, o)).transpose()?,
            compare,
            value: raw.value,
            max_age_ms: raw.max_age_sec.saturating_mul(1_000),
            min_tier: tier(at, raw.min_tier)?,
        })
    };
    raw.into_iter().map(one).collect()
}
