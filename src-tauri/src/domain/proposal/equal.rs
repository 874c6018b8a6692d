//! Equal wishes: which of the open proposals a new wish adds nothing to, and which it ends.

use std::cmp::Reverse;

use serde_json::json;

use super::case::{Case, Step, Write};
use super::end;
use super::status::Status;
use crate::domain::base::{DeviceId, ProposalId, Refusal, TimeMs};
use crate::domain::capability::Action;
use crate::domain::policy::{Class, Level};

/// What makes two wishes the same: the class of the asker, and the action; and the device, where the class is
/// no more than what a device says of itself. No two open ones have the same.
pub fn intent_key(class: Class, from: &DeviceId, action: &Action) -> String {
    let (class, is_claimed) = (class.as_str(), class.is_claimed());
    match is_claimed {
        true => format!("{class}:{from}|{}", action.intent_key()),
        false => format!("{class}|{}", action.intent_key()),
    }
}

/// An open wish for the same action.
#[derive(Debug, Clone, PartialEq)]
pub struct Equal {
    /// The proposal.
    pub case: Case,
    /// The class of who asked.
    pub class: Class,
    /// The device that asked.
    pub asker: DeviceId,
    /// Who must agree.
    pub level: Level,
}

impl Equal {
    /// Whether it and a wish of this class from this device have to do with each other: one stands for the
    /// other or ends it. What one device says of itself touches no other device's wish.
    pub fn concerns(&self, class: Class, from: &DeviceId) -> bool {
        let claimed = self.class.is_claimed() && class.is_claimed();
        !claimed || self.asker == *from
    }

    /// Whether a wish of this class from this device adds nothing to it.
    fn is_of(&self, class: Class, from: &DeviceId) -> bool {
        self.class == class && self.concerns(class, from)
    }

    /// How it stands beside others: who needs fewer people comes first, then the class.
    fn rank(&self) -> (Reverse<Level>, Class) {
        (Reverse(self.level), self.class)
    }
}

/// The other open proposals for an action.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Equals {
    /// The class of who asked for the proposal that begins; needed where no person agrees to it.
    pub class: Option<Class>,
    /// Those that stand.
    pub standing: Vec<Equal>,
    /// Those that nobody decided in time.
    pub over: Vec<Case>,
    /// Those whose asker may not ask for them any more, and why.
    pub unentitled: Vec<(Case, String)>,
}

/// What comes of a wish that the policy allows, beside the open ones for the same action.
#[derive(Debug, Clone, PartialEq)]
pub enum Beside {
    /// A better entitled one stands for it.
    Stands(ProposalId),
    /// It is minted, and these less entitled ones end for it.
    Ends(Step),
}

impl Equals {
    /// The open wish to which one of this class from this device adds nothing.
    pub fn same(&self, class: Class, from: &DeviceId) -> Option<&ProposalId> {
        let same = self.standing.iter().find(|e| e.is_of(class, from));
        same.map(|e| &e.case.id)
    }

    /// What comes of a wish of this class and level from this device, which would be the proposal `by`.
    ///
    /// # Errors
    /// None that proposals in states that were read meet.
    pub fn beside(
        &self,
        class: Class,
        level: Level,
        from: &DeviceId,
        by: &ProposalId,
    ) -> Result<Beside, Refusal> {
        let ours = (Reverse(level), class);
        let concerned = || self.standing.iter().filter(|e| e.concerns(class, from));
        if let Some(better) = concerned().find(|e| e.rank() > ours) {
            return Ok(Beside::Stands(better.case.id.clone()));
        }
        let less = concerned().filter(|e| e.class <= class && e.rank() < ours);
        let why = |class| {
            let by = by.short();
            format!("proposal {by} asks for the same and is better entitled than {class}")
        };
        Ok(Beside::Ends(Step(supersede(less, by, why)?)))
    }

    /// Those that stand when a step has been written.
    pub fn after(self, step: &Step) -> Self {
        let ended = step.superseded();
        let standing = self.standing.into_iter();
        Self {
            standing: standing.filter(|e| !ended.contains(&e.case.id)).collect(),
            ..Self::default()
        }
    }

    /// Ends what has run out and what its asker may not ask for any more.
    ///
    /// # Errors
    /// `PROPOSAL_NOT_WAITING` if one of them stands elsewhere.
    pub fn tidy(&self, now: TimeMs) -> Result<Vec<Write>, Refusal> {
        let over = self.over.iter().map(|case| Ok(end::expire(case, now)?.0));
        let unentitled = self.unentitled.iter().map(|(case, why)| {
            let end = case.to(Status::Withdrawn, Some(why), json!({}))?;
            Ok(vec![end])
        });
        let writes: Result<Vec<Vec<Write>>, Refusal> = over.chain(unentitled).collect();
        Ok(writes?.concat())
    }
}

/// Ends the waiting ones of these wishes, because of another proposal.
///
/// # Errors
/// None that a proposal in a state that was read meets.
pub(super) fn supersede<'a>(
    ended: impl Iterator<Item = &'a Equal>,
    by: &ProposalId,
    why: impl Fn(Class) -> String,
) -> Result<Vec<Write>, Refusal> {
    let waiting = ended.filter(|e| e.case.status == Status::AwaitingApproval);
    let end = |e: &Equal| {
        e.case
            .to(Status::Superseded, Some(&why(e.class)), json!({"by": by}))
    };
    waiting.map(end).collect()
}
