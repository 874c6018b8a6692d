//! Rules of the embedded planner as the configuration writes them.

use serde::Deserialize;

use super::{ConfigError, value};
use crate::domain::base::Tier;
use crate::domain::base::limits::NAME_MAX_BYTES;
use crate::domain::base::zone::{ZONE_HELP, zone_minutes};
use crate::domain::capability::{Action, Capability, Params, read_params};
use crate::domain::plan::cron::Cron;
use crate::domain::plan::rules::{Comparison, Rule, Watch, When};

/// `[[rule]]`: a threshold or a schedule of the embedded planner.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawRule {
    /// Its name.
    pub name: String,
    /// The times at which it asks, as a cron expression.
    #[serde(default)]
    pub at: Option<RawAt>,
    /// The metric it watches.
    #[serde(default)]
    pub metric: Option<String>,
    /// The zone; any where absent.
    #[serde(default)]
    pub zone: Option<String>,
    /// Fires below this value.
    #[serde(default)]
    pub below: Option<f64>,
    /// Fires above this value.
    #[serde(default)]
    pub above: Option<f64>,
    /// The weakest effective tier it reacts to; T2 where absent.
    #[serde(default)]
    pub min_tier: Option<String>,
    /// The oldest reading it reacts to, in seconds; 60 where absent.
    #[serde(default)]
    pub max_age_sec: Option<u64>,
    /// How long it stays quiet after firing, in seconds; 300 where absent.
    #[serde(default)]
    pub cooldown_sec: Option<u64>,
    /// The executor it asks, by name or id; where absent the one that the reading comes from.
    #[serde(default)]
    pub executor: Option<String>,
    /// The actuator it asks for.
    pub target: String,
    /// The operation it asks for.
    pub operation: String,
    /// With which parameters.
    #[serde(default, deserialize_with = "read_params")]
    pub params: Params,
}

/// Times of a schedule: a cron expression in UTC, or one with its time zone.
#[derive(Debug, Clone, Deserialize)]
#[serde(
    untagged,
    expecting = "at must be a cron expression such as \"0 6 * * *\", or { cron = \"0 6 * * *\", zone = \"+02:00\" }"
)]
pub enum RawAt {
    /// In UTC.
    Utc(String),
    /// In a zone.
    In(RawZoned),
}

/// A cron expression with its time zone.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawZoned {
    /// The expression.
    pub cron: String,
    /// The zone as a policy's `hours` have it: UTC or an offset.
    pub zone: String,
}

impl RawAt {
    pub(super) fn resolve(&self) -> Result<Cron, String> {
        let (text, zone) = match self {
            RawAt::Utc(text) => (text, "UTC"),
            RawAt::In(zoned) => (&zoned.cron, zoned.zone.as_str()),
        };
        let zone = zone_minutes(zone).ok_or_else(|| format!("at: {ZONE_HELP}"))?;
        Cron::parse(text, zone).map_err(|why| format!("at: {why}"))
    }
}

/// The members of a threshold, as a table of the configuration has them.
pub(super) struct RawWatch<'a> {
    pub(super) metric: Option<&'a str>,
    pub(super) zone: Option<&'a str>,
    pub(super) below: Option<f64>,
    pub(super) above: Option<f64>,
    pub(super) min_tier: Option<&'a str>,
    pub(super) max_age_sec: Option<u64>,
    pub(super) cooldown_sec: Option<u64>,
}

impl RawWatch<'_> {
    /// The members that stand there; they mean something together alone.
    pub(super) fn given(&self) -> Vec<&'static str> {
        let given = [
            ("metric", self.metric.is_some()),
            ("zone", self.zone.is_some()),
            ("below", self.below.is_some()),
            ("above", self.above.is_some()),
            ("min_tier", self.min_tier.is_some()),
            ("max_age_sec", self.max_age_sec.is_some()),
            ("cooldown_sec", self.cooldown_sec.is_some()),
        ];
        let given = given.into_iter().filter(|(_, there)| *there);
        given.map(|(name, _)| name).collect()
    }

    pub(super) fn resolve(self) -> Result<Watch, String> {
        let (comparison, threshold) = match (self.below, self.above) {
            (Some(below), None) => (Comparison::Below, below),
            (None, Some(above)) => (Comparison::Above, above),
            _ => return Err("give exactly one of below and above".to_owned()),
        };
        if !threshold.is_finite() {
            return Err("needs a finite threshold".to_owned());
        }
        let metric = self.metric.ok_or("below and above need a metric")?;
        Ok(Watch {
            metric: metric.to_owned(),
            zone: self.zone.map(str::to_owned),
            comparison,
            threshold,
            min_tier: self.min_tier.unwrap_or("T2").parse::<Tier>()?,
            max_age_ms: self.max_age_sec.unwrap_or(60).saturating_mul(1_000),
            cooldown_ms: self.cooldown_sec.unwrap_or(300).saturating_mul(1_000),
        })
    }
}

