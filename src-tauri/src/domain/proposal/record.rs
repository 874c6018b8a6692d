//! The record an executor mints and signs: everything a person agrees to, in one canonical form.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::domain::base::canonical::{canonical_of, to_canonical};
use crate::domain::base::limits::{
    EVIDENCE_MAX, EVIDENCE_SUMMARY_MAX_CHARS, EVIDENCE_WATCHED_MAX, NAME_MAX_BYTES,
    SEQUENCE_STEPS_MAX, TEXT_MAX_CHARS,
};
use crate::domain::base::{
    Code, DeviceId, Digest, DraftId, EvidenceSource, FrameId, MeshId, ProposalId, Refusal, Taint,
    Tier, TimeMs,
};
use crate::domain::capability::{Action, Capability, Params};
use crate::domain::gate::Gen1Command;
use crate::domain::identity::{DeviceKey, PublicKey, Signature};
use crate::domain::policy::{EvidenceView, Kind, Level, Requester};
use crate::domain::wire::FrameKind;
use crate::domain::world::SignatureState;

const DOMAIN: &[u8] = b"clawmesh/proposal/v1\n";
const ID_DOMAIN: &[u8] = b"clawmesh/proposal-id/v1\n";

/// One frame a proposal rests on, as the executor itself holds it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Evidence {
    /// The frame.
    #[cfg_attr(test, schema(value_type = String))]
    pub frame_id: FrameId,
    /// The hash of its content.
    #[cfg_attr(test, schema(value_type = String))]
    pub content: Digest,
    /// The device it came from.
    #[cfg_attr(test, schema(value_type = String))]
    pub origin: DeviceId,
    /// What kind of frame.
    pub kind: FrameKind,
    /// What it says, in words.
    pub summary: String,
    /// The tier its origin claimed.
    pub claimed_tier: Tier,
    /// The tier the executor vouches for.
    pub effective_tier: Tier,
    /// What is known of its signature.
    pub signature: SignatureState,
    /// Marks that stay.
    pub taint: BTreeSet<Taint>,
    /// When it was sensed.
    pub sensed_at: TimeMs,
    /// How old it was when the proposal was minted, in milliseconds: the larger of the time since it
    /// was sensed and the time since the executor had it.
    pub age_ms: u64,
    /// Whether it is only what an interlock looks at. That is shown, and is no evidence for the wish.
    #[serde(default, skip_serializing_if = "is_false")]
    pub interlock: bool,
}

#[allow(clippy::trivially_copy_pass_by_ref)] // serde asks for a reference
fn is_false(value: &bool) -> bool {
    !value
}

impl Evidence {
    /// What the policy weighs of it.
    pub fn view(&self) -> EvidenceView {
        EvidenceView {
            origin: self.origin.clone(),
            effective: self.effective_tier,
            age_ms: self.age_ms,
            signature: self.signature,
        }
    }
}

/// Who asked, as the executor knows it from the authenticated link.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct RequestedBy {
    /// The device the draft came from.
    #[cfg_attr(test, schema(value_type = String))]
    pub device_id: DeviceId,
    /// What it says asked: rules, a person, a model.
    pub kind: Requester,
    /// The name it gives.
    pub name: String,
}

/// What people agree to. Any change is another record with another digest.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ProposalRecord {
    /// The form of the record; 1.
    pub version: u32,
    /// The mesh.
    pub mesh_id: MeshId,
    /// The executor that minted it and alone may act on it.
    pub executor: DeviceId,
    /// Its id; see [`ProposalRecord::id_for`].
    pub proposal_id: ProposalId,
    /// Random text, so that equal wishes have different digests.
    pub nonce: String,
    /// The draft it was minted from.
    pub draft_id: DraftId,
    /// Who asked.
    pub requested_by: RequestedBy,
    /// The actuator.
    pub target: Capability,
    /// What it does.
    pub operation: String,
    /// With which parameters.
    pub params: Params,
    /// Why, as the asker put it.
    pub reason: String,
    /// Who must agree.
    pub level: Level,
    /// How many distinct operators.
    pub quorum: u32,
    /// Whether the code that the executor shows at its own console stands for one of two operators.
    #[serde(default, skip_serializing_if = "is_false")]
    pub at_node: bool,
    /// The policy rule that says so.
    pub rule: String,
    /// Marks that stay.
    pub taint: BTreeSet<Taint>,
    /// The policy it was minted under.
    pub policy_digest: Digest,
    /// What it rests on.
    pub evidence: Vec<Evidence>,
    /// The digest of the evidence.
    pub evidence_digest: Digest,
    /// How long the action will last, in milliseconds.
    pub run_ms: u64,
    /// The operation that ends it.
    pub safe_state: String,
    /// What a gen-1 node is told that acts on it; absent where the executor does so itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gen1: Option<Gen1Command>,
    /// The time of a schedule that it was asked for; absent where it rests on something else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slot: Option<TimeMs>,
    /// The device whose planner or model led to it, where another one's did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub led_by: Option<DeviceId>,
    /// How the action lasts and what ends it; absent where it is timed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<Kind>,
    /// When it was minted.
    pub created_at: TimeMs,
    /// When it stops waiting.
    pub expires_at: TimeMs,
}

