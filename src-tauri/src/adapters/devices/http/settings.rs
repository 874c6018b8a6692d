//! The `http` kind in the configuration: a device, the readings that it is asked for, the actuators that it has.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use hyper::Method;
use serde::Deserialize;
use toml::{Table, Value};

use super::actuator::{Command, Feedback, HttpDriver, Settled};
use super::client::{Client, check_path, login};
use super::readings::{HttpSensor, Page};
use crate::adapters::devices::config::{
    KindKey, actuator, interval, offered, settings, timeout_ms,
};
use crate::adapters::devices::orders::{Order, host_key};
use crate::adapters::devices::point::{Meter, Point, distinct};
use crate::adapters::devices::registry::{Around, Kind, Made, Settings};
use crate::adapters::devices::rescue::Ground;
use crate::adapters::devices::template::placeholder;
use crate::adapters::devices::value::check_pointer;
use crate::adapters::devices::{DeviceError, Keeper, Sensor, SharedActuator};
use crate::adapters::http_client::{Address, Reach};
use crate::domain::base::limits::{
    HTTP_ACTUATORS_MAX, HTTP_FRESH_MS, HTTP_READINGS_MAX, HTTP_SENT_MAX_BYTES, NAME_MAX_BYTES,
};
use crate::domain::policy::Offered;

/// Devices over HTTP.
pub(crate) const KIND: Kind = Kind {
    name: "http",
    once: false,
    read: settings::<Http>,
    rescue,
};

/// A device as the configuration has it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Http {
    #[serde(rename = "kind", alias = "driver", default)]
    _kind: KindKey,
    /// Its name, for people.
    name: String,
    /// See [`Access`].
    url: String,
    /// See [`Access`].
    ca: Option<PathBuf>,
    /// See [`Access`].
    user: Option<String>,
    /// See [`Access`].
    password: Option<String>,
    /// See [`Access`].
    token: Option<String>,
    /// See [`Access`].
    #[serde(default)]
    plain: bool,
    /// See [`Access`].
    timeout_sec: Option<u64>,
    /// How often readings are taken, in milliseconds.
    every_ms: Option<u64>,
    /// Its readings.
    #[serde(default)]
    reading: Vec<Point<Source>>,
    /// Its actuators.
    #[serde(default)]
    actuator: Vec<Moved>,
}

/// How the device is reached.
#[derive(Debug)]
struct Access {
    /// Its URL, without a path.
    url: String,
    /// A PEM file of the authorities to be trusted instead of the system's.
    ca: Option<PathBuf>,
    user: Option<String>,
    /// The name of the credential with the password.
    password: Option<String>,
    /// The name of the credential with a token, instead of user and password.
    token: Option<String>,
    /// Whether the credential may go over a network in plain text.
    plain: bool,
    /// The longest that an answer of an actuator may take, in seconds.
    timeout_sec: Option<u64>,
}

/// Where a reading is.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Source {
    path: String,
    /// A JSON pointer, where the answer is a JSON document.
    json: Option<String>,
}

/// An actuator.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Moved {
    /// Its name, for example `actuator:pump:p1`.
    capability: String,
    /// The operation that is its safe state.
    safe: String,
    /// Where it says its state.
    state: Option<State>,
    /// A state that stands there and does not read; of a damaged table alone.
    #[serde(skip)]
    unproven: bool,
    /// Its operations.
    operation: Vec<Operation>,
}

/// Where an actuator says its state, and what it says in its safe state.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct State {
    path: String,
    json: Option<String>,
    safe: String,
}

/// One operation as a request.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Operation {
    name: String,
    /// `POST` where nothing is said.
    method: Option<String>,
    path: String,
    #[serde(default)]
    body: String,
    /// `json`, `form` or `text`.
    #[serde(rename = "type")]
    of: Option<String>,
}

impl State {
    fn check(&self) -> Result<(), String> {
        check_path(&self.path)?;
        check_pointer(self.json.as_deref().unwrap_or_default())
    }
}

