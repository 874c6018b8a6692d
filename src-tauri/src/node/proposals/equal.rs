//! Loads the open wishes for an action, with the class of who asked (`domain/proposal/equal`).

use rusqlite::Connection;

use super::ground::known;
use super::open;
use crate::adapters::store::proposals::ProposalRow;
use crate::adapters::store::{StoreError, cases, proposals};
use crate::domain::base::{ProposalId, TimeMs};
use crate::domain::capability::Action;
use crate::domain::policy::{Class, Requester};
use crate::domain::proposal::equal::{Equal, Equals, intent_key};
use crate::domain::proposal::{ProposalRecord, Status, standing};
use crate::node::context::Context;

/// Our own open wishes for the same action, but for one of them.
pub(super) fn load(
    context: &Context,
    conn: &Connection,
    action: &Action,
    but: Option<&ProposalId>,
    now: TimeMs,
) -> Result<Equals, StoreError> {
    let wanted = action.intent_key();
    let open_on = proposals::open_on(conn, context.own_id(), action.target.as_str())?;
    // Earlier versions stored no class.
    let same = |row: &ProposalRow| {
        let after = row.intent_key.split_once('|').map(|(_, intent)| intent);
        after.unwrap_or(&row.intent_key) == wanted && but != Some(&row.id)
    };
    let mut equals = Equals::default();
    for row in open_on.into_iter().filter(same) {
        let case = cases::case_of(conn, &row)?;
        if case.has_run_out(now) {
            equals.over.push(case);
            continue;
        }
        let signed = open(context, &row)?;
        let by = &signed.record().requested_by;
        if row.status == Status::AwaitingApproval
            && let Err((_, why)) = standing::may_ask(
                &by.device_id,
                by.kind,
                &known(context, conn, &by.device_id)?,
            )
        {
            equals.unentitled.push((case, why));
            continue;
        }
        let plain = |c: &Class| row.intent_key == format!("{}|{wanted}", c.as_str());
        let class = Class::ALL
            .into_iter()
            .find(|c| row.intent_key == intent_key(*c, &by.device_id, action) || plain(c));
        equals.standing.push(Equal {
            class: match class {
                // Earlier versions did not tell whose person it was.
                Some(Class::Person) if row.status == Status::AwaitingApproval => {
                    earlier_class(context, signed.record())
                }
                Some(class) => class,
                None => earlier_class(context, signed.record()),
            },
            asker: by.device_id.clone(),
            level: row.level,
            case,
        });
    }
    Ok(equals)
}

/// The class of a proposal that was minted before classes were kept.
fn earlier_class(context: &Context, record: &ProposalRecord) -> Class {
    let by = &record.requested_by;
    match by.kind {
        _ if !record.taint.is_empty() => Class::Model,
        Requester::Llm => Class::Model,
        Requester::Person if by.device_id == *context.own_id() => Class::Person,
        Requester::Person => Class::PeerPerson,
        Requester::Rules if by.device_id == *context.own_id() => Class::OwnRules,
        Requester::Rules => Class::PeerRules,
    }
}