impl ProposalRecord {
    /// The id of the proposal that an executor mints with a nonce. It follows from who mints it, so that
    /// nobody can take another executor's id for a record of its own, wherever that is heard of first.
    pub fn id_for(mesh: &MeshId, executor: &DeviceId, nonce: &str) -> ProposalId {
        // None of the first two contains a line break.
        let parts = [mesh.as_str(), "\n", executor.as_str(), "\n", nonce].map(str::as_bytes);
        let [mesh, end, executor, _, nonce] = parts;
        let Digest(hash) = Digest::of(&[ID_DOMAIN, mesh, end, executor, end, nonce]);
        let mut id = [0; 16];
        id.iter_mut().zip(hash).for_each(|(to, from)| *to = from);
        ProposalId::from(uuid::Builder::from_custom_bytes(id).into_uuid())
    }

    /// Whether its id is the one that its executor gives with its nonce.
    pub fn has_own_id(&self) -> bool {
        self.proposal_id == Self::id_for(&self.mesh_id, &self.executor, &self.nonce)
    }

    /// Checks that no text of it is longer than one that this version mints: a person reads them all
    /// before deciding.
    ///
    /// # Errors
    /// `TOO_LARGE` naming the member.
    pub fn check_texts(&self) -> Result<(), Refusal> {
        let too_large = |what: String| Err(Refusal::new(Code::TooLarge, what));
        if let Err(error) = Action::new(self.target.clone(), &self.operation, self.params.clone()) {
            return too_large(format!("the action of a proposal: {error}"));
        }
        if let Some(Gen1Command { action, .. }) = &self.gen1
            && let Err(error) = Action::new(
                action.target.clone(),
                &action.operation,
                action.params.clone(),
            )
        {
            return too_large(format!("the gen-1 command of a proposal: {error}"));
        }
        self.check_steps()?;
        let texts = [
            ("reason", &self.reason, TEXT_MAX_CHARS),
            ("requestedBy.name", &self.requested_by.name, TEXT_MAX_CHARS),
            ("rule", &self.rule, NAME_MAX_BYTES),
            ("safeState", &self.safe_state, NAME_MAX_BYTES),
            ("nonce", &self.nonce, NAME_MAX_BYTES),
        ];
        let summaries = self.evidence.iter();
        let summaries = summaries.map(|e| ("summary", &e.summary, EVIDENCE_SUMMARY_MAX_CHARS));
        for (name, text, most) in texts.into_iter().chain(summaries) {
            if text.chars().count() > most {
                return too_large(format!(
                    "{name} of a proposal has more than {most} characters"
                ));
            }
        }
        if self.evidence.len() > EVIDENCE_MAX + EVIDENCE_WATCHED_MAX {
            return too_large(format!(
                "a proposal rests on {} frames, at most {} are allowed",
                self.evidence.len(),
                EVIDENCE_MAX + EVIDENCE_WATCHED_MAX
            ));
        }
        Ok(())
    }

    /// As [`ProposalRecord::check_texts`], of the steps of a sequence.
    fn check_steps(&self) -> Result<(), Refusal> {
        let too_large = |what: String| Err(Refusal::new(Code::TooLarge, what));
        let steps = self.kind.as_ref().map_or(&[][..], Kind::steps);
        if steps.len() > SEQUENCE_STEPS_MAX {
            return too_large(format!(
                "a proposal has {} steps, at most {SEQUENCE_STEPS_MAX} are allowed",
                steps.len()
            ));
        }
        for step in steps {
            let Action {
                target,
                operation,
                params,
            } = step.action.clone();
            if let Err(error) = Action::new(target, &operation, params) {
                return too_large(format!("a step of a proposal: {error}"));
            }
            if [&step.rule, &step.safe_state]
                .into_iter()
                .any(|text| text.chars().count() > NAME_MAX_BYTES)
            {
                return too_large(format!(
                    "the rule or safe state of a step has more than {NAME_MAX_BYTES} characters"
                ));
            }
        }
        Ok(())
    }

