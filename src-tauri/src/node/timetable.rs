//! The schedules of this node: which of their times have come. A time counts as asked for, on disk, before anybody is
//! asked; so it is asked for at most once, also by a node that is killed and starts again.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::json;
use tokio::time::{Interval, MissedTickBehavior};

use super::context::{Context, DURABLE};
use super::pause::PlannerState;
use crate::adapters::store::{StoreError, kv};
use crate::domain::base::TimeMs;
use crate::domain::base::limits::SLOT_LOOK_MS;
use crate::domain::plan::cron::Cron;
use crate::domain::plan::slots::Slots;

/// Where the times of rules that were asked for lie.
const OF_RULES: &str = "planner.slots";
/// Where those of standing questions lie.
const OF_QUESTIONS: &str = "planner.asked-slots";

/// A person says that the clock is right now, inside a transaction: times ahead of it have not been asked for.
///
/// # Errors
/// Whatever the store says.
pub fn clock_confirmed(conn: &rusqlite::Connection, now: TimeMs) -> Result<(), StoreError> {
    for key in [OF_RULES, OF_QUESTIONS] {
        let stored = kv::get(conn, key)?;
        let read = |bytes: Vec<u8>| serde_json::from_slice::<Slots>(&bytes).ok();
        if let Some(mut slots) = stored.and_then(read) {
            slots.forget_after(now);
            kv::put(conn, key, json!(slots).to_string().as_bytes())?;
        }
    }
    Ok(())
}

/// Schedules by their names, and which of their times were asked for.
#[derive(Debug)]
pub struct Timetable {
    key: &'static str,
    schedules: Vec<(String, Cron)>,
    asked: Slots,
    /// Whether what lies on disk could be read; where not, nothing is asked for.
    known: bool,
    tick: Interval,
}

impl Timetable {
    /// The schedules of the rules.
    pub async fn of_rules(context: &Context) -> Self {
        let rules = context.config.rules.iter();
        let schedules = rules.filter_map(|r| Some((r.name.clone(), r.schedule()?.clone())));
        Self::load(context, OF_RULES, schedules.collect()).await
    }

    /// The schedules of the standing questions.
    pub async fn of_questions(context: &Context) -> Self {
        let questions = context.config.questions.iter();
        let schedules = questions.filter_map(|q| Some((q.name.clone(), q.schedule()?.clone())));
        Self::load(context, OF_QUESTIONS, schedules.collect()).await
    }

    async fn load(context: &Context, key: &'static str, schedules: Vec<(String, Cron)>) -> Self {
        let mut tick = tokio::time::interval(Duration::from_millis(SLOT_LOOK_MS));
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut table = Self {
            key,
            schedules,
            asked: Slots::default(),
            known: false,
            tick,
        };
        table.read(context).await;
        table
    }

    async fn read(&mut self, context: &Context) {
        let key = self.key;
        if self.schedules.is_empty() {
            return;
        }
        let read = move |c: &rusqlite::Connection| kv::get(c, key);
        match context.store.read("schedules", read).await {
            Ok(stored) => {
                let read = |bytes: Vec<u8>| serde_json::from_slice(&bytes).ok();
                self.asked = stored.and_then(read).unwrap_or_default();
                self.known = true;
            }
            Err(error) => tracing::error!(%error, "which times were asked for cannot be read"),
        }
    }

    /// Returns when it is time to look; never where there are no schedules.
    pub async fn looked(&mut self) {
        if self.schedules.is_empty() {
            return std::future::pending().await;
        }
        self.tick.tick().await;
    }

    /// The times that have come and were not asked for, which from now on they are. Those that come while the planner is
    /// paused are not made up for.
    pub async fn due(
        &mut self,
        context: &Context,
        planner: &PlannerState,
    ) -> Vec<(String, TimeMs)> {
        if !self.known {
            self.read(context).await;
        }
        if !self.known {
            return Vec::new();
        }
        let (before, now) = (self.asked.clone(), context.now());
        let mut due = Vec::new();
        for (name, cron) in &self.schedules {
            let slot = self.asked.take(name, cron, now);
            due.extend(slot.map(|slot| (name.clone(), slot)));
        }
        if due.is_empty() {
            return Vec::new();
        }
        let names: BTreeSet<&str> = self.schedules.iter().map(|(n, _)| n.as_str()).collect();
        self.asked.keep(&names);
        let (key, bytes) = (self.key, json!(self.asked).to_string().into_bytes());
        let write = move |c: &rusqlite::Connection| kv::put(c, key, &bytes);
        if let Err(error) = context.store.write(DURABLE, "schedules", write).await {
            tracing::error!(%error, "that a time is asked for cannot be stored, so it is not");
            self.asked = before;
            return Vec::new();
        }
        // Also those of a pause are on disk: a node that starts anew in their minute has not forgotten them.
        match planner.pause() {
            Some(_) => Vec::new(),
            None => due,
        }
    }
}
