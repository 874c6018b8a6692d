//! Sensors and actuators over Modbus: a real node and a device by pymodbus, which is no part of this project.

mod serial;

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use serde_json::Value;

use crate::process::*;

const PUMP: &str = "actuator:pump:p1";
const SERVER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/modbus/server.py");

/// The device: a process of its own.
struct Plc {
    child: Child,
    said: Arc<Mutex<Vec<String>>>,
    port: u16,
}

impl Plc {
    /// One on this port, or on any. `None` where there is no pymodbus, which is told.
    fn start(port: u16) -> Option<Self> {
        Self::at(&port.to_string())
    }

    /// One on this port or behind the serial port of this name.
    fn at(place: &str) -> Option<Self> {
        let tools = || {
            let named = |name: &str| std::env::var_os(name).map(PathBuf::from);
            let cache = || named("XDG_CACHE_HOME").or(Some(named("HOME")?.join(".cache")));
            let tools = named("CLAWMESH_TOOLS").or(Some(cache()?.join("clawmesh-tools")));
            let found = std::fs::read_dir(tools?)
                .ok()?
                .flatten()
                .map(|entry| entry.path());
            let is_it = |path: &PathBuf| path.join("pymodbus").is_dir();
            found.into_iter().find(is_it)
        };
        let Some(library) = std::env::var_os("CLAWMESH_PYMODBUS")
            .map(PathBuf::from)
            .or_else(tools)
        else {
            skipped(
                "Modbus with a real device",
                "there is no pymodbus; scripts/ensure-pymodbus fetches it",
            );
            return None;
        };
        let mut command = Command::new("python3");
        command.args([SERVER, place]).env("PYTHONPATH", library);
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        // A node may write to it before it has said that it is ready.
        let mut lines = out.lines().map_while(Result::ok);
        let (mut first, mut port) = (Vec::new(), None);
        for line in lines.by_ref() {
            port = line.strip_prefix("ready ").and_then(|p| p.parse().ok());
            match port {
                Some(_) => break,
                None => first.push(line),
            }
        }
        let Some(port) = port else {
            child.wait().unwrap();
            skipped(
                "Modbus with a real device",
                "pymodbus does not run with this python3",
            );
            return None;
        };
        let said = Arc::new(Mutex::new(first));
        let kept = said.clone();
        std::thread::spawn(move || {
            for line in lines {
                kept.lock().unwrap().push(line);
            }
        });
        Some(Self { child, said, port })
    }

    fn tell(&mut self, line: &str, answer: &str) -> String {
        let before = self.lines().len();
        let stdin = self.child.stdin.as_mut().unwrap();
        stdin.write_all(format!("{line}\n").as_bytes()).unwrap();
        eventually(&format!("{line} is answered"), || {
            let new = self.lines().split_off(before);
            new.into_iter().find(|line| line.starts_with(answer))
        })
    }

    fn set(&mut self, table: &str, at: u16, word: u16) {
        self.tell(&format!("set {table} {at} {word}"), "done");
    }

    fn get(&mut self, table: &str, at: u16) -> u16 {
        let got = self.tell(&format!("get {table} {at}"), "got ");
        got["got ".len()..].parse().unwrap()
    }

    fn lines(&self) -> Vec<String> {
        self.said.lock().unwrap().clone()
    }

    /// The writes to this register so far, as words.
    fn writes(&self, register: &str) -> Vec<String> {
        let begins = format!("write {register} ");
        let lines = self.lines();
        let of_it = lines.iter().filter_map(|line| line.strip_prefix(&begins));
        of_it.map(str::to_owned).collect()
    }

    fn kill(mut self) -> u16 {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.port
    }
}

