//! The `modbus` kind in the configuration: the connection, its readings and its actuators.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;

use super::actuator::Mover;
use super::link::Link;
use super::moves::{Moved, one_writer};
use super::poll::{Member, Poll};
use super::register::{Register, form, span};
use super::rescue::rescue;
use super::sensor::RegisterSensor;
use super::value::{Form, Order, Type};
use super::way::Place;
use super::wire::Span;
use crate::adapters::devices::config::{KindKey, interval, offered, settings};
use crate::adapters::devices::orders::{self, host_key};
use crate::adapters::devices::point::{Meter, Point, distinct};
use crate::adapters::devices::port::{Parity, Wiring};
use crate::adapters::devices::registry::{Around, Kind, Made, Settings};
use crate::adapters::devices::{DeviceError, Sensor, SharedActuator};
use crate::domain::base::limits::{
    MODBUS_LIMIT_MAX_MS, MODBUS_LIMIT_MIN_MS, MODBUS_LIMIT_MS, MODBUS_PORT, MODBUS_REGISTERS_MAX,
    RTU_UNIT_MAX,
};
use crate::domain::policy::Offered;

/// Devices that speak Modbus TCP, or Modbus RTU over a serial line.
pub(crate) const KIND: Kind = Kind {
    name: "modbus",
    once: false,
    read: settings::<Modbus>,
    rescue,
};

/// A device as the configuration has it.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Modbus {
    #[serde(rename = "kind", alias = "driver", default)]
    pub _kind: KindKey,
    /// The device's name.
    pub name: String,
    /// Host and port, of one that speaks Modbus TCP.
    pub address: Option<String>,
    /// The serial port of the line on which it is, with the speed of that line.
    pub serial: Option<PathBuf>,
    pub baud: Option<u32>,
    pub parity: Option<Parity>,
    pub stop_bits: Option<u8>,
    /// The number by which it answers.
    pub unit: u8,
    /// The longest that one answer may take, in milliseconds.
    pub timeout_ms: Option<u64>,
    /// How often its readings are read, in milliseconds.
    pub every_ms: Option<u64>,
    /// The most registers that are read at once.
    pub most_registers: Option<u16>,
    /// Its readings.
    #[serde(default)]
    pub reading: Vec<Point<Source>>,
    /// Its actuators.
    #[serde(default)]
    pub actuator: Vec<Moved>,
}

/// Where a reading is.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Source {
    register: Register,
    #[serde(rename = "type")]
    of: Option<Type>,
    order: Option<Order>,
    bit: Option<u8>,
    #[serde(default)]
    invalid: Vec<f64>,
}

impl Modbus {
    /// Where it is.
    pub(super) fn place(&self) -> Result<Place, DeviceError> {
        let limit = self.timeout_ms.unwrap_or(MODBUS_LIMIT_MS);
        if !(MODBUS_LIMIT_MIN_MS..=MODBUS_LIMIT_MAX_MS).contains(&limit) {
            return Err(DeviceError::Config(format!(
                "timeout_ms: must be {MODBUS_LIMIT_MIN_MS} to {MODBUS_LIMIT_MAX_MS}"
            )));
        }
        let wiring = self.wiring().map_err(DeviceError::Config)?;
        let address = match (&self.address, &wiring) {
            (Some(address), None) => host_and_port(address).map_err(DeviceError::Config)?,
            (None, Some(wiring)) => wiring.path.display().to_string(),
            _ => {
                let why = "give either address, such as \"192.168.1.20:502\", or serial, such as \"/dev/ttyUSB0\"";
                return Err(DeviceError::Config(why.to_owned()));
            }
        };
        Ok(Place {
            address,
            wiring,
            unit: self.unit,
            limit: Duration::from_millis(limit),
        })
    }

    /// The serial port, where it is on one.
    fn wiring(&self) -> Result<Option<Wiring>, String> {
        let Some(path) = &self.serial else {
            let said = [
                ("baud", self.baud.is_some()),
                ("parity", self.parity.is_some()),
                ("stop_bits", self.stop_bits.is_some()),
            ];
            return match said.iter().find(|(_, is)| *is) {
                Some((key, _)) => Err(format!(
                    "{key}: goes with serial, the path of a serial port"
                )),
                None => Ok(None),
            };
        };
        let (Some(baud), Some(parity)) = (self.baud, self.parity) else {
            return Err(
                "baud and parity: both are needed with serial, as the manual of the device says them".to_owned(),
            );
        };
        if !(1..=RTU_UNIT_MAX).contains(&self.unit) {
            return Err(format!(
                "unit: must be 1 to {RTU_UNIT_MAX} on a serial line"
            ));
        }
        Wiring::new(path, baud, parity, self.stop_bits).map(Some)
    }

    /// A reading here is of the moment or there is none: how late it may be says nothing.
    fn check_late(&self) -> Result<(), DeviceError> {
        let is_late = |point: &&Point<Source>| {
            let meter = Meter::new(&self.name, point.measured.clone(), 0);
            meter.late(u64::MAX).is_some()
        };
        self.reading.iter().find(is_late).map_or(Ok(()), |point| {
            Err(DeviceError::Config(format!(
                "reading {}: check.late_sec: says nothing of a device that is asked; leave it out",
                point.measured.name()
            )))
        })
    }

