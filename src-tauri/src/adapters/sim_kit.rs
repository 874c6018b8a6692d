//! The simulated irrigation kit: a valve, a pump, a tank and a bed of soil, shared by the `sim`
//! driver and the `sim` sensor.
//!
//! Its physical state and a journal of every movement live in files that outlive the process: a
//! killed controller leaves its valve where it was, as real hardware does. The journal is the ground
//! truth that crash tests read.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::clock::SharedClock;
use super::paths::{PathError, make_private_dir, write_private};
use crate::domain::base::TimeMs;

/// Why the kit cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KitError {
    /// Its files cannot be written.
    #[error(transparent)]
    Path(#[from] PathError),
    /// The journal cannot be written.
    #[error("the simulated kit's journal {path}: {source}")]
    Journal {
        /// The file.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
}

/// The physical state.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Plant {
    /// Soil moisture of `zone-1`, in percent.
    pub moisture: f64,
    /// Water in the tank, in percent.
    pub tank: f64,
    /// Whether the valve is open.
    pub valve_open: bool,
    /// Whether the pump runs.
    pub pump_running: bool,
    /// When this was the state.
    pub at: TimeMs,
}

/// Percent a second the soil loses.
const DRYING: f64 = 0.35;
/// Percent a second the soil gains while the valve is open.
const WETTING: f64 = 1.6;
/// Percent a second the tank loses while the valve is open.
const DRAINING: f64 = 0.4;
/// Percent a second the tank gains while the pump runs.
const FILLING: f64 = 1.2;
/// Percent a second a well adds to the tank by itself.
const WELL: f64 = 0.05;
/// Soil does not dry below this, in percent.
const DRIEST: f64 = 4.0;

impl Plant {
    /// The state a new kit starts with.
    pub fn new(at: TimeMs) -> Self {
        Self {
            moisture: 36.0,
            tank: 80.0,
            valve_open: false,
            pump_running: false,
            at,
        }
    }

    /// The state at `now`, `pace` times as fast as demo pace. Time that runs backwards changes nothing.
    #[must_use]
    pub fn advance(mut self, now: TimeMs, pace: f64) -> Self {
        let Ok(ms) = u32::try_from(now.since(self.at)) else {
            // Off for weeks: dry soil and a full tank.
            return Self {
                moisture: DRIEST,
                tank: 100.0,
                at: now,
                ..self
            };
        };
        let seconds = f64::from(ms) / 1_000.0 * pace;
        let watering = self.valve_open && self.tank > 0.0;
        let moisture = self.moisture + if watering { WETTING } else { -DRYING } * seconds;
        let tank_rate = WELL
            + if watering { -DRAINING } else { 0.0 }
            + if self.pump_running { FILLING } else { 0.0 };
        self.moisture = moisture.clamp(DRIEST.min(self.moisture), 100.0);
        self.tank = (self.tank + tank_rate * seconds).clamp(0.0, 100.0);
        self.at = self.at.max(now);
        self
    }
}

/// A part of the kit that moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The valve.
    Valve,
    /// The pump.
    Pump,
}

impl Part {
    /// Its name in the journal.
    pub fn name(self) -> &'static str {
        match self {
            Part::Valve => "valve-1",
            Part::Pump => "pump-1",
        }
    }
}

/// The kit of one node.
pub struct SimKit {
    state: Mutex<Plant>,
    pace: f64,
    dir: PathBuf,
    clock: SharedClock,
}

impl SimKit {
    /// Opens the kit in `dir`, or makes one. A damaged state file starts from the defaults.
    ///
    /// # Errors
    /// [`KitError`] if the directory cannot be written.
    pub fn open(dir: &Path, pace: f64, clock: SharedClock) -> Result<Self, KitError> {
        let now = clock.now();
        make_private_dir(dir)?;
        let file = dir.join("kit.json");
        let plant = match fs::read(&file) {
            Err(_) => Plant::new(now),
            Ok(bytes) => match serde_json::from_slice::<Plant>(&bytes) {
                Ok(plant) if plant.moisture.is_finite() && plant.tank.is_finite() => plant,
                _ => {
                    tracing::warn!(file = %file.display(), "the simulated kit's state is damaged; it starts anew");
                    Plant::new(now)
                }
            },
        };
        let kit = Self {
            state: Mutex::new(plant.advance(now, pace)),
            pace,
            dir: dir.to_path_buf(),
            clock,
        };
        kit.look();
        kit.save()?;
        Ok(kit)
    }

