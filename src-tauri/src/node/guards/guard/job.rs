//! A run while its guard has it, and what may become of it.

use std::time::Duration;

use tokio::sync::oneshot;

use super::{Busy, Cut, Ended, Run};
use crate::domain::base::limits::{DEADLINE_LOOK_MS, OVERRUN_MAX_MS, PERMIT_TTL_MS};
use crate::domain::base::{ProposalId, TimeMs};
use crate::domain::gate::Act;
use crate::domain::gate::lease::{Entitled, Over};
use crate::domain::policy::Kind;

/// What ended a movement, or kept it from beginning.
#[derive(Debug)]
pub(super) enum End {
    /// Its time was up.
    Deadline,
    /// The later steps of its sequence have ended.
    Due,
    /// Its holder let go, or was not heard in time.
    Lease(Over),
    /// Another setting takes its place; the actuator is told of that next.
    Replaced(Box<Next>),
    /// Somebody or something asked for it.
    Cut(Cut),
}

/// A run whose permit is in use, and whose driver is told next.
#[derive(Debug)]
pub(super) struct Next {
    pub(super) act: Act,
    pub(super) job: Job,
    pub(super) seen: u64,
    pub(super) started_at: TimeMs,
    pub(super) done: oneshot::Sender<Ended>,
    pub(super) busy: Busy,
}

/// Where a run stood when it ended.
#[derive(Debug)]
pub(super) enum Reached {
    /// The action was the safe state itself and is done.
    Done,
    /// The driver refused or failed.
    Failed(String),
    /// The driver was told, and whether it moved is not known.
    Unanswered(String),
    /// The start command had not ended yet.
    Starting(End),
    /// It was away from its safe state.
    Moving(End),
}

/// What is known of a run while its act is with the driver.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) id: ProposalId,
    /// The action, in words.
    pub(super) what: String,
    pub(super) safe_state: String,
    /// Whether the action is the safe state itself.
    pub(super) ends_safe: bool,
    pub(super) kind: Kind,
    pub(super) kept_from: Entitled,
    /// How long the whole may last.
    pub(super) run_ms: u64,
    /// When it has to be over, by the boot clock.
    pub(super) deadline: u64,
    /// When its driver was told first, by the boot clock.
    pub(super) begun: u64,
}

impl Job {
    /// `safe_limit` is the longest that its driver may take to make safe: an action that is the safe state itself
    /// lasts no time, and has as long as that.
    pub(super) fn of(run: &Run, safe_limit: Duration) -> Self {
        let permit = &run.permit;
        let run_ms = match permit.ends_safe() {
            true => u64::try_from(safe_limit.as_millis())
                .unwrap_or(u64::MAX)
                .saturating_add(PERMIT_TTL_MS),
            false => permit.run_ms(),
        };
        // The time of a pulse counts from when its driver is told; until then this bounds what comes before.
        let most = match permit.kind() {
            Kind::Pulse => 2 * PERMIT_TTL_MS,
            _ => run_ms,
        };
        Self {
            id: permit.proposal_id().clone(),
            what: permit.action().summary(),
            safe_state: permit.safe_state().to_owned(),
            ends_safe: permit.ends_safe(),
            kind: permit.kind().clone(),
            kept_from: permit.kept_from().clone(),
            run_ms,
            deadline: run.at_steady_ms.saturating_add(most),
            begun: run.at_steady_ms,
        }
    }

    /// Its driver is told now.
    pub(super) fn begins(&mut self, now: u64) {
        self.begun = now;
        if self.kind == Kind::Pulse {
            self.deadline = now.saturating_add(self.run_ms);
        }
    }

    /// How far it may last beyond its deadline and still count as completed.
    pub(super) fn overrun_max_ms(&self) -> u64 {
        match self.kind {
            Kind::Pulse => OVERRUN_MAX_MS.min(self.run_ms.max(DEADLINE_LOOK_MS)),
            _ => OVERRUN_MAX_MS,
        }
    }

    /// What it does, and for how long at most.
    pub(super) fn in_words(&self) -> String {
        match self.kind {
            Kind::Timed => format!("{} for {} s", self.what, self.run_ms / 1_000),
            ref kind => format!("{} {}", self.what, kind.lasts(self.run_ms)),
        }
    }
}

/// Refuses what begins under a policy that takes another operation for the safe state than the one by which its driver makes
/// the actuator safe: such an operation would begin without a way back, and would not end where the policy says. The driver's
/// own way to the safe state is always open.
///
/// # Errors
/// That it does not begin, and what to write.
pub(super) fn one_safe_state(
    drivers: Option<&str>,
    policys: &str,
    operation: &str,
) -> Result<(), String> {
    match drivers {
        Some(safe) if safe != policys && safe != operation => Err(format!(
            "the policy says safe_state = {policys:?}, and the device is made safe by {safe:?}; it was not told: write the same in both"
        )),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn nothing_begins_where_policy_and_device_differ_about_the_safe_state() {
        one_safe_state(Some("stop"), "stop", "start").unwrap();
        one_safe_state(Some("stop"), "close", "stop").unwrap();
        one_safe_state(None, "close", "open").unwrap();
        for operation in ["start", "close", "half"] {
            let why = one_safe_state(Some("stop"), "start", operation);
            assert_eq!(why.is_err(), operation != "stop", "{operation}");
        }
        let why = one_safe_state(Some("stop"), "start", "start").unwrap_err();
        assert!(
            why.contains("safe_state = \"start\"") && why.contains("\"stop\""),
            "{why}"
        );
    }
}