    /// Its readings: where each is.
    fn sources(&self) -> Result<Vec<(Span, Form)>, DeviceError> {
        let each = self.reading.iter().map(|point| {
            let Source {
                register,
                of,
                order,
                bit,
                ..
            } = point.source;
            let form = form(register.table, of, order, bit)?;
            Ok((span(register.table, register.at, form)?, form))
        });
        let named = each.zip(&self.reading).map(|(read, point)| {
            read.map_err(|why: String| {
                DeviceError::Config(format!("reading {}: {why}", point.measured.name()))
            })
        });
        named.collect()
    }
}

impl Settings for Modbus {
    fn subject(&self) -> &str {
        &self.name
    }

    fn offers(&self) -> Vec<Offered> {
        let each = self.actuator.iter();
        let each = each.flat_map(|a| {
            offered(
                &a.capability,
                a.operation.iter().map(|o| &o.name),
                &a.safe,
                false,
            )
        });
        each.collect()
    }

    fn orders(&self) -> Vec<orders::Order> {
        let Some(place) = self.alone_at() else {
            return Vec::new();
        };
        let each = self.actuator.iter();
        each.flat_map(|moved| moved.orders(&place)).collect()
    }

    fn alone_at(&self) -> Option<String> {
        let place = self.place().ok()?;
        let at = match &place.wiring {
            Some(wiring) => wiring.place(),
            None => {
                let (host, port) = place.address.rsplit_once(':')?;
                format!("{}:{port}", host_key(host))
            }
        };
        Some(format!("unit {} at {at}", place.unit))
    }

    fn shares(&self) -> Option<(String, String)> {
        let wiring = self.wiring().ok()??;
        let how = format!("Modbus at {}, {}", wiring.path.display(), wiring.set());
        Some((wiring.place(), how))
    }

    fn make(&self, around: &Around<'_>) -> Result<Made, DeviceError> {
        distinct(self.reading.iter().map(|point| &point.measured))?;
        let (place, every) = (self.place()?, interval(self.every_ms)?);
        let most = self.most_registers.unwrap_or(MODBUS_REGISTERS_MAX);
        if !(1..=MODBUS_REGISTERS_MAX).contains(&most) {
            let why = format!("most_registers: must be 1 to {MODBUS_REGISTERS_MAX}");
            return Err(DeviceError::Config(why));
        }
        if self.reading.is_empty() && self.actuator.is_empty() {
            let why = "it has neither a reading nor an actuator";
            return Err(DeviceError::Config(why.to_owned()));
        }
        self.check_late()?;
        let sources = self.sources()?;
        let members = sources.iter().map(|(span, _)| Member {
            span: *span,
            slot: Arc::default(),
        });
        let members: Vec<Member> = members.collect();
        let link = Link::new(place, Poll::new(members.clone(), most));
        let movers = self.actuator.iter().enumerate();
        let movers = movers.map(|(number, moved)| moved.mover(number, &link));
        let movers = movers.collect::<Result<Vec<Mover>, _>>()?;
        one_writer(&movers)?;
        let sensors = self.reading.iter().zip(sources).zip(members).enumerate();
        let sensors = sensors.map(|(member, ((point, (span, form)), own))| {
            let sensor = RegisterSensor {
                name: format!("{} {}", self.name, point.measured.name()),
                register: span.to_string(),
                every,
                meter: Meter::new(&self.name, point.measured.clone(), around.clock.steady_ms()),
                form,
                invalid: point.source.invalid.clone(),
                member,
                slot: own.slot,
                link: link.clone(),
                clock: around.clock.clone(),
                failing: None,
            };
            Box::new(sensor) as Box<dyn Sensor>
        });
        Ok(Made {
            sensors: sensors.collect(),
            actuators: movers
                .into_iter()
                .map(|m| Arc::new(m) as SharedActuator)
                .collect(),
        })
    }
}

/// Host and port of a device in one spelling.
fn host_and_port(address: &str) -> Result<String, String> {
    let (host, port) = match address.rsplit_once(':') {
        Some((host, port)) if !host.contains(':') || host.ends_with(']') => (host, Some(port)),
        _ => (address, None),
    };
    let odd = |c: char| c.is_whitespace() || c.is_control() || c == '/';
    let is_host = !host.is_empty() && !host.contains(odd);
    let port = port.map_or(Ok(MODBUS_PORT), str::parse::<u16>);
    let Some(port) = port.ok().filter(|port| is_host && *port != 0) else {
        return Err("address: must be a host and a port, such as \"192.168.1.20:502\"".to_owned());
    };
    // An IPv6 address without a port has no brackets yet.
    let host = match host.contains(':') && !host.starts_with('[') {
        true => format!("[{host}]"),
        false => host.to_owned(),
    };
    Ok(format!("{host}:{port}"))
}
