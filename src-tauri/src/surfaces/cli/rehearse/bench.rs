//! The node of a rehearsal: this program on a state directory of its own, with a twin of one actuator and twins of the
//! sensors that its interlocks look at. It speaks to nobody and moves nothing.

use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::process::{Child, Command};
use tokio::time::Instant;
use toml::Table;

use super::plan::{Piece, Watched};
use crate::adapters::clock::{Clock as _, SystemClock};
use crate::adapters::devices::{Behaviour, TWIN_BEHAVIOUR, Told, twin_journal};
use crate::adapters::system;

/// How often the twins' sensors are read.
const READ_EVERY_MS: i64 = 100;
/// How often what happens is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// How long the node may take for what does not depend on the policy.
pub(super) const PATIENCE_MS: u64 = 20_000;

/// How long the end of a node is waited for until its directory is left behind.
const REMOVED_WITHIN: Duration = Duration::from_secs(5);

/// A node that can be cut, killed and lied to.
pub(super) struct Bench {
    program: PathBuf,
    home: TempDir,
    target: String,
    child: Option<Child>,
    behaviour: Behaviour,
    clock: SystemClock,
}

impl Drop for Bench {
    /// Kills the node and removes its directory, which a process that is being killed may still write into.
    fn drop(&mut self) {
        let end = Instant::now() + REMOVED_WITHIN;
        if let Some(child) = &mut self.child {
            // One that has ended cannot be killed.
            let _ = child.start_kill();
            while Instant::now() < end && matches!(child.try_wait(), Ok(None)) {
                std::thread::park_timeout(LOOK_EVERY);
            }
        }
        let home = self.home.path();
        while std::fs::remove_dir_all(home).is_err() && home.exists() && Instant::now() < end {
            std::thread::park_timeout(LOOK_EVERY);
        }
    }
}

impl Bench {
    /// Makes its state directory.
    ///
    /// # Errors
    /// What could not be written, in a sentence.
    pub(super) fn new(program: &Path, piece: &Piece, policy: &str) -> Result<Self, String> {
        let home = tempfile::Builder::new()
            .prefix("clawmesh-rehearsal-")
            .tempdir()
            .map_err(|e| format!("no place for a rehearsal: {e}"))?;
        let bench = Self {
            program: program.to_owned(),
            target: piece.target.to_string(),
            child: None,
            behaviour: Behaviour::default(),
            clock: SystemClock::default(),
            home,
        };
        let wrong = |e: std::io::Error| format!("a rehearsal cannot be written: {e}");
        for folder in [bench.state(), bench.twins()] {
            system::make_private_dir(&folder).map_err(wrong)?;
        }
        let config = config(piece, &bench.twins());
        let config = toml::to_string(&config).map_err(|e| e.to_string())?;
        std::fs::write(bench.state().join("config.toml"), config).map_err(wrong)?;
        std::fs::write(bench.state().join("policy.toml"), policy).map_err(wrong)?;
        Ok(bench)
    }

    fn state(&self) -> PathBuf {
        self.home.path().join("state")
    }

    fn twins(&self) -> PathBuf {
        self.home.path().join("twins")
    }

    /// The actuator.
    pub(super) fn target(&self) -> &str {
        &self.target
    }

