//! Actuators and their guards: those that a node starts with, and those that are put in and taken out while it runs. Only one
//! that is idle and confirmed safe is taken out for good, all of a change or nothing. Nothing here moves an actuator; a guard that begins
//! makes its own safe first, as at the start of the node.

use std::collections::BTreeSet;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::{Notify, mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::guard::Guard;
use super::kept::Leased;
use super::ladder::{self, Place};
use super::moved::Moved;
use super::{Busy, Cut, Each, Guards, Handle, Inner, RunStarter, View, Wanted};
use crate::adapters::clock::SharedClock;
use crate::adapters::devices::SharedActuator;
use crate::domain::base::limits::{GUARD_REPORTS_MAX, GUARD_RUNS_MAX};
use crate::domain::capability::Capability;
use crate::node::context::alarms::Alarms;
use crate::node::context::tasks::Tasks;

/// The right to take actuators out of their guards and to put others in. There is one for the guards of a node, and the room
/// that reads the configuration again has it.
pub struct Fitter {
    guards: Guards,
    tasks: Tasks,
    threads: bool,
}

/// Guards that stand ready and tell their actuators nothing yet. Dropped before they have a place, they go.
pub struct Spare {
    each: Vec<(Capability, Arc<Handle>)>,
    begins: CancellationToken,
    fitted: bool,
}

/// Guards that were taken out.
pub struct Out(Vec<Arc<Handle>>);

impl Guards {
    /// Starts a guard for every actuator, which keeps its driver; each makes its actuator safe at once. With `threads` each
    /// has an OS thread of its own.
    ///
    /// # Errors
    /// If the system gives no thread or no descriptors: then nothing may be operated.
    pub fn start(
        actuators: Vec<SharedActuator>,
        clock: &SharedClock,
        alarms: &Arc<Alarms>,
        tasks: &Tasks,
        threads: bool,
    ) -> io::Result<(Self, RunStarter)> {
        let (guards, starter, _) =
            Self::start_after(actuators, &[], clock, alarms, tasks, threads)?;
        Ok((guards, starter))
    }

    /// As [`Guards::start`], after an end at which `left` was not known to be safe: the actuators of one sequence are made
    /// safe in reverse order.
    ///
    /// # Errors
    /// As [`Guards::start`].
    pub fn start_after(
        actuators: Vec<SharedActuator>,
        left: &[Moved],
        clock: &SharedClock,
        alarms: &Arc<Alarms>,
        tasks: &Tasks,
        threads: bool,
    ) -> io::Result<(Self, RunStarter, Fitter)> {
        let (reporting, reported) = mpsc::channel(GUARD_REPORTS_MAX);
        let guards = Self(Arc::new(Inner {
            each: Mutex::new(Each::default()),
            reports: Mutex::new(Some(reported)),
            reporting,
            moved: Notify::new(),
            alarms: alarms.clone(),
            clock: clock.clone(),
        }));
        let fitter = Fitter {
            guards: guards.clone(),
            tasks: tasks.clone(),
            threads,
        };
        let mut spare = fitter.prepare(actuators, left)?;
        guards.each().handles.extend(spare.each.drain(..));
        spare.begin();
        Ok((guards.clone(), RunStarter(guards), fitter))
    }
}

impl Fitter {
    /// Has guards stand ready for these actuators. `left` was moved and not seen safe since.
    ///
    /// # Errors
    /// If the system gives no thread or no descriptors; then none of them is there.
    pub fn prepare(&self, actuators: Vec<SharedActuator>, left: &[Moved]) -> io::Result<Spare> {
        let mut places = ladder::places_of(left);
        let mut spare = Spare {
            each: Vec::new(),
            begins: CancellationToken::new(),
            fitted: false,
        };
        for actuator in actuators {
            let target = actuator.capability().clone();
            let place = places.remove(&target);
            let handle = self.stand(actuator, place, &spare.begins)?;
            spare.each.push((target, Arc::new(handle)));
        }
        Ok(spare)
    }

    /// One guard that stands ready.
    fn stand(
        &self,
        actuator: SharedActuator,
        place: Option<Place>,
        begins: &CancellationToken,
    ) -> io::Result<Handle> {
        let inner = &self.guards.0;
        let (limit, far) = (actuator.safe_limit(), actuator.gen1().is_some());
        let (runs, coming) = mpsc::channel(GUARD_RUNS_MAX);
        let (wanted, orders) = watch::channel(Wanted {
            count: 0,
            why: Cut::Shutdown,
        });
        let lease = Arc::<Leased>::default();
        let (shown, view) = watch::channel(View::default());
        let (dismissed, gone) = (CancellationToken::new(), CancellationToken::new());
        let guard = Guard {
            place,
            driver: actuator.clone(),
            clock: inner.clock.clone(),
            alarms: inner.alarms.clone(),
            runs: coming,
            wanted: orders,
            view: shown,
            lease: lease.clone(),
            reports: inner.reporting.clone(),
            stop: self.tasks.stop().clone(),
            begins: begins.clone(),
            dismissed: dismissed.clone(),
            gone: gone.clone().drop_guard(),
        };
        if self.threads {
            self.tasks.on_thread("guard", move || guard.keep())?;
        } else {
            self.tasks.dismissible("guard", guard.keep());
        }
        Ok(Handle {
            actuator,
            runs,
            wanted,
            view,
            limit,
            lease,
            far,
            busy: Busy::default(),
            dismissed,
            gone,
        })
    }

    /// By what an actuator is moved now, in words that follow its name; `None` where it is not.
    pub fn moves(&self, target: &Capability) -> Option<String> {
        moves(self.guards.each().handles.get(target)?)
    }

    /// Takes these actuators out and puts those of `spare` in, all or nothing: a sentence for each that is not idle and, where
    /// it does not come in again, safe, and for each that would be made safe by what makes one safe that moves.
    /// Those that come in begin with [`Spare::begin`]; no run that was permitted before reaches them.
    ///
    /// # Errors
    /// Why nothing was changed, a sentence each.
    pub fn fit(&self, out: &BTreeSet<Capability>, spare: &mut Spare) -> Result<Out, Vec<String>> {
        if self.tasks.stop().is_cancelled() {
            return Err(vec!["the node ends".to_owned()]);
        }
        let mut each = self.guards.each();
        let named = out
            .iter()
            .filter_map(|target| each.handles.get_key_value(target));
        let again: BTreeSet<&Capability> = spare.each.iter().map(|(target, _)| target).collect();
        let mut bad: Vec<String> = named
            .filter_map(|(target, handle)| {
                let why = why_not(handle, again.contains(target))?;
                Some(format!("{target} {why}"))
            })
            .collect();
        for (target, new) in &spare.each {
            let way = new.actuator.safe_way();
            let same = |(other, handle): &(&Capability, &Arc<Handle>)| {
                way.is_some()
                    && *other != target
                    && !out.contains(*other)
                    && handle.actuator.safe_way() == way
            };
            bad.extend(
                each.handles
                    .iter()
                    .filter(same)
                    .filter_map(|(other, handle)| {
                        let moves = moves(handle)?;
                        Some(format!(
                            "what makes {target} safe makes {other} safe too, which {moves}"
                        ))
                    }),
            );
        }
        let twice = spare.each.iter().map(|(target, _)| target);
        let twice = twice.filter(|t| !out.contains(*t) && each.handles.contains_key(*t));
        bad.extend(twice.map(|target| format!("{target} is there already")));
        if !bad.is_empty() {
            return Err(bad);
        }
        let gone: Vec<Arc<Handle>> = out.iter().filter_map(|t| each.handles.remove(t)).collect();
        for handle in &gone {
            each.newest = each.newest.max(handle.wanted.borrow().count);
            handle.dismissed.cancel();
        }
        each.newest += 1;
        spare.fitted = true;
        for (target, handle) in spare.each.drain(..) {
            let newest = each.newest;
            handle.wanted.send_modify(|wanted| {
                wanted.count = newest;
                wanted.why = Cut::Refitted;
            });
            each.handles.insert(target, handle);
        }
        Ok(Out(gone))
    }
}

/// By what an actuator is moved now.
fn moves(handle: &Handle) -> Option<String> {
    let view = handle.view.borrow();
    let runs = Arc::strong_count(&handle.busy) > 1 || view.running || handle.lease.is_on();
    let proposal = view.proposal.as_ref().map(|id| id.short().to_owned());
    match (runs, proposal) {
        (true, Some(id)) => Some(format!("is moved by proposal {id}")),
        (true, None) => Some("has been given an action".to_owned()),
        (false, _) => None,
    }
}

/// Why an actuator cannot be taken out now. One that comes in `again` by another table may be without confirmation where its
/// guard has moved nothing since it was safe: the new one makes it safe, and until then nothing begins there and its alarm
/// stands.
fn why_not(handle: &Handle, again: bool) -> Option<String> {
    if let Some(moves) = moves(handle) {
        return Some(moves);
    }
    let view = handle.view.borrow();
    let ordered = handle.wanted.borrow().count > view.answered;
    match again && view.proposal.is_none() {
        true => None,
        false if !view.safe => Some(format!(
            "is not confirmed to be in its safe state ({})",
            view.problem
                .as_deref()
                .unwrap_or("no answer of its driver yet")
        )),
        false if view.astray.is_some() => Some(format!(
            "is not in its safe state, as its device says ({}), and nothing here has moved it",
            view.astray.as_deref().unwrap_or_default()
        )),
        false if ordered => Some("is being brought to its safe state".to_owned()),
        false => None,
    }
}

impl Spare {
    /// Those that have a place begin: each makes its actuator safe.
    pub fn begin(self) {
        self.begins.cancel();
    }
}

impl Drop for Spare {
    fn drop(&mut self) {
        match self.fitted {
            // Whatever became of who put them in: they do not stand idle.
            true => self.begins.cancel(),
            false => self
                .each
                .iter()
                .for_each(|(_, handle)| handle.dismissed.cancel()),
        }
    }
}

impl Out {
    /// Waits until the guards are gone and have let their drivers go, no longer than `within`.
    pub async fn gone(self, within: Duration) {
        let all = self.0.iter().map(|handle| handle.gone.cancelled());
        // One that hangs keeps its driver; the new one has its own.
        let _ = tokio::time::timeout(within, join_all(all)).await;
    }
}
