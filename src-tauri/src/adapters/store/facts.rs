//! Facts: the newest value of each metric, zone and origin, projected from the frame log.

use std::collections::BTreeSet;

use rusqlite::{Connection, Row, params};

use super::frames::{self, StoredFrame};
use super::{StoreError, named, row};
use crate::domain::base::limits::{AHEAD_BEHIND_MS, FRAME_FUTURE_MAX_MS};
use crate::domain::base::{DeviceId, Digest, FrameId, Hlc, Taint, Tier, TimeMs};
use crate::domain::world::{Fact, Moment, SignatureState};

/// A reading as it is stored; `value` and `text` exclude each other.
#[derive(Debug, Clone, PartialEq)]
pub struct FactRow {
    /// The metric.
    pub metric: String,
    /// Where, if the origin named a zone.
    pub zone: Option<String>,
    /// The device that sensed it.
    pub origin: DeviceId,
    /// The value, in `unit`.
    pub value: Option<f64>,
    /// The value, where it is a text.
    pub text: Option<String>,
    /// The unit as the origin wrote it.
    pub unit: Option<String>,
    /// The place in the log of the frame that carried it.
    pub frame_seq: u64,
    /// The frame that carried it.
    pub frame_id: FrameId,
    /// That frame's content hash.
    pub content: Digest,
    /// The tier its origin claimed.
    pub claimed: Tier,
    /// The tier this node can vouch for.
    pub effective: Tier,
    /// State of the origin's signature.
    pub signature: SignatureState,
    /// Whether a model had a part in it.
    pub tainted: bool,
    /// When it was sensed, as far as we believe it.
    pub time: TimeMs,
    /// The origin's logical time.
    pub hlc: Option<Hlc>,
    /// When this node first had it, by its steady clock (see [`Moment`]); earlier by the age that it says it had when it was told.
    pub received_at: TimeMs,
    /// Whether it is private: its origin marked it, or it is this node's own and labelled so.
    pub private: bool,
}

/// A reading about to be stored.
pub type NewFact = FactRow;

impl FactRow {
    /// How old the reading is at a moment, in milliseconds.
    pub fn age_ms(&self, at: Moment) -> u64 {
        at.age_ms(self.time, self.received_at)
    }

    /// The fact as policy and planner see it at a moment; `None` for a text.
    pub fn to_fact(self, at: Moment) -> Option<Fact> {
        let value = self.value?;
        let sensed_at = TimeMs(at.wall.0.saturating_sub(self.age_ms(at)));
        let taint = if self.tainted {
            BTreeSet::from([Taint::Llm])
        } else {
            BTreeSet::new()
        };
        Some(Fact {
            metric: self.metric,
            zone: self.zone,
            origin: self.origin,
            value,
            unit: self.unit,
            frame_id: self.frame_id,
            content: self.content,
            claimed: self.claimed,
            effective: self.effective,
            signature: self.signature,
            taint,
            sensed_at,
            received_at: self.received_at,
            private: self.private,
        })
    }
}

/// The time by which the newer of two readings is chosen. Comparing logical times where both have one and wall
/// times otherwise would run in circles (A before B before C before A), so a reading without a logical time
/// counts as one made at its believed time. A logical time too far ahead of the believed time is not believed
/// either.
fn lead(new: &NewFact) -> Hlc {
    let believed = |hlc: &Hlc| hlc.wall() <= new.time.plus(FRAME_FUTURE_MAX_MS);
    new.hlc
        .filter(believed)
        .unwrap_or_else(|| Hlc::new(new.time, 0))
}

/// Takes a reading if it is newer than the one that stands; whether it was taken. Of any set of readings the
/// same one stands in the end, whatever the order they came in: the newest of those that are best proven, so
/// that no other device speaks for one that signs. `now` is the wall clock's time: a standing reading from
/// further ahead than clocks may differ gives way to any that is not.
///
/// # Errors
/// Any SQLite error.
pub fn upsert(conn: &Connection, new: &NewFact, now: TimeMs) -> Result<bool, StoreError> {
    upsert_charged(conn, new, &new.origin, lead(new), now)
}

/// As [`upsert`], of a reading that claimed to be from so far ahead that it is not believed: it never
/// takes the place of one that is.
///
/// # Errors
/// Any SQLite error.
pub fn upsert_ahead(
    conn: &Connection,
    new: &NewFact,
    charged: &DeviceId,
    now: TimeMs,
) -> Result<bool, StoreError> {
    let behind = TimeMs(new.time.0.saturating_sub(AHEAD_BEHIND_MS));
    upsert_charged(conn, new, charged, Hlc::new(behind, 0), now)
}

