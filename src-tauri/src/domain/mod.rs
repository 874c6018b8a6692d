//! The rules of ClawMesh as pure functions and types: bytes in, decisions out.
//!
//! Time and randomness are arguments, so the same code runs in the node, in the simulator and in
//! property tests. Each room may import only the rooms listed above it.

pub mod admission;
pub mod alerts;
pub mod base;
pub mod capability;
pub mod continuity;
pub mod coordination;
pub mod gate;
pub mod identity;
pub mod inference;
pub mod pairing;
pub mod plan;
pub mod policy;
pub mod proposal;
pub mod quality;
pub mod router;
pub mod site;
pub mod sync;
pub mod wire;
pub mod world;
