//! The `exec` driver: commands of this machine that the operator listed, with fixed arguments.
//!
//! No shell, no inherited environment, a time limit, a process group of its own. Parameters reach
//! the command as environment variables only, after policy has bounded them.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Stdio;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tokio::io::AsyncReadExt as _;
use tokio::process::Command;

use super::{Driver, DriverError, Position, unknown};
use crate::domain::capability::{Action, Capability, Params};

/// Output of a command that is kept, in bytes.
const OUTPUT_MAX_BYTES: u64 = 4_096;

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
        for (name, value) in params {
            let text = value
                .as_str()
                .map_or_else(|| value.to_string(), str::to_owned);
            command.env(
                format!("CLAWMESH_PARAM_{}", name.to_ascii_uppercase()),
                text,
            );
        }
        let mut child = command.spawn().map_err(|e| failed(e.to_string()))?;
        let stderr = child.stderr.take();
        let complaint = async {
            let mut bytes = Vec::new();
            if let Some(stderr) = stderr {
                // What a command says beyond the limit is not worth waiting for.
                let _ = stderr.take(OUTPUT_MAX_BYTES).read_to_end(&mut bytes).await;
            }
            String::from_utf8_lossy(&bytes)
                .lines()
                .next()
                .unwrap_or_default()
                .to_owned()
        };
        let limit_ms = self.config.timeout_ms;
        let ended = async { tokio::join!(child.wait(), complaint) };
        let result = tokio::time::timeout(Duration::from_millis(limit_ms), ended).await;
        let (status, complaint) = match result {
            Ok((status, complaint)) => (status.map_err(|e| failed(e.to_string()))?, complaint),
            Err(_) => {
                // Dropping the child kills it; waiting for that keeps no zombie.
                let _ = child.kill().await;
                return Err(DriverError::TooSlow { what, limit_ms });
            }
        };
        if !status.success() {
            return Err(failed(format!(
                "{status}{}{complaint}",
                if complaint.is_empty() { "" } else { ": " }
            )));
        }
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(operation.to_owned());
        Ok(())
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
