//! From a draft that the policy allows to the record that is minted: what is said of each cited frame, and every member
//! of the record. Which of the wishes for one action stands is in `equal`.

use std::collections::BTreeSet;

use super::record::{Evidence, ProposalRecord, RequestedBy, evidence_digest};
use crate::domain::base::limits::{EVIDENCE_SUMMARY_MAX_CHARS, PROPOSAL_TTL_MS};
use crate::domain::base::text::cut;
use crate::domain::base::{DeviceId, Digest, MeshId, Taint, Tier, TimeMs};
use crate::domain::gate::Gen1Command;
use crate::domain::plan::Draft;
use crate::domain::policy::Terms;
use crate::domain::wire::Frame;
use crate::domain::world::SignatureState;

/// What a record says of a private frame. Its value stands with the frame, where that may be read.
pub const PRIVATE: &str = "private";

/// What the executor knows of a frame beside what the frame says.
#[derive(Debug, Clone)]
pub struct Held {
    /// The hash of its content.
    pub content: Digest,
    /// The tier its origin claimed.
    pub claimed_tier: Tier,
    /// The tier it was admitted with.
    pub effective_tier: Tier,
    /// What is known of its signature.
    pub signature: SignatureState,
    /// When it was sensed.
    pub sensed_at: TimeMs,
    /// How old it is, in milliseconds.
    pub age_ms: u64,
    /// Whether it is private: everybody who reads of the proposal reads this.
    pub private: bool,
}

impl Evidence {
    /// A frame as a record tells of it.
    pub fn of(frame: &Frame, held: Held) -> Self {
        Self {
            frame_id: frame.frame_id.clone(),
            content: held.content,
            origin: frame.origin.clone(),
            kind: frame.kind,
            summary: match held.private {
                true => PRIVATE.to_owned(),
                false => cut(&summary(frame), EVIDENCE_SUMMARY_MAX_CHARS),
            },
            claimed_tier: held.claimed_tier,
            // It may have been stored by a version that took its marks more lightly.
            effective_tier: match frame.taint.is_empty() {
                true => held.effective_tier,
                false => Tier::T0,
            },
            signature: held.signature,
            taint: frame.taint.clone(),
            sensed_at: held.sensed_at,
            age_ms: held.age_ms,
            interlock: false,
        }
    }
}

fn summary(frame: &Frame) -> String {
    let data = frame.data();
    let text = |name: &str| {
        data.get(name)
            .map(|v| v.as_str().map_or_else(|| v.to_string(), str::to_owned))
    };
    match (text("metric"), text("value")) {
        (Some(metric), Some(value)) => {
            let zone = text("zone").map(|z| format!(" in {z}")).unwrap_or_default();
            let unit = text("unit").unwrap_or_default();
            format!("{metric}{zone} = {value}{unit}")
        }
        _ => frame
            .note
            .clone()
            .unwrap_or_else(|| frame.kind.as_str().to_owned()),
    }
}

/// What the executor adds to a draft.
#[derive(Debug, Clone)]
pub struct Minting {
    /// The mesh.
    pub mesh_id: MeshId,
    /// The executor.
    pub executor: DeviceId,
    /// Random text.
    pub nonce: String,
    /// The policy that allowed it.
    pub policy_digest: Digest,
    /// What a gen-1 node is told that acts on it.
    pub gen1: Option<Gen1Command>,
    /// The current moment.
    pub now: TimeMs,
}

impl ProposalRecord {
    /// The record of a draft that came from a device, rests on this evidence and is allowed on these terms.
    pub fn of(
        draft: &Draft,
        from: &DeviceId,
        evidence: Vec<Evidence>,
        taint: BTreeSet<Taint>,
        terms: &Terms,
        with: Minting,
    ) -> Self {
        Self {
            version: 1,
            proposal_id: Self::id_for(&with.mesh_id, &with.executor, &with.nonce),
            mesh_id: with.mesh_id,
            executor: with.executor,
            nonce: with.nonce,
            draft_id: draft.draft_id.clone(),
            requested_by: RequestedBy {
                device_id: from.clone(),
                kind: draft.requester,
                name: draft.requester_name.clone(),
            },
            target: draft.action.target.clone(),
            operation: draft.action.operation.clone(),
            params: draft.action.params.clone(),
            reason: draft.reason.clone(),
            level: terms.level,
            quorum: terms.quorum,
            at_node: terms.at_node,
            rule: terms.rule.clone(),
            taint,
            policy_digest: with.policy_digest,
            evidence_digest: evidence_digest(&evidence),
            evidence,
            run_ms: terms.run_ms,
            safe_state: terms.safe_state.clone(),
            gen1: with.gen1,
            slot: draft.slot,
            led_by: draft.led_by.clone(),
            kind: terms.kind.recorded(),
            created_at: with.now,
            // Its evidence must still be young enough when it acts: it waits no longer than that.
            expires_at: with
                .now
                .plus(terms.fresh_for_ms.unwrap_or(u64::MAX).min(PROPOSAL_TTL_MS)),
        }
    }
}