impl RawRule {
    fn when(&self) -> Result<When, String> {
        let watch = RawWatch {
            metric: self.metric.as_deref(),
            zone: self.zone.as_deref(),
            below: self.below,
            above: self.above,
            min_tier: self.min_tier.as_deref(),
            max_age_sec: self.max_age_sec,
            cooldown_sec: self.cooldown_sec,
        };
        let Some(at) = &self.at else {
            if self.below.is_none() && self.above.is_none() {
                return Err("give exactly one of below, above and at".to_owned());
            }
            return watch.resolve().map(When::Beyond);
        };
        match watch.given().as_slice() {
            [] => at.resolve().map(When::At),
            given => Err(format!(
                "give exactly one of below, above and at: a schedule has no {}",
                given.join(", ")
            )),
        }
    }

    /// The rule.
    ///
    /// # Errors
    /// [`ConfigError::Value`] naming the rule.
    pub(super) fn resolve(self) -> Result<Rule, ConfigError> {
        let key = format!("rule {:?}", self.name);
        let bad = |why: String| value(&key, why);
        if self.name.is_empty() || self.name.len() > NAME_MAX_BYTES {
            return Err(bad("needs a name of 1 to 128 bytes".into()));
        }
        let when = self.when().map_err(&bad)?;
        let target: Capability = self
            .target
            .parse()
            .map_err(|e| bad(format!("target: {e}")))?;
        Ok(Rule {
            when,
            action: Action::new(target, &self.operation, self.params)
                .map_err(|e| bad(e.to_string()))?,
            executor: self.executor,
            name: self.name,
        })
    }
}

/// The rules of a configuration. Schedules are told apart by their names: what was asked for is remembered by them.
///
/// # Errors
/// As [`RawRule::resolve`], and for two schedules of one name.
pub(super) fn resolve(raw: Vec<RawRule>) -> Result<Vec<Rule>, ConfigError> {
    let rules = raw.into_iter().map(RawRule::resolve);
    let rules = rules.collect::<Result<Vec<_>, _>>()?;
    let mut names = std::collections::BTreeSet::new();
    for rule in rules.iter().filter(|r| r.schedule().is_some()) {
        if !names.insert(&rule.name) {
            let key = format!("rule {:?}", rule.name);
            return Err(value(&key, "another schedule has this name"));
        }
    }
    Ok(rules)
}

/// The rule a planner starts with where the configuration has none: dry soil asks for water.
pub(super) fn default_rule() -> Result<Rule, ConfigError> {
    RawRule {
        name: "dry soil".into(),
        at: None,
        metric: Some("moisture".into()),
        zone: None,
        below: Some(25.0),
        above: None,
        min_tier: None,
        max_age_sec: None,
        cooldown_sec: Some(60),
        executor: None,
        target: "actuator:mock:valve-1".into(),
        operation: "open".into(),
        params: Params::from([("durationSec".to_owned(), 10.into())]),
    }
    .resolve()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;

    fn rule(lines: &str) -> Result<Rule, String> {
        let text =
            format!("name = 'x'\ntarget = 'actuator:mock:valve-1'\noperation = 'open'\n{lines}");
        let raw: RawRule = toml::from_str(&text).map_err(|e| e.to_string())?;
        raw.resolve().map_err(|e| e.to_string())
    }

    #[test]
    fn a_rule_has_a_threshold_or_a_schedule() {
        let at = |lines: &str| rule(lines).unwrap().schedule().unwrap().to_string();
        assert_eq!(at("at = '0 6 * * *'"), "0 6 * * * UTC");
        assert_eq!(
            at("at = { cron = '0 6 * * *', zone = '+02:00' }"),
            "0 6 * * * UTC+02:00"
        );
        let watch = rule("metric = 'moisture'\nbelow = 25").unwrap();
        assert_eq!(watch.watch().unwrap().max_age_ms, 60_000);
        for (wrong, says) in [
            ("", "exactly one of below, above and at"),
            ("metric = 'moisture'", "exactly one of below, above and at"),
            ("below = 25", "need a metric"),
            ("metric = 'a'\nbelow = 1\nabove = 2", "exactly one of below"),
            (
                "at = '0 6 * * *'\nmetric = 'a'\nbelow = 1",
                "a schedule has no metric, below",
            ),
            (
                "at = '0 6 * * *'\ncooldown_sec = 5",
                "a schedule has no cooldown_sec",
            ),
            ("at = '6 o clock'", "five fields"),
            ("at = '0 0 30 2 *'", "never comes"),
            ("at = 6", "at must be a cron expression"),
            (
                "at = { cron = '0 6 * * *', zone = 'Europe/Berlin' }",
                "names of zones are not known",
            ),
            (
                "at = { cron = '0 6 * * *', place = 'x' }",
                "at must be a cron expression",
            ),
        ] {
            let error = rule(wrong).unwrap_err();
            assert!(error.contains(says), "{wrong:?}: {error}");
        }
        let twice = |name: &str| {
            let raw = format!(
                "name = '{name}'\ntarget = 'actuator:a'\noperation = 'on'\nat = '0 6 * * *'"
            );
            toml::from_str::<RawRule>(&raw).unwrap()
        };
        assert!(resolve(vec![twice("a"), twice("b")]).is_ok());
        assert!(resolve(vec![twice("a"), twice("a")]).is_err());
    }
}
