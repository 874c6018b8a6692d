//! Proposals that wait for a person, for places that are told of them as soon as they are there: phones that hear by push. Each is
//! told as the alert that it becomes if it waits for long, by the same rules, so that nobody is told twice.

use std::collections::BTreeMap;

use rusqlite::Connection;
use tokio::sync::watch;

use super::Alerts;
use super::keeping::{Key, soon};
use crate::adapters::store::alerts::{AlertRow, NewAlert};
use crate::adapters::store::proposals::{self, ProposalRow};
use crate::adapters::store::{StoreError, kv};
use crate::domain::alerts::escalation::Told;
use crate::domain::base::limits::{ALERT_SLOW_LOOKS, QUERY_MAX};
use crate::domain::base::quantity::span;
use crate::domain::base::{Severity, TimeMs};
use crate::domain::proposal::Status;
use crate::node::context::alarms::AlarmKind;

/// Where it is kept what places were told of proposals that are no alerts yet.
const TOLD: &str = "alerts.waiting.told";

/// What places were told of proposals: how often and when last, by proposal and place.
pub(super) type ToldOf = BTreeMap<Key, BTreeMap<String, Told>>;
type Kept = BTreeMap<String, BTreeMap<String, (u32, u64)>>;

/// What places had been told of proposals before the start.
pub(super) fn told_before(c: &Connection) -> Result<ToldOf, StoreError> {
    let kept = kv::get(c, TOLD)?.and_then(|bytes| serde_json::from_slice(&bytes).ok());
    let kept: Kept = kept.unwrap_or_default();
    let told = |(times, last)| Told {
        times,
        last: TimeMs(last),
        over: false,
    };
    let each = kept.into_iter().map(|(id, places)| {
        let places = places.into_iter().map(|(name, said)| (name, told(said)));
        ((AlarmKind::ProposalWaits, id), places.collect())
    });
    Ok(each.collect())
}

/// Writes down what places were told of proposals that wait.
pub(super) fn keep_told(c: &Connection, told: &ToldOf) -> Result<(), StoreError> {
    let each = told.iter().map(|((_, id), places)| {
        let places = places.iter();
        let places = places.map(|(name, told)| (name.clone(), (told.times, told.last.0)));
        (id.clone(), places.collect())
    });
    let kept: Kept = each.collect();
    kv::put(c, TOLD, &serde_json::to_vec(&kept).unwrap_or_default())
}

/// The proposals that wait, as they were last read.
pub(super) struct Waiting {
    changes: watch::Receiver<u64>,
    looks: u32,
    /// What each would be as an alert.
    pub(super) all: BTreeMap<Key, AlertRow>,
}

/// A proposal as the alert that it may become; it has no number.
fn row(p: &ProposalRow, now: TimeMs) -> AlertRow {
    let message = format!(
        "{} on {} waits for a decision; it expires in {}",
        p.operation,
        p.target,
        span(p.expires_at.since(now))
    );
    AlertRow {
        id: 0,
        new: NewAlert {
            kind: AlarmKind::ProposalWaits.as_str().to_owned(),
            subject: p.id.as_str().to_owned(),
            severity: Severity::Warning,
            message,
            advice: String::new(),
            private: false,
            since: p.created_at,
        },
        ended: None,
        acknowledged: None,
        muted: None,
    }
}

impl Waiting {
    pub(super) fn new(alerts: &Alerts) -> Self {
        let mut changes = alerts.proposals_head.subscribe();
        changes.mark_changed();
        Self {
            changes,
            looks: 0,
            all: BTreeMap::new(),
        }
    }

    /// Reads them again where something has changed; returns those that wait no more.
    pub(super) async fn look(&mut self, alerts: &Alerts) -> Vec<(Key, AlertRow)> {
        self.looks = self.looks.wrapping_add(1);
        let changed = self.changes.has_changed().unwrap_or(false);
        if !changed && !self.looks.is_multiple_of(ALERT_SLOW_LOOKS) {
            return Vec::new();
        }
        self.changes.mark_unchanged();
        let read = |c: &Connection| proposals::open_list(c, QUERY_MAX);
        let open = match soon(alerts.store.read_committed("waiting", read)).await {
            Some(Ok(open)) => open,
            Some(Err(error)) => {
                tracing::warn!(%error, "what waits for a decision cannot be read");
                self.changes.mark_changed();
                return Vec::new();
            }
            None => {
                self.changes.mark_changed();
                return Vec::new();
            }
        };
        let now = alerts.now();
        let waits = |p: &&ProposalRow| p.status == Status::AwaitingApproval && p.expires_at > now;
        let each = open.iter().filter(waits);
        let key = |p: &ProposalRow| (AlarmKind::ProposalWaits, p.id.as_str().to_owned());
        let all = each.map(|p| (key(p), row(p, now))).collect();
        let before = std::mem::replace(&mut self.all, all);
        if open.len() >= QUERY_MAX {
            // Of so many the oldest are not read, and may wait still.
            return Vec::new();
        }
        let over = before
            .into_iter()
            .filter(|(key, _)| !self.all.contains_key(key));
        let why = "it waits no more".to_owned();
        over.map(|(key, row)| {
            let ended = Some((now, why.clone()));
            (key, AlertRow { ended, ..row })
        })
        .collect()
    }
}
