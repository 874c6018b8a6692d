//! Records of a device with `admin` about operators and devices, signed, so that they can travel
//! through any node to those that trust the issuer (DESIGN §5).

use serde::{Deserialize, Serialize};

use super::channel::ChannelEnd;
use super::operators::{OperatorRevocation, SignedOperator};
use crate::domain::base::canonical::canonical_of;
use crate::domain::base::{DeviceId, MeshId, TimeMs};
use crate::domain::identity::{DeviceKey, PublicKey, Signature};

const DEVICE_DOMAIN: &[u8] = b"clawmesh/device-revocation/v1\n";
const CONFIRMATION_DOMAIN: &[u8] = b"clawmesh/records-confirmation/v1\n";

/// The end of trust in a device, wherever the issuer is believed. It is never taken back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DeviceRevocation {
    /// The mesh in which it counts.
    pub mesh_id: MeshId,
    /// Whose trust ends.
    pub device_id: DeviceId,
    /// The device that says so.
    pub issuer: DeviceId,
    /// When.
    pub revoked_at: TimeMs,
}

/// An issuer's word that what it said still holds. Without one for too long its operators may not
/// approve any more: a revocation may have been missed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Confirmation {
    /// The mesh in which it counts.
    pub mesh_id: MeshId,
    /// The device that says so.
    pub issuer: DeviceId,
    /// When.
    pub confirmed_at: TimeMs,
}

/// A signed record as it travels.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Record {
    /// A person may approve.
    Operator {
        /// Who, up to which level, vouched for by whom.
        signed: Box<SignedOperator>,
    },
    /// A person's key has ended.
    OperatorRevocation {
        /// Whose and why.
        revocation: OperatorRevocation,
        /// The issuer's.
        signature: Signature,
    },
    /// Trust in a device has ended.
    DeviceRevocation {
        /// Whose.
        revocation: DeviceRevocation,
        /// The issuer's.
        signature: Signature,
    },
    /// The issuer still stands by its word.
    Confirmation {
        /// When.
        confirmation: Confirmation,
        /// The issuer's.
        signature: Signature,
    },
    /// A channel key has ended. Its issuer is an operator or a device.
    ChannelEnd {
        /// Which.
        end: ChannelEnd,
        /// The issuer's.
        signature: Signature,
    },
}

/// A record with the key of its issuer, as it travels. The key's hash is the issuer's id, so any node
/// can prove the record, also one that has never met the issuer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Carried {
    /// The issuer's key.
    pub key: PublicKey,
    /// Its record.
    pub record: Record,
}

/// A record that its issuer has really made. Whether it counts here is another question.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Proven(Carried);

impl Carried {
    /// Proves the record; `None` if the key is not the issuer's or the issuer never said it.
    pub fn prove(self) -> Option<Proven> {
        let right = self.key.device_id() == *self.record.issuer() && self.record.verify(&self.key);
        right.then_some(Proven(self))
    }
}

impl Proven {
    /// A record of this very device, as its own desk has just signed it.
    pub fn own(record: Record, key: &DeviceKey) -> Option<Self> {
        let key = *key.public();
        Carried { key, record }.prove()
    }

    /// The record.
    pub fn record(&self) -> &Record {
        &self.0.record
    }

    /// The issuer's key.
    pub fn key(&self) -> &PublicKey {
        &self.0.key
    }
}

fn message(domain: &[u8], record: &impl Serialize) -> Vec<u8> {
    let mut bytes = domain.to_vec();
    // These records hold texts and whole numbers only, so they always have a canonical form.
    bytes.extend(canonical_of(record).unwrap_or_default());
    bytes
}

impl Record {
    /// Ends the trust in a device.
    pub fn revoke_device(revocation: DeviceRevocation, key: &DeviceKey) -> Self {
        let signature = key.sign(&message(DEVICE_DOMAIN, &revocation));
        Record::DeviceRevocation {
            revocation,
            signature,
        }
    }

    /// Confirms what this device has said.
    pub fn confirm(confirmation: Confirmation, key: &DeviceKey) -> Self {
        let signature = key.sign(&message(CONFIRMATION_DOMAIN, &confirmation));
        Record::Confirmation {
            confirmation,
            signature,
        }
    }

    /// Ends a channel key.
    pub fn end_channel(end: ChannelEnd, key: &DeviceKey) -> Self {
        let signature = key.sign(&end.signing_bytes());
        Record::ChannelEnd { end, signature }
    }

    /// The device that says it; of the end of a channel that an operator says, the hash of that operator's key.
    pub fn issuer(&self) -> &DeviceId {
        match self {
            Record::Operator { signed } => &signed.record.issuer,
            Record::OperatorRevocation { revocation, .. } => &revocation.issuer,
            Record::DeviceRevocation { revocation, .. } => &revocation.issuer,
            Record::Confirmation { confirmation, .. } => &confirmation.issuer,
            Record::ChannelEnd { end, .. } => &end.issuer,
        }
    }

