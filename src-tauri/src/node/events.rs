//! The event log: numbered, stored, and streamed to whoever listens.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use serde_json::Value;
use tokio::sync::broadcast;

use super::shared::Shared;
use crate::adapters::store::{Class, events};
use crate::domain::base::TimeMs;

/// How many events a slow listener may lag behind before it must read the store instead.
const STREAM_LAG_MAX: usize = 256;

/// Refusals of one subject that become events, each second; the rest is counted only.
const REFUSALS_PER_SUBJECT: u32 = 50;
/// Refusals in all that become events, each second.
const REFUSALS_IN_ALL: u32 = 200;

/// The sending end of the event stream.
#[derive(Debug)]
pub struct EventLog {
    live: broadcast::Sender<u64>,
    refusals: Mutex<Refusals>,
}

/// How many refusals this second has seen, by subject. Strangers choose their own names, so the list
/// is no longer than what is let through in all.
#[derive(Debug, Default)]
struct Refusals {
    second: u64,
    all: u32,
    by_subject: BTreeMap<String, u32>,
}

impl Refusals {
    fn let_through(&mut self, subject: &str, second: u64) -> bool {
        if self.second != second {
            *self = Refusals {
                second,
                ..Refusals::default()
            };
        }
        if self.all >= REFUSALS_IN_ALL {
            return false;
        }
        let count = self.by_subject.entry(subject.to_owned()).or_default();
        if *count >= REFUSALS_PER_SUBJECT {
            return false;
        }
        *count += 1;
        self.all += 1;
        true
    }
}

impl Default for EventLog {
    fn default() -> Self {
        Self {
            live: broadcast::channel(STREAM_LAG_MAX).0,
            refusals: Mutex::default(),
        }
    }
}

impl EventLog {
    /// Stores an event and tells the listeners its number. An event that cannot be stored is logged:
    /// it must not stop what it reports.
    pub async fn record(
        &self,
        shared: &Shared,
        kind: &'static str,
        severity: &'static str,
        message: &str,
        data: Value,
    ) {
        let now = shared.now();
        let text = message.to_owned();
        let stored = shared
            .store
            .write(Class::Relaxed, "event", move |c| {
                events::append(c, now, kind, severity, &text, &data)
            })
            .await;
        match stored {
            Ok(seq) => {
                // Nobody listening is fine.
                let _ = self.live.send(seq);
            }
            Err(error) => tracing::warn!(kind, %error, "event not stored: {message}"),
        }
    }

    /// Whether another refusal of `subject` may become an event now: a peer that is refused ten
    /// thousand times a second must not push everything else out of the log.
    pub fn admits_refusal(&self, subject: &str, now: TimeMs) -> bool {
        let mut refusals = self.refusals.lock().unwrap_or_else(PoisonError::into_inner);
        refusals.let_through(subject, now.0 / 1_000)
    }

    /// The numbers of new events as they come; the events themselves are read from the store.
    pub fn listen(&self) -> broadcast::Receiver<u64> {
        self.live.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_refusals_leaves_room_for_others() {
        let log = EventLog::default();
        let admitted = |subject: &str, n: usize, ms: u64| {
            (0..n)
                .filter(|_| log.admits_refusal(subject, TimeMs(ms)))
                .count()
        };
        assert_eq!(admitted("loud", 10_000, 1_000), 50);
        assert_eq!(admitted("quiet", 3, 1_500), 3);
        let strangers = (0..1_000)
            .filter(|n| log.admits_refusal(&n.to_string(), TimeMs(1_900)))
            .count();
        assert_eq!(strangers, 147, "200 in all");
        assert_eq!(
            admitted("loud", 1, 2_000),
            1,
            "the next second is a new one"
        );
    }
}
