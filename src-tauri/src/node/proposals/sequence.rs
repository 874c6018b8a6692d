//! A sequence that acts: its steps one after the other, each by the guard of its own actuator. `domain/proposal/course.rs`
//! says what comes next; here it is done. A step is written ahead before its guard has it. If this task is gone, each
//! guard brings its actuator to the safe state at the step's own deadline all the same.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::StreamExt as _;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use serde_json::json;

use super::interlocks;
use super::withdrawn::{self, Behind};
use crate::adapters::store::steps;
use crate::domain::base::limits::{DEADLINE_LOOK_MS, INTERLOCK_EVERY_MS, SEQUENCE_AHEAD_MAX_MS};
use crate::domain::base::{AuditKind, ProposalId, TimeMs};
use crate::domain::capability::Action;
use crate::domain::gate::Steps;
use crate::domain::policy::Step;
use crate::domain::proposal::Status;
use crate::domain::proposal::course::{Course, Do, Event};
use crate::node::context::DURABLE;
use crate::node::guards::ladder::{Ladder, Place};
use crate::node::guards::moved::{self, Moved};
use crate::node::guards::{Cut, Ended, Orders, Run};
use crate::node::proposals::Executor;

/// How a sequence ended.
pub(super) struct Over {
    /// The whole.
    pub ended: Ended,
    /// When each step that ended did, and how.
    pub steps: Vec<(usize, TimeMs, Status)>,
}

/// What a sequence waits for.
type Events<'a> = FuturesUnordered<BoxFuture<'a, Option<Happened>>>;

/// Carries a sequence out. `None` if a guard is gone with the node: the next start makes safe and reports it as unknown.
pub(super) async fn run(
    executor: &Executor,
    run: Run,
    ladder: Arc<Ladder>,
    behind: &Behind,
) -> Option<Over> {
    let (whole, began, seen) = (run.permit.action().clone(), run.at_steady_ms, run.seen);
    let (started_at, id) = (executor.now(), run.permit.proposal_id().clone());
    let waited = executor.guards.steady_ms().saturating_sub(began);
    let Some(permits) = run.permit.steps(started_at, waited) else {
        let why = "the permit lapsed before the first actuator could be told".to_owned();
        let ended = (Status::Failed, why);
        return Some(over(executor, started_at, ended, Vec::new(), None));
    };
    let all = permits.all().to_vec();
    let (mut course, first) = Course::begin(&all);
    let mut todo = VecDeque::from([first]);
    let mut events: Events<'_> = FuturesUnordered::new();
    let mut acts = Acts {
        executor,
        id,
        whole: whole.clone(),
        all: all.clone(),
        permits,
        ladder: ladder.clone(),
        seen: seen.clone(),
        began,
        started_at,
        ends: Vec::new(),
        positions: Vec::new(),
    };
    let watched = watch(executor, (&whole, &all), &ladder, &seen, behind);
    tokio::pin!(watched);
    let mut watching = true;
    loop {
        while let Some(next) = todo.pop_front() {
            match next {
                Do::Wait(n) => events.push(acts.due(n)?),
                Do::Note(n) => events.push(acts.note(n)?),
                Do::Begin(n) => {
                    if let Err(why) = acts.begin(n, &mut events) {
                        let ended = Event::Ended(n, Status::Failed, why.to_owned());
                        todo.extend(course.on(ended));
                    }
                }
                Do::Finish(n) => ladder.finish(n),
                Do::Cut => ladder.cut(Cut::Sequence {
                    what: course.outcome().1,
                }),
                Do::Over => return Some(acts.over(&course)),
            }
        }
        let event = tokio::select! {
            biased;
            Some(happened) = events.next() => acts.happened(happened?),
            cut = &mut watched, if watching => {
                // Once is enough: what has begun ends, and nothing further begins.
                watching = false;
                let why = match (&cut, course.reached()) {
                    (Cut::Sequence { what }, _) => what.clone(),
                    (other, Some(n)) => format!("{other}, in step {} of {}", n + 1, all.len()),
                    (other, None) => other.to_string(),
                };
                ladder.cut(cut);
                Event::Cut(why)
            }
        };
        todo.extend(course.on(event));
    }
}

