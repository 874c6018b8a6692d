//! Sensors of the same thing: what they agree on is published beside what each says, and one that disagrees is not believed.
//! Alone none of them is: it takes more than half of those that speak in time.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::json;

use crate::adapters::devices::{Reading, Taken};
use crate::domain::base::quantity::number;
use crate::domain::quality::{Agreed, Doubt};
use crate::node::config::redundant::Redundant;

/// What a member said last that it believes itself.
#[derive(Debug, Clone)]
struct Vote {
    value: f64,
    at_ms: u64,
}

/// One group.
#[derive(Debug)]
struct Group {
    plan: Redundant,
    unit: String,
    /// In the order of the plan's readings.
    votes: Vec<Option<Vote>>,
    began_ms: u64,
    /// The members that have spoken since the agreed value was published, and whether it was believed.
    spoken: BTreeSet<usize>,
    agreed: Option<bool>,
    /// The value that was said last.
    said: Option<f64>,
}

/// What became of a look at a member.
#[derive(Debug, Default)]
pub(super) struct Judged {
    /// What the group says now, if that is to be published.
    pub group: Option<Reading>,
    /// Whether a doubt is of a group that has just begun, of which nobody needs to be told.
    pub early: bool,
}

/// The groups of the node.
#[derive(Debug, Clone, Default)]
pub(super) struct Groups(Arc<Mutex<Vec<Group>>>);

impl Groups {
    /// Those of a configuration, from `now_ms` of a clock that never steps.
    pub(super) fn new(plans: &[Redundant], now_ms: u64) -> Self {
        let each = plans.iter().map(|plan| Group::new(plan, now_ms));
        Self(Arc::new(Mutex::new(each.collect())))
    }

    /// These from now on. One whose table is the same goes on as it is, unless one of its sensors is among `changed`; the
    /// others that there were are given back.
    pub(super) fn become_these(
        &self,
        plans: &[Redundant],
        changed: &[String],
        now_ms: u64,
    ) -> Vec<Redundant> {
        let mut groups = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let before = std::mem::take(&mut *groups).into_iter();
        let (mut over, mut same): (Vec<Group>, Vec<Group>) =
            before.partition(|group| group.plan.readings.iter().any(|r| changed.contains(r)));
        let each = plans.iter().map(|plan| {
            let found = same.iter().position(|group| group.plan == *plan);
            found.map_or_else(|| Group::new(plan, now_ms), |at| same.swap_remove(at))
        });
        *groups = each.collect();
        over.append(&mut same);
        over.into_iter().map(|group| group.plan).collect()
    }

    /// A sensor has no value any more. What its group says then, if too few are left for what it said before.
    pub(super) fn fails(&self, sensor: &str, now_ms: u64) -> Option<Reading> {
        self.judge(sensor, None, &mut [], now_ms).group
    }

    /// A sensor was read: `last` is what it said last, if it believes that itself. Doubts those of its readings that the
    /// others contradict.
    pub(super) fn judge(
        &self,
        sensor: &str,
        last: Option<&Taken>,
        readings: &mut [Reading],
        now_ms: u64,
    ) -> Judged {
        let mut groups = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let found = groups.iter_mut().find_map(|group| {
            let member = group.member(sensor)?;
            Some((group, member))
        });
        let Some((group, member)) = found else {
            return Judged::default();
        };
        // As old as the device's own word: being read again makes no value newer.
        group.votes[member] = last.map(|last| Vote {
            value: last.value,
            at_ms: last.at_ms,
        });
        group.judge(member, readings, now_ms)
    }
}

impl Group {
    fn new(plan: &Redundant, now_ms: u64) -> Self {
        Self {
            votes: vec![None; plan.readings.len()],
            plan: plan.clone(),
            unit: String::new(),
            began_ms: now_ms,
            spoken: BTreeSet::new(),
            agreed: None,
            said: None,
        }
    }

    fn member(&self, sensor: &str) -> Option<usize> {
        self.plan.readings.iter().position(|name| name == sensor)
    }

