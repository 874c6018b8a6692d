//! Which node or gateway a message goes to, and why. It must not know how messages travel or are kept, and nothing in it permits
//! anything.

pub mod choose;
pub mod message;
pub mod profile;
pub mod routes;
