//! Questions about the frame log that the console asks: who is there, and one metric over time.

use rusqlite::Connection;
use serde_json::Value;

use super::frames::{self, StoredFrame};
use super::{StoreError, row};
use crate::domain::base::{DeviceId, Tier, TimeMs};
use crate::domain::world::SignatureState;

/// Which samples.
#[derive(Debug, Clone)]
pub struct SeriesFilter {
    /// Of this metric.
    pub metric: String,
    /// In this zone; `None` takes every zone.
    pub zone: Option<String>,
    /// From this device; `None` takes every one.
    pub origin: Option<DeviceId>,
    /// Not older than this.
    pub from: TimeMs,
    /// Not newer than this.
    pub to: TimeMs,
    /// At most so many, the newest.
    pub limit: usize,
}

/// One sample of a metric, as stored.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// When.
    pub time: TimeMs,
    /// How much.
    pub value: f64,
    /// The tier this node vouches for.
    pub tier: Tier,
    /// State of its signature.
    pub signature: SignatureState,
    /// Whether a model had a part in it.
    pub tainted: bool,
    /// The device it came from.
    pub origin: String,
    /// Where.
    pub zone: Option<String>,
    /// In which unit.
    pub unit: Option<String>,
}

/// The place of the newest presence of each device.
pub(super) const NEWEST_PRESENCE: &str = "SELECT coalesce(
       (SELECT MAX(f.seq) FROM frames f WHERE f.origin = d.id AND f.kind = 'capability_update' AND f.signature < 2),
       (SELECT MAX(f.seq) FROM frames f WHERE f.origin = d.id AND f.kind = 'capability_update')) AS newest
     FROM devices d WHERE newest IS NOT NULL LIMIT ?1";

/// The newest presence of each device, in no order: the newest that is proven, where one is.
///
/// # Errors
/// Any SQLite error.
pub fn newest_presence(conn: &Connection, limit: usize) -> Result<Vec<StoredFrame>, StoreError> {
    let mut query = conn.prepare_cached(NEWEST_PRESENCE)?;
    let places = query.query_map([row::limit(limit)], |r| r.get::<_, i64>(0))?;
    let mut found = Vec::new();
    for place in places {
        let seq = u64::try_from(place?).unwrap_or_default();
        found.extend(frames::by_seq(conn, seq)?);
    }
    Ok(found)
}

/// Of observations whose text is packed: their row says the metric.
pub(super) fn of_packed() -> String {
    format!(
        "{} WHERE f.metric = ?1 AND f.time BETWEEN ?2 AND ?3 AND (?4 IS NULL OR o.device_id = ?4) ORDER BY f.time DESC",
        frames::SELECT.replace("FROM frames f", "FROM frames f INDEXED BY frames_time")
    )
}

/// Of the others: their text does.
pub(super) fn of_text() -> String {
    format!(
        "{} WHERE f.kind = 'observation' AND json_extract(f.json, '$.data.metric') = ?1 AND f.time BETWEEN ?2 AND ?3
         AND (?4 IS NULL OR o.device_id = ?4) ORDER BY f.time DESC",
        frames::SELECT.replace("FROM frames f", "FROM frames f INDEXED BY frames_series")
    )
}

/// Samples of a metric, oldest first; the newest of them where there are more than the limit.
///
/// # Errors
/// Any SQLite error.
pub fn samples(conn: &Connection, filter: &SeriesFilter) -> Result<Vec<Sample>, StoreError> {
    let mut samples = Vec::new();
    for sql in [of_packed(), of_text()] {
        let mut query = conn.prepare_cached(&sql)?;
        let origin = filter.origin.as_ref().map(DeviceId::as_str);
        let (from, to) = (filter.from.to_i64(), filter.to.to_i64());
        let rows = query.query_map((&filter.metric, from, to, origin), frames::read)?;
        let rows = rows.filter_map(|stored| stored.map(|s| sample(s, filter)).transpose());
        samples.extend(rows.take(filter.limit).collect::<Result<Vec<_>, _>>()?);
    }
    samples.sort_by_key(|sample| std::cmp::Reverse(sample.time));
    samples.truncate(filter.limit);
    samples.reverse();
    Ok(samples)
}

/// The sample of a frame; `None` where it is no number, or not in the zone that is asked for.
fn sample(stored: StoredFrame, filter: &SeriesFilter) -> Option<Sample> {
    let frame: Value = serde_json::from_str(&stored.json).ok()?;
    let data = frame.get("data")?;
    let text = |name: &str| data.get(name).and_then(Value::as_str).map(str::to_owned);
    let value = match data.get("value")? {
        Value::Bool(on) => f64::from(u8::from(*on)),
        value => value.as_f64()?,
    };
    let zone = text("zone");
    let elsewhere = filter.zone.is_some() && zone != filter.zone;
    (!elsewhere).then(|| Sample {
        time: stored.time,
        value,
        tier: stored.effective_tier,
        signature: stored.signature,
        tainted: stored.tainted,
        origin: stored.origin.as_str().to_owned(),
        zone,
        unit: text("unit"),
    })
}
