//! An emergency stop that did not reach every executor: those that did not answer are asked again, and those that come are
//! asked, for as long as the stop that was meant holds here, and no longer than [`ESTOP_ASKED_AGAIN_MS`]. What is left to ask is on
//! disk, so that it goes on after a restart.

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::future::join_all;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout};

use super::Door;
use super::estop::{EstopExecutor, EstopReport, StopKnown};
use crate::adapters::store::{StoreError, kv};
use crate::domain::base::limits::{
    ESTOP_ASKED_AGAIN_EVERY_MS, ESTOP_ASKED_AGAIN_MS, ESTOP_WAIT_MAX_MS,
};
use crate::domain::base::{DeviceId, TimeMs};
use crate::node::context::{DURABLE, Event, Severity};

/// Where the asking that goes on lies.
const ASKING: &str = "estop.asking";

/// Those without a link are dialed in one pass of so many.
const DIALED_EVERY: u32 = 5;

/// The shortest time between two passes.
const LEAST_PAUSE: Duration = Duration::from_millis(250);

/// A stop of this node that is asked for late.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Asking {
    /// Its id.
    stop: String,
    by: String,
    reason: String,
    /// Until when.
    until: TimeMs,
    /// The executors that have heard of it, or will not.
    settled: BTreeSet<String>,
}

/// Whether an executor has heard of the stop, or will not: it is not asked again.
fn is_settled(known: StopKnown) -> bool {
    !matches!(known, StopKnown::NotTold | StopKnown::NoAnswer)
}

impl Door {
    /// Goes on asking after a stop of this node, beside everything else, until the stop is released here. A newer stop of this
    /// node takes its place. Where an executor is left, returns when that is on disk, but never later than [`ESTOP_WAIT_MAX_MS`].
    pub(super) async fn stop_later(
        &self,
        report: &EstopReport,
        (stop, by, reason): (&str, &str, &str),
    ) {
        let is_left = report.executors.iter().any(|e| !is_settled(e.known));
        let settled = report.executors.iter().filter(|e| is_settled(e.known));
        let kept = self.go_on_asking(Asking {
            stop: stop.to_owned(),
            by: by.to_owned(),
            reason: reason.to_owned(),
            until: self.handles.now().plus(ESTOP_ASKED_AGAIN_MS),
            settled: settled.map(|e| e.device_id.clone()).collect(),
        });
        if is_left {
            // A disk that does not answer is told of elsewhere, and is no reason to keep a person waiting for the report.
            let _ = timeout(Duration::from_millis(ESTOP_WAIT_MAX_MS), kept).await;
        }
    }

    /// Goes on asking for the stop of an earlier run of this node, as long as it is still latched.
    pub(super) fn stop_later_again(&self) {
        let door = self.clone();
        let read = |c: &rusqlite::Connection| kv::get(c, ASKING);
        self.handles.tasks.passing("late emergency stop", async move {
            let kept = door.handles.store.read("late emergency stop", read).await;
            let asking = kept.map_err(|e| e.to_string()).and_then(|bytes| {
                let read = bytes.map(|bytes| serde_json::from_slice(&bytes));
                read.transpose().map_err(|e| e.to_string())
            });
            match asking {
                Ok(None) => {}
                Ok(Some(asking)) => drop(door.go_on_asking(asking)),
                Err(error) => tracing::error!(%error, "a late emergency stop of the run before cannot be read; executors that were away are not asked again"),
            }
        });
    }

    /// Begins to ask. What comes back says when it was written, or could not be.
    fn go_on_asking(&self, asking: Asking) -> oneshot::Receiver<()> {
        let turn = self.handles.running.asks_late();
        let door = self.clone();
        let (tell, kept) = oneshot::channel();
        self.handles
            .tasks
            .passing("late emergency stop", async move {
                door.keep_asking(turn, Some(&asking)).await;
                // Whoever asked may have gone.
                let _ = tell.send(());
                door.ask_on(asking, turn).await;
                // An end of the node is no end of the asking.
                if !door.handles.tasks.stop().is_cancelled() {
                    door.keep_asking(turn, None).await;
                }
            });
        kept
    }

