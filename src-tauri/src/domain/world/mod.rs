//! What the mesh knows: facts with their provenance, as policy, planner and surfaces see them.
//!
//! Storage lives in `adapters::store`; this room only says what a fact is and how two compare.

use std::collections::BTreeSet;

pub use super::base::SignatureState;
use super::base::{DeviceId, Digest, FrameId, Taint, Tier, TimeMs};

/// A moment of this node: by its wall clock, and by a clock of its own that no setting of the wall
/// clock moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// By the wall clock.
    pub wall: TimeMs,
    /// By the steady clock. It begins near the wall clock, runs at the same pace and never steps, so
    /// that only differences between two of its values mean something.
    pub steady: TimeMs,
    /// Of what was received up to this moment of the steady clock a newer reading may have been lost.
    pub lost: TimeMs,
}

impl Moment {
    /// A moment of a node whose wall clock has never been set.
    pub fn unset(wall: TimeMs) -> Self {
        Self {
            wall,
            steady: wall,
            lost: TimeMs(0),
        }
    }

    /// Whether nothing that was received after a reading can have been lost: one that may have been replaced
    /// since proves nothing.
    pub fn knows_no_newer(self, received_steady: TimeMs) -> bool {
        received_steady > self.lost
    }

    /// The age of a value in milliseconds: the larger of the time since it was sensed (by the wall
    /// clock) and the time since this node received it (by the steady clock). So a sender's fast clock
    /// or a wall clock that is set back makes nothing look fresh.
    pub fn age_ms(self, sensed_at: TimeMs, received_steady: TimeMs) -> u64 {
        self.wall
            .since(sensed_at)
            .max(self.steady.since(received_steady))
    }

    /// As [`Moment::age_ms`], for what was received at a moment of the wall clock. One that lies ahead
    /// says that the clock was set back since, at least by that much.
    pub fn age_by_wall_ms(self, sensed_at: TimeMs, received_at: TimeMs) -> u64 {
        self.wall
            .since(sensed_at)
            .max(self.wall.distance(received_at))
    }
}

/// A numeric reading: the newest value of one metric, in one zone, from one origin.
#[derive(Debug, Clone, PartialEq)]
pub struct Fact {
    /// What was measured, for example `moisture`.
    pub metric: String,
    /// Where, if the origin named a zone.
    pub zone: Option<String>,
    /// The device that sensed it.
    pub origin: DeviceId,
    /// The value, in `unit`.
    pub value: f64,
    /// The unit as the origin wrote it, for example `%`.
    pub unit: Option<String>,
    /// The frame that carried it.
    pub frame_id: FrameId,
    /// That frame's content hash.
    pub content: Digest,
    /// The tier its origin claimed.
    pub claimed: Tier,
    /// The tier this node can vouch for.
    pub effective: Tier,
    /// What is known of the origin's signature.
    pub signature: SignatureState,
    /// Marks that stay for ever.
    pub taint: BTreeSet<Taint>,
    /// The latest moment at which it can have been sensed, by this node's wall clock: what the origin
    /// says, and not later than this node received it. See [`Moment::age_ms`].
    pub sensed_at: TimeMs,
    /// When this node first had it, by its steady clock.
    pub received_at: TimeMs,
    /// Whether it is private: no text that others may read says its value.
    pub private: bool,
}

/// Where policy and planner look things up.
pub trait Facts {
    /// The newest fact of each origin for a metric; `zone` `None` means any zone.
    fn latest(&self, metric: &str, zone: Option<&str>) -> Vec<Fact>;
}

/// Facts held in a plain list, for tests, policy tests and dry runs.
impl Facts for Vec<Fact> {
    fn latest(&self, metric: &str, zone: Option<&str>) -> Vec<Fact> {
        self.iter()
            .filter(|f| f.metric == metric && (zone.is_none() || f.zone.as_deref() == zone))
            .cloned()
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_age_counts_from_the_receipt_where_the_sender_or_the_wall_clock_is_wrong() {
        let at = |wall, steady| Moment {
            wall: TimeMs(wall),
            steady: TimeMs(steady),
            lost: TimeMs(0),
        };
        // An honest reading ages by the wall clock, also before it arrived.
        assert_eq!(at(1_000, 1_000).age_ms(TimeMs(400), TimeMs(900)), 600);
        // Its sender's clock is four minutes fast.
        assert_eq!(
            at(9_000, 9_000).age_ms(TimeMs(240_000), TimeMs(1_000)),
            8_000
        );
        // Our clock is set back by an hour: the reading goes on ageing.
        let hour = 3_600_000;
        assert_eq!(
            at(2 * hour, 2 * hour).age_ms(TimeMs(2 * hour), TimeMs(2 * hour)),
            0
        );
        assert_eq!(
            at(hour, 2 * hour + 5).age_ms(TimeMs(2 * hour), TimeMs(2 * hour)),
            5
        );
        // Received at a moment that has not come yet.
        assert_eq!(
            at(hour, 0).age_by_wall_ms(TimeMs(2 * hour), TimeMs(2 * hour)),
            hour
        );
    }
}
