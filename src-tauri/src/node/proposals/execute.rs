//! Acting: one permit, one movement, back to the safe state, one outcome.
//!
//! The act has been written ahead before this code runs. Whatever ends it early, the actuator goes
//! to its safe state; if the process dies, [`recover`] does that at the next start and reports the
//! outcome as unknown (invariants I6, I9).

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::json;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use super::estop::{self, Latch};
use super::{OUTCOME, step};
use crate::adapters::executor::Driver;
use crate::adapters::store::{StoreError, proposals, runs};
use crate::domain::base::limits::QUERY_MAX;
use crate::domain::base::{Code, EvidenceSource, ProposalId, Refusal, Tier, TimeMs};
use crate::domain::capability::Capability;
use crate::domain::gate::Permit;
use crate::domain::proposal::{Outcome, Status};
use crate::domain::wire::FrameKind;
use crate::domain::wire::frame::FrameSpec;
use crate::node::ledger;
use crate::node::shared::{DURABLE, Shared, store_refusal};

/// How long the node waits before it tries again to store an outcome.
const OUTCOME_RETRY: Duration = Duration::from_secs(1);
/// How often the safe state is tried before the node gives up and raises an alarm.
const SAFE_TRIES: u32 = 5;

/// Starts the action a permit allows.
pub fn start(shared: &Shared, permit: Permit) {
    shared.metrics.actions_started.inc();
    shared.tasks.passing("action", act(shared.clone(), permit));
}

async fn act(shared: Shared, permit: Permit) {
    let started_at = shared.now();
    let id = permit.proposal_id().clone();
    let target = permit.action().target.clone();
    let (status, detail, state) = match shared.drivers.get(&target) {
        None => (
            Status::Failed,
            format!("{target} is no actuator of this node"),
            None,
        ),
        Some(driver) => {
            let stop = shared.running.enter(&id);
            let done = if stop.is_cancelled() {
                // The emergency stop came between the permit and the movement.
                let why = "the emergency stop came before the actuator was told".to_owned();
                (Status::Failed, why, position(driver.as_ref()).await)
            } else {
                perform(&shared, driver.as_ref(), &permit, started_at, &stop).await
            };
            shared.running.leave(&id);
            done
        }
    };
    let outcome = Outcome {
        status,
        detail,
        started_at,
        ended_at: shared.now(),
        actuator_state: state,
    };
    finish(&shared, id, target, outcome).await;
}

/// Moves, waits, makes safe. Consumes the permit's one use.
async fn perform(
    shared: &Shared,
    driver: &dyn Driver,
    permit: &Permit,
    started_at: TimeMs,
    stop: &CancellationToken,
) -> (Status, String, Option<String>) {
    let job = permit.proposal_id().as_str();
    if started_at > permit.valid_until() {
        return (
            Status::Failed,
            "the permit lapsed before the actuator could be told".to_owned(),
            None,
        );
    }
    let action = permit.action();
    let ends_safe = action.operation == permit.safe_state();
    if let Err(error) = driver.apply(action, job).await {
        let safe = make_safe(driver, job).await;
        return (
            Status::Failed,
            format!("{} failed: {error}; {safe}", action.summary()),
            position(driver).await,
        );
    }
    if ends_safe {
        return (
            Status::Completed,
            format!("{} done", action.summary()),
            position(driver).await,
        );
    }
    let message = format!("{} for {} s", action.summary(), permit.run_ms() / 1_000);
    let data = json!({"proposalId": permit.proposal_id(), "target": action.target});
    shared
        .events
        .record(shared, "action.started", "info", &message, data)
        .await;
    let cut_short = tokio::select! {
        biased;
        () = tokio::time::sleep(Duration::from_millis(permit.run_ms())) => None,
        () = stop.cancelled() => Some(match shared.running.latched() {
            Some(_) => "the emergency stop",
            None => "an operator stopped it",
        }),
        () = shared.tasks.stop().cancelled() => Some("the node was shut down"),
    };
    let ran_ms = shared.now().since(started_at);
    let safe = make_safe(driver, job).await;
    let state = position(driver).await;
    match (safe, cut_short) {
        (Safe::Not(why), _) => (
            Status::Failed,
            format!("ran {ran_ms} ms, then could not be made safe: {why}"),
            state,
        ),
        (Safe::Yes, Some(why)) => (
            Status::Failed,
            format!("stopped after {ran_ms} ms: {why}; it is in its safe state"),
            state,
        ),
        (Safe::Yes, None) => (
            Status::Completed,
            format!("ran {ran_ms} ms and is back in its safe state"),
            state,
        ),
    }
}

