//! A rule, once it is parsed and valid.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde_json::Value;

use super::kind::Kind;
use super::scope::Scope;
use super::{Level, Requester};
use crate::domain::base::number::all_plain;
use crate::domain::base::zone::{clock, zone_shown};
use crate::domain::base::{DeviceId, Tier, TimeMs};
use crate::domain::capability::Action;
use crate::domain::world::Fact;

/// The word for every operation.
pub(super) const ANY_OPERATION: &str = "*";

/// One rule: what it allows, within which bounds, and who must agree.
#[derive(Debug, Clone, PartialEq)]
pub struct Rule {
    /// Its name, unique in the policy.
    pub name: String,
    /// The line of the policy file where it begins.
    pub line: usize,
    /// The actuators it covers.
    pub capability: Scope,
    /// The operations it covers; `*` covers every one.
    pub operations: Vec<String>,
    /// Who must agree.
    pub level: Level,
    /// How many distinct operators.
    pub quorum: u32,
    /// Whether the code shown at the executor stands for one of two persons.
    pub at_node: bool,
    /// How long its actions last and what ends them.
    pub kind: Kind,
    /// The longest an action may run, in milliseconds.
    pub deadline_ms: u64,
    /// The operation that ends it safely.
    pub safe_state: String,
    /// The parameter that says how long to run, in seconds.
    pub duration_param: Option<String>,
    /// How many admissible pieces of evidence are needed.
    pub min_evidence: usize,
    /// Askers whose wish may cite nothing; a person judges it then. Cited evidence must be good.
    pub may_cite_nothing: BTreeSet<Requester>,
    /// The weakest effective tier of evidence that counts.
    pub min_tier: Tier,
    /// The oldest evidence that counts, in milliseconds.
    pub max_evidence_age_ms: u64,
    /// Where evidence may come from; `None` is anywhere.
    pub origins: Option<Vec<Origin>>,
    /// Who may ask.
    pub requesters: BTreeSet<Requester>,
    /// The parameters there are; others are refused.
    pub params: BTreeMap<String, ParamRule>,
    /// Devices whose rules count like this executor's own, at L1 and for standing approvals.
    pub from: BTreeSet<DeviceId>,
    /// When it applies; `None` is always.
    pub hours: Option<Hours>,
    /// How often and how long in all.
    pub caps: Caps,
    /// Conditions that must hold when proposed and again when executed.
    pub interlocks: Vec<Condition>,
    /// Conditions that the executor itself must see to act at L1, or by a standing approval.
    pub conditions: Vec<Condition>,
    /// Whether a person's standing approval may count as their vote, at L2.
    pub standing_approvals: bool,
}

impl Rule {
    /// Whether the rule is the one for an action.
    pub fn covers(&self, action: &Action) -> bool {
        let known = |o: &String| *o == action.operation || o == ANY_OPERATION;
        self.capability.matches(&action.target) && self.operations.iter().any(known)
    }
}

/// Where evidence may come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// The executor itself.
    Own,
    /// A named device.
    Device(DeviceId),
}

impl Origin {
    /// Whether `device` is this origin; `own` is the executor.
    pub fn is(&self, device: &DeviceId, own: &DeviceId) -> bool {
        match self {
            Origin::Own => device == own,
            Origin::Device(named) => device == named,
        }
    }
}

/// Allowed values of a parameter.
#[derive(Debug, Clone, PartialEq)]
pub struct ParamRule {
    /// Whether it must be given.
    pub required: bool,
    /// Its bounds.
    pub bounds: Bounds,
}

/// The bounds of a parameter.
#[derive(Debug, Clone, PartialEq)]
pub enum Bounds {
    /// A whole number within bounds, both included.
    Integer(i64, i64),
    /// A number within bounds, both included.
    Number(f64, f64),
    /// One of these texts.
    Text(Vec<String>),
    /// True or false.
    Boolean,
}

