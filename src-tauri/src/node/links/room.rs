//! Room for what a link has still to send: bounded in bytes, so that a peer that does not read costs
//! little, and measured, so that it shows.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::credit::cost_kib;
use crate::domain::base::limits::LINK_QUEUED_MAX_KIB;

/// The room of one link.
#[derive(Debug)]
pub struct Room {
    free: Arc<Semaphore>,
    taken: Arc<AtomicUsize>,
}

/// A message on its way to the writer, with the room it takes until it is written.
#[derive(Debug)]
pub struct Outgoing {
    text: Option<String>,
    _room: Option<OwnedSemaphorePermit>,
    _counted: Counted,
}

#[derive(Debug)]
struct Counted {
    taken: Arc<AtomicUsize>,
    bytes: usize,
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.taken.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

impl Outgoing {
    /// The message, or `None` for a WebSocket ping; its room is free from here on.
    pub fn into_text(self) -> Option<String> {
        self.text
    }
}

impl Default for Room {
    fn default() -> Self {
        Self {
            free: Arc::new(Semaphore::new(LINK_QUEUED_MAX_KIB)),
            taken: Arc::default(),
        }
    }
}

impl Room {
    /// Bytes that wait to be written.
    pub fn taken(&self) -> usize {
        self.taken.load(Ordering::Relaxed)
    }

    fn with(&self, text: String, room: Option<OwnedSemaphorePermit>) -> Outgoing {
        let bytes = text.len();
        self.taken.fetch_add(bytes, Ordering::Relaxed);
        let taken = self.taken.clone();
        Outgoing {
            text: Some(text),
            _room: room,
            _counted: Counted { taken, bytes },
        }
    }

    /// A WebSocket ping; it takes no room.
    pub(super) fn ping(&self) -> Outgoing {
        let taken = self.taken.clone();
        Outgoing {
            text: None,
            _room: None,
            _counted: Counted { taken, bytes: 0 },
        }
    }

    /// A place for a message at once, if there is one.
    pub(super) fn at_once(&self, text: String) -> Option<Outgoing> {
        let room = self
            .free
            .clone()
            .try_acquire_many_owned(cost_kib(text.len()));
        Some(self.with(text, Some(room.ok()?)))
    }

    /// A place for a message, as soon as there is one.
    pub(super) async fn soon(&self, text: String) -> Outgoing {
        let room = self.free.clone().acquire_many_owned(cost_kib(text.len()));
        // It is never closed; without a permit the message would go all the same.
        let room = room.await.ok();
        self.with(text, room)
    }

    /// A message whose number and size are bounded elsewhere: it is only counted.
    pub(super) fn counted(&self, text: String) -> Outgoing {
        self.with(text, None)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[tokio::test]
    async fn what_waits_is_bounded_and_written_room_is_free_again() {
        let room = Room::default();
        let mut waiting = Vec::new();
        while let Some(message) = room.at_once("x".repeat(1_000_000)) {
            waiting.push(message);
        }
        let most = LINK_QUEUED_MAX_KIB * 1_024;
        assert!(room.taken() <= most && room.taken() > most - 2_000_000);
        let full = room.taken();
        let frames = room.counted("f".repeat(10));
        assert_eq!(room.taken(), full + 10);
        assert_eq!(frames.into_text().unwrap().len(), 10);
        let mut soon = std::pin::pin!(room.soon("y".repeat(1_000_000)));
        assert!(futures_util::poll!(&mut soon).is_pending());
        waiting.pop();
        assert!(futures_util::poll!(&mut soon).is_ready());
        drop(waiting);
        assert_eq!(room.taken(), 0);
    }
}
