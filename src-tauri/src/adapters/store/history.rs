//! Old readings by the hour. When the frames of readings are pruned, what they measured is added up here: how many
//! there were in each hour, the smallest, the largest and the sum. Only readings whose origin is proven count, and
//! each device has a number of series and hours of its own. Local to this node: nothing here is signed or offered.

use std::collections::BTreeMap;

use rusqlite::{Connection, OptionalExtension as _};
use serde::Deserialize;

use super::frames::{self, StoredFrame};
use super::room::{self, For};
use super::series::SeriesFilter;
use super::{StoreError, row};
use crate::domain::base::limits::{
    AGED_AT_ONCE_MS, HISTORY_HOURS_MAX, HISTORY_HOURS_PER_DEVICE, HISTORY_SERIES_PER_DEVICE,
};
use crate::domain::base::{DeviceId, Tier, TimeMs};
use crate::domain::wire::FrameKind;
use crate::domain::world::SignatureState;

/// The length of an hour, in milliseconds.
pub const HOUR_MS: u64 = 3_600_000;

/// The readings of one hour of one device in one zone.
#[derive(Debug, Clone, PartialEq)]
pub struct Hour {
    /// When the hour began.
    pub start: TimeMs,
    /// When the first of these readings was made.
    pub since: TimeMs,
    /// When the last of them was made.
    pub until: TimeMs,
    /// How many readings there were.
    pub count: u64,
    /// The smallest value.
    pub low: f64,
    /// The largest value.
    pub high: f64,
    /// The sum of the values.
    pub total: f64,
    /// The tier that this node vouched for.
    pub tier: Tier,
    /// State of their signatures.
    pub signature: SignatureState,
    /// Whether a model had a part in them.
    pub tainted: bool,
    /// The device they came from.
    pub origin: String,
    /// Where.
    pub zone: Option<String>,
    /// In which unit.
    pub unit: Option<String>,
}

/// The part of a reading's text that is added up.
#[derive(Deserialize)]
struct Reading {
    data: Data,
}

#[derive(Deserialize)]
struct Data {
    metric: String,
    value: Measured,
    #[serde(default)]
    zone: Option<String>,
    #[serde(default)]
    unit: Option<String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Measured {
    Number(f64),
    Switch(bool),
}

/// Which series, as the table has it.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    origin: DeviceId,
    metric: String,
    zone: String,
    unit: String,
    tier: Tier,
    signature: SignatureState,
    tainted: bool,
}

/// The readings of one hour, added up.
struct Sum {
    count: i64,
    low: f64,
    high: f64,
    total: f64,
    since: i64,
    until: i64,
}

impl Sum {
    fn of(value: f64, at: i64) -> Self {
        Self {
            count: 1,
            low: value,
            high: value,
            total: value,
            since: at,
            until: at,
        }
    }

    fn add(&mut self, other: &Self) {
        self.count = self.count.saturating_add(other.count);
        self.low = self.low.min(other.low);
        self.high = self.high.max(other.high);
        self.total += other.total;
        self.since = self.since.min(other.since);
        self.until = self.until.max(other.until);
    }
}

/// Adds up the readings among the frames at these places, which are about to be removed. Where there is no room
/// left that frames may use, nothing is added.
///
/// # Errors
/// Any SQLite error.
pub(super) fn absorb(conn: &Connection, places: &[i64]) -> Result<(), StoreError> {
    if places.is_empty() || room::left(conn, For::Peers)? == 0 {
        return Ok(());
    }
    let mut sums: BTreeMap<Key, BTreeMap<i64, Sum>> = BTreeMap::new();
    for place in places {
        let place = u64::try_from(*place).unwrap_or_default();
        // A row that does not read is removed like the others, and counts for nothing.
        let Ok(Some(stored)) = frames::by_seq(conn, place) else {
            continue;
        };
        let Some((key, hour, sum)) = measured(stored) else {
            continue;
        };
        let hours = sums.entry(key).or_default();
        hours
            .entry(hour)
            .and_modify(|known| known.add(&sum))
            .or_insert(sum);
    }
    let mut grown: Vec<i64> = Vec::new();
    for (key, hours) in sums {
        let Some(origin) = frames::known_device(conn, &key.origin)? else {
            continue;
        };
        let Some(series) = series(conn, origin, &key)? else {
            continue;
        };
        let mut fresh = 0;
        for (hour, sum) in hours {
            fresh += i64::from(add(conn, series, hour, sum)?);
        }
        if fresh > 0 {
            conn.prepare_cached("UPDATE history_series SET hours = hours + ?2 WHERE id = ?1")?
                .execute((series, fresh))?;
            grown.push(origin);
        }
    }
    grown.sort_unstable();
    grown.dedup();
    grown
        .into_iter()
        .try_for_each(|origin| within(conn, origin))
}

