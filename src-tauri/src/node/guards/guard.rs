//! One guard: moves its actuator when the gate allowed it, and pursues the safe state until it is
//! reached, with growing pauses, for ever.
//!
//! Nothing here writes a log line, a disk row or to the network: alarms are memory, and reports go
//! into a queue that is never waited for. The deadline counts from the permit, by the boot clock.

mod job;
mod told;

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::{CancellationToken, DropGuard};

use self::job::{End, Job, Next, Reached};
use super::astray;
use super::kept::Leased;
use super::ladder::{Over, Place};
use super::{Busy, Cut, Ended, Handed, Report, Run, View, Wanted};
use crate::adapters::clock::SharedClock;
use crate::adapters::crash;
use crate::adapters::devices::{DriverError, SharedActuator};
use crate::domain::base::limits::{
    DEADLINE_LOOK_MS, POSITION_WAIT_MS, SAFE_ALARM_AFTER_MS, SAFE_PAUSE_FIRST_MS,
    SAFE_PAUSE_MAX_MS, SAFE_TRIES_OUTCOME,
};
use crate::domain::base::{ProposalId, TimeMs};
use crate::domain::capability::Capability;
use crate::domain::gate::Act;
use crate::domain::gate::actuation::takes_place;
use crate::domain::policy::Kind;
use crate::domain::proposal::Status;
use crate::node::context::alarms::{AlarmKind, Alarms};
use crate::node::context::tasks::Left;

/// The work of one actuator.
pub(super) struct Guard {
    pub driver: SharedActuator,
    pub clock: SharedClock,
    pub alarms: Arc<Alarms>,
    pub runs: mpsc::Receiver<Handed>,
    pub wanted: watch::Receiver<Wanted>,
    pub view: watch::Sender<View>,
    pub lease: Arc<Leased>,
    /// The place in its sequence of the run that is on.
    pub place: Option<Place>,
    pub reports: mpsc::Sender<Report>,
    pub stop: CancellationToken,
    /// Its time has come: one that takes the place of another waits until that is gone.
    pub begins: CancellationToken,
    /// Its actuator is to be taken out. Said only while it is idle and safe.
    pub dismissed: CancellationToken,
    /// Says, behind the driver, that the guard is gone.
    pub gone: DropGuard,
}

impl Guard {
    /// Makes the actuator safe, then serves runs and orders until the node ends and it is safe.
    pub(super) async fn keep(mut self) -> Left {
        tokio::select! {
            biased;
            () = self.dismissed.cancelled() => return Left::Dismissed,
            // Also at the end of the node: whoever has it stand ready lets it begin or go.
            () = self.begins.cancelled() => {}
        }
        let left = self.serve().await;
        self.is_astray(None);
        let Self { driver, gone, .. } = self;
        drop(driver);
        drop(gone);
        left
    }

    async fn serve(&mut self) -> Left {
        // What the driver is told it is made safe for: the node's start, a run, or an order.
        let mut job = "start".to_owned();
        if let Some(place) = &self.place {
            // It was a step of a sequence when the node was interrupted.
            place.later_are_down().await;
        }
        loop {
            if self.dismissed.is_cancelled() {
                return Left::Dismissed;
            }
            if self.wanted.has_changed().is_err() {
                // The node is gone.
                return Left::Ended;
            }
            let (safe, answered, tries) = {
                let view = self.view.borrow();
                (view.safe, view.answered, view.tries)
            };
            if !safe || answered < self.wanted.borrow().count {
                if tries > 0 {
                    self.rest(tries).await;
                }
                if safe {
                    job = match self.wanted.borrow().why {
                        Cut::EmergencyStop => "emergency stop".to_owned(),
                        _ => "stop".to_owned(),
                    };
                }
                self.attempt(&job).await;
                continue;
            }
            if self.stop.is_cancelled() {
                return Left::Ended;
            }
            let driver = self.driver.clone();
            tokio::select! {
                biased;
                () = self.dismissed.cancelled() => return Left::Dismissed,
                () = self.stop.cancelled() => {}
                // An error means that the node is gone, which the loop's head sees.
                _ = self.wanted.changed() => {}
                run = self.runs.recv() => match run {
                    Some(handed) => {
                        job = handed.run.permit.proposal_id().as_str().to_owned();
                        self.take(handed).await;
                    }
                    None => return Left::Ended,
                },
                said = astray::look(driver.as_ref()) => self.found(said),
            }
        }
    }

