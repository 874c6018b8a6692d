//! Guards: one per actuator. A guard owns the movement from the first byte of the start command
//! until the safe state is confirmed, on an OS thread with a runtime, timer and queue of its own.
//!
//! It waits for no store, log or network: what it did is reported afterwards (`record`). It waits for another actuator
//! only where its run is a step of a sequence (`ladder`), on the way to the safe state and for a bounded time. Stopping is asked for by [`Guards::secure`] and [`Guards::secure_all`], which
//! return at once; [`Guards::settled`] waits for what came of it. In the simulator the same code
//! runs as tasks on the simulated clock. Guards decide nothing: a run needs the gate's permit.

mod astray;
mod cut;
pub mod fitting;
mod guard;
mod kept;
pub mod ladder;
pub mod moved;
mod offered;
mod record;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

pub use self::cut::Cut;
pub use self::fitting::Fitter;
use self::kept::Leased;
use self::ladder::Place;
pub use self::record::run as record;
use super::context::alarms::Alarms;
use crate::adapters::clock::SharedClock;
use crate::adapters::devices::SharedActuator;
use crate::domain::base::limits::{SAFE_BEFORE_END_MAX_MS, SHUTDOWN_DEADLINE_MS};
use crate::domain::base::{ProposalId, TimeMs};
use crate::domain::capability::Capability;
use crate::domain::gate::Permit;
use crate::domain::proposal::Status;

/// A run: a permit and when it was given.
#[derive(Debug)]
pub struct Run {
    /// What may be done, once.
    pub permit: Permit,
    /// When the permit was given, by the boot clock; the deadline counts from here.
    pub at_steady_ms: u64,
    /// The orders that the actuators had before what the permit rests on was looked at; any later one ends the run.
    pub seen: Orders,
    /// Its place in the sequence of which it is a step.
    pub place: Option<Place>,
}

/// How many orders actuators had been given at a moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Orders(BTreeMap<Capability, u64>);

impl Orders {
    fn of(&self, target: &Capability) -> u64 {
        self.0.get(target).copied().unwrap_or_default()
    }
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// As what.
    pub status: Status,
    /// What happened, in a sentence.
    pub detail: String,
    /// When the driver was first told, or when the run was refused.
    pub started_at: TimeMs,
    /// When the end was known.
    pub ended_at: TimeMs,
    /// Where the actuator stood then.
    pub position: Option<String>,
}

/// What a guard tells the recorder; the outcome of a run goes to whoever handed the run over.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Report {
    /// The start command has ended well; the actuator is away from its safe state.
    Started {
        id: ProposalId,
        target: Capability,
        message: String,
    },
    /// An attempt to make it safe failed, the first in a row.
    Unsafe { target: Capability, why: String },
    /// It is in its safe state again after failed attempts.
    SafeAgain { target: Capability, tries: u32 },
}

/// An actuator as its guard sees it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct View {
    /// Whether its driver has confirmed the safe state since it was last told to move.
    pub safe: bool,
    /// Whether a run is on.
    pub running: bool,
    /// The run that is on, or after which it is not safe yet.
    pub proposal: Option<ProposalId>,
    /// Failed attempts in a row to make it safe.
    pub tries: u32,
    /// Why the last attempt failed.
    pub problem: Option<String>,
    /// Where it stood after the last attempt.
    pub position: Option<String>,
    /// What its device says, where it was confirmed to be safe and is not any more, and nothing here has moved it.
    pub astray: Option<String>,
    /// The newest order to make it safe that has been carried out.
    answered: u64,
}

/// What came of an order to make an actuator safe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Secured {
    /// The actuator.
    pub target: Capability,
    /// Whether its driver confirmed the safe state after the order.
    pub safe: bool,
    /// Where it stands, as far as its driver says.
    pub position: Option<String>,
    /// Why it is not confirmed safe; it is being tried again.
    pub problem: Option<String>,
}

