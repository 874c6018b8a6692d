//! Whether this node's clock can be believed, and a steady time beside it from which ages count.
//!
//! The newest time that the node has lived through is written down (its high-water mark); while the
//! clock is behind it the node does not operate. A clock that has just jumped ahead moves the mark only
//! once it has stood there for a while, or once the node has operated by it.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde::Serialize;
use serde_json::json;
use tokio::time::Instant;

use super::{Context, audit_entry, void_standing_approvals, write_step};
use crate::adapters::store::{StoreError, ahead, cases, facts, kv, proposals};
use crate::domain::base::limits::{
    CLOCK_BEHIND_MAX_MS, CLOCK_JUMP_MS, CLOCK_SETTLE_MS, FRAME_FUTURE_MAX_MS, QUERY_MAX,
    UNKNOWN_GAP_MS,
};
use crate::domain::base::{AuditKind, TimeMs};
use crate::domain::identity::DeviceKey;
use crate::domain::proposal::end;
use crate::domain::world::Moment;

const HIGH_WATER: &str = "clock.high-water";
const STEADY: &str = "clock.steady";

fn time_at(conn: &rusqlite::Connection, key: &str) -> Result<TimeMs, StoreError> {
    let bytes = kv::get(conn, key)?;
    Ok(bytes
        .and_then(|b| b.try_into().ok())
        .map_or(TimeMs(0), |b| TimeMs(u64::from_be_bytes(b))))
}

/// Writes down the newest time this node has seen, if it is newer (DESIGN §6).
///
/// # Errors
/// Whatever the store says.
pub fn note_time(conn: &rusqlite::Connection, now: TimeMs) -> Result<(), StoreError> {
    if high_water(conn)? < now {
        set_high_water(conn, now)?;
    }
    Ok(())
}

/// The newest time this node has ever written down.
///
/// # Errors
/// Whatever the store says.
pub fn high_water(conn: &rusqlite::Connection) -> Result<TimeMs, StoreError> {
    time_at(conn, HIGH_WATER)
}

/// Sets the mark, also back: a person has said that the clock is right.
///
/// # Errors
/// Whatever the store says.
pub fn set_high_water(conn: &rusqlite::Connection, to: TimeMs) -> Result<(), StoreError> {
    kv::put(conn, HIGH_WATER, &to.0.to_be_bytes())
}

/// Whether the clock may be believed: it is not behind what this node has already lived through.
///
/// # Errors
/// Whatever the store says.
pub fn clock_trusted(conn: &rusqlite::Connection, now: TimeMs) -> Result<bool, StoreError> {
    Ok(now.plus(CLOCK_BEHIND_MAX_MS) >= high_water(conn)?)
}

/// The newest time that this node has recorded, in its mark or in what it did.
///
/// # Errors
/// Whatever the store says.
pub fn recorded(conn: &rusqlite::Connection) -> Result<TimeMs, StoreError> {
    Ok(high_water(conn)?.max(ahead::newest(conn)?))
}

/// The result of a person's confirmation of the clock: how much had been recorded ahead of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Righted {
    /// Readings that were dropped.
    pub readings_dropped: usize,
    /// Runs that count as having ended now.
    pub runs: usize,
    /// Open proposals that were ended.
    pub proposals_expired: usize,
    /// Waiting drafts that were ended.
    pub drafts_expired: usize,
}

/// A person at this machine says that the clock is right, inside one transaction: the mark goes to
/// `now`, readings from times that have not come give way to new ones, runs count as having ended
/// now, and what was asked for then and is still open ends.
///
/// # Errors
/// Whatever the store says.
pub fn confirm(
    conn: &rusqlite::Connection,
    key: &DeviceKey,
    now: TimeMs,
) -> Result<Righted, StoreError> {
    let recorded = recorded(conn)?;
    set_high_water(conn, now)?;
    let why = "made while the clock of this machine was ahead; ask again";
    let mut expired = 0;
    for row in proposals::own_open_all(conn, QUERY_MAX)? {
        let case = cases::case_of(conn, &row)?;
        let ahead = end::made_ahead(&case, row.created_at, now, why);
        let Some(step) = ahead.map_err(StoreError::Refused)? else {
            continue;
        };
        write_step(conn, key, now, &step, None)?;
        expired += 1;
    }
    void_standing_approvals(
        conn,
        key,
        now,
        "a person said what time it is; give it again",
    )?;
    ahead::changes_before(conn, now, recorded)?;
    let righted = Righted {
        readings_dropped: facts::drop_after(conn, now.plus(FRAME_FUTURE_MAX_MS))?,
        runs: ahead::runs_end_at(conn, now)?,
        proposals_expired: expired,
        drafts_expired: ahead::drafts_expire(conn, now, why)?,
    };
    let detail = json!({
        "recorded": recorded, "now": now, "readingsDropped": righted.readings_dropped, "runs": righted.runs,
        "proposalsExpired": righted.proposals_expired, "draftsExpired": righted.drafts_expired,
    });
    audit_entry(conn, key, now, AuditKind::ClockConfirmed, "clock", detail)?;
    Ok(righted)
}