    /// A kit at demo pace on the machine's own clock, for tests of what uses a kit.
    ///
    /// # Errors
    /// As [`SimKit::open`].
    #[cfg(test)]
    pub fn real(dir: &Path) -> Result<Self, KitError> {
        Self::open(
            dir,
            1.0,
            std::sync::Arc::new(super::clock::SystemClock::default()),
        )
    }

    /// The state now.
    pub fn look(&self) -> Plant {
        let now = self.clock.now();
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        *state = state.advance(now, self.pace);
        *state
    }

    /// Writes the state down, so that a restart finds the soil as it was.
    ///
    /// # Errors
    /// [`KitError`].
    pub fn save(&self) -> Result<(), KitError> {
        // Held while writing: a movement meanwhile must neither share the file nor be overwritten
        // by what was true before it.
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        self.store(*state)
    }

    fn store(&self, plant: Plant) -> Result<(), KitError> {
        let text = serde_json::to_vec(&plant).unwrap_or_default();
        Ok(write_private(&self.dir.join("kit.json"), &text)?)
    }

    /// Moves a part for `job`. Returns whether it moved; a part that is there already does not.
    ///
    /// # Errors
    /// [`KitError`] if the movement could not be written down; then it did not happen.
    pub fn set(&self, part: Part, on: bool, job: &str) -> Result<bool, KitError> {
        let now = self.clock.now();
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let mut next = state.advance(now, self.pace);
        let slot = match part {
            Part::Valve => &mut next.valve_open,
            Part::Pump => &mut next.pump_running,
        };
        if *slot == on {
            *state = next;
            return Ok(false);
        }
        *slot = on;
        let position = match (part, on) {
            (Part::Valve, true) => "open",
            (Part::Valve, false) => "closed",
            (Part::Pump, true) => "running",
            (Part::Pump, false) => "stopped",
        };
        self.store(next)?;
        let line = json!({"time": now, "part": part.name(), "position": position, "job": job});
        self.journal(&format!("{line}\n"))?;
        *state = next;
        Ok(true)
    }

    fn journal(&self, line: &str) -> Result<(), KitError> {
        let path = self.dir.join("journal.jsonl");
        let mut options = OpenOptions::new();
        options.append(true).create(true).mode(0o600);
        options
            .open(&path)
            .and_then(|mut file| {
                file.write_all(line.as_bytes())
                    .and_then(|()| file.sync_data())
            })
            .map_err(|source| KitError::Journal {
                path: path.display().to_string(),
                source,
            })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;
    use crate::adapters::clock::ManualClock;

    proptest! {
        #[test]
        fn stays_physical(steps in prop::collection::vec((0u64..60_000, any::<bool>(), any::<bool>()), 1..50)) {
            let mut plant = Plant::new(TimeMs(0));
            let mut now = 0;
            for (ms, valve, pump) in steps {
                plant.valve_open = valve;
                plant.pump_running = pump;
                now += ms;
                let next = plant.advance(TimeMs(now), 1.0);
                prop_assert!((0.0..=100.0).contains(&next.moisture) && (0.0..=100.0).contains(&next.tank));
                if valve && plant.tank > 1.0 && ms > 0 {
                    prop_assert!(next.moisture >= plant.moisture);
                } else if !valve {
                    prop_assert!(next.moisture <= plant.moisture);
                }
                plant = next;
            }
        }
    }

    #[test]
    fn a_killed_controller_leaves_its_valve_where_it_was() {
        let temp = tempfile::tempdir().unwrap();
        let clock = Arc::new(ManualClock::at(TimeMs(1_000)));
        let open = || SimKit::open(temp.path(), 1.0, clock.clone()).unwrap();
        let kit = open();
        assert!(kit.set(Part::Valve, true, "p1").unwrap());
        assert!(!kit.set(Part::Valve, true, "p1").unwrap());
        drop(kit);
        clock.set(TimeMs(3_000));
        assert!(open().look().valve_open);
        let journal = fs::read_to_string(temp.path().join("journal.jsonl")).unwrap();
        assert_eq!(journal.lines().count(), 1);
        fs::write(temp.path().join("kit.json"), "{").unwrap();
        assert!(!open().look().valve_open);
    }
}
