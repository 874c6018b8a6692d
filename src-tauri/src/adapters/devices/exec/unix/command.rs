//! One command of this machine: fixed arguments that no shell reads, no inherited environment, and a
//! process group of its own that ends as a whole.
//!
//! It is brought up by `/bin/sh`, which then becomes it. A command that moves waits for a word first and does not begin if this
//! process is gone before; one that makes safe holds the pipe for its words open itself, so that it does not die of a closed pipe
//! when this process is killed. A command that has ended is not collected before its [`Group`] goes: until then the group's
//! number is not reused, so its remaining processes can be ended without hitting a stranger.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs::{DirEntry, File};
use std::io::{self, PipeReader, PipeWriter};
use std::os::unix::ffi::OsStrExt as _;
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
use tokio::io::AsyncWriteExt as _;
use tokio::net::unix::pipe;
use tokio::process::{Child, Command};
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinHandle;

use crate::adapters::devices::exec::{LAST_WORDS_MS, listen};
use crate::domain::base::limits::EXEC_OUTPUT_MAX_BYTES;

/// How often a group that was killed is looked at until it is gone, in milliseconds.
pub(super) const GONE_LOOK_MS: u64 = 5;

/// Becomes the command when it is told to, and ends where no process is left to tell it. By `CLAWMESH_GROUP` another process of
/// this program finds its remaining processes.
const GATE: &str = r#"
exec 3</dev/null
unset PWD OLDPWD SHLVL
CLAWMESH_GROUP=$$
export CLAWMESH_GROUP
read -r word
[ "$word" = go ] || exit 1
exec "$@" <&3 3<&-
"#;
/// Becomes the command, with the reading end of the pipe for its words kept open as number 4.
const TALK: &str = r#"
exec 4<&1 >/dev/null
unset PWD OLDPWD SHLVL
exec "$@"
"#;
/// Environment variable of an actuator's processes: the name of the actuator at its node.
const MARK: &str = "CLAWMESH_ACTUATOR";
const GROUP: &str = "CLAWMESH_GROUP";
const SHELL: &str = "/bin/sh";

/// A command line of an actuator.
#[derive(Debug, Clone)]
pub(super) struct Line {
    /// The program, absolute, and its arguments.
    pub argv: Vec<String>,
    /// All its environment.
    pub environment: BTreeMap<String, OsString>,
}

impl Line {
    /// A command line with nothing of this process but what is named here. `mark` names the actuator.
    pub(super) fn new(
        argv: &[String],
        mark: &OsString,
        operation: &str,
        job: &str,
        parameters: BTreeMap<String, String>,
    ) -> Self {
        let mut environment: BTreeMap<String, OsString> = [
            ("PATH", "/usr/local/bin:/usr/bin:/bin"),
            ("LANG", "C.UTF-8"),
            ("CLAWMESH_OPERATION", operation),
            ("CLAWMESH_JOB", job),
        ]
        .map(|(name, value)| (name.to_owned(), value.into()))
        .into();
        environment.insert(MARK.to_owned(), mark.clone());
        let parameters = parameters.into_iter();
        environment.extend(parameters.map(|(name, value)| (name, value.into())));
        let argv = argv.to_vec();
        Self { argv, environment }
    }

    /// The shell that becomes it.
    pub(super) fn behind(&self, script: &str, name: &str, first: &[&str]) -> Command {
        let mut command = Command::new(SHELL);
        command
            .args(["-c", script, name])
            .args(first)
            .args(&self.argv)
            .env_clear()
            .envs(&self.environment)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .process_group(0);
        command
    }
}

/// Where a command that makes safe says something: a pipe whose reading end it holds too.
pub(super) struct Words {
    /// This process's reading end.
    pub here: pipe::Receiver,
    there: (PipeReader, PipeWriter),
}

impl Words {
    /// # Errors
    /// Where the system gives no descriptors.
    pub(super) fn new() -> io::Result<Self> {
        let (read, write) = io::pipe()?;
        let here = pipe::Receiver::from_owned_fd(read.try_clone()?.into())?;
        let there = (read, write);
        Ok(Self { here, there })
    }

    /// Gives both ends to a command: to be read from as its output, and its errors.
    pub(super) fn give_to(self, command: &mut Command) -> pipe::Receiver {
        let (read, write) = self.there;
        command.stdout(read).stderr(write);
        self.here
    }
}

/// How a command ended, and the beginning of what it said.
pub(super) struct Ended {
    pub status: ExitStatus,
    pub said: Vec<u8>,
}

impl Ended {
    /// The fault, if there was one.
    pub(super) fn complaint(&self) -> Option<String> {
        let said = String::from_utf8_lossy(&self.said);
        let line = said.lines().next().unwrap_or_default();
        let between = if line.is_empty() { "" } else { ": " };
        (!self.status.success()).then(|| format!("{}{between}{line}", self.status))
    }
}

