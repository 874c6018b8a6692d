//! Acting: one permit, one movement by the actuator's guard, one outcome.
//!
//! The act has been written ahead before this code runs. The guard moves and makes safe without the
//! store; only then the outcome is written here. If the process dies, [`recover`](super::recover) makes safe at the
//! next start and reports the outcome as unknown (invariants I6, I9).

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use rusqlite::Connection;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::sync::oneshot;

use super::running::Acting;
use super::withdrawn::{self, Behind};
use super::{OUTCOME, interlocks, sequence, write};
use crate::adapters::store::{StoreError, cases, proposals, steps as store_steps};
use crate::domain::admission::budget::Cause;
use crate::domain::base::limits::ESTOP_WAIT_MAX_MS;
use crate::domain::base::{AuditKind, Code, EvidenceSource, ProposalId, Refusal, Tier, TimeMs};
use crate::domain::capability::{Action, Capability};
use crate::domain::proposal::{Outcome, Status, end};
use crate::domain::wire::FrameKind;
use crate::domain::wire::frame::FrameSpec;
use crate::node::context::{Context, DURABLE, store_refusal};
use crate::node::context::{Event, Severity};
use crate::node::continuity;
use crate::node::frame_log;
use crate::node::guards::ladder::Ladder;
use crate::node::guards::moved::{self, Moved};
use crate::node::guards::{Cut, Ended, Order, Run, Secured};
use crate::node::health;
use crate::node::proposals::Executor;

/// When each step of a sequence ended, and how; none where it is no sequence.
pub(super) type StepEnds = Vec<(usize, TimeMs, Status)>;

/// How long the node waits before it tries again to store an outcome or a stop.
const STORE_RETRY: Duration = Duration::from_secs(1);

/// Writes, and starts what the write allowed as soon as it is on disk, before anything else is
/// written; also if whoever asked is gone by then.
pub(super) async fn write_and_start<T: Send + 'static>(
    executor: &Executor,
    what: &'static str,
    work: impl FnOnce(&Connection) -> Result<(T, Option<Run>), StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    let (tell, told) = oneshot::channel();
    let s = executor.clone();
    executor.tasks.passing(what, async move {
        let written = s.store.write(DURABLE, what, work).await;
        let written = match written {
            Ok((result, run)) => {
                if let Some(run) = run {
                    // Before the mark is written, which may take a while: a stop finds it from here on.
                    let permit = &run.permit;
                    let acting = Acting::of(permit);
                    let entered = s.running.enter(permit, &acting);
                    let marked = continuity::ahead(&s).await;
                    start(&s, run, acting, entered, marked);
                }
                Ok(result)
            }
            Err(error) => Err(error),
        };
        // Whoever asked may be gone.
        let _ = tell.send(written);
    });
    told.await.unwrap_or(Err(StoreError::Closed))
}

/// Starts the action a permit allows: hands it to the actuator's guard, and returns at once. What is
/// not marked outside could be carried out again by a restored copy, so it is not begun.
fn start(executor: &Executor, run: Run, acting: Acting, entered: bool, marked: Result<(), String>) {
    executor.metrics.actions_started.inc();
    let action = run.permit.action().clone();
    let behind = Behind::of(&run.permit);
    // An emergency stop, or that the node may not operate, is seen here, or its order to the guard is newer than those
    // that were seen before the ruling.
    let handed = match (marked, entered, health::check(executor)) {
        (Err(why), ..) => Err(format!("the actuator was not told: {why}")),
        (_, true, Ok(())) => match acting {
            Acting::Sequence(going) => Ok(Handed::Steps(Box::new(run), going.ladder.clone())),
            Acting::One(_) => executor
                .starter
                .run(run)
                .map(Handed::Run)
                .ok_or_else(|| "its actuator takes no actions now".to_owned()),
        },
        (_, false, _) => Err("the emergency stop came before the actuator was told".to_owned()),
        (_, true, Err(error)) => Err(format!("the actuator was not told: {error}")),
    };
    executor
        .tasks
        .passing("action", act(executor.clone(), behind, action, handed));
}

