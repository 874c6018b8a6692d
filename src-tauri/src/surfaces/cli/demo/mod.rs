//! `demo`: a command centre and a field node as two real processes on this machine.
//!
//! `prepare` makes two state directories that `start` could run by itself; here they are run as
//! children, their output is prefixed, and a guide says what to try. Killing a child is part of the
//! demonstration: the demo says how it ended and how to start it again, and stays up for the other.
//! With no child left there is no demo: it ends with an error that says how each of them ended.

pub(super) mod passphrase;
mod prepare;

use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStderr, ChildStdout, Command};

use self::prepare::{Prepared, Side};
use super::args::DemoArgs;
use super::context::Context;
use super::fail::{Done, Failure};
use super::{clean, out};
use crate::adapters::log;
use crate::adapters::signals::{Asked, AtOnce, Ends, Signals};
use crate::adapters::system;
use crate::operator::access::Scope;
use crate::surfaces::remote::Remote;

/// How often readiness is looked at.
const READY_EVERY: Duration = Duration::from_millis(100);
/// How long the children may take to end before they are killed; longer than a node's own deadline.
const END_WITHIN: Duration = Duration::from_secs(10);

/// `demo`.
///
/// # Errors
/// If the state directory is not a demo's, a node already runs there, or a child cannot start.
pub(super) async fn run(ctx: &Context, args: &DemoArgs) -> Done {
    let program = std::env::current_exe()
        .map_err(|e| Failure::failed(format!("this program cannot find itself: {e}")))?;
    let window = args.window.then(|| window_of(&program)).transpose()?;
    let prepared = prepare::prepare(ctx).await?;
    // A window decides with a press; a browser needs a passphrase.
    let passphrase = match window {
        Some(_) => None,
        None => passphrase::settle(&prepared.center.dir)?,
    };
    out::line("Starting a command centre and a field node; Ctrl-C ends both.");
    let mut center = match &window {
        Some(window) => Process::start(window, &[], &prepared.center, "center")?,
        None => Process::start(&program, &["start"], &prepared.center, "center")?,
    };
    let mut field = Process::start(&program, &["start"], &prepared.field, "field ")?;
    let only = window.is_some();
    let mut signals = Signals::listen(Leaving)
        .map_err(|e| Failure::failed(format!("signals cannot be heard: {e}")))?;
    let served = tokio::select! {
        served = serve(&program, &prepared, passphrase.as_deref(), (&mut center, &mut field), only) => served,
        _ = signals.asked() => Ok(()),
    };
    tokio::join!(center.end(), field.end());
    out::line("Both nodes have ended. Their state stays; `clawmesh-node demo` continues with it.");
    served
}

/// The demo moves nothing itself: its nodes make their own actuators safe.
struct Leaving;

impl Ends for Leaving {
    fn asked(&mut self, _: Asked) {}

    async fn at_once(&mut self, why: AtOnce) {
        let what = match why {
            AtOnce::Again => "a second signal came before both nodes had ended",
            AtOnce::TooLong => "the nodes did not end in time",
            AtOnce::Stands => "no task of the program has run for some time",
        };
        // Their stdin closes with this process, so both still end by themselves.
        out::error(&format!("stopped at once: {what}"));
        log::flush();
        std::process::exit(130);
    }
}

/// The desktop application beside this program.
fn window_of(program: &Path) -> Result<PathBuf, Failure> {
    let window = program.with_file_name(format!("clawmesh{}", std::env::consts::EXE_SUFFIX));
    match window.is_file() {
        true => Ok(window),
        false => Err(Failure::failed(format!(
            "{} is not there; build it with `make desktop`, or run the demo without --window",
            window.display()
        ))),
    }
}

/// Relays output and says what happens to the children, until both have ended; with `window` until
/// the command centre, which is one, ends.
async fn serve(
    program: &Path,
    prepared: &Prepared,
    passphrase: Option<&String>,
    (center, field): (&mut Process, &mut Process),
    window: bool,
) -> Done {
    let ready = ready(prepared.center.dir.root(), prepared.field.dir.root());
    tokio::pin!(ready);
    let mut guided = false;
    let mut over: Vec<String> = Vec::new();
    while over.len() < 2 {
        tokio::select! {
            ended = center.step() => {
                let well = ended.as_ref().is_ok_and(ExitStatus::success);
                let how = center.report(program, &prepared.center, ended, guided)?;
                if window {
                    return match well {
                        true => Ok(()),
                        false => Err(Failure::failed(how)),
                    };
                }
                over.push(how);
            }
            ended = field.step() => {
                over.push(field.report(program, &prepared.field, ended, guided)?);
            }
            () = &mut ready, if !guided => {
                guided = true;
                guide(program, prepared, center.pid, field.pid);
                if !window {
                    offer_console(program, prepared, passphrase).await;
                }
            }
        }
    }
    Err(Failure::failed(format!(
        "no node of the demo is left: {}",
        over.join("; ")
    )))
}

