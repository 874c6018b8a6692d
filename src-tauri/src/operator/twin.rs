//! The sites as people see them: zones and assets on a plan, with limits and devices resolved. Values
//! are not here: they are read with [`Door::facts`] and joined by metric and zone.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::series::SeriesThreshold;
use super::{Answer, Door};
use crate::adapters::paths::StateDir;
use crate::domain::base::{Code, DeviceId, Refusal};
use crate::domain::site::{
    Asset, EXAMPLE_PLAN, EXAMPLE_SITE, Limits, Metric, Problem, Site, View, Zone,
};
use crate::node::sites::{Drawing, Sites};

/// All sites of this node, or what is wrong with its file.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct TwinView {
    /// The file they are written in.
    pub file: String,
    /// Whether it is there.
    pub present: bool,
    /// What is wrong with it; then there are no sites.
    pub problems: Vec<SiteProblem>,
    /// The sites.
    pub sites: Vec<SiteView>,
    /// What to begin with, where there is no file.
    pub example: Option<SiteExample>,
}

/// A mistake in `site.toml` or a plan.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct SiteProblem {
    /// The line of `site.toml`; absent for the file as a whole.
    pub line: Option<usize>,
    /// The key; absent for the file as a whole.
    pub key: Option<String>,
    /// What is wrong and what would be right.
    pub message: String,
}

/// Files to begin with.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct SiteExample {
    /// A `site.toml`.
    pub site: String,
    /// The plan it names.
    pub plan: String,
}

/// A site.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct SiteView {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// The address of its plan below the API's root; it changes with the plan.
    pub plan: String,
    /// The left edge of the plan, in its units.
    pub x: f64,
    /// The upper edge.
    pub y: f64,
    /// The width.
    pub width: f64,
    /// The height.
    pub height: f64,
    /// Its zones.
    pub zones: Vec<SiteZone>,
    /// What stands in it.
    pub assets: Vec<SiteAsset>,
}

/// A zone of a site.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct SiteZone {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// What readings call it.
    pub zone: String,
    /// The only device whose readings count.
    pub device: Option<SiteDevice>,
    /// Its corners, each as x and y.
    pub outline: Vec<Vec<f64>>,
    /// What is measured in it.
    pub metrics: Vec<SiteMetric>,
}

/// Something measured in a zone.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct SiteMetric {
    /// What readings call it.
    pub metric: String,
    /// The unit that is expected.
    pub unit: Option<String>,
    /// Below this is outside.
    pub low: Option<f64>,
    /// Above this is outside.
    pub high: Option<f64>,
    /// How close to a limit is near; absent for a tenth.
    pub near: Option<f64>,
    /// The age after which a value is old, in milliseconds.
    pub stale_ms: u64,
    /// Whether the limits are those of this node's policy and planner.
    pub from_policy: bool,
    /// The rules that set them.
    pub rules: Vec<String>,
}

/// Something that stands in a site.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct SiteAsset {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// What it is, for example `valve`.
    pub kind: String,
    /// Where it stands: to the right.
    pub x: f64,
    /// Where it stands: down.
    pub y: f64,
    /// The id of its zone.
    pub zone: Option<String>,
    /// The device it belongs to.
    pub device: Option<SiteDevice>,
    /// The actuator it is.
    pub actuator: Option<String>,
    /// The metric it reads.
    pub sensor: Option<String>,
}

/// A device as a site names it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct SiteDevice {
    /// Its id or name, as written.
    pub written: String,
    /// Its id; absent if no device, or more than one, is called so.
    pub device_id: Option<String>,
}

/// Who is called what, to find a device by id or name.
struct Called<'a>(&'a BTreeMap<DeviceId, String>);

impl Called<'_> {
    fn device(&self, written: &str) -> Option<DeviceId> {
        if let Ok(id) = written.parse() {
            return Some(id);
        }
        let mut named = self.0.iter().filter(|(_, name)| *name == written);
        match (named.next(), named.next()) {
            (Some((id, _)), None) => Some(id.clone()),
            _ => None,
        }
    }

    fn view(&self, written: Option<&String>) -> Option<SiteDevice> {
        written.map(|written| SiteDevice {
            written: written.clone(),
            device_id: self.device(written).map(|id| id.as_str().to_owned()),
        })
    }
}

