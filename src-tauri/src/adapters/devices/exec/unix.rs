//! Commands that move, on Unix: process groups, and a standby that is there before anything moves.

mod command;
pub(super) mod printed;
mod standby;
#[cfg(test)]
pub(crate) mod tests;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::fs::File;
use std::io;
use std::mem;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::{FutureExt as _, TryFutureExt as _};
use tokio::sync::MutexGuard;
use tokio::task::JoinHandle;

use self::command::{Ended, GONE_LOOK_MS, Group, Line, kill, left_by};
use self::standby::Standby;
use super::ExecConfig;
#[cfg(test)]
use super::ExecOperation;
use crate::adapters::devices::{Actuator, DriverError, Position, unknown};
use crate::domain::base::Digest;
use crate::domain::base::limits::{GROUP_END_MS, STANDBY_READY_MS, STANDBY_SPARE_DESCRIPTORS};
use crate::domain::capability::{Capability, Params};
use crate::domain::gate::Act;

/// See [`ExecConfig`].
pub(crate) struct ExecDriver {
    config: ExecConfig,
    /// By which its processes are known: the node and the actuator.
    mark: OsString,
    operations: BTreeMap<String, Vec<String>>,
    last: Mutex<Option<String>>,
    /// Held by one caller at a time; never waited for.
    work: tokio::sync::Mutex<Work>,
}

impl fmt::Debug for ExecDriver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ExecDriver").field(&self.config).finish()
    }
}

/// The command under way, and the resources reserved for making safe before the movement.
#[derive(Default)]
struct Work {
    standby: Option<Standby>,
    /// Descriptors that are given up for a command where the standby is used up.
    spare: Vec<File>,
    begun: Option<Begun>,
    /// Whether what an earlier process of this node left running has been ended.
    alone: bool,
}

impl Work {
    /// Starts a standby, with spare descriptors where the system has no others.
    async fn reserve(&mut self, safe: &Line, limit: Duration) -> io::Result<()> {
        let standby = Standby::start(safe, limit, mem::take(&mut self.spare)).await?;
        let spare = (0..STANDBY_SPARE_DESCRIPTORS).map(|_| File::open("/dev/null"));
        self.standby = Some(standby);
        self.spare = spare.collect::<io::Result<_>>()?;
        Ok(())
    }

    fn dismiss(&mut self) {
        self.spare.clear();
        if let Some(standby) = self.standby.take() {
            standby.dismiss();
        }
    }

    /// Ends what the last start command began; its operation, if something is left.
    async fn end_begun(&mut self) -> Option<String> {
        let begun = self.begun.as_mut()?;
        if begun.end(Duration::from_millis(GROUP_END_MS)).await {
            self.begun = None;
            return None;
        }
        begun.ended = false;
        Some(begun.operation.clone())
    }

    /// Whether a start command that has ended left something running.
    async fn left_something(&mut self) -> bool {
        let group = self.begun.as_mut().and_then(|begun| begun.group.as_mut());
        let left = match group {
            Some(group) => group.left_something().await,
            None => false,
        };
        if !left {
            self.begun = None;
        }
        left
    }
}

/// The process of the last start command.
struct Begun {
    operation: String,
    /// Set when it is called off: a command that starts after this is killed at once.
    off: Arc<AtomicBool>,
    starting: Option<JoinHandle<io::Result<Group>>>,
    group: Option<Group>,
    /// Whether the start command ended by itself.
    ended: bool,
}

impl Begun {
    fn call_off(&self) {
        self.off.store(true, Ordering::SeqCst);
        if let Some(group) = &self.group {
            group.kill();
        }
    }

    /// Waits for the command to come up, as long as that takes.
    async fn up(&mut self) -> io::Result<&mut Group> {
        if let Some(starting) = &mut self.starting {
            let started = starting.await.map_err(io::Error::other);
            self.starting = None;
            self.group = Some(started.flatten()?);
        }
        let gone = || io::Error::other("the command was not started");
        self.group.as_mut().ok_or_else(gone)
    }

    /// Ends everything it began; `false` if something is left.
    async fn end(&mut self, patience: Duration) -> bool {
        self.call_off();
        match tokio::time::timeout(patience, self.up()).await {
            Ok(Ok(group)) => group.end(patience).await,
            // It never started.
            Ok(Err(_)) => true,
            Err(_) => false,
        }
    }
}

/// A start command that is waited for; dropped before its end, it is called off.
struct Turn<'a>(MutexGuard<'a, Work>);

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        if let Some(begun) = self.0.begun.as_ref().filter(|begun| !begun.ended) {
            begun.call_off();
        }
    }
}