impl Bounds {
    /// Whether a value lies within the bounds, else the expected value.
    ///
    /// # Errors
    /// The expected value.
    pub fn check(&self, value: &Value) -> Result<(), String> {
        match self {
            Bounds::Integer(min, max) => match all_plain(value.clone()).as_i64() {
                Some(n) if (*min..=*max).contains(&n) => Ok(()),
                _ => Err(format!("must be a whole number from {min} to {max}")),
            },
            Bounds::Number(min, max) => match value.as_f64() {
                Some(n) if n >= *min && n <= *max => Ok(()),
                _ => Err(format!("must be a number from {min} to {max}")),
            },
            Bounds::Text(allowed) => match value.as_str() {
                Some(t) if allowed.iter().any(|a| a == t) => Ok(()),
                _ => Err(format!("must be one of {}", allowed.join(", "))),
            },
            Bounds::Boolean if value.is_boolean() => Ok(()),
            Bounds::Boolean => Err("must be true or false".to_owned()),
        }
    }
}

/// Minutes of the day in a fixed time zone; `from` included, `to` not. `from` after `to` wraps over
/// midnight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hours {
    /// First minute of the day.
    pub from_min: u32,
    /// Minute of the day it ends.
    pub to_min: u32,
    /// How far the zone is ahead of UTC, in minutes; a fixed offset, so summer time is not followed.
    pub zone_min: i32,
}

impl fmt::Display for Hours {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (from, to) = (clock(self.from_min), clock(self.to_min));
        write!(f, "{from} to {to} {}", zone_shown(self.zone_min))
    }
}

impl Hours {
    /// Whether `now` lies within.
    pub fn contain(self, now: TimeMs) -> bool {
        let utc = i32::try_from(now.0 / 60_000 % 1_440).unwrap_or(0);
        let minute = (utc + self.zone_min).rem_euclid(1_440).unsigned_abs();
        if self.from_min <= self.to_min {
            (self.from_min..self.to_min).contains(&minute)
        } else {
            minute >= self.from_min || minute < self.to_min
        }
    }
}

/// How often and how long in all.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Caps {
    /// Most runs in the last hour.
    pub runs_per_hour: Option<u32>,
    /// Most runs in the last day.
    pub runs_per_day: Option<u32>,
    /// Most minutes of running in the last day.
    pub minutes_per_day: Option<u32>,
    /// Least time between the end of one run and the next, in milliseconds.
    pub cooldown_ms: Option<u64>,
}

/// A comparison with a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compare {
    /// Less.
    Lt,
    /// Less or equal.
    Le,
    /// Greater.
    Gt,
    /// Greater or equal.
    Ge,
    /// Equal.
    Eq,
    /// Not equal.
    Ne,
}

impl Compare {
    /// The sign as written in the policy.
    pub fn sign(self) -> &'static str {
        match self {
            Compare::Lt => "<",
            Compare::Le => "<=",
            Compare::Gt => ">",
            Compare::Ge => ">=",
            Compare::Eq => "==",
            Compare::Ne => "!=",
        }
    }

    /// Whether it holds; a value that is no number never satisfies anything.
    #[allow(clippy::float_cmp)]
    pub fn holds(self, value: f64, limit: f64) -> bool {
        if value.is_nan() {
            return false;
        }
        match self {
            Compare::Lt => value < limit,
            Compare::Le => value <= limit,
            Compare::Gt => value > limit,
            Compare::Ge => value >= limit,
            Compare::Eq => value == limit,
            Compare::Ne => value != limit,
        }
    }
}

/// Something that must hold in the world.
#[derive(Debug, Clone, PartialEq)]
pub struct Condition {
    /// The metric looked at.
    pub metric: String,
    /// The zone; any where absent.
    pub zone: Option<String>,
    /// Where the reading must come from; anywhere where absent.
    pub origin: Option<Origin>,
    /// How it compares.
    pub compare: Compare,
    /// With what.
    pub value: f64,
    /// The oldest reading that counts, in milliseconds.
    pub max_age_ms: u64,
    /// The weakest effective tier that counts.
    pub min_tier: Tier,
}

impl Condition {
    /// Whether it looks at this reading, as far as metric, zone and origin go.
    pub fn is_about(&self, fact: &Fact, own: &DeviceId) -> bool {
        self.metric == fact.metric
            && (self.zone.is_none() || self.zone == fact.zone)
            && self.origin.as_ref().is_none_or(|o| o.is(&fact.origin, own))
    }

    /// The condition in words.
    pub fn text(&self) -> String {
        let zone = self
            .zone
            .as_ref()
            .map(|z| format!(" in {z}"))
            .unwrap_or_default();
        format!(
            "{}{zone} {} {}",
            self.metric,
            self.compare.sign(),
            self.value
        )
    }
}