    /// Has what is left to ask on disk, or forgets it; what a newer stop has written is its own. Where the disk does not take it,
    /// the asking goes on in this run alone.
    async fn keep_asking(&self, turn: u64, asking: Option<&Asking>) {
        let handles = self.handles.clone();
        let text = asking.map(|asking| json!(asking).to_string());
        let write = move |c: &rusqlite::Connection| match &text {
            _ if !handles.running.is_last_asking(turn) => Ok(()),
            Some(text) => kv::put(c, ASKING, text.as_bytes()),
            None => kv::delete(c, ASKING).map(drop),
        };
        let written: Result<(), StoreError> = self
            .handles
            .store
            .write(DURABLE, "late emergency stop", write)
            .await;
        if let Err(error) = written {
            tracing::error!(%error, "the late emergency stop is not on disk; a restart would forget it");
        }
    }

    async fn ask_on(&self, mut asking: Asking, turn: u64) {
        // A clock that was set back makes it no longer than a new one.
        let left = asking
            .until
            .since(self.handles.now())
            .min(ESTOP_ASKED_AGAIN_MS);
        let until = Instant::now() + Duration::from_millis(left);
        let pause = Duration::from_millis(ESTOP_ASKED_AGAIN_EVERY_MS);
        let mut links = self.handles.links.watch();
        // Another stop that comes meanwhile, from here or from another node, is no release.
        let stands = || self.handles.running.is_asking_late(turn);
        let mut pass = 0_u32;
        while Instant::now() < until {
            tokio::select! {
                biased;
                () = self.handles.tasks.stop().cancelled() => return,
                () = tokio::time::sleep(pause) => pass = pass.wrapping_add(1),
                // At once to those that come; a closed watch means that the node ends.
                came = links.changed() => if came.is_err() { return },
            }
            if !stands() {
                return;
            }
            let is_left = |device: &DeviceId| !asking.settled.contains(device.as_str());
            let linked = self.stoppable();
            let known: BTreeSet<DeviceId> = linked.iter().map(|l| l.info.device.clone()).collect();
            let away = match pass % DIALED_EVERY {
                0 => self.away(&known),
                _ => Vec::new(),
            };
            let linked: Vec<_> = linked.iter().filter(|l| is_left(&l.info.device)).collect();
            let away: Vec<_> = away.iter().filter(|device| is_left(device)).collect();
            let words = (
                asking.stop.as_str(),
                asking.by.as_str(),
                asking.reason.as_str(),
            );
            let linked = join_all(linked.into_iter().map(|link| self.ask(link, words)));
            let away = join_all(away.into_iter().map(|device| self.ask_away(device, words)));
            let (linked, away) = tokio::join!(linked, away);
            let told = linked
                .into_iter()
                .chain(away)
                .filter(|e| is_settled(e.known));
            let told: Vec<EstopExecutor> = told.collect();
            for executor in &told {
                asking.settled.insert(executor.device_id.clone());
                self.tell_late(&asking.stop, executor).await;
            }
            if !told.is_empty() {
                self.keep_asking(turn, Some(&asking)).await;
            }
            // Links that come and go do not make it ask without end.
            tokio::time::sleep(LEAST_PAUSE).await;
        }
    }

    async fn tell_late(&self, stop: &str, executor: &EstopExecutor) {
        let name = executor.name.as_deref().unwrap_or(&executor.device_id);
        let unsafe_ones = executor.actuators.iter().filter(|a| !a.safe).count();
        let (severity, what) = match (executor.known, &executor.problem) {
            (StopKnown::Latched, _) if unsafe_ones == 0 => (
                Severity::Warning,
                "it is latched and its actuators are in their safe states".to_owned(),
            ),
            (StopKnown::Latched, _) => (
                Severity::Critical,
                format!("it is latched, and {unsafe_ones} of its actuators are NOT confirmed safe"),
            ),
            (_, problem) => (Severity::Critical, problem.clone().unwrap_or_default()),
        };
        let message = format!("The emergency stop has reached {name} late: {what}");
        let data = json!({"id": stop, "executor": executor});
        let journal = &self.handles.journal;
        journal
            .record(Event::EstopLate, severity, &message, data)
            .await;
    }
}
