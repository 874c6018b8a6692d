//! The simulated irrigation kit, as a sensor and as two actuators over one state.

mod actuator;
mod kit;
mod sensor;

pub use actuator::SimDriver;
pub use kit::{KitError, Part, Plant, SimKit};
pub use sensor::SimSensor;
