//! Trust records, operators, issuers and grants, as the door answers with them.

use serde::{Deserialize, Serialize};

use crate::domain::policy::Level;

/// A trust record.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct TrustRecordView {
    /// The device.
    pub device_id: String,
    /// Its pinned key; learned at its first handshake where none was given.
    pub public_key: Option<String>,
    /// Its name for people.
    pub name: Option<String>,
    /// What it may do.
    pub grants: Vec<String>,
    /// When it was added.
    pub added_at: u64,
    /// When it was revoked.
    pub revoked_at: Option<u64>,
    /// Whether it is connected now; unknown while the node is stopped.
    pub connected: Option<bool>,
    /// What it has made this node keep, each against its share.
    #[serde(default)]
    pub usage: Vec<ShareView>,
}

/// What a device uses of one of its shares.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct ShareView {
    /// `records`, `issued`, `mirrors`, `mirror-bytes`, `waiting`, `minted`, `facts`, `origins`, `conflicts`,
    /// `kept-frames`, `kept-bytes` or `frame-bytes`.
    pub kind: String,
    /// How much it uses now.
    pub used: u64,
    /// The most it may use.
    pub limit: u64,
    /// How often something was refused because of it, since the node started.
    pub refused: u64,
}

/// What `trust add` was told.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TrustAdd {
    /// The device.
    pub device_id: String,
    /// Its key, to pin it before it first connects.
    #[serde(default)]
    pub public_key: Option<String>,
    /// A name for people.
    #[serde(default)]
    pub name: Option<String>,
    /// A preset: `field`, `command-center`, `owner`, `viewer`, `gen1`.
    #[serde(default)]
    pub preset: Option<String>,
    /// Further grants, for example `observe:T2,relay`.
    #[serde(default)]
    pub grants: Option<String>,
}

/// An operator an executor knows.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct OperatorView {
    /// The hash of the key.
    pub operator_id: String,
    /// The person's public key.
    pub public_key: String,
    /// The person's name.
    pub name: String,
    /// The person: the same for all their keys, which count once.
    pub person: String,
    /// The highest level they may approve.
    pub max_level: Level,
    /// The device that vouches for them.
    pub issuer: String,
    /// That device's name, where another device than this one and known.
    #[serde(default)]
    pub issuer_name: Option<String>,
    /// Whether that device's word on persons counts here: this node's own, or an accepted issuer's.
    pub counts: bool,
    /// When it was issued.
    pub issued_at: u64,
    /// When it ends.
    pub expires_at: Option<u64>,
    /// When the key was revoked.
    pub revoked_at: Option<u64>,
}

/// What `operator enroll` was told.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct OperatorEnroll {
    /// The person's public key.
    pub public_key: String,
    /// The person's name; may be left out where `person` is given.
    #[serde(default)]
    pub name: String,
    /// The person whose further key this is: the id or the name of somebody who is known here.
    #[serde(default)]
    pub person: Option<String>,
    /// The highest level they may approve.
    pub level: String,
    /// For how many days; a year where absent.
    #[serde(default)]
    pub days: Option<u32>,
}

/// A device whose operators are accepted here, or could be.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct IssuerView {
    /// The device.
    pub device_id: String,
    /// Its name for people.
    pub name: Option<String>,
    /// When a person here accepted its operators; absent: they count for nothing here.
    pub accepted_at: Option<u64>,
    /// No person has accepted it: its operators had decided here before acceptance was asked for.
    pub carried: bool,
    /// Whether it is trusted with `admin` now; without, its operators do not count either.
    pub issues: bool,
    /// The persons it vouches for, each with the highest level.
    pub names: Vec<String>,
}

/// A text in the languages of the console.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
pub struct WordsView {
    /// English.
    pub en: String,
    /// German.
    pub de: String,
}

/// One grant and what it lets a device do at worst.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
pub struct GrantWorstView {
    /// The grant.
    pub grant: String,
    /// What a device that holds it can do here at worst.
    pub worst: WordsView,
}

/// One preset.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
pub struct PresetView {
    /// The preset.
    pub preset: String,
    /// Its grants.
    pub grants: Vec<String>,
    /// Whom it is for.
    #[serde(rename = "for")]
    pub for_whom: WordsView,
}

/// What presets and grants can do at worst.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct GrantTableView {
    /// Every preset, the least first.
    pub presets: Vec<PresetView>,
    /// Every grant.
    pub grants: Vec<GrantWorstView>,
    /// What is said wherever `admin` is given or held.
    pub admin_warning: WordsView,
}

/// Grants to add or to take away, for example `relay,read`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GrantChange {
    /// The grants.
    pub grants: String,
}

/// Why something is taken back.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Why {
    /// The reason, for people.
    #[serde(default)]
    pub reason: Option<String>,
}
