//! The rules planner: thresholds over the world model, with cooldowns. Always there, needs no model.
//!
//! Pure: facts and time in, wanted drafts out. It remembers only when each rule last fired.

use std::collections::BTreeMap;

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

/// One threshold and what to ask for when it is crossed.
#[derive(Debug, Clone, PartialEq)]
pub struct Rule {
    /// Its name, unique among the rules.
    pub name: String,
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
    /// What it asks for.
    pub action: Action,
    /// The executor it asks, by name or id; where absent the one that the reading comes from, if that
    /// has such an actuator, else the only one there is.
    pub executor: Option<String>,
}

/// A rule that fired: what it wants and the reading it rests on.
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
    /// The frame it rests on.
    pub cites: FrameId,
    /// The device that made it.
    pub origin: DeviceId,
    /// Marks of that frame.
    pub taint: std::collections::BTreeSet<Taint>,
}

/// When each rule last fired, for each place with an actuator of its own.
#[derive(Debug, Clone, Default)]
pub struct Memory {
    fired: BTreeMap<(String, Option<DeviceId>), TimeMs>,
}

/// Evaluates every rule over the facts; rules in cooldown are quiet. `acts` tells whether a device has
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
    for rule in rules {
        let hits = facts
            .latest(&rule.metric, rule.zone.as_deref())
            .into_iter()
            .filter(|f| f.effective >= rule.min_tier && now.since(f.sensed_at) <= rule.max_age_ms)
            .filter(|f| rule.comparison.holds(f.value, rule.threshold));
        for fact in hits {
            let own_place = rule.executor.is_none() && acts(&fact.origin, &rule.action.target);
            let key = (rule.name.clone(), own_place.then(|| fact.origin.clone()));
            let last = memory.fired.get(&key);
            if last.is_some_and(|at| now.since(*at) < rule.cooldown_ms) {
                continue;
            }
            memory.fired.insert(key, now);
            out.push(fired(rule, &fact));
        }
    }
    out
}

fn fired(rule: &Rule, fact: &Fact) -> Fired {
    let unit = fact.unit.as_deref().unwrap_or_default();
    let zone = fact
        .zone
        .as_ref()
        .map(|z| format!(" in {z}"))
        .unwrap_or_default();
    Fired {
        rule: rule.name.clone(),
        action: rule.action.clone(),
        executor: rule.executor.clone(),
        reason: format!(
            "{}{} is {}{}, {} {}{}",
            fact.metric,
            zone,
            fact.value,
            unit,
            rule.comparison.word(),
            rule.threshold,
            unit
        ),
        cites: fact.frame_id.clone(),
        origin: fact.origin.clone(),
        taint: fact.taint.clone(),
    }
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
            metric: "moisture".into(),
            zone: None,
            comparison: Comparison::Below,
            threshold: 25.0,
            min_tier: Tier::T2,
            max_age_ms: 60_000,
            cooldown_ms: 30_000,
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
