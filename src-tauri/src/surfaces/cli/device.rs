//! `device …`: what the configuration has, whether it answers, what it says. Where a node runs it is asked, so that nobody
//! takes a device's only connection from it; else the devices are asked from here. Nothing is moved.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::json;

use super::args::DeviceCommand;
use super::context::Context;
use super::fail::{Done, Exit, Failure};
use super::start::config;
use super::{format, out};
use crate::adapters::devices::Sensor;
use crate::adapters::files;
use crate::adapters::paths::StateLock;
use crate::domain::base::limits::CONFIG_FILE_MAX_BYTES;
use crate::node::RawConfig;
use crate::node::wiring::ReloadOutcome;
use crate::operator::device_check::Bench;
use crate::operator::devices::{
    DeviceActuatorView, DeviceSensorView, DeviceValueView, DeviceView, configured, place, unknown,
};
use crate::surfaces::remote::Remote;

/// How often `device watch` looks for something new at the running node.
const WATCH_EVERY: Duration = Duration::from_millis(500);
/// Two times of one value may differ by so much, in milliseconds: each is counted back from another moment.
const SAME_MS: u64 = 20;
/// How often `device watch` reads a sensor that has no interval of its own, where no node runs.
const READ_EVERY: Duration = Duration::from_secs(2);

/// `device …`.
///
/// # Errors
/// If the configuration is wrong, there is no such device, or it does not answer.
pub(super) async fn run(ctx: &Context, command: &DeviceCommand) -> Done {
    match command {
        DeviceCommand::List => list(ctx).await,
        DeviceCommand::Test { name } => test(ctx, name.as_deref()).await,
        DeviceCommand::Read { name } => read(ctx, name).await,
        DeviceCommand::Watch { name } => watch(ctx, name).await,
        DeviceCommand::Reload => reload(ctx).await,
        DeviceCommand::Pictures { camera } => super::pictures::list(ctx, camera.as_deref()).await,
        DeviceCommand::Picture { id, out } => super::pictures::write(ctx, id, out).await,
        DeviceCommand::Discover(args) => super::discover::run(ctx, args).await,
    }
}

async fn list(ctx: &Context) -> Done {
    let (running, devices) = match ctx.running().await? {
        Some(node) => (true, node.devices().await?),
        None => (false, of_file(ctx)?),
    };
    if ctx.json {
        return out::json(&json!({"running": running, "devices": devices}));
    }
    if !running {
        out::aside_line("no node runs here: this is what the configuration says");
    }
    print(ctx, &devices);
    Ok(())
}

/// The devices of the configuration, of which nothing is asked.
fn of_file(ctx: &Context) -> Result<Vec<DeviceView>, Failure> {
    let devices = config(&ctx.dir, RawConfig::default())?.devices;
    let sensors = Bench::of(&ctx.dir)
        .sensors(&devices)
        .map_err(Failure::usage)?;
    let mut all = configured(&devices);
    place(
        &mut all,
        sensors.iter().map(|s| Bench::health_of(&**s)).collect(),
    );
    Ok(all)
}

/// The devices of this name: all, one, or the one with this sensor or actuator.
fn chosen(devices: Vec<DeviceView>, name: Option<&str>) -> Result<Vec<DeviceView>, Failure> {
    let Some(name) = name else { return Ok(devices) };
    let mut names = Vec::new();
    for device in &devices {
        names.push(device.name.clone());
        names.extend(device.sensors.iter().map(|sensor| sensor.name.clone()));
        names.extend(device.actuators.iter().map(|a| a.capability.clone()));
    }
    let kept = devices.into_iter().filter_map(|mut device| {
        if device.name != name {
            device.sensors.retain(|sensor| sensor.name == name);
            device.actuators.retain(|a| a.capability == name);
        }
        let any = device.name == name || device.sensors.len() + device.actuators.len() > 0;
        any.then_some(device)
    });
    let kept: Vec<DeviceView> = kept.collect();
    match kept.is_empty() {
        true => Err(Failure::new(Exit::NotFound, unknown(name, names.iter()))),
        false => Ok(kept),
    }
}