impl Door {
    async fn sites(&self) -> Answer<Arc<Sites>> {
        let handles = self.handles.clone();
        let look = move || {
            let dir = handles.state_dir();
            handles.sites.look(&dir, &StateDir::at(&dir).site_file())
        };
        let found = self.handles.work(look).await;
        found.ok_or_else(|| {
            Refusal::new(
                Code::InternalError,
                "the sites could not be read; the log says why",
            )
        })
    }

    /// The sites of this node.
    ///
    /// # Errors
    /// Only if reading broke off; what is wrong with the file is part of the answer.
    pub async fn twin(&self) -> Answer<TwinView> {
        let found = self.sites().await?;
        let names = self.names();
        let called = Called(&names);
        let file = StateDir::at(&self.handles.state_dir()).site_file();
        let example = || SiteExample {
            site: EXAMPLE_SITE.to_owned(),
            plan: EXAMPLE_PLAN.to_owned(),
        };
        Ok(TwinView {
            file: file.display().to_string(),
            present: found.present,
            problems: found.problems.iter().map(problem_view).collect(),
            sites: found
                .sites
                .iter()
                .map(|site| self.site_view(site, &found, &called))
                .collect(),
            example: (!found.present).then(example),
        })
    }

    /// The plan of a site.
    ///
    /// # Errors
    /// `NOT_FOUND` if there is no such site.
    pub async fn twin_plan(&self, site: &str) -> Answer<Drawing> {
        let found = self.sites().await?;
        let site = found.sites.iter().find(|s| s.id == site);
        let drawing = site.and_then(|s| found.drawings.get(&s.plan));
        drawing
            .cloned()
            .ok_or_else(|| Refusal::new(Code::NotFound, "there is no such site here"))
    }

    /// The name of the one site each device is placed in; a device in several is in none.
    ///
    /// # Errors
    /// As [`Door::twin`].
    pub(super) async fn placed(
        &self,
        names: &BTreeMap<DeviceId, String>,
    ) -> Answer<BTreeMap<DeviceId, String>> {
        let found = self.sites().await?;
        let called = Called(names);
        let mut places: BTreeMap<DeviceId, BTreeSet<&str>> = BTreeMap::new();
        for site in &found.sites {
            let devices = site.zones.iter().filter_map(|z| z.device.as_deref());
            let devices = devices.chain(site.assets.iter().filter_map(|a| a.device.as_deref()));
            for id in devices.filter_map(|d| called.device(d)) {
                places.entry(id).or_default().insert(&site.name);
            }
        }
        let one = |(id, names): (DeviceId, BTreeSet<&str>)| match names.len() {
            1 => names.first().map(|name| (id, (*name).to_owned())),
            _ => None,
        };
        Ok(places.into_iter().filter_map(one).collect())
    }

    fn site_view(&self, site: &Site, found: &Sites, called: &Called<'_>) -> SiteView {
        let View {
            x,
            y,
            width,
            height,
        } = site.view;
        let digest = found.drawings.get(&site.plan).map(|d| d.digest.to_string());
        let version: String = digest.unwrap_or_default().chars().take(16).collect();
        SiteView {
            id: site.id.clone(),
            name: site.name.clone(),
            plan: format!("/twin/plans/{}?v={version}", site.id),
            x,
            y,
            width,
            height,
            zones: site
                .zones
                .iter()
                .map(|z| self.zone_view(z, called))
                .collect(),
            assets: site.assets.iter().map(|a| asset_view(a, called)).collect(),
        }
    }

    fn zone_view(&self, zone: &Zone, called: &Called<'_>) -> SiteZone {
        SiteZone {
            id: zone.id.clone(),
            name: zone.name.clone(),
            zone: zone.zone.clone(),
            device: called.view(zone.device.as_ref()),
            outline: zone.outline.iter().map(|p| vec![p.x, p.y]).collect(),
            metrics: zone
                .metrics
                .iter()
                .map(|m| {
                    let thresholds = match m.limits {
                        Limits::Policy => self.thresholds(&m.metric),
                        _ => Vec::new(),
                    };
                    metric_view(m, &zone.zone, &thresholds)
                })
                .collect(),
        }
    }
}

