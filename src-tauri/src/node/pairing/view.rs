//! What a pairing looks like from the operator door. Everything from the other side is cleaned.

use serde::{Deserialize, Serialize};

/// Pairing on this node, all of it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct PairingView {
    /// The open window, if there is one.
    pub window: Option<PairWindowView>,
    /// The pairing under way, if there is one.
    pub session: Option<PairSessionView>,
    /// The pairing that ended last since the node started.
    pub last: Option<PairEndView>,
    /// Nodes nearby that could be paired with.
    pub nearby: Vec<Nearby>,
}

/// A window in which others may begin to pair with this node.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct PairWindowView {
    /// Until when, in milliseconds since 1970.
    pub until: u64,
    /// How many pairings may still be begun.
    pub tries_left: u32,
    /// The text of the QR code. It holds the window's secret.
    pub link: String,
}

/// Where a pairing stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum PairStage {
    /// The other side is being reached, or the two exchange what they must.
    Exchanging,
    /// Persons compare.
    Comparing,
    /// Both said yes; trust is being stored.
    Storing,
}

/// A pairing under way.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct PairSessionView {
    /// Its number on this node.
    pub id: u64,
    /// `initiator` or `acceptor`.
    pub side: String,
    /// Where it stands.
    pub stage: PairStage,
    /// Until when both must have said yes, in milliseconds since 1970.
    pub until: u64,
    /// What to compare, once there is something.
    pub compare: Option<PairCompareView>,
    /// What our person said: `yes` or nothing yet.
    pub ours: Option<String>,
    /// What the other person said.
    pub theirs: Option<String>,
}

/// What a person compares and decides on.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct PairCompareView {
    /// Who is at the other end.
    pub peer: PairPeerView,
    /// Seven pictures, in order.
    pub emoji: Vec<PairEmoji>,
    /// The number, for example `012 3456`.
    pub digits: String,
    /// The preset that fits the other side's role.
    pub suggested: String,
    /// Who moves to which mesh: `this node joins mesh …`, or nothing.
    pub joins: Option<String>,
}

/// A picture with its name.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct PairEmoji {
    /// The picture.
    pub emoji: String,
    /// What it is called.
    pub name: String,
}

impl From<(&str, &str)> for PairEmoji {
    fn from((emoji, name): (&str, &str)) -> Self {
        Self {
            emoji: emoji.to_owned(),
            name: name.to_owned(),
        }
    }
}

/// The other side of a pairing, as it introduced itself.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct PairPeerView {
    /// The hash of its key.
    pub device_id: String,
    /// Its name, cleaned and cut.
    pub name: String,
    /// Its role, cleaned and cut.
    pub role: String,
    /// Its mesh, cleaned and cut.
    pub mesh: String,
}

/// How a pairing ended.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct PairEndView {
    /// Its number on this node.
    pub id: u64,
    /// Whether trust is stored here.
    pub stored: bool,
    /// Whether the other side said that it stored trust too.
    pub complete: bool,
    /// The code of the failure.
    pub code: Option<String>,
    /// What happened, for people.
    pub message: String,
    /// The other side, as far as it was known.
    pub peer: Option<PairPeerView>,
    /// Whether this node starts again, because it joins the other's mesh.
    pub restarting: bool,
}

/// A node nearby.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Nearby {
    /// Its device id, as it claims.
    pub device: String,
    /// Its name, cleaned.
    pub name: String,
    /// Its mesh.
    pub mesh: String,
    /// Where it can be dialed.
    pub url: String,
    /// Whether its window is open.
    pub pairing: bool,
}
