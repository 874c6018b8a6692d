//! Minting: a draft against this executor's own policy, evidence and clock.

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rusqlite::Connection;
use serde_json::{Value, json};

use super::{estop, execute, gate, history, open, refused, row_of, step};
use crate::adapters::store::frames::StoredFrame;
use crate::adapters::store::{StoreError, facts, frames, proposals, runs};
use crate::domain::base::limits::{PROPOSAL_TTL_MS, PROPOSALS_WAITING_MAX};
use crate::domain::base::{Code, DeviceId, Refusal, Taint, TimeMs};
use crate::domain::gate::{ActuationRuling, Permit};
use crate::domain::plan::Draft;
use crate::domain::policy::{EvidenceView, Level, Phase, Request, Ruling, Terms};
use crate::domain::proposal::record::evidence_digest;
use crate::domain::proposal::{Evidence, ProposalRecord, RequestedBy, SignedProposal, Status};
use crate::domain::wire::Frame;
use crate::domain::world::{Fact, Moment};
use crate::node::continuity;
use crate::node::shared::{DURABLE, Shared, clock_trusted, note_time, store_refusal};

/// What became of a draft.
#[derive(Debug, Clone)]
pub struct Minted {
    /// The signed record: new, or the one that stood already.
    pub signed: SignedProposal,
    /// Where it stands.
    pub status: Status,
    /// Whether it stood already.
    pub repeated: bool,
}

impl Minted {
    /// The answer to a peer that sent the draft.
    pub fn to_wire(&self) -> Value {
        let mut value = self.signed.to_wire();
        value["status"] = json!(self.status);
        value["repeated"] = json!(self.repeated);
        value
    }
}

/// Mints a proposal from a draft that came from `from`; an equal open wish gives the one that
/// stands. At L1 the action starts at once.
///
/// # Errors
/// The policy's denial, or why the draft is none; `ESTOP` while this node is stopped: a wish that nobody
/// may carry out is told so at once. Nothing is stored then but the refusal's event.
pub async fn mint(shared: &Shared, draft: Draft, from: &DeviceId) -> Result<Minted, Refusal> {
    let draft = draft.check(shared.now())?;
    if shared.drivers.get(&draft.action.target).is_none() {
        return Err(Refusal::new(
            Code::UnknownTarget,
            format!("{} is no actuator of this node", draft.action.target),
        ));
    }
    let (s, from) = (shared.clone(), from.clone());
    let (minted, permit) = shared
        .store
        .write(DURABLE, "mint", move |conn| {
            mint_in(&s, conn, &draft, &from)
        })
        .await
        .map_err(|e| store_refusal(&e))?;
    if !minted.repeated {
        shared.proposals_changed();
        let record = minted.signed.record();
        let message = format!(
            "Proposal {}: {} ({})",
            record.proposal_id.short(),
            record.action().summary(),
            record.level
        );
        let data = json!({"proposalId": record.proposal_id, "level": record.level, "target": record.target});
        shared
            .events
            .record(shared, "proposal.created", "info", &message, data)
            .await;
    }
    if let Some(permit) = permit {
        continuity::ahead(shared).await;
        execute::start(shared, permit);
    }
    Ok(minted)
}

