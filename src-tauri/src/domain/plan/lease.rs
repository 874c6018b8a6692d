//! Leadership among planners of our own kind: of those that have a task, one does it and the others stand by. Every
//! planner tells its neighbours what it does; who has not told for [`LEASE_MS`] has gone. The order is the same
//! everywhere: role, then lowest device id.
//!
//! What a planner tells is only its word. It can delay what another planner asks for, and make it ask for nothing by
//! itself while it says that a person has paused it; it can move nothing, and two that lead do no harm, for the executor
//! mints and acts.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::rules::{Rule, When};
use super::standing::Standing;
use crate::domain::base::limits::{LEASE_MS, LEASE_TASKS_MAX, LEASES_MAX};
use crate::domain::base::{Code, DeviceId, Digest, Refusal};

/// The characters of a task's name: 64 bits of its digest.
const TASK_CHARS: usize = 16;

/// What makes two tasks of planners the same, as hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct TaskId(String);

impl TaskId {
    /// The task of a rule. Its name and its rest are no part of it: the same threshold, or the same time, with the same wish
    /// is one task. One that names the node itself is its own.
    pub fn of_rule(rule: &Rule, own: &DeviceId) -> Self {
        let executor = match rule.executor.as_deref() {
            Some("self") => own.as_str(),
            other => other.unwrap_or_default(),
        };
        let wish = rule.action.intent_key();
        match &rule.when {
            When::Beyond(watch) => {
                let zone = watch.zone.as_deref().unwrap_or_default();
                let said = format!("{} {:?}", watch.comparison.sign(), watch.threshold);
                Self::of(&["rule", &watch.metric, zone, &said, executor, &wish])
            }
            When::At(cron) => Self::of(&["rule at", &cron.to_string(), executor, &wish]),
        }
    }

    /// The task of a standing question: the same text for the same reason is one task.
    pub fn of_question(question: &Standing) -> Self {
        let least = question.watch().map(|w| w.min_tier.to_string());
        Self::of(&[
            "question",
            &question.text,
            &question.when(),
            least.as_deref().unwrap_or_default(),
        ])
    }

    /// The task that these texts name.
    pub fn of(parts: &[&str]) -> Self {
        let parts: Vec<String> = parts.iter().map(|p| format!("{}:{p}", p.len())).collect();
        let digest = Digest::of(&[b"clawmesh/task/v1\n", parts.concat().as_bytes()]);
        Self(digest.to_string().chars().take(TASK_CHARS).collect())
    }
}

impl<'de> Deserialize<'de> for TaskId {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = String::deserialize(d)?;
        let hex = |c: char| c.is_ascii_digit() || ('a'..='f').contains(&c);
        match text.len() == TASK_CHARS && text.chars().all(hex) {
            true => Ok(Self(text)),
            false => Err(serde::de::Error::custom("a task is 16 hexadecimal digits")),
        }
    }
}

/// Which planners go before which.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Rank {
    /// A planner.
    Planner,
    /// One that plans if no planner does.
    StandbyPlanner,
}

/// What a planner tells of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Lease {
    /// Counts the changes of who leads: who begins to lead takes one more than it has heard of.
    pub epoch: u64,
    /// Its role.
    pub role: Rank,
    /// What it does by itself.
    pub tasks: BTreeSet<TaskId>,
    /// Whether a model answers questions there.
    pub answers: bool,
    /// Whether a person has paused it: its tasks rest, here as there.
    pub paused: bool,
}

impl Lease {
    /// Reads what a planner tells.
    ///
    /// # Errors
    /// `INVALID_PARAMS` for anything that does not read or names too many tasks.
    pub fn parse(payload: serde_json::Value) -> Result<Self, Refusal> {
        let bad = |why: String| Refusal::new(Code::InvalidParams, format!("planner.lease: {why}"));
        let lease: Self = serde_json::from_value(payload).map_err(|e| bad(e.to_string()))?;
        if lease.tasks.len() > LEASE_TASKS_MAX {
            return Err(bad(format!("at most {LEASE_TASKS_MAX} tasks")));
        }
        Ok(lease)
    }
}

/// A planner that goes before this one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leader {
    /// The device.
    pub device: DeviceId,
    /// What it told last.
    pub lease: Lease,
}

/// What this node has heard of other planners.
#[derive(Debug, Clone, Default)]
pub struct Leases {
    heard: BTreeMap<DeviceId, (Lease, u64)>,
    newest: u64,
}

impl Leases {
    /// A planner told of itself, at this moment of the clock that never steps. Who it is was proven by its link, and that
    /// it may plan is known. No more are remembered than there can be.
    pub fn hear(&mut self, device: DeviceId, lease: Lease, steady_ms: u64) {
        let full = self.heard.len() >= LEASES_MAX && !self.heard.contains_key(&device);
        if full {
            self.heard.retain(|_, (_, at)| is_live(*at, steady_ms));
            if self.heard.len() >= LEASES_MAX {
                return;
            }
        }
        // A number that was made up does not use up those that are left.
        self.newest = self
            .newest
            .max(lease.epoch.min(self.newest.saturating_add(1 << 16)));
        self.heard.insert(device, (lease, steady_ms));
    }

    /// The link to a planner has ended, or it may not plan any more.
    pub fn gone(&mut self, device: &DeviceId) {
        self.heard.remove(device);
    }

    /// Who was heard.
    pub fn devices(&self) -> impl Iterator<Item = &DeviceId> {
        self.heard.keys()
    }

