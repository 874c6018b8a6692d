//! Whether something on this desktop shows tray icons: asked on the session bus off the async threads
//! and off the main one, with a limit, and remembered in between. A bus that hangs counts as no host.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::Mutex;

use super::system;

/// The query; may block.
type Look = Arc<dyn Fn() -> bool + Send + Sync>;

/// The state of the tray's host.
#[derive(Clone)]
pub(super) struct Watcher {
    look: Look,
    limit: Duration,
    there: Arc<AtomicBool>,
    hangs: Arc<AtomicBool>,
    turn: Arc<Mutex<()>>,
}

/// Says that a question is over, by its answer or a panic.
struct Asked(Arc<AtomicBool>);

impl Drop for Asked {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

impl Watcher {
    /// One that asks the session bus and waits so long for an answer.
    pub(super) fn new(limit: Duration) -> Self {
        Self::by(Arc::new(system::has_host), limit)
    }

    fn by(look: Look, limit: Duration) -> Self {
        Self {
            look,
            limit,
            there: Arc::default(),
            hangs: Arc::default(),
            turn: Arc::default(),
        }
    }

    /// The last answer; does not ask again.
    pub(super) fn there(&self) -> bool {
        self.there.load(Ordering::Acquire)
    }

    /// Asks now.
    pub(super) async fn ask(&self) -> bool {
        let _turn = self.turn.lock().await;
        // One question at a time, so that a bus that never answers costs one thread and no more.
        if self.hangs.swap(true, Ordering::AcqRel) {
            return self.there();
        }
        let (look, asked) = (self.look.clone(), Asked(self.hangs.clone()));
        let asking = tokio::task::spawn_blocking(move || {
            let there = look();
            drop(asked);
            there
        });
        let answer = tokio::time::timeout(self.limit, asking).await;
        let there = matches!(answer, Ok(Ok(true)));
        self.there.store(there, Ordering::Release);
        there
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use std::sync::atomic::AtomicUsize;
    use std::sync::mpsc;

    use super::*;

    #[tokio::test]
    async fn a_bus_that_hangs_costs_a_moment_and_one_thread() {
        let (answer, answers) = mpsc::sync_channel::<bool>(4);
        let (answers, asked) = (
            std::sync::Mutex::new(answers),
            Arc::new(AtomicUsize::new(0)),
        );
        let count = asked.clone();
        let look = move || {
            count.fetch_add(1, Ordering::AcqRel);
            answers.lock().unwrap().recv().unwrap_or(false)
        };
        let watcher = Watcher::by(Arc::new(look), Duration::from_millis(50));
        assert!(!watcher.there());
        assert!(!watcher.ask().await, "no answer in time is no host");
        assert!(!watcher.ask().await);
        assert_eq!(asked.load(Ordering::Acquire), 1, "the first still waits");
        answer.send(true).unwrap();
        while watcher.hangs.load(Ordering::Acquire) {
            tokio::task::yield_now().await;
        }
        answer.send(true).unwrap();
        let patient = Watcher {
            limit: Duration::from_secs(60),
            ..watcher
        };
        assert!(patient.ask().await && patient.there());
        answer.send(false).unwrap();
        assert!(!patient.ask().await && !patient.there());
    }
}
