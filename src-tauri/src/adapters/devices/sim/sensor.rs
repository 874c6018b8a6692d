//! The sensors of the simulated kit, in the shape gen-1 nodes publish moisture in.

use std::sync::Arc;

use serde_json::json;

use super::kit::SimKit;
use crate::adapters::devices::{Reading, Sensor, SensorError};
use crate::domain::base::TimeMs;

/// Moisture below this is critical, in percent; the threshold gen-1 nodes publish.
const CRITICAL: f64 = 20.0;
/// Moisture below this is low, in percent.
const LOW: f64 = 25.0;

/// Reads the kit.
pub(crate) struct SimSensor {
    kit: Arc<SimKit>,
}

impl SimSensor {
    /// Over a kit.
    pub(crate) fn new(kit: Arc<SimKit>) -> Self {
        Self { kit }
    }
}

impl Sensor for SimSensor {
    fn name(&self) -> &'static str {
        "sim"
    }

    fn read(&mut self, _now: TimeMs) -> Result<Vec<Reading>, SensorError> {
        const ZONE: &str = "zone-1";
        let plant = self.kit.look();
        if let Err(error) = self.kit.save() {
            tracing::warn!("the simulated kit's state was not saved: {error}");
        }
        let value = (plant.moisture * 10.0).round() / 10.0;
        let status = match value {
            v if v < CRITICAL => "critical",
            v if v < LOW => "low",
            _ => "normal",
        };
        let mut moisture = Reading::new("moisture", ZONE, value, "%");
        moisture.note = Some(format!("Soil moisture in {ZONE}: {value}% ({status})"));
        moisture.extra.insert("threshold".into(), json!(CRITICAL));
        moisture.extra.insert("status".into(), status.into());
        Ok(vec![
            moisture,
            Reading::new("tank.level", ZONE, (plant.tank * 10.0).round() / 10.0, "%"),
            Reading::new(
                "valve.open",
                ZONE,
                f64::from(u8::from(plant.valve_open)),
                "",
            ),
            Reading::new(
                "pump.running",
                ZONE,
                f64::from(u8::from(plant.pump_running)),
                "",
            ),
        ])
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::adapters::devices::sim::kit::Part;

    #[test]
    fn readings_follow_the_kit_in_the_shape_gen1_publishes() {
        let temp = tempfile::tempdir().unwrap();
        let kit = Arc::new(SimKit::real(temp.path()).unwrap());
        let mut sensor = SimSensor::new(kit.clone());
        let readings = sensor.read(TimeMs(0)).unwrap();
        assert_eq!(readings[0].extra["status"], "normal");
        assert!(
            readings[0]
                .note
                .as_ref()
                .unwrap()
                .starts_with("Soil moisture in zone-1: ")
        );
        let valve = |list: &[Reading]| {
            list.iter()
                .find(|r| r.metric == "valve.open")
                .unwrap()
                .value
        };
        assert_eq!(valve(&readings).to_string(), "0");
        kit.set(Part::Valve, true, "j").unwrap();
        assert_eq!(valve(&sensor.read(TimeMs(0)).unwrap()).to_string(), "1");
    }
}
