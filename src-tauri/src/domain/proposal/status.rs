//! The states of a proposal and the steps between them.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::domain::base::{AuditKind, TimeMs};

/// Where a proposal stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// It waits for people.
    AwaitingApproval,
    /// People agreed; the executor is about to act.
    Approved,
    /// The executor has written down that it acts, and acts.
    Executing,
    /// It was done and the actuator is back in its safe state; where a gen-1 node acts, it accepted both.
    Completed,
    /// It was not done, or not as wanted; the detail says how.
    Failed,
    /// The executor was interrupted while acting, or the gen-1 node it told did not answer: whether it was
    /// done is not known.
    Unknown,
    /// A person said no.
    Rejected,
    /// Nobody decided in time.
    Expired,
    /// A newer proposal replaced it.
    Superseded,
    /// Whoever asked took it back.
    Withdrawn,
}

impl Status {
    /// Every status.
    pub const ALL: [Status; 10] = [
        Status::AwaitingApproval,
        Status::Approved,
        Status::Executing,
        Status::Completed,
        Status::Failed,
        Status::Unknown,
        Status::Rejected,
        Status::Expired,
        Status::Superseded,
        Status::Withdrawn,
    ];

    /// The name as stored and sent.
    pub fn as_str(self) -> &'static str {
        match self {
            Status::AwaitingApproval => "awaiting_approval",
            Status::Approved => "approved",
            Status::Executing => "executing",
            Status::Completed => "completed",
            Status::Failed => "failed",
            Status::Unknown => "unknown",
            Status::Rejected => "rejected",
            Status::Expired => "expired",
            Status::Superseded => "superseded",
            Status::Withdrawn => "withdrawn",
        }
    }

    /// The audit entry that tells of it; a proposal begins as [`AuditKind::ProposalMinted`].
    pub fn audited(self) -> AuditKind {
        match self {
            Status::AwaitingApproval => AuditKind::ProposalMinted,
            Status::Approved => AuditKind::ProposalApproved,
            Status::Executing => AuditKind::ProposalExecuting,
            Status::Completed => AuditKind::ProposalCompleted,
            Status::Failed => AuditKind::ProposalFailed,
            Status::Unknown => AuditKind::ProposalUnknown,
            Status::Rejected => AuditKind::ProposalRejected,
            Status::Expired => AuditKind::ProposalExpired,
            Status::Superseded => AuditKind::ProposalSuperseded,
            Status::Withdrawn => AuditKind::ProposalWithdrawn,
        }
    }

    /// Whether something can still happen.
    pub fn is_open(self) -> bool {
        matches!(
            self,
            Status::AwaitingApproval | Status::Approved | Status::Executing
        )
    }

    /// Whether the step from this state to `next` exists. `Executing` is left only to an end, and
    /// no end is ever left: that is what makes an action happen at most once (invariant I6).
    pub fn can_become(self, next: Status) -> bool {
        use Status::{
            Approved, AwaitingApproval, Completed, Executing, Expired, Failed, Rejected,
            Superseded, Unknown, Withdrawn,
        };
        match self {
            AwaitingApproval => {
                matches!(next, Approved | Rejected | Expired | Superseded | Withdrawn)
            }
            Approved => matches!(next, Executing | Failed | Expired | Withdrawn),
            Executing => matches!(next, Completed | Failed | Unknown),
            Completed | Failed | Unknown | Rejected | Expired | Superseded | Withdrawn => false,
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Status {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Status::ALL
            .into_iter()
            .find(|s| s.as_str() == text)
            .ok_or_else(|| format!("unknown proposal status {text:?}"))
    }
}

/// How an execution ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Outcome {
    /// `completed`, `failed` or `unknown`.
    pub status: Status,
    /// What happened, in a sentence.
    pub detail: String,
    /// When the actuator was told to move.
    pub started_at: TimeMs,
    /// When it was back in its safe state.
    pub ended_at: TimeMs,
    /// Where the driver says the actuator is now.
    pub actuator_state: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_path_executes_twice() {
        // From Executing, no sequence of steps leads to Executing again.
        let mut reached = vec![Status::Executing];
        let mut seen = Vec::new();
        while let Some(from) = reached.pop() {
            for to in Status::ALL.into_iter().filter(|to| from.can_become(*to)) {
                assert_ne!(to, Status::Executing);
                if !seen.contains(&to) {
                    seen.push(to);
                    reached.push(to);
                }
            }
        }
        assert!(!seen.is_empty());
    }

    #[test]
    fn only_people_lead_from_waiting_to_acting() {
        assert!(!Status::AwaitingApproval.can_become(Status::Executing));
        for end in Status::ALL.into_iter().filter(|s| !s.is_open()) {
            assert!(Status::ALL.into_iter().all(|next| !end.can_become(next)));
        }
    }
}
