//! `[[alert]]` and `[alerts]`: what becomes an alert.

use std::collections::BTreeSet;

use serde::Deserialize;

use super::{ConfigError, value};
use crate::domain::alerts::rule::{AlertRule, What};
use crate::domain::base::duration::duration_ms;
use crate::domain::base::limits::{
    ALERT_NOTE_MAX_CHARS, ALERT_PEER_LOST_MS, ALERT_PROPOSAL_WAITS_MS, ALERT_RULES_MAX,
    ALERT_SPAN_MAX_MS, NAME_MAX_BYTES,
};
use crate::domain::base::text::one_line;
use crate::domain::base::{Severity, Tier};
use crate::domain::plan::rules::Comparison;
use crate::domain::policy::Origin;

/// The oldest reading that a threshold counts where nothing is said, in milliseconds.
const MAX_AGE_MS: u64 = 600_000;

/// `[[alert]]`: readings that become an alert.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawAlert {
    /// Its name.
    pub name: String,
    /// The metric that it watches.
    pub metric: String,
    /// The zone; any where absent.
    #[serde(default)]
    pub zone: Option<String>,
    /// Whose readings: `self` or a device id; anybody's where absent.
    #[serde(default)]
    pub source: Option<String>,
    /// Stands above this value.
    #[serde(default)]
    pub above: Option<f64>,
    /// Stands below this value.
    #[serde(default)]
    pub below: Option<f64>,
    /// What a reading has to come back to before it ends; the threshold where absent.
    #[serde(default)]
    pub clear: Option<f64>,
    /// Stands where no reading that is believed has come for so long.
    #[serde(default)]
    pub older_than: Option<String>,
    /// For how long that must hold first; at once where absent.
    #[serde(default, rename = "for")]
    pub for_: Option<String>,
    /// The oldest reading that a threshold counts; 10 minutes where absent.
    #[serde(default)]
    pub max_age: Option<String>,
    /// The weakest effective tier of a reading that is believed; T2 where absent.
    #[serde(default)]
    pub min_tier: Option<String>,
    /// `info`, `warning` or `critical`; warning where absent.
    #[serde(default)]
    pub severity: Option<String>,
    /// What is to be done.
    #[serde(default)]
    pub words: Option<String>,
}

/// `[alerts]`: conditions that need no rule.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawAlerts {
    /// How long a trusted device is missed before that is an alert, or `off`.
    pub peer_lost: Option<String>,
    /// How long a proposal waits before that is an alert, or `off`.
    pub proposal_waits: Option<String>,
}

/// What becomes an alert.
#[derive(Debug, Clone, PartialEq)]
pub struct Alerts {
    /// The rules.
    pub rules: Vec<AlertRule>,
    /// How long a trusted device is missed before that is an alert, in milliseconds; never where absent.
    pub peer_lost_ms: Option<u64>,
    /// How long a proposal waits before that is an alert, in milliseconds; never where absent.
    pub proposal_waits_ms: Option<u64>,
}

/// A span that a key has.
pub(super) fn span(key: &str, text: &str) -> Result<u64, String> {
    let ms = duration_ms(text).map_err(|why| format!("{key}: {why}"))?;
    match ms <= ALERT_SPAN_MAX_MS {
        true => Ok(ms),
        false => Err(format!("{key}: at most 30d")),
    }
}

/// How much something matters, as a key has it.
pub(super) fn severity(text: Option<&str>) -> Result<Severity, String> {
    match text.unwrap_or("warning") {
        "info" => Ok(Severity::Info),
        "warning" => Ok(Severity::Warning),
        "critical" => Ok(Severity::Critical),
        other => Err(format!(
            "severity: {other:?} must be info, warning or critical"
        )),
    }
}

/// A name that a table has.
pub(super) fn check_name(name: &str) -> Result<(), String> {
    check_shown("name", name)
}

