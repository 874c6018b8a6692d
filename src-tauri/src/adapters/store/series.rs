//! Questions about the frame log that the console asks: who is there, and one metric over time.

use rusqlite::{Connection, named_params};

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
    /// What is known of its signature.
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
/// Whatever SQLite says.
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

/// Samples of a metric, oldest first; the newest of them where there are more than the limit.
///
/// # Errors
/// Whatever SQLite says.
pub fn samples(conn: &Connection, filter: &SeriesFilter) -> Result<Vec<Sample>, StoreError> {
    let sql = "SELECT f.time, json_extract(f.json, '$.data.value'), f.effective_tier, f.signature, f.tainted,
                      d.device_id, json_extract(f.json, '$.data.zone'), json_extract(f.json, '$.data.unit')
               FROM frames f INDEXED BY frames_series JOIN devices d ON d.id = f.origin
               WHERE f.kind = 'observation' AND json_extract(f.json, '$.data.metric') = :metric
                 AND f.time BETWEEN :from AND :to
                 AND json_type(f.json, '$.data.value') IN ('integer', 'real', 'true', 'false')
                 AND (:origin IS NULL OR d.device_id = :origin)
                 AND (:zone IS NULL OR json_extract(f.json, '$.data.zone') = :zone)
               ORDER BY f.time DESC LIMIT :limit";
    let mut query = conn.prepare_cached(sql)?;
    let rows = query.query_map(
        named_params! {
            ":metric": filter.metric, ":from": filter.from.to_i64(), ":to": filter.to.to_i64(),
            ":origin": filter.origin.as_ref().map(DeviceId::as_str), ":zone": filter.zone,
            ":limit": row::limit(filter.limit),
        },
        |r| {
            Ok(Sample {
                time: TimeMs::from_i64(r.get(0)?),
                value: r.get(1)?,
                tier: Tier::from_rank(r.get(2)?),
                signature: row::signature(r, 3)?,
                tainted: r.get(4)?,
                origin: r.get(5)?,
                zone: r.get(6).ok(),
                unit: r.get(7).ok(),
            })
        },
    )?;
    let mut samples = rows.collect::<Result<Vec<_>, _>>()?;
    samples.reverse();
    Ok(samples)
}
