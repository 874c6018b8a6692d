//! Devices: what a node measures with and what it moves, one file or folder a kind. A driver knows nothing of
//! proposals, people, policy or tiers: the gate judges, the node signs. Outside this folder nothing names a kind;
//! `registry.rs` lists them.

mod actuator;
mod camera;
mod config;
mod exec;
mod file;
mod gen1;
mod gpio;
mod host;
mod http;
mod keeper;
mod modbus;
mod mqtt;
mod orders;
mod point;
mod port;
#[cfg(test)]
mod pretend;
#[cfg(test)]
mod recorder;
mod registry;
mod rescue;
mod sensor;
mod serial;
mod sim;
mod template;
mod twin;
mod value;
mod webhook;

use actuator::unknown;
pub use actuator::{Actuator, Carrier, DriverError, Gen1Place, Position, SharedActuator, Stands};
pub use config::{Configured, Switches, offers};
pub use keeper::Keeper;
pub use mqtt::{Discovered, Listen, discover};
pub use orders::{SharedWay, shared_ways};
pub use point::{Meter, Taken};
#[cfg(test)]
pub(crate) use registry::Kind;
pub use registry::{Around, DeviceError, Made, make, make_each, not_twice};
pub use rescue::{Ground, rescue};
pub use sensor::{Reading, Sensor, SensorError};
pub use sim::moisture as simulated_moisture;
pub use twin::{BEHAVIOUR as TWIN_BEHAVIOUR, Behaviour, Told, journal as twin_journal};
pub use webhook::{Hook, Hooks, Kept, Knock};

#[cfg(test)]
mod tests;