fn problem_view(p: &Problem) -> SiteProblem {
    SiteProblem {
        line: (p.line > 0).then_some(p.line),
        key: (!p.key.is_empty()).then(|| p.key.clone()),
        message: p.why.clone(),
    }
}

fn asset_view(asset: &Asset, called: &Called<'_>) -> SiteAsset {
    SiteAsset {
        id: asset.id.clone(),
        name: asset.name.clone(),
        kind: asset.kind.clone(),
        x: asset.at.x,
        y: asset.at.y,
        zone: asset.zone.clone(),
        device: called.view(asset.device.as_ref()),
        actuator: asset.actuator.as_ref().map(|c| c.as_str().to_owned()),
        sensor: asset.sensor.clone(),
    }
}

fn metric_view(m: &Metric, zone: &str, thresholds: &[SeriesThreshold]) -> SiteMetric {
    let (low, high, rules) = match m.limits {
        Limits::None => (None, None, Vec::new()),
        Limits::Fixed { low, high } => (low, high, Vec::new()),
        Limits::Policy => of_policy(zone, thresholds),
    };
    SiteMetric {
        metric: m.metric.clone(),
        unit: m.unit.clone(),
        low,
        high,
        near: m.near,
        stale_ms: m.stale_ms,
        from_policy: m.limits == Limits::Policy,
        rules,
    }
}

/// The tightest limits that follow from what policy and planner compare. A condition and a planner's
/// rule say when something is amiss, an interlock what must hold: `<` means too low in the one and
/// the highest allowed in the other.
fn of_policy(
    zone: &str,
    thresholds: &[SeriesThreshold],
) -> (Option<f64>, Option<f64>, Vec<String>) {
    let (mut low, mut high): (Option<f64>, Option<f64>) = (None, None);
    let mut rules = BTreeSet::new();
    for t in thresholds
        .iter()
        .filter(|t| t.zone.as_deref().is_none_or(|z| z == zone))
    {
        let below = match t.sign.as_str() {
            "<" | "<=" | "≤" => true,
            ">" | ">=" | "≥" => false,
            _ => continue,
        };
        let must_hold = t.of == "interlock";
        if below == must_hold {
            high = Some(high.map_or(t.value, |h| h.min(t.value)));
        } else {
            low = Some(low.map_or(t.value, |l| l.max(t.value)));
        }
        rules.insert(t.rule.clone());
    }
    (low, high, rules.into_iter().collect())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    fn threshold(of: &str, sign: &str, value: f64, zone: Option<&str>) -> SeriesThreshold {
        SeriesThreshold {
            value,
            sign: sign.to_owned(),
            zone: zone.map(str::to_owned),
            of: of.to_owned(),
            rule: format!("{of} {value}"),
        }
    }

    #[test]
    fn limits_of_the_policy_are_the_tightest_of_its_zone() {
        let all = [
            threshold("planner", "<", 30.0, Some("z")),
            threshold("condition", "<", 32.0, None),
            threshold("condition", "<", 90.0, Some("elsewhere")),
            threshold("interlock", "<", 80.0, None),
            threshold("interlock", "<=", 70.0, Some("z")),
            threshold("interlock", ">", 5.0, None),
        ];
        let (low, high, rules) = of_policy("z", &all);
        assert_eq!((low, high), (Some(32.0), Some(70.0)));
        assert_eq!(rules.len(), 5, "{rules:?}");
        assert_eq!(of_policy("z", &[]), (None, None, Vec::new()));
    }

    #[test]
    fn a_name_that_two_devices_share_names_neither() {
        let id = |c: &str| c.repeat(64).parse::<DeviceId>().unwrap();
        let names = BTreeMap::from([
            (id("a"), "field".to_owned()),
            (id("b"), "twin".to_owned()),
            (id("c"), "twin".to_owned()),
        ]);
        let called = Called(&names);
        assert_eq!(called.device("field"), Some(id("a")));
        assert_eq!(called.device("twin"), None);
        assert_eq!(called.device("nobody"), None);
        assert_eq!(called.device(&"d".repeat(64)), Some(id("d")));
    }
}
