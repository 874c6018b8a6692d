//! The outside of a node as traits: time, chance, network, disk, threads, further hardware. The
//! simulator gives it another outside; everything above stays the same code.

use std::sync::Arc;

use crate::adapters::clock::SharedClock;
use crate::adapters::devices::{Sensor, SharedActuator};
use crate::adapters::keystore::{DeviceKeys, FileKeys};
use crate::adapters::llm::SharedModel;
use crate::adapters::marks::MarkPlaces;
use crate::adapters::random::SharedRandom;
use crate::adapters::store::Engine;
use crate::adapters::transport::{Dialer, TcpDialer};

/// The world around a node.
pub struct Outside {
    /// The clock.
    pub clock: SharedClock,
    /// Where ids and nonces come from.
    pub random: SharedRandom,
    /// Who keeps the device's key.
    pub keys: Arc<dyn DeviceKeys>,
    /// How peers are reached.
    pub dialer: Arc<dyn Dialer>,
    /// How the store works.
    pub engine: Engine,
    /// Whether work that takes the processor long leaves the network's threads.
    pub threads: bool,
    /// Where it is noted how far the store has come.
    pub marks: MarkPlaces,
    /// Actuators beyond those of the configuration.
    pub drivers: Vec<SharedActuator>,
    /// Sensors beyond those of the configuration.
    pub sensors: Vec<Box<dyn Sensor>>,
    /// Language models beyond those of the configuration, as if on this machine.
    pub models: Vec<SharedModel>,
    /// The environment, for the keys of providers.
    pub variables: fn(&str) -> Option<String>,
}

/// The environment of this process.
pub fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

impl Outside {
    /// The real world, with this clock; without marks of how far the store has come, which a program
    /// of a machine adds.
    pub fn real(clock: SharedClock) -> Self {
        Self {
            clock,
            random: SharedRandom::system(),
            keys: Arc::new(FileKeys),
            dialer: Arc::new(TcpDialer),
            engine: Engine::Threads,
            threads: true,
            marks: MarkPlaces::default(),
            drivers: Vec::new(),
            sensors: Vec::new(),
            models: Vec::new(),
            variables: environment,
        }
    }
}
