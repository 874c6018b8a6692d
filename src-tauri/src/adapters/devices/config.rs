//! Devices in the configuration: `[[device]]` tables, each read by its kind, and the older keys that say the same.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};
use toml::de::{DeValue, ValueDeserializer};
use toml::{Spanned, Table};

use super::orders::Order;
use super::registry::{Around, DeviceError, Kind, Made, Places, Settings};
use super::{exec, host, sim};
use crate::domain::base::Digest;
use crate::domain::base::limits::{NAME_MAX_BYTES, SENSOR_EVERY_MAX_MS, SENSOR_EVERY_MIN_MS};
use crate::domain::capability::{Action, Capability, Params};
use crate::domain::policy::Offered;

/// A device of the configuration.
#[derive(Clone)]
pub struct Configured {
    kind: &'static Kind,
    settings: Arc<dyn Settings>,
    /// Everything that its table says, in a form that compares.
    written: String,
    /// File and line of its table.
    place: Option<String>,
}

impl fmt::Debug for Configured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:?}", self.kind.name, self.settings)
    }
}

impl Configured {
    /// A device by settings that were not read from a table.
    pub(super) fn new(kind: &'static Kind, settings: impl Settings + 'static) -> Self {
        Self {
            kind,
            written: format!("{settings:?}"),
            settings: Arc::new(settings),
            place: None,
        }
    }

    /// Reads the table of a `[[device]]`; of an `[[actuator]]` if it `is_actuator`, where `exec` goes
    /// without saying.
    ///
    /// # Errors
    /// The fault, with its place if known; else the span is the whole table.
    pub fn read(table: Spanned<DeValue<'_>>, is_actuator: bool) -> Result<Self, toml::de::Error> {
        let head = Head::deserialize(ValueDeserializer::from(table.clone()))?;
        let kind = match head.kind {
            Some(Named(kind)) => kind,
            None if is_actuator => &exec::KIND,
            None => return Err(serde::de::Error::missing_field("kind")),
        };
        let mut written = Table::deserialize(ValueDeserializer::from(table.clone()))?;
        // The older spelling says the same, and the kind is compared beside it.
        for key in ["kind", "driver"] {
            written.remove(key);
        }
        Ok(Self {
            kind,
            settings: (kind.read)(ValueDeserializer::from(table))?,
            written: format!("{written:?}"),
            place: None,
        })
    }

    /// Whether another table says the same, wherever it stands.
    pub fn says_as(&self, other: &Self) -> bool {
        self.kind.name == other.kind.name && self.written == other.written
    }

    /// Digest of everything that its table says, in whichever spelling.
    pub fn digest(&self) -> Digest {
        Digest::of(&[self.kind.name.as_bytes(), b"\n", self.written.as_bytes()])
    }

    /// Kind and name, for people.
    pub fn title(&self) -> String {
        match self.settings.subject() {
            "" => self.kind.name.to_owned(),
            name => format!("{} {name}", self.kind.name),
        }
    }

    /// As read from there, which its errors name.
    #[must_use]
    pub fn at(self, place: String) -> Self {
        let place = Some(place);
        Self { place, ..self }
    }

    /// Its kind.
    pub(super) fn kind(&self) -> &'static Kind {
        self.kind
    }

    /// The name of its kind.
    pub fn kind_name(&self) -> &'static str {
        self.kind.name
    }

    /// Its name; the name of its kind where it has none.
    pub fn name(&self) -> &str {
        match self.settings.subject() {
            "" => self.kind.name,
            name => name,
        }
    }

    /// The actuators that it will have, as far as its settings tell.
    pub fn offers(&self) -> Vec<Offered> {
        self.settings.offers()
    }

    /// See [`Settings::orders`].
    pub(super) fn orders(&self) -> Vec<Order> {
        self.settings.orders()
    }

    /// See [`Settings::alone_at`].
    pub(super) fn alone_at(&self) -> Option<String> {
        self.settings.alone_at()
    }

    /// See [`Settings::shares`].
    pub(super) fn shares(&self) -> Option<(String, String)> {
        self.settings.shares()
    }

    /// See [`Settings::tells_and_hears`].
    pub(super) fn tells_and_hears(&self) -> (Places, Places) {
        self.settings.tells_and_hears()
    }

    /// Whether it moves, and moves simulated things only.
    pub fn is_practice(&self) -> bool {
        self.settings.is_practice()
    }

    /// Makes it.
    ///
    /// # Errors
    /// [`DeviceError`] naming place, device and key.
    pub(super) fn make(&self, around: &Around<'_>) -> Result<Made, DeviceError> {
        self.settings.make(around).map_err(|error| match error {
            DeviceError::Config(why) => self.bad(&why),
            DeviceError::State(why) => DeviceError::State(why),
        })
    }

    /// The error that its configuration is wrong.
    pub(super) fn bad(&self, why: &str) -> DeviceError {
        let (place, between) = match &self.place {
            Some(place) => (place.as_str(), ": "),
            None => ("", ""),
        };
        let (kind, subject) = (self.kind.name, self.settings.subject());
        let space = if subject.is_empty() { "" } else { " " };
        DeviceError::Config(format!("{place}{between}{kind}{space}{subject}: {why}"))
    }
}

