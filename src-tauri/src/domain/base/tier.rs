//! How far a claim can be believed: tiers, evidence sources, taint.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The trust tier of evidence, ordered from weakest to strongest (gen-1 §8).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
pub enum Tier {
    /// T0: what a model said.
    #[serde(rename = "T0_planning_inference")]
    T0,
    /// T1: an observation nobody vouches for.
    #[serde(rename = "T1_unverified_observation")]
    T1,
    /// T2: an observation by a device that may make it.
    #[serde(rename = "T2_operational_observation")]
    T2,
    /// T3: evidence good enough to act on.
    #[serde(rename = "T3_verified_action_evidence")]
    T3,
}

impl Tier {
    /// The name on the wire (gen-1 §8).
    pub fn wire_name(self) -> &'static str {
        match self {
            Tier::T0 => "T0_planning_inference",
            Tier::T1 => "T1_unverified_observation",
            Tier::T2 => "T2_operational_observation",
            Tier::T3 => "T3_verified_action_evidence",
        }
    }

    /// The tier as a small number, for storage.
    pub fn rank(self) -> u8 {
        self as u8
    }

    /// The tier of a stored rank; anything unknown is the weakest.
    pub fn from_rank(rank: u8) -> Self {
        match rank {
            1 => Tier::T1,
            2 => Tier::T2,
            3 => Tier::T3,
            _ => Tier::T0,
        }
    }
}

impl fmt::Display for Tier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "T{}", self.rank())
    }
}

/// A tier by its short name, as people read it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
pub enum TierName {
    /// See [`Tier::T0`].
    T0,
    /// See [`Tier::T1`].
    T1,
    /// See [`Tier::T2`].
    T2,
    /// See [`Tier::T3`].
    T3,
}

impl From<Tier> for TierName {
    fn from(tier: Tier) -> Self {
        match tier {
            Tier::T0 => TierName::T0,
            Tier::T1 => TierName::T1,
            Tier::T2 => TierName::T2,
            Tier::T3 => TierName::T3,
        }
    }
}

impl fmt::Display for TierName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "T{}", *self as u8)
    }
}

impl FromStr for Tier {
    type Err = String;

    /// Accepts the short form (`T2`) and the wire name.
    fn from_str(text: &str) -> Result<Self, String> {
        [Tier::T0, Tier::T1, Tier::T2, Tier::T3]
            .into_iter()
            .find(|tier| text == tier.to_string() || text == tier.wire_name())
            .ok_or_else(|| format!("unknown tier {text:?}; use T0, T1, T2 or T3"))
    }
}

/// Where evidence came from (gen-1 §8).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum EvidenceSource {
    /// A language model.
    Llm,
    /// A sensor reading.
    Sensor,
    /// A device's own state.
    Device,
    /// A person.
    Human,
    /// More than one of these, not told apart, or a source that this version does not know.
    #[serde(other)]
    Mixed,
}

/// A mark that stays for ever (invariant I1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum Taint {
    /// Derived from a model, whatever real readings it also cites. A mark that this version does not
    /// know is read as this one: nothing is less tainted for being told in newer words.
    #[serde(other)]
    Llm,
}

/// What is known of a frame's origin signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "kebab-case")]
pub enum SignatureState {
    /// Signed by its origin, checked here with the origin's pinned key.
    Verified,
    /// Not signed; it came over the origin's own authenticated link.
    FirstHand,
    /// Not signed, or by a key we do not know, and relayed by somebody else.
    Unverifiable,
}

/// The taints that evidence sources bring with them: `llm`, `mixed`, and any that is unknown.
pub fn taint_of_sources(sources: &[EvidenceSource]) -> BTreeSet<Taint> {
    use EvidenceSource::{Device, Human, Llm, Mixed, Sensor};
    sources
        .iter()
        .filter_map(|source| match source {
            Sensor | Device | Human => None,
            Llm | Mixed => Some(Taint::Llm),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn mixed_and_whatever_is_not_known_taint_like_a_model() {
        let read = |text: &str| -> Vec<EvidenceSource> { serde_json::from_str(text).unwrap() };
        let model = BTreeSet::from([Taint::Llm]);
        for tainting in [
            r#"["llm"]"#,
            r#"["mixed"]"#,
            r#"["sensor","vlm"]"#,
            r#"["sensor","mixed"]"#,
        ] {
            assert_eq!(taint_of_sources(&read(tainting)), model, "{tainting}");
        }
        assert!(taint_of_sources(&read(r#"["sensor","device","human"]"#)).is_empty());
        let marks: BTreeSet<Taint> = serde_json::from_str(r#"["vlm"]"#).unwrap();
        assert_eq!(marks, model);
        assert!(serde_json::from_str::<BTreeSet<Taint>>("[1]").is_err());
    }
}
