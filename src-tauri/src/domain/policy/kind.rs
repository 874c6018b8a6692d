//! Kinds of actuation: how long an action lasts and what ends it. Whatever the kind, it ends in the safe state, at its
//! deadline at the latest.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::rule::Rule;
use crate::domain::base::limits::{ACTUATION_MAX_MS, PULSE_MAX_MS, PULSE_MIN_MS};
use crate::domain::base::quantity::span;
use crate::domain::capability::Action;

/// See the module. A record that names a kind which this version does not know does not read, so that nobody signs it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(tag = "name", rename_all = "camelCase")]
pub enum Kind {
    /// It runs for the time that was asked for, or until its deadline.
    #[default]
    Timed,
    /// It is momentary: the policy alone says how long, counted from when the driver is told.
    Pulse,
}

impl Kind {
    /// Its name in a policy.
    pub fn name(&self) -> &'static str {
        match self {
            Kind::Timed => "timed",
            Kind::Pulse => "pulse",
        }
    }

    /// The longest that any action of this kind may last, in milliseconds, whatever the policy says.
    pub fn most_ms(&self) -> u64 {
        match self {
            Kind::Timed => ACTUATION_MAX_MS,
            Kind::Pulse => PULSE_MAX_MS,
        }
    }

    /// What a record says of it: nothing of the kind that there was before others.
    pub fn recorded(&self) -> Option<Self> {
        (*self != Kind::Timed).then(|| self.clone())
    }

    /// Its name and its limits, where an action lasts at most so many milliseconds.
    pub fn limits(&self, most_ms: u64) -> String {
        match self {
            Kind::Timed => format!("timed, at most {}", span(most_ms)),
            Kind::Pulse => format!("pulse of {most_ms} ms"),
        }
    }

    /// How long an action lasts that lasts at most so many milliseconds, in words that follow what it does.
    pub fn lasts(&self, run_ms: u64) -> String {
        match self {
            Kind::Timed => format!("for {}", span(run_ms)),
            Kind::Pulse => format!("for a pulse of {run_ms} ms"),
        }
    }

    /// The kind of an action under a rule. The way to the safe state lasts no time, whatever the rule says.
    pub(super) fn of(rule: &Rule, action: &Action) -> Self {
        match action.operation == rule.safe_state {
            true => Kind::Timed,
            false => rule.kind.clone(),
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The keys of a rule that say its kind.
#[derive(Debug, Default)]
pub(super) struct RawKind {
    pub kind: Option<String>,
    pub pulse_ms: Option<u64>,
    pub deadline_sec: Option<u64>,
    pub has_duration: bool,
}

impl RawKind {
    /// The kind and the longest time that an action may last, in milliseconds.
    ///
    /// # Errors
    /// What is wrong and what would be right.
    pub(super) fn resolve(&self) -> Result<(Kind, u64), String> {
        let kind = match self.kind.as_deref().unwrap_or("timed") {
            "timed" => Kind::Timed,
            "pulse" => Kind::Pulse,
            other => return Err(format!("kind {other:?} must be timed or pulse")),
        };
        if kind == Kind::Pulse {
            return Ok((kind, self.pulse()?));
        }
        if self.pulse_ms.is_some() {
            return Err(format!(
                "pulse_ms goes with kind = \"pulse\", this is {kind}"
            ));
        }
        let most = kind.most_ms() / 1_000;
        let deadline = self
            .deadline_sec
            .ok_or_else(|| format!("deadline_sec is missing; it must be from 1 to {most}"))?;
        match (1..=most).contains(&deadline) {
            true => Ok((kind, deadline * 1_000)),
            false => Err(format!("deadline_sec must be from 1 to {most}")),
        }
    }

    fn pulse(&self) -> Result<u64, String> {
        if self.has_duration {
            return Err(
                "duration_param lets the asker choose the time, and that of a pulse is the policy's; leave it out"
                    .to_owned(),
            );
        }
        if self.deadline_sec.is_some() {
            return Err("a pulse ends after pulse_ms; leave deadline_sec out".to_owned());
        }
        let bounds = PULSE_MIN_MS..=PULSE_MAX_MS;
        self.pulse_ms
            .filter(|ms| bounds.contains(ms))
            .ok_or_else(|| {
                format!("kind = \"pulse\" needs pulse_ms from {PULSE_MIN_MS} to {PULSE_MAX_MS}")
            })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::super::evaluate::{History, Phase, Request, Ruling, Terms};
    use super::super::{Policy, Requester};
    use super::*;
    use crate::domain::base::{DeviceId, TimeMs};
    use crate::domain::capability::Params;

    fn policy(keys: &str) -> Result<Policy, String> {
        let rule = "version = 1\n[[rule]]\nname = \"r\"\ncapability = \"actuator:mock:*\"\n\
                    operations = [\"*\"]\nlevel = \"L2\"\nsafe_state = \"stop\"\n";
        Policy::parse(&format!("{rule}{keys}")).map_err(|e| e.to_string())
    }

    fn terms(policy: &Policy, operation: &str) -> Terms {
        let target = "actuator:mock:pump-1".parse().unwrap();
        let action = Action::new(target, operation, Params::new()).unwrap();
        let own = DeviceId::of_public_key(&[1; 32]);
        let request = Request {
            action: &action,
            requester: Requester::Person,
            from: &own,
            taint: &Default::default(),
            evidence: &[],
            phase: Phase::Propose,
            by_gen1: false,
        };
        let (facts, history) = (Vec::new(), History::default());
        match policy.evaluate(&request, &facts, &history, TimeMs(1_000), &own) {
            Ruling::Allow(terms) => terms,
            Ruling::Deny(denial) => panic!("{denial:?}"),
        }
    }

    #[test]
    fn the_time_of_a_pulse_is_the_policys_alone() {
        let pulse = policy("kind = \"pulse\"\npulse_ms = 500").unwrap();
        let told = terms(&pulse, "start");
        assert_eq!(
            (told.kind, told.run_ms, told.deadline_ms),
            (Kind::Pulse, 500, 500)
        );
        // The way to the safe state lasts no time.
        let told = terms(&pulse, "stop");
        assert_eq!((told.kind, told.run_ms), (Kind::Timed, 0));
        for (keys, said) in [
            ("kind = \"pulse\"", "needs pulse_ms from 50 to 60000"),
            (
                "kind = \"pulse\"\npulse_ms = 49",
                "needs pulse_ms from 50 to 60000",
            ),
            (
                "kind = \"pulse\"\npulse_ms = 60001",
                "needs pulse_ms from 50 to 60000",
            ),
            (
                "kind = \"pulse\"\npulse_ms = 500\ndeadline_sec = 5",
                "leave deadline_sec out",
            ),
            (
                "kind = \"pulse\"\npulse_ms = 500\nduration_param = \"s\"\n\
                 [rule.params.s]\ntype = \"integer\"\nmin = 1\nmax = 5",
                "duration_param lets the asker choose",
            ),
            (
                "kind = \"timed\"\npulse_ms = 500\ndeadline_sec = 5",
                "goes with kind = \"pulse\"",
            ),
            (
                "kind = \"forever\"\ndeadline_sec = 5",
                "must be timed or pulse",
            ),
            ("kind = \"timed\"", "deadline_sec is missing"),
            (
                "deadline_sec = 86401",
                "deadline_sec must be from 1 to 86400",
            ),
        ] {
            let error = policy(keys).unwrap_err();
            assert!(error.contains(said), "{keys}: {error}");
        }
    }

    #[test]
    fn a_record_says_the_kind_and_nothing_of_a_timed_one() {
        assert_eq!(Kind::Timed.recorded(), None);
        let text = serde_json::to_string(&Kind::Pulse.recorded()).unwrap();
        assert_eq!(text, r#"{"name":"pulse"}"#);
        assert!(serde_json::from_str::<Kind>(r#"{"name":"later"}"#).is_err());
    }
}
