//! Files of this machine: readings of what a kernel shows under `/sys` and `/proc` (temperatures, power rails, converters) or
//! another program writes, and actuators that are moved by writing into one (`actuator.rs`).

mod actuator;
mod place;

use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use serde::Deserialize;
use toml::Table;

use self::actuator::Moved;
use crate::adapters::clock::SharedClock;
use crate::adapters::devices::config::{KindKey, interval, offered, settings};
use crate::adapters::devices::orders::Order;
use crate::adapters::devices::point::{Meter, Point, distinct};
use crate::adapters::devices::registry::{Around, Kind, Made, Settings};
use crate::adapters::devices::rescue::Ground;
use crate::adapters::devices::value::{check_pointer, number};
use crate::adapters::devices::{DeviceError, Reading, Sensor, SensorError, SharedActuator};
use crate::adapters::files;
use crate::domain::base::TimeMs;
use crate::domain::base::limits::FILE_READING_MAX_BYTES;
use crate::domain::policy::Offered;
use crate::domain::quality::Doubt;

/// By how much a file may be newer than the clock says before nothing is known of its age, in milliseconds: clocks of file
/// servers differ a little.
const CLOCKS_APART_MS: u64 = 5_000;

/// Files of this machine.
pub(crate) const KIND: Kind = Kind {
    name: "file",
    once: false,
    read: settings::<Files>,
    rescue,
};

/// The files as the configuration has them.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Files {
    #[serde(rename = "kind", alias = "driver", default)]
    _kind: KindKey,
    /// The device's name.
    name: String,
    /// How often the files are read, in milliseconds.
    every_ms: Option<u64>,
    /// Its readings.
    #[serde(default)]
    reading: Vec<Point<Place>>,
    /// Its actuators.
    #[serde(default)]
    actuator: Vec<Moved>,
}

/// Where a value is.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Place {
    /// The file, absolute.
    path: PathBuf,
    /// A JSON pointer, where the file is a JSON document.
    json: Option<String>,
}

impl Settings for Files {
    fn subject(&self) -> &str {
        &self.name
    }

    fn offers(&self) -> Vec<Offered> {
        let each = self.actuator.iter().flat_map(|moved| {
            let names = moved.operation.iter().map(|o| &o.name);
            offered(&moved.capability, names, &moved.safe, false)
        });
        each.collect()
    }

    fn orders(&self) -> Vec<Order> {
        self.actuator.iter().flat_map(Moved::orders).collect()
    }

    fn make(&self, around: &Around<'_>) -> Result<Made, DeviceError> {
        if self.reading.is_empty() && self.actuator.is_empty() {
            let why = "it has neither a reading nor an actuator";
            return Err(DeviceError::Config(why.to_owned()));
        }
        let node = around.dir.root();
        let actuators = self.actuator.iter().map(|moved| moved.driver(node));
        let actuators = actuators.collect::<Result<_, _>>()?;
        distinct(self.reading.iter().map(|point| &point.measured))?;
        let every = interval(self.every_ms)?;
        let sensors = self.reading.iter().map(|point| {
            let bad = |why: String| {
                DeviceError::Config(format!("reading {}: {why}", point.measured.name()))
            };
            let place = point.source.clone();
            if !place.path.is_absolute() {
                let path = place.path.display();
                return Err(bad(format!("path: {path} must be an absolute path")));
            }
            check_pointer(place.json.as_deref().unwrap_or_default()).map_err(bad)?;
            let sensor = FileSensor {
                name: format!("{} {}", self.name, point.measured.name()),
                every,
                meter: Meter::new(&self.name, point.measured.clone(), around.clock.steady_ms()),
                place,
                clock: around.clock.clone(),
            };
            Ok(Box::new(sensor) as Box<dyn Sensor>)
        });
        Ok(Made {
            actuators,
            sensors: sensors.collect::<Result<_, _>>()?,
        })
    }
}

fn rescue(table: &Table, ground: &Ground<'_>) -> Result<Vec<SharedActuator>, String> {
    Ok(actuator::rescue(table, ground.dir))
}

/// Reads one file.
struct FileSensor {
    name: String,
    every: Option<Duration>,
    meter: Meter,
    place: Place,
    clock: SharedClock,
}

impl Sensor for FileSensor {
    fn name(&self) -> &str {
        &self.name
    }

    fn meter(&self) -> Option<&Meter> {
        Some(&self.meter)
    }

