//! The ledger: admitted frames into the store, in batches, and the facts they carry. Beside it what is known of the stored
//! ones in memory: the newest (`recent`), the keys of all (`held`), and who pushes them (`tree`).

mod encoded;
mod handle;
mod held;
pub(super) mod recent;
pub mod tree;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::Value;

pub use self::encoded::{Encoded, hops};
pub use self::handle::{Frames, Parts, Signer, Stamper, WeakFrames};
pub use self::held::Held;
pub use self::recent::{Next, RecentFrames};
use super::context::Context;
use super::privacy;
use crate::adapters::store::facts::NewFact;
use crate::adapters::store::frames::{Inserted, NewFrame};
use crate::adapters::store::shares::{self, Kept, Most, Pruned};
use crate::adapters::store::{Class, StoreError, Urgent, facts, frames, usage};
use crate::domain::admission::budget::Share;
use crate::domain::admission::{Admitted, admit_own};
use crate::domain::base::limits::{
    BUDGET_KEPT_FRAMES, FLOOD_MS, LEDGER_PART_MIN, READING_AGE_MAX_MS, STORE_GATHER_FRAMES,
};
use crate::domain::base::{Code, DeviceId, Refusal, TimeMs};
use crate::domain::sync::{FrameKey, Keyed};
use crate::domain::wire::FrameKind;
use crate::domain::wire::frame::FrameSpec;
use crate::domain::wire::verify::sign_frame;

/// Stores admitted frames and their facts in one transaction and wakes who waits for frames. With
/// [`Class::Gathered`] a few readings are committed later, together with others.
///
/// # Errors
/// Whatever the store says; then none of the batch is stored.
pub async fn append(
    log: &Frames,
    batch: impl Into<Arc<[Admitted]>>,
    class: Class,
) -> Result<Vec<Inserted>, StoreError> {
    append_part(log, batch.into(), 0, class, Urgent::default()).await
}

/// As [`append`], of a batch that was stored up to `from`. Ends early, after [`LEDGER_PART_MIN`] frames at
/// least, where durable writes wait: what came of the rest is not in the answer and the rest not stored.
///
/// # Errors
/// Whatever the store says; then nothing from `from` on is stored.
pub async fn append_from(
    log: &Frames,
    batch: Arc<[Admitted]>,
    from: usize,
) -> Result<Vec<Inserted>, StoreError> {
    append_part(log, batch, from, Class::Gathered, log.store.urgent()).await
}

