//! Making safe when the process has nothing left to do it with: killed, without descriptors, without
//! processes, with a safe command that fails. Real processes and an actuator of real commands.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::process::*;

pub const PUMP: &str = "actuator:pump:main";

/// A place with a pump whose movements are lines of a file. While the file `broken` is there it does not
/// stop, while `slow` is there it takes 12 s, while `hangs` is there its start command does not end.
pub struct Bed {
    pub place: Place,
}

impl Bed {
    pub fn new(deadline_sec: u32) -> Self {
        Self::in_place(Place::new(), deadline_sec)
    }

    /// As [`Bed::new`], in a place that is there.
    pub fn in_place(place: Place, deadline_sec: u32) -> Self {
        let script = place.beside("pump");
        let home = script.parent().unwrap().display().to_string();
        let text = format!(
            "#!/bin/sh\ncd {home}\ncase $1 in\n\
             on) echo on >> moves; while [ -e hangs ]; do echo again >> moves; done ;;\n\
             off) [ -e broken ] && {{ echo relay busy >&2; exit 1; }}; [ -e slow ] && sleep 12; echo off >> moves ;;\nesac\n"
        );
        std::fs::write(&script, text).unwrap();
        std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
        let pump = script.display();
        place.write(
            "config.toml",
            &format!(
                "[[actuator]]\ncapability = \"{PUMP}\"\nsafe = \"stop\"\ntimeout_sec = 60\n\
                 [[actuator.operation]]\nname = \"start\"\nargv = [\"{pump}\", \"on\"]\n\
                 [[actuator.operation]]\nname = \"stop\"\nargv = [\"{pump}\", \"off\"]\n"
            ),
        );
        place.write(
            "policy.toml",
            &format!(
                "version = 1\n[[rule]]\nname = \"pump\"\ncapability = \"{PUMP}\"\noperations = [\"start\"]\n\
                 level = \"L2\"\nsafe_state = \"stop\"\ndeadline_sec = {deadline_sec}\n"
            ),
        );
        Self { place }
    }

    pub fn moves(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.place.beside("moves")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    pub fn last(&self, movement: &str) {
        eventually(&format!("the pump's last movement is {movement}"), || {
            (self.moves().last()? == movement).then_some(())
        });
    }

    pub fn propose(&self) -> String {
        let wish = ["propose", PUMP, "start", "--reason", "dry"];
        let draft = self.place.json(&wish);
        draft["proposalId"].as_str().unwrap().to_owned()
    }

    /// A running node whose pump is on, and the proposal.
    pub fn on(&self) -> (Running, String) {
        let (node, id) = self.approved();
        self.last("on");
        (node, id)
    }

    #[cfg(target_os = "linux")]
    /// Kills a node, and waits until its standby has tried to make the pump safe and is gone.
    pub fn ends_with_its_standby(&self, node: Running) {
        let of = children(node.id());
        node.kill();
        let there = |pid: &u32| {
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            stat.rsplit_once(") ")
                .is_some_and(|(_, rest)| !rest.starts_with('Z'))
        };
        eventually("the standby is gone", || {
            (!of.iter().any(there)).then_some(())
        });
    }

    /// A running node whose pump was told to start, and the proposal.
    pub fn approved(&self) -> (Running, String) {
        let node = self.place.start(&[]);
        self.place.enrolled();
        let id = self.propose();
        self.place.json(&["approve", &id]);
        (node, id)
    }
}

/// The processes that a process has started and that still run.
#[cfg(target_os = "linux")]
fn children(parent: u32) -> Vec<u32> {
    let all = std::fs::read_dir("/proc").unwrap().flatten();
    let of = |pid: u32| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let mut words = stat.rsplit_once(") ")?.1.split(' ');
        let (state, of) = (words.next()?.to_owned(), words.next()?.parse::<u32>().ok()?);
        (of == parent && state != "Z").then_some(pid)
    };
    all.filter_map(|e| of(e.file_name().to_str()?.parse().ok()?))
        .collect()
}