    fn judge(&mut self, member: usize, readings: &mut [Reading], now_ms: u64) -> Judged {
        let fresh = self.votes.iter().enumerate().filter_map(|(member, vote)| {
            let vote = vote.as_ref()?;
            let age_ms = now_ms.saturating_sub(vote.at_ms);
            (age_ms <= self.plan.within_ms).then_some((member, vote.value))
        });
        let fresh: Vec<(usize, f64)> = fresh.collect();
        let values: Vec<f64> = fresh.iter().map(|(_, value)| *value).collect();
        let verdict = self.plan.agreement.judge(&values);
        let agrees = fresh.iter().zip(&verdict.agree);
        let agrees = agrees
            .filter(|(_, is)| **is)
            .map(|((member, _), _)| *member);
        let agrees: BTreeSet<usize> = agrees.collect();
        let silent = fresh.len() < self.votes.len();
        let early = silent && now_ms.saturating_sub(self.began_ms) <= self.plan.within_ms;
        for reading in readings.iter_mut() {
            self.unit = reading.unit.to_string();
            if reading.doubt.is_none() && !agrees.contains(&member) {
                let others = fresh.iter().filter(|(other, _)| *other != member);
                let others = others.map(|(_, value)| *value).collect::<Vec<_>>();
                reading.doubt = Some(Doubt::Contradicted {
                    others: in_words(&others),
                });
            }
        }
        let again = !readings.is_empty() && !self.spoken.insert(member);
        Judged {
            group: self.say(&fresh, &verdict, &agrees, again),
            early,
        }
    }

    /// What the group says: once all that speak have done so, but no later than one of them speaks again, or the value has
    /// moved by more than they may be apart; and at once when it begins or ceases to be believed.
    fn say(
        &mut self,
        fresh: &[(usize, f64)],
        verdict: &Agreed,
        agrees: &BTreeSet<usize>,
        again: bool,
    ) -> Option<Reading> {
        let Some(value) = verdict.value else {
            return self.silent();
        };
        let believed = !agrees.is_empty();
        let all = fresh.iter().all(|(member, _)| self.spoken.contains(member));
        let within = self.plan.agreement.within;
        let moved = self.said.is_none_or(|said| (said - value).abs() > within);
        let due = all || again || moved || self.agreed != Some(believed);
        // That it ceases to be believed is said also where nobody has spoken since.
        let ceases = self.agreed == Some(true) && !believed;
        if (self.spoken.is_empty() && !ceases) || !due {
            return None;
        }
        self.spoken.clear();
        self.said = Some(value);
        self.agreed = Some(believed);
        let values: Vec<f64> = fresh.iter().map(|(_, value)| *value).collect();
        let mut reading = Reading::new(self.plan.metric.clone(), "", value, self.unit.clone());
        reading.zone.clone_from(&self.plan.zone);
        if !believed {
            reading.doubt = Some(Doubt::Contradicted {
                others: in_words(&values),
            });
        }
        let names = agrees
            .iter()
            .filter_map(|member| self.plan.readings.get(*member));
        let names: Vec<&String> = names.collect();
        let of = self.plan.readings.len();
        reading
            .extra
            .insert("agreed".to_owned(), json!({"readings": names, "of": of}));
        Some(reading)
    }
}

impl Group {
    /// Nobody speaks in time any more: once, that what was agreed on last is believed no longer.
    fn silent(&mut self) -> Option<Reading> {
        let value = self.said.filter(|_| self.agreed == Some(true))?;
        self.agreed = Some(false);
        let mut reading = Reading::new(self.plan.metric.clone(), "", value, self.unit.clone());
        reading.zone.clone_from(&self.plan.zone);
        reading.doubt = Some(Doubt::Contradicted {
            others: in_words(&[]),
        });
        Some(reading)
    }
}

