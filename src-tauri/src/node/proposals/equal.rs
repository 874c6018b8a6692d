//! Equal wishes: which of the open proposals a new wish adds nothing to, and which it ends.

use rusqlite::Connection;
use serde_json::json;

use super::{known, open, step};
use crate::adapters::store::StoreError;
use crate::adapters::store::proposals::{self, ProposalRow};
use crate::domain::base::{DeviceId, ProposalId, TimeMs};
use crate::domain::capability::Action;
use crate::domain::policy::{Class, Requester};
use crate::domain::proposal::{ProposalRecord, Status, standing};
use crate::node::shared::Shared;

/// What makes two wishes the same: the class of the asker, and the action; and the device, where the class is
/// no more than what a device says of itself. No two open ones have the same.
pub(super) fn intent_key(class: Class, from: &DeviceId, action: &Action) -> String {
    let (class, is_claimed) = (class.as_str(), class.is_claimed());
    match is_claimed {
        true => format!("{class}:{from}|{}", action.intent_key()),
        false => format!("{class}|{}", action.intent_key()),
    }
}

/// An open wish for the same action.
pub(super) struct Equal {
    pub(super) class: Class,
    asker: DeviceId,
    pub(super) row: ProposalRow,
}

impl Equal {
    /// Whether it and a wish of this class from this device have to do with each other: one stands for the
    /// other or ends it. What one device says of itself touches no other device's wish.
    pub(super) fn concerns(&self, class: Class, from: &DeviceId) -> bool {
        let claimed = self.class.is_claimed() && class.is_claimed();
        !claimed || self.asker == *from
    }

    /// Whether a wish of this class from this device adds nothing to it.
    pub(super) fn is_of(&self, class: Class, from: &DeviceId) -> bool {
        self.class == class && self.concerns(class, from)
    }
}

/// Our own open wishes for the same action, with the class of who asked. What has run out ends here, and
/// what its asker may not ask for any more.
pub(super) fn equal_wishes(
    shared: &Shared,
    conn: &Connection,
    action: &Action,
    now: TimeMs,
) -> Result<Vec<Equal>, StoreError> {
    let wanted = action.intent_key();
    let open_on = proposals::open_on(conn, shared.own_id(), action.target.as_str())?;
    // Earlier versions stored no class.
    let same = |row: &ProposalRow| {
        let after = row.intent_key.split_once('|').map(|(_, intent)| intent);
        row.intent_key == wanted || after == Some(wanted.as_str())
    };
    let mut equal = Vec::new();
    for row in open_on.into_iter().filter(same) {
        if row.status == Status::AwaitingApproval && row.expires_at <= now {
            let (from, to) = (row.status, Status::Expired);
            let why = "nobody decided in time";
            step(shared, conn, &row.id, from, to, Some(why), json!({}))?;
            continue;
        }
        let signed = open(shared, &row)?;
        let by = &signed.record().requested_by;
        if row.status == Status::AwaitingApproval
            && let Err((_, why)) =
                standing::may_ask(&by.device_id, by.kind, &known(shared, conn, &by.device_id)?)
        {
            let (from, to) = (row.status, Status::Withdrawn);
            step(shared, conn, &row.id, from, to, Some(&why), json!({}))?;
            continue;
        }
        let plain = |c: &Class| row.intent_key == format!("{}|{wanted}", c.as_str());
        let class = Class::ALL
            .into_iter()
            .find(|c| row.intent_key == intent_key(*c, &by.device_id, action) || plain(c));
        equal.push(Equal {
            class: match class {
                // Earlier versions did not tell whose person it was.
                Some(Class::Person) if row.status == Status::AwaitingApproval => {
                    earlier_class(shared, signed.record())
                }
                Some(class) => class,
                None => earlier_class(shared, signed.record()),
            },
            asker: by.device_id.clone(),
            row,
        });
    }
    Ok(equal)
}

/// The class of a proposal that was minted before classes were kept.
fn earlier_class(shared: &Shared, record: &ProposalRecord) -> Class {
    let by = &record.requested_by;
    match by.kind {
        _ if !record.taint.is_empty() => Class::Model,
        Requester::Llm => Class::Model,
        Requester::Person if by.device_id == *shared.own_id() => Class::Person,
        Requester::Person => Class::PeerPerson,
        Requester::Rules if by.device_id == *shared.own_id() => Class::OwnRules,
        Requester::Rules => Class::PeerRules,
    }
}

/// Ends the waiting ones of these wishes, because of another proposal.
pub(super) fn supersede<'a>(
    shared: &Shared,
    conn: &Connection,
    ended: impl Iterator<Item = &'a Equal>,
    by: &ProposalId,
    why: impl Fn(Class) -> String,
) -> Result<Vec<ProposalId>, StoreError> {
    let mut done = Vec::new();
    for Equal { class, row, .. } in ended {
        if row.status != Status::AwaitingApproval {
            continue;
        }
        let detail = json!({"by": by});
        let (from, to) = (row.status, Status::Superseded);
        step(shared, conn, &row.id, from, to, Some(&why(*class)), detail)?;
        done.push(row.id.clone());
    }
    Ok(done)
}
