//! Trust records: a device we trust, and what we trust it with (DESIGN §5).

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::domain::base::{DeviceId, Tier, TimeMs};
use crate::domain::identity::PublicKey;

/// One thing a device may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Grant {
    /// Claim observations first-hand, up to this tier.
    Observe(Tier),
    /// Originate what a person said.
    Human,
    /// Send drafts.
    Plan,
    /// Pass on frames of others.
    Relay,
    /// Read status, world and events.
    Read,
    /// Use our models.
    Llm,
    /// Stop our actuators.
    Estop,
    /// Offer actuators: without it, what a device says of actuators of its own is not believed.
    Actuate,
    /// Issue operator records and revocations.
    Admin,
}

impl fmt::Display for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Grant::Observe(tier) => write!(f, "observe:{tier}"),
            Grant::Human => f.write_str("human"),
            Grant::Plan => f.write_str("plan"),
            Grant::Relay => f.write_str("relay"),
            Grant::Read => f.write_str("read"),
            Grant::Llm => f.write_str("llm"),
            Grant::Estop => f.write_str("estop"),
            Grant::Actuate => f.write_str("actuate"),
            Grant::Admin => f.write_str("admin"),
        }
    }
}

impl FromStr for Grant {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Ok(match text.trim() {
            "observe:T1" => Grant::Observe(Tier::T1),
            "observe:T2" => Grant::Observe(Tier::T2),
            "observe:T3" => Grant::Observe(Tier::T3),
            "human" => Grant::Human,
            "plan" => Grant::Plan,
            "relay" => Grant::Relay,
            "read" => Grant::Read,
            "llm" => Grant::Llm,
            "estop" => Grant::Estop,
            "actuate" => Grant::Actuate,
            "admin" => Grant::Admin,
            other => {
                return Err(format!(
                    "unknown grant {other:?}; use observe:T1, observe:T2, observe:T3, human, plan, relay, read, llm, estop, actuate or admin"
                ));
            }
        })
    }
}

/// The grants of one device.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Grants(BTreeSet<Grant>);

impl Grants {
    /// Whether the grant is among them.
    pub fn has(&self, grant: Grant) -> bool {
        self.0.contains(&grant)
    }

    /// The highest tier it may claim first-hand.
    pub fn observe(&self) -> Option<Tier> {
        self.0
            .iter()
            .filter_map(|g| {
                if let Grant::Observe(t) = g {
                    Some(*t)
                } else {
                    None
                }
            })
            .max()
    }

    /// Whether it may send frames of its own.
    pub fn may_originate(&self) -> bool {
        self.observe().is_some() || self.has(Grant::Human) || self.has(Grant::Plan)
    }

    /// Adds the grants of `other`; a new `observe` replaces the old one.
    pub fn add(&mut self, other: &Grants) {
        if other.observe().is_some() {
            self.0.retain(|g| !matches!(g, Grant::Observe(_)));
        }
        self.0.extend(other.0.iter().copied());
    }

    /// Takes the grants of `other` away; any `observe` takes every `observe` away.
    pub fn remove(&mut self, other: &Grants) {
        let observe = other.observe().is_some();
        self.0
            .retain(|g| !(other.0.contains(g) || observe && matches!(g, Grant::Observe(_))));
    }

    /// Each of them.
    pub fn iter(&self) -> impl Iterator<Item = Grant> + '_ {
        self.0.iter().copied()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Display for Grants {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<String> = self.0.iter().map(Grant::to_string).collect();
        f.write_str(&names.join(","))
    }
}

impl FromStr for Grants {
    type Err = String;

    /// Reads a list such as `observe:T2,relay,read`.
    fn from_str(text: &str) -> Result<Self, String> {
        let grants = text
            .split(',')
            .filter(|t| !t.trim().is_empty())
            .map(str::parse)
            .collect::<Result<_, _>>()?;
        Ok(Self(grants))
    }
}

impl Serialize for Grants {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_seq(self.0.iter().map(Grant::to_string))
    }
}

impl<'de> Deserialize<'de> for Grants {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let names = Vec::<String>::deserialize(d)?;
        names.join(",").parse().map_err(de::Error::custom)
    }
}

/// A named set of grants (DESIGN §5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Preset {
    /// A field node.
    Field,
    /// A planner and the people at it.
    CommandCenter,
    /// A command centre whose word on persons and devices counts here.
    Owner,
    /// Somebody who only looks.
    Viewer,
    /// An existing gen-1 node; also what no flag means.
    Gen1,
}

/// What a command centre may do.
const CENTER: &[Grant] = &[
    Grant::Plan,
    Grant::Human,
    Grant::Observe(Tier::T2),
    Grant::Relay,
    Grant::Read,
    Grant::Llm,
    Grant::Estop,
];

impl Preset {
    /// Every preset, the least first.
    pub const ALL: &'static [Preset] = &[
        Preset::Viewer,
        Preset::Gen1,
        Preset::Field,
        Preset::CommandCenter,
        Preset::Owner,
    ];

    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Preset::Field => "field",
            Preset::CommandCenter => "command-center",
            Preset::Owner => "owner",
            Preset::Viewer => "viewer",
            Preset::Gen1 => "gen1",
        }
    }

    /// The grants of the preset.
    pub fn grants(self) -> Grants {
        let t2 = Grant::Observe(Tier::T2);
        let list: &[Grant] = match self {
            Preset::Field => &[t2, Grant::Relay, Grant::Read, Grant::Estop, Grant::Actuate],
            Preset::CommandCenter => CENTER,
            Preset::Owner => {
                let mut grants = Preset::CommandCenter.grants();
                grants.0.insert(Grant::Admin);
                return grants;
            }
            Preset::Viewer => &[Grant::Read],
            Preset::Gen1 => &[t2, Grant::Relay, Grant::Read, Grant::Plan],
        };
        Grants(list.iter().copied().collect())
    }
}

