//! Trying the devices of a configuration where no node runs: every mistake of the file, then one look at each sensor and each
//! actuator's state. Nothing is moved, and nothing is asked for that could move something when it ends.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{BoxFuture, join_all};
use tokio::time::{Instant, sleep, timeout};

use super::devices::{DeviceView, configured, place};
use crate::adapters::clock::{SharedClock, SystemClock};
use crate::adapters::devices::{
    Around, Carrier, Configured, DeviceError, Discovered, DriverError, Hooks, Keeper, Listen, Made,
    Reading, Sensor, SensorError, discover, make,
};
use crate::adapters::paths::StateDir;
use crate::domain::base::limits::{DEVICE_LOOK_MS, SENSOR_ANSWER_MS, SENSOR_EVERY_MIN_MS};
use crate::domain::base::{DeviceId, TimeMs};
use crate::domain::capability::Capability;
use crate::domain::gate::Gen1Command;
use crate::domain::gate::command::Behind;
use crate::node::credentials::Own;
use crate::node::sensing::{Said, SensorHealth};
use crate::node::surroundings::environment;
use crate::node::wiring::check;

/// Reaches no gen-1 node.
struct Nobody;

impl Carrier for Nobody {
    fn say<'a>(
        &'a self,
        _: &'a Gen1Command,
        _: Behind<'a>,
        _: Duration,
    ) -> BoxFuture<'a, Result<(), DriverError>> {
        let why = "no node runs that could tell it".to_owned();
        Box::pin(std::future::ready(Err(DriverError::Failed(why))))
    }

    fn back<'a>(&'a self, _: &'a DeviceId) -> BoxFuture<'a, ()> {
        Box::pin(std::future::pending())
    }
}

/// What devices are made with where no node runs.
pub struct Bench {
    dir: StateDir,
    clock: SharedClock,
    carrier: Arc<dyn Carrier>,
    keeper: Arc<dyn Keeper>,
    hooks: Hooks,
    /// How long one reading may take.
    patience: Duration,
}

/// A sensor of a device, and how it was when it was looked at.
pub struct Tried {
    /// The sensor, for another look.
    pub sensor: Box<dyn Sensor>,
    /// How it was.
    pub health: SensorHealth,
}

impl Bench {
    /// That of a state directory, which its caller holds: no node may start on it meanwhile.
    pub fn of(dir: &StateDir) -> Self {
        Self {
            dir: dir.clone(),
            clock: Arc::new(SystemClock::default()),
            carrier: Arc::new(Nobody),
            keeper: Arc::new(Own::of(dir.clone(), environment)),
            hooks: Hooks::default(),
            patience: Duration::from_millis(SENSOR_ANSWER_MS),
        }
    }

