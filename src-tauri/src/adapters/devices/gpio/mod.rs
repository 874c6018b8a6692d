//! The `gpio` kind: lines of a board. Inputs are read or their edges counted; an output is an actuator, held by this process
//! from its first safe state on.
//!
//! `pins.rs` says what the driver needs of a board and has a twin, `chip.rs` is the Linux character device (feature `gpio`),
//! `actuator.rs` an output.

mod actuator;
#[cfg(all(target_os = "linux", feature = "gpio"))]
mod chip;
mod pins;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use toml::{Table, Value};

use self::actuator::{Does, LineDriver};
use self::pins::{Bias, Board, Edges, Input, Pin, here};
use super::config::{KindKey, actuator, interval, offered, settings};
use super::orders::Order;
use super::point::{Meter, Point, distinct};
use super::registry::{Around, Kind, Made, Settings};
use super::rescue::Ground;
use super::{DeviceError, Reading, Sensor, SensorError, SharedActuator};
use crate::adapters::clock::SharedClock;
use crate::domain::base::TimeMs;
use crate::domain::base::limits::{GPIO_DEBOUNCE_MAX_MS, GPIO_LINE_MAX};
use crate::domain::policy::Offered;

/// Lines of a board.
pub(crate) const KIND: Kind = Kind {
    name: "gpio",
    once: false,
    read: settings::<Gpio>,
    rescue,
};

/// A chip and its lines as the configuration has them.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Gpio {
    #[serde(rename = "kind", alias = "driver", default)]
    _kind: KindKey,
    /// The device's name.
    name: String,
    /// The chip.
    chip: PathBuf,
    /// How often its inputs are read, in milliseconds.
    every_ms: Option<u64>,
    /// Its inputs.
    #[serde(default)]
    reading: Vec<Point<Source>>,
    /// Its outputs.
    #[serde(default)]
    actuator: Vec<Moved>,
}

/// The number of a line, as `gpioinfo` shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Value")]
struct Number(u32);

impl TryFrom<Value> for Number {
    type Error = String;

    fn try_from(value: Value) -> Result<Self, String> {
        let number = value.as_integer().and_then(|n| u32::try_from(n).ok());
        let number = number.filter(|number| *number <= GPIO_LINE_MAX);
        number.map(Self).ok_or_else(|| {
            format!(
                "line: must be the number of the line, 0 to {GPIO_LINE_MAX}, as `gpioinfo` shows it; names are not taken"
            )
        })
    }
}

/// An input.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Source {
    line: Number,
    #[serde(default)]
    active_low: bool,
    bias: Option<Bias>,
    /// Which edges are counted; without it the reading is 1 or 0.
    count: Option<Edges>,
    debounce_ms: Option<u64>,
}

/// An output.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Moved {
    capability: String,
    /// The operation that is its safe state.
    safe: String,
    line: Number,
    /// How it is wired, which nothing is guessed of: the other way round the safe state would be the opposite.
    active_low: bool,
    operation: Vec<Operation>,
}

/// One operation.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Operation {
    name: String,
    on: bool,
}

/// A line of a chip under the one name that it has whatever link leads to it.
fn line_key(chip: &Path, line: u32) -> String {
    let chip = chip.canonicalize().unwrap_or_else(|_| chip.to_owned());
    format!("line {line} of {}", chip.display())
}

