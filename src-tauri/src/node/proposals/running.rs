//! The actions of this executor whose outcome is not known yet, and the latch that stops them all.
//! In memory only: the emergency stop and `stop` read it without the store.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use super::estop::Latch;
use crate::domain::base::ProposalId;
use crate::domain::base::limits::ESTOPS_KNOWN_MAX;
use crate::domain::capability::{Action, Capability};
use crate::domain::gate::Permit;
use crate::domain::policy::Kind;
use crate::node::guards::ladder::Ladder;

/// See the module.
#[derive(Debug)]
pub struct Running {
    state: Mutex<State>,
    latching: watch::Sender<u64>,
    /// Whether the outcome of an action was given up, since nothing could be written.
    lost: AtomicBool,
}

impl Default for Running {
    fn default() -> Self {
        Self {
            state: Mutex::default(),
            latching: watch::channel(0).0,
            lost: AtomicBool::new(false),
        }
    }
}

/// What an action moves.
#[derive(Debug, Clone)]
pub enum Acting {
    /// One actuator.
    One(Capability),
    /// Those of a sequence, one after the other.
    Sequence(Arc<Going>),
}

/// A sequence that acts.
#[derive(Debug)]
pub struct Going {
    /// Its name.
    pub target: Capability,
    /// The actuators of its steps, in order.
    pub actuators: Vec<Capability>,
    /// How far each step is.
    pub ladder: Arc<Ladder>,
}

impl Acting {
    /// What a permit lets act.
    pub(super) fn of(permit: &Permit) -> Self {
        let (target, steps) = (permit.action().target.clone(), permit.kind().steps());
        match permit.kind() {
            Kind::Sequence { .. } => Acting::Sequence(Arc::new(Going {
                target,
                actuators: steps.iter().map(|s| s.action.target.clone()).collect(),
                ladder: Arc::new(Ladder::new(steps.len())),
            })),
            _ => Acting::One(target),
        }
    }
}

#[derive(Debug, Default)]
struct State {
    actions: BTreeMap<ProposalId, Acting>,
    /// What each of them does.
    asked: BTreeMap<ProposalId, Action>,
    /// Those of them that were told to stop.
    stopped: BTreeSet<ProposalId>,
    latch: Option<Latch>,
    /// The latch that was released last.
    lifted: Option<String>,
    /// Stops of other nodes that were carried out here, the oldest first.
    carried_out: VecDeque<String>,
    /// Counts the times that executors began to be asked late, and the releases.
    asking: u64,
    /// Actuators whose devices have changed, and how many of the changes are not on disk yet.
    unsettled: BTreeMap<Capability, u32>,
}

impl Running {
    /// The outcome of an action could not be stored, and is given up.
    pub fn lose_outcome(&self) {
        self.lost.store(true, Ordering::Release);
    }

