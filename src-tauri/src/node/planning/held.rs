//! Wishes of rules that another planner watches over as well, and goes before this one: it asks. Where it has gone, or
//! asked for nothing in time, this node looks whether there is a reason still, and asks. What another device says holds a
//! wish back for a while, and is seen while it does; it never ends one.

use std::collections::VecDeque;

use super::{Drafts, ask, draft, place_of};
use crate::adapters::store::facts;
use crate::adapters::store::proposals::{self, ProposalRow};
use crate::domain::base::limits::{
    HELD_TOLD_MS, QUERY_DEFAULT, SLOT_AGE_MAX_MS, STAND_BY_MS, STAND_BY_WISHES_MAX,
};
use crate::domain::base::{DeviceId, TimeMs};
use crate::domain::plan::lease::Leader;
use crate::domain::plan::rules::{Because, Fired, Memory, Rule, step};
use crate::domain::policy::{Level, Requester};
use crate::domain::proposal::{ProposalRecord, Status};
use crate::node::context::Context;
use crate::node::context::alarms::AlarmKind;
use crate::node::health::told;
use crate::node::leading::{self, StandsBy};
use crate::node::{cites, routing};

/// A wish that is held back.
#[derive(Debug)]
struct Wish {
    fired: Fired,
    /// Since when, for people.
    since: TimeMs,
    /// Since when, by the clock that never steps.
    held_at: u64,
    /// When it was last looked at, by that clock.
    looked: u64,
    /// For how long the planner that leads could have asked: a pause does not count.
    waited: u64,
    /// Who led last.
    leader: Option<DeviceId>,
}

/// The wishes that are held back, oldest first.
#[derive(Debug, Default)]
pub(super) struct Held(VecDeque<Wish>);

impl Held {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether a wish is another planner's to ask for, or this node has not listened long enough to know.
    pub(super) fn holds_back(drafts: &Drafts, fired: &Fired) -> bool {
        leading::settles(drafts) || leader_for(drafts, fired).is_some()
    }

    /// Keeps a wish in mind, once however often its rule fires meanwhile; the oldest gives way.
    pub(super) fn hold(&mut self, drafts: &Drafts, fired: Fired) {
        if let Some(same) = self.0.iter_mut().find(|w| is_same(&w.fired, &fired)) {
            same.fired = fired;
            return;
        }
        if self.0.len() >= STAND_BY_WISHES_MAX {
            self.0.pop_front();
        }
        let now = drafts.clock.steady_ms();
        self.0.push_back(Wish {
            leader: leader_for(drafts, &fired).map(|l| l.device),
            fired,
            since: drafts.now(),
            held_at: now,
            looked: now,
            waited: 0,
        });
    }

    /// Asks for the wishes that no leader asked for, and shows those that still wait.
    pub(super) async fn look_again(&mut self, drafts: &Drafts) {
        let now = drafts.clock.steady_ms();
        let mut stands_by = None::<StandsBy>;
        for mut wish in std::mem::take(&mut self.0) {
            let passed = now.saturating_sub(std::mem::replace(&mut wish.looked, now));
            let leader = leader_for(drafts, &wish.fired);
            let waits = match &leader {
                // The pause is meant for the task, not for the machine.
                Some(leader) if leader.lease.paused => true,
                Some(_) => {
                    wish.waited = wish.waited.saturating_add(passed);
                    wish.waited < STAND_BY_MS
                }
                None => leading::settles(drafts),
            };
            wish.leader = leader.as_ref().map(|l| l.device.clone()).or(wish.leader);
            if !waits {
                // A wish from before this node's own pause is dropped at its end.
                if drafts.planner.pause().is_none() {
                    settle(drafts, wish).await;
                }
                continue;
            }
            if let (Some(leader), None) = (leader, &stands_by) {
                stands_by = Some(StandsBy {
                    rule: wish.fired.rule.clone(),
                    leader: leader.device,
                    paused: leader.lease.paused,
                    since: wish.since,
                    held_ms: now.saturating_sub(wish.held_at),
                });
            }
            self.0.push_back(wish);
        }
        show(drafts, stands_by);
    }
}

/// Whether two wishes are one for the same actuator of the same place: a wish goes to the executor that its evidence comes
/// from where none is named.
fn is_same(one: &Fired, other: &Fired) -> bool {
    let source = |fired: &Fired| match &fired.because {
        Because::Reading { origin, .. } if fired.executor.is_none() => Some(origin.clone()),
        _ => None,
    };
    one.rule == other.rule
        && one.executor == other.executor
        && source(one) == source(other)
        && one.action.intent_key() == other.action.intent_key()
}