    /// When it was said.
    pub fn at(&self) -> TimeMs {
        match self {
            Record::Operator { signed } => signed.record.issued_at,
            Record::OperatorRevocation { revocation, .. } => revocation.revoked_at,
            Record::DeviceRevocation { revocation, .. } => revocation.revoked_at,
            Record::Confirmation { confirmation, .. } => confirmation.confirmed_at,
            Record::ChannelEnd { end, .. } => end.ended_at,
        }
    }

    /// Kind, subject and issuer: of two records with the same one counts.
    pub fn id(&self) -> String {
        let issuer = self.issuer();
        match self {
            Record::Operator { signed } => {
                format!("operator:{}:{issuer}", signed.record.operator_id)
            }
            Record::OperatorRevocation { revocation, .. } => {
                format!("operator-revocation:{}:{issuer}", revocation.operator_id)
            }
            Record::DeviceRevocation { revocation, .. } => {
                format!("device-revocation:{}:{issuer}", revocation.device_id)
            }
            Record::Confirmation { .. } => format!("confirmation:{issuer}"),
            Record::ChannelEnd { end, .. } => {
                format!("channel-end:{}:{issuer}", end.channel.to_hex())
            }
        }
    }

    /// Whether this takes the place of another with the same id: what lasts stays, what is renewed is
    /// replaced by what is newer. Equal times are settled by the text, the same way at every node.
    pub fn replaces(&self, other: &Record) -> bool {
        match self {
            Record::OperatorRevocation { .. }
            | Record::DeviceRevocation { .. }
            | Record::ChannelEnd { .. } => self.at() < other.at(),
            Record::Operator { .. } | Record::Confirmation { .. } => {
                let text = |r: &Record| canonical_of(r).unwrap_or_default();
                (self.at(), text(self)) > (other.at(), text(other))
            }
        }
    }

    /// Whether it is of this mesh, as far as it says.
    pub fn is_of(&self, mesh: &MeshId) -> bool {
        match self {
            Record::DeviceRevocation { revocation, .. } => revocation.mesh_id == *mesh,
            Record::Confirmation { confirmation, .. } => confirmation.mesh_id == *mesh,
            Record::ChannelEnd { end, .. } => end.mesh_id == *mesh,
            Record::Operator { .. } | Record::OperatorRevocation { .. } => true,
        }
    }

    /// Whether the issuer, whose key this is, really said it.
    pub fn verify(&self, issuer_key: &PublicKey) -> bool {
        match self {
            Record::Operator { signed } => signed.is_signed_by(issuer_key),
            Record::OperatorRevocation {
                revocation,
                signature,
            } => revocation.verify(issuer_key, signature),
            Record::DeviceRevocation {
                revocation,
                signature,
            } => issuer_key.verify_strict(&message(DEVICE_DOMAIN, revocation), signature),
            Record::Confirmation {
                confirmation,
                signature,
            } => issuer_key.verify_strict(&message(CONFIRMATION_DOMAIN, confirmation), signature),
            Record::ChannelEnd { end, signature } => {
                issuer_key.verify_strict(&end.signing_bytes(), signature)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::identity::DeviceKey;

    fn key(n: u8) -> DeviceKey {
        DeviceKey::from_seed(&[n; 32])
    }

    fn end(of: u8, by: u8, at: u64, mesh: &str) -> Record {
        let revocation = DeviceRevocation {
            mesh_id: MeshId::of_name(mesh),
            device_id: key(of).id().clone(),
            issuer: key(by).id().clone(),
            revoked_at: TimeMs(at),
        };
        Record::revoke_device(revocation, &key(by))
    }

    fn still(by: u8, at: u64) -> Record {
        let confirmation = Confirmation {
            mesh_id: MeshId::of_name("m"),
            issuer: key(by).id().clone(),
            confirmed_at: TimeMs(at),
        };
        Record::confirm(confirmation, &key(by))
    }

    #[test]
    fn a_record_is_its_issuers_or_nothing() {
        let record = end(1, 2, 5, "m");
        assert!(record.verify(key(2).public()));
        assert!(!record.verify(key(3).public()));
        let text = serde_json::to_string(&record).unwrap();
        assert_eq!(serde_json::from_str::<Record>(&text).unwrap(), record);
        let altered: Record =
            serde_json::from_str(&text.replace("\"revokedAt\":5", "\"revokedAt\":6")).unwrap();
        assert!(!altered.verify(key(2).public()));
        assert!(record.is_of(&MeshId::of_name("m")) && !record.is_of(&MeshId::of_name("n")));
    }

    #[test]
    fn the_first_revocation_stands_and_the_newest_confirmation_counts() {
        assert!(end(1, 2, 5, "m").replaces(&end(1, 2, 9, "m")));
        assert!(!end(1, 2, 9, "m").replaces(&end(1, 2, 5, "m")));
        assert!(still(2, 9).replaces(&still(2, 5)));
        assert!(!still(2, 5).replaces(&still(2, 5)));
        assert_ne!(end(1, 2, 5, "m").id(), end(1, 3, 5, "m").id());
    }
}
