//! Standing approvals at the executor that they name: given, ended, listed, and used as their giver's vote where a proposal is
//! minted or decided. Each use is counted in the transaction that writes the act ahead.

mod offers;
mod using;
mod view;

use std::time::Duration;

use rusqlite::Connection;
use serde_json::json;

pub use self::offers::{ParamKind, ParamView, StandingOffer, offers};
use self::using::over;
pub(super) use self::using::{start, votes_on};
use self::view::view;
pub use self::view::{ApprovalView, StandingState, StandingUsed};
use super::ground::by_gen1;
use super::{Executor, refused, votes};
use crate::adapters::store::standing_approvals::{self as store, Held, StandingRow};
use crate::adapters::store::{StoreError, operators};
use crate::domain::admission::budget::Cause;
use crate::domain::base::limits::{
    DECISIONS_USED_MAX, STANDING_ENDED_SHOWN, STANDING_LIST_MAX_BYTES, STANDING_PER_EXECUTOR_MAX,
    STANDING_PER_PERSON_MAX,
};
use crate::domain::base::{AuditKind, Code, Digest, OperatorId, Refusal, TimeMs};
use crate::domain::capability::Action;
use crate::domain::gate::standing_approval::{self as gate, short};
use crate::domain::gate::{SignedStanding, SignedStandingEnd, StandingApproval};
use crate::node::context::timekeeping::clock_trusted;
use crate::node::context::{Context, DURABLE, Event, Severity, store_refusal};
use crate::node::continuity;
use crate::node::health;

/// The request by which another node brings a standing approval, with the member `standing`.
pub const GIVE: &str = "approvals.give";
/// The request by which another node brings a person's word that one ends, with the member `end`.
pub const END: &str = "approvals.end";
/// The request for what was given here; the answer has it as `standing`, and as `allowed` for what it may be given.
pub const LIST: &str = "approvals.list";

fn at<'a>(executor: &'a Context, conn: &Connection) -> Result<gate::Executor<'a>, StoreError> {
    Ok(gate::Executor {
        mesh_id: &executor.mesh,
        own: executor.own_id(),
        void_before: store::void_before(conn)?,
    })
}

/// What was given here, and how many more were that are not shown.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Listed {
    /// Those that have not ended, and those that have ended last.
    pub list: Vec<ApprovalView>,
    /// How many others there are.
    pub left_out: u64,
}

/// Takes a standing approval that a person has signed. The same one again changes nothing, and nothing is written for it.
///
/// # Errors
/// One code per fault; nothing is stored then.
pub async fn give(
    executor: &Executor,
    cause: Cause,
    signed: SignedStanding,
) -> Result<ApprovalView, Refusal> {
    let (s, copy) = (executor.clone(), signed.clone());
    let known =
        move |conn: &Connection| Ok(given_before(&s, conn, &copy)?.map(|view| (view, false)));
    let s = executor.clone();
    let work = move |conn: &Connection| give_in(&s, conn, &signed);
    let (view, new) = taken(executor, cause, known, work).await?;
    if new {
        let message = format!(
            "{} gave standing approval {}: {}, up to {} times, for {} s each, for the next {} min",
            view.name.as_deref().unwrap_or("a person"),
            view.id.get(..8).unwrap_or(&view.id),
            view.summary,
            view.uses_max,
            view.run_max_ms / 1_000,
            TimeMs(view.valid_until)
                .since(executor.now())
                .div_ceil(60_000),
        );
        told(executor, Event::StandingGiven, &view.id, &message).await;
    }
    Ok(view)
}

/// Ends a standing approval on the signed word of a person.
///
/// # Errors
/// One code per fault; `NOT_FOUND` for one that was never given here, which is then not taken either.
pub async fn end(
    executor: &Executor,
    cause: Cause,
    signed: SignedStandingEnd,
) -> Result<ApprovalView, Refusal> {
    let (s, copy) = (executor.clone(), signed.clone());
    let known =
        move |conn: &Connection| Ok(ended_before(&s, conn, &copy)?.map(|view| (view, false)));
    let s = executor.clone();
    let work = move |conn: &Connection| end_in(&s, conn, &signed);
    let (view, new) = taken(executor, cause, known, work).await?;
    let Some(view) = view else {
        return Err(Refusal::new(
            Code::NotFound,
            "this standing approval was never given here; if it comes now it is not taken",
        ));
    };
    if new {
        ended(executor, &view).await;
    }
    Ok(view)
}

