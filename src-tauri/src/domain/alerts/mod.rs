//! Alerts: when readings become one, who may end it, and who is told when. An alert tells people and does nothing else: it can
//! neither ask for an action nor decide about one.
//!
//! Pure: facts, moments and what was told before go in; what stands and what is due come out. Where it is kept and how people
//! are reached is for the node.

pub mod escalation;
mod judging;
mod room;
pub mod rule;
pub mod watch;

#[cfg(test)]
mod tests;
