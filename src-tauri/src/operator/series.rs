//! One metric over time, for a chart: the samples of the frame log, thinned to the smallest and the
//! largest of each stretch, with gaps where readings are missing; before them, what is kept by the hour.

mod points;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use self::points::{interval, old_readings, thinned};
use super::{Answer, Door};
use crate::adapters::store::history::{self, Hour};
use crate::adapters::store::series::{self, Sample, SeriesFilter};
use crate::domain::base::limits::{
    HISTORY_HOURS_MAX, SERIES_POINTS_MAX, SERIES_SAMPLES_MAX, SERIES_SPAN_DEFAULT_MS,
};
use crate::domain::base::{Code, DeviceId, Refusal, SignatureState, TierName, TimeMs};

/// Points of a series where nobody asks for more.
const POINTS_DEFAULT: usize = 500;

/// What is known of one line: by the hour, and one by one.
type Measured = (Vec<Hour>, Vec<Sample>);

/// Which series.
#[derive(Debug, Clone, Default)]
pub struct SeriesQuery {
    /// Of this metric.
    pub metric: String,
    /// In this zone.
    pub zone: Option<String>,
    /// From this device.
    pub origin: Option<String>,
    /// From when, in milliseconds since 1970; an hour before the end if left out.
    pub from: Option<u64>,
    /// Until when; now if left out.
    pub to: Option<u64>,
    /// At most so many points.
    pub points: Option<usize>,
}

/// A metric over time: one line for each device and zone.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct SeriesView {
    /// The metric.
    pub metric: String,
    /// From when, in milliseconds since 1970.
    pub from: u64,
    /// Until when.
    pub to: u64,
    /// The lines.
    pub lines: Vec<SeriesLine>,
    /// The limits that this node's policy and planner compare this metric with.
    pub thresholds: Vec<SeriesThreshold>,
    /// Whether there were more samples than are looked at: then the oldest are missing.
    pub truncated: bool,
}

/// The values of one device in one zone.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct SeriesLine {
    /// The device.
    pub origin: String,
    /// Its name, where known.
    pub origin_name: Option<String>,
    /// Where.
    pub zone: Option<String>,
    /// In which unit, as the newest sample says.
    pub unit: Option<String>,
    /// The usual time between samples, in milliseconds; absent for fewer than three.
    pub interval_ms: Option<u64>,
    /// How many samples there are before thinning, apart from those that are kept by the hour.
    pub samples: u64,
    /// How many readings the points stand for that are means of hours.
    pub in_hours: u64,
    /// The points, oldest first.
    pub points: Vec<SeriesPoint>,
}

/// A limit that a metric is compared with.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct SeriesThreshold {
    /// The limit, in the metric's unit.
    pub value: f64,
    /// How it is compared, for example `<`.
    pub sign: String,
    /// Where; everywhere if absent.
    pub zone: Option<String>,
    /// `interlock` or `condition` of the policy, or `planner`.
    pub of: String,
    /// The rule it belongs to.
    pub rule: String,
}

/// A point of a series: a sample, a gap, or the mean of old readings that are kept by the hour.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct SeriesPoint {
    /// When, in milliseconds since 1970.
    pub time: u64,
    /// How much, or the mean; absent in a gap.
    pub value: Option<f64>,
    /// The smallest of the readings that this point is the mean of; only old readings have it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub low: Option<f64>,
    /// The largest of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub high: Option<f64>,
    /// How many they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<u64>,
    /// The tier this node vouches for; absent in a gap.
    pub tier: Option<TierName>,
    /// What is known of the signature; absent in a gap.
    pub signature: Option<SignatureState>,
    /// Whether a model had a part in it.
    pub tainted: bool,
}

fn bad(message: impl Into<String>) -> Refusal {
    Refusal::new(Code::InvalidParams, message)
}

