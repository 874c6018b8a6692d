//! The `serial` kind: readings of what a device sends over a serial line by itself, line after line: receivers of satellite
//! positions and other instruments that speak NMEA 0183, boards that print columns, names with values, or JSON.
//!
//! `lines.rs` puts lines together, `nmea.rs` reads sentences, `source.rs` finds a number in a line, all pure; `reader.rs`
//! has the port. Nothing is ever sent.

mod lines;
mod nmea;
mod reader;
mod source;
#[cfg(all(test, target_os = "linux"))]
mod tests;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use tokio::sync::Notify;

use self::reader::{Newest, Quiet, Reader};
use self::source::{Format, Shape, Source};
use super::config::{KindKey, interval, settings};
use super::point::{Meter, Point, distinct};
use super::port::{Parity, Wiring};
use super::registry::{Around, Kind, Made, Settings};
use super::{DeviceError, Reading, Sensor, SensorError};
use crate::adapters::clock::SharedClock;
use crate::domain::base::TimeMs;
use crate::domain::base::limits::{SERIAL_COLUMNS_MAX, SERIAL_SILENT_MS};
use crate::domain::base::quantity::span;

/// Devices that send lines over a serial port.
pub(crate) const KIND: Kind = Kind {
    name: "serial",
    once: false,
    read: settings::<Serial>,
    // It moves nothing.
    rescue: |_, _| Ok(Vec::new()),
};

/// A device as the configuration has it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Serial {
    #[serde(rename = "kind", alias = "driver", default)]
    _kind: KindKey,
    /// The device's name.
    name: String,
    /// The port.
    serial: PathBuf,
    baud: u32,
    parity: Option<Parity>,
    stop_bits: Option<u8>,
    /// What its lines are.
    format: Format,
    /// What is between two columns.
    separator: Option<String>,
    /// How many columns a line has.
    columns: Option<usize>,
    /// How often its readings are taken, in milliseconds.
    every_ms: Option<u64>,
    /// Its readings.
    #[serde(default)]
    reading: Vec<Point<Source>>,
}

impl Serial {
    fn wiring(&self) -> Result<Wiring, String> {
        let parity = self.parity.unwrap_or(Parity::None);
        Wiring::new(&self.serial, self.baud, parity, self.stop_bits)
    }

    fn shape(&self) -> Result<Shape, String> {
        let is_csv = self.format == Format::Csv;
        if !is_csv && (self.separator.is_some() || self.columns.is_some()) {
            return Err("separator and columns: go with format = \"csv\"".to_owned());
        }
        let columns = 1..=SERIAL_COLUMNS_MAX;
        if self.columns.is_some_and(|count| !columns.contains(&count)) {
            return Err(format!("columns: must be 1 to {SERIAL_COLUMNS_MAX}"));
        }
        let mut separator = self.separator.as_deref().unwrap_or(",").chars();
        match (separator.next(), separator.next()) {
            (Some(separator), None) if !separator.is_ascii_digit() => Ok(Shape {
                format: self.format,
                separator,
                columns: self.columns,
            }),
            _ => Err("separator: must be one character, such as \";\"".to_owned()),
        }
    }
}

impl Settings for Serial {
    fn subject(&self) -> &str {
        &self.name
    }

    fn alone_at(&self) -> Option<String> {
        let place = self.wiring().ok()?.place();
        Some(format!("the serial port {place}"))
    }

    fn shares(&self) -> Option<(String, String)> {
        let wiring = self.wiring().ok()?;
        let how = format!(
            "lines of text at {}, {}",
            wiring.path.display(),
            wiring.set()
        );
        Some((wiring.place(), how))
    }

