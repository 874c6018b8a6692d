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
use tokio::net::unix::pipe;
use tokio::process::{Child, ChildStdin, Command};

use super::command::{Group, Line, Words};
use crate::domain::base::limits::STANDBY_READY_MS;

/// The standby, in the language every such system has. First comes how long a safe command may take, in
/// seconds, then the safe command as arguments, which no shell reads; the words on its input are ours alone.
/// `moving N` names the process group of the start command, `moved` says that the command has ended: what it
/// left running may hear the safe command first, and then is ended. This counts where no other process is
/// left to do it. The safe command then hears no signal of a service manager, which sends them to all that
/// is left, and its output is lost: its pipe has no reader any more. Everything it opens it opens before it
/// says that it is ready, and it becomes the safe command in any case (`EXIT`).
const STANDBY: &str = r#"
trap '' HUP INT QUIT TERM TSTP
limit=$1
shift
group= left=
exec 3<>/dev/null 4<&1 >&3
echo ready >&2
while read -r word number; do
  case $word in
    moving) group=$number left= ;;
    moved) left=$group group= ;;
    safe)
      trap - HUP INT QUIT TERM TSTP
      unset PWD OLDPWD SHLVL
      exec "$@" <&3 3<&- ;;
  esac
done
exec 2>&3 4<&-
unset PWD OLDPWD SHLVL
trap 'exec "$@" <&3' EXIT
[ -z "$group" ] || kill -s KILL -- "-$group"
if [ -n "$left" ] && grep -qzs "^CLAWMESH_GROUP=$left\$" /proc/[0-9]*/environ; then
  timeout -s KILL "$limit" "$@" <&3
  kill -s KILL -- "-$left"
fi
exec "$@" <&3 3<&-
"#;

/// A standby that waits. Dropped, it makes safe.
pub(super) struct Standby {
    child: Child,
    orders: ChildStdin,
    words: pipe::Receiver,
}

impl Standby {
    /// Starts a standby for a command, and waits until it is ready. `limit` is how long the command may
    /// take. `spare` is given up for it.
    ///
    /// # Errors
    /// If the system gives no process or no descriptors, or it is not ready in time.
    pub(super) async fn start(safe: &Line, limit: Duration, spare: Vec<File>) -> io::Result<Self> {
        let limit = limit.as_secs().max(1).to_string();
        let command = safe.behind(STANDBY, "standby", &[&limit]);
        let runtime = tokio::runtime::Handle::current();
        let began = tokio::task::spawn_blocking(move || {
            let _entered = runtime.enter();
            Self::begin(command, spare)
        });
        let mut standby = began.await.map_err(io::Error::other)??;
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
        let words = Words::new()?.give_to(&mut command);
        let mut child = command.stdin(Stdio::piped()).spawn()?;
        let orders = child.stdin.take();
        let orders = orders.ok_or_else(|| io::Error::other("the standby has no pipe"))?;
        Ok(Self {
            child,
            orders,
            words,
        })
    }

    async fn is_ready(&mut self) -> io::Result<()> {
        let mut word = [0; 6];
        self.words.read_exact(&mut word).await?;
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

    /// Tells it that the start command has ended, and may have left something running.
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
            Ok(()) => Group::with_words(self.child, self.words),
            Err(error) => Err(self.gone(error)),
        }
    }
}