/// The steady time of one run of the node: the pace of the clock that never steps, from a base above
/// every steady time of earlier runs.
#[derive(Debug, Clone, Copy)]
pub struct Steady {
    base: TimeMs,
    began_ms: u64,
}

impl Steady {
    /// Continues after earlier runs. `wall` is the wall clock's time and `steady_ms` the steady clock's.
    ///
    /// # Errors
    /// Whatever the store says.
    pub fn resume(
        conn: &rusqlite::Connection,
        wall: TimeMs,
        steady_ms: u64,
    ) -> Result<Self, StoreError> {
        let before = time_at(conn, STEADY)?;
        // How long the node was off is known by the wall clock alone. Behind its mark it does not tell:
        // everything received before is then taken for old.
        let gap = match clock_trusted(conn, wall)? {
            true => 0,
            false => UNKNOWN_GAP_MS,
        };
        Ok(Self {
            base: wall.max(before.plus(gap)),
            began_ms: steady_ms,
        })
    }

    /// The steady time now.
    pub fn at(self, steady_ms: u64) -> TimeMs {
        self.base.plus(steady_ms.saturating_sub(self.began_ms))
    }
}

/// Up to which steady time readings were received of which newer ones may have been lost: by a crash, or by a
/// commit that failed after they had been answered.
#[derive(Debug)]
pub struct LostReadings(Mutex<(u64, TimeMs)>);

impl LostReadings {
    /// Those of a run that begins; `before` says whether the end of the one before may have cost readings.
    pub fn beginning(before: bool, steady: TimeMs) -> Self {
        Self(Mutex::new((0, if before { steady } else { TimeMs(0) })))
    }

    /// That time; now, where the store has lost more than at the last look.
    fn upto(&self, losses: u64, steady: TimeMs) -> TimeMs {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.0 != losses {
            *seen = (losses, steady);
        }
        seen.1
    }
}

impl Context {
    /// This moment by both clocks.
    pub fn moment(&self) -> Moment {
        self.moment_at(self.now())
    }

    /// The same, with the wall clock's time as it was read before.
    pub fn moment_at(&self, wall: TimeMs) -> Moment {
        let steady = self.steady.at(self.clock.steady_ms());
        Moment {
            wall,
            steady,
            lost: self.lost.upto(self.store.losses(), steady),
        }
    }
}

/// Which times of the wall clock are written down while the node runs.
#[derive(Debug)]
pub struct Settling {
    /// The last look: by the wall clock and by the steady one.
    last: Option<(TimeMs, Instant)>,
    /// Since when the clock stands where it jumped to.
    jumped: Option<Instant>,
}

impl Settling {
    /// A node that starts at `now`, having lived through `mark`; one that has never run has lived through
    /// nothing, so its first clock has to settle as well.
    pub fn starting(mark: TimeMs, now: TimeMs, at: Instant) -> Self {
        let ahead = now.since(mark) > CLOCK_JUMP_MS;
        Self {
            last: Some((now, at)),
            jumped: ahead.then_some(at),
        }
    }

    /// Whether the time `now` may move the mark.
    pub fn admits(&mut self, now: TimeMs, at: Instant) -> bool {
        if let Some((wall, seen)) = self.last {
            let passed = u64::try_from(at.duration_since(seen).as_millis()).unwrap_or(u64::MAX);
            if now.since(wall.plus(passed)) > CLOCK_JUMP_MS {
                self.jumped = Some(at);
            } else if wall.plus(passed).since(now) > CLOCK_JUMP_MS {
                // It jumped back: whatever it says now is no later than before.
                self.jumped = None;
            }
        }
        self.last = Some((now, at));
        let settled =
            |since: Instant| at.duration_since(since) >= Duration::from_millis(CLOCK_SETTLE_MS);
        if self.jumped.is_some_and(settled) {
            self.jumped = None;
        }
        self.jumped.is_none()
    }
}

