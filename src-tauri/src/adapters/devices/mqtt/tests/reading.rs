//! Readings.

use std::io::Write as _;
use std::sync::Arc;

use tokio::sync::Notify;

use super::super::super::{Reading, Sensor};
use super::devices;
use super::mosquitto::{Mosquitto, PATIENCE, Probe, is_here};
use super::scripted::Scripted;
use crate::domain::base::TimeMs;
use crate::domain::quality::Doubt;

const SOIL: &str = "reading = [{ metric = \"moisture\", zone = \"z1\", unit = \"%\", scale = 0.1, topic = \"farm/z1\", \
                    json = \"/soil/m\" }, { metric = \"rain\", topic = \"farm/rain\", retained = true }]";

struct Under {
    sensor: Box<dyn Sensor>,
    news: Arc<Notify>,
}

impl Under {
    fn of(sensor: Box<dyn Sensor>) -> Self {
        let news = sensor.news().unwrap();
        Self { sensor, news }
    }

    fn read(&mut self) -> Result<Vec<Reading>, String> {
        self.sensor.read(TimeMs(1)).map_err(|e| e.0)
    }

    /// Its next reading or error.
    async fn next(&mut self) -> Result<Reading, String> {
        let next = async {
            loop {
                match self.read() {
                    Ok(found) => match found.into_iter().next() {
                        Some(reading) => return Ok(reading),
                        None => self.news.notified().await,
                    },
                    Err(why) => return Err(why),
                }
            }
        };
        tokio::time::timeout(PATIENCE, next).await.expect("news")
    }

    /// Until it says of its topic what ends like this.
    async fn complains(&mut self, topic: &str, why: &str) {
        let complains = async {
            loop {
                match self.read() {
                    Err(told) if told.starts_with(topic) && told.ends_with(why) => return,
                    _ => self.news.notified().await,
                }
            }
        };
        let complained = tokio::time::timeout(PATIENCE, complains).await;
        complained.unwrap_or_else(|_| panic!("{why}: {:?}", self.read()));
        // Until a good value comes, so that no alarm ends and begins again.
        assert!(self.read().is_err_and(|told| told.ends_with(why)));
    }

    /// Until a value comes.
    async fn value(&mut self) -> f64 {
        let value = async {
            loop {
                match self.read().ok().and_then(|found| found.into_iter().next()) {
                    Some(reading) => return reading.value,
                    None => self.news.notified().await,
                }
            }
        };
        tokio::time::timeout(PATIENCE, value)
            .await
            .expect("a value")
    }

    /// Until it hears its topic.
    async fn hears(&mut self, probe: &mut Probe, topic: &str, payload: &str) {
        loop {
            probe.publish(topic, payload);
            let reads = self.read();
            if reads.is_ok_and(|found| !found.is_empty()) {
                return;
            }
            tokio::task::yield_now().await;
        }
    }
}

fn both(broker: &str) -> (Under, Under) {
    let mut sensors = devices(broker, SOIL).sensors.into_iter();
    let mut next = || Under::of(sensors.next().unwrap());
    (next(), next())
}