/// Ends a standing approval as an administrator of this node, who is at its door.
///
/// # Errors
/// `NOT_FOUND`, or what the store says.
pub async fn void(executor: &Executor, id: Digest, why: String) -> Result<ApprovalView, Refusal> {
    let s = executor.clone();
    let work = move |conn: &Connection| {
        let row = given(conn, &id)?;
        let new = end_for(&s, conn, &row.id, &why, None)?;
        Ok((view(&s, conn, &given(conn, &id)?)?, new))
    };
    let (view, new) = taken(executor, Cause::Own, |_| Ok(None), work).await?;
    if new {
        ended(executor, &view).await;
    }
    Ok(view)
}

/// What was given here, the newest first, and behind it what has ended, the latest first; as much as fits in one message.
///
/// # Errors
/// Whatever the store says.
pub async fn list(executor: &Executor) -> Result<Listed, Refusal> {
    let s = executor.clone();
    let read = move |conn: &Connection| {
        let mut rows = store::live(conn)?;
        rows.reverse();
        rows.extend(store::ended(conn, STANDING_ENDED_SHOWN)?);
        let (mut list, mut bytes) = (Vec::new(), 0_usize);
        for row in &rows {
            let view = view(&s, conn, row)?;
            bytes = bytes.saturating_add(json!(view).to_string().len());
            if bytes > STANDING_LIST_MAX_BYTES {
                break;
            }
            list.push(view);
        }
        let shown = u64::try_from(list.len()).unwrap_or(u64::MAX);
        let left_out = store::count(conn)?.saturating_sub(shown);
        Ok(Listed { list, left_out })
    };
    let listed = executor.store.read("standing approvals", read).await;
    listed.map_err(|e| store_refusal(&e))
}

/// Writes, and records what was refused. What `known` finds is so already, and nothing is written for it.
async fn taken<T: Send + 'static>(
    executor: &Executor,
    cause: Cause,
    known: impl FnOnce(&Connection) -> Result<Option<T>, StoreError> + Send + 'static,
    work: impl FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
) -> Result<T, Refusal> {
    let found = match health::check_store(executor) {
        Ok(()) => {
            executor
                .store
                .read_committed("standing approval", known)
                .await
        }
        Err(error) => Err(error),
    };
    let written = match found {
        Ok(Some(done)) => return Ok(done),
        Ok(None) => {
            let written = executor.store.write(DURABLE, "standing approval", work);
            written.await
        }
        Err(error) => Err(error),
    };
    match written.map_err(|e| store_refusal(&e)) {
        Ok(done) => {
            // A state from before this is known to be old, as one from before an act is.
            if let Err(why) = continuity::ahead(executor).await {
                tracing::warn!("{why}");
            }
            Ok(done)
        }
        Err(refusal) => {
            let journal = &executor.journal;
            journal
                .refused_of(cause, Event::DecisionRefused, "standing approval", &refusal)
                .await;
            Err(refusal)
        }
    }
}

async fn told(executor: &Executor, event: Event, id: &str, message: &str) {
    let data = json!({"standingApproval": id});
    let journal = &executor.journal;
    journal.record(event, Severity::Info, message, data).await;
}

async fn ended(executor: &Executor, view: &ApprovalView) {
    let message = format!(
        "Standing approval {} ended ({}): {}",
        view.id.get(..8).unwrap_or(&view.id),
        view.why.as_deref().unwrap_or_default(),
        view.summary
    );
    told(executor, Event::StandingEnded, &view.id, &message).await;
}

fn given(conn: &Connection, id: &Digest) -> Result<StandingRow, StoreError> {
    match store::get(conn, id)? {
        Held::Given(row) => Ok(*row),
        Held::Nothing | Held::EndedBefore => Err(refused(
            Code::NotFound,
            format!("no standing approval {} was given here", short(id)),
        )),
    }
}

