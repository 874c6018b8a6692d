//! The life of a message: `queued → sent → accepted → running`, and how it ends. Each step is a pure rule; what is kept is
//! written before the step is taken.

use serde::{Deserialize, Serialize};

use super::choose::{AgentRef, Place};
use super::routes::Retry;
use crate::domain::base::{DeviceId, TimeMs};

/// Where a message stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "kebab-case")]
pub enum MessageState {
    /// It waits for a node.
    Queued,
    /// A node is being asked.
    Sent,
    /// A node has taken it and written it down.
    Accepted,
    /// An agent works on it.
    Running,
    /// It was answered.
    Answered,
    /// It was not answered, and nothing more is tried.
    Failed,
    /// A node took it and stopped answering: whether an agent acted on it is not known.
    Unclear,
    /// Its time was over before it was answered.
    Expired,
    /// Its sender took it back.
    Cancelled,
}

impl MessageState {
    /// Every state.
    pub const ALL: [Self; 9] = [
        Self::Queued,
        Self::Sent,
        Self::Accepted,
        Self::Running,
        Self::Answered,
        Self::Failed,
        Self::Unclear,
        Self::Expired,
        Self::Cancelled,
    ];

    /// Its name, as it is stored and shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Sent => "sent",
            Self::Accepted => "accepted",
            Self::Running => "running",
            Self::Answered => "answered",
            Self::Failed => "failed",
            Self::Unclear => "unclear",
            Self::Expired => "expired",
            Self::Cancelled => "cancelled",
        }
    }

    /// The state of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == name)
    }

    /// Whether nothing more happens to it by itself.
    pub fn is_over(self) -> bool {
        self >= Self::Answered
    }

    /// Whether its sender may send it once more: it is over and was not answered.
    pub fn may_be_sent_again(self) -> bool {
        self.is_over() && self != Self::Answered
    }
}

/// One node that was asked, and what came of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Attempt {
    /// The node.
    pub device: DeviceId,
    /// Its agent.
    pub agent: AgentRef,
    /// When it was asked.
    pub at: TimeMs,
    /// Why it gave no answer; absent while it is asked, and for the one that answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// A message to an agent, and what came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Its id; the idempotency key of its runs.
    pub id: String,
    /// The text.
    pub text: String,
    /// The surface it came from.
    pub source: String,
    /// Who sent it, as that surface names them.
    pub sender: String,
    /// A name that its sender gave it: a second message of one name is the first.
    pub key: Option<String>,
    /// Where its sender wants it to go.
    pub place: Place,
    /// The greater, the sooner.
    pub priority: i64,
    /// When it came.
    pub created_at: TimeMs,
    /// When its time is over.
    pub expires_at: TimeMs,
    /// Where it stands.
    pub state: MessageState,
    /// When it looks for a node next, while it is queued.
    pub next_at: TimeMs,
    /// The rule that decided.
    pub rule: Option<String>,
    /// What becomes of it where its node stops answering.
    pub retry: Retry,
    /// The nodes that were asked, oldest first.
    pub attempts: Vec<Attempt>,
    /// The answer: untrusted text of an agent.
    pub answer: Option<String>,
    /// Why it stands so, in a sentence.
    pub why: Option<String>,
    /// When it was over.
    pub ended_at: Option<TimeMs>,
}

impl Message {
    /// The id of the run that its newest attempt asks for: a node knows by it whether it was asked before.
    pub fn run_id(&self) -> String {
        format!("{}.{}", self.id, self.attempts.len())
    }

    /// The words to a gateway by which it knows a run that it has had already, whichever node asks it.
    pub fn run_key(&self) -> String {
        let failed = |a: &&Attempt| a.why.as_deref().is_some_and(|w| w.starts_with(RUN_FAILED));
        format!(
            "{}.{}",
            self.id,
            self.attempts.iter().filter(failed).count()
        )
    }
}

/// How an attempt's `why` begins where an agent ended its run with an error: only then a second run is another one.
pub const RUN_FAILED: &str = "its agent failed: ";

