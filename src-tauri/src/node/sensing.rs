//! Sensing: reads the node's sensors and publishes what they say as signed observations.

use std::time::Duration;

use serde_json::{Value, json};

use super::ledger;
use super::shared::Shared;
use crate::adapters::sensor::{Reading, Sensor};
use crate::adapters::store::Class;
use crate::domain::base::{EvidenceSource, Tier};
use crate::domain::wire::FrameKind;
use crate::domain::wire::frame::FrameSpec;

/// Reads all sensors at the configured interval until the node stops.
pub async fn run(shared: Shared, mut sensors: Vec<Box<dyn Sensor>>) {
    let mut tick = tokio::time::interval(Duration::from_millis(shared.config.sensor_interval_ms));
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    loop {
        tokio::select! {
            biased;
            () = shared.tasks.stop().cancelled() => return,
            _ = tick.tick() => {}
        }
        let now = shared.now();
        // Reading a sensor may block on a bus or a file.
        let read = shared.work(move || {
            let readings: Vec<Reading> = sensors.iter_mut().flat_map(|s| s.read(now)).collect();
            (sensors, readings)
        });
        let Some((back, readings)) = read.await else {
            tracing::error!("a sensor panicked; the node stops");
            return;
        };
        sensors = back;
        let specs = readings.into_iter().map(observation).collect();
        if let Err(refusal) = ledger::publish(&shared, specs, Class::Gathered).await {
            tracing::error!("readings not stored: {refusal}");
            shared.metrics.refused(refusal.code);
        }
    }
}

fn observation(reading: Reading) -> FrameSpec {
    let mut data = reading.extra;
    data.insert("metric".into(), reading.metric.into());
    if let Some(zone) = reading.zone {
        data.insert("zone".into(), zone.into());
    }
    data.insert("value".into(), json!(reading.value));
    data.insert("unit".into(), Value::from(reading.unit));
    FrameSpec {
        kind: FrameKind::Observation,
        data,
        sources: vec![EvidenceSource::Sensor],
        tier: Tier::T2,
        taint: Default::default(),
        note: reading.note,
    }
}