/// The giver of one that is good and, if it was given before, how it stands.
///
/// # Errors
/// What is wrong with it; `CONFLICT` for one that has ended.
fn admitted(
    executor: &Executor,
    conn: &Connection,
    signed: &SignedStanding,
) -> Result<(votes::Key, Option<ApprovalView>), StoreError> {
    let (approval, now) = (&signed.approval, executor.now());
    let key = votes::key(executor, conn, &approval.operator_id, now)?;
    gate::admit(signed, &at(executor, conn)?, &key.known(), now).map_err(StoreError::Refused)?;
    match store::get(conn, &approval.id())? {
        Held::Nothing => Ok((key, None)),
        Held::Given(row) if row.ended.is_none() => Ok((key, Some(view(executor, conn, &row)?))),
        Held::Given(_) | Held::EndedBefore => {
            let why =
                "this standing approval has ended, and an end is never taken back; give a new one";
            Err(refused(Code::Conflict, why))
        }
    }
}

fn given_before(
    executor: &Executor,
    conn: &Connection,
    signed: &SignedStanding,
) -> Result<Option<ApprovalView>, StoreError> {
    admitted(executor, conn, signed).map(|(_, before)| before)
}

fn give_in(
    executor: &Executor,
    conn: &Connection,
    signed: &SignedStanding,
) -> Result<(ApprovalView, bool), StoreError> {
    let (approval, now) = (&signed.approval, executor.now());
    let (key, before) = admitted(executor, conn, signed)?;
    if let Some(view) = before {
        return Ok((view, false));
    }
    let id = approval.id();
    health::check_in_place(executor)?;
    if !clock_trusted(conn, now)? {
        let why = "this node's clock is behind the newest time it has recorded; set it, or stop the node and run `clawmesh-node clock confirm` there if the clock is right";
        return Err(refused(Code::ClockUntrusted, why));
    }
    if !executor.guards.has(&approval.target) {
        let why = format!("{} is no actuator of this node", approval.target);
        return Err(refused(Code::UnknownTarget, why));
    }
    allowed_here(executor, approval)?;
    has_room(executor, conn, key.person())?;
    store::put(conn, signed, now)?;
    let detail = json!({
        "operator": key.record().name, "operatorId": approval.operator_id, "person": key.person(),
        "action": approval.summary(), "askers": approval.askers, "runMaxMs": approval.run_max_ms, "usesMax": approval.uses_max,
        "validFrom": approval.valid_from, "validUntil": approval.valid_until, "signature": signed.signature, "note": approval.note,
    });
    let kind = AuditKind::StandingGiven;
    executor.journal.audit(conn, kind, &id.to_hex(), detail)?;
    Ok((view(executor, conn, &given(conn, &id)?)?, true))
}

/// Whether the policy in force lets standing approvals count for this action: none is taken that would do nothing.
fn allowed_here(executor: &Executor, approval: &StandingApproval) -> Result<(), StoreError> {
    let action = Action {
        target: approval.target.clone(),
        operation: approval.operation.clone(),
        params: Default::default(),
    };
    let policy = executor.policy.current();
    if by_gen1(executor, &action) {
        let target = &approval.target;
        let why = format!("a gen-1 node acts on {target}, and a person approves that each time");
        return Err(refused(Code::PolicyDenied, why));
    }
    match policy.rule_for(&action) {
        Some(rule) if rule.standing_approvals && rule.kind.may_stand() => Ok(()),
        Some(rule) if !rule.kind.may_stand() => Err(refused(
            Code::PolicyDenied,
            format!(
                "actions of rule {:?} of this executor's policy are {}, which a person approves each time",
                rule.name, rule.kind
            ),
        )),
        Some(rule) => Err(refused(
            Code::PolicyDenied,
            format!(
                "rule {:?} of this executor's policy does not let standing approvals count; it would have to say standing_approvals = true, at L2",
                rule.name
            ),
        )),
        None => Err(refused(
            Code::PolicyDenied,
            format!(
                "no rule of this executor's policy covers {:?} on {}",
                approval.operation, approval.target
            ),
        )),
    }
}

/// Whether there is room for another one, at this executor and of this person.
fn has_room(executor: &Context, conn: &Connection, person: &OperatorId) -> Result<(), StoreError> {
    let live = store::live(conn)?;
    let persons = operators::persons(conn, executor.own_id())?;
    let giver = |row: &&StandingRow| persons.of_key(&row.signed.approval.operator_id) == *person;
    let theirs = live.iter().filter(giver).count();
    let full = |have: usize, most: u64| u64::try_from(have).is_ok_and(|have| have >= most);
    if full(live.len(), STANDING_PER_EXECUTOR_MAX) || full(theirs, STANDING_PER_PERSON_MAX) {
        let why = format!(
            "{theirs} standing approvals of yours count here and {} in all; at most {STANDING_PER_PERSON_MAX} and {STANDING_PER_EXECUTOR_MAX} may. Revoke some first",
            live.len()
        );
        return Err(refused(Code::Busy, why));
    }
    Ok(())
}

