//! Checks of how long an action lasts and, of a setting, how far and how soon it goes from the one in force.

use std::collections::BTreeMap;

use super::{History, Rule, RunView, Sheet};
use crate::domain::base::quantity::span;
use crate::domain::base::{Code, TimeMs};
use crate::domain::capability::{Action, Capability, Params};
use crate::domain::policy::Kind;

/// How long the action would run, in milliseconds; never beyond the deadline.
pub(super) fn duration(sheet: &mut Sheet, rule: &Rule, action: &Action, by_gen1: bool) -> u64 {
    if action.operation == rule.safe_state {
        return 0;
    }
    let most = rule.deadline_ms.min(rule.kind.most_ms());
    if rule.kind != Kind::Timed {
        let far = by_gen1 && rule.kind != Kind::Pulse;
        let result = match far {
            true => Err(format!(
                "a gen-1 node acts, which can do no {} action; only timed and pulse",
                rule.kind
            )),
            false => Ok(rule.kind.limits(most)),
        };
        sheet.check("kind", Code::PolicyDenied, result);
    }
    let wanted = rule
        .duration_param
        .as_ref()
        .and_then(|name| action.params.get(name))
        .and_then(|v| v.as_f64());
    let Some(seconds) = wanted else { return most };
    let ms = std::time::Duration::try_from_secs_f64(seconds).map_or(u64::MAX, |d| {
        u64::try_from(d.as_millis()).unwrap_or(u64::MAX)
    });
    let result = if ms == 0 || ms > most {
        Err(format!(
            "runs {seconds} s, allowed is more than 0 and at most {} s",
            most / 1_000
        ))
    } else {
        Ok(format!("runs {seconds} s of at most {} s", most / 1_000))
    };
    sheet.check("duration", Code::PolicyDenied, result);
    ms.min(most)
}

/// How long it lasts where its place in a sequence says that, which must be within what it may last, in milliseconds.
pub(super) fn within(sheet: &mut Sheet, most: u64, lasts: Option<u64>) -> u64 {
    let Some(lasts) = lasts else { return most };
    let text = format!("lasts {} at most, allowed are {}", span(lasts), span(most));
    let result = if lasts > most { Err(text) } else { Ok(text) };
    sheet.check("duration", Code::PolicyDenied, result);
    lasts
}

/// How far a setting goes from the one in force. From one that does not say where it is no step is small.
pub(super) fn steps(
    sheet: &mut Sheet,
    max_step: &BTreeMap<String, f64>,
    params: &Params,
    now_set: Option<&Params>,
) {
    let number = |params: &Params, name: &str| params.get(name).and_then(|v| v.as_f64());
    let Some(set) = now_set else { return };
    for (name, by) in max_step {
        let step = format!("step of {name}");
        let (Some(was), Some(wanted)) = (number(set, name), number(params, name)) else {
            let why = format!(
                "{name} may change by at most {by} at once, and this setting or the one in force does not name it; bring \
                 the actuator to its safe state first"
            );
            sheet.check(&step, Code::PolicyDenied, Err(why));
            continue;
        };
        let far = (wanted - was).abs();
        let text = format!(
            "{name} is {was} now, would be {wanted}, and may change by at most {by} at once"
        );
        // Decimal fractions are not exact here.
        let fine = far <= by + f64::EPSILON * 8.0 * was.abs().max(wanted.abs());
        let result = if fine { Ok(text) } else { Err(text) };
        sheet.check(&step, Code::PolicyDenied, result);
    }
}

/// How long ago the last change of a setting is.
pub(super) fn pause(
    sheet: &mut Sheet,
    rule: &Rule,
    target: &Capability,
    history: &History,
    min_interval_ms: u64,
    now: TimeMs,
) {
    if min_interval_ms == 0 {
        return;
    }
    let same = |r: &&RunView| r.rule == rule.name && r.target == target.as_str();
    let changes = history.runs.iter().filter(same);
    let last = changes.filter(|r| r.operation != rule.safe_state);
    let last = last.map(|r| r.started_at).max();
    let text = format!(
        "{} s between changes (min_interval_sec)",
        min_interval_ms / 1_000
    );
    let result = match last.is_none_or(|at| now.since(at) >= min_interval_ms) {
        true => Ok(text),
        false => Err(format!("the last change is less than {text} ago")),
    };
    sheet.check("interval", Code::RateExceeded, result);
}