/// An action that may begin.
enum Handed {
    /// Its actuator's guard has it.
    Run(oneshot::Receiver<Ended>),
    /// It is a sequence, whose steps are handed over one after the other.
    Steps(Box<Run>, Arc<Ladder>),
}

#[tracing::instrument(name = "proposal", skip_all, fields(id = %behind.id.short()))]
async fn act(executor: Executor, behind: Behind, action: Action, handed: Result<Handed, String>) {
    let id = behind.id.clone();
    let not_begun = |detail: String| {
        let now = executor.now();
        Ended {
            status: Status::Failed,
            detail,
            started_at: now,
            ended_at: now,
            position: None,
        }
    };
    let mut steps = Vec::new();
    // Where there is none the guard is gone with the node: the next start makes safe and reports it as unknown.
    let ended = match handed {
        Err(why) => Some(not_begun(why)),
        Ok(Handed::Run(coming)) => one(&executor, &action, &behind, coming).await,
        Ok(Handed::Steps(run, ladder)) => {
            let over = sequence::run(&executor, *run, ladder, &behind).await;
            over.map(|over| {
                steps = over.steps;
                over.ended
            })
        }
    };
    let Some(ended) = ended else { return };
    executor.running.leave(&id);
    let outcome = Outcome {
        status: ended.status,
        detail: ended.detail,
        started_at: ended.started_at,
        ended_at: ended.ended_at,
        actuator_state: ended.position,
    };
    finish(&executor, id, action.target, outcome, steps).await;
}

/// Waits for the end of a run, and ends it when an interlock opens or who stands behind it may not any more.
async fn one(
    executor: &Executor,
    action: &Action,
    behind: &Behind,
    mut coming: oneshot::Receiver<Ended>,
) -> Option<Ended> {
    tokio::select! {
        biased;
        ended = &mut coming => return ended.ok(),
        what = interlocks::watch(executor, &executor.policy, || vec![action.clone()]) => {
            // Ordered once: the guard pursues it.
            executor.guards.secure(&action.target, Cut::Interlock { what });
        }
        why = withdrawn::watch(executor, behind) => {
            executor.guards.secure(&action.target, Cut::Withdrawn { why });
        }
    }
    coming.await.ok()
}

/// What a stop came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Stopped {
    /// The actuator.
    pub target: String,
    /// Whether its driver confirmed the safe state.
    pub safe: bool,
    /// Whether the stop is in the audit trail already.
    pub recorded: bool,
    /// What was done and what was not, in a sentence.
    pub detail: String,
}

/// Stops a running action: its actuator goes to its safe state now. Stopping needs no approval, and
/// waits for nothing before the guard has its order. `id` may be the beginning of an id.
///
/// # Errors
/// `CONFLICT` if nothing runs under this id here and nothing is on its way to the safe state.
pub async fn stop(executor: &Executor, id: &str, by: &str) -> Result<Stopped, Refusal> {
    stop_of(executor, Cause::Own, id, by).await
}

