//! Devices: what this node measures with and what it moves, one file or folder a kind. A driver knows nothing of
//! proposals, people, policy or tiers: the gate judges, the node signs.

mod actuator;
pub mod exec;
pub mod gen1;
pub mod host;
pub mod recorder;
mod sensor;
pub mod sim;

use actuator::unknown;
pub use actuator::{Actuator, DriverError, Position};
pub use sensor::{Reading, Sensor, SensorError};

#[cfg(test)]
mod tests;