#[allow(
    clippy::too_many_lines,
    reason = "one transaction and what follows from it"
)]
async fn append_part(
    log: &Frames,
    batch: Arc<[Admitted]>,
    from: usize,
    class: Class,
    urgent: Urgent,
) -> Result<Vec<Inserted>, StoreError> {
    let part = batch.get(from..).unwrap_or_default();
    if part.is_empty() {
        return Ok(Vec::new());
    }
    let now = log.now();
    let steady = log.moment().steady;
    let horizon = log.held.horizon();
    let full: BTreeSet<DeviceId> = part
        .iter()
        .filter_map(Admitted::charged)
        .filter(|device| log.budgets.frames_used_up(device, now))
        .cloned()
        .collect();
    for admitted in part {
        if let Some(hlc) = admitted.frame().hlc {
            log.stamper.observe(hlc, now);
        }
    }
    let named: Vec<Keyed> = part
        .iter()
        .map(|admitted| {
            let frame = admitted.frame();
            let key = FrameKey::of(&frame.frame_id, &admitted.content());
            Keyed {
                at: frame.timestamp,
                key: match frame.signature {
                    Some(_) => key,
                    None => key.unsigned(),
                },
            }
        })
        .collect();
    log.recent.after_losses(log.store.losses());
    // Decided without the store, because most frames of a mesh come several times.
    let decided: Vec<Option<Inserted>> = part
        .iter()
        .map(|admitted| match admitted.charged() {
            _ if is_behind(admitted, horizon, now) => Some(Inserted::Behind),
            Some(device) if full.contains(device) => Some(Inserted::OverBudget {
                device: device.clone(),
                share: Share::FrameBytes,
            }),
            _ if log.recent.holds(&admitted.content()) => Some(Inserted::Duplicate),
            _ => None,
        })
        .collect();
    if decided.iter().all(Option::is_some) {
        let inserted: Vec<Inserted> = decided.into_iter().flatten().collect();
        stored(log, part, &inserted);
        return Ok(inserted);
    }
    let (most, whole) = (most(log), batch.clone());
    let class = match class {
        Class::Gathered if !gathers(part) => Class::Relaxed,
        class => class,
    };
    let stored_now = log
        .store
        .write(class, "frames", move |conn| {
            let (mut inserted, mut bytes) = (Vec::with_capacity(batch.len()), BTreeMap::new());
            let mut room = shares::Batch::begin(conn)?;
            let part = batch.get(from..).unwrap_or_default();
            for (admitted, decided) in part.iter().zip(decided) {
                if inserted.len() >= LEDGER_PART_MIN && urgent.waits() {
                    break;
                }
                inserted.push(match decided {
                    Some(decided) => decided,
                    None => insert_at(conn, admitted, steady, Some(&mut room), &mut bytes)?,
                });
            }
            let (pruned, crowd) = room.end(conn, most)?;
            Ok(Stored {
                inserted,
                bytes,
                pruned,
                crowd,
            })
        })
        .await?;
    let Stored {
        inserted,
        bytes,
        pruned,
        crowd,
    } = stored_now;
    for (device, bytes) in bytes {
        log.budgets.charge_frames(&device, bytes, now);
    }
    gave_way(log, &pruned).await;
    if let Some(crowd) = crowd {
        let refused = inserted.contains(&Inserted::NoRoom);
        log.budgets.crowded(&crowd, refused.then_some(now));
    }
    for (one, keyed) in inserted.iter().zip(named) {
        match one {
            Inserted::Proven(_) => log.held.completed(keyed),
            Inserted::Instead { of, .. } => {
                let gone: Vec<Keyed> = of.iter().map(|old| old.keyed).collect();
                log.held.dropped(&gone);
            }
            _ => {}
        }
    }
    stored(log, whole.get(from..).unwrap_or_default(), &inserted);
    Ok(inserted)
}

/// Whether a batch may wait for others before it is committed: a few readings and the like, which their
/// origin or peers bring back after a crash. What people and agents say does not.
fn gathers(batch: &[Admitted]) -> bool {
    let kind = |one: &Admitted| {
        matches!(
            one.frame().kind,
            FrameKind::Observation | FrameKind::CapabilityUpdate
        )
    };
    batch.len() <= STORE_GATHER_FRAMES && batch.iter().all(kind)
}

/// The result of storing a batch.
struct Stored {
    inserted: Vec<Inserted>,
    bytes: BTreeMap<DeviceId, u64>,
    pruned: Vec<Pruned>,
    /// Who has how much, where there was no room or others had to give way.
    crowd: Option<Vec<Kept>>,
}

/// How much of the frame log one other device may have here.
pub fn most(context: &Context) -> Most {
    let keep = context.config.keep.frames;
    Most {
        frames: BUDGET_KEPT_FRAMES.min(keep - keep / 4),
        bytes: context.store.bytes_of_one_device(),
    }
}

/// Counts and tells that frames were pruned to make room. A device whose frames go before they are old
/// floods: that is an alarm.
pub async fn gave_way(log: &Frames, pruned: &[Pruned]) {
    for one in pruned {
        log.held.dropped(&one.keys);
        let count = u64::try_from(one.keys.len()).unwrap_or(u64::MAX);
        log.metrics.frames_pruned.inc_by(count);
        let Some(device) = &one.device else { continue };
        if log.now().since(one.newest) < FLOOD_MS {
            let share = Share::KeptBytes;
            let message = format!(
                "{} sends more than there is room for: its own oldest frames go",
                device.who()
            );
            let refusal = Refusal::new(Code::OverBudget, message);
            log.over_budget(device, share, &refusal).await;
        }
    }
}

/// Whether a frame of another node is older than what this node keeps.
fn is_behind(admitted: &Admitted, horizon: TimeMs, now: TimeMs) -> bool {
    // A horizon that was written down while this node's clock was ahead hides nothing.
    let believed = horizon > TimeMs(0) && horizon <= now;
    admitted.link_peer().is_some() && believed && admitted.frame().timestamp <= horizon
}

