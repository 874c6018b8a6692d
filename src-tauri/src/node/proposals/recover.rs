//! The start after a crash: every actuator is made safe, and what was interrupted is reported and never taken up again
//! (invariants I6, I9).

use std::time::Duration;

use rusqlite::Connection;

use super::execute::finish;
use super::{estop, left, rewired};
use crate::adapters::store::steps::{self, StepRow};
use crate::adapters::store::{StoreError, cases, proposals};
use crate::domain::base::limits::{QUERY_MAX, SAFE_AT_START_MS};
use crate::domain::base::{Code, ProposalId, Refusal};
use crate::domain::capability::Capability;
use crate::domain::policy::sequence::is_sequence;
use crate::domain::proposal::case::Case;
use crate::domain::proposal::{Status, end};
use crate::node::guards::Secured;
use crate::node::guards::moved::Moved;
use crate::node::proposals::Executor;

/// After a crash: every actuator to its safe state, every interrupted action reported as unknown.
/// Runs before the node listens; an actuator that cannot be made safe is reported and tried further.
///
/// # Errors
/// Whatever the store says; a node that cannot read what it was doing does not start.
pub async fn recover(executor: &Executor) -> Result<(), StoreError> {
    let within = Duration::from_millis(SAFE_AT_START_MS);
    let left = executor.guards.all_safe(within).await;
    estop::resume(executor).await?;
    let (cases, rows) = executor
        .store
        .read("recover", |c| {
            let mut rows = proposals::own_open_all(c, QUERY_MAX)?;
            rows.retain(|row| row.status == Status::Executing);
            let cases = rows.iter().map(|row| cases::case_of(c, row));
            Ok((cases.collect::<Result<Vec<_>, _>>()?, rows))
        })
        .await?;
    let gone = left::look(executor, &executor.guards, &left, &rows).await?;
    for (case, row) in cases.into_iter().zip(rows) {
        let target: Capability = row.target.parse().map_err(|_| {
            StoreError::Refused(Refusal::new(
                Code::DigestMismatch,
                format!("proposal {} names a target that is none", row.id.short()),
            ))
        })?;
        if is_sequence(&target) {
            recover_sequence(executor, &case, (row.id, target), (&left, &gone)).await?;
            continue;
        }
        let safe = match left.iter().find(|s| s.target == target) {
            None if gone.iter().any(|moved| moved.proposal == row.id) => {
                "This node's configuration does not have the actuator any more, so it was told nothing: it may still be \
                 away from its safe state"
                    .to_owned()
            }
            None => "The actuator was brought to its safe state at the next start".to_owned(),
            Some(unsafe_now) => format!(
                "The actuator could not be brought to its safe state at the next start yet: {}",
                unsafe_now.problem.as_deref().unwrap_or("not confirmed")
            ),
        };
        let position = executor.guards.view(&target).and_then(|v| v.position);
        if let Some(outcome) = end::interrupted(&case, &safe, position, executor.now()) {
            finish(executor, row.id, target, outcome, Vec::new()).await;
        }
    }
    rewired::since_the_last_run(executor).await
}

/// Reports a sequence that was interrupted: in which step, and what became of each actuator that it had moved.
async fn recover_sequence(
    executor: &Executor,
    case: &Case,
    (id, target): (ProposalId, Capability),
    (left, gone): (&[Secured], &[Moved]),
) -> Result<(), StoreError> {
    let wanted = id.clone();
    let read = move |c: &Connection| steps::of(c, &wanted);
    let all = executor.store.read("steps", read).await?;
    let begun: Vec<&StepRow> = all.iter().filter(|s| s.started_at.is_some()).collect();
    let place = match begun.last() {
        None => "It was interrupted before its first step began".to_owned(),
        Some(last) => format!(
            "It was in step {} of {} ({} {})",
            last.step + 1,
            all.len(),
            last.operation,
            last.target
        ),
    };
    let mut told = vec![place];
    for step in begun.iter().rev() {
        let name = &step.target;
        let not_safe = left.iter().find(|s| s.target.as_str() == name);
        let is_gone = gone
            .iter()
            .any(|m| m.proposal == id && m.target.as_str() == name);
        told.push(match not_safe {
            _ if is_gone => format!(
                "{name} is not in this node's configuration any more, so it was told nothing: it may still be away from its safe state"
            ),
            None => format!("{name} was brought to its safe state at the next start"),
            Some(unsafe_now) => format!(
                "{name} could not be brought to its safe state at the next start yet: {}",
                unsafe_now.problem.as_deref().unwrap_or("not confirmed")
            ),
        });
    }
    if let Some(outcome) = end::interrupted(case, &told.join("; "), None, executor.now()) {
        finish(executor, id, target, outcome, Vec::new()).await;
    }
    Ok(())
}
