//! One command of this machine: fixed arguments, no shell around it, no inherited environment, and a
//! process group of its own that ends as a whole.
//!
//! A command that has ended is not collected before its [`Group`] goes: until then the group's number
//! belongs to nobody else, so what it left running can be ended without hitting a stranger.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::process::ExitStatusExt as _;
use std::pin::pin;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::FusedFuture as _;
use rustix::process::{
    Pid, Signal, WaitId, WaitIdOptions, kill_process_group, test_kill_process_group, waitid,
};
use tokio::io::AsyncReadExt as _;
use tokio::process::{Child, ChildStderr, Command};
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinHandle;

use crate::domain::base::limits::EXEC_OUTPUT_MAX_BYTES;

/// How long the last words of a command that has ended are waited for, in milliseconds. They are in
/// the pipe by then; only something it left running can keep the pipe open.
const LAST_WORDS_MS: u64 = 100;
/// How often a group that was killed is looked at until it is gone, in milliseconds.
const GONE_LOOK_MS: u64 = 5;

/// A command with nothing of this process but what is named here.
pub(super) fn prepared(
    program: &str,
    arguments: &[String],
    operation: &str,
    job: &str,
    parameters: BTreeMap<String, String>,
) -> Command {
    let mut command = Command::new(program);
    command
        .args(arguments)
        .env_clear()
        .env("PATH", "/usr/local/bin:/usr/bin:/bin")
        .env("LANG", "C.UTF-8")
        .env("CLAWMESH_OPERATION", operation)
        .env("CLAWMESH_JOB", job)
        .envs(parameters)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .process_group(0);
    command
}

/// How a command ended, and the beginning of what it said.
pub(super) struct Ended {
    pub status: ExitStatus,
    pub said: Vec<u8>,
}

impl Ended {
    /// What went wrong, if it did.
    pub(super) fn complaint(&self) -> Option<String> {
        let said = String::from_utf8_lossy(&self.said);
        let line = said.lines().next().unwrap_or_default();
        let between = if line.is_empty() { "" } else { ": " };
        (!self.status.success()).then(|| format!("{}{between}{line}", self.status))
    }
}

/// A command under way or over, with whatever it started. Dropped before its command has ended, it
/// kills the whole group.
pub(super) struct Group {
    child: Child,
    id: Pid,
    over: bool,
}

impl Group {
    /// A command that was started as the leader of a group.
    ///
    /// # Errors
    /// If it has no number any more.
    pub(super) fn of(child: Child) -> io::Result<Self> {
        let id = child.id().and_then(|id| i32::try_from(id).ok());
        let id = id.and_then(Pid::from_raw);
        let id = id.ok_or_else(|| io::Error::other("the command was collected already"))?;
        let over = false;
        Ok(Self { child, id, over })
    }

    /// Starts a command on a thread that may block: a program on a disk that does not answer holds up
    /// nobody. Once `off` is set, what starts is killed at once. `spare` is given up for it.
    pub(super) fn start(
        mut command: Command,
        off: Arc<AtomicBool>,
        spare: Vec<File>,
    ) -> JoinHandle<io::Result<Self>> {
        tokio::task::spawn_blocking(move || {
            drop(spare);
            let group = Self::of(command.spawn()?)?;
            if off.load(Ordering::SeqCst) {
                group.kill();
            }
            Ok(group)
        })
    }

    /// The number of the group.
    pub(super) fn id(&self) -> i32 {
        self.id.as_raw_nonzero().get()
    }

    /// Kills everything in it.
    pub(super) fn kill(&self) {
        // A group that is gone already is what was wanted.
        let _ = kill_process_group(self.id, Signal::KILL);
    }

    /// Waits for the command to end, and does not collect it.
    async fn over(&mut self) -> io::Result<ExitStatus> {
        let mut deaths = signal(SignalKind::child())?;
        let how = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        loop {
            if let Some(status) = waitid(WaitId::Pid(self.id), how)? {
                self.over = true;
                let code = status.exit_status().map(|code| code << 8);
                let raw = code.or_else(|| status.terminating_signal());
                return Ok(ExitStatus::from_raw(raw.unwrap_or_default()));
            }
            deaths.recv().await;
        }
    }

    /// Waits for the command to end; `None` if the time was up, and then its whole group was killed.
    pub(super) async fn watch(&mut self, limit: Duration) -> io::Result<Option<Ended>> {
        let mut said = Vec::new();
        let stderr = self.child.stderr.take();
        let ended = {
            let mut listening = pin!(listen(stderr, &mut said).fuse());
            let end = async {
                let mut over = pin!(self.over());
                tokio::select! {
                    biased;
                    status = &mut over => status,
                    () = &mut listening => over.await,
                }
            };
            let ended = tokio::time::timeout(limit, end).await.ok().transpose()?;
            if ended.is_some() && !listening.is_terminated() {
                let grace = Duration::from_millis(LAST_WORDS_MS);
                // Without an end of file there is nothing more to wait for.
                let _ = tokio::time::timeout(grace, listening).await;
            }
            ended
        };
        if ended.is_none() {
            self.kill();
        }
        Ok(ended.map(|status| Ended { status, said }))
    }

    /// Collects a command that has ended, and tells whether something it started is still there.
    pub(super) async fn left_something(&mut self) -> bool {
        // The number may belong to somebody else only once the whole group is gone.
        let _ = self.child.wait().await;
        test_kill_process_group(self.id).is_ok() && !all_dead(self.id())
    }

    /// Kills everything in it and waits until nothing is left, no longer than `patience`; `false` if
    /// something is.
    pub(super) async fn end(&mut self, patience: Duration) -> bool {
        let gone = async {
            self.kill();
            // Without a child there is nothing to wait for.
            let _ = self.over().await;
            while self.left_something().await {
                self.kill();
                tokio::time::sleep(Duration::from_millis(GONE_LOOK_MS)).await;
            }
        };
        tokio::time::timeout(patience, gone).await.is_ok()
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if !self.over {
            self.kill();
        }
    }
}

/// Whether whatever is left of a group has ended and only waits to be collected, as for ever in a
/// container whose first process collects nobody. Not known where there is no `/proc`.
fn all_dead(group: i32) -> bool {
    let Ok(all) = std::fs::read_dir("/proc") else {
        return false;
    };
    let stats = all.flatten().filter_map(|process| {
        let named = process.file_name().to_str()?.parse::<u32>().is_ok();
        named.then(|| std::fs::read_to_string(process.path().join("stat")).ok())?
    });
    let mut states = stats.filter_map(|stat| {
        // Behind the name in brackets: state, parent, group.
        let mut words = stat.rsplit_once(") ")?.1.split(' ');
        let (state, _, of) = (words.next()?, words.next()?, words.next()?);
        (of.parse() == Ok(group)).then(|| state.to_owned())
    });
    states.all(|state| state == "Z" || state == "X")
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
