//! Real processes of the real program: nodes that can be killed, and commands with their answers.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use crate::harness::PATIENCE;

const PROGRAM: &str = env!("CARGO_BIN_EXE_clawmesh-node");
pub const VALVE: &str = "actuator:mock:valve-1";

/// How a field node with the simulated kit is started.
pub const FIELD: [&str; 10] = [
    "--name",
    "field-1",
    "--role",
    "field",
    "--mesh-name",
    "test",
    "--no-discovery",
    "--mock-sensor",
    "--mock-actuator",
    "--sensor-interval=100",
];

/// A state directory of its own, in a home of its own.
pub struct Place {
    home: Arc<TempDir>,
    state: PathBuf,
}

/// A test that failed shows what the nodes said last.
impl Drop for Place {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = self.log();
            let lines: Vec<&str> = log.lines().collect();
            let last = &lines[lines.len().saturating_sub(40)..];
            eprintln!("the nodes of this place said:\n{}", last.join("\n"));
        }
    }
}

/// What a command said.
#[derive(Debug)]
pub struct Said {
    pub line: String,
    pub code: i32,
    pub out: String,
    pub err: String,
}

/// A running node; killed when dropped.
pub struct Running {
    child: Child,
    pub address: SocketAddr,
}

fn program(home: &Path) -> Command {
    let mut command = Command::new(PROGRAM);
    command.env_clear().env("HOME", home).env("USER", "ada");
    // No test may write outside its home, whoever runs it.
    command.env("CLAWMESH_MARKS_DIR", marks_in(home));
    command.stdin(Stdio::null());
    command
}

fn marks_in(home: &Path) -> PathBuf {
    home.join("marks/clawmesh")
}

impl Place {
    /// Lets no mark be written outside the state directory, or lets it be written again.
    pub fn marks_fail(&self, fail: bool) {
        let (folder, away) = (self.beside("marks"), self.beside("marks-kept"));
        if fail {
            std::fs::create_dir_all(&folder).unwrap();
            std::fs::rename(&folder, away).unwrap();
            std::fs::write(&folder, "no folder").unwrap();
        } else {
            std::fs::remove_file(&folder).unwrap();
            std::fs::rename(away, &folder).unwrap();
        }
    }

    pub fn new() -> Self {
        let home = Arc::new(tempfile::tempdir().unwrap());
        let state = home.path().join("state");
        Self { home, state }
    }

    /// Another state directory in the home of `other`.
    pub fn at(state: PathBuf, other: &Place) -> Self {
        let home = other.home.clone();
        Self { home, state }
    }

    /// The state directory; it need not exist yet.
    pub fn state(&self) -> PathBuf {
        self.state.clone()
    }

    /// A directory beside the state directory.
    pub fn beside(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    /// Everything the nodes started here wrote to stderr.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.home.path().join("node.log")).unwrap_or_default()
    }

    /// Writes a file of the state directory before any node does.
    pub fn write(&self, name: &str, text: &str) {
        use std::os::unix::fs::DirBuilderExt as _;
        let mut maker = std::fs::DirBuilder::new();
        maker.recursive(true).mode(0o700);
        maker.create(self.state()).unwrap();
        std::fs::write(self.state().join(name), text).unwrap();
    }

    /// The program in its own home, with nothing of its command line yet.
    pub fn command(&self) -> Command {
        program(self.home.path())
    }

    /// Runs a command on this state directory until it ends.
    pub fn run(&self, args: &[&str]) -> Said {
        self.run_at(&self.state(), args)
    }

    /// As [`Place::run`], in another state directory. A decision is made without being asked.
    pub fn run_at(&self, state: &Path, args: &[&str]) -> Said {
        let decides = matches!(args.first(), Some(&"approve" | &"reject"));
        match decides {
            true => self.as_typed(state, &[args, &["--yes"]].concat()),
            false => self.as_typed(state, args),
        }
    }

    /// Runs exactly this command.
    pub fn as_typed(&self, state: &Path, args: &[&str]) -> Said {
        self.typing(state, args, "")
    }