impl Moved {
    fn orders(&self, chip: &Path) -> impl Iterator<Item = Order> + '_ {
        let place = line_key(chip, self.line.0);
        self.operation.iter().map(move |o| {
            // What counts is the voltage.
            let level = if o.on == self.active_low {
                "low"
            } else {
                "high"
            };
            let what = format!("{level} on {place}");
            Order {
                actuator: self.capability.clone(),
                operation: o.name.clone(),
                is_safe: o.name == self.safe,
                place: place.clone(),
                key: what.clone(),
                shown: what,
            }
        })
    }

    fn switch(&self, chip: &Path, board: &Arc<dyn Board>) -> Result<LineDriver, DeviceError> {
        let bad = |why: String| DeviceError::Config(format!("actuator {}: {why}", self.capability));
        let names = self.operation.iter().map(|o| &o.name);
        let capability = actuator(&self.capability, names)?;
        let mut operations: Vec<Does> = Vec::new();
        for operation in &self.operation {
            if operations.iter().any(|other| other.name == operation.name) {
                let name = &operation.name;
                return Err(bad(format!("operation.name: {name} is listed twice")));
            }
            operations.push(Does {
                name: operation.name.clone(),
                on: operation.on,
            });
        }
        let safe = operations.iter().find(|o| o.name == self.safe).cloned();
        let safe = safe.ok_or_else(|| {
            bad(format!(
                "safe = {:?} must be one of its operations",
                self.safe
            ))
        })?;
        Ok(LineDriver {
            capability,
            pin: pin(chip, self.line, self.active_low, None),
            operations,
            safe,
            board: board.clone(),
            held: Arc::default(),
            work: Arc::default(),
        })
    }
}

/// A line of a chip.
fn pin(chip: &Path, line: Number, active_low: bool, bias: Option<Bias>) -> Pin {
    Pin {
        chip: chip.to_owned(),
        line: line.0,
        active_low,
        bias,
    }
}

impl Gpio {
    fn build(&self, around: &Around<'_>, board: &Arc<dyn Board>) -> Result<Made, DeviceError> {
        let bad = |why: &str| Err(DeviceError::Config(why.to_owned()));
        if !self.chip.has_root() || self.chip.to_string_lossy().contains(char::is_control) {
            return bad("chip: must be the whole path of a chip, such as /dev/gpiochip0");
        }
        if self.reading.is_empty() && self.actuator.is_empty() {
            return bad("it has neither a reading nor an actuator");
        }
        distinct(self.reading.iter().map(|point| &point.measured))?;
        let every = interval(self.every_ms)?;
        let mut lines = BTreeMap::new();
        let mut one_each = |line: u32, of: String| match lines.insert(line, of.clone()) {
            Some(first) => Err(DeviceError::Config(format!(
                "{of}: line {line} is that of {first} already"
            ))),
            None => Ok(()),
        };
        let mut made = Made::default();
        for moved in &self.actuator {
            one_each(moved.line.0, format!("actuator {}", moved.capability))?;
            let switch = moved.switch(&self.chip, board)?;
            made.actuators.push(Arc::new(switch));
        }
        for point in &self.reading {
            let name = point.measured.name();
            one_each(point.source.line.0, format!("reading {name}"))?;
            let source = &point.source;
            let bad = |why: String| DeviceError::Config(format!("reading {name}: {why}"));
            let debounce_ms = source.debounce_ms.unwrap_or(0);
            if debounce_ms > GPIO_DEBOUNCE_MAX_MS {
                return Err(bad(format!(
                    "debounce_ms: must be at most {GPIO_DEBOUNCE_MAX_MS}"
                )));
            }
            let pin = pin(&self.chip, source.line, source.active_low, source.bias);
            made.sensors.push(Box::new(PinSensor {
                name: format!("{} {name}", self.name),
                every,
                meter: Meter::new(&self.name, point.measured.clone(), around.clock.steady_ms()),
                pin,
                count: source.count,
                debounce_ms,
                board: board.clone(),
                held: None,
                before: 0,
                counted: 0,
                clock: around.clock.clone(),
            }));
        }
        Ok(made)
    }
}

impl Settings for Gpio {
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
        let each = self.actuator.iter();
        each.flat_map(|moved| moved.orders(&self.chip)).collect()
    }

    fn alone_at(&self) -> Option<String> {
        let chip = self.chip.canonicalize();
        let chip = chip.unwrap_or_else(|_| self.chip.clone());
        Some(format!("the chip {}", chip.display()))
    }

    fn make(&self, around: &Around<'_>) -> Result<Made, DeviceError> {
        self.build(around, &here())
    }
}

