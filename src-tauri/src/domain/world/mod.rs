//! What the mesh knows: facts with their provenance, as policy, planner and surfaces see them.
//!
//! Storage lives in `adapters::store`; this room only says what a fact is and how two compare.

use std::collections::BTreeSet;

pub use super::base::SignatureState;
use super::base::{DeviceId, Digest, FrameId, Taint, Tier, TimeMs};

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
    /// When it was sensed, as far as we believe it.
    pub sensed_at: TimeMs,
    /// When this node first had it.
    pub received_at: TimeMs,
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