    /// The action it is about.
    pub fn action(&self) -> Action {
        Action {
            target: self.target.clone(),
            operation: self.operation.clone(),
            params: self.params.clone(),
        }
    }

    /// How the action lasts and what ends it.
    pub fn kind(&self) -> Kind {
        self.kind.clone().unwrap_or_default()
    }

    /// The actuators that it moves: its target, or those of the steps of a sequence, each once.
    pub fn actuators(&self) -> Vec<Capability> {
        let steps = self.kind.as_ref().map_or(&[][..], Kind::steps);
        let mut all: Vec<Capability> = Vec::new();
        for step in steps.iter().map(|step| &step.action.target) {
            if !all.contains(step) {
                all.push(step.clone());
            }
        }
        match all.is_empty() {
            true => vec![self.target.clone()],
            false => all,
        }
    }

    /// Whether it may take the place of another one that acts, without the safe state between them: both are settings
    /// by one rule, of one actuator, by one operation, and end alike.
    pub fn may_replace(&self, acts: &ProposalRecord) -> bool {
        let is_set = |record: &ProposalRecord| matches!(record.kind, Some(Kind::Set { .. }));
        let place = |record: &ProposalRecord| {
            (
                record.target.clone(),
                record.operation.clone(),
                record.rule.clone(),
                record.safe_state.clone(),
            )
        };
        is_set(self)
            && is_set(acts)
            && place(self) == place(acts)
            && self.operation != self.safe_state
    }

    /// Where what it rests on comes from; what only an interlock looks at is no part of that.
    pub fn sources(&self) -> BTreeSet<EvidenceSource> {
        let marked = !self.taint.is_empty() || self.requested_by.kind == Requester::Llm;
        let evidence = self.evidence.iter().filter(|e| !e.interlock);
        let of = |kind| match kind {
            FrameKind::Observation => EvidenceSource::Sensor,
            FrameKind::Event | FrameKind::CapabilityUpdate => EvidenceSource::Device,
            FrameKind::HumanInput => EvidenceSource::Human,
            FrameKind::Inference | FrameKind::AgentResponse => EvidenceSource::Llm,
        };
        let marks = marked.then_some(EvidenceSource::Llm);
        evidence.map(|e| of(e.kind)).chain(marks).collect()
    }

    /// What makes two wishes the same; see [`Action::intent_key`].
    pub fn intent_key(&self) -> String {
        self.action().intent_key()
    }
}

/// The digest of a list of evidence.
pub fn evidence_digest(evidence: &[Evidence]) -> Digest {
    Digest::of(&[
        b"clawmesh/evidence/v1\n",
        &canonical_of(&evidence).unwrap_or_default(),
    ])
}

/// A record in its canonical text with its executor's signature.
#[derive(Debug, Clone, PartialEq)]
pub struct SignedProposal {
    record: ProposalRecord,
    text: String,
    digest: Digest,
    signature: Signature,
}

fn bad(message: impl Into<String>) -> Refusal {
    Refusal::new(Code::InvalidParams, message)
}

impl SignedProposal {
    /// Mints the signed record.
    ///
    /// # Errors
    /// `INVALID_PARAMS` if a parameter has no canonical form.
    pub fn mint(record: ProposalRecord, key: &DeviceKey) -> Result<Self, Refusal> {
        let canonical = canonical_of(&record).map_err(|e| bad(e.to_string()))?;
        let text = String::from_utf8(canonical).map_err(|e| bad(e.to_string()))?;
        let signature = key.sign(&Self::message(&text));
        Ok(Self {
            digest: Digest::of(&[&Self::message(&text)]),
            record,
            text,
            signature,
        })
    }

    /// Reads a stored record back and checks it against its executor's key.
    ///
    /// # Errors
    /// `DIGEST_MISMATCH` if the signature does not fit: the record has been altered.
    pub fn open(
        text: &str,
        signature: Signature,
        executor_key: &PublicKey,
    ) -> Result<Self, Refusal> {
        let altered = |why: String| Refusal::new(Code::DigestMismatch, why);
        let record: ProposalRecord = serde_json::from_str(text)
            .map_err(|e| altered(format!("unreadable proposal record: {e}")))?;
        if record.version != 1 {
            return Err(altered(format!(
                "proposal record version {} is not known here",
                record.version
            )));
        }
        if record.executor != executor_key.device_id()
            || !executor_key.verify_strict(&Self::message(text), &signature)
        {
            return Err(altered(format!(
                "proposal {} is not signed by its executor",
                record.proposal_id.short()
            )));
        }
        Ok(Self {
            digest: Digest::of(&[&Self::message(text)]),
            record,
            text: text.to_owned(),
            signature,
        })
    }