    /// Moves, waits, makes safe; and the same with each setting that takes the place of the one before it.
    async fn take(&mut self, handed: Handed) {
        let mut next = self.accepted(handed, None).await;
        let mut replaces = false;
        while let Some(Next {
            act,
            job,
            seen,
            started_at,
            done,
            busy,
        }) = next.take()
        {
            let (status, detail, position, then) = self.run(act, job, seen, replaces).await;
            let ended = self.ended(status, detail, started_at, position);
            // The outcome is recorded by whoever handed the run over.
            let _ = done.send(ended);
            drop(busy);
            next = then;
            replaces = true;
        }
    }

    /// A run that may begin now; its permit is used. One that may not is told so, and nothing has moved for it. `in_force`
    /// is the setting whose place it takes.
    async fn accepted(&mut self, handed: Handed, in_force: Option<&ProposalId>) -> Option<Next> {
        let Handed {
            run,
            seen,
            done,
            busy,
        } = handed;
        let started_at = self.clock.now();
        let job = Job::of(&run, self.driver.safe_limit());
        let place = run.place.clone();
        match self.begin(run, seen, in_force) {
            Ok(act) => {
                self.place = place;
                Some(Next {
                    act,
                    job,
                    seen,
                    started_at,
                    done,
                    busy,
                })
            }
            Err(why) => {
                let position = match in_force {
                    Some(_) => None,
                    None => self.position().await,
                };
                let ended = self.ended(Status::Failed, why, started_at, position);
                // As in `take`.
                let _ = done.send(ended);
                None
            }
        }
    }

    /// Moves, waits, makes safe unless another setting takes its place, which is then handed back.
    async fn run(
        &mut self,
        act: Act,
        mut job: Job,
        seen: u64,
        replaces: bool,
    ) -> (Status, String, Option<String>, Option<Next>) {
        job.begun = self.clock.steady_ms();
        self.view.send_modify(|view| {
            view.running = true;
            view.safe = false;
            view.proposal = Some(job.id.clone());
            (view.tries, view.problem, view.position) = (0, None, None);
        });
        self.is_astray(None);
        self.lease.begin(
            &job.id,
            &job.kind,
            job.kept_from.clone(),
            job.deadline,
            job.begun,
        );
        let reached = self.movement(act, &mut job, seen, replaces).await;
        // From here on nobody keeps it.
        self.lease.end();
        if let Reached::Starting(End::Lease(over)) | Reached::Moving(End::Lease(over)) = &reached {
            job.deadline = job.deadline.min(over.at());
        }
        let lasted = self.clock.steady_ms().saturating_sub(job.begun);
        self.falls(&job, &reached).await;
        if let Reached::Moving(End::Replaced(next)) = reached {
            let by = next.job.id.short();
            let detail = format!("was set for {lasted} ms, and then replaced by proposal {by}");
            return (Status::Completed, detail, None, Some(*next));
        }
        let (status, detail) = match reached {
            Reached::Done => self.done(&job).await,
            reached => {
                crash::point("end", "before");
                let late = self.pursue(job.id.as_str(), job.deadline).await;
                crash::point("end", "after");
                self.told(&job, &reached, lasted, late)
            }
        };
        let known = self.view.borrow().position.clone();
        let position = match known {
            Some(position) => Some(position),
            None => self.position().await,
        };
        self.view.send_modify(|view| {
            view.running = false;
            view.position.clone_from(&position);
            if view.safe {
                view.proposal = None;
            }
        });
        self.is_down();
        self.place = None;
        (status, detail, position, None)
    }

    /// The end of a step of a sequence: where it comes too early nothing further begins, and those after it go to their
    /// safe states first.
    async fn falls(&self, job: &Job, reached: &Reached) {
        let Some(place) = &self.place else { return };
        let due = match reached {
            Reached::Moving(End::Due) => true,
            Reached::Moving(End::Deadline) => !place.stays,
            _ => false,
        };
        if !due {
            place.ladder.cut(self.went_wrong(place, job, reached));
        }
        place.later_are_down().await;
    }

