//! What stands: rules over readings, from one look to the next.
//!
//! A reading that is not believed (unverified, of unknown age, from a model) may raise an alert, with words that say so. It ends
//! none that rests on a reading that was believed: such an alert ends by a reading that is believed and back inside, or with the
//! trust in the device that made it. A reading that has become old ends nothing either, and nor does a restart.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::judging::{Judged, judge, judge_none, still_about, subject};
use super::room::{Candidate, Weight, is_more};
use super::rule::{AlertRule, What};
use crate::domain::base::limits::{
    ALERT_BEGINS_MAX, ALERT_KEYS_MAX, ALERT_KEYS_SHARE_MAX, ALERT_QUIET_MS,
};
use crate::domain::base::quantity::span;
use crate::domain::base::{DeviceId, Severity, TimeMs};
use crate::domain::world::{Fact, Moment};

/// In which time an alert that begins often comes and goes.
pub(super) const HOUR_MS: u64 = 3_600_000;

/// What is added to the words of an alert of before the start.
const UNHEARD: &str = " (no reading has come since the node was started again)";

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
    /// Whose reading it is; nobody's where none is known.
    pub origin: Option<DeviceId>,
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
    /// Whether a device is, of which only the beginning of its id is known.
    pub trusts_short: &'a dyn Fn(&str) -> bool,
    /// A device's name for people.
    pub name: &'a dyn Fn(&DeviceId) -> String,
    /// Now.
    pub at: Moment,
}

/// What an alert that stood before the start said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Before {
    /// Its words.
    pub message: String,
    /// Whether it is about a private reading.
    pub private: bool,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum State {
    /// It holds since then, by the steady clock, and has to hold longer.
    Pending { since: TimeMs, believed: bool },
    /// Its alert stands; whether it rests on a reading that was believed.
    Standing { believed: bool },
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Entry {
    rule: String,
    /// Whose reading it is; nobody's where none is known.
    origin: Option<DeviceId>,
    state: Option<State>,
    /// Whether the reading was private.
    private: bool,
    /// When the newest reading that was believed was made, by the steady clock.
    believed_at: Option<TimeMs>,
    /// It stood before the start, and no reading that was believed has said so since.
    resumed: bool,
    /// Since when readings have been back inside.
    quiet_since: Option<TimeMs>,
    /// Whether people see its alert: it stands, and it fits.
    pub(super) shown: bool,
    /// When it was last shown anew.
    pub(super) begins: VecDeque<TimeMs>,
}

impl Entry {
    /// How often it began in the last hour, as far as that is kept.
    fn began(&self, now: TimeMs) -> usize {
        let lately = |at: &&TimeMs| now.since(**at) < HOUR_MS;
        self.begins.iter().filter(lately).count()
    }

    /// Whether nothing that was believed is known of it, and it is another device's.
    fn is_weak(&self, own: &DeviceId) -> bool {
        let others = self.origin.as_ref().is_some_and(|o| o != own);
        others && self.believed_at.is_none() && !self.resumed
    }

    /// What its alert weighs where there are too many.
    fn weight(&self, own: &DeviceId) -> Weight {
        let is_own = self.origin.as_ref().is_none_or(|o| o == own);
        let stands = matches!(self.state, Some(State::Standing { believed: true }));
        // Of a device that was never believed silence proves no more than its readings.
        let proven = stands && (is_own || self.believed_at.is_some());
        match (proven, stands && self.resumed, is_own) {
            (true, _, true) => Weight::Own,
            (true, _, false) => Weight::Believed,
            (false, true, _) => Weight::Before,
            (false, false, true) => Weight::OwnDoubted,
            (false, false, false) => Weight::Doubted,
        }
    }
}

/// What is known of each rule and reading.
#[derive(Debug, Clone, Default)]
pub struct Book {
    pub(super) entries: BTreeMap<String, Entry>,
    /// Alerts that stood before the start and of which no reading is known.
    pub(super) before: BTreeMap<String, Before>,
    begun: Option<Moment>,
    /// When alerts last did not fit.
    pub(super) more: BTreeMap<Severity, TimeMs>,
    /// When alerts of readings that are not believed began, of each device.
    pub(super) paces: BTreeMap<DeviceId, VecDeque<TimeMs>>,
}

/// What a look found.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Look {
    /// All that stand.
    pub standing: Vec<Standing>,
    /// Those that ended with this look.
    pub ended: Vec<Ended>,
}

/// What a look has found so far.
#[derive(Default)]
pub(super) struct Found {
    pub(super) all: Vec<Candidate>,
    pub(super) ended: Vec<Ended>,
    /// How many more hold of which nothing is kept.
    pub(super) unkept: BTreeMap<Severity, usize>,
    /// Of how many readings of a rule and a device something is kept.
    keys: BTreeMap<(String, DeviceId), usize>,
    seen: BTreeSet<String>,
}