/// An order to make an actuator safe, so that its end can be waited for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    target: Capability,
    count: u64,
}

/// The newest order a guard has been given.
#[derive(Debug, Clone)]
struct Wanted {
    count: u64,
    why: Cut,
}

struct Handle {
    /// Its driver: no other room has it.
    actuator: SharedActuator,
    runs: mpsc::Sender<Handed>,
    wanted: watch::Sender<Wanted>,
    view: watch::Receiver<View>,
    /// The longest one attempt to make it safe may take.
    limit: Duration,
    /// The lease of a held run that is on.
    lease: Arc<Leased>,
    /// Whether it is reached over the node's links, which there are none of before it runs.
    far: bool,
    /// Held by every run that was handed over and has not ended.
    busy: Busy,
    dismissed: CancellationToken,
    gone: CancellationToken,
}

/// Held for as long as a guard has a run.
type Busy = Arc<()>;

/// A run on its way to the guard; orders newer than `seen` end it.
struct Handed {
    run: Run,
    seen: u64,
    done: oneshot::Sender<Ended>,
    busy: Busy,
}

/// The guards of one node.
#[derive(Clone)]
pub struct Guards(Arc<Inner>);

/// The guards that there are, and the newest order that one of them had when it was taken out: those that come later count on
/// from there, so that no run that was permitted before reaches them.
#[derive(Default)]
struct Each {
    handles: BTreeMap<Capability, Arc<Handle>>,
    newest: u64,
}

struct Inner {
    /// Locked for a moment, never across a wait or a call of a driver.
    each: Mutex<Each>,
    reports: Mutex<Option<mpsc::Receiver<Report>>>,
    reporting: mpsc::Sender<Report>,
    moved: Notify,
    alarms: Arc<Alarms>,
    clock: SharedClock,
}

/// The right to begin runs. There is one for the guards of a node, and the executor has it; the other rooms that have the
/// guards read them and order the safe state.
pub struct RunStarter(Guards);

impl RunStarter {
    /// Hands a run to its actuator's guard and returns at once. `None` if the node has no such
    /// actuator or its guard takes no more; then nothing has moved.
    pub fn run(&self, run: Run) -> Option<oneshot::Receiver<Ended>> {
        self.0.run(run)
    }
}

impl Guards {
    fn each(&self) -> MutexGuard<'_, Each> {
        self.0.each.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn handle(&self, target: &Capability) -> Option<Arc<Handle>> {
        self.each().handles.get(target).cloned()
    }

    fn handles(&self) -> Vec<(Capability, Arc<Handle>)> {
        let each = self.each();
        let all = each.handles.iter();
        all.map(|(target, handle)| (target.clone(), handle.clone()))
            .collect()
    }

    /// What was moved and not seen safe since has changed, or is about to; wakes who keeps the copy of it.
    pub fn moved_changes(&self) {
        self.0.moved.notify_one();
    }

    /// Until [`Guards::moved_changes`] is said.
    pub async fn moved_changed(&self) {
        self.0.moved.notified().await;
    }

    /// The steady clock of this machine, by which permits and deadlines are counted.
    pub fn steady_ms(&self) -> u64 {
        self.0.clock.steady_ms()
    }

    /// How long the end of the node waits for its actuators: one attempt of the slowest, and a little.
    pub fn before_end(&self) -> Duration {
        let slowest = self.each().handles.values().map(|h| h.limit).max();
        let most = Duration::from_millis(SAFE_BEFORE_END_MAX_MS);
        let attempt = slowest.unwrap_or_default().min(most);
        attempt + Duration::from_millis(SHUTDOWN_DEADLINE_MS)
    }

    /// How many orders these actuators have been given; a run that is handed over with these numbers is
    /// ended by every later one.
    pub fn orders(&self, targets: &[Capability]) -> Orders {
        // Under the lock: the orders are those of guards that are in their places.
        let each = self.each();
        let count = |target: &Capability| {
            let count = each.handles.get(target)?.wanted.borrow().count;
            Some((target.clone(), count))
        };
        Orders(targets.iter().filter_map(count).collect())
    }