/// Counts what was inserted of a batch, has it sent on, and wakes gossip and planner.
pub fn stored(log: &Frames, batch: &[Admitted], inserted: &[Inserted]) {
    log.recent.stored(batch, inserted);
    let now = log.moment().steady;
    let (recent, links) = (&log.recent, &log.links);
    log.tree.came(batch, inserted, recent, links, now);
    let (mut new, mut private) = (0, false);
    for (admitted, one) in batch.iter().zip(inserted) {
        let counter = match one {
            Inserted::Stored(_) | Inserted::Instead { .. } => {
                new += 1;
                private |= admitted.frame().private.is_some();
                continue;
            }
            Inserted::Duplicate | Inserted::Proven(_) => &log.metrics.frames_duplicate,
            Inserted::Behind => &log.metrics.frames_behind,
            // Counted by its code where it is told.
            Inserted::OverBudget { .. } | Inserted::NoRoom => continue,
            Inserted::Conflict { .. } => &log.metrics.frames_conflict,
        };
        counter.inc();
    }
    if new > 0 {
        log.metrics.frames_stored.inc_by(new);
        log.metrics.frames_rate.add(new);
        log.frames_head.send_modify(|n| *n += new);
    }
    if private {
        log.private_head.send_modify(|n| *n += 1);
    }
}

/// Stores one admitted frame of our own that carries no reading inside a transaction. It tells what an
/// action came to, so it has room as the action's record has.
///
/// # Errors
/// Whatever the store says.
pub fn insert(conn: &rusqlite::Connection, admitted: &Admitted) -> Result<Inserted, StoreError> {
    let now = admitted.received_at();
    insert_at(conn, admitted, now, None, &mut BTreeMap::new())
}

/// As [`insert`], in the room for frames, with the steady time from which the age of its reading counts;
/// adds the bytes of what was stored to those of the device whose share it uses.
fn insert_at(
    conn: &rusqlite::Connection,
    admitted: &Admitted,
    steady: TimeMs,
    room: Option<&mut shares::Batch>,
    bytes: &mut BTreeMap<DeviceId, u64>,
) -> Result<Inserted, StoreError> {
    let frame = admitted.frame();
    let reading = match frame.kind {
        FrameKind::Observation => fact(admitted, steady),
        _ => None,
    };
    // A device that nothing proves may be invented, and its name stays here.
    if let Some(device) = admitted.charged().filter(|d| **d != frame.origin)
        && !frames::knows(conn, &frame.origin)?
    {
        let used = usage::used(conn, device, Share::Origins, admitted.received_at())?;
        if used >= Share::Origins.most_of(device) {
            return Ok(Inserted::OverBudget {
                device: device.clone(),
                share: Share::Origins,
            });
        }
        frames::introduce(conn, &frame.origin, device)?;
    }
    if let (Some(reading), Some(device)) = (&reading, admitted.charged())
        && !facts::stands(conn, reading)?
        && usage::used(conn, device, Share::Facts, admitted.received_at())?
            >= Share::Facts.most_of(device)
    {
        return Ok(Inserted::OverBudget {
            device: device.clone(),
            share: Share::Facts,
        });
    }
    let new = NewFrame {
        content: admitted.content(),
        origin: frame.origin.clone(),
        frame_id: frame.frame_id.clone(),
        kind: frame.kind,
        claimed_at: frame.timestamp,
        time: admitted.time(),
        received_at: admitted.received_at(),
        hlc: frame.hlc,
        origin_seq: frame.seq,
        claimed_tier: frame.claimed,
        effective_tier: admitted.effective(),
        signed: frame.signature.is_some(),
        signature: admitted.signature(),
        tainted: !frame.taint.is_empty(),
        hops: frame.hops,
        link_peer: admitted.link_peer().cloned(),
        ahead: admitted.ahead(),
        private: frame.private.is_some(),
        metric: frame
            .data()
            .get("metric")
            .and_then(Value::as_str)
            .map(str::to_owned),
        json: admitted.text().clone(),
    };
    if let Some(room) = room
        && !room.admits(conn, new.json.len())?
    {
        return Ok(Inserted::NoRoom);
    }
    let inserted = frames::insert(conn, &new)?;
    let seq = match &inserted {
        Inserted::Stored(seq) | Inserted::Proven(seq) | Inserted::Instead { seq, .. } => *seq,
        _ => return Ok(inserted),
    };
    if let Some(device) = admitted.charged() {
        let more = u64::try_from(new.json.len()).unwrap_or(u64::MAX);
        let sum = bytes.entry(device.clone()).or_default();
        *sum = sum.saturating_add(more);
    }
    if let Some(reading) = reading {
        let reading = NewFact {
            frame_seq: seq,
            ..reading
        };
        let (charged, now) = (
            admitted.charged().unwrap_or(&reading.origin),
            admitted.received_at(),
        );
        match admitted.ahead() {
            true => facts::upsert_ahead(conn, &reading, charged, now)?,
            false => facts::upsert_for(conn, &reading, charged, now)?,
        };
    }
    Ok(inserted)
}