impl Book {
    /// A book that knows which alerts stood before the start: they stand until a reading that is believed says otherwise.
    pub fn resumed(before: BTreeMap<String, Before>) -> Self {
        Self {
            before,
            ..Self::default()
        }
    }

    /// Looks at the readings.
    pub fn look(&mut self, rules: &[AlertRule], facts: &[Fact], around: &Around<'_>) -> Look {
        let begun = *self.begun.get_or_insert(around.at);
        let mut found = Found::default();
        for entry in self.entries.values() {
            if let Some(origin) = &entry.origin {
                let key = (entry.rule.clone(), origin.clone());
                *found.keys.entry(key).or_default() += 1;
            }
        }
        for rule in rules {
            let mut about: Vec<&Fact> = facts
                .iter()
                .filter(|f| rule.is_about(f, around.own))
                .collect();
            // What is believed finds its place before what is not.
            about.sort_by_key(|f| !is_strong(rule, f, around.own));
            for fact in &about {
                let subject = subject(rule, Some(fact));
                let Some(mut entry) = self.take(&subject, rule, Some(fact), around, &mut found)
                else {
                    let judged = judge(rule, fact, &mut None, begun, around.at);
                    *found.unkept.entry(rule.severity).or_default() += usize::from(judged.holds);
                    continue;
                };
                entry.private |= fact.private;
                let judged = judge(rule, fact, &mut entry.believed_at, begun, around.at);
                let told = (subject.as_str(), fact.private);
                step(&mut entry, rule, judged, told, around, &mut found);
                self.entries.insert(subject.clone(), entry);
                found.seen.insert(subject);
            }
            self.look_at_none(rule, &about, begun, around, &mut found);
        }
        self.leave(rules, around, &mut found);
        self.fit(found, around)
    }

    /// Looks at the silence of a rule about which no reading is known.
    fn look_at_none(
        &mut self,
        rule: &AlertRule,
        about: &[&Fact],
        begun: Moment,
        around: &Around<'_>,
        found: &mut Found,
    ) {
        if !matches!(rule.what, What::Silent { .. }) {
            return;
        }
        let subject = subject(rule, None);
        let known = self.entries.contains_key(&subject) || self.before.contains_key(&subject);
        // The silence of a reading that was known has an alert of its own.
        let head = format!("{}: ", rule.name);
        let has_own = |e: &Entry| {
            let stands = matches!(e.state, Some(State::Standing { .. }));
            stands && e.rule == rule.name && e.origin.is_some()
        };
        let told = || {
            self.before.keys().any(|s| s.starts_with(&head)) || self.entries.values().any(has_own)
        };
        if !known && (!about.is_empty() || told()) {
            return;
        }
        let Some(mut entry) = self.take(&subject, rule, None, around, found) else {
            return;
        };
        let judged = judge_none(rule, about, begun, around.at);
        step(&mut entry, rule, judged, (&subject, false), around, found);
        self.entries.insert(subject.clone(), entry);
        found.seen.insert(subject);
    }

    /// What is kept of a rule and a reading; nothing where a device has used up its share, or where there is no room for one that
    /// matters as little.
    fn take(
        &mut self,
        subject: &str,
        rule: &AlertRule,
        fact: Option<&Fact>,
        around: &Around<'_>,
        found: &mut Found,
    ) -> Option<Entry> {
        if let Some(entry) = self.entries.remove(subject) {
            return Some(entry);
        }
        let stood = self.before.remove(subject).is_some();
        let strong = fact.is_none_or(|f| is_strong(rule, f, around.own));
        let origin = fact.map(|f| f.origin.clone());
        if let Some(origin) = &origin {
            let kept = found.keys.entry((rule.name.clone(), origin.clone()));
            let kept = kept.or_default();
            if !stood && !strong && *kept >= ALERT_KEYS_SHARE_MAX {
                return None;
            }
            *kept += 1;
        }
        let full = self.entries.len() >= ALERT_KEYS_MAX;
        if full && !stood && !(strong && self.make_room(around.own, found)) {
            return None;
        }
        Some(Entry {
            rule: rule.name.clone(),
            origin,
            state: stood.then_some(State::Standing { believed: true }),
            private: false,
            believed_at: None,
            resumed: stood,
            quiet_since: None,
            shown: stood,
            begins: VecDeque::new(),
        })
    }

    /// Forgets a reading that is not believed; whether there was one.
    fn make_room(&mut self, own: &DeviceId, found: &mut Found) -> bool {
        let weak = self.entries.iter().find(|(_, e)| e.is_weak(own));
        let Some(subject) = weak.map(|(subject, _)| subject.clone()) else {
            return false;
        };
        if self.entries.remove(&subject).is_some_and(|e| e.shown) {
            found.all.retain(|one| one.standing.subject != subject);
            found.ended.push(Ended {
                subject,
                why: "it had to make room for readings that are believed".to_owned(),
            });
        }
        true
    }

