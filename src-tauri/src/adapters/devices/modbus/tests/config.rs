//! The configuration, and what is found in a damaged one.

use std::path::Path;
use std::sync::Arc;

use super::made;
use crate::adapters::devices::tests::NoKeeper;
use crate::adapters::devices::{Ground, Keeper, rescue};

const GOOD: &str = r#"name = "plc-1"
address = "192.168.1.20"
unit = 1
[[reading]]
metric = "flow"
register = "holding:40"
type = "u32"
order = "little-word"
[[actuator]]
capability = "actuator:pump:p1"
safe = "stop"
feedback = { table = "discrete", at = 3, value = false }
heartbeat = { table = "holding", at = 100, every_sec = 1 }
[[actuator.operation]]
name = "start"
write = { table = "coil", at = 10, value = 1 }
[[actuator.operation]]
name = "speed"
write = { table = "holding", at = 20, from = "percent", scale = 0.1, min = 0, max = 100 }
[[actuator.operation]]
name = "stop"
write = { table = "coil", at = 10, value = 0, function = 15 }
"#;

fn problem(text: &str) -> String {
    made(text).map_or_else(|why| why, |_| "fine".to_owned())
}

/// The text replaced, its replacement, and the error expected.
const MISTAKES: &[(&str, &str, &str)] = &[
    ("unit = 1\n", "", "missing field `unit`"),
    ("unit = 1\n", "unit = 300\n", "300"),
    (
        "unit = 1\n",
        "unit = 1\nbaud = 9600\n",
        "baud: goes with serial",
    ),
    (
        "168.1.20",
        "168.1.20:x",
        "address: must be a host and a port",
    ),
    (
        "192.168.1.20",
        "tcp://plc",
        "address: must be a host and a port",
    ),
    (
        "192.168.1.20",
        "plc\\u0000",
        "address: must be a host and a port",
    ),
    (
        "192.168.1.20",
        "plc\\u001b:502",
        "address: must be a host and a port",
    ),
    (
        "\"holding:40\"",
        "\"holding:40\"\ncheck = { late_sec = 60 }",
        "reading flow: check.late_sec: says nothing of a device that is asked",
    ),
    (
        "unit = 1\n",
        "unit = 1\ntimeout_ms = 0\n",
        "timeout_ms: must be 50 to 5000",
    ),
    (
        "unit = 1\n",
        "unit = 1\nevery_ms = 1\n",
        "every_ms: must be",
    ),
    (
        "unit = 1\n",
        "unit = 1\nmost_registers = 126\n",
        "most_registers: must be 1 to 125",
    ),
    (
        "\"holding:40\"",
        "\"holdin:40\"",
        "reading flow: \"holdin:40\" is no register",
    ),
    ("\"holding:40\"", "\"40000\"", "\"40000\" is no register"),
    (
        "\"holding:40\"",
        "\"holding:65535\"",
        "reading flow: at: holding:65535 has no 2 registers",
    ),
    (
        "\"holding:40\"",
        "\"coil:40\"",
        "reading flow: type: a coil is always a bool",
    ),
    ("\"holding:40\"", "40", "expected a register such as"),
    ("\"u32\"", "\"u33\"", "unknown variant `u33`"),
    ("\"little-word\"", "\"cdab\"", "unknown variant `cdab`"),
    ("type = \"u32\"", "bit = 16", "bit: must be 0 to 15"),
    ("actuator:pump", "sensor:pump", "must begin with actuator:"),
    (
        "safe = \"stop\"",
        "safe = \"halt\"",
        "actuator:pump:p1: safe = \"halt\" must be one of its operations",
    ),
    (
        "safe = \"stop\"",
        "safe = \"speed\"",
        "operation.write of speed: the safe state must be a value",
    ),
    (
        "name = \"start\"",
        "name = \"stop\"",
        "operation.name: stop is listed twice",
    ),
    (
        "\"coil\", at = 10, value = 1",
        "\"discrete\", at = 10, value = 1",
        "operation.write of start: table: a discrete cannot be written",
    ),
    (
        "\"coil\", at = 10, value = 1",
        "\"coils\", at = 10, value = 1",
        "unknown table \"coils\"",
    ),
    (
        "\"coil\", at = 10, value = 1",
        "\"coil\", at = 10, value = 2",
        "value: 2 is beyond 0 to 1",
    ),
    (
        "\"coil\", at = 10, value = 1",
        "\"coil\", at = 10",
        "give either value or from",
    ),
    (
        "function = 15",
        "function = 6",
        "function: must be 5 or 15 for a coil",
    ),
    (
        "function = 15",
        "scale = 2",
        "scale, offset, min and max go with from",
    ),
    (", min = 0", "", "min and max: both are needed"),
    (
        "max = 100 }",
        "max = 7000 }",
        "7000 cannot be written: 70000 is beyond 0 to 65535",
    ),
    (
        "scale = 0.1",
        "scale = 0",
        "scale: must be a number other than 0",
    ),
    (
        "every_sec = 1",
        "every_sec = 0",
        "heartbeat.every_sec: must be 0.1 to 60",
    ),
    (
        "value = false }",
        "value = false, within_ms = 60000 }",
        "feedback.within_ms: must be at most",
    ),
    (
        "value = false }",
        "value = false, tolerance = nan }",
        "feedback.tolerance: must be a number",
    ),
];

