//! Interlocks while an action runs: the conditions of its rule are looked at again whenever a reading
//! comes and several times a second, and the first that does not hold ends the run. A node that cannot
//! look ends it too: what is not known to hold counts as open.

use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval, timeout_at};

use crate::adapters::store::facts;
use crate::domain::base::limits::{INTERLOCK_BLIND_MAX_MS, INTERLOCK_EVERY_MS};
use crate::domain::capability::Action;
use crate::node::context::Context;
use crate::node::policy_book::PolicyBook;

const BLIND: &str = "its readings cannot be read";

/// Watches over what acts until it is dropped; resolves with what does not hold any more. `actions` are those that act
/// at the moment: a sequence has several.
pub(super) async fn watch(
    context: &Context,
    policy: &PolicyBook,
    actions: impl Fn() -> Vec<Action>,
) -> String {
    let mut tick = interval(Duration::from_millis(INTERLOCK_EVERY_MS));
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let blind = Duration::from_millis(INTERLOCK_BLIND_MAX_MS);
    let mut seen = Instant::now();
    loop {
        tick.tick().await;
        match timeout_at(seen + blind, look(context, policy, &actions())).await {
            Ok(Some(Ok(()))) => seen = Instant::now(),
            Ok(Some(Err(what))) => return what,
            Ok(None) if seen.elapsed() < blind => {}
            Ok(None) | Err(_) => return BLIND.to_owned(),
        }
    }
}

/// Whether the interlocks of these actions hold now.
///
/// # Errors
/// What does not hold, or that nobody can look.
pub(super) async fn hold_now(
    context: &Context,
    policy: &PolicyBook,
    actions: &[Action],
) -> Result<(), String> {
    let until = Instant::now() + Duration::from_millis(INTERLOCK_BLIND_MAX_MS);
    match timeout_at(until, look(context, policy, actions)).await {
        Ok(Some(held)) => held,
        Ok(None) | Err(_) => Err(BLIND.to_owned()),
    }
}

/// Whether every interlock holds now, or which does not; `None` if the readings cannot be had.
async fn look(
    context: &Context,
    policy: &PolicyBook,
    actions: &[Action],
) -> Option<Result<(), String>> {
    let policy = policy.current();
    let rules: Option<Vec<_>> = actions.iter().map(|a| policy.rule_for(a)).collect();
    let Some(rules) = rules else {
        // The policy was changed meanwhile, and allows it no longer.
        return Some(Err("no rule of the policy covers it any more".to_owned()));
    };
    let all = rules.iter().flat_map(|rule| &rule.interlocks);
    let metrics: std::collections::BTreeSet<String> = all.map(|c| c.metric.clone()).collect();
    if metrics.is_empty() {
        return Some(Ok(()));
    }
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
    let one = |action: &Action| {
        let held = policy.interlocks_hold(action, &facts, now, context.own_id());
        held.map_err(|what| match actions.len() {
            1 => what,
            _ => format!("{what}, of {}", action.summary()),
        })
    };
    Some(actions.iter().try_for_each(one))
}
