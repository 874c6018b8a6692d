//! Loads what stands for and against acting on a proposal, inside the transaction that rules on it
//! (`domain/proposal/ground`): the store, and what this node knows in memory of its stop, its state, its guards, its
//! links and its policy.

use std::collections::BTreeMap;

use rusqlite::Connection;

use super::{estop, refused};
use crate::adapters::store::cited::of_origin;
use crate::adapters::store::proposals::ProposalRow;
use crate::adapters::store::{StoreError, facts, proposals, runs, trust};
use crate::domain::base::ProposalId;
use crate::domain::base::{Code, DeviceId, Refusal, TimeMs};
use crate::domain::capability::{Action, Capability, Params};
use crate::domain::gate::Gen1Command;
use crate::domain::policy::sequence::is_sequence;
use crate::domain::policy::{EvidenceView, History, Kind, Phase, Request, Ruling, RunView};
use crate::domain::proposal::ground::Ground;
use crate::domain::proposal::standing::{self, Coded, Known};
use crate::domain::proposal::{Evidence, ProposalRecord};
use crate::node::context::Context;
use crate::node::context::timekeeping::clock_trusted;
use crate::node::gen1::actuators;
use crate::node::health;
use crate::node::proposals::Executor;

/// Everything that the rule looks at, as of now. The latch in memory is read here, on the writer's thread, after the one
/// on disk: a stop that came meanwhile is seen by one of them.
pub(super) fn load(
    executor: &Executor,
    conn: &Connection,
    record: &ProposalRecord,
    now: TimeMs,
) -> Result<Ground, StoreError> {
    let (looked, ruling) = evaluate_now(executor, conn, record, now)?;
    let actuators = record.actuators();
    let safe = actuators.iter();
    let safe = safe.map(|target| safe_before(executor, target, &record.action()));
    Ok(Ground {
        own: executor.own_id().clone(),
        busy: busy(conn, record, &actuators)?,
        replaces: replaced_by(conn, record)?,
        by_gen1: by_gen1(executor, &record.action()),
        told: said(can_be_told(executor, record))?,
        safe: safe.collect(),
        clock_trusted: clock_trusted(conn, now)?,
        looked,
        ruling,
        stop_stored: estop::stored(conn)?.map(|latch| estop::refusal(executor, &latch)),
        stop_held: executor
            .running
            .latched()
            .map(|latch| estop::refusal(executor, &latch)),
        in_place: said(health::check_in_place(executor))?,
    })
}

/// The setting in force whose place it would take.
fn replaced_by(
    conn: &Connection,
    record: &ProposalRecord,
) -> Result<Option<ProposalId>, StoreError> {
    let acts = under_way(conn, &record.target)?;
    let acts = acts.filter(|acts| record.may_replace(acts));
    Ok(acts.map(|acts| acts.proposal_id))
}

/// The proposal that acts on one of these actuators now, and does not give way.
fn busy(
    conn: &Connection,
    record: &ProposalRecord,
    actuators: &[Capability],
) -> Result<Option<ProposalId>, StoreError> {
    for target in actuators {
        let acts = under_way(conn, target)?;
        if let Some(acts) = acts.filter(|acts| !record.may_replace(acts)) {
            return Ok(Some(acts.proposal_id));
        }
    }
    Ok(None)
}

/// Whether this node has what an action moves: the actuator, or each of those of a sequence.
///
/// # Errors
/// `UNKNOWN_TARGET`.
pub(super) fn is_here(executor: &Executor, action: &Action) -> Result<(), Refusal> {
    let unknown = |why: String| Err(Refusal::new(Code::UnknownTarget, why));
    let target = &action.target;
    if !is_sequence(target) {
        return match executor.guards.has(target) {
            true => Ok(()),
            false => unknown(format!("{target} is no actuator of this node")),
        };
    }
    let policy = executor.policy.current();
    let Some(sequence) = policy.sequence(action) else {
        let operation = &action.operation;
        return unknown(format!(
            "the policy of this node has no sequence {target} with the operation {operation:?}"
        ));
    };
    let steps = sequence.steps.iter().enumerate();
    for (n, step) in steps {
        if !executor.guards.has(&step.actuator) {
            let (n, actuator) = (n + 1, &step.actuator);
            return unknown(format!(
                "step {n} of {target} moves {actuator}, which is no actuator of this node"
            ));
        }
    }
    Ok(())
}

