//! The simulated irrigation kit: a valve, a pump, a tank and a bed of soil, shared by the `sim`
//! driver and the `sim` sensor.
//!
//! Its physical state and a journal of every movement live in files that outlive the process: a
//! killed controller leaves its valve where it was, as real hardware does. The journal is the ground
//! truth that crash tests read: it is written before the state file, and where a kill came between
//! the two, the next start believes the journal.

use std::fs::OpenOptions;
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::adapters::clock::SharedClock;
use crate::adapters::paths::{PathError, make_private_dir, write_private};
use crate::adapters::{files, system};
use crate::domain::base::TimeMs;
use crate::domain::base::limits::SMALL_FILE_MAX_BYTES;

/// Why the kit cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KitError {
    /// Its files cannot be written.
    #[error(transparent)]
    Path(#[from] PathError),
    /// The journal cannot be written.
    #[error("the simulated kit's journal {path}: {source}")]
    Journal {
        /// The file.
        path: String,
        /// The OS error.
        source: std::io::Error,
    },
}

/// The physical state.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Plant {
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
/// The end of the journal that a start looks through for the last movements, in bytes.
const JOURNAL_TAIL_BYTES: u64 = 65_536;
/// The job named in the journal when the kit starts from its defaults.
const RESET_JOB: &str = "kit-reset";

impl Plant {
    /// The state a new kit starts with.
    pub(crate) fn new(at: TimeMs) -> Self {
        Self {
            moisture: 36.0,
            tank: 80.0,
            valve_open: false,
            pump_running: false,
            at,
        }
    }

    /// Whether the levels are ones that soil and a tank can have.
    fn is_physical(&self) -> bool {
        let percent = 0.0..=100.0;
        percent.contains(&self.moisture) && percent.contains(&self.tank)
    }

    fn part(&mut self, part: Part) -> &mut bool {
        match part {
            Part::Valve => &mut self.valve_open,
            Part::Pump => &mut self.pump_running,
        }
    }

    /// The state at `now`, `pace` times as fast as demo pace. Time that runs backwards changes nothing.
    #[must_use]
    pub(crate) fn advance(mut self, now: TimeMs, pace: f64) -> Self {
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
pub(crate) enum Part {
    /// The valve.
    Valve,
    /// The pump.
    Pump,
}

impl Part {
    /// Its name in the journal.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Part::Valve => "valve-1",
            Part::Pump => "pump-1",
        }
    }

    fn position(self, on: bool) -> &'static str {
        match (self, on) {
            (Part::Valve, true) => "open",
            (Part::Valve, false) => "closed",
            (Part::Pump, true) => "running",
            (Part::Pump, false) => "stopped",
        }
    }
}

/// The kit of one node.
pub(crate) struct SimKit {
    state: Mutex<Plant>,
    pace: f64,
    dir: PathBuf,
    clock: SharedClock,
}

impl SimKit {
    /// Opens the kit in `dir`, or makes one. A damaged state file starts from the defaults, which
    /// is logged, and journalled where a part was elsewhere.
    ///
    /// # Errors
    /// [`KitError`] if the directory cannot be written.
    pub(crate) fn open(dir: &Path, pace: f64, clock: SharedClock) -> Result<Self, KitError> {
        let now = clock.now();
        make_private_dir(dir)?;
        let file = dir.join("kit.json");
        let known = match files::read(&file, SMALL_FILE_MAX_BYTES) {
            Ok(bytes) => serde_json::from_slice::<Plant>(&bytes)
                .map_err(|e| e.to_string())
                .and_then(|plant| match plant.is_physical() {
                    true => Ok(Some(plant)),
                    false => Err("a level is not between 0 and 100".to_owned()),
                }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error.to_string()),
        };
        let known = known.unwrap_or_else(|why| {
            tracing::warn!(file = %file.display(), "the simulated kit's state is damaged ({why}); it starts from its defaults");
            None
        });
        let kit = Self {
            state: Mutex::new(known.unwrap_or_else(|| Plant::new(now))),
            pace,
            dir: dir.to_path_buf(),
            clock,
        };
        kit.settle(known.is_some(), now)?;
        kit.save()?;
        Ok(kit)
    }