/// A sequence under way.
struct Acts<'a> {
    executor: &'a Executor,
    id: ProposalId,
    whole: Action,
    all: Vec<Step>,
    permits: Steps,
    ladder: Arc<Ladder>,
    /// The orders that its actuators had before the ruling.
    seen: Orders,
    /// When its permit was given, by the boot clock.
    began: u64,
    started_at: TimeMs,
    ends: Vec<(usize, TimeMs, Status)>,
    positions: Vec<(usize, String)>,
}

impl<'a> Acts<'a> {
    fn elapsed(&self) -> u64 {
        self.executor.guards.steady_ms().saturating_sub(self.began)
    }

    fn due(&self, n: usize) -> Option<BoxFuture<'a, Option<Happened>>> {
        let step = self.all.get(n)?;
        let actions = [self.whole.clone(), step.action.clone()];
        Some(
            due(self.executor, actions, step.wait_ms, n)
                .map(happened)
                .boxed(),
        )
    }

    fn note(&self, n: usize) -> Option<BoxFuture<'a, Option<Happened>>> {
        let step = self.all.get(n)?.clone();
        let noted = note(self.executor, self.id.clone(), n, step);
        Some(noted.map(happened).boxed())
    }

    /// Hands a step to the guard of its actuator, or says why it cannot.
    fn begin(&mut self, n: usize, events: &mut Events<'a>) -> Result<(), &'static str> {
        let executor = self.executor;
        let elapsed = self.elapsed();
        let permit = self.permits.next(executor.now(), elapsed);
        let permit = permit.ok_or("the time of the whole sequence is up")?;
        let run = Run {
            permit,
            at_steady_ms: executor.guards.steady_ms(),
            seen: self.seen.clone(),
            place: Some(Place {
                ladder: self.ladder.clone(),
                step: n,
                stays: self.all.get(n).is_some_and(|step| step.stays),
            }),
        };
        let coming = executor.starter.run(run);
        let coming = coming.ok_or("its actuator takes no actions now")?;
        let ladder = self.ladder.clone();
        let away = async move {
            ladder.away(n).await;
            happened(Event::Away(n))
        };
        let ended = async move {
            let ended = coming.await.ok()?;
            let event = Event::Ended(n, ended.status, ended.detail.clone());
            Some(Happened {
                event,
                ended: Some((n, ended)),
            })
        };
        events.push(away.boxed());
        events.push(ended.boxed());
        Ok(())
    }

    fn happened(&mut self, happened: Happened) -> Event {
        if let Some((n, ended)) = happened.ended {
            self.ends.push((n, ended.ended_at, ended.status));
            let position = ended.position.map(|position| (n, position));
            self.positions.extend(position);
        }
        happened.event
    }

    fn over(self, course: &Course) -> Over {
        let (status, detail) = course.outcome();
        let detail = match status {
            Status::Completed => {
                let lasted = self.elapsed();
                format!("{detail} in {lasted} ms, and every actuator is back in its safe state")
            }
            _ => format!("{detail}{}", left(self.executor, &self.all, &self.ends)),
        };
        let position = shown(&self.all, self.positions);
        let ended = (status, detail);
        over(self.executor, self.started_at, ended, self.ends, position)
    }
}

/// An event, and of a step that ended how.
struct Happened {
    event: Event,
    ended: Option<(usize, Ended)>,
}

fn happened(event: Event) -> Option<Happened> {
    Some(Happened { event, ended: None })
}

/// The pause before a step; then its interlocks and those of the whole must hold.
async fn due(executor: &Executor, actions: [Action; 2], wait_ms: u64, n: usize) -> Event {
    let moment = executor.guards.steady_ms().saturating_add(wait_ms);
    loop {
        let left = moment.saturating_sub(executor.guards.steady_ms());
        if left == 0 {
            break;
        }
        // A timer stands still while the machine is suspended.
        tokio::time::sleep(Duration::from_millis(left.min(DEADLINE_LOOK_MS))).await;
    }
    match interlocks::hold_now(executor, &executor.policy, &actions).await {
        Ok(()) => Event::Due(n),
        Err(what) => Event::Cut(format!("step {} was not begun: {what}", n + 1)),
    }
}

