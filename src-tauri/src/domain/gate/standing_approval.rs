//! Standing approvals: a person's signature over an action that may begin several times, within bounds, until a moment, at
//! the one executor that it names (invariant I5).
//!
//! One counts as its giver's vote on a proposal at L2 that a person at the executor or a rule asks for and that nothing of a
//! model has a part in. The gate asks everything else as for any other vote. How often it was used is counted where it is
//! used; the caller of [`vote`] passes that count.

mod allowed;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use serde_json::Value;

pub use self::allowed::Allowed;
use super::approval::{Known, VerifiedApproval, Vouched, check_key, check_level};
use crate::domain::base::canonical::canonical_of;
use crate::domain::base::limits::{
    ACTUATION_MAX_MS, DECISION_VALID_MS, NAME_MAX_BYTES, SIGNER_AHEAD_MAX_MS, STANDING_MAX_MS,
    STANDING_USES_MAX, TEXT_MAX_CHARS,
};
use crate::domain::base::{
    Code, DeviceId, Digest, EvidenceSource, MeshId, OperatorId, Refusal, Taint, TimeMs,
};
use crate::domain::capability::{Action, Capability, Params};
use crate::domain::identity::{OperatorKey, PublicKey, Signature};
use crate::domain::policy::{Level, Requester};

const DOMAIN: &[u8] = b"clawmesh/standing-approval/v1\n";
const END_DOMAIN: &[u8] = b"clawmesh/standing-approval-end/v1\n";

/// A standing approval, as the person signs it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct StandingApproval {
    /// The form of the record; 1.
    pub version: u32,
    /// The mesh in which it counts.
    pub mesh_id: MeshId,
    /// The executor at which it counts.
    pub executor: DeviceId,
    /// Who gives it.
    pub operator_id: OperatorId,
    /// The actuator.
    pub target: Capability,
    /// Its operation.
    pub operation: String,
    /// Its parameters: an action has each of these and no other.
    pub params: BTreeMap<String, Allowed>,
    /// Whose wishes begin by it: `person`, `rules` or both, in the order `rules`, `person`.
    pub askers: BTreeSet<Requester>,
    /// The longest that one use may run, in milliseconds.
    pub run_max_ms: u64,
    /// How often it may be used.
    pub uses_max: u32,
    /// From when it counts, by the executor's clock.
    pub valid_from: TimeMs,
    /// Until when it counts, by the executor's clock.
    pub valid_until: TimeMs,
    /// When it was given, by the giver's clock.
    pub given_at: TimeMs,
    /// Random text, so that equal approvals have different ids.
    pub nonce: String,
    /// The person's note.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// A standing approval with its giver's signature.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignedStanding {
    /// The approval.
    pub approval: StandingApproval,
    /// By whom, proven.
    pub signature: Signature,
}

/// A person's word that a standing approval ends. It is never taken back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct StandingEnd {
    /// The mesh.
    pub mesh_id: MeshId,
    /// The executor at which it counted.
    pub executor: DeviceId,
    /// The standing approval.
    pub approval: Digest,
    /// Who ends it: its giver, or any other operator of that executor.
    pub operator_id: OperatorId,
    /// When, by that person's clock.
    pub ended_at: TimeMs,
    /// The person's note.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// The end of a standing approval with the signature of who ends it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignedStandingEnd {
    /// Which ends.
    pub end: StandingEnd,
    /// By whom, proven.
    pub signature: Signature,
}

fn message(domain: &[u8], record: &impl Serialize) -> Vec<u8> {
    let mut bytes = domain.to_vec();
    // JSON has no number without a canonical form, and neither have these records.
    bytes.extend(canonical_of(record).unwrap_or_default());
    bytes
}

impl StandingApproval {
    /// The bytes a person signs.
    pub fn signing_bytes(&self) -> Vec<u8> {
        message(DOMAIN, self)
    }

    /// Its id: the hash of the bytes that are signed, so that any other content is another one.
    pub fn id(&self) -> Digest {
        Digest::of(&[&self.signing_bytes()])
    }

    /// The approval, signed in the person's own process.
    pub fn sign(self, key: &OperatorKey) -> SignedStanding {
        let signature = key.sign(&self.signing_bytes());
        SignedStanding {
            approval: self,
            signature,
        }
    }