    /// What ended a step too early, and with it its sequence.
    fn went_wrong(&self, place: &Place, job: &Job, reached: &Reached) -> Cut {
        let action = &job.what;
        let what = match reached {
            Reached::Starting(End::Cut(Cut::Lost { what }))
            | Reached::Moving(End::Cut(Cut::Lost { what })) => format!("{action}: {what}"),
            Reached::Starting(End::Cut(why)) | Reached::Moving(End::Cut(why)) => {
                return why.clone();
            }
            Reached::Failed(why) | Reached::Unanswered(why) => format!("{action} failed: {why}"),
            Reached::Starting(_) => format!("{action} was not done in time"),
            Reached::Moving(_) | Reached::Done => {
                format!("{action} was at its limit before the later steps had ended")
            }
        };
        Cut::Sequence {
            what: format!("{}: {what}", place.in_words()),
        }
    }

    /// The way of a step to its safe state has been tried: the one before it need not wait for it any more.
    fn is_down(&self) {
        if let Some(place) = &self.place {
            place.is_down();
        }
    }

    /// The outcome of an action that is the safe state by the policy. The driver confirms its own safe state: the policy may
    /// name another operation, and a device that was told need not have obeyed.
    async fn done(&mut self, job: &Job) -> (Status, String) {
        let what = &job.what;
        if let Some(far) = self.driver.gen1() {
            let device = far.device.short();
            self.view.send_modify(|view| view.safe = true);
            let detail = format!("{what}: accepted by the gen-1 node {device}");
            return (Status::Completed, detail);
        }
        self.pursue(job.id.as_str(), job.deadline).await;
        let view = self.view.borrow();
        match &view.problem {
            None => (Status::Completed, format!("{what} done")),
            Some(why) => (
                Status::Failed,
                format!(
                    "{what} was told, and in {} attempts the safe state was not confirmed; it is still being tried: {why}",
                    view.tries
                ),
            ),
        }
    }

    /// Uses the permit of a run, or says why it may not begin; nothing has moved then.
    fn begin(&self, run: Run, seen: u64, in_force: Option<&ProposalId>) -> Result<Act, String> {
        let wanted = self.wanted.borrow();
        if wanted.count > seen {
            return Err(format!("{} came before the actuator was told", wanted.why));
        }
        if self.stop.is_cancelled() {
            return Err(format!("{} before the actuator was told", Cut::Shutdown));
        }
        takes_place(run.permit.replaces(), in_force)?;
        job::one_safe_state(
            self.driver.safe_operation().as_deref(),
            run.permit.safe_state(),
            &run.permit.action().operation,
        )?;
        // A setting takes the place of one that is away from the safe state.
        if in_force.is_none() && !self.view.borrow().safe {
            return Err("the actuator is not in its safe state yet; it was not told".to_owned());
        }
        let waited = self.clock.steady_ms().saturating_sub(run.at_steady_ms);
        let place = run.place;
        place.as_ref().map_or(Ok(()), Place::begins)?;
        let act = run.permit.consume(self.clock.now(), waited);
        act.ok_or_else(|| {
            if let Some(place) = &place {
                place.is_down();
            }
            "the permit lapsed before the actuator could be told".to_owned()
        })
    }

    /// From the reservation of the way back to the end of the movement.
    async fn movement(&mut self, act: Act, job: &mut Job, seen: u64, replaces: bool) -> Reached {
        let driver = self.driver.clone();
        // The way back that was reserved for the setting before stands: reserving another would leave a moment without.
        if !job.ends_safe && !replaces {
            crash::point("arm", "before");
            let armed = driver.arm(job.id.as_str());
            match self.unless_ended(seen, job.deadline, armed).await {
                Ok(Ok(())) => {}
                Ok(Err(error @ DriverError::Astray(_))) => {
                    return Reached::Failed(format!("it was not started: {error}"));
                }
                Ok(Err(error)) => {
                    return Reached::Failed(format!(
                        "it was not started, because its way back to the safe state could not be reserved: {error}"
                    ));
                }
                Err(end) => return Reached::Starting(end),
            }
        }
        job.begins(self.clock.steady_ms());
        let deadline = job.deadline;
        crash::point("act", "before");
        let acted = self.unless_ended(seen, deadline, driver.act(act)).await;
        crash::point("act", "after");
        match acted {
            Err(end) => Reached::Starting(end),
            Ok(Err(DriverError::Unanswered(why))) => Reached::Unanswered(why),
            Ok(Err(error)) => Reached::Failed(error.to_string()),
            Ok(Ok(())) if job.ends_safe => Reached::Done,
            Ok(Ok(())) => {
                if let Some(place) = &self.place {
                    place.is_away();
                }
                let started = Report::Started {
                    id: job.id.clone(),
                    target: driver.capability().clone(),
                    message: job.in_words(),
                };
                self.report(started);
                Reached::Moving(self.moving(job, seen).await)
            }
        }
    }

