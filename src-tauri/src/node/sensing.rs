//! Sensing: reads the node's sensors and publishes what they say as signed observations. Each sensor has a
//! task of its own: one that hangs, panics or fails costs only its own readings.

mod changing;
mod health;
mod redundant;

use std::collections::BTreeMap;
use std::future::pending;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt as _;
use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, sleep_until};
use tokio_util::sync::{CancellationToken, DropGuard};

pub use self::changing::Sensing;
use self::health::Standing;
pub use self::health::{Said, SensorHealth, Sensors};
use self::redundant::{Groups, Judged};
use super::frame_log;
use super::frame_log::{AGE_KEY, Frames};
use crate::adapters::devices::{Reading, Sensor};
use crate::adapters::store::Class;
use crate::domain::base::limits::{
    SENSOR_ANSWER_MS, SENSOR_DEAF_MS, SENSOR_EVERY_MIN_MS, SENSOR_LOOK_EVERY_MS, SENSOR_NO_NEWS_MS,
    SENSOR_PAUSE_MAX_MS, SENSOR_PROBLEM_MAX_CHARS, SENSOR_READINGS_MAX, SENSOR_STEADY_READINGS,
};
use crate::domain::base::{EvidenceSource, Tier, quantity};
use crate::domain::quality::Doubt;
use crate::domain::wire::FrameKind;
use crate::domain::wire::frame::FrameSpec;
use crate::node::context::alarms::AlarmKind;
use crate::node::context::{Event, Severity};

/// The result of reading a sensor: the readings, or why there are none.
type Outcome = Result<Vec<Reading>, String>;

/// The handles of a sensor's task.
#[derive(Clone)]
struct Desk {
    frames: Frames,
    sensors: Sensors,
    groups: Groups,
}

impl std::ops::Deref for Desk {
    type Target = Frames;

    fn deref(&self) -> &Frames {
        &self.frames
    }
}

/// A sensor under the name by which the node knows it.
struct One {
    name: String,
    every_ms: u64,
    news: Option<Arc<Notify>>,
    /// Somebody wants a look at it.
    wanted: Arc<Notify>,
    blocks: bool,
    /// How sure it is that a reading is kept before its sensor is told so.
    class: Class,
    sensor: Arc<Held>,
    /// It is to be read no more.
    stop: CancellationToken,
}

/// A sensor, which its task has and the thread that reads it.
struct Held {
    /// Only its task locks it, and the thread that reads it.
    sensor: Mutex<Box<dyn Sensor>>,
    /// Says that nobody has it any more.
    _gone: DropGuard,
}

impl Held {
    fn lock(&self) -> MutexGuard<'_, Box<dyn Sensor>> {
        self.sensor.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl One {
    fn sensor(&self) -> MutexGuard<'_, Box<dyn Sensor>> {
        self.sensor.lock()
    }
}

/// Follows one sensor until it is to be read no more or the node stops. Whatever else ends that, the sensor is failing and is followed anew
/// after a while; the node goes on.
async fn keep(desk: Desk, one: One) {
    let (mut again, mut doubts) = (false, Doubts::default());
    loop {
        let followed = async {
            if again {
                let why = "the task that reads it was cut off; the log has the place";
                failed(&desk, &one.name, why).await;
                sleep(Duration::from_millis(SENSOR_PAUSE_MAX_MS)).await;
            }
            follow(&desk, &one, &mut doubts).await;
        };
        tokio::select! {
            biased;
            () = desk.tasks.stop().cancelled() => return,
            () = one.stop.cancelled() => return doubts.end(&desk).await,
            ended = AssertUnwindSafe(followed).catch_unwind() => again = ended.is_err(),
        }
        if desk.tasks.stop().is_cancelled() {
            return;
        }
    }
}

