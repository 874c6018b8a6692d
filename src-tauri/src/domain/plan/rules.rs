//! The rules planner: thresholds over the world model, with cooldowns, and schedules. Always there, needs no model.
//!
//! Pure: facts and time in, wanted drafts out. It remembers only when each threshold last fired; what has been asked for of
//! a schedule is in `slots`.

use std::collections::{BTreeMap, BTreeSet};

use super::cron::Cron;
use crate::domain::base::{DeviceId, FrameId, Taint, Tier, TimeMs};
use crate::domain::capability::{Action, Capability};
use crate::domain::world::{Fact, Facts};

/// How a reading is compared with a threshold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Comparison {
    /// The reading lies below the threshold.
    Below,
    /// The reading lies above the threshold.
    Above,
}

impl Comparison {
    /// Whether `value` is beyond `threshold`; a value that is no number never is.
    pub fn holds(self, value: f64, threshold: f64) -> bool {
        match self {
            Comparison::Below => value < threshold,
            Comparison::Above => value > threshold,
        }
    }

    /// As a sign.
    pub fn sign(self) -> &'static str {
        match self {
            Comparison::Below => "<",
            Comparison::Above => ">",
        }
    }

    fn word(self) -> &'static str {
        match self {
            Comparison::Below => "below",
            Comparison::Above => "above",
        }
    }
}

/// A threshold over a metric.
#[derive(Debug, Clone, PartialEq)]
pub struct Watch {
    /// The metric it watches.
    pub metric: String,
    /// The zone, or any.
    pub zone: Option<String>,
    /// How it compares.
    pub comparison: Comparison,
    /// With what, in the metric's unit.
    pub threshold: f64,
    /// The weakest effective tier it reacts to.
    pub min_tier: Tier,
    /// The oldest reading it reacts to, in milliseconds.
    pub max_age_ms: u64,
    /// How long it stays quiet after firing, in milliseconds.
    pub cooldown_ms: u64,
}

impl Watch {
    /// The readings that lie beyond the threshold.
    pub fn beyond(&self, facts: &dyn Facts, now: TimeMs) -> impl Iterator<Item = Fact> {
        facts
            .latest(&self.metric, self.zone.as_deref())
            .into_iter()
            .filter(move |f| {
                f.effective >= self.min_tier
                    && now.since(f.sensed_at) <= self.max_age_ms
                    && self.comparison.holds(f.value, self.threshold)
            })
    }

    /// What a reading beyond the threshold says, in a sentence. It goes with the wish and is read by everybody who reads
    /// of it, so the value of a private one is not in it.
    pub fn says(&self, fact: &Fact) -> String {
        let unit = fact.unit.as_deref().unwrap_or_default();
        let zone = fact.zone.as_ref();
        let value = match fact.private {
            true => "private".to_owned(),
            false => format!("{}{unit}", fact.value),
        };
        format!(
            "{}{} is {value}, {} {}{unit}",
            fact.metric,
            zone.map(|z| format!(" in {z}")).unwrap_or_default(),
            self.comparison.word(),
            self.threshold,
        )
    }
}

/// What makes a rule ask.
#[derive(Debug, Clone, PartialEq)]
pub enum When {
    /// A reading lies beyond a threshold.
    Beyond(Watch),
    /// A time has come.
    At(Cron),
}

/// When to ask, and for what.
#[derive(Debug, Clone, PartialEq)]
pub struct Rule {
    /// Its name, unique among the rules.
    pub name: String,
    /// What makes it ask.
    pub when: When,
    /// What it asks for.
    pub action: Action,
    /// The executor it asks, by name or id; where absent the one that the reading comes from, if that
    /// has such an actuator, else the only one there is.
    pub executor: Option<String>,
}

impl Rule {
    /// Its threshold, if it has one.
    pub fn watch(&self) -> Option<&Watch> {
        match &self.when {
            When::Beyond(watch) => Some(watch),
            When::At(_) => None,
        }
    }

    /// Its schedule, if it has one.
    pub fn schedule(&self) -> Option<&Cron> {
        match &self.when {
            When::At(cron) => Some(cron),
            When::Beyond(_) => None,
        }
    }
}

/// What a wish of a rule rests on.
#[derive(Debug, Clone, PartialEq)]
pub enum Because {
    /// A reading.
    Reading {
        /// The frame it rests on.
        cites: FrameId,
        /// The device that made it.
        origin: DeviceId,
        /// Marks of that frame.
        taint: BTreeSet<Taint>,
    },
    /// The time of its schedule.
    Slot(TimeMs),
}

/// A rule that fired: what it wants and what that rests on.
#[derive(Debug, Clone, PartialEq)]
pub struct Fired {
    /// The rule's name.
    pub rule: String,
    /// What it wants.
    pub action: Action,
    /// The executor the rule names.
    pub executor: Option<String>,
    /// Why, in a sentence.
    pub reason: String,
    /// What it rests on.
    pub because: Because,
}

impl Fired {
    fn of(rule: &Rule, reason: String, because: Because) -> Self {
        Self {
            rule: rule.name.clone(),
            action: rule.action.clone(),
            executor: rule.executor.clone(),
            reason,
            because,
        }
    }