    /// Waits for the end of a movement. A setting also ends when another one may take its place.
    async fn moving(&mut self, job: &Job, seen: u64) -> End {
        let driver = self.driver.clone();
        let end = self.end(seen, job.deadline);
        let lost = driver.lost();
        tokio::pin!(end, lost);
        loop {
            let handed = tokio::select! {
                biased;
                end = &mut end => return end,
                what = &mut lost => return End::Cut(Cut::Lost { what }),
                Some(handed) = self.runs.recv(), if matches!(job.kind, Kind::Set { .. }) => handed,
            };
            let permit = &handed.run.permit;
            let is_set = matches!(permit.kind(), Kind::Set { .. });
            if is_set && permit.safe_state() == job.safe_state && !permit.ends_safe() {
                if let Some(next) = self.accepted(handed, Some(&job.id)).await {
                    return End::Replaced(Box::new(next));
                }
                // It may not begin, and the one that stands has its own leave.
                continue;
            }
            let why = "the actuator is set by another action; it was not told".to_owned();
            let ended = self.ended(Status::Failed, why, self.clock.now(), None);
            // As in `take`.
            let _ = handed.done.send(ended);
        }
    }

    /// The work, unless the run is ended first; then the work is dropped where it stands. A driver
    /// that panics has failed.
    async fn unless_ended<T>(
        &mut self,
        seen: u64,
        deadline: u64,
        work: impl Future<Output = Result<T, DriverError>>,
    ) -> Result<Result<T, DriverError>, End> {
        tokio::select! {
            biased;
            end = self.end(seen, deadline) => Err(end),
            done = caught(work) => Ok(done),
        }
    }

    /// Resolves when a run has to end: an order, the node's end, or the deadline.
    fn end(&self, seen: u64, deadline: u64) -> impl Future<Output = End> + use<> {
        let (mut wanted, stop) = (self.wanted.clone(), self.stop.clone());
        let (clock, lease) = (self.clock.clone(), self.lease.clone());
        let place = self.place.as_ref().map(Place::over);
        let place = async move {
            match place {
                Some(over) => over.await,
                None => std::future::pending().await,
            }
        };
        async move {
            tokio::select! {
                biased;
                newer = wanted.wait_for(|w| w.count > seen) => match newer {
                    Ok(wanted) => End::Cut(wanted.why.clone()),
                    Err(_) => End::Cut(Cut::Shutdown),
                },
                () = stop.cancelled() => End::Cut(Cut::Shutdown),
                over = place => match over {
                    Over::Due => End::Due,
                    Over::Cut(why) => End::Cut(why),
                },
                // Before the deadline: of two that are past after a suspend it came first.
                over = lease.over(&clock) => End::Lease(over),
                () = until(&clock, deadline) => End::Deadline,
            }
        }
    }

    /// Makes safe; returns how far the run lasted beyond its deadline, in milliseconds. Gives up
    /// waiting after some failed attempts, for the outcome's sake: [`Guard::keep`] goes on.
    async fn pursue(&mut self, job: &str, deadline: u64) -> u64 {
        let late = |clock: &SharedClock| clock.steady_ms().saturating_sub(deadline);
        let begun_late = late(&self.clock);
        loop {
            let first = self.view.borrow().tries == 0;
            if self.attempt(job).await {
                // What the safe command itself takes is no overrun; failed attempts are.
                return if first { begun_late } else { late(&self.clock) };
            }
            let tries = self.view.borrow().tries;
            if tries >= SAFE_TRIES_OUTCOME {
                return late(&self.clock);
            }
            self.rest(tries).await;
        }
    }

