//! The permits of a sequence's steps. The permit of the whole moves nothing: in use it gives a permit for each of its
//! steps, in their order, each once and each as short-lived as any other, and none when the time of the whole is up.

use super::{By, Permit};
use crate::domain::base::TimeMs;
use crate::domain::base::limits::PERMIT_TTL_MS;
use crate::domain::gate::lease::Entitled;
use crate::domain::policy::{Kind, Step};

/// The permit of a sequence in use. Only [`Permit::steps`] makes one.
#[derive(Debug, PartialEq)]
pub struct Steps {
    whole: Permit,
    next: usize,
}

impl Permit {
    /// Uses the permit of a sequence; `None` where it has lapsed or is no sequence's. `waited_ms` is the time since it was
    /// given, by the boot clock.
    pub fn steps(self, now: TimeMs, waited_ms: u64) -> Option<Steps> {
        let lapsed = now > self.valid_until || waited_ms > PERMIT_TTL_MS;
        let is_sequence = matches!(self.kind, Kind::Sequence { .. });
        (is_sequence && !lapsed).then_some(Steps {
            whole: self,
            next: 0,
        })
    }
}

impl Steps {
    /// Every step, in order.
    pub fn all(&self) -> &[Step] {
        match &self.whole.kind {
            Kind::Sequence { steps } => steps,
            _ => &[],
        }
    }

    /// The permit of the next step. `None` after the last one, and where the time of the whole does not last for it:
    /// `elapsed_ms` have passed since the permit of the whole was given, by the boot clock.
    pub fn next(&mut self, now: TimeMs, elapsed_ms: u64) -> Option<Permit> {
        let step = self.all().get(self.next)?.clone();
        self.next += 1;
        if elapsed_ms.saturating_add(step.run_ms) > self.whole.run_ms {
            return None;
        }
        Some(Permit {
            proposal_id: self.whole.proposal_id.clone(),
            digest: self.whole.digest,
            action: step.action,
            safe_state: step.safe_state,
            kind: match step.pulse {
                true => Kind::Pulse,
                false => Kind::Timed,
            },
            kept_from: Entitled::default(),
            replaces: None,
            run_ms: step.run_ms,
            valid_until: now.plus(PERMIT_TTL_MS),
            by: Box::new(By {
                names: self.whole.by.names.clone(),
                standing: None,
            }),
            grounds: self.whole.grounds.clone(),
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use std::collections::BTreeSet;

    use super::super::{ActuationRuling, ExecutionRequest, rule};
    use super::*;
    use crate::domain::base::{DeviceId, Digest, Tier};
    use crate::domain::capability::{Action, Params};
    use crate::domain::policy::{Class, Level, Terms};

    const NOW: TimeMs = TimeMs(1_000);

    fn step(target: &str, stays: bool, run_ms: u64) -> Step {
        Step {
            action: Action::new(target.parse().unwrap(), "start", Params::new()).unwrap(),
            wait_ms: 0,
            stays,
            run_ms,
            pulse: false,
            safe_state: "stop".into(),
            rule: "part".into(),
        }
    }

    /// The permit of a valve that stays open while a pump runs for 5 s.
    fn permit() -> Permit {
        let own = DeviceId::of_public_key(&[1; 32]);
        let target = "actuator:sequence:water".parse().unwrap();
        let action = Action::new(target, "start", Params::new()).unwrap();
        let steps = vec![
            step("actuator:part:valve", true, 6_000),
            step("actuator:part:pump", false, 5_000),
        ];
        let request = ExecutionRequest {
            proposal_id: &"p".parse().unwrap(),
            digest: &Digest([0; 32]),
            executor: &own,
            own: &own,
            asked_by: &own,
            action: &action,
            level: Level::L1,
            quorum: 0,
            at_node: false,
            run_ms: 8_000,
            taint: &BTreeSet::new(),
            sources: &BTreeSet::new(),
            by_gen1: false,
            replaces: None,
            expires_at: TimeMs(9_000),
        };
        let terms = Terms {
            rule: "water".into(),
            class: Class::OwnRules,
            level: Level::L1,
            quorum: 0,
            at_node: false,
            kind: Kind::Sequence { steps },
            deadline_ms: 60_000,
            run_ms: 8_000,
            safe_state: "safe".into(),
            fresh_for_ms: None,
            tier: None,
            min_tier: Tier::T2,
            standing: Err("no".into()),
            checks: Vec::new(),
        };
        match rule(&request, &terms, &[], true, NOW) {
            ActuationRuling::Allow(permit) => permit,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_permit_of_a_sequence_moves_nothing_itself() {
        assert!(permit().consume(NOW, 0).is_none());
        assert!(permit().steps(NOW, PERMIT_TTL_MS + 1).is_none());
        assert!(
            permit()
                .steps(TimeMs(NOW.0 + PERMIT_TTL_MS + 1), 0)
                .is_none()
        );
    }

    #[test]
    fn each_step_has_one_permit_in_its_order_and_within_the_time_of_the_whole() {
        let mut steps = permit().steps(NOW, 0).unwrap();
        let valve = steps.next(NOW, 0).unwrap();
        assert_eq!(valve.action().target.as_str(), "actuator:part:valve");
        assert_eq!((valve.safe_state(), valve.run_ms()), ("stop", 6_000));
        assert!(valve.steps(NOW, 0).is_none(), "a step is no sequence");
        let later = TimeMs(NOW.0 + 60_000);
        let pump = steps.next(later, 3_000).unwrap();
        assert_eq!(pump.action().target.as_str(), "actuator:part:pump");
        let act = pump.consume(later, PERMIT_TTL_MS).unwrap();
        assert_eq!(act.action().target.as_str(), "actuator:part:pump");
        assert!(steps.next(later, 3_000).is_none(), "there are no more");
        let mut late = permit().steps(NOW, 0).unwrap();
        late.next(NOW, 0).unwrap();
        assert!(late.next(later, 3_001).is_none(), "the whole would be over");
        let mut short = permit().steps(NOW, 0).unwrap();
        let valve = short.next(NOW, 0).unwrap();
        assert!(
            valve.consume(NOW, PERMIT_TTL_MS + 1).is_none(),
            "a step's permit lapses as any other"
        );
    }
}
