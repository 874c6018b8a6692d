//! Tasks: the only place that spawns. Every task has a name, a stop token and a tracked end.
//!
//! A task that the node cannot do without ends the node when it ends early: a process that starts
//! again into its safe state is better than one that half works.

use std::future::Future;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::domain::base::limits::SHUTDOWN_DEADLINE_MS;

/// The node's tasks and the token that ends them.
#[derive(Debug, Clone, Default)]
pub struct Tasks {
    tracker: TaskTracker,
    stop: CancellationToken,
    restart: Arc<OnceLock<String>>,
}

impl Tasks {
    /// No tasks yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Cancelled when the node is to end.
    pub fn stop(&self) -> &CancellationToken {
        &self.stop
    }

    /// Ends the node so that it is started again; the first reason counts.
    pub fn restart(&self, why: String) {
        let _ = self.restart.set(why);
        self.stop.cancel();
    }

    /// Why the node is to be started again, if it is.
    pub fn restart_reason(&self) -> Option<String> {
        self.restart.get().cloned()
    }

    /// The tracker, for adapters that serve connections.
    pub fn tracker(&self) -> &TaskTracker {
        &self.tracker
    }

    /// Starts a task whose early end, by return or panic, ends the node.
    pub fn essential(&self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        let stop = self.stop.clone();
        self.tracker.spawn(async move {
            let guard = stop.clone().drop_guard();
            task.await;
            if !stop.is_cancelled() {
                tracing::error!(task = name, "an essential task ended; the node stops");
            }
            drop(guard);
        });
    }

    /// Starts a task that may end by itself, such as a link.
    pub fn passing(&self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        self.tracker.spawn(async move {
            task.await;
            tracing::trace!(task = name, "ended");
        });
    }

    /// Tells every task to end and waits for them, no longer than the shutdown deadline.
    /// Returns whether all ended in time.
    pub async fn shut_down(&self) -> bool {
        self.stop.cancel();
        self.tracker.close();
        let all = tokio::time::timeout(
            Duration::from_millis(SHUTDOWN_DEADLINE_MS),
            self.tracker.wait(),
        )
        .await
        .is_ok();
        if !all {
            tracing::warn!(
                left = self.tracker.len(),
                "tasks did not end within the shutdown deadline"
            );
        }
        all
    }
}