/// The actuators with their safe operations alone, those of which that is certain.
fn rescue(table: &Table, _: &Ground<'_>) -> Result<Vec<SharedActuator>, String> {
    let all = table.get("actuator");
    let many = all.and_then(Value::as_array).into_iter().flatten();
    let one = all.filter(|value| value.is_table());
    let mut found = Vec::new();
    for moved in many.chain(one).filter_map(Value::as_table) {
        match safe_half(table, moved) {
            Ok(switch) => found.push(Arc::new(switch) as SharedActuator),
            // A table of another kind has no line.
            Err(None) => {}
            Err(Some(why)) => {
                let name = moved.get("capability").map(ToString::to_string);
                let name = name.unwrap_or_else(|| "an actuator".to_owned());
                tracing::error!(
                    "{name} stays as it is: its way to the safe state is not known: {why}"
                );
            }
        }
    }
    Ok(found)
}

/// An output's way to its safe state, from tables of which other parts may be wrong.
fn safe_half(table: &Table, moved: &Table) -> Result<LineDriver, Option<String>> {
    if !moved.contains_key("line") {
        return Err(None);
    }
    let text = |table: &Table, key: &str| {
        let found = table.get(key).and_then(Value::as_str);
        let found = found.filter(|text| !text.contains('\u{fffd}'));
        found
            .map(str::to_owned)
            .ok_or_else(|| Some(format!("there is no {key} that reads")))
    };
    let safe = text(moved, "safe")?;
    let all = moved.get("operation");
    let many = all.and_then(Value::as_array).into_iter().flatten();
    let one = all.filter(|value| value.is_table());
    let all = many.chain(one).filter_map(Value::as_table);
    let named = |table: &&Table| table.get("name").and_then(Value::as_str) == Some(&safe);
    let mut fit = all.filter(named);
    let (Some(operation), None) = (fit.next(), fit.next()) else {
        return Err(Some(format!("there is not one operation {safe:?}")));
    };
    let on = operation.get("on").and_then(Value::as_bool);
    let line = moved.get("line").cloned().map(Number::try_from);
    let active_low = moved.get("active_low").and_then(Value::as_bool);
    let (Some(on), Some(Ok(line)), Some(active_low)) = (on, line, active_low) else {
        return Err(Some("line, active_low or on does not read".to_owned()));
    };
    let chip = PathBuf::from(text(table, "chip")?);
    let half = Moved {
        capability: text(moved, "capability")?,
        line,
        active_low,
        operation: vec![Operation {
            name: safe.clone(),
            on,
        }],
        safe,
    };
    half.switch(&chip, &here()).map_err(|e| Some(e.to_string()))
}

/// One input.
struct PinSensor {
    name: String,
    every: Option<Duration>,
    meter: Meter,
    pin: Pin,
    count: Option<Edges>,
    debounce_ms: u64,
    board: Arc<dyn Board>,
    held: Option<Box<dyn Input>>,
    /// The edges that were counted before the line was taken anew.
    before: u64,
    /// All that were counted.
    counted: u64,
    clock: SharedClock,
}

impl PinSensor {
    fn value(&mut self) -> Result<f64, String> {
        let held = match &mut self.held {
            Some(held) => held,
            None => {
                let taken = self.board.input(&self.pin, self.count, self.debounce_ms)?;
                self.held.insert(taken)
            }
        };
        match self.count {
            None => held.is_on().map(|on| f64::from(u8::from(on))),
            Some(_) => {
                self.counted = self.before.saturating_add(held.edges()?);
                // Exact far beyond what any counter reaches.
                #[allow(clippy::cast_precision_loss)]
                Ok(self.counted as f64)
            }
        }
    }
}

impl Sensor for PinSensor {
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

    fn read(&mut self, _: TimeMs) -> Result<Vec<Reading>, SensorError> {
        let value = self.value();
        let value = value.map_err(|why| {
            // Taken anew the next time; a counter goes on from where it was.
            (self.held, self.before) = (None, self.counted);
            SensorError(why)
        })?;
        self.meter.read(value, None, self.clock.steady_ms())
    }
}
