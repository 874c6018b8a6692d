//! What stands: rules over readings, from one look to the next.
//!
//! A reading that is not believed (unverified, of unknown age, from a model) may raise an alert, with words that say so. It ends
//! none that rests on a reading that was believed: such an alert ends by a reading that is believed and back inside, or with the
//! trust in the device that made it. A reading that has become old ends nothing either.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::rule::{AlertRule, What};
use crate::domain::base::limits::ALERT_KEYS_MAX;
use crate::domain::base::quantity::{reading, span};
use crate::domain::base::{DeviceId, Severity, TimeMs};
use crate::domain::plan::rules::Comparison;
use crate::domain::world::{Fact, Moment};

/// An alert of a rule that stands.
#[derive(Debug, Clone, PartialEq)]
pub struct Standing {
    /// Which rule and reading: the same text for the same two, also after a restart.
    pub subject: String,
    /// How much it matters.
    pub severity: Severity,
    /// What is the matter, in a sentence without a full stop.
    pub message: String,
    /// What is to be done.
    pub advice: String,
    /// Whether it is about a private reading.
    pub private: bool,
}

/// An alert of a rule that has ended.
#[derive(Debug, Clone, PartialEq)]
pub struct Ended {
    /// Which rule and reading.
    pub subject: String,
    /// Why.
    pub why: String,
}

/// Who and what a look knows besides the rules and readings.
pub struct Around<'a> {
    /// This device.
    pub own: &'a DeviceId,
    /// Whether a device is trusted now.
    pub trusts: &'a dyn Fn(&DeviceId) -> bool,
    /// A device's name for people.
    pub name: &'a dyn Fn(&DeviceId) -> String,
    /// Now.
    pub at: Moment,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum State {
    /// It holds since then, by the steady clock, and has to hold longer.
    Pending { since: TimeMs, believed: bool },
    /// Its alert stands; whether it rests on a reading that was believed.
    Standing { believed: bool },
}

#[derive(Debug, Clone, PartialEq)]
struct Entry {
    rule: String,
    /// Whose reading it is; nobody's where none is known.
    origin: Option<DeviceId>,
    state: Option<State>,
    /// Whether the reading was private.
    private: bool,
    /// When the newest reading that was believed was sensed, by the wall clock.
    believed_at: Option<TimeMs>,
}

/// What is known of each rule and reading.
#[derive(Debug, Clone, Default)]
pub struct Book {
    entries: BTreeMap<String, Entry>,
    /// Subjects of alerts that stood before the start.
    before: BTreeSet<String>,
    begun: Option<Moment>,
}

/// What a look found.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Look {
    /// All that stand.
    pub standing: Vec<Standing>,
    /// Those that ended with this look.
    pub ended: Vec<Ended>,
}

/// How a reading stands to a rule.
struct Judged {
    /// It is fresh, and beyond.
    holds: bool,
    /// It is fresh, and not beyond.
    denies: bool,
    /// It is fresh, and says that the alert is over.
    clears: bool,
    believed: bool,
    says: String,
}

impl Book {
    /// A book that knows which alerts stood before the start: what holds of them stands at once.
    pub fn resumed(before: BTreeSet<String>) -> Self {
        Self {
            before,
            ..Self::default()
        }
    }

    /// Looks at the readings.
    pub fn look(&mut self, rules: &[AlertRule], facts: &[Fact], around: &Around<'_>) -> Look {
        let begun = *self.begun.get_or_insert(around.at);
        let mut look = Look::default();
        let mut seen = BTreeSet::new();
        for rule in rules {
            let about: Vec<&Fact> = facts
                .iter()
                .filter(|f| rule.is_about(f, around.own))
                .collect();
            for fact in &about {
                let subject = subject(rule, Some(fact));
                let Some(mut entry) = self.take(&subject, rule, Some(&fact.origin)) else {
                    continue;
                };
                entry.private |= fact.private;
                let judged = judge(rule, fact, &mut entry, begun, around.at);
                let told = (subject.as_str(), fact.private);
                step(&mut entry, rule, judged, told, around, &mut look);
                self.entries.insert(subject.clone(), entry);
                seen.insert(subject);
            }
            if let (true, What::Silent { older_than_ms }) = (about.is_empty(), &rule.what) {
                let subject = subject(rule, None);
                let Some(mut entry) = self.take(&subject, rule, None) else {
                    continue;
                };
                let silent = around.at.steady.since(begun.steady);
                let judged = Judged {
                    holds: silent > *older_than_ms,
                    denies: false,
                    clears: false,
                    believed: true,
                    says: format!("no reading of {} is known", place(rule, None)),
                };
                step(
                    &mut entry,
                    rule,
                    judged,
                    (&subject, false),
                    around,
                    &mut look,
                );
                self.entries.insert(subject.clone(), entry);
                seen.insert(subject);
            }
        }
        self.leave(rules, &seen, around, &mut look);
        look
    }

