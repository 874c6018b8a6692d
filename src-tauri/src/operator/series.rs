//! One metric over time, for a chart: the samples of the frame log, thinned to the smallest and the
//! largest of each stretch, with gaps where readings are missing.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Answer, Door};
use crate::adapters::store::series::{self, Sample, SeriesFilter};
use crate::domain::base::limits::{SERIES_POINTS_MAX, SERIES_SAMPLES_MAX, SERIES_SPAN_DEFAULT_MS};
use crate::domain::base::{Code, DeviceId, Refusal, SignatureState, TierName, TimeMs};

/// Points of a series where nobody asks for more.
const POINTS_DEFAULT: usize = 500;
/// A silence of so many usual intervals is a gap.
const GAP_INTERVALS: u64 = 3;

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
    /// How many samples there are before thinning.
    pub samples: u64,
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

/// A point of a series: a sample, or a gap.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct SeriesPoint {
    /// When, in milliseconds since 1970.
    pub time: u64,
    /// How much; absent in a gap.
    pub value: Option<f64>,
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
        let samples = self
            .read("series", move |c| series::samples(c, &filter))
            .await?;
        let truncated = samples.len() >= SERIES_SAMPLES_MAX;
        let mut lines: BTreeMap<(String, Option<String>), Vec<Sample>> = BTreeMap::new();
        for sample in samples {
            lines
                .entry((sample.origin.clone(), sample.zone.clone()))
                .or_default()
                .push(sample);
        }
        let names = self.names();
        let name = |id: &str| names.get(&id.parse::<DeviceId>().ok()?).cloned();
        let lines = lines
            .into_iter()
            .map(|((origin, zone), samples)| line(name(&origin), origin, zone, &samples, points))
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
    samples: &[Sample],
    points: usize,
) -> SeriesLine {
    let interval_ms = interval(samples);
    SeriesLine {
        origin,
        origin_name,
        zone,
        unit: samples.last().and_then(|s| s.unit.clone()),
        interval_ms,
        samples: u64::try_from(samples.len()).unwrap_or(u64::MAX),
        points: thinned(samples, interval_ms, points),
    }
}

/// The median time between samples.
fn interval(samples: &[Sample]) -> Option<u64> {
    let mut steps: Vec<u64> = samples
        .windows(2)
        .filter_map(|pair| Some(pair.get(1)?.time.since(pair.first()?.time)))
        .filter(|ms| *ms > 0)
        .collect();
    steps.sort_unstable();
    (steps.len() >= 2).then(|| steps.get(steps.len() / 2).copied())?
}

/// The samples in stretches without gaps.
fn stretches(samples: &[Sample], interval_ms: Option<u64>) -> Vec<&[Sample]> {
    let most = interval_ms.map_or(u64::MAX, |ms| ms.saturating_mul(GAP_INTERVALS));
    samples
        .chunk_by(|a, b| b.time.since(a.time) <= most)
        .collect()
}

/// At most `points` points: of each bucket the smallest and the largest, in the order they came, and
/// one empty point in each gap.
fn thinned(samples: &[Sample], interval_ms: Option<u64>, points: usize) -> Vec<SeriesPoint> {
    let mut parts = stretches(samples, interval_ms);
    // More gaps than can be drawn: then none is.
    if parts.len() * 3 > points {
        parts = vec![samples];
    }
    let room = points.saturating_sub(parts.len()).max(2);
    let per_bucket = samples
        .len()
        .div_ceil((room / 2).saturating_sub(parts.len()).max(1))
        .max(1);
    let mut out: Vec<SeriesPoint> = Vec::new();
    let mut last: Option<&Sample> = None;
    for part in parts {
        if let (Some(before), Some(next)) = (last, part.first()) {
            out.push(SeriesPoint {
                time: before.time.0 + next.time.since(before.time) / 2,
                value: None,
                tier: None,
                signature: None,
                tainted: false,
            });
        }
        if samples.len() <= room {
            out.extend(part.iter().map(point));
        } else {
            part.chunks(per_bucket).for_each(|c| bucket(c, &mut out));
        }
        last = part.last();
    }
    out
}

fn bucket(samples: &[Sample], out: &mut Vec<SeriesPoint>) {
    let by_value = |a: &&Sample, b: &&Sample| a.value.total_cmp(&b.value);
    let (Some(low), Some(high)) = (
        samples.iter().min_by(by_value),
        samples.iter().max_by(by_value),
    ) else {
        return;
    };
    let (first, second) = if high.time < low.time {
        (high, low)
    } else {
        (low, high)
    };
    out.push(point(first));
    if second.time != first.time {
        out.push(point(second));
    }
}

fn point(s: &Sample) -> SeriesPoint {
    SeriesPoint {
        time: s.time.0,
        value: s.value.is_finite().then_some(s.value),
        tier: Some(s.tier.into()),
        signature: Some(s.signature),
        tainted: s.tainted,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;
    use crate::domain::base::Tier;
    use crate::domain::world::SignatureState;

    fn sample(time: u64, value: f64) -> Sample {
        Sample {
            time: TimeMs(time),
            value,
            tier: Tier::T2,
            signature: SignatureState::Verified,
            tainted: false,
            origin: String::new(),
            zone: None,
            unit: None,
        }
    }

    #[test]
    fn thinning_keeps_the_peaks_and_the_number() {
        let mut samples: Vec<Sample> = (0..10_000).map(|n| sample(n * 1_000, 5.0)).collect();
        samples[4_321].value = 99.0;
        samples[7_777].value = -3.0;
        for points in [2, 10, 100, 2_000] {
            let thin = thinned(&samples, interval(&samples), points);
            assert!(thin.len() <= points, "{points}: {}", thin.len());
            let values: Vec<f64> = thin.iter().filter_map(|p| p.value).collect();
            assert!(values.contains(&99.0) && values.contains(&-3.0), "{points}");
            assert!(thin.is_sorted_by_key(|p| p.time));
        }
        assert_eq!(thinned(&samples[..50], Some(1_000), 500).len(), 50);
        assert!(thinned(&[], None, 10).is_empty());
    }

    #[test]
    fn a_silence_is_a_gap_and_not_a_line() {
        let times = [0, 1_000, 2_000, 3_000, 60_000, 61_000, 62_000];
        let samples: Vec<Sample> = times.iter().map(|t| sample(*t, 1.0)).collect();
        assert_eq!(interval(&samples), Some(1_000));
        let points = thinned(&samples, interval(&samples), 100);
        let gaps: Vec<u64> = points
            .iter()
            .filter(|p| p.value.is_none())
            .map(|p| p.time)
            .collect();
        assert_eq!((points.len(), gaps), (8, vec![31_500]));
    }
}