    /// Now, by the clock of the twins' journal.
    pub(super) fn now(&self) -> u64 {
        self.clock.steady_ms()
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        system::bare(&mut command)
            .env(system::HOME_VARIABLE, self.home.path())
            .env("USER", "rehearsal")
            // No second copy of this state can come up: it is thrown away.
            .env("CLAWMESH_MARKS_DIR", "off")
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true);
        command
    }

    /// Runs a command on the node and gives what it said.
    ///
    /// # Errors
    /// What it said was wrong.
    pub(super) async fn run(&self, words: &[&str]) -> Result<Value, String> {
        let mut command = self.command();
        command.args(words).arg("--json").arg("--state-dir");
        command.arg(self.state());
        let within = Duration::from_millis(PATIENCE_MS);
        let said = tokio::time::timeout(within, command.output()).await;
        let said = said
            .map_err(|_| format!("`{}` did not answer", words.join(" ")))?
            .map_err(|e| format!("this program cannot be run: {e}"))?;
        match said.status.success() {
            true => serde_json::from_slice(&said.stdout)
                .map_err(|e| format!("`{}`: {e}", words.join(" "))),
            false => Err(first_line(&said.stderr)),
        }
    }

    /// Makes the operator of the rehearsal.
    ///
    /// # Errors
    /// Why not.
    pub(super) async fn enrol(&self) -> Result<(), String> {
        let made = self
            .run(&["operator", "init", "--name", "rehearsal"])
            .await?;
        let key = made["publicKey"].as_str().unwrap_or_default().to_owned();
        self.run(&[
            "operator",
            "enroll",
            &key,
            "--level",
            "L2",
            "--name",
            "rehearsal",
        ])
        .await
        .map(drop)
    }

    /// Starts the node and waits until it serves.
    ///
    /// # Errors
    /// Why it does not.
    pub(super) async fn start(&mut self) -> Result<(), String> {
        let (out, log) = (self.home.path().join("out"), self.home.path().join("log"));
        let file = |path: &Path| {
            let made = std::fs::File::create(path);
            made.map_err(|e| format!("a rehearsal cannot be written: {e}"))
        };
        let mut command = self.command();
        // However the rehearsal ends, its end of the pipe closes with it, and then the node ends.
        command.args(["start", "--json", "--end-with-stdin", "--state-dir"]);
        command.arg(self.state()).stdin(Stdio::piped());
        // Files, for nobody reads what it says further on.
        command.stdout(file(&out)?).stderr(file(&log)?);
        let mut child = system::in_own_group(&mut command)
            .spawn()
            .map_err(|e| format!("this program cannot be run: {e}"))?;
        let over = self.now().saturating_add(PATIENCE_MS);
        loop {
            let said = std::fs::read_to_string(&out).unwrap_or_default();
            if said.contains("listening") {
                self.child = Some(child);
                return Ok(());
            }
            if self.now() > over || !matches!(child.try_wait(), Ok(None)) {
                // It is dead or worth nothing; what it said last is the reason.
                let _ = child.kill().await;
                let log = std::fs::read_to_string(&log).unwrap_or_default();
                let why = log.lines().last().unwrap_or("it said nothing");
                return Err(format!("the node of the rehearsal did not start: {why}"));
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Ends the node at once, as a power cut would.
    ///
    /// # Errors
    /// If it does not run.
    pub(super) async fn kill(&mut self) -> Result<(), String> {
        let mut child = self.child.take().ok_or("the node does not run")?;
        child.kill().await.map_err(|e| e.to_string())
    }

    /// Asks the node to end, and waits for it.
    ///
    /// # Errors
    /// If it does not run or does not end.
    pub(super) async fn end(&mut self) -> Result<ExitStatus, String> {
        let mut child = self.child.take().ok_or("the node does not run")?;
        system::ask_to_end(&mut child).map_err(|e| e.to_string())?;
        let within = Duration::from_millis(PATIENCE_MS);
        let ended = tokio::time::timeout(within, child.wait()).await;
        ended
            .map_err(|_| "the node did not end".to_owned())?
            .map_err(|e| e.to_string())
    }

    /// Has the twins behave otherwise from now on.
    ///
    /// # Errors
    /// If that cannot be written.
    pub(super) fn behave(&mut self, change: impl FnOnce(&mut Behaviour)) -> Result<(), String> {
        change(&mut self.behaviour);
        let (file, beside) = (
            self.twins().join(TWIN_BEHAVIOUR),
            self.twins().join("behaviour.new"),
        );
        let text = json!(self.behaviour).to_string();
        // In one step, so that no twin reads half of it.
        std::fs::write(&beside, text)
            .and_then(|()| std::fs::rename(&beside, &file))
            .map_err(|e| format!("{}: {e}", file.display()))
    }

    /// What the actuator was told since a moment, oldest first.
    ///
    /// # Errors
    /// If its journal does not read.
    pub(super) fn told(&self, since: u64) -> Result<Vec<Told>, String> {
        let mut told = twin_journal(&self.twins())?;
        told.retain(|told| told.at >= since && told.target == self.target);
        Ok(told)
    }

    /// Waits until the actuator was told to be safe, or not, since a moment; when that was. `None` if it was not within
    /// so many milliseconds.
    ///
    /// # Errors
    /// If its journal does not read.
    pub(super) async fn until(
        &self,
        safe: bool,
        since: u64,
        within_ms: u64,
    ) -> Result<Option<u64>, String> {
        let over = since.saturating_add(within_ms);
        loop {
            let found = self.told(since)?.into_iter().find(|told| told.safe == safe);
            if let Some(told) = found {
                return Ok(Some(told.at));
            }
            if self.now() > over {
                return Ok(None);
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
}

fn first_line(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    let line = text.lines().next().unwrap_or("it said nothing");
    line.strip_prefix("error: ").unwrap_or(line).to_owned()
}

fn config(piece: &Piece, twins: &Path) -> Table {
    let text = |text: &str| toml::Value::String(text.to_owned());
    let table = |pairs: &[(&str, toml::Value)]| {
        let pairs = pairs.iter().cloned();
        let pairs = pairs.map(|(key, value)| (key.to_owned(), value));
        toml::Value::Table(pairs.collect())
    };
    let operations = piece.operations.iter().map(|o| text(o)).collect();
    let actuator = table(&[
        ("capability", text(piece.target.as_str())),
        ("operations", toml::Value::Array(operations)),
        ("safe", text(&piece.safe_state)),
    ]);
    let reading = |watched: &Watched| {
        let mut pairs = vec![
            ("metric", text(&watched.metric)),
            ("value", watched.good.into()),
        ];
        pairs.extend(watched.zone.as_deref().map(|zone| ("zone", text(zone))));
        table(&pairs)
    };
    let readings = piece.readings.iter().map(reading).collect();
    let device = table(&[
        ("kind", text("twin")),
        ("name", text("rehearsal")),
        ("folder", text(&twins.display().to_string())),
        ("actuator", toml::Value::Array(vec![actuator])),
        ("reading", toml::Value::Array(readings)),
    ]);
    let all = [
        ("name", text("rehearsal")),
        ("mesh_name", text("rehearsal")),
        ("role", text("field")),
        ("host", text("127.0.0.1")),
        ("port", 0.into()),
        ("discovery", false.into()),
        ("sensor_interval_ms", READ_EVERY_MS.into()),
        ("device", toml::Value::Array(vec![device])),
    ];
    all.into_iter()
        .map(|(key, value)| (key.to_owned(), value))
        .collect()
}
