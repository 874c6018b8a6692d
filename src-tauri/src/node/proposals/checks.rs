//! What stands in a proposal's way now, as its executor sees it: every check that would be made if it
//! were decided this moment. Looking decides nothing and changes nothing.

use rusqlite::Connection;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::ground::{self, cited};
use super::open;
use crate::adapters::store::{StoreError, proposals};
use crate::domain::base::text::type_in_words;
use crate::domain::base::{Code, ProposalId, Refusal, TimeMs};
use crate::domain::policy::Check;
use crate::domain::proposal::{ProposalRecord, ground as rules};
use crate::node::context::budgets::Asked;
use crate::node::context::store_refusal;
use crate::node::links::{LinkHandle, PeerInfo};
use crate::node::proposals::Executor;

/// The request that asks an executor.
pub const CHECKS: &str = "proposals.checks";

/// The checks of a waiting proposal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct ChecksView {
    /// Whether it would act if enough people agreed now.
    pub allowed: bool,
    /// Why not, in a sentence.
    pub message: Option<String>,
    /// Every check, passed and failed.
    pub checks: Vec<Check>,
    /// When they were made, by the executor's clock, in milliseconds since 1970.
    #[cfg_attr(test, schema(value_type = u64))]
    pub at: TimeMs,
}

/// A request for the checks of a proposal as it comes over a link.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct OverLink {
    proposal_id: ProposalId,
}

/// Answers a device that asks for the checks of one of our own proposals, within its share.
///
/// # Errors
/// `INVALID_PARAMS`, `OVER_BUDGET`, or as [`own`].
pub async fn asked(
    executor: &Executor,
    link: &PeerInfo,
    params: Map<String, Value>,
) -> Result<Value, Refusal> {
    let (device, now) = (&link.device, executor.now());
    executor.budgets.asked(device, Asked::Checks, now)?;
    let read = serde_json::from_value::<OverLink>(Value::Object(params));
    let said = read.map_err(|e| {
        let why = type_in_words(&e.to_string());
        Refusal::new(Code::InvalidParams, why)
    })?;
    Ok(json!(own(executor, said.proposal_id).await?))
}

/// The checks of one of our own proposals, made now.
///
/// # Errors
/// `PROPOSAL_NOT_FOUND` if this node is not its executor, or what the store says.
pub async fn own(executor: &Executor, id: ProposalId) -> Result<ChecksView, Refusal> {
    let (inner, now) = (executor.clone(), executor.now());
    let read = move |c: &Connection| look(&inner, c, &id, now);
    let seen = executor.store.read("checks", read).await;
    seen.map_err(|e| store_refusal(&e))
}

fn look(
    executor: &Executor,
    conn: &Connection,
    id: &ProposalId,
    now: TimeMs,
) -> Result<ChecksView, StoreError> {
    let row = proposals::get(conn, id)?.filter(|row| row.own);
    let row = row.ok_or_else(|| {
        let why = format!("this node has no proposal {} of its own", id.short());
        StoreError::Refused(Refusal::new(Code::ProposalNotFound, why))
    })?;
    let signed = open(executor, &row)?;
    let record = signed.record();
    let ground = ground::load(executor, conn, record, now)?;
    let (checks, message) = rules::checks(record, &ground, places(executor, record));
    Ok(ChecksView {
        allowed: message.is_none(),
        message,
        checks,
        at: now,
    })
}

/// Where the evidence comes from. That of another device is told, and of one that has such an actuator
/// itself above all: the wish may be about its place and not about this one.
fn places(executor: &Executor, record: &ProposalRecord) -> Check {
    let offers = executor.known_capabilities();
    let elsewhere: Vec<String> = cited(&record.evidence)
        .filter(|e| e.origin != *executor.own_id())
        .map(|e| {
            let target = record.target.as_str();
            let has = offers
                .get(&e.origin)
                .is_some_and(|list| list.iter().any(|c| c == target));
            let also = if has {
                ", which has such an actuator itself: is this the right place?"
            } else {
                ""
            };
            format!("{} is from device {}{also}", e.summary, e.origin.short())
        })
        .collect();
    let detail = match elsewhere.is_empty() {
        true => "all of it is this executor's own".to_owned(),
        false => format!("not this executor's own: {}", elsewhere.join("; ")),
    };
    Check {
        name: "place of the evidence".to_owned(),
        passed: true,
        detail,
    }
}

/// Asks the executor at the other end of a link.
///
/// # Errors
/// Its refusal, or that its answer does not read.
pub async fn ask(link: &LinkHandle, id: &ProposalId) -> Result<ChecksView, Refusal> {
    let answer = link.request(CHECKS, &json!({"proposalId": id})).await?;
    serde_json::from_value(answer).map_err(|e| {
        let why = format!("the executor's answer does not read: {e}");
        Refusal::new(Code::DeliveryFailed, why)
    })
}