impl Operation {
    fn command(&self) -> Result<Command, String> {
        check_path(&braceless(&self.path))?;
        if self.body.len() > HTTP_SENT_MAX_BYTES {
            return Err(format!("body: at most {HTTP_SENT_MAX_BYTES} bytes"));
        }
        let method = match self.method.as_deref() {
            None | Some("POST") => Method::POST,
            Some("GET") => Method::GET,
            Some("PUT") => Method::PUT,
            Some("PATCH") => Method::PATCH,
            Some("DELETE") => Method::DELETE,
            Some(_) => return Err("method: must be GET, POST, PUT, PATCH or DELETE".to_owned()),
        };
        let content_type = match self.of.as_deref() {
            None if self.body.is_empty() => "",
            None if self.body.starts_with(['{', '[']) => "application/json",
            Some("json") => "application/json",
            Some("form") => "application/x-www-form-urlencoded",
            None | Some("text") => "text/plain",
            Some(_) => return Err("type: must be json, form or text".to_owned()),
        };
        Ok(Command {
            method,
            path: self.path.clone(),
            content_type,
            body: self.body.clone(),
        })
    }
}

/// A path with a word for each parameter.
fn braceless(path: &str) -> String {
    let (mut whole, mut rest) = (String::new(), path);
    while let Some((before, _, after)) = placeholder(rest) {
        whole.push_str(before);
        whole.push('x');
        rest = after;
    }
    whole + rest
}

impl Access {
    /// The way to the device, from a damaged table. The way to the safe state needs its address and its authority;
    /// without the rest it is tried all the same.
    fn rescued(table: &Table) -> Result<Self, String> {
        let text = |key: &str| text(table, key);
        let url = text("url")?;
        // No other authority is trusted instead.
        let ca = match table.contains_key("ca") {
            true => Some(text("ca")?.into()),
            false => None,
        };
        let timeout_sec = table.get("timeout_sec").and_then(Value::as_integer);
        let named = |key: &str| table.contains_key(key).then(|| text(key)).transpose();
        let mut access = Self {
            url,
            ca,
            user: named("user")?,
            password: named("password")?,
            token: named("token")?,
            plain: table.get("plain").and_then(Value::as_bool) == Some(true),
            timeout_sec: timeout_sec.and_then(|sec| sec.try_into().ok()),
        };
        // Without a login it may still be made safe; a login in plain text may be read by others.
        let address = Address::parse(&access.url);
        let public = |address: Address| !address.tls && address.reach() == Reach::Public;
        let open = address.is_ok_and(public) && !access.plain;
        if open || access.login().is_err() {
            (access.user, access.password, access.token) = (None, None, None);
        }
        Ok(access)
    }

    fn login(&self) -> Result<Option<super::client::Login>, String> {
        let (user, password) = (self.user.as_ref(), self.password.as_ref());
        login(user, password, self.token.as_ref())
    }

    fn client(&self, keeper: &Arc<dyn Keeper>) -> Result<Client, String> {
        let address = Address::parse(&self.url).map_err(|why| format!("url: {why}"))?;
        if !address.path.is_empty() {
            return Err(
                "url: it has no path; that of each reading and operation is its own".into(),
            );
        }
        if self.ca.is_some() && !address.tls {
            return Err("ca: counts for https:// alone".to_owned());
        }
        if self.ca.as_ref().is_some_and(|ca| !ca.is_absolute()) {
            return Err("ca: must be an absolute path".to_owned());
        }
        let client = Client {
            login: self.login()?,
            address,
            ca: self.ca.clone(),
            keeper: keeper.clone(),
        };
        if client.tells_in_plain() && !self.plain {
            return Err(format!(
                "url: the password or token would go to {client} in plain text, and anybody on the way could read it; use \
                 https://, or write plain = true where nobody can listen"
            ));
        }
        Ok(client)
    }

