//! How people and programs reach the node. A surface translates and calls `operator`; logic in a
//! surface is a bug.

pub mod cli;
pub mod http;
pub mod remote;
