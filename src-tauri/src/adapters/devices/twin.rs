//! Twins of devices, for rehearsals and practice: an actuator that only writes down what it is told, and a sensor that
//! measures what a file says. Nothing outside its folder moves.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};
use toml::Table;

use super::config::{KindKey, actuator, offered, settings};
use super::point::{Meter, Point, distinct};
use super::registry::{Around, Kind, Made, Settings};
use super::rescue::Ground;
use super::{
    Actuator, DeviceError, DriverError, Position, Reading, Sensor, SensorError, SharedActuator,
    unknown,
};
use crate::adapters::clock::SharedClock;
use crate::adapters::files;
use crate::domain::base::TimeMs;
use crate::domain::base::limits::{TWIN_BEHAVIOUR_MAX_BYTES, TWIN_JOURNAL_MAX_BYTES};
use crate::domain::capability::Capability;
use crate::domain::gate::Act;
use crate::domain::policy::Offered;

/// The commands to the twins of a folder, one JSON object a line.
const JOURNAL: &str = "journal.jsonl";
/// How the twins of a folder behave; see [`Behaviour`].
pub const BEHAVIOUR: &str = "behaviour.json";

/// Twins of devices.
pub(crate) const KIND: Kind = Kind {
    name: "twin",
    once: false,
    read: settings::<Twins>,
    rescue,
};

/// The twins as the configuration has them.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Twins {
    #[serde(rename = "kind", alias = "driver", default)]
    _kind: KindKey,
    /// The device's name.
    name: String,
    /// The folder with their journal and behaviour, absolute.
    folder: PathBuf,
    /// Its actuators.
    #[serde(default)]
    actuator: Vec<Moved>,
    /// Its readings.
    #[serde(default)]
    reading: Vec<Point<Fixed>>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Moved {
    capability: String,
    operations: Vec<String>,
    safe: String,
}

/// The reading unless the behaviour sets another.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Fixed {
    value: f64,
}

/// A command to a twin.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    /// When, by the machine's boot clock, in milliseconds.
    pub at: u64,
    /// The actuator.
    pub target: String,
    /// The operation.
    pub operation: String,
    /// Whether it is in its safe state after it.
    pub safe: bool,
}

/// How the twins of a folder behave from now on.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Behaviour {
    /// The value of a metric; `None` where its sensor has fallen silent. A metric that is not named has its fixed value.
    pub readings: std::collections::BTreeMap<String, Option<f64>>,
    /// The actuators that refuse everything, also their safe state.
    pub refuse: std::collections::BTreeSet<String>,
}

impl Behaviour {
    /// Of a folder; as usual where it has none.
    fn of(folder: &Path) -> Result<Self, String> {
        let file = folder.join(BEHAVIOUR);
        let text = match files::read_text(&file, TWIN_BEHAVIOUR_MAX_BYTES) {
            Ok(text) => text,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(e) => return Err(format!("{}: {e}", file.display())),
        };
        serde_json::from_str(&text).map_err(|e| format!("{}: {e}", file.display()))
    }
}

impl Settings for Twins {
    fn subject(&self) -> &str {
        &self.name
    }

    fn offers(&self) -> Vec<Offered> {
        let of = |moved: &Moved| {
            offered(
                &moved.capability,
                moved.operations.iter(),
                &moved.safe,
                false,
            )
        };
        self.actuator.iter().flat_map(of).collect()
    }

    fn make(&self, around: &Around<'_>) -> Result<Made, DeviceError> {
        let bad = |why: String| DeviceError::Config(why);
        if !self.folder.is_absolute() {
            return Err(bad("folder: must be an absolute path".to_owned()));
        }
        distinct(self.reading.iter().map(|point| &point.measured))?;
        let actuators = self.actuator.iter().map(|moved| {
            let capability = actuator(&moved.capability, &moved.operations)?;
            if !moved.operations.contains(&moved.safe) {
                let safe = &moved.safe;
                return Err(bad(format!(
                    "safe: {safe:?} is none of the operations of {capability}"
                )));
            }
            let twin: SharedActuator = Arc::new(Twin {
                capability,
                moved: moved.clone(),
                folder: self.folder.clone(),
                clock: around.clock.clone(),
            });
            Ok(twin)
        });
        let sensors = self.reading.iter().map(|point| {
            let sensor = TwinSensor {
                name: format!("{} {}", self.name, point.measured.name()),
                metric: point.measured.metric.clone(),
                fixed: point.source.value,
                meter: Meter::new(&self.name, point.measured.clone(), around.clock.steady_ms()),
                folder: self.folder.clone(),
                clock: around.clock.clone(),
            };
            Box::new(sensor) as Box<dyn Sensor>
        });
        Ok(Made {
            actuators: actuators.collect::<Result<_, _>>()?,
            sensors: sensors.collect(),
        })
    }
}

