//! IO. Each family has its trait in `mod.rs`, its real implementation beside it and a twin for
//! tests; families never import each other.

pub mod abilities;
pub mod authorities;
#[cfg(feature = "chat")]
pub mod channel;
pub mod clock;
pub mod crash;
pub mod descriptors;
pub mod devices;
pub mod discovery;
pub mod files;
pub mod gateway;
pub mod http_client;
pub mod keystore;
pub mod lines;
pub mod llm;
pub mod log;
pub mod marks;
pub mod notify;
pub mod paths;
pub mod pictures;
pub mod random;
pub mod releases;
pub mod service_manager;
pub mod signals;
pub mod store;
pub mod system;
pub mod transport;