#[cfg(target_os = "linux")]
#[test]
fn a_killed_node_leaves_its_actuator_safe_and_no_process_behind() {
    let bed = Bed::new(600);
    let (node, id) = bed.on();
    let of =
        |pid: &u32| std::fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let standby = eventually("only the standby is left", || {
        let [one] = children(node.id())[..] else {
            return None;
        };
        of(&one).contains("standby").then_some(one)
    });
    // It has what it needs and nothing else: no lock, no port, no database.
    let mut held: Vec<String> = std::fs::read_dir(format!("/proc/{standby}/fd"))
        .unwrap()
        .map(|fd| std::fs::read_link(fd.unwrap().path()).unwrap())
        .map(|target| target.display().to_string())
        .map(|target| target.split(':').next().unwrap().to_owned())
        .collect();
    held.sort();
    held.dedup();
    assert_eq!(held, ["/dev/null", "pipe"]);
    let environ = std::fs::read_to_string(format!("/proc/{standby}/environ")).unwrap();
    assert!(
        !environ.contains("HOME=") && environ.contains(&id),
        "{environ}"
    );
    // Neither the terminal, the session nor a service manager ends it.
    for name in ["INT", "HUP", "QUIT", "TERM", "TSTP"] {
        signal_to(standby, name);
    }
    assert_eq!(bed.moves(), ["off", "on"], "at the start, and then on");
    node.kill();
    bed.last("off");
    eventually("nothing is left", || {
        (!std::path::Path::new(&format!("/proc/{standby}/fd/0")).exists()).then_some(())
    });
    // The next start says what it does not know, and an ordinary run leaves nothing behind either.
    let node = bed.place.start(&[]);
    bed.place.await_status(&id, &["unknown"]);
    let next = bed.propose();
    bed.place.json(&["approve", &next]);
    bed.last("on");
    bed.place.json(&["stop", &next]);
    assert_eq!(bed.moves().last().unwrap(), "off");
    assert_eq!(children(node.id()), [0; 0]);
    assert_eq!(node.stop(), 0);
}

#[test]
fn a_start_command_that_hangs_ends_with_a_killed_node_and_the_safe_command_comes_last() {
    let bed = Bed::new(600);
    std::fs::write(bed.place.beside("hangs"), "").unwrap();
    let node = bed.place.start(&[]);
    bed.place.enrolled();
    let id = bed.propose();
    bed.place.json(&["approve", &id]);
    bed.last("again");
    node.kill();
    // It writes without a pause, so that one that lives on would be seen at once.
    bed.last("off");
    let now = bed.moves().len();
    assert_eq!(bed.place.run(&["identity"]).code, 0);
    assert_eq!(bed.moves().len(), now);
}

impl Bed {
    /// Replaces what the pump does when it is told; `home` is where its movements are written.
    fn does(&self, on: &str, off: &str) {
        let script = self.place.beside("pump");
        let home = script.parent().unwrap().display().to_string();
        let text = format!("#!/bin/sh\ncd {home}\ncase $1 in\non) {on} ;;\noff) {off} ;;\nesac\n");
        std::fs::write(&script, text).unwrap();
    }
}

/// The processes that run for a proposal.
#[cfg(target_os = "linux")]
fn of_job(id: &str) -> Vec<String> {
    let mark = format!("CLAWMESH_JOB={id}\0");
    let all = std::fs::read_dir("/proc").unwrap().flatten();
    let named = all.filter(|e| {
        e.file_name()
            .to_str()
            .is_some_and(|n| n.parse::<u32>().is_ok())
    });
    let said = |e: &std::fs::DirEntry| std::fs::read_to_string(e.path().join("environ")).ok();
    let found = named.filter(|e| said(e).is_some_and(|text| text.contains(&mark)));
    found
        .map(|e| e.file_name().into_string().unwrap())
        .collect()
}

/// What switches the pump on again and again, in the group of its start command.
const LEFT: &str = "(while :; do echo again >> moves; sleep 0.01; done) </dev/null >/dev/null 2>&1 & echo on >> moves";

#[test]
fn a_safe_command_that_has_something_to_say_is_not_ended_by_it_when_the_node_is_killed() {
    let bed = Bed::new(600);
    let say = "echo $$ >> began; echo before >&2; while [ -e wait ]; do echo meanwhile >&2; sleep 0.01; done; echo off >> moves";
    bed.does("echo on >> moves", say);
    let (node, _) = bed.on();
    node.kill();
    bed.last("off");
    // Nor when it has begun already.
    let bed = Bed::new(600);
    bed.does("echo on >> moves", say);
    let (node, id) = bed.on();
    let begun = || {
        std::fs::read_to_string(bed.place.beside("began"))
            .unwrap_or_default()
            .lines()
            .count()
    };
    let before = begun();
    std::fs::write(bed.place.beside("wait"), "").unwrap();
    let mut stop = bed.place.command();
    stop.args(["stop", &id, "--state-dir"])
        .arg(bed.place.state());
    let mut stop = stop
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    eventually("the safe command has begun", || {
        (begun() > before).then_some(())
    });
    node.kill();
    std::fs::remove_file(bed.place.beside("wait")).unwrap();
    bed.last("off");
    assert_eq!(begun(), before + 1, "it was the one that had begun");
    stop.wait().unwrap();
}