/// Nothing of a twin can be left on.
fn rescue(_: &Table, _: &Ground<'_>) -> Result<Vec<SharedActuator>, String> {
    Ok(Vec::new())
}

/// An actuator that writes down what it is told.
struct Twin {
    capability: Capability,
    moved: Moved,
    folder: PathBuf,
    clock: SharedClock,
}

impl Twin {
    /// Writes an operation down, on disk before it counts as done.
    async fn told(&self, operation: &str) -> Result<(), DriverError> {
        let told = Told {
            at: self.clock.steady_ms(),
            target: self.capability.to_string(),
            operation: operation.to_owned(),
            safe: operation == self.moved.safe,
        };
        let folder = self.folder.clone();
        let failed = |why: String| DriverError::Failed(why);
        tokio::task::spawn_blocking(move || note(&folder, &told))
            .await
            .map_err(|e| failed(e.to_string()))?
            .map_err(failed)
    }
}

fn note(folder: &Path, told: &Told) -> Result<(), String> {
    if Behaviour::of(folder)?.refuse.contains(&told.target) {
        return Err("its twin was told to refuse".to_owned());
    }
    let mut line = serde_json::to_string(told).map_err(|e| e.to_string())?;
    line.push('\n');
    let path = folder.join(JOURNAL);
    let wrote = || -> io::Result<()> {
        let mut file: File = OpenOptions::new().create(true).append(true).open(&path)?;
        if file.metadata()?.len() > TWIN_JOURNAL_MAX_BYTES {
            file.set_len(0)?;
        }
        file.write_all(line.as_bytes())?;
        file.sync_data()
    };
    wrote().map_err(|e| format!("{}: {e}", path.display()))
}

/// The commands to the twins of a folder, oldest first.
///
/// # Errors
/// If the journal is there and does not read.
pub fn journal(folder: &Path) -> Result<Vec<Told>, String> {
    let path = folder.join(JOURNAL);
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(format!("{}: {e}", path.display())),
    };
    // The last line may be half written.
    let whole = text.split_inclusive('\n').filter(|l| l.ends_with('\n'));
    whole
        .map(|line| serde_json::from_str(line).map_err(|e| format!("{}: {e}", path.display())))
        .collect()
}

impl Actuator for Twin {
    fn capability(&self) -> &Capability {
        &self.capability
    }

    fn safe_operation(&self) -> Option<String> {
        Some(self.moved.safe.clone())
    }

    fn operations(&self) -> Vec<String> {
        self.moved.operations.clone()
    }

    fn act(&self, act: Act) -> BoxFuture<'_, Result<(), DriverError>> {
        async move {
            let operation = &act.action().operation;
            match self.moved.operations.contains(operation) {
                true => self.told(operation).await,
                false => Err(unknown(self, operation)),
            }
        }
        .boxed()
    }

    fn make_safe<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<(), DriverError>> {
        self.told(&self.moved.safe).boxed()
    }

    fn state(&self) -> BoxFuture<'_, Result<Position, DriverError>> {
        let (folder, target) = (self.folder.clone(), self.capability.to_string());
        async move {
            let told = tokio::task::spawn_blocking(move || journal(&folder))
                .await
                .map_err(|e| DriverError::Failed(e.to_string()))?
                .map_err(DriverError::Failed)?;
            let last = told.into_iter().rev().find(|told| told.target == target);
            let position = last.map_or_else(|| "not told yet".to_owned(), |last| last.operation);
            Ok(Position { position })
        }
        .boxed()
    }
}

/// Measures what the behaviour of its folder says.
struct TwinSensor {
    name: String,
    metric: String,
    fixed: f64,
    meter: Meter,
    folder: PathBuf,
    clock: SharedClock,
}

impl Sensor for TwinSensor {
    fn name(&self) -> &str {
        &self.name
    }

    fn meter(&self) -> Option<&Meter> {
        Some(&self.meter)
    }

    fn untold(&mut self) {
        self.meter.untold();
    }

    fn read(&mut self, _: TimeMs) -> Result<Vec<Reading>, SensorError> {
        let behaviour = Behaviour::of(&self.folder).map_err(SensorError)?;
        let value = match behaviour.readings.get(&self.metric) {
            None => self.fixed,
            Some(Some(value)) => *value,
            Some(None) => return Err(SensorError("it has fallen silent".to_owned())),
        };
        let reading = self.meter.take(value, None, self.clock.steady_ms());
        let mut reading = reading.map_err(SensorError)?;
        if let Some(reading) = &mut reading {
            reading.extra.insert("simulated".into(), true.into());
        }
        Ok(reading.into_iter().collect())
    }
}
