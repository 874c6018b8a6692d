//! How a node's process lives and ends when what is around it fails: its log, its terminal, its session,
//! the files it reads. With the real program.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::fs::symlink;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

use serde_json::Value;

use crate::process::*;

/// A node whose outputs are ours to spoil.
struct Bare {
    child: Child,
    out: BufReader<ChildStdout>,
}

impl Bare {
    fn start(command: &mut Command) -> Self {
        let child = command.stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = child.spawn().unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        Self { child, out }
    }

    /// Waits until it listens.
    fn listens(&mut self) {
        let mut line = String::new();
        self.out.read_line(&mut line).unwrap();
        let said: Value = serde_json::from_str(&line).unwrap_or_else(|e| panic!("{e}: {line:?}"));
        assert!(said["listening"].is_string(), "{line}");
    }

    fn signal(&self, names: &[&str]) {
        for name in names {
            let pid = self.child.id().to_string();
            let sent = Command::new("kill")
                .args([&format!("-{name}"), &pid])
                .status();
            assert!(sent.unwrap().success());
        }
    }

    fn ends_well(mut self) {
        let status = self.child.wait().unwrap();
        assert_eq!((status.code(), status.signal()), (Some(0), None));
        let mut rest = String::new();
        self.out.read_to_string(&mut rest).unwrap();
    }
}