impl Drop for Plc {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A node with this device and more of its table.
fn node(port: u16, more: &str) -> Place {
    let place = Place::new();
    place.write(
        "config.toml",
        &format!(
            "role = \"field\"\n[[device]]\nkind = \"modbus\"\nname = \"plc\"\naddress = \"127.0.0.1:{port}\"\nunit = 1\n\
             timeout_ms = 500\nevery_ms = 100\n{more}"
        ),
    );
    place.write(
        "policy.toml",
        &format!(
            "version = 1\n[[rule]]\nname = \"pump\"\ncapability = \"{PUMP}\"\noperations = [\"start\"]\n\
             level = \"L2\"\nsafe_state = \"stop\"\ndeadline_sec = 600\n"
        ),
    );
    place
}

const ACTUATOR: &str = "[[device.actuator]]\ncapability = \"actuator:pump:p1\"\nsafe = \"stop\"\n\
    heartbeat = { table = \"holding\", at = 100, every_sec = 0.1 }\n\
    [[device.actuator.operation]]\nname = \"start\"\nwrite = { table = \"coil\", at = 10, value = true }\n\
    [[device.actuator.operation]]\nname = \"stop\"\nwrite = { table = \"coil\", at = 10, value = false }\n";

fn reading(metric: &str, keys: &str) -> String {
    format!("[[device.reading]]\nmetric = \"{metric}\"\nzone = \"z\"\n{keys}\n")
}

fn value(place: &Place, metric: &str) -> Option<f64> {
    let world = place.json(&["world"]);
    let facts = world.as_array()?;
    facts.iter().find(|fact| fact["metric"] == metric)?["value"].as_f64()
}

/// Why a sensor gives no readings, once it gives none.
fn problem(place: &Place, sensor: &str) -> Option<String> {
    // Where an alarm stands already, the exit code says so.
    let status: Value = serde_json::from_str(&place.run(&["status", "--json"]).out).ok()?;
    let sensors = status["sensors"].as_array()?.clone();
    let of_it = sensors.into_iter().find(|s| s["name"] == sensor)?;
    of_it["problem"].as_str().map(str::to_owned)
}

fn becomes(place: &Place, metric: &str, wanted: f64) {
    eventually(&format!("{metric} is {wanted}"), || {
        (value(place, metric)? == wanted).then_some(())
    });
}

/// A pump that a person has let start.
fn started(place: &Place) -> String {
    place.enrolled();
    let draft = place.json(&["propose", PUMP, "start", "--reason", "dry"]);
    let id = draft["proposalId"].as_str().unwrap().to_owned();
    place.json(&["approve", &id]);
    place.await_status(&id, &["executing"]);
    id
}

#[test]
fn registers_become_readings_and_mistakes_are_seen() {
    let Some(mut plc) = Plc::start(0) else { return };
    plc.set("holding", 40, 215);
    // 21.5 as f32, the lower register first.
    plc.set("holding", 51, 0x41ac);
    plc.set("discrete", 3, 1);
    let more = [
        reading("level", "register = \"holding:40\"\nscale = 0.1"),
        reading(
            "float",
            "register = \"40051\"\ntype = \"f32\"\norder = \"little-word\"",
        ),
        reading(
            "order",
            "register = \"40051\"\ntype = \"u32\"\ncheck = { range = [0, 100] }",
        ),
        reading("open", "register = \"discrete:3\""),
        reading("nothing", "register = \"holding:300\""),
    ];
    let place = node(plc.port, &more.concat());
    let node = place.start(&[]);
    becomes(&place, "level", 21.5);
    becomes(&place, "float", 21.5);
    becomes(&place, "open", 1.0);
    let wrong = eventually("the wrong register is told of", || {
        problem(&place, "plc nothing z")
    });
    assert!(
        wrong.contains("holding:300 of unit 1") && wrong.contains("no such register"),
        "{wrong}"
    );
    // What the bytes would be in the right order stands beside the doubted value.
    becomes(&place, "order", f64::from(0x41ac_u32));
    let frames = place.json(&["frames"]).to_string();
    assert!(frames.contains("\"little-word\":1101791232"), "{frames}");
    plc.set("holding", 40, 300);
    becomes(&place, "level", 30.0);
    assert_eq!(node.stop(), 0);
}

#[test]
fn what_a_person_approves_is_written_once_and_taken_back() {
    let Some(mut plc) = Plc::start(0) else { return };
    let place = node(plc.port, ACTUATOR);
    let node = place.start(&[]);
    let id = started(&place);
    assert_eq!(plc.get("coil", 10), 1);
    eventually("the heartbeat goes", || {
        (plc.writes("holding 100").len() > 3).then_some(())
    });
    place.json(&["stop", &id]);
    place.await_status(&id, &["failed"]);
    assert_eq!(plc.get("coil", 10), 0);
    // Made safe at the start, moved once, and taken back.
    let mut writes = plc.writes("coil 10");
    let moved = writes.iter().position(|word| word == "1").unwrap();
    assert_eq!(writes.split_off(moved), ["1", "0"]);
    assert!(!writes.is_empty(), "it was made safe at the start");
    assert_eq!(node.stop(), 0);
}

#[test]
fn a_device_that_dies_during_a_run_ends_it_and_is_made_safe_when_it_is_back() {
    let Some(plc) = Plc::start(0) else { return };
    let more = [
        reading("level", "register = \"holding:40\""),
        ACTUATOR.to_owned(),
    ];
    let place = node(plc.port, &more.concat());
    let node = place.start(&[]);
    let id = started(&place);
    becomes(&place, "level", 0.0);
    let port = plc.kill();
    let told = eventually("the lost device is told of", || {
        problem(&place, "plc level z")
    });
    assert!(told.contains("127.0.0.1"), "{told}");
    // One that is back between two heartbeats was not lost.
    eventually("its run has ended and it is not known to be safe", || {
        let now = place.run(&["status", "--json"]).out;
        let now: Value = serde_json::from_str(&now).ok()?;
        let alarms = now["alarms"].to_string();
        alarms.contains("actuator.unsafe").then_some(())
    });
    let mut plc = eventually("the device is there again", || Plc::start(port));
    plc.set("holding", 40, 7);
    eventually("it is made safe", || {
        (plc.writes("coil 10").first()? == "0").then_some(())
    });
    place.await_status(&id, &["failed"]);
    becomes(&place, "level", 7.0);
    assert!(
        !plc.writes("coil 10").contains(&"1".to_owned()),
        "nothing is said again"
    );
    assert_eq!(node.stop(), 0);
}

#[test]
fn a_node_that_is_killed_feeds_no_watchdog_and_makes_safe_when_it_is_back() {
    let Some(mut plc) = Plc::start(0) else { return };
    let place = node(plc.port, ACTUATOR);
    let running = place.start(&[]);
    let id = started(&place);
    eventually("the heartbeat goes", || {
        (plc.writes("holding 100").len() > 3).then_some(())
    });
    running.kill();
    // Whatever was still under way is said before this.
    assert_eq!(plc.get("coil", 10), 1);
    let (beats, before) = (plc.writes("holding 100").len(), plc.writes("coil 10").len());
    let running = place.start(&[]);
    eventually("it is made safe", || {
        (plc.writes("coil 10").len() > before).then_some(())
    });
    assert_eq!(plc.get("coil", 10), 0);
    assert_eq!(
        plc.writes("holding 100").len(),
        beats,
        "the watchdog is not fed"
    );
    place.await_status(&id, &["unknown"]);
    let after = plc.writes("coil 10").split_off(before);
    assert!(
        after.iter().all(|word| word == "0"),
        "nothing is done again: {after:?}"
    );
    assert_eq!(running.stop(), 0);
}

/// What stands between a node and a device, and can let nothing through while all connections stay.
struct Between {
    port: u16,
    cut: Arc<AtomicBool>,
}

impl Between {
    fn new(to: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let cut: Arc<AtomicBool> = Arc::default();
        let own = cut.clone();
        std::thread::spawn(move || {
            for near in listener.incoming().map_while(Result::ok) {
                let far = TcpStream::connect(("127.0.0.1", to)).unwrap();
                let pairs = [
                    (near.try_clone().unwrap(), far.try_clone().unwrap()),
                    (far, near),
                ];
                for (mut from, mut into) in pairs {
                    let cut = own.clone();
                    std::thread::spawn(move || {
                        let mut bytes = [0; 512];
                        while let Ok(n) = from.read(&mut bytes) {
                            let lost = cut.load(Ordering::SeqCst);
                            if n == 0 || (!lost && into.write_all(&bytes[..n]).is_err()) {
                                break;
                            }
                        }
                    });
                }
            }
        });
        Self { port, cut }
    }
}

#[test]
fn a_connection_that_is_half_open_and_a_slow_device_are_told_of_and_got_over() {
    let Some(mut plc) = Plc::start(0) else { return };
    let between = Between::new(plc.port);
    let place = node(between.port, &reading("level", "register = \"holding:40\""));
    let node = place.start(&[]);
    becomes(&place, "level", 0.0);
    between.cut.store(true, Ordering::SeqCst);
    let silent = |place: &Place| {
        let why = problem(place, "plc level z")?;
        why.contains("has not answered within 500 ms").then_some(())
    };
    eventually("the silence is told of", || silent(&place));
    plc.set("holding", 40, 5);
    between.cut.store(false, Ordering::SeqCst);
    becomes(&place, "level", 5.0);
    plc.tell("slow 0.9", "done");
    eventually("the slow device is told of", || silent(&place));
    plc.tell("slow 0", "done");
    plc.set("holding", 40, 6);
    becomes(&place, "level", 6.0);
    assert_eq!(node.stop(), 0);
}