/// A text of one line that messages repeat.
fn check_shown(key: &str, text: &str) -> Result<(), String> {
    let fits = !text.trim().is_empty() && text.len() <= NAME_MAX_BYTES;
    match fits && one_line(text, NAME_MAX_BYTES) == text {
        true => Ok(()),
        false => Err(format!(
            "{key}: must have 1 to {NAME_MAX_BYTES} bytes, without control characters and marks of direction"
        )),
    }
}

impl RawAlert {
    fn what(&self) -> Result<What, String> {
        let one = "give exactly one of above, below and older_than";
        let (comparison, threshold) = match (self.above, self.below, &self.older_than) {
            (Some(above), None, None) => (Comparison::Above, above),
            (None, Some(below), None) => (Comparison::Below, below),
            (None, None, Some(older)) => {
                if self.clear.is_some() || self.max_age.is_some() {
                    return Err("clear and max_age belong to above or below".to_owned());
                }
                return match span("older_than", older)? {
                    0 => Err("older_than: must be longer than 0s".to_owned()),
                    older_than_ms => Ok(What::Silent { older_than_ms }),
                };
            }
            _ => return Err(one.to_owned()),
        };
        let clear = self.clear.unwrap_or(threshold);
        let inside = match comparison {
            Comparison::Above => clear <= threshold,
            Comparison::Below => clear >= threshold,
        };
        if !(threshold.is_finite() && clear.is_finite() && inside) {
            return Err(
                "clear: must be a finite number on the good side of a finite threshold".to_owned(),
            );
        }
        let max_age = self.max_age.as_deref().map(|text| span("max_age", text));
        Ok(What::Beyond {
            comparison,
            threshold,
            clear,
            max_age_ms: max_age.transpose()?.unwrap_or(MAX_AGE_MS),
        })
    }

    fn rule(self) -> Result<AlertRule, String> {
        check_name(&self.name)?;
        check_shown("metric", &self.metric)?;
        if let Some(zone) = &self.zone {
            check_shown("zone", zone)?;
        }
        let what = self.what()?;
        let source = self.source.as_deref().map(|text| match text {
            "self" => Ok(Origin::Own),
            id => id
                .parse()
                .map(Origin::Device)
                .map_err(|e| format!("source: write self or a device id in full: {e}")),
        });
        if self
            .words
            .as_ref()
            .is_some_and(|w| w.chars().count() > ALERT_NOTE_MAX_CHARS)
        {
            return Err(format!("words: at most {ALERT_NOTE_MAX_CHARS} characters"));
        }
        let for_ms = self.for_.as_deref().map(|text| span("for", text));
        Ok(AlertRule {
            what,
            source: source.transpose()?,
            for_ms: for_ms.transpose()?.unwrap_or_default(),
            min_tier: self.min_tier.as_deref().unwrap_or("T2").parse::<Tier>()?,
            severity: severity(self.severity.as_deref())?,
            name: self.name,
            metric: self.metric,
            zone: self.zone,
            words: self.words,
        })
    }
}

fn or_off(key: &str, text: Option<&str>, usual: u64) -> Result<Option<u64>, ConfigError> {
    match text {
        None => Ok(Some(usual)),
        Some("off") => Ok(None),
        Some(text) => match span(key, text) {
            Ok(0) => Err(value(
                &format!("alerts.{key}"),
                "write \"off\" to have no such alerts",
            )),
            Ok(ms) => Ok(Some(ms)),
            Err(why) => Err(value("alerts", why)),
        },
    }
}

