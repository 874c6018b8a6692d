//! The steps of a sequence that acts, between their guards: what has begun, what is away from its safe state, and that
//! nothing further begins. In memory alone; nothing here waits for a disk, a log or the network.
//!
//! Whatever ends a sequence, its actuators go to their safe states in reverse order: the guard of an earlier step waits for
//! those of the later ones, and for each no longer than [`SEQUENCE_ORDER_MAX_MS`].

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::timeout;

use super::Cut;
use super::moved::Moved;
use crate::domain::base::ProposalId;
use crate::domain::base::limits::{SEQUENCE_ORDER_ALL_MAX_MS, SEQUENCE_ORDER_MAX_MS};
use crate::domain::capability::Capability;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rung {
    /// Its step has not begun.
    Ahead,
    /// Its permit is in use.
    Begun,
    /// Its driver has done what it was told.
    Away,
    /// It has ended, and the way to the safe state has been tried.
    Down,
}

#[derive(Debug)]
struct State {
    rungs: Vec<Rung>,
    /// Those whose end is due, since the later steps have ended.
    due: Vec<bool>,
    /// Why nothing further begins.
    cut: Option<Cut>,
}

/// Why the guard of a step ends it before its own time.
#[derive(Debug)]
pub(super) enum Over {
    /// The later steps have ended.
    Due,
    /// The sequence has come to an end.
    Cut(Cut),
}

/// See the module.
#[derive(Debug)]
pub struct Ladder(watch::Sender<State>);

impl Ladder {
    /// Of so many steps, none of which has begun.
    pub fn new(steps: usize) -> Self {
        let state = State {
            rungs: vec![Rung::Ahead; steps],
            due: vec![false; steps],
            cut: None,
        };
        Self(watch::channel(state).0)
    }

    /// Cuts the sequence short: nothing further begins, and the guards bring what has begun to its safe state. The first
    /// reason stands.
    pub fn cut(&self, why: Cut) {
        self.0.send_if_modified(|state| {
            let first = state.cut.is_none();
            if first {
                state.cut = Some(why);
            }
            first
        });
    }

    /// The end of a step that stays is due.
    pub fn finish(&self, n: usize) {
        self.0.send_modify(|state| {
            if let Some(due) = state.due.get_mut(n) {
                *due = true;
            }
        });
    }

    /// The steps that have begun and are not over, the last one first.
    pub fn under_way(&self) -> Vec<usize> {
        let state = self.0.borrow();
        let on = |rung: &Rung| matches!(rung, Rung::Begun | Rung::Away);
        let on = state.rungs.iter().enumerate().filter(|(_, r)| on(r));
        on.map(|(n, _)| n).rev().collect()
    }

    /// Resolves when the driver of a step has done what it was told; never if it does not.
    pub async fn away(&self, n: usize) {
        let mut seen = self.0.subscribe();
        let away = |state: &State| state.rungs.get(n) == Some(&Rung::Away);
        let gone = seen.wait_for(away).await.is_err();
        if gone {
            std::future::pending().await
        }
    }

    /// Resolves with why it was cut short.
    pub async fn is_cut(&self) -> Cut {
        let mut seen = self.0.subscribe();
        let cut = seen.wait_for(|state| state.cut.is_some()).await;
        let why = cut.ok().and_then(|state| state.cut.clone());
        match why {
            Some(why) => why,
            None => std::future::pending().await,
        }
    }

    fn set(&self, n: usize, to: Rung) {
        self.0
            .send_if_modified(|state| match state.rungs.get_mut(n) {
                Some(rung) if *rung != to && *rung != Rung::Down => {
                    *rung = to;
                    true
                }
                _ => false,
            });
    }
}

/// The places of actuators that a sequence had moved when the node was interrupted, in the order in which it did: there
/// they are on their way to the safe state. What was moved alone has none.
pub(super) fn places_of(left: &[Moved]) -> BTreeMap<Capability, Place> {
    let mut by_proposal: BTreeMap<&ProposalId, Vec<&Capability>> = BTreeMap::new();
    for moved in left {
        let of_it = by_proposal.entry(&moved.proposal).or_default();
        of_it.push(&moved.target);
    }
    let mut places = BTreeMap::new();
    for targets in by_proposal.into_values().filter(|all| all.len() > 1) {
        let ladder = Arc::new(Ladder::new(targets.len()));
        for (step, target) in targets.into_iter().enumerate() {
            ladder.set(step, Rung::Away);
            let place = Place {
                ladder: ladder.clone(),
                step,
                stays: true,
            };
            places.insert(target.clone(), place);
        }
    }
    places
}

/// The place of one step.
#[derive(Debug, Clone)]
pub struct Place {
    /// The whole.
    pub ladder: Arc<Ladder>,
    /// Which step, from zero.
    pub step: usize,
    /// Whether it stays until the later ones have ended.
    pub stays: bool,
}