/// The record of what acts on an actuator now, of several that which began last.
fn under_way(conn: &Connection, target: &Capability) -> Result<Option<ProposalRecord>, StoreError> {
    let acting = proposals::executing_on(conn, target.as_str())?;
    let Some(id) = acting.into_iter().next() else {
        return Ok(None);
    };
    let row = proposals::get(conn, &id)?;
    let read = |row: ProposalRow| {
        serde_json::from_str(&row.record).map_err(|e| {
            let what = format!(
                "proposal {}, which acts on {target}, does not read: {e}",
                id.short()
            );
            refused(Code::DigestMismatch, what)
        })
    };
    row.map(read).transpose()
}

/// The parameters of the setting of an actuator that is in force.
///
/// # Errors
/// Whatever the store says.
pub fn now_set(conn: &Connection, target: &Capability) -> Result<Option<Params>, StoreError> {
    let acts = under_way(conn, target)?;
    let set = acts.filter(|acts| matches!(acts.kind(), Kind::Set { .. }));
    Ok(set.map(|acts| acts.params))
}

/// A refusal as a value, apart from what the store says.
fn said(result: Result<(), StoreError>) -> Result<Result<(), Refusal>, StoreError> {
    match result {
        Ok(()) => Ok(Ok(())),
        Err(StoreError::Refused(refusal)) => Ok(Err(refusal)),
        Err(error) => Err(error),
    }
}

/// What the store says of a device now; the copy in memory may lag behind a revocation.
pub(super) fn known(
    context: &Context,
    conn: &Connection,
    device: &DeviceId,
) -> Result<Known, StoreError> {
    if device == context.own_id() {
        return Ok(Known::Own);
    }
    Ok(match trust::get(conn, device)? {
        Some(record) if record.is_live() => Known::Trusted(record.grants),
        Some(_) => Known::Revoked,
        None => Known::Stranger,
    })
}

/// Everybody a record names, as the store knows them now.
fn known_of(
    context: &Context,
    conn: &Connection,
    record: &ProposalRecord,
) -> Result<BTreeMap<DeviceId, Known>, StoreError> {
    let origins = record.evidence.iter().map(|e| &e.origin);
    origins
        .chain([&record.requested_by.device_id])
        .chain(&record.led_by)
        .map(|device| Ok((device.clone(), known(context, conn, device)?)))
        .collect()
}

/// The evidence of the wish, without what only an interlock looks at.
pub(super) fn cited(evidence: &[Evidence]) -> impl Iterator<Item = &Evidence> {
    evidence.iter().filter(|e| !e.interlock)
}

/// Looks again at what may have changed since the proposal was minted: who asked, where its evidence came from, how
/// old that is by now, and what the policy says.
fn evaluate_now(
    executor: &Executor,
    conn: &Connection,
    record: &ProposalRecord,
    now: TimeMs,
) -> Result<(Vec<Coded>, Ruling), StoreError> {
    let devices = known_of(executor, conn, record)?;
    let known = |d: &DeviceId| devices.get(d).cloned().unwrap_or(Known::Stranger);
    let evidence: Vec<EvidenceView> = cited(&record.evidence)
        .map(|e| standing::weigh(e, record.created_at, &known, now))
        .collect();
    let action = record.action();
    let now_set = now_set(conn, &record.target)?;
    let request = Request {
        now_set: now_set.as_ref(),
        action: &action,
        requester: record.requested_by.kind,
        from: &record.requested_by.device_id,
        taint: &record.taint,
        evidence: &evidence,
        phase: Phase::Execute,
        by_gen1: by_gen1(executor, &action),
    };
    let metrics = executor.policy.current().metrics();
    let facts = facts::numeric_of(conn, &metrics, executor.moment_at(now))?;
    let history = history(conn, now)?;
    let ruling =
        executor
            .policy
            .current()
            .evaluate(&request, &facts, &history, now, executor.own_id());
    let mut looked = standing::look_again(record, &known);
    looked.push(standing::unchanged(replaced(conn, record)?));
    let last = history.last_begun(&action);
    looked.push(standing::since_last_run(
        record.requested_by.kind,
        record.slot,
        &record.evidence,
        record.created_at,
        last,
    ));
    Ok((looked, ruling))
}