impl Door {
    /// A metric over time.
    ///
    /// # Errors
    /// `INVALID_PARAMS` for a span that ends before it begins, no metric, or too many points.
    pub async fn series(&self, asked: SeriesQuery) -> Answer<SeriesView> {
        let now = self.handles.now();
        let to = asked.to.map_or(now, TimeMs);
        let from = asked
            .from
            .map_or(TimeMs(to.0.saturating_sub(SERIES_SPAN_DEFAULT_MS)), TimeMs);
        if from >= to {
            return Err(bad("from must be before to"));
        }
        if asked.metric.is_empty() {
            return Err(bad("metric: name one"));
        }
        let points = asked.points.unwrap_or(POINTS_DEFAULT);
        if !(2..=SERIES_POINTS_MAX).contains(&points) {
            return Err(bad(format!("points must be 2 to {SERIES_POINTS_MAX}")));
        }
        let origin = asked
            .origin
            .as_deref()
            .map(str::parse::<DeviceId>)
            .transpose();
        let filter = SeriesFilter {
            metric: asked.metric.clone(),
            zone: asked.zone,
            origin: origin.map_err(|e| bad(format!("origin: {e}")))?,
            from,
            to,
            limit: SERIES_SAMPLES_MAX,
        };
        let (samples, hours) = self
            .read("series", move |c| {
                Ok((series::samples(c, &filter)?, history::hours(c, &filter)?))
            })
            .await?;
        let truncated = samples.len() >= SERIES_SAMPLES_MAX || hours.len() >= HISTORY_HOURS_MAX;
        let mut lines: BTreeMap<(String, Option<String>), Measured> = BTreeMap::new();
        for hour in hours {
            let of = (hour.origin.clone(), hour.zone.clone());
            lines.entry(of).or_default().0.push(hour);
        }
        for sample in samples {
            let of = (sample.origin.clone(), sample.zone.clone());
            lines.entry(of).or_default().1.push(sample);
        }
        let names = self.names();
        let name = |id: &str| names.get(&id.parse::<DeviceId>().ok()?).cloned();
        let lines = lines
            .into_iter()
            .map(|((origin, zone), (hours, samples))| {
                line(name(&origin), origin, zone, hours, &samples, points)
            })
            .collect();
        Ok(SeriesView {
            thresholds: self.thresholds(&asked.metric),
            metric: asked.metric,
            from: from.0,
            to: to.0,
            lines,
            truncated,
        })
    }
}

impl Door {
    /// What the policy and the planner of this node compare a metric with.
    pub(super) fn thresholds(&self, metric: &str) -> Vec<SeriesThreshold> {
        let policy = self.handles.policy.current();
        let mut list = Vec::new();
        for rule in policy.rules() {
            let kinds = [
                ("interlock", &rule.interlocks),
                ("condition", &rule.conditions),
            ];
            for (of, conditions) in kinds {
                let of_metric = conditions.iter().filter(|c| c.metric == metric);
                list.extend(of_metric.map(|c| SeriesThreshold {
                    value: c.value,
                    sign: c.compare.sign().to_owned(),
                    zone: c.zone.clone(),
                    of: of.to_owned(),
                    rule: rule.name.clone(),
                }));
            }
        }
        let rules = self.handles.config.rules.iter();
        list.extend(
            rules
                .filter_map(|r| Some((r, r.watch()?)))
                .filter(|(_, watch)| watch.metric == metric)
                .map(|(r, watch)| SeriesThreshold {
                    value: watch.threshold,
                    sign: watch.comparison.sign().to_owned(),
                    zone: watch.zone.clone(),
                    of: "planner".to_owned(),
                    rule: r.name.clone(),
                }),
        );
        list
    }
}

fn line(
    origin_name: Option<String>,
    origin: String,
    zone: Option<String>,
    hours: Vec<Hour>,
    samples: &[Sample],
    points: usize,
) -> SeriesLine {
    let interval_ms = interval(samples);
    let unit = samples.last().map(|s| &s.unit);
    let unit = unit.or_else(|| hours.last().map(|h| &h.unit)).cloned();
    let in_hours = hours.iter().map(|hour| hour.count).sum();
    // Old readings have half of the points where there are new ones too.
    let room = match (hours.is_empty(), samples.is_empty()) {
        (true, _) => 0,
        (false, true) => points,
        (false, false) => points / 2,
    };
    let mut line = old_readings(hours, room, samples.first().map(|s| s.time));
    line.extend(thinned(
        samples,
        interval_ms,
        points - line.len().min(points),
    ));
    SeriesLine {
        origin,
        origin_name,
        zone,
        unit: unit.flatten(),
        interval_ms,
        samples: u64::try_from(samples.len()).unwrap_or(u64::MAX),
        in_hours,
        points: line,
    }
}
