//! How one reading stands to one rule, and what an alert about it is called.

use serde_json::Value;

use super::rule::{AlertRule, What};
use crate::domain::base::quantity::{reading, span};
use crate::domain::base::{DeviceId, TimeMs};
use crate::domain::plan::rules::Comparison;
use crate::domain::policy::Origin;
use crate::domain::world::{Fact, Moment};

/// How a reading stands to a rule.
pub(super) struct Judged {
    /// It is fresh, and beyond.
    pub(super) holds: bool,
    /// It is fresh, and not beyond.
    pub(super) denies: bool,
    /// It is fresh, and says that the alert is over.
    pub(super) clears: bool,
    pub(super) believed: bool,
    pub(super) says: String,
}

/// The subject of the alert of a rule and a reading.
pub(super) fn subject(rule: &AlertRule, fact: Option<&Fact>) -> String {
    match fact {
        Some(fact) => {
            let zone = fact
                .zone
                .as_ref()
                .map(|z| format!(" in {z}"))
                .unwrap_or_default();
            format!(
                "{}: {}{zone} of {}",
                rule.name,
                fact.metric,
                fact.origin.short()
            )
        }
        None => format!("{}: {}", rule.name, place(rule, None)),
    }
}

pub(super) fn place(rule: &AlertRule, fact: Option<&Fact>) -> String {
    let zone = fact.and_then(|f| f.zone.as_ref()).or(rule.zone.as_ref());
    let zone = zone.map(|z| format!(" in {z}")).unwrap_or_default();
    format!("{}{zone}", rule.metric)
}

/// How a reading stands to a rule now. `believed_at` is when the newest reading that was believed was made, by the steady clock:
/// a wall clock that is set back makes nothing look heard.
pub(super) fn judge(
    rule: &AlertRule,
    fact: &Fact,
    believed_at: &mut Option<TimeMs>,
    begun: Moment,
    at: Moment,
) -> Judged {
    let believed = rule.believes(fact);
    let place = place(rule, Some(fact));
    let age = at.age_ms(fact.sensed_at, fact.received_at);
    if believed {
        let made = TimeMs(at.steady.0.saturating_sub(age));
        *believed_at = (*believed_at).max(Some(made));
    }
    match &rule.what {
        What::Beyond {
            comparison,
            threshold,
            clear,
            max_age_ms,
        } => {
            let fresh = age <= *max_age_ms;
            let shown = |value: f64| reading(&Value::from(value), fact.unit.as_deref());
            let holds = fresh && comparison.holds(fact.value, *threshold);
            let clears = fresh && fact.value.is_finite() && !comparison.holds(fact.value, *clear);
            let side = match comparison {
                Comparison::Above => "above",
                Comparison::Below => "below",
            };
            Judged {
                holds,
                denies: fresh && !comparison.holds(fact.value, *threshold),
                clears,
                believed,
                says: if !fresh {
                    format!(
                        "{place} was {} {} ago, and nothing newer is known",
                        shown(fact.value),
                        span(age)
                    )
                } else if holds {
                    format!(
                        "{place} is {}, {side} {}",
                        shown(fact.value),
                        shown(*threshold)
                    )
                } else if clears {
                    format!("{place} is {}", shown(fact.value))
                } else {
                    format!(
                        "{place} is {}; the alert is over at {}",
                        shown(fact.value),
                        shown(*clear)
                    )
                },
            }
        }
        What::Silent { older_than_ms } => {
            // Whoever is not believed does not break a silence.
            let silent = match *believed_at {
                Some(last) => at.steady.since(last),
                None => at.steady.since(begun.steady),
            };
            let weak = if believed || age > *older_than_ms {
                ""
            } else {
                ", only ones that are not believed"
            };
            Judged {
                holds: silent > *older_than_ms,
                denies: silent <= *older_than_ms,
                clears: believed && age <= *older_than_ms,
                believed: true,
                says: format!("{place} has had no reading for {}{weak}", span(silent)),
            }
        }
    }
}

/// Where no reading is known that a rule about silence could be about: it is silent once the node has run for so long.
pub(super) fn judge_none(rule: &AlertRule, about: &[&Fact], begun: Moment, at: Moment) -> Judged {
    let older_than_ms = match rule.what {
        What::Silent { older_than_ms } => older_than_ms,
        What::Beyond { .. } => u64::MAX,
    };
    let fresh =
        |f: &&Fact| rule.believes(f) && at.age_ms(f.sensed_at, f.received_at) <= older_than_ms;
    let clears = about.iter().any(fresh);
    let which = match about.is_empty() {
        true => "",
        false => " that is believed",
    };
    Judged {
        holds: about.is_empty() && at.steady.since(begun.steady) > older_than_ms,
        denies: !about.is_empty(),
        clears,
        believed: true,
        says: match clears {
            true => "there are readings now".to_owned(),
            false => format!("no reading of {}{which} is known", place(rule, None)),
        },
    }
}

/// Whose reading an alert of before the start is about, as its subject has it, if the rule still is about it: `Some(None)` where
/// it is about none at all.
pub(super) fn still_about<'a>(
    rule: &AlertRule,
    subject: &'a str,
    own: &DeviceId,
) -> Option<Option<&'a str>> {
    if subject == self::subject(rule, None) {
        return matches!(rule.what, What::Silent { .. }).then_some(None);
    }
    let head = format!("{}: {}", rule.name, rule.metric);
    let (zone, from) = subject.strip_prefix(&head)?.rsplit_once(" of ")?;
    let here = match &rule.zone {
        Some(wanted) => zone.strip_prefix(" in ") == Some(wanted.as_str()),
        None => zone.is_empty() || zone.starts_with(" in "),
    };
    let by = match &rule.source {
        None => true,
        Some(Origin::Own) => own.short() == from,
        Some(Origin::Device(device)) => device.short() == from,
    };
    (here && by).then_some(Some(from))
}
