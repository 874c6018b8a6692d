//! The `modbus` kind: readings and actuators of a device that speaks Modbus, over a TCP connection of its own or a serial line
//! that it shares with others.
//!
//! `wire.rs` has the protocol as bytes and `value.rs` the numbers in registers, both pure; `name.rs` finds the device,
//! `socket.rs` asks one thing on one connection, `line.rs` on a serial line (`rtu.rs` is its protocol), `link.rs` owns the connection and says what is asked next, `poll.rs` puts
//! readings together into requests. `sensor.rs` and `actuator.rs` are what the node knows; `settings.rs`, `register.rs` and
//! `moves.rs` read the configuration, `rescue.rs` a damaged one.
//!
//! The protocol is written here: the drivers have to know whether a write that failed left this machine, which the
//! `tokio-modbus` crate does not tell, and the connection needs a thread of its own.

mod actuator;
mod line;
mod link;
mod moves;
mod name;
mod poll;
mod register;
mod rescue;
mod rtu;
mod sensor;
mod settings;
mod socket;
#[cfg(test)]
mod tests;
mod value;
mod way;
mod wire;

pub(crate) use self::settings::KIND;