    /// What a rule with this schedule wants at a time of it.
    pub fn at(rule: &Rule, cron: &Cron, slot: TimeMs) -> Self {
        let reason = format!("it is {} ({cron})", cron.shown(slot));
        Self::of(rule, reason, Because::Slot(slot))
    }
}

/// When each rule last fired, for each place with an actuator of its own.
#[derive(Debug, Clone, Default)]
pub struct Memory {
    fired: BTreeMap<(String, Option<DeviceId>), TimeMs>,
}

impl Memory {
    /// Whether something is not in cooldown for a place; if so it fires now.
    pub fn may_fire(
        &mut self,
        name: &str,
        place: Option<DeviceId>,
        cooldown_ms: u64,
        now: TimeMs,
    ) -> bool {
        let key = (name.to_owned(), place);
        let last = self.fired.get(&key);
        if last.is_some_and(|at| now.since(*at) < cooldown_ms) {
            return false;
        }
        self.fired.insert(key, now);
        true
    }
}

/// Evaluates every threshold over the facts; rules in cooldown are quiet. `acts` tells whether a device has
/// such an actuator itself: its readings are about its own place, so that a rule fires, and rests, for
/// each such device on its own. All other readings share one.
pub fn step(
    rules: &[Rule],
    facts: &dyn Facts,
    acts: &dyn Fn(&DeviceId, &Capability) -> bool,
    memory: &mut Memory,
    now: TimeMs,
) -> Vec<Fired> {
    let mut out = Vec::new();
    let watching = rules.iter().filter_map(|r| Some((r, r.watch()?)));
    for (rule, watch) in watching {
        for fact in watch.beyond(facts, now) {
            let own_place = rule.executor.is_none() && acts(&fact.origin, &rule.action.target);
            let place = own_place.then(|| fact.origin.clone());
            if !memory.may_fire(&rule.name, place, watch.cooldown_ms, now) {
                continue;
            }
            let because = Because::Reading {
                cites: fact.frame_id.clone(),
                origin: fact.origin.clone(),
                taint: fact.taint.clone(),
            };
            out.push(Fired::of(rule, watch.says(&fact), because));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::base::Digest;
    use crate::domain::capability::Params;
    use crate::domain::world::SignatureState;

    fn rule() -> Rule {
        Rule {
            name: "dry".into(),
            when: When::Beyond(Watch {
                metric: "moisture".into(),
                zone: None,
                comparison: Comparison::Below,
                threshold: 25.0,
                min_tier: Tier::T2,
                max_age_ms: 60_000,
                cooldown_ms: 30_000,
            }),
            action: Action::new(
                "actuator:mock:valve-1".parse().unwrap(),
                "open",
                Params::new(),
            )
            .unwrap(),
            executor: None,
        }
    }

    fn fact(value: f64, effective: Tier, at: u64) -> Fact {
        Fact {
            metric: "moisture".into(),
            zone: Some("zone-1".into()),
            origin: DeviceId::of_public_key(&[1; 32]),
            value,
            unit: Some("%".into()),
            frame_id: "f".parse().unwrap(),
            content: Digest::of(&[b"x"]),
            claimed: Tier::T2,
            effective,
            signature: SignatureState::Verified,
            taint: Default::default(),
            sensed_at: TimeMs(at),
            received_at: TimeMs(at),
            private: false,
        }
    }

    #[test]
    fn fires_once_per_cooldown_and_only_on_fresh_believable_readings() {
        let mut memory = Memory::default();
        let mut count = |f: Fact, now: u64| {
            step(&[rule()], &vec![f], &|_, _| false, &mut memory, TimeMs(now)).len()
        };
        assert_eq!(count(fact(26.0, Tier::T2, 1_000), 1_000), 0);
        assert_eq!(count(fact(f64::NAN, Tier::T2, 1_000), 1_000), 0);
        assert_eq!(count(fact(20.0, Tier::T1, 1_000), 1_000), 0);
        assert_eq!(count(fact(20.0, Tier::T2, 1_000), 90_000), 0);
        assert_eq!(count(fact(20.0, Tier::T2, 90_000), 90_000), 1);
        assert_eq!(count(fact(19.0, Tier::T2, 91_000), 91_000), 0);
        assert_eq!(count(fact(19.0, Tier::T2, 120_000), 120_000), 1);
    }

    #[test]
    fn beds_with_a_valve_of_their_own_are_each_watered() {
        let at = |n: u8, value| Fact {
            origin: DeviceId::of_public_key(&[n; 32]),
            ..fact(value, Tier::T2, 1_000)
        };
        let beds = vec![at(1, 10.0), at(2, 90.0), at(3, 12.0)];
        let count = |executor: Option<&str>, acts: bool| {
            let rule = Rule {
                executor: executor.map(str::to_owned),
                ..rule()
            };
            let mut memory = Memory::default();
            step(&[rule], &beds, &|_, _| acts, &mut memory, TimeMs(1_000)).len()
        };
        assert_eq!(count(None, true), 2, "each dry bed on its own");
        assert_eq!(
            count(None, false),
            1,
            "sensors without a valve share one cooldown"
        );
        assert_eq!(
            count(Some("south"), true),
            1,
            "one named valve has one cooldown"
        );
    }
}
