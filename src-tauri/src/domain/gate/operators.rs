//! Operator records: keys of persons, known to executors by signed records (DESIGN §5).

use serde::{Deserialize, Serialize};

use crate::domain::base::canonical::canonical_of;
use crate::domain::base::limits::OPERATOR_RECORD_MAX_AGE_MS;
use crate::domain::base::{Code, DeviceId, OperatorId, Refusal, TimeMs};
use crate::domain::identity::{DeviceKey, PublicKey, Signature};
use crate::domain::policy::Level;

const RECORD_DOMAIN: &[u8] = b"clawmesh/operator/v1\n";
const REVOCATION_DOMAIN: &[u8] = b"clawmesh/operator-revocation/v1\n";

/// An executor's record of a person, issued by a device with `admin`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct OperatorRecord {
    /// The hash of the key.
    pub operator_id: OperatorId,
    /// The person's public key.
    pub public_key: PublicKey,
    /// The person's name, for people.
    pub name: String,
    /// The first key of the person, where this is a further one; absent, the key stands for a person of
    /// that name (see `persons`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub person: Option<OperatorId>,
    /// The highest level they may approve.
    pub max_level: Level,
    /// The device that vouches for them.
    pub issuer: DeviceId,
    /// When it was issued.
    pub issued_at: TimeMs,
    /// When it ends, where it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<TimeMs>,
}

/// A record with its issuer's signature.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignedOperator {
    /// The record.
    pub record: OperatorRecord,
    /// By whom, proven.
    pub signature: Signature,
}

/// The end of an operator key; it wins over any record, older or newer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct OperatorRevocation {
    /// Whose key ends.
    pub operator_id: OperatorId,
    /// The device that says so.
    pub issuer: DeviceId,
    /// When.
    pub revoked_at: TimeMs,
    /// Why, for people.
    pub reason: String,
}

fn message(domain: &[u8], record: &impl Serialize) -> Vec<u8> {
    let mut bytes = domain.to_vec();
    // These records hold texts and whole numbers only, so they always have a canonical form.
    bytes.extend(canonical_of(record).unwrap_or_default());
    bytes
}

impl SignedOperator {
    /// A record signed by its issuer.
    pub fn issue(record: OperatorRecord, key: &DeviceKey) -> Self {
        let signature = key.sign(&message(RECORD_DOMAIN, &record));
        Self { record, signature }
    }

    /// Whether the record carries its issuer's signature.
    pub fn is_signed_by(&self, issuer_key: &PublicKey) -> bool {
        issuer_key.verify_strict(&message(RECORD_DOMAIN, &self.record), &self.signature)
    }

    /// Whether the record is right and still counts.
    ///
    /// `issuer_key` is the key of the issuing device, if that device may issue records here: the
    /// executor itself, or a trusted device with `admin`.
    ///
    /// # Errors
    /// `OPERATOR_UNKNOWN` or `OPERATOR_EXPIRED`, with the reason.
    pub fn check(&self, issuer_key: Option<&PublicKey>, now: TimeMs) -> Result<(), Refusal> {
        let record = &self.record;
        let unknown = |why: &str| {
            Err(Refusal::new(
                Code::OperatorUnknown,
                format!("operator {}: {why}", record.name),
            ))
        };
        if record.public_key.operator_id() != record.operator_id {
            return unknown("the operator id is not the hash of the key");
        }
        let Some(issuer_key) = issuer_key else {
            return unknown("the device that issued the record holds no admin grant here");
        };
        if !self.is_signed_by(issuer_key) {
            return unknown("the record is not signed by its issuer");
        }
        let expired = |why: &str| {
            Err(Refusal::new(
                Code::OperatorExpired,
                format!("operator {}: {why}", record.name),
            ))
        };
        if record.expires_at.is_some_and(|end| now >= end) {
            return expired("the record has expired; enroll the key again");
        }
        if now.since(record.issued_at) > OPERATOR_RECORD_MAX_AGE_MS {
            return expired("the record is older than a year; enroll the key again");
        }
        Ok(())
    }
}

impl OperatorRevocation {
    /// The issuer's signature over the revocation.
    pub fn sign(&self, key: &DeviceKey) -> Signature {
        key.sign(&message(REVOCATION_DOMAIN, self))
    }

    /// Whether the issuer really said so.
    pub fn verify(&self, issuer_key: &PublicKey, signature: &Signature) -> bool {
        issuer_key.verify_strict(&message(REVOCATION_DOMAIN, self), signature)
    }
}