/// Reads one sensor at its interval and when it has news; while it fails, ever more rarely.
async fn follow(desk: &Desk, one: &One, doubts: &mut Doubts) {
    let (name, every_ms) = (one.name.as_str(), one.every_ms);
    let mut tick = interval(Duration::from_millis(every_ms));
    tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut pause_ms = every_ms;
    let mut good = 0_u32;
    let (mut deaf_until, mut look_from) = (Instant::now(), Instant::now());
    loop {
        let news = async {
            sleep_until(deaf_until).await;
            let own = async {
                match &one.news {
                    Some(news) => news.notified().await,
                    None => pending().await,
                }
            };
            let wanted = async {
                sleep_until(look_from).await;
                one.wanted.notified().await;
            };
            tokio::select! {
                () = own => {}
                () = wanted => {}
            }
        };
        tokio::select! {
            _ = tick.tick() => {}
            () = news => {}
        }
        match read(desk, one).await {
            Ok(mut readings) => {
                if pause_ms != every_ms {
                    // It is well again, and read as often as before at once.
                    tick.reset();
                }
                pause_ms = every_ms;
                good = good.saturating_add(1);
                let steady = good >= SENSOR_STEADY_READINGS;
                works(desk, name, steady, !readings.is_empty()).await;
                said(desk, one, &readings);
                let judged = agreed(desk, one, &mut readings).await;
                doubts.look(desk, name, &readings, judged.early).await;
                readings.extend(judged.group);
                // What lies within the deadband is no reason to let news wait.
                let apart = match readings.is_empty() {
                    true => SENSOR_NO_NEWS_MS,
                    false => SENSOR_EVERY_MIN_MS,
                };
                deaf_until = Instant::now() + Duration::from_millis(apart);
                match publish(desk, readings, one.class).await {
                    true => one.sensor().told(),
                    false => one.sensor().untold(),
                }
            }
            Err(why) => {
                good = 0;
                let group = desk.groups.fails(name, desk.clock.steady_ms());
                failed(desk, name, &why).await;
                publish(desk, Vec::from_iter(group), one.class).await;
                deaf_until = Instant::now() + Duration::from_millis(SENSOR_DEAF_MS);
                let most_ms = SENSOR_PAUSE_MAX_MS.max(every_ms);
                pause_ms = pause_ms.saturating_mul(2).min(most_ms);
                tick.reset_after(Duration::from_millis(pause_ms));
            }
        }
        look_from = Instant::now() + Duration::from_millis(SENSOR_LOOK_EVERY_MS);
        desk.sensors.looked(name);
    }
}

/// Compares what a sensor has said with others of the same thing, and tells where they no longer agree.
async fn agreed(desk: &Desk, one: &One, readings: &mut [Reading]) -> Judged {
    let last = one.sensor().meter().and_then(|meter| meter.last().cloned());
    let believed = last.filter(|last| last.doubt.is_none());
    let now_ms = desk.clock.steady_ms();
    let judged = desk
        .groups
        .judge(&one.name, believed.as_ref(), readings, now_ms);
    let Some(group) = judged.group.as_ref().filter(|_| !judged.early) else {
        return judged;
    };
    let subject = subject_of_group(&group.metric, group.zone.as_deref());
    match &group.doubt {
        Some(doubt) => doubted(desk, &subject, group, doubt).await,
        None => {
            over(
                desk,
                AlarmKind::ReadingDoubted,
                &subject,
                "the reading is believed",
            )
            .await
        }
    }
    judged
}

/// What the alarm about a group's value is about.
fn subject_of_group(metric: &str, zone: Option<&str>) -> String {
    let what = format!("{metric} {}", zone.unwrap_or_default());
    format!("{} (redundant)", what.trim_end())
}

/// Notes what a sensor has said, also where that is not published.
fn said(desk: &Desk, one: &One, readings: &[Reading]) {
    let (now, now_ms) = (desk.now(), desk.clock.steady_ms());
    let values = Said::of(&**one.sensor(), readings, now, now_ms);
    if !values.is_empty() {
        desk.sensors
            .change(&one.name, |health| health.values = values);
    }
}