/// The times that housekeeping writes: the mark if the clock has settled, and the steady time.
///
/// # Errors
/// Whatever the store says.
pub fn keep(conn: &rusqlite::Connection, at: Moment, settled: bool) -> Result<(), StoreError> {
    if settled {
        note_time(conn, at.wall)?;
    }
    kv::put(conn, STEADY, &at.steady.0.to_be_bytes())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;
    use crate::adapters::store::drafts::{self, DraftRow, DraftStatus};
    use crate::adapters::store::facts::FactRow;
    use crate::adapters::store::{Class, Store, StoreOptions};
    use crate::domain::base::{DeviceId, Digest, DraftId, Tier};
    use crate::domain::world::SignatureState;

    const DAY: u64 = 86_400_000;

    fn draft(id: &str, at: TimeMs) -> DraftRow {
        DraftRow {
            id: id.parse::<DraftId>().unwrap(),
            executor: None,
            target: "actuator:a:b".to_owned(),
            json: "{}".to_owned(),
            status: DraftStatus::Waiting,
            code: None,
            message: None,
            created_at: at,
            expires_at: at.plus(DAY),
            proposal_id: None,
        }
    }

    fn reading(metric: &str, at: TimeMs) -> FactRow {
        FactRow {
            metric: metric.to_owned(),
            zone: None,
            origin: DeviceId::of_public_key(&[1; 32]),
            value: Some(1.0),
            text: None,
            unit: None,
            frame_seq: 1,
            frame_id: metric.parse().unwrap(),
            content: Digest([1; 32]),
            claimed: Tier::T2,
            effective: Tier::T2,
            signature: SignatureState::Verified,
            tainted: false,
            time: at,
            hlc: None,
            received_at: at,
            private: false,
        }
    }

    #[tokio::test]
    async fn what_was_made_with_the_clock_ahead_ends_and_what_was_made_before_stays() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("clawmesh.db");
        let store = Store::open(&file, StoreOptions::default()).unwrap();
        let (now, key) = (TimeMs(1_000 * DAY), DeviceKey::from_seed(&[1; 32]));
        let (before, ahead) = (TimeMs(999 * DAY), TimeMs(1_300 * DAY));
        let write = move |c: &rusqlite::Connection| {
            for (id, at) in [("before", before), ("ahead", ahead)] {
                drafts::put(c, &draft(id, at))?;
                facts::upsert(c, &reading(id, at), ahead)?;
            }
            confirm(c, &key, now)
        };
        let righted = store.write(Class::Durable, "t", write).await.unwrap();
        assert_eq!((righted.drafts_expired, righted.readings_dropped), (1, 1));
        let read = |c: &rusqlite::Connection| Ok((drafts::waiting(c)?, facts::count(c)?));
        let (waiting, facts) = store.read("t", read).await.unwrap();
        let waiting: Vec<&str> = waiting.iter().map(|d| d.id.as_str()).collect();
        assert_eq!((waiting, facts), (vec!["before"], 1));
    }

    #[test]
    fn a_short_jump_ahead_does_not_move_the_mark_and_a_lasting_one_does() {
        let begin = Instant::now();
        let at = |ms: u64| begin + Duration::from_millis(ms);
        let start = TimeMs(1_000 * DAY);
        let mut settling = Settling::starting(start, start, begin);
        assert!(settling.admits(start.plus(10_000), at(10_000)));
        // A year ahead for five seconds.
        assert!(!settling.admits(start.plus(365 * DAY), at(20_000)));
        assert!(settling.admits(start.plus(25_000), at(25_000)));
        // A day ahead, for good.
        assert!(!settling.admits(start.plus(DAY), at(30_000)));
        let later = 30_000 + CLOCK_SETTLE_MS;
        assert!(settling.admits(start.plus(DAY + CLOCK_SETTLE_MS), at(later)));
        // The same at a start.
        let mut settling = Settling::starting(start, start.plus(365 * DAY), begin);
        assert!(!settling.admits(start.plus(365 * DAY + 1), at(1)));
        // And at the very first start.
        let mut settling = Settling::starting(TimeMs(0), start, begin);
        assert!(!settling.admits(start.plus(1), at(1)));
        assert!(settling.admits(start.plus(CLOCK_SETTLE_MS + 1), at(CLOCK_SETTLE_MS + 1)));
    }
}