    /// What becomes of those whose reading is not among the facts any more.
    fn leave(&mut self, rules: &[AlertRule], around: &Around<'_>, found: &mut Found) {
        let mut entries = std::mem::take(&mut self.entries);
        entries.retain(|subject, entry| {
            if found.seen.contains(subject) {
                return true;
            }
            let Some(State::Standing { .. }) = entry.state else {
                // How often it came and went is not forgotten with it.
                entry.state = None;
                return entry.began(around.at.steady) > 0;
            };
            let rule = rules.iter().find(|r| r.name == entry.rule);
            let gone = match (rule, &entry.origin) {
                (None, _) => "its rule is not in the configuration any more",
                (Some(_), None) => "its rule is not about silence any more",
                (Some(_), Some(device)) if device != around.own && !(around.trusts)(device) => {
                    "the device that made the reading is not trusted any more"
                }
                (Some(rule), Some(_)) => {
                    let says = format!("{subject}: the reading is not known any more, and no later one says that this is over");
                    let private = entry.private;
                    found.all.push(candidate(rule, subject, says, private, entry, around));
                    return true;
                }
            };
            found.ended.push(Ended {
                subject: subject.clone(),
                why: gone.to_owned(),
            });
            false
        });
        self.entries = entries;
        self.leave_before(rules, around, found);
    }

    /// What becomes of those that stood before the start and of which nothing has been heard since.
    fn leave_before(&mut self, rules: &[AlertRule], around: &Around<'_>, found: &mut Found) {
        self.before.retain(|subject, was| {
            if is_more(subject) {
                return true;
            }
            let of_rule = |rule| still_about(rule, subject, around.own).map(|from| (rule, from));
            let gone = match rules.iter().find_map(of_rule) {
                None => "its rule is not in the configuration any more, or is about other readings",
                Some((_, Some(from)))
                    if from != around.own.short() && !(around.trusts_short)(from) =>
                {
                    "the device that made the reading is not trusted any more"
                }
                Some((rule, _)) => {
                    let said = was.message.trim_end_matches(UNHEARD);
                    found.all.push(Candidate {
                        standing: Standing {
                            message: format!("{said}{UNHEARD}"),
                            ..standing(rule, subject, "", was.private, None)
                        },
                        rule: rule.name.clone(),
                        weight: Weight::Before,
                        shown: true,
                        place: 0,
                    });
                    return true;
                }
            };
            found.ended.push(Ended {
                subject: subject.clone(),
                why: gone.to_owned(),
            });
            false
        });
    }
}

/// Whether a reading is this node's own, or believed.
fn is_strong(rule: &AlertRule, fact: &Fact, own: &DeviceId) -> bool {
    fact.origin == *own || rule.believes(fact)
}

fn step(
    entry: &mut Entry,
    rule: &AlertRule,
    judged: Judged,
    (subject, private): (&str, bool),
    around: &Around<'_>,
    found: &mut Found,
) {
    let now = around.at.steady;
    let Judged {
        holds,
        denies,
        clears,
        believed,
        says,
    } = judged;
    let mut lasts = String::new();
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
            let back = clears && (believed || !was);
            let quiet = match (holds, back) {
                (true, _) => None,
                (false, true) => Some(entry.quiet_since.unwrap_or(now)),
                (false, false) => entry.quiet_since,
            };
            entry.quiet_since = quiet;
            entry.resumed &= !(holds && believed);
            let long = quiet.is_some_and(|since| now.since(since) >= ALERT_QUIET_MS);
            let over = back && (long || entry.began(now) < ALERT_BEGINS_MAX);
            if over {
                found.ended.push(Ended {
                    subject: subject.to_owned(),
                    why: says.clone(),
                });
                (entry.shown, entry.resumed, entry.quiet_since) = (false, false, None);
            } else if back {
                lasts = format!(
                    "; it comes and goes, and is over once that has held for {}",
                    span(ALERT_QUIET_MS)
                );
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
        let mut words = format!("{says}{}{lasts}", from.unwrap_or_default());
        match (was, believed) {
            (false, _) => words.push_str(" (not verified)"),
            (true, false) => words.push_str(" (that reading is not believed, and ends nothing)"),
            (true, true) => {}
        }
        let one = candidate(rule, subject, words, private, entry, around);
        found.all.push(one);
    }
}

fn candidate(
    rule: &AlertRule,
    subject: &str,
    message: String,
    private: bool,
    entry: &Entry,
    around: &Around<'_>,
) -> Candidate {
    Candidate {
        standing: standing(rule, subject, &message, private, entry.origin.clone()),
        rule: rule.name.clone(),
        weight: entry.weight(around.own),
        shown: entry.shown,
        place: 0,
    }
}

fn standing(
    rule: &AlertRule,
    subject: &str,
    message: &str,
    private: bool,
    origin: Option<DeviceId>,
) -> Standing {
    Standing {
        subject: subject.to_owned(),
        severity: rule.severity,
        message: format!("{}: {message}", rule.name),
        advice: rule.words.clone().unwrap_or_default(),
        private,
        origin,
    }
}