impl Place {
    /// The step begins, unless the sequence was cut short. Each begins once.
    pub(super) fn begins(&self) -> Result<(), String> {
        let mut refused = Some("it has begun before".to_owned());
        self.ladder.0.send_if_modified(|state| {
            if let Some(why) = &state.cut {
                refused = Some(format!("{why} before the actuator was told"));
                return false;
            }
            match state.rungs.get_mut(self.step) {
                Some(rung) if *rung == Rung::Ahead => {
                    *rung = Rung::Begun;
                    refused = None;
                    true
                }
                _ => false,
            }
        });
        refused.map_or(Ok(()), Err)
    }

    /// Which one it is of how many.
    pub(super) fn in_words(&self) -> String {
        let count = self.ladder.0.borrow().rungs.len();
        format!("step {} of {count}", self.step + 1)
    }

    /// Its driver has done what it was told.
    pub(super) fn is_away(&self) {
        self.ladder.set(self.step, Rung::Away);
    }

    /// Its way to the safe state has been tried, or it never moved.
    pub(super) fn is_down(&self) {
        self.ladder.set(self.step, Rung::Down);
    }

    /// Resolves when its guard has to end it for the sequence's sake.
    pub(super) fn over(&self) -> impl Future<Output = Over> + use<> {
        let (mut seen, step) = (self.ladder.0.subscribe(), self.step);
        async move {
            let ended = |state: &State| state.cut.is_some() || state.due.get(step) == Some(&true);
            let over = seen
                .wait_for(ended)
                .await
                .ok()
                .map(|state| match &state.cut {
                    Some(why) => Over::Cut(why.clone()),
                    None => Over::Due,
                });
            match over {
                Some(over) => over,
                None => std::future::pending().await,
            }
        }
    }

    /// Waits until no later step is away, for each no longer than [`SEQUENCE_ORDER_MAX_MS`].
    pub(super) async fn later_are_down(&self) {
        let mut seen = self.ladder.0.subscribe();
        let later = |state: &State| {
            let later = state.rungs.iter().skip(self.step + 1);
            later
                .filter(|r| matches!(r, Rung::Begun | Rung::Away))
                .count()
        };
        let each = Duration::from_millis(SEQUENCE_ORDER_MAX_MS);
        let one_by_one = async {
            loop {
                let left = later(&seen.borrow_and_update());
                if left == 0 {
                    return;
                }
                let fewer = seen.wait_for(|state| later(state) < left);
                let hangs = timeout(each, fewer).await.is_err();
                if hangs {
                    return;
                }
            }
        };
        // Whatever came of the waiting, this one goes to its safe state now.
        let _ = timeout(Duration::from_millis(SEQUENCE_ORDER_ALL_MAX_MS), one_by_one).await;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn places() -> [Place; 3] {
        let ladder = Arc::new(Ladder::new(3));
        [0, 1, 2].map(|step| Place {
            ladder: ladder.clone(),
            step,
            stays: step < 2,
        })
    }

    #[test]
    fn each_step_begins_once_and_none_after_the_cut() {
        let [first, second, third] = places();
        first.begins().unwrap();
        assert!(first.begins().unwrap_err().contains("begun before"));
        second.begins().unwrap();
        second.is_away();
        first.ladder.cut(Cut::EmergencyStop);
        first.ladder.cut(Cut::Shutdown);
        let why = third.begins().unwrap_err();
        assert!(why.contains("the emergency stop before"), "{why}");
        assert_eq!(first.ladder.under_way(), [1, 0]);
        second.is_down();
        // What is down is never away again.
        second.is_away();
        assert_eq!(first.ladder.under_way(), [0]);
    }

    #[tokio::test(start_paused = true)]
    async fn an_earlier_step_waits_for_the_later_ones_and_not_for_ever() {
        let [first, second, third] = places();
        for place in [&first, &second, &third] {
            place.begins().unwrap();
            place.is_away();
        }
        // Nothing comes after the last one.
        third.later_are_down().await;
        let waits = first.later_are_down();
        tokio::pin!(waits);
        tokio::select! {
            biased;
            () = &mut waits => panic!("two are away"),
            () = std::future::ready(()) => {}
        }
        third.is_down();
        tokio::select! {
            biased;
            () = &mut waits => panic!("one is away"),
            () = std::future::ready(()) => {}
        }
        second.is_down();
        waits.await;
        // One that hangs does not hold up the one before it.
        let [first, second, _] = places();
        second.begins().unwrap();
        let begun = tokio::time::Instant::now();
        first.later_are_down().await;
        let waited = begun.elapsed();
        let most = Duration::from_millis(SEQUENCE_ORDER_MAX_MS);
        assert!(waited >= most && waited < most * 2, "{waited:?}");
    }
}
