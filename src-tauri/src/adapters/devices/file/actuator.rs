//! Actuators that are moved by writing into a file of this machine, as the kernel shows relays, pins and lamps under `/sys`:
//! an operation is a fixed text for one file, written once. It is safe when its state reads so.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use serde::Deserialize;
use tokio::time::{sleep, timeout};
use toml::{Table, Value};

use super::{content, place};
use crate::adapters::devices::config::actuator;
use crate::adapters::devices::orders::Order;
use crate::adapters::devices::template::filled;
use crate::adapters::devices::value::{check_pointer, word};
use crate::adapters::devices::{
    Actuator, DeviceError, DriverError, Position, SharedActuator, Stands, unknown,
};
use crate::adapters::system;
use crate::domain::base::Digest;
use crate::domain::base::limits::{FILE_SAFE_LOOK_MS, FILE_TEXT_MAX_BYTES, FILE_WRITE_MS};
use crate::domain::base::text::one_line;
use crate::domain::capability::Capability;
use crate::domain::gate::Act;

/// Characters of a state that are shown.
const STATE_SHOWN: usize = 40;

/// An actuator as the configuration has it.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Moved {
    /// Its name, for example `actuator:pump:p1`.
    pub capability: String,
    /// The operation that is its safe state.
    pub safe: String,
    /// Where it says its state; without it the file that the safe operation writes is read back.
    state: Option<State>,
    /// Its operations.
    pub operation: Vec<Operation>,
}

/// Where an actuator says its state, and what it says in its safe state.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct State {
    path: PathBuf,
    json: Option<String>,
    safe: String,
}

/// One operation: a text and the file that it is written into.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Operation {
    pub name: String,
    pub path: PathBuf,
    pub text: String,
}

impl Moved {
    /// What its operations write, and into which file.
    pub(super) fn orders(&self) -> impl Iterator<Item = Order> + '_ {
        self.operation.iter().map(|o| Order {
            actuator: self.capability.clone(),
            operation: o.name.clone(),
            is_safe: o.name == self.safe,
            place: place::key(&o.path),
            // A kernel takes a text with and without the end of its line for the same.
            key: format!("{:?} in {}", o.text.trim(), place::key(&o.path)),
            shown: format!("{:?} in {}", o.text, o.path.display()),
        })
    }

    /// The driver, if this is all right; `node` is the state directory, which it never writes into.
    pub(super) fn driver(&self, node: &Path) -> Result<SharedActuator, DeviceError> {
        let made = self.checked(node);
        let bad = |why| DeviceError::Config(format!("actuator {}: {why}", self.capability));
        Ok(Arc::new(made.map_err(bad)?))
    }

    fn checked(&self, node: &Path) -> Result<FileDriver, String> {
        let names = self.operation.iter().map(|o| &o.name);
        let capability = actuator(&self.capability, names).map_err(|e| e.to_string())?;
        let mut operations = BTreeMap::new();
        for operation in &self.operation {
            let name = &operation.name;
            let bad = |why: String| format!("operation {name}: {why}");
            absolute(&operation.path).map_err(bad)?;
            place::not_own(&operation.path, node).map_err(bad)?;
            if operation.text.is_empty() || operation.text.len() > FILE_TEXT_MAX_BYTES {
                return Err(bad(format!(
                    "text: must have 1 to {FILE_TEXT_MAX_BYTES} bytes"
                )));
            }
            if operations.insert(name.clone(), operation.clone()).is_some() {
                return Err(bad("listed twice".to_owned()));
            }
        }
        let Some(safe) = operations.get(&self.safe).cloned() else {
            return Err(format!(
                "safe = {:?} must be one of its operations",
                self.safe
            ));
        };
        let state = match &self.state {
            Some(state) => {
                absolute(&state.path).map_err(|why| format!("state.{why}"))?;
                check_pointer(state.json.as_deref().unwrap_or_default())
                    .map_err(|why| format!("state.{why}"))?;
                state.clone()
            }
            None => State {
                path: safe.path.clone(),
                json: None,
                safe: safe.text.clone(),
            },
        };
        Ok(FileDriver {
            capability,
            operations,
            safe,
            state,
            node: node.to_owned(),
            work: Arc::default(),
            last: Mutex::default(),
        })
    }
}

fn absolute(path: &Path) -> Result<(), String> {
    match path.is_absolute() {
        true => Ok(()),
        false => Err(format!("path: {} must be an absolute path", path.display())),
    }
}

/// See the module.
struct FileDriver {
    capability: Capability,
    operations: BTreeMap<String, Operation>,
    safe: Operation,
    state: State,
    /// The node's state directory.
    node: PathBuf,
    /// Held by what is being written: nothing is written beside it, and nothing that was called off comes later.
    work: Arc<tokio::sync::Mutex<()>>,
    last: Mutex<Option<String>>,
}

