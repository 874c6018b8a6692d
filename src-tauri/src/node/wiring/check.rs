//! The checks of a configuration's devices: the same before a start, by `device test` and before a change.

use std::path::Path;

use crate::adapters::devices::{Around, Made, make, make_each};
use crate::domain::base::limits::REFIT_MISTAKES_MAX;
use crate::domain::inference::route::Labels;
use crate::node::config::{Config, RawConfig, redundant};
use crate::node::naming;

/// Every mistake in the text of a configuration, each with its file, line and key as far as they are known.
pub fn mistakes(text: &str, file: &Path, around: &Around<'_>) -> Vec<String> {
    let (devices, config, errors) = RawConfig::devices_of(text, &file.display().to_string());
    let mut all: Vec<String> = errors.iter().map(ToString::to_string).collect();
    for device in &devices {
        let made = make(std::slice::from_ref(device), around);
        all.extend(made.err().map(|e| e.to_string()));
    }
    if let Some(config) = config.filter(|_| all.is_empty()) {
        // What is wrong only where they stand beside each other.
        let made = make(&devices, around);
        let sensors = made.map(|made| made.sensors);
        let checked = sensors.and_then(|sensors| {
            redundant::check(&config.redundant, &sensors, &config.models.labels)
        });
        all.extend(checked.err().map(|e| e.to_string()));
    }
    all.truncate(REFIT_MISTAKES_MAX);
    all
}

/// A configuration that a node could start with, and its devices, each by itself.
pub(super) struct Checked {
    pub config: Config,
    pub made: Vec<Made>,
}

/// Reads a text as a start with `flags` would, and makes its devices; nothing is asked of them. `labels` are those in force, by
/// which readings are private until the node starts again.
///
/// # Errors
/// Every mistake, a sentence each.
pub(super) fn whole(
    text: &str,
    flags: RawConfig,
    labels: &Labels,
    around: &Around<'_>,
) -> Result<Checked, Vec<String>> {
    let file = around.dir.config_file();
    let all = mistakes(text, &file, around);
    if !all.is_empty() {
        return Err(all);
    }
    let one = |why: String| vec![why];
    let shown = file.display().to_string();
    let raw = RawConfig::parse(text, &shown).map_err(|e| one(e.to_string()))?;
    let raw = naming::fill_in(around.dir, raw.overlay(flags)).map_err(one)?;
    let config = raw.resolve(around.dir.root().to_path_buf());
    let config = config.map_err(|e| one(e.to_string()))?;
    let mut made = make_each(&config.devices, around).map_err(|e| one(e.to_string()))?;
    let mut sensors = Vec::new();
    let counts: Vec<usize> = made.iter().map(|one| one.sensors.len()).collect();
    for device in &mut made {
        sensors.append(&mut device.sensors);
    }
    for labels in [&config.models.labels, labels] {
        redundant::check(&config.redundant, &sensors, labels).map_err(|e| one(e.to_string()))?;
    }
    let mut sensors = sensors.into_iter();
    for (device, count) in made.iter_mut().zip(counts) {
        device.sensors.extend(sensors.by_ref().take(count));
    }
    Ok(Checked { config, made })
}