    fn settle(&self, moved: &Moved, keeper: &Arc<dyn Keeper>) -> Result<Settled, String> {
        let names = moved.operation.iter().map(|o| &o.name);
        let capability = actuator(&moved.capability, names).map_err(|e| e.to_string())?;
        let mut operations = BTreeMap::new();
        for operation in &moved.operation {
            let name = &operation.name;
            let bad = |why: String| format!("operation {name}: {why}");
            let command = operation.command().map_err(bad)?;
            if operations.insert(name.clone(), command).is_some() {
                return Err(bad("listed twice".to_owned()));
            }
        }
        let Some(safe) = operations.get(&moved.safe).cloned() else {
            return Err(format!(
                "safe = {:?} must be one of its operations",
                moved.safe
            ));
        };
        for text in [&safe.path, &safe.body] {
            if let Some((_, name, _)) = placeholder(text) {
                return Err(format!(
                    "operation {}: the way to the safe state has no parameters, and here is {{{name}}}",
                    moved.safe
                ));
            }
        }
        if let Some(state) = &moved.state {
            state.check().map_err(|why| format!("state.{why}"))?;
        }
        Ok(Settled {
            capability,
            operations,
            safe: moved.safe.clone(),
            safe_command: safe,
            feedback: moved.state.as_ref().map(|state| Feedback {
                path: state.path.clone(),
                json: state.json.clone(),
                safe: state.safe.trim().to_owned(),
            }),
            unproven: moved.unproven,
            limit: Duration::from_millis(timeout_ms(self.timeout_sec)),
            client: self.client(keeper)?,
        })
    }
}

impl Http {
    fn access(&self) -> Access {
        Access {
            url: self.url.clone(),
            ca: self.ca.clone(),
            user: self.user.clone(),
            password: self.password.clone(),
            token: self.token.clone(),
            plain: self.plain,
            timeout_sec: self.timeout_sec,
        }
    }

    fn sensors(
        &self,
        client: &Client,
        around: &Around<'_>,
    ) -> Result<Vec<Box<dyn Sensor>>, DeviceError> {
        distinct(self.reading.iter().map(|point| &point.measured))?;
        let every = interval(self.every_ms)?;
        let fresh_ms = every.map_or(HTTP_FRESH_MS, |every| {
            u64::try_from(every.as_millis() / 2).unwrap_or(HTTP_FRESH_MS)
        });
        let fresh_ms = fresh_ms.min(HTTP_FRESH_MS);
        let mut pages: BTreeMap<String, Arc<Page>> = BTreeMap::new();
        let sensors = self.reading.iter().map(|point| {
            let bad = |why: String| {
                DeviceError::Config(format!("reading {}: {why}", point.measured.name()))
            };
            let source = &point.source;
            check_path(&source.path).map_err(bad)?;
            check_pointer(source.json.as_deref().unwrap_or_default()).map_err(bad)?;
            let page = pages.entry(source.path.clone()).or_insert_with(|| {
                let clock = around.clock.clone();
                Arc::new(Page::new(client.clone(), &source.path, clock))
            });
            let meter = Meter::new(&self.name, point.measured.clone(), around.clock.steady_ms());
            if meter.late(u64::MAX).is_some() {
                return Err(bad(
                    "check.late_sec: says nothing here, an answer is of the moment".to_owned(),
                ));
            }
            Ok(Box::new(HttpSensor {
                name: format!("{} {}", self.name, point.measured.name()),
                every,
                fresh_ms,
                meter,
                page: page.clone(),
                json: source.json.clone(),
                used: 0,
                clock: around.clock.clone(),
            }) as Box<dyn Sensor>)
        });
        sensors.collect()
    }
}

