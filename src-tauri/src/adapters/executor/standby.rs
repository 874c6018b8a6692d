//! The standby: a process that is started before an actuator moves and has all it needs to run the safe
//! command: its memory, its descriptors, its place among the processes.
//!
//! It becomes the safe command when it is told to, and when its pipe ends: so also when this process is
//! killed. It hears no signal of the terminal, the session or a service manager until then.

use std::fs::File;
use std::io;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, ChildStdin, Command};

use super::command::Group;
use crate::domain::base::limits::STANDBY_READY_MS;

/// The standby, in the language every such system has. The safe command comes as arguments, which no
/// shell reads; the words on its input are ours alone. `moving N` names the process group of the start
/// command, which is ended first where nobody else is left to do it; `moved` takes that back. Where this
/// process is gone, the safe command goes on without hearing those signals either: a service manager
/// sends them to all that is left. Everything it opens it opens before it says that it is ready.
const STANDBY: &str = r#"
trap '' HUP INT QUIT TERM TSTP
group=
exec 3</dev/null
echo ready >&2
while read -r word number; do
  case $word in
    moving) group=$number ;;
    moved) group= ;;
    safe) trap - HUP INT QUIT TERM TSTP; group=; break ;;
  esac
done
[ -z "$group" ] || kill -s KILL -- "-$group"
unset PWD OLDPWD SHLVL
exec "$@" <&3 3<&-
"#;
const SHELL: &str = "/bin/sh";

/// A standby that waits. Dropped, it makes safe.
pub(super) struct Standby {
    child: Child,
    orders: ChildStdin,
}

impl Standby {
    /// Starts a standby for a command, which is the program with its arguments and environment, and waits
    /// until it is ready. `spare` is given up for it.
    ///
    /// # Errors
    /// If the system gives no process or no descriptors, or it is not ready in time.
    pub(super) async fn start(safe: &Command, spare: Vec<File>) -> io::Result<Self> {
        let command = wrapped(safe.as_std());
        let mut standby = tokio::task::spawn_blocking(move || Self::begin(command, spare))
            .await
            .map_err(io::Error::other)??;
        let limit = Duration::from_millis(STANDBY_READY_MS);
        let ready = tokio::time::timeout(limit, standby.is_ready()).await;
        match ready {
            Ok(Ok(())) => Ok(standby),
            Ok(Err(error)) => Err(standby.gone(error)),
            Err(_) => Err(standby.gone(io::ErrorKind::TimedOut.into())),
        }
    }

    fn begin(mut command: Command, spare: Vec<File>) -> io::Result<Self> {
        drop(spare);
        let mut child = command.spawn()?;
        let orders = child.stdin.take();
        let orders = orders.ok_or_else(|| io::Error::other("the standby has no pipe"))?;
        Ok(Self { child, orders })
    }

    async fn is_ready(&mut self) -> io::Result<()> {
        let no_pipe = || io::Error::other("the standby has no pipe");
        let said = self.child.stderr.as_mut().ok_or_else(no_pipe)?;
        let mut word = [0; 6];
        said.read_exact(&mut word).await?;
        match &word == b"ready\n" {
            true => Ok(()),
            false => Err(io::ErrorKind::InvalidData.into()),
        }
    }

    /// Takes it away without the safe command.
    fn gone(self, error: io::Error) -> io::Error {
        self.dismiss();
        error
    }

    /// Ends it without the safe command.
    pub(super) fn dismiss(mut self) {
        // One that has ended already is what was wanted.
        let _ = self.child.start_kill();
    }

    async fn tell(&mut self, order: &str) -> io::Result<()> {
        self.orders.write_all(order.as_bytes()).await?;
        self.orders.flush().await
    }

    /// Tells it what the start command runs in.
    ///
    /// # Errors
    /// If it is gone.
    pub(super) async fn moving(&mut self, group: i32) -> io::Result<()> {
        self.tell(&format!("moving {group}\n")).await
    }

    /// Tells it that the start command has ended.
    ///
    /// # Errors
    /// If it is gone.
    pub(super) async fn moved(&mut self) -> io::Result<()> {
        self.tell("moved\n").await
    }

    /// It becomes the safe command now.
    ///
    /// # Errors
    /// If it is gone.
    pub(super) async fn make_safe(mut self) -> io::Result<Group> {
        match self.tell("safe\n").await {
            Ok(()) => Group::of(self.child),
            Err(error) => Err(self.gone(error)),
        }
    }
}

/// The command behind the standby's script.
fn wrapped(safe: &std::process::Command) -> Command {
    let mut command = Command::new(SHELL);
    command
        .args(["-c", STANDBY, "standby"])
        .arg(safe.get_program());
    command.args(safe.get_args()).env_clear();
    command.envs(
        safe.get_envs()
            .filter_map(|(name, value)| Some((name, value?))),
    );
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .process_group(0);
    command
}
