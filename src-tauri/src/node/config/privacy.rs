//! `[privacy]`: what is private, for models and for other devices alike, and which devices may have it.

use serde::Deserialize;

use super::models::RawInference;
use super::{ConfigError, value};
use crate::domain::base::DeviceId;
use crate::domain::base::limits::{NAME_MAX_BYTES, PRIVATE_DEVICES_MAX, PRIVATE_LABELS_MAX};
use crate::domain::inference::route::Labels;

/// `[privacy]`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawPrivacy {
    /// Zones whose readings are private.
    pub zones: Vec<String>,
    /// Metrics that are private.
    pub metrics: Vec<String>,
    /// The trusted devices that may have this node's private readings, by id or name.
    pub devices: Vec<String>,
}

impl RawPrivacy {
    /// What is private, with what earlier keys of `[inference]` say, and who may have it.
    pub(super) fn resolve(
        self,
        earlier: &mut RawInference,
    ) -> Result<(Labels, Vec<String>), ConfigError> {
        let (mut zones, mut metrics) = (self.zones, self.metrics);
        zones.append(&mut earlier.private_zones);
        metrics.append(&mut earlier.private_metrics);
        for (key, names) in [("privacy.zones", &zones), ("privacy.metrics", &metrics)] {
            if names.len() > PRIVATE_LABELS_MAX {
                return Err(value(
                    key,
                    format!("at most {PRIVATE_LABELS_MAX} names are allowed"),
                ));
            }
            let words = |name: &String| name.chars().any(char::is_alphanumeric);
            if !names.iter().all(words) {
                return Err(value(
                    key,
                    "a name without any letter or digit stands for nothing".to_owned(),
                ));
            }
        }
        if self.devices.len() > PRIVATE_DEVICES_MAX {
            let why = format!("at most {PRIVATE_DEVICES_MAX} are allowed");
            return Err(value("privacy.devices", why));
        }
        let device = |text: String| {
            let text = text.trim().to_owned();
            match text.to_ascii_lowercase().parse::<DeviceId>() {
                Ok(id) => Ok(id.as_str().to_owned()),
                Err(_) if !text.is_empty() && text.len() <= NAME_MAX_BYTES => Ok(text),
                Err(_) => Err(value(
                    "privacy.devices",
                    "a device is named by its id or its name".to_owned(),
                )),
            }
        };
        let devices = self
            .devices
            .into_iter()
            .map(device)
            .collect::<Result<_, _>>()?;
        Ok((Labels::new(zones, metrics), devices))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::path::PathBuf;

    use crate::domain::base::limits::PRIVATE_DEVICES_MAX;
    use crate::node::RawConfig;

    #[test]
    fn both_spellings_mean_one_list_for_models_and_devices() {
        let text = "[privacy]\nzones = [\"bedroom\"]\ndevices = [\"hub\"]\n[inference]\nprivate_metrics = [\"presence\"]";
        let raw = RawConfig::parse(text, "config.toml").unwrap();
        let config = raw.resolve(PathBuf::new()).unwrap();
        let labels = &config.models.labels;
        assert!(labels.reading(Some("Bedroom"), "x").is_private());
        assert!(labels.reading(None, "presence").is_private());
        assert!(!labels.reading(Some("hall"), "x").is_private());
        assert_eq!(config.private_devices, ["hub"]);
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        let many = vec!["\"hub\""; PRIVATE_DEVICES_MAX + 1].join(",");
        for text in [
            format!("devices = [{many}]"),
            "devices = [\"\"]".to_owned(),
            "zones = [\"-\"]".to_owned(),
            "metrics = [\"\"]".to_owned(),
        ] {
            let raw = RawConfig::parse(&format!("[privacy]\n{text}"), "config.toml").unwrap();
            let why = raw.resolve(PathBuf::new()).unwrap_err().to_string();
            assert!(why.contains("privacy."), "{why}");
        }
    }
}
