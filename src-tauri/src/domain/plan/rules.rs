//! The rules planner: thresholds over the world model, with cooldowns. Always there, needs no model.
//!
//! Pure: facts and time in, wanted drafts out. It remembers only when each rule last fired.

use std::collections::BTreeMap;

use crate::domain::base::{FrameId, Taint, Tier, TimeMs};
use crate::domain::capability::Action;
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
}

/// A rule that fired: what it wants and the reading it rests on.
#[derive(Debug, Clone, PartialEq)]
pub struct Fired {
    /// The rule's name.
    pub rule: String,
    /// What it wants.
    pub action: Action,
    /// Why, in a sentence.
    pub reason: String,
    /// The frame it rests on.
    pub cites: FrameId,
    /// Marks of that frame.
    pub taint: std::collections::BTreeSet<Taint>,
}

/// When each rule last fired.
#[derive(Debug, Clone, Default)]
pub struct Memory {
    fired: BTreeMap<String, TimeMs>,
}

impl Memory {
    /// Makes a rule wait out its cooldown from `at`, for example because its draft was just decided.
    pub fn hold(&mut self, rule: &str, at: TimeMs) {
        self.fired.insert(rule.to_owned(), at);
    }
}

/// Evaluates every rule over the facts; rules in cooldown are quiet.
pub fn step(rules: &[Rule], facts: &dyn Facts, memory: &mut Memory, now: TimeMs) -> Vec<Fired> {
    let mut out = Vec::new();
    for rule in rules {
        let resting = memory
            .fired
            .get(&rule.name)
            .is_some_and(|at| now.since(*at) < rule.cooldown_ms);
        if resting {
            continue;
        }
        let hit = facts
            .latest(&rule.metric, rule.zone.as_deref())
            .into_iter()
            .filter(|f| f.effective >= rule.min_tier && now.since(f.sensed_at) <= rule.max_age_ms)
            .find(|f| rule.comparison.holds(f.value, rule.threshold));
        if let Some(fact) = hit {
            memory.fired.insert(rule.name.clone(), now);
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
        taint: fact.taint.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::base::{DeviceId, Digest};
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
        let mut count =
            |f: Fact, now: u64| step(&[rule()], &vec![f], &mut memory, TimeMs(now)).len();
        assert_eq!(count(fact(26.0, Tier::T2, 1_000), 1_000), 0);
        assert_eq!(count(fact(f64::NAN, Tier::T2, 1_000), 1_000), 0);
        assert_eq!(count(fact(20.0, Tier::T1, 1_000), 1_000), 0);
        assert_eq!(count(fact(20.0, Tier::T2, 1_000), 90_000), 0);
        assert_eq!(count(fact(20.0, Tier::T2, 90_000), 90_000), 1);
        assert_eq!(count(fact(19.0, Tier::T2, 91_000), 91_000), 0);
        assert_eq!(count(fact(19.0, Tier::T2, 120_000), 120_000), 1);
    }
}