    /// Reads a record from a peer's JSON: `{record, signature}`.
    ///
    /// # Errors
    /// `INVALID_PARAMS` or `DIGEST_MISMATCH`.
    pub fn from_wire(value: &Value, executor_key: &PublicKey) -> Result<Self, Refusal> {
        let record = value
            .get("record")
            .ok_or_else(|| bad("record is missing"))?;
        let signature = value
            .get("signature")
            .and_then(Value::as_str)
            .ok_or_else(|| bad("signature is missing"))?;
        let signature = Signature::from_text(signature).map_err(|e| bad(e.to_string()))?;
        let canonical = to_canonical(record).map_err(|e| bad(e.to_string()))?;
        let text = String::from_utf8(canonical).map_err(|e| bad(e.to_string()))?;
        Self::open(&text, signature, executor_key)
    }

    /// The record for a peer.
    pub fn to_wire(&self) -> Value {
        let record: Value = serde_json::from_str(&self.text).unwrap_or(Value::Null);
        serde_json::json!({"record": record, "signature": self.signature.to_text()})
    }

    fn message(text: &str) -> Vec<u8> {
        [DOMAIN, text.as_bytes()].concat()
    }

    /// The record.
    pub fn record(&self) -> &ProposalRecord {
        &self.record
    }

    /// Its canonical text, as stored.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// What people sign.
    pub fn digest(&self) -> &Digest {
        &self.digest
    }

    /// The executor's signature.
    pub fn signature(&self) -> &Signature {
        &self.signature
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn an_id_follows_from_who_mints_it_and_from_nothing_else() {
        let device = |n: u8| DeviceKey::from_seed(&[n; 32]).id().clone();
        let (here, there) = (MeshId::of_name("here"), MeshId::of_name("there"));
        let id = ProposalRecord::id_for(&here, &device(1), "nonce");
        assert_eq!(id, ProposalRecord::id_for(&here, &device(1), "nonce"));
        for other in [
            ProposalRecord::id_for(&there, &device(1), "nonce"),
            ProposalRecord::id_for(&here, &device(2), "nonce"),
            ProposalRecord::id_for(&here, &device(1), "nonce2"),
        ] {
            assert_ne!(id, other);
        }
        assert_eq!(id.as_str().len(), 36, "an id as every other: {id}");
    }

    #[test]
    fn a_setting_takes_the_place_of_one_of_its_rule_and_operation_alone() {
        let set = || {
            let kind = Kind::Set {
                max_step: Default::default(),
                min_interval_ms: 0,
            };
            let key = DeviceKey::from_seed(&[1; 32]);
            let (own, mesh) = (key.id().clone(), MeshId::of_name("m"));
            ProposalRecord {
                version: 1,
                proposal_id: ProposalRecord::id_for(&mesh, &own, "n"),
                mesh_id: mesh,
                executor: own.clone(),
                nonce: "n".into(),
                draft_id: "draft".parse().unwrap(),
                requested_by: RequestedBy {
                    device_id: own,
                    kind: Requester::Person,
                    name: "ana".into(),
                },
                target: "actuator:heater:hall".parse().unwrap(),
                operation: "set".into(),
                params: Default::default(),
                reason: "cold".into(),
                level: Level::L2,
                quorum: 1,
                at_node: false,
                rule: "heat".into(),
                taint: Default::default(),
                policy_digest: Digest([0; 32]),
                evidence_digest: evidence_digest(&[]),
                evidence: Vec::new(),
                run_ms: 1_000,
                safe_state: "off".into(),
                gen1: None,
                slot: None,
                led_by: None,
                kind: Some(kind),
                created_at: TimeMs(0),
                expires_at: TimeMs(1),
            }
        };
        assert!(set().may_replace(&set()));
        let changes: [fn(&mut ProposalRecord); 5] = [
            |r| r.operation = "boost".into(),
            |r| r.rule = "other".into(),
            |r| r.safe_state = "idle".into(),
            |r| r.target = "actuator:heater:shed".parse().unwrap(),
            |r| r.kind = None,
        ];
        for change in changes {
            let mut other = set();
            change(&mut other);
            assert!(!set().may_replace(&other) && !other.may_replace(&set()));
        }
    }
}