    /// As [`Place::as_typed`], with these lines on its standard input.
    pub fn typing(&self, state: &Path, args: &[&str], lines: &str) -> Said {
        let mut command = program(self.home.path());
        command.args(args).arg("--state-dir").arg(state);
        if args.first() == Some(&"start") && !args.contains(&"--no-discovery") {
            // No test may speak to the network it runs in.
            command.arg("--no-discovery");
        }
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        if !lines.is_empty() {
            command.stdin(Stdio::piped());
        }
        let mut child = command.spawn().unwrap();
        if let Some(mut stdin) = child.stdin.take() {
            // A command that refuses at once does not read it.
            let _ = stdin.write_all(lines.as_bytes());
        }
        // A command that hangs must not hang the tests: a node that was to be refused may run.
        let deadline = Instant::now() + PATIENCE;
        let (mut out, mut err) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
        let errors = std::thread::spawn(move || {
            let mut text = String::new();
            err.read_to_string(&mut text).unwrap();
            text
        });
        let outs = std::thread::spawn(move || {
            let mut text = String::new();
            out.read_to_string(&mut text).unwrap();
            text
        });
        let status = loop {
            if let Some(status) = child.try_wait().unwrap() {
                break status;
            }
            if Instant::now() > deadline {
                child.kill().unwrap();
                child.wait().unwrap();
                panic!("{args:?} did not end: {}", errors.join().unwrap());
            }
            pause(Duration::from_millis(5));
        };
        Said {
            line: args.join(" "),
            code: status.code().unwrap_or(-1),
            out: outs.join().unwrap(),
            err: errors.join().unwrap(),
        }
    }

    /// Runs a command that must work and returns its JSON.
    pub fn json(&self, args: &[&str]) -> Value {
        let args: Vec<&str> = args.iter().copied().chain(["--json"]).collect();
        self.run(&args).json()
    }

    /// Starts a node on this state directory and waits until it listens.
    pub fn start(&self, args: &[&str]) -> Running {
        self.start_at(&self.state(), args)
    }

    /// Starts a node on this state directory that dies at a point of `adapters/crash.rs`.
    pub fn start_to_crash(&self, point: &str, args: &[&str]) -> Running {
        self.start_with(&self.state(), args, &[("CLAWMESH_CRASH", point)])
            .unwrap_or_else(|why| panic!("{point}: {why}"))
    }

    /// As [`Place::start`], in another state directory.
    pub fn start_at(&self, state: &Path, args: &[&str]) -> Running {
        self.start_with(state, args, &[])
            .unwrap_or_else(|why| panic!("{why}"))
    }