/// The key in an observation's data of how old its value was when it was told, in milliseconds.
pub const AGE_KEY: &str = "ageMs";

/// How old the value of an observation was when it was told, as far as it says so. It only makes it older.
pub fn age_told(data: &serde_json::Map<String, Value>) -> Option<u64> {
    let age_ms = data.get(AGE_KEY)?.as_u64()?;
    Some(age_ms.min(READING_AGE_MAX_MS))
}

/// The fact an observation carries: a metric with a value. Its place in the log is not known yet.
fn fact(admitted: &Admitted, steady: TimeMs) -> Option<NewFact> {
    let frame = admitted.frame();
    let data = frame.data();
    let short = |name: &str| {
        data.get(name)
            .and_then(Value::as_str)
            .filter(|t| t.len() <= 128)
            .map(str::to_owned)
    };
    let (value, text) = match data.get("value")? {
        Value::Number(n) => (n.as_f64(), None),
        Value::Bool(b) => (Some(f64::from(u8::from(*b))), None),
        Value::String(s) if s.len() <= 256 => (None, Some(s.clone())),
        _ => return None,
    };
    let age_ms = age_told(data);
    let before = |at: TimeMs| TimeMs(at.0.saturating_sub(age_ms.unwrap_or_default()));
    Some(NewFact {
        metric: short("metric")?,
        zone: short("zone"),
        origin: frame.origin.clone(),
        value,
        text,
        unit: short("unit"),
        frame_seq: 0,
        frame_id: frame.frame_id.clone(),
        content: admitted.content(),
        claimed: frame.claimed,
        effective: admitted.effective(),
        signature: admitted.signature(),
        tainted: !frame.taint.is_empty(),
        time: before(admitted.time()),
        // Which of two is newer says the time at which they were measured, not that at which they were told.
        hlc: frame.hlc.filter(|_| age_ms.is_none()),
        received_at: before(steady),
        private: frame.private.is_some(),
    })
}

/// Signs one of our own frames and admits it, without storing it. A reading that is labelled private is marked so.
///
/// # Errors
/// `INVALID_FRAME` or `DATA_TOO_LARGE`.
pub fn compose(log: &Frames, spec: FrameSpec) -> Result<Admitted, Refusal> {
    let now = log.now();
    let stamp = log.stamper.stamp(log.fresh_frame_id(now)?, now);
    let (name, mesh) = (&log.config.name, &log.mesh);
    let private = privacy::mark(log, &log.config.models.labels, &spec)?;
    let signed = sign_frame(spec, log.key.key(), name, mesh, stamp, private)?;
    Ok(admit_own(signed, now))
}

/// Signs, stores and so gossips one of our own frames.
///
/// # Errors
/// As [`compose`], or the store's refusal.
pub async fn publish(log: &Frames, specs: Vec<FrameSpec>, class: Class) -> Result<(), Refusal> {
    let batch = specs
        .into_iter()
        .map(|s| compose(log, s))
        .collect::<Result<Vec<_>, _>>()?;
    let inserted = append(log, batch, class).await;
    match inserted.map_err(|e| super::context::store_refusal(&e))? {
        some if some.contains(&Inserted::NoRoom) => {
            Err(super::context::store_refusal(&StoreError::Full))
        }
        _ => Ok(()),
    }
}