/// A command under way or over, with all its child processes. Dropped before its command has ended, it kills the whole group.
pub(super) struct Group {
    child: Child,
    id: Pid,
    over: bool,
    words: Option<pipe::Receiver>,
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
        Ok(Self {
            child,
            id,
            over: false,
            words: None,
        })
    }

    /// As [`Group::of`], of a command that says what it says there.
    ///
    /// # Errors
    /// As [`Group::of`].
    pub(super) fn with_words(child: Child, words: pipe::Receiver) -> io::Result<Self> {
        let mut group = Self::of(child)?;
        group.words = Some(words);
        Ok(group)
    }

    /// Starts what becomes a command once [`Group::go`] says so, on a thread that may block: a program on a disk that does not
    /// answer blocks no async task. Once `off` is set, what starts is killed at once.
    pub(super) fn prepare(line: &Line, off: Arc<AtomicBool>) -> JoinHandle<io::Result<Self>> {
        let mut command = line.behind(GATE, "start", &[]);
        command.stdin(Stdio::piped());
        tokio::task::spawn_blocking(move || {
            let group = Self::of(command.spawn()?)?;
            if off.load(Ordering::SeqCst) {
                group.kill();
            }
            Ok(group)
        })
    }

    /// Lets what was prepared begin.
    ///
    /// # Errors
    /// If it is gone.
    pub(super) async fn go(&mut self) -> io::Result<()> {
        let gone = || io::Error::other("the command is gone");
        let mut gate = self.child.stdin.take().ok_or_else(gone)?;
        gate.write_all(b"go\n").await?;
        gate.flush().await
    }

    /// Closes the way to it, as the end of this process does.
    #[cfg(test)]
    pub(super) fn leave(&mut self) {
        drop(self.child.stdin.take());
    }

    /// Starts a command that makes safe, as [`Group::prepare`] does and at once. `spare` is given up for it.
    pub(super) fn start_safe(line: &Line, spare: Vec<File>) -> JoinHandle<io::Result<Self>> {
        let mut command = line.behind(TALK, "safe", &[]);
        let runtime = tokio::runtime::Handle::current();
        tokio::task::spawn_blocking(move || {
            drop(spare);
            let _entered = runtime.enter();
            let words = Words::new()?.give_to(&mut command);
            Self::with_words(command.spawn()?, words)
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
        let (stderr, words) = (self.child.stderr.take(), self.words.take());
        let ended = {
            let listening = async {
                match words {
                    Some(words) => listen(Some(words), &mut said, EXEC_OUTPUT_MAX_BYTES).await,
                    None => listen(stderr, &mut said, EXEC_OUTPUT_MAX_BYTES).await,
                }
            };
            let mut listening = pin!(listening.fuse());
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
        // The number may be reused only once the whole group is gone.
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

/// Whether all remaining processes of a group have ended and only wait to be collected, as for ever in a container whose first
/// process collects none. Not known where there is no `/proc`.
fn all_dead(group: i32) -> bool {
    let Ok(all) = std::fs::read_dir("/proc") else {
        return false;
    };
    let found = all.flatten().filter_map(|process| {
        process.file_name().to_str()?.parse::<u32>().ok()?;
        state_and_group(&process)
    });
    let mut states = found.filter_map(|(state, of)| (of == group).then_some(state));
    states.all(|state| is_dead(&state))
}

fn is_dead(state: &str) -> bool {
    state == "Z" || state == "X"
}

/// A process's state and the group it is in.
fn state_and_group(process: &DirEntry) -> Option<(String, i32)> {
    let stat = std::fs::read_to_string(process.path().join("stat")).ok()?;
    // Behind the name in brackets: state, parent, group.
    let mut words = stat.rsplit_once(") ")?.1.split(' ');
    let (state, _, of) = (words.next()?, words.next()?, words.next()?);
    Some((state.to_owned(), of.parse().ok()?))
}

/// The groups in which commands of an actuator left something running, as far as it stayed in the group it
/// was started in; also those of an earlier process of this program. None where there is no `/proc`. Blocks.
pub(super) fn left_by(mark: &OsString) -> BTreeSet<i32> {
    let all = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let of = |process: DirEntry| {
        process.file_name().to_str()?.parse::<u32>().ok()?;
        let environment = std::fs::read(process.path().join("environ")).ok()?;
        let value = |name: &str| {
            let mut variables = environment.split(|byte| *byte == 0);
            variables.find_map(|v| v.strip_prefix(name.as_bytes())?.strip_prefix(b"="))
        };
        let group: i32 = str::from_utf8(value(GROUP)?).ok()?.parse().ok()?;
        let (state, of) = state_and_group(&process)?;
        let is_left = value(MARK)? == mark.as_bytes() && of == group;
        (is_left && !is_dead(&state)).then_some(group)
    };
    all.filter_map(of).collect()
}

/// Kills a group that [`left_by`] has found.
pub(super) fn kill(group: i32) {
    if let Some(group) = Pid::from_raw(group) {
        // A group that is gone already is what was wanted.
        let _ = kill_process_group(group, Signal::KILL);
    }
}