fn rule_of<'a>(context: &'a Context, fired: &Fired) -> Option<&'a Rule> {
    context.config.rules.iter().find(|r| r.name == fired.rule)
}

fn leader_for(drafts: &Drafts, fired: &Fired) -> Option<Leader> {
    leading::instead(drafts, rule_of(drafts, fired)?)
}

/// Tells people what is held back and by whom; an alarm where it lasts.
fn show(drafts: &Drafts, stands_by: Option<StandsBy>) {
    let words = stands_by
        .as_ref()
        .filter(|s| s.held_ms >= HELD_TOLD_MS)
        .map(|s| s.in_words(drafts));
    told(
        drafts,
        AlarmKind::PlannerHeld,
        words.as_deref(),
        "if that is wrong, resume the planner there, take its grant `plan` away (`clawmesh-node trust revoke`), or set `stand_by = false` here",
    );
    drafts.leading.stands_by(stands_by);
}

/// Asks for what was held back, if there is a reason still and the planner that led has not asked for it.
async fn settle(drafts: &Drafts, wish: Wish) {
    if asked_by_leader(drafts, &wish).await {
        tracing::debug!(
            rule = wish.fired.rule,
            "the planner that leads has asked for this"
        );
        return;
    }
    match again(drafts, wish.fired).await {
        Some(fired) => ask(drafts, fired).await,
        None => tracing::debug!("what was held back has no reason any more"),
    }
}

/// The same wish by what is known now; none where its reason has gone.
async fn again(drafts: &Drafts, fired: Fired) -> Option<Fired> {
    let rule = rule_of(drafts, &fired)?;
    if let Because::Slot(slot) = fired.because {
        return (drafts.now() < slot.plus(SLOT_AGE_MAX_MS)).then_some(fired);
    }
    let (at, metrics) = (drafts.moment(), [rule.watch()?.metric.clone()].into());
    let read = move |c: &rusqlite::Connection| facts::numeric_of(c, &metrics, at);
    let facts = match drafts.store.read_gathered("facts", read).await {
        Ok(facts) => facts,
        Err(error) => {
            tracing::error!(%error, "the planner cannot read the world");
            return Some(fired);
        }
    };
    let offers = routing::offers(drafts);
    let acts = |device: &DeviceId, target: &crate::domain::capability::Capability| {
        routing::offered(&offers, device, target)
    };
    let rules = std::slice::from_ref(rule);
    let now = step(rules, &facts, &acts, &mut Memory::default(), drafts.now());
    now.into_iter().find(|f| is_same(f, &fired))
}

/// Whether the planner that led has had the executor of this wish mint the same: it is open there, or was lately. Nobody
/// else's proposal counts, nor one of another executor, nor one that waits for a person or that none allowed: this
/// node's own wish may need none there, and the executor knows equal wishes.
async fn asked_by_leader(drafts: &Drafts, wish: &Wish) -> bool {
    let Some(leader) = wish.leader.clone() else {
        return false;
    };
    let Some(executor) = executor_of(drafts, &wish.fired).await else {
        return false;
    };
    let since = TimeMs(wish.since.0.saturating_sub(STAND_BY_MS));
    let (target, wanted) = (
        wish.fired.action.target.clone(),
        wish.fired.action.intent_key(),
    );
    let read = move |c: &rusqlite::Connection| {
        let rows = proposals::like(c, target.as_str(), since, QUERY_DEFAULT)?;
        let record = |row: &ProposalRow| {
            let record = serde_json::from_str::<ProposalRecord>(&row.record).ok()?;
            Some((record, row.status))
        };
        Ok(rows.iter().filter_map(record).any(|(record, status)| {
            let by = &record.requested_by;
            let acts = matches!(
                status,
                Status::Approved | Status::Executing | Status::Completed
            );
            let decided = acts || record.level == Level::L1;
            by.kind == Requester::Rules
                && by.device_id == leader
                && record.executor == executor
                && record.action().intent_key() == wanted
                && decided
        }))
    };
    let asked = drafts.store.read("equal wishes", read).await;
    asked.unwrap_or_else(|error| {
        tracing::error!(%error, "whether another planner has asked already cannot be read");
        false
    })
}

/// The executor that a wish would go to.
async fn executor_of(drafts: &Drafts, fired: &Fired) -> Option<DeviceId> {
    let place = place_of(fired);
    let draft = draft(drafts, fired.clone()).ok()?;
    let draft = cites::named(drafts, draft).await.ok()?;
    routing::executor_of(drafts, &draft, &place).await.ok()
}