async fn test(ctx: &Context, name: Option<&str>) -> Done {
    let file = ctx.dir.config_file();
    let text = match files::read_text(&file, CONFIG_FILE_MAX_BYTES) {
        Ok(text) => text,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => String::new(),
        Err(e) => return Err(Failure::state(format!("{}: {e}", file.display()))),
    };
    let node = ctx.running().await?;
    let lock = match &node {
        Some(_) => None,
        None => Some(hold(ctx)?),
    };
    let bench = Bench::of(&ctx.dir);
    let mistakes = bench.mistakes(&text, &file);
    if !mistakes.is_empty() {
        if ctx.json {
            out::json(&json!({"running": node.is_some(), "mistakes": mistakes, "devices": []}))?;
        }
        let many = mistakes.len();
        let what = if many == 1 { "mistake" } else { "mistakes" };
        let failure = Failure::new(Exit::Usage, format!("{many} {what} in the configuration"));
        return Err(mistakes.into_iter().fold(failure, Failure::and));
    }
    let devices = match &node {
        Some(node) => asked(node, name).await?,
        None => {
            let devices = config(&ctx.dir, RawConfig::default())?.devices;
            let tried = bench.try_all(&devices).await;
            chosen(tried.map_err(Failure::usage)?, name)?
        }
    };
    drop(lock);
    let bad = devices.iter().map(problems).sum::<usize>();
    if ctx.json {
        out::json(&json!({"running": node.is_some(), "mistakes": [], "devices": devices}))?;
    } else {
        if node.is_some() {
            out::line(
                "The configuration file is in order. The running node has asked the devices that it has now:",
            );
        }
        print(ctx, &devices);
    }
    match bad {
        0 => Ok(()),
        1 => Err(Failure::new(
            Exit::Unverified,
            "one of them does not answer as it should; see above",
        )),
        n => Err(Failure::new(
            Exit::Unverified,
            format!("{n} of them do not answer as they should; see above"),
        )),
    }
}

async fn reload(ctx: &Context) -> Done {
    let report = ctx.remote().await?.reload_devices().await?;
    if ctx.json {
        out::json(&report)?;
    }
    let refused = |exit, what: String, why: &[String]| {
        let failure = Failure::new(exit, what);
        Err(why.iter().fold(failure, |failure, one| failure.and(one)))
    };
    match report.outcome {
        ReloadOutcome::Refused if report.mistakes.is_empty() => {
            let what = "nothing was changed: what is to be taken out must be idle and in its safe state; try again then, or stop what runs";
            refused(Exit::Failed, what.to_owned(), &report.busy)
        }
        ReloadOutcome::Refused => {
            let what = match report.mistakes.len() {
                1 => "1 mistake in the configuration, nothing was changed".to_owned(),
                n => format!("{n} mistakes in the configuration, nothing was changed"),
            };
            refused(Exit::Usage, what, &report.mistakes)
        }
        ReloadOutcome::Applied | ReloadOutcome::Unchanged if ctx.json => Ok(()),
        ReloadOutcome::Applied | ReloadOutcome::Unchanged => {
            out::line(&super::clean::line(&report.in_words()));
            let same = report.unchanged;
            if same > 0 {
                out::line(&format!("left as they are: {same}"));
            }
            if !report.restart.is_empty() {
                let keys = report.restart.join(", ");
                out::line(&format!("after a restart only: {keys}"));
            }
            Ok(())
        }
    }
}

fn problems(device: &DeviceView) -> usize {
    let sensors = device.sensors.iter().filter(|s| s.problem.is_some());
    let actuators = device.actuators.iter().filter(|a| a.problem.is_some());
    sensors.count() + actuators.count()
}

/// Holds the state directory, so that no node starts on it while its devices are asked from here.
fn hold(ctx: &Context) -> Result<StateLock, Failure> {
    ctx.dir.prepare().map_err(Failure::state)?;
    ctx.dir
        .acquire_lock_for("clawmesh-node device")
        .map_err(|e| {
            Failure::state(e).and(
                "a node that starts or ends has it; the devices are asked from one place at a time",
            )
        })
}

/// The devices of this name, each sensor looked at now by the node.
async fn asked(node: &Remote, name: Option<&str>) -> Result<Vec<DeviceView>, Failure> {
    let mut devices = chosen(node.devices().await?, name)?;
    for sensor in devices.iter_mut().flat_map(|device| &mut device.sensors) {
        *sensor = node.look_at_device(&sensor.name).await?;
    }
    Ok(devices)
}