/// As [`upsert`], of a reading that uses the share of `charged`.
///
/// # Errors
/// Any SQLite error.
pub fn upsert_for(
    conn: &Connection,
    new: &NewFact,
    charged: &DeviceId,
    now: TimeMs,
) -> Result<bool, StoreError> {
    upsert_charged(conn, new, charged, lead(new), now)
}

/// Whether a reading of this metric, zone and origin stands.
///
/// # Errors
/// Any SQLite error.
pub fn stands(conn: &Connection, new: &NewFact) -> Result<bool, StoreError> {
    let sql = "SELECT EXISTS (SELECT 1 FROM facts WHERE metric = ?1 AND zone = ?2
        AND origin = (SELECT id FROM devices WHERE device_id = ?3))";
    let key = (
        new.metric.as_str(),
        new.zone.as_deref().unwrap_or(""),
        new.origin.as_str(),
    );
    let mut query = conn.prepare_cached(sql)?;
    Ok(query.query_row(key, |r| r.get(0))?)
}

fn upsert_charged(
    conn: &Connection,
    new: &NewFact,
    charged: &DeviceId,
    lead: Hlc,
    now: TimeMs,
) -> Result<bool, StoreError> {
    let origin = frames::device(conn, &new.origin)?;
    let charged = match *charged == new.origin {
        true => origin,
        false => frames::device(conn, charged)?,
    };
    let changed = conn
        .prepare_cached(
            "INSERT INTO facts (origin, metric, zone, value, text, unit, frame_seq, frame_id, content, claimed,
                effective, signature, tainted, time, hlc, received_at, lead, charged, private)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?19, ?20)
             ON CONFLICT (metric, zone, origin) DO UPDATE SET
                value = excluded.value, text = excluded.text, unit = excluded.unit, frame_seq = excluded.frame_seq,
                frame_id = excluded.frame_id, content = excluded.content, claimed = excluded.claimed,
                effective = excluded.effective, signature = excluded.signature, tainted = excluded.tainted,
                time = excluded.time, hlc = excluded.hlc, received_at = excluded.received_at, lead = excluded.lead,
                charged = excluded.charged, private = excluded.private
             WHERE excluded.signature < facts.signature
                OR (excluded.signature = facts.signature AND (
                    ((excluded.lead, excluded.content) > (facts.lead, facts.content)
                     AND (excluded.lead <= ?18 OR facts.lead > ?18))
                    OR (facts.lead > ?18 AND excluded.lead <= ?18)))",
        )?
        .execute(params![
            origin,
            new.metric,
            new.zone.as_deref().unwrap_or(""),
            new.value,
            new.text,
            new.unit,
            row::number(new.frame_seq),
            named::short(&new.frame_id),
            new.content.0,
            new.claimed.rank(),
            new.effective.rank(),
            row::signature_number(new.signature),
            new.tainted,
            new.time.to_i64(),
            new.hlc.map(Hlc::to_i64),
            new.received_at.to_i64(),
            lead.to_i64(),
            // A reading that was taken while this node's clock was ahead must not stand until that time comes.
            Hlc::new(now.plus(FRAME_FUTURE_MAX_MS), u16::MAX).to_i64(),
            charged,
            new.private,
        ])?;
    Ok(changed > 0)
}

const SELECT: &str = "SELECT metric, zone, device_id, value, text, unit, frame_seq, frame_id, content, claimed, effective,
    signature, tainted, time, hlc, received_at, private FROM facts CROSS JOIN devices ON id = origin";

fn read(found: &Row<'_>) -> rusqlite::Result<FactRow> {
    let zone: String = found.get(1)?;
    Ok(FactRow {
        metric: found.get(0)?,
        zone: Some(zone).filter(|z| !z.is_empty()),
        origin: row::parsed(found, 2)?,
        value: found.get(3)?,
        text: found.get(4)?,
        unit: found.get(5)?,
        frame_seq: row::count(found, 6)?,
        frame_id: named::read(found, 7)?,
        content: row::digest(found, 8)?,
        claimed: Tier::from_rank(found.get(9)?),
        effective: Tier::from_rank(found.get(10)?),
        signature: row::signature(found, 11)?,
        tainted: found.get(12)?,
        time: row::time(found, 13)?,
        hlc: found.get::<_, Option<i64>>(14)?.map(Hlc::from_i64),
        received_at: row::time(found, 15)?,
        private: found.get(16)?,
    })
}

