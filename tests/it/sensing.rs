//! Sensors: what one that hangs, panics or fails costs the others.

use std::sync::mpsc;

use clawmesh::adapters::devices::{Reading, Sensor, SensorError};
use clawmesh::domain::base::TimeMs;
use clawmesh::node::{Node, Opened, Outside};
use clawmesh::operator::dto::{SensorView, StatusView};
use clawmesh::operator::queries::EventQuery;

use crate::harness::{Setup, field, until};

/// A sensor that does what a test says.
struct Pretend {
    name: &'static str,
    does: Box<dyn FnMut() -> Result<f64, String> + Send>,
}

impl Pretend {
    fn boxed(
        name: &'static str,
        does: impl FnMut() -> Result<f64, String> + Send + 'static,
    ) -> Box<dyn Sensor> {
        Box::new(Self {
            name,
            does: Box::new(does),
        })
    }
}

impl Sensor for Pretend {
    fn name(&self) -> &'static str {
        self.name
    }

    fn read(&mut self, _now: TimeMs) -> Result<Vec<Reading>, SensorError> {
        let value = (self.does)().map_err(SensorError)?;
        Ok(vec![Reading::new(self.name, "zone-1", value, "%")])
    }
}

struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        panic!("once more");
    }
}

async fn node_with(sensors: Vec<Box<dyn Sensor>>) -> (tempfile::TempDir, Node) {
    let Setup { mut raw, clock, .. } = field();
    raw.mock_sensor = None;
    raw.mock_actuator = None;
    let dir = tempfile::tempdir().unwrap();
    let config = raw.resolve(dir.path().join("state")).unwrap();
    let mut outside = Outside::real(clock);
    outside.sensors = sensors;
    let opened = Opened::open_in(config, outside).await.unwrap();
    let node = Node::serve(opened, |_| axum::Router::new()).await.unwrap();
    (dir, node)
}

async fn status(node: &Node) -> StatusView {
    node.door().status().await.unwrap()
}

fn of<'a>(status: &'a StatusView, name: &str) -> &'a SensorView {
    status.sensors.iter().find(|s| s.name == name).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sensor_that_hangs_panics_or_fails_costs_only_its_own_readings() {
    let (let_go, hangs) = mpsc::channel::<f64>();
    let (told, mut good) = tokio::sync::mpsc::unbounded_channel();
    let (mut reads, mut flap) = (0.0, true);
    let (dir, node) = node_with(vec![
        Pretend::boxed("hangs", move || Ok(hangs.recv().unwrap_or(1.0))),
        Pretend::boxed("panics", || panic!("a fault of the driver")),
        // What it panics with panics once more.
        Pretend::boxed("bursts", || std::panic::panic_any(Bomb)),
        Pretend::boxed("flaps", move || {
            flap = !flap;
            if flap {
                Ok(1.0)
            } else {
                Err("a loose wire".to_owned())
            }
        }),
        Pretend::boxed("fails", || Err("its bus does not answer".to_owned())),
        Pretend::boxed("good", move || {
            reads += 1.0;
            let _ = told.send(());
            Ok(reads)
        }),
    ])
    .await;
    let now = until("all that fail are told of", || async {
        let now = status(&node).await;
        let failing = now.sensors.iter().filter(|s| s.problem.is_some()).count();
        (failing == 5).then_some(now)
    })
    .await;
    let why = |name: &str| of(&now, name).problem.clone().unwrap();
    assert!(why("hangs").contains("not answered"), "{}", why("hangs"));
    assert!(why("bursts").contains("cut off"), "{}", why("bursts"));
    assert!(why("panics").contains("panicked"), "{}", why("panics"));
    assert_eq!(why("fails"), "its bus does not answer");
    assert!(of(&now, "good").failing_since.is_none());
    let mut subjects: Vec<&str> = now.alarms.iter().map(|a| a.subject.as_str()).collect();
    subjects.sort_unstable();
    assert_eq!(subjects, ["bursts", "fails", "flaps", "hangs", "panics"]);
    // The good one goes on while the others fail.
    for _ in 0..3 {
        good.recv().await.unwrap();
    }
    until("its readings are stored", || async {
        (status(&node).await.facts > 0).then_some(())
    })
    .await;
    // The one that hung comes back.
    drop(let_go);
    until("it is told to work again", || async {
        let now = status(&node).await;
        let back = of(&now, "hangs").problem.is_none();
        (back && !now.alarms.iter().any(|a| a.subject == "hangs")).then_some(())
    })
    .await;
    // One that comes and goes was told of once.
    let events = node.door().events(EventQuery::default()).await.unwrap();
    let of_it = events.iter().filter(|e| e.data["sensor"] == "flaps");
    assert_eq!(of_it.count(), 1, "{events:?}");
    node.stop().await;
    drop(dir);
}

/// A sensor that has nothing to say.
struct Mute;

impl Sensor for Mute {
    fn name(&self) -> &'static str {
        "mute"
    }

    fn read(&mut self, _now: TimeMs) -> Result<Vec<Reading>, SensorError> {
        Ok(Vec::new())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sensor_that_says_nothing_has_no_last_reading() {
    let (told, mut read) = tokio::sync::mpsc::unbounded_channel();
    let speaks = Pretend::boxed("speaks", move || {
        let _ = told.send(());
        Ok(1.0)
    });
    let (dir, node) = node_with(vec![Box::new(Mute), speaks]).await;
    // Both are read as often.
    for _ in 0..4 {
        read.recv().await.unwrap();
    }
    let now = status(&node).await;
    assert!(of(&now, "speaks").last_reading_at.is_some());
    assert_eq!(of(&now, "mute").last_reading_at, None);
    assert_eq!(of(&now, "mute").problem, None);
    node.stop().await;
    drop(dir);
}