/// The actions that are running, so that each can be stopped, and the latch that stops them all.
#[derive(Debug)]
pub struct Running {
    state: Mutex<State>,
    left: Notify,
    latching: watch::Sender<u64>,
}

impl Default for Running {
    fn default() -> Self {
        Self {
            state: Mutex::default(),
            left: Notify::new(),
            latching: watch::channel(0).0,
        }
    }
}

#[derive(Debug, Default)]
struct State {
    actions: BTreeMap<ProposalId, CancellationToken>,
    latch: Option<Latch>,
}

impl Running {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts an action in. Its token is cancelled already while the emergency stop is latched.
    fn enter(&self, id: &ProposalId) -> CancellationToken {
        let token = CancellationToken::new();
        let mut state = self.lock();
        if state.latch.is_some() {
            token.cancel();
        }
        state.actions.insert(id.clone(), token.clone());
        token
    }

    fn leave(&self, id: &ProposalId) {
        self.lock().actions.remove(id);
        self.left.notify_waiters();
    }

    /// Stops an action; `false` if it does not run.
    fn stop(&self, id: &ProposalId) -> bool {
        let running = self.lock().actions.get(id).cloned();
        running.inspect(CancellationToken::cancel).is_some()
    }

    /// The latched emergency stop.
    pub fn latched(&self) -> Option<Latch> {
        self.lock().latch.clone()
    }

    /// Latches and stops everything that runs; what starts later ends before it moves.
    pub(super) fn latch(&self, latch: Latch) {
        let mut state = self.lock();
        state.latch = Some(latch);
        for token in state.actions.values() {
            token.cancel();
        }
        self.latching.send_modify(|n| *n += 1);
    }

    /// Changes when the emergency stop is latched or released.
    pub fn latching(&self) -> watch::Receiver<u64> {
        self.latching.subscribe()
    }

    /// Lifts this very latch; `false` if another has taken its place.
    pub(super) fn unlatch(&self, id: &str) -> bool {
        let mut state = self.lock();
        let same = state.latch.as_ref().is_none_or(|l| l.id == id);
        if same {
            state.latch = None;
            self.latching.send_modify(|n| *n += 1);
        }
        same
    }

    /// Whether an action runs.
    pub(super) fn any(&self) -> bool {
        !self.lock().actions.is_empty()
    }

    /// Resolves when no action runs.
    pub(super) async fn quiet(&self) {
        loop {
            let left = self.left.notified();
            tokio::pin!(left);
            left.as_mut().enable();
            if self.lock().actions.is_empty() {
                return;
            }
            left.await;
        }
    }
}

/// Stops a running action: its actuator goes to its safe state now. Stopping needs no approval.
///
/// # Errors
/// `CONFLICT` if nothing runs under this id here.
pub async fn stop(shared: &Shared, id: &ProposalId, by: &str) -> Result<(), Refusal> {
    if !shared.running.stop(id) {
        return Err(Refusal::new(
            Code::Conflict,
            format!(
                "no action of proposal {} runs at its executor now, so there is nothing to stop; one that waits is rejected or withdrawn",
                id.short()
            ),
        ));
    }
    let (s, subject, detail) = (shared.clone(), id.clone(), json!({"by": by}));
    let audited = shared
        .store
        .write(DURABLE, "stop", move |c| {
            s.audit_in(c, "action.stopped", subject.as_str(), detail)
        })
        .await;
    if let Err(error) = audited {
        // The actuator has been told already: a full disk must not keep it moving.
        tracing::error!(%error, "the stop of an action could not be audited");
    }
    let message = format!("Proposal {} stopped by {by}", id.short());
    shared
        .events
        .record(
            shared,
            "action.stopped",
            "warning",
            &message,
            json!({"proposalId": id}),
        )
        .await;
    Ok(())
}

pub(super) enum Safe {
    Yes,
    Not(String),
}

impl std::fmt::Display for Safe {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Safe::Yes => f.write_str("it is in its safe state"),
            Safe::Not(why) => write!(f, "and it could not be made safe: {why}"),
        }
    }
}

pub(super) async fn make_safe(driver: &dyn Driver, job: &str) -> Safe {
    let mut last = String::new();
    for attempt in 1..=SAFE_TRIES {
        match driver.make_safe(job).await {
            Ok(()) => return Safe::Yes,
            Err(error) => {
                tracing::error!(job, attempt, target = %driver.capability(), "making safe failed: {error}");
                last = error.to_string();
            }
        }
        tokio::time::sleep(Duration::from_millis(200 * u64::from(attempt))).await;
    }
    Safe::Not(last)
}

