//! The `exec` driver: commands of this machine that the operator listed, with fixed arguments.
//!
//! No shell, no inherited environment, a time limit, a process group of its own that ends as a whole
//! when the time is up. Parameters reach the command as environment variables only, after policy has
//! bounded them.

use std::collections::BTreeMap;
use std::path::Path;
use std::pin::pin;
use std::process::{ExitStatus, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, FusedFuture as _};
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::AsyncReadExt as _;
use tokio::process::{Child, ChildStderr, Command};

use super::{Driver, DriverError, Position, unknown};
use crate::domain::base::limits::EXEC_OUTPUT_MAX_BYTES;
use crate::domain::capability::{Action, Capability, Params};

/// How long the last words of a command that has ended are waited for, in milliseconds. They are in
/// the pipe by then; only something it left running can keep the pipe open.
const LAST_WORDS_MS: u64 = 100;

/// One operation as a command line.
#[derive(Debug, Clone)]
pub struct ExecOperation {
    /// The operation's name.
    pub name: String,
    /// The program, absolute, and its arguments.
    pub argv: Vec<String>,
}

/// An actuator driven by commands.
#[derive(Debug, Clone)]
pub struct ExecConfig {
    /// What it is called.
    pub capability: Capability,
    /// The operation that is its safe state.
    pub safe: String,
    /// The longest a command may take, in milliseconds.
    pub timeout_ms: u64,
    /// What it can do.
    pub operations: Vec<ExecOperation>,
}

/// See [`ExecConfig`].
#[derive(Debug)]
pub struct ExecDriver {
    config: ExecConfig,
    operations: BTreeMap<String, Vec<String>>,
    last: Mutex<Option<String>>,
}

impl ExecDriver {
    /// A driver, its configuration checked.
    ///
    /// # Errors
    /// [`DriverError::Config`] naming what is wrong.
    pub fn new(config: ExecConfig) -> Result<Self, DriverError> {
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
                    "operation {}: {program:?} must be an absolute path",
                    operation.name
                )));
            }
            if !Path::new(program).is_file() {
                return Err(bad(format!(
                    "operation {}: there is no program {program}",
                    operation.name
                )));
            }
            if operations
                .insert(operation.name.clone(), operation.argv.clone())
                .is_some()
            {
                return Err(bad(format!("operation {} is listed twice", operation.name)));
            }
        }
        if !operations.contains_key(&config.safe) {
            return Err(bad(format!(
                "safe = {:?} must be one of its operations",
                config.safe
            )));
        }
        Ok(Self {
            config,
            operations,
            last: Mutex::new(None),
        })
    }

    async fn run(&self, operation: &str, params: &Params, job: &str) -> Result<(), DriverError> {
        let argv = self
            .operations
            .get(operation)
            .ok_or_else(|| unknown(self, operation))?;
        let what = argv.join(" ");
        let failed = |why: String| DriverError::Failed(format!("{what}: {why}"));
        let environment = environment(params).map_err(&failed)?;
        let (program, arguments) = argv
            .split_first()
            .ok_or_else(|| failed("no program".into()))?;
        let mut command = Command::new(program);
        command
            .args(arguments)
            .env_clear()
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .env("LANG", "C.UTF-8")
            .env("CLAWMESH_OPERATION", operation)
            .env("CLAWMESH_JOB", job)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true);
        command.envs(environment);
        let mut child = command.spawn().map_err(|e| failed(e.to_string()))?;
        let limit_ms = self.config.timeout_ms;
        let (ended, said) = watch(&mut child, Duration::from_millis(limit_ms)).await;
        let Some(status) = ended else {
            return Err(DriverError::TooSlow { what, limit_ms });
        };
        let status = status.map_err(|e| failed(e.to_string()))?;
        if !status.success() {
            let said = String::from_utf8_lossy(&said);
            let complaint = said.lines().next().unwrap_or_default();
            return Err(failed(format!(
                "{status}{}{complaint}",
                if complaint.is_empty() { "" } else { ": " }
            )));
        }
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(operation.to_owned());
        Ok(())
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

/// Kills the process group of a command when dropped, unless the command has ended by then: once its
/// leader is collected, the number may belong to somebody else.
struct Group(Option<Pid>);

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            // A group that is gone already is what was wanted.
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

/// Waits for a command to end and keeps the beginning of what it says; without a status, the time
/// was up and its whole group was killed.
async fn watch(
    child: &mut Child,
    limit: Duration,
) -> (Option<std::io::Result<ExitStatus>>, Vec<u8>) {
    let id = child.id().and_then(|id| i32::try_from(id).ok());
    let mut group = Group(id.and_then(Pid::from_raw));
    let mut said = Vec::new();
    let stderr = child.stderr.take();
    let ended = {
        let mut listening = pin!(listen(stderr, &mut said).fuse());
        let end = async {
            tokio::select! {
                biased;
                status = child.wait() => status,
                () = &mut listening => child.wait().await,
            }
        };
        let ended = tokio::time::timeout(limit, end).await.ok();
        if ended.is_some() {
            group.0 = None;
            if !listening.is_terminated() {
                let grace = Duration::from_millis(LAST_WORDS_MS);
                // Without an end of file there is nothing more to wait for.
                let _ = tokio::time::timeout(grace, listening).await;
            }
        }
        ended
    };
    if ended.is_none() {
        drop(group);
        // Killed already; waiting for it keeps no zombie.
        let _ = child.kill().await;
    }
    (ended, said)
}

/// Keeps the first [`EXEC_OUTPUT_MAX_BYTES`] and reads on, so that a talkative command does not die of a
/// closed pipe.
async fn listen(stderr: Option<ChildStderr>, said: &mut Vec<u8>) {
    let Some(mut stderr) = stderr else {
        return;
    };
    let mut buffer = [0; 1_024];
    while let Ok(read @ 1..) = stderr.read(&mut buffer).await {
        let room = EXEC_OUTPUT_MAX_BYTES.saturating_sub(said.len());
        said.extend(buffer.iter().take(read.min(room)));
    }
}

impl Driver for ExecDriver {
    fn capability(&self) -> &Capability {
        &self.config.capability
    }

    fn operations(&self) -> Vec<String> {
        self.operations.keys().cloned().collect()
    }

    fn apply<'a>(
        &'a self,
        action: &'a Action,
        job: &'a str,
    ) -> BoxFuture<'a, Result<(), DriverError>> {
        self.run(&action.operation, &action.params, job).boxed()
    }

    fn make_safe<'a>(&'a self, job: &'a str) -> BoxFuture<'a, Result<(), DriverError>> {
        async move { self.run(&self.config.safe, &Params::new(), job).await }.boxed()
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
