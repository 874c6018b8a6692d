//! Sites: what `site.toml` says of places, their zones and what stands in them, checked against the
//! drawing each site names. It holds no reading: values are found elsewhere, by metric and zone.
//!
//! A file with a mistake is no site at all: every mistake is told with its line and key.

mod format;
mod plan;
#[cfg(test)]
mod tests;

pub use self::format::{plan_path, read};
pub use self::plan::Plan;

use super::capability::Capability;

/// A `site.toml` as people get it to begin with; also that of the demo.
pub const EXAMPLE_SITE: &str = include_str!("../../../../site.example.toml");
/// The drawing it names.
pub const EXAMPLE_PLAN: &str = include_str!("../../../../plan.example.svg");

/// What is wrong with a `site.toml` or a plan, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The line of the file, from 1; 0 for the file as a whole.
    pub line: usize,
    /// The key, as a path of its tables, for example `site.zone.outline`; empty for the file as a whole.
    pub key: String,
    /// What is wrong and what would be right.
    pub why: String,
}

/// A point, in the units of its plan's `viewBox`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Point {
    /// To the right.
    pub x: f64,
    /// Downwards.
    pub y: f64,
}

/// The part of the plane that a plan shows, in its own units.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct View {
    /// The left edge.
    pub x: f64,
    /// The upper edge.
    pub y: f64,
    /// Its width; more than 0.
    pub width: f64,
    /// Its height; more than 0.
    pub height: f64,
}

impl View {
    /// Whether the point lies on it, edges included.
    pub fn holds(&self, p: Point) -> bool {
        (self.x..=self.x + self.width).contains(&p.x)
            && (self.y..=self.y + self.height).contains(&p.y)
    }
}

/// A place with a drawing.
#[derive(Debug, Clone, PartialEq)]
pub struct Site {
    /// Its id, unique in the file.
    pub id: String,
    /// Its name for people, unique in the file.
    pub name: String,
    /// The drawing's file, relative to the state directory.
    pub plan: String,
    /// What the drawing shows.
    pub view: View,
    /// Its zones.
    pub zones: Vec<Zone>,
    /// What stands in it.
    pub assets: Vec<Asset>,
}

/// A part of a site.
#[derive(Debug, Clone, PartialEq)]
pub struct Zone {
    /// Its id, unique in its site.
    pub id: String,
    /// Its name for people.
    pub name: String,
    /// What readings call it.
    pub zone: String,
    /// The only device whose readings count, by id or name; absent if all count.
    pub device: Option<String>,
    /// Its outline, at least three points.
    pub outline: Vec<Point>,
    /// What is measured in it, in the order of the file.
    pub metrics: Vec<Metric>,
}

/// Something measured in a zone.
#[derive(Debug, Clone, PartialEq)]
pub struct Metric {
    /// What readings call it.
    pub metric: String,
    /// The unit that is expected.
    pub unit: Option<String>,
    /// When a value is good.
    pub limits: Limits,
    /// How close to a limit counts as near, in the metric's unit; absent for a tenth.
    pub near: Option<f64>,
    /// The age after which a value counts as old, in milliseconds.
    pub stale_ms: u64,
}

/// When a value is good.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Limits {
    /// Nobody says.
    None,
    /// From `low` to `high`, where given.
    Fixed {
        /// Below this is outside.
        low: Option<f64>,
        /// Above this is outside.
        high: Option<f64>,
    },
    /// As the policy and the planner of the node compare it.
    Policy,
}

/// Something that stands in a site.
#[derive(Debug, Clone, PartialEq)]
pub struct Asset {
    /// Its id, unique in its site.
    pub id: String,
    /// Its name for people.
    pub name: String,
    /// What it is, one of [`KINDS`].
    pub kind: String,
    /// Where it stands.
    pub at: Point,
    /// The id of its zone.
    pub zone: Option<String>,
    /// The device it belongs to, by id or name.
    pub device: Option<String>,
    /// The actuator it is.
    pub actuator: Option<Capability>,
    /// The metric it reads, or that tells where it stands.
    pub sensor: Option<String>,
}

/// What an asset can be.
pub const KINDS: [&str; 12] = [
    "valve", "pump", "tank", "sensor", "motor", "fan", "light", "heater", "gate", "camera",
    "station", "other",
];
