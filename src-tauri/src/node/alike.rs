//! Names of this node and of devices that it trusts that are easily taken for each other: an alarm while there are any.

use std::collections::BTreeMap;

use super::context::Context;
use super::context::alarms::AlarmKind;
use super::health::told;
use crate::domain::base::DeviceId;
use crate::domain::base::alike::looks;
use crate::domain::base::limits::NAMES_ALIKE_SHOWN;

/// Raises the alarm or ends it. Of a device that nobody here has named, what it says itself is shown: `said`.
pub(super) fn look(context: &Context, said: impl Fn(&DeviceId) -> Option<String>) {
    let own = (context.own_id().clone(), context.config.name.clone());
    let trusted = context.trust.all().into_iter();
    let trusted = trusted.filter(|record| record.revoked_at.is_none());
    let named = trusted.filter_map(|record| {
        let name = record.name.or_else(|| said(&record.device_id))?;
        Some((record.device_id, name))
    });
    let mut alike: BTreeMap<String, Vec<(DeviceId, String)>> = BTreeMap::new();
    for (device, name) in [own].into_iter().chain(named) {
        let same = alike.entry(looks(&name)).or_default();
        if same.iter().all(|(other, _)| *other != device) {
            same.push((device, name));
        }
    }
    let pairs = alike.into_values().filter(|same| same.len() > 1);
    let pairs: Vec<String> = pairs
        .map(|same| {
            let each = same
                .iter()
                .map(|(d, name)| format!("{name} ({})", d.short()));
            each.collect::<Vec<_>>().join(" and ")
        })
        .take(NAMES_ALIKE_SHOWN)
        .collect();
    let words = (!pairs.is_empty()).then(|| {
        let pairs = pairs.join("; ");
        format!("names look the same and belong to different devices: {pairs}")
    });
    told(
        context,
        AlarmKind::NamesAlike,
        words.as_deref(),
        "compare their ids with `clawmesh-node trust list`; give one another name, or revoke the one you do not know",
    );
}
