//! Proposals: the executor's signed record of a draft, and the states it goes through.
//!
//! The record is minted once, by the executor that will act, and never changes; people sign its
//! digest (invariant I5). Its state lives beside it in the store. Each step of its life is a pure rule from what was loaded
//! ([`case::Case`]) to what is written ([`case::Step`]): `decide` begins actions, `equal` ends wishes for others, `end`
//! ends everything else; `course` is what a sequence does that acts; `ground` is what stands for and against acting, `mint` makes the record.

pub mod case;
pub mod course;
pub mod decide;
pub mod end;
pub mod equal;
pub mod ground;
#[cfg(test)]
mod kinds;
pub mod mint;
#[cfg(test)]
mod model;
#[cfg(test)]
mod once;
#[cfg(test)]
mod orders;
pub mod record;
pub mod standing;
pub mod status;
#[cfg(test)]
mod uses;

pub use record::{Evidence, ProposalRecord, RequestedBy, SignedProposal};
pub use status::{Outcome, Status};