async fn read(ctx: &Context, name: &str) -> Done {
    let sensors = match ctx.running().await? {
        Some(node) => of(asked(&node, Some(name)).await?),
        None => {
            let lock = hold(ctx)?;
            let bench = Bench::of(&ctx.dir);
            let tried = bench.look(named(ctx, &bench, name)?).await;
            drop(lock);
            tried.into_iter().map(|one| one.health.into()).collect()
        }
    };
    if sensors.is_empty() {
        let why = format!("{name} has no sensor; `device test` reads back where an actuator is");
        return Err(Failure::new(Exit::NotFound, why));
    }
    if ctx.json {
        out::json(&sensors)?;
    } else {
        for sensor in &sensors {
            sensor.values.iter().for_each(|value| {
                if value.value.is_some() {
                    out::line(&line(ctx, sensor, value));
                }
            });
        }
    }
    let bad: Vec<&DeviceSensorView> = sensors.iter().filter(|s| s.problem.is_some()).collect();
    match bad.split_first() {
        None => Ok(()),
        Some((first, more)) => Err(more
            .iter()
            .fold(Failure::failed(trouble(first)), |failure, sensor| {
                failure.and(trouble(sensor))
            })),
    }
}

fn trouble(sensor: &DeviceSensorView) -> String {
    let why = sensor.problem.as_deref().unwrap_or("no reason is known");
    format!("{}: {why}", sensor.name)
}

fn of(devices: Vec<DeviceView>) -> Vec<DeviceSensorView> {
    devices
        .into_iter()
        .flat_map(|device| device.sensors)
        .collect()
}

/// The sensors of this name or device, of which nothing was asked yet.
fn named(ctx: &Context, bench: &Bench, name: &str) -> Result<Vec<Box<dyn Sensor>>, Failure> {
    let devices = config(&ctx.dir, RawConfig::default())?.devices;
    let mut sensors = bench.sensors(&devices).map_err(Failure::usage)?;
    let device = |sensor: &dyn Sensor| {
        let meter = sensor.meter().map(|meter| meter.device().to_owned());
        meter.unwrap_or_else(|| sensor.name().to_owned())
    };
    let mut names: Vec<String> = sensors.iter().map(|s| s.name().to_owned()).collect();
    names.extend(sensors.iter().map(|s| device(&**s)));
    sensors.retain(|sensor| sensor.name() == name || device(&**sensor) == name);
    match sensors.is_empty() {
        true => Err(Failure::new(Exit::NotFound, unknown(name, names.iter()))),
        false => Ok(sensors),
    }
}

async fn watch(ctx: &Context, name: &str) -> Done {
    match ctx.running().await? {
        Some(node) => {
            let mut told = Told::default();
            loop {
                for sensor in of(chosen(node.devices().await?, Some(name))?) {
                    told.tell(ctx, &sensor)?;
                }
                tokio::time::sleep(WATCH_EVERY).await;
            }
        }
        None => {
            let mut lock = Some(hold(ctx)?);
            out::aside_line("no node runs here: the device is asked from here");
            let bench = Bench::of(&ctx.dir);
            let mut sensors = named(ctx, &bench, name)?;
            let every = sensors.iter().find_map(|sensor| sensor.interval());
            let mut told = Told::default();
            loop {
                // Held for a look at a time: a node that starts meanwhile needs it.
                let held = match lock.take() {
                    Some(lock) => lock,
                    None => hold(ctx)?,
                };
                let tried = bench.look(sensors).await;
                drop(held);
                sensors = Vec::new();
                for one in tried {
                    told.tell(ctx, &one.health.into())?;
                    sensors.push(one.sensor);
                }
                tokio::time::sleep(every.unwrap_or(READ_EVERY)).await;
            }
        }
    }
}

/// What `device watch` has printed of each sensor.
#[derive(Default)]
struct Told(BTreeMap<String, (u64, Option<String>)>);