/// The key of who ends one.
///
/// # Errors
/// What is wrong with their word.
fn ender(
    executor: &Executor,
    conn: &Connection,
    signed: &SignedStandingEnd,
) -> Result<votes::Key, StoreError> {
    let now = executor.now();
    let key = votes::key(executor, conn, &signed.end.operator_id, now)?;
    let at = at(executor, conn)?;
    gate::admit_end(signed, &at, &key.known(), now).map_err(StoreError::Refused)?;
    Ok(key)
}

/// How one stands that has ended already.
fn ended_before(
    executor: &Executor,
    conn: &Connection,
    signed: &SignedStandingEnd,
) -> Result<Option<Option<ApprovalView>>, StoreError> {
    ender(executor, conn, signed)?;
    Ok(match store::get(conn, &signed.end.approval)? {
        Held::Given(row) if row.ended.is_some() => Some(Some(view(executor, conn, &row)?)),
        Held::EndedBefore => Some(None),
        Held::Given(_) | Held::Nothing => None,
    })
}

fn end_in(
    executor: &Executor,
    conn: &Connection,
    signed: &SignedStandingEnd,
) -> Result<(Option<ApprovalView>, bool), StoreError> {
    let (end, now) = (&signed.end, executor.now());
    let key = ender(executor, conn, signed)?;
    let row = match store::get(conn, &end.approval)? {
        Held::Given(row) => row,
        Held::EndedBefore => return Ok((None, false)),
        Held::Nothing => {
            store::end_before(conn, signed, DECISIONS_USED_MAX, now)?;
            return Ok((None, false));
        }
    };
    let why = match &end.note {
        Some(note) => format!("revoked by {}: {note}", key.record().name),
        None => format!("revoked by {}", key.record().name),
    };
    let new = end_for(executor, conn, &row.id, &why, Some(signed))?;
    let row = given(conn, &row.id)?;
    Ok((Some(view(executor, conn, &row)?), new))
}

/// Ends one, with its audit entry; whether it had not ended.
pub(super) fn end_for(
    executor: &Executor,
    conn: &Connection,
    id: &Digest,
    why: &str,
    by: Option<&SignedStandingEnd>,
) -> Result<bool, StoreError> {
    let new = store::end(conn, id, executor.now(), why, by)?;
    if new {
        let signature = by.map(|by| by.signature);
        let operator = by.map(|by| &by.end.operator_id);
        let detail = json!({"why": why, "operatorId": operator, "signature": signature});
        let kind = AuditKind::StandingEnded;
        executor.journal.audit(conn, kind, &id.to_hex(), detail)?;
    }
    Ok(new)
}

/// Ends what does not count any more, so that it never counts again; looks every second.
pub async fn tidy(executor: Executor) {
    let mut tick = tokio::time::interval(Duration::from_secs(1));
    loop {
        tokio::select! {
            biased;
            () = executor.tasks.stop().cancelled() => return,
            _ = tick.tick() => {}
        }
        let s = executor.clone();
        let look = move |conn: &Connection| {
            let mut found = Vec::new();
            for row in store::live(conn)? {
                if over(&s, conn, &row, s.now())?.is_some() {
                    found.push(row.id);
                }
            }
            Ok(found)
        };
        let read = executor.store.read_committed("standing approvals", look);
        for id in read.await.unwrap_or_default() {
            let s = executor.clone();
            let work = move |conn: &Connection| {
                let row = given(conn, &id)?;
                let Some(why) = over(&s, conn, &row, s.now())? else {
                    return Ok(None);
                };
                let new = end_for(&s, conn, &id, &why, None)?;
                let row = given(conn, &id)?;
                Ok(match new {
                    true => Some(view(&s, conn, &row)?),
                    false => None,
                })
            };
            match executor
                .store
                .write(DURABLE, "standing approval's end", work)
                .await
            {
                Ok(Some(view)) => ended(&executor, &view).await,
                Ok(None) => {}
                Err(error) => {
                    tracing::warn!(%error, "the end of a standing approval is not stored yet")
                }
            }
        }
    }
}