    /// Why one of these actuators has been given an order since.
    pub fn newer(&self, seen: &Orders) -> Option<Cut> {
        seen.0.iter().find_map(|(target, count)| {
            let handle = self.handle(target)?;
            let wanted = handle.wanted.borrow();
            (wanted.count > *count).then(|| wanted.why.clone())
        })
    }

    /// See [`RunStarter::run`].
    fn run(&self, run: Run) -> Option<oneshot::Receiver<Ended>> {
        // Under the lock: a guard that is dismissed has had its last run.
        let each = self.each();
        let handle = each.handles.get(&run.permit.action().target)?;
        let (done, ended) = oneshot::channel();
        let seen = run.seen.of(&run.permit.action().target);
        let busy = handle.busy.clone();
        let handed = Handed {
            run,
            seen,
            done,
            busy,
        };
        handle.runs.try_send(handed).ok().map(|()| ended)
    }

    /// Orders an actuator to its safe state, ends what runs there, and returns at once. `None` if
    /// the node has no such actuator.
    pub fn secure(&self, target: &Capability, why: Cut) -> Option<Order> {
        let handle = self.handle(target)?;
        let mut count = 0;
        handle.wanted.send_modify(|wanted| {
            wanted.count += 1;
            wanted.why = why;
            count = wanted.count;
        });
        Some(Order {
            target: target.clone(),
            count,
        })
    }

    /// Orders every actuator to its safe state, and returns at once. Those that are known to be
    /// safe are told again only by the emergency stop and where the node may not operate, which also
    /// ends what is on its way to them. Needs no disk, log or network, and may be
    /// called on any thread.
    pub fn secure_each(&self, why: &Cut) -> Vec<Order> {
        let idle_too = matches!(why, Cut::EmergencyStop | Cut::MayNotOperate { .. });
        let told = self.handles().into_iter().filter(|(_, handle)| {
            let view = handle.view.borrow();
            idle_too || view.running || !view.safe
        });
        told.filter_map(|(target, handle)| {
            // The end of the node is ordered by its signal and again by its stop: that is one order.
            let wanted = handle.wanted.borrow().clone();
            let under_way = wanted.count > handle.view.borrow().answered;
            match under_way && *why == Cut::Shutdown && wanted.why == Cut::Shutdown {
                true => Some(Order {
                    target,
                    count: wanted.count,
                }),
                false => self.secure(&target, why.clone()),
            }
        })
        .collect()
    }

    /// As [`Guards::secure_each`], and waits until each is confirmed safe, no longer than `within`.
    pub async fn secure_all(&self, why: Cut, within: Duration) -> Vec<Secured> {
        let orders = self.secure_each(&why);
        let waits = orders.iter().map(|order| self.settled(order, within));
        futures_util::future::join_all(waits).await
    }

    /// Waits until an order has been carried out, no longer than `within`; what has not been
    /// reached by then is still being tried.
    pub async fn settled(&self, order: &Order, within: Duration) -> Secured {
        let mut secured = Secured {
            target: order.target.clone(),
            safe: false,
            position: None,
            problem: None,
        };
        let Some(handle) = self.handle(&order.target) else {
            secured.problem = Some("this node has no such actuator".to_owned());
            return secured;
        };
        let mut view = handle.view.clone();
        let reached = |v: &View| v.safe && !v.running && v.answered >= order.count;
        // Why the waiting ended is read from the view.
        let _ = tokio::time::timeout(within, view.wait_for(reached)).await;
        let view = handle.view.borrow();
        secured.safe = reached(&view);
        secured.position = view.position.clone();
        if !secured.safe {
            let slow = format!("no confirmation within {} ms", within.as_millis());
            secured.problem = Some(view.problem.clone().unwrap_or(slow));
        }
        secured
    }

