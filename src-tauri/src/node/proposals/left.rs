//! Actuators that were moved before the node was interrupted and that it cannot make safe any more, since
//! its configuration does not have them or has something else under their name. An alarm stands until the
//! configuration has them again and they are safe, or a person at the machine says that they are.

use std::collections::BTreeSet;
use std::time::Duration;

use rusqlite::Connection;
use serde_json::json;

use crate::adapters::store::StoreError;
use crate::adapters::store::proposals::{self, ProposalRow};
use crate::domain::base::{AuditKind, TimeMs};
use crate::domain::capability::Capability;
use crate::domain::identity::DeviceKey;
use crate::domain::policy::sequence::is_sequence;
use crate::domain::proposal::Status;
use crate::node::context::alarms::AlarmKind;
use crate::node::context::{Context, DURABLE, Event, Severity, audit_entry};
use crate::node::guards::moved::{self, Moved};
use crate::node::guards::{Guards, Secured};
use crate::node::proposals::Executor;

/// How soon a write that failed is tried again.
const AGAIN: Duration = Duration::from_secs(5);

/// Compares at the start what was moved with what the configuration has now: raises the alarms, and notes
/// as over what is safe. What it has and is not safe yet has its alarm at once, not with the first attempt that fails. `not_safe` are the guards' actuators that are not confirmed safe yet, `open` the
/// executor's open proposals. Returns what this node cannot make safe.
///
/// # Errors
/// Whatever the store says.
pub(super) async fn look(
    context: &Context,
    guards: &Guards,
    not_safe: &[Secured],
    open: &[ProposalRow],
) -> Result<Vec<Moved>, StoreError> {
    let stored = context.store.read("moved actuators", moved::all).await?;
    let mut all = stored.clone();
    // An earlier version noted nothing of what it moved.
    for row in open.iter().filter(|r| r.status == Status::Executing) {
        let Ok(target) = row.target.parse::<Capability>() else {
            continue;
        };
        // Each step of a sequence is noted when it begins.
        if !is_sequence(&target) && !all.iter().any(|moved| moved.proposal == row.id) {
            let moved = Moved::new(guards, target, row.id.clone(), row.updated_at);
            all.push(moved);
        }
    }
    let is_here = |moved: &Moved| moved.is_in(guards);
    let is_safe = |moved: &Moved| !not_safe.iter().any(|s| s.target == moved.target);
    all.retain(|moved| !is_here(moved) || !is_safe(moved));
    let (here, gone): (Vec<Moved>, Vec<Moved>) = all.iter().cloned().partition(is_here);
    for moved in here {
        let proposal = moved.proposal.short();
        let problem = not_safe.iter().find(|s| s.target == moved.target);
        let problem = problem.and_then(|s| s.problem.as_deref());
        let why = format!(
            "proposal {proposal} had moved it when the node was interrupted, and {}",
            problem.unwrap_or("it is being made safe")
        );
        guards.is_known_open(&moved.target, &why);
    }
    if all != stored {
        let write = move |c: &Connection| moved::keep(c, &all);
        // What is stored already names at least as much.
        if let Err(error) = context.store.write(DURABLE, "moved actuators", write).await {
            tracing::error!(%error, "which actuators are safe again could not be stored");
        }
        guards.moved_changes();
    }
    let targets: BTreeSet<&Capability> = gone.iter().map(|moved| &moved.target).collect();
    for target in targets {
        let of_it = gone.iter().filter(|moved| moved.target == *target);
        raise(
            context,
            target,
            &of_it.map(Moved::in_words).collect::<Vec<_>>(),
        );
    }
    Ok(gone)
}