    /// Whether it says something that can be approved.
    ///
    /// # Errors
    /// `INVALID_PARAMS`, with what is wrong.
    pub fn check_form(&self) -> Result<(), Refusal> {
        let bad = |why: String| Err(Refusal::new(Code::InvalidParams, why));
        if self.version != 1 {
            return bad(format!("version {} is not known here", self.version));
        }
        if !self.target.is_actuator() {
            return bad(format!("{} is no actuator", self.target));
        }
        let params = self.params.iter();
        let example: Params = params.map(|(n, a)| (n.clone(), a.example())).collect();
        if let Err(error) = Action::new(self.target.clone(), &self.operation, example) {
            return bad(error.to_string());
        }
        if let Some((name, _)) = self.params.iter().find(|(_, a)| !a.is_sound()) {
            return bad(format!("parameter {name}: min must not be above max"));
        }
        if self.askers.is_empty() || self.askers.contains(&Requester::Llm) {
            return bad("askers must be rules, person or both; a model's wish waits for a person in any case".to_owned());
        }
        if self.run_max_ms == 0 || self.run_max_ms > ACTUATION_MAX_MS {
            let most = ACTUATION_MAX_MS / 1_000;
            return bad(format!(
                "one use may run for up to {most} s, and for more than 0"
            ));
        }
        if self.uses_max == 0 || self.uses_max > STANDING_USES_MAX {
            return bad(format!("it may be used 1 to {STANDING_USES_MAX} times"));
        }
        let days = STANDING_MAX_MS / 86_400_000;
        if self.valid_from >= self.valid_until
            || self.valid_until.since(self.given_at) > STANDING_MAX_MS
        {
            return bad(format!(
                "it must begin before it ends, and end within {days} days"
            ));
        }
        let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
        let sound = (16..=NAME_MAX_BYTES).contains(&self.nonce.len());
        if !sound || !self.nonce.bytes().all(plain) {
            return bad("nonce must be 16 or more random letters, digits, '-' or '_'".to_owned());
        }
        check_note(self.note.as_ref())
    }

    /// Whether an action is one that it approves.
    ///
    /// # Errors
    /// The difference.
    pub fn covers(&self, action: &Action, run_ms: u64) -> Result<(), String> {
        if self.target != action.target || self.operation != action.operation {
            return Err("it is for another action".to_owned());
        }
        let mut named = action.params.keys().chain(self.params.keys());
        if let Some(name) =
            named.find(|n| !self.params.contains_key(*n) || !action.params.contains_key(*n))
        {
            return Err(format!("parameter {name} is not in both"));
        }
        let other = |(name, value): &(&String, &Value)| {
            self.params.get(*name).is_none_or(|a| !a.takes(value))
        };
        if let Some((name, value)) = action.params.iter().find(other) {
            return Err(format!("parameter {name} is {value}"));
        }
        if run_ms > self.run_max_ms {
            let (ms, most) = (run_ms, self.run_max_ms);
            return Err(format!("it would run {ms} ms, approved are {most} ms"));
        }
        Ok(())
    }

    /// Its action, in words: `start durationSec=60 to 600 on actuator:pump:main`.
    pub fn summary(&self) -> String {
        let params = self.params.iter();
        let params: String = params.map(|(n, a)| format!(" {n}={}", a.shown())).collect();
        format!("{}{params} on {}", self.operation, self.target)
    }
}

impl SignedStanding {
    /// Whether the operator of this key signed it.
    pub fn is_signed_by(&self, key: &PublicKey) -> bool {
        key.verify_strict(&self.approval.signing_bytes(), &self.signature)
    }
}

impl StandingEnd {
    /// The bytes a person signs.
    pub fn signing_bytes(&self) -> Vec<u8> {
        message(END_DOMAIN, self)
    }

    /// The end, signed in the person's own process.
    pub fn sign(self, key: &OperatorKey) -> SignedStandingEnd {
        let signature = key.sign(&self.signing_bytes());
        SignedStandingEnd {
            end: self,
            signature,
        }
    }
}

impl SignedStandingEnd {
    /// Whether the operator of this key signed it.
    pub fn is_signed_by(&self, key: &PublicKey) -> bool {
        key.verify_strict(&self.end.signing_bytes(), &self.signature)
    }
}

fn check_note(note: Option<&String>) -> Result<(), Refusal> {
    match note {
        Some(note) if note.chars().count() > TEXT_MAX_CHARS => Err(Refusal::new(
            Code::ApprovalInvalid,
            format!("the note is longer than {TEXT_MAX_CHARS} characters"),
        )),
        _ => Ok(()),
    }
}

/// Where a standing approval is looked at.
#[derive(Debug, Clone, Copy)]
pub struct Executor<'a> {
    /// Its mesh.
    pub mesh_id: &'a MeshId,
    /// Its device.
    pub own: &'a DeviceId,
    /// When a person last said which state or which time is the right one here: none that was signed before counts.
    pub void_before: TimeMs,
}

impl Executor<'_> {
    fn check(&self, mesh: &MeshId, executor: &DeviceId) -> Result<(), Refusal> {
        if mesh != self.mesh_id {
            let why = "the standing approval is for another mesh";
            return Err(Refusal::new(Code::WrongMesh, why));
        }
        if executor != self.own {
            let why = "the standing approval is for another executor";
            return Err(Refusal::new(Code::WrongExecutor, why));
        }
        Ok(())
    }
}

/// Whether it is sound, for this executor, and its giver may give it here as of now. When it counts is not asked.
///
/// # Errors
/// One code per fault.
pub fn holds(
    signed: &SignedStanding,
    at: &Executor<'_>,
    known: &Known<'_>,
    now: TimeMs,
) -> Result<(), Refusal> {
    let approval = &signed.approval;
    at.check(&approval.mesh_id, &approval.executor)?;
    approval.check_form()?;
    let proven = signed.is_signed_by(&known.operator.record.public_key);
    check_key(known, &approval.operator_id, proven, now)?;
    check_level(known, Level::L2)
}