    /// The epoch of who begins to lead now.
    pub fn next_epoch(&self) -> u64 {
        self.newest.saturating_add(1)
    }

    /// The planner that goes before all others that are heard.
    pub fn first(&self, steady_ms: u64) -> Option<Leader> {
        self.best(steady_ms, |_| true)
    }

    /// The planner that does a task instead of this one: it goes before it, and has the task.
    pub fn instead(&self, own: (Rank, &DeviceId), task: &TaskId, steady_ms: u64) -> Option<Leader> {
        let best = self.best(steady_ms, |lease| lease.tasks.contains(task))?;
        goes_before(&best, own).then_some(best)
    }

    /// The planner that goes before this one, whatever it does.
    pub fn before(&self, own: (Rank, &DeviceId), steady_ms: u64) -> Option<Leader> {
        let best = self.best(steady_ms, |_| true)?;
        goes_before(&best, own).then_some(best)
    }

    fn best(&self, steady_ms: u64, fits: impl Fn(&Lease) -> bool) -> Option<Leader> {
        let live = self.heard.iter();
        live.filter(|(_, (lease, at))| is_live(*at, steady_ms) && fits(lease))
            .min_by_key(|(device, (lease, _))| (lease.role, *device))
            .map(|(device, (lease, _))| Leader {
                device: device.clone(),
                lease: lease.clone(),
            })
    }
}

fn goes_before(leader: &Leader, own: (Rank, &DeviceId)) -> bool {
    (leader.lease.role, &leader.device) < own
}

fn is_live(heard_at: u64, steady_ms: u64) -> bool {
    steady_ms.saturating_sub(heard_at) < LEASE_MS
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn device(n: u8) -> DeviceId {
        DeviceId::of_public_key(&[n; 32])
    }

    fn task(n: u8) -> TaskId {
        TaskId::of(&["test", &n.to_string()])
    }

    fn lease(role: Rank, tasks: &[u8]) -> Lease {
        Lease {
            epoch: 1,
            role,
            tasks: tasks.iter().map(|n| task(*n)).collect(),
            answers: false,
            paused: false,
        }
    }

    #[test]
    fn a_task_is_done_by_the_first_that_has_it_and_tells() {
        let mut ids = [1, 2, 3].map(device);
        ids.sort();
        let [a, b, c] = &ids;
        let mut leases = Leases::default();
        leases.hear(a.clone(), lease(Rank::StandbyPlanner, &[1, 2]), 0);
        leases.hear(b.clone(), lease(Rank::Planner, &[1]), 0);
        let own = (Rank::Planner, c);
        assert_eq!(leases.instead(own, &task(1), 0).unwrap().device, *b);
        assert_eq!(
            leases.instead(own, &task(2), 0),
            None,
            "a substitute does not go before a planner"
        );
        assert_eq!(leases.instead(own, &task(3), 0), None);
        let substitute = (Rank::StandbyPlanner, c);
        assert_eq!(leases.instead(substitute, &task(2), 0).unwrap().device, *a);
        assert_eq!(leases.first(LEASE_MS - 1).unwrap().device, *b);
        assert_eq!(leases.instead(own, &task(1), LEASE_MS), None);
        leases.gone(b);
        assert_eq!(leases.first(0).unwrap().device, *a);
    }

    #[test]
    fn what_is_told_is_bounded() {
        let mut leases = Leases::default();
        for n in 0..=255 {
            leases.hear(device(n), lease(Rank::Planner, &[]), 0);
        }
        assert_eq!(leases.heard.len(), LEASES_MAX);
        let made_up = Lease {
            epoch: u64::MAX,
            ..lease(Rank::Planner, &[])
        };
        leases.hear(device(0), made_up, LEASE_MS);
        assert!(leases.next_epoch() < 1 << 20);
        let many: Vec<String> = (0..=LEASE_TASKS_MAX).map(|n| format!("{n:016x}")).collect();
        let said = |tasks: &[String]| json!({"epoch": 1, "role": "planner", "tasks": tasks, "answers": true, "paused": false});
        assert!(Lease::parse(said(&many)).is_err());
        assert!(Lease::parse(said(&many[1..])).is_ok());
        assert!(Lease::parse(said(&["xyz".to_owned()])).is_err());
        assert!(Lease::parse(json!({"role": "king"})).is_err());
    }

    proptest! {
        /// Planners that all hear each other agree on who does a task.
        #[test]
        fn exactly_one_does_a_task(
            roles in prop::collection::vec(any::<bool>(), 1..6),
            has in prop::collection::vec(any::<bool>(), 6),
        ) {
            let role = |standby: bool| if standby { Rank::StandbyPlanner } else { Rank::Planner };
            let all: Vec<(DeviceId, Lease)> = roles
                .iter()
                .enumerate()
                .map(|(n, standby)| {
                    let tasks: &[u8] = if has[n] { &[1] } else { &[] };
                    (device(u8::try_from(n).unwrap()), lease(role(*standby), tasks))
                })
                .collect();
            let acts = all.iter().filter(|(own, mine)| {
                let mut leases = Leases::default();
                for (other, said) in all.iter().filter(|(other, _)| other != own) {
                    leases.hear(other.clone(), said.clone(), 5);
                }
                mine.tasks.contains(&task(1)) && leases.instead((mine.role, own), &task(1), 5).is_none()
            });
            prop_assert_eq!(acts.count(), usize::from(all.iter().any(|(_, l)| !l.tasks.is_empty())));
        }
    }
}