/// What becomes an alert, of a configuration.
///
/// # Errors
/// [`ConfigError::Value`] naming the rule or key.
pub(super) fn resolve(raw: Vec<RawAlert>, settings: &RawAlerts) -> Result<Alerts, ConfigError> {
    if raw.len() > ALERT_RULES_MAX {
        return Err(value(
            "alert",
            format!("at most {ALERT_RULES_MAX} are allowed"),
        ));
    }
    let (mut rules, mut names) = (Vec::new(), BTreeSet::new());
    for one in raw {
        let key = format!("alert {:?}", one.name);
        if !names.insert(one.name.clone()) {
            return Err(value(&key, "another one has this name"));
        }
        rules.push(one.rule().map_err(|why| value(&key, why))?);
    }
    Ok(Alerts {
        rules,
        peer_lost_ms: or_off(
            "peer_lost",
            settings.peer_lost.as_deref(),
            ALERT_PEER_LOST_MS,
        )?,
        proposal_waits_ms: or_off(
            "proposal_waits",
            settings.proposal_waits.as_deref(),
            ALERT_PROPOSAL_WAITS_MS,
        )?,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::node::RawConfig;

    fn alerts(text: &str) -> Result<Alerts, String> {
        let raw = RawConfig::parse(text, "config.toml").map_err(|e| e.to_string())?;
        let config = raw.resolve(std::path::PathBuf::new());
        config.map(|c| c.alerts).map_err(|e| e.to_string())
    }

    #[test]
    fn a_rule_is_a_threshold_or_a_silence() {
        let head = "[[alert]]\nname = 'a'\nmetric = 'temperature'\n";
        let rule = |rest: &str| alerts(&format!("{head}{rest}")).map(|all| all.rules[0].clone());
        let one = rule("above = 8\nclear = 7\nfor = '5m'\nseverity = 'critical'\nsource = 'self'")
            .unwrap();
        assert_eq!(
            (one.for_ms, one.severity, one.min_tier),
            (300_000, Severity::Critical, Tier::T2)
        );
        let silent = rule("older_than = '1h'").unwrap();
        assert_eq!(
            silent.what,
            What::Silent {
                older_than_ms: 3_600_000
            }
        );
        for (wrong, says) in [
            ("", "exactly one of above"),
            ("above = 1\nbelow = 2", "exactly one of above"),
            ("above = 1\nolder_than = '5m'", "exactly one of above"),
            ("above = 1\nclear = 2", "good side"),
            ("below = 1\nclear = 0", "good side"),
            ("above = inf", "finite"),
            ("older_than = '0s'", "longer than 0s"),
            ("older_than = '5m'\nclear = 1", "belong to above"),
            ("older_than = '5 minutes'", "no span of time"),
            ("above = 1\nfor = '31d'", "at most 30d"),
            ("above = 1\nseverity = 'bad'", "info, warning or critical"),
            ("above = 1\nsource = 'field'", "device id in full"),
            ("above = 1\nmin_tier = 'T9'", "T9"),
            ("above = 1\ncolour = 1", "colour"),
        ] {
            let error = rule(wrong).unwrap_err();
            assert!(error.contains(says), "{wrong:?}: {error}");
        }
        for (key, wrong) in [
            ("name", "name = \"a\\u202Eb\"\nmetric = 'm'"),
            ("name", "name = ' '\nmetric = 'm'"),
            ("metric", "name = 'a'\nmetric = ''"),
            ("metric", "name = 'a'\nmetric = \"m\\n\""),
            ("zone", "name = 'a'\nmetric = 'm'\nzone = ''"),
            ("zone", "name = 'a'\nmetric = 'm'\nzone = \"z\\u2066\""),
        ] {
            let error = alerts(&format!("[[alert]]\nabove = 1\n{wrong}")).unwrap_err();
            assert!(
                error.contains(&format!("{key}: must have")),
                "{wrong:?}: {error}"
            );
        }
        let twice = format!("{head}above = 1\n{head}above = 1\n");
        assert!(alerts(&twice).unwrap_err().contains("this name"));
    }

    #[test]
    fn the_conditions_without_a_rule_have_a_time_or_are_off() {
        let both = |text: &str| alerts(text).map(|a| (a.peer_lost_ms, a.proposal_waits_ms));
        assert_eq!(both("").unwrap(), (Some(300_000), Some(300_000)));
        let said = "[alerts]\npeer_lost = '90s'\nproposal_waits = 'off'";
        assert_eq!(both(said).unwrap(), (Some(90_000), None));
        for wrong in ["peer_lost = '0s'", "peer_lost = 'never'", "other = 1"] {
            assert!(both(&format!("[alerts]\n{wrong}")).is_err(), "{wrong}");
        }
    }
}
