//! Held actions that rules of this node asked for: each is kept for as long as its rule's condition holds, here or at its
//! executor, which judges whether this node may. A rule that runs by a schedule has no condition that lasts, and keeps
//! nothing; neither does a planner that is paused.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde_json::json;

use super::Drafts;
use crate::adapters::store::proposals::{self, ProposalRow};
use crate::adapters::store::{StoreError, facts};
use crate::domain::base::DeviceId;
use crate::domain::base::limits::{HOLD_RULES_EVERY_MS, QUERY_MAX};
use crate::domain::plan::rules::Rule;
use crate::domain::policy::{Kind, Requester};
use crate::domain::proposal::{ProposalRecord, Status};
use crate::domain::wire::handshake::Feature;
use crate::domain::world::Facts;
use crate::node::proposals::hold::{self, HoldRequest};
use crate::node::routing;

/// Renews what is to be kept until the node ends.
pub(super) async fn keep(drafts: Drafts) {
    let mut changes = drafts.proposals_head.subscribe();
    let mut tick = tokio::time::interval(Duration::from_millis(HOLD_RULES_EVERY_MS));
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut under_way = Vec::new();
    let counter = AtomicU64::new(0);
    loop {
        tokio::select! {
            biased;
            () = drafts.tasks.stop().cancelled() => return,
            changed = changes.changed() => {
                if changed.is_err() {
                    return;
                }
                match held(&drafts).await {
                    Ok(held) => under_way = held,
                    Err(error) => tracing::error!(%error, "what rules hold cannot be read"),
                }
            }
            _ = tick.tick(), if !under_way.is_empty() => {}
        }
        if drafts.planner.pause().is_some() {
            continue;
        }
        for record in wanted(&drafts, &under_way).await {
            renew(&drafts, record, &counter);
        }
    }
}

/// The held actions under way that rules of this node asked for.
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
        Ok(records.filter(ours).collect())
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

/// Says that it goes on. One that is not heard is said again in the next round. The counter grows with the clock, over
/// restarts too, and with nothing that another device says.
fn renew(drafts: &Drafts, record: &ProposalRecord, counters: &AtomicU64) {
    let now = drafts.now().0;
    let next = |last: u64| last.saturating_add(1).max(now);
    let counted = counters.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |last| {
        Some(next(last))
    });
    let counter = counted.map_or(now, next);
    let (id, rule) = (record.proposal_id.clone(), record.requested_by.name.clone());
    if record.executor == *drafts.own_id() {
        if let Err(refusal) = hold::by_rule(&drafts.executor, &id, &rule, counter) {
            tracing::debug!(proposal = %id, "not kept: {refusal}");
        }
        return;
    }
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
        if let Err(error) = link.request(hold::HOLD, &params).await {
            tracing::debug!(proposal = %id, "not kept: {error}");
        }
    });
}