impl fmt::Debug for FileDriver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FileDriver({})", self.capability)
    }
}

/// Writes a text into a file that is there, at once. A link in its place is not followed, and a pipe or a device is not
/// written; what it was before is not kept.
fn write(path: &Path, text: &str) -> Result<(), DriverError> {
    let shown = path.display();
    let not = |e: io::Error| DriverError::Failed(format!("{shown}: {e}"));
    // Once it is open it is cut to nothing, which a device may have taken for an order.
    let maybe = |e: io::Error| DriverError::Unanswered(format!("{shown}: {e}"));
    // A pipe with a reader would open, and be looked at then.
    plain(path).map_err(not)?;
    let mut file = system::open_to_write(path).map_err(not)?;
    if !file.metadata().map_err(maybe)?.is_file() {
        return Err(not(io::Error::other("it is no regular file")));
    }
    put(&mut file, text, path)
}

/// Writes the text at once. Whatever goes wrong from here on leaves open what the device took for an order.
fn put(file: &mut impl io::Write, text: &str, path: &Path) -> Result<(), DriverError> {
    let why = match file.write(text.as_bytes()) {
        Ok(all) if all == text.len() => return Ok(()),
        Ok(_) => "it took a part of the text".to_owned(),
        Err(error) => error.to_string(),
    };
    Err(DriverError::Unanswered(format!(
        "{}: {why}",
        path.display()
    )))
}

/// Whether a file is one that is written.
fn plain(path: &Path) -> io::Result<()> {
    let about = std::fs::symlink_metadata(path)?;
    match (about.is_symlink(), about.is_file()) {
        (true, _) => Err(io::Error::other(
            "it is a link; write the file that it leads to",
        )),
        (_, false) => Err(io::Error::other("it is no regular file")),
        _ => Ok(()),
    }
}

impl FileDriver {
    fn is_after(&self, what: &str) {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        *last = Some(what.to_owned());
    }

    /// Writes on a thread that may block. Dropped before its turn, nothing is written; after it, the next writer waits for
    /// its end.
    async fn tell(&self, path: &Path, text: String) -> Result<(), DriverError> {
        let shown = path.display().to_string();
        let limit = Duration::from_millis(FILE_WRITE_MS);
        let turn = timeout(limit, self.work.clone().lock_owned()).await;
        let turn = turn
            .map_err(|_| DriverError::Failed("what was written before has not ended".to_owned()))?;
        let (path, node) = (path.to_owned(), self.node.clone());
        let writing = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            place::not_own(&path, &node).map_err(DriverError::Failed)?;
            write(&path, &text)
        });
        match timeout(limit, writing).await {
            Ok(Ok(written)) => written,
            Ok(Err(error)) => Err(DriverError::Unanswered(format!("{shown}: {error}"))),
            Err(_) => Err(DriverError::Unanswered(format!(
                "{shown} took no text within {FILE_WRITE_MS} ms"
            ))),
        }
    }

    async fn start(&self, act: Act) -> Result<(), DriverError> {
        let action = act.action();
        let operation = self.operations.get(&action.operation);
        let operation = operation.ok_or_else(|| unknown(self, &action.operation))?;
        let [text] = filled([&operation.text], &action.params).map_err(DriverError::Failed)?;
        self.is_after(&operation.name);
        self.tell(&operation.path, text).await
    }

    /// Its reported state.
    async fn said(&self) -> Result<String, String> {
        let state = self.state.clone();
        let shown = state.path.display().to_string();
        let reading = tokio::task::spawn_blocking(move || {
            let (text, _) = content(&state.path).map_err(|e| e.to_string())?;
            let said = word(&text, state.json.as_deref());
            said.ok_or_else(|| "it says nothing that is read".to_owned())
        });
        match timeout(Duration::from_millis(FILE_WRITE_MS), reading).await {
            Ok(Ok(said)) => said.map_err(|why| format!("{shown}: {why}")),
            Ok(Err(error)) => Err(format!("{shown}: {error}")),
            Err(_) => Err(format!("{shown} does not read")),
        }
    }

    async fn secure(&self) -> Result<(), DriverError> {
        self.tell(&self.safe.path, self.safe.text.clone()).await?;
        let safe = self.state.safe.trim();
        let reads = async {
            loop {
                match self.said().await {
                    Ok(said) if said == safe => return Ok(()),
                    Ok(_) => sleep(Duration::from_millis(FILE_SAFE_LOOK_MS)).await,
                    Err(why) => return Err(DriverError::Failed(why)),
                }
            }
        };
        let limit = Duration::from_millis(FILE_WRITE_MS);
        let path = self.state.path.display();
        let late = |_| DriverError::Failed(format!("{path} did not say {safe:?}"));
        timeout(limit, reads).await.map_err(late)??;
        self.is_after(&self.safe.name);
        Ok(())
    }
}

