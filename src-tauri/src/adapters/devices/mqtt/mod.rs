//! The `mqtt` kind: readings and actuators behind an MQTT broker.
//!
//! `settings.rs` reads the table, `packet.rs` the bytes, `connection.rs` keeps one connection on a thread of its own, on
//! which `session.rs` speaks. `discover.rs` hears what devices offer there, which `homeassistant.rs` reads.
//! All readings of a broker share one; each actuator has one for itself, with its safe message as its will, so that the
//! broker makes it safe when this node dies.

mod actuator;
mod broker;
mod connection;
mod discover;
mod homeassistant;
mod packet;
mod readings;
mod session;
mod settings;
#[cfg(test)]
mod tests;

pub use self::discover::{Discovered, Listen, discover};
pub(crate) use self::settings::KIND;
