//! The gates: the seven gen-1 steps at the door, and the one place that mints a [`Permit`].
//!
//! `forward` answers a stranger's command in the gen-1 order with the gen-1 codes, `command` says one to a gen-1 node;
//! `operators`, `persons`, `approval`, `at_node`, `channel` and `standing_approval` verify persons' decisions; `actuation` rules on an
//! execution, `lease` on who keeps a held one. Sender, receiver and executor each apply them (invariant I2); the executor
//! assumes no earlier check.

pub mod actuation;
pub mod approval;
pub mod at_node;
pub mod channel;
pub mod command;
pub mod forward;
pub mod lease;
pub mod operators;
pub mod persons;
pub mod records;
pub mod standing_approval;

pub use actuation::{Act, ActuationRuling, ExecutionRequest, Permit, Steps};
pub use approval::{Decision, SignedDecision, VerifiedApproval};
pub use at_node::{AtNode, NodeCode};
pub use channel::{Channel, ChannelEnd, ChannelKind, SignedChannel, SignedChannelEnd};
pub use command::Gen1Command;
pub use operators::{OperatorRecord, OperatorRevocation, SignedOperator};
pub use standing_approval::{SignedStanding, SignedStandingEnd, StandingApproval, StandingUse};
