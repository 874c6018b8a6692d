//! The `http` kind: readings and actuators of a device that is asked over HTTP, such as a relay with a web page or a
//! gateway of sensors.
//!
//! `settings.rs` reads the table, `client.rs` makes one request on a connection of its own, `readings.rs` takes numbers from
//! answers, `actuator.rs` tells the device to move: once, and never by itself again.

mod actuator;
mod client;
mod readings;
mod settings;
#[cfg(test)]
mod tests;

pub(crate) use self::settings::KIND;