/// What a stored frame adds, and to which hour; `None` where it is no reading of a number by a proven origin.
fn measured(stored: StoredFrame) -> Option<(Key, i64, Sum)> {
    let proven = stored.link_peer.is_none() || stored.signature != SignatureState::Unverifiable;
    if stored.kind != FrameKind::Observation || !proven {
        return None;
    }
    let Reading { data } = serde_json::from_str(&stored.json).ok()?;
    let value = match data.value {
        Measured::Number(value) if value.is_finite() => value,
        Measured::Number(_) => return None,
        Measured::Switch(on) => f64::from(u8::from(on)),
    };
    let key = Key {
        origin: stored.origin,
        metric: data.metric,
        zone: data.zone.unwrap_or_default(),
        unit: data.unit.unwrap_or_default(),
        tier: stored.effective_tier,
        signature: stored.signature,
        tainted: stored.tainted,
    };
    let hour = row::number(stored.time.0 / HOUR_MS);
    Some((
        key,
        hour,
        Sum::of(value, row::number(stored.time.0 % HOUR_MS)),
    ))
}

/// The number of a series, given on first sight; `None` where its device has as many as it may.
fn series(conn: &Connection, origin: i64, key: &Key) -> Result<Option<i64>, StoreError> {
    let signature = row::signature_number(key.signature);
    let same = "metric = ?2 AND origin = ?1 AND zone = ?3 AND unit = ?4 AND tier = ?5 AND signature = ?6 AND tainted = ?7";
    let values = (
        origin,
        &key.metric,
        &key.zone,
        &key.unit,
        key.tier.rank(),
        signature,
        key.tainted,
    );
    let sql = format!("SELECT id FROM history_series WHERE {same}");
    let known = conn
        .prepare_cached(&sql)?
        .query_row(values, |r| r.get(0))
        .optional()?;
    if known.is_some() {
        return Ok(known);
    }
    let sql = "SELECT count(*) FROM history_series WHERE origin = ?1";
    let count = conn
        .prepare_cached(sql)?
        .query_row([origin], |r| row::count(r, 0))?;
    if count >= HISTORY_SERIES_PER_DEVICE {
        return Ok(None);
    }
    let sql = "INSERT INTO history_series (origin, metric, zone, unit, tier, signature, tainted)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
    Ok(Some(conn.prepare_cached(sql)?.insert(values)?))
}

/// Adds to an hour; whether it is a new one.
fn add(conn: &Connection, series: i64, hour: i64, mut sum: Sum) -> Result<bool, StoreError> {
    let sql =
        "SELECT count, low, high, total, since, until FROM history WHERE series = ?1 AND hour = ?2";
    let known = conn
        .prepare_cached(sql)?
        .query_row((series, hour), |r| {
            Ok(Sum {
                count: r.get(0)?,
                low: r.get(1)?,
                high: r.get(2)?,
                total: r.get(3)?,
                since: r.get(4)?,
                until: r.get(5)?,
            })
        })
        .optional()?;
    let fresh = known.is_none();
    if let Some(known) = known {
        sum.add(&known);
    }
    let sql = "INSERT INTO history (series, hour, count, low, high, total, since, until)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
        ON CONFLICT (series, hour) DO UPDATE SET count = excluded.count, low = excluded.low, high = excluded.high,
            total = excluded.total, since = excluded.since, until = excluded.until";
    conn.prepare_cached(sql)?.execute((
        series, hour, sum.count, sum.low, sum.high, sum.total, sum.since, sum.until,
    ))?;
    Ok(fresh)
}

/// Brings a device back within its number of hours: the series that has most of them loses its oldest.
fn within(conn: &Connection, origin: i64) -> Result<(), StoreError> {
    loop {
        let sql = "SELECT sum(hours) FROM history_series WHERE origin = ?1";
        let all = conn
            .prepare_cached(sql)?
            .query_row([origin], |r| row::count(r, 0))?;
        let over = all.saturating_sub(HISTORY_HOURS_PER_DEVICE);
        if over == 0 {
            return Ok(());
        }
        let sql = "SELECT id FROM history_series WHERE origin = ?1 ORDER BY hours DESC LIMIT 1";
        let series: i64 = conn
            .prepare_cached(sql)?
            .query_row([origin], |r| r.get(0))?;
        let sql = "DELETE FROM history WHERE series = ?1 AND hour IN
            (SELECT hour FROM history WHERE series = ?1 ORDER BY hour LIMIT ?2)";
        let gone = conn
            .prepare_cached(sql)?
            .execute((series, row::number(over)))?;
        if !fewer(conn, series, gone)? {
            return Ok(());
        }
    }
}