    /// Whether the outcome of each action that ended in this run is stored.
    ///
    /// # Errors
    /// A sentence, where one is not.
    pub fn outcomes_stored(&self) -> Result<(), String> {
        match self.lost.load(Ordering::Acquire) {
            false => Ok(()),
            true => Err("the outcome of an action could not be stored".to_owned()),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts an action in; `false` while the emergency stop is latched: then it must not begin.
    pub(super) fn enter(&self, permit: &Permit, acting: &Acting) -> bool {
        let mut state = self.lock();
        let (id, action) = (permit.proposal_id(), permit.action());
        state.actions.insert(id.clone(), acting.clone());
        state.asked.insert(id.clone(), action.clone());
        state.latch.is_none()
    }

    pub(super) fn leave(&self, id: &ProposalId) {
        let mut state = self.lock();
        state.actions.remove(id);
        state.asked.remove(id);
        state.stopped.remove(id);
    }

    /// Notes that an action was told to stop; whether it is the first time while it runs.
    pub(super) fn first_stop(&self, id: &ProposalId) -> bool {
        let mut state = self.lock();
        state.actions.contains_key(id) && state.stopped.insert(id.clone())
    }

    /// A running action by its id, or by the beginning of it that fits one only.
    pub fn find(&self, id: &str) -> Option<(ProposalId, Acting)> {
        let state = self.lock();
        let named = |known: &ProposalId| !id.is_empty() && known.as_str().starts_with(id);
        let mut fit = state.actions.iter().filter(|(known, _)| named(known));
        let found = fit.next().map(|(id, acting)| (id.clone(), acting.clone()));
        found.filter(|_| fit.next().is_none())
    }

    /// What a proposal does that runs.
    pub(super) fn action(&self, id: &ProposalId) -> Option<Action> {
        self.lock().asked.get(id).cloned()
    }

    /// The latched emergency stop.
    pub fn latched(&self) -> Option<Latch> {
        self.lock().latch.clone()
    }

    /// Latches: what enters later does not begin.
    pub(super) fn latch(&self, latch: Latch) {
        self.lock().latch = Some(latch);
        self.latching.send_modify(|n| *n += 1);
    }

    /// Takes up which stops of other nodes earlier runs have carried out.
    pub(super) fn carried_out_before(&self, stops: VecDeque<String>) {
        self.lock().carried_out = stops;
    }

    /// Stops of other nodes that were carried out here.
    pub(super) fn carried_out(&self) -> VecDeque<String> {
        self.lock().carried_out.clone()
    }

    /// Whether a stop of another node was carried out here.
    pub(super) fn is_carried_out(&self, stop: &str) -> bool {
        self.lock().carried_out.iter().any(|known| known == stop)
    }

    /// Remembers a stop of another node; the oldest makes room.
    pub(super) fn carry_out(&self, stop: String) {
        let mut state = self.lock();
        if !state.carried_out.contains(&stop) {
            state.carried_out.push_back(stop);
            let surplus = state.carried_out.len().saturating_sub(ESTOPS_KNOWN_MAX);
            state.carried_out.drain(..surplus);
        }
    }

    /// Begins to ask executors late for a stop of this node: the number of that asking. What was asked for earlier stops being.
    pub fn asks_late(&self) -> u64 {
        let mut state = self.lock();
        state.asking += 1;
        state.asking
    }

    /// Whether that asking goes on: there is no newer one, and the stop has not been released since.
    pub fn is_asking_late(&self, turn: u64) -> bool {
        let state = self.lock();
        state.asking == turn && state.latch.is_some()
    }

    /// Whether no newer asking has begun.
    pub fn is_last_asking(&self, turn: u64) -> bool {
        self.lock().asking == turn
    }

    /// From here on nothing begins on these actuators: their devices change, and that is not on disk yet.
    /// Each call has one of [`Running::settle`].
    pub fn unsettle(&self, targets: &BTreeSet<Capability>) {
        let mut state = self.lock();
        for target in targets {
            *state.unsettled.entry(target.clone()).or_default() += 1;
        }
    }

    /// That change is on disk, or was not made; another of the same actuators may still be on its way.
    pub fn settle(&self, targets: &BTreeSet<Capability>) {
        let mut state = self.lock();
        state.unsettled.retain(|target, changes| {
            *changes -= u32::from(targets.contains(target));
            *changes > 0
        });
    }

    /// Whether an actuator's device has changed and that is not on disk yet.
    pub fn is_unsettled(&self, target: &Capability) -> bool {
        self.lock().unsettled.contains_key(target)
    }

    /// Changes when the emergency stop is latched or released.
    pub fn latching(&self) -> watch::Receiver<u64> {
        self.latching.subscribe()
    }

    /// Notes that a latch is being released, on the thread that writes it.
    pub(super) fn lift(&self, id: &str) {
        self.lock().lifted = Some(id.to_owned());
    }

    /// That release was not written.
    pub(super) fn not_lifted(&self, id: &str) {
        self.lock().lifted.take_if(|lifted| lifted == id);
    }

    pub(super) fn is_lifted(&self, id: &str) -> bool {
        self.lock().lifted.as_deref() == Some(id)
    }

    /// Lifts this very latch; `false` if another has taken its place.
    pub(super) fn unlatch(&self, id: &str) -> bool {
        let mut state = self.lock();
        let same = state.latch.as_ref().is_none_or(|l| l.id == id);
        if same {
            state.latch = None;
            state.asking += 1;
            self.latching.send_modify(|n| *n += 1);
        }
        same
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_that_fails_settles_no_other_of_the_same_actuator() {
        let running = Running::default();
        let pump: Option<Capability> = "actuator:pump:main".parse().ok();
        let targets: BTreeSet<Capability> = pump.into_iter().collect();
        let is = || targets.iter().any(|target| running.is_unsettled(target));
        // One whose transaction was lost, and a later one that was refused.
        running.unsettle(&targets);
        running.unsettle(&targets);
        running.settle(&targets);
        assert!(is());
        running.settle(&targets);
        assert!(!is());
    }
}