impl Settings for Http {
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
        let url = self.url.trim_end_matches('/');
        let Ok(address) = Address::parse(url) else {
            return Vec::new();
        };
        let place = format!("{}:{}", host_key(&address.host), address.port);
        let each = self.actuator.iter().flat_map(|moved| {
            let place = &place;
            moved.operation.iter().map(move |o| {
                let method = o.method.as_deref().unwrap_or("POST");
                Order {
                    actuator: moved.capability.clone(),
                    operation: o.name.clone(),
                    is_safe: o.name == moved.safe,
                    place: format!("{place} {}", o.path),
                    key: format!("{method} {place} {} {:?}", o.path, o.body),
                    shown: format!("{method} {url}{} {:?}", o.path, o.body),
                }
            })
        });
        each.collect()
    }

    fn make(&self, around: &Around<'_>) -> Result<Made, DeviceError> {
        let bad = |why: String| Err(DeviceError::Config(why));
        if self.name.trim().is_empty() || self.name.len() > NAME_MAX_BYTES {
            return bad(format!("name: must have 1 to {NAME_MAX_BYTES} bytes"));
        }
        if self.reading.is_empty() && self.actuator.is_empty() {
            return bad("it has neither a reading nor an actuator".to_owned());
        }
        if self.reading.len() > HTTP_READINGS_MAX || self.actuator.len() > HTTP_ACTUATORS_MAX {
            return bad(format!(
                "at most {HTTP_READINGS_MAX} readings and {HTTP_ACTUATORS_MAX} actuators"
            ));
        }
        let access = self.access();
        let client = access.client(around.keeper).map_err(DeviceError::Config)?;
        let actuators = self.actuator.iter().map(|moved| {
            let settled = access.settle(moved, around.keeper);
            let bad = |why| DeviceError::Config(format!("actuator {}: {why}", moved.capability));
            Ok(Arc::new(HttpDriver::new(settled.map_err(bad)?)) as SharedActuator)
        });
        Ok(Made {
            actuators: actuators.collect::<Result<_, DeviceError>>()?,
            sensors: self.sensors(&client, around)?,
        })
    }
}

/// A text of a damaged table.
fn text(table: &Table, key: &str) -> Result<String, String> {
    let found = table.get(key).and_then(Value::as_str);
    let found = found.filter(|text| !text.contains('\u{fffd}'));
    found
        .map(str::to_owned)
        .ok_or_else(|| format!("there is no {key} that reads"))
}

/// The actuators with their safe operations alone, those of which that is certain.
fn rescue(table: &Table, ground: &Ground<'_>) -> Result<Vec<SharedActuator>, String> {
    let all = table.get("actuator");
    let many = all.and_then(Value::as_array).into_iter().flatten();
    let one = all.filter(|value| value.is_table());
    let found: Vec<&Table> = many.chain(one).filter_map(Value::as_table).collect();
    if found.is_empty() {
        return Ok(Vec::new());
    }
    let access = Access::rescued(table)?;
    let certain = found.into_iter().filter_map(|table| {
        let settled = safe_half(table).and_then(|moved| access.settle(&moved, ground.keeper));
        match settled {
            Ok(settled) => Some(Arc::new(HttpDriver::new(settled)) as SharedActuator),
            Err(why) => {
                let name = table.get("capability").map(ToString::to_string);
                let name = name.unwrap_or_else(|| "an actuator over HTTP".to_owned());
                tracing::error!(
                    "{name} stays as it is: its way to the safe state is not known: {why}"
                );
                None
            }
        }
    });
    Ok(certain.collect())
}

/// An actuator's way to its safe state, from a table of which other parts may be wrong.
fn safe_half(table: &Table) -> Result<Moved, String> {
    let safe = text(table, "safe")?;
    let all = table.get("operation");
    let many = all.and_then(Value::as_array).into_iter().flatten();
    let one = all.filter(|value| value.is_table());
    let all: Vec<&Table> = many.chain(one).filter_map(Value::as_table).collect();
    let named = |table: &&&Table| table.get("name").and_then(Value::as_str) == Some(&safe);
    let mut fit = all.iter().filter(named);
    let (Some(operation), None) = (fit.next(), fit.next()) else {
        return Err(format!("there is not one operation {safe:?}"));
    };
    let if_there = |key: &str| operation.contains_key(key).then(|| text(operation, key));
    let has_state = table.contains_key("state");
    let state = table.get("state").cloned();
    let state: Option<State> = state.and_then(|state| state.try_into().ok());
    let state = state.filter(|state| state.check().is_ok());
    Ok(Moved {
        capability: text(table, "capability")?,
        // It is told all the same, and its answer does not prove what its state was to prove.
        unproven: has_state && state.is_none(),
        state,
        operation: vec![Operation {
            name: safe.clone(),
            method: if_there("method").transpose()?,
            path: text(operation, "path")?,
            body: if_there("body").transpose()?.unwrap_or_default(),
            of: if_there("type").transpose()?,
        }],
        safe,
    })
}

#[cfg(test)]
mod tests;
