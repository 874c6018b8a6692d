//! Readings: what sensors say of what the device has.

use super::slave::{Slave, Twist};
use super::{head, made};
use crate::adapters::devices::{Reading, Sensor};
use crate::domain::base::TimeMs;

fn sensors(slave: &Slave, readings: &[&str]) -> Vec<Box<dyn Sensor>> {
    let each = readings
        .iter()
        .enumerate()
        .map(|(at, keys)| format!("[[reading]]\nmetric = \"m{at}\"\nzone = \"z\"\n{keys}\n"));
    let text = format!("{}{}", head(slave), each.collect::<String>());
    made(&text).unwrap().sensors
}

/// Reads as the node does: asks, and takes what comes.
async fn read(sensor: &mut dyn Sensor) -> Result<Reading, String> {
    let news = sensor.news().unwrap();
    loop {
        match sensor.read(TimeMs(0)) {
            Ok(mut readings) if readings.len() == 1 => return Ok(readings.remove(0)),
            Ok(_) => news.notified().await,
            Err(error) => return Err(error.to_string()),
        }
    }
}

/// As [`read`], past what it said before.
async fn next(sensor: &mut dyn Sensor) -> Result<Reading, String> {
    let news = sensor.news().unwrap();
    let _ = sensor.read(TimeMs(0));
    news.notified().await;
    read(sensor).await
}

#[tokio::test]
async fn each_reading_has_its_value_and_neighbours_are_asked_for_together() {
    let slave = Slave::new();
    for (table, at, word) in [
        (3, 40, 0xffce),
        (3, 41, 0x47f1),
        (3, 42, 0x2065),
        (4, 7, 0b1000),
        (1, 3, 1),
    ] {
        slave.set(table, at, word);
    }
    let mut all = sensors(
        &slave,
        &[
            "register = \"holding:40\"\ntype = \"i16\"\nscale = 0.1\nunit = \"Cel\"",
            "register = { table = \"holding\", at = 41 }\ntype = \"f32\"",
            "register = \"30008\"\nbit = 3",
            "register = \"coil:3\"",
        ],
    );
    let mut values = Vec::new();
    for sensor in &mut all {
        let reading = read(&mut **sensor).await.unwrap();
        assert_eq!(reading.zone.as_deref(), Some("z"));
        values.push(reading.value);
    }
    assert_eq!(values[0], -5.0);
    assert!((values[1] - 123_456.789).abs() < 0.01);
    assert_eq!(values[2..], [1.0, 1.0]);
    let reads = slave.bank().asked.iter().filter(|(f, ..)| *f == 3).count();
    assert_eq!(reads, 1);
    assert_eq!(all[0].name(), "plc m0 z");
}

#[tokio::test]
async fn a_wrong_register_is_named_and_costs_no_other_reading() {
    let slave = Slave::new();
    slave.bank().holes.push((3, 1));
    slave.set(3, 2, 5);
    let keys = [
        "register = \"holding:0\"",
        "register = \"holding:1\"",
        "register = \"holding:2\"",
    ];
    let mut all = sensors(&slave, &keys);
    assert_eq!(read(&mut *all[0]).await.unwrap().value, 0.0);
    assert_eq!(read(&mut *all[2]).await.unwrap().value, 5.0);
    let why = read(&mut *all[1]).await.unwrap_err();
    assert!(
        why.starts_with("holding:1 of unit 7 at ") && why.contains("no such register"),
        "{why}"
    );
}

#[tokio::test]
async fn bytes_in_another_order_are_seen_in_what_is_doubted() {
    let slave = Slave::new();
    // 21.5, the lower register first.
    slave.set(3, 0, 0);
    slave.set(3, 1, 0x41ac);
    let keys = [
        "register = \"holding:0\"\ntype = \"f32\"\ncheck = { range = [-30, 60] }",
        "register = \"holding:0\"\ntype = \"u32\"\ncheck = { range = [0, 9] }",
    ];
    let mut all = sensors(&slave, &keys);
    // 2.36e-41 lies in the range: only the other type shows it.
    assert!(read(&mut *all[0]).await.unwrap().value.abs() < 1e-9);
    let doubted = read(&mut *all[1]).await.unwrap();
    assert!(doubted.doubt.is_some());
    assert_eq!(doubted.extra["raw"], "0000 41ac");
    assert_eq!(
        doubted.extra["otherOrders"]["little-word"],
        f64::from(0x41ac_0000_u32)
    );
    // A value that is no number is no reading; the error names the order that gives one.
    slave.set(3, 0, 0x7fc0);
    let why = next(&mut *all[0]).await.unwrap_err();
    assert!(
        why.contains("7fc0 41ac is no number") && why.contains("order \"little-word\" would be"),
        "{why}"
    );
}

#[tokio::test]
async fn a_value_that_means_none_is_no_reading() {
    let slave = Slave::new();
    slave.set(4, 0, 0x8000);
    let mut all = sensors(
        &slave,
        &["register = \"input:0\"\ntype = \"i16\"\ninvalid = [-32768]"],
    );
    let why = read(&mut *all[0]).await.unwrap_err();
    assert_eq!(
        why,
        "input:0: the device says that it has no value (-32768)"
    );
    slave.set(4, 0, 3);
    assert_eq!(next(&mut *all[0]).await.unwrap().value, 3.0);
}

#[tokio::test]
async fn a_device_that_goes_and_comes_back_is_read_again_by_itself() {
    let slave = Slave::new();
    let mut all = sensors(&slave, &["register = \"input:0\"", "register = \"coil:9\""]);
    for sensor in &mut all {
        read(&mut **sensor).await.unwrap();
    }
    slave.next(&[Twist::Never]);
    let why = next(&mut *all[0]).await.unwrap_err();
    assert!(why.contains("has not answered within 300 ms"), "{why}");
    // The sensor does not ask again: the connection does, also for values not asked for then.
    slave.set(4, 0, 8);
    for sensor in &mut all {
        sensor.news().unwrap().notified().await;
    }
    assert_eq!(read(&mut *all[0]).await.unwrap().value, 8.0);
    assert_eq!(slave.bank().connections, 2);
}
