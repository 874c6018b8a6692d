//! Hosts in network namespaces. Every lab has names of its own and clears itself away when dropped.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

const PROGRAM: &str = env!("CARGO_BIN_EXE_clawmesh-node");
/// How long a condition may take before a test gives up.
pub const PATIENCE: Duration = Duration::from_secs(60);
pub const MESH: &str = "lab";
pub const PORT: u16 = 18_789;

/// Says loudly that a test does not run here.
pub fn skipped(what: &str, why: &str) {
    let line = format!("SKIPPED: {what}: {why}\n");
    eprint!("{line}");
    if let Some(file) = std::env::var_os("CLAWMESH_SKIPPED") {
        let opened = std::fs::OpenOptions::new().append(true).open(file);
        opened.unwrap().write_all(line.as_bytes()).unwrap();
    }
}

/// Runs a command that must work.
pub fn run(line: &[&str]) -> String {
    let done = output(line);
    let err = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{line:?}: {err}");
    String::from_utf8_lossy(&done.stdout).into_owned()
}

pub fn output(line: &[&str]) -> Output {
    let done = Command::new(line[0])
        .args(&line[1..])
        .stdin(Stdio::null())
        .output();
    done.unwrap_or_else(|e| panic!("{line:?}: {e}"))
}

fn works(line: &[&str]) -> Result<(), String> {
    match Command::new(line[0])
        .args(&line[1..])
        .stdin(Stdio::null())
        .output()
    {
        Ok(done) if done.status.success() => Ok(()),
        Ok(done) => Err(String::from_utf8_lossy(&done.stderr).trim().to_owned()),
        Err(error) => Err(format!("{}: {error}", line[0])),
    }
}

/// A name no other lab of this machine has.
fn fresh() -> String {
    static LABS: AtomicU32 = AtomicU32::new(0);
    let lab = LABS.fetch_add(1, Ordering::Relaxed);
    format!("cm{}x{lab}", std::process::id())
}

/// Why no lab can be set up here, if none can.
fn hindrance() -> Option<String> {
    let trial = format!("{}t", fresh());
    if let Err(why) = works(&["ip", "netns", "add", &trial]) {
        return Some(format!("network namespaces need root and iproute2 ({why})"));
    }
    let inside = works(&["ip", "netns", "exec", &trial, "true"]);
    let bridge = works(&["ip", "-n", &trial, "link", "add", "br0", "type", "bridge"]);
    let pair = works(&[
        "ip", "-n", &trial, "link", "add", "left", "type", "veth", "peer", "name", "right",
    ]);
    run(&["ip", "netns", "del", &trial]);
    [inside, bridge, pair].into_iter().find_map(Result::err)
}

/// Several hosts.
pub struct Lab {
    name: String,
    namespaces: Vec<String>,
    pub hosts: Vec<Host>,
    bridged: bool,
}

/// A host with a place for one node.
pub struct Host {
    pub namespace: String,
    pub name: String,
    home: TempDir,
    node: Option<Child>,
    known_id: Option<String>,
}

impl Lab {
    /// `n` hosts on one network: 10.77.0.1 and so on, fd77::1 and so on. `None`, loudly, where that
    /// cannot be set up.
    pub fn new(what: &str, n: usize) -> Option<Lab> {
        let mut lab = Self::empty(what)?;
        let hub = lab.namespace("hub");
        run(&[
            "ip",
            "-n",
            &hub,
            "link",
            "add",
            "br0",
            "type",
            "bridge",
            "mcast_snooping",
            "0",
            "forward_delay",
            "0",
        ]);
        run(&["ip", "-n", &hub, "link", "set", "br0", "up"]);
        for i in 0..n {
            let host = lab.host(i);
            let port = format!("v{i}");
            run(&[
                "ip", "-n", &hub, "link", "add", &port, "type", "veth", "peer", "name", "eth0",
                "netns", &host,
            ]);
            run(&[
                "ip", "-n", &hub, "link", "set", &port, "master", "br0", "up",
            ]);
            let place = i + 1;
            address(&host, "eth0", &format!("10.77.0.{place}/24"));
            address(&host, "eth0", &format!("fd77::{place:x}/64"));
            run(&["ip", "-n", &host, "link", "set", "eth0", "up"]);
        }
        lab.bridged = true;
        Some(lab)
    }

    /// `n` hosts in a row, each with a cable to the next and to nobody else.
    pub fn chain(what: &str, n: usize) -> Option<Lab> {
        let mut lab = Self::empty(what)?;
        let hosts: Vec<String> = (0..n).map(|i| lab.host(i)).collect();
        for (i, pair) in hosts.windows(2).enumerate() {
            run(&[
                "ip", "-n", &pair[0], "link", "add", "right", "type", "veth", "peer", "name",
                "left", "netns", &pair[1],
            ]);
            for (end, name, place) in [(&pair[0], "right", 1), (&pair[1], "left", 2)] {
                address(end, name, &format!("10.78.{i}.{place}/24"));
                run(&["ip", "-n", end, "link", "set", name, "up"]);
            }
        }
        Some(lab)
    }

