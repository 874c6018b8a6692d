//! Which alerts of rules people see where too many hold. What is believed and the node's own go first; of what is not believed each
//! rule and device has a share. That some do not fit is an alert itself.

use std::collections::BTreeMap;

use super::watch::{Around, Book, Ended, Found, HOUR_MS, Look, Standing};
use crate::domain::base::limits::{
    ALARM_SUBJECTS_MAX, ALERT_BEGINS_MAX, ALERT_DOUBTED_BEGINS_MAX, ALERT_KEYS_MAX, ALERT_QUIET_MS,
    ALERT_SHARE_MAX,
};
use crate::domain::base::{DeviceId, Severity, TimeMs};

/// How the subject of the alert begins that says how many do not fit.
const MORE: &str = "more than fit: ";

/// How many of one severity are shown, besides the one that says how many are not.
const SHOWN_MAX: usize = ALARM_SUBJECTS_MAX - 1;

/// What an alert weighs where there are too many, the heaviest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Weight {
    /// This node's own reading, or none at all, believed.
    Own,
    /// Another device's, believed.
    Believed,
    /// It stood before the start.
    Before,
    /// This node's own, not believed.
    OwnDoubted,
    /// Another device's, not believed.
    Doubted,
}

/// An alert that holds.
#[derive(Debug)]
pub(super) struct Candidate {
    pub(super) standing: Standing,
    pub(super) rule: String,
    pub(super) weight: Weight,
    /// Whether it was shown with the look before.
    pub(super) shown: bool,
    /// Which it is of its rule and device.
    pub(super) place: usize,
}

/// Whether a subject is that of the alert that says how many do not fit.
pub(super) fn is_more(subject: &str) -> bool {
    subject.starts_with(MORE)
}

impl Book {
    /// Chooses those that are shown.
    pub(super) fn fit(&mut self, found: Found, around: &Around<'_>) -> Look {
        let (now, mut missing) = (around.at.steady, found.unkept);
        let mut look = Look {
            standing: Vec::new(),
            ended: found.ended,
        };
        let (mut all, mut used) = (found.all, BTreeMap::<Severity, usize>::new());
        all.sort_by(|a, b| {
            let key = |c: &Candidate| (c.weight, !c.shown);
            (key(a), &a.standing.subject).cmp(&(key(b), &b.standing.subject))
        });
        let mut each: BTreeMap<(String, Option<DeviceId>), usize> = BTreeMap::new();
        for one in &mut all {
            let key = (one.rule.clone(), one.standing.origin.clone());
            let count = each.entry(key).or_default();
            (one.place, *count) = (*count, *count + 1);
        }
        // No device and no rule comes a second time before another one came once.
        all.sort_by_key(|one| (one.weight, one.place));
        for one in all {
            let used = used.entry(one.standing.severity).or_default();
            if *used < SHOWN_MAX && self.may_show(&one, now) {
                *used += 1;
                self.show(&one.standing.subject, now);
                look.standing.push(one.standing);
                continue;
            }
            *missing.entry(one.standing.severity).or_default() += 1;
            let subject = one.standing.subject;
            let entry = self.entries.get_mut(&subject);
            let was = entry.is_none_or(|e| std::mem::take(&mut e.shown));
            if was {
                let why = "it made room for others that matter more; it may still hold".to_owned();
                look.ended.push(Ended { subject, why });
            }
        }
        self.tell_more(&missing, now, &mut look);
        look
    }

    /// Whether an alert is within the share of its device: what is believed always is.
    fn may_show(&mut self, one: &Candidate, now: TimeMs) -> bool {
        let (Weight::Doubted, Some(device)) = (one.weight, &one.standing.origin) else {
            return true;
        };
        if one.place >= ALERT_SHARE_MAX || one.shown {
            return one.place < ALERT_SHARE_MAX;
        }
        self.paces.retain(|_, pace| {
            pace.retain(|at| now.since(*at) < HOUR_MS);
            !pace.is_empty()
        });
        if self.paces.len() >= ALERT_KEYS_MAX && !self.paces.contains_key(device) {
            return false;
        }
        let pace = self.paces.entry(device.clone()).or_default();
        let may = pace.len() < ALERT_DOUBTED_BEGINS_MAX;
        if may {
            pace.push_back(now);
        }
        may
    }

    fn show(&mut self, subject: &str, now: TimeMs) {
        let Some(entry) = self.entries.get_mut(subject) else {
            return;
        };
        if !std::mem::replace(&mut entry.shown, true) {
            entry.begins.push_back(now);
            if entry.begins.len() > ALERT_BEGINS_MAX {
                entry.begins.pop_front();
            }
        }
    }

    /// Says how many do not fit, until all have fitted for a while.
    fn tell_more(&mut self, missing: &BTreeMap<Severity, usize>, now: TimeMs, look: &mut Look) {
        for severity in [Severity::Critical, Severity::Warning, Severity::Info] {
            let subject = format!("{MORE}{}", severity.as_str());
            let count = missing.get(&severity).copied().unwrap_or_default();
            if count > 0 {
                self.more.insert(severity, now);
            }
            let last = self.more.get(&severity);
            if last.is_some_and(|at| now.since(*at) < ALERT_QUIET_MS) {
                let said = match count {
                    0 => "alerts of rules did not fit a while ago".to_owned(),
                    n => format!("and {n} more alerts of rules that do not fit"),
                };
                look.standing.push(Standing {
                    message: format!(
                        "{said}: at most {SHOWN_MAX} stand, and {ALERT_SHARE_MAX} of a rule and a device that is not believed"
                    ),
                    advice: "look at the readings and who makes them; give rules a zone and a source".to_owned(),
                    subject: subject.clone(),
                    severity,
                    private: false,
                    origin: None,
                });
                self.before.remove(&subject);
            } else if self.more.remove(&severity).is_some()
                || self.before.remove(&subject).is_some()
            {
                let why = "all have fitted for a while".to_owned();
                look.ended.push(Ended { subject, why });
            }
        }
    }
}