/// Reads a sensor once, off the network's threads: it may block on a bus or a file. One that does not
/// answer in time is told of and waited for, so that it never takes more than one thread; what it says
/// then is of no known time and left out.
async fn read(desk: &Desk, one: &One) -> Outcome {
    let (now, sensor) = (desk.now(), one.sensor.clone());
    let look = move || {
        let mut sensor = sensor.lock();
        match catch_unwind(AssertUnwindSafe(|| sensor.read(now))) {
            Ok(read) => read.map_err(|error| error.to_string()),
            Err(_) => Err("its driver panicked; the log has the place".to_owned()),
        }
    };
    if !one.blocks {
        return look();
    }
    let reading = desk.work(look);
    tokio::pin!(reading);
    tokio::select! {
        biased;
        done = &mut reading => {
            let cut = || Err("its reading was cut off; the log has the place".to_owned());
            return done.unwrap_or_else(cut);
        }
        () = sleep(Duration::from_millis(SENSOR_ANSWER_MS)) => {}
    }
    let why = format!(
        "it has not answered for {} seconds",
        SENSOR_ANSWER_MS / 1_000
    );
    failed(desk, &one.name, &why).await;
    let late = format!(
        "its answer took more than {} seconds",
        SENSOR_ANSWER_MS / 1_000
    );
    drop(reading.await);
    one.sensor().untold();
    Err(late)
}

/// Publishes readings as observations; `false` where they were not stored.
async fn publish(desk: &Desk, mut readings: Vec<Reading>, class: Class) -> bool {
    readings.truncate(SENSOR_READINGS_MAX);
    if readings.is_empty() {
        return true;
    }
    let now_ms = desk.clock.steady_ms();
    let each = readings.into_iter();
    let specs = each.map(|reading| observation(reading, now_ms)).collect();
    let stored = frame_log::publish(&desk.frames, specs, class).await;
    if let Err(refusal) = &stored {
        tracing::error!("readings not stored: {refusal}");
        desk.metrics.refused(refusal.code);
    }
    stored.is_ok()
}

const ADVICE: &str =
    "look at the sensor and its wiring; it is read again by itself, the others go on";

/// Notes that a sensor works, and whether it gave something. One that failed is told to work again once it is steady, so
/// that one that comes and goes is no flood of news.
async fn works(desk: &Desk, name: &str, steady: bool, gave: bool) {
    let now = desk.now();
    let mut failed = false;
    desk.sensors.change(name, |health| {
        if gave {
            health.last_reading_at = Some(now);
        }
        if steady {
            failed = health.failing.take().is_some();
        }
    });
    if !failed {
        return;
    }
    let standing = Standing::of(&desk.sensors, name);
    let kind = AlarmKind::SensorFailing;
    if let Some((other, why)) = standing.failing.first() {
        let message = standing.message(other, why);
        desk.alarms
            .raise(kind, &standing.subject, &message, ADVICE, now);
        return;
    }
    over(desk, kind, &standing.subject, "readings come").await;
}

/// Notes that a sensor gives no readings and why, and tells of it if that is new: of a device that goes away once, not once
/// for each of its readings.
async fn failed(desk: &Desk, name: &str, why: &str) {
    let why: String = why.chars().take(SENSOR_PROBLEM_MAX_CHARS).collect();
    let now = desk.now();
    let before = Standing::of(&desk.sensors, name);
    let known = before
        .failing
        .iter()
        .any(|(other, said)| other == name || *said == why);
    desk.sensors.change(name, |health| {
        let since = health.failing.as_ref().map_or(now, |(since, _)| *since);
        health.failing = Some((since, why.clone()));
    });
    let standing = Standing::of(&desk.sensors, name);
    let message = standing.message(name, &why);
    let kind = AlarmKind::SensorFailing;
    let new = desk
        .alarms
        .raise(kind, &standing.subject, &message, ADVICE, now);
    if new || !known {
        let data = json!({"sensor": name, "device": standing.subject, "reason": why});
        let message = format!("the sensor {name} gives no readings: {why}");
        let journal = &desk.journal;
        journal
            .record(Event::SensorFailed, Severity::Warning, &message, data)
            .await;
    }
}

