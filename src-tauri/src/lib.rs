//! ClawMesh: a mesh runtime in which a planner may only propose, a person approves, and the node
//! that owns the hardware checks everything again and acts at most once.
//!
//! Read the rooms in this order; imports point only upwards in this list:
//!
//! - [`domain`]: the rules, pure: no IO, no clock, no randomness, no tokio.
//! - [`adapters`]: what touches the world: store, transport, keys, clock, drivers, sensors.
//! - [`node`]: composition and tasks; one actor per concern.
//! - [`operator`]: the only door for people and programs.
//! - [`surfaces`]: HTTP and CLI, which translate and call the door.

// Here and not in Cargo.toml: in tests and benchmarks nothing is reachable from outside.
#![warn(unreachable_pub)]

pub mod adapters;
pub mod domain;
pub mod node;
pub mod operator;
pub mod surfaces;