/// Checks a standing approval that has just been given: for this executor and mesh, within bounds, by an operator who may
/// approve at L2 here, signed a moment ago.
///
/// # Errors
/// One code per fault; nothing is stored.
pub fn admit(
    signed: &SignedStanding,
    at: &Executor<'_>,
    known: &Known<'_>,
    now: TimeMs,
) -> Result<(), Refusal> {
    holds(signed, at, known, now)?;
    let no = |why: String| Err(Refusal::new(Code::ApprovalInvalid, why));
    let approval = &signed.approval;
    let age = now.since(approval.given_at);
    if age > DECISION_VALID_MS || approval.given_at.since(now) > SIGNER_AHEAD_MAX_MS {
        return no(format!(
            "the standing approval was signed {} s before or after now; give it again, or set the clock of the machine it was signed on",
            now.distance(approval.given_at) / 1_000
        ));
    }
    // The signer's clock may be as much ahead.
    if approval.given_at <= at.void_before.plus(SIGNER_AHEAD_MAX_MS) && at.void_before != TimeMs(0)
    {
        return no("a person here has just said which state or time is the right one, and what was signed before counts no more; give it again in a minute".to_owned());
    }
    if now >= approval.valid_until {
        return no("the standing approval has run out".to_owned());
    }
    Ok(())
}

/// Checks a person's signed end of a standing approval: by an operator of this executor, whatever their level.
///
/// # Errors
/// One code per fault.
pub fn admit_end(
    signed: &SignedStandingEnd,
    at: &Executor<'_>,
    known: &Known<'_>,
    now: TimeMs,
) -> Result<(), Refusal> {
    let end = &signed.end;
    at.check(&end.mesh_id, &end.executor)?;
    check_note(end.note.as_ref())?;
    let proven = signed.is_signed_by(&known.operator.record.public_key);
    check_key(known, &end.operator_id, proven, now)
}

/// The proposal on which a standing approval may be a vote.
#[derive(Debug, Clone, Copy)]
pub struct Wish<'a> {
    /// The digest of its record.
    pub digest: &'a Digest,
    /// The action.
    pub action: &'a Action,
    /// How long it would run, in milliseconds.
    pub run_ms: u64,
    /// Its level.
    pub level: Level,
    /// The kind of asker.
    pub requester: Requester,
    /// The device that asked.
    pub asked_by: &'a DeviceId,
    /// The device whose planner led to it, where another one's did.
    pub led_by: Option<&'a DeviceId>,
    /// Its marks.
    pub taint: &'a BTreeSet<Taint>,
    /// Where what it rests on comes from.
    pub sources: &'a BTreeSet<EvidenceSource>,
}

impl Wish<'_> {
    /// Whether nothing of a model has a part in it.
    fn is_no_models(&self) -> bool {
        self.requester != Requester::Llm
            && self.taint.is_empty()
            && self.led_by.is_none()
            && !self.sources.contains(&EvidenceSource::Llm)
    }
}

/// Which use of which standing approval a vote is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StandingUse {
    /// The standing approval.
    pub id: Digest,
    /// The number of this use, from 1.
    pub number: u32,
    /// How many there may be.
    pub of: u32,
}

/// The start of an id, as people read it.
pub fn short(id: &Digest) -> String {
    id.to_hex().chars().take(8).collect()
}

/// The vote that a standing approval is on a proposal, where it was used `used` times.
///
/// # Errors
/// Why it is none.
pub fn vote(
    signed: &SignedStanding,
    used: u32,
    at: &Executor<'_>,
    known: &Known<'_>,
    wish: &Wish<'_>,
    now: TimeMs,
) -> Result<VerifiedApproval, Refusal> {
    let approval = &signed.approval;
    let no = |why: String| Err(Refusal::new(Code::ApprovalInvalid, why));
    if !wish.is_no_models() {
        return no(
            "a model has a part in it, so a person must approve this very action".to_owned(),
        );
    }
    if wish.level != Level::L2 {
        return no(format!(
            "standing approvals count at L2, this is {}",
            wish.level
        ));
    }
    if !approval.askers.contains(&wish.requester) {
        return no(format!("it is not for what {} ask for", wish.requester));
    }
    if let Err(why) = approval.covers(wish.action, wish.run_ms) {
        return no(why);
    }
    if now < approval.valid_from || now >= approval.valid_until {
        return no("it does not count now".to_owned());
    }
    if used >= approval.uses_max {
        return no(format!("it was used {used} times"));
    }
    holds(signed, at, known, now)?;
    let vouched = Vouched {
        asked_by: wish.asked_by,
        led_by: wish.led_by,
        executor: at.own,
    };
    vouched.check(known)?;
    let number = used.saturating_add(1);
    let id = approval.id();
    let of = approval.uses_max;
    Ok(VerifiedApproval::standing(
        known,
        wish.digest,
        StandingUse { id, number, of },
    ))
}

#[cfg(test)]
mod tests;
