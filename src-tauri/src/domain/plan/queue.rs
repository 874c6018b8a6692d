//! What waits for the planner's model, one thing after the other: questions of persons before anything that a machine
//! wants, and other devices last; of each kind those who ask in turn.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::domain::base::limits::{QUESTIONS_WAITING_MAX, TRIGGERS_MAX};

/// Why the model is asked; what stands earlier goes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Priority {
    /// A person asks.
    Operator,
    /// A reading crossed a threshold.
    Threshold,
    /// A time has come.
    Schedule,
    /// The planner looks by itself.
    Proactive,
    /// Another device asks.
    Device,
}

impl Priority {
    const ALL: [Priority; 5] = [
        Priority::Operator,
        Priority::Threshold,
        Priority::Schedule,
        Priority::Proactive,
        Priority::Device,
    ];
}

/// Something that waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trigger<T> {
    /// Why.
    pub priority: Priority,
    /// Who asks: a device or a rule. It has a share of the queue.
    pub asker: String,
    /// What makes two triggers the same.
    pub key: String,
    /// What is to be done.
    pub work: T,
}

/// What became of a trigger that was put into the queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pushed<T> {
    /// It waits behind so many; who asks for the first time goes before the others of one of them.
    Waits(usize),
    /// The same waits already; this one adds nothing.
    Same,
    /// Its asker has as many waiting as it may.
    TooMany,
    /// There is no room, for nothing that waits is less urgent.
    Full,
    /// It waits behind so many, and this one, the newest of the least urgent, gave way to it.
    Instead(usize, Trigger<T>),
}

/// The queue. Bounded; a trigger that finds it full displaces the newest of a less urgent kind.
#[derive(Debug, Clone)]
pub struct Queue<T> {
    lanes: [VecDeque<Trigger<T>>; Priority::ALL.len()],
}

impl<T> Default for Queue<T> {
    fn default() -> Self {
        Self {
            lanes: Default::default(),
        }
    }
}

fn lane(priority: Priority) -> usize {
    Priority::ALL
        .iter()
        .position(|p| *p == priority)
        .unwrap_or_default()
}