/// Waits until both nodes answer and are connected to each other.
async fn ready(center: &Path, field: &Path) {
    let mut tick = tokio::time::interval(READY_EVERY);
    loop {
        tick.tick().await;
        if linked(center).await && linked(field).await {
            return;
        }
    }
}

async fn linked(dir: &Path) -> bool {
    let Ok(Some(remote)) = Remote::connect(dir).await else {
        return false;
    };
    remote.status().await.is_ok_and(|s| !s.peers.is_empty())
}

/// A child: a node on its own state directory.
struct Process {
    tag: &'static str,
    child: Option<Child>,
    pid: u32,
    stdout: Option<Lines<BufReader<ChildStdout>>>,
    stderr: Option<Lines<BufReader<ChildStderr>>>,
}

impl Process {
    fn start(
        program: &Path,
        words: &[&str],
        side: &Side,
        tag: &'static str,
    ) -> Result<Self, Failure> {
        let mut command = Command::new(program);
        command
            .args(words)
            .args(["--end-with-stdin", "--state-dir"])
            .arg(side.dir.root())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        // Its own group: Ctrl-C reaches the demo alone, which then ends both in order.
        let mut child = system::in_own_group(&mut command).spawn().map_err(|e| {
            Failure::failed(format!("{} cannot be started: {e}", program.display()))
        })?;
        Ok(Self {
            tag,
            pid: child.id().unwrap_or_default(),
            stdout: child.stdout.take().map(|s| BufReader::new(s).lines()),
            stderr: child.stderr.take().map(|s| BufReader::new(s).lines()),
            child: Some(child),
        })
    }

    /// Relays lines until the child has ended; then, and when called again, waits for ever.
    async fn step(&mut self) -> std::io::Result<ExitStatus> {
        loop {
            tokio::select! {
                line = next(&mut self.stdout) => self.relay(line, true),
                line = next(&mut self.stderr) => self.relay(line, false),
                ended = wait(&mut self.child), if self.stdout.is_none() && self.stderr.is_none() => {
                    self.child = None;
                    return ended;
                }
            }
        }
    }

    fn relay(&mut self, line: Option<String>, from_stdout: bool) {
        match line {
            Some(line) => out::line(&format!("{} | {line}", self.tag)),
            None if from_stdout => self.stdout = None,
            None => self.stderr = None,
        }
    }

    /// Says how it ended, and gives the same as a sentence.
    fn report(
        &self,
        program: &Path,
        side: &Side,
        ended: std::io::Result<ExitStatus>,
        guided: bool,
    ) -> Result<String, Failure> {
        let how = match &ended {
            Ok(status) => how_ended(*status),
            Err(error) => format!("ended, and the system does not say how: {error}"),
        };
        let name = self.tag.trim();
        let again = start_command(program, side.dir.root());
        let by_itself = ended.is_ok_and(|status| status.code().is_some_and(|code| code != 0));
        if by_itself && !guided {
            return Err(Failure::failed(format!(
                "the {name} node {how} before it was ready; its lines above say why"
            )));
        }
        let told = format!("the {name} node (pid {}) {how}", self.pid);
        out::line(&format!("T{}. Start it again with: {again}", &told[1..]));
        Ok(told)
    }

    /// Asks the child to end by closing its stdin, and kills it if it does not.
    async fn end(&mut self) {
        let Some(child) = self.child.as_mut() else {
            return;
        };
        drop(child.stdin.take());
        if tokio::time::timeout(END_WITHIN, self.step()).await.is_err() {
            out::error(&format!(
                "the {} node did not end in time and is killed",
                self.tag.trim()
            ));
            if let Some(child) = self.child.as_mut() {
                let _ = child.kill().await;
            }
        }
    }
}