impl Drop for Bare {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn start(place: &Place) -> Command {
    let mut command = place.command();
    command.args([
        "start",
        "--json",
        "--no-discovery",
        "--port",
        "0",
        "--log",
        "trace",
    ]);
    command.args([
        "--mock-sensor",
        "--mock-actuator",
        "--sensor-interval",
        "100",
    ]);
    command.arg("--state-dir").arg(place.state());
    command
}

/// Works a node whose log is broken: it answers, acts, keeps its deadline and ends.
fn works(place: &Place, mut node: Bare) {
    node.listens();
    place.enrolled();
    let id = place.propose(1);
    place.json(&["approve", &id]);
    place.await_status(&id, &["completed"]);
    assert_eq!(place.moves(&id), ["open", "closed"]);
    let shown = place.json(&["status"]);
    assert!(shown["frames"].as_u64() > Some(0), "{shown}");
    node.signal(&["TERM"]);
    node.ends_well();
    assert!(!place.state().join("run.json").exists());
}

#[test]
fn a_log_that_nobody_reads_stops_nothing() {
    let place = Place::new();
    let (reader, writer) = std::io::pipe().unwrap();
    let node = Bare::start(start(&place).stderr(writer));
    works(&place, node);
    drop(reader);
}

#[test]
fn a_log_whose_reader_is_gone_stops_nothing_and_raises_an_alarm() {
    let place = Place::new();
    let (reader, writer) = std::io::pipe().unwrap();
    let node = Bare::start(start(&place).stderr(writer));
    drop(reader);
    eventually("the lost log is an alarm", || {
        let status = place.run(&["status", "--json"]);
        let shown: Value = serde_json::from_str(&status.out).ok()?;
        let alarms = shown["alarms"].as_array()?;
        alarms.iter().find(|a| a["kind"] == "log.lost").cloned()
    });
    works(&place, node);
}

#[test]
fn a_log_on_a_full_disk_stops_nothing() {
    let place = Place::new();
    let full = || {
        std::fs::File::options()
            .write(true)
            .open("/dev/full")
            .unwrap()
    };
    let node = Bare::start(start(&place).stderr(full()));
    works(&place, node);
}

#[test]
fn a_terminal_that_takes_nothing_does_not_keep_the_node_from_its_end() {
    let place = Place::new();
    // Stdout and stderr are one pipe that is full from the beginning.
    let (reader, mut writer) = std::io::pipe().unwrap();
    let flags = rustix::fs::fcntl_getfl(&writer).unwrap();
    rustix::fs::fcntl_setfl(&writer, flags | rustix::fs::OFlags::NONBLOCK).unwrap();
    while writer.write(&[b'.'; 4096]).is_ok() {}
    rustix::fs::fcntl_setfl(&writer, flags).unwrap();
    let (out, err) = (writer.try_clone().unwrap(), writer);
    let mut command = start(&place);
    let mut child = command
        .stdin(Stdio::null())
        .stdout(out)
        .stderr(err)
        .spawn()
        .unwrap();
    drop(command);
    eventually("the node answers", || {
        (place.run(&["status", "--json"]).code == 0).then_some(())
    });
    let sent = Command::new("kill").arg(child.id().to_string()).status();
    assert!(sent.unwrap().success());
    assert_eq!(child.wait().unwrap().code(), Some(0));
    drop(reader);
}

#[test]
fn terminate_and_hangup_together_are_one_graceful_end() {
    let place = Place::new();
    place.enrolled();
    let mut node = Bare::start(start(&place).stderr(Stdio::null()));
    node.listens();
    let id = place.propose(20);
    place.json(&["approve", &id]);
    place.await_status(&id, &["executing"]);
    eventually("the valve has opened", || {
        (place.moves(&id) == ["open"]).then_some(())
    });
    // Both are there when the node wakes, as when systemd sends them.
    node.signal(&["STOP", "TERM", "HUP", "CONT"]);
    node.ends_well();
    assert_eq!(place.moves(&id), ["open", "closed"]);
    assert!(!place.state().join("run.json").exists());
}

#[test]
fn every_way_to_be_asked_ends_well() {
    // Those that report a fault of the program itself, that nobody can hear, or that the C library keeps.
    let others = ["4", "6", "7", "8", "9", "11", "19", "31", "32", "33"];
    let ends = ["2", "3", "15", "24", "30", "37"];
    // What a hangup means depends on whether there is a terminal.
    let harmless: Vec<String> = (2..=64).map(|n: i32| n.to_string()).collect();
    let harmless: Vec<&str> = harmless
        .iter()
        .map(String::as_str)
        .filter(|n| !others.contains(n) && !ends.contains(n))
        .collect();
    for number in ends {
        let place = Place::new();
        let mut node = Bare::start(start(&place).stderr(Stdio::null()));
        node.listens();
        // What stops or kills a program that does not expect it is ignored.
        node.signal(&harmless);
        assert_eq!(place.run(&["status"]).code, 0);
        node.signal(&[number]);
        node.ends_well();
    }
}

#[test]
fn a_terminal_that_closes_ends_the_node() {
    let place = Place::new();
    let plain = start(&place);
    let words = std::iter::once(plain.get_program()).chain(plain.get_args());
    let words: Vec<&str> = words.map(|word| word.to_str().unwrap()).collect();
    let line = format!("exec {}", words.join(" "));
    let mut terminal = Command::new("script");
    terminal.args(["-q", "-f", "-c", &line, "/dev/null"]);
    terminal
        .env_clear()
        .envs(plain.get_envs().filter_map(|(k, v)| Some((k, v?))));
    let mut node = Bare::start(terminal.stderr(Stdio::null()));
    let up = std::iter::repeat_with(|| {
        let mut line = String::new();
        assert_ne!(node.out.read_line(&mut line).unwrap(), 0, "it has ended");
        line
    });
    let before = up.take_while(|line| !line.contains("\"listening\""));
    assert!(before.count() < 1_000);
    assert_eq!(place.run(&["status"]).code, 0);
    // Its end of the terminal closes with it.
    node.child.kill().unwrap();
    eventually("the node has ended", || {
        (place.run(&["status"]).code == 4).then_some(())
    });
    assert!(!place.state().join("run.json").exists());
}

#[test]
fn a_hangup_that_was_ignored_at_the_start_stays_ignored() {
    let place = Place::new();
    let plain = start(&place);
    let mut nohup = Command::new("sh");
    nohup.args(["-c", "trap '' HUP; exec \"$0\" \"$@\""]);
    nohup.arg(plain.get_program()).args(plain.get_args());
    nohup
        .env_clear()
        .envs(plain.get_envs().filter_map(|(k, v)| Some((k, v?))));
    let mut node = Bare::start(nohup.stderr(Stdio::null()));
    node.listens();
    let status = std::fs::read_to_string(format!("/proc/{}/status", node.child.id())).unwrap();
    let ignored = status
        .lines()
        .find_map(|l| l.strip_prefix("SigIgn:"))
        .unwrap();
    let ignored = u64::from_str_radix(ignored.trim(), 16).unwrap();
    assert_eq!(ignored & 1, 1, "{status}");
    node.signal(&["HUP"]);
    assert_eq!(place.run(&["status"]).code, 0);
    // And no memory with keys in it is left behind, whatever ends it.
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", node.child.id())).unwrap();
    let core = limits
        .lines()
        .find(|l| l.starts_with("Max core file size"))
        .unwrap();
    assert_eq!(core.split_whitespace().nth(4), Some("0"), "{core}");
    node.signal(&["TERM"]);
    node.ends_well();
}

/// What may lie in the place of a file.
fn spoil(path: &Path, what: &str) {
    let _ = std::fs::remove_file(path);
    match what {
        "a pipe" => {
            let (kind, mode) = (rustix::fs::FileType::Fifo, rustix::fs::Mode::RWXU);
            rustix::fs::mknodat(rustix::fs::CWD, path, kind, mode, 0).unwrap();
        }
        "a device" => symlink("/dev/zero", path).unwrap(),
        "a folder" => std::fs::create_dir(path).unwrap(),
        "endless" => {
            let file = std::fs::File::create(path).unwrap();
            file.set_len(1 << 40).unwrap();
        }
        _ => symlink("/nowhere/at/all", path).unwrap(),
    }
}

#[test]
fn whatever_lies_in_the_place_of_a_file_is_no_wait_and_no_memory() {
    const WHAT: [&str; 5] = [
        "a pipe",
        "a device",
        "a folder",
        "endless",
        "a dangling link",
    ];
    // Without these there is no node; each is named.
    const NEEDED: [&str; 7] = [
        "config.toml",
        "names.json",
        "identity.json",
        "mesh-id",
        "clawmesh.db",
        "tls-browser.bin",
        "lock",
    ];
    let place = Place::new();
    place.write("policy.toml", clawmesh::domain::policy::STARTER_POLICY);
    assert_eq!(place.start(&[]).stop(), 0);
    for name in NEEDED {
        let path = place.state().join(name);
        let kept = std::fs::read(&path).ok();
        for what in WHAT {
            // SQLite takes a link to nothing for a new database, and a lock may be made there.
            if matches!(
                (name, what),
                ("clawmesh.db" | "lock", "endless" | "a dangling link")
            ) {
                continue;
            }
            spoil(&path, what);
            let said = place.run(&["start", "--port", "0"]);
            assert!(
                said.code != 0 && said.err.contains(name),
                "{what}: {said:?}"
            );
            let _ = std::fs::remove_file(&path).or_else(|_| std::fs::remove_dir(&path));
        }
        if let Some(kept) = kept {
            let file = clawmesh::adapters::paths::write_private(&path, &kept);
            file.unwrap();
        }
    }
    // Without these it runs, and says what is the matter.
    for what in WHAT {
        for name in ["policy.toml", "site.toml"] {
            spoil(&place.state().join(name), what);
        }
        let node = place.start(&[]);
        let status = place.json(&["status"]);
        assert!(
            status["problems"].to_string().contains("policy"),
            "{what}: {status}"
        );
        assert_eq!(node.stop(), 0);
        for name in ["policy.toml", "site.toml"] {
            let path = place.state().join(name);
            std::fs::remove_file(&path)
                .or_else(|_| std::fs::remove_dir(&path))
                .unwrap();
        }
    }
    for what in WHAT {
        spoil(&place.beside(what), what);
        let path = place.beside(what).display().to_string();
        for command in [
            &["audit", "verify", "--file", &path][..],
            &["policy", "test", &path],
        ] {
            assert_ne!(place.run(command).code, 0, "{what}");
        }
    }
}
