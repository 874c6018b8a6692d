//! Tasks: the only place that spawns. Every task has a name, a stop token and a tracked end.
//!
//! A task that the node cannot do without ends the node when it ends early: a process that starts
//! again into its safe state is better than one that half works.

use std::future::Future;
use std::sync::{Arc, Condvar, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;
use tracing::Instrument as _;

use crate::domain::base::limits::SHUTDOWN_DEADLINE_MS;

/// The node's tasks and the token that ends them.
#[derive(Debug, Clone, Default)]
pub struct Tasks {
    tracker: TaskTracker,
    stop: CancellationToken,
    restart: Arc<OnceLock<String>>,
    killed: CancellationToken,
    ended: CancellationToken,
}

/// How a task ended that may be dismissed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Left {
    /// Of itself, or with the node.
    Ended,
    /// It was dismissed, and the node goes on without it.
    Dismissed,
}

/// Threads for blocking work that a runtime of [`Tasks::on_thread`] has from its start: one that
/// hangs leaves others.
const BLOCKING_THREADS: usize = 3;
/// How long the start of such a thread waits for them.
const WARM_UP: Duration = Duration::from_millis(200);

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
        let (stop, killed) = (self.stop.clone(), self.killed.clone());
        let task = task.instrument(tracing::info_span!("task", name));
        self.tracker.spawn(async move {
            let guard = stop.clone().drop_guard();
            tokio::select! {
                biased;
                () = killed.cancelled() => return,
                () = task => {}
            }
            if !stop.is_cancelled() {
                tracing::error!(task = name, "an essential task ended; the node stops");
            }
            drop(guard);
        });
    }

    /// As [`Tasks::essential`], for a task that may also be dismissed: then the node goes on.
    pub fn dismissible(
        &self,
        name: &'static str,
        task: impl Future<Output = Left> + Send + 'static,
    ) {
        let (stop, killed) = (self.stop.clone(), self.killed.clone());
        let task = task.instrument(tracing::info_span!("task", name));
        self.tracker.spawn(async move {
            let guard = stop.clone().drop_guard();
            let left = tokio::select! {
                biased;
                () = killed.cancelled() => return,
                left = task => left,
            };
            if left == Left::Dismissed {
                guard.disarm();
                return;
            }
            if !stop.is_cancelled() {
                tracing::error!(task = name, "an essential task ended; the node stops");
            }
        });
    }

    /// Starts a task that may end by itself, such as a link. What it logs stands in a span of its name, within
    /// the span in which it was started.
    pub fn passing(&self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        let killed = self.killed.clone();
        let task = task.instrument(tracing::info_span!("task", name));
        self.tracker.spawn(async move {
            tokio::select! {
                biased;
                () = killed.cancelled() => return,
                () = task => {}
            }
            tracing::trace!(task = name, "ended");
        });
    }

    /// An empty set of tasks of this name, each of which may end by itself.
    pub fn set(&self, name: &'static str) -> TaskSet {
        TaskSet {
            name,
            tasks: self.clone(),
            set: JoinSet::new(),
        }
    }

    /// As [`Tasks::dismissible`], on an OS thread with a runtime of its own: a timer and a queue that
    /// no other task can hold up. Its threads and descriptors are taken now, so that it needs none
    /// later.
    ///
    /// # Errors
    /// If the system gives no thread or no descriptors.
    pub fn on_thread<T: Future<Output = Left>>(
        &self,
        name: &'static str,
        task: impl FnOnce() -> T + Send + 'static,
    ) -> std::io::Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .max_blocking_threads(BLOCKING_THREADS)
            .thread_keep_alive(Duration::from_secs(u64::from(u32::MAX)))
            .thread_name(name)
            .build()?;
        let (killed, ended) = (self.killed.clone(), self.ended.clone());
        let (stop, token) = (self.stop.clone(), self.tracker.token());
        let body = move || {
            let guard = stop.clone().drop_guard();
            let left = runtime.block_on(async {
                warm_up();
                tokio::select! {
                    biased;
                    () = killed.cancelled() => Left::Ended,
                    () = ended.cancelled() => Left::Ended,
                    left = task() => left,
                }
            });
            // Work that hangs is left behind; waiting for it would hang the end of the node.
            runtime.shutdown_background();
            match left {
                Left::Dismissed => drop(guard.disarm()),
                Left::Ended => drop(guard),
            }
            drop(token);
        };
        let started = std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(body);
        started.map(drop)
    }

    /// Ends every task where it stands when the guard is dropped; for a start that fails.
    pub fn kill_on_drop(&self) -> DropGuard {
        self.killed.clone().drop_guard()
    }

    /// Drops every task where it stands, as the loss of power does; nothing is told or tidied up.
    /// Returns when none is left.
    pub async fn kill(&self) {
        self.killed.cancel();
        self.tracker.close();
        self.tracker.wait().await;
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
        self.ended.cancel();
        if !all {
            tracing::warn!(
                left = self.tracker.len(),
                "tasks did not end within the shutdown deadline"
            );
        }
        all
    }
}

/// Tasks that end where they stand when the set is dropped, and with the node as all others do.
#[derive(Debug)]
pub struct TaskSet {
    name: &'static str,
    tasks: Tasks,
    set: JoinSet<()>,
}

impl TaskSet {
    /// How many there are whose end was not yet taken note of.
    pub fn count(&self) -> usize {
        self.set.len()
    }

    /// Starts one.
    #[expect(clippy::disallowed_methods, reason = "it is tracked and has a name")]
    pub fn spawn(&mut self, task: impl Future<Output = ()> + Send + 'static) {
        let killed = self.tasks.killed.clone();
        let task = task.instrument(tracing::info_span!("task", name = self.name));
        self.set.spawn(self.tasks.tracker.track_future(async move {
            tokio::select! {
                biased;
                () = killed.cancelled() => {}
                () = task => {}
            }
        }));
    }

    /// Resolves when one has ended, which is logged if it panicked; never while there is none.
    pub async fn ended(&mut self) {
        match self.set.join_next().await {
            Some(Ok(())) => {}
            Some(Err(error)) => tracing::error!(task = self.name, "a task broke off: {error}"),
            None => std::future::pending().await,
        }
    }
}

/// Starts the blocking threads of the runtime that this is called in, by giving each work that
/// waits for the others.
fn warm_up() {
    let up = Arc::new((Mutex::new(0_usize), Condvar::new()));
    for _ in 0..BLOCKING_THREADS {
        let up = up.clone();
        drop(tokio::task::spawn_blocking(move || {
            let mut count = up.0.lock().unwrap_or_else(PoisonError::into_inner);
            *count += 1;
            up.1.notify_all();
            // Where the system gives fewer threads, those that are there wait no longer than this.
            let all = |count: &mut usize| *count < BLOCKING_THREADS;
            drop(up.1.wait_timeout_while(count, WARM_UP, all));
        }));
    }
}
