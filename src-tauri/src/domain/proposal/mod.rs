//! Proposals: the executor's signed record of a draft, and the states it goes through.
//!
//! The record is minted once, by the executor that will act, and never changes; people sign its
//! digest (invariant I5). Its state lives beside it in the store.

pub mod record;
pub mod standing;
pub mod status;

pub use record::{Evidence, ProposalRecord, RequestedBy, SignedProposal};
pub use status::{Outcome, Status};