#[test]
fn one_device_has_one_table() {
    let table = |name: &str, unit: u8| {
        format!(
            "kind = \"modbus\"\nname = \"{name}\"\naddress = \"10.0.0.9\"\nunit = {unit}\n\
             reading = [{{ metric = \"{name}\", register = \"input:1\", type = \"u16\" }}]"
        )
    };
    let made = |other: &str| {
        let keeper = std::sync::Arc::new(crate::adapters::devices::tests::Passwords);
        crate::adapters::devices::tests::made_with(keeper, &[&table("a", 1), other]).err()
    };
    let why = made(&table("b", 1).replace("10.0.0.9", "10.0.0.9:502")).unwrap();
    assert!(
        why.contains("modbus b: unit 1 at 10.0.0.9:502 has a table already, modbus a"),
        "{why}"
    );
    assert_eq!(made(&table("b", 2)), None);
}

#[test]
fn a_mistake_is_named_with_its_key() {
    assert_eq!(problem(GOOD), "fine");
    for (before, after, word) in MISTAKES {
        let bad = GOOD.replacen(before, after, 1);
        assert_ne!(bad, GOOD, "{before}");
        let problem = problem(&bad);
        assert!(problem.contains(word), "{after}: {problem}");
    }
    let nothing = problem("name = \"x\"\naddress = \"x:1\"\nunit = 1");
    assert!(
        nothing.contains("neither a reading nor an actuator"),
        "{nothing}"
    );
    let feeds = problem(&GOOD.replace("\"holding\", at = 100", "\"coil\", at = 10"));
    assert!(
        feeds.contains("heartbeat: coil:10 is what an operation writes"),
        "{feeds}"
    );
    let (_, actuator) = GOOD.split_at(GOOD.find("[[actuator]]").unwrap());
    let both = format!("{GOOD}{}", actuator.replace("p1", "p2"));
    let twice = problem(&both);
    assert!(
        twice.contains("actuator:pump:p2: coil:10 is written by another actuator"),
        "{twice}"
    );
}

#[test]
fn an_address_has_a_port_where_it_says_none() {
    let way = |address: &str| {
        let text = GOOD.replace("192.168.1.20", address);
        made(&text).unwrap().actuators[0].safe_way().unwrap()
    };
    assert_eq!(way("plc.local"), way("plc.local:502"));
    assert_eq!(way("fe80::1"), way("[fe80::1]:502"));
    assert_ne!(way("plc.local"), way("plc.local:503"));
    let unit = GOOD.replace("unit = 1", "unit = 2");
    let unit = made(&unit).unwrap().actuators[0].safe_way().unwrap();
    assert_ne!(unit, way("192.168.1.20"));
}