fn mint_in(
    shared: &Shared,
    conn: &Connection,
    draft: &Draft,
    from: &DeviceId,
) -> Result<(Minted, Option<Permit>), StoreError> {
    let intent = draft.action.intent_key();
    let standing = match proposals::by_draft(conn, &draft.draft_id)? {
        Some(row) => Some(row),
        None => {
            estop::check(shared, conn)?;
            shared.continuity.check()?;
            proposals::open_intent(conn, &intent)?
        }
    };
    if let Some(row) = standing {
        let minted = Minted {
            signed: open(shared, &row)?,
            status: row.status,
            repeated: true,
        };
        return Ok((minted, None));
    }
    if proposals::waiting_count(conn)? >= PROPOSALS_WAITING_MAX {
        return Err(refused(
            Code::Busy,
            format!("{PROPOSALS_WAITING_MAX} proposals are waiting; decide some first"),
        ));
    }
    let now = shared.now();
    if !clock_trusted(conn, now)? {
        return Err(refused(
            Code::ClockUntrusted,
            "this node's clock is behind the newest time it has recorded; set it, or stop the node and run `clawmesh-node clock confirm` there if the clock is right",
        ));
    }
    let facts = facts::numeric(conn, shared.moment_at(now))?;
    let (evidence, taint) = gather(shared, conn, draft, &facts, now)?;
    let terms = judge(shared, conn, draft, &evidence, &taint, &facts, now)?;
    let record = record(shared, draft, from, evidence, taint, &terms, now)?;
    let signed = SignedProposal::mint(record, &shared.key).map_err(StoreError::Refused)?;
    proposals::insert(conn, &row_of(&signed, Status::AwaitingApproval, true, now))?;
    note_time(conn, now)?;
    let record = signed.record();
    let detail = json!({
        "digest": signed.digest(), "action": record.action().summary(), "level": record.level,
        "rule": record.rule, "draftId": record.draft_id, "from": from,
    });
    shared.audit_in(conn, "proposal.minted", record.proposal_id.as_str(), detail)?;
    if record.level != Level::L1 {
        return Ok((
            Minted {
                signed,
                status: Status::AwaitingApproval,
                repeated: false,
            },
            None,
        ));
    }
    match gate(shared, conn, &signed, &[], now)? {
        ActuationRuling::Allow(permit) => {
            begin(shared, conn, &signed, &permit)?;
            Ok((
                Minted {
                    signed,
                    status: Status::Executing,
                    repeated: false,
                },
                Some(permit),
            ))
        }
        ActuationRuling::NeedsApproval { .. } => Ok((
            Minted {
                signed,
                status: Status::AwaitingApproval,
                repeated: false,
            },
            None,
        )),
        ActuationRuling::Refuse(refusal) => Err(StoreError::Refused(refusal)),
    }
}

/// Writes the act ahead: approved, executing, and the run that policy counts.
pub(super) fn begin(
    shared: &Shared,
    conn: &Connection,
    signed: &SignedProposal,
    permit: &Permit,
) -> Result<(), StoreError> {
    let record = signed.record();
    let id = &record.proposal_id;
    let by = json!({"approvedBy": permit.approved_by(), "digest": permit.digest()});
    step(
        shared,
        conn,
        id,
        Status::AwaitingApproval,
        Status::Approved,
        None,
        by,
    )?;
    let detail = json!({"action": permit.action().summary(), "runMs": permit.run_ms(), "safeState": permit.safe_state()});
    step(
        shared,
        conn,
        id,
        Status::Approved,
        Status::Executing,
        None,
        detail,
    )?;
    let now = shared.now();
    note_time(conn, now)?;
    runs::start(
        conn,
        id,
        &record.rule,
        record.target.as_str(),
        &record.operation,
        now,
        permit.run_ms(),
    )
}

/// The frames a draft cites and the facts the policy will look at, as this node holds them.
fn gather(
    shared: &Shared,
    conn: &Connection,
    draft: &Draft,
    facts: &[Fact],
    now: TimeMs,
) -> Result<(Vec<Evidence>, BTreeSet<Taint>), StoreError> {
    let mut taint = draft.taint.clone();
    let mut evidence: Vec<Evidence> = Vec::new();
    for cited in &draft.cites {
        if let Some(stored) = frames::by_frame_id(conn, cited)? {
            evidence.push(evidence_of(&stored, facts, now)?);
        }
    }
    let watched = shared.policy.current().metrics_for(&draft.action);
    for fact in facts.iter().filter(|f| watched.contains(&f.metric)).take(8) {
        let cited = evidence.iter().any(|e| e.frame_id == fact.frame_id);
        match frames::by_frame_id(conn, &fact.frame_id)? {
            Some(stored) if !cited => evidence.push(evidence_of(&stored, facts, now)?),
            _ => {}
        }
    }
    taint.extend(
        evidence
            .iter()
            .filter(|e| draft.cites.contains(&e.frame_id))
            .flat_map(|e| e.taint.iter().copied()),
    );
    Ok((evidence, taint))
}