    fn interval(&self) -> Option<Duration> {
        self.every
    }

    fn untold(&mut self) {
        self.meter.untold();
    }

    fn read(&mut self, now: TimeMs) -> Result<Vec<Reading>, SensorError> {
        let path = self.place.path.display();
        let content = content(&self.place.path);
        let (text, written) = content.map_err(|e| SensorError(format!("{path}: {e}")))?;
        let raw = number(&text, self.place.json.as_deref(), FILE_READING_MAX_BYTES);
        let raw = raw.map_err(|why| SensorError(format!("{path}: {why}")))?;
        let ahead = written.since(now) > CLOCKS_APART_MS;
        // A file of the future tells nothing of its age.
        let age_ms = if ahead { u64::MAX } else { now.since(written) };
        let late = self.meter.late(age_ms).map(|late| match ahead {
            true => Doubt::AgeUnknown,
            false => late,
        });
        self.meter.read(raw, late, self.clock.steady_ms())
    }
}

/// A file's content and time of modification; of one that is longer than is read, a byte more than that. A pipe or a device in
/// its place is an error at once, also one that comes between the look at it and its opening.
fn content(path: &Path) -> std::io::Result<(Vec<u8>, TimeMs)> {
    let file = files::open(path)?;
    let about = file.metadata()?;
    let most = u64::try_from(FILE_READING_MAX_BYTES).unwrap_or(u64::MAX);
    let text = files::read_opened_up_to(file, most.saturating_add(1))?;
    let written = about.modified()?.duration_since(UNIX_EPOCH);
    let written = written.unwrap_or_default().as_millis();
    Ok((text, TimeMs(u64::try_from(written).unwrap_or(u64::MAX))))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::fs;
    use std::sync::Arc;

    use super::*;
    use crate::adapters::clock::{Clock as _, ManualClock, SystemClock};

    fn sensor(path: &Path, keys: &str) -> FileSensor {
        let path = path.display();
        let text = format!("metric = \"t\"\nzone = \"z\"\npath = \"{path}\"\n{keys}");
        let point: Point<Place> = toml::from_str(&text).unwrap();
        FileSensor {
            name: "board t z".to_owned(),
            every: None,
            meter: Meter::new("board", point.measured, 0),
            place: point.source,
            clock: Arc::new(ManualClock::at(TimeMs(1_000))),
        }
    }

    fn why(sensor: &mut FileSensor) -> String {
        sensor.read(TimeMs(0)).unwrap_err().0
    }

    #[test]
    fn a_file_is_read_anew_each_time_and_scaled() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let mut sensor = sensor(file.path(), "scale = 0.001\nunit = \"Cel\"");
        for (text, value) in [("48312\n", 48.312), ("-1000\n", -1.0)] {
            fs::write(file.path(), text).unwrap();
            let readings = sensor.read(TimeMs(0)).unwrap();
            assert_eq!(readings[0].value.to_string(), value.to_string());
            assert_eq!(readings[0].unit, "Cel");
            assert_eq!(readings[0].doubt, None);
        }
    }

    #[test]
    fn a_file_that_is_gone_empty_or_no_file_is_told_by_its_path() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("value");
        let mut sensor = sensor(&path, "");
        assert!(why(&mut sensor).starts_with(&format!("{}: No such file", path.display())));
        fs::write(&path, "").unwrap();
        assert!(why(&mut sensor).ends_with(": \"\" is no number"));
        fs::write(&path, vec![b'1'; FILE_READING_MAX_BYTES + 100]).unwrap();
        assert!(why(&mut sensor).ends_with("bytes, at most 65536 are read"));
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        assert!(why(&mut sensor).ends_with("it is no plain file"));
    }

    #[test]
    fn a_value_that_was_written_long_ago_is_doubted() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), "7").unwrap();
        let mut sensor = sensor(file.path(), "check = { late_sec = 60 }");
        let now = SystemClock::default().now();
        assert_eq!(sensor.read(now).unwrap()[0].doubt, None);
        let later = sensor.read(now.plus(120_000)).unwrap();
        let before = sensor.read(TimeMs(now.0 - 120_000)).unwrap();
        assert_eq!(before[0].doubt, Some(Doubt::AgeUnknown));
        assert!(matches!(
            later[0].doubt,
            Some(Doubt::Late {
                since_ms: 120_000..
            })
        ));
    }
}
