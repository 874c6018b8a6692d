//! Minting: a draft against this executor's own policy, evidence and clock.

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rusqlite::Connection;
use serde_json::{Value, json};

use super::ground::{by_gen1, cited, gen1_command, history, known, now_set};
use super::{equal, estop, execute, ground, open, refused, row_of, standing_approvals, write};
use crate::adapters::store::cited::of_origin;
use crate::adapters::store::frames::StoredFrame;
use crate::adapters::store::{StoreError, cases, facts, proposals, room, usage};
use crate::domain::admission::budget::{Cause, Share};
use crate::domain::base::limits::{EVIDENCE_WATCHED_MAX, PROPOSALS_WAITING_MAX};
use crate::domain::base::{AuditKind, Code, DeviceId, ProposalId, Refusal, Taint, TimeMs};
use crate::domain::gate::{ActuationRuling, Permit};
use crate::domain::plan::Draft;
use crate::domain::policy::{EvidenceView, Level, Phase, Request, Requester, Ruling, Terms};
use crate::domain::proposal::case::Step;
use crate::domain::proposal::equal::{Beside, Equals, intent_key};
use crate::domain::proposal::mint::{Held, Minting};
use crate::domain::proposal::{
    Evidence, ProposalRecord, SignedProposal, Status, decide, ground as rules, standing,
};
use crate::domain::wire::Frame;
use crate::domain::world::{Fact, Moment};
use crate::node::cites;
use crate::node::context::timekeeping::{clock_trusted, note_time};
use crate::node::context::{Context, store_refusal};
use crate::node::context::{Event, Severity};
use crate::node::frame_log::age_told;
use crate::node::guards::{Orders, Run};
use crate::node::health;
use crate::node::proposals::Executor;