    /// Tries once to make it safe; `true` if that is confirmed.
    async fn attempt(&mut self, job: &str) -> bool {
        let order = self.wanted.borrow_and_update().count;
        let driver = self.driver.clone();
        let limit = driver.safe_limit();
        let done = {
            let work = tokio::time::timeout(limit, caught(driver.make_safe(job)));
            tokio::pin!(work);
            let patience = Duration::from_millis(SAFE_ALARM_AFTER_MS);
            let early = tokio::select! {
                biased;
                done = &mut work => Some(done),
                () = tokio::time::sleep(patience) => None,
            };
            match early {
                Some(done) => done,
                None => {
                    self.alarm("its driver has not answered yet", self.view.borrow().tries);
                    work.await
                }
            }
        };
        let done = done.unwrap_or_else(|_| {
            let limit_ms = u64::try_from(limit.as_millis()).unwrap_or(u64::MAX);
            let what = "making it safe".to_owned();
            Err(DriverError::TooSlow { what, limit_ms })
        });
        let target = driver.capability();
        // Whatever came of it, the step before it waits no longer.
        self.is_down();
        match done {
            Ok(()) => {
                let position = self.position().await;
                let tries = self.view.borrow().tries;
                self.view.send_modify(|view| {
                    (view.safe, view.answered) = (true, order);
                    (view.tries, view.problem, view.position) = (0, None, position);
                    if !view.running {
                        view.proposal = None;
                    }
                });
                self.is_astray(None);
                if self
                    .alarms
                    .clear(AlarmKind::ActuatorUnsafe, target.as_str())
                {
                    let (target, tries) = (target.clone(), tries + 1);
                    self.report(Report::SafeAgain { target, tries });
                }
                true
            }
            Err(error) => {
                let why = error.to_string();
                let tries = self.view.borrow().tries.saturating_add(1);
                self.view.send_modify(|view| {
                    view.tries = tries;
                    view.problem = Some(why.clone());
                    view.safe = false;
                });
                self.alarm(&why, tries);
                false
            }
        }
    }

    fn alarm(&self, why: &str, tries: u32) {
        let target = self.driver.capability();
        let tried = format!("({tries} failed attempts): {why}");
        let now = self.clock.now();
        if raise(&self.alarms, target, &tried, now) {
            let (target, why) = (target.clone(), why.to_owned());
            self.report(Report::Unsafe { target, why });
        }
    }

    /// The pause after so many failed attempts. An order ends it at once, and so does what makes another
    /// attempt worth while; runs are refused meanwhile.
    async fn rest(&mut self, tries: u32) {
        let driver = self.driver.clone();
        let mut back = driver.back();
        let pause = SAFE_PAUSE_FIRST_MS
            .saturating_mul(
                1_u64
                    .checked_shl(tries.saturating_sub(1))
                    .unwrap_or(u64::MAX),
            )
            .min(SAFE_PAUSE_MAX_MS);
        let over = self.clock.steady_ms().saturating_add(pause);
        loop {
            let handed = tokio::select! {
                biased;
                _ = self.wanted.changed() => return,
                () = until(&self.clock, over) => return,
                () = &mut back => return,
                Some(handed) = self.runs.recv() => handed,
            };
            let why = "the actuator is not in its safe state yet; it was not told".to_owned();
            let ended = self.ended(Status::Failed, why, self.clock.now(), None);
            // As in `take`.
            let _ = handed.done.send(ended);
        }
    }

    fn ended(
        &self,
        status: Status,
        detail: String,
        started_at: TimeMs,
        position: Option<String>,
    ) -> Ended {
        Ended {
            status,
            detail,
            started_at,
            ended_at: self.clock.now(),
            position,
        }
    }

    async fn position(&self) -> Option<String> {
        let asked = Duration::from_millis(POSITION_WAIT_MS);
        let state = tokio::time::timeout(asked, caught(self.driver.state())).await;
        state.ok()?.ok().map(|state| state.position)
    }

    fn report(&self, report: Report) {
        // Full: the alarm or the outcome tells it all the same.
        let _ = self.reports.try_send(report);
    }
}

/// Raises the alarm that an actuator is not confirmed safe; whether it is new.
pub(super) fn raise(alarms: &Alarms, target: &Capability, why: &str, now: TimeMs) -> bool {
    let message = format!("{target} is not confirmed to be in its safe state {why}");
    let advice = "Make the actuator safe by hand. The node goes on trying; nothing starts on it until its driver confirms.";
    let kind = AlarmKind::ActuatorUnsafe;
    alarms.raise(kind, target.as_str(), &message, advice, now)
}

/// The work's result; a panic is a failure of the driver.
async fn caught<T>(work: impl Future<Output = Result<T, DriverError>>) -> Result<T, DriverError> {
    let done = AssertUnwindSafe(work).catch_unwind().await;
    done.unwrap_or_else(|_| Err(DriverError::Failed("its driver panicked".to_owned())))
}

/// Resolves when the boot clock has reached a moment. Looks at it often: a timer stands still while
/// the machine is suspended.
async fn until(clock: &SharedClock, moment_ms: u64) {
    loop {
        let left = moment_ms.saturating_sub(clock.steady_ms());
        if left == 0 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(left.min(DEADLINE_LOOK_MS))).await;
    }
}