/// Which readings of a sensor are doubted, and how many in a row of each were not.
#[derive(Default)]
struct Doubts(BTreeMap<String, u32>);

impl Doubts {
    /// The sensor is read no more, so that nothing of it is doubted.
    async fn end(self, desk: &Desk) {
        for subject in self.0.into_keys() {
            changing::taken_out(desk, AlarmKind::ReadingDoubted, &subject).await;
        }
    }

    /// Tells of each reading that begins to be doubted, and of each that no longer is once that is steady. Where a group of
    /// sensors has just begun (`early`), that the others contradict it tells nothing yet.
    async fn look(&mut self, desk: &Desk, sensor: &str, readings: &[Reading], early: bool) {
        for reading in readings.iter().take(SENSOR_READINGS_MAX) {
            let zone = reading.zone.as_deref().unwrap_or_default();
            let subject = format!("{} {zone}", reading.metric);
            let subject = format!("{} ({sensor})", subject.trim_end());
            match &reading.doubt {
                Some(Doubt::Contradicted { .. }) if early => {}
                Some(doubt) => {
                    self.0.insert(subject.clone(), 0);
                    doubted(desk, &subject, reading, doubt).await;
                }
                None => {
                    let Some(good) = self.0.get_mut(&subject) else {
                        continue;
                    };
                    *good += 1;
                    if *good >= SENSOR_STEADY_READINGS {
                        self.0.remove(&subject);
                        over(
                            desk,
                            AlarmKind::ReadingDoubted,
                            &subject,
                            "the reading is believed",
                        )
                        .await;
                    }
                }
            }
        }
    }
}

/// Tells of a reading that is not believed, if that is new.
async fn doubted(desk: &Desk, subject: &str, reading: &Reading, doubt: &Doubt) {
    let value = quantity::reading(&json!(reading.value), Some(&reading.unit));
    let message = format!("the reading {subject} is not believed: {value}, {doubt}");
    let advice = "look at the sensor, its wiring and its bounds in the configuration; rules do not act on it meanwhile";
    let kind = AlarmKind::ReadingDoubted;
    if desk
        .alarms
        .raise(kind, subject, &message, advice, desk.now())
    {
        let data = json!({"reading": subject, "value": reading.value, "quality": doubt});
        let journal = &desk.journal;
        journal
            .record(Event::ReadingDoubted, Severity::Warning, &message, data)
            .await;
    }
}

/// Ends an alarm, and tells of it if it stood: that this works or is believed again.
async fn over(desk: &Desk, kind: AlarmKind, subject: &str, how: &str) {
    if desk.alarms.clear(kind, subject) {
        let message = format!("{how} again: {subject}");
        let data = json!({"alarm": kind.as_str(), "subject": subject});
        let journal = &desk.journal;
        journal
            .record(Event::AlarmOver, Severity::Info, &message, data)
            .await;
    }
}

fn observation(reading: Reading, now_ms: u64) -> FrameSpec {
    let mut data = reading.extra;
    let (mut tier, mut note) = (Tier::T2, reading.note);
    if let Some(doubt) = &reading.doubt {
        tier = Tier::T1;
        data.insert("quality".into(), json!(doubt));
        note = Some(format!("not believed: {doubt}"));
    }
    data.insert("metric".into(), reading.metric.into());
    if let Some(at_ms) = reading.measured_ms {
        data.insert(AGE_KEY.into(), now_ms.saturating_sub(at_ms).into());
    }
    if let Some(zone) = reading.zone {
        data.insert("zone".into(), zone.into());
    }
    data.insert("value".into(), json!(reading.value));
    data.insert("unit".into(), Value::from(reading.unit.into_owned()));
    FrameSpec {
        kind: FrameKind::Observation,
        data,
        sources: vec![EvidenceSource::Sensor],
        tier,
        taint: Default::default(),
        note,
    }
}
