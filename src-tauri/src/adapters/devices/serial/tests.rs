//! The kind over a pseudo-terminal: lines, garbage, silence, and an adapter that is pulled out.
#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::sync::Arc;

use futures_util::FutureExt as _;

use super::nmea::tests::sealed;
use super::*;
use crate::adapters::clock::ManualClock;
use crate::adapters::devices::port::tests::Far;
use crate::adapters::devices::tests::{NoKeeper, Nobody, Passwords, made_with};
use crate::adapters::devices::{Carrier, Hooks, Keeper};
use crate::adapters::paths::StateDir;

/// The readings of a port, and the clock that they go by.
fn sensors(path: &Path, keys: &str) -> (Vec<Box<dyn Sensor>>, Arc<ManualClock>) {
    let path = path.display();
    let text = format!("name = \"gps\"\nserial = \"{path}\"\nbaud = 4800\n{keys}");
    let device: Serial = toml::from_str(&text).unwrap();
    let manual = Arc::new(ManualClock::at(TimeMs(1_000_000)));
    let clock: SharedClock = manual.clone();
    let carrier: Arc<dyn Carrier> = Arc::new(Nobody);
    let keeper: Arc<dyn Keeper> = Arc::new(NoKeeper);
    let temp = tempfile::tempdir().unwrap();
    let around = Around {
        dir: &StateDir::at(temp.path()),
        clock: &clock,
        carrier: &carrier,
        keeper: &keeper,
        hooks: &Hooks::default(),
    };
    (device.make(&around).unwrap().sensors, manual)
}

fn read(sensor: &mut Box<dyn Sensor>) -> Result<Vec<Reading>, String> {
    sensor.read(TimeMs(0)).map_err(|e| e.0)
}

/// Says this again and again until the reading has a value.
fn says(far: &mut Far, line: &str, sensor: &mut Box<dyn Sensor>) -> Reading {
    loop {
        far.write(line.as_bytes());
        far.read();
        if let Ok(readings) = read(sensor)
            && let Some(reading) = readings.into_iter().next()
        {
            return reading;
        }
    }
}

/// Says this again and again until the reading fails.
fn fails(far: &mut Far, line: &str, sensor: &mut Box<dyn Sensor>) -> String {
    loop {
        far.write(line.as_bytes());
        far.read();
        if let Err(why) = read(sensor) {
            return why;
        }
    }
}

const POSITION: &str = "format = \"nmea\"\n\
    [[reading]]\nmetric = \"latitude\"\nunit = \"deg\"\nquantity = \"latitude\"\ncheck = { range = [-60, 60] }\n\
    [[reading]]\nmetric = \"course\"\nunit = \"deg\"\nsentence = \"RMC\"\nfield = 8\n";

#[test]
fn sentences_become_readings_and_doubts_and_a_lost_position_is_told() {
    let mut far = Far::new();
    let (mut sensors, clock) = sensors(&far.path, POSITION);
    let rmc = |latitude: &str| {
        let body = format!("GPRMC,1,A,{latitude},N,01131.0,E,0,084.4,230394,,");
        format!("{}\r\n", sealed(&body))
    };
    // What comes after a silence is told to whoever waits, what goes on is not.
    let news = sensors[0].news().unwrap();
    let told = || news.notified().now_or_never().is_some();
    let reading = says(&mut far, &rmc("4830.0"), &mut sensors[0]);
    assert!(told());
    says(&mut far, &rmc("4830.0"), &mut sensors[0]);
    assert!(!told());
    clock.set(TimeMs(1_006_000));
    says(&mut far, &rmc("4830.0"), &mut sensors[0]);
    assert!(told());
    assert_eq!((reading.value, &*reading.unit), (48.5, "deg"));
    assert!(reading.doubt.is_none() && reading.measured_ms == Some(1_000_000));
    assert_eq!(
        says(&mut far, &rmc("4830.0"), &mut sensors[1])
            .value
            .to_string(),
        "84.4"
    );
    let mut far_north = says(&mut far, &rmc("7030.0"), &mut sensors[0]);
    while far_north.value < 60.0 {
        far_north = says(&mut far, &rmc("7030.0"), &mut sensors[0]);
    }
    assert!(far_north.doubt.is_some(), "outside of its range");
    let void = format!("{}\r\n", sealed("GPRMC,1,V,,,,,,,230394,,"));
    let why = fails(&mut far, &void, &mut sensors[0]);
    assert!(
        why.contains("the receiver has no position of its own (RMC)"),
        "{why}"
    );
}

