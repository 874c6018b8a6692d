//! Kinds of actuation: how long an action lasts and what ends it. Every kind ends in the safe state, at its deadline
//! at the latest.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::rule::Rule;
use super::sequence::Step;
use crate::domain::base::limits::{
    ACTUATION_MAX_MS, LEASE_HELD_MAX_MS, LEASE_HELD_MIN_MS, PULSE_MAX_MS, PULSE_MIN_MS,
    SET_INTERVAL_MAX_MS, SET_MAX_MS,
};
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
    /// It runs for as long as its holder is heard, and no longer than its deadline.
    #[serde(rename_all = "camelCase")]
    Held {
        /// How long after its holder was last heard it ends, in milliseconds.
        lease_ms: u64,
    },
    /// It stays until its deadline, and another one takes its place without the safe state between them.
    #[serde(rename_all = "camelCase")]
    Set {
        /// How far each of these parameters may go from the value now set, at once.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        max_step: BTreeMap<String, f64>,
        /// The least time between two changes, in milliseconds.
        min_interval_ms: u64,
    },
    /// What several actuators do one after the other; at the end each is in its safe state, the last one first.
    #[serde(rename_all = "camelCase")]
    Sequence {
        /// Its steps with every parameter; none where it is the kind of a rule, which may cover several sequences.
        #[serde(default)]
        steps: Vec<Step>,
    },
}

impl Kind {
    /// Its name in a policy.
    pub fn name(&self) -> &'static str {
        match self {
            Kind::Timed => "timed",
            Kind::Pulse => "pulse",
            Kind::Held { .. } => "held",
            Kind::Set { .. } => "set",
            Kind::Sequence { .. } => "sequence",
        }
    }

    /// The longest that any action of this kind may last, in milliseconds, under any policy.
    pub fn most_ms(&self) -> u64 {
        match self {
            Kind::Timed | Kind::Held { .. } | Kind::Sequence { .. } => ACTUATION_MAX_MS,
            Kind::Pulse => PULSE_MAX_MS,
            Kind::Set { .. } => SET_MAX_MS,
        }
    }

    /// Whether an action of this kind may begin by a standing approval; every other one a person approves each time. A kind
    /// that comes later is looked at before it begins without a person.
    pub fn may_stand(&self) -> bool {
        match self {
            Kind::Timed | Kind::Pulse => true,
            Kind::Held { .. } | Kind::Set { .. } | Kind::Sequence { .. } => false,
        }
    }

    /// Its form in a record: none for the kind that there was before others.
    pub fn recorded(&self) -> Option<Self> {
        (*self != Kind::Timed).then(|| self.clone())
    }

    /// Its name and its limits, where an action lasts at most so many milliseconds.
    pub fn limits(&self, most_ms: u64) -> String {
        match self {
            Kind::Timed => format!("timed, at most {}", span(most_ms)),
            Kind::Pulse => format!("pulse of {most_ms} ms"),
            Kind::Sequence { .. } => format!("sequence, at most {}", span(most_ms)),
            Kind::Held { lease_ms } => {
                let (most, lease) = (span(most_ms), span(*lease_ms));
                format!("held, at most {most}, ends {lease} after its holder was last heard")
            }
            Kind::Set {
                max_step,
                min_interval_ms,
            } => {
                let steps = max_step.iter();
                let steps = steps.map(|(name, by)| format!(", {name} by at most {by} at once"));
                let pause = match min_interval_ms {
                    0 => String::new(),
                    ms => format!(", no change within {}", span(*ms)),
                };
                format!(
                    "set, at most {}{}{pause}",
                    span(most_ms),
                    steps.collect::<String>()
                )
            }
        }
    }

    /// How long an action lasts that lasts at most so many milliseconds, in words that follow what it does.
    pub fn lasts(&self, run_ms: u64) -> String {
        match self {
            Kind::Timed => format!("for {}", span(run_ms)),
            Kind::Pulse => format!("for a pulse of {run_ms} ms"),
            Kind::Sequence { steps } => {
                format!("in {} steps, for {} at most", steps.len(), span(run_ms))
            }
            Kind::Held { lease_ms } => {
                let (most, lease) = (span(run_ms), span(*lease_ms));
                format!("while its holder is heard every {lease}, for {most} at most")
            }
            Kind::Set { .. } => {
                format!(
                    "until another setting replaces it, for {} at most",
                    span(run_ms)
                )
            }
        }
    }

    /// The steps of a sequence; none of every other kind.
    pub fn steps(&self) -> &[Step] {
        match self {
            Kind::Sequence { steps } => steps,
            Kind::Timed | Kind::Pulse | Kind::Held { .. } | Kind::Set { .. } => &[],
        }
    }

    /// The kind of an action under a rule. The way to the safe state lasts no time, under any rule.
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
    pub lease_sec: Option<u64>,
    pub min_interval_sec: Option<u64>,
    pub max_step: BTreeMap<String, f64>,
    pub deadline_sec: Option<u64>,
    pub has_duration: bool,
}

