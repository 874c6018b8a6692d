//! The roles of nodes.

use std::str::FromStr;

use serde::Deserialize;

/// The role of a node. Other roles are refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Nothing in particular.
    Node,
    /// Plans and asks.
    Planner,
    /// Plans if no planner does.
    StandbyPlanner,
    /// Senses and acts.
    Field,
    /// Senses.
    Sensor,
    /// Acts.
    Actuator,
    /// Looks.
    Viewer,
}

impl Role {
    const NAMES: [(Role, &'static str); 7] = [
        (Role::Node, "node"),
        (Role::Planner, "planner"),
        (Role::StandbyPlanner, "standby-planner"),
        (Role::Field, "field"),
        (Role::Sensor, "sensor"),
        (Role::Actuator, "actuator"),
        (Role::Viewer, "viewer"),
    ];

    /// The name on the wire and in the configuration.
    pub fn as_str(self) -> &'static str {
        Self::NAMES
            .iter()
            .find(|(role, _)| *role == self)
            .map_or("node", |(_, name)| name)
    }

    /// Whether a node of this role runs the planner.
    pub fn plans(self) -> bool {
        matches!(self, Role::Planner | Role::StandbyPlanner)
    }
}

impl FromStr for Role {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::NAMES.iter().find(|(_, name)| *name == text).map(|(role, _)| *role).ok_or_else(|| {
            let meant = match text.to_lowercase().as_str() {
                "command-center" | "command-centre" => {
                    ": that is a preset, which says what another device may do here (trust add --as); the \
                     role of a command centre is planner, or node where it runs no rules"
                }
                "gen1" => ": that is a preset, which says what another device may do here (trust add --as)",
                _ => "",
            };
            format!(
                "unknown role {text:?}{meant}; use node, planner, standby-planner, field, sensor, actuator or viewer"
            )
        })
    }
}
/// Which names the configuration or a flag has said, so that no console can change them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Fixed {
    /// The device's.
    pub name: bool,
    /// The mesh's.
    pub mesh_name: bool,
}