    fn take(
        &mut self,
        subject: &str,
        rule: &AlertRule,
        origin: Option<&DeviceId>,
    ) -> Option<Entry> {
        if let Some(entry) = self.entries.remove(subject) {
            return Some(entry);
        }
        let stood = self.before.remove(subject);
        (stood || self.entries.len() < ALERT_KEYS_MAX).then(|| Entry {
            rule: rule.name.clone(),
            origin: origin.cloned(),
            state: stood.then_some(State::Standing { believed: true }),
            private: false,
            believed_at: None,
        })
    }

    /// What becomes of those whose reading is not among the facts any more.
    fn leave(
        &mut self,
        rules: &[AlertRule],
        seen: &BTreeSet<String>,
        around: &Around<'_>,
        look: &mut Look,
    ) {
        self.entries.retain(|subject, entry| {
            if seen.contains(subject) {
                return true;
            }
            let Some(State::Standing { .. }) = entry.state else {
                return false;
            };
            let rule = rules.iter().find(|r| r.name == entry.rule);
            let gone = match (rule, &entry.origin) {
                (None, _) => "its rule is not in the configuration any more",
                // One about nothing at all ends with the first reading, which has an entry of its own.
                (Some(_), None) => "there are readings now",
                (Some(_), Some(device)) if device != around.own && !(around.trusts)(device) => {
                    "the device that made the reading is not trusted any more"
                }
                (Some(rule), Some(_)) => {
                    let says = format!("{subject}: the reading is not known any more, and no later one says that this is over");
                    look.standing.push(standing(rule, subject, says, entry.private));
                    return true;
                }
            };
            look.ended.push(Ended {
                subject: subject.clone(),
                why: gone.to_owned(),
            });
            false
        });
    }
}

/// The subject of the alert of a rule and a reading.
fn subject(rule: &AlertRule, fact: Option<&Fact>) -> String {
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

fn place(rule: &AlertRule, fact: Option<&Fact>) -> String {
    let zone = fact.and_then(|f| f.zone.as_ref()).or(rule.zone.as_ref());
    let zone = zone.map(|z| format!(" in {z}")).unwrap_or_default();
    format!("{}{zone}", rule.metric)
}

fn judge(rule: &AlertRule, fact: &Fact, entry: &mut Entry, begun: Moment, at: Moment) -> Judged {
    let believed = rule.believes(fact);
    let place = place(rule, Some(fact));
    if believed {
        entry.believed_at = entry.believed_at.max(Some(fact.sensed_at));
    }
    let age = at.wall.since(fact.sensed_at);
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
            let silent = match entry.believed_at {
                Some(last) => at.wall.since(last),
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

fn step(
    entry: &mut Entry,
    rule: &AlertRule,
    judged: Judged,
    (subject, private): (&str, bool),
    around: &Around<'_>,
    look: &mut Look,
) {
    let now = around.at.steady;
    let Judged {
        holds,
        denies,
        clears,
        believed,
        says,
    } = judged;
    let next = match entry.state {
        None if holds => Some(State::Pending {
            since: now,
            believed,
        }),
        None => None,
        Some(State::Pending {
            since,
            believed: was,
        }) => {
            // A reading that has become old says neither.
            let over = denies && (believed || !was);
            (!over).then_some(State::Pending {
                since,
                believed: was || (holds && believed),
            })
        }
        Some(State::Standing { believed: was }) => {
            let over = clears && (believed || !was);
            if over {
                look.ended.push(Ended {
                    subject: subject.to_owned(),
                    why: says.clone(),
                });
            }
            (!over).then_some(State::Standing {
                believed: was || (holds && believed),
            })
        }
    };
    entry.state = match next {
        Some(State::Pending { since, believed }) if holds && now.since(since) >= rule.for_ms => {
            Some(State::Standing { believed })
        }
        next => next,
    };
    if let Some(State::Standing { believed: was }) = entry.state {
        let from = entry
            .origin
            .as_ref()
            .map(|d| format!(", from {}", (around.name)(d)));
        let mut words = format!("{says}{}", from.unwrap_or_default());
        match (was, believed) {
            (false, _) => words.push_str(" (not verified)"),
            (true, false) => words.push_str(" (that reading is not believed, and ends nothing)"),
            (true, true) => {}
        }
        look.standing.push(standing(rule, subject, words, private));
    }
}

fn standing(rule: &AlertRule, subject: &str, message: String, private: bool) -> Standing {
    Standing {
        subject: subject.to_owned(),
        severity: rule.severity,
        message: format!("{}: {message}", rule.name),
        advice: rule.words.clone().unwrap_or_default(),
        private,
    }
}