impl RawKind {
    /// The kind and the longest time that an action may last, in milliseconds.
    ///
    /// # Errors
    /// The fault and the valid form.
    pub(super) fn resolve(&self) -> Result<(Kind, u64), String> {
        let kind = match self.kind.as_deref().unwrap_or("timed") {
            "timed" => Kind::Timed,
            "pulse" => Kind::Pulse,
            "held" => Kind::Held {
                lease_ms: self.lease()?,
            },
            "set" => Kind::Set {
                max_step: self.max_step.clone(),
                min_interval_ms: self.interval()?,
            },
            "sequence" if self.has_duration => {
                return Err(
                    "duration_param goes with one actuator; give each step of a sequence its own parameters".to_owned(),
                );
            }
            "sequence" => Kind::Sequence { steps: Vec::new() },
            other => {
                return Err(format!(
                    "kind {other:?} must be timed, pulse, held, set or sequence"
                ));
            }
        };
        let is_set = matches!(kind, Kind::Set { .. });
        if !is_set && (self.min_interval_sec.is_some() || !self.max_step.is_empty()) {
            return Err(format!(
                "min_interval_sec and max_step go with kind = \"set\", this is {kind}"
            ));
        }
        if self.lease_sec.is_some() && !matches!(kind, Kind::Held { .. }) {
            return Err(format!(
                "lease_sec goes with kind = \"held\", this is {kind}"
            ));
        }
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

    fn interval(&self) -> Result<u64, String> {
        let most = SET_INTERVAL_MAX_MS / 1_000;
        match self.min_interval_sec.unwrap_or(0) {
            sec if sec <= most => Ok(sec * 1_000),
            _ => Err(format!("min_interval_sec must be at most {most}")),
        }
    }

    fn lease(&self) -> Result<u64, String> {
        let (least, most) = (LEASE_HELD_MIN_MS / 1_000, LEASE_HELD_MAX_MS / 1_000);
        let fits = |sec: &u64| (least..=most).contains(sec);
        let lease = self.lease_sec.filter(fits);
        lease
            .map(|sec| sec * 1_000)
            .ok_or_else(|| format!("kind = \"held\" needs lease_sec from {least} to {most}"))
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

/// How far a parameter of this type may go at once.
///
/// # Errors
/// The fault and the valid form.
pub(super) fn step(
    name: &str,
    (kind, required): (&str, bool),
    by: f64,
) -> Result<(String, f64), String> {
    let numeric = matches!(kind, "integer" | "number");
    match numeric && required && by.is_finite() && by > 0.0 {
        true => Ok((name.to_owned(), by)),
        false => Err(format!(
            "params.{name}: max_step must be above 0 and stands with a number that is required = true"
        )),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::super::evaluate::{History, Phase, Request, Ruling, RunView, Terms};
    use super::super::{Policy, Requester};
    use super::*;
    use crate::domain::base::{DeviceId, TimeMs};
    use crate::domain::capability::{Capability, Params};

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
            now_set: None,
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
                "must be timed, pulse, held, set or sequence",
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
    fn a_held_action_has_a_lease_within_bounds() {
        let held = policy("kind = \"held\"\nlease_sec = 5\ndeadline_sec = 600").unwrap();
        let told = terms(&held, "start");
        assert_eq!(
            (told.kind, told.run_ms),
            (Kind::Held { lease_ms: 5_000 }, 600_000)
        );
        for (keys, said) in [
            ("lease_sec = 1", "needs lease_sec from 2 to 60"),
            ("lease_sec = 61", "needs lease_sec from 2 to 60"),
            (
                "lease_sec = 18446744073709551",
                "needs lease_sec from 2 to 60",
            ),
            (
                "lease_sec = 9223372036854775807",
                "needs lease_sec from 2 to 60",
            ),
            ("", "needs lease_sec from 2 to 60"),
            (
                "lease_sec = 5\npulse_ms = 500",
                "goes with kind = \"pulse\"",
            ),
        ] {
            let error =
                policy(&format!("kind = \"held\"\ndeadline_sec = 600\n{keys}")).unwrap_err();
            assert!(error.contains(said), "{keys}: {error}");
        }
        let error = policy("lease_sec = 5\ndeadline_sec = 600").unwrap_err();
        assert!(error.contains("goes with kind = \"held\""), "{error}");
    }

    #[test]
    fn a_setting_goes_in_steps_with_pauses() {
        let set = |keys: &str, step: &str| {
            policy(&format!(
                "kind = \"set\"\n{keys}\n[rule.params.percent]\ntype = \"number\"\nmin = 0\nmax = 100\n{step}"
            ))
        };
        let policy = set(
            "deadline_sec = 604800\nmin_interval_sec = 60",
            "max_step = 10.5\nrequired = true",
        )
        .unwrap();
        let own = DeviceId::of_public_key(&[1; 32]);
        let params = |n: f64| Params::from([("percent".to_owned(), n.into())]);
        let ask_from = |percent: f64, now_set: Option<Params>, ago: u64| {
            let target: Capability = "actuator:mock:pump-1".parse().unwrap();
            let action = Action::new(target.clone(), "start", params(percent)).unwrap();
            let request = Request {
                action: &action,
                requester: Requester::Person,
                from: &own,
                taint: &Default::default(),
                evidence: &[],
                phase: Phase::Execute,
                by_gen1: false,
                now_set: now_set.as_ref(),
            };
            let now = TimeMs(1_000_000);
            let run = RunView {
                rule: "r".into(),
                target: target.as_str().to_owned(),
                operation: "start".into(),
                started_at: TimeMs(now.0 - ago),
                duration_ms: 5,
            };
            let history = History { runs: vec![run] };
            match policy.evaluate(&request, &Vec::new(), &history, now, &own) {
                Ruling::Allow(terms) => Ok(terms.run_ms),
                Ruling::Deny(denial) => Err(denial.message),
            }
        };
        let ask = |percent: f64, now_set: Option<f64>, ago: u64| {
            ask_from(percent, now_set.map(params), ago)
        };
        assert_eq!(
            ask(90.0, None, 60_000),
            Ok(604_800_000),
            "from the safe state only its bounds count"
        );
        assert_eq!(ask(40.5, Some(30.0), 60_000), Ok(604_800_000));
        assert!(
            ask(40.6, Some(30.0), 60_000)
                .unwrap_err()
                .contains("by at most 10.5 at once")
        );
        assert!(
            ask(19.4, Some(30.0), 60_000)
                .unwrap_err()
                .contains("percent is 30")
        );
        assert!(ask(101.0, Some(99.0), 60_000).is_err());
        // One that does not name the parameter is no ground for a step of any length.
        let none = Params::from([("other".to_owned(), 1.into())]);
        let why = ask_from(30.0, Some(none), 60_000).unwrap_err();
        assert!(why.contains("does not name it"), "{why}");
        assert!(
            ask(30.0, Some(30.0), 59_999)
                .unwrap_err()
                .contains("min_interval_sec")
        );
        for (keys, step, said) in [
            (
                "deadline_sec = 604801",
                "",
                "deadline_sec must be from 1 to 604800",
            ),
            ("deadline_sec = 5", "max_step = 1", "required = true"),
            (
                "deadline_sec = 5",
                "max_step = 0\nrequired = true",
                "above 0",
            ),
            (
                "deadline_sec = 5\nmin_interval_sec = 86401",
                "",
                "at most 86400",
            ),
        ] {
            let error = set(keys, step).unwrap_err();
            assert!(error.contains(said), "{keys} {step}: {error}");
        }
        let error = super::tests::policy("deadline_sec = 5\nmin_interval_sec = 5").unwrap_err();
        assert!(error.contains("go with kind = \"set\""), "{error}");
    }

    #[test]
    fn a_record_says_the_kind_and_nothing_of_a_timed_one() {
        assert_eq!(Kind::Timed.recorded(), None);
        let text = serde_json::to_string(&Kind::Pulse.recorded()).unwrap();
        assert_eq!(text, r#"{"name":"pulse"}"#);
        assert!(serde_json::from_str::<Kind>(r#"{"name":"later"}"#).is_err());
    }
}
