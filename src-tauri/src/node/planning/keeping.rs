//! Held actions that rules of this node asked for: each is kept for as long as its rule's condition holds, here or at its
//! executor, which judges whether this node may. A rule that runs by a schedule has no condition that lasts, and keeps
//! nothing; neither does a planner that is paused.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::json;

use super::Drafts;
use crate::adapters::store::proposals::{self, ProposalRow};
use crate::adapters::store::{StoreError, facts};
use crate::domain::base::limits::{HOLD_RULES_EVERY_MS, LEASE_HELD_MIN_MS, QUERY_MAX};
use crate::domain::base::{DeviceId, ProposalId, TimeMs};
use crate::domain::plan::rules::Rule;
use crate::domain::policy::{Kind, Requester};
use crate::domain::proposal::{ProposalRecord, Status};
use crate::domain::wire::handshake::Feature;
use crate::domain::world::Facts;
use crate::node::proposals::hold::{self, HoldRequest};
use crate::node::routing;

/// The number of the next renewal. It comes from the clock, so that those of a node that was started again count as well,
/// and from nothing that another device says.
#[derive(Debug, Default)]
struct Counter(u64);

impl Counter {
    fn next(&mut self, now: TimeMs) -> u64 {
        self.0 = self.0.saturating_add(1).max(now.0);
        self.0
    }
}

/// The renewals that have been sent and not answered yet: one for each action.
#[derive(Debug, Clone, Default)]
struct Sent(Arc<Mutex<BTreeSet<ProposalId>>>);

impl Sent {
    /// Notes one, until the returned value is dropped; `None` while another is on its way.
    fn begin(&self, id: &ProposalId) -> Option<OneSent> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let new = all.insert(id.clone());
        new.then(|| OneSent(self.clone(), id.clone()))
    }
}

struct OneSent(Sent, ProposalId);

impl Drop for OneSent {
    fn drop(&mut self) {
        let Self(sent, id) = self;
        let mut all = sent.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.remove(id);
    }
}

/// Renews what is to be kept until the node ends, in rounds: however often proposals change, each action is renewed once a
/// round at most.
pub(super) async fn keep(drafts: Drafts) {
    let mut changes = drafts.proposals_head.subscribe();
    let mut tick = tokio::time::interval(Duration::from_millis(HOLD_RULES_EVERY_MS));
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut under_way = Vec::new();
    let mut counter = Counter::default();
    let sent = Sent::default();
    let mut changed = true;
    loop {
        tokio::select! {
            biased;
            () = drafts.tasks.stop().cancelled() => return,
            new = changes.changed(), if !changed => {
                if new.is_err() {
                    return;
                }
                // Looked at in the next round.
                changed = true;
                continue;
            }
            _ = tick.tick(), if changed || !under_way.is_empty() => {}
        }
        if changed {
            match held(&drafts).await {
                Ok(held) => (under_way, changed) = (held, false),
                Err(error) => tracing::error!(%error, "what rules hold cannot be read"),
            }
        }
        if drafts.planner.pause().is_some() {
            continue;
        }
        for record in wanted(&drafts, &under_way).await {
            let counter = counter.next(drafts.now());
            renew(&drafts, record, counter, &sent);
        }
    }
}

/// The held actions under way that rules of this node asked for: of an actuator the newest, since one runs at a time whatever
/// its executor says.
async fn held(drafts: &Drafts) -> Result<Vec<ProposalRecord>, StoreError> {
    let own = drafts.own_id().clone();
    let read = move |c: &rusqlite::Connection| {
        let rows = proposals::newest(c, true, QUERY_MAX)?;
        let acts = |row: &&ProposalRow| row.status == Status::Executing;
        let records = rows.iter().filter(acts);
        let records =
            records.filter_map(|row| serde_json::from_str::<ProposalRecord>(&row.record).ok());
        let ours = |record: &ProposalRecord| {
            let by = &record.requested_by;
            matches!(record.kind(), Kind::Held { .. })
                && by.kind == Requester::Rules
                && by.device_id == own
                && record.taint.is_empty()
        };
        let mut seen = BTreeSet::new();
        let new = |r: &ProposalRecord| seen.insert((r.executor.clone(), r.target.clone()));
        Ok(records.filter(ours).filter(new).collect())
    };
    drafts.store.read("held by rules", read).await
}