/// Tells of the things that were moved under one name; an alarm has room for the first of many.
fn raise(context: &Context, target: &Capability, things: &[String]) {
    let message = format!(
        "{target} was moved ({}), the node was interrupted, and its configuration does not have that actuator any more: it \
         may still be away from its safe state",
        things.join("; ")
    );
    let advice = format!(
        "put its block in config.toml back as it was and start the node again; or make it safe by hand, stop the node, and \
         run `clawmesh-node state safe {target}` on this machine"
    );
    tracing::error!(actuator = %target, "{message}; {advice}");
    let now = context.now();
    let (kind, alarms) = (AlarmKind::ActuatorLeft, &context.alarms);
    alarms.raise(kind, target.as_str(), &message, &advice, now);
}

/// The configuration has changed while the node runs: an actuator that was left and that it has again is made safe by its new
/// guard; once that is confirmed, what was noted of it and its alarm are over. Returns at once.
pub fn found_again(executor: &Executor) {
    for left in standing(executor) {
        if executor.guards.has(&left.target) {
            let waits = is_safe_again(executor.clone(), left.target);
            executor.tasks.passing("left actuator", waits);
        }
    }
}

/// What was noted of an actuator that is in the configuration again.
enum Found {
    /// It acts now; that has to end first.
    Acts,
    /// Something else was moved under its name too.
    Another,
    /// Nothing else.
    All,
}

async fn is_safe_again(executor: Executor, target: Capability) {
    let guards = &executor.guards;
    loop {
        let safe = tokio::select! {
            biased;
            () = executor.tasks.stop().cancelled() => return,
            safe = guards.is_safe(&target) => safe,
        };
        if !safe {
            // It is taken out again.
            return;
        }
        let (s, is) = (executor.clone(), target.clone());
        let write = move |c: &Connection| {
            if !proposals::executing_on(c, is.as_str())?.is_empty() {
                // What acts on it now is noted too.
                return Ok(Found::Acts);
            }
            // What is noted of another thing under its name stays.
            moved::end(c, |m| m.target == is && m.is_in(&s.guards))?;
            match moved::all(c)?.iter().any(|m| m.target == is) {
                true => Ok(Found::Another),
                false => Ok(Found::All),
            }
        };
        match executor.store.write(DURABLE, "found again", write).await {
            Ok(Found::Another) => return,
            Ok(Found::All) => break,
            Ok(Found::Acts) => {}
            Err(error) => {
                tracing::warn!(%error, "that {target} is safe again could not be stored yet");
            }
        }
        tokio::select! {
            biased;
            () = executor.tasks.stop().cancelled() => return,
            () = tokio::time::sleep(AGAIN) => {}
        }
    }
    guards.moved_changes();
    let kind = AlarmKind::ActuatorLeft;
    if executor.alarms.clear(kind, target.as_str()) {
        let message = format!("{target} is in the configuration and safe again");
        let data = json!({"alarm": kind.as_str(), "subject": target});
        let journal = &executor.journal;
        journal
            .record(Event::AlarmOver, Severity::Info, &message, data)
            .await;
    }
}

/// The actuators that this node cannot make safe, as its alarms tell.
pub fn standing(context: &Context) -> Vec<Secured> {
    let alarms = context.alarms.list().into_iter();
    let left = alarms.filter(|alarm| alarm.kind == AlarmKind::ActuatorLeft);
    left.filter_map(|alarm| {
        Some(Secured {
            target: alarm.subject.parse().ok()?,
            safe: false,
            position: None,
            problem: Some(alarm.message),
        })
    })
    .collect()
}

/// A person at this machine says that an actuator is in its safe state, inside one transaction; how many
/// movements of it that ends. Zero if none was left.
///
/// # Errors
/// Whatever the store says.
pub fn confirm(
    conn: &Connection,
    key: &DeviceKey,
    now: TimeMs,
    target: &Capability,
) -> Result<usize, StoreError> {
    let ended = moved::end(conn, |moved| moved.target == *target)?;
    if ended > 0 {
        let detail = json!({"movements": ended});
        audit_entry(
            conn,
            key,
            now,
            AuditKind::ActuatorConfirmed,
            target.as_str(),
            detail,
        )?;
    }
    Ok(ended)
}
