//! Tests that every driver must pass.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::sync::Arc;

use futures_util::future::BoxFuture;

use super::config::Configured;
use super::exec::tests::{act, exec};
use super::recorder::Recorder;
use super::sim::valve;
use super::*;
use crate::adapters::clock::{SharedClock, SystemClock};
use crate::adapters::paths::StateDir;
use crate::domain::base::DeviceId;
use crate::domain::capability::{Action, Params};
use crate::domain::gate::Gen1Command;
use crate::domain::gate::actuation::act_of;
use crate::domain::gate::command::Behind;

/// The suite of all drivers, of one that can open and close.
pub(super) async fn conforms(driver: &dyn Actuator) {
    driver.act(act(driver, "open", "job-1")).await.unwrap();
    let open = driver.state().await.unwrap();
    driver.make_safe("job-1").await.unwrap();
    driver.make_safe("job-1").await.unwrap();
    assert_ne!(driver.state().await.unwrap(), open);
    let safe = driver.safe_operation().unwrap_or("close".to_owned());
    assert!(driver.operations().contains(&safe), "{safe}");
    let error = driver
        .act(act(driver, "explode", "job-2"))
        .await
        .unwrap_err();
    assert!(
        error.to_string().contains("open"),
        "names what there is: {error}"
    );
}

#[tokio::test]
async fn every_driver_moves_reads_back_and_makes_safe_twice() {
    let temp = tempfile::tempdir().unwrap();
    conforms(&valve(&temp.path().join("sim")).unwrap().0).await;
    conforms(&exec(temp.path(), "exit 0", 5_000)).await;
    conforms(&Recorder::new("actuator:x:y".parse().unwrap())).await;
    let pin = temp.path().join("pin");
    std::fs::write(&pin, "0").unwrap();
    let pin = pin.display();
    let board = format!(
        "kind = \"file\"\nname = \"board\"\nactuator = [{{ capability = \"actuator:x:y\", safe = \"close\", operation = [\
         {{ name = \"open\", path = \"{pin}\", text = \"1\" }}, {{ name = \"close\", path = \"{pin}\", text = \"0\" }}] }}]"
    );
    conforms(&*made(&[&board]).unwrap().actuators[0]).await;
}

#[tokio::test]
async fn the_kit_refuses_a_parameter_that_it_does_not_know() {
    let temp = tempfile::tempdir().unwrap();
    let (valve, kit) = valve(&temp.path().join("sim")).unwrap();
    let params = Params::from([("percent".to_owned(), 30.into())]);
    let open = Action::new(valve.capability().clone(), "open", params).unwrap();
    let error = valve.act(act_of(open, "j")).await.unwrap_err().to_string();
    assert!(error.contains("percent"), "{error}");
    assert!(!kit.look().valve_open);
}

/// Reaches no device.
pub(super) struct Nobody;

impl Carrier for Nobody {
    fn say<'a>(
        &'a self,
        _: &'a Gen1Command,
        _: Behind<'a>,
        _: std::time::Duration,
    ) -> BoxFuture<'a, Result<(), DriverError>> {
        Box::pin(std::future::ready(Err(DriverError::Failed(
            "nobody".into(),
        ))))
    }

    fn back<'a>(&'a self, _: &'a DeviceId) -> BoxFuture<'a, ()> {
        Box::pin(std::future::pending())
    }
}

/// Knows no password.
pub(super) struct NoKeeper;

impl Keeper for NoKeeper {
    fn device(&self) -> Result<DeviceId, String> {
        "d".repeat(64).parse().map_err(|_| "no id".to_owned())
    }

    fn password(&self, name: &str) -> Result<zeroize::Zeroizing<String>, String> {
        Err(format!("there is no credential {name}"))
    }
}

/// A node with passwords.
pub(super) struct Passwords;

impl Keeper for Passwords {
    fn device(&self) -> Result<DeviceId, String> {
        "d".repeat(64).parse().map_err(|_| "no id".to_owned())
    }

    fn password(&self, name: &str) -> Result<zeroize::Zeroizing<String>, String> {
        match name {
            "device/shed" => Ok("green".to_owned().into()),
            "device/old" => Ok("gray".to_owned().into()),
            _ => Err(format!("there is no credential {name}")),
        }
    }
}

/// The devices of some tables, as a node in `dir` makes them.
fn made_in(dir: &std::path::Path, tables: &[&str]) -> Result<Made, String> {
    made_by(dir, Arc::new(NoKeeper), tables)
}

/// The devices of some tables at a node that knows passwords.
pub(super) fn made_with(keeper: Arc<dyn Keeper>, tables: &[&str]) -> Result<Made, String> {
    made_by(tempfile::tempdir().unwrap().path(), keeper, tables)
}