impl Told {
    /// Prints what is new.
    fn tell(&mut self, ctx: &Context, sensor: &DeviceSensorView) -> Done {
        let newest = sensor.values.iter().filter_map(|value| value.at).max();
        let now = (newest.unwrap_or_default(), sensor.problem.clone());
        let is_same = |before: &(u64, Option<String>)| {
            before.0.abs_diff(now.0) <= SAME_MS && before.1 == now.1
        };
        if self.0.get(&sensor.name).is_some_and(is_same) {
            return Ok(());
        }
        self.0.insert(sensor.name.clone(), now);
        if ctx.json {
            return out::json_line(sensor);
        }
        if sensor.problem.is_some() {
            out::line(&trouble(sensor));
            return Ok(());
        }
        for value in sensor.values.iter().filter(|value| value.value.is_some()) {
            out::line(&line(ctx, sensor, value));
        }
        Ok(())
    }
}

/// `shed moisture zone-1: 21.5 % (raw 215), 2 s ago; not believed: …`
fn line(ctx: &Context, sensor: &DeviceSensorView, value: &DeviceValueView) -> String {
    let told = told(value);
    let age = value
        .at
        .map(|at| format!(", {} ago", format::age(ctx.now(), at)));
    let doubt = value
        .doubt
        .as_ref()
        .map(|doubt| format!("; not believed: {doubt}"));
    let whole = format!(
        "{}: {told}{}{}",
        sensor.name,
        age.unwrap_or_default(),
        doubt.unwrap_or_default()
    );
    super::clean::line(&whole)
}

fn told(value: &DeviceValueView) -> String {
    let Some(number) = value.value else {
        return String::new();
    };
    let reading = format::reading(&json!(number), Some(&value.unit));
    match value.raw {
        Some(raw) if (raw - number).abs() > 0.0 => format!("{reading} (raw {raw})"),
        _ => reading,
    }
}

fn print(ctx: &Context, devices: &[DeviceView]) {
    let mut rows = Vec::new();
    for device in devices {
        let mut name = vec![device.name.clone(), device.kind.clone()];
        let mut add = |more: [String; 4]| {
            rows.push(name.iter().cloned().chain(more).collect());
            name = vec![String::new(), String::new()];
        };
        for sensor in &device.sensors {
            for value in &sensor.values {
                add(row_of_value(ctx, sensor, value));
            }
            if sensor.values.is_empty() {
                let state = state_of_sensor(ctx, sensor, None);
                add([sensor.name.clone(), String::new(), String::new(), state]);
            }
        }
        for actuator in &device.actuators {
            add(row_of_actuator(actuator));
        }
        if device.sensors.is_empty() && device.actuators.is_empty() {
            add([const { String::new() }; 4]);
        }
    }
    let head = ["DEVICE", "KIND", "WHAT", "SAYS", "AGE", "STATE"];
    out::table(&head, &rows, "the configuration has no device");
}

fn row_of_value(ctx: &Context, sensor: &DeviceSensorView, value: &DeviceValueView) -> [String; 4] {
    let what = match &value.zone {
        Some(zone) => format!("{} {zone}", value.metric),
        None => value.metric.clone(),
    };
    let age = value.at.map(|at| format::age(ctx.now(), at));
    let state = state_of_sensor(ctx, sensor, value.doubt.as_deref());
    [what, told(value), age.unwrap_or_default(), state]
}

fn state_of_sensor(ctx: &Context, sensor: &DeviceSensorView, doubt: Option<&str>) -> String {
    let nothing = sensor.values.iter().all(|value| value.value.is_none());
    match (sensor.failing_since, doubt) {
        (None, None) if nothing => "not read".to_owned(),
        (Some(since), _) => {
            let why = sensor.problem.as_deref().unwrap_or("no reason is known");
            format!("FAILS for {}: {why}", format::age(ctx.now(), since))
        }
        (None, Some(doubt)) => format!("not believed: {doubt}"),
        (None, None) => "good".to_owned(),
    }
}

fn row_of_actuator(actuator: &DeviceActuatorView) -> [String; 4] {
    let state = match (actuator.safe, actuator.running) {
        (_, true) => "moves".to_owned(),
        (Some(true), _) => "safe".to_owned(),
        (Some(false), _) => "NOT confirmed safe".to_owned(),
        (None, _) => actuator.operations.join(" "),
    };
    let state = match &actuator.problem {
        Some(why) if actuator.safe == Some(true) => format!("{state}; now: {why}"),
        Some(why) => format!("{state}: {why}"),
        None => state,
    };
    let position = actuator.position.clone().unwrap_or_default();
    [actuator.capability.clone(), position, String::new(), state]
}
