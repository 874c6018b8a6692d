//! The way to the safe state in a table of which anything else may be wrong.

use std::sync::Arc;

use serde::Deserialize as _;
use toml::{Table, Value};

use super::link::Link;
use super::moves::{Does, Moved, Told};
use super::poll::Poll;
use super::settings::Modbus;
use super::way::Place;
use crate::adapters::devices::SharedActuator;
use crate::adapters::devices::rescue::Ground;
use crate::domain::base::limits::{MODBUS_LIMIT_MAX_MS, MODBUS_LIMIT_MIN_MS};

/// Its actuators, each with its safe operation alone. One whose way is not known hides no other.
pub(super) fn rescue(table: &Table, _: &Ground<'_>) -> Result<Vec<SharedActuator>, String> {
    let place = place(table);
    let mut found = Vec::new();
    let mut problem = None;
    for (number, table) in each(table.get("actuator")).enumerate() {
        let mover = safe_half(table).and_then(|moved| {
            let link = Link::new(place.clone()?, Poll::default());
            moved.mover(number, &link).map_err(|e| e.to_string())
        });
        match mover {
            Ok(mover) => found.push(Arc::new(mover) as SharedActuator),
            Err(why) => {
                let name = table.get("capability").and_then(Value::as_str);
                let why = format!("{}: {why}", name.unwrap_or("an actuator"));
                tracing::error!("it stays as it is: its way to the safe state is not known: {why}");
                problem = Some(why);
            }
        }
    }
    match problem {
        Some(why) if found.is_empty() => Err(why),
        _ => Ok(found),
    }
}

/// The tables of a key, be it one or a list of them.
fn each(value: Option<&Value>) -> impl Iterator<Item = &Table> {
    let many = value.and_then(Value::as_array).into_iter().flatten();
    let one = value.filter(|value| value.is_table()).into_iter();
    many.chain(one).filter_map(Value::as_table)
}

fn text(table: &Table, key: &str) -> Result<String, String> {
    let found = table.get(key).and_then(Value::as_str);
    let found = found.ok_or_else(|| format!("there is no {key}"))?;
    match found.contains('\u{fffd}') {
        true => Err(format!("{key} holds bytes that are no text")),
        false => Ok(found.to_owned()),
    }
}

/// Where the device is: address, or port and speed, and unit have to be there, and whole.
fn place(table: &Table) -> Result<Place, String> {
    let unit = table.get("unit").and_then(Value::as_integer);
    let unit = unit.and_then(|unit| u8::try_from(unit).ok());
    let limit = table.get("timeout_ms").and_then(Value::as_integer);
    let limit = limit.and_then(|ms| u64::try_from(ms).ok());
    let number = |key: &str| match table.get(key) {
        None => Ok(None),
        Some(found) => {
            let number = found.as_integer().map(u32::try_from);
            let number = number.and_then(Result::ok).map(Some);
            number.ok_or_else(|| format!("{key} is no number"))
        }
    };
    let parity = table.get("parity").cloned().map(Value::try_into);
    let stop_bits = number("stop_bits")?.map(u8::try_from).transpose();
    let given = |key: &str| {
        table
            .contains_key(key)
            .then(|| text(table, key))
            .transpose()
    };
    let device = Modbus {
        address: given("address")?,
        serial: given("serial")?.map(Into::into),
        baud: number("baud")?,
        parity: parity
            .transpose()
            .map_err(|_| "parity is none".to_owned())?,
        stop_bits: stop_bits.map_err(|_| "stop_bits is none".to_owned())?,
        unit: unit.ok_or_else(|| "there is no unit".to_owned())?,
        // One that cannot be used: the usual time.
        timeout_ms: limit.filter(|ms| (MODBUS_LIMIT_MIN_MS..=MODBUS_LIMIT_MAX_MS).contains(ms)),
        ..Modbus::default()
    };
    device.place().map_err(|e| e.to_string())
}

/// An actuator's way to its safe state, from a table.
fn safe_half(table: &Table) -> Result<Moved, String> {
    let safe = text(table, "safe")?;
    let named = |o: &&Table| o.get("name").and_then(Value::as_str) == Some(&safe);
    let mut fit = each(table.get("operation")).filter(named);
    let (Some(operation), None) = (fit.next(), fit.next()) else {
        return Err(format!("there is not one operation {safe:?}"));
    };
    let write = operation.get("write").cloned();
    let write = write.ok_or_else(|| format!("operation {safe:?} has no write"))?;
    // Nothing in it may be unknown: a misspelled key would write something else.
    let does = Does {
        name: safe.clone(),
        write: write
            .try_into()
            .map_err(|e: toml::de::Error| e.message().to_owned())?,
    };
    let feedback = table.get("feedback").cloned();
    let feedback = feedback.and_then(|told| Told::deserialize(told).ok());
    Ok(Moved {
        capability: text(table, "capability")?,
        // One that cannot be used: what was written is read back instead.
        feedback: feedback.filter(|told| told.feedback().is_ok()),
        heartbeat: None,
        operation: vec![does],
        safe,
    })
}