fn made_by(
    dir: &std::path::Path,
    keeper: Arc<dyn Keeper>,
    tables: &[&str],
) -> Result<Made, String> {
    let mut all = Vec::new();
    for table in tables {
        let table = format!("{{ {} }}", table.trim().replace('\n', ", "));
        let value = toml::de::DeValue::parse(&table).unwrap();
        let device = Configured::read(value, true).map_err(|e| e.message().to_owned())?;
        all.push(device.at("config.toml, line 7".to_owned()));
    }
    let clock: SharedClock = Arc::new(SystemClock::default());
    let carrier: Arc<dyn Carrier> = Arc::new(Nobody);
    let dir = StateDir::at(dir);
    let around = Around {
        dir: &dir,
        clock: &clock,
        carrier: &carrier,
        keeper: &keeper,
        hooks: &Hooks::default(),
    };
    make(&all, &around).map_err(|e| e.to_string())
}

fn made(tables: &[&str]) -> Result<Made, String> {
    made_in(tempfile::tempdir().unwrap().path(), tables)
}

const OPERATION: &str = "{ name = \"open\", send = \"set\", params = { state = \"active\" } }";

fn far(name: &str) -> String {
    format!(
        "capability = \"actuator:gen1:{name}\"\nkind = \"gen1\"\ndevice = \"{}\"\n\
         target = \"actuator:mock:valve-1\"\nsafe = \"close\"\noperation = [{OPERATION}, {{ name = \"close\" }}]",
        "a".repeat(64)
    )
}

pub(super) fn problem(table: &str) -> String {
    made(&[table]).map_or_else(|why| why, |_| "fine".to_owned())
}

#[test]
fn a_bad_gen1_actuator_is_refused_with_what_is_wrong() {
    let good = far("valve-1");
    assert_eq!(problem(&good), "fine");
    assert!(made(&[&good]).unwrap().actuators[0].gen1().is_some());
    let id = format!("device = \"{}\"\n", "a".repeat(64));
    for (before, after, word) in [
        (id.as_str(), "device = \"valve-host\"\n", "device: "),
        (id.as_str(), "", "missing field `device`"),
        (
            "target = \"actuator:mock:valve-1\"\n",
            "",
            "missing field `target`",
        ),
        ("\"actuator:mock", "\"sensor:mock", "target"),
        (
            "safe = \"close\"",
            "safe = \"halt\"",
            "must be one of its operations",
        ),
        (
            "\"gen1\"\n",
            "\"gen2\"\n",
            "the kinds are camera, exec, file, gen1, gpio, host, http, modbus, mqtt, serial, sim",
        ),
        ("kind = \"gen1\"\n", "", "unknown field `device`"),
        (
            "send = \"set\"",
            "argv = [\"/bin/true\"]",
            "unknown field `argv`",
        ),
        (
            "send = \"set\"",
            "send = \"Set It\"",
            "operation.send of open: ",
        ),
        (
            "\"actuator:gen1",
            "\"sensor:gen1",
            "capability: must begin with actuator:",
        ),
    ] {
        let bad = good.replacen(before, after, 1);
        assert_ne!(bad, good);
        let problem = problem(&bad);
        assert!(problem.contains(word), "{bad}: {problem}");
    }
}

#[test]
fn an_error_names_the_place_the_device_and_the_key() {
    let exec = "capability = \"actuator:pump:main\"\nsafe = \"stop\"\n\
                operation = [{ name = \"stop\", argv = [\"/nonexistent/pump\", \"off\"] }]";
    for (table, whole) in [
        (
            exec.to_owned(),
            "config.toml, line 7: exec actuator:pump:main: operation.argv of stop: there is no program /nonexistent/pump",
        ),
        (
            exec.replace("\"stop\"\n", "\"halt\"\n")
                .replace("/nonexistent/pump", "/bin/sh"),
            "config.toml, line 7: exec actuator:pump:main: safe = \"halt\" must be one of its operations",
        ),
        (
            "kind = \"sim\"\npace = -1.0".to_owned(),
            "config.toml, line 7: sim: pace: must be a number from 0 to 1000",
        ),
    ] {
        assert_eq!(problem(&table), whole);
    }
    for table in ["kind = \"host\"", "kind = \"sim\""] {
        let why = made(&[table, table]).err().unwrap();
        assert!(why.contains("configured twice"), "{why}");
    }
}

#[tokio::test]
async fn what_the_configuration_fixes_goes_along_and_one_valve_has_one_driver() {
    let (one, other) = (far("valve-1"), far("valve-2"));
    let twice = made(&[&one, &other]).err().unwrap();
    assert_eq!(
        twice,
        format!(
            "config.toml, line 7: gen1 actuator:gen1:valve-2: capability actuator:gen1:valve-2: actuator:mock:valve-1 of \
             the gen-1 node {} is configured under another name already",
            "a".repeat(64).parse::<DeviceId>().unwrap().short()
        )
    );
    let driver = made(&[&one]).unwrap().actuators.swap_remove(0);
    let action = |params| Action::new(driver.capability().clone(), "open", params).unwrap();
    let open = action(Params::from([("durationSec".to_owned(), 5.into())]));
    let told = driver.gen1_command(&open).unwrap().unwrap();
    assert_eq!(
        told.action.summary(),
        "set actuator:mock:valve-1 (durationSec 5, state \"active\")"
    );
    let given = action(Params::from([("state".to_owned(), "inactive".into())]));
    assert!(driver.gen1_command(&given).is_err());
}