impl ExecDriver {
    /// A driver, its configuration checked.
    ///
    /// # Errors
    /// [`DriverError::Config`] naming what is wrong.
    pub(crate) fn new(config: ExecConfig) -> Result<Self, DriverError> {
        let bad = |why: String| DriverError::Config(why);
        let mut operations = BTreeMap::new();
        for operation in &config.operations {
            let program = operation
                .argv
                .first()
                .map(String::as_str)
                .unwrap_or_default();
            if !Path::new(program).is_absolute() {
                return Err(bad(format!(
                    "operation.argv of {}: {program:?} must be an absolute path",
                    operation.name
                )));
            }
            if !Path::new(program).is_file() {
                return Err(bad(format!(
                    "operation.argv of {}: there is no program {program}",
                    operation.name
                )));
            }
            if operations
                .insert(operation.name.clone(), operation.argv.clone())
                .is_some()
            {
                return Err(bad(format!(
                    "operation.name: {} is listed twice",
                    operation.name
                )));
            }
        }
        if !operations.contains_key(&config.safe) {
            return Err(bad(format!(
                "safe = {:?} must be one of its operations",
                config.safe
            )));
        }
        let mut mark = config.node.clone().into_os_string();
        mark.push(" ");
        mark.push(config.capability.as_str());
        Ok(Self {
            config,
            mark,
            operations,
            last: Mutex::new(None),
            work: tokio::sync::Mutex::default(),
        })
    }

    /// The command line of an operation, and its words.
    fn command(
        &self,
        operation: &str,
        params: &Params,
        job: &str,
    ) -> Result<(Line, String), DriverError> {
        let argv = self
            .operations
            .get(operation)
            .ok_or_else(|| unknown(self, operation))?;
        let what = argv.join(" ");
        let failed = |why: String| DriverError::Failed(format!("{what}: {why}"));
        let environment = environment(params).map_err(&failed)?;
        let line = Line::new(argv, &self.mark, operation, job, environment);
        Ok((line, what))
    }

    fn limit(&self) -> Duration {
        Duration::from_millis(self.config.timeout_ms)
    }

    fn is_after(&self, operation: &str) {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(operation.to_owned());
    }

    /// The result of a command that was watched.
    fn judged(&self, what: &str, ended: io::Result<Option<Ended>>) -> Result<(), DriverError> {
        let failed = |why: String| DriverError::Failed(format!("{what}: {why}"));
        match ended.map_err(|e| failed(e.to_string()))? {
            None => Err(DriverError::TooSlow {
                what: what.to_owned(),
                limit_ms: self.config.timeout_ms,
            }),
            Some(ended) => match ended.complaint() {
                Some(complaint) => Err(failed(complaint)),
                None => Ok(()),
            },
        }
    }

    async fn reserve(&self, job: &str) -> Result<(), DriverError> {
        let (line, what) = self.command(&self.config.safe, &Params::new(), job)?;
        let mut work = self.work.lock().await;
        work.dismiss();
        let reserved = work.reserve(&line, self.limit()).await;
        if reserved.is_err() {
            work.dismiss();
        }
        let failed = |e| DriverError::Failed(format!("no standby for {what}: {e}"));
        reserved.map_err(failed)
    }

    async fn start(&self, act: Act) -> Result<(), DriverError> {
        let (action, job) = (act.action(), act.proposal_id().as_str());
        let operation = &action.operation;
        let (line, what) = self.command(operation, &action.params, job)?;
        let failed = |e: io::Error| DriverError::Failed(format!("{what}: {e}"));
        let mut turn = Turn(self.work.lock().await);
        let work = &mut *turn.0;
        // One that was the safe state itself: nothing it left may come after this.
        if let Some(operation) = work.end_begun().await {
            let why = format!("what {operation} started is still there");
            return Err(failed(io::Error::other(why)));
        }
        let off = Arc::new(AtomicBool::new(false));
        let begun = work.begun.insert(Begun {
            operation: operation.clone(),
            off: off.clone(),
            starting: Some(Group::prepare(&line, off)),
            group: None,
            ended: false,
        });
        let group = begun.up().await.map_err(failed)?;
        if let Some(standby) = &mut work.standby {
            // Without its standby it does not go on.
            standby.moving(group.id()).await.map_err(failed)?;
        }
        group.go().await.map_err(failed)?;
        let ended = group.watch(self.limit()).await;
        begun.ended = matches!(ended, Ok(Some(_)));
        if begun.ended
            && let Some(standby) = &mut work.standby
        {
            standby.moved().await.map_err(failed)?;
        }
        self.judged(&what, ended)?;
        self.is_after(operation);
        Ok(())
    }

    /// Runs the safe command, by the standby if there is one.
    async fn run_safe(&self, work: &mut Work, job: &str) -> Result<(), DriverError> {
        let (line, what) = self.command(&self.config.safe, &Params::new(), job)?;
        let ready = match work.standby.take() {
            Some(standby) => standby.make_safe().await.ok(),
            None => None,
        };
        let started = match ready {
            Some(group) => Ok(group),
            None => Group::start_safe(&line, mem::take(&mut work.spare))
                .await
                .map_err(io::Error::other)
                .flatten(),
        };
        let ended = match started {
            Ok(mut group) => group.watch(self.limit()).await,
            Err(error) => Err(error),
        };
        self.judged(&what, ended)
    }