    fn around(&self) -> Around<'_> {
        Around {
            dir: &self.dir,
            clock: &self.clock,
            carrier: &self.carrier,
            keeper: &self.keeper,
            hooks: &self.hooks,
        }
    }

    fn make(&self, devices: &[Configured]) -> Result<Made, DeviceError> {
        make(devices, &self.around())
    }

    /// Every mistake in the text of a configuration, each with its file, line and key as far as they are known.
    pub fn mistakes(&self, text: &str, file: &Path) -> Vec<String> {
        check::mistakes(text, file, &self.around())
    }

    /// What devices at a broker offer. It changes nothing there.
    ///
    /// # Errors
    /// Why the broker cannot be heard.
    pub async fn discover(&self, listen: &Listen) -> Result<Discovered, String> {
        discover(listen, self.keeper.clone()).await
    }

    /// The sensors of a configuration, of which nothing was asked yet.
    ///
    /// # Errors
    /// What is wrong with the configuration.
    pub fn sensors(&self, devices: &[Configured]) -> Result<Vec<Box<dyn Sensor>>, String> {
        let made = self.make(devices).map_err(|e| e.to_string())?;
        Ok(made.sensors)
    }

    /// How a sensor is that was not asked yet.
    pub fn health_of(sensor: &dyn Sensor) -> SensorHealth {
        let meter = sensor.meter();
        SensorHealth {
            name: sensor.name().to_owned(),
            device: meter.map_or(sensor.name(), |m| m.device()).to_owned(),
            last_reading_at: None,
            failing: None,
            values: Said::nothing_of(sensor),
        }
    }

    /// Looks at sensors once, all at the same time.
    pub async fn look(&self, sensors: Vec<Box<dyn Sensor>>) -> Vec<Tried> {
        join_all(sensors.into_iter().map(|sensor| self.look_at(sensor))).await
    }

    /// Looks at a sensor until it says something, but not for long.
    pub async fn look_at(&self, mut sensor: Box<dyn Sensor>) -> Tried {
        let end = Instant::now() + Duration::from_millis(DEVICE_LOOK_MS);
        let mut health = Self::health_of(&*sensor);
        let at = |sensor: &dyn Sensor| sensor.meter().and_then(|m| m.last()).map(|last| last.at_ms);
        let before = at(&*sensor);
        loop {
            let now = self.clock.now();
            let news = sensor.news();
            // It may block. What was in it is gone if it panics, so that is no sensor any more.
            let read = tokio::task::spawn_blocking(move || {
                let read = sensor.read(now);
                (sensor, read)
            });
            // Whoever waits for the state directory must not wait for a driver that hangs.
            let done = match timeout(self.patience, read).await {
                Ok(Ok(done)) => Ok(done),
                Ok(Err(_)) => Err("its driver panicked".to_owned()),
                Err(_) => Err(format!(
                    "it has not answered within {} s, and is not waited for",
                    self.patience.as_secs()
                )),
            };
            let (back, read) = match done {
                Ok(done) => done,
                Err(why) => {
                    health.failing = Some((now, why.clone()));
                    return Tried {
                        sensor: Box::new(Gone(health.name.clone(), why)),
                        health,
                    };
                }
            };
            sensor = back;
            let values = match &read {
                Ok(readings) => Said::of(&*sensor, readings, now, self.clock.steady_ms()),
                Err(_) => Said::nothing_of(&*sensor),
            };
            let known = values.iter().any(|said| said.value.is_some());
            // What it said at an earlier look is no answer to this one.
            let said = known && (before.is_none() || at(&*sensor) != before);
            health.values = values;
            match read {
                Ok(_) if said => {
                    health.last_reading_at = Some(now);
                    health.failing = None;
                    return Tried { sensor, health };
                }
                // It is in order; the running node alone can be sent anything.
                Ok(_) if sensor.is_sent() => {
                    health.failing = None;
                    return Tried { sensor, health };
                }
                Ok(_) => {}
                Err(why) => health.failing = Some((now, why.to_string())),
            }
            // A connection that is being made is asked again; so is one that failed at once.
            if Instant::now() >= end {
                if known {
                    return Tried { sensor, health };
                }
                let why = format!("nothing came within {} s", DEVICE_LOOK_MS / 1_000);
                health.failing.get_or_insert((now, why));
                return Tried { sensor, health };
            }
            let pause = Duration::from_millis(SENSOR_EVERY_MIN_MS * 5);
            match news {
                Some(news) => drop(timeout(pause, news.notified()).await),
                None if health.failing.is_some() => return Tried { sensor, health },
                None => sleep(pause).await,
            }
        }
    }

    /// Everything of a configuration, each looked at once.
    ///
    /// # Errors
    /// What is wrong with the configuration.
    pub async fn try_all(&self, devices: &[Configured]) -> Result<Vec<DeviceView>, String> {
        let mut made = self.make(devices).map_err(|e| e.to_string())?;
        let mut all = configured(devices);
        let sensors = std::mem::take(&mut made.sensors);
        let limit = Duration::from_millis(DEVICE_LOOK_MS);
        let (tried, positions) = tokio::join!(self.look(sensors), made.positions(limit));
        place(&mut all, tried.into_iter().map(|one| one.health).collect());
        for view in all.iter_mut().flat_map(|device| &mut device.actuators) {
            let is = |(target, _): &&(Capability, _)| target.as_str() == view.capability;
            match positions.iter().find(is) {
                Some((_, Ok(position))) => view.position = Some(position.clone()),
                Some((_, Err(why))) => view.problem = Some(why.clone()),
                None => {}
            }
        }
        Ok(all)
    }
}

/// What is left of a sensor whose driver panicked or hangs: its name, and why.
struct Gone(String, String);

impl Sensor for Gone {
    fn name(&self) -> &str {
        &self.0
    }

    fn read(&mut self, _: TimeMs) -> Result<Vec<Reading>, SensorError> {
        Err(SensorError(self.1.clone()))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::mpsc;

    use super::*;

    /// Answers when it is let go.
    struct Hangs(mpsc::Receiver<()>);

    impl Sensor for Hangs {
        fn name(&self) -> &str {
            "hangs"
        }

        fn read(&mut self, _: TimeMs) -> Result<Vec<Reading>, SensorError> {
            // An error says that the test is over.
            let _ = self.0.recv();
            Ok(Vec::new())
        }
    }

    #[tokio::test]
    async fn a_sensor_that_hangs_is_not_waited_for() {
        let temp = tempfile::tempdir().unwrap();
        let mut bench = Bench::of(&StateDir::at(temp.path()));
        bench.patience = Duration::from_millis(20);
        let (end, held) = mpsc::sync_channel::<()>(1);
        let tried = bench.look_at(Box::new(Hangs(held))).await;
        let (_, why) = tried.health.failing.unwrap();
        assert!(why.contains("is not waited for"), "{why}");
        drop(end);
    }
}