impl Preset {
    /// Which protocol a device speaks that is trusted as this.
    pub fn generation(self) -> Generation {
        match self {
            Preset::Gen1 => Generation::Gen1,
            _ => Generation::Clawmesh,
        }
    }
}

impl FromStr for Preset {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Ok(match text {
            "field" => Preset::Field,
            "command-center" => Preset::CommandCenter,
            "owner" => Preset::Owner,
            "viewer" => Preset::Viewer,
            "gen1" => Preset::Gen1,
            other => {
                return Err(format!(
                    "unknown preset {other:?}{}; use field, command-center, owner, viewer or gen1",
                    instead(other)
                ));
            }
        })
    }
}

/// What somebody probably meant who gave a node's role, or a near spelling, where a preset goes. A role
/// says what a node does itself (`start --role`), a preset what another device may do here.
fn instead(given: &str) -> &'static str {
    match given.to_lowercase().as_str() {
        "planner" | "standby-planner" => {
            ": that is a role of a node (start --role), not what it may do here; a planner is usually \
             trusted as command-center"
        }
        "node" | "sensor" | "actuator" => {
            ": that is a role of a node (start --role), not what it may do here; such a node is usually \
             trusted as field"
        }
        "command-centre" | "command" | "center" | "centre" => ": did you mean command-center?",
        "admin" | "administrator" => ": did you mean owner?",
        "field" | "viewer" | "gen1" | "command-center" | "owner" => ": write it in small letters",
        _ => "",
    }
}

/// Which protocol a device speaks, and so how it has to prove itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum Generation {
    /// Gen-1: it signs a nonce, which proves its key and not the connection.
    Gen1,
    /// Our own kind: it proves itself to this very device over this very connection.
    Clawmesh,
}

impl std::fmt::Display for Generation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Generation::Gen1 => "gen1",
            Generation::Clawmesh => "clawmesh",
        })
    }
}

/// A device we trust, the key it must prove, and what it may do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TrustRecord {
    /// The device.
    pub device_id: DeviceId,
    /// Its key; learned at the first handshake where it was not given, which is safe because the id
    /// is the key's hash.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub public_key: Option<PublicKey>,
    /// A name for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What it may do.
    pub grants: Grants,
    /// Which protocol it speaks: said by the person who trusts it, or proven by itself; never by what an
    /// unproven message claims. Absent in records from before this was written down.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generation: Option<Generation>,
    /// When it was added.
    pub added_at: TimeMs,
    /// When it was revoked; a revoked record stays, so that re-introduction cannot undo it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked_at: Option<TimeMs>,
}

impl TrustRecord {
    /// A live record.
    pub fn new(
        device_id: DeviceId,
        public_key: Option<PublicKey>,
        name: Option<String>,
        grants: Grants,
        added_at: TimeMs,
    ) -> Self {
        Self {
            device_id,
            public_key,
            name,
            grants,
            generation: None,
            added_at,
            revoked_at: None,
        }
    }

    /// The same of this generation.
    #[must_use]
    pub fn of(mut self, generation: Generation) -> Self {
        self.generation = Some(generation);
        self
    }

    /// Which protocol it speaks. A record from before this was written down is of our own kind if it
    /// has a grant that gen-1 nodes are not given.
    pub fn generation(&self) -> Generation {
        let gen1 = Preset::Gen1.grants();
        self.generation
            .unwrap_or(match self.grants.0.is_subset(&gen1.0) {
                true => Generation::Gen1,
                false => Generation::Clawmesh,
            })
    }

    /// Whether the record still counts.
    pub fn is_live(&self) -> bool {
        self.revoked_at.is_none()
    }

    /// The name, or the short id where there is none.
    pub fn label(&self) -> &str {
        self.name
            .as_deref()
            .unwrap_or_else(|| self.device_id.short())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grants_read_print_and_replace() {
        let mut grants: Grants = "relay, observe:T1,read".parse().unwrap();
        grants.add(&"observe:T3".parse().unwrap());
        assert_eq!(grants.observe(), Some(Tier::T3));
        grants.remove(&"observe:T1".parse().unwrap());
        assert_eq!(grants.to_string(), "relay,read");
        assert!("observe:T9".parse::<Grants>().is_err());
    }

    #[test]
    fn only_a_field_node_offers_actuators() {
        for preset in [
            Preset::CommandCenter,
            Preset::Owner,
            Preset::Viewer,
            Preset::Gen1,
        ] {
            assert!(!preset.grants().has(Grant::Actuate), "{preset:?}");
        }
        assert!(Preset::Field.grants().has(Grant::Actuate));
    }

    #[test]
    fn no_preset_but_the_owner_gives_admin_and_only_planners_plan() {
        for preset in Preset::ALL {
            let is_owner = *preset == Preset::Owner;
            assert_eq!(preset.grants().has(Grant::Admin), is_owner, "{preset:?}");
            assert_eq!(preset.as_str().parse(), Ok(*preset));
        }
        let mut owner = Preset::Owner.grants();
        owner.remove(&"admin".parse().unwrap());
        assert_eq!(owner, Preset::CommandCenter.grants());
        assert!(!Preset::Field.grants().has(Grant::Plan));
        assert!(Preset::Gen1.grants().has(Grant::Plan));
    }
}