pub(super) async fn position(driver: &dyn Driver) -> Option<String> {
    driver.state().await.ok().map(|r| r.position)
}

/// Writes the end of an action: state, run, audit and a signed frame, in one transaction.
async fn finish(shared: &Shared, id: ProposalId, target: Capability, outcome: Outcome) {
    if outcome.status != Status::Completed {
        shared.metrics.actions_not_completed.inc();
    }
    // The outcome is what everybody waits for: a store that is full must not lose it, only delay it.
    let stored = loop {
        let stored = write_outcome(shared, &id, &target, &outcome).await;
        let Err(refusal) = &stored else { break stored };
        shared.metrics.refused(refusal.code);
        tracing::error!(proposal = %id, "the outcome is not stored yet, trying again: {refusal}");
        tokio::select! {
            biased;
            () = shared.tasks.stop().cancelled() => break stored,
            () = tokio::time::sleep(OUTCOME_RETRY) => {}
        }
    };
    shared.proposals_changed();
    let severity = if outcome.status == Status::Completed {
        "info"
    } else {
        "critical"
    };
    let message = format!(
        "Proposal {} {}: {}",
        id.short(),
        outcome.status,
        outcome.detail
    );
    let data = json!({"proposalId": id, "status": outcome.status, "target": target});
    shared
        .events
        .record(shared, "proposal.ended", severity, &message, data)
        .await;
    if let Err(refusal) = stored {
        tracing::error!(proposal = %id, "the outcome could not be stored; at the next start it is reported as unknown: {refusal}");
    }
}

async fn write_outcome(
    shared: &Shared,
    id: &ProposalId,
    target: &Capability,
    outcome: &Outcome,
) -> Result<(), Refusal> {
    let frame = ledger::compose(shared, outcome_frame(shared, id, target, outcome))?;
    let (s, id, outcome) = (shared.clone(), id.clone(), outcome.clone());
    let inserted = shared
        .store
        .write(DURABLE, "outcome", move |conn| {
            proposals::set_outcome(conn, &id, &outcome)?;
            runs::end(conn, &id, outcome.ended_at, outcome.status)?;
            step(
                &s,
                conn,
                &id,
                Status::Executing,
                outcome.status,
                Some(&outcome.detail),
                json!(outcome),
            )?;
            ledger::insert(conn, &frame)
        })
        .await
        .map_err(|e| store_refusal(&e))?;
    ledger::stored(shared, &[inserted]);
    Ok(())
}

fn outcome_frame(
    shared: &Shared,
    id: &ProposalId,
    target: &Capability,
    outcome: &Outcome,
) -> FrameSpec {
    let data = json!({
        "type": OUTCOME, "proposalId": id, "executor": shared.own_id(), "target": target,
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

/// After a crash: every actuator to its safe state, every interrupted action reported as unknown.
/// Runs before the node listens.
///
/// # Errors
/// Whatever the store says; a node that cannot read what it was doing does not start.
pub async fn recover(shared: &Shared) -> Result<(), StoreError> {
    estop::resume(shared).await?;
    for driver in shared.drivers.all() {
        if let Safe::Not(why) = make_safe(driver.as_ref(), "start").await {
            let message = format!(
                "{} could not be brought to its safe state: {why}",
                driver.capability()
            );
            let data = json!({"target": driver.capability()});
            shared
                .events
                .record(shared, "actuator.unsafe", "critical", &message, data)
                .await;
        }
    }
    let open = shared
        .store
        .read("recover", |c| proposals::own_open_all(c, QUERY_MAX))
        .await?;
    for row in open.into_iter().filter(|r| r.status == Status::Executing) {
        let target: Capability = row.target.parse().map_err(|_| {
            StoreError::Refused(Refusal::new(
                Code::DigestMismatch,
                format!("proposal {} names a target that is none", row.id.short()),
            ))
        })?;
        let state = match shared.drivers.get(&target) {
            Some(driver) => position(driver.as_ref()).await,
            None => None,
        };
        let outcome = Outcome {
            status: Status::Unknown,
            detail: "the node was interrupted while acting; whether the action took effect is not known. \
                     The actuator was brought to its safe state at the next start"
                .to_owned(),
            started_at: row.updated_at,
            ended_at: shared.now(),
            actuator_state: state,
        };
        finish(shared, row.id, target, outcome).await;
    }
    Ok(())
}
