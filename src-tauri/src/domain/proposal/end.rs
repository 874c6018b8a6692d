//! How a proposal ends that nobody decides: it is taken back, nobody decides in time, its action ends, the node was
//! interrupted while it acted, or what a person at the machine says of the state or of the clock ends it.

use serde_json::json;

use super::case::{Case, Step, Write, nothing};
use super::status::{Outcome, Status};
use crate::domain::base::{Refusal, TimeMs};

/// Takes a waiting proposal back on behalf of whoever asked for it.
///
/// # Errors
/// `PROPOSAL_NOT_WAITING`.
pub fn withdraw(case: &Case, why: &str) -> Result<Step, Refusal> {
    let waits = Status::AwaitingApproval;
    if case.status != waits {
        return Err(case.no_longer(waits));
    }
    case.to(Status::Withdrawn, Some(why), json!({"why": why}))
        .map(Step::from)
}

/// Ends a proposal that nobody decided in time.
///
/// # Errors
/// `PROPOSAL_NOT_WAITING` if it does not wait any more, or has not run out.
pub fn expire(case: &Case, now: TimeMs) -> Result<Step, Refusal> {
    if !case.has_run_out(now) {
        return Err(case.no_longer(Status::AwaitingApproval));
    }
    let why = "nobody decided in time";
    case.to(Status::Expired, Some(why), nothing())
        .map(Step::from)
}

/// Ends an open proposal of a state that was restored or copied: a waiting one is superseded, an agreed one has failed, and
/// of one that acted nobody knows the end.
///
/// # Errors
/// `PROPOSAL_NOT_WAITING` if it has ended.
pub fn void(case: &Case, why: &str) -> Result<Step, Refusal> {
    let to = match case.status {
        Status::AwaitingApproval => Status::Superseded,
        Status::Approved => Status::Failed,
        _ => Status::Unknown,
    };
    case.to(to, Some(why), json!({"why": why})).map(Step::from)
}

/// Ends a waiting proposal whose outcome came back to an executor that did not know it: it acted before this state was
/// restored.
///
/// # Errors
/// `PROPOSAL_NOT_WAITING`.
pub fn acted_before(case: &Case, outcome: &Outcome) -> Result<Step, Refusal> {
    let waits = Status::AwaitingApproval;
    if case.status != waits {
        return Err(case.no_longer(waits));
    }
    let why = format!(
        "executed already, before this state was restored: {}",
        outcome.detail
    );
    let end = case.to(Status::Superseded, Some(&why), json!({"why": why}))?;
    Ok(Step(vec![
        Write::Ended(case.id.clone(), outcome.clone()),
        end,
    ]))
}

/// Ends an open proposal that is dated after a moment which a person at the machine says is now. `None` where it is
/// older, or acts: the next start reports that.
///
/// # Errors
/// None that a proposal in a state that was read meets.
pub fn made_ahead(
    case: &Case,
    created_at: TimeMs,
    now: TimeMs,
    why: &str,
) -> Result<Option<Step>, Refusal> {
    if created_at <= now || !case.status.can_become(Status::Expired) {
        return Ok(None);
    }
    let detail = json!({"why": why, "createdAt": created_at});
    let end = case.to(Status::Expired, Some(why), detail)?;
    Ok(Some(end.into()))
}

/// Writes the end of an action: outcome, run and state.
///
/// # Errors
/// `PROPOSAL_NOT_WAITING` if it is not executing: an action ends once.
pub fn finish(case: &Case, outcome: &Outcome) -> Result<Step, Refusal> {
    if case.status != Status::Executing {
        return Err(case.no_longer(Status::Executing));
    }
    let detail = json!(outcome);
    let end = case.to(outcome.status, Some(&outcome.detail), detail)?;
    Ok(Step(vec![
        Write::Ended(case.id.clone(), outcome.clone()),
        end,
    ]))
}

/// The outcome of an action in which the node was interrupted: it is not known, and never tried again. `None` where
/// none was under way. `safe` says what became of the actuator at this start.
pub fn interrupted(
    case: &Case,
    safe: &str,
    position: Option<String>,
    now: TimeMs,
) -> Option<Outcome> {
    (case.status == Status::Executing).then(|| Outcome {
        status: Status::Unknown,
        detail: format!(
            "the node was interrupted while acting; whether the action took effect is not known. {safe}"
        ),
        started_at: case.updated_at,
        ended_at: now,
        actuator_state: position,
    })
}