/// The first cited frame in whose place another content of its origin stands now: one that is better
/// proven. One that was pruned is not replaced.
fn replaced<'a>(
    conn: &Connection,
    record: &'a ProposalRecord,
) -> Result<Option<&'a Evidence>, StoreError> {
    for evidence in cited(&record.evidence) {
        let stands = of_origin(conn, &evidence.frame_id, &evidence.origin)?;
        if stands.is_some_and(|frame| frame.content != evidence.content) {
            return Ok(Some(evidence));
        }
    }
    Ok(None)
}

/// The executor's runs of the last day, as the policy counts them.
pub(super) fn history(conn: &Connection, now: TimeMs) -> Result<History, StoreError> {
    let since = TimeMs(now.0.saturating_sub(24 * 3_600_000));
    let runs = runs::since(conn, since)?
        .into_iter()
        .map(|r| RunView {
            rule: r.rule,
            target: r.target,
            operation: r.operation,
            started_at: r.started_at,
            duration_ms: r
                .ended_at
                .map_or(r.planned_ms, |end| end.since(r.started_at)),
        })
        .collect();
    Ok(History { runs })
}

/// Whether a gen-1 node acts on what an action moves: never without a person.
pub(super) fn by_gen1(executor: &Executor, action: &Action) -> bool {
    let policy = executor.policy.current();
    let steps = policy.sequence(action).map_or(&[][..], |s| &s.steps[..]);
    let steps = steps.iter().map(|step| &step.actuator);
    let mut moved = std::iter::once(&action.target).chain(steps);
    moved.any(|target| executor.guards.gen1(target).is_some())
}

/// What a gen-1 node would be told for an action; `None` where this node acts itself.
pub(super) fn gen1_command(
    executor: &Executor,
    action: &Action,
) -> Result<Option<Gen1Command>, StoreError> {
    let command = executor.guards.gen1_command(action);
    command.map_err(|e| refused(Code::InvalidParams, e.to_string()))
}

/// Whether the gen-1 node that would act can be told, and would be told what the record says. Nothing is
/// sent to one that cannot.
fn can_be_told(executor: &Executor, record: &ProposalRecord) -> Result<(), StoreError> {
    if gen1_command(executor, &record.action())? != record.gen1 {
        let why = "which gen-1 node acts, or what it is told, has changed in the configuration since; a new proposal is needed";
        return Err(refused(Code::PolicyDenied, why));
    }
    let Some(command) = &record.gen1 else {
        return Ok(());
    };
    let link = actuators::link(executor, &command.device_id);
    link.map(drop).map_err(StoreError::Refused)
}

/// Nothing starts on an actuator that is not confirmed to be in its safe state.
fn safe_before(executor: &Executor, target: &Capability, action: &Action) -> Result<(), Refusal> {
    if executor.running.is_unsettled(target) {
        let why = format!(
            "the device of {target} was changed and that is not on disk yet; nothing begins there until it is"
        );
        return Err(Refusal::new(Code::StorageFailed, why));
    }
    let view = executor.guards.view(target);
    if let Some(said) = view.as_ref().and_then(|view| view.astray.as_deref())
        && !(action.target == *target && executor.guards.makes_safe(action))
    {
        return Err(Refusal::new(
            Code::ActuatorUnsafe,
            format!(
                "{target} is not in its safe state though nothing here has moved it: its device says {said:?}; nothing starts on it \
                 until it is back"
            ),
        ));
    }
    match view {
        Some(view) if !view.safe && !view.running => Err(Refusal::new(
            Code::ActuatorUnsafe,
            format!(
                "{target} is not confirmed to be in its safe state ({}); it is being tried, and nothing starts on it until then",
                view.problem
                    .as_deref()
                    .unwrap_or("no answer of its driver yet")
            ),
        )),
        _ => Ok(()),
    }
}
