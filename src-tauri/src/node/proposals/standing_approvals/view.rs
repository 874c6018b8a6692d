//! Standing approvals as people see them.

use rusqlite::Connection;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{allowed_here, over};
use crate::adapters::store::standing_approvals::{self as store, StandingRow};
use crate::adapters::store::{StoreError, operators};
use crate::domain::base::TimeMs;
use crate::domain::base::limits::STANDING_USES_SHOWN;
use crate::domain::gate::StandingApproval;
use crate::domain::policy::Requester;
use crate::node::context::timekeeping::clock_trusted;
use crate::node::health;
use crate::node::proposals::{Executor, estop};

/// Where a standing approval stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum StandingState {
    /// It begins later.
    Later,
    /// It counts.
    Counts,
    /// It does not count now, and may again: `why` says what holds it up.
    Held,
    /// It has ended, for ever: `why` says how.
    Ended,
}

/// A use of a standing approval.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct StandingUsed {
    /// The proposal that began by it.
    pub proposal_id: String,
    /// When, in milliseconds since 1970.
    pub at: u64,
}

/// A standing approval as its executor knows it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct ApprovalView {
    /// Its id: the hash of what was signed.
    pub id: String,
    /// The executor at which it counts.
    pub executor: String,
    /// That device's name, where known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub executor_name: Option<String>,
    /// The key of whoever gave it.
    pub operator_id: String,
    /// That person's name, as the executor knows it.
    pub name: Option<String>,
    /// The actuator.
    pub target: String,
    /// What it does.
    pub operation: String,
    /// Its parameters by name: `{"is": value}` or `{"min": least, "max": most}`.
    pub params: Value,
    /// What it approves, in words.
    pub summary: String,
    /// Whose wishes begin by it.
    pub askers: Vec<Requester>,
    /// The longest that one use may run, in milliseconds.
    pub run_max_ms: u64,
    /// How often it may be used.
    pub uses_max: u32,
    /// How often it was used.
    pub used: u32,
    /// From when it counts, in milliseconds since 1970.
    pub valid_from: u64,
    /// Until when it counts, in milliseconds since 1970.
    pub valid_until: u64,
    /// When it was given, in milliseconds since 1970.
    pub given_at: u64,
    /// What the person said about it.
    #[serde(default)]
    pub note: Option<String>,
    /// Where it stands.
    pub state: StandingState,
    /// Why it does not count.
    #[serde(default)]
    pub why: Option<String>,
    /// What began by it: the last uses.
    pub uses: Vec<StandingUsed>,
}

pub(super) fn view(
    executor: &Executor,
    conn: &Connection,
    row: &StandingRow,
) -> Result<ApprovalView, StoreError> {
    let (approval, now) = (&row.signed.approval, executor.now());
    let known = operators::get(conn, &approval.operator_id)?;
    let (state, why) = match &row.ended {
        Some((_, why)) => (StandingState::Ended, Some(why.clone())),
        None => match over(executor, conn, row, now)? {
            Some(why) => (StandingState::Ended, Some(why)),
            None => state_now(executor, conn, approval, now)?,
        },
    };
    let uses = store::uses(conn, &row.id, STANDING_USES_SHOWN)?;
    Ok(ApprovalView {
        id: row.id.to_hex(),
        executor: approval.executor.as_str().to_owned(),
        executor_name: None,
        operator_id: approval.operator_id.as_str().to_owned(),
        name: known.map(|known| known.signed.record.name),
        target: approval.target.as_str().to_owned(),
        operation: approval.operation.clone(),
        params: json!(approval.params),
        summary: approval.summary(),
        askers: approval.askers.iter().copied().collect(),
        run_max_ms: approval.run_max_ms,
        uses_max: approval.uses_max,
        used: row.used,
        valid_from: approval.valid_from.0,
        valid_until: approval.valid_until.0,
        given_at: approval.given_at.0,
        note: approval.note.clone(),
        state,
        why,
        uses: uses
            .into_iter()
            .map(|(id, at)| StandingUsed {
                proposal_id: id.as_str().to_owned(),
                at: at.0,
            })
            .collect(),
    })
}

fn state_now(
    executor: &Executor,
    conn: &Connection,
    approval: &StandingApproval,
    now: TimeMs,
) -> Result<(StandingState, Option<String>), StoreError> {
    let held = |why: String| Ok((StandingState::Held, Some(why)));
    if let Some(latch) = executor.running.latched() {
        return held(estop::refusal(executor, &latch).message);
    }
    if let Err(StoreError::Refused(refusal)) = health::check_in_place(executor) {
        return held(refusal.message);
    }
    if !clock_trusted(conn, now)? {
        return held("the clock of the executor is behind what it has recorded".to_owned());
    }
    if let Err(StoreError::Refused(refusal)) = allowed_here(executor, approval) {
        return held(refusal.message);
    }
    match now < approval.valid_from {
        true => Ok((StandingState::Later, None)),
        false => Ok((StandingState::Counts, None)),
    }
}
