//! The actuators of a device in the configuration: what is written, read back and kept alive.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use serde::Deserialize;

use super::actuator::{Feedback, From, Mover, Operation, Written};
use super::link::{Beat, Link};
use super::register::{TableName, form, span};
use super::value::{Form, Order, Type};
use super::wire::{Span, Table};
use crate::adapters::devices::DeviceError;
use crate::adapters::devices::config::actuator;
use crate::adapters::devices::orders;
use crate::domain::base::limits::{
    MODBUS_BEAT_MAX_SEC, MODBUS_BEAT_MIN_SEC, MODBUS_WITHIN_MAX_MS, MODBUS_WITHIN_MS,
};

/// One actuator.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Moved {
    /// Its name.
    pub capability: String,
    /// The operation that is its safe state.
    pub safe: String,
    /// Where the device tells that it is there.
    pub feedback: Option<Told>,
    /// Heartbeat while it is not.
    pub heartbeat: Option<Beats>,
    /// Its operations.
    pub operation: Vec<Does>,
}

/// One operation.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Does {
    /// Its name.
    pub name: String,
    /// Its write.
    pub write: Write,
}

/// A number as TOML has it; `true` is 1.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(untagged)]
pub(super) enum Number {
    /// On or off.
    Bool(bool),
    /// A number.
    Number(f64),
}

impl Number {
    fn value(self) -> f64 {
        match self {
            Self::Bool(is) => f64::from(u8::from(is)),
            Self::Number(number) => number,
        }
    }
}

/// An operation's write: a value, or that of a parameter.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Write {
    table: TableName,
    at: u16,
    value: Option<Number>,
    from: Option<String>,
    #[serde(rename = "type")]
    of: Option<Type>,
    order: Option<Order>,
    scale: Option<f64>,
    offset: Option<f64>,
    min: Option<f64>,
    max: Option<f64>,
    function: Option<u8>,
}

/// Where a device says that an actuator is in its safe state.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Told {
    table: TableName,
    at: u16,
    value: Number,
    #[serde(rename = "type")]
    of: Option<Type>,
    order: Option<Order>,
    bit: Option<u8>,
    tolerance: Option<f64>,
    within_ms: Option<u64>,
}

/// The register of a device's watchdog.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Beats {
    table: TableName,
    at: u16,
    every_sec: f64,
    value: Option<u16>,
}

impl Write {
    fn operation(&self, name: &str) -> Result<Operation, String> {
        let table = self.table.0;
        if matches!(table, Table::Discrete | Table::Input) {
            return Err(format!(
                "table: a {table} cannot be written; use coil or holding"
            ));
        }
        let form = form(table, self.of, self.order, None)?;
        let many = match (self.function, table.is_bits()) {
            (None, _) | (Some(5), true) => false,
            (Some(6), false) if form.registers() == 1 => false,
            (Some(15), true) | (Some(16), false) => true,
            _ => {
                let why = "function: must be 5 or 15 for a coil, 6 or 16 for a register, 16 for more than one";
                return Err(why.to_owned());
            }
        };
        let scaled = [self.scale, self.offset, self.min, self.max];
        let written = match (&self.value, &self.from) {
            (Some(value), None) if scaled.iter().all(Option::is_none) => {
                let words = form.words(value.value());
                Written::Fixed(words.map_err(|why| format!("value: {why}"))?)
            }
            (Some(_), None) => {
                let why = "scale, offset, min and max go with from, not with value";
                return Err(why.to_owned());
            }
            (None, Some(param)) => Written::From(self.parameter(param, form)?),
            _ => return Err("give either value or from".to_owned()),
        };
        Ok(Operation {
            name: name.to_owned(),
            span: span(table, self.at, form)?,
            many,
            written,
        })
    }

    fn parameter(&self, param: &str, form: Form) -> Result<From, String> {
        let (Some(min), Some(max)) = (self.min, self.max) else {
            return Err("min and max: both are needed with from".to_owned());
        };
        let (scale, offset) = (self.scale.unwrap_or(1.0), self.offset.unwrap_or(0.0));
        if !(min.is_finite() && max.is_finite() && min <= max) {
            return Err("min: must be a number no greater than max".to_owned());
        }
        if !(scale.is_finite() && scale != 0.0 && offset.is_finite()) {
            return Err("scale: must be a number other than 0, and offset a number".to_owned());
        }
        let from = From {
            param: param.to_owned(),
            scale,
            offset,
            bounds: [min, max],
            form,
        };
        // Values within the bounds have to fit into the register.
        for end in [min, max] {
            let raw = (end - offset) / scale;
            let raw = if form.is_whole() { raw.round() } else { raw };
            let fits = form.words(raw);
            fits.map_err(|why| format!("min and max: {end} cannot be written: {why}"))?;
        }
        Ok(from)
    }
}

impl Told {
    pub(super) fn feedback(&self) -> Result<Feedback, String> {
        let form = form(self.table.0, self.of, self.order, self.bit)?;
        let tolerance = self.tolerance.unwrap_or(0.0);
        let within = self.within_ms.unwrap_or(MODBUS_WITHIN_MS);
        if !(tolerance.is_finite() && tolerance >= 0.0) {
            return Err("tolerance: must be a number that is not negative".to_owned());
        }
        if !self.value.value().is_finite() {
            return Err("value: must be a number".to_owned());
        }
        if within > MODBUS_WITHIN_MAX_MS {
            return Err(format!("within_ms: must be at most {MODBUS_WITHIN_MAX_MS}"));
        }
        Ok(Feedback {
            span: span(self.table.0, self.at, form)?,
            form,
            value: self.value.value(),
            tolerance,
            within: Duration::from_millis(within),
        })
    }
}

