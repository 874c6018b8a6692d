//! What touches the world. Each family has its trait in `mod.rs`, its real implementation beside it
//! and a twin for tests; families never import each other.

pub mod clock;
pub mod descriptors;
pub mod discovery;
pub mod executor;
pub mod files;
pub mod keystore;
pub mod lines;
pub mod log;
pub mod marks;
pub mod paths;
pub mod random;
pub mod sensor;
pub mod signals;
pub mod sim_kit;
pub mod store;
pub mod transport;