/// The newest reading of each origin for a metric; `zone` `None` means any zone.
///
/// # Errors
/// Any SQLite error.
pub fn latest(
    conn: &Connection,
    metric: &str,
    zone: Option<&str>,
) -> Result<Vec<FactRow>, StoreError> {
    let mut query = conn.prepare_cached(&format!(
        "{SELECT} WHERE metric = ?1 AND (?2 IS NULL OR zone = ?2) ORDER BY zone, device_id"
    ))?;
    let rows = query.query_map((metric, zone), read)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Which readings a list shows.
#[derive(Debug, Clone, Default)]
pub struct FactFilter {
    /// Only of this metric.
    pub metric: Option<String>,
    /// Only in this zone.
    pub zone: Option<String>,
    /// Only from this device.
    pub origin: Option<DeviceId>,
}

/// Up to `limit` readings, those of `own` first, then by metric, zone and origin.
///
/// # Errors
/// Any SQLite error.
pub fn all(
    conn: &Connection,
    filter: &FactFilter,
    own: &DeviceId,
    limit: usize,
) -> Result<Vec<FactRow>, StoreError> {
    let mut query = conn.prepare_cached(&format!(
        "{SELECT} WHERE (?1 IS NULL OR metric = ?1) AND (?2 IS NULL OR zone = ?2) AND (?3 IS NULL OR device_id = ?3)
         ORDER BY device_id <> ?4, metric, zone, device_id LIMIT ?5"
    ))?;
    let origin = filter.origin.as_ref().map(DeviceId::as_str);
    let wanted = params![
        filter.metric,
        filter.zone,
        origin,
        own.as_str(),
        row::limit(limit)
    ];
    let rows = query.query_map(wanted, read)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Every numeric reading, as the planner sees it at a moment.
///
/// # Errors
/// Any SQLite error.
pub fn numeric(conn: &Connection, at: Moment) -> Result<Vec<Fact>, StoreError> {
    let mut query = conn.prepare_cached(&format!(
        "{SELECT} WHERE value IS NOT NULL ORDER BY metric, zone, device_id"
    ))?;
    let rows = query.query_map([], read)?;
    let rows = rows.collect::<Result<Vec<_>, _>>()?;
    Ok(rows.into_iter().filter_map(|f| f.to_fact(at)).collect())
}

/// Forgets the readings that a frame brought, which is in the log no more.
///
/// # Errors
/// Any SQLite error.
pub fn drop_of_frame(conn: &Connection, frame: &StoredFrame) -> Result<(), StoreError> {
    // They are on the account of its origin or of the device that brought it.
    let sql =
        "DELETE FROM facts WHERE charged IN (SELECT id FROM devices WHERE device_id IN (?1, ?2))
        AND origin = (SELECT id FROM devices WHERE device_id = ?1) AND content = ?3";
    let peer = frame.link_peer.as_ref().unwrap_or(&frame.origin);
    let of = (frame.origin.as_str(), peer.as_str(), frame.content.0);
    conn.prepare_cached(sql)?.execute(of)?;
    Ok(())
}

/// Forgets readings that claim to be from after a moment; how many there were. Their frames stay.
///
/// # Errors
/// Any SQLite error.
pub fn drop_after(conn: &Connection, time: TimeMs) -> Result<usize, StoreError> {
    let mut delete = conn.prepare_cached("DELETE FROM facts WHERE time > ?1")?;
    Ok(delete.execute([time.to_i64()])?)
}

/// The numeric readings of some metrics, as policy sees them at a moment: the cost of a decision does not grow
/// with other devices' readings. One of which a newer may have been lost is left out.
///
/// # Errors
/// Any SQLite error.
pub fn numeric_of(
    conn: &Connection,
    metrics: &BTreeSet<String>,
    at: Moment,
) -> Result<Vec<Fact>, StoreError> {
    let mut found = Vec::new();
    for metric in metrics {
        let rows = latest(conn, metric, None)?;
        let stands = rows
            .into_iter()
            .filter(|f| at.knows_no_newer(f.received_at));
        found.extend(stands.filter_map(|f| f.to_fact(at)));
    }
    Ok(found)
}

/// How many readings stand.
///
/// # Errors
/// Any SQLite error.
pub fn count(conn: &Connection) -> Result<u64, StoreError> {
    Ok(conn
        .prepare_cached("SELECT count(*) FROM facts")?
        .query_row([], |r| row::count(r, 0))?)
}