/// Keys common to every device table.
#[derive(Deserialize)]
struct Head {
    /// Its kind; `driver` is the older spelling.
    #[serde(alias = "driver")]
    kind: Option<Named>,
}

/// A kind by its name.
#[derive(Deserialize)]
#[serde(try_from = "String")]
struct Named(&'static Kind);

impl TryFrom<String> for Named {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        Kind::of(&name).map(Self)
    }
}

/// The key that names the kind, in the tables of all kinds.
pub(super) type KindKey = Option<IgnoredAny>;

/// Reads a table as the settings of a kind.
pub(super) fn settings<S: Settings + DeserializeOwned + 'static>(
    table: ValueDeserializer<'_>,
) -> Result<Arc<dyn Settings>, toml::de::Error> {
    let settings = S::deserialize(table)?;
    Ok(Arc::new(settings))
}

/// An actuator as a policy is compared with it; none where its name is no capability.
pub(super) fn offered<'a>(
    capability: &str,
    operations: impl Iterator<Item = &'a String>,
    safe: &str,
    by_gen1: bool,
) -> Vec<Offered> {
    let capability = capability.parse().ok();
    let offered = capability.map(|capability| Offered {
        capability,
        operations: operations.cloned().collect(),
        safe: Some(safe.to_owned()),
        by_gen1,
    });
    offered.into_iter().collect()
}

/// An actuator's name and those of its operations, checked.
///
/// # Errors
/// The fault and the name.
pub(super) fn actuator<'a>(
    capability: &str,
    operations: impl IntoIterator<Item = &'a String>,
) -> Result<Capability, DeviceError> {
    let bad = |why: &dyn fmt::Display| DeviceError::Config(format!("capability: {why}"));
    let capability: Capability = capability.parse().map_err(|e| bad(&e))?;
    if !capability.is_actuator() {
        return Err(bad(&"must begin with actuator:"));
    }
    for operation in operations {
        let action = Action::new(capability.clone(), operation, Params::new());
        action.map_err(|e| DeviceError::Config(format!("operation.name: {e}")))?;
    }
    Ok(capability)
}

/// Checks the name of a device credential.
///
/// # Errors
/// Why it is no such name. The text may be the password itself, so it is not repeated.
pub(super) fn check_credential(key: &str, name: &str) -> Result<(), String> {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    let word = name.strip_prefix("device/").unwrap_or_default();
    match !word.is_empty() && name.len() <= NAME_MAX_BYTES && word.bytes().all(plain) {
        true => Ok(()),
        false => Err(format!(
            "{key}: must name a credential, device/NAME in small letters, digits and '-'; set it with \
             `clawmesh-node credential set device/NAME`"
        )),
    }
}

/// A time limit as the configuration gives it, in milliseconds.
pub(super) fn timeout_ms(timeout_sec: Option<u64>) -> u64 {
    timeout_sec.unwrap_or(10).clamp(1, 300) * 1_000
}

/// How often a device is read, as its configuration gives it in milliseconds.
///
/// # Errors
/// If that is too often or too rare.
pub(super) fn interval(every_ms: Option<u64>) -> Result<Option<Duration>, DeviceError> {
    let Some(ms) = every_ms else { return Ok(None) };
    match (SENSOR_EVERY_MIN_MS..=SENSOR_EVERY_MAX_MS).contains(&ms) {
        true => Ok(Some(Duration::from_millis(ms))),
        false => Err(DeviceError::Config(format!(
            "every_ms: must be {SENSOR_EVERY_MIN_MS} to {SENSOR_EVERY_MAX_MS}"
        ))),
    }
}

/// The keys that said which devices a node has before there was `[[device]]`.
#[derive(Debug, Clone, Copy)]
pub struct Switches {
    /// `host_sensor`.
    pub host_sensor: bool,
    /// `mock_sensor`.
    pub mock_sensor: bool,
    /// `mock_actuator`.
    pub mock_actuator: bool,
    /// `mock_pace`.
    pub mock_pace: Option<f64>,
}

impl Switches {
    /// The devices that they stand for.
    ///
    /// # Errors
    /// The key that is wrong, and why.
    pub fn devices(self) -> Result<Vec<Configured>, (&'static str, String)> {
        let mut kit = sim::Kit::default();
        (kit.senses, kit.acts, kit.pace) = (self.mock_sensor, self.mock_actuator, self.mock_pace);
        kit.pace().map_err(|why| ("mock_pace", why))?;
        let host = (self.host_sensor).then(|| Configured::new(&host::KIND, host::Host::default()));
        let kit = (kit.senses || kit.acts).then(|| Configured::new(&sim::KIND, kit));
        Ok(host.into_iter().chain(kit).collect())
    }
}

/// Actuators a policy may name at a node: the actuators of its configuration, and those of the simulated kit, which a
/// flag adds.
pub fn offers(devices: &[Configured]) -> Vec<Offered> {
    let named = devices.iter().filter(|device| !device.is_practice());
    let mut all: Vec<Offered> = named.flat_map(Configured::offers).collect();
    all.extend(sim::Kit::default().offers());
    all
}
