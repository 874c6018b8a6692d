//! Interlocks while an action runs: the conditions of its rule are looked at again whenever a reading
//! comes and several times a second, and the first that does not hold ends the run. A node that cannot
//! look ends it too: what is not known to hold counts as open.

use std::convert::Infallible;
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval, timeout_at};

use crate::adapters::store::facts;
use crate::domain::base::limits::{INTERLOCK_BLIND_MAX_MS, INTERLOCK_EVERY_MS};
use crate::domain::capability::Action;
use crate::node::context::Context;
use crate::node::guards::{Cut, Guards};
use crate::node::policy_book::PolicyBook;

/// Watches over a run until it is dropped; orders the actuator to its safe state when an interlock opens.
pub(super) async fn watch(
    context: &Context,
    (guards, policy): (&Guards, &PolicyBook),
    action: &Action,
) -> Infallible {
    let mut tick = interval(Duration::from_millis(INTERLOCK_EVERY_MS));
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let blind = Duration::from_millis(INTERLOCK_BLIND_MAX_MS);
    let mut seen = Instant::now();
    loop {
        tick.tick().await;
        let what = match timeout_at(seen + blind, look(context, policy, action)).await {
            Ok(Some(Ok(()))) => {
                seen = Instant::now();
                continue;
            }
            Ok(Some(Err(what))) => what,
            Ok(None) if seen.elapsed() < blind => continue,
            Ok(None) | Err(_) => "its readings cannot be read".to_owned(),
        };
        guards.secure(&action.target, Cut::Interlock { what });
        // Ordered once: the guard pursues it, and whoever waits for the run drops this.
        return std::future::pending().await;
    }
}

/// Whether every interlock holds now, or which does not; `None` if the readings cannot be had.
async fn look(
    context: &Context,
    policy: &PolicyBook,
    action: &Action,
) -> Option<Result<(), String>> {
    let policy = policy.current();
    let Some(rule) = policy.rule_for(action) else {
        // The policy was changed meanwhile, and allows it no longer.
        return Some(Err("no rule of the policy covers it any more".to_owned()));
    };
    if rule.interlocks.is_empty() {
        return Some(Ok(()));
    }
    let metrics = rule.interlocks.iter().map(|c| c.metric.clone()).collect();
    let now = context.now();
    let at = context.clone();
    let read = context
        .store
        .read("interlocks", move |c| {
            // Asked here: what had gathered is committed, or lost, before this read.
            facts::numeric_of(c, &metrics, at.moment_at(now))
        })
        .await;
    let facts = read.ok()?;
    Some(policy.interlocks_hold(action, &facts, now, context.own_id()))
}