async fn next<R: tokio::io::AsyncRead + Unpin>(
    lines: &mut Option<Lines<BufReader<R>>>,
) -> Option<String> {
    match lines {
        Some(lines) => lines.next_line().await.ok().flatten(),
        None => std::future::pending().await,
    }
}

async fn wait(child: &mut Option<Child>) -> std::io::Result<ExitStatus> {
    match child {
        Some(child) => child.wait().await,
        None => std::future::pending().await,
    }
}

fn how_ended(status: ExitStatus) -> String {
    if let Some(signal) = system::signal_of(status) {
        let name = match signal {
            2 => " (SIGINT)",
            6 => " (SIGABRT)",
            9 => " (SIGKILL)",
            11 => " (SIGSEGV)",
            15 => " (SIGTERM)",
            _ => "",
        };
        return format!("was killed by signal {signal}{name}");
    }
    match status.code() {
        Some(0) => "has ended by itself".to_owned(),
        Some(code) => format!("has ended with exit code {code}"),
        None => "has ended".to_owned(),
    }
}

/// A path as a shell takes it.
fn quoted(path: &Path) -> String {
    let shown = path.display().to_string();
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-~+:@".contains(c);
    if !shown.is_empty() && shown.chars().all(plain) {
        shown
    } else {
        format!("'{}'", shown.replace('\'', "'\\''"))
    }
}

fn start_command(program: &Path, dir: &Path) -> String {
    format!("{} start --state-dir {}", quoted(program), quoted(dir))
}

fn guide(program: &Path, prepared: &Prepared, center: u32, field: u32) {
    let node = quoted(program);
    let (center_dir, field_dir) = (prepared.center.dir.root(), prepared.field.dir.root());
    let main = format!("{node} --state-dir {}", quoted(center_dir));
    let lines = [
        String::new(),
        "Both nodes run and are connected.".to_owned(),
        format!("  command centre  port {}, pid {center}, state {}", prepared.center.port, center_dir.display()),
        format!("  field node      port {}, pid {field}, state {}", prepared.field.port, field_dir.display()),
        format!("  API             http://127.0.0.1:{}/api/operator/v1", prepared.center.port),
        String::new(),
        "The simulated soil dries; within half a minute a rule asks for water. In another terminal:".to_owned(),
        format!("  {main} world                 readings, with age, origin and tier"),
        format!("  {main} proposals             what waits for you"),
        format!("  {main} show <id>             everything to see before deciding"),
        format!("  {main} approve <id> --wait   your key signs it, the valve opens and closes by itself"),
        format!("  {main} trace <id>            from reading to outcome"),
        String::new(),
        "Kill either node at any moment and start it again; nothing acknowledged is lost:".to_owned(),
        format!("  kill -9 {field};  {}", start_command(program, field_dir)),
        format!("  kill -9 {center};  {}", start_command(program, center_dir)),
        String::new(),
    ];
    for line in lines {
        out::print(&format!("{}\n", clean::clean(&line)));
    }
}

/// Prints a link that opens the console once, and how to get another.
async fn offer_console(program: &Path, prepared: &Prepared, passphrase: Option<&String>) {
    let dir = prepared.center.dir.root();
    let another = format!("{} --state-dir {} console", quoted(program), quoted(dir));
    let link = match Remote::connect(dir).await {
        Ok(Some(remote)) => remote.console_link(Scope::Operate, "demo").await.ok(),
        _ => None,
    };
    if let Some(link) = link {
        let url = clean::clean(&link.url);
        out::print(&format!("Console, once within two minutes: {url}\n"));
    }
    if let Some(passphrase) = passphrase {
        out::print(&format!(
            "Deciding there asks for a passphrase; this demo's is {passphrase}\n"
        ));
    }
    out::print(&format!(
        "Another console link: {}\n\n",
        clean::clean(&another)
    ));
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn commands_can_be_pasted() {
        assert_eq!(quoted(Path::new("/a/b-c.d")), "/a/b-c.d");
        assert_eq!(quoted(Path::new("/a b/it's")), "'/a b/it'\\''s'");
    }

    #[cfg(unix)]
    #[test]
    fn an_end_by_signal_says_which() {
        use std::os::unix::process::ExitStatusExt as _;
        assert!(how_ended(ExitStatus::from_raw(9)).contains("SIGKILL"));
        assert!(how_ended(ExitStatus::from_raw(256)).contains("exit code 1"));
    }
}