#[test]
fn what_a_gen1_node_is_told_to_make_safe_tells_actuators_apart() {
    let way = |table: &str| made(&[table]).unwrap().actuators[0].safe_way().unwrap();
    let one = far("valve-1");
    let (other, there) = (
        "{ name = \"close\", send = \"set\" }",
        "{ name = \"close\" }",
    );
    let renamed = one.replace("\"close\"", "\"shut\"");
    let renamed = renamed.replace(
        "{ name = \"shut\" }",
        "{ name = \"shut\", send = \"close\" }",
    );
    assert_eq!(way(&one), way(&renamed));
    assert_ne!(way(&one), way(&one.replace(there, other)));
    let with = "{ name = \"close\", params = { percent = 0 } }";
    assert_ne!(way(&one), way(&one.replace(there, with)));
}

#[test]
fn one_metric_of_a_zone_has_one_reading_in_a_node() {
    let board = |name: &str, zone: &str| {
        format!(
            "kind = \"file\"\nname = \"{name}\"\nreading = [{{ metric = \"t\", zone = \"{zone}\", path = \"/x\" }}]"
        )
    };
    let made = |a: &str, b: &str| made(&[a, b]).map(|made| made.sensors.len());
    assert_eq!(made(&board("a", "1"), &board("b", "2")), Ok(2));
    for name in ["a", "b"] {
        let why = made(&board("a", "1"), &board(name, "1")).unwrap_err();
        let whole = format!(
            "config.toml, line 7: file {name}: reading t 1: a has a reading of this metric and zone already, and one would \
             take the place of the other; give one of them another zone"
        );
        assert_eq!(why, whole);
    }
    // As two tables of one broker would throw each other out.
    let broker = "kind = \"mqtt\"\nname = \"shed\"\nbroker = \"mqtt://127.0.0.1\"\n\
                  reading = [{ metric = \"t\", topic = \"x\" }]";
    assert!(made(broker, broker).is_err());
}

/// The devices of a node: each sensor's name, each actuator with its operations.
fn has(made: &Made) -> (Vec<&str>, Vec<String>) {
    let sensors = made.sensors.iter().map(|s| s.name()).collect();
    let each = made.actuators.iter();
    let each = each.map(|a| format!("{} {}", a.capability(), a.operations().join(" ")));
    (sensors, each.collect())
}

#[test]
fn the_switches_of_older_configurations_give_the_same_devices() {
    let switches = |host_sensor, mock_sensor, mock_actuator, mock_pace| {
        let switches = Switches {
            host_sensor,
            mock_sensor,
            mock_actuator,
            mock_pace,
        };
        switches.devices()
    };
    let valve_and_pump = [
        "actuator:mock:valve-1 open close",
        "actuator:mock:pump-1 start stop",
    ];
    let clock: SharedClock = Arc::new(SystemClock::default());
    let carrier: Arc<dyn Carrier> = Arc::new(Nobody);
    let temp = tempfile::tempdir().unwrap();
    let keeper: Arc<dyn Keeper> = Arc::new(NoKeeper);
    let around = Around {
        dir: &StateDir::at(temp.path()),
        clock: &clock,
        carrier: &carrier,
        keeper: &keeper,
        hooks: &Hooks::default(),
    };
    for (set, sensors, actuators) in [
        ((false, false, false), &[][..], &[][..]),
        ((true, false, false), &["host"], &[]),
        ((false, true, false), &["sim"], &[]),
        ((false, false, true), &[], &valve_and_pump),
        ((true, true, true), &["host", "sim"], &valve_and_pump),
    ] {
        let devices = switches(set.0, set.1, set.2, Some(2.0)).unwrap();
        assert_eq!(devices.iter().any(Configured::is_practice), set.2);
        let made = make(&devices, &around).unwrap();
        let (all, can) = has(&made);
        assert_eq!(all, sensors, "{set:?}");
        assert_eq!(can, actuators, "{set:?}");
    }
    let (key, why) = switches(false, false, false, Some(f64::NAN)).unwrap_err();
    assert_eq!(
        (key, why.as_str()),
        ("mock_pace", "must be a number from 0 to 1000")
    );
    // As the tables that say the same.
    let tables = made_in(
        temp.path(),
        &["kind = \"host\"", "kind = \"sim\"\npace = 2.0"],
    )
    .unwrap();
    assert_eq!(
        has(&tables),
        (
            vec!["host", "sim"],
            valve_and_pump.map(str::to_owned).to_vec()
        )
    );
}