#[cfg(target_os = "linux")]
#[test]
fn what_a_start_command_left_running_ends_with_a_killed_node() {
    let bed = Bed::new(600);
    bed.does(LEFT, "echo off >> moves");
    let (node, id) = bed.approved();
    bed.last("again");
    eventually("the node knows that the start command has ended", || {
        let text = bed.place.json(&["events"]).to_string();
        text.contains("action.started").then_some(())
    });
    node.kill();
    eventually("nothing of it is left", || {
        of_job(&id).is_empty().then_some(())
    });
    assert_eq!(bed.moves().last().unwrap(), "off");
    // It may hear the safe command first.
    let offs = bed.moves().iter().filter(|m| *m == "off").count();
    assert_eq!(offs, 3, "at the start, before it was ended, and after");
}

#[cfg(target_os = "linux")]
#[test]
fn what_a_start_command_left_running_ends_at_the_next_start_if_it_did_not_before() {
    let bed = Bed::new(600);
    bed.does(LEFT, "echo off >> moves");
    let (node, id) = bed.approved();
    bed.last("again");
    eventually("the standby is all that the node has", || {
        let [one] = children(node.id())[..] else {
            return None;
        };
        signal_to(one, "KILL");
        Some(())
    });
    node.kill();
    let now = bed.moves().len();
    eventually("it goes on", || (bed.moves().len() > now).then_some(()));
    let node = bed.place.start(&[]);
    bed.place.await_status(&id, &["unknown"]);
    assert_eq!(of_job(&id), [""; 0]);
    assert_eq!(bed.moves().last().unwrap(), "off");
    assert_eq!(node.stop(), 0);
}

#[cfg(target_os = "linux")]
#[test]
fn a_start_command_that_ends_its_own_node_does_not_survive_it() {
    let bed = Bed::new(600);
    bed.does(
        "kill -9 $PPID; while :; do echo on >> moves; sleep 0.01; done",
        "echo off >> moves",
    );
    let (node, id) = bed.approved();
    eventually("the node is gone", || {
        children(node.id()).is_empty().then_some(())
    });
    bed.last("off");
    eventually("nothing of it is left", || {
        of_job(&id).is_empty().then_some(())
    });
    assert_eq!(bed.moves().last().unwrap(), "off");
    node.kill();
}

/// A connection that is there before descriptors are used up.
struct Kept(BufReader<TcpStream>);

impl Kept {
    fn to(node: &Running) -> Self {
        let socket = TcpStream::connect(node.address).unwrap();
        socket
            .set_read_timeout(Some(crate::harness::PATIENCE))
            .unwrap();
        Self(BufReader::new(socket))
    }

    fn ask(&mut self, bed: &Bed, method: &str, path: &str) -> Value {
        let tokens = std::fs::read_to_string(bed.place.state().join("tokens.json")).unwrap();
        let tokens: Value = serde_json::from_str(&tokens).unwrap();
        let (token, host) = (
            tokens["admin"].as_str().unwrap(),
            self.0.get_ref().peer_addr(),
        );
        let request = format!(
            "{method} /api/operator/v1{path} HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {token}\r\nContent-Length: 0\r\n\r\n",
            host.unwrap()
        );
        self.0.get_mut().write_all(request.as_bytes()).unwrap();
        let (mut line, mut long) = (String::new(), 0);
        while line != "\r\n" {
            line.clear();
            assert!(self.0.read_line(&mut line).unwrap() > 0, "it was closed");
            if let Some(n) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                long = n.trim().parse().unwrap();
            }
        }
        let mut body = vec![0; long];
        self.0.read_exact(&mut body).unwrap();
        serde_json::from_slice(&body).unwrap()
    }
}

/// Takes a resource away from a running process.
fn take(node: &Running, what: &str, left: usize) {
    let mut prlimit = Command::new("prlimit");
    prlimit.env("PATH", "/usr/bin:/bin");
    prlimit.args([
        "--pid",
        &node.id().to_string(),
        &format!("--{what}={left}:"),
    ]);
    let done = match what {
        "nproc" => limited(&prlimit).status(),
        _ => prlimit.status(),
    };
    assert!(done.unwrap().success());
}