impl<T> Queue<T> {
    /// How many wait.
    pub fn len(&self) -> usize {
        self.lanes.iter().map(VecDeque::len).sum()
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Puts a trigger at the end of its kind.
    pub fn push(&mut self, trigger: Trigger<T>) -> Pushed<T> {
        let own = lane(trigger.priority);
        let mut waiting = self.lanes.iter().flatten();
        if waiting.any(|t| t.priority == trigger.priority && t.key == trigger.key) {
            return Pushed::Same;
        }
        let of_asker = self.lanes[own].iter().filter(|t| t.asker == trigger.asker);
        if of_asker.count() >= QUESTIONS_WAITING_MAX {
            return Pushed::TooMany;
        }
        let mut displaced = None;
        if self.len() >= TRIGGERS_MAX {
            let less = self.lanes.iter_mut().skip(own + 1).rev();
            displaced = less.into_iter().find_map(VecDeque::pop_back);
            if displaced.is_none() {
                return Pushed::Full;
            }
        }
        let ahead = self.lanes.iter().take(own + 1).map(VecDeque::len).sum();
        self.lanes[own].push_back(trigger);
        match displaced {
            Some(gave_way) => Pushed::Instead(ahead, gave_way),
            None => Pushed::Waits(ahead),
        }
    }

    /// The most urgent one, oldest first; those who ask for the same kind come in turn.
    pub fn pop(&mut self) -> Option<Trigger<T>> {
        let lane = self.lanes.iter_mut().find(|lane| !lane.is_empty())?;
        let next = lane.pop_front()?;
        let (others, own): (VecDeque<_>, VecDeque<_>) =
            lane.drain(..).partition(|t| t.asker != next.asker);
        lane.extend(others.into_iter().chain(own));
        Some(next)
    }

    /// Puts one that was popped back before all others of its kind; it made room for something more urgent. Where there is
    /// no room any more it is dropped.
    pub fn put_back(&mut self, trigger: Trigger<T>) {
        if self.len() < TRIGGERS_MAX {
            self.lanes[lane(trigger.priority)].push_front(trigger);
        }
    }

    /// Whether a person waits.
    pub fn has_person(&self) -> bool {
        !self.lanes[lane(Priority::Operator)].is_empty()
    }

    /// Takes the first one out that fits; whoever asked for it has gone.
    pub fn remove(&mut self, fits: impl Fn(&Trigger<T>) -> bool) -> Option<Trigger<T>> {
        self.lanes.iter_mut().find_map(|lane| {
            let at = lane.iter().position(&fits)?;
            lane.remove(at)
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::collections::{BTreeMap, BTreeSet};

    use proptest::prelude::*;

    use super::*;

    fn trigger(priority: Priority, asker: &str, n: usize) -> Trigger<usize> {
        Trigger {
            priority,
            asker: asker.to_owned(),
            key: n.to_string(),
            work: n,
        }
    }

    #[test]
    fn a_person_goes_before_machines_and_finds_room() {
        let mut queue = Queue::default();
        for n in 0..TRIGGERS_MAX {
            let asker = n.to_string();
            let pushed = queue.push(trigger(Priority::Proactive, &asker, n));
            assert_eq!(pushed, Pushed::Waits(n));
        }
        assert_eq!(
            queue.push(trigger(Priority::Proactive, "x", 900)),
            Pushed::Full
        );
        let Pushed::Instead(0, gave_way) = queue.push(trigger(Priority::Operator, "ana", 901))
        else {
            unreachable!("a person found no room")
        };
        assert_eq!(
            gave_way.work,
            TRIGGERS_MAX - 1,
            "the newest of the least urgent"
        );
        assert_eq!(
            queue.push(trigger(Priority::Operator, "bob", 901)),
            Pushed::Same
        );
        assert_eq!(queue.pop().unwrap().work, 901);
        assert_eq!(queue.pop().unwrap().work, 0);
        assert_eq!(queue.remove(|t| t.work == 5).unwrap().work, 5);
        assert_eq!(queue.len(), TRIGGERS_MAX - 3);
    }

    #[test]
    fn what_made_room_for_a_person_is_the_next_of_its_kind() {
        let mut queue = Queue::default();
        queue.push(trigger(Priority::Schedule, "first", 1));
        queue.push(trigger(Priority::Schedule, "second", 2));
        let first = queue.pop().unwrap();
        assert!(!queue.has_person());
        queue.push(trigger(Priority::Operator, "ana", 3));
        assert!(queue.has_person());
        queue.put_back(first);
        let order: Vec<usize> = std::iter::from_fn(|| queue.pop().map(|t| t.work)).collect();
        assert_eq!(order, [3, 1, 2]);
    }

    #[test]
    fn one_asker_does_not_fill_it() {
        let mut queue = Queue::default();
        for n in 0..QUESTIONS_WAITING_MAX {
            queue.push(trigger(Priority::Operator, "loud", n));
        }
        assert_eq!(
            queue.push(trigger(Priority::Operator, "loud", 99)),
            Pushed::TooMany
        );
        assert_eq!(
            queue.push(trigger(Priority::Operator, "ana", 100)),
            Pushed::Waits(QUESTIONS_WAITING_MAX)
        );
        let order: Vec<usize> = std::iter::from_fn(|| queue.pop().map(|t| t.work)).collect();
        assert_eq!(order, [0, 100, 1, 2, 3]);
    }

    proptest! {
        #[test]
        fn it_is_bounded_and_in_order(pushes in prop::collection::vec((0usize..5, 0usize..40), 0..300)) {
            let mut queue = Queue::default();
            for (n, (priority, asker)) in pushes.into_iter().enumerate() {
                queue.push(trigger(Priority::ALL[priority], &asker.to_string(), n));
                prop_assert!(queue.len() <= TRIGGERS_MAX);
            }
            let (mut last, mut rounds) = (None, BTreeMap::<(Priority, String), (usize, usize)>::new());
            while let Some(next) = queue.pop() {
                prop_assert!(last <= Some(next.priority));
                last = Some(next.priority);
                let waits: BTreeSet<String> = queue.lanes[lane(next.priority)].iter().map(|t| t.asker.clone()).collect();
                let one = rounds.entry((next.priority, next.asker.clone())).or_default();
                prop_assert!(one.0 == 0 || one.1 < next.work, "{next:?} after {one:?}");
                *one = (one.0 + 1, next.work);
                let served = one.0;
                // Nobody is served a second time while somebody waits for the first.
                for asker in waits {
                    let theirs = rounds.get(&(next.priority, asker)).map_or(0, |one| one.0);
                    prop_assert!(theirs + 1 >= served);
                }
            }
        }
    }
}