    fn make(&self, around: &Around<'_>) -> Result<Made, DeviceError> {
        let wiring = self.wiring().map_err(DeviceError::Config)?;
        let shape = self.shape().map_err(DeviceError::Config)?;
        if self.reading.is_empty() {
            return Err(DeviceError::Config("it has no reading".to_owned()));
        }
        distinct(self.reading.iter().map(|point| &point.measured))?;
        for point in &self.reading {
            point.source.check(&shape).map_err(|why| {
                DeviceError::Config(format!("reading {}: {why}", point.measured.name()))
            })?;
        }
        let every = interval(self.every_ms)?;
        let sources = self.reading.iter().map(|point| point.source.clone());
        let reader = Reader::new(wiring, shape, sources, around.clock.clone());
        let reader = Arc::new(reader);
        let sensors = self.reading.iter().enumerate().map(|(at, point)| {
            let now_ms = around.clock.steady_ms();
            let sensor = LineSensor {
                name: format!("{} {}", self.name, point.measured.name()),
                every,
                meter: Meter::new(&self.name, point.measured.clone(), now_ms),
                reader: reader.clone(),
                at,
                clock: around.clock.clone(),
                failing: None,
                heard_ms: now_ms,
            };
            Box::new(sensor) as Box<dyn Sensor>
        });
        Ok(Made {
            sensors: sensors.collect(),
            actuators: Vec::new(),
        })
    }
}

/// One reading.
struct LineSensor {
    name: String,
    every: Option<Duration>,
    meter: Meter,
    reader: Arc<Reader>,
    /// Its place among the readings of the port.
    at: usize,
    clock: SharedClock,
    /// The fault of the last line; told until a good one comes.
    failing: Option<String>,
    /// When a line last said something of it.
    heard_ms: u64,
}

impl LineSensor {
    /// Why nothing was said of it, if that is so for too long.
    fn silent(&self, bad: Option<(String, u64)>, now_ms: u64) -> Option<String> {
        let silent_ms = match self.meter.late(u64::MAX) {
            Some(_) => self.meter.silent_ms(now_ms)?,
            None => {
                let silent_ms = now_ms.saturating_sub(self.heard_ms);
                (silent_ms > SERIAL_SILENT_MS).then_some(silent_ms)?
            }
        };
        let (path, long) = (self.reader.path(), span(silent_ms));
        let bad = bad.filter(|(_, at_ms)| now_ms.saturating_sub(*at_ms) < silent_ms);
        Some(match bad {
            Some((why, _)) => format!(
                "nothing of it has come on {path} for {long}, and {why}; check baud, parity and stop_bits"
            ),
            None => format!("nothing of it has come on {path} for {long}"),
        })
    }

    fn value(&mut self, newest: Newest, now_ms: u64) -> Result<Vec<Reading>, SensorError> {
        let path = self.reader.path();
        let named = |why: String| SensorError(format!("{path}: {why}"));
        let raw = newest.value.map_err(named)?;
        let late = self.meter.late(now_ms.saturating_sub(newest.at_ms));
        self.meter.read_of(raw, late, newest.at_ms, now_ms)
    }
}

impl Sensor for LineSensor {
    fn name(&self) -> &str {
        &self.name
    }

    fn meter(&self) -> Option<&Meter> {
        Some(&self.meter)
    }

    fn interval(&self) -> Option<Duration> {
        self.every
    }

    fn news(&self) -> Option<Arc<Notify>> {
        self.reader.news(self.at)
    }

    fn blocks(&self) -> bool {
        false
    }

    fn untold(&mut self) {
        self.meter.untold();
    }

    fn read(&mut self, _: TimeMs) -> Result<Vec<Reading>, SensorError> {
        let now_ms = self.clock.steady_ms();
        match self.reader.take(self.at).map_err(SensorError)? {
            Ok(newest) => {
                self.heard_ms = now_ms;
                let read = self.value(newest, now_ms);
                self.failing = read.as_ref().err().map(|why| why.0.clone());
                read
            }
            Err(Quiet::Down(why)) => Err(SensorError(why)),
            Err(Quiet::Open(bad)) => {
                let silent = self.silent(bad, now_ms);
                match silent.or_else(|| self.failing.clone()) {
                    Some(why) => Err(SensorError(why)),
                    None => Ok(Vec::new()),
                }
            }
        }
    }
}