/// Those of them whose rule still has its reason.
async fn wanted<'a>(drafts: &Drafts, held: &'a [ProposalRecord]) -> Vec<&'a ProposalRecord> {
    let rule_of = |record: &ProposalRecord| {
        let rules = drafts.config.rules.iter();
        let mut rules = rules.filter(|r| r.name == record.requested_by.name);
        rules.find(|r| r.action == record.action())
    };
    let ruled: Vec<(&ProposalRecord, &Rule)> = held
        .iter()
        .filter_map(|record| Some((record, rule_of(record)?)))
        .collect();
    let watches = ruled.iter().filter_map(|(_, rule)| rule.watch());
    let metrics: BTreeSet<String> = watches.map(|w| w.metric.clone()).collect();
    if metrics.is_empty() {
        return Vec::new();
    }
    let at = drafts.moment();
    let read = move |c: &rusqlite::Connection| facts::numeric_of(c, &metrics, at);
    let facts = match drafts.store.read_gathered("facts", read).await {
        Ok(facts) => facts,
        // What is not known to hold keeps nothing.
        Err(error) => {
            tracing::error!(%error, "the planner cannot read the world");
            return Vec::new();
        }
    };
    let holds = |(record, rule): &(&ProposalRecord, &Rule)| holds(drafts, record, rule, &facts);
    ruled
        .into_iter()
        .filter(holds)
        .map(|(record, _)| record)
        .collect()
}

fn holds(drafts: &Drafts, record: &ProposalRecord, rule: &Rule, facts: &dyn Facts) -> bool {
    let Some(watch) = rule.watch() else {
        return false;
    };
    let offers = routing::offers(drafts);
    // A device that has such an actuator itself speaks of its own place.
    let about = |origin: &DeviceId| {
        rule.executor.is_some()
            || *origin == record.executor
            || !routing::offered(&offers, origin, &record.target)
    };
    let mut beyond = watch.beyond(facts, drafts.now());
    beyond.any(|fact| fact.taint.is_empty() && about(&fact.origin))
}

/// Says that it goes on. One that is not heard is said again in a later round; one that is still on its way is waited for.
fn renew(drafts: &Drafts, record: &ProposalRecord, counter: u64, sent: &Sent) {
    let (id, rule) = (record.proposal_id.clone(), record.requested_by.name.clone());
    if record.executor == *drafts.own_id() {
        if let Err(refusal) = hold::by_rule(&drafts.executor, &id, &rule, counter) {
            tracing::debug!(proposal = %id, "not kept: {refusal}");
        }
        return;
    }
    let Some(one) = sent.begin(&id) else { return };
    let (sending, executor) = (drafts.clone(), record.executor.clone());
    drafts.tasks.passing("renewal", async move {
        let link = sending.reach.reach(&executor).await;
        let Some(link) = link.filter(|link| link.info.speaks(Feature::Hold)) else {
            return;
        };
        let asked = HoldRequest {
            holder: "rules".to_owned(),
            by: format!("rule {rule:?}"),
            counter,
            release: false,
        };
        let params = json!({"proposalId": id, "asked": asked});
        // An answer that is late holds up no later renewal.
        let within = Duration::from_millis(LEASE_HELD_MIN_MS / 2);
        match tokio::time::timeout(within, link.request(hold::HOLD, &params)).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => tracing::debug!(proposal = %id, "not kept: {error}"),
            Err(_) => tracing::debug!(proposal = %id, "no answer to a renewal yet"),
        }
        drop(one);
    });
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_node_that_was_started_again_counts_on_from_the_clock() {
        let mut before = Counter::default();
        let last = (0..10).map(|_| before.next(TimeMs(1_000))).last().unwrap();
        assert_eq!(last, 1_009, "each is larger than the one before");
        // A round takes longer than a millisecond, and so does a start.
        assert!(Counter::default().next(TimeMs(2_000)) > last);
    }

    #[test]
    fn one_renewal_of_an_action_is_on_its_way_at_a_time() {
        let (sent, id) = (Sent::default(), |id: &str| id.parse().unwrap());
        let first = sent.begin(&id("a")).unwrap();
        assert!(sent.begin(&id("a")).is_none());
        let other = sent.begin(&id("b")).unwrap();
        drop(first);
        drop(sent.begin(&id("a")).unwrap());
        drop(other);
        assert!(sent.0.lock().unwrap().is_empty());
    }
}