/// What others say.
fn in_words(values: &[f64]) -> String {
    let each: Vec<String> = values.iter().map(|value| number(*value)).collect();
    match each.is_empty() {
        true => "nothing".to_owned(),
        false => each.join(" and "),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::domain::quality::Agreement;

    fn groups() -> Groups {
        let plan = Redundant {
            metric: "level".into(),
            zone: None,
            readings: ["a", "b", "c"].map(String::from).into(),
            agreement: Agreement { within: 1.0, of: 2 },
            within_ms: 10_000,
        };
        Groups::new(&[plan], 0)
    }

    #[test]
    fn a_group_whose_table_and_sensors_are_the_same_goes_on() {
        let (groups, plan) = (groups(), groups().0.lock().unwrap()[0].plan.clone());
        says(&groups, "a", 20.0, 1_000);
        groups.become_these(std::slice::from_ref(&plan), &["other".to_owned()], 2_000);
        assert!(groups.0.lock().unwrap()[0].votes[0].is_some());
        groups.become_these(std::slice::from_ref(&plan), &["b".to_owned()], 3_000);
        assert!(groups.0.lock().unwrap()[0].votes[0].is_none());
        let wider = Redundant {
            within_ms: 20_000,
            ..plan
        };
        says(&groups, "a", 20.0, 4_000);
        groups.become_these(&[wider], &[], 5_000);
        assert!(groups.0.lock().unwrap()[0].votes[0].is_none());
        groups.become_these(&[], &[], 6_000);
        assert!(groups.0.lock().unwrap().is_empty());
    }

    /// The device of a sensor says a value, which is read at once.
    fn says(groups: &Groups, sensor: &str, value: f64, at_ms: u64) -> Judged {
        let taken = word(value, at_ms);
        let mut readings = [Reading::new("x".to_owned(), "", value, String::new())];
        groups.judge(sensor, Some(&taken), &mut readings, at_ms)
    }

    fn word(value: f64, at_ms: u64) -> Taken {
        Taken {
            raw: value,
            value,
            doubt: None,
            at_ms,
        }
    }

    #[test]
    fn a_quiet_sensor_does_not_freeze_what_the_others_agree_on() {
        let groups = groups();
        for sensor in ["a", "b", "c"] {
            says(&groups, sensor, 20.0, 1_000);
        }
        // c is alive and says nothing new; a and b move on, each a little.
        let mut said = Vec::new();
        for n in 1..=6_u32 {
            let at_ms = 1_000 + u64::from(n) * 500;
            for sensor in ["a", "b"] {
                let value = 20.0 + 0.1 * f64::from(n);
                said.extend(says(&groups, sensor, value, at_ms).group.map(|r| r.value));
            }
        }
        assert!(said.last().is_some_and(|last| *last > 20.3), "{said:?}");
    }

    #[test]
    fn what_was_agreed_on_is_doubted_as_soon_as_too_few_are_left_and_said_so_once() {
        let groups = groups();
        for sensor in ["a", "b", "c"] {
            says(&groups, sensor, 20.0, 1_000);
        }
        assert!(groups.fails("a", 1_500).is_none(), "two are enough");
        let said = groups.fails("b", 1_600).unwrap();
        assert!(said.doubt.is_some(), "one alone is believed");
        assert!(groups.fails("c", 1_700).is_none(), "it was said");
        assert!(
            says(&groups, "a", 20.0, 1_800)
                .group
                .is_none_or(|r| r.doubt.is_some())
        );
        // All fall silent without a fault: the next look at any of them tells.
        for sensor in ["a", "b", "c"] {
            says(&groups, sensor, 20.0, 2_000);
        }
        let old = word(20.0, 2_000);
        let said = groups
            .judge("a", Some(&old), &mut [], 12_001)
            .group
            .unwrap();
        assert!(said.doubt.is_some(), "nobody speaks and it is believed");
        assert!(
            groups
                .judge("b", Some(&old), &mut [], 12_002)
                .group
                .is_none()
        );
    }

    #[test]
    fn a_value_votes_for_as_long_as_its_devices_own_word_is_young() {
        let groups = groups();
        says(&groups, "a", 20.0, 1_000);
        says(&groups, "b", 20.0, 1_000);
        // a died: it is read again and again and has its old value each time.
        let dead = word(20.0, 1_000);
        for at_ms in (2_000..=14_000).step_by(1_000) {
            groups.judge("a", Some(&dead), &mut [], at_ms);
        }
        // What b says now agrees with nobody who speaks.
        let mut readings = [Reading::new("x".to_owned(), "", 20.0, String::new())];
        groups.judge("b", Some(&word(20.0, 14_000)), &mut readings, 14_000);
        assert!(readings[0].doubt.is_some(), "a dead one's old value voted");
    }
}
