//! Readings of the machine the node runs on: processor, memory, disks, temperatures, network.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use sysinfo::{Components, Disks, MemoryRefreshKind, Networks, RefreshKind, System};
use toml::Table;

use super::config::{KindKey, settings};
use super::registry::{Around, Kind, Made, Settings};
use super::rescue::Ground;
use super::{DeviceError, Reading, Sensor, SensorError, SharedActuator};
use crate::domain::base::TimeMs;
use crate::domain::base::limits::HOST_SENSOR_PARTS_MAX;

const ZONE: &str = "host";

/// The machine itself.
pub(crate) const KIND: Kind = Kind {
    name: "host",
    once: true,
    read: settings::<Host>,
    rescue,
};

/// The machine as the configuration has it: there is nothing to say.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Host {
    #[serde(rename = "kind", alias = "driver", default)]
    _kind: KindKey,
}

impl Settings for Host {
    fn make(&self, around: &Around<'_>) -> Result<Made, DeviceError> {
        Ok(Made {
            actuators: Vec::new(),
            sensors: vec![Box::new(HostSensor::new(around.dir.root()))],
        })
    }
}

fn rescue(_: &Table, _: &Ground<'_>) -> Result<Vec<SharedActuator>, String> {
    Ok(Vec::new())
}

/// Reads the machine.
pub(crate) struct HostSensor {
    opened: bool,
    system: Option<System>,
    networks: Option<Networks>,
    state_dir: PathBuf,
    last: Option<TimeMs>,
}

impl HostSensor {
    /// A sensor that also watches the disk `state_dir` lies on.
    pub(crate) fn new(state_dir: &Path) -> Self {
        Self {
            opened: false,
            system: None,
            networks: None,
            state_dir: state_dir.to_path_buf(),
            last: None,
        }
    }

    /// Looks at the machine for the first time, on the thread that reads.
    fn open(&mut self) {
        if !self.opened {
            let refresh = RefreshKind::nothing().with_memory(MemoryRefreshKind::everything());
            self.system = System::new_with_specifics(refresh).ok();
            self.networks = Networks::new_with_refreshed_list().ok();
            self.opened = true;
        }
    }

    fn processor(&mut self, out: &mut Vec<Reading>) {
        if let Some(system) = &mut self.system {
            system.refresh_cpu_usage();
            // The first look has nothing to compare with, so it says nothing about load.
            if self.last.is_some() {
                out.push(Reading::new(
                    "cpu.load",
                    ZONE,
                    round(f64::from(system.global_cpu_usage())),
                    "%",
                ));
            }
        }
        if let Ok(average) = System::load_average() {
            out.push(Reading::new(
                "cpu.load-average-1m",
                ZONE,
                round(average.one),
                "",
            ));
        }
        if let Ok(uptime) = System::uptime() {
            out.push(Reading::new("host.uptime", ZONE, whole(uptime), "s"));
        }
    }

    fn memory(&mut self, out: &mut Vec<Reading>) {
        let Some(system) = &mut self.system else {
            return;
        };
        system.refresh_memory();
        let (total, used) = (system.total_memory(), system.used_memory());
        if total > 0 {
            out.push(Reading::new("memory.used", ZONE, whole(used), "bytes"));
            out.push(Reading::new(
                "memory.used-share",
                ZONE,
                round(100.0 * whole(used) / whole(total)),
                "%",
            ));
        }
    }

    fn disk(&self, out: &mut Vec<Reading>) {
        let Ok(disks) = Disks::new_with_refreshed_list() else {
            return;
        };
        let home = disks
            .iter()
            .filter(|d| self.state_dir.starts_with(d.mount_point()))
            .max_by_key(|d| d.mount_point().as_os_str().len());
        if let Some(disk) = home.filter(|d| d.total_space() > 0) {
            let (free, total) = (disk.available_space(), disk.total_space());
            out.push(Reading::new("disk.free", ZONE, whole(free), "bytes"));
            out.push(Reading::new(
                "disk.free-share",
                ZONE,
                round(100.0 * whole(free) / whole(total)),
                "%",
            ));
        }
    }

    fn network(&mut self, now: TimeMs, out: &mut Vec<Reading>) {
        let Some(networks) = &mut self.networks else {
            return;
        };
        networks.refresh(true);
        let (mut received, mut sent) = (0u64, 0u64);
        for (_, data) in networks.iter().filter(|(name, _)| *name != "lo") {
            received = received.saturating_add(data.received());
            sent = sent.saturating_add(data.transmitted());
        }
        if let Some(last) = self.last.filter(|last| now > *last) {
            let seconds = whole(now.since(last)) / 1_000.0;
            out.push(Reading::new(
                "net.received",
                ZONE,
                round(whole(received) / seconds),
                "bytes/s",
            ));
            out.push(Reading::new(
                "net.sent",
                ZONE,
                round(whole(sent) / seconds),
                "bytes/s",
            ));
        }
    }
}

fn temperatures(out: &mut Vec<Reading>) {
    let Ok(components) = Components::new_with_refreshed_list() else {
        return;
    };
    for component in components.iter().take(HOST_SENSOR_PARTS_MAX) {
        let Some(celsius) = component.temperature().filter(|t| t.is_finite()) else {
            continue;
        };
        let label: String = component
            .label()
            .chars()
            .map(|c| {
                if c.is_ascii_alphanumeric() {
                    c.to_ascii_lowercase()
                } else {
                    '-'
                }
            })
            .collect();
        out.push(Reading::new(
            format!("temperature.{}", label.get(..40).unwrap_or(&label)),
            ZONE,
            round(f64::from(celsius)),
            "°C",
        ));
    }
}

fn round(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}

/// A count as a reading; exact up to 2^53, which no byte count of a machine reaches.
#[allow(clippy::cast_precision_loss)]
fn whole(n: u64) -> f64 {
    n as f64
}

impl Sensor for HostSensor {
    fn name(&self) -> &'static str {
        "host"
    }

    fn read(&mut self, now: TimeMs) -> Result<Vec<Reading>, SensorError> {
        self.open();
        let mut out = Vec::new();
        self.processor(&mut out);
        self.memory(&mut out);
        self.disk(&mut out);
        temperatures(&mut out);
        self.network(now, &mut out);
        self.last = Some(now);
        out.retain(|r| r.value.is_finite());
        Ok(out)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn real_readings_of_this_machine() {
        let mut sensor = HostSensor::new(Path::new("/"));
        let first = sensor.read(TimeMs(1_000)).unwrap();
        let second = sensor.read(TimeMs(3_000)).unwrap();
        let value = |list: &[Reading], metric: &str| {
            list.iter().find(|r| r.metric == metric).map(|r| r.value)
        };
        assert!(
            value(&first, "memory.used").is_some_and(|v| v > 1e6),
            "{first:?}"
        );
        assert_eq!(value(&first, "cpu.load"), None, "one look is no load");
        assert!(value(&second, "cpu.load").is_some_and(|v| (0.0..=100.0).contains(&v)));
        assert!(value(&second, "net.received").is_some_and(|v| v >= 0.0));
        assert!(value(&second, "disk.free-share").is_none_or(|v| (0.0..=100.0).contains(&v)));
    }
}
