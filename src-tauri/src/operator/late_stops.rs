//! An emergency stop that did not reach every executor: those that did not answer are asked again, and those that come are
//! asked, for as long as the stop that was meant holds here, and no longer than [`ESTOP_ASKED_AGAIN_MS`].

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::future::join_all;
use serde_json::json;
use tokio::time::Instant;

use super::Door;
use super::estop::{EstopExecutor, EstopReport, StopKnown};
use crate::domain::base::DeviceId;
use crate::domain::base::limits::{ESTOP_ASKED_AGAIN_EVERY_MS, ESTOP_ASKED_AGAIN_MS};
use crate::node::context::{Event, Severity};

/// Those without a link are dialed in one pass of so many.
const DIALED_EVERY: u32 = 5;

/// The shortest time between two passes.
const LEAST_PAUSE: Duration = Duration::from_millis(250);

/// Whether an executor has heard of the stop, or will not: it is not asked again.
fn is_settled(known: StopKnown) -> bool {
    !matches!(known, StopKnown::NotTold | StopKnown::NoAnswer)
}

impl Door {
    /// Goes on asking after a stop of this node, beside everything else, until the stop is released here. A newer stop of this
    /// node takes its place.
    pub(super) fn stop_later(&self, report: &EstopReport, by: &str, reason: &str) {
        let Some(latch) = self.handles.running.latched() else {
            return;
        };
        let turn = self.handles.running.asks_late();
        let settled = report.executors.iter().filter(|e| is_settled(e.known));
        let settled: BTreeSet<String> = settled.map(|e| e.device_id.clone()).collect();
        let (door, by, reason) = (self.clone(), by.to_owned(), reason.to_owned());
        let tasks = &self.handles.tasks;
        tasks.passing("late emergency stop", async move {
            door.ask_on((&latch.id, turn), settled, &by, &reason).await;
        });
    }

    async fn ask_on(
        &self,
        (stop, turn): (&str, u64),
        mut settled: BTreeSet<String>,
        by: &str,
        reason: &str,
    ) {
        let until = Instant::now() + Duration::from_millis(ESTOP_ASKED_AGAIN_MS);
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
            let is_left = |device: &DeviceId| !settled.contains(device.as_str());
            let linked = self.stoppable();
            let known: BTreeSet<DeviceId> = linked.iter().map(|l| l.info.device.clone()).collect();
            let away = match pass % DIALED_EVERY {
                0 => self.away(&known),
                _ => Vec::new(),
            };
            let linked: Vec<_> = linked.iter().filter(|l| is_left(&l.info.device)).collect();
            let away: Vec<_> = away.iter().filter(|device| is_left(device)).collect();
            let linked = join_all(linked.into_iter().map(|link| self.ask(link, by, reason)));
            let away = join_all(
                away.into_iter()
                    .map(|device| self.ask_away(device, by, reason)),
            );
            let (linked, away) = tokio::join!(linked, away);
            for executor in linked
                .into_iter()
                .chain(away)
                .filter(|e| is_settled(e.known))
            {
                settled.insert(executor.device_id.clone());
                self.tell_late(stop, &executor).await;
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