    /// Makes everything safe at the end of the node: each actuator gets a moment, and one whose way to
    /// its safe state is under way and has not failed yet gets as long as [`Guards::before_end`]. Returns
    /// those that are not confirmed safe.
    pub async fn end(&self) -> Vec<Secured> {
        let moment = Duration::from_millis(SHUTDOWN_DEADLINE_MS);
        let orders = self.secure_each(&Cut::Shutdown);
        let waits = orders.iter().map(|order| async move {
            let secured = self.settled(order, moment).await;
            let view = self.view(&order.target);
            match view.is_some_and(|view| !secured.safe && view.tries == 0) {
                true => self.settled(order, self.before_end()).await,
                false => secured,
            }
        });
        let mut all = futures_util::future::join_all(waits).await;
        all.retain(|secured| !secured.safe);
        all
    }

    /// Waits until an actuator is confirmed safe; `false` once the node does not have it any more.
    pub async fn is_safe(&self, target: &Capability) -> bool {
        let Some(handle) = self.handle(target) else {
            return false;
        };
        let mut view = handle.view.clone();
        drop(handle);
        let safe = view.wait_for(|v| v.safe && !v.running).await;
        safe.is_ok()
    }

    /// Waits until every actuator is confirmed safe, no longer than `within`; returns those that are
    /// not. What is reached over links is not waited for: this is asked before there are any.
    pub async fn all_safe(&self, within: Duration) -> Vec<Secured> {
        let all = self.handles().into_iter();
        let waits = all.map(|(target, handle)| {
            let order = Order { target, count: 0 };
            async move {
                let within = if handle.far { Duration::ZERO } else { within };
                let mut secured = self.settled(&order, within).await;
                if handle.far && !secured.safe {
                    let why =
                        "the gen-1 node has not been reached yet; it is told as soon as it is";
                    secured.problem = Some(why.to_owned());
                }
                secured
            }
        });
        let mut all = futures_util::future::join_all(waits).await;
        all.retain(|secured| !secured.safe);
        all
    }

    /// An actuator as its guard sees it.
    pub fn view(&self, target: &Capability) -> Option<View> {
        let handle = self.handle(target)?;
        let view = handle.view.borrow().clone();
        Some(view)
    }

    /// The actuators on which a proposal runs, or after which they are not safe yet; several where it is a sequence. By
    /// the id or a part of it that fits one proposal only.
    pub fn of(&self, id: &str) -> Option<(ProposalId, Vec<Capability>)> {
        let fit = self.handles().into_iter().filter_map(|(target, handle)| {
            let proposal = handle.view.borrow().proposal.clone()?;
            let named = !id.is_empty() && proposal.as_str().starts_with(id);
            named.then_some((proposal, target))
        });
        let fit: Vec<(ProposalId, Capability)> = fit.collect();
        let (id, _) = fit.first()?.clone();
        let one = fit.iter().all(|(other, _)| *other == id);
        one.then(|| (id, fit.into_iter().map(|(_, target)| target).collect()))
    }

    /// Raises the alarm of an actuator that is known to be away from its safe state, without waiting for an attempt to
    /// fail. Not if it is safe by now.
    pub fn is_known_open(&self, target: &Capability, why: &str) {
        let Some(handle) = self.handle(target) else {
            return;
        };
        // While this is held its guard cannot find it safe, which ends the alarm.
        let view = handle.view.borrow();
        if view.safe {
            return;
        }
        let now = self.0.clock.now();
        if guard::raise(&self.0.alarms, target, &format!("yet: {why}"), now) {
            let (target, why) = (target.clone(), why.to_owned());
            // Full: the alarm tells it all the same.
            let _ = self.0.reporting.try_send(Report::Unsafe { target, why });
        }
    }

    /// What the guards report, once; for the task that records it.
    fn reports(&self) -> Option<mpsc::Receiver<Report>> {
        let mut kept = self
            .0
            .reports
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        kept.take()
    }
}
