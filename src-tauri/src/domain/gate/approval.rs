//! Decisions: a person's signature over one exact proposal (invariant I5).

use serde::{Deserialize, Serialize};

use crate::domain::base::canonical::canonical_of;
use crate::domain::base::limits::{COMMAND_AGE_MAX_MS, SIGNER_AHEAD_MAX_MS, TEXT_MAX_CHARS};
use crate::domain::base::{
    Code, DeviceId, Digest, MeshId, OperatorId, ProposalId, Refusal, TimeMs,
};
use crate::domain::identity::{OperatorKey, PublicKey, Signature};
use crate::domain::policy::Level;

use super::at_node::{AtNode, NodeCode};
use super::channel::{self, SignedChannel, Through};
use super::operators::SignedOperator;
use super::standing_approval::{self, StandingUse};

const DOMAIN: &[u8] = b"clawmesh/decision/v1\n";

/// Yes or no.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// Do it.
    Approve,
    /// Do not.
    Reject,
}

/// A person's decision about one proposal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Decision {
    /// Yes or no.
    pub verdict: Verdict,
    /// The mesh the proposal belongs to.
    pub mesh_id: MeshId,
    /// The executor that minted it.
    pub executor: DeviceId,
    /// The proposal.
    pub proposal_id: ProposalId,
    /// The digest of its record: any other content is another decision.
    pub digest: Digest,
    /// Who decided.
    pub operator_id: OperatorId,
    /// When, by the clock of where it was signed.
    pub decided_at: TimeMs,
    /// Their note.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// The channel through which they decided and whose key signed it; absent, their own key did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channel: Option<Box<SignedChannel>>,
    /// The code that the executor shows at its own console for this proposal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_node: Option<NodeCode>,
}

/// A decision with the person's signature.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignedDecision {
    /// The decision.
    pub decision: Decision,
    /// By whom, proven.
    pub signature: Signature,
}

impl SignedDecision {
    /// Whether the operator of this key signed it, or gave the channel whose key did.
    pub fn is_signed_by(&self, key: &PublicKey) -> bool {
        let signer = match &self.decision.channel {
            None => key,
            Some(given)
                if given.is_signed_by(key)
                    && given.channel.operator_id == self.decision.operator_id =>
            {
                &given.channel.channel_key
            }
            Some(_) => return false,
        };
        signer.verify_strict(&self.decision.signing_bytes(), &self.signature)
    }
}

impl Decision {
    /// The bytes a person signs.
    pub fn signing_bytes(&self) -> Vec<u8> {
        let mut bytes = DOMAIN.to_vec();
        // A decision holds texts, whole numbers and a boolean, so it always has a canonical form.
        bytes.extend(canonical_of(self).unwrap_or_default());
        bytes
    }

    /// Whose decisions it is counted with: those of the key that signed it.
    pub fn counted_as(&self) -> OperatorId {
        match &self.channel {
            None => self.operator_id.clone(),
            Some(given) => given.channel.channel_key.operator_id(),
        }
    }

    /// The decision, signed in the person's own process, or with the key of its channel.
    pub fn sign(self, key: &OperatorKey) -> SignedDecision {
        let signature = key.sign(&self.signing_bytes());
        SignedDecision {
            decision: self,
            signature,
        }
    }
}

/// The proposal a decision must be about.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    /// This node's mesh.
    pub mesh_id: &'a MeshId,
    /// This node.
    pub executor: &'a DeviceId,
    /// The proposal.
    pub proposal_id: &'a ProposalId,
    /// The digest of the record as stored here.
    pub digest: &'a Digest,
    /// Its approval level.
    pub level: Level,
    /// The device that asked for it.
    pub asked_by: &'a DeviceId,
    /// The device whose planner led to it, where another one's did.
    pub led_by: Option<&'a DeviceId>,
    /// The devices whose readings it rests on, those of interlocks too.
    pub origins: &'a [&'a DeviceId],
    /// When it was minted.
    pub created_at: TimeMs,
    /// When it expires.
    pub expires_at: TimeMs,
}

/// The executor's knowledge of the key that signed a decision.
#[derive(Debug, Clone, Copy)]
pub struct Known<'a> {
    /// The record of the key.
    pub operator: &'a SignedOperator,
    /// The person it belongs to.
    pub person: &'a OperatorId,
    /// The issuer's key, if the issuer may issue records here.
    pub issuer_key: Option<&'a PublicKey>,
    /// Whether the key or the person has been revoked.
    pub revoked: bool,
}

