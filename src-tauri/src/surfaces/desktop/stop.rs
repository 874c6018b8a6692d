//! The result of an emergency stop, kept for the tray and the page while it is not complete, so that an
//! incomplete stop is not taken for a complete one. It stops nothing itself.

use serde::Serialize;
use tokio::sync::watch;

use crate::domain::base::text::one_line;
use crate::operator::estop::{EstopExecutor, EstopReport};

/// Names told one by one.
const NAMES_MAX: usize = 4;
/// Longest name of a node, in characters.
const NAME_CHARS: usize = 32;

/// The result of an emergency stop.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Stopped {
    /// Who answered and who did not; absent if nobody was asked.
    report: Option<EstopReport>,
    /// Why nobody was asked.
    problem: Option<String>,
}

impl Stopped {
    /// A stop that was asked for.
    pub(crate) fn reported(report: EstopReport) -> Self {
        Self {
            report: Some(report),
            problem: None,
        }
    }

    /// A stop that could not even be asked for.
    pub(crate) fn refused(why: String) -> Self {
        Self {
            report: None,
            problem: Some(why),
        }
    }

    /// Whether every executor that is known answered that it is stopped and safe.
    pub(crate) fn complete(&self) -> bool {
        self.report.as_ref().is_some_and(|r| r.complete)
    }

    /// It in a few words.
    pub(crate) fn summary(&self) -> &'static str {
        match &self.report {
            Some(report) if report.complete => "Everything is stopped",
            Some(_) => "NOT everything is stopped",
            None => "NOTHING was stopped",
        }
    }

    /// The rest of it: how many answered, and who did not or is not safe.
    pub(crate) fn body(&self) -> String {
        let Some(report) = &self.report else {
            return self.problem.clone().unwrap_or_default();
        };
        let stopped = report.executors.iter().filter(|e| e.latched).count();
        let all = report.executors.len();
        let told = format!("{stopped} of {all} executors answered that they are stopped.");
        match self.names() {
            names if names.is_empty() => told,
            names => format!("{told} Stop by hand: {names}."),
        }
    }

    /// One line for the tray.
    pub(crate) fn line(&self) -> String {
        match self.names() {
            names if names.is_empty() => self.summary().to_owned(),
            names => format!("{}: {names}", self.summary()),
        }
    }

    /// Those that are not stopped or not safe, by name.
    fn names(&self) -> String {
        let executors = self.report.iter().flat_map(|r| &r.executors);
        let left: Vec<&EstopExecutor> = executors
            .filter(|e| !e.latched || e.actuators.iter().any(|a| !a.safe))
            .collect();
        let name = |e: &&EstopExecutor| {
            let id = || e.device_id.chars().take(8).collect();
            one_line(&e.name.clone().unwrap_or_else(id), NAME_CHARS)
        };
        let mut names: Vec<String> = left.iter().take(NAMES_MAX).map(name).collect();
        if left.len() > NAMES_MAX {
            names.push(format!("{} more", left.len() - NAMES_MAX));
        }
        names.join(", ")
    }
}

/// The last stop, for as long as it is not complete.
#[derive(Debug, Clone)]
pub(super) struct Unstopped(watch::Sender<Option<Stopped>>);

impl Default for Unstopped {
    fn default() -> Self {
        Self(watch::Sender::new(None))
    }
}

impl Unstopped {
    /// A stop was asked for, wherever.
    pub(super) fn take(&self, stopped: &Stopped) {
        let left = (!stopped.complete()).then(|| stopped.clone());
        self.0.send_replace(left);
    }

    /// The stop was released here: what it left undone matters no more.
    pub(super) fn released(&self) {
        self.0.send_if_modified(|now| now.take().is_some());
    }

    /// A person has seen what it came to. One that stopped nobody then stands no more; one that stopped
    /// some and not others does, until a stop is complete or released.
    pub(super) fn seen(&self) {
        self.0.send_if_modified(|now| {
            let gone = now.as_ref().is_some_and(|s| s.report.is_none());
            if gone {
                *now = None;
            }
            gone
        });
    }

    /// The last stop, if it was not complete.
    pub(super) fn now(&self) -> Option<Stopped> {
        self.0.borrow().clone()
    }

    /// It, as it comes and goes.
    pub(super) fn watch(&self) -> watch::Receiver<Option<Stopped>> {
        self.0.subscribe()
    }
}

#[cfg(test)]
pub(super) mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use serde_json::json;

    use super::*;

    /// A report of nodes by name, and whether each is stopped and safe.
    pub(crate) fn report(nodes: &[(&str, bool, bool)]) -> EstopReport {
        let executors: Vec<_> = nodes
            .iter()
            .map(|(name, latched, safe)| {
                json!({
                    "deviceId": "ab".repeat(32), "name": name, "own": false, "latched": latched,
                    "problem": null,
                    "actuators": [{"target": "actuator:mock:valve-1", "safe": safe,
                                   "position": null, "problem": null}],
                })
            })
            .collect();
        let complete = nodes.iter().all(|(_, latched, safe)| *latched && *safe);
        serde_json::from_value(json!({"complete": complete, "executors": executors})).unwrap()
    }

    #[test]
    fn whoever_is_not_stopped_is_named() {
        let nodes = [
            ("here", true, true),
            ("field", false, true),
            ("pump", true, false),
        ];
        let stopped = Stopped::reported(report(&nodes));
        assert!(!stopped.complete());
        assert_eq!(stopped.line(), "NOT everything is stopped: field, pump");
        assert!(stopped.body().contains("2 of 3") && stopped.body().contains("field, pump"));
        let done = Stopped::reported(report(&[("here", true, true)]));
        assert!(done.complete() && done.line() == "Everything is stopped");
        let many: Vec<_> = (0..9).map(|_| ("node", false, true)).collect();
        assert!(Stopped::reported(report(&many)).line().ends_with("5 more"));
        let refused = Stopped::refused("no node runs".to_owned());
        assert!(!refused.complete() && refused.line().contains("NOTHING"));
    }

    #[test]
    fn a_stop_that_is_not_complete_stands_until_one_is_or_it_is_released() {
        let stops = Unstopped::default();
        let part = Stopped::reported(report(&[("here", true, true), ("field", false, true)]));
        stops.take(&part);
        stops.seen();
        assert!(stops.now().is_some(), "seeing it does not stop the field");
        stops.take(&Stopped::reported(report(&[("here", true, true)])));
        assert!(stops.now().is_none());
        stops.take(&part);
        stops.released();
        assert!(stops.now().is_none());
        stops.take(&Stopped::refused("no node runs".to_owned()));
        assert!(stops.now().is_some());
        stops.seen();
        assert!(stops.now().is_none());
    }
}