impl Actuator for FileDriver {
    fn capability(&self) -> &Capability {
        &self.capability
    }

    fn safe_operation(&self) -> Option<String> {
        Some(self.safe.name.clone())
    }

    fn operations(&self) -> Vec<String> {
        self.operations.keys().cloned().collect()
    }

    fn safe_way(&self) -> Option<Digest> {
        let told = serde_json::to_vec(&(&self.safe.path, &self.safe.text)).ok()?;
        Some(Digest::of(&[&told]))
    }

    fn arm<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<(), DriverError>> {
        async move {
            let (path, node) = (self.safe.path.clone(), self.node.clone());
            let looked = tokio::task::spawn_blocking(move || {
                place::not_own(&path, &node).map_err(io::Error::other)?;
                plain(&path)
            });
            let looked = looked.await;
            let looked = looked.map_err(io::Error::other).flatten();
            let shown = self.safe.path.display();
            looked.map_err(|e| DriverError::Failed(format!("{shown}: {e}")))?;
            match self.stands().await {
                Stands::Away(said) => Err(DriverError::Astray(said)),
                _ => Ok(()),
            }
        }
        .boxed()
    }

    fn act(&self, act: Act) -> BoxFuture<'_, Result<(), DriverError>> {
        self.start(act).boxed()
    }

    fn make_safe<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<(), DriverError>> {
        self.secure().boxed()
    }

    fn safe_limit(&self) -> Duration {
        Duration::from_millis(3 * FILE_WRITE_MS + 500)
    }

    fn stands(&self) -> BoxFuture<'_, Stands> {
        async move {
            match self.said().await {
                Ok(said) if said == self.state.safe.trim() => Stands::Safe,
                Ok(said) => Stands::Away(one_line(&said, STATE_SHOWN)),
                Err(_) => Stands::Untold,
            }
        }
        .boxed()
    }

    fn state(&self) -> BoxFuture<'_, Result<Position, DriverError>> {
        async move {
            let said = self.said().await.map_err(DriverError::Failed)?;
            Ok(Position {
                position: one_line(&said, STATE_SHOWN),
            })
        }
        .boxed()
    }
}

/// The actuators with their safe operations alone, those of which that is certain.
pub(super) fn rescue(table: &Table, node: &Path) -> Vec<SharedActuator> {
    let all = table.get("actuator");
    let many = all.and_then(Value::as_array).into_iter().flatten();
    let one = all.filter(|value| value.is_table());
    let found = many.chain(one).filter_map(Value::as_table);
    let certain = found.filter_map(|table| {
        let made = safe_half(table).and_then(|moved| moved.driver(node).map_err(|e| e.to_string()));
        made.inspect_err(|why| {
            let name = table.get("capability").map(ToString::to_string);
            let name = name.unwrap_or_else(|| "an actuator".to_owned());
            tracing::error!("{name} stays as it is: its way to the safe state is not known: {why}");
        })
        .ok()
    });
    certain.collect()
}

/// An actuator's way to its safe state, from a table of which other parts may be wrong.
fn safe_half(table: &Table) -> Result<Moved, String> {
    let text = |table: &Table, key: &str| {
        let found = table.get(key).and_then(Value::as_str);
        let found = found.filter(|text| !text.contains('\u{fffd}'));
        found
            .map(str::to_owned)
            .ok_or_else(|| format!("there is no {key} that reads"))
    };
    let safe = text(table, "safe")?;
    let all = table.get("operation");
    let many = all.and_then(Value::as_array).into_iter().flatten();
    let one = all.filter(|value| value.is_table());
    let all = many.chain(one).filter_map(Value::as_table);
    let named = |table: &&Table| table.get("name").and_then(Value::as_str) == Some(&safe);
    let mut fit = all.filter(named);
    let (Some(operation), None) = (fit.next(), fit.next()) else {
        return Err(format!("there is not one operation {safe:?}"));
    };
    let state = match table.get("state").cloned() {
        // The proof of the safe state is needed.
        Some(state) => Some(
            state
                .try_into()
                .map_err(|_| "its state does not read".to_owned())?,
        ),
        None => None,
    };
    Ok(Moved {
        capability: text(table, "capability")?,
        state,
        operation: vec![Operation {
            name: safe.clone(),
            path: text(operation, "path")?.into(),
            text: text(operation, "text")?,
        }],
        safe,
    })
}

#[cfg(test)]
mod tests;