/// How an attempt at one node ended without an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Missed {
    /// The node was not reached, or did not take it: it is as if it had not been asked.
    NotTaken,
    /// The node gave it back: nothing was run, or what was has no effects.
    NotRun,
    /// An agent ended its run with an error.
    Failed,
    /// The node took it and does not say what became of it.
    Silent,
    /// The node ended while an agent worked on it: it will not be answered there, and the agent may have acted.
    Interrupted,
    /// The node ended while an agent worked on it, and can learn what became of it.
    Left,
}

/// What happens after an attempt without an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Another node is asked.
    Elsewhere,
    /// The same node is asked again what became of it.
    AskAgain,
    /// The same node takes the run up again, which is not run a second time.
    TakeUp,
    /// It is over.
    End(MessageState),
}

/// The rule after an attempt. `repeatable` says that a second run has no effects beside its cost, `others` that there is another
/// node to ask, `in_time` that its time is not over.
pub fn after(missed: Missed, retry: Retry, repeatable: bool, others: bool, in_time: bool) -> Next {
    let elsewhere = |otherwise: Next| match (others, in_time) {
        (_, false) => Next::End(MessageState::Expired),
        (true, true) => Next::Elsewhere,
        (false, true) => otherwise,
    };
    match (missed, retry) {
        // It waits in the queue for a node that takes it.
        (Missed::NotTaken, _) | (Missed::NotRun, Retry::Safe | Retry::Always) => {
            elsewhere(Next::Elsewhere)
        }
        (Missed::NotRun | Missed::Failed, Retry::Never) => Next::End(MessageState::Failed),
        (Missed::Failed, Retry::Always) => elsewhere(Next::End(MessageState::Failed)),
        (Missed::Failed, Retry::Safe) if repeatable => elsewhere(Next::End(MessageState::Failed)),
        (Missed::Failed, Retry::Safe) => Next::End(MessageState::Failed),
        (Missed::Silent, Retry::Always) => elsewhere(Next::AskAgain),
        (Missed::Silent, Retry::Safe) if repeatable => elsewhere(Next::AskAgain),
        (Missed::Silent, _) if in_time => Next::AskAgain,
        (Missed::Left, _) if in_time => Next::TakeUp,
        (Missed::Interrupted, Retry::Always) => elsewhere(Next::Elsewhere),
        (Missed::Interrupted, Retry::Safe) if repeatable => elsewhere(Next::Elsewhere),
        (Missed::Silent | Missed::Interrupted | Missed::Left, _) => {
            Next::End(MessageState::Unclear)
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn names_of_states_read_back_and_only_the_last_five_are_over() {
        for state in MessageState::ALL {
            assert_eq!(MessageState::named(state.as_str()), Some(state));
            let json = serde_json::to_value(state).unwrap();
            assert_eq!(json, state.as_str());
        }
        let over = MessageState::ALL.iter().filter(|s| s.is_over());
        assert_eq!(over.count(), 5);
        assert!(!MessageState::Answered.may_be_sent_again());
        assert!(MessageState::Unclear.may_be_sent_again());
    }

    #[test]
    fn a_run_that_may_have_had_effects_is_never_repeated_unless_the_rule_says_always() {
        for missed in [
            Missed::NotTaken,
            Missed::NotRun,
            Missed::Failed,
            Missed::Silent,
            Missed::Interrupted,
            Missed::Left,
        ] {
            for retry in [Retry::Safe, Retry::Always, Retry::Never] {
                for repeatable in [false, true] {
                    for others in [false, true] {
                        for in_time in [false, true] {
                            let next = after(missed, retry, repeatable, others, in_time);
                            let may = missed == Missed::NotTaken
                                || missed == Missed::NotRun && retry != Retry::Never
                                || retry == Retry::Always
                                || retry == Retry::Safe && repeatable;
                            if next == Next::Elsewhere {
                                assert!(may && in_time, "{missed:?} {retry:?} {repeatable}");
                            }
                            if !in_time {
                                assert!(matches!(next, Next::End(_)), "{missed:?} {retry:?}");
                            }
                            // What may have had effects is not called failed.
                            let unknown = matches!(
                                missed,
                                Missed::Silent | Missed::Interrupted | Missed::Left
                            );
                            if unknown && !may && !in_time {
                                assert_eq!(next, Next::End(MessageState::Unclear));
                            }
                        }
                    }
                }
            }
        }
    }
}