    /// Ends what an earlier process of this node left running, after it may have heard the safe command, and
    /// then runs that again.
    async fn end_earlier(&self, work: &mut Work, job: &str) -> Result<(), DriverError> {
        let failed = |e: io::Error| DriverError::Failed(format!("looking for leftovers: {e}"));
        let left = || {
            let mark = self.mark.clone();
            tokio::task::spawn_blocking(move || left_by(&mark)).map_err(io::Error::other)
        };
        let mut found = left().await.map_err(failed)?;
        let any = !found.is_empty();
        let gone = async {
            while !found.is_empty() {
                found.into_iter().for_each(kill);
                tokio::time::sleep(Duration::from_millis(GONE_LOOK_MS)).await;
                found = left().await.map_err(failed)?;
            }
            Ok(())
        };
        let patience = Duration::from_millis(GROUP_END_MS);
        let late = |_| {
            let why = "what a start command before the node's start left running is still there and could move it";
            DriverError::Failed(why.to_owned())
        };
        tokio::time::timeout(patience, gone).await.map_err(late)??;
        if any {
            self.run_safe(work, job).await?;
        }
        work.alone = true;
        Ok(())
    }

    async fn secure(&self, job: &str) -> Result<(), DriverError> {
        let mut work = self.work.lock().await;
        // Processes left by a start command that ended well may hear the safe command first.
        let may_hear = work.begun.as_ref().is_some_and(|begun| begun.ended);
        let mut left = match may_hear {
            true => None,
            false => work.end_begun().await,
        };
        let mut safe = self.run_safe(&mut work, job).await;
        if safe.is_ok() && (left.is_some() || work.left_something().await) {
            left = work.end_begun().await;
            safe = self.run_safe(&mut work, job).await;
        }
        if safe.is_ok() && !work.alone {
            safe = self.end_earlier(&mut work, job).await;
        }
        if let (Ok(()), Some(operation)) = (&safe, left) {
            let why = format!("what {operation} started is still there and could move it");
            safe = Err(DriverError::Failed(why));
        }
        if safe.is_ok() {
            self.is_after(&self.config.safe);
            work.dismiss();
        } else if work.standby.is_none() {
            // For the next attempt, which begins without it if there can be none.
            let (line, _) = self.command(&self.config.safe, &Params::new(), job)?;
            if let Err(error) = work.reserve(&line, self.limit()).await {
                tracing::debug!(%error, "no standby for the next attempt");
            }
        }
        safe
    }
}

/// The parameters as environment variables.
fn environment(params: &Params) -> Result<BTreeMap<String, String>, String> {
    let mut variables = BTreeMap::new();
    for (name, value) in params {
        let text = value
            .as_str()
            .map_or_else(|| value.to_string(), str::to_owned);
        let variable = format!("CLAWMESH_PARAM_{}", name.to_ascii_uppercase());
        if variables.insert(variable, text).is_some() {
            return Err(format!(
                "parameter {name:?} is given in two spellings; give it once"
            ));
        }
    }
    Ok(variables)
}

impl Actuator for ExecDriver {
    fn capability(&self) -> &Capability {
        &self.config.capability
    }

    fn safe_operation(&self) -> Option<String> {
        Some(self.config.safe.clone())
    }

    fn operations(&self) -> Vec<String> {
        self.operations.keys().cloned().collect()
    }

    fn safe_way(&self) -> Option<Digest> {
        let argv = self.operations.get(&self.config.safe)?;
        let words = serde_json::to_vec(argv).ok()?;
        Some(Digest::of(&[&words]))
    }

    fn arm<'a>(&'a self, job: &'a str) -> BoxFuture<'a, Result<(), DriverError>> {
        self.reserve(job).boxed()
    }

    fn act(&self, act: Act) -> BoxFuture<'_, Result<(), DriverError>> {
        self.start(act).boxed()
    }

    fn make_safe<'a>(&'a self, job: &'a str) -> BoxFuture<'a, Result<(), DriverError>> {
        self.secure(job).boxed()
    }

    fn safe_limit(&self) -> Duration {
        // The safe command twice, and what it waits for before and between.
        self.limit() * 2 + Duration::from_millis(4 * GROUP_END_MS + STANDBY_READY_MS)
    }

    fn state(&self) -> BoxFuture<'_, Result<Position, DriverError>> {
        let last = self
            .last
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let position = last.map_or_else(|| "not known".to_owned(), |op| format!("after {op}"));
        async move { Ok(Position { position }) }.boxed()
    }
}