    fn empty(what: &str) -> Option<Lab> {
        if let Some(why) = hindrance() {
            skipped(what, &why);
            return None;
        }
        Some(Lab {
            name: fresh(),
            namespaces: Vec::new(),
            hosts: Vec::new(),
            bridged: false,
        })
    }

    fn namespace(&mut self, suffix: &str) -> String {
        let name = format!("{}{suffix}", self.name);
        run(&["ip", "netns", "add", &name]);
        self.namespaces.push(name.clone());
        run(&["ip", "-n", &name, "link", "set", "lo", "up"]);
        name
    }

    fn host(&mut self, i: usize) -> String {
        let namespace = self.namespace(&format!("h{i}"));
        self.hosts.push(Host {
            namespace: namespace.clone(),
            name: format!("node-{i}"),
            home: tempfile::tempdir().unwrap(),
            node: None,
            known_id: None,
        });
        namespace
    }

    fn cable(&self, i: usize, state: &str) {
        assert!(self.bridged, "only a bridge has cables of one host");
        let hub = format!("{}hub", self.name);
        run(&["ip", "-n", &hub, "link", "set", &format!("v{i}"), state]);
    }

    /// Pulls the cable of a host out of the bridge.
    pub fn link_down(&self, i: usize) {
        self.cable(i, "down");
    }

    /// Puts it back.
    pub fn link_up(&self, i: usize) {
        self.cable(i, "up");
    }

    /// Delays what a host sends, and loses some of it, in per cent. What is in the way, if anything.
    pub fn netem(&self, i: usize, delay_ms: u32, loss: u32) -> Result<(), String> {
        let (delay, loss) = (format!("{delay_ms}ms"), format!("{loss}%"));
        let host = &self.hosts[i].namespace;
        works(&[
            "tc", "-n", host, "qdisc", "replace", "dev", "eth0", "root", "netem", "delay", &delay,
            "loss", &loss,
        ])
    }

    /// Lets two hosts' devices trust each other; before their nodes start.
    pub fn befriend(&mut self, a: usize, b: usize) {
        for (one, other) in [(a, b), (b, a)] {
            let id = self.hosts[other].device();
            self.hosts[one].trust(&id);
        }
    }

    /// As [`Lab::befriend`], everybody with everybody.
    pub fn befriend_all(&mut self) {
        for a in 0..self.hosts.len() {
            for b in 0..a {
                self.befriend(a, b);
            }
        }
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        for host in &mut self.hosts {
            host.kill();
            if std::thread::panicking() {
                eprintln!("--- the log of {}:\n{}", host.name, host.log());
            }
        }
        for name in &self.namespaces {
            let _ = output(&["ip", "netns", "del", name]);
        }
    }
}

fn address(namespace: &str, device: &str, address: &str) {
    let mut line = vec!["ip", "-n", namespace, "addr", "add", address, "dev", device];
    if address.contains("::") {
        line.push("nodad");
    }
    run(&line);
}

impl Host {
    fn state(&self) -> PathBuf {
        self.home.path().join("state")
    }