fn evidence_of(stored: &StoredFrame, facts: &[Fact], now: TimeMs) -> Result<Evidence, StoreError> {
    // A current reading has its age by the steady clock.
    let current = facts.iter().find(|f| f.content == stored.content);
    let age_ms = current
        .map_or(0, |f| now.since(f.sensed_at))
        .max(Moment::unset(now).age_by_wall_ms(stored.time, stored.received_at));
    let value = serde_json::from_str(&stored.json).unwrap_or(Value::Null);
    let frame = Frame::parse(value).map_err(StoreError::Refused)?;
    let data = frame.data();
    let text = |name: &str| {
        data.get(name)
            .map(|v| v.as_str().map_or_else(|| v.to_string(), str::to_owned))
    };
    let summary = match (text("metric"), text("value")) {
        (Some(metric), Some(value)) => {
            let zone = text("zone").map(|z| format!(" in {z}")).unwrap_or_default();
            format!(
                "{metric}{zone} = {value}{}",
                text("unit").unwrap_or_default()
            )
        }
        _ => frame
            .note
            .clone()
            .unwrap_or_else(|| frame.kind.as_str().to_owned()),
    };
    Ok(Evidence {
        frame_id: stored.frame_id.clone(),
        content: stored.content,
        origin: stored.origin.clone(),
        kind: stored.kind,
        summary: summary.chars().take(200).collect(),
        claimed_tier: stored.claimed_tier,
        effective_tier: stored.effective_tier,
        signature: stored.signature,
        taint: frame.taint.clone(),
        sensed_at: stored.time,
        age_ms,
    })
}

fn judge(
    shared: &Shared,
    conn: &Connection,
    draft: &Draft,
    evidence: &[Evidence],
    taint: &BTreeSet<Taint>,
    facts: &Vec<Fact>,
    now: TimeMs,
) -> Result<Terms, StoreError> {
    let views: Vec<EvidenceView> = evidence.iter().map(Evidence::view).collect();
    let request = Request {
        action: &draft.action,
        requester: draft.requester,
        taint,
        evidence: &views,
        phase: Phase::Propose,
    };
    let ruling = shared.policy.current().evaluate(
        &request,
        facts,
        &history(conn, now)?,
        now,
        shared.own_id(),
    );
    let terms = match ruling {
        Ruling::Deny(denial) => return Err(refused(denial.code, denial.message)),
        Ruling::Allow(terms) => terms,
    };
    Ok(terms)
}

fn record(
    shared: &Shared,
    draft: &Draft,
    from: &DeviceId,
    evidence: Vec<Evidence>,
    taint: BTreeSet<Taint>,
    terms: &Terms,
    now: TimeMs,
) -> Result<ProposalRecord, StoreError> {
    let nonce: [u8; 16] = shared
        .random
        .bytes()
        .map_err(|e| refused(Code::InternalError, e.to_string()))?;
    let nonce = URL_SAFE_NO_PAD.encode(nonce);
    Ok(ProposalRecord {
        version: 1,
        mesh_id: shared.mesh.clone(),
        executor: shared.own_id().clone(),
        proposal_id: ProposalRecord::id_for(&shared.mesh, shared.own_id(), &nonce),
        nonce,
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
        rule: terms.rule.clone(),
        taint,
        policy_digest: shared.policy.current().digest(),
        evidence_digest: evidence_digest(&evidence),
        evidence,
        run_ms: terms.run_ms,
        safe_state: terms.safe_state.clone(),
        created_at: now,
        expires_at: now.plus(PROPOSAL_TTL_MS),
    })
}
