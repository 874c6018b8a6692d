//! Rules for alerts: thresholds with hysteresis, and silence.

use crate::domain::base::{DeviceId, Severity, Tier};
use crate::domain::plan::rules::Comparison;
use crate::domain::policy::Origin;
use crate::domain::world::Fact;

/// What makes a rule's alert stand.
#[derive(Debug, Clone, PartialEq)]
pub enum What {
    /// A reading lies beyond a threshold.
    Beyond {
        /// On which side.
        comparison: Comparison,
        /// The threshold, in the reading's unit.
        threshold: f64,
        /// What a reading has to come back to before the alert ends: the threshold itself, or further inside.
        clear: f64,
        /// The oldest reading that counts, in milliseconds.
        max_age_ms: u64,
    },
    /// No reading that is believed has come for so long.
    Silent {
        /// In milliseconds.
        older_than_ms: u64,
    },
}

/// `[[alert]]`: a rule for alerts.
#[derive(Debug, Clone, PartialEq)]
pub struct AlertRule {
    /// Its name, unique among them.
    pub name: String,
    /// The metric that it watches.
    pub metric: String,
    /// The zone; any where absent.
    pub zone: Option<String>,
    /// Whose readings; anybody's where absent.
    pub source: Option<Origin>,
    /// What makes it stand.
    pub what: What,
    /// For how long that must hold before the alert stands, in milliseconds.
    pub for_ms: u64,
    /// The weakest effective tier of a reading that is believed: only such a one ends an alert about one that was.
    pub min_tier: Tier,
    /// How much it matters.
    pub severity: Severity,
    /// What is to be done, in the operator's words.
    pub words: Option<String>,
}

impl AlertRule {
    /// Whether it watches this reading.
    pub fn is_about(&self, fact: &Fact, own: &DeviceId) -> bool {
        let from = |source: &Origin| source.is(&fact.origin, own);
        self.metric == fact.metric
            && (self.zone.is_none() || self.zone == fact.zone)
            && self.source.as_ref().is_none_or(from)
    }

    /// Whether a reading is believed.
    pub fn believes(&self, fact: &Fact) -> bool {
        fact.effective >= self.min_tier && fact.taint.is_empty()
    }
}
