//! How people and programs reach the node. A surface translates and calls `operator`; logic in a
//! surface is a bug.

#[cfg(feature = "chat")]
pub mod chat;
pub mod cli;
pub mod coordinator;
#[cfg(feature = "desktop")]
pub mod desktop;
pub mod http;
pub mod remote;
