//! The driver against devices that keep to the standard and devices that do not.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[cfg(target_os = "linux")]
mod bus;
mod config;
mod hostile;
#[cfg(target_os = "linux")]
mod line;
mod moving;
mod reading;
mod slave;

use std::sync::Arc;

use self::slave::Slave;
use super::settings::Modbus;
use crate::adapters::clock::{SharedClock, SystemClock};
use crate::adapters::devices::registry::Settings as _;
use crate::adapters::devices::tests::{NoKeeper, Nobody};
use crate::adapters::devices::{Around, Carrier, Hooks, Keeper, Made};
use crate::adapters::paths::StateDir;

/// The device of a table.
fn made(text: &str) -> Result<Made, String> {
    let device: Modbus = toml::from_str(text).map_err(|e| e.message().to_owned())?;
    let clock: SharedClock = Arc::new(SystemClock::default());
    let carrier: Arc<dyn Carrier> = Arc::new(Nobody);
    let keeper: Arc<dyn Keeper> = Arc::new(NoKeeper);
    let temp = tempfile::tempdir().unwrap();
    let around = Around {
        dir: &StateDir::at(temp.path()),
        clock: &clock,
        carrier: &carrier,
        keeper: &keeper,
        hooks: &Hooks::default(),
    };
    device.make(&around).map_err(|e| e.to_string())
}

/// The head of a table for this device.
fn head(slave: &Slave) -> String {
    format!(
        "name = \"plc\"\naddress = \"{}\"\nunit = 7\ntimeout_ms = 300\n",
        slave.address
    )
}