impl Beats {
    fn beat(&self) -> Result<Beat, String> {
        let (table, at) = (self.table.0, self.at);
        if matches!(table, Table::Discrete | Table::Input) {
            return Err(format!(
                "table: a {table} cannot be written; use coil or holding"
            ));
        }
        if !(MODBUS_BEAT_MIN_SEC..=MODBUS_BEAT_MAX_SEC).contains(&self.every_sec) {
            return Err(format!(
                "every_sec: must be {MODBUS_BEAT_MIN_SEC} to {MODBUS_BEAT_MAX_SEC}"
            ));
        }
        if table.is_bits() && self.value.is_some_and(|value| value > 1) {
            return Err("value: a coil is 0 or 1".to_owned());
        }
        Ok(Beat {
            span: Span {
                table,
                at,
                count: 1,
            },
            every: Duration::from_secs_f64(self.every_sec),
            fixed: self.value,
        })
    }
}

impl Moved {
    /// What its operations write at this device; one with a parameter may write anything.
    pub(super) fn orders(&self, place: &str) -> Vec<orders::Order> {
        let each = self.operation.iter().filter_map(|does| {
            let operation = does.write.operation(&does.name).ok()?;
            let Written::Fixed(words) = operation.written else {
                return None;
            };
            let what = format!("{words:?} to {} of {place}", operation.span);
            Some(orders::Order {
                actuator: self.capability.clone(),
                operation: does.name.clone(),
                is_safe: does.name == self.safe,
                place: format!("{} of {place}", operation.span),
                key: what.clone(),
                shown: what,
            })
        });
        each.collect()
    }

    /// What proves it safe is what the safe operation wrote, unless the device says more: then every operation has to write
    /// there.
    fn check_proof(&self, operations: &[Operation], safe: &Operation) -> Result<(), String> {
        let elsewhere = operations.iter().find(|other| other.span != safe.span);
        let Some(other) = elsewhere.filter(|_| self.feedback.is_none()) else {
            return Ok(());
        };
        Err(format!(
            "operation.write of {}: it writes {} and the safe operation {} writes {}, so reading that one back does not tell whether \
             the actuator is safe; write both to the same place, or say with feedback where the device tells that it stands still",
            other.name, other.span, safe.name, safe.span
        ))
    }

    /// The actuator over this connection.
    pub(super) fn mover(&self, number: usize, link: &Link) -> Result<Mover, DeviceError> {
        let named = |why: String| DeviceError::Config(format!("{}: {why}", self.capability));
        let capability = actuator(&self.capability, self.operation.iter().map(|o| &o.name))?;
        let mut operations: Vec<Operation> = Vec::new();
        for does in &self.operation {
            let name = &does.name;
            let operation = does.write.operation(name);
            let operation =
                operation.map_err(|why| named(format!("operation.write of {name}: {why}")))?;
            if operations.iter().any(|other| other.name == *name) {
                return Err(named(format!("operation.name: {name} is listed twice")));
            }
            operations.push(operation);
        }
        let safe = operations.iter().find(|o| o.name == self.safe).cloned();
        let safe = safe.ok_or_else(|| {
            named(format!(
                "safe = {:?} must be one of its operations",
                self.safe
            ))
        })?;
        let Written::Fixed(words) = safe.written.clone() else {
            let why = format!(
                "operation.write of {}: the safe state must be a value",
                safe.name
            );
            return Err(named(why));
        };
        self.check_proof(&operations, &safe).map_err(named)?;
        let feedback = self.feedback.as_ref().map(Told::feedback).transpose();
        let beat = self.heartbeat.as_ref().map(Beats::beat).transpose();
        Ok(Mover {
            capability,
            number,
            link: link.clone(),
            operations,
            safe: (safe, words),
            feedback: feedback.map_err(|why| named(format!("feedback.{why}")))?,
            beat: beat.map_err(|why| named(format!("heartbeat.{why}")))?,
            doubtful: Mutex::new(true),
            stays: AtomicBool::new(false),
        })
    }
}

/// No two actuators may write the same register: one would undo what the other does. And no heartbeat may.
///
/// # Errors
/// [`DeviceError::Config`] naming the second.
pub(super) fn one_writer(movers: &[Mover]) -> Result<(), DeviceError> {
    let mut writers: BTreeMap<(Table, u32), usize> = BTreeMap::new();
    for mover in movers {
        for span in mover.operations.iter().map(|operation| operation.span) {
            let first = u32::from(span.at);
            for at in first..first + u32::from(span.count) {
                let writer = *writers.entry((span.table, at)).or_insert(mover.number);
                if writer != mover.number {
                    return Err(DeviceError::Config(format!(
                        "{}: {}:{at} is written by another actuator of this device",
                        mover.capability, span.table
                    )));
                }
            }
        }
    }
    // A heartbeat must move nothing.
    for mover in movers {
        let Some(beat) = &mover.beat else { continue };
        if writers.contains_key(&(beat.span.table, u32::from(beat.span.at))) {
            let (name, span) = (&mover.capability, beat.span);
            let why = format!("{name}: heartbeat: {span} is what an operation writes");
            return Err(DeviceError::Config(why));
        }
    }
    Ok(())
}