/// The actuators made safe from a file with this device in it.
fn found(file: &str) -> Vec<String> {
    let keeper: Arc<dyn Keeper> = Arc::new(NoKeeper);
    let ground = Ground {
        dir: Path::new("/"),
        keeper: &keeper,
    };
    let found = rescue(file.as_bytes(), &ground);
    found
        .iter()
        .map(|a| format!("{} {}", a.capability(), a.operations().join(" ")))
        .collect()
}

#[test]
fn the_way_to_the_safe_state_is_found_in_a_damaged_file_where_it_is_certain() {
    let device = GOOD.replace("[[", "[[device.");
    let device = format!("[[device]]\nkind = \"modbus\"\n{device}");
    let pump = ["actuator:pump:p1 stop"];
    let second = device.replace("plc-1", "plc-2").replace("p1", "p2");
    for file in [
        device.clone(),
        device.replace("\"modbus\"", "\"modbsu\""),
        format!("port = = 1\n{device}"),
        device.replace("metric = \"flow\"", "metric = = 1"),
        device.replace("\"holding:40\"", "3.5"),
        device.replace("value = 1 }", "vlaue = 1 }"),
        device.replace("every_sec = 1", "every = 1"),
        device.replace("unit = 1\n", "unit = 1\ntimeout_ms = 0\n"),
        device.replace("\"discrete\", at = 3", "\"discreet\", at = 3"),
    ] {
        assert_eq!(found(&file), pump, "{file}");
        assert_eq!(found(&format!("{file}{second}")).len(), 2, "{file}");
    }
    for file in [
        device.replace("unit = 1\n", ""),
        device.replace("unit = 1\n", "unti = 1\n"),
        device.replace("unit = 1\n", "unit = = 1\n"),
        device.replace("unit = 1\n", "unit = 300\n"),
        device.replace("address = ", "adress = "),
        device.replace("192.168", "192.\u{fffd}168"),
        device.replace("192.168.1.20", "plc\\u0000"),
        device.replace("value = 0, function = 15", "vlaue = 0"),
        device.replace("value = 0, function = 15", "value = 0, ordr = \"big\""),
        device.replace("safe = \"stop\"", "safe = \"halt\""),
        device.replace("safe = \"stop\"", "safe = \"speed\""),
    ] {
        assert_eq!(found(&file), [""; 0], "{file}");
    }
}

/// A device whose way to the safe state is said line by line.
const LONG: &str = r#"[[device]]
kind = "modbus"
name = "plc-1"
address = "192.168.1.20"
unit = 1
[[device.reading]]
metric = "level"
register = "holding:40"
type = "u32"
order = "big"
unit = "L"
[[device.actuator]]
capability = "actuator:valve:v1"
safe = "shut"
[device.actuator.heartbeat]
table = "holding"
every_sec = 1
[device.actuator.feedback]
table = "input"
at = 3
value = 0
type = "i16"
tolerance = 2
[[device.actuator.operation]]
name = "shut"
[device.actuator.operation.write]
table = "holding"
at = 20
value = 4.5
type = "f32"
order = "little-word"
function = 16
"#;

#[test]
fn a_way_to_the_safe_state_of_which_a_line_does_not_read_is_none() {
    let lines: Vec<&str> = LONG.lines().collect();
    // Each line with a key, its value no longer one.
    let broken = |at: usize| {
        let (key, _) = lines[at].split_once(" = ")?;
        let mut lines = lines.clone();
        let line = format!("{key} = = 1");
        lines[at] = &line;
        Some(lines.join("\n"))
    };
    assert_eq!(found(LONG), ["actuator:valve:v1 shut"]);
    let free = ["kind", "metric", "register", "every_sec"];
    let reading = lines
        .iter()
        .position(|line| line.contains("reading"))
        .unwrap();
    let actuator = lines
        .iter()
        .position(|line| line.contains("[device.actuator]"))
        .unwrap();
    for (at, line) in lines.iter().enumerate() {
        let Some(file) = broken(at) else { continue };
        let is_free =
            free.iter().any(|key| line.starts_with(key)) || (reading..actuator).contains(&at);
        assert_eq!(found(&file).len(), usize::from(is_free), "{file}");
    }
}