/// Counts hours of a series that were removed; whether there were any.
fn fewer(conn: &Connection, series: i64, gone: usize) -> Result<bool, StoreError> {
    if gone == 0 {
        return Ok(false);
    }
    conn.prepare_cached("UPDATE history_series SET hours = hours - ?2 WHERE id = ?1")?
        .execute((series, row::limit(gone)))?;
    conn.prepare_cached("DELETE FROM history_series WHERE id = ?1 AND hours <= 0")?
        .execute([series])?;
    Ok(true)
}

/// Removes the hours that began before `cutoff`, at most [`AGED_AT_ONCE_MS`] beyond the oldest. Returns how many went.
///
/// # Errors
/// Any SQLite error.
pub fn prune(conn: &Connection, cutoff: TimeMs) -> Result<u64, StoreError> {
    let sql =
        "SELECT min((SELECT min(hour) FROM history WHERE series = s.id)) FROM history_series s";
    let oldest: Option<i64> = conn.prepare_cached(sql)?.query_row([], |r| r.get(0))?;
    let Some(oldest) = oldest else { return Ok(0) };
    let most = TimeMs(u64::try_from(oldest).unwrap_or(0).saturating_mul(HOUR_MS));
    let cutoff = cutoff.min(most.plus(AGED_AT_ONCE_MS));
    let mut query = conn.prepare_cached("SELECT id FROM history_series")?;
    let all = query.query_map([], |r| r.get::<_, i64>(0))?;
    let all: Vec<i64> = all.collect::<Result<_, _>>()?;
    let before = row::number(cutoff.0 / HOUR_MS);
    let mut delete = conn.prepare_cached("DELETE FROM history WHERE series = ?1 AND hour < ?2")?;
    let mut removed = 0;
    for series in all {
        let gone = delete.execute((series, before))?;
        fewer(conn, series, gone)?;
        removed += u64::try_from(gone).unwrap_or(0);
    }
    Ok(removed)
}

/// The hours of a metric in the span of the filter, oldest first, at most [`HISTORY_HOURS_MAX`] of them, the newest.
/// What was pruned of one hour at different tiers comes as several.
///
/// # Errors
/// Any SQLite error.
pub fn hours(conn: &Connection, filter: &SeriesFilter) -> Result<Vec<Hour>, StoreError> {
    let sql = "SELECT h.hour, h.since, h.until, h.count, h.low, h.high, h.total, s.tier, s.signature, s.tainted, o.device_id,
            nullif(s.zone, ''), nullif(s.unit, '')
        FROM history_series s JOIN history h ON h.series = s.id JOIN devices o ON o.id = s.origin
        WHERE s.metric = ?1 AND h.hour BETWEEN ?2 / 3600000 AND ?3 / 3600000
            AND h.hour * 3600000 + h.until >= ?2 AND h.hour * 3600000 + h.since <= ?3 AND (?4 IS NULL OR o.device_id = ?4)
            AND (?5 IS NULL OR s.zone = ?5)
        ORDER BY h.hour DESC LIMIT ?6";
    let mut query = conn.prepare_cached(sql)?;
    let values = (
        &filter.metric,
        filter.from.to_i64(),
        filter.to.to_i64(),
        filter.origin.as_ref().map(DeviceId::as_str),
        &filter.zone,
        row::limit(HISTORY_HOURS_MAX),
    );
    let rows = query.query_map(values, |found| {
        let start = row::count(found, 0)?.saturating_mul(HOUR_MS);
        Ok(Hour {
            start: TimeMs(start),
            since: TimeMs(start.saturating_add(row::count(found, 1)?)),
            until: TimeMs(start.saturating_add(row::count(found, 2)?)),
            count: row::count(found, 3)?,
            low: found.get(4)?,
            high: found.get(5)?,
            total: found.get(6)?,
            tier: Tier::from_rank(found.get(7)?),
            signature: row::signature(found, 8)?,
            tainted: found.get(9)?,
            origin: found.get(10)?,
            zone: found.get(11)?,
            unit: found.get(12)?,
        })
    })?;
    let mut hours: Vec<Hour> = rows.collect::<Result<_, _>>()?;
    hours.reverse();
    Ok(hours)
}