/// What became of a draft.
#[derive(Debug, Clone)]
pub struct Minted {
    /// The signed record: new, or the one that stood already.
    pub signed: SignedProposal,
    /// Where it stands.
    pub status: Status,
    /// Whether it stood already.
    pub repeated: bool,
    /// Equal wishes of less entitled askers, which ended for it.
    pub superseded: Vec<ProposalId>,
    /// By whose standing approval it began at once, in words.
    pub standing: Option<String>,
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

/// Mints a proposal from a draft that came from `from`. An equal open wish of the same class of asker,
/// or of a better entitled one, gives the one that stands; one of a less entitled asker ends. At L1
/// the action starts at once.
///
/// # Errors
/// The policy's denial, or why the draft is none; `ESTOP` while this node is stopped: a wish that nobody
/// may carry out is told so at once. Nothing is stored then but the refusal's event.
pub async fn mint(executor: &Executor, draft: Draft, from: &DeviceId) -> Result<Minted, Refusal> {
    health::check_store(executor).map_err(|e| store_refusal(&e))?;
    let draft = draft.check(executor.now())?;
    ground::is_here(executor, &draft.action)?;
    let (s, from, asker) = (executor.clone(), from.clone(), from.clone());
    let work = move |conn: &Connection| mint_in(&s, conn, &draft, &from);
    let done = execute::write_and_start(executor, "mint", work)
        .await
        .map_err(|e| store_refusal(&e));
    if let Err(refusal) = &done {
        let used_up = |share: &Share| share.refusal(&asker) == *refusal;
        if let Some(share) = [Share::Waiting, Share::Minted].into_iter().find(used_up) {
            executor.over_budget(&asker, share, refusal).await;
        }
    }
    let minted = done?;
    if !minted.repeated {
        executor.proposals_changed();
        let record = minted.signed.record();
        let cause = Cause::of(&asker, executor.own_id());
        let message = format!(
            "Proposal {}: {} ({})",
            record.proposal_id.short(),
            record.action().summary(),
            record.level
        );
        let data = json!({"proposalId": record.proposal_id, "level": record.level, "target": record.target});
        executor
            .journal
            .caused(
                cause.clone(),
                Event::ProposalCreated,
                Severity::Info,
                &message,
                data,
            )
            .await;
        if let Some(by) = &minted.standing {
            let message = format!("Proposal {}: {by}", record.proposal_id.short());
            let data = json!({"proposalId": record.proposal_id, "status": minted.status});
            let event = Event::ProposalDecided;
            let journal = &executor.journal;
            journal.record(event, Severity::Info, &message, data).await;
        }
        for old in &minted.superseded {
            let message = format!(
                "Proposal {} ended: proposal {} asks for the same and is better entitled",
                old.short(),
                record.proposal_id.short()
            );
            let data = json!({"proposalId": old, "by": record.proposal_id});
            executor
                .journal
                .caused(
                    cause.clone(),
                    Event::ProposalSuperseded,
                    Severity::Info,
                    &message,
                    data,
                )
                .await;
        }
    }
    Ok(minted)
}

fn mint_in(
    executor: &Executor,
    conn: &Connection,
    draft: &Draft,
    from: &DeviceId,
) -> Result<(Minted, Option<Run>), StoreError> {
    standing::may_ask(from, draft.requester, &known(executor, conn, from)?)
        .map_err(|(code, why)| refused(code, why))?;
    if let Some(row) = proposals::by_draft(conn, &draft.draft_id, from)? {
        return stands(executor, conn, &row.id);
    }
    estop::check(executor, conn)?;
    health::check_in_place(executor)?;
    let now = executor.now();
    let mut metrics = executor.policy.current().metrics();
    let frames = cites::frames(conn, draft, from, executor.own_id())?;
    metrics.extend(metrics_of(&frames));
    let facts = facts::numeric_of(conn, &metrics, executor.moment_at(now))?;
    let (evidence, taint) = gather(executor, conn, draft, &frames, &facts, now)?;
    let views: Vec<EvidenceView> = cited(&evidence).map(Evidence::view).collect();
    let now_set = now_set(conn, &draft.action.target)?;
    let request = Request {
        now_set: now_set.as_ref(),
        action: &draft.action,
        requester: draft.requester,
        from,
        taint: &taint,
        evidence: &views,
        phase: Phase::Propose,
        by_gen1: by_gen1(executor, &draft.action),
    };
    let policy = executor.policy.current();
    let class = policy.class_of(&request, executor.own_id());
    let equals = equal::load(executor, conn, &draft.action, None, now)?;
    let tidied = equals.tidy(now).map_err(StoreError::Refused)?;
    write(executor, conn, &Step(tidied), None)?;
    if let Some(same) = equals.same(class, from) {
        return stands_for(executor, conn, same, draft);
    }
    has_room(executor, conn, from, now)?;
    let history = history(conn, now)?;
    let last = history.last_begun(&draft.action);
    let (code, new) = standing::since_last_run(draft.requester, draft.slot, &evidence, now, last);
    if !new.passed {
        return Err(refused(code, new.detail));
    }
    if !clock_trusted(conn, now)? {
        return Err(refused(
            Code::ClockUntrusted,
            "this node's clock is behind the newest time it has recorded; set it, or stop the node and run `clawmesh-node clock confirm` there if the clock is right",
        ));
    }
    let terms = match policy.evaluate(&request, &facts, &history, now, executor.own_id()) {
        Ruling::Deny(denial) => return Err(refused(denial.code, denial.message)),
        Ruling::Allow(terms) => terms,
    };
    if terms.level == Level::L1 && last.is_some() && !holds_first_cite(draft, &frames) {
        return Err(refused(
            Code::EvidenceMissing,
            "the reading that the rule fired on is not cited, or not held here, so it may be from before the actuator last did this; trust the device that made it here too (observe), or let the policy ask a person",
        ));
    }
    let record = record(executor, draft, from, evidence, taint, &terms, now)?;
    let beside = equals.beside(class, terms.level, from, &record.proposal_id);
    let less = match beside.map_err(StoreError::Refused)? {
        Beside::Stands(better) => return stands(executor, conn, &better),
        Beside::Ends(less) => less,
    };
    write(executor, conn, &less, None)?;
    let superseded = less.superseded();
    let signed = SignedProposal::mint(record, &executor.key).map_err(StoreError::Refused)?;
    let mut row = row_of(&signed, Status::AwaitingApproval, true, now);
    row.intent_key = intent_key(class, from, &draft.action);
    proposals::insert(conn, &row)?;
    note_time(conn, now)?;
    let record = signed.record();
    let detail = json!({
        "digest": signed.digest(), "action": record.action().summary(), "level": record.level,
        "rule": record.rule, "draftId": record.draft_id, "from": from, "class": class.as_str(),
    });
    let (kind, id) = (AuditKind::ProposalMinted, record.proposal_id.as_str());
    executor.journal.audit(conn, kind, id, detail)?;
    let equals = Equals {
        class: Some(class),
        ..equals.after(&less)
    };
    let run = match record.level {
        Level::L1 => start(executor, conn, &signed, &equals, now)?,
        // As at L1: the reading that the rule fired on must be known to be newer than the last time.
        Level::L2 if last.is_none() || holds_first_cite(draft, &frames) => {
            standing_approvals::start(executor, conn, &signed, &equals, now)?
        }
        _ => None,
    };
    let status = match run {
        Some(_) => Status::Executing,
        None => Status::AwaitingApproval,
    };
    let standing = run.as_ref().filter(|run| run.permit.standing().is_some());
    let minted = Minted {
        standing: standing.map(|run| decide::approved(&run.permit)),
        signed,
        status,
        repeated: false,
        superseded,
    };
    Ok((minted, run))
}

/// Starts an action that needs nobody, if nothing stands in its way.
fn start(
    executor: &Executor,
    conn: &Connection,
    signed: &SignedProposal,
    equals: &Equals,
    now: TimeMs,
) -> Result<Option<Run>, StoreError> {
    let record = signed.record();
    let seen = executor.guards.orders(&record.actuators());
    let ground = ground::load(executor, conn, record, now)?;
    let at_steady_ms = executor.guards.steady_ms();
    match rules::rule(signed, &ground, &[], now).map_err(StoreError::Refused)? {
        ActuationRuling::Allow(permit) => begin(
            executor,
            conn,
            signed,
            (permit, at_steady_ms, seen),
            equals,
            now,
        )
        .map(Some),
        ActuationRuling::NeedsApproval { .. } => Ok(None),
        ActuationRuling::Refuse(refusal) => Err(StoreError::Refused(refusal)),
    }
}

/// Writes ahead what a permit allows, which was given at a steady time, with the orders that its actuator had then.
pub(super) fn begin(
    executor: &Executor,
    conn: &Connection,
    signed: &SignedProposal,
    (permit, at_steady_ms, seen): (Permit, u64, Orders),
    equals: &Equals,
    now: TimeMs,
) -> Result<Run, StoreError> {
    let record = signed.record();
    let (case, _) = cases::load(conn, &record.proposal_id)?;
    let step = decide::begin(&case, record, &permit, equals, now).map_err(StoreError::Refused)?;
    write(executor, conn, &step, None)?;
    Ok(Run {
        permit,
        at_steady_ms,
        seen,
        place: None,
    })
}

/// The answer with a proposal that stood already.
fn stands(
    context: &Context,
    conn: &Connection,
    id: &ProposalId,
) -> Result<(Minted, Option<Run>), StoreError> {
    let (_, row) = cases::load(conn, id)?;
    let minted = Minted {
        signed: open(context, &row)?,
        status: row.status,
        repeated: true,
        superseded: Vec::new(),
        standing: None,
    };
    Ok((minted, None))
}

/// As [`stands`], for an equal wish. One that another device led to is none that says that somebody else did, or nobody.
fn stands_for(
    context: &Context,
    conn: &Connection,
    id: &ProposalId,
    draft: &Draft,
) -> Result<(Minted, Option<Run>), StoreError> {
    let stands = stands(context, conn, id)?;
    if draft.led_by.is_none() || draft.led_by == stands.0.signed.record().led_by {
        return Ok(stands);
    }
    let short = id.short();
    let why = format!(
        "proposal {short} asks for the same and does not name who led to this; decide about it first"
    );
    Err(refused(Code::Conflict, why))
}

/// Whether another wish of `from` may be minted: each device has a share of what may wait and of what is
/// minted in an hour, counted in the store, so that no restart renews it; this node with its persons and
/// rules has a number of its own.
fn has_room(
    context: &Context,
    conn: &Connection,
    from: &DeviceId,
    now: TimeMs,
) -> Result<(), StoreError> {
    if from != context.own_id() {
        room::for_peers(conn)?;
        return [Share::Waiting, Share::Minted]
            .into_iter()
            .try_for_each(|share| {
                let used = usage::used(conn, from, share, now)?;
                share.admit(from, used, 1).map_err(StoreError::Refused)
            });
    }
    let waiting = usage::used(conn, from, Share::Waiting, now)?;
    match waiting < PROPOSALS_WAITING_MAX {
        true => Ok(()),
        false => Err(refused(
            Code::Busy,
            format!(
                "{PROPOSALS_WAITING_MAX} proposals of this node are waiting; decide some first"
            ),
        )),
    }
}

/// The metrics of cited readings.
fn metrics_of(frames: &[StoredFrame]) -> Vec<String> {
    let metric = |frame: &StoredFrame| {
        let json = serde_json::from_str::<Value>(&frame.json).ok()?;
        json.pointer("/data/metric")?.as_str().map(str::to_owned)
    };
    frames.iter().filter_map(metric).collect()
}

/// Whether the reading that a rule fired on, which it cites first, is held here; true for whatever is no rule's wish, or
/// one at the time of a schedule.
fn holds_first_cite(draft: &Draft, frames: &[StoredFrame]) -> bool {
    let fired_on = draft.cites.first();
    draft.requester != Requester::Rules
        || draft.slot.is_some()
        || fired_on.is_some_and(|first| frames.first().is_some_and(|f| f.frame_id == *first))
}

/// The frames a draft cites and the facts the policy will look at, as this node holds them.
fn gather(
    executor: &Executor,
    conn: &Connection,
    draft: &Draft,
    frames: &[StoredFrame],
    facts: &[Fact],
    now: TimeMs,
) -> Result<(Vec<Evidence>, BTreeSet<Taint>), StoreError> {
    let mut taint = draft.taint.clone();
    // A reading counts once, however often it is cited.
    let mut seen = BTreeSet::new();
    let once = frames.iter().filter(|stored| seen.insert(stored.content));
    let evidence = once.map(|stored| evidence_of(stored, facts, now));
    let mut evidence = evidence.collect::<Result<Vec<Evidence>, _>>()?;
    taint.extend(evidence.iter().flat_map(|e| e.taint.iter().copied()));
    let policy = executor.policy.current();
    let watched = facts.iter().filter_map(|f| {
        let condition = policy.looks_at(&draft.action, f, executor.own_id())?;
        Some((f, condition))
    });
    for (fact, condition) in watched.take(EVIDENCE_WATCHED_MAX) {
        if evidence.iter().any(|e| e.content == fact.content) {
            continue;
        }
        if let Some(stored) = of_origin(conn, &fact.frame_id, &fact.origin)? {
            evidence.push(Evidence {
                interlock: !condition,
                ..evidence_of(&stored, facts, now)?
            });
        }
    }
    Ok((evidence, taint))
}

fn evidence_of(stored: &StoredFrame, facts: &[Fact], now: TimeMs) -> Result<Evidence, StoreError> {
    // A current reading has its age by the steady clock.
    let current = facts.iter().find(|f| f.content == stored.content);
    let value = serde_json::from_str(&stored.json).unwrap_or(Value::Null);
    let frame = Frame::parse(value).map_err(StoreError::Refused)?;
    // What was told late was measured earlier than it was told.
    let told_ms = age_told(frame.data()).unwrap_or_default();
    let held = Held {
        content: stored.content,
        claimed_tier: stored.claimed_tier,
        effective_tier: stored.effective_tier,
        signature: stored.signature,
        sensed_at: TimeMs(stored.time.0.saturating_sub(told_ms)),
        age_ms: current.map_or(0, |f| now.since(f.sensed_at)).max(
            Moment::unset(now)
                .age_by_wall_ms(stored.time, stored.received_at)
                .saturating_add(told_ms),
        ),
        private: stored.private || current.is_some_and(|f| f.private),
    };
    Ok(Evidence::of(&frame, held))
}

fn record(
    executor: &Executor,
    draft: &Draft,
    from: &DeviceId,
    evidence: Vec<Evidence>,
    taint: BTreeSet<Taint>,
    terms: &Terms,
    now: TimeMs,
) -> Result<ProposalRecord, StoreError> {
    let nonce: [u8; 16] = executor
        .random
        .bytes()
        .map_err(|e| refused(Code::InternalError, e.to_string()))?;
    let minting = Minting {
        mesh_id: executor.mesh.clone(),
        executor: executor.own_id().clone(),
        nonce: URL_SAFE_NO_PAD.encode(nonce),
        policy_digest: executor.policy.current().digest(),
        gen1: gen1_command(executor, &draft.action)?,
        now,
    };
    Ok(ProposalRecord::of(
        draft, from, evidence, taint, terms, minting,
    ))
}
