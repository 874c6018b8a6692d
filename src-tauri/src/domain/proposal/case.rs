//! An own proposal as a step of its life finds it, and what a step writes. The rules in `decide`, `equal` and
//! `end` take a [`Case`] that was loaded from the store and give a [`Step`]; loading, ruling and writing happen in one
//! transaction, and nothing else moves one.

use serde_json::{Value, json};

use super::record::ProposalRecord;
use super::status::{Outcome, Status};
use crate::domain::base::{AuditKind, Code, ProposalId, Refusal, TimeMs};
use crate::domain::capability::Capability;
use crate::domain::gate::StandingUse;
use crate::domain::policy::Step as StepOf;

/// An own proposal as the store holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Case {
    /// Its id.
    pub id: ProposalId,
    /// Where it stands.
    pub status: Status,
    /// When it stops waiting.
    pub expires_at: TimeMs,
    /// When it last changed.
    pub updated_at: TimeMs,
    /// Whether a run of it is on record: it has acted, or acts.
    pub ran: bool,
    /// How it ended or why it stands where it stands, in words.
    pub how: Option<String>,
}

impl Case {
    /// Whether nobody decided in time.
    pub fn has_run_out(&self, now: TimeMs) -> bool {
        self.status == Status::AwaitingApproval && self.expires_at <= now
    }

    /// The move to another state, from the one in which it stands.
    ///
    /// # Errors
    /// `PROPOSAL_NOT_WAITING` if there is no such step.
    pub fn to(&self, to: Status, reason: Option<&str>, detail: Value) -> Result<Write, Refusal> {
        self.step(self.status, to, reason, detail)
    }

    /// The move between two states; the store refuses it if the proposal does not stand in the first.
    ///
    /// # Errors
    /// As [`Case::to`].
    pub(super) fn step(
        &self,
        from: Status,
        to: Status,
        reason: Option<&str>,
        detail: Value,
    ) -> Result<Write, Refusal> {
        if !from.can_become(to) {
            return Err(self.no_longer(Status::AwaitingApproval));
        }
        Ok(Write::Move {
            id: self.id.clone(),
            from,
            to,
            reason: reason.map(str::to_owned),
            detail,
        })
    }

    /// The refusal of a step that starts from a state in which it does not stand.
    pub(super) fn no_longer(&self, from: Status) -> Refusal {
        Refusal::new(
            Code::ProposalNotWaiting,
            format!("proposal {} is no longer {from}", self.id.short()),
        )
    }

    /// Where a proposal stands that is no longer decided, and how it ended, as people read it.
    pub(super) fn how_it_stands(&self) -> String {
        let how = self.how.as_deref().filter(|how| !how.is_empty());
        let how = how.map(|how| format!(" ({how})")).unwrap_or_default();
        match self.status.is_open() {
            true => format!("it is {}{how}", self.status),
            false => format!("it has ended: {}{how}", self.status),
        }
    }
}

/// One thing that a step writes.
#[derive(Debug, Clone, PartialEq)]
pub enum Write {
    /// A proposal goes from one state to another, with the audit entry `proposal.<state>`. It is written only if the
    /// proposal still stands in the first.
    Move {
        /// The proposal.
        id: ProposalId,
        /// The state it leaves.
        from: Status,
        /// The state it reaches.
        to: Status,
        /// Why, in words; absent, the reason that stands is kept.
        reason: Option<String>,
        /// What the audit trail says of it.
        detail: Value,
    },
    /// The decision that is ruled on counts: it is used, and is its operator's standing word. With an audit entry.
    Decision {
        /// The kind of the audit entry.
        kind: AuditKind,
        /// What the audit trail says of it.
        detail: Value,
    },
    /// A decision did not move the proposal, and those who show it hear of that.
    Noticed(ProposalId),
    /// A use of the standing approval by which the proposal begins, counted with the run. The store takes each use once.
    StandingUse {
        /// The proposal.
        id: ProposalId,
        /// Which use of which standing approval.
        used: StandingUse,
        /// Who approved, in words.
        by: String,
    },
    /// The run, written ahead of the act. The store takes one of a proposal and never a second.
    Run {
        /// The proposal.
        id: ProposalId,
        /// The policy rule that applies.
        rule: String,
        /// The actuator.
        target: Capability,
        /// What it does.
        operation: String,
        /// How long it may last, in milliseconds.
        planned_ms: u64,
    },
    /// The steps of a sequence, beside its run: their actuators are its own from then on. Each is written ahead again when
    /// it begins.
    Steps {
        /// The proposal.
        id: ProposalId,
        /// Its steps.
        steps: Vec<StepOf>,
    },
    /// How the action ended, beside the move to that end. It ends the run.
    Ended(ProposalId, Outcome),
}

impl Write {
    /// The run of a proposal, of so many milliseconds at most.
    pub(super) fn run(record: &ProposalRecord, planned_ms: u64) -> Self {
        Self::Run {
            id: record.proposal_id.clone(),
            rule: record.rule.clone(),
            target: record.target.clone(),
            operation: record.operation.clone(),
            planned_ms,
        }
    }
}

/// What one step of a proposal's life writes, in this order and as a whole.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Step(pub Vec<Write>);

impl Step {
    /// The proposals it ends because another one does the same.
    pub fn superseded(&self) -> Vec<ProposalId> {
        let ended = self.0.iter().filter_map(|write| match write {
            Write::Move { id, to, .. } if *to == Status::Superseded => Some(id.clone()),
            _ => None,
        });
        ended.collect()
    }
}

impl From<Write> for Step {
    fn from(write: Write) -> Self {
        Self(vec![write])
    }
}

/// No detail for the audit trail.
pub(super) fn nothing() -> Value {
    json!({})
}