/// Writes the begin of a step ahead. One whose write does not end in time does not begin, also if it is on disk later.
async fn note(executor: &Executor, id: ProposalId, n: usize, step: Step) -> Event {
    // Two names, since a test has the node die at the one or the other.
    let what = match n {
        0 => "first step",
        _ => "later step",
    };
    let (s, target) = (executor.clone(), step.action.target.clone());
    let detail = json!({"step": n + 1, "action": step.action.summary(), "rule": step.rule, "runMs": step.run_ms});
    let work = move |conn: &rusqlite::Connection| {
        let now = s.now();
        steps::begin(conn, &id, n, now)?;
        moved::begins(conn, Moved::new(&s.guards, target.clone(), id.clone(), now))?;
        s.guards.moved_changes();
        s.journal
            .audit(conn, AuditKind::StepBegun, id.as_str(), detail)
    };
    let within = Duration::from_millis(SEQUENCE_AHEAD_MAX_MS);
    let written = tokio::time::timeout(within, executor.store.write(DURABLE, what, work)).await;
    let why = match written {
        Ok(Ok(())) => return Event::Noted(n),
        Ok(Err(error)) => error.to_string(),
        Err(_) => "the disk does not answer".to_owned(),
    };
    Event::Cut(format!(
        "step {} was not begun, because it could not be written ahead: {why}",
        n + 1
    ))
}

/// Resolves with what ends a sequence as a whole: an interlock of it or of a step that is away, an order to one of its
/// actuators, a stop, the end of the node.
async fn watch(
    executor: &Executor,
    (whole, all): (&Action, &[Step]),
    ladder: &Ladder,
    seen: &Orders,
    behind: &Behind,
) -> Cut {
    let actions = || {
        let away = ladder.under_way().into_iter();
        let away = away.filter_map(|n| all.get(n).map(|step| step.action.clone()));
        std::iter::once(whole.clone()).chain(away).collect()
    };
    let ordered = async {
        loop {
            if let Some(why) = executor.guards.newer(seen) {
                return why;
            }
            tokio::time::sleep(Duration::from_millis(INTERLOCK_EVERY_MS)).await;
        }
    };
    tokio::select! {
        biased;
        why = ladder.is_cut() => why,
        () = executor.tasks.stop().cancelled() => Cut::Shutdown,
        why = ordered => why,
        what = interlocks::watch(executor, &executor.policy, actions) => Cut::Interlock { what },
        why = withdrawn::watch(executor, behind) => Cut::Withdrawn { why },
    }
}

/// What of it is not confirmed to be in its safe state, in words.
fn left(executor: &Executor, all: &[Step], ends: &[(usize, TimeMs, Status)]) -> String {
    let begun = ends.iter().rev().filter_map(|(n, ..)| all.get(*n));
    let is_left = |step: &&Step| {
        let view = executor.guards.view(&step.action.target);
        view.is_some_and(|view| !view.safe)
    };
    let left: Vec<String> = begun
        .filter(is_left)
        .map(|step| step.action.target.to_string())
        .collect();
    match (ends.is_empty(), left.is_empty()) {
        (true, _) => String::new(),
        (false, true) => "; what had begun is in its safe state".to_owned(),
        (false, false) => format!(
            "; NOT confirmed to be in its safe state, and still being tried: {}",
            left.join(", ")
        ),
    }
}

/// Where the actuators stood that were moved, in words.
fn shown(all: &[Step], mut positions: Vec<(usize, String)>) -> Option<String> {
    positions.sort_by_key(|(n, _)| *n);
    let one = |(n, position): &(usize, String)| {
        let step = all.get(*n)?;
        Some(format!("{} {position}", step.action.target))
    };
    let all: Vec<String> = positions.iter().filter_map(one).collect();
    (!all.is_empty()).then(|| all.join(", "))
}

fn over(
    executor: &Executor,
    started_at: TimeMs,
    (status, detail): (Status, String),
    steps: Vec<(usize, TimeMs, Status)>,
    position: Option<String>,
) -> Over {
    Over {
        ended: Ended {
            status,
            detail,
            started_at,
            ended_at: executor.now(),
            position,
        },
        steps,
    }
}