/// Stops a running action on somebody's account; see [`stop`]. A device that stops the same action again
/// and again is recorded within its share.
///
/// # Errors
/// As [`stop`].
pub async fn stop_of(
    executor: &Executor,
    cause: Cause,
    id: &str,
    by: &str,
) -> Result<Stopped, Refusal> {
    let why = Cut::Stopped { by: by.to_owned() };
    let Some((id, target, orders)) = order(executor, id, &why) else {
        let short: String = id.chars().take(8).collect();
        return Err(Refusal::new(
            Code::Conflict,
            format!(
                "no action of proposal {short} runs at its executor now, so there is nothing to stop; one that waits is rejected or withdrawn"
            ),
        ));
    };
    let within = Duration::from_millis(ESTOP_WAIT_MAX_MS);
    let first = executor.running.first_stop(&id);
    let told = first || executor.budgets.stop(&cause, executor.now());
    let (keep, kept) = oneshot::channel();
    let (s, who, subject) = (executor.clone(), by.to_owned(), id.clone());
    executor.tasks.passing("stop's record", async move {
        let kept = !told || audit_stop(&s, &subject, &who).await;
        if told && kept {
            tell_of_stop(&s, &subject, &who).await;
        }
        // Whoever asked may have stopped waiting.
        let _ = keep.send(kept);
        if !kept && audit_stop_later(&s, &subject, &who).await {
            tell_of_stop(&s, &subject, &who).await;
        }
    });
    let (secured, kept) = tokio::join!(
        join_all(
            orders
                .iter()
                .map(|order| executor.guards.settled(order, within))
        ),
        tokio::time::timeout(within, kept)
    );
    let recorded = matches!(kept, Ok(Ok(true)));
    let in_words = |secured: &Secured| match &secured.problem {
        None => executor.guards.safe_in_words(&secured.target),
        Some(why) => format!(
            "{} is NOT confirmed to be in its safe state and is being tried again: {why}",
            secured.target
        ),
    };
    let mut detail = match secured.is_empty() {
        false => secured.iter().map(in_words).collect::<Vec<_>>().join("; "),
        true => "nothing of it is away from its safe state, and no further step begins".to_owned(),
    };
    if !recorded {
        detail.push_str("; the record of the stop is not on disk yet");
    }
    Ok(Stopped {
        target: target.as_str().to_owned(),
        safe: secured.iter().all(|secured| secured.safe),
        recorded,
        detail,
    })
}

/// Orders what an action moves to its safe state: the action, what it is called, and the orders. Of a sequence nothing
/// further begins from here on.
fn order(executor: &Executor, id: &str, why: &Cut) -> Option<(ProposalId, Capability, Vec<Order>)> {
    let secure = |target: &Capability| executor.guards.secure(target, why.clone());
    match executor.running.find(id) {
        Some((id, Acting::One(target))) => {
            let order = secure(&target)?;
            Some((id, target, vec![order]))
        }
        Some((id, Acting::Sequence(going))) => {
            going.ladder.cut(why.clone());
            let away = going.ladder.under_way().into_iter();
            let away = away.filter_map(|n| going.actuators.get(n));
            let orders = away.filter_map(secure).collect();
            Some((id, going.target.clone(), orders))
        }
        None => {
            let (id, targets) = executor.guards.of(id)?;
            let orders = targets.iter().filter_map(secure).collect();
            Some((id, targets.first()?.clone(), orders))
        }
    }
}

/// Audits a stop; `false` if it could not be.
async fn audit_stop(context: &Context, id: &ProposalId, by: &str) -> bool {
    let (s, subject, detail) = (context.clone(), id.clone(), json!({"by": by}));
    let audited = context
        .store
        .write(DURABLE, "stop", move |c| {
            s.journal
                .audit(c, AuditKind::ActionStopped, subject.as_str(), detail)
        })
        .await;
    if let Err(error) = &audited {
        tracing::error!(%error, "the stop of an action could not be audited yet");
    }
    audited.is_ok()
}

/// Audits a stop as soon as the store takes it; `false` if the node ends before.
async fn audit_stop_later(context: &Context, id: &ProposalId, by: &str) -> bool {
    loop {
        tokio::select! {
            biased;
            () = context.tasks.stop().cancelled() => return false,
            () = tokio::time::sleep(STORE_RETRY) => {}
        }
        if audit_stop(context, id, by).await {
            return true;
        }
    }
}

async fn tell_of_stop(context: &Context, id: &ProposalId, by: &str) {
    let message = format!("Proposal {} stopped by {by}", id.short());
    let data = json!({"proposalId": id});
    let journal = &context.journal;
    journal
        .record(Event::ActionStopped, Severity::Warning, &message, data)
        .await;
}