    /// Starts a node with these variables; or why it did not start, once it has ended.
    pub fn start_with(
        &self,
        state: &Path,
        args: &[&str],
        variables: &[(&str, &str)],
    ) -> Result<Running, String> {
        let log = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.home.path().join("node.log"))
            .unwrap();
        let mut command = program(self.home.path());
        command.envs(variables.iter().copied());
        command.arg("start").args(args).arg("--json");
        if !args.contains(&"--no-discovery") {
            command.arg("--no-discovery");
        }
        if !args.contains(&"--port") {
            command.args(["--port", "0"]);
        }
        command.arg("--state-dir").arg(state);
        command.stdout(Stdio::piped()).stderr(log);
        let mut child = command.spawn().unwrap();
        let mut line = String::new();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        out.read_line(&mut line).unwrap();
        let Ok(said) = serde_json::from_str::<Value>(&line) else {
            let ended = child.wait().unwrap();
            let log = self.log();
            return Err(format!("the node did not start ({ended}): {line}{log}"));
        };
        let address = said["listening"].as_str().unwrap().parse().unwrap();
        Ok(Running { child, address })
    }

    /// A field node with the simulated kit, its operator enrolled.
    pub fn field(&self, more: &[&str]) -> Running {
        self.start(&[&FIELD, more].concat())
    }

    /// The person's key here, its public half.
    pub fn operator(&self) -> String {
        let shown = match self.run(&["operator", "show", "--json"]) {
            said if said.code == 0 => said.json(),
            _ => self.json(&["operator", "init", "--name", "ada"]),
        };
        shown["publicKey"].as_str().unwrap().to_owned()
    }

    /// Makes the person's key and enrols it here.
    pub fn enrolled(&self) -> String {
        let key = self.operator();
        self.json(&["operator", "enroll", &key, "--level", "L2", "--name", "ada"]);
        key
    }

    /// This device's id.
    pub fn device(&self) -> String {
        let shown = self.json(&["identity"]);
        shown["deviceId"].as_str().unwrap().to_owned()
    }

    /// Asks for water, once there is a moisture reading and a tank level; returns the proposal's id.
    pub fn propose(&self, seconds: u32) -> String {
        let draft = self.draft(seconds).json();
        draft["proposalId"]
            .as_str()
            .unwrap_or_else(|| panic!("no proposal: {draft}"))
            .to_owned()
    }

    /// As [`Place::propose`]; `None` where that was not answered.
    pub fn try_propose(&self, seconds: u32) -> Option<String> {
        let said = self.draft(seconds);
        eprintln!("{said:?}");
        let draft: Value = serde_json::from_str(&said.out).ok()?;
        Some(draft["proposalId"].as_str()?.to_owned())
    }

    /// Waits until this run of the node has a moisture reading, whose frame it returns, and a tank level: what is
    /// asked for needs the one, and what is approved the other.
    pub fn measured(&self) -> String {
        // Of this run: after a crash those from before count for nothing.
        eventually("there is a moisture reading and a tank level", || {
            let status: Value = serde_json::from_str(&self.run(&["status", "--json"]).out).ok()?;
            let up = status["uptimeMs"].as_u64()?;
            let world = self.json(&["world"]);
            let mut facts = world.as_array().unwrap().clone();
            facts.retain(|f| f["ageMs"].as_u64().is_some_and(|age| age < up));
            let tank = facts.iter().any(|f| f["metric"] == "tank.level");
            let moist = facts.into_iter().find(|f| f["metric"] == "moisture")?;
            tank.then(|| moist["frameId"].as_str().unwrap().to_owned())
        })
    }

    fn draft(&self, seconds: u32) -> Said {
        let cite = self.measured();
        let duration = format!("durationSec={seconds}");
        self.run(&[
            "propose", VALVE, "open", &duration, "--reason", "dry", "--cite", &cite, "--json",
        ])
    }

    /// A proposal as this node shows it.
    pub fn proposal(&self, id: &str) -> Option<Value> {
        let all = self.json(&["proposals", "--all"]);
        all.as_array()
            .unwrap()
            .iter()
            .find(|p| p["id"] == id)
            .cloned()
    }

    pub fn status_of(&self, id: &str) -> String {
        let proposal = self.proposal(id).unwrap_or_else(|| panic!("{id} is gone"));
        proposal["status"].as_str().unwrap().to_owned()
    }

    /// Waits until a proposal has one of the statuses.
    pub fn await_status(&self, id: &str, wanted: &[&str]) -> String {
        eventually(&format!("{id} is {wanted:?}"), || {
            let status = self.proposal(id)?["status"].as_str()?.to_owned();
            wanted.contains(&status.as_str()).then_some(status)
        })
    }

    /// The movements of the simulated kit for a job, as positions.
    pub fn moves(&self, job: &str) -> Vec<String> {
        let all = crate::harness::journal(&self.state());
        all.iter()
            .filter(|m| m["job"] == job)
            .map(|m| m["position"].as_str().unwrap().to_owned())
            .collect()
    }
}

/// A running demonstration; its nodes end with it.
pub struct Demo {
    child: Child,
    lines: std::io::Lines<BufReader<std::process::ChildStdout>>,
}

