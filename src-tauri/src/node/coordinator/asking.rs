//! Agents that joined, as a gateway: looked at, and asked. A message goes to the next agent only where it was certainly not taken.

use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use serde_json::json;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::{ANY, Coordinator, Saved, Status};
use crate::adapters::gateway::joined::{self, Health};
use crate::adapters::gateway::{Ask, AskError, Gateway, Seen};
use crate::domain::base::TimeMs;
use crate::domain::base::limits::{JOINED_LOOK_MS, JOINED_RUNS_MAX, MESSAGES_AT_ONCE};

/// How often in a row an agent may not answer well before it counts as offline.
const MISSED_MAX: u32 = 3;

/// A moment as RFC 3339 has it.
pub fn moment(at: TimeMs) -> String {
    let at = OffsetDateTime::from_unix_timestamp_nanos(i128::from(at.0) * 1_000_000).ok();
    at.and_then(|at| at.format(&Rfc3339).ok())
        .unwrap_or_else(|| "1970-01-01T00:00:00Z".to_owned())
}

/// Counts a message out again, also where nobody waits for it any more.
struct UnderWay<'a>(&'a Coordinator, String);

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        if let Some(entry) = self.0.lock().get_mut(&self.1) {
            entry.under_way = entry.under_way.saturating_sub(1);
        }
    }
}

impl Coordinator {
    /// Looks whether every agent is there.
    async fn look(&self) {
        let all: Vec<Saved> = self.lock().values().map(|e| e.saved.clone()).collect();
        let private = self.0.private;
        let mut looks: FuturesUnordered<_> = all
            .into_iter()
            .map(|saved| async move {
                let health = joined::probe(&saved.endpoint, private).await;
                (saved, health)
            })
            .collect();
        while let Some((saved, health)) = looks.next().await {
            self.found(&saved, health);
            self.tells();
        }
    }

    fn found(&self, saved: &Saved, health: Health) {
        let mut all = self.lock();
        let entry = all.get_mut(&saved.id);
        // It may have joined anew meanwhile.
        let Some(entry) = entry.filter(|e| e.saved.registration == saved.registration) else {
            return;
        };
        match health {
            Health::Well => (entry.there, entry.missed) = (true, 0),
            Health::Refused => entry.there = false,
            Health::Unwell => {
                entry.missed = entry.missed.saturating_add(1);
                entry.there = entry.there && entry.missed < MISSED_MAX;
            }
        }
    }

    /// Whom to ask, in this order.
    fn order(&self, agent: &str) -> Vec<Saved> {
        let now = self.now();
        let all = self.lock();
        let mut fits: Vec<_> = all
            .values()
            .filter(|e| e.status(now) != Status::Offline)
            .filter(|e| agent == ANY || e.agent() == agent)
            .collect();
        if !fits.is_empty() {
            // Those that are equally busy take turns.
            let turn = self.0.turn.fetch_add(1, Ordering::Relaxed) % fits.len();
            fits.rotate_left(turn);
            fits.sort_by_key(|e| (e.status == Status::Busy, e.under_way));
        }
        fits.into_iter().map(|e| e.saved.clone()).collect()
    }

    async fn ask_one(&self, saved: &Saved, ask: &Ask) -> Result<String, AskError> {
        let token = self.token(saved);
        let token = token.ok_or_else(|| AskError::NotSent("the coordinator starts".to_owned()))?;
        let body = json!({
            "id": ask.key, "content": ask.text, "source": ask.session, "target_node": saved.id,
            "created_at": moment(self.0.context.now()),
        });
        if let Some(entry) = self.lock().get_mut(&saved.id) {
            if entry.under_way >= JOINED_RUNS_MAX {
                let why = format!("{JOINED_RUNS_MAX} messages are under way there");
                return Err(AskError::Refused(why));
            }
            entry.under_way += 1;
        }
        let _counted = UnderWay(self, saved.id.clone());
        {
            let mut had = self.0.had.lock().unwrap_or_else(PoisonError::into_inner);
            if had.len() >= 2 * MESSAGES_AT_ONCE {
                had.pop_front();
            }
            had.push_back((ask.key.clone(), saved.id.clone()));
        }
        let limit = Duration::from_millis(ask.timeout_ms);
        let at = (saved.endpoint.as_str(), self.0.private);
        joined::deliver(at, &token, body.to_string().into_bytes(), limit).await
    }

    async fn ask_each(&self, ask: Ask) -> Result<String, AskError> {
        let mut why = "no online nodes available".to_owned();
        for saved in self.order(&ask.agent) {
            match self.ask_one(&saved, &ask).await {
                Err(AskError::NotSent(not)) => {
                    self.found(&saved, Health::Refused);
                    self.tells();
                    why = format!("{}: {not}", saved.name);
                }
                Err(AskError::Refused(not)) => why = format!("{}: {not}", saved.name),
                Err(AskError::Unknown(not)) => {
                    return Err(AskError::Unknown(format!("{}: {not}", saved.name)));
                }
                Err(AskError::Failed(not)) => {
                    return Err(AskError::Failed(format!("{}: {not}", saved.name)));
                }
                Ok(answer) => return Ok(answer),
            }
        }
        Err(AskError::NotSent(why))
    }
}

impl Gateway for Coordinator {
    fn seen(&self) -> watch::Receiver<Seen> {
        self.0.seen.subscribe()
    }

    fn run(&self, stop: CancellationToken) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            let mut tick = tokio::time::interval(Duration::from_millis(JOINED_LOOK_MS));
            tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            loop {
                tokio::select! {
                    biased;
                    () = stop.cancelled() => return,
                    _ = tick.tick() => {}
                }
                tokio::select! {
                    biased;
                    () = stop.cancelled() => return,
                    () = self.look() => self.tells(),
                }
            }
        })
    }

    fn ask(
        &self,
        ask: Ask,
        _pieces: mpsc::Sender<String>,
    ) -> BoxFuture<'_, Result<String, AskError>> {
        Box::pin(self.ask_each(ask))
    }
}