#[test]
fn without_descriptors_the_actuator_goes_to_safe_at_its_deadline_at_a_stop_and_at_the_end() {
    for what in ["deadline", "stop", "estop", "end"] {
        let bed = Bed::new(if what == "deadline" { 3 } else { 600 });
        let (node, id) = bed.on();
        let mut kept = Kept::to(&node);
        kept.ask(&bed, "GET", "/status");
        take(&node, "nofile", 3);
        match what {
            "stop" => {
                let said = kept.ask(&bed, "POST", &format!("/proposals/{id}/stop"));
                assert_eq!(said["stopped"]["safe"], true, "{said}");
            }
            "estop" => {
                let said = kept.ask(&bed, "POST", "/estop");
                assert!(!said.to_string().contains("\"safe\":false"), "{said}");
            }
            "end" => node.signal("TERM"),
            _ => {}
        }
        bed.last("off");
        assert_eq!(bed.moves(), ["off", "on", "off"], "{what}");
        node.kill();
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_safe_command_that_fails_without_descriptors_is_tried_again() {
    let bed = Bed::new(600);
    let (node, id) = bed.on();
    let mut kept = Kept::to(&node);
    kept.ask(&bed, "GET", "/status");
    std::fs::write(bed.place.beside("broken"), "").unwrap();
    let fds = || {
        let all = std::fs::read_dir(format!("/proc/{}/fd", node.id())).unwrap();
        let numbers = all.map(|fd| fd.unwrap().file_name().to_str().unwrap().parse().unwrap());
        numbers.collect::<std::collections::BTreeSet<usize>>()
    };
    // Up to the lowest free number; what is let go below it is used up by connections.
    let used = fds();
    let limit = (0..).find(|number| !used.contains(number)).unwrap();
    take(&node, "nofile", limit);
    let mut waiting = Vec::new();
    eventually("none is left", || {
        waiting.push(TcpStream::connect(node.address).unwrap());
        (fds().range(..limit).count() == limit).then_some(())
    });
    let said = kept.ask(&bed, "POST", &format!("/proposals/{id}/stop"));
    assert_eq!(said["stopped"]["safe"], false, "{said}");
    std::fs::remove_file(bed.place.beside("broken")).unwrap();
    bed.last("off");
    drop(waiting);
    node.kill();
}

/// The same command as a user for whom limits count, if this is one for whom they do not.
fn limited(plain: &Command) -> Command {
    if !rustix::process::geteuid().is_root() {
        let mut same = Command::new(plain.get_program());
        same.args(plain.get_args());
        same.env_clear()
            .envs(plain.get_envs().filter_map(|(k, v)| Some((k, v?))));
        return same;
    }
    let mut other = Command::new("setpriv");
    other.args(["--reuid=65534", "--regid=65534", "--clear-groups"]);
    other.arg(plain.get_program()).args(plain.get_args());
    other
        .env_clear()
        .envs(plain.get_envs().filter_map(|(k, v)| Some((k, v?))));
    other.env("PATH", "/usr/bin:/bin");
    other
}

#[test]
fn without_processes_the_actuator_goes_to_safe() {
    let bed = Bed::new(600);
    let state = bed.place.state();
    let command = |args: &[&str]| {
        let mut plain = bed.place.command();
        plain.args(args).arg("--state-dir").arg(&state);
        let mut command = limited(&plain);
        command.stdin(Stdio::null());
        command
    };
    let home = bed.place.beside("");
    let given = Command::new("chown")
        .args(["-R", "65534:65534"])
        .arg(home)
        .status();
    let able = command(&["identity"]).output();
    let able = able.is_ok_and(|o| o.status.success());
    if rustix::process::geteuid().is_root() && !(able && given.is_ok_and(|s| s.success())) {
        return skipped(
            "without processes",
            "no other user can run the program here",
        );
    }
    let mut start = command(&["start", "--no-discovery", "--port", "0", "--json"]);
    let start = start.stdout(Stdio::piped()).stderr(Stdio::null());
    let node = Running::of(start.spawn().unwrap());
    let json = |args: &[&str]| -> Value {
        let said = command(&[args, &["--json"]].concat()).output().unwrap();
        assert!(said.status.success(), "{said:?}");
        serde_json::from_slice(&said.stdout).unwrap()
    };
    let key = json(&["operator", "init", "--name", "ada"])["publicKey"].clone();
    json(&[
        "operator",
        "enroll",
        key.as_str().unwrap(),
        "--level",
        "L2",
        "--name",
        "ada",
    ]);
    let draft = json(&["propose", PUMP, "start", "--reason", "dry"]);
    let id = draft["proposalId"].as_str().unwrap();
    json(&["approve", id, "--yes"]);
    bed.last("on");
    take(&node, "nproc", 1);
    json(&["stop", id]);
    assert_eq!(bed.moves(), ["off", "on", "off"]);
    // And nothing starts whose way back cannot be reserved.
    let draft = json(&["propose", PUMP, "start", "--reason", "dry"]);
    let id = draft["proposalId"].as_str().unwrap();
    json(&["approve", id, "--yes"]);
    let failed = eventually("it has failed", || {
        let all = json(&["proposals", "--all"]);
        let one = all.as_array()?.iter().find(|p| p["id"] == id)?.clone();
        (one["status"] == "failed").then_some(one)
    });
    assert!(
        failed.to_string().contains("could not be reserved"),
        "{failed}"
    );
    assert!(
        !bed.moves()[3..].contains(&"on".to_owned()),
        "{:?}",
        bed.moves()
    );
    node.kill();
}

#[test]
fn a_failing_stop_is_pursued_across_a_restart_and_nothing_starts_before() {
    let bed = Bed::new(1);
    let (node, id) = bed.on();
    std::fs::write(bed.place.beside("broken"), "").unwrap();
    let health = |node: &Running| {
        let (_, health) = node.http("GET", "/healthz", &[]);
        serde_json::from_str::<Value>(&health).unwrap()["status"].clone()
    };
    let alarms = || {
        let said = bed.place.run(&["status", "--json"]);
        let status: Value = serde_json::from_str(&said.out).unwrap();
        let kinds: Vec<String> = status["alarms"]
            .as_array()
            .unwrap()
            .iter()
            .map(|a| format!("{} {}", a["kind"], a["subject"]).replace('"', ""))
            .collect();
        assert_eq!(said.code, if kinds.is_empty() { 0 } else { 7 }, "{said:?}");
        kinds
    };
    let stands = [format!("actuator.unsafe {PUMP}")];
    eventually("the alarm stands", || (alarms() == stands).then_some(()));
    assert_eq!(health(&node), "failing");
    let said = bed.place.run(&["stop", &id]);
    assert_ne!(said.code, 0, "{said:?}");
    node.kill();
    assert_eq!(bed.moves(), ["off", "on"]);
    let node = bed.place.start(&[]);
    assert_eq!(alarms(), stands);
    assert_eq!(health(&node), "failing");
    let next = bed.propose();
    bed.place
        .run(&["approve", &next])
        .fails(1, &["ACTUATOR_UNSAFE", "relay busy"]);
    std::fs::remove_file(bed.place.beside("broken")).unwrap();
    // An order ends the pause between two attempts.
    bed.place.json(&["estop", "--reason", "try now"]);
    eventually("the alarm is over", || alarms().is_empty().then_some(()));
    assert_eq!(health(&node), "ok");
    assert_eq!(bed.moves()[2], "off");
    bed.place.json(&["estop", "release", "--reason", "mended"]);
    bed.place.json(&["approve", &next]);
    bed.place.await_status(&next, &["completed"]);
    assert_eq!(bed.moves().last().unwrap(), "off");
    assert_eq!(node.stop(), 0);
}

#[test]
fn a_slow_safe_command_is_waited_for_at_the_end() {
    let bed = Bed::new(60);
    let (node, _) = bed.on();
    // Longer than the end of a node takes otherwise.
    std::fs::write(bed.place.beside("slow"), "").unwrap();
    assert_eq!(node.stop(), 0);
    assert_eq!(bed.moves(), ["off", "on", "off"]);
}

#[test]
fn a_node_that_ends_with_an_actuator_on_says_so_and_fails() {
    let bed = Bed::new(60);
    let (node, _) = bed.on();
    std::fs::write(bed.place.beside("broken"), "").unwrap();
    assert_eq!(node.stop(), 7);
    assert!(
        bed.place
            .log()
            .contains("NOT confirmed to be in its safe state")
    );
    assert_eq!(bed.moves(), ["off", "on"]);
}