impl Demo {
    pub fn start(place: &Place) -> Self {
        let mut command = program(place.home.path());
        command.arg("demo").arg("--state-dir").arg(place.state());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines }
    }

    /// Waits for a line with all these words.
    pub fn says(&mut self, words: &[&str]) -> String {
        for line in &mut self.lines {
            let line = line.unwrap();
            if words.iter().all(|w| line.contains(w)) {
                return line;
            }
        }
        panic!("the demo ended without saying {words:?}");
    }

    /// The processes of the command centre and of the field node, once they are connected.
    pub fn pids(&mut self) -> [u32; 2] {
        ["  command centre", "  field node"].map(|side| {
            let line = self.says(&[side, "pid "]);
            let (_, rest) = line.split_once("pid ").unwrap();
            rest.split(',').next().unwrap().parse().unwrap()
        })
    }

    pub fn kill(pid: u32) {
        let asked = Command::new("kill")
            .args(["-KILL", &pid.to_string()])
            .status();
        assert!(asked.unwrap().success());
    }

    /// Waits for its end: the exit code and what it said on stderr.
    pub fn end(mut self) -> (i32, String) {
        for line in &mut self.lines {
            line.unwrap();
        }
        let mut err = String::new();
        let mut stderr = self.child.stderr.take().unwrap();
        stderr.read_to_string(&mut err).unwrap();
        (self.child.wait().unwrap().code().unwrap_or(-1), err)
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Said {
    /// The JSON of a command that worked.
    pub fn json(&self) -> Value {
        assert_eq!(self.code, 0, "{self:?}");
        serde_json::from_str(&self.out).unwrap_or_else(|e| panic!("{e}: {self:?}"))
    }

    /// A failure: this exit code, nothing but one line on stderr, with these words in it.
    pub fn fails(&self, code: i32, words: &[&str]) -> &Self {
        assert_eq!(self.code, code, "{}: {self:?}", self.line);
        let lines: Vec<&str> = self.err.lines().collect();
        assert_eq!(lines.len(), 1, "one line on stderr: {self:?}");
        assert!(self.err.ends_with('\n'), "{self:?}");
        for word in words {
            assert!(self.err.contains(word), "{word:?} is missing: {self:?}");
        }
        self
    }
}

impl Said {
    /// A failure that is told on several lines of stderr: these, by a word of each.
    pub fn fails_on_lines(&self, code: i32, words: &[&str]) -> &Self {
        assert_eq!(self.code, code, "{}: {self:?}", self.line);
        let lines: Vec<&str> = self.err.lines().collect();
        assert_eq!(lines.len(), words.len(), "{self:?}");
        for (line, word) in lines.iter().zip(words) {
            assert!(line.contains(word), "{word:?} is missing: {self:?}");
        }
        self
    }
}

/// Sends a signal by its name.
pub fn signal_to(pid: u32, name: &str) {
    let signal = format!("-{name}");
    let mut kill = Command::new("kill");
    assert!(
        kill.args([&signal, &pid.to_string()])
            .status()
            .unwrap()
            .success()
    );
}

/// Says loudly that a test does not run here.
pub fn skipped(what: &str, why: &str) {
    let line = format!("SKIPPED: {what}: {why}\n");
    eprint!("{line}");
    if let Some(file) = std::env::var_os("CLAWMESH_SKIPPED") {
        let opened = std::fs::OpenOptions::new().append(true).open(file);
        opened.unwrap().write_all(line.as_bytes()).unwrap();
    }
}

impl Running {
    /// A node that was started with `--json` and its output piped; waits until it listens.
    pub fn of(mut child: Child) -> Self {
        let mut line = String::new();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        out.read_line(&mut line).unwrap();
        let said: Value = serde_json::from_str(&line).unwrap();
        let address = said["listening"].as_str().unwrap().parse().unwrap();
        Running { child, address }
    }

    /// The number of the process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal by its name.
    pub fn signal(&self, name: &str) {
        signal_to(self.child.id(), name);
    }

    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Ends the process at once, as a power cut would.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Waits until the process has killed itself at a point of `adapters/crash.rs`.
    pub fn was_killed(mut self, point: &str) {
        use std::os::unix::process::ExitStatusExt as _;
        let status = eventually(&format!("{point} is reached"), || {
            self.child.try_wait().unwrap()
        });
        assert_eq!(status.signal(), Some(9), "{point}: {status}");
    }

    /// Waits until the process has ended by itself; the exit code.
    pub fn ended(mut self) -> Option<i32> {
        let ended = || self.child.try_wait().unwrap();
        eventually("the node ends by itself", ended).code()
    }

    /// Asks the process to end and waits; the exit code.
    pub fn stop(mut self) -> i32 {
        let asked = Command::new("kill")
            .arg(self.child.id().to_string())
            .status()
            .unwrap();
        assert!(asked.success());
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code().unwrap_or(-1);
            }
            assert!(Instant::now() < deadline, "the node does not stop");
            pause(Duration::from_millis(5));
        }
    }

    /// The command line and environment of the process, as others can see them.
    pub fn seen_by_others(&self) -> String {
        let of = |what: &str| {
            match std::fs::read(format!("/proc/{}/{what}", self.child.id())) {
                Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
                // A process with keys shows its environment to the administrator alone.
                Err(e) if e.kind() == std::io::ErrorKind::PermissionDenied => String::new(),
                Err(e) => panic!("{what}: {e}"),
            }
        };
        of("cmdline") + &of("environ")
    }

    /// An HTTP request by hand: status and body.
    pub fn http(&self, method: &str, path: &str, headers: &[&str]) -> (u16, String) {
        self.send(method, path, headers, "")
    }

    /// As [`Running::http`], with a body.
    pub fn send(&self, method: &str, path: &str, headers: &[&str], body: &str) -> (u16, String) {
        let mut socket = TcpStream::connect(self.address).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut request = format!("{method} {path} HTTP/1.1\r\nConnection: close\r\n");
        if !headers.iter().any(|h| h.starts_with("Host:")) {
            request.push_str(&format!("Host: {}\r\n", self.address));
        }
        for header in headers {
            request.push_str(&format!("{header}\r\n"));
        }
        if !body.is_empty() {
            let long = body.len();
            request.push_str(&format!(
                "Content-Type: application/json\r\nContent-Length: {long}\r\n"
            ));
        }
        request.push_str(&format!("\r\n{body}"));
        socket.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).unwrap();
        let status = answer.split(' ').nth(1).unwrap_or_default();
        let body = answer.split_once("\r\n\r\n").map_or("", |(_, b)| b);
        (status.parse().unwrap_or(0), body.to_owned())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The pause between two looks at a condition.
