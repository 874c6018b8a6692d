//! The event log: numbered, stored, and streamed to whoever listens.

use serde_json::Value;
use tokio::sync::broadcast;

use super::shared::Shared;
use crate::adapters::store::{Class, events};

/// How many events a slow listener may lag behind before it must read the store instead.
const STREAM_LAG_MAX: usize = 256;

/// The sending end of the event stream.
#[derive(Debug)]
pub struct EventLog {
    live: broadcast::Sender<u64>,
}

impl Default for EventLog {
    fn default() -> Self {
        Self {
            live: broadcast::channel(STREAM_LAG_MAX).0,
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

    /// The numbers of new events as they come; the events themselves are read from the store.
    pub fn listen(&self) -> broadcast::Receiver<u64> {
        self.live.subscribe()
    }
}
