//! Checks of the world and of the past: conditions over readings, and caps over earlier runs.

use super::{History, Rule, RunView, Sheet};
use crate::domain::base::{Code, DeviceId, TimeMs};
use crate::domain::capability::{Action, Capability};
use crate::domain::policy::Policy;
use crate::domain::policy::rule::Condition;
use crate::domain::world::{Fact, Facts, SignatureState};

const HOUR_MS: u64 = 3_600_000;

/// What stands in a sentence in place of the value of a private reading.
pub const PRIVATE_VALUE: &str = "private";

pub(super) fn caps(
    sheet: &mut Sheet,
    rule: &Rule,
    target: &Capability,
    history: &History,
    run_ms: u64,
    now: TimeMs,
) {
    let runs: Vec<&RunView> = history
        .runs
        .iter()
        .filter(|r| r.rule == rule.name && r.target == target.as_str())
        .collect();
    let within = |ms: u64| runs.iter().filter(|r| now.since(r.started_at) < ms).count();
    let mut count = |name: &str, cap: Option<u32>, ms: u64| {
        if let Some(cap) = cap {
            let had = within(ms);
            let fine = had < usize::try_from(cap).unwrap_or(usize::MAX);
            let text = format!("{had} runs, at most {cap} are allowed");
            sheet.check(
                name,
                Code::RateExceeded,
                if fine { Ok(text) } else { Err(text) },
            );
        }
    };
    count("runs per hour", rule.caps.runs_per_hour, HOUR_MS);
    count("runs per day", rule.caps.runs_per_day, 24 * HOUR_MS);
    if let Some(cap) = rule.caps.minutes_per_day {
        let had: u64 = runs
            .iter()
            .filter(|r| now.since(r.started_at) < 24 * HOUR_MS)
            .map(|r| r.duration_ms)
            .sum();
        let fine = had.saturating_add(run_ms) <= u64::from(cap) * 60_000;
        let text = format!(
            "{} s of running so far and {} s now, at most {cap} min",
            had / 1_000,
            run_ms / 1_000
        );
        sheet.check(
            "minutes per day",
            Code::RateExceeded,
            if fine { Ok(text) } else { Err(text) },
        );
    }
    if let Some(cooldown) = rule.caps.cooldown_ms {
        let last = runs.iter().map(|r| r.started_at.plus(r.duration_ms)).max();
        let fine = last.is_none_or(|end| now.since(end) >= cooldown);
        let text = format!("{} s between runs", cooldown / 1_000);
        let result = if fine {
            Ok(text)
        } else {
            Err(format!("the last run ended less than {text} ago"))
        };
        sheet.check("cooldown", Code::RateExceeded, result);
    }
}

impl Policy {
    /// Whether every interlock of the rule for an action holds; what a run rests on while it lasts.
    ///
    /// # Errors
    /// The first that does not, with what was found.
    pub fn interlocks_hold(
        &self,
        action: &Action,
        facts: &dyn Facts,
        now: TimeMs,
        own: &DeviceId,
    ) -> Result<(), String> {
        let rule = self.rule_for(action);
        rule.map_or(&[][..], |rule| &rule.interlocks)
            .iter()
            .try_for_each(|interlock| holds(interlock, facts, now, own, false).map(drop))
    }
}

/// Whether a condition holds for every admissible fresh reading, of which there must be one.
pub(super) fn holds(
    c: &Condition,
    facts: &dyn Facts,
    now: TimeMs,
    own: &DeviceId,
    proven: bool,
) -> Result<String, String> {
    let admissible = |f: &Fact| {
        c.origin.as_ref().is_none_or(|o| o.is(&f.origin, own))
            && f.effective >= c.min_tier
            && now.since(f.sensed_at) <= c.max_age_ms
            && (!proven
                || (f.taint.is_empty()
                    && (f.origin == *own || f.signature == SignatureState::Verified)))
    };
    let all = facts.latest(&c.metric, c.zone.as_deref());
    let fresh: Vec<&Fact> = all.iter().filter(|f| admissible(f)).collect();
    if fresh.is_empty() {
        let age = c.max_age_ms / 1_000;
        return Err(format!(
            "{} needs a reading of {} or better, from an allowed origin, younger than {age} s; there is none among {}",
            c.metric,
            c.min_tier,
            all.len()
        ));
    }
    let holds = fresh.iter().all(|f| c.compare.holds(f.value, c.value));
    // Who asks reads this, and so does everybody who reads of the proposal.
    let shown: Vec<String> = fresh
        .iter()
        .map(|f| match f.private {
            true => PRIVATE_VALUE.to_owned(),
            false => f.value.to_string(),
        })
        .collect();
    match holds {
        true => Ok(format!("{} is {}", c.metric, shown.join(", "))),
        false => Err(format!(
            "{} must hold, but {} is {}",
            c.text(),
            c.metric,
            shown.join(", ")
        )),
    }
}
