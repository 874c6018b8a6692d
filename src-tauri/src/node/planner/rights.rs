//! The rights of the asker of a question.

use crate::domain::admission::Grant;
use crate::domain::base::{Code, DeviceId, Refusal};
use crate::node::context::Context;

/// The rights of the asker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rights {
    /// Whether a model may be asked, which may cost money.
    pub(super) model: bool,
    /// Whether the model may ask for an action.
    pub(super) propose: bool,
    /// Whether the answer may tell of what is private.
    pub(super) private: bool,
}

impl Rights {
    /// Those of a person or program of this node.
    pub(super) const OWN: Rights = Rights {
        model: true,
        propose: true,
        private: true,
    };

    /// Those of another device, as of now.
    ///
    /// # Errors
    /// `NOT_AUTHORIZED` without the grant `read`.
    pub(super) fn of(context: &Context, device: &DeviceId) -> Result<Self, Refusal> {
        let record = context.trust.live(device);
        let has = |grant| record.as_ref().is_some_and(|r| r.grants.has(grant));
        match has(Grant::Read) {
            true => Ok(Self {
                model: has(Grant::Llm),
                // A proposal would be one of this node, whose approval may rest on the word of the very device that asks.
                propose: false,
                private: false,
            }),
            false => Err(Refusal::new(
                Code::NotAuthorized,
                format!("device {} may not read here", device.short()),
            )),
        }
    }
}