    /// Brings state and journal together: the journal knows better than a state file that a kill
    /// kept from being written; a kit that starts from its defaults has moved there.
    fn settle(&self, state_is_known: bool, now: TimeMs) -> Result<(), KitError> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        for part in [Part::Valve, Part::Pump] {
            let Some(journalled) = self.last_position(part)? else {
                continue;
            };
            let slot = state.part(part);
            match state_is_known {
                true => *slot = journalled,
                false if journalled != *slot => self.journal(part, *slot, RESET_JOB, now)?,
                false => {}
            }
        }
        Ok(())
    }

    /// Whether the part was last moved to its open or running position, as far as the journal's
    /// end tells.
    fn last_position(&self, part: Part) -> Result<Option<bool>, KitError> {
        let path = self.dir.join("journal.jsonl");
        let tail = || -> io::Result<Vec<u8>> {
            let mut file = files::open(&path)?;
            let length = file.metadata()?.len();
            file.seek(SeekFrom::Start(length.saturating_sub(JOURNAL_TAIL_BYTES)))?;
            let mut bytes = Vec::new();
            file.take(JOURNAL_TAIL_BYTES).read_to_end(&mut bytes)?;
            Ok(bytes)
        };
        let bytes = match tail() {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => {
                return Err(KitError::Journal {
                    path: path.display().to_string(),
                    source,
                });
            }
        };
        let on = |line: &[u8]| {
            let line: serde_json::Value = serde_json::from_slice(line).ok()?;
            (line["part"] == part.name()).then(|| line["position"] == part.position(true))
        };
        Ok(bytes.rsplit(|byte| *byte == b'\n').find_map(on))
    }

    /// A kit at demo pace on the machine's own clock, for tests of what uses a kit.
    ///
    /// # Errors
    /// As [`SimKit::open`].
    #[cfg(test)]
    pub(crate) fn real(dir: &Path) -> Result<Self, KitError> {
        Self::open(
            dir,
            1.0,
            std::sync::Arc::new(crate::adapters::clock::SystemClock::default()),
        )
    }

    /// The state now.
    pub(crate) fn look(&self) -> Plant {
        let now = self.clock.now();
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        *state = state.advance(now, self.pace);
        *state
    }

    /// Writes the state of now down, so that a restart finds the soil as it was. The lock is held
    /// meanwhile, so that a movement is neither overtaken nor undone.
    ///
    /// # Errors
    /// [`KitError::Path`].
    pub(crate) fn save(&self) -> Result<(), KitError> {
        let now = self.clock.now();
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        *state = state.advance(now, self.pace);
        self.store(*state)
    }

    fn store(&self, plant: Plant) -> Result<(), KitError> {
        let text = serde_json::to_vec(&plant).unwrap_or_default();
        Ok(write_private(&self.dir.join("kit.json"), &text)?)
    }

    /// Moves a part for `job`. Returns whether it moved; a part that is there already does not.
    ///
    /// # Errors
    /// [`KitError::Journal`] if the movement could not be written down; then it did not happen.
    pub(crate) fn set(&self, part: Part, on: bool, job: &str) -> Result<bool, KitError> {
        let now = self.clock.now();
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let mut next = state.advance(now, self.pace);
        if *next.part(part) == on {
            *state = next;
            return Ok(false);
        }
        *next.part(part) = on;
        self.journal(part, on, job, now)?;
        *state = next;
        if let Err(error) = self.store(next) {
            // It moved and the journal has it, which is what the next start believes.
            tracing::warn!("the simulated kit's state was not saved: {error}");
        }
        Ok(true)
    }

    fn journal(&self, part: Part, on: bool, job: &str, now: TimeMs) -> Result<(), KitError> {
        let position = part.position(on);
        let line = json!({"time": now, "part": part.name(), "position": position, "job": job});
        let line = format!("{line}\n");
        let path = self.dir.join("journal.jsonl");
        let mut options = OpenOptions::new();
        system::for_owner(options.append(true).create(true));
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
    use std::fs;

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
        assert!(!open().look().valve_open, "the defaults");
        assert!(!open().look().valve_open, "and they stay");
        let journal = fs::read_to_string(temp.path().join("journal.jsonl")).unwrap();
        assert_eq!(
            journal.lines().count(),
            2,
            "the reset is no secret: {journal}"
        );
    }

    /// The sensor saves while the driver moves: neither may undo or break what the other wrote.
    #[test]
    fn a_reading_never_breaks_or_undoes_a_movement() {
        let temp = tempfile::tempdir().unwrap();
        let kit = SimKit::real(temp.path()).unwrap();
        let done = std::sync::atomic::AtomicBool::new(false);
        let order = std::sync::atomic::Ordering::Relaxed;
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !done.load(order) {
                    kit.save().unwrap();
                }
            });
            for turn in 0..200 {
                let on = turn % 2 == 0;
                let moved = kit.set(Part::Valve, on, "j");
                let stored: Option<Plant> = fs::read(temp.path().join("kit.json"))
                    .ok()
                    .and_then(|bytes| serde_json::from_slice(&bytes).ok());
                if moved.is_err() || stored.is_none_or(|plant| plant.valve_open != on) {
                    done.store(true, order);
                    panic!("turn {turn}: {moved:?}, stored {stored:?}");
                }
            }
            done.store(true, order);
        });
    }

    #[test]
    fn a_kill_between_journal_and_state_loses_no_movement() {
        let temp = tempfile::tempdir().unwrap();
        let kit = SimKit::real(temp.path()).unwrap();
        let before = fs::read(temp.path().join("kit.json")).unwrap();
        kit.set(Part::Valve, true, "p1").unwrap();
        kit.set(Part::Pump, true, "p2").unwrap();
        kit.set(Part::Pump, false, "p2").unwrap();
        drop(kit);
        fs::write(temp.path().join("kit.json"), before).unwrap();
        let plant = SimKit::real(temp.path()).unwrap().look();
        assert!(plant.valve_open && !plant.pump_running);
    }

    #[test]
    fn a_movement_that_cannot_be_journalled_did_not_happen() {
        let temp = tempfile::tempdir().unwrap();
        let kit = SimKit::real(temp.path()).unwrap();
        fs::create_dir(temp.path().join("journal.jsonl")).unwrap();
        assert!(kit.set(Part::Valve, true, "j").is_err());
        assert!(!kit.look().valve_open);
        let stored = fs::read(temp.path().join("kit.json")).unwrap();
        let stored: Plant = serde_json::from_slice(&stored).unwrap();
        assert!(!stored.valve_open, "the file says what did not happen");
    }

    #[test]
    fn a_state_outside_its_bounds_is_damaged() {
        let temp = tempfile::tempdir().unwrap();
        let mut plant = Plant::new(TimeMs(1));
        plant.moisture = -50.0;
        let text = serde_json::to_vec(&plant).unwrap();
        fs::write(temp.path().join("kit.json"), text).unwrap();
        let clock = Arc::new(ManualClock::at(TimeMs(1)));
        let kit = SimKit::open(temp.path(), 1.0, clock).unwrap();
        assert!((0.0..=100.0).contains(&kit.look().moisture));
    }
}
