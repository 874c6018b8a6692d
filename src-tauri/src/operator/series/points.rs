//! The points of a line: samples thinned to the smallest and the largest of each stretch, old readings as the means of
//! hours, and gaps where readings are missing.

use super::SeriesPoint;
use crate::adapters::store::history::{HOUR_MS, Hour};
use crate::adapters::store::series::Sample;
use crate::domain::base::TimeMs;

/// A silence of so many usual intervals is a gap.
const GAP_INTERVALS: u64 = 3;

/// At most `room` points: the means of old readings, of one hour or of as many as have to share a point, and one empty
/// point in each gap. `next` is the time of the sample that follows.
pub(super) fn old_readings(
    hours: Vec<Hour>,
    room: usize,
    next: Option<TimeMs>,
) -> Vec<SeriesPoint> {
    let mut merged: Vec<Hour> = Vec::new();
    for hour in hours {
        match merged.last_mut() {
            Some(last) if last.start == hour.start => add(last, &hour),
            _ => merged.push(hour),
        }
    }
    let follows = |a: &Hour, b: &Hour| b.start.since(a.start) <= HOUR_MS;
    let mut parts: Vec<&[Hour]> = merged.chunk_by(follows).collect();
    // More gaps than can be drawn: then none is.
    if parts.len() * 3 > room {
        parts = vec![&merged];
    }
    let means = room.saturating_sub(2 * parts.len()).max(1);
    let per_point = merged.len().div_ceil(means).max(1);
    let mut out: Vec<SeriesPoint> = Vec::new();
    let mut last: Option<TimeMs> = None;
    for part in parts {
        if let (Some(before), Some(first)) = (last, part.first()) {
            out.push(gap(before, first.since));
        }
        out.extend(part.chunks(per_point).filter_map(mean));
        last = part.last().map(|hour| hour.until);
    }
    if let (Some(before), Some(next)) = (last, next)
        && next.since(before) > HOUR_MS
    {
        out.push(gap(before, next));
    }
    out.truncate(room);
    out
}

/// Adds the readings of another hour; the less proven of both counts.
fn add(hour: &mut Hour, other: &Hour) {
    hour.count = hour.count.saturating_add(other.count);
    hour.total += other.total;
    hour.low = hour.low.min(other.low);
    hour.high = hour.high.max(other.high);
    hour.since = hour.since.min(other.since);
    hour.until = hour.until.max(other.until);
    hour.tier = hour.tier.min(other.tier);
    hour.signature = hour.signature.max(other.signature);
    hour.tainted |= other.tainted;
}

/// The point that stands for these hours, in their middle.
fn mean(hours: &[Hour]) -> Option<SeriesPoint> {
    let (first, rest) = hours.split_first()?;
    let mut all = first.clone();
    rest.iter().for_each(|hour| add(&mut all, hour));
    #[allow(clippy::cast_precision_loss)]
    // A count of readings; a mean needs no more than 53 bits of it.
    let mean = all.total / all.count.max(1) as f64;
    Some(SeriesPoint {
        time: all.since.0 + all.until.since(all.since) / 2,
        value: mean.is_finite().then_some(mean),
        low: Some(all.low),
        high: Some(all.high),
        count: Some(all.count),
        tier: Some(all.tier.into()),
        signature: Some(all.signature),
        tainted: all.tainted,
    })
}

/// An empty point between two times.
fn gap(before: TimeMs, next: TimeMs) -> SeriesPoint {
    SeriesPoint {
        time: before.0 + next.since(before) / 2,
        value: None,
        low: None,
        high: None,
        count: None,
        tier: None,
        signature: None,
        tainted: false,
    }
}

/// The median time between samples.
pub(super) fn interval(samples: &[Sample]) -> Option<u64> {
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
pub(super) fn thinned(
    samples: &[Sample],
    interval_ms: Option<u64>,
    points: usize,
) -> Vec<SeriesPoint> {
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
            out.push(gap(before.time, next.time));
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
        low: None,
        high: None,
        count: None,
        tier: Some(s.tier.into()),
        signature: Some(s.signature),
        tainted: s.tainted,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;
    use crate::domain::base::SignatureState;
    use crate::domain::base::Tier;

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

    fn hour(start: u64, count: u64, low: f64, high: f64) -> Hour {
        Hour {
            start: TimeMs(start * HOUR_MS),
            since: TimeMs(start * HOUR_MS),
            until: TimeMs(start * HOUR_MS + HOUR_MS - 1_000),
            count,
            low,
            high,
            total: low * count as f64,
            tier: Tier::T2,
            signature: SignatureState::Verified,
            tainted: false,
            origin: String::new(),
            zone: None,
            unit: None,
        }
    }

    #[test]
    fn old_readings_are_means_with_their_extremes_within_the_room() {
        let mut hours: Vec<Hour> = (0..1_000).map(|n| hour(n, 60, 5.0, 5.0)).collect();
        hours[321].high = 99.0;
        hours[777].low = -3.0;
        for room in [1, 2, 10, 100, 1_000, 3_000] {
            let points = old_readings(hours.clone(), room, None);
            assert!(points.len() <= room, "{room}: {}", points.len());
            assert!(points.is_sorted_by_key(|p| p.time), "{room}");
            let count: u64 = points.iter().filter_map(|p| p.count).sum();
            let high = points.iter().filter_map(|p| p.high).fold(0.0, f64::max);
            let low = points.iter().filter_map(|p| p.low).fold(0.0, f64::min);
            assert_eq!((count, high, low), (60_000, 99.0, -3.0), "{room}");
        }
    }

    #[test]
    fn hours_of_two_tiers_are_one_point_of_the_lower_one() {
        let low = Hour {
            tier: Tier::T1,
            tainted: true,
            ..hour(0, 1, 1.0, 1.0)
        };
        let points = old_readings(vec![hour(0, 3, 5.0, 7.0), low], 10, None);
        let [point] = points.as_slice() else {
            panic!("{points:?}")
        };
        assert_eq!((point.count, point.value), (Some(4), Some(4.0)));
        assert_eq!((point.low, point.high), (Some(1.0), Some(7.0)));
        assert_eq!((point.tier, point.tainted), (Some(Tier::T1.into()), true));
    }

    #[test]
    fn a_missing_hour_is_a_gap_also_before_the_first_sample() {
        let hours = vec![
            hour(0, 1, 1.0, 1.0),
            hour(1, 1, 1.0, 1.0),
            hour(5, 1, 1.0, 1.0),
        ];
        let gaps = |next: u64| {
            let points = old_readings(hours.clone(), 100, Some(TimeMs(next * HOUR_MS)));
            points.iter().filter(|p| p.value.is_none()).count()
        };
        assert_eq!((gaps(6), gaps(9)), (1, 2));
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