    /// What its nodes wrote to stderr.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.home.path().join("node.log")).unwrap_or_default()
    }

    /// A command that runs on this host.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.namespace, program]);
        command.stdin(Stdio::null());
        command
    }

    fn program(&self) -> Command {
        let mut command = self.command(PROGRAM);
        command.env("HOME", self.home.path()).env("USER", "ada");
        command
            .env_remove("CLAWMESH_STATE_DIR")
            .env_remove("CLAWMESH_LOG");
        command
    }

    /// Runs a command of the program here that must work and returns its JSON.
    pub fn json(&self, args: &[&str]) -> Value {
        let mut command = self.program();
        let done = command
            .args(args)
            .arg("--json")
            .arg("--state-dir")
            .arg(self.state());
        let done = done.output().unwrap();
        let err = String::from_utf8_lossy(&done.stderr);
        assert!(done.status.success(), "{} {args:?}: {err}", self.name);
        serde_json::from_slice(&done.stdout).unwrap()
    }

    /// Its device's id; makes the identity if there is none.
    pub fn device(&mut self) -> String {
        if self.known_id.is_none() {
            let id = self.json(&["identity"])["deviceId"]
                .as_str()
                .unwrap()
                .to_owned();
            self.known_id = Some(id);
        }
        self.known_id.clone().unwrap()
    }

    pub fn trust(&self, id: &str) {
        self.json(&["trust", "add", id, "--as", "command-center"]);
    }

    /// Starts a node of the lab's mesh and waits until it listens.
    pub fn start(&mut self, more: &[&str]) {
        let name = self.name.clone();
        let port = PORT.to_string();
        let mut fixed = vec!["--name", &name, "--port", &port];
        if !more.contains(&"--mesh-name") {
            fixed.extend(["--mesh-name", MESH]);
        }
        let log = self.home.path().join("node.log");
        let log = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(log)
            .unwrap();
        let mut command = self.program();
        command
            .arg("start")
            .args(fixed)
            .args(more)
            .arg("--json")
            .arg("--state-dir")
            .arg(self.state());
        let mut child = command.stdout(Stdio::piped()).stderr(log).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        self.node = Some(child);
        assert!(
            line.contains("listening"),
            "{} did not start: {line}{}",
            self.name,
            self.log()
        );
    }

    /// Ends the node gracefully; its exit code.
    pub fn stop(&mut self) -> Option<i32> {
        let mut child = self.node.take().unwrap();
        run(&["kill", "-TERM", &child.id().to_string()]);
        child.wait().unwrap().code()
    }

    /// Ends the node without a goodbye.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.node.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// The device nearby with this id, as this host's node sees it, with its mesh's id and policy.
    pub fn sees(&self, id: &str) -> Option<Value> {
        let meshes = self.json(&["meshes"]);
        meshes.as_array().unwrap().iter().find_map(|mesh| {
            let nearby = mesh["nearby"].as_array().unwrap();
            let mut found = nearby.iter().find(|d| d["deviceId"] == id)?.clone();
            for key in ["meshId", "own", "policy"] {
                found[key] = mesh[key].clone();
            }
            Some(found)
        })
    }

    /// The devices it is connected to.
    pub fn connected(&self) -> BTreeSet<String> {
        let peers = self.json(&["peers"]);
        let up = peers
            .as_array()
            .unwrap()
            .iter()
            .filter(|p| p["state"] == "connected");
        up.map(|p| p["deviceId"].as_str().unwrap().to_owned())
            .collect()
    }

    /// The devices it still has a link with, also one that does not answer.
    pub fn linked(&self) -> BTreeSet<String> {
        let peers = self.json(&["peers"]);
        let up = peers
            .as_array()
            .unwrap()
            .iter()
            .filter(|p| !p["posture"].is_null());
        up.map(|p| p["deviceId"].as_str().unwrap().to_owned())
            .collect()
    }

    /// Its newest events of a kind, oldest first.
    pub fn events(&self, kind: &str) -> Vec<Value> {
        let events = self.json(&["events", "--kind", kind, "--limit", "200"]);
        events.as_array().unwrap().clone()
    }

    /// The ids of all frames it has.
    pub fn frames(&self) -> BTreeSet<String> {
        let frames = self.json(&["frames", "--limit", "1000"]);
        let all = frames.as_array().unwrap();
        assert!(
            all.len() < 1_000,
            "one answer holds 1000 frames: let the sensors be slower"
        );
        all.iter()
            .map(|f| f["frameId"].as_str().unwrap().to_owned())
            .collect()
    }

    /// The HTTP status of a GET from this host; 0 if nothing answered.
    pub fn http(&self, url: &str) -> u16 {
        let mut command = self.command("curl");
        let done = command
            .args([
                "-g",
                "-s",
                "-m",
                "5",
                "-o",
                "/dev/null",
                "-w",
                "%{http_code}",
                url,
            ])
            .output()
            .unwrap();
        String::from_utf8_lossy(&done.stdout)
            .trim()
            .parse()
            .unwrap_or(0)
    }
}

/// Whether a program is installed.
pub fn installed(program: &str) -> bool {
    let path = std::env::var("PATH").unwrap_or_default();
    path.split(':')
        .chain(["/usr/sbin", "/sbin"])
        .any(|dir| Path::new(dir).join(program).exists())
}

/// Waits until a condition holds and says how long that took.
pub fn until<T>(what: &str, mut check: impl FnMut() -> Option<T>) -> (T, Duration) {
    let begun = Instant::now();
    loop {
        if let Some(value) = check() {
            return (value, begun.elapsed());
        }
        assert!(begun.elapsed() < PATIENCE, "waited too long until {what}");
        std::thread::park_timeout(Duration::from_millis(20));
    }
}

/// Reads what a child says until it ends or the patience does.
pub fn reads(child: &mut Child) -> String {
    let mut text = String::new();
    child
        .stdout
        .take()
        .unwrap()
        .read_to_string(&mut text)
        .unwrap();
    child.wait().unwrap();
    text
}