pub fn pause(time: Duration) {
    std::thread::park_timeout(time);
}

/// Waits until a look shows something.
pub fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "waited too long until {what}");
        pause(Duration::from_millis(10));
    }
}

/// A command that talks: it prints one JSON line a step and reads answers.
pub struct Session {
    child: Child,
    out: BufReader<std::process::ChildStdout>,
}

impl Session {
    pub fn start(place: &Place, args: &[&str]) -> Self {
        let log = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(place.home.path().join("node.log"))
            .unwrap();
        let mut command = program(place.home.path());
        command.args(args).arg("--state-dir").arg(place.state());
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.stderr(log).spawn().unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        Self { child, out }
    }

    /// The data of the next step, which must be this one.
    pub fn step(&mut self, step: &str) -> Value {
        let mut line = String::new();
        self.out.read_line(&mut line).unwrap();
        let said: Value = serde_json::from_str(&line).unwrap_or(Value::Null);
        assert_eq!(said["step"], step, "{line}");
        said["data"].clone()
    }

    /// The next line, as JSON.
    pub fn hears(&mut self) -> Value {
        let mut line = String::new();
        self.out.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line:?}"))
    }

    pub fn say(&mut self, word: &str) {
        let stdin = self.child.stdin.as_mut().unwrap();
        stdin.write_all(format!("{word}\n").as_bytes()).unwrap();
    }

    /// Ends its input: nobody is there to answer.
    pub fn hang_up(&mut self) {
        drop(self.child.stdin.take());
    }

    /// How it ended.
    pub fn end(mut self) -> i32 {
        let mut rest = String::new();
        self.out.read_to_string(&mut rest).unwrap();
        self.child.wait().unwrap().code().unwrap_or(-1)
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