#[test]
fn garbage_is_no_value_and_is_told_once_nothing_else_comes() {
    let mut far = Far::new();
    let (mut sensors, clock) = sensors(&far.path, POSITION);
    let line = format!(
        "{}\r\n",
        sealed("GPRMC,1,A,4830.0,N,01131.0,E,0,084.4,230394,,")
    );
    says(&mut far, &line, &mut sensors[0]);
    // The last one may have been said more than once.
    while !read(&mut sensors[0]).unwrap().is_empty() {}
    let wrong = line.replace("4830", "4839");
    far.write(wrong.as_bytes());
    far.write(&[b'x'; 3_000]);
    far.read();
    assert_eq!(read(&mut sensors[0]), Ok(Vec::new()));
    clock.set(TimeMs(1_000_000 + SERIAL_SILENT_MS + 1));
    let why = loop {
        far.write(wrong.as_bytes());
        far.read();
        match read(&mut sensors[0]) {
            Err(why) if why.contains("checksum") => break why,
            other => assert!(!other.is_ok_and(|readings| !readings.is_empty())),
        }
    };
    assert!(
        why.contains("nothing of it has come on /dev/pts/") && why.contains("wrong checksum"),
        "{why}"
    );
    says(&mut far, &line, &mut sensors[0]);
}

#[test]
fn an_adapter_that_is_pulled_out_is_told_of_and_read_again_when_it_is_back() {
    let dir = tempfile::tempdir().unwrap();
    let name = dir.path().join("adapter");
    let mut far = Far::new();
    std::os::unix::fs::symlink(&far.path, &name).unwrap();
    let keys = "format = \"csv\"\nseparator = \";\"\ncolumns = 2\n\
        [[reading]]\nmetric = \"t\"\ncolumn = 2\nscale = 0.1\n";
    let (mut sensors, _) = sensors(&name, keys);
    let sensor = &mut sensors[0];
    assert_eq!(says(&mut far, "1;215\n", sensor).value.to_string(), "21.5");
    drop(far);
    let gone = loop {
        if let Err(why) = read(sensor) {
            break why;
        }
    };
    assert!(gone.contains("is the adapter plugged in"), "{gone}");
    std::fs::remove_file(&name).unwrap();
    let mut far = Far::new();
    std::os::unix::fs::symlink(&far.path, &name).unwrap();
    assert_eq!(says(&mut far, "1;300\n", sensor).value.to_string(), "30");
}

#[test]
fn a_port_has_one_table_and_one_meaning() {
    let table = |kind: &str, name: &str, keys: &str| {
        format!(
            "kind = \"{kind}\"\nname = \"{name}\"\nserial = \"/dev/ttyUSB78\"\nbaud = 9600\n{keys}"
        )
    };
    let lines = "format = \"csv\"\nreading = [{ metric = \"m\", column = 1 }]";
    let problem = |tables: &[&str]| {
        let made = made_with(Arc::new(Passwords), tables);
        made.err().unwrap_or_else(|| "fine".to_owned())
    };
    let one = table("serial", "a", lines);
    assert_eq!(problem(&[&one]), "fine");
    let twice = problem(&[
        &one,
        &table("serial", "b", &lines.replace("\"m\"", "\"n\"")),
    ]);
    assert!(
        twice.contains("the serial port /dev/ttyUSB78 has a table already, serial a"),
        "{twice}"
    );
    let modbus =
        "parity = \"none\"\nunit = 1\nreading = [{ metric = \"p\", register = \"input:1\" }]";
    let both = problem(&[&one, &table("modbus", "b", modbus)]);
    assert!(
        both.contains("is Modbus at /dev/ttyUSB78, 9600 baud, 8N1 here and lines of text"),
        "{both}"
    );
    for (before, after, why) in [
        (
            "column = 1",
            "column = 0",
            "reading m: column: must be 1 to 256",
        ),
        ("\"csv\"", "\"xml\"", "unknown variant `xml`"),
        (
            "\"csv\"\n",
            "\"csv\"\nseparator = \";;\"\n",
            "separator: must be one character",
        ),
        (
            "\"csv\"\n",
            "\"csv\"\ncolumns = 0\n",
            "columns: must be 1 to 256",
        ),
        (
            "\"csv\"\n",
            "\"nmea\"\ncolumns = 3\n",
            "columns: go with format",
        ),
        (
            "reading = [{ metric = \"m\", column = 1 }]",
            "",
            "it has no reading",
        ),
    ] {
        let told = problem(&[&one.replace(before, after)]);
        assert!(told.contains(why), "{after}: {told}");
    }
}