/// Writes the end of an action: state, run, audit and a signed frame, in one transaction.
pub(super) async fn finish(
    executor: &Executor,
    id: ProposalId,
    target: Capability,
    outcome: Outcome,
    steps: StepEnds,
) {
    if outcome.status != Status::Completed {
        executor.metrics.actions_not_completed.inc();
    }
    // The outcome is what everybody waits for: a store that is full must not lose it, only delay it.
    let stored = loop {
        let stored = write_outcome(executor, &id, &target, (&outcome, &steps)).await;
        let Err(refusal) = &stored else { break stored };
        executor.metrics.refused(refusal.code);
        tracing::error!(proposal = %id, "the outcome is not stored yet, trying again: {refusal}");
        tokio::select! {
            biased;
            () = executor.tasks.stop().cancelled() => break stored,
            () = tokio::time::sleep(STORE_RETRY) => {}
        }
    };
    executor.proposals_changed();
    let severity = if outcome.status == Status::Completed {
        Severity::Info
    } else {
        Severity::Critical
    };
    let message = format!(
        "Proposal {} {}: {}",
        id.short(),
        outcome.status,
        outcome.detail
    );
    let data = json!({"proposalId": id, "status": outcome.status, "target": target});
    executor
        .journal
        .record(Event::ProposalEnded, severity, &message, data)
        .await;
    if let Err(refusal) = stored {
        executor.running.lose_outcome();
        tracing::error!(proposal = %id, "the outcome could not be stored; at the next start it is reported as unknown: {refusal}");
    }
}

async fn write_outcome(
    executor: &Executor,
    id: &ProposalId,
    target: &Capability,
    (outcome, steps): (&Outcome, &StepEnds),
) -> Result<(), Refusal> {
    let frame = frame_log::compose(executor, outcome_frame(executor, id, target, outcome))?;
    let (s, id, outcome) = (executor.clone(), id.clone(), outcome.clone());
    let (stored, of, steps) = (frame.clone(), target.clone(), steps.clone());
    let inserted = executor
        .store
        .write(DURABLE, "outcome", move |conn| {
            let (case, _) = cases::load(conn, &id)?;
            let step = end::finish(&case, &outcome).map_err(StoreError::Refused)?;
            for (n, at, status) in &steps {
                store_steps::end(conn, &id, *n, *at, *status)?;
            }
            write(&s, conn, &step, None)?;
            // A setting that was to take the place of this one may have been noted, and have ended before it moved.
            let acting = proposals::executing_on(conn, of.as_str())?;
            let over = |m: &Moved| {
                let same = m.target == of && !acting.contains(&m.proposal);
                let safe = s.guards.view(&m.target).is_some_and(|view| view.safe);
                safe && (m.proposal == id || same)
            };
            moved::end(conn, |m| over(m) && m.is_in(&s.guards))?;
            frame_log::insert(conn, &frame)
        })
        .await
        .map_err(|e| store_refusal(&e))?;
    executor.guards.moved_changes();
    frame_log::stored(executor, &[stored], &[inserted]);
    Ok(())
}

fn outcome_frame(
    context: &Context,
    id: &ProposalId,
    target: &Capability,
    outcome: &Outcome,
) -> FrameSpec {
    let data = json!({
        "type": OUTCOME, "proposalId": id, "executor": context.own_id(), "target": target,
        "status": outcome.status, "detail": outcome.detail, "startedAt": outcome.started_at,
        "endedAt": outcome.ended_at, "actuatorState": outcome.actuator_state,
    });
    FrameSpec {
        kind: FrameKind::Event,
        data: data.as_object().cloned().unwrap_or_default(),
        sources: vec![EvidenceSource::Device],
        tier: Tier::T2,
        taint: Default::default(),
        note: Some(format!(
            "Proposal {} {}: {}",
            id.short(),
            outcome.status,
            outcome.detail
        )),
    }
}
