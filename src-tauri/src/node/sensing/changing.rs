//! Sensors that begin and end while the node runs. One that ends takes its alarms with it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::health::{Said, SensorHealth, Sensors, Standing};
use super::redundant::Groups;
use super::{ADVICE, Desk, Held, One, keep, subject_of_group};
use crate::adapters::devices::Sensor;
use crate::adapters::store::Class;
use crate::node::config::redundant::Redundant;
use crate::node::context::alarms::AlarmKind;
use crate::node::context::{Event, Severity};
use crate::node::frame_log::Frames;

/// The sensors of a running node. Clones share them.
#[derive(Clone)]
pub struct Sensing {
    desk: Desk,
    kept: Arc<Mutex<BTreeMap<String, Reader>>>,
}

/// The task that reads a sensor.
struct Reader {
    stop: CancellationToken,
    /// The task has ended.
    ended: CancellationToken,
    /// Nobody has the sensor any more.
    gone: CancellationToken,
}

impl Sensing {
    /// None yet; `health` is where it is noted how each is.
    pub fn new(frames: &Frames, health: &Sensors, redundant: &[Redundant]) -> Self {
        let desk = Desk {
            frames: frames.clone(),
            sensors: health.clone(),
            groups: Groups::new(redundant, frames.clock.steady_ms()),
        };
        Self {
            desk,
            kept: Arc::default(),
        }
    }

    fn kept(&self) -> MutexGuard<'_, BTreeMap<String, Reader>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts a task for each of these; the name by which the node knows each.
    pub async fn begin(&self, sensors: Vec<Box<dyn Sensor>>) -> Vec<String> {
        let before = self.failing();
        let names = sensors.into_iter().map(|sensor| self.one(sensor)).collect();
        self.settle(before).await;
        names
    }

    fn one(&self, sensor: Box<dyn Sensor>) -> String {
        let desk = &self.desk;
        let name = desk.sensors.free_name(sensor.name());
        let device = sensor.meter().map(|meter| meter.device().to_owned());
        let wanted = desk.sensors.add(SensorHealth {
            device: device.unwrap_or_else(|| name.clone()),
            name: name.clone(),
            last_reading_at: None,
            failing: None,
            values: Said::nothing_of(&*sensor),
        });
        let reader = Reader {
            stop: CancellationToken::new(),
            ended: CancellationToken::new(),
            gone: CancellationToken::new(),
        };
        let one = One {
            name: name.clone(),
            every_ms: sensor
                .interval()
                .map_or(desk.config.sensor_interval_ms, |every| {
                    u64::try_from(every.as_millis()).unwrap_or(u64::MAX)
                }),
            news: sensor.news(),
            wanted,
            blocks: sensor.blocks(),
            class: match sensor.is_sent() {
                true => Class::Durable,
                false => Class::Gathered,
            },
            sensor: Arc::new(Held {
                sensor: Mutex::new(sensor),
                _gone: reader.gone.clone().drop_guard(),
            }),
            stop: reader.stop.clone(),
        };
        let (task, ended) = (keep(desk.clone(), one), reader.ended.clone().drop_guard());
        self.kept().insert(name.clone(), reader);
        desk.tasks.passing("sensing", async move {
            task.await;
            drop(ended);
        });
        name
    }

    /// Reads these no more and ends their alarms. Waits until nobody has them any more, no longer than `within`; those that
    /// still answer to nothing then are left to themselves, and what they say is told to nobody.
    pub async fn end(&self, names: &[String], within: Duration) {
        let before = self.failing();
        let readers: Vec<Reader> = {
            let mut kept = self.kept();
            names.iter().filter_map(|name| kept.remove(name)).collect()
        };
        for reader in &readers {
            reader.stop.cancel();
        }
        join_all(readers.iter().map(|reader| reader.ended.cancelled())).await;
        self.desk.sensors.remove(names);
        self.settle(before).await;
        let gone = join_all(readers.iter().map(|reader| reader.gone.cancelled()));
        if tokio::time::timeout(within, gone).await.is_err() {
            tracing::warn!(
                "a sensor that was taken out does not answer; its thread is left to itself"
            );
        }
    }

    /// What agrees with what from now on. A group whose table is the same and of which no sensor is among `changed` goes on
    /// as it is.
    pub async fn agree(&self, plans: &[Redundant], changed: &[String]) {
        let now_ms = self.desk.clock.steady_ms();
        for plan in self.desk.groups.become_these(plans, changed, now_ms) {
            let subject = subject_of_group(&plan.metric, plan.zone.as_deref());
            taken_out(&self.desk, AlarmKind::ReadingDoubted, &subject).await;
        }
    }

    /// The alarms that stand for sensors that fail.
    fn failing(&self) -> BTreeMap<String, String> {
        let sensors = &self.desk.sensors;
        let failing = sensors.list().into_iter().filter_map(|health| {
            let (_, why) = health.failing?;
            let standing = Standing::of(sensors, &health.name);
            let message = standing.message(&health.name, &why);
            Some((standing.subject, message))
        });
        failing.collect()
    }

    /// Brings the alarms up to date after sensors have come or gone: one of them may now stand for others.
    async fn settle(&self, before: BTreeMap<String, String>) {
        let (kind, now) = (AlarmKind::SensorFailing, self.failing());
        let over: BTreeSet<&String> = before.keys().filter(|s| !now.contains_key(*s)).collect();
        for subject in over {
            taken_out(&self.desk, kind, subject).await;
        }
        let changed = now
            .iter()
            .filter(|(subject, message)| before.get(*subject) != Some(message));
        for (subject, message) in changed {
            let alarms = &self.desk.alarms;
            alarms.raise(kind, subject, message, ADVICE, self.desk.now());
        }
    }
}

/// Ends an alarm about what the configuration does not have any more, and tells of it if it stood.
pub(super) async fn taken_out(desk: &Desk, kind: AlarmKind, subject: &str) {
    if desk.alarms.clear(kind, subject) {
        let message = format!("not read any more, the configuration was changed: {subject}");
        let data = json!({"alarm": kind.as_str(), "subject": subject});
        let journal = &desk.journal;
        journal
            .record(Event::AlarmOver, Severity::Info, &message, data)
            .await;
    }
}