impl Known<'_> {
    /// Whether the key counts now: it was not revoked, and its record holds.
    ///
    /// # Errors
    /// `OPERATOR_REVOKED`, or why the record does not hold.
    pub fn holds(&self, now: TimeMs) -> Result<(), Refusal> {
        if self.revoked {
            let name = &self.operator.record.name;
            return Err(Refusal::new(
                Code::OperatorRevoked,
                format!("the key of operator {name} has been revoked"),
            ));
        }
        self.operator.check(self.issuer_key, now)
    }
}

/// A decision that has been checked against everything; only [`verify`] makes one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedApproval {
    verdict: Verdict,
    digest: Digest,
    operator_id: OperatorId,
    person: OperatorId,
    name: String,
    max_level: Level,
    standing: Option<StandingUse>,
    channel: Option<String>,
    at_node: bool,
}

impl VerifiedApproval {
    /// As somebody decided who was at the node, where the proof is about the same content.
    #[must_use]
    pub fn at_the_node(mut self, proof: &AtNode) -> Self {
        self.at_node = *proof.digest() == self.digest;
        self
    }

    /// Whether it came with the code that the executor shows.
    pub fn is_at_node(&self) -> bool {
        self.at_node
    }

    /// The vote that a standing approval is, which `standing_approval::vote` has checked.
    pub(super) fn standing(known: &Known<'_>, digest: &Digest, used: StandingUse) -> Self {
        let record = &known.operator.record;
        Self {
            verdict: Verdict::Approve,
            digest: *digest,
            operator_id: record.operator_id.clone(),
            person: known.person.clone(),
            name: record.name.clone(),
            // A standing approval never reaches further, from any giver.
            max_level: Level::L2,
            standing: Some(used),
            channel: None,
            at_node: false,
        }
    }

    /// The channel through which it came, in words, where it was signed by a channel's key.
    pub fn through(&self) -> Option<&str> {
        self.channel.as_deref()
    }

    /// Which use of which standing approval it is, where it is no decision about the very proposal.
    pub fn by_standing(&self) -> Option<&StandingUse> {
        self.standing.as_ref()
    }

    /// Yes or no.
    pub fn verdict(&self) -> Verdict {
        self.verdict
    }

    /// The record it is about.
    pub fn digest(&self) -> &Digest {
        &self.digest
    }

    /// Who decided.
    pub fn operator_id(&self) -> &OperatorId {
        &self.operator_id
    }

    /// The person who decided: several keys of one person are one.
    pub fn person(&self) -> &OperatorId {
        &self.person
    }

    /// Up to which level this person may approve.
    pub fn max_level(&self) -> Level {
        self.max_level
    }

    /// The person's name, from the executor's own record.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The person with the key they used, for texts: `ana (key 1f2e3d4c)`, or with the standing approval that they gave:
    /// `ana (standing approval ab12cd34, use 2 of 3)`, or with the channel: `ana through telegram at node 1f2e3d4c (channel
    /// ab12cd34)`.
    pub fn with_key(&self) -> String {
        if let Some(channel) = &self.channel {
            return format!("{} through {channel}", self.name);
        }
        match &self.standing {
            None if self.at_node => {
                let key = self.operator_id.short();
                format!("{} (key {key}, with the code shown at the node)", self.name)
            }
            None => format!("{} (key {})", self.name, self.operator_id.short()),
            Some(StandingUse { id, number, of }) => {
                let id = standing_approval::short(id);
                let name = &self.name;
                format!("{name} (standing approval {id}, use {number} of {of})")
            }
        }
    }
}

/// Whether the key counts here: it was not revoked, its record holds, and it is the one that is named and that signed.
pub(super) fn check_key(
    known: &Known<'_>,
    named: &OperatorId,
    proven: bool,
    now: TimeMs,
) -> Result<(), Refusal> {
    let record = &known.operator.record;
    known.holds(now)?;
    if record.operator_id != *named || !proven {
        return Err(Refusal::new(
            Code::ApprovalInvalid,
            "the decision is not signed by the operator it names",
        ));
    }
    Ok(())
}

/// Whether the person may approve at a level.
pub(super) fn check_level(known: &Known<'_>, level: Level) -> Result<(), Refusal> {
    let record = &known.operator.record;
    if record.max_level >= level {
        return Ok(());
    }
    Err(Refusal::new(
        Code::OperatorLevelTooLow,
        format!(
            "operator {} may approve up to {}, this proposal is {level}",
            record.name, record.max_level
        ),
    ))
}

/// Who wants an action, against whom vouches for the person who approves it.
pub(super) struct Vouched<'a> {
    pub(super) asked_by: &'a DeviceId,
    pub(super) led_by: Option<&'a DeviceId>,
    pub(super) executor: &'a DeviceId,
}

