//! Standing questions as the configuration writes them.

use std::collections::BTreeSet;

use serde::Deserialize;

use super::rules::{RawAt, RawWatch};
use super::{ConfigError, value};
use crate::domain::base::limits::{
    NAME_MAX_BYTES, QUESTION_MAX_CHARS, STANDING_EVERY_MAX_MIN, STANDING_MAX,
};
use crate::domain::plan::standing::{Ask, Standing};

/// `[[question]]`: what the planner's model is asked without a person.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawQuestion {
    /// Its name, which stands for who asks.
    pub name: String,
    /// The question.
    pub text: String,
    /// The times at which it is asked, as a cron expression.
    #[serde(default)]
    pub at: Option<RawAt>,
    /// After how many minutes it is asked again, if the situation has changed.
    #[serde(default)]
    pub every_min: Option<u64>,
    /// The metric whose readings make it be asked.
    #[serde(default)]
    pub metric: Option<String>,
    /// The zone; any where absent.
    #[serde(default)]
    pub zone: Option<String>,
    /// Asked below this value.
    #[serde(default)]
    pub below: Option<f64>,
    /// Asked above this value.
    #[serde(default)]
    pub above: Option<f64>,
    /// The weakest effective tier it reacts to; T2 where absent.
    #[serde(default)]
    pub min_tier: Option<String>,
    /// The oldest reading it reacts to, in seconds; 60 where absent.
    #[serde(default)]
    pub max_age_sec: Option<u64>,
    /// How long it stays quiet after it was asked, in seconds; 300 where absent.
    #[serde(default)]
    pub cooldown_sec: Option<u64>,
    /// Whether only models that may see private data are asked.
    #[serde(default)]
    pub private: bool,
    /// Whether the model may ask for an action; it may where nothing is said.
    #[serde(default)]
    pub propose: Option<bool>,
}

impl RawQuestion {
    fn ask(&self) -> Result<Ask, String> {
        let watch = RawWatch {
            metric: self.metric.as_deref(),
            zone: self.zone.as_deref(),
            below: self.below,
            above: self.above,
            min_tier: self.min_tier.as_deref(),
            max_age_sec: self.max_age_sec,
            cooldown_sec: self.cooldown_sec,
        };
        match (&self.at, self.every_min, watch.given().is_empty()) {
            (Some(at), None, true) => at.resolve().map(Ask::At),
            (None, Some(every), true) if (1..=STANDING_EVERY_MAX_MIN).contains(&every) => {
                Ok(Ask::Every(every * 60_000))
            }
            (None, Some(_), true) => Err(format!(
                "every_min must be from 1 to {STANDING_EVERY_MAX_MIN}"
            )),
            (None, None, false) => watch.resolve().map(Ask::Beyond),
            _ => {
                Err("give exactly one of at, every_min, and metric with below or above".to_owned())
            }
        }
    }

    fn resolve(self) -> Result<Standing, ConfigError> {
        let key = format!("question {:?}", self.name);
        let bad = |why: String| value(&key, why);
        let named = !self.name.is_empty() && self.name.len() <= NAME_MAX_BYTES;
        if !named || self.name.chars().any(char::is_control) {
            return Err(bad(
                "needs a name of 1 to 128 bytes without control characters".to_owned(),
            ));
        }
        let text = self.text.trim();
        if text.is_empty() || text.chars().count() > QUESTION_MAX_CHARS {
            return Err(bad(format!(
                "text has 1 to {QUESTION_MAX_CHARS} characters"
            )));
        }
        Ok(Standing {
            ask: self.ask().map_err(&bad)?,
            text: text.to_owned(),
            private: self.private,
            propose: self.propose.unwrap_or(true),
            name: self.name,
        })
    }
}

/// The standing questions of a configuration.
///
/// # Errors
/// [`ConfigError::Value`] naming the question.
pub(super) fn resolve(raw: Vec<RawQuestion>) -> Result<Vec<Standing>, ConfigError> {
    if raw.len() > STANDING_MAX {
        let why = format!("at most {STANDING_MAX} are allowed");
        return Err(value("question", why));
    }
    let all = raw.into_iter().map(RawQuestion::resolve);
    let all = all.collect::<Result<Vec<_>, _>>()?;
    let mut names = BTreeSet::new();
    match all.iter().find(|q| !names.insert(&q.name)) {
        None => Ok(all),
        Some(twice) => {
            let key = format!("question {:?}", twice.name);
            Err(value(&key, "another question has this name"))
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;

    fn read(lines: &str) -> Result<Standing, String> {
        let text = format!("name = 'morning'\ntext = 'How is it?'\n{lines}");
        let raw: RawQuestion = toml::from_str(&text).map_err(|e| e.to_string())?;
        raw.resolve().map_err(|e| e.to_string())
    }

    #[test]
    fn a_question_has_one_reason_to_be_asked() {
        let when = |lines: &str| read(lines).unwrap().when();
        assert_eq!(when("at = '0 6 * * *'"), "at 0 6 * * * UTC");
        assert_eq!(
            when("every_min = 30"),
            "every 30 min, if something has changed"
        );
        let watch = "metric = 'moisture'\nzone = 'zone-1'\nbelow = 20";
        assert_eq!(when(watch), "moisture in zone-1 < 20");
        let quiet = read("every_min = 30\npropose = false\nprivate = true").unwrap();
        assert_eq!((quiet.propose, quiet.private), (false, true));
        assert!(read("every_min = 30").unwrap().propose);
        for (wrong, says) in [
            ("", "exactly one of"),
            ("every_min = 30\nat = '0 6 * * *'", "exactly one of"),
            ("every_min = 30\ncooldown_sec = 5", "exactly one of"),
            ("at = '0 6 * * *'\nbelow = 1", "exactly one of"),
            ("every_min = 0", "must be from 1"),
            ("metric = 'a'", "exactly one of below and above"),
            ("below = 1", "need a metric"),
            ("every_min = 30\ntext2 = ''", "unknown field"),
        ] {
            let error = read(wrong).unwrap_err();
            assert!(error.contains(says), "{wrong:?}: {error}");
        }
        let one =
            || toml::from_str::<RawQuestion>("name = 'a'\ntext = 'b'\nevery_min = 1").unwrap();
        assert!(resolve(vec![one()]).is_ok());
        assert!(resolve(vec![one(), one()]).is_err());
        assert!(resolve((0..=STANDING_MAX).map(|_| one()).collect()).is_err());
    }
}