#[tokio::test]
async fn messages_become_readings_and_bad_ones_are_told() {
    if !is_here("readings over MQTT") {
        return;
    }
    let mut broker = Mosquitto::start();
    let mut probe = Probe::new(&broker, &[]);
    probe.retain("farm/z1", "{\"soil\":{\"m\":999}}");
    probe.retain("farm/rain", "7");
    probe.all();
    let (mut soil, mut rain) = both(&broker.url());
    assert_eq!(
        (soil.sensor.name(), rain.sensor.name()),
        ("shed moisture z1", "shed rain")
    );
    // Of the two that the broker kept the one counts that is to, with a mark.
    let kept = rain.next().await.unwrap();
    assert_eq!((kept.value, kept.doubt), (7.0, Some(Doubt::AgeUnknown)));
    assert_eq!(soil.read(), Ok(Vec::new()));
    probe.publish("farm/rain", "on");
    let fresh = rain.next().await.unwrap();
    assert_eq!((fresh.value, fresh.doubt), (1.0, None));
    probe.publish("farm/z1", r#"{"soil":{"m":215}}"#);
    let reading = soil.next().await.unwrap();
    assert_eq!((reading.value, &*reading.unit), (21.5, "%"));
    assert_eq!(reading.zone.as_deref(), Some("z1"));
    // It is one reading, however often it is asked for.
    assert_eq!(soil.read(), Ok(Vec::new()));
    for (payload, why) in [
        (&b"\xff"[..], "it is no UTF-8 text"),
        (b"{}", "\"{}\" has nothing at /soil/m"),
        (br#"{"soil":[]}"#, "has nothing at /soil/m"),
        (br#"{"soil":{"m":"NaN"}}"#, "no finite number"),
        (b"", "\"\" is no JSON"),
        (
            &[b' '; 1 << 20],
            "it has 1048576 bytes, at most 65536 are read",
        ),
    ] {
        probe.publish("farm/z1", payload);
        soil.complains("farm/z1: ", why).await;
    }
    // None of it cost the connection, and of many messages the newest counts.
    for m in 0..1_000 {
        probe.publish("farm/z1", format!("{{\"soil\":{{\"m\":{m}}}}}"));
    }
    while soil.value().await < 99.9 {}
    assert_eq!(soil.read(), Ok(Vec::new()));
    broker.kill();
    let told = soil.next().await.unwrap_err();
    assert!(told.starts_with(&format!("{}: ", broker.url())), "{told}");
    broker.restart();
    let mut probe = Probe::new(&broker, &[]);
    soil.hears(&mut probe, "farm/z1", r#"{"soil":{"m":1}}"#)
        .await;
}

#[tokio::test]
async fn a_message_that_comes_again_is_one_reading() {
    let broker = Scripted::start();
    let table = "reading = [{ metric = \"m\", topic = \"a\" }]";
    let mut sensor = Under::of(devices(&broker.url, table).sensors.swap_remove(0));
    sensor.read().unwrap();
    let guest = tokio::task::spawn_blocking(move || {
        let mut guest = broker.guest();
        guest.subscribed();
        guest
    });
    let mut guest = guest.await.unwrap();
    // At QoS 1 under the number 9; again, marked as such; then another one under the same number.
    guest
        .socket
        .write_all(b"\x32\x06\x00\x01a\x00\x091")
        .unwrap();
    assert_eq!(sensor.next().await.unwrap().value.to_string(), "1");
    guest
        .socket
        .write_all(b"\x3a\x06\x00\x01a\x00\x091")
        .unwrap();
    let acknowledged = tokio::task::spawn_blocking(move || {
        let all = [guest.next(), guest.next()];
        (guest, all)
    });
    let (mut guest, all) = acknowledged.await.unwrap();
    let ack = Some((0x40, vec![0, 9]));
    assert_eq!(all, [ack.clone(), ack]);
    assert_eq!(sensor.read(), Ok(Vec::new()));
    guest
        .socket
        .write_all(b"\x32\x06\x00\x01a\x00\x092")
        .unwrap();
    assert_eq!(sensor.next().await.unwrap().value.to_string(), "2");
}

#[tokio::test]
async fn a_topic_that_is_refused_or_silent_is_told() {
    let broker = Scripted::start();
    let table = "reading = [{ metric = \"m\", topic = \"a\", check = { late_sec = 1 } }]";
    let mut sensor = Under::of(devices(&broker.url, table).sensors.swap_remove(0));
    sensor.read().unwrap();
    let guest = tokio::task::spawn_blocking(move || {
        let mut guest = broker.guest();
        let (_, body) = guest.next().unwrap();
        guest
            .socket
            .write_all(&[0x90, 3, body[0], body[1], 0x80])
            .unwrap();
        (guest, broker)
    });
    let (guest, broker) = guest.await.unwrap();
    let told = sensor.next().await.unwrap_err();
    assert_eq!(told, "the broker does not let this user hear a");
    drop(guest);
    let guest = tokio::task::spawn_blocking(move || {
        let mut guest = broker.guest();
        guest.subscribed();
        guest
    });
    let mut guest = guest.await.unwrap();
    let silent = async {
        loop {
            match sensor.read() {
                Err(told) if told.starts_with("nothing has come on a for") => return,
                // The interval at which a node looks by itself.
                _ => tokio::time::sleep(std::time::Duration::from_millis(50)).await,
            }
        }
    };
    tokio::time::timeout(PATIENCE, silent).await.unwrap();
    guest.socket.write_all(b"\x30\x04\x00\x01a3").unwrap();
    let heard = async {
        while sensor.read().is_err() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, heard).await.unwrap();
}