impl Vouched<'_> {
    /// A device that asked, or whose planner led to it, cannot also vouch for the person, unless it is the executor.
    pub(super) fn check(&self, known: &Known<'_>) -> Result<(), Refusal> {
        let record = &known.operator.record;
        let issuer = &record.issuer;
        let wished = issuer == self.asked_by || self.led_by == Some(issuer);
        if !wished || issuer == self.executor {
            return Ok(());
        }
        Err(Refusal::new(
            Code::SelfVouched,
            format!(
                "device {} asked for this, or led to it, and alone vouches for operator {}, so their approval does not count for it; \
                 enroll the key at the executor itself: clawmesh-node operator enroll {} --name \"{}\"",
                issuer.short(),
                record.name,
                record.public_key.to_text(),
                record.name
            ),
        ))
    }
}

/// Checks a decision: the right mesh, executor, proposal and digest, in time, by a known operator
/// of sufficient level, with a strict signature. A device that asked for an action, or whose planner led to it, cannot
/// also vouch for the person who approves it, unless it is the executor itself.
///
/// # Errors
/// One code per fault; nothing is stored or acted on.
pub fn verify(
    signed: &SignedDecision,
    subject: &Subject<'_>,
    known: &Known<'_>,
    now: TimeMs,
) -> Result<VerifiedApproval, Refusal> {
    verify_through(signed, subject, known, None, now)
}

/// As [`verify`], also of a decision through a channel, of which the executor knows `through`.
///
/// # Errors
/// As [`verify`], and what stands in the way of the channel.
pub fn verify_through(
    signed: &SignedDecision,
    subject: &Subject<'_>,
    known: &Known<'_>,
    through: Option<&Through>,
    now: TimeMs,
) -> Result<VerifiedApproval, Refusal> {
    let decision = &signed.decision;
    let operator = known.operator;
    let no = |code: Code, why: String| Err(Refusal::new(code, why));
    if decision.mesh_id != *subject.mesh_id {
        return no(Code::WrongMesh, "the decision is for another mesh".into());
    }
    if decision.executor != *subject.executor {
        return no(
            Code::WrongExecutor,
            "the decision is for a proposal of another executor".into(),
        );
    }
    if decision.proposal_id != *subject.proposal_id || decision.digest != *subject.digest {
        return no(
            Code::DigestMismatch,
            "the decision is over other content than the proposal stored here; look at the proposal again".into(),
        );
    }
    if decision
        .note
        .as_ref()
        .is_some_and(|n| n.chars().count() > TEXT_MAX_CHARS)
    {
        return no(
            Code::ApprovalInvalid,
            format!("the note is longer than {TEXT_MAX_CHARS} characters"),
        );
    }
    let proven = signed.is_signed_by(&operator.record.public_key);
    check_key(known, &decision.operator_id, proven, now)?;
    let given = decision.channel.as_ref().map(|given| &given.channel);
    if let Some(given) = given {
        let through = through.ok_or_else(|| {
            let why = "nothing is known here of the channel through which it was decided";
            Refusal::new(Code::ApprovalInvalid, why)
        })?;
        channel::check(given, decision, subject, through, now)?;
    }
    if decision.verdict == Verdict::Approve {
        check_level(known, subject.level)?;
        let vouched = Vouched {
            asked_by: subject.asked_by,
            led_by: subject.led_by,
            executor: subject.executor,
        };
        vouched.check(known)?;
    }
    if now >= subject.expires_at {
        return no(
            Code::ProposalExpired,
            "the proposal has expired; nothing was done".into(),
        );
    }
    // A clock behind only shortens the time in which the decision is valid. One ahead would lengthen
    // it, so that the allowance is small.
    let early = subject.created_at.since(decision.decided_at) > COMMAND_AGE_MAX_MS;
    if early || decision.decided_at.since(now) > SIGNER_AHEAD_MAX_MS {
        return no(
            Code::ApprovalInvalid,
            "the decision's time does not fit the proposal; set the clock of the machine you decide on".into(),
        );
    }
    Ok(VerifiedApproval {
        verdict: decision.verdict,
        digest: decision.digest,
        operator_id: decision.operator_id.clone(),
        person: known.person.clone(),
        name: operator.record.name.clone(),
        max_level: given.map_or(operator.record.max_level, |given| {
            given.max_level.min(operator.record.max_level)
        }),
        standing: None,
        channel: given.map(channel::Channel::shown),
        at_node: false,
    })
}
