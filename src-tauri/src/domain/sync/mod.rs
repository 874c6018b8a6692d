//! Set reconciliation: two nodes find out which frames each lacks, in a few round trips and little
//! more than the difference (feature `reconcile`).
//!
//! The method is range-based set reconciliation (A. Meyer, "Range-Based Set Reconciliation", 2023) as
//! the crate `negentropy` does it, with version 1 fingerprints. Here is only what it works on, an
//! ordered set of [`FrameKey`]s, and what one side says next. When to begin, and how frames then
//! travel, is the node's business.
//!
//! And which links carry what is new (`tree`, feature `tree`), and which there are (`view`).

mod key;
mod round;
mod set;
mod tree;
pub mod view;

pub use key::FrameKey;
pub use round::{Differences, Initiator, SyncError, answer};
pub use set::{KeySet, Keyed, Times};
pub use tree::{Asked, Tree};
